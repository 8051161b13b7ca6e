/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the block device's wire layout and constants (virtio 1.4, 5.2). Where it sits: spec/.
 */
#ifndef VIO_SPEC_BLK_H
#define VIO_SPEC_BLK_H

#include <vio/types.h>

/* virtio 1.4, 5.2.3: feature bits */
#define VIRTIO_BLK_F_SIZE_MAX 1
#define VIRTIO_BLK_F_SEG_MAX 2
#define VIRTIO_BLK_F_GEOMETRY 4
#define VIRTIO_BLK_F_RO 5
#define VIRTIO_BLK_F_BLK_SIZE 6
#define VIRTIO_BLK_F_FLUSH 9
#define VIRTIO_BLK_F_TOPOLOGY 10
#define VIRTIO_BLK_F_CONFIG_WCE 11
#define VIRTIO_BLK_F_MQ 12
#define VIRTIO_BLK_F_DISCARD 13
#define VIRTIO_BLK_F_WRITE_ZEROES 14
#define VIRTIO_BLK_F_LIFETIME 15
#define VIRTIO_BLK_F_SECURE_ERASE 16
#define VIRTIO_BLK_F_ZONED 17

/* virtio 1.4, 5.2.4: device configuration */
struct virtio_blk_config {
    vio_le64 capacity; /* 512-byte sectors */
    vio_le32 size_max;
    vio_le32 seg_max;
    vio_le16 cylinders;
    uint8_t heads;
    uint8_t sectors;
    vio_le32 blk_size;
    uint8_t physical_block_exp;
    uint8_t alignment_offset;
    vio_le16 min_io_size; /* logical blocks */
    vio_le32 opt_io_size; /* logical blocks */
    uint8_t writeback;
    uint8_t unused0;
    vio_le16 num_queues;
    vio_le32 max_discard_sectors;
    vio_le32 max_discard_seg;
    vio_le32 discard_sector_alignment;
    vio_le32 max_write_zeroes_sectors;
    vio_le32 max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap;
    uint8_t unused1[3];
    vio_le32 max_secure_erase_sectors;
    vio_le32 max_secure_erase_seg;
    vio_le32 secure_erase_sector_alignment;
    uint8_t zoned[24];
};
_Static_assert(offsetof(struct virtio_blk_config, writeback) == 32, "virtio 1.4, 5.2.4");
_Static_assert(offsetof(struct virtio_blk_config, max_write_zeroes_sectors) == 48, "virtio 1.4, 5.2.4");
_Static_assert(sizeof(struct virtio_blk_config) == 96, "virtio 1.4, 5.2.4");

#define VIRTIO_BLK_SECTOR 512u
#define VIRTIO_BLK_ID_BYTES 20u

/* virtio 1.4, 5.2.6: device operation */
struct virtio_blk_req {
    vio_le32 type;
    vio_le32 reserved;
    vio_le64 sector;
};
_Static_assert(sizeof(struct virtio_blk_req) == 16, "virtio 1.4, 5.2.6");

#define VIRTIO_BLK_T_IN 0u
#define VIRTIO_BLK_T_OUT 1u
#define VIRTIO_BLK_T_FLUSH 4u
#define VIRTIO_BLK_T_GET_ID 8u
#define VIRTIO_BLK_T_GET_LIFETIME 10u
#define VIRTIO_BLK_T_DISCARD 11u
#define VIRTIO_BLK_T_WRITE_ZEROES 13u
#define VIRTIO_BLK_T_SECURE_ERASE 14u

#define VIRTIO_BLK_S_OK 0u
#define VIRTIO_BLK_S_IOERR 1u
#define VIRTIO_BLK_S_UNSUPP 2u

struct virtio_blk_range { /* discard, write zeroes, secure erase */
    vio_le64 sector;
    vio_le32 num_sectors;
    vio_le32 flags;
};
#define VIRTIO_BLK_RANGE_F_UNMAP 1u
_Static_assert(sizeof(struct virtio_blk_range) == 16, "virtio 1.4, 5.2.6");

struct virtio_blk_lifetime {
    vio_le16 pre_eol_info;
    vio_le16 device_lifetime_est_typ_a;
    vio_le16 device_lifetime_est_typ_b;
};
_Static_assert(sizeof(struct virtio_blk_lifetime) == 6, "virtio 1.4, 5.2.6");

#endif
