// The next token of each row, a block each: what CTorch/sampler.cpp draws from the same logits.
//
// 1. A token's place in the order of the logits, the lower number first where they are equal, is one 64-bit
//    key. top-k and top-p each give the least key that stays; nothing is sorted but the best 1024.
// 2. The key of rank k is found digit by digit: one pass over the logits counts 11 bits; two or three passes
//    are usual, and the last digits decide between equal logits.
//    Many blocks find the greatest key of each chunk of 32 tokens before. A pass that looks for keys from some
//    bound on reads the chunks alone that have one: at most k for rank k, as k chunks' greatest are no worse.
// 3. Weights and scores are float64 like the CPU's. Only where a nucleus has more than 1024 tokens are the
//    weights' sums of float32 exponentials; then its end may lie a token away from the CPU's.
// 4. The noise of a token is Philox4x32-10 of (choice, position, token) under the seed.

/// As SampleRow of kernels.hpp.
struct SampleHow {
    float temperature, top_p, min_p, presence, frequency, repetition;
    int top_k, top_logprobs;
    u64 seed;
    u32 choice, position;
    int history, history_count, bias, bias_count, suppressed, suppressed_count, mask, mask_words;
};

/// As tg_sampled.
struct SampleAnswer {
    int token, status;
    float logprob;
    int top_count, top_tokens[20];
    float top_logprobs[20];
};

constexpr int kSampleThreads = 512, kDigits = 2048, kSorted = 2 * kSampleThreads;
constexpr double kReach = 20.5;   // no token further below the best one can win
constexpr double kWeight = 30.0;  // no token further below the best one weighs anything

/// The block's shared memory.
struct SampleScratch {
    u64 keys[kSorted];
    u32 counts[kDigits];
    u32 chosen[3];  // digit, tokens with greater digits, tokens with this one
    int held, end;
};
constexpr u32 kAllTokens = 0xffffffffu;
constexpr int kChunk = 32;  // tokens that share a greatest key
constexpr u64 kNotNumbers = ~u64(0);  // the greatest key of a chunk that has something else

/// A row's logits, and the greatest key of each chunk (0: none above minus infinity), which may be null.
struct Row {
    const float *logits;
    int vocabulary;
    const u64 *greatest;
    __device__ int chunks() const { return (vocabulary + kChunk - 1) / kChunk; }
};

__device__ __forceinline__ double minus_infinity() { return -double(infinity()); }

/// Larger floats have larger numbers; both zeros have one.
__device__ __forceinline__ u32 order_of(float value) {
    const u32 bits = u32(__float_as_int(value + 0.0f));
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float value_of(u32 order) {
    return __int_as_float(int(order >> 31 ? order & 0x7fffffffu : ~order));
}
__device__ __forceinline__ u64 key_of(float value, int token) {
    return u64(order_of(value)) << 32 | u32(0xffffffffu - u32(token));
}
__device__ __forceinline__ int token_of(u64 key) { return int(0xffffffffu - u32(key)); }

/// The CPU's counter-based random bits.
__device__ __forceinline__ u32 philox(u64 key, u32 choice, u32 position, u32 token) {
    u32 c0 = choice, c1 = position, c2 = token, c3 = 0, k0 = u32(key), k1 = u32(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u32 high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const u32 high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c0;
}

__device__ __forceinline__ double gumbel(u32 bits) { return -log(-log((double(bits) + 0.5) * 0x1p-24)); }

/// At least gumbel(bits), without a logarithm.
__device__ __forceinline__ double gumbel_bound(u32 bits) {
    const u32 rest = 0xffffff - bits;
    return 0.6931472 * (rest == 0 ? 25 : 24 - (31 - __clz(int(rest))));
}

/// `place` and the token's noise; at most `highest` where it cannot be more.
__device__ TG_APART double score_of(double place, u64 seed, u32 choice, u32 position, int token,
                                    double highest) {
    const u32 bits = philox(seed, choice, position, u32(token)) >> 8;
    return place + gumbel_bound(bits) < highest ? minus_infinity() : place + gumbel(bits);
}

/// A float32 exponential: what a weight in a large nucleus is.
__device__ TG_APART float weight_of(double place) { return expf(float(place)); }

/// Calls body(token, logit) for this thread's tokens; four reads of 16 bytes are under way at once.
template <typename Body>
__device__ __forceinline__ void each_logit(const float *logits, int vocabulary, const Body &body) {
    constexpr int kAtOnce = 4;
    const bool whole = aligned(logits);
    const int step = int(blockDim.x) * 4;
    for (int from = int(threadIdx.x) * 4; from < vocabulary; from += kAtOnce * step) {
        float read[kAtOnce][4];
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
            const int i = from + k * step;
            if (i < vocabulary) load(logits + i, vocabulary - i, whole, read[k]);
        }
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int token = from + k * step + j;
                if (token < vocabulary) body(token, read[k][j]);
            }
    }
}

