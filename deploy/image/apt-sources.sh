#!/bin/sh
# Prints where this host's apt gets Debian's packages, as lines of a sources.list.
set -eu
list() {
  # shellcheck disable=SC2016 # apt fills these in
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | sort -u
}
sources=$(list)
[ -n "$sources" ] || {
  apt-get update -qq >&2
  sources=$(list)
}
[ -n "$sources" ] || {
  echo "apt has no source of Debian's packages" >&2
  exit 1
}
echo "$sources"
