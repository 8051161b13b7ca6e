/* SPDX-License-Identifier: MIT */
/* The driver core's other lives: broken devices, recovery, suspend and resume, queue reset, reconnect; and every failure. */
#include <errno.h>

#include "driver_core_help.h"

/* All buffers of a queue there and back once more. */
static void check_works(struct world *w, uint16_t queue)
{
    unsigned before = w->got[queue];

    assert_int_equal(vio_drvdev_status(w->d), VIO_DRVDEV_RUNS);
    for (unsigned i = 0; i < 5; i++)
        world_put(w, queue, 1000 + i);
    vio_drvdev_publish(w->d, queue);
    assert_int_equal(vio_drvdev_wait(w->d, queue, UINT64_C(1000000000)), 0);
    world_collect(w->d, queue);
    assert_int_equal(w->got[queue], before + 5);
}

static void test_broken_and_recovered(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2, 0, 0);
    world_add(&w, NULL);
    check_works(&w, 0);
    w.e.hold = true;
    for (unsigned i = 0; i < 3; i++)
        world_put(&w, 1, i);
    vio_drvdev_publish(w.d, 1);
    vio_drvdev_broken(w.d, "it lies", "a clause");
    vio_drvdev_broken(w.d, "and more", NULL); /* the first stays */
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_BROKEN);
    assert_string_equal(vio_drvdev_why(w.d), "it lies");
    assert_int_equal(vio_drvdev_wait(w.d, 1, 0), -EIO); /* of the control thread: now it is said */
    assert_non_null(strstr(vio_drvdev_why(w.d), "it lies (a clause)"));
    assert_true(fake_said(w.f, "it lies (a clause)"));
    assert_int_equal(w.f->status[w.f->nr_status - 1], 15 | VIRTIO_STATUS_FAILED);
    assert_int_equal(vio_drvdev_suspend(w.d), -EINVAL);
    assert_int_equal(vio_drvdev_queue_reset(w.d, 0, 0, NULL, NULL), -EIO);
    assert_int_equal(vio_drvdev_reconnect(w.d), -EINVAL); /* not by its connection */
    w.e.hold = false;
    assert_int_equal(vio_drvdev_recover(w.d), 0);
    assert_int_equal(w.lost[1], 3);
    assert_int_equal(w.probes, 2);
    assert_int_equal(w.removes, 1);
    check_works(&w, 0);
    check_works(&w, 1);
    assert_int_equal(vio_drvdev_recover(w.d), 0); /* also where nothing is wrong */
    check_works(&w, 1);
    world_free(&w);
}

static void test_needs_reset(void **state)
{
    static const int bad[] = { 15 | VIRTIO_STATUS_NEEDS_RESET, 0xff, 0, 11 };
    struct world w;

    (void)state;
    world_init(&w, 1, 0, 0);
    world_add(&w, NULL);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        w.f->status_reads = bad[i];
        vio_drvdev_event(w.d, VIO_EVENT_QUEUE_CONFIG);
        assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_BROKEN);
        w.f->status_reads = -1;
        vio_drvdev_event(w.d, VIO_EVENT_QUEUE_CONFIG);
        assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_BROKEN); /* it stays so */
        assert_int_equal(w.changes, 0);
        assert_int_equal(vio_drvdev_recover(w.d), 0);
        check_works(&w, 0);
    }
    world_free(&w);
}

static void world_collect_all(struct world *w)
{
    unsigned got = w->got[0];

    vio_drvdev_event(w->d, 0);
    vio_drvdev_interrupt(w->d);
    vio_drvdev_publish(w->d, 0);
    assert_int_equal(vio_drvdev_wait(w->d, 0, 1000), -EINVAL);
    assert_int_equal(w->got[0], got);
}

static void test_reset_that_does_not_end(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, 0, 0);
    w.plans[0].polled = false;
    w.plans[0].callback = world_collect;
    w.f->reset_reads = 20; /* slow, and fine */
    world_add(&w, NULL);
    check_works(&w, 0);
    w.f->reset_never = true;
    assert_int_equal(vio_drvdev_recover(w.d), -ETIMEDOUT);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_FAILED);
    assert_non_null(strstr(vio_drvdev_why(w.d), "2.1.2"));
    assert_int_equal(w.removes, 0); /* its memory is not given back while the device may write to it */
    assert_null(vio_drvdev_queue(w.d, 0));
    world_collect_all(&w); /* and nobody is called for its queues */
    w.f->reset_never = false;
    assert_int_equal(vio_drvdev_recover(w.d), 0);
    assert_int_equal(w.removes, 1);
    check_works(&w, 0);
    w.f->reset_never = true;
    vio_bus_remove(w.d);
    assert_true(fake_said(w.f, "may still write"));
    assert_int_equal(w.removes, 2);
    w.f->reset_never = false;
    world_free(&w);
}

