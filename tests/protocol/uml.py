#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A front-end that speaks as User Mode Linux 6.1 does (arch/um, virtio_uml). Regressions: it hung, or its driver gave up,
where the acknowledgement of SET_PROTOCOL_FEATURES, a table with room for two regions, or a socket to be called through
was not taken."""
import socket
import struct

from vu import *

NOTIFICATION = struct.pack("=Q", 1)


def ping(ring, tags):
    for tag in tags:
        ring.put(0, tag)
    ring.publish()
    ring.kick()
    ring.wait(tags)


def owned(s):
    """All messages wait for their acknowledgement, from the one on that turns it on."""
    f = Frontend(s)
    f.send(SET_OWNER)
    f.offered = f.u64(GET_FEATURES)
    f.u64(GET_PROTOCOL_FEATURES)
    f.do(SET_PROTOCOL_FEATURES, struct.pack("=Q", bits(REPLY_ACK, BACKEND_REQ, CONFIG)))
    f.protocol = bits(REPLY_ACK, BACKEND_REQ, CONFIG)
    f.channel()
    f.do(SET_FEATURES, struct.pack("=Q", bits(VERSION_1, PROTOCOL)))
    return f


def test_boots_as_user_mode_linux():
    s = Server()
    f = owned(s)
    m = Memory()
    ring = Split(m)
    f.do(SET_MEM_TABLE, struct.pack("=II", 1, 0) + m.region() + bytes(32), [m.fd])
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    f.do(SET_VRING_CALL, struct.pack("=Q", 0), [theirs.fileno()])
    theirs.close()
    f.do(SET_VRING_NUM, struct.pack("=II", 0, ring.size))
    f.do(SET_VRING_BASE, struct.pack("=II", 0, 0))
    f.do(SET_VRING_ADDR, ring.addr(0))
    f.do(SET_VRING_KICK, struct.pack("=Q", 0), [ring.kick_fd])
    f.enable(0)
    for turn in range(20):
        ping(ring, range(turn * 4, turn * 4 + 4))
        same(ours.recv(8), NOTIFICATION, "what arrives on the socket of SET_VRING_CALL")
    # Its end of the socket may go first: to call a queue then must do no harm.
    ours.close()
    ping(ring, range(4))
    f.alive()


def test_a_socket_that_nobody_reads():
    """Full is full: the device goes on."""
    s = Server()
    f = owned(s)
    m = Memory()
    ring = Split(m)
    f.table(m)
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    f.start(ring, call=False)
    f.do(SET_VRING_CALL, struct.pack("=Q", 0), [theirs.fileno()])
    for turn in range(600):
        ping(ring, [turn])
    f.alive()


def test_sockets_that_are_not_taken():
    s = Server()
    f = owned(s)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for id in (SET_VRING_CALL, SET_VRING_ERR):
        f.fail(id, struct.pack("=Q", 0), [theirs.fileno()])
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as inet:
        f.fail(SET_VRING_CALL, struct.pack("=Q", 0), [inet.fileno()])
    a, b = socket.socketpair()
    f.fail(SET_VRING_KICK, struct.pack("=Q", 0), [b.fileno()]) # it would be read
    with open("/dev/null", "wb") as null:
        f.fail(SET_VRING_CALL, struct.pack("=Q", 0), [null.fileno()])
    f.do(SET_VRING_ERR, struct.pack("=Q", 0), [b.fileno()])
    f.alive()


if __name__ == "__main__":
    run(globals())
