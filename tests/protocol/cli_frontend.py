# SPDX-License-Identifier: MIT
"""A small vhost-user front-end with drivers of a disk and of a network card: split rings, one request at a time, every
message with a reply.

For tests of the command, which want a device that works; tests of the messages themselves are elsewhere.
"""
import ctypes
import mmap
import os
import select
import socket
import struct

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL = 12, 13
SEND_RARP, NET_SET_MTU = 19, 20
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE, GET_CONFIG = 15, 16, 18, 24
F_VERSION_1, F_PROTOCOL_FEATURES = 1 << 32, 1 << 30
PF_MQ, PF_RARP, PF_REPLY_ACK, PF_NET_MTU, PF_CONFIG = 1 << 0, 1 << 2, 1 << 3, 1 << 4, 1 << 9
NET_F_MTU, NET_F_MAC, NET_F_STATUS, NET_F_MQ = 1 << 3, 1 << 5, 1 << 16, 1 << 22
NET_HDR = 12
BLK_IN, BLK_OUT = 0, 1
GPA = 0x100000

libc = ctypes.CDLL(None, use_errno=True)


def eventfd(flags=os.O_NONBLOCK | os.O_CLOEXEC):
    fd = libc.eventfd(0, flags)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "eventfd")
    return fd


class FrontEnd:
    def __init__(self, where, memory=1 << 20, queues=1, size=16):
        """where: a path to connect to, or a connected socket."""
        if isinstance(where, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(10)
            self.socket.connect(where)
        else:
            self.socket = where
            self.socket.settimeout(10)
        self.size, self.bytes, self.queues = size, memory, queues
        self.memfd = os.memfd_create("guest")
        os.ftruncate(self.memfd, memory)
        self.memory = mmap.mmap(self.memfd, memory)
        self.avail = [0] * queues
        self.kick = [eventfd() for _ in range(queues)]
        self.call = [eventfd() for _ in range(queues)]
        self.start()

    def send(self, request, payload=b"", fds=(), reply=False):
        flags = 1 | (0 if reply or not self.acks else 8)
        message = struct.pack("<III", request, flags, len(payload)) + payload
        socket.send_fds(self.socket, [message], list(fds))
        if reply:
            return self.receive(request)
        if self.acks:
            error, = struct.unpack("<Q", self.receive(request))
            if error:
                raise OSError("message %d: the back-end answers %d" % (request, error))
        return None

    def exactly(self, n):
        got = b""
        while len(got) < n:
            more = self.socket.recv(n - len(got))
            if not more:
                raise EOFError("the back-end hung up")
            got += more
        return got

    def receive(self, request):
        number, flags, size = struct.unpack("<III", self.exactly(12))
        if number != request or not flags & 4:
            raise OSError("message %d is answered by %d, flags 0x%x" % (request, number, flags))
        return self.exactly(size)

    acks = False
    features = 0  # beside those of the transport
    wanted = PF_MQ | PF_REPLY_ACK | PF_CONFIG

    def start(self):
        self.send(SET_OWNER)
        self.offered, = struct.unpack("<Q", self.send(GET_FEATURES, reply=True))
        self.send(SET_FEATURES, struct.pack("<Q", F_VERSION_1 | F_PROTOCOL_FEATURES | self.features & self.offered))
        offered, = struct.unpack("<Q", self.send(GET_PROTOCOL_FEATURES, reply=True))
        self.protocol, wanted = offered, self.wanted
        if offered & wanted != wanted:
            raise OSError("protocol features 0x%x" % offered)
        self.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", wanted))
        self.acks = True
        self.send(SET_MEM_TABLE, struct.pack("<II4Q", 1, 0, GPA, self.bytes, self.address(), 0), [self.memfd])
        for q in range(self.queues):
            desc, avail, used = self.areas(q)
            base = self.address()
            self.send(SET_VRING_NUM, struct.pack("<II", q, self.size))
            self.send(SET_VRING_ADDR, struct.pack("<II4Q", q, 0, base + desc, base + used, base + avail, 0))
            self.send(SET_VRING_BASE, struct.pack("<II", q, 0))
            self.send(SET_VRING_CALL, struct.pack("<Q", q), [self.call[q]])
            self.send(SET_VRING_KICK, struct.pack("<Q", q), [self.kick[q]])
            self.send(SET_VRING_ENABLE, struct.pack("<II", q, 1))

    def address(self):
        return 0x7f0000000000  # ours alone to choose: where we say that the memory is

    def areas(self, q):
        at = 0x1000 + q * 0x4000
        return at, at + 0x1000, at + 0x2000

    def config(self, offset, size):
        reply = self.send(GET_CONFIG, struct.pack("<III", offset, size, 0) + bytes(size), reply=True)
        return reply[12:]

    def capacity(self):
        return struct.unpack("<Q", self.config(0, 8))[0] * 512

    def word(self, at):
        """One load or store of 16 bits: struct.pack_into() writes zeroes first, and a device that polls sees them."""
        return memoryview(self.memory)[at:at + 2].cast("H")

    def put(self, q, kind, sector, length):
        """Makes one request available: header, data and status at fixed places of the queue; and kicks."""
        desc, avail, _ = self.areas(q)
        header, data = 0x40000 + q * 0x10000, 0x41000 + q * 0x10000
        status = header + 16
        self.memory[status] = 0xff
        struct.pack_into("<IIQ", self.memory, header, kind, 0, sector)
        struct.pack_into("<QIHH", self.memory, desc, GPA + header, 16, 1, 1)
        struct.pack_into("<QIHH", self.memory, desc + 16, GPA + data, length, 1 | (2 if kind == BLK_IN else 0), 2)
        struct.pack_into("<QIHH", self.memory, desc + 32, GPA + status, 1, 2, 0)
        struct.pack_into("<H", self.memory, avail + 4 + self.avail[q] % self.size * 2, 0)
        self.avail[q] = (self.avail[q] + 1) & 0xffff
        self.word(avail + 2)[0] = self.avail[q]
        os.write(self.kick[q], struct.pack("<Q", 1))
        return data, status

    def wait_used(self, q, seconds=10):
        _, _, used = self.areas(q)
        while self.word(used + 2)[0] != self.avail[q]:
            if not select.select([self.call[q]], [], [], seconds)[0]:
                raise TimeoutError("no used buffer on queue %d in %d s" % (q, seconds))
            os.read(self.call[q], 8)

    def write(self, sector, data, q=0):
        at = 0x41000 + q * 0x10000
        self.memory[at:at + len(data)] = data
        _, status = self.put(q, BLK_OUT, sector, len(data))
        self.wait_used(q)
        return self.memory[status]

    def read(self, sector, length, q=0):
        """(status byte, data)"""
        data, status = self.put(q, BLK_IN, sector, length)
        self.wait_used(q)
        return self.memory[status], self.memory[data:data + length]

    def close(self):
        self.socket.close()
        self.memory.close()
        for fd in [self.memfd] + self.kick + self.call:
            os.close(fd)


class NetFrontEnd(FrontEnd):
    """Of each pair, the first queue has `size` buffers for frames, and the second sends one frame at a time."""
    wanted = PF_MQ | PF_REPLY_ACK | PF_RARP | PF_NET_MTU
    features = NET_F_MAC | NET_F_STATUS | NET_F_MTU
    BUFFER = 2048

    def __init__(self, where, config=False, pairs=1, **more):
        if config:
            self.wanted |= PF_CONFIG
        if pairs > 1:
            self.features |= NET_F_MQ
        super().__init__(where, queues=2 * pairs, **more)
        self.seen = [0] * pairs
        for pair in range(pairs):
            for index in range(self.size):
                self.give(pair, index)
            os.write(self.kick[2 * pair], struct.pack("<Q", 1))

    def buffer(self, q, index):
        return 0x40000 + q * 0x20000 + index * self.BUFFER

    def make_available(self, q, index):
        _, avail, _ = self.areas(q)
        struct.pack_into("<H", self.memory, avail + 4 + self.avail[q] % self.size * 2, index)
        self.avail[q] = (self.avail[q] + 1) & 0xffff
        self.word(avail + 2)[0] = self.avail[q]

    def give(self, pair, index):
        q = 2 * pair
        desc, _, _ = self.areas(q)
        struct.pack_into("<QIHH", self.memory, desc + 16 * index, GPA + self.buffer(q, index), self.BUFFER, 2, 0)
        self.make_available(q, index)

    def transmit(self, frame, pair=0):
        """Sends one frame, and waits until its buffer is used."""
        q = 2 * pair + 1
        desc, _, _ = self.areas(q)
        at = self.buffer(q, 0)
        self.memory[at:at + NET_HDR + len(frame)] = bytes(NET_HDR) + frame
        struct.pack_into("<QIHH", self.memory, desc, GPA + at, NET_HDR + len(frame), 0, 0)
        self.make_available(q, 0)
        os.write(self.kick[q], struct.pack("<Q", 1))
        self.wait_used(q)

    def transmit_many(self, nr, length):
        """Frames of `length` zeroes, made available at once; does not wait."""
        desc, _, _ = self.areas(1)
        for index in range(nr):
            struct.pack_into("<QIHH", self.memory, desc + 16 * index, GPA + self.buffer(1, 0), NET_HDR + length, 0, 0)
        self.memory[self.buffer(1, 0):self.buffer(1, 0) + NET_HDR + length] = bytes(NET_HDR + length)
        for index in range(nr):
            self.make_available(1, index)
        os.write(self.kick[1], struct.pack("<Q", 1))

    def used(self, q):
        return self.word(self.areas(q)[2] + 2)[0]

    def receive_frame(self, seconds=10, pair=0):
        """The next frame; None: none came."""
        q = 2 * pair
        _, _, used = self.areas(q)
        while self.word(used + 2)[0] == self.seen[pair] & 0xffff:
            if not select.select([self.call[q]], [], [], seconds)[0]:
                return None
            os.read(self.call[q], 8)
        index, length = struct.unpack_from("<II", self.memory, used + 4 + self.seen[pair] % self.size * 8)
        at = self.buffer(q, index)
        frame = bytes(self.memory[at + NET_HDR:at + length])
        self.seen[pair] += 1
        self.give(pair, index)
        os.write(self.kick[q], struct.pack("<Q", 1))
        return frame

    def mac(self):
        return self.config(0, 6)

    def link(self):
        return struct.unpack("<H", self.config(6, 2))[0] & 1
