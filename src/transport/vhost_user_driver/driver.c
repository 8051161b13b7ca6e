/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the public calls of the vhost-user driver side: connect, start, stop, reconnect, notify.
 * Where it sits: transport/vhost_user_driver, over session.c. Threads: the control thread; kick and call_clear are the
 * queue owner's. Trust: nothing of the device's is used here but numbers that were checked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "spec/virtio.h"
#include "transport/vhost_user_driver/internal.h"

int vio_vud_create(const struct vio_vud_params *params, struct vio_vud **out)
{
    struct vio_vud *v;

    if ((params->path == NULL) == (params->fd < 0))
        return -EINVAL;
    if (params->path != NULL && (params->path[0] == '\0' || strlen(params->path) >= sizeof(v->address.sun_path)))
        return -EINVAL;
    v = calloc(1, sizeof(*v));
    if (v == NULL)
        return -ENOMEM;
    v->address.sun_family = AF_UNIX;
    if (params->path != NULL)
        memcpy(v->address.sun_path, params->path, strlen(params->path) + 1);
    v->has_path = params->path != NULL;
    v->given_fd = params->path != NULL ? -1 : params->fd;
    v->timeout_ms = params->timeout_ms ? params->timeout_ms : 5000;
    v->log = params->log;
    v->fd = v->inflight_fd = v->memory.fd = -1;
    *out = v;
    return 0;
}

/* Everything that start made. */
static void release(struct vio_vud *v)
{
    for (uint16_t i = 0; v->queue != NULL && i < v->setup.queues; i++) {
        if (v->queue[i].kick_fd >= 0)
            close(v->queue[i].kick_fd);
        if (v->queue[i].call_fd >= 0)
            close(v->queue[i].call_fd);
        free(v->queue[i].drvq_memory);
    }
    free(v->queue);
    v->queue = NULL;
    vud_memory_destroy(&v->memory);
    if (v->inflight_fd >= 0)
        close(v->inflight_fd);
    v->inflight_fd = -1;
    v->started = false;
    v->running = false;
}

void vio_vud_destroy(struct vio_vud *v)
{
    if (v == NULL)
        return;
    if (v->running && v->fd >= 0)
        (void)!vio_vud_stop(v);
    vud_hang_up(v);
    if (v->given_fd >= 0)
        close(v->given_fd);
    release(v);
    free(v);
}

const char *vio_vud_why(const struct vio_vud *v)
{
    return v->why;
}

int vio_vud_connect(struct vio_vud *v)
{
    int error;

    if (v->running)
        return vud_fail(v, -EBUSY, "the queues run: stop first, or reconnect");
    error = vud_connect_socket(v);
    if (!error)
        error = vud_handshake(v);
    if (error)
        vud_hang_up(v);
    return error;
}

bool vio_vud_connected(const struct vio_vud *v)
{
    return v->fd >= 0;
}

int vio_vud_fd(const struct vio_vud *v)
{
    return v->fd;
}

struct vio_features vio_vud_offered(const struct vio_vud *v)
{
    return v->offered;
}

uint64_t vio_vud_protocol_offered(const struct vio_vud *v)
{
    return v->protocol_offered;
}

uint64_t vio_vud_protocol(const struct vio_vud *v)
{
    return v->protocol;
}

uint16_t vio_vud_queues_max(const struct vio_vud *v)
{
    return v->queues_max;
}

/* The head and room for the most bytes a message carries. */
struct config_message {
    struct vhost_user_config head;
    uint8_t bytes[VIO_VUD_CONFIG_MAX];
};

static int config_check(struct vio_vud *v, uint32_t len)
{
    if (!vud_has(v, VHOST_USER_PROTOCOL_F_CONFIG))
        return vud_fail(v, -ENOTSUP, "the device does not show its configuration (no CONFIG)");
    if (len == 0 || len > VIO_VUD_CONFIG_MAX)
        return vud_fail(v, -EINVAL, "%u bytes of configuration: 1 to %d can be asked for", len, VIO_VUD_CONFIG_MAX);
    return 0;
}

int vio_vud_config_read(struct vio_vud *v, uint32_t offset, void *to, uint32_t len)
{
    struct config_message message = { .head = { .offset = offset, .size = len } };
    uint32_t size = (uint32_t)sizeof(message.head) + len, got;
    struct vud_msg msg = { .request = VHOST_USER_GET_CONFIG, .payload = &message, .size = size };
    int error = config_check(v, len);

    if (!error)
        error = vud_ask(v, &msg, &message, size, &got, NULL);
    if (error)
        return error;
    if (got != size) /* no payload: the document's way to say no */
        return vud_fail(v, -EINVAL, "GET_CONFIG: the device has no %u bytes at %u", len, offset);
    memcpy(to, message.bytes, len);
    return 0;
}

