/* SPDX-License-Identifier: MIT */
/* The device core without traffic: features, status, configuration space, starts that fail (virtio 1.4, 2 and 3.1). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"
#include "spec/virtio.h"

enum { TOY_CONFIG = 24, TOY_QUEUES = 2, TOY_BIT_A = 3, TOY_BIT_B = 5, TOY_BIT_HIGH = 70 };

/* A device type of nothing: it counts what the core asks of it. */
struct toy {
    struct vio_device_type type;
    struct rig rig;
    unsigned negotiated, activated, resets, written, destroyed, entered, left;
    uint32_t written_at;
    int activate_error, enter_error;
    struct vio_features features;
};

static const char *toy_refused(void *self, struct vio_features f)
{
    (void)self;
    return vio_features_has(f, TOY_BIT_B) && !vio_features_has(f, TOY_BIT_A) ? "B needs A" : NULL;
}

static void toy_negotiated(void *self, struct vio_features f)
{
    struct toy *toy = self;

    toy->negotiated++;
    toy->features = f;
}

static int toy_activate(void *self)
{
    struct toy *toy = self;

    toy->activated++;
    return toy->activate_error;
}

static void toy_reset(void *self)
{
    ((struct toy *)self)->resets++;
}

static void toy_written(void *self, uint32_t offset, uint32_t len)
{
    struct toy *toy = self;

    toy->written += len;
    toy->written_at = offset;
}

static bool toy_writable(void *self, uint32_t offset, uint32_t len)
{
    (void)self;
    return offset >= 8 && offset + len <= 16;
}

static void toy_destroy(void *self)
{
    ((struct toy *)self)->destroyed++;
}

static int toy_enter(void *self, uint16_t queue, struct vio_devq *vq)
{
    struct toy *toy = self;

    (void)queue;
    assert_non_null(vq);
    toy->entered++;
    return toy->enter_error;
}

static void toy_leave(void *self, uint16_t queue)
{
    (void)queue;
    ((struct toy *)self)->left++;
}

static unsigned toy_service(void *self, uint16_t queue, unsigned budget)
{
    (void)self;
    (void)queue;
    (void)budget;
    return 0;
}

static struct vio_features features_of(const unsigned *bits)
{
    struct vio_features f = vio_features_of(0);

    for (; *bits != 0; bits++)
        vio_features_set(&f, *bits);
    return f;
}
#define FEATURES(...) features_of((const unsigned[]){ __VA_ARGS__, 0 })

static void toy_make(struct toy *toy, struct vio_features mask, struct vio_features add)
{
    struct vio_device_params p;
    struct vio_device *dev;

    memset(toy, 0, sizeof(*toy));
    rig_init(&toy->rig);
    toy->type = (struct vio_device_type){
        .name = "toy",
        .id = 42,
        .queue_size_max = 256,
        .config_size = TOY_CONFIG,
        .req_priv_size = 16,
        .features_refused = toy_refused,
        .negotiated = toy_negotiated,
        .activate = toy_activate,
        .reset = toy_reset,
        .config_written = toy_written,
        .config_writable = toy_writable,
        .destroy = toy_destroy,
        .queue_enter = toy_enter,
        .queue_leave = toy_leave,
        .service = toy_service,
    };
    p = (struct vio_device_params){
        .type = &toy->type,
        .self = toy,
        .name = "toy0",
        .queues = TOY_QUEUES,
        .features = FEATURES(TOY_BIT_A, TOY_BIT_B, TOY_BIT_HIGH, VIRTIO_F_ACCESS_PLATFORM, 44),
        .ring_mask = mask,
        .ring_add = add,
        .log = &toy->rig.log,
    };
    assert_int_equal(vio_device_create(&p, &dev), 0);
    rig_device(&toy->rig, dev);
}

static int setup(void **state)
{
    static struct toy toy;

    toy_make(&toy, vio_features_of(0), vio_features_of(0));
    *state = &toy;
    return 0;
}

