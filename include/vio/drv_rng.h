/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of entropy devices (virtio 1.4, 5.4): random bytes, asked for and collected in batches, or by a call
 * that waits. Where it sits: driver/, over driver/core; freestanding.
 * Threads: one owner, which makes all of these calls; the control thread's, where nothing else is said to the core.
 * Trust: the device is hostile: it may send fewer bytes than were asked for, bytes that are not random, or none. Only the
 * bytes that it says it wrote, and that its buffer has, are handed on. Mix them with what else there is.
 */
#ifndef VIO_DRV_RNG_H
#define VIO_DRV_RNG_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum { VIO_DRV_RNG_BOUNCE = 4096 }; /* bytes that the call that waits asks for at once */

struct vio_drv_rng_params {
    uint16_t queue_size; /* 0: 64 */
    /* Used buffers are there, from vio_drvdev_event(). NULL: the queue is polled. */
    void (*used)(void *ctx, struct vio_drvdev *d);
    /* The device was reset: a buffer that never came back. NULL: of no interest. */
    void (*lost)(void *ctx, struct vio_drvdev *d, uint64_t token);
    void *ctx;
};

/* All defaults: polled. */
extern const struct vio_driver vio_driver_rng;

/* The same driver, wanted otherwise: `driver` goes to the bus, and this outlives its devices. */
struct vio_drv_rng_driver {
    struct vio_driver driver;
    struct vio_drv_rng_params params;
};
void vio_drv_rng_driver(struct vio_drv_rng_driver *driver, const struct vio_drv_rng_params *params);

struct vio_drv_rng;

/* NULL: this device is not run by this driver, or does not run. */
struct vio_drv_rng *vio_drv_rng_of(struct vio_drvdev *d);

struct vio_drv_rng_result {
    uint64_t token;
    uint32_t len;  /* random bytes, from the buffer's start; at least one where error is 0 */
    int16_t error; /* -EPROTO: the device gave the buffer back empty (virtio 1.4, 5.4.6.2) */
};

/*
 * One buffer to fill, by its address at the device (vio_platform.dma_alloc, map). Invisible until published.
 * -EINVAL: empty; -EAGAIN: no room before others have come back; -EBUSY: a read that timed out is still out; -EIO: broken.
 */
int vio_drv_rng_put(struct vio_drv_rng *r, const struct vio_buf *buf, uint64_t token) VIO_MUST_CHECK;
void vio_drv_rng_publish(struct vio_drv_rng *r);
/* Filled buffers, at most max. */
unsigned vio_drv_rng_collect(struct vio_drv_rng *r, struct vio_drv_rng_result *results, unsigned max);
unsigned vio_drv_rng_in_flight(const struct vio_drv_rng *r);

/*
 * Waits until all n bytes are there, or `ns` are over: -ETIMEDOUT. -EBUSY: buffers are in flight, or an earlier read that
 * timed out; -EPROTO: the device sent an empty buffer; -EIO: broken. After an error nothing of `to` counts.
 */
int vio_drv_rng_read(struct vio_drv_rng *r, void *to, size_t n, uint64_t ns) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
