#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Split and packed rings, each with and without indirect descriptors and event indices: eight disks of one vio
process in one guest, each written and verified, with what was negotiated read from the guest's kernel."""
import itertools

from vioguest import Disk, Guest, main, serve_together

FEATURES = {"indirect": 28, "event": 29, "packed": 34}
HEAD = r"""
bit() { # DISK BIT: what the guest's driver and the device agreed on
    cut -c$(($2 + 1)) /sys/block/$1/device/features
}
load() {
    fio --name=$1 --filename=/dev/$1 --ioengine=libaio --direct=1 --size=8m --rw=randwrite --bsrange=512-64k \
        --iodepth=32 --verify=crc32c --verify_fatal=1
}
"""


def test(folder):
    disks, names, script = [], [], HEAD
    for n, (packed, indirect, event) in enumerate(itertools.product((0, 1), repeat=3)):
        word = ["off", "on"]
        disks.append(Disk(folder, size=8 << 20, start=False, device="packed=%s,indirect_desc=%s,event_idx=%s" % (
            word[packed], word[indirect], word[event])))
        name = "%s%s%s" % ("packed" if packed else "split", "-indirect" if indirect else "",
                           "-event-idx" if event else "")
        disk = "vd" + "abcdefgh"[n]
        for feature, value in (("packed", packed), ("indirect", indirect), ("event", event)):
            names.append("%s:%s" % (name, feature))
            script += "check %s test $(bit %s %d) = %d\n" % (names[-1], disk, FEATURES[feature], value)
        names.append(name + ":verified")
        script += "check %s load %s\n" % (names[-1], disk)
    serve = serve_together(folder, disks)
    with Guest(folder, disks, script) as guest:
        guest.wait_end(180, names)
    serve.stop()


main(test)
