/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the tests of the switch share: a switch with a clock that the test moves, ports whose sinks keep what they
 * get, an uplink that keeps what is sent to it and receives what the test gives it.
 * Where it sits: tests/unit/backend. No test framework in it: the fuzz target uses it too.
 */
#ifndef NET_SWITCH_HELP_H
#define NET_SWITCH_HELP_H

#include <vio/net.h>

enum {
    LAN_PORTS = 8,
    LAN_KEPT = 64,        /* frames that an end keeps; more are counted only */
    LAN_HEAD = 128,       /* bytes of each */
    LAN_UPLINK = 1u << LAN_PORTS, /* in a mask of ends */
    ALL_HEAR = 0xff,      /* an address for everybody */
    GROUP_HEARS = 0xfe,   /* a multicast address */
    NO_TAG = -1,
};

struct kept {
    struct vio_net_hdr hdr;
    uint32_t len, nr;
    const void *last; /* where the last segment lies */
    uint8_t head[LAN_HEAD];
};

/* One that gets frames. */
struct ear {
    unsigned room;    /* how many it takes; UINT32_MAX: all */
    unsigned frames, calls, flushes;
    bool unflushed;
    bool unsound;     /* a frame broke what the interface promises */
    struct kept kept[LAN_KEPT];
};

struct lan_port {
    struct vio_net_backend *b;
    struct vio_net_sink sink;
    struct ear ear;
    bool started;
};

struct fake_uplink {
    struct vio_net_backend head;
    struct vio_net_info info;
    struct ear ear;
    const struct vio_net_sink *sink;
    int fd;            /* an eventfd that the test writes */
    int start_error;
    unsigned offloads; /* told last */
    unsigned starts, stops, destroyed, polls, arms;
    bool echo;         /* sends back from inside send() */
    bool running, asleep, receive;
    bool waiting;      /* has something to poll; arm() says so */
    const struct vio_net_packet *pending; /* delivered by the next poll() */
    unsigned nr_pending;
};

struct lan {
    struct vio_net_switch *sw;
    uint32_t now;
    unsigned n;
    struct lan_port port[LAN_PORTS];
    struct fake_uplink up;
};

/* Without ports; takes: offloads of the uplink, or -1 for none at all. */
void lan_open(struct lan *lan, int takes);
void lan_uplink(struct lan *lan, unsigned takes);
/* Makes the next port, and starts it. */
struct lan_port *lan_port(struct lan *lan, uint16_t vlan, bool isolated);
/* One that is fixed to the address of this number. */
struct lan_port *lan_fixed(struct lan *lan, uint16_t vlan, uint8_t number);
void lan_start(struct lan_port *port);
void lan_stop(struct lan_port *port);
/* Everything in order: ports stopped and destroyed, the reference released. */
void lan_close(struct lan *lan);

/* A frame of len bytes from one station to another (addresses by number), tagged with a VLAN or not; its payload by seed. */
void frame_make(uint8_t *frame, uint32_t len, uint8_t to, uint8_t from, int tag, uint8_t seed);
/* 64 bytes of it in one segment, out of this port. */
void say(struct lan_port *port, uint8_t from, uint8_t to);
void say_tagged(struct lan_port *port, uint8_t from, uint8_t to, int tag);
/* The same from the uplink's side. */
void uplink_say(struct lan *lan, uint8_t from, uint8_t to, int tag);
void uplink_receive(struct lan *lan, const struct vio_net_packet *p, unsigned n);

/* The ends that have got frames (bit i: port i; LAN_UPLINK) since the last call; forgets them. */
unsigned heard(struct lan *lan);
/* One of a port's counters by its name; UINT64_MAX: there is none. */
uint64_t counter(struct lan_port *port, const char *name);
/* The VLAN tag of a frame that was kept, or NO_TAG. */
int tag_of(const struct kept *k);

#endif
