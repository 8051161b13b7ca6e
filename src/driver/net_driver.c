/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of network devices: from probe to remove, and frames on its pairs of queues (virtio 1.4, 5.1).
 * Where it sits: driver/, over driver/core and the frames of net.c and net_rx.c; freestanding. Threads: see vio/drv_net.h.
 * Trust: see vio/drv_net.h.
 */
#include <errno.h>
#include "driver/net_internal.h"
#include "spec/virtio.h"

enum { QUEUE_SIZE = 256, FRAME = 1526, FRAME_BIG = 65562 }; /* without and with offloads: 5.1.9.3.1 */

static const struct vio_drv_net_params defaults = { .pairs = 1 };

/* ------------------------------------------------------------------ frames */

static struct drv_net_pair *pair_of(const struct vio_drv_net *n, uint16_t pair)
{
    return pair < n->info.pairs ? &n->pair[pair] : NULL;
}

unsigned vio_drv_net_send(struct vio_drv_net *n, uint16_t pair, struct vio_net_buf *const *frames, unsigned nr)
{
    struct drv_net_pair *p = pair_of(n, pair);
    unsigned put = p != NULL ? vio_drvnet_put(&p->tx, frames, nr) : 0;

    if (put > 0)
        vio_drvdev_publish(n->d, (uint16_t)(2 * pair + 1));
    return put;
}

unsigned vio_drv_net_send_done(struct vio_drv_net *n, uint16_t pair, struct vio_net_buf **frames, unsigned max)
{
    struct drv_net_pair *p = pair_of(n, pair);

    return p != NULL ? vio_drvnet_done(&p->tx, frames, max) : 0;
}

unsigned vio_drv_net_send_room(const struct vio_drv_net *n, uint16_t pair)
{
    const struct drv_net_pair *p = pair_of(n, pair);

    return p != NULL ? vio_drvq_free(p->tx.queue) : 0;
}

unsigned vio_drv_net_give(struct vio_drv_net *n, uint16_t pair, struct vio_net_buf *const *bufs, unsigned nr)
{
    struct drv_net_pair *p = pair_of(n, pair);
    unsigned given = p != NULL ? vio_drvnet_give(&p->rx, bufs, nr) : 0;

    if (given > 0)
        vio_drvdev_publish(n->d, (uint16_t)(2 * pair));
    return given;
}

unsigned vio_drv_net_give_room(const struct vio_drv_net *n, uint16_t pair)
{
    const struct drv_net_pair *p = pair_of(n, pair);

    return p == NULL ? 0 : vio_drvq_free(p->rx.queue) / (p->rx.shape.apart ? 2 : 1);
}

unsigned vio_drv_net_receive(struct vio_drv_net *n, uint16_t pair, struct vio_net_buf **frames, unsigned max)
{
    struct drv_net_pair *p = pair_of(n, pair);

    return p != NULL ? vio_drvnet_receive(&p->rx, frames, max) : 0;
}

struct vio_drv_net_counters vio_drv_net_counters(const struct vio_drv_net *n, uint16_t pair)
{
    const struct drv_net_pair *p = pair_of(n, pair);

    return p != NULL ? p->rx.counters : (struct vio_drv_net_counters){ 0 };
}

enum vio_fault vio_drv_net_fault(const struct vio_drv_net *n, uint16_t pair)
{
    const struct drv_net_pair *p = pair_of(n, pair);
    enum vio_fault fault = p != NULL ? vio_drvq_fault(p->rx.queue) : VIO_FAULT_NONE;

    return p != NULL && fault == VIO_FAULT_NONE ? vio_drvq_fault(p->tx.queue) : fault;
}

struct vio_drv_net_info vio_drv_net_info(const struct vio_drv_net *n)
{
    struct vio_drv_net_info info = n->info;
    uint16_t status = __atomic_load_n(&n->status, __ATOMIC_RELAXED);

