/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the file backend where the file is mapped: that what is cached goes this way, and only that; and that a file
 * which is cut under the mapping ends in the errors that system calls would have given, never in zeroes or in writes that
 * are lost. Looks inside (backend/file.h) to see which way a request went. Where it sits: tests/unit/backend; the handler
 * of SIGBUS is the command's own (cli/guard.c).
 */
#include "backend/file.h"
#include "cli/guard.h"
#include "cli/loop.h"
#include "help.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1u << 20)
#define SIZE (4 * MIB)
#define PAGE 4096u

static struct loop *loop;
static const char *const folders[] = { NULL, "/dev/shm" };

struct disk {
    char *path;
    struct vio_block_backend *b;
    struct vio_block_channel *channel;
    struct file_backend *f;
    struct file_channel *c;
    uint8_t *buffer;
};

/* NULL-folder: TMPDIR, whose file system may be one that is not mapped: then there is nothing to test. */
static bool disk_open(struct disk *d, const char *folder, uint64_t size)
{
    struct vio_block_file_params params = { .fd = -1, .bus_faults = guard_faults() };

    assert_int_equal(guard_install(loop), 0); /* cmocka sets its own before each test */
    *d = (struct disk){ .path = file_make(folder, size), .buffer = aligned_alloc(PAGE, SIZE) };
    params.path = d->path;
    assert_int_equal(vio_block_file_open(&params, &d->b, NULL, 0), 0);
    d->f = (struct file_backend *)d->b;
    d->channel = channel_open(d->b, 32);
    d->c = (struct file_channel *)d->channel;
    return atomic_load(&d->f->map) != NULL;
}

static void disk_close(struct disk *d)
{
    d->b->ops->close(d->channel);
    vio_block_close(d->b);
    file_remove(d->path);
    free(d->buffer);
}

static int run(struct disk *d, uint8_t op, uint64_t offset, uint64_t length)
{
    return run_one(d->b, d->channel, op, 0, offset, d->buffer, length, 1);
}

/* The same, and whether it went through the map. */
static bool mapped(struct disk *d, uint8_t op, uint64_t offset, uint64_t length)
{
    uint64_t before = d->c->map_used;

    assert_int_equal(run(d, op, offset, length), 0);
    return d->c->map_used != before;
}

static void skip_unmapped(struct disk *d)
{
    disk_close(d);
    print_message("SKIP: TMPDIR is on a file system that is not mapped\n");
    skip();
}

static void what_is_cached_goes_through_the_map(void **state)
{
    struct disk d;

    (void)state;
    if (!disk_open(&d, NULL, SIZE))
        skip_unmapped(&d);
    assert_false(mapped(&d, VIO_BLOCK_READ, 0, PAGE));
    assert_true(mapped(&d, VIO_BLOCK_READ, 0, PAGE));
    assert_true(mapped(&d, VIO_BLOCK_READ, 512, 512));
    assert_false(mapped(&d, VIO_BLOCK_READ, PAGE - 512, 1024)); /* its second page was not read yet */
    assert_true(mapped(&d, VIO_BLOCK_READ, PAGE - 512, 1024));
    /* The third write in a row: the first may lack room, the second may be the last for long. */
    pattern(d.buffer, PAGE, 0, 9);
    assert_false(mapped(&d, VIO_BLOCK_WRITE, 0, PAGE));
    assert_false(mapped(&d, VIO_BLOCK_WRITE, 0, PAGE));
    assert_true(mapped(&d, VIO_BLOCK_WRITE, 0, PAGE));
    assert_true(mapped(&d, VIO_BLOCK_WRITE, 1024, 512));
    assert_int_equal(run(&d, VIO_BLOCK_FLUSH, 0, 0), 0);
    assert_false(mapped(&d, VIO_BLOCK_WRITE, 0, PAGE));
    assert_int_equal(run_one(d.b, d.channel, VIO_BLOCK_WRITE, VIO_BLOCK_IO_FUA, 0, d.buffer, PAGE, 1), 0);
    /* With a flush between, no write is the third in a row. */
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(run(&d, VIO_BLOCK_FLUSH, 0, 0), 0);
        assert_false(mapped(&d, VIO_BLOCK_WRITE, 8 * PAGE, PAGE));
    }
    assert_false(mapped(&d, VIO_BLOCK_READ, 0, MIB));
    assert_true(mapped(&d, VIO_BLOCK_READ, MIB - 65536, 65536));
    assert_false(mapped(&d, VIO_BLOCK_READ, 0, MIB)); /* long ones do not */
    assert_int_equal(run(&d, VIO_BLOCK_WRITE_ZEROES, 0, PAGE), 0);
    assert_false(mapped(&d, VIO_BLOCK_READ, 0, PAGE));
    assert_true(all_bytes(d.buffer, PAGE, 0));
    disk_close(&d);
}

