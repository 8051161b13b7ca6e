/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a hostile neighbour: three devices on one switch, of which one takes no frames, collects none, breaks its rings in
 * a burst, floods with invented addresses, changes frames while they are forwarded, comes and goes, or, where addresses
 * are fixed to ports, says that it is another. What the two
 * others send each other arrives, all of it, in order and unchanged; it is never seen by the third; and of the third's
 * memory nothing is seen by them but the frames it sent. VIO_NEIGHBOUR_ROUNDS: how long each.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vio/net.h>

#include "rig.h"
#include "spec/net.h"
#include "spec/virtio.h"
#include "support/guest.h"
#include "support/rng.h"

enum { SIZE = 256, RX = 0, TX = 1, SLOT = 2048, HDR = VIRTIO_NET_HDR_BYTES, A = 0, B = 1, EVIL = 2, NODES = 3,
       A_BURST = 32, ROUNDS = 300, BUDGET = 64, NUMBER_AT = 14, BYTES_AT = 18 };

#if defined(__SANITIZE_THREAD__)
#define CAN_FLIP false /* frames are copied plainly: that race is the subject, not a finding */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAN_FLIP false
#endif
#endif
#ifndef CAN_FLIP
#define CAN_FLIP true
#endif

static const uint8_t macs[NODES][VIO_NET_MAC] = {
    { 0x52, 0xa1, 0x5b, 0xc7, 0x3d, 0x19 }, { 0x52, 0xb4, 0x1e, 0x86, 0xf2, 0x60 }, { 0x02, 0x77, 0x33, 0xee, 0x99, 0x55 },
};
static const char private_to_b[8] = "a to b!";  /* in every frame of A's */
static const char secret[8] = "secret!";       /* all of the third's memory that is no frame */

struct node {
    struct rig rig;
    struct vio_features features;
    uint64_t ring_from;
    struct rig_at rx, tx; /* SIZE slots each; token: slot + 1 */
    bool busy[SIZE];      /* of tx */
    unsigned queued;
};

struct run {
    struct node node[NODES];
    struct rng rng;
    unsigned variant;
    bool fixed; /* each node's address is its port's */
    uint32_t sent, arrived; /* A's to B */
    unsigned others;        /* B got from the third */
    unsigned broken;        /* times that the third's device needed a reset */
    atomic_bool stop;
};

/* ------------------------------------------------------------------ drivers */

static void post(struct node *n, unsigned slot)
{
    struct vio_buf buf = { n->rx.gpa + slot * SLOT, SLOT };

    (void)!vio_drvq_put(n->rig.queue[RX].drv, &buf, 0, 1, slot + 1);
}

static void node_start(struct node *n, bool buffers)
{
    n->rig.next = n->ring_from;
    rig_restart(&n->rig, n->features, SIZE);
    memset(n->busy, 0, sizeof(n->busy));
    n->queued = 0;
    for (unsigned i = 0; i < SIZE && buffers; i++)
        post(n, i);
    (void)!vio_drvq_publish(n->rig.queue[RX].drv);
}

static void node_open(struct run *r, struct vio_net_switch *sw, unsigned i)
{
    static const char *const names[NODES] = { "a", "b", "evil" };
    struct node *n = &r->node[i];
    struct vio_device_params device = { .name = names[i], .log = &n->rig.log };
    struct vio_net_port_params port = { .name = names[i], .fixed_mac = r->fixed ? macs[i] : NULL };
    struct vio_net_params params = { .pairs = 1, .queue_size_max = SIZE, .mac_given = true, .device = &device };
    struct vio_device *dev;

    rig_init(&n->rig);
    memcpy(params.mac, macs[i], VIO_NET_MAC);
    CHECK(vio_net_switch_port(sw, &port, &params.backend) == 0);
    CHECK(vio_net_create(&params, &dev, NULL, 0) == 0);
    rig_device(&n->rig, dev);
    n->features = vio_device_offered(dev);
    vio_features_clear(&n->features, VIRTIO_NET_F_HASH_REPORT);
    if (!(r->variant & 1))
        vio_features_clear(&n->features, VIRTIO_F_RING_PACKED);
    for (unsigned bit = VIRTIO_NET_F_CTRL_RX; bit <= VIRTIO_NET_F_CTRL_RX_EXTRA && (r->variant & 2); bit++)
        vio_features_clear(&n->features, bit);
    n->rx = rig_alloc(&n->rig, SIZE * SLOT);
    n->tx = rig_alloc(&n->rig, SIZE * SLOT);
    n->ring_from = n->rig.next;
    for (unsigned at = 0; i == EVIL && at < SIZE * SLOT; at += sizeof(secret))
        memcpy(n->tx.host + at, secret, sizeof(secret));
    node_start(n, true);
}

