/* SPDX-License-Identifier: MIT */
/* Purpose: regions: what is refused, what is found where, and files of every kind mapped at any offset. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <vio/memory.h>

#include "memory/map.h"
#include "support/rng.h"

static uint8_t arena[1 << 20];

static struct vio_memory *create(void)
{
    struct vio_memory *m;

    assert_int_equal(vio_memory_create(&m), 0);
    return m;
}

static int add(struct vio_memory *m, uint64_t gpa, uint64_t size, uint64_t uva, void *host)
{
    struct vio_memory_region r = { gpa, size, uva };

    return vio_memory_add_host(m, &r, host);
}

static void refused(void **state)
{
    struct vio_memory *m = create();

    (void)state;
    assert_int_equal(add(m, 0x1000, 0, 0x1000, arena), -EINVAL);
    assert_int_equal(add(m, UINT64_MAX, 2, 0, arena), -EINVAL);
    assert_int_equal(add(m, 0, 2, UINT64_MAX, arena), -EINVAL);
    assert_int_equal(add(m, 0x1000, 0x1000, 0x70000, arena), 0);
    assert_int_equal(add(m, 0x1fff, 1, 0x90000, arena), -EEXIST);
    assert_int_equal(add(m, 0xfff, 2, 0x90000, arena), -EEXIST);
    assert_int_equal(add(m, 0, 0x10000, 0x90000, arena), -EEXIST);
    assert_int_equal(add(m, 0x5000, 0x1000, 0x70fff, arena), -EEXIST);
    assert_int_equal(add(m, 0x2000, 1, 0x71000, arena), 0);
    assert_int_equal(add(m, 0xfff, 1, 0x6ffff, arena), 0);
    assert_int_equal(add(m, UINT64_MAX, 1, UINT64_MAX, arena), 0);
    assert_int_equal(vio_memory_regions(m), 4);
    vio_memory_destroy(m);
    vio_memory_destroy(NULL);
}

static void removed_exactly(void **state)
{
    struct vio_memory *m = create();
    struct vio_memory_region r = { 0x1000, 0x1000, 0x5000 }, bad[] = {
        { 0x1000, 0x1000, 0x5001 }, { 0x1000, 0xfff, 0x5000 }, { 0x1001, 0x1000, 0x5000 }, { 0x1000, 0, 0x5000 } };

    (void)state;
    assert_int_equal(vio_memory_add_host(m, &r, arena), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vio_memory_remove(m, &bad[i]), -ENOENT);
    assert_int_equal(vio_memory_remove(m, &r), 0);
    assert_int_equal(vio_memory_remove(m, &r), -ENOENT);
    assert_int_equal(vio_memory_regions(m), 0);
    assert_null(vio_map_range(vio_memory_map(m), 0x1000, 1, VIO_ACCESS_READ));
    vio_memory_destroy(m);
}

/* 1 to 1024 regions in any order, with and without gaps; each byte is found, each gap is not. */
static void found(void **state)
{
    static const unsigned counts[] = { 1, 2, 3, 7, 100, 1023, 1024 };

    (void)state;
    for (unsigned c = 0; c < 7; c++) {
        unsigned n = counts[c];
        struct vio_memory_region r[1024];
        uint8_t *host[1024];
        struct vio_memory *m = create();
        struct rng rng = rng_of(n);
        uint64_t gpa = 3;
        unsigned order[1024];

        for (unsigned i = 0; i < n; i++) {
            r[i] = (struct vio_memory_region){ gpa, rng_range(&rng, 1, 900), gpa + 0x7000000 };
            host[i] = arena + rng_below(&rng, 500000);
            gpa += r[i].size + (rng_below(&rng, 2) != 0 ? rng_below(&rng, 50) : 0);
            order[i] = i;
        }
        for (unsigned i = n - 1; i > 0; i--) {
            unsigned k = rng_below(&rng, i + 1), t = order[i];

            order[i] = order[k];
            order[k] = t;
        }
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(vio_memory_add_host(m, &r[order[i]], host[order[i]]), 0);
        if (n == 1024)
            assert_int_equal(add(m, 0x10000000, 1, 0x10000000, arena), -ENOSPC);
        for (unsigned i = 0; i < n; i++) {
            struct vio_memory_region seen;
            uint64_t at, last = r[i].gpa + r[i].size - 1;
            void *h;

            vio_memory_region_at(m, i, &seen, &h);
            assert_memory_equal(&seen, &r[i], sizeof(seen));
            assert_ptr_equal(h, host[i]);
            assert_ptr_equal(vio_map_range(vio_memory_map(m), r[i].gpa, r[i].size, VIO_ACCESS_BOTH), host[i]);
            assert_ptr_equal(vio_map_range(vio_memory_map(m), last, 1, VIO_ACCESS_BOTH), host[i] + r[i].size - 1);
            assert_null(vio_map_range(vio_memory_map(m), r[i].gpa, r[i].size + 1, VIO_ACCESS_READ));
            assert_null(vio_map_range(vio_memory_map(m), r[i].gpa, UINT64_MAX, VIO_ACCESS_READ));
            assert_null(vio_map_range(vio_memory_map(m), r[i].gpa, 0, VIO_ACCESS_READ));
            if (i + 1 < n && r[i + 1].gpa > last + 1)
                assert_null(vio_map_range(vio_memory_map(m), last + 1, 1, VIO_ACCESS_READ));
            assert_int_equal(vio_memory_uva_to_gpa(m, r[i].uva, r[i].size, &at), 0);
            assert_true(at == r[i].gpa);
            assert_int_equal(vio_memory_uva_to_gpa(m, r[i].uva, r[i].size + 1, &at), -EFAULT);
        }
        assert_null(vio_map_range(vio_memory_map(m), 2, 1, VIO_ACCESS_READ));
        assert_null(vio_map_range(vio_memory_map(m), UINT64_MAX, 1, VIO_ACCESS_READ));
        vio_memory_clear(m);
        assert_int_equal(vio_memory_regions(m), 0);
        vio_memory_destroy(m);
    }
}

