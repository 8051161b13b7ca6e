/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device of the smallest sort, for tests of the driver side: what a buffer says comes back in it, now or when the
 * test wants. Threads: as vio/device.h.
 */
#ifndef VIO_TESTS_ECHO_DEVICE_H
#define VIO_TESTS_ECHO_DEVICE_H

#include <vio/device.h>

enum { ECHO_ID = 42, ECHO_QUEUES_MAX = 9, ECHO_CONFIG = 64, ECHO_HELD = 1024 };

struct echo {
    struct vio_device_type type; /* a test may change it before echo_create() */
    struct vio_device *dev;
    bool hold;                   /* answers nothing until it is false again */
    unsigned served;
    struct echo_queue {
        struct vio_devq *vq;
        struct vio_req *held[ECHO_HELD];
        unsigned nr;
    } queue[ECHO_QUEUES_MAX];
};

/* In place; then echo_create() makes e->dev, which the test destroys. log may be NULL. */
void echo_init(struct echo *e);
void echo_create(struct echo *e, uint16_t queues, struct vio_features features, struct vio_features ring_add,
                 const struct vio_log *log);

#endif
