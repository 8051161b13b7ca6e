/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network device with a driver on every queue and a backend that records: packets both ways, in every
 * framing; offloads that one side does not have; what the driver gets wrong; a backend that is full and a driver without
 * buffers; link, MTU, announcements.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vio/net.h>

#include "backend/net_offload.h"
#include "rig.h"
#include "rng.h"
#include "spec/net.h"
#include "spec/virtio.h"

enum { FRAMES = 512, SIZE = 256, RX = 0, TX = 1, BUFFER = 1600 };

struct frame {
    struct vio_net_hdr hdr;
    uint32_t len;
    uint8_t *bytes;
};

/* ------------------------------------------------------------------ a backend that records */

struct fake {
    struct vio_net_backend head;
    struct vio_net_info info;
    const struct vio_net_sink *sink;
    struct frame sent[FRAMES];
    unsigned nr_sent, room, starts, stops, destroyed, polls, guest;
    /* what poll delivers */
    struct frame *feed;
    unsigned nr_feed, fed;
    bool armed_receive, armed_blocked;
};

static void fake_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    *info = ((struct fake *)b)->info;
}

static void fake_destroy(struct vio_net_backend *b)
{
    ((struct fake *)b)->destroyed++;
}

static int fake_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    struct fake *f = (struct fake *)b;

    f->sink = sink;
    f->starts++;
    return 0;
}

static void fake_stop(struct vio_net_backend *b)
{
    struct fake *f = (struct fake *)b;

    f->sink = NULL;
    f->stops++;
}

static void fake_offloads(struct vio_net_backend *b, unsigned guest)
{
    ((struct fake *)b)->guest = guest;
}

static unsigned fake_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct fake *f = (struct fake *)b;
    unsigned i = 0;

    for (; i < n && f->room > 0 && f->nr_sent < FRAMES; i++, f->room--) {
        struct frame *to = &f->sent[f->nr_sent++];

        *to = (struct frame){ .hdr = p[i].hdr, .len = p[i].len, .bytes = malloc(p[i].len) };
        vio_net_packet_copy(&p[i], to->bytes);
    }
    return i;
}

static unsigned deliver_one(struct fake *f, const struct frame *frame, unsigned pieces)
{
    struct vio_seg seg[8];
    struct vio_net_packet p = { .hdr = frame->hdr, .len = frame->len, .nr = pieces, .seg = seg };
    uint32_t at = 0;

    for (unsigned i = 0; i < pieces; i++) {
        uint32_t end = i + 1 == pieces ? frame->len : frame->len / pieces * (i + 1);

        seg[i] = (struct vio_seg){ frame->bytes + at, end - at };
        at = end;
    }
    return f->sink->deliver(f->sink->ctx, &p, 1);
}

static unsigned fake_poll(struct vio_net_backend *b, unsigned budget)
{
    struct fake *f = (struct fake *)b;
    unsigned n = 0;

    f->polls++;
    for (; n < budget && f->fed < f->nr_feed; n++, f->fed++)
        if (deliver_one(f, &f->feed[f->fed], 1 + f->fed % 3) == 0)
            break;
    if (n > 0)
        f->sink->flush(f->sink->ctx);
    return n;
}

static int fake_fd(struct vio_net_backend *b)
{
    (void)b;
    return -1;
}

static bool fake_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    struct fake *f = (struct fake *)b;

    (void)sleep;
    f->armed_receive = receive;
    f->armed_blocked = blocked;
    return false;
}

static const struct vio_net_ops fake_ops = {
    .name = "fake", .info = fake_info, .destroy = fake_destroy, .start = fake_start, .stop = fake_stop,
    .offloads = fake_offloads, .send = fake_send, .poll = fake_poll, .fd = fake_fd, .arm = fake_arm,
};

static void forget_sent(struct fake *f)
{
    for (unsigned i = 0; i < f->nr_sent; i++)
        free(f->sent[i].bytes);
    f->nr_sent = 0;
}

/* ------------------------------------------------------------------ the bench */

struct bench {
    struct rig rig;
    struct fake fake;
    struct vio_device *dev;
    struct vio_features features;
    uint32_t hdr;
};

