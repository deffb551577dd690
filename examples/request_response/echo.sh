#!/usr/bin/env bash
# A responder in a shell script: ./echo.sh [SERVICE]
# It claims a request (a long poll), answers it with its own body, and claims the next one.
set -euo pipefail

service=${1:-echo}
responder="${QUINTET_URL:-http://127.0.0.1:7070}/responders/$service"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 0' TERM INT

# The value of a header of the claimed request.
header() { sed -n "s/^$1: *//Ip" "$work/head" | tr -d '\r' | head -n 1; }

while :; do
  : >"$work/body"
  status=$(curl -sS -X POST -D "$work/head" -o "$work/body" -w '%{http_code}' "$responder/claim?wait=30") || status=000
  case $status in
    200) ;;
    204) continue ;;               # nobody asked for 30 seconds
    000 | 5??) sleep 1; continue ;; # the hub is away or stopping: try again
    *) cat "$work/body" >&2; exit 1 ;;
  esac
  id=$(header Request-Id)
  echo "$(header Request-Method) $(header Request-Path) (attempt $(header Request-Attempt), $(header Request-Deadline) s left)"
  # The reply: the body as it came, of the type it came with. 404 means that the caller is gone, which is no error here.
  curl -sS -o /dev/null -X POST -H "Content-Type: $(header Content-Type)" -H 'Reply-Header-Served-By: echo.sh' \
    --data-binary "@$work/body" "$responder/requests/$id" || echo "the reply to $id was lost" >&2
done
