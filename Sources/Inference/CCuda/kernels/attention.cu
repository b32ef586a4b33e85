// Attention over sequences' caches and over segments of rows; what enters the caches.
//
// G queries share each key and value that is read: the query heads of one key-value head, or neighbouring
// rows of one head. A warp takes tiles of 32 keys: lanes stand for keys in q·kᵀ and for columns in p·v; tiles
// come by asynchronous copies, the next keys while the values are used. The warps of a block have tiles in
// turn and merge at the end. Few rows: blocks along x take parts of the keys, and the block that is ready last
// merges those. Everything is float32 but the inputs and the answer; the softmax is a running one, as on the
// CPU.
//
// A step of one row a sequence does all of a layer's attention in one kernel: each block turns its queries, and
// the one that has the row's own key turns and writes that. So what is written and what is read are one file.

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

/// A row of a tile from shared memory, by one warp.
template <typename T>
__device__ __forceinline__ void put_row(T *to, const T *from, int padded) {
    for (int i = int(threadIdx.x) % kLanes * kPack<T>; i < padded; i += kLanes * kPack<T>) {
        write_pack<T, kPack<T>>(to + i, read_pack<T, kPack<T>>(from + i));
    }
}

/// Bytes of shared memory are block_for's of launch_attention.cpp.
///
/// `queries.stage(scaled, own, padded, scale)`: puts the queries to [G, padded], zeros where there are none, and
/// the key and the value of position `queries.own` (-1: none, else to - 1) to own [2, padded];
/// `queries.sees(g, key)`: whether it may look at a key of [from, to); `leave(g, e, sum, largest, total)`: an
/// element of the answer, to be divided by `total`.
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
    T *own = reinterpret_cast<T *>(scaled + G * padded + warps * kTileKeys * G);  // [2, padded]
    float *tiles = reinterpret_cast<float *>(own + 2 * padded);
    T *key_tile = reinterpret_cast<T *>(tiles) + 2 * warp * kTileKeys * pitch;
    T *value_tile = key_tile + kTileKeys * pitch;

    int key = from + warp * kTileKeys;
    const int step = warps * kTileKeys, stored = queries.own < 0 ? to : to - 1;
    if (key < to) fetch_tile(key_tile, keys + key * stride, stride, min(kTileKeys, stored - key), dim);
    queries.stage(scaled, own, padded, scale);
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
        fetch_tile(value_tile, values + key * stride, stride, min(kTileKeys, stored - key), dim);
        copies_wait<1>();
        const bool newest = stored < to && key + held == to;
        if (newest) put_row(key_tile + (held - 1) * pitch, own, padded);
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
        if (next < to) fetch_tile(key_tile, keys + next * stride, stride, min(kTileKeys, stored - next), dim);
        else copies_end();
        copies_wait<1>();
        if (newest) put_row(value_tile + (held - 1) * pitch, own + padded, padded);
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

/// As HeadTurn of kernels.hpp: what is done to queries and keys before. angles null: nothing.
struct Turn {
    const void *query_norm, *key_norm;
    const float *angles;
    const int *positions;
    int table_rows;
    float eps;
};

constexpr int kPairs = 4;  // of a head of up to 256 elements that a lane has

/// A warp's head, from memory: element i in a of lane i % 32, i + dim / 2 in b; normalised if `norm`, turned to
/// `position` of a table's angles if it is there. dim is even and at most 256.
template <typename T>
__device__ __forceinline__ void turned_head(const T *from, int dim, const T *norm, float eps,
                                            const float *angles, int table_rows, int position, bool wide,
                                            float (&a)[kPairs], float (&b)[kPairs]) {
    const int lane = int(threadIdx.x) % kLanes, half = dim / 2;
    float squares = 0;
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
        const int i = lane + k * kLanes;
        a[k] = i < half ? widen(from[i]) : 0.0f;
        b[k] = i < half ? widen(from[i + half]) : 0.0f;
        squares += a[k] * a[k] + b[k] * b[k];
    }
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
    if (!angles || position < 0 || position >= table_rows) return;
    const float *cosines = angles + i64(position) * dim;
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
        const int i = lane + k * kLanes;
        if (i < half) turn<T>(a[k], b[k], cosines[i], cosines[i + half], wide);
    }
}

