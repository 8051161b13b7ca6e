/* SPDX-License-Identifier: MIT */
/*
 * Purpose: packets from the driver (virtio 1.4, 5.1.9.2): taken a burst at a time, their headers checked, handed to the
 * backend, given back. Where it sits: device/net. Threads: the owner of the queues.
 * Trust: the header is read once into a private copy and judged there. The frame's bytes stay the driver's and may
 * change: who looks into them copies first. What the driver gets wrong is counted by cause, said once in a while with
 * its clause, and dropped.
 */
#include <string.h>

#include "backend/net_offload.h"
#include "device/net_internal.h"

#include <stdlib.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct burst {
    struct net *net;
    struct net_lane *lane;
    struct net_queue *q;
    uint16_t queue;
    unsigned n;
    struct vio_req *req[VIO_NET_BURST];
    struct vio_net_packet packet[VIO_NET_BURST];
};

/* ------------------------------------------------------------------ what the driver got wrong */

static const struct {
    const char *name, *says, *clause;
} bads[VIO_NET_BAD_COUNT_] = {
    [VIO_NET_BAD_SHORT] = { "short", "it is shorter than its headers", "5.1.9.2" },
    [VIO_NET_BAD_LONG] = { "long", "it is longer than 65589 bytes or in more than 1024 pieces", "5.1.9.2" },
    [VIO_NET_BAD_FLAGS] = { "flags", "it has a flag that the driver must not set, or lacks NEEDS_CSUM", "5.1.9.2.1" },
    [VIO_NET_BAD_CSUM] = { "csum", "its checksum field is outside of it", "5.1.9.2.1" },
    [VIO_NET_BAD_GSO_TYPE] = { "gso-type", "its gso_type was not negotiated", "5.1.9.2.1" },
    [VIO_NET_BAD_GSO_SIZE] = { "gso-size", "its gso_size is 0", "5.1.9.2.1" },
    [VIO_NET_BAD_HDR_LEN] = { "hdr-len", "its hdr_len is past its end", "5.1.9.2.1" },
    [VIO_NET_BAD_NUM_BUFFERS] = { "num-buffers", "its num_buffers is not 0", "5.1.9.2.1" },
};

const char *vio_net_bad_name(enum vio_net_bad bad)
{
    return bad < VIO_NET_BAD_COUNT_ ? bads[bad].name : "?";
}

const char *vio_net_bad_clause(enum vio_net_bad bad)
{
    return bad < VIO_NET_BAD_COUNT_ ? bads[bad].clause : "?";
}

static void say_bad(struct burst *b, enum vio_net_bad bad, const char *what)
{
    struct net *net = b->net;

    net_count(&b->lane->tx_bad[bad], 1);
    vio_log_peer(vio_device_log(net->dev), &b->lane->limit, vio_device_name(net->dev),
                 "queue %u: a packet of the driver's is %s: %s (virtio 1.4, %s)", b->queue, what, bads[bad].says,
                 bads[bad].clause);
}

static void give_back(struct burst *b, struct vio_req *req)
{
    vio_devq_put(b->q->vq, req);
    b->q->put++;
}

static void drop(struct burst *b, struct vio_req *req, enum vio_net_bad bad)
{
    say_bad(b, bad, "dropped");
    b->q->drops++;
    b->q->malformed++;
    give_back(b, req);
}

/* ------------------------------------------------------------------ the header */

/* A packet with offloads; the common one has none. COUNT_: it is good. */
static enum vio_net_bad check_offloads(const struct net *net, const struct vio_net_packet *p)
{
    const struct vio_net_hdr *h = &p->hdr;
    unsigned needs = vio_net_needs(h);

