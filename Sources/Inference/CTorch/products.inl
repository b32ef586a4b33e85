// Products with a weight matrix: bf16 for few rows, float32 for any number. Included by kernels.inl.
//
// Every output is one chain of sums over k whose order does not depend on the tile.

// bf16 products of pairs: the lower element of each 32-bit lane, then the upper one. AVX-512 BF16 has
// an instruction for it; elsewhere the halves are widened by shift and mask.
typedef uint32_t lanes __attribute__((vector_size(64)));

TG_INLINE v16 dot_pairs(v16 acc, lanes w, lanes x) {
#ifdef TG_BF16_DOT
    return (v16)_mm512_dpbf16_ps((__m512)acc, (__m512bh)w, (__m512bh)x);
#else
    acc += (v16)(w << 16) * (v16)(x << 16);
    return acc + (v16)(w & 0xffff0000u) * (v16)(x & 0xffff0000u);
#endif
}

TG_INLINE lanes load_lanes(const bf16 *p, int64_t count) {
    lanes v{};
    if (count >= 32) __builtin_memcpy(&v, p, 64);
    else __builtin_memcpy(&v, p, size_t(count) * 2);
    return v;
}

template <int Rows, int Columns>
TG_INLINE void gemv_block(const bf16 *x, const bf16 *w, const bf16 *bias, bf16 *out, int64_t n,
                          int64_t k, int64_t at) {
    v16 acc[Columns][Rows] = {};
    int64_t i = 0;
    for (; i + 32 <= k; i += 32) {
        lanes inputs[Rows];
        for (int r = 0; r < Rows; ++r) inputs[r] = load_lanes(x + r * k + i, 32);
        for (int c = 0; c < Columns; ++c) {
            const lanes weights = load_lanes(w + (at + c) * k + i, 32);
            for (int r = 0; r < Rows; ++r) acc[c][r] = dot_pairs(acc[c][r], weights, inputs[r]);
        }
    }
    if (i < k) {
        for (int c = 0; c < Columns; ++c) {
            const lanes weights = load_lanes(w + (at + c) * k + i, k - i);
            for (int r = 0; r < Rows; ++r) {
                acc[c][r] = dot_pairs(acc[c][r], weights, load_lanes(x + r * k + i, k - i));
            }
        }
    }
    for (int c = 0; c < Columns; ++c)
        for (int r = 0; r < Rows; ++r)
            out[r * n + at + c] = narrow(sum(acc[c][r]) + (bias ? widen(bias[at + c]) : 0.0f));
}

template <int Rows>
static void gemv_rows(const bf16 *x, const bf16 *w, const bf16 *bias, bf16 *out, int64_t n,
                      int64_t k, int64_t from, int64_t to) {
    int64_t at = from;
    for (; at + 4 <= to; at += 4) gemv_block<Rows, 4>(x, w, bias, out, n, k, at);
    for (; at < to; ++at) gemv_block<Rows, 1>(x, w, bias, out, n, k, at);
}

static void gemv(const bf16 *x, const bf16 *w, const bf16 *bias, bf16 *out, int64_t m, int64_t n,
                 int64_t k, int64_t from, int64_t to) {
    switch (m) {
    case 1: return gemv_rows<1>(x, w, bias, out, n, k, from, to);
    case 2: return gemv_rows<2>(x, w, bias, out, n, k, from, to);
    case 3: return gemv_rows<3>(x, w, bias, out, n, k, from, to);
    case 4: return gemv_rows<4>(x, w, bias, out, n, k, from, to);
    default: return;
    }
}

/// Lane j of an accumulator sums the products of k ≡ j (mod 16) in order, whatever the tile.
template <int Rows, int Columns>
TG_INLINE void gemm_block(const float *x, const float *w, const float *bias, float *out, int64_t n,
                          int64_t k, int64_t row, int64_t at) {
    v16 acc[Rows][Columns] = {};
    int64_t i = 0;
    for (; i + 16 <= k; i += 16) {
        v16 weights[Columns];
        for (int c = 0; c < Columns; ++c) weights[c] = load(w + (at + c) * k + i);
        for (int r = 0; r < Rows; ++r) {
            const v16 input = load(x + (row + r) * k + i);
            for (int c = 0; c < Columns; ++c) acc[r][c] += input * weights[c];
        }
    }
    if (i < k) {
        for (int c = 0; c < Columns; ++c) {
            v16 weights{};
            __builtin_memcpy(&weights, w + (at + c) * k + i, size_t(k - i) * 4);
            for (int r = 0; r < Rows; ++r) {
                v16 input{};
                __builtin_memcpy(&input, x + (row + r) * k + i, size_t(k - i) * 4);
                acc[r][c] += input * weights;
            }
        }
    }
    for (int r = 0; r < Rows; ++r)
        for (int c = 0; c < Columns; ++c)
            out[(row + r) * n + at + c] = sum(acc[r][c]) + (bias ? bias[at + c] : 0.0f);
}

template <int Rows>
TG_INLINE void gemm_row(const float *x, const float *w, const float *bias, float *out, int64_t n,
                        int64_t k, int64_t row, int64_t from, int64_t to) {
    int64_t at = from;
    for (; at + 4 <= to; at += 4) gemm_block<Rows, 4>(x, w, bias, out, n, k, row, at);
    for (; at < to; ++at) gemm_block<Rows, 1>(x, w, bias, out, n, k, row, at);
}

static void gemm(const float *x, const float *w, const float *bias, float *out, int64_t m, int64_t n,
                 int64_t k, int64_t from, int64_t to) {
    int64_t row = 0;
    for (; row + 4 <= m; row += 4) gemm_row<4>(x, w, bias, out, n, k, row, from, to);
    for (; row < m; ++row) gemm_row<1>(x, w, bias, out, n, k, row, from, to);
}
