// Weights that stay quantised, as CTorch/quant.hpp lays them out: tiles of 16 rows, blocks of 32 columns.
//
// unpack: dense rows for a matrix product; the bits are those of the CPU's unpack_row. coded_product and
// packed_gemv: products with few rows, the latter for float32 inputs and tables. There a block of threads has a
// tile and its warps have blocks of columns in turn, so that a warp reads 512 neighbouring bytes of codes at
// once, 16 a lane: 4 rows of 4 columns (8 where they have 4 bits). Inputs are not quantised, unlike the CPU's;
// sums are float32.
//
// One file, as NVRTC compiles it in one piece and all of it reads the same tiles.

/// As tg::QuantPart.
struct Part {
    int bits;
    u8 scales;
    int offset, order;
    i64 first, rows, columns, group;
    const u8 *codes, *factors;
    float table[16];
};

/// As tg::Scales.
enum { kPlain, kMinimum, kNested, kHalved, kZeros, kTable, kRow, kFloat8 };

constexpr int kTileRows = 16, kBlockColumns = 32, kPartsTogether = 4;

__device__ __forceinline__ i64 block_bytes(const Part &part) {
    return kTileRows * kBlockColumns / 8 * part.bits;
}

__device__ __forceinline__ const u8 *tile_codes(const Part &part, i64 tile) {
    return part.codes + tile * (part.columns / kBlockColumns) * block_bytes(part);
}

template <int S>
__device__ __forceinline__ const u8 *tile_factors(const Part &part, i64 tile) {
    const i64 blocks = part.columns / kBlockColumns;
    i64 bytes = 0;
    switch (S) {
    case kPlain: bytes = blocks * 32; break;
    case kMinimum: bytes = blocks * 64; break;
    case kNested: bytes = (blocks + 7) / 8 * 64 + blocks * 32; break;
    case kHalved: bytes = (blocks + 7) / 8 * 32 + blocks * 32; break;
    case kZeros: bytes = (u32(blocks + part.group) - 1) / u32(part.group) * 48; break;
    case kTable: bytes = (blocks + 1) / 2 * 64; break;
    case kRow: bytes = 64; break;
    case kFloat8: bytes = (u32(blocks + part.group) - 1) / u32(part.group) * 64; break;
    }
    return part.factors + tile * bytes;
}

/// A value is scale · (code - offset) + minimum; of a table, scale · its entry; of 8-bit floats as
/// float8_values has them, scale · the code.
struct Factors {
    float scale[4], offset[4], minimum[4];
};

__device__ __forceinline__ void halves(const u8 *vector, int rows, float (&out)[4]) {
    const auto four = read_pack<u16, 4>(vector + 8 * rows);
#pragma unroll
    for (int k = 0; k < 4; ++k) out[k] = half_value(four.at[k]);
}

