# SPDX-License-Identifier: MIT
"""The other end of a network cable: frames of ARP, IPv4, ICMP, IPv6 and ICMPv6 written and checked here, over a pair of datagram
sockets (QEMU's -netdev dgram)."""
import os
import random
import socket
import struct

OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("52540012ab34")
BROADCAST = b"\xff" * 6
OUR_IP, THEIR_IP = bytes([10, 1, 2, 3]), bytes([10, 1, 2, 77])
OUR_IP6 = bytes.fromhex("fe800000000000000000000000000001")
THEIR_IP6 = bytes.fromhex("fe80000000000000") + bytes([THEIRS[0] ^ 2]) + THEIRS[1:3] + b"\xff\xfe" + THEIRS[3:]
SIZES = [0, 1, 2, 7, 8, 17, 18, 19, 56, 64, 511, 512, 1000, 1471, 1472] # bytes of ping


class Failure(Exception):
    pass


def check(ok, what, *args):
    if not ok:
        raise Failure(what % args)


def checksum(data):
    data = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ethernet(kind, payload, to=THEIRS, sender=OURS):
    return to + sender + struct.pack("!H", kind) + payload


def arp(target=THEIR_IP, op=1):
    return ethernet(0x806, struct.pack("!HHBBH", 1, 0x800, 6, 4, op) + OURS + OUR_IP + b"\0" * 6 + target, BROADCAST)


def ipv4(protocol, payload, to=THEIR_IP, sender=OUR_IP, fragment=0, version=4, words=5, total=None, wrong=0, options=b""):
    head = struct.pack("!BBHHHBBH4s4s", version << 4 | words, 0, 20 + len(options) + len(payload) if total is None else total, 7,
                       fragment, 64, protocol, 0, sender, to) + options
    return head[:10] + struct.pack("!H", (checksum(head) + wrong) & 0xffff) + head[12:] + payload


def icmp(kind, payload, seq=0, code=0, wrong=0):
    head = struct.pack("!BBHHH", kind, code, 0, 0x7655, seq)
    return head[:2] + struct.pack("!H", (checksum(head + payload) + wrong) & 0xffff) + head[4:] + payload


def ping(payload=b"", seq=0, **of_ip):
    return ethernet(0x800, ipv4(1, icmp(8, payload, seq), **of_ip))


def udp(port, payload, wrong=0):
    head = struct.pack("!HHHH", 5555, port, 8 + len(payload), 0)
    total = checksum(OUR_IP + THEIR_IP + struct.pack("!HH", 17, len(head) + len(payload)) + head + payload)
    return ethernet(0x800, ipv4(17, head[:6] + struct.pack("!H", (total + wrong) & 0xffff) + payload))


def ipv6(body, to=THEIR_IP6, sender=OUR_IP6, hops=255, wrong=0, length=None, mac=THEIRS):
    """body: ICMPv6 with a checksum of 0."""
    pseudo = sender + to + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", (checksum(pseudo + body) + wrong) & 0xffff) + body[4:]
    return ethernet(0x86dd, struct.pack("!IHBB", 0x60000000, len(body) if length is None else length, 58, hops) + sender + to + body,
                    mac)


def solicitation(target=THEIR_IP6, **of_ip):
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    return ipv6(struct.pack("!BBHI", 135, 0, 0, 0) + target + b"\x01\x01" + OURS, to=group, mac=b"\x33\x33" + group[12:], **of_ip)


def ping6(payload=b"", seq=0, **of_ip):
    return ipv6(struct.pack("!BBHHH", 128, 0, 0, 0x7656, seq) + payload, **of_ip)


# ------------------------------------------------------------------ what must come back

def check_ethernet(frame, kind):
    check(len(frame) >= 60, "a frame of %d bytes", len(frame))
    check(frame[:14] == OURS + THEIRS + struct.pack("!H", kind), "Ethernet header %s", frame[:14].hex())
    return frame[14:]


def check_arp(frame):
    want = struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) + THEIRS + THEIR_IP + OURS + OUR_IP
    body = check_ethernet(frame, 0x806)
    check(body[:28] == want and not any(body[28:]), "ARP reply %s", body.hex())


