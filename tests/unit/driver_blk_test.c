/* SPDX-License-Identifier: MIT */
/* The block driver over a fake transport against vio's own block device, and against one that lies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <vio/drv_blk.h>
#include "fake_disk.h"
#include "fake_transport.h"
#include "lying_config.h"
#include "spec/blk.h"
#include "spec/virtio.h"

#define SECOND UINT64_C(1000000000)

enum { SECTORS = 2048, BYTES = SECTORS * 512, LOST_MAX = 256 };

struct bench {
    struct vio_drv_blk_driver driver;
    struct fake_disk disk;
    struct vio_blk_params device;
    struct vio_device_params common;
    struct vio_device *dev;
    struct fake *f;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drv_blk *b;
    struct virtio_blk_config lie, lie_mask; /* what the configuration reads where the mask is set */
    unsigned used, changed, nr_lost;
    uint64_t lost[LOST_MAX];
    uint8_t *data;
    uint64_t data_addr;
};

static void on_used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    struct bench *b = ctx;

    (void)d;
    (void)queue;
    b->used++;
}

static void on_changed(void *ctx, struct vio_drvdev *d)
{
    struct bench *b = ctx;

    (void)d;
    b->changed++;
}

static void on_lost(void *ctx, struct vio_drvdev *d, uint16_t queue, uint64_t token)
{
    struct bench *b = ctx;

    (void)d;
    (void)queue;
    assert_true(b->nr_lost < LOST_MAX);
    b->lost[b->nr_lost++] = token;
}

/* Everything but the adding: a test changes what it likes before. */
static void init(struct bench *b, uint16_t queues)
{
    memset(b, 0, sizeof(*b));
    fake_disk_init(&b->disk, BYTES);
    b->common = (struct vio_device_params){ .name = "blk0" };
    vio_features_set(&b->common.ring_add, VIRTIO_F_IN_ORDER);
    b->device = (struct vio_blk_params){ .backend = &b->disk.head, .queues = queues, .queue_size_max = 256, .seg_max = 20,
                                         .serial = "a serial number", .device = &b->common };
    vio_drv_blk_driver(&b->driver, &(struct vio_drv_blk_params){ .changed = on_changed, .lost = on_lost, .ctx = b });
}

static void add(struct bench *b)
{
    char why[128] = "";

    if (b->dev == NULL && vio_blk_create(&b->device, &b->dev, why, sizeof(why)) != 0)
        fail_msg("%s", why);
    if (b->f == NULL) {
        b->f = fake_create(b->dev, VIRTIO_ID_BLOCK);
        lying_config(b->f, &b->lie, &b->lie_mask, sizeof(b->lie));
        assert_int_equal(vio_bus_create(&b->f->platform, &b->bus), 0);
        b->data = b->f->platform.dma_alloc(b->f, 1 << 20, 4096, &b->data_addr);
        assert_non_null(b->data);
    }
    assert_int_equal(vio_bus_add(b->bus, &b->f->t, 0, &b->driver.driver, &b->d), 0);
    b->b = vio_drv_blk_of(b->d);
}

static void run(struct bench *b)
{
    add(b);
    if (b->b == NULL)
        fail_msg("%s", vio_drvdev_why(b->d));
}

static void end(struct bench *b)
{
    vio_bus_destroy(b->bus);
    b->f->platform.dma_free(b->f, b->data, 1 << 20, b->data_addr);
    assert_int_equal(b->f->held, 0);
    fake_free(b->f);
    vio_device_destroy(b->dev);
    assert_int_equal(b->disk.destroyed, 1);
}

/* One request alone; its error. */
static int one(struct bench *b, uint16_t queue, struct vio_drvblk_op op)
{
    struct vio_drvblk_result r;
    int put;

    op.token = 77;
    put = vio_drv_blk_put(b->b, queue, &op, 1);
    if (put < 0)
        return put;
    vio_drv_blk_publish(b->b, queue);
    assert_int_equal(vio_drvdev_wait(b->d, queue, SECOND), 0);
    assert_int_equal(vio_drv_blk_collect(b->b, queue, &r, 1), 1);
    assert_int_equal(r.token, 77);
    return r.error;
}

