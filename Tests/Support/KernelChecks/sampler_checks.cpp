// kernels/sampler.cu draws what CTorch/sampler.cpp draws.
#include "checks.hpp"

#include <algorithm>
#include <cstring>

using namespace checks;
using namespace tg::device;

namespace {

/// One row as both sides want it.
struct Row {
    tg_sampler_row cpu{};
    std::vector<int32_t> history, counts, bias_tokens, suppressed;
    std::vector<float> bias;
    std::vector<uint64_t> mask;
    bool masked = false;

    Row() {
        cpu.top_p = 1;
        cpu.repetition = 1;
        cpu.top_logprobs = -1;
    }
};

/// Draws with both, from the same logits, and compares everything that is answered.
void compare(const char *what, const std::vector<float> &logits, int64_t vocabulary, std::vector<Row> rows) {
    std::vector<int32_t> arena;
    const auto put = [&](const auto &values) {
        const auto at = int32_t(arena.size());
        arena.resize(arena.size() + values.size() * sizeof(values[0]) / 4);
        if (!values.empty()) std::memcpy(arena.data() + at, values.data(), values.size() * sizeof(values[0]));
        return at;
    };
    std::vector<SampleRow> device;
    std::vector<tg_sampler_row> cpu;
    for (Row &row : rows) {
        SampleRow d{};
        tg_sampler_row c = row.cpu;
        d.temperature = c.temperature, d.top_p = c.top_p, d.min_p = c.min_p, d.presence = c.presence;
        d.frequency = c.frequency, d.repetition = c.repetition, d.top_k = c.top_k,
        d.top_logprobs = c.top_logprobs;
        d.seed = c.seed, d.choice = c.choice, d.position = c.position;
        d.history = put(row.history), put(row.counts), d.history_count = int32_t(row.history.size());
        d.bias = put(row.bias_tokens), put(row.bias), d.bias_count = int32_t(row.bias.size());
        d.suppressed = put(row.suppressed), d.suppressed_count = int32_t(row.suppressed.size());
        d.mask = put(row.mask), d.mask_words = row.masked ? int32_t(row.mask.size() * 2) : -1;
        c.history = row.history.data(), c.history_counts = row.counts.data();
        c.history_count = d.history_count;
        c.bias_tokens = row.bias_tokens.data(), c.bias_values = row.bias.data(), c.bias_count = d.bias_count;
        c.suppressed = row.suppressed.data(), c.suppressed_count = d.suppressed_count;
        c.mask = row.masked ? row.mask.data() : nullptr, c.mask_words = int64_t(row.mask.size());
        device.push_back(d);
        cpu.push_back(c);
    }
    const auto count = int64_t(rows.size());
    std::vector<tg_sampled> wanted(rows.size()), found(rows.size());
    std::memset(found.data(), 0xff, found.size() * sizeof(tg_sampled));
    const Tensor values(logits, {count, vocabulary});
    if (!tg_sample(values, cpu.data(), wanted.data(), count)) throw std::runtime_error(tg_error());
    std::vector<float> scratch(size_t(sample_scratch_floats(count, vocabulary)), NAN);
    launch_sample(static_cast<const float *>(values.data()), count, vocabulary, device.data(), arena.data(),
                  scratch.data(), found.data());
    if (std::memcmp(values.data(), logits.data(), logits.size() * 4))
        (Failure() << what << ": logits changed").raise();
    // The rows the other way round, the first one left alone.
    std::vector<int32_t> follows(rows.size()), ids(rows.size(), -7);
    for (size_t i = 0; i < rows.size(); ++i) follows[i] = i == 0 ? -1 : int32_t(rows.size() - i);
    launch_follow(found.data(), follows.data(), count, ids.data());
    for (size_t i = 0; i < rows.size(); ++i) {
        const tg_sampled &a = found[i], &b = wanted[i];
        bool same = a.token == b.token && a.status == b.status && a.top_count == b.top_count &&
                    ids[i] == (i == 0 ? -7 : found[rows.size() - i].token) &&
                    std::abs(a.logprob - b.logprob) <= 2e-6f * std::max(1.0f, std::abs(b.logprob));
        for (int t = 0; t < b.top_count && same; ++t) {
            same =
                a.top_tokens[t] == b.top_tokens[t] && std::abs(a.top_logprobs[t] - b.top_logprobs[t]) <=
                                                          2e-6f * std::max(1.0f, std::abs(b.top_logprobs[t]));
        }
        if (same) continue;
        (Failure() << what << ", row " << i << " of " << vocabulary << ": token " << a.token << " status "
                   << a.status << " logprob " << a.logprob << " top " << a.top_count << ", not " << b.token
                   << ' ' << b.status << ' ' << b.logprob << ' ' << b.top_count)
            .raise();
    }
}

std::vector<float> repeated(const std::vector<float> &row, size_t times) {
    std::vector<float> answer;
    for (size_t i = 0; i < times; ++i) answer.insert(answer.end(), row.begin(), row.end());
    return answer;
}

uint64_t random_word() { return uint64_t(noise_source()()) << 32 | noise_source()(); }

}  // namespace

