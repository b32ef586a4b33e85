// WebP by FFmpeg's decoders. Lossy pictures become RGB as libwebp does it, which is what Pillow shows: chroma
// between its samples is weighted 9:3:3:1 ("fancy upsampling"), the matrix is BT.601 in 14-bit integers.
// Of an animation the first frame is put on its canvas; around it everything is 0.

#include "still.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint8_t *data;  // the payload of the VP8 or VP8L chunk
    size_t size;
    const uint8_t *file;  // a whole file with only the picture's chunks
    size_t file_size;
    uint8_t *owned;
    int64_t canvas_width, canvas_height;
    int64_t x, y;
    int animated;
    int orientation;
} parts;

static uint8_t *put_chunk(uint8_t *at, const uint8_t *chunk, size_t size) {
    memcpy(at, chunk, 8 + size);
    at += 8 + size;
    if (size & 1) *at++ = 0;
    return at;
}

// Walks the RIFF; with `build`, makes a file of the first picture's chunks in memory of its own.
static int walk(const uint8_t *b, size_t count, int build, parts *p, tg_media_error *error) {
    memset(p, 0, sizeof *p);
    p->orientation = 1;
    const uint8_t *alpha = NULL, *picture = NULL;
    size_t alpha_size = 0, picture_size = 0, end = count, outer = 0;
    int found_frame = 0;
    for (size_t at = 12; end - at >= 8;) {
        const uint8_t *chunk = b + at;
        const size_t size = tg_le32(chunk + 4);
        if (size > end - at - 8) break;
        if (memcmp(chunk, "ANMF", 4) == 0 && size >= 16 && !found_frame) {
            p->animated = found_frame = 1;
            p->x = 2 * (int64_t)tg_le24(chunk + 8);
            p->y = 2 * (int64_t)tg_le24(chunk + 11);
            outer = end;
            end = at + 8 + size;
            at += 24;
            continue;
        }
        if (memcmp(chunk, "VP8X", 4) == 0 && size >= 10) {
            p->canvas_width = 1 + (int64_t)tg_le24(chunk + 12);
            p->canvas_height = 1 + (int64_t)tg_le24(chunk + 15);
        } else if (memcmp(chunk, "ALPH", 4) == 0 && !alpha && !picture) {
            alpha = chunk;
            alpha_size = size;
        } else if ((memcmp(chunk, "VP8 ", 4) == 0 || memcmp(chunk, "VP8L", 4) == 0) && !picture) {
            picture = chunk;
            picture_size = size;
        } else if (memcmp(chunk, "EXIF", 4) == 0) {
            p->orientation = tg_exif_orientation(chunk + 8, size);
        }
        at += 8 + size + (size & 1);
        if (at >= end && outer) {
            at = end;
            end = outer;
            outer = 0;
        }
        if (at > end) break;
    }
    if (!picture || picture_size < 10)
        return tg_fail(error, TG_MEDIA_INVALID, "the WebP has no picture; it is damaged or truncated");
    p->data = picture + 8;
    p->size = picture_size;
    const int lossy = picture[3] == ' ';
    int64_t width, height;
    if (lossy) {
        width = tg_le16(p->data + 6) & 0x3FFF;
        height = tg_le16(p->data + 8) & 0x3FFF;
    } else {
        const uint32_t bits = tg_le32(p->data + 1);
        width = 1 + (bits & 0x3FFF);
        height = 1 + (bits >> 14 & 0x3FFF);
    }
    if (!p->animated || p->canvas_width == 0) {
        p->canvas_width = width;
        p->canvas_height = height;
    }
    if (p->x + width > p->canvas_width || p->y + height > p->canvas_height)
        return tg_fail(error, TG_MEDIA_INVALID, "the WebP's first frame lies outside its canvas");
    if (!build) return TG_MEDIA_OK;

    const size_t room = 12 + 18 + 9 + alpha_size + 9 + picture_size;
    uint8_t *file = malloc(room);
    if (!file) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to decode the WebP");
    uint8_t *at = file + 12;
    memcpy(file, "RIFF\0\0\0\0WEBP", 12);
    if (alpha && lossy) {
        const uint8_t flags = 0x10;
        const uint32_t w = (uint32_t)(width - 1), h = (uint32_t)(height - 1);
        const uint8_t header[18] = {'V', 'P', '8', 'X', 10, 0, 0, 0, flags, 0, 0, 0, (uint8_t)w,
                                    (uint8_t)(w >> 8), (uint8_t)(w >> 16), (uint8_t)h, (uint8_t)(h >> 8),
                                    (uint8_t)(h >> 16)};
        memcpy(at, header, sizeof header);
        at = put_chunk(at + sizeof header, alpha, alpha_size);
    }
    at = put_chunk(at, picture, picture_size);
    const uint32_t size = (uint32_t)(at - file - 8);
    for (int k = 0; k < 4; k++) file[4 + k] = (uint8_t)(size >> 8 * k);
    p->owned = file;
    p->file = file;
    p->file_size = (size_t)(at - file);
    return TG_MEDIA_OK;
}

