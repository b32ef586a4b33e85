// Attention over sequences' caches and over segments of rows; what enters the caches.
//
// G queries share each key and value that is read: the query heads of one key-value head, or neighbouring
// rows of one head. A warp takes tiles of 32 keys: lanes stand for keys in q·kᵀ and for columns in p·v; tiles
// come by asynchronous copies, the next keys while the values are used. The warps of a block have tiles in
// turn and merge at the end. Few rows: blocks along x take parts of the keys, and attention_combine merges
// those. Everything is float32 but the inputs and the answer; the softmax is a running one, as on the CPU.

constexpr int kTileKeys = 32;

/// Elements between rows of a tile: 16 bytes more than a row, so that lanes that read rows meet no bank
/// twice.
template <typename T>
__device__ __forceinline__ int tile_pitch(int dim) {
    return (dim + kPack<T> - 1) / kPack<T> * kPack<T> + kPack<T>;
}

/// `held` rows of dim elements, `stride` apart, by one warp; what a row's last 16 bytes have more is zeros.
template <typename T>
__device__ __forceinline__ void fetch_tile(T *tile, const T *from, i64 stride, int held, int dim) {
    const int lane = int(threadIdx.x) % kLanes, pitch = tile_pitch<T>(dim);
    const int packs = (dim + kPack<T> - 1) / kPack<T>;
    const bool whole = dim % kPack<T> == 0 && stride % kPack<T> == 0 && aligned(from);
    int row = lane / packs, pack = lane % packs;
    const int more_rows = kLanes / packs, more_packs = kLanes % packs;
    while (row < held) {
        T *to = tile + row * pitch + pack * kPack<T>;
        const T *source = from + row * stride + pack * kPack<T>;
        if (whole) {
            copy_async(to, source);
        } else {
            for (int i = 0; i < kPack<T>; ++i) {
                to[i] = pack * kPack<T> + i < dim ? source[i] : narrow<T>(0.0f);
            }
        }
        row += more_rows;
        pack += more_packs;
        if (pack >= packs) {
            pack -= packs;
            ++row;
        }
    }
    copies_end();
}

