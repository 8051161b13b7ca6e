/* SPDX-License-Identifier: MIT */
/*
 * A device that is none, for tests of the workers: what device/core would be called for is counted here, so that who
 * calls, when, and never at the same time, can be seen. Included once: it defines what device/core would.
 */
#ifndef VIO_TESTS_CLI_WORKER_HELP_H
#define VIO_TESTS_CLI_WORKER_HELP_H

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
    unsigned lanes; /* 0: any queue may be anybody's; else queue i is in lane i mod lanes */
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

void vio_device_queue_parked(struct vio_device *dev, uint16_t queue, bool parked)
{
    (void)dev;
    (void)queue;
    (void)parked;
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

int vio_device_queue_lane(const struct vio_device *dev, uint16_t queue)
{
    return dev->lanes > 0 ? (int)(queue % dev->lanes) : -1;
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

#endif
