#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests in every configuration and adds them up.

A configuration is a compiler, meson options and the suites that say something there. Cases are
counted, not programs: a cmocka program counts each of its tests, a script that prints TAP each
of its points, anything else counts as one. Exit code 77 is a skip.

usage: check.py [CONFIGURATION...]      without one: all
"""
import json
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"), "check")
C_SUITES = ["unit", "model", "sim", "regress", "hostile", "protocol", "fuzz"]

CONFIGURATIONS = {
    # name: (what it is, CC, meson options, suites)
    "gcc": ("gcc, warnings are errors", "gcc", ["-Dwerror=true"],
            C_SUITES + ["static", "bench", "docs"]),
    "clang": ("clang, warnings are errors", "clang", ["-Dwerror=true"],
              ["unit", "model", "regress", "protocol"]),
    "asan": ("clang, address and undefined-behaviour sanitizers", "clang",
             ["-Db_sanitize=address,undefined", "-Db_lundef=false",
              "-Dc_args=-fno-sanitize-recover=all -fno-omit-frame-pointer"], C_SUITES),
    "tsan": ("gcc, thread sanitizer", "gcc",
             ["-Db_sanitize=thread", "-Db_lundef=false"],
             ["unit", "model", "sim", "regress", "hostile", "protocol"]),
    "s390x": ("s390x, big-endian, run by qemu-user", "s390x", ["-Dwerror=true"], ["unit", "model", "sim", "regress", "hostile"]),
    "arm64": ("aarch64, run by qemu-user", "arm64", ["-Dwerror=true"], ["unit", "model", "sim", "regress", "hostile"]),
    "guest": ("a Linux guest, and machines without one, on the gcc build", "gcc", ["-Dwerror=true"], ["guest", "baremetal"]),
}
# One thread, many thousand rings: nothing for the thread sanitizer, and minutes with it.
LEFT_OUT = {"tsan": {("model", "ring"), ("model", "crash_points")}}
# Machines that are emulated: their tests run by qemu-user, which is not the kernel.
CROSS = {"s390x", "arm64"}
NOT_EMULATED = {
    ("unit", "device_core"): "qemu-user has no preadv2() with RWF_NOWAIT",
    ("unit", "backend-net-tap"): "qemu-user has no PACKET_VNET_HDR",
    ("unit", "backend-net-tap-host"): "qemu-user lacks requests to taps and interfaces",
}
NOT_EMULATED_ON = {"s390x": {
    (suite, name): "qemu-user of s390x does not deliver SIGBUS for a file that was cut short"
    for suite, name in (("unit", "vhost_user_table"), ("unit", "cli_guard"), ("unit", "backend-map"))}}
# Sanitizers make programs slower; a test may take so many times its time.
PATIENCE = {"asan": 3, "tsan": 4, "s390x": 4, "arm64": 4}
# Two configurations may share one build.
FOLDER = {"guest": "gcc"}
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}

CMOCKA = re.compile(r"^\[\s*(OK|FAILED|SKIPPED)\s*\] (\S.*?)\s*$", re.M)
TAP = re.compile(r"^(not )?ok\b[ \d]*-?[ ]*([^#\n]*)(?:#[ ]*skip\b[ ]*([^\n]*))?((?:\n#[^\n]*)*)",
                 re.M | re.I)


class Total:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []  # (kind, where, why)

    def add(self, kind, where="", why=""):
        if kind == "passed":
            self.passed += 1
        elif kind == "failed":
            self.failed += 1
            self.notes.append(("FAIL", where, why))
        else:
            self.skipped += 1
            self.notes.append(("SKIP", where, re.sub(r"^SKIP:?\s*", "", why)))


def last_line(text, pattern=None):
    lines = [l.strip() for l in text.splitlines() if l.strip()]
    if pattern:
        found = [l for l in lines if re.search(pattern, l)]
        lines = found or lines
    return lines[-1][:300] if lines else ""


def reason(text, name):
    """What a cmocka test said between its start and its being skipped."""
    found = re.search(r"\[ RUN      \] %s\n(.*?)\[  SKIPPED \] %s" % ((re.escape(name),) * 2), text, re.S)
    return last_line(found.group(1), r"SKIP") if found else ""


def count(result, total, where):
    """Adds one meson test to the total, by case where its output names cases."""
    text = (result.get("stdout") or "") + "\n" + (result.get("stderr") or "")
    code, outcome = result.get("returncode", 1), result["result"]
    if outcome == "SKIP" or code == 77:
        total.add("skipped", where, last_line(text, r"SKIP"))
        return
    cases = [(kind, name, reason(text, name) if kind == "SKIPPED" else "")
             for kind, name in CMOCKA.findall(text)]
    # cmocka repeats the failed ones in a list at the end: "[  FAILED  ] name" once more
    if cases:
        seen, unique = set(), []
        for kind, name, why in cases:
            if kind == "FAILED" and (re.match(r"\S+: \d+ test", name) or re.match(r"\d+ test", name)):
                continue
            if kind == "SKIPPED" and re.match(r"\S+: \d+ test|\d+ test", name):
                continue
            if (kind, name) not in seen or kind == "OK":
                unique.append((kind, name, why))
            seen.add((kind, name))
        cases = unique
    else:
        for bad, name, skip, why in TAP.findall(result.get("stdout") or ""):
            kind = "SKIPPED" if skip else "FAILED" if bad else "OK"
            said = [l.strip("# ") for l in why.splitlines() if l.strip("# ")]
            errors = [l for l in said if re.match(r"[\w.]*(Error|Exception|Failure|Failed|Wrong)\b", l)]
            why = (errors[-1:] or said[:1] or [""])[0]  # Python's trace comes before its error
            cases.append((kind, name.strip(), skip or why))
    bad = outcome not in ("OK", "EXPECTEDFAIL")
    if not cases:
        why = "" if not bad else ("timed out" if outcome == "TIMEOUT" else
                                  "exit code %s: %s" % (code, last_line(text)))
        total.add("failed" if bad else "passed", where, why)
        return
    failed_before = total.failed
    for kind, name, why in cases:
        total.add({"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}[kind],
                  "%s: %s" % (where, name), why)
    if bad and total.failed == failed_before:
        total.add("failed", where, "timed out" if outcome == "TIMEOUT" else
                  "ended with exit code %s: %s" % (code, last_line(text)))


def run(command, env=None):
    return subprocess.run(command, cwd=TOP, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def build(name, total):
    _, compiler, options, _ = CONFIGURATIONS[name]
    folder = os.path.join(BUILD, FOLDER.get(name, name))
    env = dict(os.environ)
    if name in CROSS:
        done = run([os.path.join("scripts", "cross-root.sh"), compiler])
        print(done.stdout, end="")
        if done.returncode:
            total.add("failed", name, last_line(done.stdout))
            return None
        place = os.environ.get("VIO_CROSS_DIR", os.path.join(os.environ.get("BUILD", "build"), "cross"))
        options = options + ["--cross-file", os.path.join(place, compiler, "cross.ini"), "-Dlibnbd=disabled", "-Dslirp=disabled"]
    else:
        env["CC"] = compiler
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        os.makedirs(folder, exist_ok=True)
        done = run(["meson", "setup", folder] + options, env)
        if done.returncode:
            print(done.stdout[-3000:])
            total.add("failed", name, "meson setup failed: " + last_line(done.stdout, "ERROR"))
            return None
    done = run(["ninja", "-C", folder], env)
    if done.returncode:
        print(done.stdout[max(done.stdout.find("FAILED:"), 0):][:4000])
        total.add("failed", name, "does not build: " + last_line(done.stdout, r"error:"))
        return None
    total.add("passed")  # that it builds, without a warning where those are errors
    return folder


def test(name, folder, total):
    suites = CONFIGURATIONS[name][3]
    known = run(["meson", "introspect", folder, "--tests"]).stdout
    suite_of = {tuple(t["cmd"]): t["suite"][0].split(":")[-1] for t in json.loads(known)}
    have = set(suite_of.values())
    left_out = set(LEFT_OUT.get(name, set()))
    if name in CROSS:
        known_not = {**NOT_EMULATED, **NOT_EMULATED_ON.get(name, {})}
        left_out |= set(known_not)
        for (suite, test_name), why in known_not.items():
            total.add("skipped", "%s/%s/%s" % (name, suite, test_name), why)
    names = {t["name"] for t in json.loads(known)
             if (t["suite"][0].split(":")[-1], t["name"]) not in left_out}
    wanted = [s for s in suites if s in have]
    if not wanted:
        total.add("skipped", name, "none of its suites is built: " + " ".join(suites))
        return
    command = ["meson", "test", "-C", folder, "--no-rebuild", "--setup", "everything",
               "--logbase", "check-" + name, "--timeout-multiplier", str(PATIENCE.get(name, 1))]
    for suite in wanted:
        command += ["--suite", suite]
    if left_out:
        command += sorted(names)
    log = os.path.join(folder, "meson-logs", "check-%s-everything.json" % name)
    if os.path.exists(log):
        os.remove(log)
    env = dict(os.environ, **SANITIZER_ENV)
    # Addresses laid out at random reach where gcc 12's and clang 14's sanitizers keep their shadow.
    prefix = ["setarch", "-R"] if name in ("asan", "tsan") else []
    if name == "guest":
        # minutes long: show each result as it comes
        done = subprocess.run(command, cwd=TOP, env=env, stdin=subprocess.DEVNULL)
        output = "meson test ended with %d" % done.returncode
    else:
        output = run(prefix + command, env).stdout
    if not os.path.exists(log):
        print(output[-3000:])
        total.add("failed", name, "meson test left no log")
        return
    by_suite = {}
    with open(log) as lines:
        for line in lines:
            result = json.loads(line)
            test_name = result["name"].split(" / ")[-1]
            suite = suite_of.get(tuple(result["command"])) or suite_of.get(tuple(result["command"][-1:]), "other") # emulated
            part = by_suite.setdefault(suite, Total())
            count(result, part, "%s/%s/%s" % (name, suite, test_name))
    for suite, part in by_suite.items():
        print("  %-12s %4d passed %3d failed %3d skipped"
              % (suite, part.passed, part.failed, part.skipped))
        total.passed += part.passed
        total.failed += part.failed
        total.skipped += part.skipped
        total.notes += part.notes
    for kind, where, why in total.notes:
        if kind == "FAIL":
            print("  FAIL %s: %s" % (where, why))


def main():
    names = sys.argv[1:] or list(CONFIGURATIONS)
    unknown = [n for n in names if n not in CONFIGURATIONS]
    if unknown:
        sys.exit("check: no configuration '%s'; there are: %s"
                 % (unknown[0], " ".join(CONFIGURATIONS)))
    grand = Total()
    for name in names:
        print("== %s: %s" % (name, CONFIGURATIONS[name][0]), flush=True)
        begun = time.monotonic()
        part = Total()
        folder = build(name, part)
        if folder:
            test(name, folder, part)
        print("  %.0f s\n" % (time.monotonic() - begun), flush=True)
        grand.passed += part.passed
        grand.failed += part.failed
        grand.skipped += part.skipped
        grand.notes += part.notes
    for kind in ("SKIP", "FAIL"):
        for what, where, why in grand.notes:
            if what == kind:
                print("%s %s: %s" % (kind, where, why or "no reason given"))
    if grand.failed:
        print("Logs: %s/*/meson-logs/check-*.txt" % os.path.relpath(BUILD, TOP))
    summary = "%d passed, %d failed, %d skipped" % (grand.passed, grand.failed, grand.skipped)
    with open(os.path.join(BUILD, "summary"), "w") as kept:
        kept.write(summary + "\n")
    print(summary)
    sys.exit(1 if grand.failed else 0)


if __name__ == "__main__":
    main()