/// Of rows 4 · rows … + 3 of a tile, for block `b`, its first or second 16 columns.
template <int S>
__device__ __forceinline__ void fetch_factors(const Part &part, const u8 *factors, int b, int rows,
                                              bool second, Factors &out) {
    const i64 blocks = part.columns / kBlockColumns, wholes = (blocks + 7) / 8;
#pragma unroll
    for (int k = 0; k < 4; ++k) out.offset[k] = out.minimum[k] = 0;
    switch (S) {
    case kPlain: halves(factors + 32 * i64(b), rows, out.scale);
#pragma unroll
        for (int k = 0; k < 4; ++k) out.offset[k] = float(part.offset);
        break;
    case kMinimum:
        halves(factors + 64 * i64(b), rows, out.scale);
        halves(factors + 64 * i64(b) + 32, rows, out.minimum);
        break;
    case kNested: {
        const u8 *whole = factors + 64 * i64(b / 8), *own = factors + 64 * wholes + 32 * i64(b) + 4 * rows;
        halves(whole, rows, out.scale);
        halves(whole + 32, rows, out.minimum);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            out.scale[k] = __fmul_rn(out.scale[k], float(own[k]));
            out.minimum[k] = -__fmul_rn(out.minimum[k], float(own[16 + k]));
        }
        break;
    }
    case kHalved: {
        const u8 *own = factors + 32 * wholes + 32 * i64(b) + (second ? 16 : 0) + 4 * rows;
        halves(factors + 32 * i64(b / 8), rows, out.scale);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            out.scale[k] = __fmul_rn(out.scale[k], float(static_cast<signed char>(own[k])));
            out.offset[k] = 32;
        }
        break;
    }
    case kZeros: {
        const u8 *own = factors + 48 * (b / int(part.group));
        halves(own, rows, out.scale);
#pragma unroll
        for (int k = 0; k < 4; ++k) out.offset[k] = float(own[32 + 4 * rows + k]) + float(part.offset);
        break;
    }
    case kRow:
    case kFloat8: {
        const auto four = read_pack<float, 4>(factors + (S == kRow ? 0 : 64 * (b / int(part.group))) + 16 * rows);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            out.scale[k] = S == kRow ? four.at[k] : four.at[k] * 256;
            out.offset[k] = float(part.offset);
        }
        break;
    }
    case kTable: {
        const auto four = read_pack<float, 4>(factors + 64 * i64(b / 2) + 16 * rows);
#pragma unroll
        for (int k = 0; k < 4; ++k) out.scale[k] = four.at[k];
        break;
    }
    }
}

/// Codes of rows 4 · rows … + 3 and columns 4 · quad … + 3 of a block: a word a row, a byte a column.
template <int Bits>
__device__ __forceinline__ Pack<u32, 4> fetch_codes(const u8 *block, int rows, int quad) {
    const auto sixteen = [&](int at) { return read_pack<u32, 4>(block + at + 16 * rows); };
    if (Bits == 8) return sixteen(64 * quad);
    Pack<u32, 4> codes = sixteen(64 * (quad % 4));
#pragma unroll
    for (int k = 0; k < 4; ++k) codes.at[k] = codes.at[k] >> (quad < 4 ? 0 : 4) & 0x0f0f0f0fu;
    if (Bits > 4) {
        const auto more = sixteen(Bits == 5 ? 256 : 256 + 64 * (quad / 4));
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            codes.at[k] |= Bits == 5 ? (more.at[k] >> quad & 0x01010101u) << 4
                                     : (more.at[k] >> (2 * (quad % 4)) & 0x03030303u) << 4;
        }
    }
    return codes;
}

/// A byte as a float, less `offset`: 2^23 + the byte is a float whose bits are at hand.
__device__ __forceinline__ float shifted(u32 bytes, int which, float offset) {
    return __int_as_float(int(__byte_perm(bytes, 0x4b000000u, 0x7650u | u32(which)))) - (8388608.0f + offset);
}

/// The 8-bit floats (e4m3) of a word divided by 256: halves have one bit of exponent more.
__device__ __forceinline__ void float8_values(u32 codes, float (&out)[4]) {
    const u32 even = (codes << 8 & 0x80008000u) | (codes << 7 & 0x3f803f80u);
    const u32 odd = (codes & 0x80008000u) | (codes >> 1 & 0x3f803f80u);
    out[0] = half_value(u16(even));
    out[1] = half_value(u16(odd));
    out[2] = half_value(u16(even >> 16));
    out[3] = half_value(u16(odd >> 16));
}

/// The part's table where the threads of the block can index it; where one entry is used, where it lies.
template <int S>
__device__ __forceinline__ const float *table_of(const Part &part) {
    if (S != kTable) return part.table;
    __shared__ float entries[16];
    if (threadIdx.x < 16) entries[threadIdx.x] = part.table[threadIdx.x];
    __syncthreads();
    return entries;
}

