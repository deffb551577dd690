#!/usr/bin/env bash
# Runs the example and checks what comes of it: three workers, one of which is killed, share a hundred jobs; one job
# cannot be done, becomes a dead letter, and is done once it was mended.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
start_hub
topic=pictures-$run group=resizers-$run dead=pictures-$run-dead
mkdir "$work/done"

quintet groups put "$group" "$topic" --start -1 --ack-wait 2s --max-deliver 3 --dead-letter "$dead" >"$work/put.out"
worker() { background "$1" quintet consume "$group" --member "$1" --credit 4 -- ./resize.sh "$work/done"; }
worker ada
ada=$pid
worker bob
worker cleo

jobs() {
  for ((i = 1; i <= 100; i++)); do echo "picture-$i 640"; done
  echo 'broken 0'
}
jobs | quintet pub "$topic" >"$work/pub.out"
# As if its machine were gone: what it held is handed to the others when the ack wait is over.
kill -KILL -- "-$ada" 2>/dev/null || true

n_done() { find "$work/done" -name 'picture-*' | wc -l; }
all_done() { [ "$(n_done)" -eq 100 ]; }
eventually 60 'all pictures are resized' all_done
same 'every picture is resized, though a worker was killed' 100 "$(n_done)"

has_letter() { curl -s "$QUINTET_URL/topics/$dead" | grep -q '^broken 0'; }
eventually 60 'what cannot be done becomes a dead letter' has_letter
same 'the dead letter is what was published' 'broken 0' "$(curl -s "$QUINTET_URL/topics/$dead")"

# The workers are mended, and the letters handed out again.
mended() { background "$1" quintet consume "$group" --member "$1" --count 1 -- sh -c "read -r name _ || true; touch '$work/done/'\"\$name\""; }
for started in "${in_background[@]}"; do [ "$started" = "$own_hub" ] || end "$started"; done
mended dora
dora=$pid
quintet redrive "$group" >"$work/redrive.out"
ends 60 'the redriven job' "$dora"
[ -e "$work/done/broken" ] || fail 'the redriven job was not done'
echo 'ok: the redriven job is done'
quintet groups delete "$group" >"$work/delete.out"
