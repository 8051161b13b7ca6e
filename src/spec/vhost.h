/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the kernel's vhost interface as it is spoken by ioctls: numbers and layouts (linux/vhost.h, which is not included: it
 * brings the kernel's own names for the specification's things). Where it sits: spec/. No code. unit/vhost_kernel compares
 * it with the system's header.
 */
#ifndef VIO_SPEC_VHOST_H
#define VIO_SPEC_VHOST_H

#include <linux/ioctl.h>
#include <vio/types.h>

struct vio_vhost_vring_state {
    uint32_t index;
    uint32_t num;
};

struct vio_vhost_vring_file {
    uint32_t index;
    int32_t fd; /* -1: none from now on */
};

/* Addresses are the process's own. */
struct vio_vhost_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

struct vio_vhost_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t flags;
};

/* As the kernel's, which ends with an array; one region is all that a driver with one arena has. */
struct vio_vhost_memory {
    uint32_t nregions;
    uint32_t padding;
    struct vio_vhost_region region[1];
};

struct vio_vhost_scsi_target {
    int32_t abi_version;
    char wwpn[224];
    uint16_t tpgt;
    uint16_t reserved;
};

#define VIO_VHOST 0xaf
#define VIO_VHOST_GET_FEATURES _IOR(VIO_VHOST, 0x00, uint64_t)
#define VIO_VHOST_SET_FEATURES _IOW(VIO_VHOST, 0x00, uint64_t)
#define VIO_VHOST_SET_OWNER _IO(VIO_VHOST, 0x01)
#define VIO_VHOST_SET_MEM_TABLE _IOW(VIO_VHOST, 0x03, uint64_t[1]) /* of the head's size */
#define VIO_VHOST_SET_VRING_NUM _IOW(VIO_VHOST, 0x10, struct vio_vhost_vring_state)
#define VIO_VHOST_SET_VRING_ADDR _IOW(VIO_VHOST, 0x11, struct vio_vhost_vring_addr)
#define VIO_VHOST_SET_VRING_BASE _IOW(VIO_VHOST, 0x12, struct vio_vhost_vring_state)
#define VIO_VHOST_GET_VRING_BASE _IOWR(VIO_VHOST, 0x12, struct vio_vhost_vring_state)
#define VIO_VHOST_SET_VRING_KICK _IOW(VIO_VHOST, 0x20, struct vio_vhost_vring_file)
#define VIO_VHOST_SET_VRING_CALL _IOW(VIO_VHOST, 0x21, struct vio_vhost_vring_file)
#define VIO_VHOST_SET_VRING_ERR _IOW(VIO_VHOST, 0x22, struct vio_vhost_vring_file)
#define VIO_VHOST_NET_SET_BACKEND _IOW(VIO_VHOST, 0x30, struct vio_vhost_vring_file)
#define VIO_VHOST_SCSI_SET_ENDPOINT _IOW(VIO_VHOST, 0x40, struct vio_vhost_scsi_target)
#define VIO_VHOST_SCSI_CLEAR_ENDPOINT _IOW(VIO_VHOST, 0x41, struct vio_vhost_scsi_target)
#define VIO_VHOST_SCSI_GET_ABI_VERSION _IOW(VIO_VHOST, 0x42, int) /* it reads, whatever the direction says */
#define VIO_VHOST_VSOCK_SET_GUEST_CID _IOW(VIO_VHOST, 0x60, uint64_t)
#define VIO_VHOST_VSOCK_SET_RUNNING _IOW(VIO_VHOST, 0x61, int)

#define VIO_VHOST_SCSI_ABI_VERSION 1

#endif
