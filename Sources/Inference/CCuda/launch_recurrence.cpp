// Launch functions of kernels/recurrence.cu.
#include "start.hpp"

namespace tg::device {

static_assert(sizeof(RecurrenceRow) == 48);  // the kernels declare it once more

void launch_linear_attention(const float *queries, const float *values, int64_t width, int64_t dim,
                             const RecurrenceRow *runs, int64_t run_count, float *out) {
    if (run_count == 0 || dim == 0) return;
    const unsigned threads = threads_for(width, 256);
    start("linear_attention", {blocks(ceiling(dim, kLanes)), blocks(run_count), 1}, {threads, 1, 1},
          unsigned(threads / kLanes * 2 * 16 * kLanes * 4), queries, values, whole(width), whole(dim), runs,
          out);
    start("linear_attention_keep", {16, blocks(run_count), 1}, {threads, 1, 1}, 0, queries, values,
          whole(width), whole(dim), runs);
}

void launch_turn_pairs(const float *x, const float *angles, int64_t rows, int64_t columns, float *out) {
    if (rows == 0 || columns == 0) return;
    const unsigned threads = threads_for(columns / 2, 256);
    start("turn_pairs", {blocks(rows), blocks(ceiling(columns / 2, threads)), 1}, {threads, 1, 1}, 0, x,
          angles, whole(columns), out);
}

void launch_pair_angles(const float *cycles, int64_t pairs, const int32_t *positions, int64_t rows,
                        float *out) {
    if (rows == 0 || pairs == 0) return;
    const unsigned threads = threads_for(pairs, 256);
    start("pair_angles", {blocks(rows), blocks(ceiling(pairs, threads)), 1}, {threads, 1, 1}, 0, cycles,
          whole(pairs), positions, out);
}

}  // namespace tg::device
