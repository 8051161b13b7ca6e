#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The bare-metal table: one machine, one way to its devices; each device is one point of TAP: found, named, negotiated as it must
be, and used, with what came of it compared. One boot has them all.

usage: cells.py ARCHITECTURE WAY [PROGRAM]      without one: it was not built, and all is skipped
"""
import re
import sys
import zlib

import disk_image
import machine
import peer
from machine import Failure, find

ENTROPY = bytes(range(1, 255)) * 40 # what the host's source of entropy is
SERVE = 120 # seconds, ended by the peer before


class Way:
    """How devices are connected. kind: "pci" or "device" (MMIO); options: of each of them; interface: as it must be driven;
    arguments: of the program. events=on in some of each bus and interface: the card's queues are looked at when it says so."""

    def __init__(self, kind, interface, options="", arguments="", extra=(), machine=None, packed=False, bridge=False, must=None):
        self.kind, self.interface, self.arguments, self.extra = kind, interface, arguments, list(extra)
        self.options = options + (",packed=on" if packed else "")
        self.machine, self.packed, self.bridge, self.must = machine, packed, bridge, must

    def bus(self):
        return "pci" if self.kind == "pci" else "mmio"


V1 = ["-global", "virtio-mmio.force-legacy=true"]
V2 = ["-global", "virtio-mmio.force-legacy=false"]
WINDOW = "its registers are reached through configuration space"
VIRT_EL2 = ["-machine", "virt,virtualization=on", "-cpu", "cortex-a57"]
PC = ["-machine", "pc", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]

WAYS = {
    "x86_64": {
        "pci-modern": Way("pci", "modern", ",disable-legacy=on", bridge=True),
        "pci-modern-packed": Way("pci", "modern", ",disable-legacy=on", packed=True),
        "pci-transitional": Way("pci", "modern", ",disable-legacy=off,disable-modern=off", "events=on"),
        "pci-transitional-legacy": Way("pci", "legacy", ",disable-legacy=off,disable-modern=off", "legacy=on events=on", machine=PC),
        "pci-legacy": Way("pci", "legacy", ",disable-legacy=off,disable-modern=on", machine=PC),
    },
    "aarch64": {
        "mmio-1": Way("device", "legacy", arguments="events=on", extra=V1),
        "mmio-2": Way("device", "modern", extra=V2),
        "mmio-2-packed": Way("device", "modern", arguments="events=on", extra=V2, packed=True, machine=VIRT_EL2),
        "pci": Way("pci", "modern", ",disable-legacy=on"),
        "pci-legacy": Way("pci", "legacy", ",disable-legacy=off", "legacy=on"),
        "pci-window": Way("pci", "modern", ",disable-legacy=on", "bars=off", must=WINDOW),
    },
    "riscv64": {
        "mmio-1": Way("device", "legacy", extra=V1),
        "mmio-2": Way("device", "modern", arguments="events=on", extra=V2),
        "mmio-2-packed": Way("device", "modern", extra=V2, packed=True),
        "pci": Way("pci", "modern", ",disable-legacy=on"),
        "pci-packed": Way("pci", "modern", ",disable-legacy=on", "events=on", packed=True),
        "pci-legacy": Way("pci", "legacy", ",disable-legacy=off", "legacy=on"),
    },
}


def options(way, folder, cable):
    """QEMU's devices: one of each type."""
    dev = lambda name, rest="": ["-device", "virtio-%s-%s%s%s" % (name, way.kind, way.options, rest)]
    blk = machine.keep(folder + "/blk", disk_image.mbr(disk_image.fat(16, 20 << 20)))
    scsi = machine.keep(folder + "/scsi", disk_image.Gpt(disk_image.fat(32, 40 << 20, per_cluster=1)).write())
    entropy = machine.keep(folder + "/entropy", ENTROPY)
    bridged = ",bus=bridge" if way.bridge else ""
    return way.extra + (["-device", "pcie-root-port,id=bridge,chassis=1"] if way.bridge else []) + [
        "-drive", "if=none,id=blk,format=raw,file=" + blk, "-drive", "if=none,id=scsi,format=raw,file=" + scsi,
        "-netdev", cable.netdev(), "-object", "rng-random,id=rng,filename=" + entropy,
        "-chardev", "file,id=terminal,path=%s/terminal" % folder,
    ] + dev("blk", ",drive=blk,serial=vio-bare-metal" + bridged) + dev("net", ",netdev=n,mac=" + peer.THEIRS.hex(":")) + \
        dev("serial", ",id=serial") + ["-device", "virtconsole,bus=serial.0,chardev=terminal"] + dev("rng", ",rng=rng") + \
        dev("balloon") + dev("scsi", ",id=scsi0") + ["-device", "scsi-hd,bus=scsi0.0,drive=scsi"]


