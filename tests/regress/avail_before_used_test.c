/* SPDX-License-Identifier: MIT */
/*
 * A driver that makes descriptors available again before it can have seen them used: between put and publish the
 * device took and put them again without limit, and its notes for the in-flight record grew past their array.
 */
#include <stdio.h>

#include "support/raw.h"

static void split(void)
{
    struct vio_req *req[4];
    struct raw r;

    raw_open(&r, 2, 0, true);
    raw_start(&r);
    for (int i = 0; i < 2; i++) {
        raw_desc(&r, 0, raw_at(&r, 0), 16, VIRTQ_DESC_F_WRITE, 0);
        raw_avail(&r, 0);
        CHECK(vio_devq_take(r.q, req, 4) == 1);
        vio_devq_put(r.q, req[0]);
    }
    raw_avail(&r, 0);
    raw_expect(&r, 0, VIO_FAULT_AVAIL_IDX);
    (void)raw_stop(&r);
    /* A driver that waits for the used index may go on for ever. */
    raw_start(&r);
    raw_desc(&r, 0, raw_at(&r, 0), 16, VIRTQ_DESC_F_WRITE, 0);
    for (int i = 0; i < 20; i++) {
        raw_avail(&r, 0);
        CHECK(vio_devq_take(r.q, req, 4) == 1);
        vio_devq_put(r.q, req[0]);
        CHECK(vio_devq_publish(r.q));
    }
    raw_close(&r);
}

static void packed(void)
{
    struct vio_req *req[4];
    struct raw r;

    raw_open(&r, 3, VIO_FEATURE(VIRTIO_F_RING_PACKED), true);
    raw_start(&r);
    for (int i = 0; i < 3; i++) {
        raw_packed(&r, raw_at(&r, 0), 16, 9, VIRTQ_DESC_F_WRITE);
        CHECK(vio_devq_take(r.q, req, 4) == 1);
        vio_devq_put(r.q, req[0]);
    }
    raw_packed(&r, raw_at(&r, 0), 16, 9, VIRTQ_DESC_F_WRITE);
    raw_expect(&r, 0, VIO_FAULT_PACKED_OVERRUN);
    raw_close(&r);
}

int main(void)
{
    test_context("avail_before_used");
    split();
    packed();
    puts("ok - what was put is the driver's only when it is published");
    return 0;
}
