/* SPDX-License-Identifier: MIT */
/*
 * Purpose: queues as vhost-user sets them up: size, addresses, position, notification descriptors, start and stop.
 * Where it sits: transport/vhost_user. Threads: vu_used() and vu_kick_fd() are called by a queue's owner; a call
 * descriptor is replaced under it by dup3(), which either signals the old one or the new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spec/virtio.h"
#include "transport/vhost_user/session.h"

void vu_vring_init(struct vu_session *s)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        atomic_init(&s->vring[i].kick_fd, -1);
        s->vring[i].call_fd = s->vring[i].err_fd = -1;
    }
}

/* The owner has let go of it. */
static void close_kick(struct vu_vring *v)
{
    int fd = atomic_exchange_explicit(&v->kick_fd, -1, memory_order_relaxed);

    if (fd >= 0)
        close(fd);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void vu_vring_end(struct vu_session *s)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        close_kick(&s->vring[i]);
        close_fd(&s->vring[i].call_fd);
        close_fd(&s->vring[i].err_fd);
    }
    if (s->inband_fd >= 0) {
        s->vu->p.watch(s->vu->p.ctx, s->vu, s->inband_fd, 0);
        close_fd(&s->inband_fd);
    }
}

bool vu_any_running(const struct vu_session *s)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        if (s->vring[i].started)
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------ starting and stopping */

static bool packed(const struct vu_session *s)
{
    return vu_has_feature(s, VIRTIO_F_RING_PACKED);
}

/*
 * Where the three areas are for the queue: I/O virtual addresses as they came, else through the table of regions.
 * With GPA_ADDRESSES the front-end repeats guest addresses as user addresses, so that one lookup serves both.
 */
static int place(const struct vu_session *s, const struct vu_vring *v, struct vio_queue_cfg *cfg)
{
    const struct vio_memory *memory = vio_device_memory(s->dev);
    struct vio_queue_layout layout = vio_queue_layout((uint16_t)v->num, packed(s));

    if (vu_has_feature(s, VIRTIO_F_ACCESS_PLATFORM)) {
        cfg->desc = v->addr.desc;
        cfg->driver = v->addr.avail;
        cfg->device = v->addr.used;
        return 0;
    }
    if (vio_memory_uva_to_gpa(memory, v->addr.desc, layout.desc_bytes, &cfg->desc) != 0 ||
        vio_memory_uva_to_gpa(memory, v->addr.avail, layout.driver_bytes, &cfg->driver) != 0 ||
        vio_memory_uva_to_gpa(memory, v->addr.used, layout.device_bytes, &cfg->device) != 0)
        return -EFAULT;
    return 0;
}

static int check_ready(struct vu_session *s, uint16_t queue)
{
    const struct vu_vring *v = &s->vring[queue];

    if (!vio_queue_size_ok(v->num, packed(s)))
        return vu_refuse(s, VU_BROKEN, "queue %u has %" PRIu32 " entries: a %s queue has %s 1 to 32768 (virtio 1.4, %s)",
                         queue, v->num, packed(s) ? "packed" : "split", packed(s) ? "any number from" : "a power of two from",
                         packed(s) ? "2.8.10.1" : "2.7");
    if (v->base_set && !packed(s) && v->base > UINT16_MAX)
        return vu_refuse(s, VU_BROKEN, "queue %u starts at 0x%" PRIx32 ", but the position of a split queue has 16 bits",
                         queue, v->base);
    return 0;
}

/*
 * Where the front-end says that the queue stands. DPDK's driver gives the available position only and leaves the upper
 * half 0: with no record of requests in flight both positions are the same, since a queue that stops finishes them.
 */
static void resume_at(const struct vu_session *s, const struct vu_vring *v, struct vio_queue_state *state)
{
    uint32_t base = v->base;

    if (packed(s) && base >> 16 == 0 && !v->recorded)
        base |= base << 16;
    vio_queue_state_unpack(state, packed(s), base);
}

