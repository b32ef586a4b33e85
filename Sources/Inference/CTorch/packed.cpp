// Packing rows into tiles, and the way back; quant.hpp says how they lie.

#include "packed.hpp"

#include <c10/util/Half.h>

#include <algorithm>
#include <cstring>

#include "internal.hpp"

namespace {

using tg::BlockCodes;
using tg::QuantPart;
using tg::Scales;

/// A piece of work: about so many bytes of codes, which the second-level cache holds beside the inputs.
constexpr int64_t kPieceBytes = 32768;

uint8_t *block_of(const QuantPart &part, int64_t row, int64_t block) {
    return part.codes + row / tg::kTile * part.tile_bytes() + block * part.code_bytes();
}

uint8_t *factors_of(const QuantPart &part, int64_t row) {
    return part.factors + row / tg::kTile * part.factor_bytes();
}

/// Where column `i` of a block is: the byte of its nibble's vector.
int64_t place(int64_t lane, int64_t i) { return 64 * (i / 4 % 4) + 4 * lane + i % 4; }

uint8_t code(const QuantPart &part, const uint8_t *block, int64_t lane, int64_t i) {
    if (part.bits == 8) return block[64 * (i / 4) + 4 * lane + i % 4];
    const uint8_t pair = block[place(lane, i)];
    int value = i < 16 ? pair & 15 : pair >> 4;
    if (part.bits == 5) value |= (block[256 + 4 * lane + i % 4] >> (i / 4) & 1) << 4;
    if (part.bits == 6) {
        value |= (block[256 + 64 * (i / 16) + 4 * lane + i % 4] >> (2 * (i / 4 % 4)) & 3) << 4;
    }
    return uint8_t(value);
}

void put_half(uint8_t *vector, int64_t lane, uint16_t bits) { std::memcpy(vector + 2 * lane, &bits, 2); }

float get_float(const uint8_t *vector, int64_t lane) {
    float value;
    std::memcpy(&value, vector + 4 * lane, 4);
    return value;
}

float get_half(const uint8_t *vector, int64_t lane) {
    c10::Half h;
    std::memcpy(&h.x, vector + 2 * lane, 2);
    return float(h);
}

}  // namespace

