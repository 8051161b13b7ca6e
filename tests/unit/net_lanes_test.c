/* SPDX-License-Identifier: MIT */
/*
 * A network device of several lanes: which queue is whose, which backend hears what, what is offered; then under the
 * command's own workers, a thread a lane, with traffic both ways in each while the control thread gives commands, parks,
 * disables, stops and saves. Most of what the latter finds, it finds under the thread sanitizer.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cli/worker.h"
#include "device/net_internal.h"
#include "rig.h"
#include "spec/virtio.h"

enum { PAIRS = 4, LANES = 2, CTRL = 2 * PAIRS, SIZE = 64, FRAME = 64, BUFFER = 128, BURST = 16, NO_MORE = -1 };

/* ------------------------------------------------------------------ a backend of lanes */

/* Each frame goes to all, and has its lane and a running number behind the addresses. */
struct lane {
    struct vio_net_backend head;
    unsigned number;
    const struct vio_net_sink *sink;
    bool started, used;
    unsigned uses, offloads_told, offloads, sent;
    uint64_t next;
    int endless; /* poll() has frames as long as there are buffers */
    struct lane *first;
    unsigned opened, closed; /* of the first */
    int open_fails;
};

static struct lane *lane_of(struct vio_net_backend *b)
{
    return (struct lane *)(void *)b;
}

static void lane_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    (void)b;
    *info = (struct vio_net_info){ .takes = VIO_NET_OFFLOADS, .gives = VIO_NET_OFFLOADS };
}

static void lane_destroy(struct vio_net_backend *b)
{
    struct lane *l = lane_of(b);

    l->first->closed++;
    if (l->first != l)
        free(l);
}

static int lane_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    lane_of(b)->sink = sink;
    lane_of(b)->started = true;
    return 0;
}

static void lane_stop(struct vio_net_backend *b)
{
    lane_of(b)->started = false;
}

static void lane_offloads(struct vio_net_backend *b, unsigned guest)
{
    lane_of(b)->offloads = guest;
    lane_of(b)->offloads_told++;
}

static void lane_use(struct vio_net_backend *b, bool use)
{
    lane_of(b)->used = use;
    lane_of(b)->uses++;
}

static unsigned lane_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    (void)p;
    lane_of(b)->sent += n;
    return n;
}

/* How many of n frames are gone. */
static unsigned deliver(struct lane *l, unsigned n)
{
    uint8_t frame[BURST][FRAME];
    struct vio_seg seg[BURST];
    struct vio_net_packet p[BURST];
    unsigned done;

    for (unsigned i = 0; i < n; i++) {
        uint64_t number = l->next + i;

        memset(frame[i], 0xff, 6);
        memset(frame[i] + 6, 0, FRAME - 6);
        frame[i][14] = (uint8_t)l->number;
        memcpy(frame[i] + 16, &number, sizeof(number));
        seg[i] = (struct vio_seg){ frame[i], FRAME };
        p[i] = (struct vio_net_packet){ .len = FRAME, .nr = 1, .seg = &seg[i] };
    }
    done = l->sink->deliver(l->sink->ctx, p, n);
    l->next += done;
    l->sink->flush(l->sink->ctx);
    return done;
}

static unsigned lane_poll(struct vio_net_backend *b, unsigned budget)
{
    struct lane *l = lane_of(b);

    return l->endless ? deliver(l, budget < BURST ? budget : BURST) : 0;
}

static int lane_fd(struct vio_net_backend *b)
{
    (void)b;
    return -1;
}

static void lane_counters(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    line(ctx, "number", lane_of(b)->number + 1);
    if (lane_of(b)->number == 1)
        line(ctx, "only_second", 7);
}

static int lane_open(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size);

static const struct vio_net_ops lane_ops = {
    .name = "lanes",
    .info = lane_info,
    .destroy = lane_destroy,
    .start = lane_start,
    .stop = lane_stop,
    .offloads = lane_offloads,
    .send = lane_send,
    .poll = lane_poll,
    .fd = lane_fd,
    .open_lane = lane_open,
    .use = lane_use,
    .counters = lane_counters,
};

static int lane_open(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size)
{
    struct lane *first = lane_of(b), *l;

    if (first->open_fails != 0 && first->opened + 1 >= (unsigned)first->open_fails)
        return vio_device_refuse(why, why_size, "no lane %u", first->opened + 1);
    l = calloc(1, sizeof(*l));
    assert_non_null(l);
    l->head.ops = &lane_ops;
    l->first = first;
    l->number = ++first->opened;
    l->endless = first->endless;
    *out = &l->head;
    return 0;
}

