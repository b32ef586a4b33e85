// The kernels for AVX-512 with BF16.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#define TG_BF16_DOT
namespace tg {
namespace avx512bf16 {
#include "kernels.inl"
}  // namespace avx512bf16
#pragma clang attribute pop

extern const Kernels avx512bf16_kernels;
const Kernels avx512bf16_kernels = avx512bf16::table("avx512bf16");

}  // namespace tg
