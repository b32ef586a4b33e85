// libtorch behind a C ABI at operator level: no model names, no policy.
//
// 1. Every function is noexcept. A failure keeps the first message of the thread (tg_error) and
//    answers an undefined tensor, which every later function accepts and passes on.
// 2. A tensor handle owns one reference; tg_free gives it back. NULL is the undefined tensor.
// 3. Sizes are int64_t. Shapes are checked here; callers may rely on an error instead of a crash.
// 4. Kernels choose by CPUID between AVX-512 (with BF16 where present), AVX2 and plain x86-64.

#ifndef CTORCH_H
#define CTORCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define TG_NOEXCEPT noexcept
#else
#define TG_NOEXCEPT
#endif

typedef struct tg_tensor_s *tg_tensor;

typedef enum tg_dtype : int32_t { TG_F32 = 0, TG_BF16 = 1, TG_F16 = 2 } tg_dtype;

// Errors and the runtime -----------------------------------------------------------------------

// The first error message of this thread since the last tg_clear_error, or NULL.
const char *tg_error(void) TG_NOEXCEPT;
void tg_clear_error(void) TG_NOEXCEPT;
void tg_set_error(const char *message) TG_NOEXCEPT;

// Threads of one operation.
void tg_start(int32_t threads) TG_NOEXCEPT;
int32_t tg_threads(void) TG_NOEXCEPT;
// Grows with each operation of our kernels; any thread. Each layer of a model has some.
uint64_t tg_progress(void) TG_NOEXCEPT;
// What the kernels use: "avx512bf16", "avx512", "avx2" or "baseline".
const char *tg_cpu(void) TG_NOEXCEPT;
// For tests: the best kernels allowed to this thread, 0 baseline … 3 avx512bf16; what the CPU lacks stays off.
void tg_limit_cpu(int32_t level) TG_NOEXCEPT;

// The device ------------------------------------------------------------------------------------

// Loads what computes on the GPU: the driver, libtorch's CUDA library, then `library`; `driver` is false for
// one that needs neither. Before the first tensor, once a process; `cache`: folder for compiled kernels, or NULL.
// False: `message` says why, and nothing of CUDA is loaded that the missing thing comes before.
bool tg_start_device(const char *library, bool driver, const char *cache, char *message,
                     size_t room) TG_NOEXCEPT;
// Whether this thread's new tensors go to the device that was started.
void tg_use_device(bool use) TG_NOEXCEPT;
bool tg_on_device(void) TG_NOEXCEPT;
// Of the device that was started; "" without one.
const char *tg_device_name(void) TG_NOEXCEPT;
const char *tg_device_model(void) TG_NOEXCEPT;
const char *tg_device_bus(void) TG_NOEXCEPT;
// Bytes: of the device, of those free, in tensors, held by the allocator. Zeros without a device.
typedef struct tg_device_memory { int64_t total, free, allocated, reserved; } tg_device_memory;
tg_device_memory tg_memory_of_device(void) TG_NOEXCEPT;
void tg_trim_device(void) TG_NOEXCEPT;
// Whether an error has spoilt the device for this process.
bool tg_device_lost(void) TG_NOEXCEPT;

// Tensors --------------------------------------------------------------------------------------

