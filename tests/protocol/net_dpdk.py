#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""DPDK's driver (virtio-user) at network cards of `vio serve`, in every way in which it drives a queue: split and packed,
in order or not, with mergeable buffers or not, vectorized where it has that for the rest, rings of 256 and 1024. Nothing is
lost and the order is kept. How fast it goes is not asked: frames are paced, or so few are under way that both queues have
room for them, and waiting ends only when for long nothing came."""
import itertools
import json
import os
import socket
import subprocess

from cli_help import Serve, Skip, check, contains, equal, main, vio, wait_for

PROGRAM = os.environ.get("VIO_BENCH_NET", "")
FLAGS = ("--packed", "--in-order", "--mrg-rxbuf", "--vectorized")
FEATURES = dict(zip(FLAGS, ("RING_PACKED", "IN_ORDER", "MRG_RXBUF")))
SIZE = 128
LONG = 90  # seconds; a client gives up by itself before that, and says why


def ways(odd):
    """Each set of flags with one ring size; what the other value of `odd` has the other one for."""
    for flags in itertools.product((False, True), repeat=len(FLAGS)):
        yield [f for f, on in zip(FLAGS, flags) if on], 1024 if sum(flags) % 2 == odd else 256


class Devices:
    def __init__(self, folder, *specs):
        if not PROGRAM:
            raise Skip("DPDK is not installed (libdpdk-dev)")
        self.control = folder + "/control"
        self.sockets = ["%s/%d" % (folder, n) for n in range(len(specs))]
        self.serve = Serve(folder, "--control=" + self.control, *["net,%s,in-order=on,vhost-user=%s" % (spec, path)
                                                                  for spec, path in zip(specs, self.sockets)])

    def ctl(self, word):
        """By the socket itself: this is asked often, and programs start and end slowly with a sanitizer."""
        with socket.socket(socket.AF_UNIX) as client, client.makefile("rw") as stream:
            client.settimeout(LONG)
            client.connect(self.control)
            stream.write(json.dumps({"do": word}) + "\n")
            stream.flush()
            return json.loads(stream.readline())["devices"]

    def count(self, name, device=0):
        return self.ctl("counters")[device]["net"][name]


class Client:
    """The driver, until close(); `said` is what it printed when it had done its part."""

    def __init__(self, devices, mode, flags, ring, *more):
        cpu = max(os.sched_getaffinity(0))
        self.flags, self.what = flags, "%s %s, ring of %d" % (mode, " ".join(flags) or "(plain)", ring)
        # DPDK does not free what it has when it ends: what leaks there is not ours to find; nor do we wait for races then
        self.process = subprocess.Popen(
            [PROGRAM, *("--socket=" + s for s in devices.sockets), "--mode=" + mode, "--queue-size=%d" % ring, "--no-huge",
             "--hold", "--check", "--cpu=%d" % cpu, "--size=%d" % SIZE, "--seconds=0.06", "--warmup=0.01", *more, *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0", TSAN_OPTIONS="atexit_sleep_ms=0"))
        line = self.process.stdout.readline()
        if not line:
            _, err = self.process.communicate(timeout=LONG)
            raise AssertionError("%s: the driver ended: %s; log: %s" % (self.what, err, devices.serve.log()))
        self.said = json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            _, err = self.process.communicate(timeout=LONG)  # ends its input
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        equal((self.process.returncode, err), (0, ""), self.what)

    def equal(self, **wanted):
        equal({key: self.said[key] for key in wanted}, wanted, self.what)

    def accepted(self, devices):
        """The ring is the one that this turn is about."""
        for device in devices.ctl("devices"):
            for flag, feature in FEATURES.items():
                if feature in device["features"] and flag not in self.flags:
                    raise AssertionError("%s: %s was accepted" % (self.what, feature))
                if flag in self.flags:
                    contains(device["features"], feature)


def test_transmit(folder):
    """What arrives at the network is what was sent, to the frame."""
    devices = Devices(folder, "null,copy=on")
    for flags, ring in ways(0):
        before = devices.count("tx_packets"), devices.count("tx_bytes")
        with Client(devices, "tx", flags, ring, "--rate=500000") as client:
            sent = client.said["all_sent"]
            check(sent > ring, "%s: only %d frames were sent" % (client.what, sent))
            wait_for("frames of " + client.what, lambda: devices.count("tx_packets") - before[0] >= sent)
            equal((devices.count("tx_packets") - before[0], devices.count("tx_bytes") - before[1]), (sent, sent * SIZE),
                  client.what)
            client.accepted(devices)
    status, out, _ = vio("top", devices.control, "--json", "--count=1", "--interval=0.1")
    equal((status, json.loads(out)["devices"][0]["name"]), (0, "net0"))
    devices.serve.stop()


def test_receive(folder):
    devices = Devices(folder, "generate=%d" % SIZE)
    for flags, ring in ways(1):
        with Client(devices, "rx", flags, ring, "--rate=500000") as client:
            client.equal(lost=0, disordered=0, foreign=0, mean_bytes=SIZE)
            check(client.said["received"] > 0, client.what + ": nothing came")
            client.accepted(devices)
    equal(devices.count("rx_bad"), 0)
    devices.serve.stop()


def none_lost(devices, odd):
    for flags, ring in ways(odd):
        with Client(devices, "pass", flags, ring, "--rate=500000", "--window=%d" % (ring // 4)) as client:
            client.equal(lost=0, disordered=0, foreign=0, missing=0, mean_bytes=SIZE)
            check(client.said["received"] > 0, client.what + ": nothing came")
            client.accepted(devices)
    devices.serve.stop()


def test_echo(folder):
    none_lost(Devices(folder, "echo"), 0)


def test_switch(folder):
    none_lost(Devices(folder, "switch=lan", "switch=lan"), 1)


main()
