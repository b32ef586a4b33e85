// Products with quantised weights for every x86-64.

#include <immintrin.h>

#include <cstddef>

#include "kernels.hpp"
#include "quant.hpp"


namespace tg {
namespace baseline_q {
#include "quant.inl"
}  // namespace baseline_q

const QuantKernels baseline_quant = baseline_q::table("baseline");

}  // namespace tg
