#!/usr/bin/env bash
# Runs the example, with a tick every 50 ms, and checks what comes of it: one client stays, one comes and goes,
# and the hub is restarted under all of them.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
start_hub

topic="ticker-$run"
total=60
node=(node --no-warnings --experimental-websocket)

background stays "${node[@]}" client.mjs "$topic" "$total" "$work/stays.cursor"
stays=$pid
background cli quintet sub "$topic" --via ws --since start --count "$total"
cli=$pid
background sse quintet sub "$topic" --via sse --since start --count "$total"
sse=$pid
background ticker "${node[@]}" ticker.mjs "$topic" 0.05 "$total"
ticker=$pid

# It takes ten ticks, leaves, misses some, comes back with its cursor.
rounds=0
until [ "$rounds" -eq $((total / 10)) ]; do
  background round "${node[@]}" client.mjs "$topic" 10 "$work/visitor.cursor"
  ends 20 'the visitor' "$pid"
  cat "$work/round.out" >>"$work/visitor"
  rounds=$((rounds + 1))
  # All have to reconnect and resume, and the ticker to send what was not acknowledged.
  if [ "$rounds" -eq 3 ]; then restart_hub; fi
done
ends 30 'the ticker' "$ticker"
for client in "$stays" "$cli" "$sse"; do ends 20 'a client' "$client"; done

ticks() { grep -o '"tick":[0-9]*' "$1" | cut -d: -f2 | tr '\n' ' '; }
expected="$(seq "$total" | tr '\n' ' ')"
same 'the client that stayed saw every tick once, in order' "$expected" "$(ticks "$work/stays.out")"
same 'so did the one that came and went' "$expected" "$(ticks "$work/visitor")"
same 'so did quintet sub over WebSocket' "$expected" "$(ticks "$work/cli.out")"
same 'so did quintet sub over SSE' "$expected" "$(ticks "$work/sse.out")"

background page node ../pages.mjs ticker.html 0
eventually 10 'the page is served' grep -q '^open ' "$work/page.out"
curl -sSf "$(sed -n 's|^open \(http://[^/]*\)/.*|\1|p' "$work/page.out")/" | grep -q EventSource || fail 'the page is not there'
echo 'ok: the page is served'
