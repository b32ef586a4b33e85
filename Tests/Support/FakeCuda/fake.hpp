// CUDA without a device, for tests of what the emulated device leaves out: the driver and NVRTC as they are
// called, libtorch's own allocator, streams and graphs.
//
// 1. Memory is the host's. Our kernels run in the emulator, dense products here; libtorch's kernels do
// nothing.
// 2. A stream's work is done when someone waits for it, as late as a device might.
// 3. What a device would refuse is refused, and told on standard error: above all what may not be called
// while a stream is recorded.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace fake {

using Work = std::function<void()>;

struct Stream {
    bool records = false, broken = false;
    unsigned long long id = 0;  // of the recording
    size_t done = 0;            // pieces of work, since the start
    std::deque<Work> pending;
    std::vector<Work> recorded;
};

extern std::recursive_mutex lock;

/// Counts a call; the numbers are written to the file FAKE_CUDA_REPORT in the end.
void count(const std::string &what);
/// What a device refuses; breaks a recording.
void refuse(const std::string &what);
/// An error where `what` may not be called now because a stream is recorded.
cudaError_t unless_recording(const char *what);
/// Puts work on a stream, or into its recording.
cudaError_t enqueue(cudaStream_t stream, const char *what, Work work);
/// Does what waits on every stream.
void finish();
/// Whether work is under way; whether a stream is recorded.
bool is_busy();
bool is_recording();
/// Takes or gives `bytes` of the device's memory; false where there is not so much.
bool take(size_t bytes);
void give(size_t bytes);
/// Whether this thread has chosen the device.
bool has_context();

}  // namespace fake