/// The same for the tokens of chunks that have a key from `bound` on, eight lanes a chunk; 0: all. `AtOnce` reads a
/// thread are under way, as many as there are registers for.
template <int AtOnce, typename Body>
__device__ __forceinline__ void each_logit_from(const Row &row, u64 bound, const Body &body) {
    constexpr int kTogether = kLanes * 4 / kChunk;
    const int lane = int(threadIdx.x) % kLanes, chunks = row.chunks(), step = int(blockDim.x);
    const bool whole = aligned(row.logits), all = bound == 0 || !row.greatest;
    for (int from = int(threadIdx.x) - lane; from < chunks; from += step) {
        const bool has = from + lane < chunks && (all || row.greatest[from + lane] >= bound);
        u32 hits = __ballot_sync(kAllLanes, has);
        while (hits) {
            int tokens[AtOnce];
            float read[AtOnce][4];
#pragma unroll
            for (int k = 0; k < AtOnce; ++k) {
                tokens[k] = row.vocabulary;
#pragma unroll
                for (int c = 0; c < kTogether; ++c, hits &= hits - 1) {
                    if (hits && lane * 4 / kChunk == c) {
                        tokens[k] = (from + __ffs(int(hits)) - 1) * kChunk + lane * 4 % kChunk;
                    }
                }
                if (tokens[k] < row.vocabulary) {
                    load(row.logits + tokens[k], row.vocabulary - tokens[k], whole, read[k]);
                }
            }
#pragma unroll
            for (int k = 0; k < AtOnce; ++k)
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    if (tokens[k] + j < row.vocabulary) body(tokens[k] + j, read[k][j]);
                }
        }
    }
}

/// The greatest keys of the chunks from token `from` on, by threads that are `step` tokens apart; `raw`: what is not
/// a number shows.
__device__ __forceinline__ void find_greatest(const float *logits, int vocabulary, int from, int step, int end,
                                              bool raw, u64 *greatest) {
    const bool whole = aligned(logits);
    constexpr int kTurn = 4 * kLanes;  // a warp's tokens, which stay together
    for (; from / kTurn * kTurn < end; from += step) {
        float read[4];
        load(logits + from, vocabulary - from, whole, read);
        u64 key = 0;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            if (from + j >= vocabulary) continue;
            if (raw && read[j] != read[j]) key = kNotNumbers;
            else if (read[j] > -infinity()) key = max(key, key_of(read[j], from + j));
        }
        for (int lanes = 1; lanes < kChunk / 4; lanes *= 2) key = max(key, __shfl_xor_sync(kAllLanes, key, lanes));
        if (from % kChunk == 0 && from < vocabulary) greatest[from / kChunk] = key;
    }
}

__device__ u64 block_max(u64 value) {
    __shared__ u64 parts[kLanes];
    const int lane = int(threadIdx.x) % kLanes, warps = int(blockDim.x) / kLanes;
    for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
        value = max(value, __shfl_xor_sync(kAllLanes, value, lanes));
    }
    __syncthreads();
    if (lane == 0) parts[threadIdx.x / kLanes] = value;
    __syncthreads();
    value = lane < warps ? parts[lane] : 0;
    for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
        value = max(value, __shfl_xor_sync(kAllLanes, value, lanes));
    }
    return value;
}

/// Which logits a filter looks at.
struct Entry {
    float lowest;
    bool all;
    __device__ bool operator()(float logit) const { return all || (logit >= lowest && logit != -infinity()); }
    /// No key below is one of theirs.
    __device__ u64 bound() const { return all ? 0 : u64(order_of(lowest)) << 32; }
};

