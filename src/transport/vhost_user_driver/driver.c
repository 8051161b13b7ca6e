/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device behind a vhost-user socket, as the driver core sees it: the transport's table.
 * Where it sits: transport/vhost_user_driver, over session.c. Threads: the control thread; kick and a queue's event are its
 * owner's. Trust: nothing of the device's is used here but numbers that were checked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/eventfd.h"
#include "transport/vhost_user_driver/internal.h"

/* ------------------------------------------------------------------ status, features, reset */

static const char *transport_why(struct vio_transport *t)
{
    return vud_of(t)->why;
}

static int features(struct vio_transport *t, struct vio_features *offered)
{
    *offered = vud_of(t)->offered;
    return 0;
}

static int accept_features(struct vio_transport *t, const struct vio_features *wanted)
{
    struct vio_vud *v = vud_of(t);

    if (wanted->w[1] != 0)
        return vud_fail(v, -EINVAL, "feature bits beyond 63 cannot be said over vhost-user");
    v->features = *wanted;
    return vud_set_features(v);
}

/* A device without the field does as it is told, or refuses when it is told (REPLY_ACK); and it can be gone. */
static int status_get(struct vio_transport *t, uint8_t *status)
{
    struct vio_vud *v = vud_of(t);
    uint64_t value = v->status;
    int error = 0;

    if (vud_has(v, VHOST_USER_PROTOCOL_F_STATUS) || v->fd < 0)
        error = vud_ask_u64(v, VHOST_USER_GET_STATUS, &value);
    else if (!vud_alive(v))
        error = vud_fail(v, -ECONNRESET, "the device hung up");
    if (error != 0)
        return error;
    if (value > UINT8_MAX)
        return vud_fail(v, -EPROTO, "GET_STATUS: 0x%llx, and the status has 8 bits (virtio 1.4, 2.1)",
                        (unsigned long long)value);
    *status = (uint8_t)value;
    return 0;
}

static int status_set(struct vio_transport *t, uint8_t status)
{
    struct vio_vud *v = vud_of(t);

    v->status = status;
    return vud_has(v, VHOST_USER_PROTOCOL_F_STATUS) ? vud_send_u64(v, VHOST_USER_SET_STATUS, status) : 0;
}

static int connect_now(struct vio_vud *v)
{
    int error = vud_connect_socket(v);

    if (error == 0)
        error = vud_handshake(v);
    if (error != 0)
        vud_hang_up(v);
    return error;
}

