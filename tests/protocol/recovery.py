#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The in-flight record: a back-end that is killed with requests in flight, and the next one that takes over: each
request is answered exactly once. And records that lie."""
from vu import *

PROTOCOL = bits(MQ, REPLY_ACK, MEM_SLOTS, INFLIGHT_SHMFD)


class Region:
    def __init__(self, f, queues, size):
        data, fds = f.ask(GET_INFLIGHT_FD, struct.pack("=QQHH4x", 0, 0, queues, size))
        self.payload = data
        self.bytes, self.offset, got_queues, got_size = struct.unpack("=QQHH4x", data)
        same((got_queues, got_size, len(fds)), (queues, size, 1), "the region")
        self.fd = fds[0]
        opened.append(self)

    def give(self, f):
        f.do(SET_INFLIGHT_FD, self.payload, [self.fd])

    def close(self):
        os.close(self.fd)


def life(s, m, ring, region=None, kind="split", queues=1, protocol=PROTOCOL, base=None, more=0):
    """Everything that QEMU does when it connects. The ring goes on where it was."""
    f = Frontend(s).negotiate(protocol=protocol, more=FORMATS[kind][1] | more)
    f.add(m)
    region = region or Region(f, queues, ring.size)
    region.give(f)
    f.start(ring, base=ring.initial() if base is None else base)
    return f, region


def last_used(kind, ring):
    """The position that QEMU hands to the next back-end: it only knows what was used."""
    if kind == "split":
        return ring.m.get16(ring.device + 2)
    return (ring.used | ring.used_wrap << 15) * 0x10001


def test_region():
    s = Server()
    f = Frontend(s).negotiate(protocol=PROTOCOL)
    for queues, size in ((1, 1), (4, 1024), (2, 7)):
        r = Region(f, queues, size)
        check(os.fstat(r.fd).st_size >= r.offset + r.bytes, "the file is shorter than the region")
        with mmap.mmap(r.fd, r.bytes) as shared:
            same(shared[:], bytes(r.bytes), "a fresh region")
        seals = fcntl.fcntl(r.fd, fcntl.F_GET_SEALS)
        check(seals & fcntl.F_SEAL_SHRINK, "the region may shrink")
        r.give(f)
    f.alive()
    fds = s.fds()
    for _ in range(50):
        Region(f, 4, 64).give(f)
    f.alive()
    same(s.fds(), fds, "open descriptors")
    for queues, size in ((0, 16), (5, 16), (4, 0), (4, 32769), (65535, 65535)):
        data, got = f.ask(GET_INFLIGHT_FD, struct.pack("=QQHH4x", 0, 0, queues, size))
        same((data, got), (bytes(24), []), "the refusal of %d queues of %d" % (queues, size))
    # 20 bytes are as good as 24, and are answered by 20.
    data, got = f.ask(GET_INFLIGHT_FD, struct.pack("=QQHH", 0, 0, 1, 16))
    same(len(data), 20, "the length of the reply")
    os.close(got[0])


def test_regions_that_cannot_be():
    s = Server()
    f = Frontend(s).negotiate(protocol=PROTOCOL)
    r = Region(f, 2, 64)
    small, pipe = os.memfd_create("small"), os.pipe()
    os.ftruncate(small, 1000)
    f.alive()
    fds = s.fds()
    for what, payload, fd in (
            ("a file that is too short", struct.pack("=QQHH4x", r.bytes, 0, 2, 64), small),
            ("an offset past the file", struct.pack("=QQHH4x", r.bytes, 1 << 20, 2, 64), r.fd),
            ("an offset that wraps", struct.pack("=QQHH4x", r.bytes, 2 ** 64 - 64, 2, 64), r.fd),
            ("an odd offset", struct.pack("=QQHH4x", 100, 8, 1, 4), r.fd),
            ("too few bytes", struct.pack("=QQHH4x", r.bytes - 64, 0, 2, 64), r.fd),
            ("no queues", struct.pack("=QQHH4x", r.bytes, 0, 0, 64), r.fd),
            ("too many queues", struct.pack("=QQHH4x", r.bytes, 0, 5, 4), r.fd),
            ("no entries", struct.pack("=QQHH4x", r.bytes, 0, 2, 0), r.fd),
            ("a size that wraps", struct.pack("=QQHH4x", 2 ** 64 - 1, 0, 2, 64), r.fd),
            ("a pipe", struct.pack("=QQHH4x", r.bytes, 0, 2, 64), pipe[0])):
        f.fail(SET_INFLIGHT_FD, payload, [fd])
        f.alive()
        same(s.fds(), fds, "open descriptors after %s" % what)
    for fd in (small, *pipe):
        os.close(fd)
    r.give(f)


def killed_with_requests_in_flight(kind, order):
    s = Server()
    m = Memory()
    ring = FORMATS[kind][0](m, size=32)
    f, region = life(s, m, ring, kind=kind)
    tag = 0
    for turn in range(12):
        held = []
        for i in range(6):
            ring.put(order[i % len(order)], tag)
            held.append(tag)
            tag += 1
            ring.publish()
        ring.kick()
        s.wait_for(lambda: f.alive(), 2, "answer")
        time.sleep(0.02)
        done = ring.collect()
        s.kill()
        # Some more, which the dead one never saw.
        for i in range(3):
            ring.put(0, tag)
            held.append(tag)
            tag += 1
        ring.publish()
        f.close()
        check(not ring.collect(), "answers from the dead")
        s.start()
        f, _ = life(s, m, ring, region, kind=kind, base=last_used(kind, ring))
        ring.put(2, tag)
        held.append(tag)
        tag += 1
        ring.publish()
        ring.kick()
        ring.wait(set(held) - set(done))
        ring.quiet(0.02)


def test_killed_split():
    killed_with_requests_in_flight("split", (1, 1, 1))


def test_killed_packed():
    killed_with_requests_in_flight("packed", (1, 1, 1))


def test_killed_out_of_order_split():
    killed_with_requests_in_flight("split", (1, 0, 1, 0, 0))


def test_killed_out_of_order_packed():
    killed_with_requests_in_flight("packed", (0, 1, 0, 1))


def killed_at_random(kind, turns=40):
    """Load of slow requests that end in any order; the back-end is killed whenever."""
    chance = random.Random(5)
    s = Server()
    m = Memory()
    ring = FORMATS[kind][0](m, size=64)
    f, region = life(s, m, ring, kind=kind)
    tag, due = 0, set()

    def collect():
        for done in ring.collect():
            check(done in due, "request %d was answered twice, or never asked for", done)
            due.discard(done)
    for turn in range(turns):
        end = time.monotonic() + chance.uniform(0.001, 0.02)
        while time.monotonic() < end:
            for _ in range(chance.randrange(1, 8)):
                if not ring.slots:
                    break
                ring.put(chance.choice((6, 6, 0)), tag)
                due.add(tag)
                tag += 1
            ring.publish()
            ring.kick()
            collect()
        s.kill()
        f.close()
        collect()
        s.start()
        f, _ = life(s, m, ring, region, kind=kind, base=last_used(kind, ring))
        ring.kick()
    end = time.monotonic() + 10
    while due:
        collect()
        check(time.monotonic() < end, "%d requests were never answered", len(due))
        time.sleep(0.001)
    check(tag > 500, "only %d requests", tag)
    ring.quiet(0.05)


def test_killed_at_random_split():
    killed_at_random("split")


def test_killed_at_random_packed():
    killed_at_random("packed")


def test_several_queues():
    s = Server()
    m = Memory()
    lot = [Split(m, size=16) for _ in range(4)]

    def begin(region, bases):
        f = Frontend(s).negotiate(protocol=PROTOCOL)
        f.add(m)
        region = region or Region(f, 4, 16)
        region.give(f)
        for i, r in enumerate(lot):
            f.start(r, i, base=bases[i])
        return f, region
    f, region = begin(None, [0] * 4)
    for i, r in enumerate(lot):
        for tag in range(i + 1):
            r.put(1, tag)
        r.publish()
        r.kick()
    time.sleep(0.05)
    s.kill()
    f.close()
    s.start()
    f, _ = begin(region, [last_used("split", r) for r in lot])
    for i, r in enumerate(lot):
        r.put(2, 99)
        r.publish()
        r.kick()
        r.wait(list(range(i + 1)) + [99])


def test_reset_forgets_the_region():
    """After a reset the rings are others: the record counts only when it is given again."""
    for kind in FORMATS:
        s = Server()
        m = Memory()
        ring = FORMATS[kind][0](m, size=16)
        f, region = life(s, m, ring, kind=kind, protocol=PROTOCOL | bits(RESET_DEVICE_F))
        for turn in range(5):
            for tag in range(4):
                ring.put(0, tag)
            ring.publish()
            ring.kick()
            ring.wait(range(4))
        f.do(RESET_DEVICE)
        f.send(SET_FEATURES, struct.pack("=Q", f.features))
        fresh = FORMATS[kind][0](m, size=8)
        f.start(fresh, base=fresh.initial())
        fresh.put(0, 1)
        fresh.publish()
        fresh.kick()
        fresh.wait([1])
        tidy()


def test_region_before_features():
    """Older front-ends ask for the region first; it is large enough for either format."""
    s = Server()
    f = Frontend(s)
    f.send(SET_PROTOCOL_FEATURES, struct.pack("=Q", PROTOCOL))
    f.protocol = PROTOCOL
    f.send(SET_OWNER)
    region = Region(f, 1, 16)
    region.give(f)
    f.send(SET_FEATURES, struct.pack("=Q", bits(VERSION_1, 30, PACKED)))
    m = Memory()
    f.add(m)
    ring = Packed(m)
    f.start(ring, base=ring.initial())
    ring.put(0, 1)
    ring.publish()
    ring.kick()
    ring.wait([1])


def test_suspended():
    """GET_VRING_BASE_INFLIGHT: what is held stays in the record, and the next back-end answers it."""
    for kind in FORMATS:
        s, next = Server(), Server()
        m = Memory()
        ring = FORMATS[kind][0](m, size=32)
        f, region = life(s, m, ring, kind=kind, protocol=PROTOCOL | bits(BASE_INFLIGHT))
        for tag in range(5):
            ring.put((1, 0)[tag % 2], tag)
        ring.publish()
        ring.kick()
        ring.wait([1, 3])
        base = f.base(0)
        ring.quiet(0.05)
        f2, _ = life(next, m, ring, region, kind=kind, base=base)
        ring.put(2, 9)
        ring.publish()
        ring.kick()
        ring.wait([0, 2, 4, 9])
        # The first one hangs up, and must not touch the ring again.
        f.close()
        ring.quiet(0.05)
        tidy()


def lie(kind, changes, starts):
    """A record with some bytes changed; whether the queue starts, and the back-end lives, in any case."""
    s = Server()
    m = Memory()
    ring = FORMATS[kind][0](m, size=16)
    f, region = life(s, m, ring, kind=kind)
    for tag in range(5):
        ring.put((1, 0)[tag % 2], tag)
    ring.publish()
    ring.kick()
    ring.wait([1, 3])
    s.kill()
    f.close()
    with mmap.mmap(region.fd, region.bytes) as shared:
        for at, data in changes:
            shared[at:at + len(data)] = data
    s.start()
    f = Frontend(s).negotiate(protocol=PROTOCOL, more=FORMATS[kind][1])
    f.add(m)
    region.give(f)
    f.start(ring, base=last_used(kind, ring), enable=False)
    ok = f.u64(SET_VRING_KICK, struct.pack("=Q", 0), [ring.kick_fd], need_reply=True) == 0
    f.alive()
    if not starts:
        s.wait_line("in-flight")
    return ok


def test_records_that_lie():
    for kind in FORMATS:
        entry = 16 if kind == "split" else 32
        for what, changes in (
                ("another version", [(8, b"\2\0")]),
                ("another number of entries", [(10, b"\x20\0")]),
                ("everything in flight", [(entry * (1 + i), b"\1") for i in range(16)]),
                ("used index far off" if kind == "split" else "used index past the ring",
                 [(14, b"\0\x50")] if kind == "split" else [(16, b"\x10\0"), (18, b"\x10\0")]),
                ("a free list that leaves the table" if kind == "packed" else "a last batch past the table",
                 [(12, b"\xff\x7f"), (14, b"\xff\x7f")] if kind == "packed" else [(12, b"\x10\0"), (14, b"\0\0")])):
            check(lie(kind, changes, False) is not None, "")
            tidy()


def test_records_at_random():
    """Any bytes at all: the queue starts or does not, and the back-end lives."""
    chance = random.Random(9)
    for turn in range(60):
        kind = chance.choice(("split", "packed"))
        entry = 16 if kind == "split" else 32
        changes = [(chance.randrange(entry * 17), bytes([chance.choice((0, 1, 2, 15, 16, 255))]))
                   for _ in range(chance.randrange(1, 6))]
        lie(kind, changes, True)
        tidy()


def test_another_size_of_queue():
    s = Server()
    m = Memory()
    ring = Split(m, size=16)
    f = Frontend(s).negotiate(protocol=PROTOCOL)
    f.add(m)
    region = Region(f, 1, 8)
    region.give(f)
    f.start(ring, enable=False)
    f.fail(SET_VRING_KICK, struct.pack("=Q", 0), [ring.kick_fd])
    f.alive()


if __name__ == "__main__":
    run(globals())
