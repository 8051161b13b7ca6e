/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the switch share:
 *   net_switch.c          making and ending it and its ports, counters, start and stop
 *   net_switch_forward.c  where a frame goes, tags added and removed, handing over
 *   net_switch_uplink.c   the uplink: who polls it, offloads that it does not take
 *   net_switch_table.c    which station is where
 *   net_switch_pins.c     addresses that are fixed to a port
 * Where it sits: backend/, private.
 * Threads: two parts that do not touch each other, so nothing locks. The control thread has the references and the
 * slots that are given away; the one thread that serves all ports has what is started, the table and the frames. The
 * uplink's pointer (set once), the counters (written by the owner) and the list of fixed addresses are atomic.
 * Trust: frames are guests' memory and may change under us. 18 bytes of each are copied, and what the copy says decides;
 * only these bytes are written anew where a tag is added or removed.
 */
#ifndef VIO_BACKEND_NET_SWITCH_H
#define VIO_BACKEND_NET_SWITCH_H

#include <stdatomic.h>
#include <vio/net.h>

enum {
    NET_SWITCH_PORTS_MAX = 256,
    NET_SWITCH_UPLINK = NET_SWITCH_PORTS_MAX, /* the uplink's slot, behind those of ports */
    NET_SWITCH_SLOTS,
    NET_SWITCH_VLAN_MAX = 4094,
    NET_SWITCH_NAME = 64,
    NET_SWITCH_HEAD = 18,  /* addresses, a tag, the type: what is looked at */
    NET_SWITCH_SEGS = 2048, /* pieces of the frames with another tag that are made at a time */

    NET_TABLE_WAYS = 4, /* one cache line */
    NET_TABLE_BUCKETS = 1024,
    NET_TABLE_ENTRIES = NET_TABLE_WAYS * NET_TABLE_BUCKETS,
    NET_TABLE_AGE = 300,          /* seconds since it was last heard */
    NET_TABLE_PORT_MAX = 1024,    /* stations of one port */
    NET_TABLE_UPLINK_MAX = 2048,  /* a whole network is behind it */
    NET_PINS_PLACES = 2 * NET_SWITCH_PORTS_MAX,
    NET_TABLE_SHARE = NET_TABLE_ENTRIES / NET_SWITCH_PORTS_MAX, /* a port's, whatever others do */
};
/* Segments made here in one burst: 64 packets of 64 KiB in full ones. Past that packets are lost, and other ports have their turn. */
enum { NET_SWITCH_CUTS_MAX = 4096 };
_Static_assert((unsigned)NET_SWITCH_SEGS > (unsigned)VIO_NET_SEGS_MAX, "one frame always fits");

/* ------------------------------------------------------------------ the table (net_switch_table.c) */

struct net_table_entry {
    uint64_t key;  /* net_table_key(); 0: empty */
    uint32_t seen; /* seconds */
    uint16_t slot;
};

struct net_table {
    struct net_table_entry entry[NET_TABLE_ENTRIES]; /* WAYS in a row are a bucket */
    uint64_t seed[3];  /* random: nobody outside can choose addresses of one bucket */
    uint32_t swept;    /* when the aged were last thrown out */
    uint16_t stations[NET_SWITCH_SLOTS];
};

enum net_table_learned { NET_TABLE_KNOWN, NET_TABLE_NEW, NET_TABLE_MOVED, NET_TABLE_FULL };

static inline uint64_t net_table_key(uint16_t vlan, const uint8_t mac[VIO_NET_MAC])
{
    uint64_t key = UINT64_C(1) << 15 | vlan;

    for (int i = 0; i < VIO_NET_MAC; i++)
        key = key << 8 | mac[i];
    return key;
}

