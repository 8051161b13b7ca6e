#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mistakes that the types must refuse: each snippet here must not compile, and must compile with
-DGOOD, where it does the same thing rightly; so it fails for its reason and not for a typing slip.
With each compiler found among those named. Prints TAP.

usage: run.py SOURCE_ROOT COMPILER...
"""
import glob
import os
import shutil
import subprocess
import sys


def compiles(compiler, root, snippet, *more):
    done = subprocess.run(
        [compiler, "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wconversion", "-Werror",
         "-I", root + "/include", "-I", root + "/src", "-fsyntax-only", *more, snippet],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout


def main():
    root, compilers = sys.argv[1], sys.argv[2:]
    snippets = sorted(glob.glob(os.path.join(root, "tests", "compile_fail", "*.c")))
    failed = count = 0
    for compiler in compilers:
        if not shutil.which(compiler):
            print("ok - %s # SKIP %s is not installed" % (compiler, compiler))
            count += 1
            continue
        for snippet in snippets:
            name = os.path.basename(snippet)[:-2]
            bad_passes, _ = compiles(compiler, root, snippet)
            good_passes, output = compiles(compiler, root, snippet, "-DGOOD")
            ok = good_passes and not bad_passes
            print("%sok - %s: %s" % ("" if ok else "not ", compiler, name))
            if bad_passes:
                print("# compiles, and must not")
            if not good_passes:
                print("# with -DGOOD it must compile:")
                print("# " + output.replace("\n", "\n# "))
            failed += not ok
            count += 1
    if not snippets:
        print("not ok - no snippet found")
        failed, count = failed + 1, count + 1
    print("1..%d" % count)
    sys.exit(1 if failed else 0)


main()