int vu_vring_start(struct vu_session *s, uint16_t queue)
{
    struct vu_vring *v = &s->vring[queue];
    struct vio_queue_cfg *cfg = vio_device_queue_cfg(s->dev, queue);
    int ret;

    if (!v->started || vio_device_queue_running(s->dev, queue) || v->num == 0 || !v->addr_set || !s->features_set)
        return 0;
    ret = check_ready(s, queue);
    if (ret != 0)
        return ret;
    v->lost = place(s, v, cfg) != 0;
    if (v->lost)
        return vu_refuse(s, VU_BROKEN, "queue %u (areas at 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 ") is in none of the %u "
                         "memory regions; it starts when it is", queue, v->addr.desc, v->addr.avail, v->addr.used,
                         s->nr_region);
    ret = vu_infer_status(s);
    if (ret != 0)
        return ret;
    cfg->size = (uint16_t)v->num;
    cfg->log_used = (v->addr.flags & VHOST_USER_VRING_ADDR_F_LOG) != 0;
    cfg->log_addr = v->addr.log;
    cfg->ready = true;
    ret = vu_inflight_give(s, queue);
    if (ret != 0)
        return ret;
    cfg->state = vio_queue_state_initial(packed(s));
    if (v->base_set && !v->base_old)
        resume_at(s, v, &cfg->state);
    v->begun = true;
    ret = vio_device_queue_start(s->dev, queue);
    if (ret != 0)
        return vu_refuse(s, VU_BROKEN, "queue %u does not start: %s", queue, strerror(-ret));
    return 0;
}

/* Memory or translations have come. */
void vu_vring_start_lost(struct vu_session *s)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        if (s->vring[i].started && s->vring[i].lost && vu_vring_start(s, i) != 0 && !s->vring[i].lost)
            vu_say(s, "%s", s->why);
    }
}

void vu_vring_stop(struct vu_session *s, uint16_t queue, bool suspend)
{
    struct vu_vring *v = &s->vring[queue];
    struct vio_queue_cfg *cfg = vio_device_queue_cfg(s->dev, queue);
    bool ran = vio_device_queue_running(s->dev, queue);

    if (suspend)
        vio_device_queue_suspend(s->dev, queue);
    else
        vio_device_queue_stop(s->dev, queue);
    cfg->ready = false;
    v->lost = v->begun = false;
    if (ran) {
        v->base = vio_queue_state_pack(&cfg->state, packed(s));
        v->base_set = true;
        v->base_old = false;
    }
}

void vu_vring_lose(struct vu_session *s, uint64_t uva, uint64_t size)
{
    for (uint16_t i = 0; i < s->queues; i++) {
        struct vu_vring *v = &s->vring[i];

        if (!v->started || v->lost || vu_has_feature(s, VIRTIO_F_ACCESS_PLATFORM))
            continue;
        if (v->addr.desc - uva >= size && v->addr.avail - uva >= size && v->addr.used - uva >= size)
            continue;
        vu_vring_stop(s, i, false);
        v->lost = true;
    }
}

static int restart(struct vu_session *s, uint16_t queue)
{
    if (vio_device_queue_running(s->dev, queue))
        vu_vring_stop(s, queue, false);
    return vu_vring_start(s, queue);
}

/* ------------------------------------------------------------------ messages */

int vu_set_vring_num(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_vring_state *state = (const void *)m->payload;
    uint32_t max = vio_device_type(s->dev)->queue_size_max;

    if (state->num == 0 || state->num > max)
        return vu_refuse(s, -EINVAL, "queue %" PRIu32 " is to have %" PRIu32 " entries, but this device's queues have 1 to %"
                         PRIu32 " (in QEMU: queue-size=)", state->index, state->num, max);
    s->vring[state->index].num = state->num;
    return 0;
}

int vu_set_vring_addr(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_vring_addr *addr = (const void *)m->payload;
    struct vu_vring *v = &s->vring[addr->index];
    bool same = v->addr_set && memcmp(&v->addr, addr, sizeof(*addr)) == 0;

    v->addr = *addr;
    v->addr_set = true;
    /* A queue that was started before its addresses were known begins when it is enabled: more may come until then. */
    if (same || (!v->begun && !v->lost && !v->enabled))
        return 0;
    return restart(s, (uint16_t)addr->index);
}

int vu_set_vring_base(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_vring_state *state = (const void *)m->payload;

    s->vring[state->index].base = state->num;
    s->vring[state->index].base_set = true;
    s->vring[state->index].base_old = false;
    return 0;
}

int vu_get_vring_base(struct vu_session *s, struct vu_msg *m)
{
    struct vhost_user_vring_state *state = (void *)m->payload;
    uint16_t queue = (uint16_t)state->index;
    struct vu_vring *v = &s->vring[queue];
    struct vio_queue_state initial = vio_queue_state_initial(packed(s));
    bool suspend = vu_has(s, VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) && v->recorded;

    vu_vring_stop(s, queue, suspend);
    v->started = false;
    close_kick(v);
    state->num = v->base_set ? v->base : vio_queue_state_pack(&initial, packed(s));
    vu_reply(s, m, state, sizeof(*state), -1);
    return VU_LATER;
}

