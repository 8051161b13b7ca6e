# SPDX-License-Identifier: MIT
"""What the tests of PCI functions through VFIO share: disks and a network card of QEMU's own, the words of the guest's script,
and what the host looks at afterwards."""
import hashlib
import os
import re
import socket
import struct
import threading

from vioguest import BUILD, Failure, say, write_pattern

DRIVE = os.environ.get("VFIO_DRIVE", os.path.join(BUILD, "tests", "guest", "vfio_drive"))
SIZE, BLOCK, BLOCKS = 8 << 20, 4096, 32

BIND = r"""
bind() { # ADDRESS [DRIVER]
    echo ${2:-vfio-pci} >/sys/bus/pci/devices/$1/driver_override
    [ ! -e /sys/bus/pci/devices/$1/driver ] || echo $1 >/sys/bus/pci/devices/$1/driver/unbind
    echo $1 >/sys/bus/pci/drivers_probe
}
"""

# vfio_drive says in its last line what it used.
WORDS = BIND + r"""
# wrong NAME WORDS... : the program fails, and says what is in $expect
wrong() {
    name=$1
    shift
    ${as:-} vfio_drive "$@" >/tmp/out 2>&1
    code=$?
    say "said $name $(tail -n 1 /tmp/out)"
    if [ $code = 1 ] && grep -q "$expect" /tmp/out; then ok "$name"; else fail "$name" "exit code $code: $(tail -n 1 /tmp/out)"; fi
}
drive() {
    name=$1
    shift
    if ${as:-} vfio_drive "$@" >/tmp/out 2>&1; then say "drove $name $(tail -n 1 /tmp/out)"; else fail "$name" "$(tail -n 3 /tmp/out)"; fi
}
"""


def address(slot):
    return "0000:00:%02x.0" % slot


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
            try:
                self.socket.sendto(frame, self.there)
            except OSError:
                return # the guest has ended


def expected(before, queues):
    """The disk after the program: the second half begins with each block's number in every eight bytes."""
    data = bytearray(before)
    first = SIZE // BLOCK // 2
    for n in range(first, first + queues * BLOCKS):
        data[n * BLOCK:(n + 1) * BLOCK] = struct.pack("<Q", n) * (BLOCK // 8)
    return bytes(data)


class Disk:
    """A disk of QEMU's own. queues: as many; keys: what QEMU is told of it; words: what vfio_drive is told, and must say."""

    def __init__(self, folder, name, slot, queues, keys, words="", says=""):
        self.name, self.slot, self.queues, self.keys, self.words, self.says = name, slot, queues, keys, words, says
        self.image = os.path.join(folder, name + ".img")
        write_pattern(self.image, SIZE)
        with open(self.image, "rb") as data:
            self.before = data.read()

    def qemu(self):
        return ["-drive", "if=none,id=%s,format=raw,file=%s" % (self.name, self.image),
                "-device", "virtio-blk-pci,drive=%s,addr=%x,num-queues=%d,%s" % (self.name, self.slot, self.queues, self.keys)]

    def drive(self):
        return "drive %s %s blk /tmp/disk %s; say sum %s $(sha256sum /tmp/disk)" % (
            self.name, address(self.slot), self.words, self.name)

    def check(self, heard):
        """The guest read what the host had written, wrote what it was to write, and slept on interrupts."""
        if heard["sum"].get(self.name) != hashlib.sha256(self.before).hexdigest():
            raise Failure("%s: the guest read other bytes than the host had written" % self.name)
        check_drive(self.name, heard["drove"][self.name], self.says, self.queues)
        with open(self.image, "rb") as data:
            if data.read() != expected(self.before, self.queues):
                raise Failure("%s: the image is not what the guest wrote" % self.name)


def check_drive(name, said, words, queues):
    if words not in said:
        raise Failure("%s: '%s', and not '%s'" % (name, said, words))
    counts = [int(n) for n in re.search(r"interrupts=([\d,]+)", said).group(1).split(",")]
    if name == "polled":
        return
    asleep = counts[0] if len(counts) == 1 else min(counts[1:queues + 1])
    if asleep == 0:
        raise Failure("%s: a queue was used without an interrupt: %s" % (name, said))


def card(folder, slot, keys):
    """A network card whose frames go to an Echo in that folder."""
    return ["-netdev", "dgram,id=lan,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s" % (
        os.path.join(folder, "qemu.sock"), os.path.join(folder, "echo.sock")),
        "-device", "virtio-net-pci,netdev=lan,addr=%x,%s" % (slot, keys)]


def check_host(ways, heard, echo, net_says):
    """What the host's side of disks and of the card came to."""
    for way in ways:
        way.check(heard)
    say("host: %d disks were read as they were written, and hold what was written to them" % len(ways))
    check_drive("net", heard["drove"]["net"], net_says, 1)
    if echo.frames != 64:
        raise Failure("the host saw %d frames" % echo.frames)


def listen(guest, seconds):
    """Until the guest's end: what it said, by its first word and, where there is one, the name behind."""
    heard = {"drove": {}, "sum": {}, "gone": None}
    while True:
        text = guest.wait("", seconds)
        kind, _, rest = text.partition(" ")
        name, _, rest = rest.partition(" ")
        if kind == "drove":
            heard["drove"][name] = rest
        elif kind == "sum":
            heard["sum"][name] = rest.split()[0]
        elif kind == "gone":
            heard["gone"] = text
        elif kind == "end":
            guest.process.popen.wait(30)
            return heard


def must_be_ok(guest, names):
    missing = [name for name in names if name not in guest.results]
    if missing:
        raise Failure("the guest's script never came to: " + " ".join(missing))
