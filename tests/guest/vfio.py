#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""QEMU's own virtio-pci devices, driven from user space in a guest by vio's drivers through VFIO, behind an IOMMU: disks,
a network card, random bytes; modern and legacy, split and packed, MSI-X and INTx; by a user without rights; wrong use; a device
taken away."""
from inside import cpio
from vioguest import Failure, Guest, main
from viovfio import DRIVE, WORDS, Disk, Echo, address, card, check_host, listen, must_be_ok

MODULES = ["vfio_iommu_type1", "vfio_pci"]
ON = "iommu_platform=on,ats=on,disable-legacy=on"
RNG, NET, TAKEN, KEPT, TWINS = 0x14, 0x15, 0x16, 0x17, 0x18


def disks(folder):
    """One for each way."""
    return [Disk(folder, *way) for way in (
        ("packed", 4, 4, ON + ",packed=on", "", "dma=iommu vectors=5 packed=1 legacy=0"),
        ("split", 5, 4, ON + ",packed=on", "split", "dma=iommu vectors=5 packed=0 legacy=0"),
        ("bypass", 6, 2, "disable-legacy=on,packed=on", "physical", "dma=identity vectors=3 packed=1 legacy=0"),
        ("transitional", 7, 2, "disable-legacy=off", "physical", "dma=identity vectors=3 packed=0 legacy=0"),
        ("legacy", 8, 2, "disable-modern=on,disable-legacy=off", "physical", "dma=identity vectors=3 packed=0 legacy=1"),
        ("legacy_asked", 9, 1, "disable-legacy=off", "physical legacy", "dma=identity vectors=2 packed=0 legacy=1"),
        ("one_vector", 10, 2, ON + ",vectors=1", "", "dma=iommu vectors=1 packed=0 legacy=0"),
        ("intx", 11, 2, ON + ",vectors=0", "", "dma=iommu vectors=0 packed=0 legacy=0"),
        ("legacy_intx", 12, 2, "disable-modern=on,disable-legacy=off,vectors=0", "physical",
         "dma=identity vectors=0 packed=0 legacy=1"),
        ("polled", 13, 2, ON, "polled", "dma=iommu vectors=0 packed=0 legacy=0"),
    )]


def script(ways):
    rng, net, taken, kept, twin = (address(slot) for slot in (RNG, NET, TAKEN, KEPT, TWINS))
    lines = ["sh /modules.sh || fail modules no",
             "check iommu sh -c \"dmesg | grep -q 'DMAR: IOMMU enabled'\"",
             "echo 24 >/proc/sys/vm/nr_hugepages", WORDS,
             "expect='no PCI function'; wrong absent 0000:00:1e.7 open",
             "expect='no address'; wrong nonsense 00:1e open",
             "expect='is no virtio device'; wrong foreign 0000:00:1f.0 open",
             "expect='is driven by virtio-pci: cd /sys/bus/pci/devices/%s'; wrong bound %s open" % (kept, kept),
             "echo %s >/sys/bus/pci/drivers/virtio-pci/unbind; expect='has no driver'; wrong unbound %s open" % (kept, kept)]
    lines += ["bind " + address(way.slot) for way in ways] + ["bind " + other for other in (rng, net, taken)]
    # the two functions of one slot are one group
    lines.append("bind %s; expect='0000:00:18.1 (virtio-pci)'; wrong not-viable %s open" % (twin, twin))
    # without a physical arena this disk would be given addresses that are other memory of the guest's
    lines.append("expect=ACCESS_PLATFORM; wrong bypass-refused %s open" % address(6))
    lines += [way.drive() for way in ways]
    lines.append("drive rng %s rng; drive net %s net" % (rng, net))
    lines.append(r"""
as='/bin/setpriv --reuid 1000 --regid 1000 --clear-groups'
expect='no right to open /dev/vfio/'; wrong no-right %(rng)s open
chown 1000 $(readlink /sys/bus/pci/devices/%(rng)s/iommu_group | sed 's,.*/,/dev/vfio/,')
ulimit -l 64; expect='the limit is 64 KiB (ulimit -l)'; wrong no-lock %(rng)s open
ulimit -l 16384; drive user %(rng)s rng split
as=
# one user at a time
vfio_drive %(taken)s gone >/tmp/gone 2>&1 &
until grep -q ready /tmp/gone; do sleep 0.1; done
expect='is in use'; wrong in-use %(taken)s open
# the kernel waits for the program, which notices, and lets go
echo 1 >/sys/bus/pci/devices/%(taken)s/remove
wait $!
say "gone $(grep why= /tmp/gone)"
check removed [ ! -e /sys/bus/pci/devices/%(taken)s ]
if dmesg | grep -iE "dmar.*fault"; then fail faults "the IOMMU stopped DMA: $(dmesg | grep -iE 'dmar.*fault' | tail -n 1)"; fi
""" % {"rng": rng, "taken": taken})
    return "\n".join(lines)


def machine(folder, ways):
    args = ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on"]
    others = [Disk(folder, name, slot, 1, ON) for name, slot in (("taken", TAKEN), ("kept", KEPT))]
    for disk in ways + others:
        args += disk.qemu()
    args += ["-object", "rng-random,id=random,filename=/dev/urandom"]
    for where in ("addr=%x" % RNG, "addr=%x.0,multifunction=on" % TWINS, "addr=%x.1" % TWINS):
        args += ["-device", "virtio-rng-pci,rng=random,packed=on,%s,%s" % (where, ON)]
    return args + card(folder, NET, "packed=on," + ON)


def test(folder):
    ways, echo = disks(folder), Echo(folder)
    with Guest(folder, [], script(ways), machine=machine(folder, ways), append="intel_iommu=on iommu.passthrough=0",
               extra=cpio(programs={"vfio_drive": DRIVE, "setpriv": "/usr/bin/setpriv"}, modules=MODULES)) as guest:
        heard = listen(guest, 200)
    must_be_ok(guest, ["iommu", "absent", "nonsense", "foreign", "bound", "unbound", "not-viable", "bypass-refused", "no-right", "no-lock",
                       "in-use", "removed"])
    check_host(ways, heard, echo, "packed=1 legacy=0")
    for name, ring in (("rng", "packed=1"), ("user", "packed=0")):
        if ring not in heard["drove"][name]:
            raise Failure("%s: not the ring that was asked for: %s" % (name, heard["drove"][name]))
    if not heard["gone"] or "asks for the device back" not in heard["gone"]:
        raise Failure("a device that was unplugged: %s" % heard["gone"])


main(test)
