#!/usr/bin/env bash
# Ends what `make run` started from RUN_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/running.sh
. scripts/running.sh
if ! pid=$(running_pid "$RUN_DIR"); then
    echo "torchgate does not run from $RUN_DIR"
    end_leftovers "$RUN_DIR"
    exit 0
fi
kill -TERM "$pid"
for _ in $(seq 1 700); do
    # Also gone where only its parent has not taken note yet.
    if ! readlink "/proc/$pid/exe" >/dev/null 2>&1; then exit 0; fi
    sleep 0.1
done
echo "torchgate ($pid) does not end" >&2
exit 1