    if (!vio_net_gso_known(h->gso_type))
        return VIO_NET_BAD_GSO_TYPE;
    if (h->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM)
        return VIO_NET_BAD_FLAGS;
    if (needs & ~net->host_offloads)
        return h->gso_type != VIRTIO_NET_HDR_GSO_NONE ? VIO_NET_BAD_GSO_TYPE : VIO_NET_BAD_FLAGS;
    if ((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && (uint32_t)h->csum_start + h->csum_offset + 2 > p->len)
        return VIO_NET_BAD_CSUM;
    if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
        return VIO_NET_BAD_COUNT_;
    if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return VIO_NET_BAD_FLAGS;
    if (h->gso_size == 0)
        return VIO_NET_BAD_GSO_SIZE;
    return h->hdr_len > p->len ? VIO_NET_BAD_HDR_LEN : VIO_NET_BAD_COUNT_;
}

/*
 * num_buffers must be 0, but it means nothing here, and drivers that forward what they received leave theirs in it
 * (DPDK), or whatever was there (Linux without MRG_RXBUF, which is then not told of): counted, not dropped.
 */
static void note_num_buffers(struct burst *b, uint16_t num_buffers)
{
    if (unlikely(num_buffers != 0 && b->net->mergeable))
        say_bad(b, VIO_NET_BAD_NUM_BUFFERS, "odd");
}

/* True: p is a packet. False: the request has ended. */
static inline bool prepare(struct burst *b, struct vio_req *req, struct vio_net_packet *p)
{
    const struct net *net = b->net;
    struct virtio_net_hdr h;
    enum vio_net_bad bad;

    if (unlikely(!vio_reader_get(&req->in, &h, net->hdr_bytes) || req->in.left < VIO_NET_FRAME_MIN)) {
        drop(b, req, VIO_NET_BAD_SHORT);
        return false;
    }
    if (unlikely(req->in.left > VIO_NET_FRAME_MAX || req->in.nr > VIO_NET_SEGS_MAX)) {
        drop(b, req, VIO_NET_BAD_LONG);
        return false;
    }
    p->len = (uint32_t)req->in.left;
    p->nr = req->in.nr;
    p->seg = req->in.seg;
    note_num_buffers(b, vio_cpu(h.num_buffers));
    if (likely((h.flags | h.gso_type) == 0)) {
        p->hdr = (struct vio_net_hdr){ 0 };
        return true;
    }
    p->hdr = (struct vio_net_hdr){
        .flags = h.flags,
        .gso_type = h.gso_type,
        .hdr_len = vio_cpu(h.hdr_len),
        .gso_size = vio_cpu(h.gso_size),
        .csum_start = vio_cpu(h.csum_start),
        .csum_offset = vio_cpu(h.csum_offset),
    };
    bad = check_offloads(net, p);
    if (likely(bad == VIO_NET_BAD_COUNT_))
        return true;
    drop(b, req, bad);
    return false;
}

/* ------------------------------------------------------------------ a checksum that the backend does not finish */

/* Larger packets than the backend takes are not offered to the driver; a checksum always is. */
static void send_finished(struct burst *b, const struct vio_net_packet *p)
{
    struct net_lane *lane = b->lane;
    struct vio_net_hdr hdr = p->hdr;
    struct vio_seg seg;
    struct vio_net_packet own = { .len = p->len, .nr = 1, .seg = &seg };

    if (lane->bounce == NULL)
        lane->bounce = malloc(NET_BOUNCE_BYTES);
    if (lane->bounce == NULL) {
        b->q->drops++;
        return;
    }
    vio_net_packet_copy(p, lane->bounce);
    seg = (struct vio_seg){ lane->bounce, p->len };
    if (!vio_net_finish_csum(&hdr, lane->bounce, p->len)) {
        b->q->drops++;
        return;
    }
    own.hdr = hdr;
    /* Where the backend is full it is lost, as on any wire. */
    b->q->drops += lane->backend->ops->send(lane->backend, &own, 1) == 0;
}

/* ------------------------------------------------------------------ bursts */

static void account(struct burst *b, const struct vio_net_packet *p, unsigned n)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < n; i++) {
        bytes += p[i].len;
        if (unlikely(p[i].hdr.flags != 0)) {
            b->q->needs_csum++;
            b->q->gso_packets += p[i].hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE;
            b->q->gso_bytes += p[i].hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE ? p[i].len : 0;
        }
    }
    b->q->packets += n;
    b->q->bytes += bytes;
    net_count(&b->lane->tx_packets, n);
    net_count(&b->lane->tx_bytes, bytes);
}

/* Waits until the backend has room. */
static void hold(struct burst *b, struct vio_req *req, const struct vio_net_packet *p)
{
    ((struct net_tx_req *)vio_req_priv(req))->packet = *p;
    b->q->held[b->q->nr_held++] = req;
}

static bool link_up(struct burst *b, unsigned n)
{
    if (likely(atomic_load_explicit(&b->net->link, memory_order_relaxed)))
        return true;
    net_count(&b->lane->tx_link_down, n);
    b->q->drops += n;
    return false;
}

/* How many of the burst's first n packets are gone. */
static inline unsigned pass_on(struct burst *b, unsigned n)
{
    struct vio_net_backend *backend = b->lane->backend;
    unsigned sent;

    if (unlikely(!link_up(b, n)))
        return n;
    sent = backend->ops->send(backend, b->packet, n);
    account(b, b->packet, sent);
    return sent;
}

/* Sends what is gathered. False: the backend is full, and the rest of it is held. */
static bool send_burst(struct burst *b)
{
    unsigned sent;

    if (b->n == 0)
        return true;
    sent = pass_on(b, b->n);
    for (unsigned i = 0; i < sent; i++)
        give_back(b, b->req[i]);
    for (unsigned i = sent; i < b->n; i++)
        hold(b, b->req[i], &b->packet[i]);
    b->n = 0;
    return b->q->nr_held == 0;
}

/* By itself, behind what is gathered. */
static void send_alone(struct burst *b, struct vio_req *req, const struct vio_net_packet *p)
{
    if (link_up(b, 1)) {
        send_finished(b, p);
        account(b, p, 1);
    }
    give_back(b, req);
}

