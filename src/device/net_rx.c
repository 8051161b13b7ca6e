/* SPDX-License-Identifier: MIT */
/*
 * Purpose: packets to the driver (virtio 1.4, 5.1.9.4): filtered, steered to a queue, written into its buffers with the
 * header that was negotiated; what the driver does not accept is finished or cut first. Where it sits: device/net.
 * Threads: the owner of the lane, also from within another device's transmit queue (a switch).
 * Trust: a packet's bytes may be another guest's memory: decisions are made on a private copy of its first bytes.
 */
#include "backend/net_offload.h"
#include "device/net_internal.h"

#include <stdlib.h>
#include <string.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* One call of deliver: buffers are taken for as many packets as there may be, and what is left over goes back. */
struct delivery {
    struct net *net;
    struct net_lane *lane;
    uint16_t queue;
    struct net_queue *q; /* NULL: none chosen yet */
    unsigned at, nr;     /* req[at..nr): taken, not used */
    unsigned want;       /* packets that may still come */
    bool odd;            /* a queue had less than was asked for: it may be broken, or miss a translation */
    struct vio_req *req[VIO_NET_BURST];
};

/* What is decided about one packet. */
struct verdict {
    bool drop;
    uint16_t queue;
    uint32_t hash;
    uint16_t report;
};

/* ------------------------------------------------------------------ buffers */

static void return_buffers(struct delivery *d)
{
    if (d->at < d->nr)
        vio_devq_untake(d->q->vq, d->req + d->at, d->nr - d->at);
    d->at = d->nr = 0;
}

/* At least one buffer more behind those at hand. False: there is none now. */
static bool take_more(struct delivery *d, unsigned want)
{
    unsigned have = d->nr - d->at, got;

    memmove(d->req, d->req + d->at, have * sizeof(d->req[0]));
    d->at = 0;
    d->nr = have;
    if (want > VIO_NET_BURST - have)
        want = VIO_NET_BURST - have;
    got = vio_devq_take(d->q->vq, d->req + have, want);
    d->odd |= got < want;
    d->nr += got;
    return got > 0;
}

/* How many buffers hold `bytes`; 0: too few are available now. *room: what they hold together. */
static unsigned gather(struct delivery *d, uint64_t bytes, uint64_t *room)
{
    unsigned n = 0;

    *room = 0;
    while (*room < bytes) {
        if (d->at + n == d->nr && !take_more(d, d->want))
            return 0;
        *room += d->req[d->at + n]->out.left;
        n++;
        if (!d->net->mergeable || n == VIO_NET_BURST)
            break;
    }
    return n;
}

/* The driver has no entry left to make another buffer available with. */
static bool has_whole_ring(const struct delivery *d)
{
    unsigned entries = 0;

    for (unsigned i = d->at; i < d->nr; i++)
        entries += d->req[i]->slots;
    return entries == vio_devq_size(d->q->vq);
}

/* ------------------------------------------------------------------ writing */

static void fill_header(const struct net *net, const struct vio_net_packet *p, const struct verdict *v, unsigned buffers,
                        struct virtio_net_hdr *h)
{
    *h = (struct virtio_net_hdr){
        /* Without GUEST_CSUM none (5.1.9.4.1), DATA_VALID neither. */
        .flags = net->guest_offloads & VIO_NET_CSUM ? p->hdr.flags : 0,
        .gso_type = p->hdr.gso_type,
        .hdr_len = vio_le16_of(p->hdr.hdr_len),
        .gso_size = vio_le16_of(p->hdr.gso_size),
        .csum_start = vio_le16_of(p->hdr.csum_start),
        .csum_offset = vio_le16_of(p->hdr.csum_offset),
        .num_buffers = vio_le16_of((uint16_t)buffers),
    };
    if (net->rss.report) {
        h->hash_value = vio_le32_of(v->hash);
        h->hash_report = vio_le16_of(v->report);
    }
}

