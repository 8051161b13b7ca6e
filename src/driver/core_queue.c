/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device's queues: planned, made, told of, kicked, reset one by one, and given on to a device that came back.
 * Where it sits: driver/core, freestanding. Threads: the control thread; publish and kick are the queue owner's.
 * Trust: a queue's size is the device's word: taken within what the format allows. What it does on the ring is ring/'s to judge.
 */
#include <errno.h>
#include "driver/core_internal.h"

enum { LINES = 128, PAGE = 4096, SIZE_USUAL = 256 };

struct areas {
    uint64_t driver, device, indirect, bytes; /* offsets from the descriptor area, and the end */
};

static uint64_t up(uint64_t n, uint64_t align)
{
    return (n + align - 1) & ~(align - 1);
}

/* Each area on cache lines of its own; legacy: where the specification wants it (virtio 1.4, 2.7.2). */
static struct areas areas_of(const struct vio_drvdev *d, uint16_t size, uint16_t indirect_max)
{
    struct vio_queue_layout l = vio_queue_layout(size, vio_features_has(d->features, VIRTIO_F_RING_PACKED));
    bool legacy = d->t->queue_align != 0;
    struct areas a;

    a.driver = legacy ? l.desc_bytes : up(l.desc_bytes, LINES);
    a.device = up(a.driver + l.driver_bytes, legacy ? d->t->queue_align : (uint64_t)LINES);
    a.indirect = up(a.device + l.device_bytes, LINES);
    a.bytes = up(a.indirect + (uint64_t)size * indirect_max * 16, LINES);
    return a;
}

static void free_queue(struct vio_drvdev *d, struct core_queue *q)
{
    const struct vio_platform *p = d->platform;

    if (q->mem != NULL)
        p->free(p->ctx, q->mem, q->mem_bytes);
    if (q->shared != NULL)
        p->dma_free(p->ctx, q->shared, q->shared_bytes, q->shared_addr);
    *q = (struct core_queue){ .drvq = NULL };
}

void core_queues_free(struct vio_drvdev *d)
{
    const struct vio_platform *p = d->platform;

    for (uint16_t i = 0; i < d->nr_queues; i++)
        free_queue(d, &d->queue[i]);
    if (d->queue != NULL)
        p->free(p->ctx, d->queue, d->nr_queues * sizeof(d->queue[0]));
    d->queue = NULL;
    d->nr_queues = 0;
}

/* The rings; the device knows nothing of them yet. q holds the size, indirect_max, callback and told.polled. */
static int make_queue(struct vio_drvdev *d, struct core_queue *q)
{
    const struct vio_platform *p = d->platform;
    struct areas a = areas_of(d, q->told.cfg.size, q->indirect_max);
    struct vio_drvq_params params = { .size = q->told.cfg.size, .features = d->features, .indirect_max = q->indirect_max,
                                      .in_turn = q->in_turn };
    uint64_t align = d->t->queue_align > PAGE ? d->t->queue_align : (uint64_t)PAGE;
    uint8_t *shared;
    int error;

    if (a.bytes > SIZE_MAX / 2)
        return -ENOMEM;
    q->shared_bytes = (size_t)a.bytes;
    q->shared = p->dma_alloc(p->ctx, q->shared_bytes, (size_t)align, &q->shared_addr);
    q->mem_bytes = vio_drvq_bytes(&params);
    q->mem = p->alloc(p->ctx, q->mem_bytes);
    if (q->shared == NULL || q->mem == NULL)
        return -ENOMEM;
    shared = q->shared;
    q->told.desc = params.desc = shared;
    q->told.driver = params.driver = shared + a.driver;
    q->told.device = params.device = shared + a.device;
    q->told.cfg.desc = q->shared_addr;
    q->told.cfg.driver = q->shared_addr + a.driver;
    q->told.cfg.device = q->shared_addr + a.device;
    q->told.cfg.ready = true;
    q->told.cfg.state = vio_queue_state_initial(vio_features_has(d->features, VIRTIO_F_RING_PACKED));
    if (q->indirect_max > 0) {
        params.indirect = shared + a.indirect;
        params.indirect_addr = q->shared_addr + a.indirect;
    }
    error = vio_drvq_start(q->mem, &params, &q->drvq);
    if (error == 0 && q->told.polled)
        vio_drvq_disarm_call(q->drvq);
    return error;
}

/* The size that a queue gets, from what is wanted and what the device can; 0: none. */
static uint16_t size_of(const struct vio_drvdev *d, uint16_t wanted, uint16_t max)
{
    bool packed = vio_features_has(d->features, VIRTIO_F_RING_PACKED);
    uint32_t size = max;

    if (!d->t->size_fixed) {
        size = vio_min_u32(size, VIO_QUEUE_SIZE_MAX);
        size = vio_min_u32(size, wanted != 0 ? wanted : (uint32_t)SIZE_USUAL);
        while (!packed && (size & (size - 1)) != 0)
            size &= size - 1;
    }
    return vio_queue_size_ok(size, packed) ? (uint16_t)size : 0;
}

