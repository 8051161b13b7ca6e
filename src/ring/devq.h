/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a live queue on the device side, and the one validator that every descriptor passes.
 * Where it sits: ring/, private. Invariants: avail_idx is the next entry to take; used_idx the next to write;
 * what lies between the driver's eyes and used_idx was put but not published. Own indices are never read back.
 */
#ifndef VIO_RING_DEVQ_H
#define VIO_RING_DEVQ_H

#include <vio/queue.h>

#include "memory/map.h"
#include "memory/shm.h"
#include "ring/inflight.h"
#include "spec/ring.h"
#include "spec/virtio.h"

enum { VIO_BIG_NONE = 0xffff, VIO_REQ_FREE = 0, VIO_REQ_TAKEN = 1, VIO_REQ_DONE = 2 };

/* A descriptor as fetched: host order, ours. Both formats and both kinds of table decode to this. */
struct vio_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next; /* split: next; packed: buffer id */
};

struct vio_devq {
    /* what every take and put touches */
    struct vio_shm desc, driver, device;
    uint16_t size, mask;
    uint16_t avail_idx, used_idx;
    uint16_t avail_seen;   /* split: the driver's index as last read */
    uint16_t unpublished;  /* ring entries put since the last publish */
    uint16_t too_few;      /* ring entries from avail_idx on that do not count for arm_kick */
    bool avail_wrap, used_wrap;
    bool packed, event_idx, indirect, in_order;
    bool kick_armed;
    uint8_t fault;
    uint16_t first_put;    /* packed: where the deferred used descriptor goes... */
    uint64_t first_word;   /* ...and what it is; written by publish */
    uint32_t in_flight;
    uint32_t slots_in_flight;
    const struct vio_map *map;
    struct vio_span cache;
    uint8_t *reqs;
    uint32_t req_stride;
    uint32_t nr_free;
    uint16_t *free_req;    /* packed: requests not in use, last in first out */
    struct vio_inflight *inflight;
    bool log_used;
    uint64_t log_addr;

    /* IN_ORDER: requests in the order they were taken */
    uint16_t *order;
    uint32_t order_head, order_tail, nr_order;

    /* chains that do not fit inline */
    struct vio_seg *big;
    uint16_t *big_free;
    uint32_t nr_big, nr_big_free, big_segs;
    struct virtq_desc *table; /* an indirect table's private copy */
    uint32_t table_max;

    /* recovery */
    uint16_t *recover;
    uint32_t nr_recover, at_recover;
    uint16_t *rec_next;    /* packed in-flight record: our own copy of its free list */
    uint16_t rec_free;
    uint16_t rec_batch;    /* split: head of the last batch; */
    uint16_t *rec_done;    /* put since the last publish; packed: pairs of first and last entry */
    uint32_t nr_rec_done;

    /* why the last take ended early */
    bool missed;
    unsigned miss_access;
    uint64_t miss_addr;
    uint64_t fault_detail;
    uint64_t cfg_desc, cfg_driver, cfg_device;
};

static inline struct vio_req *vio_devq_req(const struct vio_devq *q, uint32_t i)
{
    return (struct vio_req *)(void *)(q->reqs + (size_t)i * q->req_stride);
}

/* ------------------------------------------------------------------ the validator */

/* One chain under construction. */
struct vio_chain {
    struct vio_req *req;
    uint64_t bytes_r, bytes_w;
    uint32_t nr;   /* segments so far */
    uint32_t nr_r; /* of which device-readable */
    uint32_t cap;
    uint32_t descs; /* direct and indirect descriptors seen */
};

/* How adding a descriptor ended. */
enum vio_step {
    VIO_STEP_OK,
    VIO_STEP_FAULT, /* the queue is broken now */
    VIO_STEP_LATER, /* a translation or a segment table is missing: the chain stays available */
};

enum vio_step vio_chain_fault(struct vio_devq *q, enum vio_fault fault, uint64_t detail);
enum vio_step vio_chain_grow(struct vio_devq *q, struct vio_chain *c);
enum vio_step vio_chain_unmapped(struct vio_devq *q, uint64_t addr, unsigned access);
/* Reads an indirect table into q->table and returns how many descriptors it has. */
enum vio_step vio_chain_table(struct vio_devq *q, const struct vio_desc *d, uint32_t *entries);
/* Adds one descriptor's bytes, which may lie in several spans. */
enum vio_step vio_chain_add_pieces(struct vio_devq *q, struct vio_chain *c, const struct vio_desc *d);

