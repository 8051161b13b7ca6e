/* SPDX-License-Identifier: MIT */
/*
 * Purpose: queues as their owners see them: entered, served, slept on, left. The hot path runs through here, once
 * a batch. Where it sits: device/core. Threads: the owner thread of the queue, between attach and detach.
 * What an owner finds (a fault, a missing translation) is left for the control thread, which is woken.
 */
#include "device/core_internal.h"

#include <string.h>
#include <sys/uio.h>

int vio_device_queue_enter(struct vio_device *dev, uint16_t queue)
{
    struct core_queue *q = &dev->queue[queue];
    int ret = dev->type->queue_enter != NULL ? dev->type->queue_enter(dev->self, queue, q->vq) : 0;

    if (ret < 0)
        return ret;
    /* What was entered with is the present map. */
    atomic_fetch_and_explicit(&q->orders, ~(unsigned)CORE_ORDER_MAP_CHANGED, memory_order_relaxed);
    q->iommu = vio_memory_iotlb_enabled(dev->memory);
    q->entered = true;
    return 0;
}

void vio_device_queue_leave(struct vio_device *dev, uint16_t queue)
{
    struct core_queue *q = &dev->queue[queue];

    if (!q->entered)
        return;
    if (dev->type->queue_leave != NULL)
        dev->type->queue_leave(dev->self, queue);
    q->entered = false;
}

/* What the control thread wants; the budget that remains. */
static unsigned obey(struct vio_device *dev, struct core_queue *q, unsigned orders, unsigned budget)
{
    if (orders & CORE_ORDER_MAP_CHANGED) {
        atomic_fetch_and_explicit(&q->orders, ~(unsigned)CORE_ORDER_MAP_CHANGED, memory_order_acquire);
        q->missing = false;
        q->iommu = vio_memory_iotlb_enabled(dev->memory);
        if (dev->type->queue_map_changed != NULL)
            dev->type->queue_map_changed(dev->self, q->index);
    }
    if (orders & CORE_ORDER_CANCEL) {
        atomic_fetch_and_explicit(&q->orders, ~(unsigned)CORE_ORDER_CANCEL, memory_order_acquire);
        if (dev->type->queue_cancel != NULL)
            dev->type->queue_cancel(dev->self, q->index);
    }
    return (orders & (CORE_ORDER_DISABLED | CORE_ORDER_HOLD)) || q->missing ? 0 : budget;
}

static void wake_control(struct vio_device *dev)
{
    if (dev->host != NULL) {
        if (dev->host->wake != NULL)
            dev->host->wake(dev->host_ctx, dev);
    } else if (dev->serving > 0) {
        dev->told = true; /* when the device is left: a transport that hears of it may reset, and end the queues */
    } else if (!dev->draining) {
        vio_device_control(dev); /* the control thread is this one */
    }
}

static void tell(struct vio_device *dev, struct core_queue *q, unsigned event)
{
    atomic_fetch_or_explicit(&q->events, event, memory_order_release);
    wake_control(dev);
}

void vio_device_ask(struct vio_device *dev)
{
    atomic_store_explicit(&dev->asked, true, memory_order_release);
    wake_control(dev);
}

/* Without a host, around what may find something in the middle of a queue's service. */
static void enter_service(struct vio_device *dev)
{
    if (dev->host == NULL)
        dev->serving++;
}

static void leave_service(struct vio_device *dev)
{
    if (dev->host != NULL || --dev->serving > 0 || !dev->told)
        return;
    dev->told = false;
    if (!dev->draining)
        vio_device_control(dev);
}

static void report_fault(struct vio_device *dev, struct core_queue *q)
{
    if (q->fault_said)
        return;
    q->fault_said = true;
    q->fault = vio_devq_fault(q->vq);
    q->fault_detail = vio_devq_fault_detail(q->vq);
    tell(dev, q, CORE_EVENT_FAULT);
}

static void report_miss(struct vio_device *dev, struct core_queue *q)
{
    uint64_t addr;
    unsigned access;

    if (q->missing || !vio_devq_miss(q->vq, &addr, &access))
        return;
    q->missing = true; /* until the map changes */
    q->miss_addr = addr;
    q->miss_access = access;
    tell(dev, q, CORE_EVENT_MISS);
}

static inline void report(struct vio_device *dev, struct core_queue *q)
{
    if (__builtin_expect(vio_devq_fault(q->vq) != VIO_FAULT_NONE, 0))
        report_fault(dev, q);
    else if (__builtin_expect(q->iommu, 0))
        report_miss(dev, q);
}

unsigned vio_device_queue_service(struct vio_device *dev, uint16_t queue, unsigned budget)
{
    struct core_queue *q = &dev->queue[queue];
    unsigned orders = atomic_load_explicit(&q->orders, memory_order_acquire);
    unsigned done;

    if (__builtin_expect(!q->entered, 0))
        return 0;
    if (__builtin_expect(orders != 0 || q->missing, 0))
        budget = obey(dev, q, orders, budget);
    enter_service(dev);
    done = dev->type->service(dev->self, queue, budget);
    core_count(&q->services, 1);
    if (done == 0)
        core_count(&q->idle, 1);
    report(dev, q);
    /* Last: with no host, this may end in a reset and take the queue away. */
    leave_service(dev);
    return done;
}

