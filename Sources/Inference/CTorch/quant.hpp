// Weights kept quantised: how they lie in memory, and the kernels that multiply with them.
//
// A weight is cut into tiles of 16 rows and blocks of 32 columns. A block's codes are unsigned, so that
// value = scale · code + minimum for every kind; a signed code is one with a negative minimum. In each
// 32-bit lane of a vector lie the codes of one row and 4 columns: a byte each, or in 4-bit planes columns
// 4j…4j+3 in the low and 16+4j…16+4j+3 in the high nibbles of vector j. What 5 and 6 bits have more
// follows as a plane of its own. Scales lie apart, 16 rows side by side.
#pragma once

#include <cstdint>

namespace tg {

/// Rows of a tile, one a lane.
constexpr int64_t kTile = 16;
/// Columns of a block.
constexpr int64_t kBlock = 32;

/// How a weight's scales are kept.
enum class Scales : uint8_t {
    plain,     // a half a block; the minimum is -offset · scale
    minimum,   // a half and the minimum's half a block
    nested,    // two halves a 256 columns; two bytes a block: scale d · s, minimum -dmin · m
    halved,    // a half a 256 columns; two signed bytes a block, one each 16 columns; minimum -32 · scale
    zeros,     // a half and a byte a group of blocks: minimum -(byte + offset) · scale
    table,     // a float each two blocks; a code stands for an entry of the part's table
    row,       // a float: value (code - offset) · scale · the first entry of the part's table
    float8,    // a float a group of blocks; a code is a float of 8 bits (e4m3) that is a number
};

/// Consecutive rows of one kind.
struct QuantPart {
    int32_t bits;              // 4, 5, 6 or 8
    Scales scales;
    int32_t offset;            // of `plain`, `row` and `zeros`
    int32_t order;             // 1 + the weight's order in which its columns lie; 0: that of the input
    int64_t first, rows;       // in the whole weight
    int64_t columns;           // as they lie: an order may have more than the weight
    int64_t group;             // blocks that share a scale: of `zeros` and `float8`
    uint8_t *codes, *factors;
    float table[16];           // of `table` and `row`

    int64_t tiles() const { return (rows + kTile - 1) / kTile; }
    int64_t blocks() const { return columns / kBlock; }
    /// Bytes of a tile's block of codes.
    int64_t code_bytes() const { return kTile * kBlock * bits / 8; }
    int64_t tile_bytes() const { return blocks() * code_bytes(); }
    /// Bytes of a tile's scales.
    int64_t factor_bytes() const {
        switch (scales) {
        case Scales::plain: return blocks() * 32;
        case Scales::minimum: return blocks() * 64;
        case Scales::nested: return (blocks() + 7) / 8 * 64 + blocks() * 32;
        case Scales::halved: return (blocks() + 7) / 8 * 32 + blocks() * 32;
        case Scales::zeros: return (blocks() + group - 1) / group * 48;
        case Scales::table: return (blocks() + 1) / 2 * 64;
        case Scales::row: return 64;
        case Scales::float8: return (blocks() + group - 1) / group * 64;
        }
        return 0;
    }
};

/// Of a block of 32 inputs: the scale and the scaled sums of all and of each half.
struct QuantInputBlock {
    float scale, sum, low, high;
};

/// Rows quantised to int8 in blocks of 32; for parts with a table or of floats, the rows themselves.
struct QuantInput {
    const int8_t *values;            // [rows, columns]
    const QuantInputBlock *blocks;   // [rows, columns / 32]
    const float *floats;             // [rows, columns]
    const uint16_t *pairs;           // of `float8`: [rows / together, columns / 4, together, 4]; may be null
    int64_t columns;
    int64_t together;                // 1, 2, 4 or 8 rows whose pairs lie side by side; fewer than 8: all
};

/// Where products go: [rows, stride] of float or bf16.
struct QuantOutput {
    void *data;
    const void *bias;  // of the same type; may be null
    int64_t stride;
    bool narrow;       // bf16
};

struct QuantKernels {
    const char *name;
    /// Rows to which an input must be padded, so that every tile of rows is there: a power of two.
    int64_t rows;
    void (*quantise_f32)(const float *x, int64_t columns, int8_t *values, QuantInputBlock *blocks);
    void (*quantise_b16)(const uint16_t *x, int64_t columns, int8_t *values, QuantInputBlock *blocks);
    void (*widen_b16)(const uint16_t *x, int64_t columns, float *out);
    /// A row among `together`, columns 0 2 1 3 of each four: for products of pairs. Null: the CPU has none.
    void (*pair_b16)(const uint16_t *x, int64_t columns, int64_t together, uint16_t *out);
    /// Rows [row, row_end) with tiles [tile, tile_end) of the part. A row's bits depend on it alone.
    void (*product)(const QuantPart &part, int64_t tile, int64_t tile_end, const QuantInput &x,
                    int64_t row, int64_t row_end, const QuantOutput &out);
};

/// The best set for this CPU that tg_limit_cpu allows the thread; not to be asked inside `parallel`.
const QuantKernels &quant_kernels() noexcept;

extern const QuantKernels baseline_quant, avx2_quant, avx512_quant, vnni_quant, bf16_quant;

}  // namespace tg
