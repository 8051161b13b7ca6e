/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a shared file that becomes shorter under our feet: the process lives on with zeroes, from several threads at
 * once; and a SIGBUS that is our own fault still ends it.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/guard.h"
#include "cli/loop.h"

enum { PAGE = 4096, PAGES = 64, THREADS = 4 };

static struct loop *loop;
static unsigned pokes;

static void poked(void *ctx)
{
    (void)ctx;
    pokes++;
    loop_stop(loop);
}

static int setup(void **state)
{
    (void)state;
    if (loop_create(&loop) < 0)
        return -1;
    loop_on_poke(loop, poked, NULL);
    return 0;
}

/* In each test: cmocka puts a handler of its own before it. */
static void guard(void)
{
    assert_int_equal(guard_install(loop), 0);
}

static volatile uint8_t *map_file(int *fd)
{
    void *at;

    *fd = memfd_create("guard", MFD_CLOEXEC);
    assert_true(*fd >= 0);
    assert_int_equal(ftruncate(*fd, PAGES * PAGE), 0);
    at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    memset(at, 0x5a, PAGES * PAGE);
    return at;
}

static void test_truncated(void **state)
{
    uintptr_t lost;
    int fd;
    volatile uint8_t *at = map_file(&fd);

    (void)state;
    guard();
    assert_int_equal(ftruncate(fd, 8 * PAGE), 0);
    assert_int_equal(at[7 * PAGE], 0x5a);       /* still the file's */
    assert_int_equal(at[20 * PAGE + 5], 0);     /* gone: zeroes */
    at[20 * PAGE + 5] = 1;                      /* and can be written */
    assert_int_equal(at[20 * PAGE + 5], 1);
    assert_int_equal(at[PAGES * PAGE - 1], 0);  /* all behind it came with it */
    assert_int_equal(at[9 * PAGE], 0);          /* before it: a fault of its own */
    assert_int_equal(at[7 * PAGE], 0x5a);
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(pokes, 1);
    assert_true(guard_take(&lost));
    assert_int_equal(lost, (uintptr_t)at + 20 * PAGE + 5);
    assert_true(guard_take(&lost));
    assert_int_equal(lost, (uintptr_t)at + 9 * PAGE);
    assert_false(guard_take(&lost));
    munmap((void *)(uintptr_t)at, PAGES * PAGE);
    close(fd);
}

struct reader {
    volatile uint8_t *at;
    pthread_barrier_t *barrier;
    unsigned sum;
};

static void *read_all(void *arg)
{
    struct reader *r = arg;

    pthread_barrier_wait(r->barrier);
    for (unsigned i = 0; i < PAGES; i++)
        r->sum += r->at[(PAGES - 1 - i) * PAGE];
    return NULL;
}

/* The same page from several threads: the second to come finds it mended already. */
static void test_threads(void **state)
{
    uintptr_t lost;

    (void)state;
    guard();
    for (unsigned round = 0; round < 20; round++) {
        struct reader r[THREADS];
        pthread_t thread[THREADS];
        pthread_barrier_t barrier;
        int fd;
        volatile uint8_t *at = map_file(&fd);

        pthread_barrier_init(&barrier, NULL, THREADS);
        assert_int_equal(ftruncate(fd, 0), 0);
        for (unsigned i = 0; i < THREADS; i++) {
            r[i] = (struct reader){ .at = at, .barrier = &barrier };
            assert_int_equal(pthread_create(&thread[i], NULL, read_all, &r[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            pthread_join(thread[i], NULL);
            assert_int_equal(r[i].sum, 0);
        }
        pthread_barrier_destroy(&barrier);
        munmap((void *)(uintptr_t)at, PAGES * PAGE);
        close(fd);
        while (guard_take(&lost))
            assert_true(lost >= (uintptr_t)at && lost < (uintptr_t)at + PAGES * PAGE);
    }
}

/* A private mapping of a file is no front-end's memory: that is a fault of ours, and ends the process. */
static void test_own_fault(void **state)
{
    int status;
    pid_t child;

    (void)state;
    guard();
    child = fork();
    if (child == 0) {
        struct rlimit none = { 0, 0 };
        int fd = memfd_create("guard", MFD_CLOEXEC);
        volatile uint8_t *at;

        setrlimit(RLIMIT_CORE, &none);
        if (ftruncate(fd, PAGE) < 0)
            _exit(1);
        at = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
        if (ftruncate(fd, 0) < 0)
            _exit(1);
        _exit(at[0] == 0 ? 2 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_own_fault),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
