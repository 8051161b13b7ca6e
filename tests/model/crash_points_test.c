/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the device side dies between any two stores to shared memory, and the next one, which works from the
 * in-flight record, dies again somewhere. What the driver sees: every buffer exactly once, with the right
 * bytes; what the device sees: nothing again that the driver has got back, and in the order of submission.
 * How: the ring's files are compiled here once more with a count before every atomic store, and a jump out of it.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/guest.h"
#include "support/rng.h"

static jmp_buf died;
static long stores_left; /* < 0: lives for ever */
static long stores;

static void tick(void)
{
    stores++;
    if (stores_left >= 0 && stores_left-- == 0)
        longjmp(died, 1);
}

/* A macro is not expanded inside itself: the inner one is the compiler's. */
#define __atomic_store_n(p, v, order) (tick(), __atomic_store_n(p, v, order))
#include "../../src/ring/chain.c"
#include "../../src/ring/devq.c"
#include "../../src/ring/devq_start.c"
#include "../../src/ring/inflight.c"
#undef __atomic_store_n

/* Under the thread sanitizer, which sees no second thread here, every fifth place has to do. */
#if defined(__SANITIZE_THREAD__)
enum { STRIDE = 5 };
#else
enum { STRIDE = 1 };
#endif

enum { BUFFERS = 26, HELD_MAX = 64 };

struct script {
    uint16_t size;
    bool packed, indirect, event_idx, in_order;
    uint64_t seed;
};

struct run {
    const struct script *s;
    struct rng rng;
    struct guest *g;
    struct vio_drvq *drv;
    void *drv_mem, *dev_mem, *record;
    size_t drv_bytes, dev_bytes;
    struct vio_queue_cfg cfg;
    struct vio_features features;
    struct vio_inflight inflight;
    struct vio_devq *volatile dev;
    unsigned put, published, collected, kicks, calls;
    bool back[BUFFERS];                /* the driver has it again */
    struct vio_req *held[HELD_MAX];
    unsigned token[HELD_MAX], nr_held;
    unsigned first_expected;           /* since this device started: the least token it may see next */
};

static struct vio_features features_of(const struct script *s)
{
    struct vio_features f = { { VIO_FEATURE(VIRTIO_F_VERSION_1), 0 } };

    if (s->packed)
        vio_features_set(&f, VIRTIO_F_RING_PACKED);
    if (s->indirect)
        vio_features_set(&f, VIRTIO_F_INDIRECT_DESC);
    if (s->event_idx)
        vio_features_set(&f, VIRTIO_F_EVENT_IDX);
    if (s->in_order)
        vio_features_set(&f, VIRTIO_F_IN_ORDER);
    return f;
}

/* A new process: it knows what the front-end tells it, and the record. May die before it has started. */
static void dev_start(struct run *r)
{
    struct vio_devq_params p = {
        .cfg = &r->cfg,
        .features = r->features,
        .map = vio_memory_map(r->g->memory),
        .inflight = &r->inflight,
        .priv_size = 8,
    };
    struct vio_devq *q;
    enum vio_fault fault;

    r->cfg = (struct vio_queue_cfg){
        .size = r->s->size, .desc = r->g->desc, .driver = r->g->driver, .device = r->g->device };
    vio_queue_state_unpack(&r->cfg.state, r->s->packed, r->s->packed ? 0x80008000u : 0);
    vio_inflight_init(&r->inflight, r->record, r->s->size, r->s->packed, false);
    memset(r->dev_mem, 0, r->dev_bytes < 16384 ? r->dev_bytes : 16384);
    r->nr_held = 0;
    r->first_expected = 0;
    fault = vio_devq_start(r->dev_mem, &p, &q);
    if (fault != VIO_FAULT_NONE)
        FAIL("does not start: %s", vio_fault_name(fault));
    r->dev = q;
}

/* One for all runs: what is touched is zeroed by every start. */
static void *memory_for(size_t bytes)
{
    static void *mem;
    static size_t have;

    if (have != bytes) {
        if (mem != NULL)
            queue_mem_free(mem, have);
        mem = queue_mem(bytes);
        have = bytes;
    }
    return mem;
}

