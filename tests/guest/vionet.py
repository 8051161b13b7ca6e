# SPDX-License-Identifier: MIT
"""What the network tests share: a network card that vio serves (Nic), a guest that does what it is told line by line
(Host), and the measuring commands with what they print understood.

    nic = Nic(folder, "net,switch=a")
    serve = serve_nics(folder, [nic])
    with Host(folder, [nic], "192.0.2.1/24") as guest:
        guest.run("ping -c 1 192.0.2.2")
"""
import os
import queue
import re
import time

from vioguest import Failure, Guest, Serve, accelerator, say

# Its console is the line between the test and it: each line is a command, its output comes back marked.
SCRIPT = r"""
stty -echo 2>/dev/null
# the shell would take busybox's own
ip() { /bin/ip "$@"; }
ping() { /bin/ping "$@"; }
bit() { # CARD FEATURE: what the guest's driver and the device agreed on
    cut -c$(($2 + 1)) /sys/class/net/$1/device/features
}
send_file() { # FILE ADDRESS PORT
    nc -w 10 $2 $3 <$1
}
take_file() { # FILE PORT: in the background, until the sender closes
    [ -p /tmp/never ] || mkfifo /tmp/never
    nc -l -p $2 >$1 <>/tmp/never & # an input that ended would make it close at once
    taking=$!
}
ip link set lo up
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad # an address counts at once
%(setup)s
say ready
while read -r line; do
    [ "$line" = bye ] && break
    eval "$line" >/tmp/said 2>&1
    code=$?
    tail -n 60 /tmp/said | cut -c1-300 | sed 's/^/VIO-SAID: /'
    say did $code
done
"""


class Nic:
    """A port of vio: what it serves and what QEMU plugs into its guest. device: properties of virtio-net-pci."""
    count = 0

    def __init__(self, folder, spec, pairs=1, device="", reconnect=False, mac=None):
        Nic.count += 1
        self.number, self.pairs, self.device, self.reconnect = Nic.count, pairs, device, reconnect
        self.id = "nic%d" % self.number
        self.mac = mac or "52:54:00:76:00:%02x" % self.number
        self.socket = os.path.join(folder, self.id + ".sock")
        self.spec = "%s,vhost-user=%s" % (spec, self.socket)

    def qemu(self):
        return ["-chardev", "socket,id=%s,path=%s%s" % (self.id, self.socket, ",reconnect=1" if self.reconnect else ""),
                "-netdev", "vhost-user,id=net-%s,chardev=%s,queues=%d" % (self.id, self.id, self.pairs),
                "-device", self.card()]

    def card(self):
        more = ",mq=on" if self.pairs > 1 else ""
        if accelerator() == "kvm":
            more += ",vectors=%d" % (2 * self.pairs + 2)
        else:
            more += ",vectors=0" # QEMU 7.2 without KVM dies of a vhost-user network card with MSI-X (no irqfd)
        return "virtio-net-pci,id=dev-%s,netdev=net-%s,mac=%s,romfile=%s%s%s" % (
            self.id, self.id, self.mac, more, "," if self.device else "", self.device)


def serve_nics(folder, nics, prefix=()):
    """One vio process for all of them."""
    serve = Serve(folder, [n.spec for n in nics], prefix)
    serve.start([n.socket for n in nics])
    return serve


class Host(Guest):
    """A guest with network cards, eth0 up with these addresses, that does what it is told."""

    def __init__(self, folder, nics, *addresses, setup="", smp=1, memory=384, **more):
        lines = ["ip link set eth0 up"] + ["ip address add %s dev eth0" % a for a in addresses] + [setup]
        super().__init__(folder, nics, SCRIPT % {"setup": "\n".join(lines)}, smp=smp, memory=memory, **more)

    def ready(self, seconds=90):
        self.wait("ready", seconds)
        return self

    def start(self, command):
        self.type(command)

    def finish(self, command, seconds=30):
        """Waits for the end of what start() began: its exit code and what it printed."""
        said, deadline = [], time.monotonic() + seconds
        while True:
            try:
                line = self.process.lines.fresh.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failure("%s: '%s' did not end in %g s\n%s" % (self.name, command, seconds,
                                                                   self.process.lines.tail()))
            if line is None:
                raise Failure("%s: %s ended during '%s'\n%s" % (self.name, self.what, command, self.process.lines.tail()))
            if line.startswith("VIO-SAID: "):
                said.append(line[len("VIO-SAID: "):])
                continue
            text = self.take(line)
            self.check()
            if text is not None and text.startswith("did "):
                return int(text.split()[1]), "\n".join(said)

    def take(self, line):
        found = re.search(r"VIO-TEST: (did \d+|ready)$", line)
        return found.group(1) if found else super().take(line)

    def try_run(self, command, seconds=30):
        self.start(command)
        return self.finish(command, seconds)

    def run(self, command, seconds=30):
        """What the command prints; Failure where it fails."""
        code, said = self.try_run(command, seconds)
        if code:
            raise Failure("%s: '%s' ended with %d:\n%s" % (self.name, command, code, said))
        return said

    def bye(self):
        self.type("bye")
        self.wait_end(30)


