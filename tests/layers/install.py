#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `make install` puts where: the program runs, the library's headers compile and link by pkg-config, and
QEMU's discovery file names a program that is there. Prints TAP.

usage: install.py BUILD_ROOT PREFIX
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

failures = count = 0


def report(ok, name, why=""):
    global failures, count
    count += 1
    failures += not ok
    print("%sok - %s" % ("" if ok else "not ", name))
    if not ok:
        print("# " + str(why).strip().replace("\n", "\n# "))


def run(*command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **more)
    return done.returncode == 0, done.stdout


def main():
    build, prefix = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as stage:
        ok, output = run("meson", "install", "-C", build, "--no-rebuild", "--destdir", stage)
        report(ok, "it installs", output)
        if not ok:
            return
        inside = stage + prefix
        ok, output = run(inside + "/bin/vio", "version")
        report(ok and "vio" in output, "the program runs", output)

        found = glob.glob(inside + "/share/qemu/vhost-user/*.json")
        report(len(found) == 1, "QEMU's discovery file is there", found)
        for path in found:
            with open(path) as text:
                says = json.load(text)
            report(says["type"] == "block" and os.access(stage + says["binary"], os.X_OK),
                   "it names a program that is there", says)

        source = os.path.join(stage, "user.c")
        with open(source, "w") as text:
            text.write("#include <vio/vio.h>\n#include <stdio.h>\n"
                       "int main(void) { puts(vio_fault_name(VIO_FAULT_CHAIN_LOOP)); return 0; }\n")
        pc = glob.glob(inside + "/**/pkgconfig", recursive=True)
        env = dict(os.environ, PKG_CONFIG_PATH=":".join(pc), PKG_CONFIG_SYSROOT_DIR=stage)
        compiler = shutil.which("cc") or "gcc"
        ok, flags = run("pkg-config", "--static", "--cflags", "--libs", "vio", env=env)
        # the staged prefix goes before the system's folders, which keep their place
        flags = [f.replace(stage + "/usr/lib/x86", "/usr/lib/x86") for f in flags.split()]
        if ok:
            ok, output = run(compiler, source, *flags, "-o", os.path.join(stage, "user"))
            if ok:
                ok, output = run(os.path.join(stage, "user"))
        else:
            output = " ".join(flags)
        report(ok and output.strip() != "", "a program builds on the installed library by pkg-config", output)


main()
print("1..%d" % count)
sys.exit(1 if failures else 0)
