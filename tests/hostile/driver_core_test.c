/* SPDX-License-Identifier: MIT */
/*
 * A device that lies to the driver core: on its rings, in its status, features and configuration, and over vhost-user in
 * its replies, descriptors and sizes. Each lie ends in a named fault or a sentence, and the device in BROKEN or FAILED; and
 * a device that then behaves is recovered.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/driver_core_help.h"

#include <vio/vhost_user_driver.h>

#include "fake_backend.h"

/* ---------------------------------------------------------------- rings */

enum lie { BAD_ID, NOT_IN_FLIGHT, TWICE, TOO_MUCH, RUNAWAY };

static void tell_lie(struct world *w, enum lie lie)
{
    uint16_t one = 0;

    switch (lie) {
    case BAD_ID: fake_used(w->f, 0, 0, 5000, 1); break;
    case NOT_IN_FLIGHT: fake_used(w->f, 0, 0, 63, 1); break;
    case TWICE: {
        struct vio_drvq *q = vio_drvdev_queue(w->d, 0);
        struct vio_done done;

        for (uint16_t id = 0; id < 64; id++) { /* which it is in flight under is the format's */
            fake_used(w->f, 0, 0, id, 0);
            if (vio_drvq_collect(q, &done, 1) == 1) {
                one = id;
                break;
            }
            if (vio_drvq_fault(q) != VIO_FAULT_NONE)
                return;
        }
        fake_used(w->f, 0, (w->f->accepted.w[0] & PACKED) != 0 ? 3 : 1, one, 0);
        break;
    }
    case TOO_MUCH: fake_used(w->f, 0, 0, 0, 100000); break;
    case RUNAWAY: fake_used_idx(w->f, 0, 30000); break;
    }
}

static void check_lie(uint64_t ring, enum lie lie, enum traffic_way way)
{
    struct world w;
    struct vio_drvq *q;
    unsigned lost;

    if (lie == RUNAWAY && (ring & PACKED) != 0)
        return; /* there is no index */
    world_init(&w, 1, 0, ring & IN_ORDER);
    w.driver.features = vio_features_of(ring);
    w.plans[0].polled = false;
    w.plans[0].callback = world_collect;
    world_add(&w, NULL);
    w.f->asleep = true;
    for (unsigned i = 0; i < 2; i++)
        world_put(&w, 0, i);
    vio_drvdev_publish(w.d, 0);
    q = vio_drvdev_queue(w.d, 0);
    tell_lie(&w, lie);
    if (way == BY_EVENT) {
        assert_false(vio_drvdev_event(w.d, 0));
    } else if (way == BY_INTERRUPT) {
        w.f->events = VIO_EVENT_QUEUES;
        vio_drvdev_interrupt(w.d);
    } else {
        struct vio_done done[8];

        (void)vio_drvq_collect(q, done, 8);
        if (vio_drvdev_wait(w.d, 0, 1000) != -EIO)
            fail_msg("ring 0x%llx, lie %d: nothing is wrong with it", (unsigned long long)ring, (int)lie);
    }
    if (vio_drvdev_status(w.d) != VIO_DRVDEV_BROKEN)
        fail_msg("ring 0x%llx, lie %d: it runs on", (unsigned long long)ring, (int)lie);
    assert_int_not_equal(vio_drvq_fault(q), VIO_FAULT_NONE);
    assert_true(strlen(vio_drvdev_why(w.d)) > 0);
    lost = w.lost[0];
    w.f->asleep = false;
    assert_int_equal(vio_drvdev_recover(w.d), 0);
    assert_true(w.lost[0] > lost);
    world_put(&w, 0, 9);
    vio_drvdev_publish(w.d, 0);
    vio_drvdev_event(w.d, 0);
    assert_int_equal(vio_drvdev_status(w.d), VIO_DRVDEV_RUNS);
    world_free(&w);
}

