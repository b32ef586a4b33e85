// Clips by FFmpeg's libraries, from memory alone.
//
// 1. Only the MP4 and Matroska demuxers and a short list of decoders run; no protocol exists, so nothing a file
//    names can be opened.
// 2. Frames are counted by reading all packets first; a header's word is not taken for it. Presentation times
//    are kept, so that a frame far ahead is reached through the keyframe before it.

#include "colours.h"
#include "together.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECODERS "h264,hevc,vp8,vp9,libdav1d,ffv1"
// Demuxers by the name under which they are looked up, and by the name they go by.
#define DEMUXERS "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"

typedef struct {
    const uint8_t *bytes;
    int64_t count, at;
} memory;

typedef struct {
    int64_t pts;
    uint8_t is_key;
} packet_time;

struct tg_video {
    memory source;
    tg_media_limits limits;
    const AVInputFormat *demuxer;
    AVFormatContext *format;
    AVCodecContext *codec;
    AVCodecParameters *parameters;
    AVRational time_base;
    tg_colours colours;
    int stream;
    int32_t width, height;
    int64_t frames;
    packet_time *times;  // in order of presentation; NULL where a packet has no time
};

static int read_memory(void *opaque, uint8_t *out, int wanted) {
    memory *m = opaque;
    const int64_t left = m->count - m->at;
    if (left <= 0) return AVERROR_EOF;
    const int size = wanted < left ? wanted : (int)left;
    memcpy(out, m->bytes + m->at, (size_t)size);
    m->at += size;
    return size;
}

static int64_t seek_memory(void *opaque, int64_t offset, int whence) {
    memory *m = opaque;
    if (whence & AVSEEK_SIZE) return m->count;
    whence &= ~AVSEEK_FORCE;
    const int64_t base = whence == SEEK_CUR ? m->at : whence == SEEK_END ? m->count : 0;
    if (offset > m->count || base + offset < 0 || base + offset > m->count) return AVERROR(EINVAL);
    m->at = base + offset;
    return m->at;
}

static void close_format(tg_video *v) {
    if (!v->format) return;
    AVIOContext *io = v->format->pb;
    avformat_close_input(&v->format);
    if (io) av_freep(&io->buffer);
    avio_context_free(&io);
}

// Opens the demuxer at the start of the bytes.
static int open_format(tg_video *v, tg_media_error *error) {
    close_format(v);
    v->source.at = 0;
    const int size = 1 << 16;
    uint8_t *buffer = av_malloc(size);
    AVIOContext *io = buffer ? avio_alloc_context(buffer, size, 0, &v->source, read_memory, NULL, seek_memory)
                             : NULL;
    if (!io) {
        av_free(buffer);
        return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to open the video");
    }
    v->format = avformat_alloc_context();
    if (!v->format) {
        av_freep(&io->buffer);
        avio_context_free(&io);
        return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to open the video");
    }
    v->format->pb = io;
    v->format->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_NOBUFFER;
    v->format->max_streams = 64;
    AVDictionary *options = NULL;
    av_dict_set(&options, "format_whitelist", DEMUXERS, 0);
    av_dict_set(&options, "codec_whitelist", DECODERS, 0);
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    const int status = avformat_open_input(&v->format, NULL, v->demuxer, &options);
    av_dict_free(&options);
    if (status < 0) {
        // A failed open frees the context, but not what it reads from.
        av_freep(&io->buffer);
        avio_context_free(&io);
        v->format = NULL;
        return status == AVERROR(ENOMEM)
                   ? tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to open the video")
                   : tg_fail(error, TG_MEDIA_INVALID, "the video's container is damaged or truncated");
    }
    for (unsigned k = 0; k < v->format->nb_streams; k++)
        v->format->streams[k]->discard = (int)k == v->stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    return TG_MEDIA_OK;
}

static int find_stream(const AVFormatContext *format) {
    for (unsigned k = 0; k < format->nb_streams; k++) {
        const AVStream *s = format->streams[k];
        if (s->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !(s->disposition & AV_DISPOSITION_ATTACHED_PIC))
            return (int)k;
    }
    return -1;
}

