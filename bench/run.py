#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The performance figures of vio, each beside the same work done by another program.

What is compared is run in turn (A B A B ...), in one go, on two cores: the driver on one, the device on
the other. Two cores of a virtual machine may sit near or far from each other, from minute to minute, and that
alone moves a figure by 2 to 4: so one cache line is sent to and fro before and after each sample, and only
samples that saw near cores both times count. Prints tables; writes everything to build/bench/results.json.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

from driver import suite_driver
from harness import (MIB, Bench, context_switches, cpu_seconds, header, huge_bytes, ratio, repeat, settled, table,
                     verdict)
from net import suite_adaptive, suite_latency, suite_net, suite_pages
from tap import suite_tap

DEPTHS = (1, 32, 128)
SUITES = ("limit", "null", "tmpfs", "cached", "uncached", "direct", "ram", "ring", "idle", "net", "pages", "latency",
          "adaptive", "tap", "driver")
NO_QSD = ("net", "pages", "latency", "adaptive", "tap", "driver")


# ---------------------------------------------------------------- the devices that are compared

class Vio:
    def __init__(self, name, spec, client=()):
        self.name, self.spec, self.client_arguments = name, spec, tuple(client)

    def command(self, bench, socket):
        return [bench.vio, "serve", "blk,%s,vhost-user=%s" % (self.spec, socket)]


class Qsd:
    """qemu-storage-daemon: an export in an iothread of its own, with the adaptive polling it has by default."""
    def __init__(self, name, blockdev, client=()):
        self.name, self.blockdev, self.client_arguments = name, blockdev, tuple(client)

    def command(self, bench, socket):
        return [bench.qsd, "--blockdev", self.blockdev + ",node-name=disk", "--object", "iothread,id=io",
                "--export", "type=vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path=%s,"
                "writable=on,iothread=io" % socket]


def qsd_devices(blockdev):
    """With and without EVENT_IDX: which of them is faster depends on the depth, so its better one counts."""
    return [Qsd("qemu-storage-daemon", blockdev), Qsd("qemu-storage-daemon event-idx", blockdev, ["--event-idx"])]


def best_of_peer(medians):
    known = [m for name, m in medians.items() if name.startswith("qemu-storage-daemon") and m is not None]
    return max(known, default=None)


def sample_device(bench, device, arguments, before=None):
    def take():
        socket = os.path.join(bench.work, "disk.sock")
        if before is not None:
            before()
        with bench.server(device.command(bench, socket), socket) as process:
            start = cpu_seconds(process.pid)
            sample = bench.client(socket, *arguments, *device.client_arguments)
            sample["device_cpu_seconds"] = round(cpu_seconds(process.pid) - start, 3)
            sample["device_huge_bytes"] = huge_bytes(process.pid)
        return sample
    return settled(bench, take)


# ---------------------------------------------------------------- the suites

def suite_limit(bench):
    header("limit: the client itself, 4 KiB reads against a device in this process that answers at once")
    o = bench.options
    for depth in DEPTHS:
        case = "read depth %d" % depth
        common = ["--client", "--depth=%d" % depth, "--seconds=%g" % o.seconds, "--cpu=%d" % o.cpu,
                  "--queue-size=512"]
        takers = {}
        for form, flag in (("split", []), ("packed", ["--packed"])):
            takers["both sides on one core, " + form] = \
                lambda f=flag: settled(bench, lambda: bench.program("vio-bench-ring", *common, *f))
            takers["device on the other core, " + form] = \
                lambda f=flag: settled(bench, lambda: bench.program(
                    "vio-bench-ring", *common, "--peer-cpu=%d" % o.peer_cpu, *f))
        medians = repeat("limit", case, takers, bench)
        table(bench, "limit", case, medians)
        for result in bench.results[-len(takers):]:
            own = [s["client_ns_per_request"] for s in result["samples"] if "client_ns_per_request" in s]
            if own:
                print("      of which the client: %.1f ns a request (%s)" %
                      (statistics.median(own), result["name"].rsplit(" ", 1)[1]))


