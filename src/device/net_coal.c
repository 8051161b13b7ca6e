/* SPDX-License-Identifier: MIT */
/*
 * Purpose: used buffer notifications that wait for more packets, as the driver asked (virtio 1.4, 5.1.9.5.10). Buffers
 * are shown at once as always; a notification that the driver wants is sent with the max_packets-th packet since the first
 * one that it was wanted for, or max_usecs after that one, whichever is first.
 * Where it sits: device/net. Threads: the owner of the lane; net_coal_of also the control thread, while none runs.
 * Who looks at the clock: while a notification waits, each service of any queue of its lane. Before a queue with one falls
 * asleep, the lane's timer is set; it is the descriptor of its first transmit queue, whose service then sends what is due. Nothing
 * waits while that queue does not run or is parked, nor for a queue that itself is parked or has left: then what waited is
 * sent first. An idle device has no timer set.
 */
#include "device/net_internal.h"

#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static const uint64_t ns_per_s = UINT64_C(1000000000);

static uint64_t monotonic(void *ctx)
{
    struct timespec ts;

    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * ns_per_s + (uint64_t)ts.tv_nsec;
}

static uint64_t now_ns(const struct net *net)
{
    return net->clock(net->clock_ctx);
}

void net_coal_init(struct net *net, uint64_t (*clock)(void *ctx), void *ctx)
{
    for (uint16_t i = 0; i < net->nr_lanes; i++)
        net->lane[i].waiting = (struct net_waiting){ .timer_fd = -1 };
    net->clock = clock != NULL ? clock : monotonic;
    net->clock_ctx = ctx;
}

/* ------------------------------------------------------------------ the timer */

/* at 0: off. Either way it is not readable afterwards. */
static void set_timer(struct net_lane *lane, uint64_t at, uint64_t now)
{
    uint64_t in = at > now ? at - now : at != 0; /* 0 would be off */
    struct itimerspec t = { .it_value = { .tv_sec = (time_t)(in / ns_per_s), .tv_nsec = (long)(in % ns_per_s) } };

    timerfd_settime(lane->waiting.timer_fd, 0, &t, NULL); /* ours, and a good time: cannot fail */
    lane->waiting.timer_at = at;
}

/* It rings at `at` or before. */
static void ring_at(struct net_lane *lane, uint64_t at, uint64_t now)
{
    const struct net_waiting *w = &lane->waiting;

    if (w->timer_at <= now || w->timer_at > at) /* not set, has rung, or too late */
        set_timer(lane, at, now);
}

/* ------------------------------------------------------------------ one notification */

static void send_due(struct net *net, uint16_t queue)
{
    struct net_queue *q = &net->queue[queue];

    if (!q->due)
        return;
    q->due = false;
    q->lane->waiting.nr_due--;
    if (!vio_devq_silenced(q->vq))
        vio_device_call(net->dev, queue);
}

/* Both queues of each pair. */
static void send_all_due(struct net_lane *lane)
{
    unsigned end = net_lane_end(lane), step = net_lane_step(lane);

    for (unsigned i = net_lane_first(lane); lane->waiting.nr_due > 0 && i < end; i += step) {
        send_due(lane->net, (uint16_t)i);
        send_due(lane->net, (uint16_t)(i + 1));
    }
}

static void wait_for_more(struct net *net, struct net_queue *q, uint64_t from)
{
    struct net_waiting *w = &q->lane->waiting;
    uint64_t now = now_ns(net);

    q->due = true;
    q->from = from;
    q->deadline = now + (uint64_t)q->coal.max_usecs * 1000;
    if (w->nr_due++ == 0 || q->deadline < w->next)
        w->next = q->deadline;
    if (q->asleep) /* a switch's port delivers to the others, whose devices may sleep */
        ring_at(q->lane, q->deadline, now);
}

/* Someone looks at the clock as long as something waits. */
static bool may_wait(const struct net_lane *lane)
{
    return lane->waiting.timer_fd >= 0 && !lane->net->queue[net_timer_queue(lane)].parked;
}

void net_coal_publish(struct net *net, uint16_t queue, unsigned n)
{
    struct net_queue *q = &net->queue[queue];
    bool wanted = vio_device_publish_quietly(net->dev, queue, n);
    uint64_t before = q->published;

    q->published = q->packets;
    if (q->due) {
        if (q->packets - q->from >= q->coal.max_packets)
            send_due(net, queue);
    } else if (wanted) {
        if (q->packets - before >= q->coal.max_packets || !may_wait(q->lane))
            vio_device_call(net->dev, queue);
        else
            wait_for_more(net, q, before);
    }
}

/* ------------------------------------------------------------------ deadlines */

