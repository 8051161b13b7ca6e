/* SPDX-License-Identifier: MIT */
/* A driver that counts, an echo device, and a fake transport between them. */
#ifndef VIO_TESTS_DRIVER_CORE_HELP_H
#define VIO_TESTS_DRIVER_CORE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <vio/drv_generic.h>

#include "echo_device.h"
#include "fake_transport.h"
#include "spec/virtio.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define INDIRECT VIO_FEATURE(VIRTIO_F_INDIRECT_DESC)
#define EVENT_IDX VIO_FEATURE(VIRTIO_F_EVENT_IDX)
#define IN_ORDER VIO_FEATURE(VIRTIO_F_IN_ORDER)

enum traffic_way { BY_LOOKING, BY_EVENT, BY_INTERRUPT };
enum { WORLD_QUEUES = 4, WORLD_BUFFER = 32, WORLD_BUFFERS = 4096 };

struct world {
    struct vio_driver driver; /* first: the driver finds its world by it */
    struct echo e;
    struct fake *f;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drvdev_queue_plan plans[WORLD_QUEUES];
    unsigned nr_plans;
    uint8_t *buffers; /* by token: what is sent, and what comes back */
    uint64_t buffers_addr;
    /* knobs */
    uint64_t drop, add;
    int validate_error, probe_error, scan_error, freeze_error, restore_error;
    bool probe_late; /* probe_error comes after the queues */
    /* what happened */
    unsigned validates, probes, scans, removes, changes, freezes, restores;
    uint8_t probe_status, scan_status;
    unsigned got[WORLD_QUEUES], lost[WORLD_QUEUES];
};

struct world_state {
    struct world *w;
};

static inline struct world *world_of(struct vio_drvdev *d)
{
    return (struct world *)(uintptr_t)vio_drvdev_driver(d);
}

static inline int world_validate(struct vio_drvdev *d, struct vio_features *wanted)
{
    struct world *w = world_of(d);

    w->validates++;
    wanted->w[0] = (wanted->w[0] & ~w->drop) | w->add;
    return w->validate_error;
}

static inline int world_probe(struct vio_drvdev *d)
{
    struct world *w = world_of(d);
    struct world_state *s = vio_drvdev_state(d);
    int error;

    w->probes++;
    assert_null(s->w); /* zeroed */
    s->w = w;
    w->probe_status = vio_device_status(w->e.dev);
    if (w->probe_error != 0 && !w->probe_late)
        return w->probe_error;
    error = vio_drvdev_queues(d, w->plans, w->nr_plans);
    return error != 0 ? error : w->probe_error;
}

static inline int world_scan(struct vio_drvdev *d)
{
    struct world *w = world_of(d);

    w->scans++;
    w->scan_status = vio_device_status(w->e.dev);
    return w->scan_error;
}

static inline void world_remove(struct vio_drvdev *d)
{
    struct world_state *s = vio_drvdev_state(d);
    uint64_t token;

    s->w->removes++;
    for (uint16_t i = 0; i < WORLD_QUEUES; i++) {
        struct vio_drvq *q = vio_drvdev_queue(d, i);

        while (q != NULL && vio_drvq_detach(q, &token))
            s->w->lost[i]++;
    }
}

static inline void world_changed(struct vio_drvdev *d)
{
    world_of(d)->changes++;
}

static inline int world_freeze(struct vio_drvdev *d)
{
    world_of(d)->freezes++;
    return world_of(d)->freeze_error;
}

static inline int world_restore(struct vio_drvdev *d)
{
    struct world *w = world_of(d);
    struct world_state *s = vio_drvdev_state(d);

    w->restores++;
    assert_ptr_equal(s->w, w); /* as it was */
    return w->restore_error != 0 ? w->restore_error : vio_drvdev_queues(d, w->plans, w->nr_plans);
}

/* type_bits: feature bits of the echo device; ring_add: beside the core's own. */
static inline void world_init(struct world *w, uint16_t queues, uint64_t type_bits, uint64_t ring_add)
{
    memset(w, 0, sizeof(*w));
    echo_init(&w->e);
    w->e.type.queue_size_max = 256;
    echo_create(&w->e, queues, vio_features_of(type_bits), vio_features_of(ring_add), NULL);
    w->f = fake_create(w->e.dev, ECHO_ID);
    assert_int_equal(vio_bus_create(&w->f->platform, &w->bus), 0);
    w->driver = (struct vio_driver){
        .name = "test", .state_size = sizeof(struct world_state), .validate = world_validate, .probe = world_probe,
        .scan = world_scan, .remove = world_remove, .config_changed = world_changed,
    };
    w->nr_plans = queues;
    for (uint16_t i = 0; i < queues; i++)
        w->plans[i] = (struct vio_drvdev_queue_plan){ .queue = i, .size = 64, .polled = true };
    w->buffers = w->f->platform.dma_alloc(w->f, (size_t)WORLD_BUFFERS * 2 * WORLD_BUFFER, 64, &w->buffers_addr);
    w->f->held = 1; /* the bus; the buffers are not counted */
}

/* driver: NULL: the world's own. */
static inline void world_add(struct world *w, const struct vio_driver *driver)
{
    assert_int_equal(vio_bus_add(w->bus, &w->f->t, 0, driver != NULL ? driver : &w->driver, &w->d), 0);
}

static inline void world_free(struct world *w)
{
    vio_bus_destroy(w->bus);
    assert_int_equal(w->f->held, 0);
    assert_true(w->f->destroyed);
    fake_free(w->f);
    vio_device_destroy(w->e.dev);
}

/* One buffer of two pieces each way, with bytes of its own. */
static inline void world_put(struct world *w, uint16_t queue, uint64_t token)
{
    uint64_t at = (token % WORLD_BUFFERS) * 2 * WORLD_BUFFER;
    uint64_t addr = w->buffers_addr + at;
    struct vio_buf bufs[3] = { { addr, 8 }, { addr + 8, WORLD_BUFFER - 8 }, { addr + WORLD_BUFFER, WORLD_BUFFER } };

    memset(w->buffers + at, 0, 2 * WORLD_BUFFER);
    memset(w->buffers + at, (int)(token % 251) + 1, WORLD_BUFFER);
    assert_int_equal(vio_drvq_put(vio_drvdev_queue(w->d, queue), bufs, 2, 1, token), 0);
}

static inline unsigned world_take(struct vio_drvdev *d, uint16_t queue, unsigned max)
{
    struct world *w = world_of(d);
    struct vio_done done[64];
    unsigned n = vio_drvq_collect(vio_drvdev_queue(d, queue), done, max);

    for (unsigned i = 0; i < n; i++) {
        uint8_t *at = w->buffers + (done[i].token % WORLD_BUFFERS) * 2 * WORLD_BUFFER;

        assert_int_equal(done[i].len, WORLD_BUFFER);
        assert_memory_equal(at, at + WORLD_BUFFER, WORLD_BUFFER);
    }
    w->got[queue] += n;
    return n;
}

static inline void world_collect(struct vio_drvdev *d, uint16_t queue)
{
    while (world_take(d, queue, 64) > 0)
        ;
}

static inline void world_leave_some(struct vio_drvdev *d, uint16_t queue)
{
    world_take(d, queue, 1);
}

#endif
