/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what is said to a vhost node by ioctls, and what its refusals mean for a person. Where it sits:
 * transport/vhost_kernel, below driver.c and the kinds. Threads: the control thread.
 * Trust: the kernel's numbers are checked: features against what is known, an index against the ring.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include "transport/vhost_kernel/internal.h"

/* ------------------------------------------------------------------ the system */

static int system_open(void *ctx, const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    (void)ctx;
    return fd < 0 ? -errno : fd;
}

static int system_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
    (void)ctx;
    return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static void system_close(void *ctx, int fd)
{
    (void)ctx;
    close(fd);
}

static int system_tap_open(void *ctx, const struct vio_net_tap_params *params, struct tap_host *out, char *why, size_t why_size)
{
    (void)ctx;
    return tap_host_open(params, out, why, why_size);
}

static int system_tap_queue(void *ctx, const struct tap_host *host, int given, int *fd, char *why, size_t why_size)
{
    (void)ctx;
    return tap_host_queue(host, given, fd, why, why_size);
}

static int system_tap_use(void *ctx, int fd, bool use)
{
    (void)ctx;
    return tap_host_use(fd, use);
}

static int system_tap_offloads(void *ctx, const struct tap_host *host, unsigned offloads)
{
    (void)ctx;
    return tap_host_offloads(host, offloads);
}

static int system_tap_link(void *ctx, const struct tap_host *host, struct tap_link *link)
{
    (void)ctx;
    return tap_host_link(host, link);
}

static int system_tap_watch(void *ctx)
{
    (void)ctx;
    return tap_host_watch();
}

const struct vk_sys vk_system = {
    .open = system_open,
    .ioctl = system_ioctl,
    .close = system_close,
    .tap_open = system_tap_open,
    .tap_queue = system_tap_queue,
    .tap_use = system_tap_use,
    .tap_offloads = system_tap_offloads,
    .tap_link = system_tap_link,
    .tap_watch = system_tap_watch,
};

/* ------------------------------------------------------------------ sentences */

int vk_fail(struct vio_vk *v, int error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(v->why, sizeof(v->why), format, ap);
    va_end(ap);
    return error;
}

int vk_ioctl(struct vio_vk *v, unsigned file, unsigned long request, void *arg, const char *name)
{
    int error = v->sys->ioctl(v->sys->ctx, v->file[file], request, arg);

    if (error == -ENOTTY)
        return vk_fail(v, error, "%s: %s is not known there: is it a node of %s?", v->node, name, v->kind->module);
    return error != 0 ? vk_fail(v, error, "%s: %s: %s", v->node, name, strerror(-error)) : 0;
}

/* The same for one of a queue, which the sentence names. */
static int queue_ioctl(struct vio_vk *v, unsigned file, uint16_t queue, unsigned long request, void *arg, const char *name)
{
    int error = vk_ioctl(v, file, request, arg, name);

    if (error == 0 || error == -ENOTTY)
        return error;
    return vk_fail(v, error, "%s: queue %u: %s: %s", v->node, queue, name, strerror(-error));
}

static int say_not_opened(struct vio_vk *v, int error)
{
    if (error == -ENOENT || error == -ENODEV || error == -ENXIO)
        return vk_fail(v, error, "%s is not there: load the module (modprobe %s), or in a container pass the device in", v->node,
                       v->kind->module);
    if (error == -EACCES || error == -EPERM)
        return vk_fail(v, error, "%s may not be opened by user %u: let it (chmod 0666 %s), or join the group that may", v->node,
                       (unsigned)geteuid(), v->node);
    return vk_fail(v, error, "%s cannot be opened: %s", v->node, strerror(-error));
}

/* ------------------------------------------------------------------ the node */

/* What the kernel's rings can do; a bit is offered where the kernel has it. */
#define RING_FEATURES                                                                                                      \
    (VIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_VERSION_1) |             \
     VIO_FEATURE(VIRTIO_F_IN_ORDER))

/*
 * The arena is all the memory that there is: one region. No VHOST_SET_BACKEND_FEATURES: what those bits say is about the IOTLB,
 * which is only used with ACCESS_PLATFORM, and that is not offered: the addresses in the rings are those of the region.
 */
static int give_memory(struct vio_vk *v, unsigned file)
{
    struct vio_arena_region r = vio_arena_region(v->arena);
    struct vio_vhost_memory memory = {
        .nregions = 1,
        .region = { { .guest_addr = r.addr, .size = r.size, .user_addr = (uintptr_t)r.host } },
    };

    return vk_ioctl(v, file, VIO_VHOST_SET_MEM_TABLE, &memory, "VHOST_SET_MEM_TABLE");
}

static int read_features(struct vio_vk *v, unsigned file)
{
    uint64_t features = 0;
    int error = vk_ioctl(v, file, VIO_VHOST_GET_FEATURES, &features, "VHOST_GET_FEATURES");

    if (error != 0)
        return error;
    if ((features & VIO_FEATURE(VIRTIO_F_VERSION_1)) == 0)
        return vk_fail(v, -ENOTSUP, "%s does not offer VERSION_1: virtio 1 needs Linux 4.0 or later", v->node);
    features &= v->kind->kernel | RING_FEATURES;
    v->kernel = file == 0 ? features : v->kernel & features;
    return 0;
}

