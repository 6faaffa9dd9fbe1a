#!/bin/bash
# Looks the code over: form, layers, tags, lengths, clang-tidy, protos, scripts. Goes through all of it,
# then fails if anything was found.
set -uo pipefail
build=$1
cd "$(dirname "$0")/../.." || exit 1
failed=0
check() {
  local name=$1
  shift
  local begin=$SECONDS
  if "$@"; then
    echo "ok   $name ($((SECONDS - begin)) s)"
  else
    echo "FAIL $name"
    failed=1
  fi
}

sources() { git ls-files --cached --others --exclude-standard "$@"; }

format() { sources '*.h' '*.cc' | xargs clang-format --dry-run -Werror; }

# Debian's headers share one include path, so that linking alone keeps nothing out of the core.
layers() {
  local found
  found=$(grep -nE '^#include' core/*.h core/*.cc |
    grep -vE '#include ("core/|"absl/|<[a-z_0-9]+>)')
  found+=$(grep -nE '^#include "(server|client|tests)/' server/*.* client/*/* |
    grep -vE '^server/[^:]*:[0-9]+:#include "server/|^client/[^:]*:[0-9]+:#include "client/')
  [ -z "$found" ] || { echo "$found"; return 1; }
}

# Each atomic names the one that it pairs with: a tag that stands alone has lost its partner.
tags() {
  local alone
  alone=$(grep -rhoE 'MO\[[a-z-]+\]' core server client | sort | uniq -c | awk '$1 < 2 {print $2}')
  [ -z "$alone" ] || { echo "tags without a partner: $alone"; return 1; }
}

lengths() {
  local long
  long=$(sources 'core/*' 'server/*' 'client/*' | grep -E '\.(h|cc)$' | while read -r file; do
    lines=$(wc -l <"$file")
    case $file in *.h) most=250 ;; *) most=600 ;; esac
    [ "$lines" -le "$most" ] || echo "$file: $lines lines, at most $most"
  done)
  [ -z "$long" ] || { echo "$long"; return 1; }
}

thread_safety() {
  local file
  for file in core/*.cc; do
    clang++ -std=c++20 -fsyntax-only -I. -Wall -Wextra -Wthread-safety -Werror "$file" || return 1
  done
}

tidy() {
  cmake --build "$build" --target waitd_proto waitd_health_proto >/dev/null || return 1
  local log
  log=$(mktemp)
  if sources 'core/*.cc' 'server/*.cc' 'client/*.cc' |
    xargs -P "$(nproc)" -n 1 clang-tidy -p "$build" --quiet --warnings-as-errors='*' \
      >"$log" 2>/dev/null; then
    rm "$log"
  else
    grep -E 'warning|error' "$log" | sort -u
    return 1
  fi
}

protos() { npx --no-install buf lint && npx --no-install buf format -d --exit-code; }

scripts() { { sources '*.sh'; echo .ci/run; } | xargs shellcheck; }

conformance() {
  local number missing=0
  for number in $(sed -n 's/^\(C[0-9]*[a-z]*\)$/\1/p' tests/conformance/statements.txt); do
    grep -rqE "(^|[^A-Za-z0-9])${number}_" tests/conformance tests/unit ||
      { echo "no test names $number"; missing=1; }
  done
  return $missing
}

check "clang-format" format
check "layers" layers
check "memory order tags" tags
check "lengths" lengths
check "conformance statements have tests" conformance
check "thread safety" thread_safety
check "buf" protos
check "shellcheck" scripts
check "clang-tidy" tidy
exit $failed