void tg_free(tg_tensor t) TG_NOEXCEPT;
tg_tensor tg_empty(tg_dtype dtype, const int64_t *shape, int32_t rank) TG_NOEXCEPT;
tg_tensor tg_zeros(tg_dtype dtype, const int64_t *shape, int32_t rank) TG_NOEXCEPT;
// Zeros in address space of their own; memory counts only as it is written.
tg_tensor tg_reserve(tg_dtype dtype, const int64_t *shape, int32_t rank) TG_NOEXCEPT;
tg_tensor tg_from_floats(const float *values, const int64_t *shape, int32_t rank) TG_NOEXCEPT;
int32_t tg_rank(tg_tensor t) TG_NOEXCEPT;
int64_t tg_size(tg_tensor t, int32_t axis) TG_NOEXCEPT;
int32_t tg_dtype_of(tg_tensor t) TG_NOEXCEPT;  // -1: undefined or another kind
void *tg_data(tg_tensor t) TG_NOEXCEPT;        // NULL unless dense on the CPU
void *tg_address(tg_tensor t) TG_NOEXCEPT;     // NULL unless dense; on the device not to be followed
bool tg_is_on_device(tg_tensor t) TG_NOEXCEPT;
// On the device that the thread uses, or the same tensor. On the CPU whatever the thread uses.
tg_tensor tg_place(tg_tensor t) TG_NOEXCEPT;
tg_tensor tg_empty_on_cpu(tg_dtype dtype, const int64_t *shape, int32_t rank) TG_NOEXCEPT;
tg_tensor tg_reserve_on_cpu(tg_dtype dtype, const int64_t *shape, int32_t rank) TG_NOEXCEPT;
// Copies as float32; count must be the number of elements.
bool tg_copy_out(tg_tensor t, float *out, int64_t count) TG_NOEXCEPT;
tg_tensor tg_to(tg_tensor t, tg_dtype dtype) TG_NOEXCEPT;
tg_tensor tg_reshape(tg_tensor t, const int64_t *shape, int32_t rank) TG_NOEXCEPT;
tg_tensor tg_rows(tg_tensor t, int64_t from, int64_t count) TG_NOEXCEPT;       // a view
tg_tensor tg_take_rows(tg_tensor t, const int64_t *rows, int64_t count) TG_NOEXCEPT;
tg_tensor tg_transpose(tg_tensor t) TG_NOEXCEPT;                               // a matrix's, dense
tg_tensor tg_add(tg_tensor a, tg_tensor b) TG_NOEXCEPT;
tg_tensor tg_multiply(tg_tensor a, tg_tensor b) TG_NOEXCEPT;
tg_tensor tg_relu(tg_tensor t) TG_NOEXCEPT;
// Memory behind a range of bytes of a reserved tensor on the device; nothing on the CPU.
bool tg_commit(tg_tensor t, int64_t offset, int64_t bytes) TG_NOEXCEPT;
// The first bytes of a tensor over those of another on the same device.
bool tg_copy_bytes(tg_tensor to, tg_tensor from, int64_t bytes) TG_NOEXCEPT;
// Gives whole pages of [offset, offset + bytes) of the tensor's memory back; they read as zeros.
void tg_discard(tg_tensor t, int64_t offset, int64_t bytes) TG_NOEXCEPT;

// Layers ---------------------------------------------------------------------------------------

// x [T, K] · w [N, K]ᵀ + bias [N] (or NULL). float32: a row's bits do not depend on the other rows.
tg_tensor tg_linear(tg_tensor x, tg_tensor w, tg_tensor bias) TG_NOEXCEPT;
// Rows of w [V, D]; an id outside 0..<V is an error.
tg_tensor tg_embedding(tg_tensor w, const int32_t *ids, int64_t count) TG_NOEXCEPT;
// x · rsqrt(mean(x²) + eps) over the last axis in float32, rounded, then · w [D].
tg_tensor tg_rms_norm(tg_tensor x, tg_tensor w, float eps) TG_NOEXCEPT;
// residual [T, D] += x, in place; then the same of the sum.
tg_tensor tg_add_rms_norm(tg_tensor x, tg_tensor residual, tg_tensor w, float eps) TG_NOEXCEPT;
// The same over each of `heads` heads of `dim`, in place, in columns from `column` of x [T, *]; w [dim].
bool tg_head_norm(tg_tensor x, int64_t column, int64_t heads, int64_t dim, tg_tensor w,
                  float eps) TG_NOEXCEPT;
// (x - mean) · rsqrt(variance + eps) over the last axis in float32, then · w [D] + bias [D] (or NULL each).
tg_tensor tg_layer_norm(tg_tensor x, tg_tensor w, tg_tensor bias, float eps) TG_NOEXCEPT;
// silu(x[:, :N]) · x[:, N:] for x [T, 2N].
tg_tensor tg_swiglu(tg_tensor x) TG_NOEXCEPT;
// Rotates the halves (NeoX) of `heads` heads of `dim`, in place, in columns from `column` of x [T, *].
// angles: table [positions, dim] float32, cosines of dim/2 then sines of dim/2; one row index a row of x.
// The angles and products are rounded to x's type, unless `wide`.
bool tg_rope(tg_tensor x, int64_t column, int64_t heads, int64_t dim, tg_tensor angles,
             const int32_t *positions, int64_t count, bool wide) TG_NOEXCEPT;

// Attention ------------------------------------------------------------------------------------

