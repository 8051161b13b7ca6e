/* SPDX-License-Identifier: MIT */
/* Purpose: FAT16 and FAT32; see disk_format.h. */
#include <errno.h>
#include <string.h>

#include "base/format.h"
#include "disk_format.h"

/* The boot sector */
enum { BYTES_PER_SECTOR = 11, SECTORS_PER_CLUSTER = 13, RESERVED = 14, TABLES = 16, ROOT_ENTRIES = 17, SECTORS16 = 19,
       TABLE_SECTORS16 = 22, SECTORS32 = 32, TABLE_SECTORS32 = 36, VERSION32 = 42, ROOT_CLUSTER = 44, LABEL16 = 43, LABEL32 = 71,
       SIGNATURE = 510 };
enum { FAT16_LEAST = 4085, FAT32_LEAST = 65525, FAT32_MOST = 0x0ffffff5 };
/* An entry of a directory */
enum { ENTRY = 32, ENTRY_ATTRIBUTES = 11, ENTRY_CLUSTER_HIGH = 20, ENTRY_CLUSTER = 26, ENTRY_SIZE = 28, NAME = 11 };
enum { ATTRIBUTE_VOLUME = 8, ATTRIBUTE_DIRECTORY = 16, DELETED = 0xe5 };
enum { DIRECTORY_MOST = 2 << 20 }; /* bytes; no directory may be longer */

static int bad(struct fat *f, const char *what, uint64_t value)
{
    vio_format(f->why, WHY, "FAT: %s (%llu)", what, (unsigned long long)value);
    return -EPROTO;
}

static int read_sector(struct fat *f, uint64_t sector, uint8_t *to)
{
    int r = sector < f->sectors ? f->disk->read(f->disk->ctx, f->first + sector, to) : -EPROTO;

    if (r != 0)
        vio_format(f->why, WHY, "FAT: sector %llu cannot be read: error %d", (unsigned long long)sector, -r);
    return r;
}

