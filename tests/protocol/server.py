#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How front-ends come and go: listening, connecting, sockets that are handed over, second front-ends, orphans,
paths that cannot be; and 200 sessions that leave nothing behind."""
from vu import *


def ping(f, m, ring, tags):
    for tag in tags:
        ring.put(0, tag)
    ring.publish()
    ring.kick()
    ring.wait(tags)


def whole_session(where, hold=False):
    f = Frontend(where).negotiate(protocol=bits(MQ, REPLY_ACK, CONFIG, MEM_SLOTS, BACKEND_REQ, INFLIGHT_SHMFD))
    f.channel()
    m = Memory()
    f.add(m)
    data, fds = f.ask(GET_INFLIGHT_FD, struct.pack("=QQHH4x", 0, 0, 1, 16))
    f.do(SET_INFLIGHT_FD, data, fds)
    os.close(fds[0])
    ring = Split(m)
    f.start(ring, base=0)
    ping(f, m, ring, range(4))
    if hold:
        ring.put(1, 77)
        ring.publish()
        ring.kick()
    return f, m, ring


def close_all():
    for things in (opened, rings, memories):
        for thing in things:
            thing.close()
        things.clear()


def test_200_sessions():
    s = Server()
    for turn in range(10):
        whole_session(s)
        close_all()
    Frontend(s).alive()
    close_all()
    s.wait_for(lambda: s.fds() <= 4, 2, "quiet")
    fds, maps, rss = s.fds(), s.maps(), s.rss()
    for turn in range(200):
        f, m, ring = whole_session(s, hold=turn % 3 == 0)
        if turn % 4 == 1:
            f.base(0)
        if turn % 4 == 2:
            f.raw(b"\1\0\0")
        close_all()
    Frontend(s).alive()
    close_all()
    s.wait_for(lambda: s.fds() <= fds, 2, "closed descriptors: %d instead of %d" % (s.fds(), fds))
    check(s.sanitized() or s.maps() == maps, "%d mappings instead of %d", s.maps(), maps)
    check(s.sanitized() or s.rss() <= rss + 256, "resident memory grew from %d to %d KiB", rss, s.rss())
    # The log does not grow with each of them.
    lines = [l for l in s.lines if "features: VERSION_1" not in l]
    check(len(lines) < 150, "%d lines in the log", len(lines))


def test_requests_in_flight_end_when_the_front_end_goes():
    s = Server()
    f, m, ring = whole_session(s, hold=True)
    time.sleep(0.05)
    f.close()
    ring.wait([77], 2)


def test_one_front_end_at_a_time():
    s = Server()
    f, m, ring = whole_session(s)
    second = Frontend(s)
    check(second.ended(), "")
    s.wait_line("refused a second front-end (pid %d)" % os.getpid())
    ping(f, m, ring, range(4))
    # It goes and comes back at once: the new one is not taken for a second one.
    for turn in range(50):
        f.close()
        f = Frontend(s)
        f.alive()


def test_words_of_the_log():
    s = Server()
    f, m, ring = whole_session(s)
    s.wait_line("front-end connected: pid %d (" % os.getpid())
    s.wait_line("protocol features: MQ, REPLY_ACK, BACKEND_REQ, CONFIG, INFLIGHT_SHMFD, CONFIGURE_MEM_SLOTS")
    s.wait_line("features: VERSION_1")
    f.close()
    s.wait_line("it hung up")


def test_sigterm_with_a_session():
    s = Server()
    f, m, ring = whole_session(s, hold=True)
    time.sleep(0.05)
    s.process.terminate()
    ring.wait([77], 2)
    check(f.ended(), "")
    same(s.process.wait(5), 0, "the exit status")
    check(not os.path.exists(s.path), "the socket is still there")


def test_orphan_is_replaced():
    s = Server()
    s.kill()
    check(os.path.exists(s.path), "no orphan to test with")
    s.start()
    s.wait_line("replacing the orphaned socket")
    check(Frontend(s).alive(), "")


def fails(words, sentence, path=None):
    s = Server(command=[os.environ["VU_SERVER"]] + words, wait=False)
    same(s.process.wait(5), 1, "the exit status of %s" % words)
    s.wait_line(sentence)
    s.kill()
    s.process = None


def test_sockets_that_cannot_be():
    s = Server()
    fails(["listen=" + s.path], "somebody listens at %s already" % s.path)
    check(Frontend(s).alive(), "the first one was disturbed")
    folder = s.folder
    plain = os.path.join(folder, "plain")
    open(plain, "w").close()
    fails(["listen=" + plain], "is not a socket")
    check(os.path.exists(plain), "a file that is no socket was removed")
    fails(["listen=%s/none/s" % folder], "the directory %s/none of the socket does not exist" % folder)
    fails(["listen=%s/%s" % (folder, "x" * 120)], "a socket's may have 107")
    fails(["listen="], "needs a path")
    fails(["connect=%s/%s" % (folder, "x" * 120)], "a socket's may have 107")
    fails(["fd=77"], "descriptor 77 is not open")
    pipe = os.pipe()
    s2 = Server(command=[os.environ["VU_SERVER"], "fd=%d" % pipe[0]], pass_fds=[pipe[0]], wait=False)
    same(s2.process.wait(5), 1, "the exit status")
    s2.wait_line("is not a Unix stream socket")
    s2.kill()
    s2.process = None
    for fd in pipe:
        os.close(fd)


def test_path_of_107_characters():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "x" * (106 - len(folder)))
    same(len(path), 107, "the length of the path")
    s = Server(path=path, command=[os.environ["VU_SERVER"], "listen=" + path])
    check(Frontend(path).alive(), "")
    s.stop()
    os.rmdir(folder)


def test_socket_of_another_is_left():
    """Somebody else put a socket at our path: it is not ours to remove."""
    s = Server()
    os.unlink(s.path)
    other = socket.socket(socket.AF_UNIX)
    other.bind(s.path)
    s.stop()
    check(os.path.exists(s.path), "the other's socket was removed")
    other.close()


def test_handed_connection():
    ours, theirs = socket.socketpair()
    s = Server(command=[os.environ["VU_SERVER"], "fd=%d" % theirs.fileno()], pass_fds=[theirs.fileno()], wait=False)
    theirs.close()
    f, m, ring = whole_session(ours, hold=True)
    time.sleep(0.05)
    f.close()
    ring.wait([77], 2)
    same(s.process.wait(5), 0, "the exit status: it ends with its connection")


def test_handed_listener():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    s = Server(path=path, command=[os.environ["VU_SERVER"], "listen-fd=%d" % listener.fileno()],
               pass_fds=[listener.fileno()])
    for _ in range(3):
        whole_session(path)
        close_all()
    s.stop()
    check(os.path.exists(path), "a socket that is not ours was removed")
    # And what is neither.
    fails_with(["fd=%d"], listener, "a connected one is needed")
    a, b = socket.socketpair()
    fails_with(["listen-fd=%d"], a, "a listening one is needed")
    d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    fails_with(["fd=%d"], d, "is not a Unix stream socket")
    for thing in (listener, a, b, d):
        thing.close()
    os.unlink(path)
    os.rmdir(folder)


def fails_with(words, sock, sentence):
    s = Server(command=[os.environ["VU_SERVER"]] + [w % sock.fileno() for w in words], pass_fds=[sock.fileno()], wait=False)
    same(s.process.wait(5), 1, "the exit status")
    s.wait_line(sentence)
    s.kill()
    s.process = None


class Listener:
    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        self.socket.settimeout(5)

    def accept(self):
        return self.socket.accept()[0]

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def test_connecting():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "s")
    s = Server(path=path, command=[os.environ["VU_SERVER"], "connect=" + path], wait=False)
    s.wait_line("nothing is at %s yet" % path)
    time.sleep(0.3)
    same(sum("nothing is at" in l for l in s.lines), 1, "lines about waiting")
    listener = Listener(path)
    for turn in range(5):
        whole_session(listener.accept())
        close_all()
    # The listener goes, for longer than the longest pause between attempts.
    f, m, ring = whole_session(listener.accept())
    listener.close()
    close_all()
    s.wait_for(lambda: sum("yet: waiting" in l for l in s.lines) == 2, 5, "second line about waiting")
    time.sleep(2.5)
    begun = time.monotonic()
    listener = Listener(path)
    whole_session(listener.accept())
    check(time.monotonic() - begun < 2.5, "connecting again took %.1f s", time.monotonic() - begun)
    close_all()
    fds = s.fds()
    for turn in range(20):
        listener.accept().close()
    listener.close()
    s.wait_for(lambda: s.fds() <= fds, 3, "closed descriptors")
    s.stop()
    os.rmdir(folder)


def test_connected_to_a_back_end():
    """Two back-ends: both wait for the other to speak. One line says so."""
    other = Server()
    s = Server(command=[os.environ["VU_SERVER"], "connect=" + other.path], wait=False)
    s.wait_line("a front-end speaks first", 8)


def test_back_end_that_speaks():
    """A peer that answers instead of asking."""
    folder = tempfile.mkdtemp()
    listener = Listener(os.path.join(folder, "s"))
    s = Server(command=[os.environ["VU_SERVER"], "connect=" + listener.path], wait=False)
    f = Frontend(listener.accept())
    f.send(GET_FEATURES, bytes(8), flags=5)
    check(f.ended(), "")
    s.wait_line("is the other side a back-end too?")
    s.stop()
    listener.close()
    os.rmdir(folder)


def test_no_files_left():
    s = Server(["files=24"])
    first = Frontend(s)
    before = s.fds()
    first.close()
    hogs = []
    # A front-end may have 8 descriptors in flight in a half message; then accept() has none.
    f = Frontend(s)
    spare = [os.memfd_create("x") for _ in range(30)]
    f.raw(b"\1", spare[:24 - before])
    time.sleep(0.05)
    second = Frontend(s)
    s.wait_line("raise ulimit -n", 5)
    second.close()
    f.close()
    for fd in spare:
        os.close(fd)
    third = None
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            third = Frontend(s)
            if third.alive():
                return
        except (Failure, OSError):
            third.close()
            time.sleep(0.1)
    raise Failure("it does not accept again")


if __name__ == "__main__":
    run(globals())
