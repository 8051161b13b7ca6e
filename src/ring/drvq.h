/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a live queue on the driver side. Where it sits: ring/, private, freestanding.
 * Invariants: what the device may write is never read back for our own state: descriptors, free lists, tokens and
 * lengths live in private arrays (slot, next, order). Trust: the device is hostile; ids and lengths are checked.
 */
#ifndef VIO_RING_DRVQ_H
#define VIO_RING_DRVQ_H

#include <vio/queue.h>

#include "memory/shm.h"
#include "spec/ring.h"
#include "spec/virtio.h"

/*
 * One buffer in flight, by head (split) or buffer id (packed). slots == 0: not in flight. Four to a cache line: packets are
 * counted in nanoseconds.
 */
struct vio_drv_slot {
    uint64_t token;
    uint32_t writable; /* bytes; of 2^32 all but one, which no length can tell */
    uint16_t slots;    /* descriptors of the ring it occupies */
    uint16_t at;       /* where in order[] it was put */
};
_Static_assert(sizeof(struct vio_drv_slot) == 16, "four to a line");

struct vio_drvq {
    struct vio_shm desc, driver, device;
    uint16_t size, mask;
    uint16_t avail_idx, used_idx;
    uint16_t used_seen;   /* split: the device's index as last read */
    uint16_t unpublished; /* ring entries put since the last publish */
    bool avail_wrap, used_wrap;
    bool packed, event_idx, in_order, in_turn;
    bool call_armed, in_batch;
    uint8_t fault;
    uint16_t first_put;   /* packed: the deferred head of the batch */
    uint16_t batch_id;    /* IN_ORDER: last buffer of the batch being collected, and its length */
    uint32_t batch_len;
    uint64_t first_word;
    uint32_t in_flight;   /* buffers, also unpublished ones */
    uint32_t fresh;       /* buffers put since the last publish */
    uint32_t nr_free;     /* descriptors */
    uint16_t free_head;   /* split */
    uint16_t free_tail;   /* split, in_turn */
    uint32_t nr_ids;      /* packed */
    struct vio_drv_slot *slot;
    uint16_t *next;       /* split: free list; packed: stack of free ids */
    uint16_t *last;       /* split: last descriptor of a chain of several, by its head */
    uint16_t *shown;      /* split: what the available ring holds */
    uint16_t *order;      /* ids in the order they were put */
    uint32_t order_head, order_tail;
    uint32_t detach_at;   /* slots before it are detached */
    struct vio_shm table;
    uint64_t table_addr;
    uint16_t table_max;
};

static inline void drv_break(struct vio_drvq *q, enum vio_fault fault)
{
    if (q->fault == VIO_FAULT_NONE)
        q->fault = (uint8_t)fault;
}

static inline uint64_t drv_word1(uint32_t len, uint16_t lo, uint16_t hi)
{
    return (uint64_t)len | (uint64_t)lo << 32 | (uint64_t)hi << 48;
}

static inline void drv_store_desc(struct vio_shm table, size_t i, uint64_t addr, uint64_t word1)
{
    vio_shm_store64(table, i * 16, addr);
    vio_shm_store64(table, i * 16 + 8, word1);
}

/* Whether a buffer of n pieces goes into the indirect table of its slot. */
static inline bool drv_indirect(const struct vio_drvq *q, unsigned n)
{
    return n > 1 && n <= q->table_max;
}

/*
 * What the device said of a buffer, checked: the length may not exceed what it could write. Where that is nothing there is
 * nothing to tell: devices in use say how much they have read (2.7.8.2), and that is passed over. So is a length that the
 * device does not vouch for (`told`, see packedd_used) if it cannot be.
 */
static inline bool drv_len_ok(struct vio_drvq *q, const struct vio_drv_slot *s, uint32_t *len, bool told)
{
    if (*len <= s->writable)
        return true;
    if (s->writable == 0 || !told) {
        *len = 0;
        return true;
    }
    drv_break(q, VIO_FAULT_USED_LEN);
    return false;
}

/* Positions in order[] run round the ring; a division would cost more than the rest of put. */
static inline uint32_t drv_order_next(const struct vio_drvq *q, uint32_t at)
{
    return at + 1 == q->size ? 0 : at + 1;
}

/* Our own record of a buffer of one descriptor; the counts are added up by the caller. */
static inline void drv_note_packet(struct vio_drvq *q, uint16_t id, const struct vio_packet *packet, bool writable)
{
    q->slot[id] = (struct vio_drv_slot){
        .token = packet->token,
        .writable = writable ? packet->len : 0,
        .slots = 1,
        .at = (uint16_t)q->order_tail,
    };
    q->order[q->order_tail] = id;
    q->order_tail = drv_order_next(q, q->order_tail);
}

/* Put and not published: the device may see its descriptors, but does not have it. */
static inline bool drv_is_fresh(const struct vio_drvq *q, uint32_t id)
{
    uint32_t at = q->slot[id].at;
    uint32_t back = q->order_tail > at ? q->order_tail - at : q->order_tail + q->size - at;

    return back <= q->fresh && q->order[at] == id;
}

static inline bool drv_id_ok(struct vio_drvq *q, uint32_t id)
{
    if (id >= q->size) {
        drv_break(q, VIO_FAULT_USED_ID);
        return false;
    }
    if (q->slot[id].slots == 0 || (q->fresh > 0 && drv_is_fresh(q, id))) {
        drv_break(q, VIO_FAULT_USED_NOT_IN_FLIGHT);
        return false;
    }
    return true;
}

#endif