// One sequence's cache of one layer, [blocks, kv_heads, 2, 64 · dim]: a block's keys transposed
// [dim, 64], then its values [64, dim]. On the device: the memory of all layers,
// [capacity, layers, 2, kv_heads, dim].
typedef struct tg_run {
    void *cache;        // the layer's first block; on the device: of layer 0. There NULL: padding
    int64_t capacity;   // positions
    int64_t start;      // positions held before this step
    int64_t count;      // new rows
    int64_t layer, layers;
} tg_run;

// What is done to queries and keys before: head norms (NULL: none), then tg_rope with `angles`.
typedef struct tg_turn {
    tg_tensor query_norm, key_norm, angles;
    const int32_t *positions;  // one a row
    float eps;
} tg_turn;

// qkv [T, (heads + 2 · kv_heads) · dim], normalised and turned in place by `turn` on the way (what of the keys
// is not said), or rotated already where that is NULL. Writes the new keys and values into the caches (dtype
// of qkv) and answers [T, heads · dim]: causal softmax(q·kᵀ · scale)·v, in float32, key blocks of 64 with
// running maximum and sum. A row sees the last `window` keys up to its own.
tg_tensor tg_attention(tg_tensor qkv, const tg_turn *turn, int64_t heads, int64_t kv_heads, int64_t dim,
                       float scale, int64_t window, const tg_run *runs, int64_t run_count) TG_NOEXCEPT;

// Images and clips -----------------------------------------------------------------------------

// Softmax attention without order inside each segment of consecutive rows. First the keys and values of all
// rows, [n, 2 · heads · dim] from row `at` on, go into a cache [blocks, 2 · 64 · heads · dim] that has a block
// for every begun 64 rows of each segment; then queries [n, heads · dim] from row `at` on become answers.
bool tg_segment_keep(tg_tensor rows, int64_t at, int64_t heads, int64_t dim, const int64_t *lengths,
                     int64_t segments, tg_tensor cache) TG_NOEXCEPT;
tg_tensor tg_segment_attention(tg_tensor queries, int64_t at, int64_t heads, int64_t dim, float scale,
                               const int64_t *lengths, int64_t segments, tg_tensor cache) TG_NOEXCEPT;
// x · Φ(x), by the error function or by its approximation with tanh.
tg_tensor tg_gelu(tg_tensor x, bool by_tanh) TG_NOEXCEPT;
// Writes rows [n, D] over x [T, D] from row `at` on, or adds them.
bool tg_put_rows(tg_tensor x, int64_t at, tg_tensor rows, bool adds) TG_NOEXCEPT;
// [count, D]: sums of `taps` weighted rows of table [V, D], float32.
tg_tensor tg_mix_rows(tg_tensor table, const int32_t *rows, const float *weights, int64_t count,
                      int64_t taps) TG_NOEXCEPT;
// [height · width / patch², 3 · temporal · patch²] float32: (value - mean) / deviation by channel. Each frame is
// [height, width, 3] bytes; rows in blocks of merge × merge patches, columns by channel, frame, row, column.
tg_tensor tg_patches(const uint8_t *const *frames, int64_t temporal, int64_t height, int64_t width,
                     int64_t patch, int64_t merge, const float *mean, const float *deviation) TG_NOEXCEPT;

// Linear attention -----------------------------------------------------------------------------

// One sequence's memory of one head: the sums of the full blocks of 16 positions [N, D], and the queries
// [16, N] and values [16, D] of the open one. Sums are not read before a block has become full.
typedef struct tg_recurrence {
    float *sums, *queries, *values;
    int64_t start;      // positions held before this step
    int64_t count;      // new rows
} tg_recurrence;

// Answers [T, D]: for each row the sum over the rows before it (its own not) of (q · their q) · their v,
// float32, and remembers the rows. queries [T, N] are turned already; they are the keys, too.
tg_tensor tg_linear_attention(tg_tensor queries, tg_tensor values, const tg_recurrence *runs,
                              int64_t run_count) TG_NOEXCEPT;
// [count, 2 · pairs]: cosines, then sines of the angles at the positions; cycles: turns a position of a pair.
tg_tensor tg_pair_angles(const float *cycles, int64_t pairs, const int32_t *positions,
                         int64_t count) TG_NOEXCEPT;
// x [T, N] float32 with its pairs of neighbours turned by angles [T, N].
tg_tensor tg_turn_pairs(tg_tensor x, tg_tensor angles) TG_NOEXCEPT;

// Weights --------------------------------------------------------------------------------------

