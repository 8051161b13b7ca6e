/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a queue's start and stop, on both sides: sizes, alignment, places, saved positions; the bytes that each side
 * writes, compared with the layout the specification draws (virtio 1.4, 2.7 and 2.8).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/raw.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VIO_FEATURE(VIRTIO_F_EVENT_IDX)

static void sizes(void **state)
{
    (void)state;
    for (uint32_t n = 0; n <= 70000; n++) {
        bool power = n != 0 && (n & (n - 1)) == 0;

        assert_true(vio_queue_size_ok(n, false) == (power && n <= 32768));
        assert_true(vio_queue_size_ok(n, true) == (n > 0 && n <= 32768));
    }
}

static void layouts(void **state)
{
    struct vio_queue_layout s = vio_queue_layout(256, false), p = vio_queue_layout(100, true);

    (void)state;
    assert_true(s.desc_bytes == 4096 && s.driver_bytes == 6 + 512 && s.device_bytes == 6 + 2048);
    assert_true(s.desc_align == 16 && s.driver_align == 2 && s.device_align == 4);
    assert_true(p.desc_bytes == 1600 && p.driver_bytes == 4 && p.device_bytes == 4);
    assert_true(p.desc_align == 16 && p.driver_align == 4 && p.device_align == 4);
    assert_true(vio_queue_layout(32768, false).device_bytes == 6 + 8 * 32768);
}

static void saved_positions(void **state)
{
    struct vio_queue_state s = { .avail_idx = 0x1234, .used_idx = 0x4321, .avail_wrap = true, .used_known = true }, t;

    (void)state;
    assert_int_equal(vio_queue_state_pack(&s, true), 0x43219234u);
    vio_queue_state_unpack(&t, true, 0x43219234u);
    assert_true(t.avail_idx == s.avail_idx && t.used_idx == s.used_idx && t.avail_wrap && !t.used_wrap && t.used_known);
    s = (struct vio_queue_state){ .avail_idx = 0xffff, .used_idx = 7 };
    assert_int_equal(vio_queue_state_pack(&s, false), 0xffff);
    vio_queue_state_unpack(&t, false, 0xabcdffffu);
    assert_true(t.avail_idx == 0xffff && !t.used_known);
    t = vio_queue_state_initial(true);
    assert_true(t.avail_wrap && t.used_wrap && t.avail_idx == 0 && t.used_known);
    assert_int_equal(vio_queue_state_pack(&t, true), 0x80008000u);
    t = vio_queue_state_initial(false);
    assert_true(t.avail_idx == 0 && t.used_idx == 0 && t.used_known);
}

static enum vio_fault try_start(struct raw *r, uint16_t size, uint64_t desc, uint64_t driver, uint64_t device,
                                struct vio_queue_state state)
{
    struct vio_queue_cfg cfg = { .size = size, .desc = desc, .driver = driver, .device = device, .state = state };
    struct vio_devq_params p = { .cfg = &cfg, .features = r->features, .map = vio_memory_map(r->g->memory) };
    size_t bytes = vio_devq_bytes(&p);
    void *mem = queue_mem(bytes);
    struct vio_devq *q = NULL;
    enum vio_fault fault = vio_devq_start(mem, &p, &q);

    assert_true((q != NULL) == (fault == VIO_FAULT_NONE));
    queue_mem_free(mem, bytes);
    return fault;
}

