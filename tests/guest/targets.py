#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`vio probe` and `vio bench` at devices that are not behind vhost-user, in a guest: QEMU's PCI functions through VFIO, behind an
IOMMU and past it, and vhost of the guest's kernel. What they say is held against what QEMU was told; a probed device works on."""
import json
import os

import viovfio
from inside import cpio
from vioguest import VIO, Failure, Guest, main, say, write_pattern

MODULES = ["vfio_iommu_type1", "vfio_pci", "vhost_net", "vhost_vsock", "tun"]
SIZE = 16 << 20
ON = "iommu_platform=on,ats=on,disable-legacy=on"
FUNCTIONS = {"blk": 4, "past": 5, "legacy": 6, "net": 7, "rng": 8, "scsi": 9, "console": 10, "balloon": 11, "polled": 12}
TYPES = dict.fromkeys(FUNCTIONS, "blk") | {n: n for n in ("net", "rng", "scsi", "console", "balloon")}

SCRIPT = viovfio.BIND + r"""
check modules sh /modules.sh
echo 24 >/proc/sys/vm/nr_hugepages
# said NAME COMMAND...: what it prints, as one line
said() {
    name=$1
    shift
    if "$@" >/tmp/out 2>/tmp/err; then
        say "json $name $(tr -d '\n' </tmp/out)"
    else
        fail $name "$(tail -n 2 /tmp/err | tr '\n' ' ')"
    fi
}
# refused NAME STATUS PART COMMAND...
refused() {
    name=$1 status=$2 part=$3
    shift 3
    "$@" >/tmp/out 2>&1
    code=$?
    if [ $code = $status ] && grep -q -- "$part" /tmp/out && [ $(wc -l </tmp/out) = 1 ]; then
        ok $name
    else
        fail $name "exit status $code: $(tail -n 2 /tmp/out | tr '\n' ' ')"
    fi
}
refused bound 1 "vfio-pci" vio probe pci:@blk@
refused absent 1 "0000:00:1e.7" vio probe pci:0000:00:1e.7
refused nonsense 1 "no address" vio probe pci:1e
for f in @all@; do bind $f; done
for pair in @pairs@; do
    said probe-${pair%%=*} vio probe pci:${pair#*=} --json
    said again-${pair%%=*} vio probe pci:${pair#*=} --json
done
said asked-legacy vio probe pci:@legacy@,legacy --json
check text vio probe pci:@blk@
refused other-type 1 "is no net" vio probe pci:@blk@ --type=net
refused other-load 2 "not for a block device" vio bench pci:@blk@ --mode=out
refused no-load 1 "there is a load for" vio bench pci:@balloon@
quick="--json --time=1 --warmup=0.1 --timeout=60000"
said bench-blk vio bench pci:@blk@ $quick
said bench-packed vio bench pci:@blk@ $quick --packed --queues=2 --wait --reads=50 --verify --size=4M
said bench-past vio bench pci:@past@ $quick --reads=0 --block=64K --depth=4
said bench-legacy vio bench pci:@legacy@,legacy $quick --wait
said bench-polled vio bench pci:@polled@ $quick
said bench-net vio bench pci:@net@ $quick --rate=50 --verify
said bench-net-wait vio bench pci:@net@ $quick --depth=4 --wait --mrg-rxbuf --size=1000
said compare vio bench pci:@blk@ pci:@past@ --compare $quick --repeats=1
# a device that was probed is one that a driver can have
bind @blk@ virtio-pci
check works dd if=/dev/vda of=/dev/null bs=1M

said vhost-net vio probe vhost:/dev/vhost-net,tap=t0 --json
said vhost-vsock vio probe vhost:/dev/vhost-vsock,cid=5 --json
said bench-vhost vio bench vhost:/dev/vhost-net,tap=t0,address=192.0.2.1/24 $quick --mode=out --wait
refused vhost-two 2 "one of tap, cid and wwpn" vio probe vhost:/dev/vhost-net,tap=t0,cid=4
refused vhost-none 2 "a socket device cid=N" vio probe vhost:/dev/vhost-vsock
refused vhost-key 2 "there are tap" vio probe vhost:/dev/vhost-net,mac=1
refused vhost-cid 1 "3 to" vio probe vhost:/dev/vhost-vsock,cid=2
dmesg | grep -iE "dmar.*fault" && fail faults "the IOMMU stopped DMA"
"""


def address(name):
    return viovfio.address(FUNCTIONS[name])


