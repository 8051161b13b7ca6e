/* SPDX-License-Identifier: MIT */
/* Each kind of block request, in every framing, on both ring formats (virtio 1.4, 5.2.6). */
#include "blk_help.h"

#include <errno.h>

static struct bench bench;
static bool packed;

static void start_with(struct bench *b, struct vio_features features)
{
    if (!packed)
        vio_features_clear(&features, VIRTIO_F_RING_PACKED);
    rig_start(&b->rig, features, 64);
}

static int setup_bare(void **state)
{
    bench_init(&bench);
    *state = &bench;
    return 0;
}

static int setup(void **state)
{
    setup_bare(state);
    bench_create(&bench);
    start_with(&bench, vio_device_offered(bench.rig.dev));
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

/* ------------------------------------------------------------------ data */

static void writes_and_reads(void **state)
{
    struct bench *b = *state;
    struct breq w = breq_make(b, VIRTIO_BLK_T_OUT, 5, 4096), r = breq_make(b, VIRTIO_BLK_T_IN, 5, 4096);
    uint32_t used;

    fill(w.data.host, 4096, 1);
    assert_int_equal(breq_run(b, &w, false, &used), VIRTIO_BLK_S_OK);
    assert_int_equal(used, 1); /* the status */
    assert_memory_equal(b->disk.bytes + 5 * 512, w.data.host, 4096);
    assert_int_equal(breq_run(b, &r, true, &used), VIRTIO_BLK_S_OK);
    assert_int_equal(used, 4097);
    assert_memory_equal(r.data.host, w.data.host, 4096);
    assert_int_equal(b->disk.op[0].offset, 5 * 512);
    assert_int_equal(b->disk.op[0].length, 4096);
}

static void the_last_sector_and_what_lies_behind(void **state)
{
    struct bench *b = *state;

    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 0, DISK_BYTES), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.nr_op, 2);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, 1024), VIRTIO_BLK_S_IOERR);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, DISK_SECTORS, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, DISK_SECTORS + 1, 512), VIRTIO_BLK_S_IOERR);
    /* sector * 512 wraps to 0, sector + length wraps */
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, UINT64_C(1) << 55, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, UINT64_MAX - 1, 1024), VIRTIO_BLK_S_IOERR);
    assert_int_equal(b->disk.nr_op, 2); /* the backend saw none of them */
    assert_int_equal(vio_device_status(b->rig.dev), 15);
}

static void whole_sectors_only(void **state)
{
    struct bench *b = *state;
    static const uint32_t odd[] = { 1, 511, 513, 4095, 1023 };

    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, odd[i]), VIRTIO_BLK_S_IOERR);
        assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 0, odd[i]), VIRTIO_BLK_S_IOERR);
    }
    assert_int_equal(b->disk.nr_op, 0);
    /* Nothing is a whole number of sectors. */
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, DISK_SECTORS + 1, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(b->disk.nr_op, 0);
}

static void a_failed_read_counts_nothing(void **state)
{
    struct bench *b = *state;
    struct breq r = breq_make(b, VIRTIO_BLK_T_IN, 0, 1024);
    uint32_t used;

    b->disk.fail_op = VIO_BLOCK_READ;
    b->disk.fail_error = -EIO;
    assert_int_equal(breq_run(b, &r, true, &used), VIRTIO_BLK_S_IOERR);
    assert_int_equal(used, 0); /* the data before the status was not written (2.7.8.2) */
    assert_true(rig_said(&b->rig, "read of 1024 bytes at 0 failed: Input/output error"));
    b->disk.fail_op = VIO_BLOCK_WRITE;
    b->disk.fail_error = -ENOSPC;
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 3, 512), VIRTIO_BLK_S_IOERR);
    assert_true(rig_said(&b->rig, "write of 512 bytes at 1536 failed: No space left"));
    assert_int_equal(vio_device_status(b->rig.dev), 15); /* an error of the disk is no fault of the driver's */
}

static void a_backend_may_use_up_the_pieces(void **state)
{
    struct bench *b = *state;
    struct breq r = breq_make(b, VIRTIO_BLK_T_IN, 8, 2048);
    uint32_t used;

    b->disk.spoil_segs = true;
    fill(b->disk.bytes, DISK_BYTES, 3);
    assert_int_equal(breq_run(b, &r, true, &used), VIRTIO_BLK_S_OK);
    assert_int_equal(used, 2049);
    assert_memory_equal(r.data.host, b->disk.bytes + 8 * 512, 2048);
}