static void bench_open(struct bench *b, unsigned takes, unsigned gives, uint16_t pairs)
{
    struct vio_device_params device = { .name = "net0" };
    struct vio_net_params params = { .backend = &b->fake.head, .pairs = pairs, .device = &device };
    char why[200] = "";

    memset(b, 0, sizeof(*b));
    rig_init(&b->rig);
    device.log = &b->rig.log;
    b->fake.head.ops = &fake_ops;
    b->fake.info = (struct vio_net_info){ .takes = takes, .gives = gives };
    b->fake.room = FRAMES;
    if (vio_net_create(&params, &b->dev, why, sizeof(why)) != 0)
        fail_msg("vio_net_create: %s", why);
    rig_device(&b->rig, b->dev);
    b->features = vio_device_offered(b->dev);
    vio_features_clear(&b->features, VIRTIO_F_RING_PACKED);
    vio_features_clear(&b->features, VIRTIO_NET_F_HASH_REPORT);
}

static void bench_start(struct bench *b)
{
    rig_start(&b->rig, b->features, SIZE);
    b->hdr = vio_features_has(b->features, VIRTIO_NET_F_HASH_REPORT) ? VIRTIO_NET_HDR_HASH_BYTES : VIRTIO_NET_HDR_BYTES;
}

static void bench_close(struct bench *b)
{
    rig_free(&b->rig);
    assert_int_equal(b->fake.destroyed, 1);
    assert_int_equal(b->fake.starts, b->fake.stops);
    forget_sent(&b->fake);
}

static struct vio_net_counters counters(const struct bench *b)
{
    struct vio_net_counters c;

    vio_net_counters(b->dev, &c);
    return c;
}

/* A header and a frame in the driver's memory, cut into `pieces`; made available. */
static void transmit(struct bench *b, uint16_t queue, const struct virtio_net_hdr *h, const void *frame, uint32_t len,
                     unsigned pieces)
{
    struct rig_at at = rig_alloc(&b->rig, b->hdr + len + 1u);
    struct vio_buf bufs[8];
    uint32_t total = b->hdr + len, done = 0;

    memcpy(at.host, h, b->hdr);
    memcpy(at.host + b->hdr, frame, len);
    for (unsigned i = 0; i < pieces; i++) {
        uint32_t end = i + 1 == pieces ? total : total / pieces * (i + 1);

        bufs[i] = (struct vio_buf){ at.gpa + done, end - done };
        done = end;
    }
    assert_int_equal(vio_drvq_put(b->rig.queue[queue].drv, bufs, pieces, 0, 1), 0);
    (void)!vio_drvq_publish(b->rig.queue[queue].drv);
}

static unsigned collect(struct bench *b, uint16_t queue)
{
    struct vio_done done[SIZE];

    return vio_drvq_collect(b->rig.queue[queue].drv, done, SIZE);
}

static void fill_frame(uint8_t *frame, uint32_t len, unsigned seed)
{
    for (uint32_t i = 0; i < len; i++)
        frame[i] = (uint8_t)(i * 7 + seed + (i >> 8));
    memset(frame, 0xff, 6); /* to all, so that no filter holds it back */
    frame[12] = 0x88;
    frame[13] = 0xb5; /* an experimental type: no IP */
}

/* ------------------------------------------------------------------ transmit */

static void packets_pass_whole(void **state)
{
    static const uint32_t sizes[] = { 14, 60, 61, 1514, 9014, 65535 };
    uint8_t *frame = malloc(70000);

    (void)state;
    for (unsigned packed = 0; packed < 2; packed++) {
        const struct virtio_net_hdr h = { 0 };
        unsigned sent = 0;
        struct bench b;

        bench_open(&b, 0, 0, 1);
        if (packed)
            vio_features_set(&b.features, VIRTIO_F_RING_PACKED);
        bench_start(&b);
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (unsigned pieces = 1; pieces < 8; pieces += 3) {
                fill_frame(frame, sizes[i], i);
                transmit(&b, TX, &h, frame, sizes[i], pieces);
                rig_serve(&b.rig, TX);
                assert_int_equal(b.fake.nr_sent, ++sent);
                assert_int_equal(b.fake.sent[sent - 1].len, sizes[i]);
                assert_memory_equal(b.fake.sent[sent - 1].bytes, frame, sizes[i]);
                assert_int_equal(collect(&b, TX), 1);
            }
        }
        assert_int_equal(counters(&b).tx_packets, sent);
        bench_close(&b);
    }
    free(frame);
}

