/* SPDX-License-Identifier: MIT */
/* Purpose: the switch: learning, VLANs, isolation, full receivers, its table and its life. Where it sits: tests/unit/backend. */
#include "net_switch_help.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_switch.h"

/* ------------------------------------------------------------------ learning */

static void stations_are_learned(void **state)
{
    struct lan lan;
    struct lan_port *a, *b;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    lan_port(&lan, 0, false);
    say(a, 1, 2); /* unknown: to all but the sender */
    assert_int_equal(heard(&lan), LAN_UPLINK | 6);
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 1);
    say(a, 1, 2);
    assert_int_equal(heard(&lan), 2);
    say(a, 1, ALL_HEAR);
    assert_int_equal(heard(&lan), LAN_UPLINK | 6);
    say(a, 1, GROUP_HEARS);
    assert_int_equal(heard(&lan), LAN_UPLINK | 6);
    say(a, 3, 1); /* a neighbour on its own side */
    say(a, 1, 1);
    assert_int_equal(heard(&lan), 0);
    /* Addresses that are no station's are not learned. */
    say(b, ALL_HEAR, 1);
    say(b, GROUP_HEARS, 1);
    assert_int_equal(heard(&lan), 1);
    assert_int_equal(lan.sw->table.stations[1], 1);
    say(a, 1, GROUP_HEARS);
    assert_int_equal(heard(&lan), LAN_UPLINK | 6);
    assert_int_equal(counter(a, "flooded"), 4);
    assert_int_equal(counter(a, "moves"), 0);
    assert_int_equal(counter(a, "in_frames"), 7);
    assert_int_equal(counter(a, "in_bytes"), 7 * 64);
    assert_int_equal(counter(a, "out_frames"), 3);
    assert_int_equal(counter(a, "out_bytes"), 3 * 64);
    lan_close(&lan);
}

static void stations_move_and_age(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *c;

    (void)state;
    lan_open(&lan, -1);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    c = lan_port(&lan, 0, false);
    say(a, 1, ALL_HEAR);
    say(b, 2, ALL_HEAR);
    heard(&lan);
    say(c, 1, 2); /* station 1 is there now */
    assert_int_equal(heard(&lan), 2);
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 4);
    assert_int_equal(counter(c, "moves"), 1);
    assert_int_equal(counter(a, "moves"), 0);
    lan.now += NET_TABLE_AGE - 1;
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 4);
    lan.now += 1; /* 1 was not heard for 300 s, 2 was */
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 5);
    say(c, 1, 2);
    assert_int_equal(heard(&lan), 2);
    lan.now += NET_TABLE_AGE;
    say(a, 1, ALL_HEAR); /* back, after it had been forgotten: no move */
    assert_int_equal(counter(a, "moves"), 0);
    heard(&lan);
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 1);
    lan_close(&lan);
}

static void bursts_are_grouped_and_flushed_once(void **state)
{
    static const uint8_t to[] = { 2, 2, 3, 2, ALL_HEAR, 2, 2 };
    struct lan lan;
    struct lan_port *a, *b, *c;
    uint8_t frame[200][64];
    struct vio_seg seg[200];
    struct vio_net_packet p[200];

    (void)state;
    lan_open(&lan, -1);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    c = lan_port(&lan, 0, false);
    say(b, 2, ALL_HEAR);
    say(c, 3, ALL_HEAR);
    heard(&lan);
    for (unsigned i = 0; i < 200; i++) {
        seg[i] = (struct vio_seg){ frame[i], 64 };
        p[i] = (struct vio_net_packet){ .len = 64, .nr = 1, .seg = &seg[i] };
        frame_make(frame[i], 64, i < sizeof to ? to[i] : 2, 1, NO_TAG, (uint8_t)i);
    }
    assert_int_equal(a->b->ops->send(a->b, p, sizeof to), sizeof to);
    assert_int_equal(b->ear.frames, 6);
    assert_int_equal(b->ear.calls, 4);
    assert_int_equal(b->ear.flushes, 1);
    assert_int_equal(c->ear.frames, 2);
    assert_int_equal(c->ear.flushes, 1);
    /* In order, and the very memory of the sender. */
    assert_ptr_equal(b->ear.kept[3].last, frame[4]);
    assert_ptr_equal(b->ear.kept[5].last, frame[6]);
    assert_memory_equal(b->ear.kept[5].head, frame[6], 64);
    heard(&lan);
    /* More than a burst at once. */
    assert_int_equal(a->b->ops->send(a->b, p + sizeof to, 190), 190);
    assert_int_equal(b->ear.frames, 190);
    assert_int_equal(b->ear.calls, 3);
    assert_int_equal(b->ear.flushes, 1);
    assert_int_equal(heard(&lan), 2);
    assert_int_equal(a->b->ops->send(a->b, p, 0), 0);
    assert_int_equal(heard(&lan), 0);
    lan_close(&lan);
}

