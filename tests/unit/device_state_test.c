/* SPDX-License-Identifier: MIT */
/* A saved device: there and back under traffic, and every way in which foreign bytes can be wrong. */
#include "blk_help.h"

#include <errno.h>

enum { QUEUES = 2 };

static struct bench bench;

static void make(struct bench *b)
{
    bench_init(b);
    b->params.queues = QUEUES;
    bench_create(b);
}

static int setup(void **state)
{
    make(&bench);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

struct saved {
    uint8_t *bytes;
    size_t size;
};

static struct saved save(struct bench *b)
{
    struct saved s = { 0 };

    assert_int_equal(vio_device_save(b->rig.dev, &s.bytes, &s.size), 0);
    return s;
}

/* A device that has worked a while, and waits with one request available. */
static struct breq worked(struct bench *b, struct vio_features features)
{
    struct breq waiting;
    uint8_t through = 0;

    rig_start(&b->rig, features, 64);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(vio_device_config_write(b->rig.dev, 32, &through, 1), 0);
    waiting = breq_make(b, VIRTIO_BLK_T_IN, 0, 512);
    breq_put(b, 0, &waiting, true, 5);
    publish(b, 0);
    vio_device_pause(b->rig.dev);
    return waiting;
}

static void there_and_back(struct bench *b, bool packed)
{
    struct vio_features features = packed ? vio_device_offered(b->rig.dev) : all_but(b, VIRTIO_F_RING_PACKED);
    struct breq waiting;
    struct saved s;

    waiting = worked(b, features);
    assert_false(vio_device_queue_running(b->rig.dev, 0));
    s = save(b);
    /* The other side: the same disk and memory, a device that knows nothing. */
    vio_device_reset(b->rig.dev);
    assert_int_equal(blk_config(b).writeback, 1);
    assert_int_equal(vio_device_load(b->rig.dev, s.bytes, s.size), 0);
    assert_int_equal(vio_device_status(b->rig.dev), 15);
    assert_int_equal(vio_device_negotiated(b->rig.dev).w[0], features.w[0]);
    assert_int_equal(blk_config(b).writeback, 0);
    assert_false(vio_device_queue_running(b->rig.dev, 0));
    assert_int_equal(vio_device_resume(b->rig.dev), 0);
    assert_true(vio_device_queue_running(b->rig.dev, 0));
    assert_true(vio_device_queue_running(b->rig.dev, 1));
    rig_serve(&b->rig, 0);
    assert_int_equal(collect_one(b, 0, 5), 513);
    assert_int_equal(*waiting.status.host, VIRTIO_BLK_S_OK);
    assert_int_equal(simple(b, VIRTIO_BLK_T_OUT, 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(b->disk.op[b->disk.nr_op - 1].flags, VIO_BLOCK_IO_FUA); /* write-through came along */
    assert_int_equal(b->rig.config_changed, 0);
    free(s.bytes);
}

static void split_there_and_back(void **state)
{
    there_and_back(*state, false);
}

static void packed_there_and_back(void **state)
{
    there_and_back(*state, true);
}

/* A transport that starts each queue when it is told to (vhost-user): nothing runs before that. */
static void queues_start_one_by_one(void **state)
{
    struct bench *b = *state;
    struct saved s;

    (void)worked(b, vio_device_offered(b->rig.dev));
    s = save(b);
    vio_device_reset(b->rig.dev);
    assert_int_equal(vio_device_load(b->rig.dev, s.bytes, s.size), 0);
    vio_device_memory_begin(b->rig.dev, true);
    vio_device_memory_end(b->rig.dev);
    assert_false(vio_device_queue_running(b->rig.dev, 0));
    assert_int_equal(vio_device_queue_start(b->rig.dev, 0), 0);
    assert_true(vio_device_queue_running(b->rig.dev, 0));
    assert_false(vio_device_queue_running(b->rig.dev, 1));
    rig_serve(&b->rig, 0);
    assert_int_equal(collect_one(b, 0, 5), 513);
    vio_device_memory_begin(b->rig.dev, true);
    vio_device_memory_end(b->rig.dev);
    assert_true(vio_device_queue_running(b->rig.dev, 0));
    assert_false(vio_device_queue_running(b->rig.dev, 1));
    free(s.bytes);
}

static void the_same_bytes_again(void **state)
{
    struct bench *b = *state;
    struct saved one, two;

    (void)worked(b, vio_device_offered(b->rig.dev));
    one = save(b);
    vio_device_reset(b->rig.dev);
    assert_int_equal(vio_device_load(b->rig.dev, one.bytes, one.size), 0);
    two = save(b);
    assert_int_equal(one.size, two.size);
    assert_memory_equal(one.bytes, two.bytes, one.size);
    free(one.bytes);
    free(two.bytes);
}

static void needs_reset_comes_along(void **state)
{
    struct bench *b = *state;
    struct saved s;

    rig_start(&b->rig, vio_device_offered(b->rig.dev), 64);
    put_bufs(b, 0, &(struct vio_buf){ b->rig.gpa, 4 }, 1, 0, 0);
    publish(b, 0);
    rig_serve(&b->rig, 0);
    vio_device_pause(b->rig.dev);
    s = save(b);
    vio_device_reset(b->rig.dev);
    b->rig.needs_reset = 0;
    assert_int_equal(vio_device_load(b->rig.dev, s.bytes, s.size), 0);
    assert_int_equal(vio_device_status(b->rig.dev), 15 | VIRTIO_STATUS_NEEDS_RESET);
    assert_int_equal(b->rig.needs_reset, 1);
    free(s.bytes);
}

static void not_while_it_runs(void **state)
{
    struct bench *b = *state;
    struct saved s = { 0 };

    rig_start(&b->rig, vio_device_offered(b->rig.dev), 64);
    assert_int_equal(vio_device_save(b->rig.dev, &s.bytes, &s.size), -EBUSY);
    vio_device_pause(b->rig.dev);
    s = save(b);
    assert_int_equal(vio_device_resume(b->rig.dev), 0);
    assert_int_equal(vio_device_load(b->rig.dev, s.bytes, s.size), -EBUSY);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    free(s.bytes);
}

/* A transport that negotiates before it loads: what it said itself stays. */
static void into_a_negotiated_device(void **state)
{
    struct bench *b = *state;
    struct saved s;

    (void)worked(b, vio_device_offered(b->rig.dev));
    s = save(b);
    vio_device_reset(b->rig.dev);
    assert_true(rig_negotiate(&b->rig, vio_device_offered(b->rig.dev)));
    assert_int_equal(vio_device_load(b->rig.dev, s.bytes, s.size), 0);
    assert_int_equal(vio_device_status(b->rig.dev), 11);
    assert_int_equal(blk_config(b).writeback, 0);
    assert_int_equal(vio_device_queue_cfg(b->rig.dev, 0)->desc, 0);
    vio_device_reset(b->rig.dev);
    assert_true(rig_negotiate(&b->rig, all_but(b, VIRTIO_BLK_F_DISCARD)));
    assert_int_equal(vio_device_load(b->rig.dev, s.bytes, s.size), -EINVAL);
    assert_true(rig_said(&b->rig, "not the negotiated ones"));
    free(s.bytes);
}

static void another_disk(void **state)
{
    struct bench *b = *state;
    struct saved s;

    (void)worked(b, vio_device_offered(b->rig.dev));
    s = save(b);
    vio_device_reset(b->rig.dev);
    b->disk.info.size = DISK_BYTES / 2;
    assert_int_equal(vio_blk_refresh(b->rig.dev), 0);
    assert_int_equal(vio_device_load(b->rig.dev, s.bytes, s.size), -EINVAL);
    assert_true(rig_said(&b->rig, "not the same disk"));
    assert_int_equal(vio_device_status(b->rig.dev), 0);
    /* A larger one is taken, and the driver is told. */
    b->disk.info.size = DISK_BYTES * 2;
    assert_int_equal(vio_blk_refresh(b->rig.dev), 0);
    b->rig.config_changed = 0;
    assert_int_equal(vio_device_load(b->rig.dev, s.bytes, s.size), 0);
    assert_int_equal(b->rig.config_changed, 1);
    free(s.bytes);
}

/* ------------------------------------------------------------------ foreign bytes */

/* Whatever the bytes are, the device works after a reset. */
static void still_works(struct bench *b)
{
    b->rig.next = 0;
    vio_device_reset(b->rig.dev);
    rig_start(&b->rig, vio_device_offered(b->rig.dev), 64);
    assert_int_equal(simple(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    vio_device_reset(b->rig.dev);
}

static void every_shorter_stream_is_refused(void **state)
{
    struct bench *b = *state;
    struct saved s;

    (void)worked(b, vio_device_offered(b->rig.dev));
    s = save(b);
    for (size_t n = 0; n < s.size; n++) {
        uint8_t *exact = malloc(n > 0 ? n : 1); /* so that the sanitizer sees a byte too many */

        assert_non_null(exact);
        memcpy(exact, s.bytes, n);
        vio_device_reset(b->rig.dev);
        assert_int_equal(vio_device_load(b->rig.dev, exact, n), -EINVAL);
        assert_int_equal(vio_device_status(b->rig.dev), 0);
        free(exact);
    }
    still_works(b);
    free(s.bytes);
}

static void every_byte_changed(void **state)
{
    static const uint8_t flips[] = { 0x01, 0x80, 0xff };
    struct bench *b = *state;
    unsigned taken = 0, refused = 0;
    struct saved s;

    (void)worked(b, vio_device_offered(b->rig.dev));
    s = save(b);
    for (size_t at = 0; at < s.size; at++) {
        for (size_t f = 0; f < sizeof(flips); f++) {
            int ret;

            s.bytes[at] ^= flips[f];
            vio_device_reset(b->rig.dev);
            ret = vio_device_load(b->rig.dev, s.bytes, s.size);
            assert_true(ret == 0 || ret == -EINVAL);
            if (ret == 0) {
                taken++;
                (void)!vio_device_resume(b->rig.dev);
                for (uint16_t q = 0; q < QUEUES; q++)
                    for (unsigned i = 0; i < 100 && vio_device_queue_service(b->rig.dev, q, 64) > 0; i++)
                        ;
            } else {
                refused++;
                assert_int_equal(vio_device_status(b->rig.dev), 0);
            }
            s.bytes[at] ^= flips[f];
        }
    }
    assert_true(taken > 100 && refused > 100);
    still_works(b);
    free(s.bytes);
}

/* A stream built by hand: header, then records. */
struct stream {
    uint8_t bytes[1024];
    size_t size;
};

static void add(struct stream *s, const void *bytes, size_t n)
{
    assert_true(s->size + n <= sizeof(s->bytes));
    memcpy(s->bytes + s->size, bytes, n);
    s->size += n;
}

static void add_record(struct stream *s, unsigned tag, unsigned flags, const void *bytes, uint32_t size, uint32_t real)
{
    const uint8_t head[8] = { (uint8_t)tag,  (uint8_t)(tag >> 8),  (uint8_t)flags,       (uint8_t)(flags >> 8),
                              (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16), (uint8_t)(size >> 24) };

    add(s, head, sizeof(head));
    add(s, bytes, real);
}

/* Everything that a stream of this device needs, but the end. */
static struct stream good(struct bench *b)
{
    static const uint8_t head[16] = { 'V', 'I', 'O', 's', 't', 'a', 't', 'e', 1, 0, 0, 0, 2, 0, 0, 0 };
    const uint8_t status = 0, features[16] = { 0 }, capacity[8] = { 0, DISK_SECTORS / 256 };
    struct virtio_blk_config config = blk_config(b);
    struct stream s = { .size = 0 };

    add(&s, head, sizeof(head));
    add_record(&s, 1, 1, &status, 1, 1);
    add_record(&s, 2, 1, features, 16, 16);
    add_record(&s, 3, 1, &config, sizeof(config), sizeof(config));
    add_record(&s, 0x8001, 0, capacity, 8, 8);
    return s;
}

static int load(struct bench *b, struct stream *s)
{
    uint8_t *exact = malloc(s->size);
    int ret;

    assert_non_null(exact);
    memcpy(exact, s->bytes, s->size);
    ret = vio_device_load(b->rig.dev, exact, s->size);
    free(exact);
    return ret;
}

static void ended(struct bench *b, struct stream *s, int want, const char *words)
{
    add_record(s, 0, 1, "", 0, 0);
    memset(&b->rig.line, 0, sizeof(b->rig.line));
    b->rig.lines = 0;
    assert_int_equal(load(b, s), want);
    if (words != NULL && b->rig.lines > 0) /* the log holds back a flood */
        assert_true(rig_said(&b->rig, words));
}

static void records_that_are_wrong(void **state)
{
    struct bench *b = *state;
    const uint8_t zero[96] = { 0 };
    uint8_t queue[48] = { 0 };
    struct stream s;

    s = good(b);
    ended(b, &s, 0, NULL);
    s = good(b);
    add_record(&s, 77, 0, zero, 5, 5); /* unknown, may be skipped */
    ended(b, &s, 0, NULL);
    s = good(b);
    add_record(&s, 77, 1, zero, 5, 5);
    ended(b, &s, -EINVAL, "must understand");
    s = good(b);
    add_record(&s, 78, 0, zero, UINT32_MAX, 5); /* longer than what is left */
    ended(b, &s, -EINVAL, "middle of a record");
    s = good(b);
    add_record(&s, 1, 1, zero, 1, 1);
    ended(b, &s, -EINVAL, "the status record is wrong");
    s = good(b);
    add_record(&s, 2, 1, zero, 16, 16);
    ended(b, &s, -EINVAL, "the features record is wrong");
    s = good(b);
    add_record(&s, 3, 1, zero, 95, 95);
    ended(b, &s, -EINVAL, "another size");
    s = good(b);
    add_record(&s, 4, 1, queue, 47, 47);
    ended(b, &s, -EINVAL, "wrong size");
    s = good(b);
    add_record(&s, 4, 1, queue, 48, 48);
    ended(b, &s, 0, NULL);
    s = good(b);
    add_record(&s, 4, 1, queue, 48, 48);
    add_record(&s, 4, 1, queue, 48, 48);
    ended(b, &s, -EINVAL, "a queue twice");
    queue[0] = QUEUES;
    s = good(b);
    add_record(&s, 4, 1, queue, 48, 48);
    ended(b, &s, -EINVAL, "more queues");
    queue[0] = 0;
    queue[6] = 1; /* 65536 entries */
    s = good(b);
    add_record(&s, 4, 1, queue, 48, 48);
    ended(b, &s, -EINVAL, "larger than this device takes");
    s = good(b);
    ended(b, &s, 0, NULL);
    add(&s, zero, 1);
    assert_int_equal(load(b, &s), -EINVAL); /* bytes behind the end */
    still_works(b);
}

static void what_a_type_may_put(void **state)
{
    (void)state;
    assert_int_equal(vio_state_put(NULL, 0x8000, "", 0), -EINVAL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(split_there_and_back),
        TEST(packed_there_and_back),
        TEST(queues_start_one_by_one),
        TEST(the_same_bytes_again),
        TEST(needs_reset_comes_along),
        TEST(not_while_it_runs),
        TEST(into_a_negotiated_device),
        TEST(another_disk),
        TEST(every_shorter_stream_is_refused),
        TEST(every_byte_changed),
        TEST(records_that_are_wrong),
        cmocka_unit_test(what_a_type_may_put),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
