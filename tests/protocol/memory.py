#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guest memory as front-ends share it: slots by the hundred, regions that change under running queues, regions
that cannot be, private memory; the dirty log bit by bit; translations."""
from vu import *

PAGE = 4096


def ready(server, kind="split", protocol=bits(MQ, REPLY_ACK, MEM_SLOTS, LOG_SHMFD), features=0, memory=None, **start):
    ring_type, more = FORMATS[kind]
    f = Frontend(server).negotiate(protocol=protocol, more=features | more)
    m = memory or Memory()
    f.add(m)
    ring = ring_type(m)
    f.start(ring, **start)
    return f, m, ring


def ping(ring, tags, op=0, data=b"payload"):
    for tag in tags:
        ring.put(op, tag, data)
    ring.publish()
    ring.kick()
    ring.wait(tags)


# ---------------------------------------------------------------- regions

def test_hundreds_of_slots():
    s = Server()
    f, m, ring = ready(s)
    f.alive()
    before, fds = s.maps(), s.fds()
    many = [Memory(size=PAGE * 4, gpa=(16 + i) << 20, uva=0x600000000000 + (i << 20)) for i in range(600)]
    begun = time.monotonic()
    for i, more in enumerate(many):
        f.add(more)
        if i % 50 == 0:
            ping(ring, range(4))
    check(time.monotonic() - begun < 5, "600 slots took %.1f s", time.monotonic() - begun)
    f.alive()
    same(s.fds(), fds, "open descriptors with 600 regions")
    # A ring in the last of them, and buffers that lie in all of them.
    far = Split(many[-1], size=8)
    f.start(far, 1)
    ping(far, range(3))
    f.base(1)
    random.Random(3).shuffle(many)
    for more in many:
        f.remove(more)
    ping(ring, range(4))
    check(s.sanitized() or s.maps() <= before + 1, "%d mappings instead of %d", s.maps(), before)


def test_slots_have_a_limit():
    s = Server()
    f, m, ring = ready(s)
    slots = f.u64(GET_MAX_MEM_SLOTS)
    page = Memory(size=PAGE)
    for i in range(1, slots):
        f.do(ADD_MEM_REG, bytes(8) + struct.pack("=QQQQ", (16 + i) << 20, PAGE, 0x600000000000 + (i << 20), 0), [page.fd])
    f.fail(ADD_MEM_REG, bytes(8) + struct.pack("=QQQQ", 1 << 45, PAGE, 0x500000000000, 0), [page.fd])
    s.wait_line("GET_MAX_MEM_SLOTS")
    ping(ring, range(4))


def test_regions_that_cannot_be():
    s = Server()
    f, m, ring = ready(s)
    other = Memory(gpa=1 << 32, uva=0x6f0000000000)
    f.alive()
    fds, maps = s.fds(), s.maps()

    def region(gpa, size, uva, offset=0):
        return bytes(8) + struct.pack("=QQQQ", gpa, size, uva, offset)
    for what, payload in (
            ("the same guest address", region(m.gpa, PAGE, other.uva)),
            ("its last byte", region(m.gpa + m.size - 1, PAGE, other.uva)),
            ("around it", region(0, 1 << 20 | 1 << 19, other.uva)),
            ("the same user address", region(other.gpa, PAGE, m.uva + PAGE)),
            ("empty", region(other.gpa, 0, other.uva)),
            ("past the file", region(other.gpa, other.size, other.uva, PAGE)),
            ("far past the file", region(other.gpa, PAGE, other.uva, 1 << 62)),
            ("an offset that wraps", region(other.gpa, PAGE, other.uva, 2 ** 64 - PAGE)),
            ("a guest address that wraps", region(2 ** 64 - PAGE, 2 * PAGE, other.uva)),
            ("a user address that wraps", region(other.gpa, 2 * PAGE, 2 ** 64 - PAGE)),
            ("more than there is", region(other.gpa, 2 ** 63, other.uva)),
            ("a size that wraps", region(other.gpa, 2 ** 64 - 1, other.uva))):
        f.fail(ADD_MEM_REG, payload, [other.fd])
        f.alive()
        same(s.fds(), fds, "descriptors after %s" % what)
        check(s.sanitized() or s.maps() == maps, "%d mappings instead of %d after %s", s.maps(), maps, what)
    pipe = os.pipe()
    f.fail(ADD_MEM_REG, region(other.gpa, PAGE, other.uva), [pipe[0]])
    f.fail(ADD_MEM_REG, region(other.gpa, PAGE, other.uva), [ring.call])
    with open("/proc/self/exe", "rb") as read_only:
        f.fail(ADD_MEM_REG, region(other.gpa, PAGE, other.uva), [read_only.fileno()])
    for fd in pipe:
        os.close(fd)
    s.wait_line("overlaps the one")
    f.fail(REM_MEM_REG, region(m.gpa, m.size, m.uva + 1))
    f.fail(REM_MEM_REG, region(m.gpa, m.size - 1, m.uva))
    f.fail(REM_MEM_REG, region(other.gpa, m.size, m.uva))
    ping(ring, range(4))


def test_regions_said_again():
    """As QEMU 7.2 does with a network card of several pairs: each change comes once a pair."""
    s = Server()
    f, m, ring = ready(s)
    other = Memory(gpa=1 << 32, uva=0x6f0000000000)
    larger = Memory(gpa=1 << 32, uva=0x6f0000000000, size=2 * other.size)
    f.alive()
    fds, maps = s.fds(), s.maps()
    f.add(other)
    once = s.maps()
    for _ in range(3):
        f.add(other)
    check(s.sanitized() or s.maps() == once, "%d mappings instead of %d", s.maps(), once)
    f.fail(ADD_MEM_REG, bytes(8) + larger.region(), [larger.fd])
    f.fail(ADD_MEM_REG, bytes(8) + other.region(), [larger.fd]) # the same place, and another file
    for _ in range(4):
        f.remove(other)
        f.add(larger) # what comes instead may overlap what goes
    f.fail(REM_MEM_REG, bytes(8) + other.region())
    for _ in range(4):
        f.remove(larger)
    f.fail(REM_MEM_REG, bytes(8) + larger.region())
    f.alive()
    same(s.fds(), fds, "open descriptors")
    check(s.sanitized() or s.maps() == maps, "%d mappings instead of %d", s.maps(), maps)
    ping(ring, range(4))


def test_a_table_that_cannot_be():
    s = Server()
    f = Frontend(s).negotiate(protocol=bits(REPLY_ACK))
    a, b = Memory(), Memory(gpa=1 << 32, uva=0x6f0000000000)
    f.fail(SET_MEM_TABLE, struct.pack("=II", 2, 0) + a.region() * 2, [a.fd, a.fd])
    f.fail(SET_MEM_TABLE, struct.pack("=II", 2, 0) + a.region() + b.region(), [a.fd])
    s.wait_line("share=on")
    f.fail(SET_MEM_TABLE, struct.pack("=II", 1, 0) + a.region(), [a.fd, b.fd])
    f.table(a, b)
    ring = Split(b)
    f.start(ring)
    ping(ring, range(4))
    # The whole structure of 8 regions, as some front-ends send it.
    f.do(SET_MEM_TABLE, struct.pack("=II", 1, 0) + b.region() + bytes(7 * 32), [b.fd])
    ping(ring, range(4))


def test_offsets_inside_pages():
    """Regions start and end anywhere in their file."""
    for offset, gpa, size in ((512, 0x100200, 1 << 20), (PAGE + 16, 0x7010, (1 << 20) + 100), (0, 0x100010, 1 << 20)):
        s = Server()
        m = Memory(size=size, gpa=gpa, uva=0x7f0000000000 + gpa, offset=offset)
        m.next = -gpa % PAGE
        f = Frontend(s).negotiate()
        f.add(m)
        m.take = lambda n, align=16, m=m: aligned(m, n)
        ring = Split(m)
        f.start(ring)
        ping(ring, range(6))
        tidy()


def aligned(m, n):
    at = m.next + (-(m.gpa + m.next)) % PAGE
    m.next = at + n
    check(m.next <= m.size, "the test's memory is too small")
    return at


def test_memory_of_a_ring_goes_and_comes():
    """QEMU removes a region and adds it again, larger, while the rings in it run."""
    for kind in FORMATS:
        s = Server()
        f, m, ring = ready(s, kind)
        ping(ring, range(4))
        for turn in range(10):
            ring.put(1, 100)
            ring.publish()
            ring.kick()
            if turn % 2:
                time.sleep(0.005)
            f.remove(m)
            ring.put(0, 101)
            ring.publish()
            ring.kick()
            f.alive()
            f.add(m)
            ring.put(2, 102)
            ring.publish()
            ring.kick()
            ring.wait([100, 101, 102])
        # Another file of the same content is other memory.
        tidy()


def test_memory_moves_in_guest_space():
    s = Server()
    f, m, ring = ready(s)
    ping(ring, range(4))
    f.remove(m)
    m.gpa += 1 << 30
    f.add(m)
    ping(ring, range(4))


def test_buffers_outside_memory():
    s = Server()
    f, m, ring = ready(s, protocol=bits(MQ, REPLY_ACK, MEM_SLOTS, STATUS))
    f.status(0xf)
    ring.put(0, 1)
    m.write(ring.desc, struct.pack("=Q", m.gpa + m.size - 8))
    ring.publish()
    ring.kick()
    s.wait_line("needs a reset")
    same(f.u64(GET_STATUS), 0x4f, "the status")


def test_private_memory():
    """The front-end maps the file privately: QEMU without share=on."""
    s = Server()
    f = Frontend(s).negotiate()
    m = Memory()
    m.map.close()
    m.map = mmap.mmap(m.fd, m.size, flags=mmap.MAP_PRIVATE)
    f.fail(ADD_MEM_REG, bytes(8) + m.region(), [m.fd])
    s.wait_line("share=on")
    m.map.close()
    m.map = mmap.mmap(m.fd, m.size)
    f.add(m)


def test_gpa_addresses():
    s = Server()
    f = Frontend(s).negotiate(protocol=bits(MQ, REPLY_ACK, MEM_SLOTS, GPA_ADDRESSES))
    m = Memory(gpa=1 << 33, uva=1 << 33)
    f.add(m)
    ring = Split(m)
    f.start(ring)
    ping(ring, range(4))


# ---------------------------------------------------------------- dirty log

class Log:
    def __init__(self, f, size=PAGE, offset=0):
        self.fd = os.memfd_create("log")
        os.ftruncate(self.fd, size + offset)
        self.map = mmap.mmap(self.fd, size + offset)
        self.offset = offset
        same(f.ask(SET_LOG_BASE, struct.pack("=QQ", size, offset), [self.fd])[0], bytes(8), "the reply to SET_LOG_BASE")

    def take(self):
        """The pages that are marked, and forgets them."""
        data = self.map[:]
        self.map[:] = bytes(len(data))
        same(data[:self.offset], bytes(self.offset), "what stands before the log")
        return [i * 8 + b for i, byte in enumerate(data[self.offset:]) for b in range(8) if byte >> b & 1]

    def close(self):
        self.map.close()
        os.close(self.fd)


def log_pages(at, n):
    return set(range(at // PAGE, (at + n - 1) // PAGE + 1))


def test_dirty_log():
    for kind, offset in (("split", 0), ("packed", 0), ("split", PAGE), ("packed", 2 * PAGE)):
        s = Server()
        f, m, ring = ready(s, kind)
        log = Log(f, offset=offset)
        ping(ring, range(4))
        same(log.take(), [], "%s: marks before logging" % kind)
        # As QEMU begins: LOG_ALL, then each ring's address again with the flag, all while the ring runs.
        f.do(SET_FEATURES, struct.pack("=Q", f.features | bits(LOG_ALL)))
        f.do(SET_VRING_ADDR, ring.addr(0, log=m.gpa + ring.device))
        where = m.gpa + (ring.device if kind == "split" else ring.desc)
        if kind == "packed":
            f.do(SET_VRING_ADDR, ring.addr(0, log=m.gpa + ring.desc))
        log.take()
        for turn in range(20):
            slot = ring.slots[0]
            ring.put(0, turn)
            ring.publish()
            ring.kick()
            ring.wait([turn])
            got = set(log.take())
            at = ring.at(ring.pieces) + (slot // 2 if kind == "split" else slot) * 2 * ring.room + ring.room
            want = log_pages(at, 8)
            check(want <= got, "%s: page %s of the answer is not marked: %s", kind, want, got)
            ring_pages = log_pages(where, 6 + 8 * ring.size if kind == "split" else 16 * ring.size)
            ring_pages |= log_pages(m.gpa + ring.device, 4)
            check(got & ring_pages, "%s: no page of the ring is marked: %s", kind, got)
            check(got <= want | ring_pages, "%s: pages %s are marked, which nobody wrote", kind, got - want - ring_pages)
        # And as it ends.
        f.do(SET_VRING_ADDR, ring.addr(0))
        f.do(SET_FEATURES, struct.pack("=Q", f.features))
        log.take()
        ping(ring, range(4))
        same(log.take(), [], "%s: marks after logging" % kind)
        log.close()
        tidy()


def test_dirty_log_of_the_ring_elsewhere():
    """log_guest_addr need not be where the ring is, nor in memory at all."""
    s = Server()
    f, m, ring = ready(s)
    log = Log(f)
    f.do(SET_FEATURES, struct.pack("=Q", f.features | bits(LOG_ALL)))
    f.do(SET_VRING_ADDR, ring.addr(0, log=PAGE * 20000))
    log.take()
    ping(ring, [1])
    marked = log.take()
    check(20000 in marked, "the ring's page is not marked: %s", marked)
    check(not set(marked) & log_pages(m.gpa + ring.device, 134), "the ring is marked where it is, too: %s", marked)
    log.close()


def test_dirty_log_under_load():
    """Turning the log on and off again and again loses no request and no mark."""
    s = Server()
    f, m, ring = ready(s)
    log = Log(f)
    for turn in range(60):
        for tag in range(6):
            ring.put((1, 0, 6)[tag % 3], turn * 10 + tag)
        ring.publish()
        ring.kick()
        on = turn % 2 == 0
        f.do(SET_FEATURES, struct.pack("=Q", f.features | (bits(LOG_ALL) if on else 0)))
        f.do(SET_VRING_ADDR, ring.addr(0, log=m.gpa + ring.device if on else None))
        ring.put(2, turn * 10 + 9)
        ring.publish()
        ring.kick()
        ring.wait([turn * 10 + t for t in (0, 1, 2, 3, 4, 5, 9)])
    log.close()


def test_log_that_cannot_be():
    for size, offset, file in ((PAGE, PAGE, PAGE), (0, 0, PAGE), (2 ** 62, 0, PAGE), (PAGE, 2 ** 64 - PAGE, PAGE)):
        s = Server()
        f, m, ring = ready(s)
        fd = os.memfd_create("log")
        os.ftruncate(fd, file)
        # QEMU does not look into the reply: without need_reply only the end of the connection says it.
        f.send(SET_LOG_BASE, struct.pack("=QQ", size, offset), [fd], need_reply=True)
        check(f.reply(SET_LOG_BASE)[0] != bytes(8), "a log of %d bytes at %d in %d", size, offset, file)
        f.send(SET_LOG_BASE, struct.pack("=QQ", size, offset), [fd])
        check(f.ended(), "")
        os.close(fd)
        tidy()


def test_log_fd():
    s = Server()
    f, m, ring = ready(s)
    f.alive()
    fds = s.fds()
    f.do(SET_LOG_FD, b"", [ring.call])
    f.alive()
    same(s.fds(), fds, "open descriptors")


# ---------------------------------------------------------------- translations

IOVA = 0x10000000


def iotlb(f, kind, iova, size, uaddr=0, perm=3):
    return f.u64(IOTLB_MSG, struct.pack("=QQQBB6x", iova, size, uaddr, perm, kind))


def miss(f):
    id, flags, payload, fds = f.recv(f.back)
    same(id, BACKEND_IOTLB_MSG, "the request of the back-end")
    iova, size, uaddr, perm, kind = struct.unpack("=QQQBB6x", payload)
    same(kind, 1, "the type of the IOTLB message")
    return iova, perm


def translated(kind="split"):
    s = Server(["iommu"])
    ring_type, more = FORMATS[kind]
    f = Frontend(s).negotiate(protocol=bits(MQ, REPLY_ACK, MEM_SLOTS, BACKEND_REQ), more=bits(IOMMU) | more)
    f.channel()
    m = Memory()
    f.add(m)
    ring = ring_type(m, iova=IOVA)
    return s, f, m, ring


def answer_misses(f, m, until, seconds=5):
    """Plays the front-end's IOMMU until the condition holds; what was asked for."""
    asked = []
    end = time.monotonic() + seconds
    while not until():
        check(time.monotonic() < end, "misses %r were answered, and still nothing", asked)
        if not select.select([f.back], [], [], 0.01)[0]:
            continue
        iova, perm = miss(f)
        page = iova & ~(PAGE - 1)
        asked.append((page - IOVA, perm))
        same(iotlb(f, 2, page, PAGE, m.uva + page - IOVA), 0, "the answer to an update")
    return asked


