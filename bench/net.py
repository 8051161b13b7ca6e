# SPDX-License-Identifier: MIT
"""The network suites of bench/run.py that DPDK drives: DPDK's virtio-user against vio, and against DPDK's own net_vhost.

net: throughput, with what each side had to wait; pages: 4 KiB pages; latency: there and back; adaptive: poll=auto.
"""
import contextlib
import json
import os
import socket as sockets_of_host
import subprocess
import time

from harness import cpu_seconds, header, ratio, repeat, settled, table, verdict

FORMS = (("split", []), ("split mergeable", ["--mrg-rxbuf"]), ("packed", ["--packed"]),
         ("packed mergeable", ["--packed", "--mrg-rxbuf"]), ("packed in-order", ["--packed", "--in-order"]))
PLAIN = (FORMS[0], FORMS[2])


class Net:
    """A network device behind each of its sockets: vio's (spec) or DPDK's (peer), and what the driver does with it."""
    def __init__(self, name, mode, sockets=1, spec=None, peer=None, poll="on", huge=True, driver=(),
                 program="vio-bench-net"):
        self.name, self.mode, self.spec, self.peer, self.poll, self.huge = name, mode, spec, peer, poll, huge
        self.nr_sockets, self.driver, self.program = sockets, list(driver), program

    def sockets(self, bench):
        return [os.path.join(bench.work, "net%d.sock" % n) for n in range(self.nr_sockets)]

    def pages(self, bench):
        return bench.huge_argument if self.huge else ["--no-huge"]

    def command(self, bench):
        if self.spec is not None:
            return [bench.vio, "serve", "--control=" + control(bench),
                    *("net,%s,poll=%s,vhost-user=%s" % (self.spec, self.poll, s) for s in self.sockets(bench))]
        return [os.path.join(bench.programs, "vio-bench-net-vhost"), "--cpu=%d" % bench.options.peer_cpu,
                *("--socket=" + s for s in self.sockets(bench)), *self.peer, *self.pages(bench)]

    def driver_command(self, bench, ring, arguments):
        o = bench.options
        return [os.path.join(bench.programs, self.program), *("--socket=" + s for s in self.sockets(bench)),
                "--mode=" + self.mode, "--cpu=%d" % o.cpu, "--peer-cpu=%d" % o.peer_cpu, "--seconds=%g" % o.seconds,
                "--warmup=%g" % (o.seconds / 4), "--queue-size=%d" % ring, *self.pages(bench), *self.driver, *arguments]


def control(bench):
    return os.path.join(bench.work, "control.sock")


@contextlib.contextmanager
def serving(bench, device):
    sockets = device.sockets(bench)
    try:
        with bench.server(device.command(bench), sockets[-1]) as process:
            yield process
    finally:
        for path in sockets:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def sample_net(bench, device, ring, arguments):
    def take():
        with serving(bench, device) as process:
            start = cpu_seconds(process.pid)
            sample = bench.run(device.driver_command(bench, ring, arguments))
            sample["device_cpu_seconds"] = round(cpu_seconds(process.pid) - start, 3)
        return sample
    return settled(bench, take)


# ---------------------------------------------------------------- who waits for whom

