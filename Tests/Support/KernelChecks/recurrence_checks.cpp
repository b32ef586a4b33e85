// kernels/recurrence.cu against CTorch's linear attention.
#include "checks.hpp"

#include <algorithm>

using namespace checks;
using namespace tg::device;

namespace {

/// One sequence's memory of one head, on one side.
struct Memories {
    std::vector<float> sums, queries, values;
    Memories(int64_t width, int64_t dim, float rest)
        : sums(size_t(width * dim), rest), queries(size_t(16 * width), rest), values(size_t(16 * dim), rest) {
    }
};

/// Queries of which most are zero, as behind a threshold.
std::vector<float> sparse(int64_t count) {
    std::vector<float> values = noise(count);
    for (float &v : values) v = std::max(0.0f, v - 0.8f);
    return values;
}

}  // namespace

KERNEL_CHECK(linear_attention, "linear attention is the CPU's, step by step and in long runs") {
    for (const auto &[width, dim] : {std::pair<int64_t, int64_t>{8, 5}, {40, 32}, {300, 70}}) {
        // Two sequences over some steps: rows of each step.
        const std::vector<std::pair<int64_t, int64_t>> steps{{1, 5},  {3, 11},  {12, 1},
                                                             {1, 33}, {47, 14}, {1, 1}};
        std::vector<Memories> cpu, device;
        for (int s = 0; s < 2; ++s) {
            cpu.emplace_back(width, dim, 0.0f);
            device.emplace_back(width, dim, NAN);  // nothing clears it
        }
        std::pair<int64_t, int64_t> held{0, 0};
        for (const auto &[one, other] : steps) {
            const int64_t rows = one + other;
            const Tensor q(sparse(rows * width), {rows, width}), v(noise(rows * dim), {rows, dim});
            const auto run = [&](Memories &m, int64_t start, int64_t count) {
                return tg_recurrence{m.sums.data(), m.queries.data(), m.values.data(), start, count};
            };
            const tg_recurrence runs[] = {run(cpu[0], held.first, one), run(cpu[1], held.second, other)};
            const Tensor wanted(tg_linear_attention(q, v, runs, 2));
            const auto row = [&](Memories &m, int64_t start, int64_t count, int64_t offset) {
                return RecurrenceRow{m.sums.data(), m.queries.data(), m.values.data(), start, count, offset};
            };
            const RecurrenceRow own[] = {row(device[0], held.first, one, 0),
                                         row(device[1], held.second, other, one)};
            Memory out(TG_F32, rows * dim);
            launch_linear_attention(static_cast<const float *>(q.data()),
                                    static_cast<const float *>(v.data()), width, dim, own, 2,
                                    out.as<float>());
            expect_close("linear attention", TG_F32, out.floats(), wanted.floats());
            held.first += one;
            held.second += other;
        }
        for (int s = 0; s < 2; ++s) expect_close("sums", TG_F32, device[size_t(s)].sums, cpu[size_t(s)].sums);
    }
}

KERNEL_CHECK(pairs, "pairs of neighbours turn as on the CPU") {
    for (const int64_t pairs : {1, 20, 300}) {
        const std::vector<int32_t> positions{0, 1, 77, 100'000};
        std::vector<float> cycles = noise(pairs, 0.1f);
        for (float &c : cycles) c = std::abs(c);
        const Tensor angles(tg_pair_angles(cycles.data(), pairs, positions.data(), 4));
        Memory own(TG_F32, 4 * 2 * pairs), turned(TG_F32, 4 * 2 * pairs);
        launch_pair_angles(cycles.data(), pairs, positions.data(), 4, own.as<float>());
        expect_close("angles", TG_F32, own.floats(), angles.floats());
        const Tensor x(noise(4 * 2 * pairs), {4, 2 * pairs});
        launch_turn_pairs(static_cast<const float *>(x.data()), static_cast<const float *>(angles.data()), 4,
                          2 * pairs, turned.as<float>());
        expect_close("turned", TG_F32, turned.floats(), Tensor(tg_turn_pairs(x, angles)).floats());
    }
}
