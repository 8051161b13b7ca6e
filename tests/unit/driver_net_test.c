/* SPDX-License-Identifier: MIT */
/* The network driver over a fake transport against vio's own network device, and against one that lies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <vio/drv_net.h>
#include "fake_transport.h"
#include "lying_config.h"
#include "net_tape.h"
#include "spec/net.h"
#include "spec/virtio.h"

#define SECOND UINT64_C(1000000000)

enum { BUFFERS = 512, BUFFER = 1700, BURST = 40 };

struct bench {
    struct vio_drv_net_driver driver;
    struct net_tape tape;
    struct vio_net_params device;
    struct vio_device_params common;
    struct vio_device *dev;
    struct fake *f;
    struct vio_bus *bus;
    struct vio_drvdev *d;
    struct vio_drv_net *n;
    struct vio_net_pool *pool;
    struct virtio_net_config lie, lie_mask;
    unsigned used, changed, lost;
};

static void on_used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    struct bench *b = ctx;

    (void)d;
    (void)queue;
    b->used++;
}

static void on_changed(void *ctx, struct vio_drvdev *d)
{
    struct bench *b = ctx;

    (void)d;
    b->changed++;
}

static void on_lost(void *ctx, struct vio_drvdev *d, uint16_t queue, struct vio_net_buf *buf)
{
    struct bench *b = ctx;

    (void)d;
    (void)queue;
    b->lost++;
    vio_net_pool_give(b->pool, &buf, 1);
}

static void init(struct bench *b, uint16_t pairs)
{
    memset(b, 0, sizeof(*b));
    net_tape_init(&b->tape);
    b->common = (struct vio_device_params){ .name = "net0" };
    vio_features_set(&b->common.ring_add, VIRTIO_F_IN_ORDER);
    b->device = (struct vio_net_params){ .backend = &b->tape.head, .pairs = pairs, .queue_size_max = 256, .mac_given = true,
                                         .mac = { 0x52, 0x54, 0, 1, 2, 3 }, .mtu = 1500, .speed = 10000,
                                         .device = &b->common };
    vio_drv_net_driver(&b->driver, &(struct vio_drv_net_params){ .pairs = pairs, .indirect_max = 8, .changed = on_changed,
                                                                 .lost = on_lost, .ctx = b });
}

static void add(struct bench *b)
{
    char why[128] = "";

    if (vio_net_create(&b->device, &b->dev, why, sizeof(why)) != 0)
        fail_msg("%s", why);
    b->f = fake_create(b->dev, VIRTIO_ID_NET);
    lying_config(b->f, &b->lie, &b->lie_mask, sizeof(b->lie));
    assert_int_equal(vio_bus_create(&b->f->platform, &b->bus), 0);
    assert_int_equal(vio_net_pool_create(&b->f->platform, BUFFERS, BUFFER, &b->pool), 0);
    assert_int_equal(vio_bus_add(b->bus, &b->f->t, 0, &b->driver.driver, &b->d), 0);
    b->n = vio_drv_net_of(b->d);
}

static void run(struct bench *b)
{
    add(b);
    if (b->n == NULL)
        fail_msg("%s", vio_drvdev_why(b->d));
}

/* No buffer is lost, whatever happened. */
static void end(struct bench *b)
{
    vio_bus_destroy(b->bus);
    assert_int_equal(vio_net_pool_free(b->pool), BUFFERS);
    vio_net_pool_destroy(b->pool);
    assert_int_equal(b->f->held, 0);
    fake_free(b->f);
    vio_device_destroy(b->dev);
}

