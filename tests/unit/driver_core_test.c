/* SPDX-License-Identifier: MIT */
/* The driver core over a fake transport: who takes which device, the sequence, queues, events, and another life. */
#include <errno.h>
#include <poll.h>

#include "driver_core_help.h"
#include "spec/ring.h"

/* ---------------------------------------------------------------- the bus */

static void test_matching(void **state)
{
    struct world w;
    struct vio_drv_generic_driver any, exact, other;
    static const uint32_t mine[] = { 7, ECHO_ID, 0 }, others[] = { 9, 0 };
    struct vio_drv_generic_params params = { .queue_size = 16 };

    (void)state;
    world_init(&w, 1, 0, 0);
    vio_drv_generic_driver(&any, &params);
    vio_drv_generic_driver(&exact, &params);
    vio_drv_generic_driver(&other, &params);
    exact.driver.types = mine;
    other.driver.types = others;
    assert_int_equal(vio_bus_add_driver(w.bus, &other.driver), 0);
    assert_int_equal(vio_bus_add_driver(w.bus, &other.driver), -EEXIST);
    assert_int_equal(vio_bus_add(w.bus, &w.f->t, 0, NULL, &w.d), 0);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_WAITS);
    assert_null(vio_drvdev_driver(w.d));
    assert_int_equal(vio_drvdev_recover(w.d), -ENODEV);
    assert_int_equal(vio_bus_add_driver(w.bus, &any.driver), 0);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_RUNS);
    assert_ptr_equal(vio_drvdev_driver(w.d), &any.driver);
    assert_int_equal(vio_bus_add_driver(w.bus, &exact.driver), 0); /* too late for this one */
    assert_ptr_equal(vio_drvdev_driver(w.d), &any.driver);
    assert_int_equal(vio_drvdev_type(w.d), ECHO_ID);
    assert_string_equal(vio_drvdev_name(w.d), "fake");
    assert_ptr_equal(vio_bus_next(w.bus, NULL), w.d);
    assert_null(vio_bus_next(w.bus, w.d));
    world_free(&w);

    world_init(&w, 1, 0, 0);
    assert_int_equal(vio_bus_add_driver(w.bus, &any.driver), 0);
    assert_int_equal(vio_bus_add_driver(w.bus, &exact.driver), 0);
    assert_int_equal(vio_bus_add(w.bus, &w.f->t, 0, NULL, &w.d), 0);
    assert_ptr_equal(vio_drvdev_driver(w.d), &exact.driver); /* who names the type comes first */
    world_free(&w);

    world_init(&w, 1, 0, 0);
    assert_int_equal(vio_bus_add(w.bus, &w.f->t, 3, &any.driver, &w.d), -EINVAL); /* it is of another type */
    assert_true(w.f->destroyed);
    assert_null(vio_bus_next(w.bus, NULL));
    world_free(&w);
}

/* ---------------------------------------------------------------- the sequence */

static void test_sequence(void **state)
{
    static const uint8_t steps[] = { 0, 1, 3, 11, 15 };
    struct world w;

    (void)state;
    world_init(&w, 2, 0, 0);
    world_add(&w, NULL);
    assert_int_equal(w.f->nr_status, 5);
    assert_memory_equal(w.f->status, steps, 5);
    assert_int_equal(w.probes, 1);
    assert_int_equal(w.scans, 1);
    assert_int_equal(w.probe_status, 11); /* between FEATURES_OK and DRIVER_OK */
    assert_int_equal(w.scan_status, 15);
    assert_int_equal(w.f->planned, 2);
    assert_int_equal(w.f->planned_size, 64);
    assert_string_equal(vio_drvdev_why(w.d), "");
    vio_bus_remove(w.d);
    assert_int_equal(w.removes, 1);
    assert_true(w.f->destroyed);
    assert_int_equal(vio_device_status(w.e.dev), 0);
    assert_int_equal(w.f->held, 1); /* the bus */
    world_free(&w);
}

