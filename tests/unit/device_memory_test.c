/* SPDX-License-Identifier: MIT */
/*
 * What the core asks of its host and its transport while memory changes under running queues: parking, draining,
 * missing translations, rings that vanish.
 */
#include "blk_help.h"

#include <errno.h>

/* A host that obeys at once and remembers what it was asked, as letters. */
struct host {
    struct vio_device *dev;
    char seen[64];
    unsigned nr, wakes;
    int attach_error;
    bool parked;
};

static struct bench bench;
static struct host host;

static void saw(struct host *h, char what, uint16_t queue)
{
    if (queue == 0 && h->nr + 1 < sizeof(h->seen))
        h->seen[h->nr++] = what;
    h->seen[h->nr] = '\0';
}

static int on_attach(void *ctx, struct vio_device *dev, uint16_t queue)
{
    struct host *h = ctx;

    saw(h, 'A', queue);
    return h->attach_error < 0 ? h->attach_error : vio_device_queue_enter(dev, queue);
}

static void on_detach(void *ctx, struct vio_device *dev, uint16_t queue)
{
    saw(ctx, 'D', queue);
    for (unsigned i = 0; vio_device_queue_in_flight(dev, queue) > 0; i++) {
        (void)vio_device_queue_service(dev, queue, 0);
        if (i > 1000)
            fail_msg("requests stay in flight");
    }
    vio_device_queue_leave(dev, queue);
}

static void on_park(void *ctx, struct vio_device *dev, uint16_t queue)
{
    struct host *h = ctx;

    (void)dev;
    saw(h, 'P', queue);
    assert_false(h->parked && queue == 0);
    h->parked = queue == 0 ? true : h->parked;
}

static void on_unpark(void *ctx, struct vio_device *dev, uint16_t queue)
{
    struct host *h = ctx;

    saw(h, 'U', queue);
    h->parked = queue == 0 ? false : h->parked;
    (void)vio_device_queue_service(dev, queue, 64); /* as an owner that wakes does */
}

static void on_wake(void *ctx, struct vio_device *dev)
{
    struct host *h = ctx;

    (void)dev;
    h->wakes++;
}

static const struct vio_host_ops host_ops = {
    .attach = on_attach, .detach = on_detach, .park = on_park, .unpark = on_unpark, .wake = on_wake,
};

