// The device without a GPU, for tests: the host's memory, kernels on the calling thread, graphs as lists of
// work.
//
// As a stream does, it does work late: when somebody waits. So whoever reads answers too early, or writes
// over what is still to be sent, is found out.
#ifdef TORCHGATE_EMULATED

#include <ATen/ops/empty_like.h>
#include <c10/util/ScopeExit.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "plain_attention.hpp"
#include "platform.hpp"

namespace tg::platform {

namespace {

struct Reservation {
    uint64_t bytes;
    int64_t committed;
};

std::map<void *, Reservation> &reservations() {
    static auto *all = new std::map<void *, Reservation>;
    return *all;
}

using Work = std::vector<std::function<void()>>;
Work *recording = nullptr;

/// Work that was put on the stream and is not done, and how much of it was ever put there and done.
std::deque<std::function<void()>> &stream() {
    static auto *all = new std::deque<std::function<void()>>;
    return *all;
}
uint64_t put = 0, done = 0;
bool is_working = false;

void put_on_stream(std::function<void()> work) {
    stream().push_back(std::move(work));
    ++put;
}

/// For tests: work that is done until the device is lost, and bytes that it has for sequences.
int64_t setting(const char *name) {
    const char *text = std::getenv(name);
    return text && *text ? std::strtoll(text, nullptr, 10) : -1;
}

int64_t left_until_fault = -1;
bool spoilt = false;

/// Before each piece of work.
void meet_fault() {
    TORCH_CHECK(!spoilt, "the emulated device is lost");
    if (left_until_fault < 0 || left_until_fault-- > 0) return;
    spoilt = true;
    TORCH_CHECK(false, "an emulated fault");
}

/// Does the work up to `end`; what fails is taken off. Work that waits finds all before it done.
void finish(uint64_t end) {
    while (done < end && !is_working) {
        const std::function<void()> work = std::move(stream().front());
        stream().pop_front();
        ++done;
        meet_fault();
        is_working = true;
        const auto rest = c10::make_scope_exit([] { is_working = false; });
        work();
    }
}

/// For what has nobody to tell.
void finish_quietly(uint64_t end) noexcept {
    while (done < end && !is_working) {
        try {
            finish(end);
        } catch (const std::exception &) {
            // The next caller hears of a device that is lost.
        }
    }
}

int64_t committed() {
    int64_t total = 0;
    for (const auto &[address, reservation] : reservations()) total += reservation.committed;
    return total;
}

}  // namespace

Identity start(const DeviceOptions &) {
    left_until_fault = setting("TORCHGATE_EMULATED_FAULT_AFTER");
    return {"emulated:0", "an emulated device", ""};
}

at::Device device() { return at::kCPU; }

tg_device_memory memory() {
    const int64_t given = setting("TORCHGATE_EMULATED_BYTES");
    const int64_t total = given > 0 ? given : int64_t(1) << 34, used = committed();
    return {total, total - used, used, used};
}

void wait() { finish(put); }
void trim() { wait(); }

bool lost() { return spoilt; }

void perform(std::function<void()> work) {
    if (recording) return recording->push_back(std::move(work));
    put_on_stream(std::move(work));
}

void *reserve(uint64_t bytes) {
    void *memory = mmap(nullptr, std::max<uint64_t>(1, bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TORCH_CHECK(memory != MAP_FAILED, "no address space for ", bytes, " bytes");
    reservations()[memory] = {std::max<uint64_t>(1, bytes), 0};
    return memory;
}

void release(void *address) {
    const auto found = reservations().find(address);
    if (found == reservations().end()) return;
    finish_quietly(put);
    munmap(address, found->second.bytes);
    reservations().erase(found);
}

void commit(void *address, int64_t bytes) {
    auto found = reservations().upper_bound(address);
    TORCH_CHECK(found != reservations().begin(), "an address that is not reserved");
    --found;
    const int64_t end = static_cast<char *>(address) + bytes - static_cast<char *>(found->first);
    const int64_t limit = setting("TORCHGATE_EMULATED_BYTES"), more = end - found->second.committed;
    TORCH_CHECK(limit < 0 || more <= 0 || committed() + more <= limit, "out of memory on the device: ", more,
                " bytes wanted, ", limit - committed(), " of ", limit, " are free");
    found->second.committed = std::max(found->second.committed, end);
}

void discard(void *address, int64_t bytes) {
    auto found = reservations().upper_bound(address);
    if (found == reservations().begin() || bytes <= 0) return;
    --found;
    const int64_t start = static_cast<char *>(address) - static_cast<char *>(found->first);
    if (start + bytes >= found->second.committed) {
        found->second.committed = std::min(found->second.committed, start);
    }
    wait();
    // What was given back is not to be read: NaNs in every type.
    std::memset(address, 0xff, size_t(bytes));
}

void upload(void *to, const void *host, int64_t bytes) {
    wait();
    std::memcpy(to, host, size_t(bytes));
}

void download(void *host, const void *from, int64_t bytes) {
    wait();
    std::memcpy(host, from, size_t(bytes));
}

void copy(void *to, const void *from, int64_t bytes) {
    wait();
    std::memmove(to, from, size_t(bytes));
}

struct Pinned::State {
    std::vector<char> memory;
    uint64_t last = 0;
};

Pinned::Pinned(int64_t bytes) : state(new State{std::vector<char>(size_t(bytes))}) {}
Pinned::~Pinned() { finish_quietly(state->last); }
char *Pinned::data() const { return state->memory.data(); }
int64_t Pinned::bytes() const { return int64_t(state->memory.size()); }

void Pinned::send(const at::Tensor &to, int64_t offset, int64_t bytes) {
    put_on_stream([to, offset, bytes, from = data()] {
        std::memcpy(static_cast<char *>(to.data_ptr()) + offset, from, size_t(bytes));
    });
    state->last = put;
}

void Pinned::receive(const at::Tensor &from, int64_t bytes) {
    put_on_stream([from, bytes, to = data()] { std::memcpy(to, from.data_ptr(), size_t(bytes)); });
    state->last = put;
}

void Pinned::wait() { finish(state->last); }

struct Graph::State {
    Work work;
};

Graph::Graph() : state(new State) {}
Graph::~Graph() = default;
void Graph::begin() { recording = &state->work; }
void Graph::end() { recording = nullptr; }
void Graph::abandon() noexcept { recording = nullptr; }

void Graph::run() {
    for (const auto &piece : state->work) put_on_stream(piece);
}

// In place of the library: plain products, so that what is made ready for it is tested.

bool has_flash(at::ScalarType type, int64_t dim) {
    return (type == at::kBFloat16 || type == at::kHalf) && dim % 8 == 0 && dim <= 256;
}

std::optional<at::Tensor> flash(const at::Tensor &queries, const at::Tensor &keys, const at::Tensor &values,
                                float scale, int64_t window) {
    wait();
    meet_fault();
    return plain_attention(queries, keys, values, scale, window).to(queries.scalar_type());
}

std::optional<at::Tensor> flash_segments(const at::Tensor &queries, const at::Tensor &keys,
                                         const at::Tensor &values, float scale, const Ends &query_ends,
                                         const Ends &key_ends) {
    wait();
    meet_fault();
    at::Tensor answer = at::empty_like(queries);
    // What is read here is what a device would read.
    const auto same = [](const Ends &ends) {
        return ends.there.scalar_type() == at::kInt && ends.there.numel() == int64_t(ends.host.size()) &&
               std::equal(ends.host.begin(), ends.host.end(),
                          static_cast<const int32_t *>(ends.there.data_ptr()));
    };
    TORCH_CHECK(same(query_ends) && same(key_ends), "segments that differ on the device");
    for (size_t i = 0; i + 1 < query_ends.host.size(); ++i) {
        const auto part = [i](const at::Tensor &rows, const Ends &ends) {
            return rows.narrow(0, ends.host[i], ends.host[i + 1] - ends.host[i]);
        };
        part(answer, query_ends)
            .copy_(plain_attention(part(queries, query_ends), part(keys, key_ends), part(values, key_ends),
                                   scale, 0));
    }
    return answer;
}

}  // namespace tg::platform

#endif
