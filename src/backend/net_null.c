/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network that takes everything and drops it; what is left to measure is the way to it. With copy each
 * frame is read once, as a real network would. Where it sits: backend/net. Threads: the owner's.
 * Trust: the frames are copied and never looked at.
 */
#include "backend/backend.h"

#include <stdlib.h>
#include <vio/net.h>

/*
 * How far ahead packets are asked for: while one small frame is copied memory answers, and long ones are read ahead by
 * the processor itself once their first lines have come.
 */
#define NULL_AHEAD 4u
#define NULL_AHEAD_LINES 8u
#define NULL_LINE 64u

struct null_net {
    struct vio_net_backend head;
    bool copy;
    uint8_t frame[VIO_NET_FRAME_MAX]; /* each goes over the one before: so it stays in the cache */
};

static void null_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    (void)b;
    /* What is dropped needs no checksum and no cutting. */
    *info = (struct vio_net_info){ .takes = VIO_NET_OFFLOADS };
}

static void null_destroy(struct vio_net_backend *b)
{
    free(b);
}

static int null_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    (void)b;
    (void)sink;
    return 0;
}

static void null_stop(struct vio_net_backend *b)
{
    (void)b;
}

static inline void ask_for(const struct vio_net_packet *p)
{
    for (uint32_t i = 0; i < 2 && i < p->nr; i++) {
        const char *at = p->seg[i].base;
        size_t lines = (p->seg[i].len + NULL_LINE - 1) / NULL_LINE;

        if (lines > NULL_AHEAD_LINES)
            lines = NULL_AHEAD_LINES;
        for (size_t line = 0; line < lines; line++)
            __builtin_prefetch(at + line * NULL_LINE, 0);
    }
}

static inline void copy_out(struct null_net *null, const struct vio_net_packet *p)
{
    size_t at = 0;

    for (uint32_t i = 0; i < p->nr; i++) {
        size_t len = p->seg[i].len;

        if (len == 0 || len > sizeof null->frame - at)
            continue;
        memcpy(null->frame + at, p->seg[i].base, len);
        at += len;
    }
}

static unsigned null_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct null_net *null = (struct null_net *)b;

    if (!null->copy)
        return n;
    for (unsigned i = 0; i < NULL_AHEAD && i < n; i++)
        ask_for(&p[i]);
    for (unsigned i = 0; i < n; i++) {
        if (i + NULL_AHEAD < n)
            ask_for(&p[i + NULL_AHEAD]);
        copy_out(null, &p[i]);
    }
    return n;
}

static unsigned null_poll(struct vio_net_backend *b, unsigned budget)
{
    (void)b;
    (void)budget;
    return 0;
}

static int null_fd(struct vio_net_backend *b)
{
    (void)b;
    return -1;
}

static int null_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size)
{
    return vio_net_null_open(((struct null_net *)b)->copy, out, why, why_size);
}

static const struct vio_net_ops null_ops = {
    .name = "null",
    .info = null_info,
    .destroy = null_destroy,
    .start = null_start,
    .stop = null_stop,
    .send = null_send,
    .poll = null_poll,
    .fd = null_fd,
    .open_lane = null_open_lane,
};

int vio_net_null_open(bool copy, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct null_net *null = calloc(1, sizeof *null);

    if (!null)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    null->head.ops = &null_ops;
    null->copy = copy;
    *out = &null->head;
    return 0;
}
