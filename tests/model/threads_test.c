/* SPDX-License-Identifier: MIT */
/*
 * Purpose: our driver in one thread against our device in another, in every variant, each asleep on its eventfd whenever
 * arming allows it: what the thread sanitizer looks at, and where a barrier that is missing loses a wake-up.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "spec/virtio.h"
#include "support/guest.h"

enum { SLOT = 256, HELD = 64, PATIENCE_MS = 20000 };

struct pair {
    uint16_t size;
    bool packed, indirect, event_idx, in_order;
    unsigned buffers;
    unsigned batch; /* 0: any number of buffers is served */
    struct guest *g;
    struct vio_features features;
    struct vio_drvq *drv;
    struct vio_devq *dev;
    int kick, call, stop;
    unsigned kicks, calls; /* of the thread that gives them */
};

struct head {
    uint32_t token, answer; /* bytes wanted */
};

static void notify(int fd)
{
    uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) != sizeof(one))
        FAIL("eventfd: %s", strerror(errno));
}

/* Until fd or stop signals; false: stop. */
static bool wait_on(struct pair *p, int fd, const char *who)
{
    struct pollfd fds[2] = { { .fd = fd, .events = POLLIN }, { .fd = p->stop, .events = POLLIN } };
    uint64_t count;

    if (poll(fds, 2, PATIENCE_MS) <= 0)
        FAIL("%s size %u: %s is never woken", p->packed ? "packed" : "split", p->size, who);
    if ((fds[0].revents & POLLIN) == 0)
        return false;
    if (read(fd, &count, sizeof(count)) != sizeof(count))
        FAIL("eventfd: %s", strerror(errno));
    return true;
}

static uint8_t pattern(uint32_t token, uint32_t i)
{
    return (uint8_t)(token * 31 + i * 7 + (token >> 8));
}

/* ------------------------------------------------------------------ device */

static void serve(struct vio_req *req)
{
    uint8_t bytes[SLOT];
    struct head h;

    CHECK(vio_reader_get(&req->in, &h, sizeof(h)));
    CHECK(req->out.left >= h.answer && h.answer <= SLOT);
    for (uint32_t i = 0; req->in.left > 0; i++) {
        uint8_t byte;

        CHECK(vio_reader_get(&req->in, &byte, 1) && byte == pattern(h.token, i));
    }
    for (uint32_t i = 0; i < h.answer; i++)
        bytes[i] = pattern(~h.token, i);
    CHECK(vio_writer_put(&req->out, bytes, h.answer));
}

static void *device(void *arg)
{
    struct pair *p = arg;
    struct rng rng = rng_of(p->size);
    struct vio_req *held[HELD];
    unsigned nr = 0;

    for (;;) {
        unsigned got = vio_devq_take(p->dev, held + nr, HELD - nr);

        if (vio_devq_fault(p->dev) != VIO_FAULT_NONE)
            FAIL("the device side says %s", vio_fault_name(vio_devq_fault(p->dev)));
        for (unsigned i = 0; i < got; i++)
            serve(held[nr + i]);
        nr += got;
        /* Some stay for the next round, so that they finish out of order. */
        while (nr > 0 && (got == 0 || rng_below(&rng, 3) != 0)) {
            unsigned which = rng_below(&rng, nr);

            vio_devq_put(p->dev, held[which]);
            held[which] = held[--nr];
        }
        if (vio_devq_publish(p->dev)) {
            p->calls++;
            notify(p->call);
        }
        if (got > 0 || nr > 0 || vio_devq_arm_kick(p->dev))
            continue;
        if (!wait_on(p, p->kick, "the device"))
            return NULL;
        if (rng_below(&rng, 2) == 0)
            vio_devq_disarm_kick(p->dev);
    }
}

/* ------------------------------------------------------------------ driver */

struct drv {
    uint32_t *idle, nr_idle, *answer;
    unsigned put, back;
    struct rng rng;
};

static bool put_one(struct pair *p, struct drv *d)
{
    uint32_t slot, extra = rng_below(&d->rng, 90), n = 0;
    uint8_t bytes[SLOT];
    struct vio_buf bufs[4];
    struct head h;
    uint64_t at;

    if (d->nr_idle == 0)
        return false;
    slot = d->idle[d->nr_idle - 1];
    at = p->g->payload + (uint64_t)slot * SLOT;
    h = (struct head){ .token = d->put, .answer = rng_range(&d->rng, 0, 120) };
    memcpy(bytes, &h, sizeof(h));
    for (uint32_t i = 0; i < extra; i++)
        bytes[sizeof(h) + i] = pattern(h.token, i);
    guest_write(p->g, at, bytes, sizeof(h) + extra);
    bufs[n++] = (struct vio_buf){ at, (uint32_t)sizeof(h) + extra };
    if (p->size > 1 || p->indirect)
        bufs[n++] = (struct vio_buf){ at + 128, 60 };
    if (p->size > 2 || p->indirect)
        bufs[n++] = (struct vio_buf){ at + 128 + 60, 60 };
    if (n == 1)
        h.answer = 0;
    else if (n == 2)
        h.answer = h.answer / 2;
    guest_write(p->g, at, &h, sizeof(h));
    if (vio_drvq_put(p->drv, bufs, 1, n - 1, (uint64_t)h.token << 32 | slot) != 0)
        return false;
    d->answer[slot] = h.answer;
    d->nr_idle--;
    d->put++;
    return true;
}

