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

#include <cstring>

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

/// What a device's elementwise kernels take.
void check_alike(const at::Tensor &a, const at::Tensor &b) {
    TORCH_CHECK(a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() && a.is_contiguous() &&
                    b.is_contiguous(),
                "elementwise: ", a.sizes(), ' ', a.scalar_type(), " and ", b.sizes(), ' ', b.scalar_type());
}

/// A copy of the host's tensor on the device.
tg::Placed placed(const at::Tensor &host, tg::Device *device) {
    at::Tensor value = device->empty(host.sizes(), host.scalar_type());
    device->upload(value, host);
    return {std::move(value), device};
}

at::IntArrayRef sizes(const int64_t *shape, int32_t rank) { return {shape, size_t(rank)}; }

tg_tensor reserve(tg::Device *device, tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const auto type = scalar(dtype);
        uint64_t bytes = c10::elementSize(type);
        for (const int64_t size : sizes(shape, rank)) {
            TORCH_CHECK(size >= 0 && !__builtin_mul_overflow(bytes, uint64_t(size), &bytes) &&
                            bytes < (uint64_t(1) << 46),
                        "reserving ", sizes(shape, rank));
        }
        if (device) return {device->reserve(sizes(shape, rank), type, bytes), device};
        if (bytes == 0) return at::empty(sizes(shape, rank), type);
        void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        TORCH_CHECK(memory != MAP_FAILED, "no address space for ", bytes, " bytes");
        return at::from_blob(memory, sizes(shape, rank), [bytes](void *p) { munmap(p, bytes); }, type);
    });
}

}  // namespace

extern "C" {

void tg_free(tg_tensor t) noexcept { delete t; }

tg_tensor tg_empty(tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    tg::Device *device = tg::current_device();
    if (!device) return tg_empty_on_cpu(dtype, shape, rank);
    return tg::answer(
        [&] { return tg::Placed(device->empty(sizes(shape, rank), scalar(dtype)), device); });
}

tg_tensor tg_empty_on_cpu(tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&] { return at::empty(sizes(shape, rank), scalar(dtype)); });
}

tg_tensor tg_zeros(tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&]() -> tg::Placed {
        tg::Device *device = tg::current_device();
        if (device) return {device->zeros(sizes(shape, rank), scalar(dtype)), device};
        return at::zeros(sizes(shape, rank), scalar(dtype));
    });
}

tg_tensor tg_reserve(tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    return reserve(tg::current_device(), dtype, shape, rank);
}

tg_tensor tg_reserve_on_cpu(tg_dtype dtype, const int64_t *shape, int32_t rank) noexcept {
    return reserve(nullptr, dtype, shape, rank);
}

tg_tensor tg_from_floats(const float *values, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor host =
            at::from_blob(const_cast<float *>(values), sizes(shape, rank), at::kFloat);
        if (tg::Device *device = tg::current_device()) return placed(host, device);
        return host.clone();
    });
}

tg_tensor tg_place(tg_tensor t) noexcept {
    return tg::answer([&]() -> tg::Placed {
        at::Tensor value = tg::get(t);
        tg::Device *device = tg::current_device();
        if (t->device || !device) return {std::move(value), t->device};
        return placed(value, device);
    });
}

bool tg_is_on_device(tg_tensor t) noexcept { return t && t->device; }

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

void *tg_data(tg_tensor t) noexcept { return t && !t->device ? tg_address(t) : nullptr; }

void *tg_address(tg_tensor t) noexcept {
    if (!t || !(t->device || t->value.is_cpu()) || !t->value.is_contiguous()) return nullptr;
    return t->value.data_ptr();
}

bool tg_copy_out(tg_tensor t, float *out, int64_t count) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &value = tg::get(t);
        TORCH_CHECK(value.numel() == count, "copying ", count, " values of ", value.sizes());
        if (t->device) {
            TORCH_CHECK(value.is_contiguous(), "copying a tensor that is not dense");
            const at::Tensor host = at::empty(value.sizes(), value.scalar_type());
            t->device->download(host, value);
            at::from_blob(out, value.sizes(), at::kFloat).copy_(host);
            return true;
        }
        at::from_blob(out, value.sizes(), at::kFloat).copy_(value);
        return true;
    });
}

tg_tensor tg_to(tg_tensor t, tg_dtype dtype) noexcept {
    return tg::answer([&]() -> tg::Placed {
        at::Tensor value = tg::get(t);
        if (!t->device) return value.to(scalar(dtype));
        if (value.scalar_type() == scalar(dtype)) return {std::move(value), t->device};
        TORCH_CHECK(value.is_contiguous(), "converting a tensor that is not dense");
        return {tg::device_of(t)->convert(value, scalar(dtype)), t->device};
    });
}

