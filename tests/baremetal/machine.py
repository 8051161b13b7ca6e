# SPDX-License-Identifier: MIT
"""Boots a bare-metal program in QEMU, and what its tests share: the lines that it prints by device, and TAP."""
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import disk_image

# QEMU's machine for each architecture
MACHINES = {
    "x86_64": ["-machine", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
    "aarch64": ["-machine", "virt", "-cpu", "cortex-a57"],
    "riscv64": ["-machine", "virt"],
}
# What QEMU's exit status says of a program without problems, and of one with them; aarch64: PSCI does not tell
STATUS = {"x86_64": (1, 3), "aarch64": (0, 0), "riscv64": (0, 1)}


COMPILERS = {"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc", "riscv64": "riscv64-linux-gnu-gcc"}


class Failure(Exception):
    pass


class Boot:
    """One run. lines: all that was printed, complete after end()."""

    def __init__(self, arch, program, arguments, options, machine=None):
        self.arch, self.lines, self.fresh = arch, [], queue.Queue()
        command = ["qemu-system-" + arch, *(machine or MACHINES[arch]), "-accel", "tcg", "-m", "128", "-display", "none", "-monitor",
                   "none", "-no-reboot", "-nodefaults", "-serial", "stdio", "-kernel", program, "-append", arguments, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        for line in self.process.stdout:
            line = line.decode("ascii", "replace").strip("\r\n")
            self.lines.append(line)
            self.fresh.put(line)

    def wait_line(self, pattern, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            over = not self.thread.is_alive() # looked at before the queue: then nothing comes behind it
            try:
                line = self.fresh.get(timeout=0.2)
            except queue.Empty:
                if over:
                    break
                continue
            if re.search(pattern, line):
                return line
        raise Failure("no line '%s' came" % pattern)

    def end(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("it did not end within %d s" % seconds)
        self.thread.join(5)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.thread.join(5)

    # what was said

    def last(self):
        return next((l for l in reversed(self.lines) if l.startswith("vio: ")), "")

    def problems(self):
        return [l for l in self.lines if l.startswith("PROBLEM")]

    def devices(self):
        """name -> its lines, without the name."""
        found = {}
        for line in self.lines:
            match = re.match(r"(PROBLEM )?((?:pci|mmio)@\S+): (.*)", line)
            if match:
                found.setdefault(match.group(2), []).append((match.group(1) or "") + match.group(3))
        return found

    def device(self, what):
        """The lines of the one device that is said to be this."""
        found = [lines for lines in self.devices().values() if any(l.startswith(what + " (type ") for l in lines)]
        if len(found) != 1:
            raise Failure("%d devices say that they are a %s" % (len(found), what))
        return found[0]


def find(lines, pattern):
    """The match in the one line that has it."""
    matches = [m for m in (re.search(pattern, l) for l in lines) if m]
    if len(matches) != 1:
        raise Failure("%d lines have '%s' in:\n%s" % (len(matches), pattern, "\n".join(lines)))
    return matches[0]


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def point(self, name, test, *args):
        self.count += 1
        try:
            test(*args)
            print("ok %d - %s" % (self.count, name))
        except Exception as error:
            self.failed += 1
            print("not ok %d - %s" % (self.count, name))
            print("# %s: %s" % (type(error).__name__, str(error).replace("\n", "\n# ")))
        sys.stdout.flush()

    def end(self):
        print("1..%d" % self.count)
        sys.exit(1 if self.failed else 0)


def skip_without(what, arch, program):
    """Ends this test where something is missing. program: None: its compiler."""
    missing = [t for t in ["qemu-system-" + arch] + disk_image.TOOLS if not shutil.which(t)]
    if program is None:
        missing.append(COMPILERS[arch])
    if missing:
        print("ok 1 - %s # SKIP not installed: %s (scripts/install-deps.sh test guest)\n1..1" % (what, ", ".join(missing)))
        sys.exit(0)


def folder():
    return tempfile.TemporaryDirectory(prefix="vio-baremetal-")


def keep(path, content):
    with open(path, "wb") as f:
        f.write(content)
    return path
