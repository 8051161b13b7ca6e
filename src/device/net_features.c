/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the network device offers and says about itself, and what a driver's choice means (virtio 1.4, 5.1.3
 * to 5.1.5). Where it sits: device/net. Threads: the control thread; net_guest_offloads and net_host_offloads: any.
 */
#include "device/net_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ requirements (5.1.3.1) */

/* `bit` requires `one` or `other`. Each stands behind those that what it requires depends upon. */
static const struct {
    uint8_t bit, one, other;
    const char *missing;
} needs[] = {
    { VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_CSUM, "GUEST_TSO4 without GUEST_CSUM" },
    { VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_CSUM, "GUEST_TSO6 without GUEST_CSUM" },
    { VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
      "GUEST_ECN without GUEST_TSO4 or GUEST_TSO6" },
    { VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_CSUM, "GUEST_UFO without GUEST_CSUM" },
    { VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_CSUM, "GUEST_USO4 without GUEST_CSUM" },
    { VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_CSUM, "GUEST_USO6 without GUEST_CSUM" },
    { VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CSUM, "HOST_TSO4 without CSUM" },
    { VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CSUM, "HOST_TSO6 without CSUM" },
    { VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, "HOST_ECN without HOST_TSO4 or HOST_TSO6" },
    { VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CSUM, "HOST_UFO without CSUM" },
    { VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CSUM, "HOST_USO without CSUM" },
};

/* What a driver can use through the control queue only; the device does not offer it without one. */
static const uint8_t by_control[] = {
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_RX_EXTRA,
    VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_DEVICE_STATS,
    VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_RSS, VIRTIO_NET_F_NOTF_COAL, VIRTIO_NET_F_VQ_NOTF_COAL,
};

/*
 * MQ, RSS, GUEST_ANNOUNCE and the rest of by_control are taken without CTRL_VQ, although 5.1.3.1 requires it: with
 * QEMU's vhost-user-net the control queue is QEMU's own, and a back-end sees what was negotiated, less CTRL_VQ.
 */
const char *net_features_refused(void *self, struct vio_features features)
{
    (void)self;
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
        if (vio_features_has(features, needs[i].bit) && !vio_features_has(features, needs[i].one) &&
            !vio_features_has(features, needs[i].other))
            return needs[i].missing;
    return NULL;
}

struct vio_features net_features_fit(struct vio_features features)
{
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
        if (!vio_features_has(features, needs[i].one) && !vio_features_has(features, needs[i].other))
            vio_features_clear(&features, needs[i].bit);
    if (!vio_features_has(features, VIRTIO_NET_F_GUEST_CSUM))
        vio_features_clear(&features, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS); /* nothing to switch */
    for (size_t i = 0; i < sizeof(by_control); i++)
        if (!vio_features_has(features, VIRTIO_NET_F_CTRL_VQ))
            vio_features_clear(&features, by_control[i]);
    return features;
}

/* ------------------------------------------------------------------ the offer */

/*
 * CSUM always: the device finishes a checksum itself where what is behind it does not. The other HOST_* only as far as they
 * are taken there: cutting packets up here costs more than a driver that cuts them itself. GUEST_*: what may come.
 * RSS with one lane only: with several what is behind the device chooses the lane, and no thread has all receive queues.
 */
struct vio_features net_features(const struct net *net)
{
    unsigned gives = net->info.gives;
    const struct {
        bool offer;
        unsigned bit;
    } bits[] = {
        { true, VIRTIO_NET_F_CSUM },
        { (gives & VIO_NET_CSUM) != 0, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS },
        { net->mtu >= VIRTIO_NET_MTU_MIN, VIRTIO_NET_F_MTU },
        { true, VIRTIO_NET_F_MAC },
        { true, VIRTIO_NET_F_MRG_RXBUF },
        { true, VIRTIO_NET_F_STATUS },
        { true, VIRTIO_NET_F_CTRL_VQ },
        { true, VIRTIO_NET_F_CTRL_RX },
        { true, VIRTIO_NET_F_CTRL_VLAN },
        { true, VIRTIO_NET_F_CTRL_RX_EXTRA },
        { true, VIRTIO_NET_F_GUEST_ANNOUNCE },
        { net->pairs > 1, VIRTIO_NET_F_MQ },
        { true, VIRTIO_NET_F_CTRL_MAC_ADDR },
        { true, VIRTIO_NET_F_DEVICE_STATS },
        { true, VIRTIO_NET_F_VQ_NOTF_COAL },
        { true, VIRTIO_NET_F_NOTF_COAL },
        { true, VIRTIO_NET_F_HASH_REPORT },
        { true, VIRTIO_NET_F_GUEST_HDRLEN },
        { net->pairs > 1 && net->nr_lanes == 1, VIRTIO_NET_F_RSS },
        { true, VIRTIO_NET_F_SPEED_DUPLEX },
    };
    struct vio_features f = vio_features_of(virtio_net_guest_bits(gives) | virtio_net_host_bits(net->info.takes));

    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        if (bits[i].offer)
            vio_features_set(&f, bits[i].bit);
    return net_features_fit(f);
}

