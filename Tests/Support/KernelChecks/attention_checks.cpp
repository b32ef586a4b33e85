// kernels/attention.cu against CTorch's ragged attention and its attention in segments.
#include "checks.hpp"

#include <algorithm>
#include <cstring>

using namespace checks;
using namespace tg::device;

namespace {

/// Sequences of one step as the device has them and as the CPU has them.
struct Step {
    struct Sequence {
        int64_t start, count;
    };
    int64_t heads, kv_heads, dim, layers = 2, layer = 1;
    tg_dtype type;
    std::vector<Sequence> sequences;
    std::vector<std::vector<uint8_t>> slots;  // [positions][layers][2][kv_heads][dim]
    std::vector<Tensor> caches;               // the CPU's
    std::vector<void *> bases;
    std::vector<int32_t> places;
    std::vector<int32_t> run_of;

    Step(tg_dtype type, int64_t heads, int64_t kv_heads, int64_t dim, std::vector<Sequence> all)
        : heads(heads), kv_heads(kv_heads), dim(dim), type(type), sequences(std::move(all)) {
        const int64_t size = type == TG_F32 ? 4 : 2;
        for (const Sequence &s : sequences) {
            const int64_t positions = s.start + s.count;
            slots.emplace_back(size_t(positions * stride() * size), 0xff);
            const int64_t shape[] = {(positions + 63) / 64, kv_heads, 2, 64 * dim};
            caches.emplace_back(tg_zeros(cpu_type(type), shape, 4));
        }
        for (size_t s = 0; s < sequences.size(); ++s) {
            for (int64_t i = 0; i < sequences[s].count; ++i) {
                bases.push_back(slots[s].data());
                places.push_back(int32_t(sequences[s].start + i));
            }
        }
    }

    int64_t stride() const { return layers * 2 * kv_heads * dim; }
    int64_t rows() const { return int64_t(bases.size()); }
    int64_t width() const { return (heads + 2 * kv_heads) * dim; }
    CacheLayout layout() const {
        return {layer * 2 * kv_heads * dim, (layer * 2 + 1) * kv_heads * dim, stride(), kv_heads, dim};
    }
    CacheRows where() const { return {bases.data(), places.data()}; }

    Tensor cpu(const Tensor &qkv, float scale, int64_t window) {
        std::vector<tg_run> runs;
        for (size_t s = 0; s < sequences.size(); ++s) {
            const Sequence &q = sequences[s];
            tg_run run{};
            run.cache = tg_data(caches[s]);
            run.capacity = q.start + q.count;
            run.start = q.start;
            run.count = q.count;
            runs.push_back(run);
        }
        return Tensor(tg_attention(qkv.as(cpu_type(type)), nullptr, heads, kv_heads, dim, scale, window, runs.data(),
                                   int64_t(runs.size())));
    }
};

/// Prefills all but the last rows on both sides, then compares the last rows.
void compare(tg_dtype type, int64_t heads, int64_t kv_heads, int64_t dim, const std::vector<int64_t> &lengths,
             int64_t window, int64_t last = 1) {
    const float scale = 1 / std::sqrt(float(dim));
    std::vector<Step::Sequence> all;
    for (const int64_t length : lengths) all.push_back({0, length});
    Step full(type, heads, kv_heads, dim, all);
    const Tensor qkv(noise(full.rows() * full.width()), {full.rows(), full.width()}, type);
    launch_kv_write(type, qkv.data(), full.rows(), heads, full.layout(), full.where());
    const std::vector<float> wanted = full.cpu(qkv, scale, window).floats();
    // The last rows of each sequence, a row of padding among them.
    std::vector<float> queries, answers;
    std::vector<void *> bases;
    std::vector<int32_t> places;
    const std::vector<float> values = qkv.floats();
    int64_t row = 0;
    const auto pad = [&] {
        bases.push_back(nullptr);
        places.push_back(0);
        queries.insert(queries.end(), size_t(full.width()), 1.0f);
        answers.insert(answers.end(), size_t(heads * dim), 0.0f);
    };
    for (const int64_t length : lengths) {
        for (int64_t i = std::max<int64_t>(0, length - last); i < length; ++i) {
            bases.push_back(full.bases[size_t(row + i)]);
            places.push_back(int32_t(i));
            const auto from = values.begin() + (row + i) * full.width();
            queries.insert(queries.end(), from, from + full.width());
            const auto answer = wanted.begin() + (row + i) * heads * dim;
            answers.insert(answers.end(), answer, answer + heads * dim);
        }
        row += length;
    }
    pad();
    const auto rows = int64_t(bases.size());
    const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
    const Tensor input(queries, {rows, full.width()}, type);
    std::vector<float> scratch(size_t(attention_scratch_bytes(rows, heads, kv_heads, dim, longest) / 4), NAN);
    std::vector<uint32_t> counts(kPartBlocks);
    Memory out(type, rows * heads * dim);
    launch_attention(type, input.data(), rows, heads, full.layout(), {bases.data(), places.data()}, scale,
                     window, {}, longest, scratch.data(), counts.data(), out.data());
    expect_close("attention", type, out.floats(), answers, 2e-5);
    if (counts != std::vector<uint32_t>(kPartBlocks)) (Failure() << "counts are not zeros again").raise();
}

constexpr int64_t kNoWindow = int64_t(1) << 40;

}  // namespace