static int is_allowed(enum AVCodecID id) {
    return id == AV_CODEC_ID_H264 || id == AV_CODEC_ID_HEVC || id == AV_CODEC_ID_VP8 || id == AV_CODEC_ID_VP9 ||
           id == AV_CODEC_ID_AV1 || id == AV_CODEC_ID_FFV1;
}

// What the container does not say (rate, pixel format), FFmpeg finds by decoding a little.
static int probe(tg_video *v, tg_media_error *error) {
    AVDictionary **options = av_calloc(v->format->nb_streams, sizeof *options);
    if (!options) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to open the video");
    char pixels[32];
    snprintf(pixels, sizeof pixels, "%lld", (long long)v->limits.pixels);
    const unsigned count = v->format->nb_streams;
    for (unsigned k = 0; k < count; k++) av_dict_set(&options[k], "max_pixels", pixels, 0);
    const int status = avformat_find_stream_info(v->format, options);
    for (unsigned k = 0; k < count; k++) av_dict_free(&options[k]);
    av_free(options);
    return status < 0 ? tg_fail(error, TG_MEDIA_INVALID, "the video is damaged or truncated") : TG_MEDIA_OK;
}

static int by_time(const void *a, const void *b) {
    const int64_t x = ((const packet_time *)a)->pts, y = ((const packet_time *)b)->pts;
    return x < y ? -1 : x > y;
}

