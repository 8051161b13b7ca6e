/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the file backend on real files: buffered and O_DIRECT, in TMPDIR (a disk's file system, if it is one) and
 * in /dev/shm, with and without io_uring. Where it sits: tests/unit/backend.
 */
#include "help.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1u << 20)
#define SIZE (4 * MIB)

static struct vio_block_backend *file_open(const char *path, bool direct)
{
    struct vio_block_file_params params = { .path = path, .fd = -1, .direct = direct };
    struct vio_block_backend *b = NULL;
    char why[300] = "";
    int ret = vio_block_file_open(&params, &b, why, sizeof why);

    if (ret < 0) {
        print_message("SKIP: %s\n", why);
        assert_true(direct); /* only O_DIRECT may be missing */
        return NULL;
    }
    return b;
}

/* Every way that a test runs through: file system and O_DIRECT. */
static const struct { const char *folder; bool direct; } ways[] = {
    { NULL, false }, { NULL, true }, { "/dev/shm", false }, { "/dev/shm", true },
};
#define WAYS (sizeof ways / sizeof ways[0])

static int try_open(const char *path, int fd, bool read_only, bool no_lock, struct vio_block_backend **b, char *why)
{
    struct vio_block_file_params params = { .path = path, .fd = fd, .read_only = read_only, .no_lock = no_lock };

    why[0] = 0;
    return vio_block_file_open(&params, b, why, 300);
}

static void bad_files_are_refused(void **state)
{
    struct vio_block_backend *b = NULL;
    char *path = file_make(NULL, 1000), why[300];
    int fd;

    (void)state;
    assert_int_equal(try_open(path, -1, false, false, &b, why), -EINVAL);
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "1000 bytes"));
    assert_non_null(strstr(why, "512 and 1024"));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(try_open(path, -1, false, false, &b, why), -EINVAL);
    assert_non_null(strstr(why, "is empty"));
    assert_int_equal(truncate(path, 512), 0);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(try_open(NULL, fd, false, false, &b, why), -EACCES);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC); /* not taken */
    assert_int_equal(try_open(NULL, fd, true, false, &b, why), 0);
    vio_block_close(b);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken */
    unlink(path);
    assert_int_equal(try_open(path, -1, false, false, &b, why), -ENOENT);
    assert_non_null(strstr(why, "truncate"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(try_open(path, -1, false, false, &b, why), -EINVAL);
    assert_non_null(strstr(why, "pipe"));
    assert_int_equal(try_open("/dev/null", -1, false, false, &b, why), -EINVAL);
    assert_true(try_open("/tmp", -1, false, false, &b, why) < 0);
    assert_int_equal(try_open("/tmp", -1, true, false, &b, why), -EINVAL);
    assert_non_null(strstr(why, "directory"));
    file_remove(path);
}

static void written_is_read(struct vio_block_backend *b, unsigned odd)
{
    /* offset, length, pieces */
    static const struct { uint64_t at, n; uint32_t pieces; } shape[] = {
        { 0, 512, 1 }, { 512, 512, 1 }, { 4096, 4096, 1 }, { 512, 4096, 8 }, { 8192, 65536, 16 }, { 1536, 1 * MIB, 128 },
        { SIZE - MIB, MIB, 2 }, { 0, 1024 * 1024, 1500 }, { 512, 3 * MIB, 7 }, { 4096, 5120, 3 },
    };
    struct vio_block_channel *c = channel_open(b, 64);
    uint8_t *out = (uint8_t *)aligned_alloc(4096, SIZE + 4096) + odd, *in = (uint8_t *)aligned_alloc(4096, SIZE + 4096) + odd;
    uint8_t *all = malloc(SIZE);

    memset(all, 0, SIZE);
    for (unsigned i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        uint64_t at = shape[i].at, n = shape[i].n;

        pattern(out, n, at, (uint8_t)i);
        memcpy(all + at, out, n);
        assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, i % 4 == 1 ? VIO_BLOCK_IO_FUA : 0, at, out, n, shape[i].pieces), 0);
        assert_true(pattern_is(out, n, at, (uint8_t)i));
        memset(in, 0xee, n);
        assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, at, in, n, shape[i].pieces), 0);
        assert_true(pattern_is(in, n, at, (uint8_t)i));
    }
    assert_int_equal(run_one(b, c, VIO_BLOCK_FLUSH, 0, 0, NULL, 0, 0), 0);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, in, SIZE, 4), 0);
    assert_memory_equal(in, all, SIZE);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, SIZE, in, 512, 1), -EIO);
    assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, 0, UINT64_MAX - 511, in, 512, 1), -EIO);
    assert_int_equal(run_one(b, c, 77, 0, 0, in, 512, 1), -EOPNOTSUPP);
    b->ops->close(c);
    free(all);
    free(out - odd);
    free(in - odd);
}

