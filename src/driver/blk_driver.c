/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of block devices: from probe to remove, and requests on its queues (virtio 1.4, 5.2).
 * Where it sits: driver/, over driver/core and the requests of blk.c; freestanding. Threads: see vio/drv_blk.h.
 * Trust: see vio/drv_blk.h; what may be sent was checked here against the device's own limits.
 */
#include <errno.h>
#include "driver/blk_internal.h"
#include "spec/virtio.h"

enum { QUEUE_SIZE = 256, REQUEST_ENTRIES = 3 }; /* header, data, status */

static const struct vio_drv_blk_params defaults = { .queues = 0 };

/* ------------------------------------------------------------------ requests */

const struct vio_drv_blk_range *drv_blk_range_limits(const struct vio_drv_blk *b, uint32_t type)
{
    switch (type) {
    case VIRTIO_BLK_T_DISCARD:
        return &b->info.discard;
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return &b->info.write_zeroes;
    case VIRTIO_BLK_T_SECURE_ERASE:
        return &b->info.secure_erase;
    default:
        return NULL;
    }
}

static int check_range(const struct vio_drv_blk *b, const struct vio_drvblk_op *op)
{
    const struct vio_drv_blk_range *limits = drv_blk_range_limits(b, op->type);

    if (op->nr_data != 0 || op->sectors == 0 || (op->flags & ~VIRTIO_BLK_RANGE_F_UNMAP) != 0 ||
        (op->flags != 0 && op->type != VIRTIO_BLK_T_WRITE_ZEROES))
        return -EINVAL;
    if (limits->sectors == 0)
        return -ENOTSUP;
    if (b->info.read_only)
        return -EROFS;
    if (!vio_range_ok(op->sector, op->sectors, vio_drv_blk_capacity(b)))
        return -ERANGE;
    return op->sectors <= limits->sectors ? 0 : -E2BIG;
}

/* Pieces of data: none empty, not too many once they are cut; and how many bytes. */
static int check_pieces(const struct vio_drv_blk *b, const struct vio_drvblk_op *op, uint64_t *bytes)
{
    uint64_t pieces = op->nr_data;

    if (op->nr_data == 0)
        return -EINVAL;
    if (op->nr_data > b->info.seg_max)
        return -E2BIG;
    *bytes = 0;
    for (uint32_t i = 0; i < op->nr_data; i++) {
        uint32_t len = op->data[i].len;

        if (len == 0)
            return -EINVAL;
        *bytes += len;
        if (len > b->info.size_max)
            pieces += (len - 1) / b->info.size_max;
    }
    return pieces <= b->info.seg_max ? 0 : -E2BIG;
}

static int check_data(const struct vio_drv_blk *b, const struct vio_drvblk_op *op)
{
    uint64_t bytes;
    int error = check_pieces(b, op, &bytes);

    if (error != 0)
        return error;
    if (op->type == VIRTIO_BLK_T_GET_ID)
        return bytes == VIRTIO_BLK_ID_BYTES ? 0 : -EINVAL;
    if (op->type == VIRTIO_BLK_T_GET_LIFETIME)
        return bytes != sizeof(struct virtio_blk_lifetime) ? -EINVAL : b->info.lifetime ? 0 : -ENOTSUP;
    if (bytes % VIRTIO_BLK_SECTOR != 0)
        return -EINVAL;
    if (op->type == VIRTIO_BLK_T_OUT && b->info.read_only)
        return -EROFS;
    return vio_range_ok(op->sector, bytes / VIRTIO_BLK_SECTOR, vio_drv_blk_capacity(b)) ? 0 : -ERANGE;
}

int vio_drv_blk_check(const struct vio_drv_blk *b, const struct vio_drvblk_op *op)
{
    switch (op->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
    case VIRTIO_BLK_T_GET_ID:
    case VIRTIO_BLK_T_GET_LIFETIME:
        return check_data(b, op);
    case VIRTIO_BLK_T_FLUSH:
        return op->nr_data != 0 ? -EINVAL : b->info.flush ? 0 : -ENOTSUP;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
    case VIRTIO_BLK_T_SECURE_ERASE:
        return check_range(b, op);
    default:
        return -EINVAL;
    }
}

