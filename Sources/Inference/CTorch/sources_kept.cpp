// Weights with scales of their own, and floats, into tiles that stay quantised.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "internal.hpp"
#include "packed.hpp"
#include "sources.hpp"

namespace {

using tg::ceiling;
using tg::kBlock;
using tg::kTile;

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

/// Block `b` of a row of floats as codes; nf4's scale is that of 64 values. False where a value is not
/// finite, or too large for its scale.
bool quantise(const float *row, int64_t b, tg_packing how, tg::BlockCodes &to) {
    const float *x = row + b * kBlock;
    if (!std::all_of(x, x + kBlock, [](float v) { return std::isfinite(v); })) return false;
    const auto [low, high] = std::minmax_element(x, x + kBlock);
    if (how == TG_PACK_INT8) {
        to.scale = to_half(std::max(-*low, *high) / 127);
        const float d = from_half(to.scale), inverse = d > 0 ? 1 / d : 0;
        for (int64_t i = 0; i < kBlock; ++i) {
            to.codes[i] = uint8_t(128 + int(std::clamp(std::nearbyint(x[i] * inverse), -127.0f, 127.0f)));
        }
        return std::isfinite(d);
    } else if (how == TG_PACK_INT4) {
        to.scale = to_half((*high - *low) / 15);
        to.minimum = to_half(*low);
        const float d = from_half(to.scale), m = from_half(to.minimum), inverse = d > 0 ? 1 / d : 0;
        for (int64_t i = 0; i < kBlock; ++i) {
            to.codes[i] = uint8_t(std::clamp(std::nearbyint((x[i] - m) * inverse), 0.0f, 15.0f));
        }
        return std::isfinite(d) && std::isfinite(m);
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
        return true;
    }
}

/// Whether a row's scales change at whole blocks of columns, and after how many.
bool in_blocks(const tg_source &s, int64_t columns, int64_t &blocks) {
    const bool all = s.block_columns >= columns;
    blocks = all ? columns / kBlock : s.block_columns / kBlock;
    return all || (s.block_columns > 0 && s.block_columns % kBlock == 0);
}

/// GPTQ's columns by their groups; how many there are with what fills the last block of each group.
int64_t ordered_columns(const int32_t *groups, int64_t columns, int64_t group_columns,
                        std::vector<int64_t> &starts) {
    starts.assign(size_t(ceiling(columns, group_columns)) + 1, 0);
    for (int64_t c = 0; c < columns; ++c) ++starts[size_t(groups[c]) + 1];
    for (size_t g = 1; g < starts.size(); ++g) {
        starts[g] = starts[g - 1] + ceiling(starts[g], kBlock) * kBlock;
    }
    return starts.back();
}

/// The part's order for a source's groups of columns: one that the weight has, or a new one.
int32_t order_of(tg_packed_s &weight, const tg_source &s) {
    std::vector<int64_t> next;
    const int64_t columns = ordered_columns(s.groups, weight.columns, s.block_columns, next);
    tg::ColumnOrder order{std::vector<int32_t>(size_t(columns), -1)};
    for (int64_t c = 0; c < weight.columns; ++c) order.from[size_t(next[size_t(s.groups[c])]++)] = int32_t(c);
    for (size_t i = 0; i < weight.orders.size(); ++i) {
        if (weight.orders[i].from == order.from) return int32_t(i + 1);
    }
    weight.bytes += order.bytes();
    weight.orders.push_back(std::move(order));
    return int32_t(weight.orders.size());
}

/// Blocks that share a scale where columns lie by their groups: those that every group has a multiple of.
int64_t common_blocks(const tg_source &s, int64_t columns) {
    std::vector<int64_t> starts;
    const int64_t end = ordered_columns(s.groups, columns, s.block_columns, starts);
    int64_t common = 0;
    for (const int64_t start : starts) {
        if (start < end) common = std::gcd(common, start / kBlock);
    }
    return common ? common : end / kBlock;
}

/// A matrix that stays as it is stored.
struct Stored {
    const tg_source &source;
    int64_t rows, columns;
    const int32_t *from;  // the column that lies at each place; null: that of the place

