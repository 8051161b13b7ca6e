#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Queues of a network card, as a Linux guest's ethtool turns them: their number (-l, -L) while packets flow, which of
them a packet comes to (-x, -X, -N rx-flow-hash, against hashes computed here), what is counted (-S), and how long
notifications wait (-c, -C)."""
import ipaddress
import random
import re
import struct
import time

from vioguest import Failure, main, say
from vionet import ping, serve_iperf
from viouml import Uml, UmlNic, Vio, no_complaints, python, statistics

PAIRS = 4
CTRL = 2 * PAIRS
# The key that the specification of receive side scaling verifies hashes with.
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")


def toeplitz(key, data):
    bits = int.from_bytes(key, "big")
    of_key = 8 * len(key)
    result = 0
    for i in range(8 * len(data)):
        if data[i // 8] >> (7 - i % 8) & 1:
            result ^= bits >> (of_key - 32 - i) & 0xffffffff
    return result


def flow(source, target, *ports):
    return b"".join(ipaddress.ip_address(a).packed for a in (source, target)) + b"".join(
        struct.pack(">H", p) for p in ports)


# ---------------------------------------------------------------- how many

def channels(guest):
    said = re.findall(r"Combined:\s+(\d+)", guest.run("ethtool -l eth0"))
    return tuple(map(int, said)) # the most, and now


def received(guest):
    s = statistics(guest)
    return [s.get("rx_queue_%d_packets" % i, 0) for i in range(PAIRS)]


def more(after, before):
    return [a - b for a, b in zip(after, before)]


def number_of_queues(vio, nics, a, b):
    if channels(b) != (PAIRS, 1):
        raise Failure("ethtool -l says (most, now) %r, not (%d, 1)" % (channels(b), PAIRS))
    commands = vio.queue(nics[1], CTRL, "buffers")
    a.start("iperf3 -t 4 -P 6 -f m -c 192.0.2.2")
    changes = 0
    for number in (2, 3, 4, 1, 4, 2, 1, 3):
        b.run("ethtool -L eth0 combined %d" % number)
        changes += 1
        if channels(b)[1] != number:
            raise Failure("ethtool -L combined %d left %d" % (number, channels(b)[1]))
        time.sleep(0.2)
    code, said = a.finish("iperf3", 40)
    if code:
        raise Failure("iperf3 did not survive changes of the number of queues:\n" + said)
    seen = vio.queue(nics[1], CTRL, "buffers") - commands
    if seen < changes:
        raise Failure("%d changes, but vio saw %d commands on the control queue" % (changes, seen))
    if b.try_run("ethtool -L eth0 combined %d" % (PAIRS + 1))[0] == 0:
        raise Failure("ethtool -L took more queues than there are")
    say("ethtool -L 1 to %d under traffic, %d times: %s" % (PAIRS, changes, said.splitlines()[-3].strip()))


def flows(a, target, ports, count, source):
    family = "AF_INET6" if ":" in target else "AF_INET"
    # with pauses: a receiver that has the ring full by a burst loses some
    python(a, "import socket,time\ns=socket.socket(socket.%s,socket.SOCK_DGRAM)\ns.bind(('',%d))\n"
           "for n in range(%d):\n for p in %r: s.sendto(b'x'*64,('%s',p))\n time.sleep(0.005)" % (
               family, source, count, list(ports), target))


def used_queues(vio, nics, a, b):
    """Who has n queues gets packets on n queues and on no other, and vio's counts say the same."""
    for number in (1, 2, 3, 4):
        for guest in (a, b):
            guest.run("ethtool -L eth0 combined %d" % number)
        before, there = received(b), [vio.queue(nics[1], 2 * i, "buffers") for i in range(PAIRS)]
        # Ports at random: the driver's table and its random key may be in force, and with ports in a row such a hash
        # (it is linear) may leave a queue out.
        for source in random.sample(range(20000, 30000), 4):
            flows(a, "192.0.2.2", random.sample(range(30000, 60000), 20), 2, source)
        got = more(received(b), before)
        seen = more([vio.queue(nics[1], 2 * i, "buffers") for i in range(PAIRS)], there)
        say("combined %d: packets on each queue %r" % (number, got))
        if any(got[number:]) or any(seen[number:]):
            raise Failure("with %d queues there are packets on others: %r, vio's buffers %r" % (number, got, seen))
        if not all(got[:number]):
            raise Failure("with %d queues some get nothing: %r" % (number, got))


