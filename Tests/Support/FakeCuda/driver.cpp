// The NVIDIA driver: memory behind reserved addresses, modules by the names in their machine code, launches.
#include <elf.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "../../../Sources/Inference/CCuda/emulator/emulator.hpp"
#include "../../../Sources/Inference/CCuda/launch.hpp"
#include "fake.hpp"

using namespace fake;

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

constexpr size_t kGranule = size_t(2) << 20;

struct Range {
    size_t bytes;
    std::set<char *> mapped;
};
std::map<char *, Range> ranges;
std::map<CUmemGenericAllocationHandle, size_t> handles;
std::map<std::string, unsigned> shared_bytes;

using Module = std::set<std::string>;

/// The range that holds all of it; null: none does.
Range *range_of(CUdeviceptr place, size_t bytes) {
    auto found = ranges.upper_bound(reinterpret_cast<char *>(place));
    if (found == ranges.begin()) return nullptr;
    --found;
    const char *end = found->first + found->second.bytes;
    return reinterpret_cast<char *>(place) + bytes <= end ? &found->second : nullptr;
}

CUresult unless(bool wrong, const char *what) {
    count(what);
    if (!has_context()) {
        refuse(std::string(what) + " by a thread that has no context");
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return wrong ? (refuse(what), CUDA_ERROR_INVALID_VALUE) : CUDA_SUCCESS;
}

}  // namespace

extern "C" {

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int *version) { return *version = 13000, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { return *count = 1, CUDA_SUCCESS; }
// NVRTC asks for it where a driver is loaded.
CUresult cuGetExportTable(const void **table, const CUuuid *) { return *table = nullptr, CUDA_ERROR_NOT_FOUND; }
CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned *flags, int *active) {
    return *flags = 0, *active = has_context(), CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext *context) {
    return *context = reinterpret_cast<CUcontext>(size_t(has_context())), CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult result, const char **text) {
    static thread_local char said[32];
    std::snprintf(said, sizeof said, "fake result %d", int(result));
    return *text = said, CUDA_SUCCESS;
}

