// Decoding, resizing and the sandbox of `torchgate-media`, as a small C face.
//
// Functions that can fail return 0 when they did what they say; otherwise a tg_media_code, with one line
// for the client in `error`. Nothing is global but the sandbox; one thread.
#ifndef TORCHGATE_CMEDIA_H
#define TORCHGATE_CMEDIA_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    TG_MEDIA_OK = 0,
    TG_MEDIA_INVALID = 1,      // damaged, truncated, or not media at all
    TG_MEDIA_UNSUPPORTED = 2,  // recognised, but not a format that is decoded here
    TG_MEDIA_TOO_LARGE = 3,    // beyond a limit
    TG_MEDIA_MEMORY = 4,       // an allocation failed under RLIMIT_AS
    TG_MEDIA_SHORT = 5,        // a clip has fewer frames than packets were counted
} tg_media_code;

typedef enum {
    TG_MEDIA_UNKNOWN = 0,
    TG_MEDIA_JPEG,
    TG_MEDIA_PNG,
    TG_MEDIA_WEBP,
    TG_MEDIA_GIF,
    TG_MEDIA_BMP,
    TG_MEDIA_MP4,
    TG_MEDIA_MATROSKA,  // and WebM
} tg_media_format;

// Limits that are read off headers before anything large is allocated, and checked again afterwards.
typedef struct {
    int64_t pixels;       // of one image or frame
    int64_t side;         // of the longer side
    int64_t frames;       // in the whole clip, chosen or not
    int64_t duration_ms;  // of the clip
    int32_t scans;        // of a progressive JPEG
} tg_media_limits;

typedef struct {
    char text[256];
} tg_media_error;

// Interleaved RGB, 8 bits, rows without gaps; freed by tg_picture_free.
typedef struct {
    uint8_t *rgb;
    int32_t width, height;
} tg_picture;

// The format that the first bytes announce; names and content types are not asked.
tg_media_format tg_media_sniff(const uint8_t *bytes, size_t count);
const char *tg_media_format_name(tg_media_format format);

// Width and height as the header tells them, checked against the limits.
int tg_image_size(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int32_t *width,
                  int32_t *height, tg_media_error *error);

// Decodes an image (of an animation the first frame) as Pillow's convert("RGB") does: alpha is dropped.
// `orient` turns it as its EXIF orientation says.
int tg_image_decode(const uint8_t *bytes, size_t count, const tg_media_limits *limits, int orient,
                    tg_picture *picture, tg_media_error *error);
void tg_picture_free(tg_picture *picture);

// Pillow's numbers.
typedef enum { TG_NEAREST = 0, TG_LANCZOS = 1, TG_BILINEAR = 2, TG_BICUBIC = 3 } tg_resampling;

// Antialiased, in integers: bit for bit what torchvision's resize runs on uint8 (at::_upsample_bicubic2d_aa,
// _bilinear2d_aa, _lanczos2d_aa, _nearest_exact2d). `to` holds 3 * to_width * to_height bytes.
int tg_resize(const tg_picture *from, uint8_t *to, int32_t to_width, int32_t to_height,
              tg_resampling resampling, tg_media_error *error);

// A clip. The bytes must outlive it.
typedef struct tg_video tg_video;

typedef struct {
    int32_t width, height;
    int64_t frames;            // counted, not believed
    int32_t fps_num, fps_den;  // 0/1 where unknown
    int64_t duration_ms;
    char codec[16];
} tg_video_info;

// Opens mp4, WebM or Matroska from memory and counts its frames without decoding them.
int tg_video_open(const uint8_t *bytes, size_t count, const tg_media_limits *limits, tg_video **video,
                  tg_video_info *info, tg_media_error *error);

// Decodes the frames with the given indices (ascending, may repeat) and gives each to `deliver` with its
// place in the list; a result other than 0 of `deliver` ends the decoding with that result.
typedef int (*tg_video_deliver)(void *context, int64_t place, const tg_picture *frame);
// `decoded` receives the frames seen: fewer than counted where the result is TG_MEDIA_SHORT.
int tg_video_decode(tg_video *video, const int64_t *indices, size_t count, tg_video_deliver deliver,
                    void *context, int64_t *decoded, tg_media_error *error);
void tg_video_close(tg_video *video);

// Loads what is loaded lazily, so that nothing is opened later. Called once before tg_media_sandbox.
void tg_media_prepare(void);

// Makes a copy of this process, a child of its parent, for each descriptor that comes with a byte over the
// socket on descriptor 0, and answers with the copy's process number, or a negative errno (int32). Returns 0
// in a copy, which has the descriptor as its descriptor 0; -1 in the template, once the other end went away.
int tg_media_copies(void);

// Starts threads that help with what can be divided: they exist before the sandbox, which lets none be made.
// Once, from the only thread.
void tg_helpers_start(int count);

// Gives up for good: new privileges, core dumps, address space beyond `address_space` bytes, CPU beyond
// `cpu_seconds`, new files; and by seccomp every system call that decoding does not need, whose use kills
// the process. 0, or errno.
int tg_media_sandbox(uint64_t address_space, uint64_t cpu_seconds);
// Lowers the CPU limit to `seconds` from now on. 0, or errno.
int tg_media_limit_cpu(uint64_t seconds);

// Does one thing that the sandbox forbids ("file", "socket", "process", "thread", "exec", or "time": to run
// forever) and returns 0 where it was let; the process is dead otherwise. -1 for another name.
int tg_media_probe(const char *what);

// A read-only view of a descriptor's first `count` bytes, NULL with errno set where there is none.
const uint8_t *tg_media_map(int fd, size_t count);
// Writes all bytes at `offset`. 0, or errno.
int tg_media_write(int fd, const uint8_t *bytes, size_t count, int64_t offset);
// Size of a descriptor's file, -1 with errno set.
int64_t tg_media_file_size(int fd);

#endif
