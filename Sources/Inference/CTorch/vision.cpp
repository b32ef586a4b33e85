// What images and clips need beside the layers of text: patches, resampled tables, attention without order.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "internal.hpp"
#include "kernels.hpp"

namespace {

/// 64 rows of one head: keys transposed [dim, 64], then values [64, dim].
struct Block {
    int64_t row, count, head;
};

/// Some rows of one head, which see the keys of their segment.
struct Work {
    int64_t row, count, head, block, keys;
};

/// Softmax over key blocks of 64 from the segment's start: a row's bits depend on its segment alone.
template <typename T>
void attend(const T *qkv, T *out, int64_t heads, int64_t dim, float scale, const int64_t *lengths,
            int64_t segments, void (*kernel)(const tg::AttentionItem<T> &, float *)) {
    const int64_t inner = heads * dim, width = 3 * inner, size = 2 * 64 * dim;
    std::vector<Block> blocks;
    std::vector<Work> work;
    int64_t start = 0;
    for (int64_t s = 0; s < segments; ++s) {
        const int64_t rows = lengths[s];
        for (int64_t h = 0; h < heads; ++h) {
            const auto first = int64_t(blocks.size());
            for (int64_t r = 0; r < rows; r += 64) {
                const int64_t count = std::min<int64_t>(64, rows - r);
                blocks.push_back({start + r, count, h});
                work.push_back({start + r, count, h, first, rows});
            }
        }
        start += rows;
    }
    const std::unique_ptr<T[]> cache(new T[blocks.size() * size_t(size)]);
    tg::parallel(int64_t(blocks.size() + 7) / 8, [&](int64_t chunk) {
        for (size_t i = size_t(chunk) * 8; i < std::min(blocks.size(), size_t(chunk) * 8 + 8); ++i) {
            const Block &block = blocks[i];
            T *to = cache.get() + i * size_t(size);
            for (int64_t r = 0; r < 64; ++r) {
                const T *keys = qkv + (block.row + r) * width + inner + block.head * dim;
                // No sum may meet what the memory held before.
                const bool held = r < block.count;
                for (int64_t e = 0; e < dim; ++e) to[e * 64 + r] = held ? keys[e] : T(0);
                if (held) std::copy_n(keys + inner, dim, to + (64 + r) * dim);
            }
        }
    });
    const int64_t scratch = tg::attention_scratch(64, dim);
    tg::parallel(int64_t(work.size()), [&](int64_t i) {
        thread_local std::vector<float> floats;
        if (floats.size() < size_t(scratch)) floats.resize(size_t(scratch));
        const Work &item = work[size_t(i)];
        // All queries stand behind the last key.
        kernel(
            {
                .queries = qkv + item.row * width + item.head * dim,
                .query_stride = 0,
                .query_step = width,
                .out = out + item.row * inner + item.head * dim,
                .out_stride = 0,
                .out_step = inner,
                .rows = 1,
                .group = item.count,
                .dim = dim,
                .position = item.keys - 1,
                .window = item.keys,
                .scale = scale,
                .cache = cache.get() + item.block * size,
                .block_stride = size,
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
    return tg::answer([&] {
        const at::Tensor &from = tg::matrix(table, "table");
        TORCH_CHECK(from.scalar_type() == at::kFloat, "a table of float32 is needed");
        for (int64_t i = 0; i < count * taps; ++i) {
            TORCH_CHECK(rows[i] >= 0 && rows[i] < from.size(0), "row ", rows[i], " of ", from.size(0));
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
    return tg::answer([&] {
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
        return out;
    });
}

tg_tensor tg_segment_attention(tg_tensor qkv, int64_t heads, int64_t dim, float scale,
                               const int64_t *lengths, int64_t segments) noexcept {
    return tg::answer([&] {
        const at::Tensor &rows = tg::matrix(qkv, "attention input");
        int64_t total = 0;
        for (int64_t s = 0; s < segments; ++s) {
            TORCH_CHECK(lengths[s] > 0, "attention: a segment of ", lengths[s], " rows");
            total += lengths[s];
        }
        TORCH_CHECK(heads > 0 && dim > 0 && rows.size(1) == 3 * heads * dim && total == rows.size(0),
                    "attention: input ", rows.sizes(), " for ", heads, " heads of ", dim,
                    " and segments of ", total, " rows");
        at::Tensor out = at::empty({total, heads * dim}, rows.options());
        if (rows.scalar_type() == at::kFloat) {
            attend(static_cast<const float *>(rows.const_data_ptr()), static_cast<float *>(out.data_ptr()),
                   heads, dim, scale, lengths, segments, tg::kernels().f32.attention);
        } else if (rows.scalar_type() == at::kBFloat16) {
            attend(static_cast<const tg::bf16 *>(rows.const_data_ptr()),
                   static_cast<tg::bf16 *>(out.data_ptr()), heads, dim, scale, lengths, segments,
                   tg::kernels().b16.attention);
        } else {
            TORCH_CHECK(false, "attention: float32 or bfloat16 is needed");
        }
        return out;
    });
}
}
