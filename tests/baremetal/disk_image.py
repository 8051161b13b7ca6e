# SPDX-License-Identifier: MIT
"""Disks for the bare-metal tests: a FAT file system by mkfs.fat and mtools, and partition tables written here, so that any field
of them can be made wrong. All of a disk is one bytearray."""
import os
import struct
import subprocess
import tempfile
import zlib

os.environ["PATH"] += ":/usr/sbin:/sbin" # where mkfs.fat is
SECTOR = 512
FILE = b"HELLO.TXT as the test has written it; it goes on.\n" + bytes(range(256)) * 19 # several clusters
TOOLS = ["mkfs.fat", "mcopy"]
BASIC_DATA = bytes.fromhex("a2a0d0ebe5b9334487c068b6b72699c7")


def fat(bits, size, sector=SECTOR, per_cluster=None, content=FILE, name="HELLO.TXT", label="VIO"):
    """A file system with one file (none: content is None)."""
    with tempfile.TemporaryDirectory() as folder:
        image, file = os.path.join(folder, "image"), os.path.join(folder, "file")
        with open(image, "wb") as f:
            f.truncate(size)
        extra = ["-s", str(per_cluster)] if per_cluster else []
        subprocess.run(["mkfs.fat", "-F", str(bits), "-S", str(sector), "-n", label, *extra, image], check=True,
                       stdout=subprocess.DEVNULL)
        if content is not None:
            with open(file, "wb") as f:
                f.write(content)
            subprocess.run(["mcopy", "-i", image, file, "::" + name], check=True, env=dict(os.environ, MTOOLS_SKIP_CHECK="1"))
        with open(image, "rb") as f:
            return bytearray(f.read())


def put(disk, at, *pieces):
    for piece in pieces:
        assert at + len(piece) <= len(disk)
        disk[at:at + len(piece)] = piece
        at += len(piece)


def mbr_entry(kind, first, sectors, boot=0):
    return struct.pack("<B3sB3sII", boot, b"\0\x20\0", kind, b"\xff\xff\xff", first, sectors)


def mbr(volume, first=2048, kind=None, tail=100):
    """A disk with one partition."""
    disk = bytearray(first * SECTOR + len(volume) + tail * SECTOR)
    put(disk, 446, mbr_entry(0x0e if kind is None else kind, first, len(volume) // SECTOR))
    put(disk, 510, b"\x55\xaa")
    put(disk, first * SECTOR, volume)
    return disk


class Gpt:
    """A disk with a GPT at both of its ends; the fields can be changed before write(). block: bytes that it counts in."""

    def __init__(self, volume, block=SECTOR, name="vio test"):
        self.block, self.count, self.entry_size = block, 128, 128
        table = self.count * self.entry_size // block
        self.first = (1 << 20) // block
        blocks = self.first + len(volume) // block + table + 1
        self.usable = [2 + table, blocks - table - 2]
        self.disk = bytearray(blocks * block)
        self.entries = [BASIC_DATA + bytes(range(16)) + struct.pack("<QQQ", self.first, self.first + len(volume) // block - 1, 0) +
                        name.encode("utf-16-le").ljust(72, b"\0")]
        put(self.disk, self.first * block, volume)

    def header(self, mine, other, table_at):
        table = b"".join(self.entries).ljust(self.count * self.entry_size, b"\0")
        fields = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, mine, other, *self.usable, bytes(range(16)),
                             table_at, self.count, self.entry_size, zlib.crc32(table))
        return fields[:16] + struct.pack("<I", zlib.crc32(fields)) + fields[20:], table

    def write(self):
        blocks = len(self.disk) // self.block
        table_blocks = 128 * 128 // self.block
        put(self.disk, 446, mbr_entry(0xee, 1, min(blocks - 1, 0xffffffff)))
        put(self.disk, 510, b"\x55\xaa")
        for mine, other, at in (1, blocks - 1, 2), (blocks - 1, 1, blocks - 1 - table_blocks):
            header, table = self.header(mine, other, at)
            put(self.disk, mine * self.block, header)
            put(self.disk, at * self.block, table[:table_blocks * self.block])
        return self.disk

    def backup(self):
        """Where its header is, in bytes."""
        return len(self.disk) - self.block
