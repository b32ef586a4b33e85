// Products with quantised weights for AVX2 with FMA.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"
#include "quant.hpp"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define TG_QUANT_256
namespace tg {
namespace avx2_q {
#include "quant.inl"
}  // namespace avx2_q
#pragma clang attribute pop

const QuantKernels avx2_quant = avx2_q::table("avx2");

}  // namespace tg
