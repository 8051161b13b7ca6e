/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the device side of a live queue: take, put, publish, notifications, once for both formats. The format is
 * chosen by a switch around inlined verbs. Where it sits: ring/, freestanding. Threads: the queue's owner.
 */
#include "ring/packed_device.h"
#include "ring/split_device.h"

void vio_devq_break(struct vio_devq *q, enum vio_fault fault, uint64_t detail)
{
    if (q->fault != VIO_FAULT_NONE)
        return;
    q->fault = (uint8_t)fault;
    q->fault_detail = detail;
}

enum vio_fault vio_devq_fault(const struct vio_devq *q)
{
    return (enum vio_fault)q->fault;
}

uint64_t vio_devq_fault_detail(const struct vio_devq *q)
{
    return q->fault_detail;
}

bool vio_devq_miss(const struct vio_devq *q, uint64_t *iova, unsigned *access)
{
    if (!q->missed)
        return false;
    *iova = q->miss_addr;
    *access = q->miss_access;
    return true;
}

unsigned vio_devq_in_flight(const struct vio_devq *q)
{
    return q->in_flight;
}

unsigned vio_devq_recovered(const struct vio_devq *q)
{
    return q->nr_recover;
}

uint16_t vio_devq_size(const struct vio_devq *q)
{
    return q->size;
}

/* What an earlier owner had taken comes first, in its order. */
static unsigned take_recovered(struct vio_devq *q, struct vio_req **reqs, unsigned max)
{
    unsigned got = 0;

    while (got < max && q->at_recover < q->nr_recover) {
        uint16_t head = q->recover[q->at_recover];
        enum vio_step step = q->packed ? packed_take_recovered(q, head, &reqs[got]) :
                                         split_take_head(q, head, &reqs[got]);

        if (step != VIO_STEP_OK)
            break;
        q->at_recover++;
        got++;
    }
    return got;
}

static inline uint32_t order_next(const struct vio_devq *q, uint32_t at)
{
    return at + 1 == q->size ? 0 : at + 1;
}

unsigned vio_devq_take(struct vio_devq *q, struct vio_req **reqs, unsigned max)
{
    unsigned got = 0;

    q->missed = false;
    q->too_few = 0;
    if (max > VIO_QUEUE_BATCH)
        max = VIO_QUEUE_BATCH;
    if (__builtin_expect(q->fault != VIO_FAULT_NONE || max == 0, 0))
        return 0;
    if (__builtin_expect(q->at_recover < q->nr_recover, 0))
        got = take_recovered(q, reqs, max);
    else
        got = q->packed ? packed_take(q, reqs, max) : split_take(q, reqs, max);
    q->in_flight += got;
    if (__builtin_expect(q->in_order, 0)) {
        for (unsigned i = 0; i < got; i++) {
            q->order[q->order_tail] = reqs[i]->index;
            q->order_tail = order_next(q, q->order_tail);
        }
        q->nr_order += got;
    }
    return got;
}

void vio_devq_untake(struct vio_devq *q, struct vio_req **reqs, unsigned n)
{
    while (n-- > 0) {
        struct vio_req *req = reqs[n];

        vio_req_release_segs(q, req);
        req->state_ = VIO_REQ_FREE;
        req->log_nr_ = 0;
        if (q->packed)
            packed_untake(q, req);
        else
            q->avail_idx--;
        q->in_flight--;
        if (q->in_order) {
            q->order_tail = q->order_tail == 0 ? q->size - 1u : q->order_tail - 1;
            q->nr_order--;
        }
    }
}

void vio_devq_untake_too_few(struct vio_devq *q, struct vio_req **reqs, unsigned n)
{
    unsigned entries = 0;

    for (unsigned i = 0; i < n; i++)
        entries += q->packed ? reqs[i]->slots : 1u;
    vio_devq_untake(q, reqs, n);
    q->too_few = (uint16_t)entries;
}

unsigned vio_devq_express(struct vio_devq *q, struct vio_piece *pieces, unsigned max, bool writable)
{
    q->missed = false; /* as take: what it stops at, take finds again */
    q->too_few = 0;
    if (__builtin_expect(q->fault != VIO_FAULT_NONE || q->in_flight > 0 || q->inflight != NULL || q->in_order ||
                             q->map->dirty.on || q->at_recover < q->nr_recover, 0))
        return 0;
    if (max > VIO_QUEUE_BATCH)
        max = VIO_QUEUE_BATCH;
    return q->packed ? packed_express(q, pieces, max, writable) : split_express(q, pieces, max, writable);
}

void vio_devq_express_put(struct vio_devq *q, const struct vio_piece *pieces, const uint32_t *lens, unsigned nr,
                          unsigned taken)
{
    if (q->packed)
        packed_express_put(q, pieces, lens, nr, taken);
    else
        split_express_put(q, pieces, lens, nr, taken);
}

/* The length the driver is told: what was written without a gap from the start (2.7.8.2). */
static uint32_t used_len(const struct vio_req *req)
{
    uint64_t len = req->out.written;

    if (req->out.last_taken_ && req->out.left == 0)
        len++;
    return len > UINT32_MAX ? UINT32_MAX : (uint32_t)len;
}

