#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest moves between two ports of a switch, there and back, while it sends and receives: its connection goes on, and the
switch learns where it is now.

VIO_GUEST_NET_MIGRATIONS: how many times there and back, 2 unless it says so."""
import os
import time

from vioguest import Failure, main, migrate, say
from vionet import Host, Nic, copy_file, iperf_rate, ping, serve_iperf, serve_nics

ROUNDS = int(os.environ.get("VIO_GUEST_NET_MIGRATIONS", "2"))
MAC = "52:54:00:76:01:01"


def moves(folder, form, ports, stays, guest):
    length = 8 + 12 * ROUNDS
    guest.start("iperf3 -f m --bidir -t %d -c 192.0.2.1" % length)
    for n in range(2 * ROUNDS):
        time.sleep(2)
        path = os.path.join(folder, "migration-%s%d" % (form, n))
        target = Host(folder, [ports[(n + 1) % 2]], "192.0.2.2/24", incoming="unix:" + path)
        took, downtime = migrate(guest, target, path)
        guest.qmp("quit")
        guest.process.popen.wait(20)
        guest.process.kill()
        say("migration %d took %.1f s, the guest stood still for %d ms" % (n + 1, took, downtime))
        guest = target
        begun = time.monotonic()
        stays.run("until ping -n -q -c 1 -W 1 192.0.2.2; do :; done", 20)
        say("it answers %.1f s later" % (time.monotonic() - begun))
    code, said = guest.finish("iperf3", length + 60)
    if code:
        raise Failure("TCP did not survive:\n" + said)
    say("one TCP connection each way over all of them: %.0f Mbit/s" % iperf_rate(said)[0])
    return guest


def test(folder):
    for form in ("off", "on"):
        fixed = Nic(folder, "net,switch=a", device="packed=" + form)
        ports = [Nic(folder, "net,switch=a", device="packed=" + form, mac=MAC) for _ in range(2)]
        serve = serve_nics(folder, [fixed] + ports)
        with Host(folder, [fixed], "192.0.2.1/24") as stays:
            guest = Host(folder, ports[:1], "192.0.2.2/24")
            stays.ready()
            guest.ready()
            say("both guests are up, packed=" + form)
            serve_iperf(stays)
            guest = moves(folder, form, ports, stays, guest)
            ping(guest, "192.0.2.1", 1472)
            copy_file(stays, guest, "192.0.2.2", 4, 7001)
            copy_file(guest, stays, "192.0.2.1", 4, 7002)
            guest.bye()
            stays.bye()
        serve.stop()


main(test)
