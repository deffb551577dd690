#!/usr/bin/env bash
# resize.sh FOLDER: one job, run by `quintet consume`. What is to be done is on standard input, "NAME WIDTH"; which try it
# is, in QUINTET_COUNT. Exit 0 acknowledges it; anything else gives it back, to be tried again, by whoever is free.
set -euo pipefail
folder=$1
read -r name width || [ -n "$width" ] # a message need not end in a newline

# A picture that nobody can resize: after the group's max-deliver tries it becomes a dead letter.
if [ "$width" -le 0 ]; then
  echo "try $QUINTET_COUNT of $name: a picture $width wide?" >&2
  exit 1
fi

# The effect happens once, however often the job is run: it is written beside and moved into place.
echo "$name, $width wide" >"$folder/.$name.$$"
mv "$folder/.$name.$$" "$folder/$name"
