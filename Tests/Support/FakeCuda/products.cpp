// cuBLAS and cuBLASLt: dense products of float32, bfloat16 and float16, in the order of libtorch's calls. Their
// own headers are in no package that the build needs.
#include <library_types.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "fake.hpp"

namespace {

float read(const void *values, int type, int64_t i) {
    if (type == CUDA_R_32F) return static_cast<const float *>(values)[i];
    if (type == CUDA_R_16F) return float(static_cast<const _Float16 *>(values)[i]);
    return std::bit_cast<float>(uint32_t(static_cast<const uint16_t *>(values)[i]) << 16);
}
void write(void *values, int type, int64_t i, float value) {
    if (type == CUDA_R_32F) static_cast<float *>(values)[i] = value;
    else if (type == CUDA_R_16F) static_cast<_Float16 *>(values)[i] = _Float16(value);
    else {
        const auto bits = std::bit_cast<uint32_t>(value);
        static_cast<uint16_t *>(values)[i] = uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

/// A column-major matrix.
struct Matrix {
    void *values;
    int type;
    int64_t pitch;
};
/// c [m, n] = alpha · a [m, k] · b [k, n] + beta · c + bias, either of them turned.
struct Product {
    bool turns_a, turns_b;
    int64_t m, n, k;
    float alpha, beta;
    Matrix a, b, c;
    const void *bias;

    void operator()() const {
        std::vector<float> left(size_t(m * k)), right(size_t(n * k));
        for (int64_t i = 0; i < m; ++i)
            for (int64_t l = 0; l < k; ++l)
                left[size_t(i * k + l)] = read(a.values, a.type, turns_a ? l + i * a.pitch : i + l * a.pitch);
        for (int64_t j = 0; j < n; ++j)
            for (int64_t l = 0; l < k; ++l)
                right[size_t(j * k + l)] = read(b.values, b.type, turns_b ? j + l * b.pitch : l + j * b.pitch);
        for (int64_t j = 0; j < n; ++j)
            for (int64_t i = 0; i < m; ++i) {
                float sum = 0;
                for (int64_t l = 0; l < k; ++l) sum += left[size_t(i * k + l)] * right[size_t(j * k + l)];
                sum *= alpha;
                if (beta != 0) sum += beta * read(c.values, c.type, i + j * c.pitch);
                if (bias) sum += read(bias, c.type, i);
                write(c.values, c.type, i + j * c.pitch, sum);
            }
    }
};

struct Handle {
    cudaStream_t stream = nullptr;
};

void *place(const void *values) { return const_cast<void *>(values); }

int started(cudaStream_t stream, const char *what, fake::Work work) {
    fake::count(what);
    return fake::enqueue(stream, what, std::move(work)) == cudaSuccess ? 0 : 13;
}

/// A description, a layout, a preference: what was set.
struct Described {
    std::map<int, std::vector<char>> set;
    int type = 0;
    uint64_t rows = 0, columns = 0;
    int64_t pitch = 0;

    template <typename Value>
    Value get(int name) const {
        Value value{};
        const auto found = set.find(name);
        if (found != set.end()) std::memcpy(&value, found->second.data(), sizeof value);
        return value;
    }
};
// Of cuBLASLt's matmul descriptions.
enum { kTurnsA = 3, kTurnsB = 4, kEpilogue = 7, kBias = 8, kAddsBias = 4 };

}  // namespace

extern "C" {

int cublasCreate_v2(Handle **handle) {
    if (fake::unless_recording("cublasCreate")) return 1;
    return *handle = new Handle, 0;
}
int cublasDestroy_v2(Handle *handle) { return delete handle, 0; }
int cublasSetStream_v2(Handle *handle, cudaStream_t stream) { return handle->stream = stream, 0; }
int cublasSetWorkspace_v2(Handle *, void *, size_t) { return 0; }
int cublasSetMathMode(Handle *, int) { return 0; }
int cublasGetMathMode(Handle *, int *mode) { return *mode = 0; }
int cublasSetPointerMode_v2(Handle *, int) { return 0; }
int cublasGetPointerMode_v2(Handle *, int *mode) { return *mode = 0; }

int cublasSgemm_v2(Handle *handle, int ta, int tb, int m, int n, int k, const float *alpha, const float *a,
                   int lda, const float *b, int ldb, const float *beta, float *c, int ldc) {
    const Matrix left{place(a), CUDA_R_32F, lda}, right{place(b), CUDA_R_32F, ldb}, out{c, CUDA_R_32F, ldc};
    return started(handle->stream, "cublasSgemm",
                   Product{ta != 0, tb != 0, m, n, k, *alpha, *beta, left, right, out, nullptr});
}
int cublasGemmEx(Handle *handle, int ta, int tb, int m, int n, int k, const float *alpha, const void *a,
                 int at, int lda, const void *b, int bt, int ldb, const float *beta, void *c, int ct, int ldc,
                 int, int) {
    const Matrix left{place(a), at, lda}, right{place(b), bt, ldb}, out{c, ct, ldc};
    return started(handle->stream, "cublasGemmEx",
                   Product{ta != 0, tb != 0, m, n, k, *alpha, *beta, left, right, out, nullptr});
}
int cublasSgemmStridedBatched(Handle *handle, int ta, int tb, int m, int n, int k, const float *alpha,
                              const float *a, int lda, long long step_a, const float *b, int ldb,
                              long long step_b, const float *beta, float *c, int ldc, long long step_c,
                              int count) {
    for (int i = 0; i < count; ++i) {
        const int failed = cublasSgemm_v2(handle, ta, tb, m, n, k, alpha, a + i * step_a, lda, b + i * step_b,
                                          ldb, beta, c + i * step_c, ldc);
        if (failed) return failed;
    }
    return 0;
}

size_t cublasLtGetVersion() { return 130100; }
int cublasLtMatmulDescCreate(Described **made, int, int) { return *made = new Described, 0; }
int cublasLtMatmulDescDestroy(Described *one) { return delete one, 0; }
int cublasLtMatmulDescSetAttribute(Described *one, int name, const char *value, size_t bytes) {
    return one->set[name].assign(value, value + bytes), 0;
}
int cublasLtMatrixLayoutCreate(Described **made, int type, uint64_t rows, uint64_t columns, int64_t pitch) {
    return *made = new Described{{}, type, rows, columns, pitch}, 0;
}
int cublasLtMatrixLayoutDestroy(Described *one) { return delete one, 0; }
int cublasLtMatrixLayoutSetAttribute(Described *, int, const void *, size_t) { return 0; }
int cublasLtMatmulPreferenceCreate(Described **made) { return *made = new Described, 0; }
int cublasLtMatmulPreferenceDestroy(Described *one) { return delete one, 0; }
int cublasLtMatmulPreferenceSetAttribute(Described *, int, const void *, size_t) { return 0; }
/// One answer, all zeros: algorithm, bytes of workspace, status.
int cublasLtMatmulAlgoGetHeuristic(void *, Described *, Described *, Described *, Described *, Described *,
                                   Described *, int, void *results, int *count) {
    std::memset(results, 0, 96);
    return *count = 1, 0;
}
int cublasLtMatmul(void *, const Described *how, const float *alpha, const void *a, const Described *at,
                   const void *b, const Described *bt, const float *beta, const void *c, const Described *,
                   void *out, const Described *ot, const void *, void *, size_t, cudaStream_t stream) {
    const bool ta = how->get<int>(kTurnsA), tb = how->get<int>(kTurnsB);
    if (*beta != 0 && c != out) return 15;
    const Matrix left{place(a), at->type, at->pitch}, right{place(b), bt->type, bt->pitch},
        to{out, ot->type, ot->pitch};
    const void *bias = how->get<int>(kEpilogue) == kAddsBias ? how->get<const void *>(kBias) : nullptr;
    return started(stream, "cublasLtMatmul",
                   Product{ta, tb, int64_t(ot->rows), int64_t(ot->columns),
                           int64_t(ta ? at->rows : at->columns), *alpha, *beta, left, right, to, bias});
}
}
