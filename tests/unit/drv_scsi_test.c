/* SPDX-License-Identifier: MIT */
/* The SCSI driver over a fake transport and a disk in memory: commands, calls that wait, control, events, and lies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vio/drv_scsi.h>

#include "ram_target.h"
#include "spec/scsi.h"
#include "spec/virtio.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VIO_FEATURE(VIRTIO_F_EVENT_IDX)
#define INDIRECT VIO_FEATURE(VIRTIO_F_INDIRECT_DESC)
#define HOTPLUG VIO_FEATURE(VIRTIO_SCSI_F_HOTPLUG)
#define SECOND UINT64_C(1000000000)

static struct virtio_scsi_config config_usual(void)
{
    return (struct virtio_scsi_config){
        .num_queues = vio_le32_of(2), .seg_max = vio_le32_of(126), .max_sectors = vio_le32_of(64),
        .cmd_per_lun = vio_le32_of(128), .event_info_size = vio_le32_of(16), .sense_size = vio_le32_of(96),
        .cdb_size = vio_le32_of(32), .max_target = vio_le16_of(255), .max_lun = vio_le32_of(16383),
    };
}

static struct script *start(struct ram_target *t, uint64_t features, const struct vio_driver *driver)
{
    struct virtio_scsi_config config = config_usual();
    struct script *s = script_new();

    s->serve = ram_target_serve;
    s->ctx = t;
    s->keeps[VIRTIO_SCSI_EVENTQ] = true;
    script_start(s, 4, features, &config, sizeof(config), driver);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    return s;
}

/* ---------------------------------------------------------------- a disk */

static void check_disk(uint64_t features, const struct vio_driver *driver)
{
    struct ram_target *t = calloc(1, sizeof(*t));
    struct script *s = start(t, features, driver);
    struct vio_drv_scsi *x = vio_drv_scsi_of(s->d);
    struct vio_drv_scsi_disk disk;
    struct vio_drv_scsi_sense sense;
    static uint8_t bytes[200 << 10], back[200 << 10];
    uint16_t luns[4];

    t->attentions = 2;
    assert_int_equal(vio_drv_scsi_report_luns(x, RAM_TARGET, luns, 4, SECOND), 2);
    assert_int_equal(luns[0], 0);
    assert_int_equal(luns[1], RAM_LUN);
    assert_int_equal(vio_drv_scsi_report_luns(x, RAM_TARGET, luns, 1, SECOND), 1);
    assert_int_equal(vio_drv_scsi_disk_open(x, RAM_TARGET + 1, 0, &disk, SECOND), -ENODEV);
    assert_int_equal(vio_drv_scsi_read(x, &disk, 0, back, 512, SECOND), -EINVAL); /* it was not opened */
    assert_int_equal(vio_drv_scsi_write(x, &disk, 0, back, 512, SECOND), -EINVAL);
    assert_int_equal(vio_drv_scsi_disk_open(x, RAM_TARGET, 0, &disk, SECOND), -ENODEV);
    assert_int_equal(vio_drv_scsi_disk_open(x, RAM_TARGET, RAM_LUN, &disk, SECOND), 0);
    assert_int_equal(disk.blocks, RAM_BLOCKS);
    assert_int_equal(disk.block_size, RAM_BLOCK);
    assert_int_equal(disk.physical_exp, 3);
    assert_true(disk.unmap && disk.unmapped_reads_zero);
    assert_string_equal(disk.vendor, "VIO");
    assert_string_equal(disk.product, "RAM DISK?"); /* what cannot be printed does not come out */
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 9));
    assert_int_equal(vio_drv_scsi_write(x, &disk, 100, bytes, sizeof(bytes), SECOND), 0);
    assert_memory_equal(t->bytes + 100 * RAM_BLOCK, bytes, sizeof(bytes));
    assert_int_equal(vio_drv_scsi_read(x, &disk, 100, back, sizeof(back), SECOND), 0);
    assert_memory_equal(back, bytes, sizeof(back));
    assert_int_equal(vio_drv_scsi_flush(x, &disk, SECOND), 0);
    assert_int_equal(t->flushes, 1);
    assert_int_equal(vio_drv_scsi_unmap(x, &disk, 100, 8, SECOND), 0);
    assert_int_equal(t->unmaps, 1);
    assert_int_equal(vio_drv_scsi_read(x, &disk, 107, back, 512, SECOND), 0);
    assert_int_equal(back[0] | back[511], 0);
    assert_int_equal(vio_drv_scsi_read(x, &disk, RAM_BLOCKS, back, 512, SECOND), -ERANGE);
    assert_int_equal(vio_drv_scsi_read(x, &disk, UINT64_MAX, back, 512, SECOND), -ERANGE);
    assert_int_equal(vio_drv_scsi_write(x, &disk, 0, back, 511, SECOND), -EINVAL);
    assert_int_equal(vio_drv_scsi_unmap(x, &disk, RAM_BLOCKS - 1, 2, SECOND), -ERANGE);
    assert_int_equal(vio_drv_scsi_test_unit_ready(x, disk.lun, SECOND), 0);
    assert_int_equal(vio_drv_scsi_request_sense(x, disk.lun, &sense, SECOND), 0);
    assert_int_equal(sense.key, SCSI_KEY_NO_SENSE);
    assert_int_equal(vio_drv_scsi_inquiry(x, disk.lun, 0, back, 64, SECOND), 6);
    assert_int_equal(back[5], 0x83);
    assert_int_equal(vio_drv_scsi_inquiry(x, disk.lun, 0x80, back, 64, SECOND), -EIO);
    script_free(s);
    free(t);
}