static int plan_queue(struct vio_drvdev *d, const struct vio_drvdev_queue_plan *plan)
{
    struct core_queue *q = &d->queue[plan->queue];
    uint16_t max = 0;
    int error = d->ops->queue_max(d->t, plan->queue, &max);

    if (error != 0)
        return core_transport_failed(d, error, "queues");
    if (max == 0)
        return vio_drvdev_fail(d, -ENOENT, "the device has no queue %u", plan->queue);
    q->told.cfg.size = size_of(d, plan->size, max);
    if (q->told.cfg.size == 0)
        return vio_drvdev_fail(d, -EPROTO, "queue %u: a size of %u cannot be (virtio 1.4, 2.7)", plan->queue, max);
    q->callback = plan->callback;
    q->told.polled = plan->polled;
    q->in_turn = plan->in_turn;
    q->indirect_max = vio_drvdev_has(d, VIRTIO_F_INDIRECT_DESC) ? plan->indirect_max : 0;
    error = make_queue(d, q);
    if (error != 0)
        return vio_drvdev_fail(d, error, "queue %u: no memory for %u entries", plan->queue, q->told.cfg.size);
    return 0;
}

static int tell(struct vio_drvdev *d)
{
    uint16_t largest = 0;
    int error = 0;

    for (uint16_t i = 0; i < d->nr_queues; i++)
        if (d->queue[i].told.cfg.size > largest)
            largest = d->queue[i].told.cfg.size;
    if (d->ops->queues_planned != NULL)
        error = d->ops->queues_planned(d->t, d->nr_queues, largest);
    for (uint16_t i = 0; error == 0 && i < d->nr_queues; i++)
        if (d->queue[i].drvq != NULL)
            error = d->ops->queue_start(d->t, i, &d->queue[i].told);
    return error != 0 ? core_transport_failed(d, error, "starting queues") : 0;
}

/* A number each, and room for the highest. */
static int plans_ok(struct vio_drvdev *d, const struct vio_drvdev_queue_plan *plans, unsigned n, uint16_t *nr)
{
    uint16_t highest = 0;

    if (d->queue != NULL)
        return vio_drvdev_fail(d, -EBUSY, "its queues are planned already");
    if (n == 0 || n > VIO_DRV_QUEUES_MAX)
        return vio_drvdev_fail(d, -EINVAL, "%u queues: 1 to %d can be planned", n, VIO_DRV_QUEUES_MAX);
    for (unsigned i = 0; i < n; i++) {
        if (plans[i].queue >= VIO_DRV_QUEUES_MAX)
            return vio_drvdev_fail(d, -EINVAL, "queue %u: the highest is %d", plans[i].queue, VIO_DRV_QUEUES_MAX - 1);
        if (plans[i].queue > highest)
            highest = plans[i].queue;
    }
    *nr = (uint16_t)(highest + 1);
    return 0;
}

int vio_drvdev_queues(struct vio_drvdev *d, const struct vio_drvdev_queue_plan *plans, unsigned n)
{
    const struct vio_platform *p = d->platform;
    uint16_t nr = 0;
    int error = plans_ok(d, plans, n, &nr);

    if (error != 0)
        return error;
    d->queue = p->alloc(p->ctx, nr * sizeof(d->queue[0]));
    if (d->queue == NULL)
        return vio_drvdev_fail(d, -ENOMEM, "no memory for %u queues", nr);
    d->nr_queues = nr;
    for (unsigned i = 0; error == 0 && i < n; i++) {
        if (d->queue[plans[i].queue].drvq != NULL)
            error = vio_drvdev_fail(d, -EINVAL, "queue %u is planned twice", plans[i].queue);
        else
            error = plan_queue(d, &plans[i]);
    }
    if (error != 0) {
        core_queues_free(d); /* the device was told of none */
        return error;
    }
    return tell(d);
}

uint16_t vio_drvdev_queue_max(struct vio_drvdev *d, uint16_t queue)
{
    uint16_t max = 0;

    return d->ops->queue_max(d->t, queue, &max) == 0 ? (uint16_t)vio_min_u32(max, VIO_QUEUE_SIZE_MAX) : 0;
}

struct vio_drvq *vio_drvdev_queue(struct vio_drvdev *d, uint16_t queue)
{
    struct core_queue *q = core_queue_of(d, queue);

    return q != NULL ? q->drvq : NULL;
}

uint16_t vio_drvdev_queue_size(const struct vio_drvdev *d, uint16_t queue)
{
    const struct core_queue *q = core_queue_of(d, queue);

    return q != NULL ? q->told.cfg.size : 0;
}

/* ------------------------------------------------------------------ notifications */

void core_kick(struct vio_drvdev *d, uint16_t queue, const struct core_queue *q)
{
    bool data = vio_features_has(d->features, VIRTIO_F_NOTIFICATION_DATA);

    d->ops->kick(d->t, queue, data ? vio_drvq_notify_data(q->drvq, queue) : queue);
}

