#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guest moves from one QEMU and vio to another QEMU and vio while it writes and verifies, there and back.

The two vio have one image in common; each writes only while its guest runs, so both take lock=off.
VIO_GUEST_MIGRATIONS: how many times there and back, 5 unless it says so."""
import os
import time

from vioguest import Disk, Failure, Guest, main, migrate, say

ROUNDS = int(os.environ.get("VIO_GUEST_MIGRATIONS", "5"))
SCRIPT = r"""
load() {
    # one pass after another until the host says that it is enough
    while [ ! -f /tmp/enough ]; do
        fio --name=$1 --filename=/dev/$1 --ioengine=libaio --direct=1 --size=16m --rw=randwrite --bsrange=4k-32k \
            --iodepth=16 --verify=crc32c --verify_fatal=1 --verify_backlog=64 --time_based --runtime=5 \
            --output=/tmp/$1.out || return 1
        echo $1 >>/tmp/passes
    done
}
load vda & a=$!
load vdb & b=$!
say loading
read enough
touch /tmp/enough
wait $a; code_a=$?
wait $b; code_b=$?
tail -n 4 /tmp/vda.out /tmp/vdb.out
check split test $code_a = 0
check packed test $code_b = 0
say passes: $(wc -l </tmp/passes)
"""


def test(folder):
    images = []
    for name in ("split.img", "packed.img"):
        images.append(os.path.join(folder, name))
        with open(images[-1], "wb") as out:
            out.truncate(16 << 20)

    def disks():
        return [Disk(folder, image=images[0], keys="lock=off", device="packed=off"),
                Disk(folder, image=images[1], keys="lock=off", device="packed=on")]

    guest = Guest(folder, disks(), SCRIPT, memory=384)
    guest.wait("loading", 60)
    time.sleep(1)
    for n in range(2 * ROUNDS):
        path = os.path.join(folder, "migration%d" % n)
        target = Guest(folder, disks(), SCRIPT, memory=384, incoming="unix:" + path)
        took, downtime = migrate(guest, target, path)
        guest.check()
        guest.qmp("quit")
        guest.process.popen.wait(20)
        guest.process.kill()
        for disk in guest.disks:
            disk.serve.stop()
        say("host: migration %d took %.1f s, the guest stood still for %d ms" % (n + 1, took, downtime))
        guest = target
        time.sleep(1)
    guest.type("enough")
    guest.wait_end(120, ["split", "packed"])
    for disk in guest.disks:
        disk.serve.stop()


main(test)
