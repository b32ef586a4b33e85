// Products with quantised weights; one source for all instruction sets, as kernels.inl.
//
// 1. Codes and inputs multiply and add in whole numbers: exact, in whatever order.
// 2. Each block's sum enters the row's float32 sum by one multiply-add with scale · input scale and one
//    with minimum · input sum, in the order of the blocks. So a row's bits depend on nothing beside it.

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"  // every function with vectors is static or inlined

#include "vectors.inl"

typedef uint8_t b16x __attribute__((vector_size(16)));
typedef int8_t s16x __attribute__((vector_size(16)));

TG_INLINE u16x load_codes(const uint8_t *p) {
    u16x v;
    __builtin_memcpy(&v, p, 64);
    return v;
}

TG_INLINE int32_t four(const int8_t *p) {
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}

/// 16 halves as floats; the two factors make subnormal ones right without a branch.
TG_INLINE v16 load_halves(const uint8_t *p) {
    h16 v;
    __builtin_memcpy(&v, p, 32);
#if defined(TG_QUANT_512)
    return (v16)_mm512_cvtph_ps((__m256i)v);
#elif defined(TG_QUANT_256)
    typedef __fp16 halves __attribute__((vector_size(32)));
    return __builtin_convertvector((halves)v, v16);
#else
    const u16x wide = __builtin_convertvector(v, u16x);
    const v16 magnitude = (v16)((wide & 0x7fff) << 13) * 0x1p112f;
    return (v16)((u16x)magnitude | (wide & 0x8000) << 16);
#endif
}

TG_INLINE v16 load_bytes(const uint8_t *p) {
    b16x v;
    __builtin_memcpy(&v, p, 16);
    return __builtin_convertvector(__builtin_convertvector(v, i16x), v16);
}

TG_INLINE v16 load_signed(const uint8_t *p) {
    s16x v;
    __builtin_memcpy(&v, p, 16);
    return __builtin_convertvector(__builtin_convertvector(v, i16x), v16);
}

/// acc + the products of 4 unsigned codes and 4 signed inputs in each lane. Codes of 8 bits are `Wide`:
/// two of their products do not fit 16 bits.
#if defined(TG_QUANT_VNNI)
template <bool Wide>
TG_INLINE i16x dot(i16x acc, u16x codes, int32_t x) {
    return (i16x)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)codes, _mm512_set1_epi32(x));
}
#elif defined(TG_QUANT_512)
template <bool Wide>
TG_INLINE i16x dot(i16x acc, u16x codes, int32_t x) {
    const __m512i c = (__m512i)codes, y = _mm512_set1_epi32(x);
    if (Wide) {
        const __m512i even = _mm512_and_si512(c, _mm512_set1_epi16(255));
        const __m512i a = _mm512_madd_epi16(even, _mm512_srai_epi16(_mm512_slli_epi16(y, 8), 8));
        const __m512i b = _mm512_madd_epi16(_mm512_srli_epi16(c, 8), _mm512_srai_epi16(y, 8));
        return acc + (i16x)_mm512_add_epi32(a, b);
    }
    return acc + (i16x)_mm512_madd_epi16(_mm512_maddubs_epi16(c, y), _mm512_set1_epi16(1));
}
#elif defined(TG_QUANT_256)
template <bool Wide>
TG_INLINE i16x dot(i16x acc, u16x codes, int32_t x) {
    __m256i parts[2];
    __builtin_memcpy(parts, &codes, 64);
    const __m256i y = _mm256_set1_epi32(x);
    for (__m256i &c : parts) {
        if (Wide) {
            const __m256i even = _mm256_and_si256(c, _mm256_set1_epi16(255));
            const __m256i a = _mm256_madd_epi16(even, _mm256_srai_epi16(_mm256_slli_epi16(y, 8), 8));
            const __m256i b = _mm256_madd_epi16(_mm256_srli_epi16(c, 8), _mm256_srai_epi16(y, 8));
            c = _mm256_add_epi32(a, b);
        } else {
            c = _mm256_madd_epi16(_mm256_maddubs_epi16(c, y), _mm256_set1_epi16(1));
        }
    }
    i16x sums;
    __builtin_memcpy(&sums, parts, 64);
    return acc + sums;
}
#else
template <bool Wide>
TG_INLINE i16x dot(i16x acc, u16x codes, int32_t x) {
    __m128i parts[4];
    __builtin_memcpy(parts, &codes, 64);
    const __m128i y = _mm_set1_epi32(x);
    const __m128i y_even = _mm_srai_epi16(_mm_slli_epi16(y, 8), 8), y_odd = _mm_srai_epi16(y, 8);
    for (__m128i &c : parts) {
        const __m128i even = _mm_madd_epi16(_mm_and_si128(c, _mm_set1_epi16(255)), y_even);
        c = _mm_add_epi32(even, _mm_madd_epi16(_mm_srli_epi16(c, 8), y_odd));
    }
    i16x sums;
    __builtin_memcpy(&sums, parts, 64);
    return acc + sums;
}
#endif