static bool is_eventfd(int fd)
{
    char path[32], target[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    return strcmp(target, "anon_inode:[eventfd]") == 0;
}

static bool is_local_stream(int fd)
{
    int domain = 0, kind = 0;
    socklen_t size = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 && kind == SOCK_STREAM;
}

/*
 * "Either eventfd or pipe": what a thread may wait for, and write to, without surprises. A UNIX stream socket takes a
 * notification as a pipe does, and is what User Mode Linux calls one: it wants SIGIO, which an eventfd does not give.
 */
static int take_notifier(struct vu_session *s, struct vu_msg *m, bool written, int *out)
{
    int fd = vu_take_fd(m, 0), flags;
    struct stat st;

    *out = fd;
    if (fd < 0)
        return 0;
    flags = fcntl(fd, F_GETFL);
    /* Nobody here may come to wait in read() or write(). */
    if (flags >= 0 && fstat(fd, &st) == 0 &&
        (S_ISFIFO(st.st_mode) || ((st.st_mode & S_IFMT) == 0 && is_eventfd(fd)) ||
         (written && S_ISSOCK(st.st_mode) && is_local_stream(fd))) &&
        ((flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0))
        return 0;
    close(fd);
    *out = -1;
    return vu_refuse(s, -EINVAL, "its descriptor is neither an eventfd nor a pipe%s",
                     written ? " nor a UNIX stream socket" : "");
}

/* SET_VRING_KICK, _CALL and _ERR: a checked index. */
static uint16_t queue_of(const struct vu_msg *m)
{
    uint64_t payload;

    memcpy(&payload, m->payload, sizeof(payload));
    return (uint16_t)(payload & VHOST_USER_VRING_IDX_MASK);
}

int vu_set_vring_kick(struct vu_session *s, struct vu_msg *m)
{
    uint16_t queue = queue_of(m);
    struct vu_vring *v = &s->vring[queue];
    int fd, old = atomic_load_explicit(&v->kick_fd, memory_order_relaxed);
    int err = take_notifier(s, m, false, &fd);

    if (err != 0)
        return err;
    atomic_store_explicit(&v->kick_fd, fd, memory_order_relaxed);
    v->started = true;
    if (vio_device_queue_running(s->dev, queue))
        vio_device_queue_kick_changed(s->dev, queue);
    else
        err = vu_vring_start(s, queue);
    close_fd(&old);
    return err;
}

/*
 * Puts fd in the place of the call descriptor, whose owner may be signalling it. The bare system call: ThreadSanitizer
 * keeps books of descriptors in libc's dup3(), and dies of one that is replaced while another thread writes to it.
 */
static int replace_call(const struct vu_vring *v, int fd)
{
    return (int)syscall(SYS_dup3, fd, v->call_fd, O_CLOEXEC);
}

int vu_set_vring_call(struct vu_session *s, struct vu_msg *m)
{
    struct vu_vring *v = &s->vring[queue_of(m)];
    int fd, err = take_notifier(s, m, true, &fd);

    if (err != 0)
        return err;
    if (fd < 0) {
        atomic_store_explicit(&v->call_on, false, memory_order_relaxed);
        /* The number stays ours, so that the owner never signals a stranger; the front-end's eventfd is let go. */
        fd = v->call_fd >= 0 ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
        if (fd >= 0 && replace_call(v, fd) < 0)
            err = vu_refuse(s, -errno, "its old descriptor cannot be let go: %s", strerror(errno));
        close_fd(&fd);
        return err;
    }
    if (v->call_fd < 0) {
        v->call_fd = fd;
    } else {
        if (replace_call(v, fd) < 0)
            err = vu_refuse(s, -errno, "its descriptor cannot be used: %s", strerror(errno));
        close_fd(&fd);
    }
    atomic_store_explicit(&v->call_on, err == 0, memory_order_release);
    /* Buffers may have been used while nobody was told. */
    if (err == 0 && v->started && eventfd_write(v->call_fd, 1) != 0 && errno != EAGAIN)
        vio_log(s->log, VIO_LOG_DEBUG, s->name, "queue %u: its call descriptor takes no notification", queue_of(m));
    return err;
}

int vu_set_vring_err(struct vu_session *s, struct vu_msg *m)
{
    struct vu_vring *v = &s->vring[queue_of(m)];
    int fd, err = take_notifier(s, m, true, &fd);

    if (err != 0)
        return err;
    close_fd(&v->err_fd);
    v->err_fd = fd;
    return 0;
}

static int enable(struct vu_session *s, uint16_t queue, bool on)
{
    int err = vio_device_queue_enable(s->dev, queue, on);

    if (err != 0)
        return vu_refuse(s, VU_BROKEN, "queue %u cannot be %s: %s", queue, on ? "enabled" : "disabled", strerror(-err));
    s->vring[queue].enabled = on;
    return on ? vu_vring_start(s, queue) : 0;
}

int vu_set_vring_enable(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_vring_state *state = (const void *)m->payload;

    if (state->num > 1)
        return vu_refuse(s, -EINVAL, "it has the value %" PRIu32 " instead of 0 or 1", state->num);
    return enable(s, (uint16_t)state->index, state->num == 1);
}

int vu_vring_enable_all(struct vu_session *s)
{
    int ret = 0;

    for (uint16_t i = 0; ret == 0 && i < s->queues; i++) {
        if (!s->vring[i].enabled)
            ret = enable(s, i, true);
    }
    return ret;
}

/* ------------------------------------------------------------------ notifications in messages */

/* Without a kick descriptor the queue gets one of ours, which each VRING_KICK signals. */
int vu_vring_kick(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_vring_state *state = (const void *)m->payload;
    uint16_t queue = (uint16_t)state->index;
    struct vu_vring *v = &s->vring[queue];
    int fd = atomic_load_explicit(&v->kick_fd, memory_order_relaxed), ret;

    if (fd < 0 && !v->started) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return vu_refuse(s, -errno, "no eventfd: %s", strerror(errno));
        atomic_store_explicit(&v->kick_fd, fd, memory_order_relaxed);
    }
    v->started = true;
    ret = vu_vring_start(s, queue);
    if (fd >= 0 && eventfd_write(fd, 1) != 0 && errno != EAGAIN)
        ret = vu_refuse(s, VU_BROKEN, "queue %u cannot be notified: %s", queue, strerror(errno));
    return ret;
}

/* The owners have left word that notifications are due. */
void vu_inband(struct vu_session *s)
{
    eventfd_t n;

    (void)eventfd_read(s->inband_fd, &n);
    vu_channel_push(s);
}

static void vu_used(void *ctx, uint16_t queue)
{
    struct vu_session *s = ctx;
    struct vu_vring *v = &s->vring[queue];

    if (atomic_load_explicit(&v->call_on, memory_order_acquire)) {
        /* EAGAIN: the counter is full, so the front-end has not even seen the last 2^64 notifications. */
        (void)eventfd_write(v->call_fd, 1);
    } else if (s->inband_fd >= 0) {
        atomic_store_explicit(&v->call_inband, true, memory_order_release);
        (void)eventfd_write(s->inband_fd, 1);
    }
}

static int vu_kick_fd(void *ctx, uint16_t queue)
{
    struct vu_session *s = ctx;

    return atomic_load_explicit(&s->vring[queue].kick_fd, memory_order_relaxed);
}

static void vu_config_changed(void *ctx)
{
    struct vu_session *s = ctx;

    if (!vu_has(s, VHOST_USER_PROTOCOL_F_CONFIG))
        return;
    s->config_due = true;
    vu_channel_push(s);
}

static void vu_needs_reset(void *ctx, uint16_t queue, enum vio_fault fault)
{
    struct vu_session *s = ctx;
    struct vu_vring *v = &s->vring[queue];

    (void)fault; /* the core has said it */
    if (v->err_fd >= 0) {
        (void)eventfd_write(v->err_fd, 1);
    } else if (vu_has(s, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS)) {
        v->err_inband = true;
        vu_channel_push(s);
    }
}

static void vu_iotlb_miss(void *ctx, uint16_t queue, uint64_t iova, unsigned access)
{
    struct vu_session *s = ctx;

    s->vring[queue].miss = (struct vhost_user_iotlb){ .iova = iova, .size = 1, .perm = (uint8_t)access,
                                                      .type = VHOST_USER_IOTLB_MISS };
    s->vring[queue].miss_due = true;
    vu_channel_push(s);
}

const struct vio_device_transport_ops vu_transport_ops = {
    .used = vu_used,
    .config_changed = vu_config_changed,
    .needs_reset = vu_needs_reset,
    .iotlb_miss = vu_iotlb_miss,
    .kick_fd = vu_kick_fd,
};
