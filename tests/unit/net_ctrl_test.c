/* SPDX-License-Identifier: MIT */
/* Each command of the network device's control queue, in both framings, on both ring formats (virtio 1.4, 5.1.9.5). */
#include "net_ctrl_help.h"

static struct nbench bench;
static bool packed, scattered;

static int setup_bare(void **state)
{
    nbench_init(&bench, PAIRS, packed, scattered);
    *state = &bench;
    return 0;
}

static int setup(void **state)
{
    setup_bare(state);
    nbench_start(&bench, nbench_all(&bench));
    return 0;
}

static int teardown(void **state)
{
    struct nbench *b = *state;

    rig_free(&b->rig);
    assert_int_equal(b->fake.destroyed, 1);
    return 0;
}

static void config_mac(const struct nbench *b, uint8_t mac[VIO_NET_MAC])
{
    assert_int_equal(vio_device_config_read(b->fake.dev, 0, mac, VIO_NET_MAC), 0);
}

static uint8_t config_status(const struct nbench *b)
{
    uint8_t status;

    assert_int_equal(vio_device_config_read(b->fake.dev, 6, &status, 1), 0);
    return status;
}

/* ------------------------------------------------------------------ receive modes (5.1.9.5.1) */

static void receive_modes(void **state)
{
    struct nbench *b = *state;
    const struct net_filter *f = &b->fake.net->filter;
    const bool *const modes[] = { &f->promisc, &f->allmulti, &f->alluni, &f->nomulti, &f->nouni, &f->nobcast };

    for (uint8_t cmd = 0; cmd < 6; cmd++) {
        assert_false(*modes[cmd]);
        assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, cmd, "\1", 1), VIRTIO_NET_OK);
        for (uint8_t other = 0; other < 6; other++)
            assert_int_equal(*modes[other], other == cmd);
        assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, cmd, "\2", 1), VIRTIO_NET_ERR);
        assert_true(*modes[cmd]);
        wrong_lengths(b, VIRTIO_NET_CTRL_RX, cmd, "\0", 1);
        assert_true(*modes[cmd]);
        assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, cmd, "\0", 1), VIRTIO_NET_OK);
        assert_false(*modes[cmd]);
    }
    assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, 6, "\1", 1), VIRTIO_NET_ERR);
}

static void receive_modes_not_negotiated(void **state)
{
    struct nbench *b = *state;

    nbench_start(b, nbench_but(b, VIRTIO_NET_F_CTRL_RX));
    assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_ERR);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, 1, "\1", 1), VIRTIO_NET_ERR);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, 2, "\1", 1), VIRTIO_NET_OK);
    assert_false(b->fake.net->filter.promisc);
    assert_false(b->fake.net->filter.mac_rules);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_CTRL_RX_EXTRA));
    for (uint8_t cmd = 2; cmd < 6; cmd++)
        assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, cmd, "\1", 1), VIRTIO_NET_ERR);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_OK);
    assert_true(b->fake.net->filter.mac_rules);
}

/* ------------------------------------------------------------------ addresses (5.1.9.5.2) */

/* Both tables as bytes; how many. The addresses are 2:x:..., and 3:x:... */
static uint32_t mac_tables(uint8_t *to, uint32_t uni, uint32_t multi)
{
    const uint32_t entries[2] = { uni, multi };
    uint8_t *at = to;

    for (unsigned t = 0; t < 2; t++) {
        vio_le32 wire = vio_le32_of(entries[t]);

        memcpy(at, &wire, 4);
        at += 4;
        for (uint32_t i = 0; i < entries[t]; i++, at += VIO_NET_MAC)
            memcpy(at, (uint8_t[]){ (uint8_t)(2 + t), 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i }, VIO_NET_MAC);
    }
    return (uint32_t)(at - to);
}

static uint8_t send_tables(struct nbench *b, uint32_t uni, uint32_t multi)
{
    uint8_t data[DATA_MAX - 2];

    return command(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, mac_tables(data, uni, multi));
}

static void address_tables(void **state)
{
    struct nbench *b = *state;
    const struct net_filter *f = &b->fake.net->filter;
    const uint8_t third[] = { 3, 0, 0, 0, 0, 2 }, last[] = { 2, 0, 0, 0, 0, 63 };

    assert_int_equal(send_tables(b, 1, 3), VIRTIO_NET_OK);
    assert_int_equal(f->nr_uni, 1);
    assert_int_equal(f->nr_multi, 3);
    assert_memory_equal(f->multi[2], third, 6);
    assert_int_equal(send_tables(b, NET_MAC_TABLE_MAX, 0), VIRTIO_NET_OK);
    assert_int_equal(f->nr_uni, NET_MAC_TABLE_MAX);
    assert_memory_equal(f->uni[63], last, 6);
    assert_int_equal(f->nr_multi, 0);
    assert_false(f->uni_overflow);
    assert_int_equal(send_tables(b, 0, 0), VIRTIO_NET_OK);
    assert_int_equal(f->nr_uni, 0);
}