static void check_suspend(bool freezes)
{
    struct world w;

    world_init(&w, 2, 0xff, 0);
    w.driver.features = vio_features_of(0x3);
    if (freezes) {
        w.driver.freeze = world_freeze;
        w.driver.restore = world_restore;
    }
    world_add(&w, NULL);
    check_works(&w, 0);
    assert_int_equal(vio_drvdev_resume(w.d), -EINVAL);
    assert_int_equal(vio_drvdev_suspend(w.d), 0);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_SUSPENDED);
    assert_int_equal(vio_device_status(w.e.dev), 0);
    assert_int_equal(vio_drvdev_suspend(w.d), -EINVAL);
    assert_int_equal(vio_drvdev_recover(w.d), -EBUSY);
    assert_null(vio_drvdev_queue(w.d, 0));
    vio_drvdev_interrupt(w.d);
    vio_drvdev_event(w.d, 0);
    vio_drvdev_event(w.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(vio_drvdev_resume(w.d), 0);
    check_works(&w, 0);
    check_works(&w, 1);
    assert_int_equal(w.probes, freezes ? 1 : 2);
    assert_int_equal(w.removes, freezes ? 0 : 1);
    assert_int_equal(w.restores, freezes);
    assert_int_equal(vio_drvdev_suspend(w.d), 0);
    world_free(&w); /* while suspended */
}

static void test_suspend(void **state)
{
    struct world w;

    (void)state;
    check_suspend(false);
    check_suspend(true);

    world_init(&w, 1, 0xff, 0);
    w.driver.freeze = world_freeze;
    w.driver.restore = world_restore;
    w.driver.features = vio_features_of(0x3);
    world_add(&w, NULL);
    w.freeze_error = -EBUSY;
    assert_int_equal(vio_drvdev_suspend(w.d), -EBUSY); /* the driver is not quiet: it goes on */
    check_works(&w, 0);
    w.freeze_error = 0;
    assert_int_equal(vio_drvdev_suspend(w.d), 0);
    w.restore_error = -EIO;
    assert_int_equal(vio_drvdev_resume(w.d), -EIO);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_FAILED);
    assert_int_equal(w.removes, 1);
    w.restore_error = 0;
    assert_int_equal(vio_drvdev_recover(w.d), 0);
    assert_int_equal(vio_drvdev_suspend(w.d), 0);
    w.driver.features = vio_features_of(0x1); /* as if the device had other features now */
    assert_int_equal(vio_drvdev_resume(w.d), -EPROTO);
    assert_int_equal(vio_drvdev_recover(w.d), 0);
    check_works(&w, 0);
    world_free(&w);
}

static void count_lost(void *ctx, uint64_t token)
{
    (void)token;
    ++*(unsigned *)ctx;
}

static void check_queue_reset(uint64_t ring)
{
    struct world w;
    unsigned lost = 0;

    world_init(&w, 2, 0, 0);
    w.driver.features = vio_features_of(ring);
    world_add(&w, NULL);
    check_works(&w, 0);
    check_works(&w, 1);
    w.f->asleep = true; /* what is put is not taken */
    for (unsigned i = 0; i < 4; i++)
        world_put(&w, 0, i);
    world_put(&w, 1, 7);
    vio_drvdev_publish(w.d, 0);
    vio_drvdev_publish(w.d, 1);
    assert_int_equal(vio_drvdev_queue_reset(w.d, 0, 16, count_lost, &lost), 0);
    assert_int_equal(lost, 4);
    assert_int_equal(vio_drvdev_queue_size(w.d, 0), 16);
    w.f->asleep = false;
    fake_serve(w.f);
    check_works(&w, 0);
    world_collect(w.d, 1); /* the other one lost nothing */
    assert_int_equal(w.got[1], 6);
    check_works(&w, 1);
    assert_int_equal(vio_drvdev_queue_reset(w.d, 0, 0, NULL, NULL), 0);
    assert_int_equal(vio_drvdev_queue_size(w.d, 0), 16);
    check_works(&w, 0);
    assert_int_equal(vio_drvdev_queue_reset(w.d, 2, 0, NULL, NULL), -EINVAL);
    world_free(&w);
}