/// The codes of columns 4j…4j+3 and 16+4j…16+4j+3 of a block, j = 0…3.
template <int Bits>
TG_INLINE void unpack(const uint8_t *block, int j, u16x &low, u16x &high) {
    if (Bits == 8) {
        low = load_codes(block + 64 * j);
        high = load_codes(block + 64 * (j + 4));
        return;
    }
    const u16x nibbles = load_codes(block + 64 * j);
    low = nibbles & 0x0f0f0f0fu;
    high = (nibbles >> 4) & 0x0f0f0f0fu;
    if (Bits == 5) {
        const u16x more = load_codes(block + 256);
        low |= ((more >> j) & 0x01010101u) << 4;
        high |= ((more >> (j + 4)) & 0x01010101u) << 4;
    } else if (Bits == 6) {
        low |= ((load_codes(block + 256) >> (2 * j)) & 0x03030303u) << 4;
        high |= ((load_codes(block + 320) >> (2 * j)) & 0x03030303u) << 4;
    }
}

/// Scale and minimum of a tile's block.
template <Scales Kind>
TG_INLINE void load_scales(const QuantPart &part, const uint8_t *factors, int64_t block, v16 &scale,
                           v16 &minimum) {
    if (Kind == Scales::plain) {
        scale = load_halves(factors + block * 32);
        minimum = scale * -float(part.offset);
    } else if (Kind == Scales::minimum) {
        scale = load_halves(factors + block * 64);
        minimum = load_halves(factors + block * 64 + 32);
    } else if (Kind == Scales::nested) {
        const uint8_t *whole = factors + block / 8 * 64;
        const uint8_t *own = factors + (part.blocks() + 7) / 8 * 64 + block * 32;
        scale = load_halves(whole) * load_bytes(own);
        minimum = -(load_halves(whole + 32) * load_bytes(own + 16));
    } else if (Kind == Scales::row) {
        scale = load(reinterpret_cast<const float *>(factors)) * part.table[0];
        minimum = scale * -float(part.offset);
    } else {
        const uint8_t *own = factors + block / part.group * 48;
        scale = load_halves(own);
        minimum = -(scale * (load_bytes(own + 32) + float(part.offset)));
    }
}

