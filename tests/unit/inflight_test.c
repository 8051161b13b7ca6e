/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the in-flight record, byte for byte as the vhost-user document lays it out ("Inflight I/O tracking"), what it
 * holds after each call, and records in which anything may stand: a fault or a sound start.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/raw.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)

/* The document's structures, written down once more. */
struct desc_split {
    uint8_t inflight, padding[5];
    uint16_t next;
    uint64_t counter;
};
struct region_split {
    uint64_t features;
    uint16_t version, desc_num, last_batch_head, used_idx;
    struct desc_split desc[];
};
struct desc_packed {
    uint8_t inflight, padding;
    uint16_t next, last, num;
    uint64_t counter;
    uint16_t id, flags;
    uint32_t len;
    uint64_t addr;
};
struct region_packed {
    uint64_t features;
    uint16_t version, desc_num, free_head, old_free_head, used_idx, old_used_idx;
    uint8_t used_wrap_counter, old_used_wrap_counter, padding[7];
    struct desc_packed desc[];
};

static void sizes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct desc_split), 16);
    assert_int_equal(sizeof(struct region_split), 16);
    assert_int_equal(sizeof(struct desc_packed), 32);
    assert_int_equal(sizeof(struct region_packed), 32);
    assert_int_equal(vio_inflight_bytes(128, false), 128 * 16 + 64);
    assert_int_equal(vio_inflight_bytes(4, false), 128);
    assert_int_equal(vio_inflight_bytes(128, true), 129 * 32 + 32);
    assert_int_equal(vio_inflight_bytes(32768, true) % 64, 0);
}

static void split_record(void **state)
{
    const struct region_split *s;
    struct vio_req *req[3];
    struct raw r;

    (void)state;
    raw_open(&r, 8, 0, true);
    raw_start(&r);
    s = r.record;
    assert_true(s->features == 0 && s->version == 1 && s->desc_num == 8 && s->used_idx == 0);
    raw_good(&r, 2);
    raw_good(&r, 6);
    raw_good(&r, 4);
    assert_int_equal(vio_devq_take(r.q, req, 3), 3);
    for (int i = 0; i < 8; i++)
        assert_int_equal(s->desc[i].inflight, i == 2 || i == 4 || i == 6);
    assert_true(s->desc[2].counter < s->desc[6].counter && s->desc[6].counter < s->desc[4].counter);
    vio_devq_put(r.q, req[2]);
    vio_devq_put(r.q, req[0]);
    assert_true(s->last_batch_head == 2 && s->desc[2].next == 4);
    assert_true(s->desc[2].inflight == 1 && s->desc[4].inflight == 1 && s->used_idx == 0);
    assert_true(vio_devq_publish(r.q));
    assert_true(s->desc[2].inflight == 0 && s->desc[4].inflight == 0 && s->desc[6].inflight == 1 && s->used_idx == 2);
    raw_close(&r);
}