static void back(struct pair *p, struct drv *d, const struct vio_done *done)
{
    uint32_t slot = (uint32_t)done->token, token = (uint32_t)(done->token >> 32);
    uint8_t bytes[SLOT];

    CHECK(slot < p->size && done->len == d->answer[slot]);
    guest_read(p->g, p->g->payload + (uint64_t)slot * SLOT + 128, bytes, done->len);
    for (uint32_t i = 0; i < done->len; i++)
        CHECK(bytes[i] == pattern(~token, i));
    d->idle[d->nr_idle++] = slot;
    d->back++;
}

static void drive(struct pair *p)
{
    struct drv d = { .rng = rng_of(p->buffers) };
    struct vio_done done[32];

    d.idle = calloc(p->size, sizeof(uint32_t));
    d.answer = calloc(p->size, sizeof(uint32_t));
    for (uint32_t i = 0; i < p->size; i++)
        d.idle[d.nr_idle++] = i;
    while (d.back < p->buffers) {
        unsigned burst = rng_range(&d.rng, 1, 40), n;

        while (burst-- > 0 && d.put < p->buffers && put_one(p, &d))
            ;
        if (vio_drvq_publish(p->drv)) {
            p->kicks++;
            notify(p->kick);
        }
        n = vio_drvq_collect(p->drv, done, 32);
        if (vio_drvq_fault(p->drv) != VIO_FAULT_NONE)
            FAIL("the driver side says %s", vio_fault_name(vio_drvq_fault(p->drv)));
        for (unsigned i = 0; i < n; i++)
            back(p, &d, &done[i]);
        if (n > 0 || d.back == p->buffers || rng_below(&d.rng, 4) == 0 || vio_drvq_in_flight(p->drv) == 0)
            continue;
        if (!vio_drvq_arm_call(p->drv)) {
            (void)wait_on(p, p->call, "the driver");
            if (rng_below(&d.rng, 2) == 0)
                vio_drvq_disarm_call(p->drv);
        }
    }
    free(d.idle);
    free(d.answer);
}

/* ------------------------------------------------------------------ batches: fewer than `batch` are too few */

static void *batch_device(void *arg)
{
    struct pair *p = arg;
    struct vio_req *held[HELD];

    for (unsigned done = 0; done < p->buffers;) {
        unsigned got = vio_devq_take(p->dev, held, p->batch);

        if (vio_devq_fault(p->dev) != VIO_FAULT_NONE)
            FAIL("the device side says %s", vio_fault_name(vio_devq_fault(p->dev)));
        if (got < p->batch) {
            vio_devq_untake_too_few(p->dev, held, got);
            if (!vio_devq_arm_kick(p->dev))
                (void)wait_on(p, p->kick, "the device, which has too few buffers,");
            continue;
        }
        for (unsigned i = 0; i < got; i++) {
            serve(held[i]);
            vio_devq_put(p->dev, held[i]);
        }
        done += got;
        if (vio_devq_publish(p->dev))
            notify(p->call);
    }
    return NULL;
}

static void batch_drive(struct pair *p)
{
    struct drv d = { .rng = rng_of(p->batch) };
    struct vio_done done[HELD];

    d.idle = calloc(p->size, sizeof(uint32_t));
    d.answer = calloc(p->size, sizeof(uint32_t));
    for (uint32_t i = 0; i < p->size; i++)
        d.idle[d.nr_idle++] = i;
    while (d.back < p->buffers) {
        for (unsigned i = 0; i < p->batch; i++) {
            CHECK(put_one(p, &d));
            if (i + 1 < p->batch && rng_below(&d.rng, 3) == 0)
                continue;
            if (vio_drvq_publish(p->drv)) {
                p->kicks++;
                notify(p->kick);
            }
            for (unsigned spin = rng_below(&d.rng, 400); spin > 0; spin--)
                __asm__ volatile("" ::: "memory");
        }
        while (d.back < d.put) {
            unsigned n = vio_drvq_collect(p->drv, done, HELD);

            for (unsigned i = 0; i < n; i++)
                back(p, &d, &done[i]);
            if (n == 0 && !vio_drvq_arm_call(p->drv))
                (void)wait_on(p, p->call, "the driver");
        }
    }
    free(d.idle);
    free(d.answer);
}