void vio_drvdev_publish(struct vio_drvdev *d, uint16_t queue)
{
    struct core_queue *q = core_queue_of(d, queue);

    if (q != NULL && vio_drvq_publish(q->drvq))
        core_kick(d, queue, q);
}

void vio_drvdev_kick(struct vio_drvdev *d, uint16_t queue)
{
    const struct core_queue *q = core_queue_of(d, queue);

    if (q != NULL)
        core_kick(d, queue, q);
}

bool core_queue_broken(struct vio_drvdev *d, const struct core_queue *q)
{
    enum vio_fault fault = vio_drvq_fault(q->drvq);

    if (fault == VIO_FAULT_NONE)
        return false;
    vio_drvdev_broken(d, vio_fault_name(fault), vio_fault_clause(fault));
    return true;
}

/* ------------------------------------------------------------------ one queue again */

static int restart_failed(struct vio_drvdev *d, int error, const char *what)
{
    vio_drvdev_broken(d, "a queue was not reset and started again as it must be", "virtio 1.4, 2.6.1");
    (void)core_broken(d);
    return core_transport_failed(d, error, what); /* why it is broken */
}

int vio_drvdev_queue_reset(struct vio_drvdev *d, uint16_t queue, uint16_t size, void (*lost)(void *ctx, uint64_t token),
                           void *ctx)
{
    struct core_queue *q = core_queue_of(d, queue), again;
    struct vio_queue_state state;
    uint64_t token;
    uint16_t max = 0;
    int error;

    if (q == NULL)
        return -EINVAL;
    if (!vio_drvdev_has(d, VIRTIO_F_RING_RESET) || d->ops->queue_stop == NULL)
        return -ENOTSUP;
    if (core_broken(d))
        return -EIO;
    error = d->ops->queue_max(d->t, queue, &max);
    if (error != 0)
        return core_transport_failed(d, error, "queue reset");
    again = (struct core_queue){ .callback = q->callback, .indirect_max = q->indirect_max, .in_turn = q->in_turn };
    again.told.polled = q->told.polled;
    again.told.cfg.size = size_of(d, size != 0 ? size : q->told.cfg.size, max);
    error = again.told.cfg.size == 0 ? -EINVAL : make_queue(d, &again);
    if (error == 0) {
        error = d->ops->queue_stop(d->t, queue, &state);
        if (error != 0 && error != -ENOTSUP)
            error = restart_failed(d, error, "queue reset");
    }
    if (error != 0) {
        free_queue(d, &again);
        return error;
    }
    while (vio_drvq_detach(q->drvq, &token))
        if (lost != NULL)
            lost(ctx, token);
    free_queue(d, q);
    *q = again;
    error = d->ops->queue_start(d->t, queue, &q->told);
    return error != 0 ? restart_failed(d, error, "queue reset") : 0;
}

/* ------------------------------------------------------------------ a device that came back */

/*
 * A queue goes on at the first buffer that has not come back. What lies between there and the last one that was made
 * available the device tells apart by its own record.
 */
static int give_on(struct vio_drvdev *d, uint16_t queue)
{
    struct core_queue *q = &d->queue[queue];
    struct vio_queue_state s = vio_drvq_state(q->drvq);

    s.avail_idx = s.used_idx;
    s.avail_wrap = s.used_wrap;
    q->told.cfg.state = s;
    return d->ops->queue_start(d->t, queue, &q->told);
}

int vio_drvdev_reconnect(struct vio_drvdev *d)
{
    int error;

    if (d->ops->reconnect == NULL)
        return vio_drvdev_fail(d, -ENOTSUP, "%s: a device that went away cannot come back here", d->ops->name);
    if ((core_broken(d) && !d->link_lost) || (d->is != VIO_DRVDEV_RUNS && d->is != VIO_DRVDEV_BROKEN))
        return vio_drvdev_fail(d, -EINVAL, "nothing runs that could go on: recover it");
    for (uint16_t i = 0; i < d->nr_queues; i++)
        if (d->queue[i].drvq != NULL && vio_drvq_pending(d->queue[i].drvq))
            return vio_drvdev_fail(d, -EBUSY, "queue %u has used buffers: collect them first", i);
    error = d->ops->reconnect(d->t, &d->features);
    for (uint16_t i = 0; error == 0 && i < d->nr_queues; i++)
        if (d->queue[i].drvq != NULL)
            error = give_on(d, i);
    if (error == 0)
        error = d->ops->status_set(d->t, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
                                             VIRTIO_STATUS_DRIVER_OK);
    if (error != 0)
        return core_transport_failed(d, error, "reconnecting");
    d->link_lost = false;
    d->broken_said = false;
    __atomic_store_n(&d->broken, NULL, __ATOMIC_RELEASE);
    d->is = VIO_DRVDEV_RUNS;
    d->why[0] = '\0';
    for (uint16_t i = 0; i < d->nr_queues; i++)
        if (d->queue[i].drvq != NULL)
            core_kick(d, i, &d->queue[i]); /* what was made available while nobody was there */
    return 0;
}