/// acc[m] += a tile's row products with `Rows` inputs.
template <int Bits, Scales Kind, int Rows>
static void tile_product(const QuantPart &part, int64_t tile, const QuantInput &x, int64_t row,
                         v16 *out) {
    constexpr bool wide = Bits == 8, halved = Kind == Scales::halved;
    // Few rows leave lanes of the multiplier idle: a second sum in whole numbers changes nothing else.
    constexpr int chains = halved || Rows <= 4 ? 2 : 1;
    const uint8_t *codes = part.codes + tile * part.tile_bytes();
    const uint8_t *factors = part.factors + tile * part.factor_bytes();
    const int64_t blocks = part.blocks(), bytes = part.code_bytes();
    const int8_t *values = x.values + row * x.columns;
    const QuantInputBlock *inputs = x.blocks + row * blocks;
    v16 acc[Rows] = {};
    for (int64_t b = 0; b < blocks; ++b) {
        i16x dots[chains][Rows] = {};
        for (int j = 0; j < 4; ++j) {
            u16x low, high;
            unpack<Bits>(codes + b * bytes, j, low, high);
            for (int r = 0; r < Rows; ++r) {
                const int8_t *at = values + r * x.columns + b * kBlock + 4 * j;
                dots[0][r] = dot<wide>(dots[0][r], low, four(at));
                dots[chains - 1][r] = dot<wide>(dots[chains - 1][r], high, four(at + 16));
            }
        }
        if (halved) {
            const uint8_t *own = factors + (blocks + 7) / 8 * 32 + b * 32;
            const v16 whole = load_halves(factors + b / 8 * 32);
            const v16 low = whole * load_signed(own), high = whole * load_signed(own + 16);
            for (int r = 0; r < Rows; ++r) {
                const QuantInputBlock &input = inputs[r * blocks + b];
                acc[r] += __builtin_convertvector(dots[0][r], v16) * (low * input.scale);
                acc[r] += __builtin_convertvector(dots[chains - 1][r], v16) * (high * input.scale);
                acc[r] += (low * -32.0f) * input.low;
                acc[r] += (high * -32.0f) * input.high;
            }
            continue;
        }
        v16 scale, minimum;
        load_scales<Kind>(part, factors, b, scale, minimum);
        for (int r = 0; r < Rows; ++r) {
            const QuantInputBlock &input = inputs[r * blocks + b];
            if (chains == 2) dots[0][r] += dots[chains - 1][r];
            acc[r] += __builtin_convertvector(dots[0][r], v16) * (scale * input.scale);
            acc[r] += minimum * input.sum;
        }
    }
    for (int r = 0; r < Rows; ++r) out[r] = acc[r];
}

/// Entries of a table of 16 by the lowest 4 bits of each lane.
TG_INLINE v16 entries(const float *table, u16x codes) {
#if defined(TG_QUANT_512)
    return (v16)_mm512_permutexvar_ps((__m512i)codes, (__m512)load(table));
#elif defined(TG_QUANT_256)
    const __m256 first = _mm256_loadu_ps(table), second = _mm256_loadu_ps(table + 8);
    __m256i parts[2];
    __builtin_memcpy(parts, &codes, 64);
    __m256 found[2];
    for (int i = 0; i < 2; ++i) {
        const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(parts[i], 28));  // the sign: bit 3
        found[i] = _mm256_blendv_ps(_mm256_permutevar8x32_ps(first, parts[i]),
                                    _mm256_permutevar8x32_ps(second, parts[i]), upper);
    }
    v16 v;
    __builtin_memcpy(&v, found, 64);
    return v;
#else
    v16 v;
    for (int i = 0; i < 16; ++i) v[i] = table[codes[i] & 15];
    return v;
#endif
}

/// As tile_product for codes that stand for entries of a table; the inputs stay what they are.
template <int Rows>
static void table_product(const QuantPart &part, int64_t tile, const QuantInput &x, int64_t row,
                          v16 *out) {
    const uint8_t *codes = part.codes + tile * part.tile_bytes();
    const uint8_t *factors = part.factors + tile * part.factor_bytes();
    const float *inputs = x.floats + row * x.columns;
    v16 acc[Rows] = {};
    for (int64_t b = 0; b < part.blocks(); ++b) {
        v16 sums[Rows] = {};
        for (int j = 0; j < 4; ++j) {
            const u16x nibbles = load_codes(codes + b * 256 + 64 * j);
            for (int c = 0; c < 4; ++c) {
                const v16 low = entries(part.table, nibbles >> (8 * c));
                const v16 high = entries(part.table, nibbles >> (8 * c + 4));
                for (int r = 0; r < Rows; ++r) {
                    const float *at = inputs + r * x.columns + b * kBlock + 4 * j + c;
                    sums[r] += low * at[0];
                    sums[r] += high * at[16];
                }
            }
        }
        v16 scale;
        __builtin_memcpy(&scale, factors + b / 2 * 64, 64);
        for (int r = 0; r < Rows; ++r) acc[r] += sums[r] * scale;
    }
    for (int r = 0; r < Rows; ++r) out[r] = acc[r];
}

