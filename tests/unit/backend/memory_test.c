/* SPDX-License-Identifier: MIT */
/* Purpose: the RAM disk and the null disk. Where it sits: tests/unit/backend. */
#include "help.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB (1u << 20)

static struct vio_block_backend *ram(uint64_t size, bool read_only)
{
    struct vio_block_backend *b = NULL;
    char why[200] = "";

    assert_int_equal(vio_block_ram_open(size, read_only, &b, why, sizeof why), 0);
    return b;
}

static void sizes_are_checked(void **state)
{
    struct vio_block_backend *b = NULL;
    char why[200];

    (void)state;
    assert_int_equal(vio_block_ram_open(0, false, &b, why, sizeof why), -EINVAL);
    assert_int_equal(vio_block_ram_open(1000, false, &b, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "1000 bytes"));
    assert_non_null(strstr(why, "512 and 1024"));
    assert_int_equal(vio_block_null_open(513, false, &b, why, sizeof why), -EINVAL);
    assert_int_equal(vio_block_null_open(UINT64_MAX, false, &b, why, sizeof why), -EINVAL);
    assert_int_equal(vio_block_ram_open(UINT64_MAX / 4 / 512 * 512, false, &b, why, sizeof why), -ENOMEM);
    assert_int_equal(vio_block_ram_open(7, false, &b, NULL, 0), -EINVAL);
    vio_block_close(NULL);
}

static void ram_keeps_what_is_written(void **state)
{
    struct vio_block_backend *b = ram(4 * MIB + 512, false);
    struct vio_block_channel *c = channel_open(b, 64);
    uint8_t *out = malloc(MIB), *in = malloc(MIB);

    (void)state;
    assert_int_equal(backend_size(b), 4 * MIB + 512);
    assert_int_equal(b->ops->fd(c), -1);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 3 * MIB, in, MIB, 3), 0);
    assert_true(all_bytes(in, MIB, 0));
    pattern(out, MIB, 3 * MIB + 512, 1);
    assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, 0, 3 * MIB + 512, out, MIB, 17), 0);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 3 * MIB + 512, in, MIB, 1000), 0);
    assert_memory_equal(in, out, MIB);
    assert_int_equal(run_one(b, c, VIO_BLOCK_FLUSH, 0, 0, NULL, 0, 0), 0);
    assert_int_equal(run_one(b, c, VIO_BLOCK_SECURE_ERASE, 0, 0, NULL, 512, 0), -EOPNOTSUPP);
    /* Past the end, however it is said. */
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 4 * MIB, in, 1024, 1), -EIO);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, UINT64_MAX - 511, in, 1024, 1), -EIO);
    assert_int_equal(run_one(b, c, VIO_BLOCK_DISCARD, 0, 512, NULL, UINT64_MAX - 511, 0), -EIO);
    b->ops->close(c);
    vio_block_close(b);
    free(out);
    free(in);
}

static void ram_zeroes_exactly(void **state)
{
    static const struct { uint64_t at, n; } range[] = {
        { 512, 512 }, { 512, 4096 }, { 4096, 4096 }, { 1024, 65536 }, { 0, 2 * MIB }, { 2 * MIB - 512, MIB + 1024 },
    };
    const uint64_t size = 4 * MIB;
    struct vio_block_backend *b = ram(size, false);
    struct vio_block_channel *c = channel_open(b, 64);
    uint8_t *all = malloc(size);

    (void)state;
    for (unsigned i = 0; i < 3 * sizeof range / sizeof range[0]; i++) {
        uint64_t at = range[i / 3].at, n = range[i / 3].n;
        uint8_t op = i % 3 == 0 ? VIO_BLOCK_DISCARD : VIO_BLOCK_WRITE_ZEROES;

        pattern(all, size, 0, 2);
        assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, 0, 0, all, size, 1), 0);
        assert_int_equal(run_one(b, c, op, i % 3 == 1 ? VIO_BLOCK_IO_UNMAP : 0, at, NULL, n, 0), 0);
        assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, all, size, 1), 0);
        assert_true(pattern_is(all, at, 0, 2));
        assert_true(all_bytes(all + at, n, 0));
        assert_true(pattern_is(all + at + n, size - at - n, at + n, 2));
    }
    b->ops->close(c);
    vio_block_close(b);
    free(all);
}

