#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A large file by scp from one Linux guest to another over a switch, and one fetched from a web server through `user`, whose
network gave the guest its address by DHCP: the hashes of both ends are compared."""
import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import threading

from vioguest import Failure, Skip, main, say
from viouml import Uml, UmlNic, Vio, needs, no_complaints, unpacked

MIB = 64
SSH = ("-F none -i /tmp/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
       "-o IdentitiesOnly=yes")
# Who it is: the guest's root is this machine's, which need not know a user sshd, or let root in
SSHD = r"""
mkdir -p /run/sshd
{ grep -v ^sshd: /etc/passwd; echo 'sshd:x:65000:65534::/run/sshd:/usr/sbin/nologin'; } >/tmp/passwd
{ echo 'root:*:19000:0:99999:7:::'; echo 'sshd:*:19000:0:99999:7:::'; } >/tmp/shadow
chmod 600 /tmp/shadow
mount --bind /tmp/passwd /etc/passwd
mount --bind /tmp/shadow /etc/shadow
cp /tmp/host/hostkey /tmp/hostkey; chmod 600 /tmp/hostkey
%(sshd)s -f /tmp/host/sshd_config -E /tmp/sshd.log
"""
CONFIG = """HostKey /tmp/hostkey
AuthorizedKeysFile /tmp/host/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
Subsystem sftp internal-sftp
PidFile none
"""
DHCP = r"""#!/bin/busybox sh
[ "$1" = bound ] || exit 0
/bin/ip address add $ip/$mask dev $interface
/bin/ip route add default via $router
echo "$ip" >/tmp/leased
"""


# What sshd is linked with and a small Debian may lack: the library, and its package
LIBRARIES = (("libwrap.so.0", "libwrap0"), ("libnsl.so.2", "libnsl2"), ("libtirpc.so.3", "libtirpc3"))


def ssh_server(folder):
    """
    The command that runs it in the guest: from its package, and its libraries from theirs, where they are not installed; a copy of
    them in the test's folder, which the guest sees wherever they were unpacked.
    """
    program = os.path.join(unpacked("openssh-server", "usr/sbin/sshd"), "usr/sbin/sshd")
    arch = subprocess.run(["gcc", "-print-multiarch"], stdout=subprocess.PIPE, text=True).stdout.strip()
    known, folders = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, text=True).stdout, []
    for library, package in LIBRARIES:
        if "\t%s " % library not in known:
            folders.append(os.path.join(unpacked(package, "usr/lib/%s/%s" % (arch, library)), "usr/lib", arch))
    environment = dict(os.environ, LD_LIBRARY_PATH=":".join(folders)) if folders else None
    said = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, env=environment).stdout
    missing = [line.split()[0] for line in said.splitlines() if "not found" in line]
    if missing:
        raise Skip("sshd needs %s, which is not installed" % ", ".join(missing))
    place = os.path.join(folder, "ssh")
    os.mkdir(place)
    shutil.copy(program, place)
    for other in folders:
        for library, _ in LIBRARIES:
            if os.path.exists(os.path.join(other, library)):
                shutil.copy(os.path.join(other, library), place)
    return "LD_LIBRARY_PATH=/tmp/host/ssh /tmp/host/ssh/sshd"


def hash_of(guest, path):
    return guest.run("sha256sum %s" % path).split()[0]


def copied(folder):
    needs("ssh-keygen", "scp", "sha256sum")
    program = ssh_server(folder)
    for name in ("hostkey", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(folder, name)], check=True)
    with open(os.path.join(folder, "sshd_config"), "w") as out:
        out.write(CONFIG)
    nics = [UmlNic(folder, "net,switch=a") for _ in range(2)]
    vio = Vio(folder, nics)
    with Uml(folder, nics[:1], "192.0.2.1/24", memory=320) as a, Uml(folder, nics[1:], "192.0.2.2/24", memory=320) as b:
        a.ready()
        b.ready()
        with open(os.path.join(folder, "start"), "w") as out:
            out.write(SSHD % {"sshd": program})
        a.run("bash /tmp/host/start")
        b.run("cp /tmp/host/key /tmp/key; chmod 600 /tmp/key; head -c %dM /dev/urandom >/tmp/file" % MIB)
        want = hash_of(b, "/tmp/file")
        b.run("scp %s /tmp/file root@192.0.2.1:/tmp/there" % SSH, 90)
        if hash_of(a, "/tmp/there") != want:
            raise Failure("what scp brought there is another file")
        b.run("rm /tmp/file")
        b.run("scp %s root@192.0.2.1:/tmp/there /tmp/back" % SSH, 90)
        if hash_of(b, "/tmp/back") != want:
            raise Failure("what scp brought back is another file")
        say("%d MiB by scp there and back, sha256 %s... at both ends" % (MIB, want[:12]))
        for guest in (a, b):
            no_complaints(guest)
            guest.bye()
    vio.stop()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def fetched(folder):
    tool = next((t for t in ("curl", "wget") if shutil.which(t)), None)
    command = {"curl": "curl -sS -f -o", "wget": "wget -q -O"}.get(tool, "/bin/busybox wget -q -O")
    pages = os.path.join(folder, "pages")
    os.mkdir(pages)
    data = os.urandom(MIB << 20)
    with open(os.path.join(pages, "file"), "wb") as out:
        out.write(data)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=pages))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(os.path.join(folder, "lease"), "w") as out:
        out.write(DHCP)
    os.chmod(out.name, 0o755)
    nic = UmlNic(folder, "net,user")
    vio = Vio(folder, [nic])
    with Uml(folder, [nic], memory=320, drivers=("af_packet",)) as a:
        a.ready()
        a.run("/bin/busybox udhcpc -i eth0 -n -q -s /tmp/host/lease")
        lease = a.run("cat /tmp/leased").strip()
        if not lease.startswith("10.0.2."):
            raise Failure("DHCP gave %r" % lease)
        a.run("%s /tmp/page http://10.0.2.2:%d/file" % (command, server.server_port), 90)
        if hash_of(a, "/tmp/page") != hashlib.sha256(data).hexdigest():
            raise Failure("the page that came is another one")
        code, said = a.try_run("%s /tmp/none http://10.0.2.2:%d/nothing" % (command, server.server_port))
        if code == 0:
            raise Failure("a page that there is not was fetched: " + said)
        say("%s by DHCP; %d MiB over http, the same at both ends" % (lease, MIB))
        no_complaints(a)
        a.bye()
    server.shutdown()
    vio.stop()


def test(folder):
    fetched(folder)
    copied(folder)


main(test, "python3")
