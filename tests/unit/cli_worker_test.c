/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the workers of cli/, with a device that is none: what device/core would be called for is counted here, so
 * that who calls, when, and never at the same time, can be seen. Under the thread sanitizer `serving` and the
 * plain numbers beside it show any touch of a queue from two threads.
 * Threads: this one is the control thread; a producer is the driver, another the backend.
 */
#include "cli_worker_help.h"

/* ------------------------------------------------------------------ tests */

static const enum worker_poll polls[] = { WORKER_POLL_OFF, WORKER_POLL_AUTO, WORKER_POLL_ON };

/* Work that comes in bursts, with pauses shorter and longer than any polling: none is missed. */
static void test_serves(void **state)
{
    (void)state;
    for (unsigned p = 0; p < 3; p++) {
        struct frame f;

        frame_init(&f, 0, 1, polls[p]);
        attach(&f, 0);
        for (unsigned i = 0; i < 3000; i++) {
            give(&f.dev.queue[0], 1 + i % 7);
            if (i % 16 == 0)
                sleep_us(i % 160 == 0 ? 300 : 20);
        }
        assert_true(within(&f.dev.queue[0].taken, atomic_load(&f.dev.queue[0].given)));
        detach(&f, 0);
        frame_end(&f);
    }
}

static void *driver(void *arg)
{
    struct fake_queue *q = arg;

    for (unsigned i = 0; i < 20000; i++) {
        give(q, 1);
        if (i % 64 == 0)
            sleep_us(30);
    }
    return NULL;
}

/* While parked nothing touches the queue (the fake counts it as wrong), and what came meanwhile is served after. */
static void test_parks_under_load(void **state)
{
    (void)state;
    for (unsigned p = 0; p < 3; p++) {
        struct frame f;
        pthread_t thread;

        frame_init(&f, 0, 1, polls[p]);
        attach(&f, 0);
        assert_int_equal(pthread_create(&thread, NULL, driver, &f.dev.queue[0]), 0);
        for (unsigned i = 0; i < 300; i++) {
            park(&f, 0);
            if (i % 10 == 0)
                sleep_us(100);
            unpark(&f, 0);
        }
        pthread_join(thread, NULL);
        assert_true(within(&f.dev.queue[0].taken, 20000));
        detach(&f, 0);
        frame_end(&f);
    }
}

/* A kick that came while the queue was parked, or before it was attached, is not lost. */
static void test_kick_while_parked(void **state)
{
    struct frame f;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_OFF);
    give(&f.dev.queue[0], 1);
    kick(&f.dev.queue[0]);
    attach(&f, 0);
    assert_true(within(&f.dev.queue[0].taken, 1));
    park(&f, 0);
    give(&f.dev.queue[0], 1);
    kick(&f.dev.queue[0]);
    sleep_us(5000);
    assert_int_equal(atomic_load(&f.dev.queue[0].taken), 1);
    unpark(&f, 0);
    assert_true(within(&f.dev.queue[0].taken, 2));
    detach(&f, 0);
    frame_end(&f);
}

struct late {
    struct fake_queue *q;
    uint64_t n;
    long after_us;
};

static void *backend(void *arg)
{
    const struct late *late = arg;

    for (uint64_t i = 0; i < late->n; i++) {
        sleep_us(late->after_us);
        finish(late->q, 1);
    }
    return NULL;
}

/* Detach returns when the last request is done and not before, takes nothing new, and others are served meanwhile. */
static void test_drains(void **state)
{
    (void)state;
    for (unsigned p = 0; p < 3; p++) {
        struct frame f;
        struct fake_queue *slow = &f.dev.queue[0], *other = &f.dev.queue[1];
        struct late late = { .q = slow, .n = 20, .after_us = 2000 };
        uint64_t others;
        pthread_t thread;

        frame_init(&f, 0, 1, polls[p]);
        slow->slow = true;
        slow->backend_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        other->endless = true;
        attach(&f, 0);
        attach(&f, 1);
        give(slow, late.n);
        assert_true(within(&slow->taken, late.n));
        others = atomic_load(&other->taken);
        assert_int_equal(pthread_create(&thread, NULL, backend, &late), 0);
        detach(&f, 0); /* 40 ms of requests */
        assert_int_equal(slow->reaped, late.n); /* detached: ours to read */
        assert_false(slow->entered);
        assert_true(atomic_load(&other->taken) > others + 1000 * WORKER_BUDGET);
        pthread_join(thread, NULL);
        give(slow, 1);
        kick(slow);
        sleep_us(2000);
        assert_int_equal(atomic_load(&slow->taken), late.n); /* nobody serves it any more */
        detach(&f, 1);
        frame_end(&f);
    }
}

