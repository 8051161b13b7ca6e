/* SPDX-License-Identifier: MIT */
/*
 * Packed, in-flight record: a device that died between put and publish left all used descriptors of the batch but the
 * first in the ring. After recovery they counted as soon as the first one was written, though
 * those buffers were being served again: the driver got them back early, and then once more.
 */
#include <stdio.h>

#include "support/raw.h"

int main(void)
{
    struct vio_queue_state stale;
    struct vio_req *req[4];
    uint64_t word;
    struct raw r;

    test_context("inflight_stale_used");
    raw_open(&r, 8, VIO_FEATURE(VIRTIO_F_RING_PACKED), true);
    raw_start(&r);
    raw_packed(&r, raw_at(&r, 0), 16, 5, VIRTQ_DESC_F_WRITE);
    raw_packed(&r, raw_at(&r, 16), 16, 6, VIRTQ_DESC_F_WRITE);
    CHECK(vio_devq_take(r.q, req, 4) == 2);
    vio_devq_put(r.q, req[0]);
    vio_devq_put(r.q, req[1]);
    raw_crash(&r);

    vio_queue_state_unpack(&stale, true, 0x80008000u);
    CHECK(raw_resume(&r, &stale) == VIO_FAULT_NONE);
    CHECK(vio_devq_take(r.q, req, 4) == 2 && req[0]->id == 5 && req[1]->id == 6);
    vio_devq_put(r.q, req[0]);
    CHECK(vio_devq_publish(r.q));
    word = le_get64((uint64_t *)r.g->desc_host + 1);
    CHECK(word >> 48 == (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED) && (uint16_t)(word >> 32) == 5);
    word = le_get64((uint64_t *)r.g->desc_host + 3);
    CHECK((word >> 48 & VIRTQ_DESC_F_USED) == 0);
    vio_devq_put(r.q, req[1]);
    CHECK(vio_devq_publish(r.q));
    word = le_get64((uint64_t *)r.g->desc_host + 3);
    CHECK(word >> 48 == (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED) && (uint16_t)(word >> 32) == 6);
    raw_close(&r);
    puts("ok - a batch that was not published is taken back");
    return 0;
}