static void refused_split(void **state)
{
    struct vio_queue_state s = vio_queue_state_initial(false);
    uint64_t d, a, u;
    struct raw r;

    (void)state;
    raw_open(&r, 16, 0, false);
    d = raw_at(&r, 0);
    a = raw_at(&r, 4096);
    u = raw_at(&r, 8192);
    assert_int_equal(try_start(&r, 16, d, a, u, s), VIO_FAULT_NONE);
    assert_int_equal(try_start(&r, 0, d, a, u, s), VIO_FAULT_QUEUE_SIZE);
    assert_int_equal(try_start(&r, 12, d, a, u, s), VIO_FAULT_QUEUE_SIZE);
    assert_int_equal(try_start(&r, 32769, d, a, u, s), VIO_FAULT_QUEUE_SIZE);
    assert_int_equal(try_start(&r, 65535, d, a, u, s), VIO_FAULT_QUEUE_SIZE);
    assert_int_equal(try_start(&r, 16, d + 8, a, u, s), VIO_FAULT_QUEUE_ALIGN);
    assert_int_equal(try_start(&r, 16, d, a + 1, u, s), VIO_FAULT_QUEUE_ALIGN);
    assert_int_equal(try_start(&r, 16, d, a, u + 2, s), VIO_FAULT_QUEUE_ALIGN);
    assert_int_equal(try_start(&r, 16, r.g->end & ~UINT64_C(15), a, u, s), VIO_FAULT_QUEUE_ADDR);
    assert_int_equal(try_start(&r, 16, d, a, (r.g->end - 100) & ~UINT64_C(3), s), VIO_FAULT_QUEUE_ADDR);
    assert_int_equal(try_start(&r, 16, d, UINT64_MAX - 1, u, s), VIO_FAULT_QUEUE_ADDR);
    assert_int_equal(try_start(&r, 32768, d, raw_at(&r, 600000), raw_at(&r, 700000), s), VIO_FAULT_NONE);
    s.avail_idx = 16;
    assert_int_equal(try_start(&r, 16, d, a, u, s), VIO_FAULT_NONE);
    s.avail_idx = 17;
    assert_int_equal(try_start(&r, 16, d, a, u, s), VIO_FAULT_RING_STATE);
    raw_close(&r);
}

static void refused_packed(void **state)
{
    struct vio_queue_state s = vio_queue_state_initial(true);
    struct raw r;

    (void)state;
    raw_open(&r, 12, PACKED, false);
    assert_int_equal(try_start(&r, 12, r.g->desc, r.g->driver, r.g->device, s), VIO_FAULT_NONE);
    assert_int_equal(try_start(&r, 13, r.g->desc, r.g->driver, r.g->device, s), VIO_FAULT_QUEUE_ADDR);
    assert_int_equal(try_start(&r, 12, r.g->desc, raw_at(&r, 2), r.g->device, s), VIO_FAULT_QUEUE_ALIGN);
    s.avail_idx = s.used_idx = 12;
    assert_int_equal(try_start(&r, 12, r.g->desc, r.g->driver, r.g->device, s), VIO_FAULT_RING_STATE);
    s.avail_idx = s.used_idx = 11;
    assert_int_equal(try_start(&r, 12, r.g->desc, r.g->driver, r.g->device, s), VIO_FAULT_NONE);
    s.used_wrap = false;
    assert_int_equal(try_start(&r, 12, r.g->desc, r.g->driver, r.g->device, s), VIO_FAULT_RING_STATE);
    s.used_wrap = true;
    s.used_idx = 10;
    assert_int_equal(try_start(&r, 12, r.g->desc, r.g->driver, r.g->device, s), VIO_FAULT_RING_STATE);
    raw_close(&r);
}

/* A split queue without a record begins where it had used up to: what lies between is taken again. */
static void resumes_at_used(void **state)
{
    struct vio_queue_state s;
    struct vio_req *req[4];
    struct raw r;

    (void)state;
    raw_open(&r, 8, 0, false);
    raw_start(&r);
    raw_good(&r, 0);
    raw_good(&r, 2);
    assert_int_equal(vio_devq_take(r.q, req, 1), 1);
    vio_devq_put(r.q, req[0]);
    assert_true(vio_devq_publish(r.q));
    assert_int_equal(vio_devq_take(r.q, req, 1), 1);
    s = raw_stop(&r);
    assert_true(s.avail_idx == 2 && s.used_idx == 1);
    assert_int_equal(raw_resume(&r, &s), VIO_FAULT_NONE);
    assert_int_equal(vio_devq_take(r.q, req, 4), 1);
    assert_int_equal(req[0]->id, 2);
    raw_close(&r);
}