static void fill(uint8_t *at, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)(seed + i * 7 + (i >> 9) * 13);
}

/* ------------------------------------------------------------------ */

/* Small programs: bytes of any length there and back. */
static void check_waiting(struct bench *b)
{
    static uint8_t out[200 * 512], in[200 * 512];
    char id[VIO_DRV_BLK_ID_BYTES + 1];

    fill(out, sizeof(out), 3);
    assert_int_equal(vio_drv_blk_write(b->b, 100, out, sizeof(out), SECOND), 0);
    assert_memory_equal(b->disk.bytes + 100 * 512, out, sizeof(out));
    assert_int_equal(vio_drv_blk_read(b->b, 100, in, sizeof(in), SECOND), 0);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(vio_drv_blk_flush(b->b, SECOND), 0);
    assert_int_equal(fake_disk_count(&b->disk, VIO_BLOCK_FLUSH), 1);
    assert_int_equal(vio_drv_blk_id(b->b, id, SECOND), 0);
    assert_string_equal(id, "a serial number");
    assert_int_equal(vio_drv_blk_range(b->b, VIRTIO_BLK_T_WRITE_ZEROES, 100, 3, true, SECOND), 0);
    assert_int_equal(b->disk.bytes[100 * 512], 0);
    assert_int_equal(vio_drv_blk_range(b->b, VIRTIO_BLK_T_DISCARD, 0, SECTORS, false, SECOND), 0);
    assert_int_equal(vio_drv_blk_read(b->b, SECTORS - 1, in, 1024, SECOND), -ERANGE);
    assert_int_equal(vio_drv_blk_read(b->b, 0, in, 100, SECOND), -EINVAL);
    assert_int_equal(vio_drv_blk_range(b->b, VIRTIO_BLK_T_DISCARD, SECTORS, 1, false, SECOND), -ERANGE);
}

/* Batches on every queue, more than fit at once, and each result belongs to its request. */
static void check_batches(struct bench *b)
{
    enum { N = 64 };
    struct vio_drvblk_op op[N];
    struct vio_drvblk_result r[N];
    struct vio_buf piece[N];
    uint16_t queues = vio_drv_blk_info(b->b).queues;

    for (uint16_t q = 0; q < queues; q++) {
        unsigned put = 0, got = 0;
        bool seen[N] = { false };

        for (unsigned i = 0; i < N; i++) {
            piece[i] = (struct vio_buf){ b->data_addr + i * 4096, 4096 };
            fill(b->data + i * 4096, 4096, i + q);
            op[i] = (struct vio_drvblk_op){ .type = VIRTIO_BLK_T_OUT, .sector = i * 8, .nr_data = 1, .data = &piece[i],
                                            .token = UINT64_C(0x100000000) * q + i };
        }
        while (got < N) {
            int n = vio_drv_blk_put(b->b, q, op + put, N - put);
            unsigned done;

            assert_true(n > 0 || n == -EAGAIN || put == N);
            put += n > 0 ? (unsigned)n : 0;
            vio_drv_blk_publish(b->b, q);
            assert_int_equal(vio_drvdev_wait(b->d, q, SECOND), 0);
            done = vio_drv_blk_collect(b->b, q, r, N);
            for (unsigned i = 0; i < done; i++) {
                assert_int_equal(r[i].error, 0);
                assert_int_equal(r[i].token >> 32, q);
                assert_false(seen[(uint32_t)r[i].token]);
                seen[(uint32_t)r[i].token] = true;
            }
            got += done;
        }
        assert_memory_equal(b->disk.bytes, b->data, N * 4096);
        assert_int_equal(vio_drv_blk_in_flight(b->b, q), 0);
    }
}

