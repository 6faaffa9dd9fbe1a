#!/bin/bash
# Checks how polls count and end, exhaustively in every scenario, and that each mutant is caught.
set -uo pipefail
model=$(cd "$(dirname "$0")" && pwd)/poll.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# Prints how many errors spin finds under these definitions; nothing when it could not search.
errors() {
  rm -f pan pan.* ./*.trail
  spin -a "$@" "$model" >spin.log 2>&1 || { cat spin.log >&2; return; }
  gcc -O1 -w -DSAFETY -DMEMLIM=2000 -o pan pan.c || return
  ./pan -m1000000 >pan.log 2>&1
  grep -q 'max search depth too small\|out of memory\|reached -DMEMLIM' pan.log && return
  sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log
}

holds() {
  local found
  found=$(errors "$@")
  if [ "$found" = 0 ]; then
    echo "holds   $* ($(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log) states)"
  else
    echo "BROKEN  $* (errors: ${found:-no search})"
    grep -m 3 'pan:' pan.log
    failed=1
  fi
}

caught() {
  local found
  found=$(errors "$@")
  if [ "${found:-0}" -gt 0 ]; then
    echo "caught  $*"
  else
    echo "MISSED  $* (errors: ${found:-no search})"
    failed=1
  fi
}

for need in 1 2; do
  holds -DNEED=$need -DREADYS=3
  holds -DNEED=$need -DREADYS=3 -DTAKERS=1
  holds -DNEED=$need -DREADYS=2 -DTAKERS=2
  holds -DNEED=$need -DREADYS=2 -DEXPIRE
  holds -DNEED=$need -DREADYS=2 -DTAKERS=1 -DEXPIRE_B
  holds -DNEED=$need -DREADYS=1 -DEXPIRE -DEXPIRE_B
  holds -DNEED=$need -DREADYS=2 -DCANCEL
  holds -DNEED=$need -DREADYS=1 -DTAKERS=1 -DEXPIRE -DCANCEL
done
caught -DLAST_IS_COUNTED -DNEED=2 -DREADYS=2
caught -DNO_UNCOUNT -DNEED=2 -DREADYS=2 -DTAKERS=1
caught -DNO_WORK -DNEED=2 -DREADYS=2
caught -DNO_WORK -DNEED=2 -DREADYS=0 -DEXPIRE
exit $failed
