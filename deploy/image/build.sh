#!/bin/bash
# Makes the image without a daemon: build.sh DEB OUT leaves OUT/rootfs.tar, the root file system, and
# OUT/waitd-VERSION-oci.tar, the same as an OCI archive. The packages that waitd needs come from where
# this host's apt gets Debian's. With the same packages there the same DEB gives the same bytes, at the
# time that SOURCE_DATE_EPOCH says.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
deb=$(realpath "$1")
out=$(realpath -m "$2")
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
version=$(dpkg-deb -f "$deb" Version)
mkdir -p "$out"
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Only what is linked, unpacked: no shell, no package manager.
depends=$(dpkg-deb -f "$deb" Depends | sed 's/ ([^)]*)//g; s/ //g')
"$here/apt-sources.sh" | mmdebstrap --quiet --variant=extract --include="$depends" \
  --skip=cleanup,output/dev --extract-hook="'$here/finish-root.sh' \"\$1\" '$deb'" \
  bookworm "$out/rootfs.tar" -

# One configuration file: buildah loses images between a file and flags.
cat >"$work/storage.conf" <<EOF
[storage]
driver = "vfs"
graphroot = "$work/storage"
runroot = "$work/run"
EOF
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
export CONTAINERS_STORAGE_CONF="$work/storage.conf" BUILDAH_ISOLATION=chroot
# Where this user may not change owners, buildah needs a namespace in which it may.
buildah() {
  if [ "$(id -u)" -eq 0 ]; then command buildah "$@"; else command buildah unshare buildah "$@"; fi
}
container=$(buildah from scratch)
buildah add --quiet "$container" "$out/rootfs.tar" / >/dev/null
# As the Dockerfile has it; a health check is not of OCI.
buildah config --user 65532:65532 --entrypoint '["/usr/bin/waitd"]' \
  --cmd '--listen-address=0.0.0.0:7411 --insecure --metrics-address=0.0.0.0:9464' \
  --env PATH=/usr/bin --env STATE_DIRECTORY=/var/lib/waitd --workingdir / --port 7411 --port 9464 \
  --volume /var/lib/waitd --stop-signal SIGTERM \
  --label org.opencontainers.image.title=waitd \
  --label "org.opencontainers.image.description=Remote timed waits on named poll descriptors, over gRPC" \
  --label "org.opencontainers.image.version=$version" \
  --label org.opencontainers.image.licenses=Apache-2.0 "$container"
buildah commit --quiet --disable-compression=false --format oci --timestamp "$SOURCE_DATE_EPOCH" \
  --signature-policy "$work/policy.json" "$container" "oci:$work/oci:waitd:$version" >/dev/null
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --mode=a+rX \
  -C "$work/oci" -cf "$out/waitd-$version-oci.tar" .
echo "$out/waitd-$version-oci.tar"
