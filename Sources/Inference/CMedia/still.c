#include "still.h"

#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>

#include <stdint.h>
#include <string.h>

// FFmpeg gives a picture out even where rows never came. So its memory is filled with a known byte before:
// rows that keep it are suspected, and are missing if a second decoding with another byte changes the picture.
static int filled_buffer(AVCodecContext *context, AVFrame *frame, int flags) {
    const int status = avcodec_default_get_buffer2(context, frame, flags);
    if (status >= 0 && frame->data[0] && frame->linesize[0] > 0)
        memset(frame->data[0], (int)(intptr_t)context->opaque,
               (size_t)frame->linesize[0] * (size_t)frame->height);
    return status;
}

static int decode(enum AVCodecID id, const uint8_t *bytes, size_t count, const tg_media_limits *limits,
                  const char *name, int fill, AVFrame **result, tg_media_error *error) {
    const AVCodec *codec = avcodec_find_decoder(id);
    if (!codec) return tg_fail(error, TG_MEDIA_UNSUPPORTED, "this build of FFmpeg cannot decode %s", name);
    AVCodecContext *context = avcodec_alloc_context3(codec);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int code = TG_MEDIA_MEMORY;
    if (!context || !packet || !frame || count > INT32_MAX / 2 ||
        av_new_packet(packet, (int)count) < 0) {
        tg_fail(error, code, "not enough memory to decode the %s", name);
        goto out;
    }
    memcpy(packet->data, bytes, count);
    packet->flags |= AV_PKT_FLAG_KEY;
    context->thread_count = 1;
    context->max_pixels = limits->pixels;
    context->err_recognition = AV_EF_EXPLODE | AV_EF_CRCCHECK;
    context->opaque = (void *)(intptr_t)fill;
    context->get_buffer2 = filled_buffer;
    context->thread_type = 0;
    int status = avcodec_open2(context, codec, NULL);
    if (status >= 0) status = avcodec_send_packet(context, packet);
    if (status >= 0) status = avcodec_send_packet(context, NULL);
    if (status >= 0) status = avcodec_receive_frame(context, frame);
    if (status == AVERROR(ENOMEM)) {
        tg_fail(error, code, "not enough memory to decode the %s", name);
    } else if (status < 0) {
        code = tg_fail(error, TG_MEDIA_INVALID, "the %s is damaged or truncated", name);
    } else {
        code = tg_check_size(frame->width, frame->height, limits, "image", error);
    }
out:
    av_packet_free(&packet);
    avcodec_free_context(&context);
    if (code) av_frame_free(&frame);
    *result = frame;
    return code;
}

static int row_bytes(const AVFrame *frame) { return av_image_get_linesize(frame->format, frame->width, 0); }

static int is_fill(const AVFrame *frame, int row, int fill) {
    const uint8_t *bytes = frame->data[0] + (ptrdiff_t)row * frame->linesize[0];
    for (int k = row_bytes(frame); k > 0; k--)
        if (*bytes++ != fill) return 0;
    return 1;
}

static int is_same(const AVFrame *a, const AVFrame *b) {
    if (a->width != b->width || a->height != b->height || a->format != b->format) return 0;
    // Of one bit a pixel, the last byte may hold bits behind the row's end that nobody writes.
    const int spare = a->format == AV_PIX_FMT_MONOBLACK ? -a->width & 7 : 0;
    const size_t whole = (size_t)row_bytes(a) - (spare ? 1 : 0);
    for (ptrdiff_t row = 0; row < a->height; row++) {
        const uint8_t *x = a->data[0] + row * a->linesize[0], *y = b->data[0] + row * b->linesize[0];
        if (memcmp(x, y, whole)) return 0;
        if (spare && (x[whole] ^ y[whole]) >> spare) return 0;
    }
    return 1;
}

int tg_still(enum AVCodecID id, const uint8_t *bytes, size_t count, const tg_media_limits *limits,
             const char *name, AVFrame **result, tg_media_error *error) {
    const int fill = 0xA5;
    int code = decode(id, bytes, count, limits, name, fill, result, error);
    if (code) return code;
    AVFrame *frame = *result;
    if (!is_fill(frame, 0, fill) && !is_fill(frame, frame->height - 1, fill)) return TG_MEDIA_OK;
    AVFrame *again = NULL;
    code = decode(id, bytes, count, limits, name, fill ^ 0xFF, &again, error);
    if (!code && !is_same(frame, again)) code = tg_fail(error, TG_MEDIA_INVALID, "the %s is truncated", name);
    av_frame_free(&again);
    if (code) av_frame_free(result);
    return code;
}

