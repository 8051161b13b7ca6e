#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Network devices of `vio serve`: keys that do not go together, what the front-end is offered, frames through the
backends that need no rights, captures, links, and the end of a device that shares a switch."""
import json
import os
import resource
import socket
import struct
import threading
import time
import xml.etree.ElementTree

from cli_frontend import NET_F_MTU, NET_SET_MTU, PF_CONFIG, PF_NET_MTU, PF_RARP, SEND_RARP, NetFrontEnd
from cli_help import Serve, Skip, check, contains, equal, main, no_sanitizer, vio, wait_for

A, B = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
EVERYBODY = b"\xff" * 6
CSUM, GUEST_CSUM, MQ, RSS, HASH_REPORT = 0, 1, 22, 60, 57
OFFLOADS = (7, 8, 9, 10, 11, 12, 13, 14, 54, 55, 56)


def refused(status, *words, args=()):
    got, out, err = vio(*args)
    equal(got, status, "exit status of %s (%s)" % (" ".join(args), err.strip()))
    contains(err, *words)
    equal(len(err.strip().splitlines()), 1, "lines of the error: %s" % err)


def frame(to, of, text, kind=0x88b5):
    return (to + of + struct.pack(">H", kind) + text).ljust(60, b"\0")


def ctl(folder, *args):
    status, out, err = vio("ctl", folder + "/c", *args)
    equal((status, err), (0, ""), " ".join(args))
    return out


def counters(folder, device):
    got = json.loads(ctl(folder, "counters", "--json"))
    return [d for d in got["devices"] if d["name"] == device][0]


def test_keys(folder):
    at = ",vhost-user=%s/s" % folder
    for spec, words in (
            ("net,user,tap=x", ["user, tap= exclude each other", "null"]),
            ("net,null,echo", ["null, echo exclude each other"]),
            ("net,user=off", ["needs one of: user, tap=NAME, tapfd=N, switch=NAME"]),
            ("net,bridge=br0", ["bridge= is for tap only", "user here"]),
            ("net,null,forward=tcp:1:2", ["forward= is for user only", "null here"]),
            ("net,tap=x,vlan=2", ["vlan= is for switch only"]),
            ("net,listen", ["listen= is for stream only"]),
            ("net,null,fixed-mac,mac=52:54:00:00:00:01", ["fixed-mac= is for switch only"]),
            ("net,switch=a,fixed-mac", ["fixed-mac", "mac=", "config=on"]),
            ("net,switch=a,uplink=tap:x,forward=tcp:1:2", ["forward= is for user only"]),
            ("net,uplink=user", ["uplink= is for switch only"]),
            ("net,switch=a,uplink=dgram:x", ["tap:NAME, user or stream:PATH"]),
            ("net,switch=a,uplink=user:x", ["tap:NAME, user or stream:PATH"]),
            ("net,switch=a,uplink=tap:" + "x" * 16, ["at most 15"]),
            ("net,switch=", ["switch= is empty"]),
            ("net,tap=" + "x" * 16, ["16 bytes, and at most 15"]),
            ("net,switch=a,vlan=4095", ["1..4094"]),
            ("net,generate=59", ["60..65535"]),
            ("net,threads=2", ["threads=2", "user", "one thread"]),
            ("net,switch=a,threads=2", ["threads=2", "switch", "one thread"]),
            ("net,tap=t,queues=2,threads=4", ["threads=4", "queues="]),
            ("net,tapfd=5,threads=2", ["threads=2", "tapfd=N+N"]),
            ("net,tapfd=5+5", ["tapfd=5+5", "joined by +"]),
            ("net,tapfd=2", ["tapfd=2", "from 3"]),
            ("net,tap=t,queues=65", ["1..64"]),
            ("net,null,queues=2", ["queues= is for tap only"]),
            ("net,tap=t,queues=4,pairs=2", ["pairs=2", "4"]),
            ("net,switch=a,uplink=tap:t,queues=2", ["queues=", "uplink"]),
            ("net,mac=525400000001", ["52:54:00:12:34:56"]),
            ("net,mac=01:00:00:00:00:01", ["address of a station"]),
            ("net,mac=00:00:00:00:00:00", ["address of a station"]),
            ("net,mac=52:54:00:00:00:01:02", ["address of a station"]),
            ("net,pairs=65", ["1..64"]), ("net,mtu=67", ["68..65535"]), ("net,queue-size=100", ["a power of two"]),
            ("net,par=2", ["no key 'par'"]),
    ):
        refused(2, *words, args=["serve", spec + at])
    refused(1, "net0", "forward=a++b", args=["serve", "net,forward=a++b" + at])
    refused(1, "net0", "more than 64", args=["serve", "net,forward=%s%s" % ("+".join(["tcp:1:2"] * 65), at)])
    refused(1, "net0", "capture", "/nowhere/x", args=["serve", "net,null,capture=/nowhere/x" + at])
    status, _, err = vio("serve", "net,switch=a,uplink=user" + at, "net,switch=a,uplink=user,vhost-user=%s/t" % folder)
    equal(status, 1)
    if "libslirp" not in err:
        contains(err, "net1", "switch a has an uplink already, by net0")
    check(not os.path.exists(folder + "/s"), "a refused start left a socket")


def test_help(folder):
    keys = {k["name"]: k for k in json.loads(vio("serve", "help", "net", "--json")[1])["keys"]}
    for key in ("user", "tap", "bridge", "address", "tapfd", "switch", "isolated", "fixed-mac", "vlan", "uplink", "stream", "listen",
                "dgram", "null", "copy", "generate", "echo", "forward", "capture", "mac", "pairs", "queue-size", "mtu",
                "speed", "link", "mrg", "csum", "gso", "rss", "packed", "poll", "vhost-user"):
        check(key in keys and keys[key]["help"], "no key " + key)
    text = vio("serve", "help", "net")[1]
    for key in keys:
        contains(text, "\n  %s=" % key)


def test_offers(folder):
    """What the keys keep from being offered, and no more."""
    def offered(keys):
        path = "%s/s" % folder
        serve = Serve(folder, "net,switch=a%s,vhost-user=%s" % (keys, path))
        front = NetFrontEnd(path)
        got = front.offered
        front.close()
        serve.stop()
        return got

    everything = offered("")
    for bit in (CSUM, GUEST_CSUM, 15, MQ, RSS, HASH_REPORT, 11):
        check(everything >> bit & 1, "bit %d is not offered" % bit)
    for keys, gone in ((",mrg=off", (15,)), (",rss=off", (RSS, HASH_REPORT)), (",gso=off", OFFLOADS),
                       (",csum=off", OFFLOADS + (CSUM, GUEST_CSUM)), (",packed=off", (34,))):
        got = offered(keys)
        for bit in gone:
            check(not got >> bit & 1, "%s: bit %d is offered" % (keys, bit))
    check(offered(",gso=off") >> CSUM & 1, "gso=off took CSUM away")
    check(not everything & NET_F_MTU, "an mtu is offered that nobody knows")
    check(offered(",mtu=1400") & NET_F_MTU, "mtu= is not offered")


def test_configuration(folder):
    path = "%s/s" % folder
    serve = Serve(folder, "net,null,mac=52:54:00:AB:cd:ef,mtu=1400,speed=2500,pairs=3,config,link=off,vhost-user=" + path)
    front = NetFrontEnd(path, config=True)
    equal(front.mac(), bytes.fromhex("525400abcdef"))
    equal(front.link(), 0, "link=off")
    equal(struct.unpack("<HHI", front.config(8, 8)), (3, 1400, 2500), "pairs, mtu, speed")
    front.close()
    serve.stop()
    serve = Serve(folder, "net,null,name=one,vhost-user=%s/1" % folder, "net,null,name=two,config,vhost-user=%s/2" % folder)
    one, two = NetFrontEnd("%s/1" % folder), NetFrontEnd("%s/2" % folder, config=True)
    check(not one.protocol & PF_CONFIG, "the configuration is shown without config=on")
    mac = two.mac()
    check(mac[0] & 3 == 2, "an address made from a name is not local and of one station: %s" % mac.hex())
    one.close()
    two.close()
    serve.stop()


def test_echo(folder):
    path = "%s/s" % folder
    serve = Serve(folder, "--control=%s/c" % folder, "net,echo,vhost-user=" + path)
    front = NetFrontEnd(path)
    for n in range(40):
        front.transmit(frame(A, B, b"frame %d" % n))
        equal(front.receive_frame(), frame(B, A, b"frame %d" % n))
    got = counters(folder, "net0")["net"]
    equal((got["tx_packets"], got["tx_bytes"], got["rx_packets"]), (40, 2400, 40))
    queues = {q["queue"]: q for q in counters(folder, "net0")["queues"]}
    equal((queues[0]["buffers"], queues[1]["buffers"]), (40, 40))
    front.close()
    serve.stop()


def test_threads(folder):
    """Two pairs, a thread each: what one sends comes back to it, RSS is not offered, captures and counters are of both."""
    path, file = "%s/s" % folder, "%s/f.pcapng" % folder
    serve = Serve(folder, "--control=%s/c" % folder, "net,echo,threads=2,vhost-user=" + path)
    front = NetFrontEnd(path, pairs=2)
    check(not front.offered >> RSS & 1 and front.offered >> HASH_REPORT & 1, "RSS or HASH_REPORT: 0x%x" % front.offered)
    check(front.offered >> MQ & 1, "MQ is not offered")
    equal(serve.workers(), 2, "workers of two pairs")
    ctl(folder, "capture", "net0", file)
    for n in range(40):
        for pair in 0, 1:
            front.transmit(frame(A, B, b"frame %d of %d" % (n, pair)), pair)
        for pair in 1, 0:
            equal(front.receive_frame(pair=pair), frame(B, A, b"frame %d of %d" % (n, pair)))
    ctl(folder, "capture", "net0", "off")
    with open(file, "rb") as captured:
        equal(captured.read().count(b"frame 39 of "), 4, "a frame out and in, of each pair, in the capture")
    got = counters(folder, "net0")
    equal((got["net"]["tx_packets"], got["net"]["tx_bytes"], got["net"]["rx_packets"]), (80, 4800, 80))
    equal(got["backend"]["captured"], 160)
    equal([q["buffers"] for q in got["queues"] if q["queue"] < 4], [40] * 4)
    front.close()
    # Fewer pairs than threads: the other thread is not made.
    front = NetFrontEnd(path)
    front.transmit(frame(A, B, b"alone"))
    equal(front.receive_frame(), frame(B, A, b"alone"))
    front.close()
    serve.stop()


def arp(mac, ip, other):
    """Who has `other`? Asked by a station with an address."""
    return frame(EVERYBODY, mac, struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + mac + socket.inet_aton(ip) + bytes(6) +
                 socket.inet_aton(other), 0x0806)


def test_user(folder):
    """The gateway of libslirp's network answers each question, although nothing else happens that would wake vio."""
    path = "%s/s" % folder
    status, _, err = vio("serve", "net,user,vhost-user=/nowhere/s")
    if "libslirp" in err:
        raise Skip(err.strip())
    serve = Serve(folder, "net,user,vhost-user=" + path)
    front = NetFrontEnd(path)
    for _ in range(20):
        front.transmit(arp(A, "10.0.2.15", "10.0.2.2"))
        end = time.monotonic() + 5
        while True:
            got = front.receive_frame(max(0.01, end - time.monotonic()))
            check(got is not None, "the gateway does not answer")
            if got[12:14] == b"\x08\x06" and got[:6] == A:
                break
        equal((got[20:22], got[28:32]), (b"\0\2", socket.inet_aton("10.0.2.2")), "the answer")
        time.sleep(0.02)  # it falls asleep
    front.close()
    serve.stop()


