/* SPDX-License-Identifier: MIT */
/* Purpose: ports of the switch that are fixed to an address. Where it sits: tests/unit/backend. */
#include "net_switch_help.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_switch.h"

static const uint8_t one[VIO_NET_MAC] = { 0x52, 0, 0, 0, 0, 1 };

static void only_its_own_address_comes_in(void **state)
{
    struct lan lan;
    struct lan_port *a, *b;

    (void)state;
    lan_open(&lan, 0);
    a = lan_fixed(&lan, 0, 1);
    b = lan_port(&lan, 0, false);
    say(a, 1, ALL_HEAR);
    assert_int_equal(heard(&lan), LAN_UPLINK | 2);
    say(a, 2, ALL_HEAR);
    say(a, ALL_HEAR, ALL_HEAR);
    say(a, GROUP_HEARS, 1);
    say_tagged(a, 3, ALL_HEAR, 9);
    assert_int_equal(heard(&lan), 0);
    say_tagged(a, 1, ALL_HEAR, 9); /* on a trunk in any VLAN */
    assert_int_equal(heard(&lan), LAN_UPLINK | 2);
    assert_int_equal(counter(a, "dropped_spoofed"), 4);
    assert_int_equal(counter(a, "in_frames"), 6);
    /* What it said in vain was not heard either: 2 is behind b alone. */
    assert_int_equal(lan.sw->table.stations[0], 2);
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 1);
    say(a, 1, 2);
    assert_int_equal(heard(&lan), 2);
    assert_int_equal(counter(b, "dropped_spoofed"), 0);
    lan_close(&lan);
}

static void nobody_else_has_it(void **state)
{
    struct lan lan;
    struct lan_port *a, *b, *evil;

    (void)state;
    lan_open(&lan, 0);
    evil = lan_port(&lan, 0, false);
    say(evil, 1, ALL_HEAR); /* before it was fixed */
    b = lan_port(&lan, 0, false);
    a = lan_fixed(&lan, 0, 1);
    heard(&lan);
    say(b, 2, 1); /* forgotten, and not known yet */
    assert_int_equal(heard(&lan), LAN_UPLINK | 1 | 4);
    say(a, 1, ALL_HEAR);
    heard(&lan);
    say(evil, 1, ALL_HEAR);
    say_tagged(evil, 1, ALL_HEAR, 77);
    uplink_say(&lan, 1, ALL_HEAR, NO_TAG);
    assert_int_equal(heard(&lan), 0);
    assert_int_equal(counter(evil, "dropped_spoofed"), 2);
    assert_int_equal(counter(evil, "uplink_dropped_spoofed"), 1);
    assert_int_equal(counter(evil, "moves"), 0);
    say(b, 2, 1);
    assert_int_equal(heard(&lan), 4);
    /* Also while it does not run. */
    lan_stop(a);
    say(evil, 1, ALL_HEAR);
    assert_int_equal(heard(&lan), 0);
    lan_start(a);
    say(a, 1, 2);
    assert_int_equal(heard(&lan), 2);
    /* Once its port is gone, it is free. */
    lan_stop(a);
    vio_net_close(a->b);
    lan.n--;
    say(evil, 1, 2);
    assert_int_equal(heard(&lan), 2);
    lan_close(&lan);
}

static void each_vlan_has_its_own(void **state)
{
    struct lan lan;
    struct lan_port *five, *six, *trunk;

    (void)state;
    lan_open(&lan, -1);
    five = lan_fixed(&lan, 5, 1);
    six = lan_port(&lan, 6, false);
    trunk = lan_port(&lan, 0, false);
    say(six, 1, ALL_HEAR);
    assert_int_equal(heard(&lan), 4);
    say_tagged(trunk, 1, ALL_HEAR, 6);
    assert_int_equal(heard(&lan), 2);
    say_tagged(trunk, 1, ALL_HEAR, 5);
    assert_int_equal(heard(&lan), 0);
    assert_int_equal(counter(trunk, "dropped_spoofed"), 1);
    say(five, 1, ALL_HEAR);
    assert_int_equal(heard(&lan), 4);
    lan_close(&lan);
}

static void an_address_has_one_port(void **state)
{
    struct vio_net_port_params params = { .name = "a", .vlan = 5, .fixed_mac = one };
    struct vio_net_backend *port[3], *more = NULL;
    struct vio_net_switch *sw;
    struct vio_net_info info;

    (void)state;
    assert_int_equal(vio_net_switch_create(NULL, &sw), 0);
    assert_int_equal(vio_net_switch_port(sw, &params, &port[0]), 0);
    port[0]->ops->info(port[0], &info);
    assert_true(info.has_mac && info.mac_fixed);
    assert_memory_equal(info.mac, one, VIO_NET_MAC);
    assert_int_equal(vio_net_switch_port(sw, &params, &more), -EEXIST);
    params.vlan = 0;
    assert_int_equal(vio_net_switch_port(sw, &params, &more), -EEXIST);
    params.vlan = 6;
    assert_int_equal(vio_net_switch_port(sw, &params, &port[1]), 0);
    params.fixed_mac = (const uint8_t[VIO_NET_MAC]){ 1, 0, 0, 0, 0, 1 };
    assert_int_equal(vio_net_switch_port(sw, &params, &more), -EINVAL);
    params.fixed_mac = (const uint8_t[VIO_NET_MAC]){ 0 };
    assert_int_equal(vio_net_switch_port(sw, &params, &more), -EINVAL);
    assert_null(more);
    vio_net_close(port[0]);
    params.fixed_mac = one;
    params.vlan = 5;
    assert_int_equal(vio_net_switch_port(sw, &params, &port[2]), 0);
    vio_net_close(port[1]);
    vio_net_close(port[2]);
    vio_net_switch_release(sw);
}