static void a_full_receiver_stops_nobody(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *c;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    c = lan_port(&lan, 0, false);
    say(b, 2, ALL_HEAR);
    say(c, 3, ALL_HEAR);
    heard(&lan);
    b->ear.room = 1;
    lan.up.ear.room = 0;
    say(a, 1, 2);
    say(a, 1, 2); /* no room */
    say(a, 1, 3);
    say(a, 1, ALL_HEAR); /* no room for 2, nor for the uplink */
    assert_int_equal(c->ear.frames, 2);
    assert_int_equal(heard(&lan), 6);
    assert_int_equal(counter(b, "dropped_no_room"), 2);
    assert_int_equal(counter(b, "out_frames"), 1 + 1); /* the other was c's first */
    assert_int_equal(counter(c, "dropped_no_room"), 0);
    assert_int_equal(counter(c, "uplink_dropped_no_room"), 1);
    lan_close(&lan);
}

static void short_frames_are_dropped(void **state)
{
    struct lan lan;
    struct lan_port *a;
    uint8_t frame[32];
    struct vio_seg seg = { frame, 17 };
    struct vio_net_packet p = { .len = 17, .nr = 1, .seg = &seg };

    (void)state;
    lan_open(&lan, -1);
    a = lan_port(&lan, 0, false);
    lan_port(&lan, 0, false);
    frame_make(frame, 32, 2, 1, 5, 0);
    assert_int_equal(a->b->ops->send(a->b, &p, 1), 1); /* a tag without what it is put on */
    seg.len = p.len = 13;
    assert_int_equal(a->b->ops->send(a->b, &p, 1), 1);
    assert_int_equal(heard(&lan), 0);
    assert_int_equal(counter(a, "dropped_short"), 2);
    frame_make(frame, 32, 2, 1, NO_TAG, 0);
    seg.len = p.len = 14;
    assert_int_equal(a->b->ops->send(a->b, &p, 1), 1);
    assert_int_equal(heard(&lan), 2);
    lan_close(&lan);
}

/* ------------------------------------------------------------------ isolation */

static void isolated_ports_do_not_meet(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *open;

    (void)state;
    lan_open(&lan, 0);
    a = lan_port(&lan, 0, true);
    b = lan_port(&lan, 0, true);
    open = lan_port(&lan, 0, false);
    say(a, 1, ALL_HEAR);
    assert_int_equal(heard(&lan), LAN_UPLINK | 4);
    say(b, 2, 9); /* unknown */
    assert_int_equal(heard(&lan), LAN_UPLINK | 4);
    say(open, 3, ALL_HEAR);
    assert_int_equal(heard(&lan), LAN_UPLINK | 3);
    uplink_say(&lan, 4, ALL_HEAR, NO_TAG);
    assert_int_equal(heard(&lan), 7);
    say(a, 1, 2);
    assert_int_equal(heard(&lan), 0);
    assert_int_equal(counter(a, "dropped_isolation"), 1);
    say(a, 1, 3);
    assert_int_equal(heard(&lan), 4);
    say(open, 3, 1);
    assert_int_equal(heard(&lan), 1);
    say(a, 1, 4);
    assert_int_equal(heard(&lan), LAN_UPLINK);
    uplink_say(&lan, 4, 2, NO_TAG);
    assert_int_equal(heard(&lan), 2);
    /* What may not be said is not learned from: station 3 stays where it was. */
    say(a, 3, 2);
    say(b, 2, 3);
    assert_int_equal(heard(&lan), 4);
    lan_close(&lan);
}

/* ------------------------------------------------------------------ VLANs */

static void access_ports_are_apart(void **state)
{
    struct lan lan;
    struct lan_port *five, *six;

    (void)state;
    lan_open(&lan, -1);
    five = lan_port(&lan, 5, false);
    lan_port(&lan, 5, false);
    six = lan_port(&lan, 6, false);
    lan_port(&lan, 6, false);
    say(five, 1, ALL_HEAR);
    assert_int_equal(heard(&lan), 2);
    say(six, 2, 1); /* the same address, another VLAN */
    assert_int_equal(heard(&lan), 8);
    say(six, 1, ALL_HEAR);
    assert_int_equal(counter(six, "moves"), 0);
    say_tagged(five, 1, 2, 6);
    say_tagged(five, 1, 2, 5);
    say_tagged(five, 1, 2, 0);
    assert_int_equal(heard(&lan), 8);
    assert_int_equal(counter(five, "dropped_vlan"), 3);
    lan_close(&lan);
}

