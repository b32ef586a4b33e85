// What every image goes through: sniffing, limits, the choice of a decoder.

#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tg_fail(tg_media_error *error, int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return code;
}

// AVIF and HEIC share MP4's box structure.
static int is_heif(const uint8_t *b) {
    static const char *const brands[] = {"avif", "avis", "heic", "heix", "hevc", "mif1", "msf1"};
    for (size_t k = 0; k < sizeof brands / sizeof *brands; k++)
        if (memcmp(b + 8, brands[k], 4) == 0) return 1;
    return 0;
}

tg_media_format tg_media_sniff(const uint8_t *b, size_t count) {
    if (count >= 3 && b[0] == 0xFF && b[1] == 0xD8 && b[2] == 0xFF) return TG_MEDIA_JPEG;
    if (count >= 8 && memcmp(b, "\x89PNG\r\n\x1A\n", 8) == 0) return TG_MEDIA_PNG;
    if (count >= 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0) return TG_MEDIA_WEBP;
    if (count >= 6 && (memcmp(b, "GIF87a", 6) == 0 || memcmp(b, "GIF89a", 6) == 0)) return TG_MEDIA_GIF;
    if (count >= 18 && b[0] == 'B' && b[1] == 'M') {
        uint32_t header = tg_le32(b + 14);
        if (header == 12 || (header >= 40 && header <= 124)) return TG_MEDIA_BMP;
    }
    if (count >= 12 && memcmp(b + 4, "ftyp", 4) == 0 && !is_heif(b)) return TG_MEDIA_MP4;
    if (count >= 4 && memcmp(b, "\x1A\x45\xDF\xA3", 4) == 0) return TG_MEDIA_MATROSKA;
    return TG_MEDIA_UNKNOWN;
}

const char *tg_media_format_name(tg_media_format format) {
    switch (format) {
        case TG_MEDIA_JPEG: return "jpeg";
        case TG_MEDIA_PNG: return "png";
        case TG_MEDIA_WEBP: return "webp";
        case TG_MEDIA_GIF: return "gif";
        case TG_MEDIA_BMP: return "bmp";
        case TG_MEDIA_MP4: return "mp4";
        case TG_MEDIA_MATROSKA: return "matroska";
        default: return "unknown";
    }
}

// Names what someone sent in place of an image, where that is easy to tell.
static const char *stranger(const uint8_t *bytes, size_t count) {
    if (count == 0) return "the file is empty";
    size_t at = 0;
    while (at < count && at < 512 && (bytes[at] <= ' ' || bytes[at] >= 0xEF)) at++;
    char head[17] = {0};
    for (size_t k = 0; k < 16 && at + k < count; k++) {
        uint8_t c = bytes[at + k];
        head[k] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    if (strncmp(head, "<svg", 4) == 0) return "SVG is not supported; send a PNG, JPEG, WebP, GIF or BMP";
    if (strncmp(head, "<!doctype", 9) == 0 || strncmp(head, "<html", 5) == 0)
        return "this is an HTML page, not an image or a video";
    if (strncmp(head, "<?xml", 5) == 0) return "this is XML (perhaps SVG), not an image or a video";
    if (strncmp(head, "%pdf", 4) == 0) return "PDF is not supported; send its pages as images";
    if (strncmp(head, "#extm3u", 7) == 0) return "playlists are not supported; send the video itself";
    if (count >= 4 && (memcmp(bytes, "II*\0", 4) == 0 || memcmp(bytes, "MM\0*", 4) == 0))
        return "TIFF is not supported; send a PNG or JPEG";
    if (count >= 12 && memcmp(bytes + 4, "ftyp", 4) == 0)
        return "AVIF and HEIC are not supported; send a JPEG or PNG";
    return "this is no JPEG, PNG, WebP, GIF, BMP, MP4, WebM or Matroska file";
}

int tg_check_size(int64_t width, int64_t height, const tg_media_limits *limits, const char *what,
                  tg_media_error *error) {
    if (width <= 0 || height <= 0)
        return tg_fail(error, TG_MEDIA_INVALID, "the %s's header says %lldx%lld pixels", what,
                       (long long)width, (long long)height);
    if (width > limits->side || height > limits->side)
        return tg_fail(error, TG_MEDIA_TOO_LARGE, "the %s has %lldx%lld pixels; a side may have at most %lld",
                       what, (long long)width, (long long)height, (long long)limits->side);
    if (width > limits->pixels / height)
        return tg_fail(error, TG_MEDIA_TOO_LARGE, "the %s has %lldx%lld pixels; at most %lld are accepted",
                       what, (long long)width, (long long)height, (long long)limits->pixels);
    return TG_MEDIA_OK;
}

int tg_picture_make(tg_picture *picture, int64_t width, int64_t height, tg_media_error *error) {
    if (width <= 0 || height <= 0 || width > INT32_MAX / 4 || height > INT32_MAX / 4)
        return tg_fail(error, TG_MEDIA_INVALID, "a picture of %lldx%lld pixels", (long long)width,
                       (long long)height);
    picture->width = (int32_t)width;
    picture->height = (int32_t)height;
    picture->rgb = malloc((size_t)width * (size_t)height * 3);
    if (!picture->rgb)
        return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory for %lldx%lld pixels", (long long)width,
                       (long long)height);
    return TG_MEDIA_OK;
}

void tg_picture_free(tg_picture *picture) {
    free(picture->rgb);
    picture->rgb = NULL;
}

int tg_image_size(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int32_t *width,
                  int32_t *height, tg_media_error *error) {
    int code;
    switch (tg_media_sniff(bytes, count)) {
        case TG_MEDIA_JPEG: code = tg_jpeg_size(bytes, count, width, height, error); break;
        case TG_MEDIA_PNG: code = tg_png_size(bytes, count, width, height, error); break;
        case TG_MEDIA_WEBP: code = tg_webp_size(bytes, count, width, height, error); break;
        case TG_MEDIA_GIF: code = tg_gif_size(bytes, count, width, height, error); break;
        case TG_MEDIA_BMP: code = tg_bmp_size(bytes, count, width, height, error); break;
        case TG_MEDIA_MP4:
        case TG_MEDIA_MATROSKA:
            return tg_fail(error, TG_MEDIA_UNSUPPORTED,
                           "this is a video; send it as a video, not as an image");
        default: return tg_fail(error, TG_MEDIA_UNSUPPORTED, "%s", stranger(bytes, count));
    }
    return code ? code : tg_check_size(*width, *height, limits, "image", error);
}

int tg_image_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                    tg_picture *picture, tg_media_error *error) {
    int32_t width = 0, height = 0;
    picture->rgb = NULL;
    int code = tg_image_size(bytes, count, limits, &width, &height, error);
    if (code) return code;
    switch (tg_media_sniff(bytes, count)) {
        case TG_MEDIA_JPEG: code = tg_jpeg_decode(bytes, count, limits, orient, picture, error); break;
        case TG_MEDIA_PNG: code = tg_png_decode(bytes, count, limits, orient, picture, error); break;
        case TG_MEDIA_WEBP: code = tg_webp_decode(bytes, count, limits, orient, picture, error); break;
        case TG_MEDIA_GIF: code = tg_gif_decode(bytes, count, limits, orient, picture, error); break;
        default: code = tg_bmp_decode(bytes, count, limits, orient, picture, error); break;
    }
    if (code) tg_picture_free(picture);
    return code;
}
