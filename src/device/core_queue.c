/* SPDX-License-Identifier: MIT */
/*
 * Purpose: queues as the control thread sees them: configured, live, owned, parked, stopped (virtio 1.4, 2.6).
 * Where it sits: device/core. Threads: the control thread. A queue that is attached belongs to its owner; what is
 * done to it here is done after the host has parked or detached it.
 * Life: configured -> (wanted, DRIVER_OK, memory at rest) -> live -> attached <-> parked -> detached -> stopped.
 */
#include "device/core_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/map.h"
#include "spec/ring.h"
#include "spec/virtio.h"

/* How long a drain without a host's threads sleeps where the backend has no descriptor to wait for. */
enum { DRAIN_POLL_MS = 1 };

void core_queue_default(struct vio_device *dev, struct core_queue *q)
{
    q->cfg = (struct vio_queue_cfg){
        .size = dev->type->queue_size_max,
        /* The packed form of the initial state is right for both: split has no wrap counters. */
        .state = vio_queue_state_initial(true),
    };
    q->inflight = NULL;
}

bool core_queue_live(const struct core_queue *q)
{
    return q->mem != NULL;
}

struct vio_queue_cfg *vio_device_queue_cfg(struct vio_device *dev, uint16_t queue)
{
    struct core_queue *q = core_queue_at(dev, queue);

    return q != NULL ? &q->cfg : NULL;
}

bool vio_device_queue_running(const struct vio_device *dev, uint16_t queue)
{
    return queue < dev->queues && core_queue_live(&dev->queue[queue]);
}

void vio_device_queue_inflight(struct vio_device *dev, uint16_t queue, struct vio_inflight *inflight)
{
    struct core_queue *q = core_queue_at(dev, queue);

    if (q != NULL && !core_queue_live(q))
        q->inflight = inflight;
}

/* ------------------------------------------------------------------ the owner: attached, parked, detached */

static void order(struct core_queue *q, unsigned set, unsigned clear)
{
    atomic_fetch_and_explicit(&q->orders, ~clear, memory_order_relaxed);
    atomic_fetch_or_explicit(&q->orders, set, memory_order_release);
}

static void park(struct vio_device *dev, struct core_queue *q)
{
    if (!q->attached || q->parked++ > 0)
        return;
    if (dev->host != NULL && dev->host->park != NULL)
        dev->host->park(dev->host_ctx, dev, q->index);
    else
        vio_device_queue_parked(dev, q->index, true);
}

static void unpark(struct vio_device *dev, struct core_queue *q)
{
    if (!q->attached || q->parked == 0 || --q->parked > 0)
        return;
    if (dev->host != NULL && dev->host->unpark != NULL)
        dev->host->unpark(dev->host_ctx, dev, q->index);
    else
        vio_device_queue_parked(dev, q->index, false);
}

/* With no threads of a host's: serves here until nothing is in flight. */
static void drain_here(struct vio_device *dev, struct core_queue *q)
{
    dev->draining = true;
    while (vio_device_queue_in_flight(dev, q->index) > 0) {
        struct pollfd p = { .events = POLLIN };

        if (vio_device_queue_service(dev, q->index, 0) > 0)
            continue;
        if (vio_device_queue_in_flight(dev, q->index) == 0 || vio_device_queue_arm(dev, q->index))
            continue;
        p.fd = vio_device_queue_backend_fd(dev, q->index);
        /* A timeout even with a descriptor: an owner that misses one signal must not hang the control thread. */
        (void)poll(&p, p.fd >= 0, p.fd >= 0 ? 100 : DRAIN_POLL_MS);
        vio_device_queue_disarm(dev, q->index);
    }
    dev->draining = false;
}

static int attach_owner(struct vio_device *dev, struct core_queue *q)
{
    int ret;

    q->abandoned = 0;
    q->missing = false;
    q->attached = true; /* first: the owner may run before attach returns */
    if (dev->host != NULL && dev->host->attach != NULL)
        ret = dev->host->attach(dev->host_ctx, dev, q->index);
    else
        ret = vio_device_queue_enter(dev, q->index);
    if (ret < 0)
        q->attached = false;
    return ret;
}