static void fill(uint8_t *at, uint32_t n, unsigned seed)
{
    for (uint32_t i = 0; i < n; i++)
        at[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
    if (n > 13) { /* to us, of no known type */
        memcpy(at, (const uint8_t[]){ 0x52, 0x54, 0, 1, 2, 3 }, 6);
        at[6] = 2;
        at[12] = 0x88;
        at[13] = 0xb5;
    }
}

static unsigned collect_sent(struct bench *b, uint16_t pair)
{
    struct vio_net_buf *back[BURST];
    unsigned total = 0, got;

    while ((got = vio_drv_net_send_done(b->n, pair, back, BURST)) > 0) {
        vio_net_pool_give(b->pool, back, got);
        total += got;
    }
    return total;
}

static void check_sending(struct bench *b, uint16_t pair)
{
    struct vio_net_buf *bufs[BURST];
    uint8_t want[BUFFER];

    for (unsigned round = 0; round < 20; round++) {
        unsigned before = b->tape.sent;

        assert_true(vio_net_pool_take(b->pool, bufs, BURST));
        for (unsigned i = 0; i < BURST; i++) {
            bufs[i]->len = 60 + (round * BURST + i) % 1400;
            fill(vio_net_buf_data(bufs[i]), bufs[i]->len, i);
        }
        memcpy(want, vio_net_buf_data(bufs[BURST - 1]), bufs[BURST - 1]->len);
        assert_int_equal(vio_drv_net_send(b->n, pair, bufs, BURST), BURST);
        fake_serve(b->f);
        assert_int_equal(b->tape.sent, before + BURST);
        assert_int_equal(b->tape.len, 60 + (round * BURST + BURST - 1) % 1400);
        assert_memory_equal(b->tape.frame, want, b->tape.len);
        assert_int_equal(collect_sent(b, pair), BURST);
    }
}

/* Several pieces, and a checksum and a segmentation that are left to the device. */
static void check_pieces(struct bench *b)
{
    struct vio_net_buf *bufs[3];
    struct vio_drv_net_offload offload = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                           .hdr_len = 54, .gso_size = 1000, .csum_start = 34, .csum_offset = 16 };

    assert_true(vio_net_pool_take(b->pool, bufs, 3));
    for (unsigned i = 0; i < 3; i++) {
        bufs[i]->len = 1000 + i;
        fill(vio_net_buf_data(bufs[i]), bufs[i]->len, i);
    }
    bufs[0]->next = bufs[1];
    bufs[1]->next = bufs[2];
    bufs[0]->offload = offload;
    assert_int_equal(vio_drv_net_send(b->n, 0, bufs, 1), 1);
    fake_serve(b->f);
    assert_int_equal(b->tape.len, 3003);
    assert_memory_equal(b->tape.frame, vio_net_buf_data(bufs[0]), 1000);
    assert_memory_equal(b->tape.frame + 2001, vio_net_buf_data(bufs[2]), 1002);
    assert_int_equal(b->tape.hdr.gso_size, 1000);
    assert_int_equal(b->tape.hdr.csum_start, 34);
    assert_int_equal(collect_sent(b, 0), 1);
}

static void give_all(struct bench *b, uint16_t pair)
{
    struct vio_net_buf *bufs[64];
    unsigned room;

    while ((room = vio_drv_net_give_room(b->n, pair)) > 0) {
        unsigned n = room < 64 ? room : 64;

        assert_true(vio_net_pool_take(b->pool, bufs, n));
        assert_int_equal(vio_drv_net_give(b->n, pair, bufs, n), n);
    }
}

static bool deliver(struct bench *b, uint32_t len, struct vio_net_hdr hdr)
{
    static uint8_t bytes[VIO_NET_FRAME_MAX];
    struct vio_seg seg = { bytes, len };

    fill(bytes, len, len);
    return net_tape_deliver(&b->tape, &(struct vio_net_packet){ .hdr = hdr, .len = len, .nr = 1, .seg = &seg });
}

