/* SPDX-License-Identifier: MIT */
/*
 * Purpose: frames received from one driver-side queue: buffers given to the device, and what it made of them
 * (virtio 1.4, 5.1.9.3, 5.1.9.4). Where it sits: driver/, freestanding. Threads: the queue's owner.
 * Trust: the length was checked by the queue. The header is copied once, and only if something was agreed that it can say; what it
 * may not say makes the frame none.
 */
#include <string.h>
#include "driver/net.h"
#include "spec/net.h"

enum { BURST = 32 };

unsigned vio_drvnet_give(struct vio_drvnet_rx *rx, struct vio_net_buf *const *bufs, unsigned nr)
{
    struct vio_packet packet[BURST];
    unsigned given = 0, header = rx->shape.header;

    while (given < nr) {
        unsigned n = 0, put;

        for (; n < BURST && given + n < nr; n++) {
            const struct vio_net_buf *b = bufs[given + n];
            uint32_t start = b->offset - header;

            if (__builtin_expect(b->offset < header || b->offset >= b->size, 0))
                break;
            packet[n] = (struct vio_packet){ b->addr + start, (uintptr_t)b, b->size - start };
        }
        put = rx->shape.apart ? 0 : vio_drvq_express_put(rx->queue, packet, n, true);
        for (; rx->shape.apart && put < n; put++) {
            const struct vio_buf two[] = { { packet[put].addr, header }, { packet[put].addr + header, packet[put].len - header } };

            if (vio_drvq_put(rx->queue, two, 0, 2, packet[put].token) != 0)
                break;
        }
        given += put;
        if (put < BURST)
            break;
    }
    return given;
}

static struct virtio_net_hdr copy_header(const struct vio_net_buf *b, unsigned bytes)
{
    struct virtio_net_hdr h = { 0 };

    memcpy(&h, b->host + b->offset - bytes, bytes);
    /* The device may go on writing there: nothing below may look again. */
    __asm__ volatile("" : : : "memory");
    return h;
}

/* What the header says of the frame of `len` bytes; false: what it must not. */
static bool judge(const struct vio_drvnet_shape *s, const struct virtio_net_hdr *h, uint64_t len, struct vio_drv_net_offload *o)
{
    unsigned gso = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;

    *o = (struct vio_drv_net_offload){
        .flags = h->flags & s->csum,
        .gso_type = h->gso_type,
        .hdr_len = vio_cpu(h->hdr_len),
        .gso_size = vio_cpu(h->gso_size),
        .csum_start = vio_cpu(h->csum_start),
        .csum_offset = vio_cpu(h->csum_offset),
    };
    if ((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 &&
        ((s->csum & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 || (uint64_t)o->csum_start + o->csum_offset + 2 > len))
        return false;
    if (gso > VIRTIO_NET_HDR_GSO_UDP_L4 || (s->gso >> gso & 1) == 0)
        return false;
    if (gso != VIRTIO_NET_HDR_GSO_NONE && o->gso_size == 0)
        return false;
    if (o->hdr_len > len) /* a hint (5.1.9.2) */
        o->hdr_len = (uint16_t)len;
    if (s->hash && vio_cpu(h->hash_report) <= VIRTIO_NET_HASH_REPORT_UDPv6_EX) {
        o->hash_report = vio_cpu(h->hash_report);
        o->hash_value = vio_cpu(h->hash_value);
    }
    return true;
}

static void none(struct vio_net_buf *b, uint64_t *counter)
{
    b->pieces = 0;
    (*counter)++;
}

/* All pieces are there. */
static void finish(struct vio_drvnet_rx *rx, struct vio_net_buf *first)
{
    uint64_t len = 0;
    struct virtio_net_hdr h;

    if (!rx->shape.offloads) {
        first->offload = (struct vio_drv_net_offload){ 0 };
        return;
    }
    for (const struct vio_net_buf *b = first; b != NULL; b = b->next)
        len += b->len;
    h = copy_header(first, rx->shape.header);
    if (!judge(&rx->shape, &h, len, &first->offload))
        none(first, &rx->counters.header);
}

/* The next piece of the frame that waits for some; the frame, once it is whole. */
static struct vio_net_buf *append(struct vio_drvnet_rx *rx, struct vio_net_buf *b, uint32_t len)
{
    struct vio_net_buf *first = rx->first;

    /* Only the first piece has a header. */
    b->offset = (uint16_t)(b->offset - rx->shape.header);
    b->len = len;
    b->next = NULL;
    rx->last->next = b;
    rx->last = b;
    if (--rx->missing > 0)
        return NULL;
    rx->first = rx->last = NULL;
    finish(rx, first);
    return first;
}

/* The first piece of a frame of several: how many, by its header. left: buffers that the device has, or has used. */
static struct vio_net_buf *begin(struct vio_drvnet_rx *rx, struct vio_net_buf *b, unsigned left)
{
    struct virtio_net_hdr h = copy_header(b, rx->shape.header);
    unsigned n = vio_cpu(h.num_buffers);

    if (n == 0) {
        none(b, &rx->counters.count);
        return b;
    }
    b->pieces = (uint16_t)n;
    if (n == 1) {
        finish(rx, b);
        return b;
    }
    rx->first = rx->last = b;
    rx->missing = (uint16_t)(n - 1);
    /* No more buffers will come than there are: this frame would wait for ever. */
    if (n > VIO_DRV_NET_PIECES_MAX || n - 1 > left)
        vio_drvq_break(rx->queue, VIO_FAULT_USED_FRAME);
    return NULL;
}

static struct vio_net_buf *used(struct vio_drvnet_rx *rx, const struct vio_done *done, unsigned left)
{
    struct vio_net_buf *b = (struct vio_net_buf *)(uintptr_t)done->token;

    if (__builtin_expect(rx->missing > 0, 0))
        return append(rx, b, done->len);
    b->next = NULL;
    b->pieces = 1;
    b->len = done->len - rx->shape.header;
    if (__builtin_expect(done->len <= rx->shape.header, 0)) {
        b->len = 0;
        none(b, &rx->counters.short_);
        return b;
    }
    if (rx->shape.mergeable)
        return begin(rx, b, left);
    finish(rx, b);
    return b;
}

unsigned vio_drvnet_receive(struct vio_drvnet_rx *rx, struct vio_net_buf **frames, unsigned max)
{
    struct vio_done done[BURST];
    unsigned total = 0, want, got;

    do {
        want = max - total < BURST ? max - total : BURST;
        got = vio_drvq_collect(rx->queue, done, want);
        for (unsigned i = 0; i < got; i++)
            __builtin_prefetch((const void *)(uintptr_t)done[i].token, 1);
        for (unsigned i = 0; i < got; i++) {
            struct vio_net_buf *b = used(rx, &done[i], vio_drvq_in_flight(rx->queue) + got - i - 1);

            if (b != NULL)
                frames[total++] = b;
        }
    } while (got == want && total < max && got > 0);
    return total;
}

struct vio_net_buf *vio_drvnet_unfinished(struct vio_drvnet_rx *rx)
{
    struct vio_net_buf *first = rx->first;

    rx->first = rx->last = NULL;
    rx->missing = 0;
    return first;
}