static void open_run(struct run *r, const struct script *s)
{
    struct guest_cfg g = { .size = s->size, .packed = s->packed, .table_bytes = s->indirect ? s->size * 8u * 16 : 0,
                           .payload_size = BUFFERS * 256 };
    struct vio_drvq_params d = { .size = s->size, .indirect_max = 8 };
    struct vio_devq_params p = { .cfg = &r->cfg, .priv_size = 8 };

    *r = (struct run){ .s = s, .rng = rng_of(s->seed), .features = features_of(s) };
    r->g = guest_create(&g, &r->rng);
    r->record = calloc(1, vio_inflight_bytes(s->size, s->packed));
    d.features = r->features;
    d.desc = r->g->desc_host;
    d.driver = r->g->driver_host;
    d.device = r->g->device_host;
    d.indirect = s->indirect ? r->g->table_host : NULL;
    d.indirect_addr = r->g->table;
    r->drv_bytes = vio_drvq_bytes(&d);
    r->drv_mem = queue_mem(r->drv_bytes);
    CHECK(vio_drvq_start(r->drv_mem, &d, &r->drv) == 0);
    r->cfg.size = s->size;
    p.features = r->features;
    r->dev_bytes = vio_devq_bytes(&p);
    r->dev_mem = memory_for(r->dev_bytes);
}

static void close_run(struct run *r)
{
    guest_destroy(r->g);
    free(r->record);
    queue_mem_free(r->drv_mem, r->drv_bytes);
}

/* Buffer `token`: 1 + token % 3 pieces of its own 256 bytes, one byte at the front with its number, one for the answer. */
static bool drv_put(struct run *r)
{
    uint64_t at = r->g->payload + r->put * 256u;
    struct vio_buf bufs[4] = { { at, 1 }, { at + 100, 1 }, { at + 10, 20 }, { at + 30, 5 } };
    unsigned more = r->s->indirect || r->s->size > 4 ? r->put % 3 : 0;
    uint8_t number = (uint8_t)r->put, zero = 0;
    struct vio_buf one[1] = { { at, 1 } };

    guest_write(r->g, at, &number, 1);
    guest_write(r->g, at + 100, &zero, 1);
    if (r->s->size == 1 && !r->s->indirect) {
        if (vio_drvq_put(r->drv, one, 1, 0, r->put) != 0)
            return false;
    } else if (vio_drvq_put(r->drv, bufs, 1, 1 + more, r->put) != 0) {
        return false;
    }
    r->put++;
    return true;
}

static void drv_collect(struct run *r)
{
    struct vio_done done[8];
    unsigned n = vio_drvq_collect(r->drv, done, 8);

    if (vio_drvq_fault(r->drv) != VIO_FAULT_NONE)
        FAIL("the driver side says %s", vio_fault_name(vio_drvq_fault(r->drv)));
    for (unsigned i = 0; i < n; i++) {
        unsigned t = (unsigned)done[i].token;

        if (t >= r->published || r->back[t])
            FAIL("buffer %u came back again", t);
        r->back[t] = true;
        r->collected++;
        if (!(r->s->size == 1 && !r->s->indirect) && guest_byte(r->g, r->g->payload + t * 256u + 100) != (uint8_t)(t + 1))
            FAIL("buffer %u came back without its answer", t);
    }
}

static void dev_take(struct run *r, unsigned max)
{
    struct vio_req *reqs[8];
    unsigned n = vio_devq_take(r->dev, reqs, max > 8 ? 8 : max);

    if (vio_devq_fault(r->dev) != VIO_FAULT_NONE)
        FAIL("the device side says %s", vio_fault_name(vio_devq_fault(r->dev)));
    for (unsigned i = 0; i < n; i++) {
        uint8_t number;

        CHECK(vio_reader_get(&reqs[i]->in, &number, 1));
        if (number < r->first_expected)
            FAIL("buffer %u was taken after %u", number, r->first_expected - 1);
        if (r->back[number])
            FAIL("buffer %u was taken again, which the driver has got back", number);
        r->first_expected = number + 1u;
        r->held[r->nr_held] = reqs[i];
        r->token[r->nr_held++] = number;
    }
}

static void dev_put(struct run *r, unsigned which)
{
    uint8_t answer = (uint8_t)(r->token[which] + 1);
    struct vio_req *req = r->held[which];

    if (req->out.left > 0)
        CHECK(vio_writer_put(&req->out, &answer, 1));
    r->held[which] = r->held[--r->nr_held];
    r->token[which] = r->token[r->nr_held];
    vio_devq_put(r->dev, req);
}

