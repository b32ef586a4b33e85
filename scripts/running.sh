# shellcheck shell=bash
# running_pid RUN_DIR: prints the pid of the torchgate of this clone that runs from there; fails if none does.
# A pid file outlives a machine's crash, and its number may be a stranger's by now: the program decides. One
# that was built anew since reads as deleted.
running_pid() {
    local pid program
    pid=$(cat "$1/torchgate.pid" 2>/dev/null) || return 1
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    program=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
    case ${program% (deleted)} in
    "$(readlink -f .build/release/torchgate)" | "$(pwd -P)"/.build/*/torchgate) echo "$pid" ;;
    *) return 1 ;;
    esac
}
