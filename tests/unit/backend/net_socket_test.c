/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network behind a Unix socket, with peers that are slow, rude, and gone. Where it sits: tests/unit/backend.
 */
#include "net_help.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[96], why[400];
static uint8_t frame[VIO_NET_FRAME_MAX + 2], got[VIO_NET_FRAME_MAX + 2];
static struct fake_packet made;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/vio-net-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/peer", folder);
    return 0;
}

/* Whatever a failed test has left as well. */
static int teardown(void **state)
{
    char name[400];
    struct dirent *entry;
    DIR *dir = opendir(folder);

    (void)state;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
        unlink(name);
    }
    if (dir != NULL)
        closedir(dir);
    return rmdir(folder);
}

static unsigned files_in_folder(void)
{
    unsigned n = 0;
    struct dirent *entry;
    DIR *dir = opendir(folder);

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* ------------------------------------------------------------------ peers */

static struct sockaddr_un address(const char *at)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    assert_true(strlen(at) < sizeof a.sun_path);
    memcpy(a.sun_path, at, strlen(at) + 1);
    return a;
}

static int peer_bound(int type)
{
    struct sockaddr_un a = address(path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    unlink(path);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static int peer_connected(const char *at, int type)
{
    struct sockaddr_un a = address(at);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void write_all(int fd, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t wrote = write(fd, (const uint8_t *)bytes + at, n - at);

        assert_true(wrote > 0);
        at += (size_t)wrote;
    }
}

static void read_all(int fd, void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t have;

        assert_true(fd_readable(fd, 5000));
        have = read(fd, (uint8_t *)bytes + at, n - at);
        assert_true(have > 0);
        at += (size_t)have;
    }
}

static size_t put_frame(uint8_t *at, uint32_t len, uint8_t seed)
{
    uint32_t length = htonl(len);

    memcpy(at, &length, 4);
    test_frame(at + 4, len, 2, 9, seed);
    return 4 + len;
}

static void peer_sends(int fd, uint32_t len, uint8_t seed)
{
    static uint8_t room[VIO_NET_FRAME_MAX + 4];

    write_all(fd, room, put_frame(room, len, seed));
}

static void peer_gets(int fd, uint32_t len, uint8_t seed)
{
    struct fake_frame have = { .bytes = got };
    uint32_t length;

    read_all(fd, &length, 4);
    have.len = ntohl(length);
    assert_int_equal(have.len, len);
    read_all(fd, got, len);
    assert_true(test_frame_is(&have, len, 9, 2, seed));
}

/* ------------------------------------------------------------------ our side */

static struct vio_net_backend *opened(const struct vio_net_socket_params *params, struct fake_sink *f)
{
    struct vio_net_backend *b = NULL;
    struct vio_net_info info;

    if (vio_net_socket_open(params, &b, why, sizeof why) < 0)
        fail_msg("%s", why);
    b->ops->info(b, &info);
    assert_int_equal(info.takes, 0);
    assert_int_equal(info.gives, 0);
    assert_int_equal(b->ops->start(b, &f->sink), 0);
    return b;
}

static void stop(struct vio_net_backend *b, struct fake_sink *f)
{
    b->ops->stop(b);
    vio_net_close(b);
    fake_sink_free(f);
}

static unsigned we_send(struct vio_net_backend *b, uint32_t len, uint32_t pieces, uint8_t seed)
{
    unsigned sent;

    test_frame(frame, len, 9, 2, seed);
    sent = b->ops->send(b, fake_packet(&made, frame, len, pieces), 1);
    memset(frame, 0xee, len); /* it was valid during the call only */
    return sent;
}

static struct { const char *name; uint64_t value; } wanted;
static void counter_line(void *ctx, const char *name, uint64_t value)
{
    (void)ctx;
    if (!strcmp(name, wanted.name))
        wanted.value = value;
}
static uint64_t counter(struct vio_net_backend *b, const char *name)
{
    wanted.name = name;
    wanted.value = UINT64_MAX;
    b->ops->counters(b, counter_line, NULL);
    return wanted.value;
}

/* Serves the backend until it has connected so often. */
static void wait_connections(struct vio_net_backend *b, struct fake_sink *f, uint64_t n)
{
    uint64_t end = test_ms() + 5000;

    while (counter(b, "connections") < n && test_ms() < end)
        (void)net_wait_frames(b, f, (unsigned)f->taken + 1, 50);
    assert_int_equal(counter(b, "connections"), n);
}

/* ------------------------------------------------------------------ streams */

static void stream_frames_cross(void **state)
{
    static const struct { uint32_t len, pieces; } row[] = {
        { 14, 1 }, { 60, 3 }, { 1514, 255 }, { 1514, 256 }, { VIO_NET_FRAME_MAX, 1024 }, { VIO_NET_FRAME_MAX, 7 }, { 15, 1 },
    };
    const struct vio_net_socket_params p = { .path = path };
    struct fake_sink *f = fake_sink_make();
    int listener = peer_bound(SOCK_STREAM), peer;
    struct vio_net_backend *b = opened(&p, f);
    uint8_t two[200];
    size_t n;

    (void)state;
    peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
    for (uint8_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        assert_int_equal(we_send(b, row[i].len, row[i].pieces, i), 1);
        peer_gets(peer, row[i].len, i);
        peer_sends(peer, row[i].len, i);
        assert_true(net_wait_frames(b, f, i + 1, 5000));
        assert_true(test_frame_is(&f->frame[i], row[i].len, 2, 9, i));
        assert_int_equal(f->unflushed, 0);
    }
    fake_sink_reset(f);
    /* A byte at a time: nothing before the last one, and then both of two. */
    n = put_frame(two, 60, 1);
    n += put_frame(two + n, 61, 2);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(f->nr, i >= 64 ? 1 : 0);
        write_all(peer, two + i, 1);
        assert_int_equal(b->ops->poll(b, 64), i == 63 || i == n - 1);
    }
    assert_true(test_frame_is(&f->frame[0], 60, 2, 9, 1));
    assert_true(test_frame_is(&f->frame[1], 61, 2, 9, 2));
    close(peer);
    close(listener);
    stop(b, f);
}