static void test_disk(void **state)
{
    struct vio_drv_scsi_params params = { .indirect_max = 16, .queue_size = 8 };
    struct vio_drv_scsi_driver driver;

    (void)state;
    check_disk(0, &vio_driver_scsi);
    check_disk(EVENT_IDX, &vio_driver_scsi);
    check_disk(PACKED, &vio_driver_scsi);
    vio_drv_scsi_driver(&driver, &params);
    check_disk(INDIRECT | PACKED | EVENT_IDX, &driver.driver);
}

static void test_capacities(void **state)
{
    struct ram_target *t = calloc(1, sizeof(*t));
    struct script *s = start(t, 0, &vio_driver_scsi);
    struct vio_drv_scsi *x = vio_drv_scsi_of(s->d);
    struct vio_drv_scsi_disk disk;
    uint8_t cdb[VIO_DRV_SCSI_CDB];

    (void)state;
    t->blocks = UINT64_C(1) << 40;
    assert_int_equal(vio_drv_scsi_disk_open(x, RAM_TARGET, RAM_LUN, &disk, SECOND), 0);
    assert_int_equal(disk.blocks, UINT64_C(1) << 40);
    t->blocks = UINT64_MAX; /* more bytes than there are numbers */
    assert_int_equal(vio_drv_scsi_disk_open(x, RAM_TARGET, RAM_LUN, &disk, SECOND), -EPROTO);
    t->blocks = 1000;
    t->no_capacity_16 = true; /* an old disk */
    assert_int_equal(vio_drv_scsi_disk_open(x, RAM_TARGET, RAM_LUN, &disk, SECOND), 0);
    assert_int_equal(disk.blocks, 1000);
    assert_false(disk.unmap);
    assert_int_equal(vio_drv_scsi_unmap(x, &disk, 0, 1, SECOND), -ENOTSUP);
    t->blocks = UINT64_C(1) << 40; /* one that is too old for its size */
    assert_int_equal(vio_drv_scsi_disk_open(x, RAM_TARGET, RAM_LUN, &disk, SECOND), -EIO);
    vio_drv_scsi_cdb_rw(cdb, true, 0x12345678, 0xffff);
    assert_int_equal(cdb[0], SCSI_WRITE_10);
    assert_int_equal(cdb[2] << 24 | cdb[3] << 16 | cdb[4] << 8 | cdb[5], 0x12345678);
    vio_drv_scsi_cdb_rw(cdb, false, UINT64_C(1) << 32, 1);
    assert_int_equal(cdb[0], SCSI_READ_16);
    vio_drv_scsi_cdb_rw(cdb, false, 0, 0x10000);
    assert_int_equal(cdb[0], SCSI_READ_16);
    script_free(s);
    free(t);
}

