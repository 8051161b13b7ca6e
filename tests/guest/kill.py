#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vio dies by SIGKILL again and again while the guest writes and verifies, on a split and on a packed ring, each with
a vio of its own. QEMU keeps the log of what was in flight; the next vio finishes it: nothing is lost.

VIO_GUEST_KILLS: how often, 20 unless it says so."""
import os
import re
import signal
import time

from vioguest import Disk, Failure, Guest, direct_images, main, say

KILLS = int(os.environ.get("VIO_GUEST_KILLS", "20"))
SCRIPT = r"""
load() {
    fio --name=$1 --filename=/dev/$1 --ioengine=libaio --direct=1 --size=16m --rw=randwrite --bsrange=4k-32k \
        --iodepth=16 --verify=crc32c --verify_fatal=1 --verify_backlog=64 --time_based --runtime=%d \
        --output=/tmp/$1.out
}
load vda & a=$!
load vdb & b=$!
say loading
wait $a; code_a=$?
wait $b; code_b=$?
tail -n 4 /tmp/vda.out /tmp/vdb.out
check split test $code_a = 0
check packed test $code_b = 0
say wrote $(sed -n 's/.*issued rwts: total=\([0-9]*\),\([0-9]*\),.*/\2 blocks and read \1/p' /tmp/vda.out /tmp/vdb.out)
"""


def test(folder):
    # past the page cache, so that requests take long enough to be in flight when the kill comes
    images = direct_images(folder, ("split.img", "packed.img"), 16 << 20)
    split = Disk(folder, image=images[0], reconnect=True, device="packed=off", keys="direct=on")
    packed = Disk(folder, image=images[1], reconnect=True, device="packed=on", keys="direct=on")
    said = {"split": "", "packed": ""}
    # QEMU tries to connect again after a second, so a round is that second and one of load
    with Guest(folder, [split, packed], SCRIPT % (KILLS * 2.3 + 4)) as guest:
        guest.wait("loading", 60)
        for n in range(KILLS):
            time.sleep(2.2)
            guest.check()
            for disk in (split, packed):
                if not disk.serve.process.alive():
                    raise Failure("vio ended by itself\n" + disk.serve.process.lines.tail())
                if n % 2:
                    # stand still until the guest has given all that it can, so that the kill finds much in flight
                    os.kill(disk.serve.process.popen.pid, signal.SIGSTOP)
                    time.sleep(0.1)
                    os.kill(disk.serve.process.popen.pid, signal.SIGCONT)
                    time.sleep(n * 2e-5)
                disk.serve.process.kill()
                said["split" if disk is split else "packed"] += disk.serve.log()
            for disk in (split, packed):
                disk.start()
        say("host: killed and restarted both vio %d times" % KILLS)
        guest.wait_end(KILLS * 2.3 + 90, ["split", "packed"])
    for disk, ring in ((split, "split"), (packed, "packed")):
        found = [int(n) for n in re.findall(r"(\d+) requests were in flight", said[ring] + disk.serve.log())]
        say("host: %s: %d of the %d new vio found requests in flight, %d in all" % (
            ring, len(found), KILLS, sum(found)))
        if not found:
            raise Failure("no kill ever hit a request in flight: this run shows nothing")
    split.serve.stop()
    packed.serve.stop()


main(test)
