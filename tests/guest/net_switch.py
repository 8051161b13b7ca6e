#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two guests on a switch of one vio, over split and packed rings: ping of all sizes over IPv4 and IPv6, TCP and UDP
with offloads and without, a VLAN, jumbo frames, and files that arrive as they were sent."""
from vioguest import Failure, main, say
from vionet import Host, Nic, copy_file, counters, iperf, ping, ping_sizes, serve_iperf, serve_nics

OFFLOADS = ("tx", "rx", "sg", "tso", "gso", "gro", "rx-gro-hw")
CSUM, HOST_TSO4, MRG_RXBUF, PACKED = 0, 11, 15, 34


def agreed(guest, feature):
    return guest.run("bit eth0 %d" % feature) == "1"


def set_offloads(guest, state):
    # one at a time: a driver refuses what was never negotiated, and that must not keep the rest from being set
    guest.run("for o in %s; do ethtool -K eth0 $o %s || true; done" % (" ".join(OFFLOADS), state))


def load(a, b, what):
    iperf(a, "192.0.2.2", "", 2, what)
    iperf(a, "192.0.2.2", "-R", 2, what)
    iperf(a, "2001:db8::2", "", 2, what)
    iperf(a, "192.0.2.2", "-u -b 50M -l 1400", 2, what)
    copy_file(a, b, "192.0.2.2", 4, 7001)
    copy_file(b, a, "2001:db8::1", 4, 7002)


def vlan(a, b):
    for guest, address in ((a, "198.51.100.1/24"), (b, "198.51.100.2/24")):
        guest.run("modprobe 8021q; ip link add link eth0 name eth0.5 type vlan id 5 && ip link set eth0.5 up && "
                  "ip address add %s dev eth0.5" % address)
    ping_sizes(a, "198.51.100.2", (0, 56, 1472, 1473, 9000))
    copy_file(a, b, "198.51.100.2", 2, 7003)
    iperf(a, "198.51.100.2", "", 2, "VLAN 5")
    a.run("ip link delete eth0.5")
    b.run("ip link delete eth0.5")


def jumbo(a, b):
    for guest in (a, b):
        if guest.run("cat /sys/class/net/eth0/mtu") != "9000":
            raise Failure("mtu=9000 did not become the guest's MTU")
    ping(a, "192.0.2.2", 8972)
    # whole, not in fragments
    a.run("ping -n -q -M do -i 0.2 -c 2 -s 8972 192.0.2.2")
    say("9000-byte packets go through whole")


def no_errors(guest):
    bad = {k: v for k, v in counters(guest).items() if v and k != "rx_dropped"}
    if bad:
        raise Failure("%s counts errors: %s" % (guest.name, bad))


def pair(folder, device, mtu=None):
    keys = ",mtu=%d" % mtu if mtu else ""
    device += ",host_mtu=%d" % mtu if mtu else ""
    nics = [Nic(folder, "net,switch=a" + keys, device=device) for _ in range(2)]
    serve = serve_nics(folder, nics)
    return nics, serve


def test(folder):
    for form, mtu in (("off", None), ("on", 9000)):
        nics, serve = pair(folder, "packed=" + form, mtu)
        with Host(folder, nics[:1], "192.0.2.1/24", "2001:db8::1/64") as a, \
                Host(folder, nics[1:], "192.0.2.2/24", "2001:db8::2/64") as b:
            for guest in (a, b):
                guest.ready()
                for name, feature, wanted in (("CSUM", CSUM, True), ("TSO", HOST_TSO4, True),
                                              ("MRG_RXBUF", MRG_RXBUF, True), ("packed", PACKED, form == "on")):
                    if agreed(guest, feature) != wanted:
                        raise Failure("%s: %s is %snegotiated" % (guest.name, name, "not " if wanted else ""))
            say("both guests are up, packed=%s%s" % (form, ", MTU %d" % mtu if mtu else ""))
            ping_sizes(a, "192.0.2.2")
            ping_sizes(b, "2001:db8::1")
            serve_iperf(b)
            if mtu:
                jumbo(a, b)
            else:
                vlan(a, b)
            for state, of_a, of_b in (("on", "on", "on"), ("on to off", "on", "off"), ("off", "off", "off")):
                set_offloads(a, of_a)
                set_offloads(b, of_b)
                load(a, b, "packed=%s, offloads %s" % (form, state))
            no_errors(a)
            no_errors(b)
            a.bye()
            b.bye()
        serve.stop()


main(test)
