/* SPDX-License-Identifier: MIT */
/* Purpose: see fake_vhost.h. Where it sits: tests/support. */
#include "fake_vhost.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* Whether this call is to fail. */
static int failing(struct fake_vhost *k, unsigned long request)
{
    k->calls++;
    return (k->fail_at != 0 && k->calls == k->fail_at) || (request != 0 && request == k->fail_request) ? -k->fail_error : 0;
}

static int fake_open(void *ctx, const char *path)
{
    struct fake_vhost *k = ctx;
    int error = failing(k, 0);

    snprintf(k->path, sizeof(k->path), "%s", path);
    if (error != 0)
        return error;
    assert_true(k->nr_files < FAKE_VHOST_FILES);
    k->file[k->nr_files].open = true;
    k->file[k->nr_files].fd = 1000 + (int)k->nr_files;
    return k->file[k->nr_files++].fd;
}

static void fake_close(void *ctx, int fd)
{
    struct fake_vhost *k = ctx;

    k->closed++;
    for (unsigned i = 0; i < k->nr_files; i++) {
        if (k->file[i].fd == fd) {
            assert_true(k->file[i].open);
            k->file[i].open = false;
            return;
        }
    }
    for (unsigned i = 0; i < k->nr_taps; i++) {
        if (k->tap[i] == fd) {
            k->tap[i] = -1;
            return;
        }
    }
    fail_msg("descriptor %d was not open", fd);
}

static struct fake_ring *ring_of(struct fake_vhost_file *f, uint32_t index)
{
    assert_true(f->owned && index < FAKE_VHOST_RINGS);
    return &f->ring[index];
}

/* The real one refuses these while it works on the ring. */
static int ring_number(struct fake_vhost *k, struct fake_vhost_file *f, unsigned long request, struct vio_vhost_vring_state *s)
{
    struct fake_ring *r = ring_of(f, s->index);

    if (request == VIO_VHOST_GET_VRING_BASE) {
        s->index += k->base_index;
        s->num = r->base | k->base_or;
        return 0;
    }
    if (r->backend >= 0)
        return -EBUSY;
    if (request == VIO_VHOST_SET_VRING_NUM && (s->num == 0 || s->num > 0xffff || (s->num & (s->num - 1)) != 0))
        return -EINVAL;
    *(request == VIO_VHOST_SET_VRING_NUM ? &r->num : &r->base) = s->num;
    return 0;
}

static int ring_addresses(struct fake_vhost_file *f, const struct vio_vhost_vring_addr *a)
{
    const struct vio_vhost_region *m = &f->memory.region[0];
    struct fake_ring *r = ring_of(f, a->index);

    assert_true(f->remembered && a->flags == 0);
    if (a->desc < m->user_addr || a->avail < m->user_addr || a->used < m->user_addr || a->desc >= m->user_addr + m->size ||
        a->avail >= m->user_addr + m->size || a->used >= m->user_addr + m->size)
        return -EFAULT;
    r->addr = *a;
    return 0;
}

static int ring_file(struct fake_vhost_file *f, unsigned long request, const struct vio_vhost_vring_file *a)
{
    struct fake_ring *r = ring_of(f, a->index);

    switch (request) {
    case VIO_VHOST_SET_VRING_KICK: r->kick = a->fd; break;
    case VIO_VHOST_SET_VRING_CALL: r->call = a->fd; break;
    case VIO_VHOST_SET_VRING_ERR: r->error = a->fd; break;
    default:
        if (a->fd >= 0 && (r->num == 0 || r->addr.desc == 0))
            return -EFAULT;
        r->backend = a->fd;
    }
    return 0;
}

static void run_all(struct fake_vhost_file *f, bool on)
{
    for (unsigned i = 0; i < FAKE_VHOST_RINGS; i++)
        if (f->ring[i].num != 0)
            f->ring[i].backend = on ? 0 : -1;
}

static int endpoint(struct fake_vhost *k, struct fake_vhost_file *f, unsigned long request, const struct vio_vhost_scsi_target *t)
{
    if (t->reserved != 0)
        return -EOPNOTSUPP;
    if (strcmp(t->wwpn, k->wwpn) != 0)
        return -EEXIST;
    run_all(f, request == VIO_VHOST_SCSI_SET_ENDPOINT);
    return 0;
}

static int kind_ioctl(struct fake_vhost *k, struct fake_vhost_file *f, unsigned long request, void *arg)
{
    switch (request) {
    case VIO_VHOST_NET_SET_BACKEND: return k->type == VIRTIO_ID_NET ? ring_file(f, request, arg) : -ENOTTY;
    case VIO_VHOST_VSOCK_SET_GUEST_CID: memcpy(&k->cid, arg, sizeof(k->cid)); return k->cid == 99 ? -EADDRINUSE : 0;
    case VIO_VHOST_VSOCK_SET_RUNNING: run_all(f, *(int *)arg != 0); return 0;
    case VIO_VHOST_SCSI_GET_ABI_VERSION: *(int *)arg = k->abi_version; return 0;
    case VIO_VHOST_SCSI_SET_ENDPOINT:
    case VIO_VHOST_SCSI_CLEAR_ENDPOINT: return endpoint(k, f, request, arg);
    default: return -ENOTTY;
    }
}