/* The frame's bytes, over its pieces. */
static void check_bytes(const struct vio_net_buf *frame, uint32_t len)
{
    static uint8_t want[VIO_NET_FRAME_MAX];
    uint32_t at = 0;
    unsigned pieces = 0;

    fill(want, len, len);
    for (const struct vio_net_buf *p = frame; p != NULL; p = p->next, pieces++) {
        assert_true(at + p->len <= len);
        assert_memory_equal(want + at, vio_net_buf_data(p), p->len);
        at += p->len;
    }
    assert_int_equal(at, len);
    assert_int_equal(pieces, frame->pieces);
}

static void check_receiving(struct bench *b)
{
    struct vio_drv_net_info info = vio_drv_net_info(b->n);
    struct vio_net_buf *got[BURST];
    uint32_t longest = info.mergeable ? 20000 : 1514;

    if (info.pairs > 1)
        assert_int_equal(vio_drv_net_pairs(b->n, 1), 0); /* so that all comes here */
    for (unsigned round = 0; round < 60; round++) {
        uint32_t len = 60 + round * (longest - 60) / 59;

        give_all(b, 0);
        for (unsigned i = 0; i < 4; i++)
            assert_true(deliver(b, len, (struct vio_net_hdr){ 0 }));
        assert_int_equal(vio_drv_net_receive(b->n, 0, got, BURST), 4);
        for (unsigned i = 0; i < 4; i++) {
            check_bytes(got[i], len);
            assert_int_equal(got[i]->offload.gso_type, 0);
        }
        vio_net_pool_give(b->pool, got, 4);
    }
    /* a checksum that is only begun */
    give_all(b, 0);
    assert_true(deliver(b, 200, (struct vio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6 }));
    assert_int_equal(vio_drv_net_receive(b->n, 0, got, BURST), 1);
    assert_int_equal(got[0]->offload.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    assert_int_equal(got[0]->offload.csum_start, 34);
    assert_int_equal(got[0]->offload.csum_offset, 6);
    vio_net_pool_give(b->pool, got, 1);
    assert_int_equal(vio_drv_net_counters(b->n, 0).header, 0);
}

static void test_variants(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 16; v++) {
        struct bench b;

        init(&b, 2);
        if ((v & 1) == 0)
            vio_features_clear(&b.driver.driver.features, VIRTIO_F_RING_PACKED);
        if ((v & 2) == 0)
            vio_features_clear(&b.driver.driver.features, VIRTIO_F_IN_ORDER);
        if ((v & 4) == 0)
            vio_features_clear(&b.driver.driver.features, VIRTIO_NET_F_MRG_RXBUF);
        if ((v & 8) == 0)
            b.driver.params.indirect_max = 0;
        run(&b);
        assert_int_equal(vio_drvdev_has(b.d, VIRTIO_F_RING_PACKED), v & 1);
        assert_int_equal(vio_drvdev_has(b.d, VIRTIO_F_IN_ORDER), (v & 2) != 0);
        assert_int_equal(vio_drv_net_info(b.n).mergeable, (v & 4) != 0);
        check_sending(&b, 0);
        check_sending(&b, 1);
        check_pieces(&b);
        check_receiving(&b);
        end(&b);
    }
}

/* As many frames as the queue holds, and one more; what cannot be is not taken. */
static void test_full(void **state)
{
    struct vio_net_buf *bufs[BUFFERS];
    struct bench b;

    (void)state;
    init(&b, 1);
    run(&b);
    b.f->asleep = true;
    assert_true(vio_net_pool_take(b.pool, bufs, 300));
    for (unsigned i = 0; i < 300; i++)
        bufs[i]->len = 64;
    assert_int_equal(vio_drv_net_send(b.n, 0, bufs, 300), 256);
    assert_int_equal(vio_drv_net_send_room(b.n, 0), 0);
    assert_int_equal(vio_drv_net_send(b.n, 0, bufs + 256, 44), 0);
    b.f->asleep = false;
    fake_serve(b.f);
    assert_int_equal(collect_sent(&b, 0), 256);
    bufs[257]->len = 0;
    bufs[258]->offset = 4; /* no room for the header */
    bufs[259]->len = 100000;
    assert_int_equal(vio_drv_net_send(b.n, 0, bufs + 256, 44), 1);
    assert_int_equal(vio_drv_net_send(b.n, 0, bufs + 258, 42), 0);
    assert_int_equal(vio_drv_net_send(b.n, 0, bufs + 259, 41), 0);
    assert_int_equal(vio_drv_net_send(b.n, 9, bufs + 260, 40), 0); /* no such pair */
    bufs[260]->offset = 5;
    assert_int_equal(vio_drv_net_give(b.n, 0, bufs + 260, 40), 0);
    fake_serve(b.f);
    assert_int_equal(collect_sent(&b, 0), 1);
    vio_net_pool_give(b.pool, bufs + 257, 43);
    assert_false(vio_net_pool_take(b.pool, bufs, BUFFERS + 1));
    end(&b);
}

