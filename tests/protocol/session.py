#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A session as front-ends hold it: features, memory, rings, configuration, status, reset, reconnecting."""
from vu import *


def ready(server, kind, features=0, protocol=bits(MQ, REPLY_ACK, CONFIG, MEM_SLOTS), **start):
    ring_type, more = FORMATS[kind]
    f = Frontend(server).negotiate(protocol=protocol, more=features | more)
    m = Memory()
    f.add(m) if protocol & bits(MEM_SLOTS) else f.table(m)
    ring = ring_type(m)
    f.start(ring, **start)
    return f, m, ring


def ping(ring, tags, op=0):
    for tag in tags:
        ring.put(op, tag, b"payload")
    ring.publish()
    ring.kick()
    ring.wait(tags)


def test_offers():
    s = Server()
    f = Frontend(s)
    features = f.u64(GET_FEATURES)
    want = bits(0, 1, 2, 3, INDIRECT, EVENT_IDX, VERSION_1, PACKED, LOG_ALL, PROTOCOL)
    same(features, want, "what is offered")
    same(f.u64(GET_PROTOCOL_FEATURES), bits(MQ, LOG_SHMFD, REPLY_ACK, BACKEND_REQ, CONFIG, INFLIGHT_SHMFD, RESET_DEVICE_F,
                                            MEM_SLOTS, STATUS, DEVICE_STATE, BASE_INFLIGHT, GPA_ADDRESSES),
         "the protocol features")
    f.send(SET_PROTOCOL_FEATURES, struct.pack("=Q", bits(MQ, MEM_SLOTS)))
    same(f.u64(GET_QUEUE_NUM), 4, "the number of queues")
    check(f.u64(GET_MAX_MEM_SLOTS) >= 509, "fewer than 509 memory slots")


def test_offers_by_choice():
    s = Server(["inband", "net", "iommu", "in-order"])
    f = Frontend(s)
    check(f.u64(GET_FEATURES) & bits(IOMMU, IN_ORDER) == bits(IOMMU, IN_ORDER), "iommu and in-order are not offered")
    check(f.u64(GET_PROTOCOL_FEATURES) & bits(RARP, MTU, INBAND) == bits(RARP, MTU, INBAND), "not offered")


def test_requests_split():
    requests("split")


def test_requests_packed():
    requests("packed")


def requests(kind):
    s = Server()
    f, m, ring = ready(s, kind)
    for turn in range(40):
        ping(ring, range(turn * 8, turn * 8 + 1 + turn % 8))
    check(ring.called(), "no used buffer notification")


def test_all_queues():
    s = Server()
    f, m, ring = ready(s, "split")
    others = [Split(m) for _ in range(3)]
    for i, r in enumerate(others):
        f.start(r, i + 1)
    for r in others + [ring]:
        ping(r, range(7))


def test_table_instead_of_slots():
    s = Server()
    f, m, ring = ready(s, "split", protocol=bits(MQ, REPLY_ACK))
    ping(ring, range(5))
    # The same table, then one more region: the ring goes on.
    f.table(m)
    ping(ring, range(5))
    more = Memory(gpa=0x40000000, uva=0x7e0000000000)
    f.table(m, more)
    ping(ring, range(5))


def test_old_front_end():
    """No protocol features at all: rings are enabled by SET_FEATURES, no acknowledgements."""
    s = Server()
    f = Frontend(s).negotiate(protocol=None)
    m = Memory()
    f.table(m)
    ring = Split(m)
    f.start(ring)
    ping(ring, range(5))
    same(f.base(0), 5, "the position")


def test_kick_before_the_rest():
    """The older text: SET_VRING_KICK may come first, and the queue starts when the rest is there."""
    s = Server()
    f = Frontend(s).negotiate()
    m = Memory()
    f.add(m)
    ring = Split(m)
    f.send(SET_VRING_KICK, struct.pack("=Q", 0), [ring.kick_fd])
    f.send(SET_VRING_CALL, struct.pack("=Q", 0), [ring.call])
    f.do(SET_VRING_ADDR, ring.addr(0))
    f.do(SET_VRING_NUM, struct.pack("=II", 0, ring.size))
    f.do(SET_VRING_BASE, struct.pack("=II", 0, 0))
    f.enable(0)
    ping(ring, range(3))
    f.fail(SET_VRING_NUM, struct.pack("=II", 0, 8))
    f.fail(SET_VRING_BASE, struct.pack("=II", 0, 8))
    same(f.base(0), 3, "the position")


