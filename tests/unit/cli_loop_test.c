/* SPDX-License-Identifier: MIT */
/* Purpose: the control thread's loop: watches that change and end inside their own calls, deadlines, pokes. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/loop.h"

static struct loop *loop;
static unsigned calls, other_calls, timer_calls, poke_calls;
static int other_fd;
static short seen;

static int setup(void **state)
{
    (void)state;
    calls = other_calls = timer_calls = poke_calls = 0;
    return loop_create(&loop);
}

static int teardown(void **state)
{
    (void)state;
    loop_destroy(loop);
    return 0;
}

static int ready_fd(void)
{
    int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void stop_call(void *ctx, int fd, short revents)
{
    (void)ctx;
    (void)fd;
    seen = revents;
    if (++calls == 3)
        loop_stop(loop);
}

static void stop_timer(void *ctx)
{
    (void)ctx;
    timer_calls++;
    loop_stop(loop);
}

static void test_level(void **state)
{
    int fd = ready_fd();

    (void)state;
    assert_int_equal(loop_watch(loop, fd, POLLIN, stop_call, NULL), 0);
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(calls, 3); /* again and again while it is readable */
    assert_int_equal(seen, POLLIN);
    assert_int_equal(loop_watch(loop, fd, POLLIN | POLLOUT, stop_call, NULL), 0);
    calls = 2;
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(seen, POLLIN | POLLOUT);
    close(fd);
}

static void other_call(void *ctx, int fd, short revents)
{
    (void)ctx;
    (void)fd;
    (void)revents;
    other_calls++;
}

/* Ends the watch of the other one, whose event is in the same batch, and puts another descriptor in its place. */
static void replaces(void *ctx, int fd, short revents)
{
    struct loop_timer *timer = ctx;
    int reused;

    (void)revents;
    loop_unwatch(loop, fd);
    loop_unwatch(loop, other_fd);
    close(other_fd);
    reused = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_int_equal(reused, other_fd);
    assert_int_equal(loop_watch(loop, reused, POLLIN, other_call, NULL), 0);
    loop_timer_set(loop, timer, 20);
}

static void test_stale_event(void **state)
{
    struct loop_timer timer = { .call = stop_timer };
    int fd = ready_fd();

    (void)state;
    other_fd = ready_fd();
    assert_int_equal(loop_watch(loop, fd, POLLIN, replaces, &timer), 0);
    assert_int_equal(loop_watch(loop, other_fd, POLLIN, other_call, NULL), 0);
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(other_calls, 0); /* the old one's event is not the new one's */
    assert_int_equal(timer_calls, 1);
    close(fd);
    close(other_fd);
}

/* A number that was closed behind our back and opened again is watched again. */
static void test_closed_behind(void **state)
{
    int fd = ready_fd(), again;

    (void)state;
    assert_int_equal(loop_watch(loop, fd, POLLIN, other_call, NULL), 0);
    close(fd);
    again = ready_fd();
    assert_int_equal(again, fd);
    assert_int_equal(loop_watch(loop, again, POLLIN, stop_call, NULL), 0);
    calls = 2;
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(other_calls, 0);
    loop_unwatch(loop, again);
    loop_unwatch(loop, again); /* twice is fine */
    close(again);
}

static void test_many(void **state)
{
    int fd[100];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        assert_int_equal(loop_watch(loop, fd[i], POLLIN, other_call, NULL), 0);
    }
    assert_int_equal(loop_watch(loop, fd[99], POLLIN, stop_call, NULL), 0);
    assert_int_equal(eventfd_write(fd[99], 1), 0);
    calls = 2;
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(other_calls, 0);
    for (unsigned i = 0; i < 100; i++) {
        loop_unwatch(loop, fd[i]);
        close(fd[i]);
    }
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct loop_timer chain;

static void count_timer(void *ctx)
{
    (void)ctx;
    if (++timer_calls < 3)
        loop_timer_set(loop, &chain, 10);
    else
        loop_stop(loop);
}

static void test_timers(void **state)
{
    struct loop_timer never = { .call = stop_timer }, moved = { .call = stop_timer };
    uint64_t start = now_ms();

    (void)state;
    chain = (struct loop_timer){ .call = count_timer };
    loop_timer_set(loop, &never, 5);
    loop_timer_set(loop, &moved, 5);
    loop_timer_set(loop, &moved, 100000); /* the last one counts */
    loop_timer_set(loop, &chain, 10);
    loop_timer_cancel(loop, &never);
    loop_timer_cancel(loop, &never);
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(timer_calls, 3);
    assert_true(now_ms() - start >= 30);
    loop_timer_cancel(loop, &moved);
}

static void poke_call(void *ctx)
{
    (void)ctx;
    poke_calls++;
    loop_stop(loop);
}

static void *poker(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 100; i++)
        loop_poke(loop);
    return NULL;
}

static void test_poke(void **state)
{
    pthread_t thread;

    (void)state;
    loop_on_poke(loop, poke_call, NULL);
    assert_int_equal(pthread_create(&thread, NULL, poker, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(poke_calls, 1); /* once for all that came before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_poke, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
