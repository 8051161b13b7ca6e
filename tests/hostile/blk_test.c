/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a hostile driver against a whole block device: each break sets DEVICE_NEEDS_RESET with its own fault, says one
 * line that cites the clause, serves nothing after it, leaves the other device in the process alone, and is over after
 * a reset. Odd framing that is allowed is served.
 */
#include <stdio.h>
#include <string.h>

#include <vio/block.h>

#include "rig.h"
#include "spec/blk.h"
#include "spec/ring.h"
#include "spec/virtio.h"
#include "support/guest.h"
#include "support/le.h"

enum { SIZE = 32, DISK = 1 << 20 };

#define N VIRTQ_DESC_F_NEXT
#define W VIRTQ_DESC_F_WRITE
#define I VIRTQ_DESC_F_INDIRECT

struct victim {
    struct rig rig;
    bool packed;
    struct rig_at page; /* header at 0, status at 100, data from 512 */
    uint16_t at;        /* next descriptor, as no drvq knows */
    uint16_t avail;
};

static struct vio_features wanted(struct victim *v)
{
    struct vio_features f = vio_device_offered(v->rig.dev);

    if (!v->packed)
        vio_features_clear(&f, VIRTIO_F_RING_PACKED);
    vio_features_clear(&f, VIRTIO_F_IN_ORDER);
    return f;
}

static void victim_open(struct victim *v, bool packed)
{
    struct vio_device_params dp = { .name = "disk" };
    struct vio_blk_params p = { .queues = 1, .device = &dp };
    struct vio_device *dev;
    char why[200] = "";

    memset(v, 0, sizeof(*v));
    rig_init(&v->rig);
    dp.log = &v->rig.log;
    v->packed = packed;
    if (vio_block_ram_open(DISK, false, &p.backend, why, sizeof(why)) != 0 ||
        vio_blk_create(&p, &dev, why, sizeof(why)) != 0)
        FAIL("no disk: %s", why);
    rig_device(&v->rig, dev);
    v->page = rig_alloc(&v->rig, 4096);
}

static void victim_start(struct victim *v)
{
    rig_restart(&v->rig, wanted(v), SIZE);
    v->at = v->avail = 0;
    v->rig.lines = 0;
    v->rig.needs_reset = 0;
}

/* The next descriptor; packed: the head's flags are held back until make(). */
static void desc(struct victim *v, uint64_t addr, uint32_t len, unsigned flags)
{
    uint8_t *d = v->rig.queue[0].desc.host + 16 * v->at;
    uint64_t word;

    if (v->packed)
        word = len | (uint64_t)1 << 32 | (uint64_t)(flags | VIRTQ_DESC_F_AVAIL) << 48;
    else
        word = len | (uint64_t)flags << 32 | (uint64_t)(v->at + 1u) << 48;
    le_set64(d, addr);
    le_set64(d + 8, word);
    v->at++;
}

static void offer(struct victim *v, uint16_t head)
{
    uint8_t *ring = v->rig.queue[0].driver.host;

    if (v->packed)
        return;
    le_set16(ring + 4 + 2 * (v->avail % SIZE), head);
    v->avail++;
    le_set16(ring + 2, v->avail);
}

static void header(struct victim *v, uint32_t type, uint64_t sector)
{
    memset(v->page.host, 0, 4096);
    le_set32(v->page.host, type);
    le_set64(v->page.host + 8, sector);
    v->page.host[100] = 0xaa;
}

/* A read of one sector that must be answered. */
static void works(struct victim *v)
{
    uint16_t first = v->at;

    header(v, VIRTIO_BLK_T_IN, 0);
    desc(v, v->page.gpa, 16, N);
    desc(v, v->page.gpa + 512, 512, W | N);
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, first);
    rig_serve(&v->rig, 0);
    if (v->page.host[100] != VIRTIO_BLK_S_OK)
        FAIL("a good request ends with status %02x", v->page.host[100]);
}

/* ------------------------------------------------------------------ what is done to it */

static void no_readable(struct victim *v)
{
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, 0);
}