/* ------------------------------------------------------------------ both ends */

struct bench {
    struct rig rig;
    struct lane first;
    struct net *net;
    struct rig_at command, answer;
    char why[200];
};

static struct bench bench;

static int create(uint16_t pairs, uint16_t lanes, const struct vio_host_ops *host, void *host_ctx)
{
    struct vio_device_params device = { .name = "net0", .log = &bench.rig.log, .host = host, .host_ctx = host_ctx };
    struct vio_net_params params = {
        .backend = &bench.first.head, .pairs = pairs, .lanes = lanes, .queue_size_max = 256, .device = &device,
    };
    struct vio_device *dev;
    int ret;

    bench.first.head.ops = &lane_ops;
    bench.first.first = &bench.first;
    ret = vio_net_create(&params, &dev, bench.why, sizeof(bench.why));
    if (ret == 0) {
        bench.net = vio_device_self(dev);
        rig_device(&bench.rig, dev);
        bench.command = rig_alloc(&bench.rig, 4096);
        bench.answer = rig_alloc(&bench.rig, 4096);
    }
    return ret;
}

static struct lane *lane(unsigned i)
{
    return lane_of(bench.net->lane[i].backend);
}

static int setup(void **state)
{
    (void)state;
    memset(&bench, 0, sizeof(bench));
    rig_init(&bench.rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_free(&bench.rig);
    return 0;
}

static void put_command(uint8_t class_, uint8_t command, const void *data, uint32_t bytes)
{
    struct vio_buf bufs[2] = { { bench.command.gpa, bytes + 2 }, { bench.answer.gpa, 4096 } };

    bench.command.host[0] = class_;
    bench.command.host[1] = command;
    if (bytes > 0)
        memcpy(bench.command.host + 2, data, bytes);
    bench.answer.host[0] = 0xff;
    assert_int_equal(vio_drvq_put(bench.rig.queue[CTRL].drv, bufs, 1, 1, 5), 0);
    (void)!vio_drvq_publish(bench.rig.queue[CTRL].drv);
}

/* With no host: all threads are this one. */
static uint8_t command(uint8_t class_, uint8_t cmd, const void *data, uint32_t bytes)
{
    struct vio_done done;

    put_command(class_, cmd, data, bytes);
    rig_serve(&bench.rig, CTRL);
    assert_int_equal(vio_drvq_collect(bench.rig.queue[CTRL].drv, &done, 1), 1);
    return bench.answer.host[0];
}

static uint8_t set_pairs(uint16_t pairs)
{
    vio_le16 wire = vio_le16_of(pairs);

    return command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &wire, sizeof(wire));
}

static void start(void)
{
    assert_int_equal(create(PAIRS, LANES, NULL, NULL), 0);
    rig_start(&bench.rig, vio_device_offered(bench.rig.dev), SIZE);
}

static void post(uint16_t queue, unsigned n)
{
    struct rig_at at = rig_alloc(&bench.rig, BUFFER);
    struct vio_buf buf = { at.gpa, BUFFER };

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(vio_drvq_put(bench.rig.queue[queue].drv, &buf, queue % 2, !(queue % 2), i), 0);
    (void)!vio_drvq_publish(bench.rig.queue[queue].drv);
}

static unsigned collect(uint16_t queue)
{
    struct vio_done done[SIZE];

    return vio_drvq_collect(bench.rig.queue[queue].drv, done, SIZE);
}

/* ------------------------------------------------------------------ one thread */

static void the_offer_has_no_rss(void **state)
{
    (void)state;
    start();
    assert_false(vio_features_has(vio_device_offered(bench.rig.dev), VIRTIO_NET_F_RSS));
    assert_true(vio_features_has(vio_device_offered(bench.rig.dev), VIRTIO_NET_F_HASH_REPORT));
    assert_true(vio_features_has(vio_device_offered(bench.rig.dev), VIRTIO_NET_F_MQ));
    for (uint16_t i = 0; i < CTRL; i++)
        assert_int_equal(vio_device_queue_lane(bench.rig.dev, i), i / 2 % LANES);
    assert_int_equal(vio_device_queue_lane(bench.rig.dev, CTRL), 0);
}

