# SPDX-License-Identifier: MIT
"""Guests that are User Mode Linux: Linux as a process, whose own vhost-user front-end has all queues of a network card,
the control queue too, which QEMU keeps to itself. Its root is this machine's, read-only, so that it has this machine's
tools; it boots in about two seconds, and does what it is told line by line, as a Host of vionet.py does.

    nics = [UmlNic(folder, "net,switch=a,pairs=4") for _ in range(2)]
    vio = Vio(folder, nics)
    with Uml(folder, nics[:1], "192.0.2.1/24") as a, Uml(folder, nics[1:], "192.0.2.2/24") as b:
        a.ready().run("ethtool -L eth0 combined 2")

It has one processor, takes no packed rings (it has the queues begin at position 0, which on a packed ring is one that
has wrapped), 256 entries a queue, and never connects again. It is Debian's package, unpacked and not installed."""
import fcntl
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import vionet
from vioguest import GUEST_DIR, VIO, Disk, Failure, Process, Serve, Skip, say

NET, BLOCK = 1, 2 # device ids of virtio

INIT = r"""#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
[ -e /dev/null ] || mount -t devtmpfs dev /dev
exec 2>&1
[ -d /dev/pts ] && mount -t devpts devpts /dev/pts
mkdir -p /tmp/host /tmp/modules/lib/modules
mount -t hostfs -o %(folder)s none /tmp/host
mount -t hostfs -o %(modules)s none /tmp/modules/lib/modules
modprobe() { /sbin/modprobe -d /tmp/modules "$@"; }
say() { echo "VIO-TEST: $*"; }
say booted $(cut -d' ' -f1 /proc/uptime)
for module in ipv6 %(drivers)s; do
    modprobe $module || say fail module $module
done
%(script)s
say end
sync
/bin/busybox poweroff -f
"""


# ---------------------------------------------------------------- what is unpacked