static void test_queue_reset(void **state)
{
    struct world w;

    (void)state;
    check_queue_reset(0);
    check_queue_reset(PACKED);
    check_queue_reset(INDIRECT | EVENT_IDX);

    world_init(&w, 1, 0, 0);
    w.f->ops.queue_stop = NULL;
    world_add(&w, NULL);
    assert_false(vio_drvdev_has(w.d, VIRTIO_F_RING_RESET));
    assert_int_equal(vio_drvdev_queue_reset(w.d, 0, 0, NULL, NULL), -ENOTSUP);
    world_free(&w);

    /* no memory: as if nothing had been asked; a queue that does not start again: broken, and recovered */
    world_init(&w, 1, 0, 0);
    world_add(&w, NULL);
    for (unsigned n = 1; n <= 2; n++) {
        w.f->fail_allocation = n;
        assert_int_equal(vio_drvdev_queue_reset(w.d, 0, 0, NULL, NULL), -ENOMEM);
        check_works(&w, 0);
    }
    w.f->fail_on = FAKE_QUEUE_START;
    w.f->fail_error = -EIO;
    assert_int_equal(vio_drvdev_queue_reset(w.d, 0, 0, NULL, NULL), -EIO);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_BROKEN);
    w.f->fail_error = 0;
    assert_int_equal(vio_drvdev_recover(w.d), 0);
    check_works(&w, 0);
    world_free(&w);
}

static void check_reconnect(uint64_t ring)
{
    struct world w;
    struct vio_drvq *q;

    world_init(&w, 2, 0, ring & IN_ORDER);
    w.driver.features = vio_features_of(ring);
    world_add(&w, NULL);
    check_works(&w, 0);
    q = vio_drvdev_queue(w.d, 0);
    w.f->asleep = true;
    for (unsigned i = 0; i < 6; i++)
        world_put(&w, 0, i);
    vio_drvdev_publish(w.d, 0);
    w.f->fail_on = FAKE_STATUS_GET; /* the line is cut */
    w.f->fail_error = -ECONNRESET;
    vio_drvdev_event(w.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_BROKEN);
    w.f->fail_error = 0;
    w.f->fail_on = FAKE_RECONNECT;
    w.f->fail_error = -ECONNREFUSED;
    assert_int_equal(vio_drvdev_reconnect(w.d), -ECONNREFUSED);
    w.f->fail_error = 0;
    w.f->asleep = false;
    assert_int_equal(vio_drvdev_reconnect(w.d), 0);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_RUNS);
    assert_ptr_equal(vio_drvdev_queue(w.d, 0), q);
    assert_int_equal(vio_drvdev_wait(w.d, 0, UINT64_C(1000000000)), 0);
    assert_int_equal(vio_drvdev_reconnect(w.d), -EBUSY);
    world_collect(w.d, 0);
    assert_int_equal(w.got[0], 11);
    assert_int_equal(w.probes, 1);
    check_works(&w, 0);
    check_works(&w, 1);
    world_free(&w);
}

static void test_reconnect(void **state)
{
    struct world w;

    (void)state;
    check_reconnect(0);
    check_reconnect(PACKED);
    check_reconnect(PACKED | EVENT_IDX | INDIRECT);
    world_init(&w, 1, 0, 0);
    w.f->ops.reconnect = NULL;
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_reconnect(w.d), -ENOTSUP);
    world_free(&w);
}

/* ---------------------------------------------------------------- every failure */

/* All of a life: what it ends with does not matter, but that all is given back, and that a recovery then works. */
static void live(struct world *w)
{
    world_add(w, NULL);
    if (vio_drvdev_status(w->d) == VIO_DRVDEV_RUNS) {
        uint8_t byte;

        (void)!vio_drvdev_config_read(w->d, 0, &byte, 1);
        (void)!vio_drvdev_queue_reset(w->d, 0, 0, NULL, NULL);
        vio_drvdev_interrupt(w->d);
        vio_drvdev_event(w->d, VIO_EVENT_QUEUE_CONFIG);
        (void)!vio_drvdev_reconnect(w->d);
        (void)!vio_drvdev_suspend(w->d);
        (void)!vio_drvdev_resume(w->d);
    }
}

static void recover_from_all(struct world *w)
{
    w->f->fail_error = 0;
    w->f->fail_allocation = 0;
    if (vio_drvdev_status(w->d) == VIO_DRVDEV_SUSPENDED)
        assert_int_equal(vio_drvdev_resume(w->d), 0);
    assert_int_equal(vio_drvdev_recover(w->d), 0);
    check_works(w, 0);
    check_works(w, 1);
}

static void test_every_allocation_fails(void **state)
{
    struct world w;
    unsigned all;

    (void)state;
    world_init(&w, 2, 0, 0);
    live(&w);
    all = w.f->allocations;
    world_free(&w);
    assert_true(all > 10);
    for (unsigned n = 1; n <= all; n++) {
        world_init(&w, 2, 0, 0);
        w.f->fail_allocation = n;
        if (n == 1) {
            assert_int_equal(vio_bus_add(w.bus, &w.f->t, 0, &w.driver, &w.d), -ENOMEM);
        } else {
            live(&w);
            recover_from_all(&w);
        }
        world_free(&w);
    }
}

