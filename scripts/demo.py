#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guest part of `make demo`: one boot on one disk, told step by step. demo.sh comes before it."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "guest"))

from vioguest import Disk, Guest, accelerator, fsck, image, main, say  # noqa: E402

MIB = 32
SECONDS = 5
SCRIPT = r"""
check mkfs mkfs.ext4 -q -E lazy_itable_init=0 /dev/vda
mount -t ext4 /dev/vda /mnt
head -c $((%(mib)d << 20)) /dev/urandom | tee /mnt/data | sha256sum >/tmp/before
check write test "$(stat -c %%s /mnt/data)" = $((%(mib)d << 20))
umount /mnt
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 /dev/vda /mnt
check read sha256sum /mnt/data
check same test "$(sha256sum </mnt/data)" = "$(cat /tmp/before)"
umount /mnt
check fsck e2fsck -fn /dev/vda
mount -t ext4 /dev/vda /mnt
load() {
    fio --name=demo --filename=/mnt/data --size=%(mib)dm --ioengine=libaio --direct=1 --bs=4k --iodepth=32 \
        --time_based --runtime=%(seconds)d --minimal --output=/tmp/fio "$@"
}
for rw in randread randwrite; do
    check load-$rw load --rw=$rw
    say rate $rw $(awk -F';' '{ print $7 + $48, $8 + $49 }' /tmp/fio)
done
check verify fio --name=verify --filename=/mnt/data --size=16m --ioengine=libaio --direct=1 --rw=randwrite \
    --bsrange=4k-128k --iodepth=32 --verify=crc32c --verify_fatal=1
umount /mnt
""" % {"mib": MIB, "seconds": SECONDS}

TOLD = (
    ("ok mkfs", "guest: made an ext4 file system on /dev/vda, the disk that vio serves"),
    ("ok write", "guest: wrote a file of %d MiB of random bytes" % MIB),
    ("ok same", "guest: unmounted, dropped its caches and read it again: all %d bytes read back identical"
     % (MIB << 20)),
    ("ok fsck", "guest: fsck finds the file system clean"),
    ("ok verify", "guest: fio wrote 16 MiB in blocks of 4 to 128 KiB, 32 at a time, and verified each by checksum"),
)


def demo(folder):
    image()
    on_kvm = accelerator() == "kvm"
    disk = Disk(folder, size=256 << 20, queues=2)
    say("started: vio serve blk,file=disk.img,queues=2,vhost-user=disk.sock   (a new image of 256 MiB)")
    with Guest(folder, [disk], SCRIPT, quiet=True) as guest:
        say("booting Linux in QEMU with 2 vCPUs and that disk, " + (
            "on KVM" if on_kvm else "in software emulation (no KVM that runs Linux here)"))
        guest.wait("booted", 60)
        say("guest: Linux is up")
        for word, text in TOLD[:1]:
            guest.wait(word, 60)
            say(text)
        for line in disk.serve.process.lines.all:
            say("vio:   " + re.sub(r"^[\d:.]+ \w+ +", "", line.replace(folder + "/", "")))
        for word, text in TOLD[1:4]:
            guest.wait(word, 120)
            say(text)
        say("guest: loading the disk with fio, 4 KiB blocks at random, 32 at a time, %d s each way%s" % (
            SECONDS, "" if on_kvm else " (the emulated processor sets the pace)"))
        for rw, name in (("randread", "reads"), ("randwrite", "writes")):
            words = guest.wait("rate " + rw, SECONDS + 60).split()
            say("guest: %s: %s a second, %.0f MiB/s" % (name, format(int(words[3]), ","), int(words[2]) / 1024))
        guest.wait(TOLD[4][0], 60)
        say(TOLD[4][1])
        guest.wait_end(60)
    disk.serve.stop()
    fsck(disk.image)
    say("vio: ended cleanly when it was asked to. For more: build/vio serve help, and README.md")


main(demo)
