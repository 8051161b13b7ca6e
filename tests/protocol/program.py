#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program itself, `vio serve`: queues are served by threads of their own while the front-end changes everything
under them: notification descriptors, memory, log, positions, connections."""
from vu import *

PROTOCOL = bits(MQ, LOG_SHMFD, REPLY_ACK, CONFIG, MEM_SLOTS, INFLIGHT_SHMFD, STATUS)


class Disk:
    """A ring of reads: one sector each, {type 0, sector} and 512 bytes and a status."""

    def request(self, op, tag, data=b"", slot=0):
        got = super().request(0, tag % 64, data, slot)
        self.m.write(self.pieces + slot * 2 * self.room + self.room + 512, b"\xff")
        return got

    def answer(self, slot, tag):
        status = self.m.read(self.pieces + slot * 2 * self.room + self.room + 512, 1)
        same(status, b"\0", "the status of request %d" % tag)


class SplitDisk(Disk, Split):
    pass


class PackedDisk(Disk, Packed):
    pass


def serve(*more, keys="", **kind):
    folder = tempfile.mkdtemp(prefix="vio-protocol-")
    path = os.path.join(folder, "s")
    s = Server(path=path, command=[os.environ["VIO"], "serve", "blk,ram=1M,queues=2,vhost-user=%s%s" % (path, keys)], **kind)
    os.rmdir(s.folder)
    s.folder = folder
    return s


def life(s, kind, queues=2):
    f = Frontend(s).negotiate(protocol=PROTOCOL, more=bits(PACKED) if kind == "packed" else 0)
    m = Memory()
    f.add(m)
    data, fds = f.ask(GET_INFLIGHT_FD, struct.pack("=QQHH4x", 0, 0, queues, 64))
    f.do(SET_INFLIGHT_FD, data, fds)
    os.close(fds[0])
    lot = [(PackedDisk if kind == "packed" else SplitDisk)(m, size=64, room=513) for _ in range(queues)]
    for i, ring in enumerate(lot):
        f.start(ring, i, base=ring.initial())
    f.status(0xf)
    return f, m, lot


class Load:
    """Requests on a ring from a thread of its own, as fast as it goes."""

    def __init__(self, ring):
        self.ring, self.stop, self.done, self.error = ring, False, 0, None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        tag, due = 0, 0
        try:
            while not self.stop or due:
                while not self.stop and self.ring.slots and due < 24:
                    self.ring.put(0, tag)
                    tag += 1
                    due += 1
                self.ring.publish()
                try:
                    self.ring.kick()
                except OSError:
                    pass
                n = len(self.ring.collect())
                due -= n
                self.done += n
        except Exception as error:
            self.error = error

    def end(self):
        self.stop = True
        self.thread.join(10)
        check(not self.thread.is_alive(), "requests are not answered any more")
        if self.error:
            raise self.error


def under_load(kind, change, keys="", turns=60):
    s = serve(keys=keys)
    f, m, lot = life(s, kind)
    loads = [Load(r) for r in lot]
    try:
        for turn in range(turns):
            before = sum(l.done for l in loads)
            change(f, m, lot, turn)
            end = time.monotonic() + 5
            while sum(l.done for l in loads) == before:
                check(time.monotonic() < end, "nothing is served any more after turn %d", turn)
                time.sleep(0.0005)
    finally:
        for load in loads:
            load.stop = True
    for load in loads:
        load.end()
    f.alive()


def both(change, **more):
    for kind in FORMATS:
        under_load(kind, change, **more)
        tidy()


def test_call_changes_under_load():
    def change(f, m, lot, turn):
        for i in range(2):
            if turn % 3 == 2:
                f.do(SET_VRING_CALL, struct.pack("=Q", i | NOFD))
            else:
                f.do(SET_VRING_CALL, struct.pack("=Q", i), [lot[i].call])
    both(change)


def test_kick_changes_under_load():
    def change(f, m, lot, turn):
        for i, r in enumerate(lot):
            new = os.eventfd(0, os.EFD_NONBLOCK)
            if turn % 5 == 4:
                f.do(SET_VRING_KICK, struct.pack("=Q", i | NOFD))
            else:
                f.do(SET_VRING_KICK, struct.pack("=Q", i), [new])
            old, r.kick_fd = r.kick_fd, new
            r.kick()
            os.close(old)
    both(change)


def test_memory_changes_under_load():
    others = []

    def change(f, m, lot, turn):
        if turn % 2 == 0:
            others.append(Memory(size=4096, gpa=1 << 32 | turn << 20, uva=0x6f0000000000 + (turn << 20)))
            f.add(others[-1])
        else:
            f.remove(others.pop())
        if turn % 10 == 9:
            f.remove(m)
            f.add(m)
            for r in lot:
                r.kick()
    both(change)


def test_log_under_load():
    def change(f, m, lot, turn):
        if turn == 0:
            fd = os.memfd_create("log")
            os.ftruncate(fd, 4096)
            f.ask(SET_LOG_BASE, struct.pack("=QQ", 4096, 0), [fd])
            os.close(fd)
        on = turn % 2 == 0
        f.do(SET_FEATURES, struct.pack("=Q", f.features | (bits(LOG_ALL) if on else 0)))
        for i, r in enumerate(lot):
            f.do(SET_VRING_ADDR, r.addr(i, log=m.gpa + r.device if on else None))
    both(change)


def test_stop_and_start_under_load():
    def change(f, m, lot, turn):
        for i, r in enumerate(lot):
            f.enable(i, 0)
            base = f.base(i)
            if turn % 2:
                f.vring(SET_VRING_BASE, i, base)
            f.do(SET_VRING_KICK, struct.pack("=Q", i), [r.kick_fd])
            f.enable(i)
            r.kick()
    both(change)


def test_polling_workers():
    def change(f, m, lot, turn):
        for i in range(2):
            f.do(SET_VRING_CALL, struct.pack("=Q", i), [lot[i].call])
    under_load("split", change, keys=",poll=on", turns=10)


def test_front_end_goes_under_load():
    s = serve()
    for turn in range(5):
        life_and_death(s, turn)
    Frontend(s).alive()
    for f in opened:
        f.close()
    s.wait_for(lambda: not any("never" in l for l in s.lines), 1, "")
    time.sleep(0.1)
    fds, rss = s.fds(), s.rss()
    for turn in range(60):
        life_and_death(s, turn)
    Frontend(s).alive()
    for f in opened:
        f.close()
    s.wait_for(lambda: s.fds() <= fds, 3, "closed descriptors: %d instead of %d" % (s.fds(), fds))
    check(s.sanitized() or s.rss() <= rss + 512, "resident memory grew from %d to %d KiB", rss, s.rss())


def life_and_death(s, turn):
    f, m, lot = life(s, ("split", "packed")[turn % 2])
    for r in lot:
        for tag in range(24):
            r.put(0, tag)
        r.publish()
        r.kick()
    f.close()
    # Whatever it took before it noticed is finished.
    for r in lot:
        r.collect()
        r.close()
    m.close()


def test_two_devices_do_not_disturb_each_other():
    """A front-end that misbehaves costs the device next door nothing."""
    folder = tempfile.mkdtemp(prefix="vio-protocol-")
    a, b = os.path.join(folder, "a"), os.path.join(folder, "b")
    s = Server(path=a, command=[os.environ["VIO"], "serve", "blk,ram=1M,queues=2,vhost-user=" + a,
                                "blk,ram=1M,queues=2,vhost-user=" + b])
    os.rmdir(s.folder)
    s.folder = folder
    s.wait_for(lambda: os.path.exists(b), 5, "second socket")
    f, m, lot = life(s, "split")
    loads = [Load(r) for r in lot]
    chance = random.Random(2)
    for turn in range(40):
        bad = Frontend(b)
        try:
            if turn % 4 == 0:
                bad.raw(b"\1\0\0")
            elif turn % 4 == 1:
                bad.raw(chance.randbytes(500))
            elif turn % 4 == 2:
                bad.negotiate(protocol=bits(MQ, REPLY_ACK, MEM_SLOTS))
                n = Memory(size=1 << 18)
                bad.add(n)
                r = SplitDisk(n, size=16, room=513)
                bad.start(r)
                n.write(r.desc, chance.randbytes(256))
                n.write(r.driver, chance.randbytes(38))
                r.kick()
                bad.alive()
            else:
                bad.send(SET_MEM_TABLE, bytes(99), [m.fd] * 9)
        except (BrokenPipeError, ConnectionResetError):
            pass
        before = sum(l.done for l in loads)
        end = time.monotonic() + 2
        while sum(l.done for l in loads) == before:
            check(time.monotonic() < end, "the other device stands still")
            time.sleep(0.001)
        bad.close()
    for load in loads:
        load.end()


if __name__ == "__main__":
    run(globals())
