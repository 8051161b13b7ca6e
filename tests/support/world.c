/* SPDX-License-Identifier: MIT */
/* Purpose: see world.h: the two sides' steps and what they are compared with. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/ring.h"
#include "spec/virtio.h"
#include "support/le.h"
#include "support/world.h"

enum { QUEUE_INDEX = 7, EXPRESS = 40 };

static void *must(void *p)
{
    if (p == NULL)
        FAIL("out of memory");
    return p;
}

static uint32_t room(const struct world *w)
{
    return w->cfg.size + 1u;
}

static struct world_buf *buf_of(struct world *w, uint32_t i)
{
    return &w->buf[i];
}

/* ------------------------------------------------------------------ notifications */

void world_wake(struct world *w, struct world_side *side)
{
    if (w->cfg.delay > 0 && rng_permille(&w->rng, w->cfg.delay)) {
        uint64_t due = w->now + rng_range(&w->rng, 1, 60);

        if (side->due == 0 || due < side->due)
            side->due = due;
        return;
    }
    side->asleep = false;
}

static void deliver(struct world *w, struct world_side *side)
{
    if (side->due != 0 && side->due <= w->now) {
        side->due = 0;
        side->asleep = false;
    }
    if (rng_permille(&w->rng, w->cfg.spurious))
        side->asleep = false;
}

/* Compares a notification decision over `units` published entries with the other side's wish. */
void world_check_told(struct world *w, struct world_side *side, bool told, uint32_t units)
{
    uint32_t lap = w->cfg.packed ? w->cfg.size : 65535u - w->cfg.size;

    switch (side->wish) {
    case WISH_ALWAYS:
        if (!told)
            FAIL("a notification that was asked for did not come");
        break;
    case WISH_ONCE:
        if (!told)
            FAIL("a notification for the next entry was asked for and did not come");
        side->wish = WISH_NEVER_SOFT;
        side->since = 0;
        break;
    case WISH_NEVER_SOFT:
        side->since += units;
        if (side->since > lap)
            side->wish = WISH_ANY; /* the old event index comes round */
        else if (told)
            FAIL("a notification came that nobody had asked for (%u entries on)", side->since);
        break;
    case WISH_NEVER:
        if (told)
            FAIL("a notification came while they were off");
        break;
    default:
        break;
    }
}

/* arm said `pending`: the wish is as if disarmed where it is true. */
void world_armed(struct world *w, struct world_side *side, bool pending)
{
    side->armed = !pending;
    side->since = 0;
    if (!pending)
        side->wish = w->cfg.event_idx ? WISH_ONCE : WISH_ALWAYS;
    else
        side->wish = w->cfg.event_idx && !w->cfg.packed ? WISH_NEVER_SOFT : WISH_NEVER;
}

void world_disarmed(struct world *w, struct world_side *side, bool device)
{
    if (!side->armed)
        return;
    side->armed = false;
    if (!w->cfg.event_idx || w->cfg.packed) {
        side->wish = WISH_NEVER;
    } else if (!device) {
        side->wish = WISH_NEVER_SOFT;
        side->since = 0;
    } else if (side->wish == WISH_ONCE) {
        side->wish = WISH_ANY; /* the device leaves its event index where it is */
    }
}

/* ------------------------------------------------------------------ driver */

void world_forget(struct world *w, struct world_buf *b)
{
    for (unsigned i = 0; i < b->nr_r + b->nr_w; i++)
        guest_release(w->guest, b->piece[i].addr, b->piece[i].len);
    w->slots -= b->slots;
    free(b->piece);
    free(b->in);
    free(b->out);
    b->piece = NULL;
    b->in = b->out = NULL;
    b->state = BUF_NONE;
    w->idle[w->nr_idle++] = (uint32_t)(b - w->buf);
}

static uint32_t piece_len(struct world *w)
{
    uint32_t max = w->cfg.piece;

    if (max > 64 && rng_below(&w->rng, 8) != 0)
        max = 64;
    if (max > 4096 && rng_below(&w->rng, 4) != 0)
        max = 4096;
    return rng_range(&w->rng, 1, max);
}

