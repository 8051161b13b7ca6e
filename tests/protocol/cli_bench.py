#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`vio bench`: it measures, checks what it wrote, compares, and says in a sentence what is wrong."""
import json
import os

from cli_help import Serve, check, contains, equal, main, vio

QUICK = ("--time=0.1", "--warmup=0")


def bench(*args, quick=QUICK):
    status, out, err = vio("bench", *args, "--json", *quick)
    equal((status, err), (0, ""), "vio bench " + " ".join(args))
    return json.loads(out)


def one(*args):
    """On a busy machine nothing at all may come of a tenth of a second."""
    for time in ("0.1", "1", "4"):
        runs = bench(*args, quick=("--time=" + time, "--warmup=0"))["runs"]
        equal(len(runs), 1)
        if runs[0]["read_latency_ns"]["count"] + runs[0]["write_latency_ns"]["count"] > 20:
            break
    return runs[0]


def test_a_disk(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "blk,ram=16M,queues=2,vhost-user=" + path)
    for more in ([], ["--wait"], ["--packed"], ["--packed", "--wait", "--event-idx", "--indirect"], ["--sequential"],
                 ["--block=64K", "--depth=4"], ["--queues=2"], ["--reads=0"], ["--depth=1", "--queue-size=4"],
                 ["--small-pages", "--size=1M"]):
        r = one(path, *more)
        check(r["requests"] > 0 and r["rate"] > 0, "requests with %s" % more)
        equal((r["errors"], r["ring"]), (0, "packed" if "--packed" in more else "split"), str(more))
        latency = r["write_latency_ns" if "--reads=0" in more else "read_latency_ns"]
        equal(latency["count"], r["requests"])
        equal(sum(n for _, n in latency["histogram"]), latency["count"])
        check(latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"], latency)
    status, out, err = vio("bench", "vhost-user:" + path, "--histogram", *QUICK)
    equal(status, 0, err)
    contains(out, "requests/s", "CPU a request", "p99.9", "reads, from:", "#")
    serve.stop()


def test_what_was_written_is_checked(folder):
    path, lossy = os.path.join(folder, "s"), os.path.join(folder, "n")
    serve = Serve(folder, "blk,ram=16M,vhost-user=" + path, "blk,null=16M,vhost-user=" + lossy)
    for more in (["--wait"], ["--packed", "--depth=64"], ["--sequential", "--block=512"]):
        r = one(path, "--reads=50", "--verify", *more)
        check(r["verified"] and r["wrong_blocks"] == 0 and r["write_latency_ns"]["count"] > 0, "verified: %s" % r)
    # a disk that forgets what it is given
    status, out, err = vio("bench", lossy, "--reads=50", "--verify", "--json", "--size=1M", "--time=1")
    equal(status, 1, err)
    check(json.loads(out)["runs"][0]["wrong_blocks"] > 0, out)
    serve.stop()


def test_two_in_turn(folder):
    a, b = os.path.join(folder, "a"), os.path.join(folder, "b")
    serve = Serve(folder, "blk,null=16M,vhost-user=" + a, "blk,ram=16M,vhost-user=" + b)
    answer = bench("--compare", a, b, "--repeats=3", quick=("--time=0.5", "--warmup=0.1"))
    equal([r["target"] for r in answer["runs"]], [a] * 3 + [b] * 3)
    ratio = answer["ratio"]
    check(0 < ratio["lowest"] <= ratio["median"] <= ratio["highest"] and ratio["pairs"] == 3, ratio)
    status, out, err = vio("bench", "--compare", a, b, "--repeats=2", *QUICK)
    equal(status, 0, err)
    contains(out, "the second is", "in 2 pairs")
    serve.stop()


def test_wrong_use(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "blk,ram=1M,queues=1,ro=on,vhost-user=" + path)
    for status, args, words in (
            (2, [], ["no TARGET"]),
            (2, [path, path], ["two TARGETs are for --compare"]),
            (2, ["--compare", path], ["--compare wants two TARGETs"]),
            (2, ["vhost:/dev/vhost-net,tap=t0", "vhost:/dev/vhost-vsock,cid=3"], ["two TARGETs are for --compare"]),
            (2, [path, "--block=1000"], ["whole 512-byte sectors"]),
            (2, [path, "--depth=0"], ["--depth=0", "from 1"]),
            (2, [path, "--reads=101"], ["--reads=101"]),
            (2, [path, "--time=-1"], ["--time=-1"]),
            (2, [path, "--queue-size=100"], ["--queue-size=100", "power of two"]),
            (2, [path, "--verify"], ["--reads below 100"]),
            (2, [path, "--dept=1"], ["did you mean --depth"]),
            (1, [path, "--queues=4"], ["4 queues", "has 1"]),
            (1, [path, "--block=1M"], ["too few"]),
            (1, [path, "--reads=50"], ["read-only"]),
            (1, [os.path.join(folder, "no")], ["No such file"])):
        got, out, err = vio("bench", *args)
        equal((got, out), (status, ""), "%s: %s" % (args, err))
        equal(len(err.strip().splitlines()), 1, err)
        contains(err, *words)
    serve.stop()


main()
