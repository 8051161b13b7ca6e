/* SPDX-License-Identifier: MIT */
/* The block device over time: late and disordered answers, reset, suspend, cache mode, resize, several queues. */
#include "blk_help.h"

#include <errno.h>

#include "ring/inflight.h"

static struct bench bench;

static int setup(void **state)
{
    bench_init(&bench);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static void start_all(struct bench *b)
{
    bench_create(b);
    rig_start(&b->rig, vio_device_offered(b->rig.dev), 64);
}

/* n reads of one sector each, tokens 0..n-1, of consecutive sectors. */
static void put_reads(struct bench *b, struct breq *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        r[i] = breq_make(b, VIRTIO_BLK_T_IN, i, 512);
        breq_put(b, 0, &r[i], true, i);
    }
    publish(b, 0);
}

/* ------------------------------------------------------------------ batches */

static void one_submit_and_one_publish_a_batch(void **state)
{
    struct bench *b = *state;
    struct vio_queue_counters before, after;
    struct breq r[16];

    start_all(b);
    vio_device_queue_counters(b->rig.dev, 0, &before);
    put_reads(b, r, 16);
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 64), 16);
    vio_device_queue_counters(b->rig.dev, 0, &after);
    assert_int_equal(b->disk.nr_submit, 1);
    assert_int_equal(after.publishes - before.publishes, 1);
    assert_int_equal(after.buffers - before.buffers, 16);
    assert_int_equal(after.services - before.services, 1);
    assert_int_equal(after.idle, before.idle);
    assert_int_equal(b->rig.used[0], 1);
    assert_int_equal(after.calls - before.calls, 1);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(collect_one(b, 0, i), 513);
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 64), 0);
    vio_device_queue_counters(b->rig.dev, 0, &after);
    assert_int_equal(after.idle - before.idle, 1);
}

static void the_budget_is_kept(void **state)
{
    struct bench *b = *state;
    struct breq r[10];

    start_all(b);
    put_reads(b, r, 10);
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 0), 0);
    assert_true(nothing_used(b, 0));
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 3), 3);
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 3), 3);
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 64), 4);
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 64), 0);
}

/* ------------------------------------------------------------------ late answers */

static void answers_out_of_order(void **state)
{
    struct bench *b = *state;
    struct breq r[8];

    b->disk.hold = true;
    b->disk.newest_first = true;
    start_all(b);
    fill(b->disk.bytes, DISK_BYTES, 1);
    put_reads(b, r, 8);
    rig_serve(&b->rig, 0);
    assert_int_equal(vio_device_queue_in_flight(b->rig.dev, 0), 8);
    assert_true(nothing_used(b, 0));
    fake_disk_release(&b->disk, 3);
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 0), 3); /* budget 0 finishes */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(collect_one(b, 0, 7 - i), 513);
    assert_true(nothing_used(b, 0));
    fake_disk_release(&b->disk, 5);
    rig_serve(&b->rig, 0);
    for (unsigned i = 3; i < 8; i++)
        assert_int_equal(collect_one(b, 0, 7 - i), 513);
    for (unsigned i = 0; i < 8; i++)
        assert_memory_equal(r[i].data.host, b->disk.bytes + i * 512, 512);
    assert_int_equal(vio_device_queue_in_flight(b->rig.dev, 0), 0);
}

static void in_order_where_the_user_asks(void **state)
{
    struct bench *b = *state;
    struct breq r[8];

    b->disk.hold = true;
    b->disk.newest_first = true;
    b->device.ring_add = vio_features_of(VIO_FEATURE(VIRTIO_F_IN_ORDER));
    start_all(b);
    assert_true(vio_features_has(vio_device_negotiated(b->rig.dev), VIRTIO_F_IN_ORDER));
    put_reads(b, r, 8);
    rig_serve(&b->rig, 0);
    fake_disk_release(&b->disk, 7); /* all but the oldest */
    rig_serve(&b->rig, 0);
    assert_true(nothing_used(b, 0));
    fake_disk_release(&b->disk, 1);
    rig_serve(&b->rig, 0);
    for (unsigned i = 0; i < 8; i++)
        (void)collect_one(b, 0, i);
    assert_int_equal(vio_drvq_fault(b->rig.queue[0].drv), VIO_FAULT_NONE);
}