KERNEL_CHECK(attention_shapes, "decode attention is the CPU's for every head size and group") {
    each_type([](tg_dtype type) {
        const int64_t groups[] = {1, 2, 3, 5, 7, 12};
        size_t turn = 0;
        for (const int64_t dim : {2, 7, 16, 32, 64, 80, 96, 128, 256})
            for (int i = 0; i < 2; ++i) {
                compare(type, 2 * groups[turn++ % 6], 2, dim, {1, 33, 70}, kNoWindow);
            }
        for (const int64_t group : groups) compare(type, group, 1, 64, {40}, kNoWindow);
    });
}

KERNEL_CHECK(attention_lengths, "decode attention is the CPU's at any length, in parts and with windows") {
    for (const tg_dtype type : {TG_F32, TG_BF16}) {
        for (const int64_t length : {1, 31, 32, 63, 64, 65, 127, 128, 129, 255, 256, 257, 513, 1500}) {
            for (const int64_t window : {kNoWindow, int64_t(1), int64_t(64), int64_t(300)}) {
                compare(type, 6, 2, 32, {length, 5}, window);
            }
        }
    }
}

KERNEL_CHECK(attention_rows, "many rows of a sequence see the keys up to their own") {
    for (const tg_dtype type : {TG_F32, TG_BF16}) {
        compare(type, 6, 2, 64, {40, 130, 1}, kNoWindow, 1000);
        compare(type, 6, 2, 64, {40, 130, 1}, 7, 1000);
    }
}

KERNEL_CHECK(caches_written, "keys and values go where the layout says, padding nowhere") {
    each_type([](tg_dtype type) {
        Step step(type, 3, 1, 24, {{5, 1}, {0, 2}});
        const Tensor qkv(noise(step.rows() * step.width()), {step.rows(), step.width()}, type);
        std::vector<void *> bases = step.bases;
        bases[2] = nullptr;
        const auto before = step.slots;
        launch_kv_write(type, qkv.data(), 3, 3, step.layout(), {bases.data(), step.places.data()});
        const size_t size = type == TG_F32 ? 4 : 2, head = 24 * size;
        const auto *rows = static_cast<const uint8_t *>(qkv.data());
        for (size_t s = 0; s < 2; ++s) {
            std::vector<uint8_t> wanted = before[s];
            const size_t row = s, place = s == 0 ? 5 : 0;
            const uint8_t *keys = rows + (row * 5 + 3) * head;
            std::copy_n(keys, head, wanted.begin() + long((place * 4 + 2) * head));
            std::copy_n(keys + head, head, wanted.begin() + long((place * 4 + 3) * head));
            if (wanted != step.slots[s]) (Failure() << "sequence " << s << " has other bytes").raise();
        }
    });
}