static void test_every_call_fails(void **state)
{
    unsigned calls[FAKE_CALLS];
    struct world w;

    (void)state;
    world_init(&w, 2, 0, 0);
    live(&w);
    memcpy(calls, w.f->calls, sizeof(calls));
    world_free(&w);
    for (enum fake_call call = 0; call < FAKE_CALLS; call++) {
        for (unsigned n = 0; n < calls[call]; n++) {
            for (unsigned freezes = 0; freezes < 2; freezes++) {
                world_init(&w, 2, 0, 0);
                w.driver.freeze = freezes ? world_freeze : NULL;
                w.driver.restore = freezes ? world_restore : NULL;
                w.f->fail_on = call;
                w.f->fail_after = n;
                w.f->fail_error = n % 2 ? -EIO : -ETIMEDOUT;
                live(&w);
                if (vio_drvdev_status(w.d) != VIO_DRVDEV_RUNS && vio_drvdev_status(w.d) != VIO_DRVDEV_SUSPENDED)
                    assert_true(strlen(vio_drvdev_why(w.d)) > 0);
                recover_from_all(&w);
                world_free(&w);
                /* and without a recovery */
                world_init(&w, 2, 0, 0);
                w.f->fail_on = call;
                w.f->fail_after = n;
                w.f->fail_error = -EPROTO;
                live(&w);
                world_free(&w);
            }
        }
    }
}

static void test_driver_fails(void **state)
{
    struct world w;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        world_init(&w, 1, 0, 0);
        w.probe_error = i < 2 ? -ENODEV : 0;
        w.probe_late = i == 1;
        w.scan_error = i == 2 ? -ENODEV : 0;
        world_add(&w, NULL);
        assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_FAILED);
        assert_int_equal(w.removes, i == 2); /* only after a probe that was well */
        assert_null(vio_drvdev_queue(w.d, 0));
        w.probe_error = w.scan_error = 0;
        assert_int_equal(vio_drvdev_recover(w.d), 0);
        check_works(&w, 0);
        world_free(&w);
    }
}

/* ---------------------------------------------------------------- the generic driver */

static void generic_lost(void *ctx, struct vio_drvdev *d, uint16_t queue, uint64_t token)
{
    (void)d;
    (void)queue;
    (void)token;
    ++*(unsigned *)ctx;
}

static void test_generic(void **state)
{
    struct vio_drv_generic_driver driver;
    struct vio_drv_generic_params params = { .lost = generic_lost };
    struct vio_buf buf;
    struct world w;
    unsigned lost = 0;

    (void)state;
    world_init(&w, 3, 0xf0, 0);
    world_add(&w, &vio_driver_generic);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_RUNS);
    assert_int_equal(vio_drvdev_features(w.d).w[0] & 0xff, 0);
    for (uint16_t i = 0; i < 3; i++)
        assert_int_equal(vio_drvdev_queue_size(w.d, i), 256);
    world_free(&w);

    world_init(&w, 3, 0xf0, 0);
    params.features = vio_features_of(0x30);
    params.needs = vio_features_of(0x20);
    params.plans = &w.plans[1];
    params.nr_plans = 1;
    params.ctx = &lost;
    vio_drv_generic_driver(&driver, &params);
    world_add(&w, &driver.driver);
    assert_int_equal(vio_drvdev_features(w.d).w[0] & 0xff, 0x30);
    assert_null(vio_drvdev_queue(w.d, 0));
    assert_non_null(vio_drvdev_queue(w.d, 1));
    w.f->asleep = true;
    buf = (struct vio_buf){ w.buffers_addr, 8 };
    assert_int_equal(vio_drvq_put(vio_drvdev_queue(w.d, 1), &buf, 1, 0, 5), 0);
    vio_drvdev_publish(w.d, 1);
    assert_int_equal(vio_drvdev_recover(w.d), 0);
    assert_int_equal(lost, 1);
    world_free(&w);

    world_init(&w, 1, 0x10, 0);
    world_add(&w, &driver.driver);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_FAILED); /* bit 5 is not there */
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_and_recovered),
        cmocka_unit_test(test_needs_reset),
        cmocka_unit_test(test_reset_that_does_not_end),
        cmocka_unit_test(test_suspend),
        cmocka_unit_test(test_queue_reset),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_driver_fails),
        cmocka_unit_test(test_generic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
