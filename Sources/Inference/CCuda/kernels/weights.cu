// Weights that stay quantised, as CTorch/quant.hpp lays them out: tiles of 16 rows, blocks of 32 columns.
//
// unpack: dense rows for a matrix product; the bits are those of the CPU's unpack_row. packed_gemv: products
// with 1 to 8 rows. There a block of threads has a tile and its warps have blocks of columns in turn, so that
// a warp reads 512 neighbouring bytes of codes at once, 16 a lane: 4 rows of 4 columns (8 where they have 4
// bits). Inputs are not quantised, unlike the CPU's; sums are float32.

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

constexpr int kTileRows = 16, kBlockColumns = 32;

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
    case kZeros: bytes = (blocks + part.group - 1) / part.group * 48; break;
    case kTable: bytes = (blocks + 1) / 2 * 64; break;
    case kRow: bytes = 64; break;
    case kFloat8: bytes = (blocks + part.group - 1) / part.group * 64; break;
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
        const u8 *own = factors + 48 * (b / part.group);
        halves(own, rows, out.scale);
#pragma unroll
        for (int k = 0; k < 4; ++k) out.offset[k] = float(own[32 + 4 * rows + k]) + float(part.offset);
        break;
    }
    case kRow:
    case kFloat8: {
        const auto four = read_pack<float, 4>(factors + (S == kRow ? 0 : 64 * (b / part.group)) + 16 * rows);
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

/// out[m][first + row] = x[m] · row + bias, for a tile of rows a block and up to M inputs.
template <int Bits, int S, int M, typename T>
__device__ void packed_gemv(const Part &part, const T *x, int inputs, const void *bias, int out_type,
                            void *out, i64 stride) {
    const float *table = table_of<S>(part);
    const int warps = int(blockDim.x) / kLanes, warp = int(threadIdx.x) / kLanes,
              lane = int(threadIdx.x) % kLanes;
    const i64 tile = blockIdx.x;
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
            float sum = sums[k][m];
            for (int lanes = 4; lanes < kLanes; lanes *= 2) sum += __shfl_xor_sync(kAllLanes, sum, lanes);
            if (lane < 4) parts[(warp * M + m) * kTileRows + 4 * four + k] = sum;
        }
    __syncthreads();
    for (int i = int(threadIdx.x); i < M * kTileRows; i += int(blockDim.x)) {
        const int m = i / kTileRows;
        const i64 row = tile * kTileRows + i % kTileRows;
        if (m >= inputs || row >= part.rows) continue;
        float sum = 0;
        for (int w = 0; w < warps; ++w) sum += parts[w * M * kTileRows + i];
        const i64 column = part.first + row, place = m * stride + column;
        switch (out_type) {
        case 0:
            if (bias) sum += static_cast<const float *>(bias)[column];
            static_cast<float *>(out)[place] = sum;
            break;
        case 1:
            if (bias) sum += widen(static_cast<const bf16 *>(bias)[column]);
            static_cast<bf16 *>(out)[place] = narrow<bf16>(sum);
            break;
        default:
            if (bias) sum += widen(static_cast<const f16 *>(bias)[column]);
            static_cast<f16 *>(out)[place] = narrow<f16>(sum);
        }
    }
}

#define TG_GEMV(T, suffix, bits, scales, M)                                                                  \
    TG_KERNEL(256, packed_gemv_##bits##scales##_##M##_##suffix,                                              \
              (TG_BY_VALUE Part part, const T *x, int inputs, const void *bias, int out_type, void *out,     \
               i64 stride),                                                                                  \
              packed_gemv<bits, scales, M>(part, x, inputs, bias, out_type, out, stride))
#define TG_PACKED(T, suffix, bits, scales)                                                                   \
    TG_GEMV(T, suffix, bits, scales, 1)                                                                      \
    TG_GEMV(T, suffix, bits, scales, 4)                                                                      \
    TG_GEMV(T, suffix, bits, scales, 8)                                                                      \
    TG_KERNEL(256, unpack_##bits##scales##_##suffix, (TG_BY_VALUE Part part, i64 row, i64 rows, T * out),    \
              unpack<bits, scales>(part, row, rows, out))                                                    \
    TG_KERNEL(256, unpack_rows_##bits##scales##_##suffix, (TG_BY_VALUE Part part, const int *ids, T *out),   \
              unpack_rows<bits, scales>(part, ids, out))
#define TG_WEIGHTS(T, suffix)                                                                                \
    TG_PACKED(T, suffix, 4, kPlain)                                                                          \
    TG_PACKED(T, suffix, 4, kMinimum)                                                                        \
    TG_PACKED(T, suffix, 4, kNested) TG_PACKED(T, suffix, 4, kZeros) TG_PACKED(T, suffix, 4, kTable)         \
        TG_PACKED(T, suffix, 5, kPlain) TG_PACKED(T, suffix, 5, kMinimum) TG_PACKED(T, suffix, 5, kNested)   \
            TG_PACKED(T, suffix, 6, kHalved) TG_PACKED(T, suffix, 8, kPlain) TG_PACKED(T, suffix, 8, kZeros) \
                TG_PACKED(T, suffix, 8, kRow) TG_PACKED(T, suffix, 8, kFloat8)
TG_EACH_TYPE(TG_WEIGHTS)