static void test_configuration(void **state)
{
    struct vio_drv_net_info info;
    struct bench b;

    (void)state;
    init(&b, 2);
    b.driver.params.used = on_used;
    run(&b);
    info = vio_drv_net_info(b.n);
    assert_true(info.mac_known && info.link_up && !info.announce && info.control);
    assert_memory_equal(info.mac, b.device.mac, 6);
    assert_int_equal(info.mtu, 1500);
    assert_int_equal(info.speed, 10000);
    assert_int_equal(info.pairs, 2);
    assert_int_equal(info.pairs_max, 2);
    assert_true(info.header == 12 || info.header == 20);
    vio_net_set_link(b.dev, false);
    vio_drvdev_event(b.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(b.changed, 1);
    assert_false(vio_drv_net_info(b.n).link_up);
    LIE(&b, status, vio_le16_of(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE));
    vio_drvdev_event(b.d, VIO_EVENT_QUEUE_CONFIG);
    assert_true(vio_drv_net_info(b.n).announce);
    memset(&b.lie_mask, 0, sizeof(b.lie_mask));
    assert_int_equal(vio_drv_net_announced(b.n), 0);
    assert_false(vio_drv_net_info(b.n).announce);
    vio_net_set_link(b.dev, true);
    vio_drvdev_event(b.d, VIO_EVENT_QUEUE_CONFIG);
    assert_int_equal(vio_drv_net_pairs(b.n, 1), 0);
    give_all(&b, 0);
    assert_true(deliver(&b, 100, (struct vio_net_hdr){ 0 }));
    vio_drvdev_event(b.d, 0);
    assert_true(b.used >= 1);
    end(&b);
    assert_true(b.lost >= 256);
}

static void test_hostile_configuration(void **state)
{
    struct vio_drv_net_info info;
    struct bench b;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        init(&b, 2);
        LIE(&b, max_virtqueue_pairs, vio_le16_of(i == 0 ? 0 : 0x8001));
        add(&b);
        assert_null(b.n);
        assert_non_null(strstr(vio_drvdev_why(b.d), "max_virtqueue_pairs"));
        end(&b);
    }
    init(&b, 2);
    LIE(&b, mtu, vio_le16_of(67));
    LIE(&b, speed, vio_le32_of(0x80000000u));
    LIE(&b, duplex, 7);
    LIE(&b, mac[0], 0xff);
    LIE(&b, rss_max_key_size, 255);
    LIE(&b, rss_max_indirection_table_length, vio_le16_of(65535));
    run(&b);
    info = vio_drv_net_info(b.n);
    assert_false(info.mac_known);
    assert_int_equal(info.mtu, 0);
    assert_int_equal(info.speed, UINT32_MAX);
    assert_int_equal(info.duplex, 0xff);
    assert_true(info.rss_key_max <= VIO_DRV_NET_RSS_KEY_MAX && info.rss_table_max <= VIO_DRV_NET_RSS_TABLE_MAX);
    end(&b);
}