/// Bytes of shared memory are attention_shared_bytes of launch_attention.cpp.
///
/// `queries.row(g)`: the query's elements or null; `queries.sees(g, key)`: whether it may look at a key of
/// [from, to); `leave(g, e, sum, largest, total)`: an element of the answer, to be divided by `total`.
template <typename T, int G, int Columns, typename Queries, typename Leave>
__device__ void attend(const T *keys, const T *values, i64 stride, int dim, float scale, int from, int to,
                       const Queries &queries, const Leave &leave) {
    constexpr int E = 4 / int(sizeof(T)), C = Columns / (kLanes * E), N = kPack<T>;
    constexpr int W = G < 4 ? G : 4;  // weights that are read and written at once
    TG_SHARED(float, floats);
    const int warps = int(blockDim.x) / kLanes, warp = int(threadIdx.x) / kLanes,
              lane = int(threadIdx.x) % kLanes;
    const int pitch = tile_pitch<T>(dim), padded = pitch - N;
    float *scaled = floats;                                       // [G, padded]
    float *weights = scaled + G * padded + warp * kTileKeys * G;  // [32, G]
    float *tiles = scaled + G * padded + warps * kTileKeys * G;
    T *key_tile = reinterpret_cast<T *>(tiles) + 2 * warp * kTileKeys * pitch;
    T *value_tile = key_tile + kTileKeys * pitch;

    int key = from + warp * kTileKeys;
    const int step = warps * kTileKeys;
    if (key < to) fetch_tile(key_tile, keys + key * stride, stride, min(kTileKeys, to - key), dim);
    for (int i = int(threadIdx.x); i < G * padded; i += int(blockDim.x)) {
        const T *query = queries.row(i / padded);
        scaled[i] = query && i % padded < dim ? widen(query[i % padded]) * scale : 0.0f;
    }
    __syncthreads();

    float largest[G], totals[G], sums[G][C * E];
#pragma unroll
    for (int g = 0; g < G; ++g) {
        largest[g] = -infinity();
        totals[g] = 0;
#pragma unroll
        for (int e = 0; e < C * E; ++e) sums[g][e] = 0;
    }
    for (; key < to; key += step) {
        const int held = min(kTileKeys, to - key);
        fetch_tile(value_tile, values + key * stride, stride, held, dim);
        copies_wait<1>();
        __syncwarp();
        float scores[G];
#pragma unroll
        for (int g = 0; g < G; ++g) scores[g] = 0;
        const T *mine = key_tile + lane * pitch;
        if (lane < held) {
            for (int c = 0; c < padded; c += N) {
                const auto pack = read_pack<T, N>(mine + c);
#pragma unroll
                for (int i = 0; i < N; i += 4) {
#pragma unroll
                    for (int g = 0; g < G; ++g) {
                        const auto q = read_pack<float, 4>(scaled + g * padded + c + i);
#pragma unroll
                        for (int j = 0; j < 4; ++j) scores[g] += q.at[j] * widen(pack.at[i + j]);
                    }
                }
            }
        }
#pragma unroll
        for (int g = 0; g < G; ++g) {
            if (lane >= held || !queries.sees(g, key + lane)) scores[g] = -infinity();
            const float before = largest[g];
            float top = fmaxf(before, warp_max(scores[g]));
            largest[g] = top;
            if (top == -infinity()) top = 0;
            const float weight = expf(scores[g] - top), shrink = expf(before - top);
            totals[g] = totals[g] * shrink + weight;
#pragma unroll
            for (int e = 0; e < C * E; ++e) sums[g][e] *= shrink;
            scores[g] = weight;
        }
#pragma unroll
        for (int g = 0; g < G; g += W) {
            Pack<float, W> pack;
#pragma unroll
            for (int j = 0; j < W; ++j) pack.at[j] = scores[g + j];
            write_pack<float, W>(weights + lane * G + g, pack);
        }
        // The weights are there, and nobody reads the keys any more.
        __syncwarp();
        const int next = key + step;
        if (next < to) fetch_tile(key_tile, keys + next * stride, stride, min(kTileKeys, to - next), dim);
        else copies_end();
        copies_wait<1>();
        __syncwarp();
#pragma unroll 4
        for (int j = 0; j < held; ++j) {
            float w[G];
#pragma unroll
            for (int g = 0; g < G; g += W) {
                const auto pack = read_pack<float, W>(weights + j * G + g);
#pragma unroll
                for (int i = 0; i < W; ++i) w[g + i] = pack.at[i];
            }
#pragma unroll
            for (int c = 0; c < C; ++c) {
                const int column = (c * kLanes + lane) * E;
                if (column >= padded) continue;
                const auto v = read_pack<T, E>(value_tile + j * pitch + column);
#pragma unroll
                for (int e = 0; e < E; ++e) {
                    const float value = widen(v.at[e]);
#pragma unroll
                    for (int g = 0; g < G; ++g) sums[g][c * E + e] += w[g] * value;
                }
            }
        }
        __syncwarp();
    }

    // The warps' parts lie where the tiles were.
    copies_wait<0>();
    __syncthreads();
    constexpr int kPart = G * (Columns + 2);
#pragma unroll
    for (int g = 0; g < G; ++g) {
        float *part = tiles + warp * kPart + g * (Columns + 2);
        const float total = warp_sum(totals[g]);
        if (lane == 0) {
            part[Columns] = largest[g];
            part[Columns + 1] = total;
        }
#pragma unroll
        for (int c = 0; c < C; ++c)
#pragma unroll
            for (int e = 0; e < E; ++e) part[(c * kLanes + lane) * E + e] = sums[g][c * E + e];
    }
    __syncthreads();
    for (int i = int(threadIdx.x); i < G * dim; i += int(blockDim.x)) {
        const int g = i / dim, e = i % dim;
        const float *part = tiles + g * (Columns + 2);
        float top = -infinity(), total = 0, sum = 0;
        for (int w = 0; w < warps; ++w) top = fmaxf(top, part[w * kPart + Columns]);
        for (int w = 0; w < warps && top > -infinity(); ++w) {
            const float share = expf(part[w * kPart + Columns] - top);
            total += part[w * kPart + Columns + 1] * share;
            sum += part[w * kPart + e] * share;
        }
        leave(g, e, sum, top, total);
    }
}

