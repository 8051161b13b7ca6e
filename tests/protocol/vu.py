# SPDX-License-Identifier: MIT
"""vhost-user spoken byte by byte: a front-end (Frontend), memory it shares (Memory), rings driven by
hand (Split, Packed), the process under test (Server), and a small test runner (run).
"""
import array
import fcntl
import json
import mmap
import os
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from cli_help import listening

# Hundreds of pieces of memory, each two descriptors here; the usual soft limit is 1024.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= soft < 8192:
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192 if hard < 0 else max(soft, min(hard, 8192)), hard))

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD = range(1, 8)
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD, IOTLB_MSG = 19, 20, 21, 22
GET_CONFIG, SET_CONFIG = 24, 25
GET_INFLIGHT_FD, SET_INFLIGHT_FD, RESET_DEVICE, VRING_KICK = 31, 32, 34, 35
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = 36, 37, 38, 39, 40
SET_DEVICE_STATE_FD, CHECK_DEVICE_STATE = 42, 43

BACKEND_IOTLB_MSG, BACKEND_CONFIG_CHANGE_MSG, BACKEND_VRING_CALL, BACKEND_VRING_ERR = 1, 2, 4, 5

MQ, LOG_SHMFD, RARP, REPLY_ACK, MTU, BACKEND_REQ, CONFIG = 0, 1, 2, 3, 4, 5, 9
INFLIGHT_SHMFD, RESET_DEVICE_F, INBAND, MEM_SLOTS, STATUS, DEVICE_STATE = 12, 13, 14, 15, 16, 19
BASE_INFLIGHT, GPA_ADDRESSES = 20, 21

LOG_ALL, INDIRECT, EVENT_IDX, PROTOCOL, VERSION_1, IOMMU, PACKED, IN_ORDER = 26, 28, 29, 30, 32, 33, 34, 35

NOFD = 0x100
ANY = object()


def bits(*numbers):
    return sum(1 << n for n in numbers)


class Failure(Exception):
    pass


def check(ok, text, *args):
    if not ok:
        raise Failure(text % args if args else text)


def same(got, want, what):
    check(got == want, "%s is %r instead of %r", what, got, want)


# ---------------------------------------------------------------- the process under test

