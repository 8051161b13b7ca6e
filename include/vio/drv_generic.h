/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of any device: the caller says which features and queues it wants, and works on the queues by
 * vio_drvdev_queue() itself. For probes, load generators, and devices that have no driver here.
 * Where it sits: driver/, over driver/core; freestanding.
 * Threads: as the core's. Trust: what a device of this type may do wrong on its queues' payload is the caller's to check.
 */
#ifndef VIO_DRV_GENERIC_H
#define VIO_DRV_GENERIC_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum { VIO_DRV_GENERIC_QUEUES_MAX = 64 }; /* of those that are planned without being asked for */

struct vio_drv_generic_params {
    struct vio_features features; /* wanted where they are offered, beside the core's own */
    struct vio_features needs;    /* of these, without which nothing works */
    const struct vio_drvdev_queue_plan *plans; /* NULL: every queue that the device has, to QUEUES_MAX, polled */
    unsigned nr_plans;
    uint16_t queue_size; /* of the queues that are planned without being asked for; 0: 256 */
    /* Features are agreed: other plans than those above, after a look at the configuration; 0, or -errno. NULL: those above. */
    int (*plan)(void *ctx, struct vio_drvdev *d, const struct vio_drvdev_queue_plan **plans, unsigned *n);
    /* The device runs: first buffers may go out. NULL: nothing to do. */
    int (*runs)(void *ctx, struct vio_drvdev *d);
    void (*changed)(void *ctx, struct vio_drvdev *d); /* its configuration; NULL: of no interest */
    /* The device was reset: a buffer that never came back. NULL: of no interest. */
    void (*lost)(void *ctx, struct vio_drvdev *d, uint16_t queue, uint64_t token);
    void *ctx;
};

/* The same driver as vio_driver_generic, wanted in this way: `driver` goes to the bus, and this outlives its devices. */
struct vio_drv_generic_driver {
    struct vio_driver driver;
    struct vio_drv_generic_params params;
};
void vio_drv_generic_driver(struct vio_drv_generic_driver *driver, const struct vio_drv_generic_params *params);

VIO_PUBLIC_END

#endif
