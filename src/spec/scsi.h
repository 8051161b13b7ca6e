/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the SCSI host device's wire layout and constants (virtio 1.4, 5.6), and the few of SCSI itself that a driver of
 * disks needs. Where it sits: spec/.
 */
#ifndef VIO_SPEC_SCSI_H
#define VIO_SPEC_SCSI_H

#include <vio/types.h>

/* virtio 1.4, 5.6.2: queues; requests from 2 on */
#define VIRTIO_SCSI_CONTROLQ 0u
#define VIRTIO_SCSI_EVENTQ 1u
#define VIRTIO_SCSI_REQUESTQ 2u

/* virtio 1.4, 5.6.3: feature bits */
#define VIRTIO_SCSI_F_INOUT 0
#define VIRTIO_SCSI_F_HOTPLUG 1
#define VIRTIO_SCSI_F_CHANGE 2
#define VIRTIO_SCSI_F_T10_PI 3

/* virtio 1.4, 5.6.4: device configuration */
struct virtio_scsi_config {
    vio_le32 num_queues;
    vio_le32 seg_max;
    vio_le32 max_sectors;
    vio_le32 cmd_per_lun;
    vio_le32 event_info_size;
    vio_le32 sense_size;
    vio_le32 cdb_size;
    vio_le16 max_channel;
    vio_le16 max_target;
    vio_le32 max_lun;
};
_Static_assert(sizeof(struct virtio_scsi_config) == 36, "virtio 1.4, 5.6.4");

#define VIRTIO_SCSI_CDB_DEFAULT_SIZE 32u
#define VIRTIO_SCSI_SENSE_DEFAULT_SIZE 96u

/* virtio 1.4, 5.6.6.1: a command, with the default sizes */
struct virtio_scsi_req_cmd {
    uint8_t lun[8];
    vio_le64 id;
    uint8_t task_attr;
    uint8_t prio;
    uint8_t crn;
    uint8_t cdb[VIRTIO_SCSI_CDB_DEFAULT_SIZE];
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_scsi_req_cmd) == 51, "virtio 1.4, 5.6.6.1");

struct virtio_scsi_resp_cmd {
    vio_le32 sense_len;
    vio_le32 residual;
    vio_le16 status_qualifier;
    uint8_t status;
    uint8_t response;
    uint8_t sense[VIRTIO_SCSI_SENSE_DEFAULT_SIZE];
};
_Static_assert(sizeof(struct virtio_scsi_resp_cmd) == 108, "virtio 1.4, 5.6.6.1");

/* task_attr */
#define VIRTIO_SCSI_S_SIMPLE 0u
#define VIRTIO_SCSI_S_ORDERED 1u
#define VIRTIO_SCSI_S_HEAD 2u
#define VIRTIO_SCSI_S_ACA 3u

/* response of a command, and of a task management function */
#define VIRTIO_SCSI_S_OK 0u
#define VIRTIO_SCSI_S_OVERRUN 1u
#define VIRTIO_SCSI_S_ABORTED 2u
#define VIRTIO_SCSI_S_BAD_TARGET 3u
#define VIRTIO_SCSI_S_RESET 4u
#define VIRTIO_SCSI_S_BUSY 5u
#define VIRTIO_SCSI_S_TRANSPORT_FAILURE 6u
#define VIRTIO_SCSI_S_TARGET_FAILURE 7u
#define VIRTIO_SCSI_S_NEXUS_FAILURE 8u
#define VIRTIO_SCSI_S_FAILURE 9u
#define VIRTIO_SCSI_S_FUNCTION_COMPLETE 0u
#define VIRTIO_SCSI_S_FUNCTION_SUCCEEDED 10u
#define VIRTIO_SCSI_S_FUNCTION_REJECTED 11u
#define VIRTIO_SCSI_S_INCORRECT_LUN 12u

/* virtio 1.4, 5.6.6.2: control queue */
#define VIRTIO_SCSI_T_TMF 0u
#define VIRTIO_SCSI_T_AN_QUERY 1u
#define VIRTIO_SCSI_T_AN_SUBSCRIBE 2u

#define VIRTIO_SCSI_T_TMF_ABORT_TASK 0u
#define VIRTIO_SCSI_T_TMF_ABORT_TASK_SET 1u
#define VIRTIO_SCSI_T_TMF_CLEAR_ACA 2u
#define VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET 3u
#define VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET 4u
#define VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET 5u
#define VIRTIO_SCSI_T_TMF_QUERY_TASK 6u
#define VIRTIO_SCSI_T_TMF_QUERY_TASK_SET 7u

