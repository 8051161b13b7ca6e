/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network device: its making, its queues' lives, service and sleep, what the control thread may ask of it
 * (virtio 1.4, 5.1). Where it sits: device/net, above the device core and the interface of network backends.
 * Threads: the queue_* functions and service are the owner's, who is one for all queues; the rest is the control thread's.
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
    int ret = 0;

    if (net->entered == 0) {
        ret = net->backend->ops->start(net->backend, &net->sink);
        if (ret == 0 && net->backend->ops->offloads != NULL)
            net->backend->ops->offloads(net->backend, net->guest_offloads & net->info.gives);
    }
    if (ret < 0)
        return ret;
    net->entered++;
    q->vq = vq;
    q->parked = q->starving = q->blocked = false;
    q->put = 0;
    q->nr_held = 0;
    net_coal_enter(net, queue);
    return 0;
}

static void queue_parked(void *self, uint16_t queue, bool parked)
{
    struct net *net = self;

    if (parked)
        net_coal_park(net, queue);
    net->queue[queue].parked = parked;
}

static void queue_reset(void *self, uint16_t queue)
{
    struct net *net = self;

    atomic_store_explicit(&net->queue[queue].coal_void, true, memory_order_release);
}

static bool any_starving(const struct net *net)
{
    for (uint16_t i = 0; i < net->queues; i++)
        if (net->queue[i].starving)
            return true;
    return false;
}

static bool any_blocked(const struct net *net)
{
    for (uint16_t i = 0; i < net->queues; i++)
        if (net->queue[i].blocked)
            return true;
    return false;
}

static void queue_leave(void *self, uint16_t queue)
{
    struct net *net = self;

    net_coal_leave(net, queue);
    /* It waits for nothing any more: the other queues' packets must not wait with it. */
    net->queue[queue].starving = net->queue[queue].blocked = false;
    net->queue[queue].vq = NULL;
    if (--net->entered == 0)
        net->backend->ops->stop(net->backend);
    else if (queue == 0 && net->backend->ops->arm != NULL)
        (void)net->backend->ops->arm(net->backend, true, false, any_blocked(net)); /* nobody polls for now */
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
    return true;
}

/* The first receive queue's owner waits for the backend, the first transmit queue's for notifications' deadlines. */
static int queue_fd(void *self, uint16_t queue)
{
    struct net *net = self;

    if (queue == NET_TIMER_QUEUE)
        return net->waiting.timer_fd;
    return queue == 0 ? net->backend->ops->fd(net->backend) : -1;
}

static bool arm_backend(struct net *net, uint16_t queue, bool sleep)
{
    if (atomic_load_explicit(&net->rarp_due, memory_order_acquire) && sleep)
        return true;
    if (queue != 0 || net->backend->ops->arm == NULL)
        return queue != 0 && sleep && net->queue[queue].blocked && net->queue[0].vq == NULL;
    return net->backend->ops->arm(net->backend, sleep, !any_starving(net), any_blocked(net));
}

