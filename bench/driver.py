# SPDX-License-Identifier: MIT
"""The driver suite of bench/run.py: vio's drivers against libblkio and DPDK's virtio-user, each on the same device.

Block: a disk of vio's, polled, loaded by vio-bench-blk and by vio-bench-blkio. Network: DPDK's net_vhost, loaded by
vio-bench-net-driver and by vio-bench-net. Driver on one core, device on the other, run in turn.
"""
import os
import statistics
import subprocess

from harness import cpu_seconds, header, ratio, repeat, settled, table, verdict
from net import PLAIN, Net, huge_pages, net_case, there, wanted

DEPTHS = (1, 32, 128)
GOAL_BLK, GOAL_NET = 1.2, 1.1
MODES = (("to the device", "tx", ["--mode=drop"], []), ("to the driver", "rx", ["--mode=send", "--size=64"], []),
         ("there and back, 128 under way", "pass", ["--mode=echo"], ["--window=128"]))


# ---------------------------------------------------------------- libblkio

def system_with_blkio(bench):
    """How vio-bench-blkio is started: as the build made it, or made here from a system in a folder (--blkio-root)."""
    built = os.path.join(bench.programs, "vio-bench-blkio")
    root = bench.options.blkio_root
    if root is None:
        return [built] if os.path.exists(built) else None
    folder = subprocess.run(["gcc", "-print-multiarch"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    libraries = os.path.join(root, "usr/lib", folder)
    loader = next((os.path.join(root, p) for p in ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/ld-linux-aarch64.so.1")
                   if os.path.exists(os.path.join(root, p))), None)
    if loader is None or not os.path.exists(os.path.join(libraries, "libblkio.so.1")):
        return None
    sources = os.path.dirname(os.path.abspath(__file__))
    made = os.path.join(bench.work, "vio-bench-blkio")
    # the header and the library are that system's, and all else of ours: the loader of that system brings the rest
    subprocess.run(["gcc", "-O2", "-std=c17", "-D_GNU_SOURCE", "-idirafter", os.path.join(root, "usr/include"),
                    os.path.join(sources, "blkio_client.c"), os.path.join(sources, "common.c"), "-o", made, "-pthread",
                    os.path.join(libraries, "libblkio.so.1"), "-Wl,--allow-shlib-undefined"], check=True)
    return [loader, "--library-path", libraries, made]


class Client:
    """One who loads the disk. The peer's names begin alike: its better figure counts."""
    def __init__(self, name, command, *arguments):
        self.name, self.command, self.arguments = name, command, list(arguments)


def sample_blk(bench, spec, client, arguments):
    o = bench.options
    socket = os.path.join(bench.work, "disk.sock")

    def take():
        serve = [bench.vio, "serve", "blk,%s,poll=on,vhost-user=%s" % (spec, socket)]
        with bench.server(serve, socket) as process:
            start = cpu_seconds(process.pid)
            sample = bench.run([*client.command, "--socket=" + socket, "--cpu=%d" % o.cpu, "--peer-cpu=%d" % o.peer_cpu,
                                "--seconds=%g" % o.seconds, "--warmup=%g" % (o.seconds / 4), "--latency",
                                *arguments, *client.arguments])
            sample["device_cpu_seconds"] = round(cpu_seconds(process.pid) - start, 3)
        return sample
    return settled(bench, take)


def p99(bench, name):
    """Of the case that was just run, in ns: the median of its samples."""
    found = [r for r in bench.results if r["name"] == name][-1]
    values = [s["p99_ns"] for s in found["samples"]]
    found["p99_ns"] = statistics.median(values) if values else None
    return found["p99_ns"]


def blk_case(bench, kind, spec, op, depth, clients):
    case = "%s, %s, depth %d" % (kind, op, depth)
    if not wanted(bench, case):
        return
    arguments = ["--op=" + op, "--depth=%d" % depth, *(["--fill"] if spec.startswith("ram") else [])]
    clients = [c for c in clients if depth > 16 or not c.name.endswith("batch of all")]
    takers = {c.name: lambda c=c: sample_blk(bench, spec, c, arguments + (
        ["--batch=%d" % depth] if c.name.endswith("batch of all") else [])) for c in clients}
    medians = repeat("driver", case, takers, bench)
    table(bench, "driver", case, medians, "libblkio")
    latency = {c.name: p99(bench, c.name) for c in clients}
    print("      99 %% within: %s" % ", ".join("%s %s us" % (name, "-" if ns is None else "%.2f" % (ns / 1e3))
                                             for name, ns in latency.items()))
    known = [name for name in medians if name.startswith("libblkio") and medians[name] is not None]
    best = max(known, key=lambda name: medians[name], default=None)
    for form in ("split", "packed"):
        verdict(bench, "driver", case, "vio " + form, ratio(medians["vio " + form], medians.get(best)), GOAL_BLK, "libblkio")
        if best is not None:
            verdict(bench, "driver", case, "vio %s, p99" % form, ratio(latency["vio " + form], latency[best]), 1,
                    "libblkio's", higher=False)


def suite_driver_blk(bench):
    blkio = system_with_blkio(bench)
    if blkio is None:
        print("  LEFT OUT: NO LIBBLKIO. Debian 12 has none; bench/README.md says how to have it in a folder (--blkio-root).")
        return
    vio = [os.path.join(bench.programs, "vio-bench-blk")]
    clients = [Client("vio split", vio), Client("vio packed", vio, "--packed"), Client("libblkio", blkio),
               Client("libblkio, batch of all", blkio)]
    with huge_pages(bench):
        for kind, spec in (("null", "null=256M"), ("ram", "ram=256M")):
            for op in ("read", "write"):
                for depth in DEPTHS:
                    blk_case(bench, kind, spec, op, depth, clients)


# ---------------------------------------------------------------- DPDK

def suite_driver_net(bench):
    if not there(bench):
        return
    with huge_pages(bench):
        for ring in bench.options.net_ring:
            for what, mode, peer, more in MODES:
                for form, flags in PLAIN:
                    case = "%s, 64 B, ring %d, %s" % (what, ring, form)
                    if not wanted(bench, case):
                        continue
                    vio = Net("vio's driver", mode, peer=peer, program="vio-bench-net-driver")
                    dpdk = Net("DPDK's driver", mode, peer=peer)
                    net_case(bench, "driver", case, vio, dpdk, GOAL_NET, ring, ["--size=64", *more, *flags])


def suite_driver(bench):
    header("driver: vio's block driver against libblkio's, on the same disk of vio's, which polls; 4 KiB, batches of 16")
    suite_driver_blk(bench)
    header("driver: vio's network driver against DPDK's virtio-user, on the same net_vhost")
    suite_driver_net(bench)
