#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A disk of User Mode Linux: a file system on it, files that are the same after a remount and on the host, flush and discard;
and
vio killed under one of two disks: User Mode Linux, which never connects again, has that disk no more, and the rest goes on."""
import os
import time

from vioguest import Failure, main, say, sha256, write_pattern
from vionet import ping
from viouml import Uml, UmlDisk, UmlNic, Vio, needs, no_complaints

MIB = 32


def files(folder):
    disk = UmlDisk(folder, size=256 << 20, queues=2)
    source = os.path.join(folder, "source")
    write_pattern(source, MIB << 20)
    vio = Vio(folder, [disk])
    with Uml(folder, [disk]) as guest:
        guest.ready()
        size = int(guest.run("cat /sys/block/vda/size"))
        if size != (256 << 20) // 512:
            raise Failure("the disk has %d sectors" % size)
        guest.run("mkfs.ext4 -q -F /dev/vda && mkdir -p /tmp/mnt && mount -t ext4 -o discard /dev/vda /tmp/mnt", 60)
        guest.run("cp /tmp/host/source /tmp/mnt/file && sync && umount /tmp/mnt", 60)
        guest.run("echo 3 >/proc/sys/vm/drop_caches; mount -t ext4 -o discard /dev/vda /tmp/mnt")
        if guest.run("sha256sum /tmp/mnt/file", 60).split()[0] != sha256(source):
            raise Failure("the file is another one after a remount")
        held = os.stat(disk.image).st_blocks * 512
        guest.run("rm /tmp/mnt/file && sync && fstrim -v /tmp/mnt && umount /tmp/mnt && e2fsck -f -n /dev/vda", 60)
        left = os.stat(disk.image).st_blocks * 512
        if held < MIB << 20 or left > held - (MIB << 20) * 3 // 4:
            raise Failure("the image held %d bytes, and %d after the file was discarded" % (held, left))
        for queue in range(2):
            if vio.queue(disk, queue, "buffers") == 0 and int(guest.run("nproc")) > queue:
                raise Failure("queue %d was never used" % queue)
        say("ext4: %d MiB the same after a remount; discarded: the image went from %d to %d KiB" % (
            MIB, held >> 10, left >> 10))
        no_complaints(guest)
        guest.bye()
    vio.stop()


def killed(folder):
    """Of two disks and a card, each with a vio of its own, that of one disk dies."""
    disks = [UmlDisk(folder, size=64 << 20) for _ in range(2)]
    nics = [UmlNic(folder, "net,switch=a") for _ in range(2)]
    for disk in disks:
        write_pattern(disk.image, 64 << 20)
    vios = [Vio(folder, [d]) for d in disks] + [Vio(folder, nics)]
    with Uml(folder, disks + nics[:1], "192.0.2.1/24") as guest, Uml(folder, nics[1:], "192.0.2.2/24") as other:
        guest.ready()
        other.ready()
        ping(guest, "192.0.2.2")
        guest.start("for n in $(seq 10000); do dd if=/dev/vda of=/dev/null bs=1M iflag=direct 2>/dev/null || break; done; "
                    "echo reads: $n")
        time.sleep(1)
        vios[0].process.kill()
        _, said = guest.finish("dd", 60)
        reads = int(said.split("reads:")[1])
        if not 1 < reads < 10000 or guest.try_run("test -e /dev/vda")[0] == 0:
            raise Failure("vio died under a disk that was read, and the guest did not notice: %d reads" % reads)
        if guest.run("sha256sum /dev/vdb", 60).split()[0] != sha256(disks[1].image):
            raise Failure("the other disk is not what it was")
        say("vio killed under a disk: gone from the guest after %d reads of it; its other disk and card go on" % reads)
        ping(guest, "192.0.2.2")
        guest.bye()
        other.bye()
    for vio in vios[1:]:
        vio.stop()


def test(folder):
    needs("mkfs.ext4", "e2fsck", "fstrim")
    files(folder)
    killed(folder)


main(test)