/* ------------------------------------------------------------------ */

static void run(struct pair *p)
{
    struct rng rng = rng_of(9);
    struct guest_cfg g = { .size = p->size, .packed = p->packed, .table_bytes = p->indirect ? p->size * 64u : 0,
                           .payload_size = (uint32_t)p->size * SLOT };
    struct vio_queue_cfg cfg = { .size = p->size, .state = vio_queue_state_initial(p->packed) };
    struct vio_drvq_params d = { .size = p->size, .indirect_max = 4 };
    struct vio_devq_params v = { .cfg = &cfg };
    void *drv_mem, *dev_mem;
    pthread_t thread;

    p->features = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1) | (p->packed ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0) |
                                  (p->indirect ? VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) : 0) |
                                  (p->event_idx ? VIO_FEATURE(VIRTIO_F_EVENT_IDX) : 0) |
                                  (p->in_order ? VIO_FEATURE(VIRTIO_F_IN_ORDER) : 0));
    p->g = guest_create(&g, &rng);
    d.features = v.features = p->features;
    d.desc = p->g->desc_host;
    d.driver = p->g->driver_host;
    d.device = p->g->device_host;
    d.indirect = p->indirect ? p->g->table_host : NULL;
    d.indirect_addr = p->g->table;
    drv_mem = queue_mem(vio_drvq_bytes(&d));
    CHECK(vio_drvq_start(drv_mem, &d, &p->drv) == 0);
    cfg.desc = p->g->desc;
    cfg.driver = p->g->driver;
    cfg.device = p->g->device;
    v.map = vio_memory_map(p->g->memory);
    dev_mem = queue_mem(vio_devq_bytes(&v));
    CHECK(vio_devq_start(dev_mem, &v, &p->dev) == VIO_FAULT_NONE);
    p->kick = eventfd(0, EFD_CLOEXEC);
    p->call = eventfd(0, EFD_CLOEXEC);
    p->stop = eventfd(0, EFD_CLOEXEC);
    CHECK(p->kick >= 0 && p->call >= 0 && p->stop >= 0);

    CHECK(pthread_create(&thread, NULL, p->batch > 0 ? batch_device : device, p) == 0);
    if (p->batch > 0)
        batch_drive(p);
    else
        drive(p);
    notify(p->stop);
    notify(p->kick); /* spurious */
    notify(p->stop);
    for (int i = 0; i < 2; i++)
        usleep(1);
    pthread_join(thread, NULL);
    close(p->kick);
    close(p->call);
    close(p->stop);
    queue_mem_free(drv_mem, vio_drvq_bytes(&d));
    queue_mem_free(dev_mem, vio_devq_bytes(&v));
    guest_destroy(p->g);
}

int main(void)
{
    static const uint16_t split[] = { 1, 2, 8, 256 }, packed[] = { 1, 2, 3, 7, 100, 256 };

    for (int form = 0; form < 2; form++) {
        const uint16_t *sizes = form ? packed : split;

        for (unsigned i = 0; i < (form ? sizeof(packed) : sizeof(split)) / 2; i++) {
            unsigned kicks = 0, calls = 0;

            for (unsigned variant = 0; variant < 8; variant++) {
                struct pair p = { .size = sizes[i], .packed = form != 0, .indirect = (variant & 1) != 0,
                                  .event_idx = (variant & 2) != 0, .in_order = (variant & 4) != 0,
                                  .buffers = sizes[i] < 8 ? 1500 : 6000 };

                test_context("threads: %s size %u variant %u", form ? "packed" : "split", p.size, variant);
                run(&p);
                kicks += p.kicks;
                calls += p.calls;
            }
            printf("ok - %s size %u, 8 variants: %u kicks, %u calls\n", form ? "packed" : "split", sizes[i], kicks, calls);
        }
        for (unsigned variant = 0; variant < 8; variant++) {
            struct pair p = { .size = variant & 1 ? 64 : 7 + !form, .packed = form != 0, .indirect = true,
                              .event_idx = (variant & 2) != 0, .in_order = (variant & 4) != 0 };

            p.batch = variant & 1 ? 20 : 7;
            p.buffers = p.batch * 1000;
            test_context("threads: %s size %u in batches, variant %u", form ? "packed" : "split", p.size, variant);
            run(&p);
            printf("ok - %s size %u, batches of %u: %u kicks\n", form ? "packed" : "split", p.size, p.batch, p.kicks);
        }
    }
    return 0;
}