/// The least key of the `wanted` tokens with the greatest, of those that enter; 0 where there are no more.
///
/// `of_chunks`: of the chunks' greatest keys instead. `bound` (or 0): so many tokens enter with keys from there on.
__device__ TG_APART u64 select_digits(const Row &given, int wanted, Entry enters, bool of_chunks, u64 bound) {
    TG_SHARED(SampleScratch, scratch);
    const Row row = given;
    u32 *const counts = scratch->counts, *const chosen = scratch->chosen;
    u64 prefix = 0, fixed = 0;
    u32 need = u32(wanted);
    for (int shift = 53;; shift = shift > 11 ? shift - 11 : 0) {
        for (int i = int(threadIdx.x); i < kDigits; i += int(blockDim.x)) counts[i] = 0;
        __syncthreads();
        const auto count = [&](u64 key) {
            if ((key & fixed) == prefix) atomicAdd(&counts[key >> shift & (kDigits - 1)], 1u);
        };
        if (of_chunks) {
            for (int i = int(threadIdx.x); i < row.chunks(); i += int(blockDim.x)) {
                if (row.greatest[i] != 0) count(row.greatest[i]);
            }
        } else {
            each_logit_from<2>(row, max(bound, enters.bound()), [&](int token, float logit) {
                if (enters(logit)) count(key_of(logit, token));
            });
        }
        __syncthreads();
        if (threadIdx.x < kLanes) {
            // Lane 0 has the greatest digits.
            constexpr int kShare = kDigits / kLanes;
            const int top = kDigits - 1 - int(threadIdx.x) * kShare;
            u32 own = 0;
            for (int i = 0; i < kShare; ++i) own += counts[top - i];
            u32 through = own;
            for (u32 by = 1; by < kLanes; by *= 2) {
                const u32 more = __shfl_up_sync(kAllLanes, through, by);
                if (threadIdx.x >= by) through += more;
            }
            u32 above = through - own;
            if (__shfl_sync(kAllLanes, through, kLanes - 1) <= need) {
                if (threadIdx.x == 0) chosen[1] = kAllTokens;
            } else if (above < need && through >= need) {
                int digit = top;
                while (above + counts[digit] < need) above += counts[digit--];
                chosen[0] = u32(digit);
                chosen[1] = above;
                chosen[2] = counts[digit];
            }
        }
        __syncthreads();
        const u32 digit = chosen[0], above = chosen[1], here = chosen[2];
        // Keys below the bound were not all counted, and are not wanted.
        if (above == kAllTokens) return max(prefix, bound);
        prefix |= u64(digit) << shift;
        fixed |= u64(kDigits - 1) << shift;
        need -= above;
        if (here == need || shift == 0) return max(prefix, bound);
    }
}

__device__ u64 select_key(const Row &row, int wanted, Entry enters) {
    u64 bound = 0;
    if (row.greatest && wanted <= row.chunks()) {
        bound = select_digits(row, wanted, enters, true, 0);
        if (bound < enters.bound()) bound = 0;
    }
    return select_digits(row, wanted, enters, false, bound);
}

/// The keys from `cut` on, at most kSorted, in descending order into scratch; answers how many.
__device__ TG_APART int sort_best(const Row &given, u64 cut, Entry enters) {
    TG_SHARED(SampleScratch, scratch);
    const Row row = given;
    u64 *const keys = scratch->keys;
    if (threadIdx.x == 0) scratch->held = 0;
    for (int i = int(threadIdx.x); i < kSorted; i += int(blockDim.x)) keys[i] = 0;
    __syncthreads();
    each_logit_from<2>(row, max(cut, enters.bound()), [&](int token, float logit) {
        const u64 key = key_of(logit, token);
        if (enters(logit) && key >= cut) {
            const int place = atomicAdd(&scratch->held, 1);
            if (place < kSorted) keys[place] = key;
        }
    });
    __syncthreads();
    const int held = min(scratch->held, kSorted);
    int size = 2;
    while (size < held) size *= 2;
    for (int run = 2; run <= size; run *= 2) {
        for (int gap = run / 2; gap > 0; gap /= 2) {
            for (int i = int(threadIdx.x); i < size; i += int(blockDim.x)) {
                const int other = i ^ gap;
                const u64 a = keys[i], b = keys[other];
                if (other > i && ((i & run) == 0 ? a < b : a > b)) {
                    keys[i] = b;
                    keys[other] = a;
                }
            }
            __syncthreads();
        }
    }
    return held;
}

