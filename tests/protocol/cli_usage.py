#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the command says: help on every word, JSON that parses, errors in one sentence with the fix, exit status."""
import json
import os
import shutil
import subprocess
import xml.etree.ElementTree

from cli_help import VIO, Serve, Skip, check, contains, equal, main, vio


def refused(status, *words, args=()):
    """One sentence on standard error, nothing on standard output."""
    got, out, err = vio(*args)
    equal(got, status, "exit status of %s (%s)" % (" ".join(args), err.strip()))
    equal(out, "", "standard output")
    contains(err, *words)
    equal(len(err.strip().splitlines()), 1, "lines of the error: %s" % err)


def test_help_on_every_word(folder):
    for args in (["--help"], ["-h"], ["help"], ["serve", "--help"], ["serve", "-h"], ["serve", "help"],
                 ["serve", "help", "blk"], ["serve", "help", "net"], ["backend", "--help"], ["backend", "blk", "--help"],
                 ["backend", "net", "--help"], ["xml", "--help"], ["ctl", "--help"], ["top", "--help"],
                 ["probe", "--help"], ["bench", "--help"],
                 ["version", "--help"], ["version"], ["--version"]):
        status, out, err = vio(*args)
        equal((status, err), (0, ""), " ".join(args))
        check(len(out.splitlines()) >= 2, "help of %s: %r" % (args, out))
        check(max(len(l) for l in out.splitlines()) <= 110, "lines of %s are too long" % args)


def test_usage_errors(folder):
    status, out, err = vio()
    equal((status, out), (2, ""))
    contains(err, "usage: vio WORD", "serve", "backend", "xml", "ctl", "top", "version")
    refused(2, "no word 'srve'", "did you mean 'serve'", args=["srve"])
    refused(2, "no word 'gibberish'", args=["gibberish"])
    refused(2, "no device is named", "vhost-user=", args=["serve"])
    refused(2, "there is no option --thread", "did you mean --threads", args=["serve", "--thread=2"])
    refused(2, "--threads=0", "from 1 to", args=["serve", "--threads=0", "blk,null=1M"])
    refused(2, "--threads needs a value", args=["serve", "blk,null=1M", "--threads"])
    refused(2, "--log-level=loud", "debug", args=["serve", "--log-level", "loud"])
    refused(2, "--json takes no value", args=["serve", "--json=yes"])
    refused(2, "no type of device", args=["backend"])
    refused(2, "no device is named", args=["xml"])
    refused(2, "one SPEC at a time", args=["xml", "blk,null=1M", "blk,null=1M"])
    refused(2, "--memory=lots", args=["xml", "blk,null=1M,vhost-user=/x", "--memory=lots"])


def test_spec_errors(folder):
    path = os.path.join(folder, "s")
    at = ",vhost-user=" + path
    for spec, words in (
            ("disk,null=1M" + at, ["no device type 'disk'", "blk"]),
            ("blk" + at, ["needs one of: file=PATH, ram=SIZE, null=SIZE, nbd=URI"]),
            ("blk,null=1M,ram=1M" + at, ["ram=, null= exclude each other"]),
            ("blk,null=1000" + at, ["not whole 512-byte sectors"]),
            ("blk,null=1X" + at, ["null=1X", "K, M, G or T"]),
            ("blk,null=1M,qeues=4" + at, ["no key 'qeues'", "did you mean 'queues'", "its keys are: queues", "serial"]),
            ("blk,null=1M,queues=0" + at, ["queues=0", "1..256"]),
            ("blk,null=1M,queue-size=40000" + at, ["1..32768"]),
            ("blk,null=1M,ro=yes" + at, ["ro=yes", "on|off"]),
            ("blk,null=1M,queues" + at, ["'queues' has no value", "queues=1..256"]),
            ("blk,null=1M,ro,ro=off" + at, ["ro= is given twice"]),
            ("blk,null=1M,poll=fast" + at, ["off|on|auto"]),
            ("blk,null=1M,block-size=1000" + at, ["a power of two"]),
            ("blk,null=1M,serial=123456789012345678901" + at, ["21 bytes", "at most 20"]),
            ("blk,null=1M", ["where its front-end is", "vhost-user=PATH", "fd=N", "connect=on", "systemd"]),
            ("blk,null=1M,fd=3" + at, ["exclude each other"]),
            ("blk,null=1M,connect=on", ["connect=on needs vhost-user=PATH"]),
            ("blk,null=1M,vhost-user=systemd,connect=on", ["not for sockets from systemd"]),
            ("blk,null=1M,vhost-user=" + "x" * 108, ["108 bytes", "at most 107"]),
    ):
        refused(2, *words, args=["serve", spec])
    refused(2, "two devices have the name 'a'", args=["serve", "blk,null=1M,name=a" + at, "blk,null=1M,name=a" + at])
    refused(2, "blk0 and blk1 have the same vhost-user=", args=["serve", "blk,null=1M" + at, "blk,null=1M" + at])
    check(not os.path.exists(path), "a refused start left a socket")


