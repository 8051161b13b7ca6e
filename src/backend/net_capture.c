/* SPDX-License-Identifier: MIT */
/*
 * Purpose: writes what crosses another backend, both ways, into a pcapng file while one is set. It stands between the
 * device and that backend: the device's sink is wrapped, too.
 * Where it sits: backend/. Threads: the packets are the owner threads', one a lane, the file is set by the control thread. `active` is
 * all that the owner looks at while there is no capture; only when it is set does it take the lock, under which it writes
 * and the control thread exchanges the file. So a file that was exchanged is nobody's any more, and may be closed.
 * Trust: what is written is a copy of its own; a guest that changes a frame meanwhile has another one in the file than
 * on the wire. A frame is in the file when it is gone: what was offered again is there once.
 */
#include "backend/backend.h"
#include "backend/net_pcapng.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What all lanes of a backend write into. */
struct capture {
    const struct vio_log *log;
    char *name;
    atomic_bool active;
    pthread_mutex_t lock;
    struct pcapng *file; /* under lock */
    int error;           /* under lock: why the file gets no more, or 0 */
    _Atomic uint64_t packets;
};

struct capture_lane {
    struct vio_net_backend head;
    struct vio_net_backend *inner;
    struct vio_net_sink outer, sink; /* the device's, and ours for inner */
    struct capture *capture;
    bool first; /* the capture goes with it */
};

static struct vio_net_backend *inner_of(struct vio_net_backend *b)
{
    return ((struct capture_lane *)b)->inner;
}

/* ------------------------------------------------------------------ the owner thread */

/* 0: there is no capture. Taken before a packet goes on, so that an answer does not come before its question. */
static uint64_t capture_time(struct capture *c)
{
    struct timespec t;

    if (!atomic_load_explicit(&c->active, memory_order_acquire))
        return 0;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* With the lock held. The disk is full, or such: the guest goes on without. The control thread closes the file. */
static void give_up(struct capture *c, int error)
{
    c->error = error;
    atomic_store_explicit(&c->active, false, memory_order_relaxed);
    vio_log(c->log, VIO_LOG_ERROR, c->name, "the capture into %s ends after %" PRIu64 " bytes: %s", pcapng_path(c->file),
            pcapng_bytes(c->file), strerror(-error));
}

static void record(struct capture *c, const struct vio_net_packet *p, unsigned n, enum pcapng_direction direction,
                   uint64_t time_ns, bool flush)
{
    uint64_t packets = 0;
    int ret = 0;

    pthread_mutex_lock(&c->lock);
    if (c->file && c->error == 0) {
        for (; packets < n && ret == 0; packets += ret == 0)
            ret = pcapng_put(c->file, &p[packets], direction, time_ns);
        if (ret == 0 && flush)
            ret = pcapng_flush(c->file);
        if (ret < 0)
            give_up(c, ret);
    }
    pthread_mutex_unlock(&c->lock);
    if (packets)
        atomic_fetch_add_explicit(&c->packets, packets, memory_order_relaxed);
}

static unsigned capture_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct capture *c = ((struct capture_lane *)b)->capture;
    struct vio_net_backend *inner = inner_of(b);
    uint64_t now = capture_time(c);
    unsigned gone = inner->ops->send(inner, p, n);

    if (now && gone)
        record(c, p, gone, PCAPNG_FROM_DRIVER, now, true);
    return gone;
}

static unsigned capture_deliver(void *ctx, const struct vio_net_packet *p, unsigned n)
{
    struct capture_lane *lane = ctx;
    struct capture *c = lane->capture;
    uint64_t now = capture_time(c);
    unsigned gone = lane->outer.deliver(lane->outer.ctx, p, n);

    if (now && gone)
        record(c, p, gone, PCAPNG_TO_DRIVER, now, false);
    return gone;
}

static void capture_flush(void *ctx)
{
    struct capture_lane *lane = ctx;
    struct capture *c = lane->capture;

    lane->outer.flush(lane->outer.ctx);
    if (atomic_load_explicit(&c->active, memory_order_acquire))
        record(c, NULL, 0, PCAPNG_TO_DRIVER, 0, true);
}

/* ------------------------------------------------------------------ what only passes through */

static int capture_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    struct capture_lane *lane = (struct capture_lane *)b;

    lane->outer = *sink;
    lane->sink = (struct vio_net_sink){ .deliver = capture_deliver, .flush = capture_flush, .ctx = lane };
    return lane->inner->ops->start(lane->inner, &lane->sink);
}

static void capture_stop(struct vio_net_backend *b)
{
    inner_of(b)->ops->stop(inner_of(b));
}

static void capture_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    inner_of(b)->ops->info(inner_of(b), info);
}