static void one_lane_is_as_before(void **state)
{
    (void)state;
    assert_int_equal(create(PAIRS, 0, NULL, NULL), 0);
    assert_true(vio_features_has(vio_device_offered(bench.rig.dev), VIRTIO_NET_F_RSS));
    rig_start(&bench.rig, vio_device_offered(bench.rig.dev), SIZE);
    assert_int_equal(vio_device_queue_lane(bench.rig.dev, 5), 0);
    assert_int_equal(lane(0)->uses, 0);
}

static void frames_stay_in_their_lane(void **state)
{
    const uint64_t nobody = 1;

    (void)state;
    (void)nobody;
    start();
    assert_int_equal(set_pairs(LANES), VIRTIO_NET_OK);
    post(0, 8);
    post(2, 8);
    assert_int_equal(deliver(lane(1), 5), 5);
    assert_int_equal(collect(0), 0);
    assert_int_equal(collect(2), 5);
    assert_int_equal(deliver(lane(0), 3), 3);
    assert_int_equal(collect(0), 3);
    assert_int_equal(deliver(lane(1), 5), 3); /* its buffers end; the other's are not its own */
    for (uint16_t i = 1; i < CTRL; i = (uint16_t)(i + 2)) {
        post(i, i);
        rig_serve(&bench.rig, i);
        assert_int_equal(collect(i), i);
    }
    assert_int_equal(lane(0)->sent, 1 + 5);
    assert_int_equal(lane(1)->sent, 3 + 7);
}

/* 5.1.9.5.5: no packet to a pair that is not in use; and the backend hears that none is wanted. */
static void pairs_in_use(void **state)
{
    struct vio_net_counters c;

    (void)state;
    start();
    post(2, 8);
    post(6, 8);
    assert_true(lane(0)->used);
    assert_false(lane(1)->used);
    assert_true(lane(1)->started); /* it may send */
    assert_int_equal(deliver(lane(1), 5), 5);
    vio_net_counters(bench.rig.dev, &c);
    assert_int_equal(c.rx_no_buffer, 5);
    assert_int_equal(collect(2), 0);
    assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
    assert_true(lane(1)->used);
    assert_int_equal(deliver(lane(1), 5), 5);
    assert_int_equal(collect(2), 5);
    assert_int_equal(vio_device_queue_enable(bench.rig.dev, 2, false), 0); /* as QEMU says it */
    assert_false(lane(1)->used);
    assert_int_equal(vio_device_queue_enable(bench.rig.dev, 2, true), 0);
    assert_true(lane(1)->used);
    assert_int_equal(set_pairs(1), VIRTIO_NET_OK);
    assert_false(lane(1)->used);
    assert_int_equal(deliver(lane(1), 5), 5);
    assert_int_equal(collect(2), 0);
    assert_int_equal(set_pairs(PAIRS), VIRTIO_NET_OK);
    assert_true(lane(1)->used);
    vio_device_reset(bench.rig.dev);
    assert_false(lane(0)->used);
    assert_false(lane(1)->used);
    assert_false(lane(1)->started);
}

/* Two pairs in one lane: flows are spread over these. */
static void a_lane_of_two_pairs(void **state)
{
    unsigned got;

    (void)state;
    start();
    assert_int_equal(set_pairs(PAIRS), VIRTIO_NET_OK);
    post(2, 40);
    post(6, 40);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(deliver(lane(1), BURST), BURST);
    got = collect(2);
    assert_int_equal(got + collect(6), 2 * BURST);
    assert_int_equal(collect(0) + collect(4), 0);
}

static void offloads_reach_all(void **state)
{
    vio_le64 none = vio_le64_of(0);

    (void)state;
    start();
    assert_true(lane(0)->offloads & VIO_NET_TSO4);
    assert_true(lane(1)->offloads & VIO_NET_TSO4);
    assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &none, sizeof(none)),
                     VIRTIO_NET_OK);
    assert_int_equal(lane(0)->offloads, 0);
    assert_int_equal(lane(1)->offloads, 0);
}

struct lines {
    uint64_t number, only_second;
};

static void take_line(void *ctx, const char *name, uint64_t value)
{
    struct lines *l = ctx;

    *(strcmp(name, "number") == 0 ? &l->number : &l->only_second) += value;
}

