// The kernels for AVX2 with FMA.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)

namespace tg {
namespace avx2 {
#include "kernels.inl"
}  // namespace avx2
#pragma clang attribute pop

extern const Kernels avx2_kernels;
const Kernels avx2_kernels = avx2::table("avx2");

}  // namespace tg
