// PNG: only the chunks that make the default picture are decoded, so that no compressed text or profile can grow
// in memory, and an animation's other frames are left out. What is not plain goes to FFmpeg's decoder.

#include "inflated.h"
#include "still.h"

#include <stdlib.h>
#include <string.h>

int tg_png_size(const uint8_t *b, size_t count, int32_t *width, int32_t *height, tg_media_error *error) {
    if (count < 33 || tg_be32(b + 8) != 13 || memcmp(b + 12, "IHDR", 4) != 0)
        return tg_fail(error, TG_MEDIA_INVALID, "the PNG has no header; it is damaged or truncated");
    const uint32_t w = tg_be32(b + 16), h = tg_be32(b + 20);
    if (w > INT32_MAX || h > INT32_MAX) return tg_fail(error, TG_MEDIA_INVALID, "the PNG's header is damaged");
    *width = (int32_t)w;
    *height = (int32_t)h;
    return TG_MEDIA_OK;
}

static int is_wanted(const uint8_t *type) {
    static const char *const types[] = {"IHDR", "PLTE", "IDAT"};
    for (int k = 0; k < 3; k++)
        if (memcmp(type, types[k], 4) == 0) return 1;
    return 0;
}

// FFmpeg's decoder gets the chunks that make the picture, and an end mark if there was none.
static int decode_patiently(const uint8_t *b, size_t count, const tg_media_limits *limits, tg_picture *picture,
                            tg_media_error *error) {
    static const uint8_t end[12] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};
    uint8_t *kept = malloc(count + sizeof end);
    if (!kept) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to decode the PNG");
    memcpy(kept, b, 8);
    size_t used = 8;
    for (size_t at = 8; at < count;) {
        const size_t whole = (size_t)tg_be32(b + at) + 12;
        if (is_wanted(b + at + 4)) {
            memcpy(kept + used, b + at, whole);
            used += whole;
        }
        at += whole;
    }
    memcpy(kept + used, end, sizeof end);
    AVFrame *frame = NULL;
    int code = tg_still(AV_CODEC_ID_PNG, kept, used + sizeof end, limits, "PNG", &frame, error);
    free(kept);
    if (code) return code;
    code = tg_still_rgb(frame, "PNG", picture, error);
    av_frame_free(&frame);
    return code;
}

int tg_png_decode(const uint8_t *b, size_t count, const tg_media_limits *limits, int orient,
                  tg_picture *picture, tg_media_error *error) {
    size_t at = 8;
    int orientation = 1, data = 0, ended = 0;
    while (!ended && count - at >= 12) {
        const size_t length = tg_be32(b + at);
        const uint8_t *type = b + at + 4;
        if (length > count - at - 12) break;
        if (memcmp(type, "eXIf", 4) == 0) orientation = tg_exif_orientation(type + 4, length);
        if (memcmp(type, "IDAT", 4) == 0) data = 1;
        ended = memcmp(type, "IEND", 4) == 0;
        at += length + 12;
    }
    // What follows a last whole chunk may be missing, as long as it is the end mark alone.
    if (!data || (!ended && at != count)) return tg_fail(error, TG_MEDIA_INVALID, "the PNG is truncated");
    int code = TG_MEDIA_OK;
    if (!tg_png_inflated(b, at, picture)) code = decode_patiently(b, at, limits, picture, error);
    if (!code && orient) code = tg_picture_orient(picture, orientation, error);
    return code;
}
