/* SPDX-License-Identifier: MIT */
/*
 * Purpose: /dev/vhost-net with a tap: the network device whose data path is the kernel's, one node and one queue of the tap for
 * each pair; what a VMM would add, the configuration, the link, the offloads, the control queue, is added here.
 * Where it sits: transport/vhost_kernel. Threads: the control thread. Trust: what the interface says of itself is shown to
 * the driver in the fields that the specification has for it.
 */
#include <stdlib.h>
#include <sys/random.h>
#include "base/why.h"
#include "spec/net.h"
#include "spec/net_offloads.h"
#include "transport/vhost_kernel/control.h"

static const uint8_t LOCAL_ADDRESS = 2, GROUP_ADDRESS = 1; /* bits of a MAC's first byte */

/* virtio 1.4, 5.1.2: where the pairs end depends on MQ. */
static uint16_t queues_of_pairs(const struct vio_vk *v)
{
    return (uint16_t)(vio_features_has(v->features, VIRTIO_NET_F_MQ) ? 2 * v->net.pairs : 2);
}

static bool place(const struct vio_vk *v, uint16_t queue, unsigned *file, unsigned *index)
{
    if (queue >= queues_of_pairs(v))
        return false;
    *file = queue / 2u;
    *index = queue % 2u;
    return true;
}

/* ------------------------------------------------------------------ configuration */

static void refresh(struct vio_vk *v)
{
    struct virtio_net_config c;
    struct tap_link link = { .up = false };

    memcpy(&c, v->config, sizeof(c));
    /* An interface that is gone has no link; its last MTU stays. */
    if (v->sys->tap_link(v->sys->ctx, &v->net.tap, &link) != 0 || link.mtu < VIRTIO_NET_MTU_MIN)
        link.mtu = vio_cpu(c.mtu);
    c.status = vio_le16_of(link.up ? VIRTIO_NET_S_LINK_UP : 0);
    c.mtu = vio_le16_of(link.mtu);
    if (memcmp(v->config, &c, sizeof(c)) == 0)
        return;
    memcpy(v->config, &c, sizeof(c));
    v->generation++;
}

static int make_mac(struct vio_vk *v, uint8_t mac[6])
{
    if (getrandom(mac, 6, 0) != 6)
        return vk_fail(v, -EIO, "no random address for a network card: %s", strerror(errno));
    mac[0] = (uint8_t)((mac[0] & ~GROUP_ADDRESS) | LOCAL_ADDRESS);
    return 0;
}

static int configure(struct vio_vk *v, const struct vio_vhost_kernel_params *params)
{
    static const uint8_t none[6];
    struct virtio_net_config c = { .max_virtqueue_pairs = vio_le16_of(v->net.pairs) };
    struct tap_link link;
    int error = 0;

    memcpy(c.mac, params->mac, sizeof(c.mac));
    if (memcmp(c.mac, none, sizeof(none)) == 0)
        error = make_mac(v, c.mac);
    if (error != 0)
        return error;
    v->own = VIO_FEATURE(VIRTIO_NET_F_MAC) | virtio_net_guest_bits(v->net.tap.gives) | virtio_net_host_bits(v->net.tap.takes);
    if (v->net.control != NULL)
        v->own |= VIO_FEATURE(VIRTIO_NET_F_CTRL_VQ) | VIO_FEATURE(VIRTIO_NET_F_MQ);
    v->config_size = offsetof(struct virtio_net_config, speed);
    memcpy(v->config, &c, sizeof(c));
    /* A tap that was handed over may be another namespace's: then there is nothing to say of its link. */
    if (v->sys->tap_link(v->sys->ctx, &v->net.tap, &link) != 0)
        return 0;
    refresh(v);
    v->own |= VIO_FEATURE(VIRTIO_NET_F_STATUS);
    if (link.mtu >= VIRTIO_NET_MTU_MIN)
        v->own |= VIO_FEATURE(VIRTIO_NET_F_MTU);
    v->net.watch_fd = v->sys->tap_watch(v->sys->ctx);
    if (v->net.watch_fd < 0)
        return vk_fail(v, v->net.watch_fd, "changes of %s cannot be watched: %s", v->net.tap.name, strerror(-v->net.watch_fd));
    return vk_watch(v, v->net.watch_fd);
}

/* ------------------------------------------------------------------ making one */

