/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the network driver's files share. Where it sits: driver/, private, freestanding.
 * Threads: each struct vio_drvnet_tx and _rx is its owner's; `status` and `mtu` are read by all and written by the control thread,
 * as whole words; the control queue is the control thread's; the rest is fixed from probe to remove.
 */
#ifndef VIO_DRIVER_NET_INTERNAL_H
#define VIO_DRIVER_NET_INTERNAL_H

#include "driver/net.h"
#include "spec/net.h"

enum { DRV_NET_CTRL = 4096, DRV_NET_CTRL_REPLY = 1024 }; /* bytes of a command, and of what it is answered */

struct drv_net_pair {
    _Alignas(64) struct vio_drvnet_rx rx;
    _Alignas(64) struct vio_drvnet_tx tx;
};

struct vio_drv_net {
    struct vio_drvdev *d;
    const struct vio_drv_net_params *params;
    struct vio_drv_net_info info; /* link_up, announce and mtu: see above */
    struct drv_net_pair *pair;
    size_t pair_bytes;
    uint16_t status, mtu;
    bool ctrl_lost;      /* a command was not answered in time: its memory is the device's still */
    uint16_t ctrl_queue; /* meaningful with info.control */
    uint8_t *ctrl;
    uint64_t ctrl_addr;
};

/* net_config.c: what the device says, checked. */
int drv_net_configure(struct vio_drv_net *n);
void drv_net_reconfigure(struct vio_drv_net *n);

#endif