int vio_drv_blk_put(struct vio_drv_blk *b, uint16_t queue, const struct vio_drvblk_op *ops, unsigned n)
{
    unsigned good = 0, put;
    int error = 0;

    if (queue >= b->info.queues)
        return -EINVAL;
    for (; good < n && good < INT16_MAX; good++) {
        error = vio_drv_blk_check(b, &ops[good]);
        if (error != 0)
            break;
    }
    if (good == 0)
        return error;
    put = vio_drvblk_put(b->queue[queue].client, ops, good);
    if (put > 0)
        return (int)put;
    return vio_drv_blk_fault(b, queue) != VIO_FAULT_NONE ? -EIO : -EAGAIN;
}

void vio_drv_blk_publish(struct vio_drv_blk *b, uint16_t queue)
{
    vio_drvdev_publish(b->d, queue);
}

unsigned vio_drv_blk_collect(struct vio_drv_blk *b, uint16_t queue, struct vio_drvblk_result *results, unsigned max)
{
    return queue < b->info.queues ? vio_drvblk_collect(b->queue[queue].client, results, max) : 0;
}

uint32_t vio_drv_blk_in_flight(const struct vio_drv_blk *b, uint16_t queue)
{
    return queue < b->info.queues ? vio_drvblk_in_flight(b->queue[queue].client) : 0;
}

enum vio_fault vio_drv_blk_fault(const struct vio_drv_blk *b, uint16_t queue)
{
    struct vio_drvq *q = vio_drvdev_queue(b->d, queue);

    return q != NULL ? vio_drvq_fault(q) : VIO_FAULT_NONE;
}

/* ------------------------------------------------------------------ what is asked now and then */

uint64_t vio_drv_blk_capacity(const struct vio_drv_blk *b)
{
    return __atomic_load_n(&b->capacity, __ATOMIC_RELAXED);
}

struct vio_drv_blk_info vio_drv_blk_info(const struct vio_drv_blk *b)
{
    struct vio_drv_blk_info info = b->info;

    info.capacity = vio_drv_blk_capacity(b);
    info.writeback = __atomic_load_n(&b->writeback, __ATOMIC_RELAXED);
    return info;
}

int vio_drv_blk_writeback(struct vio_drv_blk *b, bool on)
{
    uint8_t byte = on;
    int error;

    if (!b->info.writeback_set)
        return -ENOTSUP;
    error = vio_drvdev_config_write(b->d, offsetof(struct virtio_blk_config, writeback), &byte, sizeof(byte));
    if (error == 0)
        __atomic_store_n(&b->writeback, on, __ATOMIC_RELAXED);
    return error;
}

struct lost {
    struct vio_drv_blk *b;
    uint16_t queue;
    void (*call)(void *ctx, uint64_t token);
    void *ctx;
};

static void lose(void *ctx, uint64_t token)
{
    struct lost *l = ctx;
    uint64_t mine = vio_drvblk_lost(l->b->queue[l->queue].client, token);

    if (l->b->late && l->queue == 0)
        l->b->late = false; /* it was alone, and nobody's */
    else if (l->call != NULL)
        l->call(l->ctx, mine);
}

int vio_drv_blk_restart(struct vio_drv_blk *b, uint16_t queue, uint16_t size, void (*lost)(void *ctx, uint64_t token),
                        void *ctx)
{
    struct lost l = { b, queue, lost, ctx };
    int error;

    if (queue >= b->info.queues || (size != 0 && size < REQUEST_ENTRIES))
        return -EINVAL;
    error = vio_drvdev_queue_reset(b->d, queue, size, lose, &l);
    if (error == 0)
        vio_drvblk_queue(b->queue[queue].client, vio_drvdev_queue(b->d, queue));
    return error;
}

