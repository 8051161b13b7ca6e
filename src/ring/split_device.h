/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the split format's verbs, device side (virtio 1.4, 2.7). Where it sits: ring/, included by devq.c alone.
 * Trust: the driver's bytes are fetched once, by value, in the *_fetch and *_head functions here.
 */
#ifndef VIO_RING_SPLIT_DEVICE_H
#define VIO_RING_SPLIT_DEVICE_H

#include "ring/devq.h"
#include "ring/inflight_priv.h"
#include "ring/notify.h"

static inline struct vio_desc split_decode(uint64_t w0, uint64_t w1)
{
    return (struct vio_desc){
        .addr = w0,
        .len = (uint32_t)w1,
        .flags = (uint16_t)(w1 >> 32),
        .next = (uint16_t)(w1 >> 48),
    };
}

static inline struct vio_desc split_fetch(const struct vio_devq *q, uint16_t i)
{
    return split_decode(vio_shm_load64(q->desc, (size_t)i * 16), vio_shm_load64(q->desc, (size_t)i * 16 + 8));
}

/* How many buffers are available; 0 after a fault. Pairs with the driver's release of idx (2.7.13.3). */
static inline uint16_t split_peek(struct vio_devq *q, unsigned max)
{
    uint16_t n = (uint16_t)(q->avail_seen - q->avail_idx);

    if (n < max) {
        uint16_t shown = (uint16_t)(q->used_idx - q->unpublished);

        q->avail_seen = vio_shm_load16_acquire(q->driver, VIRTQ_AVAIL_IDX);
        n = (uint16_t)(q->avail_seen - q->avail_idx);
        /* Counted from what the driver has seen used: before that it has no descriptor to make available again. */
        if (__builtin_expect(n > q->size || (uint16_t)(q->avail_seen - shown) > q->size, 0)) {
            vio_devq_break(q, VIO_FAULT_AVAIL_IDX, q->avail_seen);
            q->avail_seen = q->avail_idx;
            return 0;
        }
    }
    return n;
}

static inline bool split_pending(const struct vio_devq *q)
{
    return q->avail_seen != q->avail_idx || vio_shm_load16(q->driver, VIRTQ_AVAIL_IDX) != q->avail_idx;
}

static inline uint16_t split_head(const struct vio_devq *q, uint16_t at)
{
    return vio_shm_load16(q->driver, VIRTQ_AVAIL_RING + 2u * (at & q->mask));
}

/* An indirect table: its entries are linked by next, starting at 0 (2.7.5.3). */
static inline enum vio_step split_walk_table(struct vio_devq *q, struct vio_chain *c, const struct vio_desc *ref)
{
    enum vio_step step;
    uint32_t entries = 0, i = 0, seen = 0;

    step = vio_chain_table(q, ref, &entries);
    if (step != VIO_STEP_OK)
        return step;
    for (;;) {
        struct vio_desc d = split_decode(vio_cpu(q->table[i].addr),
                                         (uint64_t)vio_cpu(q->table[i].len) |
                                             (uint64_t)vio_cpu(q->table[i].flags) << 32 |
                                             (uint64_t)vio_cpu(q->table[i].next) << 48);

        if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0)
            return vio_chain_fault(q, VIO_FAULT_INDIRECT_NESTED, i);
        step = vio_chain_add(q, c, &d);
        if (step != VIO_STEP_OK || (d.flags & VIRTQ_DESC_F_NEXT) == 0)
            return step;
        if (d.next >= entries)
            return vio_chain_fault(q, VIO_FAULT_DESC_NEXT, d.next);
        if (++seen >= entries || c->descs >= q->table_max)
            return vio_chain_fault(q, VIO_FAULT_CHAIN_LOOP, seen);
        i = d.next;
    }
}

