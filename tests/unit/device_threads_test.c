/* SPDX-License-Identifier: MIT */
/*
 * Owners on threads of their own, drivers on others, and a control thread that parks, drains, disables and resets
 * under verified load. Most of what it finds, it finds under the thread sanitizer.
 */
#include "blk_help.h"

#include <pthread.h>
#include <sched.h>

enum { QUEUES = 2, DEPTH = 8, REQUESTS = 3000, SECTORS_EACH = 64 };

enum command { SERVE, PARK, LEAVE, ENTER, QUIT };

struct owner {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum command want, is;
    int enter_result;
    struct vio_device *dev;
    uint16_t queue;
};

static struct bench bench;
static struct owner owners[QUEUES];
static unsigned wakes;

/* ------------------------------------------------------------------ owners */

static void obey(struct owner *o, enum command want)
{
    if (want == ENTER) {
        o->enter_result = vio_device_queue_enter(o->dev, o->queue);
    } else if (want == LEAVE) {
        while (vio_device_queue_in_flight(o->dev, o->queue) > 0)
            (void)vio_device_queue_service(o->dev, o->queue, 0);
        vio_device_queue_leave(o->dev, o->queue);
    }
}

static void *own(void *ctx)
{
    struct owner *o = ctx;
    enum command now = LEAVE;

    while (now != QUIT) {
        bool worked = false;

        if (now == SERVE)
            worked = vio_device_queue_service(o->dev, o->queue, VIO_QUEUE_BATCH) > 0;
        pthread_mutex_lock(&o->lock);
        while (o->want == o->is && o->is != SERVE)
            pthread_cond_wait(&o->changed, &o->lock);
        if (o->want != o->is) {
            now = o->want;
            pthread_mutex_unlock(&o->lock);
            obey(o, now);
            pthread_mutex_lock(&o->lock);
            o->is = now;
            pthread_cond_broadcast(&o->changed);
        }
        pthread_mutex_unlock(&o->lock);
        if (!worked)
            sched_yield();
    }
    return NULL;
}

static void command(struct owner *o, enum command want)
{
    pthread_mutex_lock(&o->lock);
    o->want = want;
    pthread_cond_broadcast(&o->changed);
    while (o->is != want)
        pthread_cond_wait(&o->changed, &o->lock);
    pthread_mutex_unlock(&o->lock);
}

static int on_attach(void *ctx, struct vio_device *dev, uint16_t queue)
{
    struct owner *o = (struct owner *)ctx + queue;

    o->dev = dev;
    command(o, ENTER);
    if (o->enter_result == 0)
        command(o, SERVE);
    return o->enter_result;
}

static void on_detach(void *ctx, struct vio_device *dev, uint16_t queue)
{
    (void)dev;
    command((struct owner *)ctx + queue, LEAVE);
}

static void on_park(void *ctx, struct vio_device *dev, uint16_t queue)
{
    (void)dev;
    command((struct owner *)ctx + queue, PARK);
}

static void on_unpark(void *ctx, struct vio_device *dev, uint16_t queue)
{
    (void)dev;
    command((struct owner *)ctx + queue, SERVE);
}

static void on_wake(void *ctx, struct vio_device *dev)
{
    (void)ctx;
    (void)dev;
    __atomic_add_fetch(&wakes, 1, __ATOMIC_RELEASE);
}

static const struct vio_host_ops host_ops = {
    .attach = on_attach, .detach = on_detach, .park = on_park, .unpark = on_unpark, .wake = on_wake,
};

/* ------------------------------------------------------------------ drivers */

struct driver {
    pthread_t thread;
    uint16_t queue;
    struct breq out[DEPTH], in[DEPTH];
    unsigned wrong, finished;
};

static void put_pair(struct driver *d, unsigned slot, unsigned seed)
{
    struct vio_drvq *q = bench.rig.queue[d->queue].drv;
    bool write = seed % 2 == 0;
    struct breq *r = write ? &d->out[slot] : &d->in[slot];
    struct vio_buf bufs[3] = { { r->head.gpa, 16 }, { r->data.gpa, 512 }, { r->status.gpa, 1 } };

    if (write)
        fill(r->data.host, 512, seed);
    *r->status.host = 0xff;
    if (vio_drvq_put(q, bufs, write ? 2 : 1, write ? 1 : 2, slot | (uint64_t)seed << 8) != 0)
        d->wrong++;
    (void)!vio_drvq_publish(q);
}

