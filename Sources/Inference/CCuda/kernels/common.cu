// What every file of kernels starts with: types, 16-byte reads and writes, sums over warps and blocks.
//
// 1. Nothing is included: NVRTC gets this text and one other file's. The emulator compiles the same text.
// 2. Values are rounded where the CPU's operations round (CTorch/kernels.inl); sums are float32.
// 3. Blocks are whole warps; all threads of a block reach each of its barriers.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

struct bf16 {
    u16 bits;
};
struct f16 {
    u16 bits;
};

// TG_KERNEL(threads of a block at most, name, (parameters), body): a kernel that is launched by its name.
// TG_EARLY_KERNEL: one that calls `inputs_ready` itself, and before that touches nothing but weights.
// TG_SHARED(type, name): the block's dynamic shared memory. TG_BY_VALUE: a parameter that is indexed where it
// lies. TG_APART: a function that is worth a call.
#ifdef TORCHGATE_EMULATED
#define TG_EARLY_KERNEL(threads, name, parameters, ...)                                                      \
    static void name parameters { __VA_ARGS__; }                                                             \
    static const tg::emulator::Entry entry_##name(#name, threads, name);
#define TG_SHARED(type, name) type *name = reinterpret_cast<type *>(tg::emulator::place.shared)
#define TG_BY_VALUE const
#define TG_APART __attribute__((noinline))
#else
#define TG_EARLY_KERNEL(threads, name, parameters, ...)                                                      \
    extern "C" __global__ void __launch_bounds__(threads, 1) name parameters {                               \
        next_may_start();                                                                                    \
        __VA_ARGS__;                                                                                         \
    }
#define TG_SHARED(type, name)                                                                                \
    extern __shared__ __align__(16) unsigned char tg_shared_bytes[];                                         \
    type *name = reinterpret_cast<type *>(tg_shared_bytes)
#define TG_BY_VALUE const __grid_constant__
#define TG_APART __noinline__
constexpr unsigned kAllLanes = 0xffffffffu;
#endif
#define TG_KERNEL(threads, name, parameters, ...)                                                            \
    TG_EARLY_KERNEL(threads, name, parameters, inputs_ready(); __VA_ARGS__)

// From sm_90 on a kernel may start before the one in front of it has ended: its blocks are there as soon as
// there is room for them, and have read their first weights when their inputs are ready.

/// Waits until all that was launched before is done and can be read. Every kernel calls it.
__device__ __forceinline__ void inputs_ready() {
#if !defined(TORCHGATE_EMULATED) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// The next kernel may start once all blocks of this one have come here; it waits for their end by itself.
__device__ __forceinline__ void next_may_start() {
#if !defined(TORCHGATE_EMULATED) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// TG_EACH_TYPE(make): make(type, suffix) for the element types of TG_TYPES: 1 float32, 2 bfloat16, 4 float16.
// Who compiles may define it, as a model needs one type or two.
#ifndef TG_TYPES
#define TG_TYPES 7
#endif
#if TG_TYPES & 1
#define TG_FLOAT32(make) make(float, f32)
#else
#define TG_FLOAT32(make)
#endif
#if TG_TYPES & 2
#define TG_BFLOAT16(make) make(bf16, bf16)
#else
#define TG_BFLOAT16(make)
#endif
#if TG_TYPES & 4
#define TG_FLOAT16(make) make(f16, f16)
#else
#define TG_FLOAT16(make)
#endif
#define TG_EACH_TYPE(make) TG_FLOAT32(make) TG_BFLOAT16(make) TG_FLOAT16(make)

constexpr int kLanes = 32;

// Element types ----------------------------------------------------------------------------------

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return __int_as_float(int(u32(x.bits) << 16)); }
__device__ __forceinline__ float half_value(u16 bits) {
#ifdef TORCHGATE_EMULATED
    return float(__builtin_bit_cast(_Float16, bits));
#else
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(bits));
    return wide;
#endif
}
__device__ __forceinline__ float widen(f16 x) { return half_value(x.bits); }

/// To nearest, ties to even.
template <typename T>
__device__ T narrow(float x);
template <>
__device__ __forceinline__ float narrow<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ bf16 narrow<bf16>(float x) {
    bf16 answer;
#ifdef TORCHGATE_EMULATED
    const u32 u = u32(__float_as_int(x));
    if ((u & 0x7fffffffu) > 0x7f800000u) answer.bits = u16((u >> 16) | 0x40);
    else answer.bits = u16((u + 0x7fff + ((u >> 16) & 1)) >> 16);
#else
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(answer.bits) : "f"(x));
#endif
    return answer;
}
template <>
__device__ __forceinline__ f16 narrow<f16>(float x) {
    f16 answer;
#ifdef TORCHGATE_EMULATED
    answer.bits = __builtin_bit_cast(u16, _Float16(x));
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(answer.bits) : "f"(x));
#endif
    return answer;
}
/// The value as a tensor of T would hold it.
template <typename T>
__device__ __forceinline__ float rounded(float x) {
    return widen(narrow<T>(x));
}