def check_ping(frame, payload, seq):
    body = check_ethernet(frame, 0x800)
    total = struct.unpack("!H", body[2:4])[0]
    check(body[0] == 0x45 and body[9] == 1 and total == 28 + len(payload), "IPv4 header %s", body[:20].hex())
    check(body[12:20] == THEIR_IP + OUR_IP and body[8] > 0, "addresses %s", body[:20].hex())
    check(checksum(body[:20]) == 0, "the IPv4 header's checksum is wrong")
    check(checksum(body[20:total]) == 0, "the ICMP checksum is wrong")
    check(body[20:22] == b"\0\0" and body[24:28] == struct.pack("!HH", 0x7655, seq), "ICMP header %s", body[20:28].hex())
    check(body[28:total] == payload, "%d bytes came back changed", len(payload))


def check_ipv6(frame, kind):
    body = check_ethernet(frame, 0x86dd)
    n = struct.unpack("!H", body[4:6])[0]
    check(body[:4] == b"\x60\0\0\0" and body[6] == 58 and body[8:40] == THEIR_IP6 + OUR_IP6, "IPv6 header %s", body[:40].hex())
    check(len(body) >= 40 + n, "%d bytes of %d", len(body) - 40, n)
    check(checksum(body[8:40] + struct.pack("!II", n, 58) + body[40:40 + n]) == 0, "the ICMPv6 checksum is wrong")
    check(body[40] == kind and body[41] == 0, "ICMPv6 type %d", body[40])
    return body[7], body[40:40 + n]


def check_neighbour(frame):
    hops, body = check_ipv6(frame, 136)
    check(hops == 255 and body[4:8] == b"\x60\0\0\0", "flags %s", body[4:8].hex())
    check(body[8:] == THEIR_IP6 + b"\x02\x01" + THEIRS, "advertisement %s", body[8:].hex())


def check_ping6(frame, payload, seq):
    _, body = check_ipv6(frame, 129)
    check(body[4:8] == struct.pack("!HH", 0x7656, seq) and body[8:] == payload, "echo reply %s", body[:16].hex())


# ------------------------------------------------------------------ what must not be answered

def not_to_be_answered():
    good = ping(b"x" * 40)
    rng = random.Random(4)
    frames = {
        "ARP for another": arp(bytes([10, 1, 2, 78])), "ARP reply": arp(op=2), "short ARP": arp()[:41],
        "ARP of another kind": arp()[:14] + b"\0\6" + arp()[16:],
        "IPv4 header's checksum": ping(b"abc", wrong=1), "IPv4 version": ping(b"abc", version=5),
        "IPv4 header of 16 bytes": ping(b"abc", words=4), "IPv4 header beyond the packet": ping(b"", words=15),
        "total length beyond the frame": ping(b"x" * 60, total=200), "total length within the header": ping(b"x" * 60, total=19),
        "first fragment": ping(b"x" * 40, fragment=0x2000), "last fragment": ping(b"x" * 40, fragment=0x00b9),
        "the reserved bit": ping(b"x" * 40, fragment=0x8000),
        "another address": ping(b"x" * 40, to=bytes([10, 1, 2, 78])), "broadcast": ping(b"x" * 40, to=b"\xff" * 4),
        "from multicast": ping(b"x" * 40, sender=bytes([224, 0, 0, 1])), "from loopback": ping(b"x" * 40, sender=bytes([127, 0, 0, 1])),
        "from nobody": ping(b"x" * 40, sender=bytes(4)),
        "ICMP checksum": ethernet(0x800, ipv4(1, icmp(8, b"abc", wrong=1))), "ICMP code": ethernet(0x800, ipv4(1, icmp(8, b"", code=1))),
        "ICMP of 7 bytes": ethernet(0x800, ipv4(1, icmp(8, b"")[:7])), "ICMP of 0 bytes": ethernet(0x800, ipv4(1, b"")),
        "echo reply": ethernet(0x800, ipv4(1, icmp(0, b"abc"))), "TCP": ethernet(0x800, ipv4(6, b"\0" * 20)),
        "from a group's MAC": good[:6] + b"\x01" + good[7:],
        "stop with a wrong checksum": udp(9, b"stop", wrong=1), "stop to another port": udp(10, b"stop"), "not stop": udp(9, b"stap"),
        "solicitation through a router": solicitation(hops=254), "solicitation for another": solicitation(OUR_IP6),
        "solicitation with a wrong checksum": solicitation(wrong=1), "solicitation from nobody": solicitation(sender=bytes(16)),
        "IPv6 echo with a wrong checksum": ping6(b"abc", wrong=1), "IPv6 length beyond the frame": ping6(b"x" * 40, length=900),
        "IPv6 length 0": ping6(b"x" * 40, length=0), "IPv6 to all nodes": ping6(b"abc", to=bytes.fromhex("ff02" + "00" * 13 + "01")),
        "another protocol": ethernet(0x88b5, b"x" * 50), "longer than any frame": ping(b"x" * 1600),
    }
    for n in (1, 13, 14, 15, 20, 33, 34, 35, 41):
        frames["a ping cut to %d bytes" % n] = good[:n]
    for i in range(60):
        kind = rng.choice([0x800, 0x806, 0x86dd])
        frames["noise %d" % i] = ethernet(kind, rng.choice([b"", b"\x45", b"\x60", b"\0\1\x08\0\6\4\0\1"]) + rng.randbytes(rng.randrange(120)))
    return frames


