// Launch functions of kernels/weights.cu.
#include <cstddef>

#include "start.hpp"

namespace tg::device {

// The kernels declare both once more.
static_assert(sizeof(QuantPart) == 128 && offsetof(QuantPart, first) == 16 &&
              offsetof(QuantPart, order) == 12 && offsetof(QuantPart, codes) == 48 &&
              offsetof(QuantPart, table) == 64);
static_assert(int(Scales::plain) == 0 && int(Scales::halved) == 3 && int(Scales::table) == 5 &&
              int(Scales::float8) == 7);

namespace {

/// As the kernels' names have it: bits and scales.
std::string kind(const QuantPart &part) {
    static const char *const names[] = {"kPlain", "kMinimum", "kNested", "kHalved",
                                        "kZeros", "kTable",   "kRow",    "kFloat8"};
    return std::to_string(part.bits) + names[int(part.scales)];
}

constexpr int64_t kPartsTogether = 4;

/// As the kernels declare it.
struct Parts {
    int count;
    const void *x[kPartsTogether];
    QuantPart part[kPartsTogether];
};

/// Whether lanes multiply, not the tensor units: these take 16-bit inputs, and codes that are numbers.
bool by_lanes(const QuantPart &part, tg_dtype type) { return type == TG_F32 || part.scales == Scales::table; }

}  // namespace

int64_t few_packed_rows(const QuantPart &part, tg_dtype type) { return by_lanes(part, type) ? 8 : 16; }

void launch_unpack(const QuantPart &part, int64_t row, int64_t rows, tg_dtype type, void *out) {
    if (rows == 0) return;
    if (row < 0 || row > part.rows - rows)
        throw std::runtime_error("rows beyond a part of a quantised weight");
    const int64_t first = row / kTile, end = ceiling(row + rows, kTile);
    const unsigned threads = threads_for(part.blocks() * kLanes, 256);
    // A grid has at most 65,535 tiles.
    for (int64_t tile = first; tile < end; tile += 65535) {
        const int64_t tiles = end - tile < 65535 ? end - tile : 65535;
        const int64_t from = tile == first ? row : tile * kTile;
        const int64_t here =
            (tile + tiles) * kTile < row + rows ? (tile + tiles) * kTile - from : row + rows - from;
        void *to = static_cast<char *>(out) + (from - row) * part.columns * element_size(type);
        start("unpack_" + kind(part) + suffix(type),
              {blocks(ceiling(part.blocks() * kLanes, threads)), blocks(tiles), 1}, {threads, 1, 1}, 0, part,
              from, here, to);
    }
}

void launch_unpack_rows(const QuantPart &part, const int32_t *ids, int64_t count, tg_dtype type, void *out) {
    if (count == 0) return;
    start("unpack_rows_" + kind(part) + suffix(type), {blocks(count), 1, 1},
          {threads_for(part.blocks() * 8, 256), 1, 1}, 0, part, ids, out);
}

void launch_packed_products(const PackedInput *parts, int64_t count, tg_dtype type, int64_t rows,
                            const void *bias, const void *sum, tg_dtype out_type, void *out, int64_t stride) {
    for (int64_t at = 0, end; rows > 0 && at < count; at = end) {
        const QuantPart &first = *parts[at].part;
        Parts together{};
        int64_t tiles = 0;
        for (end = at; end < count && together.count < kPartsTogether; ++end) {
            const QuantPart &part = *parts[end].part;
            if (end > at && (part.columns != first.columns || kind(part) != kind(first))) break;
            together.x[together.count] = parts[end].x;
            together.part[together.count++] = part;
            tiles += part.tiles();
        }
        if (tiles == 0) continue;
        const bool lanes = by_lanes(first, type);
        if (rows > few_packed_rows(first, type)) {
            throw std::runtime_error(std::to_string(rows) + " rows for a product with few");
        }
        const int64_t inputs = !lanes ? ceiling(rows, 8) * 8 : rows == 1 ? 1 : rows <= 4 ? 4 : 8;
        // Blocks of columns that a warp takes at once.
        const int64_t turn = !lanes ? 4 : first.bits == 8 ? 1 : 2;
        const unsigned threads = threads_for(ceiling(first.blocks(), turn) * kLanes, 256);
        start("packed_gemv_" + kind(first) + '_' + std::to_string(inputs) + suffix(type),
              {blocks(tiles), 1, 1}, {threads, 1, 1}, unsigned(threads / kLanes * inputs * kTile * 4), together,
              int(rows), bias, sum, int(out_type), out, stride);
    }
}

}  // namespace tg::device
