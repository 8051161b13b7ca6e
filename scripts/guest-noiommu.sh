#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes vfio.ko for the guest's kernel as Debian builds it, but with CONFIG_VFIO_NOIOMMU, which no kernel of Debian has: from
# Debian's own source and headers of that very kernel, unpacked and not installed. Nothing is done where it is there.
#
#   guest-noiommu.sh    build/guest/packages/vfio-noiommu/vfio.ko (or below $VIO_GUEST_DIR)
set -eu
cd "$(dirname "$0")/.."
dir=${VIO_GUEST_DIR:-${BUILD:-build}/guest}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
release=$(ls "$dir/modules" | head -n 1)
out=$dir/packages/vfio-noiommu
[ "$(cat "$out/release" 2>/dev/null)" != "$release" ] || exit 0

fail() {
    echo "guest: no vfio.ko without an IOMMU: $1" >&2
    exit 1
}

headers=linux-headers-$release
common=linux-headers-$(echo "$release" | sed 's/-[a-z]*-[a-z0-9]*$//')-common
kbuild=linux-kbuild-$(echo "$release" | cut -d. -f1,2)
source=linux-source-$(echo "$release" | cut -d. -f1,2)
version=$(apt-cache show "$headers" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
[ -n "$version" ] || fail "apt knows no $headers"
echo "guest: building vfio.ko with CONFIG_VFIO_NOIOMMU from $source $version (it is not installed)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
(cd "$work" && apt-get download "$headers=$version" "$common=$version" "$kbuild=$version" "$source=$version" </dev/null >log 2>&1) ||
    fail "apt-get could not download: $(tail -n 1 "$work/log")"
for package in "$work/$headers"_*.deb "$work/$common"_*.deb "$work/$kbuild"_*.deb; do
    dpkg -x "$package" "$work/root"
done
tree=$work/root/usr/src/$headers
sed -i "s|/usr/src|$work/root/usr/src|" "$tree/Makefile"
dpkg --fsys-tarfile "$work/$source"_*.deb | tar -xO "./usr/src/$source.tar.xz" |
    tar -C "$work" -xJ --wildcards "$source/drivers/vfio/*.[ch]"
cat >"$work/$source/drivers/vfio/Makefile" <<'END'
obj-m := vfio.o
vfio-y := vfio_main.o iova_bitmap.o container.o
ccflags-y := -DCONFIG_VFIO_NOIOMMU=1
END
make -C "$tree" M="$work/$source/drivers/vfio" modules </dev/null >"$work/log" 2>&1 || fail "$(grep -i error "$work/log" | head -n 1)"
mkdir -p "$out"
cp "$work/$source/drivers/vfio/vfio.ko" "$out/"
echo "$release" >"$out/release"
