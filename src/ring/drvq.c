/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver side of a live queue, once for both formats. Where it sits: ring/, freestanding.
 * Threads: the queue's owner.
 */
#include <errno.h>

#include "ring/packed_driver.h"
#include "ring/split_driver.h"

enum { LINE = 64 };

static size_t line_up(size_t n)
{
    return (n + LINE - 1) & ~(size_t)(LINE - 1);
}

struct layout {
    size_t slot, next, last, shown, order, end;
};

static struct layout layout_of(const struct vio_drvq_params *p)
{
    struct layout l;

    l.slot = line_up(sizeof(struct vio_drvq));
    l.next = line_up(l.slot + p->size * sizeof(struct vio_drv_slot));
    l.last = line_up(l.next + p->size * sizeof(uint16_t));
    l.shown = line_up(l.last + p->size * sizeof(uint16_t));
    l.order = line_up(l.shown + p->size * sizeof(uint16_t));
    l.end = line_up(l.order + p->size * sizeof(uint16_t));
    return l;
}

size_t vio_drvq_bytes(const struct vio_drvq_params *p)
{
    return layout_of(p).end;
}

static bool aligned(const void *p, size_t align)
{
    return p != NULL && (uintptr_t)p % align == 0;
}

static void zero(void *p, size_t n)
{
    __builtin_memset(p, 0, n);
}

static void set_state(struct vio_drvq *q, const struct vio_drvq_params *p, const struct vio_queue_layout *areas)
{
    struct vio_queue_state s = vio_queue_state_initial(q->packed);

    if (p->resume != NULL) {
        s = *p->resume;
    } else {
        zero(p->desc, areas->desc_bytes);
        zero(p->driver, areas->driver_bytes);
        zero(p->device, areas->device_bytes);
    }
    q->avail_idx = s.avail_idx;
    q->avail_wrap = s.avail_wrap;
    q->used_idx = s.used_idx;
    q->used_wrap = s.used_wrap;
    q->used_seen = s.used_idx;
}

int vio_drvq_start(void *mem, const struct vio_drvq_params *p, struct vio_drvq **out)
{
    bool packed = vio_features_has(p->features, VIRTIO_F_RING_PACKED);
    struct vio_queue_layout areas = vio_queue_layout(p->size, packed);
    struct layout l = layout_of(p);
    struct vio_drvq *q = mem;

    if (!vio_queue_size_ok(p->size, packed) || !aligned(p->desc, areas.desc_align) ||
        !aligned(p->driver, areas.driver_align) || !aligned(p->device, areas.device_align) ||
        (p->indirect != NULL && !aligned(p->indirect, 16)))
        return -EINVAL;
    q->desc = vio_shm_of(p->desc);
    q->driver = vio_shm_of(p->driver);
    q->device = vio_shm_of(p->device);
    q->size = p->size;
    q->mask = (uint16_t)(p->size - 1);
    q->packed = packed;
    q->event_idx = vio_features_has(p->features, VIRTIO_F_EVENT_IDX);
    q->in_order = vio_features_has(p->features, VIRTIO_F_IN_ORDER);
    q->slot = (struct vio_drv_slot *)(void *)((uint8_t *)mem + l.slot);
    q->next = (uint16_t *)(void *)((uint8_t *)mem + l.next);
    q->last = (uint16_t *)(void *)((uint8_t *)mem + l.last);
    q->shown = (uint16_t *)(void *)((uint8_t *)mem + l.shown);
    q->order = (uint16_t *)(void *)((uint8_t *)mem + l.order);
    if (p->indirect != NULL && vio_features_has(p->features, VIRTIO_F_INDIRECT_DESC)) {
        q->table = vio_shm_of(p->indirect);
        q->table_addr = p->indirect_addr;
        q->table_max = p->indirect_max;
    }
    q->nr_free = q->size;
    q->nr_ids = q->size;
    q->in_turn = p->in_turn || q->in_order;
    q->free_tail = (uint16_t)(q->size - 1);
    for (uint32_t i = 0; i < q->size; i++) {
        q->next[i] = (uint16_t)(packed ? q->size - 1 - i : (i + 1) % q->size);
        q->shown[i] = UINT16_MAX; /* no id: nothing is known of what stands there */
    }
    q->call_armed = true;
    set_state(q, p, &areas);
    *out = q;
    return 0;
}

