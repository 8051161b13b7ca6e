#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The life of `vio serve`: sockets come and go, signals, the pid file, the log, systemd's conventions, and disks that
work through all of it."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from cli_frontend import FrontEnd
from cli_help import Serve, VIO, check, contains, equal, main, vio, wait_for


def test_serves_a_disk(folder):
    image = os.path.join(folder, "disk")
    with open(image, "wb") as disk:
        disk.truncate(1 << 20)
    sock = os.path.join(folder, "s")
    serve = Serve(folder, "blk,file=%s,vhost-user=%s" % (image, sock))
    front = FrontEnd(sock)
    equal(front.capacity(), 1 << 20)
    equal(front.write(3, b"\x5a" * 1024), 0)
    equal(front.read(3, 1024), (0, b"\x5a" * 1024))
    equal(front.read(0, 512), (0, bytes(512)))
    equal(front.read(2047, 1024)[0], 1)  # past the end: IOERR
    front.close()
    with open(image, "rb") as disk:
        equal(disk.read(4096), bytes(1536) + b"\x5a" * 1024 + bytes(1536))
    wait_for("the front-end's end in the log", lambda: len(serve.log().splitlines()) >= 3)
    again = FrontEnd(sock)  # and the next one
    equal(again.read(3, 1024), (0, b"\x5a" * 1024))
    serve.stop()
    check(not os.path.exists(sock), "the socket is still there")
    again.close()


def test_many_devices(folder):
    specs = ["blk,ram=%dM,vhost-user=%s/%d" % (n, folder, n) for n in range(1, 6)]
    serve = Serve(folder, "--threads=2", *specs)
    fronts = [FrontEnd("%s/%d" % (folder, n), queues=2) for n in range(1, 6)]
    for n, front in enumerate(fronts, 1):
        equal(front.capacity(), n << 20)
        for queue in range(2):
            equal(front.write(0, bytes([n]) * 512, queue), 0)
    for n, front in enumerate(fronts, 1):
        equal(front.read(0, 512, 1), (0, bytes([n]) * 512))
    equal(serve.workers(), 2, "workers of --threads=2")
    serve.stop()
    equal([n for n in os.listdir(folder) if n.isdigit()], [], "sockets that are left")


def test_threads_come_late(folder):
    serve = Serve(folder, "blk,ram=1M,threads=2,vhost-user=%s/s" % folder)
    equal(serve.workers(), 0, "workers before a front-end came")
    front = FrontEnd("%s/s" % folder, queues=2)
    equal(front.read(0, 512, 1)[0], 0)
    equal(serve.workers(), 2, "workers of two queues with threads=2")
    front.close()
    serve.stop()


def test_connects(folder):
    path = os.path.join(folder, "front-end")
    serve = Serve(folder, "blk,ram=1M,connect=on,vhost-user=" + path)
    time.sleep(0.2)  # nobody listens yet
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1)
    listener.settimeout(10)
    for _ in range(2):  # and again when it was lost
        peer, _ = listener.accept()
        front = FrontEnd(peer)
        equal(front.read(0, 512)[0], 0)
        front.close()
    serve.stop()
    check(os.path.exists(path), "vio removed a socket that is not its own")


def test_inherited_connected(folder):
    ours, theirs = socket.socketpair()
    serve = Serve(folder, "blk,ram=1M,fd=%d" % theirs.fileno(), pass_fds=[theirs.fileno()])
    theirs.close()
    front = FrontEnd(ours)
    equal(front.write(1, b"x" * 512), 0)
    equal(front.read(1, 512), (0, b"x" * 512))
    front.close()
    equal(serve.wait(), 0, "exit status when the only front-end is gone")


def test_inherited_listening(folder):
    path = os.path.join(folder, "s")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1)
    serve = Serve(folder, "blk,ram=1M,fd=%d" % listener.fileno(), pass_fds=[listener.fileno()])
    listener.close()
    for _ in range(2):
        front = FrontEnd(path)
        equal(front.read(1, 512)[0], 0)
        front.close()
    serve.stop()
    check(os.path.exists(path), "vio removed a socket that is not its own")


def test_inherited_wrong(folder):
    with open(os.path.join(folder, "plain"), "w") as plain:
        status, _, err = vio("serve", "blk,ram=1M,fd=%d" % plain.fileno(), pass_fds=[plain.fileno()])
        equal(status, 1)
        contains(err, "not a UNIX stream socket")
    udp = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    status, _, err = vio("serve", "blk,ram=1M,fd=%d" % udp.fileno(), pass_fds=[udp.fileno()])
    equal(status, 1)
    contains(err, "not a UNIX stream socket")


