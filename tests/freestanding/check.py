#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the freestanding part of vio with no C library: no header of one (-nostdinc, but for the
compiler's own and the two of examples/baremetal/libc) and nothing to link with but start.c and libc/mem.c; for other machines too (one of them big-endian),
where there is a compiler and qemu's user emulation for them. Prints TAP.

usage: check.py SOURCE_ROOT COMPILER[,COMPILER...] FILE...
"""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIBC = "/examples/baremetal/libc"
ALLOWED = {"memcpy", "memmove", "memset", "memcmp"}
# Of libatomic's: that machine has no atomic bytes, and the dirty log of the device side is one
ALLOWED_ON = {"riscv64": {"__atomic_fetch_or_1"}}
count = failures = 0
CROSS = ("aarch64", "riscv64", "s390x") # as NAME-linux-gnu-gcc and qemu-NAME


def report(ok, name, output=""):
    global count, failures
    count += 1
    failures += not ok
    print("%sok - %s" % ("" if ok else "not ", name))
    if not ok:
        print("# " + output.strip().replace("\n", "\n# "))


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout


def machine(compiler):
    """The machine of a cross compiler; None: this one."""
    return next((m for m in CROSS if compiler.startswith(m + "-")), None)


def check(root, compiler, files, folder):
    own = subprocess.run([compiler, "-print-file-name=include"], stdout=subprocess.PIPE,
                         text=True, check=True).stdout.strip()
    flags = ["-std=gnu17", "-O2", "-ffreestanding", "-nostdinc", "-fno-stack-protector",
             "-ffunction-sections", "-Wall", "-Wextra", "-isystem", own,
             "-I", root + LIBC, "-I", root + "/include", "-I", root + "/src"]
    if machine(compiler) == "aarch64":
        flags.append("-mno-outline-atomics") # else they are calls of libgcc's
    objects, world = [], []
    for path in files:
        target = os.path.join(folder, path.replace("/", "_") + ".o")
        ok, output = run(compiler, *flags, "-c", os.path.join(root, path), "-o", target)
        report(ok, "%s: %s compiles freestanding" % (compiler, path), output)
        if ok:
            objects.append(target)
    no_loops = ["-fno-tree-loop-distribute-patterns"] if compiler.endswith("gcc") else []
    for path in HERE + "/start.c", root + LIBC + "/mem.c":
        world.append(os.path.join(folder, "world_" + os.path.basename(path) + ".o"))
        ok, output = run(compiler, *flags, "-fno-builtin", *no_loops, "-c", path, "-o", world[-1])
        if not ok:
            report(False, "%s: %s compiles" % (compiler, os.path.basename(path)), output)
            return
    ok, output = run(compiler, "-nostdlib", "-static", "-no-pie", "-Wl,-e,vio_test_start",
                     *objects, *world, "-o", os.path.join(folder, "linked"))
    report(ok, "%s: it links with nothing else" % compiler, output)
    if ok:
        emulator = ["qemu-" + machine(compiler)] if machine(compiler) else []
        code = subprocess.run(emulator + [os.path.join(folder, "linked")], timeout=60).returncode
        report(code == 0, "%s: so linked, a driver and a device exchange buffers" % compiler,
               {1: "the split ring failed", 2: "the packed ring failed"}.get(code, "exit code %d" % code))
    tools = machine(compiler) + "-linux-gnu-" if machine(compiler) else ""
    ok, output = run(tools + "ld", "-r", *objects, "-o", os.path.join(folder, "whole.o"))
    if ok:
        ok, output = run(tools + "nm", "-u", os.path.join(folder, "whole.o"))
        beyond = {line.split()[-1] for line in output.splitlines()} - ALLOWED - \
            ALLOWED_ON.get(machine(compiler), set())
        ok, output = ok and not beyond, "asks for " + " ".join(sorted(beyond))
    report(ok, "%s: it asks for mem* alone" % compiler, output)


def main():
    global count
    root, compilers, files = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
    if not files:
        report(False, "some file is freestanding", "none is listed in freestanding_src")
    for compiler in compilers:
        missing = [t for t in [compiler] + ["qemu-" + m for m in [machine(compiler)] if m] if not shutil.which(t)]
        if missing:
            print("ok - %s # SKIP %s is not installed (scripts/install-deps.sh test)" % (compiler, " and ".join(missing)))
            count += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            check(root, compiler, [os.path.relpath(f, root) for f in files], folder)
    print("1..%d" % count)
    sys.exit(1 if failures else 0)


main()