static int count_frames(tg_video *v, tg_media_error *error) {
    int code = open_format(v, error);
    if (code) return code;
    AVPacket *packet = av_packet_alloc();
    if (!packet) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to read the video");
    int64_t room = 0;
    int timed = 1;
    v->frames = 0;
    while (av_read_frame(v->format, packet) >= 0) {
        if (packet->stream_index == v->stream && packet->size > 0 && !(packet->flags & AV_PKT_FLAG_DISCARD)) {
            if (v->frames >= v->limits.frames) {
                code = tg_fail(error, TG_MEDIA_TOO_LARGE, "the video has more than %lld frames",
                               (long long)v->limits.frames);
                break;
            }
            if (v->frames == room) {
                room = room ? room * 2 : 256;
                packet_time *larger = realloc(v->times, (size_t)room * sizeof *larger);
                if (!larger) {
                    code = tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to read the video");
                    break;
                }
                v->times = larger;
            }
            if (packet->pts == AV_NOPTS_VALUE) timed = 0;
            v->times[v->frames].pts = packet->pts;
            v->times[v->frames].is_key = (packet->flags & AV_PKT_FLAG_KEY) != 0;
            v->frames++;
        }
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    if (code) return code;
    if (v->frames == 0) return tg_fail(error, TG_MEDIA_INVALID, "the video has no frames");
    if (timed) {
        qsort(v->times, (size_t)v->frames, sizeof *v->times, by_time);
        for (int64_t k = 1; k < v->frames; k++)
            if (v->times[k].pts == v->times[k - 1].pts) timed = 0;
    }
    if (!timed) {
        free(v->times);
        v->times = NULL;
    }
    return TG_MEDIA_OK;
}

int tg_video_open(const uint8_t *bytes, size_t count, const tg_media_limits *limits, tg_video **result,
                  tg_video_info *info, tg_media_error *error) {
    *result = NULL;
    const char *name;
    switch (tg_media_sniff(bytes, count)) {
        case TG_MEDIA_MP4: name = "mov"; break;
        case TG_MEDIA_MATROSKA: name = "matroska"; break;
        case TG_MEDIA_UNKNOWN: {
            int32_t width, height;  // finds the words for what this is instead
            return tg_image_size(bytes, count, limits, &width, &height, error);
        }
        default:
            return tg_fail(error, TG_MEDIA_UNSUPPORTED,
                           "this is an image; send it as an image, not as a video");
    }
    tg_video *v = calloc(1, sizeof *v);
    if (!v) return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to open the video");
    v->source = (memory){bytes, (int64_t)count, 0};
    v->limits = *limits;
    v->stream = -1;
    v->demuxer = av_find_input_format(name);
    int code = v->demuxer ? open_format(v, error)
                          : tg_fail(error, TG_MEDIA_UNSUPPORTED, "this build of FFmpeg cannot read %s", name);
    if (code) goto failed;
    v->stream = find_stream(v->format);
    if (v->stream < 0) {
        code = tg_fail(error, TG_MEDIA_INVALID, "the file has no video stream");
        goto failed;
    }
    const AVCodecParameters *p = v->format->streams[v->stream]->codecpar;
    if (!is_allowed(p->codec_id)) {
        code = tg_fail(error, TG_MEDIA_UNSUPPORTED,
                       "video codec %s is not supported; send H.264, HEVC, VP8, VP9, AV1 or FFV1",
                       avcodec_get_name(p->codec_id));
        goto failed;
    }
    if (p->width > 0 && p->height > 0 && (code = tg_check_size(p->width, p->height, limits, "video", error)))
        goto failed;
    for (unsigned k = 0; k < v->format->nb_streams; k++)
        v->format->streams[k]->discard = (int)k == v->stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    // FFV1 needs nothing from probing, which would decode a frame.
    const int is_told = p->codec_id == AV_CODEC_ID_FFV1 && p->width > 0 && p->height > 0 &&
                        v->format->streams[v->stream]->avg_frame_rate.num > 0;
    if (!is_told && (code = probe(v, error))) goto failed;

    const AVStream *stream = v->format->streams[v->stream];
    AVRational rate = stream->avg_frame_rate;
    if (rate.num <= 0 || rate.den <= 0) rate = stream->r_frame_rate;
    v->parameters = avcodec_parameters_alloc();
    if (!v->parameters || avcodec_parameters_copy(v->parameters, stream->codecpar) < 0) {
        code = tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to open the video");
        goto failed;
    }
    v->time_base = stream->time_base;
    if ((code = tg_check_size(v->parameters->width, v->parameters->height, limits, "video", error)))
        goto failed;
    v->width = v->parameters->width;
    v->height = v->parameters->height;
    if ((code = count_frames(v, error))) goto failed;

    memset(info, 0, sizeof *info);
    info->width = v->width;
    info->height = v->height;
    info->frames = v->frames;
    info->fps_den = 1;
    if (rate.num > 0 && rate.den > 0) {
        info->fps_num = rate.num;
        info->fps_den = rate.den;
        const double seconds = (double)v->frames * rate.den / rate.num;
        info->duration_ms = seconds < 1e12 ? (int64_t)(seconds * 1000) : INT64_MAX;
    }
    snprintf(info->codec, sizeof info->codec, "%s", avcodec_get_name(v->parameters->codec_id));
    if (info->duration_ms > limits->duration_ms) {
        code = tg_fail(error, TG_MEDIA_TOO_LARGE, "the video runs %lld s; at most %lld s are accepted",
                       (long long)(info->duration_ms / 1000), (long long)(limits->duration_ms / 1000));
        goto failed;
    }
    *result = v;
    return TG_MEDIA_OK;
failed:
    tg_video_close(v);
    return code;
}

void tg_video_close(tg_video *v) {
    if (!v) return;
    close_format(v);
    avcodec_free_context(&v->codec);
    avcodec_parameters_free(&v->parameters);
    tg_colours_free(&v->colours);
    free(v->times);
    free(v);
}

// Slices of FFV1 are decoded together; FFmpeg's own threads would be made too late, behind the sandbox.
typedef struct {
    AVCodecContext *codec;
    int (*work)(AVCodecContext *codec, void *slice);
    uint8_t *slices;
    int *results;
    size_t size;
} slices;

static void decode_slice(void *context, int k) {
    const slices *s = context;
    const int result = s->work(s->codec, s->slices + (size_t)k * s->size);
    if (s->results) s->results[k] = result;
}

static int decode_slices(AVCodecContext *codec, int (*work)(AVCodecContext *codec, void *slice), void *all,
                         int *results, int count, int size) {
    slices s = {codec, work, all, results, (size_t)size};
    tg_together(decode_slice, &s, count);
    return 0;
}

static int open_codec(tg_video *v, tg_media_error *error) {
    avcodec_free_context(&v->codec);
    const AVCodec *codec = v->parameters->codec_id == AV_CODEC_ID_AV1
                               ? avcodec_find_decoder_by_name("libdav1d")
                               : avcodec_find_decoder(v->parameters->codec_id);
    if (!codec)
        return tg_fail(error, TG_MEDIA_UNSUPPORTED, "this build of FFmpeg cannot decode %s",
                       avcodec_get_name(v->parameters->codec_id));
    v->codec = avcodec_alloc_context3(codec);
    if (!v->codec || avcodec_parameters_to_context(v->codec, v->parameters) < 0)
        return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to decode the video");
    v->codec->thread_count = 1;
    if (v->parameters->codec_id == AV_CODEC_ID_FFV1) v->codec->execute = decode_slices;
    v->codec->max_pixels = v->limits.pixels;
    v->codec->pkt_timebase = v->time_base;
    AVDictionary *options = NULL;
    if (v->parameters->codec_id == AV_CODEC_ID_AV1) {
        av_dict_set(&options, "tilethreads", "1", 0);
        av_dict_set(&options, "framethreads", "1", 0);
    }
    const int status = avcodec_open2(v->codec, codec, &options);
    av_dict_free(&options);
    if (status >= 0) return TG_MEDIA_OK;
    return tg_fail(error, TG_MEDIA_INVALID, "the video cannot be decoded: its stream header is damaged");
}

// A frame this far ahead, or further, is reached through its keyframe.
#define SEEK_GAP 64
// Not a tg_media_code: the way by keyframes led nowhere, and all frames must be decoded in order.
#define IN_ORDER (-1)

typedef struct {
    const int64_t *indices;
    size_t count, place;
    size_t looked_ahead;  // place + 1 for which a jump was considered last
    int64_t frame;        // index of the next frame that the decoder gives
    int has_sought;       // or left out: from then on a frame is known by its time
    tg_picture picture;
    tg_video_deliver deliver;
    void *context;
} progress;

// Index of the last keyframe at or before a frame.
static int64_t keyframe_of(const tg_video *v, int64_t index) {
    while (index > 0 && !v->times[index].is_key) index--;
    return index;
}

static int64_t index_of(const tg_video *v, int64_t pts) {
    int64_t low = 0, high = v->frames;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (v->times[middle].pts < pts) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < v->frames && v->times[low].pts == pts ? low : -1;
}

static int show(tg_video *v, const AVFrame *frame, tg_picture *picture, tg_media_error *error) {
    if (frame->width != v->width || frame->height != v->height)
        return tg_fail(error, TG_MEDIA_UNSUPPORTED, "the video changes its size from %dx%d to %dx%d", v->width,
                       v->height, frame->width, frame->height);
    return tg_colours_rgb(&v->colours, frame, picture, error);
}

// Takes all frames that the decoder has ready.
static int drain(tg_video *v, AVFrame *frame, progress *p, tg_media_error *error) {
    while (p->place < p->count) {
        const int status = avcodec_receive_frame(v->codec, frame);
        if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return TG_MEDIA_OK;
        if (status == AVERROR(ENOMEM))
            return tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to decode the video");
        if (status < 0)
            return tg_fail(error, TG_MEDIA_INVALID, "frame %lld of the video is damaged", (long long)p->frame);
        if (p->has_sought) p->frame = index_of(v, frame->pts);
        const int64_t wanted = p->indices[p->place];
        int code = p->frame < 0 || p->frame > wanted ? IN_ORDER : TG_MEDIA_OK;
        if (!code && wanted == p->frame) code = show(v, frame, &p->picture, error);
        while (!code && p->place < p->count && p->indices[p->place] == p->frame) {
            code = p->deliver(p->context, (int64_t)p->place, &p->picture);
            p->place++;
        }
        av_frame_unref(frame);
        if (code) return code;
        p->frame++;
    }
    return TG_MEDIA_OK;
}

// Jumps ahead where that skips enough frames.
static int skip(tg_video *v, progress *p) {
    if (!v->times || p->looked_ahead == p->place + 1) return TG_MEDIA_OK;
    p->looked_ahead = p->place + 1;
    if (p->indices[p->place] - p->frame < SEEK_GAP) return TG_MEDIA_OK;
    const int64_t key = keyframe_of(v, p->indices[p->place]);
    if (key - p->frame < SEEK_GAP) return TG_MEDIA_OK;
    if (av_seek_frame(v->format, v->stream, v->times[key].pts, AVSEEK_FLAG_BACKWARD) < 0) return IN_ORDER;
    avcodec_flush_buffers(v->codec);
    p->has_sought = 1;
    p->frame = key;
    return TG_MEDIA_OK;
}

// Has the decoder leave out a frame of H.264 that is not wanted and that no other frame needs. From the first
// such frame on frames are known by their time; one that is missed for it is found in a second run.
static void leave_out(tg_video *v, const AVPacket *packet, progress *p) {
    if (v->codec->codec_id != AV_CODEC_ID_H264 || !v->times) return;
    const int64_t index = index_of(v, packet->pts);
    size_t low = p->place, high = p->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (p->indices[middle] < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const int is_wanted = index < 0 || (low < p->count && p->indices[low] == index);
    v->codec->skip_frame = is_wanted ? AVDISCARD_DEFAULT : AVDISCARD_NONREF;
    if (!is_wanted) p->has_sought = 1;
}

// Decodes from the start of the file what is still wanted.
static int run(tg_video *v, progress *p, int may_skip, AVPacket *packet, AVFrame *frame,
               tg_media_error *error) {
    int code = open_format(v, error);
    if (!code) code = open_codec(v, error);
    p->frame = 0;
    p->has_sought = 0;
    int ended = 0;
    while (!code && p->place < p->count && !ended) {
        if (may_skip && (code = skip(v, p))) break;
        const int status = av_read_frame(v->format, packet);
        ended = status < 0;
        if (!ended && packet->stream_index != v->stream) {
            av_packet_unref(packet);
            continue;
        }
        if (may_skip && !ended) leave_out(v, packet, p);
        const int sent = avcodec_send_packet(v->codec, ended ? NULL : packet);
        av_packet_unref(packet);
        if (sent == AVERROR(ENOMEM)) {
            code = tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to decode the video");
        } else if (sent < 0 && sent != AVERROR_EOF) {
            code = tg_fail(error, TG_MEDIA_INVALID, "frame %lld of the video is damaged", (long long)p->frame);
        } else {
            code = drain(v, frame, p, error);
        }
    }
    return !code && p->place < p->count && p->has_sought ? IN_ORDER : code;
}

int tg_video_decode(tg_video *v, const int64_t *indices, size_t count, tg_video_deliver deliver, void *context,
                    int64_t *decoded, tg_media_error *error) {
    *decoded = 0;
    for (size_t k = 0; k < count; k++)
        if (indices[k] < 0 || indices[k] >= v->frames || (k && indices[k] < indices[k - 1]))
            return tg_fail(error, TG_MEDIA_INVALID, "frame %lld was asked for", (long long)indices[k]);
    progress p = {.indices = indices, .count = count, .deliver = deliver, .context = context};
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int code = packet && frame ? tg_picture_make(&p.picture, v->width, v->height, error)
                               : tg_fail(error, TG_MEDIA_MEMORY, "not enough memory to decode the video");
    if (!code) {
        code = run(v, &p, 1, packet, frame, error);
        if (p.has_sought && (code == IN_ORDER || code == TG_MEDIA_INVALID))
            code = run(v, &p, 0, packet, frame, error);
        if (code == IN_ORDER)
            code = tg_fail(error, TG_MEDIA_INVALID, "frame %lld of the video is damaged", (long long)p.frame);
    }
    *decoded = p.frame;
    if (!code && p.place < p.count)
        code = p.frame == 0 ? tg_fail(error, TG_MEDIA_INVALID, "the video has no frames")
                            : tg_fail(error, TG_MEDIA_SHORT, "the video ends after %lld of its %lld frames",
                                      (long long)p.frame, (long long)v->frames);
    tg_picture_free(&p.picture);
    av_frame_free(&frame);
    av_packet_free(&packet);
    return code;
}
