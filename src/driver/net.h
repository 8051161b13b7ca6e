/* SPDX-License-Identifier: MIT */
/*
 * Purpose: frames over one driver-side queue: sending and receiving, without a device around them. Where it sits: driver/, private,
 * over vio_drvq; freestanding; no call allocates, blocks or notifies.
 * Threads: one owner each. Trust: see vio/drv_net.h.
 */
#ifndef VIO_DRIVER_NET_H
#define VIO_DRIVER_NET_H

#include <vio/drv_net.h>

/* Of both kinds: what was agreed, once and for all of its frames. */
struct vio_drvnet_shape {
    uint8_t header;    /* bytes */
    bool mergeable;    /* MRG_RXBUF */
    bool hash;         /* HASH_REPORT */
    bool offloads;     /* the header of a received frame says something */
    bool apart;        /* legacy without ANY_LAYOUT: the header has a descriptor of its own */
    uint8_t csum;      /* VIRTIO_NET_HDR_F_* that may be received */
    uint32_t gso;      /* bits: gso_types that may be received */
};
struct vio_drvnet_shape vio_drvnet_shape(struct vio_features features, bool legacy);

struct vio_drvnet_tx {
    struct vio_drvq *queue;
    struct vio_drvnet_shape shape;
};

struct vio_drvnet_rx {
    struct vio_drvq *queue;
    struct vio_drvnet_shape shape;
    struct vio_drv_net_counters counters;
    struct vio_net_buf *first, *last; /* a frame of which pieces are missing */
    uint16_t missing;
};

unsigned vio_drvnet_put(struct vio_drvnet_tx *tx, struct vio_net_buf *const *frames, unsigned nr);
unsigned vio_drvnet_done(struct vio_drvnet_tx *tx, struct vio_net_buf **frames, unsigned max);
unsigned vio_drvnet_give(struct vio_drvnet_rx *rx, struct vio_net_buf *const *bufs, unsigned nr);
unsigned vio_drvnet_receive(struct vio_drvnet_rx *rx, struct vio_net_buf **frames, unsigned max);
/* After a reset: a buffer or frame that did not come back, also the pieces of an unfinished one. NULL: none. */
struct vio_net_buf *vio_drvnet_lost(struct vio_drvq *queue);
struct vio_net_buf *vio_drvnet_unfinished(struct vio_drvnet_rx *rx);

#endif
