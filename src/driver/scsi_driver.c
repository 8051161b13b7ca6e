/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the SCSI driver from probe to remove, and its configuration (virtio 1.4, 5.6.4 and 5.6.5).
 * Where it sits: driver/, over driver/core; freestanding. Threads: the control thread.
 * Trust: counts and sizes of the device's are judged, or cut to our own caps, before anything is made for them.
 */
#include <errno.h>
#include "driver/scsi_internal.h"
#include "spec/virtio.h"

enum { QUEUE_SIZE = 128, CONTROL_SIZE = 4, COMMAND_ENTRIES = 3 }; /* request, response, data */

static const struct vio_drv_scsi_params defaults = { .queues = 0 };

/* ------------------------------------------------------------------ configuration */

/* A driver may choose these (5.6.4): ours are the defaults, and another driver may have left others. */
static int set_size(struct vio_drv_scsi *s, uint32_t offset, vio_le32 now, uint32_t wanted, const char *name)
{
    vio_le32 value = vio_le32_of(wanted);
    int error;

    if (vio_cpu(now) == wanted)
        return 0;
    error = vio_drvdev_config_write(s->d, offset, &value, sizeof(value));
    if (error == 0)
        error = vio_drvdev_config_read(s->d, offset, &value, sizeof(value));
    if (error == 0 && vio_cpu(value) == wanted)
        return 0;
    return vio_drvdev_fail(s->d, -EPROTO, "%s is %u and cannot be set to %u (virtio 1.4, 5.6.4)", name, vio_cpu(now), wanted);
}

static int read_config(struct vio_drv_scsi *s, struct virtio_scsi_config *c)
{
    if (!s->params->no_config)
        return vio_drvdev_config_read(s->d, 0, c, sizeof(*c));
    *c = (struct virtio_scsi_config){
        .num_queues = vio_le32_of(s->params->queues != 0 ? s->params->queues : 1),
        .seg_max = vio_le32_of(VIO_DRV_SCSI_PIECES_MAX),
        .event_info_size = vio_le32_of(sizeof(struct virtio_scsi_event)),
        .sense_size = vio_le32_of(VIRTIO_SCSI_SENSE_DEFAULT_SIZE),
        .cdb_size = vio_le32_of(VIRTIO_SCSI_CDB_DEFAULT_SIZE),
        .max_target = vio_le16_of(255),
        .max_lun = vio_le32_of(16383),
    };
    return 0;
}

static int configure(struct vio_drv_scsi *s)
{
    struct vio_drv_scsi_info *info = &s->info;
    struct virtio_scsi_config c;
    int error = read_config(s, &c);
    uint32_t queues, most = s->params->queues != 0 ? s->params->queues : VIO_DRV_SCSI_QUEUES_MAX;

    if (error != 0)
        return error;
    error = set_size(s, offsetof(struct virtio_scsi_config, cdb_size), c.cdb_size, VIRTIO_SCSI_CDB_DEFAULT_SIZE, "cdb_size");
    if (error == 0)
        error = set_size(s, offsetof(struct virtio_scsi_config, sense_size), c.sense_size, VIRTIO_SCSI_SENSE_DEFAULT_SIZE,
                         "sense_size");
    if (error != 0)
        return error;
    queues = vio_cpu(c.num_queues);
    if (queues == 0)
        return vio_drvdev_fail(s->d, -EPROTO, "num_queues is 0: a SCSI host has at least one (virtio 1.4, 5.6.4)");
    queues = vio_min_u32(queues, vio_min_u32(most, VIO_DRV_SCSI_QUEUES_MAX));
    /* 0 is what some devices say for "not told"; one piece is what every device takes. */
    info->seg_max = vio_cpu(c.seg_max) > 0 ? vio_min_u32(vio_cpu(c.seg_max), VIO_DRV_SCSI_PIECES_MAX) : 1;
    info->max_sectors = vio_cpu(c.max_sectors) > 0 ? vio_cpu(c.max_sectors) : UINT32_MAX;
    info->cmd_per_lun = vio_cpu(c.cmd_per_lun);
    info->max_channel = vio_cpu(c.max_channel);
    info->max_target = vio_cpu(c.max_target);
    info->max_lun = vio_cpu(c.max_lun);
    info->queues = (uint16_t)queues;
    info->inout = vio_drvdev_has(s->d, VIRTIO_SCSI_F_INOUT);
    info->hotplug = vio_drvdev_has(s->d, VIRTIO_SCSI_F_HOTPLUG);
    info->change = vio_drvdev_has(s->d, VIRTIO_SCSI_F_CHANGE);
    s->event_bytes = vio_min_u32(vio_cpu(c.event_info_size), DRV_SCSI_EVENT_MAX);
    if (s->event_bytes < sizeof(struct virtio_scsi_event))
        s->event_bytes = sizeof(struct virtio_scsi_event);
    return 0;
}