static void address_tables_that_overflow(void **state)
{
    struct nbench *b = *state;
    const struct net_filter *f = &b->fake.net->filter;

    assert_int_equal(send_tables(b, NET_MAC_TABLE_MAX + 1, 2), VIRTIO_NET_OK);
    assert_true(f->uni_overflow);
    assert_false(f->multi_overflow);
    assert_int_equal(f->nr_multi, 2);
    assert_int_equal(send_tables(b, 1, 1000), VIRTIO_NET_OK);
    assert_false(f->uni_overflow);
    assert_int_equal(f->nr_uni, 1);
    assert_true(f->multi_overflow);
    assert_int_equal(send_tables(b, 0, 1), VIRTIO_NET_OK);
    assert_false(f->multi_overflow);
}

static void address_tables_that_are_wrong(void **state)
{
    struct nbench *b = *state;
    const struct net_filter *f = &b->fake.net->filter;
    struct net_filter before;
    uint8_t data[512];
    uint32_t bytes = mac_tables(data, 2, 1);
    static const uint32_t counts[] = { 0, 1, 3, 4, 0x2aaaaaaa, 0x2aaaaaab, 0x80000000, 0xffffffff };

    assert_int_equal(send_tables(b, 1, 1), VIRTIO_NET_OK);
    before = *f;
    wrong_lengths(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, bytes);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        vio_le32 wire = vio_le32_of(counts[i]);

        mac_tables(data, 2, 1);
        memset(data + 4, 0xee, 2 * VIO_NET_MAC);
        memset(data + 20, 0xee, VIO_NET_MAC); /* no counts, should they be taken for some */
        memcpy(data + 16, &wire, 4); /* the second table's */
        if (counts[i] != 1)
            assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 0, data, bytes), VIRTIO_NET_ERR);
        memcpy(data, &wire, 4);
        assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 0, data, bytes), VIRTIO_NET_ERR);
    }
    assert_memory_equal(f, &before, sizeof(before));
}

static void own_address(void **state)
{
    struct nbench *b = *state;
    const uint8_t mac[] = { 2, 3, 4, 5, 6, 7 }, group[] = { 3, 3, 4, 5, 6, 7 }, none[6] = { 0 };
    uint8_t now[VIO_NET_MAC];
    uint32_t generation = vio_device_config_generation(b->fake.dev);

    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6), VIRTIO_NET_OK);
    assert_memory_equal(b->fake.net->filter.mac, mac, 6);
    config_mac(b, now);
    assert_memory_equal(now, mac, 6);
    assert_int_not_equal(vio_device_config_generation(b->fake.dev), generation);
    assert_int_equal(b->rig.config_changed, 0);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 1, group, 6), VIRTIO_NET_ERR);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 1, none, 6), VIRTIO_NET_ERR);
    wrong_lengths(b, VIRTIO_NET_CTRL_MAC, 1, "\4\4\4\4\4\4", 6);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 2, mac, 6), VIRTIO_NET_ERR);
    assert_memory_equal(b->fake.net->filter.mac, mac, 6);
    /* The next driver finds the device's own. */
    vio_device_reset(b->fake.dev);
    config_mac(b, now);
    assert_memory_equal(now, b->fake.net->mac, 6);
    assert_memory_equal(b->fake.net->filter.mac, b->fake.net->mac, 6);
}

static void addresses_not_negotiated(void **state)
{
    struct nbench *b = *state;
    uint8_t now[VIO_NET_MAC];

    nbench_start(b, nbench_but(b, VIRTIO_NET_F_CTRL_MAC_ADDR));
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 1, "\2\3\4\5\6\7", 6), VIRTIO_NET_ERR);
    assert_int_equal(send_tables(b, 1, 0), VIRTIO_NET_OK);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_CTRL_RX));
    assert_int_equal(send_tables(b, 1, 0), VIRTIO_NET_ERR);
    assert_int_equal(b->fake.net->filter.nr_uni, 0);
    /* Without MAC the field means nothing, and stays. */
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_MAC));
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 1, "\2\3\4\5\6\7", 6), VIRTIO_NET_OK);
    config_mac(b, now);
    assert_memory_equal(now, b->fake.net->mac, 6);
}

