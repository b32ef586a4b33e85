// The next token of each row.
//
// 1. Everything about a row depends on that row alone.
// 2. The draw is argmax(z/T + Gumbel), the noise of a token is Philox4x32-10 of (choice, position,
//    token) under the seed: removing or changing one token moves no other.
// 3. The uniforms have 24 bits, so the noise spans less than 20.3: what lies further below cannot win.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "internal.hpp"
#include "kernels.hpp"

namespace {

constexpr double kReach = 20.5;   // no token further below the best one can win
constexpr double kWeight = 30.0;  // no token further below the best one weighs anything
constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Candidate {
    double z;  // (logit - largest) / temperature
    int32_t token;
};

bool before(const Candidate &a, const Candidate &b) { return a.z > b.z || (a.z == b.z && a.token < b.token); }

uint32_t philox(uint64_t key, uint32_t choice, uint32_t position, uint32_t token) {
    uint32_t c0 = choice, c1 = position, c2 = token, c3 = 0;
    auto k0 = uint32_t(key), k1 = uint32_t(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t p0 = uint64_t(0xD2511F53u) * c0, p1 = uint64_t(0xCD9E8D57u) * c2;
        c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
        c1 = uint32_t(p1);
        c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
        c3 = uint32_t(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c0;
}

/// The token's 24 random bits.
uint32_t random_bits(const tg_sampler_row &row, int32_t token) {
    return philox(row.seed, row.choice, row.position, uint32_t(token)) >> 8;
}

double gumbel(uint32_t bits) { return -std::log(-std::log((double(bits) + 0.5) * 0x1p-24)); }

/// At least gumbel(bits), without a logarithm: -log(u) >= 1 - u, and 1 - u is (rest + 1/2) / 2^24.
double gumbel_bound(uint32_t bits) {
    const uint32_t rest = 0xffffff - bits;
    return 0.6931472 * (rest == 0 ? 25 : 24 - (31 - __builtin_clz(rest)));
}

bool changes(const tg_sampler_row &row) {
    const bool penalties = row.repetition != 1 || row.presence != 0 || row.frequency != 0;
    return (penalties && row.history_count > 0) || row.bias_count > 0 || row.suppressed_count > 0 ||
           row.mask;
}

/// Penalties, bias, suppression and mask, in that order.
void change(const tg_sampler_row &row, float *logits, int64_t vocabulary) {
    const auto inside = [&](int32_t token) { return token >= 0 && token < vocabulary; };
    for (int64_t i = 0; i < row.history_count; ++i) {
        if (!inside(row.history[i])) continue;
        float &logit = logits[row.history[i]];
        if (row.repetition != 1) logit = logit > 0 ? logit / row.repetition : logit * row.repetition;
        const auto count = float(row.history_counts[i]);
        if (count > 0) logit -= row.frequency * count + row.presence;
    }
    for (int64_t i = 0; i < row.bias_count; ++i) {
        if (inside(row.bias_tokens[i])) logits[row.bias_tokens[i]] += row.bias_values[i];
    }
    for (int64_t i = 0; i < row.suppressed_count; ++i) {
        if (inside(row.suppressed[i])) logits[row.suppressed[i]] = kNever;
    }
    if (!row.mask) return;
    for (int64_t i = 0; i < vocabulary; ++i) {
        if (i / 64 >= row.mask_words || !(row.mask[i / 64] >> (i % 64) & 1)) logits[i] = kNever;
    }
}

/// The lowest index of the maximum; -1 where there is none above minus infinity.
int32_t greedy(const float *logits, int64_t count) {
    constexpr int64_t kStride = 256;
    float best = kNever;
    int64_t block = -1;
    for (int64_t i = 0; i < count; i += kStride) {
        float here = kNever;
        const int64_t end = std::min(count, i + kStride);
        for (int64_t j = i; j < end; ++j) here = logits[j] > here ? logits[j] : here;
        if (here > best) best = here, block = i;
    }
    if (block < 0) return -1;
    for (int64_t j = block; j < std::min(count, block + kStride); ++j)
        if (logits[j] == best) return int32_t(j);
    return -1;
}

/// Keeps the shortest prefix, in order, whose weight reaches `share` of all: halves by selection.
void keep_share(std::vector<Candidate> &all, double share) {
    double total = 0;
    for (const Candidate &c : all) total += std::exp(c.z);
    const double target = share * total;
    size_t low = 0, high = all.size();
    double held = 0;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        std::nth_element(all.begin() + long(low), all.begin() + long(middle), all.begin() + long(high),
                         before);
        double part = 0;
        for (size_t i = low; i < middle; ++i) part += std::exp(all[i].z);
        if (held + part >= target) {
            high = middle;
        } else {
            held += part;
            low = middle;
        }
    }
    all.resize(std::max<size_t>(1, high));
}

int32_t draw(const tg_sampler_row &row, const float *logits, int64_t vocabulary, int32_t best) {
    thread_local std::vector<Candidate> all;
    all.clear();
    const double largest = logits[best], temperature = row.temperature;
    const bool filtered = row.top_k > 0 || row.top_p < 1;
    const double depth = filtered ? kWeight : kReach;
    const auto lowest = float(largest - depth * temperature);
    for (int64_t i = 0; i < vocabulary; ++i) {
        if (logits[i] >= lowest && logits[i] != kNever) {
            all.push_back({(double(logits[i]) - largest) / temperature, int32_t(i)});
        }
    }
    if (row.top_k > 0 && size_t(row.top_k) < all.size()) {
        std::nth_element(all.begin(), all.begin() + row.top_k, all.end(), before);
        all.resize(size_t(row.top_k));
    }
    if (row.top_p < 1) keep_share(all, row.top_p);
    const double floor = row.min_p > 0 ? std::max(-kReach, std::log(double(row.min_p))) : -kReach;
    int32_t chosen = best;
    double highest = -std::numeric_limits<double>::infinity();
    const auto enter = [&](const Candidate &c) {
        if (c.z < floor || c.z + gumbel_bound(0xffffff) < highest) return;
        const uint32_t bits = random_bits(row, c.token);
        if (c.z + gumbel_bound(bits) < highest) return;
        const double score = c.z + gumbel(bits);
        if (score > highest || (score == highest && c.token < chosen)) {
            highest = score;
            chosen = c.token;
        }
    };
    // The likeliest first: what follows rarely needs more than the bound.
    enter({0, best});
    for (const Candidate &c : all) enter(c);
    return chosen;
}

/// The best raw logits in order, ties by id.
void best_of(const float *logits, int64_t vocabulary, int32_t wanted, double log_sum, tg_sampled &out) {
    const int32_t count = int32_t(std::min<int64_t>({wanted, 20, vocabulary}));
    out.top_count = 0;
    for (int64_t i = 0; i < vocabulary && count > 0; ++i) {
        const float logit = logits[i];
        if (out.top_count == count && !(logit > out.top_logprobs[count - 1])) continue;
        int32_t place = out.top_count < count ? out.top_count++ : count - 1;
        for (; place > 0 && logit > out.top_logprobs[place - 1]; --place) {
            out.top_logprobs[place] = out.top_logprobs[place - 1];
            out.top_tokens[place] = out.top_tokens[place - 1];
        }
        out.top_logprobs[place] = logit;
        out.top_tokens[place] = int32_t(i);
    }
    for (int32_t i = 0; i < out.top_count; ++i) {
        out.top_logprobs[i] = float(double(out.top_logprobs[i]) - log_sum);
    }
}

void sample(const tg::Kernels &kernels, const tg_sampler_row &row, const float *logits,
            int64_t vocabulary, tg_sampled &out) {
    out = {};
    float largest;
    double total;
    if (!kernels.log_sum(logits, vocabulary, &largest, &total)) {
        out.status = 1;
        return;
    }
    const float *final_logits = logits;
    if (changes(row)) {
        thread_local std::vector<float> changed;
        changed.assign(logits, logits + vocabulary);
        change(row, changed.data(), vocabulary);
        final_logits = changed.data();
    }
    const int32_t best = greedy(final_logits, vocabulary);
    if (best < 0) {
        out.status = 2;
        return;
    }
    out.token = row.temperature > 0 ? draw(row, final_logits, vocabulary, best) : best;
    if (row.top_logprobs < 0) return;
    const double log_sum = double(largest) + std::log(total);
    out.logprob = float(double(logits[out.token]) - log_sum);
    best_of(logits, vocabulary, row.top_logprobs, log_sum, out);
}

}  // namespace

extern "C" bool tg_sample(tg_tensor logits, const tg_sampler_row *rows, tg_sampled *out,
                          int64_t count) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &values = tg::matrix(logits, "logits");
        TORCH_CHECK(values.scalar_type() == at::kFloat && values.size(0) == count && values.size(1) > 0 &&
                        values.size(1) <= INT32_MAX,
                    "sampling ", count, " rows of ", values.sizes());
        if (tg::Device *device = tg::device_of(logits)) {
            device->sample(values, rows, out, count);
            return true;
        }
        const auto *from = static_cast<const float *>(values.const_data_ptr());
        const int64_t vocabulary = values.size(1);
        const tg::Kernels &kernels = tg::kernels();
        tg::parallel(count, [&](int64_t i) {
            sample(kernels, rows[i], from + i * vocabulary, vocabulary, out[i]);
        });
        return true;
    });
}
