/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a network device on a backend that carries no packets and only remembers what it was told: for tests of the
 * control side, which look into struct net. Threads: one.
 */
#ifndef VIO_TESTS_FAKE_NET_H
#define VIO_TESTS_FAKE_NET_H

#include "device/net_internal.h"

struct fake_net {
    struct vio_net_backend head;
    struct vio_net_info info;
    unsigned offloads;      /* as last told */
    unsigned offloads_told; /* how often */
    unsigned destroyed;
    uint16_t mtu;             /* of the device; the rest is fixed: 52:54:00:12:34:56, 10 Gbit/s */
    struct vio_features mask; /* not to be offered */
    struct vio_device *dev;
    struct net *net;
};

/* A backend that takes and gives all offloads; MTU 1500. */
void fake_net_init(struct fake_net *f);
/* The device, with 2 * pairs + 1 queues. 0, or as vio_net_create(). */
int fake_net_create(struct fake_net *f, uint16_t pairs, const struct vio_log *log);
/* The queue number of the control queue that was negotiated. */
uint16_t fake_net_ctrl(const struct fake_net *f);

#endif