KERNEL_CHECK(fused_rotation, "the fused step is head norms, rope and the write one after the other") {
    each_type([](tg_dtype type) {
        for (const int64_t dim : {2, 16, 64, 80, 128, 256})
            for (const bool norms : {false, true})
                for (const bool wide : {false, true}) {
                    Step fused(type, 5, 2, dim, {{3, 1}, {0, 2}}), apart(type, 5, 2, dim, {{3, 1}, {0, 2}});
                    const int64_t rows = 3, table_rows = 50;
                    const Tensor qkv(noise(rows * fused.width()), {rows, fused.width()}, type);
                    const Tensor angles(noise(table_rows * dim, 0.6f), {table_rows, dim});
                    const Tensor q(noise(dim), {dim}, type), k(noise(dim), {dim}, type);
                    const auto *table = static_cast<const float *>(angles.data());
                    const std::vector<int32_t> positions{3, 49, 1};
                    Tensor one = qkv.copy(), other = qkv.copy();
                    launch_rope_kv_write(type, one.data(), rows, 5, fused.layout(), fused.where(),
                                         norms ? q.data() : nullptr, norms ? k.data() : nullptr, 1e-6f, table,
                                         table_rows, positions.data(), wide);
                    if (norms) {
                        launch_head_norm(type, other.data(), rows, fused.width(), 0, 5, dim, q.data(), 1e-6f);
                        launch_head_norm(type, other.data(), rows, fused.width(), 5 * dim, 2, dim, k.data(),
                                         1e-6f);
                    }
                    launch_rope(type, other.data(), rows, fused.width(), 0, 7, dim, table, table_rows,
                                positions.data(), wide);
                    launch_kv_write(type, other.data(), rows, 5, apart.layout(), apart.where());
                    std::vector<float> found = one.floats(), wanted = other.floats();
                    for (int64_t r = 0; r < rows; ++r) {
                        // The queries; the keys in qkv stay as they were.
                        const auto first = size_t(r * fused.width()), end = first + size_t(5 * dim);
                        expect_close("queries", type,
                                     {found.begin() + long(first), found.begin() + long(end)},
                                     {wanted.begin() + long(first), wanted.begin() + long(end)});
                    }
                    if (!norms && fused.slots != apart.slots)
                        (Failure() << "caches differ at " << dim).raise();
                    const int64_t count = int64_t(fused.slots[0].size()) / (type == TG_F32 ? 4 : 2);
                    const int64_t written = fused.layout().keys + 3 * fused.stride();
                    Memory a(TG_F32, count - written), b(TG_F32, count - written);
                    const size_t skipped = size_t(written) * (type == TG_F32 ? 4 : 2);
                    launch_convert(type, fused.slots[0].data() + skipped, TG_F32, a.data(), count - written);
                    launch_convert(type, apart.slots[0].data() + skipped, TG_F32, b.data(), count - written);
                    expect_close("keys and values", type, a.floats(), b.floats());
                }
    });
}

