// Resizing with antialiasing in integers.
//
// 1. Weights are computed and normalised in double and rounded, half away from zero, to int16 at the largest
//    precision (at most 22 bits) that keeps the largest of them below 2^15.
// 2. The horizontal pass comes first and is rounded and clamped to 0…255; then the vertical one. A direction
//    whose size does not change is left out.
// 3. Every tap is an exact integer product, so the order of additions does not matter and the compiler may
//    vectorise as it likes.

#include "internal.h"
#include "together.h"

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

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double sinc(double x) {
    x *= M_PI;
    return x == 0.0 ? 1.0 : sin(x) / x;
}

static double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0; }

// Pixels on either side, and their weights; nearest has one pixel and none beside it.
static const struct {
    double support;
    double (*weight)(double);
} filters[] = {{0.0, NULL}, {3.0, lanczos}, {1.0, triangle}, {2.0, cubic}};

static void kernel_free(kernel *k) {
    free(k->first);
    free(k->count);
    free(k->weights);
    memset(k, 0, sizeof *k);
}

static int kernel_make(kernel *k, int32_t from, int32_t to, tg_resampling resampling) {
    const double scale = (double)from / (double)to;
    const double reach = filters[resampling].support;
    const double support = scale >= 1.0 ? reach * scale : reach;
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
    for (int32_t i = 0; i < to && resampling == TG_NEAREST; i++) {
        // The step is a float, as in at::.
        const int32_t place = (int32_t)floorf((float)((i + 0.5) * (double)((float)from / (float)to)));
        k->first[i] = place < from ? place : from - 1;
        k->count[i] = 1;
        exact[(size_t)i * (size_t)k->stride] = largest = 1.0;
    }
    for (int32_t i = 0; i < to && resampling != TG_NEAREST; i++) {
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
            w[j] = filters[resampling].weight(((double)(j + low) - center + 0.5) * inverse);
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

// A resize in hand; each part is a band of rows.
typedef struct {
    const uint8_t *from;
    uint8_t *middle, *to;
    int32_t width, height, to_width, to_height;
    kernel columns, rows;
    int32_t *sums;  // a row for each band
} resize;

#define BANDS 16

WIDE static void horizontal(void *context, int band) {
    const resize *r = context;
    const kernel *k = &r->columns;
    const int32_t half = 1 << (k->precision - 1);
    const int64_t end = (int64_t)r->height * (band + 1) / BANDS;
    for (int64_t y = (int64_t)r->height * band / BANDS; y < end; y++) {
        const uint8_t *row = r->from + y * r->width * 3;
        uint8_t *o = r->middle + y * r->to_width * 3;
        for (int32_t x = 0; x < r->to_width; x++, o += 3) {
            const uint8_t *p = row + 3 * (int64_t)k->first[x];
            const int16_t *w = k->weights + (int64_t)x * k->stride;
            const int32_t taps = k->count[x];
            int32_t red = half, green = half, blue = half;
            for (int32_t j = 0; j < taps; j++, p += 3) {
                red += w[j] * p[0];
                green += w[j] * p[1];
                blue += w[j] * p[2];
            }
            o[0] = clamp(red, k->precision);
            o[1] = clamp(green, k->precision);
            o[2] = clamp(blue, k->precision);
        }
    }
}

// One output row at a time: sums over whole rows run along memory.
WIDE static void vertical(void *context, int band) {
    const resize *r = context;
    const kernel *k = &r->rows;
    const int32_t half = 1 << (k->precision - 1);
    const int64_t bytes = (int64_t)r->to_width * 3;
    int32_t *restrict sums = r->sums + band * bytes;
    const int32_t end = (int32_t)((int64_t)r->to_height * (band + 1) / BANDS);
    for (int32_t y = (int32_t)((int64_t)r->to_height * band / BANDS); y < end; y++) {
        const int16_t *w = k->weights + (int64_t)y * k->stride;
        for (int64_t x = 0; x < bytes; x++) sums[x] = half;
        for (int32_t j = 0; j < k->count[y]; j++) {
            const uint8_t *restrict row = r->middle + (int64_t)(k->first[y] + j) * bytes;
            const int32_t weight = w[j];
            for (int64_t x = 0; x < bytes; x++) sums[x] += weight * row[x];
        }
        uint8_t *restrict o = r->to + (int64_t)y * bytes;
        for (int64_t x = 0; x < bytes; x++) o[x] = clamp(sums[x], k->precision);
    }
}

int tg_resize(const tg_picture *from, uint8_t *to, int32_t to_width, int32_t to_height,
              tg_resampling resampling, tg_media_error *error) {
    if (to_width <= 0 || to_height <= 0)
        return tg_fail(error, TG_MEDIA_INVALID, "a target of %dx%d pixels", to_width, to_height);
    const int across = to_width != from->width, down = to_height != from->height;
    if (!across && !down) {
        memcpy(to, from->rgb, (size_t)to_width * (size_t)to_height * 3);
        return TG_MEDIA_OK;
    }
    resize r = {.from = from->rgb, .to = to, .width = from->width, .height = from->height,
                .to_width = to_width, .to_height = to_height};
    uint8_t *between = NULL;
    int code = TG_MEDIA_MEMORY;
    if (across && kernel_make(&r.columns, from->width, to_width, resampling)) goto out;
    if (down && kernel_make(&r.rows, from->height, to_height, resampling)) goto out;
    if (across && down && !(between = malloc((size_t)to_width * (size_t)from->height * 3))) goto out;
    if (down && !(r.sums = malloc((size_t)to_width * 3 * BANDS * sizeof *r.sums))) goto out;
    r.middle = between ? between : across ? to : from->rgb;
    if (across) tg_together(horizontal, &r, BANDS);
    if (down) tg_together(vertical, &r, BANDS);
    code = TG_MEDIA_OK;
out:
    kernel_free(&r.columns);
    kernel_free(&r.rows);
    free(between);
    free(r.sums);
    return code ? tg_fail(error, code, "not enough memory to resize to %dx%d", to_width, to_height) : code;
}