/* One that was checked, and stands at the end of the burst or elsewhere. */
static inline void route(struct burst *b, struct vio_req *req, const struct vio_net_packet *p)
{
    bool plain = likely(p->hdr.flags == 0) || (vio_net_needs(&p->hdr) & ~b->net->info.takes) == 0;
    struct vio_net_packet own;

    if (likely(plain && b->q->nr_held == 0)) {
        if (p != &b->packet[b->n])
            b->packet[b->n] = *p;
        b->req[b->n++] = req;
        return;
    }
    own = *p; /* the burst is sent, and its places are used again */
    if (b->q->nr_held > 0 || !send_burst(b))
        hold(b, req, &own);
    else
        send_alone(b, req, &own);
}

/* Tries those again that found the backend full; to_end: they are lost where it still is (the queue is to be empty). */
static unsigned send_held(struct burst *b, bool to_end)
{
    struct vio_req *held[VIO_NET_BURST];
    struct net_queue *q = b->q;
    unsigned n = q->nr_held, left;

    memcpy(held, q->held, n * sizeof(held[0]));
    q->nr_held = 0;
    for (unsigned i = 0; i < n; i++)
        route(b, held[i], &((struct net_tx_req *)vio_req_priv(held[i]))->packet);
    (void)send_burst(b);
    left = q->nr_held;
    if (!to_end)
        return n - left;
    for (unsigned i = 0; i < left; i++)
        give_back(b, q->held[i]);
    q->drops += left;
    q->nr_held = 0;
    return n;
}

/* ------------------------------------------------------------------ the express way */

/*
 * Packets in one descriptor that ask for nothing: no request is made of them. What the backend has no room for stays
 * available. Returns how many are gone; 0: the general way is needed, or nothing is there.
 */
static unsigned send_express(struct burst *b, unsigned max)
{
    struct net *net = b->net;
    struct vio_piece pieces[VIO_NET_BURST];
    struct vio_seg segs[VIO_NET_BURST];
    unsigned taken = vio_devq_express(b->q->vq, pieces, max, false), n = 0, sent;

    for (; n < taken; n++) {
        struct vio_net_packet *p = &b->packet[n];
        struct virtio_net_hdr h;

        memcpy(&h, pieces[n].base, VIRTIO_NET_HDR_BYTES < pieces[n].len ? VIRTIO_NET_HDR_BYTES : 0);
        if (unlikely(pieces[n].len < net->hdr_bytes + (uint32_t)VIO_NET_FRAME_MIN ||
                     pieces[n].len > net->hdr_bytes + (uint32_t)VIO_NET_FRAME_MAX || (h.flags | h.gso_type) != 0))
            break;
        note_num_buffers(b, vio_cpu(h.num_buffers));
        segs[n] = (struct vio_seg){ pieces[n].base + net->hdr_bytes, pieces[n].len - net->hdr_bytes };
        p->hdr = (struct vio_net_hdr){ 0 };
        p->len = (uint32_t)segs[n].len;
        p->nr = 1;
        p->seg = &segs[n];
    }
    if (taken == 0)
        return 0;
    sent = likely(n > 0) ? pass_on(b, n) : 0;
    vio_devq_express_put(b->q->vq, pieces, NULL, sent, taken);
    b->q->blocked = sent < n;
    b->q->put += sent;
    return sent;
}

unsigned net_tx_service(struct net *net, uint16_t queue, unsigned budget)
{
    struct burst b = { .net = net, .lane = net->queue[queue].lane, .q = &net->queue[queue], .queue = queue };
    struct vio_req *reqs[VIO_NET_BURST];
    unsigned work = 0;

    if (unlikely(b.q->vq == NULL))
        return 0;
    if (unlikely(b.q->nr_held > 0)) {
        work = send_held(&b, budget == 0 && !vio_device_queue_takes(net->dev, queue));
        net_publish(net, queue);
    }
    b.q->blocked = b.q->nr_held > 0;
    while (budget > 0 && !b.q->blocked) {
        unsigned max = budget < VIO_NET_BURST ? budget : VIO_NET_BURST;
        unsigned got = send_express(&b, max);

        if (likely(got > 0)) {
            net_publish(net, queue);
            work += got;
            budget -= got;
            continue;
        }
        if (b.q->blocked || !vio_devq_pending(b.q->vq))
            break;
        got = vio_devq_take(b.q->vq, reqs, max);
        for (unsigned i = 0; i < got; i++)
            if (likely(prepare(&b, reqs[i], &b.packet[b.n])))
                route(&b, reqs[i], &b.packet[b.n]);
        (void)send_burst(&b);
        net_publish(net, queue);
        b.q->blocked = b.q->nr_held > 0;
        work += got;
        budget -= got;
        if (got == 0)
            break;
    }
    return work;
}
