// The quick way through a PNG.
#ifndef TORCHGATE_CMEDIA_INFLATED_H
#define TORCHGATE_CMEDIA_INFLATED_H

#include "internal.h"

// Decodes the signature and all chunks of a PNG, whose lengths were checked and whose size is within the limits.
// 0, and no picture, where it is interlaced, damaged or odd in any way: that is for a more patient decoder.
int tg_png_inflated(const uint8_t *bytes, size_t count, tg_picture *picture);

#endif
