#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two guests on a switch; one reboots and is reset under load, and vio dies by SIGKILL again and again under TCP and is
started anew: each time the traffic goes on, with split and with packed rings. (QEMU keeps no record of a network card's
requests in flight, and of a packed ring not even the position: vio finds it in the ring.)

VIO_GUEST_NET_KILLS: how often, 4 unless it says so."""
import os
import time

from vioguest import Failure, main, say
from vionet import Host, Nic, copy_file, iperf_rate, ping, serve_iperf, serve_nics

KILLS = int(os.environ.get("VIO_GUEST_NET_KILLS", "4"))


def until_ping(guest, address, seconds=20):
    begun = time.monotonic()
    while True:
        code, said = guest.try_run("ping -n -q -c 1 -W 1 %s" % address)
        if code == 0:
            return time.monotonic() - begun
        if time.monotonic() - begun > seconds:
            raise Failure("no ping goes through %g s later:\n%s" % (seconds, said))


def reboots(a, b):
    b.start("reboot -f")
    b.ready()
    say("rebooted; ping again after %.1f s" % until_ping(a, "192.0.2.2"))
    serve_iperf(a)
    b.start("iperf3 -f m -t 30 -c 192.0.2.1")
    time.sleep(2)
    b.qmp("system_reset")
    b.ready()
    say("reset under load; ping again after %.1f s" % until_ping(a, "192.0.2.2"))
    a.run("killall iperf3; sleep 0.5")
    ping(a, "192.0.2.2", 1472, 5)


def kills(nics, serve, a, b):
    serve_iperf(b)
    length = 6 + 4 * KILLS
    a.start("iperf3 -f m -t %d -c 192.0.2.2" % length)
    for n in range(KILLS):
        time.sleep(3)
        if not serve.process.alive():
            raise Failure("vio ended by itself\n" + serve.process.lines.tail())
        serve.process.kill()
        serve.start([nic.socket for nic in nics])
    code, said = a.finish("iperf3", length + 60)
    if code:
        raise Failure("TCP did not survive:\n" + said)
    rates = [line for line in said.splitlines() if line.rstrip().endswith("KBytes") and "Mbits/sec" in line]
    say("killed and restarted vio %d times under one TCP connection: %.0f Mbit/s over all; the last second: %s" % (
        KILLS, iperf_rate(said)[0], rates[-1].split("MBytes")[-1].strip() if rates else "?"))
    if not rates or " 0.00 Mbits/sec" in rates[-1]:
        raise Failure("nothing moved any more at the end:\n" + said)
    say("ping after %.1f s" % until_ping(a, "192.0.2.2"))
    ping(a, "192.0.2.2", 1472, 5)
    ping(b, "192.0.2.1", 9000, 5)
    copy_file(a, b, "192.0.2.2", 4)


def test(folder):
    for form in ("off", "on"):
        nics = [Nic(folder, "net,switch=a", device="packed=" + form, reconnect=True) for _ in range(2)]
        serve = serve_nics(folder, nics)
        with Host(folder, nics[:1], "192.0.2.1/24") as a, \
                Host(folder, nics[1:], "192.0.2.2/24", reboots=True) as b:
            a.ready()
            b.ready()
            say("both guests are up, packed=" + form)
            ping(a, "192.0.2.2")
            reboots(a, b)
            kills(nics, serve, a, b)
            a.bye()
            b.bye()
        serve.stop()


main(test)
