#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How large the freestanding driver of a disk over MMIO is (tests/freestanding/size.c and what it needs of vio), for aarch64
with -Os. It fails above LIMIT. Prints TAP.

usage: size.py SOURCE_ROOT FILE...
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIBC = "/examples/baremetal/libc"
COMPILER = "aarch64-linux-gnu-gcc"
LIMIT = 24 << 10 # bytes of code


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout)
    return done.stdout


def build(root, files, folder):
    own = run(COMPILER, "-print-file-name=include").strip()
    flags = ["-std=gnu17", "-Os", "-ffreestanding", "-nostdinc", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables",
             "-fno-pic", "-fno-pie", "-mno-outline-atomics", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra",
             "-isystem", own, "-I", root + LIBC, "-I", root + "/include", "-I", root + "/src"]
    objects = []
    for path in files + [HERE + "/size.c", root + LIBC + "/mem.c"]:
        objects.append(os.path.join(folder, os.path.relpath(path, root).replace("/", "_") + ".o"))
        run(COMPILER, *flags, "-fno-tree-loop-distribute-patterns", "-c", path, "-o", objects[-1])
    linked = os.path.join(folder, "linked")
    run(COMPILER, "-nostdlib", "-static", "-no-pie", "-Wl,-e,vio_size_start", "-Wl,--gc-sections", "-Wl,--build-id=none",
        *objects, "-o", linked)
    return linked


def sizes(linked):
    """Bytes of code, constants (sentences for people, mostly) and memory."""
    found = {}
    for line in run("aarch64-linux-gnu-size", "-A", linked).splitlines():
        words = line.split()
        if len(words) == 3 and words[0].startswith("."):
            found[words[0]] = int(words[1])
    return found.get(".text", 0), found.get(".rodata", 0), found.get(".data", 0) + found.get(".bss", 0)


def main():
    root, files = sys.argv[1], sys.argv[2:]
    if not shutil.which(COMPILER):
        print("ok 1 - the driver's size # SKIP %s is not installed (scripts/install-deps.sh test)\n1..1" % COMPILER)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            text, constants, memory = sizes(build(root, files, folder))
            ok, why = 0 < text <= LIMIT, "it is above the limit"
        except RuntimeError as error:
            text, constants, memory, ok, why = 0, 0, 0, False, str(error)
    print("%sok 1 - a disk's driver over MMIO has %d bytes of code on aarch64, of %d (and %d of constants; %d of memory, of which "
          "65536 are its pool)" % ("" if ok else "not ", text, LIMIT, constants, memory))
    if not ok:
        print("# " + re.sub(r"\n", "\n# ", why.strip()))
    print("1..1")
    return 0 if ok else 1


sys.exit(main())