/* ------------------------------------------------------------------ VLANs, announcements (5.1.9.5.3, 5.1.9.5.4) */

static bool vlan_on(const struct nbench *b, unsigned id)
{
    return (b->fake.net->filter.vlan[id / 64] >> (id % 64) & 1) != 0;
}

static void vlans(void **state)
{
    struct nbench *b = *state;
    static const uint16_t ids[] = { 0, 1, 63, 64, 100, 4095 };
    unsigned on = 0;

    assert_true(b->fake.net->filter.vlan_rules);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(command_u16(b, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, ids[i]), VIRTIO_NET_OK);
    for (unsigned id = 0; id < 4096; id++)
        on += vlan_on(b, id);
    assert_int_equal(on, 6);
    for (size_t i = 0; i < 6; i++)
        assert_true(vlan_on(b, ids[i]));
    assert_int_equal(command_u16(b, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, 64), VIRTIO_NET_OK);
    assert_false(vlan_on(b, 64));
    assert_true(vlan_on(b, 63));
    assert_int_equal(command_u16(b, VIRTIO_NET_CTRL_VLAN, 0, 4096), VIRTIO_NET_ERR);
    assert_int_equal(command_u16(b, VIRTIO_NET_CTRL_VLAN, 1, 0xffff), VIRTIO_NET_ERR);
    assert_int_equal(command_u16(b, VIRTIO_NET_CTRL_VLAN, 2, 5), VIRTIO_NET_ERR);
    wrong_lengths(b, VIRTIO_NET_CTRL_VLAN, 0, "\7\0", 2);
    wrong_lengths(b, VIRTIO_NET_CTRL_VLAN, 1, "\1\0", 2);
    assert_false(vlan_on(b, 7));
    assert_true(vlan_on(b, 1));
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_CTRL_VLAN));
    assert_int_equal(command_u16(b, VIRTIO_NET_CTRL_VLAN, 0, 5), VIRTIO_NET_ERR);
    assert_false(vlan_on(b, 1));
    assert_false(b->fake.net->filter.vlan_rules);
}

static void announcements(void **state)
{
    struct nbench *b = *state;
    uint8_t status = VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE;

    vio_device_config_set(b->fake.dev, 6, &status, 1, true);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_ANNOUNCE, 0, "\0", 1), VIRTIO_NET_ERR);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_ANNOUNCE, 1, NULL, 0), VIRTIO_NET_ERR);
    assert_int_equal(config_status(b), status);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_OK);
    assert_int_equal(config_status(b), VIRTIO_NET_S_LINK_UP);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_GUEST_ANNOUNCE));
    assert_int_equal(command(b, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_ERR);
}

/* ------------------------------------------------------------------ pairs of queues, RSS, hashes (5.1.9.5.5 to .7) */

static uint8_t set_pairs(struct nbench *b, uint16_t pairs)
{
    return command_u16(b, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs);
}

static void pairs_of_queues(void **state)
{
    struct nbench *b = *state;

    assert_int_equal(b->fake.net->active_pairs, 1);
    assert_int_equal(set_pairs(b, PAIRS), VIRTIO_NET_OK);
    assert_int_equal(b->fake.net->active_pairs, PAIRS);
    assert_int_equal(set_pairs(b, 0), VIRTIO_NET_ERR);
    assert_int_equal(set_pairs(b, PAIRS + 1), VIRTIO_NET_ERR);
    assert_int_equal(set_pairs(b, 0x8000), VIRTIO_NET_ERR);
    wrong_lengths(b, VIRTIO_NET_CTRL_MQ, 0, "\1\0", 2);
    assert_int_equal(b->fake.net->active_pairs, PAIRS);
    assert_int_equal(set_pairs(b, 1), VIRTIO_NET_OK);
    assert_int_equal(b->fake.net->active_pairs, 1);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_MQ));
    assert_int_equal(set_pairs(b, 1), VIRTIO_NET_ERR);
}

struct rss {
    uint32_t types;
    uint16_t mask, unclassified, max_tx;
    uint8_t key_bytes;
    uint16_t table[256];
};

static struct rss good_rss(void)
{
    struct rss r = { .types = NET_HASH_TYPES, .mask = 127, .unclassified = 1, .max_tx = PAIRS, .key_bytes = 40 };

    for (unsigned i = 0; i < 256; i++)
        r.table[i] = (uint16_t)(i % PAIRS);
    return r;
}

