// From a clip's frames to RGB.
#ifndef TORCHGATE_CMEDIA_COLOURS_H
#define TORCHGATE_CMEDIA_COLOURS_H

#include "internal.h"

#include <libavutil/frame.h>
#include <libswscale/swscale.h>

// What is kept from frame to frame; all zero at first.
typedef struct {
    struct SwsContext *scaler[2];  // for each field; the first alone where a frame is converted whole
    struct SwsContext *rower[2];   // make `rows`, where chroma rows are missing
    AVFrame *rows;
    int fields;                          // that a frame is converted in
    int format, space, range, location;  // of the frame that the scalers were made for
} tg_colours;

// `picture` has the frame's size already.
int tg_colours_rgb(tg_colours *colours, const AVFrame *frame, tg_picture *picture, tg_media_error *error);
void tg_colours_free(tg_colours *colours);

#endif