def test_start_errors(folder):
    image, sock = os.path.join(folder, "disk"), os.path.join(folder, "s")
    at = ",vhost-user=" + sock
    refused(1, "blk0", image, args=["serve", "blk,file=%s%s" % (image, at)])
    with open(image, "wb") as disk:
        disk.truncate(1000)
    refused(1, "blk0", image, "512", args=["serve", "blk,file=%s%s" % (image, at)])
    refused(1, "blk0", folder, args=["serve", "blk,file=%s%s" % (folder, at)])
    refused(1, "direct= is for file= only", args=["serve", "blk,null=1M,direct=on" + at])
    refused(1, "directory", "/nowhere", args=["serve", "blk,null=1M,vhost-user=/nowhere/s"])
    with open(sock, "w") as plain:
        plain.write("precious")
    refused(1, sock, "not a socket", args=["serve", "blk,null=1M" + at])
    with open(sock) as plain:
        equal(plain.read(), "precious")
    refused(1, "descriptor 77 is not open", args=["serve", "blk,null=1M,fd=77"])
    check("blk0" in vio("serve", "blk,null=1M,vhost-user=systemd")[2], "no device is named where systemd gave nothing")
    equal(vio("serve", "blk,null=1M,vhost-user=systemd")[0], 1)


def test_socket_in_use(folder):
    at = "vhost-user=" + os.path.join(folder, "s")
    first = Serve(folder, "blk,null=1M," + at)
    refused(1, "somebody listens at", args=["serve", "blk,null=1M," + at])
    check(not first.ended(), "the first one ended")
    first.stop()


def test_image_in_use(folder):
    image = os.path.join(folder, "disk")
    with open(image, "wb") as disk:
        disk.truncate(1 << 20)
    first = Serve(folder, "blk,file=%s,vhost-user=%s/a" % (image, folder))
    refused(1, image, "lock", args=["serve", "blk,file=%s,vhost-user=%s/b" % (image, folder)])
    second = Serve(folder, "blk,file=%s,lock=off,vhost-user=%s/b" % (image, folder))
    second.stop()
    first.stop()


def test_permission(folder):
    if os.getuid() != 0:
        raise Skip("needs root, to become somebody who may not")
    image = os.path.join(folder, "disk")
    with open(image, "wb") as disk:
        disk.truncate(1 << 20)
    os.chmod(image, 0o600)
    os.chmod(folder, 0o755)
    # where the build lies, others may not be let in
    program = shutil.copy(VIO, folder)
    somebody = {"program": program, "user": 65534, "group": 65534, "extra_groups": []}
    status, out, err = vio("serve", "blk,file=%s,vhost-user=%s/s" % (image, folder), **somebody)
    equal((status, out), (1, ""))
    contains(err, "blk0", image, "ermission")
    os.chmod(image, 0o644)
    status, out, err = vio("serve", "blk,file=%s,ro=on,lock=off,vhost-user=%s/s" % (image, folder), **somebody)
    equal((status, out), (1, ""))
    contains(err, "blk0", folder, "ermission")


