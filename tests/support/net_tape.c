/* SPDX-License-Identifier: MIT */
#include "net_tape.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/net.h"

#define must(what)                                                             \
    do {                                                                       \
        if (!(what)) {                                                         \
            fprintf(stderr, "net_tape.c:%d: failed: %s\n", __LINE__, #what);   \
            abort();                                                           \
        }                                                                      \
    } while (0)

static struct net_tape *tape_of(struct vio_net_backend *b)
{
    return (struct net_tape *)(void *)b; /* head is its first member */
}

/* What include/vio/net.h promises of a packet, said anew. */
static void check_packet(const struct net_tape *t, const struct vio_net_packet *p)
{
    const struct vio_net_hdr *h = &p->hdr;
    uint64_t sum = 0;
    unsigned need;

    must(p->len >= VIO_NET_FRAME_MIN && p->len <= VIO_NET_FRAME_MAX && p->nr >= 1 && p->nr <= VIO_NET_SEGS_MAX);
    for (uint32_t i = 0; i < p->nr; i++)
        sum += p->seg[i].len;
    must(sum == p->len);
    must((h->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0);
    if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        must(t->host & t->info.takes & VIO_NET_CSUM);
        must((uint32_t)h->csum_start + h->csum_offset + 2 <= p->len);
    }
    if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
        return;
    switch (h->gso_type) {
    case VIRTIO_NET_HDR_GSO_TCPV4: need = VIO_NET_TSO4; break;
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN: need = VIO_NET_TSO4 | VIO_NET_ECN; break;
    case VIRTIO_NET_HDR_GSO_TCPV6: need = VIO_NET_TSO6; break;
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN: need = VIO_NET_TSO6 | VIO_NET_ECN; break;
    case VIRTIO_NET_HDR_GSO_UDP: need = VIO_NET_UFO; break;
    case VIRTIO_NET_HDR_GSO_UDP_L4: need = VIO_NET_USO; break;
    default: need = UINT_MAX; break;
    }
    must((need & ~(t->host & t->info.takes)) == 0);
    must((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 && h->gso_size > 0 && h->hdr_len <= p->len);
}

static void tape_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    *info = tape_of(b)->info;
}

static void tape_destroy(struct vio_net_backend *b)
{
    tape_of(b)->destroyed++;
}

static int tape_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    must(tape_of(b)->sink == NULL);
    tape_of(b)->sink = sink;
    return 0;
}

static void tape_stop(struct vio_net_backend *b)
{
    must(tape_of(b)->sink != NULL);
    tape_of(b)->sink = NULL;
}

static void tape_offloads(struct vio_net_backend *b, unsigned guest)
{
    must((guest & ~tape_of(b)->info.gives) == 0);
    tape_of(b)->guest = guest;
}

static unsigned tape_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct net_tape *t = tape_of(b);
    unsigned i = 0;

    must(t->sink != NULL && n <= VIO_NET_BURST);
    for (; i < n && t->room > 0; i++) {
        check_packet(t, &p[i]);
        t->room -= t->room != UINT_MAX;
        t->sent++;
        t->hdr = p[i].hdr;
        t->len = p[i].len;
        vio_net_packet_copy(&p[i], t->frame);
    }
    return i;
}

static unsigned tape_poll(struct vio_net_backend *b, unsigned budget)
{
    struct net_tape *t = tape_of(b);
    unsigned n = 0;

    must(t->sink != NULL);
    for (; n < budget && t->feed > 0 && net_tape_deliver(t, &t->packet); n++)
        t->feed--;
    return n;
}

static int tape_fd(struct vio_net_backend *b)
{
    (void)b;
    return -1;
}

static bool tape_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    (void)sleep;
    tape_of(b)->receive = receive;
    tape_of(b)->blocked = blocked;
    return false;
}

static const struct vio_net_ops tape_ops = {
    .name = "tape",
    .info = tape_info,
    .destroy = tape_destroy,
    .start = tape_start,
    .stop = tape_stop,
    .offloads = tape_offloads,
    .send = tape_send,
    .poll = tape_poll,
    .fd = tape_fd,
    .arm = tape_arm,
};

void net_tape_init(struct net_tape *t)
{
    memset(t, 0, sizeof(*t));
    t->head.ops = &tape_ops;
    t->info.takes = t->info.gives = VIO_NET_OFFLOADS;
    t->host = VIO_NET_OFFLOADS;
    t->room = UINT_MAX;
}

bool net_tape_deliver(struct net_tape *t, const struct vio_net_packet *p)
{
    const struct vio_net_sink *sink = t->sink;
    bool gone;

    if (sink == NULL)
        return false;
    gone = sink->deliver(sink->ctx, p, 1) == 1;
    if (t->sink != NULL)
        sink->flush(sink->ctx);
    return gone;
}
