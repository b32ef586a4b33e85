// Ragged attention: decodes and prefill chunks of many sequences in one call.
//
// 1. New keys and values enter the caches before any row attends.
// 2. An item is one key-value head and a few rows of one run; items write disjoint parts of the answer.
// 3. No key beyond the row's own position is read as anything but a masked score.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "internal.hpp"
#include "kernels.hpp"

namespace {

struct Shape {
    int64_t heads, kv_heads, dim, width, window;
    float scale;
    int64_t block() const { return kv_heads * 2 * 64 * dim; }
};

/// Puts a row's keys (transposed) and values at `position`.
template <typename T>
void remember(const Shape &shape, const T *row, T *cache, int64_t position) {
    const T *keys = row + shape.heads * shape.dim;
    const T *values = keys + shape.kv_heads * shape.dim;
    T *block = cache + position / 64 * shape.block();
    const int64_t slot = position % 64;
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
        T *to = block + h * 2 * 64 * shape.dim;
        for (int64_t e = 0; e < shape.dim; ++e) to[e * 64 + slot] = keys[h * shape.dim + e];
        std::copy_n(values + h * shape.dim, shape.dim, to + (64 + slot) * shape.dim);
    }
}

struct Work {
    int64_t run, first, rows, offset, head;
};

template <typename T>
void attend(const Shape &shape, const T *qkv, T *out, const tg_run *runs, int64_t run_count,
            void (*kernel)(const tg::AttentionItem<T> &, float *)) {
    const int64_t group = shape.heads / shape.kv_heads;
    const int64_t rows_an_item = std::max<int64_t>(1, 48 / group);
    std::vector<Work> work;
    int64_t offset = 0, total = 0;
    for (int64_t r = 0; r < run_count; ++r) {
        // Later rows see more keys: the longest items first keeps the threads even.
        for (int64_t end = runs[r].count; end > 0;) {
            const int64_t first = std::max<int64_t>(0, end - rows_an_item);
            for (int64_t h = 0; h < shape.kv_heads; ++h) {
                work.push_back({r, first, end - first, offset + first, h});
            }
            end = first;
        }
        offset += runs[r].count;
        total += runs[r].count;
    }
    std::vector<std::pair<int64_t, int64_t>> places;  // run, row in the run
    places.reserve(size_t(total));
    for (int64_t r = 0; r < run_count; ++r)
        for (int64_t i = 0; i < runs[r].count; ++i) places.emplace_back(r, i);
    tg::parallel((total + 15) / 16, [&](int64_t chunk) {
        for (int64_t i = chunk * 16; i < std::min(total, chunk * 16 + 16); ++i) {
            const auto [r, row] = places[size_t(i)];
            remember(shape, qkv + i * shape.width, static_cast<T *>(runs[r].cache), runs[r].start + row);
        }
    });
    const int64_t scratch = tg::attention_scratch(rows_an_item * group, shape.dim);
    tg::parallel(int64_t(work.size()), [&](int64_t i) {
        thread_local std::vector<float> floats;
        if (floats.size() < size_t(scratch)) floats.resize(size_t(scratch));
        const Work &item = work[size_t(i)];
        kernel(
            {
                .queries = qkv + item.offset * shape.width + item.head * group * shape.dim,
                .query_stride = shape.width,
                .query_step = shape.dim,
                .out = out + (item.offset * shape.heads + item.head * group) * shape.dim,
                .out_stride = shape.heads * shape.dim,
                .out_step = shape.dim,
                .rows = item.rows,
                .group = group,
                .dim = shape.dim,
                .position = runs[item.run].start + item.first,
                .window = shape.window,
                .scale = shape.scale,
                .cache = static_cast<const T *>(runs[item.run].cache) + item.head * 2 * 64 * shape.dim,
                .block_stride = shape.block(),
            },
            floats.data());
    });
}