static void split_bytes(void **state)
{
    static _Alignas(64) uint8_t desc[16 * 4], driver[14], device[38];
    struct vio_drvq_params p = { .size = 4, .desc = desc, .driver = driver, .device = device };
    struct vio_buf bufs[2] = { { 0x1122334455667788, 0x99aa }, { 0xabc, 0xdef } };
    size_t bytes = vio_drvq_bytes(&p);
    void *mem = queue_mem(bytes);
    struct vio_drvq *q;

    (void)state;
    memset(desc, 0xff, sizeof(desc));
    assert_int_equal(vio_drvq_start(mem, &p, &q), 0);
    assert_int_equal(vio_drvq_put(q, bufs, 1, 1, 0), 0);
    assert_memory_equal(driver, "\0\0\0\0", 4); /* not yet */
    assert_true(vio_drvq_publish(q));
    assert_memory_equal(desc, "\x88\x77\x66\x55\x44\x33\x22\x11\xaa\x99\0\0\x01\0\x01\0", 16);
    assert_memory_equal(desc + 16, "\xbc\x0a\0\0\0\0\0\0\xef\x0d\0\0\x02\0", 14);
    assert_memory_equal(driver, "\0\0\x01\0\0\0", 6);
    vio_drvq_disarm_call(q);
    assert_memory_equal(driver, "\x01\0\x01\0", 4);
    assert_false(vio_drvq_arm_call(q));
    assert_memory_equal(driver, "\0\0\x01\0", 4);
    queue_mem_free(mem, bytes);
}

static void packed_bytes(void **state)
{
    static _Alignas(64) uint8_t desc[16 * 3], driver[4], device[4];
    struct vio_drvq_params p = { .size = 3, .features = vio_features_of(PACKED | EVENT_IDX), .desc = desc,
                                 .driver = driver, .device = device };
    struct vio_buf bufs[2] = { { 0x1122334455667788, 0x99aa }, { 0xabc, 0xdef } };
    size_t bytes = vio_drvq_bytes(&p);
    void *mem = queue_mem(bytes);
    struct vio_done done[2];
    struct vio_drvq *q;

    (void)state;
    assert_int_equal(vio_drvq_start(mem, &p, &q), 0);
    assert_int_equal(vio_drvq_put(q, bufs, 1, 1, 7), 0);
    assert_memory_equal(desc + 14, "\0\0", 2); /* the head waits */
    assert_memory_equal(desc + 16, "\xbc\x0a\0\0\0\0\0\0\xef\x0d\0\0\0\0\x82\0", 16);
    assert_true(vio_drvq_publish(q));
    assert_memory_equal(desc, "\x88\x77\x66\x55\x44\x33\x22\x11\xaa\x99\0\0\0\0\x81\0", 16);
    assert_false(vio_drvq_arm_call(q));
    assert_memory_equal(driver, "\0\x80\x02\0", 4); /* at 0 in this lap; flags: a descriptor */
    memcpy(desc + 8, "\x05\0\0\0\0\0\x82\x80", 8);
    assert_int_equal(vio_drvq_collect(q, done, 2), 1);
    assert_true(done[0].token == 7 && done[0].len == 5);
    /* The next lap: both counters turn over. */
    assert_int_equal(vio_drvq_put(q, bufs, 1, 1, 8), 0);
    (void)!vio_drvq_publish(q);
    assert_memory_equal(desc + 32 + 12, "\0\0\x81\0", 4);
    assert_memory_equal(desc + 12, "\0\0\x02\x80", 4);
    vio_drvq_disarm_call(q);
    assert_memory_equal(driver, "\0\0\x01\0", 4);
    queue_mem_free(mem, bytes);
}

