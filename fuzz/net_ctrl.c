/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzzes the network device's control queue: any features, any command in any framing, answers with any room,
 * resets, and a saved state after any of it. Input: pairs, feature bits not accepted, then operations.
 * Checked: after each command the driver's state is one that the data path may use without a look; a state that was
 * saved is taken back, the same; after all of it a plain command works.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_net.h"
#include "fuzz.h"
#include "rig.h"
#include "spec/virtio.h"

enum { PAIRS_MAX = 3, RING = 32, ARENA = 8192, ANSWER = 1024, PIECES_MAX = 8, RESTARTS_MAX = 20 };

struct run {
    struct rig rig;
    struct fake_net fake;
    struct vio_features features;
    struct rig_at arena, answer;
    uint64_t ring_from; /* what rings occupy of the driver's memory */
    unsigned restarts;
};

/* ------------------------------------------------------------------ what must hold */

static void check_state(const struct net *net)
{
    const struct net_filter *f = &net->filter;
    const struct net_rss *rss = &net->rss;

    FUZZ_CHECK(net->active_pairs >= 1 && net->active_pairs <= net->usable_pairs && net->usable_pairs <= net->pairs);
    FUZZ_CHECK((net->guest_offloads & ~virtio_net_guest_offloads(net->features)) == 0);
    FUZZ_CHECK(f->nr_uni <= NET_MAC_TABLE_MAX && f->nr_multi <= NET_MAC_TABLE_MAX);
    FUZZ_CHECK((f->mac[0] & 1) == 0);
    FUZZ_CHECK(rss->mask < NET_RSS_TABLE_MAX && (rss->mask & (rss->mask + 1)) == 0);
    FUZZ_CHECK((rss->types & ~(uint32_t)NET_HASH_TYPES) == 0 && rss->unclassified < net->usable_pairs);
    FUZZ_CHECK(!rss->steer || vio_features_has(net->features, VIRTIO_NET_F_RSS));
    for (unsigned i = 0; i < NET_RSS_TABLE_MAX; i++)
        FUZZ_CHECK(rss->table[i] < net->usable_pairs);
    for (uint16_t i = 0; i < net->queues; i++)
        FUZZ_CHECK(!net->queue[i].coalesces || (i < 2 * net->usable_pairs && net->has_ctrl));
}

/* Loaded, it is saved as the same bytes. */
static void save_and_load(struct run *r)
{
    uint8_t *before, *after;
    size_t size, again;

    vio_device_pause(r->fake.dev);
    FUZZ_CHECK(vio_device_save(r->fake.dev, &before, &size) == 0);
    vio_device_reset(r->fake.dev);
    FUZZ_CHECK(vio_device_load(r->fake.dev, before, size) == 0);
    check_state(r->fake.net);
    FUZZ_CHECK(vio_device_save(r->fake.dev, &after, &again) == 0);
    FUZZ_CHECK(size == again && memcmp(before, after, size) == 0);
    free(before);
    free(after);
    (void)!vio_device_resume(r->fake.dev);
}

/* ------------------------------------------------------------------ operations */

static void start(struct run *r)
{
    r->rig.next = r->ring_from;
    rig_start(&r->rig, r->features, RING);
}

static void restart(struct run *r)
{
    if (r->restarts++ >= RESTARTS_MAX)
        return;
    vio_device_reset(r->fake.dev);
    check_state(r->fake.net);
    start(r);
}

static void send(struct run *r, const struct vio_buf *bufs, unsigned nr_r, unsigned nr_w)
{
    uint16_t queue = fake_net_ctrl(&r->fake);
    struct vio_drvq *drv = r->rig.queue[queue].drv;
    struct vio_done done[RING];

    if (vio_drvq_put(drv, bufs, nr_r, nr_w, 1) < 0)
        return;
    (void)!vio_drvq_publish(drv);
    if (r->fake.net->has_ctrl)
        rig_serve(&r->rig, queue);
    FUZZ_CHECK(vio_device_queue_in_flight(r->fake.dev, queue) <= RING);
    (void)vio_drvq_collect(drv, done, RING);
    check_state(r->fake.net);
    if (r->rig.needs_reset > 0) {
        r->rig.needs_reset = 0;
        r->restarts = 0;
        restart(r);
    }
}

/* len bytes at an address of the arena, as up to `pieces` pieces of `step` bytes and one of the rest. */
static unsigned split(struct vio_buf *bufs, uint64_t gpa, uint32_t len, unsigned pieces, uint32_t step)
{
    unsigned n = 0;

    for (; step > 0 && len > step && n + 1 < pieces; n++, gpa += step, len -= step)
        bufs[n] = (struct vio_buf){ gpa, step };
    if (len > 0)
        bufs[n++] = (struct vio_buf){ gpa, len };
    return n;
}

