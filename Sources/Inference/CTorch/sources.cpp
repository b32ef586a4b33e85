// Weights with scales of their own: as floats, into dense rows or into tiles.
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

namespace {

using tg::kBlock;
using tg::kTile;

bool has_zeros(tg_format f) { return f == TG_FORMAT_AWQ4 || f == TG_FORMAT_GPTQ4 || f == TG_FORMAT_GPTQ8; }

int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Errors where the source is not exactly [rows, columns].
void check(const tg_source &s, int64_t rows, int64_t columns) {
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
        break;
    }
    default: bytes = rows * tg::stored_row_bytes(s.format, columns);
    }
    TORCH_CHECK(s.data && s.bytes == bytes && s.scale_count == scales && (scales == 0 || s.scales),
                "a weight [", rows, ", ", columns, "] has ", s.bytes, " bytes and ", s.scale_count,
                " scales; expected ", bytes, " and ", scales);
    const int64_t head = s.permuted_heads > 0 ? rows / s.permuted_heads : 0;
    TORCH_CHECK(s.permuted_heads <= 0 || (head * s.permuted_heads == rows && head % 2 == 0), rows,
                " rows are no ", s.permuted_heads, " rotary heads");
}

float float8(uint8_t bits) {
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    if (exponent == 15 && mantissa == 7) return std::nanf("");
    const float value = exponent == 0 ? std::ldexp(float(mantissa), -9)
                                      : std::ldexp(float(8 + mantissa), exponent - 10);
    return bits & 128 ? -value : value;
}

const float *float8_values() {
    static const auto values = [] {
        std::array<float, 256> all;
        for (int i = 0; i < 256; ++i) all[size_t(i)] = float8(uint8_t(i));
        return all;
    }();
    return values.data();
}

uint32_t word(const tg_source &s, int64_t index) {
    uint32_t value;
    std::memcpy(&value, static_cast<const uint8_t *>(s.data) + 4 * index, 4);
    return value;
}

/// The code of a weight of AWQ or GPTQ. AWQ keeps 8 columns of a word in the order 0 2 4 6 1 3 5 7.
int code(const tg_source &s, int64_t rows, int64_t row, int64_t column) {
    if (s.format == TG_FORMAT_AWQ4) {
        static constexpr int shifts[8] = {0, 16, 4, 20, 8, 24, 12, 28};
        return int(word(s, column * (rows / 8) + row / 8) >> shifts[row % 8] & 15);
    }
    if (s.format == TG_FORMAT_GPTQ8) {
        return int(word(s, column / 4 * rows + row) >> (8 * (column % 4)) & 255);
    }
    return int(word(s, column / 8 * rows + row) >> (4 * (column % 8)) & 15);
}

/// Rows [from, to) as floats, `columns` apart.
void read_rows(const tg_source &s, int64_t rows, int64_t columns, int64_t from, int64_t to, float *out) {
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
                row[c] = float(int8_t(bytes[r * columns + c])) * s.scales[r] * 7.874015718698502e-3f;
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
            tg::decode_row(s.format, bytes + stored * tg::stored_row_bytes(s.format, columns), columns, row);
        }
        }
    }
    if (has_zeros(s.format)) {
        // Neighbouring rows lie in the same line of memory: columns outside.
        for (int64_t c = 0; c < columns; ++c) {
            const int64_t group = s.groups ? s.groups[c] : c / s.block_columns;
            for (int64_t r = from; r < to; ++r) {
                const int whole = code(s, rows, r, c) - int(s.zeros[group * rows + r]);
                out[(r - from) * columns + c] = float(whole) * s.scales[group * rows + r];
            }
        }
    }
    float *end = out + (to - from) * columns;
    if (s.rounded == TG_F16) std::for_each(out, end, [](float &v) { v = float(c10::Half(v)); });
    if (s.rounded == TG_BF16) std::for_each(out, end, [](float &v) { v = float(c10::BFloat16(v)); });
}

/// bitsandbytes' table of nf4.
constexpr float kNormalFloats[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
    -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
    0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
    0.7229568362236023f, 1.0f,
};

uint16_t to_half(float value) { return c10::Half(value).x; }
float from_half(uint16_t bits) {
    c10::Half h;
    h.x = bits;
    return float(h);
}

/// Block `b` of a row of floats as codes; nf4's scale is that of 64 values.
void quantise(const float *row, int64_t b, tg_packing how, tg::BlockCodes &to) {
    const float *x = row + b * kBlock;
    const auto [low, high] = std::minmax_element(x, x + kBlock);
    if (how == TG_PACK_INT8) {
        to.scale = to_half(std::max(-*low, *high) / 127);
        const float d = from_half(to.scale), inverse = d > 0 ? 1 / d : 0;
        for (int64_t i = 0; i < kBlock; ++i) {
            to.codes[i] = uint8_t(128 + int(std::clamp(std::nearbyint(x[i] * inverse), -127.0f, 127.0f)));
        }
    } else if (how == TG_PACK_INT4) {
        to.scale = to_half((*high - *low) / 15);
        to.minimum = to_half(*low);
        const float d = from_half(to.scale), m = from_half(to.minimum), inverse = d > 0 ? 1 / d : 0;
        for (int64_t i = 0; i < kBlock; ++i) {
            to.codes[i] = uint8_t(std::clamp(std::nearbyint((x[i] - m) * inverse), 0.0f, 15.0f));
        }
    } else {
        const float *pair = row + b / 2 * 64;
        const auto [first, last] = std::minmax_element(pair, pair + 64);
        to.whole = std::max(-*first, *last);
        const float inverse = to.whole > 0 ? 1 / to.whole : 0;
        // Entry by entry over the whole block: vectors of comparisons.
        float entries[kBlock] = {};
        for (int e = 0; e < 15; ++e) {
            const float middle = (kNormalFloats[e] + kNormalFloats[e + 1]) / 2;
            for (int64_t i = 0; i < kBlock; ++i) entries[i] += x[i] * inverse > middle ? 1.0f : 0.0f;
        }
        for (int64_t i = 0; i < kBlock; ++i) to.codes[i] = uint8_t(entries[i]);
    }
}