static void detach_owner(struct vio_device *dev, struct core_queue *q, unsigned orders)
{
    if (!q->attached)
        return;
    order(q, CORE_ORDER_HOLD | orders, 0);
    if (q->parked > 0) {
        q->parked = 1;
        unpark(dev, q);
    }
    q->memory_parked = false;
    if (dev->host != NULL && dev->host->detach != NULL) {
        dev->host->detach(dev->host_ctx, dev, q->index);
    } else {
        drain_here(dev, q);
        vio_device_queue_leave(dev, q->index);
    }
    q->attached = false;
    order(q, 0, CORE_ORDER_HOLD | CORE_ORDER_CANCEL);
}

void core_queue_events(struct vio_device *dev, struct core_queue *q)
{
    unsigned events = atomic_exchange_explicit(&q->events, 0, memory_order_acquire);

    if ((events & CORE_EVENT_MISS) && dev->transport != NULL && dev->transport->iotlb_miss != NULL)
        dev->transport->iotlb_miss(dev->transport_ctx, q->index, q->miss_addr, q->miss_access);
    if (events & CORE_EVENT_FAULT)
        core_fault(dev, q, q->fault, q->fault_detail);
}

/* ------------------------------------------------------------------ start */

struct area {
    uint64_t addr, len;
    unsigned access;
};

/* The first byte of an area that has no translation, or none with these rights. */
static bool area_gap(const struct vio_map *map, const struct area *a, uint64_t *gap)
{
    struct vio_span cache = VIO_SPAN_NONE;
    uint64_t at = 0;

    while (at < a->len) {
        uint64_t len = a->len - at;

        if (a->addr + at < at || vio_map_at(map, &cache, a->addr + at, &len) == NULL ||
            (cache.access & a->access) != a->access) {
            *gap = a->addr + at;
            return true;
        }
        at += len;
    }
    return false;
}

/* Asks for what the areas of a queue lack. False: nothing is missing, so waiting would not help. */
static bool ask_for_areas(struct vio_device *dev, struct core_queue *q)
{
    const struct vio_map *map = vio_memory_map(dev->memory);
    bool packed = vio_features_has(dev->chosen, VIRTIO_F_RING_PACKED);
    struct vio_queue_layout layout = vio_queue_layout(q->cfg.size, packed);
    const struct area areas[] = {
        { q->cfg.desc, layout.desc_bytes, packed ? VIO_ACCESS_BOTH : VIO_ACCESS_READ },
        { q->cfg.driver, layout.driver_bytes, VIO_ACCESS_READ },
        { q->cfg.device, layout.device_bytes, VIO_ACCESS_WRITE },
    };
    bool asked = false;

    if (!vio_memory_iotlb_enabled(dev->memory) || dev->transport == NULL || dev->transport->iotlb_miss == NULL)
        return false;
    for (size_t i = 0; i < sizeof(areas) / sizeof(areas[0]); i++) {
        uint64_t gap;

        if (!area_gap(map, &areas[i], &gap))
            continue;
        dev->transport->iotlb_miss(dev->transport_ctx, q->index, gap, areas[i].access);
        asked = true;
    }
    return asked;
}

/* A configuration that does not make a queue. */
static int refuse_start(struct vio_device *dev, struct core_queue *q, enum vio_fault fault, uint64_t detail)
{
    q->wanted = false;
    core_fault(dev, q, fault, detail);
    return -EINVAL;
}

static enum vio_fault make_live(struct vio_device *dev, struct core_queue *q, int *error)
{
    struct vio_devq_params params = {
        .cfg = &q->cfg,
        .features = dev->chosen,
        .map = vio_memory_map(dev->memory),
        .inflight = q->inflight,
        .priv_size = dev->type->req_priv_size,
        .find_position = dev->type->no_inflight,
    };
    size_t bytes = vio_devq_bytes(&params);
    /* Mapped, not allocated: zero without being touched, so a large queue costs what is used of it. */
    void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    enum vio_fault fault;

    if (mem == MAP_FAILED) {
        *error = -errno;
        return VIO_FAULT_NONE;
    }
    fault = vio_devq_start(mem, &params, &q->vq);
    if (fault != VIO_FAULT_NONE) {
        munmap(mem, bytes);
        return fault;
    }
    q->mem = mem;
    q->mem_bytes = bytes;
    *error = 0;
    return VIO_FAULT_NONE;
}

