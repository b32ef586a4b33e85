#!/usr/bin/env bash
# Ends what `make run` started from RUN_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
pid_file=${RUN_DIR:-.run}/torchgate.pid
if [ ! -e "$pid_file" ] || ! pid=$(cat "$pid_file") || ! kill -0 "$pid" 2>/dev/null; then
    echo "torchgate does not run from ${RUN_DIR:-.run}"
    exit 0
fi
kill -TERM "$pid"
for _ in $(seq 1 700); do
    if ! kill -0 "$pid" 2>/dev/null; then exit 0; fi
    sleep 0.1
done
echo "torchgate ($pid) does not end" >&2
exit 1
