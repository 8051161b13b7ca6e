/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what a device tells: used buffers, changes, that it needs a reset; and its configuration (virtio 1.4, 2.4, 2.5).
 * Where it sits: driver/core, freestanding. Threads: the control thread; events of a queue are its owner's.
 * Trust: a notification is only a hint to look. Bytes of the configuration are foreign, and read as one or not at all.
 */
#include <errno.h>
#include "driver/core_internal.h"

enum { CONFIG_TRIES = 128, ROUNDS = 16, LOOKS = 64 };

static const uint64_t LOOK_AT_STATUS_NS = UINT64_C(100000000);

/* ------------------------------------------------------------------ configuration */

static int config_range(struct vio_drvdev *d, uint32_t offset, uint32_t len)
{
    if (len == 0 || len > UINT32_MAX - offset)
        return vio_drvdev_fail(d, -EINVAL, "%u bytes of configuration at %u cannot be", len, offset);
    return 0;
}

int vio_drvdev_config_read(struct vio_drvdev *d, uint32_t offset, void *to, uint32_t len)
{
    int error = config_range(d, offset, len);

    for (unsigned i = 0; error == 0 && i < CONFIG_TRIES; i++) {
        uint32_t before = 0, after = 0;

        if (d->ops->generation != NULL)
            error = d->ops->generation(d->t, &before);
        if (error == 0)
            error = d->ops->config_read(d->t, offset, to, len);
        if (error == 0 && d->ops->generation != NULL)
            error = d->ops->generation(d->t, &after);
        if (error != 0)
            return core_transport_failed(d, error, "reading the configuration");
        if (before == after) {
            d->generation = after;
            return 0;
        }
    }
    if (error != 0)
        return error;
    return vio_drvdev_fail(d, -EAGAIN, "its configuration does not stop to change: read %d times (virtio 1.4, 2.5.2)",
                           CONFIG_TRIES);
}

int vio_drvdev_config_write(struct vio_drvdev *d, uint32_t offset, const void *from, uint32_t len)
{
    int error = config_range(d, offset, len);

    if (error != 0)
        return error;
    error = d->ops->config_write(d->t, offset, from, len);
    return error != 0 ? core_transport_failed(d, error, "writing the configuration") : 0;
}

int vio_drvdev_shm(struct vio_drvdev *d, uint8_t id, struct vio_transport_shm *region)
{
    return d->ops->shm != NULL ? d->ops->shm(d->t, id, region) : -ENOENT;
}

/* ------------------------------------------------------------------ events */

/* Whether the device is as it was left: it answers, runs, and does not ask for a reset. */
static bool sound(struct vio_drvdev *d)
{
    uint8_t status = 0;
    int error;

    if (core_broken(d))
        return false;
    error = d->ops->status_get(d->t, &status);
    if (error != 0) {
        core_link_lost(d, error, "status");
        return false;
    }
    if (status == 0xff)
        vio_drvdev_broken(d, "the device is gone: its status reads 0xff", NULL);
    else if ((status & VIRTIO_STATUS_NEEDS_RESET) != 0)
        vio_drvdev_broken(d, "the device has failed and asks for a reset", "virtio 1.4, 2.1.2");
    else if ((status & VIRTIO_STATUS_DRIVER_OK) == 0)
        vio_drvdev_broken(d, "the device has taken back DRIVER_OK by itself", "virtio 1.4, 2.1.2");
    return !core_broken(d);
}

static void changed(struct vio_drvdev *d)
{
    if (d->is == VIO_DRVDEV_RUNS && sound(d) && d->driver->config_changed != NULL)
        d->driver->config_changed(d);
}

static bool used(struct vio_drvdev *d, uint16_t queue)
{
    struct core_queue *q = core_queue_of(d, queue);

    if (q == NULL || q->callback == NULL || core_is_broken(d))
        return false;
    for (unsigned i = 0; i < ROUNDS; i++) {
        vio_drvq_disarm_call(q->drvq);
        q->callback(d, queue);
        if (core_queue_broken(d, q) || !vio_drvq_arm_call(q->drvq))
            return false;
    }
    return true;
}

