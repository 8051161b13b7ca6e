/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the load of a network device: frames to it, from it, or there and back, as fast as they go or at a rate; which were
 * lost, late, doubled or changed on the way. Where it sits: cli/, over vio/drv_net.h; bench_net_run.c has the runs and their
 * results.
 * Threads: a pair of queues, its buffers and counts belong to one worker; what others read is atomic. Trust: what comes is any
 * frame; it is counted by kind, never acted on.
 */
#include <poll.h>
#include <time.h>

#include "cli/bench_net.h"

/*
 * STALL: a loop that is quiet so long has lost what is under way. QUIET: after the end so long is waited for the rest. SLOT: a
 * paced burst is what is due in it, so that few frames a second go one by one.
 */
enum { RECLAIM = 256, MS = 1000000, STALL = 50 * MS, QUIET = 500 * MS, SLOT = 20000 };

/* ------------------------------------------------------------------ receiving */

static void refill(struct net_worker *w)
{
    struct vio_net_buf *bufs[NET_CHUNK];
    unsigned n = w->chunk, given = n;

    while (given == n && vio_drv_net_give_room(w->run->n, w->pair) >= n && vio_net_pool_take(w->receive_pool, bufs, n)) {
        given = vio_drv_net_give(w->run->n, w->pair, bufs, n);
        vio_net_pool_give(w->receive_pool, bufs + given, n - given);
    }
}

/* All pieces of a frame in one; NULL: more than any frame can have. */
static const uint8_t *in_one_piece(struct net_worker *w, const struct vio_net_buf *frame, uint32_t size)
{
    uint32_t at = 0;

    if (frame->pieces == 1)
        return vio_net_buf_data(frame);
    if (size > FRAME_MAX)
        return NULL;
    for (const struct vio_net_buf *b = frame; b != NULL; at += b->len, b = b->next)
        memcpy(w->scratch + at, vio_net_buf_data(b), b->len);
    return w->scratch;
}

static uint32_t size_of(const struct vio_net_buf *frame)
{
    uint32_t size = frame->len;

    for (const struct vio_net_buf *b = frame->next; frame->pieces > 1 && b != NULL; b = b->next)
        size += b->len;
    return size;
}

static enum frame_kind judge(struct net_worker *w, const struct vio_net_buf *frame, uint32_t size, struct frame_stamp *stamp)
{
    const struct bench_params *p = w->run->p;
    const uint8_t *data = vio_net_buf_data(frame);
    enum frame_kind kind;

    if (frame_ours(data, frame->len, size, p->seed, stamp))
        kind = FRAME_OURS;
    else
        kind = frame_other(data, frame->len, p->mode == BENCH_LOOP, stamp);
    if (!p->verify)
        return kind;
    data = in_one_piece(w, frame, size);
    if (data == NULL || (kind == FRAME_OURS && !frame_whole(data, size, stamp)) ||
        (kind == FRAME_NUMBERED && !frame_sums_right(data, size)))
        return FRAME_CORRUPT;
    return kind;
}

static void note(struct net_worker *w, const struct vio_net_buf *frame, uint32_t size, uint32_t now)
{
    struct frame_stamp stamp = { 0 };
    unsigned source;

    switch (judge(w, frame, size, &stamp)) {
    case FRAME_OURS:
        source = stamp.mark & 0xff;
        break;
    case FRAME_NUMBERED:
        source = w->pair; /* somebody else's: each queue is counted by itself */
        if (w->run->p->mode == BENCH_IN)
            break;
        w->foreign++;
        return;
    case FRAME_CORRUPT:
        w->corrupt++;
        return;
    default:
        w->foreign++;
        return;
    }
    if (w->run->p->mode != BENCH_LOOP) {
        sequence_note(&w->sequence[source], stamp.number);
    } else if (source < w->run->p->queues) {
        sequence_note(&w->sequence[source], stamp.number);
        atomic_store_explicit(&w->run->worker[source].reached, w->sequence[source].next, memory_order_relaxed);
        if (w->head.phase == BENCH_MEASURE)
            histogram_add(&w->latency, (uint64_t)(now - stamp.ticks) * FRAME_TICK);
    } else {
        w->foreign++;
    }
}

