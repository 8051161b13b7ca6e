/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see core_slots.h. Where it sits: driver/core, freestanding. Threads: the control thread, at probe and remove; the
 * owner of the slots. Trust: nothing here is read from what a device writes.
 */
#include <errno.h>
#include "driver/core_internal.h"
#include "driver/core_slots.h"

enum { LINE = 64, SLOTS_BYTES_MAX = 64 << 20, LOOK_AT_STATUS_NS = 100000000 };

int drv_slots_open(struct vio_drvdev *d, struct drv_slots *s, uint32_t nr, uint32_t size)
{
    const struct vio_platform *p = vio_drvdev_platform(d);
    uint64_t bytes = ((uint64_t)size + LINE - 1) / LINE * LINE;

    *s = (struct drv_slots){ .platform = p, .size = (uint32_t)bytes, .nr = nr };
    if (nr == 0 || size == 0 || size > SLOTS_BYTES_MAX || nr > SLOTS_BYTES_MAX / bytes)
        return -ENOMEM;
    s->free = p->alloc(p->ctx, nr * sizeof(s->free[0]));
    if (s->free == NULL)
        return -ENOMEM;
    s->host = p->dma_alloc(p->ctx, (size_t)(nr * bytes), LINE, &s->addr);
    if (s->host == NULL) {
        drv_slots_close(s);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < nr; i++)
        s->free[i] = nr - 1 - i;
    s->nr_free = nr;
    return 0;
}

void drv_slots_close(struct drv_slots *s)
{
    const struct vio_platform *p = s->platform;

    if (s->host != NULL)
        p->dma_free(p->ctx, s->host, (size_t)s->nr * s->size, s->addr);
    if (s->free != NULL)
        p->free(p->ctx, s->free, s->nr * sizeof(s->free[0]));
    *s = (struct drv_slots){ .nr = 0 };
}

uint64_t drv_deadline(const struct vio_drvdev *d, uint64_t ns)
{
    const struct vio_platform *p = vio_drvdev_platform(d);
    uint64_t at = p->now_ns(p->ctx);

    return ns < UINT64_MAX - at ? at + ns : UINT64_MAX;
}

uint64_t drv_time_left(const struct vio_drvdev *d, uint64_t deadline)
{
    const struct vio_platform *p = vio_drvdev_platform(d);
    uint64_t now = p->now_ns(p->ctx);

    return now < deadline ? deadline - now : 0;
}

int drv_wait_any(struct vio_drvdev *d, const uint16_t *queues, unsigned n, uint64_t deadline)
{
    const struct vio_platform *p = vio_drvdev_platform(d);
    uint64_t looked = p->now_ns(p->ctx);
    bool over = false;

    for (;;) {
        uint64_t now;

        for (unsigned i = 0; i < n; i++) {
            int error = vio_drvdev_wait(d, queues[i], 0);

            if (error != -ETIMEDOUT)
                return error;
        }
        /* One more look after the time is over: what came before then has come in time. */
        if (over)
            return -ETIMEDOUT;
        now = p->now_ns(p->ctx);
        over = now >= deadline;
        /* A device that went away uses no buffers any more: now and then it is looked at. */
        if (now - looked >= LOOK_AT_STATUS_NS) {
            looked = now;
            if (!core_sound(d))
                return -EIO;
        }
        if (p->pause != NULL)
            p->pause(p->ctx);
    }
}

bool drv_queue_broken(struct vio_drvdev *d, uint16_t queue)
{
    struct vio_drvq *q = vio_drvdev_queue(d, queue);
    enum vio_fault fault = q != NULL ? vio_drvq_fault(q) : VIO_FAULT_NONE;

    if (fault == VIO_FAULT_NONE)
        return false;
    vio_drvdev_broken(d, vio_fault_name(fault), vio_fault_clause(fault));
    return true;
}