int tg_webp_size(const uint8_t *b, size_t count, int32_t *width, int32_t *height, tg_media_error *error) {
    parts p;
    int code = walk(b, count, 0, &p, error);
    if (code) return code;
    *width = (int32_t)p.canvas_width;
    *height = (int32_t)p.canvas_height;
    return TG_MEDIA_OK;
}

static inline uint8_t clip14(int v) { return (v & ~0x3FFF) == 0 ? (uint8_t)(v >> 6) : v < 0 ? 0 : 255; }

static inline void yuv(int y, int u, int v, uint8_t *out) {
    const int light = (y * 19077) >> 8;
    out[0] = clip14(light + ((v * 26149) >> 8) - 14234);
    out[1] = clip14(light - ((u * 6419) >> 8) - ((v * 13320) >> 8) + 8708);
    out[2] = clip14(light + ((u * 33050) >> 8) - 17685);
}

// Chroma at column x of a row whose nearer chroma row is `near` and whose farther is `far`. libwebp halves
// twice on the way, so the sum is not simply (9a + 3b + 3c + d + 8) / 16.
static inline int chroma(const uint8_t *near, const uint8_t *far, int x, int width, int chroma_width) {
    const int k = x >> 1;
    if (x == 0) return (3 * near[0] + far[0] + 2) >> 2;
    if (x == width - 1 && !(width & 1)) return (3 * near[k] + far[k] + 2) >> 2;
    // The pair around this column: `a` is this column's own sample, `b` its neighbour.
    const int left = (x - 1) >> 1, right = left + 1;
    if (right >= chroma_width) return (3 * near[k] + far[k] + 2) >> 2;
    const int sum = near[left] + near[right] + far[left] + far[right] + 8;
    if (x & 1) {
        const int diagonal = (sum + 2 * (near[right] + far[left])) >> 3;
        return (diagonal + near[left]) >> 1;
    }
    const int diagonal = (sum + 2 * (near[left] + far[right])) >> 3;
    return (diagonal + near[right]) >> 1;
}

static void lossy_rgb(const AVFrame *f, tg_picture *picture) {
    const int width = f->width, height = f->height;
    const int chroma_width = (width + 1) / 2, chroma_height = (height + 1) / 2;
    for (int y = 0; y < height; y++) {
        const int row = y >> 1;
        int other = y & 1 ? row + 1 : row - 1;
        if (other < 0 || other >= chroma_height) other = row;
        const uint8_t *luma = f->data[0] + (ptrdiff_t)y * f->linesize[0];
        const uint8_t *u = f->data[1] + (ptrdiff_t)row * f->linesize[1];
        const uint8_t *u2 = f->data[1] + (ptrdiff_t)other * f->linesize[1];
        const uint8_t *v = f->data[2] + (ptrdiff_t)row * f->linesize[2];
        const uint8_t *v2 = f->data[2] + (ptrdiff_t)other * f->linesize[2];
        uint8_t *out = picture->rgb + 3 * (size_t)y * (size_t)width;
        for (int x = 0; x < width; x++)
            yuv(luma[x], chroma(u, u2, x, width, chroma_width), chroma(v, v2, x, width, chroma_width),
                out + 3 * x);
    }
}

int tg_webp_decode(const uint8_t *b, size_t count, const tg_media_limits *limits, int orient,
                   tg_picture *picture, tg_media_error *error) {
    parts p;
    int code = walk(b, count, 1, &p, error);
    if (code) return code;
    AVFrame *frame = NULL;
    code = tg_still(AV_CODEC_ID_WEBP, p.file, p.file_size, limits, "WebP", &frame, error);
    free(p.owned);
    if (code) return code;
    if (frame->format == AV_PIX_FMT_YUV420P || frame->format == AV_PIX_FMT_YUVA420P) {
        code = tg_picture_make(picture, frame->width, frame->height, error);
        if (!code) lossy_rgb(frame, picture);
    } else {
        code = tg_still_rgb(frame, "WebP", picture, error);
    }
    av_frame_free(&frame);
    if (!code && p.animated && (p.canvas_width > picture->width || p.canvas_height > picture->height)) {
        tg_picture canvas = {0};
        code = tg_picture_make(&canvas, p.canvas_width, p.canvas_height, error);
        if (code) return code;
        memset(canvas.rgb, 0, (size_t)canvas.width * (size_t)canvas.height * 3);
        for (int64_t y = 0; y < picture->height; y++)
            memcpy(canvas.rgb + 3 * ((p.y + y) * canvas.width + p.x), picture->rgb + 3 * y * picture->width,
                   3 * (size_t)picture->width);
        tg_picture_free(picture);
        *picture = canvas;
    }
    return !code && orient ? tg_picture_orient(picture, p.orientation, error) : code;
}
