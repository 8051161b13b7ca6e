#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Disks that are wrong, each in one field, and some that are right and unusual, all in one boot: the program says of each what is
wrong, and goes on to the next. One point of TAP for each disk.

usage: disks.py ARCHITECTURE [PROGRAM]
"""
import functools
import struct
import sys
import zlib

import disk_image
import machine
from disk_image import Gpt, SECTOR, mbr, put
from machine import Failure

GOOD = r"^HELLO\.TXT: %d bytes in \d+ clusters, CRC-32 of the first 512: %08x: HELLO" % (
    len(disk_image.FILE), zlib.crc32(disk_image.FILE[:512]))
FIRST = 2048 * SECTOR # where the partition is

# Each is made once, and copied to be changed.
fat16 = functools.lru_cache(None)(lambda: bytes(disk_image.fat(16, 12 << 20)))
fat32 = functools.lru_cache(None)(lambda: bytes(disk_image.fat(32, 36 << 20, per_cluster=1)))


def number(data, at, width):
    return int.from_bytes(data[at:at + width], "little")


class Fat:
    """A disk with one file system, as its boot sector has it; at*: where to change it."""

    def __init__(self, volume):
        self.disk = mbr(bytearray(volume))
        self.bits = 16 if number(volume, 22, 2) else 32
        reserved, per_table = number(volume, 14, 2), number(volume, 22, 2) or number(volume, 36, 4)
        self.table = FIRST + reserved * SECTOR
        root = self.table + volume[16] * per_table * SECTOR
        self.data = root + number(volume, 17, 2) * 32
        self.per_cluster = volume[13] * SECTOR
        self.root = root if self.bits == 16 else self.data # cluster 2
        self.entry = next(at for at in range(self.root, self.root + 4096, 32) if self.disk[at:at + 11] == b"HELLO   TXT")
        self.first = number(self.disk, self.entry + 26, 2)

    def boot(self, at, width, value):
        put(self.disk, FIRST + at, value.to_bytes(width, "little"))
        return self

    def chain(self, cluster, value):
        width = self.bits // 8
        put(self.disk, self.table + cluster * width, value.to_bytes(width, "little"))
        return self

    def file(self, at, width, value):
        put(self.disk, self.entry + at, value.to_bytes(width, "little"))
        return self


def gpt(change=None, corrupt=(), **how):
    """A GPT disk: `change` before its checksums are made; then a byte is turned over in each place."""
    g = Gpt(bytearray(fat16()), **how)
    if change:
        change(g)
    g.write()
    for at in corrupt:
        at = at(g) if callable(at) else at
        g.disk[at] ^= 0xff
    return g.disk


def set_entry(at, value):
    def change(g):
        g.entries[0] = g.entries[0][:at] + struct.pack("<Q", value) + g.entries[0][at + 8:]
    return change


def set_field(name, value):
    return lambda g: setattr(g, name, value)


BACKUP = lambda at: lambda g: g.backup() + at
TABLES = [1024 + 40, lambda g: g.backup() - 128 * 128 + 40]


def fat_4k():
    return Gpt(disk_image.fat(16, 40 << 20, sector=4096, per_cluster=1), block=4096).write()


def last_cluster_disk():
    """The chain leads to the cluster behind the last."""
    f = Fat(fat16())
    clusters = (len(fat16()) // SECTOR - (f.data - FIRST) // SECTOR) * SECTOR // f.per_cluster
    return f.chain(f.first, clusters + 2).disk


# name: (disk, options, lines that must be there; those with PROBLEM are all there may be)
DISKS = {
    "FAT16, MBR": (lambda: Fat(fat16()).disk, "", [GOOD]),
    "FAT32, MBR": (lambda: Fat(fat32()).disk, "", [GOOD]),
    "FAT16 without a partition table": (lambda: bytearray(fat16()), "", [GOOD]),
    "GPT, blocks of 4096 bytes": (fat_4k, ",logical_block_size=4096,physical_block_size=4096", ["^GPT, 1 partitions$", GOOD]),
    "the first GPT's header is corrupt": (lambda: gpt(corrupt=[512 + 60]), "", [
        r"PROBLEM GPT: the first header's CRC is wrong$", r"^GPT \(the backup\), 1 partitions$", GOOD]),
    "the first GPT's signature": (lambda: gpt(corrupt=[512]), "", [
        "PROBLEM GPT: the first header has not its signature$", r"^GPT \(the backup\), 1 partitions$", GOOD]),
    "both GPT headers": (lambda: gpt(corrupt=[512 + 20 + 4, BACKUP(40)]), "", ["PROBLEM GPT: the backup header's CRC is wrong$"]),
    "a GPT header of 3 GiB": (lambda: gpt(corrupt=[512 + 15, BACKUP(15)]), "", ["PROBLEM GPT: the backup header's size cannot be$"]),
    "both GPT tables": (lambda: gpt(corrupt=TABLES), "", ["PROBLEM GPT: the backup table's CRC is wrong$"]),
    "a GPT entry beyond the disk": (lambda: gpt(set_entry(40, 1 << 60)), "", [
        "PROBLEM GPT: the backup table has an entry that is not where partitions may be$"]),
    "a GPT entry over the table": (lambda: gpt(set_entry(32, 3)), "", [
        "PROBLEM GPT: the backup table has an entry that is not where partitions may be$"]),
    "a GPT entry that ends before it begins": (lambda: gpt(set_entry(40, 2047)), "", [
        "PROBLEM GPT: the backup table has an entry that is not where partitions may be$"]),
    "GPT entries of 96 bytes": (lambda: gpt(set_field("entry_size", 96)), "", [
        "PROBLEM GPT: the backup table has a number or a size of entries that cannot be$"]),
    "a GPT of 100000 entries": (lambda: gpt(set_field("count", 100000)), "", [
        "PROBLEM GPT: the backup table has a number or a size of entries that cannot be$"]),
    "a GPT for a larger disk": (lambda: gpt(set_field("usable", [34, 1 << 63])), "", [
        "PROBLEM GPT: the backup header's places are not on the disk$"]),
    "an MBR entry beyond the disk": (lambda: mbr(bytearray(fat16()), tail=0)[:-SECTOR], "", [
        r"PROBLEM MBR: entry 1, 24576 blocks from 2048, is no place on a disk of 26623 sectors$"]),
    "a chain off the end": (last_cluster_disk, "", [r"PROBLEM FAT: a chain leads to a cluster that there is not \(\d+\)$"]),
    "a chain to nowhere": (lambda: Fat(fat32()).chain(4, 0x0ffffff0).disk, "", [
        r"PROBLEM FAT: a chain leads to a cluster that there is not \(268435440\)$"]),
    "a chain to a free cluster": (lambda: Fat(fat16()).chain(2, 0).disk, "", [
        r"PROBLEM FAT: a chain leads to a cluster that there is not \(0\)$"]),
    "a chain that ends early": (lambda: Fat(fat16()).chain(2, 0xffff).disk, "", [
        r"PROBLEM FAT: the chain is too short for the file's size; clusters \(1\)$"]),
    "a chain that loops": (lambda: Fat(fat16()).chain(3, 2).disk, "", [
        r"PROBLEM FAT: the chain is too long for the file's size; clusters \(\d+\)$"]),
    "a root directory that loops": (lambda: Fat(fat32()).file(0, 1, 0x58).chain(2, 2).disk, "", None),
    "a file that begins nowhere": (lambda: Fat(fat16()).file(26, 2, 1).disk, "", [
        r"PROBLEM FAT: the file begins in a cluster that there is not \(1\)$"]),
    "a file larger than its disk": (lambda: Fat(fat16()).file(28, 4, 0xffffffff).disk, "", [
        r"PROBLEM FAT: the file is larger than the file system, in bytes \(4294967295\)$"]),
    "no file": (lambda: Fat(fat16()).file(0, 1, 0xe5).disk, "", ["PROBLEM there is no HELLO.TXT$"]),
    "clusters of no sector": (lambda: Fat(fat16()).boot(13, 1, 0).disk, "", [
        r"PROBLEM FAT: no clusters of so many sectors can be \(0\)$"]),
    "sectors of no byte": (lambda: Fat(fat16()).boot(11, 2, 0).disk, "", [
        r"PROBLEM FAT: no sectors of so many bytes can be \(0\)$"]),
    "sectors of 513 bytes": (lambda: Fat(fat16()).boot(11, 2, 513).disk, "", [
        r"PROBLEM FAT: no sectors of so many bytes can be \(513\)$"]),
    "no allocation table": (lambda: Fat(fat16()).boot(16, 1, 0).disk, "", ["PROBLEM FAT: there is no allocation table"]),
    "an allocation table too short": (lambda: Fat(fat16()).boot(22, 2, 1).disk, "", [
        "PROBLEM FAT: its allocation table is too short for its clusters"]),
    "tables that leave no room": (lambda: Fat(fat16()).boot(22, 2, 0xffff).disk, "", [
        "PROBLEM FAT: its tables leave no room for data"]),
    "longer than its partition": (lambda: Fat(fat16()).boot(19, 2, 24577).boot(32, 4, 0).disk, "", [
        "PROBLEM FAT: it is longer than its partition"]),
    "a root directory nowhere": (lambda: Fat(fat32()).boot(44, 4, 1 << 27).disk, "", [
        "PROBLEM FAT: the root directory is in a cluster that there is not"]),
    "nothing but zeros": (lambda: bytearray(1 << 20), "", [
        "^no partition table, 0 partitions$", r"PROBLEM FAT: the boot sector has not its signature \(0\)$"]),
    "one sector": (lambda: bytearray(b"\xff" * 512), "", ["PROBLEM FAT: "]),
    "FAT12": (lambda: mbr(disk_image.fat(12, 1 << 20)), "", [r"PROBLEM FAT12, which is not read here \(\d+ clusters\)$"]),
    "FAT16 again, after all of them": (lambda: Fat(fat16()).disk, "", [GOOD]),
}


def looping_root():
    """Sixteen entries fill a cluster of one sector: no end, and the chain leads back to it."""
    f = Fat(fat32())
    for at in range(f.root, f.root + SECTOR, 32):
        put(f.disk, at, b"FILLER  TXT\x20" + bytes(20))
    return f.chain(2, 2).disk


DISKS["a root directory that loops"] = (looping_root, "", [
    r"PROBLEM FAT: the root directory does not end after so many clusters \(\d+\)$"])
PER_BRIDGE = 24


def options(arch, folder):
    """Each a disk on PCI, with its number as serial; PCI has room for 32 on one bus."""
    found = ["-device", "pcie-pci-bridge,id=b1", "-device", "pci-bridge,id=b2,chassis_nr=2,bus=b1,addr=1f"] if arch == "x86_64" else []
    for i, (make, extra, _) in enumerate(DISKS.values()):
        path = machine.keep("%s/disk%d" % (folder, i), make())
        bus = ",bus=" + ("b1" if i < PER_BRIDGE else "b2") if found and arch == "x86_64" else ",addr=%x.%d" % (2 + i // 8, i % 8)
        bus += ",multifunction=on" if "addr" in bus else ""
        found += ["-drive", "if=none,id=d%d,format=raw,readonly=on,file=%s" % (i, path),
                  "-device", "virtio-blk-pci,drive=d%d,serial=disk-%d%s%s" % (i, i, bus, extra)]
    return found


def check(boot, i, patterns):
    lines = next((l for l in boot.devices().values() if any('serial "disk-%d"' % i in line for line in l)), None)
    if lines is None:
        raise Failure("the program does not show this disk")
    for pattern in patterns:
        machine.find(lines, pattern)
    problems = [l for l in lines if l.startswith("PROBLEM")]
    wanted = [p for p in patterns if p.startswith("PROBLEM")]
    if len(problems) != len(wanted):
        raise Failure("%d problems: %s" % (len(problems), "; ".join(problems)))


def check_end(boot):
    wanted = sum(p.startswith("PROBLEM") for _, _, patterns in DISKS.values() for p in patterns)
    machine.find([boot.last()], r"^vio: %d devices, %d problems, \d+ KiB of memory at most, 0 bytes not given back$"
                 % (len(DISKS), wanted))
    if boot.process.returncode != machine.STATUS[boot.arch][1]:
        raise Failure("QEMU ended with %d" % boot.process.returncode)


def main():
    arch, program = (sys.argv[1:] + [None])[:2]
    machine.skip_without("%s, wrong disks" % arch, arch, program)
    tap = machine.Tap()
    with machine.folder() as folder:
        boot = machine.Boot(arch, program, "", options(arch, folder))
        tap.point("%s: it reads all disks and ends" % arch, boot.end, 100)
        boot.kill()
        for i, (name, (_, _, patterns)) in enumerate(DISKS.items()):
            tap.point("%s: %s" % (arch, name), check, boot, i, patterns)
        tap.point("%s: each problem was counted, all memory given back" % arch, check_end, boot)
        if tap.failed:
            print("# " + "\n# ".join(boot.lines))
    tap.end()


main()
