#!/usr/bin/env bash
# Runs this checkout's HEAD on a machine where only Swift is installed: a Debian 12 tree made by
# debootstrap, with the Swift toolchain bound in. Needs root; needs no systemd.
#   scripts/fresh-machine.sh                   make run, two questions over HTTPS, cold and warm times
#   scripts/fresh-machine.sh --share-cache     the same with this machine's archives of `make deps`
#   scripts/fresh-machine.sh --shell COMMAND   runs COMMAND in the clone inside instead
#   scripts/fresh-machine.sh --keep            leaves the tree where it lies
# Mounts and processes live in namespaces of their own and end with the script.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian-tree.sh

share_cache=
inside=
keep=
while [ $# -gt 0 ]; do
    case $1 in
    --share-cache) share_cache=1 ;;
    --keep) keep=1 ;;
    --shell) inside=$2; shift ;;
    *) echo "fresh-machine.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || { echo "fresh-machine.sh needs root" >&2; exit 2; }

swift=$(readlink -f "$(command -v swift)")
toolchain=$(cd "$(dirname "$swift")/../.." && pwd)
tree=$(mktemp -d "${TMPDIR:-/tmp}/torchgate-fresh.XXXXXX")
if [ -n "$keep" ]; then echo "tree: $tree" >&2; else trap 'rm -rf --one-file-system "$tree"' EXIT; fi
copy_tree "$(debian_tree minbase ca-certificates,git,make)" "$tree"
git clone -q --no-hardlinks . "$tree/root/torchgate"

# What is bound in: the toolchain, and what this machine's pip and git are told to use in place of the net.
binds=("$toolchain")
for place in ${PIP_FIND_LINKS:-}; do
    if [ -d "$place" ]; then binds+=("$place"); fi
done
while read -r name _; do
    place=${name#url.}
    place=${place%.insteadof}
    if [ -d "$place" ]; then binds+=("$place"); fi
done < <(git config --get-regexp '^url\..*\.insteadof$' || true)
if [ -n "$share_cache" ]; then
    mkdir -p "${XDG_CACHE_HOME:-$HOME/.cache}/torchgate"
    binds+=("${XDG_CACHE_HOME:-$HOME/.cache}/torchgate:/root/.cache/torchgate")
fi

variables=(HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" USER=root
    PATH="$(dirname "$swift"):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    HTTPS_PORT="${HTTPS_PORT:-18443}" HTTP_PORT="${HTTP_PORT:-18080}")
while IFS='=' read -r name value; do
    case $name in
    PIP_* | *_proxy | *_PROXY | SSL_CERT_FILE | GIT_SSL_CAINFO | CURL_CA_BUNDLE | REQUESTS_CA_BUNDLE)
        variables+=("$name=$value") ;;
    esac
done < <(env)

cat >"$tree/root/visit.sh" <<'VISIT'
set -euo pipefail
cd /root/torchgate
seconds() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f s", b - a }'; }
ask() {
    curl -sS --fail-with-body -N --max-time 120 --cacert "$CA_FILE" "$BASE_URL/v1/chat/completions" \
        -H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" \
        -d "{$1\"stream\": true, \"temperature\": 0, \"max_tokens\": 32,
             \"messages\": [{\"role\": \"user\", \"content\": \"What is the capital of France?\"}]}" |
        tee /root/events | sed -n 's/^data: .*"content": *"\(\([^"\\]\|\\.\)*\)".*/\1/p' | tr -d '\n'
    grep -q '^data: \[DONE\]' /root/events || { echo "the stream has no end" >&2; return 1; }
}
check() {
    case $2 in
    *Paris*) echo "$1: $2" ;;
    *) echo "$1: no Paris in: $2" >&2; cat /root/events >&2
        tail -n 20 .run/*.log >&2
        exit 1
        ;;
    esac
}
start=$(date +%s.%N)
make run DETACH=1
. .run/env
check "with model" "$(ask "\"model\": \"$MODEL\", ")"
echo "cold, to the answer's end: $(seconds "$start")"
check "without model" "$(ask "")"
make stop
start=$(date +%s.%N)
make run DETACH=1 >/root/warm.log 2>&1 || { cat /root/warm.log; exit 1; }
echo "warm, until ready: $(seconds "$start")"
. .run/env
check "after a second start" "$(ask "")"
echo "warm, to the answer's end: $(seconds "$start")"
make stop
echo "fresh machine: passed"
VISIT

printf '%s\n' "${binds[@]}" >"$tree/root/binds"
cat >"$tree/root/enter.sh" <<'ENTER'
set -euo pipefail
tree=$1
shift
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount --rbind /sys "$tree/sys"
mount -t tmpfs tmpfs "$tree/run"
while IFS=: read -r from to; do
    mkdir -p "$tree${to:-$from}"
    mount --bind "$from" "$tree${to:-$from}"
done <"$tree/root/binds"
exec chroot "$tree" "$@"
ENTER

command=(/bin/bash /root/visit.sh)
if [ -n "$inside" ]; then command=(/bin/bash -c "cd /root/torchgate && $inside"); fi
unshare --mount --pid --fork --kill-child --propagation private \
    bash "$tree/root/enter.sh" "$tree" /usr/bin/env -i "${variables[@]}" "${command[@]}"