/* A slot to send from; NULL: all are on their way. The frame is behind the header. */
static uint8_t *tx_slot(struct node *n, unsigned *slot)
{
    struct vio_done done[SIZE];
    unsigned nr = vio_drvq_collect(n->rig.queue[TX].drv, done, SIZE);

    for (unsigned i = 0; i < nr; i++)
        n->busy[done[i].token - 1] = false;
    for (*slot = 0; *slot < SIZE; ++*slot)
        if (!n->busy[*slot])
            return n->tx.host + *slot * SLOT + HDR;
    return NULL;
}

static void send(struct node *n, unsigned slot, uint32_t len)
{
    struct vio_buf buf = { n->tx.gpa + slot * SLOT, HDR + len };

    if (vio_drvq_put(n->rig.queue[TX].drv, &buf, 1, 0, slot + 1) == 0)
        n->busy[slot] = true;
}

static uint8_t byte_of(uint32_t number, uint32_t at)
{
    return at < BYTES_AT + sizeof(private_to_b) ? (uint8_t)private_to_b[at - BYTES_AT] : (uint8_t)(number * 13 + at * 7);
}

static uint32_t length_of(uint32_t number)
{
    return 60 + number * 37 % 1400;
}

static void a_sends(struct run *r)
{
    for (unsigned i = 0; i < A_BURST; i++) {
        uint32_t number = r->sent, len = length_of(number);
        unsigned slot;
        uint8_t *frame = tx_slot(&r->node[A], &slot);

        if (frame == NULL)
            FAIL("what A sent long ago was not taken");
        memset(frame - HDR, 0, HDR);
        memcpy(frame, macs[B], 6);
        memcpy(frame + 6, macs[A], 6);
        memcpy(frame + 12, "\x88\xb5", 2);
        memcpy(frame + NUMBER_AT, &number, 4);
        for (uint32_t at = BYTES_AT; at < len; at++)
            frame[at] = byte_of(number, at);
        send(&r->node[A], slot, len);
        r->sent++;
    }
    (void)!vio_drvq_publish(r->node[A].rig.queue[TX].drv);
}

/* To all, so that the switch knows where it is. */
static void hello(struct node *n, const uint8_t *mac, unsigned times)
{
    while (times-- > 0) {
        unsigned slot;
        uint8_t *frame = tx_slot(n, &slot);

        memset(frame - HDR, 0, HDR + 60);
        memset(frame, 0xff, 6);
        memcpy(frame + 6, mac, 6);
        send(n, slot, 60);
    }
    (void)!vio_drvq_publish(n->rig.queue[TX].drv);
    rig_serve(&n->rig, TX);
}

