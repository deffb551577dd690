#!/usr/bin/env bash
# Runs the example and checks what comes of it: three people talk at once in one room, one in another.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
start_hub
export CHAT="chat-$run"

# Who listens: in the lobby by three transports, in the kitchen, and to all rooms.
background lobby-ws quintet sub "$CHAT/lobby" --since start --count 60 --via ws
ws=$pid
background lobby-sse quintet sub "$CHAT/lobby" --since start --count 60 --via sse
sse=$pid
background lobby-poll quintet sub "$CHAT/lobby" --since start --count 60 --via long-poll
poll=$pid
background kitchen quintet sub "$CHAT/kitchen" --since start --count 5
kitchen=$pid
background all quintet sub "$CHAT/#" --since start --count 65
all=$pid

# Who talks. They are in the room as long as there is something to say.
says() { for ((i = 1; i <= $2; i++)); do echo "line $i"; done | ./chat.sh "$1" "$3"; }
speakers=()
for name in ada bob cleo; do
  background "$name" says "$name" 20 lobby
  speakers+=("$pid")
done
background dan says dan 5 kitchen
speakers+=("$pid")
for speaker in "${speakers[@]}"; do ends 30 'a speaker' "$speaker"; done
for listener in "$ws" "$sse" "$poll" "$kitchen" "$all"; do ends 30 'a listener' "$listener"; done

same 'the lobby heard everything' 60 "$(sort -u "$work/lobby-ws.out" | wc -l)"
cmp -s "$work/lobby-ws.out" "$work/lobby-sse.out" || fail 'WebSocket and SSE differ'
cmp -s "$work/lobby-ws.out" "$work/lobby-poll.out" || fail 'WebSocket and long polling differ'
echo 'ok: everyone in the lobby read the same lines in the same order'
for name in ada bob cleo; do
  grep "^$name: " "$work/lobby-ws.out" | cmp -s - <(for ((i = 1; i <= 20; i++)); do echo "$name: line $i"; done) ||
    fail "the lines of $name are not in order"
done
echo 'ok: what one person says stays in order'
same 'the kitchen heard its own' 5 "$(grep -c '^dan: ' "$work/kitchen.out")"
same 'the filter heard all rooms' 65 "$(sort -u "$work/all.out" | wc -l)"

# The page is served, and the hub lets it in.
background page node ../pages.mjs chat.html 0
eventually 10 'the page is served' grep -q '^open ' "$work/page.out"
page=$(sed -n 's|^open \(http://[^/]*\)/.*|\1|p' "$work/page.out")
curl -sSf "$page/" | grep -q 'quintet.v1' || fail 'the page is not there'
same 'the hub refuses a page it was not told of' 403 \
  "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Origin: http://elsewhere.example' "$QUINTET_URL/topics/$CHAT/lobby?offset=-1")"
