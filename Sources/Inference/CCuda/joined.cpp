// Products with norms, gates and sums around them: one kernel where there is one, else one operation after the
// other.

#include "device.hpp"

#include "../CTorch/internal.hpp"
#include "../CTorch/packed.hpp"

namespace tg::device {

namespace {

void *data_of(tg_tensor t) { return t ? data(t->value) : nullptr; }

}  // namespace

bool CudaDevice::joins(const at::Tensor &x) const {
    return x.dim() == 2 && x.size(0) <= kFewRows && x.scalar_type() != at::kFloat;
}

at::Tensor CudaDevice::joined_linear(const at::Tensor &x, const at::Tensor *w, const tg_packed_s *packed,
                                     const tg_around &around) {
    const ProductAround given{data_of(around.norm), data_of(around.sum), around.eps, around.gated, around.wide};
    const auto type = around.wide ? at::kFloat : x.scalar_type();
    if (w && joins(x) && gemv_takes(code(x), x.size(0), x.size(1), given)) {
        const int64_t n = w->size(0);
        const at::Tensor out = around.sum ? around.sum->value : empty({x.size(0), around.gated ? n / 2 : n}, type);
        const auto kept = [](tg_tensor t) { return t ? t->value : at::Tensor(); };
        platform::perform([=, w = *w, norm = kept(around.norm), bias = kept(around.bias)] {
            launch_gemv(code(x), data(x), x.size(0), data(w), bias.defined() ? data(bias) : nullptr, data(out), n,
                        w.size(1), given);
            static_cast<void>(norm);
        });
        return out;
    }
    const at::Tensor inputs = around.norm ? rms_norm(x, around.norm->value, around.eps) : x;
    const at::Tensor *bias = optional(around.bias);
    if (packed && around.sum && !around.gated && few_packed(inputs, *packed)) {
        return packed_product(inputs, *packed, bias, &around.sum->value, type);
    }
    at::Tensor out = w ? linear(inputs, *w, bias)
                       : packed_linear(inputs, *packed, bias, around.gated ? x.scalar_type() : type);
    if (around.gated) out = swiglu(out);
    if (around.sum) {
        put_rows(around.sum->value, out, true);
        return around.sum->value;
    }
    return out.scalar_type() == type ? out : convert(out, type);
}

}  // namespace tg::device
