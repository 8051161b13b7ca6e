#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The programs of examples/, each doing what it shows."""
from vu import *

EXAMPLES = os.environ["EXAMPLES"]


def serve(name, *args):
    folder = tempfile.mkdtemp(prefix="vio-protocol-")
    path = os.path.join(folder, "s")
    s = Server(path=path, command=[os.path.join(EXAMPLES, name)] + list(args) + [path])
    os.rmdir(s.folder)
    s.folder = folder
    return s


class Bytes(Split):
    """Answers are bytes of any kind: kept."""
    def layout(self):
        super().layout()
        self.got = []

    def answer(self, slot, tag):
        self.got.append(self.m.read(self.pieces + slot * 2 * self.room + self.room, self.room))


class Echo(Split):
    """Receive buffers: 12 bytes of header and a frame."""
    def put(self, frame=None):
        head = self.slots.pop(0)
        at = self.pieces + (head // 2) * 2 * self.room
        if frame is not None:
            self.m.write(at, bytes(12) + frame)
        self.m.write(self.desc + 16 * head, struct.pack("=QIHH", self.at(at), 12 + len(frame) if frame else self.room,
                                                        0 if frame else 2, 0))
        self.m.put16(self.driver + 4 + 2 * (self.avail % self.size), head)
        self.avail = (self.avail + 1) & 0xffff
        self.publish()

    def take(self):
        """The frames that were received, or as many empty ones as were sent."""
        frames = []
        while self.used != self.m.get16(self.device + 2):
            head, length = struct.unpack("=II", self.m.read(self.device + 4 + 8 * (self.used % self.size), 8))
            self.used = (self.used + 1) & 0xffff
            frames.append(self.m.read(self.pieces + (head // 2) * 2 * self.room + 12, max(0, length - 12)))
        return frames


def test_custom_device():
    s = serve("custom_device")
    for _ in range(2): # front-ends come and go
        f = Frontend(s).negotiate(protocol=bits(MQ, REPLY_ACK))
        m = Memory()
        f.table(m)
        ring = Bytes(m)
        f.start(ring, base=0)
        for tag in range(4):
            ring.put(0, tag)
        ring.publish()
        ring.kick()
        ring.wait(range(4))
        check(len(set(ring.got)) == 4 and all(any(b) for b in ring.got), "not random: %r", ring.got)
        f.close()


def test_net_echo():
    s = serve("net_echo")
    f = Frontend(s).negotiate(protocol=bits(MQ, REPLY_ACK))
    m = Memory()
    f.table(m)
    receive, send = Echo(m, room=2048), Echo(m, room=2048)
    f.start(receive, 0, base=0)
    f.start(send, 1, base=0)
    frames = [bytes([1] * 6 + [2] * 6) + b"\x88\xb5" + bytes([n]) * 100 for n in range(3)]
    for frame in frames:
        receive.put()
    receive.kick()
    for frame in frames:
        send.put(frame)
    send.kick()
    got, end = [], time.monotonic() + 5
    while len(got) < 3 and time.monotonic() < end:
        got += receive.take()
        time.sleep(0.001)
    same(got, [f[6:12] + f[:6] + f[12:] for f in frames], "what came back")
    f.close()


def test_read_disk():
    folder = tempfile.mkdtemp(prefix="vio-protocol-")
    disk, path = os.path.join(folder, "disk"), os.path.join(folder, "s")
    data = os.urandom(512 * 301)
    with open(disk, "wb") as image:
        image.write(data)
    s = Server(path=path, command=[os.environ["VIO"], "serve", "blk,file=%s,vhost-user=%s" % (disk, path)])
    os.rmdir(s.folder)
    s.folder = folder
    for args, want in ([], data), (["3"], data[:3 * 512]):
        done = subprocess.run([os.path.join(EXAMPLES, "read_disk"), path] + args, stdout=subprocess.PIPE, timeout=20)
        same((done.returncode, len(done.stdout)), (0, len(want)), "status and length")
        check(done.stdout == want, "the bytes are others")
    done = subprocess.run([os.path.join(EXAMPLES, "read_disk"), path, "302"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=20)
    check(done.returncode == 1 and done.stderr, "beyond the end: %r", done.stderr)
    done = subprocess.run([os.path.join(EXAMPLES, "read_disk"), path + "x"], stderr=subprocess.PIPE, timeout=20)
    check(done.returncode == 1 and b"No such file" in done.stderr, "nobody there: %r", done.stderr)


if __name__ == "__main__":
    run(globals())
