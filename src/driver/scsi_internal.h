/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the SCSI driver's files share. Where it sits: driver/, private, freestanding.
 * Threads: each struct drv_scsi_queue is its owner's; the rest is the control thread's, or fixed from probe to remove.
 */
#ifndef VIO_DRIVER_SCSI_INTERNAL_H
#define VIO_DRIVER_SCSI_INTERNAL_H

#include <vio/drv_scsi.h>
#include "driver/core_slots.h"
#include "spec/scsi.h"

/* In each slot: the request, then the response. */
enum { DRV_SCSI_RESPONSE_AT = 64, DRV_SCSI_SLOT = 192, DRV_SCSI_EVENTS = 16, DRV_SCSI_EVENT_MAX = 1024 };

/* A command in flight, by its slot. */
struct drv_scsi_command {
    uint64_t token, id;
    uint64_t bytes; /* of data, both ways */
    bool out;       /* in flight */
};

struct drv_scsi_queue {
    struct drv_slots slots;
    struct drv_scsi_command *command; /* as many as slots */
    uint64_t next_id;
};

struct vio_drv_scsi {
    struct vio_drvdev *d;
    const struct vio_drv_scsi_params *params;
    struct vio_drv_scsi_info info;
    struct drv_scsi_queue *queue;
    size_t queue_bytes;
    struct drv_slots control; /* one */
    struct drv_slots events;
    struct drv_slots bounce;  /* one, or none */
    uint32_t event_bytes;
    bool control_late, late;  /* a call that waited gave up: its buffer is still out */
};

static inline uint16_t drv_scsi_vq(uint16_t queue)
{
    return (uint16_t)(VIRTIO_SCSI_REQUESTQ + queue);
}

/* scsi_control.c */
int drv_scsi_events_start(struct vio_drv_scsi *s) VIO_MUST_CHECK;

#endif
