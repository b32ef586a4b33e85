// Linear attention with a state of fixed size, and the rotation of its queries.
//
// 1. Rows of one run are taken in order, a block of 16 positions at a time; runs go side by side.
// 2. New queries and values enter the run's open block before any row of the block recalls.
// 3. The sums change only where a block is full: what is open can be taken back.

#include <ATen/ops/empty.h>

#include <cmath>
#include <vector>

#include "internal.hpp"
#include "kernels.hpp"

namespace {

constexpr int64_t block = 16;

/// The rows of a run that lie in one block.
struct Piece {
    const tg_recurrence *run;
    int64_t offset, first, rows;  // row of the step, row of the block, how many
    bool opens;                   // whether no block is full yet
    float weights[block * block];
    bool fills() const { return first + rows == block; }
};

/// The pieces of every run whose turn is `round`.
std::vector<Piece> pieces(const tg_recurrence *runs, int64_t run_count, int64_t round) {
    std::vector<Piece> answer;
    int64_t offset = 0;
    for (int64_t r = 0; r < run_count; ++r) {
        const tg_recurrence &run = runs[r];
        const int64_t from = std::max(run.start, (run.start / block + round) * block);
        const int64_t to = std::min(run.start + run.count, (from / block + 1) * block);
        if (from < to) {
            answer.push_back({&run, offset + from - run.start, from % block, to - from, from < block, {}});
        }
        offset += run.count;
    }
    return answer;
}

}  // namespace

extern "C" {

tg_tensor tg_linear_attention(tg_tensor queries, tg_tensor values, const tg_recurrence *runs,
                              int64_t run_count) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &q = tg::matrix(queries, "linear attention queries");
        const at::Tensor &v = tg::matrix(values, "linear attention values");
        const int64_t width = q.size(1), dim = v.size(1);
        int64_t total = 0;
        for (int64_t r = 0; r < run_count; ++r) {
            TORCH_CHECK(runs[r].sums && runs[r].queries && runs[r].values && runs[r].start >= 0 &&
                            runs[r].count > 0,
                        "linear attention: a run without memory or rows");
            total += runs[r].count;
        }
        TORCH_CHECK(total == q.size(0) && total == v.size(0) && q.scalar_type() == at::kFloat &&
                        v.scalar_type() == at::kFloat,
                    "linear attention: runs of ", total, " rows, queries ", q.sizes(), " and values ",
                    v.sizes(), " (float32)");
        if (tg::Device *device = tg::device_of(queries, values)) {
            return {device->linear_attention(q, v, runs, run_count), device};
        }
        at::Tensor out = at::empty({total, dim}, v.options());
        const auto *from_q = static_cast<const float *>(q.const_data_ptr());
        const auto *from_v = static_cast<const float *>(v.const_data_ptr());
        auto *to = static_cast<float *>(out.data_ptr());
        const auto &kernels = tg::kernels();
        const int64_t bands = (dim + 63) / 64;
        const int64_t slice = std::max<int64_t>(16, 16384 / dim), slices = (width + slice - 1) / slice;
        for (int64_t round = 0;; ++round) {
            std::vector<Piece> work = pieces(runs, run_count, round);
            if (work.empty()) return out;
            const auto count = int64_t(work.size());
            tg::parallel(count, [&](int64_t i) {
                Piece &piece = work[size_t(i)];
                const tg_recurrence &run = *piece.run;
                std::copy_n(from_q + piece.offset * width, piece.rows * width,
                            run.queries + piece.first * width);
                std::copy_n(from_v + piece.offset * dim, piece.rows * dim,
                            run.values + piece.first * dim);
                for (int64_t r = piece.first; r < piece.first + piece.rows; ++r)
                    kernels.compare(run.queries, width, r, piece.weights);
            });
            tg::parallel(count * bands, [&](int64_t i) {
                const Piece &piece = work[size_t(i / bands)];
                const tg_recurrence &run = *piece.run;
                const int64_t band = i % bands * 64;
                kernels.recall(
                    {
                        .queries = run.queries,
                        .values = run.values,
                        .weights = piece.weights,
                        .sums = piece.opens ? nullptr : run.sums,
                        .out = to + piece.offset * dim,
                        .width = width,
                        .dim = dim,
                        .first = piece.first,
                        .rows = piece.rows,
                    },
                    band, std::min(dim, band + 64));
            });
            std::erase_if(work, [](const Piece &piece) { return !piece.fills(); });
            tg::parallel(int64_t(work.size()) * slices, [&](int64_t i) {
                const tg_recurrence &run = *work[size_t(i / slices)].run;
                const int64_t from = i % slices * slice;
                kernels.fold(run.queries, run.values, run.sums, width, dim, from,
                             std::min(width, from + slice));
            });
        }
    });
}

tg_tensor tg_pair_angles(const float *cycles, int64_t pairs, const int32_t *positions,
                         int64_t count) noexcept {
    return tg::answer([&]() -> tg::Placed {
        TORCH_CHECK(pairs > 0 && count > 0, "angles of ", pairs, " pairs at ", count, " positions");
        if (tg::Device *device = tg::current_device()) {
            return {device->pair_angles(cycles, pairs, positions, count), device};
        }
        at::Tensor out = at::empty({count, 2 * pairs}, at::TensorOptions(at::kFloat));
        auto *to = static_cast<float *>(out.data_ptr());
        tg::parallel(count, [&](int64_t row) {
            for (int64_t i = 0; i < pairs; ++i) {
                const float turns = float(positions[row]) * cycles[i];
                const float angle = (turns - std::floor(turns)) * 6.2831853071795864f;
                to[row * 2 * pairs + i] = std::cos(angle);
                to[row * 2 * pairs + pairs + i] = std::sin(angle);
            }
        });
        return out;
    });
}

tg_tensor tg_turn_pairs(tg_tensor x, tg_tensor angles) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &rows = tg::matrix(x, "rotation input");
        const at::Tensor &table = tg::matrix(angles, "rotation angles");
        TORCH_CHECK(rows.sizes() == table.sizes() && rows.size(1) % 2 == 0 &&
                        rows.scalar_type() == at::kFloat && table.scalar_type() == at::kFloat,
                    "rotation: input ", rows.sizes(), ", angles ", table.sizes(), " (float32)");
        if (tg::Device *device = tg::device_of(x, angles)) return {device->turn_pairs(rows, table), device};
        at::Tensor out = rows.clone();
        auto *values = static_cast<float *>(out.data_ptr());
        const auto *entries = static_cast<const float *>(table.const_data_ptr());
        const int64_t width = rows.size(1);
        const auto turn = tg::kernels().turn_pairs;
        tg::parallel(rows.size(0), [&](int64_t r) {
            turn(values + r * width, entries + r * width, entries + r * width + width / 2, width / 2);
        });
        return out;
    });
}
}