static void short_header(struct victim *v)
{
    desc(v, v->page.gpa, 15, N);
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, 0);
}

static void short_header_in_bytes(struct victim *v)
{
    for (unsigned i = 0; i < 15; i++)
        desc(v, v->page.gpa + i, 1, N);
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, 0);
}

static void no_status(struct victim *v)
{
    desc(v, v->page.gpa, 16, 0);
    offer(v, 0);
}

static void no_status_behind_data(struct victim *v)
{
    header(v, VIRTIO_BLK_T_OUT, 0);
    desc(v, v->page.gpa, 16, N);
    desc(v, v->page.gpa + 512, 512, 0);
    offer(v, 0);
}

static void address_outside(struct victim *v)
{
    desc(v, v->page.gpa, 16, N);
    desc(v, v->rig.gpa + RIG_MEMORY - 256, 512, W | N);
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, 0);
}

static void header_nowhere(struct victim *v)
{
    desc(v, 0, 16, N);
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, 0);
}

static void empty_piece(struct victim *v)
{
    desc(v, v->page.gpa, 16, N);
    desc(v, v->page.gpa + 512, 0, W | N);
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, 0);
}

static void writable_first(struct victim *v)
{
    desc(v, v->page.gpa + 100, 1, W | N);
    desc(v, v->page.gpa, 16, 0);
    offer(v, 0);
}

static void table_in_table(struct victim *v)
{
    uint64_t word = 16 | (uint64_t)I << (v->packed ? 48 : 32), addr = v->page.gpa + 2048;

    le_set64(v->page.host + 2048, addr);
    le_set64(v->page.host + 2056, word);
    desc(v, v->page.gpa + 2048, 16, I);
    offer(v, 0);
}

static void table_of_15(struct victim *v)
{
    desc(v, v->page.gpa + 2048, 15, I);
    offer(v, 0);
}

static void loop(struct victim *v)
{
    desc(v, v->page.gpa, 16, N);
    memset(v->rig.queue[0].desc.host + 14, 0, 2);
    offer(v, 0);
}

static void index_runs_away(struct victim *v)
{
    uint16_t idx = SIZE + 1;

    le_set16(v->rig.queue[0].driver.host + 2, idx);
}

static void head_past(struct victim *v)
{
    offer(v, SIZE);
}

static void list_unfinished(struct victim *v)
{
    desc(v, v->page.gpa, 16, N);
}

struct clause {
    const char *name;
    void (*act)(struct victim *v);
    enum vio_fault fault;
    int only; /* 0: both formats, 1: split, 2: packed */
};

static const struct clause clauses[] = {
    { "no readable byte", no_readable, VIO_FAULT_REQ_SHORT, 0 },
    { "15 bytes of header", short_header, VIO_FAULT_REQ_SHORT, 0 },
    { "15 bytes of header, one by one", short_header_in_bytes, VIO_FAULT_REQ_SHORT, 0 },
    { "no status byte", no_status, VIO_FAULT_REQ_NO_STATUS, 0 },
    { "no status byte behind data", no_status_behind_data, VIO_FAULT_REQ_NO_STATUS, 0 },
    { "data that straddles the end of memory", address_outside, VIO_FAULT_DESC_ADDR, 0 },
    { "a header that is nowhere", header_nowhere, VIO_FAULT_DESC_ADDR, 0 },
    { "an empty piece", empty_piece, VIO_FAULT_DESC_ZERO_LEN, 0 },
    { "status before header", writable_first, VIO_FAULT_CHAIN_ORDER, 0 },
    { "a table in a table", table_in_table, VIO_FAULT_INDIRECT_NESTED, 0 },
    { "a table of 15 bytes", table_of_15, VIO_FAULT_INDIRECT_LEN, 0 },
    { "a loop", loop, VIO_FAULT_CHAIN_LOOP, 1 },
    { "an index that runs away", index_runs_away, VIO_FAULT_AVAIL_IDX, 1 },
    { "a head past the table", head_past, VIO_FAULT_AVAIL_HEAD, 1 },
    { "a list without its end", list_unfinished, VIO_FAULT_PACKED_WRAP, 2 },
};

