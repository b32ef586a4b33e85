// Threads for the fused kernels.
//
// 1. A job is an epoch; a chunk is claimed by compare-and-swap on (epoch, next), so a helper that wakes
//    late can never claim a chunk of a job whose fields it did not read.
// 2. The caller works too and returns when every chunk is done, whether or not helpers came.
// 3. Helpers spin for some tens of microseconds after a job and then sleep on the epoch: between the
//    regions of one step nobody pays for a wake-up, between steps nobody burns a core.

#include <ATen/Parallel.h>
#include <immintrin.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "internal.hpp"

namespace {

using Body = std::function<void(int64_t)>;

class Pool {
  public:
    ~Pool() { stop(); }

    void start(int count) {
        std::lock_guard<std::mutex> lock(owner);
        stop();
        stopping.store(false);
        for (int i = 1; i < count; ++i) helpers.emplace_back([this] { help(); });
        size.store(count);
    }

    int threads() const { return size.load(std::memory_order_relaxed); }

    void run(int64_t chunks, const Body &work) {
        std::unique_lock<std::mutex> lock(owner, std::try_to_lock);
        if (!lock.owns_lock() || helpers.empty() || chunks < 2 || chunks > INT32_MAX) {
            for (int64_t i = 0; i < chunks; ++i) work(i);
            return;
        }
        const uint32_t now = epoch.load(std::memory_order_relaxed) + 1;
        // Exhausted first: whoever reads a new field below can claim nothing with an old ticket.
        ticket.store((uint64_t(now) << 32) | UINT32_MAX, std::memory_order_relaxed);
        body.store(&work, std::memory_order_release);
        total.store(uint32_t(chunks), std::memory_order_release);
        done.store(0, std::memory_order_relaxed);
        ticket.store(uint64_t(now) << 32, std::memory_order_release);
        epoch.store(now, std::memory_order_release);
        epoch.notify_all();
        claim(now);
        // A helper that the system has taken off its core mid-chunk needs ours: spin briefly, then sleep.
        for (int spin = 0; spin < 2000; ++spin) {
            if (done.load(std::memory_order_acquire) == uint32_t(chunks)) return;
            _mm_pause();
        }
        for (uint32_t seen; (seen = done.load(std::memory_order_acquire)) != uint32_t(chunks);) {
            done.wait(seen, std::memory_order_acquire);
        }
    }

  private:
    /// Works on chunks of job `now` until none is left.
    void claim(uint32_t now) {
        uint64_t seen = ticket.load(std::memory_order_acquire);
        while (uint32_t(seen >> 32) == now) {
            const Body *work = body.load(std::memory_order_acquire);
            const uint32_t chunks = total.load(std::memory_order_acquire);
            const uint32_t next = uint32_t(seen);
            if (next >= chunks) return;
            if (!ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) continue;
            (*work)(next);
            if (done.fetch_add(1, std::memory_order_release) + 1 == chunks) done.notify_one();
            seen = ticket.load(std::memory_order_acquire);
        }
    }

    void help() {
        uint32_t last = 0;
        while (!stopping.load(std::memory_order_relaxed)) {
            uint32_t now = epoch.load(std::memory_order_acquire);
            for (int spin = 0; now == last && spin < 600; ++spin) {
                _mm_pause();
                now = epoch.load(std::memory_order_acquire);
            }
            if (now == last) {
                epoch.wait(last, std::memory_order_acquire);
                continue;
            }
            last = now;
            claim(now);
        }
    }

    void stop() {
        stopping.store(true);
        // The ticket of this epoch belongs to no job: helpers wake, find nothing and leave.
        epoch.fetch_add(1);
        epoch.notify_all();
        for (std::thread &helper : helpers) helper.join();
        helpers.clear();
        size.store(1);
    }

    std::mutex owner;
    std::vector<std::thread> helpers;
    std::atomic<int> size{1};
    std::atomic<bool> stopping{false};
    alignas(64) std::atomic<uint32_t> epoch{0};
    alignas(64) std::atomic<uint64_t> ticket{0};
    std::atomic<const Body *> body{nullptr};
    std::atomic<uint32_t> total{0};
    alignas(64) std::atomic<uint32_t> done{0};
};

std::atomic<uint64_t> progress{0};

/// Never destroyed: a helper may outlive the static objects of the process.
Pool &pool() {
    static Pool *shared = new Pool();
    return *shared;
}

}  // namespace

namespace tg {

void parallel(int64_t chunks, const Body &body) noexcept {
    progress.fetch_add(1, std::memory_order_relaxed);
    pool().run(chunks, body);
}

int threads() noexcept { return pool().threads(); }

void progressed() noexcept { progress.fetch_add(1, std::memory_order_relaxed); }

}  // namespace tg

extern "C" void tg_start(int32_t threads) noexcept {
    tg::guarded(false, [&] {
        const int count = threads < 1 ? 1 : threads > 256 ? 256 : threads;
        at::set_num_threads(count);
        pool().start(count);
        return true;
    });
}

extern "C" uint64_t tg_progress(void) noexcept { return progress.load(std::memory_order_relaxed); }

extern "C" int32_t tg_threads(void) noexcept { return tg::threads(); }
