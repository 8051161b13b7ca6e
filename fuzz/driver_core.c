/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: the driver core against a transport and a device that the input plays: every answer (status,
 * features, sizes, configuration, errors), bytes into what a device may write, and a row of calls.
 * Invariants: nothing outside the queues' own memory is touched (a sanitizer looks), a device that is not broken or failed
 * has what was planned, all memory comes back, and a failure has a sentence.
 */
#include <errno.h>
#include <string.h>

#include <vio/drv_generic.h>

#include "fuzz.h"
#include "heap_platform.h"
#include "spec/virtio.h"

enum { QUEUES = 3, STEPS = 200 };

struct bench {
    struct vio_transport t; /* first */
    struct heap_platform heap;
    struct input in;
    struct vio_transport_queue queue[QUEUES];
    bool told[QUEUES];
    struct vio_drvdev_queue_plan plans[QUEUES];
    uint8_t buffer[4096];
    bool destroyed;
};

static struct bench *of(struct vio_transport *t)
{
    return (struct bench *)t;
}

/* Mostly well: a device whose every answer is wrong does not get far. */
static int error_of(struct bench *b)
{
    static const int errors[] = { -EIO, -ETIMEDOUT, -ECONNRESET, -EPROTO, -ENOTSUP, -EINPROGRESS };
    uint8_t byte = input_u8(&b->in);

    return byte < 250 ? 0 : errors[byte - 250];
}

static void t_destroy(struct vio_transport *t)
{
    of(t)->destroyed = true;
}

static const char *t_why(struct vio_transport *t)
{
    return of(t)->in.left % 2 ? "" : "the input says so";
}

static int t_features(struct vio_transport *t, struct vio_features *offered)
{
    struct bench *b = of(t);

    offered->w[0] = input_u64(&b->in) | VIO_FEATURE(VIRTIO_F_VERSION_1);
    offered->w[1] = input_u8(&b->in);
    return error_of(b);
}

static int t_accept(struct vio_transport *t, const struct vio_features *wanted)
{
    FUZZ_CHECK(t->legacy || vio_features_has(*wanted, VIRTIO_F_VERSION_1));
    return error_of(of(t));
}

static int t_status_get(struct vio_transport *t, uint8_t *status)
{
    uint8_t byte = input_u8(&of(t)->in);

    *status = byte < 200 ? 15 : byte < 220 ? 0 : (uint8_t)(byte * 37);
    return error_of(of(t));
}

static int t_status_set(struct vio_transport *t, uint8_t status)
{
    (void)status;
    return error_of(of(t));
}

static int t_reset(struct vio_transport *t)
{
    memset(of(t)->told, 0, sizeof(of(t)->told));
    return error_of(of(t));
}

static int t_config_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    (void)offset;
    for (uint32_t i = 0; i < len; i++)
        ((uint8_t *)to)[i] = input_u8(&of(t)->in);
    return error_of(of(t));
}

static int t_config_write(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len)
{
    (void)offset;
    (void)from;
    (void)len;
    return error_of(of(t));
}

static int t_generation(struct vio_transport *t, uint32_t *generation)
{
    *generation = input_u8(&of(t)->in) / 128;
    return error_of(of(t));
}

static int t_queue_max(struct vio_transport *t, uint16_t queue, uint16_t *size)
{
    *size = queue >= QUEUES ? 0 : (uint16_t)(input_u8(&of(t)->in) % 64);
    if (queue < QUEUES && input_u8(&of(t)->in) == 255)
        *size = input_u16(&of(t)->in);
    return error_of(of(t));
}

static int t_queues_planned(struct vio_transport *t, uint16_t queues, uint16_t size)
{
    FUZZ_CHECK(queues <= QUEUES && size > 0);
    return error_of(of(t));
}

static int t_queue_start(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q)
{
    FUZZ_CHECK(queue < QUEUES && q->cfg.ready && q->cfg.size > 0);
    of(t)->queue[queue] = *q;
    of(t)->told[queue] = true;
    return error_of(of(t));
}

static int t_queue_stop(struct vio_transport *t, uint16_t queue, struct vio_queue_state *state)
{
    int error = error_of(of(t));

    if (error == 0)
        of(t)->told[queue] = false;
    state->avail_idx = input_u16(&of(t)->in);
    return error;
}

static void t_kick(struct vio_transport *t, uint16_t queue, uint32_t data)
{
    (void)t;
    (void)data;
    FUZZ_CHECK(queue < QUEUES);
}

static unsigned t_events(struct vio_transport *t)
{
    return input_u8(&of(t)->in);
}

static int t_reconnect(struct vio_transport *t, const struct vio_features *features)
{
    (void)features;
    memset(of(t)->told, 0, sizeof(of(t)->told));
    return error_of(of(t));
}

static const struct vio_transport_ops all_ops = {
    .name = "fuzz", .destroy = t_destroy, .why = t_why, .features = t_features, .accept = t_accept,
    .status_get = t_status_get, .status_set = t_status_set, .reset = t_reset, .config_read = t_config_read,
    .config_write = t_config_write, .generation = t_generation, .queue_max = t_queue_max,
    .queues_planned = t_queues_planned, .queue_start = t_queue_start, .queue_stop = t_queue_stop, .kick = t_kick,
    .events = t_events, .reconnect = t_reconnect,
};
static const struct vio_transport_ops few_ops = {
    .name = "few", .destroy = t_destroy, .why = t_why, .features = t_features, .accept = t_accept,
    .status_get = t_status_get, .status_set = t_status_set, .reset = t_reset, .config_read = t_config_read,
    .config_write = t_config_write, .queue_max = t_queue_max, .queue_start = t_queue_start, .kick = t_kick,
};