def test_generate(folder):
    path = "%s/s" % folder
    serve = Serve(folder, "net,generate=128,vhost-user=" + path)
    front = NetFrontEnd(path)
    for _ in range(100):
        equal(len(front.receive_frame()), 128)
    front.close()
    serve.stop()


def test_switch(folder):
    """Three ports of one switch, one of another; one thread a switch."""
    serve = Serve(folder, "--control=%s/c" % folder,
                  *["net,switch=%s,vhost-user=%s/%d" % (name, folder, n) for n, name in enumerate(("a", "a", "b", "a"))])
    fronts = [NetFrontEnd("%s/%d" % (folder, n)) for n in range(4)]
    equal(serve.workers(), 2, "workers of two switches")
    fronts[0].transmit(frame(EVERYBODY, A, b"hello"))
    equal(fronts[1].receive_frame(), frame(EVERYBODY, A, b"hello"))
    equal(fronts[3].receive_frame(), frame(EVERYBODY, A, b"hello"))
    fronts[1].transmit(frame(A, B, b"answer"))
    equal(fronts[0].receive_frame(), frame(A, B, b"answer"))
    equal(fronts[2].receive_frame(0.2), None, "the other switch")
    equal(fronts[3].receive_frame(0.2), None, "a port that is not meant")
    for front in fronts:
        front.close()
    serve.stop()


