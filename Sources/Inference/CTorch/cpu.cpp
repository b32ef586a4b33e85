// Which kernels this CPU runs, and the thread's first error.

#include <algorithm>
#include <string>

#include "internal.hpp"
#include "kernels.hpp"
#include "quant.hpp"

namespace {

thread_local std::string first_error;
thread_local bool failed = false;

thread_local int highest_level = 3;

int cpu_level() {
    static const int level = [] {
        __builtin_cpu_init();
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
        if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
            !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
            return 1;
        }
        return __builtin_cpu_supports("avx512bf16") ? 3 : 2;
    }();
    return level;
}

}  // namespace

namespace tg {

void fail(const char *message) noexcept {
    if (failed) return;
    failed = true;
    try {
        first_error = message;
    } catch (...) {
    }
}

const Kernels &kernels() noexcept {
    const int level = std::min(cpu_level(), highest_level);
    switch (level) {
    case 3: return avx512bf16_kernels;
    case 2: return avx512_kernels;
    case 1: return avx2_kernels;
    default: return baseline_kernels;
    }
}

const QuantKernels &quant_kernels() noexcept {
    static const bool vnni = __builtin_cpu_supports("avx512vnni");
    static const bool pairs = vnni && __builtin_cpu_supports("avx512vbmi");
    const int level = std::min(cpu_level(), highest_level);
    // The limit 2 is for tests: some processors of that level multiply bytes natively, too.
    if (level >= 2 && highest_level > 2 && vnni) return level == 3 && pairs ? bf16_quant : vnni_quant;
    if (level >= 2) return avx512_quant;
    return level == 1 ? avx2_quant : baseline_quant;
}

}  // namespace tg

extern "C" {

const char *tg_error(void) noexcept { return failed ? first_error.c_str() : nullptr; }

void tg_clear_error(void) noexcept {
    failed = false;
    first_error.clear();
}

void tg_set_error(const char *message) noexcept { tg::fail(message); }

const char *tg_cpu(void) noexcept { return tg::kernels().name; }

const char *tg_packed_cpu(void) noexcept { return tg::quant_kernels().name; }

void tg_limit_cpu(int32_t level) noexcept { highest_level = level; }
}
