// What images and clips need beside the layers of text: patches, resampled tables, attention without order.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "internal.hpp"
#include "kernels.hpp"

namespace {

/// Where segments lie: rows of a matrix, and blocks of 64 keys of a cache [blocks, heads, 2, 64 · dim], each a
/// head's keys transposed [dim, 64], then its values [64, dim].
struct Segments {
    struct Segment {
        int64_t start, rows, block;
    };
    std::vector<Segment> all;
    int64_t rows = 0, blocks = 0;

    Segments(const int64_t *lengths, int64_t count) {
        all.reserve(size_t(count));
        for (int64_t s = 0; s < count; ++s) {
            TORCH_CHECK(lengths[s] > 0 && lengths[s] < int64_t(1) << 40, "a segment of ", lengths[s], " rows");
            all.push_back({rows, lengths[s], blocks});
            rows += lengths[s];
            blocks += (lengths[s] + 63) / 64;
        }
    }

    /// Calls body(segment, first, end) for the part of each segment that lies in at ..< at + count.
    template <typename Body>
    void within(int64_t at, int64_t count, const Body &body) const {
        for (const Segment &segment : all) {
            const int64_t first = std::max(at, segment.start);
            const int64_t end = std::min(at + count, segment.start + segment.rows);
            if (first < end) body(segment, first, end);
        }
    }
};

/// Rows `at` and on of a pass: checked against the segments and their cache.
Segments located(const at::Tensor &rows, int64_t columns, int64_t at, int64_t heads, int64_t dim,
                 const int64_t *lengths, int64_t count, const at::Tensor &cache) {
    Segments segments(lengths, count);
    TORCH_CHECK(heads > 0 && dim > 0 && at >= 0 && rows.size(1) == columns * heads * dim &&
                    at + rows.size(0) <= segments.rows && cache.scalar_type() == rows.scalar_type() &&
                    cache.size(1) == 2 * 64 * heads * dim && cache.size(0) >= segments.blocks,
                "attention: rows ", rows.sizes(), " from ", at, " of ", segments.rows, " for ", heads,
                " heads of ", dim, ", cache ", cache.sizes(), " for ", segments.blocks, " blocks");
    return segments;
}

template <typename T>
void keep(const T *rows, int64_t count, int64_t at, int64_t heads, int64_t dim, const Segments &segments,
          T *cache) {
    const int64_t inner = heads * dim, size = 2 * 64 * dim;
    segments.within(at, count, [&](const Segments::Segment &segment, int64_t first, int64_t end) {
        tg::parallel((end - first + 15) / 16, [&](int64_t chunk) {
            for (int64_t r = first + chunk * 16; r < std::min(end, first + chunk * 16 + 16); ++r) {
                const int64_t place = r - segment.start, slot = place % 64;
                const T *keys = rows + (r - at) * 2 * inner;
                T *to = cache + (segment.block + place / 64) * heads * size;
                for (int64_t h = 0; h < heads; ++h, keys += dim, to += size) {
                    for (int64_t e = 0; e < dim; ++e) to[e * 64 + slot] = keys[e];
                    std::copy_n(keys + inner, dim, to + (64 + slot) * dim);
                }
            }
        });
    });
}

/// Softmax over key blocks of 64 from the segment's start: a row's bits depend on its segment alone.
template <typename T>
void attend(const T *queries, int64_t count, T *out, int64_t at, int64_t heads, int64_t dim, float scale,
            const Segments &segments, const T *cache,
            void (*kernel)(const tg::AttentionItem<T> &, float *)) {
    struct Work {
        int64_t row, count, head, block, keys;
    };
    std::vector<Work> work;
    segments.within(at, count, [&](const Segments::Segment &segment, int64_t first, int64_t end) {
        for (int64_t h = 0; h < heads; ++h)
            for (int64_t r = first; r < end; r += 64)
                work.push_back({r - at, std::min<int64_t>(64, end - r), h, segment.block, segment.rows});
    });
    const int64_t inner = heads * dim, size = 2 * 64 * dim;
    const int64_t scratch = tg::attention_scratch(64, dim);
    tg::parallel(int64_t(work.size()), [&](int64_t i) {
        thread_local std::vector<float> floats;
        if (floats.size() < size_t(scratch)) floats.resize(size_t(scratch));
        const Work &item = work[size_t(i)];
        // All queries stand at the last key.
        kernel(
            {
                .queries = queries + item.row * inner + item.head * dim,
                .query_stride = 0,
                .query_step = inner,
                .out = out + item.row * inner + item.head * dim,
                .out_stride = 0,
                .out_step = inner,
                .rows = 1,
                .group = item.count,
                .dim = dim,
                .position = item.keys - 1,
                .window = item.keys,
                .scale = scale,
                .cache = cache + (item.block * heads + item.head) * size,
                .block_stride = heads * size,
            },
            floats.data());
    });
}

}  // namespace

