/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of block devices (virtio 1.4, 5.2): what a disk can do, requests in and results out in batches on each
 * of its queues, and a few calls that wait, for small programs.
 * Where it sits: driver/, over driver/core; freestanding.
 * Threads: a queue has one owner, which makes the calls marked "queue owner" for it; the rest is the control thread's.
 * Trust: the device is hostile. Its configuration is checked once, on a copy; a status that it did not write is an error; no
 * request is named by anything but the queue's own record.
 */
#ifndef VIO_DRV_BLK_H
#define VIO_DRV_BLK_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum {
    VIO_DRVBLK_PIECES_MAX = 30,    /* pieces of data in one request, after pieces over size_max were cut */
    VIO_DRVBLK_NO_STATUS = 0xff,   /* what the status holds until the device writes one; none of the specification */
    VIO_DRV_BLK_QUEUES_MAX = 64,
    VIO_DRV_BLK_BOUNCE = 64 << 10, /* bytes that the calls that wait copy through at once */
    VIO_DRV_BLK_ID_BYTES = 20,
};

/*
 * One request. IN, GET_ID, GET_LIFETIME: the device writes data; OUT: it reads data; FLUSH: none; DISCARD, WRITE_ZEROES,
 * SECURE_ERASE: one range of `sectors` from `sector`, with `flags` (bit 0: unmap), and no data. Data lies in memory that
 * the device reaches (vio_platform.dma_alloc, map), and is named by the addresses it has there.
 */
struct vio_drvblk_op {
    uint32_t type; /* VIRTIO_BLK_T_*, spec/blk.h */
    uint32_t sectors;
    uint32_t flags;
    uint32_t nr_data;
    uint64_t sector; /* of 512 bytes */
    const struct vio_buf *data;
    uint64_t token;  /* the caller's; comes back with the result */
};

struct vio_drvblk_result {
    uint64_t token;
    uint32_t len;   /* bytes the device says it wrote, the status included */
    uint8_t status; /* VIRTIO_BLK_S_*, or VIO_DRVBLK_NO_STATUS: it wrote none */
    int16_t error;  /* the same as 0, -EIO, -ENOTSUP, -EPROTO (a status that there is not, or none) */
};

/* What the device says of discard, write zeroes and secure erase. sectors == 0: it cannot. */
struct vio_drv_blk_range {
    uint32_t sectors; /* of one request at most */
    uint32_t align;   /* in sectors; advice */
};

struct vio_drv_blk_info {
    uint64_t capacity;  /* sectors of 512 bytes; as it was when this was asked for */
    uint32_t blk_size;  /* bytes; no request is best for less */
    uint32_t size_max;  /* bytes of one piece; UINT32_MAX: no limit. Longer ones are cut */
    uint32_t seg_max;   /* pieces of one request, after that */
    uint16_t queues;
    uint16_t cylinders; /* 0: no geometry */
    uint8_t heads, sectors;
    uint8_t physical_block_exp; /* logical blocks of a physical one, as a power of two */
    uint8_t alignment_offset;   /* of the first aligned logical block */
    uint16_t min_io_size;       /* logical blocks; 0: not told */
    uint32_t opt_io_size;
    bool read_only;
    bool flush;          /* FLUSH is there; without it all writes are stable when they are done (5.2.6.2) */
    bool writeback;      /* writes are cached until a flush */
    bool writeback_set;  /* and that can be changed */
    bool lifetime;
    bool zeroes_may_unmap;
    struct vio_drv_blk_range discard, write_zeroes, secure_erase;
};

/* ------------------------------------------------------------------ the driver, and how it is wanted */

struct vio_drv_blk_params {
    uint16_t queues;       /* 0: as many as the device has, at most VIO_DRV_BLK_QUEUES_MAX */
    uint16_t queue_size;   /* 0: the largest, at most 256 */
    uint32_t depth;        /* requests in flight on a queue; 0: as many as its entries take */
    uint16_t indirect_max; /* descriptors of a request that go into a table; 0: no tables */
    bool no_bounce;        /* no calls that wait with data: takes VIO_DRV_BLK_BOUNCE bytes less */
    /* Used buffers are there, from vio_drvdev_event(): NULL: queues are polled. Queue owner. */
    void (*used)(void *ctx, struct vio_drvdev *d, uint16_t queue);
    /* The configuration changed (capacity). NULL: of no interest. */
    void (*changed)(void *ctx, struct vio_drvdev *d);
    /* The device was reset (removed, recovered, suspended): a request that never came back. NULL: of no interest. */
    void (*lost)(void *ctx, struct vio_drvdev *d, uint16_t queue, uint64_t token);
    void *ctx;
};