/// Prefix sums of a value a thread.
__device__ double block_scan(double value) {
    __shared__ double parts[kLanes];
    const int lane = int(threadIdx.x) % kLanes, warp = int(threadIdx.x) / kLanes;
    for (int by = 1; by < kLanes; by *= 2) {
        const double more = __shfl_up_sync(kAllLanes, value, unsigned(by));
        if (lane >= by) value += more;
    }
    __syncthreads();
    if (lane == kLanes - 1) parts[warp] = value;
    __syncthreads();
    double before = 0;
    for (int w = 0; w < warp; ++w) before += parts[w];
    return before + value;
}

/// What the filters of one row leave: tokens whose logits enter and whose keys are at least `cut`.
struct Draw {
    Row row;
    double largest, temperature;
    Entry enters;
    u64 cut;

    __device__ double z(float logit) const { return (double(logit) - largest) / temperature; }
    /// The sum of the weights of the keys from `from` on.
    __device__ double mass(u64 from) const {
        double sum = 0;
        each_logit_from<4>(row, max(from, enters.bound()), [&](int token, float logit) {
            if (enters(logit) && key_of(logit, token) >= from) sum += double(weight_of(z(logit)));
        });
        return block_sum(sum);
    }
    __device__ int count(u64 from) const {
        int sum = 0;
        each_logit_from<2>(row, max(from, enters.bound()),
                        [&](int token, float logit) { sum += enters(logit) && key_of(logit, token) >= from; });
        return block_sum(sum);
    }

    __device__ void keep_best(int wanted) { cut = select_key(row, wanted, enters); }

    /// Keeps the shortest prefix, in order, whose weight reaches `share` of all that is kept.
    __device__ void keep_share(double share) {
        TG_SHARED(SampleScratch, scratch);
        const u64 *const keys = scratch->keys;
        const u64 best = max(cut, select_key(row, kSorted, enters));
        const int held = sort_best(row, best, enters);
        // Two neighbours a thread.
        const int i = 2 * int(threadIdx.x);
        double weights[2];
        for (int j = 0; j < 2; ++j) weights[j] = i + j < held ? exp(z(value_of(u32(keys[i + j] >> 32)))) : 0;
        const double through = block_scan(weights[0] + weights[1]), before = through - weights[1];
        const bool all = best == cut;
        const double total = all ? block_sum(weights[0] + weights[1]) : mass(cut);
        if (i == 0) scratch->end = held;
        __syncthreads();
        // The first that reaches the target; sums that rounding keeps below it all stay.
        const double target = share * total;
        if (i < held && before >= target) atomicMin(&scratch->end, i);
        if (i + 1 < held && through >= target) atomicMin(&scratch->end, i + 1);
        __syncthreads();
        const int last = scratch->end;
        if (last < held) {
            cut = keys[last];
        } else if (!all) {
            keep_share_of_many(target, u32(best >> 32) + 1);
        }
        __syncthreads();
    }

    /// The same where more than kSorted tokens stay: bisection over the logits, then over equal ones.
    __device__ void keep_share_of_many(double target, u32 high) {
        u32 low = order_of(enters.lowest);
        // mass(low) reaches the target or everything stays; mass(high) does not.
        while (high - low > 1) {
            const u32 middle = low + (high - low) / 2;
            if (mass(max(cut, u64(middle) << 32)) >= target) low = middle;
            else high = middle;
        }
        const u64 above = max(cut, u64(low + 1) << 32);
        const double missing = target - mass(above), weight = double(weight_of(z(value_of(low))));
        const int more = weight > 0 ? int(min(ceil(missing / weight), double(row.vocabulary))) : row.vocabulary;
        cut = max(cut, select_key(row, max(1, count(above) + max(0, more)), enters));
    }