/* Copies run over neighbours and stop at gaps, with nothing copied then. */
static void copies(void **state)
{
    struct vio_memory *m = create();
    uint8_t out[64];

    (void)state;
    assert_int_equal(add(m, 0x100, 10, 0x100, arena + 1000), 0);
    assert_int_equal(add(m, 0x10a, 1, 0x10a, arena + 500), 0);
    assert_int_equal(add(m, 0x10b, 20, 0x10b, arena), 0);
    memset(arena, 0, 2000);
    assert_int_equal(vio_memory_write(m, vio_gpa_of(0x108), "abcdef", 6), 0);
    assert_memory_equal(arena + 1008, "ab", 2);
    assert_int_equal(arena[500], 'c');
    assert_memory_equal(arena, "def", 3);
    assert_int_equal(vio_memory_read(m, vio_gpa_of(0x108), out, 6), 0);
    assert_memory_equal(out, "abcdef", 6);
    assert_int_equal(vio_memory_write(m, vio_gpa_of(0x11e), "xy", 2), -EFAULT);
    assert_int_equal(arena[19], 0);
    assert_int_equal(vio_memory_read(m, vio_gpa_of(0xff), out, 2), -EFAULT);
    assert_int_equal(vio_memory_read(m, vio_gpa_of(0), out, 0), 0);
    vio_memory_destroy(m);
}

static int file_of(const char *name, off_t size, unsigned flags)
{
    int fd = memfd_create(name, flags);

    if (fd >= 0 && ftruncate(fd, size) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Offsets and sizes that are no pages; the file seen at both ends of the region. */
static void files(void **state)
{
    static const struct { uint64_t offset, size; } at[] = {
        { 0, 4096 }, { 0, 1 }, { 1, 1 }, { 4095, 2 }, { 5000, 3192 }, { 12287, 1 }, { 4096, 8192 }, { 100, 12188 } };
    int fd = file_of("test", 12288, 0);

    (void)state;
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 8; i++) {
        struct vio_memory *m = create();
        struct vio_memory_region r = { 0x1000, at[i].size, 0x1000 };
        uint8_t first = (uint8_t)(i + 1), last = (uint8_t)(100 + i), byte;

        assert_int_equal(vio_memory_add(m, &r, fd, at[i].offset), 0);
        assert_int_equal(pwrite(fd, &first, 1, (off_t)at[i].offset), 1);
        assert_int_equal(vio_memory_read(m, vio_gpa_of(0x1000), &byte, 1), 0);
        assert_int_equal(byte, first);
        assert_int_equal(vio_memory_write(m, vio_gpa_of(0x1000 + at[i].size - 1), &last, 1), 0);
        assert_int_equal(pread(fd, &byte, 1, (off_t)(at[i].offset + at[i].size - 1)), 1);
        assert_int_equal(byte, last);
        vio_memory_destroy(m);
    }
    close(fd);
}

static void short_files(void **state)
{
    struct vio_memory *m = create();
    struct vio_memory_region r = { 0x1000, 0x1000, 0x1000 };
    int fd = file_of("short", 0xfff, 0), closed = dup(fd);

    (void)state;
    close(closed);
    assert_int_equal(vio_memory_add(m, &r, fd, 0), -ENXIO);
    r.size = 0xfff;
    assert_int_equal(vio_memory_add(m, &r, fd, 1), -ENXIO);
    assert_int_equal(vio_memory_add(m, &r, fd, UINT64_MAX), -ENXIO);
    r.size = UINT64_MAX - 0x2000;
    assert_int_equal(vio_memory_add(m, &r, fd, 0), -ENXIO);
    r.size = 0xfff;
    assert_int_equal(vio_memory_add(m, &r, closed, 0), -EBADF);
    assert_int_equal(vio_memory_add(m, &r, fd, 0), 0);
    assert_int_equal(vio_memory_regions(m), 1);
    vio_memory_destroy(m);
    close(fd);
}

static void huge_pages(void **state)
{
    struct vio_memory_region r = { 0x1000, 0x1000, 0x1000 };
    struct vio_memory *m;
    int fd = file_of("huge", 4 << 20, MFD_HUGETLB);
    void *probe = fd < 0 ? MAP_FAILED : mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int err;

    (void)state;
    if (probe == MAP_FAILED) {
        if (fd >= 0)
            close(fd);
        printf("SKIP huge_pages: no free huge page here (echo 4 > /proc/sys/vm/nr_hugepages)\n");
        skip();
    }
    munmap(probe, 2 << 20);
    m = create();
    /* A region that ends inside a huge page, at an offset that is none. */
    err = vio_memory_add(m, &r, fd, 0x3000);
    assert_int_equal(err, 0);
    assert_int_equal(vio_memory_write(m, vio_gpa_of(0x1fff), "z", 1), 0);
    vio_memory_destroy(m);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(removed_exactly), cmocka_unit_test(found),
        cmocka_unit_test(copies),  cmocka_unit_test(files),           cmocka_unit_test(short_files),
        cmocka_unit_test(huge_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
