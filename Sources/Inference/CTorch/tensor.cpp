// Making, reading and reshaping tensors.

#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.hpp"

namespace {

at::ScalarType scalar(tg_dtype dtype) {
    switch (dtype) {
    case TG_F32: return at::kFloat;
    case TG_BF16: return at::kBFloat16;
    case TG_F16: return at::kHalf;
    }
    TORCH_CHECK(false, "unknown dtype ", int(dtype));
}

at::IntArrayRef sizes(const int64_t *shape, int32_t rank) { return {shape, size_t(rank)}; }

}  // namespace

extern "C" {

void tg_free(tg_tensor t) noexcept { delete t; }

tg_tensor tg_empty(tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&] { return at::empty(sizes(shape, rank), scalar(dtype)); });
}

tg_tensor tg_zeros(tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&] { return at::zeros(sizes(shape, rank), scalar(dtype)); });
}

tg_tensor tg_reserve(tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&] {
        const auto type = scalar(dtype);
        uint64_t bytes = c10::elementSize(type);
        for (const int64_t size : sizes(shape, rank)) {
            TORCH_CHECK(size >= 0 && !__builtin_mul_overflow(bytes, uint64_t(size), &bytes) &&
                            bytes < (uint64_t(1) << 46),
                        "reserving ", sizes(shape, rank));
        }
        if (bytes == 0) return at::empty(sizes(shape, rank), type);
        void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        TORCH_CHECK(memory != MAP_FAILED, "no address space for ", bytes, " bytes");
        return at::from_blob(memory, sizes(shape, rank), [bytes](void *p) { munmap(p, bytes); }, type);
    });
}

tg_tensor tg_from_floats(const float *values, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&] {
        return at::from_blob(const_cast<float *>(values), sizes(shape, rank), at::kFloat).clone();
    });
}

int32_t tg_rank(tg_tensor t) noexcept { return t ? int32_t(t->value.dim()) : 0; }

int64_t tg_size(tg_tensor t, int32_t axis) noexcept {
    return t && axis >= 0 && axis < t->value.dim() ? t->value.sizes()[size_t(axis)] : 0;
}

int32_t tg_dtype_of(tg_tensor t) noexcept {
    if (!t) return -1;
    switch (t->value.scalar_type()) {
    case at::kFloat: return TG_F32;
    case at::kBFloat16: return TG_BF16;
    case at::kHalf: return TG_F16;
    default: return -1;
    }
}

void *tg_data(tg_tensor t) noexcept {
    if (!t || !t->value.is_cpu() || !t->value.is_contiguous()) return nullptr;
    return t->value.data_ptr();
}

bool tg_copy_out(tg_tensor t, float *out, int64_t count) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &value = tg::get(t);
        TORCH_CHECK(value.numel() == count, "copying ", count, " values of ", value.sizes());
        at::from_blob(out, value.sizes(), at::kFloat).copy_(value);
        return true;
    });
}

tg_tensor tg_to(tg_tensor t, tg_dtype dtype) noexcept {
    return tg::answer([&] { return tg::get(t).to(scalar(dtype)); });
}

tg_tensor tg_reshape(tg_tensor t, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&] { return tg::get(t).reshape(sizes(shape, rank)); });
}

tg_tensor tg_rows(tg_tensor t, int64_t from, int64_t count) noexcept {
    return tg::answer([&] { return tg::get(t).narrow(0, from, count); });
}

tg_tensor tg_take_rows(tg_tensor t, const int64_t *rows, int64_t count) noexcept {
    return tg::answer([&] {
        const at::Tensor index =
            at::from_blob(const_cast<int64_t *>(rows), {count}, at::TensorOptions(at::kLong));
        return at::index_select(tg::get(t), 0, index);
    });
}

tg_tensor tg_transpose(tg_tensor t) noexcept {
    return tg::answer([&] { return tg::matrix(t, "transposing").t().contiguous(); });
}

tg_tensor tg_multiply(tg_tensor a, tg_tensor b) noexcept {
    return tg::answer([&] { return at::mul(tg::get(a), tg::get(b)); });
}

tg_tensor tg_relu(tg_tensor t) noexcept {
    return tg::answer([&] { return at::relu(tg::get(t)); });
}

tg_tensor tg_add(tg_tensor a, tg_tensor b) noexcept {
    return tg::answer([&] { return at::add(tg::get(a), tg::get(b)); });
}

void tg_discard(tg_tensor t, int64_t offset, int64_t bytes) noexcept {
    auto *base = static_cast<char *>(tg_data(t));
    if (!base || offset < 0 || bytes <= 0) return;
    const auto total = int64_t(t->value.nbytes());
    if (offset > total || bytes > total - offset) return;
    static const auto page = uintptr_t(sysconf(_SC_PAGESIZE));
    const uintptr_t from = (uintptr_t(base + offset) + page - 1) / page * page;
    const uintptr_t to = uintptr_t(base + offset + bytes) / page * page;
    if (to > from) madvise(reinterpret_cast<void *>(from), to - from, MADV_DONTNEED);
}
}
