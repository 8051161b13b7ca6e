#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`vio bench` of network devices: each mode on vio's own and on DPDK's, devices that lose, change, turn round, double and die,
and wrong options. How fast anything is, is not asked."""
import json
import os
import subprocess
import time

from cli_help import Serve, Skip, check, contains, equal, listening, main, sanitizer, vio, wait_for

QUICK = ("--time=0.1", "--warmup=0.02")


class Peer:
    """tests/support/net_peer.c: an echo that does wrong."""

    def __init__(self, folder, *wrong):
        self.path = os.path.join(folder, "peer-" + "-".join(wrong))
        self.process = subprocess.Popen((os.environ["NET_PEER"], self.path) + wrong)
        wait_for("its socket", lambda: listening(self.path) or self.process.poll() is not None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def bench(path, *args, status=0, quick=QUICK):
    got, out, err = vio("bench", path, "--json", *quick, *args)
    equal((got, err), (status, ""), "vio bench %s" % " ".join(args))
    return json.loads(out)["runs"]


def one(path, *args, status=0):
    """On a busy machine nothing at all may come of a tenth of a second."""
    for seconds in ("0.1", "1", "4"):
        got, out, err = vio("bench", path, "--json", "--warmup=0.02", "--time=" + seconds, *args)
        if got == 1 and "no packet" in err:
            continue
        equal((got, err), (status, ""), "vio bench %s" % " ".join(args))
        runs = json.loads(out)["runs"]
        equal(len(runs), 1)
        if runs[0]["packets"] > 20:
            break
    check(runs[0]["packets"] > 0 and runs[0]["rate"] > 0, "packets with %s" % (args,))
    return runs[0]


def clean(r, lost=0):
    equal((r["lost"], r["reordered"], r["duplicated"], r["corrupted"], r["foreign"], r["not_frames"]), (lost, 0, 0, 0, 0, 0))


def test_a_loop(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "net,echo,pairs=2,in-order=on,vhost-user=" + path)
    for more in ([], ["--wait"], ["--packed"], ["--packed", "--in-order", "--wait", "--event-idx"], ["--depth=1"],
                 ["--verify", "--size=1518"], ["--verify", "--size=9000", "--mrg-rxbuf"], ["--queues=2"], ["--burst=1"],
                 ["--queue-size=8", "--depth=4"], ["--rate=500"], ["--rate=500", "--verify", "--wait", "--size=60"]):
        r = one(path, *more)
        clean(r)
        equal((r["ring"], r["mode"], r["sent"] >= r["packets"]), ("packed" if "--packed" in more else "split", "loop", True))
        latency = r["latency_ns"]
        equal((latency["count"], sum(n for _, n in latency["histogram"])), (r["packets"], r["packets"]), str(more))
        check(0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"], latency)
    status, out, err = vio("bench", path, "--histogram", *QUICK)
    equal(status, 0, err)
    contains(out, "64-byte frames, mode loop", "packets/s", "Mbit/s", "there and back", "p99.9", "#", "lost: 0")
    serve.stop()


def test_several_sizes(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "net,echo,vhost-user=" + path)
    runs = bench(path, "--size=64,256,1518", "--rate=1000", "--verify")
    equal([r["size"] for r in runs], [64, 256, 1518])
    for r in runs:
        clean(r)
    serve.stop()


def test_out_and_in(folder):
    null, source = os.path.join(folder, "n"), os.path.join(folder, "g")
    serve = Serve(folder, "net,null,vhost-user=" + null, "net,generate=128,vhost-user=" + source)
    for more in ([], ["--verify", "--packed"], ["--wait"], ["--rate=1000"]):
        r = one(null, "--mode=out", *more)
        equal((r["mode"], r["lost"], r["corrupted"]), ("out", None, 0))
    r = one(source, "--mode=in")
    equal((r["mode"], r["lost"]), ("in", None))
    for more in ([], ["--wait"], ["--packed", "--mrg-rxbuf"]):
        r = one(source, "--mode=in", "--verify", *more)
        equal((r["lost"], r["reordered"], r["corrupted"], r["foreign"]), (0, 0, 0, 0))
        equal(r["bytes_per_second"] / r["rate"], 128)
    serve.stop()


def test_from_one_to_another(folder):
    """Through a switch: what one run sends, another one checks."""
    a, b = os.path.join(folder, "a"), os.path.join(folder, "b")
    serve = Serve(folder, "net,switch=lan,vhost-user=" + a, "net,switch=lan,vhost-user=" + b)
    sender = subprocess.Popen([os.environ["VIO"], "bench", a, "--mode=out", "--verify", "--rate=2000", "--time=3", "--json",
                               "--size=200"], stdout=subprocess.PIPE)
    try:
        r = one(b, "--mode=in", "--verify")
        equal((r["corrupted"], r["duplicated"]), (0, 0))
        equal(round(r["bytes_per_second"] / r["rate"], 6), 200)
    finally:
        sender.kill()
        sender.wait()
    serve.stop()


def test_what_is_lost_is_counted(folder):
    with Peer(folder, "drop=100") as peer:
        for more in (["--rate=5000", "--time=0.5"], ["--time=0.5"], ["--depth=1", "--time=0.5"]):
            r = bench(peer.path, *more)[0]
            check(r["sent"] >= 100, r)
            # every hundredth, whatever the first one was
            check(abs(r["lost"] - r["sent"] / 100) <= 1, "%d lost of %d" % (r["lost"], r["sent"]))
            equal((r["reordered"], r["duplicated"], r["corrupted"]), (0, 0, 0))


def test_what_is_changed_is_found(folder):
    with Peer(folder, "corrupt=50") as peer:
        r = bench(peer.path, "--rate=5000", "--time=0.5", status=1)[0]
        check(abs(r["corrupted"] - r["sent"] / 50) <= 1 and r["corrupted"] > 0, r)
        equal(r["corrupted"], r["lost"], "what is not what was sent has not come")
        status, out, _ = vio("bench", peer.path, "--rate=5000", "--time=0.5")
        equal(status, 1)
        contains(out, "changed on the way")


def test_what_is_late_or_twice_is_found(folder):
    with Peer(folder, "swap=40") as peer:
        r = bench(peer.path, "--rate=5000", "--time=0.5")[0]
        check(abs(r["reordered"] - r["sent"] / 40) <= 1 and r["reordered"] > 0, r)
        equal((r["duplicated"], r["corrupted"]), (0, 0))
        check(r["lost"] <= 1, "the last one may wait for a next one for ever: %s" % r["lost"])
    with Peer(folder, "twice=40") as peer:
        r = bench(peer.path, "--rate=5000", "--time=0.5")[0]
        check(abs(r["duplicated"] - r["sent"] / 40) <= 1 and r["duplicated"] > 0, r)
        equal((r["lost"], r["reordered"], r["corrupted"]), (0, 0, 0))


def test_the_search(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "net,echo,vhost-user=" + path)
    r = bench(path, "--loss=0.001%")[0]
    equal((r["search"]["found"], r["search"]["loss"], len(r["search"]["trials"])), (True, 1e-5, 1), "it loses nothing: ")
    serve.stop()
    with Peer(folder, "limit=2000") as peer:
        r = bench(peer.path, "--loss=0", "--time=0.5")[0]
        trials = r["search"]["trials"]
        equal((r["search"]["found"], r["lost"], trials[0]["wanted"]), (True, 0, 0))
        # 100 at once beside 2000 a second
        check(0 < r["rate"] < 2600, "found: %s" % [(t["wanted"], t["lost"]) for t in trials])
        equal([t["rate"] for t in trials if t["good"]][-1], r["rate"])
        equal(max(t["wanted"] for t in trials if t["good"]), r["wanted_rate"])
    with Peer(folder, "drop=50") as peer:
        r = bench(peer.path, "--loss=1%", status=1)[0]
        equal((r["search"]["found"], r["rate"]), (False, 0))
        check(all(t["lost"] > 0 for t in r["search"]["trials"]), r)
        r = bench(peer.path, "--loss=3%", "--time=0.5")[0]
        check(r["search"]["found"] and r["rate"] > 0, r)
        equal(vio("bench", peer.path, "--loss=0", *QUICK)[0], 1)


def test_compare(folder):
    a, b = os.path.join(folder, "a"), os.path.join(folder, "b")
    serve = Serve(folder, "net,echo,vhost-user=" + a, "net,echo,vhost-user=" + b)
    status, out, err = vio("bench", "--compare", a, b, "--json", "--repeats=2", "--size=64,512", "--time=0.5")
    equal((status, err), (0, ""))
    answer = json.loads(out)
    equal([(r["target"], r["size"]) for r in answer["runs"]],
          [(a, 64), (a, 64), (b, 64), (b, 64), (a, 512), (a, 512), (b, 512), (b, 512)])
    equal([(r["size"], r["pairs"]) for r in answer["ratios"]], [(64, 2), (512, 2)])
    check(all(0 < r["lowest"] <= r["median"] <= r["highest"] for r in answer["ratios"]), answer["ratios"])
    serve.stop()


def test_a_device_that_dies_or_is_silent(folder):
    with Peer(folder, "die=300") as peer:
        status, out, err = vio("bench", peer.path, "--rate=1000", "--time=20", "--timeout=300")
        equal((status, out, len(err.strip().splitlines())), (1, "", 1), err)
        contains(err, "sent no frame back for 300 ms")
        equal(peer.process.wait(), 3)
    path = os.path.join(folder, "n")
    serve = Serve(folder, "net,null,vhost-user=" + path)
    for mode, words in (("loop", "sent no frame back"), ("in", "gave no frame")):
        status, out, err = vio("bench", path, "--mode=" + mode, "--timeout=200", "--time=1")
        equal((status, out), (1, ""), err)
        contains(err, words + " for 200 ms")
    serve.stop()


def test_dpdk(folder):
    program = os.environ.get("VIO_BENCH_NET_VHOST", "")
    if not program:
        raise Skip("DPDK is not installed (libdpdk-dev)")
    if sanitizer() != "none":
        raise Skip("DPDK's device is only waited for without a sanitizer")
    for mode, args in (("echo", ["--mode=loop", "--verify"]), ("drop", ["--mode=out"]), ("send", ["--mode=in", "--verify"])):
        path = os.path.join(folder, mode)
        device = subprocess.Popen([program, "--socket=" + path, "--mode=" + mode, "--no-huge",
                                   "--cpu=%d" % max(os.sched_getaffinity(0))], stdout=subprocess.DEVNULL)
        try:
            wait_for("its socket", lambda: listening(path) or device.poll() is not None)
            time.sleep(0.2)  # it listens a moment later
            for more in ([], ["--packed"], ["--mrg-rxbuf", "--wait"]):
                r = one(path, *args, *more)
                equal((r["mode"], r["corrupted"], r["not_frames"]), (args[0][7:], 0, 0))
                if mode == "echo":
                    equal((r["reordered"], r["duplicated"], r["foreign"]), (0, 0, 0))
        finally:
            device.kill()
            device.wait()


def test_wrong_use(folder):
    path, disk = os.path.join(folder, "s"), os.path.join(folder, "d")
    serve = Serve(folder, "net,echo,pairs=2,vhost-user=" + path, "blk,null=1M,vhost-user=" + disk)
    for status, args, words in (
            (2, [path, "--mode=both"], ["--mode=both", "out, in, loop"]),
            (2, [path, "--size=59"], ["--size=59", "60 to"]),
            (2, [path, "--size=64,,128"], ["--size=64,,128"]),
            (2, [path, "--size=64,70000"], ["--size=70000"]),
            (2, [path, "--rate=0"], ["--rate=0", "from 1"]),
            (2, [path, "--rate=fast"], ["--rate=fast"]),
            (2, [path, "--loss=100%"], ["--loss=100%"]),
            (2, [path, "--loss=1x"], ["--loss=1x"]),
            (2, [path, "--burst=0"], ["--burst=0"]),
            (2, [path, "--burst=257"], ["--burst=257"]),
            (2, [path, "--loss=1%", "--mode=out"], ["--loss", "--mode=loop"]),
            (2, [path, "--loss=1%", "--rate=5"], ["--loss"]),
            (2, [path, "--mode=in", "--rate=5"], ["--rate"]),
            (2, [path, "--mode=in", "--depth=5"], ["--depth"]),
            (2, [path, "--reads=50"], ["--reads is not for a network device"]),
            (2, [path, "--block=4K"], ["--block is not for a network device"]),
            (2, [disk, "--mode=out"], ["--mode is not for a block device"]),
            (2, [disk, "--mrg-rxbuf"], ["--mrg-rxbuf is not for"]),
            (2, [disk, "--size=1M,2M"], ["one size"]),
            (2, [path, "--type=disk"], ["--type=disk", "blk"]),
            (1, [path, "--queues=4"], ["4 pairs of queues", "has 2"]),
            (1, [disk, "--type=net"], [disk, "no packet came back"]),
            (1, [os.path.join(folder, "no"), "--type=net"], ["No such file"])):
        got, out, err = vio("bench", *args, *QUICK)
        equal((got, out), (status, ""), "%s: %s" % (args, err))
        equal(len(err.strip().splitlines()), 1, err)
        contains(err, *words)
    serve.stop()


main()
