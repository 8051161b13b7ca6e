/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the block device: its making, its queues' way to the backend, resize, save and load (virtio 1.4, 5.2).
 * Where it sits: device/blk, above the device core and the interface of block backends.
 * Threads: the control thread, but for the queue_* functions, which are the owner's.
 */
#include "device/blk_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "spec/virtio.h"

enum { BLK_STATE_DISK = 1 }; /* saved record: struct blk_state */

struct blk_state {
    vio_le64 capacity;
};

/* ------------------------------------------------------------------ a queue's channel */

/* Guest memory as the backend may register it: all regions, whatever the IOMMU shows of them. */
static int list_memory(struct blk *blk, struct blk_queue *bq, struct vio_block_memory *memory)
{
    const struct vio_memory *m = vio_device_memory(blk->dev);
    unsigned nr = vio_memory_regions(m);
    struct vio_seg *region = calloc(nr > 0 ? nr : 1, sizeof(*region));

    if (region == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < nr; i++) {
        struct vio_memory_region r;

        vio_memory_region_at(m, i, &r, &region[i].base);
        region[i].len = r.size;
    }
    free(bq->region);
    bq->region = region;
    *memory = (struct vio_block_memory){ .region = region, .nr = nr };
    return 0;
}

static int queue_enter(void *self, uint16_t queue, struct vio_devq *vq)
{
    struct blk *blk = self;
    struct blk_queue *bq = &blk->queue[queue];
    struct vio_block_memory memory;
    int ret = list_memory(blk, bq, &memory);

    if (ret == 0)
        ret = bq->ops->open(blk->backend, vio_devq_size(vq), &memory, &bq->channel);
    if (ret < 0)
        return ret;
    bq->vq = vq;
    bq->pending = 0;
    bq->put = 0;
    bq->cancelling = false;
    return 0;
}

static void queue_leave(void *self, uint16_t queue)
{
    struct blk_queue *bq = &((struct blk *)self)->queue[queue];

    bq->ops->close(bq->channel);
    bq->channel = NULL;
    bq->vq = NULL;
    free(bq->region);
    bq->region = NULL;
}

static void queue_map_changed(void *self, uint16_t queue)
{
    struct blk *blk = self;
    struct blk_queue *bq = &blk->queue[queue];
    struct vio_block_memory memory = { .region = NULL, .nr = 0 };

    if (bq->ops->memory_changed == NULL)
        return;
    /* Without memory for the list the backend registers nothing: slower, not wrong. */
    if (list_memory(blk, bq, &memory) < 0)
        memory.nr = 0;
    bq->ops->memory_changed(bq->channel, &memory);
}

static void queue_cancel(void *self, uint16_t queue)
{
    struct blk_queue *bq = &((struct blk *)self)->queue[queue];

    bq->cancelling = true;
    if (bq->ops->cancel != NULL && bq->pending > 0)
        bq->ops->cancel(bq->channel);
}

static int queue_fd(void *self, uint16_t queue)
{
    struct blk_queue *bq = &((struct blk *)self)->queue[queue];

    return bq->ops->fd(bq->channel);
}

static bool queue_arm(void *self, uint16_t queue, bool sleep)
{
    struct blk_queue *bq = &((struct blk *)self)->queue[queue];

    return bq->ops->arm != NULL && bq->ops->arm(bq->channel, sleep);
}

/* ------------------------------------------------------------------ the device */

static void reset(void *self)
{
    blk_mode_reset(self);
}

static void destroy(void *self)
{
    struct blk *blk = self;

    vio_block_close(blk->backend);
    free(blk);
}

static int save(void *self, struct vio_state *state)
{
    struct blk *blk = self;
    struct blk_state s = { .capacity = vio_le64_of(atomic_load_explicit(&blk->capacity, memory_order_relaxed)) };

    return vio_state_put(state, BLK_STATE_DISK, &s, sizeof(s));
}

