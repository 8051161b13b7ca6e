/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver side of virtio over PCI (virtio 1.4, 4.1): modern and transitional devices, and the legacy interface,
 * as a transport for vio/driver.h. Where it sits: transport/pci_driver; freestanding: configuration space and BARs are
 * reached through a table that a firmware, a kernel, VFIO or a test fills in.
 * Threads: as struct vio_transport_ops says. Trust: the device is hostile; its capabilities are checked against its BARs,
 * each register is read once and checked.
 */
#ifndef VIO_PCI_DRIVER_H
#define VIO_PCI_DRIVER_H

#include <vio/driver.h>
#include <vio/io.h>

VIO_PUBLIC_BEGIN

enum { VIO_PCI_BARS = 6 };

/* One PCI function. All return 0 or -errno. BARs have their addresses already. */
struct vio_pci_access {
    /* Configuration space: width 1, 2 or 4, aligned; values in host order. */
    int (*config_read)(void *ctx, uint32_t offset, unsigned width, uint32_t *value);
    int (*config_write)(void *ctx, uint32_t offset, unsigned width, uint32_t value);
    /* How long BAR `bar` is, and whether it is I/O ports. -ENOENT: there is none. */
    int (*bar)(void *ctx, unsigned bar, uint64_t *len, bool *ports);
    /*
     * Registers of it: [offset, offset + len) lies within. They stay until close. -ENOTSUP: it cannot be reached; then the
     * window in configuration space is used, where the device has one (virtio 1.4, 4.1.4.9).
     */
    int (*map)(void *ctx, unsigned bar, uint64_t offset, uint64_t len, struct vio_io *registers);
    /* The same as memory, for shared memory regions (virtio 1.4, 2.10). NULL: they are not used. */
    int (*map_shm)(void *ctx, unsigned bar, uint64_t offset, uint64_t len, void **host);
    /*
     * What polls readable when this MSI-X vector (with INTx: 0) comes; and takes note of it. INTx may come again after that: ISR
     * was read before. NULL: none.
     */
    int (*event_fd)(void *ctx, uint16_t vector);
    void (*event_clear)(void *ctx, uint16_t vector);
    void (*close)(void *ctx); /* the transport is destroyed. NULL: nothing to do */
    void *ctx;
};

struct vio_pci_driver_params {
    const struct vio_pci_access *access;
    const char *name; /* for people: "0000:00:04.0" */
    const struct vio_platform *platform; /* borrowed, as access is */
    /*
     * MSI-X vectors that the caller has set up and enabled: 0 for changes of the configuration, the others for the queues
     * in turn; a single one for all. 0: INTx, or nothing but looking.
     */
    uint16_t vectors;
    bool legacy; /* by the legacy interface, also where the device has both */
};

/*
 * Looks whether a device is there, and turns on its decoders and bus mastering. -ENODEV: no virtio device; -EPROTO: one that
 * contradicts itself; -ENOTSUP: neither interface can be used; -EINVAL, -ENOMEM, -EIO. After a failure access is still
 * the caller's to close. why: VIO_DRV_WHY bytes for a sentence, or NULL.
 */
int vio_pci_driver_create(const struct vio_pci_driver_params *params, struct vio_transport **out, char *why) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
