// The operations of ctorch.h on the device: memory for the answer, then a kernel or a product of libtorch.
//
// 1. Work goes through `perform`, with the tensors it touches held by the closure: what is recorded keeps its
// memory.
// 2. While a graph is recorded, integers come from the staged step alone; others cannot be recorded.

#include "device.hpp"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cstring>

#include "../CTorch/internal.hpp"
#include "kernels.hpp"

namespace tg::device {

// Memory -----------------------------------------------------------------------------------------

at::Tensor CudaDevice::empty(at::IntArrayRef sizes, at::ScalarType type) {
    return at::empty(sizes, at::TensorOptions(type).device(platform::device()));
}

at::Tensor CudaDevice::zeros(at::IntArrayRef sizes, at::ScalarType type) {
    at::Tensor out = empty(sizes, type);
    platform::perform([out] { out.zero_(); });
    return out;
}

at::Tensor CudaDevice::reserve(at::IntArrayRef sizes, at::ScalarType type, uint64_t bytes) {
    if (bytes == 0) return empty(sizes, type);
    return at::for_blob(platform::reserve(bytes), sizes)
        .deleter([](void *address) { platform::release(address); })
        .options(at::TensorOptions(type).device(platform::device()))
        .target_device(platform::device())
        .make_tensor();
}

void CudaDevice::commit(const at::Tensor &t, int64_t offset, int64_t bytes) {
    platform::commit(static_cast<char *>(data(t)) + offset, bytes);
}

void CudaDevice::discard(const at::Tensor &t, int64_t offset, int64_t bytes) {
    platform::discard(static_cast<char *>(data(t)) + offset, bytes);
}

void CudaDevice::upload(const at::Tensor &to, const at::Tensor &host) {
    TORCH_CHECK(to.is_contiguous() && host.is_contiguous() && to.nbytes() == host.nbytes(), "uploading ",
                host.sizes(), " to ", to.sizes());
    TORCH_CHECK(!recording, "a recorded step brought values along that were not staged");
    platform::upload(data(to), data(host), int64_t(to.nbytes()));
}

void CudaDevice::download(const at::Tensor &host, const at::Tensor &from) {
    TORCH_CHECK(!recording, "a recorded step wanted values back");
    platform::download(data(host), data(from), int64_t(from.nbytes()));
}

void *CudaDevice::fill(int64_t bytes) {
    turn = (turn + 1) % windows.size();
    auto &window = windows[turn];
    if (window) window->wait();
    if (!window || window->bytes() < bytes) window = std::make_unique<platform::Pinned>(bytes);
    return window->data();
}

void CudaDevice::send(const at::Tensor &to, int64_t offset, int64_t bytes) {
    windows[turn]->send(to, offset, bytes);
}

void CudaDevice::copy(const void *from, void *to, int64_t bytes) {
    if (bytes > 0) platform::copy(to, from, bytes);
}

void CudaDevice::trim() {
    platform::wait();
    for (auto &window : windows) window.reset();
    recent.clear();
    graphs.clear();
    platform::trim();
}

// Integers ---------------------------------------------------------------------------------------

CudaDevice::Words CudaDevice::words(const void *values, int64_t bytes) {
    TORCH_CHECK(!recording, "a recorded step has integers that were not staged");
    const auto *first = static_cast<const char *>(values);
    // The layers of a step ask for the same again and again.
    for (size_t i = 0; i < recent.size(); ++i) {
        if (int64_t(recent[i].host.size()) != bytes ||
            std::memcmp(recent[i].host.data(), first, size_t(bytes))) {
            continue;
        }
        std::rotate(recent.begin(), recent.begin() + long(i), recent.begin() + long(i) + 1);
        return {recent.front().tensor, data(recent.front().tensor)};
    }
    at::Tensor there = empty({std::max<int64_t>(1, bytes)}, at::kByte);
    if (bytes > 0) platform::upload(data(there), values, bytes);
    recent.insert(recent.begin(), Recent{std::vector<char>(first, first + bytes), there});
    if (recent.size() > 64) recent.pop_back();
    return {there, data(there)};
}

CudaDevice::Words CudaDevice::staged(const std::vector<int32_t> &host, const void *there,
                                     const int32_t *values, int64_t count) {
    if (!recording) return words(values, count * 4);
    TORCH_CHECK(int64_t(host.size()) == count && std::equal(host.begin(), host.end(), values),
                "a recorded step has other integers than were staged");
    return {{}, const_cast<void *>(there)};
}

// Layers -----------------------------------------------------------------------------------------

void product(const at::Tensor &x, const at::Tensor &w, const at::Tensor &bias, const at::Tensor &out) {
    at::Tensor to = out;
    if (bias.defined()) {
        at::addmm_out(to, bias, x, w.t());
    } else {
        at::mm_out(to, x, w.t());
    }
}

at::Tensor CudaDevice::linear(const at::Tensor &x, const at::Tensor &w, const at::Tensor *bias) {
    at::Tensor out = empty({x.size(0), w.size(0)}, x.scalar_type());
    // Few rows read the weight once, and a kernel of our own does that without more.
    const bool few = x.size(0) <= kFewRows && x.scalar_type() != at::kFloat;
    platform::perform([=, added = bias ? *bias : at::Tensor()] {
        if (few) {
            launch_gemv(code(x), data(x), x.size(0), data(w), added.defined() ? data(added) : nullptr,
                        data(out), w.size(0), w.size(1));
        } else {
            product(x, w, added, out);
        }
    });
    return out;
}

at::Tensor CudaDevice::embedding(const at::Tensor &w, const int32_t *ids, int64_t count) {
    at::Tensor out = empty({count, w.size(1)}, w.scalar_type());
    const Words rows = staged(stage_ids, stage_.ids, ids, count);
    platform::perform([=] {
        launch_embedding(code(w), data(w), w.size(0), w.size(1), rows.ints(), count, data(out));
    });
    return out;
}

at::Tensor CudaDevice::rms_norm(const at::Tensor &x, const at::Tensor &w, float eps) {
    at::Tensor out = empty(x.sizes(), x.scalar_type());
    platform::perform(
        [=] { launch_rms_norm(code(x), data(x), data(w), data(out), x.size(0), x.size(1), eps); });
    return out;
}

at::Tensor CudaDevice::add_rms_norm(const at::Tensor &x, const at::Tensor &residual, const at::Tensor &w,
                                    float eps) {
    at::Tensor out = empty(x.sizes(), x.scalar_type());
    platform::perform([=] {
        launch_add_rms_norm(code(x), data(x), data(residual), data(w), data(out), x.size(0), x.size(1), eps);
    });
    return out;
}

void CudaDevice::head_norm(const at::Tensor &x, int64_t column, int64_t heads, int64_t dim,
                           const at::Tensor &w, float eps) {
    platform::perform([=] {
        launch_head_norm(code(x), data(x), x.size(0), x.size(1), column, heads, dim, data(w), eps);
    });
}

at::Tensor CudaDevice::layer_norm(const at::Tensor &x, const at::Tensor *w, const at::Tensor *bias,
                                  float eps) {
    at::Tensor out = empty(x.sizes(), x.scalar_type());
    platform::perform([=, scale = w ? *w : at::Tensor(), shift = bias ? *bias : at::Tensor()] {
        launch_layer_norm(code(x), data(x), scale.defined() ? data(scale) : nullptr,
                          shift.defined() ? data(shift) : nullptr, data(out), x.size(0), x.size(1), eps);
    });
    return out;
}

at::Tensor CudaDevice::swiglu(const at::Tensor &x) {
    at::Tensor out = empty({x.size(0), x.size(1) / 2}, x.scalar_type());
    platform::perform([=] { launch_swiglu(code(x), data(x), data(out), x.size(0), x.size(1) / 2); });
    return out;
}

at::Tensor CudaDevice::gelu(const at::Tensor &x, bool by_tanh) {
    at::Tensor out = empty(x.sizes(), x.scalar_type());
    platform::perform([=] { launch_gelu(code(x), data(x), data(out), x.numel(), by_tanh); });
    return out;
}

void CudaDevice::rope(const at::Tensor &x, int64_t column, int64_t heads, int64_t dim,
                      const at::Tensor &angles, const int32_t *positions, int64_t count, bool wide) {
    const Words places = staged(stage_positions, stage_.positions, positions, count);
    platform::perform([=] {
        launch_rope(code(x), data(x), count, x.size(1), column, heads, dim,
                    static_cast<const float *>(data(angles)), angles.size(0), places.ints(), wide);
    });
}

at::Tensor CudaDevice::add(const at::Tensor &a, const at::Tensor &b) {
    at::Tensor out = empty(a.sizes(), a.scalar_type());
    platform::perform([=] { launch_add(code(a), data(a), data(b), data(out), a.numel()); });
    return out;
}

at::Tensor CudaDevice::multiply(const at::Tensor &a, const at::Tensor &b) {
    at::Tensor out = empty(a.sizes(), a.scalar_type());
    platform::perform([=] { launch_multiply(code(a), data(a), data(b), data(out), a.numel()); });
    return out;
}

at::Tensor CudaDevice::relu(const at::Tensor &x) {
    at::Tensor out = empty(x.sizes(), x.scalar_type());
    platform::perform([=] { launch_relu(code(x), data(x), data(out), x.numel()); });
    return out;
}

at::Tensor CudaDevice::convert(const at::Tensor &x, at::ScalarType type) {
    at::Tensor out = empty(x.sizes(), type);
    platform::perform([=] { launch_convert(code(x), data(x), code(out), data(out), x.numel()); });
    return out;
}

at::Tensor CudaDevice::take_rows(const at::Tensor &x, const int64_t *rows, int64_t count) {
    const std::vector<int32_t> narrow(rows, rows + count);
    const Words places = words(narrow.data(), count * 4);
    at::Tensor out = empty({count, x.size(1)}, x.scalar_type());
    platform::perform(
        [=] { launch_take_rows(code(x), data(x), x.size(1), places.ints(), count, data(out)); });
    return out;
}

at::Tensor CudaDevice::transpose(const at::Tensor &x) {
    at::Tensor out = empty({x.size(1), x.size(0)}, x.scalar_type());
    platform::perform([=] { launch_transpose(code(x), data(x), x.size(0), x.size(1), data(out)); });
    return out;
}

void CudaDevice::put_rows(const at::Tensor &to, const at::Tensor &from, bool adds) {
    platform::perform([=] {
        if (adds) {
            launch_add_in_place(code(to), data(to), data(from), from.numel());
        } else {
            platform::copy(data(to), data(from), int64_t(from.nbytes()));
        }
    });
}

at::Tensor CudaDevice::mix_rows(const at::Tensor &table, const int32_t *rows, const float *weights,
                                int64_t count, int64_t taps) {
    const Words places = words(rows, count * taps * 4), shares = words(weights, count * taps * 4);
    at::Tensor out = empty({count, table.size(1)}, at::kFloat);
    platform::perform([=] {
        launch_mix_rows(static_cast<const float *>(data(table)), table.size(0), table.size(1), places.ints(),
                        static_cast<const float *>(shares.data), count, taps,
                        static_cast<float *>(data(out)));
    });
    return out;
}

// Linear attention -------------------------------------------------------------------------------

at::Tensor CudaDevice::linear_attention(const at::Tensor &queries, const at::Tensor &values,
                                        const tg_recurrence *runs, int64_t run_count) {
    std::vector<RecurrenceRow> rows;
    int64_t offset = 0;
    for (int64_t r = 0; r < run_count; ++r) {
        rows.push_back({runs[r].sums, runs[r].queries, runs[r].values, runs[r].start, runs[r].count, offset});
        offset += runs[r].count;
    }
    const Words there = words(rows.data(), run_count * int64_t(sizeof(RecurrenceRow)));
    at::Tensor out = empty(values.sizes(), at::kFloat);
    platform::perform([=] {
        launch_linear_attention(static_cast<const float *>(data(queries)),
                                static_cast<const float *>(data(values)), queries.size(1), values.size(1),
                                static_cast<const RecurrenceRow *>(there.data), run_count,
                                static_cast<float *>(data(out)));
    });
    return out;
}

at::Tensor CudaDevice::pair_angles(const float *cycles, int64_t pairs, const int32_t *positions,
                                   int64_t count) {
    const Words turns = words(cycles, pairs * 4), places = words(positions, count * 4);
    at::Tensor out = empty({count, 2 * pairs}, at::kFloat);
    platform::perform([=] {
        launch_pair_angles(static_cast<const float *>(turns.data), pairs, places.ints(), count,
                           static_cast<float *>(data(out)));
    });
    return out;
}

at::Tensor CudaDevice::turn_pairs(const at::Tensor &x, const at::Tensor &angles) {
    at::Tensor out = empty(x.sizes(), at::kFloat);
    platform::perform([=] {
        launch_turn_pairs(static_cast<const float *>(data(x)), static_cast<const float *>(data(angles)),
                          x.size(0), x.size(1), static_cast<float *>(data(out)));
    });
    return out;
}

}  // namespace tg::device