/// Elements of a head as `turned_head` leaves them: write(i, value).
template <typename Write>
__device__ __forceinline__ void each_pair(int dim, const float (&a)[kPairs], const float (&b)[kPairs],
                                          const Write &write) {
    const int lane = int(threadIdx.x) % kLanes, half = dim / 2;
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
        const int i = lane + k * kLanes;
        if (i >= half) continue;
        write(i, a[k]);
        write(i + half, b[k]);
    }
}

/// A warp a head of qkv: queries are turned in place, keys are turned and written, values are written. With
/// weights, queries and keys are normalised head by head before (Qwen3). dim is even and at most 256.
template <typename T>
__device__ void rope_kv_write(T *qkv, i64 items, int heads, Cache cache, void *const *bases,
                              const int *places, const T *query_norm, const T *key_norm, float eps,
                              const float *angles, int table_rows, const int *positions, int wide) {
    const i64 item = (i64(blockIdx.x) * blockDim.x + threadIdx.x) / kLanes;
    if (item >= items) return;
    const int dim = cache.dim;
    const int all = heads + 2 * cache.kv_heads, row = int(item / all), head = int(item % all);
    T *from = qkv + item * dim, *to = from;
    if (head >= heads) {
        T *base = static_cast<T *>(bases[row]);
        if (!base) return;
        const int own = (head - heads) % cache.kv_heads;
        to = base + places[row] * cache.stride + (head - heads < cache.kv_heads ? cache.keys : cache.values) +
             i64(own) * dim;
    }
    const bool key = head >= heads && head < heads + cache.kv_heads, value = head >= heads + cache.kv_heads;
    const T *norm = value ? nullptr : key ? key_norm : query_norm;
    float a[kPairs], b[kPairs];
    turned_head(from, dim, norm, eps, value ? nullptr : angles, table_rows, positions[row], wide != 0, a, b);
    each_pair(dim, a, b, [&](int i, float element) { to[i] = narrow<T>(element); });
}

// Decodes and other causal rows ------------------------------------------------------------------

/// How many keys one part of a row's has, where it sees `seen` and there may be `most` parts: few, so that many
/// blocks share the work, where merging their parts is little beside reading the keys.
__device__ __forceinline__ int keys_a_part(int seen, int most) {
    if (most == 1) return seen;
    return max(seen > 4096 ? 256 : 128, ((seen + most - 1) / most + 127) / 128 * 128);
}

/// Floats of a part: sums, the largest score, the total; four at a time.
__device__ __forceinline__ int part_pitch(int dim) { return (dim + 3) / 4 * 4 + 4; }

/// What another block of this launch has written.
__device__ __forceinline__ Pack<float, 4> read_others(const float *p) {
#ifdef TORCHGATE_EMULATED
    return read_pack<float, 4>(p);
#else
    Pack<float, 4> pack;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(pack.at[0]), "=f"(pack.at[1]), "=f"(pack.at[2]), "=f"(pack.at[3])
                 : "l"(p));
    return pack;
#endif
}

template <typename T, int G>
struct HeadQueries {
    const T *first;       // the first head's row
    int count, dim, own;  // own: the row's own position where this block turns its key, else -1
    const T *key, *value;
    T *key_to, *value_to;  // in the cache; null: another block writes them
    const Turn &turn;
    int position;

