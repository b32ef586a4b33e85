// libtorch's flash attention, once it has shown that it does what is expected of it.
#ifndef TORCHGATE_EMULATED

#include "flash.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <vector>

#include "plain_attention.hpp"
#include "platform.hpp"

namespace tg::platform {

namespace {

bool flash_works = false;

/// The library's conventions for fewer queries than keys and for strided caches are tried, not believed.
bool behaves() {
    try {
        const auto options = at::TensorOptions(at::kBFloat16).device(device());
        const auto some = [&](int64_t rows, int64_t heads, int64_t phase) {
            return (at::arange(rows * heads * 2 * 64, at::TensorOptions(at::kFloat).device(device())) * 0.7 +
                    double(phase))
                .sin()
                .reshape({rows, heads, 2, 64})
                .to(options)
                .select(2, 0);
        };
        const at::Tensor q = some(3, 4, 1), k = some(5, 2, 2), v = some(5, 2, 3);
        flash_works = true;
        const auto near = [](const std::optional<at::Tensor> &answer, const at::Tensor &expected) {
            return answer && (answer->to(at::kFloat) - expected).abs().max().item<float>() < 0.02f;
        };
        const at::Tensor whole = plain_attention(q, k, v, 0.125f, 1 << 20);
        const auto ends = [](const std::vector<int32_t> &host) {
            return Ends{host, at::tensor(host, at::TensorOptions(at::kInt)).to(device())};
        };
        // One row of a segment of two, two of a segment of three.
        const at::Tensor parts =
            at::cat({plain_attention(q.narrow(0, 0, 1), k.narrow(0, 0, 2), v.narrow(0, 0, 2), 0.125f, 0),
                     plain_attention(q.narrow(0, 1, 2), k.narrow(0, 2, 3), v.narrow(0, 2, 3), 0.125f, 0)});
        return near(flash(q, k, v, 0.125f, 1 << 20), whole) &&
               near(flash(q, k, v, 0.125f, 2), plain_attention(q, k, v, 0.125f, 2)) &&
               near(flash_segments(q, k, v, 0.125f, ends({0, 1, 3}), ends({0, 2, 5})), parts);
    } catch (const std::exception &) {
        return false;
    }
}

}  // namespace

void try_flash() { flash_works = behaves(); }

bool has_flash(at::ScalarType type, int64_t dim) {
    return flash_works && (type == at::kBFloat16 || type == at::kHalf) && dim % 8 == 0 && dim <= 256;
}

std::optional<at::Tensor> flash(const at::Tensor &queries, const at::Tensor &keys, const at::Tensor &values,
                                float scale, int64_t window) {
    if (!has_flash(queries.scalar_type(), queries.size(2))) return std::nullopt;
    const int64_t rows = queries.size(0), seen = keys.size(0);
    std::optional<int64_t> left, right;
    if (window < seen) left = window - 1, right = 0;
    auto answer = at::_flash_attention_forward(queries.unsqueeze(0), keys.unsqueeze(0), values.unsqueeze(0),
                                               std::nullopt, std::nullopt, rows, seen, 0.0, true, false,
                                               scale, left, right);
    return std::get<0>(answer).squeeze(0);
}

std::optional<at::Tensor> flash_segments(const at::Tensor &queries, const at::Tensor &keys,
                                         const at::Tensor &values, float scale, const Ends &query_ends,
                                         const Ends &key_ends) {
    if (!has_flash(queries.scalar_type(), queries.size(2))) return std::nullopt;
    const auto longest = [](const std::vector<int32_t> &ends) {
        int32_t most = 0;
        for (size_t i = 1; i < ends.size(); ++i) most = std::max(most, ends[i] - ends[i - 1]);
        return int64_t(most);
    };
    auto answer = at::_flash_attention_forward(queries, keys, values, query_ends.there, key_ends.there,
                                               longest(query_ends.host), longest(key_ends.host), 0.0, false,
                                               false, scale);
    return std::get<0>(answer);
}

}  // namespace tg::platform

#endif
