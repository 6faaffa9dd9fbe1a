#!/bin/bash
# Looks the code over. Goes through all checks, prints what each found and took, and fails if any
# found something. Its argument is a build folder with a compile database.
# shellcheck disable=SC2317 # the checks are called by name
set -uo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit 1
buf=node_modules/.bin/buf
failed=0

check() {
  local name=$1 begin=$SECONDS
  shift
  if "$@"; then
    echo "ok   $name ($((SECONDS - begin)) s)"
  else
    echo "FAIL $name ($((SECONDS - begin)) s)"
    failed=1
  fi
}

# Files of the repository by pattern, those not added yet included.
sources() {
  git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
    [ ! -e "$file" ] || echo "$file"
  done
}

# Prints what it is given under a heading, and fails if there is anything.
none() {
  [ -z "$2" ] || { echo "$1:"; echo "$2"; return 1; }
}

code() { sources 'core/*' 'server/*' 'client/*' | grep -E '\.(h|cc)$'; }

# Those sources that the build folder knows how to compile.
compiled() {
  sed -n "s|^ *\"file\": \"$PWD/\(.*\)\",\{0,1\}$|\1|p" "$build/compile_commands.json" |
    grep -E '^(core|server|client)/' | sort -u
}

format() { sources '*.h' '*.cc' | xargs clang-format --dry-run -Werror; }

# A source that no target compiles is dead, and nothing else would notice.
built() { none "in no target" "$(code | grep '\.cc$' | sort | comm -23 - <(compiled))"; }

# The packages' headers share one include path, so that linking alone keeps nothing out of a layer.
layers() {
  none "includes across layers" "$(
    code | grep '^core/' | xargs grep -nE '^ *# *include' /dev/null |
      grep -vE 'include ("core/|"absl/|<[a-z_0-9]+>)'
    code | grep '^server/' | xargs grep -nE '^ *# *include "(client|tests)/' /dev/null
    code | grep '^client/' | xargs grep -nE '^ *# *include "(core|server|tests)/' /dev/null
  )"
}

# The rooms of the server, each after those that it may include.
rooms() {
  local room below='' found
  found=$(
    code | grep -vE '^server/(options|store|metrics|api|access|rpc|session|process)/' | grep '^server/'
    for room in options store metrics api access rpc session process; do
      below+="${below:+|}$room"
      code | grep "^server/$room/" | xargs grep -nE '^ *# *include "server/' /dev/null |
        grep -vE "include \"server/($below)/" || true
    done
  )
  none "includes across the server's rooms" "$found"
}

# Each atomic names the one that it pairs with: a tag that stands alone has lost its partner.
tags() {
  none "tags at one place only" "$(code | xargs grep -hoE 'MO\[[^]]*\]' | sort | uniq -u)"
}

lengths() {
  none "longer than 250 (headers) or 600 lines" "$(
    code | xargs wc -l | awk '$2 ~ /\.h$/ && $1 > 250 || $2 ~ /\.cc$/ && $1 > 600'
  )"
}

conformance() {
  none "statements that no test names" "$(
    while read -r number; do
      grep -rqE "(^|[^A-Za-z0-9])${number}_" tests/conformance tests/unit || echo "$number"
    done < <(grep -E '^C[0-9]+[a-z]*$' tests/conformance/statements.txt)
  )"
}

thread_safety() {
  code | grep '^core/.*\.cc$' | xargs -P "$(nproc)" -n 1 clang++ -std=c++20 -fsyntax-only -I. \
    -Wall -Wextra -Wshadow -Wconversion -Wthread-safety -Werror
}

protos() {
  "$buf" lint && "$buf" format -d --exit-code &&
    "$buf" format -d --exit-code server/store/record.proto
}

scripts() { { sources '*.sh'; echo .ci/run; } | xargs shellcheck; }

# The core's sources one by one, with the analyzer. Of the others most is the headers of gRPC and the
# standard library, which each check looks through again: several sources are looked at as one, and
# the analyzer, which would have to walk those headers too, stays out.
tidy_one() {
  local found more=()
  [[ $2 == core/* ]] || more=('--checks=-bugprone-suspicious-include,-clang-analyzer-*')
  found=$(clang-tidy -p "$1" --quiet --warnings-as-errors='*' "${more[@]}" "$2" 2>&1) && return
  grep -vE 'warnings (generated|treated as errors)|^Suppressed|^Use -header' <<<"$found"
  return 1
}
export -f tidy_one

# The preset's sources that stand for several, but for the core's and those that are generated.
joined() {
  sed -n "s|^ *\"file\": \"$PWD/\(build/lint/.*\)\",\{0,1\}$|\1|p" build/lint/compile_commands.json |
    grep -E '^build/lint/(server|client)/.*/unity_' | grep -v '/waitd_record\.dir/'
}

tidy() {
  cmake --preset lint >/dev/null || return 1
  cmake --build build/lint --target waitd_proto waitd_health_proto waitd_record >/dev/null || return 1
  [ -n "$(joined)" ] || return 1
  { joined | sed 's|^|build/lint |'; compiled | grep '^core/' | sed "s|^|$build |"; } |
    xargs -P "$(nproc)" -L 1 bash -c 'tidy_one "$@"' tidy
}

if [ -z "$(compiled)" ] || [ -z "$(code)" ]; then
  echo "found no sources to look at" >&2
  exit 1
fi

check "clang-format" format
check "every source is built" built
check "layers" layers
check "rooms of the server" rooms
check "memory order tags" tags
check "lengths" lengths
check "conformance statements have tests" conformance
check "thread safety" thread_safety
check "buf" protos
check "shellcheck" scripts
check "clang-tidy" tidy
exit $failed
