// Kernels that are still to come; each definition elsewhere replaces the one here.

#include <stdexcept>
#include <string>

#include "kernels.hpp"

namespace tg::device {

namespace {
[[noreturn]] void missing(const char *what) { throw std::runtime_error(std::string("no kernel yet: ") + what); }
}  // namespace

#define TG_PENDING __attribute__((weak))
TG_PENDING void launch_linear_attention(const float *, const float *, int64_t, int64_t, const RecurrenceRow *,
                                        int64_t, float *) { missing("linear attention"); }
TG_PENDING void launch_packed_gemv(const QuantPart &, tg_dtype, const void *, int64_t, const void *, tg_dtype,
                                   void *, int64_t) { missing("packed gemv"); }
TG_PENDING void launch_pair_angles(const float *, int64_t, const int32_t *, int64_t, float *) {
    missing("pair angles");
}
TG_PENDING void launch_sample(const float *, int64_t, int64_t, const SampleRow *, const int32_t *, float *,
                              tg_sampled *) { missing("sample"); }
TG_PENDING void launch_turn_pairs(const float *, const float *, int64_t, int64_t, float *) { missing("turn pairs"); }
TG_PENDING void launch_unpack(const QuantPart &, int64_t, int64_t, tg_dtype, void *) { missing("unpack"); }
TG_PENDING void launch_unpack_rows(const QuantPart &, const int32_t *, int64_t, tg_dtype, void *) {
    missing("unpack rows");
}

}  // namespace tg::device