KERNEL_CHECK(greedy, "greedy rows take the first of the best, with logprobs") {
    for (const int64_t vocabulary : {1, 2, 31, 1000, 4099, 151936}) {
        Row plain, logprobs, many;
        logprobs.cpu.top_logprobs = 0;
        many.cpu.top_logprobs = 20;
        std::vector<float> row = noise(vocabulary, 4);
        row.back() = *std::max_element(row.begin(), row.end());  // a tie
        compare("greedy", repeated(row, 3), vocabulary, {plain, logprobs, many});
    }
    std::vector<float> equal(3000, 0.25f);
    equal[7] = -0.0f;
    Row many;
    many.cpu.top_logprobs = 20;
    compare("equal logits", equal, 3000, {many});
    compare("zeros", std::vector<float>{-0.0f, 0.0f, -1, 0.0f}, 4, {many});
}

KERNEL_CHECK(draws, "seeds, choices and positions draw the CPU's tokens through every filter") {
    for (const int64_t vocabulary : {3, 1000, 2500, 49152}) {
        for (const float scale : {0.3f, 2.0f, 8.0f}) {
            std::vector<Row> rows;
            std::vector<float> logits;
            const auto add = [&](float temperature, int32_t top_k, float top_p, float min_p) {
                Row row;
                row.cpu.temperature = temperature, row.cpu.top_k = top_k;
                row.cpu.top_p = top_p, row.cpu.min_p = min_p;
                row.cpu.seed = random_word();
                row.cpu.choice = uint32_t(rows.size());
                row.cpu.position = noise_source()() % 1000;
                row.cpu.top_logprobs = rows.size() % 3 == 0 ? 5 : -1;
                const std::vector<float> values = noise(vocabulary, scale);
                logits.insert(logits.end(), values.begin(), values.end());
                rows.push_back(row);
            };
            for (const float temperature : {0.2f, 0.7f, 1.0f, 1.8f}) {
                add(temperature, 0, 1, 0);
                add(temperature, 20, 1, 0);
                add(temperature, 20, 0.95f, 0);
                add(temperature, 0, 0.9f, 0);
                add(temperature, 0, 1, 0.05f);
                add(temperature, 1, 1, 0);
            }
            add(1, 0, 0, 0);
            add(1, 0, 0.5f, 0.1f);
            add(1, 1500, 1, 0);
            add(1, 1500, 0.999f, 0);
            add(1, 100'000'000, 0.3f, 0);
            add(2, 0, 0.9999f, 0);
            add(1e-30f, 0, 0.9f, 0);
            add(1e30f, 50, 1, 0);
            compare("draws", logits, vocabulary, rows);
        }
    }
}

