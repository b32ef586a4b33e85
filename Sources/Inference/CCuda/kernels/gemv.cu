// Products of 1 to 4 rows with a dense weight [N, K], and what stands around them in a decoder.
//
// Memory is the bound: each weight is read once, kUnderWay reads of 16 bytes a thread at a time, the first of
// them before the inputs are ready. A warp has R of the weight's rows; its lanes have the columns in turn. Sums
// are float32, in an order that K alone decides.
//
// Before: inputs are normalised, by each block for itself, while its weights are on their way. Behind: a bias,
// silu(first half) · second half, the sum with a residual. Each is rounded as the operation of its own would.

/// Reads of 16 bytes that a thread has under way.
constexpr int kUnderWay = 8;

/// As ProductAround of kernels.hpp.
struct Around {
    const void *norm, *sum;
    float eps;
    int wide;
};

/// Elements between rows of inputs in shared memory: whole turns of a warp.
template <typename T>
__device__ __forceinline__ int input_pitch(int k) {
    constexpr int kTurn = kLanes * kPack<T>;
    return (k + kTurn - 1) / kTurn * kTurn;
}

/// A norm's weight to shared memory, before the inputs are ready.
template <typename T>
__device__ __forceinline__ void stage_norm(const T *norm, int k, T *to) {
    constexpr int N = kPack<T>;
    if (k % N == 0 && aligned(norm)) {
        for (int i = int(threadIdx.x) * N; i < k; i += int(blockDim.x) * N) copy_async(to + i, norm + i);
    } else {
        for (int i = int(threadIdx.x) * N; i < k; i += int(blockDim.x) * N) {
            for (int j = i; j < min(k, i + N); ++j) to[j] = norm[j];
        }
    }
    copies_end();
}

/// Inputs [inputs, k] to shared memory [M, input_pitch], zeros where there are none, normalised if `norm`.
template <typename T, int M>
__device__ __forceinline__ void stage_inputs(const T *x, int inputs, int k, const T *norm, float eps, T *to) {
    constexpr int N = kPack<T>;
    const int pitch = input_pitch<T>(k), first = int(threadIdx.x) * N, step = int(blockDim.x) * N;
    const bool whole = k % N == 0 && aligned(x);
    // A thread keeps to its own columns until the last barrier.
#pragma unroll
    for (int m = 0; m < M; ++m) {
        for (int i = first; i < pitch; i += step) {
            T *there = to + m * pitch + i;
            if (whole && m < inputs && i < k) {
                copy_async(there, x + i64(m) * k + i);
            } else {
                for (int j = 0; j < N; ++j) {
                    there[j] = m < inputs && i + j < k ? x[i64(m) * k + i + j] : narrow<T>(0.0f);
                }
            }
        }
    }
    copies_end();
    copies_wait<0>();
    if (norm) {
#pragma unroll
        for (int m = 0; m < M; ++m) {
            float squares = 0, values[N];
            for (int i = first; i < k; i += step) {
                spread(read_pack<u32, 4>(to + m * pitch + i), values, T{});
#pragma unroll
                for (int j = 0; j < N; ++j) squares += values[j] * values[j];
            }
            const float factor = 1.0f / sqrtf(block_sum(squares) / float(k) + eps);
            for (int i = first; i < k; i += step) {
                float scale[N];
                spread(read_pack<u32, 4>(to + m * pitch + i), values, T{});
                spread(read_pack<u32, 4>(norm + i), scale, T{});
#pragma unroll
                for (int j = 0; j < N; ++j) {
                    if (i + j < k) to[m * pitch + i + j] = narrow<T>(rounded<T>(values[j] * factor) * scale[j]);
                }
            }
        }
    }
    __syncthreads();
}