void vio_device_queue_report(struct vio_device *dev, uint16_t queue)
{
    if (dev->queue[queue].entered)
        report(dev, &dev->queue[queue]);
}

void vio_device_queue_parked(struct vio_device *dev, uint16_t queue, bool parked)
{
    if (dev->type->queue_parked != NULL)
        dev->type->queue_parked(dev->self, queue, parked);
}

static bool takes(const struct core_queue *q)
{
    unsigned orders = atomic_load_explicit(&q->orders, memory_order_relaxed);

    return (orders & (CORE_ORDER_DISABLED | CORE_ORDER_HOLD)) == 0 && !q->missing &&
           vio_devq_fault(q->vq) == VIO_FAULT_NONE;
}

bool vio_device_queue_takes(const struct vio_device *dev, uint16_t queue)
{
    const struct core_queue *q = &dev->queue[queue];

    return q->entered && takes(q);
}

/* Whether a notification of the driver's could mean anything now. */
static bool wants_kick(struct vio_device *dev, const struct core_queue *q)
{
    return takes(q) && (dev->type->queue_wants_kick == NULL || dev->type->queue_wants_kick(dev->self, q->index));
}

bool vio_device_queue_arm(struct vio_device *dev, uint16_t queue)
{
    struct core_queue *q = &dev->queue[queue];
    unsigned orders = atomic_load_explicit(&q->orders, memory_order_acquire);

    if (!q->entered)
        return false;
    if (orders & (CORE_ORDER_MAP_CHANGED | CORE_ORDER_CANCEL))
        return true;
    if (wants_kick(dev, q) && vio_devq_arm_kick(q->vq))
        return true;
    if (dev->type->queue_arm != NULL && dev->type->queue_arm(dev->self, queue, true)) {
        vio_device_queue_disarm(dev, queue);
        return true;
    }
    return false;
}

void vio_device_queue_disarm(struct vio_device *dev, uint16_t queue)
{
    struct core_queue *q = &dev->queue[queue];

    if (!q->entered)
        return;
    if (takes(q))
        vio_devq_disarm_kick(q->vq);
    if (dev->type->queue_arm != NULL)
        (void)dev->type->queue_arm(dev->self, queue, false);
}

unsigned vio_device_queue_in_flight(const struct vio_device *dev, uint16_t queue)
{
    const struct core_queue *q = &dev->queue[queue];

    return q->entered ? vio_devq_in_flight(q->vq) - q->abandoned : 0;
}

int vio_device_queue_kick_fd(struct vio_device *dev, uint16_t queue)
{
    if (dev->transport == NULL || dev->transport->kick_fd == NULL)
        return -1;
    return dev->transport->kick_fd(dev->transport_ctx, queue);
}

void vio_device_queue_kick_drain(struct vio_device *dev, uint16_t queue)
{
    int fd = vio_device_queue_kick_fd(dev, queue);
    uint64_t count;
    struct iovec to = { .iov_base = &count, .iov_len = sizeof(count) };

    /*
     * Nothing there (somebody else read it) is fine: the queue is looked at either way. NOWAIT, because the front-end
     * shares the descriptor: it may make it blocking, and read it first.
     */
    if (fd >= 0 && preadv2(fd, &to, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(count))
        core_count(&dev->queue[queue].kicks, 1);
}

int vio_device_queue_backend_fd(struct vio_device *dev, uint16_t queue)
{
    const struct core_queue *q = &dev->queue[queue];

    return q->entered && dev->type->queue_fd != NULL ? dev->type->queue_fd(dev->self, queue) : -1;
}

/* ------------------------------------------------------------------ for device types */

struct vio_devq *vio_device_queue(struct vio_device *dev, uint16_t queue)
{
    return queue < dev->queues ? dev->queue[queue].vq : NULL;
}

bool vio_device_publish_quietly(struct vio_device *dev, uint16_t queue, unsigned n)
{
    struct core_queue *q = &dev->queue[queue];

    core_count(&q->buffers, n);
    core_count(&q->publishes, 1);
    return vio_devq_publish(q->vq);
}

void vio_device_call(struct vio_device *dev, uint16_t queue)
{
    core_count(&dev->queue[queue].calls, 1);
    dev->transport->used(dev->transport_ctx, queue);
}

void vio_device_publish(struct vio_device *dev, uint16_t queue, unsigned n)
{
    if (vio_device_publish_quietly(dev, queue, n))
        vio_device_call(dev, queue);
}

void vio_device_abandon(struct vio_device *dev, uint16_t queue, struct vio_req *req)
{
    (void)req;
    dev->queue[queue].abandoned++;
}

void vio_device_queue_counters(const struct vio_device *dev, uint16_t queue, struct vio_queue_counters *out)
{
    const struct core_queue *q = &dev->queue[queue];

    memset(out, 0, sizeof(*out));
    if (queue >= dev->queues)
        return;
    out->buffers = atomic_load_explicit(&q->buffers, memory_order_relaxed);
    out->publishes = atomic_load_explicit(&q->publishes, memory_order_relaxed);
    out->calls = atomic_load_explicit(&q->calls, memory_order_relaxed);
    out->services = atomic_load_explicit(&q->services, memory_order_relaxed);
    out->idle = atomic_load_explicit(&q->idle, memory_order_relaxed);
    out->kicks = atomic_load_explicit(&q->kicks, memory_order_relaxed);
    out->faults = atomic_load_explicit(&q->faults, memory_order_relaxed);
}