namespace {

/// Seeds with which `token` is drawn where it and everything before it stay: whether it stays then shows.
std::vector<uint64_t> seeds_for(int32_t token, const std::vector<float> &logits, int32_t top_k,
                                size_t count) {
    const auto vocabulary = int64_t(logits.size());
    std::vector<uint64_t> answer;
    constexpr int64_t kRows = 64;
    std::vector<float> repeats;
    for (int64_t i = 0; i < kRows; ++i) repeats.insert(repeats.end(), logits.begin(), logits.end());
    const Tensor values(repeats, {kRows, vocabulary});
    for (uint64_t seed = 1; answer.size() < count; seed += kRows) {
        std::vector<tg_sampler_row> rows(kRows, Row().cpu);
        for (size_t i = 0; i < rows.size(); ++i) {
            rows[i].temperature = 1;
            rows[i].top_k = top_k;
            rows[i].seed = seed + i;
        }
        std::vector<tg_sampled> drawn(rows.size());
        tg_sample(values, rows.data(), drawn.data(), kRows);
        for (size_t i = 0; i < rows.size(); ++i) {
            if (drawn[i].token == token) answer.push_back(rows[i].seed);
        }
    }
    return answer;
}

}  // namespace

KERNEL_CHECK(filter_ends, "filters end at the CPU's token") {
    // Weights of 4, 3, 2 and 1: a share a little below and above 0.7 keeps two or three of them.
    const std::vector<float> few{std::log(4.0f), std::log(3.0f), std::log(2.0f), 0};
    std::vector<Row> rows;
    for (const uint64_t seed : seeds_for(2, few, 3, 4))
        for (const float share : {0.699f, 0.6996f, 0.7004f, 0.701f}) {
            Row row;
            row.cpu.temperature = 1, row.cpu.seed = seed, row.cpu.top_p = share;
            rows.push_back(row);
            row.cpu.top_p = 1, row.cpu.min_p = 0.4999f + (share > 0.7f ? 0.0002f : 0.0f);
            rows.push_back(row);
        }
    compare("shares", repeated(few, rows.size()), 4, rows);
    // Equal weights: the last that stays, and the first that does not, of a share and of a number.
    for (const int64_t vocabulary : {60, 1600}) {
        const std::vector<float> equal(size_t(vocabulary), 1.0f);
        const auto end = int32_t(vocabulary * 3 / 4);
        std::vector<Row> ends;
        for (const int32_t token : {end - 1, end}) {
            for (const uint64_t seed : seeds_for(token, equal, token + 1, 1)) {
                Row row;
                row.cpu.temperature = 1, row.cpu.seed = seed, row.cpu.top_p = 0.75f;
                ends.push_back(row);
                row.cpu.top_p = 1, row.cpu.top_k = end;
                ends.push_back(row);
            }
        }
        compare("equal weights", repeated(equal, ends.size()), vocabulary, ends);
    }
}

KERNEL_CHECK(large_vocabulary, "a vocabulary of 151,936 draws the CPU's tokens") {
    const int64_t vocabulary = 151'936;
    std::vector<Row> rows(6);
    for (size_t i = 0; i < rows.size(); ++i) {
        rows[i].cpu.temperature = 0.8f;
        rows[i].cpu.seed = 11 + i;
        rows[i].cpu.top_logprobs = i % 2 ? 20 : -1;
    }
    rows[1].cpu.top_k = 20, rows[1].cpu.top_p = 0.95f;
    rows[2].cpu.top_p = 0.9f;
    rows[3].cpu.top_k = 50;
    rows[4].cpu.min_p = 0.01f;
    rows[5].cpu.top_p = 0.99f, rows[5].cpu.top_k = 4000;
    compare("large vocabulary", noise(vocabulary * 6, 3), vocabulary, rows);
}

