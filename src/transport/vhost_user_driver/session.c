/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the order in which a front-end says things: handshake, features, memory and in-flight record, rings.
 * Where it sits: transport/vhost_user_driver, between driver.c (the public calls) and socket.c (one message).
 * Threads: the control thread. `again`: a device that came back is given the rings as they stand.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "spec/virtio.h"
#include "transport/vhost_user_driver/internal.h"

/* No bit that is not used below: what is acknowledged must be spoken. */
#define PROTOCOL_WANTED                                                                             \
    (VIO_FEATURE(VHOST_USER_PROTOCOL_F_MQ) | VIO_FEATURE(VHOST_USER_PROTOCOL_F_REPLY_ACK) |         \
     VIO_FEATURE(VHOST_USER_PROTOCOL_F_CONFIG) | VIO_FEATURE(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) | \
     VIO_FEATURE(VHOST_USER_PROTOCOL_F_STATUS))

int vud_handshake(struct vio_vud *v)
{
    struct vud_msg owner = { .request = VHOST_USER_SET_OWNER };
    uint64_t features, queues = 1;
    int error;

    v->protocol = v->protocol_offered = 0;
    error = vud_ask_u64(v, VHOST_USER_GET_FEATURES, &features);
    if (error)
        return error;
    v->has_protocol = (features & VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES)) != 0;
    v->offered = vio_features_of(features & ~VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES));
    if (v->has_protocol) {
        uint64_t wanted;

        error = vud_ask_u64(v, VHOST_USER_GET_PROTOCOL_FEATURES, &v->protocol_offered);
        if (error)
            return error;
        wanted = v->protocol_offered & PROTOCOL_WANTED;
        error = vud_send_u64(v, VHOST_USER_SET_PROTOCOL_FEATURES, wanted);
        if (error)
            return error;
        v->protocol = wanted;
    }
    if (vud_has(v, VHOST_USER_PROTOCOL_F_MQ)) {
        error = vud_ask_u64(v, VHOST_USER_GET_QUEUE_NUM, &queues);
        if (error)
            return error;
        if (queues == 0)
            return vud_fail(v, -EPROTO, "GET_QUEUE_NUM: the device has no queue");
    }
    v->queues_max = (uint16_t)vio_min_u64(queues, VIO_VUD_QUEUES_MAX);
    return vud_send(v, &owner);
}

static int set_status(struct vio_vud *v, uint64_t status)
{
    if (!vud_has(v, VHOST_USER_PROTOCOL_F_STATUS))
        return 0;
    return vud_send_u64(v, VHOST_USER_SET_STATUS, status);
}

/* virtio 1.4, 3.1.1: steps 1 to 6 of the initialization, as far as the device has a status field. */
int vud_negotiate(struct vio_vud *v, bool again)
{
    uint64_t bits = v->setup.features.w[0], status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
    int error = 0;

    if (!again) /* a device that came back and is to go on where it was is not reset */
        error = set_status(v, 0);
    if (!error)
        error = set_status(v, status);
    if (!error)
        error = vud_send_u64(v, VHOST_USER_SET_FEATURES,
                             bits | (v->has_protocol ? VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES) : 0));
    if (error || !vud_has(v, VHOST_USER_PROTOCOL_F_STATUS))
        return error;
    error = set_status(v, status | VIRTIO_STATUS_FEATURES_OK);
    if (!error)
        error = vud_ask_u64(v, VHOST_USER_GET_STATUS, &status);
    if (!error && !(status & VIRTIO_STATUS_FEATURES_OK))
        return vud_fail(v, -EPROTO, "the device does not accept this set of features (virtio 1.4, 2.2.2)");
    return error;
}