static unsigned lines_with(const struct rig *rig, const char *words)
{
    unsigned n = 0;

    for (unsigned i = 0; i < rig->lines && i < RIG_LINES; i++)
        n += strstr(rig->line[i], words) != NULL;
    return n;
}

static void run(struct victim *v, struct victim *other, const struct clause *c)
{
    unsigned lines;

    test_context("%s: %s", v->packed ? "packed" : "split", c->name);
    victim_start(v);
    works(v);
    victim_start(v);
    c->act(v);
    rig_serve(&v->rig, 0);
    vio_device_control(v->rig.dev);
    if (v->rig.needs_reset != 1 || v->rig.fault != c->fault)
        FAIL("%u times NEEDS_RESET, fault %s, must be %s", v->rig.needs_reset, vio_fault_name(v->rig.fault),
             vio_fault_name(c->fault));
    CHECK((vio_device_status(v->rig.dev) & VIRTIO_STATUS_NEEDS_RESET) != 0);
    lines = lines_with(&v->rig, vio_fault_clause(c->fault));
    if (lines != 1)
        FAIL("%u lines cite %s", lines, vio_fault_clause(c->fault));
    /* It may go on as it likes: no more work, no more lines. */
    lines = v->rig.lines;
    for (int i = 0; i < 1000; i++) {
        if (!v->packed)
            offer(v, 0);
        CHECK(vio_device_queue_service(v->rig.dev, 0, VIO_QUEUE_BATCH) == 0);
        CHECK(!vio_device_queue_arm(v->rig.dev, 0));
        vio_device_control(v->rig.dev);
    }
    CHECK(v->rig.lines == lines && v->rig.needs_reset == 1);
    /* The neighbour does not notice. */
    lines = other->rig.lines;
    victim_start(other);
    works(other);
    CHECK(other->rig.needs_reset == 0);
    victim_start(v);
    works(v);
}

/* Sixteen descriptors of a byte each, and data byte by byte, is framing as good as any (2.7.4). */
static void byte_by_byte(struct victim *v)
{
    test_context("%s: a request byte by byte", v->packed ? "packed" : "split");
    victim_start(v);
    header(v, VIRTIO_BLK_T_GET_ID, 0);
    for (unsigned i = 0; i < 8; i++)
        desc(v, v->page.gpa + 2 * i, 2, N);
    for (unsigned i = 0; i < 20; i++)
        desc(v, v->page.gpa + 600 + i, 1, W | N);
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, 0);
    rig_serve(&v->rig, 0);
    CHECK(v->page.host[100] == VIRTIO_BLK_S_OK);
    victim_start(v);
    header(v, VIRTIO_BLK_T_FLUSH, 0);
    for (unsigned i = 0; i < 16; i++)
        desc(v, v->page.gpa + i, 1, N);
    desc(v, v->page.gpa + 100, 1, W);
    offer(v, 0);
    rig_serve(&v->rig, 0);
    CHECK(v->page.host[100] == VIRTIO_BLK_S_OK && v->rig.needs_reset == 0);
}

int main(void)
{
    static struct victim v, other;

    for (int packed = 0; packed < 2; packed++) {
        unsigned count = 0;

        test_context("start");
        victim_open(&other, packed == 0);
        for (unsigned i = 0; i < sizeof(clauses) / sizeof(clauses[0]); i++) {
            if (clauses[i].only == 0 || clauses[i].only == 1 + packed) {
                /* Each on a device of its own: what is said too often is not said. */
                victim_open(&v, packed != 0);
                run(&v, &other, &clauses[i]);
                rig_free(&v.rig);
                printf("ok - %s: %s: %s\n", packed ? "packed" : "split", clauses[i].name, vio_fault_name(clauses[i].fault));
                count++;
            }
        }
        CHECK(count >= 12);
        victim_open(&v, packed != 0);
        byte_by_byte(&v);
        rig_free(&v.rig);
        rig_free(&other.rig);
    }
    puts("ok - requests byte by byte are served");
    return 0;
}
