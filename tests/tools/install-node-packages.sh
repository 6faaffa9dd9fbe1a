#!/bin/sh
# Installs what package-lock.json names into node_modules, if it is not there yet.
set -eu
cd "$(dirname "$0")/../.."
[ -e node_modules/.package-lock.json ] && [ node_modules/.package-lock.json -nt package-lock.json ] &&
  exit 0
command -v npm >/dev/null || tests/tools/install-packages.sh nodejs npm
npm ci --silent --no-audit --no-fund
touch node_modules/.package-lock.json
