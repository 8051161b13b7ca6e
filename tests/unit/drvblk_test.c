/* SPDX-License-Identifier: MIT */
/* The block client against vio's own device side of the ring: what a device finds, and what is made of its answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <vio/memory.h>
#include "driver/blk.h"
#include "spec/blk.h"
#include "spec/virtio.h"

enum { DEPTH = 8, SIZE = 64, GPA = 1 << 20, BYTES = 1 << 20, SLOTS_AT = 1 << 16, DATA_AT = 1 << 17 };

struct world {
    uint8_t *bytes;
    struct vio_memory *memory;
    struct vio_drvq *drvq;
    struct vio_devq *devq;
    struct vio_drvblk *client;
    void *drvq_memory, *devq_memory, *client_memory;
};

static void *zeroed(size_t size)
{
    void *at = aligned_alloc(64, (size + 63) & ~(size_t)63);

    assert_non_null(at);
    return memset(at, 0, size);
}

static void make(struct world *w, bool packed)
{
    struct vio_features features = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1) |
                                                   (packed ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0));
    struct vio_memory_region region = { .gpa = GPA, .size = BYTES, .uva = GPA };
    struct vio_queue_cfg cfg = { .size = SIZE, .ready = true, .desc = GPA, .driver = GPA + 0x4000,
                                 .device = GPA + 0x8000, .state = vio_queue_state_initial(packed) };
    struct vio_drvq_params drv = { .size = SIZE, .features = features };
    struct vio_devq_params dev = { .cfg = &cfg, .features = features };
    struct vio_drvblk_params blk = { .slots_addr = GPA + SLOTS_AT, .depth = DEPTH };

    w->bytes = aligned_alloc(4096, BYTES);
    assert_non_null(w->bytes);
    memset(w->bytes, 0, BYTES);
    drv.desc = w->bytes;
    drv.driver = w->bytes + 0x4000;
    drv.device = w->bytes + 0x8000;
    assert_int_equal(vio_memory_create(&w->memory), 0);
    assert_int_equal(vio_memory_add_host(w->memory, &region, w->bytes), 0);
    w->drvq_memory = zeroed(vio_drvq_bytes(&drv));
    assert_int_equal(vio_drvq_start(w->drvq_memory, &drv, &w->drvq), 0);
    dev.map = vio_memory_map(w->memory);
    w->devq_memory = zeroed(vio_devq_bytes(&dev));
    assert_int_equal(vio_devq_start(w->devq_memory, &dev, &w->devq), VIO_FAULT_NONE);
    w->client_memory = zeroed(vio_drvblk_bytes(DEPTH));
    blk.queue = w->drvq;
    blk.slots = w->bytes + SLOTS_AT;
    assert_int_equal(vio_drvblk_init(w->client_memory, &blk, &w->client), 0);
}

static void end(struct world *w)
{
    struct vio_queue_state state;

    vio_devq_stop(w->devq, &state);
    vio_memory_destroy(w->memory);
    free(w->bytes);
    free(w->drvq_memory);
    free(w->devq_memory);
    free(w->client_memory);
}

static struct vio_req *take(struct world *w)
{
    struct vio_req *req;

    assert_int_equal(vio_devq_take(w->devq, &req, 1), 1);
    return req;
}

static void give(struct world *w, struct vio_req *req, int status)
{
    uint8_t *last = vio_writer_take_last(&req->out);

    assert_non_null(last);
    if (status >= 0)
        *last = (uint8_t)status;
    vio_devq_put(w->devq, req);
    (void)!vio_devq_publish(w->devq);
}

static void check_header(struct vio_req *req, uint32_t type, uint64_t sector)
{
    struct virtio_blk_req header;

    assert_true(vio_reader_get(&req->in, &header, sizeof(header)));
    assert_int_equal(vio_cpu(header.type), type);
    assert_int_equal(vio_cpu(header.sector), sector);
}

static void check_read_write(bool packed)
{
    struct world w;
    struct vio_buf data[2] = { { GPA + DATA_AT, 512 }, { GPA + DATA_AT + 4096, 1024 } };
    struct vio_drvblk_op ops[2] = {
        { .type = VIRTIO_BLK_T_OUT, .nr_data = 2, .data = data, .sector = 77, .token = 1001 },
        { .type = VIRTIO_BLK_T_IN, .nr_data = 1, .data = data, .sector = UINT64_C(1) << 40, .token = 1002 },
    };
    struct vio_drvblk_result results[4];
    struct vio_req *req;
    uint8_t block[1536];

    make(&w, packed);
    memset(w.bytes + DATA_AT, 0x11, 512);
    memset(w.bytes + DATA_AT + 4096, 0x22, 1024);
    assert_int_equal(vio_drvblk_put(w.client, ops, 2), 2);
    assert_int_equal(vio_drvblk_in_flight(w.client), 2);
    (void)!vio_drvblk_publish(w.client);
    req = take(&w);
    check_header(req, VIRTIO_BLK_T_OUT, 77);
    assert_int_equal(req->out.left, 1);
    assert_int_equal(req->in.left, 1536);
    assert_true(vio_reader_get(&req->in, block, sizeof(block)));
    assert_int_equal(block[511], 0x11);
    assert_int_equal(block[512], 0x22);
    give(&w, req, VIRTIO_BLK_S_OK);
    req = take(&w);
    check_header(req, VIRTIO_BLK_T_IN, UINT64_C(1) << 40);
    assert_int_equal(req->in.left, 0);
    assert_int_equal(req->out.left, 513);
    give(&w, req, VIRTIO_BLK_S_IOERR);
    assert_int_equal(vio_drvblk_collect(w.client, results, 4), 2);
    assert_int_equal(results[0].token, 1001);
    assert_int_equal(results[0].status, VIRTIO_BLK_S_OK);
    assert_int_equal(results[1].token, 1002);
    assert_int_equal(results[1].status, VIRTIO_BLK_S_IOERR);
    assert_int_equal(vio_drvblk_in_flight(w.client), 0);
    end(&w);
}

static void test_read_write(void **state)
{
    (void)state;
    check_read_write(false);
    check_read_write(true);
}

static void test_ranges(void **state)
{
    static const uint32_t types[] = { VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_SECURE_ERASE };
    struct world w;
    struct vio_drvblk_result result;

    (void)state;
    make(&w, false);
    for (unsigned i = 0; i < 3; i++) {
        struct vio_drvblk_op op = { .type = types[i], .sectors = 9, .flags = i, .sector = 123, .token = i };
        struct virtio_blk_range range;
        struct vio_req *req;

        assert_int_equal(vio_drvblk_put(w.client, &op, 1), 1);
        (void)!vio_drvblk_publish(w.client);
        req = take(&w);
        check_header(req, types[i], 0);
        assert_int_equal(req->in.left, sizeof(range));
        assert_true(vio_reader_get(&req->in, &range, sizeof(range)));
        assert_int_equal(vio_cpu(range.sector), 123);
        assert_int_equal(vio_cpu(range.num_sectors), 9);
        assert_int_equal(vio_cpu(range.flags), i);
        give(&w, req, VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(vio_drvblk_collect(w.client, &result, 1), 1);
        assert_int_equal(result.status, VIRTIO_BLK_S_UNSUPP);
    }
    end(&w);
}

/* A status that the device did not write is not that of the slot's last request. */
static void test_no_status(void **state)
{
    struct world w;
    struct vio_drvblk_op op = { .type = VIRTIO_BLK_T_FLUSH };
    struct vio_drvblk_result result;

    (void)state;
    make(&w, true);
    for (int written = 0; written >= -1; written--) {
        assert_int_equal(vio_drvblk_put(w.client, &op, 1), 1);
        (void)!vio_drvblk_publish(w.client);
        give(&w, take(&w), written);
        assert_int_equal(vio_drvblk_collect(w.client, &result, 1), 1);
        assert_int_equal(result.status, written == 0 ? VIRTIO_BLK_S_OK : VIO_DRVBLK_NO_STATUS);
    }
    end(&w);
}

