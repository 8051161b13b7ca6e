/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the driver has set by control commands as bytes, and back: for migration and snapshots.
 * Where it sits: device/net. Threads: the control thread, while no queue runs.
 * Trust: foreign bytes; all of them are checked before anything is changed. What follows from the features is not
 * loaded but derived again.
 */
#include "device/net_internal.h"

#include <errno.h>
#include <string.h>

#include "spec/virtio.h"

/* Saved records: struct net_state; with either feature of coalescing, struct net_coal_state. */
enum { NET_STATE_DRIVER = 1, NET_STATE_COAL = 2 };

enum {
    STATE_PROMISC = 1,
    STATE_ALLMULTI = 2,
    STATE_ALLUNI = 4,
    STATE_NOMULTI = 8,
    STATE_NOUNI = 16,
    STATE_NOBCAST = 32,
    STATE_UNI_OVERFLOW = 64,
    STATE_MULTI_OVERFLOW = 128,
    STATE_STEER = 256,
    STATE_ANNOUNCE = 512, /* asked for, not acknowledged yet */
    STATE_FLAGS = 1023,
};

struct net_state {
    vio_le32 flags;
    vio_le32 guest_offloads; /* enum vio_net_offload */
    vio_le16 active_pairs;
    vio_le16 nr_uni, nr_multi;
    uint8_t mac[VIO_NET_MAC];
    uint8_t uni[NET_MAC_TABLE_MAX][VIO_NET_MAC], multi[NET_MAC_TABLE_MAX][VIO_NET_MAC];
    uint8_t reserved[4];
    vio_le64 vlan[VIRTIO_NET_VLANS / 64];
    vio_le32 hash_types;
    vio_le16 mask, unclassified;
    vio_le16 table[NET_RSS_TABLE_MAX];
    uint8_t key[NET_RSS_KEY_MAX];
};
_Static_assert(sizeof(struct net_state) == 24 + 2 * NET_MAC_TABLE_MAX * VIO_NET_MAC + VIRTIO_NET_VLANS / 8 + 8 +
                                               2 * NET_RSS_TABLE_MAX + NET_RSS_KEY_MAX,
               "no holes");

/* Notifications that wait are none of it: queues that have ended have sent them. */
struct net_coal_state {
    struct virtio_net_ctrl_coal rx, tx; /* for all of a kind */
    struct virtio_net_ctrl_coal queue[2 * NET_PAIRS_MAX];
};

static uint8_t status_byte(const struct net *net)
{
    uint8_t status = 0;

    /* The offset is inside: this cannot fail. */
    if (vio_device_config_read(net->dev, offsetof(struct virtio_net_config, status), &status, 1) < 0)
        return 0;
    return status;
}

/* ------------------------------------------------------------------ save */

static uint32_t flags_of(const struct net *net)
{
    const struct net_filter *f = &net->filter;

    return (f->promisc ? STATE_PROMISC : 0u) | (f->allmulti ? STATE_ALLMULTI : 0u) | (f->alluni ? STATE_ALLUNI : 0u) |
           (f->nomulti ? STATE_NOMULTI : 0u) | (f->nouni ? STATE_NOUNI : 0u) | (f->nobcast ? STATE_NOBCAST : 0u) |
           (f->uni_overflow ? STATE_UNI_OVERFLOW : 0u) | (f->multi_overflow ? STATE_MULTI_OVERFLOW : 0u) |
           (net->rss.steer ? STATE_STEER : 0u) |
           (status_byte(net) & VIRTIO_NET_S_ANNOUNCE ? STATE_ANNOUNCE : 0u);
}

static struct virtio_net_ctrl_coal wire_of(struct net_coal coal)
{
    return (struct virtio_net_ctrl_coal){ vio_le32_of(coal.max_packets), vio_le32_of(coal.max_usecs) };
}

static bool has_coal(const struct net *net)
{
    return vio_features_has(net->features, VIRTIO_NET_F_NOTF_COAL) ||
           vio_features_has(net->features, VIRTIO_NET_F_VQ_NOTF_COAL);
}

