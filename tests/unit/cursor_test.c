/* SPDX-License-Identifier: MIT */
/* Purpose: readers and writers over any segmentation, compared with one flat array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vio/cursor.h>

#include "support/rng.h"

enum { TOTAL = 400, SEGS = 60 };

struct pieces {
    struct vio_seg seg[SEGS];
    uint8_t *owned[SEGS];
    uint32_t nr;
    size_t total;
};

/* Each piece its own allocation, so that a sanitizer sees a byte too many. */
static void cut(struct pieces *p, struct rng *rng, const uint8_t *bytes, size_t total)
{
    *p = (struct pieces){ .total = total };
    for (size_t at = 0; at < total; p->nr++) {
        size_t n = p->nr == SEGS - 1 ? total - at : rng_range(rng, 1, (uint32_t)(total - at) < 20 ? (uint32_t)(total - at) : 20);

        p->owned[p->nr] = malloc(n);
        memcpy(p->owned[p->nr], bytes + at, n);
        p->seg[p->nr] = (struct vio_seg){ p->owned[p->nr], n };
        at += n;
    }
}

/* All bytes as they are now; frees the pieces. */
static void join(struct pieces *p, const struct vio_seg *first, uint8_t *to)
{
    size_t at = 0;

    for (uint32_t i = 0; i < p->nr; i++) {
        memcpy(to + at, p->owned[i], first[i].len);
        at += first[i].len;
        free(p->owned[i]);
    }
    assert_int_equal(at, p->total);
}

static void reader_against_flat(void **state)
{
    struct rng rng = rng_of(1);
    uint8_t flat[TOTAL], got[TOTAL + 1], back[TOTAL];
    struct vio_seg first[SEGS];
    struct pieces p;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        size_t total = rng_range(&rng, 1, TOTAL), at = 0;
        struct vio_reader r;

        for (size_t i = 0; i < total; i++)
            flat[i] = (uint8_t)rng_u64(&rng);
        cut(&p, &rng, flat, total);
        memcpy(first, p.seg, sizeof(first));
        r = (struct vio_reader){ .seg = p.seg, .nr = p.nr, .left = total };
        while (at < total) {
            size_t n = rng_range(&rng, 0, 50), have = n < total - at ? n : total - at;

            switch (rng_below(&rng, 3)) {
            case 0:
                assert_true(vio_reader_get(&r, got, n) == (have == n));
                have = have == n ? n : 0;
                assert_memory_equal(got, flat + at, have);
                break;
            case 1:
                assert_int_equal(vio_reader_get_some(&r, got, n), have);
                assert_memory_equal(got, flat + at, have);
                break;
            default:
                vio_reader_skip(&r, n);
            }
            at += have;
            assert_true(r.left == total - at);
        }
        assert_true(r.nr == 0 && !vio_reader_get(&r, got, 1) && vio_reader_get(&r, got, 0));
        vio_reader_skip(&r, UINT64_MAX);
        join(&p, first, back);
        assert_memory_equal(back, flat, total);
    }
}

static void writer_against_flat(void **state)
{
    struct rng rng = rng_of(2);
    uint8_t flat[TOTAL], data[TOTAL], back[TOTAL];
    struct vio_seg first[SEGS];
    struct pieces p;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        size_t total = rng_range(&rng, 1, TOTAL), room = total, at = 0;
        struct vio_writer w;

        memset(flat, 0xee, sizeof(flat));
        cut(&p, &rng, flat, total);
        memcpy(first, p.seg, sizeof(first));
        w = (struct vio_writer){ .seg = p.seg, .nr = p.nr, .left = total };
        for (int op = 0; op < 20; op++) {
            size_t n = rng_range(&rng, 0, 40), have = n < room - at ? n : room - at;

            for (size_t i = 0; i < n; i++)
                data[i] = (uint8_t)rng_u64(&rng);
            switch (rng_below(&rng, 5)) {
            case 0:
                assert_true(vio_writer_put(&w, data, n) == (have == n));
                have = have == n ? n : 0;
                memcpy(flat + at, data, have);
                break;
            case 1:
                assert_int_equal(vio_writer_put_some(&w, data, n), have);
                memcpy(flat + at, data, have);
                break;
            case 2:
                assert_true(vio_writer_zero(&w, n) == (have == n));
                have = have == n ? n : 0;
                memset(flat + at, 0, have);
                break;
            case 3:
                vio_writer_wrote(&w, n);
                break;
            default: {
                uint8_t *last = vio_writer_take_last(&w);

                have = 0;
                assert_true((last != NULL) == (room == total && at < room));
                if (last != NULL) {
                    *last = flat[total - 1] = 0x5a;
                    room--;
                }
            }
            }
            at += have;
            assert_true(w.left == room - at && w.written == at);
        }
        join(&p, first, back);
        assert_memory_equal(back, flat, total);
    }
}

/* A backend may eat up all segments in place, as readv loops do, before it says how much that was. */
static void eaten_in_place(void **state)
{
    uint8_t a[4], b[4];
    struct vio_seg seg[2] = { { a + 4, 0 }, { b + 4, 0 } };
    struct vio_writer w = { .seg = seg, .nr = 2, .left = 8 };
    struct vio_reader r = { .seg = seg, .nr = 2, .left = 8 };

    (void)state;
    vio_writer_wrote(&w, 8);
    assert_true(w.left == 0 && w.written == 8);
    assert_false(vio_writer_zero(&w, 1));
    vio_reader_skip(&r, 8);
    assert_true(r.left == 0);
    assert_int_equal(vio_reader_get_some(&r, a, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reader_against_flat), cmocka_unit_test(writer_against_flat),
                                        cmocka_unit_test(eaten_in_place) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