def unpacked(package, program):
    """The folder below which a Debian package has this program: / where it is installed, else where it was unpacked."""
    if os.path.exists("/" + program):
        return "/"
    root = os.path.join(GUEST_DIR, "packages", package)
    os.makedirs(GUEST_DIR, exist_ok=True)
    with open(os.path.join(GUEST_DIR, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(os.path.join(root, program)):
            return root
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise Skip("no %s here, and no Debian to take its package from" % program)
        say("downloading and unpacking %s (it is not installed)" % package)
        with tempfile.TemporaryDirectory() as work:
            os.chmod(work, 0o755)
            done = subprocess.run(["apt-get", "download", package], cwd=work, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            debs = [os.path.join(work, name) for name in os.listdir(work) if name.endswith(".deb")]
            if done.returncode or not debs:
                raise Skip("apt-get could not download %s: %s" % (package, " ".join(done.stdout.split()[-20:])))
            shutil.rmtree(root, ignore_errors=True)
            os.makedirs(os.path.dirname(root), exist_ok=True)
            subprocess.run(["dpkg", "-x", debs[0], root], check=True, stdin=subprocess.DEVNULL)
    if not os.path.exists(os.path.join(root, program)):
        raise Skip("the package %s has no %s" % (package, program))
    return root


def needs(*tools):
    missing = [t for t in tools if not shutil.which(t, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    if missing:
        raise Skip("not installed: %s (scripts/install-deps.sh guest)" % ", ".join(missing))


def check_shm():
    """It keeps its guest's memory in a file there and runs what is in it."""
    try:
        with tempfile.TemporaryFile(dir="/dev/shm") as file:
            file.truncate(4096)
            mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError as error:
        raise Skip("User Mode Linux cannot run here: no executable files in /dev/shm (%s)" % error)


# ---------------------------------------------------------------- devices

class UmlNic(vionet.Nic):
    """A port of vio for a User Mode Linux, which wants the configuration, and split rings."""
    virtio_id = NET
    driver = "virtio_net"

    def __init__(self, folder, spec, **more):
        super().__init__(folder, spec, **more)
        self.name = "uml%d" % self.number
        self.spec = "%s,config=on,packed=off,mac=%s,name=%s,vhost-user=%s" % (spec, self.mac, self.name, self.socket)


class UmlDisk(Disk):
    virtio_id = BLOCK
    driver = "virtio_blk"

    def __init__(self, folder, keys="", **more):
        self.name = "umldisk%d" % (Disk.count + 1)
        super().__init__(folder, keys="packed=off,name=%s%s" % (self.name, "," + keys if keys else ""), start=False,
                         **more)


# ---------------------------------------------------------------- the guest

class GroupProcess(Process):
    """User Mode Linux is many processes: all of them end, also where the test is killed."""

    def __init__(self, name, command, folder):
        super().__init__(name, command, folder)
        ours, self.watched = os.pipe() # nobody else keeps the end that is written to: it ends with the test
        self.watcher = subprocess.Popen(["/bin/sh", "-c", "read x; kill -9 -%d" % self.popen.pid], stdin=ours,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(ours)

    def kill(self):
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        super().kill()
        if self.watched is not None:
            self.watcher.kill() # before its pipe ends: the number of the group may soon be somebody else's
            self.watcher.wait()
            os.close(self.watched)
            self.watched = None


class Uml(vionet.Host):
    """A guest with these devices, eth0 up with these addresses."""
    count = 0
    what = "User Mode Linux"

    def __init__(self, folder, devices, *addresses, setup="", memory=192, drivers=()):
        needs("busybox", "modprobe", "ip", "ethtool")
        check_shm()
        root = unpacked("user-mode-linux", "usr/bin/linux.uml")
        Uml.count += 1
        self.name = "uml-guest%d" % Uml.count
        self.folder, self.disks = folder, devices
        self.results, self.ended, self.quiet, self.kernel_errors_expected = {}, False, False, False
        nic = any(d.virtio_id == NET for d in devices)
        lines = ["ip link set eth0 up"] * nic + ["ip address add %s dev eth0" % a for a in addresses] + [setup]
        init = os.path.join(folder, self.name + ".init")
        with open(init, "w") as out:
            out.write(INIT % {"folder": folder, "modules": os.path.join(root, "usr/lib/uml/modules"),
                              "drivers": " ".join(sorted({d.driver for d in devices} | set(drivers))),
                              "script": vionet.SCRIPT % {"setup": "\n".join(lines)}})
        os.chmod(init, 0o755)
        # at random addresses its memory may come to lie far behind its program, and be that much larger
        still = ["setarch", "-R"] if shutil.which("setarch") else []
        command = still + [os.path.join(root, "usr/bin/linux.uml"), "mem=%dM" % memory, "rootfstype=hostfs", "rootflags=/",
                           "ro", "init=" + init, "con=null", "con0=fd:0,fd:1", "ssl=null", "quiet",
                           "umid=" + self.name, "uml_dir=" + os.path.join(folder, "uml")]
        command += ["virtio_uml.device=%s:%d" % (d.socket, d.virtio_id) for d in devices]
        self.process = GroupProcess(self.name, ["env", "-u", "TMPDIR", "-u", "TMP", "-u", "TEMP"] + command, folder)

    def ready(self, seconds=40):
        try:
            return super().ready(seconds)
        except Failure:
            if not self.process.alive() and not any("VIO-TEST" in l for l in self.process.lines.all):
                raise Skip("User Mode Linux does not boot here: " + " / ".join(self.process.lines.all[-3:]))
            raise

    def bye(self):
        self.type("bye")
        self.wait("end", 30)
        try:
            self.process.popen.wait(20)
        except subprocess.TimeoutExpired:
            raise Failure("%s did not end\n%s" % (self.name, self.process.lines.tail()))
        self.process.kill()


# ---------------------------------------------------------------- what is asked of vio

class Vio(Serve):
    """vio with all these devices and a control socket."""

    def __init__(self, folder, devices):
        self.control = os.path.join(folder, "control%d" % Serve.count)
        super().__init__(folder, ["--control=" + self.control] + [d.spec for d in devices])
        self.start([d.socket for d in devices])

    def ctl(self, *words):
        done = subprocess.run([VIO, "ctl", self.control] + list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=20)
        if done.returncode:
            raise Failure("vio ctl %s: %s" % (" ".join(words), done.stdout))
        return done.stdout

    def counters(self, device):
        found = [d for d in json.loads(self.ctl("counters", "--json"))["devices"] if d["name"] == device.name]
        found[0]["queue"] = {q["queue"]: q for q in found[0]["queues"]}
        return found[0]

    def queue(self, device, number, what):
        return self.counters(device)["queue"].get(number, {}).get(what, 0)


# ---------------------------------------------------------------- what is asked of a guest

def statistics(guest, card="eth0"):
    """ethtool -S: what the driver counts."""
    said = guest.run("ethtool -S %s >/tmp/S; cut -c6- /tmp/S | grep _packets: ; cut -c6- /tmp/S | grep _bytes:" % card)
    return {line.split(":")[0]: int(line.split(":")[1]) for line in said.splitlines()}


def script(guest, text):
    """The command by which the guest runs this Python: it sees the test's folder."""
    with tempfile.NamedTemporaryFile("w", dir=guest.folder, suffix=".py", delete=False) as out:
        out.write(text)
    return "%s /tmp/host/%s" % (sys.executable, os.path.basename(out.name))


def python(guest, text, seconds=30):
    return guest.run(script(guest, text), seconds)


def no_complaints(guest):
    """A driver whose command on the control queue is refused says so in the kernel's log, and often nowhere else."""
    code, said = guest.try_run("dmesg | grep -E 'WARNING|BUG|rror|[Ff]ailed|reports|eth0: ' | grep -v -E "
                               "'Kernel command line|ubd device|becomes ready|mmapper'")
    if code == 0:
        raise Failure("%s: the kernel complains:\n%s" % (guest.name, said))
