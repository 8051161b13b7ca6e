/* SPDX-License-Identifier: MIT */
/* Purpose: IOMMU mappings after any row of updates and invalidations, against a map of single bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <vio/memory.h>

#include "memory/map.h"
#include "support/rng.h"

enum { SPACE = 600, MEMORY = 400, REGIONS = 5 };

static uint8_t host[REGIONS][MEMORY];

struct oracle {
    int32_t uva[SPACE]; /* -1: not mapped */
    uint8_t access[SPACE];
};

/* Regions at uva 1000.., some neighbours, some not; guest-physical far from it. */
static const struct vio_memory_region regions[REGIONS] = {
    { 50000, 100, 1000 }, { 50100, 50, 1100 }, { 70000, 1, 1150 }, { 40000, 120, 1151 }, { 90000, 80, 1400 } };

static uint8_t *host_of(uint32_t uva)
{
    for (int i = 0; i < REGIONS; i++) {
        if (uva >= regions[i].uva && uva < regions[i].uva + regions[i].size)
            return &host[i][uva - regions[i].uva];
    }
    return NULL;
}

static bool whole(uint32_t uva, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        if (host_of(uva + i) == NULL)
            return false;
    }
    return true;
}

static void compare(const struct vio_memory *m, const struct oracle *o, uint64_t base)
{
    for (uint32_t i = 0; i < SPACE; i++) {
        for (unsigned need = 1; need <= 3; need++) {
            const uint8_t *want = o->uva[i] >= 0 && (o->access[i] & need) == need ? host_of((uint32_t)o->uva[i]) : NULL;

            assert_ptr_equal(vio_map_range(vio_memory_map(m), base + i, 1, need), want);
        }
    }
}

static void random_rows(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct rng rng = rng_of(seed);
        /* The upper end of the address space too. */
        uint64_t base = seed % 2 != 0 ? UINT64_MAX - (SPACE - 1) : 0;
        struct vio_memory *m;
        struct oracle o;

        memset(&o, 0xff, sizeof(o));
        assert_int_equal(vio_memory_create(&m), 0);
        for (int i = 0; i < REGIONS; i++)
            assert_int_equal(vio_memory_add_host(m, &regions[i], host[i]), 0);
        vio_memory_iotlb_enable(m, true);
        assert_true(vio_memory_iotlb_enabled(m));
        for (int op = 0; op < 60; op++) {
            uint32_t at = rng_below(&rng, SPACE), size = rng_range(&rng, 1, SPACE - at < 150 ? SPACE - at : 150);

            if (rng_below(&rng, 3) == 0) {
                assert_int_equal(vio_memory_iotlb_invalidate(m, base + at, size), 0);
                for (uint32_t i = at; i < at + size; i++)
                    o.uva[i] = -1;
            } else {
                uint32_t uva = rng_range(&rng, 990, 1300), access = rng_range(&rng, 1, 3);
                int err = vio_memory_iotlb_update(m, base + at, size, uva, (enum vio_access)access);

                assert_int_equal(err, whole(uva, size) ? 0 : -EFAULT);
                for (uint32_t i = 0; err == 0 && i < size; i++) {
                    o.uva[at + i] = (int32_t)(uva + i);
                    o.access[at + i] = (uint8_t)access;
                }
            }
            if (op % 5 == 0)
                compare(m, &o, base);
        }
        /* A region that goes takes its mappings with it. */
        assert_int_equal(vio_memory_remove(m, &regions[3]), 0);
        for (uint32_t i = 0; i < SPACE; i++) {
            if (o.uva[i] >= 1151 && o.uva[i] < 1271)
                o.uva[i] = -1;
        }
        compare(m, &o, base);
        vio_memory_iotlb_enable(m, false);
        assert_ptr_equal(vio_map_range(vio_memory_map(m), 50000, 100, VIO_ACCESS_BOTH), host[0]);
        vio_memory_destroy(m);
    }
}

static void refused(void **state)
{
    struct vio_memory *m;

    (void)state;
    assert_int_equal(vio_memory_create(&m), 0);
    assert_int_equal(vio_memory_add_host(m, &regions[0], host[0]), 0);
    vio_memory_iotlb_enable(m, true);
    assert_int_equal(vio_memory_iotlb_update(m, 0, 0, 1000, VIO_ACCESS_BOTH), -EINVAL);
    assert_int_equal(vio_memory_iotlb_update(m, UINT64_MAX, 2, 1000, VIO_ACCESS_BOTH), -EINVAL);
    assert_int_equal(vio_memory_iotlb_update(m, 0, 1, 1000, (enum vio_access)0), -EINVAL);
    assert_int_equal(vio_memory_iotlb_update(m, 0, 1, 1000, (enum vio_access)4), -EINVAL);
    assert_int_equal(vio_memory_iotlb_update(m, 0, 2, 1099, VIO_ACCESS_BOTH), -EFAULT);
    assert_int_equal(vio_memory_iotlb_update(m, 0, UINT64_MAX, 1000, VIO_ACCESS_BOTH), -EFAULT);
    assert_int_equal(vio_memory_iotlb_invalidate(m, 0, 0), -EINVAL);
    assert_int_equal(vio_memory_iotlb_invalidate(m, 1, UINT64_MAX), 0);
    assert_int_equal(vio_memory_iotlb_invalidate(m, 2, UINT64_MAX), -EINVAL);
    assert_int_equal(vio_memory_iotlb_invalidate(m, 0, UINT64_MAX), 0);
    vio_memory_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(random_rows), cmocka_unit_test(refused) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
