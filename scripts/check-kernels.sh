#!/usr/bin/env bash
# Compiles the CUDA kernels by NVRTC for every architecture that is checked; needs no GPU. Arguments go to
# check_kernels.py. What has been checked is remembered until a kernel, the script or NVRTC changes.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.build/cuda/kernels-checked
want=$(cat Sources/Inference/CCuda/kernels/*.cu scripts/check_kernels.py scripts/requirements-cuda.txt | sha256sum)
if [ $# = 0 ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
    echo "kernels: checked before"
    exit 0
fi
venv=$(scripts/python-env.sh cuda)
"$venv/bin/python" scripts/check_kernels.py "$@"
mkdir -p "$(dirname "$stamp")"
printf '%s\n' "$want" >"$stamp"
