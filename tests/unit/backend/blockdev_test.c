/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the file backend on block devices (loop), of 512 and of 4096-byte blocks; what it reads of sysfs; and the
 * lock of a process that was killed. Where it sits: tests/unit/backend. The devices need root; skipped without.
 */
#include "backend/file.h"
#include "help.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1u << 20)
#define SIZE (4 * MIB)

struct loop {
    char path[32], *image;
    int fd;
};

static bool loop_make(struct loop *loop, uint32_t block)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file, nr = -1;
    struct loop_config config = { .block_size = block, .info.lo_flags = LO_FLAGS_AUTOCLEAR };

    loop->fd = -1;
    loop->image = file_make(NULL, SIZE);
    file = open(loop->image, O_RDWR | O_CLOEXEC);
    if (control >= 0 && file >= 0) {
        nr = ioctl(control, LOOP_CTL_GET_FREE);
        snprintf(loop->path, sizeof loop->path, "/dev/loop%d", nr);
        loop->fd = nr < 0 ? -1 : open(loop->path, O_RDWR | O_CLOEXEC);
        config.fd = (unsigned)file;
        if (loop->fd >= 0 && ioctl(loop->fd, LOOP_CONFIGURE, &config) < 0) {
            close(loop->fd);
            loop->fd = -1;
        }
    }
    if (control >= 0)
        close(control);
    if (file >= 0)
        close(file);
    if (loop->fd < 0)
        file_remove(loop->image);
    return loop->fd >= 0;
}

static void loop_free(struct loop *loop)
{
    close(loop->fd); /* the last one: it clears itself */
    file_remove(loop->image);
}

static struct vio_block_backend *device_open(const char *path, bool direct)
{
    struct vio_block_file_params params = { .path = path, .fd = -1, .direct = direct };
    struct vio_block_backend *b = NULL;
    char why[300] = "";

    if (vio_block_file_open(&params, &b, why, sizeof why) < 0)
        fail_msg("%s", why);
    return b;
}

struct thread {
    struct vio_block_backend *b;
    unsigned nr;
    bool good;
    pthread_t id;
};

/*
 * Three threads own every fourth sector each, so that all blocks of 4096 are shared; the last thread writes whole
 * blocks behind them.
 */
static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct vio_block_channel *c = channel_open(t->b, 4);
    uint8_t *out = aligned_alloc(4096, 4096), *in = aligned_alloc(4096, 4096);

    t->good = true;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t n = t->nr < 3 ? 512 : 4096;
        uint64_t at = t->nr < 3 ? 512ull * (t->nr + 4 * (i % 60)) : 2 * MIB + 4096ull * (i % 60);

        pattern(out, n, at, (uint8_t)(i + t->nr * 30));
        t->good &= run_one(t->b, c, VIO_BLOCK_WRITE, 0, at, out, n, 1) == 0;
        t->good &= run_one(t->b, c, VIO_BLOCK_READ, 0, at, in, n, 1) == 0;
        t->good &= pattern_is(in, n, at, (uint8_t)(i + t->nr * 30));
    }
    t->b->ops->close(c);
    free(out);
    free(in);
    return NULL;
}

static void run_threads(struct vio_block_backend *b)
{
    struct thread t[4];

    for (unsigned i = 0; i < 4; i++) {
        t[i] = (struct thread){ .b = b, .nr = i };
        assert_int_equal(pthread_create(&t[i].id, NULL, thread_main, &t[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i].id, NULL), 0);
        assert_true(t[i].good);
    }
}

static void devices_of_both_block_sizes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t block = i < 2 ? 512 : 4096;
        struct vio_block_backend *b;
        struct vio_block_info info;
        struct loop loop;

        if (!loop_make(&loop, block)) {
            print_message("SKIP: no loop device of blocks of %u can be made here\n", block);
            skip();
        }
        b = device_open(loop.path, i % 2);
        assert_int_equal(b->ops->info(b, &info), 0);
        assert_int_equal(info.size, SIZE);
        assert_int_equal(info.logical_block, block);
        assert_true(info.can_discard);
        assert_true(info.can_zero);
        assert_false(info.can_secure_erase);
        assert_false(info.has_lifetime);
        model_run(b, MIB / 2, 40, i);
        run_threads(b);
        vio_block_close(b);
        loop_free(&loop);
    }
}

