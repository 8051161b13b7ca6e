/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the block device offers and says about itself, and the cache mode (virtio 1.4, 5.2.3 to 5.2.5).
 * Where it sits: device/blk. Threads: the control thread.
 */
#include "device/blk_internal.h"

#include <string.h>

#include "spec/virtio.h"

struct vio_features blk_features(const struct blk *blk)
{
    const struct vio_block_info *info = &blk->info;
    bool writes = !blk->read_only;
    const struct {
        bool offer;
        unsigned bit;
    } bits[] = {
        { blk->size_max > 0, VIRTIO_BLK_F_SIZE_MAX },
        { true, VIRTIO_BLK_F_SEG_MAX },
        { true, VIRTIO_BLK_F_GEOMETRY },
        { blk->read_only, VIRTIO_BLK_F_RO },
        { true, VIRTIO_BLK_F_BLK_SIZE },
        { info->can_flush, VIRTIO_BLK_F_FLUSH },
        { true, VIRTIO_BLK_F_TOPOLOGY },
        { info->can_flush, VIRTIO_BLK_F_CONFIG_WCE }, /* only with FLUSH (5.2.5.2) */
        { blk->queues > 1, VIRTIO_BLK_F_MQ },
        { writes && info->can_discard, VIRTIO_BLK_F_DISCARD },
        { writes && info->can_zero, VIRTIO_BLK_F_WRITE_ZEROES },
        { info->has_lifetime, VIRTIO_BLK_F_LIFETIME },
        { writes && info->can_secure_erase, VIRTIO_BLK_F_SECURE_ERASE },
    };
    struct vio_features f = vio_features_of(0);

    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        if (bits[i].offer)
            vio_features_set(&f, bits[i].bit);
    return f;
}

static unsigned log2_of(uint32_t power)
{
    return power > 1 ? 31u - (unsigned)__builtin_clz(power) : 0;
}

static void fill_limits(const struct blk *blk, struct virtio_blk_config *c)
{
    const struct vio_block_info *info = &blk->info;
    uint32_t align = info->discard_granularity > blk->block_size ? info->discard_granularity : blk->block_size;

    if (vio_features_has(blk->offered, VIRTIO_BLK_F_DISCARD)) {
        c->max_discard_sectors = vio_le32_of(blk->discard_sectors);
        c->max_discard_seg = vio_le32_of(BLK_RANGES_MAX);
        c->discard_sector_alignment = vio_le32_of(align / VIRTIO_BLK_SECTOR);
    }
    if (vio_features_has(blk->offered, VIRTIO_BLK_F_WRITE_ZEROES)) {
        c->max_write_zeroes_sectors = vio_le32_of(blk->zero_sectors);
        c->max_write_zeroes_seg = vio_le32_of(BLK_RANGES_MAX);
        c->write_zeroes_may_unmap = info->can_zero_unmap;
    }
    if (vio_features_has(blk->offered, VIRTIO_BLK_F_SECURE_ERASE)) {
        c->max_secure_erase_sectors = vio_le32_of(blk->discard_sectors);
        c->max_secure_erase_seg = vio_le32_of(BLK_RANGES_MAX);
        c->secure_erase_sector_alignment = vio_le32_of(align / VIRTIO_BLK_SECTOR);
    }
}

void blk_config_fill(const struct blk *blk, struct virtio_blk_config *c)
{
    enum { HEADS = 16, SECTORS = 63, CYLINDERS_MAX = 16383 }; /* what ATA disks say; no driver computes with it */
    const struct vio_block_info *info = &blk->info;
    uint64_t capacity = atomic_load_explicit(&blk->capacity, memory_order_relaxed);
    uint32_t physical = info->physical_block > blk->block_size ? info->physical_block : blk->block_size;
    uint64_t min_io = info->min_io / blk->block_size;

    memset(c, 0, sizeof(*c));
    c->capacity = vio_le64_of(capacity);
    c->size_max = vio_le32_of(blk->size_max);
    c->seg_max = vio_le32_of(blk->seg_max);
    c->cylinders = vio_le16_of((uint16_t)vio_min_u64(capacity / (HEADS * SECTORS), CYLINDERS_MAX));
    c->heads = HEADS;
    c->sectors = SECTORS;
    c->blk_size = vio_le32_of(blk->block_size);
    c->physical_block_exp = (uint8_t)log2_of(physical / blk->block_size);
    c->min_io_size = vio_le16_of((uint16_t)vio_min_u64(min_io > 0 ? min_io : 1, UINT16_MAX));
    c->opt_io_size = vio_le32_of(info->opt_io / blk->block_size);
    c->writeback = !blk->writeback_off;
    c->num_queues = vio_le16_of(blk->queues);
    fill_limits(blk, c);
}