static void test_variants(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 16; v++) {
        struct bench b;

        init(&b, 3);
        b.driver.params.indirect_max = v & 1 ? 32 : 0;
        if ((v & 2) == 0)
            vio_features_clear(&b.driver.driver.features, VIRTIO_F_RING_PACKED);
        if (v & 4)
            vio_features_set(&b.driver.driver.features, VIRTIO_F_IN_ORDER);
        if (v & 8)
            vio_features_clear(&b.driver.driver.features, VIRTIO_F_EVENT_IDX);
        run(&b);
        assert_int_equal(vio_drvdev_has(b.d, VIRTIO_F_RING_PACKED), (v & 2) != 0);
        assert_int_equal(vio_drvdev_has(b.d, VIRTIO_F_IN_ORDER), (v & 4) != 0);
        check_waiting(&b);
        check_batches(&b);
        end(&b);
        assert_int_equal(b.nr_lost, 0);
    }
}

static void test_configuration(void **state)
{
    struct vio_drv_blk_info info;
    struct bench b;

    (void)state;
    init(&b, 3);
    b.disk.info.has_lifetime = true;
    b.disk.info.pre_eol = 2;
    b.disk.info.life_a = 3;
    b.disk.info.physical_block = 4096;
    b.device.block_size = 512;
    run(&b);
    info = vio_drv_blk_info(b.b);
    assert_int_equal(info.capacity, SECTORS);
    assert_int_equal(info.seg_max, 20);
    assert_int_equal(info.size_max, UINT32_MAX);
    assert_int_equal(info.blk_size, 512);
    assert_int_equal(info.physical_block_exp, 3);
    assert_int_equal(info.queues, 3);
    assert_true(info.flush && info.writeback && info.writeback_set && !info.read_only);
    assert_true(info.discard.sectors > 0 && info.write_zeroes.sectors > 0);
    if (info.lifetime) {
        struct vio_drv_blk_lifetime life;

        assert_int_equal(vio_drv_blk_lifetime(b.b, &life, SECOND), 0);
        assert_int_equal(life.pre_eol_info, 2);
        assert_int_equal(life.typ_a, 3);
    }
    assert_int_equal(vio_drv_blk_writeback(b.b, false), 0);
    assert_false(vio_drv_blk_info(b.b).writeback);
    end(&b);
}

/* What would make requests that cannot be ends in a sentence; what is only advice is left out. */
static void test_hostile_configuration(void **state)
{
    static const struct {
        const char *words;
    } want[] = { { "2^64" }, { "blk_size is 511" }, { "blk_size is 0" }, { "blk_size is 2097152" },
                 { "num_queues is 0" } };
    struct bench b;

    (void)state;
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        init(&b, 2);
        if (i == 0)
            LIE(&b, capacity, vio_le64_of(UINT64_MAX / 512 + 1));
        else if (i == 4)
            LIE(&b, num_queues, vio_le16_of(0));
        else
            LIE(&b, blk_size, vio_le32_of(i == 1 ? 511 : i == 2 ? 0 : 2 << 20));
        add(&b);
        assert_null(b.b);
        assert_int_equal(vio_drvdev_status(b.d), VIO_DRVDEV_FAILED);
        if (strstr(vio_drvdev_why(b.d), want[i].words) == NULL)
            fail_msg("%s: nothing of %s", vio_drvdev_why(b.d), want[i].words);
        end(&b);
    }
    init(&b, 2);
    b.device.size_max = 4096;
    LIE(&b, size_max, vio_le32_of(0)); /* as qemu-storage-daemon does */
    LIE(&b, seg_max, vio_le32_of(0));
    LIE(&b, physical_block_exp, 200);
    LIE(&b, num_queues, vio_le16_of(2));
    LIE(&b, max_discard_seg, vio_le32_of(0));
    LIE(&b, max_write_zeroes_sectors, vio_le32_of(0));
    run(&b);
    assert_int_equal(vio_drv_blk_info(b.b).size_max, UINT32_MAX);
    assert_int_equal(vio_drv_blk_info(b.b).seg_max, 1);
    assert_int_equal(vio_drv_blk_info(b.b).physical_block_exp, 0);
    assert_int_equal(vio_drv_blk_range(b.b, VIRTIO_BLK_T_DISCARD, 0, 1, false, SECOND), -ENOTSUP);
    assert_int_equal(vio_drv_blk_range(b.b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, false, SECOND), -ENOTSUP);
    end(&b);
    init(&b, 2); /* more queues than it has */
    LIE(&b, num_queues, vio_le16_of(60000));
    add(&b);
    assert_null(b.b);
    assert_non_null(strstr(vio_drvdev_why(b.d), "queue"));
    end(&b);
}