static uint32_t rss_bytes(uint8_t *to, const struct rss *r)
{
    uint32_t entries = r->mask < 256 ? r->mask + 1u : 256, at = 8;

    memcpy(to, (uint8_t[]){ (uint8_t)r->types, (uint8_t)(r->types >> 8), (uint8_t)(r->types >> 16),
                            (uint8_t)(r->types >> 24), (uint8_t)r->mask, (uint8_t)(r->mask >> 8),
                            (uint8_t)r->unclassified, (uint8_t)(r->unclassified >> 8) }, 8);
    for (uint32_t i = 0; i < entries; i++) {
        to[at++] = (uint8_t)r->table[i];
        to[at++] = (uint8_t)(r->table[i] >> 8);
    }
    to[at++] = (uint8_t)r->max_tx;
    to[at++] = (uint8_t)(r->max_tx >> 8);
    to[at++] = r->key_bytes;
    for (uint32_t i = 0; i < r->key_bytes; i++)
        to[at++] = (uint8_t)(i + 1);
    return at;
}

static uint8_t send_rss(struct nbench *b, const struct rss *r)
{
    uint8_t data[1024];

    return command(b, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data, rss_bytes(data, r));
}

static void rss_is_taken(void **state)
{
    struct nbench *b = *state;
    const struct net *net = b->fake.net;
    struct rss r = good_rss();

    r.table[127] = 0;
    assert_int_equal(send_rss(b, &r), VIRTIO_NET_OK);
    assert_true(net->rss.steer);
    assert_true(net->rss.report);
    assert_int_equal(net->rss.types, NET_HASH_TYPES);
    assert_int_equal(net->rss.mask, 127);
    assert_int_equal(net->rss.unclassified, 1);
    assert_int_equal(net->rss.table[126], 2);
    assert_int_equal(net->rss.table[127], 0);
    assert_int_equal(net->rss.key[0], 1);
    assert_int_equal(net->rss.key[39], 40);
    assert_int_equal(net->active_pairs, PAIRS);
    /* A table of one, a short key, none where nothing is hashed. */
    r.mask = 0;
    r.unclassified = 0;
    r.max_tx = 1;
    r.key_bytes = 16;
    assert_int_equal(send_rss(b, &r), VIRTIO_NET_OK);
    assert_int_equal(net->rss.key[15], 16);
    assert_int_equal(net->rss.key[16], 0);
    assert_int_equal(net->active_pairs, 1);
    r.types = 0;
    r.key_bytes = 0;
    r.table[0] = 2; /* a receive queue beyond those that are transmitted on is in use as well */
    assert_int_equal(send_rss(b, &r), VIRTIO_NET_OK);
    assert_int_equal(net->active_pairs, 3);
    /* The last command decides (5.1.9.5.5). */
    assert_int_equal(set_pairs(b, 2), VIRTIO_NET_OK);
    assert_false(net->rss.steer);
    assert_int_equal(net->active_pairs, 2);
}

static void rss_that_is_wrong(void **state)
{
    struct nbench *b = *state;
    struct net_rss before;
    struct rss wrong[9];
    uint8_t data[1024];
    uint32_t bytes;

    for (unsigned i = 0; i < 9; i++)
        wrong[i] = good_rss();
    assert_int_equal(send_rss(b, &wrong[0]), VIRTIO_NET_OK);
    before = b->fake.net->rss;
    wrong[0].types = VIRTIO_NET_HASH_TYPE_IP_EX | 1;
    wrong[1].mask = 255;
    wrong[2].mask = 126;
    wrong[3].mask = 0xffff;
    wrong[4].unclassified = PAIRS;
    wrong[5].table[127] = PAIRS;
    wrong[6].max_tx = 0;
    wrong[7].max_tx = PAIRS + 1;
    wrong[8].key_bytes = 41;
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(send_rss(b, &wrong[i]), VIRTIO_NET_ERR);
    wrong[5].table[127] = 0x8001; /* the reserved bit */
    assert_int_equal(send_rss(b, &wrong[5]), VIRTIO_NET_ERR);
    wrong[8].key_bytes = 0; /* types, but no key */
    assert_int_equal(send_rss(b, &wrong[8]), VIRTIO_NET_ERR);
    wrong[8] = good_rss();
    bytes = rss_bytes(data, &wrong[8]);
    wrong_lengths(b, VIRTIO_NET_CTRL_MQ, 1, data, bytes);
    assert_memory_equal(&b->fake.net->rss, &before, sizeof(before));
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_RSS));
    assert_int_equal(send_rss(b, &wrong[8]), VIRTIO_NET_ERR);
    assert_false(b->fake.net->rss.steer);
}

