#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Four queues offered to a guest with two vCPUs: it takes one for each, and both are written and verified at once."""
from vioguest import Disk, Guest, main

SCRIPT = r"""
check two-queues test "$(ls /sys/block/vda/mq | wc -l)" = 2
check verify fio --ioengine=libaio --direct=1 --filename=/dev/vda --size=8m --rw=randwrite --bs=4k --iodepth=16 \
    --verify=crc32c --verify_fatal=1 --thread --cpus_allowed_policy=split --cpus_allowed=0,1 --group_reporting \
    --name=a --offset=0 --name=b --offset=8m --name=c --offset=16m --name=d --offset=24m
for cpu in 0 1; do
    check queue-$cpu-used sh -c "grep -E 'virtio[0-9]+-req\.$cpu' /proc/interrupts |
        awk '{ exit !(\$2 + \$3 > 100) }'"
done
"""


def test(folder):
    disk = Disk(folder, size=32 << 20, queues=4)
    with Guest(folder, [disk], SCRIPT, smp=2) as guest:
        guest.wait_end(90, ["two-queues", "verify", "queue-0-used", "queue-1-used"])
    disk.serve.stop()


main(test)
