/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the loads of all device types share: a device opened for a run, threads that load it, the time that they are
 * measured in, the line that says how far they are. Where it sits: cli/. See cli/bench.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/bench.h"
#include "spec/virtio.h"

/* ------------------------------------------------------------------ the device */

int bench_connect(struct bench_device *device, const struct bench_params *p, uint32_t type, uint64_t bytes, char *why)
{
    struct target *target = &device->target;
    int error;

    target->type = type;
    error = target_parse(target, p->target, why); /* may know the type better */
    if (error)
        return error;
    target->memory = (struct vio_arena_params){ .size = bytes + (1 << 20), .small_pages = p->small_pages, .populate = true };
    target->timeout_ms = p->timeout_ms;
    target->queues = p->queues;
    target->queue_size_max = VIO_QUEUE_SIZE_MAX;
    return target_open(target, why);
}

static void want(struct vio_driver *driver, struct vio_features asked)
{
    static const uint8_t ring[] = { VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX };

    for (unsigned i = 0; i < sizeof(ring); i++)
        if (!vio_features_has(asked, ring[i]))
            vio_features_clear(&driver->features, ring[i]);
}

int bench_drive(struct bench_device *device, const struct bench_params *p, uint32_t type, struct vio_driver *driver, char *why)
{
    struct vio_transport *t = device->target.t;
    int error;

    if (t->type != 0 && t->type != type) {
        const struct config_type *is = config_type_of(t->type);

        snprintf(why, BENCH_WHY, "%s is %s, not %s", p->target, is != NULL ? is->says : "a device of another type",
                 config_type_of(type)->says);
        return -EINVAL;
    }
    want(driver, p->ring);
    error = vio_bus_create(t->platform, &device->bus);
    if (!error)
        error = vio_bus_add(device->bus, t, t->type != 0 ? 0 : type, driver, &device->d);
    else
        target_close(&device->target);
    if (!error && vio_drvdev_status(device->d) != VIO_DRVDEV_RUNS)
        error = -EIO;
    if (error)
        snprintf(why, BENCH_WHY, "%s: %s", p->target, device->d == NULL ? strerror(-error) : vio_drvdev_why(device->d));
    return error;
}

int bench_check_calls(const struct bench_device *device, const struct bench_params *p, unsigned stride, char *why)
{
    for (unsigned i = 0; p->wait && i < p->queues; i++) {
        int call = vio_drvdev_event_fd(device->d, (uint16_t)(i * stride));

        if (call < 0)
            snprintf(why, BENCH_WHY, "%s: the device has no interrupt to wait for: leave out --wait", p->target);
        else if (i > 0 && call == vio_drvdev_event_fd(device->d, 0))
            snprintf(why, BENCH_WHY, "%s: the device's queues share an interrupt: leave out --wait, or --queues", p->target);
        else
            continue;
        return -ENOTSUP;
    }
    return 0;
}

void bench_disconnect(struct bench_device *device)
{
    if (device->bus == NULL)
        target_close(&device->target);
    vio_bus_destroy(device->bus); /* the device is reset: nothing touches the memory any more */
    device->bus = NULL;
    device->d = NULL;
}

/* ------------------------------------------------------------------ workers */

static uint64_t thread_cpu(void)
{
    struct timespec cpu;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
}

enum bench_phase bench_phase(struct bench_worker *w)
{
    enum bench_phase phase = (enum bench_phase)atomic_load_explicit(&w->load->phase, memory_order_relaxed);

    if (phase != w->phase) {
        if (phase == BENCH_MEASURE)
            w->cpu_ns = thread_cpu();
        else
            w->cpu_ns = w->phase == BENCH_MEASURE ? thread_cpu() - w->cpu_ns : 0;
        w->phase = phase;
    }
    return phase;
}

static struct bench_worker *worker_at(struct bench_worker *first, size_t size, unsigned i)
{
    return (struct bench_worker *)(void *)((char *)first + i * size);
}

static uint64_t done(const struct bench_load *load, struct bench_worker *first, size_t size)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < load->workers; i++)
        sum += atomic_load_explicit(&worker_at(first, size, i)->done, memory_order_relaxed);
    return sum;
}

enum { STEP = 50000000, SECOND = 1000000000 }; /* ns */

/* Waits so long, with a line each second where there is someone to read it. */
static void watch(const struct bench_load *load, struct bench_worker *first, size_t size, double seconds)
{
    uint64_t last = bench_now(), until = last + (uint64_t)(seconds * 1e9), seen = done(load, first, size);

    while (bench_now() < until && !atomic_load(&load->gave_up)) {
        uint64_t now = bench_now(), left = until - now;
        struct timespec ts = { 0, left < STEP ? (long)left : STEP };

        (void)nanosleep(&ts, NULL);
        now = bench_now();
        if (load->p->progress && now - last >= SECOND) {
            uint64_t count = done(load, first, size);

            fprintf(stderr, "\r%5.1f s left  %12.0f %s/s ", now < until ? (double)(until - now) / 1e9 : 0.0,
                    (double)(count - seen) * 1e9 / (double)(now - last), load->unit);
            last = now;
            seen = count;
        }
    }
    if (load->p->progress)
        fprintf(stderr, "\r%50s\r", "");
}

/* A worker that comes back before it was told to has given up. */
static void *worker_main(void *arg)
{
    struct bench_worker *w = arg;

    w->load->work(w);
    if (bench_phase(w) != BENCH_STOP)
        atomic_store(&w->load->gave_up, true);
    return NULL;
}

int bench_load(struct bench_load *load, struct bench_worker *first, size_t size, char *why)
{
    unsigned started = 0;
    uint64_t begin, peer;
    int error = 0;

    atomic_store(&load->phase, BENCH_WARM);
    while (started < load->workers && error == 0) {
        struct bench_worker *w = worker_at(first, size, started);

        w->load = load;
        w->phase = BENCH_WARM;
        w->cpu_ns = 0;
        atomic_store(&w->done, 0);
        error = pthread_create(&w->thread, NULL, worker_main, w);
        started += error == 0;
    }
    if (error == 0) {
        watch(load, first, size, load->warmup);
        peer = bench_peer_cpu(load->socket);
        begin = bench_now();
        atomic_store(&load->phase, BENCH_MEASURE);
        watch(load, first, size, load->seconds);
        load->elapsed = bench_now() - begin;
        load->peer_cpu = bench_peer_cpu(load->socket) - peer;
    }
    atomic_store(&load->phase, BENCH_STOP);
    for (unsigned i = 0; i < started; i++)
        pthread_join(worker_at(first, size, i)->thread, NULL);
    if (error)
        snprintf(why, BENCH_WHY, "no thread for queue %u: %s", started, strerror(error));
    return -error;
}
