/* SPDX-License-Identifier: MIT */
/* cli/histogram: every time lands in a bucket that is not more than 1/32 wider than it, and percentiles are those of a list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/histogram.h"

static struct histogram h;

static void test_one_time(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 44; bit++) {
        for (int off = -1; off <= 1; off++) {
            uint64_t ns = (UINT64_C(1) << bit) + (uint64_t)(int64_t)off, at;

            histogram_reset(&h);
            histogram_add(&h, ns);
            histogram_add(&h, UINT64_C(1) << 60); /* so that the longest does not cut it */
            at = histogram_at(&h, 0.5);
            assert_true(at >= ns);
            assert_true(at <= ns + ns / 32);
        }
    }
}

static void test_beyond_the_last_bucket(void **state)
{
    (void)state;
    histogram_reset(&h);
    histogram_add(&h, UINT64_MAX);
    assert_int_equal(h.bucket[HISTOGRAM_BUCKETS - 1], 1);
    assert_true(histogram_at(&h, 1) <= UINT64_MAX);
    assert_true(h.min == UINT64_MAX && h.max == UINT64_MAX);
}

static void test_nothing(void **state)
{
    (void)state;
    histogram_reset(&h);
    assert_int_equal(histogram_at(&h, 0.99), 0);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void test_percentiles_of_a_list(void **state)
{
    static const double shares[] = { 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1 };
    enum { N = 10000 };
    uint64_t *list = malloc(N * sizeof(*list)), random = 1;

    (void)state;
    assert_non_null(list);
    histogram_reset(&h);
    for (unsigned i = 0; i < N; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        list[i] = random >> 40 >> (random >> 33 & 15);
        histogram_add(&h, list[i]);
    }
    qsort(list, N, sizeof(*list), by_value);
    for (unsigned i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        uint64_t right = list[(unsigned)(shares[i] * N + 0.5) - 1], got = histogram_at(&h, shares[i]);

        assert_true(got >= right && got <= right + right / 32);
    }
    assert_true(h.min == list[0] && h.max == list[N - 1] && h.count == N);
    free(list);
}

static void test_merged(void **state)
{
    static struct histogram other;

    (void)state;
    histogram_reset(&h);
    histogram_reset(&other);
    histogram_add(&h, 10);
    histogram_add(&other, 5000);
    histogram_add(&other, 3);
    histogram_merge(&h, &other);
    assert_int_equal(h.count, 3);
    assert_int_equal(h.sum, 5013);
    assert_true(h.min == 3 && h.max == 5000);
    assert_int_equal(histogram_at(&h, 0.5), 10);
    assert_int_equal(histogram_at(&h, 1), 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_time), cmocka_unit_test(test_beyond_the_last_bucket), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_percentiles_of_a_list), cmocka_unit_test(test_merged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
