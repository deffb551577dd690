#!/usr/bin/env bash
# Waits until an upload is done: ./await.sh ID
# One request, and its answer comes when there is one: the moment the upload ends. Only if that takes longer than a
# minute, the hub answers with 204, and the same request is made again. It exits with 0 if the upload is done, with 1
# if it failed.
set -euo pipefail

topic="${QUINTET_URL:-http://127.0.0.1:7070}/topics/uploads/${1:?the id of the upload}/done"
outcome=$(mktemp)
trap 'rm -f "$outcome"' EXIT
trap 'exit 130' INT TERM

requests=0
while :; do
  requests=$((requests + 1))
  status=$(curl -sS -o "$outcome" -w '%{http_code}' -H 'Prefer: wait=60' "$topic?offset=-1") ||
    { echo 'the hub is away; trying again' >&2; sleep 1; continue; }
  case $status in
    200) break ;;
    204) continue ;;
    429 | 5??) sleep 1 ;; # the hub is stopping or busy
    *) cat "$outcome" >&2; exit 1 ;;
  esac
done
cat "$outcome"
echo
echo "requests made: $requests"
grep -q '"state":"done"' "$outcome"