// Caches -----------------------------------------------------------------------------------------

/// Where one layer's keys and values lie in a sequence's memory, in elements; see CacheLayout.
struct Cache {
    i64 keys, values, stride;
    int kv_heads, dim;
};

/// Keys and values of row `blockIdx.x` of qkv into its cache.
template <typename T>
__device__ void kv_write(const T *qkv, int heads, Cache cache, void *const *bases, const int *places) {
    T *base = static_cast<T *>(bases[blockIdx.x]);
    if (!base) return;
    const int width = cache.kv_heads * cache.dim;
    const T *row = qkv + i64(blockIdx.x) * (heads * cache.dim + 2 * width) + heads * cache.dim;
    base += places[blockIdx.x] * cache.stride;
    copy_row(row, base + cache.keys, width);
    copy_row(row + width, base + cache.values, width);
}

/// A warp a head of qkv: queries are turned in place, keys are turned and written, values are written. With
/// weights, queries and keys are normalised head by head before (Qwen3). dim is even and at most 256.
template <typename T>
__device__ void rope_kv_write(T *qkv, i64 items, int heads, Cache cache, void *const *bases,
                              const int *places, const T *query_norm, const T *key_norm, float eps,
                              const float *angles, int table_rows, const int *positions, int wide) {
    const i64 item = (i64(blockIdx.x) * blockDim.x + threadIdx.x) / kLanes;
    if (item >= items) return;
    const int lane = int(threadIdx.x) % kLanes, dim = cache.dim, half = dim / 2;
    const int all = heads + 2 * cache.kv_heads, row = int(item / all), head = int(item % all);
    T *from = qkv + item * dim, *to = from;
    if (head >= heads) {
        T *base = static_cast<T *>(bases[row]);
        if (!base) return;
        const int own = (head - heads) % cache.kv_heads;
        to = base + places[row] * cache.stride + (head - heads < cache.kv_heads ? cache.keys : cache.values) +
             i64(own) * dim;
    }
    constexpr int kPairs = 4;
    float a[kPairs], b[kPairs], squares = 0;
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
        const int i = lane + k * kLanes;
        a[k] = i < half ? widen(from[i]) : 0.0f;
        b[k] = i < half ? widen(from[i + half]) : 0.0f;
        squares += a[k] * a[k] + b[k] * b[k];
    }
    const T *norm = head < heads ? query_norm : head < heads + cache.kv_heads ? key_norm : nullptr;
    if (norm) {
        const float factor = 1.0f / sqrtf(warp_sum(squares) / float(dim) + eps);
#pragma unroll
        for (int k = 0; k < kPairs; ++k) {
            const int i = lane + k * kLanes;
            if (i >= half) continue;
            a[k] = rounded<T>(rounded<T>(a[k] * factor) * widen(norm[i]));
            b[k] = rounded<T>(rounded<T>(b[k] * factor) * widen(norm[i + half]));
        }
    }
    const int position = positions[row];
    const bool turns = head < heads + cache.kv_heads && position >= 0 && position < table_rows;
    const float *cosines = angles + i64(turns ? position : 0) * dim;
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
        const int i = lane + k * kLanes;
        if (i >= half) continue;
        if (turns) turn<T>(a[k], b[k], cosines[i], cosines[i + half], wide != 0);
        to[i] = narrow<T>(a[k]);
        to[i + half] = narrow<T>(b[k]);
    }
}

// Decodes and other causal rows ------------------------------------------------------------------

/// How many keys one part of a row's has, where it sees `seen` and there may be `most` parts.
__device__ __forceinline__ int keys_a_part(int seen, int most) {
    if (most == 1) return seen;
    return max(256, ((seen + most - 1) / most + 127) / 128 * 128);
}

