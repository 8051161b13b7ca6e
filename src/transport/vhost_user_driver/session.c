/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what a front-end says, and in which order: handshake, features, memory and in-flight record, rings.
 * Where it sits: transport/vhost_user_driver, between driver.c (the core's calls) and socket.c (one message).
 * Threads: the control thread. `again`: a device that came back is given the in-flight record as it stands.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ring/inflight.h"
#include "transport/vhost_user_driver/internal.h"

#define P(name) VIO_FEATURE(VHOST_USER_PROTOCOL_F_##name)

/* No bit that is not used here: what is acknowledged must be spoken. */
#define PROTOCOL_WANTED                                                                                                    \
    (P(MQ) | P(REPLY_ACK) | P(CONFIG) | P(INFLIGHT_SHMFD) | P(STATUS) | P(BACKEND_REQ) | P(RESET_DEVICE) | P(LOG_SHMFD) |  \
     P(CONFIGURE_MEM_SLOTS) | P(DEVICE_STATE))

/*
 * What no driver may see: the protocol's own bits; what needs translations that we do not send (ACCESS_PLATFORM), or a
 * notification that is more than an eventfd.
 */
#define FEATURES_HIDDEN                                                                                                    \
    (VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES) | VIO_FEATURE(VIRTIO_F_LOG_ALL) | VIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) |     \
     VIO_FEATURE(VIRTIO_F_SR_IOV) | VIO_FEATURE(VIRTIO_F_NOTIFICATION_DATA) | VIO_FEATURE(VIRTIO_F_NOTIF_CONFIG_DATA) |    \
     VIO_FEATURE(VIRTIO_F_ADMIN_VQ))

/* ------------------------------------------------------------------ handshake and features */

