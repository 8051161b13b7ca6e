/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network device: its making, its queues' lives, service and sleep, what the control thread may ask of it
 * (virtio 1.4, 5.1). Where it sits: device/net, above the device core and the interface of network backends.
 * Threads: the queue_* functions and service are the owner's of the queue's lane; the rest is the control thread's.
 */
#include "device/net_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spec/virtio.h"

enum { NET_MTU_MIN = 68 }; /* virtio 1.4, 5.1.4 */

/* ------------------------------------------------------------------ queues */

static int queue_enter(void *self, uint16_t queue, struct vio_devq *vq)
{
    struct net *net = self;
    struct net_queue *q = &net->queue[queue];
    struct net_lane *lane = q->lane;
    int ret = lane->entered == 0 ? lane->backend->ops->start(lane->backend, &lane->sink) : 0;

    if (ret < 0)
        return ret;
    if (lane->entered++ == 0)
        net_lane_offloads(lane);
    q->vq = vq;
    q->parked = q->starving = q->blocked = q->lent = false;
    q->put = 0;
    q->nr_held = 0;
    if (net_role(net, queue) == NET_CTRL)
        atomic_store_explicit(&net->ctrl_due, false, memory_order_relaxed);
    net_coal_enter(net, queue);
    net_lane_use(lane);
    return 0;
}

static void queue_parked(void *self, uint16_t queue, bool parked)
{
    struct net *net = self;

    if (parked)
        net_coal_park(net, queue);
    net->queue[queue].parked = parked;
    if (!parked)
        net_lane_use(net->queue[queue].lane); /* it may have been enabled or disabled meanwhile */
}

static void queue_reset(void *self, uint16_t queue)
{
    struct net *net = self;

    atomic_store_explicit(&net->queue[queue].coal_void, true, memory_order_release);
}

static bool any_starving(const struct net_lane *lane)
{
    for (unsigned i = net_lane_first(lane); i < net_lane_end(lane); i += net_lane_step(lane))
        if (lane->net->queue[i].starving)
            return true;
    return false;
}

static bool any_blocked(const struct net_lane *lane)
{
    for (unsigned i = net_lane_first(lane); i < net_lane_end(lane); i += net_lane_step(lane))
        if (lane->net->queue[i + 1].blocked)
            return true;
    return false;
}

static void queue_leave(void *self, uint16_t queue)
{
    struct net *net = self;
    struct net_lane *lane = net->queue[queue].lane;
    const struct vio_net_ops *ops = lane->backend->ops;

    net_coal_leave(net, queue);
    /* It waits for nothing any more: the other queues' packets must not wait with it. */
    net->queue[queue].starving = net->queue[queue].blocked = net->queue[queue].lent = false;
    net->queue[queue].vq = NULL;
    lane->entered--;
    net_lane_use(lane);
    if (lane->entered == 0)
        ops->stop(lane->backend);
    else if (queue == net_lane_first(lane) && ops->arm != NULL)
        (void)ops->arm(lane->backend, true, false, any_blocked(lane)); /* nobody polls for now */
}

/* Buffers to receive into wait for packets; those to send wait for the backend where it is full. */
static bool queue_wants_kick(void *self, uint16_t queue)
{
    const struct net *net = self;

    switch (net_role(net, queue)) {
    case NET_RX:
        return net->queue[queue].starving;
    case NET_TX:
        return !net->queue[queue].blocked;
    case NET_CTRL:
        break;
    }
    return !atomic_load_explicit(&net->ctrl_due, memory_order_acquire);
}

/* A lane's first receive queue waits for its backend, its first transmit queue for notifications' deadlines. */
static int queue_fd(void *self, uint16_t queue)
{
    struct net *net = self;
    struct net_lane *lane = net->queue[queue].lane;

    if (queue == net_timer_queue(lane))
        return lane->waiting.timer_fd;
    return queue == net_lane_first(lane) ? lane->backend->ops->fd(lane->backend) : -1;
}

static unsigned queue_lane(void *self, uint16_t queue)
{
    const struct net *net = self;

    return net->queue[queue].lane->index;
}

static bool tell_backend(struct net_lane *lane, bool sleep)
{
    return lane->backend->ops->arm != NULL &&
           lane->backend->ops->arm(lane->backend, sleep, !any_starving(lane), any_blocked(lane));
}

static bool any_lent(const struct net_lane *lane)
{
    for (unsigned i = net_timer_queue(lane); i < net_lane_end(lane); i += net_lane_step(lane)) {
        const struct net_queue *q = &lane->net->queue[i];

        if (q->lent && !q->blocked && !q->parked)
            return true;
    }
    return false;
}