template <typename T, int G>
struct HeadQueries {
    const T *first;  // the first head's row
    int count, dim;
    __device__ const T *row(int g) const { return g < count ? first + i64(g) * dim : nullptr; }
    __device__ static constexpr bool sees(int, int) { return true; }
};

/// Row blockIdx.z, G query heads of a key-value head (blockIdx.y), part blockIdx.x of the keys.
///
/// parts [rows, heads, gridDim.x, dim + 2]: sums, largest score and total of each part, where a row has
/// several.
template <typename T, int G, int Columns>
__device__ void attention(const T *qkv, int heads, Cache cache, void *const *bases, const int *places,
                          float scale, i64 window, float *parts, T *out) {
    const int row = int(blockIdx.z), dim = cache.dim, group = heads / cache.kv_heads;
    const int shares = (group + G - 1) / G, kv_head = int(blockIdx.y) / shares;
    const int head = kv_head * group + int(blockIdx.y) % shares * G;
    const int count = min(G, (kv_head + 1) * group - head);
    out += (i64(row) * heads + head) * dim;
    const T *base = static_cast<const T *>(bases[row]);
    if (!base) {
        for (int i = int(threadIdx.x); i < count * dim && blockIdx.x == 0; i += int(blockDim.x)) {
            out[i] = narrow<T>(0.0f);
        }
        return;
    }
    const int place = places[row], first = i64(place) - window + 1 > 0 ? int(place - window + 1) : 0;
    const int size = keys_a_part(place + 1 - first, int(gridDim.x));
    const int from = first + int(blockIdx.x) * size, to = min(place + 1, from + size);
    if (from >= to) return;
    const bool alone = place + 1 - first <= size;
    const HeadQueries<T, G> queries{qkv + i64(row) * (heads + 2 * cache.kv_heads) * dim + i64(head) * dim,
                                    count, dim};
    parts += ((i64(row) * heads + head) * gridDim.x + blockIdx.x) * (dim + 2);
    attend<T, G, Columns>(base + cache.keys + i64(kv_head) * dim, base + cache.values + i64(kv_head) * dim,
                          cache.stride, dim, scale, from, to, queries,
                          [&](int g, int e, float sum, float top, float total) {
                              if (g >= count) return;
                              if (alone) {
                                  out[g * dim + e] = narrow<T>(sum / total);
                                  return;
                              }
                              float *part = parts + i64(g) * gridDim.x * (dim + 2);
                              part[e] = sum;
                              if (e == 0) {
                                  part[dim] = top;
                                  part[dim + 1] = total;
                              }
                          });
}

/// Merges the parts of row blockIdx.y, head blockIdx.x; `most` is the grid's x of `attention`.
template <typename T>
__device__ void attention_combine(const float *parts, int dim, void *const *bases, const int *places,
                                  i64 window, int most, T *out) {
    const int row = int(blockIdx.y), place = places[row];
    const int first = i64(place) - window + 1 > 0 ? int(place - window + 1) : 0;
    const int seen = place + 1 - first, size = keys_a_part(seen, most), count = (seen + size - 1) / size;
    if (!bases[row] || count <= 1) return;
    const i64 item = i64(row) * gridDim.x + blockIdx.x;
    parts += item * most * (dim + 2);
    float top = -infinity(), total = 0;
    for (int p = 0; p < count; ++p) top = fmaxf(top, parts[i64(p) * (dim + 2) + dim]);
    if (top == -infinity()) top = 0;
    for (int p = 0; p < count; ++p) {
        const float *part = parts + i64(p) * (dim + 2);
        total += part[dim + 1] * expf(part[dim] - top);
    }
    for (int e = int(threadIdx.x); e < dim; e += int(blockDim.x)) {
        float sum = 0;
        for (int p = 0; p < count; ++p) {
            const float *part = parts + i64(p) * (dim + 2);
            sum += part[e] * expf(part[dim] - top);
        }
        out[item * dim + e] = narrow<T>(sum / total);
    }
}

// Segments ---------------------------------------------------------------------------------------