static int ask_numbers(struct vio_vud *v)
{
    uint64_t queues = 1;
    int error = 0;

    if (vud_has(v, VHOST_USER_PROTOCOL_F_MQ)) {
        error = vud_ask_u64(v, VHOST_USER_GET_QUEUE_NUM, &queues);
        if (error != 0)
            return error;
        if (queues == 0)
            return vud_fail(v, -EPROTO, "GET_QUEUE_NUM: the device has no queue");
    }
    queues = vio_min_u64(queues, VIO_VUD_QUEUES_MAX);
    if (v->t.type == VIRTIO_ID_NET) /* pairs are told; a control queue may follow them */
        queues = queues * 2 + 1;
    v->t.queues_max = (uint16_t)vio_min_u64(queues, VIO_VUD_QUEUES_MAX);
    v->slots_max = VHOST_USER_TABLE_REGIONS;
    if (vud_has(v, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
        error = vud_ask_u64(v, VHOST_USER_GET_MAX_MEM_SLOTS, &v->slots_max);
    return error;
}

int vud_handshake(struct vio_vud *v)
{
    struct vud_msg owner = { .request = VHOST_USER_SET_OWNER };
    uint64_t features;
    int error;

    v->protocol = v->protocol_offered = 0;
    v->shared = false;
    error = vud_ask_u64(v, VHOST_USER_GET_FEATURES, &features);
    if (error != 0)
        return error;
    v->has_protocol = (features & VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES)) != 0;
    v->has_log = (features & VIO_FEATURE(VIRTIO_F_LOG_ALL)) != 0;
    v->has_ring_reset = (features & VIO_FEATURE(VIRTIO_F_RING_RESET)) != 0;
    v->offered = vio_features_of((features & ~FEATURES_HIDDEN) | VIO_FEATURE(VIRTIO_F_RING_RESET));
    if (v->has_protocol) {
        error = vud_ask_u64(v, VHOST_USER_GET_PROTOCOL_FEATURES, &v->protocol_offered);
        if (error == 0)
            error = vud_send_u64(v, VHOST_USER_SET_PROTOCOL_FEATURES, v->protocol_offered & PROTOCOL_WANTED);
        if (error != 0)
            return error;
        v->protocol = v->protocol_offered & PROTOCOL_WANTED;
    }
    error = ask_numbers(v);
    if (error == 0)
        error = vud_send(v, &owner);
    return error != 0 ? error : vud_events_connected(v);
}

int vud_set_features(struct vio_vud *v)
{
    uint64_t bits = v->features.w[0];

    if (!v->has_ring_reset)
        bits &= ~VIO_FEATURE(VIRTIO_F_RING_RESET);
    if (v->has_protocol)
        bits |= VIO_FEATURE(VIRTIO_F_PROTOCOL_FEATURES);
    if (v->log_fd >= 0)
        bits |= VIO_FEATURE(VIRTIO_F_LOG_ALL);
    return vud_send_u64(v, VHOST_USER_SET_FEATURES, bits);
}

/* ------------------------------------------------------------------ memory */

static struct vhost_user_region region_of(const struct vio_arena *arena, int *fd)
{
    struct vio_arena_region r = vio_arena_region(arena);

    *fd = r.fd;
    return (struct vhost_user_region){ .guest_addr = r.addr, .size = r.size, .user_addr = (uintptr_t)r.host };
}

int vud_send_region(struct vio_vud *v, uint32_t request, const struct vio_arena *arena)
{
    struct vhost_user_mem_reg reg = { 0 };
    struct vud_msg msg = { .request = request, .payload = &reg, .size = sizeof(reg) };
    int fd = -1;

    reg.region = region_of(arena, &fd);
    if (request == VHOST_USER_ADD_MEM_REG) {
        msg.fds = &fd;
        msg.nr_fds = 1;
    }
    return vud_send(v, &msg);
}

static int send_table(struct vio_vud *v)
{
    struct vhost_user_mem_table table = { .nregions = v->nr_arenas };
    int fds[VHOST_USER_TABLE_REGIONS];
    struct vud_msg msg = { .request = VHOST_USER_SET_MEM_TABLE, .payload = &table, .fds = fds, .nr_fds = v->nr_arenas };

    if (v->nr_arenas > VHOST_USER_TABLE_REGIONS)
        return vud_fail(v, -ENOSPC, "%u regions of memory: without CONFIGURE_MEM_SLOTS the device takes 8", v->nr_arenas);
    for (unsigned i = 0; i < v->nr_arenas; i++)
        table.region[i] = region_of(v->arena[i], &fds[i]);
    msg.size = (uint32_t)(offsetof(struct vhost_user_mem_table, region) + v->nr_arenas * sizeof(table.region[0]));
    return vud_send(v, &msg);
}

int vud_share_memory(struct vio_vud *v)
{
    bool one_by_one = v->nr_arenas > 1 && vud_has(v, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
    int error = 0;

    if (v->shared)
        return 0;
    if (!one_by_one)
        error = send_table(v);
    else if (v->nr_arenas > v->slots_max)
        error = vud_fail(v, -ENOSPC, "%u regions of memory: the device takes %llu", v->nr_arenas,
                         (unsigned long long)v->slots_max);
    for (unsigned i = 0; one_by_one && error == 0 && i < v->nr_arenas; i++)
        error = vud_send_region(v, VHOST_USER_ADD_MEM_REG, v->arena[i]);
    v->shared = error == 0;
    return error;
}

static int ask_inflight(struct vio_vud *v)
{
    struct vhost_user_inflight want = { .num_queues = v->planned, .queue_size = v->planned_size };
    struct vud_msg get = { .request = VHOST_USER_GET_INFLIGHT_FD, .payload = &want, .size = sizeof(want) };
    uint32_t got;
    int error;

    if (v->inflight_fd >= 0)
        close(v->inflight_fd);
    v->inflight_fd = -1;
    error = vud_ask(v, &get, &v->inflight, sizeof(v->inflight), &got, &v->inflight_fd);
    if (error != 0)
        return error;
    if (v->inflight_fd < 0 || got != sizeof(v->inflight) || v->inflight.mmap_size == 0) {
        if (v->inflight_fd >= 0)
            close(v->inflight_fd);
        v->inflight_fd = -1;
        return vud_fail(v, -EPROTO, "GET_INFLIGHT_FD: the device gave no in-flight region");
    }
    v->inflight.num_queues = want.num_queues;
    v->inflight.queue_size = want.queue_size;
    return 0;
}

int vud_share_inflight(struct vio_vud *v, bool again)
{
    struct vud_msg set = { .request = VHOST_USER_SET_INFLIGHT_FD, .payload = &v->inflight,
                           .size = sizeof(v->inflight), .fds = &v->inflight_fd, .nr_fds = 1 };
    int error = 0;

    if (!vud_has(v, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
        return 0;
    if (!again || v->inflight_fd < 0)
        error = ask_inflight(v);
    return error != 0 ? error : vud_send(v, &set);
}

/*
 * By writes, since a mapping of a file that a device made is its to cut short. The parts lie as the document says, one queue's
 * behind the other's.
 */
int vud_clear_inflight(struct vio_vud *v, uint16_t queue)
{
    static const uint8_t zeroes[4096];
    uint64_t part = vio_inflight_bytes(v->planned_size, vio_features_has(v->features, VIRTIO_F_RING_PACKED));
    uint64_t at = queue * part, end = at + part;
    struct stat st;

    if (v->inflight_fd < 0)
        return 0;
    if (fstat(v->inflight_fd, &st) != 0 || !S_ISREG(st.st_mode) || !vio_range_ok(at, part, v->inflight.mmap_size))
        return vud_fail(v, -EPROTO, "queue %u: the in-flight region has no place for it", queue);
    while (at < end) {
        size_t n = (size_t)vio_min_u64(end - at, sizeof(zeroes));
        uint64_t offset;

        if (!vio_add_u64(v->inflight.mmap_offset, at, &offset) || offset > INT64_MAX ||
            pwrite(v->inflight_fd, zeroes, n, (off_t)offset) != (ssize_t)n)
            return vud_fail(v, -EPROTO, "queue %u: the in-flight region cannot be written to", queue);
        at += n;
    }
    return 0;
}

/* ------------------------------------------------------------------ queues */

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

static bool packed(const struct vio_vud *v)
{
    return vio_features_has(v->features, VIRTIO_F_RING_PACKED);
}

int vud_address_queue(struct vio_vud *v, uint16_t queue)
{
    const struct vio_transport_queue *q = &v->queue[queue].told;
    struct vhost_user_vring_addr address = {
        .index = queue,
        .flags = v->log_fd >= 0 ? VHOST_USER_VRING_ADDR_F_LOG : 0,
        .desc = (uintptr_t)q->desc,
        .avail = (uintptr_t)q->driver,
        .used = (uintptr_t)q->device,
        .log = v->log_fd >= 0 ? q->cfg.device : 0,
    };
    struct vud_msg msg = { .request = VHOST_USER_SET_VRING_ADDR, .payload = &address, .size = sizeof(address) };

    return vud_send(v, &msg);
}

int vud_start_queue(struct vio_vud *v, uint16_t queue)
{
    struct vud_queue *q = &v->queue[queue];
    uint64_t features;
    int error = send_state(v, VHOST_USER_SET_VRING_NUM, queue, q->told.cfg.size);

    if (error == 0)
        error = send_state(v, VHOST_USER_SET_VRING_BASE, queue, vio_queue_state_pack(&q->told.cfg.state, packed(v)));
    if (error == 0)
        error = vud_address_queue(v, queue);
    if (error == 0)
        error = send_fd(v, VHOST_USER_SET_VRING_ERR, queue, v->error_fd);
    if (error == 0)
        error = send_fd(v, VHOST_USER_SET_VRING_CALL, queue, q->call_fd);
    if (error == 0)
        error = send_fd(v, VHOST_USER_SET_VRING_KICK, queue, q->kick_fd);
    if (error == 0 && v->has_protocol) /* without bit 30 a ring is enabled from the start */
        error = send_state(v, VHOST_USER_SET_VRING_ENABLE, queue, 1);
    /*
     * A kick that overtakes ENABLE is lost: the devices of rust-vmm have a thread for each, read it and look away. Where no
     * message is acknowledged by itself, the answer to a question tells that those before it were taken.
     */
    if (error == 0 && !vud_has(v, VHOST_USER_PROTOCOL_F_REPLY_ACK))
        error = vud_ask_u64(v, VHOST_USER_GET_FEATURES, &features);
    q->started = error == 0;
    return error;
}

int vud_stop_queue(struct vio_vud *v, uint16_t queue, struct vio_queue_state *state)
{
    struct vhost_user_vring_state base = { queue, 0 };
    struct vud_msg msg = { .request = VHOST_USER_GET_VRING_BASE, .payload = &base, .size = sizeof(base) };
    uint32_t got;
    int error = vud_ask(v, &msg, &base, sizeof(base), &got, NULL);

    v->queue[queue].started = false;
    if (error != 0)
        return error;
    if (got != sizeof(base) || base.index != queue)
        return vud_fail(v, -EPROTO, "GET_VRING_BASE: the device answered for another queue");
    vio_queue_state_unpack(state, packed(v), base.num);
    return 0;
}

int vud_stop_all(struct vio_vud *v)
{
    struct vio_queue_state state;
    int error = 0;

    for (uint16_t i = 0; error == 0 && i < VIO_VUD_QUEUES_MAX; i++)
        if (v->queue[i].started)
            error = vud_stop_queue(v, i, &state);
    return error;
}
