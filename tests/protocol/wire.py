#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Messages that are wrong: each row of the table with every wrong length, number of descriptors, queue and
state; halves, garbage, floods. A refusal is answered in its form or ends the connection; nothing leaks."""
from vu import *

CLOSE, U64, EMPTY, ZEROES = range(4)
OWNED, QUEUE_STOPPED, ALL_STOPPED = 1, 2, 4
EXACT, EITHER, REGIONS, CONFIG_KIND = range(4)
NO_FDS, ONE, ONE_UNUSED, PER_REGION, UNLESS_FLAG = range(5)
ALL = bits(MQ, LOG_SHMFD, RARP, REPLY_ACK, MTU, BACKEND_REQ, CONFIG, INFLIGHT_SHMFD, RESET_DEVICE_F, INBAND, MEM_SLOTS,
           STATUS, DEVICE_STATE, BASE_INFLIGHT, GPA_ADDRESSES)


def table():
    out = subprocess.run([os.environ["VU_SERVER"], "table"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(out)


def server():
    return Server(["inband", "net", "iommu"])


def good(row):
    """A payload of the right length and the number of descriptors that go with it, as innocent as can be."""
    kind, name = row["kind"], row["name"]
    if kind == REGIONS:
        return struct.pack("=II", 0, 0), 0
    if kind == CONFIG_KIND:
        return struct.pack("=III", 0, 4, 0) + bytes(4), 0
    payload = bytes(row["length"])
    if name in ("GET_INFLIGHT_FD", "SET_INFLIGHT_FD"):
        payload = struct.pack("=QQHH", 1 << 20, 0, 1, 16)
    return payload, {NO_FDS: 0, ONE: 1, ONE_UNUSED: 0, UNLESS_FLAG: 1}[row["fds"]]


def session(s, but=0, owner=True, features=bits(VERSION_1, IOMMU)):
    if but & bits(BACKEND_REQ, REPLY_ACK):
        but |= bits(INBAND)
    return Frontend(s).negotiate(protocol=ALL & ~but, features=features, owner=owner)


def expect_refusal(f, row, payload):
    """After a message with need_reply set."""
    if row["reply"] == 0 or row["name"] == "SET_LOG_BASE":
        if f.protocol & bits(REPLY_ACK):
            got = f.reply(row["id"])[0]
            check(len(got) == 8 and got != bytes(8), "%s: the refusal is %r", row["name"], got)
        else:
            check(f.ended(), "")
            return
    elif row["refusal"] == CLOSE:
        check(f.ended(), "")
        return
    else:
        got = f.reply(row["id"])[0]
        if row["refusal"] == U64:
            check(len(got) == 8 and got[0] != 0, "%s: the refusal is %r", row["name"], got)
        elif row["refusal"] == EMPTY:
            same(got, b"", "%s: the refusal" % row["name"])
        else:
            same(got, bytes(len(payload)), "%s: the refusal" % row["name"])
    f.alive()


def each(s, cases, make=session):
    """cases: (row, payload, number of descriptors). Nothing may be left open afterwards."""
    spare = [os.memfd_create("spare") for _ in range(200)]
    s.wait_for(lambda: True, 1, "")
    Frontend(s).close()
    time.sleep(0.05)
    before = s.fds()
    for row, payload, nr in cases:
        f = make(s)
        f.alive()
        inside = s.fds()
        f.send(row["id"], payload, spare[:nr], need_reply=True)
        try:
            expect_refusal(f, row, payload)
        except Failure as error:
            raise Failure("%s, %d bytes, %d descriptors: %s" % (row["name"], len(payload), nr, error))
        except (TimeoutError, socket.timeout):
            raise Failure("%s, %d bytes, %d descriptors: no answer" % (row["name"], len(payload), nr))
        if f.socket.fileno() >= 0 and s.fds() > inside:
            raise Failure("%s, %d bytes, %d descriptors: descriptors stay open" % (row["name"], len(payload), nr))
        f.close()
    s.wait_for(lambda: s.fds() <= before, 2, "closed descriptors: %d are open instead of %d" % (s.fds(), before))
    for fd in spare:
        os.close(fd)


def test_wrong_lengths():
    cases = []
    for row in table():
        payload, nr = good(row)
        right = {len(payload)}
        if row["kind"] == EITHER:
            right.add(row["padded"])
        if row["kind"] == REGIONS:
            right.update(8 + 32 * n for n in range((len(payload) - 8) // 32, 9))
        for n in {0, 1, 4, 7, 8, 9, len(payload) - 1, len(payload) + 1, len(payload) + 8, 263, 265, 4108}:
            if n >= 0 and n not in right:
                cases.append((row, (payload + bytes(4108))[:n], nr))
    check(len(cases) > 300, "only %d cases", len(cases))
    each(server(), cases)


def test_counts_that_lie():
    rows = {r["name"]: r for r in table()}
    cases = []
    for n in (1, 7, 8):
        cases.append((rows["SET_MEM_TABLE"], struct.pack("=II", n, 0) + bytes(32 * (n - 1)), n))
    for n in (9, 255, 0x7fffffff, 0xffffffff, 0x08000001):
        cases.append((rows["SET_MEM_TABLE"], struct.pack("=II", n, 0) + bytes(32 * 8), 8))
        cases.append((rows["SET_MEM_TABLE"], struct.pack("=II", n, 0) + bytes(32), 1))
    for n in (5, 3, 0xffffffff, 0xfffffff8, 4097):
        cases.append((rows["GET_CONFIG"], struct.pack("=III", 0, n, 0) + bytes(4), 0))
        cases.append((rows["SET_CONFIG"], struct.pack("=III", 0, n, 0) + bytes(4), 0))
    each(server(), cases)


def test_wrong_number_of_descriptors():
    cases = []
    for row in table():
        payload, nr = good(row)
        for n in {0, 1, 2, 3, 8, 9, 64, 199} - {nr} - ({1} if row["fds"] == ONE_UNUSED else set()):
            cases.append((row, payload, n))
        if row["fds"] == UNLESS_FLAG:
            cases.append((row, struct.pack("=Q", NOFD), 1))
            cases.append((row, struct.pack("=Q", NOFD | 1), 2))
    each(server(), cases)


def test_wrong_queues():
    cases = []
    for row in table():
        payload, nr = good(row)
        if row["index"] == 1:
            for n in (4, 255, 0x10000, 0x80000000, 0xffffffff):
                cases.append((row, struct.pack("=I", n) + payload[4:], nr))
        elif row["index"] == 2:
            for n in (4, 255):
                cases.append((row, struct.pack("=Q", n), 1))
                cases.append((row, struct.pack("=Q", n | NOFD), 0))
    check(len(cases) > 30, "only %d cases", len(cases))
    each(server(), cases)


def test_features_that_were_not_negotiated():
    s = server()
    for row in table():
        if row["protocol"] >= 0:
            payload, nr = good(row)
            each(s, [(row, payload, nr)], lambda s: session(s, but=bits(row["protocol"])))
        if row["virtio"] >= 0:
            payload, nr = good(row)
            each(s, [(row, payload, nr)], lambda s: session(s, features=bits(VERSION_1)))
        if row["virtio"] == -2:
            payload, nr = good(row)

            def plain(s):
                f = Frontend(s).negotiate(protocol=None)
                return f
            each(s, [(row, payload, nr)], plain)


def test_before_the_owner():
    s = server()
    each(s, [(row, *good(row)) for row in table() if row["when"] & OWNED], lambda s: session(s, owner=False))


def test_while_queues_run():
    s = server()
    made = []

    def busy(s):
        f = session(s, features=bits(VERSION_1))
        m = Memory()
        made.append(m)
        f.table(m)
        ring = Split(m)
        f.start(ring)
        return f
    rows = [r for r in table() if r["when"] & (QUEUE_STOPPED | ALL_STOPPED)]
    check(len(rows) >= 5, "only %d rows", len(rows))
    each(s, [(row, *good(row)) for row in rows], busy)


def test_without_need_reply():
    """Nothing can say "refused" then, so the connection ends: going on would only fail later."""
    s = server()
    for row in table():
        if row["reply"] == 0:
            f = session(s)
            f.send(row["id"], bytes(99))
            check(f.ended(), "%s", row["name"])
            f.close()


def test_acknowledgements():
    """Each message that has no reply of its own is acknowledged if asked to, once, and only then."""
    s = server()
    f = session(s, features=bits(VERSION_1))
    m = Memory()
    for ask in (False, True):
        for id, payload, fds in ((SET_OWNER, b"", []), (SET_FEATURES, struct.pack("=Q", f.features), []),
                                 (SET_MEM_TABLE, struct.pack("=II", 1, 0) + m.region(), [m.fd]),
                                 (SET_VRING_NUM, struct.pack("=II", 1, 16), []),
                                 (SET_VRING_BASE, struct.pack("=II", 1, 0), []),
                                 (SET_VRING_ERR, struct.pack("=Q", NOFD), []),
                                 (SET_STATUS, struct.pack("=Q", 3), []),
                                 (SET_PROTOCOL_FEATURES, struct.pack("=Q", f.protocol), [])):
            f.send(id, payload, fds, need_reply=ask)
            if ask:
                same(f.reply(id), (bytes(8), []), "the acknowledgement of %d" % id)
            f.alive()
    # A reply of its own is not doubled.
    same(f.u64(GET_QUEUE_NUM, need_reply=True), 4, "the number of queues")
    f.ask(GET_VRING_BASE, struct.pack("=II", 1, 0), need_reply=True)
    f.ask(GET_CONFIG, struct.pack("=III", 0, 4, 0) + bytes(4), need_reply=True)
    f.alive()


def test_no_acknowledgement_without_reply_ack():
    s = server()
    f = Frontend(s).negotiate(protocol=bits(MQ))
    f.send(SET_OWNER, need_reply=True)
    f.alive()


def test_unknown_messages():
    s = server()
    known = {r["id"] for r in table()}
    for id in list(range(0, 60)) + [0x7fffffff, 0xffffffff]:
        if id in known:
            continue
        f = session(s)
        f.send(id, bytes(8), need_reply=True)
        check(f.reply(id)[0] != bytes(8), "message %d was accepted", id)
        f.alive()
        f.send(id, bytes(8))
        check(f.ended(), "")
        f.close()
    s.wait_line("POSTCOPY_ADVISE")


def test_bad_headers():
    s = server()
    for flags in (0, 2, 3, 5, 0xd, 0x11, 0x81, 0xffffffff):
        f = session(s)
        f.send(GET_FEATURES, flags=flags)
        check(f.ended(), "flags 0x%x", flags)
        f.close()
    for size in (4109, 65536, 0x7fffffff, 0xffffffff):
        f = session(s)
        f.send(GET_FEATURES, size=size)
        check(f.ended(), "size %d", size)
        f.close()
    f = Frontend(s)
    f.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    check(f.ended(), "")
    s.wait_line("not vhost-user")


def test_halves():
    """Each byte in a packet of its own; and a half that stands still while another device's... this one goes on."""
    s = server()
    f = session(s)
    for message in (struct.pack("=III", GET_FEATURES, 1, 0),
                    struct.pack("=III", GET_CONFIG, 1, 20) + struct.pack("=III", 0, 8, 0) + bytes(8)):
        for i in range(len(message)):
            f.raw(message[i:i + 1])
            time.sleep(0.001)
        check(f.recv() is not None, "no answer")
    # Descriptors come with the first byte; those of a half message are closed when the front-end goes.
    m = Memory()
    time.sleep(0.05)
    before = s.fds()
    f.raw(struct.pack("=III", ADD_MEM_REG, 1, 40)[:5], [m.fd] * 9)
    s.wait_for(lambda: s.fds() == before + 9, 2, "descriptors")
    f.close()
    s.wait_for(lambda: s.fds() < before, 2, "closed descriptors")
    # Descriptors behind the first byte are against the document.
    f = session(s)
    f.raw(struct.pack("=III", ADD_MEM_REG, 1, 40)[:5])
    time.sleep(0.01)
    f.raw(struct.pack("=III", ADD_MEM_REG, 1, 40)[5:] + bytes(40), [m.fd])
    check(f.ended(), "")
    s.wait_line("behind the first byte")


