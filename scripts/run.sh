#!/usr/bin/env bash
# Prepares RUN_DIR (state, certificate, first key) and runs torchgate with nginx in the foreground, or in
# the background with DETACH=1. Called by `make run` after the build.
#
# What a trial needs is written to RUN_DIR/defaults.yaml, the weakest source of settings: the environment, .env
# and the file that CONFIG names all win over it. /etc/torchgate/torchgate.yaml is an installed server's.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/running.sh
. scripts/running.sh
mkdir -p "$RUN_DIR"
chmod 755 "$RUN_DIR"
run=$(cd "$RUN_DIR" && pwd)
bin=$(pwd)/.build/release
models=$(pwd)/.deps/models
if running_pid "$run" >/dev/null; then
    echo "torchgate already runs from $RUN_DIR; 'make stop' ends it" >&2
    exit 1
fi
end_leftovers "$run"

# nginx's workers must reach the sockets: where their user cannot (a clone under /root), they keep ours.
user=www-data
if [ "$(id -u)" = 0 ] && id -u www-data >/dev/null 2>&1 &&
    ! setpriv --reuid www-data --regid www-data --clear-groups test -x "$run"; then
    user=root
fi

tls=$run/tls
# quote TEXT: as a YAML scalar.
quote() { printf "'%s'" "${1//\'/\'\'}"; }
{
    echo "# Written by scripts/run.sh at each start. Change settings in the environment, in .env or in CONFIG."
    echo "paths:"
    echo "  run_dir: $(quote "$run")"
    echo "  state_dir: $(quote "$run/state")"
    echo "server:"
    echo "  mode: development"
    echo "  host: 127.0.0.1"
    echo "  port: $(quote "${HTTPS_PORT:-8443}")"
    echo "  http_port: $(quote "${HTTP_PORT:-8080}")"
    echo "  certificate: $(quote "$tls/cert.pem")"
    echo "  certificate_key: $(quote "$tls/key.pem")"
    echo "models:"
    echo "  directories: $(quote "${MODELS_DIR:+$MODELS_DIR:}$models")"
    echo "  default: $(quote "${MODEL:-SmolLM2-135M-Instruct}")"
    echo "nginx:"
    echo "  user: $user"
    echo "  key_rate: 200"
    echo "  key_burst: 512"
    echo "  address_rate: 1000"
    echo "  address_burst: 2000"
    echo "  key_connections: 512"
    echo "log: {format: text}"
} >"$run/defaults.yaml"
options=(--defaults "$run/defaults.yaml" --config "${CONFIG:-/dev/null}")
export TORCHGATE_PATHS_RUN_DIR=$run

settings=$("$bin/torchgate" settings "${options[@]}")
# value NAME: the setting as it holds here.
value() { printf '%s\n' "$settings" | sed -n "s/^${1//./\\.}: //p"; }
state=$(value paths.state_dir)
host=$(value server.host)
port=$(value server.port)
name=$(value server.name)
certificate=$(value server.certificate)

case $host in
0.0.0.0) host=127.0.0.1 ;;
::) host=::1 ;;
esac

# certifies: whether our certificate is there, good for another day, and for the address.
certifies() {
    [ -s "$tls/cert.pem" ] && openssl x509 -checkend 86400 -noout -in "$tls/cert.pem" >/dev/null 2>&1 || return 1
    case $host in *[!0-9a-fA-F.:]*) return 0 ;; esac
    openssl x509 -checkip "$host" -noout -in "$tls/cert.pem" | grep -q 'does match'
}
if [ "$certificate" = "$tls/cert.pem" ] && ! certifies; then
    mkdir -p "$tls"
    chmod 700 "$tls"
    names=DNS:localhost,IP:127.0.0.1,IP:::1
    case $host in 127.0.0.1 | ::1 | localhost) ;; *[!0-9a-fA-F.:]*) names+=,DNS:$host ;; *) names+=,IP:$host ;; esac
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 \
        -subj /CN=localhost -addext "subjectAltName=$names" \
        -addext basicConstraints=critical,CA:TRUE \
        -keyout "$tls/key.pem" -out "$tls/cert.pem" 2>/dev/null
fi

mkdir -p "$state"
chmod 700 "$state"
if [ ! -s "$state/first-key" ]; then
    (
        umask 077
        "$bin/torchgate" keys create --name first --scopes infer,media:url,admin --expires never --json \
            --state-dir "$state" >"$state/first-key.part"
        mv "$state/first-key.part" "$state/first-key"
    )
fi
key=$(sed -n 's/.*"key" *: *"\([^"]*\)".*/\1/p' "$state/first-key")

# A certificate of the operator's own is for its name, ours is for the address.
if [ "$certificate" != "$tls/cert.pem" ] && [ "$name" != _ ]; then host=$name; fi
case $host in *:*) host="[$host]" ;; esac
(
    umask 077
    printf '%s=%q\n' BASE_URL "https://$host:$port" API_KEY "$key" CA_FILE "$certificate" \
        MODEL "$(value models.default)" | sed 's/\\\([][]\)/\1/g' >"$run/env"
)

rm -f "$run/ready"
if [ "${DETACH:-}" != 1 ]; then
    exec "$bin/torchgate" run --print-key "${options[@]}"
fi

setsid nohup "$bin/torchgate" run "${options[@]}" </dev/null >"$run/torchgate.log" 2>&1 &
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
