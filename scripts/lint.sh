#!/usr/bin/env bash
# Style of Swift, shell and Python; the rooms' imports are checked by every build (Makefile, SWIFT_FLAGS).
set -euo pipefail
cd "$(dirname "$0")/.."
swift format lint --strict --parallel --configuration .swift-format -r Package.swift Sources Tests
venv=$(scripts/python-env.sh lint)
git ls-files -z '*.sh' .ci/run scripts/gpu-check | xargs -0 "$venv/bin/shellcheck"
mapfile -d '' -t python < <(git ls-files -z '*.py')
if [ ${#python[@]} -gt 0 ]; then
    "$venv/bin/ruff" check --quiet --select E,F,I,ANN,B --ignore ANN401 --line-length 110 "${python[@]}"
fi
echo "lint: clean"