# ------------------------------------------------------------------ the cable

class Peer:
    """Frames over datagrams in a folder: netdev() is QEMU's end."""

    def __init__(self, folder):
        self.ours, self.theirs = os.path.join(folder, "ours"), os.path.join(folder, "theirs")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.ours)
        self.counts = {"ARP": 0, "pings": 0, "neighbours": 0, "IPv6 pings": 0}

    def netdev(self):
        return "dgram,id=n,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s" % (self.theirs, self.ours)

    def close(self):
        self.socket.close()

    def send(self, frame):
        self.socket.settimeout(10)
        self.socket.sendto(frame, self.theirs)

    def receive(self, seconds=10):
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(65536)
        except socket.timeout:
            raise Failure("nothing came back within %d s" % seconds)

    def ask(self, kind, frame, answer, *what):
        self.send(frame)
        self.counts[kind] += 1
        answer(self.receive(), *what)

    def converse(self):
        """All there is to say, in its order: what is not to be answered is followed by a ping, whose answer must be the next."""
        seq = 0
        self.ask("ARP", arp(), check_arp)
        for size in SIZES:
            payload, seq = os.urandom(size), seq + 1
            self.ask("pings", ping(payload, seq), check_ping, payload, seq)
        self.ask("pings", ping(b"with options", 99, words=6, options=b"\x01\x01\x01\x00"), check_ping, b"with options", 99)
        self.ask("neighbours", solicitation(), check_neighbour)
        for size in SIZES[:-2] + [1451, 1452]:
            payload, seq = os.urandom(size), seq + 1
            self.ask("IPv6 pings", ping6(payload, seq), check_ping6, payload, seq)
        for what, frame in not_to_be_answered().items():
            payload, seq = os.urandom(24), seq + 1
            self.send(frame)
            try:
                self.ask("pings", ping(payload, seq), check_ping, payload, seq)
            except Failure as failure:
                raise Failure("after '%s': %s" % (what, failure))
        # A UNIX datagram socket holds 10. When it is full QEMU waits for it, and its packed transmit queue may then sleep for good: it
        # asks for a notification at a place (off_wrap), goes on past it, and does not ask anew (seen with 7.2; another kick wakes it).
        self.burst(8, seq)

    def burst(self, n, seq):
        """Several at once, of any length: all are answered, in their order."""
        payloads = [os.urandom(SIZES[i % len(SIZES)]) for i in range(n)]
        for i, payload in enumerate(payloads):
            self.send(ping(payload, seq + i))
            self.counts["pings"] += 1
        for i, payload in enumerate(payloads):
            check_ping(self.receive(), payload, seq + i)

    def stop(self):
        self.send(udp(9, b"stop"))