static void reset_ends_every_request(void **state)
{
    struct bench *b = *state;
    struct breq r[8];

    b->disk.hold = true;
    start_all(b);
    put_reads(b, r, 8);
    rig_serve(&b->rig, 0);
    assert_int_equal(b->disk.nr_held, 8);
    b->disk.release_at = 3; /* the backend takes its time */
    assert_int_equal(vio_device_set_status(b->rig.dev, 0), 0);
    assert_int_equal(vio_device_status(b->rig.dev), 0);
    assert_int_equal(b->disk.nr_held, 0);
    assert_int_equal(b->disk.closed, 1);
    assert_false(vio_device_queue_running(b->rig.dev, 0));
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 64), 0);
    b->disk.hold = false;
    rig_restart(&b->rig, vio_device_offered(b->rig.dev), 64);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
}

static void a_fault_with_requests_in_flight(void **state)
{
    struct bench *b = *state;
    struct breq r[4], bad;
    struct vio_buf bufs[2];

    b->disk.hold = true;
    b->device.ring_add = vio_features_of(VIO_FEATURE(VIRTIO_F_IN_ORDER));
    start_all(b);
    b->rig.reset_on_fault = true;
    bad = breq_make(b, VIRTIO_BLK_T_IN, 0, 512);
    bufs[0] = (struct vio_buf){ bad.head.gpa, 4 };
    bufs[1] = (struct vio_buf){ bad.status.gpa, 1 };
    put_bufs(b, 0, bufs, 1, 1, 99); /* the oldest: with IN_ORDER all others wait behind it for ever */
    put_reads(b, r, 4);
    b->disk.release_at = 2;
    rig_serve(&b->rig, 0);
    assert_int_equal(b->rig.fault, VIO_FAULT_REQ_SHORT);
    assert_int_equal(vio_device_status(b->rig.dev), 0); /* the transport has reset, and came back */
    b->rig.reset_on_fault = false;
    b->disk.hold = false;
    rig_start(&b->rig, vio_device_offered(b->rig.dev), 64);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}

static void arming_sees_what_waits(void **state)
{
    struct bench *b = *state;
    struct breq r[2];

    b->disk.hold = true;
    start_all(b);
    assert_false(vio_device_queue_arm(b->rig.dev, 0));
    put_reads(b, r, 2);
    assert_true(vio_device_queue_arm(b->rig.dev, 0));
    rig_serve(&b->rig, 0);
    assert_false(vio_device_queue_arm(b->rig.dev, 0));
    vio_device_queue_disarm(b->rig.dev, 0);
    fake_disk_release(&b->disk, 1);
    assert_true(vio_device_queue_arm(b->rig.dev, 0));
    fake_disk_release(&b->disk, 1);
    rig_serve(&b->rig, 0);
    assert_false(vio_device_queue_arm(b->rig.dev, 0));
    b->disk.hold = false;
}

/* ------------------------------------------------------------------ disabled, stopped, suspended */

