// Linear attention that remembers sums in place of keys and values (BDH), and the rotation of its queries.
//
// As CTorch/recurrence.inl: positions in blocks of 16 from 0; a row reads the sums of the blocks before its
// own and the rows before it in its block; a full block enters the sums. Blocks of threads have a run and 32
// columns of the values, and go through the run's blocks in order. What new rows leave in the run's open
// block is written by linear_attention_keep afterwards, as all columns read what lay there. float32
// throughout.

/// As RecurrenceRow of kernels.hpp.
struct Run {
    float *sums, *queries, *values;
    i64 start, count, offset;
};

constexpr int kOpen = 16;

/// The row of `position`: of this step's, or one that the run kept.
__device__ __forceinline__ const float *run_row(const Run &run, const float *fresh, const float *kept,
                                                i64 position, i64 columns) {
    return position >= run.start ? fresh + (run.offset + position - run.start) * columns
                                 : kept + position % kOpen * columns;
}

/// Column blockIdx.x · 32 + lane of the answers of run blockIdx.y; warps have widths of 32 in turn.
__device__ void recall_run(const float *queries, const float *values, int width, int dim, const Run *runs,
                           float *out) {
    __shared__ float weights[kOpen][kOpen];
    TG_SHARED(float, room);  // a tile of queries [16, 32] a warp, then sums [16, 32] a warp
    const Run run = runs[blockIdx.y];
    const int warps = int(blockDim.x) / kLanes, warp = int(threadIdx.x) / kLanes,
              lane = int(threadIdx.x) % kLanes;
    const int column = int(blockIdx.x) * kLanes + lane;
    const bool there = column < dim;
    float *tile = room + warp * kOpen * kLanes, *parts = room + warps * kOpen * kLanes;
    const i64 end = run.start + run.count;
    for (i64 base = run.start / kOpen * kOpen; base < end; base += kOpen) {
        const int first = int(max(run.start, base) - base), last = int(min(end - base, i64(kOpen)));
        const bool opens = base == 0, fills = last == kOpen;
        for (int pair = warp; pair < (last - first) * kOpen; pair += warps) {
            const int row = first + pair / kOpen, before = pair % kOpen;
            if (before >= row) continue;
            const float *a = run_row(run, queries, run.queries, base + row, width);
            const float *b = run_row(run, queries, run.queries, base + before, width);
            float dot = 0;
            for (int n = lane; n < width; n += kLanes) dot += a[n] * b[n];
            dot = warp_sum(dot);
            if (lane == 0) weights[row][before] = dot;
        }
        float value[kOpen], recalled[kOpen];
#pragma unroll
        for (int r = 0; r < kOpen; ++r) {
            value[r] = r < last && there ? run_row(run, values, run.values, base + r, dim)[column] : 0.0f;
            recalled[r] = 0;
        }
        for (int from = warp * kLanes; from < width && (fills || !opens); from += warps * kLanes) {
            bool any = false;
            __syncwarp();
#pragma unroll
            for (int r = 0; r < kOpen; ++r) {
                const bool read = r < last && (fills || r >= first) && from + lane < width;
                const float q =
                    read ? run_row(run, queries, run.queries, base + r, width)[from + lane] : 0.0f;
                tile[r * kLanes + lane] = q;
                any |= q != 0;
            }
            // Sums of the first block are written whole: nothing has cleared them.
            u32 open = __ballot_sync(kAllLanes, (any || (opens && fills)) && from + lane < width);
            __syncwarp();
            for (; open != 0; open &= open - 1) {
                const int n = __ffs(int(open)) - 1;
                if (!there) continue;
                float *at = run.sums + i64(from + n) * dim + column;
                float sum = opens ? 0.0f : *at;
#pragma unroll
                for (int r = 0; r < kOpen; ++r) recalled[r] += tile[r * kLanes + n] * sum;
                if (!fills) continue;
#pragma unroll
                for (int r = 0; r < kOpen; ++r) sum += tile[r * kLanes + n] * value[r];
                *at = sum;
            }
        }
#pragma unroll
        for (int r = 0; r < kOpen; ++r) parts[(warp * kOpen + r) * kLanes + lane] = recalled[r];
        __syncthreads();
        for (int r = first + warp; r < last; r += warps) {
            float sum = 0;
            for (int w = 0; w < warps; ++w) sum += parts[(w * kOpen + r) * kLanes + lane];
#pragma unroll
            for (int before = 0; before < kOpen; ++before) {
                if (before < r) sum += weights[r][before] * value[before];
            }
            if (there) out[(run.offset + base + r - run.start) * dim + column] = sum;
        }
        __syncthreads();
    }
}

/// The rows of the block that stays open, into the run: row blockIdx.x of it, run blockIdx.y.
__device__ void keep_run(const float *queries, const float *values, int width, int dim, const Run *runs) {
    const Run run = runs[blockIdx.y];
    const i64 end = run.start + run.count, position = end / kOpen * kOpen + blockIdx.x;
    if (position < run.start || position >= end) return;
    const i64 row = run.offset + position - run.start;
    copy_row(queries + row * width, run.queries + i64(blockIdx.x) * width, width);
    copy_row(values + row * dim, run.values + i64(blockIdx.x) * dim, dim);
}

/// Pairs of neighbours turned; a thread a pair, blocks along y where a row has more.
__device__ void turn_neighbours(const float *x, const float *angles, int columns, float *out) {
    const int pair = int(blockIdx.y * blockDim.x + threadIdx.x), half = columns / 2;
    if (pair >= half) return;
    const i64 row = i64(blockIdx.x) * columns;
    const float cosine = angles[row + pair], sine = angles[row + half + pair];
    const float a = x[row + 2 * pair], b = x[row + 2 * pair + 1];
    out[row + 2 * pair] = a * cosine - b * sine;
    out[row + 2 * pair + 1] = b * cosine + a * sine;
}

__device__ void angles_of(const float *cycles, int pairs, const int *positions, float *out) {
    const int pair = int(blockIdx.y * blockDim.x + threadIdx.x);
    if (pair >= pairs) return;
    const float turns = __fmul_rn(float(positions[blockIdx.x]), cycles[pair]);
    const float angle = (turns - floorf(turns)) * 6.2831853071795864f;
    out += i64(blockIdx.x) * 2 * pairs;
    out[pair] = cosf(angle);
    out[pairs + pair] = sinf(angle);
}

TG_KERNEL(256, linear_attention,
          (const float *queries, const float *values, int width, int dim, const Run *runs, float *out),
          recall_run(queries, values, width, dim, runs, out))
TG_KERNEL(256, linear_attention_keep,
          (const float *queries, const float *values, int width, int dim, const Run *runs),
          keep_run(queries, values, width, dim, runs))
TG_KERNEL(256, turn_pairs, (const float *x, const float *angles, int columns, float *out),
          turn_neighbours(x, angles, columns, out))
TG_KERNEL(256, pair_angles, (const float *cycles, int pairs, const int *positions, float *out),
          angles_of(cycles, pairs, positions, out))
