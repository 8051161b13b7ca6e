/* SPDX-License-Identifier: MIT */
/*
 * Purpose: both ends of a device in one process: memory, a transport that only counts, and vio's own driver side on
 * every queue. Threads: one, unless a test brings its own owner.
 */
#ifndef VIO_TESTS_RIG_H
#define VIO_TESTS_RIG_H

#include <vio/device.h>

enum { RIG_QUEUES_MAX = 9, RIG_MEMORY = 8 << 20, RIG_LINES = 64 };

/* A place in the driver's memory, under both its names. */
struct rig_at {
    uint64_t gpa;
    uint8_t *host;
};

struct rig_queue {
    struct vio_drvq *drv;
    void *mem; /* of drv */
    struct rig_at desc, driver, device;
    uint16_t size;
};

struct rig {
    struct vio_device *dev;
    struct vio_log log;
    /* the driver's memory, one region */
    uint8_t *host;
    uint64_t gpa;
    uint64_t next;
    struct rig_queue queue[RIG_QUEUES_MAX];
    /* what the transport saw */
    unsigned used[RIG_QUEUES_MAX], config_changed, needs_reset, misses;
    uint16_t reset_queue;
    enum vio_fault fault;
    uint64_t miss_addr;
    unsigned miss_access;
    bool reset_on_fault; /* as an eager transport: resets from within needs_reset */
    /* what was said */
    char line[RIG_LINES][512];
    unsigned lines;
};

/* Memory and log; rig->log goes into the device's params. */
void rig_init(struct rig *rig);
/* The device is the rig's from now: attached, its memory mapped. */
void rig_device(struct rig *rig, struct vio_device *dev);
void rig_free(struct rig *rig);

/* size bytes, zeroed, 64-byte aligned, never given back. */
struct rig_at rig_alloc(struct rig *rig, uint64_t size);
/* Status up to FEATURES_OK; whether it stuck. */
bool rig_negotiate(struct rig *rig, struct vio_features features);
/* Makes a driver side and configures the queue for it; before DRIVER_OK, or follow with vio_device_queue_start(). */
void rig_queue(struct rig *rig, uint16_t queue, uint16_t size);
void rig_driver_ok(struct rig *rig);
/* The same, all of it: every queue of this size; asserts that it runs. */
void rig_start(struct rig *rig, struct vio_features features, uint16_t size);
/* After a reset: new rings, the same device. */
void rig_restart(struct rig *rig, struct vio_features features, uint16_t size);

/* Whether some line of the log contains the words. */
bool rig_said(const struct rig *rig, const char *words);
/* Serves until nothing happens any more. */
void rig_serve(struct rig *rig, uint16_t queue);

#endif