static void a_disabled_queue_takes_nothing(void **state)
{
    struct bench *b = *state;
    struct breq r[4], more;

    b->disk.hold = true;
    start_all(b);
    put_reads(b, r, 4);
    rig_serve(&b->rig, 0);
    assert_int_equal(vio_device_queue_enable(b->rig.dev, 0, false), 0);
    assert_false(vio_device_queue_enabled(b->rig.dev, 0));
    more = breq_make(b, VIRTIO_BLK_T_FLUSH, 0, 0);
    breq_put(b, 0, &more, false, 4);
    publish(b, 0);
    fake_disk_release(&b->disk, 4);
    rig_serve(&b->rig, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(collect_one(b, 0, i), 513); /* what is in flight ends */
    assert_true(nothing_used(b, 0));
    assert_false(vio_device_queue_arm(b->rig.dev, 0)); /* nor does it keep its owner awake */
    assert_int_equal(vio_device_queue_enable(b->rig.dev, 0, true), 0);
    b->disk.hold = false;
    rig_serve(&b->rig, 0);
    assert_int_equal(collect_one(b, 0, 4), 1);
    assert_int_equal(vio_device_queue_enable(b->rig.dev, 9, true), -EINVAL);
}

static void stop_and_start_go_on_where_it_was(void **state)
{
    struct bench *b = *state;
    struct breq r[6];
    struct vio_queue_cfg *cfg;

    start_all(b);
    put_reads(b, r, 3);
    rig_serve(&b->rig, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(collect_one(b, 0, i), 513);
    put_reads(b, r, 3); /* available, and not yet taken */
    vio_device_queue_stop(b->rig.dev, 0);
    vio_device_queue_stop(b->rig.dev, 0);
    cfg = vio_device_queue_cfg(b->rig.dev, 0);
    assert_int_equal(cfg->state.avail_idx, cfg->state.used_idx);
    assert_true(nothing_used(b, 0));
    assert_int_equal(vio_device_queue_start(b->rig.dev, 0), 0);
    rig_serve(&b->rig, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(collect_one(b, 0, i), 513);
}

/* Half of the requests come back done, half undone: the next owner does exactly the latter. */
static void suspend(struct bench *b, bool packed)
{
    struct vio_features features;
    struct vio_inflight record;
    struct breq w[8];
    unsigned done = 0;
    size_t bytes = vio_inflight_bytes(64, packed);
    void *mem = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

    assert_non_null(mem);
    memset(mem, 0, bytes);
    bench_create(b);
    features = packed ? vio_device_offered(b->rig.dev) : all_but(b, VIRTIO_F_RING_PACKED);
    vio_inflight_init(&record, mem, 64, packed, true);
    vio_device_queue_inflight(b->rig.dev, 0, &record);
    rig_start(&b->rig, features, 64);
    b->disk.hold = true;
    for (unsigned i = 0; i < 8; i++) {
        w[i] = breq_make(b, VIRTIO_BLK_T_OUT, i, 512);
        fill(w[i].data.host, 512, i + 1);
        breq_put(b, 0, &w[i], false, i);
    }
    publish(b, 0);
    rig_serve(&b->rig, 0);
    vio_device_queue_suspend(b->rig.dev, 0);
    assert_int_equal(b->disk.cancelled, 1);
    assert_int_equal(b->disk.nr_held, 0);
    assert_int_equal(b->disk.closed, 1);
    for (unsigned i = 0; i < 8; i++)
        done += *w[i].status.host == VIRTIO_BLK_S_OK;
    assert_int_equal(done, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(collect_one(b, 0, i * 2), 1);
    assert_true(nothing_used(b, 0));
    /* The next owner. */
    b->disk.hold = false;
    vio_inflight_init(&record, mem, 64, packed, false);
    vio_device_queue_inflight(b->rig.dev, 0, &record);
    assert_int_equal(vio_device_queue_start(b->rig.dev, 0), 0);
    rig_serve(&b->rig, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(collect_one(b, 0, i * 2 + 1), 1);
    assert_true(nothing_used(b, 0));
    assert_int_equal(fake_disk_count(&b->disk, VIO_BLOCK_WRITE), 8 + 4);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(*w[i].status.host, VIRTIO_BLK_S_OK);
        assert_memory_equal(b->disk.bytes + i * 512, w[i].data.host, 512);
    }
    vio_device_queue_stop(b->rig.dev, 0);
    free(mem);
}

static void suspend_split(void **state)
{
    suspend(*state, false);
}

static void suspend_packed(void **state)
{
    suspend(*state, true);
}

static void suspend_without_a_record_drains(void **state)
{
    struct bench *b = *state;
    struct breq r[4];

    b->disk.hold = true;
    start_all(b);
    put_reads(b, r, 4);
    rig_serve(&b->rig, 0);
    b->disk.release_at = 2;
    vio_device_queue_suspend(b->rig.dev, 0);
    assert_int_equal(b->disk.cancelled, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(collect_one(b, 0, i), 513);
    b->disk.hold = false;
}

/* A range request of which a part is done is left whole: the next owner does all of it again. */
static void suspend_between_ranges(void **state)
{
    struct bench *b = *state;
    struct virtio_blk_range wire[3];
    size_t bytes = vio_inflight_bytes(64, true);
    void *mem = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    struct vio_inflight record;
    struct breq r;

    assert_non_null(mem);
    memset(mem, 0, bytes);
    bench_create(b);
    vio_inflight_init(&record, mem, 64, true, true);
    vio_device_queue_inflight(b->rig.dev, 0, &record);
    rig_start(&b->rig, vio_device_offered(b->rig.dev), 64);
    b->disk.hold = true;
    r = breq_make(b, VIRTIO_BLK_T_DISCARD, 0, sizeof(wire));
    for (unsigned i = 0; i < 3; i++)
        wire[i] = (struct virtio_blk_range){ .sector = vio_le64_of(i * 8), .num_sectors = vio_le32_of(8) };
    memcpy(r.data.host, wire, sizeof(wire));
    breq_put(b, 0, &r, false, 1);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    assert_int_equal(b->disk.nr_op, 1);
    vio_device_queue_suspend(b->rig.dev, 0); /* the first range comes back done */
    assert_int_equal(b->disk.nr_op, 1);
    assert_true(nothing_used(b, 0));
    b->disk.hold = false;
    vio_inflight_init(&record, mem, 64, true, false);
    vio_device_queue_inflight(b->rig.dev, 0, &record);
    assert_int_equal(vio_device_queue_start(b->rig.dev, 0), 0);
    rig_serve(&b->rig, 0);
    assert_int_equal(collect_one(b, 0, 1), 1);
    assert_int_equal(b->disk.nr_op, 4);
    vio_device_queue_stop(b->rig.dev, 0);
    free(mem);
}

/* ------------------------------------------------------------------ cache mode (5.2.5, 5.2.6.2) */

static void set_writeback(struct bench *b, uint8_t value)
{
    assert_int_equal(vio_device_config_write(b->rig.dev, offsetof(struct virtio_blk_config, writeback), &value, 1), 0);
}

/* One write; then exactly these operations, with these flags on the first, must have reached the disk. */
static void expect_write(struct bench *b, unsigned flags, unsigned ops)
{
    unsigned before = b->disk.nr_op;

    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.nr_op - before, ops);
    assert_int_equal(b->disk.op[before].op, VIO_BLOCK_WRITE);
    assert_int_equal(b->disk.op[before].flags, flags);
    if (ops == 2)
        assert_int_equal(b->disk.op[before + 1].op, VIO_BLOCK_FLUSH);
}

static void the_driver_chooses_the_cache(void **state)
{
    struct bench *b = *state;
    const struct range one = { 0, 8, 0 };

    start_all(b);
    assert_int_equal(blk_config(b).writeback, 1);
    expect_write(b, 0, 1);
    set_writeback(b, 0);
    expect_write(b, VIO_BLOCK_IO_FUA, 1);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_WRITE_ZEROES, &one, 1), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.op[b->disk.nr_op - 1].op, VIO_BLOCK_FLUSH);
    set_writeback(b, 1);
    expect_write(b, 0, 1);
    set_writeback(b, 7); /* neither 0 nor 1 */
    assert_int_equal(blk_config(b).writeback, 1);
}

static void write_through_without_fua(void **state)
{
    struct bench *b = *state;
    struct breq w;

    b->disk.info.can_fua = false;
    b->params.writeback_off = true;
    start_all(b);
    assert_int_equal(blk_config(b).writeback, 0);
    expect_write(b, 0, 2);
    /* The write is not done before its flush is. */
    b->disk.hold = true;
    w = breq_make(b, VIRTIO_BLK_T_OUT, 1, 512);
    breq_put(b, 0, &w, false, 5);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    fake_disk_release(&b->disk, 1);
    rig_serve(&b->rig, 0);
    assert_true(nothing_used(b, 0));
    assert_int_equal(b->disk.nr_held, 1);
    fake_disk_release(&b->disk, 1);
    rig_serve(&b->rig, 0);
    assert_int_equal(collect_one(b, 0, 5), 1);
    /* And fails with it. */
    b->disk.hold = false;
    b->disk.fail_op = VIO_BLOCK_FLUSH;
    b->disk.fail_error = -EIO;
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 1, 512), VIRTIO_BLK_S_IOERR);
}

