// A decoded frame becomes RGB as PyAV's to_ndarray(format="rgb24") makes it: swscale, bilinear, with the
// frame's own matrix, range and place of chroma.

#include "colours.h"

#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>

#include <string.h>

// Where swscale is to believe chroma samples lie, in 256ths of a luma step; a frame that does not say is taken
// as centred, as newer swscale versions do on their own.
static void chroma_position(const AVFrame *frame, int *across, int *down) {
    switch (frame->chroma_location) {
        case AVCHROMA_LOC_LEFT: *across = 0, *down = 128; return;
        case AVCHROMA_LOC_TOPLEFT: *across = 0, *down = 0; return;
        case AVCHROMA_LOC_TOP: *across = 128, *down = 0; return;
        case AVCHROMA_LOC_BOTTOMLEFT: *across = 0, *down = 256; return;
        case AVCHROMA_LOC_BOTTOM: *across = 128, *down = 256; return;
        default: *across = 128, *down = 128; return;
    }
}

static struct SwsContext *make_scaler(const AVFrame *frame, int field, int fields, enum AVPixelFormat from,
                                      enum AVPixelFormat to) {
    const int height = frame->height / fields;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(from);
    struct SwsContext *scaler = sws_alloc_context();
    if (!scaler || !d) {
        sws_freeContext(scaler);
        return NULL;
    }
    av_opt_set_int(scaler, "srcw", frame->width, 0);
    av_opt_set_int(scaler, "srch", height, 0);
    av_opt_set_int(scaler, "src_format", from, 0);
    av_opt_set_int(scaler, "dstw", frame->width, 0);
    av_opt_set_int(scaler, "dsth", height, 0);
    av_opt_set_int(scaler, "dst_format", to, 0);
    av_opt_set_int(scaler, "sws_flags", SWS_BILINEAR, 0);
    const AVPixFmtDescriptor *target = av_pix_fmt_desc_get(to);
    const int is_rgb = (target->flags & AV_PIX_FMT_FLAG_RGB) != 0;
    int across, down;
    chroma_position(frame, &across, &down);
    if (d->log2_chroma_w && is_rgb)
        av_opt_set_int(scaler, "src_h_chr_pos", across * ((1 << d->log2_chroma_w) - 1), 0);
    down *= (1 << d->log2_chroma_h) - 1;
    // Of a field the distances are half as large, and the lower one lies between the rows of the upper.
    if (fields == 2) down = (down + 256 * field) / 2;
    if (d->log2_chroma_h) av_opt_set_int(scaler, "src_v_chr_pos", down, 0);
    if (!(d->flags & AV_PIX_FMT_FLAG_RGB)) {
        const int *matrix = sws_getCoefficients(frame->colorspace);
        const AVPixFmtDescriptor *own = av_pix_fmt_desc_get(frame->format);
        const int full = frame->color_range == AVCOL_RANGE_JPEG || strncmp(own->name, "yuvj", 4) == 0;
        sws_setColorspaceDetails(scaler, matrix, full, matrix, is_rgb ? 1 : full, 0, 1 << 16, 1 << 16);
    }
    if (sws_init_context(scaler, NULL, NULL) < 0) {
        sws_freeContext(scaler);
        return NULL;
    }
    return scaler;
}

// swscale 6 takes the nearer chroma row, or the mean of two, where it has no converter of its own for 4:2:0;
// swscale 9, which PyAV brings, weighs them. So chroma rows are made first, with 16 bits.
static int needs_chroma_rows(const AVFrame *frame) {
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    if (!d || (d->flags & AV_PIX_FMT_FLAG_RGB) || d->nb_components < 3 || d->log2_chroma_h != 1 ||
        d->log2_chroma_w != 1)
        return 0;
    return d->comp[0].depth > 8 || (frame->height & 1);
}

// swscale 9 converts the fields of an interlaced frame one by one, which shows where they share chroma rows.
static int fields_of(const AVFrame *frame) {
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    return frame->interlaced_frame && d && d->log2_chroma_h && frame->height % 4 == 0 ? 2 : 1;
}

static void free_scalers(tg_colours *c) {
    for (int field = 0; field < 2; field++) {
        sws_freeContext(c->scaler[field]);
        sws_freeContext(c->rower[field]);
        c->scaler[field] = c->rower[field] = NULL;
    }
    av_frame_free(&c->rows);
}