static void test_sense(void **state)
{
    const uint8_t fixed[18] = { 0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0x01 };
    const uint8_t short_fixed[18] = { 0xf1, 0, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x24, 0x01 };
    const uint8_t descriptor[8] = { 0x72, 0x06, 0x29, 0x02 };
    struct vio_drv_scsi_sense sense;

    (void)state;
    assert_true(vio_drv_scsi_sense(fixed, sizeof(fixed), &sense));
    assert_int_equal(sense.key, SCSI_KEY_ILLEGAL_REQUEST);
    assert_int_equal(sense.asc, 0x24);
    assert_int_equal(sense.ascq, 0x01);
    assert_false(sense.deferred);
    assert_true(vio_drv_scsi_sense(fixed, 3, &sense));
    assert_int_equal(sense.asc, 0);
    assert_false(vio_drv_scsi_sense(fixed, 2, &sense));
    assert_false(vio_drv_scsi_sense(fixed, 0, &sense));
    assert_true(vio_drv_scsi_sense(short_fixed, sizeof(short_fixed), &sense));
    assert_int_equal(sense.asc, 0); /* it says that there are none */
    assert_true(sense.deferred);
    assert_true(vio_drv_scsi_sense(descriptor, sizeof(descriptor), &sense));
    assert_int_equal(sense.key, SCSI_KEY_UNIT_ATTENTION);
    assert_int_equal(sense.ascq, 0x02);
    assert_false(vio_drv_scsi_sense(descriptor, 3, &sense));
    assert_false(vio_drv_scsi_sense((const uint8_t *)"\x7f\0\0\0", 4, &sense));
}

/* ---------------------------------------------------------------- commands in batches */

struct seen {
    unsigned used, lost, events;
    uint64_t last;
    struct vio_drv_scsi_event event;
};

static void on_used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    (void)d;
    assert_int_equal(queue, 1);
    ((struct seen *)ctx)->used++;
}

static void on_lost(void *ctx, struct vio_drvdev *d, uint16_t queue, uint64_t token)
{
    (void)d;
    (void)queue;
    ((struct seen *)ctx)->lost++;
    ((struct seen *)ctx)->last = token;
}

static void on_event(void *ctx, struct vio_drvdev *d, const struct vio_drv_scsi_event *event)
{
    (void)d;
    ((struct seen *)ctx)->events++;
    ((struct seen *)ctx)->event = *event;
}

static void test_batches(void **state)
{
    struct seen seen = { .used = 0 };
    struct vio_drv_scsi_params params = { .used = on_used, .lost = on_lost, .ctx = &seen, .queue_size = 16 };
    struct ram_target *t = calloc(1, sizeof(*t));
    struct vio_drv_scsi_driver driver;
    struct vio_drv_scsi_op ops[10];
    struct vio_drv_scsi_result results[16];
    struct vio_drv_scsi *x;
    struct vio_buf bufs[10];
    struct script *s;
    uint8_t *host, answer;
    uint64_t addr;

    (void)state;
    vio_drv_scsi_driver(&driver, &params);
    s = start(t, 0, &driver.driver);
    x = vio_drv_scsi_of(s->d);
    host = s->f->platform.dma_alloc(s->f, 10 * RAM_BLOCK, 64, &addr);
    for (unsigned i = 0; i < 10; i++) {
        bufs[i] = (struct vio_buf){ addr + i * RAM_BLOCK, RAM_BLOCK };
        ops[i] = (struct vio_drv_scsi_op){ .lun = vio_drv_scsi_lun(RAM_TARGET, RAM_LUN), .nr_in = 1, .in = &bufs[i], .token = i };
        vio_drv_scsi_cdb_rw(ops[i].cdb, false, i, 1);
        t->bytes[i * RAM_BLOCK] = (uint8_t)(i + 1);
    }
    assert_int_equal(vio_drv_scsi_info(x).queues, 2);
    assert_int_equal(vio_drv_scsi_info(x).seg_max, 14); /* no more than the ring holds beside request and response */
    assert_int_equal(vio_drv_scsi_put(x, 2, ops, 1), -EINVAL);
    assert_int_equal(vio_drv_scsi_put(x, 1, ops, 10), 5); /* 16 entries, three a command */
    assert_int_equal(vio_drv_scsi_put(x, 1, ops, 10), -EAGAIN);
    vio_drv_scsi_publish(x, 1);
    (void)vio_drvdev_interrupt(s->d);
    assert_true(seen.used > 0);
    assert_int_equal(vio_drv_scsi_in_flight(x, 1), 5);
    assert_int_equal(vio_drv_scsi_collect(x, 1, results, 16), 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(results[i].token, i);
        assert_int_equal(results[i].error, 0);
        assert_int_equal(results[i].residual, 0);
        assert_int_equal(host[i * RAM_BLOCK], i + 1);
    }
    ops[0].nr_out = 1;
    ops[0].out = bufs;
    assert_int_equal(vio_drv_scsi_put(x, 1, ops, 1), -ENOTSUP); /* both ways, without INOUT */
    ops[0].nr_out = 31;
    assert_int_equal(vio_drv_scsi_put(x, 1, ops, 1), -E2BIG);
    ops[0].nr_out = 0;
    bufs[0].len = 0;
    assert_int_equal(vio_drv_scsi_put(x, 1, ops, 1), -EINVAL);
    /* Task management finds a command by its token. */
    s->hold[3] = true;
    bufs[0].len = RAM_BLOCK;
    ops[0].token = 4711;
    assert_int_equal(vio_drv_scsi_put(x, 1, ops, 1), 1);
    vio_drv_scsi_publish(x, 1);
    assert_int_equal(vio_drv_scsi_tmf(x, VIRTIO_SCSI_T_TMF_ABORT_TASK, ops[0].lun, 1, 4712, &answer, SECOND), -ENOENT);
    assert_int_equal(vio_drv_scsi_tmf(x, VIRTIO_SCSI_T_TMF_ABORT_TASK, ops[0].lun, 0, 4711, &answer, SECOND), -ENOENT);
    assert_int_equal(vio_drv_scsi_tmf(x, VIRTIO_SCSI_T_TMF_ABORT_TASK, ops[0].lun, 1, 4711, &answer, SECOND), 0);
    assert_int_equal(answer, VIRTIO_SCSI_S_FUNCTION_COMPLETE);
    assert_int_equal(t->tmf_subtype, VIRTIO_SCSI_T_TMF_ABORT_TASK);
    assert_true(t->tmf_id != 0 && t->tmf_id != t->last_id);
    s->f->platform.dma_free(s->f, host, 10 * RAM_BLOCK, addr);
    assert_int_equal(vio_drvdev_recover(s->d), 0);
    assert_int_equal(seen.lost, 1);
    assert_int_equal(seen.last, 4711);
    s->hold[3] = false;
    script_free(s);
    free(t);
}