static void log_request(struct vio_devq *q, struct vio_req *req)
{
    for (uint16_t i = 0; i < req->log_nr_; i++)
        vio_dirty_mark_host(q->map, req->log_[i].base, req->log_[i].len);
    req->log_nr_ = 0;
}

/* The request is the queue's again. */
static void release(struct vio_devq *q, struct vio_req *req)
{
    vio_req_release_segs(q, req);
    req->state_ = VIO_REQ_FREE;
    if (q->packed)
        q->free_req[q->nr_free++] = req->index;
}

static void put_one(struct vio_devq *q, struct vio_req *req)
{
    uint32_t len = used_len(req);

    if (q->packed) {
        if (__builtin_expect(q->inflight != NULL, 0))
            prec_put(q, req);
        packed_put(q, req, len, req->slots);
        q->unpublished = (uint16_t)(q->unpublished + req->slots);
    } else {
        split_put(q, req, len);
        q->unpublished++;
    }
    release(q, req);
}

/* Whether the driver may assume what it assumes of a skipped buffer: that all of it was written (2.7.9, 2.8.8). */
static bool wrote_all(const struct vio_req *req)
{
    return req->out.left == 0;
}

/*
 * IN_ORDER: shows what is done from the oldest on. Buffers before the last of a run need no used element of their
 * own if they were written completely; with an in-flight record each has its own, so that the record stays simple.
 */
static void put_ordered(struct vio_devq *q, struct vio_req *req)
{
    uint32_t slots = 0;
    uint16_t count = 0;

    req->state_ = VIO_REQ_DONE;
    while (q->nr_order > 0) {
        struct vio_req *r = vio_devq_req(q, q->order[q->order_head]);
        struct vio_req *next = NULL;

        if (r->state_ != VIO_REQ_DONE)
            return;
        q->order_head = order_next(q, q->order_head);
        if (--q->nr_order > 0)
            next = vio_devq_req(q, q->order[q->order_head]);
        if (q->inflight != NULL) {
            put_one(q, r);
            continue;
        }
        count++;
        slots += r->slots;
        if (next != NULL && next->state_ == VIO_REQ_DONE && wrote_all(r)) {
            release(q, r);
            continue;
        }
        if (q->packed) {
            packed_put(q, r, used_len(r), slots);
            q->unpublished = (uint16_t)(q->unpublished + slots);
        } else {
            split_put_batch(q, r, used_len(r), count);
            q->unpublished = (uint16_t)(q->unpublished + count);
        }
        release(q, r);
        count = 0;
        slots = 0;
    }
}

void vio_devq_put(struct vio_devq *q, struct vio_req *req)
{
    if (__builtin_expect(req->log_nr_ > 0, 0))
        log_request(q, req);
    /* What waits for an older buffer's turn is no longer the device's. */
    q->in_flight--;
    if (__builtin_expect(q->in_order, 0))
        put_ordered(q, req);
    else
        put_one(q, req);
}

bool vio_devq_publish(struct vio_devq *q)
{
    bool call;

    if (q->unpublished == 0)
        return false;
    call = q->packed ? packed_publish(q) : split_publish(q);
    q->unpublished = 0;
    return call;
}

bool vio_devq_silenced(const struct vio_devq *q)
{
    return q->packed ? packed_silenced(q) : split_silenced(q);
}

bool vio_devq_pending(const struct vio_devq *q)
{
    if (q->fault != VIO_FAULT_NONE)
        return false;
    if (q->at_recover < q->nr_recover)
        return true;
    return q->packed ? packed_pending(q) : split_pending(q);
}

bool vio_devq_arm_kick(struct vio_devq *q)
{
    bool pending;

    if (q->fault != VIO_FAULT_NONE)
        return false;
    pending = q->packed ? packed_arm(q) : split_arm(q);
    q->kick_armed = true;
    if (pending || q->at_recover < q->nr_recover) {
        vio_devq_disarm_kick(q);
        return true;
    }
    return false;
}

void vio_devq_disarm_kick(struct vio_devq *q)
{
    if (!q->kick_armed || q->fault != VIO_FAULT_NONE)
        return;
    q->kick_armed = false;
    if (q->packed)
        packed_disarm(q);
    else
        split_disarm(q);
}

enum vio_fault vio_devq_check_notify_data(const struct vio_devq *q, uint16_t queue, uint32_t data)
{
    uint16_t off = (uint16_t)(data >> 16 & 0x7fff);
    uint16_t idx = (uint16_t)(data >> 16);

    if ((uint16_t)data != queue)
        return VIO_FAULT_NOTIFY_DATA;
    if (q->packed)
        return off < q->size ? VIO_FAULT_NONE : VIO_FAULT_NOTIFY_DATA;
    /* A notification may be late: up to a ring behind what we have taken, up to a ring ahead. */
    return (uint16_t)(idx - q->avail_idx + q->size) <= 2u * q->size ? VIO_FAULT_NONE : VIO_FAULT_NOTIFY_DATA;
}