static int teardown(void **state)
{
    struct toy *toy = *state;

    rig_free(&toy->rig);
    assert_int_equal(toy->destroyed, 1);
    assert_int_equal(toy->entered - (toy->enter_error != 0), toy->left);
    return 0;
}

static bool offers(const struct toy *toy, unsigned bit)
{
    return vio_features_has(vio_device_offered(toy->rig.dev), bit);
}

/* ------------------------------------------------------------------ features */

static void offers_what_it_can(void **state)
{
    struct toy *toy = *state;

    assert_true(offers(toy, VIRTIO_F_VERSION_1));
    assert_true(offers(toy, VIRTIO_F_INDIRECT_DESC));
    assert_true(offers(toy, VIRTIO_F_EVENT_IDX));
    assert_true(offers(toy, VIRTIO_F_RING_PACKED));
    assert_true(offers(toy, VIRTIO_F_RING_RESET));
    assert_true(offers(toy, TOY_BIT_A));
    assert_true(offers(toy, TOY_BIT_HIGH));
    /* Not the type's to offer, or not by itself. */
    assert_false(offers(toy, VIRTIO_F_ACCESS_PLATFORM));
    assert_false(offers(toy, 44));
    assert_false(offers(toy, VIRTIO_F_IN_ORDER));
    assert_false(offers(toy, VIRTIO_F_NOTIFICATION_DATA));
}

static void masks_and_adds(void **state)
{
    static struct toy toy;

    (void)state;
    toy_make(&toy, FEATURES(VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1), FEATURES(VIRTIO_F_IN_ORDER, 44));
    assert_false(offers(&toy, VIRTIO_F_RING_PACKED));
    assert_true(offers(&toy, VIRTIO_F_VERSION_1));
    assert_true(offers(&toy, VIRTIO_F_IN_ORDER));
    assert_false(offers(&toy, 44));
    rig_free(&toy.rig);
}

static void a_transport_adds_and_removes(void **state)
{
    struct toy *toy = *state;
    struct vio_features add = FEATURES(VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_IN_ORDER, 44);
    struct vio_features remove = FEATURES(VIRTIO_F_RING_RESET, VIRTIO_F_VERSION_1);

    assert_int_equal(vio_device_transport_features(toy->rig.dev, add, remove), 0);
    assert_true(offers(toy, VIRTIO_F_ACCESS_PLATFORM));
    assert_true(offers(toy, VIRTIO_F_NOTIFICATION_DATA));
    assert_false(offers(toy, VIRTIO_F_IN_ORDER));
    assert_false(offers(toy, 44));
    assert_false(offers(toy, VIRTIO_F_RING_RESET));
    assert_true(offers(toy, VIRTIO_F_VERSION_1));
    assert_true(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM)));
    assert_int_equal(vio_device_transport_features(toy->rig.dev, add, remove), -EBUSY);
}

static void unoffered_is_refused(void **state)
{
    struct toy *toy = *state;

    assert_int_equal(vio_device_set_features(toy->rig.dev, FEATURES(VIRTIO_F_VERSION_1, VIRTIO_F_IN_ORDER, 99)), -EPROTO);
    assert_true(rig_said(&toy->rig, "IN_ORDER, bit 99"));
    assert_true(rig_said(&toy->rig, "2.2.1"));
    /* Nothing of it was taken. */
    assert_false(rig_negotiate(&toy->rig, vio_features_of(0)));
    assert_true(rig_said(&toy->rig, "VERSION_1"));
}