def test_fixed_mac(folder):
    """Two ports with an address of their own, one without: the third cannot be the first."""
    specs = ["net,switch=a,fixed-mac,mac=02:00:00:00:00:0a,vhost-user=%s/0" % folder,
             "net,switch=a,fixed-mac,config,vhost-user=%s/1" % folder, "net,switch=a,vhost-user=%s/2" % folder]
    status, _, err = vio("serve", specs[0], specs[0].replace("/0", "/1"))
    equal(status, 1, "the same address twice: " + err)
    contains(err, "net1", "another device of switch a has the same mac=")
    serve = Serve(folder, "--control=%s/c" % folder, *specs)
    fronts = [NetFrontEnd("%s/%d" % (folder, n), config=n == 1) for n in range(3)]
    first, made = bytes.fromhex("02000000000a"), fronts[1].mac()
    for mac in (first, made, B):
        fronts[2].transmit(frame(EVERYBODY, mac, b"spoofed" if mac != B else b"honest"))
    for n in range(2):
        equal(fronts[n].receive_frame(), frame(EVERYBODY, B, b"honest"), "the only frame of the third")
    fronts[0].transmit(frame(EVERYBODY, B, b"spoofed"))
    fronts[1].transmit(frame(B, made, b"honest"))
    equal(fronts[2].receive_frame(), frame(B, made, b"honest"))
    equal([counters(folder, "net%d" % n)["backend"]["dropped_spoofed"] for n in range(3)], [1, 0, 2], "dropped_spoofed")
    for front in fronts:
        front.close()
    serve.stop()


