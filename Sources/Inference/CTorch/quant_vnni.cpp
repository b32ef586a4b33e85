// Products with quantised weights for AVX-512 with VNNI.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"
#include "quant.hpp"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), apply_to = function)
#define TG_QUANT_512
#define TG_QUANT_VNNI
namespace tg {
namespace vnni_q {
#include "quant.inl"
}  // namespace vnni_q
#pragma clang attribute pop

const QuantKernels vnni_quant = vnni_q::table("vnni");

}  // namespace tg