KERNEL_CHECK(fused_attention, "rows that turn their own keys answer and write as if that were done before") {
    for (const tg_dtype type : {TG_F32, TG_BF16}) {
        for (const int64_t dim : {2, 80, 128, 256})
            for (const int64_t group : {2, 12})
                for (const bool norms : {false, true})
                    for (const int64_t window : {norms ? int64_t(40) : kNoWindow}) {
                        const int64_t kv_heads = 2, heads = group * kv_heads, table_rows = 700;
                        const std::vector<Step::Sequence> all{{0, 1}, {31, 1}, {32, 1}, {300, 1}};
                        Step fused(type, heads, kv_heads, dim, all);
                        for (auto &slot : fused.slots) {
                            const Tensor old(noise(int64_t(slot.size()) / 4), {int64_t(slot.size()) / 4}, type);
                            std::memcpy(slot.data(), old.data(), slot.size() / (type == TG_F32 ? 1 : 2));
                            if (type != TG_F32) {
                                std::memcpy(slot.data() + slot.size() / 2, old.data(), slot.size() / 2);
                            }
                        }
                        Step apart(type, heads, kv_heads, dim, all);
                        for (size_t s = 0; s < all.size(); ++s) {
                            std::memcpy(apart.slots[s].data(), fused.slots[s].data(), fused.slots[s].size());
                        }
                        const int64_t rows = fused.rows(), longest = 301;
                        const float scale = 1 / std::sqrt(float(dim));
                        const Tensor qkv(noise(rows * fused.width()), {rows, fused.width()}, type);
                        const Tensor angles(noise(table_rows * dim, 0.6f), {table_rows, dim});
                        const Tensor q(noise(dim), {dim}, type), k(noise(dim), {dim}, type);
                        const std::vector<int32_t> positions{0, 31, 699, 300};
                        const HeadTurn turn{norms ? q.data() : nullptr, norms ? k.data() : nullptr,
                                            static_cast<const float *>(angles.data()), positions.data(),
                                            table_rows, 1e-6f};
                        std::vector<uint32_t> counts(kPartBlocks);
                        std::vector<float> scratch(
                            size_t(attention_scratch_bytes(rows, heads, kv_heads, dim, longest) / 4), NAN);
                        const auto answer = [&](Step &step, const Tensor &input, const HeadTurn &turn) {
                            Memory out(type, rows * heads * dim);
                            launch_attention(type, input.data(), rows, heads, step.layout(), step.where(), scale,
                                             window, turn, longest, scratch.data(), counts.data(), out.data());
                            return out.floats();
                        };
                        const std::vector<float> found = answer(fused, qkv, turn);
                        Tensor turned = qkv.copy();
                        launch_rope_kv_write(type, turned.data(), rows, heads, apart.layout(), apart.where(),
                                             turn.query_norm, turn.key_norm, turn.eps, turn.angles, table_rows,
                                             positions.data(), false);
                        expect_equal("fused attention", found, answer(apart, turned, {}));
                        if (fused.slots != apart.slots) (Failure() << "caches differ at " << dim).raise();
                    }
    }
}

KERNEL_CHECK(segments, "attention in segments is the CPU's") {
    each_type([](tg_dtype type) {
        for (const int64_t dim : {16, 72, 80, 128})
            for (const int64_t heads : {1, 3}) {
                const std::vector<int64_t> lengths{1, 7, 64, 65, 20};
                int64_t rows = 0, cached = 0;
                std::vector<int32_t> first, end;
                for (const int64_t length : lengths) {
                    first.insert(first.end(), size_t(length), int32_t(rows));
                    end.insert(end.end(), size_t(length), int32_t(rows + length));
                    rows += length;
                    cached += (length + 63) / 64;
                }
                const int64_t inner = heads * dim;
                const Tensor q(noise(rows * inner), {rows, inner}, type);
                const Tensor kv(noise(rows * 2 * inner), {rows, 2 * inner}, type);
                const float scale = 1 / std::sqrt(float(dim));
                Memory out(type, rows * inner);
                launch_segment_attention(type, q.data(), rows, heads, dim, scale, kv.data(), first.data(),
                                         end.data(), out.data());
                const int64_t shape[] = {cached, 2 * 64 * inner};
                const Tensor cache(tg_zeros(cpu_type(type), shape, 2));
                tg_segment_keep(kv.as(cpu_type(type)), 0, heads, dim, lengths.data(), int64_t(lengths.size()),
                                cache);
                const Tensor wanted(tg_segment_attention(q.as(cpu_type(type)), 0, heads, dim, scale,
                                                         lengths.data(), int64_t(lengths.size()), cache));
                expect_close("segment attention", type, out.floats(), wanted.floats(), 2e-5);
            }
    });
}
