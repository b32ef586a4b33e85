// Kernels on the host, for tests without a GPU.
//
// 1. A launch runs its blocks one after the other on the calling thread, the threads of a block as fibers
//    that change over at barriers and warp operations only.
// 2. What would hang or be undefined on a device is an error here: a barrier or warp operation that some
//    thread of the block or lane of the warp does not reach, or reaches at another line; writes beyond the
//    shared memory; a block larger than its kernel says.
// 3. Shared memory starts as NaNs, so that what nobody wrote shows.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace tg::emulator {

struct Index {
    unsigned x, y, z;
};

/// Where the running thread stands.
struct Place {
    Index thread, block, block_size, grid_size;
    unsigned char *shared;
};

extern constinit thread_local Place place;

void block_barrier(int line);
void warp_barrier(int line);
/// Gives `bits` to the warp and takes those of lane `source`.
unsigned long long exchange(unsigned long long bits, unsigned source, int line);
/// The lanes whose `predicate` holds.
unsigned ballot(bool predicate, int line);

/// One kernel by its name; kernels/*.cu make them through TG_KERNEL.
class Entry {
public:
    template <typename... Arguments>
    Entry(const char *name, unsigned threads, void (*kernel)(Arguments...))
        : name(name), threads(threads), sizes{unsigned(sizeof(Arguments))...}, kernel(reinterpret_cast<void (*)()>(kernel)),
          call([](void (*kernel)(), void **arguments) {
              unpack(reinterpret_cast<void (*)(Arguments...)>(kernel), arguments,
                     std::index_sequence_for<Arguments...>());
          }) {
        enter();
    }

    const char *name;
    unsigned threads;             // of a block, at most
    std::vector<unsigned> sizes;  // of the arguments, in bytes
    void (*kernel)();
    void (*call)(void (*kernel)(), void **arguments);

private:
    template <typename... Arguments, size_t... I>
    static void unpack(void (*kernel)(Arguments...), void **arguments, std::index_sequence<I...>) {
        kernel(*static_cast<Arguments *>(arguments[I])...);
    }
    void enter();
};

/// The kernel of that name, or null.
const Entry *entry(const std::string &name);

/// Ends the launch: the running thread did what a device refuses.
void fail(const char *why);

/// Whether the threads of a block have their turns from the last to the first: who needs no barrier between a
/// thread's write and another's read gets the same answers in both orders.
void run_backwards(bool whether);

}  // namespace tg::emulator
