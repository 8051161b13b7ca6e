/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the device core share. Where it sits: device/core, private.
 * Threads: each member of a queue belongs to the control thread, to the owner thread, or is atomic, as marked.
 * Between attach and detach the owner's members are the owner's alone; before and after, the control thread's.
 */
#ifndef VIO_DEVICE_CORE_INTERNAL_H
#define VIO_DEVICE_CORE_INTERNAL_H

#include <stdatomic.h>
#include <vio/device.h>

/* From the control thread to the owner. Looked at once a service. */
enum {
    CORE_ORDER_DISABLED = 1,    /* take nothing */
    CORE_ORDER_HOLD = 2,        /* take nothing: about to be detached */
    CORE_ORDER_MAP_CHANGED = 4, /* tell the type; a missing translation may be there now */
    CORE_ORDER_CANCEL = 8,      /* tell the type */
};

/* From the owner to the control thread; raised by vio_device_control(). */
enum { CORE_EVENT_FAULT = 1, CORE_EVENT_MISS = 2 };

enum { CORE_LINE = 64 };

/* On cache lines of its own: owners count on every batch. */
struct core_queue {
    /* the control thread's */
    _Alignas(CORE_LINE) struct vio_queue_cfg cfg;
    struct vio_inflight *inflight;
    void *mem;         /* behind vq; NULL: not live */
    size_t mem_bytes;
    unsigned parked;   /* reasons to be */
    bool memory_parked; /* memory_begin is one of them */
    bool wanted;       /* starts as soon as it may */
    bool paused;       /* will be wanted again with vio_device_resume() */
    bool attached;     /* has an owner */
    uint16_t index;

    /* the owner's */
    struct vio_devq *vq;
    uint32_t abandoned;
    bool entered;
    bool fault_said;
    bool iommu;        /* takes can miss a translation */
    bool missing;      /* waits for one */

    /* of both: the data behind an event are written before it and read after it */
    atomic_uint orders;
    atomic_uint events;
    enum vio_fault fault;
    uint64_t fault_detail;
    uint64_t miss_addr;
    unsigned miss_access;

    /* written by the owner, read by anyone */
    _Atomic uint64_t buffers, publishes, calls, services, idle, kicks, faults;
};

struct vio_device {
    const struct vio_device_type *type;
    void *self;
    const struct vio_log *log;
    const struct vio_host_ops *host;
    void *host_ctx;
    const struct vio_device_transport_ops *transport;
    void *transport_ctx;
    struct vio_memory *memory;
    char *name;

    struct vio_features own;    /* the type's and the ring's bits, as created */
    struct vio_features add, remove; /* the transport's */
    struct vio_features chosen;
    uint8_t status;
    bool resetting;
    bool draining;              /* no host: events wait until the drain is over... */
    bool told;                  /* ...or until the service of a queue is: then there are some */
    unsigned serving;
    unsigned memory_depth;      /* between memory_begin and memory_end */
    atomic_bool asked;          /* vio_device_ask() */
    _Atomic uint32_t generation;
    uint8_t *config;            /* core_config.c: each byte is read and written atomically while queues run */
    struct vio_log_limit limit;

    uint16_t queues;
    struct core_queue queue[];
};

static inline struct core_queue *core_queue_at(struct vio_device *dev, uint16_t queue)
{
    return queue < dev->queues ? &dev->queue[queue] : NULL;
}

static inline void core_count(_Atomic uint64_t *counter, uint64_t n)
{
    /* One writer: no read-modify-write needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* core.c: the device cannot go on by itself (virtio 1.4, 2.1.2). fault may be NONE where vio itself failed. */
void core_needs_reset(struct vio_device *dev, uint16_t queue, enum vio_fault fault);
/* core.c: says a fault of the peer's, counts it and raises it. */
void core_fault(struct vio_device *dev, struct core_queue *q, enum vio_fault fault, uint64_t detail);
/* core.c: whether features may be accepted; says in the log why not. */
bool core_features_ok(struct vio_device *dev, struct vio_features features);

/* core_queue.c */
void core_queue_default(struct vio_device *dev, struct core_queue *q);
bool core_queue_live(const struct core_queue *q);
/* Starts what is wanted and may run; the first error. */
int core_queues_start(struct vio_device *dev);
/* Ends a live queue. drain: every request is finished; else what can be given back stays in the record. */
void core_queue_end(struct vio_device *dev, struct core_queue *q, bool drain);
/* What the type asked for: its control(), while all queues are parked. */
void core_type_control(struct vio_device *dev);
/* Raises what the owner has found. */
void core_queue_events(struct vio_device *dev, struct core_queue *q);

#endif
