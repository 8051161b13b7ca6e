/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device of vhost in the kernel as the driver core sees it: the transport's table, and what the kernel leaves to a
 * VMM and is the same for all kinds: status, reset, configuration space, events.
 * Where it sits: transport/vhost_kernel, over node.c and the kinds. Threads: the control thread; kick and a queue's event are
 * its owner's. Trust: nothing of the kernel's is used here but numbers that node.c checked.
 */
#include <stdlib.h>
#include <sys/epoll.h>
#include "base/why.h"
#include "transport/vhost_kernel/internal.h"

/* ------------------------------------------------------------------ features, status, reset */

static const char *transport_why(struct vio_transport *t)
{
    return vk_of(t)->why;
}

static int features(struct vio_transport *t, struct vio_features *offered)
{
    const struct vio_vk *v = vk_of(t);

    *offered = vio_features_of(v->kernel | v->own);
    if (v->kind->one_by_one)
        vio_features_set(offered, VIRTIO_F_RING_RESET);
    return 0;
}

static int accept_features(struct vio_transport *t, const struct vio_features *wanted)
{
    struct vio_vk *v = vk_of(t);
    struct vio_features offered;
    int error = features(t, &offered);

    if (error == 0 && !vio_features_none(vio_features_minus(*wanted, offered)))
        return vk_fail(v, -EINVAL, "features that were not offered: 0x%llx (virtio 1.4, 2.2.1)",
                       (unsigned long long)(wanted->w[0] & ~offered.w[0]));
    v->features = *wanted;
    error = vk_set_features(v);
    return error != 0 || v->kind->accept == NULL ? error : v->kind->accept(v);
}

/* A ring that the kernel cannot use is told once by its descriptor; it stays broken until the reset. */
static int look_at_errors(struct vio_vk *v)
{
    for (uint16_t q = 0; v->ring_error == 0 && q < v->t.queues_max; q++)
        if (v->queue[q].started && v->queue[q].error_fd >= 0 && vio_eventfd_clear(v->queue[q].error_fd))
            v->ring_error = q + 1u;
    if (v->ring_error == 0)
        return 0;
    return vk_fail(v, -EPROTO, "%s: queue %u: the kernel cannot go on with this ring (VRING_ERR); its log may say why", v->node,
                   v->ring_error - 1);
}

static int status_get(struct vio_transport *t, uint8_t *status)
{
    struct vio_vk *v = vk_of(t);

    int error = look_at_errors(v);

    *status = v->status;
    return error != 0 || v->kind->check == NULL ? error : v->kind->check(v);
}

static int status_set(struct vio_transport *t, uint8_t status)
{
    struct vio_vk *v = vk_of(t);
    int error = 0;

    if ((status & ~v->status & VIRTIO_STATUS_DRIVER_OK) != 0)
        error = v->kind->run(v);
    if (error == 0)
        v->status = status;
    return error;
}

static void forget_queues(struct vio_vk *v)
{
    for (uint16_t q = 0; q < v->t.queues_max; q++) {
        v->queue[q].started = false;
        if (v->queue[q].error_fd >= 0)
            (void)vio_eventfd_clear(v->queue[q].error_fd);
    }
}

/* The kernel ends what it has begun before it lets go of a ring. */
static int reset(struct vio_transport *t)
{
    struct vio_vk *v = vk_of(t);
    int error = v->kind->halt(v);

    if (error != 0)
        return error;
    forget_queues(v);
    v->features = vio_features_of(0);
    v->ring_error = 0;
    v->status = 0;
    return 0;
}

/* ------------------------------------------------------------------ configuration */

static int check_range(struct vio_vk *v, uint32_t offset, uint32_t len)
{
    if (vio_range_ok(offset, len, v->config_size))
        return 0;
    return vk_fail(v, -EINVAL, "%u bytes of configuration at %u: there are %u in all", len, offset, v->config_size);
}

static int config_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    struct vio_vk *v = vk_of(t);
    int error = check_range(v, offset, len);

    if (error == 0)
        memcpy(to, v->config + offset, len);
    return error;
}

/* What can be written (virtio 1.4, 5.6.4: sizes of a SCSI host) the kernel takes in one value only: the one that is there. */
static int config_write(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len)
{
    struct vio_vk *v = vk_of(t);
    int error = check_range(v, offset, len);

    if (error == 0 && memcmp(v->config + offset, from, len) != 0)
        error = vk_fail(v, -EINVAL, "%s: its configuration cannot be changed", v->node);
    return error;
}