/* ------------------------------------------------------------------ queues */

static void used(struct vio_drvdev *d, uint16_t queue)
{
    struct vio_drv_scsi *s = vio_drvdev_state(d);

    s->params->used(s->params->ctx, d, (uint16_t)(queue - VIRTIO_SCSI_REQUESTQ));
}

static void event_used(struct vio_drvdev *d, uint16_t queue)
{
    (void)queue;
    vio_drv_scsi_events(vio_drvdev_state(d));
}

static int make_rings(struct vio_drv_scsi *s)
{
    struct vio_drvdev_queue_plan plan[VIO_DRV_SCSI_QUEUES_MAX + 2] = {
        { .queue = VIRTIO_SCSI_CONTROLQ, .size = CONTROL_SIZE, .polled = true },
        { .queue = VIRTIO_SCSI_EVENTQ, .size = DRV_SCSI_EVENTS, .polled = s->params->event == NULL,
          .callback = s->params->event != NULL ? event_used : NULL },
    };
    uint32_t tables = vio_drvdev_has(s->d, VIRTIO_F_INDIRECT_DESC) ? s->params->indirect_max : 0;
    int error;

    for (uint16_t i = 0; i < s->info.queues; i++)
        plan[2 + i] = (struct vio_drvdev_queue_plan){
            .queue = drv_scsi_vq(i),
            .size = s->params->queue_size != 0 ? s->params->queue_size : QUEUE_SIZE,
            .indirect_max = (uint16_t)tables,
            .polled = s->params->used == NULL,
            .callback = s->params->used != NULL ? used : NULL,
        };
    error = vio_drvdev_queues(s->d, plan, s->info.queues + 2u);
    if (error != 0)
        return error;
    for (uint16_t i = 0; i < s->info.queues; i++) {
        uint32_t room = vio_drvdev_queue_size(s->d, drv_scsi_vq(i));

        if (room < COMMAND_ENTRIES)
            return vio_drvdev_fail(s->d, -EPROTO, "queue %u has %u entries: a command takes %u", drv_scsi_vq(i), room,
                                   (unsigned)COMMAND_ENTRIES);
        if (room > tables || tables < COMMAND_ENTRIES)
            s->info.seg_max = vio_min_u32(s->info.seg_max, room - 2);
    }
    return 0;
}

/* ------------------------------------------------------------------ memory */

static void free_all(struct vio_drv_scsi *s)
{
    const struct vio_platform *p = vio_drvdev_platform(s->d);

    for (uint16_t i = 0; s->queue != NULL && i < s->info.queues; i++) {
        struct drv_scsi_queue *q = &s->queue[i];

        if (q->command != NULL)
            p->free(p->ctx, q->command, q->slots.nr * sizeof(q->command[0]));
        drv_slots_close(&q->slots);
    }
    if (s->queue != NULL)
        p->free(p->ctx, s->queue, s->queue_bytes);
    s->queue = NULL;
    drv_slots_close(&s->control);
    drv_slots_close(&s->events);
    drv_slots_close(&s->bounce);
}

static int make_queue(struct vio_drv_scsi *s, uint16_t queue)
{
    const struct vio_platform *p = vio_drvdev_platform(s->d);
    struct drv_scsi_queue *q = &s->queue[queue];
    int error = drv_slots_open(s->d, &q->slots, vio_drvdev_queue_size(s->d, drv_scsi_vq(queue)), DRV_SCSI_SLOT);

    if (error != 0)
        return error;
    q->command = p->alloc(p->ctx, q->slots.nr * sizeof(q->command[0]));
    return q->command != NULL ? 0 : -ENOMEM;
}