/* ------------------------------------------------------------------ cache mode */

static void set_writeback(struct blk *blk, uint8_t writeback)
{
    vio_device_config_set(blk->dev, offsetof(struct virtio_blk_config, writeback), &writeback, 1, false);
}

static uint8_t get_writeback(const struct blk *blk)
{
    uint8_t writeback = 0;

    /* The offset is inside: this cannot fail; 0, write-through, would be the safe answer. */
    if (vio_device_config_read(blk->dev, offsetof(struct virtio_blk_config, writeback), &writeback, 1) < 0)
        return 0;
    return writeback;
}

/* When a write is stable as soon as it is done: the cases of 5.2.6.2. */
static void set_stable(struct blk *blk)
{
    bool stable = false;

    if (vio_features_has(blk->offered, VIRTIO_BLK_F_FLUSH)) {
        if (vio_features_has(blk->features, VIRTIO_BLK_F_CONFIG_WCE))
            stable = get_writeback(blk) == 0;
        else if (vio_features_has(blk->features, VIRTIO_BLK_F_FLUSH))
            stable = blk->writeback_off;
        else
            stable = true;
    }
    atomic_store_explicit(&blk->stable, stable, memory_order_relaxed);
}

void blk_negotiated(void *self, struct vio_features features)
{
    struct blk *blk = self;
    bool wce = vio_features_has(features, VIRTIO_BLK_F_CONFIG_WCE);
    bool flush = vio_features_has(features, VIRTIO_BLK_F_FLUSH);

    blk->features = features;
    /* A driver that turns the cache on but cannot flush it gets none (5.2.5.2). */
    set_writeback(blk, !blk->writeback_off && !(wce && !flush));
    set_stable(blk);
    /* A flush is harmless wherever the backend has one; the others change data and must have been asked for. */
    blk->may = (vio_features_has(blk->offered, VIRTIO_BLK_F_FLUSH) ? BLK_MAY_FLUSH : 0u) |
               (vio_features_has(features, VIRTIO_BLK_F_DISCARD) ? BLK_MAY_DISCARD : 0u) |
               (vio_features_has(features, VIRTIO_BLK_F_WRITE_ZEROES) ? BLK_MAY_ZERO : 0u) |
               (vio_features_has(features, VIRTIO_BLK_F_SECURE_ERASE) ? BLK_MAY_ERASE : 0u) |
               (vio_features_has(features, VIRTIO_BLK_F_LIFETIME) ? BLK_MAY_LIFETIME : 0u);
}

bool blk_config_writable(void *self, uint32_t offset, uint32_t len)
{
    const struct blk *blk = self;

    return offset == offsetof(struct virtio_blk_config, writeback) && len == 1 &&
           vio_features_has(blk->features, VIRTIO_BLK_F_CONFIG_WCE);
}

void blk_config_written(void *self, uint32_t offset, uint32_t len)
{
    struct blk *blk = self;

    (void)offset;
    (void)len; /* only writeback is writable */
    if (get_writeback(blk) > 1)
        set_writeback(blk, 1);
    set_stable(blk);
    vio_log(vio_device_log(blk->dev), VIO_LOG_INFO, vio_device_name(blk->dev), "the driver chose a %s cache",
            get_writeback(blk) ? "write-back" : "write-through");
}

void blk_mode_reset(struct blk *blk)
{
    blk->features = vio_features_of(0);
    blk->may = 0;
    set_writeback(blk, !blk->writeback_off);
    set_stable(blk);
}
