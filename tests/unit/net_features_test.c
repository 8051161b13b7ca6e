/* SPDX-License-Identifier: MIT */
/* What the network device offers, refuses and says about itself, and what negotiation sets (virtio 1.4, 5.1.3 to 5.1.5). */
#include "net_ctrl_help.h"

static struct nbench bench;

static int setup_bare(void **state)
{
    memset(&bench, 0, sizeof(bench));
    rig_init(&bench.rig);
    fake_net_init(&bench.fake);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    rig_free(&((struct nbench *)*state)->rig);
    return 0;
}

static void make(struct nbench *b, uint16_t pairs)
{
    assert_int_equal(fake_net_create(&b->fake, pairs, &b->rig.log), 0);
    rig_device(&b->rig, b->fake.dev);
}

#define B(bit) VIO_FEATURE(VIRTIO_NET_F_##bit)

/* Without what depends on backend and pairs. */
static const uint64_t always = B(CSUM) | B(MAC) | B(MRG_RXBUF) | B(STATUS) | B(CTRL_VQ) | B(CTRL_RX) | B(CTRL_VLAN) |
                               B(CTRL_RX_EXTRA) | B(GUEST_ANNOUNCE) | B(CTRL_MAC_ADDR) | B(DEVICE_STATS) |
                               B(HASH_REPORT) | B(GUEST_HDRLEN) | B(SPEED_DUPLEX) | B(NOTF_COAL) | B(VQ_NOTF_COAL);
static const uint64_t guests = B(GUEST_CSUM) | B(GUEST_TSO4) | B(GUEST_TSO6) | B(GUEST_ECN) | B(GUEST_UFO) |
                               B(GUEST_USO4) | B(GUEST_USO6) | B(CTRL_GUEST_OFFLOADS);
static const uint64_t hosts = B(HOST_TSO4) | B(HOST_TSO6) | B(HOST_ECN) | B(HOST_UFO) | B(HOST_USO);

/* ------------------------------------------------------------------ the offer */

static void all_that_there_is(void **state)
{
    struct nbench *b = *state;

    make(b, 4);
    assert_int_equal(b->fake.net->offered.w[0], always | guests | hosts | B(MTU) | B(MQ) | B(RSS));
    assert_int_equal(b->fake.net->offered.w[1], 0);
}

static void a_poor_backend(void **state)
{
    struct nbench *b = *state;

    b->fake.info = (struct vio_net_info){ 0 };
    b->fake.mtu = 0;
    make(b, 1);
    assert_int_equal(b->fake.net->offered.w[0], always);
}

static void each_offload_by_itself(void **state)
{
    struct nbench *b = *state;
    static const struct {
        unsigned offload;
        uint64_t host, guest;
    } bits[] = {
        { VIO_NET_TSO4, B(HOST_TSO4), B(GUEST_TSO4) },
        { VIO_NET_TSO6, B(HOST_TSO6), B(GUEST_TSO6) },
        { VIO_NET_UFO, B(HOST_UFO), B(GUEST_UFO) },
        { VIO_NET_USO, B(HOST_USO), B(GUEST_USO4) | B(GUEST_USO6) },
        { VIO_NET_ECN, 0, 0 }, /* nothing without TSO */
        { VIO_NET_ECN | VIO_NET_TSO6, B(HOST_ECN) | B(HOST_TSO6), B(GUEST_ECN) | B(GUEST_TSO6) },
    };
    struct net net = { .pairs = 1 };

    make(b, 1);
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        net.info.takes = bits[i].offload; /* CSUM is the device's own */
        net.info.gives = bits[i].offload;
        assert_int_equal(net_features(&net).w[0], always | bits[i].host);
        net.info.gives |= VIO_NET_CSUM;
        assert_int_equal(net_features(&net).w[0],
                         always | bits[i].host | bits[i].guest | B(GUEST_CSUM) | B(CTRL_GUEST_OFFLOADS));
    }
}

static void masks_take_what_depends(void **state)
{
    struct nbench *b = *state;

    b->fake.mask = vio_features_of(B(CSUM) | B(GUEST_CSUM));
    make(b, 4);
    assert_int_equal(b->fake.net->offered.w[0], (always & ~B(CSUM)) | B(MTU) | B(MQ) | B(RSS));
}

