// Launch functions of kernels/layers.cu and gemv.cu.
#include "start.hpp"

namespace tg::device {

namespace {

/// One block a row, a pack a thread.
unsigned row_threads(tg_dtype type, int64_t columns, int64_t most) {
    return threads_for(ceiling(columns, pack_of(type)), most);
}

Grid element_grid(int64_t count, int64_t pack) { return {blocks(ceiling(count, 256 * pack)), 1, 1}; }

void binary(const char *name, tg_dtype type, const void *a, const void *b, void *out, int64_t count) {
    if (count == 0) return;
    start(name + suffix(type), element_grid(count, pack_of(type)), {256, 1, 1}, 0, a, b, out, count);
}

}  // namespace

void launch_embedding(tg_dtype type, const void *table, int64_t vocabulary, int64_t columns,
                      const int32_t *ids, int64_t rows, void *out) {
    if (rows == 0) return;
    start("take_rows" + suffix(type), {blocks(rows), 1, 1}, {row_threads(type, columns, 256), 1, 1}, 0, table,
          vocabulary, whole(columns), ids, out);
}

void launch_take_rows(tg_dtype type, const void *x, int64_t columns, const int32_t *rows, int64_t count,
                      void *out) {
    launch_embedding(type, x, INT32_MAX, columns, rows, count, out);
}

void launch_take_columns(tg_dtype type, const void *x, int64_t rows, int64_t columns, const int32_t *from,
                         int64_t count, bool back, void *out) {
    if (rows == 0 || count == 0) return;
    start("take_columns" + suffix(type), {blocks(rows), blocks(ceiling(count, 1024)), 1}, {256, 1, 1}, 0, x,
          int(columns), from, int(count), back, out);
}

void launch_rms_norm(tg_dtype type, const void *x, const void *w, void *out, int64_t rows, int64_t columns,
                     float eps) {
    launch_add_rms_norm(type, x, nullptr, w, out, rows, columns, eps);
}

void launch_add_rms_norm(tg_dtype type, const void *x, void *residual, const void *w, void *out, int64_t rows,
                         int64_t columns, float eps) {
    if (rows == 0) return;
    start("rms_norm" + suffix(type), {blocks(rows), 1, 1}, {row_threads(type, columns, 1024), 1, 1}, 0, x,
          residual, w, out, whole(columns), eps);
}

void launch_head_norm(tg_dtype type, void *x, int64_t rows, int64_t stride, int64_t column, int64_t heads,
                      int64_t dim, const void *w, float eps) {
    if (rows == 0 || heads == 0) return;
    start("head_norm" + suffix(type), {blocks(ceiling(rows * heads, 4)), 1, 1}, {128, 1, 1}, 0, x,
          rows * heads, whole(stride), whole(column), whole(heads), whole(dim), w, eps);
}

void launch_layer_norm(tg_dtype type, const void *x, const void *w, const void *bias, void *out, int64_t rows,
                       int64_t columns, float eps) {
    if (rows == 0) return;
    start("layer_norm" + suffix(type), {blocks(rows), 1, 1}, {row_threads(type, columns, 1024), 1, 1}, 0, x,
          w, bias, out, whole(columns), eps);
}

void launch_rope(tg_dtype type, void *x, int64_t rows, int64_t stride, int64_t column, int64_t heads,
                 int64_t dim, const float *angles, int64_t table_rows, const int32_t *positions, bool wide) {
    if (rows == 0 || heads == 0 || dim == 0) return;
    const unsigned threads = threads_for(heads * dim / 2, 256);
    start("rope" + suffix(type), {blocks(rows), blocks(ceiling(heads * dim / 2, threads)), 1},
          {threads, 1, 1}, 0, x, whole(stride), whole(column), whole(heads), whole(dim), angles,
          whole(table_rows), positions, int(wide));
}

void launch_swiglu(tg_dtype type, const void *x, void *out, int64_t rows, int64_t width) {
    if (rows == 0 || width == 0) return;
    const unsigned threads = row_threads(type, width, 256);
    start("swiglu" + suffix(type), {blocks(rows), blocks(ceiling(width, threads * pack_of(type))), 1},
          {threads, 1, 1}, 0, x, out, whole(width));
}

void launch_gelu(tg_dtype type, const void *x, void *out, int64_t count, bool by_tanh) {
    if (count == 0) return;
    start("gelu" + suffix(type), element_grid(count, pack_of(type)), {256, 1, 1}, 0, x, out, count,
          int(by_tanh));
}

void launch_relu(tg_dtype type, const void *x, void *out, int64_t count) {
    if (count == 0) return;
    start("relu" + suffix(type), element_grid(count, pack_of(type)), {256, 1, 1}, 0, x, out, count);
}

void launch_add(tg_dtype type, const void *a, const void *b, void *out, int64_t count) {
    binary("add", type, a, b, out, count);
}

void launch_multiply(tg_dtype type, const void *a, const void *b, void *out, int64_t count) {
    binary("multiply", type, a, b, out, count);
}

void launch_add_in_place(tg_dtype type, void *to, const void *from, int64_t count) {
    launch_add(type, to, from, to, count);
}

void launch_convert(tg_dtype from, const void *x, tg_dtype to, void *out, int64_t count) {
    if (count == 0) return;
    start("convert" + suffix(from) + suffix(to), element_grid(count, 4), {256, 1, 1}, 0, x, out, count);
}

void launch_mix_rows(const float *table, int64_t table_rows, int64_t columns, const int32_t *rows,
                     const float *weights, int64_t count, int64_t taps, float *out) {
    if (count == 0) return;
    start("mix_rows", {blocks(count), 1, 1}, {threads_for(columns, 256), 1, 1}, 0, table, whole(table_rows),
          whole(columns), rows, weights, whole(taps), out);
}

void launch_transpose(tg_dtype type, const void *x, int64_t rows, int64_t columns, void *out) {
    if (rows == 0 || columns == 0) return;
    start("transpose" + suffix(type), {blocks(ceiling(columns, 32)), blocks(ceiling(rows, 32)), 1},
          {32, 8, 1}, 0, x, whole(rows), whole(columns), out);
}

namespace {

/// As the kernels declare it.
struct Around {
    const void *norm, *sum;
    float eps;
    int wide;
};

/// Inputs, and a norm's weight, in shared memory: in whole turns of a warp.
int64_t staged_bytes(tg_dtype type, int64_t inputs, int64_t k, bool norm) {
    const int64_t turn = kLanes * pack_of(type);
    return (inputs + norm) * ceiling(k, turn) * turn * element_size(type);
}

int64_t inputs_for(int64_t rows) { return rows <= 2 ? rows : 4; }

}  // namespace

bool gemv_takes(tg_dtype type, int64_t rows, int64_t k, const ProductAround &around) {
    if (rows > kFewRows) return false;
    return !(around.norm || around.gated) ||
           staged_bytes(type, inputs_for(rows), k, around.norm) <= 96 << 10;
}

void launch_gemv(tg_dtype type, const void *x, int64_t rows, const void *w, const void *bias, void *out,
                 int64_t n, int64_t k, const ProductAround &around) {
    if (rows == 0 || n == 0) return;
    if (!gemv_takes(type, rows, k, around)) {
        throw std::runtime_error(std::to_string(rows) + " rows of " + std::to_string(k) +
                                 " for a product with few");
    }
    int64_t inputs = inputs_for(rows), bytes = staged_bytes(type, inputs, k, around.norm);
    // Without need, inputs do not take the shared memory in which other blocks could be.
    const bool staged = around.norm || around.gated || bytes <= 48 << 10;
    if (!staged) bytes = 0, inputs = inputs < 2 ? 2 : inputs;
    const int64_t groups = around.gated ? n / 2 : inputs == 1 ? n : ceiling(n, 2);
    const Around given{around.norm, around.sum, around.eps, around.wide};
    start((around.gated ? "gemv_gated_" : staged ? "gemv_staged_" : "gemv_plain_") + std::to_string(inputs) +
              suffix(type),
          {blocks(ceiling(groups, 8)), 1, 1}, {256, 1, 1}, unsigned(bytes), x, int(rows), w, bias, out,
          whole(n), whole(k), given);
}

}  // namespace tg::device