int vio_vud_config_write(struct vio_vud *v, uint32_t offset, const void *from, uint32_t len)
{
    struct config_message message = { .head = { .offset = offset, .size = len, .flags = VHOST_USER_CONFIG_WRITABLE } };
    struct vud_msg msg = { .request = VHOST_USER_SET_CONFIG, .payload = &message };
    int error = config_check(v, len);

    if (error)
        return error;
    memcpy(message.bytes, from, len);
    msg.size = (uint32_t)sizeof(message.head) + len;
    error = vud_send(v, &msg);
    return error == -EPROTO && v->fd >= 0 ? -EINVAL : error; /* the line is fine: the device said no */
}

int vio_vud_status(struct vio_vud *v, uint8_t *status)
{
    uint64_t value;
    int error;

    if (!vud_has(v, VHOST_USER_PROTOCOL_F_STATUS))
        return vud_fail(v, -ENOTSUP, "the device does not show its status (no STATUS)");
    error = vud_ask_u64(v, VHOST_USER_GET_STATUS, &value);
    if (!error)
        *status = (uint8_t)value;
    return error;
}

/* ------------------------------------------------------------------ start */

static uint64_t align_to(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

/* What one queue takes of the shared memory. Each part has cache lines of its own. */
struct parts {
    uint64_t driver, device, indirect, bytes; /* offsets from the descriptor area, and the end */
};

static struct parts parts_of(const struct vio_vud_setup *setup, bool packed)
{
    struct vio_queue_layout layout = vio_queue_layout(setup->queue_size, packed);
    struct parts p;

    p.driver = align_to(layout.desc_bytes, 128);
    p.device = align_to(p.driver + layout.driver_bytes, 128);
    p.indirect = align_to(p.device + layout.device_bytes, 128);
    p.bytes = align_to(p.indirect + (uint64_t)setup->queue_size * setup->indirect_max * 16, 4096);
    return p;
}

static int setup_check(struct vio_vud *v, const struct vio_vud_setup *setup, bool packed)
{
    struct vio_features missing = vio_features_minus(setup->features, v->offered);

    if (v->running)
        return vud_fail(v, -EBUSY, "the queues run already");
    if (v->fd < 0)
        return vud_fail(v, -ENOTCONN, "not connected");
    if (!vio_features_none(missing))
        return vud_fail(v, -EPROTO, "the device does not offer feature bits 0x%llx",
                        (unsigned long long)missing.w[0]);
    if (setup->queues == 0 || setup->queues > v->queues_max)
        return vud_fail(v, -EINVAL, "%u queues: the device has %u", setup->queues, v->queues_max);
    if (!vio_queue_size_ok(setup->queue_size, packed))
        return vud_fail(v, -EINVAL, "queue size %u: %s", setup->queue_size,
                        packed ? "1 to 32768 (virtio 1.4, 2.8.10.1)" : "a power of two to 32768 (virtio 1.4, 2.7)");
    if (setup->buffer_bytes > UINT64_C(1) << 46)
        return vud_fail(v, -EINVAL, "more buffer memory than there can be");
    return 0;
}

static int make_queue(struct vio_vud *v, uint16_t i, const struct parts *parts)
{
    struct vud_queue *q = &v->queue[i];
    uint64_t at = i * parts->bytes;
    struct vio_drvq_params params = {
        .size = v->setup.queue_size,
        .features = v->setup.features,
        .desc = v->memory.host + at,
        .driver = v->memory.host + at + parts->driver,
        .device = v->memory.host + at + parts->device,
        .indirect = v->setup.indirect_max ? v->memory.host + at + parts->indirect : NULL,
        .indirect_addr = VUD_BASE + at + parts->indirect,
        .indirect_max = v->setup.indirect_max,
    };
    size_t bytes = align_to(vio_drvq_bytes(&params), 64);

    q->drvq_memory = aligned_alloc(64, bytes);
    if (q->drvq_memory == NULL)
        return -ENOMEM;
    memset(q->drvq_memory, 0, bytes);
    q->desc = params.desc;
    q->driver = params.driver;
    q->device = params.device;
    if (!v->setup.poll_kick && (q->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0)
        return -errno;
    if (!v->setup.poll_call && (q->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0)
        return -errno;
    return vio_drvq_start(q->drvq_memory, &params, &q->drvq);
}

static int make(struct vio_vud *v, bool packed)
{
    struct parts parts = parts_of(&v->setup, packed);
    int error;

    v->memory.buffers = v->setup.queues * parts.bytes;
    v->memory.buffer_bytes = align_to(v->setup.buffer_bytes, 4096);
    v->queue = calloc(v->setup.queues, sizeof(*v->queue));
    if (v->queue == NULL)
        return vud_fail(v, -ENOMEM, "no memory for %u queues", v->setup.queues);
    for (uint16_t i = 0; i < v->setup.queues; i++)
        v->queue[i].kick_fd = v->queue[i].call_fd = -1;
    error = vud_memory_create(&v->memory, v->memory.buffers + v->memory.buffer_bytes, v->setup.small_pages);
    if (error)
        return vud_fail(v, error, "no %llu bytes of memory to share: %s",
                        (unsigned long long)(v->memory.buffers + v->memory.buffer_bytes), strerror(-error));
    for (uint16_t i = 0; i < v->setup.queues; i++) {
        error = make_queue(v, i, &parts);
        if (error)
            return vud_fail(v, error, "queue %u: %s", i, strerror(-error));
    }
    return 0;
}

/* Says all to the device; the same words for a new one and for one that came back. */
static int bring_up(struct vio_vud *v, bool again)
{
    int error = vud_negotiate(v, again);

    if (!error)
        error = vud_share(v, again);
    for (uint16_t i = 0; !error && i < v->setup.queues; i++)
        error = vud_start_queue(v, i, again);
    if (!error && vud_has(v, VHOST_USER_PROTOCOL_F_STATUS))
        error = vud_send_u64(v, VHOST_USER_SET_STATUS,
                             VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
                                 VIRTIO_STATUS_DRIVER_OK);
    return error;
}

int vio_vud_start(struct vio_vud *v, const struct vio_vud_setup *setup)
{
    bool packed = vio_features_has(setup->features, VIRTIO_F_RING_PACKED);
    int error = setup_check(v, setup, packed);

    if (error)
        return error;
    release(v);
    v->setup = *setup;
    error = make(v, packed);
    if (!error)
        error = bring_up(v, false);
    if (error) {
        release(v);
        return error;
    }
    v->started = v->running = true;
    return 0;
}

int vio_vud_stop(struct vio_vud *v)
{
    int error = 0;

    if (!v->running)
        return 0;
    v->running = false;
    for (uint16_t i = 0; !error && i < v->setup.queues; i++) {
        struct vhost_user_vring_state state = { i, 0 };
        struct vud_msg msg = { .request = VHOST_USER_GET_VRING_BASE, .payload = &state, .size = sizeof(state) };
        uint32_t got;

        error = vud_ask(v, &msg, &state, sizeof(state), &got, NULL);
        if (!error && (got != sizeof(state) || state.index != i))
            error = vud_fail(v, -EPROTO, "GET_VRING_BASE: the device answered for another queue");
    }
    if (!error && vud_has(v, VHOST_USER_PROTOCOL_F_STATUS))
        error = vud_send_u64(v, VHOST_USER_SET_STATUS, 0);
    return error;
}

int vio_vud_reconnect(struct vio_vud *v)
{
    int error;

    if (!v->running)
        return vud_fail(v, -EINVAL, "nothing was started that could go on");
    for (uint16_t i = 0; i < v->setup.queues; i++) {
        if (vio_drvq_pending(v->queue[i].drvq))
            return vud_fail(v, -EBUSY, "queue %u has used buffers: collect them first", i);
    }
    error = vud_connect_socket(v);
    if (!error)
        error = vud_handshake(v);
    if (!error && (!vio_features_none(vio_features_minus(v->setup.features, v->offered)) ||
                   v->queues_max < v->setup.queues))
        error = vud_fail(v, -EPROTO, "the device that came back has fewer features or queues than before");
    if (!error)
        error = bring_up(v, true);
    if (error) {
        vud_hang_up(v);
        return error;
    }
    for (uint16_t i = 0; i < v->setup.queues; i++)
        vio_vud_kick(v, i); /* what was made available while nobody was there */
    return 0;
}

/* ------------------------------------------------------------------ while it runs */

struct vio_features vio_vud_features(const struct vio_vud *v)
{
    return v->setup.features;
}

uint16_t vio_vud_queues(const struct vio_vud *v)
{
    return v->started ? v->setup.queues : 0;
}

struct vio_drvq *vio_vud_queue(struct vio_vud *v, uint16_t queue)
{
    return v->started && queue < v->setup.queues ? v->queue[queue].drvq : NULL;
}

void vio_vud_kick(struct vio_vud *v, uint16_t queue)
{
    uint64_t one = 1;

    if (v->queue[queue].kick_fd >= 0) /* a full counter (EAGAIN) is a kick that is not yet taken: as good */
        (void)!write(v->queue[queue].kick_fd, &one, sizeof(one));
}

int vio_vud_call_fd(const struct vio_vud *v, uint16_t queue)
{
    return v->queue[queue].call_fd;
}

void vio_vud_call_clear(struct vio_vud *v, uint16_t queue)
{
    uint64_t count;

    if (v->queue[queue].call_fd >= 0)
        (void)!read(v->queue[queue].call_fd, &count, sizeof(count));
}

struct vio_vud_memory vio_vud_memory(const struct vio_vud *v)
{
    return (struct vio_vud_memory){
        .host = v->started ? v->memory.host + v->memory.buffers : NULL,
        .addr = VUD_BASE + v->memory.buffers,
        .size = v->started ? v->memory.buffer_bytes : 0,
        .huge = v->memory.huge,
    };
}
