#!/bin/bash
# Makes the root file systems of the example images, offline: busybox from Debian's static binary,
# the others by debootstrap from Debian packages. Writes target/images/NAME.tar and does nothing for
# one that is there already.
#
#   images/build.sh [NAME…]      (default: busybox python redis)
#
# `NAME.changes` beside this script holds the Dockerfile instructions for `orc import --change`.
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/images
mkdir -p "$out"

# What only costs space in an image, and device nodes, which the engine makes itself.
slim() {
    rm -rf "$1"/usr/share/{doc,man,locale,info}/* "$1"/var/lib/apt/lists/* \
        "$1"/var/cache/apt/* "$1"/var/log/* "$1"/dev/* "$1"/run/* "$1"/tmp/*
    rm -f "$1/etc/resolv.conf" "$1/etc/hostname"
}

busybox() {
    install -D /bin/busybox "$1/bin/busybox"
    for applet in $(/bin/busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
    done
    mkdir -p "$1"/{dev,etc,proc,root,sys,tmp,var/www,usr/bin,usr/sbin,sbin}
    chmod 1777 "$1/tmp"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
    echo '<h1>Hello from orc</h1>' >"$1/var/www/index.html"
}

debian() { # ROOT PACKAGES
    debootstrap --variant=minbase --include="$2" bookworm "$1" >"$1.log" 2>&1 || {
        tail -n 5 "$1.log" >&2
        return 1
    }
    slim "$1"
}

python() { debian "$1" python3-flask,python3-redis; }
redis() { debian "$1" redis-server; }

[ $# -gt 0 ] || set -- busybox python redis
for name in "$@"; do
    [ -e "$out/$name.tar" ] && continue
    echo "making image $name"
    root=$(mktemp -d)
    trap 'rm -rf "$root" "$root.log"' EXIT
    chmod 755 "$root"
    "$name" "$root"
    tar --create --numeric-owner --sort=name --xattrs --file "$out/.$name.tar" --directory "$root" .
    mv "$out/.$name.tar" "$out/$name.tar"
    rm -rf "$root" "$root.log"
done
