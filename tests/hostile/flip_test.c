/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a driver that changes descriptors, indices, indirect tables and payload while the device reads them. Whatever
 * the device makes of it is one of the outcomes there are: a buffer whose every piece lies in memory, in order and
 * within bounds, or a named fault. A sanitizer sees to it that nothing else is touched. VIO_FLIP_MS: time for each format.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/raw.h"

enum { SIZE = 16, ENOUGH_KINDS = 3, ENOUGH_TAKEN = 100, PATIENCE = 20 };

struct flip {
    struct raw *r;
    atomic_bool stop;
};

#if defined(__SANITIZE_THREAD__)
#define FLIP_PLAIN false /* tables and payload are copied plainly: that race is the subject, not a finding */
#else
#define FLIP_PLAIN true
#endif

static void flip_one(struct raw *r, struct rng *rng)
{
    uint8_t *desc = r->g->desc_host, *driver = r->g->driver_host, *table = r->g->table_host;
    uint32_t i = rng_below(rng, SIZE);
    uint64_t good = raw_at(r, rng_below(rng, 4096));
    static const uint16_t flags[] = { 0, 1, 2, 3, 4, 5, 6, 0x80, 0x81, 0x82, 0x84, 0x8000, 0x8001, 0x8002, 0x8080 };

    switch (rng_below(rng, FLIP_PLAIN ? 10 : 7)) {
    case 0: /* length or address goes and comes back */
        le_set32(desc + i * 16 + 8, rng_below(rng, 3) == 0 ? 0xffffffffu : 16);
        break;
    case 1:
        le_set64(desc + i * 16, rng_below(rng, 4) == 0 ? rng_u64(rng) : good);
        break;
    case 2:
    case 3:
        le_set16(desc + i * 16 + (r->packed ? 14 : 12), flags[rng_below(rng, sizeof(flags) / 2)]);
        break;
    case 4:
        le_set16(desc + i * 16 + (r->packed ? 12 : 14), (uint16_t)rng_below(rng, SIZE + 1));
        break;
    case 5:
    case 6:
        if (r->packed)
            le_set32(driver, (uint32_t)rng_u64(rng));
        else if (rng_below(rng, 500) != 0)
            le_set16(driver + 4 + 2 * i, (uint16_t)rng_below(rng, SIZE));
        else
            le_set16(driver + 2, (uint16_t)(le_get16(driver + 2) + 1));
        break;
    case 7: /* a table within memory, its entries anything */
        le_set64(desc + i * 16, r->g->table + 16 * rng_below(rng, 4));
        le_set64(table + i * 16, good);
        break;
    default:
        __atomic_store_n(table + rng_below(rng, 16 * SIZE), (uint8_t)rng_below(rng, 20), __ATOMIC_RELAXED);
        break;
    }
}

/* The driver's better half: good buffers, so that there is something to spoil. */
static void add_good(struct raw *r, struct rng *rng)
{
    uint32_t i = rng_below(rng, SIZE);

    if (FLIP_PLAIN && rng_below(rng, 3) == 0) {
        raw_table(r, 0, raw_at(r, 0), 16, r->packed ? 0 : VIRTQ_DESC_F_NEXT, 1);
        raw_table(r, 1, raw_at(r, 64), 16, VIRTQ_DESC_F_WRITE, 0);
        if (r->packed) {
            raw_packed(r, r->g->table, 32, i, VIRTQ_DESC_F_INDIRECT);
        } else {
            raw_desc(r, i, r->g->table, 32, VIRTQ_DESC_F_INDIRECT, 0);
            raw_avail(r, (uint16_t)i);
        }
    } else {
        raw_good(r, (uint16_t)i);
    }
}

static void *flipper(void *arg)
{
    struct flip *f = arg;
    struct rng rng = rng_of(4711);

    while (!atomic_load_explicit(&f->stop, memory_order_relaxed))
        flip_one(f->r, &rng);
    return NULL;
}

static bool in_memory(const struct raw *r, const struct vio_seg *s)
{
    for (uint32_t i = 0; i < r->g->nr_block; i++) {
        const struct guest_block *b = &r->g->block[i];
        uintptr_t at = (uintptr_t)s->base, base = (uintptr_t)b->host;

        if (at >= base && vio_range_ok(at - base, s->len, b->size))
            return s->len > 0;
    }
    return false;
}

