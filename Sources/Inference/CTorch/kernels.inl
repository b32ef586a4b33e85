// The kernels' one source. kernels_*.cpp include it inside a namespace and under a target attribute, so
// that the same vector code becomes AVX-512, AVX2 or SSE. Vectors have 16 floats everywhere.
//
// A row's result depends on that row alone: the order of its sums is fixed by k, never by how many
// rows share a tile.

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"  // every function with vectors is static or inlined

#include "vectors.inl"

/// exp by 2^n · polynomial, below 2 ulp; 0 below -87, infinity above 88.7; NaN stays NaN.
TG_INLINE v16 exponential(v16 x) {
    const v16 top = splat(88.72f), bottom = splat(-87.3f);
    v16 c = x > top ? top : x;
    c = c < bottom ? bottom : c;
    const v16 magic = splat(12582912.0f);  // 1.5 · 2^23: adding rounds to a whole number
    const v16 n = (c * 1.44269504f + magic) - magic;
    v16 r = c - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    v16 p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    // Two factors, as 2^128 alone has no float.
    const i16x whole = __builtin_convertvector(n, i16x);
    const i16x half = whole >> 1;
    p = p * (v16)((half + 127) << 23) * (v16)((whole - half + 127) << 23);
    p = x < splat(-87.3f) ? splat(0.0f) : p;
    p = x > top ? splat(__builtin_inff()) : p;
    return x == x ? p : x;
}

template <typename T>
static void rms_norm(const T *x, const T *w, T *out, int64_t dim, float eps) {
    v16 squares{};
    int64_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        const v16 v = load(x + i);
        squares += v * v;
    }
    float total = sum(squares);
    for (; i < dim; ++i) total += widen(x[i]) * widen(x[i]);
    const float factor = 1.0f / __builtin_sqrtf(total / float(dim) + eps);
    for (i = 0; i + 16 <= dim; i += 16) {
        store(out + i, rounded(x, load(x + i) * factor) * load(w + i));
    }
    for (; i < dim; ++i) put(out + i, rounded(x, widen(x[i]) * factor) * widen(w[i]));
}

/// The mean first, then the squares around it.
template <typename T>
static void layer_norm(const T *x, const T *w, const T *bias, T *out, int64_t dim, float eps) {
    v16 totals{};
    int64_t i = 0;
    for (; i + 16 <= dim; i += 16) totals += load(x + i);
    float mean = sum(totals);
    for (; i < dim; ++i) mean += widen(x[i]);
    mean /= float(dim);
    v16 squares{};
    for (i = 0; i + 16 <= dim; i += 16) {
        const v16 v = load(x + i) - mean;
        squares += v * v;
    }
    float total = sum(squares);
    for (; i < dim; ++i) total += (widen(x[i]) - mean) * (widen(x[i]) - mean);
    const float factor = 1.0f / __builtin_sqrtf(total / float(dim) + eps);
    for (i = 0; i + 16 <= dim; i += 16) {
        v16 v = (load(x + i) - mean) * factor;
        if (w) v = v * load(w + i);
        if (bias) v = v + load(bias + i);
        store(out + i, v);
    }
    for (; i < dim; ++i) {
        float v = (widen(x[i]) - mean) * factor;
        if (w) v = v * widen(w[i]);
        if (bias) v = v + widen(bias[i]);
        put(out + i, v);
    }
}

template <typename T>
static void swiglu(const T *gate, const T *up, T *out, int64_t count) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const v16 g = load(gate + i);
        store(out + i, rounded(gate, g / (1.0f + exponential(-g))) * load(up + i));
    }
    if (i < count) {
        v16 g{}, u{};
        for (int64_t j = i; j < count; ++j) g[j - i] = widen(gate[j]), u[j - i] = widen(up[j]);
        const v16 y = rounded(gate, g / (1.0f + exponential(-g))) * u;
        for (int64_t j = i; j < count; ++j) put(out + j, y[j - i]);
    }
}

/// x · Φ(x), by the error function or by its approximation with tanh.
template <typename T>
static void gelu(const T *x, T *out, int64_t count, bool by_tanh) {
    if (!by_tanh) {
        for (int64_t i = 0; i < count; ++i) {
            const float v = widen(x[i]);
            put(out + i, 0.5f * v * (1.0f + __builtin_erff(v * 0.70710678f)));
        }
        return;
    }
    // tanh(u) = 1 - 2 / (1 + exp(2u)), hence x · (1 + tanh(u)) / 2 = x / (1 + exp(-2u)).
    const auto approximate = [](v16 v) {
        return v / (1.0f + exponential(v * (v * v * 0.044715f + 1.0f) * -1.59576912f));
    };
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) store(out + i, approximate(load(x + i)));
    if (i < count) {
        v16 v{};
        for (int64_t j = i; j < count; ++j) v[j - i] = widen(x[j]);
        v = approximate(v);
        for (int64_t j = i; j < count; ++j) put(out + j, v[j - i]);
    }
}