static void device_bytes(void **state)
{
    struct vio_req *req;
    struct raw r;

    (void)state;
    raw_open(&r, 4, 0, false);
    raw_start(&r);
    raw_good(&r, 2);
    assert_int_equal(vio_devq_take(r.q, &req, 1), 1);
    assert_true(vio_writer_put(&req->out, "abc", 3));
    vio_devq_put(r.q, req);
    assert_memory_equal(r.g->device_host, "\0\0\0\0", 4);
    assert_true(vio_devq_publish(r.q));
    assert_memory_equal(r.g->device_host, "\0\0\x01\0\x02\0\0\0\x03\0\0\0", 12);
    vio_devq_disarm_kick(r.q);
    assert_memory_equal(r.g->device_host, "\x01\0", 2);
    assert_false(vio_devq_arm_kick(r.q));
    assert_memory_equal(r.g->device_host, "\0\0", 2);
    raw_close(&r);

    raw_open(&r, 3, PACKED | EVENT_IDX, false);
    raw_start(&r);
    raw_good(&r, 0x1234);
    assert_int_equal(vio_devq_take(r.q, &req, 1), 1);
    assert_int_equal(req->id, 0x1234);
    assert_true(vio_writer_put(&req->out, "abc", 3));
    vio_devq_put(r.q, req);
    (void)!vio_devq_publish(r.q);
    assert_memory_equal((uint8_t *)r.g->desc_host + 8, "\x03\0\0\0\x34\x12\x82\x80", 8);
    assert_false(vio_devq_arm_kick(r.q));
    assert_memory_equal(r.g->device_host, "\x02\x80\x02\0", 4);
    vio_devq_disarm_kick(r.q);
    assert_memory_equal(r.g->device_host, "\0\0\x01\0", 4);
    raw_close(&r);
}

static void driver_refused(void **state)
{
    static _Alignas(64) uint8_t desc[16 * 8 + 16], driver[64], device[128];
    struct vio_drvq_params p = { .size = 8, .desc = desc, .driver = driver, .device = device };
    struct vio_drvq_params bad;
    void *mem = queue_mem(vio_drvq_bytes(&p));
    struct vio_drvq *q;

    (void)state;
    assert_int_equal(vio_drvq_start(mem, &p, &q), 0);
    bad = p;
    bad.size = 7;
    assert_int_equal(vio_drvq_start(mem, &bad, &q), -EINVAL);
    bad.features = vio_features_of(PACKED);
    memset(mem, 0, vio_drvq_bytes(&bad));
    assert_int_equal(vio_drvq_start(mem, &bad, &q), 0);
    bad = p;
    bad.desc = desc + 8;
    assert_int_equal(vio_drvq_start(mem, &bad, &q), -EINVAL);
    bad = p;
    bad.device = NULL;
    assert_int_equal(vio_drvq_start(mem, &bad, &q), -EINVAL);
    queue_mem_free(mem, vio_drvq_bytes(&p));
}

static void notification_data(void **state)
{
    struct raw r;

    (void)state;
    raw_open(&r, 8, 0, false);
    raw_start(&r);
    assert_int_equal(vio_devq_check_notify_data(r.q, 3, 3), VIO_FAULT_NONE);
    assert_int_equal(vio_devq_check_notify_data(r.q, 3, 4), VIO_FAULT_NOTIFY_DATA);
    assert_int_equal(vio_devq_check_notify_data(r.q, 3, 8u << 16 | 3), VIO_FAULT_NONE);
    assert_int_equal(vio_devq_check_notify_data(r.q, 3, 9u << 16 | 3), VIO_FAULT_NOTIFY_DATA);
    assert_int_equal(vio_devq_check_notify_data(r.q, 3, 0xfff8u << 16 | 3), VIO_FAULT_NONE);
    assert_int_equal(vio_devq_check_notify_data(r.q, 3, 0xfff7u << 16 | 3), VIO_FAULT_NOTIFY_DATA);
    raw_close(&r);
    raw_open(&r, 5, PACKED, false);
    raw_start(&r);
    assert_int_equal(vio_devq_check_notify_data(r.q, 0, 0x80040000u), VIO_FAULT_NONE);
    assert_int_equal(vio_devq_check_notify_data(r.q, 0, 0x00050000u), VIO_FAULT_NOTIFY_DATA);
    raw_close(&r);
}

