/* SPDX-License-Identifier: MIT */
/*
 * The stream socket's peer came, or went, in the middle of a send() while the queue that receives was asleep: its descriptor
 * was not waited for, nor was the listener, and the peer's frames lay there until something else woke the queue. The same with the
 * rest of a frame that the peer had no room for: the end of it was sent with the next frame, whenever that was.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vio/net.h>

#include "support/guest.h"

static struct sockaddr_un at = { .sun_family = AF_UNIX };
static unsigned received;

static unsigned deliver(void *ctx, const struct vio_net_packet *p, unsigned n)
{
    (void)ctx;
    (void)p;
    received += n;
    return n;
}

static void flush(void *ctx)
{
    (void)ctx;
}

static const struct vio_net_sink sink = { .deliver = deliver, .flush = flush };

static struct vio_net_backend *opened(bool listens)
{
    struct vio_net_socket_params params = { .path = at.sun_path, .listen = listens };
    struct vio_net_backend *b;

    CHECK(vio_net_socket_open(&params, &b, NULL, 0) == 0);
    CHECK(b->ops->start(b, &sink) == 0);
    return b;
}

static void closed(struct vio_net_backend *b)
{
    b->ops->stop(b);
    vio_net_close(b);
}

static unsigned send_one(struct vio_net_backend *b, uint32_t len)
{
    static uint8_t frame[65000];
    struct vio_seg seg = { frame, len };
    struct vio_net_packet p = { .len = len, .nr = 1, .seg = &seg };

    return b->ops->send(b, &p, 1);
}

static void must_wake(struct vio_net_backend *b, const char *why)
{
    struct pollfd fd = { .fd = b->ops->fd(b), .events = POLLIN };

    if (poll(&fd, 1, 3000) != 1)
        FAIL("nobody is woken: %s", why);
}

static int peer_listening(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(at.sun_path);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 4) == 0);
    return fd;
}

static int peer_connected(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    return fd;
}

static void says(int peer)
{
    uint8_t bytes[4 + 60] = { 0, 0, 0, 60 };

    CHECK(write(peer, bytes, sizeof(bytes)) == sizeof(bytes));
}

static void hears(struct vio_net_backend *b)
{
    must_wake(b, "the peer has sent something");
    received = 0;
    (void)b->ops->arm(b, false, true, false);
    CHECK(b->ops->poll(b, 64) == 1 && received == 1);
    CHECK(!b->ops->arm(b, true, true, false));
}

/* A listener: the peer is let in by send(), goes while it sends, and another one comes. */
static void listens(void)
{
    struct vio_net_backend *b = opened(true);
    int peer;

    CHECK(!b->ops->arm(b, true, true, false));
    peer = peer_connected();
    CHECK(send_one(b, 60) == 1);
    says(peer);
    hears(b);
    close(peer);
    CHECK(send_one(b, 60) == 1);
    CHECK(send_one(b, 60) == 1);
    peer = peer_connected();
    must_wake(b, "somebody wants to be let in");
    (void)b->ops->poll(b, 64);
    CHECK(!b->ops->arm(b, true, true, false));
    says(peer);
    hears(b);
    close(peer);
    closed(b);
}

/* One that connects: send() finds that the second is over. */
static void connects(void)
{
    struct vio_net_backend *b;
    int listener, peer;

    unlink(at.sun_path);
    b = opened(false);
    CHECK(!b->ops->arm(b, true, true, false));
    listener = peer_listening();
    must_wake(b, "a second is over");
    CHECK(send_one(b, 60) == 1);
    peer = accept(listener, NULL, NULL);
    CHECK(peer >= 0);
    says(peer);
    hears(b);
    close(peer);
    close(listener);
    closed(b);
}

/* The rest of a frame goes when the peer reads. */
static void the_rest_goes(void)
{
    struct vio_net_backend *b;
    int listener = peer_listening(), peer;
    size_t want = 0, got = 0;
    static char bytes[65536];

    b = opened(false);
    peer = accept(listener, NULL, NULL);
    CHECK(peer >= 0 && !b->ops->arm(b, true, true, false));
    while (send_one(b, 65000) == 1) /* the last that is taken is not all gone */
        want += 4 + 65000;
    for (int i = 0; got < want; i++) {
        ssize_t n = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT);

        CHECK(n > 0 || errno == EAGAIN);
        got += n > 0 ? (size_t)n : 0;
        if (n > 0)
            continue;
        must_wake(b, "the rest of a frame has room");
        (void)b->ops->arm(b, false, true, false);
        (void)b->ops->poll(b, 64);
        CHECK(!b->ops->arm(b, true, true, false));
        CHECK(i < 1000);
    }
    close(peer);
    close(listener);
    closed(b);
}

int main(void)
{
    char folder[] = "/tmp/vio-asleep-XXXXXX";

    CHECK(mkdtemp(folder) != NULL);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/s", folder);
    listens();
    connects();
    the_rest_goes();
    unlink(at.sun_path);
    rmdir(folder);
    printf("ok - a peer that comes, goes or reads while only sending goes on wakes the queue that receives\n");
    return 0;
}
