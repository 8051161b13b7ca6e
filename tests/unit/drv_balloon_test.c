/* SPDX-License-Identifier: MIT */
/* The balloon driver over a fake transport: pages in and out, statistics, hints, reports, and how queues are numbered. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vio/drv_balloon.h>

#include "script_device.h"
#include "spec/balloon.h"
#include "spec/virtio.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VIO_FEATURE(VIRTIO_F_EVENT_IDX)
#define MUST_TELL VIO_FEATURE(VIRTIO_BALLOON_F_MUST_TELL_HOST)
#define STATS VIO_FEATURE(VIRTIO_BALLOON_F_STATS_VQ)
#define OOM VIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM)
#define HINT VIO_FEATURE(VIRTIO_BALLOON_F_FREE_PAGE_HINT)
#define POISON VIO_FEATURE(VIRTIO_BALLOON_F_PAGE_POISON)
#define REPORT VIO_FEATURE(VIRTIO_BALLOON_F_PAGE_REPORTING)
#define SECOND UINT64_C(1000000000)

enum { PAGES = 1 << 16, PAGE = VIO_DRV_BALLOON_PAGE };

struct host {
    uint8_t inside[PAGES];
    unsigned pages, inflates, deflates;
    uint16_t stats_queue, hint_queue, report_queue;
    struct virtio_balloon_stat stats[VIO_DRV_BALLOON_STATS_MAX];
    unsigned nr_stats, stats_asked, changed;
    uint32_t commands[8];
    unsigned nr_commands;
    size_t hinted, reported;
};

static size_t on_pages(struct host *h, uint16_t queue, const uint8_t *in, size_t n)
{
    assert_int_equal(n % 4, 0);
    for (size_t i = 0; i < n; i += 4) {
        vio_le32 number;

        memcpy(&number, in + i, 4);
        assert_true(vio_cpu(number) < PAGES);
        assert_int_equal(h->inside[vio_cpu(number)], queue != 0);
        h->inside[vio_cpu(number)] = queue == 0;
        h->pages += queue == 0 ? 1u : (unsigned)-1;
    }
    *(queue == 0 ? &h->inflates : &h->deflates) += 1;
    return 0;
}

static size_t serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    struct host *h = s->ctx;

    (void)out;
    if (queue <= 1)
        return on_pages(h, queue, in, n);
    if (queue == h->report_queue) {
        assert_int_equal(n, 0);
        h->reported += max;
        return 0;
    }
    assert_int_equal(queue, h->hint_queue);
    if (n == 4) {
        vio_le32 command;

        memcpy(&command, in, 4);
        h->commands[h->nr_commands++ % 8] = vio_cpu(command);
    } else {
        assert_int_equal(n, 0);
        h->hinted += max;
    }
    return 0;
}

static unsigned on_stats(void *ctx, struct vio_drvdev *d, struct vio_drv_balloon_stat *stats, unsigned max)
{
    struct host *h = ctx;

    (void)d;
    assert_int_equal(max, VIO_DRV_BALLOON_STATS_MAX);
    h->stats_asked++;
    stats[0] = (struct vio_drv_balloon_stat){ VIRTIO_BALLOON_S_MEMFREE, 1000 + h->stats_asked };
    stats[1] = (struct vio_drv_balloon_stat){ VIRTIO_BALLOON_S_MEMTOT, UINT64_C(1) << 40 };
    return 2;
}

static void on_changed(void *ctx, struct vio_drvdev *d)
{
    (void)d;
    ((struct host *)ctx)->changed++;
}

static struct script *start(struct host *h, uint64_t features, uint16_t queues, const struct vio_driver *driver)
{
    struct virtio_balloon_config config = { vio_le32_of(0), vio_le32_of(0), vio_le32_of(0), vio_le32_of(0) };
    struct script *s = script_new();

    s->serve = serve;
    s->ctx = h;
    s->keeps[h->stats_queue] = h->stats_queue != 0;
    script_start(s, queues, features, &config, sizeof(config), driver);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    return s;
}

static uint32_t config32(struct script *s, uint32_t at)
{
    vio_le32 word;

    assert_int_equal(vio_device_config_read(s->dev, at, &word, 4), 0);
    return vio_cpu(word);
}

static void set_config32(struct script *s, uint32_t at, uint32_t value)
{
    vio_le32 word = vio_le32_of(value);

    script_config(s, at, &word, 4);
}

static void check_inflate(uint64_t features)
{
    struct host *h = calloc(1, sizeof(*h));
    struct script *s = start(h, features, 2, &vio_driver_balloon);
    struct vio_drv_balloon *b = vio_drv_balloon_of(s->d);
    uint64_t pages[1000], odd = 123, far = UINT64_C(1) << 44;

    for (unsigned i = 0; i < 1000; i++)
        pages[i] = (uint64_t)PAGE * (7 * i + 1);
    assert_int_equal(vio_drv_balloon_target(b), 0);
    set_config32(s, 0, 500);
    assert_int_equal(vio_drv_balloon_target(b), 500);
    assert_int_equal(vio_drv_balloon_inflate(b, pages, 1000, SECOND), 0);
    assert_int_equal(h->pages, 1000);
    assert_int_equal(h->inflates, 4); /* 256 at a time */
    assert_int_equal(vio_drv_balloon_actual(b), 1000);
    assert_int_equal(config32(s, 4), 1000);
    assert_int_equal(vio_drv_balloon_deflate(b, pages, 1001, SECOND), -ERANGE);
    assert_int_equal(vio_drv_balloon_deflate(b, pages, 500, SECOND), 0);
    assert_int_equal(h->pages, 500);
    assert_int_equal(config32(s, 4), 500);
    assert_int_equal(vio_drv_balloon_deflates_on_oom(b), (features & OOM) != 0);
    assert_int_equal(vio_drv_balloon_deflate(b, pages + 500, 1, SECOND), (features & OOM) != 0 ? 0 : -EPERM);
    assert_int_equal(vio_drv_balloon_inflate(b, &odd, 1, SECOND), -EINVAL);
    assert_int_equal(vio_drv_balloon_inflate(b, &far, 1, SECOND), -ERANGE);
    assert_int_equal(vio_drv_balloon_inflate(b, NULL, 0, SECOND), 0);
    script_free(s);
    free(h);
}

