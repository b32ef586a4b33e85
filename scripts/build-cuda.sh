#!/usr/bin/env bash
# Builds the two libraries behind the engine's device layer, with the compiler of the Swift toolchain:
#   .build/cuda/libtorchgate_cuda.so       loaded by an engine that finds a GPU; needs neither nvcc nor a GPU here
#   .build/cuda/libtorchgate_emulated.so   the same operations and kernels on the CPU, for tests
# A file is compiled again where it, a header, a kernel or a flag has changed. SwiftPM cannot do this: a library
# of C++ alone gets a runtime path to the toolchain from it.
set -euo pipefail
cd "$(dirname "$0")/.."
sources=Sources/Inference/CCuda
out=.build/cuda
compiler=${CXX:-clang++}
include=.deps/torch/include
flags=(-std=c++20 -O2 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -Wall -Wextra -Werror
    -Wno-c23-extensions -isystem "$include" -isystem "$include/torch/csrc/api/include")
cuda=(-isystem .deps/nvidia/cu13/include -I "$out")
emulated=(-DTORCHGATE_EMULATED)
link=(-shared "-Wl,--allow-shlib-undefined" "-Wl,-z,defs" "-Wl,--as-needed" -L.deps/torch/lib
    -L.deps/nvidia/cu13/lib -lc10 -ltorch_cpu)

mkdir -p "$out"
{
    table=
    for file in "$sources"/kernels/*.cu; do
        name=$(basename "$file" .cu)
        printf 'const char %s_text[] = {\n#embed "%s"\n};\n' "$name" "$PWD/$file"
        if [ "$name" != common ]; then table+="    Source{\"$name.cu\", {${name}_text, sizeof ${name}_text}},"$'\n'; fi
    done
    printf 'constexpr std::array kSources{\n%s};\n' "$table"
} >"$out/kernel_texts.inc"
shared=$({ "$compiler" --version; printf '%s\n' "${flags[@]}" "${cuda[@]}" "${link[@]}"
    cat "$sources"/*.hpp "$sources"/kernels/*.cu "$sources"/emulator/*.hpp Sources/Inference/CTorch/{device,packed,quant}.hpp \
        Sources/Inference/CTorch/include/ctorch.h scripts/build-cuda.sh; } | sha256sum | cut -d' ' -f1)

# make_library NAME FLAG… -- LINK FLAG… -- FILE…: compiles what has changed, then links.
make_library() {
    local name=$1 options=() libraries=() objects=() jobs=() file object want changed=
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    while [ "$1" != -- ]; do libraries+=("$1"); shift; done
    shift
    mkdir -p "$out/$name"
    for file in "$@"; do
        object=$out/$name/$(basename "$file" .cpp).o
        objects+=("$object")
        want=$shared:$(sha256sum <"$file")
        if [ -e "$object" ] && [ "$(cat "$object.stamp" 2>/dev/null)" = "$want" ]; then continue; fi
        changed=1
        rm -f "$object.stamp"
        jobs+=("$file" "$object" "$want")
    done
    if [ ${#jobs[@]} -gt 0 ]; then
        # shellcheck disable=SC2016 # the inner shell expands these
        printf '%s\0' "${jobs[@]}" | xargs -0 -n 3 -P "$(nproc)" bash -c '
            file=$1 object=$2 want=$3
            IFS=$'"'\\n'"' read -r -d "" -a words <<<"$TORCHGATE_COMPILE" || true
            "${words[@]}" -c "$file" -o "$object" && printf "%s" "$want" >"$object.stamp" || exit 255
        ' compile
    fi
    local library=$out/libtorchgate_$name.so
    if [ -n "$changed" ] || [ ! -e "$library" ]; then
        "$compiler" "${objects[@]}" -o "$library.part" "${link[@]}" "${libraries[@]}" -Wl,-soname,"$(basename "$library")"
        mv "$library.part" "$library"
        echo "built $library"
    fi
}

common=("$sources"/*.cpp)
TORCHGATE_COMPILE=$(printf '%s\n' "$compiler" "${flags[@]}" "${emulated[@]}")
export TORCHGATE_COMPILE
make_library emulated "${emulated[@]}" -- -- "${common[@]}" "$sources"/emulator/*.cpp
TORCHGATE_COMPILE=$(printf '%s\n' "$compiler" "${flags[@]}" "${cuda[@]}")
make_library cuda "${cuda[@]}" -- -ltorch_cuda -lc10_cuda -l:libcudart.so.13 -- "${common[@]}"
