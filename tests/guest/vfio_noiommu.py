#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same without an IOMMU: QEMU's own virtio-pci devices driven from user space by physical addresses. No kernel of Debian has
CONFIG_VFIO_NOIOMMU, so the guest gets Debian's vfio.ko built with it (scripts/guest-noiommu.sh)."""
import fcntl
import os
import shutil
import subprocess

from inside import cpio
from vioguest import GUEST_DIR, TOP, Failure, Guest, Skip, image, main, say
from viovfio import DRIVE, WORDS, Disk, Echo, address, card, check_host, listen, must_be_ok

RNG, NET = 0x14, 0x15


def module():
    """vfio.ko, built where it is not there."""
    image()
    if not shutil.which("apt-get") or not shutil.which("gcc-12") or not shutil.which("make"):
        raise Skip("vfio.ko with CONFIG_VFIO_NOIOMMU is built by Debian 12's apt, gcc-12 and make")
    with open(os.path.join(GUEST_DIR, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run([os.path.join(TOP, "scripts", "guest-noiommu.sh")], env=dict(os.environ, VIO_GUEST_DIR=GUEST_DIR),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    say(made.stdout.strip() or "vfio.ko with CONFIG_VFIO_NOIOMMU is there")
    if made.returncode:
        raise Skip(made.stdout.strip())
    return os.path.join(GUEST_DIR, "packages", "vfio-noiommu", "vfio.ko")


def disks(folder):
    return [Disk(folder, *way) for way in (
        ("packed", 4, 4, "disable-legacy=on,packed=on", "physical", "dma=unguarded vectors=5 packed=1 legacy=0"),
        ("split", 5, 4, "disable-legacy=on", "physical", "dma=unguarded vectors=5 packed=0 legacy=0"),
        ("platform", 6, 2, "disable-legacy=on,iommu_platform=on", "physical", "dma=unguarded vectors=3 packed=0 legacy=0"),
        ("legacy", 7, 2, "disable-modern=on,disable-legacy=off", "physical", "dma=unguarded vectors=3 packed=0 legacy=1"),
        ("intx", 8, 2, "disable-legacy=on,vectors=0", "physical", "dma=unguarded vectors=0 packed=0 legacy=0"),
        ("polled", 9, 2, "disable-legacy=on", "physical polled", "dma=unguarded vectors=0 packed=0 legacy=0"),
    )]


def script(ways):
    first = address(ways[0].slot)
    lines = ["insmod /vfio.ko && sh /modules.sh || fail modules no", WORDS,
             "expect='has no IOMMU: turn it on'; wrong not-enabled %s open" % first,
             "expect='no arena'; wrong no-huge-pages %s open physical" % first,
             "echo 24 >/proc/sys/vm/nr_hugepages",
             "echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"]
    lines += ["bind " + address(way.slot) for way in ways] + ["bind %s; bind %s" % (address(RNG), address(NET))]
    lines.append("expect='it has no IOMMU, so that memory for it must be physical'; wrong refused %s open" % first)
    lines += [way.drive() for way in ways]
    lines.append("drive rng %s rng physical; drive net %s net physical" % (address(RNG), address(NET)))
    lines.append(r"""
as='/bin/setpriv --reuid 1000 --regid 1000 --clear-groups'; expect='no arena: Operation not permitted'; ulimit -l 16384; wrong no-right %s open physical
""" % first)
    return "\n".join(lines)


def test(folder):
    vfio = module()
    ways, echo = disks(folder), Echo(folder)
    machine = ["-object", "rng-random,id=random,filename=/dev/urandom",
               "-device", "virtio-rng-pci,rng=random,addr=%x,disable-legacy=on" % RNG] + card(folder, NET, "disable-legacy=on,packed=on")
    for way in ways:
        machine += way.qemu()
    with Guest(folder, [], script(ways), machine=machine,
               extra=cpio(programs={"vfio_drive": DRIVE, "setpriv": "/usr/bin/setpriv"}, files={"vfio.ko": vfio}, modules=["vfio_pci"])) as guest:
        heard = listen(guest, 150)
    must_be_ok(guest, ["not-enabled", "no-huge-pages", "refused", "no-right"])
    check_host(ways, heard, echo, "dma=unguarded")
    if "dma=unguarded" not in heard["drove"]["rng"]:
        raise Failure("rng: %s" % heard["drove"]["rng"])


main(test)