def test_peer_that_reads_late(folder):
    """A guest fills a stream socket while its receive queue sleeps, and is woken when the peer reads."""
    peer = socket.socket(socket.AF_UNIX)
    peer.bind(folder + "/peer")
    peer.listen(1)
    length = 20000
    for poll in ("off", "auto"):
        serve = Serve(folder, "net,stream=%s/peer,poll=%s,vhost-user=%s/s" % (folder, poll, folder))
        front = NetFrontEnd(folder + "/s")
        stream, _ = peer.accept()
        front.transmit(frame(EVERYBODY, A, b"hello"))
        time.sleep(0.3)
        front.transmit_many(front.size, length)
        time.sleep(0.3)
        check(front.used(1) <= front.size, "the socket took all of it: the test needs more")
        stream.settimeout(10)
        want = 64 + front.size * (4 + length)
        while want > 0:
            got = len(stream.recv(min(want, 65536)))
            check(got > 0, "the stream ends")
            want -= got
        front.wait_used(1)
        stream.close()
        front.close()
        serve.stop()


def test_shared_workers(folder):
    serve = Serve(folder, "--threads=3", *["net,switch=a,vhost-user=%s/%d" % (folder, n) for n in range(3)])
    fronts = [NetFrontEnd("%s/%d" % (folder, n)) for n in range(3)]
    equal(serve.workers(), 1, "workers of one switch, of three that are shared")
    fronts[0].transmit(frame(EVERYBODY, A, b"hello"))
    for front in fronts[1:]:
        equal(front.receive_frame(), frame(EVERYBODY, A, b"hello"))
    for front in fronts:
        front.close()
    serve.stop()


class Talk:
    """A front-end that sends to everybody, from a thread of its own, until its vio or the test says no."""

    def __init__(self, front, of):
        self.front, self.of, self.stop, self.sent = front, of, False, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.stop:
                self.front.transmit(frame(EVERYBODY, self.of, b"talk"))
                self.sent += 1
        except (OSError, TimeoutError, ValueError):
            pass

    def end(self):
        self.stop = True
        self.thread.join(15)


def test_idle(folder):
    """Nobody wakes while nothing is sent."""
    no_sanitizer("wake-ups")
    kinds = ["null", "echo", "switch=a", "switch=a,poll=off"]
    if "libslirp" not in vio("serve", "net,user,vhost-user=/nowhere/s")[2]:
        kinds.append("user")
    serve = Serve(folder, *["net,%s,vhost-user=%s/%d" % (kind, folder, n) for n, kind in enumerate(kinds)])
    fronts = [NetFrontEnd("%s/%d" % (folder, n)) for n in range(len(kinds))]
    for front in fronts:
        front.transmit(frame(EVERYBODY, A, b"hello"))

    def switches():
        total = 0
        for thread in os.listdir("/proc/%d/task" % serve.pid):
            with open("/proc/%d/task/%s/status" % (serve.pid, thread)) as status:
                total += sum(int(l.split()[1]) for l in status if "ctxt_switches" in l)
        return total

    def asleep():
        before = switches()
        time.sleep(0.5)
        return switches() == before

    wait_for("all to fall asleep", asleep)
    ticks, before = serve.cpu_ticks(), switches()
    time.sleep(1.5)
    equal((serve.cpu_ticks() - ticks, switches() - before), (0, 0), "ticks and context switches")
    for front in fronts:
        front.close()
    serve.stop()