def collected(ring, tags):
    left = set(tags)

    def done():
        left.difference_update(ring.collect())
        return not left
    return done


def test_misses():
    for kind in FORMATS:
        s, f, m, ring = translated(kind)
        f.start(ring)
        for tag in range(4):
            ring.put(0, tag)
        ring.publish()
        ring.kick()
        asked = answer_misses(f, m, collected(ring, range(4)))
        pages = {p for p, _ in asked}
        for what, at in (("descriptor area", ring.desc), ("device area", ring.device), ("driver area", ring.driver),
                         ("buffers", ring.pieces)):
            check(at & ~(PAGE - 1) in pages, "%s: the %s was never asked for: %s", kind, what, asked)
        ping(ring, range(4))
        tidy()


def test_invalidation():
    s, f, m, ring = translated()
    same(iotlb(f, 2, IOVA, m.size, m.uva), 0, "the answer to an update")
    f.start(ring)
    ping(ring, range(4))
    same(iotlb(f, 3, IOVA, m.size), 0, "the answer to an invalidation")
    ring.put(0, 9)
    ring.publish()
    ring.kick()
    ring.quiet()
    answer_misses(f, m, collected(ring, [9]))
    # Only one page, the buffers'.
    same(iotlb(f, 3, IOVA + (ring.pieces & ~(PAGE - 1)), PAGE), 0, "the answer to an invalidation")
    ring.put(0, 10)
    ring.publish()
    ring.kick()
    asked = answer_misses(f, m, collected(ring, [10]))
    same({p for p, _ in asked}, {ring.pieces & ~(PAGE - 1)}, "what was asked for")


