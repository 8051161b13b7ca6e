/* SPDX-License-Identifier: MIT */
/*
 * Purpose: frames as datagrams of a Unix socket, as in QEMU's dgram netdev. Where it sits: backend/net. Threads: the owner's.
 * Trust: a datagram is received into private memory; one that is too short or too long for a frame is counted.
 */
#include "backend/net_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

/* ------------------------------------------------------------------ to the peer */

struct batch {
    struct mmsghdr message[VIO_NET_BURST];
    struct iovec iov[SOCKET_PIECES];
    unsigned pieces, frames;
};

static void add(struct batch *batch, const struct vio_seg *seg, uint32_t nr)
{
    struct iovec *iov = &batch->iov[batch->pieces];

    for (uint32_t i = 0; i < nr; i++)
        iov[i] = (struct iovec){ seg[i].base, seg[i].len };
    batch->pieces += nr;
    batch->message[batch->frames++] = (struct mmsghdr){ .msg_hdr = { .msg_iov = iov, .msg_iovlen = nr } };
}

/* As many frames, from the front, as go into one system call: at least one. */
static void gather(struct net_socket *s, struct batch *batch, const struct vio_net_packet *p, unsigned n)
{
    batch->pieces = batch->frames = 0;
    if (p[0].nr > SOCKET_PIECES) {
        struct vio_seg whole = { s->tx, vio_net_packet_head(&p[0], s->tx, VIO_NET_FRAME_MAX) };

        add(batch, &whole, 1);
        return;
    }
    while (batch->frames < n && batch->frames < VIO_NET_BURST && p[batch->frames].nr <= SOCKET_PIECES - batch->pieces)
        add(batch, p[batch->frames].seg, p[batch->frames].nr);
}

static bool peer_is_gone(int error)
{
    return error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET || error == EPIPE || error == EPERM;
}

unsigned dgram_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct net_socket *s = (struct net_socket *)b;
    struct batch batch;
    unsigned done = 0;

    while (done < n && socket_up(s)) {
        int sent;

        gather(s, &batch, p + done, n - done);
        sent = sendmmsg(s->peer.fd, batch.message, batch.frames, MSG_NOSIGNAL);
        if (sent >= 0) {
            done += (unsigned)sent;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN)
            return done;
        if (peer_is_gone(errno)) {
            socket_down(s, "the peer is gone (%s): frames to it are dropped until it is back", strerror(errno));
            break;
        }
        socket_count(&s->tx_refused, 1); /* EMSGSIZE, no memory: one frame less */
        done++;
    }
    socket_count(&s->tx_no_peer, n - done);
    return n;
}

/* ------------------------------------------------------------------ from the peer */

/* The datagram in this room becomes a packet; or is counted. */
static void keep(struct net_socket *s, uint8_t *room, uint32_t len)
{
    struct vio_net_packet *p = &s->packet[s->rx_end];
    struct vio_seg *seg = &s->seg[s->rx_end];

    if (len < VIO_NET_FRAME_MIN || len > VIO_NET_FRAME_MAX) {
        socket_count(&s->rx_bad, 1);
        vio_log_peer(s->log, &s->limit, s->path.sun_path, "a datagram of %s%u bytes came and was dropped: a frame has 14 to "
                     "65589", len > VIO_NET_FRAME_MAX ? "at least " : "", len);
        return;
    }
    *seg = (struct vio_seg){ room, len };
    *p = (struct vio_net_packet){ .len = len, .nr = 1, .seg = seg };
    s->rx_end++;
}

/* Into the empty rooms; how many came, good or bad. */
static unsigned receive(struct net_socket *s, unsigned max)
{
    struct mmsghdr message[SOCKET_ROOMS] = { 0 };
    struct iovec iov[SOCKET_ROOMS];
    unsigned n = max < SOCKET_ROOMS ? max : SOCKET_ROOMS;
    int got;

    s->rx_at = s->rx_end = 0;
    for (unsigned i = 0; i < n; i++) {
        iov[i] = (struct iovec){ s->rx + (size_t)i * SOCKET_ROOM, VIO_NET_FRAME_MAX + 1 };
        message[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
    }
    do
        got = n ? recvmmsg(s->peer.fd, message, n, MSG_DONTWAIT, NULL) : 0;
    while (got < 0 && errno == EINTR);
    for (int i = 0; i < got; i++)
        keep(s, iov[i].iov_base, message[i].msg_len);
    return got > 0 ? (unsigned)got : 0;
}

/* Hands over what is there, at most max; true: all of it went. */
static bool deliver(struct net_socket *s, unsigned max, unsigned *done)
{
    unsigned n = vio_min_u32(s->rx_end - s->rx_at, max), taken;

    if (n > 0) {
        taken = s->sink.deliver(s->sink.ctx, &s->packet[s->rx_at], n);
        *done += taken;
        s->rx_at += taken;
    }
    return s->rx_at == s->rx_end;
}

unsigned dgram_poll(struct vio_net_backend *b, unsigned budget)
{
    struct net_socket *s = (struct net_socket *)b;
    unsigned done = 0, dropped = 0;

    while (deliver(s, budget - done - dropped, &done) && done + dropped < budget) {
        unsigned got = receive(s, budget - done - dropped);

        if (got == 0) {
            socket_tick(s);
            break;
        }
        dropped += got - s->rx_end;
    }
    if (done)
        s->sink.flush(s->sink.ctx);
    return done + dropped;
}
