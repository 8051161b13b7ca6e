/* SPDX-License-Identifier: MIT */
/* Purpose: see world.h: the device's steps, through every way there is to consume a request. */
#include <stdio.h>
#include <string.h>

#include "support/world.h"

static struct world_buf *buf_of(struct world *w, uint32_t i)
{
    return &w->buf[i];
}

/* Reads all of it in bites of any size and any of the ways there are. */
static void dev_read(struct world *w, struct world_buf *b)
{
    struct vio_reader *in = &b->req->in;
    uint32_t at = 0;

    CHECK(in->left == b->len_r);
    while (at < b->len_r) {
        uint32_t n = rng_range(&w->rng, 1, b->len_r - at);

        switch (rng_below(&w->rng, 4)) {
        case 0:
            vio_reader_skip(in, n);
            break;
        case 1:
            CHECK(vio_reader_get_some(in, w->scratch, n) == n);
            CHECK(memcmp(w->scratch, b->in + at, n) == 0);
            break;
        default:
            CHECK(!vio_reader_get(in, w->scratch, (size_t)in->left + 1));
            CHECK(vio_reader_get(in, w->scratch, n));
            CHECK(memcmp(w->scratch, b->in + at, n) == 0);
        }
        at += n;
        CHECK(in->left == b->len_r - at);
    }
    CHECK(in->nr == 0 && vio_reader_get_some(in, w->scratch, 1) == 0);
}

static void write_bite(struct world *w, struct vio_writer *out, uint8_t *image, uint32_t n)
{
    uint32_t i = 0;

    for (uint32_t k = 0; k < n; k++)
        image[k] = (uint8_t)rng_u64(&w->rng);
    switch (rng_below(&w->rng, 4)) {
    case 0: /* as a system call would, in the segments themselves */
        for (const struct vio_seg *s = out->seg; i < n; s++) {
            uint32_t part = (uint32_t)vio_min_u64(s->len, n - i);

            memcpy(s->base, image + i, part);
            i += part;
        }
        vio_writer_wrote(out, n);
        break;
    case 1:
        memset(image, 0, n);
        CHECK(vio_writer_zero(out, n));
        break;
    case 2:
        CHECK(vio_writer_put_some(out, image, n) == n);
        break;
    default:
        CHECK(!vio_writer_put(out, image, (size_t)out->left + 1));
        CHECK(vio_writer_put(out, image, n));
    }
}

/* Writes some or all of the answer; b->out and b->len become what the driver must find. */
static void dev_write(struct world *w, struct world_buf *b)
{
    struct vio_writer *out = &b->req->out;
    uint32_t total = b->len_w, at = 0, part;
    bool last = total > 0 && rng_below(&w->rng, 3) == 0;

    CHECK(out->left == b->len_w && out->written == 0);
    if (last) {
        uint8_t *status = vio_writer_take_last(out);

        CHECK(status != NULL && vio_writer_take_last(out) == NULL);
        *status = b->out[--total] = (uint8_t)rng_u64(&w->rng);
    }
    part = rng_below(&w->rng, 3) == 0 ? rng_below(&w->rng, total + 1) : total;
    while (at < part) {
        uint32_t n = rng_range(&w->rng, 1, part - at);

        write_bite(w, out, b->out + at, n);
        at += n;
        CHECK(out->written == at && out->left == total - at);
    }
    if (part == total)
        CHECK(!vio_writer_zero(out, 1));
    b->len = part + (last && part == total ? 1u : 0u);
}

static void dev_take(struct world *w, unsigned max)
{
    struct vio_req *reqs[VIO_QUEUE_BATCH];
    unsigned got;

    w->too_few = 0;
    CHECK(vio_devq_pending(w->dev) == (w->fifo_nr > 0));
    got = vio_devq_take(w->dev, reqs, max);
    if (vio_devq_fault(w->dev) != VIO_FAULT_NONE)
        FAIL("the device side says %s (%llx)", vio_fault_name(vio_devq_fault(w->dev)),
             (unsigned long long)vio_devq_fault_detail(w->dev));
    CHECK(got <= max && got <= w->fifo_nr);
    /* None, though some are there, only while others hold what they need. */
    if (got == 0 && max > 0 && w->fifo_nr > 0 && w->nr_held + w->nr_put == 0)
        FAIL("take gave nothing of %u", w->fifo_nr);
    for (unsigned i = 0; i < got; i++) {
        uint32_t at = w->fifo[w->fifo_head];
        struct world_buf *b = buf_of(w, at);

        w->fifo_head = (w->fifo_head + 1) % w->fifo_room;
        w->fifo_nr--;
        b->state = BUF_TAKEN;
        b->req = reqs[i];
        b->seq = w->seq++;
        b->newer = NULL;
        b->older = w->newest;
        *(w->newest != NULL ? &w->newest->newer : &w->oldest) = b;
        w->newest = b;
        CHECK(reqs[i]->index < w->cfg.size && reqs[i]->slots == b->slots);
        /* The device's own bytes: nobody else may have them. */
        memcpy(vio_req_priv(reqs[i]), &b->token, sizeof(b->token));
        dev_read(w, b);
        w->held[w->nr_held++] = at;
    }
}

