// The kernels for AVX-512 without BF16.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)

namespace tg {
namespace avx512 {
#include "kernels.inl"
}  // namespace avx512
#pragma clang attribute pop

extern const Kernels avx512_kernels;
const Kernels avx512_kernels = avx512::table("avx512");

}  // namespace tg
