// Finding and loading the library that computes on the GPU.
//
// The order matters: libtorch asks for its CUDA part once, before the first tensor, so that has to be there;
// and where there is no driver nothing of CUDA may be loaded.

#include "device.hpp"

#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <string>

#include "internal.hpp"

namespace {

tg::Device *started = nullptr;
thread_local tg::Device *current = nullptr;

/// Says why something is not there.
struct Refusal : std::exception {
    std::string text;
    explicit Refusal(std::string text) : text(std::move(text)) {}
    const char *what() const noexcept override { return text.c_str(); }
};

void *open(const std::string &path, const std::string &what) {
    if (void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) return library;
    throw Refusal(what + ": " + dlerror());
}

template <typename Function>
Function symbol(void *library, const char *name) {
    if (void *found = dlsym(library, name)) return reinterpret_cast<Function>(found);
    throw Refusal(std::string("no function ") + name);
}

void start_driver() {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!driver) throw Refusal("no NVIDIA driver: libcuda.so.1 not found");
    const int failure = symbol<int (*)(unsigned)>(driver, "cuInit")(0);
    if (failure) throw Refusal("the NVIDIA driver does not start: cuInit answers " + std::to_string(failure));
    int count = 0;
    if (symbol<int (*)(int *)>(driver, "cuDeviceGetCount")(&count) || count < 1) {
        throw Refusal("the NVIDIA driver has no GPU");
    }
}

/// libtorch_cuda.so beside libtorch_cpu.so.
std::string torch_cuda() {
    Dl_info info{};
    if (!dladdr(reinterpret_cast<void *>(&at::set_num_threads), &info)) return "libtorch_cuda.so";
    return std::filesystem::path(info.dli_fname).parent_path() / "libtorch_cuda.so";
}

void start(const char *library, bool driver, const char *cache) {
    static std::string known;
    if (started && known == library) return;
    if (driver) start_driver();
    if (started) throw Refusal("another library for GPUs is in use: " + known);
    if (!std::filesystem::exists(library)) {
        throw Refusal(std::string("the library for GPUs is not there: ") + library);
    }
    if (driver) {
        open(torch_cuda(), "libtorch's CUDA library cannot be loaded");
    }
    void *opened = open(library, "the device's library cannot be loaded");
    const auto make = symbol<tg::OpenDevice>(opened, "tg_open_device");
    char message[512] = "no reason given";
    const tg::DeviceOptions options{tg::kDeviceVersion, cache};
    started = make(options, message, sizeof message);
    if (!started) throw Refusal(message);
    known = library;
}

}  // namespace

namespace tg {

Device *current_device() noexcept { return current; }

}  // namespace tg

extern "C" {

bool tg_start_device(const char *library, bool driver, const char *cache, char *message,
                     size_t room) noexcept {
    try {
        start(library, driver, cache);
        return true;
    } catch (const c10::Error &error) {
        std::snprintf(message, room, "%s", error.what_without_backtrace());
    } catch (const std::exception &error) {
        std::snprintf(message, room, "%s", error.what());
    } catch (...) {
        std::snprintf(message, room, "unknown C++ exception");
    }
    return false;
}

void tg_use_device(bool use) noexcept { current = use ? started : nullptr; }
bool tg_on_device(void) noexcept { return current != nullptr; }
const char *tg_device_name(void) noexcept { return started ? started->name() : ""; }
const char *tg_device_model(void) noexcept { return started ? started->model() : ""; }
const char *tg_device_bus(void) noexcept { return started ? started->bus() : ""; }
bool tg_device_lost(void) noexcept { return started && started->lost(); }

tg_device_memory tg_memory_of_device(void) noexcept {
    return tg::guarded(tg_device_memory{}, [] { return started ? started->memory() : tg_device_memory{}; });
}

void tg_trim_device(void) noexcept {
    tg::guarded(false, [] {
        if (started) started->trim();
        return true;
    });
}

bool tg_stage(const int32_t *ids, const int32_t *positions, const int32_t *follows, const tg_run *runs,
              const tg_sampler_row *samplers, int64_t rows, int64_t longest, int64_t owner) noexcept {
    return tg::guarded(false, [&] {
        TORCH_CHECK(current && rows > 0, "a step without a device or rows");
        return current->stage({ids, positions, follows, runs, samplers, rows, longest, owner});
    });
}

bool tg_has_graph(void) noexcept { return current && current->has_graph(); }

int64_t tg_graphs_owner(void) noexcept {
    static std::atomic<int64_t> last{0};
    return ++last;
}

void tg_graphs_free(int64_t owner) noexcept {
    if (started) tg::guarded(false, [&] { return started->graphs_free(owner), true; });
}

bool tg_graph_begin(void) noexcept {
    return tg::guarded(false, [] {
        TORCH_CHECK(current, "a graph without a device");
        current->graph_begin();
        return true;
    });
}

bool tg_graph_end(tg_tensor logits) noexcept {
    if (!logits) {
        if (current) current->graph_abandon();
        return false;
    }
    const bool kept = tg::guarded(false, [&] {
        TORCH_CHECK(current, "a graph without a device");
        const at::Tensor &values = tg::matrix(logits, "logits");
        TORCH_CHECK(tg::device_of(logits) && values.scalar_type() == at::kFloat, "a graph's logits");
        current->graph_end(values);
        return true;
    });
    if (!kept && current) current->graph_abandon();
    return kept;
}

bool tg_graph_start(void) noexcept {
    return tg::guarded(false, [] {
        TORCH_CHECK(current, "a graph without a device");
        current->graph_start();
        return true;
    });
}

bool tg_graph_answers(tg_sampled *out, int64_t count) noexcept {
    return tg::guarded(false, [&] {
        TORCH_CHECK(current && out && count >= 0, "answers without a device");
        tg::progressed();
        current->graph_answers(out, count);
        return true;
    });
}
}