/// A pair of a head's halves turned: `a` of the first, `b` of the second.
template <typename T>
__device__ __forceinline__ void turn(float &a, float &b, float cosine, float sine, bool wide) {
    const float x = a, y = b;
    if (wide) {
        a = x * cosine - y * sine;
        b = y * cosine + x * sine;
    } else {
        const float c = rounded<T>(cosine), s = rounded<T>(sine);
        a = rounded<T>(x * c) - rounded<T>(y * s);
        b = rounded<T>(y * c) + rounded<T>(x * s);
    }
}

// 16 bytes at once -------------------------------------------------------------------------------

/// Elements that 16 bytes hold.
template <typename T>
constexpr int kPack = 16 / int(sizeof(T));

template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
    T at[N];
};

/// A device would end the process at an address that is no multiple of the pack's size.
template <typename T, int N>
__device__ __forceinline__ Pack<T, N> read_pack(const void *p) {
#ifdef TORCHGATE_EMULATED
    if (reinterpret_cast<u64>(p) % sizeof(Pack<T, N>)) tg::emulator::fail("a misaligned read");
#endif
    return *reinterpret_cast<const Pack<T, N> *>(p);
}
template <typename T, int N>
__device__ __forceinline__ void write_pack(void *p, const Pack<T, N> &pack) {
#ifdef TORCHGATE_EMULATED
    if (reinterpret_cast<u64>(p) % sizeof(Pack<T, N>)) tg::emulator::fail("a misaligned write");
#endif
    *reinterpret_cast<Pack<T, N> *>(p) = pack;
}

__device__ __forceinline__ bool aligned(const void *p) { return (reinterpret_cast<u64>(p) & 15) == 0; }

/// 16 bytes of a weight, or zeros: asked for at once, read once, not kept in the first-level cache.
__device__ __forceinline__ Pack<u32, 4> stream_pack(const void *p, bool there) {
#ifdef TORCHGATE_EMULATED
    return there ? read_pack<u32, 4>(p) : Pack<u32, 4>{};
#else
    Pack<u32, 4> pack;
    asm volatile("{ .reg .pred there; setp.ne.b32 there, %5, 0;\n"
                 "mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;\n"
                 "@there ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4]; }"
                 : "=&r"(pack.at[0]), "=&r"(pack.at[1]), "=&r"(pack.at[2]), "=&r"(pack.at[3])
                 : "l"(p), "r"(int(there)));
    return pack;
#endif
}
/// Two words, one, or half of one, as stream_pack.
__device__ __forceinline__ void stream_words(const void *p, bool there, u32 &first, u32 &second) {
#ifdef TORCHGATE_EMULATED
    const auto pack = there ? read_pack<u32, 2>(p) : Pack<u32, 2>{};
    first = pack.at[0];
    second = pack.at[1];
#else
    asm volatile("{ .reg .pred there; setp.ne.b32 there, %3, 0; mov.b32 %0, 0; mov.b32 %1, 0;\n"
                 "@there ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2]; }"
                 : "=&r"(first), "=&r"(second)
                 : "l"(p), "r"(int(there)));
#endif
}
__device__ __forceinline__ u32 stream_word(const void *p, bool there) {
#ifdef TORCHGATE_EMULATED
    return there ? read_pack<u32, 1>(p).at[0] : 0;
#else
    u32 word;
    asm volatile("{ .reg .pred there; setp.ne.b32 there, %2, 0; mov.b32 %0, 0;\n"
                 "@there ld.global.nc.u32 %0, [%1]; }"
                 : "=&r"(word)
                 : "l"(p), "r"(int(there)));
    return word;
#endif
}
__device__ __forceinline__ u32 stream_half(const void *p, bool there) {
#ifdef TORCHGATE_EMULATED
    return there ? read_pack<u16, 1>(p).at[0] : 0;
#else
    u16 half;
    asm volatile("{ .reg .pred there; setp.ne.b32 there, %2, 0; mov.b16 %0, 0;\n"
                 "@there ld.global.nc.u16 %0, [%1]; }"
                 : "=&h"(half)
                 : "l"(p), "r"(int(there)));
    return half;
#endif
}
/// 16 bytes as floats.
__device__ __forceinline__ void spread(const Pack<u32, 4> &pack, float (&out)[kPack<float>], float) {
#pragma unroll
    for (int i = 0; i < 4; ++i) out[i] = __int_as_float(int(pack.at[i]));
}
__device__ __forceinline__ void spread(const Pack<u32, 4> &pack, float (&out)[kPack<bf16>], bf16) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        out[2 * i] = __int_as_float(int(pack.at[i] << 16));
        out[2 * i + 1] = __int_as_float(int(pack.at[i] & 0xffff0000u));
    }
}
__device__ __forceinline__ void spread(const Pack<u32, 4> &pack, float (&out)[kPack<f16>], f16) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        out[2 * i] = half_value(u16(pack.at[i]));
        out[2 * i + 1] = half_value(u16(pack.at[i] >> 16));
    }
}