// Makes the scalers anew where a frame differs from the one before.
static int prepare_scalers(tg_colours *c, const AVFrame *frame, tg_media_error *error) {
    const int fields = fields_of(frame);
    if (c->scaler[0] && c->fields == fields && c->format == frame->format &&
        c->space == (int)frame->colorspace && c->range == (int)frame->color_range &&
        c->location == (int)frame->chroma_location)
        return TG_MEDIA_OK;
    free_scalers(c);
    enum AVPixelFormat from = frame->format;
    if (needs_chroma_rows(frame)) {
        from = AV_PIX_FMT_YUV422P16LE;
        c->rows = av_frame_alloc();
        if (c->rows) {
            c->rows->format = from;
            c->rows->width = frame->width;
            c->rows->height = frame->height / fields;
        }
        int is_made = c->rows && av_frame_get_buffer(c->rows, 0) >= 0;
        for (int field = 0; is_made && field < fields; field++)
            is_made = (c->rower[field] = make_scaler(frame, field, fields, frame->format, from)) != NULL;
        if (!is_made) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory for a frame");
    }
    for (int field = fields - 1; field >= 0; field--)
        c->scaler[field] = make_scaler(frame, field, fields, from, AV_PIX_FMT_RGB24);
    if (!c->scaler[0] || !c->scaler[fields - 1]) {
        const char *name = av_get_pix_fmt_name(frame->format);
        return tg_fail(error, TG_MEDIA_UNSUPPORTED, "the video's pixel format %s is not supported",
                       name ? name : "?");
    }
    c->fields = fields;
    c->format = frame->format;
    c->space = frame->colorspace;
    c->range = frame->color_range;
    c->location = frame->chroma_location;
    return TG_MEDIA_OK;
}

// Converts every row, or those of one field.
static int convert(tg_colours *c, const AVFrame *frame, int field, uint8_t *rgb, int stride) {
    const int height = frame->height / c->fields;
    const uint8_t *planes[4] = {NULL};
    int strides[4] = {0};
    for (int k = 0; k < 4 && frame->data[k]; k++) {
        planes[k] = frame->data[k] + field * frame->linesize[k];
        strides[k] = frame->linesize[k] * c->fields;
    }
    uint8_t *out[4] = {rgb};
    const int out_strides[4] = {stride};
    struct SwsContext *scaler = c->scaler[field], *rower = c->rower[field];
    AVFrame *rows = c->rows;
    if (!rows) return sws_scale(scaler, planes, strides, 0, height, out, out_strides) == height;
    if (sws_scale(rower, planes, strides, 0, height, rows->data, rows->linesize) != height) return 0;
    const uint8_t *const *made = (const uint8_t *const *)rows->data;
    return sws_scale(scaler, made, rows->linesize, 0, height, out, out_strides) == height;
}

// PyAV's conversion; planar RGB of 8 bits is copied, which swscale would do as exactly.
int tg_colours_rgb(tg_colours *c, const AVFrame *frame, tg_picture *picture, tg_media_error *error) {
    if (frame->format == AV_PIX_FMT_GBRP) {
        for (int64_t y = 0; y < frame->height; y++) {
            const uint8_t *g = frame->data[0] + y * frame->linesize[0];
            const uint8_t *b = frame->data[1] + y * frame->linesize[1];
            const uint8_t *r = frame->data[2] + y * frame->linesize[2];
            uint8_t *out = picture->rgb + 3 * y * frame->width;
            for (int x = 0; x < frame->width; x++) {
                out[3 * x] = r[x];
                out[3 * x + 1] = g[x];
                out[3 * x + 2] = b[x];
            }
        }
        return TG_MEDIA_OK;
    }
    int code = prepare_scalers(c, frame, error);
    if (code) return code;
    // Rows are written a little beyond their end by the vector code, so they first get a place with room.
    const int stride = (frame->width * 3 + 63) / 64 * 64 + 64;
    uint8_t *aligned = av_malloc((size_t)stride * (size_t)frame->height + 64);
    if (!aligned) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory for a frame");
    int is_good = 1;
    for (int field = 0; is_good && field < c->fields; field++)
        is_good = convert(c, frame, field, aligned + field * stride, stride * c->fields);
    for (int64_t y = 0; y < frame->height; y++)
        memcpy(picture->rgb + 3 * y * frame->width, aligned + y * stride, 3 * (size_t)frame->width);
    av_free(aligned);
    return is_good ? TG_MEDIA_OK
                   : tg_fail(error, TG_MEDIA_INVALID, "a frame of the video cannot be converted");
}

void tg_colours_free(tg_colours *c) {
    free_scalers(c);
    memset(c, 0, sizeof *c);
}