int vio_drvq_put(struct vio_drvq *q, const struct vio_buf *bufs, unsigned nr_r, unsigned nr_w, uint64_t token)
{
    unsigned n = nr_r + nr_w;
    bool indirect = drv_indirect(q, n);
    uint32_t slots = indirect ? 1 : n;
    uint64_t readable = 0, writable = 0;
    bool empty = false;
    uint16_t id;

    if (q->fault != VIO_FAULT_NONE)
        return -EIO;
    if (n == 0 || nr_r > UINT16_MAX || nr_w > UINT16_MAX || slots > q->size)
        return -EINVAL;
    if (slots > q->nr_free)
        return -ENOSPC;
    for (unsigned i = 0; i < n; i++) {
        *(i < nr_r ? &readable : &writable) += bufs[i].len;
        empty |= bufs[i].len == 0;
    }
    if (empty || readable + writable > UINT64_C(1) << 32)
        return -EINVAL;
    id = q->packed ? packedd_put(q, bufs, nr_r, n, indirect) : splitd_put(q, bufs, nr_r, n, indirect);
    q->slot[id].token = token;
    q->slot[id].writable = (uint32_t)vio_min_u64(writable, UINT32_MAX);
    q->slot[id].slots = (uint16_t)slots;
    q->slot[id].at = (uint16_t)q->order_tail;
    q->order[q->order_tail] = id;
    q->order_tail = drv_order_next(q, q->order_tail);
    q->nr_free -= slots;
    q->in_flight++;
    q->fresh++;
    return 0;
}

unsigned vio_drvq_express_put(struct vio_drvq *q, const struct vio_packet *packets, unsigned n, bool writable)
{
    unsigned put;

    if (q->fault != VIO_FAULT_NONE)
        return 0;
    n = vio_min_u32(n, q->nr_free);
    put = q->packed ? packedd_express(q, packets, n, writable) : splitd_express(q, packets, n, writable);
    q->nr_free -= put;
    q->in_flight += put;
    q->fresh += put;
    return put;
}

void vio_drvq_rewind(struct vio_drvq *q)
{
    while (q->fresh > 0) {
        uint16_t id;

        q->order_tail = q->order_tail == 0 ? q->size - 1u : q->order_tail - 1;
        id = q->order[q->order_tail];
        if (q->packed)
            packedd_unput(q, id);
        else
            splitd_unput(q, id);
        q->nr_free += q->slot[id].slots;
        q->slot[id].slots = 0;
        q->in_flight--;
        q->fresh--;
    }
    q->unpublished = 0;
}

bool vio_drvq_publish(struct vio_drvq *q)
{
    bool kick;

    if (q->unpublished == 0 || q->fault != VIO_FAULT_NONE)
        return false;
    kick = q->packed ? packedd_publish(q) : splitd_publish(q);
    q->unpublished = 0;
    q->fresh = 0;
    return kick;
}

/* The buffer is the caller's again. */
static inline void finish(struct vio_drvq *q, bool packed, uint32_t id, uint32_t len, struct vio_done *done)
{
    struct vio_drv_slot *s = &q->slot[id];

    *done = (struct vio_done){ .token = s->token, .len = len };
    if (packed)
        q->next[q->nr_ids++] = (uint16_t)id;
    else
        splitd_free(q, (uint16_t)id);
    q->nr_free += s->slots;
    s->slots = 0;
    q->in_flight--;
}

static unsigned split_collect(struct vio_drvq *q, struct vio_done *done, unsigned max)
{
    unsigned n = splitd_used(q, max), got = 0;

    for (; got < n && got < max; got++) {
        uint32_t id, len;

        splitd_used_at(q, &id, &len);
        if (!drv_id_ok(q, id) || !drv_len_ok(q, &q->slot[id], &len, true))
            break;
        finish(q, false, id, len, &done[got]);
        q->used_idx++;
    }
    return got;
}

static unsigned packed_collect(struct vio_drvq *q, struct vio_done *done, unsigned max)
{
    unsigned got = 0;

    while (got < max) {
        uint32_t id, len;
        uint16_t slots;
        bool told;

        if (!packedd_used(q, &id, &len, &told))
            break;
        if (q->in_flight == q->fresh) {
            drv_break(q, VIO_FAULT_USED_IDX);
            break;
        }
        if (!drv_id_ok(q, id) || !drv_len_ok(q, &q->slot[id], &len, told))
            break;
        slots = q->slot[id].slots;
        finish(q, true, id, len, &done[got++]);
        packedd_used_step(q, slots);
    }
    return got;
}