static unsigned piece_count(struct world *w)
{
    unsigned max = w->cfg.pieces;

    if (max > 6 && rng_below(&w->rng, 4) != 0)
        max = 6;
    return rng_range(&w->rng, 1, max);
}

/* Places the pieces in memory, the first nr_r to be read; false where memory is short: then nothing is taken. */
static bool place(struct world *w, struct world_buf *b, unsigned n, unsigned nr_r)
{
    b->piece = must(calloc(n, sizeof(*b->piece)));
    b->nr_r = nr_r;
    b->nr_w = n - nr_r;
    b->len_r = b->len_w = 0;
    for (unsigned i = 0; i < n; i++) {
        uint32_t len = piece_len(w);
        uint64_t at = guest_alloc(w->guest, &w->rng, len);

        if (at == 0) {
            while (i-- > 0)
                guest_release(w->guest, b->piece[i].addr, b->piece[i].len);
            free(b->piece);
            b->piece = NULL;
            return false;
        }
        b->piece[i] = (struct vio_buf){ at, len };
        *(i < b->nr_r ? &b->len_r : &b->len_w) += len;
    }
    return true;
}

static void fill(struct world *w, struct world_buf *b)
{
    uint8_t *at;

    b->in = must(malloc(b->len_r + 1));
    b->out = must(malloc(b->len_w + 1));
    at = b->in;
    for (unsigned i = 0; i < b->nr_r + b->nr_w; i++) {
        if (i == b->nr_r)
            at = b->out;
        for (uint32_t k = 0; k < b->piece[i].len; k++)
            at[k] = (uint8_t)(b->token * 167 + (b->token >> 7) + i * 31 + k * 13 + (k >> 8));
        guest_write(w->guest, b->piece[i].addr, at, b->piece[i].len);
        memcpy(w->shadow + (b->piece[i].addr - w->guest->payload), at, b->piece[i].len);
        at += b->piece[i].len;
    }
}

/* One buffer; false: no room for it now. */
static bool put_one(struct world *w)
{
    unsigned n = piece_count(w);
    uint32_t free_now = w->cfg.size - w->slots;
    struct world_buf *b;
    uint32_t i;
    int err;

    if (w->nr_idle == 0)
        return false;
    i = w->idle[w->nr_idle - 1];
    b = buf_of(w, i);
    if (!place(w, b, n, rng_below(&w->rng, n + 1)))
        return false;
    b->token = w->serial * 65536 + i;
    b->slots = w->cfg.indirect && n > 1 && n <= w->cfg.table_max ? 1 : n;
    fill(w, b);
    CHECK(vio_drvq_free(w->drv) == free_now);
    err = vio_drvq_put(w->drv, b->piece, b->nr_r, b->nr_w, b->token);
    if (b->slots > w->cfg.size) {
        if (err != -EINVAL)
            FAIL("%u pieces in a queue of %u: %d", n, w->cfg.size, err);
    } else if (b->slots > free_now) {
        if (err != -ENOSPC)
            FAIL("%u descriptors with %u free: %d", b->slots, free_now, err);
    } else if (err != 0) {
        FAIL("put: %d with %u of %u free", err, free_now, w->cfg.size);
    }
    w->nr_idle--;
    w->slots += b->slots;
    if (err != 0) {
        world_forget(w, b);
        return false;
    }
    w->serial++;
    b->state = BUF_FRESH;
    w->fresh[w->nr_fresh++] = i;
    w->pub_units += w->cfg.packed ? b->slots : 1;
    return true;
}

