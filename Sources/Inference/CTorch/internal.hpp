// What the files of this room share: the handle, the error edge, the thread pool's door.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <exception>
#include <functional>

#include "include/ctorch.h"

struct tg_tensor_s {
    at::Tensor value;
};

namespace tg {

/// Keeps `message` unless the thread has an error already.
void fail(const char *message) noexcept;

inline tg_tensor wrap(at::Tensor &&value) { return new tg_tensor_s{std::move(value)}; }

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

/// The tensor behind a handle; the undefined one is an error (which an earlier one outranks).
inline const at::Tensor &get(tg_tensor t) {
    TORCH_CHECK(t != nullptr, "undefined tensor");
    return t->value;
}

/// A dense CPU matrix; anything else is an error that names `what`.
inline const at::Tensor &matrix(tg_tensor t, const char *what) {
    const at::Tensor &value = get(t);
    TORCH_CHECK(value.dim() == 2 && value.is_contiguous() && value.is_cpu(), what,
                ": a dense CPU matrix is needed, found ", value.sizes());
    return value;
}

/// Bytes of a row in a plain or GGUF format; an error where it has none of `columns`.
int64_t stored_row_bytes(tg_format format, int64_t columns);
/// One such row as floats.
void decode_row(tg_format format, const uint8_t *row, int64_t columns, float *out);

/// Calls body(chunk) for every chunk in 0..<chunks on the pool's threads and waits for all.
///
/// Chunks are claimed one at a time, so a helper that the system does not run stalls nothing.
/// `body` must not throw. Runs inline where the pool is busy with another caller.
void parallel(int64_t chunks, const std::function<void(int64_t)> &body) noexcept;

/// How many threads `parallel` may use.
int threads() noexcept;

}  // namespace tg
