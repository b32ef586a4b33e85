// PNG as most are: not interlaced and sound. libdeflate inflates all rows at once, in half of zlib's time.

#include "inflated.h"

#include <libdeflate.h>

#include <stdlib.h>
#include <string.h>

typedef struct {
    int32_t width, height;
    int bits, kind;      // of a sample; IHDR's colour type
    size_t row, pixel;   // bytes of a row, and from a pixel to the next for filters
    uint8_t palette[768];
    int colours;
} layout;

static int read_header(const uint8_t *b, layout *l) {
    const int bits = b[8], kind = b[9];
    int samples;
    switch (kind) {
        case 0: samples = 1; break;
        case 2: samples = 3; break;
        case 3: samples = 1; break;
        case 4: samples = 2; break;
        case 6: samples = 4; break;
        default: return 0;
    }
    const int is_deep = bits == 8 || (bits == 16 && kind != 3);
    const int is_flat = (kind == 0 || kind == 3) && (bits == 1 || bits == 2 || bits == 4);
    if ((!is_deep && !is_flat) || b[10] || b[11] || b[12]) return 0;
    l->width = (int32_t)tg_be32(b);
    l->height = (int32_t)tg_be32(b + 4);
    l->bits = bits;
    l->kind = kind;
    l->row = ((size_t)l->width * (size_t)(samples * bits) + 7) / 8;
    l->pixel = samples * bits < 8 ? 1 : (size_t)(samples * bits) / 8;
    return 1;
}

