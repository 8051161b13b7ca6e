/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver side of virtio over MMIO (virtio 1.4, 4.2): version 2, and version 1 (legacy), as a transport for
 * vio/driver.h. Where it sits: transport/mmio_driver; freestanding.
 * Threads: as struct vio_transport_ops says. Trust: the device is hostile; each register is read once and checked.
 */
#ifndef VIO_MMIO_DRIVER_H
#define VIO_MMIO_DRIVER_H

#include <vio/driver.h>
#include <vio/io.h>

VIO_PUBLIC_BEGIN

struct vio_mmio_driver_params {
    struct vio_io registers;  /* vio_io_mapped(), not cached by the CPU */
    uint64_t len;             /* bytes of them, the configuration included: 0x100 at least */
    uint64_t address;         /* where they are, for people: "mmio@0xa000000" */
    const struct vio_platform *platform; /* borrowed */
    /*
     * Makes [address, address + len) of the machine's memory reachable: shared memory of the device (virtio 1.4, 2.10).
     * -EFAULT: that is not a place where a device may have any. NULL: shared memory is not used.
     */
    int (*map_shm)(void *ctx, uint64_t address, uint64_t len, void **host);
    void *ctx;
};

/*
 * Looks whether a device is there, and touches nothing. -ENODEV: there is none (also where a platform has only kept the
 * place free); -EPROTO: something that is no virtio device of version 1 or 2; -EINVAL; -ENOMEM. why: VIO_DRV_WHY bytes for
 * a sentence, or NULL.
 */
int vio_mmio_driver_create(const struct vio_mmio_driver_params *params, struct vio_transport **out, char *why)
    VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
