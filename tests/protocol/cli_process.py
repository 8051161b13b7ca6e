#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a vio process costs and survives: memory and CPU of an idle one, front-ends that take their memory away, a
second signal while requests hang."""
import os
import shutil
import signal
import struct
import subprocess
import time

from cli_frontend import FrontEnd, BLK_IN
from cli_help import Serve, Skip, check, contains, equal, main, no_sanitizer, wait_for

IDLE_KIB = 8 * 1024


def test_idle_memory(folder):
    """An idle vio with one disk: under 8 MiB resident beyond guest memory, with a front-end there and queues running."""
    no_sanitizer("resident memory")
    image = os.path.join(folder, "disk")
    with open(image, "wb") as disk:
        disk.truncate(64 << 20)
    serve = Serve(folder, "blk,file=%s,queues=4,vhost-user=%s/s" % (image, folder))
    before = serve.memory_kib()
    front = FrontEnd("%s/s" % folder, queues=4, memory=1 << 20)
    for queue in range(4):
        equal(front.read(queue, 4096, queue)[0], 0)
    with_guest = serve.memory_kib()
    print("# resident: %d KiB before a front-end, %d KiB with 4 queues (of them at most 1024 guest memory)"
          % (before, with_guest))
    check(before < IDLE_KIB, "%d KiB before a front-end came" % before)
    check(with_guest - 1024 < IDLE_KIB, "%d KiB with a front-end" % with_guest)
    front.close()
    serve.stop()


def test_idle_cpu(folder):
    """No CPU at all, with poll=off and poll=auto: not one tick, and no system call, in two seconds."""
    no_sanitizer("CPU time")
    serve = Serve(folder, "blk,ram=1M,poll=off,vhost-user=%s/off" % folder, "blk,ram=1M,poll=auto,vhost-user=%s/auto" % folder)
    fronts = [FrontEnd("%s/%s" % (folder, name), queues=2) for name in ("off", "auto")]
    for front in fronts:
        for n in range(50):
            equal(front.read(n, 512, n % 2)[0], 0)
    wait_for("the workers to fall asleep", lambda: asleep(serve))
    ticks = serve.cpu_ticks()
    switches = context_switches(serve.pid)
    time.sleep(2)
    equal(serve.cpu_ticks() - ticks, 0, "ticks")
    equal(context_switches(serve.pid), switches, "context switches of all threads")
    if shutil.which("strace"):
        done = subprocess.run(["timeout", "--signal=INT", "2", "strace", "-f", "-qq", "-c", "-o", folder + "/calls", "-p", str(serve.pid)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        calls = [l.split() for l in open(folder + "/calls").read().splitlines()] if done.returncode in (0, 124, 130) else []
        names = {c[-1] for c in calls if len(c) >= 5 and c[0][0].isdigit()} - {"total"}
        # to be attached to interrupts a wait once; that is all there may be
        check(names <= {"epoll_wait", "restart_syscall"}, "system calls of an idle vio: %s" % names)
    for front in fronts:
        equal(front.read(0, 512)[0], 0)  # and it wakes up
        front.close()
    serve.stop()


def asleep(serve):
    before = context_switches(serve.pid)
    time.sleep(0.3)
    return context_switches(serve.pid) == before


def context_switches(pid):
    total = 0
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, thread)) as status:
            total += sum(int(l.split()[1]) for l in status if "ctxt_switches" in l)
    return total


def test_poll_on_spins(folder):
    """poll=on is the other way round: the test above could not fail otherwise."""
    serve = Serve(folder, "blk,ram=1M,poll=on,queues=1,vhost-user=%s/s" % folder)
    front = FrontEnd("%s/s" % folder)
    equal(front.read(0, 512)[0], 0)
    ticks = serve.cpu_ticks()
    time.sleep(1)
    spent = serve.cpu_ticks() - ticks
    check(spent > 4, "only %d ticks" % spent)  # of 100; the machine may be busy
    front.close()
    wait_for("the worker to stop polling", lambda: quiet(serve))
    serve.stop()


def quiet(serve):
    ticks = serve.cpu_ticks()
    time.sleep(0.3)
    return serve.cpu_ticks() == ticks


def test_memory_taken_away(folder):
    """A front-end makes its memory file shorter while queues run on it: it is sent off, others see nothing of it."""
    serve = Serve(folder, "--threads=1", "blk,ram=1M,name=victim,vhost-user=%s/a" % folder,
                  "blk,ram=1M,name=other,vhost-user=%s/b" % folder)
    other = FrontEnd("%s/b" % folder)
    for round in range(3):
        bad = FrontEnd("%s/a" % folder)
        equal(bad.read(0, 512)[0], 0)
        os.ftruncate(bad.memfd, 0)
        os.write(bad.kick[0], struct.pack("<Q", 1))
        wait_for("the end of the session", lambda: hung_up(bad.socket))
        equal(other.write(1, b"o" * 512), 0)
        equal(other.read(1, 512), (0, b"o" * 512))
        check(not serve.ended(), "vio ended")
        bad.socket.close()
    wait_for("the log", lambda: serve.log().count("shorter") >= 3)
    contains(serve.log(), "victim: ", "guest memory at 0x", "shorter")
    check("other: guest memory" not in serve.log(), "the wrong one is blamed")
    good = FrontEnd("%s/a" % folder)  # and the device works for the next one
    equal(good.read(0, 512)[0], 0)
    good.close()
    other.close()
    serve.stop()


def test_disk_cut(folder):
    """Somebody makes a disk's file shorter while it is mapped: an error for who reads there, and nothing for others."""
    image = os.path.join(folder, "disk")
    with open(image, "wb") as disk:
        disk.write(b"d" * (1 << 20))
    serve = Serve(folder, "--threads=1", "blk,file=%s,name=cut,vhost-user=%s/a" % (image, folder),
                  "blk,ram=1M,name=other,vhost-user=%s/b" % folder)
    front, other = FrontEnd("%s/a" % folder), FrontEnd("%s/b" % folder)
    for n in range(3):
        equal(front.read(1024, 512), (0, b"d" * 512))
        equal(front.read(0, 512), (0, b"d" * 512))
    os.truncate(image, 4096)
    for n in range(3):
        equal(front.read(1024, 512)[0], 1)  # VIRTIO_BLK_S_IOERR
        equal(front.read(0, 512), (0, b"d" * 512))
        equal(other.read(0, 512)[0], 0)
    os.truncate(image, 1 << 20)
    equal(front.read(1024, 512), (0, bytes(512)))
    check(not serve.ended(), "vio ended")
    contains(serve.log(), "cut", "failed: Input/output error")
    front.close()
    other.close()
    serve.stop()


