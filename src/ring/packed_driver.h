/* SPDX-License-Identifier: MIT */
/* Purpose: the packed format's verbs, driver side (virtio 1.4, 2.8). Where it sits: ring/, included by drvq.c alone. */
#ifndef VIO_RING_PACKED_DRIVER_H
#define VIO_RING_PACKED_DRIVER_H

#include "ring/drvq.h"
#include "ring/notify.h"

static inline uint16_t packedd_avail_flags(bool wrap)
{
    return (uint16_t)(wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED);
}

/* One descriptor at the queue's position; the first one of a batch waits for publish. */
static inline void packedd_desc(struct vio_drvq *q, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
    size_t at = (size_t)q->avail_idx * 16;
    uint64_t word1 = drv_word1(len, id, (uint16_t)(flags | packedd_avail_flags(q->avail_wrap)));

    vio_shm_store64(q->desc, at, addr);
    if (q->unpublished == 0) {
        q->first_put = q->avail_idx;
        q->first_word = word1;
    } else {
        vio_shm_store64(q->desc, at + 8, word1);
    }
    q->unpublished++;
    if (++q->avail_idx == q->size) {
        q->avail_idx = 0;
        q->avail_wrap = !q->avail_wrap;
    }
}

static inline uint16_t packedd_put(struct vio_drvq *q, const struct vio_buf *bufs, unsigned nr_r, unsigned n,
                                   bool indirect)
{
    uint16_t id = q->next[--q->nr_ids];

    if (indirect) {
        size_t base = (size_t)id * q->table_max;

        for (unsigned i = 0; i < n; i++)
            drv_store_desc(q->table, base + i, bufs[i].addr,
                           drv_word1(bufs[i].len, 0, i >= nr_r ? VIRTQ_DESC_F_WRITE : 0));
        packedd_desc(q, q->table_addr + base * 16, n * 16, id, VIRTQ_DESC_F_INDIRECT);
        return id;
    }
    for (unsigned i = 0; i < n; i++)
        packedd_desc(q, bufs[i].addr, bufs[i].len, id,
                     (uint16_t)((i >= nr_r ? VIRTQ_DESC_F_WRITE : 0) | (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0)));
    return id;
}

/* Buffers of one piece, as many as there are descriptors; an empty one ends it. */
static inline unsigned packedd_express(struct vio_drvq *q, const struct vio_packet *packets, unsigned n, bool writable)
{
    uint16_t flags = writable ? VIRTQ_DESC_F_WRITE : 0;
    unsigned i = 0;

    for (; i < n && packets[i].len != 0; i++) {
        uint16_t id = q->next[--q->nr_ids];

        packedd_desc(q, packets[i].addr, packets[i].len, id, flags);
        drv_note_packet(q, id, &packets[i], writable);
    }
    return i;
}

/* Takes the last buffer's descriptors back: they look used again, as the device has left them. */
static inline void packedd_unput(struct vio_drvq *q, uint16_t id)
{
    for (uint16_t i = 0; i < q->slot[id].slots; i++) {
        if (q->avail_idx == 0) {
            q->avail_idx = q->size;
            q->avail_wrap = !q->avail_wrap;
        }
        q->avail_idx--;
        vio_shm_store64(q->desc, (size_t)q->avail_idx * 16 + 8,
                        drv_word1(0, 0, q->avail_wrap ? 0 : VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED));
    }
    q->next[q->nr_ids++] = id;
}

static inline bool packedd_publish(struct vio_drvq *q)
{
    vio_shm_store64_release(q->desc, (size_t)q->first_put * 16 + 8, q->first_word);
    vio_shm_full_barrier();
    return vio_packed_wanted(q->device, q->size, q->avail_idx, q->avail_wrap, q->unpublished, q->event_idx);
}

static inline bool packedd_is_used(const struct vio_drvq *q, uint64_t word1)
{
    uint16_t flags = (uint16_t)(word1 >> 48);

    return ((flags & VIRTQ_DESC_F_AVAIL) != 0) == q->used_wrap && ((flags & VIRTQ_DESC_F_USED) != 0) == q->used_wrap;
}

/*
 * The used descriptor at the queue's position, read once; false: there is none. told: it has WRITE, without which the length is
 * reserved (2.8.4). QEMU (7.2) never sets it, and its lengths are right all the same: they are taken where they can be.
 */
static inline bool packedd_used(const struct vio_drvq *q, uint32_t *id, uint32_t *len, bool *told)
{
    /* Pairs with the device's release of the batch's first used descriptor (2.8.22). */
    uint64_t word1 = vio_shm_load64_acquire(q->desc, (size_t)q->used_idx * 16 + 8);

    *id = (uint16_t)(word1 >> 32);
    *len = (uint32_t)word1;
    *told = (word1 >> 48 & VIRTQ_DESC_F_WRITE) != 0;
    return packedd_is_used(q, word1);
}

static inline bool packedd_pending(const struct vio_drvq *q)
{
    return q->in_batch || packedd_is_used(q, vio_shm_load64(q->desc, (size_t)q->used_idx * 16 + 8));
}

static inline void packedd_used_step(struct vio_drvq *q, uint32_t slots)
{
    q->used_idx = (uint16_t)(q->used_idx + slots);
    if (q->used_idx >= q->size) {
        q->used_idx = (uint16_t)(q->used_idx - q->size);
        q->used_wrap = !q->used_wrap;
    }
}

static inline void packedd_arm(struct vio_drvq *q)
{
    uint32_t position = (uint32_t)(q->used_idx | (q->used_wrap ? VIRTQ_EVENT_WRAP : 0));

    vio_shm_store32(q->driver, 0, q->event_idx ? position | VIRTQ_EVENT_F_DESC << 16 : VIRTQ_EVENT_F_ENABLE << 16);
}

static inline void packedd_disarm(struct vio_drvq *q)
{
    vio_shm_store32(q->driver, 0, VIRTQ_EVENT_F_DISABLE << 16);
}

#endif