template <typename T>
static void rope_wide(T *head, const float *cosines, const float *sines, int64_t half) {
    for (int64_t i = 0; i < half; ++i) {
        const float a = widen(head[i]), b = widen(head[i + half]);
        put(head + i, a * cosines[i] - b * sines[i]);
        put(head + i + half, b * cosines[i] + a * sines[i]);
    }
}

template <typename T>
static void rope(T *head, const float *cosines, const float *sines, int64_t half) {
    for (int64_t i = 0; i < half; ++i) {
        const float a = widen(head[i]), b = widen(head[i + half]);
        const float c = rounded(head, cosines[i]), s = rounded(head, sines[i]);
        put(head + i, rounded(head, a * c) - rounded(head, b * s));
        put(head + i + half, rounded(head, b * c) + rounded(head, a * s));
    }
}

/// c[4][64] = (c +) a[4][0..<depth] · b[depth][64]; b's and c's rows have `width` elements.
template <bool Accumulate>
TG_INLINE void tile(const float *a, int64_t a_stride, const float *b, int64_t width, float *c,
                    int64_t c_stride, int64_t depth) {
    v16 acc[4][4];
    for (int r = 0; r < 4; ++r)
        for (int j = 0; j < 4; ++j)
            acc[r][j] = Accumulate ? load(c + r * c_stride + 16 * j) : v16{};
    for (int64_t k = 0; k < depth; ++k) {
        const v16 b0 = load(b + k * width), b1 = load(b + k * width + 16);
        const v16 b2 = load(b + k * width + 32), b3 = load(b + k * width + 48);
        for (int r = 0; r < 4; ++r) {
            const v16 x = splat(a[r * a_stride + k]);
            acc[r][0] += x * b0;
            acc[r][1] += x * b1;
            acc[r][2] += x * b2;
            acc[r][3] += x * b3;
        }
    }
    for (int r = 0; r < 4; ++r)
        for (int j = 0; j < 4; ++j) store(c + r * c_stride + 16 * j, acc[r][j]);
}

/// c[4][width] += a[4][0..<depth] · b[depth][width] for any width: 64 columns at a time, then 16, then 1.
TG_INLINE void accumulate(const float *a, int64_t a_stride, const float *b, int64_t width, float *c,
                          int64_t depth) {
    int64_t j = 0;
    for (; j + 64 <= width; j += 64) tile<true>(a, a_stride, b + j, width, c + j, width, depth);
    for (; j + 16 <= width; j += 16) {
        for (int r = 0; r < 4; ++r) {
            v16 acc = load(c + r * width + j);
            for (int64_t k = 0; k < depth; ++k) {
                acc += splat(a[r * a_stride + k]) * load(b + k * width + j);
            }
            store(c + r * width + j, acc);
        }
    }
    for (; j < width; ++j) {
        for (int r = 0; r < 4; ++r) {
            float acc = c[r * width + j];
            for (int64_t k = 0; k < depth; ++k) acc += a[r * a_stride + k] * b[k * width + j];
            c[r * width + j] = acc;
        }
    }
}

TG_INLINE const float *widened(const float *source, float *, int64_t) { return source; }
TG_INLINE const float *widened(const bf16 *source, float *scratch, int64_t count) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) store(scratch + i, load(source + i));
    for (; i < count; ++i) scratch[i] = widen(source[i]);
    return scratch;
}

