#!/usr/bin/env bash
# Boots a Debian 12 tree with systemd (systemd-nspawn), installs the build there as an operator would, and
# tries the units: activation, readiness, restart, crash, hang, idle exit. Needs root.
#   scripts/systemd-test.sh [--bin DIR] [--bind DIR] [--keep]
# --bin takes the programs from DIR instead of building; --bind shows DIR inside (a toolchain's libraries).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/debian-tree.sh
. scripts/debian-tree.sh

bin=
keep=
binds=()
while [ $# -gt 0 ]; do
    case $1 in
    --bin) bin=$2; shift ;;
    --bind) binds+=("--bind-ro=$2"); shift ;;
    --keep) keep=1 ;;
    *) echo "systemd-test.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || { echo "systemd-test.sh needs root" >&2; exit 2; }
command -v systemd-nspawn >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends systemd-container >&2
if [ -z "$bin" ]; then
    make build >&2
    bin=.build/release
fi

packages=ca-certificates,curl,dbus,libavcodec59,libavformat59,libcurl4,libdeflate0,libfcgi0ldbl,libjpeg62-turbo
packages+=,libpcre2-8-0,libsqlite3-0,libstdc++6,libswscale6,nginx-light,openssl,procps
tree=$(mktemp -d "${TMPDIR:-/tmp}/torchgate-booted.XXXXXX")
if [ -z "$keep" ]; then trap 'rm -rf --one-file-system "$tree"' EXIT; fi
copy_tree "$(debian_tree booted "$packages,systemd,systemd-sysv")" "$tree"
BIN=$bin scripts/install.sh "$tree" /usr >&2
install -m 755 scripts/systemd-test-inside.sh "$tree/root/inside.sh"
# Enough of a model that takes images to count their tokens, and an image.
cp -rL Tests/Fixtures/processors/qwen3_vl "$tree/usr/share/torchgate/models/"
chmod -R a+rX "$tree/usr/share/torchgate/models"
base64 -w 0 Tests/Fixtures/media/rgb.png >"$tree/root/picture"

mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
cat >"$tree/etc/systemd/system/units-test.service" <<'UNIT'
[Unit]
After=basic.target
[Service]
Type=oneshot
TimeoutStartSec=300
ExecStart=/root/inside.sh
StandardOutput=file:/root/result
StandardError=file:/root/result
ExecStopPost=/bin/systemctl poweroff --no-block
UNIT
ln -s ../units-test.service "$tree/etc/systemd/system/multi-user.target.wants/"
timeout 240 systemd-nspawn -q -b -D "$tree" --private-network --register=no --keep-unit "${binds[@]}" \
    </dev/null >"$tree/root/console" 2>&1 || true
if [ ! -e "$tree/root/result" ]; then
    echo "the tree did not boot:" >&2
    tail -n 20 "$tree/root/console" >&2
    exit 1
fi
cat "$tree/root/result"
tail -n 1 "$tree/root/result" | grep -q '^units: passed'
