/* SPDX-License-Identifier: MIT */
/*
 * Split, in-flight record: what was taken again after a crash got a new submission number, so that after a second crash
 * it came behind what had been submitted later.
 */
#include <stdio.h>

#include "support/raw.h"

int main(void)
{
    struct vio_queue_state stale;
    struct vio_req *req[4];
    struct raw r;

    test_context("inflight_order_twice");
    raw_open(&r, 8, 0, true);
    raw_start(&r);
    raw_good(&r, 0);
    raw_good(&r, 2);
    raw_good(&r, 4);
    CHECK(vio_devq_take(r.q, req, 4) == 3);
    raw_crash(&r);
    vio_queue_state_unpack(&stale, false, 0);
    CHECK(raw_resume(&r, &stale) == VIO_FAULT_NONE);
    CHECK(vio_devq_take(r.q, req, 1) == 1 && req[0]->id == 0);
    raw_crash(&r);
    CHECK(raw_resume(&r, &stale) == VIO_FAULT_NONE);
    CHECK(vio_devq_take(r.q, req, 4) == 3);
    CHECK(req[0]->id == 0 && req[1]->id == 2 && req[2]->id == 4);
    raw_close(&r);
    puts("ok - the order of submission survives a second crash");
    return 0;
}
