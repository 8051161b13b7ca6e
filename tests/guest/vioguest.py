# SPDX-License-Identifier: MIT
"""What the guest tests share: a disk that vio serves (Disk), a guest in QEMU (Guest), and an end
that prints what happened (main).

A test is a function that gets a folder of its own and raises Failure, or Skip, or neither:

    def test(folder):
        disk = Disk(folder, size=64 << 20)
        with Guest(folder, [disk], "check boots lsblk /dev/vda") as guest:
            guest.wait_end(60)

    main(test)

The script given to the guest is run by tests/guest/init, which has the words ok, fail and check.
"""
import ctypes
import fcntl
import hashlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
GUEST_DIR = os.path.abspath(os.environ.get("VIO_GUEST_DIR", os.path.join(BUILD, "guest")))
VIO = os.environ.get("VIO", os.path.join(BUILD, "vio"))
QEMU = "qemu-system-x86_64"

running = []  # what is to be ended when the test ends, in whatever way


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def say(text):
    print("%6.1f s  %s" % (time.monotonic() - say.begun, text), flush=True)


say.begun = time.monotonic()


class Lines:
    """The lines a process prints, collected by a thread; also written to a file."""

    def __init__(self, stream, path):
        self.all, self.fresh, self.path = [], queue.Queue(), path
        self.thread = threading.Thread(target=self._collect, args=(stream,), daemon=True)
        self.thread.start()

    def _collect(self, stream):
        with open(self.path, "a") as log:
            for raw in iter(stream.readline, b""):
                line = raw.decode(errors="replace").rstrip("\r\n")
                log.write(line + "\n")
                log.flush()
                self.all.append(line)
                self.fresh.put(line)
        self.fresh.put(None)

    def tail(self, n=25):
        return "\n".join("    | " + l for l in self.all[-n:])