static void check_refused(struct world *w, int error, const char *words)
{
    assert_int_equal(vio_drvdev_status(w->d), VIO_DRVDEV_FAILED);
    if (strstr(vio_drvdev_why(w->d), words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", vio_drvdev_why(w->d), words);
    assert_true(fake_said(w->f, words));
    assert_int_equal(w->f->status[w->f->nr_status - 1] & VIRTIO_STATUS_FAILED, VIRTIO_STATUS_FAILED);
    assert_null(vio_drvdev_queue(w->d, 0));
    assert_int_equal(vio_drvdev_recover(w->d), error);
    assert_int_equal(w->removes, 0);
}

static void test_features(void **state)
{
    struct world w;
    static const struct vio_driver_depend depends[] = { { 4, 3 }, { 3, 2 }, { 5, 1 }, { 0, 0 } };

    (void)state;
    /* 4 needs 3, which needs 2, which is not offered; 5 has what it needs; 7 is nobody's */
    world_init(&w, 1, 0xba, 0);
    w.driver.features = vio_features_of(0x7f);
    w.driver.depends = depends;
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_RUNS);
    assert_int_equal(vio_drvdev_features(w.d).w[0] & 0xff, 0x22);
    assert_int_equal(vio_drvdev_offered(w.d).w[0] & 0xff, 0xba);
    assert_true(vio_drvdev_has(w.d, VIRTIO_F_VERSION_1));
    assert_true(vio_drvdev_has(w.d, VIRTIO_F_RING_RESET)); /* the core's own */
    assert_false(vio_drvdev_has(w.d, VIRTIO_F_RING_PACKED)); /* the driver did not ask for it */
    world_free(&w);

    /* validate drops 1, and 5 goes with it; what it adds is not taken */
    world_init(&w, 1, 0xff, 0);
    w.driver.features = vio_features_of(0x7f);
    w.driver.depends = depends;
    w.drop = 2;
    w.add = UINT64_C(1) << 7;
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_features(w.d).w[0] & 0xff, 0x5d);
    world_free(&w);

    world_init(&w, 1, 0x5, 0);
    w.driver.features = vio_features_of(0xf);
    w.driver.needs = vio_features_of(0x6);
    world_add(&w, NULL);
    check_refused(&w, -ENOTSUP, "needs feature bit 1");
    world_free(&w);

    world_init(&w, 1, 0, 0);
    w.validate_error = -ENODEV;
    world_add(&w, NULL);
    check_refused(&w, -ENODEV, "does not take the device (error 19)");
    world_free(&w);

    world_init(&w, 1, 0, 0);
    w.f->no_version_1 = true;
    world_add(&w, NULL);
    check_refused(&w, -EPROTO, "VERSION_1");
    world_free(&w);

    world_init(&w, 1, 0, 0);
    w.f->refuse_features = true;
    world_add(&w, NULL);
    check_refused(&w, -EPROTO, "2.2.2");
    assert_int_equal(w.probes, 0);
    w.f->refuse_features = false;
    assert_int_equal(vio_drvdev_recover(w.d), 0); /* another day */
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_RUNS);
    assert_string_equal(vio_drvdev_why(w.d), "");
    world_free(&w);
}

static void test_legacy(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, 0x3, 0);
    w.f->t.legacy = true;
    w.f->t.queue_align = 4096;
    w.f->t.size_fixed = true;
    w.f->offer_more = (struct vio_features){ { UINT64_C(0xff) << 32, 5 } };
    w.driver.features = (struct vio_features){ { UINT64_MAX, UINT64_MAX } };
    w.plans[0].size = 16;
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_features(w.d).w[0] >> 32, 0);
    assert_int_equal(vio_drvdev_features(w.d).w[1], 0);
    assert_int_equal(w.f->calls[FAKE_STATUS_GET], 0); /* no FEATURES_OK to read back */
    assert_int_equal(vio_drvdev_queue_size(w.d, 0), 256); /* as the device says */
    /* virtio 1.4, 2.7.2: one piece, the used ring at the next page */
    assert_int_equal((uint8_t *)w.f->queue[0].driver - (uint8_t *)w.f->queue[0].desc, 256 * 16);
    assert_int_equal((uint8_t *)w.f->queue[0].device - (uint8_t *)w.f->queue[0].desc, 8192);
    assert_int_equal(w.f->queue[0].cfg.desc % 4096, 0);
    assert_int_equal(w.f->queue[0].cfg.device - w.f->queue[0].cfg.desc, 8192);
    world_free(&w);
}

/* ---------------------------------------------------------------- queues */

