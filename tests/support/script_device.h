/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device that is a few lines of a test, for drivers of every type: a buffer of some queues is answered by a
 * function, buffers of others wait until the test sends something. Over it a fake transport, a bus, and the driver.
 * Threads: one.
 */
#ifndef VIO_TESTS_SCRIPT_DEVICE_H
#define VIO_TESTS_SCRIPT_DEVICE_H

#include "fake_transport.h"

enum { SCRIPT_HELD = 1024, SCRIPT_BYTES = 160 << 10, SCRIPT_CONFIG = 64 };

struct script {
    struct vio_device_type type; /* a test may change it before script_start() */
    struct vio_device *dev;
    struct fake *f;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    /* What the device makes of a buffer: n bytes in, at most max out; how many. */
    size_t (*serve)(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max);
    void *ctx;
    bool keeps[FAKE_QUEUES]; /* these buffers wait for script_send() */
    bool hold[FAKE_QUEUES];  /* these are answered when it is false again */
    bool deaf;               /* the configuration cannot be written */
    struct script_queue {
        struct vio_devq *vq;
        struct vio_req *held[SCRIPT_HELD];
        unsigned nr;
    } queue[FAKE_QUEUES];
    uint8_t in[SCRIPT_BYTES], out[SCRIPT_BYTES];
};

/* Zeroed: a test then says what it is. */
struct script *script_new(void);
/* Makes the device and adds it to a bus. The driver decides what it is of; s->d. */
void script_start(struct script *s, uint16_t queues, uint64_t features, const void *config, uint32_t config_bytes,
                  const struct vio_driver *driver);
/* Everything goes; nothing was left behind. */
void script_free(struct script *s);
/* Bytes into the oldest buffer that waits; false: none does. */
bool script_send(struct script *s, uint16_t queue, const void *bytes, size_t n);
/* Several configuration bytes change, and the driver is told. */
void script_config(struct script *s, uint32_t offset, const void *bytes, uint32_t n);

#endif
