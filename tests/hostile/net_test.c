/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a hostile driver that breaks the rings of a network device, in both formats, with and without MRG_RXBUF, on the
 * express way and beside it: each ends in the right fault: DEVICE_NEEDS_RESET, one line, no more work; and after a
 * reset the device works.
 */
#include <stdio.h>
#include <string.h>

#include "net_victim.h"

/* ------------------------------------------------------------------ framings of either queue: d is READ for TX, WRITE for RX */

static unsigned dir(const struct victim *v)
{
    return v->queue == RX ? W : 0;
}

static void empty_piece(struct victim *v)
{
    victim_desc(v, v->page.gpa, HDR, dir(v) | N);
    victim_desc(v, v->page.gpa + HDR, 0, dir(v) | N);
    victim_desc(v, v->page.gpa + HDR, FRAME, dir(v));
    victim_offer(v, 0);
}

static void empty_only(struct victim *v)
{
    victim_single(v, v->page.gpa, 0, dir(v));
}

static void writable_first(struct victim *v)
{
    victim_desc(v, v->page.gpa + BUF, 2000, W | N);
    victim_desc(v, v->page.gpa, HDR + FRAME, 0);
    victim_offer(v, 0);
}

static void nowhere(struct victim *v)
{
    victim_single(v, 0, HDR + FRAME, dir(v));
}

static void past_the_end(struct victim *v)
{
    victim_single(v, v->rig.gpa + RIG_MEMORY - 16, HDR + FRAME, dir(v));
}

static void wraps(struct victim *v)
{
    victim_single(v, UINT64_MAX - 15, HDR + FRAME, dir(v));
}

static void four_gigabytes(struct victim *v)
{
    victim_single(v, v->page.gpa, UINT32_MAX, dir(v));
}

static void good_then_nowhere(struct victim *v)
{
    victim_single(v, v->page.gpa + (dir(v) ? BUF : 0), dir(v) ? 2000 : HDR + FRAME, dir(v));
    nowhere(v);
}

static void table_of_15(struct victim *v)
{
    victim_single(v, v->page.gpa + TABLE, 15, I);
}

static void table_in_table(struct victim *v)
{
    victim_table(v, v->page.gpa, HDR, 1, dir(v) | I);
}

static void table_too_long(struct victim *v)
{
    victim_table(v, v->page.gpa + BUF, 16, VIO_CHAIN_INDIRECT_MAX + 1, dir(v));
}

static void table_and_next(struct victim *v)
{
    victim_desc(v, v->page.gpa + TABLE, 16, I | N);
    victim_desc(v, v->page.gpa, FRAME, dir(v));
    victim_offer(v, 0);
}

static void whole_ring_and_on(struct victim *v)
{
    for (unsigned i = 0; i < SIZE; i++)
        victim_desc(v, v->page.gpa + i, 1, dir(v) | N);
    victim_offer(v, 0);
}

static void runs_away(struct victim *v)
{
    uint16_t idx = SIZE + 1;

    le_set16(v->rig.queue[v->queue].driver.host + 2, idx);
}

static void runs_away_behind_good_ones(struct victim *v)
{
    victim_single(v, v->page.gpa + (dir(v) ? BUF : 0), dir(v) ? 2000 : HDR + FRAME, dir(v));
    rig_serve(&v->rig, v->queue);
    (void)victim_deliver(v, FRAME);
    runs_away(v);
    v->rig.queue[v->queue].driver.host[2]++;
    v->rig.queue[v->queue].driver.host[2]++;
}

static void head_past(struct victim *v)
{
    victim_offer(v, SIZE);
}

static void head_far_past(struct victim *v)
{
    victim_offer(v, 0xffff);
}

static void next_past(struct victim *v)
{
    uint16_t next = SIZE;

    victim_desc(v, v->page.gpa, HDR, dir(v) | N);
    le_set16(v->rig.queue[v->queue].desc.host + 14, next);
    victim_offer(v, 0);
}

static void chain_twice(struct victim *v)
{
    victim_desc(v, v->page.gpa + (dir(v) ? BUF : 0), 20, dir(v) | N);
    victim_desc(v, v->page.gpa + (dir(v) ? BUF : 0) + 20, 20, dir(v));
    victim_offer(v, 0);
    victim_offer(v, 0);
}

static void list_unfinished(struct victim *v)
{
    victim_desc(v, v->page.gpa, HDR, dir(v) | N);
}

static void table_in_chain(struct victim *v)
{
    victim_desc(v, v->page.gpa, HDR, dir(v) | N);
    victim_desc(v, v->page.gpa + TABLE, 16, I);
}

