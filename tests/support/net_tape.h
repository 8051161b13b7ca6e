/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a network backend that keeps what it was given last and delivers what a test feeds it; and that ends the
 * program where a device gives it a packet that no backend may be given. Threads: one.
 */
#ifndef VIO_TESTS_NET_TAPE_H
#define VIO_TESTS_NET_TAPE_H

#include <vio/net.h>

struct net_tape {
    struct vio_net_backend head;
    struct vio_net_info info;
    const struct vio_net_sink *sink; /* while it runs */
    unsigned host;                   /* offloads that packets to it may need; all at first */
    /* what it got */
    unsigned sent, room;
    struct vio_net_hdr hdr; /* the last one */
    uint32_t len;
    uint8_t frame[VIO_NET_FRAME_MAX];
    /* what poll() delivers: `feed` times the same packet */
    struct vio_net_packet packet;
    unsigned feed;
    unsigned guest; /* offloads told */
    bool receive, blocked; /* as last armed */
    unsigned destroyed;
};

/* takes, gives: everything; room for everything. */
void net_tape_init(struct net_tape *t);
/* One packet through the sink, shown to the driver. Whether it is gone; false too where the tape does not run. */
bool net_tape_deliver(struct net_tape *t, const struct vio_net_packet *p);

#endif