/* ------------------------------------------------------------------ framing (2.7.4) */

/* Header, data and status as one string of bytes each way, cut at every `step`. */
static unsigned cut(struct vio_buf *bufs, uint64_t gpa, uint32_t len, uint32_t step)
{
    unsigned n = 0;

    for (uint32_t at = 0; at < len; at += step)
        bufs[n++] = (struct vio_buf){ gpa + at, len - at < step ? len - at : step };
    return n;
}

static void any_framing(void **state)
{
    static const uint32_t step_r[] = { 1, 3, 15, 16, 17, 100, 5000 };
    static const uint32_t step_w[] = { 1, 2, 7, 100, 5000 };
    struct bench *b = *state;
    struct vio_buf bufs[64];
    const uint32_t data = 512;

    for (size_t i = 0; i < sizeof(step_r) / sizeof(step_r[0]); i++) {
        for (size_t k = 0; k < sizeof(step_w) / sizeof(step_w[0]); k++) {
            struct rig_at head = rig_alloc(&b->rig, 16), answer = rig_alloc(&b->rig, data + 1);
            struct virtio_blk_req wire = { .type = vio_le32_of(VIRTIO_BLK_T_IN), .sector = vio_le64_of(i + k) };
            unsigned nr_r, nr_w;

            if (data / step_w[k] > 40)
                continue;
            fill(b->disk.bytes, 64 * 512, (unsigned)(i * 10 + k));
            memcpy(head.host, &wire, 16);
            answer.host[data] = 0xff;
            nr_r = cut(bufs, head.gpa, 16, step_r[i]);
            nr_w = cut(bufs + nr_r, answer.gpa, data + 1, step_w[k]);
            put_bufs(b, 0, bufs, nr_r, nr_w, i);
            publish(b, 0);
            rig_serve(&b->rig, 0);
            assert_int_equal(collect_one(b, 0, i), data + 1);
            assert_int_equal(answer.host[data], VIRTIO_BLK_S_OK);
            assert_memory_equal(answer.host, b->disk.bytes + (i + k) * 512, data);
        }
    }
}

static void header_and_data_in_one(void **state)
{
    static const uint32_t steps[] = { 1, 5, 16, 31, 1000 };
    struct bench *b = *state;
    struct vio_buf bufs[64];

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct rig_at out = rig_alloc(&b->rig, 16 + 512), status = rig_alloc(&b->rig, 1);
        struct virtio_blk_req wire = { .type = vio_le32_of(VIRTIO_BLK_T_OUT), .sector = vio_le64_of(i) };
        uint32_t len = 16 + 512;
        unsigned nr_r;

        if (len / steps[i] > 40)
            continue;
        memcpy(out.host, &wire, 16);
        fill(out.host + 16, 512, (unsigned)i + 9);
        nr_r = cut(bufs, out.gpa, len, steps[i]);
        bufs[nr_r] = (struct vio_buf){ status.gpa, 1 };
        put_bufs(b, 0, bufs, nr_r, 1, i);
        publish(b, 0);
        rig_serve(&b->rig, 0);
        assert_int_equal(collect_one(b, 0, i), 1);
        assert_int_equal(*status.host, VIRTIO_BLK_S_OK);
        assert_memory_equal(b->disk.bytes + i * 512, out.host + 16, 512);
    }
}

