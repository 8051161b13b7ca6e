/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vhost-user as it stands on the socket: messages, payloads, protocol features (QEMU's
 * docs/interop/vhost-user.rst). Where it sits: spec/; both sides of transport/vhost_user* use it.
 * Numbers are in host byte order: both ends are on one machine. Names are that document's.
 */
#ifndef VIO_SPEC_VHOST_USER_H
#define VIO_SPEC_VHOST_USER_H

#include <vio/types.h>

/* "Message specification": what stands before each payload */
struct vhost_user_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* of the payload */
};
#define VHOST_USER_VERSION 1u
#define VHOST_USER_VERSION_MASK 3u
#define VHOST_USER_REPLY 4u
#define VHOST_USER_NEED_REPLY 8u

/* "Front-end message types" */
#define VHOST_USER_GET_FEATURES 1u
#define VHOST_USER_SET_FEATURES 2u
#define VHOST_USER_SET_OWNER 3u
#define VHOST_USER_RESET_OWNER 4u
#define VHOST_USER_SET_MEM_TABLE 5u
#define VHOST_USER_SET_LOG_BASE 6u
#define VHOST_USER_SET_LOG_FD 7u
#define VHOST_USER_SET_VRING_NUM 8u
#define VHOST_USER_SET_VRING_ADDR 9u
#define VHOST_USER_SET_VRING_BASE 10u
#define VHOST_USER_GET_VRING_BASE 11u
#define VHOST_USER_SET_VRING_KICK 12u
#define VHOST_USER_SET_VRING_CALL 13u
#define VHOST_USER_SET_VRING_ERR 14u
#define VHOST_USER_GET_PROTOCOL_FEATURES 15u
#define VHOST_USER_SET_PROTOCOL_FEATURES 16u
#define VHOST_USER_GET_QUEUE_NUM 17u
#define VHOST_USER_SET_VRING_ENABLE 18u
#define VHOST_USER_SEND_RARP 19u
#define VHOST_USER_NET_SET_MTU 20u
#define VHOST_USER_SET_BACKEND_REQ_FD 21u
#define VHOST_USER_IOTLB_MSG 22u
#define VHOST_USER_SET_VRING_ENDIAN 23u
#define VHOST_USER_GET_CONFIG 24u
#define VHOST_USER_SET_CONFIG 25u
#define VHOST_USER_CREATE_CRYPTO_SESSION 26u
#define VHOST_USER_CLOSE_CRYPTO_SESSION 27u
#define VHOST_USER_POSTCOPY_ADVISE 28u
#define VHOST_USER_POSTCOPY_LISTEN 29u
#define VHOST_USER_POSTCOPY_END 30u
#define VHOST_USER_GET_INFLIGHT_FD 31u
#define VHOST_USER_SET_INFLIGHT_FD 32u
#define VHOST_USER_GPU_SET_SOCKET 33u
#define VHOST_USER_RESET_DEVICE 34u
#define VHOST_USER_VRING_KICK 35u
#define VHOST_USER_GET_MAX_MEM_SLOTS 36u
#define VHOST_USER_ADD_MEM_REG 37u
#define VHOST_USER_REM_MEM_REG 38u
#define VHOST_USER_SET_STATUS 39u
#define VHOST_USER_GET_STATUS 40u
#define VHOST_USER_GET_SHARED_OBJECT 41u
#define VHOST_USER_SET_DEVICE_STATE_FD 42u
#define VHOST_USER_CHECK_DEVICE_STATE 43u
#define VHOST_USER_GET_SHMEM_CONFIG 44u

/* "Back-end message types", on the socket that SET_BACKEND_REQ_FD gave */
#define VHOST_USER_BACKEND_IOTLB_MSG 1u
#define VHOST_USER_BACKEND_CONFIG_CHANGE_MSG 2u
#define VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG 3u
#define VHOST_USER_BACKEND_VRING_CALL 4u
#define VHOST_USER_BACKEND_VRING_ERR 5u

