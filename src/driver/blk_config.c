/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a disk's configuration, decoded and judged (virtio 1.4, 5.2.4). Where it sits: driver/, freestanding.
 * Threads: the control thread. Trust: every field is hostile. What would make requests that cannot be ends in a refusal; what is
 * only advice and senseless is taken as not told.
 */
#include <errno.h>
#include "driver/blk_internal.h"

enum { BLK_SIZE_MAX = 1 << 20 };

/* Bytes of the configuration that the agreed features make readable: the end of the last field that is meant. */
static uint32_t config_bytes(const struct vio_drvdev *d)
{
    static const struct {
        uint8_t bit;
        uint8_t end;
    } field[] = {
        { VIRTIO_BLK_F_SECURE_ERASE, offsetof(struct virtio_blk_config, zoned) },
        { VIRTIO_BLK_F_WRITE_ZEROES, offsetof(struct virtio_blk_config, unused1) },
        { VIRTIO_BLK_F_DISCARD, offsetof(struct virtio_blk_config, max_write_zeroes_sectors) },
        { VIRTIO_BLK_F_MQ, offsetof(struct virtio_blk_config, max_discard_sectors) },
        { VIRTIO_BLK_F_CONFIG_WCE, offsetof(struct virtio_blk_config, unused0) },
        { VIRTIO_BLK_F_TOPOLOGY, offsetof(struct virtio_blk_config, writeback) },
        { VIRTIO_BLK_F_BLK_SIZE, offsetof(struct virtio_blk_config, physical_block_exp) },
        { VIRTIO_BLK_F_GEOMETRY, offsetof(struct virtio_blk_config, blk_size) },
        { VIRTIO_BLK_F_SEG_MAX, offsetof(struct virtio_blk_config, cylinders) },
        { VIRTIO_BLK_F_SIZE_MAX, offsetof(struct virtio_blk_config, seg_max) },
    };

    for (unsigned i = 0; i < sizeof(field) / sizeof(field[0]); i++)
        if (vio_drvdev_has(d, field[i].bit))
            return field[i].end;
    return sizeof(vio_le64);
}

static int capacity_of(struct vio_drvdev *d, const struct virtio_blk_config *c, uint64_t *capacity)
{
    *capacity = vio_cpu(c->capacity);
    if (*capacity <= UINT64_MAX / VIRTIO_BLK_SECTOR)
        return 0;
    return vio_drvdev_fail(d, -EPROTO, "a disk of %llu sectors of 512 bytes has more than 2^64 bytes (virtio 1.4, 5.2.4)",
                           (unsigned long long)*capacity);
}

static int sizes_of(struct vio_drvdev *d, const struct virtio_blk_config *c, struct vio_drv_blk_info *info)
{
    uint32_t seg_max = vio_drvdev_has(d, VIRTIO_BLK_F_SEG_MAX) ? vio_cpu(c->seg_max) : 1;

    info->size_max = vio_drvdev_has(d, VIRTIO_BLK_F_SIZE_MAX) ? vio_cpu(c->size_max) : UINT32_MAX;
    /* 0 is what some devices (qemu-storage-daemon) say for "not told"; one piece is what every device takes. */
    if (info->size_max == 0)
        info->size_max = UINT32_MAX;
    info->seg_max = vio_min_u32(seg_max > 0 ? seg_max : 1, VIO_DRVBLK_PIECES_MAX);
    info->blk_size = vio_drvdev_has(d, VIRTIO_BLK_F_BLK_SIZE) ? vio_cpu(c->blk_size) : VIRTIO_BLK_SECTOR;
    if (info->blk_size < VIRTIO_BLK_SECTOR || info->blk_size > BLK_SIZE_MAX ||
        (info->blk_size & (info->blk_size - 1)) != 0)
        return vio_drvdev_fail(d, -EPROTO, "blk_size is %u: a power of two from 512 to %u is understood (virtio 1.4, 5.2.4)",
                               info->blk_size, (unsigned)BLK_SIZE_MAX);
    return 0;
}

/* Advice: where it makes no sense, nothing was told. */
static void topology_of(const struct vio_drvdev *d, const struct virtio_blk_config *c, struct vio_drv_blk_info *info)
{
    if (vio_drvdev_has(d, VIRTIO_BLK_F_GEOMETRY)) {
        info->cylinders = vio_cpu(c->cylinders);
        info->heads = c->heads;
        info->sectors = c->sectors;
    }
    if (!vio_drvdev_has(d, VIRTIO_BLK_F_TOPOLOGY) || c->physical_block_exp > 16 ||
        c->alignment_offset >> c->physical_block_exp != 0)
        return;
    info->physical_block_exp = c->physical_block_exp;
    info->alignment_offset = c->alignment_offset;
    info->min_io_size = vio_cpu(c->min_io_size);
    info->opt_io_size = vio_cpu(c->opt_io_size);
}