extern "C" {

bool tg_put_rows(tg_tensor x, int64_t at, tg_tensor rows, bool adds) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &to = tg::matrix(x, "rows' target");
        const at::Tensor &from = tg::matrix(rows, "rows");
        TORCH_CHECK(at >= 0 && at + from.size(0) <= to.size(0) && from.size(1) == to.size(1) &&
                        from.scalar_type() == to.scalar_type(),
                    "rows ", from.sizes(), " at ", at, " of ", to.sizes());
        at::Tensor part = to.narrow(0, at, from.size(0));
        if (x->device && !rows->device) {
            TORCH_CHECK(!adds, "adding the CPU's rows to a device's");
            x->device->upload(part, from);
            return true;
        }
        if (tg::Device *device = tg::device_of(x, rows)) {
            device->put_rows(part, from, adds);
            return true;
        }
        if (adds) {
            part.add_(from);
        } else {
            part.copy_(from);
        }
        return true;
    });
}

tg_tensor tg_mix_rows(tg_tensor table, const int32_t *rows, const float *weights, int64_t count,
                      int64_t taps) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &from = tg::matrix(table, "table");
        TORCH_CHECK(from.scalar_type() == at::kFloat, "a table of float32 is needed");
        for (int64_t i = 0; i < count * taps; ++i) {
            TORCH_CHECK(rows[i] >= 0 && rows[i] < from.size(0), "row ", rows[i], " of ", from.size(0));
        }
        if (tg::Device *device = tg::device_of(table)) {
            return {device->mix_rows(from, rows, weights, count, taps), device};
        }
        const int64_t width = from.size(1);
        at::Tensor out = at::empty({count, width}, from.options());
        const auto *entries = static_cast<const float *>(from.const_data_ptr());
        auto *to = static_cast<float *>(out.data_ptr());
        tg::parallel((count + 15) / 16, [&](int64_t chunk) {
            for (int64_t r = chunk * 16; r < std::min(count, chunk * 16 + 16); ++r) {
                float *sums = to + r * width;
                std::fill_n(sums, width, 0.0f);
                for (int64_t t = 0; t < taps; ++t) {
                    const float *row = entries + rows[r * taps + t] * width;
                    const float weight = weights[r * taps + t];
                    for (int64_t e = 0; e < width; ++e) sums[e] += row[e] * weight;
                }
            }
        });
        return out;
    });
}

