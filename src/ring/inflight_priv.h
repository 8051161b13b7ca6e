/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the in-flight record's layout (vhost-user document, "Inflight I/O tracking") and what the queue writes
 * into it as buffers come and go. Where it sits: ring/, private, freestanding.
 */
#ifndef VIO_RING_INFLIGHT_PRIV_H
#define VIO_RING_INFLIGHT_PRIV_H

#include "memory/shm.h"
#include "ring/devq.h"

/* Both forms begin alike; offsets in bytes. The record is in the host's byte order, unlike the rings. */
enum {
    REC_FEATURES = 0,
    REC_VERSION = 8,
    REC_DESC_NUM = 10,

    SREC_LAST_BATCH = 12,
    SREC_USED_IDX = 14,
    SREC_HEAD = 16,
    SREC_ENTRY = 16, /* u8 inflight, pad, u16 next @6, u64 counter @8 */
    SREC_INFLIGHT = 0,
    SREC_NEXT = 6,
    SREC_COUNTER = 8,

    PREC_FREE = 12,
    PREC_OLD_FREE = 14,
    PREC_USED_IDX = 16,
    PREC_OLD_USED_IDX = 18,
    PREC_USED_WRAP = 20,
    PREC_OLD_USED_WRAP = 21,
    PREC_HEAD = 32,
    PREC_ENTRY = 32, /* u8 inflight, pad, u16 next, last, num, u64 counter, u16 id, flags, u32 len, u64 addr */
    PREC_INFLIGHT = 0,
    PREC_NEXT = 2,
    PREC_LAST = 4,
    PREC_NUM = 6,
    PREC_COUNTER = 8,
    PREC_ID = 16,
    PREC_FLAGS = 18,
    PREC_LEN = 20,
    PREC_ADDR = 24,
};

#define REC_ACCESS_(bits)                                                                           \
    static inline uint##bits##_t rec_load##bits(struct vio_shm r, size_t off)                       \
    {                                                                                               \
        return VIO_LE_(bits, vio_shm_load##bits(r, off));                                           \
    }                                                                                               \
    static inline void rec_store##bits(struct vio_shm r, size_t off, uint##bits##_t v)              \
    {                                                                                               \
        vio_shm_store##bits(r, off, VIO_LE_(bits, v));                                              \
    }                                                                                               \
    static inline void rec_store##bits##_release(struct vio_shm r, size_t off, uint##bits##_t v)    \
    {                                                                                               \
        vio_shm_store##bits##_release(r, off, VIO_LE_(bits, v));                                    \
    }
REC_ACCESS_(16)
REC_ACCESS_(32)
REC_ACCESS_(64)
#undef REC_ACCESS_

static inline size_t srec_entry(size_t i)
{
    return SREC_HEAD + i * SREC_ENTRY;
}

static inline size_t prec_entry(size_t i)
{
    return PREC_HEAD + i * PREC_ENTRY;
}

static inline uint64_t vio_inflight_counter(struct vio_shm r, uint16_t head, bool packed)
{
    return packed ? rec_load64(r, prec_entry(head) + PREC_COUNTER) :
                    rec_load64(r, srec_entry(head) + SREC_COUNTER);
}

void vio_inflight_sort(struct vio_shm r, uint16_t *heads, uint32_t nr, bool packed);
/* Whether the record tells of an earlier owner. */
bool vio_inflight_old(const struct vio_devq *q);
/* Part of vio_devq_start(): a fresh record begins here, an old one is checked and worked through. */
enum vio_fault vio_inflight_start(struct vio_devq *q, bool old);

static inline struct vio_shm vio_inflight_shm(const struct vio_devq *q)
{
    return vio_shm_of((void *)(uintptr_t)q->inflight->p_);
}

/* ---- split */

static inline void srec_take(struct vio_devq *q, uint16_t head)
{
    struct vio_shm r = vio_inflight_shm(q);

    rec_store64(r, srec_entry(head) + SREC_COUNTER, q->inflight->counter_++);
    __atomic_store_n(r.p_ + srec_entry(head) + SREC_INFLIGHT, 1, __ATOMIC_RELEASE);
}

static inline void srec_put(struct vio_devq *q, uint16_t head)
{
    struct vio_shm r = vio_inflight_shm(q);

    rec_store16(r, srec_entry(head) + SREC_NEXT, q->rec_batch);
    rec_store16_release(r, SREC_LAST_BATCH, head);
    q->rec_batch = head;
    q->rec_done[q->nr_rec_done++] = head;
}

/* The driver sees the batch now. */
static inline void srec_published(struct vio_devq *q)
{
    struct vio_shm r = vio_inflight_shm(q);

    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < q->nr_rec_done; i++)
        vio_shm_store8(r, srec_entry(q->rec_done[i]) + SREC_INFLIGHT, 0);
    q->nr_rec_done = 0;
    rec_store16_release(r, SREC_USED_IDX, q->used_idx);
}