static void unmake_live(struct core_queue *q)
{
    vio_devq_stop(q->vq, &q->cfg.state);
    munmap(q->mem, q->mem_bytes);
    q->vq = NULL;
    q->mem = NULL;
    q->memory_parked = false;
    q->parked = 0;
    q->fault_said = false;
    q->missing = false;
    q->abandoned = 0;
    order(q, 0, CORE_ORDER_MAP_CHANGED);
    atomic_store_explicit(&q->events, 0, memory_order_relaxed);
}

/* vio itself could not do it: no fault of the driver's, but the device does not work. */
static int start_failed(struct vio_device *dev, struct core_queue *q, int error)
{
    q->wanted = false;
    vio_log(dev->log, VIO_LOG_ERROR, dev->name, "queue %u does not start: %s", q->index, strerror(-error));
    core_needs_reset(dev, q->index, VIO_FAULT_NONE);
    return error;
}

static int start_if_may(struct vio_device *dev, struct core_queue *q)
{
    unsigned live = dev->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FAILED);
    bool packed = vio_features_has(dev->chosen, VIRTIO_F_RING_PACKED);
    enum vio_fault fault;
    unsigned recovered;
    int ret;

    if (!q->wanted || core_queue_live(q) || live != VIRTIO_STATUS_DRIVER_OK || dev->memory_depth > 0 ||
        dev->transport == NULL)
        return 0;
    if (!vio_queue_size_ok(q->cfg.size, packed))
        return refuse_start(dev, q, VIO_FAULT_QUEUE_SIZE, q->cfg.size);
    if (q->cfg.size > dev->type->queue_size_max) {
        vio_log_peer(dev->log, &dev->limit, dev->name, "queue %u: %u entries, but this device takes at most %u",
                     q->index, q->cfg.size, dev->type->queue_size_max);
        return refuse_start(dev, q, VIO_FAULT_QUEUE_SIZE, q->cfg.size);
    }
    fault = make_live(dev, q, &ret);
    if (fault == VIO_FAULT_QUEUE_ADDR && ask_for_areas(dev, q))
        return 0; /* memory_end tries again */
    if (fault != VIO_FAULT_NONE)
        return refuse_start(dev, q, fault, q->cfg.desc);
    if (ret < 0)
        return start_failed(dev, q, ret);
    recovered = vio_devq_recovered(q->vq);
    ret = attach_owner(dev, q);
    if (ret < 0) {
        unmake_live(q);
        return start_failed(dev, q, ret);
    }
    if (recovered > 0)
        vio_log(dev->log, VIO_LOG_INFO, dev->name, "queue %u: %u requests were in flight when it last stopped; they "
                "are served again", q->index, recovered);
    vio_log(dev->log, VIO_LOG_DEBUG, dev->name, "queue %u runs: %u entries, %s, next available %u", q->index,
            q->cfg.size, packed ? "packed" : "split", q->cfg.state.avail_idx);
    return 0;
}

int core_queues_start(struct vio_device *dev)
{
    int error = 0;

    for (uint16_t i = 0; i < dev->queues; i++) {
        int ret = start_if_may(dev, &dev->queue[i]);

        error = error < 0 ? error : ret;
    }
    return error;
}

int vio_device_queue_start(struct vio_device *dev, uint16_t queue)
{
    struct core_queue *q = core_queue_at(dev, queue);

    if (q == NULL)
        return -EINVAL;
    if (core_queue_live(q))
        return -EBUSY;
    q->cfg.ready = true;
    q->wanted = true;
    q->paused = false;
    return start_if_may(dev, q);
}

/* ------------------------------------------------------------------ stop */

void core_queue_end(struct vio_device *dev, struct core_queue *q, bool drain)
{
    detach_owner(dev, q, drain ? 0 : CORE_ORDER_CANCEL);
    core_queue_events(dev, q);
    if (core_queue_live(q)) /* a transport that hears of a fault may have reset the device */
        unmake_live(q);
}

static void stop(struct vio_device *dev, uint16_t queue, bool drain)
{
    struct core_queue *q = core_queue_at(dev, queue);

    if (q == NULL)
        return;
    q->wanted = false;
    q->paused = false;
    q->cfg.ready = false;
    if (core_queue_live(q))
        core_queue_end(dev, q, drain || q->inflight == NULL);
    q->inflight = NULL;
}

void vio_device_queue_stop(struct vio_device *dev, uint16_t queue)
{
    stop(dev, queue, true);
}

void vio_device_queue_suspend(struct vio_device *dev, uint16_t queue)
{
    stop(dev, queue, false);
}

