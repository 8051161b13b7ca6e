/* SPDX-License-Identifier: MIT */
/* Purpose: partition tables; see disk_format.h. */
#include <errno.h>
#include <string.h>

#include "base/format.h"
#include "disk_format.h"

enum { MBR_ENTRIES = 446, MBR_ENTRY = 16, MBR_SIGNATURE = 510, MBR_PROTECTIVE = 0xee };
/* UEFI 2.10, 5.3.2 */
enum { GPT_REVISION = 8, GPT_HEADER_SIZE = 12, GPT_HEADER_CRC = 16, GPT_MY_LBA = 24, GPT_FIRST = 40,
       GPT_LAST = 48, GPT_ENTRIES = 72, GPT_COUNT = 80, GPT_ENTRY_SIZE = 84, GPT_ENTRIES_CRC = 88, GPT_LEAST = 92 };
enum { ENTRY_FIRST = 32, ENTRY_LAST = 40, ENTRY_NAME = 56, ENTRY_LEAST = 128, COUNT_MOST = 4096 };

uint32_t crc32_of(uint32_t crc, const uint8_t *bytes, size_t n)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

/* Blocks [first, first + n) as sectors, if the disk has them; not empty. */
static bool place(const struct disk *disk, uint64_t first, uint64_t n, struct partition *p)
{
    if (!vio_mul_u64(first, disk->unit, &p->first) || !vio_mul_u64(n, disk->unit, &p->sectors))
        return false;
    return n > 0 && vio_range_ok(p->first, p->sectors, disk->sectors);
}

/* ------------------------------------------------------------------ MBR */

static int read_mbr(const struct disk *disk, const uint8_t *sector, struct partitions *out)
{
    out->table = TABLE_MBR;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *e = sector + MBR_ENTRIES + i * MBR_ENTRY;
        struct partition *p = &out->p[out->n];

        if (e[4] == 0)
            continue;
        *p = (struct partition){ .mbr_type = e[4] };
        if ((e[0] & 0x7f) == 0 && place(disk, le32_at(e + 8), le32_at(e + 12), p)) {
            out->n++;
            continue;
        }
        vio_format(out->why, WHY, "MBR: entry %u, %u blocks from %u, is no place on a disk of %llu sectors", i + 1, le32_at(e + 12),
                   le32_at(e + 8), (unsigned long long)disk->sectors);
        return -EPROTO;
    }
    return 0;
}

/* ------------------------------------------------------------------ GPT */

struct gpt {
    const struct disk *disk;
    struct partitions *out;
    uint64_t first, last;    /* blocks that partitions may have */
    uint64_t entries;        /* block */
    uint32_t count, entry_size, entries_crc;
    const char *which;
};

static int bad(struct gpt *g, const char *what)
{
    vio_format(g->out->why, WHY, "GPT: the %s %s", g->which, what);
    return -EPROTO;
}

/* UEFI 2.10, 5.3.2: what must hold before a header is believed. */
static int check_header(struct gpt *g, uint64_t lba, uint8_t *h)
{
    uint32_t size = le32_at(h + GPT_HEADER_SIZE), crc = le32_at(h + GPT_HEADER_CRC);
    uint64_t bytes;
    struct partition p;

    if (memcmp(h, "EFI PART", 8) != 0)
        return bad(g, "header has not its signature");
    if (size < GPT_LEAST || size > SECTOR)
        return bad(g, "header's size cannot be");
    memset(h + GPT_HEADER_CRC, 0, 4);
    if (crc32_of(0, h, size) != crc)
        return bad(g, "header's CRC is wrong");
    if (le32_at(h + GPT_REVISION) != 0x10000 || le64_at(h + GPT_MY_LBA) != lba)
        return bad(g, "header is of another revision, or of another place");
    g->first = le64_at(h + GPT_FIRST);
    g->last = le64_at(h + GPT_LAST);
    g->entries = le64_at(h + GPT_ENTRIES);
    g->count = le32_at(h + GPT_COUNT);
    g->entry_size = le32_at(h + GPT_ENTRY_SIZE);
    g->entries_crc = le32_at(h + GPT_ENTRIES_CRC);
    /* 128 times a power of two; above a sector nobody has it */
    if (g->entry_size < ENTRY_LEAST || g->entry_size > SECTOR || SECTOR % g->entry_size != 0 || g->count == 0 ||
        g->count > COUNT_MOST)
        return bad(g, "table has a number or a size of entries that cannot be");
    bytes = (uint64_t)g->count * g->entry_size;
    if (g->first > g->last || g->last == UINT64_MAX || !place(g->disk, g->first, g->last - g->first + 1, &p) ||
        !place(g->disk, g->entries, (bytes + SECTOR * g->disk->unit - 1) / (SECTOR * g->disk->unit), &p))
        return bad(g, "header's places are not on the disk");
    return 0;
}

