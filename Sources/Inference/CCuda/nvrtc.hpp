// The kernels for this GPU: compiled by NVRTC when they are needed first, then taken from a cache.
#pragma once

namespace tg::device {

/// Loads every kernel for compute capability `major`.`minor`; `cache`: a folder, or null.
///
/// A cached file that is not as it was written is compiled anew; a cache that cannot be written is done
/// without.
void load_kernels(const char *cache, int major, int minor);

}  // namespace tg::device
