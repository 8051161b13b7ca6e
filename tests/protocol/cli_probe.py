#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`vio probe`: what it says of vio's own devices and of qemu-storage-daemon's, and of sockets behind which there is none."""
import json
import os
import shutil
import socket
import subprocess
import threading

from cli_help import Serve, Skip, check, contains, equal, main, vio, wait_for


def probe(path, *more):
    status, out, err = vio("probe", "vhost-user:" + path, "--json", *more)
    equal((status, err), (0, ""), "vio probe")
    return json.loads(out)


def names(answer):
    return {f.get("name") for f in answer["features"]}


def taken(answer):
    return {f.get("name") for f in answer["features"] if f["taken"]}


def fields(answer):
    return {f["name"]: f["value"] for f in answer["config"]["fields"] if f["valid"]}


def test_a_disk_of_vio(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "blk,ram=64M,queues=3,serial=PROBE-1,vhost-user=" + path)
    answer = probe(path)
    equal((answer["type"]["name"], answer["type_guessed"], answer["queues"]), ("blk", True, 3))
    equal(answer["serial"], "PROBE-1")
    equal((fields(answer)["capacity"], fields(answer)["num_queues"]), (131072, 3))
    check({"FLUSH", "MQ", "DISCARD", "VERSION_1"} <= taken(answer), "features taken: %s" % taken(answer))
    check("CONFIG" in answer["protocol_features"], "protocol features: %s" % answer["protocol_features"])
    check(answer["memory_slots"] >= 32, "memory slots")
    # it is left as it was found: nobody is connected, and it can be asked again
    for _ in range(3):
        equal(probe(path), answer)
    status, out, err = vio("probe", path)
    equal((status, err), (0, ""))
    contains(out, "a block device (virtio 1.4, 5.2)", "serial: PROBE-1", "capacity", "131072 (64 MiB)", "FLUSH", "MQ")
    serve.stop()


def test_without_io(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "blk,null=1M,vhost-user=" + path)
    answer = probe(path, "--no-io")
    check("serial" not in answer and "serial_error" not in answer, "no queue was to be started")
    check("queues run" not in serve.log() and "driver-ok" not in serve.log().lower(), serve.log())
    serve.stop()


def test_network_cards_of_vio(folder):
    path, shown = os.path.join(folder, "s"), os.path.join(folder, "c")
    serve = Serve(folder, "net,null,pairs=2,mac=52:54:00:12:34:56,mtu=9000,config=on,vhost-user=" + shown,
                  "net,null,vhost-user=" + path)
    answer = probe(shown)
    equal(answer["type"]["name"], "net")
    equal((fields(answer)["mac"], fields(answer)["mtu"], fields(answer)["max_virtqueue_pairs"]),
          ("52:54:00:12:34:56", 9000, 2))
    equal([f["says"] for f in answer["config"]["fields"] if f["name"] == "status"], ["link up"])
    answer = probe(path)
    equal((answer["type"]["name"], answer["config"]), ("net", None))
    contains(vio("probe", path)[1], "configuration: not shown")
    serve.stop()


def test_a_type_that_is_said(folder):
    path = os.path.join(folder, "s")
    serve = Serve(folder, "blk,null=1M,vhost-user=" + path)
    answer = probe(path, "--type=blk")
    equal((answer["type"]["name"], answer["type_guessed"]), ("blk", False))
    serve.stop()


def test_a_disk_of_qemu(folder):
    if not shutil.which("qemu-storage-daemon"):
        raise Skip("qemu-storage-daemon is not installed (scripts/install-deps.sh bench)")
    path, disk = os.path.join(folder, "s"), os.path.join(folder, "disk")
    with open(disk, "wb") as image:
        image.truncate(8 << 20)
    daemon = subprocess.Popen(["qemu-storage-daemon", "--blockdev", "driver=file,node-name=d,filename=" + disk, "--export",
                               "type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=%s,num-queues=2" % path])
    try:
        wait_for("its socket", lambda: os.path.exists(path))
        answer = probe(path)
        equal((answer["type"]["name"], answer["queues"]), ("blk", 2))
        equal((fields(answer)["capacity"], answer["serial"]), (16384, "vhost_user_blk"))
        check("RO" in names(answer), "it was exported read-only")
        equal(probe(path), answer)
        check(daemon.poll() is None, "it goes on")
    finally:
        daemon.kill()
        daemon.wait()


def listening(path, answer):
    """A socket with someone behind it who does `answer` with each connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(4)

    def serve():
        try:
            while True:
                connection = listener.accept()[0]
                answer(connection)
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    return listener


def fails(target, *words, more=()):
    status, out, err = vio("probe", target, *more)
    equal((status, out), (1, ""), err)
    equal(len(err.strip().splitlines()), 1, err)
    contains(err, *words)


def test_nobody_there(folder):
    fails("pci:ffff:ff:1f.7", "ffff:ff:1f.7")
    fails("vhost:%s/node,cid=5" % folder, folder + "/node")
    path = os.path.join(folder, "s")
    fails(path, path, "No such file")
    open(path, "w").close()
    fails(path, path)


def test_somebody_else_there(folder):
    path = os.path.join(folder, "silent")
    kept = []
    silent = listening(path, kept.append)
    fails(path, "no answer in 200 ms", more=["--timeout=200"])
    silent.close()
    path = os.path.join(folder, "gone")
    gone = listening(path, lambda c: c.close())
    fails(path, path)
    gone.close()
    path = os.path.join(folder, "chat")
    chat = listening(path, lambda c: (c.sendall(b"220 mail ready; who are you?\r\n" * 4), kept.append(c)))
    fails(path, path, more=["--timeout=500"])
    chat.close()


def test_wrong_use(folder):
    for args, words in (([], ["no TARGET"]), (["tcp:localhost"], ["no TARGET", "vhost-user:PATH"]),
                        (["vhost-user:"], ["names no socket"]), (["vhost-user:/" + "x" * 200], ["at most"]),
                        (["/a", "/b"], ["too many"]), (["/x", "--type=disk"], ["--type=disk"]),
                        (["/x", "--timeout=0"], ["--timeout=0", "from 1"]), (["pci:"], ["names no function", "pci:DDDD"]),
                        (["pci:00:04.0,modern"], ["modern", "there is legacy"]), (["vhost:,cid=3"], ["names no node"]),
                        (["vhost:/dev/vhost-vsock"], ["a socket device cid=N"]), (["vhost:/dev/vhost-vsock,cid=x"], ["cid=x"]),
                        (["vhost:/dev/x,cid=3,wwpn=naa.1"], ["one of tap, cid and wwpn"]),
                        (["vhost:/dev/vhost-net,name=t"], ["name=t", "there are tap"]), (["vhost:/x,tap="], ["tap="]),
                        (["pci:" + "0" * 600], ["too long"])):
        status, out, err = vio("probe", *args)
        equal((status, out, len(err.splitlines())), (2, "", 1), "%s: %s" % (args, err))
        contains(err, *words)


main()
