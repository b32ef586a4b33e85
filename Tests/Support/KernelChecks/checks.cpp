#include "checks.hpp"

#include <algorithm>
#include <cstring>

#include "../../../Sources/Inference/CCuda/emulator/emulator.hpp"
#include "include/kernel_checks.h"

namespace checks {

namespace {

std::vector<const Check *> &all() {
    static std::vector<const Check *> checks;
    return checks;
}

/// Bits of the significand, the hidden one among them.
int precision(tg_dtype type) { return type == TG_F32 ? 24 : type == TG_F16 ? 11 : 8; }

}  // namespace

Check::Check(const char *name, void (*body)()) : name(name), body(body) { all().push_back(this); }

Tensor::Tensor(tg_tensor handle) : handle(handle) {
    if (handle) return;
    const char *error = tg_error();
    const std::string message = error ? error : "undefined tensor";
    tg_clear_error();
    throw std::runtime_error(message);
}

Tensor::Tensor(const std::vector<float> &values, std::vector<int64_t> shape, tg_dtype type)
    : handle(tg_from_floats(values.data(), shape.data(), int32_t(shape.size()))) {
    if (type == TG_F32) return;
    const tg_tensor wide = handle;
    handle = tg_to(wide, type);
    tg_free(wide);
}

int64_t Tensor::count() const {
    int64_t product = 1;
    for (int32_t axis = 0; axis < tg_rank(handle); ++axis) product *= tg_size(handle, axis);
    return product;
}

std::vector<float> Tensor::floats() const {
    std::vector<float> values(size_t(count()), 0.0f);
    if (!values.empty()) tg_copy_out(handle, values.data(), count());
    return values;
}

Tensor Tensor::copy() const {
    std::vector<int64_t> shape;
    for (int32_t axis = 0; axis < tg_rank(handle); ++axis) shape.push_back(tg_size(handle, axis));
    return Tensor(floats(), shape, type());
}

Memory::Memory(tg_dtype type, int64_t count) : type(type), count(count) {
    storage.assign(2 * kEdge + 64 + size_t(count) * (type == TG_F32 ? 4 : 2), 0xff);
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    bytes.base = storage.data() + (64 - address % 64) % 64;
}

void Memory::look() const {
    const size_t size = size_t(count) * (type == TG_F32 ? 4 : 2);
    for (size_t i = 0; i < kEdge; ++i) {
        if (bytes.base[i] != 0xff || bytes.base[kEdge + size + i] != 0xff) {
            throw std::runtime_error("written outside of the answer");
        }
    }
}

std::vector<float> Memory::floats() const {
    look();
    std::vector<float> values(static_cast<size_t>(count));
    const uint8_t *from = bytes.base + kEdge;
    for (size_t i = 0; i < values.size(); ++i) {
        if (type == TG_F32) {
            std::memcpy(&values[i], from + 4 * i, 4);
            continue;
        }
        uint16_t bits;
        std::memcpy(&bits, from + 2 * i, 2);
        values[i] = type == TG_BF16 ? __builtin_bit_cast(float, uint32_t(bits) << 16)
                                    : float(__builtin_bit_cast(_Float16, bits));
    }
    return values;
}

std::vector<float> noise(int64_t count, float scale) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> values(static_cast<size_t>(count));
    for (float &value : values) value = normal(noise_source());
    return values;
}

void expect_equal(const char *what, const std::vector<float> &found, const std::vector<float> &wanted) {
    if (found.size() != wanted.size()) (Failure() << what << ": " << found.size() << " values").raise();
    for (size_t i = 0; i < found.size(); ++i) {
        if (found[i] != wanted[i]) {
            (Failure() << what << ": [" << i << "] is " << found[i] << ", not " << wanted[i]).raise();
        }
    }
}

void expect_close(const char *what, tg_dtype type, const std::vector<float> &found,
                  const std::vector<float> &wanted, double tolerance) {
    if (found.size() != wanted.size()) {
        (Failure() << what << ": " << found.size() << " values, not " << wanted.size()).raise();
    }
    double squares = 0;
    for (const float value : wanted) squares += double(value) * value;
    const double usual = std::sqrt(squares / double(std::max<size_t>(1, wanted.size())));
    const double step = std::ldexp(1.0, 1 - precision(type));
    size_t different = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        const double difference = std::abs(double(found[i]) - double(wanted[i]));
        const double magnitude = std::max(std::abs(double(wanted[i])), type == TG_F32 ? usual : usual / 64);
        const double allowed = magnitude * (type == TG_F32 ? tolerance : step);
        if (!(difference <= allowed)) {
            (Failure() << what << " (" << name_of(type) << "): [" << i << "] of " << found.size() << " is "
                       << found[i] << ", not " << wanted[i])
                .raise();
        }
        different += found[i] != wanted[i];
    }
    // float16 is compared with float32, and so never equal.
    if (type == TG_BF16 && different * 20 > found.size() + 40) {
        (Failure() << what << " (bfloat16): " << different << " of " << found.size() << " values differ")
            .raise();
    }
}

void each_type(const std::function<void(tg_dtype)> &body) {
    for (const tg_dtype type : {TG_F32, TG_BF16, TG_F16}) body(type);
}

const char *name_of(tg_dtype type) {
    return type == TG_F32 ? "float32" : type == TG_BF16 ? "bfloat16" : "float16";
}

}  // namespace checks

extern "C" {

int32_t kernel_check_count(void) { return int32_t(checks::all().size()); }

const char *kernel_check_name(int32_t index) { return checks::all()[size_t(index)]->name; }

const char *kernel_check_run(int32_t index, bool backwards) {
    static thread_local std::string failure;
    checks::noise_source().seed(7);
    tg::emulator::run_backwards(backwards);
    try {
        checks::all()[size_t(index)]->body();
        return nullptr;
    } catch (const std::exception &error) {
        failure = error.what();
        return failure.c_str();
    }
}
}