class Server:
    """A back-end in a process of its own. words: of tests/support/vu_server.c; command: another program."""

    def __init__(self, words=(), command=None, path=None, pass_fds=(), wait=True, env=None):
        self.folder = tempfile.mkdtemp(prefix="vio-protocol-")
        self.path = path or os.path.join(self.folder, "s")
        self.command = command or [os.environ["VU_SERVER"], "listen=" + self.path] + list(words)
        self.pass_fds, self.env = pass_fds, env
        self.lines = []
        self.process = None
        running.append(self)
        self.start(wait)

    def start(self, wait=True):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, pass_fds=self.pass_fds,
                                        text=True, errors="replace", env=self.env)
        self.thread = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self.thread.start()
        if wait:
            self.wait_for(lambda: self.process.poll() is not None or listening(self.path), 10, "a socket")
            check(self.process.poll() is None, "it ended at once: %s", self.text())

    def _read(self, stream):
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    def text(self):
        return "\n".join(self.lines[-40:])

    def wait_for(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            check(time.monotonic() < end, "no %s in %d s; the log:\n%s", what, seconds, self.text())
            time.sleep(0.005)

    def wait_line(self, part, seconds=5):
        self.wait_for(lambda: any(part in l for l in self.lines), seconds, "line with '%s'" % part)

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def maps(self):
        with open("/proc/%d/maps" % self.process.pid) as maps:
            return len(maps.readlines())

    def sanitized(self):
        """Built with AddressSanitizer or the like: what it keeps for itself says nothing."""
        with open("/proc/%d/status" % self.process.pid) as status:
            return int([l for l in status if l.startswith("VmSize")][0].split()[1]) > 1 << 30

    def rss(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            return int([l for l in status if l.startswith("VmRSS")][0].split()[1])

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.thread.join(5)
        self.process.stderr.close()

    def stop(self, expect=0):
        """Ends it in good order: a sanitizer has its say."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            raise Failure("it does not end on SIGTERM; the log:\n%s" % self.text())
        self.thread.join(5)
        self.process.stderr.close()
        self.process = None
        same(status, expect, "its exit status (the log: %s)" % self.text())

    def forget(self):
        self.kill()
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
        os.rmdir(self.folder)


running = []


# ---------------------------------------------------------------- the socket

class Frontend:
    def __init__(self, where, timeout=5):
        if isinstance(where, Server):
            where = where.path
        if isinstance(where, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            for attempt in range(200):
                try:
                    self.socket.connect(where)
                    break
                except BlockingIOError: # so many wait already
                    time.sleep(0.01)
        else:
            self.socket = where
            self.socket.settimeout(timeout)
        self.protocol = 0
        self.back = None
        opened.append(self)

    def raw(self, data, fds=()):
        self.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])

    def send(self, id, payload=b"", fds=(), need_reply=False, flags=None, size=None):
        flags = (1 | (8 if need_reply else 0)) if flags is None else flags
        self.raw(struct.pack("=III", id, flags, len(payload) if size is None else size) + payload, fds)

    def recv(self, on=None):
        """(id, flags, payload, fds) or None at the end."""
        sock = on or self.socket
        head, fds = b"", []
        while len(head) < 12:
            data, ancillary, _, _ = sock.recvmsg(12 - len(head), socket.CMSG_SPACE(64 * 4))
            for level, kind, value in ancillary:
                fds += list(array.array("i", value[:len(value) - len(value) % 4]))
            if not data:
                return None
            head += data
        id, flags, size = struct.unpack("=III", head)
        payload = b""
        while len(payload) < size:
            data = sock.recv(size - len(payload))
            check(data, "the reply ended early")
            payload += data
        return id, flags, payload, fds

    def reply(self, id):
        got = self.recv()
        check(got is not None, "message %d: the connection ended instead of a reply", id)
        same(got[0], id, "the reply's number")
        same(got[1], 5, "the reply's flags")
        return got[2], got[3]

    def ask(self, id, payload=b"", fds=(), need_reply=False):
        self.send(id, payload, fds, need_reply)
        return self.reply(id)

    def u64(self, id, payload=b"", fds=(), need_reply=False):
        data, got = self.ask(id, payload, fds, need_reply)
        same(len(data), 8, "the length of the reply")
        same(got, [], "the reply's descriptors")
        return struct.unpack("=Q", data)[0]

    def do(self, id, payload=b"", fds=()):
        """A message that must be acknowledged with success."""
        same(self.u64(id, payload, fds, need_reply=True), 0, "the acknowledgement of message %d" % id)

    def fail(self, id, payload=b"", fds=()):
        check(self.u64(id, payload, fds, need_reply=True) != 0, "message %d was accepted", id)

    def alive(self):
        """All before this was dealt with, down to closing what came along."""
        self.u64(GET_FEATURES)
        return True

    def ended(self):
        """Whether the back-end hung up; anything else that it sends is an error."""
        try:
            got = self.recv()
        except ConnectionResetError:
            return True
        check(got is None, "there was an answer %r instead of the end", got)
        return True

    def close(self):
        self.socket.close()
        if self.back:
            self.back.close()

    # ---- whole steps

    def negotiate(self, protocol=bits(MQ, REPLY_ACK, CONFIG, MEM_SLOTS), features=bits(VERSION_1), more=0, owner=True):
        self.offered = self.u64(GET_FEATURES)
        if protocol is not None:
            have = self.u64(GET_PROTOCOL_FEATURES)
            check(have & protocol == protocol, "protocol features 0x%x are offered, not all of 0x%x", have, protocol)
            self.send(SET_PROTOCOL_FEATURES, struct.pack("=Q", protocol))
            self.protocol = protocol
            features |= bits(PROTOCOL)
        if owner:
            self.send(SET_OWNER)
        self.features = features | more
        self.send(SET_FEATURES, struct.pack("=Q", self.features))
        return self

    def channel(self):
        ours, theirs = socket.socketpair()
        ours.settimeout(5)
        self.do(SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        self.back = ours

    def status(self, *steps):
        for step in steps:
            self.do(SET_STATUS, struct.pack("=Q", step))

    def table(self, *memories):
        payload = struct.pack("=II", len(memories), 0)
        payload += b"".join(m.region() for m in memories)
        self.send(SET_MEM_TABLE, payload, [m.fd for m in memories], need_reply=bool(self.protocol & bits(REPLY_ACK)))
        if self.protocol & bits(REPLY_ACK):
            data, _ = self.reply(SET_MEM_TABLE)
            same(struct.unpack("=Q", data)[0], 0, "the acknowledgement of SET_MEM_TABLE")

    def add(self, memory):
        self.do(ADD_MEM_REG, bytes(8) + memory.region(), [memory.fd])

    def remove(self, memory):
        self.do(REM_MEM_REG, bytes(8) + memory.region())

    def vring(self, id, index, num):
        self.send(id, struct.pack("=II", index, num))

    def base(self, index):
        data, _ = self.ask(GET_VRING_BASE, struct.pack("=II", index, 0))
        got, num = struct.unpack("=II", data)
        same(got, index, "the queue of GET_VRING_BASE")
        return num

    def enable(self, index, on=1):
        self.do(SET_VRING_ENABLE, struct.pack("=II", index, on))

    def start(self, ring, index=0, base=None, kick=True, call=True, enable=True, log=None):
        self.vring(SET_VRING_NUM, index, ring.size)
        if base is not None:
            self.vring(SET_VRING_BASE, index, base)
        self.send(SET_VRING_ADDR, ring.addr(index, log))
        if call:
            self.send(SET_VRING_CALL, struct.pack("=Q", index), [ring.call])
        if kick:
            self.send(SET_VRING_KICK, struct.pack("=Q", index), [ring.kick_fd])
        else:
            self.send(SET_VRING_KICK, struct.pack("=Q", index | NOFD))
        if enable and self.protocol:
            self.enable(index)


opened = []


# ---------------------------------------------------------------- memory

class Memory:
    """One region: a memfd, where the guest has it and where the front-end says it has it."""

    def __init__(self, size=1 << 20, gpa=0x100000, uva=0x7f0000000000, offset=0, file_size=None):
        self.size, self.gpa, self.uva, self.offset = size, gpa, uva, offset
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, file_size if file_size is not None else size + offset)
        if file_size is None:
            self.map = mmap.mmap(self.fd, size + offset)
        self.next = 0
        memories.append(self)

    def region(self):
        return struct.pack("=QQQQ", self.gpa, self.size, self.uva, self.offset)

    def take(self, n, align=4096):
        at = (self.next + align - 1) // align * align
        check(at + n <= self.size, "the test's memory is too small")
        self.next = at + n
        return at

    def write(self, at, data):
        self.map[self.offset + at:self.offset + at + len(data)] = data

    def read(self, at, n):
        return self.map[self.offset + at:self.offset + at + n]

    # One load or store of 16 bits. struct.pack_into() writes zeroes first, and the device would see them.
    def word(self, at):
        return memoryview(self.map)[self.offset + at:self.offset + at + 2].cast("H")

    def put16(self, at, value):
        self.word(at)[0] = value & 0xffff

    def get16(self, at):
        return self.word(at)[0]

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            if hasattr(self, "map"):
                self.map.close()
            self.fd = -1


memories = []


# ---------------------------------------------------------------- rings, driver side

class Ring:
    """What both formats share. Buffers are one readable and one writable piece of `room` bytes each."""

    def __init__(self, memory, size=16, room=64, iova=None):
        self.m, self.size, self.room = memory, size, room
        self.iova = iova  # added to offsets instead of the guest address, with an IOMMU
        self.kick_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_NONBLOCK)
        self.pieces = memory.take(size * 2 * room)
        self.layout()
        self.free = list(range(size))
        self.waiting = {}  # tag -> id
        rings.append(self)

    def at(self, offset):
        return (self.m.gpa if self.iova is None else self.iova) + offset

    def addr(self, index, log=None):
        base = self.m.uva if self.iova is None else self.iova
        return struct.pack("=IIQQQQ", index, 0 if log is None else 1, base + self.desc, base + self.device,
                           base + self.driver, log or 0)

    def request(self, op, tag, data=b"", slot=0):
        """Writes a request into the pieces of a slot; the addresses of its two pieces."""
        body = struct.pack("=B7xQ", op, tag) + data
        check(len(body) <= self.room, "the request is too long")
        readable = self.pieces + slot * 2 * self.room
        self.m.write(readable, body)
        self.m.write(readable + self.room, bytes(self.room))
        return self.at(readable), len(body), self.at(readable + self.room), self.room

    def answer(self, slot, tag):
        """Checks what was written for a request."""
        got = struct.unpack("=Q", self.m.read(self.pieces + slot * 2 * self.room + self.room, 8))[0]
        same(got, tag, "the answer to request %d" % tag)

    def kick(self):
        os.eventfd_write(self.kick_fd, 1)

    def called(self, seconds=5):
        return self.signalled(self.call, seconds)

    @staticmethod
    def signalled(fd, seconds):
        ready, _, _ = select.select([fd], [], [], seconds)
        if ready:
            os.eventfd_read(fd)
        return bool(ready)

    def wait(self, tags, seconds=10):
        """Collects until exactly these tags were answered, each once."""
        tags = set(tags)
        end = time.monotonic() + seconds
        while tags:
            for tag in self.collect():
                check(tag in tags, "request %d was answered, but not due", tag)
                tags.discard(tag)
            check(time.monotonic() < end, "requests %r were not answered in %d s", sorted(tags)[:10], seconds)
            if tags:
                time.sleep(0.0005)

    def quiet(self, seconds=0.1):
        time.sleep(seconds)
        same(self.collect(), [], "answers that were not due")

    def close(self):
        if self.kick_fd >= 0:
            os.close(self.kick_fd)
            os.close(self.call)
            self.kick_fd = -1


rings = []


class Split(Ring):
    def layout(self):
        self.desc = self.m.take(16 * self.size)
        self.driver = self.m.take(6 + 2 * self.size)
        self.device = self.m.take(6 + 8 * self.size)
        self.avail = self.used = 0
        self.slots = list(range(0, self.size - 1, 2))  # two descriptors each

    def put(self, op, tag, data=b""):
        check(self.slots, "no room in the ring")
        head = self.slots.pop(0)
        a, n, b, m = self.request(op, tag, data, head // 2)
        self.m.write(self.desc + 16 * head, struct.pack("=QIHH", a, n, 1, head + 1))
        self.m.write(self.desc + 16 * (head + 1), struct.pack("=QIHH", b, m, 2, 0))
        self.m.put16(self.driver + 4 + 2 * (self.avail % self.size), head)
        self.avail = (self.avail + 1) & 0xffff
        self.waiting[head] = tag

    def publish(self):
        self.m.put16(self.driver + 2, self.avail)

    def collect(self):
        tags = []
        idx = self.m.get16(self.device + 2)
        check((idx - self.used) & 0xffff <= self.size, "the used index jumped from %d to %d", self.used, idx)
        while self.used != idx:
            head, length = struct.unpack("=II", self.m.read(self.device + 4 + 8 * (self.used % self.size), 8))
            self.used = (self.used + 1) & 0xffff
            check(head in self.waiting, "descriptor %d was used and is not in flight", head)
            tag = self.waiting.pop(head)
            self.answer(head // 2, tag)
            check(length >= 8, "%d bytes were written for request %d", length, tag)
            self.slots.append(head)
            tags.append(tag)
        return tags

    def position(self):
        return self.avail

    def initial(self):
        return 0


class Packed(Ring):
    def layout(self):
        self.desc = self.m.take(16 * self.size)
        self.driver = self.m.take(4)
        self.device = self.m.take(4)
        self.avail, self.avail_wrap = 0, 1
        self.used, self.used_wrap = 0, 1
        self.slots = list(range(self.size // 2))  # buffer ids
        self.held = []

    def put(self, op, tag, data=b""):
        check(self.slots, "no room in the ring")
        id = self.slots.pop(0)
        a, n, b, m = self.request(op, tag, data, id)
        for addr, length, flags in ((a, n, 1), (b, m, 2)):
            flags |= 0x80 if self.avail_wrap else 0x8000
            self.held.append((self.avail, struct.pack("=QIH", addr, length, id), flags))
            self.avail += 1
            if self.avail == self.size:
                self.avail, self.avail_wrap = 0, self.avail_wrap ^ 1
        self.waiting[id] = tag

    def publish(self):
        for at, body, flags in reversed(self.held):
            self.m.write(self.desc + 16 * at, body)
            self.m.put16(self.desc + 16 * at + 14, flags)
        self.held = []

    def collect(self):
        tags = []
        while True:
            flags = self.m.get16(self.desc + 16 * self.used + 14)
            length, id = struct.unpack("=8xIH2x", self.m.read(self.desc + 16 * self.used, 16))
            if (flags >> 7 & 1, flags >> 15 & 1) != (self.used_wrap, self.used_wrap):
                return tags
            check(id in self.waiting, "buffer %d was used and is not in flight", id)
            tag = self.waiting.pop(id)
            self.answer(id, tag)
            check(length >= 8, "%d bytes were written for request %d", length, tag)
            self.slots.append(id)
            self.used += 2
            if self.used >= self.size:
                self.used, self.used_wrap = self.used - self.size, self.used_wrap ^ 1
            tags.append(tag)

    def position(self):
        avail = self.avail | self.avail_wrap << 15
        return avail | (self.used | self.used_wrap << 15) << 16

    def initial(self):
        return 0x80008000


FORMATS = {"split": (Split, 0), "packed": (Packed, bits(PACKED))}


# ---------------------------------------------------------------- running

def tidy():
    for things in (opened, rings, memories):
        for thing in things:
            thing.close()
        things.clear()
    for server in running:
        server.forget()
    running.clear()


def run(names):
    """Runs all test_* of a script (or those named on the command line); prints TAP."""
    tests = [(n, f) for n, f in names.items() if n.startswith("test_")]
    if len(sys.argv) > 1:
        tests = [(n, f) for n, f in tests if any(w in n for w in sys.argv[1:])]
    print("1..%d" % len(tests), flush=True)
    failed = 0
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number, (name, test) in enumerate(tests, 1):
        begun = time.monotonic()
        logs = running
        try:
            test()
            for server in running:
                if server.process is not None:
                    server.stop()
            print("ok %d - %s # %.2f s" % (number, name[5:], time.monotonic() - begun), flush=True)
        except Exception as error:
            failed += 1
            print("not ok %d - %s" % (number, name[5:]))
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            where = traceback.extract_tb(error.__traceback__)
            for line in text.split("\n") + ["line " + ", ".join(str(f.lineno) for f in where if "/vu.py" not in f.filename)]:
                print("# " + line)
            for server in logs:
                print("# the back-end's log:")
                for line in server.lines[-15:]:
                    print("#   " + line)
            sys.stdout.flush()
        finally:
            tidy()
    sys.exit(1 if failed or not tests else 0)
