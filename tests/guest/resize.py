#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The image grows while the guest has it mounted; vio looks again on SIGHUP; the guest sees the new size and uses it."""
import os
import signal

from vioguest import Disk, Guest, fsck, main, say

SCRIPT = r"""
check old-size test "$(blockdev --getsize64 /dev/vda)" = $((32 << 20))
check mkfs mkfs.ext4 -q /dev/vda
mount -t ext4 /dev/vda /mnt
dd if=/dev/urandom of=/mnt/before bs=1M count=8 2>/dev/null
sum=$(sha256sum </mnt/before)
say ready
n=0
while [ "$(blockdev --getsize64 /dev/vda)" = $((32 << 20)) ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
check new-size test "$(blockdev --getsize64 /dev/vda)" = $((64 << 20))
check grown resize2fs /dev/vda
check room dd if=/dev/urandom of=/mnt/after bs=1M count=40
check kept test "$(sha256sum </mnt/before)" = "$sum"
sum=$(sha256sum </mnt/after)
umount /mnt
mount -t ext4 /dev/vda /mnt
check written test "$(sha256sum </mnt/after)" = "$sum"
umount /mnt
"""


def test(folder):
    disk = Disk(folder, size=32 << 20)
    with Guest(folder, [disk], SCRIPT) as guest:
        guest.wait("ready", 60)
        os.truncate(disk.image, 64 << 20)
        os.kill(disk.serve.process.popen.pid, signal.SIGHUP)
        say("host: the image is 64 MiB now, and vio was told by SIGHUP")
        guest.wait_end(60, ["new-size", "grown", "room", "kept", "written"])
    disk.serve.stop()
    fsck(disk.image)


main(test)
