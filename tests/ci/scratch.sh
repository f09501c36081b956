#!/bin/sh
# A static program in a folder that has nothing else, as the images of the Dockerfile do: it runs a scenario, it is its own server in another process,
# and by the name of toxiproxy-server it answers as Toxiproxy. For root, who may change the root folder; others are given it by sudo.
#
#   tests/ci/scratch.sh PROGRAM
set -eu
program=$(realpath "$1")
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
as_root() { $sudo "$@"; }

if readelf --program-headers "$program" | grep -q INTERP; then
    echo "$program needs a loader: it is not static" >&2
    exit 1
fi
folder=$(mktemp -d)
proxy=""
clean() {
    [ -z "$proxy" ] || as_root kill "$proxy" 2>/dev/null || true
    as_root umount "$folder/proc" "$folder/dev" 2>/dev/null || true
    # Not what is mounted, should that still be there.
    as_root rm -rf --one-file-system "$folder"
}
trap clean EXIT
mkdir -p "$folder/tmp" "$folder/data" "$folder/proc" "$folder/dev"
# Every container has these.
as_root mount -t proc proc "$folder/proc"
as_root mount --bind /dev "$folder/dev"
cp "$program" "$folder/closestorm"
ln -s closestorm "$folder/toxiproxy-server"
chmod 755 "$folder"
chmod 1777 "$folder/tmp" "$folder/data"

within() { as_root chroot --userspec=65532:65532 "$folder" "$@"; }
within /closestorm --version
within /closestorm run default --clients 50 --duration 5s --out /data/run --quiet --allow-inconclusive
test -s "$folder/data/run/report.html"

# Testcontainers waits until /version answers, at this port; here at another, which is free.
# shellcheck disable=SC2086
exec_within() { exec $sudo chroot --userspec=65532:65532 "$folder" "$@"; }
exec_within /toxiproxy-server -host=127.0.0.1 -port=0 >"$folder/data/proxy.log" 2>&1 &
proxy=$!
for _ in $(seq 100); do
    api=$(sed -n 's|^control API on \(http://.*\)$|\1|p' "$folder/data/proxy.log")
    [ -z "$api" ] || break
    sleep 0.1
done
curl --silent --fail "$api/version"
printf '\n%s: runs without anything around it\n' "$program"