static void without_a_control_queue(void **state)
{
    struct nbench *b = *state;

    b->fake.mask = vio_features_of(B(CTRL_VQ));
    make(b, 4);
    assert_int_equal(b->fake.net->offered.w[0],
                     B(CSUM) | B(MAC) | B(MRG_RXBUF) | B(STATUS) | B(GUEST_HDRLEN) | B(SPEED_DUPLEX) | B(MTU) |
                         (guests & ~B(CTRL_GUEST_OFFLOADS)) | hosts);
}

static void every_bit_has_a_name(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        if ((always | guests | hosts | B(MTU) | B(MQ) | B(RSS)) >> bit & 1)
            assert_non_null(vio_feature_name(VIRTIO_ID_NET, bit));
    assert_string_equal(vio_feature_name(VIRTIO_ID_NET, VIRTIO_NET_F_DEVICE_STATS), "DEVICE_STATS");
    assert_string_equal(vio_feature_name(VIRTIO_ID_NET, VIRTIO_NET_F_CTRL_RX_EXTRA), "CTRL_RX_EXTRA");
}

/* ------------------------------------------------------------------ what is refused (5.1.3.1) */

static void requirements(void **state)
{
    struct nbench *b = *state;
    static const struct {
        uint64_t bits;
        const char *missing;
    } wrong[] = {
        { B(GUEST_TSO4), "GUEST_TSO4 without GUEST_CSUM" },
        { B(GUEST_TSO6), "GUEST_TSO6 without GUEST_CSUM" },
        { B(GUEST_UFO), "GUEST_UFO without GUEST_CSUM" },
        { B(GUEST_USO4), "GUEST_USO4 without GUEST_CSUM" },
        { B(GUEST_USO6), "GUEST_USO6 without GUEST_CSUM" },
        { B(GUEST_ECN) | B(GUEST_CSUM), "GUEST_ECN without GUEST_TSO4 or GUEST_TSO6" },
        { B(HOST_TSO4), "HOST_TSO4 without CSUM" },
        { B(HOST_TSO6), "HOST_TSO6 without CSUM" },
        { B(HOST_UFO), "HOST_UFO without CSUM" },
        { B(HOST_USO), "HOST_USO without CSUM" },
        { B(HOST_ECN) | B(CSUM), "HOST_ECN without HOST_TSO4 or HOST_TSO6" },
    };
    static const uint64_t right[] = {
        0, B(GUEST_CSUM) | B(GUEST_TSO6) | B(GUEST_ECN), B(CSUM) | B(HOST_TSO4) | B(HOST_ECN),
        B(MQ) | B(GUEST_ANNOUNCE) | B(RSS) | B(HASH_REPORT), /* QEMU's vhost-user-net */
    };

    make(b, 4);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct vio_features f = vio_features_of(wrong[i].bits | VIO_FEATURE(VIRTIO_F_VERSION_1));

        assert_string_equal(net_features_refused(b->fake.net, f), wrong[i].missing);
        assert_false(rig_negotiate(&b->rig, f));
        assert_true(i > 0 || rig_said(&b->rig, wrong[i].missing)); /* the log is limited */
        vio_device_reset(b->fake.dev);
    }
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        assert_true(rig_negotiate(&b->rig, vio_features_of(right[i] | VIO_FEATURE(VIRTIO_F_VERSION_1))));
        vio_device_reset(b->fake.dev);
    }
}

/* ------------------------------------------------------------------ the configuration space (5.1.4) */

static struct virtio_net_config config(const struct nbench *b)
{
    struct virtio_net_config c;

    assert_int_equal(vio_device_config_read(b->fake.dev, 0, &c, sizeof(c)), 0);
    return c;
}