def test_halves_do_not_stop_queues():
    s = server()
    f = session(s, features=bits(VERSION_1))
    m = Memory()
    f.table(m)
    ring = Split(m)
    f.start(ring)
    f.raw(b"\1\0\0")
    for tag in range(50):
        ring.put(0, tag)
        ring.publish()
        ring.kick()
        ring.wait([tag])


def test_a_half_message_ends_in_time():
    s = server()
    f = Frontend(s, timeout=20)
    f.raw(b"\1\0\0")
    begun = time.monotonic()
    check(f.ended(), "")
    check(8 < time.monotonic() - begun < 15, "it took %.1f s", time.monotonic() - begun)
    s.wait_line("half a message")


def test_replies_that_nobody_reads():
    """The back-end stops reading instead of hoarding replies, serves on, and hangs up in time."""
    s = server()
    f = session(s, features=bits(VERSION_1))
    m = Memory()
    f.table(m)
    ring = Split(m)
    f.start(ring)
    f.socket.setblocking(False)
    sent, stuck = 0, 0
    payload = struct.pack("=III", 0, 64, 0) + bytes(64)
    while stuck < 50:
        try:
            f.send(GET_CONFIG, payload)
            sent, stuck = sent + 1, 0
            check(sent < 100000, "it reads on and on")
        except BlockingIOError:
            stuck += 1
            time.sleep(0.01)
    rss = s.rss()
    for tag in range(20):
        ring.put(0, tag)
        ring.publish()
        ring.kick()
        ring.wait([tag])
    s.wait_line("does not read the reply", 15)
    check(s.sanitized() or s.rss() < rss + 1024, "memory grew")
    f.close()
    check(session(s).alive(), "")


