#!/bin/sh
# The core and its peer, Go's network poller, in turn and in one run: five rounds each. Prints every
# figure in nanoseconds; compare within this run only.
set -eu
core_bench=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/go_peer_test.go" "$work/"
(cd "$work" && GO111MODULE=off GOFLAGS='' go test -c -o peer go_peer_test.go)
for round in 1 2 3 4 5; do
  echo "== round $round: Go"
  (cd "$work" && ./peer -test.bench . -test.cpu 1 -test.benchtime 0.5s | grep ns/op)
  echo "== round $round: waitd"
  "$core_bench" --benchmark_min_time=0.3 2>/dev/null | grep -E '^BM_'
done