/* IN_ORDER: whether a used element is there, which names the last buffer of a batch (2.7.9, 2.8.8). */
static bool batch_begin(struct vio_drvq *q)
{
    bool told = true;
    uint32_t id, len;

    if (q->in_batch)
        return true;
    if (q->packed) {
        if (!packedd_used(q, &id, &len, &told))
            return false;
    } else {
        if (splitd_used(q, 1) == 0)
            return false;
        splitd_used_at(q, &id, &len);
    }
    if (!drv_id_ok(q, id) || !drv_len_ok(q, &q->slot[id], &len, told))
        return false;
    q->in_batch = true;
    q->batch_id = (uint16_t)id;
    q->batch_len = len;
    return true;
}

static unsigned collect_ordered(struct vio_drvq *q, struct vio_done *done, unsigned max)
{
    unsigned got = 0;

    while (got < max && batch_begin(q)) {
        uint16_t id, slots;
        uint32_t writable;

        /* The batch ends at a buffer that is in flight and published, so we meet it before the order runs out. */
        if (q->in_flight == q->fresh || (!q->packed && q->used_seen == q->used_idx)) {
            drv_break(q, VIO_FAULT_USED_ORDER);
            break;
        }
        id = q->order[q->order_head];
        q->order_head = drv_order_next(q, q->order_head);
        slots = q->slot[id].slots;
        writable = q->slot[id].writable;
        if (id == q->batch_id)
            q->in_batch = false;
        finish(q, q->packed, id, q->in_batch ? writable : q->batch_len, &done[got++]);
        if (q->packed)
            packedd_used_step(q, slots);
        else
            q->used_idx++;
    }
    return got;
}

unsigned vio_drvq_collect(struct vio_drvq *q, struct vio_done *done, unsigned max)
{
    if (q->fault != VIO_FAULT_NONE)
        return 0;
    if (q->in_order)
        return collect_ordered(q, done, max);
    return q->packed ? packed_collect(q, done, max) : split_collect(q, done, max);
}

bool vio_drvq_pending(const struct vio_drvq *q)
{
    if (q->fault != VIO_FAULT_NONE)
        return false;
    return q->packed ? packedd_pending(q) : splitd_pending(q);
}

bool vio_drvq_arm_call(struct vio_drvq *q)
{
    if (q->fault != VIO_FAULT_NONE)
        return false;
    if (q->packed)
        packedd_arm(q);
    else
        splitd_arm(q);
    q->call_armed = true;
    /* Pairs with the device's barrier between publishing and reading our wish (2.7.7.2, 2.8.14). */
    vio_shm_full_barrier();
    if (!vio_drvq_pending(q))
        return false;
    vio_drvq_disarm_call(q);
    return true;
}

void vio_drvq_disarm_call(struct vio_drvq *q)
{
    if (!q->call_armed)
        return;
    q->call_armed = false;
    if (q->packed)
        packedd_disarm(q);
    else
        splitd_disarm(q);
}

uint32_t vio_drvq_notify_data(const struct vio_drvq *q, uint16_t queue)
{
    /* The next entry that was not made available: what is put and not published is not. */
    uint32_t position = (uint16_t)(q->avail_idx - q->unpublished);

    if (q->packed) {
        bool wrapped = q->unpublished > q->avail_idx;

        position = q->unpublished > 0 ? q->first_put : q->avail_idx;
        if (q->avail_wrap != wrapped)
            position |= VIRTQ_EVENT_WRAP;
    }
    return queue | position << 16;
}

bool vio_drvq_detach(struct vio_drvq *q, uint64_t *token)
{
    for (; q->in_flight > 0 && q->detach_at < q->size; q->detach_at++) {
        struct vio_drv_slot *s = &q->slot[q->detach_at];

        if (s->slots == 0)
            continue;
        *token = s->token;
        s->slots = 0;
        q->in_flight--;
        return true;
    }
    return false;
}

unsigned vio_drvq_in_flight(const struct vio_drvq *q)
{
    return q->in_flight;
}

unsigned vio_drvq_free(const struct vio_drvq *q)
{
    return q->nr_free;
}

struct vio_queue_state vio_drvq_state(const struct vio_drvq *q)
{
    return (struct vio_queue_state){
        .avail_idx = q->avail_idx,
        .used_idx = q->used_idx,
        .avail_wrap = q->avail_wrap,
        .used_wrap = q->used_wrap,
        .used_known = true,
    };
}

enum vio_fault vio_drvq_fault(const struct vio_drvq *q)
{
    return (enum vio_fault)q->fault;
}

void vio_drvq_break(struct vio_drvq *q, enum vio_fault fault)
{
    drv_break(q, fault);
}
