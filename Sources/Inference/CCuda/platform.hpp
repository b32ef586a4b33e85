// What differs between the GPU and its emulation: device.cpp and kernels.cpp are the same for both.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "../CTorch/device.hpp"

namespace tg::platform {

/// How the device is called: `cuda:0`, its model, its address on the bus.
struct Identity {
    std::string name, model, bus;
};

/// Makes the device ready; throws where it is not usable.
Identity start(const DeviceOptions &options);
at::Device device();
tg_device_memory memory();
/// Waits for the work under way.
void wait();
/// Gives back what is cached.
void trim();
/// Whether an error has spoilt the device for this process.
bool lost();

/// Address space, whole pages of it; unmapped by `release`, which waits, too.
void *reserve(uint64_t bytes);
void release(void *address);
void commit(void *address, int64_t bytes);
void discard(void *address, int64_t bytes);

/// `host` may be changed afterwards.
void upload(void *to, const void *host, int64_t bytes);
/// Waits for the work under way.
void download(void *host, const void *from, int64_t bytes);
void copy(void *to, const void *from, int64_t bytes);

/// The host's memory that the device reads and writes by itself, and whether it has.
class Pinned {
  public:
    explicit Pinned(int64_t bytes);
    ~Pinned();
    Pinned(const Pinned &) = delete;
    Pinned &operator=(const Pinned &) = delete;
    char *data() const;
    int64_t bytes() const;
    /// Sends its first bytes to a place in `to`; `wait` returns once it may be filled again.
    void send(const at::Tensor &to, int64_t offset, int64_t bytes);
    /// Gets the first bytes of `from`; `wait` returns once they are there.
    void receive(const at::Tensor &from, int64_t bytes);
    void wait();

  private:
    struct State;
    std::unique_ptr<State> state;
};

/// Recorded work; `run` starts it behind what was put on the stream before.
class Graph {
  public:
    Graph();
    ~Graph();
    Graph(const Graph &) = delete;
    Graph &operator=(const Graph &) = delete;
    void begin();
    void end();
    void abandon() noexcept;
    void run();

  private:
    struct State;
    std::unique_ptr<State> state;
};

/// Causal attention of queries [rows, heads, dim] (a view) over keys and values [seen, kv_heads, dim], of
/// which the last `rows` are those of the queries' own positions; null: this device or shape has no library
/// for it.
std::optional<at::Tensor> flash(const at::Tensor &queries, const at::Tensor &keys, const at::Tensor &values,
                                float scale, int64_t window);
/// 0 and where each segment ends, in the host's memory and in the device's.
struct Ends {
    std::vector<int32_t> host;
    at::Tensor there;
};
/// The same without order, from segment to segment: the rows of a segment of `queries` see its keys.
std::optional<at::Tensor> flash_segments(const at::Tensor &queries, const at::Tensor &keys,
                                         const at::Tensor &values, float scale, const Ends &query_ends,
                                         const Ends &key_ends);
/// Whether both take such heads.
bool has_flash(at::ScalarType type, int64_t dim);

#ifdef TORCHGATE_EMULATED
/// Does `work`, or keeps it for the graph that is being recorded.
void perform(std::function<void()> work);
#else
template <typename Work>
void perform(Work &&work) {
    work();
}
#endif

}  // namespace tg::platform