static void test_control(void **state)
{
    static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 }, group[6] = { 1, 0, 0x5e, 0, 0, 1 };
    static const uint16_t table[] = { 0, 1, 1, 0 };
    static const uint8_t key[40] = { 1, 2, 3 };
    struct vio_net_rss rss = { .hash_types = 1, .table = table, .table_len = 4, .max_tx = 2, .key = key, .key_len = 40 };
    struct bench b;

    (void)state;
    init(&b, 2);
    run(&b);
    assert_int_equal(vio_drv_net_mode(b.n, VIO_NET_PROMISC | VIO_NET_NOBCAST), 0);
    assert_int_equal(vio_drv_net_mode(b.n, 0), 0);
    assert_int_equal(vio_drv_net_mode(b.n, 64), -EINVAL);
    assert_int_equal(vio_drv_net_mac(b.n, mac), 0);
    assert_memory_equal(vio_drv_net_info(b.n).mac, mac, 6);
    assert_int_equal(vio_drv_net_mac(b.n, group), -EINVAL);
    assert_int_equal(vio_drv_net_macs(b.n, &mac, 1, &group, 1), 0);
    assert_int_equal(vio_drv_net_macs(b.n, &mac, VIO_DRV_NET_MACS_MAX + 1, NULL, 0), -EINVAL);
    assert_int_equal(vio_drv_net_vlan(b.n, 5, true), 0);
    assert_int_equal(vio_drv_net_vlan(b.n, 5, false), 0);
    assert_int_equal(vio_drv_net_vlan(b.n, 4096, true), -EINVAL);
    assert_int_equal(vio_drv_net_pairs(b.n, 1), 0);
    assert_int_equal(vio_drv_net_pairs(b.n, 3), -EINVAL);
    assert_int_equal(vio_drv_net_offloads(b.n, VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM)), 0);
    assert_int_equal(vio_drv_net_offloads(b.n, 1u << 31), -EINVAL);
    assert_int_equal(vio_drv_net_rss(b.n, &rss), 0);
    rss.table_len = 3;
    assert_int_equal(vio_drv_net_rss(b.n, &rss), -EINVAL);
    rss.table_len = 0;
    assert_int_equal(vio_drv_net_rss(b.n, &rss), 0);
    assert_int_equal(vio_drv_net_coalesce(b.n, -1, 16, 100), 0);
    assert_int_equal(vio_drv_net_coalesce(b.n, -2, 16, 100), 0);
    assert_int_equal(vio_drv_net_coalesce(b.n, 1, 16, 100), 0);
    assert_int_equal(vio_drv_net_coalesce(b.n, 4, 16, 100), -EINVAL);
    assert_int_equal(vio_drv_net_command(b.n, 99, 0, NULL, 0, NULL, 0), -EIO); /* the device knows none such */
    assert_int_equal(vio_drv_net_command(b.n, 0, 0, mac, 5000, NULL, 0), -EINVAL);
    b.f->asleep = true;
    assert_int_equal(vio_drv_net_vlan(b.n, 5, true), -ETIMEDOUT);
    b.f->asleep = false;
    assert_int_equal(vio_drv_net_vlan(b.n, 5, true), -ETIMEDOUT); /* its memory is the device's */
    assert_int_equal(vio_drvdev_recover(b.d), 0);
    b.n = vio_drv_net_of(b.d);
    assert_int_equal(vio_drv_net_vlan(b.n, 5, true), 0);
    end(&b);

    init(&b, 1);
    vio_features_clear(&b.driver.driver.features, VIRTIO_NET_F_CTRL_VQ);
    run(&b);
    assert_false(vio_drv_net_info(b.n).control);
    assert_int_equal(vio_drv_net_mode(b.n, 0), 0);
    assert_int_equal(vio_drv_net_mode(b.n, VIO_NET_PROMISC), -ENOTSUP);
    assert_int_equal(vio_drv_net_announced(b.n), -ENOTSUP);
    end(&b);
}

