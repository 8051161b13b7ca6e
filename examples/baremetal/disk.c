/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a disk, on its own or behind a SCSI host: what it is, how it is parted, and a file on it. Where it sits: over
 * vio/drv_blk.h, vio/drv_scsi.h and disk_format.h.
 * Threads: one. Trust: the device and what lies on it are hostile; see there.
 *
 * arguments: file=NAME (HELLO.TXT)
 */
#include <errno.h>
#include <string.h>
#include <vio/drv_blk.h>
#include <vio/drv_scsi.h>

#include "devices.h"
#include "disk_format.h"
#include "say.h"

/* ------------------------------------------------------------------ what lies on it */

static void show_file(const char *name, struct fat *fat, const char *file_name)
{
    uint8_t block[SECTOR];
    char text[SECTOR + 1];
    struct fat_file file;
    int64_t clusters = 0;
    int n = fat_find(fat, file_name, &file);

    if (n == 0)
        clusters = fat_chain(fat, &file);
    if (n == 0 && clusters >= 0)
        n = fat_first_block(fat, &file, block);
    if (n < 0 || clusters < 0) {
        problem(name, "%s", fat->why);
        return;
    }
    say_printable(text, block, (size_t)n > 64 ? 64 : (size_t)n);
    say(name, "%s: %u bytes in %u clusters, CRC-32 of the first %u: %08x: %s", file_name, file.size, (unsigned)clusters,
        (unsigned)n, crc32_of(0, block, (size_t)n), text);
}

static void show_fat(const char *name, const struct disk *disk, uint64_t first, uint64_t sectors, const char *arguments)
{
    char file_name[16] = "HELLO.TXT";
    struct fat fat;

    (void)text_word(arguments, "file", file_name, sizeof(file_name));
    if (fat_open(&fat, disk, first, sectors) != 0) {
        problem(name, "%s", fat.why);
        return;
    }
    say(name, "FAT%u \"%s\", %u clusters of %u bytes", fat.bits, fat.label, fat.clusters, fat.per_cluster * (unsigned)SECTOR);
    show_file(name, &fat, file_name);
}

static void show_disk(const char *name, const struct disk *disk, const char *arguments)
{
    static const char *const tables[] = { "no partition table", "MBR", "GPT", "GPT (the backup)" };
    static struct partitions parts; /* not on the stack: it is large */
    int r = partitions_read(disk, &parts);

    if (parts.why[0] != '\0')
        problem(name, "%s", parts.why);
    if (r != 0) {
        if (parts.why[0] == '\0')
            problem(name, "it cannot be read: error %d", -r);
        return;
    }
    say(name, "%s, %u partitions", tables[parts.table], parts.n);
    for (unsigned i = 0; i < parts.n; i++)
        say(name, "partition %u: %llu sectors from %llu, \"%s\"", i + 1, (unsigned long long)parts.p[i].sectors,
            (unsigned long long)parts.p[i].first, parts.p[i].name);
    if (parts.n == 0)
        show_fat(name, disk, 0, disk->sectors, arguments); /* perhaps it is one file system as a whole, with an MBR's signature */
    else
        show_fat(name, disk, parts.p[0].first, parts.p[0].sectors, arguments);
}

/* ------------------------------------------------------------------ whole blocks, of which sectors are parts */

enum { BLOCK_MOST = 4096 };

/* Where blocks come from: a device takes no less, and they may be larger than a sector. */
struct source {
    int (*read)(const struct source *s, uint64_t block, uint8_t *to);
    void *device;
    const struct vio_drv_scsi_disk *unit; /* of a SCSI host */
    uint32_t sectors; /* of a block */
};

/* What can be no size of a block is 512 bytes. */
static uint32_t sectors_of(uint32_t block_size)
{
    return block_size == 1024 || block_size == 2048 || block_size == BLOCK_MOST ? block_size / SECTOR : 1;
}

static int read_part(void *ctx, uint64_t sector, uint8_t to[SECTOR])
{
    static uint8_t block[BLOCK_MOST];
    const struct source *s = ctx;
    int r = s->read(s, sector / s->sectors, block);

    if (r == 0)
        memcpy(to, block + sector % s->sectors * SECTOR, SECTOR);
    return r;
}

static void show_source(const char *name, struct source *s, uint64_t blocks, const char *arguments)
{
    struct disk disk = { read_part, s, blocks * s->sectors, s->sectors };

    show_disk(name, &disk, arguments);
}

/* ------------------------------------------------------------------ virtio-blk */

static int read_blk(const struct source *s, uint64_t block, uint8_t *to)
{
    return vio_drv_blk_read(s->device, block * s->sectors, to, s->sectors * (uint64_t)SECTOR, PATIENCE_NS);
}

void use_disk(struct vio_drvdev *d, const char *arguments)
{
    struct vio_drv_blk *b = vio_drv_blk_of(d);
    struct vio_drv_blk_info info = vio_drv_blk_info(b);
    struct source source = { .read = read_blk, .device = b, .sectors = sectors_of(info.blk_size) };
    char id[VIO_DRV_BLK_ID_BYTES + 1], serial[VIO_DRV_BLK_ID_BYTES + 1];
    const char *name = vio_drvdev_name(d);
    int r = vio_drv_blk_id(b, id, PATIENCE_NS);

    if (r != 0 && r != -ENOTSUP)
        problem(name, "it does not tell its serial number: error %d", -r);
    if (r != 0)
        id[0] = '\0';
    for (r = 0; id[r] != '\0'; r++)
        ;
    say_printable(serial, (const uint8_t *)id, (size_t)r);
    say(name, "disk of %llu sectors, blocks of %u bytes, serial \"%s\"%s", (unsigned long long)info.capacity, info.blk_size, serial,
        info.read_only ? ", read only" : "");
    show_source(name, &source, info.capacity / source.sectors, arguments);
}

/* ------------------------------------------------------------------ a disk behind virtio-scsi */

static int read_unit(const struct source *s, uint64_t block, uint8_t *to)
{
    return vio_drv_scsi_read(s->device, s->unit, block, to, s->sectors * SECTOR, PATIENCE_NS);
}

/* The first disk of target 0: enough for an example. */
void use_scsi(struct vio_drvdev *d, const char *arguments)
{
    struct vio_drv_scsi *host = vio_drv_scsi_of(d);
    struct vio_drv_scsi_info info = vio_drv_scsi_info(host);
    const char *name = vio_drvdev_name(d);
    struct vio_drv_scsi_disk unit;
    struct source source = { .read = read_unit, .device = host, .unit = &unit };
    uint16_t luns[8];
    int n = vio_drv_scsi_report_luns(host, 0, luns, 8, PATIENCE_NS), r;

    say(name, "SCSI host, %u request queues, target 0 has %d units", info.queues, n < 0 ? 0 : n);
    if (n <= 0)
        return;
    r = vio_drv_scsi_disk_open(host, 0, luns[0], &unit, PATIENCE_NS);
    if (r != 0) {
        problem(name, "unit %u is no disk that can be read: error %d", luns[0], -r);
        return;
    }
    say(name, "unit %u: %s %s, %llu blocks of %u bytes", luns[0], unit.vendor, unit.product, (unsigned long long)unit.blocks,
        unit.block_size);
    source.sectors = sectors_of(unit.block_size);
    if (source.sectors * SECTOR == unit.block_size)
        show_source(name, &source, unit.blocks, arguments);
}
