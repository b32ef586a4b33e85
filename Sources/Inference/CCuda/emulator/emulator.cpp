#include "emulator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../launch.hpp"

// Keeps the callee's registers on the stack, its pointer in *keep, and goes on where `next` was kept.
extern "C" void tg_fiber_switch(void **keep, void *next);
asm(R"(
.text
.p2align 4
.local tg_fiber_switch
.type tg_fiber_switch, @function
tg_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size tg_fiber_switch, . - tg_fiber_switch
)");

namespace tg::emulator {

constinit thread_local Place place{};

namespace {

constexpr unsigned kLargestBlock = 1024, kLanes = 32;
constexpr size_t kStack = 128 << 10, kGuard = 4096;
/// What a block may have on the devices that the kernels are for.
constexpr size_t kSharedBytes = 227 << 10, kFence = 4096;
constexpr unsigned char kFenceByte = 0xa5;

std::map<std::string, const Entry *> &entries() {
    static std::map<std::string, const Entry *> all;
    return all;
}

std::atomic<bool> backwards = false;

/// Whose turn is the i-th of `all`.
unsigned turn(unsigned i, unsigned all) { return backwards ? all - 1 - i : i; }

struct Fiber {
    unsigned char *memory;
    void *stack;  // where it goes on
};

struct Thread {
    enum State : uint8_t { running, at_barrier, in_warp, ended } state;
    uint8_t parity;
    int line;
    Fiber *fiber;
};

struct Warp {
    unsigned waiting;
    unsigned long long values[2][kLanes];
};

/// The block that a thread of the host runs, and the fibers that its threads need.
///
/// A fiber runs threads one after the other until one has to wait; then the next fiber takes over. So a
/// kernel without barriers needs one fiber and no change.
class Runner {
public:
    Runner() {
        shared = static_cast<unsigned char *>(std::aligned_alloc(kGuard, kSharedBytes + kFence + kGuard));
        if (!shared) throw std::bad_alloc();
    }
    ~Runner() {
        for (const auto &fiber : fibers) munmap(fiber->memory, kStack);
        std::free(shared);
    }
    Runner(const Runner &) = delete;

    void run_block(const Entry &kernel, void **with, unsigned threads_here, size_t shared_bytes) {
        entry = &kernel;
        arguments = with;
        count = threads_here;
        next = ended = at_barrier = 0;
        failure.clear();
        shared_end = (shared_bytes + 15) / 16 * 16;
        std::memset(shared, 0xff, shared_end);
        std::memset(shared + shared_end, kFenceByte, kFence);
        std::fill_n(warps, (count + kLanes - 1) / kLanes, Warp{});
        ready.clear();
        while (failure.empty()) {
            if (next < count) {
                enter(idle_fiber());
            } else if (!ready.empty()) {
                release(ready.back());
            } else if (at_barrier == count) {
                release_block();
            } else if (ended == count) {
                break;
            } else {
                explain();
            }
        }
        const auto *fence = shared + shared_end;
        if (failure.empty() && std::any_of(fence, fence + kFence, [](auto b) { return b != kFenceByte; })) {
            failure = "writes beyond its " + std::to_string(shared_bytes) + " bytes of shared memory";
        }
        if (!failure.empty()) {
            // What waits is forgotten; kernels own nothing.
            idle.clear();
            for (const auto &fiber : fibers) idle.push_back(prepare(*fiber));
            throw std::runtime_error(std::string(entry->name) + ": " + failure);
        }
    }

    void wait(Thread::State state, int line) {
        Thread &self = threads[current];
        self.state = state;
        self.line = line;
        self.fiber = active;
        const unsigned warp = current / kLanes;
        if (state == Thread::at_barrier) {
            ++at_barrier;
        } else if (++warps[warp].waiting == kLanes) {
            ready.push_back(warp);
        }
        tg_fiber_switch(&active->stack, scheduler);
    }

    void fail(const char *why) {
        failure = why + (" by thread " + std::to_string(current));
        tg_fiber_switch(&active->stack, scheduler);
    }

    /// The warp's values of this operation: all lanes have read them when the next but one begins.
    const unsigned long long *share(unsigned long long bits, int line) {
        Thread &self = threads[current];
        auto &values = warps[current / kLanes].values[self.parity ^= 1];
        values[current % kLanes] = bits;
        wait(Thread::in_warp, line);
        return values;
    }

    unsigned char *shared;

private:
    static void start();

    Fiber *prepare(Fiber &fiber) {
        auto *top = reinterpret_cast<void **>(fiber.memory + kStack);
        *--top = nullptr;
        *--top = reinterpret_cast<void *>(&start);
        for (int i = 0; i < 6; ++i) *--top = nullptr;
        fiber.stack = top;
        return &fiber;
    }

    Fiber *idle_fiber() {
        if (idle.empty()) {
            void *memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED) throw std::bad_alloc();
            mprotect(memory, kGuard, PROT_NONE);
            fibers.push_back(std::make_unique<Fiber>(Fiber{static_cast<unsigned char *>(memory), nullptr}));
            return prepare(*fibers.back());
        }
        Fiber *fiber = idle.back();
        idle.pop_back();
        return fiber;
    }

    void enter(Fiber *fiber) {
        active = fiber;
        tg_fiber_switch(&scheduler, fiber->stack);
    }