def test_bad_translations():
    s, f, m, ring = translated()
    for kind, iova, size, uaddr, perm in ((0, IOVA, PAGE, m.uva, 3), (1, IOVA, PAGE, m.uva, 3), (4, IOVA, PAGE, m.uva, 3),
                                          (2, IOVA, PAGE, m.uva + m.size, 3), (2, IOVA, m.size + 1, m.uva, 3),
                                          (2, IOVA, PAGE, 0, 3), (2, IOVA, PAGE, m.uva, 0), (2, IOVA, PAGE, m.uva, 4),
                                          (2, IOVA, 0, m.uva, 3), (2, 2 ** 64 - PAGE, 2 * PAGE, m.uva, 3)):
        check(iotlb(f, kind, iova, size, uaddr, perm) != 0, "type %d, 0x%x, %d to 0x%x, %d was accepted", kind, iova,
              size, uaddr, perm)
    same(iotlb(f, 2, IOVA, m.size, m.uva), 0, "the answer to an update")
    f.start(ring)
    ping(ring, range(4))


def test_write_without_permission():
    s, f, m, ring = translated()
    same(iotlb(f, 2, IOVA, m.size, m.uva), 0, "the answer to an update")
    f.start(ring)
    ping(ring, [1])
    same(iotlb(f, 2, IOVA + ring.pieces, PAGE, m.uva + ring.pieces, 1), 0, "the answer to an update")
    ring.put(0, 2)
    ring.publish()
    ring.kick()
    s.wait_line("needs a reset")


if __name__ == "__main__":
    run(globals())
