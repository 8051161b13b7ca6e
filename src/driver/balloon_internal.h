/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the balloon driver's files share. Where it sits: driver/, private, freestanding. Threads: the owner's.
 */
#ifndef VIO_DRIVER_BALLOON_INTERNAL_H
#define VIO_DRIVER_BALLOON_INTERNAL_H

#include <vio/drv_balloon.h>
#include "driver/core_slots.h"
#include "spec/balloon.h"

enum { DRV_BALLOON_QUEUES = 5, DRV_BALLOON_NO_QUEUE = 0xffff };

struct vio_drv_balloon {
    struct vio_drvdev *d;
    const struct vio_drv_balloon_params *params;
    uint16_t queue[DRV_BALLOON_QUEUES]; /* by the specification's numbers: where it is; DRV_BALLOON_NO_QUEUE: nowhere */
    struct drv_slots pages;   /* one: page numbers on their way, or a command of hinting */
    struct drv_slots stats;   /* one, always at the device */
    uint32_t target, hint_id; /* as the configuration said last */
    uint32_t actual;
    uint32_t telling;         /* pages in the buffer that is out */
    uint16_t out;             /* whose buffer that is, by the specification's numbers; DRV_BALLOON_NO_QUEUE: none */
};

#endif