    void resume(unsigned thread) {
        current = thread;
        place_current();
        threads[thread].state = Thread::running;
        enter(threads[thread].fiber);
    }

    void place_current() {
        const Index &size = place.block_size;
        place.thread = {current % size.x, current / size.x % size.y, current / size.x / size.y};
    }

    bool same_line(unsigned from, unsigned to) {
        for (unsigned t = from; t < to; ++t) {
            if (threads[t].line != threads[from].line) {
                failure = "threads " + std::to_string(from) + " and " + std::to_string(t) +
                          " meet at lines " + std::to_string(threads[from].line) + " and " +
                          std::to_string(threads[t].line);
                return false;
            }
        }
        return true;
    }

    void release(unsigned warp) {
        ready.pop_back();
        if (!same_line(warp * kLanes, (warp + 1) * kLanes)) return;
        warps[warp].waiting = 0;
        for (unsigned t = 0; t < kLanes && failure.empty(); ++t) resume(warp * kLanes + turn(t, kLanes));
    }

    void release_block() {
        if (!same_line(0, count)) return;
        at_barrier = 0;
        for (unsigned t = 0; t < count && failure.empty(); ++t) resume(turn(t, count));
    }

    void explain() {
        static const char *const names[] = {"runs", "waits at a barrier", "waits for its warp", "has ended"};
        unsigned waiting = 0;
        while (threads[waiting].state == Thread::ended) ++waiting;
        const auto tell = [&](unsigned t) {
            return "thread " + std::to_string(t) + " " + names[threads[t].state] +
                   (threads[t].state == Thread::ended ? "" : " at line " + std::to_string(threads[t].line));
        };
        failure = "a barrier that not all threads reach: " + tell(waiting);
        for (unsigned t = 0; t < count; ++t) {
            if (threads[t].state != threads[waiting].state) {
                failure += ", " + tell(t);
                return;
            }
        }
        failure += ", and its warp is not whole";
    }

    const Entry *entry = nullptr;
    void **arguments = nullptr;
    unsigned count = 0, next = 0, ended = 0, at_barrier = 0, current = 0;
    size_t shared_end = 0;
    std::string failure;
    Thread threads[kLargestBlock];
    Warp warps[kLargestBlock / kLanes];
    std::vector<unsigned> ready;  // warps whose lanes all wait for each other
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber *> idle;
    Fiber *active = nullptr;
    void *scheduler = nullptr;
};

Runner &runner() {
    static thread_local Runner one;
    return one;
}

void Runner::start() {
    Runner &self = runner();
    for (;;) {
        while (self.next < self.count) {
            const unsigned thread = self.current = turn(self.next++, self.count);
            self.threads[thread] = {Thread::running, 0, 0, nullptr};
            self.place_current();
            self.entry->call(self.entry->kernel, self.arguments);
            // After a wait it is `current` that has ended, and it is this one.
            self.threads[self.current].state = Thread::ended;
            ++self.ended;
        }
        Fiber *fiber = self.active;
        self.idle.push_back(fiber);
        tg_fiber_switch(&fiber->stack, self.scheduler);
    }
}

void run(const Entry &entry, device::Grid grid, device::Grid block, unsigned shared_bytes, void **arguments) {
    Runner &on = runner();
    const Place before = place;
    place.block_size = {block.x, block.y, block.z};
    place.grid_size = {grid.x, grid.y, grid.z};
    place.shared = on.shared;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                place.block = {x, y, z};
                on.run_block(entry, arguments, block.x * block.y * block.z, shared_bytes);
            }
    place = before;
}

}  // namespace

void Entry::enter() { entries()[name] = this; }

const Entry *entry(const std::string &name) {
    const auto found = entries().find(name);
    return found == entries().end() ? nullptr : found->second;
}

void block_barrier(int line) { runner().wait(Thread::at_barrier, line); }
void warp_barrier(int line) { runner().wait(Thread::in_warp, line); }

unsigned long long exchange(unsigned long long bits, unsigned source, int line) {
    return runner().share(bits, line)[source];
}

unsigned ballot(bool predicate, int line) {
    const unsigned long long *values = runner().share(predicate, line);
    unsigned answer = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) answer |= unsigned(values[lane]) << lane;
    return answer;
}

void fail(const char *why) { runner().fail(why); }

void run_backwards(bool whether) { backwards = whether; }

}  // namespace tg::emulator

namespace tg::device {

void launch(const char *name, Grid grid, Grid block, unsigned shared_bytes, void **arguments) {
    const emulator::Entry *found = emulator::entry(name);
    if (!found) throw std::runtime_error(std::string("no kernel ") + name);
    const emulator::Entry &entry = *found;
    const uint64_t threads = uint64_t(block.x) * block.y * block.z;
    if (threads == 0 || threads > entry.threads || uint64_t(grid.x) * grid.y * grid.z == 0 ||
        grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 || shared_bytes > emulator::kSharedBytes) {
        throw std::runtime_error(std::string(name) + ": a grid of " + std::to_string(grid.x) + " · " +
                                 std::to_string(grid.y) + " · " + std::to_string(grid.z) + " blocks of " +
                                 std::to_string(threads) + " threads and " + std::to_string(shared_bytes) +
                                 " bytes cannot be launched");
    }
    emulator::run(entry, grid, block, shared_bytes, arguments);
}

}  // namespace tg::device
