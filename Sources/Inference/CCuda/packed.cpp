// Weights that stay quantised, on the device: taken over from the host, multiplied and looked up.
//
// Few rows are multiplied with the codes as they are; for more, parts of the weight become dense on the way.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "../CTorch/packed.hpp"
#include "device.hpp"

namespace tg::device {

/// Bytes that are sent at once: enough for the bus, so few that filling and sending overlap.
constexpr int64_t kWindow = int64_t(32) << 20;

void CudaDevice::take_over(tg_packed_s &w) {
    for (size_t i = 0; i < w.parts.size(); ++i) {
        const int64_t bytes = part_bytes(w.parts[i]);
        at::Tensor there = empty({bytes}, at::kByte);
        for (int64_t at = 0; at < bytes; at += kWindow) {
            const int64_t some = std::min(kWindow, bytes - at);
            std::memcpy(fill(some), w.memory[i].get() + at, size_t(some));
            send(there, at, some);
        }
        const int64_t codes = w.parts[i].factors - w.parts[i].codes;
        w.parts[i].codes = static_cast<uint8_t *>(data(there));
        w.parts[i].factors = w.parts[i].codes + codes;
        w.device_memory.push_back(std::make_shared<at::Tensor>(std::move(there)));
    }
    for (ColumnOrder &order : w.orders) {
        at::Tensor there = empty({order.bytes()}, at::kByte);
        platform::upload(data(there), order.from.data(), order.bytes());
        order.on_device = static_cast<const int32_t *>(data(there));
        w.device_memory.push_back(std::make_shared<at::Tensor>(std::move(there)));
    }
}

at::Tensor CudaDevice::packed_linear(const at::Tensor &x, const tg_packed_s &w, const at::Tensor *bias,
                                     at::ScalarType type) {
    return packed_product(x, w, bias, nullptr, type);
}

bool CudaDevice::few_packed(const at::Tensor &x, const tg_packed_s &w) {
    return std::all_of(w.parts.begin(), w.parts.end(), [&x](const QuantPart &part) {
        return x.size(0) <= few_packed_rows(part, code(x));
    });
}

at::Tensor CudaDevice::packed_product(const at::Tensor &x, const tg_packed_s &w, const at::Tensor *bias,
                                      const at::Tensor *sum, at::ScalarType type) {
    const int64_t rows = x.size(0);
    const at::Tensor added = bias ? *bias : at::Tensor();
    // The input in the orders of columns that the parts have, each made once.
    std::vector<at::Tensor> inputs{x};
    for (const ColumnOrder &order : w.orders) {
        const auto count = int64_t(order.from.size());
        const at::Tensor turned = empty({rows, count}, x.scalar_type());
        platform::perform([=, from = order.on_device] {
            launch_take_columns(code(x), data(x), rows, x.size(1), from, count, false, data(turned));
        });
        inputs.push_back(turned);
    }
    if (few_packed(x, w)) {
        const at::Tensor out = sum ? *sum : empty({rows, w.rows}, type);
        platform::perform([=, parts = w.parts, columns = w.rows, behind = sum ? data(*sum) : nullptr] {
            std::vector<PackedInput> with;
            for (const QuantPart &part : parts) with.push_back({&part, data(inputs[size_t(part.order)])});
            launch_packed_products(with.data(), int64_t(with.size()), code(x), rows,
                                   added.defined() ? data(added) : nullptr, behind, code(out), data(out), columns);
        });
        return out;
    }
    // Some rows of the weight at a time as a dense matrix, then a product as any other.
    const int64_t tile = 8192;
    at::Tensor out = empty({rows, w.rows}, x.scalar_type());
    for (const QuantPart &part : w.parts) {
        for (int64_t row = 0; row < part.rows; row += tile) {
            const int64_t count = std::min(tile, part.rows - row), column = part.first + row;
            const at::Tensor dense = empty({count, part.columns}, x.scalar_type());
            platform::perform([=, in = inputs[size_t(part.order)]] {
                launch_unpack(part, row, count, code(x), data(dense));
                product(in, dense, added.defined() ? added.narrow(0, column, count) : at::Tensor(),
                        out.narrow(1, column, count));
            });
        }
    }
    return type == x.scalar_type() ? out : convert(out, type);
}

at::Tensor CudaDevice::packed_embedding(const tg_packed_s &w, const int32_t *ids, int64_t count,
                                        at::ScalarType type) {
    const Words rows = staged(stage_ids, stage_.ids, ids, count);
    at::Tensor out = empty({count, w.columns}, type);
    TORCH_CHECK(w.orders.empty() || w.parts.size() == 1, "a table of several parts in other orders of columns");
    for (const QuantPart &part : w.parts) {
        const at::Tensor lying = part.order ? empty({count, part.columns}, type) : out;
        platform::perform([=] { launch_unpack_rows(part, rows.ints(), count, code(out), data(lying)); });
        if (!part.order) continue;
        platform::perform([=, columns = w.columns, from = w.orders[0].on_device] {
            launch_take_columns(code(out), data(lying), count, columns, from, part.columns, true, data(out));
        });
    }
    return out;
}

}  // namespace tg::device
