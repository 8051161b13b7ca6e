#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vio's drivers on vhost in the kernel, in a guest whose kernel has it: the network card on /dev/vhost-net and a tap, the
socket device on /dev/vhost-vsock, the SCSI host on /dev/vhost-scsi. No nested virtualization: the driver is a program in
that guest. What is wrong is said: no module, no permission, a tap or an address that another has."""
import os

from inside import cpio
from vioguest import Guest, main

VK = os.environ["VK"]
MODULES = ["vhost_net", "vhost_vsock", "vhost_scsi", "target_core_file", "tun"]
WWPN = "naa.5001405bd6a5f9c0"
NEXUS = "naa.5001405bd6a5f9c1"

SCRIPT = r"""
# refused NAME PART COMMAND...: it ends with 1 and says so
refused() {
    name=$1 part=$2
    shift 2
    "$@" >/tmp/said 2>&1
    code=$?
    if [ $code = 1 ] && grep -q -- "$part" /tmp/said; then
        ok $name "$(tail -n 1 /tmp/said)"
    else
        fail $name "exit code $code: $(tail -n 2 /tmp/said | tr '\n' ' ')"
    fi
}
name() { if [ $# = 0 ]; then echo interrupts; else echo "$*" | tr ' ' '-'; fi; }
# serve OPTIONS...: the station is there
serve() {
    rm -f /tmp/net # what the last one said
    vk net tap=vk0 address=192.0.2.1/24 "$@" >/tmp/net 2>&1 &
    station=$!
    for i in $(seq 100); do grep -qs serving /tmp/net && return; sleep 0.1; done
    fail serve "$(tail -n 1 /tmp/net)"
}
# served NAME: it ends, having seen what it should
served() {
    kill -TERM $station
    if wait $station; then ok $1 "$(tail -n 1 /tmp/net)"; else fail $1 "$(tail -n 2 /tmp/net | tr '\n' ' ')"; fi
}
gone() { for i in $(seq 50); do ip link show $1 >/dev/null 2>&1 || return 0; sleep 0.1; done; return 1; }
said() { for i in $(seq 50); do grep -q "$1" /tmp/net && return 0; sleep 0.1; done; cat /tmp/net; return 1; }
pings() { # with and without fragments
    ip link set vk0 mtu $1
    for size in 0 1 18 56 1000 1472 1473 4000 4096 9000 16000 32768 65000 65467; do
        ping -q -c 2 -i 0.1 -W 10 -s $size 192.0.2.2 >/tmp/ping 2>&1
        grep -q " 0% packet loss" /tmp/ping || { echo "size $size, MTU $1:"; cat /tmp/ping; return 1; }
    done
}
paced() { ping -q -c 300 -i 0.01 -W 5 192.0.2.2 | grep "300 packets received"; }
flows() { for i in $(seq 16); do vk udp 192.0.2.2 50 || return 1; done; }

refused no-module-net "modprobe vhost_net" vk open net
refused no-module-vsock "modprobe vhost_vsock" vk open vsock cid=5
refused no-module-scsi "modprobe vhost_scsi" vk open scsi wwpn=@WWPN@
check modules sh /modules.sh
chmod 0600 /dev/vhost-net
refused no-permission "may not be opened by user 65534" vk open net user=65534
refused no-node "is it a node of vhost_net" vk open net node=/dev/null
refused not-net "NET_SET_BACKEND\|is it a node of" vk open net node=/dev/vhost-vsock tap=vk9

for mode in "" polled plain "plain polled" second queues=2; do
    word=net-$(name $mode)
    serve $mode
    check $word-ping pings 1500
    check $word-ping-large pings 65300
    check $word-paced paced
    ip link set vk0 mtu 1500
    check $word-udp vk udp 192.0.2.2 2000
    check $word-flows flows
    if [ "$mode" != plain ] && [ "$mode" != "plain polled" ]; then # those take no RING_RESET
        kill -USR1 $station
        check $word-restarted said restarted
        check $word-after ping -q -c 10 -i 0.1 -W 5 192.0.2.2
    fi
    served $word
    check $word-tap-gone gone vk0
done

# TCP through a wire between two interfaces, one of them in a namespace of its own: segments of 64 KiB, data compared
vk wire tap=wa address=192.0.2.1/24 tap2=wb >/tmp/net 2>&1 &
station=$!
said serving
unshare -n sleep 1000 &
other=$!
sleep 0.5
ip link set wb netns $other
inside() { nsenter -t $other -n "$@"; }
inside ip addr add 192.0.2.2/24 dev wb
inside ip link set wb up
dd if=/dev/urandom of=/tmp/data bs=1M count=32 2>/dev/null
printf '#!/bin/sh\nexec cat >/tmp/copy\n' >/bin/take
chmod 0755 /bin/take
copied() { # by a sender here or inside, to a receiver there, at an address
    rm -f /tmp/copy
    $2 nc -l -p 5000 -e /bin/take &
    receiver=$!
    sleep 0.3
    $1 nc $3 5000 </tmp/data || return 1
    wait $receiver
    cmp /tmp/data /tmp/copy
}
check tcp-there copied "" inside 192.0.2.2
check tcp-back copied inside "" 192.0.2.1
rm -f /tmp/data /tmp/copy
kill $other
served tcp

for kind in net "vsock cid=5"; do
    check broken-$(echo $kind | cut -d' ' -f1) vk broken $kind
done

serve
check link-first grep "link up" /tmp/net
ip link set vk0 down
check link-down said "^link down"
ip link set vk0 up
check link-up said "^link up"
echo 0 >/sys/class/net/vk0/carrier
check carrier-down test "$(sleep 1.5; grep -c '^link down' /tmp/net)" = 2
echo 1 >/sys/class/net/vk0/carrier
refused tap-in-use "tap vk0 is in use by another program" vk open net tap=vk0
check ping-again ping -q -c 3 -W 10 192.0.2.2
kill -KILL $station
wait $station
check killed-tap-gone gone vk0
check after-the-kill vk open net tap=vk0

for mode in "" polled second; do
    check vsock-$(name $mode) vk vsock cid=5 $mode
done
refused cid-host "CID 2: 3 to" vk open vsock cid=2
refused cid-none "CID 0: 3 to" vk open vsock
refused cid-large "4294967295: 3 to" vk open vsock cid=0xffffffff
vk open vsock cid=7 hold >/tmp/hold 2>&1 &
holder=$!
for i in $(seq 50); do grep -q opened /tmp/hold && break; sleep 0.1; done
refused cid-in-use "the CID 7 is another guest's" vk open vsock cid=7
kill -KILL $holder
wait $holder
check cid-after-the-kill vk open vsock cid=7

mount -t configfs configfs /sys/kernel/config
target() (
    set -e
    truncate -s 32M /disk
    core=/sys/kernel/config/target/core
    mkdir -p $core/fileio_0/disk
    echo "fd_dev_name=/disk,fd_dev_size=$((32 << 20)),fd_buffered_io=1" >$core/fileio_0/disk/control
    echo 1 >$core/fileio_0/disk/enable
    mkdir -p /sys/kernel/config/target/vhost/@WWPN@/tpgt_1/lun/lun_0
    echo @NEXUS@ >/sys/kernel/config/target/vhost/@WWPN@/tpgt_1/nexus
    ln -s $core/fileio_0/disk /sys/kernel/config/target/vhost/@WWPN@/tpgt_1/lun/lun_0/disk
)
check target target
check broken-scsi vk broken scsi wwpn=@WWPN@ tpgt=1
refused no-target "no target port naa.1" vk open scsi wwpn=naa.1
for mode in "" polled queues=3 second; do
    check scsi-$(name $mode) vk scsi wwpn=@WWPN@ tpgt=1 file=/disk $mode
done
"""


def test(folder):
    script = SCRIPT.replace("@WWPN@", WWPN).replace("@NEXUS@", NEXUS)
    with Guest(folder, [], script, memory=1024, extra=cpio(programs={"vk": VK}, modules=MODULES)) as guest:
        guest.wait_end(500)


main(test)