static int setup(void **state)
{
    memset(&host, 0, sizeof(host));
    bench_init(&bench);
    bench.device.host = &host_ops;
    bench.device.host_ctx = &host;
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static void seen(const char *want)
{
    assert_string_equal(host.seen, want);
    host.nr = 0;
    host.seen[0] = '\0';
}

static void start_all(struct bench *b)
{
    bench_create(b);
    rig_start(&b->rig, vio_device_offered(b->rig.dev), 64);
    seen("A");
}

static void put_read(struct bench *b, struct breq *r, uint64_t token)
{
    *r = breq_make(b, VIRTIO_BLK_T_IN, 0, 512);
    breq_put(b, 0, r, true, token);
    publish(b, 0);
}

static void who_is_asked_what(void **state)
{
    struct bench *b = *state;

    start_all(b);
    vio_device_memory_begin(b->rig.dev, false);
    vio_device_memory_begin(b->rig.dev, false);
    seen("P");
    vio_device_memory_end(b->rig.dev);
    seen("");
    vio_device_memory_end(b->rig.dev);
    seen("U");
    vio_device_memory_begin(b->rig.dev, true);
    seen("D");
    vio_device_memory_end(b->rig.dev);
    seen("A");
    vio_device_memory_begin(b->rig.dev, false);
    vio_device_memory_begin(b->rig.dev, true); /* more is wanted than was done */
    seen("PUD");
    vio_device_memory_end(b->rig.dev);
    vio_device_memory_end(b->rig.dev);
    seen("A");
    vio_device_memory_end(b->rig.dev); /* one too many is nothing */
    assert_int_equal(vio_device_queue_enable(b->rig.dev, 0, false), 0);
    seen("PU");
    assert_int_equal(vio_device_queue_enable(b->rig.dev, 0, false), 0);
    seen("");
    assert_int_equal(vio_device_queue_enable(b->rig.dev, 0, true), 0);
    seen("PU");
    vio_device_queue_kick_changed(b->rig.dev, 0);
    seen("PU");
    vio_device_queue_stop(b->rig.dev, 0);
    seen("D");
    vio_device_queue_kick_changed(b->rig.dev, 0);
    seen("");
}

static void reset_while_memory_changes(void **state)
{
    struct bench *b = *state;
    struct breq r;

    start_all(b);
    put_read(b, &r, 1);
    vio_device_memory_begin(b->rig.dev, false);
    vio_device_reset(b->rig.dev);
    seen("PUD");
    assert_int_equal(b->disk.nr_op, 0); /* unparked to be detached, not to take anything */
    vio_device_memory_end(b->rig.dev);
    seen("");
    rig_restart(&b->rig, vio_device_offered(b->rig.dev), 64);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    seen("A");
}

static void attach_fails(void **state)
{
    struct bench *b = *state;

    host.attach_error = -EAGAIN;
    bench_create(b);
    assert_true(rig_negotiate(&b->rig, vio_device_offered(b->rig.dev)));
    rig_queue(&b->rig, 0, 64);
    rig_driver_ok(&b->rig);
    assert_int_equal(vio_device_status(b->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    assert_false(vio_device_queue_running(b->rig.dev, 0));
    host.attach_error = 0;
    rig_restart(&b->rig, vio_device_offered(b->rig.dev), 64);
    /* And again when it comes back from a drain. */
    host.attach_error = -EAGAIN;
    vio_device_memory_begin(b->rig.dev, true);
    vio_device_memory_end(b->rig.dev);
    assert_false(vio_device_queue_running(b->rig.dev, 0));
    assert_int_equal(vio_device_status(b->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    host.attach_error = 0;
}

static void faults_travel_to_the_control_thread(void **state)
{
    struct bench *b = *state;
    struct breq r = { 0 };
    struct vio_buf bufs[2];

    start_all(b);
    r = breq_make(b, VIRTIO_BLK_T_IN, 0, 512);
    bufs[0] = (struct vio_buf){ r.head.gpa, 4 };
    bufs[1] = (struct vio_buf){ r.status.gpa, 1 };
    put_bufs(b, 0, bufs, 1, 1, 0);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    rig_serve(&b->rig, 0);
    assert_int_equal(host.wakes, 1);
    assert_int_equal(b->rig.needs_reset, 0); /* not on the owner's thread */
    assert_int_equal(vio_device_status(b->rig.dev), 15);
    vio_device_control(b->rig.dev);
    vio_device_control(b->rig.dev);
    assert_int_equal(b->rig.needs_reset, 1);
    assert_int_equal(b->rig.config_changed, 1);
    assert_int_equal(b->rig.fault, VIO_FAULT_REQ_SHORT);
    assert_int_equal(vio_device_status(b->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
}

static void memory_is_added_and_removed(void **state)
{
    struct bench *b = *state;
    struct vio_memory *memory;
    struct vio_memory_region extra = { .gpa = 0x10000, .size = 0x10000, .uva = 0x10000 };
    struct vio_buf bufs[3];
    struct breq r;
    uint8_t *host_bytes = aligned_alloc(4096, 0x10000);

    assert_non_null(host_bytes);
    start_all(b);
    memory = vio_device_memory(b->rig.dev);
    assert_int_equal(b->disk.regions, 1);
    vio_device_memory_begin(b->rig.dev, false);
    assert_int_equal(vio_memory_add_host(memory, &extra, host_bytes), 0);
    vio_device_memory_end(b->rig.dev);
    assert_int_equal(b->disk.memory_changes, 1); /* told on the owner's side, at the next service */
    assert_int_equal(b->disk.regions, 2);
    fill(b->disk.bytes, 512, 4);
    r = breq_make(b, VIRTIO_BLK_T_IN, 0, 512);
    bufs[0] = (struct vio_buf){ r.head.gpa, 16 };
    bufs[1] = (struct vio_buf){ 0x10200, 512 };
    bufs[2] = (struct vio_buf){ r.status.gpa, 1 };
    put_bufs(b, 0, bufs, 1, 2, 1);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    assert_int_equal(collect_one(b, 0, 1), 513);
    assert_memory_equal(host_bytes + 0x200, b->disk.bytes, 512);
    /* It goes away: what is in flight ends first. */
    b->disk.hold = true;
    put_bufs(b, 0, bufs, 1, 2, 2);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    b->disk.release_at = 2;
    vio_device_memory_begin(b->rig.dev, true);
    assert_int_equal(collect_one(b, 0, 2), 513);
    assert_int_equal(vio_memory_remove(memory, &extra), 0);
    vio_device_memory_end(b->rig.dev);
    b->disk.hold = false;
    free(host_bytes);
    assert_int_equal(b->disk.regions, 1);
    put_bufs(b, 0, bufs, 1, 2, 3);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    vio_device_control(b->rig.dev);
    assert_int_equal(b->rig.fault, VIO_FAULT_DESC_ADDR);
}

static void rings_that_vanish(void **state)
{
    struct bench *b = *state;
    struct vio_memory *memory;
    struct vio_memory_region region;
    void *at;

    start_all(b);
    memory = vio_device_memory(b->rig.dev);
    vio_memory_region_at(memory, 0, &region, &at);
    vio_device_memory_begin(b->rig.dev, true);
    assert_int_equal(vio_memory_remove(memory, &region), 0);
    vio_device_memory_end(b->rig.dev);
    rig_serve(&b->rig, 0);
    vio_device_control(b->rig.dev);
    assert_int_equal(b->rig.fault, VIO_FAULT_QUEUE_ADDR);
    assert_int_equal(vio_device_status(b->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    assert_false(vio_device_queue_arm(b->rig.dev, 0));
    vio_device_reset(b->rig.dev);
    assert_int_equal(vio_memory_add_host(memory, &region, at), 0);
    rig_restart(&b->rig, vio_device_offered(b->rig.dev), 64);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}

/* ------------------------------------------------------------------ with an IOMMU */

/* A device whose addresses are translated; nothing is mapped yet. */
static struct vio_memory *iommu(struct bench *b)
{
    struct vio_features access = vio_features_of(VIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM));

    bench_create(b);
    assert_int_equal(vio_device_transport_features(b->rig.dev, access, vio_features_of(0)), 0);
    assert_true(rig_negotiate(&b->rig, vio_device_offered(b->rig.dev)));
    vio_memory_iotlb_enable(vio_device_memory(b->rig.dev), true);
    return vio_device_memory(b->rig.dev);
}

/* The front-end's answer: this address, one to one. */
static void map(struct bench *b, uint64_t addr, uint64_t len)
{
    vio_device_memory_begin(b->rig.dev, false);
    assert_int_equal(vio_memory_iotlb_update(vio_device_memory(b->rig.dev), addr, len, addr, VIO_ACCESS_BOTH), 0);
    vio_device_memory_end(b->rig.dev);
}

static void a_queue_waits_for_its_areas(void **state)
{
    struct bench *b = *state;
    struct vio_queue_cfg *cfg;

    (void)iommu(b);
    rig_queue(&b->rig, 0, 64);
    cfg = vio_device_queue_cfg(b->rig.dev, 0);
    rig_driver_ok(&b->rig);
    assert_int_equal(vio_device_status(b->rig.dev), 15);
    assert_false(vio_device_queue_running(b->rig.dev, 0));
    assert_int_equal(b->rig.misses, 3);
    map(b, cfg->desc, 64 * 16);
    assert_int_equal(b->rig.misses, 5);
    assert_int_equal(b->rig.miss_addr, cfg->device);
    map(b, cfg->driver, 8);
    assert_false(vio_device_queue_running(b->rig.dev, 0));
    map(b, cfg->device, 4096);
    assert_true(vio_device_queue_running(b->rig.dev, 0));
    seen("A");
}

static void a_request_waits_for_its_translation(void **state)
{
    struct bench *b = *state;
    struct breq r;

    (void)iommu(b);
    rig_queue(&b->rig, 0, 64);
    rig_driver_ok(&b->rig);
    map(b, b->rig.gpa, b->rig.next); /* rings */
    assert_true(vio_device_queue_running(b->rig.dev, 0));
    b->rig.misses = 0;
    b->rig.next = (b->rig.next + 4095) & ~UINT64_C(4095);
    put_read(b, &r, 1);
    rig_serve(&b->rig, 0);
    rig_serve(&b->rig, 0);
    assert_int_equal(host.wakes, 1); /* asked once, however often it is served */
    vio_device_control(b->rig.dev);
    assert_int_equal(b->rig.misses, 1);
    assert_int_equal(b->rig.miss_addr, r.head.gpa);
    assert_int_equal(b->rig.miss_access, VIO_ACCESS_READ);
    assert_false(vio_device_queue_arm(b->rig.dev, 0)); /* it may sleep: waiting is not work */
    assert_int_equal(vio_device_status(b->rig.dev), 15);
    map(b, r.head.gpa, 16);
    vio_device_control(b->rig.dev);
    assert_int_equal(b->rig.misses, 2); /* the next piece */
    assert_int_equal(b->rig.miss_access, VIO_ACCESS_WRITE);
    assert_true(nothing_used(b, 0));
    map(b, r.head.gpa + 16, 4096);
    assert_int_equal(collect_one(b, 0, 1), 513); /* unpark serves */
}

static void areas_that_are_unmapped_for_a_while(void **state)
{
    struct bench *b = *state;
    struct vio_memory *memory = iommu(b);
    struct breq r;

    rig_queue(&b->rig, 0, 64);
    rig_driver_ok(&b->rig);
    map(b, b->rig.gpa, RIG_MEMORY);
    b->rig.misses = 0;
    seen("A");
    vio_device_memory_begin(b->rig.dev, false);
    assert_int_equal(vio_memory_iotlb_invalidate(memory, b->rig.gpa, RIG_MEMORY), 0);
    vio_device_memory_end(b->rig.dev);
    seen("P"); /* and stays parked */
    assert_int_equal(b->rig.misses, 3);
    assert_int_equal(vio_device_status(b->rig.dev), 15);
    put_read(b, &r, 1);
    map(b, b->rig.gpa, RIG_MEMORY);
    seen("U");
    assert_int_equal(collect_one(b, 0, 1), 513);
    /* The same, but the driver gives up. */
    vio_device_memory_begin(b->rig.dev, false);
    assert_int_equal(vio_memory_iotlb_invalidate(memory, b->rig.gpa, RIG_MEMORY), 0);
    vio_device_memory_end(b->rig.dev);
    vio_device_reset(b->rig.dev);
    seen("PUD");
    assert_int_equal(vio_device_status(b->rig.dev), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(who_is_asked_what),
        TEST(reset_while_memory_changes),
        TEST(attach_fails),
        TEST(faults_travel_to_the_control_thread),
        TEST(memory_is_added_and_removed),
        TEST(rings_that_vanish),
        TEST(a_queue_waits_for_its_areas),
        TEST(a_request_waits_for_its_translation),
        TEST(areas_that_are_unmapped_for_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
