/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the in-flight record of vhost-user (INFLIGHT_SHMFD): which buffers a device has taken and not yet used,
 * kept in memory that outlives the device, so that a crash loses nothing and does nothing twice.
 * Where it sits: ring/. The queue calls it; the transport only makes and gives the memory.
 * Trust: on recovery the record is compared with the ring; where they contradict, the queue does not start.
 */
#ifndef VIO_RING_INFLIGHT_H
#define VIO_RING_INFLIGHT_H

#include <vio/fault.h>
#include <vio/types.h>

/* One queue's part of the region. Private members; borrowed by a running queue. */
struct vio_inflight {
    volatile uint8_t *p_; /* header, then entries, in shared memory */
    uint16_t size;        /* entries */
    bool packed;
    bool recover;         /* the record is from an earlier owner: the next start works through it */
    uint64_t counter_;    /* next submission number */
};

/* Bytes for one queue, a multiple of 64; queues stand one after another in the region. */
size_t vio_inflight_bytes(uint16_t queue_size, bool packed);
/*
 * `at` names vio_inflight_bytes() bytes, 64-byte aligned. fresh: the bytes are zero and become an empty record;
 * else what is there is kept and will be recovered by the next vio_devq_start().
 */
void vio_inflight_init(struct vio_inflight *f, void *at, uint16_t queue_size, bool packed, bool fresh);

#endif
