// EXIF orientation: reading tag 0x0112 of the first directory, and turning pixels accordingly.

#include "internal.h"

#include <stdlib.h>
#include <string.h>

int tg_exif_orientation(const uint8_t *b, size_t count) {
    if (count >= 6 && memcmp(b, "Exif\0\0", 6) == 0) {
        b += 6;
        count -= 6;
    }
    if (count < 14) return 1;
    int big;
    if (memcmp(b, "MM\0*", 4) == 0) {
        big = 1;
    } else if (memcmp(b, "II*\0", 4) == 0) {
        big = 0;
    } else {
        return 1;
    }
    size_t at = big ? tg_be32(b + 4) : tg_le32(b + 4);
    if (at > count - 2) return 1;
    unsigned entries = big ? (unsigned)b[at] << 8 | b[at + 1] : tg_le16(b + at);
    at += 2;
    for (unsigned k = 0; k < entries && count - at >= 12; k++, at += 12) {
        unsigned tag = big ? (unsigned)b[at] << 8 | b[at + 1] : tg_le16(b + at);
        if (tag != 0x0112) continue;
        unsigned value = big ? (unsigned)b[at + 8] << 8 | b[at + 9] : tg_le16(b + at + 8);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

int tg_picture_orient(tg_picture *picture, int orientation, tg_media_error *error) {
    if (orientation < 2 || orientation > 8) return TG_MEDIA_OK;
    const int64_t w = picture->width, h = picture->height;
    const int swap = orientation >= 5;
    tg_picture turned;
    int code = tg_picture_make(&turned, swap ? h : w, swap ? w : h, error);
    if (code) return code;
    for (int64_t y = 0; y < h; y++) {
        for (int64_t x = 0; x < w; x++) {
            int64_t tx, ty;
            switch (orientation) {
                case 2: tx = w - 1 - x, ty = y; break;
                case 3: tx = w - 1 - x, ty = h - 1 - y; break;
                case 4: tx = x, ty = h - 1 - y; break;
                case 5: tx = y, ty = x; break;
                case 6: tx = h - 1 - y, ty = x; break;
                case 7: tx = h - 1 - y, ty = w - 1 - x; break;
                default: tx = y, ty = w - 1 - x; break;
            }
            memcpy(turned.rgb + 3 * (ty * turned.width + tx), picture->rgb + 3 * (y * w + x), 3);
        }
    }
    tg_picture_free(picture);
    *picture = turned;
    return TG_MEDIA_OK;
}