/* ------------------------------------------------------------------ a device that lies */

/* Ten buffers given, and the device asleep. bufs: in the order they were given; split: with the ids 0, 1, ... */
static void hostile(struct bench *b, bool mergeable, struct vio_net_buf **bufs)
{
    init(b, 1);
    vio_features_clear(&b->driver.driver.features, VIRTIO_F_RING_PACKED);
    vio_features_clear(&b->driver.driver.features, VIRTIO_F_IN_ORDER);
    vio_features_clear(&b->driver.driver.features, VIRTIO_NET_F_HASH_REPORT);
    if (!mergeable)
        vio_features_clear(&b->driver.driver.features, VIRTIO_NET_F_MRG_RXBUF);
    run(b);
    b->f->asleep = true;
    assert_true(vio_net_pool_take(b->pool, bufs, 10));
    assert_int_equal(vio_drv_net_give(b->n, 0, bufs, 10), 10);
}

static struct virtio_net_hdr *header_of(struct vio_net_buf *buf)
{
    return (struct virtio_net_hdr *)(void *)(buf->host + buf->offset - VIRTIO_NET_HDR_BYTES);
}

static void test_hostile_lengths(void **state)
{
    struct vio_net_buf *bufs[10], *got[4];
    struct bench b;

    (void)state;
    for (uint32_t len = 0; len <= VIRTIO_NET_HDR_BYTES; len++) {
        hostile(&b, len % 2 == 0, bufs);
        header_of(bufs[0])->num_buffers = vio_le16_of(1);
        fake_used(b.f, 0, 0, 0, len);
        assert_int_equal(vio_drv_net_receive(b.n, 0, got, 4), 1);
        assert_ptr_equal(got[0], bufs[0]);
        assert_int_equal(got[0]->pieces, 0);
        assert_int_equal(got[0]->len, 0);
        assert_int_equal(vio_drv_net_counters(b.n, 0).short_, 1);
        vio_net_pool_give(b.pool, got, 1);
        end(&b);
    }
    hostile(&b, true, bufs);
    fake_used(b.f, 0, 0, 0, UINT32_MAX); /* beyond the buffer */
    assert_int_equal(vio_drv_net_receive(b.n, 0, got, 4), 0);
    assert_int_equal(vio_drv_net_fault(b.n, 0), VIO_FAULT_USED_LEN);
    assert_int_equal(vio_drvdev_wait(b.d, 0, SECOND), -EIO);
    end(&b);
    assert_int_equal(b.lost, 10);
}

static void test_hostile_num_buffers(void **state)
{
    struct vio_net_buf *bufs[10], *got[4];
    struct bench b;

    (void)state;
    hostile(&b, true, bufs);
    header_of(bufs[0])->num_buffers = vio_le16_of(0);
    fake_used(b.f, 0, 0, 0, 100);
    assert_int_equal(vio_drv_net_receive(b.n, 0, got, 4), 1);
    assert_int_equal(got[0]->pieces, 0);
    assert_int_equal(vio_drv_net_counters(b.n, 0).count, 1);
    vio_net_pool_give(b.pool, got, 1);
    /* nine are left: nine are a frame, whose pieces may come later... */
    header_of(bufs[1])->num_buffers = vio_le16_of(9);
    for (unsigned i = 1; i <= 4; i++)
        fake_used(b.f, 0, (uint16_t)i, i, 100);
    assert_int_equal(vio_drv_net_receive(b.n, 0, got, 4), 0);
    for (unsigned i = 5; i < 10; i++)
        fake_used(b.f, 0, (uint16_t)i, i, i);
    assert_int_equal(vio_drv_net_receive(b.n, 0, got, 4), 1);
    assert_int_equal(got[0]->pieces, 9);
    vio_net_pool_give(b.pool, got, 1);
    end(&b);
    assert_int_equal(b.lost, 0);

    /* ...ten are not, nor is more than a frame may have. */
    for (unsigned i = 0; i < 3; i++) {
        static const uint16_t many[] = { 11, 65, 65535 };

        hostile(&b, true, bufs);
        header_of(bufs[0])->num_buffers = vio_le16_of(many[i]);
        fake_used(b.f, 0, 0, 0, 100);
        fake_used(b.f, 0, 1, 1, 100);
        assert_int_equal(vio_drv_net_receive(b.n, 0, got, 4), 0);
        assert_int_equal(vio_drv_net_fault(b.n, 0), VIO_FAULT_USED_FRAME);
        assert_int_equal(vio_drvdev_wait(b.d, 0, SECOND), -EIO);
        assert_non_null(strstr(vio_drvdev_why(b.d), "used-frame"));
        end(&b);
    }
}

