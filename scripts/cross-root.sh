#!/bin/sh
# SPDX-License-Identifier: MIT
# What the tests are built with for another machine, below build/cross/ARCH (or $VIO_CROSS_DIR/ARCH), where
# ARCH is a Debian name (s390x, arm64):
#   root       the libraries, unpacked from that machine's packages and not installed
#   cross.ini  for meson: Debian's cross compiler, and qemu-user to run what it makes
# apt is asked with lists of its own: this machine does not learn of another architecture.
# Nothing is done where both are there.
set -eu
cd "$(dirname "$0")/.."
arch=$1
case $arch in
s390x) triplet=s390x-linux-gnu cpu=s390x emulator=qemu-s390x endian=big ;;
arm64) triplet=aarch64-linux-gnu cpu=aarch64 emulator=qemu-aarch64 endian=little ;;
*) echo "cross-root: '$arch': there are s390x and arm64" >&2; exit 2 ;;
esac
packages='libcmocka0 libcmocka-dev liburing2 liburing-dev libjansson4 libjansson-dev'
for tool in "$triplet-gcc" "$emulator"; do
    command -v "$tool" >/dev/null || { echo "cross-root: no $tool here (scripts/install-deps.sh test)" >&2; exit 1; }
done
dir=${VIO_CROSS_DIR:-${BUILD:-build}/cross}/$arch
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
stamp=$(cksum <"$0")
[ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ] || exit 0

echo "cross-root: downloading and unpacking for $arch: $packages (they are not installed)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
chmod 777 "$work/debs"
: >"$work/status"
set -- -q -o APT::Sandbox::User=root -o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" \
    -o "Dir::State::status=$work/status" -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
if ! { apt-get "$@" update && cd "$work/debs" && apt-get "$@" download $packages; } </dev/null >"$work/log" 2>&1; then
    tail -n 5 "$work/log" >&2
    echo "cross-root: apt-get could not download the packages of $arch" >&2
    exit 1
fi
rm -rf "$dir/root"
for package in "$work"/debs/*.deb; do
    dpkg -x "$package" "$dir/root"
done
libraries=$dir/root/usr/lib/$triplet
cat >"$dir/cross.ini" <<END
[binaries]
c = '$triplet-gcc'
ar = '$triplet-ar'
strip = '$triplet-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['$emulator', '-L', '/usr/$triplet', '-E', 'LD_LIBRARY_PATH=$libraries']
[properties]
sys_root = '$dir/root'
pkg_config_libdir = '$libraries/pkgconfig'
[host_machine]
system = 'linux'
cpu_family = '$cpu'
cpu = '$cpu'
endian = '$endian'
END
echo "$stamp" >"$dir/stamp"