def suite_null(bench):
    header("null: requests that do nothing, against null-co of " + bench.qsd_name)
    for op in ("read", "write"):
        for depth in DEPTHS:
            case = "%s depth %d" % (op, depth)
            devices = [Vio("vio poll=%s %s" % (poll, form), "null=1G,poll=%s" % poll,
                           ["--packed"] if form == "packed" else [])
                       for poll in ("on", "auto", "off") for form in ("split", "packed")]
            devices += qsd_devices("driver=null-co,size=1073741824")
            arguments = ["--op=" + op, "--depth=%d" % depth]
            takers = {d.name: lambda d=d: sample_device(bench, d, arguments) for d in devices}
            medians = repeat("null", case, takers, bench)
            table(bench, "null", case, medians, "qemu-storage-daemon")
            peer = best_of_peer(medians)
            for form in ("split", "packed"):
                on = medians["vio poll=on " + form]
                verdict(bench, "null", case, "poll=on %s" % form, ratio(on, peer), 3.5, "qemu-storage-daemon")
                verdict(bench, "null", case, "poll=auto %s" % form,
                        ratio(medians["vio poll=auto " + form], on), 0.9, "poll=on")
                verdict(bench, "null", case, "poll=off %s" % form,
                        ratio(medians["vio poll=off " + form], peer), 1.0, "qemu-storage-daemon")


def plain_file(bench, mode, path, *more):
    return bench.program("vio-bench-plain", "--mode=" + mode, "--file=" + path, "--cpu=%d" % bench.options.peer_cpu,
                         "--seconds=%g" % bench.options.seconds, *more)


def file_suite(bench, suite, path, goal, before=None, plain=(), options="", title=""):
    header("%s: %s, against aio=io_uring of %s" % (suite, title, bench.qsd_name))
    for op in ("read", "write"):
        for depth in DEPTHS:
            case = "%s depth %d" % (op, depth)
            devices = [Vio("vio poll=auto split", "file=%s,poll=auto" % path),
                       Vio("vio poll=auto packed", "file=%s,poll=auto" % path, ["--packed"]),
                       Vio("vio poll=on split", "file=%s,poll=on" % path)]
            devices += qsd_devices("driver=file,aio=io_uring,filename=" + path)
            arguments = ["--op=" + op, "--depth=%d" % depth]
            takers = {d.name: lambda d=d: sample_device(bench, d, arguments, before) for d in devices}
            for mode in plain:
                def take(mode=mode):
                    if before is not None:
                        before()
                    return plain_file(bench, mode, path, *arguments)
                takers["plain " + mode] = lambda take=take: settled(bench, take)
            medians = repeat(suite, case, takers, bench)
            table(bench, suite, case, medians, "qemu-storage-daemon")
            for form in ("split", "packed"):
                verdict(bench, suite, case, "poll=auto %s" % form,
                        ratio(medians["vio poll=auto " + form], best_of_peer(medians)),
                        goal if depth > 1 else 1.0, "qemu-storage-daemon")


def suite_tmpfs(bench):
    path = bench.file(os.path.join(bench.options.tmpfs, "vio-bench-%d.img" % os.getpid()), 512)
    file_suite(bench, "tmpfs", path, 2.5, plain=("pread", "uring"), title="a file on tmpfs")