static void test_hostile_header(void **state)
{
    static const struct {
        struct virtio_net_hdr h;
        bool good;
    } cases[] = {
        { { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = { VIO_LE_(16, 40) }, .csum_offset = { VIO_LE_(16, 46) } }, true },
        { { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = { VIO_LE_(16, 40) }, .csum_offset = { VIO_LE_(16, 47) } }, false },
        { { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = { 0xffff }, .csum_offset = { 0xffff } }, false },
        { { .flags = 0xfc }, true }, /* not known: not looked at */
        { { .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = { VIO_LE_(16, 100) } }, false }, /* not agreed */
        { { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 }, false }, /* no size */
        { { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = { VIO_LE_(16, 100) } }, true },
        { { .gso_type = 2 }, false },
        { { .gso_type = 77 }, false },
        { { .hdr_len = { 0xffff } }, true },
    };
    struct vio_net_buf *bufs[10], *got[4];
    struct bench b;

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hostile(&b, true, bufs);
        *header_of(bufs[0]) = cases[i].h;
        header_of(bufs[0])->num_buffers = vio_le16_of(1);
        fake_used(b.f, 0, 0, 0, 100); /* 88 bytes of frame */
        assert_int_equal(vio_drv_net_receive(b.n, 0, got, 4), 1);
        assert_int_equal(got[0]->pieces, cases[i].good);
        assert_int_equal(vio_drv_net_counters(b.n, 0).header, !cases[i].good);
        assert_true(got[0]->offload.hdr_len <= 88);
        vio_net_pool_give(b.pool, got, 1);
        end(&b);
    }
}

static void test_restart(void **state)
{
    struct bench b;

    (void)state;
    init(&b, 2);
    run(&b);
    assert_true(vio_drvdev_has(b.d, VIRTIO_F_RING_RESET));
    give_all(&b, 0);
    assert_int_equal(vio_drv_net_restart(b.n, 0, 64), 0);
    assert_int_equal(b.lost, 256);
    assert_int_equal(vio_drv_net_give_room(b.n, 0), 64);
    check_receiving(&b);
    assert_int_equal(vio_drv_net_restart(b.n, 1, 0), 0);
    check_sending(&b, 0);
    assert_int_equal(vio_drv_net_restart(b.n, 4, 0), -EINVAL);
    end(&b);
}

static void test_no_memory(void **state)
{
    bool ran = false;

    (void)state;
    for (unsigned i = 1; !ran; i++) {
        struct bench b;

        init(&b, 2);
        run(&b);
        b.f->fail_allocation = i;
        ran = vio_drvdev_recover(b.d) == 0;
        if (!ran) {
            assert_int_equal(vio_drvdev_status(b.d), VIO_DRVDEV_FAILED);
            assert_true(vio_drvdev_why(b.d)[0] != '\0');
            b.f->fail_allocation = 0;
            assert_int_equal(vio_drvdev_recover(b.d), 0);
        }
        b.f->fail_allocation = 0;
        end(&b);
        assert_true(i < 60);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_hostile_configuration),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_hostile_num_buffers),
        cmocka_unit_test(test_hostile_header),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