    __device__ int draw(const SampleHow &how, int best) const {
        const double floor = how.min_p > 0 ? max(-kReach, log(double(how.min_p))) : -kReach;
        double highest = score_of(0, how.seed, how.choice, how.position, best, minus_infinity());
        int token = best;
        const float top = float(largest), inverse = 1.0f / float(temperature);
        each_logit_from<4>(row, max(cut, enters.bound()), [&](int i, float logit) {
            // Roughly first: most tokens are too far below.
            if (!enters(logit) || (logit - top) * inverse + 17.4f < float(highest) || key_of(logit, i) < cut)
                return;
            const double place = z(logit);
            if (place < floor) return;
            const double score = score_of(place, how.seed, how.choice, how.position, i, highest);
            if (score > highest || (score == highest && i < token)) {
                highest = score;
                token = i;
            }
        });
        __shared__ double scores[kLanes];
        __shared__ int tokens[kLanes];
        const auto meet = [&] {
            for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
                const double score = __shfl_xor_sync(kAllLanes, highest, lanes);
                const int other = __shfl_xor_sync(kAllLanes, token, lanes);
                if (score > highest || (score == highest && other < token)) {
                    highest = score;
                    token = other;
                }
            }
        };
        meet();
        __syncthreads();
        const int lane = int(threadIdx.x) % kLanes;
        if (lane == 0) {
            scores[threadIdx.x / kLanes] = highest;
            tokens[threadIdx.x / kLanes] = token;
        }
        __syncthreads();
        const bool there = lane < int(blockDim.x) / kLanes;
        highest = there ? scores[lane] : minus_infinity();
        token = there ? tokens[lane] : 0x7fffffff;
        meet();
        return token;
    }
};

/// Penalties, bias, suppression and mask, in that order, on a copy.
__device__ void change(const SampleHow &how, const int *arena, const float *raw, float *logits,
                       int vocabulary) {
    each_logit(raw, vocabulary, [&](int token, float logit) { logits[token] = logit; });
    __syncthreads();
    const int thread = int(threadIdx.x), threads = int(blockDim.x);
    const auto inside = [&](int token) { return token >= 0 && token < vocabulary; };
    const int *history = arena + how.history;
    for (int i = thread; i < how.history_count; i += threads) {
        if (!inside(history[i])) continue;
        float logit = logits[history[i]];
        if (how.repetition != 1) logit = logit > 0 ? logit / how.repetition : logit * how.repetition;
        const float count = float(history[how.history_count + i]);
        if (count > 0) logit -= __fadd_rn(__fmul_rn(how.frequency, count), how.presence);
        logits[history[i]] = logit;
    }
    __syncthreads();
    const int *bias = arena + how.bias;
    for (int i = thread; i < how.bias_count; i += threads) {
        if (inside(bias[i])) atomicAdd(&logits[bias[i]], __int_as_float(bias[how.bias_count + i]));
    }
    __syncthreads();
    for (int i = thread; i < how.suppressed_count; i += threads) {
        const int token = arena[how.suppressed + i];
        if (inside(token)) logits[token] = -infinity();
    }
    __syncthreads();
    if (how.mask_words >= 0) {
        const int *mask = arena + how.mask;
        for (int i = thread; i < vocabulary; i += threads) {
            if (i / 32 >= how.mask_words || !(u32(mask[i / 32]) >> (i % 32) & 1)) logits[i] = -infinity();
        }
        __syncthreads();
    }
}

/// The best raw logits in order, ties by number.
__device__ void best_of(const Row &raw, int wanted, double log_sum, SampleAnswer &answer) {
    TG_SHARED(SampleScratch, scratch);
    const u64 *const keys = scratch->keys;
    const int count = min(min(wanted, 20), raw.vocabulary);
    if (count <= 0) return;
    const Entry everything{0, true};
    sort_best(raw, select_key(raw, count, everything), everything);
    if (threadIdx.x < u32(count)) {
        answer.top_tokens[threadIdx.x] = token_of(keys[threadIdx.x]);
        answer.top_logprobs[threadIdx.x] = float(double(value_of(u32(keys[threadIdx.x] >> 32))) - log_sum);
    }
    if (threadIdx.x == 0) answer.top_count = count;
}

