// Vectors of 16 floats for the kernels, whatever the instruction set. Included by kernels.inl and quant.inl
// inside a namespace and under a target attribute.

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16x __attribute__((vector_size(64)));
typedef uint32_t u16x __attribute__((vector_size(64)));
typedef uint16_t h16 __attribute__((vector_size(32)));

#define TG_INLINE static inline __attribute__((always_inline))

TG_INLINE v16 splat(float x) { return v16{} + x; }

TG_INLINE v16 load(const float *p) {
    v16 v;
    __builtin_memcpy(&v, p, 64);
    return v;
}

TG_INLINE v16 load(const bf16 *p) {
    h16 v;
    __builtin_memcpy(&v, p, 32);
    return (v16)(__builtin_convertvector(v, u16x) << 16);
}

TG_INLINE float widen(float x) { return x; }
TG_INLINE float widen(bf16 x) { return __builtin_bit_cast(float, uint32_t(x) << 16); }

/// Round to nearest even; NaN stays NaN.
TG_INLINE bf16 narrow(float x) {
    const uint32_t u = __builtin_bit_cast(uint32_t, x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return bf16((u >> 16) | 0x40);
    return bf16((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

TG_INLINE void store(float *p, v16 v) { __builtin_memcpy(p, &v, 64); }

TG_INLINE void store(bf16 *p, v16 v) {
    const u16x u = (u16x)v;
    const u16x rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    const u16x quiet = (u >> 16) | 0x40;
    const u16x nan = (u16x)((u & 0x7fffffffu) > 0x7f800000u);
    const h16 h = __builtin_convertvector((nan & quiet) | (~nan & rounded), h16);
    __builtin_memcpy(p, &h, 32);
}

TG_INLINE void put(float *p, float x) { *p = x; }
TG_INLINE void put(bf16 *p, float x) { *p = narrow(x); }
/// The value as a tensor of T would hold it.
TG_INLINE float rounded(const float *, float x) { return x; }
TG_INLINE float rounded(const bf16 *, float x) { return widen(narrow(x)); }
TG_INLINE v16 rounded(const float *, v16 x) { return x; }
TG_INLINE v16 rounded(const bf16 *, v16 x) {
    bf16 kept[16];
    store(kept, x);
    return load(kept);
}

/// Halves are added until one is left: the same order everywhere.
TG_INLINE float sum(v16 v) {
    const auto a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                   __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    const auto b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
    const auto c = __builtin_shufflevector(b, b, 0, 1) + __builtin_shufflevector(b, b, 2, 3);
    return c[0] + c[1];
}
