#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest on a tap interface of the host's, in a network namespace of the test's own: ping, TCP and UDP both ways, with
offloads on and off. Needs root."""
import subprocess

from vioguest import Failure, Process, say
from vionet import Host, Nic, counters, iperf, ping, ping_sizes, serve_nics
from viotap import INSIDE, host, main_inside


def load(guest, what):
    iperf(guest, "192.0.2.1", "", 2, what)
    iperf(guest, "192.0.2.1", "-R", 2, what)
    iperf(guest, "192.0.2.1", "-u -b 50M -l 1400", 2, what)


def run(folder):
    nic = Nic(folder, "net,tap=vio0,address=192.0.2.1/24")
    serve = serve_nics(folder, [nic], INSIDE)
    server = Process("iperf3", INSIDE + ["iperf3", "-s"], folder)
    with Host(folder, [nic], "192.0.2.2/24", "2001:db8::2/64") as guest:
        guest.ready()
        if "192.0.2.1/24" not in host("ip", "address", "show", "dev", "vio0"):
            raise Failure("address= did not become the tap's address")
        host("ip", "address", "add", "2001:db8::1/64", "dev", "vio0", "nodad")
        ping_sizes(guest, "192.0.2.1")
        ping_sizes(guest, "2001:db8::1")
        said = host("ping", "-n", "-q", "-i", "0.2", "-c", "5", "192.0.2.2")
        if "5 received" not in said:
            raise Failure("the host's ping into the guest: " + said)
        load(guest, "tap, offloads on")
        guest.run("for o in tx sg tso gso gro rx; do ethtool -K eth0 $o off || true; done")
        load(guest, "tap, offloads off")
        ping(guest, "192.0.2.1", 1472)
        say("the guest's counters: %s" % counters(guest))
        guest.bye()
    server.kill()
    serve.stop()
    left = subprocess.run(INSIDE + ["ip", "link", "show", "vio0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if left.returncode == 0:
        raise Failure("vio made the tap vio0 and left it behind")


main_inside(run, "ip", "iperf3")