static void features_ok_is_judged(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;

    assert_false(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1, TOY_BIT_B)));
    assert_true(rig_said(&toy->rig, "B needs A"));
    assert_int_equal(toy->negotiated, 0);
    assert_true(vio_features_none(vio_device_negotiated(dev)));
    /* FEATURES_OK stayed clear, so the driver may choose again. */
    assert_int_equal(vio_device_set_features(dev, FEATURES(VIRTIO_F_VERSION_1, TOY_BIT_A, TOY_BIT_B, TOY_BIT_HIGH)), 0);
    assert_int_equal(vio_device_set_status(dev, 11), 0);
    assert_int_equal(vio_device_status(dev), 11);
    assert_int_equal(toy->negotiated, 1);
    assert_true(vio_features_has(toy->features, TOY_BIT_HIGH));
    assert_true(vio_features_has(vio_device_negotiated(dev), TOY_BIT_HIGH));
    /* Final until reset. */
    assert_int_equal(vio_device_set_features(dev, FEATURES(VIRTIO_F_VERSION_1)), -EBUSY);
    assert_int_equal(vio_device_set_features(dev, vio_device_negotiated(dev)), 0);
    vio_device_reset(dev);
    assert_true(vio_features_none(vio_device_negotiated(dev)));
    /* What was acceptable once stays acceptable (2.2.2). */
    assert_true(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1, TOY_BIT_A, TOY_BIT_B, TOY_BIT_HIGH)));
}

static void names_of_features(void **state)
{
    char text[64], tiny[8];

    (void)state;
    assert_string_equal(vio_feature_name(VIRTIO_ID_BLOCK, 2), "SEG_MAX");
    assert_string_equal(vio_feature_name(VIRTIO_ID_NET, 41), "GUEST_RSC4");
    assert_string_equal(vio_feature_name(VIRTIO_ID_BLOCK, 41), "ADMIN_VQ");
    assert_string_equal(vio_feature_name(VIRTIO_ID_BLOCK, 34), "RING_PACKED");
    assert_null(vio_feature_name(VIRTIO_ID_BLOCK, 127));
    assert_string_equal(vio_features_text(VIRTIO_ID_BLOCK, FEATURES(5, 32, 100), text, sizeof(text)),
                        "RO, VERSION_1, bit 100");
    assert_string_equal(vio_features_text(VIRTIO_ID_BLOCK, vio_features_of(0), text, sizeof(text)), "none");
    assert_string_equal(vio_features_text(VIRTIO_ID_BLOCK, FEATURES(32, 34), tiny, sizeof(tiny)), "VERSION");
}

/* ------------------------------------------------------------------ status */

static void steps_come_in_order(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;

    assert_int_equal(vio_device_set_status(dev, VIRTIO_STATUS_DRIVER), -EPROTO);
    assert_true(rig_said(&toy->rig, "DRIVER comes after ACKNOWLEDGE"));
    assert_int_equal(vio_device_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_FEATURES_OK), -EPROTO);
    assert_int_equal(vio_device_status(dev), 0);
    assert_int_equal(vio_device_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER), 0);
    assert_int_equal(vio_device_set_status(dev, 7), -EPROTO);
    assert_true(rig_said(&toy->rig, "DRIVER_OK comes after FEATURES_OK"));
    assert_int_equal(vio_device_status(dev), 3);
    assert_int_equal(toy->activated, 0);
}

static void all_in_one_write(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;

    assert_int_equal(vio_device_set_status(dev, 15), -EPROTO); /* no VERSION_1 */
    assert_int_equal(vio_device_status(dev), 3);
    assert_int_equal(toy->activated, 0);
    assert_int_equal(vio_device_set_features(dev, FEATURES(VIRTIO_F_VERSION_1)), 0);
    assert_int_equal(vio_device_set_status(dev, 15), 0);
    assert_int_equal(vio_device_status(dev), 15);
    assert_int_equal(toy->activated, 1);
}

static void bits_are_cleared_by_reset_only(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;

    assert_true(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1)));
    assert_int_equal(vio_device_set_status(dev, 3), -EPROTO);
    assert_true(rig_said(&toy->rig, "clears FEATURES_OK"));
    assert_int_equal(vio_device_set_status(dev, 10), -EPROTO);
    assert_true(rig_said(&toy->rig, "clears ACKNOWLEDGE"));
    assert_int_equal(vio_device_status(dev), 11);
    assert_int_equal(vio_device_set_status(dev, 0), 0);
    assert_int_equal(vio_device_status(dev), 0);
    assert_int_equal(toy->resets, 1);
}

