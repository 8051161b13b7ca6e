/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: what the bare-metal program reads of others: a device tree, a disk's partition table and FAT, frames. The
 * first byte chooses; checksums are made right where the input asks for that, or nothing would come past them.
 * Invariants: no byte outside what was handed over; all loops end; a refusal has a sentence; places are on the disk; what is answered
 * has right checksums, goes back to the sender, and is itself not answered.
 */
#include <errno.h>
#include <string.h>

#include "answer.h"
#include "disk_format.h"
#include "fdt.h"
#include "fuzz.h"

/* ------------------------------------------------------------------ device tree */

static void look_at_node(const struct fdt *t, const struct fdt_node *n)
{
    struct fdt_prop p = { 0 };
    uint64_t address, len, end;
    uint32_t at = 0, word;
    const char *text = fdt_text(t, n, "bootargs");

    FUZZ_CHECK(n->depth <= FDT_DEPTH && strlen(n->name) < t->len);
    while (fdt_next_prop(t, n, &at, &p)) {
        FUZZ_CHECK(strlen(p.name) < t->len);
        FUZZ_CHECK(p.value >= t->bytes && vio_range_ok((uint64_t)(p.value - t->bytes), p.len, t->len));
    }
    FUZZ_CHECK(text == NULL || strlen(text) < t->len);
    (void)!fdt_enabled(t, n);
    (void)!fdt_is(t, n, "virtio,mmio");
    (void)!fdt_u32(t, n, "#size-cells", &word);
    for (uint32_t i = 0; i < 3; i++)
        FUZZ_CHECK(!fdt_reg(t, n, i, &address, &len) || vio_add_u64(address, len, &end));
    (void)!fdt_reg(t, n, UINT32_MAX, &address, &len);
}

static void try_tree(struct input *in)
{
    uint8_t *bytes = malloc(in->left + 1); /* its end is where a sanitizer sees it */
    struct fdt_node n = { 0 };
    struct fdt t;

    if (bytes == NULL)
        return;
    memcpy(bytes, in->at, in->left);
    if (fdt_open(&t, bytes, (uint32_t)in->left)) {
        while (fdt_next(&t, &n))
            look_at_node(&t, &n);
    }
    free(bytes);
}

/* ------------------------------------------------------------------ disk */

enum { STORED = 32, DISK_MOST = 1 << 17 };

/* A few sectors have content, the others are zeros. */
struct store {
    uint64_t number[STORED];
    uint8_t content[STORED][SECTOR];
    unsigned n;
    uint64_t sectors;
    unsigned fails_in; /* reads; 0: never */
};

static struct store store;

static uint8_t *stored(struct store *s, uint64_t sector)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (s->number[i] == sector)
            return s->content[i];
    }
    return NULL;
}