static void holes_in_memory_stay_holes(void **state)
{
    struct disk d;
    struct stat st;

    (void)state;
    assert_true(disk_open(&d, "/dev/shm", SIZE));
    for (unsigned i = 0; i < 3; i++)
        assert_false(mapped(&d, VIO_BLOCK_READ, i % 2 * PAGE, 2 * PAGE));
    assert_true(all_bytes(d.buffer, 2 * PAGE, 0));
    assert_false(mapped(&d, VIO_BLOCK_WRITE, PAGE, PAGE));
    assert_true(mapped(&d, VIO_BLOCK_WRITE, PAGE, PAGE));
    assert_true(mapped(&d, VIO_BLOCK_READ, PAGE, PAGE));
    assert_false(mapped(&d, VIO_BLOCK_READ, 0, 2 * PAGE));
    assert_int_equal(stat(d.path, &st), 0);
    assert_int_equal(st.st_blocks, PAGE / 512);
    assert_int_equal(run(&d, VIO_BLOCK_DISCARD, 0, 2 * PAGE), 0);
    assert_false(mapped(&d, VIO_BLOCK_READ, PAGE, PAGE));
    assert_int_equal(stat(d.path, &st), 0);
    assert_int_equal(st.st_blocks, 0);
    disk_close(&d);
}

static void the_model(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct disk d;

        (void)disk_open(&d, folders[i], SIZE);
        model_run(d.b, MIB / 2, 60, 77 + i);
        disk_close(&d);
    }
}

/* All of it read or written often enough to go through the map. */
static void warm(struct disk *d, uint8_t seed)
{
    pattern(d->buffer, SIZE, 0, seed);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(run(d, VIO_BLOCK_WRITE, 0, SIZE), 0);
}

static void a_cut_is_an_error_not_zeroes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct request *r[32];
        struct disk d;
        struct stat st;

        if (!disk_open(&d, folders[i], SIZE)) {
            disk_close(&d);
            continue;
        }
        warm(&d, 1);
        assert_int_equal(truncate(d.path, 25 * PAGE), 0);
        for (unsigned k = 0; k < 32; k++)
            r[k] = request_make(VIO_BLOCK_READ, 0, k * PAGE, d.buffer + k * PAGE, PAGE, 1 + k % 2);
        requests_run(d.b, d.channel, r, 32);
        for (unsigned k = 0; k < 32; k++) {
            assert_int_equal(r[k]->io.result, k < 25 ? 0 : -EIO);
            free(r[k]);
        }
        assert_true(pattern_is(d.buffer, 25 * PAGE, 0, 1));
        /* The map is made anew, and serves what is there. */
        memset(d.buffer, 0, PAGE);
        assert_true(mapped(&d, VIO_BLOCK_READ, 24 * PAGE, PAGE));
        assert_true(pattern_is(d.buffer, PAGE, 24 * PAGE, 1));
        /* A write behind the end makes the file longer, as pwrite() does. */
        warm(&d, 2);
        assert_int_equal(truncate(d.path, 25 * PAGE), 0);
        pattern(d.buffer, PAGE, 0, 5);
        assert_int_equal(run(&d, VIO_BLOCK_WRITE, 40 * PAGE, PAGE), 0);
        assert_int_equal(stat(d.path, &st), 0);
        assert_int_equal(st.st_size, 41 * PAGE);
        memset(d.buffer, 0, PAGE);
        assert_int_equal(run(&d, VIO_BLOCK_READ, 40 * PAGE, PAGE), 0);
        assert_true(pattern_is(d.buffer, PAGE, 0, 5));
        disk_close(&d);
    }
}

static void again_and_again_ends_the_map(void **state)
{
    unsigned rounds = 0;
    struct disk d;

    (void)state;
    assert_true(disk_open(&d, "/dev/shm", SIZE));
    for (; rounds < 100; rounds++) {
        assert_int_equal(truncate(d.path, SIZE), 0);
        warm(&d, 3);
        if (!mapped(&d, VIO_BLOCK_READ, 0, PAGE))
            break;
        assert_int_equal(truncate(d.path, 2 * PAGE), 0);
        assert_int_equal(run(&d, VIO_BLOCK_READ, MIB, PAGE), -EIO);
    }
    assert_true(rounds > 2 && rounds < 50);
    assert_int_equal(run(&d, VIO_BLOCK_READ, 0, PAGE), 0);
    /* Until somebody says that the file is what it should be. */
    assert_int_equal(d.b->ops->refresh(d.b), 0);
    warm(&d, 4);
    assert_true(mapped(&d, VIO_BLOCK_READ, MIB, PAGE));
    disk_close(&d);
}