tg_tensor tg_patches(const uint8_t *const *frames, int64_t temporal, int64_t height, int64_t width,
                     int64_t patch, int64_t merge, const float *mean, const float *deviation) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const int64_t cell = patch * merge;
        TORCH_CHECK(temporal > 0 && patch > 0 && merge > 0 && height > 0 && width > 0 &&
                        height % cell == 0 && width % cell == 0,
                    "patches: ", height, " × ", width, " pixels in cells of ", cell);
        const int64_t columns = 3 * temporal * patch * patch;
        const int64_t across = width / cell, down = height / cell;
        at::Tensor out = at::empty({down * across * merge * merge, columns}, at::kFloat);
        auto *to = static_cast<float *>(out.data_ptr());
        tg::parallel(down, [&](int64_t y) {
            float *row = to + y * across * merge * merge * columns;
            for (int64_t x = 0; x < across; ++x)
                for (int64_t dy = 0; dy < merge; ++dy)
                    for (int64_t dx = 0; dx < merge; ++dx) {
                        const int64_t top = y * cell + dy * patch, left = x * cell + dx * patch;
                        for (int64_t c = 0; c < 3; ++c)
                            for (int64_t t = 0; t < temporal; ++t)
                                for (int64_t i = 0; i < patch; ++i) {
                                    const uint8_t *from = frames[t] + ((top + i) * width + left) * 3 + c;
                                    for (int64_t j = 0; j < patch; ++j) {
                                        *row++ = (float(from[j * 3]) - mean[c]) / deviation[c];
                                    }
                                }
                    }
        });
        if (tg::Device *device = tg::current_device()) {
            at::Tensor there = device->empty(out.sizes(), out.scalar_type());
            device->upload(there, out);
            return {std::move(there), device};
        }
        return out;
    });
}

bool tg_segment_keep(tg_tensor rows, int64_t at, int64_t heads, int64_t dim, const int64_t *lengths,
                     int64_t segments, tg_tensor cache) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &from = tg::matrix(rows, "keys and values");
        const at::Tensor &to = tg::matrix(cache, "attention cache");
        const Segments places = located(from, 2, at, heads, dim, lengths, segments, to);
        if (tg::Device *device = tg::device_of(rows, cache)) {
            // There a cache holds the rows one after the other.
            device->segment_keep(from, at, to);
            return true;
        }
        if (from.scalar_type() == at::kFloat) {
            keep(static_cast<const float *>(from.const_data_ptr()), from.size(0), at, heads, dim, places,
                 static_cast<float *>(to.data_ptr()));
        } else if (from.scalar_type() == at::kBFloat16) {
            keep(static_cast<const tg::bf16 *>(from.const_data_ptr()), from.size(0), at, heads, dim, places,
                 static_cast<tg::bf16 *>(to.data_ptr()));
        } else {
            TORCH_CHECK(false, "attention: float32 or bfloat16 is needed");
        }
        return true;
    });
}

tg_tensor tg_segment_attention(tg_tensor queries, int64_t at, int64_t heads, int64_t dim, float scale,
                               const int64_t *lengths, int64_t segments, tg_tensor cache) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &rows = tg::matrix(queries, "queries");
        const at::Tensor &kept = tg::matrix(cache, "attention cache");
        const Segments places = located(rows, 1, at, heads, dim, lengths, segments, kept);
        if (tg::Device *device = tg::device_of(queries, cache)) {
            at::Tensor out =
                device->segment_attention(rows, at, heads, dim, scale, lengths, segments, kept);
            return {std::move(out), device};
        }
        at::Tensor out = at::empty(rows.sizes(), rows.options());
        if (rows.scalar_type() == at::kFloat) {
            attend(static_cast<const float *>(rows.const_data_ptr()), rows.size(0),
                   static_cast<float *>(out.data_ptr()), at, heads, dim, scale, places,
                   static_cast<const float *>(kept.const_data_ptr()), tg::kernels().f32.attention);
        } else if (rows.scalar_type() == at::kBFloat16) {
            attend(static_cast<const tg::bf16 *>(rows.const_data_ptr()), rows.size(0),
                   static_cast<tg::bf16 *>(out.data_ptr()), at, heads, dim, scale, places,
                   static_cast<const tg::bf16 *>(kept.const_data_ptr()), tg::kernels().b16.attention);
        } else {
            TORCH_CHECK(false, "attention: float32 or bfloat16 is needed");
        }
        return out;
    });
}
}