    __device__ static constexpr bool sees(int, int) { return true; }
    __device__ void stage(float *scaled, T *fresh, int padded, float scale) const {
        if (!turn.angles) {
            for (int i = int(threadIdx.x); i < G * padded; i += int(blockDim.x)) {
                const int g = i / padded, e = i % padded;
                scaled[i] = g < count && e < dim ? widen(first[i64(g) * dim + e]) * scale : 0.0f;
            }
            return;
        }
        const int warps = int(blockDim.x) / kLanes, lane = int(threadIdx.x) % kLanes;
        float a[kPairs], b[kPairs];
        const auto head = [&](const T *from, const void *norm, bool turns) {
            turned_head(from, dim, static_cast<const T *>(norm), turn.eps, turns ? turn.angles : nullptr,
                        turn.table_rows, position, false, a, b);
        };
        for (int h = int(threadIdx.x) / kLanes; h < G + (own < 0 ? 0 : 2); h += warps) {
            if (h < G) {
                float *to = scaled + h * padded;
                for (int e = (h < count ? dim : 0) + lane; e < padded; e += kLanes) to[e] = 0;
                if (h >= count) continue;
                head(first + i64(h) * dim, turn.query_norm, true);
                each_pair(dim, a, b, [&](int i, float e) { to[i] = rounded<T>(e) * scale; });
            } else {
                T *to = fresh + (h - G) * padded, *kept = h == G ? key_to : value_to;
                for (int e = dim + lane; e < padded; e += kLanes) to[e] = narrow<T>(0.0f);
                head(h == G ? key : value, h == G ? turn.key_norm : nullptr, h == G);
                each_pair(dim, a, b, [&](int i, float e) {
                    to[i] = narrow<T>(e);
                    if (kept) kept[i] = to[i];
                });
            }
        }
    }
};

/// The answer of `heads` heads from `count` parts each; parts [heads, most, part_pitch].
template <typename T, int G>
__device__ __forceinline__ void merge_parts(const float *parts, int heads, int most, int count, int dim,
                                            T *out) {
    TG_SHARED(float, shares);  // [G, count], then [G]
    const int warps = int(blockDim.x) / kLanes, lane = int(threadIdx.x) % kLanes, pitch = part_pitch(dim);
    float *totals = shares + G * count;
    for (int g = int(threadIdx.x) / kLanes; g < heads; g += warps) {
        const float *ends = parts + i64(g) * most * pitch + pitch - 4;
        float top = -infinity(), total = 0;
        for (int p = lane; p < count; p += kLanes) top = fmaxf(top, read_others(ends + i64(p) * pitch).at[0]);
        top = warp_max(top);
        if (top == -infinity()) top = 0;
        for (int p = lane; p < count; p += kLanes) {
            const auto end = read_others(ends + i64(p) * pitch);
            const float share = expf(end.at[0] - top);
            shares[g * count + p] = share;
            total += end.at[1] * share;
        }
        total = warp_sum(total);
        if (lane == 0) totals[g] = total;
    }
    __syncthreads();
    const int fours = pitch / 4 - 1;
    for (int i = int(threadIdx.x); i < heads * fours; i += int(blockDim.x)) {
        const int g = i / fours, e = i % fours * 4;
        const float *from = parts + i64(g) * most * pitch + e;
        float sums[4] = {0, 0, 0, 0};
#pragma unroll 16
        for (int p = 0; p < count; ++p) {
            const auto four = read_others(from + i64(p) * pitch);
#pragma unroll
            for (int j = 0; j < 4; ++j) sums[j] += four.at[j] * shares[g * count + p];
        }
        for (int j = 0; j < min(4, dim - e); ++j) out[g * dim + e + j] = narrow<T>(sums[j] / totals[g]);
    }
}

