/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the rare paths of the validator in devq.h: descriptors that cross spans, segment tables, indirect
 * tables, faults. Where it sits: ring/, freestanding. Trust: works on private copies of descriptors only.
 */
#include "ring/devq.h"

enum vio_step vio_chain_fault(struct vio_devq *q, enum vio_fault fault, uint64_t detail)
{
    vio_devq_break(q, fault, detail);
    return VIO_STEP_FAULT;
}

enum vio_step vio_chain_unmapped(struct vio_devq *q, uint64_t addr, unsigned access)
{
    if (!q->map->iotlb)
        return vio_chain_fault(q, VIO_FAULT_DESC_ADDR, addr);
    q->missed = true;
    q->miss_addr = addr;
    q->miss_access = access;
    return VIO_STEP_LATER;
}

/* Moves a chain from its inline segments to a table of its own. */
enum vio_step vio_chain_grow(struct vio_devq *q, struct vio_chain *c)
{
    struct vio_req *req = c->req;

    if (req->big_ != VIO_BIG_NONE)
        return vio_chain_fault(q, VIO_FAULT_CHAIN_SEGMENTS, c->nr);
    if (q->nr_big_free == 0)
        return VIO_STEP_LATER; /* requests in flight hold them all; one will come back */
    req->big_ = q->big_free[--q->nr_big_free];
    /* The upper half of a table is for the dirty log. */
    req->segs_ = q->big + (size_t)req->big_ * 2 * q->big_segs;
    for (uint32_t i = 0; i < c->nr; i++)
        req->segs_[i] = req->inline_[i];
    c->cap = q->big_segs;
    return VIO_STEP_OK;
}

enum vio_step vio_chain_add_pieces(struct vio_devq *q, struct vio_chain *c, const struct vio_desc *d)
{
    bool write = (d->flags & VIRTQ_DESC_F_WRITE) != 0;
    unsigned need = write ? VIO_ACCESS_WRITE : VIO_ACCESS_READ;
    uint64_t at = d->addr, left = d->len;

    if (!write && c->nr_r != c->nr)
        return vio_chain_fault(q, VIO_FAULT_CHAIN_ORDER, d->addr);
    if (d->addr + (left - 1) < d->addr)
        return vio_chain_fault(q, VIO_FAULT_DESC_ADDR, d->addr);
    while (left > 0) {
        uint64_t n = left;
        uint8_t *host = vio_map_at(q->map, &q->cache, at, &n);

        if (host == NULL)
            return vio_chain_unmapped(q, at, need);
        if ((q->cache.access & need) == 0)
            return vio_chain_fault(q, VIO_FAULT_DESC_ACCESS, at);
        if (c->nr == c->cap) {
            enum vio_step step = vio_chain_grow(q, c);

            if (step != VIO_STEP_OK)
                return step;
        }
        c->req->segs_[c->nr++] = (struct vio_seg){ host, (size_t)n };
        at += n;
        left -= n;
    }
    if (write) {
        c->bytes_w += d->len;
    } else {
        c->nr_r = c->nr;
        c->bytes_r += d->len;
    }
    return VIO_STEP_OK;
}

enum vio_step vio_chain_table(struct vio_devq *q, const struct vio_desc *d, uint32_t *entries)
{
    uint8_t *to = (uint8_t *)q->table;
    uint64_t at = d->addr, left = d->len;

    if (!q->indirect)
        return vio_chain_fault(q, VIO_FAULT_INDIRECT_UNNEGOTIATED, d->addr);
    if ((d->flags & VIRTQ_DESC_F_NEXT) != 0)
        return vio_chain_fault(q, q->packed ? VIO_FAULT_PACKED_MIXED : VIO_FAULT_INDIRECT_NEXT, d->addr);
    if (d->len == 0 || d->len % sizeof(struct virtq_desc) != 0)
        return vio_chain_fault(q, VIO_FAULT_INDIRECT_LEN, d->len);
    if (d->len / sizeof(struct virtq_desc) > q->table_max)
        return vio_chain_fault(q, VIO_FAULT_CHAIN_LOOP, d->len / sizeof(struct virtq_desc));
    if (d->addr + (left - 1) < d->addr)
        return vio_chain_fault(q, VIO_FAULT_DESC_ADDR, d->addr);
    while (left > 0) {
        uint64_t n = left;
        const uint8_t *host = vio_map_at(q->map, &q->cache, at, &n);

        if (host == NULL)
            return vio_chain_unmapped(q, at, VIO_ACCESS_READ);
        if ((q->cache.access & VIO_ACCESS_READ) == 0)
            return vio_chain_fault(q, VIO_FAULT_DESC_ACCESS, at);
        __builtin_memcpy(to, host, n);
        to += n;
        at += n;
        left -= n;
    }
    *entries = d->len / (uint32_t)sizeof(struct virtq_desc);
    return VIO_STEP_OK;
}

/*
 * With the dirty log on, where this request may write is kept aside: the device consumes the segments, but what it
 * wrote is marked only when it is done, since a page marked before the write may be sent without it.
 */
enum vio_step vio_chain_log(struct vio_devq *q, struct vio_chain *c)
{
    struct vio_req *req = c->req;
    uint32_t nr_w = c->nr - c->nr_r;

    if (req->big_ == VIO_BIG_NONE) {
        enum vio_step step = vio_chain_grow(q, c);

        if (step != VIO_STEP_OK)
            return step;
    }
    req->log_ = req->segs_ + q->big_segs;
    req->log_nr_ = (uint16_t)nr_w;
    for (uint32_t i = 0; i < nr_w; i++)
        req->log_[i] = req->segs_[c->nr_r + i];
    return VIO_STEP_OK;
}
