#!/usr/bin/env bash
# A chat for the terminal: ./chat.sh NAME [ROOM]
# What others say in the room appears; what you type is said to all. Ctrl-D or Ctrl-C leaves.
set -euo pipefail

hub=${QUINTET_URL:-http://127.0.0.1:7070}
name=${1:?your name}
room="${CHAT:-chat}/${2:-lobby}"

# Everyone in the room has a cursor into the same topic, so everyone reads the same lines in the same order.
quintet sub "$room" --url "$hub" --since now &
trap 'kill $! 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM

while IFS= read -r line; do
  [ -n "$line" ] || continue
  curl -sS --fail-with-body -H 'Content-Type: text/plain' --data-raw "$name: $line" "$hub/topics/$room" ||
    echo "(that was not sent)" >&2
done
