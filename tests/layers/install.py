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

        links(stage, inside)
        exports(inside)
        pages(inside)


def links(stage, inside):
    """A program of a user's, by pkg-config, on the shared library and on the static one."""
    source = os.path.join(stage, "user.c")
    with open(source, "w") as text:
        text.write("#include <vio/vio.h>\n#include <stdio.h>\n"
                   "int main(void) { puts(vio_fault_name(VIO_FAULT_CHAIN_LOOP)); return 0; }\n")
    pc = glob.glob(inside + "/**/pkgconfig", recursive=True)
    env = dict(os.environ, PKG_CONFIG_PATH=":".join(pc), PKG_CONFIG_SYSROOT_DIR=stage)
    compiler = shutil.which("cc") or "gcc"
    for kind, name in ((["--static"], "static"), ([], "shared")):
        ok, flags = run("pkg-config", *kind, "--cflags", "--libs", "vio", env=env)
        # the staged prefix goes before the system's folders, which keep their place
        flags = [f.replace(stage + "/usr/lib/x86", "/usr/lib/x86") for f in flags.split()]
        if name == "static":
            flags = ["-l:libvio.a" if f == "-lvio" else f for f in flags]
        output = " ".join(flags)
        if ok:
            ok, output = run(compiler, source, *flags, "-o", os.path.join(stage, "user"))
        if ok:
            folders = ":".join(os.path.dirname(p) for p in glob.glob(inside + "/**/libvio.so.0", recursive=True))
            ok, output = run(os.path.join(stage, "user"), env=dict(os.environ, LD_LIBRARY_PATH=folders))
        report(ok and output.strip() == "chain-loop", "a program builds on the installed %s library by pkg-config" % name,
               output)


def declared(inside):
    """What the public headers declare, functions and tables, without those that are inline."""
    names = set()
    for path in glob.glob(inside + "/include/vio/*.h"):
        with open(path) as text:
            plain = re.sub(r"/\*.*?\*/", "", text.read(), flags=re.S)
        inline = set(re.findall(r"static inline[^;{]*?\b(vio_\w+)\(", plain))
        outside = re.sub(r"\{[^{}]*\}", "", re.sub(r"\{[^{}]*\}", "", re.sub(r"\{[^{}]*\}", "", plain)))
        names |= set(re.findall(r"^[a-z][\w \*]*?\b(vio_\w+)\(", outside, re.M)) - inline
        names |= set(re.findall(r"^extern const [\w ]+?\b(vio_\w+)(?:\[\w*\])?;", outside, re.M))
    return names


def exports(inside):
    """The shared library shows what the headers declare, with a version, and nothing else."""
    for library in glob.glob(inside + "/**/libvio.so.0", recursive=True):
        _, text = run("nm", "-D", "--defined-only", library)
        found = dict(line.split()[-1].partition("@@")[::2] for line in text.splitlines() if " A " not in line)
        wanted = declared(inside)
        report(found.keys() == wanted, "the shared library shows what the headers declare (%d names)" % len(wanted),
               "missing %s, beyond %s" % (sorted(wanted - found.keys()), sorted(found.keys() - wanted)))
        report(set(found.values()) == {"VIO_0"}, "each with its version", sorted(set(found.values())))
        return
    report(False, "there is a shared library", glob.glob(inside + "/**/libvio*", recursive=True))


def pages(inside):
    """A manual page of section 3 for each public call."""
    folder = inside + "/share/man/man3/"
    calls = {n for n in declared(inside) if not n.endswith("_")}
    lacks = sorted(c for c in calls if not c.startswith("vio_driver_") and not os.path.exists(folder + c + ".3"))
    report(not lacks, "each public call has a page of the manual (%d)" % len(calls), "not: " + " ".join(lacks))
    dead = []
    for path in glob.glob(folder + "*.3"):
        with open(path) as text:
            first = text.readline().split()
        if first[:1] == [".so"] and not os.path.exists(os.path.dirname(folder.rstrip("/")) + "/" + first[1]):
            dead.append(path)
    report(not dead, "and none points to a page that is not there", dead)


main()
print("1..%d" % count)
sys.exit(1 if failures else 0)
