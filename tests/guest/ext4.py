#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A file system is made, filled to the last block, read back and checked; the host finds it clean too."""
from vioguest import Disk, Guest, fsck, main

SCRIPT = r"""
check mkfs mkfs.ext4 -q -E lazy_itable_init=0 /dev/vda
check mount mount -t ext4 /dev/vda /mnt
# Files of many sizes until there is no room left.
n=0
while dd if=/dev/urandom of=/mnt/file.$n bs=$((4096 + n * 1111)) count=$((1 + n % 40)) 2>/tmp/dd; do
    n=$((n + 1))
done
check full grep -q 'No space left' /tmp/dd
rm /mnt/file.$n
say wrote $n files
(cd /mnt && sha256sum file.* >/tmp/sums)
check unmount umount /mnt
echo 3 >/proc/sys/vm/drop_caches
check mount-again mount -t ext4 /dev/vda /mnt
check same-sums sh -c 'cd /mnt && sha256sum -c -s /tmp/sums'
check delete sh -c 'rm /mnt/file.*[02468]'
check unmount-again umount /mnt
check fsck e2fsck -fn /dev/vda
"""


def test(folder):
    disk = Disk(folder, size=48 << 20)
    with Guest(folder, [disk], SCRIPT) as guest:
        guest.wait_end(90, ["mkfs", "full", "same-sums", "fsck"])
    disk.serve.stop()
    fsck(disk.image)


main(test)