static bool arm_backend(struct net *net, uint16_t queue, bool sleep)
{
    struct net_lane *lane = net->queue[queue].lane;
    uint16_t first = net_lane_first(lane);

    if (sleep && atomic_load_explicit(&net->rarp, memory_order_acquire) == NET_RARP_DUE)
        return true;
    if (queue == first)
        return tell_backend(lane, sleep) || (sleep && any_lent(lane));
    if (!sleep || !net->queue[queue].blocked)
        return false;
    if (net->queue[first].vq == NULL)
        return true; /* nobody waits for the backend: it is looked at now and then */
    /* Where the first receive queue is awake, it tells before it sleeps. */
    return net->queue[first].asleep && tell_backend(lane, true);
}

static bool queue_arm(void *self, uint16_t queue, bool sleep)
{
    struct net *net = self;
    bool stays = arm_backend(net, queue, sleep) || net_coal_arm(net, queue, sleep);

    net->queue[queue].lent = sleep && !stays && net->queue[queue].blocked;
    return stays;
}

void net_publish(struct net *net, uint16_t queue)
{
    struct net_queue *q = &net->queue[queue];
    unsigned put = q->put;

    if (put == 0)
        return;
    q->put = 0;
    if (__builtin_expect(q->coalesces, 0))
        net_coal_publish(net, queue, put);
    else
        vio_device_publish(net->dev, queue, put);
}

/* ------------------------------------------------------------------ service */

/* A frame that tells switches where the guest is now (reverse ARP, RFC 903). */
static void send_rarp(struct net_lane *lane)
{
    struct net *net = lane->net;
    unsigned due = NET_RARP_DUE;
    static const uint8_t rest[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 }; /* RARP; Ethernet, IPv4; "request reverse" */
    uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    struct vio_seg seg = { frame, sizeof(frame) };
    struct vio_net_packet p = { .len = sizeof(frame), .nr = 1, .seg = &seg };

    if (!atomic_compare_exchange_strong_explicit(&net->rarp, &due, NET_RARP_SENT_NOW, memory_order_acquire,
                                                 memory_order_relaxed))
        return; /* another lane was faster */
    memcpy(frame + 6, net->rarp_mac, VIO_NET_MAC);
    memcpy(frame + 12, rest, sizeof(rest));
    memcpy(frame + 22, net->rarp_mac, VIO_NET_MAC);
    memcpy(frame + 32, net->rarp_mac, VIO_NET_MAC);
    (void)lane->backend->ops->send(lane->backend, &p, 1);
    atomic_store_explicit(&net->rarp, NET_RARP_NONE, memory_order_release);
}

/*
 * A transmit queue that waited for the backend. If its owner sleeps, no kick has been asked for: it is served here until it is
 * empty and one has.
 */
static unsigned serve_blocked(struct net *net, uint16_t queue, unsigned budget)
{
    struct net_queue *q = &net->queue[queue];
    unsigned done = net_tx_service(net, queue, vio_device_queue_takes(net->dev, queue) ? budget : 0);

    vio_device_queue_report(net->dev, queue); /* it is asleep, and a broken one is not kicked */
    if (q->lent && !q->blocked && (!vio_device_queue_takes(net->dev, queue) || !vio_devq_arm_kick(q->vq)))
        q->lent = false;
    return done;
}

static unsigned rx_service(struct net *net, uint16_t queue, unsigned budget)
{
    struct net_lane *lane = net->queue[queue].lane;
    bool starved = net->queue[queue].starving;
    unsigned done = 0, end = queue == net_lane_first(lane) ? net_lane_end(lane) : 0, step = net_lane_step(lane);

    if (end == 0 && !starved)
        return 0;
    net->queue[queue].starving = false;
    for (unsigned i = queue + 1u; i < end; i += step) /* the lane's transmit queues */
        if ((net->queue[i].blocked || net->queue[i].lent) && !net->queue[i].parked)
            done += serve_blocked(net, (uint16_t)i, budget > 0 ? budget : VIO_NET_BURST);
    if (budget == 0)
        return done;
    done += lane->backend->ops->poll(lane->backend, budget);
    net_rx_flush(lane);
    return done;
}

