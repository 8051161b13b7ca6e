/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the control queue (virtio 1.4, 5.1.9.5): reads a command, carries it out, answers. One rule a command says
 * which feature it belongs to and how long its data is; the rest is in its function.
 * Where it sits: device/net.
 * Threads: with one lane, its owner. With several, what commands change is read by other threads, and an answer says that
 * the change is complete: so the owner takes nothing, but has the control thread park all queues and serve this one.
 * Trust: class, command and data are read once into private copies, whatever the framing, and all of a command is
 * checked before any of it takes effect. What is wrong is answered with ERR; only a buffer with no room for class and
 * command, or for the answer, breaks the queue.
 */
#include "device/net_internal.h"

#include <string.h>

/* One command on its way. */
struct ctrl {
    struct net *net;
    uint8_t command;
    struct vio_reader *in;
    uint16_t queue;             /* that VQ_GET asks about */
    struct net_stats_plan plan; /* the answer of STATS_GET */
};

/* ------------------------------------------------------------------ which packets are wanted (5.1.9.5.1 to .3) */

static bool set_rx_mode(struct ctrl *c)
{
    struct net_filter *f = &c->net->filter;
    bool *const modes[] = {
        [VIRTIO_NET_CTRL_RX_PROMISC] = &f->promisc, [VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->allmulti,
        [VIRTIO_NET_CTRL_RX_ALLUNI] = &f->alluni,   [VIRTIO_NET_CTRL_RX_NOMULTI] = &f->nomulti,
        [VIRTIO_NET_CTRL_RX_NOUNI] = &f->nouni,     [VIRTIO_NET_CTRL_RX_NOBCAST] = &f->nobcast,
    };
    uint8_t on;

    if (!vio_reader_get(c->in, &on, sizeof(on)) || on > 1)
        return false;
    *modes[c->command] = on;
    return true;
}

struct mac_table {
    bool overflow;
    unsigned nr;
    uint8_t mac[NET_MAC_TABLE_MAX][VIO_NET_MAC];
};

/* One of the two tables. One that is too large is not kept, only that there was more: then all of its kind pass. */
static bool read_macs(struct vio_reader *in, struct mac_table *t)
{
    vio_le32 entries;
    uint32_t nr;

    if (!vio_reader_get(in, &entries, sizeof(entries)))
        return false;
    nr = vio_cpu(entries);
    if (nr > in->left / VIO_NET_MAC)
        return false;
    t->overflow = nr > NET_MAC_TABLE_MAX;
    if (t->overflow) {
        /* Passed over, not parsed: a driver must not make us read gigabytes. */
        vio_reader_skip(in, (uint64_t)nr * VIO_NET_MAC);
        t->nr = 0;
        return true;
    }
    t->nr = nr;
    return nr == 0 || vio_reader_get(in, t->mac, (size_t)nr * VIO_NET_MAC);
}

static bool set_mac_table(struct ctrl *c)
{
    struct net_filter *f = &c->net->filter;
    struct mac_table uni, multi;

    if (!read_macs(c->in, &uni) || !read_macs(c->in, &multi) || c->in->left != 0)
        return false;
    f->uni_overflow = uni.overflow;
    f->nr_uni = uni.nr;
    memcpy(f->uni, uni.mac, uni.nr * sizeof(uni.mac[0]));
    f->multi_overflow = multi.overflow;
    f->nr_multi = multi.nr;
    memcpy(f->multi, multi.mac, multi.nr * sizeof(multi.mac[0]));
    return true;
}

static bool set_mac(struct ctrl *c)
{
    static const uint8_t none[VIO_NET_MAC];
    struct net *net = c->net;
    uint8_t mac[VIO_NET_MAC];

    /* A group address, or none at all, is no station's. */
    if (!vio_reader_get(c->in, mac, sizeof(mac)) || (mac[0] & 1) || memcmp(mac, none, sizeof(mac)) == 0)
        return false;
    if (net->info.mac_fixed && memcmp(mac, net->mac, sizeof(mac)) != 0)
        return false; /* its frames would be dropped */
    memcpy(net->filter.mac, mac, sizeof(mac));
    if (vio_features_has(net->features, VIRTIO_NET_F_MAC))
        vio_device_config_patch(net->dev, offsetof(struct virtio_net_config, mac), mac, sizeof(mac));
    return true;
}

static bool set_vlan(struct ctrl *c)
{
    uint64_t *vlan = c->net->filter.vlan, bit;
    vio_le16 wire;
    uint16_t id;

    if (!vio_reader_get(c->in, &wire, sizeof(wire)))
        return false;
    id = (uint16_t)vio_cpu(wire);
    if (id >= VIRTIO_NET_VLANS)
        return false;
    bit = UINT64_C(1) << (id % 64);
    if (c->command == VIRTIO_NET_CTRL_VLAN_ADD)
        vlan[id / 64] |= bit;
    else
        vlan[id / 64] &= ~bit;
    return true;
}

/* 5.1.9.5.4: the bit is clear before the driver sees the answer. */
static bool ack_announce(struct ctrl *c)
{
    vio_device_config_bits(c->net->dev, offsetof(struct virtio_net_config, status), VIRTIO_NET_S_ANNOUNCE, 0, false);
    return true;
}

/* ------------------------------------------------------------------ which queue (5.1.9.5.5 to .7) */

static bool set_pairs(struct ctrl *c)
{
    struct net *net = c->net;
    vio_le16 wire;
    uint16_t pairs;

    if (!vio_reader_get(c->in, &wire, sizeof(wire)))
        return false;
    pairs = (uint16_t)vio_cpu(wire);
    if (pairs == 0 || pairs > net->usable_pairs)
        return false;
    net->active_pairs = pairs;
    net->rss.steer = false; /* the last command decides how packets are steered */
    net_lanes_update(net);
    return true;
}

/* The end of both configurations: a key, and nothing behind it. Shorter keys are continued with zeroes. */
static bool read_key(struct vio_reader *in, uint8_t bytes, struct net_rss *rss)
{
    memset(rss->key, 0, sizeof(rss->key));
    if (bytes > sizeof(rss->key) || in->left != bytes || (bytes == 0 && rss->types != 0))
        return false;
    return bytes == 0 || vio_reader_get(in, rss->key, bytes);
}

/* All of RSS_CONFIG but the key. in_use: the pairs that it needs. */
static bool read_rss(struct ctrl *c, struct net_rss *rss, uint16_t *in_use, uint8_t *key_bytes)
{
    uint16_t usable = c->net->usable_pairs, most;
    struct virtio_net_rss_head head;
    struct virtio_net_rss_tail tail;
    vio_le16 table[NET_RSS_TABLE_MAX];
    uint32_t entries;

    if (!vio_reader_get(c->in, &head, sizeof(head)))
        return false;
    rss->types = vio_cpu(head.hash_types);
    rss->mask = (uint16_t)vio_cpu(head.indirection_table_mask);
    rss->unclassified = (uint16_t)vio_cpu(head.unclassified_queue);
    entries = rss->mask + 1u;
    if ((rss->types & ~(uint32_t)NET_HASH_TYPES) || entries > NET_RSS_TABLE_MAX || (entries & rss->mask) ||
        rss->unclassified >= usable)
        return false;
    if (!vio_reader_get(c->in, table, entries * sizeof(table[0])) || !vio_reader_get(c->in, &tail, sizeof(tail)))
        return false;
    most = rss->unclassified;
    for (uint32_t i = 0; i < entries; i++) {
        rss->table[i] = (uint16_t)vio_cpu(table[i]);
        if (rss->table[i] >= usable)
            return false;
        most = rss->table[i] > most ? rss->table[i] : most;
    }
    *in_use = (uint16_t)(tail.max_tx_vq[0] | tail.max_tx_vq[1] << 8);
    if (*in_use == 0 || *in_use > usable)
        return false;
    *in_use = *in_use > most ? *in_use : (uint16_t)(most + 1);
    *key_bytes = tail.hash_key_length;
    return true;
}

static bool set_rss(struct ctrl *c)
{
    struct net_rss rss = { .steer = true, .report = c->net->rss.report };
    uint16_t in_use;
    uint8_t key_bytes;

    if (!read_rss(c, &rss, &in_use, &key_bytes) || !read_key(c->in, key_bytes, &rss))
        return false;
    c->net->rss = rss;
    c->net->active_pairs = in_use;
    net_lanes_update(c->net);
    return true;
}

/* `reserved` is passed over: it lies where RSS_CONFIG has its tables, and Linux fills both by the same code. */
static bool set_hash(struct ctrl *c)
{
    struct net_rss rss = { .report = c->net->rss.report };
    struct virtio_net_hash_head head;
    uint8_t key_bytes;

    if (!vio_reader_get(c->in, &head, sizeof(head)) || !vio_reader_get(c->in, &key_bytes, sizeof(key_bytes)))
        return false;
    rss.types = vio_cpu(head.hash_types);
    if ((rss.types & ~(uint32_t)NET_HASH_TYPES) || !read_key(c->in, key_bytes, &rss))
        return false;
    c->net->rss = rss;
    return true;
}

/* ------------------------------------------------------------------ offloads (5.1.9.5.9), statistics (5.1.9.5.11) */

static bool set_offloads(struct ctrl *c)
{
    const uint64_t known = VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
                           VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | VIO_FEATURE(VIRTIO_NET_F_GUEST_ECN) |
                           VIO_FEATURE(VIRTIO_NET_F_GUEST_UFO) | VIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) |
                           VIO_FEATURE(VIRTIO_NET_F_GUEST_USO6);
    struct net *net = c->net;
    vio_le64 wire;
    uint64_t bits;

    if (!vio_reader_get(c->in, &wire, sizeof(wire)))
        return false;
    bits = vio_cpu(wire);
    if (bits & ~(known & net->features.w[0]))
        return false;
    net->guest_offloads = virtio_net_guest_offloads(vio_features_of(bits));
    for (uint16_t i = 0; i < net->nr_lanes; i++)
        net_lane_offloads(&net->lane[i]);
    return true;
}