def test_stops_under_traffic(folder):
    """All ports of a switch end while each sends to the others."""
    for _ in range(3):
        serve = Serve(folder, *["net,switch=a,vhost-user=%s/%d" % (folder, n) for n in range(3)])
        fronts = [NetFrontEnd("%s/%d" % (folder, n)) for n in range(3)]
        talks = [Talk(front, bytes([2, 0, 0, 0, 0, n])) for n, front in enumerate(fronts)]
        wait_for("frames", lambda: all(t.sent > 20 for t in talks))
        serve.stop()
        for talk in talks:
            talk.stop = True
        equal([n for n in os.listdir(folder) if n.isdigit()], [], "sockets that are left")


def test_port_ends_under_traffic(folder):
    """A front-end on a connected socket goes for good; the others on its switch go on."""
    pairs = [socket.socketpair() for _ in range(3)]
    fds = [theirs.fileno() for _, theirs in pairs]
    serve = Serve(folder, *["net,switch=a,fd=%d" % fd for fd in fds], pass_fds=fds)
    for _, theirs in pairs:
        theirs.close()
    fronts = [NetFrontEnd(ours) for ours, _ in pairs]
    talks = [Talk(front, bytes([2, 0, 0, 0, 0, n])) for n, front in enumerate(fronts)]
    for n in range(3):
        wait_for("frames", lambda: all(t.sent > 20 for t in talks[n:]))
        talks[n].end()
        fronts[n].close()
        before = [t.sent for t in talks[n + 1:]]
        wait_for("more frames", lambda: all(t.sent > b + 20 for t, b in zip(talks[n + 1:], before)))
    equal(serve.wait(), 0, "exit status when all front-ends are gone; " + serve.log())


def test_capture(folder):
    path, first, second = "%s/s" % folder, "%s/first.pcapng" % folder, "%s/second.pcapng" % folder
    serve = Serve(folder, "--control=%s/c" % folder, "net,echo,capture=%s,vhost-user=%s" % (first, path))
    front = NetFrontEnd(path)

    def say(text):
        front.transmit(frame(A, B, text))
        equal(front.receive_frame(), frame(B, A, text))

    say(b"in the first")
    ctl(folder, "capture", "net0", "off")
    say(b"in none")
    # relative to where vio ctl is, not vio serve
    status, _, err = vio("ctl", folder + "/c", "capture", "net0", "second.pcapng", cwd=folder)
    equal((status, err), (0, ""))
    say(b"in the second")
    ctl(folder, "capture", "net0", "off")
    for name, text, not_text in ((first, b"in the first", b"in the second"), (second, b"in the second", b"in the first")):
        with open(name, "rb") as file:
            got = file.read()
        equal(got[:4], b"\x0a\x0d\x0d\x0a", "pcapng's magic in " + name)
        equal((got.count(text), got.count(not_text), got.count(b"in none")), (2, 0, 0), name)
    status, _, err = vio("ctl", folder + "/c", "capture", "net0", "/nowhere/x")
    equal(status, 1)
    contains(err, "net0", "/nowhere/x")
    front.close()
    serve.stop()


