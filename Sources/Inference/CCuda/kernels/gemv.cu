// Products of 1 to 8 rows with a dense weight [N, K]: memory is the bound, so each weight is read once, 16
// bytes at a time. A warp has two of the weight's rows; its lanes have the columns in turn. Sums are float32,
// in an order that K alone decides.

template <typename T, int M>
__device__ void gemv(const T *x, int inputs, const T *w, const T *bias, T *out, int n, int k) {
    constexpr int N = kPack<T>, R = 2;
    const int warps = int(blockDim.x) / kLanes, lane = int(threadIdx.x) % kLanes;
    const i64 first = (i64(blockIdx.x) * warps + threadIdx.x / kLanes) * R;
    if (first >= n) return;
    const bool whole = aligned(x) && aligned(w) && k % N == 0;
    float sums[R][M];
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
        for (int m = 0; m < M; ++m) sums[r][m] = 0;
    const T *rows[R];
#pragma unroll
    for (int r = 0; r < R; ++r) rows[r] = w + min(first + r, i64(n) - 1) * k;
#pragma unroll(M > 4 ? 2 : 4)
    for (int at = lane * N; at < k; at += kLanes * N) {
        float weight[R][N];
#pragma unroll
        for (int r = 0; r < R; ++r) load(rows[r] + at, k - at, whole, weight[r]);
#pragma unroll
        for (int m = 0; m < M; ++m) {
            float in[N];
            load(x + i64(m < inputs ? m : 0) * k + at, k - at, whole, in);
#pragma unroll
            for (int r = 0; r < R; ++r)
#pragma unroll
                for (int i = 0; i < N; ++i) sums[r][m] += in[i] * weight[r][i];
        }
    }
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
        for (int m = 0; m < M; ++m) {
            const float sum = warp_sum(sums[r][m]);
            if (lane != 0 || m >= inputs || first + r >= n) continue;
            out[i64(m) * n + first + r] = narrow<T>(bias ? sum + widen(bias[first + r]) : sum);
        }
}

#define TG_DENSE_GEMV(T, suffix, M)                                                                          \
    TG_KERNEL(256, gemv_##M##_##suffix,                                                                      \
              (const T *x, int inputs, const T *w, const T *bias, T *out, int n, int k),                     \
              gemv<T, M>(x, inputs, w, bias, out, n, k))
#define TG_DENSE_GEMVS(T, suffix)                                                                            \
    TG_DENSE_GEMV(T, suffix, 1)                                                                              \
    TG_DENSE_GEMV(T, suffix, 2) TG_DENSE_GEMV(T, suffix, 4) TG_DENSE_GEMV(T, suffix, 8)
TG_EACH_TYPE(TG_DENSE_GEMVS)