    info.link_up = (status & VIRTIO_NET_S_LINK_UP) != 0;
    info.announce = (status & VIRTIO_NET_S_ANNOUNCE) != 0;
    info.mtu = __atomic_load_n(&n->mtu, __ATOMIC_RELAXED);
    return info;
}

/* ------------------------------------------------------------------ what does not come back by itself */

static void lose(struct vio_drv_net *n, uint16_t queue, struct vio_net_buf *buf)
{
    if (n->params->lost != NULL && buf != NULL)
        n->params->lost(n->params->ctx, n->d, queue, buf);
}

struct lost {
    struct vio_drv_net *n;
    uint16_t queue;
};

static void lose_token(void *ctx, uint64_t token)
{
    struct lost *l = ctx;

    lose(l->n, l->queue, (struct vio_net_buf *)(uintptr_t)token);
}

int vio_drv_net_restart(struct vio_drv_net *n, uint16_t queue, uint16_t size)
{
    struct drv_net_pair *p = pair_of(n, queue / 2);
    struct lost l = { n, queue };
    int error;

    if (p == NULL)
        return -EINVAL;
    error = vio_drvdev_queue_reset(n->d, queue, size, lose_token, &l);
    if (error != 0)
        return error;
    if (queue % 2 == 0) {
        lose(n, queue, vio_drvnet_unfinished(&p->rx));
        p->rx.queue = vio_drvdev_queue(n->d, queue);
    } else {
        p->tx.queue = vio_drvdev_queue(n->d, queue);
    }
    return 0;
}

/* ------------------------------------------------------------------ probe and remove */

static void used(struct vio_drvdev *d, uint16_t queue)
{
    struct vio_drv_net *n = vio_drvdev_state(d);

    n->params->used(n->params->ctx, d, queue);
}

/* Fewer where the device has fewer. -errno: not even one. */
static int count_pairs(struct vio_drv_net *n)
{
    uint16_t wanted = n->params->pairs != 0 ? n->params->pairs : 1, pairs = 0;

    if (wanted > n->info.pairs_max)
        wanted = n->info.pairs_max;
    if (wanted > VIO_DRV_NET_PAIRS_MAX)
        wanted = VIO_DRV_NET_PAIRS_MAX;
    while (pairs < wanted && vio_drvdev_queue_max(n->d, (uint16_t)(2 * pairs)) > 0 &&
           vio_drvdev_queue_max(n->d, (uint16_t)(2 * pairs + 1)) > 0)
        pairs++;
    n->info.pairs = pairs;
    return pairs > 0 ? 0 : vio_drvdev_fail(n->d, -EPROTO, "the device has no pair of queues (virtio 1.4, 5.1.2)");
}

/* It stands behind all pairs that the device has (5.1.2); over vhost-user mostly nowhere. */
static void find_control(struct vio_drv_net *n)
{
    n->ctrl_queue = (uint16_t)(2 * n->info.pairs_max);
    n->info.control = vio_drvdev_has(n->d, VIRTIO_NET_F_CTRL_VQ) && n->ctrl_queue < VIO_DRV_QUEUES_MAX &&
                      vio_drvdev_queue_max(n->d, n->ctrl_queue) >= 2;
}

static int make_rings(struct vio_drv_net *n)
{
    struct vio_drvdev_queue_plan plan[2 * VIO_DRV_NET_PAIRS_MAX + 1];
    unsigned nr = 0;

    for (; nr < 2u * n->info.pairs; nr++)
        plan[nr] = (struct vio_drvdev_queue_plan){
            .queue = (uint16_t)nr,
            .size = n->params->queue_size != 0 ? n->params->queue_size : QUEUE_SIZE,
            .indirect_max = nr % 2 == 1 ? n->params->indirect_max : 0,
            .in_turn = true,
            .polled = n->params->used == NULL,
            .callback = n->params->used != NULL ? used : NULL,
        };
    if (n->info.control)
        plan[nr++] = (struct vio_drvdev_queue_plan){ .queue = n->ctrl_queue, .size = 16, .polled = true };
    return vio_drvdev_queues(n->d, plan, nr);
}