static unsigned service(void *self, uint16_t queue, unsigned budget)
{
    struct net *net = self;
    struct net_lane *lane = net->queue[queue].lane;

    if (__builtin_expect(atomic_load_explicit(&net->rarp, memory_order_acquire) == NET_RARP_DUE, 0))
        send_rarp(lane);
    net_coal_check(lane);
    switch (net_role(net, queue)) {
    case NET_RX:
        return rx_service(net, queue, budget);
    case NET_TX:
        return net_tx_service(net, queue, budget);
    case NET_CTRL:
        break;
    }
    return net_ctrl_service(net, queue, budget);
}

/* ------------------------------------------------------------------ the device */

static void net_reset(void *self)
{
    struct net *net = self;

    net_negotiated(net, vio_features_of(0));
}

static void net_destroy(void *self)
{
    struct net *net = self;

    net_lanes_close(net, true);
    free(net);
}

static const struct vio_device_type net_type = {
    .name = "net",
    .id = VIRTIO_ID_NET,
    .config_size = sizeof(struct virtio_net_config),
    .req_priv_size = sizeof(struct net_tx_req),
    .no_inflight = true,
    .features_refused = net_features_refused,
    .negotiated = net_negotiated,
    .reset = net_reset,
    .destroy = net_destroy,
    .queue_enter = queue_enter,
    .queue_leave = queue_leave,
    .queue_wants_kick = queue_wants_kick,
    .queue_parked = queue_parked,
    .service = service,
    .queue_fd = queue_fd,
    .queue_arm = queue_arm,
    .queue_reset = queue_reset,
    .queue_lane = queue_lane,
    .control = net_ctrl_control,
    .save = net_save,
    .load = net_load,
};

/* ------------------------------------------------------------------ making one */

static bool bad_mac(const uint8_t mac[VIO_NET_MAC])
{
    static const uint8_t none[VIO_NET_MAC];

    return (mac[0] & 1) != 0 || memcmp(mac, none, sizeof(none)) == 0;
}

static int check_params(const struct vio_net_params *p, char *why, size_t why_size)
{
    if (p->pairs == 0 || p->pairs > NET_PAIRS_MAX)
        return vio_device_refuse(why, why_size, "%u queue pairs: 1 to %d are possible", p->pairs, NET_PAIRS_MAX);
    if (p->lanes > p->pairs)
        return vio_device_refuse(why, why_size, "%u lanes, but %u queue pairs: each lane needs a pair at least", p->lanes, p->pairs);
    if (p->queue_size_max != 0 && !vio_queue_size_ok(p->queue_size_max, false))
        return vio_device_refuse(why, why_size, "a queue of %u: a power of two to %d is possible (virtio 1.4, 2.7)",
                      p->queue_size_max, VIO_QUEUE_SIZE_MAX);
    if (p->mac_given && bad_mac(p->mac))
        return vio_device_refuse(why, why_size, "%02x:%02x:%02x:%02x:%02x:%02x is no station's address: it is %s", p->mac[0], p->mac[1],
                      p->mac[2], p->mac[3], p->mac[4], p->mac[5], p->mac[0] & 1 ? "a group's (its first byte is odd)" : "zero");
    if (p->mtu != 0 && p->mtu < NET_MTU_MIN)
        return vio_device_refuse(why, why_size, "an MTU of %u: at least %d is possible (virtio 1.4, 5.1.4)", p->mtu, NET_MTU_MIN);
    return 0;
}

/* A guest's configuration of its interface survives. */
void vio_net_make_mac(const char *name, uint8_t mac[VIO_NET_MAC])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (const char *c = name; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    mac[0] = 0x52;
    mac[1] = 0x56;
    for (unsigned i = 2; i < VIO_NET_MAC; i++)
        mac[i] = (uint8_t)(hash >> (8 * i));
}

static void choose_mac(struct net *net, const struct vio_net_params *p)
{
    if (p->mac_given)
        memcpy(net->mac, p->mac, sizeof(net->mac));
    else if (net->info.has_mac && !bad_mac(net->info.mac))
        memcpy(net->mac, net->info.mac, sizeof(net->mac));
    else
        vio_net_make_mac(p->device->name, net->mac);
}

static void set_params(struct net *net, const struct vio_net_params *p)
{
    net->type = net_type;
    net->type.queue_size_max = p->queue_size_max != 0 ? p->queue_size_max : NET_QUEUE_SIZE_DEFAULT;
    net->pairs = p->pairs;
    net->queues = (uint16_t)(2 * p->pairs + 1);
    net->mtu = p->mtu != 0 ? p->mtu : net->info.mtu >= NET_MTU_MIN ? net->info.mtu : 0;
    net->speed = p->speed != 0 ? p->speed : net->info.speed;
    choose_mac(net, p);
    atomic_init(&net->link, !p->link_down);
    net->offered = net_features_fit(vio_features_minus(net_features(net), p->mask));
    net_coal_init(net, NULL, NULL);
}

