/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the network device and the interface of what stands behind it.
 * Where it sits: the device is device/net; backends are backend/net and include nothing of virtio but this interface and
 * base/. Units: bytes of Ethernet frames, without check sequence.
 * Threads: the pairs of queues of a network device are dealt out to lanes, which is one unless more are asked for. All
 * queues of a lane have one owner thread, and each lane has a backend of its own that runs on that thread; devices on one
 * switch have one lane each, and share one thread. So nothing below locks.
 */
#ifndef VIO_NET_H
#define VIO_NET_H

#include <vio/features.h>
#include <vio/log.h>
#include <vio/types.h>

VIO_PUBLIC_BEGIN

struct vio_device;
struct vio_device_params;

enum {
    VIO_NET_MAC = 6,
    VIO_NET_FRAME_MIN = 14,    /* an Ethernet header */
    VIO_NET_FRAME_MAX = 65589, /* what a driver's buffer must hold at most, less the header (virtio 1.4, 5.1.9.3.1) */
    VIO_NET_SEGS_MAX = 1024,
    VIO_NET_BURST = 64,
};

/* ------------------------------------------------------------------ packets */

/* Offloads: what a packet may leave to whoever takes it. */
enum vio_net_offload {
    VIO_NET_CSUM = 1,  /* a checksum that is only begun (NEEDS_CSUM) */
    VIO_NET_TSO4 = 2,  /* TCP over IPv4, larger than a segment; the others likewise; all need CSUM */
    VIO_NET_TSO6 = 4,
    VIO_NET_ECN = 8,   /* with TSO: the CWR flag of the first segment only */
    VIO_NET_UFO = 16,
    VIO_NET_USO = 32,  /* UDP, cut into datagrams of gso_size */
    VIO_NET_OFFLOADS = 63,
};

/* The virtio header, in host order and checked (virtio 1.4, 5.1.9), less what belongs to a queue. */
struct vio_net_hdr {
    uint8_t flags;    /* VIRTIO_NET_HDR_F_NEEDS_CSUM, _DATA_VALID */
    uint8_t gso_type; /* VIRTIO_NET_HDR_GSO_* */
    uint16_t hdr_len; /* bytes of headers; 0 with GSO_NONE */
    uint16_t gso_size;
    uint16_t csum_start, csum_offset; /* with NEEDS_CSUM: start + offset + 2 <= len */
};

/*
 * One frame. Its bytes may be another guest's memory and change under the reader: what is decided upon is copied first
 * (vio_net_packet_head), and what the copy says holds for nothing that is read later.
 */
struct vio_net_packet {
    struct vio_net_hdr hdr;
    uint32_t len; /* sum of seg[].len; FRAME_MIN..FRAME_MAX */
    uint32_t nr;
    const struct vio_seg *seg;
};

/* The first n bytes (or all, if fewer); how many. */
size_t vio_net_packet_head(const struct vio_net_packet *p, void *to, size_t n);
/* All of it, to room for p->len bytes. */
void vio_net_packet_copy(const struct vio_net_packet *p, void *to);

/* ------------------------------------------------------------------ what a backend is */

struct vio_net_info {
    unsigned takes;   /* offloads that send() may leave to it */
    unsigned gives;   /* offloads that its own packets may need, and that are worth offering to the driver */
    uint16_t mtu;     /* 0: unknown */
    uint32_t speed;   /* Mbit/s; 0: unknown */
    bool has_mac;     /* what is behind it wants the driver to have this address */
    bool mac_fixed;   /* with has_mac: and takes frames from no other */
    uint8_t mac[VIO_NET_MAC];
};

/* Where a backend's packets go: the device. Owner thread, between start and stop. */
struct vio_net_sink {
    /*
     * How many, from the front, are gone: into the driver's buffers, or dropped since the driver does not want them (filters,
     * link down). Less than n: no buffer is free; offer the rest again when poll() is called with room, or drop it.
     */
    unsigned (*deliver)(void *ctx, const struct vio_net_packet *p, unsigned n);
    /* The end of a burst: what was delivered is shown to the driver. */
    void (*flush)(void *ctx);
    void *ctx;
};

struct vio_net_backend;

/*
 * destroy, info, open_lane: control thread. The rest: owner thread (or the control thread while the owner is parked); send,
 * poll, arm between start and stop only.
 */
struct vio_net_ops {
    const char *name;
    void (*info)(struct vio_net_backend *b, struct vio_net_info *info);
    void (*destroy)(struct vio_net_backend *b);

