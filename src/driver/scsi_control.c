/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the SCSI driver's control queue, one request at a time, and its event queue (virtio 1.4, 5.6.6.2 and 5.6.6.3).
 * Where it sits: driver/, freestanding. Threads: the control thread.
 * Trust: responses and events are copied once; an event shorter than one is passed over.
 */
#include <errno.h>
#include <string.h>
#include "driver/scsi_internal.h"

/* ------------------------------------------------------------------ control */

static int control_ready(struct vio_drv_scsi *s)
{
    struct vio_done done;

    if (vio_drvdev_status(s->d) != VIO_DRVDEV_RUNS)
        return -EIO;
    if (s->control_late && vio_drvq_collect(vio_drvdev_queue(s->d, VIRTIO_SCSI_CONTROLQ), &done, 1) == 1)
        s->control_late = false;
    return s->control_late ? -EBUSY : 0;
}

/* A request there and its response back. */
static int control(struct vio_drv_scsi *s, const void *request, uint32_t len, void *response, uint32_t response_len, uint64_t ns)
{
    struct vio_drvq *q = vio_drvdev_queue(s->d, VIRTIO_SCSI_CONTROLQ);
    uint8_t *host = drv_slots_host(&s->control, 0);
    uint64_t addr = drv_slots_addr(&s->control, 0);
    const struct vio_buf bufs[2] = { { addr, len }, { addr + DRV_SCSI_RESPONSE_AT, response_len } };
    struct vio_done done;
    int error = control_ready(s);

    if (error != 0)
        return error;
    memcpy(host, request, len);
    memset(host + DRV_SCSI_RESPONSE_AT, VIO_DRV_SCSI_NO_RESPONSE, response_len);
    error = vio_drvq_put(q, bufs, 1, 1, 0);
    if (error != 0)
        return error;
    s->control_late = true;
    vio_drvdev_publish(s->d, VIRTIO_SCSI_CONTROLQ);
    error = vio_drvdev_wait(s->d, VIRTIO_SCSI_CONTROLQ, ns);
    if (error != 0)
        return error;
    if (vio_drvq_collect(q, &done, 1) != 1) {
        (void)drv_queue_broken(s->d, VIRTIO_SCSI_CONTROLQ);
        return -EIO;
    }
    s->control_late = false;
    memcpy(response, host + DRV_SCSI_RESPONSE_AT, response_len);
    return 0;
}

static int id_of(const struct vio_drv_scsi *s, uint16_t queue, uint64_t token, uint64_t *id)
{
    if (queue >= s->info.queues)
        return -ENOENT;
    for (uint32_t i = 0; i < s->queue[queue].slots.nr; i++) {
        const struct drv_scsi_command *command = &s->queue[queue].command[i];

        if (command->out && command->token == token) {
            *id = command->id;
            return 0;
        }
    }
    return -ENOENT;
}

int vio_drv_scsi_tmf(struct vio_drv_scsi *s, uint32_t subtype, struct vio_drv_scsi_lun lun, uint16_t queue, uint64_t token,
                     uint8_t *response, uint64_t ns)
{
    struct virtio_scsi_ctrl_tmf request = { .type = vio_le32_of(VIRTIO_SCSI_T_TMF), .subtype = vio_le32_of(subtype) };
    uint64_t id = 0;
    int error = 0;

    if (subtype > VIRTIO_SCSI_T_TMF_QUERY_TASK_SET)
        return -EINVAL;
    if (subtype == VIRTIO_SCSI_T_TMF_ABORT_TASK || subtype == VIRTIO_SCSI_T_TMF_QUERY_TASK)
        error = id_of(s, queue, token, &id);
    if (error != 0)
        return error;
    request.id = vio_le64_of(id);
    memcpy(request.lun, lun.bytes, sizeof(request.lun));
    error = control(s, &request, sizeof(request), response, 1, ns);
    return error != 0 ? error : *response != VIO_DRV_SCSI_NO_RESPONSE ? 0 : -EPROTO;
}

int vio_drv_scsi_async(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, bool subscribe, uint32_t requested,
                       uint32_t *actual, uint64_t ns)
{
    struct virtio_scsi_ctrl_an request = {
        .type = vio_le32_of(subscribe ? VIRTIO_SCSI_T_AN_SUBSCRIBE : VIRTIO_SCSI_T_AN_QUERY),
        .event_requested = vio_le32_of(requested),
    };
    struct virtio_scsi_ctrl_an_resp response;
    int error;

    memcpy(request.lun, lun.bytes, sizeof(request.lun));
    error = control(s, &request, sizeof(request), &response, sizeof(response), ns);
    if (error != 0)
        return error;
    switch (response.response) {
    case VIRTIO_SCSI_S_OK:
        *actual = vio_cpu(response.event_actual) & requested;
        return 0;
    case VIRTIO_SCSI_S_BAD_TARGET:
    case VIRTIO_SCSI_S_INCORRECT_LUN:
        return -ENODEV;
    case VIO_DRV_SCSI_NO_RESPONSE:
        return -EPROTO;
    default:
        return -EIO;
    }
}

/* ------------------------------------------------------------------ events */

static int put_event(struct vio_drv_scsi *s, uint32_t slot)
{
    struct vio_buf buf = { drv_slots_addr(&s->events, slot), s->event_bytes };

    return vio_drvq_put(vio_drvdev_queue(s->d, VIRTIO_SCSI_EVENTQ), &buf, 0, 1, slot);
}

static void tell(struct vio_drv_scsi *s, const uint8_t *bytes)
{
    struct virtio_scsi_event wire;
    struct vio_drv_scsi_event event;

    memcpy(&wire, bytes, sizeof(wire));
    event.missed = (vio_cpu(wire.event) & VIRTIO_SCSI_T_EVENTS_MISSED) != 0;
    event.event = vio_cpu(wire.event) & ~VIRTIO_SCSI_T_EVENTS_MISSED;
    event.reason = vio_cpu(wire.reason);
    memcpy(event.lun.bytes, wire.lun, sizeof(event.lun.bytes));
    if (s->params->event != NULL)
        s->params->event(s->params->ctx, s->d, &event);
}

void vio_drv_scsi_events(struct vio_drv_scsi *s)
{
    uint8_t copy[sizeof(struct virtio_scsi_event)];
    struct vio_done done;

    /* At most as many as there are buffers: a device that answers at once must not keep us here. */
    for (uint32_t i = 0; i < s->events.nr && drv_collect(s->d, VIRTIO_SCSI_EVENTQ, &done); i++) {
        memcpy(copy, drv_slots_host(&s->events, (uint32_t)done.token), sizeof(copy));
        if (put_event(s, (uint32_t)done.token) != 0)
            break;
        if (done.len >= sizeof(copy))
            tell(s, copy);
    }
    if (!drv_queue_broken(s->d, VIRTIO_SCSI_EVENTQ))
        vio_drvdev_publish(s->d, VIRTIO_SCSI_EVENTQ);
}

int drv_scsi_events_start(struct vio_drv_scsi *s)
{
    uint32_t slot;

    while ((slot = drv_slots_take(&s->events)) != DRV_SLOT_NONE) {
        int error = put_event(s, slot);

        if (error != 0)
            return error;
    }
    vio_drvdev_publish(s->d, VIRTIO_SCSI_EVENTQ);
    return 0;
}