def drop_cache(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def suite_cached(bench):
    path = bench.file(os.path.join(bench.data, "cached.img"), 256)

    def warm():
        """In single pages: in the large folios that big writes leave, each 4 KiB write costs the kernel 15 us."""
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for at in range(0, os.path.getsize(path), 4096):
            os.pread(fd, 4096, at)
        os.close(fd)

    drop_cache(path)
    file_suite(bench, "cached", path, 2.5, before=warm, plain=("pread", "uring"),
               title="a file on disk, all of it in the page cache")


def suite_uncached(bench):
    path = bench.file(os.path.join(bench.data, "large.img"), bench.options.large)

    file_suite(bench, "uncached", path, 1.2, before=lambda: drop_cache(path), plain=("uring",),
               title="a file on disk, none of it in the page cache")


def suite_direct(bench):
    header("direct: a file with O_DIRECT, against plain io_uring with no virtio between")
    print("  The client sleeps until it is called: polling, it would take a CPU that plain io_uring has for its workers.")
    path = bench.file(os.path.join(bench.data, "large.img"), bench.options.large)
    for op in ("read", "write"):
        case = "%s depth 32" % op
        arguments = ["--op=" + op, "--depth=32"]
        devices = [Vio("vio poll=%s %s" % (poll, form), "file=%s,direct=on,poll=%s" % (path, poll),
                       ["--packed"] if form == "packed" else [])
                   for poll, form in (("on", "split"), ("on", "packed"), ("auto", "split"))]
        devices += qsd_devices("driver=file,aio=io_uring,cache.direct=on,filename=" + path)
        takers = {d.name: lambda d=d: sample_device(bench, d, ["--wait", *arguments]) for d in devices}
        takers["plain io_uring"] = lambda: settled(
            bench, lambda: plain_file(bench, "uring", path, "--direct", *arguments))
        medians = repeat("direct", case, takers, bench)
        table(bench, "direct", case, medians, "plain io_uring")
        for device in devices[:3]:
            verdict(bench, "direct", case, device.name[4:], ratio(medians[device.name], medians["plain io_uring"]),
                    0.95, "plain io_uring")


def suite_ram(bench):
    header("ram: a disk in memory of 256 MiB, against a plain loop of memcpy over as much")
    for op in ("read", "write"):
        for depth in (32, 128):
            case = "%s depth %d" % (op, depth)
            arguments = ["--op=" + op, "--depth=%d" % depth]
            devices = [Vio("vio poll=on split", "ram=256M,poll=on", ["--fill"]),
                       Vio("vio poll=on packed", "ram=256M,poll=on", ["--fill", "--packed"])]
            takers = {d.name: lambda d=d: sample_device(bench, d, arguments) for d in devices}
            takers["plain memcpy"] = lambda: settled(bench, lambda: bench.program(
                "vio-bench-plain", "--mode=memcpy", "--size=256M", "--cpu=%d" % bench.options.peer_cpu,
                "--seconds=%g" % bench.options.seconds, *arguments))
            medians = repeat("ram", case, takers, bench)
            table(bench, "ram", case, medians, "plain memcpy")
            if depth == 32:
                for device in devices:
                    verdict(bench, "ram", case, device.name[4:], ratio(medians[device.name], medians["plain memcpy"]),
                            0.85, "plain memcpy")
    samples = [s for r in bench.results if r["suite"] == "ram" for s in r["samples"]]
    print("  the disk's pages: plain memcpy: %s; vio: %d of 256 MiB on huge pages" % (
        ", ".join(sorted({s["pages"] for s in samples if "pages" in s})),
        min((s["device_huge_bytes"] for s in samples if "device_huge_bytes" in s), default=0) // MIB))


def suite_ring(bench):
    header("ring: no device behind it, queue size 256, one descriptor a buffer")
    o = bench.options
    cases = (("one at a time", ["--batch=1", "--in-flight=1"]), ("batch 1", ["--batch=1"]),
             ("batch 32", ["--batch=32"]))
    for cores in ("one core", "two cores"):
        for case, arguments in cases:
            place = ["--cpu=%d" % o.cpu] + (["--peer-cpu=%d" % o.peer_cpu] if cores == "two cores" else [])
            takers = {form: lambda f=flags: settled(bench, lambda: bench.program(
                          "vio-bench-ring", "--seconds=%g" % o.seconds, *place, *arguments, *f))
                      for form, flags in (("split", []), ("split in-order", ["--in-order"]), ("packed", ["--packed"]),
                                          ("packed in-order", ["--packed", "--in-order"]))}
            name = "%s, %s" % (cores, case)
            table(bench, "ring", name, repeat("ring", name, takers, bench))
    lines = [bench.program("vio-bench-plain", "--mode=distance", "--cpu=%d" % o.cpu,
                           "--peer-cpu=%d" % o.peer_cpu)["line_ns"] for _ in range(o.repeats)]
    bench.results.append({"suite": "ring", "case": "one cache line, one way", "name": "line", "line_ns": lines})
    print("  one cache line from core to core, one way: %.0f ns (%.0f to %.0f)" %
          (statistics.median(lines), min(lines), max(lines)))


def resident(pid):
    """Bytes resident: of the process itself, and of memory that a driver shares with it."""
    own = shared = 0
    name = ""
    with open("/proc/%d/smaps" % pid) as maps:
        for line in maps:
            fields = line.split()
            if "-" in fields[0] and not fields[0].endswith(":"):
                name = fields[5] if len(fields) > 5 else ""
            elif fields[0] == "Rss:":
                if name.startswith("/memfd:vio-driver"):
                    shared += int(fields[1]) * 1024
                else:
                    own += int(fields[1]) * 1024
    return own, shared


def suite_idle(bench):
    header("idle: a disk that a driver has used and then leaves alone, over 10 s")
    path = bench.file(os.path.join(bench.data, "idle.img"), 64)
    socket = os.path.join(bench.work, "idle.sock")
    for poll in ("off", "auto"):
        device = Vio("vio poll=" + poll, "file=%s,poll=%s" % (path, poll))
        with bench.server(device.command(bench, socket), socket) as process:
            client = subprocess.Popen([os.path.join(bench.programs, "vio-bench-blk"), "--socket=" + socket,
                                       "--seconds=0.3", "--hold=13", "--cpu=%d" % bench.options.cpu],
                                      stdout=subprocess.DEVNULL)
            time.sleep(2)
            start, switches = cpu_seconds(process.pid), context_switches(process.pid)
            time.sleep(10)
            used, switches = cpu_seconds(process.pid) - start, context_switches(process.pid) - switches
            own, shared = resident(process.pid)
            client.wait(20)
        print("  %-16s %.2f MiB resident beyond guest memory (%.1f MiB of that mapped); %.2f s of CPU, %d wake-ups" %
              (device.name, own / MIB, shared / MIB, used, switches))
        bench.results.append({"suite": "idle", "case": device.name, "resident": own, "guest_resident": shared,
                              "cpu_seconds": used, "wakeups": switches})
        verdict(bench, "idle", device.name, "MiB resident", own / MIB, 8, "guest memory", higher=False)
        verdict(bench, "idle", device.name, "seconds of CPU in 10 s", used, 0, "nothing", higher=False)


# ---------------------------------------------------------------- the whole

def first_line(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=10).stdout.splitlines()[0].strip()
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "unknown"


def environment(bench):
    model = "unknown"
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(), "vio": first_line(bench.vio, "version"),
            "peer": bench.qsd_name, "seconds": bench.options.seconds, "repeats": bench.options.repeats,
            "near_ns": bench.options.near, "command": "bench/run.py " + " ".join(sys.argv[1:])}


def summary(bench):
    header("targets")
    for v in bench.verdicts:
        value = "no sample" if v["value"] is None else "%.2f" % v["value"]
        print("  %-4s %-9s %-38s %-24s %10s of %-20s goal %s %g" % (
            "ok" if v["ok"] else "MISS", v["suite"], v["case"], v["what"], value, v["over"],
            "at least" if v["at_least"] else "at most", v["goal"]))
    print("\n%d samples were taken again: far cores, or other work on the machine" % bench.retries)
    missed = sum(not v["ok"] for v in bench.verdicts)
    print("\n%d of %d targets met%s" % (len(bench.verdicts) - missed, len(bench.verdicts),
                                        "" if not bench.given_up else
                                        "; %d samples given up" % len(bench.given_up)))
    return missed


def markdown(bench, about):
    """The medians as tables for docs/performance.md: a row for each case, a column for each that took part."""
    lines = ["%(vio)s; %(peer)s; %(cpus)d x %(cpu)s, Linux %(kernel)s; medians of %(repeats)d samples of "
             "%(seconds)g s, millions a second." % about]
    for suite in SUITES:
        rated = [r for r in bench.results if r["suite"] == suite and "median_mps" in r]
        names = list(dict.fromkeys(r["name"] for r in rated))
        if not rated:
            continue
        lines += ["", "| %s | %s |" % (suite, " | ".join(names)), "|---" * (len(names) + 1) + "|"]
        for case in dict.fromkeys(r["case"] for r in rated):
            medians = {r["name"]: r["median_mps"] for r in rated if r["case"] == case}
            lines.append("| %s | %s |" % (case, " | ".join(
                "-" if medians.get(name) is None else "%.3g" % medians[name] for name in names)))
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build folder (build)")
    parser.add_argument("--out", help="where results.json goes (BUILD/bench)")
    parser.add_argument("--only", default=",".join(SUITES), help="some of: " + " ".join(SUITES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of one sample")
    parser.add_argument("--cpu", type=int, default=0, help="of the driver")
    parser.add_argument("--peer-cpu", type=int, default=1, help="of the device")
    parser.add_argument("--near", type=float, default=110, help="ns a cache line may take between near cores")
    parser.add_argument("--others", type=float, default=0.15, help="of a CPU that others may use during a sample")
    parser.add_argument("--tries", type=int, default=6, help="for one sample that nothing disturbs")
    parser.add_argument("--data", help="folder for files on disk (BUILD/bench/data)")
    parser.add_argument("--tmpfs", default="/dev/shm")
    parser.add_argument("--net-ring", default="256,1024", help="entries of a network device's queues (256,1024)")
    parser.add_argument("--blkio-root", help="driver: folder of a system that has libblkio, where this one has none")
    parser.add_argument("--case", default="", help="network, driver: only the cases with this text in their name")
    parser.add_argument("--large", type=int, default=4096, help="MiB of the file that is not cached")
    options = parser.parse_args()
    options.net_ring = [int(n) for n in options.net_ring.split(",")]
    unknown = set(options.only.split(",")) - set(SUITES)
    if unknown:
        parser.error("no suite %s; there are: %s" % (", ".join(sorted(unknown)), " ".join(SUITES)))
    return options


def main():
    options = arguments()
    bench = Bench(options)
    if bench.qsd is None and not set(options.only.split(",")) <= set(NO_QSD):
        sys.exit("bench: qemu-storage-daemon is not installed: scripts/install-deps.sh bench")
    bench.qsd_name = first_line(bench.qsd, "--version") if bench.qsd else "no qemu-storage-daemon"
    about = environment(bench)
    print("%(vio)s; peer: %(peer)s\n%(cpus)d x %(cpu)s, Linux %(kernel)s; %(repeats)d samples of %(seconds)g s, "
          "in turn; medians (lowest to highest)" % about)
    out = options.out or os.path.join(options.build, "bench")
    try:
        for suite in SUITES:
            if suite in options.only.split(","):
                globals()["suite_" + suite](bench)
    finally:
        bench.close()
        os.makedirs(out, exist_ok=True)
        with open(os.path.join(out, "results.json"), "w") as file:
            json.dump({"environment": about, "results": bench.results, "targets": bench.verdicts,
                       "given_up": bench.given_up, "retries": bench.retries}, file, indent=1)
        with open(os.path.join(out, "results.md"), "w") as file:
            file.write(markdown(bench, about))
    missed = summary(bench)
    print("repeat: %s; all samples: %s" % (about["command"], os.path.join(out, "results.json")))
    sys.exit(1 if missed else 0)


main()