static void take_name(char *to, const uint8_t *utf16)
{
    unsigned n = 0;

    for (; n < 36 && le16_at(utf16 + 2 * n) != 0; n++) {
        uint32_t c = le16_at(utf16 + 2 * n);

        to[n] = c >= 0x20 && c < 0x7f ? (char)c : '.';
    }
    to[n] = '\0';
}

static int take_entry(struct gpt *g, const uint8_t *e)
{
    uint64_t first = le64_at(e + ENTRY_FIRST), last = le64_at(e + ENTRY_LAST);
    struct partition *p = &g->out->p[g->out->n];

    if (all_zero(e, 16))
        return 0;
    if (g->out->n == PARTITIONS_MAX)
        return 0; /* more than this program shows */
    *p = (struct partition){ 0 };
    if (first < g->first || last > g->last || first > last || !place(g->disk, first, last - first + 1, p))
        return bad(g, "table has an entry that is not where partitions may be");
    memcpy(p->gpt_type, e, sizeof(p->gpt_type));
    take_name(p->name, e + ENTRY_NAME);
    g->out->n++;
    return 0;
}

/* Twice over the table: its CRC, and only then what it says. A disk that says something else then has its entries checked. */
static int read_entries(struct gpt *g, bool check)
{
    uint64_t left = (uint64_t)g->count * g->entry_size;
    uint32_t crc = 0;
    int r = 0;

    for (uint64_t at = g->entries * g->disk->unit; r == 0 && left > 0; at++) {
        uint32_t n = (uint32_t)vio_min_u64(left, SECTOR);
        uint8_t sector[SECTOR];

        r = g->disk->read(g->disk->ctx, at, sector);
        if (r == 0 && check)
            crc = crc32_of(crc, sector, n);
        for (uint32_t i = 0; r == 0 && !check && i < n; i += g->entry_size)
            r = take_entry(g, sector + i);
        left -= n;
    }
    if (r == 0 && check && crc != g->entries_crc)
        return bad(g, "table's CRC is wrong");
    return r;
}

static int read_gpt(const struct disk *disk, uint64_t lba, const char *which, struct partitions *out)
{
    struct gpt g = { .disk = disk, .out = out, .which = which };
    uint8_t sector[SECTOR];
    int r = disk->read(disk->ctx, lba * disk->unit, sector);

    out->n = 0;
    if (r == 0)
        r = check_header(&g, lba, sector);
    if (r == 0)
        r = read_entries(&g, true);
    return r == 0 ? read_entries(&g, false) : r;
}

static int read_either_gpt(const struct disk *disk, struct partitions *out)
{
    uint64_t blocks = disk->sectors / disk->unit;
    char first[WHY];
    int r;

    out->table = TABLE_GPT;
    if (blocks < 3) {
        vio_format(out->why, WHY, "GPT: a disk of %llu sectors has no room for it", (unsigned long long)disk->sectors);
        return -EPROTO;
    }
    r = read_gpt(disk, 1, "first", out);
    if (r != -EPROTO)
        return r;
    memcpy(first, out->why, sizeof(first));
    out->table = TABLE_GPT_BACKUP;
    r = read_gpt(disk, blocks - 1, "backup", out);
    if (r == 0)
        memcpy(out->why, first, sizeof(first));
    return r;
}

int partitions_read(const struct disk *disk, struct partitions *out)
{
    uint8_t sector[SECTOR];
    int r;

    *out = (struct partitions){ 0 };
    if (disk->sectors < disk->unit)
        return 0;
    r = disk->read(disk->ctx, 0, sector);
    if (r != 0 || le16_at(sector + MBR_SIGNATURE) != 0xaa55)
        return r;
    for (unsigned i = 0; i < 4; i++) {
        if (sector[MBR_ENTRIES + i * MBR_ENTRY + 4] == MBR_PROTECTIVE)
            return read_either_gpt(disk, out);
    }
    return read_mbr(disk, sector, out);
}