static int read_stored(void *ctx, uint64_t sector, uint8_t to[SECTOR])
{
    struct store *s = ctx;
    const uint8_t *from = stored(s, sector);

    FUZZ_CHECK(sector < s->sectors);
    if (s->fails_in != 0 && --s->fails_in == 0)
        return -EIO;
    if (from != NULL)
        memcpy(to, from, SECTOR);
    else
        memset(to, 0, SECTOR);
    return 0;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* Both checksums of the GPT header that is stored as this sector, if it is one. */
static void mend_gpt(struct store *s, uint64_t sector, uint32_t unit)
{
    uint8_t *h = stored(s, sector);
    static const uint8_t zeros[SECTOR];
    uint64_t left, at;
    uint32_t crc = 0;

    if (h == NULL || memcmp(h, "EFI PART", 8) != 0 || le32_at(h + 12) > SECTOR)
        return;
    left = (uint64_t)le32_at(h + 80) * le32_at(h + 84);
    at = le64_at(h + 72) * unit;
    for (; left > 0 && left <= 1 << 20; at++) {
        const uint8_t *b = stored(s, at);
        uint32_t n = (uint32_t)vio_min_u64(left, SECTOR);

        crc = crc32_of(crc, b != NULL ? b : zeros, n);
        left -= n;
    }
    put32(h + 88, crc);
    put32(h + 16, 0);
    put32(h + 16, crc32_of(0, h, le32_at(h + 12)));
}

static void try_fat(const struct disk *disk, uint64_t first, uint64_t sectors)
{
    struct fat_file file;
    uint8_t block[SECTOR];
    struct fat f;
    int r = fat_open(&f, disk, first, sectors);

    FUZZ_CHECK(r == 0 || f.why[0] != '\0');
    if (r != 0)
        return;
    f.why[0] = '\0';
    r = fat_find(&f, "HELLO.TXT", &file);
    FUZZ_CHECK(r == 0 || f.why[0] != '\0');
    if (r != 0)
        return;
    FUZZ_CHECK(fat_chain(&f, &file) >= 0 || f.why[0] != '\0');
    r = fat_first_block(&f, &file, block);
    FUZZ_CHECK(r < 0 || r == (int)vio_min_u32(file.size, SECTOR));
}

static void try_disk(struct input *in)
{
    uint8_t flags = input_u8(in);
    struct disk disk = { .read = read_stored, .ctx = &store, .unit = flags & 1 ? 8 : 1 };
    static struct partitions parts;
    int r;

    store.n = 0;
    store.sectors = disk.sectors = input_u64(in) % DISK_MOST;
    store.fails_in = flags & 2 ? 1 + (flags >> 4) : 0;
    while (store.n < STORED && in->left > 4) {
        size_t n;

        store.number[store.n] = input_u16(in) | (uint64_t)input_u8(in) << 16;
        n = in->left < SECTOR ? in->left : SECTOR;
        memset(store.content[store.n], 0, SECTOR);
        memcpy(store.content[store.n++], in->at, n);
        in->at += n;
        in->left -= n;
    }
    if (flags & 4) {
        mend_gpt(&store, disk.unit, disk.unit);
        mend_gpt(&store, (disk.sectors / disk.unit - 1) * disk.unit, disk.unit);
    }
    r = partitions_read(&disk, &parts);
    FUZZ_CHECK(r != -EPROTO || parts.why[0] != '\0');
    FUZZ_CHECK(parts.n <= PARTITIONS_MAX);
    for (unsigned i = 0; r == 0 && i < parts.n; i++) {
        FUZZ_CHECK(parts.p[i].sectors > 0 && vio_range_ok(parts.p[i].first, parts.p[i].sectors, disk.sectors));
        try_fat(&disk, parts.p[i].first, parts.p[i].sectors);
    }
    try_fat(&disk, 0, disk.sectors);
}

/* ------------------------------------------------------------------ frames */

static const struct answer_host me = { .mac = { 2, 0, 0, 0, 0, 9 }, .ip = { 10, 1, 2, 77 },
                                       .ip6 = { 0xfe, 0x80, [8] = 0, [11] = 0xff, [12] = 0xfe, [15] = 9 } };

static uint32_t sum(const uint8_t *p, size_t n, uint32_t start)
{
    for (size_t i = 0; i < n; i++)
        start += i % 2 != 0 ? p[i] : (uint32_t)p[i] << 8;
    while (start >> 16 != 0)
        start = (start & 0xffff) + (start >> 16);
    return start;
}

static void mend(uint8_t *at, const uint8_t *p, size_t n, uint32_t start)
{
    uint32_t v;

    at[0] = at[1] = 0;
    v = ~sum(p, n, start);
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static void mend_frame(uint8_t *f, size_t len)
{
    size_t header = len > 14 ? (f[14] & 15u) * 4u : 0, n;

    if (len < 14 + 48)
        return;
    if (f[12] == 8 && f[13] == 0 && header >= 20 && len >= 14 + header + 8) {
        n = (size_t)f[16] << 8 | f[17];
        mend(f + 24, f + 14, header, 0);
        if (f[23] == 1 && n >= header + 8 && n <= len - 14)
            mend(f + 14 + header + 2, f + 14 + header, n - header, 0);
    } else if (f[12] == 0x86 && f[13] == 0xdd) {
        n = (size_t)f[18] << 8 | f[19];
        if (n >= 8 && n <= len - 54)
            mend(f + 56, f + 54, n, sum(f + 22, 32, (uint32_t)n + 58));
    }
}

static void check_reply(const uint8_t *in, const uint8_t *out, uint32_t len)
{
    uint8_t again[ANSWER_FRAME_MOST];
    uint32_t again_len, n;

    FUZZ_CHECK(len >= 60 && len <= ANSWER_FRAME_MOST);
    FUZZ_CHECK(memcmp(out, in + 6, 6) == 0 && memcmp(out + 6, me.mac, 6) == 0 && memcmp(out + 12, in + 12, 2) == 0);
    if (out[12] == 8 && out[13] == 0) {
        n = (uint32_t)out[16] << 8 | out[17];
        FUZZ_CHECK(n <= len - 14 && sum(out + 14, 20, 0) == 0xffff && sum(out + 34, n - 20, 0) == 0xffff);
    } else if (out[12] == 0x86) {
        n = (uint32_t)out[18] << 8 | out[19];
        FUZZ_CHECK(n <= len - 54 && sum(out + 54, n, sum(out + 22, 32, n + 58)) == 0xffff);
    }
    FUZZ_CHECK(answer(&me, out, len, again, &again_len) == ANSWER_NONE);
}

static void try_frame(struct input *in)
{
    uint8_t flags = input_u8(in), *frame = malloc(in->left + 1), *out = malloc(ANSWER_FRAME_MOST);
    uint32_t len = (uint32_t)in->left, out_len = 0;
    enum answer_kind kind;

    if (frame != NULL && out != NULL) {
        memcpy(frame, in->at, len);
        if (flags & 1)
            mend_frame(frame, len);
        kind = answer(&me, frame, len, out, &out_len);
        FUZZ_CHECK(kind < ANSWER_KINDS);
        if (kind != ANSWER_NONE && kind != ANSWER_STOP)
            check_reply(frame, out, out_len);
    }
    free(frame);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };

    if (size > 32768)
        return 0;
    switch (input_u8(&in) % 3) {
    case 0:
        try_tree(&in);
        break;
    case 1:
        try_disk(&in);
        break;
    default:
        try_frame(&in);
    }
    return 0;
}
