/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a PCI function that Linux gives to this program by VFIO, as a transport for vio/driver.h: virtio-pci in user space,
 * behind an IOMMU or without one, its MSI-X vectors as eventfds. Where it sits: transport/vfio, hosted, over vio/pci_driver.h.
 * Threads: as struct vio_transport_ops says.
 * Trust: the device is hostile, and so is what the kernel passes on of it: sizes and lists are checked once. Behind an IOMMU the
 * device reaches the arena and nothing else. WITHOUT ONE THERE IS NO PROTECTION: it can read and write all of the machine's
 * memory, and so can whoever may tell it where.
 */
#ifndef VIO_VFIO_H
#define VIO_VFIO_H

#include <vio/arena.h>
#include <vio/driver.h>

VIO_PUBLIC_BEGIN

struct vio_vfio_params {
    const char *address;      /* of the function: "0000:00:04.0", or "00:04.0" in domain 0; copied */
    struct vio_arena *arena;  /* memory for rings and buffers, and the platform; borrowed, and reached by the device as a whole */
    bool legacy;              /* by the legacy interface, also where the device has both */
    bool no_interrupts;       /* polled only: no vector is asked for, no event_fd */
    const struct vio_log *log; /* may be NULL */
};

/*
 * Opens the function, which is bound to vfio-pci, resets it where it can be, and lets it reach the arena. It is this program's
 * alone until the transport is destroyed. why: VIO_DRV_WHY bytes for a sentence that says what to do, or NULL.
 * -EADDRNOTAVAIL: the device uses physical addresses, for no IOMMU stands before it or it does not offer ACCESS_PLATFORM
 * (virtio 1.4, 6): try again with an arena that is `physical` (vio/arena.h).
 * -ENODEV: no such function, not bound to vfio-pci, or no virtio device; -EACCES, -EPERM: no right to; -EBUSY: in use, or another
 * device of its IOMMU group has another driver; -ERANGE: the IOMMU takes no such address as the arena's `base`; -ENOMEM: also
 * more than may be locked; -EINVAL: an address that is none, no arena; what vio_pci_driver_create() says; or the errno of the
 * call that failed.
 */
int vio_vfio_create(const struct vio_vfio_params *params, struct vio_transport **out, char *why) VIO_MUST_CHECK;

/* ---- what only VFIO has; t: made by vio_vfio_create() */

/* Where the function's DMA goes. */
enum vio_vfio_dma {
    VIO_VFIO_IOMMU,     /* through an IOMMU, at the arena's own addresses */
    VIO_VFIO_IDENTITY,  /* through an IOMMU that is set so that each address is the physical one: the arena is physical */
    VIO_VFIO_UNGUARDED, /* no IOMMU: nothing keeps the device from any memory */
};
enum vio_vfio_dma vio_vfio_dma(struct vio_transport *t);
/* MSI-X vectors in use; 0: INTx, or none. Queues that share one have the same event_fd, and one thread that polls it. */
uint16_t vio_vfio_vectors(struct vio_transport *t);
/*
 * How many interrupts of each have been taken note of: index 0 is the configuration's (all of them, with INTx), then the
 * queues'. Any thread.
 */
uint64_t vio_vfio_interrupts(struct vio_transport *t, uint16_t vector);

VIO_PUBLIC_END

#endif
