/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the block driver's files share. Where it sits: driver/, private, freestanding.
 * Threads: each struct drv_blk_queue is its owner's; `capacity` and `writeback` are read by all and written by the control
 * thread, as whole words; the rest is fixed from probe to remove.
 */
#ifndef VIO_DRIVER_BLK_INTERNAL_H
#define VIO_DRIVER_BLK_INTERNAL_H

#include "driver/blk.h"
#include "spec/blk.h"

struct drv_blk_queue {
    struct vio_drvblk *client;
    void *mem;        /* of the client */
    size_t mem_bytes;
    void *slots;
    size_t slots_bytes;
    uint64_t slots_addr;
    uint32_t depth;
};

struct vio_drv_blk {
    struct vio_drvdev *d;
    const struct vio_drv_blk_params *params;
    struct vio_drv_blk_info info; /* capacity and writeback: see above */
    uint64_t capacity;
    bool writeback;
    struct drv_blk_queue *queue;
    size_t queue_bytes;
    uint8_t *bounce;
    size_t bounce_bytes;
    uint64_t bounce_addr;
    bool late; /* a call that waited gave up: its request is still in flight on queue 0 */
};

/* blk_driver.c: what the device takes at most of a kind of request for a range; NULL: a type that is none. */
const struct vio_drv_blk_range *drv_blk_range_limits(const struct vio_drv_blk *b, uint32_t type);

/* blk_config.c: what the device says, checked; -errno: said in the device's why. */
int drv_blk_configure(struct vio_drv_blk *b);
/* The parts that may change. */
void drv_blk_reconfigure(struct vio_drv_blk *b);

#endif