static int load(void *self, struct vio_state *state)
{
    struct blk *blk = self;
    uint64_t capacity = atomic_load_explicit(&blk->capacity, memory_order_relaxed);
    struct blk_state s;
    int ret = vio_state_get(state, BLK_STATE_DISK, &s, sizeof(s));

    if (ret < 0)
        return ret;
    if (vio_cpu(s.capacity) > capacity) {
        vio_log(vio_device_log(blk->dev), VIO_LOG_ERROR, vio_device_name(blk->dev),
                "the disk has %" PRIu64 " sectors, where it was saved it had %" PRIu64 ": not the same disk", capacity,
                vio_cpu(s.capacity));
        return -EINVAL;
    }
    return 0;
}

static const struct vio_device_type blk_type = {
    .name = "blk",
    .id = VIRTIO_ID_BLOCK,
    .config_size = sizeof(struct virtio_blk_config),
    .req_priv_size = sizeof(struct blk_req),
    .negotiated = blk_negotiated,
    .reset = reset,
    .config_written = blk_config_written,
    .config_writable = blk_config_writable,
    .destroy = destroy,
    .queue_enter = queue_enter,
    .queue_leave = queue_leave,
    .queue_map_changed = queue_map_changed,
    .queue_cancel = queue_cancel,
    .service = blk_service,
    .queue_fd = queue_fd,
    .queue_arm = queue_arm,
    .save = save,
    .load = load,
};

/* ------------------------------------------------------------------ making one */