int vk_open_file(struct vio_vk *v)
{
    int fd = v->sys->open(v->sys->ctx, v->node), error;
    unsigned file = v->nr_files;

    if (fd < 0)
        return say_not_opened(v, fd);
    v->file[v->nr_files++] = fd;
    error = read_features(v, file);
    if (error == 0)
        error = vk_ioctl(v, file, VIO_VHOST_SET_OWNER, NULL, "VHOST_SET_OWNER");
    return error != 0 ? error : give_memory(v, file);
}

void vk_close_files(struct vio_vk *v)
{
    while (v->nr_files > 0)
        v->sys->close(v->sys->ctx, v->file[--v->nr_files]);
}

int vk_set_features(struct vio_vk *v)
{
    uint64_t bits = v->features.w[0] & v->kernel;
    int error = 0;

    for (unsigned i = 0; error == 0 && i < v->nr_files; i++)
        error = vk_ioctl(v, i, VIO_VHOST_SET_FEATURES, &bits, "VHOST_SET_FEATURES");
    return error;
}

/* ------------------------------------------------------------------ rings */

/* Where a queue is for the kernel. */
struct ring_place {
    uint16_t queue;
    unsigned file, index;
};

static int give_fd(struct vio_vk *v, const struct ring_place *at, unsigned long request, int fd, const char *name)
{
    struct vio_vhost_vring_file state = { .index = at->index, .fd = fd };

    return queue_ioctl(v, at->file, at->queue, request, &state, name);
}

static int give_number(struct vio_vk *v, const struct ring_place *at, unsigned long request, uint32_t num, const char *name)
{
    struct vio_vhost_vring_state state = { .index = at->index, .num = num };

    return queue_ioctl(v, at->file, at->queue, request, &state, name);
}

static int give_addresses(struct vio_vk *v, const struct ring_place *at)
{
    const struct vio_transport_queue *q = &v->queue[at->queue].told;
    struct vio_vhost_vring_addr a = { .index = at->index, .desc = (uintptr_t)q->desc, .avail = (uintptr_t)q->driver,
                                      .used = (uintptr_t)q->device };

    return queue_ioctl(v, at->file, at->queue, VIO_VHOST_SET_VRING_ADDR, &a, "VHOST_SET_VRING_ADDR");
}

int vk_ring_start(struct vio_vk *v, uint16_t queue)
{
    const struct vk_queue *q = &v->queue[queue];
    uint32_t base = vio_queue_state_pack(&q->told.cfg.state, false);
    struct ring_place at = { .queue = queue };
    int error;

    if (!v->kind->place(v, queue, &at.file, &at.index))
        return 0;
    error = give_number(v, &at, VIO_VHOST_SET_VRING_NUM, q->told.cfg.size, "VHOST_SET_VRING_NUM");
    if (error == 0)
        error = give_number(v, &at, VIO_VHOST_SET_VRING_BASE, base, "VHOST_SET_VRING_BASE");
    if (error == 0)
        error = give_addresses(v, &at);
    if (error == 0)
        error = give_fd(v, &at, VIO_VHOST_SET_VRING_ERR, q->error_fd, "VHOST_SET_VRING_ERR");
    if (error == 0)
        error = give_fd(v, &at, VIO_VHOST_SET_VRING_CALL, q->told.polled ? -1 : q->call_fd, "VHOST_SET_VRING_CALL");
    if (error == 0)
        error = give_fd(v, &at, VIO_VHOST_SET_VRING_KICK, q->kick_fd, "VHOST_SET_VRING_KICK");
    return error;
}

int vk_ring_base(struct vio_vk *v, uint16_t queue, struct vio_queue_state *state)
{
    struct vio_vhost_vring_state base = { 0 };
    uint32_t index;
    unsigned file = 0;
    int error;

    *state = v->queue[queue].told.cfg.state;
    if (!v->kind->place(v, queue, &file, &base.index))
        return 0;
    index = base.index;
    error = queue_ioctl(v, file, queue, VIO_VHOST_GET_VRING_BASE, &base, "VHOST_GET_VRING_BASE");
    if (error != 0)
        return error;
    if (base.index != index || base.num > UINT16_MAX)
        return vk_fail(v, -EPROTO, "%s: queue %u: VHOST_GET_VRING_BASE says 0x%x, and an index has 16 bits", v->node, queue, base.num);
    vio_queue_state_unpack(state, false, base.num);
    return 0;
}

int vk_watch(struct vio_vk *v, int fd)
{
    int error = vio_epoll_add(v->events_fd, fd, EPOLLIN);

    return error != 0 ? vk_fail(v, error, "epoll: %s", strerror(-error)) : 0;
}
