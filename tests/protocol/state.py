#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The device's own state through a pipe: saved, loaded, in pieces, slowly, cut short, or garbage."""
from vu import *

PROTOCOL = bits(MQ, REPLY_ACK, CONFIG, MEM_SLOTS, DEVICE_STATE)
SAVE, LOAD = 0, 1


def begin(s, run_queue=True):
    f = Frontend(s).negotiate(protocol=PROTOCOL)
    m = Memory()
    f.add(m)
    ring = Split(m)
    f.start(ring)
    ring.put(0, 1)
    ring.publish()
    ring.kick()
    ring.wait([1])
    if not run_queue:
        f.base(0)
    return f, m, ring


def transfer(f, direction, fd, phase=0):
    return f.u64(SET_DEVICE_STATE_FD, struct.pack("=II", direction, phase), [fd])


def save(f):
    r, w = os.pipe()
    same(transfer(f, SAVE, w), NOFD, "the answer to SET_DEVICE_STATE_FD")
    os.close(w)
    data = b""
    while True:
        piece = os.read(r, 65536)
        if not piece:
            break
        data += piece
    os.close(r)
    same(f.u64(CHECK_DEVICE_STATE), 0, "the answer to CHECK_DEVICE_STATE")
    return data


def load(f, data, pieces=1, pause=0.0, end=True):
    r, w = os.pipe()
    same(transfer(f, LOAD, r), NOFD, "the answer to SET_DEVICE_STATE_FD")
    os.close(r)
    step = max(1, (len(data) + pieces - 1) // pieces)
    for i in range(0, len(data), step):
        os.write(w, data[i:i + step])
        time.sleep(pause)
    os.close(w)
    return f.u64(CHECK_DEVICE_STATE)


def config(f):
    return f.ask(GET_CONFIG, struct.pack("=III", 0, 64, 0) + bytes(64))[0][12:]


def test_there_and_back():
    a, b = Server(), Server()
    f, m, ring = begin(a)
    f.do(SET_CONFIG, struct.pack("=III", 16, 4, 0) + b"abcd")
    f.base(0)
    data = save(f)
    check(len(data) > 16, "a state of %d bytes", len(data))
    g = Frontend(b).negotiate(protocol=PROTOCOL)
    same(load(g, data), 0, "the answer to CHECK_DEVICE_STATE")
    same(config(g)[16:20], b"abcd", "the configuration that was moved")
    g.add(m)
    g.start(ring, base=ring.position())
    ring.put(0, 2)
    ring.publish()
    ring.kick()
    ring.wait([2])
    g.base(0)
    same(len(save(g)), len(data), "the size of the state on the way back")


def test_in_pieces():
    a, b = Server(), Server()
    f, m, ring = begin(a, False)
    data = save(f)
    g = Frontend(b).negotiate(protocol=PROTOCOL)
    same(load(g, data, len(data), 0.001), 0, "the answer to CHECK_DEVICE_STATE")


def test_check_waits_for_the_end():
    s = Server()
    f, m, ring = begin(s, False)
    data = save(f)
    r, w = os.pipe()
    same(transfer(f, LOAD, r), NOFD, "the answer to SET_DEVICE_STATE_FD")
    os.close(r)
    f.send(CHECK_DEVICE_STATE)
    os.write(w, data[:10])
    check(not select.select([f.socket], [], [], 0.2)[0], "an answer before the end of the state")
    os.write(w, data[10:])
    check(not select.select([f.socket], [], [], 0.2)[0], "an answer before the end of the state")
    os.close(w)
    same(f.reply(CHECK_DEVICE_STATE)[0], bytes(8), "the answer to CHECK_DEVICE_STATE")
    f.alive()


def test_a_pipe_that_is_full():
    """Nobody reads for a while: the session goes on meanwhile."""
    s = Server()
    f, m, ring = begin(s, False)
    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(w, False)
    while True:
        try:
            os.write(w, bytes(4096))
        except BlockingIOError:
            break
    same(transfer(f, SAVE, w), NOFD, "the answer to SET_DEVICE_STATE_FD")
    os.close(w)
    for _ in range(5):
        f.alive()
    f.send(CHECK_DEVICE_STATE)
    check(not select.select([f.socket], [], [], 0.2)[0], "an answer before the state was read")
    while os.read(r, 65536):
        pass
    same(f.reply(CHECK_DEVICE_STATE)[0], bytes(8), "the answer to CHECK_DEVICE_STATE")
    os.close(r)


def test_refusals():
    s = Server()
    f, m, ring = begin(s)
    r, w = os.pipe()
    check(transfer(f, SAVE, w) & 0xff, "saved while a queue runs")
    f.base(0)
    check(transfer(f, 2, w) & 0xff, "a direction that does not exist")
    check(transfer(f, SAVE, w, 1) & 0xff, "a phase that does not exist")
    check(transfer(f, SAVE, m.fd) & 0xff, "a file instead of a pipe")
    check(f.u64(CHECK_DEVICE_STATE) != 0, "checked before anything was transferred")
    # The reader is gone.
    os.close(r)
    same(transfer(f, SAVE, w), NOFD, "the answer to SET_DEVICE_STATE_FD")
    check(f.u64(CHECK_DEVICE_STATE) != 0, "a state that nobody read was saved")
    # The wrong end.
    os.close(w)
    r, w = os.pipe()
    check(transfer(f, SAVE, r) & 0xff, "the reading end is to be written to")
    check(transfer(f, LOAD, w) & 0xff, "the writing end is to be read")
    os.close(r)
    os.close(w)
    f.alive()


def test_garbage():
    s = Server()
    f, m, ring = begin(s, False)
    good = save(f)
    chance = random.Random(4)
    cases = [b"", b"x", good[:-1], good[:len(good) // 2], good + b"x" * 8, bytes(100000), chance.randbytes(3000)]
    for _ in range(100):
        bad = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            bad[chance.randrange(len(bad))] = chance.choice((0, 1, 0x7f, 0xff))
        cases.append(bytes(bad))
    f.close()
    refused = 0
    for case in cases:
        g = Frontend(s).negotiate(protocol=PROTOCOL)
        refused += load(g, case[:60000] if len(case) < 65536 else case[:65000]) != 0
        g.alive()
        g.close()
    check(refused >= 40, "only %d of %d were refused", refused, len(cases))


def test_too_much():
    s = Server()
    f, m, ring = begin(s, False)
    r, w = os.pipe()
    same(transfer(f, LOAD, r), NOFD, "the answer to SET_DEVICE_STATE_FD")
    os.close(r)
    rss = s.rss()
    sent = 0
    try:
        while sent < 64 << 20:
            sent += os.write(w, bytes(65536))
    except BrokenPipeError:
        pass
    check(sent < 32 << 20, "%d bytes were taken", sent)
    os.close(w)
    check(f.u64(CHECK_DEVICE_STATE) != 0, "it was loaded")
    check(s.sanitized() or s.rss() < rss + (20 << 10), "memory grew to %d KiB", s.rss())


def test_front_end_goes_in_the_middle():
    s = Server()
    f, m, ring = begin(s, False)
    f.close()
    Frontend(s).alive()
    for f in opened:
        f.close()
    s.wait_for(lambda: s.fds() <= 4, 2, "quiet")
    before = s.fds()
    for direction in (SAVE, LOAD):
        g = Frontend(s).negotiate(protocol=PROTOCOL)
        r, w = os.pipe()
        same(transfer(g, direction, w if direction == SAVE else r), NOFD, "the answer")
        g.send(CHECK_DEVICE_STATE)
        os.close(r)
        os.close(w)
        g.close()
    s.wait_for(lambda: s.fds() <= before, 3, "closed descriptors")


if __name__ == "__main__":
    run(globals())
