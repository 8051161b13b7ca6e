/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the block driver's calls that wait, for small programs: one request at a time on queue 0, through a bounce
 * buffer. Where it sits: driver/, freestanding. Threads: the control thread, which owns queue 0 for them.
 * Trust: what a request that timed out may still write is the bounce buffer, and that is not used until it came back.
 */
#include <errno.h>
#include <string.h>
#include "driver/blk_internal.h"
#include "driver/core_slots.h"

/* Whether the bounce buffer and queue 0 are ours. */
static int ready(struct vio_drv_blk *b)
{
    struct vio_drvblk_result result;

    if (b->bounce == NULL)
        return -ENOTSUP;
    if (b->late && vio_drv_blk_collect(b, 0, &result, 1) == 1)
        b->late = false;
    return vio_drv_blk_in_flight(b, 0) == 0 ? 0 : -EBUSY;
}

/* One request, with so many bytes of the bounce buffer. */
static int one(struct vio_drv_blk *b, struct vio_drvblk_op *op, uint32_t bytes, uint64_t ns)
{
    struct vio_buf data = { b->bounce_addr, bytes };
    struct vio_drvblk_result result;
    int error, put;

    op->data = &data;
    op->nr_data = bytes > 0;
    put = vio_drv_blk_put(b, 0, op, 1);
    if (put < 0)
        return put;
    vio_drv_blk_publish(b, 0);
    error = vio_drvdev_wait(b->d, 0, ns);
    if (error == 0 && vio_drv_blk_collect(b, 0, &result, 1) == 1)
        return result.error;
    b->late = true;
    if (error != 0)
        return error;
    (void)drv_queue_broken(b->d, 0);
    return -EIO;
}

/* What one request takes through the bounce buffer: in whole sectors, and in pieces that the device accepts. */
static uint32_t chunk_of(const struct vio_drv_blk *b)
{
    uint64_t most = (uint64_t)b->info.size_max * b->info.seg_max;

    if (most > b->bounce_bytes)
        most = b->bounce_bytes;
    return (uint32_t)(most - most % VIRTIO_BLK_SECTOR);
}

/* op->type, from `sector` on, as many requests as it takes. One of to and from is NULL. */
static int transfer(struct vio_drv_blk *b, uint32_t type, uint64_t sector, uint8_t *to, const uint8_t *from, uint64_t bytes,
                    uint64_t ns)
{
    uint32_t chunk = chunk_of(b);
    int error = ready(b);

    if (error != 0)
        return error;
    if (bytes % VIRTIO_BLK_SECTOR != 0)
        return -EINVAL;
    if (chunk == 0)
        return -E2BIG; /* the device takes less than a sector in one request */
    if (!vio_range_ok(sector, bytes / VIRTIO_BLK_SECTOR, vio_drv_blk_capacity(b)))
        return -ERANGE;
    while (bytes > 0) {
        uint32_t now = (uint32_t)vio_min_u64(bytes, chunk);
        struct vio_drvblk_op op = { .type = type, .sector = sector };

        if (from != NULL) {
            memcpy(b->bounce, from, now);
            from += now;
        }
        error = one(b, &op, now, ns);
        if (error != 0)
            return error;
        if (to != NULL) {
            memcpy(to, b->bounce, now);
            to += now;
        }
        sector += now / VIRTIO_BLK_SECTOR;
        bytes -= now;
    }
    return 0;
}

int vio_drv_blk_read(struct vio_drv_blk *b, uint64_t sector, void *to, uint64_t bytes, uint64_t ns)
{
    return transfer(b, VIRTIO_BLK_T_IN, sector, to, NULL, bytes, ns);
}

int vio_drv_blk_write(struct vio_drv_blk *b, uint64_t sector, const void *from, uint64_t bytes, uint64_t ns)
{
    return b->info.read_only ? -EROFS : transfer(b, VIRTIO_BLK_T_OUT, sector, NULL, from, bytes, ns);
}

int vio_drv_blk_flush(struct vio_drv_blk *b, uint64_t ns)
{
    struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_FLUSH };
    int error = ready(b);

    if (error != 0 || !b->info.flush)
        return error;
    return one(b, &op, 0, ns);
}

int vio_drv_blk_range(struct vio_drv_blk *b, uint32_t type, uint64_t sector, uint64_t sectors, bool unmap, uint64_t ns)
{
    const struct vio_drv_blk_range *limits = drv_blk_range_limits(b, type);
    uint32_t most = limits != NULL ? limits->sectors : 0;
    int error = ready(b);

    if (error != 0)
        return error;
    if (most == 0)
        return -ENOTSUP;
    if (!vio_range_ok(sector, sectors, vio_drv_blk_capacity(b)))
        return -ERANGE;
    while (sectors > 0 && error == 0) {
        struct vio_drvblk_op op = {
            .type = type,
            .sector = sector,
            .sectors = (uint32_t)vio_min_u64(sectors, most),
            .flags = unmap && type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_RANGE_F_UNMAP : 0,
        };

        error = one(b, &op, 0, ns);
        sector += op.sectors;
        sectors -= op.sectors;
    }
    return error;
}

int vio_drv_blk_id(struct vio_drv_blk *b, char id[VIO_DRV_BLK_ID_BYTES + 1], uint64_t ns)
{
    struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_GET_ID };
    int error = ready(b);

    if (error != 0)
        return error;
    memset(b->bounce, 0, VIRTIO_BLK_ID_BYTES);
    error = one(b, &op, VIRTIO_BLK_ID_BYTES, ns);
    if (error != 0)
        return error;
    memcpy(id, b->bounce, VIRTIO_BLK_ID_BYTES);
    id[VIRTIO_BLK_ID_BYTES] = 0;
    return 0;
}

int vio_drv_blk_lifetime(struct vio_drv_blk *b, struct vio_drv_blk_lifetime *life, uint64_t ns)
{
    struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_GET_LIFETIME };
    struct virtio_blk_lifetime wire;
    int error = ready(b);

    if (error != 0)
        return error;
    error = one(b, &op, sizeof(wire), ns);
    if (error != 0)
        return error;
    memcpy(&wire, b->bounce, sizeof(wire));
    *life = (struct vio_drv_blk_lifetime){
        .pre_eol_info = vio_cpu(wire.pre_eol_info),
        .typ_a = vio_cpu(wire.device_lifetime_est_typ_a),
        .typ_b = vio_cpu(wire.device_lifetime_est_typ_b),
    };
    return 0;
}
