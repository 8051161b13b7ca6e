/* SPDX-License-Identifier: MIT */
/*
 * Purpose: frames on a byte stream, a 32-bit big-endian length before each, as in QEMU's stream netdev.
 * Where it sits: backend/net. Threads: the owner's.
 * Trust: the peer's bytes are received into a private buffer; a length is judged there before anything is done by it, and
 * after one that cannot be, there is no next frame to be found: the connection ends.
 */
#include "backend/net_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

/* ------------------------------------------------------------------ to the peer */

/* What the kernel had no room for goes first; false: it still has none, or the peer is gone. */
static bool send_rest(struct net_socket *s)
{
    while (s->tx_at < s->tx_end) {
        ssize_t sent = send(s->peer.fd, s->tx + s->tx_at, s->tx_end - s->tx_at, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            socket_down(s, "the peer is gone: %s", strerror(errno));
        if (sent < 0)
            return false;
        s->tx_at += (uint32_t)sent;
    }
    return true;
}

/* The frame counts as sent from now on; its bytes up to `sent` are. */
static void keep_rest(struct net_socket *s, const struct vio_net_packet *p, uint32_t sent)
{
    vio_be32 length = vio_be32_of(p->len);

    memcpy(s->tx, &length, SOCKET_LENGTH);
    (void)vio_net_packet_head(p, s->tx + SOCKET_LENGTH, VIO_NET_FRAME_MAX);
    s->tx_at = sent;
    s->tx_end = SOCKET_LENGTH + p->len;
}

struct batch {
    struct iovec iov[SOCKET_PIECES];
    vio_be32 length[VIO_NET_BURST];
    unsigned pieces, frames;
};

/* As many frames, from the front, as go into one system call. */
static void gather(struct batch *batch, const struct vio_net_packet *p, unsigned n)
{
    batch->pieces = batch->frames = 0;
    while (batch->frames < n && batch->frames < VIO_NET_BURST) {
        const struct vio_net_packet *next = &p[batch->frames];

        if (next->nr + 1 > SOCKET_PIECES - batch->pieces)
            break;
        batch->length[batch->frames] = vio_be32_of(next->len);
        batch->iov[batch->pieces++] = (struct iovec){ &batch->length[batch->frames], SOCKET_LENGTH };
        for (uint32_t i = 0; i < next->nr; i++)
            batch->iov[batch->pieces++] = (struct iovec){ next->seg[i].base, next->seg[i].len };
        batch->frames++;
    }
}

/* How many frames are gone; fewer than in the batch: no room, or the peer is gone. */
static unsigned send_batch(struct net_socket *s, struct batch *batch, const struct vio_net_packet *p)
{
    struct msghdr message = { .msg_iov = batch->iov, .msg_iovlen = batch->pieces };
    size_t left;
    ssize_t sent;

    do
        sent = sendmsg(s->peer.fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno != EAGAIN)
            socket_down(s, "the peer is gone: %s", strerror(errno));
        return 0;
    }
    left = (size_t)sent;
    for (unsigned i = 0; i < batch->frames; i++) {
        if (left >= SOCKET_LENGTH + p[i].len) {
            left -= SOCKET_LENGTH + p[i].len;
            continue;
        }
        if (left > 0)
            keep_rest(s, &p[i], (uint32_t)left);
        return left > 0 ? i + 1 : i;
    }
    return batch->frames;
}

static unsigned drop(struct net_socket *s, unsigned n, unsigned from)
{
    socket_count(&s->tx_no_peer, n - from);
    return n;
}

unsigned stream_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct net_socket *s = (struct net_socket *)b;
    struct batch batch;
    unsigned done = 0, gone;

    if (!socket_up(s))
        return drop(s, n, 0);
    while (done < n) {
        if (!send_rest(s))
            break;
        gather(&batch, p + done, n - done);
        if (batch.frames == 0) { /* in too many pieces for one call */
            keep_rest(s, &p[done++], 0);
            continue;
        }
        gone = send_batch(s, &batch, p + done);
        done += gone;
        if (gone < batch.frames || s->tx_at < s->tx_end)
            break;
    }
    if (s->up && done == n && !send_rest(s) && s->up)
        socket_watch(s); /* the queue that would send the rest may sleep */
    return s->up ? done : drop(s, n, done);
}