static inline enum vio_step split_walk(struct vio_devq *q, struct vio_chain *c, uint16_t head, uint16_t *slots)
{
    uint16_t i = head, direct = 0;
    enum vio_step step;

    for (;;) {
        struct vio_desc d = split_fetch(q, i);

        direct++;
        if (__builtin_expect((d.flags & VIRTQ_DESC_F_INDIRECT) != 0, 0)) {
            step = split_walk_table(q, c, &d);
            break;
        }
        step = vio_chain_add(q, c, &d);
        if (__builtin_expect(step != VIO_STEP_OK, 0) || (d.flags & VIRTQ_DESC_F_NEXT) == 0)
            break;
        if (__builtin_expect(d.next >= q->size, 0))
            return vio_chain_fault(q, VIO_FAULT_DESC_NEXT, d.next);
        if (__builtin_expect(direct >= q->size, 0))
            return vio_chain_fault(q, VIO_FAULT_CHAIN_LOOP, head);
        i = d.next;
    }
    *slots = direct;
    return step;
}

/* One buffer by its head. */
static inline enum vio_step split_take_head(struct vio_devq *q, uint16_t head, struct vio_req **out)
{
    struct vio_req *req;
    struct vio_chain c;
    enum vio_step step;

    if (__builtin_expect(head >= q->size, 0))
        return vio_chain_fault(q, VIO_FAULT_AVAIL_HEAD, head);
    req = vio_devq_req(q, head);
    if (__builtin_expect(req->state_ != VIO_REQ_FREE, 0))
        return vio_chain_fault(q, VIO_FAULT_HEAD_IN_FLIGHT, head);
    vio_chain_init(&c, req);
    step = split_walk(q, &c, head, &req->slots);
    if (__builtin_expect(step == VIO_STEP_OK, 1))
        step = vio_chain_end(q, &c);
    if (__builtin_expect(step != VIO_STEP_OK, 0)) {
        vio_req_release_segs(q, req);
        return step;
    }
    req->id = head;
    req->index = head;
    *out = req;
    return VIO_STEP_OK;
}

static inline unsigned split_take(struct vio_devq *q, struct vio_req **reqs, unsigned max)
{
    uint16_t heads[VIO_QUEUE_BATCH];
    unsigned n = split_peek(q, max), got = 0;

    if (n > max)
        n = max;
    for (unsigned i = 0; i < n; i++) {
        heads[i] = split_head(q, (uint16_t)(q->avail_idx + i));
        vio_shm_prefetch(q->desc, (size_t)(heads[i] & q->mask) * 16);
    }
    for (unsigned i = 0; i < n; i++) {
        if (split_take_head(q, heads[i], &reqs[got]) != VIO_STEP_OK)
            break;
        /* Not for what is taken again after a crash: it keeps its number, and with it its place. */
        if (__builtin_expect(q->inflight != NULL, 0))
            srec_take(q, heads[i]);
        __builtin_prefetch(reqs[got]->segs_[0].base);
        got++;
    }
    q->avail_idx = (uint16_t)(q->avail_idx + got);
    return got;
}

static inline unsigned split_express(struct vio_devq *q, struct vio_piece *pieces, unsigned max, bool writable)
{
    unsigned need = writable ? VIO_ACCESS_WRITE : VIO_ACCESS_READ, n = split_peek(q, max), i;
    uint16_t flags = writable ? VIRTQ_DESC_F_WRITE : 0;

    if (n > max)
        n = max;
    for (i = 0; i < n; i++) {
        pieces[i].id = split_head(q, (uint16_t)(q->avail_idx + i));
        vio_shm_prefetch(q->desc, (size_t)(pieces[i].id & q->mask) * 16);
    }
    for (i = 0; i < n; i++) {
        struct vio_desc d;

        if (__builtin_expect(pieces[i].id >= q->size, 0))
            break;
        d = split_fetch(q, pieces[i].id);
        if (__builtin_expect(d.flags != flags, 0))
            break;
        pieces[i].base = vio_express_host(q, d.addr, d.len, need);
        pieces[i].len = d.len;
        if (__builtin_expect(pieces[i].base == NULL, 0))
            break;
        if (writable)
            __builtin_prefetch(pieces[i].base, 1);
        else
            __builtin_prefetch(pieces[i].base, 0);
    }
    q->avail_idx = (uint16_t)(q->avail_idx + i);
    return i;
}