static void capture_offloads(struct vio_net_backend *b, unsigned guest)
{
    if (inner_of(b)->ops->offloads)
        inner_of(b)->ops->offloads(inner_of(b), guest);
}

static void capture_use(struct vio_net_backend *b, bool use)
{
    if (inner_of(b)->ops->use)
        inner_of(b)->ops->use(inner_of(b), use);
}

static unsigned capture_poll(struct vio_net_backend *b, unsigned budget)
{
    return inner_of(b)->ops->poll(inner_of(b), budget);
}

static int capture_fd(struct vio_net_backend *b)
{
    return inner_of(b)->ops->fd(inner_of(b));
}

static bool capture_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    return inner_of(b)->ops->arm && inner_of(b)->ops->arm(inner_of(b), sleep, receive, blocked);
}

static void capture_counters(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value),
                             void *ctx)
{
    struct capture *c = ((struct capture_lane *)b)->capture;

    if (inner_of(b)->ops->counters)
        inner_of(b)->ops->counters(inner_of(b), line, ctx);
    if (((struct capture_lane *)b)->first)
        line(ctx, "captured", atomic_load_explicit(&c->packets, memory_order_relaxed));
}

/* ------------------------------------------------------------------ the control thread */

/* The file that was in use, if any, is closed. The first error that it had; *said: the log has it. */
static int exchange(struct capture *c, struct pcapng *file, bool *said)
{
    struct pcapng *old;
    int error, ret;

    pthread_mutex_lock(&c->lock);
    old = c->file;
    error = c->error;
    c->file = file;
    c->error = 0;
    atomic_store_explicit(&c->active, file != NULL, memory_order_release);
    pthread_mutex_unlock(&c->lock);
    ret = pcapng_close(old);
    *said = error < 0;
    return error < 0 ? error : ret;
}

static void capture_destroy(struct vio_net_backend *b)
{
    struct capture_lane *lane = (struct capture_lane *)b;
    struct capture *c = lane->capture;
    bool said = false;
    int ret = lane->first ? exchange(c, NULL, &said) : 0;

    if (ret < 0 && !said)
        vio_log(c->log, VIO_LOG_ERROR, c->name, "the end of the capture is lost: %s", strerror(-ret));
    vio_net_close(lane->inner);
    if (lane->first) {
        pthread_mutex_destroy(&c->lock);
        free(c->name);
        free(c);
    }
    free(lane);
}

static int capture_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size);

static const struct vio_net_ops capture_ops = {
    .name = "capture",
    .info = capture_info,
    .destroy = capture_destroy,
    .start = capture_start,
    .stop = capture_stop,
    .offloads = capture_offloads,
    .send = capture_send,
    .poll = capture_poll,
    .fd = capture_fd,
    .arm = capture_arm,
    .open_lane = capture_open_lane,
    .use = capture_use,
    .counters = capture_counters,
};

static int capture_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct capture_lane *lane = calloc(1, sizeof *lane);
    int ret;

    if (!lane)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    lane->head.ops = &capture_ops;
    lane->capture = ((struct capture_lane *)b)->capture;
    ret = vio_net_open_lane(inner_of(b), &lane->inner, why, why_size);
    if (ret < 0) {
        free(lane);
        return ret;
    }
    *out = &lane->head;
    return 0;
}

int vio_net_capture_open(struct vio_net_backend *inner, const char *name, const struct vio_log *log,
                         struct vio_net_backend **out)
{
    struct capture_lane *lane = calloc(1, sizeof *lane);
    struct capture *c = calloc(1, sizeof *c);

    if (!c || !lane) {
        free(c);
        free(lane);
        return -ENOMEM;
    }
    *c = (struct capture){ .log = log, .name = strdup(name ? name : "net") };
    if (!c->name || pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c->name);
        free(c);
        free(lane);
        return -ENOMEM;
    }
    *lane = (struct capture_lane){ .head.ops = &capture_ops, .inner = inner, .capture = c, .first = true };
    *out = &lane->head;
    return 0;
}

int vio_net_capture_set(struct vio_net_backend *b, const char *path, char *why, size_t why_size)
{
    struct pcapng *file = NULL;
    struct capture *c;
    bool said;
    int ret;

    if (!b || b->ops != &capture_ops)
        return vio_why(-ENOTSUP, why, why_size, "this network device was not made with a place for captures");
    c = ((struct capture_lane *)b)->capture;
    if (path) {
        ret = pcapng_open(path, c->name, &file, why, why_size);
        if (ret < 0)
            return ret;
    }
    ret = exchange(c, file, &said);
    if (ret == 0)
        return 0;
    if (!path)
        return vio_why(ret, why, why_size, "the capture is not complete: %s", strerror(-ret));
    if (!said)
        vio_log(c->log, VIO_LOG_ERROR, c->name, "the end of the last capture is lost: %s", strerror(-ret));
    return 0;
}