/// The 4 values of a row of `codes`, as CTorch computes them.
template <int S>
__device__ __forceinline__ void values_of(u32 codes, const Factors &factors, int k, const float *table,
                                          float (&out)[4]) {
    if (S == kFloat8) float8_values(codes, out);
#pragma unroll
    for (int m = 0; m < 4; ++m) {
        if (S == kTable) {
            out[m] = __fmul_rn(table[codes >> (8 * m) & 15], factors.scale[k]);
        } else if (S == kFloat8) {
            out[m] = __fmul_rn(out[m], factors.scale[k]);
        } else if (S == kRow) {
            out[m] = __fmul_rn(__fmul_rn(shifted(codes, m, factors.offset[k]), factors.scale[k]), table[0]);
        } else {
            const float whole = shifted(codes, m, factors.offset[k]);
            out[m] = __fadd_rn(__fmul_rn(factors.scale[k], whole), factors.minimum[k]);
        }
    }
}

/// Rows [row, row + rows) of the part. Blocks along y have a tile, their warps a block of columns each.
template <int Bits, int S, typename T>
__device__ void unpack(const Part &part, i64 row, i64 rows, T *out) {
    const float *table = table_of<S>(part);
    const int warps = int(blockDim.x) / kLanes, lane = int(threadIdx.x) % kLanes;
    const int b = int(blockIdx.x) * warps + int(threadIdx.x) / kLanes;
    if (b >= part.columns / kBlockColumns) return;
    const i64 tile = row / kTileRows + blockIdx.y;
    const int four = lane / 8, quad = lane % 8;
    Factors factors;
    fetch_factors<S>(part, tile_factors<S>(part, tile), b, four, quad >= 4, factors);
    const auto codes = fetch_codes<Bits>(tile_codes(part, tile) + b * block_bytes(part), four, quad);
    const bool whole = aligned(out);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const i64 at = tile * kTileRows + 4 * four + k - row;
        if (at < 0 || at >= rows) continue;
        float values[4];
        values_of<S>(codes.at[k], factors, k, table, values);
        T *to = out + at * part.columns + b * kBlockColumns + 4 * quad;
        Pack<T, 4> pack;
#pragma unroll
        for (int m = 0; m < 4; ++m) pack.at[m] = narrow<T>(values[m]);
        if (whole) write_pack<T, 4>(to, pack);
        else
            for (int m = 0; m < 4; ++m) to[m] = pack.at[m];
    }
}

/// The rows `ids` of the whole weight that are this part's, a block each.
template <int Bits, int S, typename T>
__device__ void unpack_rows(const Part &part, const int *ids, T *out) {
    const float *table = table_of<S>(part);
    const i64 row = ids[blockIdx.x] - part.first;
    if (row < 0 || row >= part.rows) return;
    const i64 tile = row / kTileRows;
    const int place = int(row % kTileRows), blocks = int(part.columns / kBlockColumns);
    const u8 *codes = tile_codes(part, tile), *factors_at = tile_factors<S>(part, tile);
    out += i64(blockIdx.x) * part.columns;
    for (int i = int(threadIdx.x); i < blocks * 8; i += int(blockDim.x)) {
        const int b = i / 8, quad = i % 8;
        Factors factors;
        fetch_factors<S>(part, factors_at, b, place / 4, quad >= 4, factors);
        const auto all = fetch_codes<Bits>(codes + b * block_bytes(part), place / 4, quad);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (k != place % 4) continue;
            float values[4];
            values_of<S>(all.at[k], factors, k, table, values);
            for (int m = 0; m < 4; ++m) out[b * kBlockColumns + 4 * quad + m] = narrow<T>(values[m]);
        }
    }
}

/// sums[k][m] += the products of 4 rows and the columns of one quad with M inputs.
template <int Bits, int S, int M, typename T>
__device__ __forceinline__ void multiply_quad(const u8 *block, int four, int quad, const T *const (&x)[M],
                                              int column, const Factors &factors, const float *table,
                                              float (&sums)[4][M]) {
    const auto codes = fetch_codes<Bits>(block, four, quad);
    float in[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) {
        const auto pack = read_pack<T, 4>(x[m] + column + 4 * quad);
#pragma unroll
        for (int i = 0; i < 4; ++i) in[m][i] = widen(pack.at[i]);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        float w[4];
        if (S == kFloat8) float8_values(codes.at[k], w);
#pragma unroll
        for (int i = 0; i < 4 && S != kFloat8; ++i) {
            w[i] =
                S == kTable ? table[codes.at[k] >> (8 * i) & 15] : shifted(codes.at[k], i, factors.offset[k]);
        }
        const float scale = S == kRow ? factors.scale[k] * table[0] : factors.scale[k];
#pragma unroll
        for (int m = 0; m < M; ++m) {
            float dot = 0, sum = 0;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                dot += w[i] * in[m][i];
                sum += in[m][i];
            }
            sums[k][m] += scale * dot;
            if (S == kMinimum || S == kNested) sums[k][m] += factors.minimum[k] * sum;
        }
    }
}