struct virtio_scsi_ctrl_tmf {
    vio_le32 type;
    vio_le32 subtype;
    uint8_t lun[8];
    vio_le64 id;
};
_Static_assert(sizeof(struct virtio_scsi_ctrl_tmf) == 24, "virtio 1.4, 5.6.6.2");

struct virtio_scsi_ctrl_an {
    vio_le32 type;
    uint8_t lun[8];
    vio_le32 event_requested;
};
_Static_assert(sizeof(struct virtio_scsi_ctrl_an) == 16, "virtio 1.4, 5.6.6.2");

struct virtio_scsi_ctrl_an_resp {
    vio_le32 event_actual;
    uint8_t response;
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_scsi_ctrl_an_resp) == 5, "virtio 1.4, 5.6.6.2");

#define VIRTIO_SCSI_EVT_ASYNC_OPERATIONAL_CHANGE 2u
#define VIRTIO_SCSI_EVT_ASYNC_POWER_MGMT 4u
#define VIRTIO_SCSI_EVT_ASYNC_EXTERNAL_REQUEST 8u
#define VIRTIO_SCSI_EVT_ASYNC_MEDIA_CHANGE 16u
#define VIRTIO_SCSI_EVT_ASYNC_MULTI_HOST 32u
#define VIRTIO_SCSI_EVT_ASYNC_DEVICE_BUSY 64u

/* virtio 1.4, 5.6.6.3: event queue */
struct virtio_scsi_event {
    vio_le32 event;
    uint8_t lun[8];
    vio_le32 reason;
};
_Static_assert(sizeof(struct virtio_scsi_event) == 16, "virtio 1.4, 5.6.6.3");

#define VIRTIO_SCSI_T_EVENTS_MISSED 0x80000000u
#define VIRTIO_SCSI_T_NO_EVENT 0u
#define VIRTIO_SCSI_T_TRANSPORT_RESET 1u
#define VIRTIO_SCSI_T_ASYNC_NOTIFY 2u
#define VIRTIO_SCSI_T_PARAM_CHANGE 3u

#define VIRTIO_SCSI_EVT_RESET_HARD 0u
#define VIRTIO_SCSI_EVT_RESET_RESCAN 1u
#define VIRTIO_SCSI_EVT_RESET_REMOVED 2u

/* SCSI: operation codes (SPC, SBC), status (SAM), sense keys (SPC) */
#define SCSI_TEST_UNIT_READY 0x00u
#define SCSI_REQUEST_SENSE 0x03u
#define SCSI_INQUIRY 0x12u
#define SCSI_READ_CAPACITY_10 0x25u
#define SCSI_READ_10 0x28u
#define SCSI_WRITE_10 0x2au
#define SCSI_SYNCHRONIZE_CACHE_10 0x35u
#define SCSI_UNMAP 0x42u
#define SCSI_READ_16 0x88u
#define SCSI_WRITE_16 0x8au
#define SCSI_SERVICE_ACTION_IN_16 0x9eu
#define SCSI_SAI_READ_CAPACITY_16 0x10u
#define SCSI_REPORT_LUNS 0xa0u

#define SCSI_STATUS_GOOD 0x00u
#define SCSI_STATUS_CHECK_CONDITION 0x02u
#define SCSI_STATUS_BUSY 0x08u
#define SCSI_STATUS_RESERVATION_CONFLICT 0x18u
#define SCSI_STATUS_TASK_SET_FULL 0x28u
#define SCSI_STATUS_TASK_ABORTED 0x40u

#define SCSI_KEY_NO_SENSE 0x0u
#define SCSI_KEY_RECOVERED 0x1u
#define SCSI_KEY_NOT_READY 0x2u
#define SCSI_KEY_MEDIUM_ERROR 0x3u
#define SCSI_KEY_HARDWARE_ERROR 0x4u
#define SCSI_KEY_ILLEGAL_REQUEST 0x5u
#define SCSI_KEY_UNIT_ATTENTION 0x6u
#define SCSI_KEY_DATA_PROTECT 0x7u
#define SCSI_KEY_ABORTED_COMMAND 0xbu

#endif
