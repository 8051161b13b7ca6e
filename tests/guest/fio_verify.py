#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fio writes blocks of 512 bytes to 128 KiB, many at once and in any order, and reads each back by its checksum."""
from vioguest import Disk, Guest, main

SCRIPT = r"""
run() {
    name=$1
    shift
    check $name fio --name=$name --filename=/dev/vda --ioengine=libaio --direct=1 --size=32m \
        --verify=crc32c --verify_fatal=1 --verify_dump=0 "$@"
}
run random-mixed --rw=randwrite --bsrange=512-128k --bs_unaligned=0 --blockalign=512 --iodepth=32
run backlog --rw=randwrite --bs=4k --iodepth=64 --verify_backlog=256 --loops=2 --verify_async=1
run sequential --rw=write --bssplit=512/10:4k/40:64k/40:1m/10 --iodepth=8
run mixed-readers --rw=randrw --rwmixread=40 --bs=4k --iodepth=32 --fsync=64
"""


def test(folder):
    disk = Disk(folder, size=32 << 20)
    with Guest(folder, [disk], SCRIPT) as guest:
        guest.wait_end(180, ["random-mixed", "backlog", "sequential", "mixed-readers"])
    disk.serve.stop()


main(test)
