// A weight that stays quantised: its parts and what they own.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "include/ctorch.h"
#include "quant.hpp"

namespace tg {
class Device;

/// Columns that lie by the groups that share a scale, each group filled up to whole blocks.
struct ColumnOrder {
    std::vector<int32_t> from;           // the input's column of each; -1: of none, there the input is zero
    const int32_t *on_device = nullptr;  // the same, once the weight lies there
    int64_t bytes() const { return int64_t(from.size() * sizeof(int32_t)); }
};
}

struct tg_packed_s {
    struct Free {
        void operator()(uint8_t *p) const { std::free(p); }
    };
    /// Tiles of one part that a thread takes at once.
    struct Piece {
        int64_t part, tile, tile_end;
    };

    int64_t rows = 0, columns = 0;
    int64_t filled = 0, bytes = 0;
    std::vector<tg::QuantPart> parts;
    std::vector<tg::ColumnOrder> orders;
    std::vector<Piece> pieces;
    std::vector<std::unique_ptr<uint8_t, Free>> memory;
    /// Where the parts lie once all rows are there; null: on the CPU.
    tg::Device *device = nullptr;
    std::vector<std::shared_ptr<void>> device_memory;
};

namespace tg {

/// What a block of 32 columns of one row says in its own format.
struct BlockCodes {
    uint8_t codes[32];
    uint16_t scale, minimum;  // halves: of the block, or of the 256 columns around it
    uint8_t inner[2];         // of `nested`, `halved` and `zeros`
    float whole;              // of `table`, `row` and `float8`: the scale
};

/// How rows of a file format lie when packed.
struct PackedFormat {
    int32_t bits;
    Scales scales;
    int32_t offset;
    int64_t elements, bytes;  // of a block in the file
    void (*read)(const uint8_t *row, int64_t block, BlockCodes &out);
};

/// Kinds that no file format has: codes with a zero point, entries of a table, integers by row, floats.
inline constexpr PackedFormat kZeros{4, Scales::zeros, 0, 32, 0, nullptr};
inline constexpr PackedFormat kZeros8{8, Scales::zeros, 0, 32, 0, nullptr};
inline constexpr PackedFormat kTable{4, Scales::table, 0, 64, 0, nullptr};
inline constexpr PackedFormat kRow{8, Scales::row, 128, 32, 0, nullptr};
inline constexpr PackedFormat kFloat8{8, Scales::float8, 0, 32, 0, nullptr};

/// nullptr: not kept quantised.
const PackedFormat *packed_format(tg_format format);

/// Memory for `count` more rows of a kind, zeroed; `order` as the part has it.
QuantPart &add_part(tg_packed_s &weight, const PackedFormat &format, int64_t count, int64_t group,
                    int32_t order = 0);
void put_block(const QuantPart &part, int64_t row, int64_t block, const BlockCodes &block_codes);
/// Bytes of a part: its codes, then its factors.
inline int64_t part_bytes(const QuantPart &part) {
    return (part.tiles() * (part.tile_bytes() + part.factor_bytes()) + 63) / 64 * 64;
}
/// An 8-bit float (e4m3) by its bits.
const float *float8_values();
/// Brings a weight that has all its rows to where the thread's tensors go.
void settle(tg_packed_s &weight);
/// The values of one row as they lie, `part.columns` floats.
void unpack_row(const QuantPart &part, int64_t row, float *out);

}  // namespace tg
