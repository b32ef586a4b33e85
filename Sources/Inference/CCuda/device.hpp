// The device behind ctorch.h; platform.hpp says on what it runs.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "kernels.hpp"
#include "platform.hpp"

namespace tg::device {

/// The type's name in ctorch.h; an error where it has none.
inline tg_dtype code(at::ScalarType type) {
    switch (type) {
    case at::kFloat: return TG_F32;
    case at::kBFloat16: return TG_BF16;
    case at::kHalf: return TG_F16;
    default: TORCH_CHECK(false, "float32, bfloat16 or float16 is needed on the device, found ", type);
    }
}

inline tg_dtype code(const at::Tensor &t) { return code(t.scalar_type()); }

inline void *data(const at::Tensor &t) { return t.data_ptr(); }

/// out = x · wᵀ + bias by libtorch; an undefined bias is none.
void product(const at::Tensor &x, const at::Tensor &w, const at::Tensor &bias, const at::Tensor &out);

/// A step's runs row by row.
struct StepRows {
    std::vector<void *> bases;
    std::vector<int32_t> places;
    int64_t longest = 1;

    StepRows() = default;
    StepRows(const tg_run *runs, int64_t count) {
        for (int64_t r = 0; r < count; ++r) {
            TORCH_CHECK(runs[r].start + runs[r].count <= std::min<int64_t>(runs[r].capacity, INT32_MAX),
                        "a sequence without room for ", runs[r].count, " rows after ", runs[r].start);
            for (int64_t i = 0; i < runs[r].count; ++i) {
                bases.push_back(runs[r].cache);
                places.push_back(int32_t(runs[r].start + i));
            }
            longest = std::max(longest, runs[r].start + runs[r].count);
        }
    }
};

class CudaDevice final : public Device {
  public:
    explicit CudaDevice(const DeviceOptions &options) : identity(platform::start(options)) {}

    const char *name() const override { return identity.name.c_str(); }
    const char *model() const override { return identity.model.c_str(); }
    const char *bus() const override { return identity.bus.c_str(); }
    tg_device_memory memory() override { return platform::memory(); }
    void trim() override;
    bool lost() const override { return platform::lost(); }

    at::Tensor empty(at::IntArrayRef sizes, at::ScalarType type) override;
    at::Tensor zeros(at::IntArrayRef sizes, at::ScalarType type) override;
    at::Tensor reserve(at::IntArrayRef sizes, at::ScalarType type, uint64_t bytes) override;
    void commit(const at::Tensor &t, int64_t offset, int64_t bytes) override;
    void discard(const at::Tensor &t, int64_t offset, int64_t bytes) override;
    void upload(const at::Tensor &to, const at::Tensor &host) override;
    void download(const at::Tensor &host, const at::Tensor &from) override;
    void *fill(int64_t bytes) override;
    void send(const at::Tensor &to, int64_t offset, int64_t bytes) override;

    at::Tensor linear(const at::Tensor &x, const at::Tensor &w, const at::Tensor *bias) override;
    at::Tensor embedding(const at::Tensor &w, const int32_t *ids, int64_t count) override;
    at::Tensor rms_norm(const at::Tensor &x, const at::Tensor &w, float eps) override;
    void head_norm(const at::Tensor &x, int64_t column, int64_t heads, int64_t dim, const at::Tensor &w,
                   float eps) override;
    at::Tensor layer_norm(const at::Tensor &x, const at::Tensor *w, const at::Tensor *bias,
                          float eps) override;
    at::Tensor swiglu(const at::Tensor &x) override;
    at::Tensor gelu(const at::Tensor &x, bool by_tanh) override;
    void rope(const at::Tensor &x, int64_t column, int64_t heads, int64_t dim, const at::Tensor &angles,
              const int32_t *positions, int64_t count, bool wide) override;
    at::Tensor add(const at::Tensor &a, const at::Tensor &b) override;
    at::Tensor multiply(const at::Tensor &a, const at::Tensor &b) override;
    at::Tensor relu(const at::Tensor &x) override;
    at::Tensor convert(const at::Tensor &x, at::ScalarType type) override;
    at::Tensor take_rows(const at::Tensor &x, const int64_t *rows, int64_t count) override;
    at::Tensor transpose(const at::Tensor &x) override;
    void put_rows(const at::Tensor &to, const at::Tensor &from, bool adds) override;
    at::Tensor mix_rows(const at::Tensor &table, const int32_t *rows, const float *weights, int64_t count,
                        int64_t taps) override;
    at::Tensor add_rms_norm(const at::Tensor &x, const at::Tensor &residual, const at::Tensor &w,
                            float eps) override;
    at::Tensor attention(const at::Tensor &qkv, const tg_turn *turn, int64_t heads, int64_t kv_heads,
                         int64_t dim, float scale, int64_t window, const tg_run *runs,
                         int64_t run_count) override;
    void segment_keep(const at::Tensor &rows, int64_t at, const at::Tensor &cache) override;
    at::Tensor segment_attention(const at::Tensor &queries, int64_t at, int64_t heads, int64_t dim,
                                 float scale, const int64_t *lengths, int64_t segments,
                                 const at::Tensor &cache) override;
    at::Tensor linear_attention(const at::Tensor &queries, const at::Tensor &values,
                                const tg_recurrence *runs, int64_t run_count) override;
    at::Tensor pair_angles(const float *cycles, int64_t pairs, const int32_t *positions,
                           int64_t count) override;
    at::Tensor turn_pairs(const at::Tensor &x, const at::Tensor &angles) override;
    void take_over(tg_packed_s &w) override;
    at::Tensor packed_linear(const at::Tensor &x, const tg_packed_s &w, const at::Tensor *bias,
                             at::ScalarType out) override;
    bool joins(const at::Tensor &x) const override;
    at::Tensor joined_linear(const at::Tensor &x, const at::Tensor *w, const tg_packed_s *packed,
                             const tg_around &around) override;
    at::Tensor packed_embedding(const tg_packed_s &w, const int32_t *ids, int64_t count,
                                at::ScalarType out) override;
    void copy(const void *from, void *to, int64_t bytes) override;
    void sample(const at::Tensor &logits, const tg_sampler_row *rows, tg_sampled *out,
                int64_t count) override;

