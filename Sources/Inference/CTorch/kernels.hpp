// The fused CPU kernels, compiled once per instruction set from kernels.inl.
#pragma once

#include <cstdint>

namespace tg {

using bf16 = uint16_t;  // the upper half of a float32

/// Rows of queries of one key-value head against one sequence's cache of one layer.
template <typename T>
struct AttentionItem {
    const T *queries;        // first row's first head of the group
    int64_t query_stride;    // elements between rows
    int64_t query_step;      // elements between the members of a group
    T *out;                  // the same place in the answer
    int64_t out_stride, out_step;
    int64_t rows, group;     // positions of this item; queries of each, which share the key-value head
    int64_t dim;
    int64_t position;        // of the first row
    int64_t window;          // keys that a row sees, its own among them
    float scale;
    const T *cache;          // the head's keys of the first block; its values follow
    int64_t block_stride;    // elements between blocks
};

template <typename T>
struct LayerKernels {
    void (*rms_norm)(const T *x, const T *w, T *out, int64_t dim, float eps);
    // w and bias may be null.
    void (*layer_norm)(const T *x, const T *w, const T *bias, T *out, int64_t dim, float eps);
    void (*swiglu)(const T *gate, const T *up, T *out, int64_t count);
    void (*gelu)(const T *x, T *out, int64_t count, bool by_tanh);
    void (*rope)(T *head, const float *cosines, const float *sines, int64_t half);
    // The same without rounding between.
    void (*rope_wide)(T *head, const float *cosines, const float *sines, int64_t half);
    void (*attention)(const AttentionItem<T> &item, float *scratch);
};

/// Rows of one block of linear attention.
struct RecallItem {
    const float *queries;  // the block's, [16, width]
    const float *values;   // the block's, [16, dim]
    const float *weights;  // [16, 16]: the products of the rows' queries with those before them
    const float *sums;     // [width, dim]; null before the first full block
    float *out;            // [rows, dim]
    int64_t width, dim;
    int64_t first, rows;   // rows of the block that are asked for
};

struct Kernels {
    const char *name;
    LayerKernels<float> f32;
    LayerKernels<bf16> b16;
    // out[m][n] for n in [from, to) of m = 1…4 rows: x [m, k] · w [n, k]ᵀ + bias.
    void (*gemv)(const bf16 *x, const bf16 *w, const bf16 *bias, bf16 *out, int64_t m, int64_t n,
                 int64_t k, int64_t from, int64_t to);
    // The same in float32 for any number of rows; a row's bits do not depend on the others.
    void (*gemm)(const float *x, const float *w, const float *bias, float *out, int64_t m, int64_t n,
                 int64_t k, int64_t from, int64_t to);
    // Largest logit and the sum of exp(logit - largest); false where one is NaN or none finite.
    bool (*log_sum)(const float *logits, int64_t count, float *largest, double *sum);
    // Linear attention; see recurrence.inl.
    void (*compare)(const float *queries, int64_t width, int64_t row, float *weights);
    void (*recall)(const RecallItem &item, int64_t from, int64_t to);
    void (*fold)(const float *queries, const float *values, float *sums, int64_t width, int64_t dim,
                 int64_t from, int64_t to);
    void (*turn_pairs)(float *row, const float *cosines, const float *sines, int64_t pairs);
};

/// Floats of scratch that `attention` needs for items of up to `pairs` rows · group.
inline int64_t attention_scratch(int64_t pairs, int64_t dim) {
    const int64_t padded = (pairs + 3) / 4 * 4;
    return 2 * 64 * dim + padded * (dim + 64 + dim + 2) + 64;
}

/// The best set for this CPU that tg_limit_cpu allows the thread; not to be asked inside `parallel`.
const Kernels &kernels() noexcept;

extern const Kernels baseline_kernels, avx2_kernels, avx512_kernels, avx512bf16_kernels;

}  // namespace tg