static bool queue_arm(void *self, uint16_t queue, bool sleep)
{
    struct net *net = self;

    return arm_backend(net, queue, sleep) || net_coal_arm(net, queue, sleep);
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
static void send_rarp(struct net *net)
{
    static const uint8_t rest[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 }; /* RARP; Ethernet, IPv4; "request reverse" */
    uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    struct vio_seg seg = { frame, sizeof(frame) };
    struct vio_net_packet p = { .len = sizeof(frame), .nr = 1, .seg = &seg };

    memcpy(frame + 6, net->rarp_mac, VIO_NET_MAC);
    memcpy(frame + 12, rest, sizeof(rest));
    memcpy(frame + 22, net->rarp_mac, VIO_NET_MAC);
    memcpy(frame + 32, net->rarp_mac, VIO_NET_MAC);
    (void)net->backend->ops->send(net->backend, &p, 1);
    atomic_store_explicit(&net->rarp_due, false, memory_order_release);
}

static unsigned rx_service(struct net *net, uint16_t queue, unsigned budget)
{
    bool starved = net->queue[queue].starving;
    unsigned done = 0;

    if (queue != 0 && !starved)
        return 0;
    net->queue[queue].starving = false;
    for (uint16_t i = 0; queue == 0 && i < net->queues; i++) {
        if (!net->queue[i].blocked || net->queue[i].parked)
            continue;
        done += net_tx_service(net, i, budget);
        vio_device_queue_report(net->dev, i); /* it is asleep, and a broken one is not kicked */
    }
    if (budget == 0)
        return done;
    done += net->backend->ops->poll(net->backend, budget);
    net_rx_flush(net);
    return done;
}

static unsigned service(void *self, uint16_t queue, unsigned budget)
{
    struct net *net = self;

    if (__builtin_expect(atomic_load_explicit(&net->rarp_due, memory_order_acquire), 0))
        send_rarp(net);
    net_coal_check(net);
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

    vio_net_close(net->backend);
    free(net->bounce);
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

/* Always the same for one name, locally administered: a guest's configuration of its interface survives. */
static void make_mac(const char *name, uint8_t mac[VIO_NET_MAC])
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
        make_mac(p->device->name, net->mac);
}

static void set_params(struct net *net, const struct vio_net_params *p)
{
    net->type = net_type;
    net->type.queue_size_max = p->queue_size_max != 0 ? p->queue_size_max : NET_QUEUE_SIZE_DEFAULT;
    net->backend = p->backend;
    net->pairs = p->pairs;
    net->queues = (uint16_t)(2 * p->pairs + 1);
    net->mtu = p->mtu != 0 ? p->mtu : net->info.mtu >= NET_MTU_MIN ? net->info.mtu : 0;
    net->speed = p->speed != 0 ? p->speed : net->info.speed;
    choose_mac(net, p);
    atomic_init(&net->link, !p->link_down);
    net->offered = net_features_fit(vio_features_minus(net_features(net), p->mask));
    net_coal_init(net, NULL, NULL);
    net->sink = (struct vio_net_sink){ .deliver = net_rx_deliver, .flush = net_rx_flush, .ctx = net };
}

int vio_net_create(const struct vio_net_params *params, struct vio_device **out, char *why, size_t why_size)
{
    struct vio_device_params device = *params->device;
    struct virtio_net_config config;
    struct net *net;
    int ret = check_params(params, why, why_size);

    if (ret < 0)
        return ret;
    net = calloc(1, sizeof(*net) + (2u * params->pairs + 1) * sizeof(net->queue[0]));
    if (net != NULL) {
        params->backend->ops->info(params->backend, &net->info);
        set_params(net, params);
        device.type = &net->type;
        device.self = net;
        device.queues = net->queues;
        device.features = net->offered;
    }
    ret = net != NULL ? vio_device_create(&device, &net->dev) : -ENOMEM;
    if (ret < 0) {
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
    if (atomic_load_explicit(&net->rarp_due, memory_order_acquire))
        return 0; /* one is on its way */
    memcpy(net->rarp_mac, mac, VIO_NET_MAC);
    atomic_store_explicit(&net->rarp_due, true, memory_order_release);
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

    return net->backend;
}

void vio_net_counters(const struct vio_device *dev, struct vio_net_counters *out)
{
    const struct net *net = vio_device_self(dev);
    const struct {
        uint64_t *to;
        const _Atomic uint64_t *from;
    } counters[] = {
        { &out->rx_packets, &net->rx_packets },     { &out->rx_bytes, &net->rx_bytes },
        { &out->rx_filtered, &net->rx_filtered },   { &out->rx_no_buffer, &net->rx_no_buffer },
        { &out->rx_link_down, &net->rx_link_down }, { &out->rx_bad, &net->rx_bad },
        { &out->tx_packets, &net->tx_packets },     { &out->tx_bytes, &net->tx_bytes },
        { &out->tx_link_down, &net->tx_link_down },
    };

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        *counters[i].to = atomic_load_explicit(counters[i].from, memory_order_relaxed);
    for (unsigned i = 0; i < VIO_NET_BAD_COUNT_; i++)
        out->tx_bad[i] = atomic_load_explicit(&net->tx_bad[i], memory_order_relaxed);
}