static struct vio_drv_blk_range range_of(bool has, vio_le32 sectors, uint32_t align)
{
    if (!has)
        return (struct vio_drv_blk_range){ 0 };
    return (struct vio_drv_blk_range){ .sectors = vio_cpu(sectors), .align = align > 0 ? align : 1 };
}

static void ranges_of(const struct vio_drvdev *d, const struct virtio_blk_config *c, struct vio_drv_blk_info *info)
{
    /* No sectors or no segments: there is the feature, but no request for it (5.2.6.1). */
    info->discard = range_of(vio_drvdev_has(d, VIRTIO_BLK_F_DISCARD) && vio_cpu(c->max_discard_seg) > 0,
                             c->max_discard_sectors, vio_cpu(c->discard_sector_alignment));
    info->write_zeroes = range_of(vio_drvdev_has(d, VIRTIO_BLK_F_WRITE_ZEROES) && vio_cpu(c->max_write_zeroes_seg) > 0,
                                  c->max_write_zeroes_sectors, 1);
    info->secure_erase = range_of(vio_drvdev_has(d, VIRTIO_BLK_F_SECURE_ERASE) && vio_cpu(c->max_secure_erase_seg) > 0,
                                  c->max_secure_erase_sectors, vio_cpu(c->secure_erase_sector_alignment));
    info->zeroes_may_unmap = info->write_zeroes.sectors > 0 && c->write_zeroes_may_unmap != 0;
}

/* Without CONFIG_WCE: a cache is there if it can be flushed (5.2.5). */
static bool writeback_of(const struct vio_drvdev *d, const struct virtio_blk_config *c)
{
    if (vio_drvdev_has(d, VIRTIO_BLK_F_CONFIG_WCE))
        return c->writeback != 0;
    return vio_drvdev_has(d, VIRTIO_BLK_F_FLUSH);
}

static int queues_of(struct vio_drvdev *d, const struct virtio_blk_config *c, struct vio_drv_blk_info *info)
{
    uint32_t queues = vio_drvdev_has(d, VIRTIO_BLK_F_MQ) ? vio_cpu(c->num_queues) : 1;

    if (queues == 0)
        return vio_drvdev_fail(d, -EPROTO, "num_queues is 0: with MQ it is at least 1 (virtio 1.4, 5.2.4)");
    info->queues = (uint16_t)vio_min_u32(queues, VIO_DRV_BLK_QUEUES_MAX);
    return 0;
}

int drv_blk_configure(struct vio_drv_blk *b)
{
    struct virtio_blk_config c = { 0 };
    struct vio_drvdev *d = b->d;
    uint32_t bytes = config_bytes(d);
    int error = vio_drvdev_config_read(d, 0, &c, bytes);

    if (error != 0)
        return vio_drvdev_fail(d, error, "%u bytes of the disk's configuration cannot be read (error %d)", bytes, -error);
    error = capacity_of(d, &c, &b->capacity);
    if (error == 0)
        error = sizes_of(d, &c, &b->info);
    if (error == 0)
        error = queues_of(d, &c, &b->info);
    if (error != 0)
        return error;
    topology_of(d, &c, &b->info);
    ranges_of(d, &c, &b->info);
    b->info.read_only = vio_drvdev_has(d, VIRTIO_BLK_F_RO);
    b->info.flush = vio_drvdev_has(d, VIRTIO_BLK_F_FLUSH);
    b->info.lifetime = vio_drvdev_has(d, VIRTIO_BLK_F_LIFETIME);
    b->info.writeback_set = vio_drvdev_has(d, VIRTIO_BLK_F_CONFIG_WCE);
    b->writeback = writeback_of(d, &c);
    return 0;
}

void drv_blk_reconfigure(struct vio_drv_blk *b)
{
    struct virtio_blk_config c = { 0 };
    uint32_t bytes = config_bytes(b->d);

    if (vio_drvdev_config_read(b->d, 0, &c, bytes) != 0)
        return; /* a device that went away, or does not stop to change: it tells again */
    if (vio_cpu(c.capacity) > UINT64_MAX / VIRTIO_BLK_SECTOR) {
        vio_drvdev_broken(b->d, "the disk's new capacity has more than 2^64 bytes", "virtio 1.4, 5.2.4");
        return;
    }
    __atomic_store_n(&b->capacity, vio_cpu(c.capacity), __ATOMIC_RELAXED);
    __atomic_store_n(&b->writeback, writeback_of(b->d, &c), __ATOMIC_RELAXED);
}