static uint8_t paeth(int a, int b, int c) {
    const int pa = abs(b - c), pb = abs(a - c), pc = abs(a + b - 2 * c);
    return (uint8_t)(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
}

// One pixel after the other, as each needs the one before it. The number of bytes is a constant where this is
// inlined, so that a pixel stays in registers.
static inline __attribute__((always_inline)) void by_pixel(uint8_t *restrict row,
                                                           const uint8_t *restrict above, size_t count,
                                                           size_t pixel, int filter) {
    uint8_t left[8] = {0}, corner[8] = {0};
    for (size_t x = 0; x + pixel <= count; x += pixel)
        for (size_t k = 0; k < pixel; k++) {
            const int up = above[x + k];
            int value = row[x + k];
            if (filter == 1) value += left[k];
            else if (filter == 3) value += (left[k] + up) >> 1;
            else value += paeth(left[k], up, corner[k]);
            row[x + k] = left[k] = (uint8_t)value;
            corner[k] = (uint8_t)up;
        }
}

#define EACH_SIZE(filter)                                                                                \
    switch (pixel) {                                                                                     \
        case 1: by_pixel(row, above, count, 1, filter); return 1;                                    \
        case 2: by_pixel(row, above, count, 2, filter); return 1;                                    \
        case 3: by_pixel(row, above, count, 3, filter); return 1;                                    \
        case 4: by_pixel(row, above, count, 4, filter); return 1;                                    \
        case 6: by_pixel(row, above, count, 6, filter); return 1;                                    \
        default: by_pixel(row, above, count, 8, filter); return 1;                                   \
    }

// In place. 0 where there is no such filter.
static int unfilter(int filter, uint8_t *restrict row, const uint8_t *restrict above, size_t count,
                    size_t pixel) {
    switch (filter) {
        case 0: return 1;
        case 1: EACH_SIZE(1)
        case 2:
            for (size_t x = 0; x < count; x++) row[x] = (uint8_t)(row[x] + above[x]);
            return 1;
        case 3: EACH_SIZE(3)
        case 4: EACH_SIZE(4)
        default: return 0;
    }
}

// A row as Pillow converts it, perhaps to a place a little before its own: alpha is dropped, 16 bits keep their high byte, but grey alone saturates.
// 0 where a colour is not in the palette.
static int to_rgb(const layout *l, const uint8_t *in, uint8_t *out) {
    const size_t wide = l->bits == 16 ? 2 : 1;
    const int mask = (1 << l->bits) - 1;
    if (l->kind == 2 && l->bits == 8) {
        memmove(out, in, l->row);
        return 1;
    }
    for (int32_t x = 0; x < l->width; x++, out += 3) {
        if (l->kind == 2 || l->kind == 6) {
            out[0] = in[0];
            out[1] = in[wide];
            out[2] = in[2 * wide];
            in += l->pixel;
            continue;
        }
        int value;
        if (l->bits < 8) {
            const size_t bit = (size_t)x * (size_t)l->bits;
            value = in[bit >> 3] >> (8 - l->bits - (int)(bit & 7)) & mask;
            if (l->kind == 0) value = value * 255 / mask;
        } else {
            value = l->kind != 0 || l->bits == 8 ? in[0] : in[0] ? 255 : in[1];
            in += l->pixel;
        }
        if (l->kind == 3) {
            if (value >= l->colours) return 0;
            memcpy(out, l->palette + 3 * value, 3);
        } else {
            memset(out, value, 3);
        }
    }
    return 1;
}

// Unfilters all rows and makes them the picture: where RGB takes no more room than the rows did, in their place,
// as fresh memory costs more time than the work that is done in it. 0 where a row is damaged.
static int show(const layout *l, uint8_t *raw, tg_picture *picture) {
    const size_t rgb_row = 3 * (size_t)l->width;
    const uint8_t *above = calloc(1, l->row);
    uint8_t *const nothing = (uint8_t *)above;
    int is_good = above != NULL;
    for (int32_t y = 0; is_good && y < l->height; y++) {
        uint8_t *row = raw + (size_t)y * (l->row + 1) + 1;
        is_good = unfilter(row[-1], row, above, l->row, l->pixel);
        // A row is converted once the next one has been unfiltered, which needs it.
        if (is_good && y) is_good = to_rgb(l, above, picture->rgb + (size_t)(y - 1) * rgb_row);
        above = row;
    }
    is_good = is_good && to_rgb(l, above, picture->rgb + (size_t)(l->height - 1) * rgb_row);
    free(nothing);
    return is_good;
}

static int is_type(const uint8_t *type, const char *name) { return memcmp(type, name, 4) == 0; }

// Reads the chunks; all data are put together in `data`. 0 where one of them is damaged or out of place.
static int read_chunks(const uint8_t *bytes, size_t count, layout *l, uint8_t *data, size_t *used) {
    for (size_t at = 8; at < count;) {
        const size_t length = tg_be32(bytes + at);
        const uint8_t *type = bytes + at + 4, *body = type + 4;
        const int is_header = is_type(type, "IHDR"), is_palette = is_type(type, "PLTE");
        const int is_data = is_type(type, "IDAT");
        at += length + 12;
        if (!is_header && !is_palette && !is_data) continue;
        if (libdeflate_crc32(0, type, length + 4) != tg_be32(body + length)) return 0;
        if (is_header && (l->row || length != 13 || !read_header(body, l))) return 0;
        if (is_palette) {
            if (l->colours || *used || length % 3 || length > sizeof l->palette) return 0;
            memcpy(l->palette, body, length);
            l->colours = (int)(length / 3);
        }
        if (is_data) {
            memcpy(data + *used, body, length);
            *used += length;
        }
    }
    return l->row != 0;
}

int tg_png_inflated(const uint8_t *bytes, size_t count, tg_picture *picture) {
    layout l = {0};
    uint8_t *data = malloc(count), *raw = NULL;
    size_t used = 0;
    struct libdeflate_decompressor *inflater = libdeflate_alloc_decompressor();
    tg_picture made = {0};
    int is_good = data && inflater && read_chunks(bytes, count, &l, data, &used);
    const size_t size = (l.row + 1) * (size_t)l.height;
    is_good = is_good && (raw = malloc(size)) != NULL &&
              // Exactly all rows, and the checksum behind them.
              libdeflate_zlib_decompress(inflater, data, used, raw, size, NULL) == LIBDEFLATE_SUCCESS;
    if (inflater) libdeflate_free_decompressor(inflater);
    free(data);
    if (is_good && l.pixel >= 3) {
        made = (tg_picture){raw, l.width, l.height};
        raw = NULL;
        is_good = show(&l, made.rgb, &made);
    } else if (is_good) {
        tg_media_error error;
        is_good = !tg_picture_make(&made, l.width, l.height, &error) && show(&l, raw, &made);
    }
    free(raw);
    if (is_good) *picture = made;
    else tg_picture_free(&made);
    return is_good;
}