static uint16_t planned_size(uint64_t ring, uint16_t wanted, uint16_t max)
{
    struct world w;
    uint16_t size;

    world_init(&w, 1, 0, 0);
    w.driver.features = vio_features_of(ring);
    w.f->queue_max = max;
    w.e.type.queue_size_max = 32768;
    w.plans[0].size = wanted;
    world_add(&w, NULL);
    size = vio_drvdev_queue_size(w.d, 0);
    world_free(&w);
    return size;
}

static void test_queue_sizes(void **state)
{
    (void)state;
    assert_int_equal(planned_size(0, 0, 1024), 256);
    assert_int_equal(planned_size(0, 0, 64), 64);
    assert_int_equal(planned_size(0, 1024, 1024), 1024);
    assert_int_equal(planned_size(0, 1024, 100), 64);
    assert_int_equal(planned_size(0, 100, 1024), 64);
    assert_int_equal(planned_size(0, 1, 1), 1);
    assert_int_equal(planned_size(PACKED, 100, 1024), 100);
    assert_int_equal(planned_size(PACKED, 1024, 77), 77);
}

static void test_queues_refused(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2, 0, 0);
    w.plans[1].queue = 2;
    world_add(&w, NULL);
    check_refused(&w, -ENOENT, "no queue 2");
    world_free(&w);

    world_init(&w, 2, 0, 0);
    w.plans[1].queue = 0;
    world_add(&w, NULL);
    check_refused(&w, -EINVAL, "twice");
    world_free(&w);

    world_init(&w, 2, 0, 0);
    w.plans[1].queue = VIO_DRV_QUEUES_MAX;
    world_add(&w, NULL);
    check_refused(&w, -EINVAL, "1023");
    world_free(&w);

    world_init(&w, 2, 0, 0);
    w.nr_plans = 0;
    world_add(&w, NULL);
    check_refused(&w, -EINVAL, "0 queues");
    world_free(&w);

    world_init(&w, 1, 0, 0);
    w.f->t.size_fixed = true; /* a split ring of 48 entries cannot be */
    w.f->queue_max = 48;
    world_add(&w, NULL);
    check_refused(&w, -EPROTO, "48");
    world_free(&w);

    world_init(&w, 1, 0, 0);
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_queues(w.d, w.plans, 1), -EBUSY);
    assert_null(vio_drvdev_queue(w.d, 1));
    assert_null(vio_drvdev_queue(w.d, 65535));
    assert_int_equal(vio_drvdev_queue_size(w.d, 1), 0);
    assert_int_equal(vio_drvdev_queue_max(w.d, 0), 256);
    assert_int_equal(vio_drvdev_queue_max(w.d, 1), 0);
    vio_drvdev_publish(w.d, 1);
    vio_drvdev_kick(w.d, 1);
    assert_int_equal(vio_drvdev_wait(w.d, 1, 1), -EINVAL);
    world_free(&w);
}

/* Buffers there and back, by looking, by callback from an event or an interrupt, and by both. */
static void check_traffic(uint64_t ring, uint16_t indirect, enum traffic_way way)
{
    struct world w;
    unsigned rounds = 3 * 64;

    world_init(&w, 2, 0, ring & IN_ORDER);
    w.driver.features = vio_features_of(ring);
    for (unsigned i = 0; i < 2; i++) {
        w.plans[i].indirect_max = indirect;
        w.plans[i].polled = way == BY_LOOKING;
        w.plans[i].callback = way == BY_LOOKING ? NULL : world_collect;
    }
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_features(w.d).w[0] & ring, ring);
    for (unsigned i = 0; i < rounds; i++) {
        uint16_t queue = i % 2;
        unsigned before = w.got[queue];

        for (unsigned n = 0; n <= i % 4; n++)
            world_put(&w, queue, i * 4 + n);
        vio_drvdev_publish(w.d, queue);
        switch (way) {
        case BY_LOOKING:
            assert_int_equal(vio_drvdev_wait(w.d, queue, UINT64_C(1000000000)), 0);
            world_collect(w.d, queue);
            break;
        case BY_EVENT: {
            struct pollfd p = { .fd = vio_drvdev_event_fd(w.d, queue), .events = POLLIN };

            assert_int_equal(poll(&p, 1, 0), 1);
            assert_false(vio_drvdev_event(w.d, queue));
            assert_int_equal(poll(&p, 1, 0), 0);
            break;
        }
        case BY_INTERRUPT:
            assert_false(vio_drvdev_interrupt(w.d));
            break;
        }
        assert_int_equal(w.got[queue], before + 1 + i % 4);
    }
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_RUNS);
    world_free(&w);
}

