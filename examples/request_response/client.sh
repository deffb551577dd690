#!/usr/bin/env bash
# A caller with curl:
#   ./client.sh ask SERVICE TEXT         ask, and wait for the reply
#   ./client.sh once SERVICE TEXT KEY    ask with a key: asked again, the reply comes without the work being done again
#   ./client.sh later SERVICE TEXT       do not wait: follow progress and reply on a topic
set -euo pipefail

hub=${QUINTET_URL:-http://127.0.0.1:7070}
how=${1:?ask, once or later}
service=${2:?a service}
text=${3:?a text}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

header() { sed -n "s/^$1: *//Ip" "$work/head" | tr -d '\r' | head -n 1; }

call() {
  curl -sS --fail-with-body -D "$work/head" -H 'Content-Type: text/plain' --data-raw "$text" "$@" \
    "$hub/services/$service/say"
}

# Until the topic is closed: the next messages after our cursor, as soon as there are some.
follow() {
  local topic=$1 offset=-1
  until [ "$(header Stream-Closed)" = true ]; do
    curl -sS --fail-with-body -D "$work/head" -H 'Accept: application/vnd.quintet.messages+json' \
      "$topic?offset=$offset&live=long-poll"
    echo
    offset=$(header Stream-Next-Offset)
  done
}

case $how in
  ask)
    call -H 'Prefer: wait=10'
    ;;
  once)
    call -H "Idempotency-Key: ${4:?a key}"
    if [ "$(header Idempotent-Replayed)" = true ]; then echo; echo '(the stored reply: nothing was run)'; fi
    ;;
  later)
    call -H 'Prefer: respond-async' >/dev/null
    follow "$hub$(header Location)"
    ;;
  *)
    echo "ask, once or later, not $how" >&2
    exit 2
    ;;
esac