static void free_memory(struct vio_drv_net *n)
{
    const struct vio_platform *p = vio_drvdev_platform(n->d);

    if (n->pair != NULL)
        p->free(p->ctx, n->pair, n->pair_bytes);
    if (n->ctrl != NULL)
        p->dma_free(p->ctx, n->ctrl, DRV_NET_CTRL + DRV_NET_CTRL_REPLY, n->ctrl_addr);
    n->pair = NULL;
    n->ctrl = NULL;
}

static int make_pairs(struct vio_drv_net *n)
{
    const struct vio_platform *p = vio_drvdev_platform(n->d);
    struct vio_drvnet_shape shape = vio_drvnet_shape(vio_drvdev_features(n->d), vio_drvdev_transport(n->d)->legacy);

    n->info.header = shape.header;
    n->info.mergeable = shape.mergeable;
    n->info.receive_min = shape.header + (uint32_t)((shape.gso & ~1u) != 0 && !shape.mergeable ? FRAME_BIG : FRAME);
    if (shape.mergeable)
        n->info.receive_min = shape.header + 1u;
    n->pair_bytes = n->info.pairs * sizeof(n->pair[0]);
    n->pair = p->alloc(p->ctx, n->pair_bytes);
    if (n->info.control)
        n->ctrl = p->dma_alloc(p->ctx, DRV_NET_CTRL + DRV_NET_CTRL_REPLY, 64, &n->ctrl_addr);
    if (n->pair == NULL || (n->info.control && n->ctrl == NULL)) {
        free_memory(n);
        return vio_drvdev_fail(n->d, -ENOMEM, "there is no memory for %u pairs of queues", n->info.pairs);
    }
    for (uint16_t i = 0; i < n->info.pairs; i++) {
        n->pair[i].rx = (struct vio_drvnet_rx){ .queue = vio_drvdev_queue(n->d, (uint16_t)(2 * i)), .shape = shape };
        n->pair[i].tx = (struct vio_drvnet_tx){ .queue = vio_drvdev_queue(n->d, (uint16_t)(2 * i + 1)), .shape = shape };
    }
    return 0;
}

static int probe(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);
    struct vio_drv_net *n = vio_drvdev_state(d);
    int error;

    if (vio_drvdev_transport(d)->legacy && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
        return vio_drvdev_fail(d, -ENOTSUP, "a legacy network device is only driven on little-endian machines (virtio 1.4, 5.1.9.1)");
    n->d = d;
    n->params = driver == &vio_driver_net ? &defaults : &((const struct vio_drv_net_driver *)(const void *)driver)->params;
    error = drv_net_configure(n);
    if (error == 0)
        error = count_pairs(n);
    if (error != 0)
        return error;
    find_control(n);
    error = make_rings(n);
    return error != 0 ? error : make_pairs(n);
}

/* A device starts with one pair in use (5.1.5). */
static int scan(struct vio_drvdev *d)
{
    struct vio_drv_net *n = vio_drvdev_state(d);
    int error;

    if (n->info.pairs == 1 || !n->info.control || !vio_drvdev_has(d, VIRTIO_NET_F_MQ))
        return 0;
    error = vio_drv_net_pairs(n, n->info.pairs);
    return error != 0 ? vio_drvdev_fail(d, error, "the device does not use %u pairs of queues (error %d)", n->info.pairs, -error) :
                        0;
}

static void remove_(struct vio_drvdev *d)
{
    struct vio_drv_net *n = vio_drvdev_state(d);

    for (uint16_t queue = 0; n->pair != NULL && queue < 2 * n->info.pairs; queue++) {
        struct drv_net_pair *p = &n->pair[queue / 2];
        struct vio_drvq *q = queue % 2 == 0 ? p->rx.queue : p->tx.queue;

        for (struct vio_net_buf *b = vio_drvnet_lost(q); b != NULL; b = vio_drvnet_lost(q))
            lose(n, queue, b);
        if (queue % 2 == 0)
            lose(n, queue, vio_drvnet_unfinished(&p->rx));
    }
    free_memory(n);
}

