#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest with two processors on a tap of several queues, served by a thread each: two programs with two connections each, both ways, and
the counters say that more than one queue carried them, in the guest's card and at the tap. The queues that the guest does not
use are detached, before it comes, when it uses fewer, and after it is gone. Needs root."""
import json
import os
import re
import subprocess

from vioguest import VIO, Failure, Process, Serve, say
from vionet import Host, Nic, iperf, ping_sizes
from viotap import INSIDE, host, main_inside

QUEUES = 4
PORTS = (5201, 5202)


def attached():
    """Queues of the tap that the kernel puts frames into, and those that it does not."""
    said = host("ip", "-d", "link", "show", "dev", "vio0")
    found = re.search(r"multi_queue numqueues (\d+) numdisabled (\d+)", said)
    if not found:
        raise Failure("the tap is not one of several queues: " + said)
    return int(found.group(1)), int(found.group(2))


def expect_attached(n, when):
    if attached() != (n, QUEUES - n):
        raise Failure("%s: %d queues of the tap are attached and %d are not, not %d and %d" % (
            (when,) + attached() + (n, QUEUES - n)))


def buffers(control):
    """Of each queue of the card, the buffers that were used."""
    said = subprocess.run([VIO, "ctl", control, "counters", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True, timeout=10, check=True).stdout
    return [q["buffers"] for q in json.loads(said)["devices"][0]["queues"]]


def carried(what, before, after, which):
    """More than one queue of a kind moved a good part of it."""
    moved = [after[i] - before[i] for i in which]
    say("%s: buffers of the queues %s: %s" % (what, which, moved))
    if sorted(moved)[-2] < sum(moved) // 50 or sum(moved) < 1000:
        raise Failure("%s: one queue carried it all: %s" % (what, moved))


def at_tap():
    """Packets that the host sent into each of the tap's queues."""
    said = host("tc", "-s", "qdisc", "show", "dev", "vio0")
    return [int(n) for n in re.findall(r"qdisc \S+ \S+ parent :\w+.*?\n Sent \d+ bytes (\d+) pkt", said)]


def both_ways(guest, control):
    """The guest sends from the queue of the processor that its program runs on, and the host answers a flow in the queue
    that it came from: so there is a program on each processor, with two connections."""
    each = "iperf3 -f m -t 3 -A %d -P 2 -c 192.0.2.1 -p %d %s >/tmp/%d 2>&1"
    for options, which in (("", (1, 3)), ("-R", (0, 2))):
        before, sent = buffers(control), at_tap()
        said = guest.run("%s & %s; wait $! && cat /tmp/0 /tmp/1" % tuple(
            each % (cpu, PORTS[cpu], options, cpu) for cpu in (0, 1)), 60)
        rates = re.findall(r"SUM.* ([\d.]+) Mbits/sec.*receiver", said)
        if len(rates) != 2:
            raise Failure("iperf3 did not come to its end:\n" + said)
        say("two times two connections %s: %s Mbit/s" % (options or "out", " and ".join(rates)))
        carried("two times two connections %s" % (options or "out"), before, buffers(control), which)
        if options:
            say("packets from the host by queue of the tap: %s" % [b - a for a, b in zip(sent, at_tap()) if b != a])


def run(folder):
    control = os.path.join(folder, "control")
    nic = Nic(folder, "net,tap=vio0,address=192.0.2.1/24,queues=%d,threads=2" % QUEUES, pairs=2)
    serve = Serve(folder, [nic.spec, "--control=" + control], INSIDE)
    serve.start([nic.socket])
    expect_attached(1, "before there is a guest")
    servers = [Process("iperf3-%d" % p, INSIDE + ["iperf3", "-s", "-p", str(p)], folder) for p in PORTS]
    with Host(folder, [nic], "192.0.2.2/24", "2001:db8::2/64", smp=2) as guest:
        guest.ready()
        expect_attached(2, "with a guest of two processors")
        host("ip", "address", "add", "2001:db8::1/64", "dev", "vio0", "nodad")
        ping_sizes(guest, "192.0.2.1")
        ping_sizes(guest, "2001:db8::1")
        both_ways(guest, control)
        guest.run("ethtool -L eth0 combined 1")
        expect_attached(1, "after the guest has gone back to one pair")
        before = buffers(control)
        iperf(guest, "192.0.2.1", "-R -P 4", 2, "one pair")
        if buffers(control)[2] != before[2]:
            raise Failure("a receive queue that is not in use got packets")
        guest.run("ethtool -L eth0 combined 2")
        expect_attached(2, "with two pairs again")
        both_ways(guest, control)
        guest.bye()
    for server in servers:
        server.kill()
    expect_attached(1, "after the guest is gone")
    serve.stop()


main_inside(run, "ip", "tc", "iperf3")
