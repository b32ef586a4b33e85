// BMP by FFmpeg's decoder.

#include "still.h"

#include <stdlib.h>
#include <string.h>

int tg_bmp_size(const uint8_t *b, size_t count, int32_t *width, int32_t *height, tg_media_error *error) {
    if (count < 26) return tg_fail(error, TG_MEDIA_INVALID, "the BMP is truncated");
    int64_t w, h;
    if (tg_le32(b + 14) == 12) {
        w = tg_le16(b + 18);
        h = tg_le16(b + 20);
    } else {
        w = (int32_t)tg_le32(b + 18);
        h = (int32_t)tg_le32(b + 22);
        if (h < 0) h = -h;  // rows from the top
    }
    if (w <= 0 || h <= 0 || w > INT32_MAX || h > INT32_MAX)
        return tg_fail(error, TG_MEDIA_INVALID, "the BMP's header is damaged");
    *width = (int32_t)w;
    *height = (int32_t)h;
    return TG_MEDIA_OK;
}

int tg_bmp_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                  tg_picture *picture, tg_media_error *error) {
    (void)orient;
    AVFrame *frame = NULL;
    uint8_t *copy = NULL;
    if (tg_le32(bytes + 14) == 52) {
        // A header of 40 bytes and its masks, counted together, which FFmpeg does not know.
        if (!(copy = malloc(count))) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory for the BMP");
        memcpy(copy, bytes, count);
        copy[14] = 40;
    }
    int code = tg_still(AV_CODEC_ID_BMP, copy ? copy : bytes, count, limits, "BMP", &frame, error);
    free(copy);
    if (code) return code;
    code = tg_still_rgb(frame, "BMP", picture, error);
    av_frame_free(&frame);
    return code;
}
