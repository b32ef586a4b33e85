#!/bin/sh
# One streamed answer with curl.   set -a; . .run/env; examples/curl.sh "What is the capital of France?"
set -eu
question=${1:-What is the capital of France?}
# As JSON wants it inside quotes.
question=$(printf %s "$question" | tr -d '\001-\010\013\014\016-\037' |
    sed -z 's/\\/\\\\/g; s/"/\\"/g; s/\n/\\n/g; s/\t/\\t/g; s/\r/\\r/g')
exec curl -sS -N --fail-with-body --cacert "$CA_FILE" "$BASE_URL/v1/chat/completions" \
    -H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" \
    -d "{\"model\": \"$MODEL\", \"stream\": true, \"temperature\": 0, \"max_tokens\": 32,
         \"messages\": [{\"role\": \"user\", \"content\": \"$question\"}]}"