/* A device that was killed: the next one is told "at the beginning", and goes on where the ring stands. */
static void packed_goes_on_without_a_position(void **state)
{
    (void)state;
    for (unsigned served = 0; served < 40; served++) {
        for (unsigned waiting = 0; waiting <= 7; waiting++) {
            struct vio_queue_state begin = vio_queue_state_initial(true), end;
            struct vio_req *reqs[8];
            struct raw r;

            raw_open(&r, 7, PACKED | VIO_FEATURE(VIRTIO_F_INDIRECT_DESC), false);
            r.find_position = true;
            raw_start(&r);
            for (unsigned i = 0; i < served; i++) {
                raw_packed(&r, raw_at(&r, 0), 64, i % 7, VIRTQ_DESC_F_WRITE);
                assert_int_equal(vio_devq_take(r.q, reqs, 1), 1);
                vio_devq_put(r.q, reqs[0]);
                (void)!vio_devq_publish(r.q);
            }
            for (unsigned i = 0; i < waiting; i++)
                raw_packed(&r, raw_at(&r, 64), 64, i, VIRTQ_DESC_F_WRITE);
            /* Some were taken, and not used. */
            assert_int_equal(vio_devq_take(r.q, reqs, waiting / 2), waiting / 2);
            raw_crash(&r);
            assert_int_equal(raw_resume(&r, &begin), VIO_FAULT_NONE);
            assert_int_equal(vio_devq_take(r.q, reqs, 8), waiting);
            for (unsigned i = 0; i < waiting; i++) {
                assert_int_equal(reqs[i]->id, i);
                vio_devq_put(r.q, reqs[i]);
            }
            (void)!vio_devq_publish(r.q);
            end = raw_stop(&r);
            assert_int_equal(end.avail_idx, (served + waiting) % 7);
            assert_int_equal(end.avail_wrap, (served + waiting) / 7 % 2 == 0);
            raw_close(&r);
        }
    }
}

/* Chains leave marks behind that say nothing: then the position is what was said. */
static void packed_that_does_not_tell_begins_anew(void **state)
{
    struct vio_queue_state begin = vio_queue_state_initial(true), end;
    struct vio_req *reqs[8];
    struct raw r;

    (void)state;
    raw_open(&r, 8, PACKED | VIO_FEATURE(VIRTIO_F_INDIRECT_DESC), false);
    r.find_position = true;
    raw_start(&r);
    for (unsigned i = 0; i < 6; i++) { /* of two descriptors each, one lap and a half */
        raw_good(&r, (uint16_t)(i % 4));
        assert_int_equal(vio_devq_take(r.q, reqs, 1), 1);
        vio_devq_put(r.q, reqs[0]);
        (void)!vio_devq_publish(r.q);
    }
    raw_crash(&r);
    assert_int_equal(raw_resume(&r, &begin), VIO_FAULT_NONE);
    end = raw_stop(&r);
    assert_true(end.avail_idx == 0 && end.avail_wrap);
    raw_close(&r);
}