def start_as_systemd(folder, names, specs, listen_pid=None):
    """Sockets at 3, 4... with LISTEN_PID of the process that becomes vio, as systemd does it."""
    listeners = []
    for name in names:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(os.path.join(folder, name))
        listener.listen(1)
        listeners.append(listener)
    inherited = [l.fileno() for l in listeners]
    script = ("import os, sys\n"
              "fds = [os.dup(fd) for fd in %r]\n"
              "high = [__import__('fcntl').fcntl(fd, 0, 100) for fd in fds]\n"
              "for n, fd in enumerate(high): os.dup2(fd, 3 + n)\n"
              "os.closerange(3 + len(high), 200)\n"
              "os.environ.update(LISTEN_PID=%s, LISTEN_FDS='%d', LISTEN_FDNAMES=%r)\n"
              "os.execv(sys.argv[1], sys.argv[1:])\n"
              % (inherited, "str(os.getpid())" if listen_pid is None else repr(str(listen_pid)), len(names),
                 ":".join(names)))
    log = os.path.join(folder, "log")
    process = subprocess.Popen([sys.executable, "-c", script, VIO, "serve"] + specs, pass_fds=inherited,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(log, "w"))
    for listener in listeners:
        listener.close()
    return process, log


def test_systemd(folder):
    process, log = start_as_systemd(folder, ["first", "blk-c", "second"],
                                    ["blk,ram=1M,vhost-user=systemd", "blk,ram=2M", "blk,ram=3M,name=blk-c"])
    try:
        for name, size in (("first", 1), ("blk-c", 3), ("second", 2)):  # in order, but by name where there is one
            front = FrontEnd(os.path.join(folder, name))
            equal(front.capacity(), size << 20, name)
            front.close()
        process.send_signal(signal.SIGTERM)
        equal(process.wait(20), 0, open(log).read())
        check(os.path.exists(os.path.join(folder, "first")), "vio removed systemd's socket")
    finally:
        process.kill()


def test_systemd_too_few(folder):
    process, log = start_as_systemd(folder, ["one"], ["blk,ram=1M,vhost-user=systemd", "blk,ram=2M,vhost-user=systemd"])
    equal(process.wait(20), 1)
    contains(open(log).read(), "blk1", "2 devices", "handed over 1", "ListenStream=")
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    # LISTEN_PID is somebody else's: the sockets are not ours
    process, log = start_as_systemd(folder, ["one"], ["blk,ram=1M"], listen_pid=1)
    equal(process.wait(20), 2)
    contains(open(log).read(), "where its front-end is")


