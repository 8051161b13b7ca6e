/* SPDX-License-Identifier: MIT */
/*
 * IOMMU mappings that came page by page stayed apart, so that a ring area larger than a page was never in one piece and
 * its queue never started. And with the table full an invalidation inside a mapping failed, and the mapping stayed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <vio/memory.h>

#include "memory/map.h"
#include "support/guest.h"

static void merged(void)
{
    struct vio_memory_region r = { 0x100000, 0x8000, 0x700000 };
    uint8_t *host = malloc(0x8000);
    struct vio_memory *m;

    CHECK(vio_memory_create(&m) == 0 && vio_memory_add_host(m, &r, host) == 0);
    vio_memory_iotlb_enable(m, true);
    /* Out of turn: 1, 0, 3, 2; the last with fewer rights. */
    CHECK(vio_memory_iotlb_update(m, 0x11000, 0x1000, 0x701000, VIO_ACCESS_BOTH) == 0);
    CHECK(vio_memory_iotlb_update(m, 0x10000, 0x1000, 0x700000, VIO_ACCESS_BOTH) == 0);
    CHECK(vio_memory_iotlb_update(m, 0x13000, 0x1000, 0x703000, VIO_ACCESS_READ) == 0);
    CHECK(vio_memory_iotlb_update(m, 0x12000, 0x1000, 0x702000, VIO_ACCESS_BOTH) == 0);
    CHECK(vio_map_range(vio_memory_map(m), 0x10000, 0x3000, VIO_ACCESS_BOTH) == host);
    CHECK(vio_map_range(vio_memory_map(m), 0x10000, 0x3001, VIO_ACCESS_READ) == NULL);
    CHECK(vio_memory_iotlb_invalidate(m, 0x11000, 0x1000) == 0);
    CHECK(vio_map_range(vio_memory_map(m), 0x10000, 0x1000, VIO_ACCESS_BOTH) == host);
    CHECK(vio_map_range(vio_memory_map(m), 0x11000, 1, VIO_ACCESS_READ) == NULL);
    CHECK(vio_map_range(vio_memory_map(m), 0x12000, 0x1000, VIO_ACCESS_BOTH) == host + 0x2000);
    vio_memory_destroy(m);
    free(host);
}

static void full(void)
{
    struct vio_memory_region r = { 0, 0x10000, 0x10000 };
    uint8_t *host = malloc(0x10000);
    struct vio_memory *m;
    uint64_t n = 0;

    CHECK(vio_memory_create(&m) == 0 && vio_memory_add_host(m, &r, host) == 0);
    vio_memory_iotlb_enable(m, true);
    /* Gaps between them, so that they stay apart. */
    while (vio_memory_iotlb_update(m, n * 0x10000, 0x3000, 0x10000, VIO_ACCESS_BOTH) == 0)
        CHECK(++n <= VIO_MEMORY_IOTLB_MAX);
    CHECK(n >= VIO_MEMORY_IOTLB_MAX - 1);
    for (uint64_t i = 0; i < 4; i++) {
        CHECK(vio_memory_iotlb_invalidate(m, i * 0x10000 + 0x1000, 0x1000) == 0);
        CHECK(vio_map_range(vio_memory_map(m), i * 0x10000 + 0x1000, 1, VIO_ACCESS_READ) == NULL);
        CHECK(vio_map_range(vio_memory_map(m), i * 0x10000, 0x1000, VIO_ACCESS_READ) == host);
    }
    vio_memory_destroy(m);
    free(host);
}

int main(void)
{
    test_context("iotlb_pages");
    merged();
    full();
    puts("ok - mappings that continue each other are one; invalidation never fails");
    return 0;
}