# ---------------------------------------------------------------- what is measured, and what it says

SIZES = (0, 1, 17, 56, 1000, 1471, 1472, 1473, 9000, 64000)


def ping(guest, address, size=56, count=3):
    """So many come back, with the bytes that were sent; the mean time in ms."""
    said = guest.run("ping -n -q -i 0.2 -W 5 -c %d -s %d %s" % (count, size, address), 20 + 2 * count)
    if "wrong data" in said or not re.search(r"\b%d received" % count, said):
        raise Failure("ping %s with %d bytes: %s" % (address, size, said))
    mean = re.search(r"= [\d.]+/([\d.]+)/", said) # none where the packet has no room for a time
    return float(mean.group(1)) if mean else None


def ping_sizes(guest, address, sizes=SIZES):
    times = {size: ping(guest, address, size) for size in sizes}
    say("ping %s from %s: %s" % (address, guest.name, ", ".join(
        "%d B%s" % (size, "" if ms is None else " %.1f ms" % ms) for size, ms in times.items())))


def serve_iperf(guest):
    guest.run("iperf3 -s -D >/dev/null 2>&1; sleep 1")


def iperf_rate(said):
    """Mbit/s that arrived, as iperf3 -f m says at its end, and the share of datagrams lost."""
    line = next((l for l in said.splitlines() if l.rstrip().endswith("receiver")), None)
    if line is None:
        raise Failure("iperf3 did not come to its end:\n" + said)
    rate = float(re.search(r"([\d.]+) Mbits/sec", line).group(1))
    lost = re.search(r"\(([\d.e+-]+)%\)", line)
    return rate, float(lost.group(1)) / 100 if lost else 0.0


def iperf(guest, address, options="", seconds=3, what=""):
    rate, lost = iperf_rate(guest.run("iperf3 -f m -t %g -c %s %s" % (seconds, address, options), seconds + 40))
    say("iperf3 %s %s: %.0f Mbit/s%s" % (what, options, rate,
                                         ", %.1f %% lost" % (100 * lost) if "-u" in options else ""))
    if rate <= 0:
        raise Failure("iperf3 %s moved nothing" % options)
    return rate, lost


def copy_file(sender, receiver, address, mib=8, port=7000):
    """A file of random bytes arrives as it was sent."""
    sender.run("dd if=/dev/urandom of=/tmp/data bs=1M count=%d" % mib, 60)
    receiver.run("take_file /tmp/got %d; sleep 0.5" % port)
    begun = time.monotonic()
    sender.run("send_file /tmp/data %s %d" % (address, port), 60)
    receiver.run("wait $taking", 60)
    took = time.monotonic() - begun
    sent, got = (g.run("sha256sum <%s" % f, 60) for g, f in ((sender, "/tmp/data"), (receiver, "/tmp/got")))
    if sent != got:
        raise Failure("the file that arrived is another: %s sent, %s got" % (sent, got))
    say("a file of %d MiB from %s to %s: the same bytes, %.1f s" % (mib, sender.name, receiver.name, took))


def counters(guest, card="eth0"):
    said = guest.run("cd /sys/class/net/%s/statistics; grep . rx_errors rx_dropped rx_frame_errors rx_crc_errors "
                     "rx_length_errors tx_errors" % card)
    return {line.split(":")[0]: int(line.split(":")[1]) for line in said.splitlines()}
