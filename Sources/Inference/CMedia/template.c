// The process that decoders are copied from. Loading and linking FFmpeg's libraries takes tens of milliseconds
// of processor time, a copy of a process that has done so takes less than one.
//
// 1. The template is single-threaded and never sees a medium: a copy is as clean as a new process.
// 2. Copies are children of the template's own parent, who waits for them and ends them by their number.
// 3. A copy ends with the thread that started the template, as the template does.

#define _GNU_SOURCE
#include "cmedia.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// Waits for one byte with one descriptor. -1 where the other end went away or sends something else.
static int next_socket(void) {
    char byte;
    struct iovec vector = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t count;
    do count = recvmsg(0, &message, MSG_CMSG_CLOEXEC);
    while (count < 0 && errno == EINTR);
    const struct cmsghdr *header = count == 1 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int))) return -1;
    int socket;
    memcpy(&socket, CMSG_DATA(header), sizeof socket);
    return socket;
}

int tg_media_copies(void) {
    const pid_t parent = getppid();
    for (;;) {
        const int socket = next_socket();
        if (socket < 0) return -1;
        // Not fork(): it has no way to give the copy another parent. All arguments but the flags are 0, whose
        // order differs between processors.
        const int32_t copy = (int32_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (copy == 0) {
            if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || dup2(socket, 0) != 0) _exit(1);
            close(socket);
            return 0;
        }
        const int32_t answer = copy > 0 ? copy : -errno;
        close(socket);
        if (send(0, &answer, sizeof answer, MSG_NOSIGNAL) != (ssize_t)sizeof answer) return -1;
    }
}
