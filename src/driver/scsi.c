/* SPDX-License-Identifier: MIT */
/*
 * Purpose: SCSI commands in flight: put, publish, collect (virtio 1.4, 5.6.6.1). Where it sits: driver/, freestanding.
 * Threads: the queue's owner. Trust: a response is copied once and judged on the copy. Its used length is no witness: devices
 * in use say 0 there, so what tells that a response was written is its last byte, which held a value that none has.
 */
#include <errno.h>
#include <string.h>
#include "driver/scsi_internal.h"

/* ------------------------------------------------------------------ put */

static int check(const struct vio_drv_scsi *s, const struct vio_drv_scsi_op *op, uint64_t *bytes)
{
    *bytes = 0;
    if (op->nr_out > s->info.seg_max || op->nr_in > s->info.seg_max - op->nr_out)
        return -E2BIG;
    if (op->nr_out > 0 && op->nr_in > 0 && !s->info.inout)
        return -ENOTSUP;
    for (uint32_t i = 0; i < op->nr_out + op->nr_in; i++) {
        uint32_t len = i < op->nr_out ? op->out[i].len : op->in[i - op->nr_out].len;

        if (len == 0)
            return -EINVAL;
        *bytes += len;
    }
    return 0;
}

static void write_request(uint8_t *slot, const struct vio_drv_scsi_op *op, uint64_t id)
{
    struct virtio_scsi_req_cmd request = {
        .id = vio_le64_of(id), .task_attr = op->task_attr, .prio = op->prio, .crn = op->crn,
    };
    struct virtio_scsi_resp_cmd response = { .response = VIO_DRV_SCSI_NO_RESPONSE };

    memcpy(request.lun, op->lun.bytes, sizeof(request.lun));
    memcpy(request.cdb, op->cdb, sizeof(request.cdb));
    memcpy(slot, &request, sizeof(request));
    memcpy(slot + DRV_SCSI_RESPONSE_AT, &response, sizeof(response));
}

static int put_one(struct vio_drv_scsi *s, uint16_t queue, const struct vio_drv_scsi_op *op)
{
    struct vio_buf bufs[VIO_DRV_SCSI_PIECES_MAX + 2];
    struct drv_scsi_queue *q = &s->queue[queue];
    uint64_t bytes, id, addr;
    uint32_t slot;
    unsigned n = 0;
    int error = check(s, op, &bytes);

    if (error != 0)
        return error;
    slot = drv_slots_take(&q->slots);
    if (slot == DRV_SLOT_NONE)
        return -EAGAIN;
    id = q->next_id++ << 16 | queue; /* one nexus: no two queues may use the same */
    addr = drv_slots_addr(&q->slots, slot);
    write_request(drv_slots_host(&q->slots, slot), op, id);
    bufs[n++] = (struct vio_buf){ addr, sizeof(struct virtio_scsi_req_cmd) };
    for (uint32_t i = 0; i < op->nr_out; i++)
        bufs[n++] = op->out[i];
    bufs[n++] = (struct vio_buf){ addr + DRV_SCSI_RESPONSE_AT, sizeof(struct virtio_scsi_resp_cmd) };
    for (uint32_t i = 0; i < op->nr_in; i++)
        bufs[n++] = op->in[i];
    error = vio_drvq_put(vio_drvdev_queue(s->d, drv_scsi_vq(queue)), bufs, 1 + op->nr_out, 1 + op->nr_in, slot);
    if (error != 0) {
        drv_slots_give(&q->slots, slot);
        return error == -ENOSPC ? -EAGAIN : error;
    }
    q->command[slot] = (struct drv_scsi_command){ .token = op->token, .id = id, .bytes = bytes, .out = true };
    return 0;
}

int vio_drv_scsi_put(struct vio_drv_scsi *s, uint16_t queue, const struct vio_drv_scsi_op *ops, unsigned n)
{
    unsigned put = 0;

    if (queue >= s->info.queues)
        return -EINVAL;
    if (vio_drvdev_status(s->d) != VIO_DRVDEV_RUNS)
        return -EIO;
    for (; put < n && put < INT16_MAX; put++) {
        int error = put_one(s, queue, &ops[put]);

        if (error != 0)
            return put > 0 ? (int)put : error;
    }
    return (int)put;
}