def machine(folder):
    disks = {"blk": ON + ",packed=on,num-queues=2,serial=PCI-1", "past": "disable-legacy=on,num-queues=1",
             "legacy": "disable-legacy=off", "polled": ON + ",vectors=0"}
    args = ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on"]
    for name, keys in disks.items():
        image = os.path.join(folder, name + ".img")
        write_pattern(image, SIZE)
        args += ["-drive", "if=none,id=%s,format=raw,file=%s" % (name, image),
                 "-device", "virtio-blk-pci,drive=%s,addr=%x,%s" % (name, FUNCTIONS[name], keys)]
    viovfio.Echo(folder)
    args += viovfio.card(folder, FUNCTIONS["net"], "mac=52:54:00:12:34:56," + ON)
    args += ["-object", "rng-random,id=random,filename=/dev/urandom"]
    for driver, name in (("virtio-rng-pci,rng=random", "rng"), ("virtio-scsi-pci,num_queues=3", "scsi"),
                         ("virtio-serial-pci,max_ports=5", "console"), ("virtio-balloon-pci", "balloon")):
        args += ["-device", "%s,addr=%x,%s" % (driver, FUNCTIONS[name], ON)]
    return args


def fields(answer):
    return {f["name"]: f["value"] for f in answer["config"]["fields"] if f["valid"]}


def check(condition, what):
    if not condition:
        raise Failure(what)


def check_probes(said):
    for name, kind in TYPES.items():
        answer = said["probe-" + name]
        check(answer["type"]["name"] == kind and not answer["type_guessed"], "%s: %s" % (name, answer["type"]))
        check(answer == said["again-" + name], "%s: it was not left as it was found" % name)
        check("protocol_features" not in answer and answer["queues"] > 0, "%s: %s" % (name, answer))
    for name in ("blk", "past", "legacy", "polled"):
        check(fields(said["probe-" + name])["capacity"] == SIZE // 512, name)
    check(said["probe-blk"]["serial"] == "PCI-1" and said["probe-blk"]["queues"] == 2, said["probe-blk"])
    check(fields(said["probe-net"])["mac"] == "52:54:00:12:34:56", said["probe-net"])
    check(fields(said["probe-scsi"])["num_queues"] == 3 and said["probe-scsi"]["queues"] == 5, said["probe-scsi"])
    check(said["probe-rng"]["config"] is None, said["probe-rng"])
    legacy = {f["bit"] for f in said["asked-legacy"]["features"]}
    check(said["asked-legacy"]["queues"] == said["probe-legacy"]["queues"] > 0, "as many queues by either interface")
    check(32 not in legacy and 32 in {f["bit"] for f in said["probe-legacy"]["features"]}, "VERSION_1 over the legacy interface")
    check(said["vhost-net"]["type"]["name"] == "net" and said["vhost-net"]["queues"] == 2, said["vhost-net"])
    check(said["vhost-vsock"]["type"]["name"] == "vsock" and fields(said["vhost-vsock"])["guest_cid"] == 5, said["vhost-vsock"])


def check_loads(said):
    for name in ("blk", "packed", "past", "legacy", "polled"):
        for r in said["bench-" + name]["runs"]:
            check(r["requests"] > 0 and r["errors"] == 0 and r["wrong_blocks"] == 0, "%s: %s" % (name, r))
            check(r["peer_cpu_ns_per_request"] is None, "whose process would that be")
    check(said["bench-packed"]["runs"][0]["ring"] == "packed", said["bench-packed"])
    check(said["compare"]["ratio"]["pairs"] == 1, said["compare"])
    for name in ("bench-net", "bench-net-wait"):
        r = said[name]["runs"][0]
        check(r["packets"] > 0 and r["corrupted"] == 0 and r["reordered"] == 0 and r["duplicated"] == 0, "%s: %s" % (name, r))
    check(said["bench-net"]["runs"][0]["lost"] == 0, said["bench-net"])
    check(said["bench-vhost"]["runs"][0]["packets"] > 0, said["bench-vhost"])


def test(folder):
    script = SCRIPT.replace("@all@", " ".join(address(n) for n in FUNCTIONS))
    script = script.replace("@pairs@", " ".join("%s=%s" % (n, address(n)) for n in FUNCTIONS))
    for name in FUNCTIONS:
        script = script.replace("@%s@" % name, address(name))
    said = {}
    with Guest(folder, [], script, memory=768, machine=machine(folder), extra=cpio(programs={"vio": VIO}, modules=MODULES),
               append="intel_iommu=on iommu.passthrough=0", quiet=True) as guest:
        while True:
            text = guest.wait("", 300, check=False)
            if text.startswith("json "):
                name, line = text[5:].split(" ", 1)
                said[name] = json.loads(line)
            elif text == "end":
                break
        guest.process.popen.wait(60)
        guest.check()
    for name in ("bound", "absent", "nonsense", "text", "other-type", "other-load", "no-load", "works", "vhost-two", "vhost-none",
                 "vhost-key", "vhost-cid"):
        check(name in guest.results, "the guest's script never came to " + name)
    check_probes(said)
    check_loads(said)
    say("host: %d functions and two nodes of vhost are what they were made as; loads on %d of them" % (len(FUNCTIONS), 6))


main(test)