/// changed [rows, vocabulary]: room for rows that have penalties, bias, suppressed tokens or a mask. greatest
/// [rows, chunks]: those of sample_chunks.
__device__ void sample_row(const float *logits, int vocabulary, const SampleHow *hows, const int *arena,
                           float *changed, u64 *greatest, SampleAnswer *answers) {
    const SampleHow &how = hows[blockIdx.x];
    SampleAnswer &answer = answers[blockIdx.x];
    const float *raw = logits + i64(blockIdx.x) * vocabulary;
    for (int i = int(threadIdx.x); i < int(sizeof(SampleAnswer) / 4); i += int(blockDim.x)) {
        reinterpret_cast<int *>(&answer)[i] = 0;
    }
    const int chunks = (vocabulary + kChunk - 1) / kChunk;
    greatest += i64(blockIdx.x) * chunks;
    const auto best_key = [&] {
        u64 best = 0;
        for (int i = int(threadIdx.x); i < chunks; i += int(blockDim.x)) best = max(best, greatest[i]);
        return block_max(best);
    };
    u64 top = best_key();
    const float largest = value_of(u32(top >> 32));
    if (top == 0 || top == kNotNumbers || largest == infinity()) {
        if (threadIdx.x == 0) answer.status = 1;
        return;
    }
    const bool penalties = how.repetition != 1 || how.presence != 0 || how.frequency != 0;
    const float *values = raw;
    if ((penalties && how.history_count > 0) || how.bias_count > 0 || how.suppressed_count > 0 ||
        how.mask_words >= 0) {
        float *own = changed + i64(blockIdx.x) * vocabulary;
        change(how, arena, raw, own, vocabulary);
        values = own;
        find_greatest(own, vocabulary, int(threadIdx.x) * 4, int(blockDim.x) * 4, chunks * kChunk, false, greatest);
        __syncthreads();
        top = best_key();
        if (top == 0) {
            if (threadIdx.x == 0) answer.status = 2;
            return;
        }
    }
    int token = token_of(top);
    if (how.temperature > 0) {
        const double best = double(value_of(u32(top >> 32))), temperature = double(how.temperature);
        const bool filtered = how.top_k > 0 || how.top_p < 1;
        const auto lowest = float(best - (filtered ? kWeight : kReach) * temperature);
        Draw draw{{values, vocabulary, greatest}, best, temperature, {lowest, false}, 0};
        if (how.top_k > 0) draw.keep_best(how.top_k);
        if (how.top_p < 1) draw.keep_share(double(how.top_p));
        token = draw.draw(how, token);
    }
    if (threadIdx.x == 0) answer.token = token;
    if (how.top_logprobs < 0) return;
    double total = 0;
    each_logit(raw, vocabulary, [&](int, float logit) { total += double(expf(logit - largest)); });
    const double log_sum = double(largest) + log(block_sum(total));
    if (threadIdx.x == 0) answer.logprob = float(double(raw[token]) - log_sum);
    best_of({raw, vocabulary, values == raw ? greatest : nullptr}, how.top_logprobs, log_sum, answer);
}

TG_KERNEL(kSampleThreads, sample,
          (const float *logits, int vocabulary, const SampleHow *hows, const int *arena, float *changed,
           u64 *greatest, SampleAnswer *answers),
          sample_row(logits, vocabulary, hows, arena, changed, greatest, answers))

/// The greatest key of each chunk of row blockIdx.y; a block has 1024 tokens.
TG_KERNEL(256, sample_chunks, (const float *logits, int vocabulary, u64 *greatest), {
    const int first = int(blockIdx.x) * 1024, chunks = (vocabulary + kChunk - 1) / kChunk;
    find_greatest(logits + i64(blockIdx.y) * vocabulary, vocabulary, first + int(threadIdx.x) * 4, 1024,
                  min(chunks * kChunk, first + 1024), true, greatest + i64(blockIdx.y) * chunks);
})

/// Tokens as the next step's ids; one that was not drawn is 0.
TG_KERNEL(256, follow, (const SampleAnswer *answers, const int *follows, int rows, int *ids), {
    const int row = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (row < rows && follows[row] >= 0) ids[row] = answers[follows[row]].token;
})
