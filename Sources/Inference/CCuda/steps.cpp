// Steps whose rows each draw a token: what they need in one copy, their work as a graph, their answers in one
// copy.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "device.hpp"

namespace tg::device {

namespace {

/// The largest step that runs as a graph, and the 32-bit words that its rows' lists may have.
constexpr int64_t kRows = 512, kArena = int64_t(1) << 20;

/// Byte offsets in the staged memory.
constexpr int64_t kIds = 0, kPositions = kIds + 4 * kRows, kFollows = kPositions + 4 * kRows,
                  kPlaces = kFollows + 4 * kRows, kBases = kPlaces + 4 * kRows, kSamplers = kBases + 8 * kRows,
                  kArenaStart = kSamplers + int64_t(sizeof(SampleRow)) * kRows,
                  kStaged = kArenaStart + 4 * kArena;

/// The rows' lists one after the other, and rows that say where.
class Sampling {
  public:
    std::vector<SampleRow> rows;
    std::vector<int32_t> arena;

    Sampling(const tg_sampler_row *given, int64_t count) {
        rows.reserve(size_t(count));
        for (int64_t i = 0; i < count; ++i) {
            const tg_sampler_row &from = given[i];
            SampleRow to{};
            to.temperature = from.temperature;
            to.top_p = from.top_p;
            to.min_p = from.min_p;
            to.presence = from.presence;
            to.frequency = from.frequency;
            to.repetition = from.repetition;
            to.top_k = from.top_k;
            to.top_logprobs = from.top_logprobs;
            to.seed = from.seed;
            to.choice = from.choice;
            to.position = from.position;
            to.history = put(from.history, from.history_count);
            put(from.history_counts, from.history_count);
            to.history_count = int32_t(from.history_count);
            to.bias = put(from.bias_tokens, from.bias_count);
            put(from.bias_values, from.bias_count);
            to.bias_count = int32_t(from.bias_count);
            to.suppressed = put(from.suppressed, from.suppressed_count);
            to.suppressed_count = int32_t(from.suppressed_count);
            to.mask = from.mask ? put(from.mask, from.mask_words) : -1;
            to.mask_words = from.mask ? int32_t(2 * from.mask_words) : -1;
            rows.push_back(to);
        }
    }