/* Looks at what may have changed: so a read between two equal generations is one of that moment. */
static int generation(struct vio_transport *t, uint32_t *now)
{
    struct vio_vk *v = vk_of(t);

    if (v->kind->refresh != NULL)
        v->kind->refresh(v);
    *now = v->generation;
    return 0;
}

/* ------------------------------------------------------------------ queues */

static int queue_max(struct vio_transport *t, uint16_t queue, uint16_t *size)
{
    *size = queue < t->queues_max ? vk_of(t)->kind->queue_size_max : 0;
    return 0;
}

/* What the kernel does not have needs no descriptor to be kicked by. */
static int make_fds(struct vio_vk *v, uint16_t queue)
{
    struct vk_queue *q = &v->queue[queue];
    int error = vio_eventfd_need(&q->call_fd);

    if (error == 0 && q->kernel) {
        error = vio_eventfd_need(&q->kick_fd);
        if (error == 0 && q->error_fd < 0) {
            error = vio_eventfd_need(&q->error_fd);
            if (error == 0)
                error = vk_watch(v, q->error_fd);
        }
    }
    return error != 0 ? vk_fail(v, error, "queue %u: eventfd: %s", queue, strerror(-error)) : 0;
}

static int queue_start(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q)
{
    struct vio_vk *v = vk_of(t);
    unsigned file, index;
    int error;

    if (queue >= t->queues_max)
        return vk_fail(v, -EINVAL, "there is no queue %u", queue);
    if (v->queue[queue].started)
        return vk_fail(v, -EINVAL, "queue %u runs already", queue);
    v->queue[queue].kernel = v->kind->place(v, queue, &file, &index);
    error = make_fds(v, queue);
    if (error != 0)
        return error;
    v->queue[queue].told = *q;
    error = vk_ring_start(v, queue);
    v->queue[queue].started = error == 0;
    if (error == 0 && (v->status & VIRTIO_STATUS_DRIVER_OK) != 0 && v->kind->run_queue != NULL)
        error = v->kind->run_queue(v, queue);
    return error;
}

static int queue_stop(struct vio_transport *t, uint16_t queue, struct vio_queue_state *state)
{
    struct vio_vk *v = vk_of(t);
    struct vio_queue_state ignored;
    int error;

    if (!v->kind->one_by_one)
        return -ENOTSUP;
    if (queue >= t->queues_max || !v->queue[queue].started)
        return vk_fail(v, -EINVAL, "queue %u does not run", queue);
    error = v->kind->halt_queue(v, queue);
    if (error == 0)
        error = vk_ring_base(v, queue, state != NULL ? state : &ignored);
    v->queue[queue].started = error != 0;
    return error;
}

static void kick(struct vio_transport *t, uint16_t queue, uint32_t data)
{
    struct vio_vk *v = vk_of(t);

    (void)data;
    if (v->queue[queue].kernel)
        vio_eventfd_notify(v->queue[queue].kick_fd);
    else if (v->kind->kick != NULL)
        v->kind->kick(v, queue);
}

/* ------------------------------------------------------------------ events */

static int event_fd(struct vio_transport *t, uint16_t queue)
{
    const struct vio_vk *v = vk_of(t);

    if (queue == VIO_EVENT_QUEUE_CONFIG)
        return v->events_fd;
    return queue < t->queues_max && !v->queue[queue].told.polled ? v->queue[queue].call_fd : -1;
}

/* What came says only that something changed: what, is read where it stands. A broken ring is found by status_get. */
static void clear_changes(struct vio_vk *v)
{
    uint8_t bytes[4096];

    (void)look_at_errors(v);
    while (v->net.watch_fd >= 0) {
        ssize_t n = read(v->net.watch_fd, bytes, sizeof(bytes));

        if (n < 0 && (errno == EINTR || errno == ENOBUFS)) /* more than the socket held: only that is of interest */
            continue;
        if (n <= 0)
            break;
    }
    if (v->kind->refresh != NULL)
        v->kind->refresh(v);
}

static void event_clear(struct vio_transport *t, uint16_t queue)
{
    struct vio_vk *v = vk_of(t);

    if (queue == VIO_EVENT_QUEUE_CONFIG)
        clear_changes(v);
    else if (queue < t->queues_max && v->queue[queue].call_fd >= 0)
        (void)vio_eventfd_clear(v->queue[queue].call_fd);
}

static unsigned events(struct vio_transport *t)
{
    struct vio_vk *v = vk_of(t);

    if (!vio_fd_readable(v->events_fd))
        return VIO_EVENT_QUEUES;
    clear_changes(v);
    return VIO_EVENT_QUEUES | VIO_EVENT_CONFIG;
}