static void neither_flush_nor_wce_means_write_through(void **state)
{
    struct bench *b = *state;
    struct vio_features f;

    bench_create(b);
    f = all_but(b, VIRTIO_BLK_F_FLUSH);
    vio_features_clear(&f, VIRTIO_BLK_F_CONFIG_WCE);
    rig_start(&b->rig, f, 64);
    expect_write(b, VIO_BLOCK_IO_FUA, 1);
    /* With FLUSH alone it is write-back. */
    rig_restart(&b->rig, all_but(b, VIRTIO_BLK_F_CONFIG_WCE), 64);
    expect_write(b, 0, 1);
    assert_int_equal(vio_device_config_write(b->rig.dev, 32, "", 1), -EACCES);
}

static void wce_without_flush_starts_write_through(void **state)
{
    struct bench *b = *state;

    bench_create(b);
    rig_start(&b->rig, all_but(b, VIRTIO_BLK_F_FLUSH), 64);
    assert_int_equal(blk_config(b).writeback, 0);
    expect_write(b, VIO_BLOCK_IO_FUA, 1);
    rig_restart(&b->rig, vio_device_offered(b->rig.dev), 64);
    assert_int_equal(blk_config(b).writeback, 1);
    expect_write(b, 0, 1);
}

/* ------------------------------------------------------------------ configuration and resize */