def test_disabled_takes_nothing():
    s = Server()
    f, m, ring = ready(s, "split", enable=False)
    ring.put(0, 1)
    ring.publish()
    ring.kick()
    ring.quiet()
    f.enable(0)
    ring.wait([1])
    f.enable(0, 0)
    ring.put(0, 2)
    ring.publish()
    ring.kick()
    ring.quiet()
    same(f.base(0), 1, "the position")


def test_polled():
    for kind in FORMATS:
        s = Server()
        f, m, ring = ready(s, kind, kick=False)
        ring.put(0, 1)
        ring.publish()
        ring.wait([1])
        check(ring.called(), "no notification")


def test_call_is_replaced_and_removed():
    s = Server()
    f, m, ring = ready(s, "split")
    f.alive()
    before = s.fds()
    for turn in range(50):
        old = os.dup(ring.call)
        os.close(ring.call)
        ring.call = os.eventfd(0, os.EFD_NONBLOCK)
        f.send(SET_VRING_CALL, struct.pack("=Q", 0), [ring.call])
        check(ring.called(), "a new call descriptor is told what may have been missed")
        ping(ring, range(turn * 10, turn * 10 + 3))
        check(ring.called(), "no notification on the new descriptor")
        check(not Ring.signalled(old, 0), "a notification on the old descriptor")
        os.close(old)
    f.alive()
    same(s.fds(), before, "open descriptors")
    f.send(SET_VRING_CALL, struct.pack("=Q", NOFD))
    f.alive()
    ping(ring, range(3))
    check(not ring.called(0.05), "a notification though there is no descriptor")
    f.send(SET_VRING_CALL, struct.pack("=Q", 0), [ring.call])
    check(ring.called(), "the descriptor is not back")


def test_kick_is_replaced():
    s = Server()
    f, m, ring = ready(s, "split")
    f.alive()
    before = s.fds()
    for turn in range(20):
        os.close(ring.kick_fd)
        ring.kick_fd = os.eventfd(0, os.EFD_NONBLOCK)
        f.send(SET_VRING_KICK, struct.pack("=Q", 0), [ring.kick_fd])
        f.alive()
        ping(ring, range(3))
    f.alive()
    same(s.fds(), before, "open descriptors")


def test_pipes_instead_of_eventfds():
    s = Server()
    f, m, ring = ready(s, "split", kick=False, call=False)
    f.base(0)
    kick_r, kick_w = os.pipe()
    call_r, call_w = os.pipe()
    f.send(SET_VRING_CALL, struct.pack("=Q", 0), [call_w])
    f.do(SET_VRING_KICK, struct.pack("=Q", 0), [kick_r])
    f.enable(0)
    ring.put(0, 1)
    ring.publish()
    os.write(kick_w, struct.pack("=Q", 1))
    ring.wait([1])
    same(len(os.read(call_r, 8)), 8, "bytes in the pipe")
    # The reader of the pipe goes away: the back-end must not die of it.
    os.close(call_r)
    ring.put(0, 2)
    ring.publish()
    os.write(kick_w, struct.pack("=Q", 1))
    ring.wait([2])
    f.alive()
    for fd in (kick_r, kick_w, call_w):
        os.close(fd)


def test_no_notifier():
    s = Server()
    f, m, ring = ready(s, "split")
    with tempfile.TemporaryFile() as file:
        for id in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
            for fd in (file.fileno(), m.fd):
                f.fail(id, struct.pack("=Q", 1), [fd])
    f.fail(SET_VRING_KICK, struct.pack("=Q", 1), [f.socket.fileno()]) # of the others in uml.py
    poller = select.epoll()
    f.fail(SET_VRING_KICK, struct.pack("=Q", 1), [poller.fileno()])
    poller.close()
    ping(ring, range(3))


def test_base_values():
    for kind in FORMATS:
        s = Server()
        f, m, ring = ready(s, kind)
        same(f.base(0), ring.initial(), "the position of a fresh queue")
        f.do(SET_VRING_KICK, struct.pack("=Q", 0), [ring.kick_fd])
        total = 0
        for turn in range(30):
            n = 1 + turn % 8
            ping(ring, range(n))
            total += n
            same(f.base(0), ring.position(), "%s: the position after %d requests" % (kind, total))
            same(f.base(0), ring.position(), "the position of a stopped queue")
            # The position comes back with the queue, or half of it (DPDK's virtio-user), or is remembered.
            if turn % 3 == 1:
                f.vring(SET_VRING_BASE, 0, ring.position())
            elif turn % 3 == 2:
                f.vring(SET_VRING_BASE, 0, ring.position() & 0xffff)
            f.do(SET_VRING_KICK, struct.pack("=Q", 0), [ring.kick_fd])