static void stream_full_sink_loses_nothing(void **state)
{
    const struct vio_net_socket_params p = { .path = path };
    struct fake_sink *f = fake_sink_make();
    int listener = peer_bound(SOCK_STREAM), peer;
    struct vio_net_backend *b = opened(&p, f);
    unsigned sent = 0, round = 0;

    (void)state;
    peer = accept(listener, NULL, NULL);
    while (f->nr < 1000) {
        for (unsigned n = 0; n < 30 && sent < 1000 && sent - f->nr < 60; n++, sent++)
            peer_sends(peer, 14 + sent * 3 % 2000, (uint8_t)sent);
        f->room = round++ * 7 % 41;
        if (f->room == 0) { /* what has come must not wake a device without room */
            assert_int_equal(b->ops->poll(b, VIO_NET_BURST), 0);
            assert_false(b->ops->arm(b, true, false, false));
            assert_false(fd_readable(b->ops->fd(b), 0));
        } else {
            assert_true(b->ops->arm(b, true, true, false) || fd_readable(b->ops->fd(b), 1000));
            assert_in_range(b->ops->poll(b, 1 + round % 70), 1, 1 + round % 70);
        }
        assert_int_equal(f->unflushed, 0);
        assert_true(round < 5000);
    }
    for (unsigned i = 0; i < 1000; i++)
        assert_true(test_frame_is(&f->frame[i], 14 + i * 3 % 2000, 2, 9, (uint8_t)i));
    close(peer);
    close(listener);
    stop(b, f);
}

