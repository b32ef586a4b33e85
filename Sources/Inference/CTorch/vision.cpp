// What images and clips need beside the layers of text: patches, resampled tables, attention without order.

#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "internal.hpp"
#include "kernels.hpp"

namespace {

/// Rows of queries that are worked on at once.
constexpr int64_t kRows = 64;

/// One head of a segment in float32: queries and keys [rows, dim], values transposed [dim, rows].
struct Head {
    std::vector<float> queries, keys, values, scores, mixed;
};

template <typename T>
void gather(const T *qkv, int64_t width, int64_t heads, int64_t dim, int64_t head, int64_t rows,
            float scale, Head &to) {
    to.queries.resize(size_t(rows * dim));
    to.keys.resize(size_t(rows * dim));
    to.values.resize(size_t(rows * dim));
    for (int64_t r = 0; r < rows; ++r) {
        const T *query = qkv + r * width + head * dim;
        const T *key = query + heads * dim, *value = key + heads * dim;
        for (int64_t e = 0; e < dim; ++e) {
            to.queries[size_t(r * dim + e)] = float(query[e]) * scale;
            to.keys[size_t(r * dim + e)] = float(key[e]);
            to.values[size_t(e * rows + r)] = float(value[e]);
        }
    }
}

/// Softmax of a row in place, in an order that depends on its length alone.
void softmax(float *row, int64_t count) {
    float most = row[0];
    for (int64_t i = 1; i < count; ++i) most = std::max(most, row[i]);
    float sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += row[i] = std::exp(row[i] - most);
    const float part = 1 / sum;
    for (int64_t i = 0; i < count; ++i) row[i] *= part;
}

template <typename T>
void attend(const T *qkv, T *out, int64_t width, int64_t heads, int64_t dim, float scale,
            const int64_t *lengths, int64_t segments) {
    std::vector<int64_t> starts;
    int64_t total = 0;
    for (int64_t s = 0; s < segments; ++s) {
        starts.push_back(total);
        total += lengths[s];
    }
    const auto gemm = tg::kernels().gemm;
    tg::parallel(segments * heads, [&](int64_t item) {
        thread_local Head work;
        const int64_t segment = item / heads, head = item % heads;
        const int64_t rows = lengths[segment], start = starts[size_t(segment)];
        gather(qkv + start * width, width, heads, dim, head, rows, scale, work);
        work.scores.resize(size_t(kRows * rows));
        work.mixed.resize(size_t(kRows * dim));
        for (int64_t first = 0; first < rows; first += kRows) {
            const int64_t count = std::min(kRows, rows - first);
            gemm(work.queries.data() + first * dim, work.keys.data(), nullptr, work.scores.data(), count,
                 rows, dim, 0, rows);
            for (int64_t r = 0; r < count; ++r) softmax(work.scores.data() + r * rows, rows);
            gemm(work.scores.data(), work.values.data(), nullptr, work.mixed.data(), count, dim, rows, 0,
                 dim);
            for (int64_t r = 0; r < count; ++r) {
                T *to = out + (start + first + r) * heads * dim + head * dim;
                for (int64_t e = 0; e < dim; ++e) to[e] = T(work.mixed[size_t(r * dim + e)]);
            }
        }
    });
}

}  // namespace

extern "C" {

tg_tensor tg_gelu(tg_tensor x, bool is_tanh) noexcept {
    return tg::answer([&] { return at::gelu(tg::matrix(x, "gelu input"), is_tanh ? "tanh" : "none"); });
}

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
                   rows.size(1), heads, dim, scale, lengths, segments);
        } else if (rows.scalar_type() == at::kBFloat16) {
            attend(static_cast<const at::BFloat16 *>(rows.const_data_ptr()),
                   static_cast<at::BFloat16 *>(out.data_ptr()), rows.size(1), heads, dim, scale, lengths,
                   segments);
        } else {
            TORCH_CHECK(false, "attention: float32 or bfloat16 is needed");
        }
        return out;
    });
}
}