static bool query_stats(struct ctrl *c)
{
    (void)c; /* what can be had is written behind the ack */
    return true;
}

static bool get_stats(struct ctrl *c)
{
    return net_stats_plan(c->net, c->in, &c->plan);
}

/* ------------------------------------------------------------------ notifications that wait (5.1.9.5.10) */

static struct net_coal coal_of(const struct virtio_net_ctrl_coal *wire)
{
    return (struct net_coal){ vio_cpu(wire->max_packets), vio_cpu(wire->max_usecs) };
}

static bool set_coal(struct ctrl *c)
{
    struct virtio_net_ctrl_coal wire;

    if (!vio_reader_get(c->in, &wire, sizeof(wire)))
        return false;
    net_coal_set_all(c->net, c->command == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET ? NET_TX : NET_RX, coal_of(&wire));
    return true;
}

/* Of a queue that packets go through, and that runs. */
static bool has_coal(const struct net *net, uint16_t queue)
{
    return queue < 2 * net->usable_pairs && net->queue[queue].vq != NULL;
}

static bool set_queue_coal(struct ctrl *c)
{
    struct virtio_net_ctrl_coal_vq wire;
    uint16_t queue;

    if (!vio_reader_get(c->in, &wire, sizeof(wire)))
        return false;
    queue = vio_cpu(wire.vq_index);
    if (!has_coal(c->net, queue))
        return false;
    net_coal_set(c->net, queue, coal_of(&wire.coal));
    return true;
}

