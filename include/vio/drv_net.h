/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of network devices (virtio 1.4, 5.1): bursts of frames in the caller's own buffers on each pair of queues,
 * with their offloads; what the device says of itself and its link; the control queue's commands.
 * Where it sits: driver/, over driver/core; freestanding.
 * Threads: a queue has one owner, which makes the calls marked "queue owner" for it: the two queues of a pair may have
 * different ones, with pools of their own. The rest is the control thread's.
 * Trust: the device is hostile. Lengths are checked by the queue's own record, headers are read once, and what makes no
 * frame is counted and given back as none.
 */
#ifndef VIO_DRV_NET_H
#define VIO_DRV_NET_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum {
    VIO_DRV_NET_PAIRS_MAX = 64,
    VIO_DRV_NET_HEADER_MAX = 20,  /* bytes before a frame: 10 (legacy), 12, 20 (with HASH_REPORT) */
    VIO_DRV_NET_PIECES_MAX = 64,  /* of one frame */
    VIO_DRV_NET_HEADROOM = 64,    /* what a pool leaves before a frame: the frame begins a cache line */
    VIO_DRV_NET_MACS_MAX = 64,    /* addresses in one filter table, of one kind */
    VIO_DRV_NET_RSS_KEY_MAX = 52,
    VIO_DRV_NET_RSS_TABLE_MAX = 512,
};

/* ------------------------------------------------------------------ buffers */

/* What goes into, or stood in, the header before a frame (virtio 1.4, 5.1.9). All 0: nothing is offloaded. */
struct vio_drv_net_offload {
    uint8_t flags;        /* VIRTIO_NET_HDR_F_*, spec/net.h */
    uint8_t gso_type;     /* VIRTIO_NET_HDR_GSO_* */
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t hash_report; /* received, with HASH_REPORT */
    uint32_t hash_value;
};

/*
 * One buffer in memory that the device reaches, and what is in it: a frame, or a piece of one. One cache line. It belongs to the
 * driver from send or give until it comes back.
 */
struct vio_net_buf {
    uint8_t *host;
    uint64_t addr;     /* the same as the device sees it */
    uint32_t size;     /* bytes of it */
    uint32_t len;      /* bytes of data... */
    uint16_t offset;   /* ...from here on. In the first piece of a frame to be sent, room for the header is before it */
    uint16_t pieces;   /* in the first one: how many the frame has. Received: 0: there is none */
    uint32_t unused_;
    struct vio_net_buf *next; /* piece; NULL: the last */
    struct vio_drv_net_offload offload; /* of the frame, in its first piece */
    uint64_t user;     /* the caller's */
};
_Static_assert(sizeof(struct vio_net_buf) <= 64, "a cache line");

static inline uint8_t *vio_net_buf_data(const struct vio_net_buf *b)
{
    return b->host + b->offset;
}

/* Equal buffers, the one that came back last first. One thread at a time. */
struct vio_net_pool;

/* -ENOMEM, -EINVAL. size: bytes of data a buffer holds behind its headroom; in whole cache lines. */
int vio_net_pool_create(const struct vio_platform *platform, uint32_t count, uint32_t size, struct vio_net_pool **out)
    VIO_MUST_CHECK;
/* Every buffer must have come back from the devices. NULL is fine. */
void vio_net_pool_destroy(struct vio_net_pool *pool);
/* n buffers, empty frames of one piece; or none at all, and false. */
bool vio_net_pool_take(struct vio_net_pool *pool, struct vio_net_buf **bufs, unsigned n) VIO_MUST_CHECK;
/* As send_done and receive give them: frames, with all their pieces. */
void vio_net_pool_give(struct vio_net_pool *pool, struct vio_net_buf *const *bufs, unsigned n);
uint32_t vio_net_pool_free(const struct vio_net_pool *pool);
/* The i-th of all, whether it is free or not: to fill frames in advance. */
struct vio_net_buf *vio_net_pool_at(struct vio_net_pool *pool, uint32_t i);

/* ------------------------------------------------------------------ the driver, and how it is wanted */

