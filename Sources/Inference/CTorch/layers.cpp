// Linear, embedding, norms, SwiGLU, GELU and rotary positions.

#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>

#include <cstring>

#include "internal.hpp"
#include "kernels.hpp"

namespace {

/// Rows a chunk so that a kernel over rows of `columns` elements is worth a thread.
int64_t rows_per_chunk(int64_t columns) {
    return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
}

/// Calls body(row) for each row on the pool.
template <typename Body>
void each_row(int64_t rows, int64_t columns, const Body &body) {
    const int64_t step = rows_per_chunk(columns);
    tg::parallel((rows + step - 1) / step, [&](int64_t chunk) {
        for (int64_t r = chunk * step; r < std::min(rows, (chunk + 1) * step); ++r) body(r);
    });
}

/// Few rows: a product with a vector reads the weight once and needs no packing.
at::Tensor linear_rows(const at::Tensor &x, const at::Tensor &w, const tg::bf16 *bias) {
    const int64_t m = x.size(0), n = w.size(0), k = w.size(1);
    at::Tensor out = at::empty({m, n}, x.options());
    const auto *from = static_cast<const tg::bf16 *>(x.const_data_ptr());
    const auto *weight = static_cast<const tg::bf16 *>(w.const_data_ptr());
    auto *to = static_cast<tg::bf16 *>(out.data_ptr());
    const auto gemv = tg::kernels().gemv;
    const int64_t step = std::max<int64_t>(16, (32768 / std::max<int64_t>(1, k) + 3) / 4 * 4);
    tg::parallel((n + step - 1) / step, [&](int64_t chunk) {
        gemv(from, weight, bias, to, m, n, k, chunk * step, std::min(n, (chunk + 1) * step));
    });
    return out;
}

/// float32 never goes through a library: there the order of a row's sums follows the number of rows.
at::Tensor exact_linear(const at::Tensor &x, const at::Tensor &w, const float *bias) {
    const int64_t m = x.size(0), n = w.size(0), k = w.size(1);
    at::Tensor out = at::empty({m, n}, x.options());
    const auto *from = static_cast<const float *>(x.const_data_ptr());
    const auto *weight = static_cast<const float *>(w.const_data_ptr());
    auto *to = static_cast<float *>(out.data_ptr());
    const auto gemm = tg::kernels().gemm;
    // Columns whose weights stay in the second-level cache while rows pass by.
    const int64_t columns = std::clamp<int64_t>(65536 / std::max<int64_t>(1, k) / 4 * 4, 16, 256);
    const int64_t rows = 128, bands = (n + columns - 1) / columns;
    tg::parallel(bands * ((m + rows - 1) / rows), [&](int64_t chunk) {
        const int64_t row = chunk / bands * rows, band = chunk % bands * columns;
        gemm(from + row * k, weight, bias, to + row * n, std::min(rows, m - row), n, k, band,
             std::min(n, band + columns));
    });
    return out;
}

template <typename T>
const tg::LayerKernels<T> &layer_kernels();
template <>
const tg::LayerKernels<float> &layer_kernels<float>() { return tg::kernels().f32; }
template <>
const tg::LayerKernels<tg::bf16> &layer_kernels<tg::bf16>() { return tg::kernels().b16; }

/// Calls body(T{}) with the element type of `t`.
template <typename Body>
void with_elements(const at::Tensor &t, const char *what, const Body &body) {
    if (t.scalar_type() == at::kFloat) return body(float{});
    if (t.scalar_type() == at::kBFloat16) return body(tg::bf16{});
    TORCH_CHECK(false, what, ": float32 or bfloat16 is needed, found ", t.scalar_type());
}

void check_token(int32_t id, int64_t vocabulary) {
    TORCH_CHECK(id >= 0 && id < vocabulary, "token ", id, " is outside the vocabulary of ", vocabulary);
}

}  // namespace

extern "C" {

tg_tensor tg_linear(tg_tensor x, tg_tensor w, tg_tensor bias) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &input = tg::matrix(x, "linear input");
        const at::Tensor &weight = tg::matrix(w, "linear weight");
        TORCH_CHECK(input.size(1) == weight.size(1) && input.scalar_type() == weight.scalar_type(),
                    "linear: input ", input.sizes(), ' ', input.scalar_type(), " and weight ",
                    weight.sizes(), ' ', weight.scalar_type());
        std::optional<at::Tensor> added;
        if (bias) {
            added = bias->value;
            TORCH_CHECK(added->dim() == 1 && added->size(0) == weight.size(0) && added->is_contiguous() &&
                            added->scalar_type() == weight.scalar_type(),
                        "linear: bias ", added->sizes(), " for weight ", weight.sizes());
        }
        if (tg::Device *device = tg::device_of(x, w, bias)) {
            return {device->linear(input, weight, tg::optional(bias)), device};
        }
        if (input.scalar_type() == at::kFloat) {
            return exact_linear(input, weight,
                                added ? static_cast<const float *>(added->const_data_ptr()) : nullptr);
        }
        if (input.scalar_type() == at::kBFloat16 && input.size(0) >= 1 && input.size(0) <= 4) {
            return linear_rows(input, weight,
                               added ? static_cast<const tg::bf16 *>(added->const_data_ptr()) : nullptr);
        }
        return at::linear(input, weight, added);
    });
}