static void what_is_written_is_read(void **state)
{
    static const unsigned odd[] = { 0, 512, 1 };

    (void)state;
    for (unsigned i = 0; i < 3 * WAYS; i++) {
        char *path = file_make(ways[i / 3].folder, SIZE);
        struct vio_block_backend *b = file_open(path, ways[i / 3].direct);

        if (b)
            written_is_read(b, odd[i % 3]);
        vio_block_close(b);
        file_remove(path);
    }
}

static void against_the_model(void **state)
{
    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        char *path = file_make(ways[way].folder, SIZE);
        struct vio_block_backend *b = file_open(path, ways[way].direct);

        if (b)
            model_run(b, MIB / 2, 25, way + 1);
        vio_block_close(b);
        file_remove(path);
    }
}

static void many_at_once(void **state)
{
    enum { DEPTH = 128, BLOCK = 4096 };

    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        char *path = file_make(ways[way].folder, DEPTH * BLOCK);
        struct vio_block_backend *b = file_open(path, ways[way].direct);
        uint8_t *buffer = aligned_alloc(4096, DEPTH * BLOCK);
        struct request *r[DEPTH];
        struct vio_block_channel *c;

        if (!b) {
            free(buffer);
            file_remove(path);
            continue;
        }
        c = channel_open(b, DEPTH);
        for (unsigned round = 0; round < 6; round++) {
            bool write = round % 2 == 0;

            pattern(buffer, DEPTH * BLOCK, 0, (uint8_t)(write ? round : 200));
            for (unsigned i = 0; i < DEPTH; i++) /* in some order */
                r[i] = request_make(write ? VIO_BLOCK_WRITE : VIO_BLOCK_READ, 0, (uint64_t)(i * 37 % DEPTH) * BLOCK,
                                    buffer + (size_t)(i * 37 % DEPTH) * BLOCK, BLOCK, 1 + i % 3);
            /* Not cached every other time, so that hits and misses mix. */
            if (round % 4 == 1) {
                int fd = open(path, O_RDWR | O_CLOEXEC);

                assert_int_equal(fdatasync(fd), 0);
                posix_fadvise(fd, 0, DEPTH * BLOCK / 2, POSIX_FADV_DONTNEED);
                close(fd);
            }
            requests_run(b, c, r, DEPTH);
            for (unsigned i = 0; i < DEPTH; i++) {
                assert_int_equal(r[i]->io.result, 0);
                free(r[i]);
            }
            if (!write)
                assert_true(pattern_is(buffer, DEPTH * BLOCK, 0, (uint8_t)(round - 1)));
        }
        b->ops->close(c);
        vio_block_close(b);
        free(buffer);
        file_remove(path);
    }
}