static inline void vio_chain_init(struct vio_chain *c, struct vio_req *req)
{
    c->req = req;
    req->segs_ = req->inline_;
    req->big_ = VIO_BIG_NONE;
    c->bytes_r = 0;
    c->bytes_w = 0;
    c->nr = 0;
    c->nr_r = 0;
    c->cap = VIO_REQ_INLINE_SEGS;
    c->descs = 0;
}

/*
 * The one place where a descriptor is judged: order, length, total, translation, rights. The common case, one
 * piece inside the span used last, is inline.
 */
static inline enum vio_step vio_chain_add(struct vio_devq *q, struct vio_chain *c, const struct vio_desc *d)
{
    bool write = (d->flags & VIRTQ_DESC_F_WRITE) != 0;
    uint64_t skip = d->addr - q->cache.start;
    unsigned need = write ? VIO_ACCESS_WRITE : VIO_ACCESS_READ;

    c->descs++;
    if (__builtin_expect(d->len == 0, 0))
        return vio_chain_fault(q, VIO_FAULT_DESC_ZERO_LEN, d->addr);
    if (__builtin_expect(!vio_span_has(&q->cache, d->addr) || d->len - 1 > q->cache.last - d->addr || c->nr == c->cap ||
                             (q->cache.access & need) == 0,
                         0))
        return vio_chain_add_pieces(q, c, d);
    c->req->segs_[c->nr++] = (struct vio_seg){ q->cache.host_ + skip, d->len };
    if (write) {
        c->bytes_w += d->len;
    } else {
        if (__builtin_expect(c->nr_r != c->nr - 1, 0))
            return vio_chain_fault(q, VIO_FAULT_CHAIN_ORDER, d->addr);
        c->nr_r = c->nr;
        c->bytes_r += d->len;
    }
    return VIO_STEP_OK;
}

/* The chain is whole: hands its bytes to the request. */
enum vio_step vio_chain_log(struct vio_devq *q, struct vio_chain *c);

static inline enum vio_step vio_chain_end(struct vio_devq *q, struct vio_chain *c)
{
    struct vio_req *req = c->req;

    if (__builtin_expect(c->bytes_r + c->bytes_w > UINT64_C(1) << 32, 0))
        return vio_chain_fault(q, VIO_FAULT_CHAIN_BYTES, c->bytes_r + c->bytes_w);
    req->log_nr_ = 0;
    if (__builtin_expect(q->map->dirty.on, 0)) {
        enum vio_step step = vio_chain_log(q, c);

        if (step != VIO_STEP_OK)
            return step;
    }
    req->in.seg = req->segs_;
    req->in.nr = c->nr_r;
    req->in.left = c->bytes_r;
    req->out.seg = req->segs_ + c->nr_r;
    req->out.nr = c->nr - c->nr_r;
    req->out.left = c->bytes_w;
    req->out.written = 0;
    req->out.last_taken_ = false;
    req->state_ = VIO_REQ_TAKEN;
    return VIO_STEP_OK;
}

/* A descriptor of the express way: NULL where it is anything but one piece inside one span, with these rights. */
static inline uint8_t *vio_express_host(struct vio_devq *q, uint64_t addr, uint32_t len, unsigned need)
{
    uint64_t n = len;

    if (__builtin_expect(len == 0 || addr + (n - 1) < addr, 0))
        return NULL;
    if (__builtin_expect(!vio_span_has(&q->cache, addr) || len - 1 > q->cache.last - addr, 0)) {
        if (vio_map_at(q->map, &q->cache, addr, &n) == NULL || n < len)
            return NULL;
    }
    return __builtin_expect((q->cache.access & need) != 0, 1) ? q->cache.host_ + (addr - q->cache.start) : NULL;
}

/* The segment table, if it holds one, goes back. */
static inline void vio_req_release_segs(struct vio_devq *q, struct vio_req *req)
{
    if (__builtin_expect(req->big_ != VIO_BIG_NONE, 0)) {
        q->big_free[q->nr_big_free++] = req->big_;
        req->big_ = VIO_BIG_NONE;
    }
}

/* Marks a write to the device area at this offset, where the front-end wants that logged. */
static inline void vio_devq_log_device(struct vio_devq *q, uint64_t offset, uint64_t len)
{
    if (__builtin_expect(q->log_used && q->map->dirty.on, 0))
        vio_dirty_mark(q->map, q->log_addr + offset, len);
}

/* The same for a descriptor (packed: the device writes those). */
static inline void vio_devq_log_desc(struct vio_devq *q, uint64_t offset)
{
    if (__builtin_expect(q->map->dirty.on, 0))
        vio_dirty_mark_host(q->map, q->desc.p_ + offset, sizeof(struct pvirtq_desc));
}

#endif
