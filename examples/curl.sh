#!/bin/sh
# One streamed answer with curl.   set -a; . .run/env; examples/curl.sh "What is the capital of France?"
set -eu
question=${1:-What is the capital of France?}
exec curl -sS -N --fail-with-body --cacert "$CA_FILE" "$BASE_URL/v1/chat/completions" \
    -H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" \
    -d "{\"model\": \"$MODEL\", \"stream\": true, \"temperature\": 0, \"max_tokens\": 32,
         \"messages\": [{\"role\": \"user\", \"content\": \"$question\"}]}"
