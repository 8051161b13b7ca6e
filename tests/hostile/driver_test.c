/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a driver that breaks each clause of the split and the packed layout in turn. Each break ends in its own
 * enum vio_fault, with the buffers before it served and nothing after it; the queue can be stopped, and works
 * again after a restart. What looks odd and is allowed is accepted.
 */
#include <stdio.h>
#include <string.h>

#include "support/raw.h"

#define INDIRECT VIO_FEATURE(VIRTIO_F_INDIRECT_DESC)
#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define N VIRTQ_DESC_F_NEXT
#define W VIRTQ_DESC_F_WRITE
#define I VIRTQ_DESC_F_INDIRECT

enum { SIZE = 8 };

struct clause {
    const char *name;
    uint64_t bits;
    void (*act)(struct raw *r);
    unsigned taken; /* buffers before the fault */
    enum vio_fault fault;
};

static uint64_t end_of_memory(const struct raw *r)
{
    return r->g->payload + r->g->payload_size;
}

/* ------------------------------------------------------------------ split */

static void s_idx_ahead(struct raw *r)
{
    raw_avail_idx(r, SIZE + 1);
}

static void s_idx_back(struct raw *r)
{
    raw_avail_idx(r, 0xffff);
}

static void s_idx_jumps_later(struct raw *r)
{
    struct vio_req *req;

    raw_good(r, 0);
    CHECK(vio_devq_take(r->q, &req, 1) == 1);
    vio_devq_put(r->q, req);
    CHECK(vio_devq_publish(r->q));
    raw_avail_idx(r, (uint16_t)(r->at + SIZE + 1));
}

static void s_head_past(struct raw *r)
{
    raw_good(r, 0);
    raw_avail(r, SIZE);
}

static void s_head_far(struct raw *r)
{
    raw_avail(r, 0xffff);
}

static void s_next_past(struct raw *r)
{
    raw_desc(r, 1, raw_at(r, 0), 16, N, SIZE);
    raw_avail(r, 1);
}

static void s_next_far(struct raw *r)
{
    raw_desc(r, 1, raw_at(r, 0), 16, N, 0xffff);
    raw_avail(r, 1);
}

static void s_loop_self(struct raw *r)
{
    raw_desc(r, 3, raw_at(r, 0), 16, N, 3);
    raw_avail(r, 3);
}

static void s_loop_all(struct raw *r)
{
    for (uint32_t i = 0; i < SIZE; i++)
        raw_desc(r, i, raw_at(r, i * 16), 16, N, (i + 1) % SIZE);
    raw_avail(r, 5);
}

static void s_longest(struct raw *r)
{
    for (uint32_t i = 0; i < SIZE; i++)
        raw_desc(r, i, raw_at(r, i * 16), 16, i + 1 < SIZE ? N : 0, i + 1);
    raw_avail(r, 0);
}

static void s_in_flight(struct raw *r)
{
    raw_good(r, 2);
    raw_avail(r, 2);
}

static void s_in_flight_later(struct raw *r)
{
    struct vio_req *req;

    raw_good(r, 2);
    CHECK(vio_devq_take(r->q, &req, 1) == 1);
    raw_good(r, 4);
    raw_avail(r, 2);
}

static void s_direct_then_indirect(struct raw *r)
{
    raw_desc(r, 0, raw_at(r, 0), 8, N, 1);
    raw_desc(r, 1, raw_at(r, 8), 8, N, 2);
    raw_desc(r, 2, r->g->table, 32, I | W, 0); /* W beside I is ignored */
    raw_table(r, 0, raw_at(r, 64), 8, N, 1);
    raw_table(r, 1, raw_at(r, 128), 8, W, 0);
    raw_avail(r, 0);
}

static void s_table_next(struct raw *r)
{
    raw_desc(r, 0, r->g->table, 32, I, 0);
    raw_table(r, 0, raw_at(r, 64), 8, N, 2);
    raw_avail(r, 0);
}

static void s_table_loop(struct raw *r)
{
    raw_desc(r, 0, r->g->table, 48, I, 0);
    raw_table(r, 0, raw_at(r, 64), 8, N, 1);
    raw_table(r, 1, raw_at(r, 64), 8, N, 0);
    raw_avail(r, 0);
}

