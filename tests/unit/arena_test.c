/* SPDX-License-Identifier: MIT */
/* The arena: what is given out is zeroed, aligned, nobody else's, and comes back whole. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <vio/arena.h>

#include "rng.h"

enum { SIZE = 4 << 20, PIECES = 64 };

static struct vio_arena *make(uint64_t base)
{
    struct vio_arena_params params = { .size = SIZE, .small_pages = true, .base = base };
    struct vio_arena *a;

    assert_int_equal(vio_arena_create(&params, &a), 0);
    return a;
}

static void test_region(void **state)
{
    struct vio_arena_params params = { .size = 5000, .small_pages = true, .populate = true };
    struct vio_arena_region r;
    struct vio_arena *a;
    struct stat st;

    (void)state;
    assert_int_equal(vio_arena_create(&params, &a), 0);
    r = vio_arena_region(a);
    assert_int_equal(r.size, 8192);
    assert_int_equal(fstat(r.fd, &st), 0);
    assert_int_equal(st.st_size, 8192);
    assert_true(r.addr != (uintptr_t)r.host);
    ((uint8_t *)r.host)[8191] = 1;
    vio_arena_destroy(a);
    params.small_pages = false; /* on huge pages or not: it works */
    assert_int_equal(vio_arena_create(&params, &a), 0);
    assert_int_equal(vio_arena_region(a).size, 2 << 20);
    vio_arena_destroy(a);
    params.size = 0;
    assert_int_equal(vio_arena_create(&params, &a), -EINVAL);
    params.size = UINT64_MAX;
    assert_int_equal(vio_arena_create(&params, &a), -EINVAL);
    params = (struct vio_arena_params){ .size = 4096, .small_pages = true, .base = 100 };
    assert_int_equal(vio_arena_create(&params, &a), -EINVAL);
    params.base = UINT64_MAX - 4095;
    assert_int_equal(vio_arena_create(&params, &a), -EINVAL);
    vio_arena_destroy(NULL);
}

static void test_pieces(void **state)
{
    struct vio_arena *a = make(0x40000000);
    const struct vio_platform *p = vio_arena_platform(a);
    struct vio_arena_region r = vio_arena_region(a);
    struct { uint8_t *host; size_t size; uint64_t addr; uint8_t mark; } piece[PIECES] = { { 0 } };
    struct rng rng = rng_of(1);
    uint64_t addr;
    void *all;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = rng_below(&rng, PIECES);
        size_t align = (size_t)1 << rng_below(&rng, 14);

        if (piece[i].host != NULL) {
            for (size_t k = 0; k < piece[i].size; k++)
                assert_int_equal(piece[i].host[k], piece[i].mark);
            p->dma_free(p->ctx, piece[i].host, piece[i].size, piece[i].addr);
            piece[i].host = NULL;
            continue;
        }
        piece[i].size = 1 + rng_below(&rng, rng_below(&rng, 20) == 0 ? SIZE / 8 : 3000);
        piece[i].host = p->dma_alloc(p->ctx, piece[i].size, align, &piece[i].addr);
        if (piece[i].host == NULL)
            continue;
        assert_int_equal(piece[i].addr % align, 0);
        assert_true(vio_range_ok(piece[i].addr - r.addr, piece[i].size, r.size));
        assert_ptr_equal(piece[i].host, (uint8_t *)r.host + (piece[i].addr - r.addr));
        for (size_t k = 0; k < piece[i].size; k++)
            assert_int_equal(piece[i].host[k], 0);
        piece[i].mark = (uint8_t)(round | 1);
        memset(piece[i].host, piece[i].mark, piece[i].size);
    }
    assert_null(p->dma_alloc(p->ctx, SIZE, 1, &addr));
    for (unsigned i = 0; i < PIECES; i++)
        p->dma_free(p->ctx, piece[i].host, piece[i].size, piece[i].addr);
    all = p->dma_alloc(p->ctx, SIZE, 1, &addr); /* in one piece again */
    assert_non_null(all);
    assert_null(p->dma_alloc(p->ctx, 1, 1, &addr));
    p->dma_free(p->ctx, all, SIZE, addr);
    assert_null(p->dma_alloc(p->ctx, 0, 1, &addr));
    assert_null(p->dma_alloc(p->ctx, SIZE_MAX, 1, &addr));
    vio_arena_destroy(a);
}

static void test_map(void **state)
{
    struct vio_arena *a = make(0);
    const struct vio_platform *p = vio_arena_platform(a);
    struct vio_arena_region r = vio_arena_region(a);
    uint64_t addr, there;
    int here = 0;
    void *at = p->dma_alloc(p->ctx, 100, 64, &addr);

    (void)state;
    assert_int_equal(p->map(p->ctx, (uint8_t *)at + 10, 20, VIO_DMA_READ, &there), 0);
    assert_int_equal(there, addr + 10);
    p->unmap(p->ctx, there, 20);
    assert_int_equal(p->map(p->ctx, &here, sizeof(here), VIO_DMA_WRITE, &there), -EFAULT);
    assert_int_equal(p->map(p->ctx, (uint8_t *)r.host + SIZE - 1, 2, VIO_DMA_WRITE, &there), -EFAULT);
    at = p->alloc(p->ctx, 1000);
    assert_int_equal((uintptr_t)at % 64, 0);
    assert_int_equal(((uint8_t *)at)[999], 0);
    p->free(p->ctx, at, 1000);
    assert_null(p->alloc(p->ctx, SIZE_MAX));
    assert_true(p->now_ns(p->ctx) <= p->now_ns(p->ctx));
    vio_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_map),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
