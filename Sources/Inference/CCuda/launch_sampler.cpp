// Launch functions of kernels/sampler.cu.
#include <cstddef>

#include "start.hpp"

namespace tg::device {

// The kernel declares both once more.
static_assert(sizeof(SampleRow) == 80 && offsetof(SampleRow, seed) == 32 &&
              offsetof(SampleRow, mask_words) == 76);
static_assert(sizeof(tg_sampled) == 176 && offsetof(tg_sampled, top_tokens) == 16);

namespace {

/// A key for each 32 tokens of each row; the logits behind them begin at a multiple of 16 bytes.
int64_t greatest_floats(int64_t rows, int64_t vocabulary) { return ceiling(rows * ceiling(vocabulary, 32), 2) * 4; }

}  // namespace

int64_t sample_scratch_floats(int64_t rows, int64_t vocabulary) {
    return greatest_floats(rows, vocabulary) + rows * vocabulary;
}

void launch_sample(const float *logits, int64_t rows, int64_t vocabulary, const SampleRow *how,
                   const int32_t *arena, float *scratch, tg_sampled *out) {
    if (rows == 0) return;
    // SampleScratch: 1024 keys, 2048 counts, five more words and padding.
    const unsigned shared = 1024 * 8 + 2048 * 4 + 24;
    auto *greatest = reinterpret_cast<unsigned long long *>(scratch);
    float *changed = scratch + greatest_floats(rows, vocabulary);
    for (int64_t at = 0; at < rows; at += 65535) {
        const int64_t here = rows - at < 65535 ? rows - at : 65535;
        start("sample_chunks", {blocks(ceiling(vocabulary, 1024)), blocks(here), 1}, {256, 1, 1}, 0,
              logits + at * vocabulary, whole(vocabulary), greatest + at * ceiling(vocabulary, 32));
    }
    start("sample", {blocks(rows), 1, 1}, {512, 1, 1}, shared, logits, whole(vocabulary), how, arena, changed,
          greatest, out);
}

void launch_follow(const tg_sampled *answers, const int32_t *follows, int64_t rows, int32_t *ids) {
    if (rows == 0) return;
    start("follow", {blocks(ceiling(rows, 256)), 1, 1}, {256, 1, 1}, 0, answers, follows, whole(rows), ids);
}

}  // namespace tg::device