/* Draining takes nothing that comes meanwhile, and waits for its backend without spinning, also with poll=on. */
static void test_drain_does_not_spin(void **state)
{
    struct frame f;
    struct fake_queue *q = &f.dev.queue[0];
    struct late late = { .q = q, .n = 1, .after_us = 300000 };
    pthread_t thread;
    uint64_t cpu;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_ON);
    q->slow = true;
    q->backend_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    attach(&f, 0);
    give(q, 1);
    assert_true(within(&q->taken, 1));
    park(&f, 0);
    give(q, 100);
    assert_int_equal(pthread_create(&thread, NULL, backend, &late), 0);
    atomic_store(&q->parked, false);
    cpu = cpu_ns();
    detach(&f, 0); /* of a parked queue: still drained */
    cpu = cpu_ns() - cpu;
    pthread_join(thread, NULL);
    assert_int_equal(q->reaped, 1);
    assert_int_equal(atomic_load(&q->taken), 1);
    assert_true(cpu < 150000000); /* spinning would be all of the 300 ms */
    frame_end(&f);
}

/* No CPU at all while nothing comes: not one service, and no time on any thread. */
static void test_idle_costs_nothing(void **state)
{
    (void)state;
    for (unsigned p = 0; p < 2; p++) {
        struct frame f;
        uint64_t services[QUEUES], cpu;

        frame_init(&f, 0, 2, polls[p]);
        for (uint16_t i = 0; i < QUEUES; i++) {
            attach(&f, i);
            give(&f.dev.queue[i], 10);
        }
        for (unsigned i = 0; i < QUEUES; i++)
            assert_true(within(&f.dev.queue[i].taken, 10));
        sleep_us(50000);
        for (unsigned i = 0; i < QUEUES; i++) {
            services[i] = atomic_load(&f.dev.queue[i].services);
            assert_true(atomic_load(&f.dev.queue[i].wants_kick));
        }
        cpu = cpu_ns();
        sleep_us(300000);
        cpu = cpu_ns() - cpu;
        for (unsigned i = 0; i < QUEUES; i++)
            assert_int_equal(atomic_load(&f.dev.queue[i].services), services[i]);
        assert_true(cpu < 3000000);
        for (uint16_t i = 0; i < QUEUES; i++)
            detach(&f, i);
        frame_end(&f);
    }
}

/* Polled rings have no kick: served all the same, also where poll=off was asked for. */
static void test_polled_ring(void **state)
{
    struct frame f;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_OFF);
    close(f.dev.queue[0].kick_fd);
    f.dev.queue[0].kick_fd = -1;
    attach(&f, 0);
    sleep_us(20000);
    give(&f.dev.queue[0], 3);
    assert_true(within(&f.dev.queue[0].taken, 3));
    assert_int_equal(atomic_load(&f.dev.queue[0].arms), 0);
    detach(&f, 0);
    frame_end(&f);
}

/* poll=on polls for the driver; while a request is with the backend its worker sleeps, and is woken by either. */
static void test_poll_on_waits_asleep(void **state)
{
    struct frame f;
    struct fake_queue *q = &f.dev.queue[0];
    uint64_t services;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_ON);
    q->slow = true;
    q->backend_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    attach(&f, 0);
    give(q, 1);
    assert_true(within(&q->taken, 1));
    sleep_us(50000);
    services = atomic_load(&q->services);
    sleep_us(50000);
    assert_int_equal(atomic_load(&q->services), services);
    give(q, 1); /* kicks: it is armed */
    assert_true(within(&q->taken, 2));
    finish(q, 2);
    sleep_us(50000);
    services = atomic_load(&q->services);
    sleep_us(50000);
    assert_true(atomic_load(&q->services) > services + 100); /* nothing is in flight: it polls again */
    detach(&f, 0);
    assert_int_equal(q->reaped, 2);
    frame_end(&f);
}