/* Each slot writes its sector, then reads it back, again and again. */
static void *drive(void *ctx)
{
    struct driver *d = ctx;
    struct vio_drvq *q = bench.rig.queue[d->queue].drv;
    unsigned seed[DEPTH];

    for (unsigned i = 0; i < DEPTH; i++) {
        seed[i] = 0;
        put_pair(d, i, 0);
    }
    while (__atomic_load_n(&d->finished, __ATOMIC_RELAXED) < REQUESTS) {
        struct vio_done done[DEPTH];
        unsigned n = vio_drvq_collect(q, done, DEPTH);

        if (n == 0)
            sched_yield();
        for (unsigned i = 0; i < n; i++) {
            unsigned slot = done[i].token & 0xff;
            bool read = seed[slot] % 2 == 1;

            d->wrong += done[i].len != (read ? 513u : 1u);
            d->wrong += *(read ? &d->in[slot] : &d->out[slot])->status.host != VIRTIO_BLK_S_OK;
            d->wrong += read && memcmp(d->in[slot].data.host, d->out[slot].data.host, 512) != 0;
            seed[slot]++;
            put_pair(d, slot, seed[slot]);
        }
        __atomic_add_fetch(&d->finished, n, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void start_driver(struct driver *d, uint16_t queue)
{
    memset(d, 0, sizeof(*d));
    d->queue = queue;
    for (unsigned i = 0; i < DEPTH; i++) {
        uint64_t sector = (uint64_t)queue * SECTORS_EACH + i;

        d->out[i] = breq_make(&bench, VIRTIO_BLK_T_OUT, sector, 512);
        d->in[i] = breq_make(&bench, VIRTIO_BLK_T_IN, sector, 512);
    }
    assert_int_equal(pthread_create(&d->thread, NULL, drive, d), 0);
}

/* ------------------------------------------------------------------ control */

static void disturb(unsigned round, void *spare)
{
    struct vio_memory_region region = { .gpa = 0x10000, .size = 0x10000, .uva = 0x10000 };
    struct vio_device *dev = bench.rig.dev;
    struct vio_queue_counters c;
    uint8_t writeback = round & 1;

    switch (round % 6) {
    case 0:
        vio_device_memory_begin(dev, false);
        assert_int_equal(vio_memory_add_host(vio_device_memory(dev), &region, spare), 0);
        vio_device_memory_end(dev);
        break;
    case 1:
        assert_int_equal(vio_device_queue_enable(dev, 0, false), 0);
        assert_int_equal(vio_device_queue_enable(dev, 0, true), 0);
        break;
    case 2:
        vio_device_memory_begin(dev, true);
        assert_int_equal(vio_memory_remove(vio_device_memory(dev), &region), 0);
        vio_device_memory_end(dev);
        break;
    case 3:
        vio_device_queue_counters(dev, 1, &c);
        vio_device_queue_kick_changed(dev, 1);
        break;
    case 4:
        assert_int_equal(vio_device_config_write(dev, 32, &writeback, 1), 0);
        break;
    default:
        vio_device_pause(dev);
        assert_int_equal(vio_device_resume(dev), 0);
        break;
    }
    if (__atomic_exchange_n(&wakes, 0, __ATOMIC_ACQUIRE) > 0)
        vio_device_control(dev);
}

static void under_load(bool packed)
{
    static struct driver drivers[QUEUES];
    struct vio_queue_counters c;
    void *spare = aligned_alloc(4096, 0x10000);
    unsigned round = 0;

    assert_non_null(spare);
    bench_init(&bench);
    bench.rig.log.level = VIO_LOG_ERROR;
    bench.params.queues = QUEUES;
    bench.device.host = &host_ops;
    bench.device.host_ctx = owners;
    for (uint16_t i = 0; i < QUEUES; i++) {
        owners[i] = (struct owner){ .queue = i, .want = LEAVE, .is = LEAVE };
        pthread_mutex_init(&owners[i].lock, NULL);
        pthread_cond_init(&owners[i].changed, NULL);
        assert_int_equal(pthread_create(&owners[i].thread, NULL, own, &owners[i]), 0);
    }
    bench_create(&bench);
    rig_start(&bench.rig, packed ? vio_device_offered(bench.rig.dev) : all_but(&bench, VIRTIO_F_RING_PACKED), 32);
    for (uint16_t i = 0; i < QUEUES; i++)
        start_driver(&drivers[i], i);
    while (__atomic_load_n(&drivers[0].finished, __ATOMIC_RELAXED) < REQUESTS ||
           __atomic_load_n(&drivers[1].finished, __ATOMIC_RELAXED) < REQUESTS || round % 6 != 0)
        disturb(round++, spare);
    for (uint16_t i = 0; i < QUEUES; i++) {
        pthread_join(drivers[i].thread, NULL);
        assert_int_equal(drivers[i].wrong, 0);
        vio_device_queue_counters(bench.rig.dev, i, &c);
        assert_true(c.buffers >= REQUESTS);
        assert_int_equal(c.faults, 0);
    }
    assert_int_equal(vio_device_set_status(bench.rig.dev, 0), 0); /* with requests available and in flight */
    for (uint16_t i = 0; i < QUEUES; i++) {
        command(&owners[i], QUIT);
        pthread_join(owners[i].thread, NULL);
    }
    assert_true(round > 6);
    bench_free(&bench);
    free(spare);
}

static void split_under_load(void **state)
{
    (void)state;
    under_load(false);
}

static void packed_under_load(void **state)
{
    (void)state;
    under_load(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_under_load),
        cmocka_unit_test(packed_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