    /* The first queue of the device runs; sink is valid until stop. -errno: said in the log; the queue does not run. */
    int (*start)(struct vio_net_backend *b, const struct vio_net_sink *sink);
    void (*stop)(struct vio_net_backend *b);
    /* Which offloads the driver accepts on packets to it, from now on (a subset of info.gives). May be NULL. */
    void (*offloads)(struct vio_net_backend *b, unsigned guest);
    /*
     * Packets of the driver's, valid during the call only. How many, from the front, are gone (sent or dropped and counted);
     * fewer than n: no room now; fd() tells when there is.
     */
    unsigned (*send)(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n);
    /* Receives at most `budget` packets and hands them to the sink. How many it handled: 0 means nothing to do. */
    unsigned (*poll)(struct vio_net_backend *b, unsigned budget);
    /* Polls readable when poll() or send() has something to do again (level); -1: never. The same from start to stop. */
    int (*fd)(struct vio_net_backend *b);
    /*
     * Before sleeping on fd (true), after (false). receive: the device has room for packets; without it fd must not be
     * readable because of packets that have come. blocked: send() returned less than it was given. True back: do not
     * sleep, call poll() or send() first. A device that will not poll for now says arm(true, false, ...). May be NULL.
     */
    bool (*arm)(struct vio_net_backend *b, bool sleep, bool receive, bool blocked);
    /*
     * A further lane of the same network, for another thread: like b, with b's info, and independent of it but that it is
     * closed first. NULL: there is one only. -errno with the sentence.
     */
    int (*open_lane)(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size);
    /*
     * Where there are several lanes: whether this one's packets are wanted, as long as nothing else is said. Before the first
     * time, and after stop, they are not. It may send either way. May be NULL.
     */
    void (*use)(struct vio_net_backend *b, bool use);
    /* Its own counters as lines "name value" for `vio top`: each by one call of `line`. May be NULL. Any thread. */
    void (*counters)(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value), void *ctx);
};

/* The head of every backend. */
struct vio_net_backend {
    const struct vio_net_ops *ops;
};

void vio_net_close(struct vio_net_backend *b); /* NULL is fine */
/* A further lane, see open_lane above; -ENOTSUP: the network is served by one thread. */
int vio_net_open_lane(struct vio_net_backend *b, struct vio_net_backend **out, char *why, size_t why_size) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ the backends there are */

/* Takes everything and drops it. copy: after copying it out, as a real one would. */
int vio_net_null_open(bool copy, struct vio_net_backend **out, char *why, size_t why_size) VIO_MUST_CHECK;
/* Sends frames of `bytes` (60 to 65535) as fast as they are taken: UDP over IPv4 with a running number and a checksum. */
int vio_net_generate_open(uint32_t bytes, struct vio_net_backend **out, char *why, size_t why_size) VIO_MUST_CHECK;
/* Sends back what it gets, addresses swapped. */
int vio_net_echo_open(struct vio_net_backend **out, char *why, size_t why_size) VIO_MUST_CHECK;

struct vio_net_tap_params {
    const char *name;    /* of the interface; made if there is none; may hold one %d */
    int fd;              /* >= 0: an open tap (taken on success); name is ignored */
    uint16_t queues;     /* of the interface, each with a descriptor of its own: as many lanes are possible. 0: 1 */
    const int *fds;      /* with fd: the queues - 1 others, of the same interface (taken on success) */
    const char *bridge;  /* NULL, or the bridge that it is put into */
    const char *address; /* NULL, or "192.0.2.1/24" (IPv4 or IPv6) for the host's side */
    uint16_t mtu;        /* 0: leave it */
    const struct vio_log *log;
};
/* -EPERM, -ENOENT...: `why` says what to do (which right, which module). */
int vio_net_tap_open(const struct vio_net_tap_params *params, struct vio_net_backend **out, char *why,
                     size_t why_size) VIO_MUST_CHECK;

struct vio_net_user_params {
    const char *const *forward; /* NULL-terminated: "tcp:2222:22", "udp:HOSTADDR:HOSTPORT:GUESTPORT"; may be NULL */
    bool restricted;            /* no way out but forwards */
    const struct vio_log *log;
};
/* libslirp, loaded when first used. -ENOTSUP: built without, or not installed. */
int vio_net_user_open(const struct vio_net_user_params *params, struct vio_net_backend **out, char *why,
                      size_t why_size) VIO_MUST_CHECK;

/* QEMU's socket framings: stream (a 32-bit big-endian length before each frame) and dgram. */
struct vio_net_socket_params {
    const char *path;
    const char *local; /* dgram: our own address; NULL: one beside path */
    bool datagram;
    bool listen;       /* stream: we make the socket */
    const struct vio_log *log;
};
int vio_net_socket_open(const struct vio_net_socket_params *params, struct vio_net_backend **out, char *why,
                        size_t why_size) VIO_MUST_CHECK;

/*
 * An L2 learning switch between ports, each a backend of one device, and at most one uplink. All of them on one
 * thread. The switch lives until its last port and the caller's own reference are gone.
 */