/* The table is zeroed and the seed is set. */
int net_table_find(struct net_table *t, uint64_t key, uint32_t now); /* its slot, or -1 */
/* FULL: not kept, so frames to this station are flooded. */
enum net_table_learned net_table_learn(struct net_table *t, uint64_t key, uint16_t slot, uint32_t now);
void net_table_forget(struct net_table *t, uint16_t slot);
void net_table_drop(struct net_table *t, struct net_table_entry *e); /* not an empty one */

/* ------------------------------------------------------------------ fixed addresses (net_switch_pins.c) */

struct net_pins {
    /* written by the control thread */
    _Atomic uint64_t key[NET_SWITCH_PORTS_MAX]; /* by slot: net_table_key(), of VLAN 0 on a trunk; 0: none */
    atomic_uint changes;

    /* the owner's */
    unsigned seen; /* of changes */
    unsigned nr;
    struct {
        uint64_t key; /* 0: empty */
        uint16_t slot;
    } place[NET_PINS_PLACES];
};

/* Control thread. -1: done; else the slot that the address is fixed to already, here or in one of a trunk's VLANs. */
int net_pins_set(struct net_pins *p, uint16_t slot, uint64_t key) VIO_MUST_CHECK;
void net_pins_clear(struct net_pins *p, uint16_t slot);
/* Owner thread. */
void net_pins_rebuild(struct net_pins *p, struct net_table *t);
static inline void net_pins_look(struct net_pins *p, struct net_table *t)
{
    if (__builtin_expect(atomic_load_explicit(&p->changes, memory_order_acquire) != p->seen, 0))
        net_pins_rebuild(p, t);
}
int net_pins_find(const struct net_pins *p, uint64_t key); /* the slot that may send from it; -1: anybody may */

/* ------------------------------------------------------------------ ports and the uplink */

enum net_switch_count {
    NET_SWITCH_IN_FRAMES,  /* into the switch */
    NET_SWITCH_IN_BYTES,
    NET_SWITCH_OUT_FRAMES, /* out of it, to the port's device */
    NET_SWITCH_OUT_BYTES,
    NET_SWITCH_FLOODED,    /* of IN_FRAMES: to all, since nobody knows the station or it is for many */
    NET_SWITCH_MOVES,      /* stations that were somewhere else before */
    NET_SWITCH_NO_ROOM,    /* dropped: this port's device had no buffer */
    NET_SWITCH_ISOLATION,  /* dropped, as those below, of this port's frames: from an isolated port to another */
    NET_SWITCH_VLAN,       /* a tag on an access port, a VLAN that is none, no place for a tag */
    NET_SWITCH_SHORT,
    NET_SWITCH_SPOOFED,    /* from an address that is not the port's fixed one, or that is fixed to another port */
    NET_SWITCH_OFFLOAD,    /* the uplink cannot, and the frame is not what its header says */
    NET_SWITCH_COUNTS,
};

/* Where frames come from and go to: a port, or the uplink. */
struct net_switch_end {
    uint16_t slot;
    uint16_t vlan; /* 0: trunk */
    bool isolated;
    bool fixed; /* only frames from `mac` come in */
    uint8_t mac[VIO_NET_MAC];
    _Atomic uint64_t count[NET_SWITCH_COUNTS];
};

static inline void net_switch_count(struct net_switch_end *e, enum net_switch_count what, uint64_t n)
{
    /* One writer: no read-modify-write needed. */
    atomic_store_explicit(&e->count[what], atomic_load_explicit(&e->count[what], memory_order_relaxed) + n,
                          memory_order_relaxed);
}

struct net_switch_port {
    struct vio_net_backend head;
    struct vio_net_switch *sw;
    struct net_switch_end end;
    int epoll_fd; /* the uplink's descriptor and the switch's nudge are in it while this port carries the uplink */
    char name[NET_SWITCH_NAME];

    /* the owner's */
    struct vio_net_sink sink;
    unsigned at;     /* in started[] */
    bool dirty;      /* has got frames that were not flushed */
    bool asleep;     /* by its last arm() or poll() */
    bool starved;    /* asleep, and it would not poll: out of buffers, or it has never polled */
    unsigned guest;  /* offloads that its driver accepts */
};