# ---------------------------------------------------------------- which

def settled(vio, nic, guest):
    """What came on each queue, once the driver has counted all that vio gave it; and what found its ring full."""
    for attempt in range(40):
        counted, given = received(guest), vio.counters(nic)["net"]
        if sum(counted) == given["rx_packets"]:
            return counted, given["rx_no_buffer"]
        time.sleep(0.05)
    raise Failure("%s: the driver counts %r, vio gave %d packets" % (guest.name, counted, given["rx_packets"]))


def arrives(vio, nic, a, b, target, ports, source, want, what):
    """20 datagrams to each port: as many on each queue as want says; and not many more, since others speak too."""
    for attempt in range(5):
        before, lost = settled(vio, nic, b)
        flows(a, target, ports, 20, source)
        after, lost_then = settled(vio, nic, b)
        if lost == lost_then: # else this machine did not let the guest run for a while
            break
    got = more(after, before)
    if any(not w <= g <= w + 12 for g, w in zip(got, want)):
        raise Failure("%s: on the queues came %r, and %r were due" % (what, got, want))
    say("%s: %r" % (what, got))


def due(table, source_address, target, ports, source):
    want = [0] * PAIRS
    for port in ports:
        want[table[toeplitz(KEY, flow(source_address, target, source, port)) % len(table)]] += 20
    return want