typedef enum tg_format : int32_t {
    TG_FORMAT_F32 = 0, TG_FORMAT_F16 = 1, TG_FORMAT_BF16 = 2, TG_FORMAT_F64 = 3,
    TG_FORMAT_Q4_0 = 4, TG_FORMAT_Q4_1 = 5, TG_FORMAT_Q5_0 = 6, TG_FORMAT_Q5_1 = 7,
    TG_FORMAT_Q8_0 = 8, TG_FORMAT_Q4_K = 9, TG_FORMAT_Q5_K = 10, TG_FORMAT_Q6_K = 11,
    // With scales of their own (tg_source): 8-bit floats in tiles, 8-bit integers by row, entries of a
    // table of 16 in blocks, AWQ's and GPTQ's codes with zero points.
    TG_FORMAT_F8_E4M3 = 12, TG_FORMAT_INT8 = 13, TG_FORMAT_TABLE4 = 14, TG_FORMAT_AWQ4 = 15,
    TG_FORMAT_GPTQ4 = 16, TG_FORMAT_GPTQ8 = 17
} tg_format;

// Decodes `count` rows of `columns` elements into row `at` of the dense tensor `out` [*, columns].
// permuted_heads > 0 undoes GGUF's interleaving of rotary rows: then the source is the whole weight.
bool tg_decode_rows(tg_tensor out, int64_t at, int64_t count, int64_t columns, tg_format format,
                    const void *source, int64_t source_bytes, int64_t permuted_heads) TG_NOEXCEPT;

// Weights kept quantised ---------------------------------------------------------------------

// Stored rows and what their values are computed from. The shapes are [N, K] of the weight.
typedef struct tg_source {
    tg_format format;
    tg_dtype rounded;        // values are rounded to this type first; TG_F32: as they are
    const void *data;        // as the format has it; AWQ's [K, N / 8], GPTQ's [K · bits / 32, N] words
    int64_t bytes;
    int64_t permuted_heads;  // plain and GGUF formats only, as in tg_decode_rows
    const float *scales;     // F8: [N / rows, K / columns], rounded up; INT8: [N]; TABLE4: by block;
    int64_t scale_count;     // AWQ, GPTQ: [groups, N]
    const float *table;      // TABLE4: 16 values
    const int16_t *zeros;    // AWQ, GPTQ: [groups, N]
    const int32_t *groups;   // GPTQ: the group of each column; NULL: column / block_columns
    int64_t block_rows;      // F8
    int64_t block_columns;   // F8, AWQ, GPTQ; TABLE4: elements of a block, row after row
} tg_source;

// As tg_decode_rows, from any source of exactly `count` rows.
bool tg_decode_source(tg_tensor out, int64_t at, int64_t count, int64_t columns,
                      const tg_source *source) TG_NOEXCEPT;

// How rows are kept: as their format has them, in 8 bits with a scale each 32, in 4 with scale and
// minimum each 32, or as entries of the table of nf4 with a scale each 64.
typedef enum tg_packing : int32_t {
    TG_PACK_STORED = 0, TG_PACK_INT8 = 1, TG_PACK_INT4 = 2, TG_PACK_NF4 = 3
} tg_packing;

// A matrix whose rows stay as codes and scales, 16 rows side by side. NULL is the undefined one.
typedef struct tg_packed_s *tg_packed;

// Whether rows of `columns` elements in this format can stay as they are.
bool tg_packs(tg_format format, int64_t columns) TG_NOEXCEPT;
// Without rows; every tg_pack_rows adds some below, until there are `rows`.
tg_packed tg_packed_new(int64_t rows, int64_t columns) TG_NOEXCEPT;
void tg_packed_free(tg_packed w) TG_NOEXCEPT;
// The next `count` rows; the rest as in tg_decode_rows.
bool tg_pack_rows(tg_packed w, int64_t count, tg_format format, const void *source, int64_t source_bytes,
                  int64_t permuted_heads) TG_NOEXCEPT;