/* As many as there are ports, and each finds its own. */
static void all_ports_may_be_fixed(void **state)
{
    static struct net_table table;
    struct net_pins pins = { .nr = 0 };
    uint8_t mac[VIO_NET_MAC] = { 0x52 };

    (void)state;
    for (uint16_t i = 0; i < NET_SWITCH_PORTS_MAX; i++) {
        mac[4] = (uint8_t)(i % 3);
        mac[5] = (uint8_t)i;
        assert_int_equal(net_pins_set(&pins, i, net_table_key(i % 2 ? 9 : 0, mac)), -1);
    }
    net_pins_look(&pins, &table);
    assert_int_equal(pins.nr, NET_SWITCH_PORTS_MAX);
    for (uint16_t i = 0; i < NET_SWITCH_PORTS_MAX; i++) {
        mac[4] = (uint8_t)(i % 3);
        mac[5] = (uint8_t)i;
        assert_int_equal(net_pins_find(&pins, net_table_key(9, mac)), i);
        assert_int_equal(net_pins_find(&pins, net_table_key(8, mac)), i % 2 ? -1 : i);
        mac[0] = 0x56;
        assert_int_equal(net_pins_find(&pins, net_table_key(9, mac)), -1);
        mac[0] = 0x52;
    }
    for (uint16_t i = 0; i < NET_SWITCH_PORTS_MAX; i++)
        net_pins_clear(&pins, i);
    net_pins_look(&pins, &table);
    assert_int_equal(pins.nr, 0);
}

/* What was judged is what is sent: the guest may change its frame afterwards. */
static void its_header_is_our_copy(void **state)
{
    struct lan lan;
    struct lan_port *a;
    uint8_t frame[2][64];
    struct vio_seg seg[2][2];
    struct vio_net_packet p[2];

    (void)state;
    lan_open(&lan, -1);
    a = lan_fixed(&lan, 0, 1);
    lan_port(&lan, 0, false);
    lan_port(&lan, 7, false);
    lan_port(&lan, 0, false);
    for (int i = 0; i < 2; i++) {
        frame_make(frame[i], 64, ALL_HEAR, 1, i == 0 ? NO_TAG : 7, 0);
        seg[i][0] = (struct vio_seg){ frame[i], 10 };
        seg[i][1] = (struct vio_seg){ frame[i] + 10, 54 };
        p[i] = (struct vio_net_packet){ .len = 64, .nr = 2, .seg = seg[i] };
    }
    p[0].hdr = (struct vio_net_hdr){ .flags = 1, .csum_start = 34 }; /* stays as it is where no tag is put on */
    assert_int_equal(a->b->ops->send(a->b, p, 2), 2);
    for (unsigned to = 1; to < 4; to += 2) {
        const struct ear *ear = &lan.port[to].ear;

        assert_int_equal(ear->frames, 2);
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(ear->kept[i].len, 64);
            assert_int_equal(ear->kept[i].hdr.csum_start, p[i].hdr.csum_start);
            assert_memory_equal(ear->kept[i].head, frame[i], 64);
            assert_ptr_equal(ear->kept[i].last, frame[i] + (i == 0 ? 14 : 18));
        }
    }
    assert_int_equal(lan.port[2].ear.frames, 1);
    assert_int_equal(lan.port[2].ear.kept[0].len, 60);
    assert_int_equal(tag_of(&lan.port[2].ear.kept[0]), NO_TAG);
    assert_memory_equal(lan.port[2].ear.kept[0].head, frame[1], 12);
    assert_memory_equal(lan.port[2].ear.kept[0].head + 12, frame[1] + 16, 48);
    heard(&lan);
    lan_close(&lan);
}

/* Whoever finishes a checksum writes where the sender says: not into what it was judged by. */
static void no_checksum_over_its_sender(void **state)
{
    static const struct {
        uint16_t start;
        int vlan;
        bool taken;
    } cases[] = { { 0, NO_TAG, false }, { 13, NO_TAG, false }, { 14, NO_TAG, true }, { 14, 7, false }, { 18, 7, true } };

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lan lan;
        struct lan_port *a;
        uint8_t frame[64];
        struct vio_seg seg = { frame, 64 };
        struct vio_net_packet p = { .len = 64, .nr = 1, .seg = &seg };

        lan_open(&lan, -1);
        a = lan_fixed(&lan, 0, 1);
        lan_port(&lan, 0, false);
        frame_make(frame, 64, ALL_HEAR, 1, cases[i].vlan, 0);
        p.hdr = (struct vio_net_hdr){ .flags = 1, .csum_start = cases[i].start, .csum_offset = 8 };
        assert_int_equal(a->b->ops->send(a->b, &p, 1), 1);
        assert_int_equal(lan.port[1].ear.frames, cases[i].taken ? 1 : 0);
        heard(&lan);
        lan_close(&lan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_own_address_comes_in),
        cmocka_unit_test(nobody_else_has_it),
        cmocka_unit_test(each_vlan_has_its_own),
        cmocka_unit_test(an_address_has_one_port),
        cmocka_unit_test(all_ports_may_be_fixed),
        cmocka_unit_test(its_header_is_our_copy),
        cmocka_unit_test(no_checksum_over_its_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
