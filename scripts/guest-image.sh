#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes the guest that tests and demo boot, under build/guest (or $VIO_GUEST_DIR):
#   vmlinuz        Debian's cloud kernel, unpacked from its package and not installed
#   initramfs.img  busybox, the modules and tools below and what they link with
# Nothing is done where both are there. Prints what it does, once.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # depmod and the file system tools, for users who are not root
dir=${VIO_GUEST_DIR:-${BUILD:-build}/guest}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
init=$PWD/tests/guest/init
modules='virtio_pci virtio_blk ext4 crc32c_generic crc32c_intel virtio_net 8021q af_packet'
# busybox has a blkdiscard, an ip and a ping of its own that its shell prefers: scripts say /bin/blkdiscard
tools='mkfs.ext4 e2fsck resize2fs fio blkdiscard ip ping ethtool iperf3'

if [ ! -f "$dir/vmlinuz" ]; then
    meta=linux-image-cloud-amd64
    if ! apt-cache show $meta >/dev/null 2>&1; then
        echo "guest: refreshing the package lists to find Debian's kernel"
        if [ "$(id -u)" = 0 ]; then apt-get update; else sudo apt-get update; fi >/dev/null </dev/null
    fi
    package=$(apt-cache depends $meta 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
    [ -n "$package" ] || { echo "guest: no package $meta among apt's sources (this needs Debian 12 on amd64)" >&2; exit 1; }
    echo "guest: downloading and unpacking $package (a kernel; it is not installed)"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    if ! (cd "$work" && apt-get download "$package" </dev/null >log 2>&1); then
        tail -n 3 "$work/log" >&2
        echo "guest: apt-get could not download $package" >&2
        exit 1
    fi
    dpkg -x "$work"/*.deb "$work/x"
    rm -rf "$dir/modules"
    mv "$work/x/lib/modules" "$dir/modules"
    mv "$work"/x/boot/vmlinuz-* "$dir/vmlinuz"
    rm -f "$dir/initramfs.img"
fi

stamp=$(cat "$0" "$init" | cksum)
if [ -f "$dir/initramfs.img" ] && [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi

echo "guest: packing the initramfs"
root=$dir/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/mnt" "$root/tmp" "$root/etc"
release=$(ls "$dir/modules")
from=$dir/modules/$release
to=$root/lib/modules/$release
mkdir -p "$to"
cp "$from/modules.builtin" "$from/modules.builtin.modinfo" "$from/modules.order" "$to/"
depmod -b "$dir/depmod-root" "$release" 2>/dev/null || true
# depmod wants lib/modules below a root; what each module needs is then in modules.dep
mkdir -p "$dir/depmod-root/lib"
ln -sfn "$dir/modules" "$dir/depmod-root/lib/modules"
depmod -b "$dir/depmod-root" "$release"
for module in $modules; do
    line=$(grep "/$module\.ko:" "$from/modules.dep") || continue # built in, or not in this kernel
    for file in $(echo "$line" | tr -d :); do
        mkdir -p "$to/$(dirname "$file")"
        cp "$from/$file" "$to/$file"
    done
done
depmod -b "$root" "$release"

cp /bin/busybox "$root/bin/busybox"
for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
for tool in $tools; do
    path=$(command -v "$tool") ||
        { echo "guest: no $tool on this machine (scripts/install-deps.sh guest)" >&2; exit 1; }
    rm -f "$root/bin/$tool"
    cp -L "$path" "$root/bin/$tool"
    ldd "$path" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p' |
    while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        [ -e "$root$library" ] || cp -L "$library" "$root$library"
    done
done
cp /etc/mke2fs.conf "$root/etc/" 2>/dev/null || true
cp "$init" "$root/init"
chmod 755 "$root/init"
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --owner=0:0 2>/dev/null) >"$dir/initramfs.img.new"
mv "$dir/initramfs.img.new" "$dir/initramfs.img"
rm -rf "$root" "$dir/depmod-root"
echo "$stamp" >"$dir/stamp"
