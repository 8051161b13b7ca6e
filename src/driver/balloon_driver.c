/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the balloon driver from probe to remove: its queues and their numbers, configuration, statistics (virtio 1.4, 5.5).
 * Where it sits: driver/, over driver/core; freestanding. Threads: the control thread.
 * Trust: a device that wants statistics again and again gets them once a turn.
 */
#include <errno.h>
#include <string.h>
#include "driver/balloon_internal.h"
#include "spec/virtio.h"

enum { QUEUE_SIZE = 64, PAGES_BYTES = 1024, NO_FEATURE = 0xff };

static const struct vio_drv_balloon_params defaults = { .hints = false };

/* ------------------------------------------------------------------ statistics */

static int put_stats(struct vio_drv_balloon *b)
{
    struct vio_drv_balloon_stat stats[VIO_DRV_BALLOON_STATS_MAX];
    struct virtio_balloon_stat wire[VIO_DRV_BALLOON_STATS_MAX];
    unsigned n = b->params->stats(b->params->ctx, b->d, stats, VIO_DRV_BALLOON_STATS_MAX);
    struct vio_buf buf = { drv_slots_addr(&b->stats, 0), 0 };
    uint16_t queue = b->queue[VIRTIO_BALLOON_STATSQ];
    int error;

    if (n > VIO_DRV_BALLOON_STATS_MAX)
        n = VIO_DRV_BALLOON_STATS_MAX;
    if (n == 0) /* a buffer cannot be empty, and the device waits for one */
        stats[n++] = (struct vio_drv_balloon_stat){ .tag = VIRTIO_BALLOON_S_MEMTOT };
    for (unsigned i = 0; i < n; i++)
        wire[i] = (struct virtio_balloon_stat){ vio_le16_of(stats[i].tag), vio_le64_of(stats[i].value) };
    buf.len = n * (uint32_t)sizeof(wire[0]);
    memcpy(drv_slots_host(&b->stats, 0), wire, buf.len);
    error = vio_drvq_put(vio_drvdev_queue(b->d, queue), &buf, 1, 0, 0);
    if (error == 0)
        vio_drvdev_publish(b->d, queue);
    return error;
}

void vio_drv_balloon_service(struct vio_drv_balloon *b)
{
    uint16_t queue = b->queue[VIRTIO_BALLOON_STATSQ];
    struct vio_done done;

    if (queue == DRV_BALLOON_NO_QUEUE || vio_drvdev_status(b->d) != VIO_DRVDEV_RUNS)
        return;
    if (vio_drvq_collect(vio_drvdev_queue(b->d, queue), &done, 1) == 1 && put_stats(b) == 0)
        return;
    (void)drv_queue_broken(b->d, queue);
}

static void stats_used(struct vio_drvdev *d, uint16_t queue)
{
    (void)queue;
    vio_drv_balloon_service(vio_drvdev_state(d));
}

/* ------------------------------------------------------------------ configuration */

static int read_config(struct vio_drv_balloon *b)
{
    uint32_t bytes = vio_drvdev_has(b->d, VIRTIO_BALLOON_F_FREE_PAGE_HINT)
                         ? offsetof(struct virtio_balloon_config, poison_val)
                         : offsetof(struct virtio_balloon_config, free_page_hint_cmd_id);
    struct virtio_balloon_config config = { .num_pages = vio_le32_of(0) };
    int error = vio_drvdev_config_read(b->d, 0, &config, bytes);

    if (error != 0)
        return error;
    b->target = vio_cpu(config.num_pages);
    b->hint_id = vio_cpu(config.free_page_hint_cmd_id);
    return 0;
}

static void config_changed(struct vio_drvdev *d)
{
    struct vio_drv_balloon *b = vio_drvdev_state(d);

    /* A device that went away, or does not stop to change: it tells again. */
    if (read_config(b) == 0 && b->params->changed != NULL)
        b->params->changed(b->params->ctx, d);
}

/* ------------------------------------------------------------------ features and queues */

static const struct vio_drv_balloon_params *params_of(const struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    /* Ours, or the one that a struct vio_drv_balloon_driver begins with. */
    return driver == &vio_driver_balloon ? &defaults
                                         : &((const struct vio_drv_balloon_driver *)(const void *)driver)->params;
}

static int validate(struct vio_drvdev *d, struct vio_features *wanted)
{
    const struct vio_drv_balloon_params *p = params_of(d);

    if (p->stats == NULL)
        vio_features_clear(wanted, VIRTIO_BALLOON_F_STATS_VQ);
    if (!p->poisons)
        vio_features_clear(wanted, VIRTIO_BALLOON_F_PAGE_POISON);
    /* Pages that must keep their poison, at a device that does not know it, are not reported (5.5.6.7). */
    if (!p->hints || (p->poisons && !vio_features_has(*wanted, VIRTIO_BALLOON_F_PAGE_POISON))) {
        vio_features_clear(wanted, VIRTIO_BALLOON_F_FREE_PAGE_HINT);
        vio_features_clear(wanted, VIRTIO_BALLOON_F_PAGE_REPORTING);
    }
    return 0;
}

/* What must be offered for a queue to be there. */
static const uint8_t feature_of[DRV_BALLOON_QUEUES] = {
    NO_FEATURE, NO_FEATURE, VIRTIO_BALLOON_F_STATS_VQ, VIRTIO_BALLOON_F_FREE_PAGE_HINT, VIRTIO_BALLOON_F_PAGE_REPORTING,
};

