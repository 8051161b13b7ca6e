/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of any device; see vio/drv_generic.h. Where it sits: driver/, freestanding. Threads: the control
 * thread. Trust: how many queues there are is the device's word, and taken to a limit.
 */
#include <errno.h>
#include <vio/drv_generic.h>
#include "spec/virtio.h"

struct generic {
    const struct vio_drv_generic_params *params;
};

static const struct vio_drv_generic_params defaults = { .queue_size = 0 };

static int plan_all(struct vio_drvdev *d, const struct vio_drv_generic_params *params)
{
    struct vio_drvdev_queue_plan plans[VIO_DRV_GENERIC_QUEUES_MAX];
    unsigned n = 0;

    for (uint16_t i = 0; i < VIO_DRV_GENERIC_QUEUES_MAX && vio_drvdev_queue_max(d, i) != 0; i++)
        plans[n++] = (struct vio_drvdev_queue_plan){ .queue = i, .size = params->queue_size, .polled = true };
    if (n == 0)
        return vio_drvdev_fail(d, -ENOENT, "the device has no queue");
    return vio_drvdev_queues(d, plans, n);
}

static int probe(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);
    struct generic *g = vio_drvdev_state(d);
    const struct vio_drvdev_queue_plan *plans;
    unsigned n;
    int error = 0;

    /* Ours, or the one that a struct vio_drv_generic_driver begins with. */
    g->params = driver == &vio_driver_generic ?
                    &defaults : &((const struct vio_drv_generic_driver *)(const void *)driver)->params;
    plans = g->params->plans;
    n = g->params->nr_plans;
    if (g->params->plan != NULL)
        error = g->params->plan(g->params->ctx, d, &plans, &n);
    if (error != 0)
        return error;
    return plans != NULL ? vio_drvdev_queues(d, plans, n) : plan_all(d, g->params);
}

static int scan(struct vio_drvdev *d)
{
    const struct generic *g = vio_drvdev_state(d);

    return g->params->runs != NULL ? g->params->runs(g->params->ctx, d) : 0;
}

static void remove_(struct vio_drvdev *d)
{
    const struct generic *g = vio_drvdev_state(d);
    uint64_t token;

    for (uint16_t i = 0; g->params->lost != NULL && i < VIO_DRV_QUEUES_MAX; i++) {
        struct vio_drvq *q = vio_drvdev_queue(d, i);

        while (q != NULL && vio_drvq_detach(q, &token))
            g->params->lost(g->params->ctx, d, i, token);
    }
}

static void config_changed(struct vio_drvdev *d)
{
    const struct generic *g = vio_drvdev_state(d);

    if (g->params->changed != NULL)
        g->params->changed(g->params->ctx, d);
}

const struct vio_driver vio_driver_generic = {
    .name = "generic",
    .features = { { VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_RING_PACKED), 0 } },
    .state_size = sizeof(struct generic),
    .probe = probe,
    .scan = scan,
    .remove = remove_,
    .config_changed = config_changed,
};

void vio_drv_generic_driver(struct vio_drv_generic_driver *driver, const struct vio_drv_generic_params *params)
{
    driver->driver = vio_driver_generic;
    driver->driver.features = params->features;
    driver->driver.needs = params->needs;
    driver->params = *params;
}
