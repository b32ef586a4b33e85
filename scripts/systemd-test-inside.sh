#!/usr/bin/env bash
# The half of systemd-test.sh that runs inside the booted tree.
set -uo pipefail
failures=0
ok() { echo "ok    $*"; }
bad() { echo "FAIL  $*"; failures=$((failures + 1)); }
check() { local what=$1; shift; if "$@" >/root/out; then ok "$what"; else bad "$what"; fi; }
main_pid() { systemctl show -P MainPID "$1"; }
now() { date +%s%N; }
since() { echo "$((($(now) - $1) / 1000000)) ms"; }
# until_true SECONDS COMMAND…
until_true() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        if [ "$(date +%s)" -ge "$end" ]; then return 1; fi
        sleep 0.05
    done
}
ask() { # ask SECONDS BODY PATH
    curl -sS --fail-with-body --max-time "$1" --cacert "$tls/fullchain.pem" "https://localhost$3" \
        -H "Authorization: Bearer $key" -H 'Content-Type: application/json' ${2:+-d "$2"}
}
answers() { ask 60 '{"messages":[{"role":"user","content":"Hello"}],"max_tokens":8}' /v1/chat/completions >/root/answer 2>&1; }
lists() { ask 10 '' /v1/models >/root/models 2>&1; }

# What an operator does once (docs/operations.md).
tls=/etc/torchgate/tls
systemd-sysusers
mkdir -p "$tls"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout "$tls/key.pem" -out "$tls/fullchain.pem" 2>/dev/null
chmod 600 "$tls/key.pem"
install -d -o torchgate -g torchgate -m 700 /var/lib/torchgate
key=$(setpriv --reuid torchgate --regid torchgate --init-groups \
    torchgate keys create --name first --json | sed -n 's/.*"key" *: *"\([^"]*\)".*/\1/p')
check "a key is made" test -n "$key"
# Short times, so that the test is short.
printf 'engine:\n  idle_timeout: 6\n  orphan_grace: 20\n' >>/etc/torchgate/torchgate.yaml
mkdir -p /etc/systemd/system/torchgate.service.d
printf '[Service]\nWatchdogSec=4\n' >/etc/systemd/system/torchgate.service.d/test.conf
systemctl daemon-reload
systemctl stop nginx.service
systemctl enable -q --now torchgate-fcgi.socket torchgate-engine@1.socket torchgate-nginx.service
check "no engine runs before it is needed" test "$(systemctl is-active torchgate-engine@1.service)" = inactive
until_true 10 curl -ks -o /root/first https://localhost/health

check "the front is started by its socket" systemctl is-active -q torchgate.service
start=$(now)
systemctl restart torchgate.service
ok "restart until READY: $(since "$start")"
check "the list of models is answered over HTTPS" lists
start=$(now)
check "a request is answered over HTTPS" answers
echo "      first answer, engine started: $(since "$start")"
engine=$(main_pid torchgate-engine@1.service)
check "the engine is started by its socket" test "$engine" != 0
# What the engine's user finds in the engine's mount namespace; the front's user sees the same files outside.
inside() { nsenter -t "$engine" -m setpriv --reuid torchgate --regid torchgate --init-groups "$@" 2>/dev/null; }
outside() { setpriv --reuid torchgate --regid torchgate --init-groups "$@"; }
for file in /var/lib/torchgate/keys/keys.db /var/lib/torchgate/pepper /etc/torchgate/torchgate.yaml; do
    check "$file can be read outside the engine" outside cat "$file"
    if inside cat "$file" >/dev/null; then bad "the engine can read $file"; else ok "and not by the engine"; fi
done
check "the engine sees its models" inside ls /usr/share/torchgate/models/SmolLM2-135M-Instruct
if inside ls /run/credentials/torchgate.service >/dev/null; then
    bad "the engine can read the front's credentials"
else
    ok "the front's credentials are hidden from the engine"
fi

# An image is decoded behind the decoders' walls, inside the front's.
picture="[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,$(cat /root/picture)\"}}]"
sees() { ask 20 "{\"model\":\"qwen3_vl\",\"messages\":[{\"role\":\"user\",\"content\":$picture}]}" /v1/tokenize >/root/seen 2>&1; }
check "an image is decoded and counted" sees

# A restart with requests under way.
ask 60 '{"messages":[{"role":"user","content":"Hello"}],"max_tokens":200,"stream":true,"ignore_eos":true}' \
    /v1/chat/completions >/root/stream 2>&1 &
stream=$!
(
    for _ in $(seq 1 40); do
        ask 20 '' /v1/models >/root/ping 2>&1 || cat /root/ping >>/root/pings
        sleep 0.05
    done
) &
pings=$!
sleep 0.3
old=$(main_pid torchgate.service)
start=$(now)
systemctl restart torchgate.service
echo "      restart with a stream and pings: $(since "$start")"
wait "$stream"
wait "$pings"
check "a restart is another process" test "$(main_pid torchgate.service)" != "$old"
check "the stream was finished" grep -q '^data: \[DONE\]' /root/stream
check "no request was lost by the restart" test ! -s /root/pings
check "the engine kept its model" test "$(main_pid torchgate-engine@1.service)" = "$engine"

kill -9 "$(main_pid torchgate.service)"
start=$(now)
check "kill -9: the next front answers" until_true 10 lists
echo "      after kill -9: $(since "$start")"
check "kill -9: a generation is answered" answers
check "kill -9: the engine kept its model" test "$(main_pid torchgate-engine@1.service)" = "$engine"

hung=$(main_pid torchgate.service)
kill -STOP "$hung"
start=$(now)
front_changed() { local pid; pid=$(main_pid torchgate.service); [ "$pid" != "$hung" ] && [ "$pid" != 0 ]; }
check "a hung front is replaced by the watchdog" until_true 30 front_changed
echo "      replaced after: $(since "$start")"
check "and answers" until_true 10 answers

engine_gone() { [ "$(systemctl is-active torchgate-engine@1.service)" = inactive ]; }
start=$(now)
check "an idle engine exits" until_true 30 engine_gone
echo "      idle exit after: $(since "$start")"
check "with success" test "$(systemctl show -P Result torchgate-engine@1.service)" = success
check "and comes back with the next request" answers
engine=$(main_pid torchgate-engine@1.service)
kill -9 "$engine"
check "kill -9 of the engine: the next request is answered" until_true 20 answers
check "the sockets are up" systemctl is-active -q torchgate-fcgi.socket torchgate-engine@1.socket

for unit in torchgate.service torchgate-engine@1.service; do
    check "$unit: exposure of at most 2.0" \
        systemd-analyze security --no-pager --threshold=20 "$unit" 
done
systemctl stop torchgate-nginx.service torchgate-fcgi.socket torchgate-engine@1.socket torchgate.service
check "all stops" test "$(systemctl is-active torchgate.service)" = inactive

if [ "$failures" != 0 ]; then
    for file in /root/answer /root/models /root/seen /root/pings /root/stream; do
        echo "--- $file"
        tail -n 5 "$file" 2>/dev/null
    done
    echo "--- journal"
    journalctl -q --no-pager -n 60 -u 'torchgate*'
    echo "units: $failures failed"
    exit 1
fi
echo "units: passed"
