#!/usr/bin/env bash
# Runs the example and checks what comes of it: two clients wait, one since before the upload began.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
start_hub

background server node ../short_polling/server.mjs 0 "$work/uploads"
eventually 10 'the upload server starts' grep -q '^listening on ' "$work/server.out"
files="$(sed -n 's/^listening on //p' "$work/server.out")/files"
size=1000000
head -c "$size" /dev/urandom >"$work/file"
sha256=$(sha256sum <"$work/file" | cut -d' ' -f1)

# Sends half of the file, waits until it may go on, and sends the other half.
send() {
  { head -c $((size / 2)) "$work/file" && eventually 20 'both wait' test -e "$work/go" && tail -c $((size / 2)) "$work/file"; } |
    curl -sS --fail-with-body --limit-rate 2M -H "Content-Length: $size" -H 'Transfer-Encoding:' -T - "$files/$1"
}
is_under_way() { curl -sS "$QUINTET_URL/topics/uploads/$1?offset=-1" | grep -q '"state":"receiving"'; }

id="file-$run"
background early ./await.sh "$id"
early=$pid
background upload send "$id"
upload=$pid
eventually 20 'the upload is under way' is_under_way "$id"
background late ./await.sh "$id"
late=$pid
gone "$early" && fail 'the first client did not wait'
touch "$work/go"
ends 30 'the upload' "$upload"
ends 10 "the early client" "$early"
ends 10 "the late client" "$late"
for client in early late; do
  grep -q "\"state\":\"done\".*\"sha256\":\"$sha256\"" "$work/$client.out" || fail "$client got another outcome"
  grep -q '^requests made: 1$' "$work/$client.out" || fail "$client needed more than one request"
  echo "ok: the $client client learnt of the end by one request"
done
curl -sS -o /dev/null -D - "$QUINTET_URL/topics/uploads/$id/done?offset=now&live=long-poll" | tr -d '\r' >"$work/end"
grep -q '^HTTP/1.1 204' "$work/end" || fail "the end of a closed topic: $(cat "$work/end")"
grep -qi '^stream-closed: true' "$work/end" || fail "the end of a closed topic: $(cat "$work/end")"
echo 'ok: nobody waits at the end of a closed topic'