static void any_step(struct run *r)
{
    switch (rng_below(&r->rng, 8)) {
    case 0:
    case 1:
        for (unsigned n = rng_range(&r->rng, 1, 4); n > 0 && r->put < BUFFERS && drv_put(r); n--)
            ;
        if (vio_drvq_publish(r->drv))
            r->kicks++;
        r->published = r->put;
        break;
    case 2:
        drv_collect(r);
        break;
    case 3:
    case 4:
        if (r->nr_held + 8 < HELD_MAX)
            dev_take(r, rng_range(&r->rng, 1, 6));
        break;
    case 5:
    case 6:
        for (unsigned n = rng_range(&r->rng, 1, 3); n > 0 && r->nr_held > 0; n--)
            dev_put(r, rng_below(&r->rng, r->nr_held));
        if (rng_below(&r->rng, 3) == 0)
            break;
        /* fall through */
    default:
        if (vio_devq_publish(r->dev))
            r->calls++;
        if (rng_below(&r->rng, 4) == 0 && vio_devq_arm_kick(r->dev))
            vio_devq_disarm_kick(r->dev);
    }
}

/* To the end, dying after `first` stores, and again after `second` more. Returns the stores of a life without death. */
static long play(const struct script *s, long first, long second)
{
    static struct run r; /* outlives the jump */
    static volatile long next;
    static volatile long guard;

    open_run(&r, s);
    stores = 0;
    stores_left = first;
    next = second;
    guard = 0;
    if (setjmp(died) != 0) {
        r.dev = NULL;
        stores_left = next;
        next = -1;
    }
    if (r.dev == NULL)
        dev_start(&r);
    while (r.collected < BUFFERS) {
        any_step(&r);
        if (++guard > 100000)
            FAIL("no end: %u put, %u back", r.put, r.collected);
    }
    stores_left = -1;
    close_run(&r);
    return stores;
}

static unsigned run_script(const struct script *s)
{
    struct rng rng = rng_of(s->seed + 77);
    unsigned lives = 0;
    long total;

    test_context("crash: %s size %u%s%s%s seed %llu", s->packed ? "packed" : "split", s->size,
                 s->indirect ? " indirect" : "", s->event_idx ? " event-idx" : "", s->in_order ? " in-order" : "",
                 (unsigned long long)s->seed);
    total = play(s, -1, -1);
    for (long first = (long)(s->seed % STRIDE); first < total; first += STRIDE) {
        test_context("crash: %s size %u%s%s%s seed %llu, after %ld stores", s->packed ? "packed" : "split", s->size,
                     s->indirect ? " indirect" : "", s->event_idx ? " event-idx" : "", s->in_order ? " in-order" : "",
                     (unsigned long long)s->seed, first);
        (void)play(s, first, -1);
        (void)play(s, first, (long)rng_below(&rng, 40));
        lives += 2;
    }
    return lives;
}

int main(void)
{
    static const uint16_t split[] = { 1, 2, 4, 8, 16 }, packed[] = { 1, 2, 3, 4, 5, 7, 8, 16 };
    const char *env = getenv("VIO_CRASH_SEEDS");
    uint64_t seeds = env != NULL ? strtoull(env, NULL, 0) : 2;

    for (int form = 0; form < 2; form++) {
        const uint16_t *sizes = form ? packed : split;
        unsigned nr = form ? sizeof(packed) / 2 : sizeof(split) / 2;

        for (unsigned i = 0; i < nr; i++) {
            unsigned lives = 0;

            for (unsigned variant = 0; variant < 8; variant++) {
                for (uint64_t seed = 0; seed < seeds; seed++) {
                    struct script s = { .size = sizes[i], .packed = form != 0, .indirect = (variant & 1) != 0,
                                        .event_idx = (variant & 2) != 0, .in_order = (variant & 4) != 0,
                                        .seed = seed * 100 + variant };

                    lives += run_script(&s);
                }
            }
            printf("ok - %s size %u: died at %u places\n", form ? "packed" : "split", sizes[i], lives);
        }
    }
    return 0;
}
