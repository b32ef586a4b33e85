// What the files of this room share: the handle, the error edge, the thread pool's door.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <exception>
#include <functional>

#include "device.hpp"
#include "include/ctorch.h"

struct tg_tensor_s {
    at::Tensor value;
    tg::Device *device;  // where it lives; null: on the CPU
};

namespace tg {

/// Keeps `message` unless the thread has an error already.
void fail(const char *message) noexcept;

/// An answer and where it lives: a tensor alone is on the CPU.
struct Placed {
    at::Tensor value;
    Device *device = nullptr;
    Placed(at::Tensor &&value) : value(std::move(value)) {}
    Placed(at::Tensor &&value, Device *device) : value(std::move(value)), device(device) {}
};

inline tg_tensor wrap(Placed &&placed) { return new tg_tensor_s{std::move(placed.value), placed.device}; }

/// Runs `body` in inference mode; an exception becomes the thread's error and `otherwise`.
template <typename Answer, typename Body>
Answer guarded(Answer otherwise, Body &&body) noexcept {
    try {
        c10::InferenceMode inference;
        return body();
    } catch (const c10::Error &error) {
        fail(error.what_without_backtrace());
    } catch (const std::exception &error) {
        fail(error.what());
    } catch (...) {
        fail("unknown C++ exception");
    }
    return otherwise;
}

/// As `guarded`, for a function that answers a new tensor.
template <typename Body>
tg_tensor answer(Body &&body) noexcept {
    return guarded<tg_tensor>(nullptr, [&] { return wrap(body()); });
}

/// Counts an operation for tg_progress.
void progressed() noexcept;

/// Where tensors live that an operation takes (null ones do not count): all on the CPU, or all on the device.
template <typename... Others>
Device *device_of(tg_tensor first, Others... others) {
    Device *device = first ? first->device : nullptr;
    for (const tg_tensor other : std::initializer_list<tg_tensor>{others...}) {
        TORCH_CHECK(!other || other->device == device, "tensors of the CPU and of a device in one operation");
    }
    if (device) progressed();
    return device;
}

/// The tensor of an optional argument.
inline const at::Tensor *optional(tg_tensor t) { return t ? &t->value : nullptr; }

/// The tensor behind a handle; the undefined one is an error (which an earlier one outranks).
inline const at::Tensor &get(tg_tensor t) {
    TORCH_CHECK(t != nullptr, "undefined tensor");
    return t->value;
}

/// A dense matrix; anything else is an error that names `what`.
inline const at::Tensor &matrix(tg_tensor t, const char *what) {
    const at::Tensor &value = get(t);
    TORCH_CHECK(value.dim() == 2 && value.is_contiguous() && (t->device || value.is_cpu()), what,
                ": a dense matrix is needed, found ", value.sizes());
    return value;
}

/// Bytes of a row in a plain or GGUF format; an error where it has none of `columns`.
int64_t stored_row_bytes(tg_format format, int64_t columns);
/// One such row as floats.
void decode_row(tg_format format, const uint8_t *row, int64_t columns, float *out);

/// Fills rows `at` … `at + count` of a dense tensor, wherever it lives: write(target, first, end) puts rows
/// first ..< end, counted from `at`, to `target`.
void write_rows(tg_tensor out, int64_t at, int64_t count, int64_t columns,
                const std::function<void(char *, int64_t, int64_t)> &write);

/// Calls body(chunk) for every chunk in 0..<chunks on the pool's threads and waits for all.
///
/// Chunks are claimed one at a time, so a helper that the system does not run stalls nothing.
/// `body` must not throw. Runs inline where the pool is busy with another caller.
void parallel(int64_t chunks, const std::function<void(int64_t)> &body) noexcept;

/// How many threads `parallel` may use.
int threads() noexcept;

}  // namespace tg