/* "Protocol features": bit numbers */
#define VHOST_USER_PROTOCOL_F_MQ 0
#define VHOST_USER_PROTOCOL_F_LOG_SHMFD 1
#define VHOST_USER_PROTOCOL_F_RARP 2
#define VHOST_USER_PROTOCOL_F_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_F_MTU 4
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ 5
#define VHOST_USER_PROTOCOL_F_CROSS_ENDIAN 6
#define VHOST_USER_PROTOCOL_F_CRYPTO_SESSION 7
#define VHOST_USER_PROTOCOL_F_PAGEFAULT 8
#define VHOST_USER_PROTOCOL_F_CONFIG 9
#define VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD 10
#define VHOST_USER_PROTOCOL_F_HOST_NOTIFIER 11
#define VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD 12
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE 13
#define VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS 14
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15
#define VHOST_USER_PROTOCOL_F_STATUS 16
#define VHOST_USER_PROTOCOL_F_XEN_MMAP 17
#define VHOST_USER_PROTOCOL_F_SHARED_OBJECT 18
#define VHOST_USER_PROTOCOL_F_DEVICE_STATE 19
#define VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT 20
#define VHOST_USER_PROTOCOL_F_GPA_ADDRESSES 21
#define VHOST_USER_PROTOCOL_F_SHMEM 22

/* ---- payloads; a u64 alone is just that */

/* SET_VRING_KICK, _CALL, _ERR: the queue in bits 0-7, and whether no descriptor comes with it */
#define VHOST_USER_VRING_IDX_MASK 0xffu
#define VHOST_USER_VRING_NOFD 0x100u

struct vhost_user_vring_state {
    uint32_t index;
    uint32_t num;
};

#define VHOST_USER_VRING_ADDR_F_LOG 1u
struct vhost_user_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;   /* descriptor area */
    uint64_t used;   /* device area */
    uint64_t avail;  /* driver area */
    uint64_t log;    /* guest-physical address of the device area, for the dirty log */
};

struct vhost_user_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t mmap_offset;
};

#define VHOST_USER_TABLE_REGIONS 8u
struct vhost_user_mem_table {
    uint32_t nregions;
    uint32_t padding;
    struct vhost_user_region region[VHOST_USER_TABLE_REGIONS]; /* as many as nregions are sent */
};

struct vhost_user_mem_reg { /* ADD_MEM_REG, REM_MEM_REG */
    uint64_t padding;
    struct vhost_user_region region;
};

struct vhost_user_log {
    uint64_t size;
    uint64_t offset;
};

#define VHOST_USER_IOTLB_MISS 1u
#define VHOST_USER_IOTLB_UPDATE 2u
#define VHOST_USER_IOTLB_INVALIDATE 3u
#define VHOST_USER_IOTLB_ACCESS_FAIL 4u
struct vhost_user_iotlb {
    uint64_t iova;
    uint64_t size;
    uint64_t uaddr;
    uint8_t perm; /* 1 read, 2 write */
    uint8_t type;
    uint8_t padding[6];
};

#define VHOST_USER_CONFIG_BYTES_MAX 256u
#define VHOST_USER_CONFIG_WRITABLE 0u
#define VHOST_USER_CONFIG_MIGRATION 1u
struct vhost_user_config { /* size bytes follow */
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
};

struct vhost_user_inflight {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t num_queues;
    uint16_t queue_size;
    uint8_t padding[4];
};

#define VHOST_USER_STATE_SAVE 0u
#define VHOST_USER_STATE_LOAD 1u
#define VHOST_USER_STATE_STOPPED 0u
struct vhost_user_state_transfer {
    uint32_t direction;
    uint32_t phase;
};

_Static_assert(sizeof(struct vhost_user_header) == 12, "vhost-user, header");
_Static_assert(sizeof(struct vhost_user_vring_addr) == 40, "vhost-user, vring address description");
_Static_assert(sizeof(struct vhost_user_region) == 32, "vhost-user, memory region description");
_Static_assert(sizeof(struct vhost_user_iotlb) == 32, "vhost-user, IOTLB message");
_Static_assert(sizeof(struct vhost_user_config) == 12, "vhost-user, virtio device config space");

#endif
