// The kernels' launch functions: plain pointers into device memory and sizes in, exceptions out.
//
// 1. `T` rows, `D` columns; a pointer is to device memory unless it is said to be the host's.
// 2. Integers that differ from step to step are read from device memory: a captured graph sees new ones.
// 3. No function waits for the device or allocates; scratch comes from the caller.
#pragma once

#include <cstdint>

#include "../CTorch/include/ctorch.h"
#include "../CTorch/quant.hpp"
#include "launch.hpp"

namespace tg::device {

/// Where one layer's keys and values lie in a sequence's memory: [positions][layers][2][kv_heads][dim].
struct CacheLayout {
    int64_t keys, values;  // elements from the sequence's base to those of position 0
    int64_t stride;        // elements between positions
    int64_t kv_heads, dim;
};

/// What a step's rows say, one entry each.
struct CacheRows {
    void *const *bases;      // of the row's sequence; null: the row is padding, writes nowhere and sees nothing
    const int32_t *places;   // positions before it: where it is written; it sees those up to itself
};

/// How one row draws; offsets count 32-bit words of the arena.
struct SampleRow {
    float temperature, top_p, min_p, presence, frequency, repetition;
    int32_t top_k;
    int32_t top_logprobs;    // -1: no logprobs
    uint64_t seed;
    uint32_t choice, position;
    int32_t history, history_count;        // tokens, then how often each was generated
    int32_t bias, bias_count;              // tokens, then values (float)
    int32_t suppressed, suppressed_count;
    int32_t mask, mask_words;              // mask_words 32-bit words; -1: all allowed
};

// Layers -----------------------------------------------------------------------------------------

// An id outside 0..<V gives zeros.
void launch_embedding(tg_dtype type, const void *table, int64_t vocabulary, int64_t columns, const int32_t *ids,
                      int64_t rows, void *out);
void launch_rms_norm(tg_dtype type, const void *x, const void *w, void *out, int64_t rows, int64_t columns,
                     float eps);
// residual += x, then out = norm(residual).
void launch_add_rms_norm(tg_dtype type, const void *x, void *residual, const void *w, void *out, int64_t rows,
                         int64_t columns, float eps);
// In place, in columns from `column` of x [rows, stride].
void launch_head_norm(tg_dtype type, void *x, int64_t rows, int64_t stride, int64_t column, int64_t heads,
                      int64_t dim, const void *w, float eps);
// w and bias may be null.
void launch_layer_norm(tg_dtype type, const void *x, const void *w, const void *bias, void *out, int64_t rows,
                       int64_t columns, float eps);
// angles [table_rows, dim] float32: cosines, then sines; a position outside the table turns nothing.
void launch_rope(tg_dtype type, void *x, int64_t rows, int64_t stride, int64_t column, int64_t heads, int64_t dim,
                 const float *angles, int64_t table_rows, const int32_t *positions, bool wide);
void launch_swiglu(tg_dtype type, const void *x, void *out, int64_t rows, int64_t width);
void launch_gelu(tg_dtype type, const void *x, void *out, int64_t count, bool by_tanh);
void launch_add(tg_dtype type, const void *a, const void *b, void *out, int64_t count);
void launch_multiply(tg_dtype type, const void *a, const void *b, void *out, int64_t count);
void launch_relu(tg_dtype type, const void *x, void *out, int64_t count);
void launch_convert(tg_dtype from, const void *x, tg_dtype to, void *out, int64_t count);
void launch_take_rows(tg_dtype type, const void *x, int64_t columns, const int32_t *rows, int64_t count, void *out);
// out [rows, count] from x [rows, columns]: a column's number each, -1 for a zero; `back` turns it around.
void launch_take_columns(tg_dtype type, const void *x, int64_t rows, int64_t columns, const int32_t *from,
                         int64_t count, bool back, void *out);
// to[i] += from[i].
void launch_add_in_place(tg_dtype type, void *to, const void *from, int64_t count);
void launch_mix_rows(const float *table, int64_t table_rows, int64_t columns, const int32_t *rows,
                     const float *weights, int64_t count, int64_t taps, float *out);
// What a product with few rows does besides; each is rounded as the operation of its own rounds.
struct ProductAround {
    const void *norm = nullptr;   // [k]: rms_norm of the inputs before
    const void *sum = nullptr;    // [rows, n]: is added behind; may be `out`
    float eps = 0;                // the norm's
    bool gated = false;           // swiglu behind: out is [rows, n / 2]
    bool wide = false;            // out is float32 of the rounded values
};
/// Rows up to which the own product beats a library's: each weight is multiplied by every row in float32, which
/// from 5 rows on takes longer than reading it.
constexpr int64_t kFewRows = 4;
// Whether inputs of k columns fit where a norm or a gate needs them.
bool gemv_takes(tg_dtype type, int64_t rows, int64_t k, const ProductAround &around);
// out [rows, n] = x [rows, k] · w [n, k]ᵀ + bias (or null), for up to kFewRows rows.
void launch_gemv(tg_dtype type, const void *x, int64_t rows, const void *w, const void *bias, void *out,
                 int64_t n, int64_t k, const ProductAround &around = {});
void launch_transpose(tg_dtype type, const void *x, int64_t rows, int64_t columns, void *out);

// Attention --------------------------------------------------------------------------------------

// Keys and values of qkv [rows, (heads + 2 · kv_heads) · dim] into the caches.
void launch_kv_write(tg_dtype type, const void *qkv, int64_t rows, int64_t heads, const CacheLayout &layout,
                     CacheRows where);
// Head norms (weights may be null), rope and kv_write in one: queries are turned in place, keys and values of
// qkv stay as they are. dim is even, at most 256.
void launch_rope_kv_write(tg_dtype type, void *qkv, int64_t rows, int64_t heads, const CacheLayout &layout,
                          CacheRows where, const void *query_norm, const void *key_norm, float eps,
                          const float *angles, int64_t table_rows, const int32_t *positions, bool wide);
/// Blocks among which a layer's attention is divided while rows are few: 16 for each of 132 multiprocessors.
constexpr int64_t kPartBlocks = 2112;
/// What attention does to queries and keys before: as launch_rope_kv_write. No angles: nothing.
struct HeadTurn {
    const void *query_norm = nullptr, *key_norm = nullptr;
    const float *angles = nullptr;
    const int32_t *positions = nullptr;
    int64_t table_rows = 0;
    float eps = 0;
};
// Bytes of scratch for `rows` rows that see up to `longest` keys.
int64_t attention_scratch_bytes(int64_t rows, int64_t heads, int64_t kv_heads, int64_t dim, int64_t longest);
// Causal attention of queries in qkv over what kv_write has put: each row sees the last `window` keys up to
// its own. For decodes and any other rows; `longest` bounds places + 1 and fixes the grid. counts [kPartBlocks]:
// zeros, and zeros again afterwards. With a turn each row is the only one of its sequence; its own key and value
// come from qkv, and are written on the way.
void launch_attention(tg_dtype type, const void *qkv, int64_t rows, int64_t heads, const CacheLayout &layout,
                      CacheRows where, float scale, int64_t window, const HeadTurn &turn, int64_t longest,
                      void *scratch, uint32_t *counts, void *out);
// Attention without order: queries [rows, heads · dim], of which row r sees keys and values of kv
// [all, 2 · heads · dim] (keys, then values, of a row) in [first[r], end[r]).
void launch_segment_attention(tg_dtype type, const void *queries, int64_t rows, int64_t heads, int64_t dim,
                              float scale, const void *kv, const int32_t *first, const int32_t *end, void *out);

// Sampling ---------------------------------------------------------------------------------------

// Floats of scratch that begin at a multiple of 16 bytes.
int64_t sample_scratch_floats(int64_t rows, int64_t vocabulary);
// What tg_sample answers for the same logits.
void launch_sample(const float *logits, int64_t rows, int64_t vocabulary, const SampleRow *how,
                   const int32_t *arena, float *scratch, tg_sampled *out);
// ids[i] = the token of answers[follows[i]], 0 where none was drawn; a negative `follows` leaves it alone.
void launch_follow(const tg_sampled *answers, const int32_t *follows, int64_t rows, int32_t *ids);

// Quantised weights ------------------------------------------------------------------------------

// Parts as quant.hpp has them, their codes and factors in device memory.
// Rows [row, row + rows) of the part's own as a dense matrix.
void launch_unpack(const QuantPart &part, int64_t row, int64_t rows, tg_dtype type, void *out);
// The rows `ids` of the whole weight that lie in this part; others are left alone.
void launch_unpack_rows(const QuantPart &part, const int32_t *ids, int64_t count, tg_dtype type, void *out);
/// Rows up to which a part's codes are multiplied as they are; more take dense weights on the way.
int64_t few_packed_rows(const QuantPart &part, tg_dtype type);
/// A part and the input [rows, K] in its columns' order.
struct PackedInput {
    const QuantPart *part;
    const void *x;
};
// For each part, out [rows, stride] from column part.first on: x · partᵀ + bias + sum (each null, or of x's type;
// sum may be `out`); for up to few_packed_rows rows. Parts of one kind are one launch.
void launch_packed_products(const PackedInput *parts, int64_t count, tg_dtype type, int64_t rows,
                            const void *bias, const void *sum, tg_dtype out_type, void *out, int64_t stride);

// Linear attention (BDH) -------------------------------------------------------------------------

struct RecurrenceRow {
    float *sums, *queries, *values;  // as tg_recurrence
    int64_t start, count, offset;    // positions before; rows; the first row of the step
};
// As tg_linear_attention: a block of threads a run and a share of the values' columns.
void launch_linear_attention(const float *queries, const float *values, int64_t width, int64_t dim,
                             const RecurrenceRow *runs, int64_t run_count, float *out);
void launch_turn_pairs(const float *x, const float *angles, int64_t rows, int64_t columns, float *out);
void launch_pair_angles(const float *cycles, int64_t pairs, const int32_t *positions, int64_t rows, float *out);

}  // namespace tg::device
