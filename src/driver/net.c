/* SPDX-License-Identifier: MIT */
/*
 * Purpose: frames sent over one driver-side queue, and the header before each (virtio 1.4, 5.1.9). Where it sits: driver/,
 * freestanding. Threads: the queue's owner. Trust: nothing of what the device can write is read here.
 */
#include <string.h>
#include "driver/net.h"
#include "spec/net.h"
#include "spec/virtio.h"

enum { BURST = 32 };

static uint32_t gso_of(struct vio_features f)
{
    uint32_t gso = 1u << VIRTIO_NET_HDR_GSO_NONE;

    if (vio_features_has(f, VIRTIO_NET_F_GUEST_TSO4))
        gso |= 1u << VIRTIO_NET_HDR_GSO_TCPV4;
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_TSO6))
        gso |= 1u << VIRTIO_NET_HDR_GSO_TCPV6;
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_UFO))
        gso |= 1u << VIRTIO_NET_HDR_GSO_UDP;
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_USO4) || vio_features_has(f, VIRTIO_NET_F_GUEST_USO6))
        gso |= 1u << VIRTIO_NET_HDR_GSO_UDP_L4;
    return gso;
}

struct vio_drvnet_shape vio_drvnet_shape(struct vio_features f, bool legacy)
{
    struct vio_drvnet_shape s = {
        .mergeable = vio_features_has(f, VIRTIO_NET_F_MRG_RXBUF),
        .hash = vio_features_has(f, VIRTIO_NET_F_HASH_REPORT),
        .apart = legacy && !vio_features_has(f, VIRTIO_F_ANY_LAYOUT),
        .gso = gso_of(f),
    };

    s.header = s.hash ? VIRTIO_NET_HDR_HASH_BYTES : VIRTIO_NET_HDR_BYTES;
    if (legacy && !s.mergeable)
        s.header = offsetof(struct virtio_net_hdr, num_buffers);
    if (vio_features_has(f, VIRTIO_NET_F_GUEST_CSUM))
        s.csum = VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID;
    /* Without these a frame's header has nothing to say, and its cache line stays where it is. */
    s.offloads = s.csum != 0 || s.hash;
    return s;
}

static bool offloads_none(const struct vio_drv_net_offload *o)
{
    uint64_t w[2];

    _Static_assert(sizeof(*o) == sizeof(w), "two words");
    memcpy(w, o, sizeof(w));
    return (w[0] | w[1]) == 0;
}

static void write_header(uint8_t *at, const struct vio_drvnet_shape *s, const struct vio_drv_net_offload *o)
{
    struct virtio_net_hdr h = {
        .flags = o->flags,
        .gso_type = o->gso_type,
        .hdr_len = vio_le16_of(o->hdr_len),
        .gso_size = vio_le16_of(o->gso_size),
        .csum_start = vio_le16_of(o->csum_start),
        .csum_offset = vio_le16_of(o->csum_offset),
    };

    memcpy(at, &h, s->header);
}

/*
 * A header of zeros is written only over what is none: a buffer that is sent again and again keeps its header's line in
 * both caches. Whatever a device made of these bytes meanwhile, it reads itself.
 */
static void clear_header(uint8_t *at, const struct vio_drvnet_shape *s)
{
    uint64_t first;
    uint32_t rest;

    memcpy(&first, at, sizeof(first));
    if (s->header == VIRTIO_NET_HDR_BYTES) {
        memcpy(&rest, at + sizeof(first), sizeof(rest));
        if ((first | rest) == 0)
            return;
    }
    memset(at, 0, s->header);
}

static inline void prepare(const struct vio_drvnet_shape *s, const struct vio_net_buf *b)
{
    uint8_t *at = b->host + b->offset - s->header;

    if (__builtin_expect(offloads_none(&b->offload), 1))
        clear_header(at, s);
    else
        write_header(at, s, &b->offload);
}

static inline bool piece_ok(const struct vio_net_buf *b)
{
    return b->len != 0 && b->offset <= b->size && b->len <= b->size - b->offset;
}

/* A frame of several pieces, or with its header apart. */
static bool put_pieces(struct vio_drvnet_tx *tx, struct vio_net_buf *frame)
{
    struct vio_buf bufs[VIO_DRV_NET_PIECES_MAX + 1];
    unsigned header = tx->shape.header, n = 0;

    if (frame->offset < header)
        return false;
    for (const struct vio_net_buf *b = frame; b != NULL; b = b->next) {
        unsigned before = b == frame && !tx->shape.apart ? header : 0;

        if (n == VIO_DRV_NET_PIECES_MAX || !piece_ok(b))
            return false;
        if (b == frame && tx->shape.apart)
            bufs[n++] = (struct vio_buf){ b->addr + b->offset - header, header };
        bufs[n++] = (struct vio_buf){ b->addr + b->offset - before, b->len + before };
    }
    prepare(&tx->shape, frame);
    return vio_drvq_put(tx->queue, bufs, n, 0, (uintptr_t)frame) == 0;
}

/* Frames of one piece from the front of these: at most BURST, fewer before one that is another or cannot be. */
static unsigned put_burst(struct vio_drvnet_tx *tx, struct vio_net_buf *const *frames, unsigned nr)
{
    struct vio_packet packet[BURST];
    unsigned header = tx->shape.header, n = 0;

    if (nr > BURST)
        nr = BURST;
    for (; n < nr; n++) {
        const struct vio_net_buf *b = frames[n];

        if (__builtin_expect(b->next != NULL || b->offset < header || !piece_ok(b), 0))
            break;
        prepare(&tx->shape, b);
        packet[n] = (struct vio_packet){
            .addr = b->addr + b->offset - header,
            .token = (uintptr_t)b,
            .len = b->len + header,
        };
    }
    return vio_drvq_express_put(tx->queue, packet, n, false);
}

unsigned vio_drvnet_put(struct vio_drvnet_tx *tx, struct vio_net_buf *const *frames, unsigned nr)
{
    unsigned put = 0;

    while (put < nr) {
        unsigned n = tx->shape.apart ? 0 : put_burst(tx, frames + put, nr - put);

        put += n;
        if (n == BURST || put == nr)
            continue;
        if ((!tx->shape.apart && frames[put]->next == NULL) || !put_pieces(tx, frames[put]))
            break;
        put++;
    }
    return put;
}

unsigned vio_drvnet_done(struct vio_drvnet_tx *tx, struct vio_net_buf **frames, unsigned max)
{
    struct vio_done done[BURST];
    unsigned total = 0, want, got;

    do {
        want = max - total < BURST ? max - total : BURST;
        got = vio_drvq_collect(tx->queue, done, want);
        for (unsigned i = 0; i < got; i++)
            frames[total + i] = (struct vio_net_buf *)(uintptr_t)done[i].token;
        total += got;
    } while (got == BURST && total < max);
    return total;
}

struct vio_net_buf *vio_drvnet_lost(struct vio_drvq *queue)
{
    uint64_t token;

    return vio_drvq_detach(queue, &token) ? (struct vio_net_buf *)(uintptr_t)token : NULL;
}
