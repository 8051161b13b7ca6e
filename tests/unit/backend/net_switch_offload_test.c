/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the switch does for its uplink what that does not take, and drops what that has no room for.
 * Where it sits: tests/unit/backend.
 */
#include "net_switch_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_offload.h"

static void drivers_offloads_are_joined(void **state)
{
    struct lan lan;
    struct lan_port *a, *b;

    (void)state;
    lan_open(&lan, VIO_NET_CSUM | VIO_NET_TSO4 | VIO_NET_TSO6);
    lan.up.offloads = 99;
    a = lan_port(&lan, 0, false);
    assert_int_equal(lan.up.offloads, 0);
    a->b->ops->offloads(a->b, VIO_NET_CSUM);
    b = lan_port(&lan, 0, false);
    b->b->ops->offloads(b->b, VIO_NET_CSUM | VIO_NET_TSO4 | VIO_NET_USO);
    assert_int_equal(lan.up.offloads, VIO_NET_CSUM | VIO_NET_TSO4);
    lan_stop(b);
    assert_int_equal(lan.up.offloads, VIO_NET_CSUM);
    lan_start(b);
    assert_int_equal(lan.up.offloads, VIO_NET_CSUM | VIO_NET_TSO4);
    lan_close(&lan);
}

enum { TCP_HEADERS = 14 + 20 + 20 };

/* TCP over IPv4 with a checksum that is begun, and `len` bytes in all. */
static struct vio_net_packet tcp_make(uint8_t *frame, struct vio_seg *seg, uint32_t len, uint16_t mss)
{
    static const uint8_t ip[] = { 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2 };
    struct vio_net_packet p = { .len = len, .nr = 2, .seg = seg };
    uint8_t pseudo[12] = { 192, 0, 2, 1, 192, 0, 2, 2, 0, 6, (uint8_t)((len - 34) >> 8), (uint8_t)(len - 34) };
    uint16_t sum;

    frame_make(frame, len, ALL_HEAR, 1, NO_TAG, 1);
    frame[12] = 8;
    frame[13] = 0;
    memcpy(frame + 14, ip, sizeof ip);
    frame[16] = (uint8_t)((len - 14) >> 8);
    frame[17] = (uint8_t)(len - 14);
    sum = vio_net_fold(vio_net_sum(frame + 14, 20, 0));
    memcpy(frame + 24, &sum, 2);
    frame[46] = 5 << 4; /* TCP's header, with ACK */
    frame[47] = 0x10;
    sum = (uint16_t)~vio_net_fold(vio_net_sum(pseudo, sizeof pseudo, 0));
    memcpy(frame + 50, &sum, 2);
    p.hdr = (struct vio_net_hdr){ .flags = 1, .csum_start = 34, .csum_offset = 16 };
    if (mss) {
        p.hdr.gso_type = 1;
        p.hdr.gso_size = mss;
        p.hdr.hdr_len = TCP_HEADERS;
    }
    seg[0] = (struct vio_seg){ frame, 40 };
    seg[1] = (struct vio_seg){ frame + 40, len - 40 };
    return p;
}

/* Whether the checksum of TCP in a frame with `l2` bytes before IP is right. */
static bool tcp_sum_is_right(const struct kept *k, unsigned l2)
{
    uint32_t tcp = k->len - l2 - 20;
    uint8_t bytes[LAN_HEAD + 12] = { 192, 0, 2, 1, 192, 0, 2, 2, 0, 6, (uint8_t)(tcp >> 8), (uint8_t)tcp };

    memcpy(bytes + 12, k->head + l2 + 20, tcp);
    return vio_net_fold(vio_net_sum(bytes, 12 + tcp, 0)) == 0;
}

static void what_it_takes_goes_as_it_is(void **state)
{
    struct lan lan;
    struct lan_port *a;
    uint8_t frame[300];
    struct vio_seg seg[2];
    struct vio_net_packet p;

    (void)state;
    lan_open(&lan, VIO_NET_CSUM | VIO_NET_TSO4);
    a = lan_port(&lan, 0, false);
    p = tcp_make(frame, seg, 300, 60);
    assert_int_equal(a->b->ops->send(a->b, &p, 1), 1);
    assert_int_equal(lan.up.ear.frames, 1);
    assert_int_equal(lan.up.ear.kept[0].hdr.gso_size, 60);
    assert_ptr_equal(lan.up.ear.kept[0].last, frame + 40);
    lan_close(&lan);
}

