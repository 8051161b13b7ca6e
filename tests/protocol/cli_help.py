# SPDX-License-Identifier: MIT
"""What the tests of the command share: running vio, waiting, and reporting as TAP.

A test file defines functions named test_*, each taking a folder of its own, and ends with main().
A function fails by any exception; it raises Skip with the reason where something is missing.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

VIO = os.environ["VIO"]
TIMEOUT = 20


class Skip(Exception):
    pass


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(a, b, what=""):
    check(a == b, "%s%r is not %r" % (what + ": " if what else "", a, b))


def contains(text, *words):
    for word in words:
        check(word in text, "%r is not in: %s" % (word, text.strip()))


def vio(*args, program=VIO, **options):
    """Runs to its end: (status, stdout, stderr)."""
    done = subprocess.run((program,) + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=TIMEOUT, **options)
    return done.returncode, done.stdout, done.stderr


def listening(path):
    """Whether somebody listens there; without connecting, which some devices take for their only front-end."""
    with open("/proc/net/unix") as table:
        return any(line.rstrip("\n").endswith(" " + path) and line.split()[3] == "00010000" for line in table)


def wait_for(what, condition, seconds=TIMEOUT):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %d s for %s" % (seconds, what))
        time.sleep(0.01)


class Serve:
    """A vio that runs until stop(); its log goes to a file."""
    running = []

    def __init__(self, folder, *args, word=("serve",), wait="serving", **options):
        self.log_path = os.path.join(folder, "vio-%d.log" % len(os.listdir(folder)))
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen((VIO,) + tuple(word) + args, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log, **options)
        self.pid = self.process.pid
        Serve.running.append(self)
        if wait:
            wait_for("'%s' in the log" % wait, lambda: self.ended() or wait in self.log())
            check(not self.ended(), "vio ended with %s: %s" % (self.process.returncode, self.log()))

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def ended(self):
        return self.process.poll() is not None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=TIMEOUT):
        return self.process.wait(seconds)

    def stop(self):
        """SIGTERM; the exit status, which must be 0."""
        self.signal(signal.SIGTERM)
        equal(self.wait(), 0, "exit status after SIGTERM; log: " + self.log())

    def cpu_ticks(self):
        with open("/proc/%d/stat" % self.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def workers(self):
        """How many worker threads there are (a sanitizer has threads of its own)."""
        count = 0
        for thread in os.listdir("/proc/%d/task" % self.pid):
            with open("/proc/%d/task/%s/comm" % (self.pid, thread)) as comm:
                count += comm.read().startswith("vio-worker-")
        return count

    def memory_kib(self, field="Rss"):
        with open("/proc/%d/smaps_rollup" % self.pid) as rollup:
            for line in rollup:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise AssertionError("no %s in smaps_rollup" % field)


def sanitizer():
    return json.loads(vio("version", "--json")[1])["sanitizer"]


def no_sanitizer(what):
    if sanitizer() != "none":
        raise Skip("%s says nothing about a build with the %s sanitizer" % (what, sanitizer()))


def main():
    tests = [(n, f) for n, f in sys.modules["__main__"].__dict__.items() if n.startswith("test_")]
    failed = 0
    print("1..%d" % len(tests), flush=True)
    for number, (name, function) in enumerate(tests, 1):
        folder = tempfile.mkdtemp(prefix="vio-cli-")
        label = name[5:].replace("_", " ")
        try:
            function(folder)
            print("ok %d - %s" % (number, label), flush=True)
        except Skip as why:
            print("ok %d - %s # SKIP %s" % (number, label, why), flush=True)
        except Exception as error:  # a test reports, whatever happened
            failed += 1
            print("not ok %d - %s" % (number, label))
            print("# %s" % " ".join(str(error).split())[:600], flush=True)
            traceback.print_exc()
        for serve in Serve.running:
            if not serve.ended():
                serve.process.kill()
                serve.wait()
        Serve.running.clear()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)
