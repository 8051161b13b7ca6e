/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the workers of cli/, with a device that is none: what device/core would be called for is counted here, so
 * that who calls, when, and never at the same time, can be seen. Under the thread sanitizer `serving` and the
 * plain numbers beside it show any touch of a queue from two threads.
 * Threads: this one is the control thread; a producer is the driver, another the backend.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/worker.h"

enum { QUEUES = 4 };

/* One queue: `given` of it the driver has made available; the worker takes, and the backend finishes `slow` ones. */
struct fake_queue {
    _Atomic uint64_t given;
    atomic_bool wants_kick; /* armed */
    _Atomic uint64_t taken, services;
    _Atomic uint64_t finished; /* by the backend */
    atomic_bool parked;        /* set by the control thread between park and unpark */
    atomic_bool enabled;
    atomic_bool stuck;         /* arm says work, service finds none */
    bool slow;                 /* requests end when the backend says so */
    bool endless;              /* there is always work */
    int kick_fd, backend_fd;
    /* the owner's, and plain on purpose */
    bool entered, armed;
    uint64_t reaped;
    uint64_t serving;
    pthread_t owner;
    atomic_uint wrong;         /* calls that must not have been */
    atomic_uint arms, drains;
};

struct vio_device {
    struct fake_queue queue[QUEUES];
    int enter_fails;
    atomic_uint lines;
    struct vio_log log;
};

/* ------------------------------------------------------------------ what device/core would be */

void vio_log(const struct vio_log *log, enum vio_log_level level, const char *name, const char *format, ...)
{
    (void)level;
    (void)name;
    (void)format;
    if (log != NULL)
        atomic_fetch_add((atomic_uint *)log->ctx, 1);
}

const char *vio_device_name(const struct vio_device *dev)
{
    (void)dev;
    return "fake";
}

const struct vio_log *vio_device_log(const struct vio_device *dev)
{
    return &dev->log;
}

uint16_t vio_device_queues(const struct vio_device *dev)
{
    (void)dev;
    return QUEUES;
}

static struct fake_queue *owned(struct vio_device *dev, uint16_t queue)
{
    struct fake_queue *q = &dev->queue[queue];

    if (!q->entered || atomic_load(&q->parked) || !pthread_equal(q->owner, pthread_self()))
        atomic_fetch_add(&q->wrong, 1);
    q->serving++;
    return q;
}

int vio_device_queue_enter(struct vio_device *dev, uint16_t queue)
{
    struct fake_queue *q = &dev->queue[queue];

    if (dev->enter_fails != 0)
        return dev->enter_fails;
    if (q->entered)
        atomic_fetch_add(&q->wrong, 1);
    q->entered = true;
    q->owner = pthread_self();
    return 0;
}

static uint64_t in_flight(const struct fake_queue *q)
{
    return q->slow ? atomic_load(&q->taken) - q->reaped : 0;
}

void vio_device_queue_leave(struct vio_device *dev, uint16_t queue)
{
    struct fake_queue *q = owned(dev, queue);

    if (in_flight(q) != 0)
        atomic_fetch_add(&q->wrong, 1);
    q->entered = false;
}

unsigned vio_device_queue_service(struct vio_device *dev, uint16_t queue, unsigned budget)
{
    struct fake_queue *q = owned(dev, queue);
    uint64_t taken = atomic_load(&q->taken), given = q->endless ? taken + budget : atomic_load(&q->given);
    uint64_t done = 0, finished, n, count;

    atomic_fetch_add(&q->services, 1);
    if (atomic_load(&q->stuck))
        return 0;
    if (q->slow) {
        while (read(q->backend_fd, &count, sizeof(count)) > 0)
            ;
        finished = atomic_load(&q->finished);
        done = finished - q->reaped;
        q->reaped = finished;
    }
    if (!atomic_load(&q->enabled))
        budget = 0;
    n = given - taken < budget ? given - taken : budget;
    atomic_store(&q->taken, taken + n);
    return (unsigned)(done + n);
}

bool vio_device_queue_arm(struct vio_device *dev, uint16_t queue)
{
    struct fake_queue *q = owned(dev, queue);

    atomic_fetch_add(&q->arms, 1);
    if (atomic_load(&q->stuck))
        return true;
    if (q->slow && atomic_load(&q->finished) != q->reaped)
        return true;
    if (!atomic_load(&q->enabled))
        return false;
    atomic_store(&q->wants_kick, true);
    q->armed = true;
    if (atomic_load(&q->given) == atomic_load(&q->taken))
        return false;
    atomic_store(&q->wants_kick, false);
    q->armed = false;
    return true;
}

