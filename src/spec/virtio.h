/* SPDX-License-Identifier: MIT */
/*
 * Purpose: chapters 2, 3 and 6 of the specification as constants: device status, reserved feature bits,
 * device ids. Where it sits: spec/. No code, freestanding.
 */
#ifndef VIO_SPEC_VIRTIO_H
#define VIO_SPEC_VIRTIO_H

/* virtio 1.4, 2.1: device status field */
#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER 2u
#define VIRTIO_STATUS_DRIVER_OK 4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_SUSPEND 16u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED 128u

/* virtio 1.4, 6: reserved feature bits (bit numbers) */
#define VIRTIO_F_NOTIFY_ON_EMPTY 24 /* legacy */
#define VIRTIO_F_LOG_ALL 26         /* vhost only: never shown to a driver */
#define VIRTIO_F_ANY_LAYOUT 27      /* legacy */
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_PROTOCOL_FEATURES 30 /* vhost-user only: never shown to a driver */
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_ACCESS_PLATFORM 33
#define VIRTIO_F_RING_PACKED 34
#define VIRTIO_F_IN_ORDER 35
#define VIRTIO_F_ORDER_PLATFORM 36
#define VIRTIO_F_SR_IOV 37
#define VIRTIO_F_NOTIFICATION_DATA 38
#define VIRTIO_F_NOTIF_CONFIG_DATA 39
#define VIRTIO_F_RING_RESET 40
#define VIRTIO_F_ADMIN_VQ 41
#define VIRTIO_F_SUSPEND 43

/* virtio 1.4, 5: device ids */
#define VIRTIO_ID_NET 1
#define VIRTIO_ID_BLOCK 2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_ENTROPY 4
#define VIRTIO_ID_BALLOON 5
#define VIRTIO_ID_SCSI 8
#define VIRTIO_ID_VSOCK 19
#define VIRTIO_ID_FS 26

/* virtio 1.4, 2.7 and 2.8: both formats hold at most 2^15 entries */
#define VIRTQ_SIZE_MAX 32768u

#endif
