#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest behind vio's own address translation: it gets its address by DHCP, fetches a file from a web server on the
host's loopback, and a port of the host's leads into it."""
import hashlib
import http.server
import os
import socket
import threading
import time

from vioguest import Failure, Skip, main, say
from vionet import Host, Nic, ping, serve_nics

MIB = 1 << 20
SETUP = r"""cat >/tmp/dhcp.sh <<'END'
#!/bin/sh
case $1 in
bound|renew)
    /bin/ip address add $ip/$mask dev $interface
    [ -z "$router" ] || /bin/ip route add default via ${router%% *}
    echo "address $ip/$mask router $router dns $dns" >/tmp/lease ;;
esac
END
chmod +x /tmp/dhcp.sh"""


HEAD = b"HTTP/1.0 200 OK\r\n\r\n"


class Files(http.server.BaseHTTPRequestHandler):
    content = b""

    def do_GET(self):
        self.wfile.write(HEAD + self.content)

    def log_message(self, *what):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def lease(guest):
    guest.run("udhcpc -i eth0 -q -n -t 10 -T 1 -s /tmp/dhcp.sh", 30)
    said = guest.run("cat /tmp/lease")
    say("DHCP gave " + said)
    if "10.0.2.15/" not in said:
        raise Failure("DHCP gave no 10.0.2.15: " + said)


def fetch(guest, port, content):
    begun = time.monotonic()
    # not wget: that of a busybox linked statically crashes in the C library's search for name services
    guest.run(r"printf 'GET /file HTTP/1.0\r\n\r\n' | nc -w 10 10.0.2.2 %d | tail -c +%d >/tmp/file" % (
        port, len(HEAD) + 1), 90)
    got = guest.run("sha256sum </tmp/file").split()[0]
    if got != hashlib.sha256(content).hexdigest():
        raise Failure("the file fetched from 10.0.2.2 is another")
    took = time.monotonic() - begun
    say("fetched %d MiB from 10.0.2.2 in %.1f s" % (len(content) // MIB, took))
    if took > 30: # about a second; a minute and more where each burst waits for a timer
        raise Failure("that is far too slow")


def forwarded(guest, port):
    """What the host sends to its port arrives in the guest; what that answers comes back."""
    data = os.urandom(MIB)
    guest.run("take_file /tmp/got 22; sleep 0.5")
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(data)
    guest.run("wait $taking", 30)
    if guest.run("sha256sum </tmp/got").split()[0] != hashlib.sha256(data).hexdigest():
        raise Failure("what was sent to the forwarded port arrived as something else")
    guest.run("(echo answer | nc -l -p 22 >/dev/null) & sleep 0.5")
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.settimeout(10)
        if s.recv(100) != b"answer\n":
            raise Failure("the guest's answer did not come back through the forwarded port")
    say("the forwarded port leads into the guest, both ways")


def test(folder):
    port = free_port()
    nic = Nic(folder, "net,user,forward=tcp:127.0.0.1:%d:22" % port)
    try:
        serve = serve_nics(folder, [nic])
    except Failure as why:
        if "libslirp" in str(why):
            raise Skip("vio has no libslirp here: " + str(why).splitlines()[-1].strip(" |"))
        raise
    Files.content = os.urandom(8 * MIB)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Host(folder, [nic], setup=SETUP) as guest:
        guest.ready()
        lease(guest)
        ping(guest, "10.0.2.2")
        fetch(guest, server.server_port, Files.content)
        forwarded(guest, port)
        guest.bye()
    server.shutdown()
    serve.stop()


main(test)