/// Row blockIdx.z, G query heads of a key-value head (blockIdx.y), part blockIdx.x of the keys.
///
/// parts [rows, heads, gridDim.x, part_pitch] and counts [rows, gridDim.y], zeros before and after: where a row
/// has several parts, the block that is ready last merges them.
template <typename T, int G, int Columns>
__device__ void attention(const T *qkv, int heads, Cache cache, void *const *bases, const int *places,
                          float scale, i64 window, const Turn &turn, float *parts, u32 *counts, T *out) {
    const int row = int(blockIdx.z), dim = cache.dim, group = heads / cache.kv_heads;
    const int shares = (group + G - 1) / G, kv_head = int(blockIdx.y) / shares;
    const int head = kv_head * group + int(blockIdx.y) % shares * G;
    const int count = min(G, (kv_head + 1) * group - head);
    out += (i64(row) * heads + head) * dim;
    T *base = static_cast<T *>(bases[row]);
    if (!base) {
        for (int i = int(threadIdx.x); i < count * dim && blockIdx.x == 0; i += int(blockDim.x)) {
            out[i] = narrow<T>(0.0f);
        }
        return;
    }
    const int place = places[row], first = i64(place) - window + 1 > 0 ? int(place - window + 1) : 0;
    const int seen = place + 1 - first, size = keys_a_part(seen, int(gridDim.x));
    const int from = first + int(blockIdx.x) * size, to = min(place + 1, from + size);
    if (from >= to) return;
    const bool alone = seen <= size, owns = turn.angles && to == place + 1;
    const T *queries = qkv + i64(row) * (heads + 2 * cache.kv_heads) * dim;
    const T *key = queries + i64(heads + kv_head) * dim;
    T *const keys = base + cache.keys + i64(kv_head) * dim, *const values = base + cache.values + i64(kv_head) * dim;
    const bool writes = owns && int(blockIdx.y) % shares == 0;
    const HeadQueries<T, G> own{queries + i64(head) * dim,
                                count,
                                dim,
                                owns ? place : -1,
                                key,
                                key + i64(cache.kv_heads) * dim,
                                writes ? keys + place * cache.stride : nullptr,
                                writes ? values + place * cache.stride : nullptr,
                                turn,
                                turn.angles ? turn.positions[row] : 0};
    const int pitch = part_pitch(dim);
    parts += (i64(row) * heads + head) * gridDim.x * pitch;
    attend<T, G, Columns>(keys, values, cache.stride, dim, scale, from, to, own,
                          [&](int g, int e, float sum, float top, float total) {
                              if (g >= count) return;
                              if (alone) {
                                  out[g * dim + e] = narrow<T>(sum / total);
                                  return;
                              }
                              float *part = parts + (i64(g) * gridDim.x + blockIdx.x) * pitch;
                              part[e] = sum;
                              if (e == 0) {
                                  part[pitch - 4] = top;
                                  part[pitch - 3] = total;
                              }
                          });
    if (alone) return;
    __shared__ bool last;
    const int all = (seen + size - 1) / size;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        u32 *const ready = counts + i64(row) * gridDim.y + blockIdx.y;
        last = atomicAdd(ready, 1u) == u32(all - 1);
        if (last) *ready = 0;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    merge_parts<T, G>(parts, count, int(gridDim.x), all, dim, out);
}

// Segments ---------------------------------------------------------------------------------------

template <typename T, int G>
struct RowQueries {
    const T *first;  // the head's part of the block's first row
    i64 stride;
    int count;
    int from[G], to[G], dim;
    static constexpr int own = -1;
    __device__ void stage(float *scaled, T *, int padded, float scale) const {
        for (int i = int(threadIdx.x); i < G * padded; i += int(blockDim.x)) {
            const int g = i / padded, e = i % padded;
            scaled[i] = g < count && e < dim ? widen(first[g * stride + e]) * scale : 0.0f;
        }
    }
    __device__ bool sees(int g, int key) const { return key >= from[g] && key < to[g]; }
};

/// G rows from blockIdx.x · G on, head blockIdx.y: row r sees the keys of kv in [first[r], end[r]).
template <typename T, int G, int Columns>
__device__ void segment_attention(const T *queries, int rows, int heads, int dim, float scale, const T *kv,
                                  const int *first, const int *end, T *out) {
    const i64 width = i64(heads) * dim, at = i64(blockIdx.x) * G, column = i64(blockIdx.y) * dim;
    RowQueries<T, G> own{queries + at * width + column, width, int(min(i64(G), rows - at)), {}, {}, dim};
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
                            table_rows, positions, wide))
TG_EACH_TYPE(TG_CACHES)

#define TG_ATTENTION(T, suffix, G, columns)                                                                  \
    TG_KERNEL(128, attention_##suffix##_##G##_##columns,                                                     \
              (const T *qkv, int heads, Cache cache, void *const *bases, const int *places, float scale,     \
               i64 window, TG_BY_VALUE Turn turn, float *parts, u32 *counts, T *out),                        \
              attention<T, G, columns>(qkv, heads, cache, bases, places, scale, window, turn, parts, counts, out))
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
