/* SPDX-License-Identifier: MIT */
/* Purpose: which frames the driver wants (virtio 1.4, 5.1.9.5.1 to 5.1.9.5.3): modes, tables, VLANs, and their order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "device/net_internal.h"

static const uint8_t own[6] = { 2, 0, 0, 0, 0, 1 }, other[6] = { 2, 0, 0, 0, 0, 2 }, listed[6] = { 2, 0, 0, 0, 9, 1 };
static const uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 1 }, member[6] = { 0x33, 0x33, 0, 0, 0, 1 };
static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };

static struct net_filter filter(bool mac_rules, bool vlan_rules)
{
    struct net_filter f;

    memset(&f, 0xff, sizeof f); /* nothing of before is left */
    net_filter_reset(&f, own, mac_rules, vlan_rules);
    return f;
}

static bool wants(const struct net_filter *f, const uint8_t to[6])
{
    uint8_t frame[60] = { 0 };

    memcpy(frame, to, 6);
    memcpy(frame + 6, other, 6);
    frame[12] = 8;
    return net_filter_wants(f, frame, sizeof frame);
}

static bool wants_tag(const struct net_filter *f, uint16_t tpid, unsigned tci, size_t bytes)
{
    uint8_t frame[64] = { 0 };

    memcpy(frame, own, 6);
    frame[12] = (uint8_t)(tpid >> 8);
    frame[13] = (uint8_t)tpid;
    frame[14] = (uint8_t)(tci >> 8);
    frame[15] = (uint8_t)tci;
    frame[16] = 8;
    return net_filter_wants(f, frame, bytes);
}

static void without_rules_all_passes(void **state)
{
    struct net_filter f = filter(false, false);

    (void)state;
    assert_true(wants(&f, own) && wants(&f, other) && wants(&f, group) && wants(&f, all));
    assert_true(wants_tag(&f, 0x8100, 5, 64) && wants_tag(&f, 0x8100, 5, 14));
    /* Modes that nobody could have set do nothing. */
    f.nouni = f.nomulti = f.nobcast = true;
    assert_true(wants(&f, own) && wants(&f, group) && wants(&f, all));
}

static void fresh_device_takes_its_own_and_broadcasts(void **state)
{
    struct net_filter f = filter(true, false);

    (void)state;
    assert_true(wants(&f, own));
    assert_true(wants(&f, all));
    assert_false(wants(&f, other));
    assert_false(wants(&f, group));
    memcpy(f.mac, other, 6); /* MAC_ADDR_SET */
    assert_true(wants(&f, other));
    assert_false(wants(&f, own));
    assert_false(net_filter_wants(&f, other, 13));
}

static void tables(void **state)
{
    struct net_filter f = filter(true, false);

    (void)state;
    for (unsigned i = 0; i < NET_MAC_TABLE_MAX; i++) {
        memcpy(f.uni[i], listed, 6);
        f.uni[i][5] = (uint8_t)i;
        memcpy(f.multi[i], member, 6);
        f.multi[i][5] = (uint8_t)i;
    }
    f.nr_uni = 1;
    f.nr_multi = 1;
    assert_false(wants(&f, listed));
    assert_false(wants(&f, member));
    f.nr_uni = f.nr_multi = 2;
    assert_true(wants(&f, listed) && wants(&f, member));
    assert_false(wants(&f, group) || wants(&f, other));
    f.nr_uni = f.nr_multi = NET_MAC_TABLE_MAX;
    assert_true(wants(&f, (const uint8_t[6]){ 2, 0, 0, 0, 9, NET_MAC_TABLE_MAX - 1 }));
    assert_false(wants(&f, (const uint8_t[6]){ 2, 0, 0, 0, 9, NET_MAC_TABLE_MAX }));
    f.multi_overflow = true;
    assert_true(wants(&f, group));
    assert_false(wants(&f, other));
    f.multi_overflow = false;
    f.uni_overflow = true;
    assert_true(wants(&f, other));
    assert_false(wants(&f, group));
}

static void modes(void **state)
{
    struct net_filter f = filter(true, false);

    (void)state;
    f.allmulti = true;
    assert_true(wants(&f, group) && !wants(&f, other) && wants(&f, all));
    f.nomulti = true; /* even if ALLMULTI is on; not for broadcasts */
    assert_true(!wants(&f, group) && wants(&f, all) && wants(&f, own));
    f.nobcast = true; /* even if ALLMULTI is on */
    assert_false(wants(&f, all));
    f.nomulti = false;
    assert_true(wants(&f, group) && !wants(&f, all));
    f.alluni = true;
    assert_true(wants(&f, other));
    f.nouni = true; /* even if ALLUNI is on */
    assert_false(wants(&f, other) || wants(&f, own));
    f.uni_overflow = f.multi_overflow = f.nomulti = true;
    assert_false(wants(&f, own) || wants(&f, group));
    f.promisc = true; /* even if another mode is on */
    assert_true(wants(&f, own) && wants(&f, other) && wants(&f, group) && wants(&f, all));
}

static void vlans(void **state)
{
    struct net_filter f = filter(false, true);

    (void)state;
    assert_true(wants(&f, other));
    assert_true(wants_tag(&f, 0x8100, 0x6000, 64)); /* a priority, no VLAN */
    for (unsigned vid = 1; vid < 4096; vid++)
        assert_false(wants_tag(&f, 0x8100, 0xe000 | vid, 64));
    f.vlan[4095 / 64] |= UINT64_C(1) << 4095 % 64;
    f.vlan[100 / 64] |= UINT64_C(1) << 100 % 64;
    for (unsigned vid = 1; vid < 4096; vid++)
        assert_int_equal(wants_tag(&f, 0x8100, vid, 64), vid == 100 || vid == 4095);
    assert_true(wants_tag(&f, 0x88a8, 5, 64));
    assert_false(wants_tag(&f, 0x8100, 100, 15));
    assert_true(wants_tag(&f, 0x8100, 100, 16));
}

static void vlans_and_addresses(void **state)
{
    struct net_filter f = filter(true, true);

    (void)state;
    f.vlan[0] |= 1u << 7;
    assert_true(wants_tag(&f, 0x8100, 7, 64));
    assert_false(wants_tag(&f, 0x8100, 8, 64));
    memcpy(f.mac, other, 6); /* the VLAN is wanted, the address is not */
    assert_false(wants_tag(&f, 0x8100, 7, 64));
    f.promisc = true;
    assert_true(wants_tag(&f, 0x8100, 7, 64));
    assert_true(wants_tag(&f, 0x8100, 8, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_all_passes),
        cmocka_unit_test(fresh_device_takes_its_own_and_broadcasts),
        cmocka_unit_test(tables),
        cmocka_unit_test(modes),
        cmocka_unit_test(vlans),
        cmocka_unit_test(vlans_and_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
