/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vhost in the kernel, driver side: /dev/vhost-net with a tap, /dev/vhost-vsock, /dev/vhost-scsi as transports for the
 * driver core. A program in user space has packets, sockets or disks of the kernel's by virtqueues that the kernel itself
 * works on: the kernel has the device's data path, and this transport what the kernel leaves to a VMM.
 * Where it sits: transport/vhost_kernel, below driver/core.
 * Threads: the control thread, which owns the control queue of a network device; notifications of a queue are its owner's.
 * Trust: the kernel is believed no more than a device: numbers that it answers with are checked, and what it writes in rings
 * is checked by ring/.
 */
#ifndef VIO_VHOST_KERNEL_H
#define VIO_VHOST_KERNEL_H

#include <vio/arena.h>
#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum { VIO_VHOST_KERNEL_PAIRS_MAX = 64, VIO_VHOST_KERNEL_REQUEST_QUEUES_MAX = 64 };

struct vio_vhost_kernel_params {
    uint32_t type;           /* device id (virtio 1.4, 5): 1 network, 8 SCSI host, 19 socket */
    const char *node;        /* NULL: /dev/vhost-net, /dev/vhost-scsi, /dev/vhost-vsock */
    struct vio_arena *arena; /* memory for rings and buffers, and the platform; borrowed; the kernel reaches it as a whole */
    /*
     * Network: pairs of queues; with several there is a control queue, served by the transport, by which a driver says how many are
     * in use (MQ). SCSI: queues of requests. 0: one.
     */
    uint16_t queues;

    /*
     * Network. The tap: its name; where there is none it is made, and ends with the transport. One %d stands for a free number.
     * NULL: "vio%d". With several pairs it must be one for several queues. An interface that is made is brought up.
     */
    const char *tap;
    const int *tap_fds;      /* or taps that are open already, one for each pair; taken on success. NULL: `tap` */
    const char *tap_address; /* of the interface, "192.0.2.1/24"; NULL: as it is */
    uint8_t mac[6];          /* the driver's; all zero: one that is made up, locally administered */

    uint64_t cid;            /* socket: this driver's address; 3 to 2^32 - 2, and nobody else's */

    const char *wwpn;        /* SCSI: the target port, "naa.5001405..." */
    uint16_t tpgt;           /* SCSI: its portal group; units are at this number of target */

    const struct vio_log *log;
};

/*
 * Opens the node and agrees with the kernel upon everything but features and queues. Strings are copied.
 * why: VIO_DRV_WHY bytes for a sentence, or NULL. -EINVAL: parameters that cannot be, a physical arena among them; -ENOENT,
 * -ENXIO, -ENODEV: no such node, or no module behind it; -EACCES, -EPERM: it may not be opened; -EBUSY: the tap is in use;
 * -EADDRINUSE: the CID is; -ENOTSUP: a kernel too old for virtio 1; or the errno of what failed.
 * What is not in a transport of this kind: the packed ring, and for SCSI and sockets the reset of one queue. A socket device's
 * event queue is there, and nothing comes on it. A SCSI target that is not there is told when the device starts (DRIVER_OK), by a
 * driver that fails.
 */
int vio_vhost_kernel_create(const struct vio_vhost_kernel_params *params, struct vio_transport **out, char *why) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