static void s_table_backwards(struct raw *r)
{
    raw_desc(r, 0, r->g->table, 48, I, 0);
    raw_table(r, 0, raw_at(r, 64), 8, N, 2);
    raw_table(r, 2, raw_at(r, 96), 8, N, 1);
    raw_table(r, 1, raw_at(r, 128), 8, W, 0);
    raw_avail(r, 0);
}

static void s_indirect_next(struct raw *r)
{
    raw_desc(r, 0, r->g->table, 16, I | N, 1);
    raw_table(r, 0, raw_at(r, 64), 8, 0, 0);
    raw_desc(r, 1, raw_at(r, 0), 8, 0, 0);
    raw_avail(r, 0);
}

/* ------------------------------------------------------------------ one descriptor, in whichever format */

static void one(struct raw *r, uint64_t addr, uint32_t len, uint32_t flags)
{
    if (r->packed) {
        raw_packed(r, addr, len, 1, flags);
    } else {
        raw_desc(r, 1, addr, len, flags, 0);
        raw_avail(r, 1);
    }
}

/* Two linked ones; packed: the head is written last. */
static void two(struct raw *r, uint64_t a, uint32_t a_len, uint32_t a_flags, uint64_t b, uint32_t b_len, uint32_t b_flags)
{
    if (r->packed) {
        uint16_t first = r->at;

        r->at++;
        raw_packed(r, b, b_len, 1, b_flags);
        raw_packed_at(r, first, a, a_len, 1, a_flags | N | raw_avail_flags(true));
    } else {
        raw_desc(r, 1, a, a_len, a_flags | N, 2);
        raw_desc(r, 2, b, b_len, b_flags, 0);
        raw_avail(r, 1);
    }
}

static void zero_len(struct raw *r)
{
    raw_good(r, 4);
    one(r, raw_at(r, 0), 0, W);
}

static void zero_len_second(struct raw *r)
{
    two(r, raw_at(r, 0), 8, 0, raw_at(r, 0), 0, W);
}

static void addr_outside(struct raw *r)
{
    one(r, end_of_memory(r), 1, 0);
}

static void addr_null(struct raw *r)
{
    one(r, 0, 16, 0);
}

static void addr_wraps(struct raw *r)
{
    one(r, UINT64_MAX - 7, 16, W);
}

static void addr_wraps_whole(struct raw *r)
{
    one(r, 16, UINT32_MAX, 0);
}

static void addr_straddles(struct raw *r)
{
    one(r, end_of_memory(r) - 8, 9, W);
}

static void addr_last_byte(struct raw *r)
{
    one(r, end_of_memory(r) - 8, 8, W);
}

static void addr_gap(struct raw *r)
{
    one(r, r->g->driver + vio_queue_layout(SIZE, r->packed).driver_bytes - 1, 4, 0);
}

static void read_after_write(struct raw *r)
{
    two(r, raw_at(r, 0), 8, W, raw_at(r, 64), 8, 0);
}

static void read_after_write_in_table(struct raw *r)
{
    raw_table(r, 0, raw_at(r, 0), 8, W | (r->packed ? 0 : N), 1);
    raw_table(r, 1, raw_at(r, 64), 8, 0, 0);
    one(r, r->g->table, 32, I);
}

static void unnegotiated(struct raw *r)
{
    raw_table(r, 0, raw_at(r, 0), 8, W, 0);
    one(r, r->g->table, 16, I);
}

static void nested(struct raw *r)
{
    raw_table(r, 0, r->g->table, 16, I, 0);
    one(r, r->g->table, 16, I);
}

static void table_empty(struct raw *r)
{
    one(r, r->g->table, 0, I);
}

static void table_odd(struct raw *r)
{
    raw_table(r, 0, raw_at(r, 0), 8, W, 0);
    one(r, r->g->table, 17, I);
}

static void table_huge(struct raw *r)
{
    one(r, r->g->table, (VIO_CHAIN_INDIRECT_MAX + 1) * 16, I);
}

static void table_hugest(struct raw *r)
{
    one(r, r->g->table, 0xfffffff0u, I);
}

static void table_longest(struct raw *r)
{
    for (uint32_t i = 0; i < VIO_CHAIN_INDIRECT_MAX; i++)
        raw_table(r, i, raw_at(r, i * 4), 4, i + 1 < VIO_CHAIN_INDIRECT_MAX && !r->packed ? N : 0, i + 1);
    one(r, r->g->table, VIO_CHAIN_INDIRECT_MAX * 16, I);
}

static void table_outside(struct raw *r)
{
    one(r, end_of_memory(r) - 16, 32, I);
}