def end_with_us():
    """In a child: it ends when the test does, also where that was killed."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    def __init__(self, name, command, folder):
        self.name, self.command = name, command
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, start_new_session=True,
                                      preexec_fn=end_with_us)
        self.lines = Lines(self.popen.stdout, os.path.join(folder, name + ".log"))
        running.append(self)

    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        if self.alive():
            self.popen.kill()
        self.popen.wait()
        self.lines.thread.join(5)
        if self in running:
            running.remove(self)

    def terminate(self, seconds):
        """Asks it to end; the exit code, or Failure where it did not in time."""
        if self.alive():
            self.popen.terminate()
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure("%s still runs %g s after SIGTERM\n%s" % (self.name, seconds, self.lines.tail()))
        self.kill()
        return code


def write_pattern(path, size):
    """Fills a file with bytes that differ from place to place."""
    with open(path, "wb") as out:
        block = hashlib.sha512(path.encode()).digest() * 2048  # 128 KiB
        for n in range(0, size, len(block)):
            out.write((n.to_bytes(8, "little") + block[8:])[:size - n])


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        for piece in iter(lambda: data.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


class Serve:
    """One `vio serve` process with any number of devices. prefix: what it is run by ("ip netns exec ...")."""
    count = 0

    def __init__(self, folder, specs, prefix=()):
        self.folder, self.specs, self.process, self.prefix = folder, specs, None, list(prefix)
        Serve.count += 1
        self.name = "vio%d" % Serve.count

    def start(self, sockets):
        command = self.prefix + [VIO, "serve"] + self.specs
        self.process = Process(self.name, command, self.folder)
        deadline = time.monotonic() + 10
        while not all(listening(s, self.process.popen.pid) for s in sockets):
            if not self.process.alive():
                raise Failure("%s ended at once, exit code %s\n%s" % (
                    " ".join(command), self.process.popen.returncode, self.process.lines.tail()))
            if time.monotonic() > deadline:
                raise Failure("%s: no socket after 10 s\n%s" % (" ".join(command), self.process.lines.tail()))
            time.sleep(0.01)

    def stop(self):
        """SIGTERM: vio ends by itself, cleanly."""
        code = self.process.terminate(10)
        if code != 0:
            raise Failure("vio ended with %s after SIGTERM\n%s" % (code, self.process.lines.tail()))

    def log(self):
        return "\n".join(self.process.lines.all)


def listening(path, pid):
    """Whether somebody listens there, in the network namespace of that process, without connecting (which would use up
    a front-end's place)."""
    try:
        with open("/proc/%d/net/unix" % pid) as table:
            return any(line.rstrip("\n").endswith(" " + path) and line.split()[3] == "00010000"
                       for line in table)
    except OSError:
        return os.path.exists(path)


class Disk:
    """An image, its vio (one of its own, unless start=False and serve_together), and its QEMU device.

    source: what stands behind the disk instead of an image, as in the spec ("ram=16M"); keys: further
    KEY=VALUE of the spec; device: further properties of vhost-user-blk-pci."""
    count = 0

    def __init__(self, folder, size=64 << 20, image=None, queues=1, keys="", device="", reconnect=False,
                 start=True, source=None):
        Disk.count += 1
        self.id = "disk%d" % Disk.count
        self.folder, self.queues, self.device, self.reconnect = folder, queues, device, reconnect
        self.image = image or os.path.join(folder, self.id + ".img")
        if image is None and source is None:
            with open(self.image, "wb") as out:
                out.truncate(size)
        self.socket = os.path.join(folder, self.id + ".sock")
        self.spec = "blk,%s,queues=%d,vhost-user=%s" % (source or "file=" + self.image, queues, self.socket)
        if keys:
            self.spec += "," + keys
        self.serve = Serve(folder, [self.spec])
        if start:
            self.start()

    def start(self):
        self.serve.start([self.socket])

    def qemu(self):
        return ["-chardev", "socket,id=%s,path=%s%s" % (self.id, self.socket,
                                                        ",reconnect=1" if self.reconnect else ""),
                "-device", "vhost-user-blk-pci,id=dev-%s,chardev=%s,num-queues=%d%s%s" % (
                    self.id, self.id, self.queues, "," if self.device else "", self.device)]


def direct_images(folder, names, size):
    """New images where O_DIRECT works: in the folder, or, where that lies on an old tmpfs, beside the guest's kernel."""
    paths = []
    for name in names:
        for place in (folder, GUEST_DIR):
            path = os.path.join(place, name)
            with open(path, "wb") as out:
                out.truncate(size)
            try:
                os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
                break
            except OSError:
                os.unlink(path)
        else:
            raise Skip("no file system here takes O_DIRECT: neither %s nor %s" % (folder, GUEST_DIR))
        paths.append(path)
    return paths


def serve_together(folder, disks):
    """Gives disks that were made with start=False one vio process."""
    serve = Serve(folder, [d.spec for d in disks])
    for disk in disks:
        disk.serve = serve
    serve.start([d.socket for d in disks])
    return serve


def cpio_entry(name, data, mode, number):
    name = name.encode() + b"\0"
    head = "070701" + "".join("%08X" % f for f in (
        number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0))
    entry = head.encode() + name
    entry += b"\0" * (-len(entry) % 4) + data
    return entry + b"\0" * (-len(entry) % 4)


def image():
    """Makes kernel and initramfs if they are not there, once at a time."""
    os.makedirs(GUEST_DIR, exist_ok=True)
    with open(os.path.join(GUEST_DIR, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        making = subprocess.Popen([os.path.join(TOP, "scripts", "guest-image.sh")],
                                  env=dict(os.environ, VIO_GUEST_DIR=GUEST_DIR), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = []
        for line in making.stdout:
            lines.append(line)
            say(line.rstrip("\n"))
        if making.wait():
            raise Failure("no guest to boot: " + "".join(lines[-3:]))


def accelerator():
    """kvm where it really runs Linux, else tcg: /dev/kvm may be there and take minutes for a boot, so
    the kernel is booted with it once and timed. What was found is kept until the machine restarts."""
    with open("/proc/sys/kernel/random/boot_id") as identity:
        boot = identity.read().strip()
    kept = os.path.join(GUEST_DIR, "accelerator")
    with open(os.path.join(GUEST_DIR, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(kept):
            with open(kept) as known:
                found, of_boot = known.read().split()
            if of_boot == boot:
                return found
        found = "tcg"
        if os.access("/dev/kvm", os.R_OK | os.W_OK):
            say("trying whether KVM runs Linux here (8 s at most)")
            trial = Process("kvm-trial", [
                QEMU, "-accel", "kvm", "-cpu", "host", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot",
                "-serial", "stdio", "-kernel", os.path.join(GUEST_DIR, "vmlinuz"),
                "-append", "console=ttyS0 panic=-1"], GUEST_DIR)
            deadline = time.monotonic() + 8
            while time.monotonic() < deadline and trial.alive():
                # with no initramfs the kernel ends in a panic: then it ran
                if any("Unable to mount root" in l for l in trial.lines.all):
                    found = "kvm"
                    break
                time.sleep(0.05)
            trial.kill()
            say("it does" if found == "kvm" else "it does not: the guest runs in software emulation")
        with open(kept, "w") as known:
            known.write("%s %s\n" % (found, boot))
    return found


class Qmp:
    def __init__(self, path, process):
        deadline = time.monotonic() + 10
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline or not process.alive():
                    raise Failure("QEMU did not start\n" + process.lines.tail())
                time.sleep(0.02)
        self.socket.settimeout(60)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline() or "{}")
            if "return" in answer:
                return answer["return"]
            if "error" in answer or not answer:
                raise Failure("QMP %s: %s" % (command, answer.get("error", "no answer")))


class Guest:
    """A guest that boots at once. `script` is shell for tests/guest/init; `extra` is what inside.py's cpio() gives. Use it
    with `with`."""
    count = 0
    what = "QEMU" # that runs it

    def __init__(self, folder, disks, script, smp=2, memory=512, reboots=False, incoming=None, append="",
                 share=True, quiet=False, machine=(), extra=b""):
        image()
        Guest.count += 1
        self.name = "guest%d" % Guest.count
        self.folder, self.disks = folder, disks
        self.results, self.ended = {}, False
        self.kernel_errors_expected = False
        self.quiet = quiet  # the caller tells what the guest says
        self.socket = os.path.join(folder, self.name + ".qmp")
        initrd = os.path.join(folder, self.name + ".initrd")
        with open(os.path.join(GUEST_DIR, "initramfs.img"), "rb") as base, open(initrd, "wb") as out:
            shutil.copyfileobj(base, out)
            out.write(extra)
            out.write(cpio_entry("test.sh", script.encode() + b"\n", 0o100755, 1))
            out.write(cpio_entry("TRAILER!!!", b"", 0, 0))
        accel = accelerator()
        command = [
            QEMU, "-accel", "kvm" if accel == "kvm" else "tcg,thread=multi",
            "-cpu", "host" if accel == "kvm" else "max", "-smp", str(smp),
            "-machine", "q35,memory-backend=mem", "-m", str(memory),
            "-object", "memory-backend-memfd,id=mem,size=%dM,share=%s" % (memory, "on" if share else "off"),
            "-nodefaults", "-display", "none", "-serial", "stdio",
            "-qmp", "unix:%s,server=on,wait=off" % self.socket,
            "-kernel", os.path.join(GUEST_DIR, "vmlinuz"), "-initrd", initrd,
            "-append", "console=ttyS0 quiet panic=-1 " + append]
        command += machine # devices that the disks need before them
        if not reboots:
            command.append("-no-reboot")
        if incoming:
            command += ["-incoming", incoming]
        for disk in disks:
            command += disk.qemu()
        self.process = Process(self.name, command, folder)
        self._qmp = None

    @property
    def qmp(self):
        if self._qmp is None:
            self._qmp = Qmp(self.socket, self.process)
        return self._qmp

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.kill()

    def type(self, line):
        """A line for the guest's console."""
        self.process.popen.stdin.write(line.encode() + b"\n")
        self.process.popen.stdin.flush()

    def take(self, line):
        """Notes what a line from the guest says; the words after VIO-TEST:, or None."""
        found = re.search(r"VIO-TEST: (.*)", line)
        if not found:
            if re.search(r"Kernel panic|BUG:", line) or (
                    not self.kernel_errors_expected and re.search(r"I/O error|EXT4-fs error", line)):
                self.results["kernel"] = line
            return None
        words = found.group(1).split(None, 2)
        if words[0] == "ok":
            if not self.quiet:
                say("guest: ok " + " ".join(words[1:]))
            self.results[words[1]] = None
        elif words[0] == "fail":
            say("guest: FAIL " + " ".join(words[1:]))
            self.results[words[1]] = words[2] if len(words) > 2 else "failed"
        elif words[0] == "end":
            self.ended = True
        elif words[0] != "booted" and not self.quiet:
            say("guest: " + found.group(1))
        return found.group(1)

    def wait(self, word, seconds, check=True):
        """Waits until the guest says a line that starts with `word`; the line. Failure when it says
        that something failed, or ends, or nothing for so long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.process.lines.fresh.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failure("the guest did not say '%s' in %g s\n%s" % (word, seconds, self.process.lines.tail()))
            if line is None:
                raise Failure("%s ended (exit code %s) before the guest said '%s'\n%s"
                              % (self.what, self.process.popen.wait(), word, self.process.lines.tail()))
            text = self.take(line)
            if check:
                self.check()
            if text is not None and text.startswith(word):
                return text

    def check(self):
        bad = {name: why for name, why in self.results.items() if why}
        if bad:
            time.sleep(0.5)  # what else it has to say
            raise Failure("in the guest: " + "; ".join("%s: %s" % b for b in bad.items()) +
                          "\n" + self.process.lines.tail())

    def wait_end(self, seconds, expect=()):
        """Waits for the end of the script and for QEMU's, and for no failure; `expect` must be ok."""
        self.wait("end", seconds)
        missing = [name for name in expect if name not in self.results]
        if missing:
            raise Failure("the guest's script never came to: " + " ".join(missing))
        try:
            code = self.process.popen.wait(30)
        except subprocess.TimeoutExpired:
            raise Failure("QEMU did not end after the guest did\n" + self.process.lines.tail())
        if code:
            raise Failure("QEMU ended with %d\n%s" % (code, self.process.lines.tail()))
        self.process.kill()


def migrate(source, target, path):
    """Moves a guest to a QEMU that was started with incoming="unix:PATH": seconds in all, ms of standing still."""
    begun = time.monotonic()
    while not os.path.exists(path):
        if time.monotonic() - begun > 20 or not target.process.alive():
            raise Failure("the target QEMU does not listen\n" + target.process.lines.tail())
        time.sleep(0.05)
    begun = time.monotonic()
    source.qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 33, "downtime-limit": 1000})
    source.qmp("migrate", uri="unix:" + path)
    while True:
        state = source.qmp("query-migrate")
        if state.get("status") == "completed":
            break
        if state.get("status") in ("failed", "cancelled"):
            raise Failure("migration %s: %s\n%s" % (state["status"], state.get("error-desc"),
                                                    target.process.lines.tail()))
        if time.monotonic() - begun > 90:
            raise Failure("migration does not end: %s" % state)
        time.sleep(0.05)
    # the target runs once it has loaded the last of the state
    while target.qmp("query-status")["status"] != "running":
        if time.monotonic() - begun > 90:
            raise Failure("the target does not run: %s" % target.qmp("query-status"))
        time.sleep(0.05)
    return time.monotonic() - begun, state.get("downtime", 0)


def fsck(path):
    """The host's own look at a file system that the guest made."""
    done = subprocess.run(["/sbin/e2fsck", "-fn", path], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failure("e2fsck on the host finds faults in the image:\n" + done.stdout[-2000:])
    say("host: e2fsck finds the image clean")


def main(test, program=QEMU):
    if not shutil.which(program):
        print("SKIP: %s is not installed (scripts/install-deps.sh guest)" % program)
        sys.exit(77)
    if not os.access(VIO, os.X_OK):
        print("SKIP: there is no %s (make)" % VIO)
        sys.exit(77)
    folder = tempfile.mkdtemp(prefix="vio-guest-")
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(Failure("ended from outside")))
    code = 1
    try:
        test(folder)
        say("passed")
        code = 0
    except Skip as why:
        print("SKIP: %s" % why)
        code = 77
    except Failure as why:
        print("FAILED: %s" % why)
        for process in running:
            print("  %s, %s:\n%s" % (process.name, "running" if process.alive() else "ended",
                                     process.lines.tail(30)))
    finally:
        for process in list(running):
            process.kill()
        if os.environ.get("VIO_GUEST_KEEP"):
            print("kept: " + folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)