static void dev_complete(struct world *w, uint32_t which)
{
    uint32_t at = w->held[which];
    struct world_buf *b = buf_of(w, at);

    CHECK(memcmp(vio_req_priv(b->req), &b->token, sizeof(b->token)) == 0);
    dev_write(w, b);
    vio_devq_put(w->dev, b->req);
    w->held[which] = w->held[--w->nr_held];
    b->state = BUF_PUT;
    w->nr_put++;
    w->unpublished = true;
}

void world_unlink(struct world *w, struct world_buf *b)
{
    *(b->older != NULL ? &b->older->newer : &w->oldest) = b->newer;
    *(b->newer != NULL ? &b->newer->older : &w->newest) = b->older;
}

/* In the ring's order, or all: what publish shows. Returns how many entries that is. */
static uint32_t show(struct world *w)
{
    uint32_t units = 0;
    struct world_buf *next;

    for (struct world_buf *b = w->oldest; b != NULL && w->nr_put > 0; b = next) {
        next = b->newer;
        if (b->state == BUF_PUT) {
            b->state = BUF_USED;
            w->nr_used++;
            w->nr_put--;
            units += w->cfg.packed ? b->slots : 1;
            world_unlink(w, b);
        } else if (w->cfg.in_order) {
            break;
        }
    }
    return units;
}

void world_dev_publish(struct world *w)
{
    bool call = vio_devq_publish(w->dev);
    uint32_t units = show(w);

    w->unpublished = false;
    if (units == 0) {
        CHECK(!call);
        return;
    }
    world_check_told(w, &w->driver_side, call, units);
    if (vio_devq_in_flight(w->dev) != w->nr_held)
        FAIL("%u in flight, must be %u", vio_devq_in_flight(w->dev), w->nr_held);
    if (call) {
        w->result.calls++;
        world_wake(w, &w->driver_side);
    }
}

void world_complete_all(struct world *w)
{
    while (w->nr_held > 0)
        dev_complete(w, rng_below(&w->rng, w->nr_held));
    if (w->unpublished)
        world_dev_publish(w);
}

static uint32_t oldest_held(const struct world *w)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < w->nr_held; i++) {
        if (w->buf[w->held[i]].seq < w->buf[w->held[best]].seq)
            best = i;
    }
    return best;
}

static void dev_some(struct world *w)
{
    uint32_t n = rng_below(&w->rng, 4) == 0 ? w->nr_held : rng_range(&w->rng, 0, 4);
    bool in_order = w->nr_held < 200 && rng_below(&w->rng, 2) == 0;

    while (n-- > 0 && w->nr_held > 0)
        dev_complete(w, in_order ? oldest_held(w) : rng_below(&w->rng, w->nr_held));
}

/* All that there is, and it is too little. */
static void dev_want_more(struct world *w)
{
    struct vio_req *reqs[VIO_QUEUE_BATCH];
    unsigned nr;

    if (w->cfg.inflight)
        return;
    nr = vio_devq_take(w->dev, reqs, VIO_QUEUE_BATCH);
    vio_devq_untake_too_few(w->dev, reqs, nr);
    w->too_few = nr;
}

static void dev_sleep(struct world *w)
{
    bool pending;

    if (w->unpublished)
        world_dev_publish(w);
    pending = vio_devq_arm_kick(w->dev);
    if (pending != (w->fifo_nr > w->too_few))
        FAIL("arm_kick says %d with %u available, of which %u do not count", pending, w->fifo_nr, w->too_few);
    world_armed(w, &w->device_side, pending);
    /* What is taken again after a crash is no reason for the driver's index to have passed ours. */
    if (pending && w->result.crashes > 0 && w->device_side.wish == WISH_NEVER_SOFT)
        w->device_side.wish = WISH_ANY;
    w->device_side.asleep = !pending;
}

void world_dev_step(struct world *w)
{
    uint32_t what = rng_below(&w->rng, 100);

    /* What waits for more is given up at times: the driver need not have any. */
    if (w->device_side.asleep && w->too_few > 0 && rng_below(&w->rng, 8) == 0)
        w->device_side.asleep = false;
    /* Asleep, it is woken by its backend, and serves only that. */
    if (w->device_side.asleep) {
        dev_some(w);
        if (w->unpublished)
            world_dev_publish(w);
    } else if (what < 40) {
        dev_take(w, rng_below(&w->rng, 3) == 0 ? 64 : rng_range(&w->rng, 0, 6));
    } else if (what < 65) {
        dev_some(w);
    } else if (what < 80) {
        if (w->unpublished)
            world_dev_publish(w);
    } else if (what < 95) {
        if (rng_below(&w->rng, 3) == 0)
            dev_want_more(w);
        dev_sleep(w);
    } else {
        vio_devq_disarm_kick(w->dev);
        world_disarmed(w, &w->device_side, true);
    }
}