/// Parts of one kind, one behind the other, and the inputs of each.
struct Parts {
    int count;
    const void *x[kPartsTogether];
    Part part[kPartsTogether];
};

/// The part of this block, and its tile there.
__device__ __forceinline__ int own_part(const Parts &parts, i64 &tile) {
    int own = 0;
    for (tile = blockIdx.x; own + 1 < parts.count; ++own) {
        const i64 tiles = (parts.part[own].rows + kTileRows - 1) / kTileRows;
        if (tile < tiles) break;
        tile -= tiles;
    }
    return own;
}

/// What a tile's warps have found, [warps, M, 16] in shared memory, becomes the answer [inputs, stride] of
/// `out_type`: bias and `sum` have the inputs' type.
template <int M, typename T>
__device__ __forceinline__ void write_tile(const float *found, int warps, const Part &part, i64 tile,
                                           int inputs, const T *bias, const T *sum, int out_type, void *out,
                                           i64 stride) {
    for (int i = int(threadIdx.x); i < M * kTileRows; i += int(blockDim.x)) {
        const int m = i / kTileRows;
        const i64 row = tile * kTileRows + i % kTileRows;
        if (m >= inputs || row >= part.rows) continue;
        float value = 0;
        for (int w = 0; w < warps; ++w) value += found[w * M * kTileRows + i];
        const i64 column = part.first + row, place = m * stride + column;
        if (bias) value += widen(bias[column]);
        if (sum) value = rounded<T>(value) + widen(sum[place]);
        switch (out_type) {
        case 0: static_cast<float *>(out)[place] = value; break;
        case 1: static_cast<bf16 *>(out)[place] = narrow<bf16>(value); break;
        default: static_cast<f16 *>(out)[place] = narrow<f16>(value);
        }
    }
}

/// out[m][first + row] = x[m] · row + bias, for a tile of rows a block and up to M inputs.
template <int Bits, int S, int M, typename T>
__device__ void packed_gemv(const Parts &all, int inputs, const T *bias, const T *sum, int out_type, void *out,
                            i64 stride) {
    inputs_ready();
    i64 tile;
    const int own = own_part(all, tile);
    const Part &part = all.part[own];
    const T *const x = static_cast<const T *>(all.x[own]);
    const float *table = table_of<S>(part);
    const int warps = int(blockDim.x) / kLanes, warp = int(threadIdx.x) / kLanes,
              lane = int(threadIdx.x) % kLanes;
    const u8 *codes = tile_codes(part, tile), *factors_at = tile_factors<S>(part, tile);
    const int blocks = int(part.columns / kBlockColumns), four = lane % 4;
    // 4-bit codes: a lane has both quads of 16 bytes, and a warp two blocks; 8-bit ones: one of each.
    constexpr int kTogether = Bits == 8 ? 1 : 2;
    const int quad = Bits == 8 ? lane / 4 : lane % 16 / 4, half = Bits == 8 ? 0 : lane / 16;
    const T *rows[M];
#pragma unroll
    for (int m = 0; m < M; ++m) rows[m] = x + (m < inputs ? m : 0) * part.columns;
    float sums[4][M];
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int m = 0; m < M; ++m) sums[k][m] = 0;
#pragma unroll(M == 1 ? 4 : 2)
    for (int b = warp * kTogether + half; b < blocks; b += warps * kTogether) {
        const u8 *block = codes + b * block_bytes(part);
        Factors factors;
        fetch_factors<S>(part, factors_at, b, four, quad >= 4, factors);
        multiply_quad<Bits, S, M>(block, four, quad, rows, b * kBlockColumns, factors, table, sums);
        if (Bits < 8) {
            if (Bits == 6) fetch_factors<S>(part, factors_at, b, four, true, factors);
            multiply_quad<Bits, S, M>(block, four, quad + 4, rows, b * kBlockColumns, factors, table, sums);
        }
    }
    // Lanes with the same rows, then the warps.
    TG_SHARED(float, parts);  // [warps, M, 16]
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int m = 0; m < M; ++m) {
            float found = sums[k][m];
            for (int lanes = 4; lanes < kLanes; lanes *= 2)
                found += __shfl_xor_sync(kAllLanes, found, lanes);
            if (lane < 4) parts[(warp * M + m) * kTileRows + 4 * four + k] = found;
        }
    __syncthreads();
    write_tile<M>(parts, warps, part, tile, inputs, bias, sum, out_type, out, stride);
}

