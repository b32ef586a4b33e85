// Launch functions of kernels/sampler.cu.
#include <cstddef>

#include "start.hpp"

namespace tg::device {

// The kernel declares both once more.
static_assert(sizeof(SampleRow) == 80 && offsetof(SampleRow, seed) == 32 &&
              offsetof(SampleRow, mask_words) == 76);
static_assert(sizeof(tg_sampled) == 176 && offsetof(tg_sampled, top_tokens) == 16);

void launch_sample(const float *logits, int64_t rows, int64_t vocabulary, const SampleRow *how,
                   const int32_t *arena, float *scratch, tg_sampled *out) {
    if (rows == 0) return;
    // SampleScratch: 1024 keys, 2048 counts, five more words and padding.
    const unsigned shared = 1024 * 8 + 2048 * 4 + 24;
    start("sample", {blocks(rows), 1, 1}, {512, 1, 1}, shared, logits, whole(vocabulary), how, arena, scratch,
          out);
}

void launch_follow(const tg_sampled *answers, const int32_t *follows, int64_t rows, int32_t *ids) {
    if (rows == 0) return;
    start("follow", {blocks(ceiling(rows, 256)), 1, 1}, {256, 1, 1}, 0, answers, follows, whole(rows), ids);
}

}  // namespace tg::device
