// What a kernel's source finds in CUDA, for the host's compiler. Included before kernels/*.cu.
#pragma once

#include <cmath>
#include <cstring>

#include "emulator.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
// One block runs at a time on a thread of the host.
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define threadIdx (tg::emulator::place.thread)
#define blockIdx (tg::emulator::place.block)
#define blockDim (tg::emulator::place.block_size)
#define gridDim (tg::emulator::place.grid_size)

/// Only whole warps take part.
constexpr unsigned kAllLanes = 0xffffffffu;

inline void __syncthreads(int line = __builtin_LINE()) { tg::emulator::block_barrier(line); }
inline void __syncwarp(unsigned = kAllLanes, int line = __builtin_LINE()) {
    tg::emulator::warp_barrier(line);
}
inline void __threadfence() {}

template <typename T>
T __shfl_sync(unsigned, T value, unsigned source, int line = __builtin_LINE()) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    unsigned long long bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = tg::emulator::exchange(bits, source & 31, line);
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, unsigned lanes, int line = __builtin_LINE()) {
    return __shfl_sync(mask, value, (threadIdx.x & 31) ^ lanes, line);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int line = __builtin_LINE()) {
    const unsigned lane = threadIdx.x & 31;
    return __shfl_sync(mask, value, lane < by ? lane : lane - by, line);
}
inline unsigned __ballot_sync(unsigned, bool predicate, int line = __builtin_LINE()) {
    return tg::emulator::ballot(predicate, line);
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(unsigned(bits)); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

// Nothing else runs between the read and the write.
template <typename T, typename U>
T atomicAdd(T *to, U value) {
    const T before = *to;
    *to = T(before + value);
    return before;
}
template <typename T>
T atomicMin(T *to, T value) {
    const T before = *to;
    if (value < before) *to = value;
    return before;
}

// Functions, so that the compiler joins them with nothing.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __int_as_float(int bits) { return __builtin_bit_cast(float, bits); }
inline int __float_as_int(float value) { return __builtin_bit_cast(int, value); }
/// Byte i of the answer is the one that nibble i of `selector` names, of b (4…7) and a (0…3).
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const unsigned long long both = (unsigned long long)b << 32 | a;
    unsigned answer = 0;
    for (int i = 0; i < 4; ++i) answer |= unsigned(both >> (8 * (selector >> (4 * i) & 7)) & 255) << (8 * i);
    return answer;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
template <typename T>
T min(T a, T b) {
    return b < a ? b : a;
}
template <typename T>
T max(T a, T b) {
    return a < b ? b : a;
}
template <typename T>
T __ldg(const T *p) {
    return *p;
}
