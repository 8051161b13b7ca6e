/* SPDX-License-Identifier: MIT */
/*
 * Purpose: registers through the window in configuration space (virtio 1.4, 4.1.4.9), for a BAR that cannot be mapped: a
 * firmware that has not given it an address, or a bus that only passes configuration on.
 * Where it sits: transport/pci_driver, freestanding. Threads: one at a time: each access is four of the bus.
 * Trust: a device that does not answer reads as all ones.
 */
#include "spec/pci.h"
#include "transport/pci_driver/pci.h"

static bool aim(const struct pci_window *w, uint64_t offset, unsigned width)
{
    const struct vio_pci_access *a = w->access;

    return a->config_write(a->ctx, w->cap + VIRTIO_PCI_CAP_BAR, 1, w->bar) == 0 &&
           a->config_write(a->ctx, w->cap + VIRTIO_PCI_CAP_LENGTH, 4, width) == 0 &&
           a->config_write(a->ctx, w->cap + VIRTIO_PCI_CAP_OFFSET, 4, w->base + (uint32_t)offset) == 0;
}

static uint32_t window_read(void *ctx, uint64_t offset, unsigned width)
{
    const struct pci_window *w = ctx;
    uint32_t v;

    if (!aim(w, offset, width) || w->access->config_read(w->access->ctx, w->cap + VIRTIO_PCI_CAP_DATA, width, &v) != 0)
        return UINT32_MAX;
    return v;
}

static void window_write(void *ctx, uint64_t offset, unsigned width, uint32_t value)
{
    const struct pci_window *w = ctx;

    if (aim(w, offset, width))
        (void)w->access->config_write(w->access->ctx, w->cap + VIRTIO_PCI_CAP_DATA, width, value);
}

const struct vio_io_ops pci_window_ops = { window_read, window_write };
