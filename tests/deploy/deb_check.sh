#!/bin/sh
# Runs in a scratch root, with waitd's package as /waitd.deb: installs it, uses it, installs it again,
# removes and purges it. What it finds goes to stdout, below headings, for test_deb.py to judge.
set -eu
heading() { echo "== $1"; }

# All that is there but for what the kernel shows and dpkg notes down.
everything() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/lib/dpkg \
    -o -path /var/log -o -path /var/lib/systemd/deb-systemd-helper-masked \) -prune \
    -o -printf '%y %m %u:%g %p %l\n' | sort
}

export DEBIAN_FRONTEND=noninteractive
everything >/tmp/before
dpkg -i /waitd.deb >/tmp/log 2>&1 || { cat /tmp/log >&2; exit 1; }
heading added
everything | comm -13 /tmp/before -
heading version
waitd --version
waitctl version
heading verified
dpkg -V waitd

heading served
mkdir -m 700 /tmp/state
chown nobody /tmp/state
(
  set -a
  # shellcheck disable=SC1091 # there in the root
  . /etc/default/waitd
  export STATE_DIRECTORY=/tmp/state WAITD_LISTEN_ADDRESS=unix:/tmp/state/socket
  export WAITD_METRICS_ADDRESS=127.0.0.1:0
  exec setpriv --reuid nobody --clear-groups --no-new-privs --bounding-set=-all waitd
) 2>/tmp/waitd.log &
waitd=$!
export WAITCTL_SERVER=unix:/tmp/state/socket
until grep -q ' ready ' /tmp/waitd.log; do
  kill -0 "$waitd" || { cat /tmp/waitd.log >&2; exit 1; }
  sleep 0.05
done
waitctl health waitd-readiness
waitctl ready hello --data world
waitctl wait hello --timeout 5s
echo
kill -TERM "$waitd"
wait "$waitd" && echo "ended with $?"

heading reinstalled
echo 'log-level = debug' >>/etc/waitd/waitd.conf
ln -s /lib/systemd/system/waitd-edge.service /etc/systemd/system/multi-user.target.wants/
dpkg -i /waitd.deb >/tmp/log 2>&1
tail -n 1 /etc/waitd/waitd.conf
[ -L /etc/systemd/system/multi-user.target.wants/waitd.service ] && echo enabled
[ -L /etc/systemd/system/multi-user.target.wants/waitd-edge.service ] && echo 'edge enabled'

heading 'left after removal'
mkdir -p /var/lib/private/waitd
ln -s private/waitd /var/lib/waitd
dpkg -r waitd >/tmp/log 2>&1
everything | comm -13 /tmp/before -
heading 'left after purge'
dpkg -P waitd >/tmp/log 2>&1
rmdir /var/lib/private
everything | comm -3 /tmp/before -