def test_base_is_kept():
    """A queue that starts in the middle of its life."""
    s = Server()
    f, m, ring = ready(s, "split", kick=False, enable=False)
    f.base(0)
    ring.avail = ring.used = 0xfffe
    m.put16(ring.driver + 2, 0xfffe)
    m.put16(ring.device + 2, 0xfffe)
    f.vring(SET_VRING_BASE, 0, 0xfffe)
    f.do(SET_VRING_KICK, struct.pack("=Q", 0), [ring.kick_fd])
    f.enable(0)
    ping(ring, range(5))
    same(f.base(0), 3, "the position past 65535")


def test_drain():
    """GET_VRING_BASE finishes what is in flight before it answers."""
    for kind in FORMATS:
        s = Server()
        f, m, ring = ready(s, kind)
        for tag in range(5):
            ring.put(1, tag)
        ring.publish()
        ring.kick()
        ring.quiet()
        f.base(0)
        ring.wait(range(5), 0.5)


def test_config():
    s = Server()
    f = Frontend(s).negotiate()
    head = struct.pack("=III", 0, 64, 0)
    data, _ = f.ask(GET_CONFIG, head + bytes(64))
    same(data, head + bytes(64), "the configuration")
    f.fail(SET_CONFIG, struct.pack("=III", 16, 4, 0) + b"abcd") # before FEATURES_OK nothing is written
    same(f.ask(GET_CONFIG, struct.pack("=III", 60, 8, 0) + bytes(8))[0], b"", "a read past the end")
    same(f.ask(GET_CONFIG, struct.pack("=III", 0xfffffff0, 64, 0) + bytes(64))[0], b"", "a read that wraps")
    same(f.ask(GET_CONFIG, struct.pack("=III", 64, 0, 0))[0], struct.pack("=III", 64, 0, 0), "a read of nothing")
    m = Memory()
    f.add(m)
    ring = Split(m)
    f.start(ring)
    f.do(SET_CONFIG, struct.pack("=III", 16, 4, 0) + b"abcd")
    same(f.ask(GET_CONFIG, struct.pack("=III", 15, 6, 0) + bytes(6))[0][12:], b"\0abcd\0", "what was written")
    f.fail(SET_CONFIG, struct.pack("=III", 8, 1, 0) + b"x")     # read-only
    f.fail(SET_CONFIG, struct.pack("=III", 31, 2, 0) + b"xx")   # partly
    f.fail(SET_CONFIG, struct.pack("=III", 62, 4, 0) + b"xxxx") # past the end
    f.fail(SET_CONFIG, struct.pack("=III", 16, 1, 2) + b"x")    # flags
    whole = bytearray(64)
    whole[16:20] = b"wxyz"
    f.do(SET_CONFIG, struct.pack("=III", 0, 64, 1) + whole)     # a migration: the rest is as it was
    same(f.ask(GET_CONFIG, struct.pack("=III", 16, 4, 0) + bytes(4))[0][12:], b"wxyz", "what a migration wrote")
    whole[8] = 9
    f.fail(SET_CONFIG, struct.pack("=III", 0, 64, 1) + whole)   # another device
    f.alive()


def test_config_change():
    s = Server()
    f, m, ring = ready(s, "split", protocol=bits(MQ, REPLY_ACK, CONFIG, MEM_SLOTS, BACKEND_REQ))
    f.channel()
    for turn in range(1, 4):
        ping(ring, [turn], op=3)
        same(f.recv(f.back)[0], BACKEND_CONFIG_CHANGE_MSG, "the request")
        same(f.ask(GET_CONFIG, struct.pack("=III", 8, 1, 0) + b"\0")[0][12], turn, "the changed byte")
    # Nobody reads: notifications fold into one, nothing blocks, and the channel may go.
    f.back.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    for turn in range(300):
        ping(ring, [turn], op=3)
    f.back.close()
    f.back = None
    ping(ring, [1], op=3)
    f.alive()


