#!/usr/bin/env bash
# Prepares RUN_DIR (state, certificate, first key) and runs torchgate with nginx in the foreground, or in
# the background with DETACH=1. Called by `make run` after the build.
set -euo pipefail
cd "$(dirname "$0")/.."

RUN_DIR=${RUN_DIR:-.run}
mkdir -p "$RUN_DIR"
chmod 755 "$RUN_DIR"
run=$(cd "$RUN_DIR" && pwd)
bin=$(pwd)/.build/release
https_port=${HTTPS_PORT:-8443}
http_port=${HTTP_PORT:-8080}
models=$(pwd)/.deps/models
model=${MODEL:-SmolLM2-135M-Instruct}

# shellcheck source=scripts/running.sh
. scripts/running.sh
if running_pid "$run" >/dev/null; then
    echo "torchgate already runs from $RUN_DIR; 'make stop' ends it" >&2
    exit 1
fi

state=${TORCHGATE_PATHS_STATE_DIR:-${TORCHGATE_STATE_DIR:-$run/state}}
mkdir -p "$state"
chmod 700 "$state"
tls=$run/tls
if [ ! -s "$tls/cert.pem" ] || ! openssl x509 -checkend 86400 -noout -in "$tls/cert.pem" >/dev/null 2>&1; then
    mkdir -p "$tls"
    chmod 700 "$tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 \
        -subj /CN=localhost -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1" \
        -addext basicConstraints=critical,CA:TRUE \
        -keyout "$tls/key.pem" -out "$tls/cert.pem" 2>/dev/null
fi

export TORCHGATE_PATHS_STATE_DIR=$state
if [ ! -s "$state/first-key" ]; then
    (
        umask 077
        "$bin/torchgate" keys create --name first --scopes infer,media:url,admin --expires never --json \
            --state-dir "$state" >"$state/first-key.part"
        mv "$state/first-key.part" "$state/first-key"
    )
fi
key=$(sed -n 's/.*"key" *: *"\([^"]*\)".*/\1/p' "$state/first-key")

(
    umask 077
    printf 'BASE_URL=https://127.0.0.1:%s\nAPI_KEY=%s\nCA_FILE=%s\nMODEL=%s\n' \
        "$https_port" "$key" "$tls/cert.pem" "$model" >"$run/env"
)

# nginx's workers must reach the sockets: where their user cannot (a clone under /root), they keep ours.
if [ "$(id -u)" = 0 ] && id -u www-data >/dev/null 2>&1 &&
    ! setpriv --reuid www-data --regid www-data --clear-groups test -x "$run"; then
    TORCHGATE_NGINX_USER=${TORCHGATE_NGINX_USER:-root}
    export TORCHGATE_NGINX_USER
fi

# Every setting can be overridden from outside.
set_default() { if [ -z "${!1+x}" ]; then export "$1=$2"; fi; }
set_default TORCHGATE_PATHS_RUN_DIR "$run"
set_default TORCHGATE_SERVER_MODE development
set_default TORCHGATE_SERVER_HOST 127.0.0.1
set_default TORCHGATE_SERVER_PORT "$https_port"
set_default TORCHGATE_SERVER_HTTP_PORT "$http_port"
set_default TORCHGATE_SERVER_CERTIFICATE "$tls/cert.pem"
set_default TORCHGATE_SERVER_CERTIFICATE_KEY "$tls/key.pem"
set_default TORCHGATE_MODELS_DIRECTORIES "${MODELS_DIR:+$MODELS_DIR:}$models"
set_default TORCHGATE_MODELS_DEFAULT "$model"
set_default TORCHGATE_NGINX_KEY_RATE 200
set_default TORCHGATE_NGINX_KEY_BURST 512
set_default TORCHGATE_NGINX_ADDRESS_RATE 1000
set_default TORCHGATE_NGINX_ADDRESS_BURST 2000
set_default TORCHGATE_NGINX_KEY_CONNECTIONS 512
set_default TORCHGATE_LOG_FORMAT text

rm -f "$run/ready"
if [ "${DETACH:-}" != 1 ]; then
    exec "$bin/torchgate" run --print-key
fi

setsid nohup "$bin/torchgate" run </dev/null >"$run/torchgate.log" 2>&1 &
pid=$!
for _ in $(seq 1 300); do
    if [ -e "$run/ready" ]; then
        sed "s|^\(  key  *\).*|\1$key|" "$run/ready" # which has no key, nor has the log
        exit 0
    fi
    if ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.05
done
echo "torchgate did not become ready; the last lines of $RUN_DIR/torchgate.log:" >&2
tail -n 20 "$run/torchgate.log" >&2
kill "$pid" 2>/dev/null || true
exit 1
