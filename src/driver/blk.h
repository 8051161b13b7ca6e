/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of a block device's queue (virtio 1.4, 5.2.6): requests in, results out, in batches.
 * Where it sits: driver/, over vio_drvq; freestanding; no call allocates, blocks or notifies.
 * Threads: one owner, the queue's. Trust: the device is hostile: a status that was not written reads as an error, and which
 * request is done is known from the queue's own record alone.
 */
#ifndef VIO_DRIVER_BLK_H
#define VIO_DRIVER_BLK_H

#include <vio/drv_blk.h>

/* Bytes of shared memory that each request in flight takes beside its data: one cache line, its own. */
enum { VIO_DRVBLK_SLOT = 64 };

struct vio_drvblk;

struct vio_drvblk_params {
    struct vio_drvq *queue; /* borrowed; nothing else puts into it or collects from it */
    void *slots;            /* depth * VIO_DRVBLK_SLOT bytes of shared memory, 64-byte aligned... */
    uint64_t slots_addr;    /* ...and where the device sees them */
    uint32_t depth;         /* requests in flight at most, 1 to 65536 */
    uint32_t size_max;      /* bytes of one piece: longer ones are cut; 0: no limit */
};

/* Private memory a client of this depth needs, 64-byte aligned. */
size_t vio_drvblk_bytes(uint32_t depth);
/* -EINVAL: no depth, or slots that are not aligned. mem belongs to the client until it is forgotten. */
int vio_drvblk_init(void *mem, const struct vio_drvblk_params *params, struct vio_drvblk **out) VIO_MUST_CHECK;

/*
 * Puts up to n requests into the queue; how many is returned. Fewer: no slot or no descriptor is free, an op is
 * malformed (more pieces than PIECES_MAX, a type that takes no data with data), or the queue is broken.
 */
unsigned vio_drvblk_put(struct vio_drvblk *c, const struct vio_drvblk_op *ops, unsigned n) VIO_MUST_CHECK;
/* Shows the device all that was put; true: it wants an available buffer notification. */
bool vio_drvblk_publish(struct vio_drvblk *c) VIO_MUST_CHECK;
/* Finished requests, at most max. Fewer than are in flight for ever: see vio_drvq_fault(). */
unsigned vio_drvblk_collect(struct vio_drvblk *c, struct vio_drvblk_result *results, unsigned max);
/* After the device is gone or reset: the token of a request that never came back; false: there is none. */
bool vio_drvblk_detach(struct vio_drvblk *c, uint64_t *token);
uint32_t vio_drvblk_in_flight(const struct vio_drvblk *c);
/* Nothing is in flight any more, and the queue was made anew. */
void vio_drvblk_queue(struct vio_drvblk *c, struct vio_drvq *queue);
/* The caller's token of a request that `vio_drvq_detach` named; its slot is free again. */
uint64_t vio_drvblk_lost(struct vio_drvblk *c, uint64_t drvq_token);

#endif
