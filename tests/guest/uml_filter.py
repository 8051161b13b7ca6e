#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a Linux guest's network card is told to receive, and does: VLANs, groups, other stations, modes; its address, its
size of packets, its cable. A second guest on the switch sends the frames, vio and the receiver count them."""
import re
import struct
import time

from vioguest import Failure, main, say
from vionet import ping
from viouml import Uml, UmlNic, Vio, no_complaints, python

FRAMES = 50
KIND = 0x88b5 # for experiments
JUMBO = 9000


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


class Wire:
    """From guest a to guest b, whose card is `nic`."""

    def __init__(self, vio, a, b, of, nic):
        self.vio, self.a, self.b, self.of, self.nic = vio, a, b, of, nic

    def counts(self):
        net = self.vio.counters(self.nic)["net"]
        return net["rx_packets"], net["rx_filtered"]

    def send(self, to, vlan=None):
        """(delivered, filtered) of 50 frames; others may have spoken too, a little."""
        frame = mac_bytes(to) + mac_bytes(self.of)
        if vlan is not None:
            frame += struct.pack(">HH", 0x8100, vlan)
        frame = (frame + struct.pack(">H", KIND)).ljust(64, b"\0")
        before = self.counts()
        # as the wire has it: a tag that the sender's kernel put aside would go by its VLAN devices
        python(self.a, "import socket,time\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(('eth0',0))\n"
               "for n in range(%d):\n s.send(bytes.fromhex('%s'))\n if n%%10==9: time.sleep(0.005)" % (
                   FRAMES, frame.hex()))
        after = self.counts()
        return tuple(x - y for x, y in zip(after, before))

    def check(self, what, to, wanted, vlan=None):
        delivered, filtered = self.send(to, vlan)
        yes, no = (delivered, filtered) if wanted else (filtered, delivered)
        if yes < FRAMES or no > FRAMES // 3:
            raise Failure("%s: of %d frames %d were delivered and %d filtered, all were to be %s" % (
                what, FRAMES, delivered, filtered, "delivered" if wanted else "filtered"))
        say("%s: %s" % (what, "delivered" if wanted else "filtered"))


def vlans(wire, mac):
    a, b = wire.a, wire.b
    wire.check("VLAN 7, which was not added", mac, False, vlan=7)
    wire.check("VLAN 0, a priority alone", mac, True, vlan=0)
    for guest, address in ((a, "198.51.100.1/24"), (b, "198.51.100.2/24")):
        guest.run("modprobe 8021q; ip link add link eth0 name eth0.7 type vlan id 7 && ip link set eth0.7 up && "
                  "ip address add %s dev eth0.7" % address)
    wire.check("VLAN 7, added", mac, True, vlan=7)
    wire.check("VLAN 8, its neighbour", mac, False, vlan=8)
    for size in (0, 56, 1468, 1473, 9000):
        ping(a, "198.51.100.2", size)
    say("pings over VLAN 7")
    # all there are, in the last word of the table too
    b.run("ip link add link eth0 name eth0.4094 type vlan id 4094 && ip link set eth0.4094 up")
    wire.check("VLAN 4094, added", mac, True, vlan=4094)
    for guest in (a, b):
        guest.run("ip link delete eth0.7")
    b.run("ip link delete eth0.4094")
    wire.check("VLAN 7, taken away", mac, False, vlan=7)


def groups(wire):
    b, group, stranger = wire.b, "01:00:5e:01:02:03", "01:00:5e:01:02:04"
    wire.check("broadcasts", "ff:ff:ff:ff:ff:ff", True)
    wire.check("a group not joined", group, False)
    b.run("ip maddress add %s dev eth0" % group)
    wire.check("a group joined", group, True)
    wire.check("another", stranger, False)
    b.run("ip maddress delete %s dev eth0" % group)
    wire.check("a group left", group, False)
    b.run("ip link set eth0 allmulticast on")
    wire.check("any group with allmulticast on", stranger, True)
    b.run("ip link set eth0 allmulticast off")
    wire.check("and off", stranger, False)
    # a way of its own: a program's membership by IP
    b.start("timeout 20 %s >/tmp/joined 2>&1 & sleep 1" % (
        "python3 -c \"import socket,struct,time;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);"
        "s.setsockopt(0,socket.IP_ADD_MEMBERSHIP,socket.inet_aton('239.1.2.5')+socket.inet_aton('192.0.2.2'));"
        "time.sleep(15)\""))
    b.finish("a program that joins a group")
    wire.check("239.1.2.5, which a program has joined", "01:00:5e:01:02:05", True)
    b.run("kill %1; wait; true")
    wire.check("and left at its end", "01:00:5e:01:02:05", False)
    # more groups than a table of the device has: it lets all through, and goes back to its table afterwards
    for call, then in ((0x8931, True), (0x8932, False)): # SIOCADDMULTI, SIOCDELMULTI
        python(b, "import fcntl,socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
               "for i in range(300):\n fcntl.ioctl(s,%d,b'eth0'.ljust(18,b'\\0')+bytes.fromhex('01005e10%%04x'%%i)"
               ".ljust(22,b'\\0'))" % call)
        wire.check("a group among 300" if then else "and without them", "01:00:5e:10:00:11", then)


def stations(wire, mac):
    b, stranger, second = wire.b, "52:54:00:99:99:99", "52:54:00:99:99:01"
    wire.check("its own address", mac, True)
    wire.check("a stranger's", stranger, False)
    b.run("ip link set eth0 promisc on")
    wire.check("a stranger's with promisc on", stranger, True)
    wire.check("a group then", "01:00:5e:01:02:03", True)
    wire.check("a VLAN then", mac, True, vlan=9)
    b.run("ip link set eth0 promisc off")
    wire.check("a stranger's with promisc off", stranger, False)
    b.run("modprobe macvlan; ip link add link eth0 name second address %s type macvlan mode bridge && "
          "ip link set second up" % second)
    wire.check("a second address (macvlan)", second, True)
    wire.check("a stranger's then", stranger, False)
    b.run("ip link delete second")
    wire.check("a second address, taken away", second, False)


def own_address(wire, mac):
    a, b, other = wire.a, wire.b, "52:54:00:aa:bb:cc"
    b.run("ip link set eth0 address " + other)
    if b.run("cat /sys/class/net/eth0/address") != other:
        raise Failure("the address did not change")
    a.run("ip neighbour flush dev eth0")
    ping(a, "192.0.2.2")
    if other not in a.run("ip neighbour show 192.0.2.2"):
        raise Failure("the neighbour still sees the old address")
    wire.check("its new address", other, True)
    wire.check("its old address", mac, False)
    b.run("ip link set eth0 address " + mac)
    a.run("ip neighbour flush dev eth0")
    ping(a, "192.0.2.2")


def sizes(wire):
    a, b = wire.a, wire.b
    for guest in (a, b):
        if guest.run("cat /sys/class/net/eth0/mtu") != str(JUMBO):
            raise Failure("mtu=%d did not become the guest's" % JUMBO)
        if guest.try_run("ip link set eth0 mtu %d" % (JUMBO + 1))[0] == 0:
            raise Failure("the guest takes a larger MTU than the card's")
    whole = "ping -n -q -M do -i 0.2 -W 2 -c 2 -s %d 192.0.2.2"
    a.run(whole % (JUMBO - 28))
    if a.try_run(whole % (JUMBO - 27))[0] == 0:
        raise Failure("a packet larger than the MTU went through whole")
    for guest in (a, b):
        guest.run("ip link set eth0 mtu 1500")
    ping(a, "192.0.2.2", JUMBO - 28) # in fragments
    for guest in (a, b):
        guest.run("ip link set eth0 mtu %d" % JUMBO)
    a.run(whole % (JUMBO - 28))
    say("MTU %d, down to 1500 and back" % JUMBO)


def carrier(guest, wanted):
    for attempt in range(50):
        if guest.run("cat /sys/class/net/eth0/carrier") == wanted:
            return
        time.sleep(0.1)
    raise Failure("the guest's carrier is not " + wanted)


def cable(wire):
    a, b = wire.a, wire.b
    for turn in range(3):
        wire.vio.ctl("link", wire.nic.name, "down")
        carrier(b, "0")
        wire.vio.ctl("link", wire.nic.name, "up")
        carrier(b, "1")
    wire.vio.ctl("link", wire.nic.name, "down")
    carrier(b, "0")
    if not re.search(r"Link detected: no", b.run("ethtool eth0")):
        raise Failure("ethtool does not show that the link is down")
    if a.try_run("ping -n -q -c 2 -i 0.3 -W 1 192.0.2.2")[0] == 0:
        raise Failure("a ping went over a cable that is not plugged in")
    wire.vio.ctl("link", wire.nic.name, "up")
    carrier(b, "1")
    ping(a, "192.0.2.2")
    ping(b, "2001:db8::1")
    say("the cable out and in")


def test(folder):
    nics = [UmlNic(folder, "net,switch=a,mtu=%d" % JUMBO) for _ in range(2)]
    vio = Vio(folder, nics)
    with Uml(folder, nics[:1], "192.0.2.1/24", "2001:db8::1/64") as a, \
            Uml(folder, nics[1:], "192.0.2.2/24", "2001:db8::2/64") as b:
        for guest in (a, b):
            guest.ready()
        ping(a, "192.0.2.2")
        wire, mac = Wire(vio, a, b, nics[0].mac, nics[1]), nics[1].mac
        stations(wire, mac)
        groups(wire)
        vlans(wire, mac)
        own_address(wire, mac)
        sizes(wire)
        cable(wire)
        wire.check("a stranger's, after all that", "52:54:00:99:99:99", False)
        for guest in (a, b):
            no_complaints(guest)
            guest.bye()
    vio.stop()


main(test, "python3")