static inline void split_show(struct vio_devq *q, uint16_t id, uint32_t len)
{
    size_t at = VIRTQ_USED_RING + 8u * (size_t)(q->used_idx & q->mask);

    /* id and len in one store; the area is 4-byte aligned only, so two halves. */
    vio_shm_store32(q->device, at, id);
    vio_shm_store32(q->device, at + 4, len);
    vio_devq_log_device(q, at, 8);
    q->used_idx++;
}

static inline void split_express_put(struct vio_devq *q, const struct vio_piece *pieces, const uint32_t *lens, unsigned nr,
                                     unsigned taken)
{
    for (unsigned i = 0; i < nr; i++)
        split_show(q, pieces[i].id, lens != NULL ? lens[i] : 0);
    q->unpublished = (uint16_t)(q->unpublished + nr);
    q->avail_idx = (uint16_t)(q->avail_idx - (taken - nr));
}

static inline void split_put(struct vio_devq *q, struct vio_req *req, uint32_t len)
{
    if (__builtin_expect(q->inflight != NULL, 0))
        srec_put(q, req->id);
    split_show(q, req->id, len);
}

/* With IN_ORDER: `count` buffers of which req is the last, by one element where the batch begins (2.7.9). */
static inline void split_put_batch(struct vio_devq *q, struct vio_req *req, uint32_t len, uint16_t count)
{
    split_put(q, req, len);
    q->used_idx = (uint16_t)(q->used_idx + count - 1);
}

static inline bool split_publish(struct vio_devq *q)
{
    uint16_t event;

    vio_shm_store16_release(q->device, VIRTQ_USED_IDX, q->used_idx);
    vio_devq_log_device(q, VIRTQ_USED_IDX, 2);
    if (__builtin_expect(q->inflight != NULL, 0))
        srec_published(q);
    /* The index must be visible before the driver's wish is read: pairs with the driver's arm_call (2.7.7.2). */
    vio_shm_full_barrier();
    if (!q->event_idx)
        return (vio_shm_load16(q->driver, VIRTQ_AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) == 0;
    event = vio_shm_load16(q->driver, VIRTQ_AVAIL_USED_EVENT((size_t)q->size));
    return vio_event_hit(event, q->used_idx, q->unpublished);
}

static inline bool split_silenced(const struct vio_devq *q)
{
    return !q->event_idx && (vio_shm_load16(q->driver, VIRTQ_AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) != 0;
}

static inline bool split_arm(struct vio_devq *q)
{
    uint16_t from = (uint16_t)(q->avail_idx + q->too_few);

    if (q->event_idx) {
        size_t at = VIRTQ_USED_AVAIL_EVENT((size_t)q->size);

        vio_shm_store16(q->device, at, from);
        vio_devq_log_device(q, at, 2);
    } else {
        vio_shm_store16(q->device, VIRTQ_USED_FLAGS, 0);
        vio_devq_log_device(q, VIRTQ_USED_FLAGS, 2);
    }
    /* Pairs with the driver's barrier between idx and reading our wish (2.7.13.4.1). */
    vio_shm_full_barrier();
    return q->avail_seen != from || vio_shm_load16(q->driver, VIRTQ_AVAIL_IDX) != from;
}

static inline void split_disarm(struct vio_devq *q)
{
    if (q->event_idx)
        return; /* an event index that has passed keeps quiet by itself */
    vio_shm_store16(q->device, VIRTQ_USED_FLAGS, VIRTQ_USED_F_NO_NOTIFY);
    vio_devq_log_device(q, VIRTQ_USED_FLAGS, 2);
}

#endif
