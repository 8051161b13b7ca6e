#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A disk with ro=on is read and mounted, writing to it is refused, and its image stays as it was."""
import os
import stat
import subprocess

from vioguest import Disk, Failure, Guest, main, say, sha256

SCRIPT = r"""
check is-read-only test "$(blockdev --getro /dev/vda)" = 1
check write-refused sh -c '! dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct'
check still-refused sh -c 'blockdev --setrw /dev/vda; ! dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct conv=fsync'
check discard-refused sh -c '! /bin/blkdiscard /dev/vda'
check mount mount -t ext4 -o ro,noload /dev/vda /mnt
check content grep -q 'as it was' /mnt/hello
check no-new-file sh -c '! touch /mnt/new'
umount /mnt
"""


def test(folder):
    image = os.path.join(folder, "ro.img")
    tree = os.path.join(folder, "tree")
    os.mkdir(tree)
    with open(os.path.join(tree, "hello"), "w") as hello:
        hello.write("as it was\n")
    with open(image, "wb") as out:
        out.truncate(16 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-d", tree, image], check=True, stdin=subprocess.DEVNULL)
    os.chmod(image, stat.S_IRUSR)
    before = sha256(image)
    disk = Disk(folder, image=image, keys="ro=on")
    with Guest(folder, [disk], SCRIPT) as guest:
        # the guest's kernel reports the writes it is refused: those lines are what is wanted here
        guest.kernel_errors_expected = True
        guest.wait_end(60, ["is-read-only", "write-refused", "still-refused", "content"])
    disk.serve.stop()
    if sha256(image) != before:
        raise Failure("the image changed")
    say("host: the image is as it was")


main(test)