/* ---------------------------------------------------------------- control and events */

static void test_control(void **state)
{
    struct ram_target *t = calloc(1, sizeof(*t));
    struct script *s = start(t, 0, &vio_driver_scsi);
    struct vio_drv_scsi *x = vio_drv_scsi_of(s->d);
    struct vio_drv_scsi_lun lun = vio_drv_scsi_lun(RAM_TARGET, RAM_LUN);
    uint32_t actual;
    uint8_t answer;

    (void)state;
    assert_int_equal(vio_drv_scsi_tmf(x, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, lun, 0, 0, &answer, SECOND), 0);
    assert_int_equal(t->tmf, 1);
    assert_int_equal(vio_drv_scsi_tmf(x, 8, lun, 0, 0, &answer, SECOND), -EINVAL);
    assert_int_equal(vio_drv_scsi_async(x, lun, false, 0x12, &actual, SECOND), 0);
    assert_int_equal(actual, 0x12); /* no more than was asked for, whatever it says */
    assert_int_equal(vio_drv_scsi_async(x, lun, true, 0x10, &actual, SECOND), 0);
    assert_int_equal(t->async, 0x80000010);
    t->response = VIRTIO_SCSI_S_BAD_TARGET;
    assert_int_equal(vio_drv_scsi_async(x, lun, true, 0x10, &actual, SECOND), -ENODEV);
    t->silent = true;
    assert_int_equal(vio_drv_scsi_async(x, lun, true, 0x10, &actual, SECOND), -EPROTO);
    assert_int_equal(vio_drv_scsi_tmf(x, 5, lun, 0, 0, &answer, SECOND), -EPROTO);
    t->silent = false;
    t->response = 0;
    s->hold[0] = true;
    assert_int_equal(vio_drv_scsi_tmf(x, 5, lun, 0, 0, &answer, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_scsi_tmf(x, 5, lun, 0, 0, &answer, SECOND), -EBUSY);
    s->hold[0] = false;
    fake_serve(s->f);
    assert_int_equal(vio_drv_scsi_tmf(x, 5, lun, 0, 0, &answer, SECOND), 0);
    script_free(s);
    free(t);
}

static void test_events(void **state)
{
    struct seen seen = { .used = 0 };
    struct vio_drv_scsi_params params = { .event = on_event, .ctx = &seen };
    struct ram_target *t = calloc(1, sizeof(*t));
    struct virtio_scsi_event event = { .event = vio_le32_of(VIRTIO_SCSI_T_TRANSPORT_RESET), .lun = { 1, 3, 0x40, 1 },
                                       .reason = vio_le32_of(VIRTIO_SCSI_EVT_RESET_RESCAN) };
    struct vio_drv_scsi_driver driver;
    struct script *s;

    (void)state;
    vio_drv_scsi_driver(&driver, &params);
    s = start(t, HOTPLUG, &driver.driver);
    assert_true(vio_drv_scsi_info(vio_drv_scsi_of(s->d)).hotplug);
    for (unsigned i = 1; i <= 100; i++) {
        assert_true(script_send(s, VIRTIO_SCSI_EVENTQ, &event, sizeof(event)));
        (void)vio_drvdev_interrupt(s->d);
        assert_int_equal(seen.events, i);
    }
    assert_int_equal(seen.event.event, VIRTIO_SCSI_T_TRANSPORT_RESET);
    assert_int_equal(seen.event.reason, VIRTIO_SCSI_EVT_RESET_RESCAN);
    assert_int_equal(seen.event.lun.bytes[1], 3);
    assert_false(seen.event.missed);
    event.event = vio_le32_of(VIRTIO_SCSI_T_EVENTS_MISSED);
    assert_true(script_send(s, VIRTIO_SCSI_EVENTQ, &event, sizeof(event)));
    assert_true(script_send(s, VIRTIO_SCSI_EVENTQ, &event, 15)); /* no event */
    (void)vio_drvdev_interrupt(s->d);
    assert_int_equal(seen.events, 101);
    assert_true(seen.event.missed);
    assert_int_equal(seen.event.event, VIRTIO_SCSI_T_NO_EVENT);
    script_free(s);
    free(t);
}

/* ---------------------------------------------------------------- lies */

static void test_lies(void **state)
{
    struct ram_target *t = calloc(1, sizeof(*t));
    struct script *s = start(t, 0, &vio_driver_scsi);
    struct vio_drv_scsi *x = vio_drv_scsi_of(s->d);
    struct vio_drv_scsi_lun lun = vio_drv_scsi_lun(RAM_TARGET, RAM_LUN);
    static const uint8_t cdb[6] = { SCSI_INQUIRY, 0, 0, 0, 36 };
    static const struct {
        uint8_t response, status;
        int error;
    } answers[] = {
        { VIRTIO_SCSI_S_OVERRUN, 0, -EOVERFLOW }, { VIRTIO_SCSI_S_ABORTED, 0, -ECANCELED },
        { VIRTIO_SCSI_S_BAD_TARGET, 0, -ENODEV }, { VIRTIO_SCSI_S_RESET, 0, -ECANCELED }, { VIRTIO_SCSI_S_BUSY, 0, -EBUSY },
        { VIRTIO_SCSI_S_NEXUS_FAILURE, 0, -EIO }, { VIRTIO_SCSI_S_FAILURE, 0, -EIO }, { 13, 0, -EPROTO }, { 255, 0, -EPROTO },
        { 0, SCSI_STATUS_BUSY, -EBUSY }, { 0, SCSI_STATUS_TASK_SET_FULL, -EBUSY }, { 0, SCSI_STATUS_RESERVATION_CONFLICT, -EIO },
        { 0, SCSI_STATUS_TASK_ABORTED, -ECANCELED }, { 0, 0xff, -EIO },
    };
    struct vio_drv_scsi_result result;
    struct vio_drv_scsi_disk disk;
    uint8_t bytes[36];
    uint16_t luns[4];

    (void)state;
    for (unsigned i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        t->response = answers[i].response;
        t->status = answers[i].status;
        assert_int_equal(vio_drv_scsi_command(x, lun, cdb, 6, NULL, 0, bytes, 36, &result, SECOND), answers[i].error);
        assert_int_equal(result.response, answers[i].response);
    }
    t->response = t->status = 0;
    t->sense_len = 97;
    assert_int_equal(vio_drv_scsi_command(x, lun, cdb, 6, NULL, 0, bytes, 36, &result, SECOND), -EPROTO);
    assert_int_equal(result.sense_len, 96);
    t->sense_len = UINT32_MAX;
    assert_int_equal(vio_drv_scsi_command(x, lun, cdb, 6, NULL, 0, bytes, 36, &result, SECOND), -EPROTO);
    t->sense_len = 0;
    t->residual = 37;
    assert_int_equal(vio_drv_scsi_inquiry(x, lun, -1, bytes, 36, SECOND), -EPROTO);
    t->residual = 36;
    assert_int_equal(vio_drv_scsi_inquiry(x, lun, -1, bytes, 36, SECOND), 0);
    assert_int_equal(vio_drv_scsi_disk_open(x, RAM_TARGET, RAM_LUN, &disk, SECOND), -EPROTO);
    t->residual = 8 + 2048 - 4; /* not even the length of the list came */
    assert_int_equal(vio_drv_scsi_report_luns(x, RAM_TARGET, luns, 4, SECOND), -EPROTO);
    t->residual = UINT32_MAX;
    assert_int_equal(vio_drv_scsi_report_luns(x, RAM_TARGET, luns, 4, SECOND), -EPROTO);
    t->residual = 0;
    t->silent = true; /* a buffer that comes back as it went */
    assert_int_equal(vio_drv_scsi_command(x, lun, cdb, 6, NULL, 0, bytes, 36, &result, SECOND), -EPROTO);
    assert_int_equal(result.response, VIO_DRV_SCSI_NO_RESPONSE);
    t->silent = false;
    for (t->cut = 1; t->cut < 12; t->cut++) /* a response that was written in part */
        assert_int_equal(vio_drv_scsi_inquiry(x, lun, -1, bytes, 36, SECOND), -EPROTO);
    t->cut = 12;
    assert_true(vio_drv_scsi_inquiry(x, lun, -1, bytes, 36, SECOND) >= 0);
    t->cut = 0;
    s->hold[2] = true;
    assert_int_equal(vio_drv_scsi_test_unit_ready(x, lun, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_scsi_test_unit_ready(x, lun, SECOND), -EBUSY);
    s->hold[2] = false;
    fake_serve(s->f);
    assert_int_equal(vio_drv_scsi_test_unit_ready(x, lun, SECOND), 0);
    script_free(s);
    free(t);
}

static void check_config(struct virtio_scsi_config config, bool deaf, const char *why)
{
    struct ram_target *t = calloc(1, sizeof(*t));
    struct script *s = script_new();

    s->serve = ram_target_serve;
    s->ctx = t;
    s->deaf = deaf;
    s->keeps[VIRTIO_SCSI_EVENTQ] = true;
    script_start(s, 4, 0, &config, sizeof(config), &vio_driver_scsi);
    if (why != NULL) {
        assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_FAILED);
        assert_non_null(strstr(vio_drvdev_why(s->d), why));
    } else {
        assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
        assert_int_equal(vio_drv_scsi_test_unit_ready(vio_drv_scsi_of(s->d), vio_drv_scsi_lun(RAM_TARGET, RAM_LUN), SECOND), 0);
    }
    script_free(s);
    free(t);
}

static void test_config(void **state)
{
    struct virtio_scsi_config c = config_usual();

    (void)state;
    c.num_queues = vio_le32_of(0);
    check_config(c, false, "num_queues is 0");
    c.num_queues = vio_le32_of(UINT32_MAX);
    check_config(c, false, "no queue 4"); /* more than there are */
    c = config_usual();
    c.cdb_size = vio_le32_of(16);
    c.sense_size = vio_le32_of(0);
    check_config(c, false, NULL); /* they can be set */
    check_config(c, true, "cdb_size is 16");
    c = config_usual();
    c.seg_max = c.max_sectors = c.cmd_per_lun = c.event_info_size = vio_le32_of(0);
    check_config(c, false, NULL);
    c.seg_max = c.max_sectors = c.cmd_per_lun = c.event_info_size = vio_le32_of(UINT32_MAX);
    check_config(c, false, NULL);
}

static void test_memory(void **state)
{
    struct ram_target *t = calloc(1, sizeof(*t));
    unsigned fail = 1;

    (void)state;
    for (bool ran = false; !ran; fail++) {
        struct script *s = start(t, 0, &vio_driver_scsi);

        s->f->fail_allocation = fail;
        ran = vio_drvdev_recover(s->d) == 0;
        assert_true(ran || vio_drvdev_why(s->d)[0] != 0);
        script_free(s);
    }
    assert_true(fail > 15);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disk), cmocka_unit_test(test_capacities), cmocka_unit_test(test_sense),
        cmocka_unit_test(test_batches), cmocka_unit_test(test_control), cmocka_unit_test(test_events),
        cmocka_unit_test(test_lies), cmocka_unit_test(test_config), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