def test_status():
    s = Server()
    f = Frontend(s).negotiate(protocol=bits(MQ, REPLY_ACK, CONFIG, MEM_SLOTS, STATUS))
    same(f.u64(GET_STATUS), 0, "the status")
    f.status(1, 3, 0xb)
    m = Memory()
    f.add(m)
    ring = Split(m)
    f.start(ring)
    ring.put(0, 1)
    ring.publish()
    ring.kick()
    ring.quiet()
    f.status(0xf)
    ring.wait([1])
    same(f.u64(GET_STATUS), 0xf, "the status")
    f.fail(SET_STATUS, struct.pack("=Q", 0xb))
    f.fail(SET_STATUS, struct.pack("=Q", 0x10f))
    f.status(0)
    same(f.u64(GET_STATUS), 0, "the status after a reset")
    same(f.base(0), 1, "the position, asked for after the reset as QEMU 7.2 does")
    ring.put(0, 2)
    ring.publish()
    ring.kick()
    ring.quiet()


def test_status_as_qemu():
    """FEATURES_OK first, the rest with DRIVER_OK; and stop and start again by SET_STATUS 0 (QEMU 7.2)."""
    s = Server()
    f = Frontend(s).negotiate(protocol=bits(MQ, REPLY_ACK, CONFIG, MEM_SLOTS, STATUS))
    m = Memory()
    ring = Split(m)
    base = None
    for turn in range(3):
        f.send(SET_FEATURES, struct.pack("=Q", f.features))
        f.send(SET_STATUS, struct.pack("=Q", f.u64(GET_STATUS) | 8))
        check(f.u64(GET_STATUS) & 8, "FEATURES_OK was not taken")
        if turn == 0:
            f.add(m)
        f.start(ring, base=base)
        f.send(SET_STATUS, struct.pack("=Q", f.u64(GET_STATUS) | 7))
        ping(ring, range(4))
        f.send(SET_STATUS, struct.pack("=Q", 0))
        f.enable(0, 0)
        base = f.base(0)
        same(base, 4 * (turn + 1), "the position")


def test_features_refused():
    s = Server()
    f = Frontend(s).negotiate(features=bits(VERSION_1))
    f.fail(SET_FEATURES, struct.pack("=Q", bits(VERSION_1, PROTOCOL, 20)))
    m = Memory()
    f.add(m)
    ring = Split(m)
    f.start(ring)
    ping(ring, [1])
    f.fail(SET_FEATURES, struct.pack("=Q", bits(VERSION_1, PROTOCOL, 1)))
    ping(ring, [2])
    # After the queues have stopped, another driver may choose otherwise.
    f.base(0)
    f.do(SET_FEATURES, struct.pack("=Q", bits(VERSION_1, PROTOCOL, 1, PACKED)))
    ring = Packed(m)
    f.start(ring, base=ring.initial())
    ping(ring, [3])


def test_legacy_driver_is_refused():
    s = Server()
    f = Frontend(s).negotiate(features=0)
    m = Memory()
    f.add(m)
    ring = Split(m)
    f.start(ring, enable=False)
    f.fail(SET_VRING_ENABLE, struct.pack("=II", 0, 1))
    s.wait_line("6.1")
    f.alive()


def test_reset_device():
    for kind in FORMATS:
        s = Server()
        f, m, ring = ready(s, kind, protocol=bits(MQ, REPLY_ACK, MEM_SLOTS, RESET_DEVICE_F))
        for tag in range(3):
            ring.put(1, tag)
        ring.publish()
        ring.kick()
        ring.quiet(0.05)
        f.do(RESET_DEVICE)
        ring.wait(range(3), 0.5)
        ring.put(0, 9)
        ring.publish()
        ring.kick()
        ring.quiet(0.05)
        # Another life, with fresh rings that start where fresh rings start.
        f.send(SET_FEATURES, struct.pack("=Q", f.features))
        ring = FORMATS[kind][0](m)
        f.start(ring)
        ping(ring, range(4))
        same(f.base(0), ring.position(), "the position of the new life")
        tidy()