/* A disabled queue is not polled, even with poll=on; enabling it (parked, as core does) finds what came. */
static void test_disabled(void **state)
{
    struct frame f;
    uint64_t services;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_ON);
    atomic_store(&f.dev.queue[0].enabled, false);
    attach(&f, 0);
    sleep_us(20000);
    services = atomic_load(&f.dev.queue[0].services);
    give(&f.dev.queue[0], 5);
    kick(&f.dev.queue[0]);
    sleep_us(50000);
    assert_int_equal(atomic_load(&f.dev.queue[0].services), services);
    park(&f, 0);
    atomic_store(&f.dev.queue[0].enabled, true);
    unpark(&f, 0);
    assert_true(within(&f.dev.queue[0].taken, 5));
    detach(&f, 0);
    frame_end(&f);
}

/* Two queues with more work than anybody can do share their worker evenly. */
static void test_fair(void **state)
{
    struct frame f;
    uint64_t a, b;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_AUTO);
    f.dev.queue[0].endless = f.dev.queue[1].endless = true;
    attach(&f, 0);
    attach(&f, 1);
    sleep_us(100000);
    a = atomic_load(&f.dev.queue[0].taken);
    b = atomic_load(&f.dev.queue[1].taken);
    assert_true(a > 0 && b > 0 && a < b + b / 4 + 10000 && b < a + a / 4 + 10000);
    detach(&f, 0);
    detach(&f, 1);
    frame_end(&f);
}

/* A sleeping queue is woken although another one keeps the worker busy for ever. */
static void test_sleeper_beside_busy(void **state)
{
    struct frame f;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_AUTO);
    f.dev.queue[0].endless = true;
    attach(&f, 0);
    attach(&f, 1);
    for (unsigned i = 1; i <= 20; i++) {
        for (int k = 0; k < 2000 && !atomic_load(&f.dev.queue[1].wants_kick); k++)
            sleep_us(100);
        assert_true(atomic_load(&f.dev.queue[1].wants_kick));
        give(&f.dev.queue[1], 1);
        assert_true(within(&f.dev.queue[1].taken, i));
    }
    detach(&f, 0);
    detach(&f, 1);
    frame_end(&f);
}

/* Work that the device announces and cannot do (all requests with the backend) is tried once a while, not in a circle. */
static void test_stall_does_not_spin(void **state)
{
    struct frame f;
    uint64_t cpu;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_OFF);
    atomic_store(&f.dev.queue[0].stuck, true);
    attach(&f, 0);
    sleep_us(50000);
    cpu = cpu_ns();
    sleep_us(300000);
    cpu = cpu_ns() - cpu;
    assert_true(cpu < 150000000); /* spinning would be all of the 300 ms; the sanitizer makes each look dear */
    atomic_store(&f.dev.queue[0].stuck, false);
    give(&f.dev.queue[0], 4);
    assert_true(within(&f.dev.queue[0].taken, 4));
    detach(&f, 0);
    frame_end(&f);
}

static void test_enter_fails(void **state)
{
    struct frame f;

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_AUTO);
    f.dev.enter_fails = -ENOMEM;
    assert_int_equal(worker_host_ops.attach(f.group, &f.dev, 0), -ENOMEM);
    f.dev.enter_fails = 0;
    attach(&f, 0); /* and works the next time */
    give(&f.dev.queue[0], 1);
    assert_true(within(&f.dev.queue[0].taken, 1));
    detach(&f, 0);
    frame_end(&f);
}

