/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the packed format's verbs, device side (virtio 1.4, 2.8). Where it sits: ring/, included by devq.c alone.
 * Trust: the driver's bytes are fetched once, by value: flags first (acquire), with id and len in the same load.
 */
#ifndef VIO_RING_PACKED_DEVICE_H
#define VIO_RING_PACKED_DEVICE_H

#include "ring/devq.h"
#include "ring/inflight_priv.h"
#include "ring/notify.h"

#define PACKED_FLAGS_SHIFT 48

static inline bool packed_is_avail(uint64_t word1, bool wrap)
{
    uint16_t flags = (uint16_t)(word1 >> PACKED_FLAGS_SHIFT);

    return ((flags & VIRTQ_DESC_F_AVAIL) != 0) == wrap && ((flags & VIRTQ_DESC_F_USED) != 0) != wrap;
}

static inline struct vio_desc packed_decode(uint64_t addr, uint64_t word1)
{
    return (struct vio_desc){
        .addr = addr,
        .len = (uint32_t)word1,
        .next = (uint16_t)(word1 >> 32),
        .flags = (uint16_t)(word1 >> PACKED_FLAGS_SHIFT),
    };
}

static inline bool packed_pending(const struct vio_devq *q)
{
    return packed_is_avail(vio_shm_load64(q->desc, (size_t)q->avail_idx * 16 + 8), q->avail_wrap);
}

/* An indirect table: entries one after another, only WRITE means anything (2.8.7). */
static inline enum vio_step packed_walk_table(struct vio_devq *q, struct vio_chain *c, const struct vio_desc *ref)
{
    /* The private copy's 16-byte entries, in this format's layout. */
    const struct pvirtq_desc *table = (const struct pvirtq_desc *)(const void *)q->table;
    uint32_t entries = 0;
    enum vio_step step = vio_chain_table(q, ref, &entries);

    for (uint32_t i = 0; step == VIO_STEP_OK && i < entries; i++) {
        struct vio_desc d = {
            .addr = vio_cpu(table[i].addr),
            .len = vio_cpu(table[i].len),
            .flags = vio_cpu(table[i].flags),
        };

        if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0)
            return vio_chain_fault(q, VIO_FAULT_INDIRECT_NESTED, i);
        d.flags &= VIRTQ_DESC_F_WRITE;
        step = vio_chain_add(q, c, &d);
    }
    return step;
}

/* One descriptor of a list, wherever it was read from. */
static inline enum vio_step packed_add(struct vio_devq *q, struct vio_chain *c, const struct vio_desc *d, bool head)
{
    if (__builtin_expect((d->flags & VIRTQ_DESC_F_INDIRECT) != 0, 0)) {
        if (!head)
            return vio_chain_fault(q, VIO_FAULT_PACKED_MIXED, d->addr);
        return packed_walk_table(q, c, d);
    }
    return vio_chain_add(q, c, d);
}

/* Where a walk through the ring stands. */
struct packed_at {
    uint16_t idx;
    bool wrap;
};

static inline void packed_step(const struct vio_devq *q, struct packed_at *at)
{
    if (++at->idx == q->size) {
        at->idx = 0;
        at->wrap = !at->wrap;
    }
}

static inline enum vio_step packed_walk(struct vio_devq *q, struct vio_req *req, struct vio_chain *c,
                                        struct packed_at *at, uint64_t word1)
{
    /* What was put is the driver's again only when it was published. */
    uint32_t room = q->size - q->slots_in_flight - q->unpublished;
    uint16_t slots = 0;
    enum vio_step step;

    for (;;) {
        struct vio_desc d = packed_decode(vio_shm_load64(q->desc, (size_t)at->idx * 16), word1);
        bool last = (d.flags & VIRTQ_DESC_F_NEXT) == 0;

        if (__builtin_expect(++slots > room, 0))
            return vio_chain_fault(q, slots > q->size ? VIO_FAULT_CHAIN_LOOP : VIO_FAULT_PACKED_OVERRUN, at->idx);
        step = packed_add(q, c, &d, slots == 1);
        if (__builtin_expect(step != VIO_STEP_OK, 0))
            return step;
        if (__builtin_expect(q->inflight != NULL, 0))
            prec_desc(q, req, &d, slots == 1, last);
        packed_step(q, at);
        req->id = d.next;
        if (last)
            break;
        word1 = vio_shm_load64(q->desc, (size_t)at->idx * 16 + 8);
        if (__builtin_expect(!packed_is_avail(word1, at->wrap), 0))
            return vio_chain_fault(q, VIO_FAULT_PACKED_WRAP, at->idx);
    }
    req->slots = slots;
    return VIO_STEP_OK;
}