static void rss_without_mq(void **state)
{
    struct nbench *b = *state;
    struct rss r = good_rss();

    nbench_start(b, nbench_but(b, VIRTIO_NET_F_MQ));
    assert_int_equal(b->ctrl, 2 * PAIRS);
    assert_int_equal(b->fake.net->active_pairs, 1);
    assert_int_equal(send_rss(b, &r), VIRTIO_NET_OK);
    assert_int_equal(b->fake.net->active_pairs, PAIRS);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_HASH_REPORT));
    assert_int_equal(send_rss(b, &r), VIRTIO_NET_OK);
    assert_false(b->fake.net->rss.report);
}

static void hashes(void **state)
{
    struct nbench *b = *state;
    const struct net_rss *rss = &b->fake.net->rss;
    struct rss r = good_rss();
    uint8_t data[64] = { NET_HASH_TYPES };

    data[10] = 1; /* reserved: Linux leaves max_tx_vq there */
    data[12] = 40;
    memset(data + 13, 0x5a, 40);
    assert_true(rss->report);
    assert_int_equal(rss->types, 0);
    assert_int_equal(send_rss(b, &r), VIRTIO_NET_OK);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, data, 53), VIRTIO_NET_OK);
    assert_int_equal(rss->types, NET_HASH_TYPES);
    assert_int_equal(rss->key[39], 0x5a);
    assert_false(rss->steer);
    assert_true(rss->report);
    wrong_lengths(b, VIRTIO_NET_CTRL_MQ, 2, data, 53);
    data[1] = 1;
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MQ, 2, data, 53), VIRTIO_NET_ERR);
    data[1] = 0;
    data[12] = 41;
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MQ, 2, data, 54), VIRTIO_NET_ERR);
    data[12] = 0;
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MQ, 2, data, 13), VIRTIO_NET_ERR);
    data[0] = 0;
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MQ, 2, data, 13), VIRTIO_NET_OK);
    assert_int_equal(rss->types, 0);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MQ, 3, data, 13), VIRTIO_NET_ERR);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_HASH_REPORT));
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MQ, 2, data, 13), VIRTIO_NET_ERR);
}

/* ------------------------------------------------------------------ offloads (5.1.9.5.9) */

static uint8_t set_offloads(struct nbench *b, uint64_t bits)
{
    vio_le64 wire = vio_le64_of(bits);

    return command(b, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wire, 8);
}

static void offloads(void **state)
{
    struct nbench *b = *state;
    const uint64_t csum = VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM), tso4 = VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4);
    const uint64_t ecn = VIO_FEATURE(VIRTIO_NET_F_GUEST_ECN);

    assert_int_equal(b->fake.net->guest_offloads, VIO_NET_OFFLOADS);
    assert_int_equal(b->fake.offloads, VIO_NET_OFFLOADS);
    b->fake.offloads_told = 0;
    assert_int_equal(set_offloads(b, csum | tso4), VIRTIO_NET_OK);
    assert_int_equal(b->fake.net->guest_offloads, VIO_NET_CSUM | VIO_NET_TSO4);
    assert_int_equal(b->fake.offloads, VIO_NET_CSUM | VIO_NET_TSO4);
    assert_int_equal(b->fake.offloads_told, 1);
    /* What needs another offload is nothing without it. */
    assert_int_equal(set_offloads(b, csum | ecn), VIRTIO_NET_OK);
    assert_int_equal(b->fake.offloads, VIO_NET_CSUM);
    assert_int_equal(set_offloads(b, tso4), VIRTIO_NET_OK);
    assert_int_equal(b->fake.offloads, 0);
    assert_int_equal(set_offloads(b, 0), VIRTIO_NET_OK);
    assert_int_equal(set_offloads(b, csum), VIRTIO_NET_OK);
    assert_int_equal(set_offloads(b, csum | VIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF)), VIRTIO_NET_ERR);
    assert_int_equal(set_offloads(b, csum | VIO_FEATURE(46)), VIRTIO_NET_ERR);
    wrong_lengths(b, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, "\0\0\0\0\0\0\0\0", 8), VIRTIO_NET_ERR);
    assert_int_equal(b->fake.offloads, VIO_NET_CSUM);
    assert_int_equal(b->fake.net->guest_offloads, VIO_NET_CSUM);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_GUEST_UFO));
    assert_int_equal(set_offloads(b, csum | VIO_FEATURE(VIRTIO_NET_F_GUEST_UFO)), VIRTIO_NET_ERR);
    assert_int_equal(b->fake.net->guest_offloads, VIO_NET_OFFLOADS & ~VIO_NET_UFO);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
    assert_int_equal(set_offloads(b, csum), VIRTIO_NET_ERR);
}