enum { ANY, SPLIT, PACKED };
static const struct broken {
    const char *name;
    void (*act)(struct victim *v);
    enum vio_fault fault, packed_fault; /* 0: the same */
    int only;
} brokens[] = {
    { "an empty piece", empty_piece, VIO_FAULT_DESC_ZERO_LEN, 0, ANY },
    { "an empty buffer", empty_only, VIO_FAULT_DESC_ZERO_LEN, 0, ANY },
    { "readable behind writable", writable_first, VIO_FAULT_CHAIN_ORDER, 0, ANY },
    { "an address that is nowhere", nowhere, VIO_FAULT_DESC_ADDR, 0, ANY },
    { "past the end of memory", past_the_end, VIO_FAULT_DESC_ADDR, 0, ANY },
    { "past the end of all addresses", wraps, VIO_FAULT_DESC_ADDR, 0, ANY },
    { "4 GiB", four_gigabytes, VIO_FAULT_DESC_ADDR, 0, ANY },
    { "a good one, then one that is nowhere", good_then_nowhere, VIO_FAULT_DESC_ADDR, 0, ANY },
    { "a table of 15 bytes", table_of_15, VIO_FAULT_INDIRECT_LEN, 0, ANY },
    { "a table in a table", table_in_table, VIO_FAULT_INDIRECT_NESTED, 0, ANY },
    { "a table of 1025", table_too_long, VIO_FAULT_CHAIN_LOOP, 0, ANY },
    { "a table and more", table_and_next, VIO_FAULT_INDIRECT_NEXT, VIO_FAULT_PACKED_MIXED, ANY },
    { "longer than the queue", whole_ring_and_on, VIO_FAULT_CHAIN_LOOP, VIO_FAULT_PACKED_WRAP, ANY },
    { "an index that runs away", runs_away, VIO_FAULT_AVAIL_IDX, 0, SPLIT },
    { "an index that runs away later", runs_away_behind_good_ones, VIO_FAULT_AVAIL_IDX, 0, SPLIT },
    { "a head past the table", head_past, VIO_FAULT_AVAIL_HEAD, 0, SPLIT },
    { "a head far past the table", head_far_past, VIO_FAULT_AVAIL_HEAD, 0, SPLIT },
    { "a next past the table", next_past, VIO_FAULT_DESC_NEXT, 0, SPLIT },
    { "a chain twice in a burst", chain_twice, VIO_FAULT_HEAD_IN_FLIGHT, 0, SPLIT },
    { "a list without its end", list_unfinished, VIO_FAULT_PACKED_WRAP, 0, PACKED },
    { "a table in a chain", table_in_chain, VIO_FAULT_PACKED_MIXED, 0, PACKED },
};

static unsigned lines_with(const struct rig *rig, const char *words)
{
    unsigned n = 0;

    for (unsigned i = 0; i < rig->lines && i < RIG_LINES; i++)
        n += strstr(rig->line[i], words) != NULL;
    return n;
}

static void breaks(struct victim *v, const struct broken *b, uint16_t queue)
{
    enum vio_fault fault = v->packed && b->packed_fault ? b->packed_fault : b->fault;
    unsigned lines;

    victim_start(v, queue);
    b->act(v);
    if (queue == RX) {
        for (unsigned i = 0; i < 3; i++)
            (void)victim_deliver(v, 1000); /* so large that what is good in there is looked past where it is merged */
    } else {
        rig_serve(&v->rig, queue);
    }
    vio_device_control(v->rig.dev);
    if (v->rig.needs_reset != 1 || v->rig.fault != fault || v->rig.reset_queue != queue)
        FAIL("%u times NEEDS_RESET, fault %s, must be %s", v->rig.needs_reset, vio_fault_name(v->rig.fault),
             vio_fault_name(fault));
    CHECK((vio_device_status(v->rig.dev) & VIRTIO_STATUS_NEEDS_RESET) != 0);
    lines = lines_with(&v->rig, vio_fault_clause(fault));
    if (lines != 1)
        FAIL("%u lines cite %s", lines, vio_fault_clause(fault));
    lines = v->rig.lines;
    for (int i = 0; i < 300; i++) {
        victim_offer(v, 0);
        CHECK(vio_device_queue_service(v->rig.dev, queue, VIO_QUEUE_BATCH) == 0);
        CHECK(!vio_device_queue_arm(v->rig.dev, queue));
        (void)victim_deliver(v, FRAME);
        vio_device_control(v->rig.dev);
    }
    CHECK(v->rig.lines == lines && v->rig.needs_reset == 1);
}

int main(void)
{
    static struct victim v;

    for (unsigned variant = 0; variant < 8; variant++) {
        const char *name = variant & 1 ? "packed" : "split";
        unsigned count = 0;

        for (unsigned i = 0; i < sizeof(brokens) / sizeof(brokens[0]); i++) {
            if (brokens[i].only == SPLIT + !(variant & 1))
                continue;
            for (uint16_t queue = RX; queue <= TX; queue++) {
                if (queue == RX && !(variant & 2) && brokens[i].act == chain_twice)
                    continue; /* looked at one by one, and each used before the next */
                test_context("%s, variant %u, %s: %s", name, variant, queue == RX ? "receive" : "transmit", brokens[i].name);
                /* Each on a device of its own: what is said too often is not said. */
                victim_open(&v, variant);
                victim_works(&v);
                breaks(&v, &brokens[i], queue);
                victim_works(&v);
                victim_close(&v);
                count++;
            }
        }
        CHECK(count >= 30);
        printf("ok - %s, %s, frames %s: %u breaks\n", name,
               variant & 2 ? "merged buffers" : "whole buffers", variant & 4 ? "looked at" : "taken as they come", count);
    }
    return 0;
}
