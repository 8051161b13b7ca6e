/* SPDX-License-Identifier: MIT */
/*
 * A call that waits for one of several queues looked at the clock only where no queue had anything: a device that gives every
 * buffer back at once, empty, kept the console's owner in it for ever.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <vio/drv_console.h>

#include "script_device.h"

static void the_time_is_over_all_the_same(void **state)
{
    struct script *s = script_new();
    struct vio_drv_console *c;
    uint64_t before;

    (void)state;
    script_start(s, 2, 0, NULL, 0, &vio_driver_console); /* no answer of the script's is an empty one */
    c = vio_drv_console_of(s->d);
    assert_non_null(c);
    before = s->f->now;
    assert_int_equal(vio_drv_console_wait(c, 0, VIO_DRV_CONSOLE_READABLE, 50000000), -ETIMEDOUT);
    assert_true(s->f->now - before >= 50000000);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    script_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_time_is_over_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