/* What the slow lane has not begun ends at once, and was not done. */
static void what_is_cancelled_was_not_done(void **state)
{
    enum { NR = 400 };
    struct vio_block_backend *b;
    struct vio_block_channel *c;
    struct request *r[NR];
    unsigned in_flight, cancelled = 0;
    uint8_t out[512], *in;
    struct loop loop;

    (void)state;
    if (!loop_make(&loop, 4096)) {
        print_message("SKIP: no loop device of blocks of 4096 can be made here\n");
        skip();
    }
    in = malloc(512 * NR);
    assert_non_null(in);
    b = device_open(loop.path, true);
    c = channel_open(b, NR);
    memset(out, 1, 512);
    for (unsigned i = 0; i < NR; i++)
        r[i] = request_make(VIO_BLOCK_WRITE, VIO_BLOCK_IO_FUA, i * 512, out, 512, 1);
    in_flight = requests_send(b, c, r, NR);
    assert_int_equal(in_flight, NR);
    b->ops->cancel(c);
    requests_wait(b, c, in_flight);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, in, 512 * NR, 1), 0);
    for (unsigned i = 0; i < NR; i++) {
        assert_true(r[i]->io.result == 0 || r[i]->io.result == -ECANCELED);
        assert_true(all_bytes(in + 512 * i, 512, r[i]->io.result == 0));
        cancelled += r[i]->io.result == -ECANCELED;
        free(r[i]);
    }
    assert_true(cancelled > NR / 2);
    b->ops->close(c);
    vio_block_close(b);
    loop_free(&loop);
    free(in);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[200];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void lifetime_is_read(void **state)
{
    char dir[] = "/tmp/vio-test-XXXXXX", device[64], path[200];
    struct vio_block_info info = { 0 };

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(device, sizeof device, "%s/device", dir);
    assert_int_equal(mkdir(device, 0700), 0);
    assert_false(file_probe_lifetime(dir, &info));
    write_text(device, "life_time", "0x02 0x0b\n");
    assert_false(file_probe_lifetime(dir, &info));
    write_text(device, "pre_eol_info", "nonsense\n");
    assert_false(file_probe_lifetime(dir, &info));
    assert_false(info.has_lifetime);
    write_text(device, "pre_eol_info", "0x03\n");
    assert_true(file_probe_lifetime(dir, &info));
    assert_true(info.has_lifetime);
    assert_int_equal(info.life_a, 2);
    assert_int_equal(info.life_b, 11);
    assert_int_equal(info.pre_eol, 3);
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

/* Killed with requests on their way: whoever comes next gets the lock soon, and not before these are done. */
static void the_lock_of_a_killed_process_ends(void **state)
{
    char *path = file_make(NULL, 64 * MIB);

    (void)state;
    for (unsigned round = 0; round < 5; round++) {
        struct vio_block_backend *b;
        int pipes[2], status;
        char byte;
        pid_t pid;

        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct request *r[64];
            struct vio_block_channel *c;
            uint8_t *buffer = aligned_alloc(4096, MIB);

            b = device_open(path, true);
            c = channel_open(b, 64);
            memset(buffer, (int)round, MIB);
            for (unsigned i = 0; i < 64; i++)
                r[i] = request_make(VIO_BLOCK_WRITE, VIO_BLOCK_IO_FUA, i * MIB, buffer, MIB, 1);
            requests_send(b, c, r, 64);
            (void)!write(pipes[1], "x", 1);
            for (;;)
                pause();
        }
        close(pipes[1]);
        assert_int_equal(read(pipes[0], &byte, 1), 1);
        close(pipes[0]);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        b = device_open(path, true);
        vio_block_close(b);
    }
    file_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_of_both_block_sizes),
        cmocka_unit_test(what_is_cancelled_was_not_done),
        cmocka_unit_test(lifetime_is_read),
        cmocka_unit_test(the_lock_of_a_killed_process_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