// With 16-bit inputs codes are multiplied by the tensor units. A code less its offset is a small whole number,
// which the type holds exactly, so only the order of the sums differs. A warp has a block of 16 rows and 32
// columns: lane (pair, quad) rows 2 · pair and one more, columns 4 · quad … + 3 and 16 further on, which is
// how the units want them when rows and columns are numbered suitably. kBlocksAhead blocks are on their way
// while as many are multiplied.

constexpr int kBlocksAhead = 4;

template <int Bits, int S>
struct Raw {
    u32 codes[Bits == 4 ? 2 : Bits == 6 ? 6 : 4];
    u32 factors[S == kPlain ? 1 : S == kNested ? 4 : S == kHalved ? 3 : 2];
};

/// Divides numbers below 65,536 by one such number.
struct Divider {
    u32 by, magic;
    __device__ explicit Divider(u32 by) : by(by), magic(by > 1 ? 0xffffffffu / by + 1 : 0) {}
    __device__ int operator()(int n) const { return by > 1 ? int(__umulhi(u32(n), magic)) : n; }
};

/// Blocks from … + kBlocksAhead - 1 of a tile, `from` a multiple of that; zeros behind the last.
template <int Bits, int S>
__device__ __forceinline__ void fetch_blocks(const u8 *codes, const u8 *factors, int blocks,
                                             const Divider &groups, int from, Raw<Bits, S> (&raw)[kBlocksAhead]) {
    constexpr int kBytes = kTileRows * kBlockColumns / 8 * Bits;
    const int lane = int(threadIdx.x) % kLanes, pair = lane / 4, quad = lane % 4;
    const u8 *const whole_block = codes + i64(from) * kBytes + 8 * pair, *const own_quad = whole_block + 64 * quad;
    const u8 *const inner = factors + (S == kNested ? 64 : 32) * i64((blocks + 7) / 8) + 32 * i64(from) + 2 * pair;
    factors += 4 * pair;
#pragma unroll
    for (int u = 0; u < kBlocksAhead; ++u) {
        const bool there = from + u < blocks;
        u32 *const c = raw[u].codes, *const f = raw[u].factors;
        const u8 *const block = whole_block + u * kBytes, *const quads = own_quad + u * kBytes;
        stream_words(quads, there, c[0], c[1]);
        if (Bits == 8) stream_words(quads + 256, there, c[2], c[3]);
        if (Bits == 5 || Bits == 6) stream_words(block + 256, there, c[2], c[3]);
        if (Bits == 6) stream_words(block + 320, there, c[4], c[5]);
        switch (S) {
        case kPlain: f[0] = stream_word(factors + 32 * i64(from) + 32 * u, there); break;
        case kMinimum:
            f[0] = stream_word(factors + 64 * i64(from) + 64 * u, there);
            f[1] = stream_word(factors + 64 * i64(from) + 64 * u + 32, there);
            break;
        case kNested:
            f[0] = stream_word(factors + 64 * i64(from / 8), there);
            f[1] = stream_word(factors + 64 * i64(from / 8) + 32, there);
            f[2] = stream_half(inner + 32 * u, there);
            f[3] = stream_half(inner + 32 * u + 16, there);
            break;
        case kHalved:
            f[0] = stream_word(factors + 32 * i64(from / 8), there);
            f[1] = stream_half(inner + 32 * u, there);
            f[2] = stream_half(inner + 32 * u + 16, there);
            break;
        case kZeros: {
            const u8 *const own = factors + 48 * i64(groups(from + u));
            f[0] = stream_word(own, there);
            f[1] = stream_half(own + 32 - 2 * pair, there);
            break;
        }
        case kRow: stream_words(factors + 4 * pair, there, f[0], f[1]); break;
        case kFloat8: stream_words(factors + 64 * i64(groups(from + u)) + 4 * pair, there, f[0], f[1]); break;
        }
    }
}

