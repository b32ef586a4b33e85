# shellcheck shell=bash
# For scripts that run in the clone's folder.
# The variable of the setting names the run directory too.
RUN_DIR=${TORCHGATE_PATHS_RUN_DIR:-${TORCHGATE_RUN_DIR:-${RUN_DIR:-.run}}}

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

# end_leftovers RUN_DIR: ends the nginx of a torchgate that was killed there together with its nginx master.
# Nobody's children then, the workers hold the ports. They are known by the master's number, which they have
# as their group, and by the log of that directory, which they have open. A master that lives has a torchgate,
# or leaves by itself.
end_leftovers() {
    local group log pid left signal
    group=$(cat "$1/nginx.pid" 2>/dev/null) || return 0
    case $group in '' | *[!0-9]*) return 0 ;; esac
    if readlink "/proc/$group/exe" >/dev/null 2>&1; then return 0; fi
    log=$(sed -n 's/^ *access_log "\{0,1\}\([^"]*[^" ]\)"\{0,1\} torchgate;$/\1/p' "$1/nginx/nginx.conf" 2>/dev/null)
    log=$(readlink -f "${log:-/nowhere}" || true)
    for signal in TERM TERM KILL KILL; do
        left=0
        for pid in $(pgrep -g "$group" || true); do
            case $(readlink "/proc/$pid/exe" || true) in */nginx | */nginx\ *) ;; *) continue ;; esac
            readlink "/proc/$pid/fd/"* 2>/dev/null | grep -qxF "$log" || continue
            left=1
            kill -"$signal" "$pid" 2>/dev/null || true
        done
        if [ $left = 0 ]; then return 0; fi
        echo "ended what a killed torchgate left in $1 (nginx, group $group)" >&2
        sleep 0.5
    done
}
