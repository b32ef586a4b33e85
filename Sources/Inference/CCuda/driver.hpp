// The few functions of the NVIDIA driver that are called, found where it is loaded already.
#pragma once

#include <c10/util/Exception.h>
#include <cuda.h>

namespace tg::platform {

struct Driver {
#define TG_DRIVER_FUNCTIONS(each)                                                                             \
    each(cuGetErrorString) each(cuMemAddressReserve) each(cuMemAddressFree) each(cuMemCreate) each(cuMemRelease) \
        each(cuMemMap) each(cuMemUnmap) each(cuMemSetAccess) each(cuModuleLoadData) each(cuModuleGetFunction)  \
            each(cuFuncSetAttribute) each(cuLaunchKernelEx)
#define TG_MEMBER(name) decltype(&::name) name;
    TG_DRIVER_FUNCTIONS(TG_MEMBER)
#undef TG_MEMBER

    void check(CUresult result, const char *what) const {
        if (result == CUDA_SUCCESS) return;
        const char *text = nullptr;
        if (cuGetErrorString(result, &text) != CUDA_SUCCESS || !text) text = "unknown error";
        TORCH_CHECK(false, what, ": ", text);
    }
};

/// Throws where the driver lacks one of them.
const Driver &driver();

}  // namespace tg::platform
