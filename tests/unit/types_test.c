/* SPDX-License-Identifier: MIT */
/* Purpose: wire types, guest addresses and checked sums: bytes in memory, and every edge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <vio/features.h>
#include <vio/types.h>

static void bytes_are(const void *at, const char *want, size_t n)
{
    assert_memory_equal(at, want, n);
}

static void little_endian_bytes(void **state)
{
    vio_le16 a = vio_le16_of(0x1234);
    vio_le32 b = vio_le32_of(0x12345678);
    vio_le64 c = vio_le64_of(UINT64_C(0x123456789abcdef0));

    (void)state;
    bytes_are(&a, "\x34\x12", 2);
    bytes_are(&b, "\x78\x56\x34\x12", 4);
    bytes_are(&c, "\xf0\xde\xbc\x9a\x78\x56\x34\x12", 8);
    assert_int_equal(vio_cpu(a), 0x1234);
    assert_int_equal(vio_cpu(b), 0x12345678);
    assert_true(vio_cpu(c) == UINT64_C(0x123456789abcdef0));
}

static void big_endian_bytes(void **state)
{
    vio_be16 a = vio_be16_of(0x1234);
    vio_be32 b = vio_be32_of(0x12345678);
    vio_be64 c = vio_be64_of(UINT64_C(0x123456789abcdef0));

    (void)state;
    bytes_are(&a, "\x12\x34", 2);
    bytes_are(&b, "\x12\x34\x56\x78", 4);
    bytes_are(&c, "\x12\x34\x56\x78\x9a\xbc\xde\xf0", 8);
    assert_int_equal(vio_cpu(a), 0x1234);
    assert_int_equal(vio_cpu(b), 0x12345678);
    assert_true(vio_cpu(c) == UINT64_C(0x123456789abcdef0));
}

static void widths(void **state)
{
    (void)state;
    assert_int_equal(sizeof(vio_cpu(vio_le16_of(0))), 2);
    assert_int_equal(sizeof(vio_cpu(vio_be32_of(0))), 4);
    assert_int_equal(sizeof(vio_cpu(vio_le64_of(0))), 8);
    assert_int_equal(sizeof(vio_le16), 2);
    assert_int_equal(sizeof(vio_be64), 8);
    assert_int_equal(sizeof(vio_gpa), 8);
}

static void sums_that_fit(void **state)
{
    uint64_t out = 7;
    vio_gpa a;

    (void)state;
    assert_true(vio_add_u64(UINT64_MAX - 1, 1, &out) && out == UINT64_MAX);
    assert_true(vio_mul_u64(UINT64_C(1) << 32, UINT32_MAX, &out) && out == (UINT64_C(1) << 32) * UINT32_MAX);
    assert_true(vio_gpa_add(vio_gpa_of(16), UINT64_MAX - 16, &a) && vio_gpa_raw(a) == UINT64_MAX);
}

static void sums_that_do_not(void **state)
{
    uint64_t out = 7;
    vio_gpa a = vio_gpa_of(5);

    (void)state;
    assert_false(vio_add_u64(UINT64_MAX, 1, &out));
    assert_false(vio_add_u64(UINT64_MAX, UINT64_MAX, &out));
    assert_false(vio_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    assert_true(out == 7);
    assert_false(vio_gpa_add(vio_gpa_of(UINT64_MAX), 1, &a));
    assert_true(vio_gpa_raw(a) == 5);
}

static void ranges(void **state)
{
    (void)state;
    assert_true(vio_range_ok(0, 0, 0));
    assert_true(vio_range_ok(10, 0, 10));
    assert_false(vio_range_ok(11, 0, 10));
    assert_true(vio_range_ok(3, 7, 10));
    assert_false(vio_range_ok(3, 8, 10));
    assert_false(vio_range_ok(3, UINT64_MAX, 10));
    assert_false(vio_range_ok(UINT64_MAX, UINT64_MAX, UINT64_MAX));
    assert_true(vio_range_ok(0, UINT64_MAX, UINT64_MAX));
}

static void feature_bits(void **state)
{
    struct vio_features f = vio_features_of(1), g = vio_features_of(3);

    (void)state;
    for (unsigned bit = 1; bit < VIO_FEATURE_BITS; bit++) {
        assert_false(vio_features_has(f, bit));
        vio_features_set(&f, bit);
        assert_true(vio_features_has(f, bit));
        vio_features_clear(&f, bit);
        assert_false(vio_features_has(f, bit));
    }
    vio_features_set(&f, VIO_FEATURE_BITS);
    assert_false(vio_features_has(f, VIO_FEATURE_BITS));
    assert_false(vio_features_has(f, UINT32_MAX));
    vio_features_set(&f, 100);
    assert_true(vio_features_has(vio_features_or(f, g), 100) && vio_features_has(vio_features_or(f, g), 1));
    assert_true(vio_features_has(vio_features_minus(f, g), 100) && !vio_features_has(vio_features_minus(f, g), 0));
    assert_true(vio_features_and(f, g).w[0] == 1 && vio_features_and(f, g).w[1] == 0);
    assert_true(vio_features_none(vio_features_minus(g, g)));
    assert_false(vio_features_none(f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_endian_bytes), cmocka_unit_test(big_endian_bytes), cmocka_unit_test(widths),
        cmocka_unit_test(sums_that_fit),       cmocka_unit_test(sums_that_do_not), cmocka_unit_test(ranges),
        cmocka_unit_test(feature_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