def hung_up(peer):
    try:
        return peer.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_kicks_of_all_kinds(folder):
    """Kick descriptors that are no good eventfds do not hold up the worker that they share with another device."""
    serve = Serve(folder, "--threads=1", "blk,ram=1M,vhost-user=%s/a" % folder, "blk,ram=1M,vhost-user=%s/b" % folder)
    other = FrontEnd("%s/b" % folder)
    bad = FrontEnd("%s/a" % folder)
    # one that blocks, is shared, and is read by us first
    os.set_blocking(bad.kick[0], True)
    for _ in range(200):
        os.write(bad.kick[0], struct.pack("<Q", 1))
        try:
            os.set_blocking(bad.kick[0], False)
            os.read(bad.kick[0], 8)
        except BlockingIOError:
            pass
        os.set_blocking(bad.kick[0], True)
    equal(other.read(0, 512)[0], 0)
    bad.socket.close()
    plain = FrontEnd("%s/a" % folder)
    with open(folder + "/plain", "w+") as regular:
        try:
            plain.send(12, struct.pack("<Q", 0), [regular.fileno()])
        except (OSError, EOFError):
            pass  # refusing it is as good as living with it
    equal(other.read(0, 512)[0], 0)
    plain.socket.close()
    other.close()
    serve.stop()


def fill(eventfd):
    """To the brim, also where a call that nobody waited for comes meanwhile."""
    while True:
        try:
            os.write(eventfd, struct.pack("<Q", (1 << 64) - 2))
            return
        except BlockingIOError:
            os.read(eventfd, 8)


def test_call_that_blocks(folder):
    """A call descriptor that blocks and is full holds the worker that notifies; not the process, and not for ever."""
    serve = Serve(folder, "blk,ram=1M,vhost-user=%s/a" % folder, "blk,ram=1M,vhost-user=%s/b" % folder)
    bad = FrontEnd("%s/a" % folder)
    equal(bad.read(0, 512)[0], 0)
    fill(bad.call[0])
    os.set_blocking(bad.call[0], True)
    bad.put(0, BLK_IN, 0, 512)
    wait_for("the worker to be held", lambda: quiet(serve))
    bad.socket.close()  # the control thread must have the queue back from it
    other = FrontEnd("%s/b" % folder)
    equal(other.read(0, 512)[0], 0)
    again = FrontEnd("%s/a" % folder)
    equal(again.read(0, 512)[0], 0)
    other.close()
    again.close()
    serve.stop()


def test_hundreds_of_devices(folder):
    no_sanitizer("memory of many devices")
    specs = ["blk,null=1M,queues=2,vhost-user=%s/%d" % (folder, n) for n in range(200)]
    serve = Serve(folder, "--log-level=info", *specs)
    for n in (0, 77, 199):
        front = FrontEnd("%s/%d" % (folder, n))
        equal(front.read(0, 512)[0], 0)
        front.close()
    check(serve.memory_kib() < 16 * 1024, "%d KiB for 200 devices" % serve.memory_kib())
    serve.stop()
    equal([n for n in os.listdir(folder) if n.isdigit()], [])


def test_second_signal(folder):
    """A backend that never answers holds up a clean stop; a second SIGTERM ends it all the same."""
    if not shutil.which("nbdkit"):
        raise Skip("nbdkit is not installed")
    nbd = os.path.join(folder, "nbd")
    server = subprocess.Popen(["nbdkit", "-f", "-U", nbd, "--filter=delay", "memory", "1M", "rdelay=60"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("nbdkit", lambda: os.path.exists(nbd))
        serve = Serve(folder, "blk,nbd=nbd+unix:///?socket=%s,vhost-user=%s/s" % (nbd, folder))
        front = FrontEnd("%s/s" % folder)
        front.put(0, BLK_IN, 0, 512)
        time.sleep(0.3)
        serve.signal(signal.SIGTERM)
        time.sleep(1)
        check(not serve.ended(), "it did not wait for the request: this test says nothing")
        serve.signal(signal.SIGTERM)
        equal(serve.wait(5), 1)
        contains(serve.log(), "second signal")
        front.close()
    finally:
        server.kill()
        server.wait()


main()
