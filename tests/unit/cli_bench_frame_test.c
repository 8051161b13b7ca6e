/* SPDX-License-Identifier: MIT */
/* cli/bench_frame: a changed byte is seen wherever it is; which numbers came is what a list of them says, in any order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench_frame.h"

enum { SEED = 7, NUMBERS = 20000 };

static void make(uint8_t *frame, uint32_t size)
{
    frame_make(frame, size, 3);
    frame_stamp(frame, size, 1000, UINT64_C(123456789), 3, SEED);
    frame_fill(frame, size);
}

static void test_a_frame(void **state)
{
    static const uint32_t sizes[] = { FRAME_MIN, 61, 64, 67, 1518, 9000 };
    uint8_t frame[9000];
    struct frame_stamp stamp;

    (void)state;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        make(frame, sizes[i]);
        assert_true(frame_ours(frame, sizes[i], sizes[i], SEED, &stamp));
        assert_true(stamp.number == 1000 && stamp.mark == (FRAME_MARK | 3));
        assert_int_equal(stamp.ticks, 123456789 / FRAME_TICK);
        assert_true(frame_whole(frame, sizes[i], &stamp));
        assert_true(frame_sums_right(frame, sizes[i]));
        assert_false(frame_ours(frame, sizes[i], sizes[i], SEED + 1, &stamp));
        assert_false(frame_ours(frame, sizes[i], sizes[i] + 1, SEED, &stamp)); /* a byte more than was sent */
        assert_false(frame_ours(frame, FRAME_MIN - 1, sizes[i], SEED, &stamp));
    }
}

/* Each byte behind the Ethernet addresses. */
static void test_any_byte_changed(void **state)
{
    uint8_t frame[130];
    struct frame_stamp stamp;

    (void)state;
    for (uint32_t at = 12; at < sizeof(frame); at++) {
        make(frame, sizeof(frame));
        frame[at] ^= 0x20;
        assert_false(frame_ours(frame, sizeof(frame), sizeof(frame), SEED, &stamp) && frame_whole(frame, sizeof(frame), &stamp));
        if (at >= FRAME_STAMP && at < FRAME_MIN)
            assert_int_equal(frame_other(frame, sizeof(frame), true, &stamp), FRAME_CORRUPT);
    }
}

static void test_frames_of_others(void **state)
{
    uint8_t frame[100];
    struct frame_stamp stamp = { 0 };

    (void)state;
    make(frame, sizeof(frame));
    memset(frame + FRAME_STAMP, 0, sizeof(frame) - FRAME_STAMP);
    frame[FRAME_STAMP] = 77; /* a running number, and no more */
    assert_int_equal(frame_other(frame, sizeof(frame), false, &stamp), FRAME_NUMBERED);
    assert_int_equal(stamp.number, 77);
    frame[FRAME_STAMP] = 0;
    frame[FRAME_STAMP + 7] = 78; /* the other way round */
    assert_int_equal(frame_other(frame, sizeof(frame), false, &stamp), FRAME_NUMBERED);
    assert_int_equal(stamp.number, 78);
    assert_true(frame_sums_right(frame, sizeof(frame)));
    frame[30] ^= 1; /* of an address: the sum of IPv4 is over it */
    assert_false(frame_sums_right(frame, sizeof(frame)));
    frame[12] = 0x86; /* not IPv4 */
    assert_int_equal(frame_other(frame, sizeof(frame), false, &stamp), FRAME_FOREIGN);
    assert_int_equal(frame_other(frame, 20, false, &stamp), FRAME_FOREIGN);
}

/* ------------------------------------------------------------------ sequences */

static uint64_t rng = 1;

static uint64_t random_of(uint64_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % n;
}

/* Some are lost, some come twice, some later by less than is remembered; held against plain counting. */
static void test_any_order(void **state)
{
    struct frame_sequence *s = calloc(1, sizeof(*s));
    uint64_t *order = calloc(NUMBERS * 2, sizeof(*order)), highest = 0, unique = 0, late = 0, twice = 0;
    uint8_t *came = calloc(NUMBERS, 1);
    unsigned n = 0;

    (void)state;
    for (uint64_t i = 0; i < NUMBERS; i++) {
        if (random_of(10) == 0)
            continue;
        order[n++] = i;
        if (random_of(20) == 0)
            order[n++] = i - random_of(i < 50 ? i + 1 : 50);
        if (n > 40 && random_of(15) == 0) {
            unsigned other = n - 1 - (unsigned)random_of(40);
            uint64_t keep = order[n - 1];

            order[n - 1] = order[other];
            order[other] = keep;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        bool is_late = i > 0 && order[i] < highest;

        sequence_note(s, order[i]);
        twice += came[order[i]];
        late += !came[order[i]] && is_late;
        unique += !came[order[i]];
        came[order[i]] = 1;
        highest = order[i] > highest ? order[i] : highest;
    }
    assert_true(unique > NUMBERS / 2 && late > 0 && twice > 0);
    assert_true(s->unique == unique && s->late == late && s->twice == twice);
    assert_true(s->next == highest + 1);
    free(order);
    free(came);
    free(s);
}

static void test_far_jumps(void **state)
{
    struct frame_sequence *s = calloc(1, sizeof(*s));

    (void)state;
    sequence_note(s, UINT64_C(1) << 40);
    sequence_note(s, (UINT64_C(1) << 40) + 1000000); /* beyond all that is remembered */
    sequence_note(s, (UINT64_C(1) << 40) + 1000000);
    sequence_note(s, (UINT64_C(1) << 40) + 999999);
    sequence_note(s, (UINT64_C(1) << 40) + 1);       /* too late to know whether it came */
    sequence_note(s, (UINT64_C(1) << 40) + 1000001);
    assert_true(s->unique == 5 && s->late == 2 && s->twice == 1);
    assert_true(s->first == UINT64_C(1) << 40 && s->next == (UINT64_C(1) << 40) + 1000002);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_frame), cmocka_unit_test(test_any_byte_changed), cmocka_unit_test(test_frames_of_others),
        cmocka_unit_test(test_any_order), cmocka_unit_test(test_far_jumps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
