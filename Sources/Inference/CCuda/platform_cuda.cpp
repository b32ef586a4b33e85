// The GPU: the CUDA runtime, libtorch's allocator and graphs, memory behind reserved addresses by the driver.
#ifndef TORCHGATE_EMULATED

#include <ATen/Context.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "driver.hpp"
#include "flash.hpp"
#include "nvrtc.hpp"
#include "platform.hpp"

namespace tg::platform {

namespace {

constexpr c10::DeviceIndex kIndex = 0;

/// After these no call of the process succeeds any more.
bool spoils(cudaError_t error) {
    switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorUnknown: return true;
    default: return false;
    }
}

bool spoilt = false;

void check(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return;
    spoilt = spoilt || spoils(error);
    TORCH_CHECK(false, what, ": ", cudaGetErrorString(error));
}

cudaStream_t stream() { return c10::cuda::getCurrentCUDAStream(kIndex).stream(); }

// Memory behind reserved addresses ---------------------------------------------------------------

/// Pieces in which memory comes and goes.
constexpr size_t kPiece = size_t(8) << 20;

struct Reservation {
    size_t bytes;
    std::vector<CUmemGenericAllocationHandle> pieces;  // 0: none
};

std::map<char *, Reservation> reservations;
/// Pieces that nobody has; kept until `trim`, because making one costs more than mapping it.
std::vector<CUmemGenericAllocationHandle> spare;
int64_t made = 0;

CUmemAllocationProp properties() {
    CUmemAllocationProp properties{};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, kIndex};
    return properties;
}

CUmemGenericAllocationHandle piece() {
    if (!spare.empty()) {
        const auto handle = spare.back();
        spare.pop_back();
        return handle;
    }
    const CUmemAllocationProp wanted = properties();
    CUmemGenericAllocationHandle handle{};
    CUresult result = driver().cuMemCreate(&handle, kPiece, &wanted, 0);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
        c10::cuda::CUDACachingAllocator::emptyCache();
        result = driver().cuMemCreate(&handle, kPiece, &wanted, 0);
    }
    TORCH_CHECK(result != CUDA_ERROR_OUT_OF_MEMORY, "out of memory on the GPU: ", kPiece >> 20,
                " MiB for a sequence, of ", memory().total >> 20, " MiB ", memory().free >> 20, " are free");
    driver().check(result, "memory for a sequence");
    made += int64_t(kPiece);
    return handle;
}

std::pair<char *const, Reservation> &holder(void *address) {
    auto found = reservations.upper_bound(static_cast<char *>(address));
    TORCH_CHECK(found != reservations.begin(), "an address that is not reserved");
    return *--found;
}

void take_off(char *base, Reservation &reservation, size_t index) {
    auto &handle = reservation.pieces[index];
    if (!handle) return;
    driver().check(driver().cuMemUnmap(CUdeviceptr(base) + index * kPiece, kPiece), "unmapping memory");
    spare.push_back(handle);
    handle = 0;
}

}  // namespace

Identity start(const DeviceOptions &options) {
    driver();
    check(cudaSetDevice(kIndex), "choosing the GPU");
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, kIndex), "asking the GPU");
    TORCH_CHECK(properties.major >= 8, "the GPU ", properties.name, " has compute capability ",
                properties.major, '.', properties.minor, "; 8.0 is needed");
    at::globalContext().lazyInitDevice(at::kCUDA);
    // float32 is float32.
    at::globalContext().setAllowTF32CuBLAS(false);
    // Graphs cannot be recorded on the default stream.
    c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(true, kIndex));
    device::load_kernels(options.cache, properties.major, properties.minor);
    try_flash();
    char bus[32] = "";
    check(cudaDeviceGetPCIBusId(bus, sizeof bus, kIndex), "asking for the GPU's address");
    return {"cuda:" + std::to_string(int(kIndex)), properties.name, bus};
}

at::Device device() { return {at::kCUDA, kIndex}; }