template <typename T, int G>
struct RowQueries {
    const T *first;  // the head's part of the block's first row
    i64 stride;
    int count;
    int from[G], to[G];
    __device__ const T *row(int g) const { return g < count ? first + g * stride : nullptr; }
    __device__ bool sees(int g, int key) const { return key >= from[g] && key < to[g]; }
};

/// G rows from blockIdx.x · G on, head blockIdx.y: row r sees the keys of kv in [first[r], end[r]).
template <typename T, int G, int Columns>
__device__ void segment_attention(const T *queries, int rows, int heads, int dim, float scale, const T *kv,
                                  const int *first, const int *end, T *out) {
    const i64 width = i64(heads) * dim, at = i64(blockIdx.x) * G, column = i64(blockIdx.y) * dim;
    RowQueries<T, G> own{queries + at * width + column, width, int(min(i64(G), rows - at)), {}, {}};
    int from = 0x7fffffff, to = 0;
#pragma unroll
    for (int g = 0; g < G; ++g) {
        own.from[g] = g < own.count ? first[at + g] : 0;
        own.to[g] = g < own.count ? end[at + g] : 0;
        if (g < own.count) {
            from = min(from, own.from[g]);
            to = max(to, own.to[g]);
        }
    }
    out += at * width + column;
    attend<T, G, Columns>(kv + column, kv + width + column, 2 * width, dim, scale, from, to, own,
                          [&](int g, int e, float sum, float, float total) {
                              if (g < own.count)
                                  out[g * width + e] = narrow<T>(total > 0 ? sum / total : 0.0f);
                          });
}

#define TG_CACHES(T, suffix)                                                                                 \
    TG_KERNEL(256, kv_write_##suffix,                                                                        \
              (const T *qkv, int heads, Cache cache, void *const *bases, const int *places),                 \
              kv_write(qkv, heads, cache, bases, places))                                                    \
    TG_KERNEL(128, rope_kv_write_##suffix,                                                                   \
              (T * qkv, i64 items, int heads, Cache cache, void *const *bases, const int *places,            \
               const T *query_norm, const T *key_norm, float eps, const float *angles, int table_rows,       \
               const int *positions, int wide),                                                              \
              rope_kv_write(qkv, items, heads, cache, bases, places, query_norm, key_norm, eps, angles,      \
                            table_rows, positions, wide))                                                    \
    TG_KERNEL(                                                                                               \
        128, attention_combine_##suffix,                                                                     \
        (const float *parts, int dim, void *const *bases, const int *places, i64 window, int most, T *out),  \
        attention_combine(parts, dim, bases, places, window, most, out))
TG_EACH_TYPE(TG_CACHES)

#define TG_ATTENTION(T, suffix, G, columns)                                                                  \
    TG_KERNEL(128, attention_##suffix##_##G##_##columns,                                                     \
              (const T *qkv, int heads, Cache cache, void *const *bases, const int *places, float scale,     \
               i64 window, float *parts, T *out),                                                            \
              attention<T, G, columns>(qkv, heads, cache, bases, places, scale, window, parts, out))
#define TG_SEGMENTS(T, suffix, columns)                                                                      \
    TG_KERNEL(128, segment_attention_##suffix##_##columns,                                                   \
              (const T *queries, int rows, int heads, int dim, float scale, const T *kv, const int *first,   \
               const int *end, T *out),                                                                      \
              segment_attention<T, 8, columns>(queries, rows, heads, dim, scale, kv, first, end, out))
#define TG_ATTENTIONS(T, suffix, columns)                                                                    \
    TG_ATTENTION(T, suffix, 1, columns)                                                                      \
    TG_ATTENTION(T, suffix, 2, columns)                                                                      \
    TG_ATTENTION(T, suffix, 4, columns) TG_ATTENTION(T, suffix, 8, columns) TG_SEGMENTS(T, suffix, columns)
#define TG_ATTENTION_WIDTHS(T, suffix)                                                                       \
    TG_ATTENTIONS(T, suffix, 64) TG_ATTENTIONS(T, suffix, 128) TG_ATTENTIONS(T, suffix, 256)
TG_EACH_TYPE(TG_ATTENTION_WIDTHS)