/* ------------------------------------------------------------------ statistics (5.1.9.5.11) */

static uint64_t le(const uint8_t *at, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)at[i] << (8 * i);
    return v;
}

struct want {
    uint16_t queue;
    uint64_t types;
};

static uint8_t get_stats(struct nbench *b, const struct want *want, unsigned n, uint32_t room)
{
    uint8_t data[DATA_MAX - 2] = { 0 };

    for (unsigned i = 0; i < n; i++) {
        struct virtio_net_stats_want wire = {
            .vq_index = vio_le16_of(want[i].queue),
            .types_bitmap = vio_le64_of(want[i].types),
        };

        memcpy(data + i * sizeof(wire), &wire, sizeof(wire));
    }
    return command_with(b, VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, data, n * 16, room);
}

/* A reply at `at`; where the next begins. */
static const uint8_t *check_reply(const uint8_t *at, uint8_t type, uint16_t queue, const uint64_t *n, unsigned nr)
{
    assert_int_equal(at[0], type);
    assert_int_equal(le(at + 2, 2), queue);
    assert_int_equal(le(at + 6, 2), 8 + 8 * nr);
    for (unsigned i = 0; i < nr; i++)
        assert_int_equal(le(at + 8 + 8 * i, 8), n[i]);
    return at + 8 + 8 * nr;
}

static void statistics_there_are(void **state)
{
    struct nbench *b = *state;

    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, NULL, 0, 9), VIRTIO_NET_OK);
    assert_int_equal(b->used, 9);
    assert_int_equal(le(b->answer.host + 1, 8), UINT64_C(0x100070007));
    /* More room than is needed, and less. */
    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, 0, NULL, 0, 64), VIRTIO_NET_OK);
    assert_int_equal(b->used, 9);
    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, 0, NULL, 0, 4), VIRTIO_NET_OK);
    assert_int_equal(b->used, 4);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_STATS, 0, NULL, 0), VIRTIO_NET_OK);
    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, 0, "\0", 1, 64), VIRTIO_NET_ERR);
    assert_int_equal(b->used, 1);
    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, 2, NULL, 0, 64), VIRTIO_NET_ERR);
    nbench_restart(b, nbench_but(b, VIRTIO_NET_F_DEVICE_STATS));
    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, 0, NULL, 0, 64), VIRTIO_NET_ERR);
    assert_int_equal(get_stats(b, NULL, 0, 64), VIRTIO_NET_ERR);
}

static void statistics(void **state)
{
    struct nbench *b = *state;
    struct net_queue *rx = &b->fake.net->queue[2], *tx = &b->fake.net->queue[3];
    const struct want want[] = { { 2, 7 }, { 3, 7 << 16 }, { 2 * PAIRS, UINT64_C(1) << 32 } };
    const uint8_t *at = b->answer.host + 1;

    rx->packets = 100, rx->bytes = UINT64_C(0x1122334455667788), rx->drops = 3, rx->overruns = 2;
    rx->data_valid = 10, rx->needs_csum = 20, rx->gso_packets = 5, rx->gso_bytes = 5000;
    tx->packets = 50, tx->bytes = 7000, tx->drops = 4, tx->malformed = 1, tx->needs_csum = 8;
    tx->gso_packets = 6, tx->gso_bytes = 6000;
    assert_int_equal(command(b, 99, 0, NULL, 0), VIRTIO_NET_ERR);
    assert_int_equal(get_stats(b, want, 3, RESULT_MAX), VIRTIO_NET_OK);
    at = check_reply(at, 0, 2, (uint64_t[]){ 0, 100, UINT64_C(0x1122334455667788), 0, 3, 2 }, 6);
    at = check_reply(at, 1, 2, (uint64_t[]){ 10, 20, 70, 0 }, 4);
    at = check_reply(at, 2, 2, (uint64_t[]){ 5, 5000, 0, 0 }, 4);
    at = check_reply(at, 16, 3, (uint64_t[]){ 0, 50, 7000, 0, 4, 1 }, 6);
    at = check_reply(at, 17, 3, (uint64_t[]){ 42, 8 }, 2);
    at = check_reply(at, 18, 3, (uint64_t[]){ 6, 6000, 0, 0, 6, 6000 }, 6);
    at = check_reply(at, 32, 2 * PAIRS, (uint64_t[]){ 2, 1 }, 2);
    assert_int_equal(b->used, (uint32_t)(at - b->answer.host));
    /* The counts include the command that asks. */
    assert_int_equal(get_stats(b, want + 2, 1, 64), VIRTIO_NET_OK);
    check_reply(b->answer.host + 1, 32, 2 * PAIRS, (uint64_t[]){ 3, 2 }, 2);
    /* An answer that does not fit is cut (5.1.9.5.11). */
    assert_int_equal(get_stats(b, want, 3, 60), VIRTIO_NET_OK);
    assert_int_equal(b->used, 60);
    assert_int_equal(b->answer.host[60], NO_ANSWER);
    assert_int_equal(get_stats(b, want, 0, 60), VIRTIO_NET_OK);
    assert_int_equal(b->used, 1);
}

