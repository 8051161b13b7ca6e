# SPDX-License-Identifier: MIT
"""The suite of bench/run.py with a real guest: TCP through vio's tap, and through QEMU's own virtio-net on a tap, in the same
guest and run, in turn. What QEMU's own card costs is the time of QEMU's main loop, where it lives; what vio's costs is the
whole of vio, and beside it the main loop, which passes on interrupts where there is no KVM to do so.

It takes the guest of tests/guest. Needs root.
"""
import os
import shutil
import statistics
import subprocess
import sys

from harness import header, progress, verdict

NAMESPACE = "vio-bench-%d" % os.getpid()
INSIDE = ["ip", "netns", "exec", NAMESPACE]
CARDS = ("vio", "QEMU's own")


def load_guest_modules(bench):
    """vioguest and vionet read where the build is when they are imported."""
    os.environ.setdefault("BUILD", os.path.abspath(bench.options.build))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "guest"))
    import vioguest
    import vionet
    return vioguest, vionet


def missing():
    """Why the suite cannot run, or None."""
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        return "a tap and a network namespace need root and /dev/net/tun"
    for tool in ("ip", "iperf3", "qemu-system-x86_64"):
        if not shutil.which(tool):
            return tool + " is not installed (scripts/install-deps.sh guest)"
    return None


def host(*command):
    subprocess.run(INSIDE + list(command), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class OwnCard:
    """QEMU's virtio-net-pci on a tap that it makes. vhost=off: user space against user space."""
    def qemu(self):
        return ["-netdev", "tap,id=own,ifname=own0,script=no,downscript=no,vhost=off",
                "-device", "virtio-net-pci,netdev=own,mac=52:54:00:76:01:01,romfile=,vectors=0"]


def qemu_inside(folder, qemu):
    """A QEMU that runs in the namespace, where its tap is to be."""
    path = os.path.join(folder, "qemu")
    with open(path, "w") as script:
        script.write('#!/bin/sh\nexec %s %s "$@"\n' % (" ".join(INSIDE), qemu))
    os.chmod(path, 0o755)
    return path


def task_seconds(pid):
    """CPU time of a process: of its first thread, and of all."""
    tick = os.sysconf("SC_CLK_TCK")

    def of(path):
        with open(path) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / tick
    return of("/proc/%d/task/%d/stat" % (pid, pid)), of("/proc/%d/stat" % pid)


def transfer(vionet, guest, address, options, seconds, serve, qemu):
    """Gbit/s, and CPU seconds for a gigabit: of vio's process, and of QEMU's main loop."""
    vio, loop = task_seconds(serve)[1], task_seconds(qemu)[0]
    said = guest.run("iperf3 -f m -t %g -c %s %s" % (seconds, address, options), seconds + 40)
    rate = vionet.iperf_rate(said)[0] / 1e3
    vio, loop = task_seconds(serve)[1] - vio, task_seconds(qemu)[0] - loop
    gigabits = max(rate * seconds, 1e-9)
    return {"gbps": rate, "vio_cpu": vio / gigabits, "loop_cpu": loop / gigabits, "cpu": (vio + loop) / gigabits}


def measure(bench, vionet, guest, serve, qemu):
    o = bench.options
    for case, options in (("guest to host", ""), ("host to guest", "-R")):
        samples = {card: [] for card in CARDS}
        for turn in range(o.repeats):
            for card, address in zip(CARDS, ("192.0.2.1", "198.51.100.1")):
                progress("tap %s: %s (%d of %d)" % (case, card, turn + 1, o.repeats))
                samples[card].append(transfer(vionet, guest, address, options, max(2, 2 * o.seconds), serve, qemu))
        progress("")
        print("  TCP, " + case)
        median = {}
        for card in CARDS:
            median[card] = {key: statistics.median(s[key] for s in samples[card]) for key in samples[card][0]}
            m, rates = median[card], [s["gbps"] for s in samples[card]]
            print("    %-12s %6.2f Gbit/s (%.2f to %.2f); CPU ms a gigabit: vio %.0f, QEMU's main loop %.0f, both %.0f" % (
                card, m["gbps"], min(rates), max(rates), 1e3 * m["vio_cpu"], 1e3 * m["loop_cpu"], 1e3 * m["cpu"]))
            bench.results.append({"suite": "tap", "case": case, "name": card, "samples_tap": samples[card]})
        sys.stdout.flush()
        own, vio = median[CARDS[1]], median[CARDS[0]]
        verdict(bench, "tap", "TCP, " + case, "throughput", vio["gbps"] / own["gbps"], 1, CARDS[1])
        verdict(bench, "tap", "TCP, " + case, "CPU a gigabit, vio alone", vio["vio_cpu"] / own["loop_cpu"], 1, "its main loop",
                higher=False)
        verdict(bench, "tap", "TCP, " + case, "CPU a gigabit, all", vio["cpu"] / own["cpu"], 1, CARDS[1], higher=False)


def run(bench, vioguest, vionet, folder):
    host("ip", "link", "set", "lo", "up")
    nic = vionet.Nic(folder, "net,tap=vio0,address=192.0.2.1/24")
    serve = vionet.serve_nics(folder, [nic], INSIDE)
    vioguest.Process("iperf3", INSIDE + ["iperf3", "-s"], folder)
    setup = "ip link set eth1 up; ip address add 198.51.100.2/24 dev eth1"
    with vionet.Host(folder, [nic, OwnCard()], "192.0.2.2/24", setup=setup) as guest:
        guest.ready()
        host("ip", "address", "add", "198.51.100.1/24", "dev", "own0")
        host("ip", "link", "set", "own0", "up")
        print("  the guest runs on %s; its vio card takes %s" % (vioguest.accelerator(), guest.run(
            "ethtool -k eth0 | grep -c 'tcp-segmentation-offload: on' | sed 's/1/TSO/; s/0/no TSO/'").strip()))
        measure(bench, vionet, guest, serve.process.popen.pid, guest.process.popen.pid)
        guest.bye()
    serve.stop()


def suite_tap(bench):
    header("tap: TCP of a guest over vio's tap, and over QEMU's own virtio-net on a tap, in one guest")
    why = missing()
    if why:
        print("  left out: " + why)
        return
    vioguest, vionet = load_guest_modules(bench)
    folder = os.path.join(bench.work, "tap")
    os.mkdir(folder)
    vioguest.accelerator() # by the QEMU that is installed
    vioguest.QEMU = qemu_inside(folder, vioguest.QEMU)
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        run(bench, vioguest, vionet, folder)
    except (vioguest.Failure, vioguest.Skip) as failure:
        print("  left out: %s" % failure)
    finally:
        for process in list(vioguest.running):
            process.kill()
        subprocess.run(["ip", "netns", "delete", NAMESPACE])