    /// Block `b` of a row, as its codes are; false where one of them is not a number.
    bool take(int64_t row, int64_t b, const tg::QuantPart &part, tg::BlockCodes &to) const {
        const auto *bytes = static_cast<const uint8_t *>(source.data);
        const int64_t first = row * columns + b * kBlock;
        switch (source.format) {
        case TG_FORMAT_TABLE4:
            for (int64_t i = 0; i < kBlock; ++i) {
                const uint8_t pair = bytes[(first + i) / 2];
                to.codes[i] = (first + i) % 2 ? pair & 15 : pair >> 4;
            }
            to.whole = source.scales[first / source.block_columns];
            return true;
        case TG_FORMAT_INT8:
            for (int64_t i = 0; i < kBlock; ++i) to.codes[i] = bytes[first + i] ^ 0x80;
            to.whole = source.scales[row];
            return true;
        case TG_FORMAT_F8_E4M3:
            std::copy_n(bytes + first, kBlock, to.codes);
            to.whole = source.scales[row / source.block_rows * ceiling(columns, source.block_columns) +
                                     b * kBlock / source.block_columns];
            return std::none_of(to.codes, to.codes + kBlock, [](uint8_t c) { return (c & 127) == 127; });
        default: break;
        }
        const int32_t *places = from ? from + b * kBlock : nullptr;
        const int64_t bits = source.format == TG_FORMAT_GPTQ8 ? 8 : 4, per_word = 32 / bits;
        if (places || source.format == TG_FORMAT_AWQ4) {
            for (int64_t i = 0; i < kBlock; ++i) {
                const int64_t column = places ? places[i] : b * kBlock + i;
                to.codes[i] = column < 0 ? 0 : uint8_t(tg::source_code(source, rows, row, column));
            }
        } else {
            const uint32_t mask = (1u << bits) - 1;
            uint8_t *code = to.codes;
            for (int64_t i = b * kBlock; i < (b + 1) * kBlock; i += per_word) {
                uint32_t word;
                std::memcpy(&word, bytes + 4 * (i / per_word * rows + row), 4);
                for (int64_t k = 0; k < per_word; ++k) *code++ = uint8_t(word >> bits * k & mask);
            }
        }
        const int64_t group = places ? source.groups[places[0]] : b * kBlock / source.block_columns;
        to.scale = to_half(source.scales[group * rows + row]);
        to.inner[0] = uint8_t(source.zeros[group * rows + row] - part.offset);
        return true;
    }
};

bool packs(const tg_source &s, int64_t columns, tg_packing how) {
    if (columns <= 0 || columns % kBlock) return false;
    if (how == TG_PACK_NF4) return columns % 64 == 0;
    if (how != TG_PACK_STORED) return true;
    int64_t blocks;
    switch (s.format) {
    // Blocks of whole rows of tiles, scales that a half holds.
    case TG_FORMAT_TABLE4:
        return columns % 64 == 0 && s.block_columns > 0 && s.block_columns % 64 == 0 &&
               columns % s.block_columns == 0;
    case TG_FORMAT_INT8: return true;
    case TG_FORMAT_F8_E4M3: return in_blocks(s, columns, blocks);
    case TG_FORMAT_AWQ4:
    case TG_FORMAT_GPTQ4:
    case TG_FORMAT_GPTQ8: {
        if (s.rounded != TG_F16 || s.block_columns <= 0) return false;
        if (!s.groups) return s.block_columns % kBlock == 0;
        const int64_t count = ceiling(columns, s.block_columns);
        const auto is_wrong = [count](int32_t g) { return g < 0 || g >= count; };
        // That is told when it is packed.
        if (std::any_of(s.groups, s.groups + columns, is_wrong)) return true;
        std::vector<int64_t> starts;
        return ordered_columns(s.groups, columns, s.block_columns, starts) <= columns + columns / 4;
    }
    default: return tg_packs(s.format, columns);
    }
}

/// Memory for a source's rows as they are stored.
tg::QuantPart &stored_part(tg_packed_s &weight, int64_t count, const tg_source &s) {
    const int64_t columns = weight.columns;
    int64_t blocks = 1;
    switch (s.format) {
    case TG_FORMAT_TABLE4: {
        tg::QuantPart &part = tg::add_part(weight, tg::kTable, count, 1);
        std::copy_n(s.table, 16, part.table);
        return part;
    }
    case TG_FORMAT_INT8: {
        tg::QuantPart &part = tg::add_part(weight, tg::kRow, count, 1);
        part.table[0] = tg::kInverse127;
        return part;
    }
    case TG_FORMAT_F8_E4M3:
        in_blocks(s, columns, blocks);
        return tg::add_part(weight, tg::kFloat8, count, blocks);
    default: {
        const bool wide = s.format == TG_FORMAT_GPTQ8;
        const auto [low, high] = std::minmax_element(s.zeros, s.zeros + s.scale_count);
        const int64_t group = s.groups ? common_blocks(s, columns) : s.block_columns / kBlock;
        const int32_t order = s.groups ? order_of(weight, s) : 0;
        tg::QuantPart &part = tg::add_part(weight, wide ? tg::kZeros8 : tg::kZeros, count, group, order);
        // The first version of GPTQ goes up to 256, from 1 on.
        part.offset = *high > 255 ? 1 : 0;
        TORCH_CHECK(*low >= part.offset, "zero points from ", *low, " to ", *high);
        return part;
    }
    }
}

}  // namespace

extern "C" {

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
        tg::check_source(*source, count, columns);
        const bool stored = how == TG_PACK_STORED;
        const tg::PackedFormat *kind = how == TG_PACK_INT8   ? tg::packed_format(TG_FORMAT_Q8_0)
                                       : how == TG_PACK_INT4 ? tg::packed_format(TG_FORMAT_Q4_1)
                                                             : &tg::kTable;
        tg::QuantPart &part = stored ? stored_part(*w, count, *source) : tg::add_part(*w, *kind, count, 1);
        if (!stored) std::copy_n(kNormalFloats, 16, part.table);
        const Stored as_stored{*source, count, columns,
                               part.order ? w->orders[size_t(part.order - 1)].from.data() : nullptr};
        std::atomic<bool> is_broken = false;
        tg::parallel(part.tiles(), [&](int64_t tile) {
            const int64_t from = tile * kTile, end = std::min(count, from + kTile);
            std::vector<float> rows(stored ? 0 : size_t((end - from) * columns));
            if (!stored) tg::read_source_rows(*source, count, columns, from, end, rows.data());
            tg::BlockCodes codes{};
            // Rows inside: those of GPTQ and AWQ lie side by side, and a tile's blocks are written once.
            for (int64_t b = 0; b < part.blocks(); ++b) {
                for (int64_t r = from; r < end; ++r) {
                    const bool is_whole =
                        stored ? as_stored.take(r, b, part, codes)
                               : quantise(rows.data() + (r - from) * columns, b, how, codes);
                    if (!is_whole) is_broken = true;
                    tg::put_block(part, r, b, codes);
                }
            }
        });
        TORCH_CHECK(!is_broken, stored ? "an 8-bit float is not a number"
                                       : "a value is not finite, or too large to be quantised");
        tg::settle(*w);
        return true;
    });
}
}