/* Each mistake: counted under its name, dropped, the buffer given back, the queue going on. */
static void mistakes_are_named(void **state)
{
    const struct {
        struct virtio_net_hdr h;
        uint32_t len;
        enum vio_net_bad bad;
        bool passes;
    } cases[] = {
        { { 0 }, 13, VIO_NET_BAD_SHORT, false },
        { { .flags = 2 }, 60, VIO_NET_BAD_FLAGS, false },
        { { .flags = 4 }, 60, VIO_NET_BAD_FLAGS, false },
        { { .flags = 1, .csum_start = vio_le16_of(59), .csum_offset = vio_le16_of(0) }, 60, VIO_NET_BAD_CSUM, false },
        { { .flags = 1, .csum_start = vio_le16_of(0xffff), .csum_offset = vio_le16_of(0xffff) }, 60, VIO_NET_BAD_CSUM, false },
        { { .flags = 1, .gso_type = 9, .gso_size = vio_le16_of(100) }, 200, VIO_NET_BAD_GSO_TYPE, false },
        { { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = vio_le16_of(100) }, 200, VIO_NET_BAD_GSO_TYPE, false },
        { { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 }, 200, VIO_NET_BAD_GSO_SIZE, false },
        { { .flags = 0, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = vio_le16_of(1) }, 200, VIO_NET_BAD_FLAGS, false },
        { { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = vio_le16_of(9), .hdr_len = vio_le16_of(201) }, 200,
          VIO_NET_BAD_HDR_LEN, false },
        { { .num_buffers = vio_le16_of(1) }, 60, VIO_NET_BAD_NUM_BUFFERS, true },
    };
    uint8_t frame[256];
    struct bench b;

    (void)state;
    bench_open(&b, VIO_NET_CSUM | VIO_NET_TSO4, 0, 1);
    bench_start(&b);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vio_net_counters before = counters(&b), after;

        fill_frame(frame, sizeof(frame), i);
        transmit(&b, TX, &cases[i].h, frame, cases[i].len, 1 + i % 2);
        rig_serve(&b.rig, TX);
        after = counters(&b);
        if (after.tx_bad[cases[i].bad] != before.tx_bad[cases[i].bad] + 1)
            fail_msg("case %u is not counted as %s", i, vio_net_bad_name(cases[i].bad));
        assert_int_equal(after.tx_packets - before.tx_packets, cases[i].passes);
        assert_int_equal(collect(&b, TX), 1);
    }
    assert_true(rig_said(&b.rig, "virtio 1.4, 5.1.9.2"));
    /* Without any header at all. */
    {
        struct rig_at at = rig_alloc(&b.rig, 64);
        struct vio_buf buf = { at.gpa, 11 };

        assert_int_equal(vio_drvq_put(b.rig.queue[TX].drv, &buf, 1, 0, 1), 0);
        (void)!vio_drvq_publish(b.rig.queue[TX].drv);
        rig_serve(&b.rig, TX);
        assert_int_equal(counters(&b).tx_bad[VIO_NET_BAD_SHORT], 2);
        assert_int_equal(collect(&b, TX), 1);
    }
    bench_close(&b);
}

/* A UDP frame over IPv4 with its checksum only begun. */
static uint32_t udp_frame(uint8_t *frame, uint32_t payload, struct vio_net_hdr *hdr)
{
    static const uint8_t ip[] = { 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2 };
    uint32_t udp = 8 + payload, total = 20 + udp;
    uint16_t sum;

    fill_frame(frame, 42 + payload, 3);
    frame[12] = 8;
    frame[13] = 0;
    memcpy(frame + 14, ip, sizeof(ip));
    frame[16] = (uint8_t)(total >> 8);
    frame[17] = (uint8_t)total;
    sum = vio_net_fold(vio_net_sum(frame + 14, 20, 0));
    memcpy(frame + 24, &sum, 2);
    frame[38] = (uint8_t)(udp >> 8);
    frame[39] = (uint8_t)udp;
    frame[40] = frame[41] = 0;
    {
        uint8_t pseudo[12] = { 192, 0, 2, 1, 192, 0, 2, 2, 0, 17, frame[38], frame[39] };
        uint16_t begun = (uint16_t)~vio_net_fold(vio_net_sum(pseudo, sizeof(pseudo), 0));

        memcpy(frame + 40, &begun, 2);
    }
    *hdr = (struct vio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6 };
    return 42 + payload;
}

