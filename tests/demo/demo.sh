#!/bin/bash
# waitd at work: five short stories, each told as it happens, each step checked. The first argument
# is the folder with waitd and waitctl. Ends with 0 only if every step did what it says.
set -euo pipefail
bin=$(cd "$1" && pwd)
work=$(mktemp -d)
export WAITCTL_SERVER="unix:$work/waitd.sock"
PATH="$bin:$PATH"
server=

stop() {
  local code=$?
  [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
  rm -rf "$work"
  [ "$code" -eq 0 ] || echo "demo: a step did not do what it says (exit $code)" >&2
}
trap stop EXIT

say() { printf '\n== %s\n' "$*"; }
show() { printf '   $ %s\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }

# Runs a command, shows it and what it prints, and insists on its exit code.
run() {
  local wanted=$1 code=0
  shift
  show "$@"
  "$@" >"$work/out" 2>&1 || code=$?
  sed 's/^/     /' "$work/out"
  [ -s "$work/out" ] && [ -n "$(tail -c1 "$work/out")" ] && echo
  [ "$code" -eq "$wanted" ] || fail "'$*' ended with $code, not $wanted"
}

# Starts a command in the background; its output and exit code are looked at by `ended`.
declare -A started
start() {
  local name=$1
  shift
  show "$@" "&"
  "$@" >"$work/$name" 2>&1 &
  started[$name]=$!
}
ended() {
  local name=$1 wanted=$2 code=0
  wait "${started[$name]}" || code=$?
  sed "s/^/     $name: /" "$work/$name"
  [ -s "$work/$name" ] && [ -n "$(tail -c1 "$work/$name")" ] && echo
  echo "     $name ended with $code"
  [ "$code" -eq "$wanted" ] || fail "$name ended with $code, not $wanted"
}

# Waits until so many are parked on a name, and no longer than ten seconds.
parked() {
  local name=$1 count=$2
  for _ in $(seq 200); do
    [ "$(waitctl get "$name" -o json 2>/dev/null | grep -c '"client"')" -ge "$count" ] && return
    sleep 0.05
  done
  fail "$count waits on $name were not parked in time"
}

metric() { curl -sf "http://$metrics/metrics" | awk -v m="$1" '$1 == m { print $2 }'; }

# Starts waitd, on the data that is there.
serve() {
  local words=(--listen-address "$WAITCTL_SERVER" --metrics-address 127.0.0.1:0)
  words+=(--data-dir "$work/data")
  show waitd "${words[@]}" "&"
  waitd "${words[@]}" 2>"$work/log" &
  server=$!
  for _ in $(seq 200); do grep -q ' ready ' "$work/log" && break; sleep 0.05; done
  metrics=$(sed -n 's/.* metrics=\([^ ]*\).*/\1/p' "$work/log" | head -n 1)
  [ -n "$metrics" ] || { cat "$work/log"; fail "waitd did not start"; }
  sed 's/^/     /' "$work/log"
}

say "waitd starts"
serve
run 0 waitctl health
woken='waitd_ready_total{mode="read",effect="woke"}'
echo "     $woken $(metric "$woken")"
[ "$(metric "$woken")" = 0 ] || fail "a new server has woken somebody"

say "A build that two shells wait for: a latch, so that one ready wakes both"
start deploy waitctl wait build/42 --kind latch --timeout 30s
start notify waitctl wait build/42 --kind latch --timeout 30s
parked build/42 2
run 0 waitctl get build/42
run 0 waitctl ready build/42 --data 'build 42: 118 tests passed'
ended deploy 0
ended notify 0
echo "     who comes later finds the latch open:"
run 0 waitctl wait build/42

say "A build that fails, and is seen to fail"
start deploy2 waitctl wait build/43 --timeout 30s
parked build/43 1
run 0 waitctl ready build/43 --fail=3 -m '2 of 118 tests failed'
ended deploy2 8

say "A worker whose heartbeat extends its deadline, until it is killed"
start supervisor waitctl wait worker/7 --timeout 30s
parked worker/7 1
(while true; do waitctl deadline worker/7 1s --arm-or-extend >/dev/null; sleep 0.3; done) &
worker=$!
sleep 2
waitctl get worker/7 | grep -q '1 waiting' || fail "the supervisor gave up on a living worker"
echo "     two seconds later the supervisor still waits: the deadline has moved"
run 0 waitctl get worker/7
show "kill -9 the worker"
{ kill -9 "$worker" && wait "$worker"; } 2>/dev/null || true
ended supervisor 124

say "A rollout that twenty agents await at once"
for i in $(seq 20); do
  waitctl wait rollout/v2 --kind latch --timeout 30s >"$work/agent$i" 2>&1 &
  started[agent$i]=$!
done
parked rollout/v2 20
run 0 waitctl ls rollout/
run 0 waitctl ready rollout/v2 --data 'go v2'
for i in $(seq 20); do
  wait "${started[agent$i]}" || fail "agent $i did not get the signal"
  [ "$(cat "$work/agent$i")" = 'go v2' ] || fail "agent $i got something else"
done
echo "     all twenty have printed: go v2"

say "The metrics afterwards"
for name in "$woken" 'waitd_waits_total{mode="read",outcome="ready"}' \
  'waitd_timeouts_total{mode="read",cause="deadline"}' 'waitd_waiters{mode="read"}'; do
  echo "     $name $(metric "$name")"
done
[ "$(metric "$woken")" = 3 ] || fail "three readys woke somebody"
[ "$(metric 'waitd_waits_total{mode="read",outcome="ready"}')" = 24 ] ||
  fail "24 waits ended with READY"
[ "$(metric 'waitd_timeouts_total{mode="read",cause="deadline"}')" = 1 ] ||
  fail "one wait ended by its deadline"
[ "$(metric 'waitd_waiters{mode="read"}')" = 0 ] || fail "somebody is still parked"

say "An approval that outlives waitd: it is killed, and starts again on its data"
run 0 waitctl ready approval/9 --data 'yes, says Ada'
show "kill -9 waitd"
{ kill -9 "$server" && wait "$server"; } 2>/dev/null || true
serve
run 0 waitctl wait approval/9
[ "$(cat "$work/out")" = 'yes, says Ada' ] || fail "the approval is not what it was"
echo "     it is handed over once:"
run 124 waitctl wait approval/9 --timeout 0s

say "waitd drains and stops"
show "kill -TERM waitd"
kill -TERM "$server"
wait "$server" || fail "waitd ended with $?"
server=
tail -n 1 "$work/log" | sed 's/^/     /'
printf '\nEverything did what it says.\n'
