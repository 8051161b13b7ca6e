/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the driver core share. Where it sits: driver/core, private, freestanding.
 * Threads: the control thread, but `broken` (any) and a queue's drvq (its owner).
 */
#ifndef VIO_DRIVER_CORE_INTERNAL_H
#define VIO_DRIVER_CORE_INTERNAL_H

#include <vio/driver.h>
#include "spec/virtio.h"

/* A queue as it was planned, its memory, and what the device was told. */
struct core_queue {
    struct vio_drvq *drvq; /* NULL: not planned */
    void (*callback)(struct vio_drvdev *d, uint16_t queue);
    struct vio_transport_queue told;
    uint16_t indirect_max;
    bool in_turn;
    void *mem; /* of drvq */
    size_t mem_bytes;
    void *shared; /* the areas, and the tables */
    size_t shared_bytes;
    uint64_t shared_addr;
};

struct vio_drvdev {
    struct vio_drvdev *next;
    struct vio_bus *bus;
    struct vio_transport *t;
    const struct vio_transport_ops *ops;
    const struct vio_platform *platform;
    const struct vio_driver *driver;
    uint32_t type;
    enum vio_drvdev_state_name is;
    uint8_t status;     /* as it was last written */
    bool fresh;         /* reset, and nothing said since */
    bool probed;        /* its driver has a state of it */
    bool link_lost;     /* BROKEN, since the transport lost the device: reconnect can mend that */
    bool broken_said;
    bool stuck;         /* FAILED, and the reset as well: memory that the device may know is kept, and nobody's */
    struct vio_features offered, features;
    void *state;
    struct core_queue *queue; /* by number */
    uint16_t nr_queues;       /* highest planned + 1 */
    uint32_t generation;      /* of the configuration, when it was last read */
    const char *broken, *broken_clause; /* NULL: it is sound */
    char why[VIO_DRV_WHY];
};

/* core.c */
/* Everything from the reset to DRIVER_OK and scan; with a frozen driver its restore. On failure: FAILED, and all is undone. */
int core_initialize(struct vio_drvdev *d) VIO_MUST_CHECK;
/* Until the device is reset, but not for ever. Says why it failed. */
int core_reset(struct vio_drvdev *d) VIO_MUST_CHECK;
/* The driver ends and all of its memory goes. The device was reset. */
void core_release(struct vio_drvdev *d);
int core_write_status(struct vio_drvdev *d, uint8_t status) VIO_MUST_CHECK;
/* Sets why from the transport's own sentence; returns error. */
int core_transport_failed(struct vio_drvdev *d, int error, const char *what);
/* From the control thread: what a queue's owner found is said, and FAILED written. Whether the device is broken. */
bool core_broken(struct vio_drvdev *d);
/* The transport cannot reach the device: broken, until it is reconnected or recovered. */
void core_link_lost(struct vio_drvdev *d, int error, const char *what);
void core_say(const struct vio_drvdev *d, int level, const char *line);

/* core_event.c: vio_drvdev_wait() for whichever of these queues is first. */
int core_wait(struct vio_drvdev *d, const uint16_t *queues, unsigned n, uint64_t ns) VIO_MUST_CHECK;

/* core_queue.c */
void core_queues_free(struct vio_drvdev *d);
void core_kick(struct vio_drvdev *d, uint16_t queue, const struct core_queue *q);
/* Whether the queue is broken; then so is the device. Queue owner. */
bool core_queue_broken(struct vio_drvdev *d, const struct core_queue *q);

static inline struct core_queue *core_queue_of(const struct vio_drvdev *d, uint16_t queue)
{
    return queue < d->nr_queues && d->queue[queue].drvq != NULL && !d->stuck ? &d->queue[queue] : NULL;
}

static inline bool core_is_broken(const struct vio_drvdev *d)
{
    return __atomic_load_n(&d->broken, __ATOMIC_ACQUIRE) != NULL;
}

#endif
