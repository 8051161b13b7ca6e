/* SPDX-License-Identifier: MIT */
/* Sentences without printf: every conversion that there is beside the C library's, and what does not fit. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/format.h"

#define SAME(...)                                                                                   \
    do {                                                                                            \
        char ours[128], theirs[128];                                                                \
        vio_format(ours, sizeof(ours), __VA_ARGS__);                                                \
        snprintf(theirs, sizeof(theirs), __VA_ARGS__);                                              \
        assert_string_equal(ours, theirs);                                                          \
    } while (0)

static void as_printf_does(void **state)
{
    (void)state;
    SAME("plain");
    SAME("%s %u %d %x %c %%", "text", 42u, -42, 0xbeefu, 'x');
    SAME("%u %d %d %x", UINT32_MAX, INT32_MIN, INT32_MAX, UINT32_MAX);
    SAME("%lu %lx %ld", UINT64_MAX, UINT64_MAX, INT64_MIN);
    SAME("%llu %llx %lld", ~0ull, 1ull << 63, -1ll);
    SAME("%zu %" PRIu64 " %" PRIx64, sizeof(int), UINT64_C(7), UINT64_C(7));
    SAME("%04x %08llx %2u %05d %1x", 0xabu, 0xcdull, 7u, -7, 0x123u);
    SAME("%u/%u", 0u, 0u);
}

static void cut_and_unknown(void **state)
{
    char small[5] = "????";

    (void)state;
    vio_format(small, sizeof(small), "%s", "longer than that");
    assert_string_equal(small, "long");
    vio_format(small, 1, "x");
    assert_string_equal(small, "");
    small[0] = '!';
    vio_format(small, 0, "x");
    assert_int_equal(small[0], '!');
    char all[32];
    const char *odd = "a %q %u"; /* %q is not ours: nothing after it is touched */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    vio_format(all, sizeof(all), odd, 1u);
#pragma GCC diagnostic pop
    assert_string_equal(all, "a %q %u");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_printf_does),
        cmocka_unit_test(cut_and_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
