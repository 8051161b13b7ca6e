/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the lanes of a network device: pairs of queues that have one owner thread and one backend. Which queue is in
 * which lane, whether a lane's backend is to bring packets, and the sums of what lanes count.
 * Where it sits: device/net. Threads: the control thread; net_lane_use and net_lane_offloads: the lane's owner, or the
 * control thread while all queues are parked.
 * How it stays without a lock: a lane reads what it shares with others (filters, offloads, pairs in use), and that changes
 * only while all are parked. What a lane writes is its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/net_internal.h"

enum { LINES_MAX = 32, LINE_NAME_MAX = 48 }; /* counters of a backend's that are summed */

/* ------------------------------------------------------------------ their lives */

void net_lanes_close(struct net *net, bool all)
{
    for (uint16_t i = net->nr_lanes; i-- > 0;) {
        if (all || i > 0)
            vio_net_close(net->lane[i].backend);
        free(net->lane[i].bounce);
    }
    free(net->lane);
    net->lane = NULL;
    net->nr_lanes = 0;
}

int net_lanes_open(struct net *net, struct vio_net_backend *backend, uint16_t lanes, char *why, size_t why_size)
{
    int ret = 0;

    net->lane = aligned_alloc(NET_LINE, lanes * sizeof(*net->lane));
    if (net->lane == NULL) {
        (void)vio_device_refuse(why, why_size, "out of memory");
        return -ENOMEM;
    }
    memset(net->lane, 0, lanes * sizeof(*net->lane));
    for (uint16_t i = 0; ret == 0 && i < lanes; i++) {
        struct net_lane *lane = &net->lane[i];

        lane->net = net;
        lane->index = i;
        lane->sink = (struct vio_net_sink){ .deliver = net_rx_deliver, .flush = net_rx_flush, .ctx = lane };
        if (i == 0)
            lane->backend = backend;
        else
            ret = vio_net_open_lane(backend, &lane->backend, why, why_size);
        if (ret == 0)
            net->nr_lanes++;
    }
    if (ret < 0)
        net_lanes_close(net, false);
    return ret;
}

/* ------------------------------------------------------------------ what is theirs */

void net_lanes_update(struct net *net)
{
    for (uint16_t i = 0; i < net->queues; i++)
        net->queue[i].lane = net_role(net, i) == NET_CTRL ? &net->lane[0] : &net->lane[i / 2 % net->nr_lanes];
    for (uint16_t i = 0; i < net->nr_lanes; i++) {
        struct net_lane *lane = &net->lane[i];
        unsigned from = i < net->active_pairs ? i : net->active_pairs; /* its first pair */

        lane->active = (uint16_t)((net->active_pairs - from + net->nr_lanes - 1u) / net->nr_lanes);
        net_lane_use(lane);
    }
}

static bool receives(const struct net_lane *lane)
{
    const struct net *net = lane->net;
    unsigned end = 2u * net->active_pairs;

    for (unsigned i = net_lane_first(lane); i < end; i += net_lane_step(lane))
        if (net->queue[i].vq != NULL && vio_device_queue_enabled(net->dev, (uint16_t)i))
            return true;
    return false;
}

void net_lane_use(struct net_lane *lane)
{
    bool use;

    if (lane->backend->ops->use == NULL || lane->net->nr_lanes == 1)
        return;
    use = lane->entered > 0 && receives(lane);
    if (use != lane->used)
        lane->backend->ops->use(lane->backend, use);
    lane->used = use;
}

void net_lane_offloads(struct net_lane *lane)
{
    if (lane->entered > 0 && lane->backend->ops->offloads != NULL)
        lane->backend->ops->offloads(lane->backend, lane->net->guest_offloads & lane->net->info.gives);
}

/* ------------------------------------------------------------------ counters */

void vio_net_counters(const struct vio_device *dev, struct vio_net_counters *out)
{
    const struct net *net = vio_device_self(dev);

    memset(out, 0, sizeof(*out));
    for (uint16_t n = 0; n < net->nr_lanes; n++) {
        const struct net_lane *lane = &net->lane[n];
        const struct {
            uint64_t *to;
            const _Atomic uint64_t *from;
        } counters[] = {
            { &out->rx_packets, &lane->rx_packets },     { &out->rx_bytes, &lane->rx_bytes },
            { &out->rx_filtered, &lane->rx_filtered },   { &out->rx_no_buffer, &lane->rx_no_buffer },
            { &out->rx_link_down, &lane->rx_link_down }, { &out->rx_bad, &lane->rx_bad },
            { &out->tx_packets, &lane->tx_packets },     { &out->tx_bytes, &lane->tx_bytes },
            { &out->tx_link_down, &lane->tx_link_down },
        };

        for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
            *counters[i].to += atomic_load_explicit(counters[i].from, memory_order_relaxed);
        for (unsigned i = 0; i < VIO_NET_BAD_COUNT_; i++)
            out->tx_bad[i] += atomic_load_explicit(&lane->tx_bad[i], memory_order_relaxed);
    }
}

struct sums {
    unsigned nr;
    struct {
        char name[LINE_NAME_MAX];
        uint64_t value;
    } line[LINES_MAX];
};

static void add_line(void *ctx, const char *name, uint64_t value)
{
    struct sums *s = ctx;
    unsigned i = 0;

    while (i < s->nr && strcmp(s->line[i].name, name) != 0)
        i++;
    if (i == LINES_MAX || strlen(name) >= LINE_NAME_MAX)
        return;
    if (i == s->nr) {
        memcpy(s->line[s->nr++].name, name, strlen(name) + 1);
        s->line[i].value = 0;
    }
    s->line[i].value += value;
}

void vio_net_backend_counters(const struct vio_device *dev, void (*line)(void *ctx, const char *name, uint64_t value),
                              void *ctx)
{
    const struct net *net = vio_device_self(dev);
    struct vio_net_backend *first = net->lane[0].backend;
    struct sums sums = { .nr = 0 };

    if (first->ops->counters == NULL)
        return;
    if (net->nr_lanes == 1) {
        first->ops->counters(first, line, ctx);
        return;
    }
    for (uint16_t i = 0; i < net->nr_lanes; i++)
        net->lane[i].backend->ops->counters(net->lane[i].backend, add_line, &sums);
    for (unsigned i = 0; i < sums.nr; i++)
        line(ctx, sums.line[i].name, sums.line[i].value);
}