namespace tg {

void settle(tg_packed_s &weight) {
    Device *device = current_device();
    if (!device || weight.filled < weight.rows) return;
    device->take_over(weight);
    weight.device = device;
    weight.memory.clear();
}

QuantPart &add_part(tg_packed_s &weight, const PackedFormat &format, int64_t count, int64_t group,
                    int32_t order) {
    QuantPart part{};
    part.bits = format.bits;
    part.scales = format.scales;
    part.offset = format.offset;
    part.first = weight.filled;
    part.rows = count;
    part.order = order;
    part.columns = order ? int64_t(weight.orders[size_t(order - 1)].from.size()) : weight.columns;
    part.group = group;
    // The columns of a stored block are whole: the caller has seen to it.
    const int64_t codes = part.tiles() * part.tile_bytes(), total = part_bytes(part);
    std::unique_ptr<uint8_t, tg_packed_s::Free> memory(
        static_cast<uint8_t *>(std::aligned_alloc(64, size_t(total))));
    TORCH_CHECK(memory, "no memory for ", total, " bytes of weights");
    std::memset(memory.get(), 0, size_t(total));
    part.codes = memory.get();
    part.factors = memory.get() + codes;
    weight.memory.push_back(std::move(memory));
    weight.bytes += total;
    weight.filled += count;
    weight.parts.push_back(part);
    const int64_t step = std::max<int64_t>(1, kPieceBytes / part.tile_bytes());
    for (int64_t t = 0; t < part.tiles(); t += step) {
        weight.pieces.push_back({int64_t(weight.parts.size()) - 1, t, std::min(part.tiles(), t + step)});
    }
    return weight.parts.back();
}

void put_block(const QuantPart &part, int64_t row, int64_t block, const BlockCodes &from) {
    const int64_t lane = row % kTile;
    uint8_t *codes = block_of(part, row, block);
    for (int64_t i = 0; i < kBlock; ++i) {
        const uint8_t value = from.codes[i];
        if (part.bits == 8) {
            codes[64 * (i / 4) + 4 * lane + i % 4] = value;
            continue;
        }
        codes[place(lane, i)] |= uint8_t(i < 16 ? value & 15 : (value & 15) << 4);
        uint8_t *more = codes + 256 + 4 * lane + i % 4;
        if (part.bits == 5) *more |= uint8_t(value >> 4 << (i / 4));
        if (part.bits == 6) more[64 * (i / 16)] |= uint8_t(value >> 4 << (2 * (i / 4 % 4)));
    }
    uint8_t *factors = factors_of(part, row);
    const int64_t wholes = (part.blocks() + 7) / 8;
    switch (part.scales) {
    case Scales::plain: return put_half(factors + 32 * block, lane, from.scale);
    case Scales::minimum:
        put_half(factors + 64 * block, lane, from.scale);
        return put_half(factors + 64 * block + 32, lane, from.minimum);
    case Scales::nested:
        put_half(factors + 64 * (block / 8), lane, from.scale);
        put_half(factors + 64 * (block / 8) + 32, lane, from.minimum);
        factors[64 * wholes + 32 * block + lane] = from.inner[0];
        factors[64 * wholes + 32 * block + 16 + lane] = from.inner[1];
        return;
    case Scales::halved:
        put_half(factors + 32 * (block / 8), lane, from.scale);
        factors[32 * wholes + 32 * block + lane] = from.inner[0];
        factors[32 * wholes + 32 * block + 16 + lane] = from.inner[1];
        return;
    case Scales::zeros:
        put_half(factors + 48 * (block / part.group), lane, from.scale);
        factors[48 * (block / part.group) + 32 + lane] = from.inner[0];
        return;
    case Scales::table: std::memcpy(factors + 64 * (block / 2) + 4 * lane, &from.whole, 4); return;
    case Scales::row: std::memcpy(factors + 4 * lane, &from.whole, 4); return;
    case Scales::float8:
        std::memcpy(factors + 64 * (block / part.group) + 4 * lane, &from.whole, 4);
        return;
    }
}

void unpack_row(const QuantPart &part, int64_t row, float *out) {
    const int64_t lane = row % kTile, wholes = (part.blocks() + 7) / 8;
    const uint8_t *factors = factors_of(part, row);
    for (int64_t b = 0; b < part.blocks(); ++b, out += kBlock) {
        const uint8_t *codes = block_of(part, row, b);
        // Each as its format's reference computes it, so that the bits are the same.
        switch (part.scales) {
        case Scales::plain: {
            const float d = get_half(factors + 32 * b, lane);
            for (int64_t i = 0; i < kBlock; ++i) {
                out[i] = d * float(int(code(part, codes, lane, i)) - part.offset);
            }
            break;
        }
        case Scales::minimum: {
            const float d = get_half(factors + 64 * b, lane), m = get_half(factors + 64 * b + 32, lane);
            for (int64_t i = 0; i < kBlock; ++i) out[i] = d * float(code(part, codes, lane, i)) + m;
            break;
        }
        case Scales::nested: {
            const uint8_t *whole = factors + 64 * (b / 8), *own = factors + 64 * wholes + 32 * b;
            const float d = get_half(whole, lane) * float(own[lane]);
            const float m = get_half(whole + 32, lane) * float(own[16 + lane]);
            for (int64_t i = 0; i < kBlock; ++i) out[i] = d * float(code(part, codes, lane, i)) - m;
            break;
        }
        case Scales::halved: {
            const uint8_t *own = factors + 32 * wholes + 32 * b;
            const float d = get_half(factors + 32 * (b / 8), lane);
            for (int64_t i = 0; i < kBlock; ++i) {
                const float scale = d * float(int8_t(own[16 * (i / 16) + lane]));
                out[i] = scale * float(int(code(part, codes, lane, i)) - 32);
            }
            break;
        }
        case Scales::table: {
            const float scale = get_float(factors + 64 * (b / 2), lane);
            for (int64_t i = 0; i < kBlock; ++i) out[i] = part.table[code(part, codes, lane, i)] * scale;
            break;
        }
        case Scales::zeros: {
            const uint8_t *own = factors + 48 * (b / part.group);
            const float d = get_half(own, lane);
            for (int64_t i = 0; i < kBlock; ++i) {
                out[i] = d * float(int(code(part, codes, lane, i)) - int(own[32 + lane]) - part.offset);
            }
            break;
        }
        case Scales::row: {
            const float scale = get_float(factors, lane);
            for (int64_t i = 0; i < kBlock; ++i) {
                out[i] = float(int(code(part, codes, lane, i)) - part.offset) * scale * part.table[0];
            }
            break;
        }
        case Scales::float8: {
            const float scale = get_float(factors + 64 * (b / part.group), lane);
            const float *values = float8_values();
            for (int64_t i = 0; i < kBlock; ++i) out[i] = values[code(part, codes, lane, i)] * scale;
            break;
        }
        }
    }
}

}  // namespace tg