tg_tensor tg_embedding(tg_tensor w, const int32_t *ids, int64_t count) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &weight = tg::matrix(w, "embedding weight");
        if (tg::Device *device = tg::device_of(w)) {
            for (int64_t i = 0; i < count; ++i) check_token(ids[i], weight.size(0));
            return {device->embedding(weight, ids, count), device};
        }
        at::Tensor out = at::empty({count, weight.size(1)}, weight.options());
        const auto bytes = size_t(weight.size(1)) * weight.element_size();
        const auto *from = static_cast<const char *>(weight.const_data_ptr());
        auto *to = static_cast<char *>(out.data_ptr());
        for (int64_t i = 0; i < count; ++i) {
            check_token(ids[i], weight.size(0));
            std::memcpy(to + size_t(i) * bytes, from + size_t(ids[i]) * bytes, bytes);
        }
        return out;
    });
}

tg_tensor tg_rms_norm(tg_tensor x, tg_tensor w, float eps) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &input = tg::matrix(x, "norm input");
        const at::Tensor &weight = tg::get(w);
        const int64_t dim = input.size(1);
        TORCH_CHECK(weight.dim() == 1 && weight.size(0) == dim && weight.is_contiguous() &&
                        weight.scalar_type() == input.scalar_type(),
                    "norm: input ", input.sizes(), " and weight ", weight.sizes());
        if (tg::Device *device = tg::device_of(x, w)) return {device->rms_norm(input, weight, eps), device};
        at::Tensor out = at::empty(input.sizes(), input.options());
        with_elements(input, "norm", [&]<typename T>(T) {
            const auto *from = static_cast<const T *>(input.const_data_ptr());
            const auto *scale = static_cast<const T *>(weight.const_data_ptr());
            auto *to = static_cast<T *>(out.data_ptr());
            const auto norm = layer_kernels<T>().rms_norm;
            each_row(input.size(0), dim,
                     [&](int64_t r) { norm(from + r * dim, scale, to + r * dim, dim, eps); });
        });
        return out;
    });
}

tg_tensor tg_add_rms_norm(tg_tensor x, tg_tensor residual, tg_tensor w, float eps) noexcept {
    tg_tensor fused = nullptr;
    const bool added = tg::guarded(false, [&] {
        const at::Tensor &more = tg::matrix(x, "norm input"), &sum = tg::matrix(residual, "norm input");
        const at::Tensor &weight = tg::get(w);
        TORCH_CHECK(more.sizes() == sum.sizes() && more.scalar_type() == sum.scalar_type() &&
                        weight.dim() == 1 && weight.size(0) == sum.size(1) && weight.is_contiguous() &&
                        weight.scalar_type() == sum.scalar_type(),
                    "norm: inputs ", more.sizes(), " and ", sum.sizes(), " and weight ", weight.sizes());
        if (tg::Device *device = tg::device_of(x, residual, w)) {
            fused = tg::wrap({device->add_rms_norm(more, sum, weight, eps), device});
        } else {
            sum.add_(more);
        }
        return true;
    });
    return fused || !added ? fused : tg_rms_norm(residual, w, eps);
}

tg_tensor tg_layer_norm(tg_tensor x, tg_tensor w, tg_tensor bias, float eps) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &input = tg::matrix(x, "norm input");
        const int64_t dim = input.size(1);
        for (const tg_tensor given : {w, bias}) {
            if (!given) continue;
            const at::Tensor &t = given->value;
            TORCH_CHECK(t.dim() == 1 && t.size(0) == dim && t.is_contiguous() &&
                            t.scalar_type() == input.scalar_type(),
                        "norm: input ", input.sizes(), ", weight or bias ", t.sizes());
        }
        if (tg::Device *device = tg::device_of(x, w, bias)) {
            return {device->layer_norm(input, tg::optional(w), tg::optional(bias), eps), device};
        }
        at::Tensor out = at::empty(input.sizes(), input.options());
        with_elements(input, "norm", [&]<typename T>(T) {
            const auto values = [](tg_tensor t) {
                return t ? static_cast<const T *>(t->value.const_data_ptr()) : nullptr;
            };
            const T *from = values(x), *scale = values(w), *shift = values(bias);
            auto *to = static_cast<T *>(out.data_ptr());
            const auto norm = layer_kernels<T>().layer_norm;
            each_row(input.size(0), dim,
                     [&](int64_t r) { norm(from + r * dim, scale, shift, to + r * dim, dim, eps); });
        });
        return out;
    });
}