static int fake_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
    struct fake_vhost *k = ctx;
    struct fake_vhost_file *f = &k->file[fd - 1000];
    int error = failing(k, request);

    assert_true(fd >= 1000 && fd < 1000 + (int)k->nr_files && f->open);
    if (error != 0)
        return error;
    switch (request) {
    case VIO_VHOST_GET_FEATURES: memcpy(arg, &k->features, sizeof(k->features)); return 0;
    case VIO_VHOST_SET_FEATURES:
        memcpy(&f->features, arg, sizeof(f->features));
        return (f->features & ~k->features) != 0 ? -EOPNOTSUPP : 0;
    case VIO_VHOST_SET_OWNER:
        assert_false(f->owned);
        f->owned = true;
        return 0;
    case VIO_VHOST_SET_MEM_TABLE:
        memcpy(&f->memory, arg, sizeof(f->memory));
        assert_true(f->owned && f->memory.nregions == 1 && f->memory.padding == 0);
        f->remembered = true;
        return 0;
    case VIO_VHOST_SET_VRING_NUM:
    case VIO_VHOST_SET_VRING_BASE:
    case VIO_VHOST_GET_VRING_BASE: return ring_number(k, f, request, arg);
    case VIO_VHOST_SET_VRING_ADDR: return ring_addresses(f, arg);
    case VIO_VHOST_SET_VRING_KICK:
    case VIO_VHOST_SET_VRING_CALL:
    case VIO_VHOST_SET_VRING_ERR: return ring_file(f, request, arg);
    default: return kind_ioctl(k, f, request, arg);
    }
}

/* ------------------------------------------------------------------ the tap */

static int tap_failed(int error, char *why, size_t why_size)
{
    if (error != 0)
        snprintf(why, why_size, "the tap fails");
    return error;
}

static int fake_tap_open(void *ctx, const struct vio_net_tap_params *params, struct tap_host *out, char *why, size_t why_size)
{
    struct fake_vhost *k = ctx;
    int error = tap_failed(failing(k, 0), why, why_size);

    if (error != 0)
        return error;
    *out = (struct tap_host){ .fd = params->fd >= 0 ? params->fd : 2000, .vnet = !k->no_vnet, .takes = VIO_NET_OFFLOADS,
                              .gives = VIO_NET_CSUM | VIO_NET_TSO4, .multi = params->queues > 1, .mtu = k->link.mtu };
    snprintf(out->name, sizeof(out->name), "%s", params->name != NULL ? params->name : "vio0");
    k->attached[k->nr_taps] = true;
    k->tap[k->nr_taps++] = out->fd;
    return 0;
}

static int fake_tap_queue(void *ctx, const struct tap_host *host, int given, int *fd, char *why, size_t why_size)
{
    struct fake_vhost *k = ctx;
    int error = tap_failed(failing(k, 0), why, why_size);

    if (error != 0)
        return error;
    assert_true(host->multi && k->nr_taps < FAKE_VHOST_TAPS);
    k->attached[k->nr_taps] = false;
    k->tap[k->nr_taps] = *fd = given >= 0 ? given : 2000 + (int)k->nr_taps;
    k->nr_taps++;
    return 0;
}

static int fake_tap_use(void *ctx, int fd, bool use)
{
    struct fake_vhost *k = ctx;
    int error = failing(k, 0);

    for (unsigned i = 0; error == 0 && i < k->nr_taps; i++)
        if (k->tap[i] == fd)
            k->attached[i] = use;
    return error;
}

static int fake_tap_offloads(void *ctx, const struct tap_host *host, unsigned offloads)
{
    struct fake_vhost *k = ctx;
    int error = failing(k, 0);

    assert_true((offloads & ~host->gives) == 0);
    if (error == 0)
        k->offloads = offloads;
    return error;
}

static int fake_tap_link(void *ctx, const struct tap_host *host, struct tap_link *link)
{
    struct fake_vhost *k = ctx;

    (void)host;
    *link = k->link;
    return k->no_link ? -ENODEV : 0;
}

static int fake_tap_watch(void *ctx)
{
    struct fake_vhost *k = ctx;
    int error = failing(k, 0);

    if (error != 0)
        return error;
    assert_int_equal(pipe2(k->watch, O_NONBLOCK | O_CLOEXEC), 0);
    return k->watch[0];
}

/* ------------------------------------------------------------------ life */

void fake_vhost_init(struct fake_vhost *k, uint32_t type)
{
    *k = (struct fake_vhost){ .type = type, .features = UINT64_MAX, .link = { true, 1500 }, .watch = { -1, -1 }, .abi_version = 1,
                              .fail_error = EIO, .wwpn = "naa.1" };
    k->sys = (struct vk_sys){ fake_open, fake_ioctl, fake_close, fake_tap_open, fake_tap_queue, fake_tap_use, fake_tap_offloads,
                              fake_tap_link, fake_tap_watch, k };
    for (unsigned i = 0; i < FAKE_VHOST_FILES; i++)
        for (unsigned q = 0; q < FAKE_VHOST_RINGS; q++)
            k->file[i].ring[q] = (struct fake_ring){ .kick = -1, .call = -1, .error = -1, .backend = -1 };
}

void fake_vhost_end(struct fake_vhost *k)
{
    for (unsigned i = 0; i < k->nr_files; i++)
        assert_false(k->file[i].open);
    if (k->watch[1] >= 0) {
        assert_int_equal(fcntl(k->watch[0], F_GETFD), -1); /* the transport's */
        close(k->watch[1]);
    }
}
