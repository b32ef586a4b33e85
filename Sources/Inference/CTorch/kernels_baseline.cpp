// The kernels for every x86-64.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"

namespace tg {
namespace baseline {
#include "kernels.inl"
}  // namespace baseline

extern const Kernels baseline_kernels;
const Kernels baseline_kernels = baseline::table("baseline");

}  // namespace tg
