/* SPDX-License-Identifier: MIT */
/* Purpose: what the tests of network backends share; see net_help.h. Where it sits: tests/unit/backend. */
#include "net_help.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned sink_deliver(void *ctx, const struct vio_net_packet *p, unsigned n)
{
    struct fake_sink *f = ctx;
    unsigned take = n < f->room ? n : f->room;

    f->offered += n;
    f->max_burst = n > f->max_burst ? n : f->max_burst;
    if (!f->count_only && take > FAKE_FRAMES - f->nr)
        take = FAKE_FRAMES - f->nr;
    for (unsigned i = 0; i < take && !f->count_only; i++) {
        struct fake_frame *frame = &f->frame[f->nr++];

        *frame = (struct fake_frame){ .hdr = p[i].hdr, .len = p[i].len, .bytes = malloc(p[i].len) };
        if (frame->bytes == NULL)
            abort();
        vio_net_packet_copy(&p[i], frame->bytes);
    }
    if (f->room != FAKE_NO_LIMIT)
        f->room -= take;
    f->taken += take;
    f->unflushed += take;
    return take;
}

static void sink_flush(void *ctx)
{
    struct fake_sink *f = ctx;

    f->flushes++;
    f->unflushed = 0;
}

struct fake_sink *fake_sink_make(void)
{
    struct fake_sink *f = calloc(1, sizeof *f);

    if (f == NULL)
        abort();
    f->sink = (struct vio_net_sink){ .deliver = sink_deliver, .flush = sink_flush, .ctx = f };
    f->room = FAKE_NO_LIMIT;
    return f;
}

void fake_sink_reset(struct fake_sink *f)
{
    for (unsigned i = 0; i < f->nr; i++)
        free(f->frame[i].bytes);
    f->nr = f->offered = f->flushes = f->unflushed = f->max_burst = 0;
    f->taken = 0;
}

void fake_sink_free(struct fake_sink *f)
{
    fake_sink_reset(f);
    free(f);
}

struct vio_net_packet *fake_packet(struct fake_packet *p, void *bytes, uint32_t len, uint32_t pieces)
{
    uint32_t at = 0;

    p->packet = (struct vio_net_packet){ .len = len, .nr = pieces, .seg = p->seg };
    for (uint32_t i = 0; i < pieces; i++) {
        uint32_t end = (uint32_t)((uint64_t)len * (i + 1) / pieces);

        p->seg[i] = (struct vio_seg){ (uint8_t *)bytes + at, end - at };
        at = end;
    }
    return &p->packet;
}

unsigned net_send_one(struct vio_net_backend *b, void *bytes, uint32_t len)
{
    struct vio_seg seg = { bytes, len };
    struct vio_net_packet p = { .len = len, .nr = 1, .seg = &seg };

    return b->ops->send(b, &p, 1);
}

uint64_t test_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool fd_readable(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, ms) > 0;
}

bool net_wait_frames(struct vio_net_backend *b, struct fake_sink *f, unsigned want, int ms)
{
    uint64_t end = test_ms() + (uint64_t)ms, now;
    int fd = b->ops->fd(b);

    for (;;) {
        while (b->ops->poll(b, VIO_NET_BURST) > 0 && f->taken < want)
            ;
        now = test_ms();
        if (f->taken >= want || now >= end)
            return f->taken >= want;
        if (b->ops->arm == NULL || !b->ops->arm(b, true, true, false))
            (void)fd_readable(fd, (int)(end - now));
        if (b->ops->arm != NULL)
            (void)b->ops->arm(b, false, true, false);
    }
}

static uint8_t test_byte(uint32_t i, uint8_t seed)
{
    return (uint8_t)(i * 7 + (i >> 8) * 13 + seed);
}

static void test_header(uint8_t head[14], uint8_t to, uint8_t from)
{
    const uint8_t bytes[14] = { 2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5 };

    memcpy(head, bytes, sizeof bytes);
}

void test_frame(uint8_t *bytes, uint32_t len, uint8_t to, uint8_t from, uint8_t seed)
{
    test_header(bytes, to, from);
    for (uint32_t i = 14; i < len; i++)
        bytes[i] = test_byte(i, seed);
}

bool test_frame_is(const struct fake_frame *f, uint32_t len, uint8_t to, uint8_t from, uint8_t seed)
{
    uint8_t head[14];

    test_header(head, to, from);
    if (f->len != len || memcmp(f->bytes, head, sizeof head) != 0)
        return false;
    for (uint32_t i = 14; i < len; i++) {
        if (f->bytes[i] != test_byte(i, seed))
            return false;
    }
    return true;
}

static void test_log_write(void *ctx, enum vio_log_level level, const char *name, const char *line)
{
    struct test_log *l = ctx;
    size_t used = strlen(l->all);

    (void)level;
    l->lines++;
    snprintf(l->last, sizeof l->last, "%s", line);
    snprintf(l->all + used, sizeof l->all - used, "%s: %s\n", name, line);
}

void test_log_init(struct test_log *l)
{
    memset(l, 0, sizeof *l);
    l->log = (struct vio_log){ .write = test_log_write, .ctx = l, .level = VIO_LOG_INFO };
}
