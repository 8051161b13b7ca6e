/* SPDX-License-Identifier: MIT */
/* Purpose: every fault has a name of its own, a clause and a sentence; what is no fault has them too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <vio/fault.h>

static void complete(void **state)
{
    (void)state;
    for (int i = 1; i < VIO_FAULT_COUNT_; i++) {
        enum vio_fault f = (enum vio_fault)i;
        const char *name = vio_fault_name(f), *clause = vio_fault_clause(f), *text = vio_fault_text(f);

        if (strcmp(name, vio_fault_name(VIO_FAULT_NONE)) == 0)
            fail_msg("fault %d has no entry", i);
        assert_true(strlen(name) >= 4 && strlen(name) < 32);
        assert_true(strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name));
        assert_true(strncmp(clause, "virtio 1.4, ", 12) == 0 || strncmp(clause, "vhost-user, ", 12) == 0);
        if (clause[1] == 'i') /* one clause, or one for each device that has such requests */
            assert_true(strspn(clause + 12, "0123456789., ") == strlen(clause + 12) && clause[12] >= '2');
        assert_true(strlen(text) > 15 && text[strlen(text) - 1] != '.');
        for (int k = 0; k < i; k++)
            assert_string_not_equal(name, vio_fault_name((enum vio_fault)k));
    }
}

static void unknown_ones(void **state)
{
    (void)state;
    assert_string_equal(vio_fault_name(VIO_FAULT_NONE), "none");
    assert_string_equal(vio_fault_name(VIO_FAULT_COUNT_), "none");
    assert_string_equal(vio_fault_name((enum vio_fault)4711), "none");
    assert_non_null(vio_fault_clause((enum vio_fault)4711));
    assert_non_null(vio_fault_text((enum vio_fault)4711));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(complete), cmocka_unit_test(unknown_ones) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