class Cells:
    def __init__(self, arch, name, program):
        self.arch, self.way, self.program = arch, WAYS[arch][name], program
        self.boot = self.talked = None

    def run(self, folder):
        self.folder, self.cable = folder, peer.Peer(folder)
        arguments = "serve=%d ip=%s %s" % (SERVE, ".".join(str(b) for b in peer.THEIR_IP), self.way.arguments)
        self.boot = machine.Boot(self.arch, self.program, arguments.strip(), options(self.way, folder, self.cable), self.way.machine)
        try:
            self.boot.wait_line(r"answers as 10\.1\.2\.77 for", 60)
            self.talk()
            self.cable.stop()
            self.boot.end(60)
        finally:
            self.boot.kill()
            self.cable.close()

    def talk(self):
        try:
            self.cable.converse()
        except peer.Failure as failure:
            self.talked = failure

    def lines_of(self, what, number, features=()):
        lines = self.boot.device(what)
        find(lines, r"^%s \(type %d\), %s, %s interface$" % (what, number, self.way.bus(), self.way.interface))
        agreed = find(lines, r"^features (.*)").group(1).split(", ")
        want = set(features) | ({"VERSION_1"} if self.way.interface == "modern" else set()) | \
            ({"RING_PACKED"} if self.way.packed else set())
        if not want <= set(agreed):
            raise Failure("it agreed on %s, without %s" % (agreed, sorted(want - set(agreed))))
        if self.way.interface == "legacy" and "VERSION_1" in agreed:
            raise Failure("VERSION_1 by the legacy interface")
        if self.way.must:
            find(self.boot.lines, r"^%s: .*%s" % (re.escape(self.place(lines)), self.way.must))
        return lines

    def place(self, lines):
        """What a function is called: its name without the bus."""
        name = next(n for n, l in self.boot.devices().items() if l is lines or l == lines)
        return name.split("@")[1]

    def check_file(self, lines, bits, table):
        find(lines, r"^%s, 1 partitions$" % re.escape(table))
        find(lines, r'^FAT%d "VIO", \d+ clusters' % bits)
        got = find(lines, r"^HELLO\.TXT: (\d+) bytes in (\d+) clusters, CRC-32 of the first 512: (\S+): (.*)")
        want = disk_image.FILE
        if int(got.group(1)) != len(want) or int(got.group(3), 16) != zlib.crc32(want[:512]) or \
                not got.group(4).startswith("HELLO.TXT as the test has written it"):
            raise Failure("another file came: " + got.group(0))

    def blk(self):
        lines = self.lines_of("disk", 2, ["BLK_SIZE", "SEG_MAX"])
        find(lines, r'^disk of %d sectors, blocks of 512 bytes, serial "vio-bare-metal"$' % ((21 << 20) // 512 + 100))
        find(lines, r"^partition 1: %d sectors from 2048" % ((20 << 20) // 512))
        self.check_file(lines, 16, "MBR")
        if self.way.bridge:
            find([self.place(lines)], r"^01:00\.0$")

    def scsi(self):
        lines = self.lines_of("SCSI host", 8)
        find(lines, r"^unit 0: QEMU QEMU HARDDISK, \d+ blocks of 512 bytes$")
        find(lines, r'^partition 1: %d sectors from 2048, "vio test"$' % ((40 << 20) // 512))
        self.check_file(lines, 32, "GPT")

    def net(self):
        lines = self.lines_of("network card", 1, ["MAC", "STATUS"])
        find(lines, r"^MAC 52:54:00:12:ab:34, link up")
        find(lines, r"^answers as .*port 9%s$" % ("; by events" if "events=on" in self.way.arguments else ""))
        if self.talked:
            raise self.talked
        said = find(lines, r"^answered (\d+) ARP, (\d+) pings, (\d+) neighbours, (\d+) IPv6 pings; not answered: (\d+); "
                           r"not sent: (\d+); stopped$")
        got = [int(n) for n in said.groups()]
        if got[:4] != list(self.cable.counts.values()) or got[5] != 0 or got[4] == 0:
            raise Failure("it counted %s, and %s were asked" % (got, self.cable.counts))

    def console(self):
        lines = self.lines_of("console", 3, ["MULTIPORT", "EMERG_WRITE"])
        find(lines, r"^port 0: terminal, which does not tell its size$") # QEMU 7.2 has no VIRTIO_CONSOLE_F_SIZE
        find(lines, r"^port 0: wrote 30 bytes$")
        with open(self.folder + "/terminal", "rb") as f:
            came = f.read()
        if came != b"a line through virtio-console\n":
            raise Failure("the terminal shows %r" % came)

    def rng(self):
        lines = self.lines_of("entropy source", 4)
        got = bytes.fromhex(find(lines, r"^16 random bytes: ([0-9a-f]{32})$").group(1))
        if got not in ENTROPY: # in one read, or in several
            raise Failure("not the host's bytes: " + got.hex())

    def balloon(self):
        lines = self.lines_of("balloon", 5)
        find(lines, r"^balloon, wanted are 0 pages, inside are 1$")
        find(lines, r"^a page went in and came back$")

    def whole(self):
        boot = self.boot
        if boot.problems():
            raise Failure("\n".join(boot.problems()))
        find([boot.last()], r"^vio: 6 devices, 0 problems, \d+ KiB of memory at most, 0 bytes not given back$")
        if boot.process.returncode != machine.STATUS[self.arch][0]:
            raise Failure("QEMU ended with %d" % boot.process.returncode)


def main():
    arch, name, program = (sys.argv[1:] + [None])[:3]
    machine.skip_without("%s, %s" % (arch, name), arch, program)
    tap, cells = machine.Tap(), Cells(arch, name, program)
    with machine.folder() as folder:
        tap.point("%s, %s: it boots, runs and ends" % (arch, name), cells.run, folder)
        for device in "blk", "net", "console", "rng", "balloon", "scsi":
            tap.point("%s, %s: %s" % (arch, name, device), getattr(cells, device))
        tap.point("%s, %s: no problem, all memory given back" % (arch, name), cells.whole)
        if tap.failed and cells.boot:
            print("# " + "\n# ".join(cells.boot.lines))
    tap.end()


main()