/// Whether norms, angles and positions fit; where not, the separate operations say what is wrong.
bool sound(tg_tensor qkv, const tg_turn &turn, int64_t heads, int64_t kv_heads, int64_t dim) {
    const auto is_norm = [&](tg_tensor w) {
        return !w || (w->device == qkv->device && w->value.dim() == 1 && w->value.size(0) == dim &&
                      w->value.is_contiguous() && w->value.scalar_type() == qkv->value.scalar_type());
    };
    const tg_tensor angles = turn.angles;
    if (!angles || angles->device != qkv->device || angles->value.dim() != 2 ||
        angles->value.size(1) != dim || angles->value.scalar_type() != at::kFloat ||
        !angles->value.is_contiguous() || qkv->value.dim() != 2 ||
        qkv->value.size(1) != (heads + 2 * kv_heads) * dim || !is_norm(turn.query_norm) ||
        !is_norm(turn.key_norm)) {
        return false;
    }
    const int32_t *end = turn.positions + qkv->value.size(0);
    return std::all_of(turn.positions, end,
                       [&](int32_t position) { return position >= 0 && position < angles->value.size(0); });
}

tg_tensor attention(tg_tensor qkv, const tg_turn *turn, int64_t heads, int64_t kv_heads, int64_t dim,
                    float scale, int64_t window, const tg_run *runs, int64_t run_count) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &rows = tg::matrix(qkv, "attention input");
        TORCH_CHECK(heads > 0 && kv_heads > 0 && window > 0 && heads % kv_heads == 0 && dim > 0 &&
                        rows.size(1) == (heads + 2 * kv_heads) * dim,
                    "attention: input ", rows.sizes(), " for ", heads, " heads, ", kv_heads,
                    " key-value heads of ", dim);
        int64_t total = 0;
        for (int64_t r = 0; r < run_count; ++r) {
            TORCH_CHECK((runs[r].cache || qkv->device) && runs[r].count > 0 && runs[r].start >= 0 &&
                            runs[r].start + runs[r].count <= runs[r].capacity,
                        "attention: ", runs[r].count, " rows after ", runs[r].start,
                        " in a cache of ", runs[r].capacity);
            total += runs[r].count;
        }
        TORCH_CHECK(total == rows.size(0), "attention: runs of ", total, " rows, input of ", rows.size(0));
        if (tg::Device *device = tg::device_of(qkv)) {
            at::Tensor out =
                device->attention(rows, turn, heads, kv_heads, dim, scale, window, runs, run_count);
            return {std::move(out), device};
        }
        at::Tensor out = at::empty({total, heads * dim}, rows.options());
        const Shape shape{heads, kv_heads, dim, rows.size(1), window, scale};
        if (rows.scalar_type() == at::kFloat) {
            attend<float>(shape, static_cast<const float *>(rows.const_data_ptr()),
                          static_cast<float *>(out.data_ptr()), runs, run_count,
                          tg::kernels().f32.attention);
        } else if (rows.scalar_type() == at::kBFloat16) {
            attend<tg::bf16>(shape, static_cast<const tg::bf16 *>(rows.const_data_ptr()),
                             static_cast<tg::bf16 *>(out.data_ptr()), runs, run_count,
                             tg::kernels().b16.attention);
        } else {
            TORCH_CHECK(false, "attention: float32 or bfloat16 is needed");
        }
        return out;
    });
}

}  // namespace

extern "C" {

tg_tensor tg_attention(tg_tensor qkv, const tg_turn *turn, int64_t heads, int64_t kv_heads, int64_t dim,
                       float scale, int64_t window, const tg_run *runs, int64_t run_count) noexcept {
    // The device's kernel turns while it writes keys and values.
    const bool turns_there =
        turn && qkv && qkv->device && dim <= 256 && dim % 2 == 0 && sound(qkv, *turn, heads, kv_heads, dim);
    if (turn && !turns_there) {
        const bool turned =
            (!turn->query_norm || tg_head_norm(qkv, 0, heads, dim, turn->query_norm, turn->eps)) &&
            (!turn->key_norm || tg_head_norm(qkv, heads * dim, kv_heads, dim, turn->key_norm, turn->eps)) &&
            tg_rope(qkv, 0, heads + kv_heads, dim, turn->angles, turn->positions, tg_size(qkv, 0), false);
        if (!turned) return nullptr;
        turn = nullptr;
    }
    return attention(qkv, turn, heads, kv_heads, dim, scale, window, runs, run_count);
}
}