static void configuration(void **state)
{
    struct nbench *b = *state;
    struct virtio_net_config c;
    uint8_t one = 1;

    make(b, 4);
    c = config(b);
    assert_memory_equal(c.mac, "\x52\x54\x00\x12\x34\x56", 6);
    assert_int_equal(vio_cpu(c.status), VIRTIO_NET_S_LINK_UP);
    assert_int_equal(vio_cpu(c.max_virtqueue_pairs), 4);
    assert_int_equal(vio_cpu(c.mtu), 1500);
    assert_int_equal(vio_cpu(c.speed), 10000);
    assert_int_equal(c.duplex, VIRTIO_NET_DUPLEX_FULL);
    assert_int_equal(c.rss_max_key_size, 40);
    assert_int_equal(vio_cpu(c.rss_max_indirection_table_length), 128);
    assert_int_equal(vio_cpu(c.supported_hash_types), NET_HASH_TYPES);
    assert_int_equal(vio_cpu(c.supported_tunnel_types), 0);
    /* All of it is the device's to write. */
    assert_true(rig_negotiate(&b->rig, vio_device_offered(b->fake.dev)));
    for (uint32_t at = 0; at < sizeof(c); at++)
        assert_int_not_equal(vio_device_config_write(b->fake.dev, at, &one, 1), 0);
}

static void fields_that_do_not_exist(void **state)
{
    struct nbench *b = *state;
    struct virtio_net_config c, none = { 0 };

    b->fake.mtu = 0;
    b->fake.mask = vio_features_of(B(STATUS) | B(SPEED_DUPLEX) | B(HASH_REPORT));
    make(b, 1);
    c = config(b);
    memset(c.mac, 0, sizeof(c.mac));
    assert_memory_equal(&c, &none, sizeof(c));
    /* A speed that no driver may be told. */
    b->fake.net->offered = vio_features_of(B(SPEED_DUPLEX));
    b->fake.net->speed = 0x80000000;
    net_config_fill(b->fake.net, &c);
    assert_int_equal(vio_cpu(c.speed), VIRTIO_NET_SPEED_UNKNOWN);
    assert_int_equal(c.duplex, VIRTIO_NET_DUPLEX_UNKNOWN);
    b->fake.net->speed = 0;
    net_config_fill(b->fake.net, &c);
    assert_int_equal(vio_cpu(c.speed), VIRTIO_NET_SPEED_UNKNOWN);
}

/* ------------------------------------------------------------------ what was negotiated */

static const struct net *negotiate(struct nbench *b, uint64_t bits)
{
    vio_device_reset(b->fake.dev);
    assert_true(rig_negotiate(&b->rig, vio_features_of(bits | VIO_FEATURE(VIRTIO_F_VERSION_1))));
    return b->fake.net;
}

static void queues_in_use(void **state)
{
    struct nbench *b = *state;
    const struct net *net;

    make(b, 4);
    net = negotiate(b, 0);
    assert_int_equal(net->usable_pairs, 1);
    assert_int_equal(net->active_pairs, 1);
    assert_false(net->has_ctrl);
    assert_int_equal(net_role(net, 2), NET_RX);
    net = negotiate(b, B(CTRL_VQ));
    assert_int_equal(net->usable_pairs, 1);
    assert_int_equal(net_role(net, 2), NET_CTRL);
    net = negotiate(b, B(CTRL_VQ) | B(MQ));
    assert_int_equal(net->usable_pairs, 4);
    assert_int_equal(net->active_pairs, 1); /* until VQ_PAIRS_SET */
    assert_int_equal(net_role(net, 2), NET_RX);
    assert_int_equal(net_role(net, 8), NET_CTRL);
    net = negotiate(b, B(CTRL_VQ) | B(RSS));
    assert_int_equal(net->usable_pairs, 4);
    assert_int_equal(net->active_pairs, 1);
    net = negotiate(b, B(MQ));
    assert_int_equal(net->usable_pairs, 4);
    assert_int_equal(net->active_pairs, 4); /* nobody can say how many */
}

static void headers(void **state)
{
    struct nbench *b = *state;

    make(b, 4);
    assert_int_equal(negotiate(b, 0)->hdr_bytes, 12);
    assert_false(b->fake.net->mergeable);
    assert_false(b->fake.net->rss.report);
    assert_int_equal(negotiate(b, B(MRG_RXBUF) | B(HASH_REPORT))->hdr_bytes, 20);
    assert_true(b->fake.net->mergeable);
    assert_true(b->fake.net->rss.report);
}