/* A device that is gone is looked for again: a new session starts as after a reset. */
static int reset(struct vio_transport *t)
{
    struct vio_vud *v = vud_of(t);
    struct vud_msg device = { .request = VHOST_USER_RESET_DEVICE };
    int error = 0;

    if (v->fd >= 0)
        error = vud_stop_all(v); /* the device finishes what it has */
    if (error == 0 && v->fd >= 0 && vud_has(v, VHOST_USER_PROTOCOL_F_STATUS))
        error = vud_send_u64(v, VHOST_USER_SET_STATUS, 0);
    else if (error == 0 && v->fd >= 0 && vud_has(v, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
        error = vud_send(v, &device);
    if (error == 0 ? v->fd < 0 : v->has_path) {
        vud_hang_up(v);
        error = connect_now(v);
    }
    for (uint16_t i = 0; error == 0 && i < VIO_VUD_QUEUES_MAX; i++)
        v->queue[i].started = false;
    if (error == 0)
        v->status = 0;
    return error;
}

/* ------------------------------------------------------------------ configuration */

/* The head and room for the most bytes a message carries. */
struct config_message {
    struct vhost_user_config head;
    uint8_t bytes[VIO_VUD_CONFIG_MAX];
};

static int config_check(struct vio_vud *v, uint32_t len)
{
    if (v->fd >= 0 && !vud_has(v, VHOST_USER_PROTOCOL_F_CONFIG))
        return vud_fail(v, -ENOTSUP, "the device does not show its configuration (no CONFIG)");
    if (len == 0 || len > VIO_VUD_CONFIG_MAX)
        return vud_fail(v, -EINVAL, "%u bytes of configuration: 1 to %d can be asked for", len, VIO_VUD_CONFIG_MAX);
    return 0;
}

static int config_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    struct vio_vud *v = vud_of(t);
    struct config_message message = { .head = { .offset = offset, .size = len } };
    uint32_t size = (uint32_t)sizeof(message.head) + len, got;
    struct vud_msg msg = { .request = VHOST_USER_GET_CONFIG, .payload = &message, .size = size };
    int error = config_check(v, len);

    if (error == 0)
        error = vud_ask(v, &msg, &message, size, &got, NULL);
    if (error != 0)
        return error;
    if (got != size) /* no payload: the document's way to say no */
        return vud_fail(v, -EINVAL, "GET_CONFIG: the device has no %u bytes at %u", len, offset);
    if (message.head.offset != offset || message.head.size != len)
        return vud_fail(v, -EPROTO, "GET_CONFIG: the device answered with other bytes than were asked for");
    memcpy(to, message.bytes, len);
    return 0;
}

static int config_write(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len)
{
    struct vio_vud *v = vud_of(t);
    struct config_message message = { .head = { .offset = offset, .size = len, .flags = VHOST_USER_CONFIG_WRITABLE } };
    struct vud_msg msg = { .request = VHOST_USER_SET_CONFIG, .payload = &message };
    int error = config_check(v, len);

    if (error != 0)
        return error;
    memcpy(message.bytes, from, len);
    msg.size = (uint32_t)sizeof(message.head) + len;
    error = vud_send(v, &msg);
    return error == -EPROTO && v->fd >= 0 ? -EINVAL : error; /* the line is fine: the device said no */
}

/* ------------------------------------------------------------------ queues */

static int queue_max(struct vio_transport *t, uint16_t queue, uint16_t *size)
{
    const struct vio_vud *v = vud_of(t);

    *size = queue < t->queues_max ? v->queue_size_max : 0;
    /* While it runs, a queue cannot come to be larger than its place in the in-flight region. */
    if (*size > 0 && v->inflight_fd >= 0 && (v->status & VIRTIO_STATUS_DRIVER_OK) != 0)
        *size = (uint16_t)vio_min_u32(*size, v->planned_size);
    return 0;
}

static int queues_planned(struct vio_transport *t, uint16_t queues, uint16_t size)
{
    struct vio_vud *v = vud_of(t);
    int error;

    v->planned = queues;
    v->planned_size = size;
    error = vud_share_memory(v);
    return error != 0 ? error : vud_share_inflight(v, false);
}

static int queue_start(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q)
{
    struct vio_vud *v = vud_of(t);
    struct vud_queue *mine = &v->queue[queue];
    int error = 0;

    if (queue >= VIO_VUD_QUEUES_MAX)
        return vud_fail(v, -EINVAL, "queue %u: vhost-user tells %d of them apart", queue, VIO_VUD_QUEUES_MAX);
    if (!v->poll_kick)
        error = vio_eventfd_need(&mine->kick_fd);
    /* Also for a queue that is polled: libvhost-user calls once whatever we wish, and dies if there is nobody to call. */
    if (error == 0)
        error = vio_eventfd_need(&mine->call_fd);
    if (error != 0)
        return vud_fail(v, error, "queue %u: eventfd: %s", queue, strerror(-error));
    mine->told = *q;
    return vud_start_queue(v, queue);
}

/* The device finishes what it has; then the ring is as new. */
static int queue_stop(struct vio_transport *t, uint16_t queue, struct vio_queue_state *state)
{
    struct vio_vud *v = vud_of(t);
    struct vio_queue_state ignored;
    int error;

    if (!vio_features_has(v->features, VIRTIO_F_RING_RESET))
        return -ENOTSUP;
    if (queue >= VIO_VUD_QUEUES_MAX || !v->queue[queue].started)
        return vud_fail(v, -EINVAL, "queue %u does not run", queue);
    error = vud_stop_queue(v, queue, state != NULL ? state : &ignored);
    return error != 0 ? error : vud_clear_inflight(v, queue);
}

static void kick(struct vio_transport *t, uint16_t queue, uint32_t data)
{
    const struct vio_vud *v = vud_of(t);

    (void)data;
    if (v->queue[queue].kick_fd >= 0)
        vio_eventfd_notify(v->queue[queue].kick_fd);
}

static int event_fd(struct vio_transport *t, uint16_t queue)
{
    const struct vio_vud *v = vud_of(t);

    if (queue == VIO_EVENT_QUEUE_CONFIG)
        return v->events_fd;
    return queue < VIO_VUD_QUEUES_MAX && !v->queue[queue].told.polled ? v->queue[queue].call_fd : -1;
}

static void event_clear(struct vio_transport *t, uint16_t queue)
{
    struct vio_vud *v = vud_of(t);

    if (queue == VIO_EVENT_QUEUE_CONFIG)
        vud_events_clear(v);
    else if (queue < VIO_VUD_QUEUES_MAX && v->queue[queue].call_fd >= 0)
        (void)vio_eventfd_clear(v->queue[queue].call_fd);
}

/* For who does not watch the descriptors: all queues may have something; changes, where the channel says so. */
static unsigned events(struct vio_transport *t)
{
    struct vio_vud *v = vud_of(t);

    if (!vio_fd_readable(v->events_fd))
        return VIO_EVENT_QUEUES;
    vud_events_clear(v);
    return VIO_EVENT_QUEUES | VIO_EVENT_CONFIG;
}

/* ------------------------------------------------------------------ coming back */

static int negotiate_again(struct vio_vud *v)
{
    uint8_t status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER, now = 0;
    int error = status_set(&v->t, status); /* no reset: it is to go on where it was */

    if (error == 0)
        error = vud_set_features(v);
    if (error == 0)
        error = status_set(&v->t, status | VIRTIO_STATUS_FEATURES_OK);
    if (error == 0)
        error = status_get(&v->t, &now);
    if (error == 0 && (now & VIRTIO_STATUS_FEATURES_OK) == 0)
        error = vud_fail(v, -EPROTO, "the device that came back does not accept the features it had (virtio 1.4, 2.2.2)");
    return error;
}

static int reconnect(struct vio_transport *t, const struct vio_features *wanted)
{
    struct vio_vud *v = vud_of(t);
    int error;

    vud_hang_up(v);
    error = connect_now(v);
    if (error != 0)
        return error;
    v->features = *wanted;
    if (!vio_features_none(vio_features_minus(*wanted, v->offered)) || t->queues_max < v->planned)
        error = vud_fail(v, -EPROTO, "the device that came back has fewer features or queues than before");
    if (error == 0)
        error = negotiate_again(v);
    if (error == 0)
        error = vud_share_memory(v);
    if (error == 0)
        error = vud_log_again(v);
    if (error == 0)
        error = vud_share_inflight(v, true);
    if (error == 0)
        error = vud_state_give(v);
    if (error != 0)
        vud_hang_up(v);
    return error;
}

/* ------------------------------------------------------------------ making one */

static void destroy(struct vio_transport *t)
{
    struct vio_vud *v = vud_of(t);

    vud_hang_up(v);
    vud_log_forget(v);
    vud_events_close(v);
    for (unsigned i = 0; i < VIO_VUD_QUEUES_MAX; i++) {
        vio_eventfd_close(&v->queue[i].kick_fd);
        vio_eventfd_close(&v->queue[i].call_fd);
    }
    if (v->inflight_fd >= 0)
        close(v->inflight_fd);
    free(v->state);
    free(v);
}

static const struct vio_transport_ops vud_ops = {
    .name = "vhost-user",
    .destroy = destroy,
    .why = transport_why,
    .features = features,
    .accept = accept_features,
    .status_get = status_get,
    .status_set = status_set,
    .reset = reset,
    .config_read = config_read,
    .config_write = config_write,
    .queue_max = queue_max,
    .queues_planned = queues_planned,
    .queue_start = queue_start,
    .queue_stop = queue_stop,
    .kick = kick,
    .event_fd = event_fd,
    .event_clear = event_clear,
    .events = events,
    .reconnect = reconnect,
};

static void name_it(struct vio_vud *v)
{
    size_t n = v->has_path ? strlen(v->address.sun_path) : 0;
    size_t room = sizeof(v->t.name) - sizeof("vhost-user@");

    /* The end of a long path tells more than its beginning. */
    memcpy(v->t.name, "vhost-user@", sizeof("vhost-user@"));
    if (n > 0)
        memcpy(v->t.name + sizeof("vhost-user@") - 1, v->address.sun_path + (n > room ? n - room : 0), (n > room ? room : n) + 1);
    else
        memcpy(v->t.name + sizeof("vhost-user@") - 1, "fd", sizeof("fd"));
}

static int check(const struct vio_vud_params *params)
{
    if ((params->path == NULL) == (params->fd < 0) || params->arena == NULL || vio_arena_region(params->arena).physical)
        return -EINVAL;
    if (params->path != NULL &&
        (params->path[0] == '\0' || strlen(params->path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)))
        return -EINVAL;
    return 0;
}

static struct vio_vud *make(const struct vio_vud_params *params)
{
    struct vio_vud *v = calloc(1, sizeof(*v));

    if (v == NULL)
        return NULL;
    v->t.ops = &vud_ops;
    v->t.platform = vio_arena_platform(params->arena);
    v->t.type = params->type;
    v->address.sun_family = AF_UNIX;
    v->has_path = params->path != NULL;
    if (v->has_path)
        memcpy(v->address.sun_path, params->path, strlen(params->path) + 1);
    name_it(v);
    v->timeout_ms = params->timeout_ms != 0 ? params->timeout_ms : 5000;
    v->queue_size_max = params->queue_size_max != 0 ? params->queue_size_max : 1024;
    v->poll_kick = params->poll_kick;
    v->log = params->log;
    v->arena[v->nr_arenas++] = params->arena;
    v->fd = v->inflight_fd = v->events_fd = v->error_fd = v->back_fd = v->log_fd = -1;
    for (unsigned i = 0; i < VIO_VUD_QUEUES_MAX; i++)
        v->queue[i].kick_fd = v->queue[i].call_fd = -1;
    return v;
}

int vio_vud_create(const struct vio_vud_params *params, struct vio_transport **out, char *why)
{
    struct vio_vud *v = NULL;
    int error = check(params);

    if (why != NULL)
        why[0] = '\0';
    if (error == 0 && (v = make(params)) == NULL)
        error = -ENOMEM;
    if (error != 0) {
        if (params->path == NULL && params->fd >= 0)
            close(params->fd);
        return error;
    }
    v->fd = params->path != NULL ? -1 : params->fd;
    error = vud_events_open(v);
    if (error == 0)
        error = v->has_path ? connect_now(v) : vud_handshake(v);
    if (error != 0) {
        if (why != NULL)
            memcpy(why, v->why, sizeof(v->why));
        destroy(&v->t);
        return error;
    }
    *out = &v->t;
    return 0;
}

/* ------------------------------------------------------------------ what there is to know */

const char *vio_vud_why(struct vio_transport *t)
{
    return vud_of(t)->why;
}

bool vio_vud_connected(struct vio_transport *t)
{
    return vud_of(t)->fd >= 0;
}

int vio_vud_fd(struct vio_transport *t)
{
    return vud_of(t)->fd;
}

uint64_t vio_vud_protocol_offered(struct vio_transport *t)
{
    return vud_of(t)->protocol_offered;
}

uint64_t vio_vud_protocol(struct vio_transport *t)
{
    return vud_of(t)->protocol;
}

uint64_t vio_vud_slots_max(struct vio_transport *t)
{
    return vud_of(t)->slots_max;
}
