/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the validator's rare paths: buffers and tables that cross regions, more pieces than are kept, segment tables
 * that are all in use, translations that are missing or forbid.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/raw.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define INDIRECT VIO_FEATURE(VIRTIO_F_INDIRECT_DESC)
#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT

static void one(struct raw *r, uint16_t id, uint64_t addr, uint32_t len, uint32_t flags)
{
    if (r->packed) {
        raw_packed(r, addr, len, id, flags);
    } else {
        raw_desc(r, id, addr, len, flags, 0);
        raw_avail(r, id);
    }
}

/* Byte-sized regions behind the payload: n of them, neighbours in addresses, each elsewhere in the host. */
static uint64_t add_bytes(struct raw *r, uint8_t *host, unsigned n)
{
    uint64_t at = r->g->end + 4096;

    for (unsigned i = 0; i < n; i++) {
        struct vio_memory_region region = { at + i, 1, at + i };

        assert_int_equal(vio_memory_add_host(r->g->memory, &region, host + 2 * (n - 1 - i)), 0);
    }
    return at;
}

static void over_regions(void **state)
{
    static uint8_t host[2000];
    struct vio_req *req;
    struct raw r;

    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        uint8_t bytes[900];
        uint64_t at;

        raw_open(&r, 8, packed ? PACKED : 0, false);
        at = add_bytes(&r, host, 900);
        raw_start(&r);
        memset(host, 0xee, sizeof(host));
        one(&r, 1, at, 900, W);
        assert_int_equal(vio_devq_take(r.q, &req, 1), 1);
        assert_true(req->out.nr == 900 && req->out.left == 900);
        for (int i = 0; i < 900; i++)
            bytes[i] = (uint8_t)(i * 7);
        assert_true(vio_writer_put(&req->out, bytes, 900));
        for (int i = 0; i < 900; i++)
            assert_true(host[2 * (899 - i)] == bytes[i] && host[2 * (899 - i) + 1] == 0xee);
        vio_devq_put(r.q, req);
        (void)!vio_devq_publish(r.q);
        /* A hole in the middle is a hole. */
        one(&r, 2, at + 899, 2, W);
        raw_expect(&r, 0, VIO_FAULT_DESC_ADDR);
        raw_close(&r);
    }
}

static void more_pieces_than_kept(void **state)
{
    static uint8_t host[2000];
    struct raw r;

    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        uint64_t at;

        raw_open(&r, 8, INDIRECT | (packed ? PACKED : 0), false);
        at = add_bytes(&r, host, 900);
        raw_start(&r);
        /* Twice 900 pieces; 1024 + 512 are kept. */
        raw_table(&r, 0, at, 900, W | (packed ? 0 : N), 1);
        raw_table(&r, 1, at, 900, W, 0);
        one(&r, 1, r.g->table, 32, VIRTQ_DESC_F_INDIRECT);
        raw_expect(&r, 0, VIO_FAULT_CHAIN_SEGMENTS);
        (void)raw_stop(&r);
        raw_start(&r);
        raw_table(&r, 1, at, 1536 - 900, W, 0);
        one(&r, 1, r.g->table, 32, VIRTQ_DESC_F_INDIRECT);
        raw_expect(&r, 1, VIO_FAULT_NONE);
        raw_close(&r);
    }
}

/* A queue so large that it has fewer segment tables than entries: the chain waits, and is taken when one comes back. */
static void tables_all_in_use(void **state)
{
    enum { SIZE = 16384, PIECES = 5 };
    static struct vio_req *req[SIZE];
    struct vio_req *more;
    unsigned got = 0, n;
    struct raw r;

    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        raw_open(&r, SIZE, packed ? PACKED : 0, false);
        raw_start(&r);
        for (unsigned c = 0; c < SIZE / PIECES; c++) {
            unsigned first = c * PIECES;

            for (unsigned i = PIECES; i > 0; i--) {
                uint32_t flags = W | (i < PIECES ? N : 0);

                if (packed)
                    raw_packed_at(&r, first + i - 1, raw_at(&r, 0), 8, c, flags | raw_avail_flags(true));
                else
                    raw_desc(&r, first + i - 1, raw_at(&r, 0), 8, flags, first + i);
            }
            if (!packed)
                raw_avail(&r, (uint16_t)first);
        }
        for (got = 0; (n = vio_devq_take(r.q, req + got, 64)) > 0; got += n)
            ;
        assert_int_equal(vio_devq_fault(r.q), VIO_FAULT_NONE);
        assert_true(got >= 16 && got < SIZE / PIECES);
        assert_true(vio_devq_pending(r.q));
        assert_int_equal(vio_devq_take(r.q, &more, 1), 0);
        vio_devq_put(r.q, req[3]);
        assert_int_equal(vio_devq_take(r.q, &more, 2), 1);
        assert_int_equal(vio_devq_take(r.q, &more, 1), 0);
        assert_int_equal(vio_devq_in_flight(r.q), got);
        raw_close(&r);
    }
}