/* ------------------------------------------------------------------ from the peer */

/* The length at the front, if it has come. */
static bool next_length(const struct net_socket *s, uint32_t at, uint32_t *len)
{
    vio_be32 length;

    if (s->rx_end - at < SOCKET_LENGTH)
        return false;
    memcpy(&length, s->rx + at, SOCKET_LENGTH);
    *len = vio_cpu(length);
    return true;
}

static bool length_is_good(uint32_t len)
{
    return len >= VIO_NET_FRAME_MIN && len <= VIO_NET_FRAME_MAX;
}

bool stream_has_frame(const struct net_socket *s)
{
    uint32_t len;

    return next_length(s, s->rx_at, &len) && (!length_is_good(len) || s->rx_end - s->rx_at - SOCKET_LENGTH >= len);
}

/* Whole frames from the front; how many. *bad: there is none, for the length is not one. */
static unsigned find_frames(const struct net_socket *s, struct vio_net_packet *p, struct vio_seg *seg, unsigned max,
                            uint32_t *bad)
{
    uint32_t at = s->rx_at, len;
    unsigned n = 0;

    while (n < max && next_length(s, at, &len)) {
        if (!length_is_good(len)) {
            if (n == 0)
                *bad = len;
            break;
        }
        if (s->rx_end - at - SOCKET_LENGTH < len)
            break;
        seg[n] = (struct vio_seg){ s->rx + at + SOCKET_LENGTH, len };
        p[n] = (struct vio_net_packet){ .len = len, .nr = 1, .seg = &seg[n] };
        at += SOCKET_LENGTH + len;
        n++;
    }
    return n;
}

/* More bytes behind those that are there, which hold no whole frame. False: there are none. *dry: none behind them. */
static bool receive(struct net_socket *s, bool *dry)
{
    uint32_t room;
    ssize_t got;

    memmove(s->rx, s->rx + s->rx_at, s->rx_end - s->rx_at);
    s->rx_end -= s->rx_at;
    s->rx_at = 0;
    room = SOCKET_RX_BYTES - s->rx_end; /* never 0: what is there is shorter than a frame */
    do
        got = recv(s->peer.fd, s->rx + s->rx_end, room, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0) {
        socket_down(s, "the peer is gone%s%s", got < 0 ? ": " : "", got < 0 ? strerror(errno) : "");
        return false;
    }
    s->rx_end += (uint32_t)got;
    *dry = (uint32_t)got < room;
    return true;
}

/* One burst; false: nothing more can be done now. */
static bool burst(struct net_socket *s, unsigned max, bool *dry, unsigned *done)
{
    struct vio_net_packet packet[VIO_NET_BURST];
    struct vio_seg seg[VIO_NET_BURST];
    uint32_t bad = VIO_NET_FRAME_MIN;
    unsigned n = find_frames(s, packet, seg, max < VIO_NET_BURST ? max : VIO_NET_BURST, &bad), taken;

    if (!length_is_good(bad)) {
        socket_count(&s->rx_bad, 1);
        socket_down(s, "the peer says that a frame has %u bytes; 14 to 65589 is possible: the connection ends", bad);
        return false;
    }
    if (n == 0)
        return !*dry && s->up && receive(s, dry);
    taken = s->sink.deliver(s->sink.ctx, packet, n);
    for (unsigned i = 0; i < taken; i++)
        s->rx_at += SOCKET_LENGTH + packet[i].len;
    *done += taken;
    return taken == n;
}

unsigned stream_poll(struct vio_net_backend *b, unsigned budget)
{
    struct net_socket *s = (struct net_socket *)b;
    unsigned done = 0;
    bool dry = false;

    if (!socket_up(s))
        return 0;
    (void)send_rest(s);
    while (s->up && done < budget && burst(s, budget - done, &dry, &done))
        ;
    if (done)
        s->sink.flush(s->sink.ctx);
    return done;
}