static unsigned kinds_of(const uint64_t faults[VIO_FAULT_COUNT_])
{
    unsigned kinds = 0;

    for (unsigned i = 1; i < VIO_FAULT_COUNT_; i++)
        kinds += faults[i] > 0;
    return kinds;
}

static uint64_t check_pieces(const struct raw *r, const struct vio_seg *seg, uint32_t nr, uint64_t left)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < nr; i++) {
        if (!in_memory(r, &seg[i]))
            FAIL("a piece of %zu bytes that is not in memory", seg[i].len);
        sum += seg[i].len;
    }
    CHECK(sum == left);
    return sum;
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* One request, read and answered within the payload, where races are the driver's own. */
static void serve(const struct raw *r, struct vio_req *req)
{
    uint8_t bytes[64];
    uint64_t total = check_pieces(r, req->in.seg, req->in.nr, req->in.left);

    total += check_pieces(r, req->out.seg, req->out.nr, req->out.left);
    CHECK(total > 0 && total <= UINT64_C(1) << 32 && req->index < SIZE);
    if (FLIP_PLAIN)
        (void)vio_reader_get_some(&req->in, bytes, sizeof(bytes));
}

static void run(uint64_t bits, bool record, uint64_t ms)
{
    struct raw r;
    struct flip f = { .r = &r };
    uint64_t begun = now_ms(), spent = 0, taken = 0, faults[VIO_FAULT_COUNT_] = { 0 };
    unsigned restarts = 0, in_flight = 0, added = 0;
    struct vio_req *held[SIZE + VIO_QUEUE_BATCH];
    struct rng rng = rng_of(1);
    pthread_t thread;

    test_context("flip: %s%s", bits & VIO_FEATURE(VIRTIO_F_RING_PACKED) ? "packed" : "split", record ? ", record" : "");
    raw_open(&r, SIZE, bits, record);
    raw_start(&r);
    CHECK(pthread_create(&thread, NULL, flipper, &f) == 0);
    for (; spent < ms || ((kinds_of(faults) < ENOUGH_KINDS || taken < ENOUGH_TAKEN) && spent < PATIENCE * ms);
         spent = now_ms() - begun) {
        unsigned got;

        for (unsigned n = rng_below(&rng, 3); n > 0 && added + in_flight < SIZE / 2; n--, added++)
            add_good(&r, &rng);
        got = vio_devq_take(r.q, held + in_flight, rng_range(&rng, 1, 8));
        added -= got < added ? got : added;
        CHECK(in_flight + got <= SIZE);
        for (unsigned i = 0; i < got; i++)
            serve(&r, held[in_flight + i]);
        in_flight += got;
        taken += got;
        CHECK(vio_devq_in_flight(r.q) == in_flight);
        while (in_flight > 0 && rng_below(&rng, 4) != 0)
            vio_devq_put(r.q, held[--in_flight]);
        if (rng_below(&rng, 8) != 0)
            (void)!vio_devq_publish(r.q);
        if (rng_below(&rng, 8) == 0)
            (void)!vio_devq_arm_kick(r.q);
        if (vio_devq_fault(r.q) == VIO_FAULT_NONE)
            continue;
        faults[vio_devq_fault(r.q)]++;
        restarts++;
        in_flight = added = 0;
        (void)raw_stop(&r);
        /* The flipper goes on: whatever state the ring is in then, the queue starts. */
        raw_start(&r);
    }
    atomic_store(&f.stop, true);
    pthread_join(thread, NULL);
    raw_close(&r);
    printf("ok - %s%s: %llu buffers, %u restarts:", bits & VIO_FEATURE(VIRTIO_F_RING_PACKED) ? "packed" : "split",
           record ? " with a record" : "", (unsigned long long)taken, restarts);
    for (unsigned i = 1; i < VIO_FAULT_COUNT_; i++) {
        if (faults[i] > 0)
            printf(" %s %llu", vio_fault_name((enum vio_fault)i), (unsigned long long)faults[i]);
    }
    printf("\n");
    CHECK(kinds_of(faults) >= ENOUGH_KINDS && taken >= ENOUGH_TAKEN);
}

int main(void)
{
    const char *env = getenv("VIO_FLIP_MS");
    uint64_t ms = env != NULL ? strtoull(env, NULL, 0) : 1000;

    for (unsigned i = 0; i < 4; i++)
        run(VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | (i & 1 ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0), i >= 2, ms);
    return 0;
}