def receive_side_scaling(vio, nic, a, b):
    ports, source = range(7001, 7041), 6999
    pairs = (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"))
    b.run("ethtool -L eth0 combined %d" % PAIRS)
    b.run("ethtool -X eth0 hkey %s equal %d" % (KEY.hex(":"), PAIRS))
    said = b.run("ethtool -x eth0")
    if KEY.hex(":") not in said:
        raise Failure("ethtool -x shows another key:\n" + said)
    b.run("ethtool -K eth0 rxhash on")
    tables = (("equal 4", [i % 4 for i in range(128)]), ("weight 0 0 1 0", [2] * 128),
              ("weight 1 0 0 1", [0] * 64 + [3] * 64))
    for words, table in tables:
        b.run("ethtool -X eth0 " + words)
        for of, to in pairs:
            arrives(vio, nic, a, b, to, ports, source, due(table, of, to, ports, source), "%s, to %s" % (words, to))
    # Fields: addresses alone, then nothing that tells flows apart
    b.run("ethtool -X eth0 equal 4; ethtool -N eth0 rx-flow-hash udp4 sd")
    table = tables[0][1]
    of_all = table[toeplitz(KEY, flow("192.0.2.1", "192.0.2.2")) % 128]
    arrives(vio, nic, a, b, "192.0.2.2", ports, source, [20 * len(ports) * (i == of_all) for i in range(PAIRS)],
            "rx-flow-hash udp4 sd")
    said = b.run("ethtool -n eth0 rx-flow-hash udp4")
    if "src port" in said:
        raise Failure("ethtool -n still shows ports:\n" + said)
    arrives(vio, nic, a, b, "2001:db8::2", ports, source, due(table, "2001:db8::1", "2001:db8::2", ports, source),
            "udp6 with its ports still")
    b.run("ethtool -N eth0 rx-flow-hash udp4 sdfn")
    arrives(vio, nic, a, b, "192.0.2.2", ports, source, due(table, "192.0.2.1", "192.0.2.2", ports, source),
            "rx-flow-hash udp4 sdfn")
    b.run("ethtool -K eth0 rxhash off")
    arrives(vio, nic, a, b, "192.0.2.2", ports, source, [20 * len(ports), 0, 0, 0], "rxhash off")
    b.run("ethtool -K eth0 rxhash on")
    arrives(vio, nic, a, b, "192.0.2.2", ports, source, due(table, "192.0.2.1", "192.0.2.2", ports, source), "rxhash on")


# ---------------------------------------------------------------- what is counted

def counts(vio, nics, a, b):
    for guest, nic in ((a, nics[0]), (b, nics[1])):
        for attempt in range(5): # what arrives between the two looks is no difference
            s, v = statistics(guest), vio.counters(nic)["net"]
            mine = {k: sum(s.get("%s_queue_%d_%s" % (k[:2], i, k[3:]), 0) for i in range(PAIRS))
                    for k in ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")}
            if all(mine[k] == v[k] for k in mine):
                break
            time.sleep(0.2)
        else:
            raise Failure("%s: ethtool -S says %r, vio %r" % (guest.name, mine, {k: v[k] for k in mine}))
    say("ethtool -S and vio count the same: %r" % mine)


# ---------------------------------------------------------------- when it is told

def calls(vio, nic, a, queue):
    """Notifications for 2000 datagrams, of which one comes each half a millisecond."""
    before = vio.counters(nic)["queue"][queue]
    python(a, "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nt=time.monotonic()\n"
           "for n in range(2000):\n s.sendto(b'x'*64,('192.0.2.2',9))\n"
           " while time.monotonic()<t+n*0.0005: pass")
    time.sleep(0.1)
    after = vio.counters(nic)["queue"][queue]
    return after["calls"] - before["calls"], after["buffers"] - before["buffers"]


def coalescing(vio, nics, a, b):
    b.run("ethtool -X eth0 equal 1") # fewer queues than its table names are refused
    for guest in (a, b):
        guest.run("ethtool -L eth0 combined 1")
    plain = calls(vio, nics[1], a, 0)
    # This driver takes tx-frames 0, which is what it begins with, for a wish to do without NAPI: said each time
    few, none = "ethtool -C eth0 rx-usecs 20000 rx-frames 64 tx-frames 1", "ethtool -C eth0 rx-usecs 0 rx-frames 1 tx-frames 1"
    b.run(few)
    said = b.run("ethtool -c eth0")
    if not re.search(r"rx-usecs:\s+20000\b", said) or not re.search(r"rx-frames:\s+64\b", said):
        raise Failure("ethtool -c does not show what -C set:\n" + said)
    fewer = calls(vio, nics[1], a, 0)
    b.run(none)
    again = calls(vio, nics[1], a, 0)
    say("2000 datagrams: %d notifications, with rx-usecs 20000 rx-frames 64 %d, without again %d" % (
        plain[0], fewer[0], again[0]))
    if min(plain[1], fewer[1], again[1]) < 1000: # a busy host loses some
        raise Failure("too few datagrams came: %r" % [plain, fewer, again])
    if fewer[0] * 4 > min(plain[0], again[0]):
        raise Failure("coalescing does not make notifications fewer")
    # few packets wait for the time, and not for ever
    b.run(few)
    ms = ping(a, "192.0.2.2")
    if not 10 < ms < 100:
        raise Failure("ping takes %s ms where notifications wait for 20 ms" % ms)
    say("a ping with rx-usecs 20000: %.1f ms" % ms)
    b.run(none)


def test(folder):
    nics = [UmlNic(folder, "net,switch=a,pairs=%d" % PAIRS) for _ in range(2)]
    vio = Vio(folder, nics)
    with Uml(folder, nics[:1], "192.0.2.1/24", "2001:db8::1/64") as a, \
            Uml(folder, nics[1:], "192.0.2.2/24", "2001:db8::2/64") as b:
        for guest in (a, b):
            guest.ready()
            guest.run("echo 0 >/proc/sys/net/ipv4/icmp_ratelimit")
        ping(a, "192.0.2.2")
        ping(b, "2001:db8::1")
        serve_iperf(b)
        number_of_queues(vio, nics, a, b)
        used_queues(vio, nics, a, b)
        receive_side_scaling(vio, nics[1], a, b)
        counts(vio, nics, a, b)
        coalescing(vio, nics, a, b)
        for guest in (a, b):
            no_complaints(guest)
            guest.bye()
    vio.stop()


main(test, "iperf3")
