// Norms, rotary positions, gates and element-wise operations on rows [T, D] (CTorch/layers.cpp on the CPU).
//
// A norm has a block a row and keeps the row in registers, so that it is read once. Rounding: a norm's
// factor is applied, rounded, then the weight; rope rounds angles and products unless it is wide.

/// Packs of a row that a thread keeps in registers; what a longer row has more is read again.
constexpr int kHeld = 2;

/// One row's packs as this thread has them: those in registers and those after.
template <typename T>
struct RowPacks {
    static constexpr int N = kPack<T>;
    int count, dim;

    __device__ explicit RowPacks(int dim) : count((dim + N - 1) / N), dim(dim) {}

    /// Calls body(values, i) for each pack; `fetch(values, i)` first where it has no registers or is new.
    template <typename Fetch, typename Body>
    __device__ __forceinline__ void each(float (&held)[kHeld][N], bool fresh, const Fetch &fetch,
                                         const Body &body) const {
#pragma unroll
        for (int k = 0; k < kHeld; ++k) {
            const int i = int(threadIdx.x) + k * int(blockDim.x);
            if (i < count) {
                if (fresh) fetch(held[k], i);
                body(held[k], i);
            }
        }
        for (int i = int(threadIdx.x) + kHeld * int(blockDim.x); i < count; i += int(blockDim.x)) {
            float values[N];
            fetch(values, i);
            body(values, i);
        }
    }
};

/// A row that the block's registers hold, in whole packs: all reads are under way at once, the weight's before the
/// inputs are ready.
template <typename T>
__device__ __forceinline__ void held_rms_norm(const T *x, T *residual, const T *w, T *out, int dim, float eps) {
    constexpr int N = kPack<T>;
    Pack<u32, 4> scales[kHeld] = {}, packs[kHeld], more[kHeld];
    const auto at = [](int k) { return (int(threadIdx.x) + k * int(blockDim.x)) * N; };
    // A branch, so that the assembler leaves these reads before the wait.
    if (dim > 0) {
#pragma unroll
        for (int k = 0; k < kHeld; ++k) scales[k] = stream_pack(w + at(k), at(k) < dim);
    }
    inputs_ready();
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
        packs[k] = more[k] = {};
        if (at(k) < dim) packs[k] = read_pack<u32, 4>(x + at(k));
        if (residual && at(k) < dim) more[k] = read_pack<u32, 4>(residual + at(k));
    }
    float values[kHeld][N], squares = 0;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
        spread(packs[k], values[k], T{});
        if (residual) {
            float added[N];
            spread(more[k], added, T{});
#pragma unroll
            for (int j = 0; j < N; ++j) values[k][j] = rounded<T>(values[k][j] + added[j]);
            if (at(k) < dim) store(residual + at(k), N, true, values[k]);
        }
#pragma unroll
        for (int j = 0; j < N; ++j) squares += values[k][j] * values[k][j];
    }
    const float factor = 1.0f / sqrtf(block_sum(squares) / float(dim) + eps);
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
        float scale[N];
        spread(scales[k], scale, T{});
#pragma unroll
        for (int j = 0; j < N; ++j) values[k][j] = rounded<T>(values[k][j] * factor) * scale[j];
        if (at(k) < dim) store(out + at(k), N, true, values[k]);
    }
}