/* ------------------------------------------------------------------ making one */

static void destroy(struct vio_transport *t)
{
    struct vio_vk *v = vk_of(t);

    vk_close_files(v); /* the kernel lets go of rings and memory */
    if (v->kind->close != NULL)
        v->kind->close(v);
    for (unsigned i = 0; i < VK_QUEUES_MAX; i++) {
        vio_eventfd_close(&v->queue[i].kick_fd);
        vio_eventfd_close(&v->queue[i].call_fd);
        vio_eventfd_close(&v->queue[i].error_fd);
    }
    if (v->events_fd >= 0)
        close(v->events_fd);
    free(v);
}

static const struct vio_transport_ops vk_ops = {
    .name = "vhost-kernel",
    .destroy = destroy,
    .why = transport_why,
    .features = features,
    .accept = accept_features,
    .status_get = status_get,
    .status_set = status_set,
    .reset = reset,
    .config_read = config_read,
    .config_write = config_write,
    .generation = generation,
    .queue_max = queue_max,
    .queue_start = queue_start,
    .queue_stop = queue_stop,
    .kick = kick,
    .event_fd = event_fd,
    .event_clear = event_clear,
    .events = events,
};

static const struct vk_kind *kind_of(uint32_t type)
{
    static const struct vk_kind *const kinds[] = { &vk_net_kind, &vk_vsock_kind, &vk_scsi_kind };

    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i]->type == type)
            return kinds[i];
    return NULL;
}

static struct vio_vk *make(const struct vio_vhost_kernel_params *params, const struct vk_kind *kind, const struct vk_sys *sys)
{
    struct vio_vk *v = calloc(1, sizeof(*v));

    if (v == NULL)
        return NULL;
    v->t.ops = &vk_ops;
    v->t.platform = vio_arena_platform(params->arena);
    v->t.type = params->type;
    v->sys = sys;
    v->kind = kind;
    v->arena = params->arena;
    v->log = params->log;
    v->node = kind->node;
    if (params->node != NULL) {
        vio_why(0, v->node_name, sizeof(v->node_name), "%s", params->node);
        v->node = v->node_name;
    }
    v->events_fd = v->net.watch_fd = -1;
    for (unsigned i = 0; i < VK_QUEUES_MAX; i++)
        v->queue[i].kick_fd = v->queue[i].call_fd = v->queue[i].error_fd = -1;
    return v;
}

static int open_it(struct vio_vk *v, const struct vio_vhost_kernel_params *params)
{
    int error;

    v->events_fd = epoll_create1(EPOLL_CLOEXEC);
    if (v->events_fd < 0)
        return vk_fail(v, -errno, "epoll: %s", strerror(errno));
    error = v->kind->open(v, params);
    if (error == 0)
        vio_log(v->log, VIO_LOG_INFO, v->t.name, "%s, features 0x%llx, queues: %u", v->node,
                (unsigned long long)(v->kernel | v->own), v->t.queues_max);
    return error;
}

int vk_create(const struct vio_vhost_kernel_params *params, const struct vk_sys *sys, struct vio_transport **out, char *why)
{
    const struct vk_kind *kind = kind_of(params->type);
    struct vio_vk *v;
    int error;

    if (kind == NULL)
        return vio_why(-EINVAL, why, VIO_DRV_WHY, "the kernel's vhost has no device of type %u: network is 1, SCSI host 8, socket 19",
                       params->type);
    if (params->arena == NULL || (params->node != NULL && strlen(params->node) >= sizeof(v->node_name)))
        return vio_why(-EINVAL, why, VIO_DRV_WHY, "no memory for rings was given, or the name of the node is too long");
    if (vio_arena_region(params->arena).physical)
        return vio_why(-EINVAL, why, VIO_DRV_WHY, "the kernel takes memory as one region, which physical addresses are not");
    v = make(params, kind, sys);
    if (v == NULL)
        return vio_why(-ENOMEM, why, VIO_DRV_WHY, "out of memory");
    error = open_it(v, params);
    if (error != 0) {
        (void)vio_why(error, why, VIO_DRV_WHY, "%s", v->why);
        destroy(&v->t);
        return error;
    }
    *out = &v->t;
    return 0;
}

int vio_vhost_kernel_create(const struct vio_vhost_kernel_params *params, struct vio_transport **out, char *why)
{
    if (why != NULL)
        why[0] = '\0';
    return vk_create(params, &vk_system, out, why);
}