def test_many_messages_at_once():
    s = server()
    f = session(s)
    f.raw(struct.pack("=III", GET_FEATURES, 1, 0) * 500)
    for _ in range(500):
        f.reply(GET_FEATURES)
    f.alive()


def test_garbage():
    s = server()
    chance = random.Random(7)
    spare = [os.memfd_create("spare") for _ in range(4)]
    os.ftruncate(spare[0], 1 << 20)
    time.sleep(0.05)
    before = s.fds()
    rows = table()
    for turn in range(300):
        f = session(s, features=bits(VERSION_1))
        f.socket.settimeout(0.2)
        try:
            for _ in range(chance.randrange(1, 30)):
                row = chance.choice(rows)
                payload = bytearray(good(row)[0])
                for _ in range(chance.randrange(4)):
                    if payload:
                        payload[chance.randrange(len(payload))] = chance.choice((0, 1, 2, 8, 0x7f, 0x80, 0xff))
                fds = chance.choices(spare, k=chance.choice((0, 0, 1, 1, 1, 2)))
                f.send(row["id"], bytes(payload), fds, need_reply=True)
        except (BrokenPipeError, ConnectionResetError):
            pass
        f.close()
    check(s.alive(), "it died")
    check(session(s).alive(), "")
    for fd in spare:
        os.close(fd)
    tidy_front_ends(s, before)