void vio_device_queue_disarm(struct vio_device *dev, uint16_t queue)
{
    struct fake_queue *q = owned(dev, queue);

    atomic_store(&q->wants_kick, false);
    q->armed = false;
}

unsigned vio_device_queue_in_flight(const struct vio_device *dev, uint16_t queue)
{
    return (unsigned)in_flight(&dev->queue[queue]);
}

int vio_device_queue_kick_fd(struct vio_device *dev, uint16_t queue)
{
    return dev->queue[queue].kick_fd;
}

void vio_device_queue_kick_drain(struct vio_device *dev, uint16_t queue)
{
    struct fake_queue *q = owned(dev, queue);
    uint64_t count;

    (void)!read(q->kick_fd, &count, sizeof(count));
    atomic_fetch_add(&q->drains, 1);
}

int vio_device_queue_backend_fd(struct vio_device *dev, uint16_t queue)
{
    return dev->queue[queue].backend_fd;
}

bool vio_device_queue_enabled(const struct vio_device *dev, uint16_t queue)
{
    return atomic_load(&dev->queue[queue].enabled);
}

/* ------------------------------------------------------------------ the driver, the backend, the test's frame */

static atomic_uint wakes;

static void wake(void *ctx, struct vio_device *dev)
{
    (void)ctx;
    (void)dev;
    atomic_fetch_add(&wakes, 1);
}

struct frame {
    struct vio_device dev;
    struct worker_pool *pool;
    struct worker_group *group;
};

static void frame_init(struct frame *f, unsigned pool_threads, unsigned threads, enum worker_poll poll)
{
    struct worker_group_params params = { .threads = threads, .poll = poll, .wake = wake };

    memset(f, 0, sizeof(*f));
    f->dev.log = (struct vio_log){ .ctx = &f->dev.lines };
    for (unsigned i = 0; i < QUEUES; i++) {
        f->dev.queue[i].kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        f->dev.queue[i].backend_fd = -1;
        atomic_store(&f->dev.queue[i].enabled, true);
    }
    assert_int_equal(worker_pool_create(pool_threads, NULL, &f->pool), 0);
    assert_int_equal(worker_group_create(f->pool, &params, &f->group), 0);
}

static void frame_end(struct frame *f)
{
    worker_group_destroy(f->group);
    worker_pool_destroy(f->pool);
    for (unsigned i = 0; i < QUEUES; i++) {
        assert_int_equal(atomic_load(&f->dev.queue[i].wrong), 0);
        if (f->dev.queue[i].kick_fd >= 0)
            close(f->dev.queue[i].kick_fd);
        if (f->dev.queue[i].backend_fd >= 0)
            close(f->dev.queue[i].backend_fd);
    }
}

static void attach(struct frame *f, uint16_t queue)
{
    assert_int_equal(worker_host_ops.attach(f->group, &f->dev, queue), 0);
}

static void detach(struct frame *f, uint16_t queue)
{
    worker_host_ops.detach(f->group, &f->dev, queue);
}

static void park(struct frame *f, uint16_t queue)
{
    worker_host_ops.park(f->group, &f->dev, queue);
    atomic_store(&f->dev.queue[queue].parked, true);
}

static void unpark(struct frame *f, uint16_t queue)
{
    atomic_store(&f->dev.queue[queue].parked, false);
    worker_host_ops.unpark(f->group, &f->dev, queue);
}

static void kick(struct fake_queue *q)
{
    uint64_t one = 1;

    (void)!write(q->kick_fd, &one, sizeof(one));
}

static void give(struct fake_queue *q, uint64_t n)
{
    atomic_fetch_add(&q->given, n);
    if (q->kick_fd >= 0 && atomic_exchange(&q->wants_kick, false))
        kick(q);
}

static void finish(struct fake_queue *q, uint64_t n)
{
    uint64_t one = 1;

    atomic_fetch_add(&q->finished, n);
    (void)!write(q->backend_fd, &one, sizeof(one));
}

static void sleep_us(long us)
{
    struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

    nanosleep(&t, NULL);
}

static bool within(_Atomic uint64_t *value, uint64_t wanted)
{
    for (int i = 0; i < 20000 && atomic_load(value) < wanted; i++)
        sleep_us(500);
    return atomic_load(value) >= wanted;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

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
        cmocka_unit_test(test_comes_and_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