/// Of the lane's two rows, for the block's first or second 16 columns: value = scale · (code - offset) + minimum.
template <int S>
__device__ __forceinline__ void two_factors(const Part &part, const u32 *raw, bool second, float (&scale)[2],
                                            float (&offset)[2], float (&minimum)[2]) {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const float first = half_value(u16(raw[0] >> (16 * k)));
        minimum[k] = 0;
        offset[k] = float(part.offset);
        switch (S) {
        case kPlain: scale[k] = first; break;
        case kMinimum:
            scale[k] = first;
            offset[k] = 0;
            minimum[k] = half_value(u16(raw[1] >> (16 * k)));
            break;
        case kNested:
            scale[k] = first * float(raw[2] >> (8 * k) & 255);
            offset[k] = 0;
            minimum[k] = -half_value(u16(raw[1] >> (16 * k))) * float(raw[3] >> (8 * k) & 255);
            break;
        case kHalved:
            scale[k] = first * float(static_cast<signed char>(raw[second ? 2 : 1] >> (8 * k)));
            offset[k] = 32;
            break;
        case kZeros:
            scale[k] = first;
            offset[k] += float(raw[1] >> (8 * k) & 255);
            break;
        case kRow: scale[k] = __int_as_float(int(raw[k])) * part.table[0]; break;
        case kFloat8: scale[k] = __int_as_float(int(raw[k])) * 256; break;
        }
    }
}

/// Two numbers side by side, the first one low.
template <typename T>
__device__ __forceinline__ u32 pack_two(float low, float high) {
    return u32(narrow<T>(low).bits) | u32(narrow<T>(high).bits) << 16;
}

/// Bytes 0 and 2 of `codes` less `offset`.
template <int Bits, typename T>
__device__ __forceinline__ u32 two_codes(u32 codes, float offset) {
#ifndef TORCHGATE_EMULATED
    // 128 or 1024 and the code is a number whose last bits are the code's.
    u32 two;
    if (kIsHalf<T>) {
        const u32 less = pack_two<T>(-1024 - offset, -1024 - offset);
        asm("lop3.b32 %0, %1, 0x00ff00ff, %2, 0xea; add.rn.f16x2 %0, %0, %3;"
            : "=&r"(two)
            : "r"(codes), "r"(0x64006400u), "r"(less));
        return two;
    }
    if (Bits < 8) {
        const u32 less = pack_two<T>(-128 - offset, -128 - offset);
        asm("lop3.b32 %0, %1, 0x00ff00ff, %2, 0xea; fma.rn.bf16x2 %0, %0, %3, %4;"
            : "=&r"(two)
            : "r"(codes), "r"(0x43004300u), "r"(0x3f803f80u), "r"(less));
        return two;
    }
#endif
    return pack_two<T>(shifted(codes, 0, offset), shifted(codes, 2, offset));
}

