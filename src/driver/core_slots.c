/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see core_slots.h. Where it sits: driver/core, freestanding. Threads: the control thread, at probe and remove; the
 * owner of the slots. Trust: nothing here is read from what a device writes.
 */
#include <errno.h>
#include "driver/core_internal.h"
#include "driver/core_slots.h"

enum { LINE = 64, SLOTS_BYTES_MAX = 64 << 20 };

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
    uint64_t left = drv_time_left(d, deadline);

    /* The caller has just taken all there was: a device that always has more does not keep it here. */
    if (left == 0 && !core_is_broken(d))
        return -ETIMEDOUT;
    return core_wait(d, queues, n, left);
}

bool drv_queue_broken(struct vio_drvdev *d, uint16_t queue)
{
    const struct core_queue *q = core_queue_of(d, queue);

    return q != NULL && core_queue_broken(d, q);
}
