// The CUDA runtime: memory, streams, events, recordings. One file, as they share one state: what waits on which
// stream.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "fake.hpp"

namespace fake {

std::recursive_mutex lock;

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

std::map<std::string, long> counts;
std::vector<std::unique_ptr<Stream>> streams;
Stream *recording = nullptr;
thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
thread_local bool chosen = false;
size_t used = 0;
cudaError_t latest = cudaSuccess;

size_t number(const char *name, size_t otherwise) {
    const char *text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}
size_t total() { return number("FAKE_CUDA_BYTES", size_t(8) << 30); }

/// 0, 1 and 2 name the default stream, which is never recorded.
Stream &stream_of(cudaStream_t stream) {
    static Stream standard;
    return size_t(stream) <= 2 ? standard : *reinterpret_cast<Stream *>(stream);
}

void finish(Stream &stream, size_t through = SIZE_MAX) {
    while (!stream.pending.empty() && stream.done < through) {
        const Work work = std::move(stream.pending.front());
        stream.pending.pop_front();
        ++stream.done;
        work();
    }
}

/// Memory by its address.
struct Blocks {
    std::map<char *, size_t> known;
    void *make(size_t bytes) {
        void *made = mmap(nullptr, bytes + 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (made == MAP_FAILED) return nullptr;
        // What nobody has written is no number.
        std::memset(made, 0xff, bytes < (size_t(1) << 26) ? bytes : 0);
        known[static_cast<char *>(made)] = bytes;
        return made;
    }
    size_t end(void *block) {
        const auto found = known.find(static_cast<char *>(block));
        if (found == known.end()) return 0;
        const size_t bytes = found->second;
        munmap(block, bytes + 4096);
        known.erase(found);
        return bytes;
    }
    bool has(const void *place) const {
        auto found = known.upper_bound(static_cast<char *>(const_cast<void *>(place)));
        if (found == known.begin()) return false;
        --found;
        return static_cast<const char *>(place) < found->first + found->second;
    }
} device, pinned;

struct Event {
    Stream *stream = nullptr;
    size_t through = 0;
};
struct Graph {
    std::vector<Work> work;
};

__attribute__((destructor)) void report() {
    const char *path = std::getenv("FAKE_CUDA_REPORT");
    FILE *file = path ? std::fopen(path, "w") : nullptr;
    if (!file) return;
    for (const auto &[name, times] : counts) std::fprintf(file, "%ld %s\n", times, name.c_str());
    std::fclose(file);
}

cudaError_t told(cudaError_t error) { return latest = error; }

}  // namespace

void count(const std::string &what) {
    const Lock held(lock);
    ++counts[what];
}

void refuse(const std::string &what) {
    const Lock held(lock);
    ++counts["refused"];
    std::fprintf(stderr, "fake CUDA refuses: %s\n", what.c_str());
    if (recording) recording->broken = true;
}

cudaError_t unless_recording(const char *what) {
    const Lock held(lock);
    ++counts[what];
    if (!recording || mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
    refuse(std::string(what) + " while a stream is recorded");
    return told(cudaErrorStreamCaptureUnsupported);
}

cudaError_t enqueue(cudaStream_t where, const char *what, Work work) {
    const Lock held(lock);
    Stream &stream = stream_of(where);
    if (recording && size_t(where) <= 2) {
        refuse(std::string(what) + " on the default stream while another is recorded");
        return told(cudaErrorStreamCaptureImplicit);
    }
    if (!stream.records) {
        stream.pending.push_back(std::move(work));
        return cudaSuccess;
    }
    if (stream.id == number("FAKE_CUDA_BREAK_RECORDING", 0)) stream.broken = true;
    if (stream.broken) return told(cudaErrorStreamCaptureInvalidated);
    stream.recorded.push_back(std::move(work));
    return cudaSuccess;
}

void finish() {
    const Lock held(lock);
    finish(stream_of(nullptr));
    for (const auto &stream : streams) finish(*stream);
}

bool is_busy() {
    const Lock held(lock);
    for (const auto &stream : streams) {
        if (!stream->pending.empty()) return true;
    }
    return !stream_of(nullptr).pending.empty();
}
bool is_recording() { return recording; }
bool has_context() { return chosen; }

bool take(size_t bytes) {
    const Lock held(lock);
    if (used + bytes > total()) return false;
    used += bytes;
    return true;
}
void give(size_t bytes) {
    const Lock held(lock);
    used -= bytes;
}

}  // namespace fake

using namespace fake;

extern "C" {

// The device --------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() { return std::exchange(latest, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return latest; }
const char *cudaGetErrorString(cudaError_t error) {
    static thread_local char text[32];
    std::snprintf(text, sizeof text, "fake error %d", int(error));
    return text;
}
const char *cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }
cudaError_t cudaGetDeviceCount(int *count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int *device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int) { return chosen = true, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int) {
    *properties = {};
    std::strcpy(properties->name, "fake GPU");
    properties->major = 9;
    properties->multiProcessorCount = 132;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->maxThreadsPerMultiProcessor = 2048;
    properties->totalGlobalMem = total();
    properties->sharedMemPerBlock = 48 << 10;
    properties->sharedMemPerBlockOptin = 227 << 10;
    properties->regsPerBlock = 65536;
    properties->maxGridSize[0] = INT32_MAX;
    properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
    const std::map<int, int> known{{cudaDevAttrComputeCapabilityMajor, 9},
                                   {cudaDevAttrMultiProcessorCount, 132},
                                   {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
                                   {cudaDevAttrMaxThreadsPerBlock, 1024},
                                   {cudaDevAttrWarpSize, 32}};
    const auto found = known.find(attribute);
    return *value = found == known.end() ? 0 : found->second, cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *text, int room, int) {
    return std::snprintf(text, size_t(room), "0000:00:00.0"), cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *most) {
    return *least = 0, *most = -5, cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    const cudaError_t error = unless_recording("cudaDeviceSynchronize");
    if (!error) finish();
    return error;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char *, void **function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult *result) {
    *function = nullptr;
    if (result) *result = cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

// Memory ------------------------------------------------------------------------------------------

cudaError_t cudaMemGetInfo(size_t *free, size_t *all) {
    *all = total();
    *free = *all - used;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **place, size_t bytes) {
    if (const cudaError_t error = unless_recording("cudaMalloc")) return error;
    if (!take(bytes)) return told(cudaErrorMemoryAllocation);
    const Lock held(lock);
    *place = device.make(bytes);
    return *place ? cudaSuccess : told(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void *place) {
    if (const cudaError_t error = unless_recording("cudaFree")) return error;
    finish();
    const Lock held(lock);
    give(device.end(place));
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **place, size_t bytes, unsigned) {
    if (const cudaError_t error = unless_recording("cudaHostAlloc")) return error;
    const Lock held(lock);
    *place = pinned.make(bytes);
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *place) {
    if (const cudaError_t error = unless_recording("cudaFreeHost")) return error;
    finish();
    const Lock held(lock);
    pinned.end(place);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    const void *host = kind == cudaMemcpyHostToDevice ? from : kind == cudaMemcpyDeviceToHost ? to : nullptr;
    const bool pages = host && !pinned.has(host);
    count(!host ? "copy on the device" : pages ? "copy of pageable memory" : "copy of pinned memory");
    if (host && stream_of(stream).records) refuse("a copy of the host's memory while a stream is recorded");
    if (!pages) return enqueue(stream, "a copy", [=] { std::memmove(to, from, bytes); });
    // Such memory is read before the call returns, or written before.
    if (kind == cudaMemcpyHostToDevice) {
        const auto *first = static_cast<const char *>(from);
        return enqueue(stream, "a copy", [to, kept = std::vector<char>(first, first + bytes)] {
            std::memcpy(to, kept.data(), kept.size());
        });
    }
    const Lock held(lock);
    finish(stream_of(stream));
    std::memmove(to, from, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *place, int value, size_t bytes, cudaStream_t stream) {
    return enqueue(stream, "filling", [=] { std::memset(place, value, bytes); });
}

// Streams, events, recordings ---------------------------------------------------------------------

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *made, unsigned, int) {
    const Lock held(lock);
    *made = reinterpret_cast<cudaStream_t>(streams.emplace_back(std::make_unique<Stream>()).get());
    return cudaSuccess;
}
static cudaError_t unless_recorded(cudaStream_t stream, const char *what) {
    const Lock held(lock);
    count(what);
    if (!stream_of(stream).records) return cudaSuccess;
    refuse(std::string(what) + " of a stream that is recorded");
    return told(cudaErrorStreamCaptureUnsupported);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    if (const cudaError_t error = unless_recorded(stream, "cudaStreamSynchronize")) return error;
    const Lock held(lock);
    finish(stream_of(stream));
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) { return unless_recorded(stream, "cudaStreamQuery"); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return finish(), cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
    const Stream &asked = stream_of(stream);
    *status = !asked.records   ? cudaStreamCaptureStatusNone
              : asked.broken ? cudaStreamCaptureStatusInvalidated
                             : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus *status,
                                     unsigned long long *id, cudaGraph_t *, const cudaGraphNode_t **,
                                     const cudaGraphEdgeData **, size_t *) {
    if (id) *id = stream_of(stream).id;
    return cudaStreamIsCapturing(stream, status);
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *wanted) {
    return std::swap(*wanted, mode), cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    const Lock held(lock);
    static unsigned long long ids = 0;
    count("cudaStreamBeginCapture");
    if (size_t(stream) <= 2 || recording) return refuse("a second recording"), told(cudaErrorIllegalState);
    recording = &stream_of(stream);
    recording->records = true;
    recording->broken = false;
    recording->id = ++ids;
    recording->recorded.clear();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    const Lock held(lock);
    *graph = nullptr;
    Stream &ended = stream_of(stream);
    if (!ended.records) return told(cudaErrorIllegalState);
    ended.records = false;
    recording = nullptr;
    if (ended.broken) return told(cudaErrorStreamCaptureInvalidated);
    *graph = reinterpret_cast<cudaGraph_t>(new Graph{std::move(ended.recorded)});
    return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *nodes) {
    return *nodes = reinterpret_cast<Graph *>(graph)->work.size(), cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *made, cudaGraph_t graph, unsigned long long) {
    *made = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph *>(graph)));
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete reinterpret_cast<Graph *>(graph), cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    return finish(), delete reinterpret_cast<Graph *>(graph), cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    count("cudaGraphLaunch");
    return enqueue(stream, "a graph", [graph] {
        for (const Work &work : reinterpret_cast<Graph *>(graph)->work) work();
    });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    return *event = reinterpret_cast<cudaEvent_t>(new Event), cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete reinterpret_cast<Event *>(event), cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    const Lock held(lock);
    Stream &on = stream_of(stream);
    *reinterpret_cast<Event *>(event) = {&on, on.done + on.pending.size()};
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (const cudaError_t error = unless_recording("cudaEventSynchronize")) return error;
    const Lock held(lock);
    const Event &awaited = *reinterpret_cast<Event *>(event);
    if (awaited.stream) finish(*awaited.stream, awaited.through);
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }

// libtorch's kernels, which do nothing ------------------------------------------------------------

static std::unordered_map<const void *, std::string> &names() {
    static auto *known = new std::unordered_map<const void *, std::string>;
    return *known;
}
static cudaError_t start(const void *function, cudaStream_t stream) {
    const auto found = names().find(function);
    count("libtorch's kernel " + (found == names().end() ? "?" : found->second));
    return enqueue(stream, "a kernel", [] {});
}
struct Launch {
    dim3 grid, block;
    size_t shared;
    void *stream;
};
static thread_local Launch next;
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    return next = {grid, block, shared, stream}, 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    *grid = next.grid, *block = next.block, *shared = next.shared;
    *static_cast<void **>(stream) = next.stream;
    return cudaSuccess;
}
void **__cudaRegisterFatBinary(void *) {
    static void *handle[4];
    return handle;
}
void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **) {}
void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {}
void __cudaRegisterFunction(void **, const char *function, char *, const char *name, int, void *, void *,
                            void *, void *, int *) {
    names()[function] = name;
}
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function) {
    return *kernel = static_cast<cudaKernel_t>(const_cast<void *>(function)), cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void **, size_t, cudaStream_t stream) {
    return start(kernel, stream);
}
cudaError_t cudaLaunchKernel(const void *function, dim3, dim3, void **, size_t, cudaStream_t stream) {
    return start(function, stream);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *how, const void *function, void **) {
    return start(function, how->stream);
}
cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *) {
    *attributes = {};
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->ptxVersion = attributes->binaryVersion = 90;
    return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int, size_t) {
    return *blocks = 2, cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *, int, size_t,
                                                                   unsigned) {
    return *blocks = 2, cudaSuccess;
}
}
