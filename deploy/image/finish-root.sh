#!/bin/sh
# finish-root.sh ROOT DEB: makes the root file system of the image of what mmdebstrap has unpacked.
set -eu
root=$1
dpkg-deb --extract "$2" "$root"
# What is the host's or the engine's, what package managers left, and what the container's command line
# and environment take the place of.
rm -rf "${root:?}/etc" "$root/tmp" \
  "$root/usr/lib/systemd" "$root/usr/share/man" "$root/usr/share/lintian" "$root/usr/share/gdb" \
  "$root/usr/share/gcc" "$root/usr/lib/x86_64-linux-gnu/gconv" "$root/var/cache" "$root/var/lib" \
  "$root/var/log"
# Of the documentation the licences, which have to come along.
find "$root/usr/share/doc" ! -name copyright ! -type d -delete
find "$root/usr/share/doc" -type d -empty -delete
# While this runs the host's devices are below dev, which stays as it is.
mkdir -p "$root/etc" "$root/proc" "$root/sys" "$root/run" "$root/var/lib/waitd"
mkdir -p "$root/tmp"
chmod 1777 "$root/tmp"
cat >"$root/etc/passwd" <<'EOF'
root:x:0:0:root:/root:/usr/sbin/nologin
waitd:x:65532:65532:waitd:/var/lib/waitd:/usr/sbin/nologin
EOF
printf 'root:x:0:\nwaitd:x:65532:\n' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 700 "$root/var/lib/waitd"
chown 65532:65532 "$root/var/lib/waitd"