static void statistics_that_are_refused(void **state)
{
    struct nbench *b = *state;
    const struct want wrong[] = {
        { 2 * PAIRS + 1, 0 }, { 0xffff, 1 }, { 0, 8 }, { 0, 1 << 16 }, { 1, 1 }, { 1, 1 << 19 }, { 2 * PAIRS, 1 },
        { 0, UINT64_C(1) << 32 }, { 0, UINT64_C(1) << 63 },
    };
    struct want two[NET_STATS_MAX + 1] = { { 0, 1 } };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(get_stats(b, &wrong[i], 1, 512), VIRTIO_NET_ERR);
        assert_int_equal(b->used, 1);
        two[1] = wrong[i]; /* one that is wrong fails the whole */
        assert_int_equal(get_stats(b, two, 2, 512), VIRTIO_NET_ERR);
        assert_int_equal(b->used, 1);
    }
    two[1] = two[0];
    assert_int_equal(get_stats(b, two, NET_STATS_MAX, 512), VIRTIO_NET_OK);
    assert_int_equal(get_stats(b, two, NET_STATS_MAX + 1, 512), VIRTIO_NET_ERR);
    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, 1, two, 15, 512), VIRTIO_NET_ERR);
    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, 1, two, 17, 512), VIRTIO_NET_ERR);
}

static void statistics_follow_the_features(void **state)
{
    struct nbench *b = *state;
    struct vio_features f = vio_features_of(VIO_FEATURE(VIRTIO_NET_F_CTRL_VQ) | VIO_FEATURE(VIRTIO_NET_F_DEVICE_STATS) |
                                            VIO_FEATURE(VIRTIO_F_VERSION_1));
    const struct want rx_csum = { 0, 2 }, tx_csum = { 1, 2 << 16 }, rx_gso = { 0, 4 }, basic = { 0, 1 };

    nbench_start(b, f);
    assert_int_equal(b->ctrl, 2);
    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_STATS, 0, NULL, 0, 9), VIRTIO_NET_OK);
    assert_int_equal(le(b->answer.host + 1, 8), UINT64_C(0x100010001));
    assert_int_equal(get_stats(b, &rx_csum, 1, 512), VIRTIO_NET_ERR);
    assert_int_equal(get_stats(b, &tx_csum, 1, 512), VIRTIO_NET_ERR);
    assert_int_equal(get_stats(b, &rx_gso, 1, 512), VIRTIO_NET_ERR);
    assert_int_equal(get_stats(b, &basic, 1, 512), VIRTIO_NET_OK);
}

/* ------------------------------------------------------------------ framing */

static void unknown_commands(void **state)
{
    struct nbench *b = *state;

    for (unsigned class_ = 0; class_ < 256; class_++)
        assert_int_equal(command(b, (uint8_t)class_, 200, "\1\0", 2), VIRTIO_NET_ERR);
    for (uint8_t cmd = 4; cmd < 12; cmd++)
        assert_int_equal(command(b, VIRTIO_NET_CTRL_NOTF_COAL, cmd, "\0\0\0\0\0\0\0\0", 8), VIRTIO_NET_ERR);
    assert_int_equal(b->rig.needs_reset, 0);
    assert_int_equal(b->fake.net->ctrl_commands, 264);
    assert_int_equal(b->fake.net->ctrl_ok, 0);
}

static void only_the_ack_is_written(void **state)
{
    struct nbench *b = *state;

    assert_int_equal(command_with(b, VIRTIO_NET_CTRL_RX, 0, "\1", 1, 100), VIRTIO_NET_OK);
    assert_int_equal(b->used, 1);
    assert_int_equal(b->answer.host[1], NO_ANSWER);
}

static void expect_fault(struct nbench *b, enum vio_fault fault)
{
    assert_int_equal(b->rig.fault, fault);
    assert_int_equal(b->rig.needs_reset, 1);
    assert_int_equal(b->rig.reset_queue, b->ctrl);
    assert_int_equal(vio_device_queue_in_flight(b->fake.dev, b->ctrl), 0);
    assert_false(b->fake.net->filter.promisc);
    nbench_restart(b, nbench_all(b));
    assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_OK);
}

