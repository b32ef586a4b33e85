// Products that take norms, gates and sums along: a device's, as one kernel where rows are few.

#include "internal.hpp"
#include "packed.hpp"

namespace {

/// Rows and columns of the weight; the first that does not fit is an error.
void check(const at::Tensor &x, tg_tensor w, tg_packed packed, const tg_around &around) {
    TORCH_CHECK(!w != !packed, "joined product: one weight is needed");
    TORCH_CHECK(!packed || packed->filled == packed->rows, "an unfinished quantised weight");
    TORCH_CHECK(!packed || packed->device, "a quantised weight of the CPU on a device");
    const int64_t n = w ? tg::matrix(w, "linear weight").size(0) : packed->rows;
    const int64_t k = w ? w->value.size(1) : packed->columns, width = around.gated ? n / 2 : n;
    TORCH_CHECK(x.size(1) == k && (!w || w->value.scalar_type() == x.scalar_type()) && n % (1 + around.gated) == 0,
                "joined product: input ", x.sizes(), ' ', x.scalar_type(), " and weight [", n, ", ", k, ']');
    const auto has = [&](tg_tensor t, at::IntArrayRef sizes, const char *what) {
        TORCH_CHECK(!t || (t->value.sizes() == sizes && t->value.is_contiguous() &&
                           t->value.scalar_type() == x.scalar_type()),
                    "joined product: ", what, ' ', t->value.sizes(), " for input ", x.sizes());
    };
    has(around.norm, {k}, "norm");
    has(around.bias, {n}, "bias");
    has(around.sum, {x.size(0), width}, "sum");
    TORCH_CHECK(!around.sum || !around.wide, "joined product: a sum in another type");
}

}  // namespace

extern "C" {

bool tg_joins(tg_tensor x) noexcept {
    return tg::guarded(false, [&] { return x && x->device && x->device->joins(tg::get(x)); });
}

tg_tensor tg_joined_linear(tg_tensor x, tg_tensor w, tg_packed packed, const tg_around *around) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &input = tg::matrix(x, "linear input");
        tg::Device *device = tg::device_of(x, around->norm, around->bias, around->sum);
        TORCH_CHECK(device && (!w || w->device == device), "a joined product without a device");
        check(input, w, packed, *around);
        return {device->joined_linear(input, tg::optional(w), packed, *around), device};
    });
}
}
