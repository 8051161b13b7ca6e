/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a network device's offloads (enum vio_net_offload of vio/net.h) as feature bits, and back (virtio 1.4, 5.1.3): for
 * the device, and for who shows a tap of the kernel's as one. Where it sits: spec/. Threads: no state.
 */
#ifndef VIO_SPEC_NET_OFFLOADS_H
#define VIO_SPEC_NET_OFFLOADS_H

#include <vio/net.h>

/* Bits to offer by what the device may give to the driver, and takes from it. */
uint64_t virtio_net_guest_bits(unsigned gives);
uint64_t virtio_net_host_bits(unsigned takes);
/* What negotiated bits allow each side. */
unsigned virtio_net_guest_offloads(struct vio_features f);
unsigned virtio_net_host_offloads(struct vio_features f);

#endif