/* ------------------------------------------------------------------ probe and remove */

static void free_queues(struct vio_drv_blk *b)
{
    const struct vio_platform *p = vio_drvdev_platform(b->d);

    for (uint16_t i = 0; b->queue != NULL && i < b->info.queues; i++) {
        struct drv_blk_queue *q = &b->queue[i];

        if (q->mem != NULL)
            p->free(p->ctx, q->mem, q->mem_bytes);
        if (q->slots != NULL)
            p->dma_free(p->ctx, q->slots, q->slots_bytes, q->slots_addr);
    }
    if (b->queue != NULL)
        p->free(p->ctx, b->queue, b->queue_bytes);
    if (b->bounce != NULL)
        p->dma_free(p->ctx, b->bounce, b->bounce_bytes, b->bounce_addr);
    b->queue = NULL;
    b->bounce = NULL;
}

static int out_of_memory(struct vio_drv_blk *b)
{
    int error = vio_drvdev_fail(b->d, -ENOMEM, "there is no memory for %u queues of a disk", b->info.queues);

    free_queues(b);
    return error;
}

static int make_queue(struct vio_drv_blk *b, uint16_t index)
{
    const struct vio_platform *p = vio_drvdev_platform(b->d);
    struct vio_drvblk_params params = { .queue = vio_drvdev_queue(b->d, index), .size_max = b->info.size_max };
    struct drv_blk_queue *q = &b->queue[index];
    uint32_t entries = vio_drvdev_queue_size(b->d, index);

    q->depth = b->params->depth != 0 && b->params->depth < entries ? b->params->depth : entries;
    q->mem_bytes = vio_drvblk_bytes(q->depth);
    q->slots_bytes = (size_t)q->depth * VIO_DRVBLK_SLOT;
    q->mem = p->alloc(p->ctx, q->mem_bytes);
    q->slots = p->dma_alloc(p->ctx, q->slots_bytes, VIO_DRVBLK_SLOT, &q->slots_addr);
    if (q->mem == NULL || q->slots == NULL)
        return -ENOMEM;
    params.slots = q->slots;
    params.slots_addr = q->slots_addr;
    params.depth = q->depth;
    return vio_drvblk_init(q->mem, &params, &q->client);
}

static void used(struct vio_drvdev *d, uint16_t queue)
{
    struct vio_drv_blk *b = vio_drvdev_state(d);

    b->params->used(b->params->ctx, d, queue);
}

/* The rings, and no more pieces than they hold. */
static int make_rings(struct vio_drv_blk *b)
{
    struct vio_drvdev_queue_plan plan[VIO_DRV_BLK_QUEUES_MAX];
    uint32_t tables = vio_drvdev_has(b->d, VIRTIO_F_INDIRECT_DESC) ? b->params->indirect_max : 0, room;
    int error;

    for (uint16_t i = 0; i < b->info.queues; i++)
        plan[i] = (struct vio_drvdev_queue_plan){
            .queue = i,
            .size = b->params->queue_size != 0 ? b->params->queue_size : QUEUE_SIZE,
            .indirect_max = (uint16_t)tables,
            .polled = b->params->used == NULL,
            .callback = b->params->used != NULL ? used : NULL,
        };
    error = vio_drvdev_queues(b->d, plan, b->info.queues);
    if (error != 0)
        return vio_drvdev_fail(b->d, error, "%u queues cannot be made (error %d)", b->info.queues, -error);
    for (uint16_t i = 0; i < b->info.queues; i++) {
        room = vio_drvdev_queue_size(b->d, i);
        if (room < REQUEST_ENTRIES)
            return vio_drvdev_fail(b->d, -EPROTO, "queue %u has %u entries: a request takes %u", i, room, REQUEST_ENTRIES);
        if (room > tables || tables < REQUEST_ENTRIES)
            b->info.seg_max = vio_min_u32(b->info.seg_max, room - 2);
    }
    return 0;
}

