# SPDX-License-Identifier: MIT
"""What the tests of vio's tap share: a network namespace of the test's own, where the taps are, and commands run in it. Needs root."""
import os
import shutil
import subprocess

from vioguest import Failure, Skip, main

NAMESPACE = "vio-test-%d" % os.getpid()
INSIDE = ["ip", "netns", "exec", NAMESPACE]


def host(*command):
    """What it prints; Failure where it fails."""
    done = subprocess.run(INSIDE + list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    if done.returncode:
        raise Failure("%s: %s" % (" ".join(command), done.stdout))
    return done.stdout


def make_namespace(tools):
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        raise Skip("a tap and a network namespace need root")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("this kernel has no /dev/net/tun (modprobe tun)")
    for tool in tools:
        if not shutil.which(tool):
            raise Skip("%s is not installed (scripts/install-deps.sh guest)" % tool)
    made = subprocess.run(["ip", "netns", "add", NAMESPACE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if made.returncode:
        raise Skip("no network namespace can be made here: " + made.stdout.strip())


def main_inside(run, *tools):
    """The program of a test: run(folder) with the namespace there, which goes with it. tools: what it cannot do without."""
    def test(folder):
        make_namespace(tools)
        try:
            host("ip", "link", "set", "lo", "up")
            run(folder)
        finally:
            subprocess.run(["ip", "netns", "delete", NAMESPACE])

    main(test)