static void foreign_bits_are_ignored(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;

    assert_int_equal(vio_device_set_status(dev, 1 | VIRTIO_STATUS_SUSPEND | 32 | VIRTIO_STATUS_NEEDS_RESET), 0);
    assert_int_equal(vio_device_status(dev), 1);
}

static void failed_needs_a_reset(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;

    rig_start(&toy->rig, FEATURES(VIRTIO_F_VERSION_1), 8);
    assert_int_equal(vio_device_set_status(dev, 15 | VIRTIO_STATUS_FAILED), 0);
    assert_false(vio_device_queue_running(dev, 0));
    assert_int_equal(vio_device_queue_start(dev, 0), 0);
    assert_false(vio_device_queue_running(dev, 0));
    vio_device_reset(dev);
    assert_int_equal(vio_device_set_status(dev, 1 | VIRTIO_STATUS_FAILED), 0);
    assert_int_equal(vio_device_set_status(dev, 3 | VIRTIO_STATUS_FAILED), -EPROTO);
    assert_true(rig_said(&toy->rig, "set FAILED must reset first"));
    rig_restart(&toy->rig, FEATURES(VIRTIO_F_VERSION_1), 8);
}

/* ------------------------------------------------------------------ configuration space */

static void config_is_bounded(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;
    uint8_t bytes[TOY_CONFIG + 1] = { 0 };

    assert_int_equal(vio_device_config_read(dev, 0, bytes, TOY_CONFIG), 0);
    assert_int_equal(vio_device_config_read(dev, TOY_CONFIG, bytes, 0), 0);
    assert_int_equal(vio_device_config_read(dev, 0, bytes, TOY_CONFIG + 1), -EINVAL);
    assert_int_equal(vio_device_config_read(dev, TOY_CONFIG - 1, bytes, 2), -EINVAL);
    assert_int_equal(vio_device_config_read(dev, UINT32_MAX, bytes, 2), -EINVAL);
    assert_int_equal(vio_device_config_read(dev, 2, bytes, UINT32_MAX), -EINVAL);
    assert_int_equal(vio_device_config_write(dev, UINT32_MAX - 1, bytes, 4), -EINVAL);
    assert_int_equal(toy->written, 0);
}

static void config_is_written_where_it_may(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;
    uint32_t value = 0x01020304, back = 0;

    assert_int_equal(vio_device_config_write(dev, 8, &value, 4), -EACCES); /* before FEATURES_OK (3.1.1) */
    assert_true(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1)));
    assert_int_equal(vio_device_config_write(dev, 8, &value, 4), 0);
    assert_int_equal(toy->written, 4);
    assert_int_equal(toy->written_at, 8);
    assert_int_equal(vio_device_config_read(dev, 8, &back, 4), 0);
    assert_int_equal(back, value);
    assert_int_equal(vio_device_config_write(dev, 6, &value, 4), -EACCES);
    assert_int_equal(vio_device_config_write(dev, 14, &value, 4), -EACCES);
    assert_int_equal(toy->written, 4);
}

static void config_changes_are_told(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;
    uint32_t value = 7, before = vio_device_config_generation(dev);

    vio_device_config_set(dev, 0, &value, 4, true);
    assert_int_not_equal(vio_device_config_generation(dev), before);
    assert_int_equal(toy->rig.config_changed, 0); /* no driver yet (2.1.2) */
    rig_start(&toy->rig, FEATURES(VIRTIO_F_VERSION_1), 8);
    before = vio_device_config_generation(dev);
    vio_device_config_set(dev, 0, &value, 4, true);
    assert_int_equal(vio_device_config_generation(dev), before); /* the same bytes */
    assert_int_equal(toy->rig.config_changed, 0);
    value = 8;
    vio_device_config_set(dev, 0, &value, 4, true);
    assert_int_equal(toy->rig.config_changed, 1);
    vio_device_config_set(dev, TOY_CONFIG - 2, &value, 4, true); /* out of bounds: nothing */
    assert_int_equal(toy->rig.config_changed, 1);
}

/* ------------------------------------------------------------------ starts that fail */