/* Class and command near the known ones, data from the input, and then the rest of what lay there before. */
static void command(struct run *r, struct input *in)
{
    struct vio_buf bufs[2 * PIECES_MAX];
    uint8_t shape = input_u8(in), which = input_u8(in), given = input_u8(in);
    uint32_t len = shape & 1 ? input_u16(in) % ARENA : 2u + given;
    uint32_t room = shape & 2 ? input_u16(in) % ANSWER : 1u;
    unsigned nr_r, nr_w;

    r->arena.host[0] = which >> 4;
    r->arena.host[1] = which & 15;
    for (unsigned i = 0; i < given; i++)
        r->arena.host[2 + i] = input_u8(in);
    nr_r = split(bufs, r->arena.gpa, len, PIECES_MAX, shape >> 2 & 7);
    nr_w = split(bufs + nr_r, r->answer.gpa, room, PIECES_MAX, shape >> 5);
    send(r, bufs, nr_r, nr_w);
}

/* A table of receive queues of any size, its end where the size says. */
static void rss(struct run *r, struct input *in)
{
    uint8_t *at = r->arena.host;
    uint16_t mask = (uint16_t)((1u << input_u8(in) % 9) - 1);
    uint8_t key = (uint8_t)(input_u8(in) % 42), entry = input_u8(in);
    uint32_t len = 0;
    struct vio_buf bufs[2];

    at[len++] = VIRTIO_NET_CTRL_MQ;
    at[len++] = VIRTIO_NET_CTRL_MQ_RSS_CONFIG;
    memcpy(at + len, (uint8_t[]){ input_u8(in), 0, 0, 0, (uint8_t)mask, (uint8_t)(mask >> 8), input_u8(in) % 4, 0 }, 8);
    len += 8;
    for (uint32_t i = 0; i <= mask; i++, len += 2) {
        at[len] = (uint8_t)(entry % (1 + i % 4));
        at[len + 1] = 0;
    }
    at[len++] = input_u8(in) % 5;
    at[len++] = 0;
    at[len++] = key;
    len += key;
    bufs[0] = (struct vio_buf){ r->arena.gpa, len };
    bufs[1] = (struct vio_buf){ r->answer.gpa, 1 };
    send(r, bufs, 1, 1);
}

/* Tables of addresses with counts that fit, or nearly. */
static void tables(struct run *r, struct input *in)
{
    uint32_t uni = input_u8(in), multi = input_u16(in) % 512, off = input_u8(in), len = 2;
    vio_le32 count = vio_le32_of(uni);
    struct vio_buf bufs[2];

    r->arena.host[0] = VIRTIO_NET_CTRL_MAC;
    r->arena.host[1] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
    memcpy(r->arena.host + len, &count, 4);
    len += 4 + uni * 6;
    count = vio_le32_of(off == 255 ? UINT32_MAX - multi : multi);
    memcpy(r->arena.host + len, &count, 4);
    len += 4 + multi * 6 + (off < 8 ? off : 0);
    bufs[0] = (struct vio_buf){ r->arena.gpa, len };
    bufs[1] = (struct vio_buf){ r->answer.gpa, 1 };
    send(r, bufs, 1, 1);
}

static void operate(struct run *r, struct input *in)
{
    switch (input_u8(in) % 12) {
    case 0:
        restart(r);
        break;
    case 1:
        if (r->restarts++ < RESTARTS_MAX)
            save_and_load(r);
        break;
    case 2: case 3:
        rss(r, in);
        break;
    case 4: case 5:
        tables(r, in);
        break;
    default:
        command(r, in);
        break;
    }
}

/* ------------------------------------------------------------------ one input */

static void works(struct run *r)
{
    struct vio_buf bufs[] = { { r->arena.gpa, 3 }, { r->answer.gpa, 1 } };

    r->features = vio_device_offered(r->fake.dev);
    r->restarts = 0;
    restart(r);
    memcpy(r->arena.host, "\0\0\1", 3);
    r->answer.host[0] = 0xff;
    send(r, bufs, 1, 1);
    FUZZ_CHECK(r->answer.host[0] == VIRTIO_NET_OK && r->fake.net->filter.promisc);
}

/* Any choice of the driver's; one that is refused becomes a plain one. */
static void choose_features(struct run *r, struct input *in)
{
    struct vio_features without = { { input_u64(in), 0 } };

    vio_features_clear(&without, VIRTIO_F_VERSION_1);
    r->features = vio_features_minus(vio_device_offered(r->fake.dev), without);
    if (net_features_refused(r->fake.net, r->features) != NULL)
        r->features = net_features_fit(r->features);
    FUZZ_CHECK(net_features_refused(r->fake.net, r->features) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run; /* large; made anew each time */
    struct input in = { data, size };

    memset(&run, 0, sizeof(run));
    rig_init(&run.rig);
    fake_net_init(&run.fake);
    FUZZ_CHECK(fake_net_create(&run.fake, (uint16_t)(1 + input_u8(&in) % PAIRS_MAX), NULL) == 0);
    rig_device(&run.rig, run.fake.dev);
    choose_features(&run, &in);
    run.arena = rig_alloc(&run.rig, ARENA);
    run.answer = rig_alloc(&run.rig, ANSWER);
    run.ring_from = run.rig.next;
    start(&run);
    while (in.left > 0)
        operate(&run, &in);
    works(&run);
    rig_free(&run.rig);
    FUZZ_CHECK(run.fake.destroyed == 1);
    return 0;
}
