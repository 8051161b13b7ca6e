#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`vio bench` of file systems, on virtiofsd, which ends with its connection: small files and streams, nothing is left behind, what
is changed under it is found, a server that dies or has no such directory is said."""
import glob
import json
import os
import subprocess
import threading
import time

from cli_help import Skip, check, contains, equal, listening, main, vio, wait_for

PLACES = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/bin/virtiofsd")
OPERATIONS = ["create", "write", "stat", "read", "close", "remove"]


class Server:
    def __init__(self, folder):
        programs = [p for p in PLACES if os.access(p, os.X_OK)]
        if not programs:
            raise Skip("virtiofsd is not installed (scripts/install-deps.sh test)")
        self.shared, self.path = os.path.join(folder, "shared"), os.path.join(folder, "s")
        os.makedirs(os.path.join(self.shared, "sub"), exist_ok=True)
        if os.path.exists(self.path):
            os.unlink(self.path)
        if "/qemu/" in programs[0]: # the one in C, and the one in Rust, take other words
            words = ["-o", "source=" + self.shared, "-o", "sandbox=chroot", "-o", "cache=none", "-f"]
        else:
            words = ["--shared-dir=" + self.shared, "--sandbox=none"]
        with open(os.path.join(folder, "log"), "a") as log:
            self.process = subprocess.Popen([programs[0], "--socket-path=" + self.path] + words, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        wait_for("virtiofsd's socket", lambda: listening(self.path) or self.process.poll() is not None)
        check(self.process.poll() is None, "virtiofsd does not start (root, user namespaces?)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def left(self):
        return sorted(os.listdir(self.shared)), os.listdir(os.path.join(self.shared, "sub"))


def bench(folder, *args, status=0):
    with Server(folder) as server:
        got, out, err = vio("bench", server.path, "--json", "--time=0.3", "--warmup=0.05", *args)
        equal((got, err), (status, ""), "vio bench %s" % " ".join(args))
        equal(server.left(), (["sub"], []), "nothing is left behind: ")
    return json.loads(out)["runs"][0]


def test_small_files(folder):
    for more in ([], ["--packed"], ["--block=1"], ["--block=200000"], ["--directory=sub"]):
        r = bench(folder, "--mode=ops", *more)
        check(r["requests"] > 0 and r["rate"] > 0, r)
        equal((r["type"], r["mode"], r["wrong_blocks"], r["verified"]), ("fs", "ops", 0, True))
        equal(list(r["operations"]), OPERATIONS)
        equal(sum(o["count"] for o in r["operations"].values()), r["requests"])
        for latency in r["operations"].values():
            check(0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"], latency)
    with Server(folder) as server:
        status, out, err = vio("bench", server.path, "--type=fs", "--time=0.3", "--histogram")
        equal(status, 0, err)
        contains(out, "a file system, mode ops, 4096 bytes a file", "operations/s", "CPU an operation", "create:", "remove:",
                 "create, from:", "0 times something else was read")


def test_streams(folder):
    for mode, op in (("out", "write"), ("in", "read")):
        for more in ([], ["--verify"], ["--verify", "--block=4K", "--size=100000"], ["--block=1M", "--size=2M", "--packed"]):
            r = bench(folder, "--type=fs", "--mode=" + mode, *(more + ([] if "--size" in "".join(more) else ["--size=4M"])))
            equal((r["mode"], r["wrong_blocks"], r["verified"], list(r["operations"])), (mode, 0, "--verify" in more, [op]))
            check(r["requests"] > 0 and r["bytes_per_second"] > 0 and r["size"] % r["block"] == 0, r)


def test_what_is_changed_is_found(folder):
    def spoil(server):
        """Only what was written already; again and again, for the file may be written anew."""
        while server.process.poll() is None:
            for name in glob.glob(os.path.join(server.shared, "vio-bench-*", "file-0")):
                try:
                    with open(name, "r+b") as file:
                        if file.seek(0, os.SEEK_END) == 1 << 20:
                            file.seek(12345)
                            file.write(b"spoilt")
                except OSError:
                    pass
            time.sleep(0.005)

    with Server(folder) as server:
        threading.Thread(target=spoil, args=(server,), daemon=True).start()
        status, out, err = vio("bench", server.path, "--type=fs", "--mode=in", "--verify", "--size=1M", "--time=2", "--json")
        equal((status, err), (1, ""))
        check(json.loads(out)["runs"][0]["wrong_blocks"] > 0, out)
        equal(server.left(), (["sub"], []))


def test_a_server_that_dies(folder):
    with Server(folder) as server:
        def kill():
            wait_for("a file", lambda: glob.glob(os.path.join(server.shared, "vio-bench-*")))
            server.process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        status, out, err = vio("bench", server.path, "--type=fs", "--time=15", "--timeout=500")
        killer.join()
        equal((status, out, len(err.strip().splitlines())), (1, "", 1), err)
        # no answer, or the socket that hung up was noticed first
        check("was not answered for 500 ms" in err or "Input/output error" in err, err)


def test_wrong_use(folder):
    for status, args, words in ((1, ["--directory=none"], ["none: No such file"]),
                                (2, ["--type=fs", "--mode=loop"], ["--mode=loop", "ops, out or in"]),
                                (2, ["--type=fs", "--verify"], ["--verify is for streams"]),
                                (2, ["--type=fs", "--mode=out", "--size=4K"], ["--size=4096", "one --block"]),
                                (2, ["--type=fs", "--wait"], ["--wait is not for"]),
                                (2, ["--type=fs", "--rate=5"], ["--rate is not for"]),
                                (2, ["--type=fs", "--queues=2"], ["--queues is not for"]),
                                (2, ["--type=fs", "--block=0"], ["--block=0"])):
        with Server(folder) as server:
            got, out, err = vio("bench", server.path, *args)
            equal((got, out), (status, ""), "%s: %s" % (args, err))
            equal(len(err.strip().splitlines()), 1, err)
            contains(err, *words)


main()
