#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guest reboots, once by itself and once by a reset from outside while it writes; vio stays, and what was
flushed before is there after."""
import time

from vioguest import Disk, Guest, fsck, main, say

SCRIPT = r"""
if ! mount -t ext4 /dev/vda /mnt 2>/dev/null; then
    check mkfs mkfs.ext4 -q /dev/vda
    mount -t ext4 /dev/vda /mnt
    dd if=/dev/urandom of=/mnt/data bs=1M count=8 2>/dev/null
    sha256sum </mnt/data >/mnt/sum
    umount /mnt
    say rebooting
    reboot -f
elif [ ! -f /mnt/second ]; then
    check after-reboot test "$(sha256sum </mnt/data)" = "$(cat /mnt/sum)"
    touch /mnt/second
    sync
    say loading
    fio --name=load --directory=/mnt --size=16m --ioengine=libaio --direct=1 --rw=randwrite --bs=4k --iodepth=32 \
        --time_based --runtime=60 >/dev/null 2>&1
    fail never-reset
else
    check after-reset test "$(sha256sum </mnt/data)" = "$(cat /mnt/sum)"
    umount /mnt
    check fsck e2fsck -fn /dev/vda
fi
"""


def test(folder):
    for ring in ("packed=off", "packed=on"):
        disk = Disk(folder, size=64 << 20, device=ring)
        with Guest(folder, [disk], SCRIPT, reboots=True) as guest:
            guest.wait("rebooting", 60)
            guest.wait("loading", 60)
            time.sleep(2)
            guest.qmp("system_reset")
            say("host: reset the guest in the middle of its writes (%s)" % ring)
            guest.wait("ok fsck", 60)
            guest.wait_end(30, ["mkfs", "after-reboot", "after-reset"])
        disk.serve.stop()
        fsck(disk.image)


main(test)