/* The common case: header and frame in one piece each, in one piece of a buffer. */
static inline bool write_whole(const struct net *net, struct vio_writer *w, const struct virtio_net_hdr *h,
                               const struct vio_net_packet *p)
{
    uint32_t bytes = net->hdr_bytes + p->len;
    uint8_t *to;

    if (unlikely(p->nr != 1 || w->nr == 0 || w->seg->len < bytes))
        return false;
    to = w->seg->base;
    if (likely(net->hdr_bytes == VIRTIO_NET_HDR_BYTES))
        memcpy(to, h, VIRTIO_NET_HDR_BYTES);
    else
        memcpy(to, h, VIRTIO_NET_HDR_HASH_BYTES);
    memcpy(to + net->hdr_bytes, p->seg->base, p->len);
    vio_writer_wrote(w, bytes);
    return true;
}

/* Any pieces into any buffers; all buffers but the last are filled (virtio 1.4, 5.1.9.4). */
static void write_pieces(struct vio_req **req, unsigned buffers, const void *from, size_t n, unsigned *buffer)
{
    while (n > 0 && *buffer < buffers) {
        size_t done = vio_writer_put_some(&req[*buffer]->out, from, n);

        from = (const uint8_t *)from + done;
        n -= done;
        if (n > 0)
            ++*buffer;
    }
}

static void write_packet(struct delivery *d, unsigned n, const struct vio_net_packet *p, const struct verdict *v)
{
    struct vio_req **req = d->req + d->at;
    struct net *net = d->net;
    struct virtio_net_hdr h;
    unsigned buffer = 0;

    fill_header(net, p, v, n, &h);
    if (unlikely(n > 1 || !write_whole(net, &req[0]->out, &h, p))) {
        write_pieces(req, n, &h, net->hdr_bytes, &buffer);
        for (uint32_t i = 0; i < p->nr; i++)
            write_pieces(req, n, p->seg[i].base, p->seg[i].len, &buffer);
    }
    for (unsigned i = 0; i < n; i++)
        vio_devq_put(d->q->vq, req[i]);
    d->at += n;
    d->q->put += n;
    d->q->packets++;
    d->q->bytes += p->len;
    if (unlikely(p->hdr.flags != 0)) {
        d->q->needs_csum += (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
        d->q->data_valid += (h.flags & VIRTIO_NET_HDR_F_DATA_VALID) != 0;
        d->q->gso_packets += p->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE;
        d->q->gso_bytes += p->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE ? p->len : 0;
    }
}

enum put_result { PUT_DONE, PUT_NO_ROOM };

/* One packet that the driver accepts as it is. */
static enum put_result put_packet(struct delivery *d, const struct vio_net_packet *p, const struct verdict *v)
{
    uint64_t bytes = d->net->hdr_bytes + (uint64_t)p->len, room;
    unsigned n = gather(d, bytes, &room);

    if (n == 0 && !has_whole_ring(d))
        return PUT_NO_ROOM;
    if (unlikely(room < bytes)) {
        /* The driver's buffers are too small for what it may be sent (5.1.9.3.1): the packet is lost, not the buffers. */
        net_count(&d->lane->rx_bad, 1);
        d->q->drops++;
        vio_log_peer(vio_device_log(d->net->dev), &d->lane->limit, vio_device_name(d->net->dev),
                     "queue %u: a packet of %u bytes does not fit the driver's buffer of %llu (virtio 1.4, 5.1.9.3.1): dropped",
                     d->queue, p->len, (unsigned long long)room);
        return PUT_DONE;
    }
    write_packet(d, n, p, v);
    net_count(&d->lane->rx_packets, 1);
    net_count(&d->lane->rx_bytes, p->len);
    return PUT_DONE;
}

/* ------------------------------------------------------------------ the express way */

/* Short frames are copied in place, in pieces that may overlap; a call costs more than they do. */
static inline void copy_frame(uint8_t *to, const uint8_t *from, uint32_t len)
{
    if (likely(len >= 32 && len <= 128)) {
        uint32_t half = len >= 64 ? 32 : 16;

        memcpy(to, from, 16);
        memcpy(to + 16, from + 16, 16);
        if (half == 32) {
            memcpy(to + 32, from + 32, 16);
            memcpy(to + 48, from + 48, 16);
            memcpy(to + len - 64, from + len - 64, 32);
        }
        memcpy(to + len - 32, from + len - 32, 32);
        return;
    }
    memcpy(to, from, len);
}

/*
 * Packets of one piece that need nothing, into buffers of one descriptor that hold them whole: as many as there are of
 * both from the front. What stops it takes the general way.
 */
static unsigned deliver_express(struct net_lane *lane, uint16_t queue, const struct vio_net_packet *p, unsigned n)
{
    const struct virtio_net_hdr h = { .num_buffers = vio_le16_of(1) };
    struct vio_piece pieces[VIO_NET_BURST];
    uint32_t lens[VIO_NET_BURST];
    struct net_queue *q = &lane->net->queue[queue];
    unsigned taken = vio_devq_express(q->vq, pieces, n < VIO_NET_BURST ? n : VIO_NET_BURST, true), i = 0;
    uint64_t bytes = 0;

    for (; i < taken; i++) {
        if (unlikely(p[i].hdr.flags != 0 || p[i].nr != 1 || p[i].len + VIRTIO_NET_HDR_BYTES > pieces[i].len))
            break;
        memcpy(pieces[i].base, &h, VIRTIO_NET_HDR_BYTES);
        copy_frame(pieces[i].base + VIRTIO_NET_HDR_BYTES, p[i].seg->base, p[i].len);
        lens[i] = VIRTIO_NET_HDR_BYTES + p[i].len;
        bytes += p[i].len;
    }
    if (taken > 0)
        vio_devq_express_put(q->vq, pieces, lens, i, taken);
    if (i == 0)
        return 0;
    q->put += i;
    q->packets += i;
    q->bytes += bytes;
    net_count(&lane->rx_packets, i);
    net_count(&lane->rx_bytes, bytes);
    return i;
}

/* ------------------------------------------------------------------ offloads that the driver does not accept */

struct cutting {
    struct delivery *d;
    const struct verdict *v;
    bool started;
};

static bool put_part(void *ctx, const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len)
{
    struct cutting *c = ctx;
    struct vio_seg seg = { (void *)(uintptr_t)frame, len };
    struct vio_net_packet part = { .hdr = *hdr, .len = len, .nr = 1, .seg = &seg };

    if (put_packet(c->d, &part, c->v) != PUT_DONE) {
        /* The rest is lost, as where a queue overflows; if this is the first, nothing is: it is offered again. */
        c->d->q->drops += c->started;
        c->d->q->overruns += c->started;
        return false;
    }
    c->started = true;
    return true;
}

static enum put_result put_in_software(struct delivery *d, const struct vio_net_packet *p, const struct verdict *v)
{
    struct net_lane *lane = d->lane;
    unsigned accepted = d->net->guest_offloads;
    struct cutting c = { .d = d, .v = v };
    struct vio_net_hdr hdr = p->hdr;
    int ret = 0;

    if (lane->bounce == NULL && (lane->bounce = malloc(NET_BOUNCE_BYTES)) == NULL)
        return PUT_DONE;
    vio_net_packet_copy(p, lane->bounce);
    if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE)
        ret = vio_net_segment(&hdr, lane->bounce, p->len, accepted, lane->bounce + NET_BOUNCE_FRAME, put_part, &c);
    else if (vio_net_finish_csum(&hdr, lane->bounce, p->len))
        return put_part(&c, &hdr, lane->bounce, p->len) ? PUT_DONE : PUT_NO_ROOM;
    else
        ret = -1;
    if (ret < 0) {
        net_count(&lane->rx_bad, 1);
        return PUT_DONE;
    }
    return c.started ? PUT_DONE : PUT_NO_ROOM;
}