struct vio_net_switch;
struct vio_net_port_params {
    const char *name;
    bool isolated;  /* speaks with the uplink and with ports that are not isolated only */
    uint16_t vlan;  /* 0: trunk, tags as they come; else an access port of this VLAN (1..4094) */
    /* NULL, or the one address that frames may come from here, and from no other port. */
    const uint8_t *fixed_mac;
};
int vio_net_switch_create(const struct vio_log *log, struct vio_net_switch **out) VIO_MUST_CHECK;
void vio_net_switch_release(struct vio_net_switch *sw); /* NULL is fine */
/* -EEXIST: fixed_mac is another port's. */
int vio_net_switch_port(struct vio_net_switch *sw, const struct vio_net_port_params *params, struct vio_net_backend **out)
    VIO_MUST_CHECK;
/* uplink: taken on success. -EBUSY: there is one. */
int vio_net_switch_uplink(struct vio_net_switch *sw, struct vio_net_backend *uplink) VIO_MUST_CHECK;

/*
 * Around another backend (taken on success): what crosses, both ways, goes into a pcapng file while one is set. Set from the
 * control thread, at any time; NULL ends it (the file is whole then). -errno with the sentence.
 */
int vio_net_capture_open(struct vio_net_backend *inner, const char *name, const struct vio_log *log,
                         struct vio_net_backend **out) VIO_MUST_CHECK;
int vio_net_capture_set(struct vio_net_backend *b, const char *path, char *why, size_t why_size) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ the device (virtio 1.4, 5.1) */

struct vio_net_params {
    struct vio_net_backend *backend; /* taken on success */
    uint16_t pairs;          /* receive and transmit queues offered: 1 to 64 */
    uint16_t lanes;          /* threads that may serve them, 0: 1; pair i is in lane i mod lanes. More than 1: no RSS */
    uint16_t queue_size_max; /* a power of two; 0: 1024 */
    bool mac_given;
    uint8_t mac[VIO_NET_MAC]; /* else the backend's, or one made from the device's name; that of a fixed one in any case */
    uint16_t mtu;            /* 0: the backend's, or not offered */
    uint32_t speed;          /* Mbit/s; 0: the backend's, or unknown */
    bool link_down;          /* at first */
    struct vio_features mask; /* device-type bits NOT to offer */
    const struct vio_device_params *device; /* name, log, host, ring bits; type, self, queues, features are filled in */
};
/* -EINVAL with the sentence for a person in `why`. */
int vio_net_create(const struct vio_net_params *params, struct vio_device **out, char *why, size_t why_size)
    VIO_MUST_CHECK;

/* The address that a device of this name has where none is given: always the same, locally administered. */
void vio_net_make_mac(const char *name, uint8_t mac[VIO_NET_MAC]);

/* Control thread. */
void vio_net_set_link(struct vio_device *dev, bool up);
bool vio_net_link(const struct vio_device *dev);
/* vhost-user's SEND_RARP: announces `mac` to what is behind the backend, from the owner thread, soon. */
int vio_net_rarp(struct vio_device *dev, const uint8_t mac[VIO_NET_MAC]) VIO_MUST_CHECK;
/* vhost-user's NET_SET_MTU. -EINVAL: below 68. */
int vio_net_set_mtu(struct vio_device *dev, uint16_t mtu) VIO_MUST_CHECK;
void vio_net_mac(const struct vio_device *dev, uint8_t mac[VIO_NET_MAC]);
struct vio_net_backend *vio_net_backend_of(struct vio_device *dev); /* of the first lane */
/* Any thread: vio_net_ops.counters, summed over the lanes. */
void vio_net_backend_counters(const struct vio_device *dev, void (*line)(void *ctx, const char *name, uint64_t value),
                              void *ctx);

/* Why a packet of the driver's was dropped (virtio 1.4, 5.1.9.2). */
enum vio_net_bad {
    VIO_NET_BAD_SHORT,       /* shorter than header and Ethernet header */
    VIO_NET_BAD_LONG,        /* longer than VIO_NET_FRAME_MAX, or in too many pieces */
    VIO_NET_BAD_FLAGS,       /* a flag that the driver must not set, or CSUM not negotiated */
    VIO_NET_BAD_CSUM,        /* csum_start or csum_offset outside the packet */
    VIO_NET_BAD_GSO_TYPE,    /* unknown, or not negotiated */
    VIO_NET_BAD_GSO_SIZE,    /* 0 */
    VIO_NET_BAD_HDR_LEN,     /* past the packet */
    VIO_NET_BAD_NUM_BUFFERS, /* set by the driver */
    VIO_NET_BAD_COUNT_,
};
const char *vio_net_bad_name(enum vio_net_bad bad); /* "csum" */
const char *vio_net_bad_clause(enum vio_net_bad bad);

struct vio_net_counters {
    uint64_t rx_packets, rx_bytes; /* to the driver */
    uint64_t rx_filtered, rx_no_buffer, rx_link_down, rx_bad;
    uint64_t tx_packets, tx_bytes; /* from the driver, passed on */
    uint64_t tx_link_down, tx_bad[VIO_NET_BAD_COUNT_];
};
void vio_net_counters(const struct vio_device *dev, struct vio_net_counters *out); /* any thread */

VIO_PUBLIC_END

#endif
