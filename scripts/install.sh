#!/usr/bin/env bash
# install.sh DESTDIR PREFIX: programs, libtorch, units, the default model, a first torchgate.yaml.
# What it leaves to the operator (user, keys, certificate, starting) is in docs/operations.md.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$1$2
bin=${BIN:-.build/release}
install -d "$root/bin" "$root/lib/torchgate/torch" "$root/lib/torchgate/nvidia" \
    "$root/share/torchgate/models" "$root/share/doc/torchgate" "$root/lib/systemd/system" \
    "$root/lib/sysusers.d" "$1/etc/torchgate"
install -m 755 -s "$bin/torchgate" "$bin/torchgate-engine" "$bin/torchgate-media" "$root/bin/"
[ -e .build/cuda/libtorchgate_cuda.so ] || scripts/build-cuda.sh
install -m 644 .build/cuda/libtorchgate_cuda.so "$root/lib/torchgate/"
cp -a --no-preserve=ownership .deps/torch/lib "$root/lib/torchgate/torch/"
cp -a --no-preserve=ownership .deps/nvidia/. "$root/lib/torchgate/nvidia/"
cp -a --no-preserve=ownership .deps/models/. "$root/share/torchgate/models/"
install -m 644 README.md LICENSE docs/operations.md docs/configuration.md "$root/share/doc/torchgate/"
for unit in systemd/*.service systemd/*.socket; do
    sed "s|@PREFIX@|$2|g" "$unit" >"$root/lib/systemd/system/$(basename "$unit")"
done
install -m 644 systemd/torchgate.sysusers "$root/lib/sysusers.d/torchgate.conf"
# An operator's file is never overwritten.
if [ ! -e "$1/etc/torchgate/torchgate.yaml" ]; then
    sed "s|@PREFIX@|$2|g" systemd/torchgate.yaml >"$1/etc/torchgate/torchgate.yaml"
fi
echo "installed under $root"
