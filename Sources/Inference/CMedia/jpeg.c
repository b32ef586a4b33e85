// JPEG by libjpeg-turbo, with the settings that Pillow uses: accurate integer DCT and fancy upsampling are
// the library's defaults. CMYK is taken as Adobe writes it, inverted.

#include "internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

typedef struct {
    struct jpeg_error_mgr base;  // first: libjpeg hands a pointer to it back
    struct jpeg_progress_mgr progress;
    jmp_buf back;
    int ended_early;
    int scans;
    int too_many_scans;
    char text[JMSG_LENGTH_MAX];
} guard;

static void give_up(j_common_ptr info) {
    guard *g = (guard *)info->err;
    info->err->format_message(info, g->text);
    longjmp(g->back, 1);
}

static void note(j_common_ptr info, int level) {
    guard *g = (guard *)info->err;
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) g->ended_early = 1;
}

static void count_scans(j_common_ptr info) {
    guard *g = (guard *)info->err;
    if (info->is_decompressor && ((j_decompress_ptr)info)->input_scan_number > g->scans) {
        g->too_many_scans = 1;
        longjmp(g->back, 1);
    }
}

int tg_jpeg_size(const uint8_t *b, size_t count, int32_t *width, int32_t *height, tg_media_error *error) {
    // Frame headers are SOF0…SOF15 without DHT (C4), JPG (C8) and DAC (CC).
    size_t at = 2;
    while (at + 4 <= count) {
        if (b[at] != 0xFF) {
            at++;
            continue;
        }
        uint8_t marker = b[at + 1];
        if (marker == 0xFF) {
            at++;
            continue;
        }
        if (marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= 0xD8)) {
            at += 2;
            continue;
        }
        if (marker == 0xDA || marker == 0xD9) break;
        size_t length = (size_t)b[at + 2] << 8 | b[at + 3];
        if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
            if (at + 9 > count) break;
            *height = b[at + 5] << 8 | b[at + 6];
            *width = b[at + 7] << 8 | b[at + 8];
            return TG_MEDIA_OK;
        }
        if (length < 2) break;
        at += 2 + length;
    }
    return tg_fail(error, TG_MEDIA_INVALID, "the JPEG has no frame header; it is damaged or truncated");
}

static uint8_t times(unsigned a, unsigned b) {  // Pillow's MULDIV255
    unsigned t = a * b + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

// Pillow reads CMYK inverted and then makes each colour (255 - k) - c * (255 - k) / 255.
static void cmyk_row(const uint8_t *in, uint8_t *out, int width) {
    for (int x = 0; x < width; x++, in += 4, out += 3) {
        unsigned light = in[3];  // 255 - k of the inverted k
        for (int c = 0; c < 3; c++) {
            int value = (int)light - times(255u - in[c], light);
            out[c] = (uint8_t)(value < 0 ? 0 : value);
        }
    }
}

int tg_jpeg_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                   tg_picture *picture, tg_media_error *error) {
    struct jpeg_decompress_struct info;
    guard g;
    memset(&g, 0, sizeof g);
    uint8_t *volatile row = NULL;
    volatile int orientation = 1;
    info.err = jpeg_std_error(&g.base);
    g.base.error_exit = give_up;
    g.base.emit_message = note;
    g.scans = limits->scans;
    if (setjmp(g.back)) {
        jpeg_destroy_decompress(&info);
        free(row);
        if (g.too_many_scans)
            return tg_fail(error, TG_MEDIA_TOO_LARGE, "the JPEG has more than %d scans", g.scans);
        return tg_fail(error, TG_MEDIA_INVALID, "the JPEG cannot be decoded: %.150s", g.text);
    }
    jpeg_create_decompress(&info);
    info.mem->max_memory_to_use = 0;
    g.progress.progress_monitor = count_scans;
    info.progress = &g.progress;
    jpeg_mem_src(&info, bytes, count);
    if (orient) jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
    for (jpeg_saved_marker_ptr m = info.marker_list; m && orientation == 1; m = m->next)
        if (m->data_length >= 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            orientation = tg_exif_orientation(m->data, m->data_length);
    if (info.num_components == 4) {
        info.out_color_space = JCS_CMYK;
    } else if (info.num_components == 1) {
        info.out_color_space = JCS_GRAYSCALE;
    } else {
        info.out_color_space = JCS_RGB;
    }
    int code = tg_check_size(info.image_width, info.image_height, limits, "image", error);
    if (!code) code = tg_picture_make(picture, info.image_width, info.image_height, error);
    if (code) {
        jpeg_destroy_decompress(&info);
        return code;
    }
    const int channels = info.out_color_space == JCS_CMYK ? 4 : info.out_color_space == JCS_RGB ? 3 : 1;
    if (channels != 3) {
        row = malloc((size_t)picture->width * (size_t)channels);
        if (!row) {
            jpeg_destroy_decompress(&info);
            return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory for a row");
        }
    }
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
        uint8_t *out = picture->rgb + (size_t)info.output_scanline * (size_t)picture->width * 3;
        JSAMPROW target = row ? row : out;
        jpeg_read_scanlines(&info, &target, 1);
        if (channels == 4) {
            cmyk_row(row, out, picture->width);
        } else if (channels == 1) {
            for (int x = 0; x < picture->width; x++) out[3 * x] = out[3 * x + 1] = out[3 * x + 2] = row[x];
        }
        if (g.ended_early) break;
    }
    // A file without its end marker is whole when every row came before the end was missed.
    const int missing = info.output_scanline < info.output_height;
    const int ended_early = g.ended_early;
    jpeg_destroy_decompress(&info);
    free(row);
    if (missing || ended_early)
        return tg_fail(error, TG_MEDIA_INVALID, "the JPEG is truncated");
    return orient ? tg_picture_orient(picture, orientation, error) : TG_MEDIA_OK;
}