def test_notify(folder):
    path = os.path.join(folder, "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(10)
    serve = Serve(folder, "blk,ram=1M,vhost-user=%s/s" % folder, env=dict(os.environ, NOTIFY_SOCKET=path))
    equal(manager.recv(100), b"READY=1")
    check(os.path.exists(os.path.join(folder, "s")), "ready without a socket")
    serve.stop()
    equal(manager.recv(100), b"STOPPING=1")


def test_signals(folder):
    for number in (signal.SIGTERM, signal.SIGINT):
        serve = Serve(folder, "blk,ram=1M,vhost-user=%s/s" % folder)
        front = FrontEnd("%s/s" % folder)
        serve.signal(signal.SIGPIPE)
        equal(front.read(0, 512)[0], 0)
        serve.signal(number)
        equal(serve.wait(), 0, serve.log())
        check(not os.path.exists("%s/s" % folder), "the socket is still there")
        contains(serve.log(), "stopping")
        front.close()


def test_orphaned_socket(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "blk,ram=1M,vhost-user=" + path)
    serve.signal(signal.SIGKILL)
    serve.wait()
    check(os.path.exists(path), "SIGKILL left no socket: this test says nothing")
    serve = Serve(folder, "blk,ram=1M,vhost-user=" + path)
    front = FrontEnd(path)
    equal(front.read(0, 512)[0], 0)
    front.close()
    serve.stop()


def test_pidfile(folder):
    path, sock = os.path.join(folder, "pid"), os.path.join(folder, "s")
    serve = Serve(folder, "--pidfile=" + path, "blk,ram=1M,vhost-user=" + sock)
    with open(path) as pidfile:
        equal(pidfile.read(), "%d\n" % serve.pid)
    status, _, _ = vio("serve", "--pidfile=" + path, "blk,ram=1M,vhost-user=" + sock)  # the socket is in use
    equal(status, 1)
    check(os.path.exists(path), "one that failed removed the pid file of another")
    serve.stop()
    check(not os.path.exists(path), "the pid file is still there")
    status, _, err = vio("serve", "--pidfile=/nowhere/pid", "blk,ram=1M,vhost-user=" + sock)
    equal(status, 1)
    contains(err, "/nowhere/pid", "No such file")
    check(not os.path.exists(sock), "one that failed left its socket")


def test_resize(folder):
    image = os.path.join(folder, "disk")
    with open(image, "wb") as disk:
        disk.truncate(1 << 20)
    serve = Serve(folder, "blk,file=%s,vhost-user=%s/s" % (image, folder))
    front = FrontEnd("%s/s" % folder)
    equal(front.capacity(), 1 << 20)
    os.truncate(image, 5 << 20)
    serve.signal(signal.SIGHUP)
    wait_for("the new size", lambda: front.capacity() == 5 << 20)
    equal(front.write((4 << 20) // 512, b"y" * 512), 0)
    front.close()
    serve.stop()


def test_log_plain(folder):
    serve = Serve(folder, "blk,ram=1M,vhost-user=%s/s" % folder)
    front = FrontEnd("%s/s" % folder)
    equal(front.read(0, 512)[0], 0)
    front.close()
    serve.stop()
    for line in serve.log().splitlines():
        check(re.match(r"\d\d:\d\d:\d\d\.\d{3} (error|warning|info|debug) +\S+: \S", line), "line: " + line)
    contains(serve.log(), "blk0: ", "VERSION_1")


def test_log_json(folder):
    serve = Serve(folder, "--json", "--log-level=debug", "blk,ram=1M,name=a\"\\b,vhost-user=%s/s" % folder)
    front = FrontEnd("%s/s" % folder)
    equal(front.read(0, 512)[0], 0)
    front.close()
    serve.stop()
    lines = [json.loads(line) for line in serve.log().splitlines()]
    check(len(lines) >= 4, "only %d lines" % len(lines))
    for line in lines:
        equal(set(line), {"time", "level", "name", "line"})
        check(abs(line["time"] - time.time()) < 3600, "time: %r" % line)
    check(any(l["name"] == 'a"\\b' for l in lines), "the device's name is not as it was given")


def test_log_level(folder):
    serve = Serve(folder, "--log-level=error", "blk,ram=1M,vhost-user=%s/s" % folder, wait=None)
    wait_for("the socket", lambda: os.path.exists("%s/s" % folder))
    front = FrontEnd("%s/s" % folder)
    front.close()
    serve.stop()
    equal(serve.log(), "")


def test_log_journal(folder):
    """A stream to the journal is known by its device and inode: no time, and a priority at the line's start."""
    log = os.path.join(folder, "journal")
    with open(log, "w") as stream:
        st = os.fstat(stream.fileno())
        for name, found in (("%d:%d" % (st.st_dev, st.st_ino), True), ("%d:%d" % (st.st_dev, st.st_ino + 1), False)):
            os.truncate(log, 0)
            stream.seek(0)
            process = subprocess.Popen([VIO, "serve", "blk,ram=1M,vhost-user=%s/s" % folder], stderr=stream,
                                       stdin=subprocess.DEVNULL, env=dict(os.environ, JOURNAL_STREAM=name))
            wait_for("the log", lambda: "serving" in open(log).read())
            process.send_signal(signal.SIGTERM)
            equal(process.wait(20), 0)
            for line in open(log).read().replace("\0", "").splitlines():
                equal(bool(re.match(r"<[3467]>\S+: \S", line)), found, line)


def test_standard_descriptors_closed(folder):
    """Started with no standard descriptors: what vio opens must not become its standard error."""
    script = "import os, sys\nos.closerange(0, 3)\nos.execv(sys.argv[1], sys.argv[1:])\n"
    process = subprocess.Popen([sys.executable, "-c", script, VIO, "serve", "blk,ram=1M,vhost-user=%s/s" % folder])
    try:
        wait_for("the socket", lambda: os.path.exists("%s/s" % folder))
        front = FrontEnd("%s/s" % folder)
        equal(front.write(0, b"z" * 512), 0)
        equal(front.read(0, 512), (0, b"z" * 512))
        for fd in range(3):
            equal(os.readlink("/proc/%d/fd/%d" % (process.pid, fd)), "/dev/null")
        front.close()
        process.send_signal(signal.SIGTERM)
        equal(process.wait(20), 0)
    finally:
        process.kill()


def test_backend(folder):
    image = os.path.join(folder, "disk")
    with open(image, "wb") as disk:
        disk.write(b"d" * (1 << 20))
    # by path
    serve = Serve(folder, "--socket-path=%s/s" % folder, "--blk-file=" + image, word=("backend", "blk"))
    front = FrontEnd("%s/s" % folder)
    equal(front.read(7, 512), (0, b"d" * 512))
    equal(front.write(7, b"e" * 512), 0)
    front.close()
    serve.stop()
    # by descriptor, read-only; ends with its front-end
    ours, theirs = socket.socketpair()
    serve = Serve(folder, "--fd=%d" % theirs.fileno(), "--blk-file", image, "--read-only", word=("backend", "blk"),
                  pass_fds=[theirs.fileno()])
    theirs.close()
    front = FrontEnd(ours)
    check(front.offered & 1 << 5, "VIRTIO_BLK_F_RO is not offered")
    equal(front.read(7, 512), (0, b"e" * 512))
    check(front.write(7, b"f" * 512) != 0, "a write of a read-only disk succeeds")
    front.close()
    equal(serve.wait(), 0)
    with open(image, "rb") as disk:
        disk.seek(7 * 512)
        equal(disk.read(512), b"e" * 512)


main()