static void counters_are_sums(void **state)
{
    struct lines lines = { 0 };
    struct vio_net_counters c;

    (void)state;
    start();
    assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
    post(0, 8);
    post(2, 8);
    assert_int_equal(deliver(lane(0), 3), 3);
    assert_int_equal(deliver(lane(1), 4), 4);
    vio_net_counters(bench.rig.dev, &c);
    assert_int_equal(c.rx_packets, 7);
    assert_int_equal(c.rx_bytes, 7 * FRAME);
    vio_net_backend_counters(bench.rig.dev, take_line, &lines);
    assert_int_equal(lines.number, 1 + 2);
    assert_int_equal(lines.only_second, 7);
}

static void one_announcement(void **state)
{
    const uint8_t mac[] = { 0x52, 0x54, 0, 0, 0, 7 };

    (void)state;
    start();
    assert_int_equal(vio_net_rarp(bench.rig.dev, mac), 0);
    for (uint16_t i = 0; i <= CTRL; i++)
        rig_serve(&bench.rig, i);
    assert_int_equal(lane(0)->sent + lane(1)->sent, 1);
}

static void what_cannot_be(void **state)
{
    struct vio_net_ops one = lane_ops;

    (void)state;
    assert_int_equal(create(2, 3, NULL, NULL), -EINVAL);
    assert_non_null(strstr(bench.why, "3 lanes"));
    bench.first.open_fails = 2;
    assert_int_equal(create(PAIRS, 3, NULL, NULL), -EINVAL);
    assert_non_null(strstr(bench.why, "no lane 2"));
    assert_int_equal(bench.first.closed, 1); /* the one that was opened; the first stays the caller's */
    one.open_lane = NULL;
    bench.first.head.ops = &one;
    {
        struct vio_device_params device = { .name = "net0", .log = &bench.rig.log };
        struct vio_net_params params = { .backend = &bench.first.head, .pairs = 2, .lanes = 2, .device = &device };
        struct vio_device *dev;

        assert_int_equal(vio_net_create(&params, &dev, bench.why, sizeof(bench.why)), -ENOTSUP);
        assert_non_null(strstr(bench.why, "one thread"));
    }
    bench.first.open_fails = 0;
    bench.first.opened = bench.first.closed = 0;
    start();
    vio_device_destroy(bench.rig.dev);
    bench.rig.dev = NULL;
    assert_int_equal(bench.first.closed, LANES);
}

/* ------------------------------------------------------------------ a thread a lane */

struct world {
    struct worker_pool *pool;
    struct worker_group *group;
    atomic_uint woken;
    atomic_bool over;
};

static struct world world;

static void wake(void *ctx, struct vio_device *dev)
{
    (void)dev;
    atomic_store(&((struct world *)ctx)->woken, 1);
}

static void control(void)
{
    if (atomic_exchange(&world.woken, 0) > 0)
        vio_device_control(bench.rig.dev);
}

/* One queue's driver: puts buffers, collects them, looks at what came. */
struct driver {
    pthread_t thread;
    uint16_t queue;
    struct rig_at at[SIZE];
    unsigned wrong;
    uint64_t last;
    _Atomic uint64_t done;
};

static void check_frame(struct driver *d, const uint8_t *at, uint32_t len)
{
    uint64_t number;

    memcpy(&number, at + VIRTIO_NET_HDR_BYTES + 16, sizeof(number));
    d->wrong += len != VIRTIO_NET_HDR_BYTES + FRAME;
    d->wrong += at[VIRTIO_NET_HDR_BYTES + 14] != d->queue / 2 % LANES;
    d->wrong += number < d->last; /* frames that were dropped leave gaps; none comes twice or out of order */
    d->last = number + 1;
}

static void put_one(struct driver *d, uint64_t slot)
{
    bool rx = d->queue % 2 == 0;
    struct vio_buf buf = { d->at[slot].gpa, rx ? BUFFER : VIRTIO_NET_HDR_BYTES + FRAME };

    d->wrong += vio_drvq_put(bench.rig.queue[d->queue].drv, &buf, !rx, rx, slot) != 0;
}

