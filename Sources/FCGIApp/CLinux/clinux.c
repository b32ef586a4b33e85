#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const uint32_t TG_EPOLLIN = EPOLLIN, TG_EPOLLOUT = EPOLLOUT, TG_EPOLLRDHUP = EPOLLRDHUP,
               TG_EPOLLHUP = EPOLLHUP, TG_EPOLLERR = EPOLLERR, TG_EPOLLET = EPOLLET,
               TG_EPOLLONESHOT = EPOLLONESHOT;

int tg_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int epoll_change(int epoll, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(epoll, op, fd, &event);
}

int tg_epoll_add(int epoll, int fd, uint32_t events, uint64_t data) {
    return epoll_change(epoll, EPOLL_CTL_ADD, fd, events, data);
}

int tg_epoll_remove(int epoll, int fd) { return epoll_change(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

int tg_epoll_wait(int epoll, tg_epoll_event *events, int capacity, int timeout_ms) {
    enum { LIMIT = 256 };
    struct epoll_event native[LIMIT];
    if (capacity > LIMIT) capacity = LIMIT;
    int count = epoll_wait(epoll, native, capacity, timeout_ms);
    for (int i = 0; i < count; i++) {
        events[i].events = native[i].events;
        events[i].data = native[i].data.u64;
    }
    return count;
}

int tg_accept(int listener, int nonblocking) {
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
}

int tg_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static void fill(sigset_t *set, const int *signals, int count) {
    sigemptyset(set);
    for (int i = 0; i < count; i++) sigaddset(set, signals[i]);
}

static int block_signals(const int *signals, int count) {
    sigset_t set;
    fill(&set, signals, count);
    int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (error == 0) return 0;
    errno = error;
    return -1;
}

int tg_signalfd(const int *signals, int count) {
    sigset_t set;
    fill(&set, signals, count);
    if (block_signals(signals, count) != 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int tg_signalfd_read(int fd) {
    struct signalfd_siginfo info;
    ssize_t count = read(fd, &info, sizeof info);
    if (count == (ssize_t)sizeof info) return (int)info.ssi_signo;
    return (count < 0 && errno == EAGAIN) ? 0 : -1;
}

int tg_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }

int tg_memfd_seal(int fd) {
    return fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
}

int tg_memfd_seal_growth(int fd) { return fcntl(fd, F_ADD_SEALS, F_SEAL_GROW); }

int tg_memfd_is_sealed(int fd) {
    int wanted = F_SEAL_WRITE | F_SEAL_SHRINK;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & wanted) == wanted;
}

int tg_socketpair(int fds[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds); }

static int change_flag(int fd, int get, int set, int flag, int on) {
    int flags = fcntl(fd, get);
    if (flags < 0) return -1;
    return fcntl(fd, set, on ? flags | flag : flags & ~flag);
}

int tg_set_cloexec(int fd, int on) { return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on); }

int tg_set_nonblocking(int fd, int on) { return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on); }

static int unix_address(const char *path, struct sockaddr_un *address, socklen_t *length) {
    size_t count = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (count == 0 || count >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address->sun_path, path, count);
    if (path[0] == '@') address->sun_path[0] = 0;
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + count + (path[0] == '@' ? 0 : 1));
    return 0;
}

static int close_with_errno(int fd) {
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int tg_unix_listen(const char *path, int backlog, mode_t mode) {
    struct sockaddr_un address;
    socklen_t length;
    if (unix_address(path, &address, &length) != 0) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    // Bind under a mask that denies all, then open to `mode`: no moment with wider rights.
    if (path[0] != '@') unlink(path);
    mode_t before = umask(0777);
    int bound = bind(fd, (struct sockaddr *)&address, length);
    umask(before);
    if (bound != 0) return close_with_errno(fd);
    if (path[0] != '@' && chmod(path, mode) != 0) return close_with_errno(fd);
    if (listen(fd, backlog) != 0) return close_with_errno(fd);
    return fd;
}

int tg_unix_connect(const char *path) {
    struct sockaddr_un address;
    socklen_t length;
    if (unix_address(path, &address, &length) != 0) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&address, length) != 0) return close_with_errno(fd);
    return fd;
}

int tg_unix_datagram_send(const char *path, const void *bytes, size_t count) {
    struct sockaddr_un address;
    socklen_t length;
    if (unix_address(path, &address, &length) != 0) return -1;
    if (path[0] != '@') length -= 1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    ssize_t sent = sendto(fd, bytes, count, MSG_NOSIGNAL, (struct sockaddr *)&address, length);
    if (sent < 0) return close_with_errno(fd);
    close(fd);
    return 0;
}