/* One frame in several pieces of which the first end inside its header. */
static void send_pieces(struct lan_port *port, uint8_t *frame, uint32_t len, struct vio_net_hdr hdr)
{
    struct vio_seg seg[] = { { frame, 5 }, { frame + 5, 0 }, { frame + 5, 9 }, { frame + 14, 6 }, { frame + 20, len - 20 } };
    struct vio_net_packet p = { .hdr = hdr, .len = len, .nr = 5, .seg = seg };

    assert_int_equal(port->b->ops->send(port->b, &p, 1), 1);
}

static void tags_are_added(void **state)
{
    struct lan lan;
    struct lan_port *access, *trunk;
    struct vio_net_hdr hdr = { .flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 40, .csum_start = 34, .csum_offset = 16 };
    const struct kept *k;
    uint8_t frame[120], other[120];

    (void)state;
    lan_open(&lan, VIO_NET_OFFLOADS);
    access = lan_port(&lan, 0x123, false);
    trunk = lan_port(&lan, 0, false);
    lan_port(&lan, 0x123, false);
    lan_port(&lan, 0x124, false);
    frame_make(frame, sizeof frame, 9, 1, NO_TAG, 3);
    memcpy(other, frame, sizeof frame);
    send_pieces(access, frame, sizeof frame, hdr);
    k = &trunk->ear.kept[0];
    assert_int_equal(k->len, 124);
    assert_int_equal(tag_of(k), 0x123);
    assert_memory_equal(k->head, frame, 12);
    assert_memory_equal(k->head + 16, frame + 12, 108);
    assert_ptr_equal(k->last, frame + 20); /* no payload was copied */
    assert_int_equal(k->hdr.csum_start, 38);
    assert_int_equal(k->hdr.csum_offset, 16);
    assert_int_equal(k->hdr.hdr_len, 58);
    assert_int_equal(k->hdr.gso_size, 40);
    assert_memory_equal(lan.up.ear.kept[0].head, k->head, 124);
    k = &lan.port[2].ear.kept[0]; /* as it was */
    assert_int_equal(k->len, 120);
    assert_int_equal(k->hdr.csum_start, 34);
    assert_memory_equal(k->head, frame, 120);
    assert_memory_equal(frame, other, sizeof frame);
    assert_int_equal(heard(&lan), LAN_UPLINK | 2 | 4);
    /* By its tag the trunk speaks with it. */
    say_tagged(trunk, 9, 1, 0xe123); /* priority bits do not matter */
    assert_int_equal(heard(&lan), 1);
    assert_int_equal(tag_of(&access->ear.kept[0]), NO_TAG);
    lan_close(&lan);
}

static void tags_are_removed(void **state)
{
    struct lan lan;
    struct lan_port *access, *trunk;
    struct vio_net_hdr hdr = { .flags = 1, .csum_start = 38, .csum_offset = 16 };
    const struct kept *k;
    uint8_t frame[120];

    (void)state;
    lan_open(&lan, 0);
    trunk = lan_port(&lan, 0, false);
    access = lan_port(&lan, 7, false);
    lan_port(&lan, 8, false);
    lan_port(&lan, 0, false);
    frame_make(frame, sizeof frame, ALL_HEAR, 1, 7, 3);
    send_pieces(trunk, frame, sizeof frame, hdr);
    k = &access->ear.kept[0];
    assert_int_equal(k->len, 116);
    assert_memory_equal(k->head, frame, 12);
    assert_memory_equal(k->head + 12, frame + 16, 104);
    assert_ptr_equal(k->last, frame + 20);
    assert_int_equal(k->hdr.csum_start, 34);
    assert_int_equal(k->hdr.hdr_len, 0);
    k = &lan.port[3].ear.kept[0]; /* a trunk has it as it came */
    assert_int_equal(k->len, 120);
    assert_int_equal(k->hdr.csum_start, 38);
    assert_memory_equal(k->head, frame, 120);
    assert_int_equal(heard(&lan), LAN_UPLINK | 2 | 8);
    /* Without a tag, or with priority only: no access port's VLAN. */
    say(trunk, 1, ALL_HEAR);
    say_tagged(trunk, 1, ALL_HEAR, 0x6000);
    assert_int_equal(heard(&lan), LAN_UPLINK | 8);
    say_tagged(trunk, 1, ALL_HEAR, 4095);
    assert_int_equal(heard(&lan), 0);
    assert_int_equal(counter(trunk, "dropped_vlan"), 1);
    uplink_say(&lan, 3, ALL_HEAR, 8);
    assert_int_equal(heard(&lan), 1 | 4 | 8);
    assert_int_equal(lan.port[2].ear.kept[0].len, 60);
    lan_close(&lan);
}