static bool get_queue_coal(struct ctrl *c)
{
    struct virtio_net_ctrl_coal_vq wire;

    if (!vio_reader_get(c->in, &wire, offsetof(struct virtio_net_ctrl_coal_vq, coal)))
        return false;
    c->queue = vio_cpu(wire.vq_index);
    return has_coal(c->net, c->queue);
}

static void write_coal(const struct ctrl *c, struct vio_writer *out)
{
    struct net_coal coal = net_coal_of(c->net, c->queue);
    struct virtio_net_ctrl_coal wire = { vio_le32_of(coal.max_packets), vio_le32_of(coal.max_usecs) };

    (void)vio_writer_put_some(out, &wire, sizeof(wire));
}

/* ------------------------------------------------------------------ the queue */

enum {
    ANY_LENGTH = -1, /* the function checks it */
    CTRL_BURST = 64, /* commands that the control thread serves before it looks at its other work */
};

static const struct rule {
    uint8_t class_, command, feature;
    int8_t bytes; /* of data, exactly */
    bool (*run)(struct ctrl *c);
} rules[] = {
    { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, 1, set_rx_mode },
    { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, 1, set_rx_mode },
    { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, set_rx_mode },
    { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, set_rx_mode },
    { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, set_rx_mode },
    { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, set_rx_mode },
    { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, ANY_LENGTH, set_mac_table },
    { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, VIO_NET_MAC, set_mac },
    { VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_F_CTRL_VLAN, 2, set_vlan },
    { VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, VIRTIO_NET_F_CTRL_VLAN, 2, set_vlan },
    { VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_F_GUEST_ANNOUNCE, 0, ack_announce },
    { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, 2, set_pairs },
    { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, VIRTIO_NET_F_RSS, ANY_LENGTH, set_rss },
    { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, VIRTIO_NET_F_HASH_REPORT, ANY_LENGTH, set_hash },
    { VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, 8,
      set_offloads },
    { VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, VIRTIO_NET_F_NOTF_COAL, 8, set_coal },
    { VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, VIRTIO_NET_F_NOTF_COAL, 8, set_coal },
    { VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, VIRTIO_NET_F_VQ_NOTF_COAL, 12, set_queue_coal },
    { VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, VIRTIO_NET_F_VQ_NOTF_COAL, 4, get_queue_coal },
    { VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, VIRTIO_NET_F_DEVICE_STATS, 0, query_stats },
    { VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, VIRTIO_NET_F_DEVICE_STATS, ANY_LENGTH, get_stats },
};