static int save_coal(const struct net *net, struct vio_state *state)
{
    struct net_coal_state s;

    if (!has_coal(net))
        return 0;
    memset(&s, 0, sizeof(s));
    s.rx = wire_of(net->coal_rx);
    s.tx = wire_of(net->coal_tx);
    for (uint16_t i = 0; i < 2 * net->usable_pairs; i++)
        s.queue[i] = wire_of(net_coal_of(net, i));
    return vio_state_put(state, NET_STATE_COAL, &s, sizeof(s));
}

int net_save(void *self, struct vio_state *state)
{
    const struct net *net = self;
    struct net_state s;
    int ret;

    memset(&s, 0, sizeof(s));
    s.flags = vio_le32_of(flags_of(net));
    s.guest_offloads = vio_le32_of(net->guest_offloads);
    s.active_pairs = vio_le16_of(net->active_pairs);
    s.nr_uni = vio_le16_of((uint16_t)net->filter.nr_uni);
    s.nr_multi = vio_le16_of((uint16_t)net->filter.nr_multi);
    memcpy(s.mac, net->filter.mac, sizeof(s.mac));
    memcpy(s.uni, net->filter.uni, net->filter.nr_uni * sizeof(s.uni[0]));
    memcpy(s.multi, net->filter.multi, net->filter.nr_multi * sizeof(s.multi[0]));
    for (unsigned i = 0; i < VIRTIO_NET_VLANS / 64; i++)
        s.vlan[i] = vio_le64_of(net->filter.vlan[i]);
    s.hash_types = vio_le32_of(net->rss.types);
    s.mask = vio_le16_of(net->rss.mask);
    s.unclassified = vio_le16_of(net->rss.unclassified);
    for (unsigned i = 0; i < NET_RSS_TABLE_MAX; i++)
        s.table[i] = vio_le16_of(net->rss.table[i]);
    memcpy(s.key, net->rss.key, sizeof(s.key));
    ret = vio_state_put(state, NET_STATE_DRIVER, &s, sizeof(s));
    return ret < 0 ? ret : save_coal(net, state);
}

/* ------------------------------------------------------------------ load */

static const char *check_rss(const struct net *net, const struct net_state *s)
{
    uint32_t mask = vio_cpu(s->mask);

    if (vio_cpu(s->hash_types) & ~(uint32_t)NET_HASH_TYPES)
        return "it has types of hash that this device does not know";
    if (mask >= NET_RSS_TABLE_MAX || (mask & (mask + 1)))
        return "its table of receive queues has a size that is no power of two up to 128";
    if ((vio_cpu(s->flags) & STATE_STEER) && !vio_features_has(net->features, VIRTIO_NET_F_RSS))
        return "it steers by RSS, which was not negotiated";
    for (uint32_t i = 0; i < NET_RSS_TABLE_MAX; i++)
        if (vio_cpu(s->table[i]) >= net->usable_pairs)
            return "its table names receive queues that are not usable";
    if (vio_cpu(s->unclassified) >= net->usable_pairs)
        return "it sends unclassified packets to a receive queue that is not usable";
    return NULL;
}

static const char *check_state(const struct net *net, const struct net_state *s)
{
    uint32_t flags = vio_cpu(s->flags), pairs = vio_cpu(s->active_pairs);

    if (flags & ~(uint32_t)STATE_FLAGS)
        return "it has flags that this version does not know";
    if ((flags & STATE_ANNOUNCE) && !vio_features_has(net->features, VIRTIO_NET_F_GUEST_ANNOUNCE))
        return "it waits for an announcement, which was not negotiated";
    if (vio_cpu(s->guest_offloads) & ~virtio_net_guest_offloads(net->features))
        return "its offloads were not negotiated";
    if (pairs == 0 || pairs > net->usable_pairs)
        return "it uses more pairs of queues than are usable, or none";
    if (vio_cpu(s->nr_uni) > NET_MAC_TABLE_MAX || vio_cpu(s->nr_multi) > NET_MAC_TABLE_MAX)
        return "its tables of addresses are longer than this device's";
    if (s->mac[0] & 1)
        return "its own address is a group's";
    if (net->info.mac_fixed && memcmp(s->mac, net->mac, sizeof(s->mac)) != 0)
        return "its own address is not the one that is fixed here";
    return check_rss(net, s);
}

