/* SPDX-License-Identifier: MIT */
/*
 * Purpose: from a queue's configuration to a live queue and back: memory layout, checks, translation of the areas,
 * saved indices, recovery. Where it sits: ring/, freestanding.
 */
#include "ring/devq.h"
#include "ring/inflight_priv.h"

enum {
    LINE = 64,
    BIG_BUDGET = 64 << 20, /* bytes of address space for segment tables; touched only when used */
    BIG_MIN = 16,
};

static size_t line_up(size_t n)
{
    return (n + LINE - 1) & ~(size_t)(LINE - 1);
}

/* Where everything stands in the memory given for a queue. */
struct layout {
    size_t reqs, free_req, order, recover, rec_next, rec_done, table, big_free, big, end;
    uint32_t stride, table_max, big_segs, nr_big;
};

static struct layout layout_of(const struct vio_devq_params *p)
{
    size_t size = p->cfg->size;
    struct layout l = {
        .stride = (uint32_t)line_up(sizeof(struct vio_req) + p->priv_size),
        .table_max = p->cfg->size > VIO_CHAIN_INDIRECT_MAX ? p->cfg->size : VIO_CHAIN_INDIRECT_MAX,
    };
    size_t big_bytes;

    l.big_segs = l.table_max + VIO_CHAIN_EXTRA_SEGS;
    big_bytes = 2 * (size_t)l.big_segs * sizeof(struct vio_seg);
    l.nr_big = (uint32_t)(BIG_BUDGET / big_bytes);
    if (l.nr_big < BIG_MIN)
        l.nr_big = BIG_MIN;
    if (l.nr_big > size)
        l.nr_big = (uint32_t)size;

    l.reqs = line_up(sizeof(struct vio_devq));
    l.free_req = l.reqs + size * l.stride;
    l.order = line_up(l.free_req + size * sizeof(uint16_t));
    l.recover = line_up(l.order + size * sizeof(uint16_t));
    l.rec_next = line_up(l.recover + size * sizeof(uint16_t));
    l.rec_done = line_up(l.rec_next + size * sizeof(uint16_t));
    l.table = line_up(l.rec_done + 2 * size * sizeof(uint16_t));
    l.big_free = line_up(l.table + l.table_max * sizeof(struct virtq_desc));
    l.big = line_up(l.big_free + l.nr_big * sizeof(uint16_t));
    l.end = l.big + l.nr_big * big_bytes;
    return l;
}

size_t vio_devq_bytes(const struct vio_devq_params *p)
{
    return layout_of(p).end;
}

static void place(struct vio_devq *q, const struct layout *l)
{
    uint8_t *at = (uint8_t *)q;

    q->reqs = at + l->reqs;
    q->req_stride = l->stride;
    q->free_req = (uint16_t *)(void *)(at + l->free_req);
    q->order = (uint16_t *)(void *)(at + l->order);
    q->recover = (uint16_t *)(void *)(at + l->recover);
    q->rec_next = (uint16_t *)(void *)(at + l->rec_next);
    q->rec_done = (uint16_t *)(void *)(at + l->rec_done);
    q->table = (struct virtq_desc *)(void *)(at + l->table);
    q->table_max = l->table_max;
    q->big_free = (uint16_t *)(void *)(at + l->big_free);
    q->big = (struct vio_seg *)(void *)(at + l->big);
    q->big_segs = l->big_segs;
    q->nr_big = l->nr_big;
    for (uint32_t i = 0; i < q->nr_big; i++)
        q->big_free[i] = (uint16_t)(q->nr_big - 1 - i);
    q->nr_big_free = q->nr_big;
    /* Popped from the end, so that the first ones are used again and again. */
    for (uint32_t i = 0; q->packed && i < q->size; i++)
        q->free_req[i] = (uint16_t)(q->size - 1 - i);
    q->nr_free = q->packed ? q->size : 0;
}