static void test_rings(void **state)
{
    static const uint64_t rings[] = { 0, EVENT_IDX, PACKED, PACKED | EVENT_IDX, IN_ORDER, PACKED | IN_ORDER };

    (void)state;
    for (unsigned i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
        for (enum lie lie = BAD_ID; lie <= RUNAWAY; lie++)
            for (enum traffic_way way = BY_LOOKING; way <= BY_INTERRUPT; way++)
                if (lie != TWICE || (rings[i] & IN_ORDER) == 0)
                    check_lie(rings[i], lie, way);
}

/* ---------------------------------------------------------------- status, features, configuration, sizes */

static void test_status_garbage(void **state)
{
    struct world w;

    (void)state;
    for (unsigned status = 0; status < 256; status++) {
        bool good = (status & VIRTIO_STATUS_FEATURES_OK) != 0 &&
                    (status & (VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED)) == 0;

        world_init(&w, 1, 0, 0);
        w.f->status_reads = (int)status;
        world_add(&w, NULL);
        assert_int_equal(vio_drvdev_status(w.d), good ? VIO_DRVDEV_RUNS : VIO_DRVDEV_FAILED);
        vio_drvdev_event(w.d, VIO_EVENT_QUEUE_CONFIG);
        vio_drvdev_interrupt(w.d);
        w.f->status_reads = -1;
        assert_int_equal(vio_drvdev_recover(w.d), 0);
        world_free(&w);
    }
}

static void test_features_garbage(void **state)
{
    struct world w;

    (void)state;
    for (unsigned bit = 0; bit < VIO_FEATURE_BITS; bit++) {
        world_init(&w, 1, 0, 0);
        vio_features_set(&w.f->offer_more, bit);
        w.driver.features = vio_features_of(0xff);
        world_add(&w, NULL);
        /* only what the driver or the core knows is accepted, whatever is offered */
        assert_true(vio_features_none(vio_features_minus(vio_drvdev_features(w.d),
                    vio_features_of(0xff | VIO_FEATURE(32) | VIO_FEATURE(33) | VIO_FEATURE(36) | VIO_FEATURE(38) |
                                    VIO_FEATURE(40)))));
        world_free(&w);
    }
}

static void test_sizes_garbage(void **state)
{
    static const uint16_t sizes[] = { 1, 2, 3, 255, 32767, 32768, 32769, 65535 };
    struct world w;

    (void)state;
    for (unsigned packed = 0; packed < 2; packed++) {
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (unsigned fixed = 0; fixed < 2; fixed++) {
                world_init(&w, 1, 0, 0);
                w.driver.features = vio_features_of(packed ? PACKED : 0);
                w.f->queue_max = sizes[i];
                w.f->t.size_fixed = fixed;
                world_add(&w, NULL);
                if (vio_drvdev_status(w.d) == VIO_DRVDEV_RUNS)
                    assert_true(vio_queue_size_ok(vio_drvdev_queue_size(w.d, 0), packed) &&
                                vio_drvdev_queue_size(w.d, 0) <= sizes[i]);
                else
                    assert_true(strlen(vio_drvdev_why(w.d)) > 0);
                assert_true(vio_drvdev_queue_max(w.d, 0) <= VIO_QUEUE_SIZE_MAX);
                world_free(&w);
            }
        }
    }
}

static void test_config_that_moves(void **state)
{
    struct world w;
    uint8_t byte;

    (void)state;
    world_init(&w, 1, 0, 0);
    world_add(&w, NULL);
    w.f->config_moves = UINT32_MAX;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(vio_drvdev_config_read(w.d, 0, &byte, 1), -EAGAIN);
    w.f->ops.events = NULL;
    for (unsigned i = 0; i < 100; i++)
        vio_drvdev_interrupt(w.d); /* each look finds a change: told of, and no more */
    assert_int_equal(w.changes, 100);
    w.f->config_moves = 0;
    assert_int_equal(vio_drvdev_config_read(w.d, 0, &byte, 1), 0);
    world_free(&w);
}

/* ---------------------------------------------------------------- over vhost-user */

struct front {
    struct vio_arena *arena;
    struct vio_transport *t;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    char why[VIO_DRV_WHY];
};

static enum vio_drvdev_state_name meet(struct front *f, struct device *d)
{
    struct vio_arena_params memory = { .size = 4 << 20, .small_pages = true };
    struct vio_vud_params params = { .timeout_ms = 200 };
    int pair[2];

    *f = (struct front){ .arena = NULL };
    assert_int_equal(vio_arena_create(&memory, &f->arena), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    d->fd = pair[0];
    params.fd = pair[1];
    params.arena = f->arena;
    device_begin(d);
    if (vio_vud_create(&params, &f->t, f->why) != 0) {
        assert_true(strlen(f->why) > 0);
        return VIO_DRVDEV_WAITS;
    }
    assert_int_equal(vio_bus_create(f->t->platform, &f->bus), 0);
    assert_int_equal(vio_bus_add(f->bus, f->t, 0, &vio_driver_generic, &f->d), 0);
    return vio_drvdev_status(f->d);
}

static void part(struct front *f, struct device *d)
{
    vio_bus_destroy(f->bus);
    device_end(d);
    vio_arena_destroy(f->arena);
}

static struct device hostile_device(void)
{
    return device_of(VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES) |
                     VIO_FEATURE(VIRTIO_F_LOG_ALL), ALL_PROTOCOL);
}

