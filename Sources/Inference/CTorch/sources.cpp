// Weights with scales of their own, as floats.
//
// The values are those of each format's reference: bitsandbytes (nf4, fp4, int8), transformers (FP8 in
// tiles), AWQ and GPTQ (products rounded to the scales' type).

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "internal.hpp"
#include "packed.hpp"
#include "sources.hpp"

namespace {

using tg::ceiling;
using tg::kTile;

bool has_zeros(tg_format f) { return f == TG_FORMAT_AWQ4 || f == TG_FORMAT_GPTQ4 || f == TG_FORMAT_GPTQ8; }

float float8(uint8_t bits) {
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    if (exponent == 15 && mantissa == 7) return std::nanf("");
    const float value = exponent == 0 ? std::ldexp(float(mantissa), -9)
                                      : std::ldexp(float(8 + mantissa), exponent - 10);
    return bits & 128 ? -value : value;
}

uint32_t word(const tg_source &s, int64_t index) {
    uint32_t value;
    std::memcpy(&value, static_cast<const uint8_t *>(s.data) + 4 * index, 4);
    return value;
}

}  // namespace

namespace tg {

const float *float8_values() {
    static const auto values = [] {
        std::array<float, 256> all;
        for (int i = 0; i < 256; ++i) all[size_t(i)] = float8(uint8_t(i));
        return all;
    }();
    return values.data();
}

void check_source(const tg_source &s, int64_t rows, int64_t columns) {
    TORCH_CHECK(rows > 0 && columns > 0 && rows < (int64_t(1) << 40) / columns, rows, " rows of ", columns);
    int64_t bytes = 0, scales = 0;
    switch (s.format) {
    case TG_FORMAT_F8_E4M3:
        TORCH_CHECK(s.block_rows > 0 && s.block_columns > 0, "8-bit floats without tiles");
        bytes = rows * columns;
        scales = ceiling(rows, s.block_rows) * ceiling(columns, s.block_columns);
        break;
    case TG_FORMAT_INT8:
        bytes = rows * columns;
        scales = rows;
        break;
    case TG_FORMAT_TABLE4:
        TORCH_CHECK(s.table && s.block_columns > 0, "codes without a table");
        bytes = ceiling(rows * columns, 2);
        scales = ceiling(rows * columns, s.block_columns);
        break;
    case TG_FORMAT_AWQ4:
    case TG_FORMAT_GPTQ4:
    case TG_FORMAT_GPTQ8: {
        const int64_t bits = s.format == TG_FORMAT_GPTQ8 ? 8 : 4, word = 32 / bits;
        TORCH_CHECK(s.zeros && s.block_columns > 0 &&
                        (s.format == TG_FORMAT_AWQ4 ? rows : columns) % word == 0,
                    "codes of ", rows, " rows and ", columns, " columns do not fill words");
        bytes = rows * columns * bits / 8;
        scales = ceiling(columns, s.block_columns) * rows;
        if (s.groups) {
            for (int64_t c = 0; c < columns; ++c) {
                TORCH_CHECK(s.groups[c] >= 0 && s.groups[c] < ceiling(columns, s.block_columns),
                            "column ", c, " is of group ", s.groups[c]);
            }
        }
        for (int64_t i = 0; i < scales; ++i) {
            TORCH_CHECK(s.zeros[i] >= 0 && s.zeros[i] <= 1 << bits, "a zero point of ", s.zeros[i],
                        " beside ", bits, " bits");
        }
        break;
    }
    default: bytes = rows * stored_row_bytes(s.format, columns);
    }
    TORCH_CHECK(s.data && s.bytes == bytes && s.scale_count == scales && (scales == 0 || s.scales),
                "a weight [", rows, ", ", columns, "] has ", s.bytes, " bytes and ", s.scale_count,
                " scales; expected ", bytes, " and ", scales);
    TORCH_CHECK(std::all_of(s.scales, s.scales + s.scale_count, [](float v) { return std::isfinite(v); }),
                "a scale is not a finite number");
    const int64_t head = s.permuted_heads > 0 ? rows / s.permuted_heads : 0;
    TORCH_CHECK(s.permuted_heads <= 0 || (head * s.permuted_heads == rows && head % 2 == 0), rows,
                " rows are no ", s.permuted_heads, " rotary heads");
}

// AWQ keeps 8 columns of a word in the order 0 2 4 6 1 3 5 7.
int source_code(const tg_source &s, int64_t rows, int64_t row, int64_t column) {
    if (s.format == TG_FORMAT_AWQ4) {
        static constexpr int shifts[8] = {0, 16, 4, 20, 8, 24, 12, 28};
        return int(word(s, column * (rows / 8) + row / 8) >> shifts[row % 8] & 15);
    }
    if (s.format == TG_FORMAT_GPTQ8) {
        return int(word(s, column / 4 * rows + row) >> (8 * (column % 4)) & 255);
    }
    return int(word(s, column / 8 * rows + row) >> (4 * (column % 8)) & 15);
}

void read_source_rows(const tg_source &s, int64_t rows, int64_t columns, int64_t from, int64_t to,
                      float *out) {
    const auto *bytes = static_cast<const uint8_t *>(s.data);
    for (int64_t r = from; r < to; ++r) {
        float *row = out + (r - from) * columns;
        switch (s.format) {
        case TG_FORMAT_F8_E4M3: {
            const float *values = float8_values();
            const float *scales = s.scales + r / s.block_rows * ceiling(columns, s.block_columns);
            for (int64_t c = 0; c < columns; ++c) {
                row[c] = values[bytes[r * columns + c]] * scales[c / s.block_columns];
            }
            break;
        }
        case TG_FORMAT_INT8:
            for (int64_t c = 0; c < columns; ++c) {
                row[c] = float(int8_t(bytes[r * columns + c])) * s.scales[r] * kInverse127;
            }
            break;
        case TG_FORMAT_TABLE4:
            for (int64_t c = 0; c < columns; ++c) {
                const int64_t i = r * columns + c;
                const int entry = i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4;
                row[c] = s.table[entry] * s.scales[i / s.block_columns];
            }
            break;
        case TG_FORMAT_AWQ4:
        case TG_FORMAT_GPTQ4:
        case TG_FORMAT_GPTQ8: break;
        default: {
            int64_t stored = r;
            if (s.permuted_heads > 0) {
                const int64_t head = rows / s.permuted_heads, in_head = r % head;
                stored = r - in_head + 2 * (in_head % (head / 2)) + in_head / (head / 2);
            }
            decode_row(s.format, bytes + stored * stored_row_bytes(s.format, columns), columns, row);
        }
        }
    }
    if (has_zeros(s.format)) {
        // Neighbouring rows lie in the same line of memory: columns outside.
        for (int64_t c = 0; c < columns; ++c) {
            const int64_t group = s.groups ? s.groups[c] : c / s.block_columns;
            for (int64_t r = from; r < to; ++r) {
                const int whole = source_code(s, rows, r, c) - int(s.zeros[group * rows + r]);
                out[(r - from) * columns + c] = float(whole) * s.scales[group * rows + r];
            }
        }
    }
    float *end = out + (to - from) * columns;
    if (s.rounded == TG_F16) std::for_each(out, end, [](float &v) { v = float(c10::Half(v)); });
    if (s.rounded == TG_BF16) std::for_each(out, end, [](float &v) { v = float(c10::BFloat16(v)); });
}

}  // namespace tg