/* NULL: unknown, of a feature that was not negotiated, or of the wrong length. */
static const struct rule *find_rule(const struct net *net, const struct virtio_net_ctrl_hdr *head, uint64_t bytes)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *r = &rules[i];

        if (r->class_ != head->class_ || r->command != head->command)
            continue;
        return vio_features_has(net->features, r->feature) &&
               (r->bytes == ANY_LENGTH || bytes == (uint64_t)r->bytes) ? r : NULL;
    }
    return NULL;
}

/* What follows the ack; of an answer that the driver left too little room for, as much as fits (5.1.9.5.11). */
static void write_result(const struct ctrl *c, const struct rule *rule, struct vio_writer *out)
{
    vio_le64 types;

    if (rule->run == get_stats) {
        net_stats_write(c->net, &c->plan, out);
    } else if (rule->run == query_stats) {
        types = vio_le64_of(net_stats_types(c->net));
        (void)vio_writer_put_some(out, &types, sizeof(types));
    } else if (rule->run == get_queue_coal) {
        write_coal(c, out);
    }
}

/* Broken framing: there is no knowing what was asked, or no place for the answer. */
static void broken(struct net *net, uint16_t queue, struct vio_req *req, enum vio_fault fault)
{
    vio_devq_break(net->queue[queue].vq, fault, req->id);
    vio_device_abandon(net->dev, queue, req);
}

static void perform(struct net *net, uint16_t queue, struct vio_req *req)
{
    struct virtio_net_ctrl_hdr head;
    const struct rule *rule;
    struct ctrl c; /* not zeroed: most of it is the plan */
    uint8_t ack;
    bool done;

    if (!vio_reader_get(&req->in, &head, sizeof(head))) {
        broken(net, queue, req, VIO_FAULT_REQ_SHORT);
        return;
    }
    if (req->out.left == 0) { /* looked at first: a command that cannot be answered has no effect */
        broken(net, queue, req, VIO_FAULT_REQ_NO_STATUS);
        return;
    }
    c.net = net;
    c.command = head.command;
    c.in = &req->in;
    c.plan.nr = 0;
    rule = find_rule(net, &head, req->in.left);
    done = rule != NULL && rule->run(&c);
    ack = (uint8_t)(done ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
    net->ctrl_commands++; /* before the answer: the counts include this command */
    net->ctrl_ok += done;
    (void)vio_writer_put_some(&req->out, &ack, sizeof(ack)); /* there is room: see above */
    if (done)
        write_result(&c, rule, &req->out);
    vio_devq_put(net->queue[queue].vq, req);
    net->queue[queue].put++;
}

static unsigned serve(struct net *net, uint16_t queue, unsigned budget)
{
    struct vio_req *req;
    unsigned work = 0;

    /* One at a time: a command is rare, and those behind one that breaks the queue have no effect. */
    while (work < budget && vio_devq_take(net->queue[queue].vq, &req, 1) == 1) {
        perform(net, queue, req);
        work++;
    }
    net_publish(net, queue);
    return work;
}

/* What is pending stays available meanwhile, so that nothing is in flight if the queue is stopped first. */
unsigned net_ctrl_service(struct net *net, uint16_t queue, unsigned budget)
{
    if (net->nr_lanes == 1)
        return serve(net, queue, budget);
    if (budget > 0 && vio_devq_pending(net->queue[queue].vq) &&
        !atomic_exchange_explicit(&net->ctrl_due, true, memory_order_acq_rel))
        vio_device_ask(net->dev);
    return 0;
}

void net_ctrl_control(void *self)
{
    struct net *net = self;
    uint16_t queue = (uint16_t)(2 * net->usable_pairs);

    atomic_store_explicit(&net->ctrl_due, false, memory_order_release);
    if (!net->has_ctrl || net->queue[queue].vq == NULL || !vio_device_queue_takes(net->dev, queue))
        return;
    (void)serve(net, queue, CTRL_BURST); /* those behind are found when it is unparked */
}