def test_too_few_descriptors(folder):
    def limit():
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    status, out, err = vio("serve", "blk,null=1M,queues=200,vhost-user=%s/s" % folder, preexec_fn=limit)
    equal(status, 1)
    contains(err, "file descriptors", "the limit is 64", "ulimit", "LimitNOFILE", "queues=")

    def soft():
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
    serve = Serve(folder, "blk,null=1M,queues=200,vhost-user=%s/s" % folder, preexec_fn=soft)
    serve.stop()


def test_help_json(folder):
    kinds = json.loads(vio("serve", "help", "--json")[1])
    equal([k["type"] for k in kinds], ["blk", "net"])
    one = json.loads(vio("serve", "help", "blk", "--json")[1])
    equal(one, kinds[0])
    keys = {k["name"]: k for k in one["keys"]}
    for key in ("file", "ram", "null", "nbd", "ro", "direct", "queues", "queue-size", "seg-max", "size-max", "block-size",
                "serial", "writeback", "discard", "packed", "in-order", "lock", "reconnect", "threads", "poll",
                "vhost-user", "connect", "fd", "inband", "name"):
        check(key in keys, "no key " + key)
        check(keys[key]["help"], "no help of " + key)
    equal((keys["queues"]["min"], keys["queues"]["max"]), (1, 256))
    equal(keys["poll"]["words"], ["off", "on", "auto"])
    equal(keys["ro"]["default"], "off")
    # the text names the same keys
    text = vio("serve", "help", "blk")[1]
    for key in keys:
        contains(text, "\n  %s=" % key)
    status, out, err = vio("serve", "help", "fridge")
    equal(status, 2)
    contains(err, "no device type 'fridge'", "blk")


def test_version_json(folder):
    version = json.loads(vio("version", "--json")[1])
    contains(vio("version")[1], "vio " + version["version"])
    equal(version["devices"], ["blk", "net"])
    equal(version["rings"], ["split", "packed"])
    for key in ("transports", "liburing", "libnbd", "libslirp", "jansson", "compiler", "sanitizer"):
        check(version[key], "no " + key)
    for key in ("liburing", "libnbd", "libslirp", "jansson"):
        contains(vio("version")[1], "%s %s\n" % (key, version[key]))
    # What cannot be opened is said, and stops nothing.
    for key in ("libnbd", "libslirp"):
        if version[key] == "built without":
            continue
        open("%s/%s.so.0" % (folder, key), "w").close()
        there = json.loads(subprocess.run([VIO, "version", "--json"], env=dict(os.environ, LD_LIBRARY_PATH=folder),
                                          stdout=subprocess.PIPE, check=True).stdout)
        equal(there[key], "not installed", key)
        os.unlink("%s/%s.so.0" % (folder, key))


