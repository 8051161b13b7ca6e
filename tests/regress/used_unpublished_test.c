/* SPDX-License-Identifier: MIT */
/*
 * Driver side: a device that reads the descriptor table could use a buffer that was put and not published. The driver
 * accepted it, and taking back what was unpublished freed its descriptors a second time.
 */
#include <stdio.h>
#include <string.h>

#include "support/raw.h"

static uint8_t payload[64] __attribute__((aligned(64)));

static void run(bool packed)
{
    static _Alignas(64) uint8_t desc[16 * 8], driver[64], device[128];
    struct vio_drvq_params p = {
        .size = 8,
        .features = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1) |
                                    (packed ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0)),
        .desc = desc,
        .driver = driver,
        .device = device,
    };
    struct vio_buf buf = { (uintptr_t)payload, 16 };
    size_t bytes = vio_drvq_bytes(&p);
    void *mem = queue_mem(bytes);
    struct vio_drvq *q;
    struct vio_done done[8];

    CHECK(vio_drvq_start(mem, &p, &q) == 0);
    CHECK(vio_drvq_put(q, &buf, 0, 1, 100) == 0);
    CHECK(vio_drvq_publish(q));
    CHECK(vio_drvq_put(q, &buf, 0, 1, 101) == 0);
    if (packed) {
        le_set16(desc + 12, 1);
        desc[14] = VIRTQ_DESC_F_AVAIL;
        desc[15] = VIRTQ_DESC_F_USED >> 8;
    } else {
        le_set32(device + 4, 1);
        le_set16(device + 2, 1);
    }
    CHECK(vio_drvq_collect(q, done, 8) == 0);
    CHECK(vio_drvq_fault(q) == VIO_FAULT_USED_NOT_IN_FLIGHT);
    vio_drvq_rewind(q);
    CHECK(vio_drvq_in_flight(q) == 1 && vio_drvq_free(q) == 7);
    queue_mem_free(mem, bytes);
}

int main(void)
{
    test_context("used_unpublished split");
    run(false);
    test_context("used_unpublished packed");
    run(true);
    puts("ok - a buffer that was not published is not in flight");
    return 0;
}