static void load_filter(struct net_filter *f, const struct net_state *s)
{
    uint32_t flags = vio_cpu(s->flags);

    f->promisc = (flags & STATE_PROMISC) != 0;
    f->allmulti = (flags & STATE_ALLMULTI) != 0;
    f->alluni = (flags & STATE_ALLUNI) != 0;
    f->nomulti = (flags & STATE_NOMULTI) != 0;
    f->nouni = (flags & STATE_NOUNI) != 0;
    f->nobcast = (flags & STATE_NOBCAST) != 0;
    f->uni_overflow = (flags & STATE_UNI_OVERFLOW) != 0;
    f->multi_overflow = (flags & STATE_MULTI_OVERFLOW) != 0;
    f->nr_uni = vio_cpu(s->nr_uni);
    f->nr_multi = vio_cpu(s->nr_multi);
    memcpy(f->mac, s->mac, sizeof(f->mac));
    memcpy(f->uni, s->uni, sizeof(f->uni));
    memcpy(f->multi, s->multi, sizeof(f->multi));
    for (unsigned i = 0; i < VIRTIO_NET_VLANS / 64; i++)
        f->vlan[i] = vio_cpu(s->vlan[i]);
}

static void load_rss(struct net_rss *rss, const struct net_state *s)
{
    rss->steer = (vio_cpu(s->flags) & STATE_STEER) != 0;
    rss->types = vio_cpu(s->hash_types);
    rss->mask = (uint16_t)vio_cpu(s->mask);
    rss->unclassified = (uint16_t)vio_cpu(s->unclassified);
    for (unsigned i = 0; i < NET_RSS_TABLE_MAX; i++)
        rss->table[i] = (uint16_t)vio_cpu(s->table[i]);
    memcpy(rss->key, s->key, sizeof(rss->key));
}

static struct net_coal coal_of(const struct virtio_net_ctrl_coal *wire)
{
    return (struct net_coal){ vio_cpu(wire->max_packets), vio_cpu(wire->max_usecs) };
}

/* Any value will do. */
static void load_coal(struct net *net, const struct net_coal_state *s)
{
    net_coal_set_all(net, NET_RX, coal_of(&s->rx));
    net_coal_set_all(net, NET_TX, coal_of(&s->tx));
    for (uint16_t i = 0; i < 2 * net->usable_pairs; i++)
        net_coal_set(net, i, coal_of(&s->queue[i]));
}

int net_load(void *self, struct vio_state *state)
{
    struct net *net = self;
    struct net_coal_state coal;
    struct net_state s;
    const char *why;
    uint8_t status;
    int ret;

    if ((vio_device_status(net->dev) & VIRTIO_STATUS_FEATURES_OK) == 0)
        return 0; /* saved before the driver could set anything */
    ret = vio_state_get(state, NET_STATE_DRIVER, &s, sizeof(s));
    if (ret == 0 && has_coal(net))
        ret = vio_state_get(state, NET_STATE_COAL, &coal, sizeof(coal));
    if (ret < 0)
        return ret;
    why = check_state(net, &s);
    if (why != NULL) {
        vio_log(vio_device_log(net->dev), VIO_LOG_ERROR, vio_device_name(net->dev), "saved state refused: %s", why);
        return -EINVAL;
    }
    load_filter(&net->filter, &s);
    load_rss(&net->rss, &s);
    if (has_coal(net))
        load_coal(net, &coal);
    net->guest_offloads = vio_cpu(s.guest_offloads);
    net->active_pairs = (uint16_t)vio_cpu(s.active_pairs);
    net_lanes_update(net);
    vio_device_config_set(net->dev, offsetof(struct virtio_net_config, mac), s.mac, sizeof(s.mac), false);
    if (vio_cpu(s.flags) & STATE_ANNOUNCE) {
        /* Said again: whether the driver heard it where it was saved is not known. */
        status = status_byte(net) | VIRTIO_NET_S_ANNOUNCE;
        vio_device_config_set(net->dev, offsetof(struct virtio_net_config, status), &status, 1, true);
    }
    return 0;
}