static bool fixed_numbers(struct vio_drv_balloon *b)
{
    struct vio_features offered = vio_drvdev_offered(b->d);
    uint16_t last = VIRTIO_BALLOON_DEFLATEQ;

    if (b->params->numbers != VIO_DRV_BALLOON_AUTO)
        return b->params->numbers == VIO_DRV_BALLOON_FIXED;
    if (vio_drvdev_transport(b->d)->queues_max == 0)
        return false;
    for (uint16_t i = VIRTIO_BALLOON_STATSQ; i < DRV_BALLOON_QUEUES; i++)
        if (vio_features_has(offered, feature_of[i]))
            last = i;
    return vio_drvdev_queue_max(b->d, last) > 0;
}

/* A device makes the queues of what it offers, whether we accept it or not. */
static void number_queues(struct vio_drv_balloon *b)
{
    struct vio_features offered = vio_drvdev_offered(b->d);
    bool fixed = fixed_numbers(b);
    uint16_t next = 0;

    for (uint16_t i = 0; i < DRV_BALLOON_QUEUES; i++) {
        bool always = feature_of[i] == NO_FEATURE;

        b->queue[i] = DRV_BALLOON_NO_QUEUE;
        if (!always && !vio_features_has(offered, feature_of[i]))
            continue;
        if (always || vio_drvdev_has(b->d, feature_of[i]))
            b->queue[i] = fixed ? i : next;
        next++;
    }
}

static int make_queues(struct vio_drv_balloon *b)
{
    struct vio_drvdev_queue_plan plan[DRV_BALLOON_QUEUES];
    unsigned n = 0;

    for (uint16_t i = 0; i < DRV_BALLOON_QUEUES; i++) {
        bool stats = i == VIRTIO_BALLOON_STATSQ;

        if (b->queue[i] == DRV_BALLOON_NO_QUEUE)
            continue;
        plan[n++] = (struct vio_drvdev_queue_plan){
            .queue = b->queue[i], .size = QUEUE_SIZE, .polled = !stats, .callback = stats ? stats_used : NULL,
        };
    }
    return vio_drvdev_queues(b->d, plan, n);
}

/* ------------------------------------------------------------------ from probe to remove */

static void free_all(struct vio_drv_balloon *b)
{
    drv_slots_close(&b->pages);
    drv_slots_close(&b->stats);
}

static int write_poison(struct vio_drv_balloon *b)
{
    vio_le32 poison = vio_le32_of(b->params->poison);

    if (!vio_drvdev_has(b->d, VIRTIO_BALLOON_F_PAGE_POISON))
        return 0;
    return vio_drvdev_config_write(b->d, offsetof(struct virtio_balloon_config, poison_val), &poison, sizeof(poison));
}

static int probe(struct vio_drvdev *d)
{
    struct vio_drv_balloon *b = vio_drvdev_state(d);
    int error;

    b->d = d;
    b->params = params_of(d);
    b->out = DRV_BALLOON_NO_QUEUE;
    error = read_config(b);
    if (error == 0)
        error = write_poison(b);
    if (error != 0)
        return error;
    number_queues(b);
    error = make_queues(b);
    if (error != 0)
        return error;
    error = drv_slots_open(d, &b->pages, 1, PAGES_BYTES);
    if (error == 0)
        error = drv_slots_open(d, &b->stats, 1, VIO_DRV_BALLOON_STATS_MAX * sizeof(struct virtio_balloon_stat));
    if (error == 0)
        return 0;
    free_all(b);
    return vio_drvdev_fail(d, error, "no memory for the balloon's page numbers");
}

static int scan(struct vio_drvdev *d)
{
    struct vio_drv_balloon *b = vio_drvdev_state(d);
    int error = b->queue[VIRTIO_BALLOON_STATSQ] != DRV_BALLOON_NO_QUEUE ? put_stats(b) : 0;

    return error == 0 ? 0 : vio_drvdev_fail(d, error, "the balloon takes no statistics (error %d)", -error);
}

static void remove_(struct vio_drvdev *d)
{
    free_all(vio_drvdev_state(d));
}

static const uint32_t types[] = { VIRTIO_ID_BALLOON, 0 };

#define BALLOON_FEATURES                                                                                                 \
    (VIO_FEATURE(VIRTIO_BALLOON_F_MUST_TELL_HOST) | VIO_FEATURE(VIRTIO_BALLOON_F_STATS_VQ) |                              \
     VIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) | VIO_FEATURE(VIRTIO_BALLOON_F_FREE_PAGE_HINT) |                        \
     VIO_FEATURE(VIRTIO_BALLOON_F_PAGE_POISON) | VIO_FEATURE(VIRTIO_BALLOON_F_PAGE_REPORTING) |                           \
     VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_IN_ORDER))

const struct vio_driver vio_driver_balloon = {
    .name = "balloon",
    .types = types,
    .features = { { BALLOON_FEATURES, 0 } },
    .state_size = sizeof(struct vio_drv_balloon),
    .validate = validate,
    .probe = probe,
    .scan = scan,
    .remove = remove_,
    .config_changed = config_changed,
};

void vio_drv_balloon_driver(struct vio_drv_balloon_driver *driver, const struct vio_drv_balloon_params *params)
{
    driver->driver = vio_driver_balloon;
    driver->params = *params;
}

struct vio_drv_balloon *vio_drv_balloon_of(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    if (driver == NULL || driver->probe != probe || vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        return NULL;
    return vio_drvdev_state(d);
}
