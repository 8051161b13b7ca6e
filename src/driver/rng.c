/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of entropy devices (virtio 1.4, 5.4). Where it sits: driver/, over driver/core; freestanding.
 * Threads: see vio/drv_rng.h. Trust: a length comes from the ring, which has checked it against the buffer; bytes are copied
 * once, after their buffer came back.
 */
#include <errno.h>
#include <string.h>
#include <vio/drv_rng.h>
#include "driver/core_slots.h"
#include "spec/virtio.h"

enum { REQUESTQ = 0, QUEUE_SIZE = 64 };

struct vio_drv_rng {
    struct vio_drvdev *d;
    const struct vio_drv_rng_params *params;
    struct drv_slots bounce; /* one */
    bool late;               /* a read gave up: the bounce buffer is still in flight */
};

static const struct vio_drv_rng_params defaults = { .queue_size = 0 };

/* ------------------------------------------------------------------ buffers */

static struct vio_drvq *queue_of(const struct vio_drv_rng *r)
{
    return vio_drvdev_queue(r->d, REQUESTQ);
}

/* The one buffer in flight while `late`: only a read waits alone. -EIO: broken. */
static int reap_late(struct vio_drv_rng *r)
{
    struct vio_done done;

    if (r->late && drv_collect(r->d, REQUESTQ, &done))
        r->late = false;
    return drv_queue_broken(r->d, REQUESTQ) || vio_drvdev_status(r->d) != VIO_DRVDEV_RUNS ? -EIO : 0;
}

int vio_drv_rng_put(struct vio_drv_rng *r, const struct vio_buf *buf, uint64_t token)
{
    int error = reap_late(r);

    if (error != 0)
        return error;
    if (r->late)
        return -EBUSY;
    error = vio_drvq_put(queue_of(r), buf, 0, 1, token);
    return error == -ENOSPC ? -EAGAIN : error;
}

void vio_drv_rng_publish(struct vio_drv_rng *r)
{
    vio_drvdev_publish(r->d, REQUESTQ);
}

unsigned vio_drv_rng_collect(struct vio_drv_rng *r, struct vio_drv_rng_result *results, unsigned max)
{
    unsigned got = 0;
    struct vio_done done;

    (void)reap_late(r);
    while (!r->late && got < max && drv_collect(r->d, REQUESTQ, &done))
        results[got++] = (struct vio_drv_rng_result){
            .token = done.token,
            .len = done.len,
            .error = done.len > 0 ? 0 : -EPROTO,
        };
    (void)drv_queue_broken(r->d, REQUESTQ);
    return got;
}

unsigned vio_drv_rng_in_flight(const struct vio_drv_rng *r)
{
    return r->late || queue_of(r) == NULL ? 0 : vio_drvq_in_flight(queue_of(r));
}

/* ------------------------------------------------------------------ the call that waits */

/* One buffer there and back: bytes that came, or -errno. */
static int ask(struct vio_drv_rng *r, uint32_t bytes, uint64_t ns)
{
    struct vio_buf buf = { r->bounce.addr, bytes };
    struct vio_done done;
    int error = vio_drvq_put(queue_of(r), &buf, 0, 1, 0);

    if (error != 0)
        return error;
    r->late = true;
    vio_drvdev_publish(r->d, REQUESTQ);
    error = vio_drvdev_wait(r->d, REQUESTQ, ns);
    if (error != 0)
        return error;
    if (vio_drvq_collect(queue_of(r), &done, 1) != 1) {
        (void)drv_queue_broken(r->d, REQUESTQ);
        return -EIO;
    }
    r->late = false;
    return done.len > 0 ? (int)done.len : -EPROTO;
}

int vio_drv_rng_read(struct vio_drv_rng *r, void *to, size_t n, uint64_t ns)
{
    uint64_t deadline = drv_deadline(r->d, ns);
    uint8_t *at = to;
    int error = reap_late(r);

    if (error != 0)
        return error;
    if (vio_drvq_in_flight(queue_of(r)) > 0)
        return -EBUSY;
    while (n > 0) {
        uint32_t most = (uint32_t)vio_min_u64(n, VIO_DRV_RNG_BOUNCE);
        int got = ask(r, most, drv_time_left(r->d, deadline));

        if (got < 0)
            return got;
        memcpy(at, r->bounce.host, (size_t)got);
        /* What was handed out once is not left where a device, or the next reader, finds it. */
        memset(r->bounce.host, 0, (size_t)got);
        at += got;
        n -= (size_t)got;
    }
    return 0;
}

/* ------------------------------------------------------------------ from probe to remove */

static void used(struct vio_drvdev *d, uint16_t queue)
{
    struct vio_drv_rng *r = vio_drvdev_state(d);

    (void)queue;
    r->params->used(r->params->ctx, d);
}

static int probe(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);
    struct vio_drv_rng *r = vio_drvdev_state(d);
    struct vio_drvdev_queue_plan plan = { .queue = REQUESTQ };
    int error;

    r->d = d;
    /* Ours, or the one that a struct vio_drv_rng_driver begins with. */
    r->params = driver == &vio_driver_rng ? &defaults : &((const struct vio_drv_rng_driver *)(const void *)driver)->params;
    plan.size = r->params->queue_size != 0 ? r->params->queue_size : QUEUE_SIZE;
    plan.polled = r->params->used == NULL;
    plan.callback = r->params->used != NULL ? used : NULL;
    error = vio_drvdev_queues(d, &plan, 1);
    if (error != 0)
        return error;
    error = drv_slots_open(d, &r->bounce, 1, VIO_DRV_RNG_BOUNCE);
    if (error != 0)
        return vio_drvdev_fail(d, error, "no memory for %u bytes of entropy", (unsigned)VIO_DRV_RNG_BOUNCE);
    return 0;
}

static void remove_(struct vio_drvdev *d)
{
    struct vio_drv_rng *r = vio_drvdev_state(d);
    struct vio_drvq *q = vio_drvdev_queue(d, REQUESTQ);
    uint64_t token;

    while (q != NULL && vio_drvq_detach(q, &token))
        if (!r->late && r->params->lost != NULL)
            r->params->lost(r->params->ctx, d, token);
    drv_slots_close(&r->bounce);
}

static const uint32_t types[] = { VIRTIO_ID_ENTROPY, 0 };

const struct vio_driver vio_driver_rng = {
    .name = "rng",
    .types = types,
    .features = { { VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_IN_ORDER), 0 } },
    .state_size = sizeof(struct vio_drv_rng),
    .probe = probe,
    .remove = remove_,
};

void vio_drv_rng_driver(struct vio_drv_rng_driver *driver, const struct vio_drv_rng_params *params)
{
    driver->driver = vio_driver_rng;
    driver->params = *params;
}

struct vio_drv_rng *vio_drv_rng_of(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    if (driver == NULL || driver->probe != probe || vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        return NULL;
    return vio_drvdev_state(d);
}
