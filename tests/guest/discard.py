#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Discarded and zeroed ranges read back as zeroes, their neighbours as before; the image gives up its blocks."""
import os

from vioguest import Disk, Failure, Guest, main, say

MIB = 1 << 20
SCRIPT = r"""
zeroes() { # OFFSET and LENGTH in MiB
    dd if=/dev/vda bs=1M skip=$1 count=$2 iflag=direct 2>/dev/null | tr -d '\000' | wc -c | grep -q '^0$'
}
ones() {
    dd if=/dev/vda bs=1M skip=$1 count=$2 iflag=direct 2>/dev/null | tr -d '\377' | wc -c | grep -q '^0$' &&
    dd if=/dev/vda bs=1M skip=$1 count=$2 iflag=direct 2>/dev/null | wc -c | grep -q "^$(($2 << 20))$"
}
check offered test $(cat /sys/block/vda/queue/discard_max_bytes) -gt 0
check zeroes-offered test $(cat /sys/block/vda/queue/write_zeroes_max_bytes) -gt 0
tr '\000' '\377' </dev/zero | dd of=/dev/vda bs=1M count=32 iflag=fullblock oflag=direct 2>/dev/null
check filled ones 0 32
check discard /bin/blkdiscard -o $((4 << 20)) -l $((8 << 20)) /dev/vda
check discard-zeroes zeroes 4 8
check write-zeroes /bin/blkdiscard -z -o $((16 << 20)) -l $((4 << 20)) /dev/vda
check zeroes zeroes 16 4
check before ones 0 4
check between ones 12 4
check after ones 20 12
check sector /bin/blkdiscard -z -o $((28 << 20)) -l 512 /dev/vda
check sector-zeroes sh -c "dd if=/dev/vda bs=512 skip=$((28 << 11)) count=1 iflag=direct 2>/dev/null |
    tr -d '\000' | wc -c | grep -q '^0$'"
check sector-beside sh -c "dd if=/dev/vda bs=512 skip=$(((28 << 11) + 1)) count=1 iflag=direct 2>/dev/null |
    tr -d '\377' | wc -c | grep -q '^0$'"
check refill sh -c "tr '\000' '\377' </dev/zero | dd of=/dev/vda bs=1M seek=4 count=1 iflag=fullblock oflag=direct"
check refilled ones 4 1
"""


def test(folder):
    disk = Disk(folder, size=32 * MIB)
    with Guest(folder, [disk], SCRIPT) as guest:
        guest.wait_end(60, ["discard-zeroes", "zeroes", "before", "between", "after", "sector-beside", "refilled"])
    disk.serve.stop()
    used = os.stat(disk.image).st_blocks * 512
    say("host: the image of %d MiB uses %.1f MiB" % (32, used / MIB))
    if used > 27 * MIB:
        raise Failure("7 MiB were discarded, and the image still uses %d of %d bytes" % (used, 32 * MIB))


main(test)
