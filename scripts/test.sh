#!/usr/bin/env bash
# Every test that needs no GPU: the rooms' tests (Swift Testing, release), then end to end through real
# nginx with curl and openai-python. Ends with one line that adds both up.
#   scripts/test.sh            all
#   scripts/test.sh units      the rooms only
#   scripts/test.sh end        end to end only (after `make build`)
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
what=${1:-all}
passed=0
failed=0

# Counts from a log: the runner's last line of its kind.
count() { grep -oE "$2" "$1" | tail -n 1 | grep -oE '[0-9]+' | head -n 1 || true; }

if [ "$what" != end ]; then
    log=$(mktemp)
    swift test -c release --scratch-path .build-tests --no-parallel 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    total=$(count "$log" 'Test run with [0-9]+ tests?')
    issues=$(grep -E '^✘ Test .* failed after' "$log" | grep -cv '^✘ Test run' || true)
    if [ -z "$total" ] || { [ "$status" != 0 ] && [ "$issues" = 0 ]; }; then
        echo "the rooms' tests did not run to their end" >&2
        issues=1
        total=${total:-1}
    fi
    failed=$((failed + issues))
    passed=$((passed + total - issues))
    rm -f "$log"
fi

if [ "$what" != units ]; then
    if swift build -c release --static-swift-stdlib --explicit-target-dependency-import-check error; then
        venv=$(scripts/python-env.sh tests)
        log=$(mktemp)
        "$venv/bin/python" -m pytest -q -rfE Tests/EndToEnd 2>&1 | tee "$log"
        status=${PIPESTATUS[0]}
        good=$(count "$log" '[0-9]+ passed')
        bad=$(count "$log" '[0-9]+ failed')
        errors=$(count "$log" '[0-9]+ errors?')
        bad=$((${bad:-0} + ${errors:-0}))
        if [ "$status" != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
        passed=$((passed + ${good:-0}))
        failed=$((failed + bad))
        rm -f "$log"
    else
        failed=$((failed + 1))
    fi
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
