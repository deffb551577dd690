#!/usr/bin/env bash
# One message arrives through all five patterns at once. Everyone below reads the same topic, each from the same
# cursor; nothing but the way of waiting differs.
set -euo pipefail
cd "$(dirname "$0")"
. ../lib.sh
start_hub

topic="news/$run"
url="$QUINTET_URL/topics/$topic"
text='the door is open'

# Short polling: where does the topic end now? (It does not exist yet, which does not matter.)
cursor=$(curl -sS -D - -o /dev/null "$url?offset=now" | sed -n 's/^stream-next-offset: *//Ip' | tr -d '\r')
echo "everyone reads on from $cursor"

# Long polling: one request that is answered when there is something.
background long_polling curl -sS --fail-with-body "$url?offset=$cursor&live=long-poll&timeout=30"
# Push: an event stream, and a WebSocket.
background push_events curl -sSN -H 'Accept: text/event-stream' "$url?offset=$cursor"
events=$pid
background push quintet sub "$topic" --via ws --since "$cursor" --count 1
# Publish/subscribe: everyone who subscribes to a filter that the topic matches.
background publish_subscribe quintet sub "news/#" --since "$cursor" --count 1
# Request-response: a service that publishes what it is asked to, and answers when it is done.
# shellcheck disable=SC2016 # it is for the inner shell
background announcer quintet respond "announce-$run" -- sh -c 'curl -sS --fail-with-body -H "Content-Type: text/plain" --data-binary @- "$0" && echo "announced"' "$url"

is_attended() { [ "$(curl -sS -o "$work/reply" -w '%{http_code}' -d "$text" "$QUINTET_URL/services/announce-$run")" != 503 ]; }
eventually 20 'the announcer attaches' is_attended
same 'request-response' announced "$(cat "$work/reply")"
same 'short polling' "$text" "$(curl -sS --fail-with-body "$url?offset=$cursor")"

arrived() { grep -q "$text" "$work/$1.out"; }
for pattern in long_polling push push_events publish_subscribe; do
  eventually 20 "the message arrives by $pattern" arrived "$pattern"
  echo "ok: $pattern"
done
same 'push brings it once' 1 "$(grep -c "^data: *$text" "$work/push_events.out")"
id=$(grep -B1 "^data: *$text" "$work/push_events.out" | sed -n 's/^id: *//p')
same 'and its cursor is the one that a poll goes on from' "$id" \
  "$(curl -sS -D - -o /dev/null "$url?offset=$cursor" | sed -n 's/^stream-next-offset: *//Ip' | tr -d '\r')"

# A closed topic ends its readers, in every pattern.
curl -sS --fail-with-body -X POST -H 'Stream-Closed: true' "$url"
ends 20 'the event stream' "$events"
same 'the event stream is told of the end' 1 "$(grep -c '^event: closed' "$work/push_events.out")"