// How one pixel lies in memory: bytes of a pixel, and where red, green and blue are.
typedef struct {
    enum AVPixelFormat format;
    int size, r, g, b;
} packing;

static const packing packings[] = {
    {AV_PIX_FMT_RGB24, 3, 0, 1, 2},    {AV_PIX_FMT_BGR24, 3, 2, 1, 0},  {AV_PIX_FMT_RGBA, 4, 0, 1, 2},
    {AV_PIX_FMT_BGRA, 4, 2, 1, 0},     {AV_PIX_FMT_ARGB, 4, 1, 2, 3},   {AV_PIX_FMT_BGR0, 4, 2, 1, 0},
    {AV_PIX_FMT_RGB0, 4, 0, 1, 2},     {AV_PIX_FMT_GRAY8, 1, 0, 0, 0},  {AV_PIX_FMT_YA8, 2, 0, 0, 0},
    {AV_PIX_FMT_RGB48BE, 6, 0, 2, 4},  {AV_PIX_FMT_RGBA64BE, 8, 0, 2, 4},
    {AV_PIX_FMT_YA16BE, 4, 0, 0, 0},
};

static void row_of(const AVFrame *frame, const uint8_t *in, uint8_t *out) {
    const int width = frame->width;
    for (size_t k = 0; k < sizeof packings / sizeof *packings; k++) {
        const packing p = packings[k];
        if (p.format != (enum AVPixelFormat)frame->format) continue;
        for (int x = 0; x < width; x++, in += p.size, out += 3) {
            out[0] = in[p.r];
            out[1] = in[p.g];
            out[2] = in[p.b];
        }
        return;
    }
    switch (frame->format) {
        case AV_PIX_FMT_MONOBLACK:
            for (int x = 0; x < width; x++) memset(out + 3 * x, in[x >> 3] >> (7 - (x & 7)) & 1 ? 255 : 0, 3);
            return;
        case AV_PIX_FMT_GRAY16BE:
            for (int x = 0; x < width; x++) memset(out + 3 * x, in[2 * x] ? 255 : in[2 * x + 1], 3);
            return;
        case AV_PIX_FMT_PAL8: {
            const uint8_t *palette = frame->data[1];
            for (int x = 0; x < width; x++) {
                uint32_t colour;
                memcpy(&colour, palette + 4 * in[x], 4);
                out[3 * x] = (uint8_t)(colour >> 16);
                out[3 * x + 1] = (uint8_t)(colour >> 8);
                out[3 * x + 2] = (uint8_t)colour;
            }
            return;
        }
        case AV_PIX_FMT_RGB555LE:
            for (int x = 0; x < width; x++) {
                unsigned v = tg_le16(in + 2 * x);
                out[3 * x] = (uint8_t)((v >> 10 & 31) * 255 / 31);
                out[3 * x + 1] = (uint8_t)((v >> 5 & 31) * 255 / 31);
                out[3 * x + 2] = (uint8_t)((v & 31) * 255 / 31);
            }
            return;
        case AV_PIX_FMT_RGB565LE:
            for (int x = 0; x < width; x++) {
                unsigned v = tg_le16(in + 2 * x);
                out[3 * x] = (uint8_t)((v >> 11 & 31) * 255 / 31);
                out[3 * x + 1] = (uint8_t)((v >> 5 & 63) * 255 / 63);
                out[3 * x + 2] = (uint8_t)((v & 31) * 255 / 31);
            }
            return;
        default: return;
    }
}

static int is_known(int format) {
    for (size_t k = 0; k < sizeof packings / sizeof *packings; k++)
        if ((int)packings[k].format == format) return 1;
    return format == AV_PIX_FMT_MONOBLACK || format == AV_PIX_FMT_GRAY16BE || format == AV_PIX_FMT_PAL8 ||
           format == AV_PIX_FMT_RGB555LE || format == AV_PIX_FMT_RGB565LE;
}

int tg_still_rgb(const AVFrame *frame, const char *name, tg_picture *picture, tg_media_error *error) {
    if (!is_known(frame->format)) {
        const char *format = av_get_pix_fmt_name(frame->format);
        return tg_fail(error, TG_MEDIA_UNSUPPORTED, "the %s's pixel format %s is not supported", name,
                       format ? format : "?");
    }
    int code = tg_picture_make(picture, frame->width, frame->height, error);
    if (code) return code;
    for (int64_t y = 0; y < frame->height; y++)
        row_of(frame, frame->data[0] + y * frame->linesize[0], picture->rgb + 3 * y * frame->width);
    return TG_MEDIA_OK;
}