/// The 8-bit floats (e4m3) of one column of a lane's four.
TG_INLINE v16 float8_values(u16x codes, int column) {
    // Sign, exponent and fraction where a float has them; its exponent is then 120 too small.
    const i16x bits = ((i16x)(codes << (24 - 8 * column)) >> 4) & (int32_t)0x87f00000;
    return (v16)bits * 0x1p120f;
}

/// As tile_product for codes that are floats of 8 bits; the inputs stay what they are.
template <int Rows>
static void float8_product(const QuantPart &part, int64_t tile, const QuantInput &x, int64_t row,
                           v16 *out) {
    const uint8_t *codes = part.codes + tile * part.tile_bytes();
    const uint8_t *factors = part.factors + tile * part.factor_bytes();
    const float *inputs = x.floats + row * x.columns;
    v16 acc[Rows] = {};
    for (int64_t group = 0; group < part.columns; group += part.group * kBlock, factors += 64) {
        const int64_t end = group + part.group * kBlock < part.columns ? group + part.group * kBlock
                                                                       : part.columns;
        v16 sums[2][Rows] = {};
        for (int64_t column = group; column < end; column += 4) {
            const u16x four = load_codes(codes + column * kTile);
            for (int c = 0; c < 4; c += 2) {
                const v16 even = float8_values(four, c), odd = float8_values(four, c + 1);
                for (int r = 0; r < Rows; ++r) {
                    const float *at = inputs + r * x.columns + column + c;
                    sums[0][r] += even * at[0];
                    sums[1][r] += odd * at[1];
                }
            }
        }
        v16 scale;
        __builtin_memcpy(&scale, factors, 64);
        for (int r = 0; r < Rows; ++r) acc[r] += (sums[0][r] + sums[1][r]) * scale;
    }
    for (int r = 0; r < Rows; ++r) out[r] = acc[r];
}

#ifdef TG_QUANT_BF16
/// The upper and lower bytes of every 8-bit float without sign as bf16, which holds each of them.
struct Float8Bytes {
    alignas(64) uint8_t upper[128], lower[128];
    constexpr Float8Bytes() : upper{}, lower{} {
        for (int code = 1; code < 128; ++code) {
            int exponent = code >> 3, fraction = code & 7;
            if (exponent == 0) {
                for (exponent = 1; fraction < 8; --exponent) fraction *= 2;
                fraction &= 7;
            }
            const int bits = (exponent + 120) << 7 | fraction << 4;
            upper[code] = uint8_t(bits >> 8);
            lower[code] = uint8_t(bits);
        }
    }
};

static constexpr Float8Bytes float8_bytes;

/// Four columns of a tile: columns 0 and 2 as pairs, then 1 and 3.
TG_INLINE void float8_decode(const uint8_t *codes, __m512i &first, __m512i &second) {
    const auto bytes = [](const uint8_t *table, __m512i at) {
        return _mm512_permutex2var_epi8(_mm512_load_si512(table), at, _mm512_load_si512(table + 64));
    };
    constexpr __mmask64 odd = 0xaaaaaaaaaaaaaaaa;
    const __m512i four = (__m512i)load_codes(codes), low = bytes(float8_bytes.lower, four);
    const __m512i sign = _mm512_set1_epi8(-128);
    // a | (b & c)
    const __m512i high = _mm512_ternarylogic_epi32(bytes(float8_bytes.upper, four), four, sign, 0xf8);
    first = _mm512_mask_blend_epi8(odd, low, _mm512_slli_epi16(high, 8));
    second = _mm512_mask_blend_epi8(odd, _mm512_srli_epi16(low, 8), high);
}

TG_INLINE __m512 dot_pairs(__m512 acc, __m512i weights, const bf16 *pair) {
    int32_t x;
    __builtin_memcpy(&x, pair, 4);
    return _mm512_dpbf16_ps(acc, (__m512bh)weights, (__m512bh)_mm512_set1_epi32(x));
}

