/* SPDX-License-Identifier: MIT */
/*
 * Purpose: everything a peer can do wrong on a queue, one value per cause, each naming its clause.
 * Where it sits: ring/ (shared by both sides). Builds freestanding. A fault is data, not an errno:
 * it breaks the queue, sets DEVICE_NEEDS_RESET (device side), is counted and said once.
 */
#ifndef VIO_FAULT_H
#define VIO_FAULT_H

#include <vio/types.h>

VIO_PUBLIC_BEGIN

enum vio_fault {
    VIO_FAULT_NONE = 0,
    /* the driver's faults, seen by the device */
    VIO_FAULT_AVAIL_IDX,         /* more buffers available than the queue holds */
    VIO_FAULT_AVAIL_HEAD,        /* available ring names a descriptor past the table */
    VIO_FAULT_HEAD_IN_FLIGHT,    /* a descriptor made available again before it was used */
    VIO_FAULT_DESC_NEXT,         /* next past the table */
    VIO_FAULT_CHAIN_LOOP,        /* more descriptors than the queue (or the table) has: loop or too long */
    VIO_FAULT_CHAIN_BYTES,       /* more than 2^32 bytes in one chain */
    VIO_FAULT_CHAIN_ORDER,       /* device-readable after device-writable */
    VIO_FAULT_CHAIN_SEGMENTS,    /* more separate pieces than vio keeps for one chain (named cap) */
    VIO_FAULT_DESC_ZERO_LEN,     /* a descriptor of no bytes */
    VIO_FAULT_DESC_ADDR,         /* address range not in memory, or wrapping */
    VIO_FAULT_DESC_ACCESS,       /* the IOMMU mapping forbids this access */
    VIO_FAULT_INDIRECT_UNNEGOTIATED,
    VIO_FAULT_INDIRECT_NESTED,
    VIO_FAULT_INDIRECT_NEXT,     /* INDIRECT and NEXT together */
    VIO_FAULT_INDIRECT_LEN,      /* table length 0 or not a multiple of 16 */
    VIO_FAULT_PACKED_MIXED,      /* packed: indirect descriptor inside a direct chain */
    VIO_FAULT_PACKED_WRAP,       /* packed: a chain whose later descriptors were not made available */
    VIO_FAULT_PACKED_OVERRUN,    /* packed: more descriptors available than the ring holds */
    VIO_FAULT_NOTIFY_DATA,       /* notification data names another queue or position */
    VIO_FAULT_REQ_SHORT,         /* device: readable part shorter than the request's header */
    VIO_FAULT_REQ_NO_STATUS,     /* device: no writable byte for the answer */
    /* the device's faults, seen by the driver */
    VIO_FAULT_USED_IDX,          /* more buffers used than were available */
    VIO_FAULT_USED_ID,           /* id out of range */
    VIO_FAULT_USED_NOT_IN_FLIGHT,/* id that is not in flight */
    VIO_FAULT_USED_LEN,          /* more bytes written than the buffer has */
    VIO_FAULT_USED_ORDER,        /* IN_ORDER: used out of order */
    /* the transport's or front-end's faults: the queue does not start */
    VIO_FAULT_QUEUE_SIZE,        /* a size the format does not allow */
    VIO_FAULT_QUEUE_ALIGN,       /* an area that is not aligned */
    VIO_FAULT_QUEUE_ADDR,        /* an area that is not in memory in one piece */
    VIO_FAULT_INFLIGHT,          /* in-flight region that contradicts the ring */
    VIO_FAULT_RING_STATE,        /* saved indices that contradict each other or the ring */
    VIO_FAULT_USED_FRAME,        /* the device's: a received frame of more buffers than the queue has */
    VIO_FAULT_COUNT_
};

/* Name ("chain-loop"), clause ("virtio 1.4, 2.7.5.2") and one sentence for a person. Never NULL. */
const char *vio_fault_name(enum vio_fault fault);
const char *vio_fault_clause(enum vio_fault fault);
const char *vio_fault_text(enum vio_fault fault);

VIO_PUBLIC_END

#endif