def tidy_front_ends(s, before):
    for f in opened:
        f.close()
    s.wait_for(lambda: s.fds() <= before, 3, "closed descriptors: %d are open instead of %d" % (s.fds(), before))


def test_random_bytes():
    s = server()
    chance = random.Random(11)
    for turn in range(200):
        f = Frontend(s)
        try:
            f.raw(chance.randbytes(chance.randrange(1, 400)))
            f.raw(chance.randbytes(chance.randrange(1, 5000)))
        except (BrokenPipeError, ConnectionResetError):
            pass
        f.close()
    check(session(s).alive(), "it died")


def test_too_few_files():
    """More descriptors than we may have: one sentence with the numbers, and nothing leaks."""
    s = Server(["files=40"])
    f = Frontend(s).negotiate()
    spare = [os.memfd_create("spare") for _ in range(60)]
    time.sleep(0.05)
    before = s.fds()
    f.send(SET_MEM_TABLE, struct.pack("=II", 8, 0) + bytes(256), spare)
    check(f.ended(), "")
    s.wait_line("ulimit -n")
    s.wait_line("of 40 are in use")
    s.wait_for(lambda: s.fds() < before, 2, "closed descriptors")
    for fd in spare:
        os.close(fd)
    check(Frontend(s).negotiate().alive(), "")


if __name__ == "__main__":
    run(globals())