/// Running softmax over key blocks of 64, from position 0 or the first that the window shows on.
///
/// A block that a row does not see at all leaves the row's sums as they are, so that its bits do not
/// depend on the rows beside it.
template <typename T>
static void attention(const AttentionItem<T> &item, float *scratch) {
    const int64_t dim = item.dim, pairs = item.rows * item.group, padded = (pairs + 3) / 4 * 4;
    float *block_floats = scratch;             // [2, 64 · dim]
    float *queries = block_floats + 128 * dim; // [padded, dim], scaled
    float *scores = queries + padded * dim;    // [padded, 64]
    float *sums = scores + padded * 64;        // [padded, dim]
    float *maxima = sums + padded * dim;       // [padded]
    float *totals = maxima + padded;           // [padded]

    for (int64_t p = 0; p < padded; ++p) {
        const int64_t row = p / item.group, head = p % item.group;
        for (int64_t e = 0; e < dim; ++e) {
            queries[p * dim + e] =
                p < pairs ? widen(item.queries[row * item.query_stride + head * item.query_step + e]) * item.scale
                          : 0.0f;
            sums[p * dim + e] = 0;
        }
        maxima[p] = -__builtin_inff();
        totals[p] = 0;
    }
    const int64_t last = item.position + item.rows - 1;
    const int64_t first = item.position - item.window + 1;
    for (int64_t base = first > 0 ? first / 64 * 64 : 0; base <= last; base += 64) {
        const T *block = item.cache + base / 64 * item.block_stride;
        const int64_t held = last - base + 1 < 64 ? last - base + 1 : 64;
        const float *keys = widened(block, block_floats, 64 * dim);
        const float *values = widened(block + 64 * dim, block_floats + 64 * dim, held * dim);
        for (int64_t p = 0; p < padded; p += 4) {
            // Rows of the tile that lie wholly before this block have nothing here.
            const int64_t tile_last = item.position + (p + 3 < pairs ? p + 3 : pairs - 1) / item.group;
            if (tile_last < base) continue;
            // … and those whose window lies wholly behind it.
            if (item.position + p / item.group - item.window >= base + 63) continue;
            tile<false>(queries + p * dim, dim, keys, 64, scores + p * 64, 64, dim);
            for (int64_t q = p; q < p + 4; ++q) {
                const int64_t row = (q < pairs ? q : pairs - 1) / item.group;
                const int64_t seen = item.position + row - base + 1;  // keys of this block it may see
                float *s = scores + q * 64;
                const int64_t hidden = seen - item.window;  // keys at its start that it no longer sees
                for (int64_t k = seen < 0 ? 0 : seen; k < 64; ++k) s[k] = -__builtin_inff();
                for (int64_t k = 0; k < hidden && k < 64; ++k) s[k] = -__builtin_inff();
                if (seen <= 0 || hidden >= 64) {
                    for (int64_t k = 0; k < 64; ++k) s[k] = 0;
                    continue;
                }
                v16 best = load(s);
                for (int j = 16; j < 64; j += 16) {
                    const v16 v = load(s + j);
                    best = v > best ? v : best;
                }
                float maximum = maxima[q];
                for (int j = 0; j < 16; ++j) maximum = best[j] > maximum ? best[j] : maximum;
                if (maximum == -__builtin_inff()) maximum = 0;
                v16 block_total{};
                for (int j = 0; j < 64; j += 16) {
                    const v16 weight = exponential(load(s + j) - maximum);
                    store(s + j, weight);
                    block_total += weight;
                }
                if (maximum != maxima[q]) {
                    const float shrink = exponential(splat(maxima[q] - maximum))[0];
                    totals[q] *= shrink;
                    for (int64_t e = 0; e < dim; ++e) sums[q * dim + e] *= shrink;
                    maxima[q] = maximum;
                }
                totals[q] += sum(block_total);
            }
            accumulate(scores + p * 64, 64, values, dim, sums + p * dim, held);
        }
    }
    for (int64_t p = 0; p < pairs; ++p) {
        T *out = item.out + p / item.group * item.out_stride + p % item.group * item.out_step;
        for (int64_t e = 0; e < dim; ++e) put(out + e, sums[p * dim + e] / totals[p]);
    }
}

static bool log_sum(const float *logits, int64_t count, float *largest, double *total) {
    v16 best = splat(-__builtin_inff());
    i16x bad{};
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const v16 v = load(logits + i);
        bad |= v != v;
        best = v > best ? v : best;
    }
    float maximum = -__builtin_inff();
    for (int j = 0; j < 16; ++j) maximum = best[j] > maximum ? best[j] : maximum;
    for (int j = 0; j < 16; ++j)
        if (bad[j]) return false;
    for (int64_t j = i; j < count; ++j) {
        if (logits[j] != logits[j]) return false;
        maximum = logits[j] > maximum ? logits[j] : maximum;
    }
    if (!(maximum > -__builtin_inff()) || maximum == __builtin_inff()) return false;
    double sums = 0;
    for (i = 0; i + 16 <= count; i += 16) sums += sum(exponential(load(logits + i) - maximum));
    if (i < count) {
        v16 rest = splat(-__builtin_inff());
        for (int64_t j = i; j < count; ++j) rest[j - i] = logits[j];
        sums += sum(exponential(rest - maximum));
    }
    *largest = maximum;
    *total = sums;
    return true;
}

#include "products.inl"
#include "recurrence.inl"

static constexpr Kernels table(const char *name) {
    return Kernels{
        name,
        {rms_norm<float>, layer_norm<float>, swiglu<float>, gelu<float>, rope<float>, rope_wide<float>,
         attention<float>},
        {rms_norm<bf16>, layer_norm<bf16>, swiglu<bf16>, gelu<bf16>, rope<bf16>, rope_wide<bf16>,
         attention<bf16>},
        gemv,
        gemm,
        log_sum,
        compare,
        recall,
        fold,
        turn_pairs,
    };
}

#pragma clang diagnostic pop