extern "C" {

bool tg_packs(tg_format format, int64_t columns) noexcept {
    const tg::PackedFormat *kind = tg::packed_format(format);
    return kind && columns > 0 && columns % kind->elements == 0;
}

tg_packed tg_packed_new(int64_t rows, int64_t columns) noexcept {
    return tg::guarded<tg_packed>(nullptr, [&] {
        TORCH_CHECK(rows > 0 && columns > 0 && columns % tg::kBlock == 0 && rows < INT64_MAX / columns / 2,
                    "a quantised weight of ", rows, " rows of ", columns);
        auto weight = std::make_unique<tg_packed_s>();
        weight->rows = rows;
        weight->columns = columns;
        return weight.release();
    });
}

void tg_packed_free(tg_packed w) noexcept { delete w; }

int64_t tg_packed_rows(tg_packed w) noexcept { return w ? w->rows : 0; }
int64_t tg_packed_columns(tg_packed w) noexcept { return w ? w->columns : 0; }
int64_t tg_packed_bytes(tg_packed w) noexcept { return w ? w->bytes : 0; }

bool tg_pack_rows(tg_packed w, int64_t count, tg_format format, const void *source, int64_t source_bytes,
                  int64_t permuted_heads) noexcept {
    return tg::guarded(false, [&] {
        TORCH_CHECK(w, "undefined quantised weight");
        const tg::PackedFormat *kind = tg::packed_format(format);
        TORCH_CHECK(kind && w->columns % kind->elements == 0, "rows of ", w->columns,
                    " elements of format ", int(format), " cannot stay quantised");
        const int64_t row_bytes = w->columns / kind->elements * kind->bytes;
        TORCH_CHECK(count > 0 && count <= w->rows - w->filled && count <= INT64_MAX / row_bytes &&
                        count * row_bytes == source_bytes,
                    count, " rows of ", w->columns, " below ", w->filled, " of ", w->rows, ", ",
                    source_bytes, " bytes");
        const int64_t head = permuted_heads > 0 ? count / permuted_heads : 0;
        TORCH_CHECK(permuted_heads <= 0 || (head * permuted_heads == count && head % 2 == 0), count,
                    " rows are no ", permuted_heads, " rotary heads");
        const QuantPart part = tg::add_part(*w, *kind, count, 1);
        const auto *bytes = static_cast<const uint8_t *>(source);
        tg::parallel(part.tiles(), [&](int64_t tile) {
            for (int64_t r = tile * tg::kTile; r < std::min(count, (tile + 1) * tg::kTile); ++r) {
                int64_t from = r;
                if (head > 0) {
                    const int64_t in_head = r % head;
                    from = r - in_head + 2 * (in_head % (head / 2)) + in_head / (head / 2);
                }
                BlockCodes codes{};
                for (int64_t b = 0; b < part.blocks(); ++b) {
                    kind->read(bytes + from * row_bytes, b, codes);
                    tg::put_block(part, r, b, codes);
                }
            }
        });
        tg::settle(*w);
        return true;
    });
}
}