static void config_changed(struct vio_drvdev *d)
{
    struct vio_drv_net *n = vio_drvdev_state(d);

    drv_net_reconfigure(n);
    if (n->params->changed != NULL)
        n->params->changed(n->params->ctx, d);
}

static const uint32_t types[] = { VIRTIO_ID_NET, 0 };

/* virtio 1.4, 5.1.3.1 */
static const struct vio_driver_depend depends[] = {
    { VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM },
    { VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM },
    { VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_CSUM },
    { VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_CSUM },
    { VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_NOTF_COAL, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_VQ_NOTF_COAL, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_RSS, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_CTRL_VQ },
    { VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_VQ },
    { 0, 0 },
};

#define NET_FEATURES                                                                                                     \
    (VIO_FEATURE(VIRTIO_NET_F_CSUM) | VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |                                              \
     VIO_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | VIO_FEATURE(VIRTIO_NET_F_MTU) | VIO_FEATURE(VIRTIO_NET_F_MAC) |      \
     VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |                                        \
     VIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) | VIO_FEATURE(VIRTIO_NET_F_GUEST_USO6) | VIO_FEATURE(VIRTIO_NET_F_HOST_USO) |   \
     VIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) | VIO_FEATURE(VIRTIO_NET_F_HOST_TSO6) | VIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |    \
     VIO_FEATURE(VIRTIO_NET_F_STATUS) | VIO_FEATURE(VIRTIO_NET_F_CTRL_VQ) | VIO_FEATURE(VIRTIO_NET_F_CTRL_RX) |           \
     VIO_FEATURE(VIRTIO_NET_F_CTRL_VLAN) | VIO_FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) |                                      \
     VIO_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | VIO_FEATURE(VIRTIO_NET_F_MQ) | VIO_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |  \
     VIO_FEATURE(VIRTIO_NET_F_VQ_NOTF_COAL) | VIO_FEATURE(VIRTIO_NET_F_NOTF_COAL) |                                       \
     VIO_FEATURE(VIRTIO_NET_F_HASH_REPORT) | VIO_FEATURE(VIRTIO_NET_F_RSS) | VIO_FEATURE(VIRTIO_NET_F_SPEED_DUPLEX) |     \
     VIO_FEATURE(VIRTIO_F_ANY_LAYOUT) | VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) |           \
     VIO_FEATURE(VIRTIO_F_RING_PACKED) | VIO_FEATURE(VIRTIO_F_IN_ORDER))

/* Large frames to be received need buffers for them, or mergeable ones (5.1.9.3.1): without those they are not asked for. */
static int validate(struct vio_drvdev *d, struct vio_features *wanted)
{
    static const uint8_t large[] = { VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4,
                                     VIRTIO_NET_F_GUEST_USO6 };

    (void)d;
    for (unsigned i = 0; i < sizeof(large) && !vio_features_has(*wanted, VIRTIO_NET_F_MRG_RXBUF); i++)
        vio_features_clear(wanted, large[i]);
    return 0;
}

const struct vio_driver vio_driver_net = {
    .name = "net",
    .types = types,
    .features = { { NET_FEATURES, 0 } },
    .depends = depends,
    .state_size = sizeof(struct vio_drv_net),
    .validate = validate,
    .probe = probe,
    .scan = scan,
    .remove = remove_,
    .config_changed = config_changed,
};

void vio_drv_net_driver(struct vio_drv_net_driver *driver, const struct vio_drv_net_params *params)
{
    driver->driver = vio_driver_net;
    driver->params = *params;
}

struct vio_drv_net *vio_drv_net_of(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    if (driver == NULL || driver->probe != probe || vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        return NULL;
    return vio_drvdev_state(d);
}