static unsigned receive(struct net_worker *w)
{
    struct vio_net_buf *got[NET_CHUNK];
    bool looks = w->run->p->mode == BENCH_LOOP || w->run->p->verify, measured = w->head.phase == BENCH_MEASURE;
    unsigned n = vio_drv_net_receive(w->run->n, w->pair, got, NET_CHUNK);
    uint32_t now = n > 0 && looks ? (uint32_t)(bench_now() / FRAME_TICK) : 0;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < n; i++) {
        uint32_t size = size_of(got[i]);

        bytes += size;
        if (got[i]->pieces == 0)
            w->nonsense++;
        else if (looks)
            note(w, got[i], size, now);
    }
    if (n == 0)
        return 0;
    vio_net_pool_give(w->receive_pool, got, n);
    w->received_measured += measured ? n : 0;
    w->bytes += measured ? bytes : 0;
    if (measured && w->run->p->mode != BENCH_OUT)
        atomic_fetch_add_explicit(&w->head.done, n, memory_order_relaxed);
    refill(w);
    return n;
}

/* ------------------------------------------------------------------ sending */

static void reclaim(struct net_worker *w)
{
    struct vio_net_buf *bufs[RECLAIM];
    unsigned n = vio_drv_net_send_done(w->run->n, w->pair, bufs, RECLAIM);

    vio_net_pool_give(w->send_pool, bufs, n);
}

/* when: the time that stands in them. How many went. */
static unsigned transmit(struct net_worker *w, unsigned n, uint64_t when)
{
    const struct bench_params *p = w->run->p;
    struct vio_net_buf *bufs[NET_BURST];
    unsigned sent;

    if (vio_drv_net_send_room(w->run->n, w->pair) < n)
        reclaim(w);
    if (vio_drv_net_send_room(w->run->n, w->pair) < n || !vio_net_pool_take(w->send_pool, bufs, n))
        return 0;
    for (unsigned i = 0; w->stamps && i < n; i++) {
        uint8_t *frame = vio_net_buf_data(bufs[i]);

        frame_stamp(frame, (uint32_t)p->size, w->number + i, when, w->pair, p->seed);
        if (p->verify)
            frame_fill(frame, (uint32_t)p->size);
    }
    for (unsigned i = 0; i < n; i++)
        bufs[i]->len = (uint32_t)p->size;
    sent = vio_drv_net_send(w->run->n, w->pair, bufs, n);
    vio_net_pool_give(w->send_pool, bufs + sent, n - sent);
    w->number += sent;
    if (w->head.phase == BENCH_MEASURE) {
        w->sent_measured += sent;
        if (p->mode == BENCH_OUT)
            atomic_fetch_add_explicit(&w->head.done, sent, memory_order_relaxed);
    }
    return sent;
}

/* What is due by now, of a rate; a device that was long away is not given all of it at once. */
static unsigned transmit_paced(struct net_worker *w, uint64_t now)
{
    unsigned sent;

    if ((double)now < w->due)
        return 0;
    if ((double)now - w->due > 100.0 * MS)
        w->due = (double)now;
    sent = transmit(w, w->paced, (uint64_t)w->due);
    w->due += w->gap * sent;
    return sent;
}

/* A loop without a rate: only so many are under way. */
static unsigned transmit_window(struct net_worker *w)
{
    uint64_t reached = atomic_load_explicit(&w->reached, memory_order_relaxed);

    if (reached < w->given_up)
        reached = w->given_up;
    if (w->number - reached + w->burst > w->run->window)
        return 0;
    return transmit(w, w->burst, bench_now());
}

static unsigned send_some(struct net_worker *w)
{
    if (w->run->p->mode == BENCH_IN || w->head.phase == BENCH_STOP)
        return 0;
    if (w->gap > 0)
        return transmit_paced(w, bench_now());
    if (w->run->p->mode == BENCH_LOOP && !w->run->flood)
        return transmit_window(w);
    return transmit(w, w->burst, w->stamps ? bench_now() : 0);
}

/* ------------------------------------------------------------------ waiting */

/* From vio_drvdev_event(): all that there is. */
void net_used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    struct net_run *run = ctx;
    struct net_worker *w = &run->worker[queue / 2];
    unsigned n;

    (void)d;
    if (queue % 2 != 0) {
        reclaim(w);
        return;
    }
    while ((n = receive(w)) > 0)
        w->heard += n;
}

