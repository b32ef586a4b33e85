// Products with quantised weights for AVX-512 without VNNI.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"
#include "quant.hpp"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#define TG_QUANT_512
namespace tg {
namespace avx512_q {
#include "quant.inl"
}  // namespace avx512_q
#pragma clang attribute pop

const QuantKernels avx512_quant = avx512_q::table("avx512");

}  // namespace tg
