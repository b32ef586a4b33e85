// The Linux system calls that Swift's Glibc module lacks, as plain functions.
// Constants that are complex macros or enums in C come as tg_* functions or constants.
// Every function sets errno and returns as its man page says.
#ifndef TORCHGATE_CLINUX_H
#define TORCHGATE_CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// epoll: events carry a u64 of the caller's.
typedef struct {
    uint32_t events;
    uint64_t data;
} tg_epoll_event;

extern const uint32_t TG_EPOLLIN, TG_EPOLLOUT, TG_EPOLLRDHUP, TG_EPOLLHUP, TG_EPOLLERR, TG_EPOLLET,
    TG_EPOLLONESHOT;

int tg_epoll_create(void);  // close-on-exec
int tg_epoll_add(int epoll, int fd, uint32_t events, uint64_t data);
int tg_epoll_remove(int epoll, int fd);
int tg_epoll_wait(int epoll, tg_epoll_event *events, int capacity, int timeout_ms);

// accept4 with SOCK_CLOEXEC, and SOCK_NONBLOCK if asked.
int tg_accept(int listener, int nonblocking);
int tg_eventfd(void);  // nonblocking, close-on-exec
// Blocks the given signals in the calling thread and returns a descriptor that reports them.
int tg_signalfd(const int *signals, int count);
// Next pending signal number of a signalfd, 0 when there is none, -1 on error.
int tg_signalfd_read(int fd);

// memfd with close-on-exec and sealing allowed; seals: against write, grow, shrink and more seals.
int tg_memfd(const char *name);
int tg_memfd_seal(int fd);
int tg_memfd_seal_growth(int fd);  // it can still be written and cut
int tg_memfd_is_sealed(int fd);  // whether it can neither be written nor shrink
int tg_socketpair(int fds[2]);  // AF_UNIX stream, close-on-exec
int tg_set_cloexec(int fd, int on);
int tg_set_nonblocking(int fd, int on);

// AF_UNIX stream sockets. An abstract name starts with '@'. The listener's file gets `mode`.
int tg_unix_listen(const char *path, int backlog, mode_t mode);
int tg_unix_connect(const char *path);
int tg_unix_datagram_send(const char *path, const void *bytes, size_t count);
// Credentials of the peer of a unix socket; 0 on success.
int tg_peer_credentials(int fd, pid_t *pid, uid_t *uid, gid_t *gid);

// Sends bytes with up to 8 descriptors on the first byte; MSG_NOSIGNAL.
ssize_t tg_send_fds(int socket, const void *bytes, size_t count, const int *fds, int fd_count);
// Receives bytes; descriptors that came along are stored (close-on-exec) and counted.
ssize_t tg_recv_fds(int socket, void *bytes, size_t capacity, int *fds, int fd_capacity, int *fd_count);

// Opens a file for reading by its relative name below a folder: no symbolic link on the way, nothing outside,
// never waits (a FIFO opens at once). -1 with errno ENOSYS where the kernel lacks openat2.
int tg_open_beneath(int folder, const char *name);

int tg_getrandom(void *bytes, size_t count);  // 0 when filled
int tg_set_thread_name(const char *name);
int tg_adopt_orphans(void);  // descendants whose parent ends become children of this process
int tg_set_dumpable(int on);
int tg_refuse_exec_gain(void);  // PR_SET_MDWE REFUSE_EXEC_GAIN|NO_INHERIT; -1 where the kernel lacks it
int tg_disable_core_dumps(void);
void tg_return_large_blocks(void);  // freed blocks of 1 MiB and more go back to the system at once
int tg_raise_file_limit(void);  // soft RLIMIT_NOFILE to the hard one; returns the new soft limit
int tg_pidfd_open(pid_t pid);
// Decodes a wait status: exit code in the low 8 bits, or 256 + signal.
int tg_wait_status(int status);

// Spawns argv[0] with envp in a session of its own, given stdio descriptors and nice value.
// Other descriptors are closed, but those in keep_fds keep their numbers. Signals start unblocked and
// default. Returns the pid, or -1 with errno set (also where exec failed).
pid_t tg_spawn(char *const argv[], char *const envp[], int stdin_fd, int stdout_fd, int stderr_fd,
               const int *keep_fds, int keep_count, int nice_value, int parent_death_signal);

uint64_t tg_monotonic_ns(void);

#endif