static void stream_peer_that_does_not_read(void **state)
{
    const struct vio_net_socket_params p = { .path = path };
    struct fake_sink *f = fake_sink_make();
    int listener = peer_bound(SOCK_STREAM), peer, fd;
    struct vio_net_backend *b = opened(&p, f);
    unsigned sent = 0, read = 0;

    (void)state;
    peer = accept(listener, NULL, NULL);
    fd = b->ops->fd(b);
    for (unsigned round = 0; round < 20; round++) {
        unsigned before = sent;
        bool empty = read == sent;

        while (we_send(b, 14 + sent * 911 % 60000, 1 + sent % 5, (uint8_t)sent) == 1)
            assert_true(++sent - before < 10000);
        assert_false(b->ops->arm(b, true, false, true));
        assert_false(fd_readable(fd, 0));
        assert_true(sent > before || !empty);
        /* Some of it, then all: the frame that was cut has its end. */
        for (unsigned n = (sent - read) / (1 + round % 2); n > 0; n--, read++) {
            peer_gets(peer, 14 + read * 911 % 60000, (uint8_t)read);
            /* With all frames gone but the end of one, somebody must still bring that. */
            if (b->ops->arm(b, true, false, false) || fd_readable(fd, 0))
                (void)b->ops->poll(b, VIO_NET_BURST);
        }
        assert_true(read < sent || b->ops->arm(b, true, false, true) || fd_readable(fd, 1000));
    }
    close(peer);
    close(listener);
    stop(b, f);
}

/* Bursts into a full socket: as many frames as are said to be gone arrive, each once. */
static void stream_bursts_are_whole(void **state)
{
    static struct fake_packet many[VIO_NET_BURST];
    static uint8_t bytes[VIO_NET_BURST][5000];
    const struct vio_net_socket_params p = { .path = path };
    struct fake_sink *f = fake_sink_make();
    int listener = peer_bound(SOCK_STREAM), peer;
    struct vio_net_backend *b = opened(&p, f);
    struct vio_net_packet burst[VIO_NET_BURST];
    unsigned sent = 0, read = 0, cut = 0;

    (void)state;
    peer = accept(listener, NULL, NULL);
    while (sent < 3000) {
        unsigned went;

        for (unsigned i = 0; i < VIO_NET_BURST; i++) {
            uint32_t len = 14 + (sent + i) * 37 % 4900;

            test_frame(bytes[i], len, 9, 2, (uint8_t)(sent + i));
            burst[i] = *fake_packet(&many[i], bytes[i], len, 1 + (sent + i) % 9);
        }
        went = b->ops->send(b, burst, VIO_NET_BURST);
        sent += went;
        cut += went > 0 && went < VIO_NET_BURST;
        if (went == VIO_NET_BURST)
            continue;
        while (read + 20 < sent) {
            peer_gets(peer, 14 + read * 37 % 4900, (uint8_t)read);
            read++;
            (void)b->ops->poll(b, VIO_NET_BURST);
        }
    }
    assert_true(cut > 3);
    close(peer);
    close(listener);
    stop(b, f);
}

static void stream_bad_lengths_end_it(void **state)
{
    static const uint32_t bad[] = { 0, 13, VIO_NET_FRAME_MAX + 1, 0x80000000u, 0xffffffffu };
    struct vio_net_socket_params p = { .path = path, .listen = true };
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b;
    struct test_log log;
    char byte;

    (void)state;
    test_log_init(&log);
    p.log = &log.log;
    b = opened(&p, f);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int peer = peer_connected(path, SOCK_STREAM);
        uint32_t length = htonl(bad[i]);

        wait_connections(b, f, i + 1);
        peer_sends(peer, 100, (uint8_t)i);
        write_all(peer, &length, 4);
        peer_sends(peer, 101, 0); /* whatever it was, it is no frame */
        log.lines = 0;
        assert_true(net_wait_frames(b, f, i + 1, 5000));
        (void)net_wait_frames(b, f, i + 2, 20);
        assert_true(test_frame_is(&f->frame[i], 100, 2, 9, (uint8_t)i));
        assert_int_equal(f->nr, i + 1);
        assert_int_equal(log.lines, 1);
        assert_non_null(strstr(log.last, "14 to 65589"));
        assert_int_equal(counter(b, "rx_bad"), i + 1);
        assert_true(fd_readable(peer, 1000));
        assert_true(read(peer, &byte, 1) <= 0);
        close(peer);
    }
    stop(b, f);
}