    bool stage(const StagedStep &step) override;
    bool has_graph() const override { return graphs.contains(stage_kind); }
    void graphs_free(int64_t owner) override {
        platform::wait();
        // Nobody asks for what was under way.
        answered = starts;
        std::erase_if(graphs, [owner](const auto &graph) { return graph.first.owner == owner; });
    }
    void graph_begin() override;
    void graph_end(const at::Tensor &logits) override;
    void graph_abandon() noexcept override;
    void graph_start() override;
    void graph_answers(tg_sampled *out, int64_t count) override;

  private:
    /// Values of the host in device memory: a tensor that keeps them, and where they are.
    struct Words {
        at::Tensor keep;
        void *data = nullptr;
        const int32_t *ints() const { return static_cast<const int32_t *>(data); }
    };
    struct Recent {
        std::vector<char> host;
        at::Tensor tensor;
    };
    /// A recorded step; its logits and answers lie where they lay when it was recorded.
    struct Recorded {
        platform::Graph graph;
        at::Tensor logits, scratch, answers;
    };

    /// Whether rows are few enough to be multiplied with codes as they are.
    static bool few_packed(const at::Tensor &x, const tg_packed_s &w);
    /// `sum`, of few rows: takes the product in place.
    at::Tensor packed_product(const at::Tensor &x, const tg_packed_s &w, const at::Tensor *bias,
                              const at::Tensor *sum, at::ScalarType type);
    Words words(const void *values, int64_t bytes);
    /// The same, or while a graph is recorded where they were staged.
    Words staged(const std::vector<int32_t> &host, const void *there, const int32_t *values, int64_t count);
    void flash_attention(const at::Tensor &qkv, const at::Tensor &out, int64_t heads,
                         const CacheLayout &layout, const tg_run &run, float scale, int64_t window);
    void flash_segments(const at::Tensor &queries, const at::Tensor &out, int64_t at, int64_t heads,
                        int64_t dim, float scale, const int64_t *lengths, int64_t segments,
                        const at::Tensor &cache);

    platform::Identity identity;
    /// Of attention in parts; zeros between its kernels.
    at::Tensor part_counts;
    /// Sources of weights on their way: one is filled while others are sent.
    std::array<std::unique_ptr<platform::Pinned>, 3> windows;
    size_t turn = 0;
    std::vector<Recent> recent;

    /// Where a graph finds its step, in device memory; made by the first step that is staged.
    struct Stage {
        at::Tensor memory;
        std::unique_ptr<platform::Pinned> host;
        void *ids, *positions, *follows, *places, *bases, *samplers, *arena;
    } stage_{};
    std::vector<int32_t> stage_ids, stage_positions;
    bool stage_follows = false;
    StepRows stage_rows;
    /// The steps that one graph serves.
    struct Kind {
        int64_t owner = 0, rows = 0, longest = 0;
        auto operator<=>(const Kind &) const = default;
    } stage_kind;
    std::map<Kind, std::unique_ptr<Recorded>> graphs;
    std::unique_ptr<Recorded> recording;

    /// Where the answers of the steps under way arrive, in turn; how many steps were started and answered.
    std::array<std::unique_ptr<platform::Pinned>, 2> landings;
    size_t starts = 0, answered = 0;
    /// Those of the step started last, which the next one may follow.
    at::Tensor latest;
};

}  // namespace tg::device