static void a_file_cut_under_us_is_an_error(void **state)
{
    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        char *path = file_make(ways[way].folder, SIZE);
        struct vio_block_backend *b = file_open(path, ways[way].direct);
        uint8_t *buffer = aligned_alloc(4096, MIB);
        struct request *r[32];
        struct vio_block_channel *c;

        if (b) {
            c = channel_open(b, 32);
            pattern(buffer, MIB, 0, 1);
            assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, 0, 0, buffer, MIB, 1), 0);
            assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, MIB, 1), 0);
            assert_int_equal(truncate(path, 100 * 1024 + 512), 0);
            assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, MIB, 1), -EIO);
            assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 512 * 1024, buffer, 4096, 1), -EIO);
            assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 100 * 1024, buffer, 4096, 2), -EIO);
            assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 100 * 1024, buffer + 1, 4096, 1), -EIO);
            assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, 4096, 1), 0);
            assert_true(pattern_is(buffer, 4096, 0, 1));
            for (unsigned i = 0; i < 32; i++)
                r[i] = request_make(VIO_BLOCK_READ, 0, i * 4096, buffer + i * 4096, 4096, 1);
            requests_run(b, c, r, 32);
            for (unsigned i = 0; i < 32; i++) {
                assert_int_equal(r[i]->io.result, i < 25 ? 0 : -EIO);
                free(r[i]);
            }
            b->ops->close(c);
        }
        vio_block_close(b);
        free(buffer);
        file_remove(path);
    }
}

static void zeroes_and_discards_are_exact(void **state)
{
    static const struct { uint64_t at, n; } range[] = { { 512, 512 }, { 4096, 8192 }, { 1536, 70144 }, { 0, SIZE } };
    uint8_t *all = aligned_alloc(4096, SIZE);

    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        char *path = file_make(ways[way].folder, SIZE);
        struct vio_block_backend *b = file_open(path, ways[way].direct);
        struct vio_block_channel *c = b ? channel_open(b, 8) : NULL;

        for (unsigned i = 0; b && i < 4 * sizeof range / sizeof range[0]; i++) {
            uint64_t at = range[i / 4].at, n = range[i / 4].n;
            uint8_t op = i % 4 == 0 ? VIO_BLOCK_DISCARD : VIO_BLOCK_WRITE_ZEROES;
            uint8_t flags = (uint8_t)((i % 4 == 1 ? VIO_BLOCK_IO_UNMAP : 0) | (i % 4 == 3 ? VIO_BLOCK_IO_FUA : 0));
            struct stat st;

            pattern(all, SIZE, 0, 2);
            assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, 0, 0, all, SIZE, 1), 0);
            assert_int_equal(run_one(b, c, op, flags, at, NULL, n, 0), 0);
            assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, all, SIZE, 1), 0);
            assert_true(pattern_is(all, at, 0, 2));
            assert_true(all_bytes(all + at, n, 0));
            assert_true(pattern_is(all + at + n, SIZE - at - n, at + n, 2));
            assert_int_equal(stat(path, &st), 0);
            assert_int_equal(st.st_size, SIZE);
            if (n == SIZE && i % 4 < 2) /* really given back */
                assert_true(st.st_blocks < SIZE / 512 / 4);
        }
        if (b) {
            assert_int_equal(run_one(b, c, VIO_BLOCK_SECURE_ERASE, 0, 0, NULL, 512, 0), -EOPNOTSUPP);
            b->ops->close(c);
        }
        vio_block_close(b);
        file_remove(path);
    }
    free(all);
}

static void the_size_follows_the_file(void **state)
{
    char *path = file_make(NULL, SIZE);
    struct vio_block_backend *b = file_open(path, false);
    struct vio_block_channel *c = channel_open(b, 8);
    uint8_t sector[512];

    (void)state;
    assert_int_equal(backend_size(b), SIZE);
    assert_int_equal(truncate(path, SIZE + 3 * 512 + 100), 0);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, SIZE, sector, 512, 1), -EIO);
    assert_int_equal(b->ops->refresh(b), 0);
    assert_int_equal(backend_size(b), SIZE + 3 * 512);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, SIZE + 2 * 512, sector, 512, 1), 0);
    assert_int_equal(truncate(path, 512), 0);
    assert_int_equal(b->ops->refresh(b), 0);
    assert_int_equal(backend_size(b), 512);
    assert_int_equal(truncate(path, 0), 0);
    assert_true(b->ops->refresh(b) < 0);
    b->ops->close(c);
    vio_block_close(b);
    file_remove(path);
}

