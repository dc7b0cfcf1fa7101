#!/bin/bash
# Runs a command in a virtual machine with Debian's stock kernel, where control groups are version 2
# alone, as on the machines of most users. The machine sees the files of this one, and what it writes
# is gone with it.
#
#   tests/vm/run.sh COMMAND [ARGUMENT…]
#
# There is no hardware behind it (qemu's TCG), so programs take about ten times as long.
# `VM_MEMORY` (MiB, 6144) and `VM_SECONDS` (the longest time, 3600) may be set.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
vm=$project/target/vm
mkdir -p "$vm"

# The kernel of the distribution, unpacked and not installed.
if [ ! -e "$vm/kernel/modules.ready" ]; then
    rm -rf "$vm/kernel" "$vm"/*.deb
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
    (cd "$vm" && apt-get download -qq "$package" 2>/dev/null)
    dpkg-deb --extract "$vm"/linux-image-*.deb "$vm/kernel"
    rm "$vm"/*.deb
    depmod --basedir "$vm/kernel" "$(ls "$vm/kernel/lib/modules")"
    touch "$vm/kernel/modules.ready"
fi
release=$(ls "$vm/kernel/lib/modules")

# What finds the file systems of this machine: busybox, the modules for that, and `init`.
initial=$vm/initial
rm -rf "$initial"
mkdir -p "$initial"/{bin,lib/modules,proc,sys,dev,host,work,root}
cp /bin/busybox "$initial/bin/busybox"
cp "$here/init" "$initial/init"
echo "$vm/kernel/lib/modules" >"$initial/modules"
echo "$PWD" >"$initial/place"
for module in virtio_pci 9pnet_virtio 9p overlay; do
    modprobe --dirname "$vm/kernel" --set-version "$release" --show-depends "$module" 2>/dev/null |
        awk '$1 == "insmod" { print $2 }'
done | awk '!seen[$0]++' | while read -r file; do
    cp "$file" "$initial/lib/modules/"
    basename "$file"
done >"$initial/lib/modules/order"
{
    printf 'cd %q\n' "$PWD"
    printf 'export PATH=%q\n' "$PATH"
    printf '%q ' "$@"
} >"$initial/command"
(cd "$initial" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$vm/initial.gz"

# The last line of the console is the command's exit code.
timeout "${VM_SECONDS:-3600}" qemu-system-x86_64 \
    -accel tcg,thread=multi -cpu max -smp 2 -m "${VM_MEMORY:-6144}" \
    -nodefaults -no-reboot -display none -serial stdio -monitor none \
    -kernel "$vm/kernel/boot/vmlinuz-$release" -initrd "$vm/initial.gz" \
    -append 'console=ttyS0 quiet panic=-1 edd=off' \
    -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
    </dev/null | tee "$vm/console.log"
code=$(tr -d '\r' <"$vm/console.log" | sed -n 's/^the command ended with //p' | tail -n 1)
exit "${code:-125}"