tg_device_memory memory() {
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for the GPU's memory");
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(kIndex);
    const int64_t idle = int64_t(spare.size() * kPiece);
    return {int64_t(total), int64_t(free), stats.allocated_bytes[0].current + made - idle,
            stats.reserved_bytes[0].current + made};
}

void wait() { check(cudaStreamSynchronize(stream()), "waiting for the GPU"); }

void trim() {
    wait();
    for (const auto handle : spare) driver().check(driver().cuMemRelease(handle), "giving memory back");
    made -= int64_t(spare.size() * kPiece);
    spare.clear();
    c10::cuda::CUDACachingAllocator::emptyCache();
}

bool lost() {
    if (!spoilt) spoilt = spoils(cudaStreamQuery(stream()));
    return spoilt;
}

void *reserve(uint64_t bytes) {
    const size_t whole = (size_t(bytes) + kPiece - 1) / kPiece * kPiece;
    CUdeviceptr address{};
    driver().check(driver().cuMemAddressReserve(&address, whole, kPiece, 0, 0), "reserving addresses");
    reservations[reinterpret_cast<char *>(address)] = {
        whole, std::vector<CUmemGenericAllocationHandle>(whole / kPiece)};
    return reinterpret_cast<void *>(address);
}

void release(void *address) {
    try {
        const auto found = reservations.find(static_cast<char *>(address));
        if (found == reservations.end()) return;
        wait();
        for (size_t i = 0; i < found->second.pieces.size(); ++i) take_off(found->first, found->second, i);
        driver().check(driver().cuMemAddressFree(CUdeviceptr(address), found->second.bytes),
                       "freeing addresses");
        reservations.erase(found);
    } catch (const std::exception &) {
        // A deleter has nobody to tell; a GPU that cannot unmap is lost, and the next call says so.
    }
}

void commit(void *address, int64_t bytes) {
    if (bytes <= 0) return;
    auto &[base, reservation] = holder(address);
    const size_t offset = size_t(static_cast<char *>(address) - base);
    TORCH_CHECK(offset + size_t(bytes) <= reservation.bytes, "memory beyond what was reserved");
    for (size_t i = offset / kPiece; i <= (offset + size_t(bytes) - 1) / kPiece; ++i) {
        if (reservation.pieces[i]) continue;
        const auto handle = piece();
        const CUdeviceptr place = CUdeviceptr(base) + i * kPiece;
        const CUresult mapped = driver().cuMemMap(place, kPiece, 0, handle, 0);
        if (mapped != CUDA_SUCCESS) spare.push_back(handle);
        driver().check(mapped, "mapping memory");
        reservation.pieces[i] = handle;
        const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, kIndex},
                                     CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
        driver().check(driver().cuMemSetAccess(place, kPiece, &access, 1), "access to memory");
    }
}

void discard(void *address, int64_t bytes) {
    if (bytes <= 0) return;
    auto &[base, reservation] = holder(address);
    const size_t offset = size_t(static_cast<char *>(address) - base);
    const size_t first = (offset + kPiece - 1) / kPiece;
    const size_t last = std::min(reservation.bytes, offset + size_t(bytes) + kPiece - 1) / kPiece;
    bool waited = false;
    for (size_t i = first; i < std::min(last, reservation.pieces.size()); ++i) {
        if (!reservation.pieces[i]) continue;
        if (!waited) wait();
        waited = true;
        take_off(base, reservation, i);
    }
}

void upload(void *to, const void *host, int64_t bytes) {
    // From memory that is not pinned the call returns once that was read.
    check(cudaMemcpyAsync(to, host, size_t(bytes), cudaMemcpyHostToDevice, stream()), "copying to the GPU");
}

void download(void *host, const void *from, int64_t bytes) {
    check(cudaMemcpyAsync(host, from, size_t(bytes), cudaMemcpyDeviceToHost, stream()),
          "copying from the GPU");
    wait();
}