struct vio_drv_net_params {
    uint16_t pairs;      /* of queues; 0: one. At most what the device has */
    uint16_t queue_size; /* 0: the largest, at most 256 */
    uint16_t indirect_max; /* descriptors of a frame of several pieces that go into a table; 0: no tables */
    /* Used buffers are there, from vio_drvdev_event(). NULL: queues are polled. Queue owner. */
    void (*used)(void *ctx, struct vio_drvdev *d, uint16_t queue);
    /* Link, announcement, MTU... changed: vio_drv_net_info(). NULL: of no interest. */
    void (*changed)(void *ctx, struct vio_drvdev *d);
    /* The device was reset: a frame that was to be sent, or a buffer that waited for one, comes back. NULL: of no interest. */
    void (*lost)(void *ctx, struct vio_drvdev *d, uint16_t queue, struct vio_net_buf *buf);
    void *ctx;
};

/* All defaults. */
extern const struct vio_driver vio_driver_net;

/* As struct vio_drv_blk_driver (vio/drv_blk.h). What must not be used, MRG_RXBUF say, is taken out of driver.features. */
struct vio_drv_net_driver {
    struct vio_driver driver;
    struct vio_drv_net_params params;
};
void vio_drv_net_driver(struct vio_drv_net_driver *driver, const struct vio_drv_net_params *params);

struct vio_drv_net;

/* NULL: this device is not run by this driver, or does not run. */
struct vio_drv_net *vio_drv_net_of(struct vio_drvdev *d);

struct vio_drv_net_info {
    uint8_t mac[6];
    bool mac_known;
    bool link_up;        /* also where the device does not tell */
    bool announce;       /* the device asks for it: send it, then vio_drv_net_announced() */
    uint8_t duplex;      /* 1: full, 0: half, 0xff: not known */
    uint16_t mtu;        /* 0: not told */
    uint32_t speed;      /* Mbit/s; UINT32_MAX: not known */
    uint16_t pairs;      /* that are there... */
    uint16_t pairs_max;  /* ...and that the device has */
    uint8_t header;      /* bytes before each frame */
    bool mergeable;
    bool control;        /* there is a control queue */
    uint8_t rss_key_max; /* 0: no RSS and no hash report */
    uint16_t rss_table_max;
    uint32_t hash_types;
    uint32_t receive_min; /* bytes a buffer to receive must have, header included, so that any frame fits (5.1.9.3.1) */
};
/* Any thread; the parts that change are read one by one. */
struct vio_drv_net_info vio_drv_net_info(const struct vio_drv_net *n);

/* ------------------------------------------------------------------ sending: queue owner of the pair's transmit queue */

/*
 * Frames go out, and the device is told. How many were taken: fewer where the queue is full (send_done), broken, or at a frame
 * that cannot be: empty, of more than PIECES_MAX pieces, or without room for its header.
 */
unsigned vio_drv_net_send(struct vio_drv_net *n, uint16_t pair, struct vio_net_buf *const *frames, unsigned nr) VIO_MUST_CHECK;
/* Frames that the device is done with, at most max. Cheapest when many are: ask when vio_drv_net_send_room() is small. */
unsigned vio_drv_net_send_done(struct vio_drv_net *n, uint16_t pair, struct vio_net_buf **frames, unsigned max);
/* Pieces that can be sent before some are done. */
unsigned vio_drv_net_send_room(const struct vio_drv_net *n, uint16_t pair);

/* ------------------------------------------------------------------ receiving: queue owner of the pair's receive queue */

/* Buffers to receive into: all of each but its first bytes, so that a frame begins at `offset`. How many were taken. */
unsigned vio_drv_net_give(struct vio_drv_net *n, uint16_t pair, struct vio_net_buf *const *bufs, unsigned nr) VIO_MUST_CHECK;
/* Room for so many more. */
unsigned vio_drv_net_give_room(const struct vio_drv_net *n, uint16_t pair);
/*
 * Frames that came, at most max: each its first buffer, `pieces` of them by `next`. One with pieces == 0 is no frame: the
 * device used the buffer and said nonsense; it comes back.
 */