template <typename T>
__device__ void rms_norm(const T *x, T *residual, const T *w, T *out, int dim, float eps) {
    constexpr int N = kPack<T>;
    const i64 row = i64(blockIdx.x) * dim;
    x += row;
    out += row;
    if (residual) residual += row;
    const bool whole = aligned(x) && aligned(residual) && aligned(w) && aligned(out);
    if (whole && dim % N == 0 && dim <= kHeld * int(blockDim.x) * N) {
        return held_rms_norm(x, residual, w, out, dim, eps);
    }
    inputs_ready();
    const RowPacks<T> packs(dim);
    float held[kHeld][N], squares = 0;
    packs.each(
        held, true, [&](float (&values)[N], int i) { load(x + i * N, dim - i * N, whole, values); },
        [&](float (&values)[N], int i) {
            if (residual) {
                float more[N];
                load(residual + i * N, dim - i * N, whole, more);
#pragma unroll
                for (int j = 0; j < N; ++j) values[j] = rounded<T>(values[j] + more[j]);
                store(residual + i * N, dim - i * N, whole, values);
            }
#pragma unroll
            for (int j = 0; j < N; ++j) squares += values[j] * values[j];
        });
    const float factor = 1.0f / sqrtf(block_sum(squares) / float(dim) + eps);
    const T *again = residual ? residual : x;
    packs.each(
        held, false, [&](float (&values)[N], int i) { load(again + i * N, dim - i * N, whole, values); },
        [&](float (&values)[N], int i) {
            float scale[N];
            load(w + i * N, dim - i * N, whole, scale);
#pragma unroll
            for (int j = 0; j < N; ++j) values[j] = rounded<T>(values[j] * factor) * scale[j];
            store(out + i * N, dim - i * N, whole, values);
        });
}

template <typename T>
__device__ void layer_norm(const T *x, const T *w, const T *bias, T *out, int dim, float eps) {
    constexpr int N = kPack<T>;
    x += i64(blockIdx.x) * dim;
    out += i64(blockIdx.x) * dim;
    const bool whole = aligned(x) && aligned(w) && aligned(bias) && aligned(out);
    const RowPacks<T> packs(dim);
    const auto fetch = [&](float (&values)[N], int i) { load(x + i * N, dim - i * N, whole, values); };
    float held[kHeld][N], total = 0, squares = 0;
    packs.each(held, true, fetch, [&](const float (&values)[N], int) {
#pragma unroll
        for (int j = 0; j < N; ++j) total += values[j];
    });
    const float mean = block_sum(total) / float(dim);
    packs.each(held, false, fetch, [&](const float (&values)[N], int i) {
#pragma unroll
        for (int j = 0; j < N; ++j) {
            const float d = values[j] - mean;
            squares += i * N + j < dim ? d * d : 0.0f;
        }
    });
    const float factor = 1.0f / sqrtf(block_sum(squares) / float(dim) + eps);
    packs.each(held, false, fetch, [&](float (&values)[N], int i) {
        float scale[N], shift[N];
        if (w) load(w + i * N, dim - i * N, whole, scale);
        if (bias) load(bias + i * N, dim - i * N, whole, shift);
#pragma unroll
        for (int j = 0; j < N; ++j) {
            values[j] = (values[j] - mean) * factor;
            if (w) values[j] *= scale[j];
            if (bias) values[j] += shift[j];
        }
        store(out + i * N, dim - i * N, whole, values);
    });
}

/// A warp a head, in place.
template <typename T>
__device__ void head_norm(T *x, i64 items, int stride, int column, int heads, int dim, const T *w,
                          float eps) {
    const i64 item = (i64(blockIdx.x) * blockDim.x + threadIdx.x) / kLanes;
    if (item >= items) return;
    const int lane = int(threadIdx.x) % kLanes;
    T *head = x + item / heads * stride + column + item % heads * dim;
    float squares = 0;
    for (int e = lane; e < dim; e += kLanes) squares += widen(head[e]) * widen(head[e]);
    const float factor = 1.0f / sqrtf(warp_sum(squares) / float(dim) + eps);
    for (int e = lane; e < dim; e += kLanes) {
        head[e] = narrow<T>(rounded<T>(widen(head[e]) * factor) * widen(w[e]));
    }
}

/// A thread a pair; blocks along y where a row has more.
template <typename T>
__device__ void rope(T *x, int stride, int column, int heads, int dim, const float *angles, int table_rows,
                     const int *positions, int wide) {
    const int half = dim / 2, pair = int(blockIdx.y * blockDim.x + threadIdx.x);
    const int position = positions[blockIdx.x];
    if (pair >= heads * half || position < 0 || position >= table_rows) return;
    T *head = x + i64(blockIdx.x) * stride + column + pair / half * dim;
    const int i = pair % half;
    const float *cosines = angles + i64(position) * dim;
    float a = widen(head[i]), b = widen(head[i + half]);
    turn<T>(a, b, cosines[i], cosines[i + half], wide != 0);
    head[i] = narrow<T>(a);
    head[i + half] = narrow<T>(b);
}