def test_broken_queue():
    """The driver's fault: one line, an err notification, NEEDS_RESET; and a new life after a reset."""
    for kind in FORMATS:
        s = Server()
        f, m, ring = ready(s, kind, protocol=bits(MQ, REPLY_ACK, CONFIG, MEM_SLOTS, BACKEND_REQ, STATUS, RESET_DEVICE_F))
        f.channel()
        f.status(0xf)
        err = os.eventfd(0, os.EFD_NONBLOCK)
        f.send(SET_VRING_ERR, struct.pack("=Q", 0), [err])
        ping(ring, [1])
        ring.put(4, 2)
        ring.publish()
        ring.kick()
        check(Ring.signalled(err, 5), "no notification on the err descriptor")
        same(f.recv(f.back)[0], BACKEND_CONFIG_CHANGE_MSG, "what the back-end says")
        same(f.u64(GET_STATUS), 0x4f, "the status")
        ring.put(0, 3)
        ring.publish()
        ring.kick()
        ring.quiet(0.05)
        f.status(0)
        f.send(SET_FEATURES, struct.pack("=Q", f.features))
        ring = FORMATS[kind][0](m)
        f.start(ring, base=ring.initial())
        f.status(0xf)
        ping(ring, range(4))
        os.close(err)
        tidy()


def test_broken_queue_without_status():
    s = Server()
    f, m, ring = ready(s, "split")
    ring.put(4, 2)
    ring.publish()
    ring.kick()
    s.wait_line("needs a reset")
    f.base(0)
    f.send(SET_FEATURES, struct.pack("=Q", f.features))
    ring = Split(m)
    f.start(ring, base=0)
    ping(ring, range(4))


def test_bad_ring_addresses():
    """Nonsense from the guest ends in a refusal, not in the end of the session."""
    s = Server()
    f, m, ring = ready(s, "split")
    for desc, used, avail in ((0, 0, 0), (m.uva + m.size, m.uva, m.uva), (m.uva + 1, m.uva, m.uva),
                              (2 ** 64 - 8, 2 ** 64 - 8, 2 ** 64 - 8), (m.uva, m.uva + m.size - 8, m.uva)):
        f.fail(SET_VRING_ADDR, struct.pack("=IIQQQQ", 0, 0, desc, used, avail, 0))
    f.base(0)
    f.do(SET_VRING_ADDR, ring.addr(0))


def test_net_messages():
    s = Server(["net"])
    f = Frontend(s).negotiate(protocol=bits(MQ, REPLY_ACK, RARP, MTU))
    f.do(SEND_RARP, b"\x52\x54\x00\x12\x34\x56\0\0")
    s.wait_line("52:54:00:12:34:56")
    f.do(NET_SET_MTU, struct.pack("=Q", 1500))
    f.fail(NET_SET_MTU, struct.pack("=Q", 9001))
    f.fail(NET_SET_MTU, struct.pack("=Q", 67))
    f.fail(NET_SET_MTU, struct.pack("=Q", 65536))
    f.alive()


def test_inband():
    s = Server(["inband"])
    f = Frontend(s)
    f.send(SET_PROTOCOL_FEATURES, struct.pack("=Q", bits(INBAND, REPLY_ACK)))
    check(f.ended(), "INBAND_NOTIFICATIONS without BACKEND_REQ must end the connection")
    f = Frontend(s).negotiate(protocol=bits(MQ, REPLY_ACK, MEM_SLOTS, BACKEND_REQ, INBAND))
    f.channel()
    m = Memory()
    f.add(m)
    ring = Split(m)
    f.vring(SET_VRING_NUM, 0, ring.size)
    f.vring(SET_VRING_BASE, 0, 0)
    f.send(SET_VRING_ADDR, ring.addr(0))
    f.do(VRING_KICK, struct.pack("=II", 0, 0))
    f.enable(0)
    for turn in range(5):
        ring.put(0, turn)
        ring.publish()
        f.do(VRING_KICK, struct.pack("=II", 0, 0))
        ring.wait([turn])
        id, flags, payload, fds = f.recv(f.back)
        same((id, payload), (BACKEND_VRING_CALL, struct.pack("=II", 0, 0)), "the notification")
    ring.put(4, 7)
    ring.publish()
    f.do(VRING_KICK, struct.pack("=II", 0, 0))
    same(f.recv(f.back)[0], BACKEND_VRING_ERR, "what the back-end says")


def test_reset_owner_disables():
    s = Server()
    f, m, ring = ready(s, "split")
    f.send(RESET_OWNER)
    f.alive()
    ring.put(0, 1)
    ring.publish()
    ring.kick()
    ring.quiet(0.05)
    f.enable(0)
    ring.wait([1])


if __name__ == "__main__":
    run(globals())