static void what_the_configuration_says(void **state)
{
    struct bench *b = *state;
    struct virtio_blk_config c;
    static const uint8_t zero[24];

    b->params.queues = 3;
    b->params.size_max = 65536;
    b->params.block_size = 1024;
    b->disk.info.max_zeroes = 1 << 20;
    start_all(b);
    c = blk_config(b);
    assert_int_equal(vio_cpu(c.capacity), DISK_SECTORS);
    assert_int_equal(vio_cpu(c.size_max), 65536);
    assert_int_equal(vio_cpu(c.seg_max), 126);
    assert_int_equal(vio_cpu(c.blk_size), 1024);
    assert_int_equal(c.physical_block_exp, 2); /* 4096 */
    assert_int_equal(vio_cpu(c.min_io_size), 4);
    assert_int_equal(vio_cpu(c.opt_io_size), 64);
    assert_int_equal(vio_cpu(c.num_queues), 3);
    assert_int_equal(vio_cpu(c.max_discard_seg), 64);
    assert_int_equal(vio_cpu(c.discard_sector_alignment), 8);
    assert_int_equal(vio_cpu(c.max_write_zeroes_sectors), 2048);
    assert_int_equal(c.write_zeroes_may_unmap, 1);
    assert_int_equal(c.unused0, 0); /* 5.2.5.2 */
    assert_memory_equal(c.unused1, zero, sizeof(c.unused1));
    assert_memory_equal(c.zoned, zero, sizeof(c.zoned));
    assert_true(vio_features_has(vio_device_offered(b->rig.dev), VIRTIO_BLK_F_MQ));
    assert_true(vio_features_has(vio_device_offered(b->rig.dev), VIRTIO_BLK_F_SIZE_MAX));
}

static void a_disk_grows_and_shrinks(void **state)
{
    struct bench *b = *state;
    uint32_t generation;

    b->disk.info.size = DISK_BYTES / 2;
    start_all(b);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, DISK_SECTORS / 2, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(vio_blk_refresh(b->rig.dev), 0);
    assert_int_equal(b->rig.config_changed, 0); /* nothing changed */
    generation = vio_device_config_generation(b->rig.dev);
    b->disk.info.size = DISK_BYTES;
    assert_int_equal(vio_blk_refresh(b->rig.dev), 0);
    assert_int_equal(b->rig.config_changed, 1);
    assert_int_not_equal(vio_device_config_generation(b->rig.dev), generation);
    assert_int_equal(vio_cpu(blk_config(b).capacity), DISK_SECTORS);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, DISK_SECTORS / 2, 512), VIRTIO_BLK_S_OK);
    b->disk.info.size = 512 * 10;
    assert_int_equal(vio_blk_refresh(b->rig.dev), 0);
    assert_int_equal(b->rig.config_changed, 2);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 10, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 9, 512), VIRTIO_BLK_S_OK);
}

