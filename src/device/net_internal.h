/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the network device share:
 *   net.c           making, queues' lives, service, what the control thread may ask
 *   net_features.c  what is offered, the configuration space, what negotiation means
 *   net_tx.c        packets from the driver: checked, offloads done that the backend does not take
 *   net_rx.c        packets to the driver: filtered, steered, written into its buffers
 *   net_ctrl.c      the control queue
 *   net_stats.c     its device statistics
 *   net_lane.c      the lanes: pairs that have one thread and one backend
 *   net_coal.c      notifications that wait for more packets
 *   net_state.c     save and load
 *   net_filter.c    which addresses and VLANs the driver wants
 *   net_hash.c      flows, Toeplitz, which queue
 * Where it sits: device/net, private.
 * Threads: the pairs of queues are dealt out to lanes, pair i to lane i mod nr_lanes; the control queue is in lane 0. All
 * queues of a lane have one owner thread, and what is in struct net_lane and in its queues is that thread's. With one lane,
 * so is the rest of struct net. With several, lanes read the rest without a lock, for it changes only while all queues
 * are parked: the control queue is served by the control thread then (net_ctrl.c).
 */
#ifndef VIO_DEVICE_NET_INTERNAL_H
#define VIO_DEVICE_NET_INTERNAL_H

#include <stdatomic.h>
#include <vio/device.h>
#include <vio/net.h>

#include "spec/net.h"
#include "spec/net_offloads.h"

enum {
    NET_LINE = 64,
    NET_PAIRS_MAX = 64,
    NET_QUEUE_SIZE_DEFAULT = 1024,
    NET_MAC_TABLE_MAX = 64,      /* of each kind; more, and all of that kind are let through */
    NET_RSS_TABLE_MAX = 128,
    NET_RSS_KEY_MAX = 40,
    NET_BOUNCE_FRAME = 65600,    /* room for a frame; behind it for what it is cut into */
    NET_BOUNCE_BYTES = 2 * NET_BOUNCE_FRAME + 256,
    NET_HASH_TYPES = 0x3f,       /* what net_hash() knows: not the _EX ones */
};

/* Which packets the driver wants (virtio 1.4, 5.1.9.5.1 to .3). Zeroed, then net_filter_reset(). */
struct net_filter {
    bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
    bool uni_overflow, multi_overflow; /* the table did not hold them all */
    bool mac_rules, vlan_rules;        /* CTRL_RX, CTRL_VLAN negotiated; without, everything passes */
    uint8_t mac[VIO_NET_MAC];
    unsigned nr_uni, nr_multi;
    uint8_t uni[NET_MAC_TABLE_MAX][VIO_NET_MAC], multi[NET_MAC_TABLE_MAX][VIO_NET_MAC];
    uint64_t vlan[4096 / 64];
};

/* Where packets to the driver go (virtio 1.4, 5.1.9.5.6, 5.1.9.5.7). */
struct net_rss {
    bool steer;            /* RSS_CONFIG was accepted: table decides */
    bool report;           /* HASH_REPORT: the header tells the hash */
    uint32_t types;        /* VIRTIO_NET_HASH_TYPE_* in use */
    uint16_t mask;         /* of table: its size less one */
    uint16_t unclassified; /* receive queue number of packets without a hash */
    uint16_t table[NET_RSS_TABLE_MAX]; /* receive queue numbers */
    uint8_t key[NET_RSS_KEY_MAX];
};

/* How long a notification may wait (virtio 1.4, 5.1.9.5.10). It does not where one of both is 0. */
struct net_coal {
    uint32_t max_packets, max_usecs;
};

struct net_lane;