/* Four times around a ring of 7 or 8: takes all three, gives back the last two, takes them again. */
static void untaken_is_available_again(void **state)
{
    static const uint64_t bits[] = { 0, PACKED, VIO_FEATURE(VIRTIO_F_IN_ORDER), PACKED | VIO_FEATURE(VIRTIO_F_IN_ORDER) };

    (void)state;
    for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        struct raw r;

        raw_open(&r, bits[i] & PACKED ? 7 : 8, bits[i], false);
        raw_start(&r);
        for (unsigned lap = 0; lap < 10; lap++) {
            struct vio_req *reqs[8] = { 0 };
            uint16_t ids[3];

            for (uint16_t id = 0; id < 3; id++)
                raw_good(&r, (uint16_t)(2 * id));
            assert_int_equal(vio_devq_take(r.q, reqs, 8), 3);
            for (unsigned k = 0; k < 3; k++)
                ids[k] = reqs[k]->id;
            vio_devq_untake(r.q, reqs + 1, 2);
            assert_int_equal(vio_devq_in_flight(r.q), 1);
            assert_true(vio_devq_pending(r.q));
            vio_devq_put(r.q, reqs[0]);
            assert_int_equal(vio_devq_take(r.q, reqs + 1, 8), 2);
            for (unsigned k = 1; k < 3; k++) {
                assert_int_equal(reqs[k]->id, ids[k]);
                assert_int_equal(reqs[k]->in.left + reqs[k]->out.left, 32);
                vio_devq_put(r.q, reqs[k]);
            }
            (void)!vio_devq_publish(r.q);
            assert_int_equal(vio_devq_fault(r.q), VIO_FAULT_NONE);
            assert_int_equal(vio_devq_in_flight(r.q), 0);
        }
        raw_close(&r);
    }
}

/* What is too few is no reason to stay awake, and the driver is to tell of the next one; taken, it is as before. */
static void too_few_are_waited_for_more(void **state)
{
    static const uint64_t bits[] = { 0, EVENT_IDX, PACKED, PACKED | EVENT_IDX };

    (void)state;
    for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        uint16_t size = bits[i] & PACKED ? 7 : 8;
        struct raw r;

        raw_open(&r, size, bits[i], false);
        raw_start(&r);
        for (unsigned lap = 0; lap < 20; lap++) {
            struct vio_req *reqs[8] = { 0 };

            raw_good(&r, 0);
            raw_good(&r, 2);
            assert_true(vio_devq_arm_kick(r.q));
            assert_int_equal(vio_devq_take(r.q, reqs, 8), 2);
            vio_devq_untake_too_few(r.q, reqs, 2);
            assert_int_equal(vio_devq_in_flight(r.q), 0);
            assert_false(vio_devq_arm_kick(r.q));
            assert_true(vio_devq_pending(r.q));
            if (bits[i] == EVENT_IDX)
                assert_int_equal(le_get16((uint8_t *)r.g->device_host + 4 + 8 * size), 3 * lap + 2);
            if (bits[i] == (PACKED | EVENT_IDX))
                assert_int_equal(le_get16(r.g->device_host), /* two descriptors each */
                                 (6 * lap + 4) % size | ((6 * lap + 4) / size % 2 == 0 ? 0x8000 : 0));
            raw_good(&r, 4);
            assert_true(vio_devq_arm_kick(r.q)); /* the third */
            assert_int_equal(vio_devq_take(r.q, reqs, 8), 3);
            vio_devq_untake(r.q, reqs, 3);
            assert_true(vio_devq_arm_kick(r.q)); /* not too few any more */
            assert_int_equal(vio_devq_take(r.q, reqs, 8), 3);
            for (unsigned k = 0; k < 3; k++)
                vio_devq_put(r.q, reqs[k]);
            (void)!vio_devq_publish(r.q);
            assert_false(vio_devq_arm_kick(r.q));
            assert_int_equal(vio_devq_fault(r.q), VIO_FAULT_NONE);
        }
        raw_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),          cmocka_unit_test(layouts),        cmocka_unit_test(saved_positions),
        cmocka_unit_test(refused_split),  cmocka_unit_test(refused_packed), cmocka_unit_test(resumes_at_used),
        cmocka_unit_test(split_bytes),    cmocka_unit_test(packed_bytes),   cmocka_unit_test(device_bytes),
        cmocka_unit_test(driver_refused), cmocka_unit_test(notification_data),
        cmocka_unit_test(untaken_is_available_again), cmocka_unit_test(too_few_are_waited_for_more),
        cmocka_unit_test(packed_goes_on_without_a_position),
        cmocka_unit_test(packed_that_does_not_tell_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
