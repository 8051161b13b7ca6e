/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the drivers of small devices share: a row of equal pieces of memory that the device reaches, handed out and
 * taken back without a search, and the time that a call which waits has left.
 * Where it sits: driver/core, private, freestanding. Threads: its owner's.
 * Trust: which slots are out is private; the device writes only into the slots' bytes, which are read once by whoever uses
 * them. A token that comes back from a queue was put there by the driver and names a slot of its own.
 */
#ifndef VIO_DRIVER_CORE_SLOTS_H
#define VIO_DRIVER_CORE_SLOTS_H

#include <vio/driver.h>

struct drv_slots {
    const struct vio_platform *platform;
    uint8_t *host;
    uint64_t addr;
    uint32_t *free; /* a stack: the slot that came back last is still in the cache */
    uint32_t size;  /* bytes of one, a multiple of 64 */
    uint32_t nr, nr_free;
};

enum { DRV_SLOT_NONE = 0xffffffff };

/* nr slots of at least `size` bytes; zeroed. -ENOMEM: then close() has nothing to do, and may be called all the same. */
int drv_slots_open(struct vio_drvdev *d, struct drv_slots *s, uint32_t nr, uint32_t size) VIO_MUST_CHECK;
void drv_slots_close(struct drv_slots *s);

/* DRV_SLOT_NONE: all are out. */
static inline uint32_t drv_slots_take(struct drv_slots *s)
{
    return s->nr_free > 0 ? s->free[--s->nr_free] : DRV_SLOT_NONE;
}

static inline void drv_slots_give(struct drv_slots *s, uint32_t slot)
{
    s->free[s->nr_free++] = slot;
}

static inline uint8_t *drv_slots_host(const struct drv_slots *s, uint32_t slot)
{
    return s->host + (size_t)slot * s->size;
}

static inline uint64_t drv_slots_addr(const struct drv_slots *s, uint32_t slot)
{
    return s->addr + (uint64_t)slot * s->size;
}

/* The next used buffer; false also where the queue is not there (a device that neither runs nor lets itself be reset). */
static inline bool drv_collect(struct vio_drvdev *d, uint16_t queue, struct vio_done *done)
{
    struct vio_drvq *q = vio_drvdev_queue(d, queue);

    return q != NULL && vio_drvq_collect(q, done, 1) == 1;
}

/* For calls that wait: when they give up, and how many nanoseconds are left until then; 0: none. */
uint64_t drv_deadline(const struct vio_drvdev *d, uint64_t ns);
uint64_t drv_time_left(const struct vio_drvdev *d, uint64_t deadline);

/*
 * Waits by looking until one of these queues has used buffers (0), the device breaks (-EIO) or the deadline is over
 * (-ETIMEDOUT). The caller has looked at the queues itself before: after the deadline that look was the last.
 */
int drv_wait_any(struct vio_drvdev *d, const uint16_t *queues, unsigned n, uint64_t deadline) VIO_MUST_CHECK;

/* Breaks the device for the fault that its queue has found; false: the queue is sound. */
bool drv_queue_broken(struct vio_drvdev *d, uint16_t queue);

#endif
