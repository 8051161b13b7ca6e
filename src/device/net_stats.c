/* SPDX-License-Identifier: MIT */
/*
 * Purpose: device statistics as the driver asks for them on the control queue (virtio 1.4, 5.1.9.5.11).
 * Where it sits: device/net. Threads: the owner of the queues, whose counters these are.
 * Trust: the list of wishes is copied and checked as a whole: one that is wrong fails the command.
 */
#include "device/net_internal.h"

enum { STATS_COUNTERS_MAX = 6 };

#define TYPE(name) (UINT64_C(1) << VIRTIO_NET_STATS_##name)

static bool any(const struct net *net, unsigned a, unsigned b, unsigned c)
{
    return vio_features_has(net->features, a) || vio_features_has(net->features, b) || vio_features_has(net->features, c);
}

/* What can be had of a queue of this role: the feature that a type tells about must be negotiated. */
static uint64_t types_of(const struct net *net, enum net_role role)
{
    uint64_t types;

    switch (role) {
    case NET_RX:
        types = TYPE(RX_BASIC);
        if (vio_features_has(net->features, VIRTIO_NET_F_GUEST_CSUM))
            types |= TYPE(RX_CSUM);
        if (any(net, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_TSO6))
            types |= TYPE(RX_GSO);
        return types;
    case NET_TX:
        types = TYPE(TX_BASIC);
        if (vio_features_has(net->features, VIRTIO_NET_F_CSUM))
            types |= TYPE(TX_CSUM);
        if (any(net, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_USO))
            types |= TYPE(TX_GSO);
        return types;
    case NET_CTRL:
        break;
    }
    return TYPE(CVQ);
}

/* Not also those whose feature was not negotiated: a driver that then asked for all it was told of would get nothing. */
uint64_t net_stats_types(const struct net *net)
{
    return types_of(net, NET_RX) | types_of(net, NET_TX) | types_of(net, NET_CTRL);
}

bool net_stats_plan(const struct net *net, struct vio_reader *in, struct net_stats_plan *plan)
{
    struct virtio_net_stats_want wire;
    uint32_t queues = 2u * net->usable_pairs + net->has_ctrl;

    if (in->left % sizeof(wire) != 0 || in->left / sizeof(wire) > NET_STATS_MAX)
        return false;
    for (plan->nr = 0; in->left > 0; plan->nr++) {
        struct net_stats_want *want = &plan->want[plan->nr];

        if (!vio_reader_get(in, &wire, sizeof(wire)))
            return false;
        want->queue = (uint16_t)vio_cpu(wire.vq_index);
        want->types = vio_cpu(wire.types_bitmap);
        if (want->queue >= queues || (want->types & ~types_of(net, net_role(net, want->queue))))
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------ the answer */

/* The counters of one type, in the order of its structure; how many. They wrap, as they must. */
static unsigned gather(const struct net *net, uint16_t queue, unsigned type, uint64_t n[STATS_COUNTERS_MAX])
{
    const struct net_queue *q = &net->queue[queue];
    struct vio_queue_counters core;
    uint64_t known;
    unsigned nr = 0;

    switch (type) {
    case VIRTIO_NET_STATS_RX_BASIC:
    case VIRTIO_NET_STATS_TX_BASIC:
        vio_device_queue_counters(net->dev, queue, &core);
        n[nr++] = core.kicks;
        n[nr++] = q->packets;
        n[nr++] = q->bytes;
        n[nr++] = core.calls;
        n[nr++] = q->drops;
        n[nr++] = type == VIRTIO_NET_STATS_RX_BASIC ? q->overruns : q->malformed;
        break;
    case VIRTIO_NET_STATS_RX_CSUM:
        n[nr++] = q->data_valid;
        n[nr++] = q->needs_csum;
        known = q->data_valid + q->needs_csum; /* both may be set */
        n[nr++] = q->packets > known ? q->packets - known : 0;
        n[nr++] = 0; /* a wrong checksum is the driver's to find: the device checks none */
        break;
    case VIRTIO_NET_STATS_TX_CSUM:
        n[nr++] = q->packets - q->needs_csum;
        n[nr++] = q->needs_csum;
        break;
    case VIRTIO_NET_STATS_RX_GSO:
        n[nr++] = q->gso_packets;
        n[nr++] = q->gso_bytes;
        n[nr++] = 0; /* they come as they are: the device coalesces none */
        n[nr++] = 0;
        break;
    case VIRTIO_NET_STATS_TX_GSO:
        n[nr++] = q->gso_packets;
        n[nr++] = q->gso_bytes;
        n[nr++] = 0; /* none is cut here: what the backend does not take is not offered */
        n[nr++] = 0;
        n[nr++] = q->gso_packets;
        n[nr++] = q->gso_bytes;
        break;
    case VIRTIO_NET_STATS_CVQ:
        n[nr++] = net->ctrl_commands;
        n[nr++] = net->ctrl_ok;
        break;
    }
    return nr;
}

static void write_type(const struct net *net, uint16_t queue, unsigned type, struct vio_writer *out)
{
    struct {
        struct virtio_net_stats_reply head;
        vio_le64 n[STATS_COUNTERS_MAX];
    } reply;
    uint64_t n[STATS_COUNTERS_MAX];
    unsigned nr = gather(net, queue, type, n);
    size_t size = sizeof(reply.head) + nr * sizeof(reply.n[0]);

    reply.head = (struct virtio_net_stats_reply){
        .type = (uint8_t)type,
        .vq_index = vio_le16_of(queue),
        .size = vio_le16_of((uint16_t)size),
    };
    for (unsigned i = 0; i < nr; i++)
        reply.n[i] = vio_le64_of(n[i]);
    (void)vio_writer_put_some(out, &reply, size);
}

void net_stats_write(const struct net *net, const struct net_stats_plan *plan, struct vio_writer *out)
{
    for (unsigned i = 0; i < plan->nr && out->left > 0; i++)
        for (uint64_t types = plan->want[i].types; types != 0; types &= types - 1)
            write_type(net, plan->want[i].queue, (unsigned)__builtin_ctzll(types), out);
}
