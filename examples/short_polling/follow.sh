#!/usr/bin/env bash
# Follows an upload by short polling: ./follow.sh ID
# Every half second it asks what is new since its cursor. It exits with 0 when the upload is done, with 1 if it failed.
set -euo pipefail

topic="${QUINTET_URL:-http://127.0.0.1:7070}/topics/uploads/${1:?the id of the upload}"
every=${POLL_SECONDS:-0.5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

header() { sed -n "s/^$1: *//Ip" "$work/head" | tr -d '\r' | head -n 1; }

offset=-1 # the cursor: from the start
etag=     # of the last answer
while :; do
  status=$(curl -sS -D "$work/head" -o "$work/body" -w '%{http_code}' -H "If-None-Match: $etag" "$topic?offset=$offset") ||
    { echo 'the hub is away; trying again' >&2; sleep 1; continue; }
  case $status in
    304) echo 'nothing new' ;; # the same answer as before, and it did not have to be sent again
    200)
      # The newest of the messages is how far it is: the others are history.
      newest=$(grep -o '{[^{}]*}' "$work/body" | tail -n 1 || true)
      [ -z "$newest" ] || echo "$newest"
      offset=$(header Stream-Next-Offset)
      etag=$(header ETag)
      ;;
    *) cat "$work/body" >&2; exit 1 ;;
  esac
  if [ "$(header Stream-Closed)" = true ]; then # nothing more will ever come
    case ${newest:-} in *'"state":"done"'*) exit 0 ;; *) exit 1 ;; esac
  fi
  sleep "$every"
done