  private:
    template <typename Value>
    int32_t put(const Value *values, int64_t count) {
        const auto start = int32_t(arena.size());
        arena.resize(arena.size() + size_t(count) * sizeof(Value) / 4);
        if (count > 0) std::memcpy(arena.data() + start, values, size_t(count) * sizeof(Value));
        return start;
    }
};

}  // namespace

void CudaDevice::sample(const at::Tensor &logits, const tg_sampler_row *rows, tg_sampled *out,
                        int64_t count) {
    const Sampling sampling(rows, count);
    const Words how = words(sampling.rows.data(), count * int64_t(sizeof(SampleRow)));
    const Words arena = words(sampling.arena.data(), int64_t(sampling.arena.size()) * 4);
    const at::Tensor scratch = empty({sample_scratch_floats(count, logits.size(1))}, at::kFloat);
    const int64_t bytes = count * int64_t(sizeof(tg_sampled));
    const at::Tensor answers = empty({std::max<int64_t>(1, bytes)}, at::kByte);
    platform::perform([=] {
        launch_sample(static_cast<const float *>(logits.data_ptr()), count, logits.size(1),
                      static_cast<const SampleRow *>(how.data), arena.ints(),
                      static_cast<float *>(scratch.data_ptr()),
                      static_cast<tg_sampled *>(answers.data_ptr()));
    });
    platform::download(out, answers.data_ptr(), bytes);
}

bool CudaDevice::stage(const StagedStep &step) {
    const Sampling sampling(step.samplers, step.rows);
    const auto words = int64_t(sampling.arena.size());
    if (step.rows > kRows || words > kArena) return false;
    if (!stage_.host) {
        stage_.memory = empty({kStaged}, at::kByte);
        stage_.host = std::make_unique<platform::Pinned>(kStaged);
        auto *base = static_cast<char *>(stage_.memory.data_ptr());
        stage_.ids = base + kIds;
        stage_.positions = base + kPositions;
        stage_.follows = base + kFollows;
        stage_.places = base + kPlaces;
        stage_.bases = base + kBases;
        stage_.samplers = base + kSamplers;
        stage_.arena = base + kArenaStart;
    }
    stage_rows = StepRows(step.runs, step.rows);
    TORCH_CHECK(int64_t(stage_rows.bases.size()) == step.rows && stage_rows.longest <= step.longest,
                "a step of ", stage_rows.bases.size(), " rows that see ", stage_rows.longest, " keys, not ",
                step.rows, " and ", step.longest);
    stage_ids.assign(step.ids, step.ids + step.rows);
    stage_positions.assign(step.positions, step.positions + step.rows);
    stage_kind = {step.owner, step.rows, step.longest};
    stage_follows = step.follows;
    if (stage_follows) {
        const int64_t before = latest.defined() ? latest.numel() / int64_t(sizeof(tg_sampled)) : 0;
        TORCH_CHECK(std::all_of(step.follows, step.follows + step.rows, [&](int32_t row) { return row < before; }),
                    "a step that follows no other");
    }
    stage_.host->wait();
    char *host = stage_.host->data();
    std::copy(stage_ids.begin(), stage_ids.end(), reinterpret_cast<int32_t *>(host + kIds));
    std::copy(stage_positions.begin(), stage_positions.end(), reinterpret_cast<int32_t *>(host + kPositions));
    if (stage_follows) {
        std::copy(step.follows, step.follows + step.rows, reinterpret_cast<int32_t *>(host + kFollows));
    }
    std::copy(stage_rows.places.begin(), stage_rows.places.end(),
              reinterpret_cast<int32_t *>(host + kPlaces));
    std::copy(stage_rows.bases.begin(), stage_rows.bases.end(), reinterpret_cast<void **>(host + kBases));
    std::copy(sampling.rows.begin(), sampling.rows.end(), reinterpret_cast<SampleRow *>(host + kSamplers));
    std::copy(sampling.arena.begin(), sampling.arena.end(), reinterpret_cast<int32_t *>(host + kArenaStart));
    stage_.host->send(stage_.memory, 0, kArenaStart + 4 * words);
    return true;
}

void CudaDevice::graph_begin() {
    TORCH_CHECK(!recording && stage_.host, "a graph without a step");
    recording = std::make_unique<Recorded>();
    try {
        recording->graph.begin();
    } catch (...) {
        recording.reset();
        throw;
    }
}

void CudaDevice::graph_end(const at::Tensor &logits) {
    TORCH_CHECK(recording && logits.size(0) == int64_t(stage_ids.size()), "logits of ", logits.sizes(),
                " at the end of a graph");
    const int64_t rows = logits.size(0);
    recording->logits = logits;
    recording->scratch = empty({sample_scratch_floats(rows, logits.size(1))}, at::kFloat);
    recording->answers = empty({rows * int64_t(sizeof(tg_sampled))}, at::kByte);
    platform::perform([=, scratch = recording->scratch, answers = recording->answers,
                       how = static_cast<const SampleRow *>(stage_.samplers),
                       arena = static_cast<const int32_t *>(stage_.arena)] {
        launch_sample(static_cast<const float *>(logits.data_ptr()), rows, logits.size(1), how, arena,
                      static_cast<float *>(scratch.data_ptr()),
                      static_cast<tg_sampled *>(answers.data_ptr()));
    });
    recording->graph.end();
    graphs[stage_kind] = std::move(recording);
}

void CudaDevice::graph_abandon() noexcept {
    if (!recording) return;
    recording->graph.abandon();
    recording.reset();
}

void CudaDevice::graph_start() {
    const auto found = graphs.find(stage_kind);
    TORCH_CHECK(found != graphs.end(), "no graph for a step of ", stage_kind.rows, " rows");
    TORCH_CHECK(starts - answered < landings.size(), "too many steps at once");
    auto &landing = landings[starts % landings.size()];
    if (!landing) landing = std::make_unique<platform::Pinned>(kRows * int64_t(sizeof(tg_sampled)));
    if (stage_follows) {
        platform::perform([rows = stage_kind.rows, latest = latest, ids = static_cast<int32_t *>(stage_.ids),
                           follows = static_cast<const int32_t *>(stage_.follows)] {
            launch_follow(static_cast<const tg_sampled *>(latest.data_ptr()), follows, rows, ids);
        });
    }
    found->second->graph.run();
    latest = found->second->answers;
    landing->receive(latest, latest.numel());
    ++starts;
}

void CudaDevice::graph_answers(tg_sampled *out, int64_t count) {
    TORCH_CHECK(starts > answered && count <= kRows, "answers of no step");
    const auto &landing = landings[answered % landings.size()];
    ++answered;
    landing->wait();
    std::memcpy(out, landing->data(), size_t(count) * sizeof(tg_sampled));
}

}  // namespace tg::device

/// The library's one door.
extern "C" __attribute__((visibility("default"))) tg::Device *tg_open_device(const tg::DeviceOptions &options,
                                                                             char *message,
                                                                             size_t room) noexcept {
    try {
        TORCH_CHECK(options.version == tg::kDeviceVersion, "the device's library is another version's: ",
                    tg::kDeviceVersion, ", the engine's is ", options.version);
        return new tg::device::CudaDevice(options);
    } catch (const c10::Error &error) {
        std::snprintf(message, room, "%s", error.what_without_backtrace());
    } catch (const std::exception &error) {
        std::snprintf(message, room, "%s", error.what());
    } catch (...) {
        std::snprintf(message, room, "unknown C++ exception");
    }
    return nullptr;
}