static void stream_peer_goes_and_comes(void **state)
{
    struct vio_net_socket_params p = { .path = path };
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b;
    struct test_log log;
    int listener, peer;
    uint32_t length = htonl(500);

    (void)state;
    test_log_init(&log);
    p.log = &log.log;
    b = opened(&p, f); /* nobody is there yet */
    assert_non_null(strstr(log.all, "every second"));
    assert_int_equal(we_send(b, 60, 1, 0), 1);
    assert_int_equal(counter(b, "tx_no_peer"), 1);
    assert_false(b->ops->arm(b, true, true, false));
    listener = peer_bound(SOCK_STREAM);
    wait_connections(b, f, 1);
    peer = accept(listener, NULL, NULL);
    peer_sends(peer, 60, 1);
    assert_true(net_wait_frames(b, f, 1, 5000));
    write_all(peer, &length, 4);
    peer_sends(peer, 100, 1); /* the beginning of a frame of 500; what follows it elsewhere is not its end */
    close(peer);
    wait_connections(b, f, 2);
    peer = accept(listener, NULL, NULL);
    peer_sends(peer, 61, 2);
    assert_true(net_wait_frames(b, f, 2, 5000));
    assert_true(test_frame_is(&f->frame[1], 61, 2, 9, 2));
    assert_int_equal(we_send(b, 62, 2, 3), 1);
    peer_gets(peer, 62, 3);

    /* Gone while it does not read, with a frame cut in the middle: the driver is not held up. */
    while (we_send(b, 60000, 1, 0) == 1)
        ;
    close(peer);
    close(listener);
    unlink(path);
    assert_true(b->ops->arm(b, true, false, true) || fd_readable(b->ops->fd(b), 1000));
    assert_int_equal(we_send(b, 60, 1, 0), 1);
    assert_int_equal(we_send(b, 60, 1, 0), 1);
    assert_true(b->ops->arm(b, true, false, true)); /* to be dropped */

    /* Back: a driver that only sends finds it too. */
    listener = peer_bound(SOCK_STREAM);
    for (uint64_t end = test_ms() + 5000; counter(b, "connections") < 3 && test_ms() < end;) {
        assert_int_equal(we_send(b, 70, 1, 5), 1);
        poll(NULL, 0, 50);
    }
    peer = accept(listener, NULL, NULL);
    peer_gets(peer, 70, 5);
    close(peer);
    close(listener);
    unlink(path);
    stop(b, f);
}

static void stream_listener_takes_one_at_a_time(void **state)
{
    struct vio_net_socket_params p = { .path = path, .listen = true };
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b, *second = NULL;
    int first, next;

    (void)state;
    next = peer_bound(SOCK_STREAM); /* the orphan of a program that was killed */
    close(next);
    b = opened(&p, f);
    assert_int_equal(vio_net_socket_open(&p, &second, why, sizeof why), -EADDRINUSE);
    assert_non_null(strstr(why, "in use by another program"));
    wait_connections(b, f, 1); /* that was the other one, looking */
    (void)net_wait_frames(b, f, 1, 10);
    first = peer_connected(path, SOCK_STREAM);
    wait_connections(b, f, 2);
    next = peer_connected(path, SOCK_STREAM);
    peer_sends(next, 60, 2);
    assert_false(net_wait_frames(b, f, 1, 30));
    assert_false(b->ops->arm(b, true, true, false));
    assert_false(fd_readable(b->ops->fd(b), 0));
    peer_sends(first, 60, 1);
    close(first);
    assert_true(net_wait_frames(b, f, 2, 5000));
    assert_true(test_frame_is(&f->frame[0], 60, 2, 9, 1));
    assert_true(test_frame_is(&f->frame[1], 60, 2, 9, 2));
    assert_int_equal(we_send(b, 100, 2, 1), 1);
    peer_gets(next, 100, 1);
    close(next);
    stop(b, f);
    assert_int_equal(files_in_folder(), 0);
}

