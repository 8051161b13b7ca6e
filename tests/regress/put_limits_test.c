/* SPDX-License-Identifier: MIT */
/*
 * Driver side: put let through what a device must refuse, a chain of more than 2^32 bytes and an empty piece, and
 * refused what an indirect table holds, more readable pieces than the queue has entries.
 */
#include <errno.h>
#include <stdio.h>

#include "support/raw.h"

int main(void)
{
    static _Alignas(64) uint8_t desc[64], driver[64], device[64], table[4 * 16 * 16];
    struct vio_drvq_params p = {
        .size = 4,
        .features = vio_features_of(VIO_FEATURE(VIRTIO_F_INDIRECT_DESC)),
        .desc = desc,
        .driver = driver,
        .device = device,
        .indirect = table,
        .indirect_addr = 0x8000,
        .indirect_max = 16,
    };
    struct vio_buf half = { 0x1000, 0x80000000u }, some[9];
    size_t bytes = vio_drvq_bytes(&p);
    void *mem = queue_mem(bytes);
    struct vio_drvq *q;

    test_context("put_limits");
    CHECK(vio_drvq_start(mem, &p, &q) == 0);
    some[0] = some[1] = half;
    some[2] = (struct vio_buf){ 0x1000, 1 };
    CHECK(vio_drvq_put(q, some, 1, 2, 0) == -EINVAL);
    CHECK(vio_drvq_put(q, some, 1, 1, 0) == 0);
    some[1].len = 0;
    CHECK(vio_drvq_put(q, some, 1, 1, 0) == -EINVAL);
    CHECK(vio_drvq_put(q, some, 2, 0, 0) == -EINVAL);
    for (int i = 0; i < 9; i++)
        some[i] = (struct vio_buf){ 0x1000, 8 };
    CHECK(vio_drvq_put(q, some, 9, 0, 0) == 0);
    CHECK(vio_drvq_put(q, some, 0, 0, 0) == -EINVAL);
    CHECK(vio_drvq_in_flight(q) == 2 && vio_drvq_free(q) == 2);
    queue_mem_free(mem, bytes);
    puts("ok - put refuses what a device would, and only that");
    return 0;
}