static void check_header(const uint8_t *at, uint32_t len)
{
    struct virtio_net_hdr h = { 0 };

    memcpy(&h, at, HDR);
    CHECK((h.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0);
    CHECK(h.flags == 0 || (uint32_t)vio_cpu(h.csum_start) + vio_cpu(h.csum_offset) + 2 <= len);
    CHECK(h.gso_type == 0 || (h.flags != 0 && vio_cpu(h.gso_size) > 0 && vio_cpu(h.hdr_len) <= len));
}

static void check_frame(struct run *r, const uint8_t *frame, uint32_t len)
{
    uint32_t number;

    CHECK(memmem(frame, len, secret, 7) == NULL);
    if (memcmp(frame + 6, macs[A], 6) != 0) {
        CHECK(!r->fixed || memcmp(frame + 6, macs[EVIL], 6) == 0);
        r->others++;
        return;
    }
    if (memcmp(frame, macs[B], 6) != 0)
        return; /* its hello */
    memcpy(&number, frame + NUMBER_AT, 4);
    if (number != r->arrived)
        FAIL("frame %u arrives where %u was due", number, r->arrived);
    CHECK(len == length_of(number));
    for (uint32_t at = BYTES_AT; at < len; at++)
        CHECK(frame[at] == byte_of(number, at));
    r->arrived++;
}

/* Everything that came is checked or not, and posted again. */
static void collect(struct run *r, unsigned node)
{
    struct node *n = &r->node[node];
    struct vio_done done[SIZE];
    unsigned nr = vio_drvq_collect(n->rig.queue[RX].drv, done, SIZE);

    for (unsigned i = 0; i < nr; i++) {
        unsigned slot = (unsigned)done[i].token - 1;
        uint8_t *at = n->rx.host + slot * SLOT;

        if (node == B) {
            CHECK(done[i].len >= HDR + VIO_NET_FRAME_MIN && done[i].len <= SLOT);
            check_header(at, done[i].len - HDR);
            check_frame(r, at + HDR, done[i].len - HDR);
        }
        post(n, slot);
    }
    (void)!vio_drvq_publish(n->rig.queue[RX].drv);
}

/* One turn of the one owner of all. */
static void serve(struct run *r)
{
    for (unsigned i = 0; i < NODES; i++) {
        unsigned done = vio_device_queue_service(r->node[i].rig.dev, TX, BUDGET);

        CHECK(done <= BUDGET);
        (void)vio_device_queue_service(r->node[i].rig.dev, RX, BUDGET);
        vio_device_control(r->node[i].rig.dev);
        collect(r, B);
    }
}

/* ------------------------------------------------------------------ what the third does */

static void takes_nothing(struct run *r, unsigned round)
{
    if (round == 0) {
        node_start(&r->node[EVIL], false);
        hello(&r->node[EVIL], macs[EVIL], 1);
    }
}

static void collects_nothing(struct run *r, unsigned round)
{
    if (round == 0)
        hello(&r->node[EVIL], macs[EVIL], 1);
}

/* Frames of a burst, to B and to all and to nobody, from anybody but A and B. */
static void floods(struct run *r, unsigned round)
{
    struct node *n = &r->node[EVIL];

    (void)round;
    for (unsigned i = 0; i < 2 * BUDGET; i++) {
        unsigned slot, how = rng_below(&r->rng, 4);
        uint8_t *frame = tx_slot(n, &slot);

        if (frame == NULL)
            break;
        memset(frame - HDR, 0, HDR + 64);
        for (unsigned k = 2; k < 12; k++)
            frame[k] = (uint8_t)rng_u64(&r->rng);
        if (how == 0)
            memcpy(frame, macs[B], 6);
        else if (how == 1)
            memset(frame, 0xff, 6);
        frame[6] = 0x02;
        frame[12] = (uint8_t)rng_u64(&r->rng);
        send(n, slot, 60);
    }
    (void)!vio_drvq_publish(n->rig.queue[TX].drv);
    collect(r, EVIL);
}

static void breaks(struct run *r, unsigned round)
{
    struct node *n = &r->node[EVIL];
    uint16_t queue = round & 1 ? TX : RX;
    uint8_t *ring = r->variant & 1 ? n->rig.queue[queue].desc.host : n->rig.queue[queue].driver.host;

    if (n->rig.needs_reset > 0)
        CHECK((vio_device_status(n->rig.dev) & VIRTIO_STATUS_NEEDS_RESET) != 0);
    r->broken += n->rig.needs_reset;
    n->rig.needs_reset = 0;
    node_start(n, true);
    floods(r, round);
    /* Behind some that are good: what is broken is reached in the middle of a burst. */
    if (r->variant & 1)
        memset(ring + 16 * (5 + round % 20), 0x11, 8); /* an address that is nowhere */
    else if (round & 2)
        memcpy(ring + 4 + 2 * (5 + round % 20), "\xff\xff", 2); /* a head past the table */
    else
        memcpy(ring + 2, "\xff\x7f", 2);
    hello(&r->node[A], macs[A], A_BURST);
    collect(r, B);
}

static void comes_and_goes(struct run *r, unsigned round)
{
    struct node *n = &r->node[EVIL];

    switch (round % 4) {
    case 0:
        node_start(n, true);
        floods(r, round);
        break;
    case 1:
        vio_device_queue_stop(n->rig.dev, RX);
        break;
    case 2:
        vio_device_queue_stop(n->rig.dev, TX);
        break;
    default:
        vio_device_reset(n->rig.dev);
        break;
    }
}

/* ------------------------------------------------------------------ while they are forwarded */

/* Addresses, types, tags and virtio headers of frames on their way; never A's or B's own as a source. */
static void *flip(void *arg)
{
    struct run *r = arg;
    struct node *n = &r->node[EVIL];
    struct rng rng = rng_of(99);

    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        uint8_t *header = n->tx.host + rng_below(&rng, SIZE) * SLOT, *frame = header + HDR;

        switch (rng_below(&rng, 6)) {
        case 0: frame[2 + rng_below(&rng, 4)] = (uint8_t)rng_u64(&rng); break;
        case 1: frame[0] = rng_below(&rng, 2) ? 0xff : macs[B][0]; break;
        case 2: frame[8 + rng_below(&rng, 4)] = (uint8_t)rng_u64(&rng); break;
        case 3: frame[6] ^= 1; break;
        case 4: memcpy(frame + 12, rng_below(&rng, 2) ? "\x81\x00" : "\x08\x00", 2); break;
        default: header[rng_below(&rng, HDR)] = (uint8_t)(rng_u64(&rng) & 0x85); break;
        }
    }
    return NULL;
}

static void changes(struct run *r, unsigned round)
{
    static pthread_t thread;

    floods(r, round);
    if (round == 0)
        CHECK(pthread_create(&thread, NULL, flip, r) == 0);
    if (round == ROUNDS)
        pthread_join(thread, NULL);
}