static void table_wraps(struct raw *r)
{
    one(r, UINT64_MAX - 15, 32, I);
}

static void table_zero_len(struct raw *r)
{
    raw_table(r, 0, raw_at(r, 0), 0, W, 0);
    one(r, r->g->table, 16, I);
}

static void table_addr(struct raw *r)
{
    raw_table(r, 0, end_of_memory(r), 4, W, 0);
    one(r, r->g->table, 16, I);
}

/* ------------------------------------------------------------------ packed */

static void p_wrong_wrap_head(struct raw *r)
{
    raw_packed_at(r, 0, raw_at(r, 0), 16, 0, W | raw_avail_flags(false));
}

static void p_both_flags(struct raw *r)
{
    raw_packed_at(r, 0, raw_at(r, 0), 16, 0, W | VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
}

static void p_wrong_wrap_second(struct raw *r)
{
    raw_packed_at(r, 1, raw_at(r, 0), 16, 0, W | raw_avail_flags(false));
    raw_packed_at(r, 0, raw_at(r, 0), 16, 0, N | raw_avail_flags(true));
}

static void p_second_missing(struct raw *r)
{
    raw_good(r, 0);
    raw_packed_at(r, 2, raw_at(r, 0), 16, 0, N | raw_avail_flags(true));
}

static void p_wrap_not_toggled(struct raw *r)
{
    struct vio_req *req[SIZE];

    for (int i = 0; i < SIZE - 1; i++)
        raw_packed(r, raw_at(r, 0), 8, (uint32_t)i, W);
    CHECK(vio_devq_take(r->q, req, SIZE) == SIZE - 1);
    for (int i = 0; i < SIZE - 1; i++)
        vio_devq_put(r->q, req[i]);
    CHECK(vio_devq_publish(r->q));
    /* The last entry links to entry 0, which must carry the next lap's counter. */
    raw_packed_at(r, 0, raw_at(r, 0), 8, 7, W | raw_avail_flags(true));
    raw_packed_at(r, SIZE - 1, raw_at(r, 0), 8, 7, N | raw_avail_flags(true));
}

static void p_indirect_next(struct raw *r)
{
    raw_table(r, 0, raw_at(r, 0), 8, W, 0);
    two(r, r->g->table, 16, I, raw_at(r, 0), 8, W);
}

static void p_indirect_second(struct raw *r)
{
    raw_table(r, 0, raw_at(r, 0), 8, W, 0);
    two(r, raw_at(r, 0), 8, 0, r->g->table, 16, I);
}

/* Every entry linked to the next, one lap and one more: the head again, still in its first lap's flags. */
static void p_endless(struct raw *r)
{
    for (uint32_t i = 0; i < SIZE; i++)
        raw_packed_at(r, i, raw_at(r, 0), 8, 0, N | raw_avail_flags(true));
}

static void p_overrun(struct raw *r)
{
    struct vio_req *req[SIZE];

    for (int i = 0; i < SIZE; i++)
        raw_packed(r, raw_at(r, 0), 8, (uint32_t)i, W);
    CHECK(vio_devq_take(r->q, req, SIZE) == SIZE);
    raw_packed(r, raw_at(r, 0), 8, 0, W); /* the next lap, though nothing was used */
}

static void p_overrun_chain(struct raw *r)
{
    struct vio_req *req[SIZE];

    for (int i = 0; i < SIZE - 1; i++)
        raw_packed(r, raw_at(r, 0), 8, (uint32_t)i, W);
    CHECK(vio_devq_take(r->q, req, SIZE) == SIZE - 1);
    raw_packed_at(r, 0, raw_at(r, 0), 8, 7, W | raw_avail_flags(false));
    raw_packed_at(r, SIZE - 1, raw_at(r, 0), 8, 7, N | raw_avail_flags(true));
}

static void p_longest(struct raw *r)
{
    for (uint32_t i = SIZE; i > 0; i--)
        raw_packed_at(r, i - 1, raw_at(r, i * 8), 8, 3, (i < SIZE ? N : 0) | raw_avail_flags(true));
}

/* Ids mean nothing to the device: two alike, and any number. */
static void p_any_id(struct raw *r)
{
    raw_packed(r, raw_at(r, 0), 8, 0xffff, W);
    raw_packed(r, raw_at(r, 0), 8, 0xffff, W);
}

/* In a table only WRITE counts, and entries follow one another whatever NEXT says (2.8.7). */
static void p_table_next_ignored(struct raw *r)
{
    raw_table(r, 0, raw_at(r, 0), 8, N, 500);
    raw_table(r, 1, raw_at(r, 8), 8, W | N | 0xff00 | 0x80, 3);
    one(r, r->g->table, 32, I);
}

/* ------------------------------------------------------------------ the table */

static const struct clause clauses[] = {
    { "split: index a ring and one ahead", 0, s_idx_ahead, 0, VIO_FAULT_AVAIL_IDX },
    { "split: index goes back", 0, s_idx_back, 0, VIO_FAULT_AVAIL_IDX },
    { "split: index jumps while it runs", 0, s_idx_jumps_later, 0, VIO_FAULT_AVAIL_IDX },
    { "split: head just past the table", 0, s_head_past, 1, VIO_FAULT_AVAIL_HEAD },
    { "split: head 65535", 0, s_head_far, 0, VIO_FAULT_AVAIL_HEAD },
    { "split: next just past the table", 0, s_next_past, 0, VIO_FAULT_DESC_NEXT },
    { "split: next 65535", 0, s_next_far, 0, VIO_FAULT_DESC_NEXT },
    { "split: a descriptor linked to itself", 0, s_loop_self, 0, VIO_FAULT_CHAIN_LOOP },
    { "split: a loop through all", 0, s_loop_all, 0, VIO_FAULT_CHAIN_LOOP },
    { "split: the longest chain there is", 0, s_longest, 1, VIO_FAULT_NONE },
    { "split: one head twice", 0, s_in_flight, 1, VIO_FAULT_HEAD_IN_FLIGHT },
    { "split: a head again that is in flight", 0, s_in_flight_later, 1, VIO_FAULT_HEAD_IN_FLIGHT },
    { "split: direct descriptors, then an indirect one", INDIRECT, s_direct_then_indirect, 1, VIO_FAULT_NONE },
    { "split: a table whose next is past it", INDIRECT, s_table_next, 0, VIO_FAULT_DESC_NEXT },
    { "split: a loop in a table", INDIRECT, s_table_loop, 0, VIO_FAULT_CHAIN_LOOP },
    { "split: a table linked out of order", INDIRECT, s_table_backwards, 1, VIO_FAULT_NONE },
    { "split: INDIRECT and NEXT", INDIRECT, s_indirect_next, 0, VIO_FAULT_INDIRECT_NEXT },

    { "split: no bytes", 0, zero_len, 1, VIO_FAULT_DESC_ZERO_LEN },
    { "split: no bytes in the second", 0, zero_len_second, 0, VIO_FAULT_DESC_ZERO_LEN },
    { "split: address behind memory", 0, addr_outside, 0, VIO_FAULT_DESC_ADDR },
    { "split: address 0", 0, addr_null, 0, VIO_FAULT_DESC_ADDR },
    { "split: address wraps", 0, addr_wraps, 0, VIO_FAULT_DESC_ADDR },
    { "split: all of 4 GiB", 0, addr_wraps_whole, 0, VIO_FAULT_DESC_ADDR },
    { "split: straddles the end", 0, addr_straddles, 0, VIO_FAULT_DESC_ADDR },
    { "split: up to the last byte", 0, addr_last_byte, 1, VIO_FAULT_NONE },
    { "split: into a gap", 0, addr_gap, 0, VIO_FAULT_DESC_ADDR },
    { "split: readable after writable", 0, read_after_write, 0, VIO_FAULT_CHAIN_ORDER },
    { "split: readable after writable in a table", INDIRECT, read_after_write_in_table, 0, VIO_FAULT_CHAIN_ORDER },
    { "split: indirect, not negotiated", 0, unnegotiated, 0, VIO_FAULT_INDIRECT_UNNEGOTIATED },
    { "split: indirect in indirect", INDIRECT, nested, 0, VIO_FAULT_INDIRECT_NESTED },
    { "split: a table of no bytes", INDIRECT, table_empty, 0, VIO_FAULT_INDIRECT_LEN },
    { "split: a table of 17 bytes", INDIRECT, table_odd, 0, VIO_FAULT_INDIRECT_LEN },
    { "split: a table too long", INDIRECT, table_huge, 0, VIO_FAULT_CHAIN_LOOP },
    { "split: a table of 4 GiB", INDIRECT, table_hugest, 0, VIO_FAULT_CHAIN_LOOP },
    { "split: the longest table there is", INDIRECT, table_longest, 1, VIO_FAULT_NONE },
    { "split: a table behind memory", INDIRECT, table_outside, 0, VIO_FAULT_DESC_ADDR },
    { "split: a table that wraps", INDIRECT, table_wraps, 0, VIO_FAULT_DESC_ADDR },
    { "split: no bytes in a table", INDIRECT, table_zero_len, 0, VIO_FAULT_DESC_ZERO_LEN },
    { "split: bad address in a table", INDIRECT, table_addr, 0, VIO_FAULT_DESC_ADDR },

    { "packed: head with the other wrap counter", PACKED, p_wrong_wrap_head, 0, VIO_FAULT_NONE },
    { "packed: head with both flags", PACKED, p_both_flags, 0, VIO_FAULT_NONE },
    { "packed: second with the other wrap counter", PACKED, p_wrong_wrap_second, 0, VIO_FAULT_PACKED_WRAP },
    { "packed: second not made available", PACKED, p_second_missing, 1, VIO_FAULT_PACKED_WRAP },
    { "packed: counter not toggled at the end", PACKED, p_wrap_not_toggled, 0, VIO_FAULT_PACKED_WRAP },
    { "packed: INDIRECT and NEXT", PACKED | INDIRECT, p_indirect_next, 0, VIO_FAULT_PACKED_MIXED },
    { "packed: indirect in a list", PACKED | INDIRECT, p_indirect_second, 0, VIO_FAULT_PACKED_MIXED },
    { "packed: a list without end", PACKED, p_endless, 0, VIO_FAULT_PACKED_WRAP },
    { "packed: the next lap before anything was used", PACKED, p_overrun, 0, VIO_FAULT_PACKED_OVERRUN },
    { "packed: a list into what is in flight", PACKED, p_overrun_chain, 0, VIO_FAULT_PACKED_OVERRUN },
    { "packed: the longest list there is", PACKED, p_longest, 1, VIO_FAULT_NONE },
    { "packed: any id, also twice", PACKED, p_any_id, 2, VIO_FAULT_NONE },
    { "packed: a table's flags beside WRITE", PACKED | INDIRECT, p_table_next_ignored, 1, VIO_FAULT_NONE },

    { "packed: no bytes", PACKED, zero_len, 1, VIO_FAULT_DESC_ZERO_LEN },
    { "packed: no bytes in the second", PACKED, zero_len_second, 0, VIO_FAULT_DESC_ZERO_LEN },
    { "packed: address behind memory", PACKED, addr_outside, 0, VIO_FAULT_DESC_ADDR },
    { "packed: address 0", PACKED, addr_null, 0, VIO_FAULT_DESC_ADDR },
    { "packed: address wraps", PACKED, addr_wraps, 0, VIO_FAULT_DESC_ADDR },
    { "packed: all of 4 GiB", PACKED, addr_wraps_whole, 0, VIO_FAULT_DESC_ADDR },
    { "packed: straddles the end", PACKED, addr_straddles, 0, VIO_FAULT_DESC_ADDR },
    { "packed: up to the last byte", PACKED, addr_last_byte, 1, VIO_FAULT_NONE },
    { "packed: into a gap", PACKED, addr_gap, 0, VIO_FAULT_DESC_ADDR },
    { "packed: readable after writable", PACKED, read_after_write, 0, VIO_FAULT_CHAIN_ORDER },
    { "packed: readable after writable in a table", PACKED | INDIRECT, read_after_write_in_table, 0,
      VIO_FAULT_CHAIN_ORDER },
    { "packed: indirect, not negotiated", PACKED, unnegotiated, 0, VIO_FAULT_INDIRECT_UNNEGOTIATED },
    { "packed: indirect in indirect", PACKED | INDIRECT, nested, 0, VIO_FAULT_INDIRECT_NESTED },
    { "packed: a table of no bytes", PACKED | INDIRECT, table_empty, 0, VIO_FAULT_INDIRECT_LEN },
    { "packed: a table of 17 bytes", PACKED | INDIRECT, table_odd, 0, VIO_FAULT_INDIRECT_LEN },
    { "packed: a table too long", PACKED | INDIRECT, table_huge, 0, VIO_FAULT_CHAIN_LOOP },
    { "packed: a table of 4 GiB", PACKED | INDIRECT, table_hugest, 0, VIO_FAULT_CHAIN_LOOP },
    { "packed: the longest table there is", PACKED | INDIRECT, table_longest, 1, VIO_FAULT_NONE },
    { "packed: a table behind memory", PACKED | INDIRECT, table_outside, 0, VIO_FAULT_DESC_ADDR },
    { "packed: a table that wraps", PACKED | INDIRECT, table_wraps, 0, VIO_FAULT_DESC_ADDR },
    { "packed: no bytes in a table", PACKED | INDIRECT, table_zero_len, 0, VIO_FAULT_DESC_ZERO_LEN },
    { "packed: bad address in a table", PACKED | INDIRECT, table_addr, 0, VIO_FAULT_DESC_ADDR },
};

/* A ring that works: taken, served, seen used. */
static void works(struct raw *r)
{
    struct vio_req *req;

    raw_good(r, 0);
    CHECK(vio_devq_pending(r->q));
    CHECK(vio_devq_take(r->q, &req, 1) == 1 && req->in.left == 16 && req->out.left == 16);
    CHECK(vio_writer_zero(&req->out, 16));
    vio_devq_put(r->q, req);
    CHECK(vio_devq_publish(r->q));
}

static void broken(struct raw *r, enum vio_fault fault)
{
    struct vio_req *req;

    CHECK(!vio_devq_pending(r->q));
    CHECK(vio_devq_take(r->q, &req, 1) == 0);
    CHECK(!vio_devq_arm_kick(r->q));
    /* The first fault stays. */
    vio_devq_break(r->q, fault == VIO_FAULT_DESC_ADDR ? VIO_FAULT_DESC_NEXT : VIO_FAULT_DESC_ADDR, 1);
    CHECK(vio_devq_fault(r->q) == fault);
}

static void run(const struct clause *c, bool record)
{
    struct raw r;

    test_context("%s%s", c->name, record ? " (with a record)" : "");
    raw_open(&r, SIZE, c->bits, record);
    raw_start(&r);
    /* Notified for nothing: that is allowed (2.7.10, 2.8.14). */
    raw_expect(&r, 0, VIO_FAULT_NONE);
    CHECK(!vio_devq_arm_kick(r.q));
    c->act(&r);
    raw_expect(&r, c->taken, c->fault);
    if (c->fault != VIO_FAULT_NONE)
        broken(&r, c->fault);
    (void)raw_stop(&r);
    raw_start(&r);
    works(&r);
    (void)raw_stop(&r);
    raw_close(&r);
}

/* The same MiB again and again: 2^32 bytes are allowed, one descriptor more is not. */
static void too_long(bool packed)
{
    uint16_t size = 8192;
    struct raw r;

    test_context("%s: more than 2^32 bytes", packed ? "packed" : "split");
    raw_open(&r, size, (packed ? PACKED : 0) | INDIRECT, false);
    for (uint32_t n = 4096; n <= 4097; n++) {
        raw_start(&r);
        for (uint32_t i = n; i > 0; i--) {
            uint32_t flags = W | (i < n ? N : 0);

            if (packed)
                raw_packed_at(&r, i - 1, raw_at(&r, 0), RAW_PAYLOAD, 0, flags | raw_avail_flags(true));
            else
                raw_desc(&r, i - 1, raw_at(&r, 0), RAW_PAYLOAD, flags, i);
        }
        if (!packed)
            raw_avail(&r, 0);
        raw_expect(&r, n == 4096, n == 4096 ? VIO_FAULT_NONE : VIO_FAULT_CHAIN_BYTES);
        (void)raw_stop(&r);
    }
    /* The same by a table, up to what is allowed. */
    raw_start(&r);
    for (uint32_t i = 0; i < 4096; i++)
        raw_table(&r, i, raw_at(&r, 0), RAW_PAYLOAD, W | (i + 1 < 4096 && !packed ? N : 0), i + 1);
    one(&r, r.g->table, 4096 * 16, I);
    raw_expect(&r, 1, VIO_FAULT_NONE);
    raw_close(&r);
}

int main(void)
{
    for (unsigned i = 0; i < sizeof(clauses) / sizeof(clauses[0]); i++) {
        run(&clauses[i], false);
        run(&clauses[i], true);
        printf("ok - %s: %s\n", clauses[i].name,
               clauses[i].fault == VIO_FAULT_NONE ? "accepted" : vio_fault_name(clauses[i].fault));
    }
    too_long(false);
    too_long(true);
    puts("ok - more than 2^32 bytes: chain-bytes");
    return 0;
}