static void test_numbers(void **state)
{
    static const uint64_t numbers[] = { 0, 1, 255, 256, 257, 65536, UINT64_MAX };
    struct device d;
    struct front f;

    (void)state;
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        d = hostile_device();
        d.queues = numbers[i];
        if (meet(&f, &d) == VIO_DRVDEV_RUNS)
            assert_true(f.t->queues_max <= VIO_VUD_QUEUES_MAX);
        else
            assert_int_equal(numbers[i], 0);
        part(&f, &d);
        d = hostile_device();
        d.slots = numbers[i];
        assert_int_equal(meet(&f, &d), VIO_DRVDEV_RUNS); /* one region goes by a table */
        part(&f, &d);
        d = hostile_device();
        d.protocol = numbers[i]; /* acknowledges nothing that was not offered */
        (void)meet(&f, &d);
        if (f.d != NULL)
            assert_int_equal(vio_vud_protocol(f.t) & ~numbers[i], 0);
        part(&f, &d);
    }
}

static void test_status_wide(void **state)
{
    struct device d = hostile_device();
    struct front f;

    (void)state;
    assert_int_equal(meet(&f, &d), VIO_DRVDEV_RUNS);
    d.status = UINT64_C(0xf0000000f);
    vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_BROKEN);
    assert_non_null(strstr(vio_drvdev_why(f.d), "8 bits"));
    part(&f, &d);
}

/* A record's descriptor that is none: a socket, a region that is too small. Nothing is mapped, so nothing faults. */
static void test_record_that_is_none(void **state)
{
    struct device d;
    struct front f;

    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        d = hostile_device();
        if (kind == 0) {
            d.quirk_on = VHOST_USER_GET_INFLIGHT_FD;
            d.quirk = WITH_FDS; /* the connection itself, twice */
        }
        assert_int_equal(meet(&f, &d), VIO_DRVDEV_RUNS); /* it is only handed back */
        if (kind == 1)
            assert_int_equal(ftruncate(d.inflight_fd, 0), 0);
        assert_int_equal(vio_drvdev_queue_reset(f.d, 0, 0, NULL, NULL), -EPROTO);
        assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_BROKEN);
        part(&f, &d);
    }
}

/* The device never answers: every call that asks ends by itself. */
static void test_silence(void **state)
{
    static const uint32_t on[] = { VHOST_USER_GET_STATUS, VHOST_USER_GET_CONFIG, VHOST_USER_GET_VRING_BASE,
                                   VHOST_USER_SET_DEVICE_STATE_FD, VHOST_USER_CHECK_DEVICE_STATE, VHOST_USER_SET_LOG_BASE };
    struct device d;
    struct front f;

    (void)state;
    for (unsigned i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
        struct vio_vud_log log;
        uint8_t *bytes = NULL, byte;
        size_t size;

        d = hostile_device();
        assert_int_equal(meet(&f, &d), VIO_DRVDEV_RUNS);
        d.quirk_on = on[i];
        d.quirk = SILENT;
        switch (on[i]) {
        case VHOST_USER_GET_STATUS:
            vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
            assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_BROKEN);
            break;
        case VHOST_USER_GET_CONFIG: assert_int_equal(vio_drvdev_config_read(f.d, 0, &byte, 1), -ETIMEDOUT); break;
        case VHOST_USER_GET_VRING_BASE: assert_int_equal(vio_drvdev_recover(f.d), -ETIMEDOUT); break;
        case VHOST_USER_SET_LOG_BASE: assert_int_equal(vio_vud_log_start(f.t, &log), -ETIMEDOUT); break;
        default:
            assert_int_equal(vio_vud_state_save(f.t, &bytes, &size), -ETIMEDOUT);
            free(bytes);
        }
        part(&f, &d);
    }
}

/* The channel is filled with messages that mean nothing: a turn is bounded, and the device still runs. */
static void test_channel_flood(void **state)
{
    struct device d = hostile_device();
    struct front f;
    uint32_t header[3] = { 99, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 0 };
    unsigned sent = 0;

    (void)state;
    assert_int_equal(meet(&f, &d), VIO_DRVDEV_RUNS);
    while (sent < 5000 && send(d.back_fd, header, sizeof(header), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(header))
        sent++;
    for (unsigned i = 0; i < 10; i++)
        vio_drvdev_event(f.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(vio_drvdev_status(f.d), VIO_DRVDEV_RUNS);
    part(&f, &d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rings),
        cmocka_unit_test(test_status_garbage),
        cmocka_unit_test(test_features_garbage),
        cmocka_unit_test(test_sizes_garbage),
        cmocka_unit_test(test_config_that_moves),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_status_wide),
        cmocka_unit_test(test_record_that_is_none),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_channel_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
