/* SPDX-License-Identifier: MIT */
/*
 * Purpose: interrupts as eventfds: a vector for the configuration and one for each queue where MSI-X has as many, else fewer, else
 * INTx; and the kernel's own wish to have the function back. Where it sits: transport/vfio, hosted.
 * Threads: open and close the control thread; a vector its queue's owner. Trust: a count is what the kernel says; an interrupt
 * is only a hint to look.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "base/eventfd.h"
#include "spec/pci.h"
#include "transport/vfio/vfio.h"

/* ------------------------------------------------------------------ VFIO's words */

static int irq_info(struct vfio *v, uint32_t index, struct vfio_irq_info *info)
{
    *info = (struct vfio_irq_info){ .argsz = sizeof(*info), .index = index };
    return v->sys->ioctl(v->sys->ctx, v->device, VFIO_DEVICE_GET_IRQ_INFO, info);
}

/* fds NULL: an action without data on `count` interrupts; 0: all of them end. */
static int set_irqs(struct vfio *v, uint32_t index, uint32_t action, const int32_t *fds, uint32_t count)
{
    union {
        struct vfio_irq_set set;
        uint8_t bytes[sizeof(struct vfio_irq_set) + VFIO_VECTORS_MAX * sizeof(int32_t)];
    } u = { .bytes = { 0 } };

    u.set.argsz = (uint32_t)(sizeof(u.set) + (fds != NULL ? count * sizeof(*fds) : 0));
    u.set.flags = action | (fds != NULL ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
    u.set.index = index;
    u.set.count = count;
    if (fds != NULL)
        memcpy(u.bytes + sizeof(u.set), fds, count * sizeof(*fds));
    return v->sys->ioctl(v->sys->ctx, v->device, VFIO_DEVICE_SET_IRQS, &u);
}

/* ------------------------------------------------------------------ events */

/* How often it was signalled since the last look. */
static uint64_t drain(int fd)
{
    uint64_t n = 0;

    return fd >= 0 && read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

bool vfio_irqs_requested(struct vfio *v)
{
    if (drain(v->request) > 0)
        __atomic_store_n(&v->requested, true, __ATOMIC_RELEASE);
    return __atomic_load_n(&v->requested, __ATOMIC_ACQUIRE);
}

static int event_fd(void *ctx, uint16_t vector)
{
    struct vfio *v = ctx;

    if (vector >= v->nr_vectors)
        return -1;
    return vector == 0 ? v->first : v->vector[vector].fd;
}

/*
 * The first also tells of a request, which is taken note of here, and said by the next look at the status. INTx was masked by
 * the kernel when it came: if the device has more to say by now, it comes again at once.
 */
static void event_clear(void *ctx, uint16_t vector)
{
    struct vfio *v = ctx;

    if (vector >= v->nr_vectors)
        return;
    __atomic_fetch_add(&v->vector[vector].count, drain(v->vector[vector].fd), __ATOMIC_RELAXED);
    if (vector == 0)
        (void)vfio_irqs_requested(v);
    if (!v->msix && v->automasked)
        (void)set_irqs(v, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK, NULL, 1);
}

/* ------------------------------------------------------------------ opening */

static int make_vectors(struct vfio *v, uint32_t n)
{
    v->vector = aligned_alloc(_Alignof(struct vfio_vector), n * sizeof(*v->vector));
    if (v->vector == NULL)
        return vfio_fail(v, -ENOMEM, "no memory for %u vectors", n);
    for (v->nr_vectors = 0; v->nr_vectors < n; v->nr_vectors++) {
        int fd = -1, r = vio_eventfd_need(&fd);

        if (r != 0)
            return vfio_fail(v, r, "no eventfd for vector %u of %u: %s", v->nr_vectors, n, strerror(-r));
        v->vector[v->nr_vectors] = (struct vfio_vector){ .fd = fd };
    }
    return 0;
}

static void drop_vectors(struct vfio *v, uint16_t keep)
{
    while (v->nr_vectors > keep)
        close(v->vector[--v->nr_vectors].fd);
}

/* The kernel may have fewer than the device: it says how many when it is asked for more. */
static int enable_msix(struct vfio *v)
{
    int32_t fds[VFIO_VECTORS_MAX];
    int r = -ENOSPC;

    for (uint16_t i = 0; i < v->nr_vectors; i++)
        fds[i] = v->vector[i].fd;
    while (v->nr_vectors > 0) {
        r = set_irqs(v, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, fds, v->nr_vectors);
        if (r == 0 || (r < 0 && r != -ENOSPC) || v->nr_vectors == 1)
            break;
        drop_vectors(v, r > 0 && r < v->nr_vectors ? (uint16_t)r : (uint16_t)(v->nr_vectors / 2));
    }
    return r > 0 ? -ENOSPC : r;
}

static int open_msix(struct vfio *v, uint32_t count)
{
    int r = make_vectors(v, (uint32_t)vio_min_u64(count, VFIO_VECTORS_MAX));

    if (r != 0)
        return r;
    r = enable_msix(v);
    if (r != 0)
        return vfio_fail(v, r, "MSI-X cannot be enabled: %s", strerror(-r));
    v->msix = true;
    return 0;
}

static int open_intx(struct vfio *v)
{
    struct vfio_irq_info info;
    int32_t fd;
    int r;

    if (irq_info(v, VFIO_PCI_INTX_IRQ_INDEX, &info) < 0 || info.count == 0 || (info.flags & VFIO_IRQ_INFO_EVENTFD) == 0) {
        vio_log(v->log, VIO_LOG_WARNING, v->place.address, "it has no interrupt: it can only be polled");
        return 0;
    }
    r = make_vectors(v, 1);
    if (r != 0)
        return r;
    fd = v->vector[0].fd;
    r = set_irqs(v, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, &fd, 1);
    if (r < 0)
        return vfio_fail(v, r, "its interrupt cannot be enabled: %s", strerror(-r));
    v->automasked = (info.flags & VFIO_IRQ_INFO_AUTOMASKED) != 0;
    return 0;
}

/* Without it the kernel waits for the program, and nobody tells that one. */
static int open_request(struct vfio *v)
{
    struct vfio_irq_info info;
    int32_t fd;
    int r;

    if (irq_info(v, VFIO_PCI_REQ_IRQ_INDEX, &info) < 0 || info.count == 0 || (info.flags & VFIO_IRQ_INFO_EVENTFD) == 0)
        return 0;
    r = vio_eventfd_need(&v->request);
    if (r != 0)
        return vfio_fail(v, r, "no eventfd: %s", strerror(-r));
    fd = v->request;
    if (set_irqs(v, VFIO_PCI_REQ_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, &fd, 1) < 0)
        vio_eventfd_close(&v->request);
    return 0;
}

static int watch(struct vfio *v, int fd)
{
    int r = fd >= 0 ? vio_epoll_add(v->first, fd, EPOLLIN) : 0;

    return r != 0 ? vfio_fail(v, r, "no epoll: %s", strerror(-r)) : 0;
}

static int open_first(struct vfio *v)
{
    int r;

    if (v->nr_vectors == 0)
        return 0;
    v->first = epoll_create1(EPOLL_CLOEXEC);
    if (v->first < 0)
        return vfio_fail(v, -errno, "no epoll: %s", strerror(errno));
    r = watch(v, v->vector[0].fd);
    return r != 0 ? r : watch(v, v->request);
}

int vfio_irqs_open(struct vfio *v)
{
    struct vfio_irq_info info = { 0 };
    int r = open_request(v);

    if (r != 0 || !v->interrupts)
        return r;
    if (irq_info(v, VFIO_PCI_MSIX_IRQ_INDEX, &info) >= 0 && info.count > 0 && (info.flags & VFIO_IRQ_INFO_EVENTFD) != 0)
        r = open_msix(v, info.count);
    else
        r = open_intx(v);
    if (r == 0)
        r = open_first(v);
    if (r == 0 && v->nr_vectors > 0) {
        v->access.event_fd = event_fd;
        v->access.event_clear = event_clear;
    }
    return r;
}

void vfio_irqs_close(struct vfio *v)
{
    if (v->device >= 0 && v->nr_vectors > 0)
        (void)set_irqs(v, v->msix ? VFIO_PCI_MSIX_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, NULL, 0);
    if (v->device >= 0 && v->request >= 0)
        (void)set_irqs(v, VFIO_PCI_REQ_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, NULL, 0);
    vio_eventfd_close(&v->first);
    vio_eventfd_close(&v->request);
    drop_vectors(v, 0);
    free(v->vector);
    v->vector = NULL;
}
