/* SPDX-License-Identifier: MIT */
/* The entropy driver over a fake transport: filled buffers, the call that waits, and a device that gives little or nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <vio/drv_rng.h>

#include "script_device.h"
#include "spec/virtio.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VIO_FEATURE(VIRTIO_F_EVENT_IDX)
#define SECOND UINT64_C(1000000000)

struct source {
    size_t most; /* bytes of one answer */
    uint8_t next;
    unsigned asked;
};

static size_t serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    struct source *x = s->ctx;

    (void)queue;
    (void)in;
    assert_int_equal(n, 0);
    x->asked++;
    n = max < x->most ? max : x->most;
    for (size_t i = 0; i < n; i++)
        out[i] = ++x->next;
    return n;
}

static struct script *start(struct source *x, uint64_t features, const struct vio_driver *driver)
{
    struct script *s = script_new();

    s->serve = serve;
    s->ctx = x;
    script_start(s, 1, features, NULL, 0, driver);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    assert_non_null(vio_drv_rng_of(s->d));
    return s;
}

static void check_read(uint64_t features)
{
    struct source x = { .most = 1000 };
    struct script *s = start(&x, features, &vio_driver_rng);
    struct vio_drv_rng *r = vio_drv_rng_of(s->d);
    uint8_t bytes[10000];

    assert_int_equal(vio_drv_rng_read(r, bytes, sizeof(bytes), SECOND), 0);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], (uint8_t)(i + 1));
    assert_int_equal(x.asked, 10);
    assert_int_equal(vio_drv_rng_read(r, bytes, 0, SECOND), 0);
    assert_int_equal(x.asked, 10);
    script_free(s);
}

static void test_read(void **state)
{
    (void)state;
    check_read(0);
    check_read(EVENT_IDX);
    check_read(PACKED | EVENT_IDX);
    check_read(PACKED | VIO_FEATURE(VIRTIO_F_IN_ORDER));
}

static void test_nothing_comes(void **state)
{
    struct source x = { .most = 0 };
    struct script *s = start(&x, 0, &vio_driver_rng);
    struct vio_drv_rng *r = vio_drv_rng_of(s->d);
    struct vio_buf buf = { 0, 16 };
    uint8_t bytes[4] = { 0 };

    (void)state;
    assert_int_equal(vio_drv_rng_read(r, bytes, 4, SECOND), -EPROTO); /* a buffer without a byte */
    s->hold[0] = true;
    x.most = 2;
    assert_int_equal(vio_drv_rng_read(r, bytes, 4, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_rng_read(r, bytes, 4, SECOND), -EBUSY);
    assert_int_equal(vio_drv_rng_put(r, &buf, 1), -EBUSY);
    assert_int_equal(vio_drv_rng_in_flight(r), 0);
    s->hold[0] = false;
    fake_serve(s->f);
    assert_int_equal(vio_drv_rng_read(r, bytes, 4, SECOND), 0);
    assert_int_equal(bytes[0], 3); /* the late one was thrown away */
    script_free(s);
}

struct seen {
    unsigned used, lost;
    uint64_t last;
};

static void on_used(void *ctx, struct vio_drvdev *d)
{
    (void)d;
    ((struct seen *)ctx)->used++;
}

static void on_lost(void *ctx, struct vio_drvdev *d, uint64_t token)
{
    struct seen *seen = ctx;

    (void)d;
    seen->lost++;
    seen->last = token;
}

static void test_buffers(void **state)
{
    struct seen seen = { 0, 0, 0 };
    struct vio_drv_rng_params params = { .queue_size = 4, .used = on_used, .lost = on_lost, .ctx = &seen };
    struct vio_drv_rng_driver driver;
    struct vio_drv_rng_result results[8];
    struct source x = { .most = 100 };
    struct vio_drv_rng *r;
    struct script *s;
    struct vio_buf buf;
    uint8_t *host, one;

    (void)state;
    vio_drv_rng_driver(&driver, &params);
    s = start(&x, PACKED, &driver.driver);
    r = vio_drv_rng_of(s->d);
    host = s->f->platform.dma_alloc(s->f, 4096, 64, &buf.addr);
    assert_non_null(host);
    buf.len = 0;
    assert_int_equal(vio_drv_rng_put(r, &buf, 7), -EINVAL);
    buf.len = 64;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vio_drv_rng_put(r, &buf, 100 + i), 0);
    assert_int_equal(vio_drv_rng_put(r, &buf, 104), -EAGAIN);
    assert_int_equal(vio_drv_rng_in_flight(r), 4);
    assert_int_equal(vio_drv_rng_read(r, &one, 1, SECOND), -EBUSY);
    vio_drv_rng_publish(r);
    (void)vio_drvdev_interrupt(s->d);
    assert_true(seen.used > 0);
    assert_int_equal(vio_drv_rng_collect(r, results, 3), 3);
    assert_int_equal(vio_drv_rng_collect(r, results + 3, 5), 1);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(results[i].token, 100 + i);
        assert_int_equal(results[i].len, 64);
        assert_int_equal(results[i].error, 0);
    }
    x.most = 0;
    assert_int_equal(vio_drv_rng_put(r, &buf, 5), 0);
    vio_drv_rng_publish(r);
    assert_int_equal(vio_drv_rng_collect(r, results, 8), 1);
    assert_int_equal(results[0].error, -EPROTO);
    s->hold[0] = true;
    assert_int_equal(vio_drv_rng_put(r, &buf, 77), 0);
    vio_drv_rng_publish(r);
    s->f->platform.dma_free(s->f, host, 4096, buf.addr);
    assert_int_equal(vio_drvdev_recover(s->d), 0); /* the device is reset, and goes on */
    assert_int_equal(seen.lost, 1);
    assert_int_equal(seen.last, 77);
    s->hold[0] = false;
    x.most = 100;
    assert_int_equal(vio_drv_rng_read(vio_drv_rng_of(s->d), &one, 1, SECOND), 0);
    script_free(s);
}

/* A used element that cannot be breaks the device, and every call says so. */
static void test_broken(void **state)
{
    struct source x = { .most = 8 };
    struct script *s = start(&x, 0, &vio_driver_rng);
    struct vio_drv_rng *r = vio_drv_rng_of(s->d);
    uint8_t byte;

    (void)state;
    s->hold[0] = true;
    assert_int_equal(vio_drv_rng_read(r, &byte, 1, SECOND), -ETIMEDOUT);
    fake_used(s->f, 0, 0, 0, 4097);
    assert_int_equal(vio_drv_rng_read(r, &byte, 1, SECOND), -EIO);
    assert_int_equal(vio_drv_rng_collect(r, NULL, 0), 0);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_BROKEN);
    assert_null(vio_drv_rng_of(s->d));
    s->hold[0] = false;
    assert_int_equal(vio_drvdev_recover(s->d), 0);
    assert_int_equal(vio_drv_rng_read(vio_drv_rng_of(s->d), &byte, 1, SECOND), 0);
    script_free(s);
}

/* Every allocation fails once: the device fails with a reason, and nothing is left behind. */
static void test_memory(void **state)
{
    unsigned fail = 1;

    (void)state;
    for (bool ran = false; !ran; fail++) {
        struct source x = { .most = 8 };
        struct script *s = start(&x, 0, &vio_driver_rng);

        s->f->fail_allocation = fail;
        ran = vio_drvdev_recover(s->d) == 0;
        assert_true(ran || vio_drvdev_why(s->d)[0] != 0);
        script_free(s);
    }
    assert_true(fail > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read), cmocka_unit_test(test_nothing_comes), cmocka_unit_test(test_buffers),
        cmocka_unit_test(test_broken), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