/* A tag more has no place, or one less would leave another. */
static void frames_that_cannot_be_tagged_are_dropped(void **state)
{
    static uint8_t big[VIO_NET_FRAME_MAX];
    struct vio_net_hdr early = { .flags = 1, .csum_start = 13, .csum_offset = 0 };
    struct vio_net_hdr late = { .flags = 1, .csum_start = UINT16_MAX - 3, .csum_offset = 0 };
    struct vio_seg many[VIO_NET_SEGS_MAX];
    struct vio_net_packet p = { .len = VIO_NET_SEGS_MAX * 60, .nr = VIO_NET_SEGS_MAX, .seg = many };
    struct lan lan;
    struct lan_port *access, *trunk;

    (void)state;
    lan_open(&lan, -1);
    access = lan_port(&lan, 7, false);
    lan_port(&lan, 7, false);
    trunk = lan_port(&lan, 0, false);
    frame_make(big, sizeof big, ALL_HEAR, 1, NO_TAG, 0);
    send_pieces(access, big, sizeof big, (struct vio_net_hdr){ 0 });
    send_pieces(access, big, 100, early);
    send_pieces(access, big, sizeof big - 4, late);
    for (unsigned i = 0; i < VIO_NET_SEGS_MAX; i++)
        many[i] = (struct vio_seg){ big + i * 60, 60 };
    assert_int_equal(access->b->ops->send(access->b, &p, 1), 1);
    assert_int_equal(counter(access, "dropped_vlan"), 4);
    assert_int_equal(trunk->ear.frames, 0);
    assert_int_equal(lan.port[1].ear.frames, 4); /* who needs no tag has them */
    heard(&lan);
    send_pieces(access, big, sizeof big - 4, (struct vio_net_hdr){ 0 });
    p.nr--;
    p.len -= 60;
    assert_int_equal(access->b->ops->send(access->b, &p, 1), 1);
    assert_int_equal(trunk->ear.frames, 2);
    assert_int_equal(trunk->ear.kept[1].nr, VIO_NET_SEGS_MAX);
    heard(&lan);
    frame_make(big, 100, ALL_HEAR, 2, 7, 0);
    memcpy(big + 16, big + 12, 4); /* a tag behind the tag */
    send_pieces(trunk, big, 100, (struct vio_net_hdr){ 0 });
    assert_int_equal(heard(&lan), 0);
    assert_int_equal(counter(trunk, "dropped_vlan"), 1);
    lan_close(&lan);
}

static void bursts_get_their_tags(void **state)
{
    enum { N = VIO_NET_BURST, PIECES = 100 };
    static uint8_t frame[N][20 * PIECES];
    static struct vio_seg seg[N][PIECES];
    struct vio_net_packet p[N];
    struct lan lan;
    struct lan_port *access, *trunk;

    (void)state;
    lan_open(&lan, -1);
    access = lan_port(&lan, 7, false);
    trunk = lan_port(&lan, 0, false);
    for (unsigned i = 0; i < N; i++) {
        frame_make(frame[i], sizeof frame[i], ALL_HEAR, 1, NO_TAG, (uint8_t)i);
        for (unsigned k = 0; k < PIECES; k++)
            seg[i][k] = (struct vio_seg){ frame[i] + k * 20, 20 };
        p[i] = (struct vio_net_packet){ .len = sizeof frame[i], .nr = PIECES, .seg = seg[i] };
    }
    p[3].hdr = (struct vio_net_hdr){ .flags = 1, .csum_start = 2 }; /* this one cannot have it */
    assert_int_equal(access->b->ops->send(access->b, p, N), N);
    assert_int_equal(trunk->ear.frames, N - 1);
    assert_int_equal(trunk->ear.flushes, 1);
    for (unsigned i = 0; i < N - 1; i++) {
        const struct kept *k = &trunk->ear.kept[i];
        unsigned from = i < 3 ? i : i + 1;

        assert_int_equal(tag_of(k), 7);
        assert_int_equal(k->len, sizeof frame[0] + 4);
        assert_memory_equal(k->head + 18, frame[from] + 14, LAN_HEAD - 18);
        assert_ptr_equal(k->last, frame[from] + 20 * (PIECES - 1));
    }
    lan_close(&lan);
}