static enum vio_fault find_area(struct vio_devq *q, struct vio_shm *area, uint64_t addr, uint64_t bytes, uint64_t align,
                                unsigned access)
{
    uint8_t *host;

    if (addr % align != 0)
        return VIO_FAULT_QUEUE_ALIGN;
    host = vio_map_range(q->map, addr, bytes, access);
    /* The host's address decides whether our loads are aligned; a region at an odd place is no use. */
    if (host == NULL || (uintptr_t)host % align != 0) {
        q->missed = q->map->iotlb && host == NULL;
        q->miss_addr = addr;
        q->miss_access = access;
        return VIO_FAULT_QUEUE_ADDR;
    }
    *area = vio_shm_of(host);
    return VIO_FAULT_NONE;
}

static enum vio_fault find_areas(struct vio_devq *q)
{
    struct vio_queue_layout l = vio_queue_layout(q->size, q->packed);
    enum vio_fault fault;

    fault = find_area(q, &q->desc, q->cfg_desc, l.desc_bytes, l.desc_align,
                      q->packed ? VIO_ACCESS_BOTH : VIO_ACCESS_READ);
    if (fault == VIO_FAULT_NONE)
        fault = find_area(q, &q->driver, q->cfg_driver, l.driver_bytes, l.driver_align, VIO_ACCESS_READ);
    if (fault == VIO_FAULT_NONE)
        fault = find_area(q, &q->device, q->cfg_device, l.device_bytes, l.device_align, VIO_ACCESS_BOTH);
    return fault;
}

enum vio_fault vio_devq_map_changed(struct vio_devq *q)
{
    q->cache = VIO_SPAN_NONE;
    return find_areas(q);
}

/* The saved positions; those that the ring itself knows are read from it, once. */
static enum vio_fault set_state(struct vio_devq *q, const struct vio_queue_state *s)
{
    q->avail_idx = s->avail_idx;
    q->avail_wrap = s->avail_wrap;
    q->used_idx = s->used_idx;
    q->used_wrap = s->used_wrap;
    if (q->packed)
        return s->avail_idx < q->size && s->used_idx < q->size ? VIO_FAULT_NONE : VIO_FAULT_RING_STATE;
    if (!s->used_known)
        q->used_idx = vio_shm_load16_acquire(q->device, VIRTQ_USED_IDX);
    q->avail_seen = q->avail_idx;
    return VIO_FAULT_NONE;
}

/* ------------------------------------------------------------------ a packed ring whose position nobody knows */

#define PACKED_MARKS (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)

static uint16_t packed_marks(const struct vio_devq *q, unsigned i)
{
    return (uint16_t)(vio_shm_load64(q->desc, (size_t)i * 16 + 8) >> 48) & PACKED_MARKS;
}

static bool marks_avail(uint16_t marks)
{
    return marks == VIRTQ_DESC_F_AVAIL || marks == VIRTQ_DESC_F_USED;
}

/* The first position at which something changes that can be the device's: what is available begins, or a lap ends. */
static unsigned guess_position(const struct vio_devq *q)
{
    uint16_t before = packed_marks(q, q->size - 1u);
    unsigned turn = 0;

    for (unsigned i = 0; i < q->size; i++) {
        uint16_t marks = packed_marks(q, i);

        if (marks_avail(marks) && !marks_avail(before))
            return i;
        if (i > 0 && turn == 0 && marks != before && marks_avail(marks) == marks_avail(before))
            turn = i;
        before = marks;
    }
    return turn;
}

/* Whether all the ring is as it must be if the device stands at `at`: available ones from there on, then used ones. */
static bool position_fits(const struct vio_devq *q, unsigned at, bool wrap)
{
    bool in_run = true;

    for (unsigned n = 0; n < q->size; n++) {
        unsigned i = (at + n) % q->size;
        uint16_t marks = packed_marks(q, i);
        bool lap = i >= at ? wrap : !wrap;

        in_run = in_run && marks_avail(marks);
        /* Used ones are of the lap before this place's. */
        if (marks != (in_run ? (lap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED) : (lap ? 0 : PACKED_MARKS)))
            return false;
    }
    return true;
}