static void read_only_refuses(void **state)
{
    uint8_t sector[512] = { 1 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct vio_block_backend *b = NULL;
        struct vio_block_channel *c;
        struct vio_block_info info;

        assert_int_equal(i ? vio_block_null_open(MIB, true, &b, NULL, 0) : vio_block_ram_open(MIB, true, &b, NULL, 0), 0);
        c = channel_open(b, 1);
        assert_int_equal(b->ops->info(b, &info), 0);
        assert_true(info.read_only);
        assert_false(info.can_discard || info.can_zero || info.can_zero_unmap || info.can_secure_erase);
        for (uint8_t op = VIO_BLOCK_WRITE; op <= VIO_BLOCK_SECURE_ERASE; op++)
            assert_int_equal(run_one(b, c, op, 0, 0, sector, 512, 1), op == VIO_BLOCK_FLUSH ? 0 : -EROFS);
        assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, sector, 512, 1), 0);
        b->ops->close(c);
        vio_block_close(b);
    }
}

static void null_does_nothing(void **state)
{
    struct vio_block_backend *b = NULL;
    struct vio_block_channel *c;
    uint8_t buffer[4096];

    (void)state;
    assert_int_equal(vio_block_null_open(1ull << 40, false, &b, NULL, 0), 0);
    c = channel_open(b, 8);
    pattern(buffer, sizeof buffer, 0, 9);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 1ull << 39, buffer, sizeof buffer, 2), 0);
    assert_true(pattern_is(buffer, sizeof buffer, 0, 9));
    for (uint8_t op = VIO_BLOCK_WRITE; op <= VIO_BLOCK_SECURE_ERASE; op++)
        assert_int_equal(run_one(b, c, op, 0, 0, buffer, sizeof buffer, 1), 0);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 1ull << 40, buffer, 512, 1), -EIO);
    b->ops->close(c);
    vio_block_close(b);
}

static void ram_against_the_model(void **state)
{
    struct vio_block_backend *b = ram(MIB, false);

    (void)state;
    model_run(b, MIB, 500, 1);
    vio_block_close(b);
}

struct thread {
    struct vio_block_backend *b;
    uint64_t at;
    uint8_t seed;
    bool good;
    pthread_t id;
};

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct vio_block_channel *c = NULL;
    uint8_t out[4096], in[4096];
    struct vio_seg seg;

    t->good = t->b->ops->open(t->b, 1, NULL, &c) == 0;
    for (unsigned i = 0; t->good && i < 2000; i++) {
        struct vio_block_io io = { .offset = t->at + (i % 64) * 4096, .length = 4096, .nr_seg = 1, .seg = &seg };
        struct vio_block_io *p = &io, *done;

        pattern(out, sizeof out, io.offset, (uint8_t)(t->seed + i));
        seg = (struct vio_seg){ out, sizeof out };
        io.op = VIO_BLOCK_WRITE;
        t->good &= t->b->ops->submit(c, &p, 1, &done) == 1 && io.result == 0;
        seg = (struct vio_seg){ in, sizeof in };
        io.op = VIO_BLOCK_READ;
        t->good &= t->b->ops->submit(c, &p, 1, &done) == 1 && io.result == 0 && !memcmp(in, out, sizeof in);
        io.op = i % 2 ? VIO_BLOCK_DISCARD : VIO_BLOCK_WRITE_ZEROES;
        io.offset = t->at + 64 * 4096;
        t->good &= t->b->ops->submit(c, &p, 1, &done) == 1 && io.result == 0;
    }
    if (c)
        t->b->ops->close(c);
    return NULL;
}

static void channels_do_not_disturb_each_other(void **state)
{
    struct vio_block_backend *b = ram(2 * MIB, false);
    struct thread t[4];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        /* Neighbours share a page at their border and all of them one huge page. */
        t[i] = (struct thread){ .b = b, .at = i * (66 * 4096ull + 512), .seed = (uint8_t)(i * 50) };
        assert_int_equal(pthread_create(&t[i].id, NULL, thread_main, &t[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i].id, NULL), 0);
        assert_true(t[i].good);
    }
    vio_block_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(ram_keeps_what_is_written),
        cmocka_unit_test(ram_zeroes_exactly),
        cmocka_unit_test(ram_against_the_model),
        cmocka_unit_test(read_only_refuses),
        cmocka_unit_test(null_does_nothing),
        cmocka_unit_test(channels_do_not_disturb_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
