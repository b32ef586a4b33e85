// What the files of this room share.
#ifndef TORCHGATE_CMEDIA_INTERNAL_H
#define TORCHGATE_CMEDIA_INTERNAL_H

#include "cmedia.h"

// Writes the message and returns the code.
__attribute__((format(printf, 3, 4))) int tg_fail(tg_media_error *error, int code, const char *format, ...);

// Checks a size against the limits; `what` is "image" or "video".
int tg_check_size(int64_t width, int64_t height, const tg_media_limits *limits, const char *what,
                  tg_media_error *error);

// Allocates the picture's pixels.
int tg_picture_make(tg_picture *picture, int64_t width, int64_t height, tg_media_error *error);

// Turns the picture as EXIF orientation 2…8 says; anything else leaves it.
int tg_picture_orient(tg_picture *picture, int orientation, tg_media_error *error);
// Orientation in a TIFF block ("II*\0…", with or without "Exif\0\0" before it); 1 where there is none.
int tg_exif_orientation(const uint8_t *bytes, size_t count);

int tg_jpeg_size(const uint8_t *bytes, size_t count, int32_t *width, int32_t *height, tg_media_error *error);
int tg_jpeg_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                   tg_picture *picture, tg_media_error *error);
int tg_png_size(const uint8_t *bytes, size_t count, int32_t *width, int32_t *height, tg_media_error *error);
int tg_png_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                  tg_picture *picture, tg_media_error *error);
int tg_webp_size(const uint8_t *bytes, size_t count, int32_t *width, int32_t *height, tg_media_error *error);
int tg_webp_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                   tg_picture *picture, tg_media_error *error);
int tg_gif_size(const uint8_t *bytes, size_t count, int32_t *width, int32_t *height, tg_media_error *error);
int tg_gif_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                  tg_picture *picture, tg_media_error *error);
int tg_bmp_size(const uint8_t *bytes, size_t count, int32_t *width, int32_t *height, tg_media_error *error);
int tg_bmp_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                  tg_picture *picture, tg_media_error *error);

static inline uint32_t tg_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint32_t tg_le32(const uint8_t *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}
static inline uint32_t tg_le24(const uint8_t *p) { return (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0]; }
static inline uint32_t tg_le16(const uint8_t *p) { return (uint32_t)p[1] << 8 | p[0]; }

#endif
