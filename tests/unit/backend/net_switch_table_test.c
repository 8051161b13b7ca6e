/* SPDX-License-Identifier: MIT */
/* Purpose: the switch's table: caps, shares, who makes room, ageing. Where it sits: tests/unit/backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_switch.h"

static uint64_t key_of(uint32_t number)
{
    uint8_t mac[VIO_NET_MAC] = { 2, 0, (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                                 (uint8_t)number };

    return net_table_key(1, mac);
}

static struct net_table *table_make(void)
{
    static struct net_table table;
    struct net_table *t = &table;

    memset(t, 0, sizeof *t);
    t->seed[0] = UINT64_C(0x8f3a5c6d7e9b1a2c);
    t->seed[1] = UINT64_C(0x1357fdb9eca86420);
    t->seed[2] = UINT64_C(0xa5b4c3d2e1f00f1e);
    return t;
}

/* stations[] is what entries say, and within the caps. */
static void table_is_sound(const struct net_table *t)
{
    unsigned n[NET_SWITCH_SLOTS] = { 0 };

    for (unsigned i = 0; i < NET_TABLE_ENTRIES; i++)
        n[t->entry[i].slot] += t->entry[i].key != 0;
    for (unsigned i = 0; i < NET_SWITCH_SLOTS; i++) {
        assert_int_equal(t->stations[i], n[i]);
        assert_true(n[i] <= (i == NET_SWITCH_UPLINK ? NET_TABLE_UPLINK_MAX : NET_TABLE_PORT_MAX));
    }
}

static void who_floods_the_table_hurts_nobody(void **state)
{
    struct net_table *t = table_make();
    unsigned refused = 0;

    (void)state;
    /* Stations of 200 quiet ports, before and after 50 that invent addresses. */
    for (uint16_t port = 0; port < 200; port++) {
        for (uint32_t i = 0; i < 4; i++)
            assert_int_not_equal(net_table_learn(t, key_of(port * 8u + i), port, 10), NET_TABLE_FULL);
    }
    for (uint32_t i = 0; i < 100000; i++)
        (void)net_table_learn(t, key_of(100000 + i), (uint16_t)(200 + i % 50), 11);
    table_is_sound(t);
    for (uint16_t port = 0; port < 200; port++) {
        for (uint32_t i = 4; i < 8; i++)
            refused += net_table_learn(t, key_of(port * 8u + i), port, 12) == NET_TABLE_FULL;
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(net_table_find(t, key_of(port * 8u + i), 12), port);
    }
    table_is_sound(t);
    assert_int_equal(refused, 0);
}

static void a_port_has_a_cap(void **state)
{
    struct net_table *t = table_make();
    unsigned known = 0, full = 0;

    (void)state;
    for (uint32_t i = 0; i < 20000; i++)
        full += net_table_learn(t, key_of(i), 3, 10) == NET_TABLE_FULL;
    table_is_sound(t);
    assert_true(t->stations[3] > NET_TABLE_PORT_MAX * 9 / 10);
    assert_true(full > 0);
    for (uint32_t i = 0; i < 20000; i++)
        known += net_table_find(t, key_of(i), 10) == 3;
    assert_int_equal(known, t->stations[3]);
    /* What has aged does not count. */
    assert_int_not_equal(net_table_learn(t, key_of(50000), 3, 10 + NET_TABLE_AGE), NET_TABLE_FULL);
    assert_int_equal(t->stations[3], 1);
    for (uint32_t i = 0; i < 20000; i++)
        (void)net_table_learn(t, key_of(i), NET_SWITCH_UPLINK, 400);
    table_is_sound(t);
    assert_true(t->stations[NET_SWITCH_UPLINK] > NET_TABLE_PORT_MAX);
    net_table_forget(t, NET_SWITCH_UPLINK);
    assert_int_equal(t->stations[NET_SWITCH_UPLINK], 0);
    assert_int_equal(net_table_find(t, key_of(50000), 10 + NET_TABLE_AGE), 3);
    table_is_sound(t);
}

/* A station never stays where it is not, even where there is no place for it. */
static void a_move_to_a_full_port_forgets(void **state)
{
    struct net_table *t = table_make();
    unsigned forgotten = 0;

    (void)state;
    for (uint32_t i = 0; i < 20000; i++)
        (void)net_table_learn(t, key_of(i), 3, 10);
    assert_int_equal(t->stations[3], NET_TABLE_PORT_MAX);
    for (uint32_t i = 30000; i < 30100; i++)
        (void)net_table_learn(t, key_of(i), 4, 10);
    for (uint32_t i = 30000; i < 30100; i++) {
        int at;

        (void)net_table_learn(t, key_of(i), 3, 10);
        at = net_table_find(t, key_of(i), 10);
        assert_true(at == 3 || at == -1);
        forgotten += at == -1;
    }
    assert_true(forgotten > 0);
    table_is_sound(t);
}

/* All stations fall into the same two buckets, and ports have as many stations elsewhere as the test says. */
static void who_has_most_makes_room(void **state)
{
    struct net_table *t = table_make();
    uint32_t now = 10;

    (void)state;
    memset(t->seed, 0, sizeof t->seed);
    for (uint32_t i = 0; i < 2 * NET_TABLE_WAYS; i++)
        assert_int_equal(net_table_learn(t, key_of(i), i < 4 ? 1 : 2, now + i), NET_TABLE_NEW);
    now = 20;
    assert_int_equal(net_table_learn(t, key_of(100), 3, now), NET_TABLE_FULL); /* both have less than their share */
    t->stations[1] = 20;
    t->stations[2] = 10;
    t->stations[4] = 30;
    assert_int_equal(net_table_learn(t, key_of(100), 4, now), NET_TABLE_FULL); /* has more than they */
    assert_int_equal(net_table_learn(t, key_of(100), 3, now), NET_TABLE_NEW);
    assert_int_equal(net_table_find(t, key_of(0), now), -1); /* the oldest of the one above its share */
    assert_int_equal(net_table_learn(t, key_of(101), 2, now), NET_TABLE_NEW);
    assert_int_equal(net_table_find(t, key_of(1), now), -1);
    for (uint32_t i = 2; i < 8; i++)
        assert_int_equal(net_table_find(t, key_of(i), now), i < 4 ? 1 : 2);
    /* At its cap a port replaces its own, whoever else has more. */
    t->stations[3] = NET_TABLE_PORT_MAX;
    t->stations[1] = NET_TABLE_PORT_MAX + 1;
    assert_int_equal(net_table_learn(t, key_of(102), 3, now), NET_TABLE_NEW);
    assert_int_equal(net_table_find(t, key_of(100), now), -1);
    assert_int_equal(net_table_find(t, key_of(2), now), 1);
    assert_int_equal(t->stations[3], NET_TABLE_PORT_MAX);
    /* What has aged makes room for anybody. */
    now = 16 + NET_TABLE_AGE;
    assert_int_equal(net_table_learn(t, key_of(103), 4, now), NET_TABLE_NEW);
    assert_int_equal(net_table_find(t, key_of(101), now), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_floods_the_table_hurts_nobody),
        cmocka_unit_test(a_port_has_a_cap),
        cmocka_unit_test(a_move_to_a_full_port_forgets),
        cmocka_unit_test(who_has_most_makes_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
