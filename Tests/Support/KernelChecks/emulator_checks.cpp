// The emulator finds what would hang or corrupt a device.
#include "../../../Sources/Inference/CCuda/emulator/device.hpp"
#include "checks.hpp"

using namespace checks;

namespace {

void one_is_missing(int *) {
    if (threadIdx.x != 5) __syncthreads();
}
void two_places(int *) {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads();
}
void half_a_warp(int *out) {
    if (threadIdx.x % 32 < 16) out[0] = __shfl_xor_sync(kAllLanes, 1, 1);
}
void beyond_shared(int *) { tg::emulator::place.shared[64 + threadIdx.x] = 1; }
/// Sums 0 ..< blockDim by shuffles and shared memory, twice, so that values of one round meet the next.
void adds(int *out) {
    auto *parts = reinterpret_cast<int *>(tg::emulator::place.shared);
    for (int round = 1; round <= 2; ++round) {
        int value = round * int(threadIdx.x);
        for (unsigned lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
        __syncthreads();
        if (threadIdx.x == 0) {
            for (unsigned w = 0; w < blockDim.x / 32; ++w) atomicAdd(out + blockIdx.x, parts[w]);
        }
        __syncthreads();
    }
    if (__ballot_sync(kAllLanes, threadIdx.x % 2) != 0xaaaaaaaau) out[blockIdx.x] = -1;
}

const tg::emulator::Entry entries[] = {
    {"test_one_is_missing", 64, one_is_missing},
    {"test_two_places", 64, two_places},
    {"test_half_a_warp", 64, half_a_warp},
    {"test_beyond_shared", 64, beyond_shared},
    {"test_adds", 1024, adds},
};

void start(const char *name, unsigned threads, int *out, unsigned grid = 1, unsigned shared = 128) {
    void *arguments[] = {&out};
    tg::device::launch(name, {grid, 1, 1}, {threads, 1, 1}, shared, arguments);
}

void expect_refused(const char *name, unsigned threads, const char *why, unsigned shared = 128) {
    int out[1] = {};
    try {
        start(name, threads, out, 1, shared);
    } catch (const std::exception &error) {
        if (std::string(error.what()).find(why) != std::string::npos) return;
        (Failure() << name << ": " << error.what()).raise();
    }
    (Failure() << name << " ran to its end").raise();
}

}  // namespace

KERNEL_CHECK(emulator_adds, "the emulator's barriers, shuffles and atomics add up") {
    for (const unsigned threads : {32u, 96u, 1024u}) {
        int out[3] = {};
        start("test_adds", threads, out, 3);
        const int wanted = 3 * int(threads) * (int(threads) - 1) / 2;
        for (const int found : out) {
            if (found != wanted) (Failure() << threads << " threads add up to " << found).raise();
        }
    }
}

KERNEL_CHECK(emulator_refuses, "the emulator refuses what would hang or corrupt a device") {
    expect_refused("test_one_is_missing", 64, "not all threads reach");
    expect_refused("test_two_places", 64, "meet at lines");
    expect_refused("test_half_a_warp", 64, "not all threads reach");
    expect_refused("test_beyond_shared", 64, "shared memory", 100);
    expect_refused("test_adds", 2048, "cannot be launched");
    expect_refused("test_adds", 48, "not all threads reach");
    expect_refused("test_nobody", 32, "no kernel");
    emulator_adds();
}