static void packed_record(void **state)
{
    const struct region_packed *p;
    struct vio_req *req[3];
    struct raw r;

    (void)state;
    raw_open(&r, 5, PACKED, true);
    raw_start(&r);
    p = r.record;
    assert_true(p->features == 0 && p->version == 1 && p->desc_num == 5);
    assert_true(p->free_head == 0 && p->old_free_head == 0 && p->used_idx == 0 && p->old_used_idx == 0);
    assert_true(p->used_wrap_counter == 1 && p->old_used_wrap_counter == 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(p->desc[i].next, i + 1);
    raw_good(&r, 77); /* two descriptors */
    raw_packed(&r, raw_at(&r, 100), 9, 78, VIRTQ_DESC_F_WRITE);
    assert_int_equal(vio_devq_take(r.q, req, 3), 2);
    assert_true(p->desc[0].inflight == 1 && p->desc[0].num == 2 && p->desc[0].last == 1);
    assert_true(p->desc[2].inflight == 1 && p->desc[2].num == 1 && p->desc[2].last == 2);
    assert_true(p->desc[0].addr == raw_at(&r, 0) && p->desc[0].len == 16);
    assert_true(p->desc[1].addr == raw_at(&r, 64) && p->desc[1].id == 77);
    assert_true((p->desc[0].flags & 7) == VIRTQ_DESC_F_NEXT && (p->desc[1].flags & 7) == VIRTQ_DESC_F_WRITE);
    assert_true(p->desc[0].counter < p->desc[2].counter);
    assert_true(p->free_head == 3 && p->old_free_head == 3);
    vio_devq_put(r.q, req[1]);
    assert_true(p->free_head == 3 && p->used_idx == 0 && p->desc[2].inflight == 1);
    assert_true(vio_devq_publish(r.q));
    assert_true(p->desc[2].inflight == 0 && p->desc[0].inflight == 1);
    assert_true(p->free_head == 2 && p->old_free_head == 2 && p->desc[2].next == 3);
    assert_true(p->used_idx == 1 && p->old_used_idx == 1 && p->used_wrap_counter == 1);
    raw_close(&r);
}

/* Each step of an update that the document lets a crash interrupt, written by hand: committed or rolled back. */
static void packed_commit_and_roll_back(void **state)
{
    struct vio_queue_state stale;
    struct region_packed *p;
    struct vio_req *req[3];
    struct raw r;

    (void)state;
    vio_queue_state_unpack(&stale, true, 0x80008000u);
    for (int seen = 0; seen < 2; seen++) {
        raw_open(&r, 4, PACKED, true);
        raw_start(&r);
        p = r.record;
        raw_packed(&r, raw_at(&r, 0), 8, 1, VIRTQ_DESC_F_WRITE);
        raw_packed(&r, raw_at(&r, 8), 8, 2, VIRTQ_DESC_F_WRITE);
        assert_int_equal(vio_devq_take(r.q, req, 3), 2);
        raw_crash(&r);
        p->desc[0].next = p->free_head;
        p->free_head = 0;
        p->used_idx = 1;
        if (seen)
            le_set64((uint64_t *)r.g->desc_host + 1, UINT64_C(0x8082000100000008));
        assert_int_equal(raw_resume(&r, &stale), VIO_FAULT_NONE);
        assert_int_equal(p->used_idx, seen);
        assert_int_equal(p->old_used_idx, seen);
        assert_int_equal(p->free_head, seen ? 0 : 2);
        assert_int_equal(vio_devq_take(r.q, req, 3), seen ? 1 : 2);
        assert_int_equal(req[0]->id, seen ? 2 : 1);
        raw_close(&r);
    }
}

static void version_and_shape(void **state)
{
    struct vio_queue_state s;
    struct region_split *rec;
    struct raw r;

    (void)state;
    vio_queue_state_unpack(&s, false, 0);
    raw_open(&r, 8, 0, true);
    raw_start(&r);
    rec = r.record;
    raw_crash(&r);
    rec->version = 2;
    assert_int_equal(raw_resume(&r, &s), VIO_FAULT_INFLIGHT);
    rec->version = 1;
    rec->desc_num = 16;
    assert_int_equal(raw_resume(&r, &s), VIO_FAULT_INFLIGHT);
    rec->desc_num = 8;
    rec->desc[3].inflight = 1; /* more in flight than was made available */
    assert_int_equal(raw_resume(&r, &s), VIO_FAULT_INFLIGHT);
    rec->version = 0; /* nobody ever started: what else stands there is nothing */
    assert_int_equal(raw_resume(&r, &s), VIO_FAULT_NONE);
    assert_int_equal(rec->desc[3].inflight, 0);
    raw_close(&r);
}

/* All the device does with what it was made to believe, until it has nothing left. */
static void run_out(struct raw *r)
{
    struct vio_req *req[VIO_QUEUE_BATCH];
    unsigned got, sum = 0;

    while ((got = vio_devq_take(r->q, req, 1 + sum % 3)) > 0) {
        for (unsigned i = 0; i < got; i++) {
            assert_true(req[i]->in.left + req[i]->out.left > 0 && req[i]->index < r->size);
            (void)!vio_writer_zero(&req[i]->out, req[i]->out.left);
            vio_devq_put(r->q, req[i]);
        }
        (void)!vio_devq_publish(r->q);
        sum += got;
        assert_true(sum <= 2u * r->size + 2);
    }
}

static void garbled_of(uint16_t size, bool packed, unsigned *faults, unsigned *starts)
{
    struct rng rng = rng_of(5);
    struct vio_queue_state s;
    struct raw r;

    vio_queue_state_unpack(&s, packed, packed ? 0x80008000u : 0);
    raw_open(&r, size, packed ? PACKED : 0, true);
    for (int round = 0; round < 2000; round++) {
        size_t bytes = vio_inflight_bytes(size, packed);
        struct vio_req *req[8];
        unsigned got, put;

        raw_start(&r);
        for (unsigned i = 0; i + 1 < size; i += 2)
            raw_good(&r, (uint16_t)i);
        got = vio_devq_take(r.q, req, 8);
        put = rng_below(&rng, got + 1);
        for (unsigned i = 0; i < put; i++)
            vio_devq_put(r.q, req[i]);
        if (rng_below(&rng, 2) != 0)
            (void)!vio_devq_publish(r.q);
        raw_crash(&r);
        for (unsigned n = rng_range(&rng, 1, 3); n > 0; n--) {
            uint32_t at = rng_below(&rng, (uint32_t)bytes);

            if (rng_below(&rng, 3) == 0)
                ((uint8_t *)r.record)[at] = (uint8_t)rng_u64(&rng);
            else /* a likely number */
                ((uint8_t *)r.record)[at] = (uint8_t)rng_below(&rng, size + 2u);
        }
        if (raw_resume(&r, &s) == VIO_FAULT_NONE) {
            ++*starts;
            run_out(&r);
        } else {
            ++*faults;
        }
        raw_crash(&r);
    }
    raw_close(&r);
}

static void garbled(void **state)
{
    unsigned faults = 0, starts = 0;

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        garbled_of((uint16_t)(1u << i / 2), i % 2 != 0, &faults, &starts);
    printf("%u records refused, %u started from\n", faults, starts);
    assert_true(faults > 500 && starts > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(split_record),
        cmocka_unit_test(packed_record),
        cmocka_unit_test(packed_commit_and_roll_back),
        cmocka_unit_test(version_and_shape),
        cmocka_unit_test(garbled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
