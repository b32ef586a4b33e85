#!/usr/bin/env bash
# install.sh DESTDIR PREFIX: programs, libtorch, units, the default model.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$1$2
bin=.build/release
install -d "$root/bin" "$root/lib/torchgate/torch" "$root/lib/torchgate/nvidia" \
    "$root/share/torchgate/models" "$root/lib/systemd/system"
install -m 755 -s "$bin/torchgate" "$bin/torchgate-engine" "$root/bin/"
cp -a --no-preserve=ownership .deps/torch/lib "$root/lib/torchgate/torch/"
cp -a --no-preserve=ownership .deps/nvidia/. "$root/lib/torchgate/nvidia/"
cp -a --no-preserve=ownership .deps/models/. "$root/share/torchgate/models/"
for unit in systemd/*.service systemd/*.socket; do
    sed "s|@PREFIX@|$2|g" "$unit" >"$root/lib/systemd/system/$(basename "$unit")"
done
echo "installed under $root"