/* Emptied by looking, and then an interrupt that finds nothing: the next buffer must come with one all the same. */
static void early_interrupt(uint64_t ring)
{
    struct pollfd p = { .events = POLLIN };
    struct world w;

    world_init(&w, 1, 0, ring & IN_ORDER);
    w.driver.features = vio_features_of(ring);
    w.plans[0].polled = false;
    w.plans[0].callback = world_collect;
    world_add(&w, NULL);
    for (unsigned i = 0; i < 3; i++) {
        world_put(&w, 0, i);
        vio_drvdev_publish(w.d, 0);
        fake_serve(w.f);
        world_collect(w.d, 0); /* nobody asks for notifications */
        p.fd = vio_drvdev_event_fd(w.d, 0);
        if (poll(&p, 1, 0) == 1)
            w.f->ops.event_clear(&w.f->t, 0);
    }
    assert_false(vio_drvdev_interrupt(w.d));
    world_put(&w, 0, 3);
    vio_drvdev_publish(w.d, 0);
    fake_serve(w.f);
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_false(vio_drvdev_interrupt(w.d));
    assert_int_equal(w.got[0], 4);
    world_free(&w);
}

static void test_early_interrupt(void **state)
{
    static const uint64_t rings[] = { 0, EVENT_IDX, PACKED, PACKED | EVENT_IDX, EVENT_IDX | IN_ORDER };

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        early_interrupt(rings[i]);
}

static void test_traffic(void **state)
{
    static const uint64_t rings[] = { 0, EVENT_IDX, PACKED, PACKED | EVENT_IDX, IN_ORDER, PACKED | IN_ORDER };

    (void)state;
    for (unsigned i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
        for (enum traffic_way way = BY_LOOKING; way <= BY_INTERRUPT; way++) {
            check_traffic(rings[i], 0, way);
            check_traffic(rings[i] | INDIRECT, 4, way);
        }
    }
}

/* Used buffers that a callback leaves, or that come while it works, are not forgotten. */
static void test_event_again(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, 0, 0);
    w.driver.features = vio_features_of(EVENT_IDX);
    w.plans[0].callback = world_leave_some;
    w.plans[0].size = 256;
    w.plans[0].polled = false;
    world_add(&w, NULL);
    for (unsigned i = 0; i < 40; i++)
        world_put(&w, 0, i);
    vio_drvdev_publish(w.d, 0);
    assert_true(vio_drvdev_event(w.d, 0)); /* one a call, and a bounded number of calls */
    assert_int_equal(w.got[0], 16);
    assert_true(vio_drvdev_event(w.d, 0));
    assert_false(vio_drvdev_event(w.d, 0));
    assert_int_equal(w.got[0], 40);
    world_free(&w);
}

static void test_notification_data(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2, 0, 0);
    w.f->offer_more = vio_features_of(0);
    assert_int_equal(vio_device_transport_features(w.e.dev, vio_features_of(VIO_FEATURE(VIRTIO_F_NOTIFICATION_DATA)),
                                                   vio_features_of(0)), 0);
    world_add(&w, NULL);
    assert_true(vio_drvdev_has(w.d, VIRTIO_F_NOTIFICATION_DATA));
    world_put(&w, 1, 1);
    vio_drvdev_publish(w.d, 1);
    assert_int_equal(w.f->kick_data[1], 1 | 1u << 16);
    world_free(&w);

    world_init(&w, 2, 0, 0);
    world_add(&w, NULL);
    world_put(&w, 1, 1);
    vio_drvdev_publish(w.d, 1);
    assert_int_equal(w.f->kick_data[1], 1);
    world_free(&w);
}

