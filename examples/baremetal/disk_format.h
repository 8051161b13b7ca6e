/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what lies on a disk, read only: a partition table (MBR or GPT, UEFI 2.10, 5), and a file in the root of a FAT file
 * system (FAT16 and FAT32, as Microsoft's "FAT: General Overview of On-Disk Format", 1.03, has it). Sectors come from a function.
 * Where it sits: by itself, over base/format.h; also built into a fuzz target. Threads: one for each disk.
 * Trust: the disk's content is hostile: each field is checked once, on a copy, before it is used; every loop has an end that the
 * disk cannot move.
 */
#ifndef VIO_BAREMETAL_DISK_FORMAT_H
#define VIO_BAREMETAL_DISK_FORMAT_H

#include <vio/types.h>

enum { SECTOR = 512, PARTITIONS_MAX = 16, WHY = 160 };

struct disk {
    int (*read)(void *ctx, uint64_t sector, uint8_t to[SECTOR]); /* 0, or -errno */
    void *ctx;
    uint64_t sectors; /* of 512 bytes */
    uint32_t unit;    /* sectors of a logical block, which partition tables count in: 1, 2, 4 or 8 */
};

static inline uint32_t le16_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t le32_at(const uint8_t *p)
{
    return le16_at(p) | le16_at(p + 2) << 16;
}

static inline uint64_t le64_at(const uint8_t *p)
{
    return le32_at(p) | (uint64_t)le32_at(p + 4) << 32;
}

/* ------------------------------------------------------------------ partitions: partition.c */

struct partition {
    uint64_t first, sectors; /* of 512 bytes; within the disk */
    uint8_t mbr_type;        /* GPT: 0 */
    uint8_t gpt_type[16];    /* MBR: zeros */
    char name[37];           /* GPT's; what is not ASCII is a dot */
};

struct partitions {
    enum { TABLE_NONE, TABLE_MBR, TABLE_GPT, TABLE_GPT_BACKUP } table; /* BACKUP: the first GPT is bad, see why */
    unsigned n;
    struct partition p[PARTITIONS_MAX];
    char why[WHY]; /* what is wrong with a table that is there; "": nothing */
};

/* 0 also where there is none; -errno of a read; -EPROTO: a table that is there cannot be used, see why. */
int partitions_read(const struct disk *disk, struct partitions *out) VIO_MUST_CHECK;
/* CRC-32 (ISO 3309) of bytes in pieces; `crc` is 0 first. */
uint32_t crc32_of(uint32_t crc, const uint8_t *bytes, size_t n);

/* ------------------------------------------------------------------ FAT: fat.c */

struct fat {
    const struct disk *disk;
    uint64_t first;            /* all of the following counts sectors of 512 bytes from here */
    uint64_t sectors;
    unsigned bits;             /* 16 or 32 */
    uint32_t fat, fat_sectors; /* the first of the tables, and how long each is */
    uint32_t root, root_sectors; /* FAT16 */
    uint32_t root_cluster;     /* FAT32 */
    uint32_t data;             /* where cluster 2 is */
    uint32_t per_cluster;
    uint32_t clusters;         /* numbered from 2 */
    char label[12];
    char why[WHY];             /* of the last call that failed */
};

struct fat_file {
    uint32_t cluster, size; /* size 0: no cluster */
};

/* -EPROTO: no FAT, or a field that cannot be; -ENOTSUP: FAT12, that is not read here; -errno of a read. fat->why says it. */
int fat_open(struct fat *fat, const struct disk *disk, uint64_t first, uint64_t sectors) VIO_MUST_CHECK;
/* name: "HELLO.TXT": 8 and 3 characters at most, upper case. -ENOENT; -EINVAL: no such name can be; -EPROTO. */
int fat_find(struct fat *fat, const char *name, struct fat_file *file) VIO_MUST_CHECK;
/* The file's first `SECTOR` bytes at most. How many, or -errno. */
int fat_first_block(struct fat *fat, const struct fat_file *file, uint8_t to[SECTOR]) VIO_MUST_CHECK;
/* Follows the whole chain: it must be as long as the size says. How many clusters, or -EPROTO. */
int64_t fat_chain(struct fat *fat, const struct fat_file *file) VIO_MUST_CHECK;

#endif