/* ------------------------------------------------------------------ whether, and where to */

static inline bool runs(const struct net *net, uint16_t queue)
{
    return queue < net->queues && net->queue[queue].vq != NULL && !net->queue[queue].parked &&
           vio_device_queue_takes(net->dev, queue);
}

static uint16_t spread(const struct net_lane *lane, const uint8_t *head, size_t bytes)
{
    uint16_t first = net_lane_first(lane);
    uint16_t queue = (uint16_t)(first + net_lane_step(lane) * (net_flow(head, bytes) % lane->active));

    return runs(lane->net, queue) ? queue : first; /* a front-end may have enabled fewer */
}

/* What needs a look into the frame. */
static void judge_head(struct net_lane *lane, const struct vio_net_packet *p, struct verdict *v)
{
    const struct net *net = lane->net;
    uint8_t head[NET_HEAD_BYTES];
    size_t bytes = vio_net_packet_head(p, head, sizeof(head));

    if ((net->filter.mac_rules || net->filter.vlan_rules) && !net_filter_wants(&net->filter, head, bytes)) {
        net_count(&lane->rx_filtered, 1);
        v->drop = true;
        return;
    }
    if (net->rss.steer || net->rss.report) {
        v->hash = net_hash(&net->rss, head, bytes, &v->report);
        if (net->rss.steer) {
            uint16_t rq = v->report == VIRTIO_NET_HASH_REPORT_NONE ? net->rss.unclassified :
                                                                     net->rss.table[v->hash & net->rss.mask];

            v->queue = (uint16_t)(2 * rq);
            return;
        }
    }
    if (lane->active > 1)
        v->queue = spread(lane, head, bytes);
}