static void test_inflate(void **state)
{
    (void)state;
    check_inflate(0);
    check_inflate(MUST_TELL | OOM | EVENT_IDX);
    check_inflate(PACKED | MUST_TELL);
    check_inflate(PACKED | OOM | VIO_FEATURE(VIRTIO_F_IN_ORDER));
}

/* A device that does not answer in time: pages are inside when it does, and nothing is told twice. */
static void test_late(void **state)
{
    struct host *h = calloc(1, sizeof(*h));
    struct script *s = start(h, 0, 2, &vio_driver_balloon);
    struct vio_drv_balloon *b = vio_drv_balloon_of(s->d);
    uint64_t pages[2] = { PAGE, 2 * PAGE };

    (void)state;
    s->hold[0] = true;
    assert_int_equal(vio_drv_balloon_inflate(b, pages, 2, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_balloon_inflate(b, pages, 2, SECOND), -EBUSY);
    assert_int_equal(vio_drv_balloon_deflate(b, pages, 0, SECOND), -EBUSY);
    assert_int_equal(vio_drv_balloon_actual(b), 0);
    s->hold[0] = false;
    fake_serve(s->f);
    assert_int_equal(vio_drv_balloon_deflate(b, pages, 2, SECOND), 0);
    assert_int_equal(h->pages, 0);
    assert_int_equal(h->inflates, 1);
    s->hold[0] = true;
    assert_int_equal(vio_drv_balloon_inflate(b, pages, 2, SECOND), -ETIMEDOUT);
    fake_used(s->f, 0, 1, 77, 0);
    assert_int_equal(vio_drv_balloon_inflate(b, pages, 2, SECOND), -EIO);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_BROKEN);
    script_free(s);
    free(h);
}

static void test_stats(void **state)
{
    struct host *h = calloc(1, sizeof(*h));
    struct vio_drv_balloon_params params = { .stats = on_stats, .changed = on_changed, .ctx = h };
    struct vio_drv_balloon_driver driver;
    struct script *s;

    (void)state;
    vio_drv_balloon_driver(&driver, &params);
    h->stats_queue = 2;
    s = start(h, STATS, 3, &driver.driver);
    assert_int_equal(h->stats_asked, 1); /* one buffer is out from the start */
    for (unsigned i = 2; i < 20; i++) {
        struct vio_reader *in = &s->queue[2].held[0]->in;
        struct virtio_balloon_stat wire[2];

        assert_int_equal(s->queue[2].nr, 1);
        assert_int_equal(in->left, 20);
        assert_true(vio_reader_get(in, wire, sizeof(wire)));
        assert_int_equal(vio_cpu(wire[0].tag), VIRTIO_BALLOON_S_MEMFREE);
        assert_int_equal(vio_cpu(wire[0].val), 1000 + i - 1);
        assert_int_equal(vio_cpu(wire[1].val), UINT64_C(1) << 40);
        assert_true(script_send(s, 2, NULL, 0));
        (void)vio_drvdev_interrupt(s->d);
        assert_int_equal(h->stats_asked, i);
    }
    set_config32(s, 0, 9);
    assert_int_equal(h->changed, 1);
    script_free(s);
    free(h);
}

/* ---------------------------------------------------------------- free pages */