static void *drive(void *ctx)
{
    struct driver *d = ctx;
    struct vio_drvq *q = bench.rig.queue[d->queue].drv;
    struct vio_done done[SIZE];

    for (unsigned i = 0; i < SIZE; i++)
        put_one(d, i);
    (void)!vio_drvq_publish(q);
    while (!atomic_load(&world.over)) {
        unsigned n = vio_drvq_collect(q, done, SIZE);

        for (unsigned i = 0; i < n; i++) {
            if (d->queue % 2 == 0)
                check_frame(d, d->at[done[i].token].host, done[i].len);
            put_one(d, done[i].token);
        }
        if (n > 0)
            (void)!vio_drvq_publish(q);
        else
            sched_yield();
        atomic_fetch_add_explicit(&d->done, n, memory_order_relaxed);
    }
    return NULL;
}

/* The control thread's loop goes on while the answer is awaited. */
static uint8_t ask(uint8_t class_, uint8_t cmd, const void *data, uint32_t bytes)
{
    struct vio_done done;
    time_t until = time(NULL) + 30;

    put_command(class_, cmd, data, bytes);
    while (vio_drvq_collect(bench.rig.queue[CTRL].drv, &done, 1) == 0) {
        control();
        sched_yield();
        assert_true(time(NULL) < until);
    }
    return bench.answer.host[0];
}

static uint64_t received(uint16_t queue)
{
    struct vio_queue_counters c;

    vio_device_queue_counters(bench.rig.dev, queue, &c);
    return c.buffers;
}

/* After the answer nothing comes to a pair that is not in use any more. */
static void ask_pairs(uint16_t pairs)
{
    struct timespec a_while = { .tv_nsec = 300000 };
    vio_le16 wire = vio_le16_of(pairs);
    uint64_t before[PAIRS];

    assert_int_equal(ask(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &wire, sizeof(wire)), VIRTIO_NET_OK);
    for (uint16_t i = pairs; i < PAIRS; i++)
        before[i] = received((uint16_t)(2 * i));
    nanosleep(&a_while, NULL);
    for (uint16_t i = pairs; i < PAIRS; i++)
        assert_int_equal(received((uint16_t)(2 * i)), before[i]);
}

/* And nothing that a filter keeps away. */
static void ask_no_broadcast(void)
{
    struct timespec a_while = { .tv_nsec = 300000 };
    struct vio_net_counters before, after;
    uint8_t on = 1, off = 0;

    assert_int_equal(ask(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, &on, 1), VIRTIO_NET_OK);
    vio_net_counters(bench.rig.dev, &before);
    nanosleep(&a_while, NULL);
    vio_net_counters(bench.rig.dev, &after);
    assert_int_equal(after.rx_packets, before.rx_packets);
    assert_int_equal(ask(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, &off, 1), VIRTIO_NET_OK);
}

static void ask_offloads(unsigned round)
{
    vio_le64 wire = vio_le64_of(round % 2 ? VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) : 0);

    assert_int_equal(ask(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wire, sizeof(wire)),
                     VIRTIO_NET_OK);
}

static void ask_coalescing(unsigned round)
{
    vio_le32 wire[] = { vio_le32_of(round % 32), vio_le32_of(50) };

    assert_int_equal(ask(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, wire, sizeof(wire)), VIRTIO_NET_OK);
    assert_int_equal(ask(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, wire, sizeof(wire)), VIRTIO_NET_OK);
}

static void ask_statistics(void)
{
    struct virtio_net_stats_want want[CTRL];

    for (uint16_t i = 0; i < CTRL; i++)
        want[i] = (struct virtio_net_stats_want){
            .vq_index = vio_le16_of(i),
            .types_bitmap = vio_le64_of(UINT64_C(1) << (i % 2 ? VIRTIO_NET_STATS_TX_BASIC : VIRTIO_NET_STATS_RX_BASIC)),
        };
    assert_int_equal(ask(VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, want, sizeof(want)), VIRTIO_NET_OK);
}

static void stop_and_save(unsigned round)
{
    uint8_t *bytes;
    size_t size;

    vio_device_pause(bench.rig.dev);
    assert_int_equal(vio_device_save(bench.rig.dev, &bytes, &size), 0);
    if (round % 2)
        assert_int_equal(vio_device_load(bench.rig.dev, bytes, size), 0);
    free(bytes);
    assert_int_equal(vio_device_resume(bench.rig.dev), 0);
}