/* ---- packed: entries of one buffer are linked; the record's free list is mirrored in rec_next */

static inline void prec_desc(struct vio_devq *q, struct vio_req *req, const struct vio_desc *d, bool head, bool last)
{
    struct vio_shm r = vio_inflight_shm(q);
    uint16_t at = q->rec_free;

    if (head) {
        req->rec_head_ = at;
        rec_store16(r, prec_entry(at) + PREC_NUM, 0);
    }
    rec_store64(r, prec_entry(at) + PREC_ADDR, d->addr);
    rec_store32(r, prec_entry(at) + PREC_LEN, d->len);
    rec_store16(r, prec_entry(at) + PREC_FLAGS, d->flags);
    rec_store16(r, prec_entry(at) + PREC_ID, d->next);
    if (last)
        req->rec_last_ = at;
    q->rec_free = q->rec_next[at];
}

/* The whole buffer stands in the record: now it counts. */
static inline void prec_take(struct vio_devq *q, struct vio_req *req)
{
    struct vio_shm r = vio_inflight_shm(q);
    size_t e = prec_entry(req->rec_head_);

    rec_store16(r, e + PREC_LAST, req->rec_last_);
    rec_store16(r, e + PREC_NUM, req->slots);
    rec_store64(r, e + PREC_COUNTER, q->inflight->counter_++);
    __atomic_store_n(r.p_ + e + PREC_INFLIGHT, 1, __ATOMIC_RELEASE);
    rec_store16(r, PREC_FREE, q->rec_free);
    rec_store16_release(r, PREC_OLD_FREE, q->rec_free);
}

/*
 * Kept aside until the batch is published: an entry on the free list would be taken for done after a crash, and
 * buffers are taken between put and publish.
 */
static inline void prec_put(struct vio_devq *q, const struct vio_req *req)
{
    q->rec_done[2 * q->nr_rec_done] = req->rec_head_;
    q->rec_done[2 * q->nr_rec_done + 1] = req->rec_last_;
    q->nr_rec_done++;
}

/*
 * The two used positions stand side by side, and are written in one: one of them, or its wrap counter, renewed without
 * the rest would be a third position to whoever comes after a crash.
 */
static inline void prec_positions(struct vio_shm r, uint16_t idx, bool wrap, uint16_t old_idx, bool old_wrap)
{
    _Static_assert(PREC_USED_IDX % 8 == 0 && PREC_OLD_USED_IDX == PREC_USED_IDX + 2 &&
                       PREC_USED_WRAP == PREC_USED_IDX + 4 && PREC_OLD_USED_WRAP == PREC_USED_IDX + 5,
                   "one 64-bit store");

    /* low byte first, each number in the host's order */
    vio_shm_store64_release(r, PREC_USED_IDX, VIO_LE_(16, idx) | (uint64_t)VIO_LE_(16, old_idx) << 16 |
                                                  (uint64_t)wrap << 32 | (uint64_t)old_wrap << 40);
}

/* Before the first used descriptor of the batch becomes visible. */
static inline void prec_publishing(struct vio_devq *q)
{
    struct vio_shm r = vio_inflight_shm(q);
    bool wrapped = q->unpublished > q->used_idx;

    for (uint32_t i = 0; i < q->nr_rec_done; i++) {
        uint16_t head = q->rec_done[2 * i], last = q->rec_done[2 * i + 1];

        rec_store16(r, prec_entry(last) + PREC_NEXT, q->rec_free);
        q->rec_next[last] = q->rec_free;
        q->rec_free = head;
    }
    rec_store16_release(r, PREC_FREE, q->rec_free);
    prec_positions(r, q->used_idx, q->used_wrap, q->first_put, q->used_wrap != wrapped);
}

static inline void prec_published(struct vio_devq *q)
{
    struct vio_shm r = vio_inflight_shm(q);

    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < q->nr_rec_done; i++)
        vio_shm_store8(r, prec_entry(q->rec_done[2 * i]) + PREC_INFLIGHT, 0);
    q->nr_rec_done = 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    rec_store16(r, PREC_OLD_FREE, q->rec_free);
    prec_positions(r, q->used_idx, q->used_wrap, q->used_idx, q->used_wrap);
}

#endif
