#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One vio process with a disk of each kind: a file through the page cache, past it and polled, on two threads, memory,
and an NBD server; each written and verified at once."""
import os
import shutil

from vioguest import Disk, Failure, Guest, Process, Skip, main, serve_together

SCRIPT = r"""
load() {
    fio --name=$1 --filename=/dev/$1 --ioengine=libaio --direct=1 --size=8m --rw=randwrite --bsrange=512-64k \
        --iodepth=16 --verify=crc32c --verify_fatal=1 --output=/tmp/$1.out
}
for disk in %(letters)s; do
    check load-$disk load vd$disk
done
check null-reads dd if=/dev/vd%(null)s of=/dev/null bs=1M count=8 iflag=direct
check null-writes dd if=/dev/zero of=/dev/vd%(null)s bs=1M count=8 oflag=direct
check all-at-once sh -c 'for disk in %(letters)s; do
    fio --name=$disk --filename=/dev/vd$disk --ioengine=libaio --direct=1 --size=4m --rw=randwrite --bs=4k \
        --iodepth=16 --verify=crc32c --verify_fatal=1 --output=/tmp/$disk.out || touch /tmp/bad &
done; wait; [ ! -e /tmp/bad ]'
"""


def test(folder):
    if not shutil.which("nbdkit"):
        raise Skip("nbdkit is not installed (scripts/install-deps.sh test)")
    nbd = os.path.join(folder, "nbd.sock")
    server = Process("nbdkit", ["nbdkit", "-f", "-U", nbd, "memory", "8M"], folder)
    size = 8 << 20
    disks = [
        Disk(folder, size=size, start=False),
        Disk(folder, size=size, start=False, keys="direct=on"),
        Disk(folder, size=size, start=False, keys="poll=auto"),
        Disk(folder, size=size, start=False, keys="poll=on"),
        Disk(folder, size=size, start=False, queues=2, keys="threads=2"),
        Disk(folder, start=False, source="ram=8M"),
        Disk(folder, start=False, source="nbd=nbd+unix:///?socket=" + nbd),
        Disk(folder, start=False, source="null=8M"),
    ]
    letters = "abcdefgh"[:len(disks)]
    serve = serve_together(folder, disks)
    with Guest(folder, disks, SCRIPT % {"letters": " ".join(letters[:-1]), "null": letters[-1]}) as guest:
        guest.wait_end(180, ["load-" + l for l in letters[:-1]] + ["null-reads", "null-writes", "all-at-once"])
    serve.stop()
    if not server.alive():
        raise Failure("nbdkit ended\n" + server.lines.tail())


main(test)