/* A burst of buffers of one piece, all one way, in one call; how many went in is what descriptors were free. */
static void put_express(struct world *w, unsigned most)
{
    bool writable = rng_below(&w->rng, 2) == 0;
    uint32_t free_now = w->cfg.size - w->slots, at[EXPRESS];
    struct vio_packet packet[EXPRESS];
    unsigned n = 0, want, put;

    if (most > EXPRESS)
        most = EXPRESS;
    for (; n < most && n < w->nr_idle; n++) {
        struct world_buf *b = buf_of(w, w->idle[w->nr_idle - 1 - n]);

        at[n] = (uint32_t)(b - w->buf);
        if (!place(w, b, 1, !writable))
            break;
        b->token = (w->serial + n) * 65536 + at[n];
        b->slots = 1;
        fill(w, b);
        packet[n] = (struct vio_packet){ b->piece[0].addr, b->token, b->piece[0].len };
    }
    want = n < free_now ? n : free_now;
    put = vio_drvq_express_put(w->drv, packet, n, writable);
    if (put != want)
        FAIL("%u of %u packets were put with %u free", put, n, free_now);
    w->nr_idle -= n;
    w->slots += n;
    w->serial += put;
    w->pub_units += put;
    for (unsigned i = 0; i < put; i++) {
        buf_of(w, at[i])->state = BUF_FRESH;
        w->fresh[w->nr_fresh++] = at[i];
    }
    while (n > put)
        world_forget(w, buf_of(w, at[--n]));
    CHECK(vio_drvq_free(w->drv) == w->cfg.size - w->slots);
}

void world_rewind(struct world *w)
{
    vio_drvq_rewind(w->drv);
    while (w->nr_fresh > 0)
        world_forget(w, buf_of(w, w->fresh[--w->nr_fresh]));
    w->pub_units = 0;
    CHECK(vio_drvq_free(w->drv) == w->cfg.size - w->slots);
}

static void check_notify_data(struct world *w)
{
    uint32_t data = vio_drvq_notify_data(w->drv, QUEUE_INDEX);
    uint32_t want = (uint32_t)w->pub_idx << 16 | (w->pub_wrap ? 0x80000000u : 0) | QUEUE_INDEX;

    if (data != want)
        FAIL("notification data %08x, must be %08x", data, want);
    CHECK(vio_devq_check_notify_data(w->dev, QUEUE_INDEX, data) == VIO_FAULT_NONE);
    CHECK(vio_devq_check_notify_data(w->dev, QUEUE_INDEX + 1, data) == VIO_FAULT_NOTIFY_DATA);
}

static void drv_publish(struct world *w)
{
    bool kick = vio_drvq_publish(w->drv);

    if (w->nr_fresh == 0) {
        CHECK(!kick);
        return;
    }
    for (uint32_t i = 0; i < w->nr_fresh; i++) {
        buf_of(w, w->fresh[i])->state = BUF_AVAIL;
        w->fifo[(w->fifo_head + w->fifo_nr++) % w->fifo_room] = w->fresh[i];
    }
    w->nr_fresh = 0;
    if (w->cfg.packed) {
        uint32_t at = w->pub_idx + w->pub_units;

        w->pub_wrap ^= at >= w->cfg.size;
        w->pub_idx = (uint16_t)(at >= w->cfg.size ? at - w->cfg.size : at);
    } else {
        w->pub_idx = (uint16_t)(w->pub_idx + w->pub_units);
    }
    check_notify_data(w);
    world_check_told(w, &w->device_side, kick, w->pub_units);
    w->pub_units = 0;
    if (kick) {
        w->result.kicks++;
        world_wake(w, &w->device_side);
    }
}

