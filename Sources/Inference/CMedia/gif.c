// First frame of a GIF, as Pillow gives it: transparent pixels keep their palette colour, the screen around a
// small frame has the transparent index, or index 0.

#include "internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint8_t *bytes;
    size_t count, at;
    size_t block;  // bytes left in the current sub-block
    uint32_t bits;
    int held;
    int over;
} bit_source;

static int next_code(bit_source *s, int width) {
    while (s->held < width) {
        if (s->block == 0) {
            if (s->over || s->at >= s->count || s->bytes[s->at] == 0) {
                s->over = 1;
                return -1;
            }
            s->block = s->bytes[s->at++];
        }
        if (s->at >= s->count) {
            s->over = 1;
            return -1;
        }
        s->bits |= (uint32_t)s->bytes[s->at++] << s->held;
        s->held += 8;
        s->block--;
    }
    int code = (int)(s->bits & ((1u << width) - 1));
    s->bits >>= width;
    s->held -= width;
    return code;
}

// Fills `count` indices; returns how many were there, or -1 for codes that cannot be.
static int64_t unpack(bit_source *s, int root, uint8_t *out, int64_t count) {
    uint16_t prefix[4096];
    uint8_t suffix[4096], stack[4097];
    const int clear = 1 << root, end = clear + 1;
    int width = root + 1, next = end + 1, previous = -1, first = 0;
    int64_t at = 0;
    while (at < count) {
        int code = next_code(s, width);
        if (code < 0 || code == end) break;
        if (code == clear) {
            width = root + 1;
            next = end + 1;
            previous = -1;
            continue;
        }
        int depth = 0, walk = code;
        if (previous < 0) {
            if (code >= clear) return -1;
        } else if (code >= next) {
            if (code > next) return -1;
            stack[depth++] = (uint8_t)first;
            walk = previous;
        }
        while (walk >= clear) {
            stack[depth++] = suffix[walk];
            walk = prefix[walk];
        }
        first = walk;
        stack[depth++] = (uint8_t)walk;
        while (depth > 0 && at < count) out[at++] = stack[--depth];
        if (previous >= 0 && next < 4096) {
            prefix[next] = (uint16_t)previous;
            suffix[next] = (uint8_t)first;
            next++;
            if (next == 1 << width && width < 12) width++;
        }
        previous = code;
    }
    return at;
}

int tg_gif_size(const uint8_t *b, size_t count, int32_t *width, int32_t *height, tg_media_error *error) {
    if (count < 13) return tg_fail(error, TG_MEDIA_INVALID, "the GIF is truncated");
    *width = (int32_t)tg_le16(b + 6);
    *height = (int32_t)tg_le16(b + 8);
    return TG_MEDIA_OK;
}

int tg_gif_decode(const uint8_t *b, size_t count, const tg_media_limits *limits, int orient,
                  tg_picture *picture, tg_media_error *error) {
    (void)orient;
    int32_t screen_width = 0, screen_height = 0;
    int code = tg_gif_size(b, count, &screen_width, &screen_height, error);
    if (code) return code;
    uint8_t palette[256][3];
    for (int i = 0; i < 256; i++) memset(palette[i], i, 3);
    size_t at = 13;
    if (b[10] & 0x80) {
        size_t size = (size_t)3 << ((b[10] & 7) + 1);
        if (count - at < size) return tg_fail(error, TG_MEDIA_INVALID, "the GIF is truncated");
        memcpy(palette, b + at, size);
        at += size;
    }
    int transparent = -1;
    for (;;) {
        if (at >= count || b[at] == 0x3B) return tg_fail(error, TG_MEDIA_INVALID, "the GIF has no picture");
        if (b[at] == 0x2C) break;
        if (b[at] != 0x21) {
            at++;
            continue;
        }
        if (count - at < 3) return tg_fail(error, TG_MEDIA_INVALID, "the GIF is truncated");
        if (b[at + 1] == 0xF9 && count - at >= 8 && b[at + 2] == 4 && (b[at + 3] & 1)) transparent = b[at + 6];
        at += 2;
        while (at < count && b[at]) at += 1 + (size_t)b[at];
        at++;
    }
    if (count - at < 11) return tg_fail(error, TG_MEDIA_INVALID, "the GIF is truncated");
    const int64_t left = tg_le16(b + at + 1), top = tg_le16(b + at + 3);
    const int64_t w = tg_le16(b + at + 5), h = tg_le16(b + at + 7);
    const uint8_t flags = b[at + 9];
    at += 10;
    if (flags & 0x80) {
        size_t size = (size_t)3 << ((flags & 7) + 1);
        if (count - at < size) return tg_fail(error, TG_MEDIA_INVALID, "the GIF is truncated");
        for (int i = 0; i < 256; i++) memset(palette[i], i, 3);
        memcpy(palette, b + at, size);
        at += size;
    }
    // A frame beyond the screen makes the screen larger.
    const int64_t width = left + w > screen_width ? left + w : screen_width;
    const int64_t height = top + h > screen_height ? top + h : screen_height;
    code = tg_check_size(width, height, limits, "image", error);
    if (code) return code;
    if (w == 0 || h == 0 || at >= count) return tg_fail(error, TG_MEDIA_INVALID, "the GIF has no picture");
    const int root = b[at++];
    if (root < 1 || root > 11) return tg_fail(error, TG_MEDIA_INVALID, "the GIF is damaged");
    uint8_t *indices = calloc((size_t)(w * h), 1);
    if (!indices) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory");
    bit_source source = {.bytes = b, .count = count, .at = at};
    const int64_t found = unpack(&source, root, indices, w * h);
    if (found < w * h) {
        free(indices);
        return tg_fail(error, TG_MEDIA_INVALID, found < 0 ? "the GIF is damaged" : "the GIF is truncated");
    }
    code = tg_picture_make(picture, width, height, error);
    if (code) {
        free(indices);
        return code;
    }
    const uint8_t *around = palette[transparent < 0 ? 0 : transparent];
    for (int64_t p = 0; p < width * height; p++) memcpy(picture->rgb + 3 * p, around, 3);
    int64_t row = 0;
    for (int64_t pass = (flags & 0x40) ? 0 : 4; pass <= 4; pass++) {
        static const int starts[] = {0, 4, 2, 1, 0}, steps[] = {8, 8, 4, 2, 1};
        if (pass == 4 && (flags & 0x40)) break;
        for (int64_t y = starts[pass]; y < h; y += steps[pass], row++) {
            const uint8_t *in = indices + row * w;
            uint8_t *out = picture->rgb + 3 * ((top + y) * width + left);
            for (int64_t x = 0; x < w; x++) memcpy(out + 3 * x, palette[in[x]], 3);
        }
    }
    free(indices);
    return TG_MEDIA_OK;
}