/// Block `b` of a stored row as its codes are.
void take(const tg_source &s, int64_t rows, int64_t columns, int64_t row, int64_t b, tg::BlockCodes &to) {
    if (s.format == TG_FORMAT_TABLE4) {
        const auto *bytes = static_cast<const uint8_t *>(s.data);
        const int64_t first = row * columns + b * kBlock;
        for (int64_t i = 0; i < kBlock; ++i) {
            const uint8_t pair = bytes[(first + i) / 2];
            to.codes[i] = (first + i) % 2 ? pair & 15 : pair >> 4;
        }
        to.whole = s.scales[first / s.block_columns];
        return;
    }
    const int64_t group = b * kBlock / s.block_columns * rows + row;
    for (int64_t i = 0; i < kBlock; ++i) to.codes[i] = uint8_t(code(s, rows, row, b * kBlock + i));
    to.scale = to_half(s.scales[group]);
    to.inner[0] = uint8_t(s.zeros[group]);
}

bool packs(const tg_source &s, int64_t columns, tg_packing how) {
    if (columns <= 0 || columns % kBlock) return false;
    if (how == TG_PACK_NF4) return columns % 64 == 0;
    if (how != TG_PACK_STORED) return true;
    // Blocks of whole rows of tiles, scales that a half holds.
    if (s.format == TG_FORMAT_TABLE4) return columns % 64 == 0 && s.block_columns % 64 == 0 &&
                                             columns % s.block_columns == 0;
    if (s.format == TG_FORMAT_AWQ4 || s.format == TG_FORMAT_GPTQ4) {
        return !s.groups && s.rounded == TG_F16 && s.block_columns % kBlock == 0;
    }
    return tg_packs(s.format, columns);
}

}  // namespace

extern "C" {

bool tg_decode_source(tg_tensor out, int64_t at, int64_t count, int64_t columns,
                      const tg_source *source) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &to = tg::get(out);
        TORCH_CHECK(source && to.is_contiguous() && (out->device || to.is_cpu()) && columns > 0, "decoding a source");
        check(*source, count, columns);
        TORCH_CHECK(at >= 0 && at <= to.numel() / columns - count, count, " rows of ", columns, " from row ",
                    at, " of ", to.sizes());
        const auto type = to.scalar_type();
        TORCH_CHECK(type == at::kFloat || type == at::kBFloat16 || type == at::kHalf, "decoding into ", type);
        tg::write_rows(out, at, count, columns, [&](char *target, int64_t first, int64_t last) {
            tg::parallel(ceiling(last - first, kTile), [&](int64_t tile) {
                const int64_t from = first + tile * kTile, end = std::min(last, from + kTile);
                std::vector<float> rows(size_t((end - from) * columns));
                read_rows(*source, count, columns, from, end, rows.data());
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

bool tg_packs_source(const tg_source *source, int64_t columns, tg_packing how) noexcept {
    return source && packs(*source, columns, how);
}

bool tg_pack_source(tg_packed w, int64_t count, const tg_source *source, tg_packing how) noexcept {
    if (w && source && how == TG_PACK_STORED && tg_packs(source->format, w->columns)) {
        return tg_pack_rows(w, count, source->format, source->data, source->bytes, source->permuted_heads);
    }
    return tg::guarded(false, [&] {
        TORCH_CHECK(w && source, "undefined quantised weight");
        const int64_t columns = w->columns;
        TORCH_CHECK(packs(*source, columns, how) && count > 0 && count <= w->rows - w->filled, count,
                    " rows of ", columns, " of format ", int(source->format), " cannot be kept as ", int(how));
        check(*source, count, columns);
        const bool stored = how == TG_PACK_STORED, table = source->format == TG_FORMAT_TABLE4;
        const tg::PackedFormat *kind = how == TG_PACK_INT8   ? tg::packed_format(TG_FORMAT_Q8_0)
                                       : how == TG_PACK_INT4 ? tg::packed_format(TG_FORMAT_Q4_1)
                                       : how == TG_PACK_NF4 || table ? &tg::kTable
                                                                     : &tg::kZeros;
        const int64_t group = stored && !table ? source->block_columns / kBlock : 1;
        tg::QuantPart &part = tg::add_part(*w, *kind, count, group);
        std::copy_n(stored && table ? source->table : kNormalFloats, 16, part.table);
        tg::parallel(part.tiles(), [&](int64_t tile) {
            const int64_t from = tile * kTile, end = std::min(count, from + kTile);
            std::vector<float> rows(stored ? 0 : size_t((end - from) * columns));
            if (!stored) read_rows(*source, count, columns, from, end, rows.data());
            tg::BlockCodes codes{};
            for (int64_t r = from; r < end; ++r) {
                for (int64_t b = 0; b < columns / kBlock; ++b) {
                    if (stored) take(*source, count, columns, r, b, codes);
                    else quantise(rows.data() + (r - from) * columns, b, how, codes);
                    tg::put_block(part, r, b, codes);
                }
            }
        });
        tg::settle(*w);
        return true;
    });
}
}