def counters(bench, queue):
    """Of one queue of the first device: rounds of its service, and those that brought something."""
    with sockets_of_host.socket(sockets_of_host.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(control(bench))
        s.sendall(b'{"do":"counters"}\n')
        answer = json.loads(s.makefile().readline())
    found = [q for q in answer["devices"][0]["queues"] if q["queue"] == queue]
    return {"time_ns": answer["time_ns"], **{key: found[0][key] for key in ("services", "idle", "publishes", "buffers")}}


def difference(before, after):
    return {key: after[key] - before[key] for key in before}


def vio_waits(bench, device, command):
    """
    The driver's sample with the device's rounds between its two marks; and what a round costs while the driver is silent,
    which says how much of its time the device was at work at most: a round that finds nothing costs no less under load.
    """
    queue = 0 if device.mode == "rx" else 1
    process = subprocess.Popen([*command, "--mark", "--hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    seen = {}
    for line in process.stdout:
        if line.startswith("{"):
            sample = json.loads(line)
            break
        if line.strip() in ("begin", "end"):
            seen[line.strip()] = counters(bench, queue)
    quiet = counters(bench, queue)
    time.sleep(0.1)
    quiet = difference(quiet, counters(bench, queue))
    process.stdin.close()
    if process.wait() != 0:
        raise RuntimeError("%s: %s" % (" ".join(command), process.stderr.read().strip()))
    sample.pop("line_ns_after", None) # taken while the device polls
    delta = difference(seen["begin"], seen["end"])
    sample["rounds"], sample["busy"] = delta["services"], delta["services"] - delta["idle"]
    sample["buffers"] = delta["buffers"]
    if quiet["idle"] > 0 and quiet["idle"] == quiet["services"]:
        sample["busy_share"] = max(0.0, 1 - delta["idle"] * (quiet["time_ns"] / quiet["idle"]) / delta["time_ns"])
    return sample


def peer_waits(bench, device, command):
    log = os.path.join(bench.work, "server.log")
    with serving(bench, device):
        sample = bench.run(command)
    with open(log) as said:
        counted = next(json.loads(line) for line in said if line.startswith("{"))
    sample["rounds"], sample["busy"] = counted["rounds"], counted["rounds"] - counted["empty"]
    return sample


def waits(bench, device, ring, arguments):
    """
    A sample apart from those of the rate, since looking costs something: the share of the device's rounds that found nothing
    to do, and of the driver's bursts those that were not taken (sending) or brought nothing (receiving). A side that
    never waits is the limit.
    """
    command = device.driver_command(bench, ring, arguments)

    def take():
        if device.spec is None:
            return peer_waits(bench, device, command)
        with serving(bench, device):
            return vio_waits(bench, device, command)
    sample = settled(bench, take)
    if sample is None or sample["rounds"] == 0:
        return None
    sent, asked = sample["offers"], sample["asks"]
    return {"name": device.name, "device_idle": max(0.0, 1 - sample["busy"] / sample["rounds"]),
            "frames_a_round": sample["buffers"] / sample["busy"] if sample.get("buffers") and sample["busy"] else None,
            "busy_share": sample.get("busy_share"), "driver_blocked": sample["blocked"] / sent if sent else None,
            "driver_empty": sample["empty"] / asked if asked else None, "mps": sample["mps"]}


def percent(share):
    return "-" if share is None else "%.0f %%" % (100 * share)


def print_waits(bench, suite, case, devices, ring, arguments):
    for device in devices:
        found = waits(bench, device, ring, arguments)
        if found is None:
            continue
        bench.results.append({"suite": suite, "case": case, "name": device.name, "waits": found})
        print("      %-18s the device's rounds: %s idle%s%s; the driver's bursts: %s not taken in full, %s empty" % (
            device.name, percent(found["device_idle"]),
            "" if found["busy_share"] is None else ", at work %s of the time" % percent(found["busy_share"]),
            "" if not found["frames_a_round"] else ", %.0f frames each" % found["frames_a_round"],
            percent(found["driver_blocked"]), percent(found["driver_empty"])), flush=True)


# ---------------------------------------------------------------- DPDK and its pages

def there(bench):
    if os.path.exists(os.path.join(bench.programs, "vio-bench-net")):
        return True
    print("  left out: this build found no DPDK (scripts/install-deps.sh bench, then build anew)")
    return False


@contextlib.contextmanager
def huge_pages(bench, wanted=512):
    """So many pages of 2 MiB in the pool while DPDK runs, where we may ask for them; small pages where not."""
    pool = "/proc/sys/vm/nr_hugepages"
    with open(pool) as file:
        before = int(file.read())
    try:
        if before < wanted:
            with open(pool, "w") as file:
                file.write(str(wanted))
    except OSError:
        pass
    try:
        with open(pool) as file:
            bench.huge_argument = [] if int(file.read()) >= wanted else ["--no-huge"]
        if bench.huge_argument:
            print("  On small pages: the pool of huge pages is not ours to fill.")
        yield
    finally:
        with contextlib.suppress(OSError):
            if before < wanted:
                with open(pool, "w") as file:
                    file.write(str(before))


# ---------------------------------------------------------------- the suites

def cases(size):
    """What is done, with vio and with DPDK, and how much faster vio is to be."""
    return (("to the device", 1.3, Net("vio null", "tx", spec="null,copy=on"),
             Net("net_vhost drop", "tx", peer=["--mode=drop"])),
            ("to the driver", 1.3, Net("vio generate", "rx", spec="generate=%d" % size),
             Net("net_vhost send", "rx", peer=["--mode=send", "--size=%d" % size])),
            ("driver to driver", 2.0, Net("vio switch", "pass", 2, spec="switch=bench"),
             Net("net_vhost forward", "pass", 2, peer=["--mode=forward"])))


def wanted(bench, case):
    return bench.options.case in case


def suite_net(bench):
    header("net: DPDK's driver against vio, and against DPDK's own device")
    if not there(bench):
        return
    with huge_pages(bench):
        for ring in bench.options.net_ring:
            for size in (64, 1518):
                for what, goal, vio, peer in cases(size):
                    for form, flags in PLAIN if vio.mode == "pass" else FORMS:
                        case = "%s, %d B, ring %d, %s" % (what, size, ring, form)
                        if wanted(bench, case):
                            net_case(bench, "net", case, vio, peer, goal, ring, ["--size=%d" % size, *flags])


def net_case(bench, suite, case, vio, peer, goal, ring, arguments):
    takers = {d.name: lambda d=d: sample_net(bench, d, ring, arguments) for d in (vio, peer)}
    medians = repeat(suite, case, takers, bench)
    table(bench, suite, case, medians, peer.name)
    verdict(bench, suite, case, vio.name, ratio(medians[vio.name], medians[peer.name]), goal, peer.name)
    print_waits(bench, suite, case, (vio, peer), ring, arguments)
    if vio.mode == "rx":
        # apart from the rate: reading what came costs the driver something
        sample = sample_net(bench, vio, ring, ["--check", *arguments])
        wrong = None if sample is None else sample["lost"] + sample["disordered"] + sample["foreign"]
        verdict(bench, suite, case, "lost or out of order", wrong, 0, "frames", higher=False)


def suite_pages(bench):
    header("pages: 4 KiB pages against our own figure with pages of 2 MiB, and against net_vhost on 4 KiB pages")
    if not there(bench):
        return
    ring = bench.options.net_ring[0]
    with huge_pages(bench):
        for size in (64, 1518):
            for (what, _, huge, peer), (_, _, small, _) in zip(cases(size), cases(size)):
                small.name, small.huge, peer.name, peer.huge = small.name + " 4 KiB", False, peer.name + " 4 KiB", False
                for form, flags in PLAIN:
                    case = "%s, %d B, %s" % (what, size, form)
                    if not wanted(bench, case):
                        continue
                    arguments = ["--size=%d" % size, *flags]
                    takers = {d.name: lambda d=d: sample_net(bench, d, ring, arguments) for d in (huge, small, peer)}
                    medians = repeat("pages", case, takers, bench)
                    table(bench, "pages", case, medians, huge.name)
                    verdict(bench, "pages", case, "4 KiB pages", ratio(medians[small.name], medians[huge.name]), 0.9,
                            "2 MiB pages")
                    print_waits(bench, "pages", case, (huge, small), ring, arguments)


def suite_latency(bench):
    header("latency: a frame of 64 B there and back through echo, one at a time")
    if not there(bench):
        return
    polling = [Net("vio poll=%s" % poll, "ping", spec="echo", poll=poll) for poll in ("on", "auto")]
    polling.append(Net("net_vhost polling", "ping", peer=["--mode=echo"]))
    sleeping = [Net("vio poll=%s" % poll, "ping", spec="echo", poll=poll, driver=["--sleep"]) for poll in ("off", "auto")]
    sleeping.append(Net("net_vhost sleeping", "ping", peer=["--mode=echo", "--sleep"], driver=["--sleep"]))
    with huge_pages(bench):
        for form, flags in PLAIN:
            for what, devices in (("both poll", polling), ("both sleep", sleeping)):
                case = "%s, %s" % (what, form)
                if wanted(bench, case):
                    latency_case(bench, case, devices, ["--size=64", *flags])


def latency_case(bench, case, devices, arguments):
    ring = bench.options.net_ring[0]
    takers = {d.name: lambda d=d: sample_net(bench, d, ring, arguments) for d in devices}
    medians = repeat("latency", case, takers, bench)
    peer = devices[-1].name
    table(bench, "latency", case, medians, peer)
    for result in bench.results[-len(devices):]:
        for part in ("p50_ns", "p99_ns"):
            values = sorted(s[part] for s in result["samples"])
            if values:
                result[part] = values[len(values) // 2]
        if "p50_ns" in result:
            print("      %-20s half of them within %.2f us, 99 %% within %.2f us" % (
                result["name"], result["p50_ns"] / 1e3, result["p99_ns"] / 1e3))
    verdict(bench, "latency", case, devices[0].name, ratio(medians[devices[0].name], medians[peer]), 1.0, peer)


def suite_adaptive(bench):
    header("adaptive: poll=auto against poll=on under load, and its CPU time when a driver is there and silent")
    if not there(bench):
        return
    ring = bench.options.net_ring[0]
    with huge_pages(bench):
        for (what, _, on, _), (_, _, auto, _) in zip(cases(64), cases(64)):
            on.name, auto.name, auto.poll = on.name + " poll=on", auto.name + " poll=auto", "auto"
            for form, flags in PLAIN:
                case = "%s, 64 B, %s" % (what, form)
                if not wanted(bench, case):
                    continue
                takers = {d.name: lambda d=d: sample_net(bench, d, ring, ["--size=64", *flags]) for d in (on, auto)}
                medians = repeat("adaptive", case, takers, bench)
                table(bench, "adaptive", case, medians, on.name)
                verdict(bench, "adaptive", case, auto.name, ratio(medians[auto.name], medians[on.name]), 0.95, on.name)
        for what, device in (("null", Net("vio null", "tx", spec="null,copy=on", poll="auto")),
                             ("switch", Net("vio switch", "pass", 2, spec="switch=bench", poll="auto"))):
            if wanted(bench, "idle " + what):
                idle_case(bench, what, device, ring)


def idle_case(bench, what, device, ring):
    """The driver has sent for a while, stays, and is silent."""
    command = [*device.driver_command(bench, ring, ["--size=64"]), "--hold"]
    with serving(bench, device) as process:
        driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(2 + 1.5 * bench.options.seconds)
        start, begun = cpu_seconds(process.pid), time.monotonic()
        time.sleep(5)
        share = (cpu_seconds(process.pid) - start) / (time.monotonic() - begun)
        driver.stdin.close()
        driver.wait(20)
    print("  idle %-12s %.2f %% of a CPU" % (what, 100 * share), flush=True)
    bench.results.append({"suite": "adaptive", "case": "idle " + what, "name": device.name, "cpu_share": share})
    verdict(bench, "adaptive", "idle " + what, "% of a CPU", 100 * share, 1, "a CPU", higher=False)