static void a_larger_file_is_mapped_larger(void **state)
{
    struct disk d;

    (void)state;
    assert_true(disk_open(&d, "/dev/shm", MIB));
    assert_int_equal(truncate(d.path, SIZE), 0);
    assert_int_equal(d.b->ops->refresh(d.b), 0);
    assert_false(mapped(&d, VIO_BLOCK_WRITE, SIZE - PAGE, PAGE));
    assert_true(mapped(&d, VIO_BLOCK_WRITE, SIZE - PAGE, PAGE));
    disk_close(&d);
}

/* Pages of the file that this process has mapped. */
static unsigned long mapped_kib(const char *path)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    unsigned long kib = 0, value;
    char line[512];
    bool ours = false;

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        if (strchr(line, '-') && strchr(line, ':') && !strstr(line, "kB"))
            ours = strstr(line, path) != NULL;
        else if (ours && sscanf(line, "Rss: %lu kB", &value) == 1)
            kib += value;
    }
    fclose(maps);
    return kib;
}

/* An idle channel gives its pages back after a while, with one wake-up, and then sleeps for good. */
static void an_idle_channel_holds_no_pages(void **state)
{
    struct pollfd p;
    struct disk d;
    unsigned wakes = 0;

    (void)state;
    assert_true(disk_open(&d, "/dev/shm", SIZE));
    warm(&d, 6);
    for (unsigned i = 0; i < SIZE / PAGE; i++)
        assert_true(mapped(&d, VIO_BLOCK_READ, i * PAGE, PAGE));
    assert_true(mapped_kib(d.path) >= SIZE / 2 / 1024);
    p = (struct pollfd){ .fd = d.b->ops->fd(d.channel), .events = POLLIN };
    while (!d.b->ops->arm(d.channel, true) && poll(&p, 1, 2500) > 0) {
        d.b->ops->arm(d.channel, false);
        assert_true(++wakes < 4);
    }
    if (d.c->ring_failed) {
        disk_close(&d);
        print_message("SKIP: no io_uring here, and so no timer\n");
        skip();
    }
    assert_int_equal(wakes, 1);
    d.b->ops->arm(d.channel, false);
    assert_int_equal(mapped_kib(d.path), 0);
    assert_true(mapped(&d, VIO_BLOCK_READ, 0, PAGE));
    assert_true(pattern_is(d.buffer, PAGE, 0, 6));
    disk_close(&d);
}

struct cutter {
    struct disk *d;
    pthread_t id;
    unsigned nr;
    unsigned good, bad, wrong;
};

/* Reads what never changes, if it is there. */
static void *read_on(void *arg)
{
    struct cutter *t = arg;
    struct vio_block_channel *c = channel_open(t->d->b, 4);
    uint8_t *page = aligned_alloc(PAGE, PAGE);

    for (unsigned i = 0; i < 4000; i++) {
        uint64_t at = (uint64_t)((i * 31 + t->nr * 7) % (SIZE / PAGE)) * PAGE;
        int result = run_one(t->d->b, c, VIO_BLOCK_READ, 0, at, page, PAGE, 1);

        t->good += result == 0;
        t->bad += result == -EIO;
        /* Cut and made long again between, it is a hole; a page of ours that stood in for it would be the bug. */
        t->wrong += result == 0 && at < SIZE / 2 && !pattern_is(page, PAGE, at, 8);
    }
    free(page);
    t->d->b->ops->close(c);
    return NULL;
}

/* The second half comes and goes; what stands in for its pages must not show in the first half, nor end as data. */
static void threads_and_a_file_that_is_cut(void **state)
{
    struct timespec nap = { .tv_nsec = 3000000 };
    struct cutter t[3] = { 0 };
    struct disk d;

    (void)state;
    assert_true(disk_open(&d, "/dev/shm", SIZE));
    warm(&d, 8);
    for (unsigned i = 0; i < 3; i++) {
        t[i] = (struct cutter){ .d = &d, .nr = i };
        assert_int_equal(pthread_create(&t[i].id, NULL, read_on, &t[i]), 0);
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(truncate(d.path, SIZE / 2), 0);
        nanosleep(&nap, NULL);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(t[i].id, NULL), 0);
        assert_int_equal(t[i].good + t[i].bad, 4000);
        assert_true(t[i].good >= 2000 && t[i].wrong == 0);
    }
    disk_close(&d);
}

static int setup(void **state)
{
    (void)state;
    return loop_create(&loop);
}

static int teardown(void **state)
{
    (void)state;
    loop_destroy(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_cached_goes_through_the_map),
        cmocka_unit_test(holes_in_memory_stay_holes),
        cmocka_unit_test(the_model),
        cmocka_unit_test(a_cut_is_an_error_not_zeroes),
        cmocka_unit_test(again_and_again_ends_the_map),
        cmocka_unit_test(a_larger_file_is_mapped_larger),
        cmocka_unit_test(an_idle_channel_holds_no_pages),
        cmocka_unit_test(threads_and_a_file_that_is_cut),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