/* A descriptor that cannot be polled (a regular file) is said, and hurts nobody else. */
static void test_bad_kick(void **state)
{
    struct frame f;
    char name[] = "/tmp/vio-worker-XXXXXX";

    (void)state;
    frame_init(&f, 0, 1, WORKER_POLL_OFF);
    close(f.dev.queue[0].kick_fd);
    f.dev.queue[0].kick_fd = mkstemp(name);
    assert_true(f.dev.queue[0].kick_fd >= 0);
    unlink(name);
    attach(&f, 0);
    attach(&f, 1);
    assert_int_equal(atomic_load(&f.dev.lines), 1);
    sleep_us(5000);
    give(&f.dev.queue[1], 2);
    assert_true(within(&f.dev.queue[1].taken, 2));
    detach(&f, 0);
    detach(&f, 1);
    frame_end(&f);
}

/* Threads are made when they are needed, spread over, shared where that was asked for, and ended. */
static void test_threads(void **state)
{
    struct worker_group_params params = { .threads = 3, .poll = WORKER_POLL_OFF, .wake = wake };
    struct worker_group *second;
    struct vio_device *dev2;
    struct frame f;

    (void)state;
    frame_init(&f, 0, 3, WORKER_POLL_OFF);
    assert_int_equal(worker_pool_running(f.pool), 0);
    for (uint16_t i = 0; i < QUEUES; i++)
        attach(&f, i);
    assert_int_equal(worker_pool_running(f.pool), 3);
    for (uint16_t i = 0; i < QUEUES; i++)
        detach(&f, i);
    frame_end(&f);

    frame_init(&f, 2, 8, WORKER_POLL_OFF); /* two for all, whatever a device asks for */
    dev2 = calloc(1, sizeof(*dev2));
    assert_non_null(dev2);
    dev2->log.ctx = &dev2->lines;
    dev2->queue[0].kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    dev2->queue[0].backend_fd = -1;
    atomic_store(&dev2->queue[0].enabled, true);
    assert_int_equal(worker_group_create(f.pool, &params, &second), 0);
    for (uint16_t i = 0; i < QUEUES; i++)
        attach(&f, i);
    assert_int_equal(worker_host_ops.attach(second, dev2, 0), 0);
    assert_int_equal(worker_pool_running(f.pool), 2);
    give(&dev2->queue[0], 1);
    assert_true(within(&dev2->queue[0].taken, 1));
    worker_host_ops.wake(second, dev2);
    assert_int_equal(atomic_load(&wakes), 1);
    worker_host_ops.detach(second, dev2, 0);
    for (uint16_t i = 0; i < QUEUES; i++)
        detach(&f, i);
    worker_group_destroy(second);
    assert_int_equal(atomic_load(&dev2->queue[0].wrong), 0);
    close(dev2->queue[0].kick_fd);
    free(dev2);
    frame_end(&f);
}

static struct worker_group *group_of(struct frame *f, const char *name)
{
    struct worker_group_params params = { .threads = 1, .poll = WORKER_POLL_OFF, .wake = wake, .name = name };
    struct worker_group *group;

    assert_int_equal(worker_group_create(f->pool, &params, &group), 0);
    return group;
}

static struct vio_device *another_device(void)
{
    struct vio_device *dev = calloc(1, sizeof(*dev));

    assert_non_null(dev);
    dev->log.ctx = &dev->lines;
    dev->queue[0].kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    dev->queue[0].backend_fd = -1;
    atomic_store(&dev->queue[0].enabled, true);
    return dev;
}

/* Queues of one lane have one thread, in whatever order they come; other lanes have others. */
static void test_lanes(void **state)
{
    const uint16_t order[QUEUES] = { 2, 0, 3, 1 };
    struct frame f;

    (void)state;
    for (unsigned threads = 1; threads <= 3; threads++) {
        frame_init(&f, 0, threads, WORKER_POLL_OFF);
        f.dev.lanes = 2;
        for (unsigned i = 0; i < QUEUES; i++)
            attach(&f, order[i]);
        assert_true(pthread_equal(f.dev.queue[0].owner, f.dev.queue[2].owner));
        assert_true(pthread_equal(f.dev.queue[1].owner, f.dev.queue[3].owner));
        assert_int_equal(pthread_equal(f.dev.queue[0].owner, f.dev.queue[1].owner) != 0, threads == 1);
        for (uint16_t i = 0; i < QUEUES; i++)
            detach(&f, i);
        frame_end(&f);
    }
}

