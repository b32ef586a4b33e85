// Launch functions of kernels/attention.cu.
#include "start.hpp"

namespace tg::device {

namespace {

/// As the kernels declare it.
struct Cache {
    int64_t keys, values, stride;
    int kv_heads, dim;
};

Cache cache_of(const CacheLayout &layout) {
    if (layout.dim <= 0 || layout.dim > 256) {
        throw std::runtime_error("heads of " + std::to_string(layout.dim));
    }
    return {layout.keys, layout.values, layout.stride, whole(layout.kv_heads), whole(layout.dim)};
}

/// Columns that the kernel has registers for.
int64_t columns_for(int64_t dim) { return dim <= 64 ? 64 : dim <= 128 ? 128 : 256; }

/// Parts of a row's keys: enough blocks for the device where rows are few.
int64_t parts_for(int64_t rows, int64_t shares, int64_t longest) {
    const int64_t most = kPartBlocks / (rows * shares), needed = ceiling(longest, 128);
    const int64_t parts = most < needed ? most : needed;
    return parts < 1 ? 1 : parts < 64 ? parts : 64;
}

/// Query heads that share the keys they read.
int64_t together(int64_t group) { return group <= 2 ? group : group <= 4 ? 4 : 8; }
/// Blocks that a row has along y.
int64_t shares_of(int64_t heads, int64_t kv_heads) {
    const int64_t group = heads / kv_heads;
    return kv_heads * ceiling(group, together(group));
}
/// Bytes of one part, as the kernel's part_pitch.
int64_t part_bytes(int64_t dim) { return (ceiling(dim, 4) * 4 + 4) * int64_t(sizeof(float)); }

/// As the kernels declare it.
struct Turn {
    const void *query_norm, *key_norm;
    const float *angles;
    const int32_t *positions;
    int table_rows;
    float eps;
};

struct Block {
    unsigned threads, shared;
};

/// The queries as floats, the weights of a tile and two tiles a warp; no more than any device from sm_80 on
/// has.
Block block_for(tg_dtype type, int64_t queries, int64_t dim) {
    const int64_t pack = pack_of(type), padded = ceiling(dim, pack) * pack;
    for (const int64_t warps : {4, 2, 1}) {
        const int64_t tiles = 2 * 32 * (padded + pack) * element_size(type),
                      part = queries * (columns_for(dim) + 2) * 4;
        const int64_t bytes =
            queries * padded * 4 + 2 * padded * element_size(type) +
            warps * (32 * queries * 4 + (tiles > part ? tiles : part));
        if (bytes <= 99 << 10 || warps == 1) return {unsigned(warps * kLanes), unsigned(bytes)};
    }
    return {};
}

}  // namespace

void launch_kv_write(tg_dtype type, const void *qkv, int64_t rows, int64_t heads, const CacheLayout &layout,
                     CacheRows where) {
    if (rows == 0) return;
    const unsigned threads = threads_for(ceiling(layout.kv_heads * layout.dim, pack_of(type)), 256);
    start("kv_write" + suffix(type), {blocks(rows), 1, 1}, {threads, 1, 1}, 0, qkv, whole(heads),
          cache_of(layout), where.bases, where.places);
}

void launch_rope_kv_write(tg_dtype type, void *qkv, int64_t rows, int64_t heads, const CacheLayout &layout,
                          CacheRows where, const void *query_norm, const void *key_norm, float eps,
                          const float *angles, int64_t table_rows, const int32_t *positions, bool wide) {
    if (rows == 0) return;
    if (layout.dim % 2)
        throw std::runtime_error("heads of " + std::to_string(layout.dim) + " cannot be turned");
    const int64_t items = rows * (heads + 2 * layout.kv_heads);
    start("rope_kv_write" + suffix(type), {blocks(ceiling(items, 4)), 1, 1}, {128, 1, 1}, 0, qkv, items,
          whole(heads), cache_of(layout), where.bases, where.places, query_norm, key_norm, eps, angles,
          whole(table_rows), positions, int(wide));
}

int64_t attention_scratch_bytes(int64_t rows, int64_t heads, int64_t kv_heads, int64_t dim, int64_t longest) {
    if (rows == 0) return 0;
    const int64_t parts = parts_for(rows, shares_of(heads, kv_heads), longest);
    return parts == 1 ? 0 : rows * heads * parts * part_bytes(dim);
}

void launch_attention(tg_dtype type, const void *qkv, int64_t rows, int64_t heads, const CacheLayout &layout,
                      CacheRows where, float scale, int64_t window, const HeadTurn &turn, int64_t longest,
                      void *scratch, uint32_t *counts, void *out) {
    if (rows == 0) return;
    if (layout.kv_heads <= 0 || heads % layout.kv_heads) {
        throw std::runtime_error(std::to_string(heads) + " heads for " + std::to_string(layout.kv_heads));
    }
    if (turn.angles && layout.dim % 2)
        throw std::runtime_error("heads of " + std::to_string(layout.dim) + " cannot be turned");
    const int64_t width = together(heads / layout.kv_heads), shares = shares_of(heads, layout.kv_heads);
    const int64_t parts = parts_for(rows, shares, longest);
    const Block block = block_for(type, width, layout.dim);
    const Cache cache = cache_of(layout);
    const std::string name = "attention" + suffix(type) + '_' + std::to_string(width) + '_' +
                             std::to_string(columns_for(layout.dim));
    const auto *bytes = static_cast<const char *>(qkv);
    auto *to = static_cast<char *>(out);
    // A grid has at most 65,535 rows; so many have one part each.
    for (int64_t at = 0; at < rows; at += 65535) {
        const int64_t here = rows - at < 65535 ? rows - at : 65535;
        const void *from = bytes + at * (heads + 2 * layout.kv_heads) * layout.dim * element_size(type);
        void *answer = to + at * heads * layout.dim * element_size(type);
        const Turn given{turn.query_norm, turn.key_norm, turn.angles, turn.angles ? turn.positions + at : nullptr,
                         whole(turn.table_rows), turn.eps};
        start(name, {blocks(parts), blocks(shares), blocks(here)}, {block.threads, 1, 1}, block.shared, from,
              whole(heads), cache, where.bases + at, where.places + at, scale, window, given, scratch, counts,
              answer);
    }
}

void launch_segment_attention(tg_dtype type, const void *queries, int64_t rows, int64_t heads, int64_t dim,
                              float scale, const void *kv, const int32_t *first, const int32_t *end,
                              void *out) {
    if (rows == 0) return;
    if (dim <= 0 || dim > 256) throw std::runtime_error("heads of " + std::to_string(dim));
    const Block block = block_for(type, 8, dim);
    start("segment_attention" + suffix(type) + '_' + std::to_string(columns_for(dim)),
          {blocks(ceiling(rows, 8)), blocks(heads), 1}, {block.threads, 1, 1}, block.shared, queries,
          whole(rows), whole(heads), whole(dim), scale, kv, first, end, out);
}

}  // namespace tg::device