/* ------------------------------------------------------------------ what happens */

static void collect(struct vio_drvdev *d, uint16_t queue)
{
    struct vio_done done[8];

    while (vio_drvq_collect(vio_drvdev_queue(d, queue), done, 8) > 0)
        ;
}

/* The device writes what it likes where it may: the device area, and the descriptors of a packed ring. */
static void scribble(struct bench *b, struct vio_drvdev *d)
{
    uint8_t which = input_u8(&b->in);
    uint16_t at = input_u16(&b->in), queue = which % QUEUES;
    bool packed = vio_drvdev_has(d, VIRTIO_F_RING_PACKED);
    struct vio_queue_layout l;
    uint8_t *area;
    size_t bytes;

    if (!b->told[queue] || vio_drvdev_queue(d, queue) == NULL)
        return;
    l = vio_queue_layout(b->queue[queue].cfg.size, packed);
    area = packed && which & 64 ? b->queue[queue].desc : b->queue[queue].device;
    bytes = packed && which & 64 ? l.desc_bytes : l.device_bytes;
    for (unsigned i = 0; i < which % 16u + 1; i++)
        area[(at + i) % bytes] = input_u8(&b->in);
}

static void put(struct bench *b, struct vio_drvdev *d)
{
    uint8_t byte = input_u8(&b->in);
    uint16_t queue = byte % QUEUES;
    struct vio_buf bufs[3] = { { (uintptr_t)b->buffer, 16 }, { (uintptr_t)b->buffer + 16, 32 }, { (uintptr_t)b->buffer + 48, 64 } };
    struct vio_drvq *q = vio_drvdev_queue(d, queue);

    if (q == NULL)
        return;
    (void)!vio_drvq_put(q, bufs, byte >> 4 & 1, 1 + (byte >> 5 & 1), byte);
    if (byte & 128)
        vio_drvdev_publish(d, queue);
}

static void step(struct bench *b, struct vio_drvdev *d)
{
    uint8_t what = input_u8(&b->in) % 16, byte[32];
    uint16_t queue = input_u8(&b->in) % (QUEUES + 1);

    switch (what) {
    case 0: case 1: case 2: put(b, d); break;
    case 3: case 4: case 5: scribble(b, d); break;
    case 6: (void)vio_drvdev_event(d, queue < QUEUES ? queue : VIO_EVENT_QUEUE_CONFIG); break;
    case 7: (void)vio_drvdev_interrupt(d); break;
    case 8: (void)!vio_drvdev_wait(d, queue, 5000000); break;
    case 9: (void)!vio_drvdev_config_read(d, queue, byte, 1 + queue); break;
    case 10: (void)!vio_drvdev_config_write(d, queue, "ab", 2); break;
    case 11: (void)!vio_drvdev_queue_reset(d, queue, (uint16_t)(queue * 8), NULL, NULL); break;
    case 12: (void)!vio_drvdev_recover(d); break;
    case 13: (void)!vio_drvdev_suspend(d); break;
    case 14: (void)!vio_drvdev_resume(d); break;
    default: (void)!vio_drvdev_reconnect(d); break;
    }
    if (vio_drvdev_status(d) == VIO_DRVDEV_FAILED || vio_drvdev_status(d) == VIO_DRVDEV_BROKEN)
        FUZZ_CHECK(vio_drvdev_why(d)[0] != '\0');
    if (vio_drvdev_status(d) == VIO_DRVDEV_RUNS)
        FUZZ_CHECK(vio_drvdev_queue(d, 0) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bench bench;
    struct bench *b = &bench;
    struct vio_drv_generic_params params = { .plans = b->plans, .nr_plans = QUEUES };
    struct vio_drv_generic_driver driver;
    struct vio_drvdev *d;
    struct vio_bus *bus;
    uint8_t bits;

    memset(b, 0, sizeof(*b));
    b->in = (struct input){ data, size };
    bits = input_u8(&b->in);
    b->t.ops = bits & 1 ? &few_ops : &all_ops;
    b->t.platform = heap_platform_init(&b->heap);
    b->t.legacy = bits & 2 && bits & 4;
    b->t.queue_align = b->t.legacy ? 4096 : 0;
    b->t.size_fixed = (bits & 8) != 0;
    memcpy(b->t.name, "fuzz", 5);
    for (uint16_t i = 0; i < QUEUES; i++)
        b->plans[i] = (struct vio_drvdev_queue_plan){ .queue = i, .size = 16, .indirect_max = 2, .polled = bits >> 5 == i,
                                                      .callback = bits >> 5 == i ? NULL : collect };
    params.features = vio_features_of(0xffff | VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) |
                                      VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIO_FEATURE(VIRTIO_F_IN_ORDER));
    vio_drv_generic_driver(&driver, &params);
    FUZZ_CHECK(vio_bus_create(b->t.platform, &bus) == 0);
    FUZZ_CHECK(vio_bus_add(bus, &b->t, 0, &driver.driver, &d) == 0);
    for (unsigned i = 0; i < STEPS && b->in.left > 0; i++)
        step(b, d);
    vio_bus_destroy(bus);
    FUZZ_CHECK(b->destroyed && b->heap.held == 0);
    return 0;
}
