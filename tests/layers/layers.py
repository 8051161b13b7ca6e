#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the layers of docs/architecture.md on #include lines, and that libvio has no mutable global.

usage: layers.py SOURCE_ROOT LIBVIO_A        prints TAP
"""
import glob
import os
import re
import subprocess
import sys

# Lower may not include higher, and units of one layer do not include each other. A unit is a folder,
# or in device/, driver/ and transport/ the files that start with one name (device/blk.c, device/blk_io.c).
LAYERS = ["base", "spec", "memory", "ring", "core", "parts", "vmm", "cli"]
TRANSPORTS = ["vhost_user_driver", "vhost_user", "vhost_kernel", "vfio_user"]  # names of two words

# Each public header belongs to the layer that implements it.
PUBLIC = {
    "types": "base", "log": "base", "features": "base",
    "platform": "base", "io": "base",
    "block": "base",  # the interfaces that devices and backends share, and base/ types only
    "net": "base",
    "memory": "memory", "cursor": "memory", "arena": "memory",
    "fault": "ring", "queue": "ring",
    "device": "device/core", "driver": "driver/core",
    "drv_generic": "driver/generic",
    "drv_blk": "driver/blk", "drv_net": "driver/net",
    "vhost_user": "transport/vhost_user", "serve": "transport/vhost_user",
    "vhost_user_driver": "transport/vhost_user_driver",
    "vhost_kernel": "transport/vhost_kernel",
    "mmio_driver": "transport/mmio_driver", "pci_driver": "transport/pci_driver",
    "vfio": "transport/vfio",
    "drv_rng": "driver/rng", "drv_console": "driver/console", "drv_balloon": "driver/balloon",
    "drv_scsi": "driver/scsi", "drv_vsock": "driver/vsock", "drv_fs": "driver/fs",
    "vio": "cli",  # it includes all
}

# Who may know the handle on shared bytes, and who may read and write through it: memory/, the two ring
# formats (drvq.h has the store of a descriptor that both share), the in-flight log, and start, which looks
# at an index once.
HANDLE = "memory/shm.h"
KNOW_HANDLE = re.compile(r"(memory|ring)/")
USE_HANDLE = re.compile(r"memory/|ring/(split|packed|inflight|notify|drvq\.h)|ring/\w+_start\.c")
USE = re.compile(r"\bvio_shm_(load|store)\d+")

failures = 0


def report(ok, name, problems=()):
    global failures
    print("%sok - %s" % ("" if ok else "not ", name))
    for problem in problems:
        print("# " + problem)
    failures += not ok


def unit(path):
    """The part of the library that a path below src/ belongs to: 'ring', 'device/blk', ..."""
    folder, _, rest = path.partition("/")
    if folder in ("base", "spec", "memory", "ring", "vmm", "cli"):
        return folder
    if folder == "backend":
        return "backend"
    name = re.split(r"[/.]", rest)[0]
    if folder == "transport":
        whole = [t for t in TRANSPORTS if name.startswith(t)]
        return "transport/" + (whole[0] if whole else name)
    return folder + "/" + name.split("_")[0]


def layer(part):
    if part in ("base", "spec", "memory", "ring", "vmm", "cli"):
        return LAYERS.index(part)
    if part in ("device/core", "driver/core"):
        return LAYERS.index("core")
    return LAYERS.index("parts")


def allowed(includer, included):
    a, b = unit_of(includer), unit_of(included)
    if a == b:
        return None
    if a == "backend":
        return None if b in ("base", "spec") else "backend/ includes only base/ and the constants of spec/"
    if b == "backend":
        # its interface is met by the devices that use it and by the program that makes one
        return None if a.startswith("device/") and layer(a) == layer("device/x") or a == "cli" \
            else "only a device and cli/ know backends"
    if layer(b) > layer(a):
        return "upward: %s is above %s" % (b, a)
    if (a, b) == ("transport/vfio", "transport/pci_driver"):
        return None # a way to a PCI function, under the interface that pci_driver has for that
    if layer(b) == layer(a):
        if {a.split("/")[0], b.split("/")[0]} == {"device", "transport"}:
            return "a device and a transport meet at device/core.h only"
        return "sideways: %s and %s stand side by side" % (a, b)
    return None


def unit_of(path):
    if path.startswith("vio/"):
        part = PUBLIC.get(path[4:-2])
        if part is None:
            raise KeyError("public header <%s> has no layer: add it to PUBLIC in tests/layers" % path)
        return part
    return unit(path)


def includes(root, path):
    with open(os.path.join(root, path)) as text:
        for number, line in enumerate(text, 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if found:
                yield number, found.group(1), found.group(2)


def resolve(root, includer, quote, name):
    """The path of an included file as unit_of() wants it, or None for a system header."""
    if name.startswith("vio/"):
        return name
    if quote == "<":
        return None
    beside = os.path.normpath(os.path.join(os.path.dirname(includer), name))
    if os.path.exists(os.path.join(root, "src", beside)) and not includer.startswith("vio/"):
        return beside
    if os.path.exists(os.path.join(root, "src", name)):
        return os.path.normpath(name)
    if name == "config.h":
        return None
    raise KeyError("includes \"%s\", which is not below src/ or include/" % name)


def check_includes(root):
    problems, shared = [], []
    files = [os.path.relpath(p, os.path.join(root, "src"))
             for p in glob.glob(root + "/src/**/*.[ch]", recursive=True)]
    public = ["vio/" + os.path.basename(p) for p in glob.glob(root + "/include/vio/*.h")]
    for path in sorted(files + public):
        real = os.path.join("include" if path.startswith("vio/") else "src", path)
        for number, quote, name in includes(root, real):
            try:
                target = resolve(root, path, quote, name)
                why = target and allowed(path, target)
            except KeyError as error:
                target, why = None, error.args[0]
            if why:
                problems.append("%s:%d: %s: %s" % (real, number, name, why))
            if target == HANDLE and not KNOW_HANDLE.match(path):
                shared.append("%s:%d: only memory/ and ring/ know %s" % (real, number, HANDLE))
        if not USE_HANDLE.match(path):
            with open(os.path.join(root, real)) as text:
                shared += ["%s:%d: opens shared bytes: %s" % (real, number, line.strip())
                           for number, line in enumerate(text, 1) if USE.search(line)]
    report(len(files) > 0 and not problems, "includes follow the layers (%d files)" % len(files + public),
           problems or ([] if files else ["no source file found"]))
    report(not shared, "only memory/, the ring formats and the in-flight log open shared bytes", shared)


def check_externs(root):
    problems = []
    for path in glob.glob(root + "/src/**/*.h", recursive=True) + glob.glob(root + "/include/vio/*.h"):
        with open(path) as text:
            for number, line in enumerate(text, 1):
                if re.match(r"\s*extern\b", line) and not re.search(r'\bconst\b|extern "C"|\(', line):
                    problems.append("%s:%d: %s" % (os.path.relpath(path, root), number, line.strip()))
    report(not problems, "no extern variable but const tables", problems)


def check_globals(archive):
    """Writable data in the objects of libvio. .data.rel.ro is const: the linker fills it, then seals it."""
    table = subprocess.run(["objdump", "-t", archive], stdout=subprocess.PIPE, text=True, check=True).stdout
    problems, member, members = [], "?", 0
    for line in table.splitlines():
        found = re.match(r"(\S+\.o):\s+file format", line)
        if found:
            member, members = found.group(1), members + 1
            continue
        found = re.match(r"[0-9a-f]+ (.{7}) (\S+)\t([0-9a-f]+) (?:\.hidden )?(\S+)", line)
        if not found or "O" not in found.group(1):
            continue
        section, size, name = found.group(2), int(found.group(3), 16), found.group(4)
        if size and (re.match(r"\.(data|bss|tdata|tbss|sdata|sbss)", section) or section == "*COM*") \
                and not section.startswith(".data.rel.ro"):
            problems.append("%s: %s in %s" % (member, name, section))
    if members == 0:
        problems.append("no object in " + archive)
    report(not problems, "no mutable global in libvio (%d objects)" % members, problems)


def main():
    root, archive = sys.argv[1:3]
    check_includes(root)
    check_externs(root)
    check_globals(archive)
    print("1..4")
    sys.exit(1 if failures else 0)


main()