def test_xml(folder):
    path = "/run/a,b <&'\".sock"
    spec = "blk,file=x,queues=3,queue-size=256,packed=on,name=my disk,vhost-user=" + path.replace(",", ",,")
    status, out, err = vio("xml", spec, "--json")
    equal((status, err), (0, ""))
    shown = json.loads(out)
    disk = xml.etree.ElementTree.fromstring(shown["libvirt"]["device"])
    equal((disk.tag, disk.get("type"), disk.get("device")), ("disk", "vhostuser", "disk"))
    source = disk.find("source")
    equal((source.get("type"), source.get("path")), ("unix", path))
    equal(source.find("reconnect").get("enabled"), "yes")
    driver = disk.find("driver")
    equal((driver.get("name"), driver.get("type"), driver.get("queues"), driver.get("queue_size"),
           driver.get("packed")), ("qemu", "raw", "3", "256", "on"))
    equal(disk.find("target").get("bus"), "virtio")
    backing = xml.etree.ElementTree.fromstring(shown["libvirt"]["memoryBacking"])
    equal((backing.tag, backing.find("access").get("mode")), ("memoryBacking", "shared"))
    args = shown["qemu"]
    options = dict(zip(args[0::2], args[1::2]))
    equal(options["-chardev"], "socket,id=vio-my-disk,path=%s,reconnect=1" % path.replace(",", ",,"))
    equal(options["-device"], "vhost-user-blk-pci,chardev=vio-my-disk,num-queues=3,queue-size=256,packed=on")
    contains(options["-object"], "memory-backend-memfd", "share=on", "size=1G")
    # the text for people: a shell takes QEMU's lines as the same arguments
    text = vio("xml", spec)[1]
    lines = text.split("QEMU:\n\n")[1]
    taken = subprocess.run(["sh", "-c", "for a in \\\n%s\ndo printf '%%s\\n' \"$a\"; done" % lines.rstrip("\n")],
                           stdout=subprocess.PIPE, text=True, check=True, timeout=10).stdout.splitlines()
    equal(taken, args, "as a shell reads it")
    contains(text, "<memoryBacking>", "<disk type='vhostuser'")

    shown = json.loads(vio("xml", "blk,null=1M,connect=on,vhost-user=/x", "--json", "--memory=4G")[1])
    equal(shown["libvirt"]["device"], None)
    contains(" ".join(shown["qemu"]), "path=/x,server=on", "size=4G", "-m 4G")
    refused(2, "needs the path", args=["xml", "blk,null=1M,fd=5"])
    refused(2, "needs the path", args=["xml", "blk,null=1M,vhost-user=systemd"])


def test_xml_by_xmllint(folder):
    if not shutil.which("xmllint"):
        raise Skip("xmllint is not installed (libxml2-utils)")
    for spec in ("blk,null=1M,vhost-user=/x", "net,mac=52:54:00:12:34:56,pairs=2,vhost-user=/x", "net,connect,vhost-user=/x",
                 "net,switch=a<b,name=a&b,mtu=9000,queue-size=256,packed,vhost-user=/run/a,,b <&'\">.sock"):
        shown = json.loads(vio("xml", spec, "--json")[1])
        by_xmllint(shown["libvirt"]["memoryBacking"], shown["libvirt"]["device"])
        # and as people copy it: the indented blocks, up to QEMU's
        text = vio("xml", spec)[1].split("QEMU:")[0]
        by_xmllint(*("\n".join(l for l in part.splitlines() if l.startswith("  ")) for part in text.split("<devices>")))


def by_xmllint(memory, device):
    check(memory.strip() and device.strip(), "there is no XML")
    text = "<domain>%s<devices>%s</devices></domain>" % (memory, device)
    subprocess.run(["xmllint", "--noout", "-"], input=text, text=True, check=True, timeout=10)


def test_backend_conventions(folder):
    status, out, err = vio("backend", "blk", "--print-capabilities")
    equal((status, err), (0, ""))
    equal(json.loads(out), {"type": "block", "features": ["read-only", "blk-file"]})
    refused(2, "no socket", "--socket-path=PATH", "--fd=FDNUM", args=["backend", "blk", "--blk-file=x"])
    refused(2, "--blk-file=FILE is missing", args=["backend", "blk", "--socket-path=%s/s" % folder])
    refused(2, "exclude each other", args=["backend", "blk", "--socket-path=/x", "--fd=3", "--blk-file=x"])
    refused(2, "--fd", args=["backend", "blk", "--fd=three", "--blk-file=x"])
    refused(2, "no option --blk-fil", "did you mean --blk-file", args=["backend", "blk", "--blk-fil=x"])
    refused(2, "is not an option", args=["backend", "blk", "x"])
    refused(1, "blk0", "/nowhere/disk", args=["backend", "blk", "--socket-path=%s/s" % folder, "--blk-file=/nowhere/disk"])


main()
