#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what vio needs on Debian 12, by group, and says what and why. Nothing is fetched and
# no package list is refreshed when all is there already.
#
#   install-deps.sh [--only-check] GROUP...      GROUP = build | test | guest | bench
#
# --only-check installs nothing: it names what is missing and fails.
set -eu

# package:what it is for
build='
gcc:compiles vio
libc6-dev:headers of the C library
meson:configures the build
ninja-build:runs the build
pkg-config:finds the libraries below
liburing-dev:asynchronous file I/O of the disk backends
libjansson-dev:the --json output
libnbd-dev:header for nbd=URI disks
libslirp-dev:header for user-mode networking
'
test='
clang:second compiler, sanitizers
libclang-rt-14-dev:sanitizer and fuzzer runtime of clang
llvm:llvm-symbolizer, for the names in what the sanitizers report
libcmocka-dev:framework of the tests in C
python3:protocol tests and the test runner
nbdkit:NBD server that the nbd=URI tests talk to
qemu-utils:qemu-nbd, the other NBD server they talk to
libxml2-utils:xmllint, which reads what vio xml prints
libdpdk-dev:driver of DPDK, which one test sends through
gcc-aarch64-linux-gnu:the freestanding part on that machine, how large it is, and the bare-metal program
gcc-riscv64-linux-gnu:the freestanding part on that machine, and the bare-metal program
gcc-s390x-linux-gnu:the freestanding part on a big-endian machine
libc6-dev-arm64-cross:C library there, for the tests in C
libc6-dev-s390x-cross:C library there, for the tests in C
qemu-user:runs both there
qemu-system-common:virtiofsd, the server of files that the file system driver is tested against
'
guest='
qemu-system-x86:the virtual machine that the guest tests boot
qemu-system-arm:the aarch64 machine of the bare-metal tests
qemu-system-misc:the riscv64 machine of the bare-metal tests
dosfstools:mkfs.fat, for the disks of the bare-metal tests
mtools:mcopy, which puts a file on them
python3:drives the guest tests
busybox-static:shell of the guest
cpio:packs the initramfs
kmod:depmod for the modules of the guest
e2fsprogs:mkfs.ext4 and fsck in the guest
fio:load and verification in the guest
mmdebstrap:makes the small Debian that one test boots
iproute2:ip, in the guest and for the network namespace of the tap
iputils-ping:ping in the guest
ethtool:offloads in the guest
iperf3:load on the network, in the guest and against the host
openssh-client:scp from one guest to another
make:builds vfio.ko without an IOMMU for the guest
xz-utils:unpacks the source of that
'
bench='
qemu-system-common:qemu-storage-daemon, which vio is measured against
fio:reference figures of files without virtio between
libdpdk-dev:driver and device of DPDK, which the network figures need
qemu-system-x86:the guest of the tap figures, and its own virtio-net beside vio
busybox-static:shell of that guest
cpio:packs its initramfs
kmod:depmod for its modules
iproute2:ip, in the guest and for the network namespace of the tap
iperf3:load on the tap, in the guest and against the host
ethtool:offloads in the guest
iputils-ping:part of the guest
'

only_check=no
packages=''
for arg in "$@"; do
    case $arg in
    --only-check) only_check=yes ;;
    build) packages="$packages$build" ;;
    test) packages="$packages$build$test" ;;
    guest) packages="$packages$build$guest" ;;
    bench) packages="$packages$build$bench" ;;
    *) echo "install-deps: no group '$arg'; there are: build test guest bench" >&2; exit 2 ;;
    esac
done
[ -n "$packages" ] || { echo "usage: install-deps.sh [--only-check] build|test|guest|bench ..." >&2; exit 2; }

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "install-deps: this is not Debian: install by hand what is missing of:" \
        $(echo "$packages" | sed -n 's/:.*//p' | sort -u) >&2
    exit 0
fi

missing=''
list=''
for line in $(echo "$packages" | sort -t: -k1,1 -u | tr ' ' '_'); do
    name=${line%%:*}
    status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
    case $status in
    installed) continue ;;
    esac
    missing="$missing $name"
    list="$list  $name: $(echo "${line#*:}" | tr '_' ' ')
"
done
[ -n "$missing" ] || exit 0

if [ "$only_check" = yes ]; then
    printf 'vio needs, and this machine lacks:\n%sInstall with: apt-get install --no-install-recommends%s\n' \
        "$list" "$missing" >&2
    exit 1
fi

as_root=''
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        printf 'vio needs root (or sudo) to install:%s\n' "$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
printf 'Installing with apt-get:\n%s' "$list"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $as_root apt-get update </dev/null &&
       $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
           $missing </dev/null; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "install-deps: apt-get could not install:$missing" >&2
    exit 1
fi