static void check_free_pages(uint64_t features, uint16_t queues, uint16_t hint, uint16_t report, enum vio_drv_balloon_numbers numbers)
{
    struct host *h = calloc(1, sizeof(*h));
    struct vio_drv_balloon_params params = { .hints = true, .numbers = numbers, .ctx = h };
    struct vio_drv_balloon_driver driver;
    struct vio_buf ranges[100];
    struct vio_drv_balloon *b;
    struct script *s;
    uint64_t addr;
    uint8_t *memory;

    vio_drv_balloon_driver(&driver, &params);
    h->hint_queue = hint;
    h->report_queue = report;
    s = start(h, features, queues, &driver.driver);
    b = vio_drv_balloon_of(s->d);
    memory = s->f->platform.dma_alloc(s->f, 100 * PAGE, PAGE, &addr);
    for (unsigned i = 0; i < 100; i++)
        ranges[i] = (struct vio_buf){ addr + i * PAGE, PAGE };
    assert_int_equal(vio_drv_balloon_report(b, ranges, 100, SECOND), (features & REPORT) != 0 ? 0 : -ENOTSUP);
    assert_int_equal(h->reported, (features & REPORT) != 0 ? 100 * PAGE : 0);
    if ((features & HINT) != 0) {
        assert_int_equal(vio_drv_balloon_hint(b, ranges, 100, SECOND), -ECANCELED); /* nobody asked */
        set_config32(s, 8, 5);
        assert_int_equal(vio_drv_balloon_hint_id(b), 5);
        assert_int_equal(vio_drv_balloon_hint(b, ranges, 100, SECOND), 0);
        assert_int_equal(h->hinted, 100 * PAGE);
        assert_int_equal(h->nr_commands, 2);
        assert_int_equal(h->commands[0], 5);
        assert_int_equal(h->commands[1], VIRTIO_BALLOON_CMD_ID_STOP);
        ranges[3].len = 0;
        assert_int_equal(vio_drv_balloon_hint(b, ranges, 100, SECOND), -EINVAL);
        set_config32(s, 8, 1);
        assert_int_equal(vio_drv_balloon_hint_id(b), 1);
    } else {
        assert_int_equal(vio_drv_balloon_hint(b, ranges, 100, SECOND), -ENOTSUP);
    }
    s->f->platform.dma_free(s->f, memory, 100 * PAGE, addr);
    script_free(s);
    free(h);
}

static void test_free_pages(void **state)
{
    (void)state;
    /* All there is: both ways to count say the same. */
    check_free_pages(STATS | HINT | REPORT, 5, 3, 4, VIO_DRV_BALLOON_AUTO);
    /* Only reports: queue 4 by the specification, 2 by order. */
    check_free_pages(REPORT, 5, 0, 4, VIO_DRV_BALLOON_FIXED);
    check_free_pages(REPORT | PACKED, 3, 0, 2, VIO_DRV_BALLOON_BY_ORDER);
    check_free_pages(REPORT | HINT | EVENT_IDX, 4, 2, 3, VIO_DRV_BALLOON_BY_ORDER);
    /* A transport that knows how many queues there are finds out by itself; the fake one does not know. */
    check_free_pages(REPORT, 3, 0, 2, VIO_DRV_BALLOON_AUTO);
    /* Statistics are offered and not accepted: their queue is there all the same. */
    check_free_pages(STATS | HINT, 4, 3, 0, VIO_DRV_BALLOON_BY_ORDER);
}

static void test_poison(void **state)
{
    struct host *h = calloc(1, sizeof(*h));
    struct vio_drv_balloon_params params = { .hints = true, .poisons = true, .poison = 0xdeadbeef, .ctx = h };
    struct vio_drv_balloon_driver driver;
    struct script *s;

    (void)state;
    vio_drv_balloon_driver(&driver, &params);
    s = start(h, REPORT | POISON, 3, &driver.driver);
    assert_int_equal(config32(s, 12), 0xdeadbeef);
    assert_true(vio_drvdev_has(s->d, VIRTIO_BALLOON_F_PAGE_REPORTING));
    script_free(s);
    /* The device does not know of poison: nothing is reported to it. */
    s = start(h, REPORT | HINT, 5, &driver.driver);
    assert_false(vio_drvdev_has(s->d, VIRTIO_BALLOON_F_PAGE_REPORTING));
    assert_false(vio_drvdev_has(s->d, VIRTIO_BALLOON_F_FREE_PAGE_HINT));
    script_free(s);
    /* We have none: the device is not told of any. */
    s = start(h, REPORT | POISON, 3, &vio_driver_balloon);
    assert_false(vio_drvdev_has(s->d, VIRTIO_BALLOON_F_PAGE_POISON));
    script_free(s);
    free(h);
}

static void test_memory(void **state)
{
    struct host *h = calloc(1, sizeof(*h));
    unsigned fail = 1;

    (void)state;
    for (bool ran = false; !ran; fail++) {
        struct script *s = start(h, 0, 2, &vio_driver_balloon);

        s->f->fail_allocation = fail;
        ran = vio_drvdev_recover(s->d) == 0;
        assert_true(ran || vio_drvdev_why(s->d)[0] != 0);
        script_free(s);
    }
    assert_true(fail > 6);
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inflate), cmocka_unit_test(test_late), cmocka_unit_test(test_stats),
        cmocka_unit_test(test_free_pages), cmocka_unit_test(test_poison), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