/* All defaults: every queue, polled. */
extern const struct vio_driver vio_driver_blk;

/*
 * The same driver, wanted otherwise: `driver` goes to vio_bus_add() or vio_bus_add_driver(), and this outlives its devices.
 * Features that must not be used are taken out of driver.features before that.
 */
struct vio_drv_blk_driver {
    struct vio_driver driver;
    struct vio_drv_blk_params params;
};
void vio_drv_blk_driver(struct vio_drv_blk_driver *driver, const struct vio_drv_blk_params *params);

/* ------------------------------------------------------------------ a running disk */

struct vio_drv_blk;

/* NULL: this device is not run by this driver, or does not run. */
struct vio_drv_blk *vio_drv_blk_of(struct vio_drvdev *d);
/* Any thread. */
struct vio_drv_blk_info vio_drv_blk_info(const struct vio_drv_blk *b);
/* Pairs with params.changed: as vio_drv_blk_info(b).capacity, for any thread, cheaply. */
uint64_t vio_drv_blk_capacity(const struct vio_drv_blk *b);

/*
 * Queue owner. Whether this disk takes such a request: 0; -EINVAL: its shape is none, or it has an empty piece; -EROFS;
 * -ENOTSUP: not negotiated; -ERANGE: beyond the capacity; -E2BIG: more pieces or sectors than one request may have.
 */
int vio_drv_blk_check(const struct vio_drv_blk *b, const struct vio_drvblk_op *op) VIO_MUST_CHECK;
/*
 * Queue owner. Puts up to n requests; how many is returned, and when none, why not the first: what check says of it,
 * -EAGAIN: no room before others have come back; -EIO: the queue is broken. Invisible to the device until published.
 */
int vio_drv_blk_put(struct vio_drv_blk *b, uint16_t queue, const struct vio_drvblk_op *ops, unsigned n) VIO_MUST_CHECK;
/* Queue owner. Shows the device what was put, and kicks it where it wants that. */
void vio_drv_blk_publish(struct vio_drv_blk *b, uint16_t queue);
/* Queue owner. Finished requests, at most max. */
unsigned vio_drv_blk_collect(struct vio_drv_blk *b, uint16_t queue, struct vio_drvblk_result *results, unsigned max);
uint32_t vio_drv_blk_in_flight(const struct vio_drv_blk *b, uint16_t queue);
enum vio_fault vio_drv_blk_fault(const struct vio_drv_blk *b, uint16_t queue);
/*
 * Control thread, the owner parked: resets one queue and starts it again with `size` entries (0: as before); `lost` is given
 * the token of each request that did not come back. -ENOTSUP: RING_RESET is not negotiated.
 */
int vio_drv_blk_restart(struct vio_drv_blk *b, uint16_t queue, uint16_t size, void (*lost)(void *ctx, uint64_t token),
                        void *ctx) VIO_MUST_CHECK;
/* Write-back (true) or write-through. -ENOTSUP: the device has no CONFIG_WCE. */
int vio_drv_blk_writeback(struct vio_drv_blk *b, bool on) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ calls that wait */

/*
 * Control thread, which owns queue 0 for them: they look until the device has done it, or `ns` are over for one request.
 * -EBUSY: other requests are in flight on queue 0, or one of these that timed out; -ETIMEDOUT; what check says; the error of
 * the result. Long ones are cut into as many requests as it takes, one after the other.
 */
int vio_drv_blk_read(struct vio_drv_blk *b, uint64_t sector, void *to, uint64_t bytes, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_blk_write(struct vio_drv_blk *b, uint64_t sector, const void *from, uint64_t bytes, uint64_t ns) VIO_MUST_CHECK;
/* 0 also where there is nothing to flush: no FLUSH. */
int vio_drv_blk_flush(struct vio_drv_blk *b, uint64_t ns) VIO_MUST_CHECK;
/* type: VIRTIO_BLK_T_DISCARD, _WRITE_ZEROES, _SECURE_ERASE. */
int vio_drv_blk_range(struct vio_drv_blk *b, uint32_t type, uint64_t sector, uint64_t sectors, bool unmap, uint64_t ns)
    VIO_MUST_CHECK;
/* The device's name, ended by 0. */
int vio_drv_blk_id(struct vio_drv_blk *b, char id[VIO_DRV_BLK_ID_BYTES + 1], uint64_t ns) VIO_MUST_CHECK;

struct vio_drv_blk_lifetime {
    uint16_t pre_eol_info, typ_a, typ_b; /* virtio 1.4, 5.2.6: GET_LIFETIME */
};
int vio_drv_blk_lifetime(struct vio_drv_blk *b, struct vio_drv_blk_lifetime *life, uint64_t ns) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