static void test_wait(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, 0, 0);
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_wait(w.d, 0, 0), -ETIMEDOUT);
    w.e.hold = true;
    world_put(&w, 0, 1);
    vio_drvdev_publish(w.d, 0);
    assert_int_equal(vio_drvdev_wait(w.d, 0, UINT64_C(2000000000)), -ETIMEDOUT);
    assert_true(w.f->calls[FAKE_STATUS_GET] > 10); /* it looks whether the device is well meanwhile */
    w.f->status_or = VIRTIO_STATUS_NEEDS_RESET;
    assert_int_equal(vio_drvdev_wait(w.d, 0, UINT64_C(2000000000)), -EIO);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_BROKEN);
    assert_non_null(strstr(vio_drvdev_why(w.d), "2.1.2"));
    assert_int_equal(vio_drvdev_wait(w.d, 0, 0), -EIO);
    world_free(&w);
}

/* ---------------------------------------------------------------- configuration */

static void test_config(void **state)
{
    struct world w;
    uint8_t bytes[ECHO_CONFIG], more = 0x77;
    unsigned reads;

    (void)state;
    world_init(&w, 1, 0, 0);
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_config_read(w.d, 0, bytes, sizeof(bytes)), 0);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], i);
    reads = w.f->calls[FAKE_CONFIG_READ];
    w.f->config_moves = 5; /* looks at the generation: two a read */
    assert_int_equal(vio_drvdev_config_read(w.d, 8, bytes, 8), 0);
    assert_int_equal(w.f->calls[FAKE_CONFIG_READ] - reads, 4);
    w.f->config_moves = 1000000;
    assert_int_equal(vio_drvdev_config_read(w.d, 8, bytes, 8), -EAGAIN);
    assert_non_null(strstr(vio_drvdev_why(w.d), "2.5.2"));
    w.f->config_moves = 0;
    assert_int_equal(vio_drvdev_config_read(w.d, ECHO_CONFIG, bytes, 1), -EINVAL);
    assert_int_equal(vio_drvdev_config_read(w.d, UINT32_MAX, bytes, 2), -EINVAL);
    assert_int_equal(vio_drvdev_config_read(w.d, 0, bytes, 0), -EINVAL);
    assert_int_equal(vio_drvdev_config_write(w.d, 16, &more, 1), 0);
    assert_int_equal(vio_drvdev_config_read(w.d, 16, bytes, 1), 0);
    assert_int_equal(bytes[0], more);
    assert_int_equal(vio_drvdev_config_write(w.d, 0, &more, 1), -EACCES);
    world_free(&w);

    world_init(&w, 1, 0, 0);
    w.f->ops.generation = NULL;
    world_add(&w, NULL);
    w.f->config_moves = 100;
    assert_int_equal(vio_drvdev_config_read(w.d, 8, bytes, 8), 0);
    world_free(&w);
}

static void test_config_changed(void **state)
{
    struct pollfd p = { .events = POLLIN };
    struct world w;

    (void)state;
    world_init(&w, 1, 0, 0);
    world_add(&w, NULL);
    p.fd = vio_drvdev_event_fd(w.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(poll(&p, 1, 0), 0);
    vio_device_config_set(w.e.dev, 4, "x", 1, true);
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_false(vio_drvdev_event(w.d, VIO_EVENT_QUEUE_CONFIG));
    assert_int_equal(w.changes, 1);
    assert_int_equal(poll(&p, 1, 0), 0);
    vio_device_config_set(w.e.dev, 4, "y", 1, true);
    vio_drvdev_interrupt(w.d);
    assert_int_equal(w.changes, 2);
    vio_drvdev_interrupt(w.d);
    assert_int_equal(w.changes, 2);
    world_free(&w);

    /* a transport that tells of nothing: the generation does */
    world_init(&w, 1, 0, 0);
    w.f->ops.events = NULL;
    world_add(&w, NULL);
    assert_int_equal(vio_drvdev_config_read(w.d, 4, &(uint8_t){ 0 }, 1), 0);
    vio_drvdev_interrupt(w.d);
    assert_int_equal(w.changes, 0);
    vio_device_config_set(w.e.dev, 4, "z", 1, true);
    vio_drvdev_interrupt(w.d);
    assert_int_equal(w.changes, 1);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_queue_sizes),
        cmocka_unit_test(test_queues_refused),
        cmocka_unit_test(test_traffic),
        cmocka_unit_test(test_early_interrupt),
        cmocka_unit_test(test_event_again),
        cmocka_unit_test(test_notification_data),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_config_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