static void no_room_for_class_and_command(void **state)
{
    struct nbench *b = *state;

    b->sent.host[0] = 0;
    assert_false(send_raw(b, 1, 1));
    expect_fault(b, VIO_FAULT_REQ_SHORT);
    nbench_restart(b, nbench_all(b));
    b->rig.needs_reset = 0;
    assert_false(send_raw(b, 0, 1)); /* an ack only */
    expect_fault(b, VIO_FAULT_REQ_SHORT);
}

static void no_room_for_the_answer(void **state)
{
    struct nbench *b = *state;

    memcpy(b->sent.host, "\0\0\1", 3);
    assert_false(send_raw(b, 3, 0));
    expect_fault(b, VIO_FAULT_REQ_NO_STATUS); /* and promiscuous mode was not turned on */
}

static void those_behind_a_broken_one(void **state)
{
    struct nbench *b = *state;
    struct vio_drvq *drv = b->rig.queue[b->ctrl].drv;
    struct vio_buf bufs[2] = { { b->sent.gpa, 3 }, { b->answer.gpa, 1 } };
    struct vio_done done[4];

    memcpy(b->sent.host, "\0\1\1", 3); /* ALLMULTI; then no room; then PROMISC */
    memcpy(b->sent.host + 64, "\0\0\1", 3);
    assert_int_equal(vio_drvq_put(drv, bufs, 1, 1, 1), 0);
    assert_int_equal(vio_drvq_put(drv, bufs, 1, 0, 2), 0);
    bufs[0].addr += 64;
    assert_int_equal(vio_drvq_put(drv, bufs, 1, 1, 3), 0);
    (void)!vio_drvq_publish(drv);
    rig_serve(&b->rig, b->ctrl);
    assert_int_equal(vio_drvq_collect(drv, done, 4), 1);
    assert_int_equal(done[0].token, 1);
    assert_true(b->fake.net->filter.allmulti);
    assert_false(b->fake.net->filter.promisc);
    assert_int_equal(b->rig.fault, VIO_FAULT_REQ_NO_STATUS);
}

static void the_budget_is_kept(void **state)
{
    struct nbench *b = *state;
    struct vio_drvq *drv = b->rig.queue[b->ctrl].drv;
    struct vio_buf bufs[2] = { { b->sent.gpa, 3 }, { b->answer.gpa, 1 } };
    struct vio_done done[8];

    memcpy(b->sent.host, "\0\1\1", 3);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(vio_drvq_put(drv, bufs, 1, 1, i), 0);
    (void)!vio_drvq_publish(drv);
    assert_int_equal(vio_device_queue_service(b->fake.dev, b->ctrl, 0), 0);
    assert_int_equal(vio_device_queue_service(b->fake.dev, b->ctrl, 3), 3);
    assert_int_equal(vio_drvq_collect(drv, done, 8), 3);
    assert_int_equal(vio_device_queue_service(b->fake.dev, b->ctrl, 64), 2);
    assert_int_equal(vio_drvq_collect(drv, done, 8), 2);
}

static int run(bool use_packed, bool scatter)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define BARE(f) cmocka_unit_test_setup_teardown(f, setup_bare, teardown)
    const struct CMUnitTest tests[] = {
        TEST(receive_modes),
        BARE(receive_modes_not_negotiated),
        TEST(address_tables),
        TEST(address_tables_that_overflow),
        TEST(address_tables_that_are_wrong),
        TEST(own_address),
        BARE(addresses_not_negotiated),
        TEST(vlans),
        TEST(announcements),
        TEST(pairs_of_queues),
        TEST(rss_is_taken),
        TEST(rss_that_is_wrong),
        BARE(rss_without_mq),
        TEST(hashes),
        TEST(offloads),
        TEST(statistics_there_are),
        TEST(statistics),
        TEST(statistics_that_are_refused),
        BARE(statistics_follow_the_features),
        TEST(unknown_commands),
        TEST(only_the_ack_is_written),
        TEST(no_room_for_class_and_command),
        TEST(no_room_for_the_answer),
        TEST(those_behind_a_broken_one),
        TEST(the_budget_is_kept),
    };
    static const char *const names[2][2] = { { "split", "split, scattered" }, { "packed", "packed, scattered" } };

    packed = use_packed;
    scattered = scatter;
    return cmocka_run_group_tests_name(names[use_packed][scatter], tests, NULL, NULL);
}

int main(void)
{
    int failed = run(false, false);

    failed += run(false, true);
    failed += run(true, false);
    return failed + run(true, true);
}
