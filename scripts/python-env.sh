#!/usr/bin/env bash
# Makes the Python environment NAME from scripts/requirements-NAME.txt under .deps and prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
requirements=scripts/requirements-$name.txt
venv=$PWD/.deps/venv-$name
want=$( (cat "$requirements"; /usr/bin/python3 --version; printf '%s' "$venv") | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$want" ]; then
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv" >&2
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" >&2
    printf '%s' "$want" >"$venv/.stamp"
fi
printf '%s\n' "$venv"