extern "C" {

bool tg_decode_source(tg_tensor out, int64_t at, int64_t count, int64_t columns,
                      const tg_source *source) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &to = tg::get(out);
        TORCH_CHECK(source && to.is_contiguous() && (out->device || to.is_cpu()) && columns > 0,
                    "decoding a source");
        tg::check_source(*source, count, columns);
        TORCH_CHECK(at >= 0 && at <= to.numel() / columns - count, count, " rows of ", columns, " from row ",
                    at, " of ", to.sizes());
        const auto type = to.scalar_type();
        TORCH_CHECK(type == at::kFloat || type == at::kBFloat16 || type == at::kHalf, "decoding into ", type);
        tg::write_rows(out, at, count, columns, [&](char *target, int64_t first, int64_t last) {
            tg::parallel(ceiling(last - first, kTile), [&](int64_t tile) {
                const int64_t from = first + tile * kTile, end = std::min(last, from + kTile);
                std::vector<float> rows(size_t((end - from) * columns));
                tg::read_source_rows(*source, count, columns, from, end, rows.data());
                const auto copy = [&]<typename T>(T *to) {
                    std::copy(rows.begin(), rows.end(), to + (from - first) * columns);
                };
                if (type == at::kFloat) copy(reinterpret_cast<float *>(target));
                if (type == at::kHalf) copy(reinterpret_cast<c10::Half *>(target));
                if (type == at::kBFloat16) copy(reinterpret_cast<c10::BFloat16 *>(target));
            });
        });
        return true;
    });
}
}