/// As float8_product for inputs in bfloat16: products of pairs, whose bytes come from tables.
template <int Rows>
static void float8_pairs(const QuantPart &part, int64_t tile, const QuantInput &x, int64_t row,
                         v16 *out) {
    const uint8_t *codes = part.codes + tile * part.tile_bytes();
    const uint8_t *factors = part.factors + tile * part.factor_bytes();
    const bf16 *inputs = x.pairs + row * x.columns;
    v16 acc[Rows] = {};
    for (int64_t group = 0; group < part.columns; group += part.group * kBlock, factors += 64) {
        const int64_t end = group + part.group * kBlock < part.columns ? group + part.group * kBlock
                                                                       : part.columns;
        __m512 sums[2][Rows];
        for (int r = 0; r < Rows; ++r) sums[0][r] = sums[1][r] = _mm512_setzero_ps();
        for (int64_t column = group; column < end; column += 4) {
            const bf16 *at = inputs + column * x.together;
            __m512i first, second;
            float8_decode(codes + column * kTile, first, second);
            for (int r = 0; r < Rows; ++r) {
                sums[0][r] = dot_pairs(sums[0][r], first, at + 4 * r);
                sums[1][r] = dot_pairs(sums[1][r], second, at + 4 * r + 2);
            }
        }
        v16 scale;
        __builtin_memcpy(&scale, factors, 64);
        for (int r = 0; r < Rows; ++r) acc[r] += (v16)(sums[0][r] + sums[1][r]) * scale;
    }
    for (int r = 0; r < Rows; ++r) out[r] = acc[r];
}

static void pair_row(const bf16 *x, int64_t columns, int64_t together, bf16 *out) {
    for (int64_t i = 0; i + 4 <= columns; i += 4, out += 4 * together) {
        out[0] = x[i];
        out[1] = x[i + 2];
        out[2] = x[i + 1];
        out[3] = x[i + 3];
    }
}
#endif

template <typename T>
TG_INLINE void store_tile(const QuantPart &part, int64_t tile, const v16 *sums, int64_t row,
                          int64_t rows, const QuantOutput &out) {
    const int64_t column = part.first + tile * kTile;
    const int64_t held = part.rows - tile * kTile < kTile ? part.rows - tile * kTile : kTile;
    const T *bias = static_cast<const T *>(out.bias);
    for (int64_t r = 0; r < rows; ++r) {
        T *to = static_cast<T *>(out.data) + (row + r) * out.stride + column;
        if (held == kTile) {
            store(to, bias ? sums[r] + load(bias + column) : sums[r]);
            continue;
        }
        for (int64_t i = 0; i < held; ++i) {
            put(to + i, bias ? sums[r][i] + widen(bias[column + i]) : sums[r][i]);
        }
    }
}

typedef void (*TileProduct)(const QuantPart &, int64_t, const QuantInput &, int64_t, v16 *);

template <int Rows>
static TileProduct tile_kernel(const QuantPart &part, const QuantInput &x) {
    switch (part.scales) {
    case Scales::plain:
        if (part.bits == 4) return tile_product<4, Scales::plain, Rows>;
        if (part.bits == 5) return tile_product<5, Scales::plain, Rows>;
        return part.bits == 8 ? tile_product<8, Scales::plain, Rows> : nullptr;
    case Scales::minimum:
        if (part.bits == 4) return tile_product<4, Scales::minimum, Rows>;
        return part.bits == 5 ? tile_product<5, Scales::minimum, Rows> : nullptr;
    case Scales::nested:
        if (part.bits == 4) return tile_product<4, Scales::nested, Rows>;
        return part.bits == 5 ? tile_product<5, Scales::nested, Rows> : nullptr;
    case Scales::halved: return part.bits == 6 ? tile_product<6, Scales::halved, Rows> : nullptr;
    case Scales::zeros:
        if (part.bits == 4) return tile_product<4, Scales::zeros, Rows>;
        return part.bits == 8 ? tile_product<8, Scales::zeros, Rows> : nullptr;
    case Scales::table: return part.bits == 4 ? table_product<Rows> : nullptr;
    case Scales::row: return part.bits == 8 ? tile_product<8, Scales::row, Rows> : nullptr;
    case Scales::float8:
#ifdef TG_QUANT_BF16
        if (x.pairs) return float8_pairs<Rows>;
#endif
        return float8_product<Rows>;
    }
    return nullptr;
}