static int probe(struct vio_drvdev *d)
{
    const struct vio_platform *p = vio_drvdev_platform(d);
    const struct vio_driver *driver = vio_drvdev_driver(d);
    struct vio_drv_blk *b = vio_drvdev_state(d);
    int error;

    b->d = d;
    /* Ours, or the one that a struct vio_drv_blk_driver begins with. */
    b->params = driver == &vio_driver_blk ? &defaults : &((const struct vio_drv_blk_driver *)(const void *)driver)->params;
    error = drv_blk_configure(b);
    if (error != 0)
        return error;
    if (b->params->queues != 0 && b->params->queues < b->info.queues)
        b->info.queues = b->params->queues;
    error = make_rings(b);
    if (error != 0)
        return error;
    b->queue_bytes = b->info.queues * sizeof(b->queue[0]);
    b->queue = p->alloc(p->ctx, b->queue_bytes);
    if (b->queue == NULL)
        return out_of_memory(b);
    for (uint16_t i = 0; i < b->info.queues; i++)
        if (make_queue(b, i) != 0)
            return out_of_memory(b);
    if (b->params->no_bounce)
        return 0;
    b->bounce_bytes = VIO_DRV_BLK_BOUNCE;
    b->bounce = p->dma_alloc(p->ctx, b->bounce_bytes, 4096, &b->bounce_addr);
    return b->bounce != NULL ? 0 : out_of_memory(b);
}

static void remove_(struct vio_drvdev *d)
{
    struct vio_drv_blk *b = vio_drvdev_state(d);

    for (uint16_t i = 0; b->queue != NULL && i < b->info.queues; i++) {
        uint64_t token;

        while (b->queue[i].client != NULL && vio_drvblk_detach(b->queue[i].client, &token)) {
            if (b->late && i == 0)
                b->late = false;
            else if (b->params->lost != NULL)
                b->params->lost(b->params->ctx, d, i, token);
        }
    }
    free_queues(b);
}

static void config_changed(struct vio_drvdev *d)
{
    struct vio_drv_blk *b = vio_drvdev_state(d);

    drv_blk_reconfigure(b);
    if (b->params->changed != NULL)
        b->params->changed(b->params->ctx, d);
}

static const uint32_t types[] = { VIRTIO_ID_BLOCK, 0 };

#define BLK_FEATURES                                                                                                     \
    (VIO_FEATURE(VIRTIO_BLK_F_SIZE_MAX) | VIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) | VIO_FEATURE(VIRTIO_BLK_F_GEOMETRY) |        \
     VIO_FEATURE(VIRTIO_BLK_F_RO) | VIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) | VIO_FEATURE(VIRTIO_BLK_F_FLUSH) |                \
     VIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY) | VIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE) | VIO_FEATURE(VIRTIO_BLK_F_MQ) |           \
     VIO_FEATURE(VIRTIO_BLK_F_DISCARD) | VIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES) | VIO_FEATURE(VIRTIO_BLK_F_LIFETIME) |    \
     VIO_FEATURE(VIRTIO_BLK_F_SECURE_ERASE) | VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |   \
     VIO_FEATURE(VIRTIO_F_EVENT_IDX))

/* IN_ORDER is left out: one slow request would hold up all that are done behind it. */
const struct vio_driver vio_driver_blk = {
    .name = "blk",
    .types = types,
    .features = { { BLK_FEATURES, 0 } },
    .state_size = sizeof(struct vio_drv_blk),
    .probe = probe,
    .remove = remove_,
    .config_changed = config_changed,
};

void vio_drv_blk_driver(struct vio_drv_blk_driver *driver, const struct vio_drv_blk_params *params)
{
    driver->driver = vio_driver_blk;
    driver->params = *params;
}

struct vio_drv_blk *vio_drv_blk_of(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    if (driver == NULL || driver->probe != probe || vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        return NULL;
    return vio_drvdev_state(d);
}