static void test_refused_ops(void **state)
{
    struct world w;
    struct vio_buf data[VIO_DRVBLK_PIECES_MAX + 1];
    struct vio_drvblk_op bad[] = {
        { .type = VIRTIO_BLK_T_IN },
        { .type = VIRTIO_BLK_T_OUT, .nr_data = VIO_DRVBLK_PIECES_MAX + 1, .data = data },
        { .type = VIRTIO_BLK_T_FLUSH, .nr_data = 1, .data = data },
        { .type = VIRTIO_BLK_T_DISCARD, .nr_data = 1, .data = data },
    };
    struct vio_drvblk_op most = { .type = VIRTIO_BLK_T_OUT, .nr_data = VIO_DRVBLK_PIECES_MAX, .data = data };

    (void)state;
    for (unsigned i = 0; i < VIO_DRVBLK_PIECES_MAX + 1; i++)
        data[i] = (struct vio_buf){ GPA + DATA_AT, 512 };
    make(&w, false);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(vio_drvblk_put(w.client, &bad[i], 1), 0);
    assert_int_equal(vio_drvblk_in_flight(w.client), 0);
    assert_int_equal(vio_drvblk_put(w.client, &most, 1), 1);
    assert_int_equal(vio_drvblk_put(w.client, &most, 1), 1);
    assert_int_equal(vio_drvblk_put(w.client, &most, 1), 0); /* 64 descriptors are in use */
    assert_int_equal(vio_drvblk_in_flight(w.client), 2);
    end(&w);
}

static void test_depth_and_detach(void **state)
{
    struct world w;
    struct vio_drvblk_op ops[DEPTH + 2];
    uint64_t token, seen = 0;

    (void)state;
    make(&w, true);
    for (unsigned i = 0; i < DEPTH + 2; i++)
        ops[i] = (struct vio_drvblk_op){ .type = VIRTIO_BLK_T_FLUSH, .token = i };
    assert_int_equal(vio_drvblk_put(w.client, ops, DEPTH + 2), DEPTH);
    (void)!vio_drvblk_publish(w.client);
    assert_int_equal(vio_drvblk_put(w.client, ops, 1), 0);
    while (vio_drvblk_detach(w.client, &token))
        seen |= UINT64_C(1) << token;
    assert_int_equal(seen, (1 << DEPTH) - 1);
    assert_int_equal(vio_drvblk_in_flight(w.client), 0);
    end(&w);
}

static void test_init(void **state)
{
    _Alignas(64) uint8_t memory[4096];
    _Alignas(64) uint8_t slots[1024];
    struct vio_drvblk_params params = { .slots = slots, .slots_addr = 4096, .depth = 0 };
    struct vio_drvblk *client;

    (void)state;
    assert_int_equal(vio_drvblk_init(memory, &params, &client), -EINVAL);
    params.depth = 65537;
    assert_int_equal(vio_drvblk_init(memory, &params, &client), -EINVAL);
    params.depth = 4;
    params.slots_addr = 4104;
    assert_int_equal(vio_drvblk_init(memory, &params, &client), -EINVAL);
    params.slots_addr = 4096;
    params.slots = slots + 8;
    assert_int_equal(vio_drvblk_init(memory, &params, &client), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_write),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_no_status),
        cmocka_unit_test(test_refused_ops),
        cmocka_unit_test(test_depth_and_detach),
        cmocka_unit_test(test_init),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
