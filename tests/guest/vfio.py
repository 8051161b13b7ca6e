#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""QEMU's own virtio-pci devices, driven from user space in a guest by vio's drivers through VFIO, behind an IOMMU: disks,
a network card, random bytes; modern and legacy, split and packed, MSI-X and INTx; wrong use; a device taken away."""
import hashlib
import os
import re
import socket
import struct
import threading

from inside import cpio
from vioguest import BUILD, Failure, Guest, main, say, write_pattern

DRIVE = os.environ.get("VFIO_DRIVE", os.path.join(BUILD, "tests", "guest", "vfio_drive"))
SIZE, BLOCK, BLOCKS = 8 << 20, 4096, 32
MODULES = ["vfio_iommu_type1", "vfio_pci"]

# One disk for each way: id -> slot, queues, what QEMU gives it, what the program is told, what it must say
ON = "iommu_platform=on,ats=on,disable-legacy=on"
DISKS = {
    "packed": (4, 4, ON + ",packed=on", "", "dma=iommu vectors=5 packed=1 legacy=0"),
    "split": (5, 4, ON + ",packed=on", "split", "dma=iommu vectors=5 packed=0 legacy=0"),
    "bypass": (6, 2, "disable-legacy=on,packed=on", "physical", "dma=identity vectors=3 packed=1 legacy=0"),
    "transitional": (7, 2, "disable-legacy=off", "physical", "dma=identity vectors=3 packed=0 legacy=0"),
    "legacy": (8, 2, "disable-modern=on,disable-legacy=off", "physical", "dma=identity vectors=3 packed=0 legacy=1"),
    "legacy_asked": (9, 1, "disable-legacy=off", "physical legacy", "dma=identity vectors=2 packed=0 legacy=1"),
    "one_vector": (10, 2, ON + ",vectors=1", "", "dma=iommu vectors=1 packed=0 legacy=0"),
    "intx": (11, 2, ON + ",vectors=0", "", "dma=iommu vectors=0 packed=0 legacy=0"),
    "legacy_intx": (12, 2, "disable-modern=on,disable-legacy=off,vectors=0", "physical",
                    "dma=identity vectors=0 packed=0 legacy=1"),
    "polled": (13, 2, ON, "polled", "dma=iommu vectors=0 packed=0 legacy=0"),
}
RNG, NET, TAKEN, KEPT = "0000:00:14.0", "0000:00:15.0", "0000:00:16.0", "0000:00:17.0"


def address(slot):
    return "0000:00:%02x.0" % slot


def script():
    lines = [r"""
sh /modules.sh || fail modules "$(dmesg | tail -n 3)"
check iommu sh -c "dmesg | grep -q 'DMAR: IOMMU enabled'"
echo 24 >/proc/sys/vm/nr_hugepages
bind() {
    echo vfio-pci >/sys/bus/pci/devices/$1/driver_override
    [ ! -e /sys/bus/pci/devices/$1/driver ] || echo $1 >/sys/bus/pci/devices/$1/driver/unbind
    echo $1 >/sys/bus/pci/drivers_probe
}
# wrong NAME WORDS... : the program fails, and says what is in $expect
wrong() {
    name=$1
    shift
    vfio_drive "$@" open >/tmp/out 2>&1
    code=$?
    say "said $name $(tail -n 1 /tmp/out)"
    if [ $code = 1 ] && grep -q "$expect" /tmp/out; then ok "$name"; else fail "$name" "exit code $code"; fi
}
drive() {
    name=$1
    shift
    if vfio_drive "$@" >/tmp/out 2>&1; then say "drove $name $(tail -n 1 /tmp/out)"; else fail "$name" "$(tail -n 3 /tmp/out)"; fi
}
"""]
    lines.append("expect='no PCI function'; wrong absent 0000:00:1e.7")
    lines.append("expect='no address'; wrong nonsense 00:1e")
    lines.append("expect='is driven by virtio-pci: cd /sys/bus/pci/devices/%s'; wrong bound %s" % (KEPT, KEPT))
    lines.append("echo %s >/sys/bus/pci/drivers/virtio-pci/unbind; expect='has no driver'; wrong unbound %s" % (KEPT, KEPT))
    for slot in [d[0] for d in DISKS.values()]:
        lines.append("bind " + address(slot))
    for other in (RNG, NET, TAKEN):
        lines.append("bind " + other)
    # without a physical arena this disk would be given addresses that are other memory of the guest's
    lines.append("expect='ACCESS_PLATFORM'; wrong bypass-refused " + address(DISKS["bypass"][0]))
    for name, (slot, _, _, words, _) in DISKS.items():
        lines.append("drive %s %s blk /tmp/disk %s; say sum %s $(sha256sum /tmp/disk)" % (name, address(slot), words, name))
    lines.append("drive rng %s rng" % RNG)
    lines.append("drive net %s net" % NET)
    # again: what the first left behind is no obstacle; and what the limit of locked memory is
    lines.append("drive again %s rng split" % RNG)
    # the kernel waits for the program, which notices, and lets go
    lines.append(r"""