void vio_device_queue_reset(struct vio_device *dev, uint16_t queue)
{
    struct core_queue *q = core_queue_at(dev, queue);

    if (q == NULL)
        return;
    stop(dev, queue, true);
    core_queue_default(dev, q);
    if (dev->type->queue_reset != NULL)
        dev->type->queue_reset(dev->self, queue);
}

void vio_device_pause(struct vio_device *dev)
{
    for (uint16_t i = 0; i < dev->queues; i++) {
        struct core_queue *q = &dev->queue[i];

        q->paused |= q->wanted;
        q->wanted = false;
        if (core_queue_live(q))
            core_queue_end(dev, q, true);
    }
}

int vio_device_resume(struct vio_device *dev)
{
    for (uint16_t i = 0; i < dev->queues; i++) {
        dev->queue[i].wanted |= dev->queue[i].paused;
        dev->queue[i].paused = false;
    }
    return core_queues_start(dev);
}

/* ------------------------------------------------------------------ changes while it runs */

int vio_device_queue_enable(struct vio_device *dev, uint16_t queue, bool enabled)
{
    struct core_queue *q = core_queue_at(dev, queue);

    if (q == NULL)
        return -EINVAL;
    if (vio_device_queue_enabled(dev, queue) == enabled)
        return 0;
    park(dev, q);
    order(q, enabled ? 0 : CORE_ORDER_DISABLED, enabled ? CORE_ORDER_DISABLED : 0);
    unpark(dev, q); /* serves at least once: what came while it was disabled is found */
    return 0;
}

bool vio_device_queue_enabled(const struct vio_device *dev, uint16_t queue)
{
    return queue < dev->queues &&
           (atomic_load_explicit(&dev->queue[queue].orders, memory_order_relaxed) & CORE_ORDER_DISABLED) == 0;
}

void vio_device_queue_kick_changed(struct vio_device *dev, uint16_t queue)
{
    struct core_queue *q = core_queue_at(dev, queue);

    if (q == NULL)
        return;
    park(dev, q);
    unpark(dev, q);
}

void vio_device_queue_poke(struct vio_device *dev, uint16_t queue)
{
    vio_device_queue_kick_changed(dev, queue); /* an owner serves what was parked */
}

void core_type_control(struct vio_device *dev)
{
    if (dev->type->control == NULL)
        return;
    for (uint16_t i = 0; i < dev->queues; i++)
        park(dev, &dev->queue[i]);
    dev->type->control(dev->self);
    for (uint16_t i = 0; i < dev->queues; i++)
        unpark(dev, &dev->queue[i]);
}

void vio_device_memory_begin(struct vio_device *dev, bool drain)
{
    dev->memory_depth++;
    for (uint16_t i = 0; i < dev->queues; i++) {
        struct core_queue *q = &dev->queue[i];

        if (drain) {
            detach_owner(dev, q, 0);
        } else if (q->attached && !q->memory_parked) {
            q->memory_parked = true;
            park(dev, q);
        }
    }
}

/* Finds the areas of a live queue again. False: it must not run (now). */
static bool areas_again(struct vio_device *dev, struct core_queue *q)
{
    enum vio_fault fault = vio_devq_map_changed(q->vq);

    if (fault == VIO_FAULT_NONE)
        return true;
    if (vio_devq_fault(q->vq) == VIO_FAULT_NONE && ask_for_areas(dev, q))
        return false; /* stays as it is, parked or detached, until the next memory_end */
    vio_devq_break(q->vq, fault, q->cfg.desc);
    return true;
}

void vio_device_memory_end(struct vio_device *dev)
{
    if (dev->memory_depth == 0 || --dev->memory_depth > 0)
        return;
    for (uint16_t i = 0; i < dev->queues; i++) {
        struct core_queue *q = &dev->queue[i];
        int ret;

        if (!core_queue_live(q) || !areas_again(dev, q))
            continue;
        order(q, CORE_ORDER_MAP_CHANGED, 0);
        if (!q->attached) {
            ret = attach_owner(dev, q);
            if (ret < 0) {
                unmake_live(q);
                (void)start_failed(dev, q, ret);
            }
        } else if (q->memory_parked) {
            q->memory_parked = false;
            unpark(dev, q);
        }
    }
    if (core_queues_start(dev) < 0)
        vio_log(dev->log, VIO_LOG_DEBUG, dev->name, "not every queue started after the memory change");
}