static bool udp_good(const uint8_t *frame, uint32_t len)
{
    uint8_t pseudo[12];

    memcpy(pseudo, frame + 26, 8);
    pseudo[8] = 0;
    pseudo[9] = 17;
    memcpy(pseudo + 10, frame + 38, 2);
    return vio_net_fold(vio_net_sum(frame + 34, len - 34, vio_net_sum(pseudo, 12, 0))) == 0;
}

static struct virtio_net_hdr wire(const struct vio_net_hdr *h)
{
    return (struct virtio_net_hdr){
        .flags = h->flags, .gso_type = h->gso_type, .hdr_len = vio_le16_of(h->hdr_len),
        .gso_size = vio_le16_of(h->gso_size), .csum_start = vio_le16_of(h->csum_start),
        .csum_offset = vio_le16_of(h->csum_offset),
    };
}

static void checksums_are_finished_for_a_simple_backend(void **state)
{
    uint8_t frame[600];

    (void)state;
    for (unsigned takes = 0; takes < 2; takes++) {
        struct vio_net_hdr hdr;
        struct virtio_net_hdr h;
        uint32_t len = udp_frame(frame, 333, &hdr);
        struct bench b;

        h = wire(&hdr);
        bench_open(&b, takes ? VIO_NET_CSUM : 0, 0, 1);
        bench_start(&b);
        transmit(&b, TX, &(struct virtio_net_hdr){ 0 }, frame, 60, 1);
        transmit(&b, TX, &h, frame, len, 3);
        transmit(&b, TX, &(struct virtio_net_hdr){ 0 }, frame, 61, 1);
        rig_serve(&b.rig, TX);
        assert_int_equal(b.fake.nr_sent, 3);
        assert_int_equal(b.fake.sent[0].len, 60); /* order stays */
        assert_int_equal(b.fake.sent[2].len, 61);
        assert_int_equal(b.fake.sent[1].hdr.flags, takes ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
        assert_int_equal(udp_good(b.fake.sent[1].bytes, len), !takes);
        assert_int_equal(collect(&b, TX), 3);
        bench_close(&b);
    }
}

/* A backend without room gets the rest later, in order; a reset does not wait for it. */
static void a_full_backend_is_waited_for(void **state)
{
    const struct virtio_net_hdr h = { 0 };
    uint8_t frame[100];
    struct bench b;

    (void)state;
    bench_open(&b, 0, 0, 1);
    bench_start(&b);
    b.fake.room = 3;
    for (unsigned i = 0; i < 10; i++) {
        fill_frame(frame, sizeof(frame), i);
        transmit(&b, TX, &h, frame, 60 + i, 1 + i % 3);
    }
    rig_serve(&b.rig, TX);
    assert_int_equal(b.fake.nr_sent, 3);
    assert_int_equal(collect(&b, TX), 3);
    assert_false(vio_device_queue_arm(b.dev, RX));
    assert_true(b.fake.armed_blocked);
    b.fake.room = 4;
    (void)vio_device_queue_service(b.dev, RX, 64); /* the first receive queue waits for the backend */
    assert_int_equal(b.fake.nr_sent, 7);
    assert_int_equal(collect(&b, TX), 4);
    b.fake.room = 1;
    rig_serve(&b.rig, TX);
    assert_int_equal(b.fake.nr_sent, 8);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(b.fake.sent[i].len, 60 + i);
    assert_int_equal(vio_device_set_status(b.dev, 0), 0);
    bench_close(&b);
}

/* ------------------------------------------------------------------ receive */

static void post(struct bench *b, uint16_t queue, unsigned n, uint32_t bytes, struct rig_at *at)
{
    for (unsigned i = 0; i < n; i++) {
        struct vio_buf bufs[2];
        unsigned nr = 1 + i % 2;

        at[i] = rig_alloc(&b->rig, bytes);
        bufs[0] = (struct vio_buf){ at[i].gpa, nr == 1 ? bytes : b->hdr };
        bufs[1] = (struct vio_buf){ at[i].gpa + b->hdr, bytes - b->hdr };
        assert_int_equal(vio_drvq_put(b->rig.queue[queue].drv, bufs, 0, nr, i), 0);
    }
    (void)!vio_drvq_publish(b->rig.queue[queue].drv);
}

/* One of one piece; whether the device wants to be told. */
static bool put_buffer(struct bench *b, uint16_t queue, uint32_t bytes)
{
    struct vio_buf buf = { rig_alloc(&b->rig, bytes).gpa, bytes };

    assert_int_equal(vio_drvq_put(b->rig.queue[queue].drv, &buf, 0, 1, 1), 0);
    return vio_drvq_publish(b->rig.queue[queue].drv);
}

static void received_as_sent(void **state)
{
    uint8_t *bytes = malloc(70000), *got = malloc(70000);

    (void)state;
    for (unsigned way = 0; way < 8; way++) {
        bool packed = way & 1, mergeable = way & 2, hash = way & 4;
        struct rng rng = rng_of(way + 1);
        struct frame feed[24];
        struct rig_at at[SIZE];
        struct vio_done done[SIZE];
        unsigned nr_done, used = 0, nr = mergeable ? 200 : 30;
        uint32_t buffer = mergeable ? 700 : 9100;
        struct bench b;

        bench_open(&b, 0, VIO_NET_CSUM, 1);
        if (packed)
            vio_features_set(&b.features, VIRTIO_F_RING_PACKED);
        if (!mergeable)
            vio_features_clear(&b.features, VIRTIO_NET_F_MRG_RXBUF);
        if (hash)
            vio_features_set(&b.features, VIRTIO_NET_F_HASH_REPORT);
        bench_start(&b);
        post(&b, RX, nr, buffer, at);
        fill_frame(bytes, 9000, way);
        for (unsigned i = 0; i < 24; i++)
            feed[i] = (struct frame){ .len = i == 0 ? 14 : i == 1 ? 700 - b.hdr : i == 2 ? 701 - b.hdr : rng_range(&rng, 14, 9000),
                                      .bytes = bytes };
        b.fake.feed = feed;
        b.fake.nr_feed = 24;
        rig_serve(&b.rig, RX);
        assert_int_equal(b.fake.fed, 24);
        nr_done = vio_drvq_collect(b.rig.queue[RX].drv, done, SIZE);
        for (unsigned i = 0; i < 24; i++) {
            struct virtio_net_hdr h;
            uint32_t have = 0;
            unsigned buffers;

            memcpy(&h, at[done[used].token].host, b.hdr);
            assert_int_equal(h.flags | h.gso_type, 0);
            buffers = vio_cpu(h.num_buffers);
            assert_int_equal(buffers, mergeable ? (feed[i].len + b.hdr + buffer - 1) / buffer : 1);
            for (unsigned k = 0; k < buffers; k++, used++) {
                uint32_t skip = k == 0 ? b.hdr : 0;

                assert_true(used < nr_done);
                assert_true(k + 1 == buffers || done[used].len == buffer);
                memcpy(got + have, at[done[used].token].host + skip, done[used].len - skip);
                have += done[used].len - skip;
            }
            assert_int_equal(have, feed[i].len);
            assert_memory_equal(got, bytes, have);
        }
        assert_int_equal(used, nr_done);
        assert_int_equal(counters(&b).rx_packets, 24);
        bench_close(&b);
    }
    free(bytes);
    free(got);
}

static void without_buffers_packets_wait(void **state)
{
    uint8_t bytes[3000];
    struct frame feed[3] = { { .len = 100, .bytes = bytes }, { .len = 2500, .bytes = bytes }, { .len = 60, .bytes = bytes } };
    struct rig_at at[8];
    struct bench b;

    (void)state;
    fill_frame(bytes, sizeof(bytes), 1);
    bench_open(&b, 0, 0, 1);
    bench_start(&b);
    b.fake.feed = feed;
    b.fake.nr_feed = 3;
    assert_false(vio_device_queue_arm(b.dev, RX));
    assert_true(b.fake.armed_receive);
    (void)vio_device_queue_service(b.dev, RX, 64);
    assert_int_equal(b.fake.fed, 0);
    assert_false(vio_device_queue_arm(b.dev, RX)); /* sleeps, with kicks wanted and the backend silent */
    assert_false(b.fake.armed_receive);
    post(&b, RX, 2, BUFFER, at);
    assert_true(vio_device_queue_arm(b.dev, RX)); /* a buffer has come: no sleep */
    (void)vio_device_queue_service(b.dev, RX, 64);
    assert_int_equal(b.fake.fed, 1); /* 2500 bytes do not fit what is left, which stays available */
    assert_int_equal(collect(&b, RX), 1);
    post(&b, RX, 1, BUFFER, at);
    (void)vio_device_queue_service(b.dev, RX, 64);
    assert_int_equal(b.fake.fed, 2);
    assert_int_equal(collect(&b, RX), 2);
    bench_close(&b);
}

/* Some buffers, but too few: no reason to stay awake, and the driver's kick for the next one is. */
static void with_too_few_buffers_packets_wait_asleep(void **state)
{
    uint8_t bytes[4000];
    struct frame feed[1] = { { .len = sizeof(bytes), .bytes = bytes } };
    uint64_t memory;
    struct bench b;

    (void)state;
    fill_frame(bytes, sizeof(bytes), 1);
    for (unsigned variant = 0; variant < 4; variant++) {
        bench_open(&b, 0, 0, 1);
        if (variant & 1)
            vio_features_set(&b.features, VIRTIO_F_RING_PACKED);
        if (!(variant & 2))
            vio_features_clear(&b.features, VIRTIO_F_EVENT_IDX);
        bench_start(&b);
        b.fake.feed = feed;
        b.fake.nr_feed = 1;
        memory = b.rig.next;
        for (unsigned lap = 0; lap < 200; lap++) {
            b.rig.next = memory; /* the same again */
            (void)put_buffer(&b, RX, BUFFER);
            (void)vio_device_queue_service(b.dev, RX, 64);
            assert_false(vio_device_queue_arm(b.dev, RX));
            assert_false(b.fake.armed_receive);
            assert_true(put_buffer(&b, RX, BUFFER)); /* it kicks */
            vio_device_queue_disarm(b.dev, RX);
            (void)vio_device_queue_service(b.dev, RX, 64);
            assert_false(vio_device_queue_arm(b.dev, RX)); /* still too few */
            assert_int_equal(b.fake.fed, 0);
            assert_true(put_buffer(&b, RX, BUFFER));
            vio_device_queue_disarm(b.dev, RX);
            (void)vio_device_queue_service(b.dev, RX, 64);
            assert_int_equal(b.fake.fed, 1);
            assert_int_equal(collect(&b, RX), 3);
            b.fake.fed = 0;
        }
        assert_int_equal(counters(&b).rx_packets, 200);
        bench_close(&b);
    }
}

/* All that the driver can ever make available is too little: to wait would be for ever. */
static void what_no_ring_holds_is_dropped(void **state)
{
    uint8_t *bytes = malloc(60000);
    struct frame feed[2] = { { .len = 60000, .bytes = bytes }, { .len = 100, .bytes = bytes } };

    (void)state;
    fill_frame(bytes, 60000, 1);
    for (unsigned packed = 0; packed < 2; packed++) {
        struct bench b;

        bench_open(&b, 0, 0, 1);
        if (packed)
            vio_features_set(&b.features, VIRTIO_F_RING_PACKED);
        rig_start(&b.rig, b.features, 16);
        b.hdr = VIRTIO_NET_HDR_BYTES;
        b.fake.feed = feed;
        b.fake.nr_feed = 2;
        for (unsigned i = 0; i < 15; i++)
            (void)put_buffer(&b, RX, BUFFER);
        (void)vio_device_queue_service(b.dev, RX, 64);
        assert_int_equal(b.fake.fed, 0); /* a sixteenth might be of any size */
        (void)put_buffer(&b, RX, BUFFER);
        (void)vio_device_queue_service(b.dev, RX, 64);
        assert_int_equal(b.fake.fed, 2);
        assert_int_equal(collect(&b, RX), 1);
        assert_int_equal(counters(&b).rx_bad, 1);
        assert_true(rig_said(&b.rig, "virtio 1.4, 5.1.9.3.1"));
        bench_close(&b);
    }
    free(bytes);
}

static void what_the_driver_cannot_is_finished(void **state)
{
    uint8_t bytes[600];
    struct frame feed[1] = { { .bytes = bytes } };

    (void)state;
    feed[0].len = udp_frame(bytes, 401, &feed[0].hdr);
    for (unsigned accepts = 0; accepts < 2; accepts++) {
        struct virtio_net_hdr h;
        struct rig_at at[2];
        struct bench b;

        bench_open(&b, 0, VIO_NET_CSUM, 1);
        if (!accepts)
            vio_features_clear(&b.features, VIRTIO_NET_F_GUEST_CSUM);
        bench_start(&b);
        assert_int_equal(b.fake.guest, accepts ? VIO_NET_CSUM : 0);
        post(&b, RX, 2, BUFFER, at);
        b.fake.feed = feed;
        b.fake.nr_feed = 1;
        rig_serve(&b.rig, RX);
        assert_int_equal(collect(&b, RX), 1);
        memcpy(&h, at[0].host, sizeof(h));
        assert_int_equal(h.flags, accepts ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
        assert_int_equal(udp_good(at[0].host + b.hdr, feed[0].len), !accepts);
        bench_close(&b);
    }
}

/* Flows go to both pairs, each flow to one. */
static void flows_are_spread(void **state)
{
    struct rig_at at[2 * SIZE];
    struct frame feed[64];
    struct bench b;
    unsigned on[2];

    (void)state;
    bench_open(&b, 0, 0, 2);
    vio_features_clear(&b.features, VIRTIO_NET_F_CTRL_VQ); /* the front-end keeps the control queue: all pairs are in use */
    vio_features_clear(&b.features, VIRTIO_NET_F_RSS);
    for (unsigned bit = VIRTIO_NET_F_CTRL_RX; bit <= VIRTIO_NET_F_CTRL_MAC_ADDR; bit++)
        if (bit != VIRTIO_NET_F_MQ)
            vio_features_clear(&b.features, bit);
    vio_features_clear(&b.features, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    vio_features_clear(&b.features, VIRTIO_NET_F_DEVICE_STATS);
    bench_start(&b);
    post(&b, 0, 100, BUFFER, at);
    post(&b, 2, 100, BUFFER, at + SIZE);
    for (unsigned i = 0; i < 64; i++) {
        struct vio_net_hdr hdr;
        uint8_t *bytes = malloc(100);

        feed[i] = (struct frame){ .len = udp_frame(bytes, 40, &hdr), .bytes = bytes };
        bytes[35] = (uint8_t)(i / 2); /* source port: two packets a flow */
    }
    b.fake.feed = feed;
    b.fake.nr_feed = 64;
    rig_serve(&b.rig, RX);
    on[0] = collect(&b, 0);
    on[1] = collect(&b, 2);
    assert_int_equal(on[0] + on[1], 64);
    assert_true(on[0] >= 12 && on[1] >= 12 && on[0] % 2 == 0);
    for (unsigned i = 0; i < 64; i++)
        free(feed[i].bytes);
    bench_close(&b);
}

/* ------------------------------------------------------------------ what the control thread may ask */

static uint16_t config16(struct bench *b, uint32_t offset)
{
    vio_le16 value;

    assert_int_equal(vio_device_config_read(b->dev, offset, &value, sizeof(value)), 0);
    return vio_cpu(value);
}

static void link_mtu_and_announcements(void **state)
{
    const struct virtio_net_hdr h = { 0 };
    static const uint8_t mac[] = { 0x52, 1, 2, 3, 4, 5 };
    uint8_t frame[100], own[6];
    struct frame feed = { .len = 60, .bytes = frame };
    struct rig_at at[4];
    struct bench b;

    (void)state;
    fill_frame(frame, sizeof(frame), 0);
    bench_open(&b, 0, 0, 1);
    vio_net_mac(b.dev, own);
    assert_true((own[0] & 3) == 2);
    bench_start(&b);
    assert_int_equal(config16(&b, 6), VIRTIO_NET_S_LINK_UP);
    post(&b, RX, 4, BUFFER, at);
    vio_net_set_link(b.dev, false);
    assert_int_equal(config16(&b, 6), 0);
    assert_int_equal(b.rig.config_changed, 1);
    transmit(&b, TX, &h, frame, 60, 1);
    rig_serve(&b.rig, TX);
    assert_int_equal(b.fake.nr_sent, 0);
    assert_int_equal(collect(&b, TX), 1);
    assert_int_equal(deliver_one(&b.fake, &feed, 1), 1);
    assert_int_equal(collect(&b, RX), 0);
    assert_int_equal(counters(&b).tx_link_down, 1);
    assert_int_equal(counters(&b).rx_link_down, 1);
    vio_net_set_link(b.dev, true);
    assert_int_equal(deliver_one(&b.fake, &feed, 1), 1);
    b.fake.sink->flush(b.fake.sink->ctx);
    assert_int_equal(collect(&b, RX), 1);
    assert_int_equal(vio_net_set_mtu(b.dev, 67), -EINVAL);
    assert_int_equal(vio_net_set_mtu(b.dev, 9000), 0);
    assert_int_equal(config16(&b, 10), 9000);
    assert_int_equal(vio_net_rarp(b.dev, mac), 0);
    rig_serve(&b.rig, RX);
    assert_int_equal(b.fake.nr_sent, 1);
    assert_int_equal(b.fake.sent[0].len, 60);
    assert_memory_equal(b.fake.sent[0].bytes + 6, mac, 6);
    assert_memory_equal(b.fake.sent[0].bytes + 12, "\x80\x35\x00\x01\x08\x00\x06\x04\x00\x03", 10);
    assert_int_equal(vio_net_rarp(b.dev, (const uint8_t *)"\1\2\3\4\5\6"), -EINVAL);
    bench_close(&b);
}

static void bad_parameters(void **state)
{
    struct fake fake = { .head.ops = &fake_ops };
    struct vio_device_params device = { .name = "net0" };
    struct vio_net_params params = { .backend = &fake.head, .pairs = 1, .device = &device };
    struct vio_device *dev;
    char why[200] = "";

    (void)state;
    params.pairs = 65;
    assert_int_equal(vio_net_create(&params, &dev, why, sizeof(why)), -EINVAL);
    assert_non_null(strstr(why, "65 queue pairs"));
    params.pairs = 1;
    params.queue_size_max = 100;
    assert_int_equal(vio_net_create(&params, &dev, why, sizeof(why)), -EINVAL);
    params.queue_size_max = 0;
    params.mac_given = true;
    params.mac[0] = 1;
    assert_int_equal(vio_net_create(&params, &dev, why, sizeof(why)), -EINVAL);
    assert_non_null(strstr(why, "01:00:00:00:00:00"));
    params.mac_given = false;
    params.mtu = 67;
    assert_int_equal(vio_net_create(&params, &dev, why, sizeof(why)), -EINVAL);
    assert_int_equal(fake.destroyed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_pass_whole),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(checksums_are_finished_for_a_simple_backend),
        cmocka_unit_test(a_full_backend_is_waited_for),
        cmocka_unit_test(received_as_sent),
        cmocka_unit_test(without_buffers_packets_wait),
        cmocka_unit_test(with_too_few_buffers_packets_wait_asleep),
        cmocka_unit_test(what_no_ring_holds_is_dropped),
        cmocka_unit_test(what_the_driver_cannot_is_finished),
        cmocka_unit_test(flows_are_spread),
        cmocka_unit_test(link_mtu_and_announcements),
        cmocka_unit_test(bad_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
