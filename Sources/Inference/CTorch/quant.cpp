// Products and rows of weights that stay quantised.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>

#include "internal.hpp"
#include "kernels.hpp"
#include "packed.hpp"

namespace {

/// Inputs of the product at hand in one order of columns; each thread that calls products has its own.
struct Scratch {
    std::vector<int8_t> values;
    std::vector<tg::QuantInputBlock> blocks;
    std::vector<float> floats;
    std::vector<tg::bf16> pairs;
};

at::ScalarType scalar(tg_dtype dtype, const tg::Device *device = nullptr) {
    TORCH_CHECK(dtype == TG_F32 || dtype == TG_BF16 || (device && dtype == TG_F16),
                "quantised weights: float32 or bfloat16 is needed");
    return dtype == TG_F32 ? at::kFloat : dtype == TG_BF16 ? at::kBFloat16 : at::kHalf;
}

/// The rows of `x` as the weight's kernels want them for parts of one order (as QuantPart has it), padded
/// with rows that nobody reads the products of.
tg::QuantInput prepared(const at::Tensor &x, const tg_packed_s &weight, int32_t order,
                        const tg::QuantKernels &kernels, Scratch &scratch) {
    const std::vector<int32_t> *from = order ? &weight.orders[size_t(order - 1)].from : nullptr;
    const int64_t rows = x.size(0), width = x.size(1), columns = from ? int64_t(from->size()) : width;
    const int64_t blocks = columns / tg::kBlock;
    const int64_t padded = (rows + kernels.rows - 1) / kernels.rows * kernels.rows;
    // Rows that one call of a kernel has lie in the same lines of memory.
    const int64_t together = std::min<int64_t>(8, int64_t(std::bit_ceil(uint64_t(rows))));
    const bool narrow = x.scalar_type() == at::kBFloat16;
    bool codes = false, floats = false, pairs = false;
    for (const tg::QuantPart &part : weight.parts) {
        if (part.order != order) continue;
        const bool float8 = part.scales == tg::Scales::float8;
        if (float8 && narrow && kernels.pair_b16) pairs = true;
        else if (float8 || part.scales == tg::Scales::table) floats = true;
        else codes = true;
    }
    if (!codes && !floats && !pairs) return {};
    const auto grow = [](auto &vector, bool isUsed, int64_t count) {
        if (isUsed && int64_t(vector.size()) < count) vector.resize(size_t(count));
        return isUsed ? vector.data() : nullptr;
    };
    float *wide_to = grow(scratch.floats, floats, padded * columns);
    tg::bf16 *pairs_to = grow(scratch.pairs, pairs, padded * columns);
    int8_t *values = grow(scratch.values, codes, padded * columns);
    tg::QuantInputBlock *scales = grow(scratch.blocks, codes, padded * blocks);
    const int64_t step = std::max<int64_t>(1, 8192 / columns);
    const auto prepare = [&]<typename T>(const T *x, auto quantise, auto widen) {
        tg::parallel((rows + step - 1) / step, [&](int64_t chunk) {
            static thread_local std::vector<T> sorted;
            if (from) sorted.resize(size_t(columns));
            for (int64_t r = chunk * step; r < std::min(rows, (chunk + 1) * step); ++r) {
                const T *row = x + r * width;
                if (from) {
                    std::transform(from->begin(), from->end(), sorted.begin(),
                                   [row](int32_t column) { return column < 0 ? T(0) : row[column]; });
                    row = sorted.data();
                }
                const int64_t at = r * columns;
                if (codes) quantise(row, columns, values + at, scales + r * blocks);
                if (floats) widen(row, columns, wide_to + at);
                if constexpr (sizeof(T) == 2) {
                    tg::bf16 *to = pairs_to + r / together * together * columns + r % together * 4;
                    if (pairs) kernels.pair_b16(row, columns, together, to);
                }
            }
        });
    };
    if (narrow) {
        prepare(static_cast<const tg::bf16 *>(x.const_data_ptr()), kernels.quantise_b16, kernels.widen_b16);
    } else {
        const auto copy = [](const float *from, int64_t count, float *to) { std::copy_n(from, count, to); };
        prepare(static_cast<const float *>(x.const_data_ptr()), kernels.quantise_f32, copy);
    }
    return {values, scales, wide_to, pairs_to, columns, together};
}

}  // namespace