static void missing_translations(void **state)
{
    struct vio_queue_state s;
    struct vio_req *req;
    uint64_t iova;
    unsigned access;
    struct raw r;

    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        struct vio_memory *m;

        raw_open(&r, 8, INDIRECT | (packed ? PACKED : 0), false);
        raw_start(&r);
        s = raw_stop(&r);
        m = r.g->memory;
        vio_memory_iotlb_enable(m, true);
        /* No mapping at all: the areas can't be found. */
        assert_int_equal(raw_resume(&r, &s), VIO_FAULT_QUEUE_ADDR);
        /* The areas' regions one by one, at their own addresses. */
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(vio_memory_iotlb_update(m, r.g->block[i].gpa, r.g->block[i].size, r.g->block[i].gpa,
                                                     VIO_ACCESS_BOTH), 0);
        assert_int_equal(raw_resume(&r, &s), VIO_FAULT_NONE);

        one(&r, 1, 0x90001, 16, W);
        assert_int_equal(vio_devq_take(r.q, &req, 1), 0);
        assert_int_equal(vio_devq_fault(r.q), VIO_FAULT_NONE);
        assert_true(vio_devq_miss(r.q, &iova, &access) && iova == 0x90001 && access == VIO_ACCESS_WRITE);
        assert_true(vio_devq_pending(r.q));
        /* Half of it comes: the rest is missing. */
        assert_int_equal(vio_memory_iotlb_update(m, 0x90000, 8, raw_at(&r, 0), VIO_ACCESS_BOTH), 0);
        assert_int_equal(vio_devq_map_changed(r.q), VIO_FAULT_NONE);
        assert_int_equal(vio_devq_take(r.q, &req, 1), 0);
        assert_true(vio_devq_miss(r.q, &iova, &access) && iova == 0x90008);
        assert_int_equal(vio_memory_iotlb_update(m, 0x90008, 0x1000, raw_at(&r, 0x4000), VIO_ACCESS_READ), 0);
        assert_int_equal(vio_devq_map_changed(r.q), VIO_FAULT_NONE);
        /* It came, and forbids. */
        assert_int_equal(vio_devq_take(r.q, &req, 1), 0);
        assert_false(vio_devq_miss(r.q, &iova, &access));
        assert_int_equal(vio_devq_fault(r.q), VIO_FAULT_DESC_ACCESS);
        raw_close(&r);
    }
}

/* A table's own bytes are translated too, and need only be readable. */
static void missing_table(void **state)
{
    struct vio_queue_state s;
    struct vio_req *req;
    uint64_t iova;
    unsigned access;
    struct raw r;

    (void)state;
    raw_open(&r, 8, INDIRECT, false);
    raw_start(&r);
    s = raw_stop(&r);
    vio_memory_iotlb_enable(r.g->memory, true);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(vio_memory_iotlb_update(r.g->memory, r.g->block[i].gpa, r.g->block[i].size, r.g->block[i].gpa,
                                                 VIO_ACCESS_BOTH), 0);
    assert_int_equal(raw_resume(&r, &s), VIO_FAULT_NONE);
    raw_table(&r, 0, 0x90000, 4, W, 0);
    one(&r, 1, 0x80000, 16, VIRTQ_DESC_F_INDIRECT);
    assert_int_equal(vio_devq_take(r.q, &req, 1), 0);
    assert_true(vio_devq_miss(r.q, &iova, &access) && iova == 0x80000 && access == VIO_ACCESS_READ);
    assert_int_equal(vio_memory_iotlb_update(r.g->memory, 0x80000, 16, r.g->table, VIO_ACCESS_READ), 0);
    assert_int_equal(vio_memory_iotlb_update(r.g->memory, 0x90000, 16, raw_at(&r, 0), VIO_ACCESS_WRITE), 0);
    assert_int_equal(vio_devq_map_changed(r.q), VIO_FAULT_NONE);
    assert_int_equal(vio_devq_take(r.q, &req, 1), 1);
    assert_true(req->out.left == 4);
    assert_int_equal(vio_memory_iotlb_update(r.g->memory, 0x80000, 16, r.g->table, VIO_ACCESS_WRITE), 0);
    assert_int_equal(vio_devq_map_changed(r.q), VIO_FAULT_NONE);
    one(&r, 2, 0x80000, 16, VIRTQ_DESC_F_INDIRECT);
    raw_expect(&r, 0, VIO_FAULT_DESC_ACCESS);
    raw_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_regions),        cmocka_unit_test(more_pieces_than_kept),
        cmocka_unit_test(tables_all_in_use),   cmocka_unit_test(missing_translations),
        cmocka_unit_test(missing_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