/* ------------------------------------------------------------------ whose frames they say they are */

static void say_as(struct run *r, const uint8_t *mac, unsigned nr)
{
    struct node *n = &r->node[EVIL];

    while (nr-- > 0) {
        unsigned slot, to = rng_below(&r->rng, 3);
        uint8_t *frame = tx_slot(n, &slot);

        if (frame == NULL)
            break;
        memset(frame - HDR, 0, HDR + 60);
        memcpy(frame, to == EVIL ? (const uint8_t *)"\xff\xff\xff\xff\xff\xff" : macs[to], 6);
        memcpy(frame + 6, mac, 6);
        send(n, slot, 60);
    }
    (void)!vio_drvq_publish(n->rig.queue[TX].drv);
    collect(r, EVIL);
}

static void pretends(struct run *r, unsigned round)
{
    (void)round;
    for (unsigned i = 0; i < BUDGET; i++)
        say_as(r, macs[rng_below(&r->rng, NODES)], 2);
}

static void *flip_sender(void *arg)
{
    struct run *r = arg;
    struct rng rng = rng_of(7);

    while (!atomic_load_explicit(&r->stop, memory_order_relaxed))
        memcpy(r->node[EVIL].tx.host + rng_below(&rng, SIZE) * SLOT + HDR + 6, macs[rng_below(&rng, 8) ? EVIL : A], 6);
    return NULL;
}

static void pretends_late(struct run *r, unsigned round)
{
    static pthread_t thread;

    say_as(r, macs[EVIL], 2 * BUDGET);
    if (round == 0)
        CHECK(pthread_create(&thread, NULL, flip_sender, r) == 0);
    if (round == ROUNDS)
        pthread_join(thread, NULL);
}

/* ------------------------------------------------------------------ all of it */

static const struct {
    const char *name;
    void (*act)(struct run *r, unsigned round);
    bool threads, talks, fixed;
} acts[] = {
    { "takes nothing", takes_nothing, false, false, false },
    { "collects nothing", collects_nothing, false, false, false },
    { "floods", floods, false, true, false },
    { "breaks in a burst", breaks, false, true, false },
    { "comes and goes", comes_and_goes, false, true, false },
    { "changes frames on their way", changes, true, true, false },
    { "says that it is another", pretends, false, true, true },
    { "says so once it was looked at", pretends_late, true, true, true },
};

static void run(struct run *r, unsigned which, unsigned variant, unsigned rounds)
{
    struct vio_net_switch *sw;

    memset(r, 0, sizeof(*r));
    r->rng = rng_of(which * 8 + variant + 1);
    r->variant = variant;
    r->fixed = acts[which].fixed;
    CHECK(vio_net_switch_create(NULL, &sw) == 0);
    for (unsigned i = 0; i < NODES; i++)
        node_open(r, sw, i);
    vio_net_switch_release(sw);
    hello(&r->node[A], macs[A], 1);
    hello(&r->node[B], macs[B], 1);
    collect(r, B);
    collect(r, A);
    for (unsigned round = 0; round < rounds; round++) {
        acts[which].act(r, round);
        a_sends(r);
        serve(r);
        collect(r, A);
        if (r->arrived != r->sent)
            FAIL("round %u: %u of %u frames arrived", round, r->arrived, r->sent);
    }
    atomic_store(&r->stop, true);
    if (acts[which].threads)
        acts[which].act(r, ROUNDS);
    CHECK(!acts[which].talks || r->others > 0);
    CHECK(acts[which].act != breaks || r->broken > rounds / 2);
    CHECK(memmem(r->node[EVIL].rig.host, RIG_MEMORY, private_to_b, 7) == NULL);
    CHECK(memmem(r->node[A].rig.host, RIG_MEMORY, secret, 7) == NULL && memmem(r->node[B].rig.host, RIG_MEMORY, secret, 7) == NULL);
    CHECK(r->node[A].rig.needs_reset == 0 && r->node[B].rig.needs_reset == 0);
    for (unsigned i = 0; i < NODES; i++)
        rig_free(&r->node[i].rig);
}

int main(void)
{
    static struct run r;
    const char *given = getenv("VIO_NEIGHBOUR_ROUNDS");
    unsigned rounds = given ? (unsigned)atoi(given) : ROUNDS;

    for (unsigned which = 0; which < sizeof(acts) / sizeof(acts[0]); which++) {
        if (acts[which].threads && !CAN_FLIP)
            continue;
        for (unsigned variant = 0; variant < 4; variant++) {
            test_context("a neighbour that %s, variant %u", acts[which].name, variant);
            run(&r, which, variant, rounds);
        }
        printf("ok - a neighbour that %s: %u frames of the others' arrived\n", acts[which].name, r.arrived);
    }
    return 0;
}