/// One block's rows of the product; `Staged`: inputs come through shared memory, as norms and gates need.
template <typename T, int M, int R, bool Staged, bool Gated>
__device__ __forceinline__ void gemv(const T *x, int inputs, const T *w, const T *bias, void *out, int n,
                                     int k, const Around &around) {
    constexpr int N = kPack<T>, U = kUnderWay / R, kTurn = kLanes * N;
    static_assert(!Gated || R == 2);
    const int warps = int(blockDim.x) / kLanes, warp = int(threadIdx.x) / kLanes,
              lane = int(threadIdx.x) % kLanes;
    const i64 group = i64(blockIdx.x) * warps + warp;
    i64 row[R];
#pragma unroll
    for (int r = 0; r < R; ++r) row[r] = Gated ? group + r * (n / 2) : group * R + r;
    const T *rows[R];
#pragma unroll
    for (int r = 0; r < R; ++r) rows[r] = w + min(row[r], i64(n) - 1) * k + lane * N;
    const bool whole = aligned(w) && k % N == 0 && (Staged || aligned(x));
    Pack<u32, 4> weights[R][U];
    const auto fetch = [&](int from) {
#pragma unroll
        for (int u = 0; u < U; ++u)
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const int at = from + u * kTurn;
                weights[r][u] = stream_pack(rows[r] + at, at + lane * N < k);
            }
    };
    if (whole) fetch(0);

    // What a lane writes in the end: row r of the weight for input m.
    constexpr int kOuts = Gated ? M : R * M;
    const int m_own = lane % M, r_own = lane / M;
    const bool writes = lane < kOuts && m_own < inputs && (Gated ? group < n / 2 : group * R + r_own < n);
    const i64 column = Gated ? group : group * R + r_own, place = i64(m_own) * (Gated ? n / 2 : n) + column;
    float added[2] = {0, 0}, before = 0;
    if (bias && writes) {
        added[0] = widen(bias[column]);
        if (Gated) added[1] = widen(bias[column + n / 2]);
    }
    TG_SHARED(T, shared);
    const int pitch = input_pitch<T>(k);
    const T *const norm = static_cast<const T *>(around.norm);
    if (Staged && norm) stage_norm(norm, k, shared + M * pitch);
    inputs_ready();
    if (around.sum && writes) before = widen(static_cast<const T *>(around.sum)[place]);
    if (Staged) stage_inputs<T, M>(x, inputs, k, norm ? shared + M * pitch : nullptr, around.eps, shared);

    float sums[R][M];
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
        for (int m = 0; m < M; ++m) sums[r][m] = 0;
    if (whole) {
        for (int from = 0; from < k;) {
#pragma unroll
            for (int u = 0; u < U; ++u) {
                const int at = from + u * kTurn;
                if (at >= k) break;
                Pack<u32, 4> in[M];
#pragma unroll
                for (int m = 0; m < M; ++m) {
                    if (Staged) in[m] = read_pack<u32, 4>(shared + m * pitch + at + lane * N);
                    else if (m < inputs && at + lane * N < k)
                        in[m] = read_pack<u32, 4>(x + i64(m) * k + at + lane * N);
                    else in[m] = {};
                }
                float weight[R][N];
#pragma unroll
                for (int r = 0; r < R; ++r) spread(weights[r][u], weight[r], T{});
#pragma unroll
                for (int m = 0; m < M; ++m) {
                    float values[N];
                    spread(in[m], values, T{});
#pragma unroll
                    for (int r = 0; r < R; ++r)
#pragma unroll
                        for (int i = 0; i < N; ++i) sums[r][m] += values[i] * weight[r][i];
                }
            }
            from += U * kTurn;
            if (from < k) fetch(from);
        }
    } else {
        for (int i = lane; i < k; i += kLanes) {
#pragma unroll
            for (int m = 0; m < M; ++m) {
                const float value = widen(Staged ? shared[m * pitch + i] : x[i64(m < inputs ? m : 0) * k + i]);
#pragma unroll
                for (int r = 0; r < R; ++r) sums[r][m] += value * widen(rows[r][i - lane * N]);
            }
        }
    }

    float mine = 0, other = 0;
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
        for (int m = 0; m < M; ++m) {
            const float sum = warp_sum(sums[r][m]);
            if (m == m_own && r == (Gated ? 0 : r_own)) mine = sum;
            if (Gated && m == m_own && r == 1) other = sum;
        }
    if (!writes) return;
    mine += added[0];
    if (Gated) {
        const float gate = rounded<T>(mine);
        mine = rounded<T>(gate / (1.0f + expf(-gate))) * rounded<T>(other + added[1]);
    }
    if (around.sum) mine = rounded<T>(mine) + before;
    if (around.wide) static_cast<float *>(out)[place] = rounded<T>(mine);
    else static_cast<T *>(out)[place] = narrow<T>(mine);
}

#define TG_DENSE_GEMV(T, suffix, name, M, R, staged, gated)                                                  \
    TG_EARLY_KERNEL(256, gemv_##name##_##M##_##suffix,                                                       \
                    (const T *x, int inputs, const T *w, const T *bias, void *out, int n, int k,             \
                     TG_BY_VALUE Around around),                                                             \
                    gemv<T, M, R, staged, gated>(x, inputs, w, bias, out, n, k, around))
#define TG_DENSE_GEMVS(T, suffix)                                                                            \
    TG_DENSE_GEMV(T, suffix, plain, 2, 2, false, false)                                                      \
    TG_DENSE_GEMV(T, suffix, plain, 4, 2, false, false)                                                      \
    TG_DENSE_GEMV(T, suffix, staged, 1, 1, true, false)                                                      \
    TG_DENSE_GEMV(T, suffix, staged, 2, 2, true, false)                                                      \
    TG_DENSE_GEMV(T, suffix, staged, 4, 2, true, false)                                                      \
    TG_DENSE_GEMV(T, suffix, gated, 1, 2, true, true)                                                        \
    TG_DENSE_GEMV(T, suffix, gated, 2, 2, true, true)                                                        \
    TG_DENSE_GEMV(T, suffix, gated, 4, 2, true, true)
TG_EACH_TYPE(TG_DENSE_GEMVS)
