#!/usr/bin/env bash
# Builds CUDA without a device for tests (Tests/Support/FakeCuda), in .build/cuda/fake, and prints what LD_PRELOAD is
# to be: the runtime, the driver and products, and libraries of the names that libtorch's CUDA part asks for.
# Nothing is built where nothing has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
out=.build/cuda/fake
compiler=${CXX:-clang++}
torch=.deps/torch/lib
sources=(Tests/Support/FakeCuda/*.cpp Sources/Inference/CCuda/emulator/*.cpp)
want=$(cat scripts/build-fake-cuda.sh Tests/Support/FakeCuda/* Sources/Inference/CCuda/emulator/* \
    Sources/Inference/CCuda/kernels/*.cu Sources/Inference/CCuda/launch.hpp | sha256sum)
users=("$torch"/lib{torch_cuda,c10_cuda,torch_cpu,torch_nvshmem}.so)
mapfile -t names < <(readelf -d "${users[@]}" | sed -n 's/.*NEEDED.*\[\(lib\(cu\|nccl\|nvshmem\).*\)\]/\1/p' |
    grep -v cupti | sort -u; echo libcuda.so.1)
if [ "$(cat "$out/stamp" 2>/dev/null)" != "$want" ]; then
    rm -rf "$out"
    mkdir -p "$out"
    "$compiler" -std=c++20 -O2 -fPIC -shared -Wall -Wextra -Werror -Wno-c23-extensions -DTORCHGATE_EMULATED \
        -isystem .deps/nvidia/cu13/include "${sources[@]}" -Wl,-z,defs -o "$out/libfakecuda.so"
    # What no test calls: a function that fails.
    nm -D --undefined-only "${users[@]}" | awk '{print $2}' | sed 's/@.*//' |
        grep -E '^(__cuda|cu(da|blas|fft|sparse|rand|dnn|File)|nccl|nvshmem)' | sort -u >"$out/wanted"
    nm -D --defined-only "$out/libfakecuda.so" | awk '{print $3}' | sort -u >"$out/there"
    comm -23 "$out/wanted" "$out/there" | sed 's/.*/int &(void) { return 1; }/' >"$out/others.c"
    "${compiler%++}" -fPIC -shared -w "$out/others.c" -o "$out/libfakeothers.so"
    for name in "${names[@]}"; do
        version=$name
        case $name in libnvshmem*) version=NVSHMEM ;; esac
        printf '%s { global: named; };\n' "$version" >"$out/version"
        echo 'int named;' | "${compiler%++}" -fPIC -shared -x c - -o "$out/$name" "-Wl,-soname,$name" \
            "-Wl,--version-script=$out/version" -L"$out" -Wl,--no-as-needed -lfakecuda -lfakeothers \
            "-Wl,-rpath,$PWD/$out"
    done
    echo "$want" >"$out/stamp"
fi
printf '%s' "$PWD/$out/libfakecuda.so:$PWD/$out/libfakeothers.so"
printf ':%s' "${names[@]/#/$PWD/$out/}"
echo