// Copies to shared memory that go on while the thread does other things.

__device__ __forceinline__ void copy_async(void *to, const void *from) {
#ifdef TORCHGATE_EMULATED
    write_pack<u8, 16>(to, read_pack<u8, 16>(from));
#else
    const u32 address = u32(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from));
#endif
}
__device__ __forceinline__ void copies_end() {
#ifndef TORCHGATE_EMULATED
    asm volatile("cp.async.commit_group;");
#endif
}
/// Waits until at most `Open` groups of this thread's copies are under way.
template <int Open>
__device__ __forceinline__ void copies_wait() {
#ifndef TORCHGATE_EMULATED
    asm volatile("cp.async.wait_group %0;" ::"n"(Open) : "memory");
#endif
}

/// The next kPack elements as floats; zeros from `left` on. `whole`: p is aligned.
template <typename T>
__device__ __forceinline__ void load(const T *p, i64 left, bool whole, float (&out)[kPack<T>]) {
    if (whole && left >= kPack<T>) {
        const auto pack = read_pack<T, kPack<T>>(p);
#pragma unroll
        for (int i = 0; i < kPack<T>; ++i) out[i] = widen(pack.at[i]);
    } else {
#pragma unroll
        for (int i = 0; i < kPack<T>; ++i) out[i] = i < left ? widen(p[i]) : 0.0f;
    }
}

template <typename T>
__device__ __forceinline__ void store(T *p, i64 left, bool whole, const float (&values)[kPack<T>]) {
    if (whole && left >= kPack<T>) {
        Pack<T, kPack<T>> pack;
#pragma unroll
        for (int i = 0; i < kPack<T>; ++i) pack.at[i] = narrow<T>(values[i]);
        write_pack<T, kPack<T>>(p, pack);
    } else {
#pragma unroll
        for (int i = 0; i < kPack<T>; ++i)
            if (i < left) p[i] = narrow<T>(values[i]);
    }
}

/// A row's elements by the threads of a block; null gives zeros.
template <typename T>
__device__ __forceinline__ void copy_row(const T *from, T *to, int count) {
    const bool whole = from && aligned(from) && aligned(to);
    for (int i = int(threadIdx.x) * kPack<T>; i < count; i += int(blockDim.x) * kPack<T>) {
        if (whole && count - i >= kPack<T>) {
            write_pack<T, kPack<T>>(to + i, read_pack<T, kPack<T>>(from + i));
        } else {
            for (int j = i; j < min(count, i + kPack<T>); ++j) to[j] = from ? from[j] : narrow<T>(0.0f);
        }
    }
}

// Sums -------------------------------------------------------------------------------------------

template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
        value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, lanes));
    }
    return value;
}

/// For one-dimensional blocks; every thread gets the sum, added in the same order everywhere.
template <typename T>
__device__ __forceinline__ T block_sum(T value) {
    __shared__ T parts[kLanes];
    value = warp_sum(value);
    const int warps = int(blockDim.x) / kLanes, lane = int(threadIdx.x) % kLanes;
    if (warps == 1) return value;
    __syncthreads();
    if (lane == 0) parts[threadIdx.x / kLanes] = value;
    __syncthreads();
    return warp_sum(lane < warps ? parts[lane] : T(0));
}

// Tensor units -----------------------------------------------------------------------------------

template <typename T>
constexpr bool kIsHalf = false;
template <>
constexpr bool kIsHalf<f16> = true;

/// sums += a · b of a warp: a [16, 16], b [16, 8] and sums [16, 8] lie in its lanes as mma.m16n8k16 has them.
template <typename T>
__device__ __forceinline__ void multiply_tiles(const u32 (&a)[4], const u32 (&b)[2], float (&sums)[4], T) {
#ifdef TORCHGATE_EMULATED
    const unsigned lane = threadIdx.x % kLanes, group = lane / 4, place = lane % 4;
    const auto value = [](u64 words, int i) {
        T element;
        element.bits = u16(words >> (16 * i));
        return widen(element);
    };
    for (unsigned other = 0; other < 4; ++other) {
        const u64 top = __shfl_sync(kAllLanes, u64(a[2]) << 32 | a[0], 4 * group + other);
        const u64 low = __shfl_sync(kAllLanes, u64(a[3]) << 32 | a[1], 4 * group + other);
        for (unsigned column = 0; column < 2; ++column) {
            const u64 in = __shfl_sync(kAllLanes, u64(b[1]) << 32 | b[0], 4 * (2 * place + column) + other);
            for (int i = 0; i < 4; ++i) {
                sums[column] += value(top, i) * value(in, i);
                sums[2 + column] += value(low, i) * value(in, i);
            }
        }
    }
#else
    if constexpr (kIsHalf<T>) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
#endif
}