/* The buffer at the queue's position, which the caller saw to be available. */
static inline enum vio_step packed_take_one(struct vio_devq *q, uint64_t word1, struct vio_req **out)
{
    struct packed_at at = { q->avail_idx, q->avail_wrap };
    uint16_t rec_free = q->rec_free;
    struct vio_req *req;
    struct vio_chain c;
    enum vio_step step;

    if (__builtin_expect(q->nr_free == 0, 0))
        return vio_chain_fault(q, VIO_FAULT_PACKED_OVERRUN, at.idx);
    req = vio_devq_req(q, q->free_req[q->nr_free - 1]);
    vio_chain_init(&c, req);
    step = packed_walk(q, req, &c, &at, word1);
    if (__builtin_expect(step == VIO_STEP_OK, 1))
        step = vio_chain_end(q, &c);
    if (__builtin_expect(step != VIO_STEP_OK, 0)) {
        vio_req_release_segs(q, req);
        q->rec_free = rec_free;
        return step;
    }
    if (__builtin_expect(q->inflight != NULL, 0))
        prec_take(q, req);
    req->index = q->free_req[--q->nr_free];
    q->avail_idx = at.idx;
    q->avail_wrap = at.wrap;
    q->slots_in_flight += req->slots;
    *out = req;
    return VIO_STEP_OK;
}

static inline unsigned packed_take(struct vio_devq *q, struct vio_req **reqs, unsigned max)
{
    unsigned got = 0;

    while (got < max) {
        size_t at = (size_t)q->avail_idx * 16;
        /* Pairs with the driver's release of the head's flags (2.8.21.1). */
        uint64_t word1 = vio_shm_load64_acquire(q->desc, at + 8);

        if (!packed_is_avail(word1, q->avail_wrap))
            break;
        /* The line after next: the ring is read in order. Past the end it is the caller's own memory or nothing. */
        vio_shm_prefetch(q->desc, at + 128);
        if (packed_take_one(q, word1, &reqs[got]) != VIO_STEP_OK)
            break;
        __builtin_prefetch(reqs[got]->segs_[0].base);
        got++;
    }
    return got;
}

/* What was taken last is available again. */
static inline void packed_back(struct vio_devq *q, unsigned slots)
{
    if (q->avail_idx < slots) {
        q->avail_idx = (uint16_t)(q->avail_idx + q->size);
        q->avail_wrap = !q->avail_wrap;
    }
    q->avail_idx = (uint16_t)(q->avail_idx - slots);
}

static inline void packed_untake(struct vio_devq *q, const struct vio_req *req)
{
    packed_back(q, req->slots);
    q->slots_in_flight -= req->slots;
    q->free_req[q->nr_free++] = req->index;
}

/* A buffer that an earlier owner took: its descriptors are in the record, for the ring may have moved on. */
static inline enum vio_step packed_take_recovered(struct vio_devq *q, uint16_t head, struct vio_req **out)
{
    struct vio_shm r = vio_inflight_shm(q);
    uint32_t room = q->size - q->slots_in_flight - q->unpublished;
    uint16_t at = head, slots = 0;
    struct vio_req *req;
    struct vio_chain c;
    enum vio_step step = VIO_STEP_OK;

    if (q->nr_free == 0)
        return vio_chain_fault(q, VIO_FAULT_INFLIGHT, head);
    req = vio_devq_req(q, q->free_req[q->nr_free - 1]);
    vio_chain_init(&c, req);
    req->rec_head_ = head;
    /* The list's shape is our own copy, checked at start; the front-end shares only what stands in the entries. */
    for (; step == VIO_STEP_OK && at < q->size && slots < room; at = q->rec_next[at]) {
        size_t e = prec_entry(at);
        struct vio_desc d = {
            .addr = rec_load64(r, e + PREC_ADDR),
            .len = rec_load32(r, e + PREC_LEN),
            .flags = rec_load16(r, e + PREC_FLAGS),
            .next = rec_load16(r, e + PREC_ID),
        };

        step = packed_add(q, &c, &d, slots == 0);
        req->id = d.next;
        req->rec_last_ = at;
        slots++;
    }
    if (step == VIO_STEP_OK)
        step = vio_chain_end(q, &c);
    if (step != VIO_STEP_OK) {
        vio_req_release_segs(q, req);
        return step;
    }
    req->slots = slots;
    req->index = q->free_req[--q->nr_free];
    q->slots_in_flight += slots;
    *out = req;
    return VIO_STEP_OK;
}

static inline void packed_used_step(struct vio_devq *q, uint32_t slots)
{
    q->used_idx = (uint16_t)(q->used_idx + slots);
    if (q->used_idx >= q->size) {
        q->used_idx = (uint16_t)(q->used_idx - q->size);
        q->used_wrap = !q->used_wrap;
    }
}

/*
 * One store makes a used descriptor; that of a batch's first one waits for publish, and the driver, which reads the
 * ring in order, sees none of the others before it (2.8.22).
 */
