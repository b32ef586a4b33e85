// Input and output of a job: descriptors that came with it.

#define _GNU_SOURCE
#include "cmedia.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const uint8_t *tg_media_map(int fd, size_t count) {
    void *bytes = mmap(NULL, count, PROT_READ, MAP_PRIVATE, fd, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

int tg_media_write(int fd, const uint8_t *bytes, size_t count, int64_t offset) {
    while (count > 0) {
        const ssize_t written = pwrite(fd, bytes, count, offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return written == 0 ? EIO : errno;
        bytes += written;
        count -= (size_t)written;
        offset += written;
    }
    return 0;
}

int64_t tg_media_file_size(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? (int64_t)status.st_size : -1;
}
