# SPDX-License-Identifier: MIT
"""What the suites of bench/run.py share: programs and devices started on their core, samples that nobody disturbed, medians
of what was run in turn, and the list of targets."""
import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20


class Bench:
    def __init__(self, options):
        self.options = options
        self.vio = os.path.join(options.build, "vio")
        self.programs = os.path.join(options.build, "bench")
        self.qsd = shutil.which("qemu-storage-daemon")
        self.results, self.verdicts, self.given_up, self.retries = [], [], [], 0
        self.work = tempfile.mkdtemp(prefix="vio-bench-")
        self.data = options.data or os.path.join(options.build, "bench", "data")
        self.made = []

    def close(self):
        shutil.rmtree(self.work, ignore_errors=True)
        for path in self.made:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def program(self, name, *arguments):
        """Runs one measuring program; its line of JSON."""
        return self.run([os.path.join(self.programs, name), *arguments])

    def run(self, command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60 + 3 * self.options.seconds)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(command), done.stderr.strip()))
        return json.loads(done.stdout)

    def client(self, socket, *arguments, seconds=None):
        o = self.options
        return self.program("vio-bench-blk", "--socket=" + socket, "--cpu=%d" % o.cpu, "--peer-cpu=%d" % o.peer_cpu,
                            "--seconds=%g" % (seconds or o.seconds), "--warmup=%g" % (o.seconds / 4), *arguments)

    def start(self, command, socket):
        """A device process on its core, listening; tried again where the last one's lock on the file lingers."""
        for attempt in range(10):
            log = open(os.path.join(self.work, "server.log"), "w+")
            process = subprocess.Popen(["taskset", "-c", str(self.options.peer_cpu), *command],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            limit = time.monotonic() + 10
            while process.poll() is None and time.monotonic() < limit:
                if os.path.exists(socket):
                    time.sleep(0.05)
                    return process
                time.sleep(0.01)
            process.kill()
            process.wait()
            log.seek(0)
            said = log.read().strip()
            if "lock" not in said:
                break
            time.sleep(0.1 * (attempt + 1))
        raise RuntimeError("%s: %s" % (" ".join(command), said))

    @contextlib.contextmanager
    def server(self, command, socket):
        process = self.start(command, socket)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(socket)

    def file(self, path, mib):
        """A file of so many MiB with bytes in it (no holes, nothing unwritten)."""
        if os.path.exists(path) and os.path.getsize(path) == mib * MIB:
            return path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        block = os.urandom(MIB)
        with open(path, "wb") as out:
            for _ in range(mib):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        self.made.append(path)
        return path


def near(sample, limit):
    distances = [sample[key] for key in ("line_ns_before", "line_ns_after") if key in sample]
    return all(d <= limit for d in distances)


def busy_seconds():
    """CPU time of the whole machine, and of our own children that have ended."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq = (int(n) for n in stat.readline().split()[1:8])
    total = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    own = sum(u.ru_utime + u.ru_stime for u in (resource.getrusage(resource.RUSAGE_SELF),
                                                resource.getrusage(resource.RUSAGE_CHILDREN)))
    return total, own


def settled(bench, take):
    """
    A sample that nobody disturbed: the cores near each other before and after, and no more than a part of a CPU
    used by others meanwhile. None where the machine does not give one.
    """
    o = bench.options
    for attempt in range(o.tries):
        start, before = time.monotonic(), busy_seconds()
        sample = take()
        after, wall = busy_seconds(), time.monotonic() - start
        sample["others_cpu"] = round(max(0, (after[0] - before[0]) - (after[1] - before[1])) / wall, 3)
        if near(sample, o.near) and sample["others_cpu"] <= o.others:
            return sample
        bench.retries += 1
        time.sleep(0.2 * (attempt + 1))
    return None


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def huge_bytes(pid):
    """Memory of a process that stands on huge pages, of either kind."""
    with open("/proc/%d/smaps_rollup" % pid) as maps:
        return sum(int(line.split()[1]) * 1024 for line in maps
                   if line.split(":")[0] in ("AnonHugePages", "Private_Hugetlb", "Shared_Hugetlb", "ShmemPmdMapped"))


def repeat(suite, case, takers, bench):
    """takers: name -> function that takes one sample (or None). In turn, so often; the medians of what came."""
    samples = {name: [] for name in takers}
    for turn in range(bench.options.repeats):
        for name, take in takers.items():
            progress("%s %s: %s (%d of %d)" % (suite, case, name, turn + 1, bench.options.repeats))
            sample = take()
            if sample is None:
                bench.given_up.append("%s %s: %s" % (suite, case, name))
            else:
                samples[name].append(sample)
    progress("")
    for name, taken in samples.items():
        rates = [s["mps"] for s in taken]
        bench.results.append({
            "suite": suite, "case": case, "name": name, "samples": taken,
            "median_mps": statistics.median(rates) if rates else None,
            "low_mps": min(rates, default=None), "high_mps": max(rates, default=None),
        })
    return {name: statistics.median(s["mps"] for s in taken) if taken else None for name, taken in samples.items()}


def verdict(bench, suite, case, what, value, goal, over, higher=True):
    """One line of the list of targets: value (a ratio) against its goal."""
    ok = value is not None and (value >= goal if higher else value <= goal)
    bench.verdicts.append({"suite": suite, "case": case, "what": what, "value": value, "goal": goal,
                           "over": over, "at_least": higher, "ok": ok})


def ratio(a, b):
    return a / b if a is not None and b else None


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text)
        sys.stderr.flush()


def header(text):
    print("\n%s\n%s" % (text, "-" * len(text)))


def table(bench, suite, case, medians, base=None):
    """One case: what each took, its spread, and how it stands to the best of those whose name starts with `base`."""
    rates = [m for name, m in medians.items() if base and name.startswith(base) and m is not None]
    best = max(rates, default=None)
    print("  %s" % case)
    for result in bench.results:
        if result["suite"] != suite or result["case"] != case:
            continue
        median = result["median_mps"]
        if median is None:
            print("    %-44s gave up: never undisturbed" % result["name"])
            continue
        against = ratio(median, best)
        print("    %-44s %8.3f M/s   %7.1f ns   (%.3f to %.3f)%s" % (
            result["name"], median, 1e3 / median, result["low_mps"], result["high_mps"],
            "" if against is None else "   %.2fx" % against))
    sys.stdout.flush()


def context_switches(pid):
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as status:
            total += sum(int(line.split()[1]) for line in status if "voluntary_ctxt_switches" in line)
    return total
