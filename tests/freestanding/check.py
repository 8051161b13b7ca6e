#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the freestanding part of vio with no C library: no header of one (-nostdinc, but for the
compiler's own and the two in include/) and nothing to link with but start.c. Prints TAP.

usage: check.py SOURCE_ROOT COMPILER[,COMPILER...] FILE...
"""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ALLOWED = {"memcpy", "memmove", "memset", "memcmp"}
count = failures = 0


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


def check(root, compiler, files, folder):
    own = subprocess.run([compiler, "-print-file-name=include"], stdout=subprocess.PIPE,
                         text=True, check=True).stdout.strip()
    flags = ["-std=gnu17", "-O2", "-ffreestanding", "-nostdinc", "-fno-stack-protector",
             "-ffunction-sections", "-Wall", "-Wextra", "-isystem", own,
             "-I", HERE + "/include", "-I", root + "/include", "-I", root + "/src"]
    objects = []
    for path in files:
        target = os.path.join(folder, path.replace("/", "_") + ".o")
        ok, output = run(compiler, *flags, "-c", os.path.join(root, path), "-o", target)
        report(ok, "%s: %s compiles freestanding" % (compiler, path), output)
        if ok:
            objects.append(target)
    start = os.path.join(folder, "start.o")
    ok, output = run(compiler, *flags, "-fno-builtin", "-fno-tree-loop-distribute-patterns"
                     if compiler == "gcc" else "-fno-builtin", "-c", HERE + "/start.c", "-o", start)
    if not ok:
        report(False, "%s: start.c compiles" % compiler, output)
        return
    ok, output = run(compiler, "-nostdlib", "-static", "-no-pie", "-Wl,-e,vio_test_start",
                     *objects, start, "-o", os.path.join(folder, "linked"))
    report(ok, "%s: it links with nothing else" % compiler, output)
    if ok:
        code = subprocess.run([os.path.join(folder, "linked")], timeout=20).returncode
        report(code == 0, "%s: so linked, a driver and a device exchange buffers" % compiler,
               {1: "the split ring failed", 2: "the packed ring failed"}.get(code, "exit code %d" % code))
    ok, output = run("ld", "-r", *objects, "-o", os.path.join(folder, "whole.o"))
    if ok:
        ok, output = run("nm", "-u", os.path.join(folder, "whole.o"))
        beyond = {line.split()[-1] for line in output.splitlines()} - ALLOWED
        ok, output = ok and not beyond, "asks for " + " ".join(sorted(beyond))
    report(ok, "%s: it asks for mem* alone" % compiler, output)


def main():
    root, compilers, files = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
    if not files:
        report(False, "some file is freestanding", "none is listed in freestanding_src")
    for compiler in compilers:
        if not shutil.which(compiler):
            print("ok - %s # SKIP %s is not installed" % (compiler, compiler))
            continue
        with tempfile.TemporaryDirectory() as folder:
            check(root, compiler, [os.path.relpath(f, root) for f in files], folder)
    print("1..%d" % count)
    sys.exit(1 if failures else 0)


main()