void copy(void *to, const void *from, int64_t bytes) {
    check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, stream()), "copying on the GPU");
}

// Pinned memory ----------------------------------------------------------------------------------

struct Pinned::State {
    void *memory = nullptr;
    int64_t bytes = 0;
    cudaEvent_t done{};
};

Pinned::Pinned(int64_t bytes) : state(new State) {
    check(cudaHostAlloc(&state->memory, size_t(bytes), cudaHostAllocDefault), "pinned memory");
    state->bytes = bytes;
    check(cudaEventCreateWithFlags(&state->done, cudaEventDisableTiming), "an event");
}

Pinned::~Pinned() {
    cudaEventSynchronize(state->done);
    cudaEventDestroy(state->done);
    cudaFreeHost(state->memory);
}

char *Pinned::data() const { return static_cast<char *>(state->memory); }
int64_t Pinned::bytes() const { return state->bytes; }

void Pinned::send(const at::Tensor &to, int64_t offset, int64_t bytes) {
    check(cudaMemcpyAsync(static_cast<char *>(to.data_ptr()) + offset, state->memory, size_t(bytes),
                          cudaMemcpyHostToDevice, stream()),
          "copying to the GPU");
    check(cudaEventRecord(state->done, stream()), "an event");
}

void Pinned::receive(const at::Tensor &from, int64_t bytes) {
    check(cudaMemcpyAsync(state->memory, from.data_ptr(), size_t(bytes), cudaMemcpyDeviceToHost, stream()),
          "copying from the GPU");
    check(cudaEventRecord(state->done, stream()), "an event");
}

void Pinned::wait() { check(cudaEventSynchronize(state->done), "waiting for a copy"); }

// Graphs -----------------------------------------------------------------------------------------

namespace {

using Pool = c10::MempoolId_t;

/// One pool for all: graphs run one after the other, and keep their answers. libtorch takes no pool again
/// that the last of its graphs has given up, so the first of new graphs makes another.
std::shared_ptr<const Pool> shared_pool() {
    static std::weak_ptr<const Pool> known;
    auto pool = known.lock();
    if (!pool) known = pool = std::make_shared<const Pool>(at::cuda::graph_pool_handle());
    return pool;
}

/// Where a capture has failed libtorch leaves its allocator recording, and would take no other capture.
void give_up(const Pool &pool) noexcept {
    try {
        cudaStreamCaptureStatus status{};
        if (cudaStreamIsCapturing(stream(), &status) == cudaSuccess &&
            status != cudaStreamCaptureStatusNone) {
            cudaGraph_t graph = nullptr;
            if (cudaStreamEndCapture(stream(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
        }
        // What failed is known already.
        static_cast<void>(cudaGetLastError());
        c10::cuda::CUDACachingAllocator::endAllocateToPool(kIndex, pool);
        c10::cuda::CUDACachingAllocator::releasePool(kIndex, pool);
    } catch (const std::exception &) {
        // It had ended before.
    }
}

}  // namespace

struct Graph::State {
    std::shared_ptr<const Pool> pool = shared_pool();
    at::cuda::CUDAGraph graph;
};

Graph::Graph() : state(new State) {}
Graph::~Graph() = default;

void Graph::begin() {
    try {
        state->graph.capture_begin(*state->pool, cudaStreamCaptureModeThreadLocal);
    } catch (const std::exception &) {
        give_up(*state->pool);
        throw;
    }
}

void Graph::end() { state->graph.capture_end(); }

void Graph::abandon() noexcept {
    try {
        state->graph.capture_end();
    } catch (const std::exception &) {
        give_up(*state->pool);
    }
}

void Graph::run() {
    // `replay` would first put random numbers' states in place, which nothing here reads.
    check(cudaGraphLaunch(state->graph.raw_cuda_graph_exec(), stream()), "starting a graph");
}

}  // namespace tg::platform

#endif