static inline bool must_look(const struct net_lane *lane)
{
    const struct net *net = lane->net;

    return net->filter.mac_rules || net->filter.vlan_rules || net->rss.steer || net->rss.report || lane->active > 1;
}

/* Buffers come from this queue from here on. False: it does not run. */
static bool choose_queue(struct delivery *d, uint16_t queue)
{
    if (likely(d->q != NULL && d->queue == queue))
        return true;
    if (d->q != NULL)
        return_buffers(d);
    d->q = NULL;
    if (!runs(d->net, queue))
        return false;
    d->q = &d->net->queue[queue];
    d->queue = queue;
    return true;
}

/* What is there is too few: the driver is to tell of the next one. */
static void starve(struct delivery *d)
{
    vio_devq_untake_too_few(d->q->vq, d->req + d->at, d->nr - d->at);
    d->at = d->nr = 0;
    d->q->starving = true;
    net_count(&d->lane->rx_no_buffer, 1);
}

/*
 * What was found while frames came in from somewhere else is told at once: the queue's own service may be long in coming,
 * for a broken queue is not kicked. Last: with no host, this may end in a reset and take the queues away.
 */
static void report(const struct net_lane *lane)
{
    for (unsigned i = net_lane_first(lane); i < net_lane_end(lane); i += net_lane_step(lane))
        vio_device_queue_report(lane->net->dev, (uint16_t)i);
}

unsigned net_rx_deliver(void *ctx, const struct vio_net_packet *p, unsigned n)
{
    struct net_lane *lane = ctx;
    struct net *net = lane->net;
    struct delivery d = { .net = net, .lane = lane };
    uint16_t first = net_lane_first(lane);
    bool look = must_look(lane);
    unsigned i = 0;

    if (unlikely(!atomic_load_explicit(&net->link, memory_order_relaxed))) {
        net_count(&lane->rx_link_down, n);
        return n;
    }
    if (unlikely(lane->active == 0)) { /* the driver uses none of its pairs (5.1.9.5.5) */
        net_count(&lane->rx_no_buffer, n);
        return n;
    }
    for (; i < n; i++) {
        struct verdict v = { .queue = first };
        enum put_result result;

        if (unlikely(look))
            judge_head(lane, &p[i], &v);
        if (unlikely(v.drop))
            continue;
        if (likely(!look && d.at == d.nr && runs(net, first))) {
            unsigned done = deliver_express(lane, first, p + i, n - i);

            if (likely(done > 0)) {
                i += done - 1;
                continue;
            }
            if (likely(!vio_devq_pending(net->queue[first].vq)) && choose_queue(&d, first)) {
                starve(&d);
                break;
            }
        }
        if (unlikely(!choose_queue(&d, v.queue))) {
            d.odd = true;
            net_count(&lane->rx_no_buffer, 1);
            continue; /* nobody receives there: as if the link were down */
        }
        d.want = n - i;
        if (likely(p[i].hdr.flags == 0) || (vio_net_needs(&p[i].hdr) & ~net->guest_offloads) == 0)
            result = put_packet(&d, &p[i], &v);
        else
            result = put_in_software(&d, &p[i], &v);
        if (unlikely(result == PUT_NO_ROOM)) {
            starve(&d);
            break;
        }
    }
    if (d.q != NULL)
        return_buffers(&d);
    if (unlikely(d.odd))
        report(lane);
    return i;
}

void net_rx_flush(void *ctx)
{
    struct net_lane *lane = ctx;
    struct net *net = lane->net;

    for (unsigned i = net_lane_first(lane); i < net_lane_end(lane); i += net_lane_step(lane))
        if (net->queue[i].put > 0 && net->queue[i].vq != NULL)
            net_publish(net, (uint16_t)i);
}
