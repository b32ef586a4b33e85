// Attention on the device: over the slots of a step's runs, and inside the segments of images and clips.
//
// Rows that libtorch's flash attention takes go there, the others to the kernels of kernels/attention.cu.

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "../CTorch/internal.hpp"
#include "device.hpp"

namespace tg::device {

at::Tensor CudaDevice::attention(const at::Tensor &qkv, const tg_turn *turn, int64_t heads, int64_t kv_heads,
                                 int64_t dim, float scale, int64_t window, const tg_run *runs,
                                 int64_t run_count) {
    const int64_t rows = qkv.size(0), layer = runs[0].layer, layers = runs[0].layers;
    TORCH_CHECK(layers > 0 && layer >= 0 && layer < layers, "attention: layer ", layer, " of ", layers);
    const CacheLayout layout{layer * 2 * kv_heads * dim, (layer * 2 + 1) * kv_heads * dim,
                             layers * 2 * kv_heads * dim, kv_heads, dim};
    const StepRows expanded(runs, run_count);
    Words bases, places;
    int64_t longest = expanded.longest;
    if (recording) {
        TORCH_CHECK(expanded.bases == stage_rows.bases && expanded.places == stage_rows.places,
                    "a recorded step has other sequences than were staged");
        bases = {{}, stage_.bases};
        places = {{}, stage_.places};
        longest = stage_kind.longest;
    } else {
        bases = words(expanded.bases.data(), rows * int64_t(sizeof(void *)));
        places = words(expanded.places.data(), rows * 4);
    }
    const CacheRows where{static_cast<void *const *>(bases.data), places.ints()};
    at::Tensor out = empty({rows, heads * dim}, qkv.scalar_type());
    if (!part_counts.defined()) {
        TORCH_CHECK(!recording, "attention is recorded before it was done once");
        part_counts = zeros({kPartBlocks}, at::kInt);
    }
    const at::Tensor counts = part_counts;
    // Rows that are alone in their sequences wait for no other row's key: all of it is one kernel.
    const bool alone = turn && std::all_of(runs, runs + run_count, [](const tg_run &r) { return r.count == 1; });
    HeadTurn turned;
    Words positions;
    std::vector<at::Tensor> kept;
    if (turn) {
        const auto held = [&](tg_tensor t) -> const void * {
            return t ? data(kept.emplace_back(t->value)) : nullptr;
        };
        positions = staged(stage_positions, stage_.positions, turn->positions, rows);
        turned = {held(turn->query_norm), held(turn->key_norm), static_cast<const float *>(held(turn->angles)),
                  positions.ints(), turn->angles->value.size(0), turn->eps};
    }
    if (turn && !alone) {
        platform::perform([=] {
            launch_rope_kv_write(code(qkv), data(qkv), rows, heads, layout, where, turned.query_norm,
                                 turned.key_norm, turned.eps, turned.angles, turned.table_rows,
                                 turned.positions, false);
            static_cast<void>(bases.keep), static_cast<void>(places.keep), static_cast<void>(positions.keep);
            static_cast<void>(kept);
        });
    } else if (!turn) {
        platform::perform([=] {
            launch_kv_write(code(qkv), data(qkv), rows, heads, layout, where);
            static_cast<void>(bases.keep), static_cast<void>(places.keep);
        });
    }
    // Runs of many rows go to the library one by one, where it takes such heads; the others together.
    const bool flash = !recording && platform::has_flash(qkv.scalar_type(), dim);
    for (int64_t r = 0, row = 0; r < run_count;) {
        int64_t count = runs[r].count;
        if (flash && count > 1) {
            flash_attention(qkv.narrow(0, row, count), out.narrow(0, row, count), heads, layout, runs[r],
                            scale, window);
            row += count;
            ++r;
            continue;
        }
        int64_t next = r + 1;
        while (next < run_count && !(flash && runs[next].count > 1)) count += runs[next++].count;
        const at::Tensor scratch =
            empty({std::max<int64_t>(1, attention_scratch_bytes(count, heads, kv_heads, dim, longest))},
                  at::kByte);
        platform::perform([=] {
            const auto offset = int64_t(qkv.element_size()) * row;
            launch_attention(code(qkv), static_cast<char *>(data(qkv)) + offset * qkv.size(1), count, heads,
                             layout, {where.bases + row, where.places + row}, scale, window,
                             alone ? turned : HeadTurn{}, longest, data(scratch),
                             static_cast<uint32_t *>(data(counts)),
                             static_cast<char *>(data(out)) + offset * heads * dim);
            static_cast<void>(bases.keep), static_cast<void>(places.keep), static_cast<void>(positions.keep);
            static_cast<void>(kept);
        });
        row += count;
        r = next;
    }
    return out;
}

void CudaDevice::flash_attention(const at::Tensor &qkv, const at::Tensor &out, int64_t heads,
                                 const CacheLayout &layout, const tg_run &run, float scale, int64_t window) {
    const int64_t dim = layout.dim, seen = run.start + run.count;
    const auto cached = [&](int64_t offset) {
        return at::for_blob(static_cast<char *>(run.cache) + offset * int64_t(qkv.element_size()),
                            {seen, layout.kv_heads, dim})
            .strides({layout.stride, dim, 1})
            .options(qkv.options())
            .target_device(platform::device())
            .make_tensor();
    };
    const at::Tensor queries = qkv.as_strided({run.count, heads, dim}, {qkv.size(1), dim, 1});
    const auto answer = platform::flash(queries, cached(layout.keys), cached(layout.values), scale, window);
    TORCH_CHECK(answer, "attention: the library does not take heads of ", dim);
    out.copy_(answer->reshape(out.sizes()));
}

void CudaDevice::segment_keep(const at::Tensor &rows, int64_t at, const at::Tensor &cache) {
    const int64_t bytes = int64_t(rows.nbytes()), offset = at * rows.size(1) * int64_t(rows.element_size());
    TORCH_CHECK(offset + bytes <= int64_t(cache.nbytes()), "attention: rows beyond the cache");
    platform::perform([=] { platform::copy(static_cast<char *>(data(cache)) + offset, data(rows), bytes); });
}

at::Tensor CudaDevice::segment_attention(const at::Tensor &queries, int64_t at, int64_t heads, int64_t dim,
                                         float scale, const int64_t *lengths, int64_t segments,
                                         const at::Tensor &cache) {
    const int64_t rows = queries.size(0);
    at::Tensor out = empty(queries.sizes(), queries.scalar_type());
    if (!recording && platform::has_flash(queries.scalar_type(), dim)) {
        flash_segments(queries, out, at, heads, dim, scale, lengths, segments, cache);
        return out;
    }
    std::vector<int32_t> bounds(size_t(2 * rows));
    int64_t start = 0;
    for (int64_t s = 0; s < segments; start += lengths[s++]) {
        for (int64_t r = std::max(at, start); r < std::min(at + rows, start + lengths[s]); ++r) {
            bounds[size_t(r - at)] = int32_t(start);
            bounds[size_t(rows + r - at)] = int32_t(start + lengths[s]);
        }
    }
    const Words ends = words(bounds.data(), 8 * rows);
    platform::perform([=] {
        launch_segment_attention(code(queries), data(queries), rows, heads, dim, scale, data(cache),
                                 ends.ints(), ends.ints() + rows, data(out));
    });
    return out;
}

void CudaDevice::flash_segments(const at::Tensor &queries, const at::Tensor &out, int64_t at, int64_t heads,
                                int64_t dim, float scale, const int64_t *lengths, int64_t segments,
                                const at::Tensor &cache) {
    const int64_t rows = queries.size(0);
    std::vector<int32_t> query_ends{0}, key_ends{0};
    int64_t first = -1, start = 0;
    for (int64_t s = 0; s < segments; start += lengths[s++]) {
        const int64_t end = start + lengths[s];
        if (std::max(at, start) >= std::min(at + rows, end)) continue;
        if (first < 0) first = start;
        query_ends.push_back(int32_t(std::min(at + rows, end) - at));
        key_ends.push_back(int32_t(end - first));
    }
    TORCH_CHECK(query_ends.back() == rows, "attention: rows beyond the segments");
    const at::Tensor kept =
        cache.view({-1, 2, heads, dim}).narrow(0, std::max<int64_t>(0, first), key_ends.back());
    // The layers have the same segments: a copy that waited would stop each of them.
    const auto ends = [this](const std::vector<int32_t> &host) {
        const Words there = words(host.data(), int64_t(host.size()) * 4);
        return platform::Ends{host, there.keep.view(at::kInt)};
    };
    const auto answer =
        platform::flash_segments(queries.view({rows, heads, dim}), kept.select(1, 0), kept.select(1, 1),
                                 scale, ends(query_ends), ends(key_ends));
    TORCH_CHECK(answer, "attention: the library does not take heads of ", dim);
    out.copy_(answer->reshape(out.sizes()));
}

}  // namespace tg::device
