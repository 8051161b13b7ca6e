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

#include "memory/arena_frames.h"
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

/* ------------------------------------------------------------------ by physical addresses */

enum { PAGES = 8 };

/* What a kernel says of eight pages: in any order, with gaps. */
static const uint64_t scattered[PAGES] = { 0x12000000, 0x40000000, 0x11e00000, 0x12200000, 0x80000000, 0x40200000, 0x7fc00000, 0x200000 };

struct told {
    const uint64_t *addr;
    int error;
};

static int tell(void *ctx, const uint8_t *host, uint64_t n, uint64_t *addr)
{
    const struct told *told = ctx;

    assert_int_equal(n, PAGES);
    for (unsigned i = 0; told->error == 0 && i < PAGES; i++) {
        assert_int_equal(host[(uint64_t)i * ARENA_HUGE_PAGE], 0);
        addr[i] = told->addr[i];
    }
    return told->error;
}

static int make_physical(const uint64_t *addr, int error, struct vio_arena **out)
{
    struct vio_arena_params params = { .size = (uint64_t)PAGES * ARENA_HUGE_PAGE, .physical = true };
    struct told told = { addr, error };
    struct arena_frames frames = { .read = tell, .ctx = &told, .small = true };

    return arena_create(&params, &frames, out);
}

/* Neighbours become one part, whatever the order they were found in, and nothing that is given out goes over a gap. */
static void test_physical(void **state)
{
    static const uint64_t addr[] = { 0x200000, 0x11e00000, 0x40000000, 0x7fc00000, 0x80000000 };
    static const uint64_t pages[] = { 1, 3, 2, 1, 1 };
    struct vio_arena_region part = { 0 };
    const struct vio_platform *p;
    struct vio_arena *a;
    uint64_t at, there;
    uint8_t *big, *host;

    (void)state;
    assert_int_equal(make_physical(scattered, 0, &a), 0);
    p = vio_arena_platform(a);
    assert_true(vio_arena_region(a).physical);
    assert_int_equal(vio_arena_region(a).fd, -1);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(vio_arena_part(a, i, &part));
        assert_int_equal(part.addr, addr[i]);
        assert_int_equal(part.size, pages[i] * ARENA_HUGE_PAGE);
    }
    assert_false(vio_arena_part(a, 5, &part));
    assert_null(p->dma_alloc(p->ctx, 3 * ARENA_HUGE_PAGE + 1, 128, &at)); /* 16 MiB are free, and no such piece */
    big = p->dma_alloc(p->ctx, 3 * ARENA_HUGE_PAGE, 128, &at);
    assert_non_null(big);
    assert_int_equal(at, 0x11e00000);
    assert_int_equal(p->map(p->ctx, big + 4096, 3 * ARENA_HUGE_PAGE - 4096, VIO_DMA_READ, &there), 0);
    assert_int_equal(there, 0x11e01000);
    assert_int_equal(p->map(p->ctx, big - 4096, 8192, VIO_DMA_READ, &there), -EFAULT); /* over a gap */
    /* Of each part one piece that leaves no room for a second: five without big's part. */
    for (unsigned i = 0; i < 5; i++) {
        host = p->dma_alloc(p->ctx, ARENA_HUGE_PAGE - 4096, 4096, &at);
        assert_non_null(host);
        assert_int_equal(p->map(p->ctx, host, ARENA_HUGE_PAGE - 4096, VIO_DMA_WRITE, &there), 0);
        assert_int_equal(there, at);
    }
    assert_null(p->dma_alloc(p->ctx, ARENA_HUGE_PAGE - 4096, 4096, &at));
    p->dma_free(p->ctx, big, 3 * ARENA_HUGE_PAGE, 0x11e00000);
    assert_ptr_equal(p->dma_alloc(p->ctx, 3 * ARENA_HUGE_PAGE, 4096, &at), big);
    vio_arena_destroy(a);
}

static void test_physical_pieces(void **state)
{
    struct { uint8_t *host; size_t size; uint64_t addr; } piece[PIECES] = { { 0 } };
    struct rng rng = rng_of(2);
    const struct vio_platform *p;
    struct vio_arena_region part = { 0 };
    struct vio_arena *a;
    unsigned got = 0;

    (void)state;
    assert_int_equal(make_physical(scattered, 0, &a), 0);
    p = vio_arena_platform(a);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned i = rng_below(&rng, PIECES), k = 0;
        size_t align = (size_t)1 << rng_below(&rng, 14);

        if (piece[i].host != NULL)
            p->dma_free(p->ctx, piece[i].host, piece[i].size, piece[i].addr);
        piece[i].size = 1 + rng_below(&rng, 3 << 20);
        piece[i].host = p->dma_alloc(p->ctx, piece[i].size, align, &piece[i].addr);
        if (piece[i].host == NULL)
            continue;
        got++;
        assert_int_equal(piece[i].addr % align, 0);
        do
            assert_true(vio_arena_part(a, k++, &part));
        while (!vio_range_ok(piece[i].addr - part.addr, piece[i].size, part.size));
        assert_ptr_equal(piece[i].host, (uint8_t *)part.host + (piece[i].addr - part.addr));
    }
    assert_true(got > 500);
    vio_arena_destroy(a);
}

static void test_physical_refused(void **state)
{
    uint64_t wrong[PAGES];
    struct vio_arena_params params = { .size = ARENA_HUGE_PAGE, .physical = true, .base = 0x1000 };
    struct vio_arena *a;

    (void)state;
    assert_int_equal(make_physical(scattered, -EPERM, &a), -EPERM);
    memcpy(wrong, scattered, sizeof(wrong));
    wrong[3] = scattered[0]; /* two pages in one place */
    assert_int_equal(make_physical(wrong, 0, &a), -EFAULT);
    wrong[3] = 0x12200800; /* no huge page begins there */
    assert_int_equal(make_physical(wrong, 0, &a), -EFAULT);
    wrong[3] = 0;
    assert_int_equal(make_physical(wrong, 0, &a), -EFAULT);
    assert_int_equal(vio_arena_create(&params, &a), -EINVAL); /* an address of one's own choice */
}

/* On this machine's own pages, where it has some: what is written at a place is at its physical address in no other part. */
static void test_physical_for_real(void **state)
{
    struct vio_arena_params params = { .size = 2 * ARENA_HUGE_PAGE, .physical = true };
    struct vio_arena_region part = { 0 };
    struct vio_arena *a;
    uint64_t told;
    int r = vio_arena_create(&params, &a);

    (void)state;
    if (r != 0) {
        print_message("no physical arena here (%s)\n", r == -ENOMEM ? "no free huge pages" : strerror(-r));
#if defined(__x86_64__)
        assert_true(r == -ENOMEM || r == -EPERM);
#else
        assert_true(r == -ENOMEM || r == -EPERM || r == -EINVAL); /* huge pages of another size, or an emulator's */
#endif
        skip();
    }
    for (unsigned i = 0; vio_arena_part(a, i, &part); i++) {
        assert_int_equal(arena_frames_of_linux.read(NULL, part.host, 1, &told), 0);
        assert_int_equal(told, part.addr); /* also after the pages were ordered */
    }
    vio_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_physical),
        cmocka_unit_test(test_physical_pieces),
        cmocka_unit_test(test_physical_refused),
        cmocka_unit_test(test_physical_for_real),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