static void a_second_writer_is_refused(void **state)
{
    struct vio_block_backend *first = NULL, *second = NULL, *third = NULL;
    char *path = file_make(NULL, SIZE), why[300], command[600];
    bool qemu;

    (void)state;
    assert_int_equal(try_open(path, -1, false, false, &first, why), 0);
    assert_int_equal(try_open(path, -1, false, false, &second, why), -EBUSY);
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "in use"));
    assert_int_equal(try_open(path, -1, true, false, &second, why), -EBUSY);
    assert_int_equal(try_open(path, -1, false, true, &second, why), 0); /* asked for */
    vio_block_close(second);
    qemu = system("qemu-io --version >/dev/null 2>&1") == 0;
    snprintf(command, sizeof command, "qemu-io -f raw -c 'write 0 512' %s >/dev/null 2>&1", path);
    if (!qemu)
        print_message("SKIP: no qemu-io: that QEMU sees our lock is not tried\n");
    else
        assert_int_not_equal(system(command), 0);
    vio_block_close(first);
    assert_int_equal(try_open(path, -1, true, false, &first, why), 0);
    assert_int_equal(try_open(path, -1, true, false, &second, why), 0);
    assert_int_equal(try_open(path, -1, false, false, &third, why), -EBUSY);
    if (qemu)
        assert_int_not_equal(system(command), 0);
    vio_block_close(first);
    vio_block_close(second);
    assert_int_equal(try_open(path, -1, false, false, &first, why), 0);
    vio_block_close(first);
    if (qemu)
        assert_int_equal(system(command), 0); /* it was the lock */
    file_remove(path);
}

/* A full file system ends a write with its own error, and what was there stays. */
static void a_full_file_system(void **state)
{
    char folder[] = "/tmp/vio-test-XXXXXX", *path;
    struct vio_block_backend *b;
    struct vio_block_channel *c;
    uint8_t *buffer;

    (void)state;
    assert_non_null(mkdtemp(folder));
    if (mount("vio-test", folder, "tmpfs", 0, "size=1m") < 0) {
        rmdir(folder);
        print_message("SKIP: a small tmpfs cannot be mounted here: %s\n", strerror(errno));
        skip();
    }
    path = file_make(folder, SIZE);
    b = file_open(path, false);
    c = channel_open(b, 8);
    buffer = malloc(2 * MIB);
    pattern(buffer, 2 * MIB, 0, 3);
    assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, 0, 0, buffer, 4096, 1), 0);
    assert_int_equal(run_one(b, c, VIO_BLOCK_WRITE, 0, 4096, buffer, 2 * MIB, 3), -ENOSPC);
    assert_int_equal(run_one(b, c, VIO_BLOCK_READ, 0, 0, buffer, 4096, 1), 0);
    assert_true(pattern_is(buffer, 4096, 0, 3));
    b->ops->close(c);
    vio_block_close(b);
    file_remove(path);
    assert_int_equal(umount(folder), 0);
    rmdir(folder);
    free(buffer);
}

