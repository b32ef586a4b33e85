// Products with quantised weights for AVX-512 with VNNI, BF16 and VBMI.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"
#include "quant.hpp"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx512vbmi,avx2,fma,f16c"))), apply_to = function)
#define TG_QUANT_512
#define TG_QUANT_VNNI
#define TG_QUANT_BF16
namespace tg {
namespace bf16_q {
#include "quant.inl"
}  // namespace bf16_q
#pragma clang attribute pop

const QuantKernels bf16_quant = bf16_q::table("bf16");

}  // namespace tg