static void what_it_does_not_take_is_done_here(void **state)
{
    struct lan lan;
    struct lan_port *trunk, *access;
    uint8_t frame[300], plain[64];
    struct vio_seg seg[2], plain_seg = { plain, 64 };
    struct vio_net_packet p[3];

    (void)state;
    lan_open(&lan, VIO_NET_TSO4 | VIO_NET_UFO); /* without CSUM: nothing */
    trunk = lan_port(&lan, 0, false);
    access = lan_port(&lan, 5, false);
    frame_make(plain, 64, ALL_HEAR, 1, NO_TAG, 0);
    p[0] = p[2] = (struct vio_net_packet){ .len = 64, .nr = 1, .seg = &plain_seg };
    p[1] = tcp_make(frame, seg, 110, 0);
    assert_int_equal(trunk->b->ops->send(trunk->b, p, 3), 3);
    assert_int_equal(lan.up.ear.frames, 3); /* in order, the second with its checksum */
    assert_ptr_equal(lan.up.ear.kept[0].last, plain);
    assert_int_equal(lan.up.ear.kept[1].hdr.flags, 0);
    assert_int_equal(lan.up.ear.kept[1].len, 110);
    assert_true(tcp_sum_is_right(&lan.up.ear.kept[1], 14));
    assert_ptr_equal(lan.up.ear.kept[2].last, plain);
    heard(&lan);
    /* Cut, with the tag that is added towards the uplink. */
    p[0] = tcp_make(frame, seg, TCP_HEADERS + 150, 60);
    assert_int_equal(access->b->ops->send(access->b, p, 1), 1);
    assert_int_equal(lan.up.ear.frames, 3);
    for (unsigned i = 0; i < 3; i++) {
        const struct kept *k = &lan.up.ear.kept[i];

        assert_int_equal(tag_of(k), 5);
        assert_int_equal(k->len, 4 + TCP_HEADERS + (i < 2 ? 60 : 30));
        assert_int_equal(k->hdr.flags | k->hdr.gso_type, 0);
        assert_true(tcp_sum_is_right(k, 18));
        assert_memory_equal(k->head + 4 + TCP_HEADERS, frame + TCP_HEADERS + 60 * i, i < 2 ? 60 : 30);
    }
    assert_int_equal(trunk->ear.frames, 1); /* a port has it whole */
    assert_int_equal(trunk->ear.kept[0].hdr.gso_size, 60);
    assert_int_equal(trunk->ear.kept[0].hdr.csum_start, 38);
    assert_int_equal(counter(access, "uplink_out_frames"), 6);
    heard(&lan);
    /* Not what its header says. */
    p[0].hdr.gso_type = 4;
    assert_int_equal(access->b->ops->send(access->b, p, 1), 1);
    assert_int_equal(heard(&lan), 1);
    assert_int_equal(counter(access, "dropped_offload"), 1);
    lan_close(&lan);
}

static void a_full_uplink_drops(void **state)
{
    struct lan lan;
    struct lan_port *a;
    uint8_t frame[300], plain[64];
    struct vio_seg seg[2], plain_seg = { plain, 64 };
    struct vio_net_packet p[4];

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    frame_make(plain, 64, 9, 1, NO_TAG, 0);
    for (unsigned i = 0; i < 4; i++)
        p[i] = (struct vio_net_packet){ .len = 64, .nr = 1, .seg = &plain_seg };
    lan.up.ear.room = 3;
    assert_int_equal(a->b->ops->send(a->b, p, 4), 4);
    assert_int_equal(lan.up.ear.frames, 3);
    assert_int_equal(counter(a, "uplink_dropped_no_room"), 1);
    lan.up.ear.room = 1;
    p[0] = tcp_make(frame, seg, TCP_HEADERS + 150, 60);
    assert_int_equal(a->b->ops->send(a->b, p, 1), 1); /* the rest of a frame that was cut is not offered */
    assert_int_equal(lan.up.ear.frames, 4);
    assert_int_equal(counter(a, "uplink_dropped_no_room"), 2);
    assert_int_equal(counter(a, "dropped_offload"), 0);
    lan_close(&lan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drivers_offloads_are_joined),
        cmocka_unit_test(what_it_takes_goes_as_it_is),
        cmocka_unit_test(what_it_does_not_take_is_done_here),
        cmocka_unit_test(a_full_uplink_drops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
