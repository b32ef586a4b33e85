#ifndef TORCHGATE_EMULATED

#include "nvrtc.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <c10/cuda/CUDAStream.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "driver.hpp"
#include "kernels.hpp"
#include "platform.hpp"

namespace tg::platform {

const Driver &driver() {
    static const Driver found = [] {
        void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
        TORCH_CHECK(library, "the NVIDIA driver is not loaded");
        Driver driver{};
#define TG_FIND(name)                                                               \
    driver.name = reinterpret_cast<decltype(driver.name)>(dlsym(library, #name)); \
    TORCH_CHECK(driver.name, "the NVIDIA driver is too old: it has no " #name);
        TG_DRIVER_FUNCTIONS(TG_FIND)
#undef TG_FIND
        return driver;
    }();
    return found;
}

}  // namespace tg::platform

namespace tg::device {

namespace {

using platform::driver;

struct Source {
    const char *name;
    std::string_view text;
};

// common_text, and kSources: the other files of kernels/, each compiled with common.cu before it.
#include "kernel_texts.inc"

std::unordered_map<std::string, CUfunction> kernels;

/// FNV-1a: tells texts apart, and a whole file from a torn one.
uint64_t hash(std::string_view text, uint64_t start = 0xcbf29ce484222325) {
    for (const char c : text) start = (start ^ uint8_t(c)) * 0x100000001b3;
    return start;
}

// NVRTC, found at run time: its own headers are in no package that the build needs.
struct Compiler {
    using Program = void *;
    int (*version)(int *, int *);
    int (*create)(Program *, const char *, const char *, int, const char *const *, const char *const *);
    int (*compile)(Program, int, const char *const *);
    int (*log_size)(Program, size_t *);
    int (*log)(Program, char *);
    int (*code_size)(Program, size_t *);
    int (*code)(Program, char *);
    int (*destroy)(Program *);

    Compiler() {
        void *library = open();
        const auto find = [&](auto &function, const char *name) {
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
            TORCH_CHECK(function, "NVRTC has no ", name);
        };
        find(version, "nvrtcVersion");
        find(create, "nvrtcCreateProgram");
        find(compile, "nvrtcCompileProgram");
        find(log_size, "nvrtcGetProgramLogSize");
        find(log, "nvrtcGetProgramLog");
        find(code_size, "nvrtcGetCUBINSize");
        find(code, "nvrtcGetCUBIN");
        find(destroy, "nvrtcDestroyProgram");
        // It opens its built-ins by their name alone, which finds those beside it once they are open.
        int major = 0, minor = 0;
        Dl_info info{};
        if (version(&major, &minor) == 0 && dladdr(reinterpret_cast<void *>(version), &info)) {
            const auto folder = std::filesystem::path(info.dli_fname).parent_path();
            const auto file = "libnvrtc-builtins.so." + std::to_string(major) + '.' + std::to_string(minor);
            dlopen((folder / file).c_str(), RTLD_NOW | RTLD_LOCAL);
        }
    }

    /// As libtorch's wheel brings it, beside libtorch or by the linker's own search.
    static void *open() {
        std::vector<std::string> places{"libnvrtc.so.13"};
        Dl_info info{};
        if (dladdr(reinterpret_cast<void *>(&at::set_num_threads), &info)) {
            const auto lib = std::filesystem::path(info.dli_fname).parent_path();
            places.push_back(lib / "../../nvidia/cu13/lib/libnvrtc.so.13");
        }
        for (const std::string &place : places) {
            if (void *library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
        }
        TORCH_CHECK(false, "the kernels cannot be compiled: ", dlerror());
    }

    std::string cubin(const char *name, const std::string &text, const std::string &architecture) const {
        Program program = nullptr;
        TORCH_CHECK(create(&program, text.c_str(), name, 0, nullptr, nullptr) == 0, "NVRTC takes no ", name);
        const std::array options{architecture.c_str(), "--std=c++17", "-default-device"};
        const int failed = compile(program, int(options.size()), options.data());
        size_t size = 0;
        if (failed) {
            log_size(program, &size);
            std::string text(size, ' ');
            log(program, text.data());
            destroy(&program);
            TORCH_CHECK(false, "the kernels of ", name, " do not compile: ", text.substr(0, 400));
        }
        std::string answer;
        if (code_size(program, &size) == 0) answer.resize(size);
        const int read = code(program, answer.data());
        destroy(&program);
        TORCH_CHECK(read == 0 && !answer.empty(), "NVRTC gives no code for ", name);
        return answer;
    }
};

/// The code of a cached file; empty where there is none, or it is not as it was written.
std::string cached(const std::filesystem::path &file) {
    std::ifstream stream(file, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    uint64_t sum = 0;
    if (bytes.size() <= sizeof sum) return {};
    std::memcpy(&sum, bytes.data(), sizeof sum);
    bytes.erase(0, sizeof sum);
    return hash(bytes) == sum ? bytes : std::string();
}

void keep(const std::filesystem::path &file, const std::string &code) {
    std::error_code ignored;
    std::filesystem::create_directories(file.parent_path(), ignored);
    chmod(file.parent_path().c_str(), 0700);
    const std::string part = file.string() + "." + std::to_string(getpid());
    const int descriptor = ::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor < 0) return;
    const uint64_t sum = hash(code);
    std::string bytes(reinterpret_cast<const char *>(&sum), sizeof sum);
    bytes += code;
    const bool written = write(descriptor, bytes.data(), bytes.size()) == ssize_t(bytes.size());
    close(descriptor);
    if (!written || rename(part.c_str(), file.c_str()) != 0) unlink(part.c_str());
}

std::vector<CUmodule> modules;

/// Whether a kernel may start before the one in front of it has ended (common.cu).
bool starts_early = false;

CUfunction kernel(const std::string &name) {
    const auto known = kernels.find(name);
    if (known != kernels.end()) return known->second;
    for (const CUmodule module : modules) {
        CUfunction function{};
        if (driver().cuModuleGetFunction(&function, module, name.c_str()) == CUDA_SUCCESS) {
            return kernels[name] = function;
        }
    }
    TORCH_CHECK(false, "no kernel ", name);
}

}  // namespace

namespace {

/// One file for one element type, or for all where it has none of its own; compiled apart from the others.
struct Unit {
    std::string name, text, code;
    std::filesystem::path file;  // in the cache
    std::exception_ptr failure;
};

std::vector<Unit> units() {
    std::vector<Unit> answer;
    for (const auto &[name, body] : kSources) {
        const bool typed = body.find("TG_EACH_TYPE(") != body.npos;
        for (const int types : typed ? std::vector{1, 2, 4} : std::vector{7}) {
            std::string text = "#define TG_TYPES " + std::to_string(types) + '\n';
            text.append(common_text, sizeof common_text) += '\n';
            text += body;
            answer.push_back({name, std::move(text), {}, {}, nullptr});
        }
    }
    return answer;
}

/// Early starts in a recorded graph, behind kernels and behind copies, are tried, not believed.
bool early_starts_work() {
    platform::Graph graph;
    bool recording = false;
    try {
        const at::Tensor one = at::ones({1 << 20}, at::TensorOptions(at::kFloat).device(at::kCUDA));
        const at::Tensor sum = at::empty_like(one), copy = at::empty_like(one);
        const auto add = [&](const at::Tensor &to) {
            launch_add_in_place(TG_F32, to.data_ptr(), one.data_ptr(), to.numel());
        };
        // Loaded before it is recorded.
        add(copy);
        graph.begin();
        recording = true;
        sum.zero_();
        for (int i = 0; i < 20; ++i) add(sum);
        copy.copy_(sum);
        for (int i = 0; i < 20; ++i) add(copy);
        graph.end();
        recording = false;
        for (int i = 0; i < 3; ++i) graph.run();
        return copy.min().item<float>() == 40 && copy.max().item<float>() == 40;
    } catch (const std::exception &) {
        if (recording) graph.abandon();
        return false;
    }
}

}  // namespace

void load_kernels(const char *cache, int major, int minor) {
    const Compiler compiler;
    int version = 0, part = 0;
    compiler.version(&version, &part);
    const std::string target = "sm_" + std::to_string(major) + std::to_string(minor);
    std::vector<Unit> all = units();
    std::atomic<size_t> next = 0;
    const auto work = [&] {
        for (size_t i = next++; i < all.size(); i = next++) {
            Unit &unit = all[i];
            try {
                char key[17];
                std::snprintf(key, sizeof key, "%016llx",
                              static_cast<unsigned long long>(hash(
                                  std::to_string(version) + '.' + std::to_string(part), hash(unit.text))));
                unit.file =
                    std::filesystem::path(cache ? cache : "") / (std::string(key) + '-' + target + ".cubin");
                if (cache) unit.code = cached(unit.file);
                if (!unit.code.empty()) continue;
                unit.code = compiler.cubin(unit.name.c_str(), unit.text, "--gpu-architecture=" + target);
                if (cache) keep(unit.file, unit.code);
            } catch (...) {
                unit.failure = std::current_exception();
            }
        }
    };
    // NVRTC takes seconds a file and runs on as many threads as there are.
    std::vector<std::thread> helpers;
    for (size_t i = 1; i < std::min<size_t>(all.size(), std::thread::hardware_concurrency()); ++i) {
        helpers.emplace_back(work);
    }
    work();
    for (std::thread &helper : helpers) helper.join();
    for (const Unit &unit : all) {
        if (unit.failure) std::rethrow_exception(unit.failure);
        CUmodule module{};
        driver().check(driver().cuModuleLoadData(&module, unit.code.data()), "loading kernels");
        modules.push_back(module);
    }
    starts_early = major >= 9;
    if (starts_early) starts_early = early_starts_work();
}

void launch(const char *name, Grid grid, Grid block, unsigned shared_bytes, void **arguments) {
    const CUfunction function = kernel(name);
    if (shared_bytes > 48 * 1024) {
        driver().check(driver().cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                   int(shared_bytes)),
                       name);
    }
    CUlaunchAttribute early{};
    early.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    early.value.programmaticStreamSerializationAllowed = 1;
    CUlaunchConfig how{};
    how.gridDimX = grid.x, how.gridDimY = grid.y, how.gridDimZ = grid.z;
    how.blockDimX = block.x, how.blockDimY = block.y, how.blockDimZ = block.z;
    how.sharedMemBytes = shared_bytes;
    how.hStream = c10::cuda::getCurrentCUDAStream().stream();
    how.attrs = &early;
    how.numAttrs = starts_early ? 1 : 0;
    driver().check(driver().cuLaunchKernelEx(&how, function, arguments, nullptr), name);
}

}  // namespace tg::device

#endif