static void test_refused_requests(void **state)
{
    struct vio_buf piece[32];
    struct vio_drvblk_op read = { .type = VIRTIO_BLK_T_IN, .nr_data = 1, .data = piece };
    struct vio_drvblk_op op;
    struct bench b;

    (void)state;
    init(&b, 1);
    run(&b);
    for (unsigned i = 0; i < 32; i++)
        piece[i] = (struct vio_buf){ b.data_addr + i * 512, 512 };
    assert_int_equal(vio_drv_blk_check(b.b, &read), 0);
#define REFUSED(error, ...)                                                              \
    op = read;                                                                           \
    __VA_ARGS__;                                                                         \
    assert_int_equal(vio_drv_blk_check(b.b, &op), error);                                \
    assert_int_equal(vio_drv_blk_put(b.b, 0, &op, 1), error)
    REFUSED(-ERANGE, op.sector = SECTORS);
    REFUSED(-ERANGE, op.sector = UINT64_MAX);
    REFUSED(-EINVAL, op.nr_data = 0);
    REFUSED(-E2BIG, op.nr_data = 21);
    REFUSED(-EINVAL, op.type = 99);
    REFUSED(-EINVAL, op.type = VIRTIO_BLK_T_FLUSH);
    REFUSED(-EINVAL, op.type = VIRTIO_BLK_T_GET_ID);
    REFUSED(-EINVAL, op.type = VIRTIO_BLK_T_DISCARD; op.nr_data = 0);
    REFUSED(-EINVAL, op.type = VIRTIO_BLK_T_DISCARD; op.nr_data = 0; op.sectors = 1; op.flags = 1);
    REFUSED(-EINVAL, op.type = VIRTIO_BLK_T_WRITE_ZEROES; op.nr_data = 0; op.sectors = 1; op.flags = 2);
    REFUSED(-ERANGE, op.type = VIRTIO_BLK_T_DISCARD; op.nr_data = 0; op.sectors = 2; op.sector = SECTORS - 1);
    piece[0].len = 100;
    REFUSED(-EINVAL, op.nr_data = 1);
    piece[0].len = 0;
    REFUSED(-EINVAL, op.nr_data = 1);
    piece[0].len = 512;
    assert_int_equal(vio_drv_blk_put(b.b, 1, &read, 1), -EINVAL); /* no such queue */
    b.disk.fail_op = VIO_BLOCK_READ;
    b.disk.fail_error = -EIO;
    assert_int_equal(one(&b, 0, read), -EIO);
    b.disk.fail_op = -1;
    assert_int_equal(one(&b, 0, read), 0);
    end(&b);

    init(&b, 1);
    b.device.read_only = true;
    run(&b);
    piece[0] = (struct vio_buf){ b.data_addr, 512 };
    REFUSED(-EROFS, op.type = VIRTIO_BLK_T_OUT);
    assert_int_equal(vio_drv_blk_write(b.b, 0, piece, 0, SECOND), -EROFS);
    end(&b);
}

/* Pieces longer than size_max are cut; what is then too many is refused. */
static void test_size_max(void **state)
{
    struct vio_buf piece = { 0, 8 * 1024 };
    struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_OUT, .nr_data = 1, .data = &piece };
    struct bench b;

    (void)state;
    init(&b, 1);
    b.device.size_max = 1024;
    b.device.seg_max = 8;
    run(&b);
    assert_int_equal(vio_drv_blk_info(b.b).size_max, 1024);
    piece.addr = b.data_addr;
    fill(b.data, 8192, 9);
    assert_int_equal(one(&b, 0, op), 0);
    assert_memory_equal(b.disk.bytes, b.data, 8192);
    piece.len += 512;
    assert_int_equal(one(&b, 0, op), -E2BIG);
    check_waiting(&b);
    end(&b);
}