/* One queue, of whatever kind. On cache lines of its own: its neighbours may be another thread's. */
struct net_queue {
    _Alignas(NET_LINE) struct vio_devq *vq; /* NULL: does not run */
    struct net_lane *lane;
    bool parked;         /* not to be touched now */
    bool starving;       /* receive: a packet waits for buffers; a kick means something */
    bool blocked;        /* transmit: the backend has no room */
    bool lent;           /* transmit: fell asleep blocked, no kick wakes it; the first receive queue serves it until one does */
    bool coalesces;      /* coal lets notifications wait */
    unsigned put;        /* since the last publish */
    /* transmit: taken, and not gone yet because the backend was full */
    struct vio_req *held[VIO_NET_BURST];
    unsigned nr_held;
    /* counters of this queue, for DEVICE_STATS; by the owner */
    uint64_t packets, bytes, drops, needs_csum, gso_packets, gso_bytes;
    uint64_t overruns;   /* receive: of drops, those for want of buffers */
    uint64_t malformed;  /* transmit: of drops, those that the driver made wrong */
    uint64_t data_valid; /* receive: DATA_VALID was set */

    /* net_coal.c */
    struct net_coal coal;
    bool due;           /* a notification waits */
    bool asleep;        /* the owner does not serve the queue */
    uint64_t published; /* of packets, those that the driver has been shown */
    uint64_t from;      /* due: packets before the first one that waits */
    uint64_t deadline;  /* due: when it is sent at the latest */
    atomic_bool coal_void; /* the queue was reset: coal is what applies to all of its kind, once it is entered again */
};

/* Notifications of a lane's that wait (net_coal.c). */
struct net_waiting {
    unsigned nr_due;        /* queues with a notification that waits */
    uint64_t next;          /* no deadline is before this */
    int timer_fd;           /* while the lane's first transmit queue runs, else -1: then nothing waits */
    uint64_t timer_at;      /* what it is set to; 0: it is not */
};

/* Pairs that have one owner thread, and what stands behind them. */
struct net_lane {
    _Alignas(NET_LINE) struct net *net;
    struct vio_net_backend *backend;
    struct vio_net_sink sink;
    uint16_t index;
    uint16_t active;           /* of its pairs, those that packets to the driver may go to */
    bool used;                 /* as the backend was told: one of those runs and is enabled */
    unsigned entered;          /* queues that run; the backend is started with the first */
    struct net_waiting waiting;
    uint8_t *bounce;           /* a frame that is looked into as a whole; made when first needed */
    struct vio_log_limit limit;

    /* written by the owner, read by anyone */
    _Atomic uint64_t rx_packets, rx_bytes, rx_filtered, rx_no_buffer, rx_link_down, rx_bad;
    _Atomic uint64_t tx_packets, tx_bytes, tx_link_down, tx_bad[VIO_NET_BAD_COUNT_];
};

struct net {
    struct vio_device_type type; /* this device's: the queue size is a parameter */
    struct vio_device *dev;
    struct net_lane *lane;       /* [nr_lanes] */
    uint16_t nr_lanes;
    struct vio_net_info info;    /* of lane 0's backend; the others are like it */
    struct vio_features offered;
    uint16_t pairs;              /* offered */
    uint8_t mac[VIO_NET_MAC];    /* as configured; the driver may choose another (filter.mac) */
    uint16_t mtu;
    uint32_t speed;

    /* fixed by FEATURES_OK, before queues run */
    struct vio_features features;
    uint16_t usable_pairs;  /* pairs with MQ or RSS, else 1 */
    uint16_t hdr_bytes;     /* VIRTIO_NET_HDR_BYTES or _HASH_BYTES */
    bool mergeable;
    bool has_ctrl;
    unsigned host_offloads; /* enum vio_net_offload that the driver may use (HOST_*) */

    /* the owner's; with several lanes, read by all of them and changed while they are parked */
    unsigned guest_offloads;   /* that the driver accepts now (GUEST_*, CTRL_GUEST_OFFLOADS) */
    uint16_t active_pairs;     /* VQ_PAIRS_SET, RSS */
    struct net_filter filter;
    struct net_rss rss;
    struct net_coal coal_rx, coal_tx; /* what RX_SET and TX_SET said last */
    uint64_t (*clock)(void *ctx);     /* nanoseconds that only go forward */
    void *clock_ctx;
    /* net_ctrl.c: commands seen since the reset, and of them those that were carried out */
    uint64_t ctrl_commands, ctrl_ok;