CUresult cuMemAddressReserve(CUdeviceptr *place, size_t bytes, size_t alignment, CUdeviceptr,
                             unsigned long long) {
    if (const CUresult wrong = unless(bytes == 0 || bytes % kGranule || (alignment & (alignment - 1)),
                                      "cuMemAddressReserve")) {
        return wrong;
    }
    const size_t step = alignment < kGranule ? kGranule : alignment;
    void *made = mmap(nullptr, bytes + step, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    const Lock held(lock);
    *place = (CUdeviceptr(made) + step - 1) / step * step;
    ranges[reinterpret_cast<char *>(*place)] = {bytes, {}};
    return CUDA_SUCCESS;
}
CUresult cuMemAddressFree(CUdeviceptr place, size_t bytes) {
    const Lock held(lock);
    const auto found = ranges.find(reinterpret_cast<char *>(place));
    const bool wrong = found == ranges.end() || found->second.bytes != bytes || !found->second.mapped.empty();
    if (const CUresult result = unless(wrong, "cuMemAddressFree")) return result;
    munmap(reinterpret_cast<void *>(place), bytes);
    ranges.erase(found);
    return CUDA_SUCCESS;
}
CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes, const CUmemAllocationProp *wanted,
                     unsigned long long) {
    const bool wrong = bytes % kGranule || wanted->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
                       wanted->location.type != CU_MEM_LOCATION_TYPE_DEVICE;
    if (const CUresult result = unless(wrong, "cuMemCreate")) return result;
    if (!take(bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    const Lock held(lock);
    static CUmemGenericAllocationHandle last = 0;
    handles[*handle = ++last] = bytes;
    return CUDA_SUCCESS;
}
CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
    const Lock held(lock);
    if (const CUresult result = unless(!handles.contains(handle), "cuMemRelease")) return result;
    give(handles[handle]);
    handles.erase(handle);
    return CUDA_SUCCESS;
}
CUresult cuMemMap(CUdeviceptr place, size_t bytes, size_t, CUmemGenericAllocationHandle handle,
                  unsigned long long) {
    const Lock held(lock);
    Range *range = range_of(place, bytes);
    const bool wrong = !range || range->mapped.contains(reinterpret_cast<char *>(place)) || place % kGranule ||
                       !handles.contains(handle) || handles[handle] != bytes;
    if (const CUresult result = unless(wrong, "cuMemMap")) return result;
    range->mapped.insert(reinterpret_cast<char *>(place));
    return CUDA_SUCCESS;
}
CUresult cuMemSetAccess(CUdeviceptr place, size_t bytes, const CUmemAccessDesc *, size_t) {
    const Lock held(lock);
    const Range *range = range_of(place, bytes);
    const bool wrong = !range || !range->mapped.contains(reinterpret_cast<char *>(place));
    if (const CUresult result = unless(wrong, "cuMemSetAccess")) return result;
    mprotect(reinterpret_cast<void *>(place), bytes, PROT_READ | PROT_WRITE);
    return CUDA_SUCCESS;
}
CUresult cuMemUnmap(CUdeviceptr place, size_t bytes) {
    const Lock held(lock);
    if (is_busy()) refuse("cuMemUnmap while work is under way");
    Range *range = range_of(place, bytes);
    const bool wrong = !range || !range->mapped.erase(reinterpret_cast<char *>(place));
    if (const CUresult result = unless(wrong, "cuMemUnmap")) return result;
    madvise(reinterpret_cast<void *>(place), bytes, MADV_DONTNEED);
    mprotect(reinterpret_cast<void *>(place), bytes, PROT_NONE);
    return CUDA_SUCCESS;
}

// Kernels -----------------------------------------------------------------------------------------

/// Machine code is not run; that there is some, and what it is called, counts.
CUresult cuModuleLoadData(CUmodule *made, const void *image) {
    const auto *bytes = static_cast<const char *>(image);
    const bool wrong = std::memcmp(bytes, ELFMAG, SELFMAG) != 0;
    if (const CUresult result = unless(wrong, "cuModuleLoadData")) return result;
    const auto *header = reinterpret_cast<const Elf64_Ehdr *>(bytes);
    const auto *sections = reinterpret_cast<const Elf64_Shdr *>(bytes + header->e_shoff);
    auto module = std::make_unique<Module>();
    for (int s = 0; s < header->e_shnum; ++s) {
        if (sections[s].sh_type != SHT_SYMTAB) continue;
        const char *text = bytes + sections[sections[s].sh_link].sh_offset;
        const auto *symbols = reinterpret_cast<const Elf64_Sym *>(bytes + sections[s].sh_offset);
        for (size_t i = 0; i < sections[s].sh_size / sizeof(Elf64_Sym); ++i) {
            if (ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC) module->insert(text + symbols[i].st_name);
        }
    }
    *made = reinterpret_cast<CUmodule>(module.release());
    return CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    const auto *names = reinterpret_cast<const Module *>(module);
    const auto found = names->find(name);
    if (found == names->end()) return CUDA_ERROR_NOT_FOUND;
    if (is_recording()) refuse(std::string("the first use of ") + name + " while a stream is recorded");
    *function = reinterpret_cast<CUfunction>(const_cast<std::string *>(&*found));
    return CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    const Lock held(lock);
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        shared_bytes[*reinterpret_cast<std::string *>(function)] = unsigned(value);
    }
    return CUDA_SUCCESS;
}
CUresult cuLaunchKernelEx(const CUlaunchConfig *how, CUfunction function, void **arguments, void **) {
    const std::string &name = *reinterpret_cast<std::string *>(function);
    const tg::device::Grid grid{how->gridDimX, how->gridDimY, how->gridDimZ},
        block{how->blockDimX, how->blockDimY, how->blockDimZ};
    const unsigned shared = how->sharedMemBytes;
    const Lock held(lock);
    const tg::emulator::Entry *entry = tg::emulator::entry(name);
    const bool wrong = !entry || (shared > 48 << 10 && shared_bytes[name] < shared);
    if (const CUresult result = unless(wrong, name.c_str())) return result;
    // A launch copies its arguments.
    std::vector<std::vector<char>> kept;
    for (size_t i = 0; i < entry->sizes.size(); ++i) {
        const auto *first = static_cast<const char *>(arguments[i]);
        kept.emplace_back(first, first + entry->sizes[i]);
    }
    const auto work = [=]() mutable {
        std::vector<void *> places;
        for (auto &argument : kept) places.push_back(argument.data());
        try {
            tg::device::launch(name.c_str(), grid, block, shared, places.data());
        } catch (const std::exception &error) {
            refuse(name + ": " + error.what());
        }
    };
    return enqueue(reinterpret_cast<cudaStream_t>(how->hStream), "a kernel", work) == cudaSuccess
               ? CUDA_SUCCESS
               : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}
}
