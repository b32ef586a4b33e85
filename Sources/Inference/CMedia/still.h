// One picture by one of FFmpeg's decoders, and its pixels as Pillow would convert them to RGB.
#ifndef TORCHGATE_CMEDIA_STILL_H
#define TORCHGATE_CMEDIA_STILL_H

#include "internal.h"

#include <libavcodec/avcodec.h>

// Decodes a whole file as one packet. The frame is freed by the caller.
int tg_still(enum AVCodecID codec, const uint8_t *bytes, size_t count, const tg_media_limits *limits,
             const char *name, AVFrame **frame, tg_media_error *error);

// Copies packed, grey and palette formats into RGB without alpha; 16 bits keep their high byte, but grey
// alone saturates as Pillow's I;16 does.
int tg_still_rgb(const AVFrame *frame, const char *name, tg_picture *picture, tg_media_error *error);

#endif