static void activate_fails(void **state)
{
    struct toy *toy = *state;

    toy->activate_error = -EIO;
    assert_true(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1)));
    rig_queue(&toy->rig, 0, 8);
    rig_driver_ok(&toy->rig);
    assert_int_equal(vio_device_status(toy->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    assert_int_equal(toy->rig.config_changed, 1);
    assert_int_equal(toy->rig.needs_reset, 1);
    assert_false(vio_device_queue_running(toy->rig.dev, 0));
    toy->activate_error = 0;
    rig_restart(&toy->rig, FEATURES(VIRTIO_F_VERSION_1), 8);
    assert_int_equal(vio_device_status(toy->rig.dev), 15);
}

static void enter_fails(void **state)
{
    struct toy *toy = *state;

    toy->enter_error = -ENOMEM;
    assert_true(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1)));
    rig_queue(&toy->rig, 0, 8);
    rig_driver_ok(&toy->rig);
    assert_int_equal(vio_device_status(toy->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    assert_true(rig_said(&toy->rig, "queue 0 does not start"));
    assert_false(vio_device_queue_running(toy->rig.dev, 0));
}

/* A configuration that makes no queue: the words in the log, NEEDS_RESET, the fault for the transport. */
static void expect_no_start(struct toy *toy, enum vio_fault fault, const char *words)
{
    struct rig *rig = &toy->rig;

    rig->needs_reset = 0;
    rig_driver_ok(rig);
    assert_int_equal(vio_device_status(rig->dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    assert_int_equal(rig->needs_reset, 1);
    assert_int_equal(rig->fault, fault);
    assert_true(rig_said(rig, words));
    assert_false(vio_device_queue_running(rig->dev, 1));
    vio_device_reset(rig->dev);
    assert_int_equal(vio_device_status(rig->dev), 0);
    assert_true(rig_negotiate(rig, FEATURES(VIRTIO_F_VERSION_1)));
    rig_queue(rig, 1, 8);
}

static void bad_queue_configurations(void **state)
{
    struct toy *toy = *state;
    struct vio_queue_cfg *cfg = vio_device_queue_cfg(toy->rig.dev, 1);

    assert_null(vio_device_queue_cfg(toy->rig.dev, TOY_QUEUES));
    assert_int_equal(vio_device_queue_start(toy->rig.dev, TOY_QUEUES), -EINVAL);
    assert_int_equal(cfg->size, 256);
    assert_true(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1)));
    rig_queue(&toy->rig, 1, 8);
    cfg->size = 12;
    expect_no_start(toy, VIO_FAULT_QUEUE_SIZE, "queue-size, 0xc");
    cfg->size = 0;
    expect_no_start(toy, VIO_FAULT_QUEUE_SIZE, "queue-size, 0x0");
    cfg->size = 512;
    expect_no_start(toy, VIO_FAULT_QUEUE_SIZE, "512 entries, but this device takes at most 256");
    cfg->desc += 8;
    expect_no_start(toy, VIO_FAULT_QUEUE_ALIGN, vio_fault_text(VIO_FAULT_QUEUE_ALIGN));
    cfg->device = 0;
    expect_no_start(toy, VIO_FAULT_QUEUE_ADDR, vio_fault_text(VIO_FAULT_QUEUE_ADDR));
    cfg->device = UINT64_MAX - 3;
    expect_no_start(toy, VIO_FAULT_QUEUE_ADDR, vio_fault_clause(VIO_FAULT_QUEUE_ADDR));
    cfg->state.avail_idx = 500;
    cfg->state.used_idx = 3;
    expect_no_start(toy, VIO_FAULT_RING_STATE, vio_fault_text(VIO_FAULT_RING_STATE));
    rig_driver_ok(&toy->rig);
    assert_true(vio_device_queue_running(toy->rig.dev, 1));
}

static void queues_start_when_they_may(void **state)
{
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;

    assert_true(rig_negotiate(&toy->rig, FEATURES(VIRTIO_F_VERSION_1)));
    rig_queue(&toy->rig, 0, 8);
    rig_queue(&toy->rig, 1, 8);
    vio_device_queue_cfg(dev, 0)->ready = false;
    vio_device_queue_cfg(dev, 1)->ready = false;
    assert_int_equal(vio_device_queue_start(dev, 1), 0);
    assert_false(vio_device_queue_running(dev, 1)); /* before DRIVER_OK nothing runs (2.1.2) */
    rig_driver_ok(&toy->rig);
    assert_true(vio_device_queue_running(dev, 1));
    assert_false(vio_device_queue_running(dev, 0));
    assert_int_equal(vio_device_queue_start(dev, 1), -EBUSY);
    vio_device_memory_begin(dev, false);
    assert_int_equal(vio_device_queue_start(dev, 0), 0);
    assert_false(vio_device_queue_running(dev, 0));
    vio_device_memory_end(dev);
    assert_true(vio_device_queue_running(dev, 0));
    vio_device_queue_stop(dev, 0);
    assert_false(vio_device_queue_running(dev, 0));
    vio_device_memory_begin(dev, true);
    vio_device_memory_end(dev);
    assert_false(vio_device_queue_running(dev, 0)); /* stopped means stopped */
    assert_true(vio_device_queue_running(dev, 1));
    vio_device_queue_reset(dev, 1);
    assert_false(vio_device_queue_running(dev, 1));
    assert_int_equal(vio_device_queue_cfg(dev, 1)->size, 256);
    assert_int_equal(vio_device_queue_cfg(dev, 1)->desc, 0);
}

/* A kick descriptor is the other side's: blocking, a pipe, already read. */
static int kick = -1;

static int toy_kick(void *ctx, uint16_t queue)
{
    (void)ctx;
    (void)queue;
    return kick;
}

static void kicks_never_block(void **state)
{
    static const struct vio_device_transport_ops ops = { .kick_fd = toy_kick };
    struct toy *toy = *state;
    struct vio_device *dev = toy->rig.dev;
    struct vio_queue_counters c;
    uint64_t one = 1, count;
    int ends[2];

    vio_device_attach(dev, &ops, NULL);
    kick = -1;
    vio_device_queue_kick_drain(dev, 0);
    kick = eventfd(0, 0);
    assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
    vio_device_queue_kick_drain(dev, 0); /* empties it */
    vio_device_queue_kick_drain(dev, 0); /* would wait for ever */
    assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
    assert_int_equal(read(kick, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 1);
    close(kick);
    assert_int_equal(pipe(ends), 0);
    kick = ends[0];
    vio_device_queue_kick_drain(dev, 0);
    close(ends[0]);
    close(ends[1]);
    vio_device_queue_counters(dev, 0, &c);
    assert_int_equal(c.kicks, 1); /* those that were there to read */
}

static void create_checks_what_it_is_given(void **state)
{
    struct toy *toy = *state;
    struct vio_device_params p = { .type = &toy->type, .self = toy, .name = "x", .queues = 0 };
    struct vio_device *dev;

    assert_int_equal(vio_device_create(&p, &dev), -EINVAL);
    p.queues = VIO_DEVICE_QUEUES_MAX + 1;
    assert_int_equal(vio_device_create(&p, &dev), -EINVAL);
    vio_device_destroy(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(offers_what_it_can),
        cmocka_unit_test(masks_and_adds),
        TEST(a_transport_adds_and_removes),
        TEST(unoffered_is_refused),
        TEST(features_ok_is_judged),
        cmocka_unit_test(names_of_features),
        TEST(steps_come_in_order),
        TEST(all_in_one_write),
        TEST(bits_are_cleared_by_reset_only),
        TEST(foreign_bits_are_ignored),
        TEST(failed_needs_a_reset),
        TEST(config_is_bounded),
        TEST(config_is_written_where_it_may),
        TEST(config_changes_are_told),
        TEST(activate_fails),
        TEST(enter_fails),
        TEST(bad_queue_configurations),
        TEST(queues_start_when_they_may),
        TEST(kicks_never_block),
        TEST(create_checks_what_it_is_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