/// The lane's codes of 16 columns as the tensor units want them.
template <int Bits, int S, typename T>
__device__ __forceinline__ void fragment(const Raw<Bits, S> &raw, int half, const float (&offset)[2],
                                         u32 (&a)[4]) {
    const int quad = int(threadIdx.x) % 4;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        u32 codes = Bits == 8 ? raw.codes[2 * half + k] : raw.codes[k] >> (4 * half) & 0x0f0f0f0fu;
        if (Bits == 5) codes |= (raw.codes[2 + k] >> (quad + 4 * half) & 0x01010101u) << 4;
        if (Bits == 6) codes |= (raw.codes[(2 + 2 * half + k) % 6] >> (2 * quad) & 0x03030303u) << 4;
        if (S == kFloat8) {
            float values[4];
            float8_values(codes, values);
            a[k] = pack_two<T>(values[0], values[2]);
            a[2 + k] = pack_two<T>(values[1], values[3]);
        } else {
            a[k] = two_codes<Bits, T>(codes, offset[k]);
            a[2 + k] = two_codes<Bits, T>(codes >> 8, offset[k]);
        }
    }
}

/// out[m][first + row] = x[m] · row + bias + sum, for a tile of rows a block and up to 8 · N inputs.
template <int Bits, int S, int N, typename T>
__device__ void coded_product(const Parts &all, int inputs, const T *bias, const T *sum, int out_type,
                              void *out, i64 stride) {
    i64 tile;
    const int own = own_part(all, tile), warps = int(blockDim.x) / kLanes, warp = int(threadIdx.x) / kLanes,
              lane = int(threadIdx.x) % kLanes, pair = lane / 4, quad = lane % 4;
    const Part &part = all.part[own];
    const T *const x = static_cast<const T *>(all.x[own]);
    const u8 *const codes = tile_codes(part, tile), *const factors = tile_factors<S>(part, tile);
    const int columns = int(part.columns), blocks = columns / kBlockColumns;
    const Divider groups(S == kZeros || S == kFloat8 ? u32(part.group) : 1);
    Raw<Bits, S> now[kBlocksAhead] = {}, next[kBlocksAhead];
    int from = warp * kBlocksAhead;
    // A branch, so that the assembler leaves these reads before the wait.
    if (from < blocks) fetch_blocks(codes, factors, blocks, groups, from, now);
    inputs_ready();
    const T *const own_x = x + i64(pair) * columns + 4 * quad;
    bool has[N];
#pragma unroll
    for (int n = 0; n < N; ++n) has[n] = 8 * n + pair < inputs;
    float sums[N][4];
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[n][i] = 0;
    for (; from < blocks; from += warps * kBlocksAhead) {
        fetch_blocks(codes, factors, blocks, groups, from + warps * kBlocksAhead, next);
        const T *const here = own_x + i64(from) * kBlockColumns;
#pragma unroll
        for (int u = 0; u < kBlocksAhead; ++u) {
            // Columns 4 · quad … + 3 of each half, as the codes lie: even ones, then odd ones.
            u32 in[2][N][2];
#pragma unroll
            for (int h = 0; h < 2; ++h)
#pragma unroll
                for (int n = 0; n < N; ++n) {
                    Pack<u32, 2> four{};
                    if (has[n] && from + u < blocks) {
                        four = read_pack<u32, 2>(here + i64(8 * n) * columns + u * kBlockColumns + 16 * h);
                    }
                    in[h][n][0] = __byte_perm(four.at[0], four.at[1], 0x5410u);
                    in[h][n][1] = __byte_perm(four.at[0], four.at[1], 0x7632u);
                }
            float scale[2], offset[2], minimum[2], dots[N][4];
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                two_factors<S>(part, now[u].factors, h == 1, scale, offset, minimum);
                u32 a[4];
                fragment<Bits, S, T>(now[u], h, offset, a);
#pragma unroll
                for (int n = 0; n < N; ++n) {
#pragma unroll
                    for (int i = 0; i < 4 && (h == 0 || S == kHalved); ++i) dots[n][i] = 0;
                    multiply_tiles(a, in[h][n], dots[n], T{});
#pragma unroll
                    for (int i = 0; i < 4 && (h == 1 || S == kHalved); ++i) sums[n][i] += scale[i / 2] * dots[n][i];
                }
            }
            if (S != kMinimum && S != kNested) continue;
            // The inputs' sums: products with ones.
            const u32 one = pack_two<T>(1, 1), ones[4] = {one, one, one, one};
#pragma unroll
            for (int n = 0; n < N; ++n) {
                float totals[4] = {0, 0, 0, 0};
                multiply_tiles(ones, in[0][n], totals, T{});
                multiply_tiles(ones, in[1][n], totals, T{});
#pragma unroll
                for (int i = 0; i < 4; ++i) sums[n][i] += minimum[i / 2] * totals[i];
            }
        }
#pragma unroll
        for (int u = 0; u < kBlocksAhead; ++u) now[u] = next[u];
    }
    TG_SHARED(float, found);  // [warps, 8 · N, 16]
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            found[(warp * 8 * N + 8 * n + 2 * quad + i % 2) * kTileRows + 2 * pair + i / 2] = sums[n][i];
        }
    __syncthreads();
    write_tile<8 * N>(found, warps, part, tile, inputs, bias, sum, out_type, out, stride);
}

