// The walls around decoding. The filter is a list of what decoding needs: memory, the descriptors that are
// already open, the clock. There is no way to open a file, make a socket, a thread or a process, or to make
// memory executable; the kernel kills the process that tries.

#define _GNU_SOURCE
#include "internal.h"
#include "together.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavutil/cpu.h>
#include <libavutil/log.h>

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "the system call filter knows x86-64 and aarch64"
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define GIVE(action) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_##action)
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), GIVE(ALLOW)
// Allowed where no bit of `bits` is set in the low half of argument `n`; both ends of this machine are little.
#define ALLOW_WITHOUT(name, n, bits)                                                                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), LOAD(args[n]),                               \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0), GIVE(ALLOW), GIVE(KILL_PROCESS)
// Allowed where the low half of argument `n` is `value`.
#define ALLOW_WITH(name, n, value)                                                                       \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), LOAD(args[n]),                               \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), GIVE(ALLOW), GIVE(KILL_PROCESS)

static int by_byte(const void *a, const void *b) { return *(const char *)a - *(const char *)b; }

void tg_media_prepare(void) {
    av_log_set_level(AV_LOG_QUIET);
    // gmtime of a container's dates reads the zone file once; qsort asks for the memory's size once.
    tzset();
    char some[4096];
    for (size_t k = 0; k < sizeof some; k++) some[k] = (char)(k * 7);
    qsort(some, sizeof some / 16, 16, by_byte);
    // Decoders look at the processor when they are first found.
    avcodec_find_decoder(AV_CODEC_ID_PNG);
    av_get_cpu_flags();
    av_cpu_count();
}

static int limit(int resource, uint64_t soft, uint64_t hard) {
    const struct rlimit value = {soft, hard};
    return setrlimit(resource, &value) == 0 ? 0 : errno;
}

int tg_media_sandbox(uint64_t address_space, uint64_t cpu_seconds) {
    static const struct sock_filter filter[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
        GIVE(KILL_PROCESS),
        LOAD(nr),
        ALLOW(read),
        ALLOW(write),
        ALLOW(pread64),
        ALLOW(pwrite64),
        ALLOW(futex),
        ALLOW(brk),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(madvise),
        ALLOW(clock_gettime),
        ALLOW(gettimeofday),
        ALLOW(recvmsg),
        ALLOW(sendmsg),
        ALLOW(lseek),
        ALLOW(fstat),
        ALLOW(close),
        ALLOW(getrandom),
        ALLOW(sched_getaffinity),
        ALLOW(sched_yield),
        ALLOW(sysinfo),
        ALLOW(getpid),
        ALLOW(gettid),
        ALLOW(rt_sigreturn),
        ALLOW(rt_sigprocmask),
        ALLOW(restart_syscall),
        ALLOW(exit),
        ALLOW(exit_group),
        ALLOW_WITHOUT(mmap, 2, PROT_EXEC),
        ALLOW_WITHOUT(mprotect, 2, PROT_EXEC),
        ALLOW_WITH(newfstatat, 3, AT_EMPTY_PATH),
        ALLOW_WITH(prlimit64, 0, 0),
        GIVE(KILL_PROCESS),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, (struct sock_filter *)filter};
    int code;
    if ((code = limit(RLIMIT_AS, address_space, address_space))) return code;
    if ((code = limit(RLIMIT_CPU, cpu_seconds, cpu_seconds + 1))) return code;
    if ((code = limit(RLIMIT_CORE, 0, 0))) return code;
    if ((code = limit(RLIMIT_NOFILE, 16, 16))) return code;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) return errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return errno;
    if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0) return 0;
    // A service manager's own filter may lack seccomp(2), which alone reaches other threads.
    tg_helpers_end();
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) ? errno : 0;
}

int tg_media_limit_cpu(uint64_t seconds) {
    struct timespec used = {0, 0};
    struct rlimit now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    if (getrlimit(RLIMIT_CPU, &now)) return errno;
    const uint64_t soft = (uint64_t)used.tv_sec + seconds;
    if (soft >= now.rlim_cur) return 0;
    return limit(RLIMIT_CPU, soft, now.rlim_max);
}

static void *nothing(void *argument) { return argument; }

int tg_media_probe(const char *what) {
    if (strcmp(what, "file") == 0) {
        open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    } else if (strcmp(what, "socket") == 0) {
        socket(AF_INET, SOCK_STREAM, 0);
    } else if (strcmp(what, "process") == 0) {
        if (fork() == 0) _exit(0);
    } else if (strcmp(what, "thread") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, nothing, NULL);
    } else if (strcmp(what, "exec") == 0) {
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    } else if (strcmp(what, "time") == 0) {
        for (volatile int spinning = 1; spinning;) {
        }
    } else {
        return -1;
    }
    return 0;
}