static bool power_of_two(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static int check_params(const struct vio_blk_params *p, const struct vio_block_info *info, char *why, size_t why_size)
{
    if (p->queues == 0 || p->queues > VIO_DEVICE_QUEUES_MAX)
        return vio_device_refuse(why, why_size, "%u queues: 1 to %d are possible", p->queues, VIO_DEVICE_QUEUES_MAX);
    if (p->queue_size_max != 0 && !vio_queue_size_ok(p->queue_size_max, false))
        return vio_device_refuse(why, why_size, "a queue of %u: a power of two to %d is possible (virtio 1.4, 2.7)",
                      p->queue_size_max, VIO_QUEUE_SIZE_MAX);
    if (p->block_size != 0 && (!power_of_two(p->block_size) || p->block_size < VIRTIO_BLK_SECTOR || p->block_size > 65536))
        return vio_device_refuse(why, why_size, "a block size of %u: a power of two from 512 to 65536 is possible", p->block_size);
    if (p->block_size != 0 && info->size % p->block_size != 0)
        return vio_device_refuse(why, why_size, "the disk's size, %" PRIu64 " bytes, is not a multiple of the block size %u",
                      info->size, p->block_size);
    if (p->size_max != 0 && p->size_max < VIRTIO_BLK_SECTOR)
        return vio_device_refuse(why, why_size, "a largest piece of %u bytes: at least a sector, 512, is needed", p->size_max);
    if (p->seg_max > VIO_BLOCK_SEGS_MAX)
        return vio_device_refuse(why, why_size, "%u pieces a request: at most %d are possible", p->seg_max, VIO_BLOCK_SEGS_MAX);
    return 0;
}

/* The backend's block size where it makes sense to a driver, else a sector. */
static uint32_t default_block(const struct vio_block_info *info)
{
    uint32_t block = info->logical_block;

    return power_of_two(block) && block > VIRTIO_BLK_SECTOR && block <= 65536 && info->size % block == 0 ?
               block : VIRTIO_BLK_SECTOR;
}

static uint32_t range_sectors(uint64_t max_bytes, uint32_t block)
{
    uint64_t sectors = max_bytes == 0 ? BLK_RANGE_SECTORS_MAX : max_bytes / VIRTIO_BLK_SECTOR;
    uint64_t unit = block / VIRTIO_BLK_SECTOR;

    sectors = vio_min_u64(sectors, BLK_RANGE_SECTORS_MAX);
    return (uint32_t)(sectors >= unit ? sectors - sectors % unit : unit);
}

static void set_serial(struct blk *blk, const char *serial)
{
    size_t n = strnlen(serial, VIRTIO_BLK_ID_BYTES);

    memcpy(blk->serial, serial, n); /* NUL-padded, and no NUL where it fills all 20 (5.2.6) */
}

static void set_params(struct blk *blk, const struct vio_blk_params *p, const struct vio_block_info *info)
{
    uint16_t size = p->queue_size_max != 0 ? p->queue_size_max : BLK_QUEUE_SIZE_DEFAULT;
    uint32_t fits = size > 2 ? size - 2u : 1;

    blk->type = blk_type;
    blk->type.queue_size_max = size;
    blk->backend = p->backend;
    blk->info = *info;
    blk->queues = p->queues;
    blk->read_only = p->read_only || info->read_only;
    blk->writeback_off = p->writeback_off;
    blk->block_size = p->block_size != 0 ? p->block_size : default_block(info);
    blk->seg_max = p->seg_max != 0 ? p->seg_max : vio_min_u32(fits, BLK_SEG_MAX_DEFAULT);
    blk->size_max = p->size_max;
    blk->info.can_discard = info->can_discard && !p->no_discard;
    blk->discard_sectors = range_sectors(info->max_discard, blk->block_size);
    blk->zero_sectors = range_sectors(info->max_zeroes, blk->block_size);
    set_serial(blk, p->serial[0] != '\0' ? p->serial : info->serial);
    atomic_init(&blk->capacity, info->size / VIRTIO_BLK_SECTOR);
    blk->offered = blk_features(blk);
    for (uint16_t i = 0; i < blk->queues; i++) {
        blk->queue[i].blk = blk;
        blk->queue[i].ops = p->backend->ops;
        blk->queue[i].index = i;
    }
}

int vio_blk_create(const struct vio_blk_params *params, struct vio_device **out, char *why, size_t why_size)
{
    struct vio_device_params device = *params->device;
    struct virtio_blk_config config;
    struct vio_block_info info;
    struct blk *blk;
    size_t size;
    int ret = params->backend->ops->info(params->backend, &info);

    if (ret < 0) {
        (void)vio_device_refuse(why, why_size, "what the disk is cannot be found out: %s", strerror(-ret));
        return ret;
    }
    ret = check_params(params, &info, why, why_size);
    if (ret < 0)
        return ret;
    size = sizeof(*blk) + params->queues * sizeof(blk->queue[0]);
    blk = aligned_alloc(_Alignof(struct blk), size);
    if (blk != NULL) {
        memset(blk, 0, size);
        set_params(blk, params, &info);
        device.type = &blk->type;
        device.self = blk;
        device.queues = blk->queues;
        device.features = blk->offered;
    }
    ret = blk != NULL ? vio_device_create(&device, &blk->dev) : -ENOMEM;
    if (ret < 0) {
        free(blk);
        (void)vio_device_refuse(why, why_size, "out of memory");
        return ret;
    }
    blk_config_fill(blk, &config);
    vio_device_config_set(blk->dev, 0, &config, sizeof(config), false);
    blk_mode_reset(blk);
    *out = blk->dev;
    return 0;
}

/* ------------------------------------------------------------------ resize */

int vio_blk_refresh(struct vio_device *dev)
{
    struct blk *blk = vio_device_self(dev);
    const struct vio_block_ops *ops = blk->backend->ops;
    uint64_t before = atomic_load_explicit(&blk->capacity, memory_order_relaxed);
    struct virtio_blk_config config;
    struct vio_block_info info;
    int ret = ops->refresh(blk->backend);

    if (ret == 0)
        ret = ops->info(blk->backend, &info);
    if (ret < 0 || info.size / VIRTIO_BLK_SECTOR == before)
        return ret;
    atomic_store_explicit(&blk->capacity, info.size / VIRTIO_BLK_SECTOR, memory_order_relaxed);
    vio_log(vio_device_log(dev), VIO_LOG_INFO, vio_device_name(dev), "the disk has %" PRIu64 " bytes now, before %" PRIu64,
            info.size, before * VIRTIO_BLK_SECTOR);
    blk_config_fill(blk, &config);
    /* Capacity and geometry in one step: one generation, one notification. What follows did not change. */
    vio_device_config_set(dev, 0, &config, offsetof(struct virtio_blk_config, blk_size), true);
    return 0;
}