/* Fields of features that are not offered "do not exist" (5.1.4): zeroes. */
void net_config_fill(const struct net *net, struct virtio_net_config *c)
{
    bool rss = vio_features_has(net->offered, VIRTIO_NET_F_RSS);
    bool hash = rss || vio_features_has(net->offered, VIRTIO_NET_F_HASH_REPORT);
    bool known = net->speed != 0 && net->speed <= VIRTIO_NET_SPEED_MAX;

    memset(c, 0, sizeof(*c));
    memcpy(c->mac, net->mac, sizeof(c->mac));
    if (vio_features_has(net->offered, VIRTIO_NET_F_STATUS) && atomic_load_explicit(&net->link, memory_order_relaxed))
        c->status = vio_le16_of(VIRTIO_NET_S_LINK_UP);
    if (rss || vio_features_has(net->offered, VIRTIO_NET_F_MQ))
        c->max_virtqueue_pairs = vio_le16_of(net->pairs);
    if (vio_features_has(net->offered, VIRTIO_NET_F_MTU))
        c->mtu = vio_le16_of(net->mtu);
    if (vio_features_has(net->offered, VIRTIO_NET_F_SPEED_DUPLEX)) {
        c->speed = vio_le32_of(known ? net->speed : VIRTIO_NET_SPEED_UNKNOWN);
        c->duplex = known ? VIRTIO_NET_DUPLEX_FULL : VIRTIO_NET_DUPLEX_UNKNOWN;
    }
    if (hash) {
        c->rss_max_key_size = NET_RSS_KEY_MAX;
        c->supported_hash_types = vio_le32_of(NET_HASH_TYPES);
    }
    if (rss)
        c->rss_max_indirection_table_length = vio_le16_of(NET_RSS_TABLE_MAX);
}

/* ------------------------------------------------------------------ what was negotiated */

void net_driver_defaults(struct net *net)
{
    /* Without a control queue the driver can tell no wishes: whoever answers its commands filters, or nobody. */
    bool mac_rules = net->has_ctrl && vio_features_has(net->features, VIRTIO_NET_F_CTRL_RX);
    bool vlan_rules = net->has_ctrl && vio_features_has(net->features, VIRTIO_NET_F_CTRL_VLAN);

    net_filter_reset(&net->filter, net->mac, mac_rules, vlan_rules);
    memset(&net->rss, 0, sizeof(net->rss));
    net->rss.report = vio_features_has(net->features, VIRTIO_NET_F_HASH_REPORT);
    net->guest_offloads = virtio_net_guest_offloads(net->features);
    /* One, until the driver asks for more (5.1.9.5.5); and all where it cannot ask. */
    net->active_pairs = net->has_ctrl ? 1 : net->usable_pairs;
    net_lanes_update(net);
    net_coal_reset(net);
    net->ctrl_commands = 0;
    net->ctrl_ok = 0;
    /* A driver before may have set another (5.1.9.5.2). */
    vio_device_config_set(net->dev, offsetof(struct virtio_net_config, mac), net->mac, sizeof(net->mac), false);
}

void net_negotiated(void *self, struct vio_features features)
{
    struct net *net = self;
    bool many = vio_features_has(features, VIRTIO_NET_F_MQ) || vio_features_has(features, VIRTIO_NET_F_RSS);

    net->features = features;
    net->usable_pairs = many ? net->pairs : 1; /* 5.1.2 */
    net->hdr_bytes = vio_features_has(features, VIRTIO_NET_F_HASH_REPORT) ? VIRTIO_NET_HDR_HASH_BYTES :
                                                                            VIRTIO_NET_HDR_BYTES;
    net->mergeable = vio_features_has(features, VIRTIO_NET_F_MRG_RXBUF);
    net->has_ctrl = vio_features_has(features, VIRTIO_NET_F_CTRL_VQ);
    net->host_offloads = virtio_net_host_offloads(features);
    net_driver_defaults(net);
}