/* A buffer came back: its bytes and its neighbours' must be what both sides wrote. */
static void check_back(struct world *w, const struct vio_done *done)
{
    struct world_buf *b = buf_of(w, (uint32_t)(done->token % 65536));
    const uint8_t *want;

    if (done->token % 65536 >= w->cfg.size || b->token != done->token || b->state != BUF_USED)
        FAIL("token %llx came back, which is not used", (unsigned long long)done->token);
    if (done->len != b->len)
        FAIL("length %u, must be %u of %u", done->len, b->len, b->len_w);
    want = b->in;
    for (unsigned i = 0; i < b->nr_r + b->nr_w; i++) {
        uint64_t at = b->piece[i].addr;

        if (i == b->nr_r)
            want = b->out;
        guest_read(w->guest, at, w->scratch, b->piece[i].len);
        if (memcmp(w->scratch, want, b->piece[i].len) != 0)
            FAIL("piece %u of %u+%u has other bytes", i, b->nr_r, b->nr_w);
        memcpy(w->shadow + (at - w->guest->payload), want, b->piece[i].len);
        want += b->piece[i].len;
    }
    world_forget(w, b);
    w->done++;
    w->nr_used--;
}

static void drv_collect(struct world *w, unsigned max)
{
    struct vio_done done[64];
    unsigned want = max < w->nr_used ? max : w->nr_used, got;

    CHECK(vio_drvq_pending(w->drv) == (w->nr_used > 0));
    got = vio_drvq_collect(w->drv, done, max);
    if (vio_drvq_fault(w->drv) != VIO_FAULT_NONE)
        FAIL("the driver side says %s", vio_fault_name(vio_drvq_fault(w->drv)));
    if (got != want)
        FAIL("collect(%u) gave %u, must give %u", max, got, want);
    for (unsigned i = 0; i < got; i++)
        check_back(w, &done[i]);
    CHECK(vio_drvq_free(w->drv) == w->cfg.size - w->slots);
}

void world_collect_all(struct world *w)
{
    while (w->nr_used > 0)
        drv_collect(w, 64);
}

static void drv_sleep(struct world *w)
{
    bool pending;

    drv_publish(w);
    pending = vio_drvq_arm_call(w->drv);
    if (pending != (w->nr_used > 0))
        FAIL("arm_call says %d with %u used", pending, w->nr_used);
    world_armed(w, &w->driver_side, pending);
    /* With nothing to wait for, a driver that has work left goes on. */
    if (!pending && w->fifo_nr + w->nr_held + w->nr_put > 0)
        w->driver_side.asleep = true;
}

/* Buffers that this run may still put. */
static uint32_t wanted(const struct world *w)
{
    uint64_t out = w->done + (w->cfg.size - w->nr_idle);

    return out < w->cfg.buffers ? (uint32_t)(w->cfg.buffers - out) : 0;
}

static void drv_step(struct world *w)
{
    uint32_t what = rng_below(&w->rng, 100);

    if (what < 45) {
        uint32_t burst = rng_below(&w->rng, 4) == 0 ? w->cfg.size : rng_range(&w->rng, 1, 8);

        if (w->cfg.express && rng_below(&w->rng, 3) != 0 && wanted(w) > 0)
            put_express(w, vio_min_u32(burst, wanted(w)));
        while (burst-- > 0 && wanted(w) > 0 && put_one(w))
            ;
        if (rng_below(&w->rng, 8) == 0)
            world_rewind(w);
        else if (rng_below(&w->rng, 8) != 0)
            drv_publish(w);
    } else if (what < 80) {
        drv_collect(w, rng_below(&w->rng, 3) == 0 ? 64 : rng_range(&w->rng, 1, 5));
    } else if (what < 95) {
        drv_sleep(w);
    } else {
        vio_drvq_disarm_call(w->drv);
        world_disarmed(w, &w->driver_side, false);
    }
}

/* ------------------------------------------------------------------ both */

static struct vio_features features_of(const struct world_cfg *c)
{
    struct vio_features f = vio_features_of(VIO_FEATURE(VIRTIO_F_VERSION_1) | VIO_FEATURE(VIRTIO_F_NOTIFICATION_DATA));

    if (c->packed)
        vio_features_set(&f, VIRTIO_F_RING_PACKED);
    if (c->indirect)
        vio_features_set(&f, VIRTIO_F_INDIRECT_DESC);
    if (c->event_idx)
        vio_features_set(&f, VIRTIO_F_EVENT_IDX);
    if (c->in_order)
        vio_features_set(&f, VIRTIO_F_IN_ORDER);
    return f;
}