def test_capture_at_a_limit(folder):
    """The files of the process have a limit (RLIMIT_FSIZE): what a guest sends ends the capture, and not vio (SIGXFSZ)."""
    limit = 16384
    serve = Serve(folder, "--control=%s/c" % folder, "net,echo,capture=%s/c.pcapng,vhost-user=%s/s" % (folder, folder),
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    front = NetFrontEnd(folder + "/s")
    for _ in range(limit // 60):
        front.transmit(frame(A, B, b"again"))
        equal(front.receive_frame(), frame(B, A, b"again"))
    contains(serve.log(), "the capture into", "File too large")
    check(os.path.getsize(folder + "/c.pcapng") <= limit, "the capture is larger than a file may be")
    resource.prlimit(serve.pid, resource.RLIMIT_FSIZE, (64, limit))
    status, _, err = vio("ctl", folder + "/c", "capture", "net0", folder + "/d.pcapng")
    equal(status, 1)
    contains(err, "cannot be written", "File too large")
    front.transmit(frame(A, B, b"again"))
    equal(front.receive_frame(), frame(B, A, b"again"))
    front.close()
    serve.stop()


def test_link(folder):
    path = "%s/s" % folder
    serve = Serve(folder, "--control=%s/c" % folder, "net,echo,config,vhost-user=" + path)
    front = NetFrontEnd(path, config=True)
    equal(front.link(), 1)
    ctl(folder, "link", "net0", "down")
    equal(front.link(), 0)
    equal(json.loads(ctl(folder, "devices", "--json"))["devices"][0]["link"], False)
    contains(ctl(folder, "devices"), "link down")
    front.transmit(frame(A, B, b"lost"))
    equal(front.receive_frame(0.3), None)
    equal(counters(folder, "net0")["net"]["tx_link_down"], 1)
    ctl(folder, "link", "net0", "up")
    equal(front.link(), 1)
    front.transmit(frame(A, B, b"heard"))
    equal(front.receive_frame(), frame(B, A, b"heard"))
    front.close()
    serve.stop()


def test_rarp_and_mtu(folder):
    serve = Serve(folder, *["net,switch=a,mtu=1500,config,vhost-user=%s/%d" % (folder, n) for n in range(2)])
    one, two = [NetFrontEnd("%s/%d" % (folder, n), config=True) for n in range(2)]
    equal(one.protocol & (PF_RARP | PF_NET_MTU), PF_RARP | PF_NET_MTU)
    one.send(SEND_RARP, A + bytes(2))
    got = two.receive_frame()
    check(got is not None, "no announcement came")
    equal((got[0:6], got[6:12], got[12:14]), (EVERYBODY, A, b"\x80\x35"), "the announcement")
    one.send(NET_SET_MTU, struct.pack("<Q", 1280))
    equal(struct.unpack("<H", one.config(10, 2))[0], 1280)
    one.close()
    two.close()
    serve.stop()


def test_xml(folder):
    path = "/run/a,b <&'\".sock"
    spec = "net,user,pairs=4,mac=52:54:00:12:34:56,packed,queue-size=256,mtu=9000,name=my card,vhost-user=" + \
        path.replace(",", ",,")
    status, out, err = vio("xml", spec, "--json")
    equal((status, err), (0, ""))
    shown = json.loads(out)
    card = xml.etree.ElementTree.fromstring(shown["libvirt"]["device"])
    equal((card.tag, card.get("type")), ("interface", "vhostuser"))
    source = card.find("source")
    equal((source.get("type"), source.get("path"), source.get("mode")), ("unix", path, "client"))
    equal(source.find("reconnect").get("enabled"), "yes")
    equal(card.find("mac").get("address"), "52:54:00:12:34:56")
    equal(card.find("model").get("type"), "virtio")
    driver = card.find("driver")
    equal((driver.get("queues"), driver.get("rx_queue_size"), driver.get("packed")), ("4", "256", "on"))
    equal(card.find("mtu").get("size"), "9000")
    options = dict(zip(shown["qemu"][0::2], shown["qemu"][1::2]))
    equal(options["-chardev"], "socket,id=vio-my-card,path=%s,reconnect=1" % path.replace(",", ",,"))
    equal(options["-netdev"], "vhost-user,id=vio-my-card,chardev=vio-my-card,queues=4")
    equal(options["-device"], "virtio-net-pci,netdev=vio-my-card,mq=on,vectors=10,mac=52:54:00:12:34:56,host_mtu=9000,"
          "rx_queue_size=256,tx_queue_size=256,packed=on")

    shown = json.loads(vio("xml", "net,connect,vhost-user=/x", "--json")[1])
    card = xml.etree.ElementTree.fromstring(shown["libvirt"]["device"])
    equal(card.find("source").get("mode"), "server")
    equal(card.find("driver"), None)
    options = dict(zip(shown["qemu"][0::2], shown["qemu"][1::2]))
    contains(options["-chardev"], "server=on")
    equal(options["-device"], "virtio-net-pci,netdev=vio-net")
    refused(2, "threads=2", args=["xml", "net,threads=2,vhost-user=/x"])


def test_backend(folder):
    equal(json.loads(vio("backend", "net", "--print-capabilities")[1]), {"type": "net", "features": []})
    refused(2, "no socket", args=["backend", "net"])


main()
