// What the launch functions share: names by element type, arguments by address.
#pragma once

#include <stdexcept>
#include <string>

#include "kernels.hpp"

namespace tg::device {

constexpr int64_t kLanes = 32;

inline int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Threads that are whole warps, at least `wanted` where `most` allows it.
inline unsigned threads_for(int64_t wanted, int64_t most) {
    const int64_t whole = ceiling(wanted < 1 ? 1 : wanted, kLanes) * kLanes;
    return unsigned(whole < most ? whole : most);
}

inline std::string suffix(tg_dtype type) {
    switch (type) {
    case TG_F32: return "_f32";
    case TG_BF16: return "_bf16";
    case TG_F16: return "_f16";
    }
    throw std::runtime_error("unknown element type");
}

inline int64_t element_size(tg_dtype type) { return type == TG_F32 ? 4 : 2; }
/// Elements that 16 bytes hold.
inline int64_t pack_of(tg_dtype type) { return 16 / element_size(type); }

/// A size as the kernels take it.
inline int whole(int64_t size) {
    if (size < 0 || size > INT32_MAX) throw std::runtime_error("a size of " + std::to_string(size));
    return int(size);
}
inline unsigned blocks(int64_t count) { return unsigned(whole(count)); }

/// The arguments must have the very types of the kernel's parameters.
template <typename... Arguments>
void start(const std::string &name, Grid grid, Grid block, unsigned shared_bytes, Arguments... arguments) {
    void *addresses[] = {static_cast<void *>(&arguments)...};
    launch(name.c_str(), grid, block, shared_bytes, addresses);
}

}  // namespace tg::device
