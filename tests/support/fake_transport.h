/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a driver's transport whose other side is a real struct vio_device in this process, and which can lie. With it a
 * platform of its own: memory of an arena, counted; a clock that pauses move; pauses let the device work.
 * Threads: one.
 */
#ifndef VIO_TESTS_FAKE_TRANSPORT_H
#define VIO_TESTS_FAKE_TRANSPORT_H

#include <vio/arena.h>
#include <vio/device.h>
#include <vio/driver.h>

enum { FAKE_QUEUES = 16, FAKE_MEMORY = 16 << 20, FAKE_LINES = 64, FAKE_STATUS = 32 };

enum fake_call {
    FAKE_FEATURES, FAKE_ACCEPT, FAKE_STATUS_GET, FAKE_STATUS_SET, FAKE_RESET, FAKE_CONFIG_READ, FAKE_CONFIG_WRITE,
    FAKE_GENERATION, FAKE_QUEUE_MAX, FAKE_QUEUES_PLANNED, FAKE_QUEUE_START, FAKE_QUEUE_STOP, FAKE_RECONNECT, FAKE_CALLS
};

struct fake {
    struct vio_transport t;
    struct vio_transport_ops ops; /* a test may take some away before it adds the transport to a bus */
    struct vio_device *dev;       /* borrowed */
    struct vio_arena *arena;

    /* its platform */
    struct vio_platform platform;
    uint64_t now;             /* each look at the clock adds `tick`, each pause `pause_ns` */
    uint64_t tick, pause_ns;
    unsigned allocations;     /* so far */
    unsigned fail_allocation; /* > 0: that one of these fails, counted from here */
    unsigned held;            /* that were not given back */
    bool asleep;              /* neither a kick nor a pause lets the device work */

    /* how it lies */
    enum fake_call fail_on;   /* this call... */
    unsigned fail_after;      /* ...after so many more of it... */
    int fail_error;           /* ...ends with this, from then on; 0: never */
    bool refuse_features;     /* FEATURES_OK does not stay */
    bool no_version_1;
    bool reset_never;         /* status does not read 0 after a reset... */
    unsigned reset_reads;     /* ...or only after so many reads */
    int status_reads;         /* what status reads; -1: the truth */
    uint8_t status_or;        /* added to it */
    unsigned config_moves;    /* so many reads of the configuration find it changed meanwhile */
    struct vio_features offer_more;
    uint16_t queue_max;       /* of each queue; 0: the truth */

    /* what happened */
    unsigned calls[FAKE_CALLS];
    uint8_t status[FAKE_STATUS]; /* as they were written */
    unsigned nr_status;
    unsigned kicks[FAKE_QUEUES];
    uint32_t kick_data[FAKE_QUEUES];
    uint16_t planned, planned_size;
    bool running[FAKE_QUEUES];
    struct vio_transport_queue queue[FAKE_QUEUES];
    struct vio_features accepted;
    int fd[FAKE_QUEUES + 1]; /* the last: configuration */
    unsigned events;
    bool destroyed;
    char line[FAKE_LINES][256];
    unsigned lines;
};

/* dev: attached to this from now on, its memory is the arena's; type 0: not known, as over vhost-user. */
struct fake *fake_create(struct vio_device *dev, uint32_t type);
/* After the bus. The device is the test's still. */
void fake_free(struct fake *f);

/* The device works until it has nothing to do. */
void fake_serve(struct fake *f);
bool fake_said(const struct fake *f, const char *words);

/* As a hostile device: bytes on a ring, at a position counted from 0. Little-endian hosts. */
void fake_used(struct fake *f, uint16_t queue, uint16_t position, uint32_t id, uint32_t len);
void fake_used_idx(struct fake *f, uint16_t queue, uint16_t idx); /* split only */

#endif