bool tg_head_norm(tg_tensor x, int64_t column, int64_t heads, int64_t dim, tg_tensor w,
                  float eps) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &rows = tg::matrix(x, "head norm input");
        const at::Tensor &weight = tg::get(w);
        TORCH_CHECK(weight.dim() == 1 && weight.size(0) == dim && weight.is_contiguous() &&
                        weight.scalar_type() == rows.scalar_type() && column >= 0 && heads >= 0 &&
                        column + heads * dim <= rows.size(1),
                    "head norm: input ", rows.sizes(), ", ", heads, " heads of ", dim,
                    " from column ", column, " and weight ", weight.sizes());
        if (tg::Device *device = tg::device_of(x, w)) {
            device->head_norm(rows, column, heads, dim, weight, eps);
            return true;
        }
        with_elements(rows, "head norm", [&]<typename T>(T) {
            auto *values = static_cast<T *>(rows.data_ptr());
            const auto *scale = static_cast<const T *>(weight.const_data_ptr());
            const auto norm = layer_kernels<T>().rms_norm;
            each_row(rows.size(0), heads * dim, [&](int64_t r) {
                for (int64_t h = 0; h < heads; ++h) {
                    T *head = values + r * rows.size(1) + column + h * dim;
                    norm(head, scale, head, dim, eps);
                }
            });
        });
        return true;
    });
}

tg_tensor tg_swiglu(tg_tensor x) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &input = tg::matrix(x, "swiglu input");
        TORCH_CHECK(input.size(1) % 2 == 0, "swiglu: odd width ", input.size(1));
        const int64_t width = input.size(1) / 2;
        if (tg::Device *device = tg::device_of(x)) return {device->swiglu(input), device};
        at::Tensor out = at::empty({input.size(0), width}, input.options());
        with_elements(input, "swiglu", [&]<typename T>(T) {
            const auto *from = static_cast<const T *>(input.const_data_ptr());
            auto *to = static_cast<T *>(out.data_ptr());
            const auto swiglu = layer_kernels<T>().swiglu;
            each_row(input.size(0), width, [&](int64_t r) {
                swiglu(from + 2 * r * width, from + (2 * r + 1) * width, to + r * width, width);
            });
        });
        return out;
    });
}

tg_tensor tg_gelu(tg_tensor x, bool by_tanh) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &input = tg::matrix(x, "gelu input");
        const int64_t width = input.size(1);
        if (tg::Device *device = tg::device_of(x)) return {device->gelu(input, by_tanh), device};
        at::Tensor out = at::empty(input.sizes(), input.options());
        with_elements(input, "gelu", [&]<typename T>(T) {
            const auto *from = static_cast<const T *>(input.const_data_ptr());
            auto *to = static_cast<T *>(out.data_ptr());
            const auto gelu = layer_kernels<T>().gelu;
            each_row(input.size(0), width,
                     [&](int64_t r) { gelu(from + r * width, to + r * width, width, by_tanh); });
        });
        return out;
    });
}

bool tg_rope(tg_tensor x, int64_t column, int64_t heads, int64_t dim, tg_tensor angles,
             const int32_t *positions, int64_t count, bool wide) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &rows = tg::matrix(x, "rope input");
        const at::Tensor &table = tg::matrix(angles, "rope angles");
        TORCH_CHECK(table.scalar_type() == at::kFloat && table.size(1) == dim && dim % 2 == 0 &&
                        column >= 0 && column + heads * dim <= rows.size(1) && count == rows.size(0),
                    "rope: input ", rows.sizes(), ", angles ", table.sizes(), ", ", heads, " heads of ",
                    dim, " from column ", column, ", ", count, " positions");
        for (int64_t i = 0; i < count; ++i) {
            TORCH_CHECK(positions[i] >= 0 && positions[i] < table.size(0), "rope: position ",
                        positions[i], " of ", table.size(0));
        }
        if (tg::Device *device = tg::device_of(x, angles)) {
            device->rope(rows, column, heads, dim, table, positions, count, wide);
            return true;
        }
        const auto *entries = static_cast<const float *>(table.const_data_ptr());
        with_elements(rows, "rope", [&]<typename T>(T) {
            auto *values = static_cast<T *>(rows.data_ptr());
            const auto rope = wide ? layer_kernels<T>().rope_wide : layer_kernels<T>().rope;
            each_row(count, heads * dim, [&](int64_t r) {
                const float *cosines = entries + positions[r] * dim;
                for (int64_t h = 0; h < heads; ++h) {
                    rope(values + r * rows.size(1) + column + h * dim, cosines, cosines + dim / 2,
                         dim / 2);
                }
            });
        });
        return true;
    });
}
}