extern "C" {

tg_tensor tg_packed_linear(tg_tensor x, tg_packed w, tg_tensor bias, tg_dtype dtype) noexcept {
    return tg::answer([&]() -> tg::Placed {
        const at::Tensor &input = tg::matrix(x, "linear input");
        TORCH_CHECK(w && w->filled == w->rows, "undefined or unfinished quantised weight");
        const auto type = input.scalar_type();
        TORCH_CHECK(x->device == w->device, "a quantised weight on another device than its input");
        TORCH_CHECK(input.size(1) == w->columns && (w->device || type == at::kFloat || type == at::kBFloat16),
                    "linear: input ", input.sizes(), ' ', type, " and quantised weight [", w->rows, ", ",
                    w->columns, ']');
        if (tg::Device *device = tg::device_of(x, bias)) {
            TORCH_CHECK(!bias || (bias->value.dim() == 1 && bias->value.size(0) == w->rows &&
                                  bias->value.is_contiguous() && bias->value.scalar_type() == type),
                        "linear: bias for ", w->rows, " rows");
            return {device->packed_linear(input, *w, tg::optional(bias), scalar(dtype, device)), device};
        }
        const int64_t rows = input.size(0);
        at::Tensor out = at::empty({rows, w->rows}, input.options().dtype(scalar(dtype)));
        tg::QuantOutput to{out.data_ptr(), nullptr, w->rows, dtype == TG_BF16};
        at::Tensor added;
        if (bias) {
            added = bias->value;
            TORCH_CHECK(added.dim() == 1 && added.size(0) == w->rows && added.is_contiguous(),
                        "linear: bias ", added.sizes(), " for ", w->rows, " rows");
            added = added.to(out.scalar_type());
            to.bias = added.const_data_ptr();
        }
        static thread_local std::vector<Scratch> scratches;
        if (scratches.size() <= w->orders.size()) scratches.resize(w->orders.size() + 1);
        const tg::QuantKernels &kernels = tg::quant_kernels();
        std::vector<tg::QuantInput> inputs;
        for (size_t order = 0; order <= w->orders.size(); ++order) {
            inputs.push_back(prepared(input, *w, int32_t(order), kernels, scratches[order]));
        }
        // Rows that stay in the second-level cache while pieces of the weight pass by.
        const int64_t band = 64, bands = (rows + band - 1) / band;
        const auto pieces = int64_t(w->pieces.size());
        tg::parallel(pieces * bands, [&](int64_t chunk) {
            const tg_packed_s::Piece &piece = w->pieces[size_t(chunk % pieces)];
            const int64_t row = chunk / pieces * band;
            const tg::QuantPart &part = w->parts[size_t(piece.part)];
            kernels.product(part, piece.tile, piece.tile_end, inputs[size_t(part.order)], row,
                            std::min(rows, row + band), to);
        });
        return out;
    });
}

tg_tensor tg_packed_embedding(tg_packed w, const int32_t *ids, int64_t count, tg_dtype dtype) noexcept {
    return tg::answer([&]() -> tg::Placed {
        TORCH_CHECK(w && w->filled == w->rows, "undefined or unfinished quantised weight");
        if (w->device) {
            for (int64_t i = 0; i < count; ++i) {
                TORCH_CHECK(ids[i] >= 0 && ids[i] < w->rows, "token ", ids[i],
                            " is outside the vocabulary of ", w->rows);
            }
            tg::progressed();
            return {w->device->packed_embedding(*w, ids, count, scalar(dtype, w->device)), w->device};
        }
        at::Tensor out = at::empty({count, w->columns}, scalar(dtype));
        std::vector<float> row(size_t(w->columns)), lying;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t id = ids[i];
            TORCH_CHECK(id >= 0 && id < w->rows, "token ", id, " is outside the vocabulary of ", w->rows);
            const auto part = std::find_if(w->parts.begin(), w->parts.end(), [&](const tg::QuantPart &p) {
                return id >= p.first && id < p.first + p.rows;
            });
            float *to = dtype == TG_F32 ? static_cast<float *>(out.data_ptr()) + i * w->columns : row.data();
            if (part->order) {
                lying.resize(size_t(part->columns));
                tg::unpack_row(*part, id - part->first, lying.data());
                const std::vector<int32_t> &from = w->orders[size_t(part->order - 1)].from;
                for (size_t c = 0; c < from.size(); ++c) {
                    if (from[c] >= 0) to[from[c]] = lying[c];
                }
            } else {
                tg::unpack_row(*part, id - part->first, to);
            }
            if (dtype == TG_BF16) {
                auto *narrow = static_cast<c10::BFloat16 *>(out.data_ptr()) + i * w->columns;
                std::copy(row.begin(), row.end(), narrow);
            }
        }
        return out;
    });
}
}
