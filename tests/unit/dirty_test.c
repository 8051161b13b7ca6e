/* SPDX-License-Identifier: MIT */
/* Purpose: the dirty log: exactly the bits of the pages written, no others, by address and by host pointer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <vio/memory.h>

#include "memory/map.h"
#include "support/raw.h"

enum { PAGES = 300, OFFSET = 4321, BYTES = (PAGES + 7) / 8 };

struct log {
    struct vio_memory *m;
    int fd;
    uint8_t *bits;
};

static void open_log(struct log *l, struct vio_memory *m)
{
    l->m = m;
    l->fd = memfd_create("log", 0);
    assert_true(l->fd >= 0 && ftruncate(l->fd, OFFSET + BYTES + 100) == 0);
    l->bits = (uint8_t *)mmap(NULL, OFFSET + BYTES + 100, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0) + OFFSET;
    assert_int_equal(vio_memory_log_set(m, l->fd, OFFSET, BYTES), 0);
    vio_memory_log_enable(m, true);
}

static void close_log(struct log *l)
{
    munmap(l->bits - OFFSET, OFFSET + BYTES + 100);
    close(l->fd);
}

static void against_oracle(void **state)
{
    static uint8_t host[3][PAGES * 4096 / 2];
    struct vio_memory_region r[3] = { { 0, 100 * 4096 + 17, 0 }, { 100 * 4096 + 17, 4096 * 2, 0x1000000 },
                                      { 120 * 4096 + 5, 4096 * 20, 0x2000000 } };
    uint8_t want[BYTES + 100] = { 0 };
    struct rng rng = rng_of(3);
    struct vio_memory *m;
    struct log l;

    (void)state;
    assert_int_equal(vio_memory_create(&m), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(vio_memory_add_host(m, &r[i], host[i]), 0);
    open_log(&l, m);
    for (int round = 0; round < 400; round++) {
        unsigned i = rng_below(&rng, 3);
        uint64_t off = rng_below(&rng, (uint32_t)r[i].size), len = rng_range(&rng, 1, 9000);

        if (len > r[i].size - off)
            len = r[i].size - off;
        if (rng_below(&rng, 2) != 0)
            vio_dirty_mark(vio_memory_map(m), r[i].gpa + off, len);
        else
            vio_dirty_mark_host(vio_memory_map(m), host[i] + off, len);
        for (uint64_t b = r[i].gpa + off; b < r[i].gpa + off + len; b++)
            want[b / 4096 / 8] |= (uint8_t)(1u << (b / 4096 % 8));
        assert_memory_equal(l.bits, want, BYTES + 100);
        /* The front-end takes some marks away, as it does when it has sent those pages. */
        if (rng_below(&rng, 4) == 0) {
            memset(l.bits, 0, BYTES);
            memset(want, 0, BYTES);
        }
    }
    close_log(&l);
    vio_memory_destroy(m);
}

static void at_the_edges(void **state)
{
    uint8_t zero[BYTES + 100] = { 0 };
    struct vio_memory *m;
    struct log l;

    (void)state;
    assert_int_equal(vio_memory_create(&m), 0);
    open_log(&l, m);
    vio_dirty_mark(vio_memory_map(m), 0, 0);
    vio_dirty_mark(vio_memory_map(m), BYTES * 8 * UINT64_C(4096), 4096); /* beyond the log */
    vio_dirty_mark(vio_memory_map(m), UINT64_MAX - 1, 2);
    vio_dirty_mark(vio_memory_map(m), UINT64_MAX, 2); /* wraps */
    vio_dirty_mark_host(vio_memory_map(m), zero, 1);  /* nobody's */
    assert_memory_equal(l.bits, zero, BYTES + 100);
    vio_dirty_mark(vio_memory_map(m), BYTES * 8 * UINT64_C(4096) - 1, 5000); /* runs over the end */
    assert_int_equal(l.bits[BYTES - 1], 0x80);
    assert_memory_equal(l.bits + BYTES, zero, 100);
    l.bits[BYTES - 1] = 0;
    vio_memory_log_enable(m, false);
    vio_dirty_mark(vio_memory_map(m), 0, 100);
    assert_memory_equal(l.bits, zero, BYTES);
    /* A log that is too short for its file, or none. */
    assert_int_equal(vio_memory_log_set(m, l.fd, OFFSET, BYTES + 101), -6);
    assert_int_equal(vio_memory_log_set(m, l.fd, 0, 0), -22);
    close_log(&l);
    vio_memory_destroy(m);
}

/* What a queue marks: the buffer's writable pages when it is put, the used element, the index, the event. */
static void by_a_queue(void **state)
{
    struct vio_queue_state s;
    struct vio_req *req;
    struct log l;
    struct raw r;

    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        uint8_t want[BYTES] = { 0 };
        uint64_t at;

        raw_open(&r, 8, packed ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0, false);
        raw_start(&r);
        s = raw_stop(&r);
        open_log(&l, r.g->memory);
        assert_int_equal(raw_resume(&r, &s), VIO_FAULT_NONE);
        at = raw_at(&r, 3 * 4096 - 6);
        if (packed) {
            raw_packed(&r, at, 12, 1, VIRTQ_DESC_F_WRITE);
        } else {
            raw_desc(&r, 1, at, 12, VIRTQ_DESC_F_WRITE, 0);
            raw_avail(&r, 1);
        }
        assert_int_equal(vio_devq_take(r.q, &req, 1), 1);
        assert_memory_equal(l.bits, want, BYTES); /* not before the bytes are there */
        assert_true(vio_writer_zero(&req->out, 12));
        vio_devq_put(r.q, req);
        for (uint64_t b = at; b < at + 12; b++)
            want[b / 4096 / 8] |= (uint8_t)(1u << (b / 4096 % 8));
        assert_memory_equal(l.bits, want, BYTES);
        assert_true(vio_devq_publish(r.q));
        /* raw's queue does not ask for the device area's log: packed descriptors are logged all the same. */
        if (packed)
            want[r.g->desc / 4096 / 8] |= (uint8_t)(1u << (r.g->desc / 4096 % 8));
        assert_memory_equal(l.bits, want, BYTES);
        raw_close(&r);
        close_log(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(against_oracle), cmocka_unit_test(at_the_edges),
                                        cmocka_unit_test(by_a_queue) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
