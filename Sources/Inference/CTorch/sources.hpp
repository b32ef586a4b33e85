// Weights with scales of their own, as `tg_source` tells of them.
#pragma once

#include <cstdint>

#include "include/ctorch.h"

namespace tg {

inline int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// bitsandbytes' number for 1 / 127.
inline constexpr float kInverse127 = 7.874015718698502e-3f;

/// Errors where the source is not exactly [rows, columns].
void check_source(const tg_source &s, int64_t rows, int64_t columns);
/// Rows [from, to) as floats, `columns` apart.
void read_source_rows(const tg_source &s, int64_t rows, int64_t columns, int64_t from, int64_t to,
                      float *out);
/// The code of a weight of AWQ or GPTQ.
int source_code(const tg_source &s, int64_t rows, int64_t row, int64_t column);

}  // namespace tg