/*
 * The front-end says "at the beginning", but QEMU (7.2 to 10.2 at least) says so of every packed ring whose device was
 * killed: the format has no index that it could read. Where each buffer is one descriptor (as network drivers have it
 * that may use indirect tables) and they are used in order, the marks tell. A fresh ring tells its beginning.
 */
static void find_packed_position(struct vio_devq *q)
{
    for (unsigned tries = 0; tries < 3; tries++) { /* the driver may be adding buffers */
        unsigned at = guess_position(q);
        uint16_t marks = packed_marks(q, at);
        bool wrap = marks == VIRTQ_DESC_F_AVAIL || marks == 0;

        if (!position_fits(q, at, wrap))
            continue;
        q->avail_idx = q->used_idx = (uint16_t)at;
        q->avail_wrap = q->used_wrap = wrap;
        return;
    }
}

/*
 * Without a record, buffers between the two positions belong to an owner that is gone. Used in order they are simply
 * taken again: the split ring keeps what is not used. More than a ring of them means the numbers are no ring's.
 */
static enum vio_fault settle_state(struct vio_devq *q, bool may_find)
{
    if (q->packed) {
        bool same = q->avail_idx == q->used_idx && q->avail_wrap == q->used_wrap;

        if (same && q->avail_idx == 0 && q->avail_wrap && may_find)
            find_packed_position(q);
        /* Descriptors that were taken may have been overwritten by used ones: only a record can tell. */
        return same ? VIO_FAULT_NONE : VIO_FAULT_RING_STATE;
    }
    if ((uint16_t)(q->avail_idx - q->used_idx) > q->size)
        return VIO_FAULT_RING_STATE;
    q->avail_idx = q->used_idx;
    q->avail_seen = q->avail_idx;
    return VIO_FAULT_NONE;
}

enum vio_fault vio_devq_start(void *mem, const struct vio_devq_params *p, struct vio_devq **out)
{
    struct vio_devq *q = mem;
    struct layout l;
    enum vio_fault fault;
    bool old;

    q->packed = vio_features_has(p->features, VIRTIO_F_RING_PACKED);
    if (!vio_queue_size_ok(p->cfg->size, q->packed))
        return VIO_FAULT_QUEUE_SIZE;
    l = layout_of(p);
    q->size = p->cfg->size;
    q->mask = (uint16_t)(q->size - 1);
    q->event_idx = vio_features_has(p->features, VIRTIO_F_EVENT_IDX);
    q->indirect = vio_features_has(p->features, VIRTIO_F_INDIRECT_DESC);
    q->in_order = vio_features_has(p->features, VIRTIO_F_IN_ORDER);
    q->map = p->map;
    q->cache = VIO_SPAN_NONE;
    q->inflight = p->inflight;
    q->log_used = p->cfg->log_used;
    q->log_addr = p->cfg->log_addr;
    q->cfg_desc = p->cfg->desc;
    q->cfg_driver = p->cfg->driver;
    q->cfg_device = p->cfg->device;
    q->kick_armed = true; /* a fresh ring asks for every notification */
    place(q, &l);
    fault = find_areas(q);
    if (fault == VIO_FAULT_NONE)
        fault = set_state(q, &p->cfg->state);
    if (fault != VIO_FAULT_NONE)
        return fault;
    old = vio_inflight_old(q);
    if (!old)
        fault = settle_state(q, p->find_position && q->indirect && q->inflight == NULL);
    if (fault == VIO_FAULT_NONE && q->inflight != NULL)
        fault = vio_inflight_start(q, old);
    if (fault == VIO_FAULT_NONE)
        *out = q;
    return fault;
}

void vio_devq_stop(struct vio_devq *q, struct vio_queue_state *state)
{
    *state = (struct vio_queue_state){
        .avail_idx = q->avail_idx,
        .used_idx = q->used_idx,
        .avail_wrap = q->avail_wrap,
        .used_wrap = q->used_wrap,
        .used_known = true,
    };
    q->fault = VIO_FAULT_NONE;
}
