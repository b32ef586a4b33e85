// How a kernel is started: by NVRTC and the driver, or by the emulator.
#pragma once

namespace tg::device {

struct Grid {
    unsigned x, y, z;
};

/// Starts one kernel of kernels/*.cu by its name, on the current stream; throws where that fails.
///
/// `arguments`: the address of each argument, as cuLaunchKernel takes them. Some kernels ask for more than 48
/// KiB of shared memory (attention, up to 99), which the driver must be told before.
void launch(const char *name, Grid grid, Grid block, unsigned shared_bytes, void **arguments);

}  // namespace tg::device
