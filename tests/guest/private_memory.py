#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest whose memory is not shared (no share=on): its user is told so in one sentence with the fix, by vio or by QEMU."""
from vioguest import Disk, Failure, Guest, main, say


def test(folder):
    disk = Disk(folder, size=16 << 20)
    with Guest(folder, [disk], "check size test $(blockdev --getsize64 /dev/vda) -gt 0", share=False) as guest:
        guest.kernel_errors_expected = True
        for _ in range(150):
            said = [l for l in disk.serve.process.lines.all + guest.process.lines.all if "share=on" in l]
            if said:
                say("said: " + said[0])
                break
            if not guest.process.alive():
                break
            guest.process.popen.poll()
            try:
                guest.process.popen.wait(0.1)
            except Exception:
                pass
        else:
            said = []
        if not said:
            raise Failure("nobody says that the guest's memory must be share=on")
        if not disk.serve.process.alive():
            raise Failure("vio ended for it")


main(test)