// The next `count` rows, from any source; whether it can be kept so says tg_packs_source.
bool tg_pack_source(tg_packed w, int64_t count, const tg_source *source, tg_packing how) TG_NOEXCEPT;
bool tg_packs_source(const tg_source *source, int64_t columns, tg_packing how) TG_NOEXCEPT;
int64_t tg_packed_rows(tg_packed w) TG_NOEXCEPT;
int64_t tg_packed_columns(tg_packed w) TG_NOEXCEPT;
int64_t tg_packed_bytes(tg_packed w) TG_NOEXCEPT;
// x [T, K] · w [N, K]ᵀ + bias [N] (or NULL), x's blocks of 32 rounded to 8 bits, as `out` (float32 or
// bfloat16; a bias has that type). A row's bits do not depend on the other rows.
tg_tensor tg_packed_linear(tg_tensor x, tg_packed w, tg_tensor bias, tg_dtype out) TG_NOEXCEPT;
// The values of some rows; an id outside 0..<N is an error.
tg_tensor tg_packed_embedding(tg_packed w, const int32_t *ids, int64_t count, tg_dtype out) TG_NOEXCEPT;
// "bf16", "vnni", "avx512", "avx2" or "baseline".
const char *tg_packed_cpu(void) TG_NOEXCEPT;

// Products with what stands around them --------------------------------------------------------

// What happens besides; NULL and false: nothing.
typedef struct tg_around {
    tg_tensor norm;     // [K]: before, as tg_rms_norm with `eps`
    tg_tensor bias;     // [N]
    tg_tensor sum;      // [T, N]: behind; the answer is this tensor, to which the product was added
    float eps;
    bool gated;         // behind, as tg_swiglu: [T, N / 2]
    bool wide;          // the answer is float32 (of a dense weight: of the values as rounded to x's type)
} tg_around;

// Whether tg_joined_linear is the quick way for products of x: on the device, for few rows.
bool tg_joins(tg_tensor x) TG_NOEXCEPT;
// x · wᵀ of a dense or a quantised weight (the other NULL) with all that at once; on the device alone.
tg_tensor tg_joined_linear(tg_tensor x, tg_tensor w, tg_packed packed, const tg_around *around) TG_NOEXCEPT;

// Sampling -------------------------------------------------------------------------------------

typedef struct tg_sampler_row {
    float temperature, top_p, min_p, presence, frequency, repetition;
    int32_t top_k;
    int32_t top_logprobs;             // -1: no logprobs
    uint64_t seed;
    uint32_t choice, position;
    const int32_t *history;           // distinct tokens of prompt and output
    const int32_t *history_counts;    // how often each was generated
    int64_t history_count;
    const int32_t *bias_tokens;
    const float *bias_values;
    int64_t bias_count;
    const int32_t *suppressed;
    int64_t suppressed_count;
    const uint64_t *mask;             // NULL: all allowed
    int64_t mask_words;
} tg_sampler_row;

typedef struct tg_sampled {
    int32_t token;
    int32_t status;                   // 0 chosen, 1 not a number, 2 nothing allowed
    float logprob;
    int32_t top_count;
    int32_t top_tokens[20];
    float top_logprobs[20];
} tg_sampled;

// One answer a row of logits [count, V] (float32).
bool tg_sample(tg_tensor logits, const tg_sampler_row *rows, tg_sampled *out,
               int64_t count) TG_NOEXCEPT;

// Decode steps as graphs --------------------------------------------------------------------------

// Puts a step's integers where a graph's operations look for them. False where they are too many: that step
// cannot run as a graph; no error. One row a sequence; rows that only fill up a graph's number of them have runs
// without cache. follows: NULL, or of each row the row of the step started last whose token is its id, -1: `ids`
// has it. longest bounds the keys that a row sees; owner: whose graphs serve it.
bool tg_stage(const int32_t *ids, const int32_t *positions, const int32_t *follows, const tg_run *runs,
              const tg_sampler_row *samplers, int64_t rows, int64_t longest, int64_t owner) TG_NOEXCEPT;
// Whether the step that was staged last has a graph.
bool tg_has_graph(void) TG_NOEXCEPT;
// A number for the graphs of one model; gives them up.
int64_t tg_graphs_owner(void) TG_NOEXCEPT;
void tg_graphs_free(int64_t owner) TG_NOEXCEPT;
// Until tg_graph_end the operations of the step that was staged are recorded and done by no one.
bool tg_graph_begin(void) TG_NOEXCEPT;
// Ends the recording with the drawing of tokens from `logits`. NULL gives it up; no error.
bool tg_graph_end(tg_tensor logits) TG_NOEXCEPT;
// Starts the work of the graph for the step that was staged last, behind that of the steps before; two at
// most are under way.
bool tg_graph_start(void) TG_NOEXCEPT;
// Waits for the oldest step that is under way: the answers of its first `count` rows.
bool tg_graph_answers(tg_sampled *out, int64_t count) TG_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif
