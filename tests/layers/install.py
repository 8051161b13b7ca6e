#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `make install` puts where: the program runs, the library's headers compile and link by pkg-config,
QEMU's discovery files name programs that are what they say, and the manual knows every word and option. Prints TAP.

usage: install.py BUILD_ROOT PREFIX
"""
import glob
import json
import os
import re
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


def backend_says(stage, prefix, says):
    """What the installed wrapper answers, with the program that it names taken from the stage."""
    with open(stage + says["binary"]) as text:
        script = text.read()
    path = os.path.join(stage, "backend-" + says["type"])
    with open(path, "w") as text:
        text.write(script.replace(prefix + "/", stage + prefix + "/"))
    os.chmod(path, 0o755)
    ok, output = run(path, "--print-capabilities")
    try:
        return ok and json.loads(output)["type"] == says["type"], output
    except (ValueError, KeyError):
        return False, output


def manual_lacks(program, path):
    """Words and long options of the program's help that the manual has not."""
    with open(path) as text:
        manual = re.sub(r"\\f[A-Z]", "", text.read().replace("\\-", "-"))
    _, text = run(program, "--help")
    words = re.findall(r"^  ([a-z]+) ", text, re.M)
    lacks = [] if words else ["any word"]
    for word in words:
        if not re.search(r"^\.BI? vio %s\b" % word, manual, re.M):
            lacks.append("vio " + word)
        calls = [[word, kind] for kind in ("blk", "net")] if word == "backend" else [[word]]
        for call in calls:
            _, text = run(program, *call, "--help")
            lacks += ["vio %s %s" % (" ".join(call), option) for option in re.findall(r"^  (--[a-z-]+)", text, re.M)
                      if option not in manual]
            if word == "ctl":
                lacks += ["vio ctl " + w for w in re.findall(r"^  ([a-z]+) ", text, re.M)
                          if not re.search(r"^\.BR?I? .*\b%s\b" % w, manual, re.M)]
    return lacks


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
        types = {}
        for path in found:
            with open(path) as text:
                says = json.load(text)
            types[says["type"]] = says
            report(os.access(stage + says["binary"], os.X_OK), "%s names a program that is there" % os.path.basename(path),
                   says)
            ok, output = backend_says(stage, prefix, says)
            report(ok, "that program is one for " + says["type"], output)
        report(len(found) == 2 and set(types) == {"block", "net"}, "QEMU's discovery files are there", found)

        manual = inside + "/share/man/man1/vio.1"
        lacks = manual_lacks(inside + "/bin/vio", manual) if os.path.exists(manual) else ["everything"]
        report(not lacks, "the manual has every word and option", "it lacks " + ", ".join(lacks))

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
