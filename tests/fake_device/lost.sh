#!/bin/bash
# lost.sh OUTPUT COMMAND...: runs a command on the fake device, which is lost at its
# first call, at a later one, and so on until the command ends before. Each time it has to exit with 1,
# print one sentence, and leave no OUTPUT.
set -u
output=$1
shift
export ED_BACKEND_DIR=$FAKE_LIBRARY FAKE_LOST=1
for ((; FAKE_LOST < 5000; FAKE_LOST += 1 + FAKE_LOST / 8)); do
    timeout 60 "$@" > said.out 2> said
    status=$?
    [ $status = 0 ] && break
    if [ $status != 1 ] || [ "$(wc -l < said)" != 1 ] || [ -e "$output" ] ||
        ! grep -q ': the fake device was lost$' said; then
        echo "lost at call $FAKE_LOST, status $status:" && cat said && ls -l "$output"
        exit 1
    fi
done
[ "$FAKE_LOST" -gt 20 ] || { echo "it ended before call $FAKE_LOST"; exit 1; }
[ "$FAKE_LOST" -lt 5000 ]
