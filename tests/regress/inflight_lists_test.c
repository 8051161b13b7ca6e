/* SPDX-License-Identifier: MIT */
/*
 * Packed, in-flight record: a record whose free list was shorter than the ring was believed; taking more buffers than
 * the list had then wrote behind the record and read behind the queue's own copy of it.
 */
#include <stdio.h>
#include <string.h>

#include "support/raw.h"

enum { FREE = 12, OLD_FREE = 14, ENTRY = 32, NEXT = 2, NUM = 6 };

static void store16(struct raw *r, size_t at, uint16_t v)
{
    memcpy((uint8_t *)r->record + at, &v, sizeof(v));
}

int main(void)
{
    struct vio_queue_state stale;
    struct vio_req *req[8];
    struct raw r;

    test_context("inflight_lists");
    vio_queue_state_unpack(&stale, true, 0x80008000u);
    raw_open(&r, 4, VIO_FEATURE(VIRTIO_F_RING_PACKED), true);

    raw_start(&r);
    raw_crash(&r);
    store16(&r, FREE, 4); /* an empty free list, and nothing in flight */
    store16(&r, OLD_FREE, 4);
    CHECK(raw_resume(&r, &stale) == VIO_FAULT_INFLIGHT);

    raw_start(&r);
    raw_crash(&r);
    store16(&r, 32 + 1 * ENTRY + NEXT, 4); /* it ends early */
    CHECK(raw_resume(&r, &stale) == VIO_FAULT_INFLIGHT);

    /* The front-end changes a list's length after the start: it was read before. */
    raw_start(&r);
    raw_packed(&r, raw_at(&r, 0), 16, 1, VIRTQ_DESC_F_WRITE);
    CHECK(vio_devq_take(r.q, req, 8) == 1);
    raw_crash(&r);
    CHECK(raw_resume(&r, &stale) == VIO_FAULT_NONE);
    store16(&r, 32 + NUM, 4);
    CHECK(vio_devq_take(r.q, req, 8) == 1 && req[0]->slots == 1);
    raw_close(&r);
    puts("ok - every entry of a packed record is on one list");
    return 0;
}