static int share_inflight(struct vio_vud *v, bool again)
{
    struct vud_msg set = { .request = VHOST_USER_SET_INFLIGHT_FD, .payload = &v->inflight,
                           .size = sizeof(v->inflight), .fds = &v->inflight_fd, .nr_fds = 1 };

    if (!again || v->inflight_fd < 0) {
        struct vhost_user_inflight want = { .num_queues = v->setup.queues, .queue_size = v->setup.queue_size };
        struct vud_msg get = { .request = VHOST_USER_GET_INFLIGHT_FD, .payload = &want, .size = sizeof(want) };
        uint32_t got;
        int error;

        if (v->inflight_fd >= 0)
            close(v->inflight_fd);
        error = vud_ask(v, &get, &v->inflight, sizeof(v->inflight), &got, &v->inflight_fd);
        if (error)
            return error;
        if (v->inflight_fd < 0 || got != sizeof(v->inflight) || v->inflight.mmap_size == 0)
            return vud_fail(v, -EPROTO, "GET_INFLIGHT_FD: the device gave no in-flight region");
        v->inflight.num_queues = want.num_queues;
        v->inflight.queue_size = want.queue_size;
    }
    return vud_send(v, &set);
}

int vud_share(struct vio_vud *v, bool again)
{
    struct vhost_user_mem_table table = {
        .nregions = 1,
        .region[0] = { .guest_addr = VUD_BASE, .size = v->memory.size, .user_addr = (uintptr_t)v->memory.host },
    };
    struct vud_msg msg = { .request = VHOST_USER_SET_MEM_TABLE, .payload = &table,
                           .size = (uint32_t)(offsetof(struct vhost_user_mem_table, region) + sizeof(table.region[0])),
                           .fds = &v->memory.fd, .nr_fds = 1 };
    int error = vud_send(v, &msg);

    if (!error && vud_has(v, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
        error = share_inflight(v, again);
    return error;
}

static int send_fd(struct vio_vud *v, uint32_t request, uint16_t queue, int fd)
{
    uint64_t value = queue | (fd < 0 ? VHOST_USER_VRING_NOFD : 0);
    struct vud_msg msg = { .request = request, .payload = &value, .size = sizeof(value),
                           .fds = &fd, .nr_fds = fd < 0 ? 0 : 1 };

    return vud_send(v, &msg);
}

static int send_state(struct vio_vud *v, uint32_t request, uint16_t queue, uint32_t num)
{
    struct vhost_user_vring_state state = { queue, num };
    struct vud_msg msg = { .request = request, .payload = &state, .size = sizeof(state) };

    return vud_send(v, &msg);
}

/*
 * Where a queue goes on: at the first buffer that has not come back. What lies between there and the last one
 * that was made available the device tells apart by its in-flight record.
 */
static uint32_t base_of(const struct vio_vud *v, const struct vud_queue *q, bool again)
{
    bool packed = vio_features_has(v->setup.features, VIRTIO_F_RING_PACKED);
    struct vio_queue_state state = vio_queue_state_initial(packed);

    if (again) {
        state = vio_drvq_state(q->drvq);
        state.avail_idx = state.used_idx;
        state.avail_wrap = state.used_wrap;
    }
    return vio_queue_state_pack(&state, packed);
}

int vud_start_queue(struct vio_vud *v, uint16_t queue, bool again)
{
    const struct vud_queue *q = &v->queue[queue];
    struct vhost_user_vring_addr address = {
        .index = queue,
        .desc = (uintptr_t)q->desc,
        .avail = (uintptr_t)q->driver,
        .used = (uintptr_t)q->device,
    };
    struct vud_msg msg = { .request = VHOST_USER_SET_VRING_ADDR, .payload = &address, .size = sizeof(address) };
    int error = send_state(v, VHOST_USER_SET_VRING_NUM, queue, v->setup.queue_size);

    if (!error)
        error = send_state(v, VHOST_USER_SET_VRING_BASE, queue, base_of(v, q, again));
    if (!error)
        error = vud_send(v, &msg);
    if (!error)
        error = send_fd(v, VHOST_USER_SET_VRING_CALL, queue, q->call_fd);
    if (!error)
        error = send_fd(v, VHOST_USER_SET_VRING_KICK, queue, q->kick_fd);
    if (!error && v->has_protocol) /* without bit 30 a ring is enabled from the start */
        error = send_state(v, VHOST_USER_SET_VRING_ENABLE, queue, 1);
    return error;
}
