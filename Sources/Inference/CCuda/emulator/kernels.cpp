// The kernels' own sources, for the host.
#include "device.hpp"

namespace {
#include "../kernels/common.cu"
// The others, as NVRTC gets them after it.
#include "../kernels/attention.cu"
#include "../kernels/gemv.cu"
#include "../kernels/layers.cu"
#include "../kernels/recurrence.cu"
#include "../kernels/sampler.cu"
#include "../kernels/weights.cu"
}  // namespace