static int open_taps(struct vio_vk *v, const struct vio_vhost_kernel_params *params)
{
    const struct vio_net_tap_params tap = {
        .name = params->tap,
        .fd = params->tap_fds != NULL ? params->tap_fds[0] : -1,
        .fds = params->tap_fds != NULL ? params->tap_fds + 1 : NULL,
        .queues = v->net.pairs,
        .address = params->tap_address,
        .log = params->log,
    };
    int error;

    v->net.given = params->tap_fds != NULL;
    error = v->sys->tap_open(v->sys->ctx, &tap, &v->net.tap, v->why, sizeof(v->why));
    if (error != 0)
        return error;
    v->net.fd[v->net.taps++] = v->net.tap.fd;
    if (!v->net.tap.vnet)
        return vk_fail(v, -EINVAL, "the tap %s was opened without IFF_VNET_HDR: the kernel would take the header before each frame "
                       "for a part of it", v->net.tap.name);
    for (uint16_t i = 1; error == 0 && i < v->net.pairs; i++) {
        error = v->sys->tap_queue(v->sys->ctx, &v->net.tap, params->tap_fds != NULL ? params->tap_fds[i] : -1, &v->net.fd[i],
                                  v->why, sizeof(v->why));
        if (error == 0)
            v->net.taps++;
    }
    return error;
}

static int check(struct vio_vk *v, const struct vio_vhost_kernel_params *params)
{
    if (params->queues > VIO_VHOST_KERNEL_PAIRS_MAX)
        return vk_fail(v, -EINVAL, "%u pairs of queues: 1 to %d can be", params->queues, VIO_VHOST_KERNEL_PAIRS_MAX);
    if ((params->mac[0] & GROUP_ADDRESS) != 0)
        return vk_fail(v, -EINVAL, "a MAC address that begins with %02x is a group's, and no card's", params->mac[0]);
    return 0;
}

static int net_open(struct vio_vk *v, const struct vio_vhost_kernel_params *params)
{
    int error = check(v, params);

    v->net.pairs = params->queues != 0 ? params->queues : 1;
    v->net.pairs_used = 1;
    for (uint16_t i = 0; error == 0 && i < v->net.pairs; i++)
        error = vk_open_file(v);
    if (error == 0)
        error = open_taps(v, params);
    if (error == 0 && v->net.pairs > 1)
        error = vk_control_create(v, &v->net.control);
    if (error == 0)
        error = configure(v, params);
    if (error != 0)
        return error;
    v->net.given = false;
    v->t.queues_max = (uint16_t)(2 * v->net.pairs + (v->net.control != NULL));
    vio_why(0, v->t.name, sizeof(v->t.name), "vhost-net@%s", v->net.tap.name);
    return 0;
}

static void net_close(struct vio_vk *v)
{
    for (uint16_t i = 0; !v->net.given && i < v->net.taps; i++)
        v->sys->close(v->sys->ctx, v->net.fd[i]);
    vk_control_destroy(v->net.control);
    if (v->net.watch_fd >= 0)
        close(v->net.watch_fd);
}

/* ------------------------------------------------------------------ life */

static int set_offloads(struct vio_vk *v, unsigned offloads)
{
    int error = 0;

    if (offloads != v->net.offloads)
        error = v->sys->tap_offloads(v->sys->ctx, &v->net.tap, offloads);
    if (error != 0)
        return vk_fail(v, error, "the tap %s does not take the offloads 0x%x: %s", v->net.tap.name, offloads, strerror(-error));
    v->net.offloads = offloads;
    return 0;
}

static int net_accept(struct vio_vk *v)
{
    return set_offloads(v, virtio_net_guest_offloads(v->features));
}

/* fd: a tap, or -1: the kernel lets go of the ring, after what it has begun. */
static int set_backend(struct vio_vk *v, uint16_t queue, int fd)
{
    struct vio_vhost_vring_file backend = { .fd = fd };
    unsigned file = 0;
    int error;

    if (!place(v, queue, &file, &backend.index))
        return 0;
    error = vk_ioctl(v, file, VIO_VHOST_NET_SET_BACKEND, &backend, "VHOST_NET_SET_BACKEND");
    if (error == 0 || error == -ENOTTY)
        return error;
    return vk_fail(v, error, "%s: queue %u: VHOST_NET_SET_BACKEND, the tap %s: %s", v->node, queue, v->net.tap.name,
                   strerror(-error));
}

static bool is_control(const struct vio_vk *v, uint16_t queue)
{
    return vio_features_has(v->features, VIRTIO_NET_F_CTRL_VQ) && queue == queues_of_pairs(v);
}