static int make_memory(struct vio_drv_scsi *s)
{
    const struct vio_platform *p = vio_drvdev_platform(s->d);
    uint32_t events = vio_min_u32(DRV_SCSI_EVENTS, vio_drvdev_queue_size(s->d, VIRTIO_SCSI_EVENTQ));
    int error;

    s->queue_bytes = s->info.queues * sizeof(s->queue[0]);
    s->queue = p->alloc(p->ctx, s->queue_bytes);
    error = s->queue != NULL ? 0 : -ENOMEM;
    for (uint16_t i = 0; error == 0 && i < s->info.queues; i++)
        error = make_queue(s, i);
    if (error == 0)
        error = drv_slots_open(s->d, &s->control, 1, DRV_SCSI_SLOT);
    if (error == 0)
        error = drv_slots_open(s->d, &s->events, events, s->event_bytes);
    if (error == 0 && !s->params->no_bounce)
        error = drv_slots_open(s->d, &s->bounce, 1, VIO_DRV_SCSI_BOUNCE);
    if (error == 0)
        return 0;
    free_all(s);
    return vio_drvdev_fail(s->d, error, "no memory for %u queues of SCSI commands", s->info.queues);
}

/* ------------------------------------------------------------------ from probe to remove */

static int probe(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);
    struct vio_drv_scsi *s = vio_drvdev_state(d);
    int error;

    s->d = d;
    /* Ours, or the one that a struct vio_drv_scsi_driver begins with. */
    s->params = driver == &vio_driver_scsi ? &defaults : &((const struct vio_drv_scsi_driver *)(const void *)driver)->params;
    error = configure(s);
    if (error == 0)
        error = make_rings(s);
    return error != 0 ? error : make_memory(s);
}

static int scan(struct vio_drvdev *d)
{
    int error = drv_scsi_events_start(vio_drvdev_state(d));

    return error == 0 ? 0 : vio_drvdev_fail(d, error, "the SCSI host's event queue takes no buffer (error %d)", -error);
}

static void lose(struct vio_drv_scsi *s, uint16_t queue)
{
    struct drv_scsi_queue *q = &s->queue[queue];

    for (uint32_t i = 0; q->command != NULL && i < q->slots.nr; i++)
        if (q->command[i].out && !(s->late && queue == 0) && s->params->lost != NULL)
            s->params->lost(s->params->ctx, s->d, queue, q->command[i].token);
}

static void remove_(struct vio_drvdev *d)
{
    struct vio_drv_scsi *s = vio_drvdev_state(d);

    for (uint16_t i = 0; s->queue != NULL && i < s->info.queues; i++)
        lose(s, i);
    free_all(s);
}

static const uint32_t types[] = { VIRTIO_ID_SCSI, 0 };

/* IN_ORDER is left out: one slow command would hold up all that are done behind it. */
const struct vio_driver vio_driver_scsi = {
    .name = "scsi",
    .types = types,
    .features = { { VIO_FEATURE(VIRTIO_SCSI_F_INOUT) | VIO_FEATURE(VIRTIO_SCSI_F_HOTPLUG) |
                    VIO_FEATURE(VIRTIO_SCSI_F_CHANGE) | VIO_FEATURE(VIRTIO_F_RING_PACKED) |
                    VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIO_FEATURE(VIRTIO_F_EVENT_IDX), 0 } },
    .state_size = sizeof(struct vio_drv_scsi),
    .probe = probe,
    .scan = scan,
    .remove = remove_,
};

void vio_drv_scsi_driver(struct vio_drv_scsi_driver *driver, const struct vio_drv_scsi_params *params)
{
    driver->driver = vio_driver_scsi;
    driver->params = *params;
}

struct vio_drv_scsi *vio_drv_scsi_of(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    if (driver == NULL || driver->probe != probe || vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        return NULL;
    return vio_drvdev_state(d);
}