/* The process has no descriptor left for whoever wants in: it is not looked for in a circle, and let in when it has. */
static void stream_listener_waits_for_descriptors(void **state)
{
    struct vio_net_socket_params p = { .path = path, .listen = true };
    struct fake_sink *f = fake_sink_make();
    struct rlimit old, none;
    struct vio_net_backend *b;
    struct test_log log;
    int peer, fd;

    (void)state;
    test_log_init(&log);
    p.log = &log.log;
    b = opened(&p, f);
    peer = peer_connected(path, SOCK_STREAM);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    fd = dup(peer);
    none = (struct rlimit){ (rlim_t)fd, old.rlim_max };
    close(fd);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(b->ops->poll(b, 64), 0);
    assert_false(b->ops->arm(b, true, true, false));
    assert_false(fd_readable(b->ops->fd(b), 300));
    assert_int_equal(we_send(b, 60, 1, 0), 1); /* nor by those who only send */
    assert_int_equal(counter(b, "tx_no_peer"), 1);
    assert_true(fd_readable(b->ops->fd(b), 2000)); /* a second is over, and there is still none */
    (void)b->ops->arm(b, false, true, false);
    assert_int_equal(b->ops->poll(b, 64), 0);
    assert_false(b->ops->arm(b, true, true, false));
    assert_false(fd_readable(b->ops->fd(b), 100));
    assert_int_equal(log.lines, 2);
    assert_non_null(strstr(log.all, "nobody can be let in"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    wait_connections(b, f, 1);
    peer_sends(peer, 60, 1);
    assert_true(net_wait_frames(b, f, 1, 5000));
    close(peer);
    stop(b, f);
}

/* ------------------------------------------------------------------ datagrams */

static void dgram_frames_cross(void **state)
{
    static const uint32_t bytes[] = { 14, 60, 1514, VIO_NET_FRAME_MAX };
    struct vio_net_socket_params p = { .path = path, .datagram = true };
    struct fake_sink *f = fake_sink_make();
    struct vio_net_backend *b;
    struct sockaddr_un from;
    socklen_t size = sizeof from;
    struct test_log log;
    int peer;

    (void)state;
    test_log_init(&log);
    p.log = &log.log;
    b = opened(&p, f); /* nobody is there yet */
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(we_send(b, 60, 1, 0), 1);
    assert_int_equal(counter(b, "tx_no_peer"), 1);
    peer = peer_bound(SOCK_DGRAM);
    wait_connections(b, f, 1);
    assert_int_equal(we_send(b, 60, 2, 0), 1);
    assert_int_equal(recvfrom(peer, got, sizeof got, 0, (struct sockaddr *)&from, &size), 60);
    assert_int_equal(strncmp(from.sun_path, path, strlen(path)), 0); /* beside path */
    assert_int_equal(connect(peer, (struct sockaddr *)&from, size), 0);
    for (uint8_t i = 0; i < 4; i++) {
        struct fake_frame have = { .bytes = got };

        assert_int_equal(we_send(b, bytes[i], i == 2 ? 300 : 1 + i, i), 1);
        have.len = (uint32_t)recv(peer, got, sizeof got, 0);
        assert_true(test_frame_is(&have, bytes[i], 9, 2, i));
        test_frame(frame, bytes[i], 2, 9, i);
        assert_int_equal(send(peer, frame, bytes[i], 0), bytes[i]);
        assert_true(net_wait_frames(b, f, i + 1, 5000));
        assert_true(test_frame_is(&f->frame[i], bytes[i], 2, 9, i));
        assert_int_equal(f->unflushed, 0);
    }
    /* Too short, too long; what comes after is as good as ever. */
    log.lines = 0;
    assert_int_equal(send(peer, frame, 0, 0), 0);
    assert_int_equal(send(peer, frame, 13, 0), 13);
    assert_int_equal(send(peer, frame, sizeof frame, 0), sizeof frame);
    test_frame(frame, 77, 2, 9, 9);
    assert_int_equal(send(peer, frame, 77, 0), 77);
    assert_true(net_wait_frames(b, f, 5, 5000));
    assert_true(test_frame_is(&f->frame[4], 77, 2, 9, 9));
    assert_int_equal(counter(b, "rx_bad"), 3);
    assert_int_equal(log.lines, 3);
    close(peer);
    unlink(path);
    stop(b, f);
    assert_int_equal(files_in_folder(), 0);
}

static void dgram_full_sink_loses_nothing(void **state)
{
    char local[120];
    struct vio_net_socket_params p = { .path = path, .datagram = true, .local = local };
    struct fake_sink *f = fake_sink_make();
    struct sockaddr_un ours;
    int peer = peer_bound(SOCK_DGRAM), stranger = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct vio_net_backend *b;
    unsigned sent = 0, round = 0;

    (void)state;
    snprintf(local, sizeof local, "%s/ours", folder);
    b = opened(&p, f);
    ours = address(local);
    assert_int_equal(connect(stranger, (struct sockaddr *)&ours, sizeof ours), -1); /* only the peer may speak */
    close(stranger);
    assert_int_equal(connect(peer, (struct sockaddr *)&ours, sizeof ours), 0);
    while (f->nr < 300) {
        for (unsigned n = 0; n < 8 && sent < 300 && sent - f->nr < 60; n++, sent++) {
            test_frame(frame, 14 + sent, 2, 9, (uint8_t)sent);
            assert_int_equal(send(peer, frame, 14 + sent, 0), 14 + sent);
        }
        f->room = round++ % 9;
        if (f->room == 0) {
            assert_int_equal(b->ops->poll(b, VIO_NET_BURST), 0);
            assert_false(b->ops->arm(b, true, false, false));
            assert_false(fd_readable(b->ops->fd(b), 0));
        }
        f->room = 8;
        assert_true(b->ops->arm(b, true, true, false) || fd_readable(b->ops->fd(b), 1000));
        (void)b->ops->poll(b, 1 + round % 20);
        assert_int_equal(f->unflushed, 0);
        assert_true(round < 5000);
    }
    for (unsigned i = 0; i < 300; i++)
        assert_true(test_frame_is(&f->frame[i], 14 + i, 2, 9, (uint8_t)i));
    close(peer);
    unlink(path);
    stop(b, f);
}

static void dgram_peer_is_slow_and_goes(void **state)
{
    char local[120];
    const struct vio_net_socket_params p = { .path = path, .datagram = true, .local = local };
    struct fake_sink *f = fake_sink_make();
    int peer = peer_bound(SOCK_DGRAM);
    struct vio_net_backend *b;
    struct sockaddr_un ours;
    unsigned sent = 0, read = 0;

    (void)state;
    snprintf(local, sizeof local, "%s/ours", folder);
    b = opened(&p, f);
    for (unsigned round = 0; round < 5; round++) {
        while (we_send(b, 100 + sent % 1000, 1 + sent % 3, (uint8_t)sent) == 1)
            assert_true(++sent < 100000);
        assert_false(b->ops->arm(b, true, false, true));
        assert_false(fd_readable(b->ops->fd(b), 0));
        for (; read < sent; read++) {
            struct fake_frame have = { .bytes = got };

            have.len = (uint32_t)recv(peer, got, sizeof got, MSG_DONTWAIT);
            assert_true(test_frame_is(&have, 100 + read % 1000, 9, 2, (uint8_t)read));
        }
        assert_true(b->ops->arm(b, true, false, true) || fd_readable(b->ops->fd(b), 1000));
    }
    assert_int_equal(counter(b, "tx_no_peer"), 0);
    /* It is killed and started again: its frames come, though the driver has nothing to say. */
    close(peer);
    peer = peer_bound(SOCK_DGRAM);
    ours = address(local);
    test_frame(frame, 90, 2, 9, 1);
    for (uint64_t end = test_ms() + 5000; sendto(peer, frame, 90, 0, (struct sockaddr *)&ours, sizeof ours) != 90;) {
        assert_true(test_ms() < end);
        (void)net_wait_frames(b, f, 1, 50);
    }
    assert_true(net_wait_frames(b, f, 1, 5000));
    assert_true(test_frame_is(&f->frame[0], 90, 2, 9, 1));
    /* And gone for good while the driver sends. */
    close(peer);
    unlink(path);
    assert_int_equal(we_send(b, 100, 1, 0), 1);
    assert_int_equal(we_send(b, 100, 1, 0), 1);
    assert_true(counter(b, "tx_no_peer") >= 2);
    peer = peer_bound(SOCK_DGRAM);
    for (uint64_t end = test_ms() + 5000; recv(peer, got, sizeof got, MSG_DONTWAIT) < 0;) {
        assert_true(test_ms() < end);
        assert_int_equal(we_send(b, 100, 1, 0), 1);
        poll(NULL, 0, 50);
    }
    close(peer);
    unlink(path);
    stop(b, f);
    assert_int_equal(files_in_folder(), 0);
}

/* ------------------------------------------------------------------ opening */

static void refused(const struct vio_net_socket_params *p, int error, const char *part)
{
    struct vio_net_backend *b = NULL;

    why[0] = 0;
    assert_int_equal(vio_net_socket_open(p, &b, why, sizeof why), error);
    if (!strstr(why, part))
        fail_msg("no \"%s\" in \"%s\"", part, why);
}

static void wrong_parameters_are_said(void **state)
{
    char longer[200], missing[120];
    struct vio_net_socket_params p = { .listen = true };
    int fd;

    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    snprintf(missing, sizeof missing, "%s/missing/socket", folder);
    refused(&p, -EINVAL, "needs a path");
    p.path = longer;
    refused(&p, -ENAMETOOLONG, "may have 107");
    p.path = missing;
    refused(&p, -ENOENT, "mkdir -p");
    p.datagram = true;
    refused(&p, -EINVAL, "does not listen");
    p.listen = false;
    p.path = p.local = path;
    refused(&p, -EINVAL, "its own peer");
    p.local = longer;
    refused(&p, -ENAMETOOLONG, "199 characters");
    fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    close(fd);
    p = (struct vio_net_socket_params){ .path = path, .listen = true };
    refused(&p, -EEXIST, "is not a socket");
    assert_int_equal(files_in_folder(), 1); /* and stays */
    unlink(path);
    fd = peer_bound(SOCK_DGRAM);
    p = (struct vio_net_socket_params){ .path = path };
    refused(&p, -EPROTOTYPE, "cannot be connected to");
    close(fd);
    unlink(path);
    assert_int_equal(files_in_folder(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stream_frames_cross, setup, teardown),
        cmocka_unit_test_setup_teardown(stream_full_sink_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(stream_peer_that_does_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(stream_bursts_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(stream_bad_lengths_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(stream_peer_goes_and_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(stream_listener_takes_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(stream_listener_waits_for_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(dgram_frames_cross, setup, teardown),
        cmocka_unit_test_setup_teardown(dgram_full_sink_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(dgram_peer_is_slow_and_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_parameters_are_said, setup, teardown),
    };

    return cmocka_run_group_tests_name("backend-net-socket", tests, NULL, NULL);
}
