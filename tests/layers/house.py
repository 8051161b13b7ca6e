#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""House rules that a machine can check: the licence line, sizes, unfinished words. Prints TAP.

usage: house.py SOURCE_ROOT
"""
import os
import re
import sys

ROOT = sys.argv[1]
SKIP = {".git", "build", "corpus"}
LIMIT = 800
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")

files = []
for folder, names, found in os.walk(ROOT):
    names[:] = [n for n in names if n not in SKIP and not n.startswith("build-")]
    files += [os.path.join(folder, f) for f in found]

code = [f for f in files if re.search(r"\.(c|h|py|sh)$|/meson\.build$|/Makefile$", f)]
no_licence, too_long, unfinished = [], [], []
for path in sorted(code):
    name = os.path.relpath(path, ROOT)
    with open(path, errors="replace") as text:
        lines = text.readlines()
    if not any("SPDX-License-Identifier: MIT" in l for l in lines[:2]):
        no_licence.append(name)
    if re.search(r"\.[ch]$", name) and len(lines) > LIMIT:
        too_long.append("%s: %d lines" % (name, len(lines)))
    unfinished += ["%s:%d: %s" % (name, n, l.strip()) for n, l in enumerate(lines, 1)
                   if UNFINISHED.search(l)]

failed = 0
for what, problems in (("each source file names its licence", no_licence),
                       ("no C file is longer than %d lines" % LIMIT, too_long),
                       ("nothing says it is unfinished", unfinished)):
    ok = not problems and len(code) > 0
    print("%sok - %s" % ("" if ok else "not ", what))
    for problem in problems:
        print("# " + problem)
    failed += not ok
print("1..3")
sys.exit(1 if failed else 0)
