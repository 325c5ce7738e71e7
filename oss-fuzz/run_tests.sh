#!/bin/bash -eu
# The tests of every layer in the configuration that build.sh has made. Nothing is fetched, and nothing outside of $WORK is written.

cd "$SRC/wakefuzz"
meson test -C "$WORK/build" --print-errorlogs --timeout-multiplier 4