void world_start_dev(struct world *w, const struct vio_queue_state *state, bool fresh_record)
{
    struct vio_devq_params p = { .cfg = &w->queue, .features = w->features, .priv_size = 16 };
    enum vio_fault fault;

    w->queue = (struct vio_queue_cfg){
        .size = w->cfg.size,
        .ready = true,
        .desc = w->guest->desc,
        .driver = w->guest->driver,
        .device = w->guest->device,
        .log_used = true,
        .log_addr = w->guest->device,
        .state = *state,
    };
    p.map = vio_memory_map(w->guest->memory);
    if (w->cfg.inflight) {
        if (fresh_record)
            memset(w->record, 0, vio_inflight_bytes(w->cfg.size, w->cfg.packed));
        vio_inflight_init(&w->inflight, w->record, w->cfg.size, w->cfg.packed, fresh_record);
        p.inflight = &w->inflight;
    }
    w->dev_bytes = vio_devq_bytes(&p);
    w->dev_mem = queue_mem(w->dev_bytes);
    fault = vio_devq_start(w->dev_mem, &p, &w->dev);
    if (fault != VIO_FAULT_NONE)
        FAIL("the queue does not start: %s", vio_fault_name(fault));
    w->device_side.wish = WISH_ANY;
    w->too_few = 0;
    w->device_side.armed = true;
    w->device_side.asleep = false;
}

void world_stop_dev(struct world *w, struct vio_queue_state *state)
{
    vio_devq_stop(w->dev, state);
    queue_mem_free(w->dev_mem, w->dev_bytes);
    w->dev = NULL;
    w->dev_mem = NULL;
}

void world_start_drv(struct world *w, const struct vio_queue_state *resume)
{
    struct vio_drvq_params p = {
        .size = w->cfg.size,
        .features = w->features,
        .desc = w->guest->desc_host,
        .driver = w->guest->driver_host,
        .device = w->guest->device_host,
        .indirect = w->cfg.indirect ? w->guest->table_host : NULL,
        .indirect_addr = w->guest->table,
        .indirect_max = w->cfg.table_max,
        .in_turn = w->cfg.in_turn,
        .resume = resume,
    };

    if (w->drv_mem != NULL)
        queue_mem_free(w->drv_mem, w->drv_bytes);
    w->drv_bytes = vio_drvq_bytes(&p);
    w->drv_mem = queue_mem(w->drv_bytes);
    if (vio_drvq_start(w->drv_mem, &p, &w->drv) != 0)
        FAIL("the driver's queue does not start");
    w->driver_side.wish = WISH_ANY;
    w->driver_side.armed = true;
    w->driver_side.asleep = false;
}

