// Attention as plain products in float32: what a library's attention must answer, and the emulated device's.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <limits>

namespace tg::platform {

/// softmax(q · kᵀ · scale) · v of queries [rows, heads, dim] over keys and values [seen, kv_heads, dim].
///
/// `reach`: the rows are the last of the keys' positions, and each sees so many keys, its own the last;
/// 0: all see all.
inline at::Tensor plain_attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, float scale,
                                  int64_t reach) {
    const int64_t rows = q.size(0), seen = k.size(0), group = q.size(1) / k.size(1);
    const auto wide = [](const at::Tensor &t) { return t.to(at::kFloat).transpose(0, 1); };
    const at::Tensor keys = wide(k).repeat_interleave(group, 0), values = wide(v).repeat_interleave(group, 0);
    at::Tensor scores = at::matmul(wide(q), keys.transpose(1, 2)) * scale;
    if (reach > 0) {
        const at::Tensor all = at::ones({rows, seen}, scores.options());
        const int64_t own = seen - rows;
        const at::Tensor hidden = all.triu(own + 1) + all.tril(own - std::min(reach, seen));
        scores = scores.masked_fill(hidden.to(at::kBool), -std::numeric_limits<float>::infinity());
    }
    return at::matmul(at::softmax(scores, -1), values).transpose(0, 1);
}

}  // namespace tg::platform
