#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest with an IOMMU: the disk sees I/O virtual addresses only, and asks QEMU for each translation."""
from vioguest import Disk, Failure, Guest, fsck, main, say

SCRIPT = r"""
check enabled sh -c "dmesg | grep -q 'DMAR: IOMMU enabled'"
check mkfs mkfs.ext4 -q -E lazy_itable_init=0 /dev/vda
check mount mount -t ext4 /dev/vda /mnt
check write dd if=/dev/urandom of=/mnt/file bs=1M count=16
sha256sum /mnt/file >/tmp/sum
check unmount umount /mnt
echo 3 >/proc/sys/vm/drop_caches
check mount-again mount -t ext4 /dev/vda /mnt
check same sha256sum -c -s /tmp/sum
check unmount-again umount /mnt
"""


def test(folder):
    disk = Disk(folder, size=48 << 20, keys="iommu=on", device="iommu_platform=on,ats=on,disable-legacy=on")
    with Guest(folder, [disk], SCRIPT, machine=["-device", "intel-iommu,device-iotlb=on,caching-mode=on"],
               append="intel_iommu=on iommu.passthrough=0 iommu.strict=1") as guest:
        guest.wait_end(80, ["enabled", "mkfs", "same"])
    disk.serve.stop()
    if not any("ACCESS_PLATFORM" in line for line in disk.serve.process.lines.all):
        raise Failure("ACCESS_PLATFORM was not negotiated, so nothing was translated")
    say("host: ACCESS_PLATFORM was negotiated")
    fsck(disk.image)


main(test)
