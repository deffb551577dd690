#!/usr/bin/env bash
# Runs the example and checks what comes of it: one upload that succeeds, one whose sender goes away.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
start_hub
export POLL_SECONDS=0.05

background server node server.mjs 0 "$work/uploads"
eventually 10 'the upload server starts' grep -q '^listening on ' "$work/server.out"
files="$(sed -n 's/^listening on //p' "$work/server.out")/files"
size=1500000
head -c "$size" /dev/urandom >"$work/file"

# Sends half of the file, does what it is told, and sends the other half.
send() {
  local id=$1
  shift
  { head -c $((size / 2)) "$work/file" && "$@" && tail -c $((size / 2)) "$work/file"; } |
    curl -sS --fail-with-body --limit-rate 2M -H "Content-Length: $size" -H 'Transfer-Encoding:' -T - "$files/$id"
}
is_seen() { grep -q '"state":"receiving"' "$work/$1.out"; }

id="good-$run"
background follow ./follow.sh "$id"
follow=$pid
eventually 10 'polls without news are answered with 304' grep -q '^nothing new$' "$work/follow.out"
echo 'ok: polls without news are answered with 304'
background upload send "$id" eventually 20 'progress is seen' is_seen follow
ends 30 'the upload' "$pid"
echo 'ok: progress is seen while the file is on its way'
ends 10 'the follower' "$follow"

received=$(grep -o '"received":[0-9]*' "$work/follow.out" | cut -d: -f2)
same 'progress only grows' "$(sort -n <<<"$received")" "$received"
[ "$(head -n 1 <<<"$received")" -le $((size / 2)) ] || fail "more was counted than had been sent: $received"
same 'all bytes are counted' "$size" "$(tail -n 1 <<<"$received")"
sha256=$(sha256sum <"$work/file" | cut -d' ' -f1)
grep -q "\"state\":\"done\".*\"sha256\":\"$sha256\"" "$work/follow.out" || fail 'the outcome is not the file'
cmp -s "$work/file" "$work/uploads/$id" || fail 'the stored file differs'
echo 'ok: the file that was stored is the file that was sent'

id="lost-$run"
background lost send "$id" sleep 60
lost=$pid
background follow-lost ./follow.sh "$id"
follow=$pid
eventually 20 'progress is seen' is_seen follow-lost
end "$lost"
eventually 10 'the follower ends' gone "$follow"
grep -q '"state":"failed"' "$work/follow-lost.out" || fail 'the lost upload was not reported as failed'
[ ! -e "$work/uploads/$id" ] || fail 'half a file was left behind'
echo 'ok: an upload whose sender is gone is reported as failed, and leaves nothing behind'
