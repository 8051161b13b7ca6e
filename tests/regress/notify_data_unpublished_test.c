/* SPDX-License-Identifier: MIT */
/* NOTIFICATION_DATA named a position past buffers that were put and not published (virtio 1.4, 2.8.16, 2.9). */
#include <stdio.h>

#include "support/raw.h"

static void run(bool packed, uint16_t size, unsigned puts_before, unsigned puts_after, uint32_t want)
{
    struct vio_drvq_params p = {
        .size = size,
        .features = vio_features_of(packed ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0),
    };
    struct vio_queue_layout l = vio_queue_layout(size, packed);
    struct vio_buf buf = { 0x1000, 16 };
    size_t bytes = vio_drvq_bytes(&p);
    void *mem = queue_mem(bytes);
    struct vio_drvq *q;

    p.desc = queue_mem(l.desc_bytes);
    p.driver = queue_mem(l.driver_bytes);
    p.device = queue_mem(l.device_bytes);
    CHECK(vio_drvq_start(mem, &p, &q) == 0);
    for (unsigned i = 0; i < puts_before; i++)
        CHECK(vio_drvq_put(q, &buf, 0, 1, i) == 0);
    CHECK(vio_drvq_publish(q) == (puts_before > 0));
    for (unsigned i = 0; i < puts_after; i++)
        CHECK(vio_drvq_put(q, &buf, 0, 1, i) == 0);
    if (vio_drvq_notify_data(q, 3) != (want << 16 | 3))
        FAIL("%08x, must be %08x", vio_drvq_notify_data(q, 3), want << 16 | 3);
    queue_mem_free(p.desc, l.desc_bytes);
    queue_mem_free(p.driver, l.driver_bytes);
    queue_mem_free(p.device, l.device_bytes);
    queue_mem_free(mem, bytes);
}

int main(void)
{
    test_context("notify_data_unpublished");
    run(false, 8, 2, 0, 2);
    run(false, 8, 2, 3, 2);
    run(true, 5, 2, 0, 0x8002);
    run(true, 5, 2, 2, 0x8002);
    run(true, 5, 2, 3, 0x8002); /* the unpublished ones run past the end */
    run(true, 5, 5, 0, 0x0000);
    run(true, 5, 0, 5, 0x8000);
    puts("ok - notification data name what is published");
    return 0;
}
