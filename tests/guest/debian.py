#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small Debian, made by mmdebstrap, boots with systemd from a disk that vio serves, checks each file of its packages
against their checksums and powers off. Its image is made once, under build/guest."""
import glob
import os
import re
import shutil
import subprocess
import sys

from vioguest import GUEST_DIR, Disk, Failure, Guest, Skip, fsck, image, main, say

UNIT = """[Unit]
Description=what the guest test wants to know
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/root/check
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
[Install]
WantedBy=multi-user.target
"""
CHECK = r"""#!/bin/sh
say() { echo "VIO-TEST: $*"; }
say debian $(cat /etc/debian_version) runs from $(findmnt -n -o SOURCE /)
if dpkg --verify >/tmp/verify 2>&1 && [ ! -s /tmp/verify ]; then
    say ok packages-intact
else
    say fail packages-intact $(head -c 200 /tmp/verify)
fi
if dd if=/dev/urandom of=/root/data bs=1M count=16 2>/dev/null && sync && sha256sum /root/data >/root/sum &&
    echo 3 >/proc/sys/vm/drop_caches && sha256sum -c --quiet /root/sum; then
    say ok writes
else
    say fail writes
fi
rm /root/data
say end
systemctl poweroff
"""
SCRIPT = r"""
check root mount -t ext4 /dev/vda /mnt
umount /proc
exec switch_root /mnt /sbin/init
"""


def sources():
    """The files by which apt knows this Debian release, and nobody else's packages."""
    found = glob.glob("/etc/apt/sources.list") + glob.glob("/etc/apt/sources.list.d/*.list") + \
        glob.glob("/etc/apt/sources.list.d/*.sources")
    debian = []
    for path in sorted(found):
        with open(path) as text:
            lines = [l for l in text if not l.lstrip().startswith("#")]
        if any(re.match(r"(deb\s.*|Suites:.*)\bbookworm\b", l) for l in lines):
            debian.append(path)
    return debian


def make(target):
    """As root: the file system of a small Debian, with the check as a service, in an image."""
    tree = target + ".tree"
    shutil.rmtree(tree, ignore_errors=True)
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=systemd-sysv",
         "bookworm", tree] + sources(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit("mmdebstrap failed:\n" + done.stdout[-1500:])
    for path, text, mode in (("root/check", CHECK, 0o755),
                             ("etc/systemd/system/check.service", UNIT, 0o644)):
        with open(os.path.join(tree, path), "w") as out:
            out.write(text)
        os.chmod(os.path.join(tree, path), mode)
    wants = os.path.join(tree, "etc/systemd/system/multi-user.target.wants")
    os.makedirs(wants, exist_ok=True)
    os.symlink("../check.service", os.path.join(wants, "check.service"))
    with open(target + ".new", "wb") as out:
        out.truncate(600 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-d", tree, target + ".new"], check=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(tree)
    os.chmod(target + ".new", 0o644)
    os.rename(target + ".new", target)


def have_image():
    made = os.path.join(GUEST_DIR, "debian.img")
    if os.path.exists(made):
        return made
    if not shutil.which("mmdebstrap", path=os.environ["PATH"] + ":/usr/sbin"):
        raise Skip("mmdebstrap is not installed (scripts/install-deps.sh guest)")
    if not sources():
        raise Skip("no file below /etc/apt says where the packages of Debian 12 are")
    command = [sys.executable, os.path.abspath(__file__), "--make", made]
    if os.geteuid() != 0:
        if subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL).returncode:
            raise Skip("making a Debian root file system needs root, or sudo without a password")
        command.insert(0, "sudo")
    say("making a small Debian with mmdebstrap")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode:
        raise Failure(done.stdout)
    return made


def test(folder):
    image()
    made = have_image()
    copy = os.path.join(folder, "debian.img")
    subprocess.run(["cp", "--sparse=always", made, copy], check=True)
    disk = Disk(folder, image=copy, device="bootindex=1")
    with Guest(folder, [disk], SCRIPT, append="systemd.getty_auto=0") as guest:
        guest.wait_end(150, ["packages-intact", "writes"])
    disk.serve.stop()
    fsck(copy)


if sys.argv[1:2] == ["--make"]:
    make(sys.argv[2])
else:
    main(test)