static void world_init(struct world *w)
{
    struct guest_cfg g = {
        .size = w->cfg.size,
        .packed = w->cfg.packed,
        .table_bytes = w->cfg.indirect ? (uint32_t)w->cfg.size * w->cfg.table_max * 16 : 0,
        .payload_size = w->cfg.payload,
        .tiny = w->cfg.tiny,
    };
    struct vio_queue_state start = vio_queue_state_initial(w->cfg.packed);

    w->features = features_of(&w->cfg);
    w->guest = guest_create(&g, &w->rng);
    w->buf = must(calloc(w->cfg.size, sizeof(*w->buf)));
    w->idle = must(calloc(room(w), sizeof(uint32_t)));
    w->held = must(calloc(room(w), sizeof(uint32_t)));
    w->fresh = must(calloc(room(w), sizeof(uint32_t)));
    w->fifo_room = room(w);
    w->fifo = must(calloc(w->fifo_room, sizeof(uint32_t)));
    w->shadow = must(malloc(w->cfg.payload));
    w->scratch = must(malloc(w->cfg.payload + 16));
    guest_read(w->guest, w->guest->payload, w->shadow, w->cfg.payload);
    for (uint32_t i = 0; i < w->cfg.size; i++)
        w->idle[w->nr_idle++] = i;
    if (w->cfg.inflight)
        w->record = must(calloc(1, vio_inflight_bytes(w->cfg.size, w->cfg.packed)));
    start.avail_idx = start.used_idx = w->pub_idx = w->cfg.start;
    w->pub_wrap = w->cfg.packed;
    if (w->cfg.start != 0) {
        /* A ring that has come this far: the used index stands in memory, and so does the driver's. */
        if (!w->cfg.packed) {
            le_set16((uint16_t *)w->guest->driver_host + 1, w->cfg.start);
            le_set16((uint16_t *)w->guest->device_host + 1, w->cfg.start);
        }
        /* Packed: what lies before was used in this lap. */
        for (uint32_t i = 0; w->cfg.packed && i < w->cfg.start; i++)
            le_set16((uint16_t *)w->guest->desc_host + i * 8 + 7, VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
        world_start_drv(w, &start);
    } else {
        world_start_drv(w, NULL);
    }
    world_start_dev(w, &start, true);
}

static void world_free(struct world *w)
{
    struct vio_queue_state state;

    world_stop_dev(w, &state);
    queue_mem_free(w->drv_mem, w->drv_bytes);
    guest_destroy(w->guest);
    for (uint32_t i = 0; i < w->cfg.size; i++) {
        free(w->buf[i].piece);
        free(w->buf[i].in);
        free(w->buf[i].out);
    }
    free(w->buf);
    free(w->idle);
    free(w->held);
    free(w->fresh);
    free(w->fifo);
    free(w->shadow);
    free(w->scratch);
    free(w->record);
}

static void step(struct world *w)
{
    bool device_can = !w->device_side.asleep || w->nr_held > 0 || w->unpublished || w->too_few > 0;
    bool driver_can = !w->driver_side.asleep;
    bool device;

    if (!device_can && !driver_can) {
        if (w->driver_side.due == 0 && w->device_side.due == 0)
            FAIL("both sides sleep: %u available, %u used and not seen", w->fifo_nr, w->nr_used);
        return; /* time passes */
    }
    device = device_can && (!driver_can || rng_below(&w->rng, 2) == 0);
    if (w->logging)
        world_log_before(w);
    if (device)
        world_dev_step(w);
    else
        drv_step(w);
    if (w->logging)
        world_log_after(w, device);
}

void world_run(const struct world_cfg *cfg, struct world_result *result)
{
    struct world *w = must(calloc(1, sizeof(*w)));
    uint64_t limit = 100000 + (uint64_t)cfg->buffers * 400;

    test_context("%s size %u%s%s%s%s%s%s%s start %u pieces %u: seed %llu", cfg->packed ? "packed" : "split", cfg->size,
                 cfg->in_turn ? " in-turn" : "", cfg->express ? " express" : "",
                 cfg->indirect ? " indirect" : "", cfg->event_idx ? " event-idx" : "", cfg->in_order ? " in-order" : "",
                 cfg->inflight ? " inflight" : "", cfg->tiny ? " tiny" : "", cfg->start, cfg->pieces,
                 (unsigned long long)cfg->seed);
    w->cfg = *cfg;
    w->rng = rng_of(cfg->seed);
    world_init(w);
    while (w->done < cfg->buffers || w->nr_idle < cfg->size || w->logging) {
        if (++w->now > limit)
            FAIL("no end after %llu steps: %llu of %u done", (unsigned long long)limit, (unsigned long long)w->done,
                 cfg->buffers);
        deliver(w, &w->driver_side);
        deliver(w, &w->device_side);
        if (!world_trouble(w))
            step(w);
    }
    guest_read(w->guest, w->guest->payload, w->scratch, cfg->payload);
    if (memcmp(w->scratch, w->shadow, cfg->payload) != 0)
        FAIL("bytes outside the buffers have changed");
    w->result.steps = w->now;
    if (result != NULL)
        *result = w->result;
    world_free(w);
    free(w);
}
