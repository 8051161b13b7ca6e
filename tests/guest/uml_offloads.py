#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a network card computes for its guest, each of it switched off alone by `ethtool -K`, then all, then on again: TCP and UDP
pass both ways, a file arrives as it was sent, no checksum is wrong, and frames are as large as the guests agreed on."""
from vioguest import Failure, main, say
from vionet import iperf_rate, serve_iperf
from viouml import Uml, UmlNic, Vio, no_complaints, python, script

# What is switched, and the ends at which frames are small then: a sender without it cuts segments itself, a receiver that
# takes no large frames gets none (vio cuts them, or they are not sent to it).
SWITCHES = {"tso": "a", "gso": "", "gro": "", "rx-gro-hw": "b", "sg": "a", "tx": "a"}
NAMES = {"tso": "tcp-segmentation-offload", "gso": "generic-segmentation-offload", "gro": "generic-receive-offload",
         "sg": "scatter-gather", "tx": "tx-checksumming"}
ON = "tx on sg on tso on gso on gro on rx-gro-hw on"
OFF = "tx off sg off tso off gso off gro off rx-gro-hw off"
FRAME = 1514
MIB = 4

SEND = """import hashlib, os, socket
data = os.urandom(%d << 20)
s = socket.create_connection(("%s", 7000))
s.sendall(data)
s.shutdown(socket.SHUT_WR)
print(s.recv(100).decode() == hashlib.sha256(data).hexdigest())
"""
TAKE = """import hashlib, socket
listener = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    s, _ = listener.accept()
    digest = hashlib.sha256()
    for piece in iter(lambda: s.recv(1 << 16), b""):
        digest.update(piece)
    s.sendall(digest.hexdigest().encode())
    s.close()
"""


def is_on(guest, name):
    """None: its driver has no such switch."""
    said = guest.run("ethtool -k eth0 | grep '^%s:'" % NAMES.get(name, name))
    return None if "fixed" in said else said.split()[1] == "on"


def bad_checksums(guest):
    """Segments and datagrams that the kernel found damaged."""
    python(guest, """found = {}
lines = [l.split() for l in open('/proc/net/snmp') if l.startswith(('Tcp:', 'Udp:'))]
for names, values in zip(lines[::2], lines[1::2]):
    found[names[0]] = dict(zip(names, values))['InCsumErrors']
found.update(l.split() for l in open('/proc/net/snmp6') if l.startswith('Udp6InCsumErrors'))
assert len(found) == 3 and not any(map(int, found.values())), found
""")


class Sizes:
    """The mean size of frames that the first card sent, and that the second one got."""

    def __init__(self, vio, nics):
        self.vio, self.nics = vio, nics
        self.before = self.counts()

    def counts(self):
        a, b = (self.vio.counters(n)["net"] for n in self.nics)
        return a["tx_packets"], a["tx_bytes"], b["rx_packets"], b["rx_bytes"]

    def means(self):
        d = [y - x for x, y in zip(self.before, self.counts())]
        return {"a": d[1] / max(1, d[0]), "b": d[3] / max(1, d[2])}


def traffic(vio, nics, a, what, small):
    """TCP over both protocols and UDP, both ways; `small`: the ends at which no frame is larger than an Ethernet's."""
    rates = []

    def load(words):
        rates.append(iperf_rate(a.run("iperf3 -f m -t 1 -c " + words, 40))[0])

    for address, back in (("192.0.2.2", ""), ("2001:db8::2", " -R")):
        sizes = Sizes(vio, nics)
        load(address)
        means = sizes.means()
        for end, mean in means.items():
            if (end in small) != (mean <= FRAME) or (end not in small and mean < 2 * FRAME):
                raise Failure("%s: frames have %r bytes; small ones were due at: %s" % (what, means, small or "no end"))
        load("%s -u -b 20M -l 1400%s" % (address, back))
        if "True" not in python(a, SEND % (MIB, address)):
            raise Failure("%s: other bytes arrived than were sent to %s" % (what, address))
    load("192.0.2.2 -R")
    load("2001:db8::2 -R")
    if min(rates) <= 0:
        raise Failure("%s: nothing moved: %r" % (what, rates))
    say("%s: TCP %.0f Mbit/s, back %.0f, IPv6 %.0f, back %.0f; UDP %.0f, back by IPv6 %.0f; frames of %.0f bytes sent, %.0f received"
        % (what, rates[0], rates[4], rates[2], rates[5], rates[1], rates[3], means["a"], means["b"]))


def switch(guest, words):
    guest.run("ethtool -K eth0 " + words)


def one_by_one(vio, nics, a, b):
    traffic(vio, nics, a, "all on", "")
    for name, ends in SWITCHES.items():
        for guest in (a, b):
            if is_on(guest, name) is None:
                raise Failure("%s: cannot be switched" % name)
            switch(guest, name + " off")
            if is_on(guest, name):
                raise Failure("%s: still on" % name)
        # what the sender cuts is small at the other end as well
        traffic(vio, nics, a, name + " off", "ab" if "a" in ends else ends)
        for guest in (a, b):
            switch(guest, ON)
    for guest in (a, b):
        switch(guest, OFF)
    traffic(vio, nics, a, "all off", "ab")
    for guest in (a, b):
        switch(guest, ON)
    traffic(vio, nics, a, "all on again", "")


def test(folder):
    nics = [UmlNic(folder, "net,switch=a") for _ in range(2)]
    vio = Vio(folder, nics)
    with Uml(folder, nics[:1], "192.0.2.1/24", "2001:db8::1/64") as a, \
            Uml(folder, nics[1:], "192.0.2.2/24", "2001:db8::2/64") as b:
        for guest in (a, b):
            guest.ready()
        serve_iperf(b)
        b.run("%s >/dev/null 2>&1 & sleep 1" % script(b, TAKE))
        one_by_one(vio, nics, a, b)
        for guest in (a, b):
            bad_checksums(guest)
            no_complaints(guest)
            guest.bye()
    vio.stop()


main(test, "iperf3")