int tg_peer_credentials(int fd, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -1;
    *pid = credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

enum { MAX_FDS = 8 };

ssize_t tg_send_fds(int socket, const void *bytes, size_t count, const int *fds, int fd_count) {
    if (fd_count < 0 || fd_count > MAX_FDS) {
        errno = EINVAL;
        return -1;
    }
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    union {
        char buffer[CMSG_SPACE(sizeof(int) * MAX_FDS)];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)fd_count);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

ssize_t tg_recv_fds(int socket, void *bytes, size_t capacity, int *fds, int fd_capacity, int *fd_count) {
    struct iovec vector = {.iov_base = bytes, .iov_len = capacity};
    union {
        char buffer[CMSG_SPACE(sizeof(int) * MAX_FDS)];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof control.buffer};
    *fd_count = 0;
    ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (count < 0) return -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        int received = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < received; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + sizeof(int) * (size_t)i, sizeof fd);
            if (*fd_count < fd_capacity) fds[(*fd_count)++] = fd;
            else close(fd);
        }
    }
    return count;
}

int tg_open_beneath(int folder, const char *name) {
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
}

int tg_getrandom(void *bytes, size_t count) {
    char *next = bytes;
    while (count > 0) {
        ssize_t got = getrandom(next, count, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        next += got;
        count -= (size_t)got;
    }
    return 0;
}

int tg_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int tg_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

int tg_set_dumpable(int on) { return prctl(PR_SET_DUMPABLE, on, 0, 0, 0); }

int tg_refuse_exec_gain(void) {
    // PR_SET_MDWE = 65; REFUSE_EXEC_GAIN = 1, NO_INHERIT = 2 (Linux 6.6). Older kernels know only 1,
    // which children would inherit, so there it is not set.
    return prctl(65, 1UL | 2UL, 0, 0, 0);
}

int tg_disable_core_dumps(void) {
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_CORE, &none);
}

void tg_return_large_blocks(void) {
    // A fixed threshold: glibc's own grows with the largest block freed, and such blocks then stay in the heap.
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

int tg_raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
    return limit.rlim_cur > 0x7fffffff ? 0x7fffffff : (int)limit.rlim_cur;
}

int tg_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int tg_wait_status(int status) {
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int is_kept(int fd, const int *kept, int count) {
    for (int i = 0; i < count; i++)
        if (kept[i] == fd) return 1;
    return 0;
}

// Runs in the child between fork and exec: async-signal-safe calls only.
static void become(char *const argv[], char *const envp[], const int stdio[3], const int *keep_fds,
                   int keep_count, int nice_value, int parent_death_signal, int report) {
    sigset_t none;
    sigemptyset(&none);
    for (int signal_number = 1; signal_number < 65; signal_number++) signal(signal_number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (parent_death_signal) prctl(PR_SET_PDEATHSIG, parent_death_signal, 0, 0, 0);
    if (nice_value) setpriority(PRIO_PROCESS, 0, nice_value);
    int copies[3];
    for (int i = 0; i < 3; i++) copies[i] = fcntl(stdio[i], F_DUPFD, 10);
    for (int i = 0; i < 3; i++) {
        if (copies[i] < 0) continue;
        dup2(copies[i], i);
        close(copies[i]);
    }
    for (int i = 0; i < keep_count; i++) tg_set_cloexec(keep_fds[i], 0);
    unsigned low = 3;
    int limit = 65536;  // beyond: close_range below covers it; this loop only finds the gaps
    for (int fd = 3; fd < limit && keep_count > 0; fd++) {
        if (!is_kept(fd, keep_fds, keep_count) && fd != report) continue;
        if ((unsigned)fd > low) syscall(SYS_close_range, low, (unsigned)fd - 1, 0);
        low = (unsigned)fd + 1;
    }
    if (keep_count == 0) {
        if (report > 3) syscall(SYS_close_range, 3u, (unsigned)report - 1, 0);
        low = (unsigned)report + 1;
    }
    syscall(SYS_close_range, low, ~0u, 0);
    execve(argv[0], argv, envp);
    int error = errno;
    ssize_t ignored = write(report, &error, sizeof error);
    (void)ignored;
    _exit(127);
}

pid_t tg_spawn(char *const argv[], char *const envp[], int stdin_fd, int stdout_fd, int stderr_fd,
               const int *keep_fds, int keep_count, int nice_value, int parent_death_signal) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) return -1;
    const int stdio[3] = {stdin_fd, stdout_fd, stderr_fd};
    pid_t pid = fork();
    if (pid < 0) {
        int saved = errno;
        close(report[0]);
        close(report[1]);
        errno = saved;
        return -1;
    }
    if (pid == 0)
        become(argv, envp, stdio, keep_fds, keep_count, nice_value, parent_death_signal, report[1]);
    close(report[1]);
    int error = 0;
    ssize_t count;
    do count = read(report[0], &error, sizeof error);
    while (count < 0 && errno == EINTR);
    close(report[0]);
    if (count == (ssize_t)sizeof error) {
        waitpid(pid, NULL, 0);
        errno = error;
        return -1;
    }
    return pid;
}

uint64_t tg_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
