#!/bin/sh
# Runs each fuzz target of a build folder for so many seconds.
set -eu
build=$1
seconds=$2
for target in "$build"/tests/fuzz/fuzz_*; do
  [ -x "$target" ] || continue
  echo "== $(basename "$target")"
  corpus=$(mktemp -d)
  "$target" -max_total_time="$seconds" -print_final_stats=0 -verbosity=0 "$corpus"
  rm -rf "$corpus"
done