void vio_drv_scsi_publish(struct vio_drv_scsi *s, uint16_t queue)
{
    if (queue < s->info.queues)
        vio_drvdev_publish(s->d, drv_scsi_vq(queue));
}

/* ------------------------------------------------------------------ collect */

static int16_t error_of(uint8_t response, uint8_t status)
{
    switch (response) {
    case VIRTIO_SCSI_S_OK:
        break;
    case VIRTIO_SCSI_S_OVERRUN:
        return -EOVERFLOW;
    case VIRTIO_SCSI_S_ABORTED:
    case VIRTIO_SCSI_S_RESET:
        return -ECANCELED;
    case VIRTIO_SCSI_S_BAD_TARGET:
        return -ENODEV;
    case VIRTIO_SCSI_S_BUSY:
        return -EBUSY;
    case VIRTIO_SCSI_S_TRANSPORT_FAILURE:
    case VIRTIO_SCSI_S_TARGET_FAILURE:
    case VIRTIO_SCSI_S_NEXUS_FAILURE:
    case VIRTIO_SCSI_S_FAILURE:
        return -EIO;
    default:
        return -EPROTO;
    }
    switch (status) {
    case SCSI_STATUS_GOOD:
        return 0;
    case SCSI_STATUS_BUSY:
    case SCSI_STATUS_TASK_SET_FULL:
        return -EBUSY;
    case SCSI_STATUS_TASK_ABORTED:
        return -ECANCELED;
    default:
        return -EIO;
    }
}

static void judge(const struct drv_scsi_command *command, const uint8_t *slot, struct vio_drv_scsi_result *result)
{
    struct virtio_scsi_resp_cmd response;
    uint32_t sense_len, residual;

    memcpy(&response, slot + DRV_SCSI_RESPONSE_AT, sizeof(response));
    sense_len = vio_cpu(response.sense_len);
    residual = vio_cpu(response.residual);
    *result = (struct vio_drv_scsi_result){
        .token = command->token,
        .residual = (uint32_t)vio_min_u64(residual, command->bytes),
        .status_qualifier = vio_cpu(response.status_qualifier),
        .status = response.status,
        .response = response.response,
        .error = error_of(response.response, response.status),
        .sense_len = (uint8_t)vio_min_u32(sense_len, VIO_DRV_SCSI_SENSE),
    };
    memcpy(result->sense, response.sense, result->sense_len);
    /* OVERRUN: the unit had more than there was room for, and some count that here. */
    if (sense_len > VIO_DRV_SCSI_SENSE || (residual > command->bytes && response.response != VIRTIO_SCSI_S_OVERRUN))
        result->error = -EPROTO;
}

unsigned vio_drv_scsi_collect(struct vio_drv_scsi *s, uint16_t queue, struct vio_drv_scsi_result *results, unsigned max)
{
    struct drv_scsi_queue *q;
    struct vio_done done;
    unsigned got = 0;

    if (queue >= s->info.queues)
        return 0;
    q = &s->queue[queue];
    while (got < max && drv_collect(s->d, drv_scsi_vq(queue), &done)) {
        uint32_t slot = (uint32_t)done.token;

        judge(&q->command[slot], drv_slots_host(&q->slots, slot), &results[got++]);
        q->command[slot].out = false;
        drv_slots_give(&q->slots, slot);
    }
    (void)drv_queue_broken(s->d, drv_scsi_vq(queue));
    return got;
}

uint32_t vio_drv_scsi_in_flight(const struct vio_drv_scsi *s, uint16_t queue)
{
    return queue < s->info.queues ? s->queue[queue].slots.nr - s->queue[queue].slots.nr_free : 0;
}

struct vio_drv_scsi_info vio_drv_scsi_info(const struct vio_drv_scsi *s)
{
    return s->info;
}