static void expect_fault(struct bench *b, enum vio_fault fault)
{
    struct vio_queue_counters c;

    publish(b, 0);
    rig_serve(&b->rig, 0);
    assert_int_equal(vio_device_status(b->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    assert_int_equal(b->rig.fault, fault);
    assert_int_equal(b->rig.needs_reset, 1);
    assert_int_equal(b->rig.config_changed, 1); /* 2.1.2 */
    assert_true(rig_said(&b->rig, vio_fault_text(fault)));
    assert_true(rig_said(&b->rig, vio_fault_clause(fault)));
    assert_true(nothing_used(b, 0));
    vio_device_queue_counters(b->rig.dev, 0, &c);
    assert_int_equal(c.faults, 1);
    assert_int_equal(vio_device_queue_in_flight(b->rig.dev, 0), 0);
    /* Broken: nothing more is taken. After a reset all is well. */
    assert_int_equal(vio_device_queue_service(b->rig.dev, 0, 64), 0);
    assert_false(vio_device_queue_arm(b->rig.dev, 0));
    vio_device_reset(b->rig.dev);
    start_with(b, vio_device_offered(b->rig.dev));
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}

static void a_short_header_breaks_the_queue(void **state)
{
    struct bench *b = *state;
    struct breq r = breq_make(b, VIRTIO_BLK_T_IN, 0, 512);
    struct vio_buf bufs[] = { { r.head.gpa, 15 }, { r.data.gpa, 513 } };

    put_bufs(b, 0, bufs, 1, 1, 0);
    expect_fault(b, VIO_FAULT_REQ_SHORT);
}

static void no_status_byte_breaks_the_queue(void **state)
{
    struct bench *b = *state;
    struct breq r = breq_make(b, VIRTIO_BLK_T_OUT, 0, 512);
    struct vio_buf bufs[] = { { r.head.gpa, 16 }, { r.data.gpa, 512 } };

    put_bufs(b, 0, bufs, 2, 0, 0);
    expect_fault(b, VIO_FAULT_REQ_NO_STATUS);
}

static void no_header_at_all(void **state)
{
    struct bench *b = *state;
    struct breq r = breq_make(b, VIRTIO_BLK_T_OUT, 0, 512);
    struct vio_buf bufs[] = { { r.data.gpa, 512 }, { r.status.gpa, 1 } };

    put_bufs(b, 0, bufs, 0, 2, 0);
    expect_fault(b, VIO_FAULT_REQ_SHORT);
}

static void others_of_the_batch_are_served(void **state)
{
    struct bench *b = *state;
    struct breq good = breq_make(b, VIRTIO_BLK_T_IN, 0, 512), bad = breq_make(b, VIRTIO_BLK_T_IN, 0, 512);
    struct vio_buf bufs[] = { { bad.head.gpa, 8 }, { bad.status.gpa, 1 } };

    breq_put(b, 0, &good, true, 1);
    put_bufs(b, 0, bufs, 1, 1, 2);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    assert_int_equal(collect_one(b, 0, 1), 513);
    assert_int_equal(*good.status.host, VIRTIO_BLK_S_OK);
    assert_true(nothing_used(b, 0));
    assert_int_equal(b->rig.fault, VIO_FAULT_REQ_SHORT);
}

/* ------------------------------------------------------------------ the other requests */

static void flush(void **state)
{
    struct bench *b = *state;

    assert_int_equal(simple(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(fake_disk_count(&b->disk, VIO_BLOCK_FLUSH), 1);
    b->disk.fail_op = VIO_BLOCK_FLUSH;
    b->disk.fail_error = -EIO;
    assert_int_equal(simple(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_IOERR);
}

static void get_id(void **state)
{
    struct bench *b = *state;
    struct breq r = breq_make(b, VIRTIO_BLK_T_GET_ID, 0, 20);
    uint32_t used;

    assert_int_equal(breq_run(b, &r, true, &used), VIRTIO_BLK_S_OK);
    assert_int_equal(used, 21);
    assert_memory_equal(r.data.host, "fake-serial\0\0\0\0\0\0\0\0\0", 20);
    assert_int_equal(simple(b, VIRTIO_BLK_T_GET_ID, 0, 19), VIRTIO_BLK_S_IOERR);
    /* More room than an ID: only the first 20 bytes are, so the status is not contiguous with them. */
    r = breq_make(b, VIRTIO_BLK_T_GET_ID, 0, 30);
    memset(r.data.host, 0x55, 30);
    assert_int_equal(breq_run(b, &r, true, &used), VIRTIO_BLK_S_OK);
    assert_int_equal(used, 20);
    assert_int_equal(r.data.host[20], 0x55);
}

static void get_lifetime(void **state)
{
    struct bench *b = *state;
    struct breq r = breq_make(b, VIRTIO_BLK_T_GET_LIFETIME, 0, 6);
    static const uint8_t known[] = { 1, 0, 2, 0, 3, 0 }, unknown[] = { 0, 0, 0, 0, 11, 0 };

    assert_int_equal(breq_run(b, &r, true, NULL), VIRTIO_BLK_S_OK);
    assert_memory_equal(r.data.host, known, 6);
    b->disk.info.pre_eol = 4; /* reserved values are not passed on (5.2.6.2) */
    b->disk.info.life_a = 12;
    b->disk.info.life_b = 11;
    assert_int_equal(breq_run(b, &r, true, NULL), VIRTIO_BLK_S_OK);
    assert_memory_equal(r.data.host, unknown, 6);
    assert_int_equal(simple(b, VIRTIO_BLK_T_GET_LIFETIME, 0, 5), VIRTIO_BLK_S_IOERR);
}

static void unknown_types(void **state)
{
    struct bench *b = *state;
    static const uint32_t types[] = { 2, 3, 5, 6, 7, 9, 12, 15, 16, 18, 20, 22, 24, 26, 27, 0x80000000u, UINT32_MAX };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        assert_int_equal(simple(b, types[i], 0, 512), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(b->disk.nr_op, 0);
    assert_int_equal(vio_device_status(b->rig.dev), 15);
}

static void discard_and_zeroes(void **state)
{
    struct bench *b = *state;
    const struct range one = { 8, 16, 0 }, unmap = { 8, 16, 1 };

    fill(b->disk.bytes, DISK_BYTES, 5);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_DISCARD, &one, 1), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.op[0].op, VIO_BLOCK_DISCARD);
    assert_int_equal(b->disk.op[0].offset, 8 * 512);
    assert_int_equal(b->disk.op[0].length, 16 * 512);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_WRITE_ZEROES, &one, 1), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.op[1].flags, 0);
    assert_int_equal(b->disk.bytes[8 * 512], 0);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_WRITE_ZEROES, &unmap, 1), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.op[2].flags, VIO_BLOCK_IO_UNMAP);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_SECURE_ERASE, &one, 1), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.op[3].op, VIO_BLOCK_SECURE_ERASE);
    assert_int_equal(b->disk.nr_op, 4);
}