KERNEL_CHECK(equal_logits, "filters cut equal logits by their numbers") {
    for (const int64_t vocabulary : {5, 64, 5000}) {
        std::vector<Row> rows;
        std::vector<float> logits;
        for (int i = 0; i < 24; ++i) {
            Row row;
            row.cpu.temperature = 1;
            row.cpu.seed = random_word();
            row.cpu.top_k = i % 3 == 0 ? 3 : i % 3 == 1 ? 2000 : 0;
            row.cpu.top_p = i % 2 ? 0.75f : 1;
            rows.push_back(row);
            for (int64_t t = 0; t < vocabulary; ++t) logits.push_back(float(noise_source()() % 2));
        }
        compare("equal logits", logits, vocabulary, rows);
    }
}

KERNEL_CHECK(changes, "penalties, bias, suppression and masks change the draw as on the CPU") {
    for (const int64_t vocabulary : {100, 1003, 50'000}) {
        std::vector<Row> rows;
        for (int i = 0; i < 16; ++i) {
            Row row;
            row.cpu.temperature = i % 4 ? 0.9f : 0;
            row.cpu.seed = random_word();
            row.cpu.top_logprobs = i % 2 ? 3 : -1;
            row.cpu.top_p = i % 3 ? 1 : 0.9f;
            if (i & 1) {
                for (int32_t t = 0; t < 60; ++t) {
                    row.history.push_back((t * 7) % int32_t(vocabulary + 5));
                    row.counts.push_back(t % 4);
                }
                row.cpu.repetition = 1.3f, row.cpu.presence = 0.4f, row.cpu.frequency = 0.2f;
            }
            if (i & 2)
                row.bias_tokens = {3, 50, -1, 99, int32_t(vocabulary)}, row.bias = {5, -100, 1, 0.5f, 9};
            if (i & 4) row.suppressed = {0, 1, 2, -5, 97};
            if (i & 8) {
                row.masked = true;
                for (int64_t w = 0; w < std::max<int64_t>(1, vocabulary / 64 - (i & 1)); ++w) {
                    row.mask.push_back(random_word());
                }
            }
            rows.push_back(row);
        }
        compare("changes", noise(vocabulary * 16, 3), vocabulary, rows);
    }
}

KERNEL_CHECK(penalties, "penalties weigh what was generated, not what the prompt has") {
    // Tokens 0…3 lead by a little; each row punishes some of them in one way.
    const std::vector<float> logits{2.0f, 1.9f, 1.8f, 1.7f, 1.0f, -1.0f};
    std::vector<Row> rows;
    for (const int32_t count : {0, 1, 3})
        for (int kind = 0; kind < 4; ++kind) {
            Row row;
            row.history = {0, 1, 5}, row.counts = {count, 1, count};
            row.cpu.top_logprobs = 2;
            if (kind == 0) row.cpu.presence = 0.25f;
            if (kind == 1) row.cpu.frequency = 0.08f;
            if (kind == 2) row.cpu.repetition = 1.07f;
            if (kind == 3) row.cpu.presence = -3, row.cpu.repetition = 1.5f;
            rows.push_back(row);
        }
    compare("penalties", repeated(logits, rows.size()), 6, rows);
}

KERNEL_CHECK(no_token, "rows without a token say why") {
    const float inf = INFINITY;
    Row plain, masked, allowed;
    masked.masked = true, masked.mask = {0};
    allowed.masked = true, allowed.mask = {4}, allowed.cpu.temperature = 1, allowed.cpu.top_logprobs = 2;
    compare("not a number", {1, NAN, 0, 2}, 4, {plain});
    compare("none finite", {-inf, -inf, -inf, -inf}, 4, {plain});
    compare("infinite", {1, inf, 0, 2}, 4, {plain});
    compare("some are out", {-inf, 1, -inf, 2}, 4, {plain});
    compare("nothing allowed", {1, 2, 3, 4, 1, 2, 3, 4}, 4, {masked, allowed});
}