struct net_switch_uplink {
    struct vio_net_backend *backend;
    struct vio_net_info info; /* takes: nothing without CSUM */
    struct net_switch_end end;
    int nudge_fd; /* an eventfd that wakes who carries the uplink from now on */
    uint8_t *frame, *room; /* for offloads done here: a frame, and one that is cut out of it */

    /* the owner's */
    bool running, armed, nudged;
    struct vio_net_sink sink; /* back into the switch */
    int fd;                   /* the backend's, from start to stop */
    unsigned guest;           /* offloads that it was told last */
    struct net_switch_port *carrier;
    unsigned others_polled; /* polls of other ports since the carrier's last one */
    unsigned cuts;          /* segments made here for one burst */
};

/* The frames of a group with an Ethernet header of our own. Two of them: an uplink may deliver from inside its send(). */
struct net_switch_turned {
    uint8_t head[VIO_NET_BURST][NET_SWITCH_HEAD];
    struct vio_net_packet packet[VIO_NET_BURST];
    struct vio_seg seg[NET_SWITCH_SEGS];
};

struct vio_net_switch {
    /* the owner's */
    struct net_table table; /* first: buckets are cache lines */
    struct net_pins pins;   /* partly the control thread's */
    unsigned nr_started, nr_dirty;
    struct net_switch_port *started[NET_SWITCH_PORTS_MAX], *dirty[NET_SWITCH_PORTS_MAX];
    struct net_switch_port *live[NET_SWITCH_PORTS_MAX]; /* by slot; those that are started */
    uint32_t (*clock)(void *ctx);
    void *clock_ctx;
    struct net_switch_turned turned[2]; /* of frames from ports, from the uplink */

    /* set once, by the control thread */
    const struct vio_log *log;
    struct net_switch_uplink *_Atomic uplink;

    /* the control thread's */
    unsigned refs;
    bool given[NET_SWITCH_PORTS_MAX];
};

/* Seconds that only go forward, from here on: for tests. Before a port starts. */
void net_switch_set_clock(struct vio_net_switch *sw, uint32_t (*clock)(void *ctx), void *ctx);

static inline struct net_switch_uplink *net_switch_uplink(struct vio_net_switch *sw)
{
    return atomic_load_explicit(&sw->uplink, memory_order_acquire);
}

/* The uplink where it runs, else NULL. Owner thread. */
static inline struct net_switch_uplink *net_switch_running(struct vio_net_switch *sw)
{
    struct net_switch_uplink *up = net_switch_uplink(sw);

    return up && up->running ? up : NULL;
}

/* net_switch_forward.c: all of them are gone afterwards; flush shows devices what they have got. */
void net_switch_forward(struct vio_net_switch *sw, struct net_switch_end *from, const struct vio_net_packet *p, unsigned n);
void net_switch_flush(struct vio_net_switch *sw);

/* net_switch_uplink.c. Owner thread but for the last. */
/* port has just started: starts the uplink if there is one that does not run. */
int net_switch_uplink_join(struct net_switch_port *port) VIO_MUST_CHECK;
/* port has just stopped. */
void net_switch_uplink_leave(struct net_switch_port *port);
/* The drivers' offloads have changed. */
void net_switch_uplink_offloads(struct vio_net_switch *sw);
unsigned net_switch_uplink_poll(struct net_switch_port *port, unsigned budget);
bool net_switch_uplink_arm(struct net_switch_port *port, bool receive);
/* All of them are gone afterwards. from: who sent them, for its counters. */
void net_switch_uplink_send(struct net_switch_uplink *up, struct net_switch_end *from, const struct vio_net_packet *p,
                            unsigned n);
void net_switch_uplink_free(struct net_switch_uplink *up); /* the backend too; NULL is fine */

#endif