/// out = body(a, b) for every element, 16 bytes a thread; b may be null.
template <typename T, typename Body>
__device__ void each(const T *a, const T *b, T *out, i64 count, const Body &body) {
    const i64 at = (i64(blockIdx.x) * blockDim.x + threadIdx.x) * kPack<T>;
    if (at >= count) return;
    const bool whole = aligned(a) && aligned(b) && aligned(out);
    float x[kPack<T>], y[kPack<T>];
    load(a + at, count - at, whole, x);
    if (b) load(b + at, count - at, whole, y);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) x[i] = body(x[i], b ? y[i] : 0.0f);
    store(out + at, count - at, whole, x);
}

/// silu(x[:, :N]) · x[:, N:] for x [T, 2N]; blocks along y are parts of a row.
template <typename T>
__device__ void swiglu(const T *x, T *out, int width) {
    const T *gate = x + i64(blockIdx.x) * 2 * width, *up = gate + width;
    out += i64(blockIdx.x) * width;
    const int at = int(blockIdx.y * blockDim.x + threadIdx.x) * kPack<T>;
    if (at >= width) return;
    const bool whole = aligned(gate) && aligned(up) && aligned(out);
    float g[kPack<T>], u[kPack<T>];
    load(gate + at, width - at, whole, g);
    load(up + at, width - at, whole, u);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) g[i] = rounded<T>(g[i] / (1.0f + expf(-g[i]))) * u[i];
    store(out + at, width - at, whole, g);
}

__device__ __forceinline__ float gelu(float v, bool by_tanh) {
    if (by_tanh) return v / (1.0f + expf(v * (v * v * 0.044715f + 1.0f) * -1.59576912f));
    return 0.5f * v * (1.0f + erff(v * 0.70710678f));
}

template <typename From, typename To>
__device__ void convert(const From *x, To *out, i64 count) {
    constexpr int N = 4;
    const i64 at = (i64(blockIdx.x) * blockDim.x + threadIdx.x) * N;
    if (at + N <= count && aligned(x) && aligned(out)) {
        const auto from = read_pack<From, N>(x + at);
        Pack<To, N> to;
#pragma unroll
        for (int i = 0; i < N; ++i) to.at[i] = narrow<To>(widen(from.at[i]));
        write_pack<To, N>(out + at, to);
    } else {
        for (i64 i = at; i < count && i < at + N; ++i) out[i] = narrow<To>(widen(x[i]));
    }
}

/// Rows of a table by their numbers; one outside it gives zeros.
template <typename T>
__device__ void take_rows(const T *table, i64 table_rows, int columns, const int *rows, T *out) {
    const int row = rows[blockIdx.x];
    const bool inside = row >= 0 && row < table_rows;
    copy_row<T>(inside ? table + i64(row) * columns : nullptr, out + i64(blockIdx.x) * columns, columns);
}

/// A row's columns by their numbers, -1 gives a zero; or the way back. Blocks along y share a row.
template <typename T>
__device__ void take_columns(const T *x, int columns, const int *from, int count, bool back, T *out) {
    const i64 row = blockIdx.x;
    for (int i = int(blockIdx.y * blockDim.x + threadIdx.x); i < count; i += int(gridDim.y * blockDim.x)) {
        const int column = from[i];
        if (!back) out[row * count + i] = column < 0 ? narrow<T>(0) : x[row * columns + column];
        else if (column >= 0) out[row * columns + column] = x[row * count + i];
    }
}

/// Tiles of 32 × 32, a block of 32 × 8 threads each.
template <typename T>
__device__ void transpose(const T *x, int rows, int columns, T *out) {
    __shared__ T tile[32][33];
    const int left = int(blockIdx.x) * 32, top = int(blockIdx.y) * 32;
    const int across = int(threadIdx.x);
    for (int y = int(threadIdx.y); y < 32; y += 8) {
        if (top + y < rows && left + across < columns) {
            tile[y][across] = x[i64(top + y) * columns + left + across];
        }
    }
    __syncthreads();
    for (int y = int(threadIdx.y); y < 32; y += 8) {
        if (left + y < columns && top + across < rows) {
            out[i64(left + y) * rows + top + across] = tile[across][y];
        }
    }
}