static void disturb(unsigned round)
{
    const uint8_t mac[] = { 0x52, 0x54, 0, 0, 0, 7 };
    struct vio_device *dev = bench.rig.dev;
    uint16_t queue = (uint16_t)(round % CTRL);

    switch (round % 11) {
    case 0: ask_pairs(PAIRS); break;
    case 1: ask_no_broadcast(); break;
    case 2: ask_offloads(round); break;
    case 3: ask_coalescing(round); break;
    case 4: ask_statistics(); break;
    case 5: ask_pairs((uint16_t)(1 + round % PAIRS)); break;
    case 6:
        assert_int_equal(vio_device_queue_enable(dev, queue, false), 0);
        assert_int_equal(vio_device_queue_enable(dev, queue, true), 0);
        break;
    case 7:
        vio_device_memory_begin(dev, round % 2);
        vio_device_memory_end(dev);
        break;
    case 8:
        vio_net_set_link(dev, false);
        vio_net_set_link(dev, true);
        break;
    case 9:
        assert_int_equal(vio_net_rarp(dev, mac), 0);
        break;
    default: stop_and_save(round); break;
    }
    control();
}

static void under_load(struct vio_features without)
{
    struct worker_group_params group = { .threads = LANES, .poll = WORKER_POLL_AUTO, .wake = wake, .wake_ctx = &world };
    static struct driver drivers[CTRL];
    struct vio_net_counters c;
    unsigned round = 0;
    uint64_t least = 0;

    memset(drivers, 0, sizeof(drivers));
    bench.first.endless = 1;
    bench.rig.log.level = VIO_LOG_ERROR;
    atomic_store(&world.over, false);
    assert_int_equal(worker_pool_create(0, &bench.rig.log, &world.pool), 0);
    assert_int_equal(worker_group_create(world.pool, &group, &world.group), 0);
    assert_int_equal(create(PAIRS, LANES, &worker_host_ops, world.group), 0);
    for (uint16_t i = 0; i < CTRL; i++) {
        drivers[i].queue = i;
        for (unsigned k = 0; k < SIZE; k++)
            drivers[i].at[k] = rig_alloc(&bench.rig, BUFFER);
    }
    rig_start(&bench.rig, vio_features_minus(vio_device_offered(bench.rig.dev), without), SIZE);
    assert_int_equal(worker_pool_running(world.pool), LANES);
    for (uint16_t i = 0; i < CTRL; i++)
        assert_int_equal(pthread_create(&drivers[i].thread, NULL, drive, &drivers[i]), 0);
    while (round < 110 || (least < 500 && round < 4000)) {
        disturb(round++);
        least = UINT64_MAX;
        for (uint16_t i = 0; i < CTRL; i++)
            if (i % 2 == 1 || i < 2 * LANES) /* chance may spread all flows of a lane to one of its pairs */
                least = vio_min_u64(least, atomic_load_explicit(&drivers[i].done, memory_order_relaxed));
    }
    assert_true(least >= 500);
    atomic_store(&world.over, true);
    for (uint16_t i = 0; i < CTRL; i++) {
        pthread_join(drivers[i].thread, NULL);
        assert_int_equal(drivers[i].wrong, 0);
        assert_int_equal(vio_drvq_fault(bench.rig.queue[i].drv), VIO_FAULT_NONE);
    }
    vio_net_counters(bench.rig.dev, &c);
    assert_int_equal(c.rx_bytes, c.rx_packets * FRAME);
    vio_device_reset(bench.rig.dev);
    assert_int_equal(bench.rig.needs_reset, 0);
    vio_device_destroy(bench.rig.dev);
    bench.rig.dev = NULL;
    worker_group_destroy(world.group);
    worker_pool_destroy(world.pool);
}

static void split_under_load(void **state)
{
    (void)state;
    under_load(vio_features_or(vio_features_of(VIO_FEATURE(VIRTIO_F_RING_PACKED)),
                               vio_features_of(VIO_FEATURE(VIRTIO_NET_F_HASH_REPORT) | VIO_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE))));
}

static void packed_under_load(void **state)
{
    (void)state;
    under_load(vio_features_of(VIO_FEATURE(VIRTIO_NET_F_HASH_REPORT)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_offer_has_no_rss), TEST(one_lane_is_as_before), TEST(frames_stay_in_their_lane),
        TEST(pairs_in_use),         TEST(a_lane_of_two_pairs),   TEST(offloads_reach_all),
        TEST(counters_are_sums),    TEST(one_announcement),      TEST(what_cannot_be),
        TEST(split_under_load),     TEST(packed_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