    /* the control thread's wishes */
    atomic_bool link;
    _Atomic unsigned rarp;         /* enum net_rarp */
    uint8_t rarp_mac[VIO_NET_MAC]; /* written before it is due */
    atomic_bool ctrl_due;          /* several lanes: the control thread was asked to serve the control queue */

    uint16_t queues;
    struct net_queue queue[];
};

/* virtio 1.4, 5.1.2: receiveq1, transmitq1, ..., and the control queue behind those that are usable. */
enum net_role { NET_RX, NET_TX, NET_CTRL };
static inline enum net_role net_role(const struct net *net, uint16_t queue)
{
    if (net->has_ctrl && queue == 2 * net->usable_pairs)
        return NET_CTRL;
    return queue % 2 == 0 ? NET_RX : NET_TX;
}

/* An announcement is due until one lane takes it on. */
enum net_rarp { NET_RARP_NONE, NET_RARP_DUE, NET_RARP_SENT_NOW };

/* The lane's queues: receive queues are net_lane_first(), then every net_lane_step()th while it is below net_lane_end(). */
static inline uint16_t net_lane_first(const struct net_lane *lane)
{
    return (uint16_t)(2 * lane->index);
}

static inline unsigned net_lane_step(const struct net_lane *lane)
{
    return 2u * lane->net->nr_lanes;
}

static inline unsigned net_lane_end(const struct net_lane *lane)
{
    return 2u * lane->net->usable_pairs;
}