/* Sends a queue's where it is due, else minds when it will be. */
static void fire(struct net *net, uint16_t queue, uint64_t now, uint64_t *next)
{
    const struct net_queue *q = &net->queue[queue];

    if (q->due && q->deadline <= now)
        send_due(net, queue);
    else if (q->due && q->deadline < *next)
        *next = q->deadline;
}

void net_coal_fire(struct net_lane *lane)
{
    struct net_waiting *w = &lane->waiting;
    uint64_t now = now_ns(lane->net), next = UINT64_MAX;

    if (w->timer_at != 0 && w->timer_at <= now)
        set_timer(lane, 0, now); /* before anybody sleeps on it again */
    if (w->nr_due == 0 || now < w->next)
        return;
    for (unsigned i = net_lane_first(lane); i < net_lane_end(lane); i += net_lane_step(lane)) {
        fire(lane->net, (uint16_t)i, now, &next);
        fire(lane->net, (uint16_t)(i + 1), now, &next);
    }
    w->next = next;
}

/* Those that are awake look at the clock themselves. */
static uint64_t asleep_until(const struct net_queue *q)
{
    return q->due && q->asleep ? q->deadline : UINT64_MAX;
}

bool net_coal_arm(struct net *net, uint16_t queue, bool sleep)
{
    struct net_lane *lane = net->queue[queue].lane;
    uint64_t at = UINT64_MAX, now;

    net->queue[queue].asleep = sleep;
    if (!sleep || lane->waiting.nr_due == 0)
        return false;
    for (unsigned i = net_lane_first(lane); i < net_lane_end(lane); i += net_lane_step(lane)) {
        at = vio_min_u64(at, asleep_until(&net->queue[i]));
        at = vio_min_u64(at, asleep_until(&net->queue[i + 1]));
    }
    if (at == UINT64_MAX)
        return false;
    now = now_ns(net);
    if (at <= now)
        return true;
    ring_at(lane, at, now);
    return false;
}

/* ------------------------------------------------------------------ queues' lives */

void net_coal_enter(struct net *net, uint16_t queue)
{
    struct net_queue *q = &net->queue[queue];

    q->due = q->asleep = false;
    if (net_role(net, queue) == NET_CTRL)
        return;
    net_coal_set(net, queue, net_coal_of(net, queue));
    /* Without one nothing waits: a driver is told more often than it asked for, which is allowed. */
    if (queue == net_timer_queue(q->lane) && (vio_features_has(net->features, VIRTIO_NET_F_NOTF_COAL) ||
                                     vio_features_has(net->features, VIRTIO_NET_F_VQ_NOTF_COAL)))
        q->lane->waiting.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

void net_coal_park(struct net *net, uint16_t queue)
{
    if (queue == net_timer_queue(net->queue[queue].lane))
        send_all_due(net->queue[queue].lane);
    else
        send_due(net, queue);
}

void net_coal_leave(struct net *net, uint16_t queue)
{
    struct net_lane *lane = net->queue[queue].lane;
    struct net_waiting *w = &lane->waiting;

    net_coal_park(net, queue);
    if (queue != net_timer_queue(lane) || w->timer_fd < 0)
        return;
    close(w->timer_fd);
    w->timer_fd = -1;
    w->timer_at = 0;
}

/* ------------------------------------------------------------------ parameters */

static struct net_coal of_kind(const struct net *net, uint16_t queue)
{
    return net_role(net, queue) == NET_TX ? net->coal_tx : net->coal_rx;
}

struct net_coal net_coal_of(const struct net *net, uint16_t queue)
{
    const struct net_queue *q = &net->queue[queue];

    return atomic_load_explicit(&q->coal_void, memory_order_acquire) ? of_kind(net, queue) : q->coal;
}

void net_coal_set(struct net *net, uint16_t queue, struct net_coal coal)
{
    struct net_queue *q = &net->queue[queue];

    send_due(net, queue);
    atomic_store_explicit(&q->coal_void, false, memory_order_relaxed);
    q->coal = coal;
    q->coalesces = coal.max_packets > 1 && coal.max_usecs > 0;
    q->published = q->packets;
}

void net_coal_set_all(struct net *net, enum net_role role, struct net_coal coal)
{
    if (role == NET_TX)
        net->coal_tx = coal;
    else
        net->coal_rx = coal;
    for (uint16_t i = 0; i < 2 * net->usable_pairs; i++)
        if (net_role(net, i) == role)
            net_coal_set(net, i, coal);
}

void net_coal_reset(struct net *net)
{
    const struct net_coal none = { 0, 0 };

    net->coal_rx = net->coal_tx = none;
    for (uint16_t i = 0; i < net->queues; i++)
        net_coal_set(net, i, none);
}