#define TG_PRODUCT(T, suffix, bits, scales, M, ...)                                                          \
    TG_EARLY_KERNEL(256, packed_gemv_##bits##scales##_##M##_##suffix,                                        \
                    (TG_BY_VALUE Parts parts, int inputs, const T *bias, const T *sum, int out_type,         \
                     void *out, i64 stride),                                                                 \
                    __VA_ARGS__(parts, inputs, bias, sum, out_type, out, stride))
#define TG_BY_LANES(T, suffix, bits, scales)                                                                 \
    TG_PRODUCT(T, suffix, bits, scales, 1, packed_gemv<bits, scales, 1, T>)                                  \
    TG_PRODUCT(T, suffix, bits, scales, 4, packed_gemv<bits, scales, 4, T>)                                  \
    TG_PRODUCT(T, suffix, bits, scales, 8, packed_gemv<bits, scales, 8, T>)                                  \
    TG_ROWS(T, suffix, bits, scales)
#define TG_BY_TENSORS(T, suffix, bits, scales)                                                               \
    TG_PRODUCT(T, suffix, bits, scales, 8, coded_product<bits, scales, 1, T>)                                \
    TG_PRODUCT(T, suffix, bits, scales, 16, coded_product<bits, scales, 2, T>)                               \
    TG_ROWS(T, suffix, bits, scales)
#define TG_ROWS(T, suffix, bits, scales)                                                                     \
    TG_KERNEL(256, unpack_##bits##scales##_##suffix, (TG_BY_VALUE Part part, i64 row, i64 rows, T * out),    \
              unpack<bits, scales>(part, row, rows, out))                                                    \
    TG_KERNEL(256, unpack_rows_##bits##scales##_##suffix, (TG_BY_VALUE Part part, const int *ids, T *out),   \
              unpack_rows<bits, scales>(part, ids, out))
#define TG_WEIGHTS(make, T, suffix)                                                                          \
    TG_BY_LANES(T, suffix, 4, kTable)                                                                        \
    make(T, suffix, 4, kPlain) make(T, suffix, 4, kMinimum) make(T, suffix, 4, kNested)                      \
        make(T, suffix, 4, kZeros) make(T, suffix, 5, kPlain) make(T, suffix, 5, kMinimum)                   \
            make(T, suffix, 5, kNested) make(T, suffix, 6, kHalved) make(T, suffix, 8, kPlain)               \
                make(T, suffix, 8, kZeros) make(T, suffix, 8, kRow) make(T, suffix, 8, kFloat8)
#define TG_WIDE_WEIGHTS(T, suffix) TG_WEIGHTS(TG_BY_LANES, T, suffix)
#define TG_NARROW_WEIGHTS(T, suffix) TG_WEIGHTS(TG_BY_TENSORS, T, suffix)
// TG_EACH_TYPE(…), by two ways.
TG_FLOAT32(TG_WIDE_WEIGHTS)
TG_BFLOAT16(TG_NARROW_WEIGHTS)
TG_FLOAT16(TG_NARROW_WEIGHTS)