static void test_resize(void **state)
{
    struct bench b;
    uint8_t sector[512];

    (void)state;
    init(&b, 1);
    run(&b);
    b.disk.info.size = BYTES / 2;
    assert_int_equal(vio_blk_refresh(b.dev), 0);
    vio_drvdev_event(b.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(b.changed, 1);
    assert_int_equal(vio_drv_blk_capacity(b.b), SECTORS / 2);
    assert_int_equal(vio_drv_blk_read(b.b, SECTORS / 2, sector, 512, SECOND), -ERANGE);
    LIE(&b, capacity, vio_le64_of(UINT64_MAX));
    vio_drvdev_event(b.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(vio_drvdev_status(b.d), VIO_DRVDEV_BROKEN);
    assert_null(vio_drv_blk_of(b.d));
    end(&b);
}

/* A call that waits gives up, and nothing of it is mixed up with what comes after. */
static void test_late(void **state)
{
    struct bench b;
    uint8_t sector[512];

    (void)state;
    init(&b, 1);
    run(&b);
    b.disk.hold = true;
    assert_int_equal(vio_drv_blk_read(b.b, 0, sector, 512, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_blk_read(b.b, 0, sector, 512, SECOND), -EBUSY);
    b.disk.hold = false;
    fake_disk_release(&b.disk, 1);
    fake_serve(b.f);
    fill(b.disk.bytes, 512, 5);
    assert_int_equal(vio_drv_blk_read(b.b, 0, sector, 512, SECOND), 0);
    assert_memory_equal(sector, b.disk.bytes, 512);
    end(&b);
    assert_int_equal(b.nr_lost, 0);
}

static void put_held(struct bench *b, uint16_t queue, unsigned n)
{
    struct vio_buf piece = { b->data_addr, 512 };

    b->disk.hold = true;
    for (unsigned i = 0; i < n; i++) {
        struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_IN, .nr_data = 1, .data = &piece, .token = 500 + i };

        assert_int_equal(vio_drv_blk_put(b->b, queue, &op, 1), 1);
    }
    vio_drv_blk_publish(b->b, queue);
    fake_serve(b->f);
    assert_int_equal(b->disk.nr_held, n);
    b->disk.release_at = 3; /* a reset waits until the disk is done with all */
}

/* Recovered and removed: each request that never came back is named once. */
static void test_lost(void **state)
{
    struct bench b;

    (void)state;
    init(&b, 2);
    run(&b);
    put_held(&b, 1, 3);
    assert_int_equal(vio_drvdev_recover(b.d), 0);
    assert_int_equal(b.nr_lost, 3);
    assert_int_equal(b.lost[0] + b.lost[1] + b.lost[2], 1503);
    b.disk.hold = false;
    b.b = vio_drv_blk_of(b.d);
    assert_non_null(b.b);
    check_batches(&b);
    put_held(&b, 0, 1);
    end(&b);
    assert_int_equal(b.nr_lost, 4);
}

static void count_lost(void *ctx, uint64_t token)
{
    struct bench *b = ctx;

    on_lost(b, b->d, 0, token);
}

static void test_restart(void **state)
{
    struct bench b;

    (void)state;
    init(&b, 2);
    run(&b);
    if (!vio_drvdev_has(b.d, VIRTIO_F_RING_RESET))
        fail_msg("no RING_RESET");
    put_held(&b, 0, 2);
    b.disk.hold = false;
    /* the device ends them as it stops the queue, or never: both are right, none is named twice */
    assert_int_equal(vio_drv_blk_restart(b.b, 0, 64, count_lost, &b), 0);
    assert_true(b.nr_lost <= 2);
    assert_int_equal(vio_drv_blk_in_flight(b.b, 0), 0);
    check_waiting(&b);
    check_batches(&b);
    assert_int_equal(vio_drv_blk_restart(b.b, 9, 0, NULL, NULL), -EINVAL);
    assert_int_equal(vio_drv_blk_restart(b.b, 0, 2, NULL, NULL), -EINVAL);
    end(&b);
}

/* A device that uses what it was not given, and one that answers nothing or nonsense. */
static void test_hostile_device(void **state)
{
    struct vio_buf piece;
    struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_IN, .nr_data = 1, .data = &piece, .token = 4 };
    struct vio_drvblk_result r;
    struct bench b;

    (void)state;
    init(&b, 1);
    run(&b);
    b.f->asleep = true;
    piece = (struct vio_buf){ b.data_addr, 512 };
    assert_int_equal(vio_drv_blk_put(b.b, 0, &op, 1), 1);
    vio_drv_blk_publish(b.b, 0);
    fake_used(b.f, 0, 0, 0, 513); /* packed: the first buffer id is 0 as well */
    assert_int_equal(vio_drv_blk_collect(b.b, 0, &r, 1), 1);
    assert_int_equal(r.token, 4);
    assert_int_equal(r.status, VIO_DRVBLK_NO_STATUS);
    assert_int_equal(r.error, -EPROTO);
    assert_int_equal(vio_drv_blk_put(b.b, 0, &op, 1), 1);
    vio_drv_blk_publish(b.b, 0);
    fake_used(b.f, 0, vio_drvdev_has(b.d, VIRTIO_F_RING_PACKED) ? 3 : 1, 200, 1);
    assert_int_equal(vio_drv_blk_collect(b.b, 0, &r, 1), 0);
    assert_int_equal(vio_drv_blk_fault(b.b, 0), VIO_FAULT_USED_NOT_IN_FLIGHT);
    assert_int_equal(vio_drv_blk_put(b.b, 0, &op, 1), -EIO);
    assert_int_equal(vio_drvdev_wait(b.d, 0, SECOND), -EIO);
    assert_int_equal(vio_drvdev_status(b.d), VIO_DRVDEV_BROKEN);
    end(&b);
    assert_int_equal(b.nr_lost, 1);
}

static void test_used_call(void **state)
{
    struct vio_buf piece;
    struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_IN, .nr_data = 1, .data = &piece };
    struct vio_drvblk_result r;
    struct bench b;

    (void)state;
    init(&b, 1);
    b.driver.params.used = on_used;
    b.driver.params.depth = 2;
    b.driver.params.no_bounce = true;
    run(&b);
    piece = (struct vio_buf){ b.data_addr, 512 };
    assert_int_equal(vio_drv_blk_read(b.b, 0, b.data, 512, SECOND), -ENOTSUP);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(vio_drv_blk_put(b.b, 0, &op, 1), 1);
    assert_int_equal(vio_drv_blk_put(b.b, 0, &op, 1), -EAGAIN); /* depth */
    vio_drv_blk_publish(b.b, 0);
    fake_serve(b.f);
    vio_drvdev_event(b.d, 0);
    assert_true(b.used >= 1);
    assert_int_equal(vio_drv_blk_collect(b.b, 0, &r, 1), 1);
    assert_int_equal(vio_drv_blk_collect(b.b, 0, &r, 1), 1);
    end(&b);
}

/* Every allocation fails once: a sentence, nothing kept, and the next try works. */
static void test_no_memory(void **state)
{
    struct bench b;
    bool ran = false;

    (void)state;
    for (unsigned i = 1; !ran; i++) {
        init(&b, 2);
        if (i == 1) {
            run(&b);
            assert_int_equal(vio_drvdev_recover(b.d), 0);
            end(&b);
            continue;
        }
        run(&b);
        b.f->fail_allocation = i - 1;
        ran = vio_drvdev_recover(b.d) == 0;
        if (!ran) {
            assert_int_equal(vio_drvdev_status(b.d), VIO_DRVDEV_FAILED);
            assert_true(vio_drvdev_why(b.d)[0] != '\0');
            b.f->fail_allocation = 0;
            assert_int_equal(vio_drvdev_recover(b.d), 0);
        }
        b.f->fail_allocation = 0;
        end(&b);
        assert_true(i < 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_hostile_configuration),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_size_max),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_hostile_device),
        cmocka_unit_test(test_used_call),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