static int run_queue(struct vio_vk *v, uint16_t queue)
{
    struct vk_queue *q = &v->queue[queue];
    int error;

    if (!q->started || q->running)
        return 0;
    if (is_control(v, queue))
        error = vk_control_start(v, v->net.control, &q->told.cfg);
    else if (queue / 2 < v->net.pairs_used)
        error = set_backend(v, queue, v->net.fd[queue / 2]);
    else
        return 0;
    q->running = error == 0;
    return error;
}

static int halt_queue(struct vio_vk *v, uint16_t queue)
{
    struct vk_queue *q = &v->queue[queue];
    int error = 0;

    if (!q->running)
        return 0;
    if (q->kernel)
        error = set_backend(v, queue, -1);
    else
        vk_control_stop(v->net.control, &q->told.cfg.state);
    q->running = error != 0;
    return error;
}

static int net_run(struct vio_vk *v)
{
    int error = 0;

    for (uint16_t q = 0; error == 0 && q <= queues_of_pairs(v); q++)
        error = run_queue(v, q);
    return error;
}

/* ------------------------------------------------------------------ pairs, and their control queue */

static int use_tap(struct vio_vk *v, uint16_t pair, bool use)
{
    int error = v->sys->tap_use(v->sys->ctx, v->net.fd[pair], use);

    return error != 0 ? vk_fail(v, error, "queue %u of the tap %s cannot be %s: %s", pair, v->net.tap.name,
                                use ? "attached" : "detached", strerror(-error)) : 0;
}

static int drop_pair(struct vio_vk *v)
{
    uint16_t pair = (uint16_t)(v->net.pairs_used - 1);
    int error = 0;

    for (uint16_t q = (uint16_t)(2 * pair); error == 0 && q < 2 * pair + 2; q++)
        error = halt_queue(v, q);
    if (error == 0)
        error = use_tap(v, pair, false);
    if (error == 0)
        v->net.pairs_used = pair;
    return error;
}

/* The tap's queue first: the kernel refuses a ring one that is detached. */
static int add_pair(struct vio_vk *v)
{
    uint16_t pair = v->net.pairs_used;
    int error = use_tap(v, pair, true);

    if (error != 0)
        return error;
    v->net.pairs_used++;
    for (uint16_t q = (uint16_t)(2 * pair); error == 0 && q < 2 * pair + 2; q++)
        error = run_queue(v, q);
    if (error != 0)
        (void)!drop_pair(v);
    return error;
}

int vk_net_use_pairs(struct vio_vk *v, uint16_t pairs)
{
    int error = pairs == 0 || pairs > v->net.pairs ? -EINVAL : 0;

    while (error == 0 && v->net.pairs_used < pairs)
        error = add_pair(v);
    while (error == 0 && v->net.pairs_used > pairs)
        error = drop_pair(v);
    return error;
}

static void net_kick(struct vio_vk *v, uint16_t queue)
{
    struct vk_queue *q = &v->queue[queue];

    if (is_control(v, queue) && vk_control_serve(v, v->net.control) && !q->told.polled)
        vio_eventfd_notify(q->call_fd);
}

static int net_check(struct vio_vk *v)
{
    enum vio_fault fault = v->net.control != NULL ? vk_control_fault(v->net.control) : VIO_FAULT_NONE;

    if (fault == VIO_FAULT_NONE)
        return 0;
    return vk_fail(v, -EPROTO, "the control queue: %s (%s)", vio_fault_text(fault), vio_fault_clause(fault));
}

/* All that counts is that the kernel lets go of the rings: the tap may be gone, and the next driver tells it all again. */
static int net_halt(struct vio_vk *v)
{
    int error = 0;

    for (uint16_t q = 0; error == 0 && q < v->t.queues_max; q++)
        error = halt_queue(v, q);
    if (error != 0)
        return error;
    (void)!vk_net_use_pairs(v, 1);
    (void)!set_offloads(v, 0);
    return 0;
}

const struct vk_kind vk_net_kind = {
    .type = VIRTIO_ID_NET,
    .name = "vhost-net",
    .node = "/dev/vhost-net",
    .module = "vhost_net",
    .kernel = VIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
    .queue_size_max = 1024,
    .one_by_one = true,
    .open = net_open,
    .close = net_close,
    .accept = net_accept,
    .run = net_run,
    .halt = net_halt,
    .run_queue = run_queue,
    .halt_queue = halt_queue,
    .place = place,
    .kick = net_kick,
    .check = net_check,
    .refresh = refresh,
};
