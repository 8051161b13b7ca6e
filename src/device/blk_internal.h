/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the block device share. Where it sits: device/blk, private.
 * Threads: struct blk is the control thread's, but for what is atomic or fixed while queues run; struct blk_queue
 * belongs to the queue's owner.
 */
#ifndef VIO_DEVICE_BLK_INTERNAL_H
#define VIO_DEVICE_BLK_INTERNAL_H

#include <stdatomic.h>
#include <vio/block.h>
#include <vio/device.h>

#include "spec/blk.h"

enum {
    BLK_RANGES_MAX = 64,               /* of one discard, write zeroes or secure erase request */
    BLK_RANGE_SECTORS_MAX = 1 << 22,   /* 2 GiB: what one range may keep a backend busy with */
    /*
     * Taken, served and published at once where the backend finishes while it is asked. A driver that keeps 32 in flight gets half of them back while the others are
     * served: with all 32 in one batch driver and device take turns, each waiting for the other.
     */
    BLK_BATCH = 16,
    BLK_SEG_MAX_DEFAULT = 126,
    BLK_QUEUE_SIZE_DEFAULT = 1024,
};

/* Request types that the driver may use; a bit each. What is always allowed has none. */
enum {
    BLK_MAY_FLUSH = 1,
    BLK_MAY_DISCARD = 2,
    BLK_MAY_ZERO = 4,
    BLK_MAY_ERASE = 8,
    BLK_MAY_LIFETIME = 16,
};

struct blk_ranges {
    uint32_t nr, at; /* at: the next one to submit */
    struct {
        uint64_t offset, length; /* bytes */
        bool unmap;
    } range[];
};

/* A request's own bytes, behind its struct vio_req. */
struct blk_req {
    struct vio_block_io io; /* first: an io that comes back is its request */
    uint8_t *status;        /* in memory shared with the driver; written once, never read */
    struct blk_ranges *ranges; /* NULL: at most one range */
    bool then_flush;        /* write-through without FUA: stable only after a flush */
};

/* On cache lines of its own: queues have different owners. */
struct blk_queue {
    _Alignas(64) struct blk *blk;
    struct vio_devq *vq;
    const struct vio_block_ops *ops;
    struct vio_block_channel *channel;
    unsigned pending;   /* ios that the backend has */
    unsigned put;       /* since the last publish */
    uint16_t index;
    bool cancelling;
    struct vio_seg *region; /* guest memory as given to the channel */
    struct vio_log_limit limit;
};

struct blk {
    struct vio_device_type type; /* this device's: the queue size is a parameter */
    struct vio_device *dev;
    struct vio_block_backend *backend;
    struct vio_block_info info;  /* as at create */
    struct vio_features offered;
    uint32_t seg_max, size_max, block_size;
    uint32_t discard_sectors, zero_sectors; /* the longest range */
    bool read_only, writeback_off;
    uint8_t serial[VIRTIO_BLK_ID_BYTES];

    /* fixed by FEATURES_OK, before queues run */
    struct vio_features features;
    unsigned may;

    _Atomic uint64_t capacity; /* sectors */
    atomic_bool stable;        /* writes are stable when they are done (5.2.6.2) */

    uint16_t queues;
    struct blk_queue queue[];
};

/* blk_config.c */
struct vio_features blk_features(const struct blk *blk);
void blk_config_fill(const struct blk *blk, struct virtio_blk_config *c);
void blk_negotiated(void *self, struct vio_features features);
bool blk_config_writable(void *self, uint32_t offset, uint32_t len);
void blk_config_written(void *self, uint32_t offset, uint32_t len);
/* The cache mode after reset, before anything is negotiated. */
void blk_mode_reset(struct blk *blk);

/* blk_io.c: the hot path */
unsigned blk_service(void *self, uint16_t queue, unsigned budget);

#endif
