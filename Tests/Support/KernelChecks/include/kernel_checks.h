// The device's kernels, run by the emulator, against the CPU's operations.

#ifndef KERNEL_CHECKS_H
#define KERNEL_CHECKS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int32_t kernel_check_count(void);
const char *kernel_check_name(int32_t index);
/// NULL where the check holds, else what differs; the text lives until the thread's next call.
const char *kernel_check_run(int32_t index);

#ifdef __cplusplus
}
#endif
#endif