int vio_drvdev_event_fd(struct vio_drvdev *d, uint16_t queue)
{
    return d->ops->event_fd != NULL ? d->ops->event_fd(d->t, queue) : -1;
}

bool vio_drvdev_event(struct vio_drvdev *d, uint16_t queue)
{
    if (d->ops->event_clear != NULL)
        d->ops->event_clear(d->t, queue);
    if (queue != VIO_EVENT_QUEUE_CONFIG)
        return used(d, queue);
    changed(d);
    return false;
}

/*
 * Whether a queue that is called has used buffers. One that has none may have been emptied by looking, after which nobody has asked
 * for notifications again: it is asked here, for the next buffer would come without one.
 */
static bool called(struct core_queue *q)
{
    return q->drvq != NULL && q->callback != NULL && (vio_drvq_pending(q->drvq) || vio_drvq_arm_call(q->drvq));
}

/* Where no event tells of it: whether the generation has moved. */
static bool generation_moved(struct vio_drvdev *d)
{
    uint32_t generation = 0;

    if (d->ops->generation == NULL || d->ops->generation(d->t, &generation) != 0 || generation == d->generation)
        return false;
    d->generation = generation;
    return true;
}

bool vio_drvdev_interrupt(struct vio_drvdev *d)
{
    unsigned events = VIO_EVENT_QUEUES;
    bool again = false;

    if (d->ops->events != NULL)
        events = d->ops->events(d->t);
    if (core_broken(d) || d->is != VIO_DRVDEV_RUNS)
        return false;
    if (d->ops->events == NULL && sound(d) && generation_moved(d))
        events |= VIO_EVENT_CONFIG;
    for (uint16_t i = 0; (events & VIO_EVENT_QUEUES) != 0 && i < d->nr_queues; i++)
        if (!core_queue_broken(d, &d->queue[i]) && called(&d->queue[i]))
            again |= used(d, i);
    if ((events & VIO_EVENT_CONFIG) != 0)
        changed(d);
    (void)core_broken(d);
    return again;
}

/* ------------------------------------------------------------------ waiting */

static bool any_pending(const struct vio_drvdev *d, const uint16_t *queues, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (vio_drvq_pending(d->queue[queues[i]].drvq))
            return true;
    return false;
}

static bool any_broken(struct vio_drvdev *d, const uint16_t *queues, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (core_queue_broken(d, &d->queue[queues[i]]))
            return true;
    return false;
}

int core_wait(struct vio_drvdev *d, const uint16_t *queues, unsigned n, uint64_t ns)
{
    const struct vio_platform *p = d->platform;
    uint64_t start = p->now_ns(p->ctx), now = start, looked = start;

    for (unsigned i = 0; i < n; i++)
        if (core_queue_of(d, queues[i]) == NULL)
            return -EINVAL;
    for (;;) {
        for (unsigned i = 0; i < LOOKS; i++) {
            if (core_is_broken(d))
                break;
            if (any_pending(d, queues, n))
                return 0;
            if (any_broken(d, queues, n) || ns == 0)
                break;
            if (p->pause != NULL)
                p->pause(p->ctx);
        }
        if (core_broken(d))
            return -EIO;
        now = p->now_ns(p->ctx);
        /* A device that went away uses no buffers any more: now and then it is looked at. */
        if (now - looked >= LOOK_AT_STATUS_NS) {
            looked = now;
            if (!sound(d))
                return -EIO;
        }
        /* One more look after the time is over: what came before then has come in time. */
        if (now - start >= ns)
            return any_pending(d, queues, n) ? 0 : -ETIMEDOUT;
    }
}

int vio_drvdev_wait(struct vio_drvdev *d, uint16_t queue, uint64_t ns)
{
    return core_wait(d, &queue, 1, ns);
}