static inline void packed_show(struct vio_devq *q, uint16_t id, uint32_t len)
{
    size_t at = (size_t)q->used_idx * 16;
    uint16_t flags = (uint16_t)((q->used_wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0) |
                                (len > 0 ? VIRTQ_DESC_F_WRITE : 0));
    uint64_t word1 = (uint64_t)len | (uint64_t)id << 32 | (uint64_t)flags << PACKED_FLAGS_SHIFT;

    if (q->unpublished == 0) {
        q->first_put = q->used_idx;
        q->first_word = word1;
    } else {
        vio_shm_store64(q->desc, at + 8, word1);
        vio_devq_log_desc(q, at);
    }
}

static inline void packed_put(struct vio_devq *q, const struct vio_req *req, uint32_t len, uint32_t slots)
{
    packed_show(q, req->id, len);
    q->slots_in_flight -= slots;
    packed_used_step(q, slots);
}

static inline unsigned packed_express(struct vio_devq *q, struct vio_piece *pieces, unsigned max, bool writable)
{
    unsigned need = writable ? VIO_ACCESS_WRITE : VIO_ACCESS_READ, i = 0;
    uint16_t flags = writable ? VIRTQ_DESC_F_WRITE : 0;
    struct packed_at at = { q->avail_idx, q->avail_wrap };

    if (max > (unsigned)(q->size - q->unpublished))
        max = q->size - q->unpublished;
    for (; i < max; i++) {
        /* Pairs with the driver's release of the head's flags (2.8.21.1). */
        uint64_t word1 = vio_shm_load64_acquire(q->desc, (size_t)at.idx * 16 + 8);
        struct vio_desc d;

        if (!packed_is_avail(word1, at.wrap))
            break;
        vio_shm_prefetch(q->desc, (size_t)at.idx * 16 + 256);
        d = packed_decode(vio_shm_load64(q->desc, (size_t)at.idx * 16), word1);
        if (__builtin_expect((d.flags & (VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE)) != flags, 0))
            break;
        pieces[i].base = vio_express_host(q, d.addr, d.len, need);
        pieces[i].len = d.len;
        pieces[i].id = d.next;
        if (__builtin_expect(pieces[i].base == NULL, 0))
            break;
        if (writable)
            __builtin_prefetch(pieces[i].base, 1);
        else
            __builtin_prefetch(pieces[i].base, 0);
        packed_step(q, &at);
    }
    q->avail_idx = at.idx;
    q->avail_wrap = at.wrap;
    return i;
}

static inline void packed_express_put(struct vio_devq *q, const struct vio_piece *pieces, const uint32_t *lens,
                                      unsigned nr, unsigned taken)
{
    packed_back(q, taken - nr);
    for (unsigned i = 0; i < nr; i++) {
        packed_show(q, pieces[i].id, lens != NULL ? lens[i] : 0);
        packed_used_step(q, 1);
        q->unpublished++;
    }
}

static inline bool packed_publish(struct vio_devq *q)
{
    size_t at = (size_t)q->first_put * 16;

    if (__builtin_expect(q->inflight != NULL, 0))
        prec_publishing(q);
    vio_shm_store64_release(q->desc, at + 8, q->first_word);
    vio_devq_log_desc(q, at);
    if (__builtin_expect(q->inflight != NULL, 0))
        prec_published(q);
    /* Pairs with the driver's arm_call (2.8.14). */
    vio_shm_full_barrier();
    return vio_packed_wanted(q->driver, q->size, q->used_idx, q->used_wrap, q->unpublished, q->event_idx);
}

static inline bool packed_silenced(const struct vio_devq *q)
{
    return (vio_shm_load32(q->driver, 0) >> 16 & 3) == VIRTQ_EVENT_F_DISABLE;
}

static inline void packed_store_event(struct vio_devq *q, uint16_t desc, uint16_t flags)
{
    vio_shm_store32(q->device, 0, (uint32_t)desc | (uint32_t)flags << 16);
    vio_devq_log_device(q, 0, PVIRTQ_EVENT_BYTES);
}

static inline bool packed_arm(struct vio_devq *q)
{
    struct packed_at from = { (uint16_t)(q->avail_idx + q->too_few), q->avail_wrap };

    if (from.idx >= q->size) {
        from.idx = (uint16_t)(from.idx - q->size);
        from.wrap = !from.wrap;
    }
    if (q->event_idx)
        packed_store_event(q, (uint16_t)(from.idx | (from.wrap ? VIRTQ_EVENT_WRAP : 0)), VIRTQ_EVENT_F_DESC);
    else
        packed_store_event(q, 0, VIRTQ_EVENT_F_ENABLE);
    vio_shm_full_barrier();
    return packed_is_avail(vio_shm_load64(q->desc, (size_t)from.idx * 16 + 8), from.wrap);
}

static inline void packed_disarm(struct vio_devq *q)
{
    packed_store_event(q, 0, VIRTQ_EVENT_F_DISABLE);
}

#endif