static void filters(void **state)
{
    struct nbench *b = *state;

    make(b, 4);
    assert_true(negotiate(b, B(CTRL_VQ) | B(CTRL_RX))->filter.mac_rules);
    assert_false(b->fake.net->filter.vlan_rules);
    assert_true(negotiate(b, B(CTRL_VQ) | B(CTRL_VLAN))->filter.vlan_rules);
    assert_false(b->fake.net->filter.mac_rules);
    assert_false(negotiate(b, B(CTRL_RX) | B(CTRL_VLAN))->filter.mac_rules);
    assert_false(b->fake.net->filter.vlan_rules);
    assert_memory_equal(b->fake.net->filter.mac, b->fake.net->mac, 6);
}

static void offloads_by_features(void **state)
{
    struct nbench *b = *state;

    make(b, 4);
    negotiate(b, hosts | guests | B(CSUM));
    assert_int_equal(b->fake.net->host_offloads, VIO_NET_OFFLOADS);
    assert_int_equal(b->fake.net->guest_offloads, VIO_NET_OFFLOADS);
    negotiate(b, B(CSUM) | B(HOST_TSO4) | B(GUEST_CSUM) | B(GUEST_USO4));
    assert_int_equal(b->fake.net->host_offloads, VIO_NET_CSUM | VIO_NET_TSO4);
    assert_int_equal(b->fake.net->guest_offloads, VIO_NET_CSUM); /* USO only where both are taken */
    negotiate(b, 0);
    assert_int_equal(b->fake.net->host_offloads, 0);
    assert_int_equal(b->fake.net->guest_offloads, 0);
    assert_int_equal(virtio_net_guest_offloads(vio_features_of(B(GUEST_TSO4))), 0);
    assert_int_equal(virtio_net_host_offloads(vio_features_of(B(HOST_TSO4))), 0);
    assert_int_equal(virtio_net_host_offloads(vio_features_of(B(CSUM) | B(HOST_ECN))), VIO_NET_CSUM);
    assert_int_equal(virtio_net_host_offloads(vio_features_of(B(CSUM) | B(HOST_UFO) | B(HOST_USO))),
                     VIO_NET_CSUM | VIO_NET_UFO | VIO_NET_USO);
}

static void a_driver_starts_afresh(void **state)
{
    struct nbench *b = *state;
    struct net_rss none = { 0 };

    make(b, 4);
    negotiate(b, B(CTRL_VQ) | B(MQ) | B(RSS) | B(CTRL_RX));
    b->fake.net->active_pairs = 3;
    b->fake.net->filter.promisc = true;
    b->fake.net->filter.nr_multi = 5;
    b->fake.net->filter.mac[5] = 0x99;
    b->fake.net->rss.steer = true;
    b->fake.net->rss.key[3] = 3;
    b->fake.net->ctrl_commands = 7;
    vio_device_config_patch(b->fake.dev, 0, b->fake.net->filter.mac, 6);
    vio_device_reset(b->fake.dev);
    assert_int_equal(config(b).mac[5], 0x56); /* before the next one negotiates */
    negotiate(b, B(CTRL_VQ) | B(MQ) | B(RSS) | B(CTRL_RX));
    assert_int_equal(b->fake.net->active_pairs, 1);
    assert_false(b->fake.net->filter.promisc);
    assert_int_equal(b->fake.net->filter.nr_multi, 0);
    assert_int_equal(b->fake.net->filter.mac[5], 0x56);
    assert_memory_equal(&b->fake.net->rss, &none, sizeof(none));
    assert_int_equal(b->fake.net->ctrl_commands, 0);
}

int main(void)
{
#define BARE(f) cmocka_unit_test_setup_teardown(f, setup_bare, teardown)
    const struct CMUnitTest tests[] = {
        BARE(all_that_there_is),
        BARE(a_poor_backend),
        BARE(each_offload_by_itself),
        BARE(masks_take_what_depends),
        BARE(without_a_control_queue),
        cmocka_unit_test(every_bit_has_a_name),
        BARE(requirements),
        BARE(configuration),
        BARE(fields_that_do_not_exist),
        BARE(queues_in_use),
        BARE(headers),
        BARE(filters),
        BARE(offloads_by_features),
        BARE(a_driver_starts_afresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
