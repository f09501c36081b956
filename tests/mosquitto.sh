#!/bin/sh
# Eclipse Mosquitto, an MQTT broker that is not of Node's: `mosquitto.sh install` puts Debian's package below target/mosquitto, and
# `mosquitto.sh PORT` speaks MQTT 3.1.1 and 5 over ws there.
set -eu
cd "$(dirname "$0")/.."
place=$PWD/target/mosquitto
broker=$place/usr/sbin/mosquitto
export LD_LIBRARY_PATH="$place/usr/lib/$(uname -m)-linux-gnu:$place/lib/$(uname -m)-linux-gnu"

if [ "$1" = install ]; then
    if [ -x "$broker" ]; then exit 0; fi
    mkdir -p "$place/packages"
    cd "$place/packages"
    # What a Debian without it lacks; nothing is installed for the machine as a whole.
    set -- mosquitto libcjson1 libdlt2 libmosquitto1 libwrap0
    # The list of packages may be older than the packages.
    apt-get download -qq "$@" 2>/dev/null || { apt-get update -qq && apt-get download -qq "$@"; }
    for package in *.deb; do dpkg -x "$package" "$place"; done
    if ldd "$broker" | grep "not found" >&2; then
        rm -f "$broker"
        exit 1
    fi
    exit 0
fi

# A broker of 2.0.11 with a websockets listener only says that it could start none, and ends: it has a Unix socket beside it.
rm -f "$place/$1.sock"
printf 'listener 0 %s\nlistener %s 127.0.0.1\nprotocol websockets\nallow_anonymous true\nuser root\n' "$place/$1.sock" "$1" >"$place/$1.conf"
exec "$broker" -c "$place/$1.conf"