/* ------------------------------------------------------------------ life */

static void a_flooding_guest_leaves_others_reachable(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *evil;
    uint8_t frame[64];
    struct vio_seg seg = { frame, sizeof frame };
    struct vio_net_packet p = { .len = sizeof frame, .nr = 1, .seg = &seg };

    (void)state;
    lan_open(&lan, -1);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    evil = lan_port(&lan, 0, false);
    say(a, 1, ALL_HEAR);
    frame_make(frame, sizeof frame, 2, 100, NO_TAG, 0);
    for (unsigned i = 0; i < 50000; i++) {
        memcpy(frame + 7, &i, sizeof i);
        assert_int_equal(evil->b->ops->send(evil->b, &p, 1), 1);
    }
    heard(&lan);
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 1);
    say(a, 1, 2);
    assert_int_equal(heard(&lan), 2);
    lan_close(&lan);
}

static void a_port_that_stops_is_forgotten(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *c;

    (void)state;
    lan_open(&lan, -1);
    a = lan_port(&lan, 0, false);
    b = lan_port(&lan, 0, false);
    c = lan_port(&lan, 0, false);
    say(a, 1, ALL_HEAR);
    say(b, 2, ALL_HEAR);
    heard(&lan);
    lan_stop(a);
    say(b, 2, 1); /* nobody knows it any more */
    assert_int_equal(heard(&lan), 4);
    say(c, 3, 2);
    assert_int_equal(heard(&lan), 2);
    lan_start(a);
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 5);
    say(a, 1, 2);
    assert_int_equal(heard(&lan), 2);
    /* Its place is free for another one once it is gone. */
    lan_stop(b);
    vio_net_close(b->b);
    b = lan_port(&lan, 0, false);
    say(a, 1, 2);
    assert_int_equal(heard(&lan), 4 | 8);
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 1);
    lan.port[1] = lan.port[3]; /* lan_close() goes over those that there are */
    lan.n = 3;
    lan_close(&lan);
}

static void ports_are_checked(void **state)
{
    struct vio_net_port_params params = { .name = "port", .vlan = 4095 };
    struct vio_net_backend *port[NET_SWITCH_PORTS_MAX], *more = NULL;
    struct vio_net_switch *sw;
    struct vio_net_info info;

    (void)state;
    assert_int_equal(vio_net_switch_create(NULL, &sw), 0);
    assert_int_equal(vio_net_switch_port(sw, &params, &more), -EINVAL);
    params.vlan = 4094;
    for (unsigned i = 0; i < NET_SWITCH_PORTS_MAX; i++)
        assert_int_equal(vio_net_switch_port(sw, &params, &port[i]), 0);
    assert_int_equal(vio_net_switch_port(sw, &params, &more), -ENOSPC);
    assert_null(more);
    port[0]->ops->info(port[0], &info);
    assert_int_equal(info.takes, VIO_NET_OFFLOADS);
    assert_int_equal(info.gives, VIO_NET_OFFLOADS);
    assert_false(info.has_mac);
    vio_net_close(port[100]);
    params.name = NULL;
    assert_int_equal(vio_net_switch_port(sw, &params, &port[100]), 0);
    /* The last port holds it. */
    vio_net_switch_release(sw);
    for (unsigned i = 0; i < NET_SWITCH_PORTS_MAX; i++)
        vio_net_close(port[i]);
    vio_net_switch_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stations_are_learned),
        cmocka_unit_test(stations_move_and_age),
        cmocka_unit_test(bursts_are_grouped_and_flushed_once),
        cmocka_unit_test(a_full_receiver_stops_nobody),
        cmocka_unit_test(short_frames_are_dropped),
        cmocka_unit_test(isolated_ports_do_not_meet),
        cmocka_unit_test(access_ports_are_apart),
        cmocka_unit_test(tags_are_added),
        cmocka_unit_test(tags_are_removed),
        cmocka_unit_test(frames_that_cannot_be_tagged_are_dropped),
        cmocka_unit_test(bursts_get_their_tags),
        cmocka_unit_test(a_flooding_guest_leaves_others_reachable),
        cmocka_unit_test(a_port_that_stops_is_forgotten),
        cmocka_unit_test(ports_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