static bool power_of_two(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

static void take_label(struct fat *f, const uint8_t *label)
{
    unsigned n = 11;

    while (n > 0 && label[n - 1] == ' ')
        n--;
    for (unsigned i = 0; i < n; i++)
        f->label[i] = label[i] >= 0x20 && label[i] < 0x7f ? (char)label[i] : '.';
    f->label[n] = '\0';
}

/* ------------------------------------------------------------------ the boot sector */

/* How large everything is, in sectors of `unit` times 512 bytes, as the boot sector says. */
struct layout {
    uint64_t reserved, tables, table, root, total, cluster;
};

static int layout_of(struct fat *f, const uint8_t *b, struct layout *l)
{
    uint32_t bytes = le16_at(b + BYTES_PER_SECTOR);

    if (le16_at(b + SIGNATURE) != 0xaa55)
        return bad(f, "the boot sector has not its signature", le16_at(b + SIGNATURE));
    if (!power_of_two(bytes) || bytes < SECTOR || bytes > 4096)
        return bad(f, "no sectors of so many bytes can be", bytes);
    if (!power_of_two(b[SECTORS_PER_CLUSTER]))
        return bad(f, "no clusters of so many sectors can be", b[SECTORS_PER_CLUSTER]);
    if (le16_at(b + RESERVED) == 0)
        return bad(f, "no sector is reserved, not even for the boot sector", 0);
    if (b[TABLES] == 0)
        return bad(f, "there is no allocation table", 0);
    *l = (struct layout){
        .reserved = le16_at(b + RESERVED), .tables = b[TABLES],
        .table = le16_at(b + TABLE_SECTORS16) != 0 ? le16_at(b + TABLE_SECTORS16) : le32_at(b + TABLE_SECTORS32),
        .root = (le16_at(b + ROOT_ENTRIES) * ENTRY + bytes - 1) / bytes,
        .total = le16_at(b + SECTORS16) != 0 ? le16_at(b + SECTORS16) : le32_at(b + SECTORS32),
        .cluster = b[SECTORS_PER_CLUSTER],
    };
    if (l->table == 0)
        return bad(f, "the allocation table is empty", 0);
    f->per_cluster = bytes / SECTOR;
    return 0;
}

/* From the sizes to places. Sums: tables <= 255, table < 2^32, so below 2^41. */
static int places(struct fat *f, const struct layout *l)
{
    uint64_t unit = f->per_cluster, before = l->reserved + l->tables * l->table + l->root, clusters;

    if (l->total * unit > f->sectors)
        return bad(f, "it is longer than its partition, in sectors", l->total);
    if (before >= l->total)
        return bad(f, "its tables leave no room for data, in sectors", before);
    clusters = (l->total - before) / l->cluster;
    if (clusters == 0)
        return bad(f, "it has no cluster", 0);
    f->bits = clusters < FAT16_LEAST ? 12 : clusters < FAT32_LEAST ? 16 : 32;
    if (clusters >= FAT32_MOST)
        return bad(f, "it has too many clusters", clusters);
    if (f->bits == 12) {
        vio_format(f->why, WHY, "FAT12, which is not read here (%llu clusters)", (unsigned long long)clusters);
        return -ENOTSUP;
    }
    if ((clusters + 2) * (f->bits / 8) > l->table * unit * SECTOR)
        return bad(f, "its allocation table is too short for its clusters", clusters);
    /* Below l->total * unit: at most 2^35, and of a disk; in 32 bits only where that fits. */
    if (l->total * unit > UINT32_MAX)
        return bad(f, "it has more sectors than are read here", l->total * unit);
    f->fat = (uint32_t)(l->reserved * unit);
    f->fat_sectors = (uint32_t)(l->table * unit);
    f->root = (uint32_t)((l->reserved + l->tables * l->table) * unit);
    f->root_sectors = (uint32_t)(l->root * unit);
    f->data = (uint32_t)(before * unit);
    f->per_cluster = (uint32_t)(l->cluster * unit);
    f->clusters = (uint32_t)clusters;
    return 0;
}

static bool cluster_ok(const struct fat *f, uint32_t cluster)
{
    return cluster >= 2 && cluster - 2 < f->clusters;
}

int fat_open(struct fat *f, const struct disk *disk, uint64_t first, uint64_t sectors)
{
    uint8_t b[SECTOR];
    struct layout l;
    int r;

    *f = (struct fat){ .disk = disk, .first = first, .sectors = sectors };
    if (!vio_range_ok(first, sectors, disk->sectors))
        return bad(f, "its partition is beyond the disk, from", first);
    r = read_sector(f, 0, b);
    if (r == 0)
        r = layout_of(f, b, &l);
    if (r == 0)
        r = places(f, &l);
    if (r != 0)
        return r;
    take_label(f, b + (f->bits == 32 ? LABEL32 : LABEL16));
    if (f->bits == 16)
        return f->root_sectors != 0 ? 0 : bad(f, "FAT16 without a root directory", 0);
    f->root_cluster = le32_at(b + ROOT_CLUSTER);
    if (f->root_sectors != 0 || le16_at(b + VERSION32) != 0)
        return bad(f, "FAT32 of a version that nobody has", le16_at(b + VERSION32));
    return cluster_ok(f, f->root_cluster) ? 0 : bad(f, "the root directory is in a cluster that there is not", f->root_cluster);
}

/* ------------------------------------------------------------------ chains */

/* The cluster behind this one; 0: it is the last. */
static int next_cluster(struct fat *f, uint32_t cluster, uint32_t *next)
{
    uint32_t bytes = f->bits / 8, per_sector = SECTOR / bytes, last = f->bits == 16 ? 0xfff8 : 0x0ffffff8, v;
    uint8_t sector[SECTOR];
    int r = read_sector(f, f->fat + cluster / per_sector, sector);

    if (r != 0)
        return r;
    v = bytes == 2 ? le16_at(sector + cluster % per_sector * 2) : le32_at(sector + cluster % per_sector * 4) & 0x0fffffff;
    *next = v >= last ? 0 : v;
    return v >= last || cluster_ok(f, v) ? 0 : bad(f, "a chain leads to a cluster that there is not", v);
}

static uint64_t sector_of(const struct fat *f, uint32_t cluster)
{
    return f->data + (uint64_t)(cluster - 2) * f->per_cluster;
}

int64_t fat_chain(struct fat *f, const struct fat_file *file)
{
    uint64_t bytes = (uint64_t)f->per_cluster * SECTOR, want = (file->size + bytes - 1) / bytes;
    uint32_t cluster = file->cluster;

    for (uint64_t n = 1; n <= want; n++) {
        int r = next_cluster(f, cluster, &cluster);

        if (r != 0)
            return r;
        if (cluster == 0 && n < want)
            return bad(f, "the chain is too short for the file's size; clusters", n);
    }
    return cluster == 0 || want == 0 ? (int64_t)want : bad(f, "the chain is too long for the file's size; clusters", want);
}

int fat_first_block(struct fat *f, const struct fat_file *file, uint8_t to[SECTOR])
{
    int r = file->size != 0 ? read_sector(f, sector_of(f, file->cluster), to) : 0;

    return r != 0 ? r : (int)vio_min_u32(file->size, SECTOR);
}

/* ------------------------------------------------------------------ the root directory */

/* "HELLO.TXT" as an entry has it: "HELLO   TXT". */
static bool entry_name(const char *name, uint8_t to[NAME])
{
    unsigned at = 0, end = 8;

    memset(to, ' ', NAME);
    for (; *name != '\0'; name++) {
        if (*name == '.' && at > 0 && end == 8)
            at = 8, end = NAME;
        else if (*name > ' ' && *name < 0x7f && *name != '.' && at < end)
            to[at++] = (uint8_t)*name;
        else
            return false;
    }
    return at > 0;
}

static int take_file(struct fat *f, const uint8_t *e, struct fat_file *file)
{
    uint64_t most = (uint64_t)f->clusters * f->per_cluster * SECTOR;

    file->size = le32_at(e + ENTRY_SIZE);
    file->cluster = le16_at(e + ENTRY_CLUSTER) | (f->bits == 32 ? le16_at(e + ENTRY_CLUSTER_HIGH) << 16 : 0);
    if (file->size > most)
        return bad(f, "the file is larger than the file system, in bytes", file->size);
    if (file->size != 0 && !cluster_ok(f, file->cluster))
        return bad(f, "the file begins in a cluster that there is not", file->cluster);
    return 0;
}

/* 0: found; 1: not in this sector; -ENOENT: the directory ends in it. */
static int search(struct fat *f, uint64_t sector, const uint8_t name[NAME], struct fat_file *file)
{
    uint8_t b[SECTOR];
    int r = read_sector(f, sector, b);

    for (unsigned i = 0; r == 0 && i < SECTOR; i += ENTRY) {
        const uint8_t *e = b + i;

        if (e[0] == 0)
            return -ENOENT;
        /* long names have the volume's bit too */
        if (e[0] != DELETED && (e[ENTRY_ATTRIBUTES] & (ATTRIBUTE_VOLUME | ATTRIBUTE_DIRECTORY)) == 0 &&
            memcmp(e, name, NAME) == 0)
            return take_file(f, e, file);
    }
    return r != 0 ? r : 1;
}

static int search_sectors(struct fat *f, uint64_t at, uint32_t n, const uint8_t name[NAME], struct fat_file *file)
{
    int r = 1;

    for (uint32_t i = 0; r == 1 && i < n; i++)
        r = search(f, at + i, name, file);
    return r;
}

static int search_chain(struct fat *f, const uint8_t name[NAME], struct fat_file *file)
{
    uint32_t cluster = f->root_cluster, most = DIRECTORY_MOST / SECTOR / f->per_cluster + 1;

    for (uint32_t n = 0; cluster != 0; n++) {
        int r = search_sectors(f, sector_of(f, cluster), f->per_cluster, name, file);

        if (r != 1)
            return r;
        if (n == most)
            return bad(f, "the root directory does not end after so many clusters", n);
        r = next_cluster(f, cluster, &cluster);
        if (r != 0)
            return r;
    }
    return -ENOENT;
}

int fat_find(struct fat *f, const char *name, struct fat_file *file)
{
    uint8_t entry[NAME];
    int r;

    if (!entry_name(name, entry)) {
        vio_format(f->why, WHY, "no file can have the name '%s' here", name);
        return -EINVAL;
    }
    r = f->bits == 16 ? search_sectors(f, f->root, f->root_sectors, entry, file) : search_chain(f, entry, file);
    if (r == 1)
        r = -ENOENT;
    if (r == -ENOENT)
        vio_format(f->why, WHY, "there is no %s", name);
    return r;
}