/* Groups of one name have one and the same thread, others do not; it goes with the last of them. */
static void test_groups_of_one_name(void **state)
{
    (void)state;
    for (unsigned shared = 0; shared <= 2; shared += 2) {
        static const char *const names[] = { "lan", "lan", "wan" };
        struct vio_device *dev[3];
        struct worker_group *group[3];
        struct frame f;

        frame_init(&f, shared, 1, WORKER_POLL_OFF);
        for (unsigned i = 0; i < 3; i++) {
            char name[8];

            strcpy(name, names[i]);
            dev[i] = another_device();
            group[i] = group_of(&f, name);
            memset(name, 'x', sizeof(name)); /* it was copied */
            assert_int_equal(worker_host_ops.attach(group[i], dev[i], 0), 0);
            give(&dev[i]->queue[0], 1);
            assert_true(within(&dev[i]->queue[0].taken, 1));
            assert_int_equal(worker_pool_running(f.pool), i < 2 ? 1 : 2);
        }
        assert_true(pthread_equal(dev[0]->queue[0].owner, dev[1]->queue[0].owner));
        assert_false(pthread_equal(dev[0]->queue[0].owner, dev[2]->queue[0].owner));
        worker_host_ops.detach(group[0], dev[0], 0);
        worker_group_destroy(group[0]);
        assert_int_equal(worker_pool_running(f.pool), 2);
        give(&dev[1]->queue[0], 1); /* and the other one is still served */
        assert_true(within(&dev[1]->queue[0].taken, 2));
        for (unsigned i = 1; i < 3; i++) {
            worker_host_ops.detach(group[i], dev[i], 0);
            worker_group_destroy(group[i]);
        }
        assert_int_equal(worker_pool_running(f.pool), shared);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(atomic_load(&dev[i]->queue[0].wrong), 0);
            close(dev[i]->queue[0].kick_fd);
            free(dev[i]);
        }
        frame_end(&f);
    }
}

/* Queues come and go all the time while their neighbours work. */
static void test_comes_and_goes(void **state)
{
    struct frame f;
    pthread_t thread[2];

    (void)state;
    frame_init(&f, 0, 2, WORKER_POLL_AUTO);
    attach(&f, 0);
    attach(&f, 1);
    assert_int_equal(pthread_create(&thread[0], NULL, driver, &f.dev.queue[0]), 0);
    assert_int_equal(pthread_create(&thread[1], NULL, driver, &f.dev.queue[1]), 0);
    for (unsigned i = 0; i < 200; i++) {
        attach(&f, 2);
        attach(&f, 3);
        give(&f.dev.queue[2], 3);
        park(&f, 3);
        detach(&f, 2);
        unpark(&f, 3);
        detach(&f, 3);
    }
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    assert_true(within(&f.dev.queue[0].taken, 20000));
    assert_true(within(&f.dev.queue[1].taken, 20000));
    detach(&f, 0);
    detach(&f, 1);
    frame_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serves),
        cmocka_unit_test(test_parks_under_load),
        cmocka_unit_test(test_kick_while_parked),
        cmocka_unit_test(test_drains),
        cmocka_unit_test(test_drain_does_not_spin),
        cmocka_unit_test(test_idle_costs_nothing),
        cmocka_unit_test(test_polled_ring),
        cmocka_unit_test(test_poll_on_waits_asleep),
        cmocka_unit_test(test_disabled),
        cmocka_unit_test(test_fair),
        cmocka_unit_test(test_sleeper_beside_busy),
        cmocka_unit_test(test_stall_does_not_spin),
        cmocka_unit_test(test_enter_fails),
        cmocka_unit_test(test_bad_kick),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_groups_of_one_name),
        cmocka_unit_test(test_comes_and_goes),
        cmocka_unit_test(test_lanes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
