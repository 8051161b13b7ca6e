#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The control socket of `vio serve`, `vio ctl` and `vio top`: what they say, what they refuse, and clients that mean no
good."""
import json
import os
import pty
import select
import signal
import socket
import stat
import subprocess
import threading
import time

from cli_frontend import FrontEnd
from cli_help import Serve, VIO, check, contains, equal, main, sanitizer, vio, wait_for


def serve_disk(folder, *specs, **more):
    specs = specs or ("blk,ram=1M,vhost-user=%s/s" % folder,)
    return Serve(folder, "--control=%s/c" % folder, *specs, **more)


class Client:
    """One connection to the control socket, line by line."""

    def __init__(self, folder):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(15)
        wait_for("a place in the backlog", lambda: self.connected(folder + "/c"))
        self.got = b""

    def connected(self, path):
        try:
            self.socket.connect(path)
        except BlockingIOError:
            return False
        return True

    def line(self):
        while b"\n" not in self.got:
            more = self.socket.recv(65536)
            if not more:
                return None
            self.got += more
        line, _, self.got = self.got.partition(b"\n")
        return json.loads(line)

    def ask(self, what):
        self.socket.sendall((what if isinstance(what, bytes) else json.dumps(what).encode()) + b"\n")
        return self.line()

    def hung_up(self):
        try:
            return self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()


def refused(status, *words, args=()):
    got, out, err = vio(*args)
    equal((got, out), (status, ""), "%s (%s)" % (" ".join(args), err.strip()))
    contains(err, *words)
    equal(len(err.strip().splitlines()), 1, "lines of the error: %s" % err)


def test_devices_and_counters(folder):
    serve = serve_disk(folder, "blk,ram=1M,queues=3,vhost-user=%s/s" % folder, "blk,null=1M,name=idle,vhost-user=%s/t" % folder)
    client = Client(folder)
    equal([(d["name"], d["type"], d["connected"], d["queues"], d["running"]) for d in client.ask({"do": "devices"})["devices"]],
          [("blk0", "blk", False, 3, 0), ("idle", "blk", False, 16, 0)])
    equal([d["queues"] for d in client.ask({"do": "counters"})["devices"]], [[], []])
    front = FrontEnd("%s/s" % folder, queues=2)
    for n in range(10):
        equal(front.read(n, 512, 1)[0], 0)
    first = client.ask({"do": "devices"})["devices"][0]
    equal((first["connected"], first["running"]), (True, 2))
    contains(first["features"], "VERSION_1")
    got = client.ask({"do": "counters"})
    check(abs(got["time_ns"] - time.monotonic_ns()) < 60 * 10 ** 9, "time_ns: %d" % got["time_ns"])
    queues = {q["queue"]: q for q in got["devices"][0]["queues"]}
    equal(set(queues), {0, 1}, "queues that ran")
    equal((queues[1]["buffers"], queues[1]["faults"], queues[1]["running"]), (10, 0, True))
    equal(set(queues[1]), {"queue", "running", "buffers", "publishes", "calls", "services", "idle", "kicks", "faults"})
    front.close()
    client.close()
    serve.stop()
    check(not os.path.exists(folder + "/c"), "the control socket is still there")


def test_ctl(folder):
    image = folder + "/disk"
    with open(image, "wb") as disk:
        disk.truncate(1 << 20)
    serve = serve_disk(folder, "blk,file=%s,vhost-user=%s/s" % (image, folder))
    front = FrontEnd("%s/s" % folder)
    equal(front.read(0, 512)[0], 0)
    path = folder + "/c"
    contains(vio("ctl", path, "devices")[1], "blk0: blk, a front-end is connected, 1 of 16 queues run", "VERSION_1")
    contains(vio("ctl", path, "counters")[1], "blk0.queue0.buffers 1\n", "blk0.queue0.faults 0\n")
    equal(json.loads(vio("ctl", path, "counters", "--json")[1])["devices"][0]["name"], "blk0")
    os.truncate(image, 5 << 20)
    equal(vio("ctl", path, "refresh", "blk0"), (0, "", ""))
    equal(front.capacity(), 5 << 20)
    equal(json.loads(vio("ctl", path, "refresh", "blk0", "--json")[1]), {"done": True})
    refused(1, "there is no device 'blk7'", args=["ctl", path, "refresh", "blk7"])
    refused(1, "blk0 is a blk device: it has no link", args=["ctl", path, "link", "blk0", "up"])
    refused(1, "blk0 is a blk device: it has no frames", args=["ctl", path, "capture", "blk0", "x"])
    refused(1, "blk0 is a blk device: it has no frames", args=["ctl", path, "capture", "blk0", "off"])
    refused(2, "up or down", args=["ctl", path, "link", "blk0", "sideways"])
    refused(2, "link NAME up|down", args=["ctl", path, "link", "blk0"])
    refused(2, "devices", args=["ctl", path, "devices", "blk0"])
    refused(2, "'gibberish'", args=["ctl", path, "gibberish"])
    refused(2, "no socket is named", args=["ctl"])
    refused(2, "nothing is asked", args=["ctl", path])
    refused(2, "one word too many", args=["ctl", path, "link", "a", "up", "down"])
    refused(1, folder + "/none", "vio serve --control=", args=["ctl", folder + "/none", "devices"])
    refused(1, "too long", args=["ctl", "x" * 200, "devices"])
    front.close()
    serve.stop()
    refused(1, path, "No such file", args=["ctl", path, "devices"])


def test_names(folder):
    """A name is any bytes: JSON stays JSON, and a terminal is not spoken to."""
    serve = serve_disk(folder, "blk,ram=1M,name=a\"\\\x1b[31m,vhost-user=%s/s" % folder)
    client = Client(folder)
    name = client.ask({"do": "devices"})["devices"][0]["name"]
    equal(name, "a\"\\\x1b[31m")
    contains(client.ask({"do": "link", "device": name, "up": True})["error"], "is a blk device")
    check("\x1b" not in vio("ctl", folder + "/c", "devices")[1], "an escape sequence reaches the terminal")
    client.close()
    serve.stop()
    serve = Serve(folder, "--control=%s/c" % folder, b"blk,ram=1M,name=\xff\xfe,vhost-user=%s/s" % folder.encode())
    client = Client(folder)
    equal(client.ask({"do": "devices"})["devices"][0]["name"], "??")
    client.close()
    serve.stop()


def test_socket(folder):
    path = folder + "/c"
    serve = serve_disk(folder)
    equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode")
    refused_by = vio("serve", "--control=" + path, "blk,ram=1M,vhost-user=%s/t" % folder)
    equal(refused_by[0], 1)
    contains(refused_by[2], "--control", path, "somebody listens")
    check(not os.path.exists(folder + "/t"), "a start that failed left a socket")
    equal(vio("ctl", path, "devices")[0], 0)
    serve.signal(signal.SIGKILL)
    serve.wait()
    check(os.path.exists(path), "SIGKILL left no socket: this test says nothing")
    serve = serve_disk(folder)  # the orphan is replaced
    equal(vio("ctl", path, "devices")[0], 0)
    serve.stop()
    with open(path, "w") as plain:
        plain.write("precious")
    status, _, err = vio("serve", "--control=" + path, "blk,ram=1M,vhost-user=%s/t" % folder)
    equal(status, 1)
    contains(err, path, "not a socket")
    with open(path) as plain:
        equal(plain.read(), "precious")
    for bad, word in (("/nowhere/c", "No such file"), ("/" + "x" * 120, "shorter")):
        status, _, err = vio("serve", "--control=" + bad, "blk,ram=1M,vhost-user=%s/t" % folder)
        equal(status, 1)
        contains(err, bad, word)


def test_bad_requests(folder):
    serve = serve_disk(folder)
    client = Client(folder)
    for line in (b"", b"{", b"[]", b"1", b"null", b"\"devices\"", b"{\"do\":\"devices\"} x", b"\0", b"\xff" * 100,
                 b"{\"do\":\"devices\",\"do\":\"counters\"}", b"[" * 30000, b"{\"a\":" * 10000, b"{\"do\":\"de\0vices\"}"):
        contains(client.ask(line)["error"], "one JSON object")
    for request in ({}, {"do": 1}, {"do": None}, {"do": "reboot"}, {"do": ["devices"]}):
        contains(client.ask(request)["error"], "devices, counters, link, capture, refresh")
    for request, word in (({"do": "devices", "x": 1}, "no key \"x\""), ({"do": "devices", "device": "blk0"}, "no key"),
                          ({"do": "refresh"}, "which device"), ({"do": "refresh", "device": 7}, "which device"),
                          ({"do": "refresh", "device": "nobody"}, "no device 'nobody'"),
                          ({"do": "refresh", "device": "x" * 60000}, "no device 'xxx"),
                          ({"do": "refresh", "device": "\u00e4" * 10000}, "no device"),
                          ({"do": "devices", "\u00e4" * 100: 1}, "")):
        contains(client.ask(request).get("error", "no error"), word)
    equal(len(client.ask({"do": "devices"})["devices"]), 1, "and then a good one")
    client.close()
    serve.stop()


def test_many_lines_at_once(folder):
    serve = serve_disk(folder)
    client, other = Client(folder), Client(folder)
    lines = b"{\"do\":\"refresh\",\"device\":\"nobody\"}\n" * 300
    threading.Thread(target=client.socket.sendall, args=(lines,), daemon=True).start()
    for _ in range(300):
        contains(client.line()["error"], "nobody")
    # a request in pieces
    for piece in (b"{\"do\":", b"\"dev", b"ices\"}", b"\n"):
        other.socket.sendall(piece)
        time.sleep(0.02)
    equal(len(other.line()["devices"]), 1)
    # who has said all still hears the answer
    other.socket.sendall(b"{\"do\":\"devices\"}\n{\"do\":\"devices\"}\n")
    other.socket.shutdown(socket.SHUT_WR)
    equal([len(other.line()["devices"]) for _ in range(2)], [1, 1])
    equal(other.line(), None)
    client.close()
    other.close()
    serve.stop()


def test_too_long_a_line(folder):
    serve = serve_disk(folder)
    client = Client(folder)
    # as long as may be
    request = b"{\"do\":\"devices\"" + b" " * (65535 - 16) + b"}"
    equal(len(client.ask(request)["devices"]), 1)
    try:
        client.socket.sendall(b"x" * 70000)
        contains(client.line()["error"], "too long")
        check(client.hung_up(), "it goes on after a line that is too long")
    except (BrokenPipeError, ConnectionResetError):
        pass
    client.close()
    equal(vio("ctl", folder + "/c", "devices")[0], 0)
    serve.stop()


def test_too_many_clients(folder):
    serve = serve_disk(folder)
    clients = [Client(folder) for _ in range(16)]
    for client in clients:
        equal(len(client.ask({"do": "devices"})["devices"]), 1)
    more = Client(folder)
    contains(more.line()["error"], "16 clients")
    check(more.hung_up(), "the 17th is kept")
    more.close()
    refused(1, "16 clients", args=["ctl", folder + "/c", "devices"])
    clients.pop().close()
    wait_for("a place", lambda: vio("ctl", folder + "/c", "devices")[0] == 0)
    for client in clients:
        client.close()
    serve.stop()


def test_client_that_does_not_read(folder):
    serve = serve_disk(folder)
    front = FrontEnd("%s/s" % folder)
    equal(front.read(0, 512)[0], 0)
    before = serve.memory_kib()
    client = Client(folder)
    client.socket.setblocking(False)
    sent, end = 0, time.monotonic() + 20
    while time.monotonic() < end and "did not read" not in serve.log():
        try:
            sent += client.socket.send(b"{\"do\":\"counters\"}\n" * 100)
        except BlockingIOError:
            equal(vio("ctl", folder + "/c", "devices")[0], 0)
            equal(front.read(0, 512)[0], 0)
            time.sleep(0.2)
        except (BrokenPipeError, ConnectionResetError):
            break
    check(sent > 0, "nothing was sent")
    wait_for("it to be sent off", lambda: "did not read" in serve.log())
    check(sanitizer() != "none" or serve.memory_kib() - before < 2048, "it cost %d KiB" % (serve.memory_kib() - before))
    client.close()
    front.close()
    serve.stop()


def test_clients_come_and_go(folder):
    serve = serve_disk(folder)
    wait_for("the socket", lambda: os.path.exists(folder + "/c"))
    fds = len(os.listdir("/proc/%d/fd" % serve.pid))
    for n in range(200):
        client = Client(folder)
        client.socket.sendall(b"{\"do\":\"counters\"}\n" * (n % 40) + b"{\"do\":" * (n % 3))
        client.close()
    wait_for("descriptors", lambda: len(os.listdir("/proc/%d/fd" % serve.pid)) == fds)
    serve.stop()


class Load:
    def __init__(self, front):
        self.front, self.stop = front, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop:
            self.front.read(0, 512)

    def end(self):
        self.stop = True
        self.thread.join(15)


def test_top(folder):
    serve = serve_disk(folder, "blk,ram=1M,vhost-user=%s/s" % folder, "blk,null=1M,name=idle,vhost-user=%s/t" % folder)
    path = folder + "/c"
    front = FrontEnd("%s/s" % folder)
    load = Load(front)
    status, out, err = vio("top", path, "--json", "--interval=0.3", "--count=3")
    equal((status, err), (0, ""))
    shown = [json.loads(line) for line in out.splitlines()]
    equal(len(shown), 3)
    for one in shown:
        check(0.25 < one["seconds"] < 5, "seconds: %r" % one)
        equal([d["name"] for d in one["devices"]], ["blk0", "idle"])
        queue = one["devices"][0]["queues"][0]
        equal((queue["queue"], queue["running"], queue["faults"]), (0, True, 0))
        check(queue["buffers"] > 1 and queue["buffers"] < 1e7, "buffers/s: %r" % queue)
        equal(one["devices"][1]["queues"], [])
    status, out, err = vio("top", path, "--interval=0.2", "--count=2")
    equal((status, err, out.count("BUFFERS/s")), (0, "", 2))
    contains(out, "blk0", "idle", "no front-end")
    check("\x1b" not in out, "escape sequences, and no terminal")
    load.end()
    idle = json.loads(vio("top", path, "--json", "--interval=0.2", "--count=1")[1])
    equal(idle["devices"][0]["queues"][0]["buffers"], 0, "buffers a second of an idle disk")
    front.close()

    for words, args in ((["--interval=0"], ["--interval=0"]), (["--interval=1e3"], ["--interval=1e3"]),
                        (["--interval=nan"], ["--interval=nan"]), (["--count=0"], ["--count=0"]),
                        (["a second one"], ["other"])):
        refused(2, *words, args=["top", path] + args)
    refused(2, "no socket is named", args=["top"])
    refused(1, "/none", args=["top", folder + "/none"])

    # when vio ends, top does
    top = subprocess.Popen([VIO, "top", path, "--interval=0.2"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
    top.stdout.readline()
    serve.stop()
    out, err = top.communicate(timeout=15)
    equal(top.returncode, 1)
    contains(err, "vio has ended")


def test_top_on_a_terminal(folder):
    serve = serve_disk(folder)
    ours, theirs = pty.openpty()
    top = subprocess.Popen([VIO, "top", folder + "/c", "--interval=0.2", "--count=2"], stdin=subprocess.DEVNULL,
                           stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    got = b""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            more = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        got += more
    os.close(ours)
    equal(top.wait(10), 0)
    equal(got.count(b"\x1b[H\x1b[2J"), 2, "redraws")
    contains(got.decode(), "DEVICE", "blk0")
    serve.stop()


main()