static inline void net_count(_Atomic uint64_t *counter, uint64_t n)
{
    /* One writer: no read-modify-write needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Behind each struct vio_req of a transmit queue: the packet, while the backend has no room for it. */
struct net_tx_req {
    struct vio_net_packet packet;
};

/* Shows the driver what was put. */
void net_publish(struct net *net, uint16_t queue);

/* net_lane.c. Control thread where nothing is said. */
/* One lane around `backend`, or several: each with a backend that it opens. -errno with the sentence; then none is left. */
int net_lanes_open(struct net *net, struct vio_net_backend *backend, uint16_t lanes, char *why, size_t why_size);
/* Not lane 0's backend where that stays the caller's. */
void net_lanes_close(struct net *net, bool all);
/* What was negotiated, or which pairs are in use, has changed; no queue runs, or all lanes are the caller's. */
void net_lanes_update(struct net *net);
/* Owner thread, or all are parked: the backend hears whether its packets are wanted, if that is news. */
void net_lane_use(struct net_lane *lane);
/* The same: the offloads that the driver accepts. */
void net_lane_offloads(struct net_lane *lane);

/* net_coal.c: notifications that wait for more packets (virtio 1.4, 5.1.9.5.10). Owner thread where nothing is said. */
/* The queue whose descriptor is the timer: the lane's first transmit queue; its first receive queue has the backend's. */
static inline uint16_t net_timer_queue(const struct net_lane *lane)
{
    return (uint16_t)(net_lane_first(lane) + 1);
}
/* Control thread, at the making: nothing waits. clock NULL: CLOCK_MONOTONIC; another one is for tests. */
void net_coal_init(struct net *net, uint64_t (*clock)(void *ctx), void *ctx);
/* No queue runs: all parameters are 0. */
void net_coal_reset(struct net *net);
void net_coal_set_all(struct net *net, enum net_role role, struct net_coal coal);
void net_coal_set(struct net *net, uint16_t queue, struct net_coal coal);
/* What applies to the queue when it runs next. */
struct net_coal net_coal_of(const struct net *net, uint16_t queue);
void net_coal_enter(struct net *net, uint16_t queue);
void net_coal_leave(struct net *net, uint16_t queue);
/* The queue must not be touched from here on. */
void net_coal_park(struct net *net, uint16_t queue);
/* Shows the driver n buffers; whether it is told now or later, or not at all, is decided here. */
void net_coal_publish(struct net *net, uint16_t queue, unsigned n);
/* Sends what has waited for long enough. */
void net_coal_fire(struct net_lane *lane);
static inline void net_coal_check(struct net_lane *lane)
{
    if (__builtin_expect(lane->waiting.nr_due > 0 || lane->waiting.timer_at != 0, 0))
        net_coal_fire(lane);
}
/* As struct vio_device_type.queue_arm: true: a notification is to be sent now. */
bool net_coal_arm(struct net *net, uint16_t queue, bool sleep);

/* net_features.c */
struct vio_features net_features(const struct net *net);
void net_config_fill(const struct net *net, struct virtio_net_config *c);
/* A dependency of 5.1.3.1 that is not met, by name; NULL: fine. See there why CTRL_VQ is not insisted on. */
const char *net_features_refused(void *self, struct vio_features features);
/* Sets everything under "fixed by FEATURES_OK", and the owner's state to what a fresh driver expects. */
void net_negotiated(void *self, struct vio_features features);
/* The reset state of what the driver sets by control commands; net->features, usable_pairs and has_ctrl say which. */
void net_driver_defaults(struct net *net);
/* What is left of an offer when all goes whose requirement is not in it (5.1.3.1): for the creator's mask. */
struct vio_features net_features_fit(struct vio_features features);

/* net_state.c */
int net_save(void *self, struct vio_state *state);
int net_load(void *self, struct vio_state *state);

/* net_tx.c: serves a transmit queue; how many buffers were taken or finished. */
unsigned net_tx_service(struct net *net, uint16_t queue, unsigned budget);

/* net_rx.c: the sink's functions; ctx is a struct net_lane. */
unsigned net_rx_deliver(void *ctx, const struct vio_net_packet *p, unsigned n);
void net_rx_flush(void *ctx);

/* net_ctrl.c: serves the control queue (virtio 1.4, 5.1.9.5); with several lanes, has the control thread serve it. */
unsigned net_ctrl_service(struct net *net, uint16_t queue, unsigned budget);
/* struct vio_device_type.control: it does. */
void net_ctrl_control(void *self);

/* net_stats.c: device statistics (virtio 1.4, 5.1.9.5.11). */
enum { NET_STATS_MAX = 256 }; /* wishes in one STATS_GET */
struct net_stats_want {
    uint16_t queue;
    uint64_t types; /* checked: all can be had of this queue */
};
struct net_stats_plan {
    unsigned nr;
    struct net_stats_want want[NET_STATS_MAX];
};
/* The types that can be had with the negotiated features, of all queues together. */
uint64_t net_stats_types(const struct net *net);
/* Reads and checks the whole of a STATS_GET before anything of it is answered. */
bool net_stats_plan(const struct net *net, struct vio_reader *in, struct net_stats_plan *plan);
void net_stats_write(const struct net *net, const struct net_stats_plan *plan, struct vio_writer *out);

/* net_state.c: struct vio_device_type.save and .load. The backend is told the offloads when it starts. */
int net_save(void *self, struct vio_state *state);
int net_load(void *self, struct vio_state *state);

/* net_filter.c. head: the first bytes of a frame (at least an Ethernet header). */
void net_filter_reset(struct net_filter *f, const uint8_t mac[VIO_NET_MAC], bool mac_rules, bool vlan_rules);
bool net_filter_wants(const struct net_filter *f, const uint8_t *head, size_t bytes);

/* net_hash.c */
enum { NET_HEAD_BYTES = 128 }; /* of a frame, enough for the headers that a hash needs */
/* The hash of a frame by its head; *report: VIRTIO_NET_HASH_REPORT_*, NONE where no type applies (then 0). */
uint32_t net_hash(const struct net_rss *rss, const uint8_t *head, size_t bytes, uint16_t *report);
/* A cheap hash of the flow, for spreading packets where the driver chose no other way. */
uint32_t net_flow(const uint8_t *head, size_t bytes);

#endif