unsigned vio_drv_net_receive(struct vio_drv_net *n, uint16_t pair, struct vio_net_buf **frames, unsigned max);

struct vio_drv_net_counters {
    uint64_t short_;   /* received: shorter than a header */
    uint64_t count;    /* received: num_buffers 0 */
    uint64_t header;   /* received: an offload that was not agreed, or that names bytes beyond the frame */
};
struct vio_drv_net_counters vio_drv_net_counters(const struct vio_drv_net *n, uint16_t pair);
/* What the device did wrong on the pair's queues so that they stand still. */
enum vio_fault vio_drv_net_fault(const struct vio_drv_net *n, uint16_t pair);
/* Control thread, both owners parked: one queue (2 * pair, and + 1 to send) reset and started again; see blk's. */
int vio_drv_net_restart(struct vio_drv_net *n, uint16_t queue, uint16_t size) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ the control queue */

/*
 * Control thread. They wait until the device has answered, or for 5 s: 0; -ENOTSUP: no control queue, or not agreed; -EINVAL:
 * what cannot be asked for; -EIO: the device refuses; -EPROTO: it answers nonsense; -ETIMEDOUT: it does not, and the control
 * queue is not used again before the device was reset.
 */
enum vio_drv_net_mode { /* bits */
    VIO_NET_PROMISC = 1,
    VIO_NET_ALLMULTI = 2,
    VIO_NET_ALLUNI = 4,
    VIO_NET_NOMULTI = 8,
    VIO_NET_NOUNI = 16,
    VIO_NET_NOBCAST = 32,
};
/* Sets all modes that the device has; those it has not must be 0. */
int vio_drv_net_mode(struct vio_drv_net *n, unsigned modes) VIO_MUST_CHECK;
int vio_drv_net_mac(struct vio_drv_net *n, const uint8_t mac[6]) VIO_MUST_CHECK;
/* Which addresses are received beside its own; at most MACS_MAX of each. */
int vio_drv_net_macs(struct vio_drv_net *n, const uint8_t (*unicast)[6], unsigned nr_unicast, const uint8_t (*multicast)[6],
                     unsigned nr_multicast) VIO_MUST_CHECK;
int vio_drv_net_vlan(struct vio_drv_net *n, uint16_t id, bool on) VIO_MUST_CHECK;
/* Announced: the device need not ask any more. */
int vio_drv_net_announced(struct vio_drv_net *n) VIO_MUST_CHECK;
/* So many pairs are in use from now on, 1 to info.pairs. */
int vio_drv_net_pairs(struct vio_drv_net *n, uint16_t pairs) VIO_MUST_CHECK;
/* Offloads for what is received: bits of VIRTIO_NET_F_GUEST_*; a subset of what is agreed. */
int vio_drv_net_offloads(struct vio_drv_net *n, uint64_t offloads) VIO_MUST_CHECK;

struct vio_net_rss {
    uint32_t hash_types;      /* VIRTIO_NET_HASH_TYPE_* */
    const uint16_t *table;    /* receive queues, by number of pair... */
    uint16_t table_len;       /* ...a power of two of them; 0: only the hash is reported (HASH_CONFIG) */
    uint16_t unclassified;
    uint16_t max_tx;          /* send queues in use */
    const uint8_t *key;
    uint8_t key_len;
};
int vio_drv_net_rss(struct vio_drv_net *n, const struct vio_net_rss *rss) VIO_MUST_CHECK;

/* When notifications come: after so many packets or microseconds. queue: 2 * pair, + 1 to send; -1, -2: all to receive, all to send. */
int vio_drv_net_coalesce(struct vio_drv_net *n, int queue, uint32_t packets, uint32_t usecs) VIO_MUST_CHECK;
/* Any other command; see the specification. reply may be NULL. */
int vio_drv_net_command(struct vio_drv_net *n, uint8_t class, uint8_t command, const void *data, uint32_t len, void *reply,
                        uint32_t reply_len) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