vfio_drive %s gone >/tmp/gone 2>&1 &
until grep -q ready /tmp/gone; do sleep 0.1; done
echo 1 >/sys/bus/pci/devices/%s/remove
wait $!
say "gone $(grep why= /tmp/gone)"
check removed [ ! -e /sys/bus/pci/devices/%s ]
dmesg | grep -iE "dmar.*fault" && fail faults "the IOMMU stopped DMA: $(dmesg | grep -iE 'dmar.*fault' | tail -n 1)"
""" % (TAKEN, TAKEN, TAKEN))
    return "\n".join(lines)


class Echo:
    """The other end of a network card: each frame goes back."""

    def __init__(self, folder):
        self.here, self.there = (os.path.join(folder, name) for name in ("echo.sock", "qemu.sock"))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.here)
        self.frames = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            frame = self.socket.recv(65536)
            self.frames += 1
            self.socket.sendto(frame, self.there)


def expected(before, queues):
    """The disk after the program: the second half begins with each block's number in every eight bytes."""
    data = bytearray(before)
    first = SIZE // BLOCK // 2
    for n in range(first, first + queues * BLOCKS):
        data[n * BLOCK:(n + 1) * BLOCK] = struct.pack("<Q", n) * (BLOCK // 8)
    return bytes(data)


def machine(folder, images):
    args = ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on"]
    for name, (slot, queues, keys, _, _) in DISKS.items():
        args += ["-drive", "if=none,id=%s,format=raw,file=%s" % (name, images[name]),
                 "-device", "virtio-blk-pci,drive=%s,addr=%x,num-queues=%d,%s" % (name, slot, queues, keys)]
    args += ["-object", "rng-random,id=random,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=random,addr=14,packed=on," + ON]
    args += ["-netdev", "dgram,id=lan,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s" % (
        os.path.join(folder, "qemu.sock"), os.path.join(folder, "echo.sock")),
        "-device", "virtio-net-pci,netdev=lan,addr=15,packed=on," + ON]
    for name, slot in (("taken", "16"), ("kept", "17")):
        args += ["-drive", "if=none,id=%s,format=raw,file=%s" % (name, images[name]),
                 "-device", "virtio-blk-pci,drive=%s,addr=%s,%s" % (name, slot, ON)]
    return args


def check_drive(name, said, words, queues):
    if words not in said:
        raise Failure("%s: '%s', and not '%s'" % (name, said, words))
    counts = [int(n) for n in re.search(r"interrupts=([\d,]+)", said).group(1).split(",")]
    if "vectors=0" in words:
        asleep = counts[0] if name != "polled" else 1
    elif len(counts) == 1:
        asleep = counts[0]
    else:
        asleep = min(counts[1:queues + 1])
    if asleep == 0:
        raise Failure("%s: a queue was used without an interrupt: %s" % (name, said))


def test(folder):
    images, before = {}, {}
    for name in list(DISKS) + ["taken", "kept"]:
        images[name] = os.path.join(folder, name + ".img")
        write_pattern(images[name], SIZE)
        with open(images[name], "rb") as data:
            before[name] = data.read()
    echo = Echo(folder)
    drove, sums, gone = {}, {}, None
    with Guest(folder, [], script(), machine=machine(folder, images), extra=cpio(programs={"vfio_drive": DRIVE}, modules=MODULES),
               append="intel_iommu=on iommu.passthrough=0") as guest:
        while True:
            text = guest.wait("", 200)
            kind, _, rest = text.partition(" ")
            name, _, rest = rest.partition(" ")
            if kind == "drove":
                drove[name] = rest
            elif kind == "sum":
                sums[name] = rest.split()[0]
            elif kind == "gone":
                gone = text
            elif kind == "end":
                break
        guest.process.popen.wait(30)
    for name in ("iommu", "absent", "nonsense", "bound", "unbound", "bypass-refused", "removed"):
        if name not in guest.results:
            raise Failure("the guest's script never came to " + name)
    for name, (_, queues, _, _, words) in DISKS.items():
        if sums[name] != hashlib.sha256(before[name]).hexdigest():
            raise Failure("%s: the guest read other bytes than the host had written" % name)
        check_drive(name, drove[name], words, queues)
        with open(images[name], "rb") as data:
            if data.read() != expected(before[name], queues):
                raise Failure("%s: the image is not what the guest wrote" % name)
    say("host: %d disks were read as they were written, and hold what was written to them" % len(DISKS))
    check_drive("net", drove["net"], "dma=iommu", 1)
    if echo.frames != 64:
        raise Failure("the host saw %d frames" % echo.frames)
    if "packed=1" not in drove["net"] or "packed=1" not in drove["rng"] or "packed=0" not in drove["again"]:
        raise Failure("not the ring that was asked for: %s" % drove)
    if not gone or "asks for the device back" not in gone:
        raise Failure("a device that was unplugged: %s" % gone)


main(test)
