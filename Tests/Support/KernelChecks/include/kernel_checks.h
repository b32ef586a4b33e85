// The device's kernels, run by the emulator, against the CPU's operations.

#ifndef KERNEL_CHECKS_H
#define KERNEL_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int32_t kernel_check_count(void);
const char *kernel_check_name(int32_t index);
/// NULL where the check holds, else what differs; the text lives until the thread's next call. `backwards`: the
/// emulator gives a block's threads their turns from the last to the first, which shows missing barriers.
const char *kernel_check_run(int32_t index, bool backwards);

#ifdef __cplusplus
}
#endif
#endif