static void product(const QuantPart &part, int64_t tile, int64_t tile_end, const QuantInput &x,
                    int64_t row, int64_t row_end, const QuantOutput &out) {
    for (int64_t r = row; r < row_end;) {
        const int64_t left = row_end - r;
        // Rows that are not there are padding of the input; their sums go nowhere.
        int64_t taken = left;
        TileProduct kernel;
#ifdef TG_QUANT_512
        if (left == 1) kernel = tile_kernel<1>(part, x);
        else if (left == 2) kernel = tile_kernel<2>(part, x);
        else if (left <= 4) kernel = tile_kernel<4>(part, x);
        else if (left <= 6) kernel = tile_kernel<6>(part, x);
        else kernel = tile_kernel<8>(part, x), taken = left < 8 ? left : 8;
#else
        if (left == 1) kernel = tile_kernel<1>(part, x);
        else kernel = tile_kernel<2>(part, x), taken = 2;
#endif
        if (!kernel) return;
        for (int64_t t = tile; t < tile_end; ++t) {
            v16 sums[8];
            kernel(part, t, x, r, sums);
            if (out.narrow) store_tile<bf16>(part, t, sums, r, taken, out);
            else store_tile<float>(part, t, sums, r, taken, out);
        }
        r += taken;
    }
}

/// Rounds to the nearest of -127…127 times a scale a block. A block with infinity or NaN is NaN.
template <typename T>
static void quantise(const T *x, int64_t columns, int8_t *values, QuantInputBlock *blocks) {
    for (int64_t b = 0; b < columns / kBlock; ++b) {
        const v16 low = load(x + b * kBlock), high = load(x + b * kBlock + 16);
        const v16 magnitudes[2] = {(v16)((u16x)low & 0x7fffffffu), (v16)((u16x)high & 0x7fffffffu)};
        const v16 best = magnitudes[0] > magnitudes[1] ? magnitudes[0] : magnitudes[1];
        const i16x bad = (i16x)((u16x)magnitudes[0] > 0x7f7fffffu) |
                         (i16x)((u16x)magnitudes[1] > 0x7f7fffffu);
        float largest = 0;
        int32_t broken = 0;
        for (int i = 0; i < 16; ++i) {
            largest = best[i] > largest ? best[i] : largest;
            broken |= bad[i];
        }
        if (broken) {
            const float nan = __builtin_nanf("");
            __builtin_memset(values + b * kBlock, 0, kBlock);
            blocks[b] = {nan, nan, nan, nan};
            continue;
        }
        const float scale = largest / 127.0f;
        // Below that the inverse would not be finite; the whole block is then less than anything else adds.
        const float inverse = largest > 1e-36f ? 127.0f / largest : 0.0f;
        const v16 magic = splat(12582912.0f);  // 1.5 · 2^23: adding rounds to a whole number
        const v16 a = (low * inverse + magic) - magic, c = (high * inverse + magic) - magic;
        const s16x bytes[2] = {
            __builtin_convertvector(__builtin_convertvector(a, i16x), s16x),
            __builtin_convertvector(__builtin_convertvector(c, i16x), s16x),
        };
        __builtin_memcpy(values + b * kBlock, bytes, 32);
        const float first = sum(a), second = sum(c);  // whole numbers: exact
        blocks[b] = {scale, scale * (first + second), scale * first, scale * second};
    }
}

static void widen_row(const bf16 *x, int64_t columns, float *out) {
    for (int64_t i = 0; i + 16 <= columns; i += 16) store(out + i, load(x + i));
}

static constexpr QuantKernels table(const char *name) {
#ifdef TG_QUANT_BF16
    return QuantKernels{name, 8, quantise<float>, quantise<bf16>, widen_row, pair_row, product};
#else
    return QuantKernels{name, 8, quantise<float>, quantise<bf16>, widen_row, nullptr, product};
#endif
}

#pragma clang diagnostic pop