static void ranges_that_are_refused(void **state)
{
    struct bench *b = *state;
    static const uint32_t types[] = { VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_SECURE_ERASE };
    const struct range end = { DISK_SECTORS, 0, 0 }, past = { DISK_SECTORS - 1, 2, 0 }, wrap = { UINT64_MAX, 2, 0 },
                       far = { UINT64_C(1) << 55, 1, 0 }, empty = { 3, 0, 0 }, longest = { 0, UINT32_MAX, 0 },
                       flag = { 0, 1, 2 }, top = { 0, 1, 0x80000000u }, unmap = { 0, 1, 1 };

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ranges(b, types[i], &past, 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(ranges(b, types[i], &wrap, 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(ranges(b, types[i], &far, 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(ranges(b, types[i], &longest, 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(ranges(b, types[i], &flag, 1), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(ranges(b, types[i], &top, 1), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(simple(b, types[i], 0, 15), VIRTIO_BLK_S_IOERR);
        assert_int_equal(simple(b, types[i], 0, 17), VIRTIO_BLK_S_IOERR);
        assert_int_equal(simple(b, types[i], 0, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(simple(b, types[i], 0, 65 * 16), VIRTIO_BLK_S_IOERR);
        assert_int_equal(ranges(b, types[i], &empty, 1), VIRTIO_BLK_S_OK);
        assert_int_equal(ranges(b, types[i], &end, 1), VIRTIO_BLK_S_OK);
    }
    assert_int_equal(ranges(b, VIRTIO_BLK_T_DISCARD, &unmap, 1), VIRTIO_BLK_S_UNSUPP); /* 5.2.6.2 */
    assert_int_equal(ranges(b, VIRTIO_BLK_T_SECURE_ERASE, &unmap, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(b->disk.nr_op, 0);
}

static void several_ranges(void **state)
{
    struct bench *b = *state;
    struct range r[64];

    for (unsigned i = 0; i < 64; i++)
        r[i] = (struct range){ i * 10, i % 4 == 3 ? 0 : 2, 0 };
    assert_int_equal(ranges(b, VIRTIO_BLK_T_DISCARD, r, 64), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.nr_op, 48); /* those that are not empty, in order */
    assert_int_equal(b->disk.op[0].offset, 0);
    assert_int_equal(b->disk.op[3].offset, 40 * 512);
    /* A bad one at the end: none is carried out. */
    r[63] = (struct range){ 0, 1, 4 };
    assert_int_equal(ranges(b, VIRTIO_BLK_T_WRITE_ZEROES, r, 64), VIRTIO_BLK_S_UNSUPP);
    r[63] = (struct range){ DISK_SECTORS, 1, 0 };
    assert_int_equal(ranges(b, VIRTIO_BLK_T_WRITE_ZEROES, r, 64), VIRTIO_BLK_S_IOERR);
    assert_int_equal(b->disk.nr_op, 48);
    /* One that fails ends the request. */
    b->disk.fail_op = VIO_BLOCK_DISCARD;
    b->disk.fail_error = -EIO;
    assert_int_equal(ranges(b, VIRTIO_BLK_T_DISCARD, r, 4), VIRTIO_BLK_S_IOERR);
    assert_int_equal(b->disk.nr_op, 49);
    b->disk.fail_error = -EOPNOTSUPP;
    assert_int_equal(ranges(b, VIRTIO_BLK_T_DISCARD, r, 4), VIRTIO_BLK_S_UNSUPP);
}

/* ------------------------------------------------------------------ what was not offered or negotiated */

static void read_only(void **state)
{
    struct bench *b = *state;
    const struct range one = { 0, 1, 0 };
    uint8_t *copy = malloc(DISK_BYTES);

    b->params.read_only = true;
    bench_create(b);
    start_with(b, vio_device_offered(b->rig.dev));
    assert_true(vio_features_has(vio_device_offered(b->rig.dev), VIRTIO_BLK_F_RO));
    assert_false(vio_features_has(vio_device_offered(b->rig.dev), VIRTIO_BLK_F_DISCARD));
    fill(b->disk.bytes, DISK_BYTES, 8);
    assert_non_null(copy);
    memcpy(copy, b->disk.bytes, DISK_BYTES);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_DISCARD, &one, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_WRITE_ZEROES, &one, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_SECURE_ERASE, &one, 1), VIRTIO_BLK_S_IOERR);
    assert_memory_equal(copy, b->disk.bytes, DISK_BYTES);
    assert_int_equal(b->disk.nr_op, 0);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(simple(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
    /* Not accepting RO does not make it writable (5.2.6.2). */
    vio_device_reset(b->rig.dev);
    start_with(b, all_but(b, VIRTIO_BLK_F_RO));
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
    free(copy);
}

static void what_was_not_negotiated(void **state)
{
    struct bench *b = *state;
    const struct range one = { 0, 1, 0 };

    bench_create(b);
    start_with(b, vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1) |
                                  (packed ? VIO_FEATURE(VIRTIO_F_RING_PACKED) : 0)));
    assert_int_equal(ranges(b, VIRTIO_BLK_T_DISCARD, &one, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_WRITE_ZEROES, &one, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(ranges(b, VIRTIO_BLK_T_SECURE_ERASE, &one, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(simple(b, VIRTIO_BLK_T_GET_LIFETIME, 0, 6), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(b->disk.nr_op, 0);
    assert_int_equal(simple(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(simple(b, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
}

static void what_the_backend_cannot(void **state)
{
    struct bench *b = *state;
    static const unsigned bits[] = { VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_DISCARD,
                                     VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_F_SECURE_ERASE, VIRTIO_BLK_F_LIFETIME,
                                     VIRTIO_BLK_F_RO, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_ZONED };

    b->disk.info = (struct vio_block_info){ .size = DISK_BYTES, .logical_block = 512 };
    bench_create(b);
    start_with(b, vio_device_offered(b->rig.dev));
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        assert_false(vio_features_has(vio_device_offered(b->rig.dev), bits[i]));
    assert_int_equal(simple(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.op[0].flags, 0);
    assert_int_equal(b->disk.nr_op, 1); /* no flush behind it: there is none */
}

static int run(bool use_packed)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define BARE(f) cmocka_unit_test_setup_teardown(f, setup_bare, teardown)
    const struct CMUnitTest tests[] = {
        TEST(writes_and_reads),
        TEST(the_last_sector_and_what_lies_behind),
        TEST(whole_sectors_only),
        TEST(a_failed_read_counts_nothing),
        TEST(a_backend_may_use_up_the_pieces),
        TEST(any_framing),
        TEST(header_and_data_in_one),
        TEST(a_short_header_breaks_the_queue),
        TEST(no_status_byte_breaks_the_queue),
        TEST(no_header_at_all),
        TEST(others_of_the_batch_are_served),
        TEST(flush),
        TEST(get_id),
        TEST(get_lifetime),
        TEST(unknown_types),
        TEST(discard_and_zeroes),
        TEST(ranges_that_are_refused),
        TEST(several_ranges),
        BARE(read_only),
        BARE(what_was_not_negotiated),
        BARE(what_the_backend_cannot),
    };

    packed = use_packed;
    return cmocka_run_group_tests_name(packed ? "packed" : "split", tests, NULL, NULL);
}

int main(void)
{
    int failed = run(false);

    return run(true) + failed;
}
