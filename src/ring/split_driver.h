/* SPDX-License-Identifier: MIT */
/* Purpose: the split format's verbs, driver side (virtio 1.4, 2.7). Where it sits: ring/, included by drvq.c alone. */
#ifndef VIO_RING_SPLIT_DRIVER_H
#define VIO_RING_SPLIT_DRIVER_H

#include "ring/drvq.h"
#include "ring/notify.h"

static inline void splitd_write_table(struct vio_drvq *q, uint16_t head, const struct vio_buf *bufs, unsigned nr_r,
                                      unsigned n)
{
    size_t base = (size_t)head * q->table_max;

    for (unsigned i = 0; i < n; i++) {
        uint16_t flags = (uint16_t)((i >= nr_r ? VIRTQ_DESC_F_WRITE : 0) | (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0));

        drv_store_desc(q->table, base + i, bufs[i].addr, drv_word1(bufs[i].len, flags, (uint16_t)(i + 1)));
    }
    drv_store_desc(q->desc, head, q->table_addr + base * 16,
                   drv_word1(n * 16, VIRTQ_DESC_F_INDIRECT, 0));
}

static inline uint16_t splitd_write_chain(struct vio_drvq *q, uint16_t head, const struct vio_buf *bufs, unsigned nr_r,
                                          unsigned n)
{
    uint16_t at = head, last = head;

    for (unsigned i = 0; i < n; i++) {
        uint16_t flags = (uint16_t)((i >= nr_r ? VIRTQ_DESC_F_WRITE : 0) | (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0));

        last = at;
        at = q->next[at];
        drv_store_desc(q->desc, last, bufs[i].addr, drv_word1(bufs[i].len, flags, at));
    }
    return last;
}

/* The next entry of the available ring; where it holds this head already, both sides keep its line. */
static inline void splitd_show(struct vio_drvq *q, uint16_t head)
{
    uint16_t at = q->avail_idx & q->mask;

    if (q->shown[at] != head) {
        q->shown[at] = head;
        vio_shm_store16(q->driver, VIRTQ_AVAIL_RING + 2u * (size_t)at, head);
    }
    q->avail_idx++;
    q->unpublished++;
}

/* Room was checked. Returns the id. */
static inline uint16_t splitd_put(struct vio_drvq *q, const struct vio_buf *bufs, unsigned nr_r, unsigned n,
                                  bool indirect)
{
    uint16_t head = q->free_head, last = head;

    if (indirect)
        splitd_write_table(q, head, bufs, nr_r, n);
    else
        last = splitd_write_chain(q, head, bufs, nr_r, n);
    q->free_head = q->next[last];
    q->last[head] = last;
    splitd_show(q, head);
    return head;
}

/* Buffers of one piece, as many as there are descriptors; an empty one ends it. */
static inline unsigned splitd_express(struct vio_drvq *q, const struct vio_packet *packets, unsigned n, bool writable)
{
    uint16_t at = q->free_head;
    unsigned i = 0;

    for (; i < n && packets[i].len != 0; i++) {
        drv_store_desc(q->desc, at, packets[i].addr, drv_word1(packets[i].len, writable ? VIRTQ_DESC_F_WRITE : 0, 0));
        drv_note_packet(q, at, &packets[i], writable);
        splitd_show(q, at);
        at = q->next[at];
    }
    q->free_head = at;
    return i;
}

static inline uint16_t splitd_last(const struct vio_drvq *q, uint16_t id)
{
    return q->slot[id].slots == 1 ? id : q->last[id];
}

static inline void splitd_free(struct vio_drvq *q, uint16_t id)
{
    uint16_t last = splitd_last(q, id);

    if (!q->in_turn) {
        q->next[last] = q->free_head;
        q->free_head = id;
        return;
    }
    /* In order, descriptors come back as they went, and the circle of next stays as it is (2.7.9). */
    if (q->next[q->free_tail] != id)
        q->next[q->free_tail] = id;
    if (q->nr_free == 0)
        q->free_head = id;
    q->free_tail = last;
}

/* The newest one, put before the free ones again. */
static inline void splitd_unput(struct vio_drvq *q, uint16_t id)
{
    uint16_t last = splitd_last(q, id);

    if (q->nr_free == 0)
        q->free_tail = last;
    q->next[last] = q->free_head;
    q->free_head = id;
    q->avail_idx--;
}

static inline bool splitd_publish(struct vio_drvq *q)
{
    uint16_t event;

    vio_shm_store16_release(q->driver, VIRTQ_AVAIL_IDX, q->avail_idx);
    /* virtio 1.4, 2.7.13.4.1; pairs with the device's arm_kick */
    vio_shm_full_barrier();
    if (!q->event_idx)
        return (vio_shm_load16(q->device, VIRTQ_USED_FLAGS) & VIRTQ_USED_F_NO_NOTIFY) == 0;
    event = vio_shm_load16(q->device, VIRTQ_USED_AVAIL_EVENT((size_t)q->size));
    return vio_event_hit(event, q->avail_idx, q->unpublished);
}

/* How many used entries there are to collect, looking again where fewer than `max` are known; 0 after a fault. */
static inline uint16_t splitd_used(struct vio_drvq *q, unsigned max)
{
    uint16_t n = (uint16_t)(q->used_seen - q->used_idx);

    if (n >= max)
        return n;
    q->used_seen = vio_shm_load16_acquire(q->device, VIRTQ_USED_IDX);
    n = (uint16_t)(q->used_seen - q->used_idx);
    if (n > q->in_flight - q->fresh) {
        drv_break(q, VIO_FAULT_USED_IDX);
        q->used_seen = q->used_idx;
        return 0;
    }
    return n;
}

static inline bool splitd_pending(const struct vio_drvq *q)
{
    return q->used_seen != q->used_idx || vio_shm_load16(q->device, VIRTQ_USED_IDX) != q->used_idx;
}

static inline void splitd_used_at(const struct vio_drvq *q, uint32_t *id, uint32_t *len)
{
    size_t at = VIRTQ_USED_RING + 8u * (size_t)(q->used_idx & q->mask);

    *id = vio_shm_load32(q->device, at);
    *len = vio_shm_load32(q->device, at + 4);
}

static inline void splitd_arm(struct vio_drvq *q)
{
    if (q->event_idx)
        vio_shm_store16(q->driver, VIRTQ_AVAIL_USED_EVENT((size_t)q->size), q->used_idx);
    else
        vio_shm_store16(q->driver, VIRTQ_AVAIL_FLAGS, 0);
}

static inline void splitd_disarm(struct vio_drvq *q)
{
    /* With EVENT_IDX flags stay 0 (2.7.7.1): an index just passed is the farthest away. */
    if (q->event_idx)
        vio_shm_store16(q->driver, VIRTQ_AVAIL_USED_EVENT((size_t)q->size), (uint16_t)(q->used_idx - 1));
    else
        vio_shm_store16(q->driver, VIRTQ_AVAIL_FLAGS, VIRTQ_AVAIL_F_NO_INTERRUPT);
}

#endif
