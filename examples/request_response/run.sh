#!/usr/bin/env bash
# Runs the example and checks what comes of it.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
start_hub

status_of() { curl -sS -o /dev/null -w '%{http_code}' -d hello "$@"; }
is_served() { [ "$(status_of "$QUINTET_URL/services/$1")" = 200 ]; }

same 'without a responder the caller is told at once' 503 "$(status_of "$QUINTET_URL/services/nobody-$run")"

# The same service, three ways to serve it.
background cat quintet respond "cat-$run" -- cat
background shell ./echo.sh "shell-$run"
background node node echo.mjs "node-$run"
for kind in cat shell node; do
  service="$kind-$run"
  eventually 20 "the responder $kind attaches" is_served "$service"
  same "$kind echoes to curl" 'hello world' "$(./client.sh ask "$service" 'hello world')"
  same "$kind echoes to quintet request" 'hello again' "$(quintet request "$service" 'hello again')"
  ./client.sh later "$service" "hello later" >"$work/later"
  grep -q '"kind":"reply".*"data":"hello later"' "$work/later" || fail "$kind: no reply on the reply topic: $(cat "$work/later")"
  echo "ok: $kind answers later, on a topic that is closed at the end"
done
grep -q '"kind":"progress".*"data":"read 11 bytes"' "$work/later" || fail "no progress before the reply: $(cat "$work/later")"
echo 'ok: progress comes before the reply'

# A responder that leaves a mark each time it runs.
background counted quintet respond "counted-$run" -- sh -c "echo run >>'$work/runs'; cat"
eventually 20 'the counting responder attaches' is_served "counted-$run"
before=$(wc -l <"$work/runs")
first=$(./client.sh once "counted-$run" 'pay 5' "key-$run")
second=$(./client.sh once "counted-$run" 'pay 5' "key-$run")
same 'the first call with a key is run' 'pay 5' "$first"
same 'the second gets the stored reply' $'pay 5\n(the stored reply: nothing was run)' "$second"
same 'and it ran once' $((before + 1)) "$(wc -l <"$work/runs")"
same 'the key does not fit another request' 422 \
  "$(status_of -H "Idempotency-Key: key-$run" -H 'Content-Type: text/plain' "$QUINTET_URL/services/counted-$run/say")"

# One that is too slow.
# shellcheck disable=SC2016 # it is for the inner shell
background slow quintet respond "slow-$run" -- sh -c '[ "$QUINTET_PATH" != /late ] || exec sleep 60; cat'
eventually 20 'the slow responder attaches' is_served "slow-$run"
same 'a reply that takes too long is given up' 504 "$(status_of -H 'Prefer: wait=1' "$QUINTET_URL/services/slow-$run/late")"