/* The kernel says no to io_uring, as in many containers: all must still work. */
static void without_io_uring(void **state)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof code[0], code };
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
            _exit(77);
        what_is_written_is_read(state);
        against_the_model(state);
        zeroes_and_discards_are_exact(state);
        a_file_cut_under_us_is_an_error(state);
        _exit(42); /* a failed assertion in here ends otherwise */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("SKIP: seccomp cannot be used here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void registered_memory(void **state)
{
    char *path = file_make(NULL, SIZE);
    struct vio_block_file_params params = { .path = path, .fd = -1, .direct = true, .register_memory = true };
    uint8_t *a = aligned_alloc(4096, MIB), *b = aligned_alloc(4096, MIB), *strange = aligned_alloc(4096, MIB);
    struct vio_seg region[2] = { { a > b ? a : b, MIB }, { a > b ? b : a, MIB } };
    struct vio_block_memory memory = { region, 2 };
    struct vio_block_backend *backend = NULL;
    struct vio_block_channel *c = NULL;
    char why[300];

    (void)state;
    if (vio_block_file_open(&params, &backend, why, sizeof why) < 0) {
        file_remove(path);
        print_message("SKIP: %s\n", why);
        skip();
    }
    assert_int_equal(backend->ops->open(backend, 8, &memory, &c), 0);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *buffers[3] = { a, b, strange }, *buffer = buffers[i];

        pattern(buffer, MIB, i * MIB, 4);
        assert_int_equal(run_one(backend, c, VIO_BLOCK_WRITE, 0, i * MIB, buffer, MIB, 1), 0);
        memset(buffer, 0, MIB);
        assert_int_equal(run_one(backend, c, VIO_BLOCK_READ, 0, i * MIB, buffer, MIB, 1), 0);
        assert_true(pattern_is(buffer, MIB, i * MIB, 4));
        if (i == 1) { /* one region goes */
            memory.nr = 1;
            backend->ops->memory_changed(c, &memory);
        }
    }
    assert_int_equal(run_one(backend, c, VIO_BLOCK_READ, 0, MIB, a, 4096, 1), 0);
    assert_true(pattern_is(a, 4096, MIB, 4));
    backend->ops->memory_changed(c, NULL);
    assert_int_equal(run_one(backend, c, VIO_BLOCK_READ, 0, 0, b, 4096, 1), 0);
    assert_true(pattern_is(b, 4096, 0, 4));
    backend->ops->close(c);
    vio_block_close(backend);
    file_remove(path);
    free(a);
    free(b);
    free(strange);
}

struct thread {
    struct vio_block_backend *b;
    unsigned nr, threads;
    bool good;
    pthread_t id;
};

/* Each thread owns every n-th sector; all blocks are shared between all. */
static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct vio_block_channel *c = channel_open(t->b, 4);
    uint8_t out[512], in[512];

    t->good = true;
    for (unsigned i = 0; i < 400; i++) {
        uint64_t at = 512ull * (t->nr + t->threads * (i % 100));

        pattern(out, 512, at, (uint8_t)(i + t->nr * 30));
        t->good &= run_one(t->b, c, VIO_BLOCK_WRITE, 0, at, out, 512, 1) == 0;
        t->good &= run_one(t->b, c, VIO_BLOCK_READ, 0, at, in, 512, 1) == 0;
        t->good &= pattern_is(in, 512, at, (uint8_t)(i + t->nr * 30));
    }
    t->b->ops->close(c);
    return NULL;
}

static void channels_do_not_lose_each_others_sectors(void **state)
{
    (void)state;
    for (unsigned way = 0; way < WAYS; way++) {
        char *path = file_make(ways[way].folder, SIZE);
        struct vio_block_backend *b = file_open(path, ways[way].direct);
        struct thread t[3];

        for (unsigned i = 0; b && i < 3; i++) {
            t[i] = (struct thread){ .b = b, .nr = i, .threads = 3 };
            assert_int_equal(pthread_create(&t[i].id, NULL, thread_main, &t[i]), 0);
        }
        for (unsigned i = 0; b && i < 3; i++) {
            assert_int_equal(pthread_join(t[i].id, NULL), 0);
            assert_true(t[i].good);
        }
        vio_block_close(b);
        file_remove(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(against_the_model),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(a_file_cut_under_us_is_an_error),
        cmocka_unit_test(zeroes_and_discards_are_exact),
        cmocka_unit_test(the_size_follows_the_file),
        cmocka_unit_test(a_second_writer_is_refused),
        cmocka_unit_test(a_full_file_system),
        cmocka_unit_test(without_io_uring),
        cmocka_unit_test(registered_memory),
        cmocka_unit_test(channels_do_not_lose_each_others_sectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
