/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the network device share:
 *   net.c           making, queues' lives, service, what the control thread may ask
 *   net_features.c  what is offered, the configuration space, what negotiation means
 *   net_tx.c        packets from the driver: checked, offloads done that the backend does not take
 *   net_rx.c        packets to the driver: filtered, steered, written into its buffers
 *   net_ctrl.c      the control queue
 *   net_stats.c     its device statistics
 *   net_coal.c      notifications that wait for more packets
 *   net_state.c     save and load
 *   net_filter.c    which addresses and VLANs the driver wants
 *   net_hash.c      flows, Toeplitz, which queue
 * Where it sits: device/net, private. Threads: struct net is the owner thread's while queues run, but for what is atomic
 * or fixed; all queues have one owner.
 */
#ifndef VIO_DEVICE_NET_INTERNAL_H
#define VIO_DEVICE_NET_INTERNAL_H

#include <stdatomic.h>
#include <vio/device.h>
#include <vio/net.h>

#include "spec/net.h"

enum {
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

/* One queue, of whatever kind. */
struct net_queue {
    struct vio_devq *vq; /* NULL: does not run */
    bool parked;         /* not to be touched now */
    bool starving;       /* receive: a packet waits for buffers; a kick means something */
    bool blocked;        /* transmit: the backend has no room */
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

/* Notifications that wait (net_coal.c). */
struct net_waiting {
    struct net_coal rx, tx; /* what RX_SET and TX_SET said last */
    unsigned nr_due;        /* queues with a notification that waits */
    uint64_t next;          /* no deadline is before this */
    int timer_fd;           /* while the queue NET_TIMER_QUEUE runs, else -1: then nothing waits */
    uint64_t timer_at;      /* what it is set to; 0: it is not */
    uint64_t (*clock)(void *ctx); /* nanoseconds that only go forward */
    void *clock_ctx;
};

struct net {
    struct vio_device_type type; /* this device's: the queue size is a parameter */
    struct vio_device *dev;
    struct vio_net_backend *backend;
    struct vio_net_info info;
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

    /* the owner's */
    struct vio_net_sink sink;
    unsigned entered;          /* queues that run; the backend is started with the first */
    unsigned guest_offloads;   /* that the driver accepts now (GUEST_*, CTRL_GUEST_OFFLOADS) */
    uint16_t active_pairs;     /* VQ_PAIRS_SET, RSS */
    struct net_filter filter;
    struct net_rss rss;
    struct net_waiting waiting;
    uint8_t *bounce;           /* a frame that is looked into as a whole; made when first needed */
    /* net_ctrl.c: commands seen since the reset, and of them those that were carried out */
    uint64_t ctrl_commands, ctrl_ok;

    /* the control thread's wishes */
    atomic_bool link;
    atomic_bool rarp_due;
    uint8_t rarp_mac[VIO_NET_MAC]; /* written before rarp_due is set */

    /* written by the owner, read by anyone */
    _Atomic uint64_t rx_packets, rx_bytes, rx_filtered, rx_no_buffer, rx_link_down, rx_bad;
    _Atomic uint64_t tx_packets, tx_bytes, tx_link_down, tx_bad[VIO_NET_BAD_COUNT_];
    struct vio_log_limit limit;

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

/* net_coal.c: notifications that wait for more packets (virtio 1.4, 5.1.9.5.10). Owner thread where nothing is said. */
enum { NET_TIMER_QUEUE = 1 }; /* whose descriptor is the timer: transmitq1; receiveq1 has the backend's */
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
void net_coal_fire(struct net *net);
static inline void net_coal_check(struct net *net)
{
    if (__builtin_expect(net->waiting.nr_due > 0 || net->waiting.timer_at != 0, 0))
        net_coal_fire(net);
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
/* The offloads (enum vio_net_offload) that these bits let the driver accept, and use. */
unsigned net_guest_offloads(struct vio_features features);
unsigned net_host_offloads(struct vio_features features);

/* net_state.c */
int net_save(void *self, struct vio_state *state);
int net_load(void *self, struct vio_state *state);

/* net_tx.c: serves a transmit queue; how many buffers were taken or finished. */
unsigned net_tx_service(struct net *net, uint16_t queue, unsigned budget);

/* net_rx.c: the sink's functions */
unsigned net_rx_deliver(void *ctx, const struct vio_net_packet *p, unsigned n);
void net_rx_flush(void *ctx);

/* net_ctrl.c: serves the control queue (virtio 1.4, 5.1.9.5). */
unsigned net_ctrl_service(struct net *net, uint16_t queue, unsigned budget);

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