static int make(const struct vio_net_params *params, struct net **out, char *why, size_t why_size)
{
    size_t size = sizeof(**out) + (2u * params->pairs + 1) * sizeof((*out)->queue[0]);
    struct net *net = aligned_alloc(NET_LINE, size);
    int ret;

    if (net == NULL) {
        (void)vio_device_refuse(why, why_size, "out of memory");
        return -ENOMEM;
    }
    memset(net, 0, size);
    ret = net_lanes_open(net, params->backend, params->lanes > 1 ? params->lanes : 1, why, why_size);
    if (ret < 0) {
        free(net);
        return ret;
    }
    params->backend->ops->info(params->backend, &net->info);
    if (net->info.mac_fixed && params->mac_given && memcmp(params->mac, net->info.mac, sizeof(net->mac)) != 0) {
        net_lanes_close(net, false);
        free(net);
        (void)vio_device_refuse(why, why_size, "the address is not the one that its port is fixed to");
        return -EINVAL;
    }
    set_params(net, params);
    *out = net;
    return 0;
}

int vio_net_create(const struct vio_net_params *params, struct vio_device **out, char *why, size_t why_size)
{
    struct vio_device_params device = *params->device;
    struct virtio_net_config config;
    struct net *net;
    int ret = check_params(params, why, why_size);

    if (ret < 0)
        return ret;
    ret = make(params, &net, why, why_size);
    if (ret < 0)
        return ret;
    device.type = &net->type;
    device.self = net;
    device.queues = net->queues;
    device.features = net->offered;
    ret = vio_device_create(&device, &net->dev);
    if (ret < 0) {
        net_lanes_close(net, false);
        free(net);
        (void)vio_device_refuse(why, why_size, "out of memory");
        return ret;
    }
    net_config_fill(net, &config);
    vio_device_config_set(net->dev, 0, &config, sizeof(config), false);
    net_reset(net);
    *out = net->dev;
    return 0;
}

/* ------------------------------------------------------------------ what the control thread may ask */

void vio_net_set_link(struct vio_device *dev, bool up)
{
    struct net *net = vio_device_self(dev);

    if (atomic_exchange(&net->link, up) == up)
        return;
    vio_log(vio_device_log(dev), VIO_LOG_INFO, vio_device_name(dev), "link %s", up ? "up" : "down");
    vio_device_config_bits(dev, offsetof(struct virtio_net_config, status), VIRTIO_NET_S_LINK_UP,
                           up ? VIRTIO_NET_S_LINK_UP : 0, true);
}

bool vio_net_link(const struct vio_device *dev)
{
    const struct net *net = vio_device_self(dev);

    return atomic_load(&net->link);
}

int vio_net_rarp(struct vio_device *dev, const uint8_t mac[VIO_NET_MAC])
{
    struct net *net = vio_device_self(dev);

    if (bad_mac(mac))
        return -EINVAL;
    if (atomic_load_explicit(&net->rarp, memory_order_acquire) != NET_RARP_NONE)
        return 0; /* one is on its way */
    memcpy(net->rarp_mac, mac, VIO_NET_MAC);
    atomic_store_explicit(&net->rarp, NET_RARP_DUE, memory_order_release);
    for (uint16_t i = 0; i < net->queues; i++) {
        if (!vio_device_queue_running(dev, i))
            continue;
        vio_device_queue_poke(dev, i);
        break;
    }
    return 0;
}

int vio_net_set_mtu(struct vio_device *dev, uint16_t mtu)
{
    struct net *net = vio_device_self(dev);
    vio_le16 value = vio_le16_of(mtu);

    if (mtu < NET_MTU_MIN)
        return -EINVAL;
    net->mtu = mtu;
    vio_device_config_set(dev, offsetof(struct virtio_net_config, mtu), &value, sizeof(value), false);
    return 0;
}

void vio_net_mac(const struct vio_device *dev, uint8_t mac[VIO_NET_MAC])
{
    const struct net *net = vio_device_self(dev);

    memcpy(mac, net->mac, VIO_NET_MAC);
}

struct vio_net_backend *vio_net_backend_of(struct vio_device *dev)
{
    struct net *net = vio_device_self(dev);

    return net->lane[0].backend;
}
