// What the checks share: tensors of noise, their bytes as the device has them, comparison by rounding.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../../Sources/Inference/CCuda/kernels.hpp"

namespace checks {

struct Check {
    Check(const char *name, void (*body)());
    const char *name;
    void (*body)();
};

// KERNEL_CHECK(name, "what holds") { … }
#define KERNEL_CHECK(id, text)                                                                               \
    static void id();                                                                                        \
    static const checks::Check check_##id(text, id);                                                         \
    static void id()

/// Throws with everything that was streamed in.
struct Failure {
    std::ostringstream text;
    template <typename T>
    Failure &operator<<(const T &part) {
        text << part;
        return *this;
    }
    [[noreturn]] void raise() const { throw std::runtime_error(text.str()); }
};

/// A tensor handle that is freed; an undefined one throws libtorch's message.
class Tensor {
public:
    explicit Tensor(tg_tensor handle);
    Tensor(const std::vector<float> &values, std::vector<int64_t> shape, tg_dtype type = TG_F32);
    ~Tensor() { tg_free(handle); }
    Tensor(Tensor &&other) noexcept : handle(other.handle) { other.handle = nullptr; }
    Tensor(const Tensor &) = delete;

    operator tg_tensor() const { return handle; }
    int64_t count() const;
    tg_dtype type() const { return tg_dtype(tg_dtype_of(handle)); }
    void *data() const { return tg_data(handle); }
    std::vector<float> floats() const;
    /// A tensor of its own with the same values.
    Tensor copy() const;
    /// The same values in another type.
    Tensor as(tg_dtype type) const { return Tensor(tg_to(handle, type)); }

private:
    tg_tensor handle;
};

/// Dense memory with canaries at both ends, which is what a kernel writes to. Starts as NaNs.
class Memory {
public:
    Memory(tg_dtype type, int64_t count);
    void *data() { return bytes.data() + kEdge; }
    template <typename T>
    T *as() {
        return static_cast<T *>(data());
    }
    std::vector<float> floats() const;

private:
    static constexpr size_t kEdge = 64;
    void look() const;
    tg_dtype type;
    int64_t count;
    std::vector<uint8_t> storage;
    struct Span {
        uint8_t *base;
        uint8_t *data() const { return base; }
    } bytes;
};

inline std::mt19937 &noise_source() {
    static thread_local std::mt19937 source(7);
    return source;
}

/// Normal values of deviation `scale`.
std::vector<float> noise(int64_t count, float scale = 1);

/// float32: relative to the largest magnitude nearby; narrow types: nearly all bits equal, the rest one step.
void expect_close(const char *what, tg_dtype type, const std::vector<float> &found,
                  const std::vector<float> &wanted, double tolerance = 1e-5);
void expect_equal(const char *what, const std::vector<float> &found, const std::vector<float> &wanted);

/// Calls body for each type that the CPU's operations have, and float16.
void each_type(const std::function<void(tg_dtype)> &body);
const char *name_of(tg_dtype type);
/// The type in which the CPU computes what the device does in `type`: float16 has no operations there.
inline tg_dtype cpu_type(tg_dtype type) { return type == TG_F16 ? TG_F32 : type; }

}  // namespace checks