static void four_queues(void **state)
{
    struct bench *b = *state;
    struct breq r[4];

    b->params.queues = 4;
    start_all(b);
    assert_int_equal(b->disk.opened, 4);
    for (unsigned i = 0; i < 4; i++) {
        r[i] = breq_make(b, VIRTIO_BLK_T_OUT, i, 512);
        fill(r[i].data.host, 512, i);
        breq_put(b, (uint16_t)i, &r[i], false, i);
        publish(b, (uint16_t)i);
    }
    for (uint16_t i = 4; i-- > 0;)
        rig_serve(&b->rig, i);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(collect_one(b, (uint16_t)i, i), 1);
        assert_int_equal(b->rig.used[i], 1);
        assert_memory_equal(b->disk.bytes + i * 512, r[i].data.host, 512);
    }
    /* One queue is reset: the others stay (2.6.1). */
    vio_device_queue_reset(b->rig.dev, 2);
    assert_false(vio_device_queue_running(b->rig.dev, 2));
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    rig_queue(&b->rig, 2, 16);
    assert_int_equal(vio_device_queue_start(b->rig.dev, 2), 0);
    breq_put(b, 2, &r[2], false, 9);
    publish(b, 2);
    rig_serve(&b->rig, 2);
    assert_int_equal(collect_one(b, 2, 9), 1);
}

static void bad_parameters(void **state)
{
    struct bench *b = *state;
    struct vio_device *dev;
    struct vio_blk_params bad;
    char why[128];

#define REFUSED(member, value, words)                                                  \
    do {                                                                               \
        bad = b->params;                                                               \
        bad.member = (value);                                                          \
        assert_int_equal(vio_blk_create(&bad, &dev, why, sizeof(why)), -EINVAL);       \
        assert_non_null(strstr(why, words));                                           \
    } while (0)
    REFUSED(queues, 0, "0 queues");
    REFUSED(queues, 257, "257 queues");
    REFUSED(queue_size_max, 100, "a queue of 100");
    REFUSED(block_size, 1000, "block size of 1000");
    REFUSED(block_size, 256, "block size of 256");
    REFUSED(size_max, 100, "piece of 100");
    REFUSED(seg_max, 5000, "5000 pieces");
    b->disk.info.size = DISK_BYTES - 512;
    REFUSED(block_size, 4096, "not a multiple of the block size 4096");
#undef REFUSED
    b->disk.info.size = DISK_BYTES;
    b->disk.info.logical_block = 4096;
    start_all(b);
    assert_int_equal(vio_cpu(blk_config(b).blk_size), 4096);
}

static void open_fails(void **state)
{
    struct bench *b = *state;

    b->disk.open_error = -EMFILE;
    bench_create(b);
    assert_true(rig_negotiate(&b->rig, vio_device_offered(b->rig.dev)));
    rig_queue(&b->rig, 0, 64);
    rig_driver_ok(&b->rig);
    assert_int_equal(vio_device_status(b->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    assert_true(rig_said(&b->rig, "Too many open files"));
    b->disk.open_error = 0;
    rig_restart(&b->rig, vio_device_offered(b->rig.dev), 64);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_submit_and_one_publish_a_batch),
        TEST(the_budget_is_kept),
        TEST(answers_out_of_order),
        TEST(in_order_where_the_user_asks),
        TEST(reset_ends_every_request),
        TEST(a_fault_with_requests_in_flight),
        TEST(arming_sees_what_waits),
        TEST(a_disabled_queue_takes_nothing),
        TEST(stop_and_start_go_on_where_it_was),
        TEST(suspend_split),
        TEST(suspend_packed),
        TEST(suspend_without_a_record_drains),
        TEST(suspend_between_ranges),
        TEST(the_driver_chooses_the_cache),
        TEST(write_through_without_fua),
        TEST(neither_flush_nor_wce_means_write_through),
        TEST(wce_without_flush_starts_write_through),
        TEST(what_the_configuration_says),
        TEST(a_disk_grows_and_shrinks),
        TEST(four_queues),
        TEST(bad_parameters),
        TEST(open_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