/* Sleeps until the device calls, or until something is to be sent, a moment at most; how many came. */
static unsigned sleep_and_receive(struct net_worker *w, bool idle)
{
    struct vio_drvdev *d = w->run->device.d;
    uint16_t queue = (uint16_t)(2 * w->pair);
    struct pollfd call[2] = { { .fd = vio_drvdev_event_fd(d, queue), .events = POLLIN },
                              { .fd = vio_drvdev_event_fd(d, (uint16_t)(queue + 1)), .events = POLLIN } };
    struct timespec limit = { 0, idle ? 20 * MS : 0 };
    double left = w->gap > 0 ? w->due - (double)bench_now() : 20.0 * MS;

    if (idle && left < 20.0 * MS && w->head.phase != BENCH_STOP)
        limit.tv_nsec = left > 0 ? (long)left : 0;
    w->heard = 0;
    (void)ppoll(call, 2, &limit, NULL);
    for (uint16_t i = 0; i < 2; i++)
        while (vio_drvdev_event(d, (uint16_t)(queue + i)))
            ;
    return w->heard;
}

/* ------------------------------------------------------------------ one worker */

uint64_t net_unique(const struct net_worker *w)
{
    uint64_t unique = 0;

    for (unsigned i = 0; i < FRAME_SOURCES; i++)
        unique += w->sequence[i].unique;
    return unique;
}

/* After the end: nothing is under way any more, for none of all. */
static bool all_is_back(struct net_run *run)
{
    uint64_t out = 0, back = 0;

    if (atomic_load(&run->ended) < run->p->queues)
        return false;
    for (uint16_t i = 0; i < run->p->queues; i++) {
        out += run->worker[i].number - run->worker[i].number_before;
        back += atomic_load_explicit(&run->worker[i].back, memory_order_relaxed);
    }
    return back >= out;
}

/* Nothing moves: since when, and what of it. True: this is the end. */
static bool quiet(struct net_worker *w, uint64_t now)
{
    uint64_t since = now - w->moved, limit = (uint64_t)w->run->p->timeout_ms * MS;

    if (w->run->p->mode == BENCH_LOOP && since > STALL)
        w->given_up = w->number;
    if (w->head.phase == BENCH_STOP)
        return since > (limit < QUIET ? limit : QUIET);
    w->silent = since > limit;
    return w->silent;
}

static void begin(struct net_worker *w)
{
    const struct bench_params *p = w->run->p;
    double rate = w->run->rate / p->queues;

    w->number_before = w->number;
    w->unique_before = net_unique(w);
    w->moved = 0;
    w->due = (double)bench_now();
    w->gap = rate > 0 ? 1e9 / rate : 0;
    w->paced = w->gap * w->burst > SLOT ? (unsigned)(SLOT / w->gap) : w->burst;
    if (w->paced == 0)
        w->paced = 1;
}

/* Nothing was to be done yet: a rate leaves time. */
static bool is_early(const struct net_worker *w)
{
    return w->run->p->mode == BENCH_OUT && w->gap > 0 && (double)bench_now() < w->due;
}

/* One turn of a loop. In a loop of packets only what comes is a sign of life; else what is taken. */
static bool step(struct net_worker *w)
{
    const struct bench_params *p = w->run->p;
    unsigned sent = send_some(w), came = 0;

    if (p->wait)
        came = sleep_and_receive(w, sent == 0);
    else if (p->mode != BENCH_OUT)
        came = receive(w);
    if (came > 0 || (p->mode == BENCH_OUT && sent > 0) || is_early(w)) {
        w->moved = 0;
        return true;
    }
    if (!p->wait && w->looks++ % 256 != 0)
        return true;
    w->broken = vio_drv_net_fault(w->run->n, w->pair) != VIO_FAULT_NONE;
    if (w->moved == 0)
        w->moved = bench_now();
    return !w->broken && !quiet(w, bench_now());
}

/* What is under way comes back, or does not. */
static void drain(struct net_worker *w)
{
    atomic_store(&w->back, net_unique(w) - w->unique_before);
    atomic_fetch_add(&w->run->ended, 1); /* `number` is what it stays */
    w->moved = 0;
    while (w->run->p->mode == BENCH_LOOP && !all_is_back(w->run) && step(w))
        atomic_store(&w->back, net_unique(w) - w->unique_before);
}

void net_work(struct bench_worker *head)
{
    struct net_worker *w = (struct net_worker *)head;

    begin(w);
    refill(w);
    while (bench_phase(head) != BENCH_STOP && step(w))
        ;
    if (!w->broken && !w->silent)
        drain(w);
    else
        atomic_fetch_add(&w->run->ended, 1);
}