/// Sums of `taps` weighted rows, a block each.
__device__ void mix(const float *table, int table_rows, int columns, const int *rows, const float *weights,
                    int taps, float *out) {
    rows += i64(blockIdx.x) * taps;
    weights += i64(blockIdx.x) * taps;
    for (int e = int(threadIdx.x); e < columns; e += int(blockDim.x)) {
        float sum = 0;
        for (int t = 0; t < taps; ++t) {
            if (rows[t] >= 0 && rows[t] < table_rows) sum += table[i64(rows[t]) * columns + e] * weights[t];
        }
        out[i64(blockIdx.x) * columns + e] = sum;
    }
}

#define TG_LAYERS(T, suffix)                                                                                 \
    TG_EARLY_KERNEL(1024, rms_norm_##suffix,                                                                 \
                    (const T *x, T *residual, const T *w, T *out, int dim, float eps),                       \
                    rms_norm(x, residual, w, out, dim, eps))                                                 \
    TG_KERNEL(1024, layer_norm_##suffix,                                                                     \
              (const T *x, const T *w, const T *bias, T *out, int dim, float eps),                           \
              layer_norm(x, w, bias, out, dim, eps))                                                         \
    TG_KERNEL(128, head_norm_##suffix,                                                                       \
              (T * x, i64 items, int stride, int column, int heads, int dim, const T *w, float eps),         \
              head_norm(x, items, stride, column, heads, dim, w, eps))                                       \
    TG_KERNEL(256, rope_##suffix,                                                                            \
              (T * x, int stride, int column, int heads, int dim, const float *angles, int table_rows,       \
               const int *positions, int wide),                                                              \
              rope(x, stride, column, heads, dim, angles, table_rows, positions, wide))                      \
    TG_KERNEL(256, swiglu_##suffix, (const T *x, T *out, int width), swiglu(x, out, width))                  \
    TG_KERNEL(256, gelu_##suffix, (const T *x, T *out, i64 count, int by_tanh),                              \
              each<T>(x, nullptr, out, count, [=](float v, float) { return gelu(v, by_tanh != 0); }))        \
    TG_KERNEL(256, relu_##suffix, (const T *x, T *out, i64 count),                                           \
              each<T>(x, nullptr, out, count, [](float v, float) { return v < 0 ? 0.0f : v; }))              \
    TG_KERNEL(256, add_##suffix, (const T *a, const T *b, T *out, i64 count),                                \
              each<T>(a, b, out, count, [](float x, float y) { return x + y; }))                             \
    TG_KERNEL(256, multiply_##suffix, (const T *a, const T *b, T *out, i64 count),                           \
              each<T>(a, b, out, count, [](float x, float y) { return x * y; }))                             \
    TG_KERNEL(256, take_rows_##suffix,                                                                       \
              (const T *table, i64 table_rows, int columns, const int *rows, T *out),                        \
              take_rows(table, table_rows, columns, rows, out))                                              \
    TG_KERNEL(256, take_columns_##suffix,                                                                    \
              (const T *x, int columns, const int *from, int count, bool back, T *out),                      \
              take_columns(x, columns, from, count, back, out))                                              \
    TG_KERNEL(256, transpose_##suffix, (const T *x, int rows, int columns, T *out),                          \
              transpose(x, rows, columns, out))                                                              \
    TG_KERNEL(256, convert_##suffix##_f32, (const T *x, float *out, i64 count), convert(x, out, count))      \
    TG_KERNEL(256, convert_##suffix##_bf16, (const T *x, bf16 *out, i64 count), convert(x, out, count))      \
    TG_KERNEL(256, convert_##suffix##_f16, (const T *x, f16 *out, i64 count), convert(x, out, count))
TG_EACH_TYPE(TG_LAYERS)

TG_KERNEL(256, mix_rows,
          (const float *table, int table_rows, int columns, const int *rows, const float *weights, int taps,
           float *out),
          mix(table, table_rows, columns, rows, weights, taps, out))