tg_tensor tg_reshape(tg_tensor t, const int64_t *shape, int32_t rank) noexcept {
    return tg::answer([&]() -> tg::Placed {
        // A view: on the device nothing copies behind its back.
        if (t && t->device) return {t->value.view(sizes(shape, rank)), t->device};
        return tg::get(t).reshape(sizes(shape, rank));
    });
}

tg_tensor tg_rows(tg_tensor t, int64_t from, int64_t count) noexcept {
    return tg::answer([&] { return tg::Placed(tg::get(t).narrow(0, from, count), t->device); });
}

tg_tensor tg_take_rows(tg_tensor t, const int64_t *rows, int64_t count) noexcept {
    return tg::answer([&]() -> tg::Placed {
        if (tg::Device *device = tg::device_of(t)) {
            const at::Tensor &value = tg::matrix(t, "rows");
            for (int64_t i = 0; i < count; ++i) {
                TORCH_CHECK(rows[i] >= 0 && rows[i] < value.size(0), "row ", rows[i], " of ", value.size(0));
            }
            return {device->take_rows(value, rows, count), device};
        }
        const at::Tensor index =
            at::from_blob(const_cast<int64_t *>(rows), {count}, at::TensorOptions(at::kLong));
        return at::index_select(tg::get(t), 0, index);
    });
}

tg_tensor tg_transpose(tg_tensor t) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &value = tg::matrix(t, "transposing");
        if (tg::Device *device = tg::device_of(t)) return {device->transpose(value), device};
        return value.t().contiguous();
    });
}

tg_tensor tg_multiply(tg_tensor a, tg_tensor b) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &x = tg::get(a), &y = tg::get(b);
        if (tg::Device *device = tg::device_of(a, b)) {
            check_alike(x, y);
            return {device->multiply(x, y), device};
        }
        return at::mul(x, y);
    });
}

tg_tensor tg_relu(tg_tensor t) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &value = tg::get(t);
        if (tg::Device *device = tg::device_of(t)) {
            check_alike(value, value);
            return {device->relu(value), device};
        }
        return at::relu(value);
    });
}

tg_tensor tg_add(tg_tensor a, tg_tensor b) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &x = tg::get(a), &y = tg::get(b);
        if (tg::Device *device = tg::device_of(a, b)) {
            check_alike(x, y);
            return {device->add(x, y), device};
        }
        return at::add(x, y);
    });
}

bool tg_commit(tg_tensor t, int64_t offset, int64_t bytes) noexcept {
    return tg::guarded(false, [&] {
        const auto total = int64_t(tg::get(t).nbytes());
        TORCH_CHECK(offset >= 0 && offset <= total && bytes >= 0 && bytes <= total - offset, bytes,
                    " bytes at ", offset, " of ", total);
        if (t->device) t->device->commit(t->value, offset, bytes);
        return true;
    });
}

bool tg_copy_bytes(tg_tensor to, tg_tensor from, int64_t bytes) noexcept {
    return tg::guarded(false, [&] {
        TORCH_CHECK(bytes >= 0 && bytes <= int64_t(tg::get(to).nbytes()) &&
                        bytes <= int64_t(tg::get(from).nbytes()) && tg_address(to) && tg_address(from),
                    "copying ", bytes, " bytes");
        if (tg::Device *device = tg::device_of(to, from)) {
            device->copy(tg_address(from), tg_address(to), bytes);
        } else {
            std::memcpy(tg_address(to), tg_address(from), size_t(bytes));
        }
        return true;
    });
}

void tg_discard(tg_tensor t, int64_t offset, int64_t bytes) noexcept {
    auto *base = static_cast<char *>(tg_address(t));
    if (!base || offset < 0 || bytes <= 0) return;
    const auto total = int64_t(t->value.nbytes());
    if (offset > total || bytes > total - offset) return;
    if (t->device) {
        tg::guarded(false, [&] { return t->device->discard(t->value, offset, bytes), true; });
        return;
    }
    static const auto page = uintptr_t(sysconf(_SC_PAGESIZE));
    const uintptr_t from = (uintptr_t(base + offset) + page - 1) / page * page;
    const uintptr_t to = uintptr_t(base + offset + bytes) / page * page;
    if (to > from) madvise(reinterpret_cast<void *>(from), to - from, MADV_DONTNEED);
}
}
