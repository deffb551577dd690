# shellcheck shell=bash
# What the runs of the examples share: a hub of their own, things in the background, waiting for conditions, an end
# that leaves nothing behind. It is sourced by each run.sh, and is no part of what the examples teach.

set -euo pipefail

# A name for this run's topics and services, so that it can share a hub with others.
# shellcheck disable=SC2034  # the runs use it
run="$$-$(date +%s)"
work=$(mktemp -d)
in_background=()
pid=     # of what was started last
own_hub= # the pid of the hub, if it is this run's own

fail() {
  echo "failed: $*" >&2
  exit 1
}

# The beginning and the end of what somebody said.
excerpt() {
  if has_lines "$1" 21; then
    head -n 5 "$1"
    echo "[…]"
    tail -n 10 "$1"
  else
    cat "$1"
  fi
}

# Ends what was started, and removes what was written. If the run failed, it first shows what the others said.
clean_up() {
  local status=$? errors
  if [ "$status" -ne 0 ]; then
    for errors in "$work"/*.err; do
      [ -s "$errors" ] && { echo "--- $(basename "$errors" .err) said:"; excerpt "$errors"; } >&2
    done
  fi
  # The hub was started first, and ends last.
  local i
  for ((i = ${#in_background[@]} - 1; i >= 0; i--)); do
    end "${in_background[i]}"
  done
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# Ends a process and what it started; at once, if it takes too long.
end() {
  local tries=0
  kill -TERM -- "-$1" 2>/dev/null || return 0
  until gone "$1" || [ "$((tries += 1))" -gt 100 ]; do sleep 0.1; done
  kill -KILL -- "-$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# background NAME COMMAND…: runs it in a process group of its own. Its output is in $work/NAME.out and NAME.err.
background() {
  local name=$1
  shift
  : >"$work/$name.out"
  set -m
  "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
  set +m
  pid=$!
  in_background+=("$pid")
}

# eventually SECONDS WHAT COMMAND…: tries until the command succeeds.
eventually() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "$what: not in time"
    sleep 0.1
  done
}

# ends SECONDS WHAT PID: waits for something in the background to end, and fails if it failed.
ends() {
  local status=0
  eventually "$1" "$2 ends" gone "$3"
  wait "$3" 2>/dev/null || status=$?
  [ "$status" -eq 0 ] || fail "$2 ended with $status"
}

gone() { ! kill -0 "$1" 2>/dev/null; }

has_lines() { [ "$(wc -l <"$1")" -ge "$2" ]; }

# same WHAT EXPECTED ACTUAL
same() {
  [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
  echo "ok: $1"
}

# A hub on a free port with its data in the work folder, unless QUINTET_URL names one that runs already.
start_hub() {
  if [ -z "${QUINTET_URL:-}" ]; then
    command -v quintet >/dev/null || fail "there is no quintet in PATH; build it with cargo build --release -p quintet"
    serve 127.0.0.1:0
    QUINTET_URL=$(sed -n 's/^listening on //p' "$work/hub.out" | head -n 1)
  fi
  export QUINTET_URL
  eventually 20 "the hub at $QUINTET_URL answers" hub_is_healthy
}

serve() {
  background hub quintet serve --listen "$1" --data-dir "$work/data"
  own_hub=$pid
  eventually 20 "the hub starts" hub_listens "$pid"
}

# Ends the hub, and starts it again with what it had. One that others use, too, is left alone.
restart_hub() {
  [ -n "$own_hub" ] || return 0
  end "$own_hub"
  serve "${QUINTET_URL#http://}"
}

hub_listens() {
  ! gone "$1" || fail "the hub did not start"
  grep -q '^listening on http' "$work/hub.out"
}

hub_is_healthy() { curl -sf -o /dev/null "$QUINTET_URL/health"; }
