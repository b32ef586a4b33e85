// Bicubic resize with antialiasing in integers.
//
// 1. Weights are computed and normalised in double and rounded, half away from zero, to int16 at the largest
//    precision (at most 22 bits) that keeps the largest of them below 2^15.
// 2. The horizontal pass comes first and is rounded and clamped to 0…255; then the vertical one. A direction
//    whose size does not change is left out.
// 3. Every tap is an exact integer product, so the order of additions does not matter and the compiler may
//    vectorise as it likes.

#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int32_t *first;    // first input of each output
    int32_t *count;    // taps of each output
    int16_t *weights;  // taps * stride
    int32_t stride;
    int precision;
} kernel;

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    return 0.0;
}

static void kernel_free(kernel *k) {
    free(k->first);
    free(k->count);
    free(k->weights);
    memset(k, 0, sizeof *k);
}

static int kernel_make(kernel *k, int32_t from, int32_t to) {
    const double scale = (double)from / (double)to;
    const double support = scale >= 1.0 ? 2.0 * scale : 2.0;
    const double inverse = scale >= 1.0 ? 1.0 / scale : 1.0;
    k->stride = (int32_t)ceil(support) * 2 + 1;
    const size_t taps = (size_t)k->stride * (size_t)to;
    k->first = calloc((size_t)to, sizeof *k->first);
    k->count = calloc((size_t)to, sizeof *k->count);
    k->weights = calloc(taps, sizeof *k->weights);
    double *exact = calloc(taps, sizeof *exact);
    if (!k->first || !k->count || !k->weights || !exact) {
        free(exact);
        kernel_free(k);
        return -1;
    }
    double largest = 0.0;
    for (int32_t i = 0; i < to; i++) {
        const double center = scale * (i + 0.5);
        int64_t low = (int64_t)(center - support + 0.5);
        int64_t high = (int64_t)(center + support + 0.5);
        if (low < 0) low = 0;
        if (high > from) high = from;
        int64_t size = high - low;
        if (size < 0) size = 0;
        if (size > k->stride) size = k->stride;
        double *w = exact + (size_t)i * (size_t)k->stride;
        double total = 0.0;
        for (int64_t j = 0; j < size; j++) {
            w[j] = cubic(((double)(j + low) - center + 0.5) * inverse);
            total += w[j];
        }
        for (int64_t j = 0; j < size; j++) {
            if (total != 0.0) w[j] /= total;
            if (w[j] > largest) largest = w[j];
        }
        k->first[i] = (int32_t)low;
        k->count[i] = (int32_t)size;
    }
    k->precision = 0;
    while (k->precision < 22 && (int)(0.5 + largest * (double)(1 << (k->precision + 1))) < 1 << 15)
        k->precision++;
    const double unit = (double)(1 << k->precision);
    for (size_t t = 0; t < taps; t++)
        k->weights[t] = (int16_t)(exact[t] < 0 ? exact[t] * unit - 0.5 : exact[t] * unit + 0.5);
    free(exact);
    return 0;
}

// On x86-64 both passes exist for AVX2 too; the loader chooses.
#if defined(__x86_64__) && defined(__ELF__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

static inline uint8_t clamp(int32_t sum, int precision) {
    const int32_t value = sum >> precision;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

WIDE static void horizontal(const uint8_t *in, uint8_t *out, int32_t from, int32_t to, int64_t rows,
                       const kernel *k) {
    const int32_t half = 1 << (k->precision - 1);
    for (int64_t y = 0; y < rows; y++) {
        const uint8_t *row = in + y * from * 3;
        uint8_t *o = out + y * to * 3;
        for (int32_t x = 0; x < to; x++, o += 3) {
            const uint8_t *p = row + 3 * (int64_t)k->first[x];
            const int16_t *w = k->weights + (int64_t)x * k->stride;
            const int32_t taps = k->count[x];
            int32_t r = half, g = half, b = half;
            for (int32_t j = 0; j < taps; j++, p += 3) {
                r += w[j] * p[0];
                g += w[j] * p[1];
                b += w[j] * p[2];
            }
            o[0] = clamp(r, k->precision);
            o[1] = clamp(g, k->precision);
            o[2] = clamp(b, k->precision);
        }
    }
}

// One output row at a time: sums over whole rows run along memory.
WIDE static void vertical(const uint8_t *in, uint8_t *out, int64_t bytes, int32_t to, const kernel *k,
                     int32_t *restrict sums) {
    const int32_t half = 1 << (k->precision - 1);
    for (int32_t y = 0; y < to; y++) {
        const int16_t *w = k->weights + (int64_t)y * k->stride;
        for (int64_t x = 0; x < bytes; x++) sums[x] = half;
        for (int32_t j = 0; j < k->count[y]; j++) {
            const uint8_t *restrict row = in + (int64_t)(k->first[y] + j) * bytes;
            const int32_t weight = w[j];
            for (int64_t x = 0; x < bytes; x++) sums[x] += weight * row[x];
        }
        uint8_t *restrict o = out + (int64_t)y * bytes;
        for (int64_t x = 0; x < bytes; x++) o[x] = clamp(sums[x], k->precision);
    }
}

int tg_resize(const tg_picture *from, uint8_t *to, int32_t to_width, int32_t to_height,
              tg_media_error *error) {
    if (to_width <= 0 || to_height <= 0)
        return tg_fail(error, TG_MEDIA_INVALID, "a target of %dx%d pixels", to_width, to_height);
    const int across = to_width != from->width, down = to_height != from->height;
    if (!across && !down) {
        memcpy(to, from->rgb, (size_t)to_width * (size_t)to_height * 3);
        return TG_MEDIA_OK;
    }
    kernel columns = {0}, rows = {0};
    uint8_t *middle = NULL;
    int32_t *sums = NULL;
    int code = TG_MEDIA_MEMORY;
    if (across && kernel_make(&columns, from->width, to_width)) goto out;
    if (down && kernel_make(&rows, from->height, to_height)) goto out;
    if (across && down && !(middle = malloc((size_t)to_width * (size_t)from->height * 3))) goto out;
    if (down && !(sums = malloc((size_t)to_width * 3 * sizeof *sums))) goto out;
    if (across) horizontal(from->rgb, down ? middle : to, from->width, to_width, from->height, &columns);
    if (down) vertical(across ? middle : from->rgb, to, (int64_t)to_width * 3, to_height, &rows, sums);
    code = TG_MEDIA_OK;
out:
    kernel_free(&columns);
    kernel_free(&rows);
    free(middle);
    free(sums);
    return code ? tg_fail(error, code, "not enough memory to resize to %dx%d", to_width, to_height) : code;
}
