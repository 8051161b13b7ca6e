/* SPDX-License-Identifier: MIT */
/*
 * Purpose: user-mode networking: the guest has a network of its own, 10.0.2.0/24 and fec0::/64, behind whose gateway its
 * connections become sockets of this process (libslirp). No right and no interface of the host's is needed.
 * Where it sits: backend/net_user; opening is in net_user_open.c. Threads: see net_user.h.
 * Trust: libslirp reads the guest's frames, so it gets private copies, of ARP and IP only. What it would keep without a
 * limit is limited here: sockets (no_more_sockets) and fragments (net_user_join.c). The guest reaches what this process can reach, the host's own services on
 * 127.0.0.1 too (as 10.0.2.2), as with QEMU; with `restricted` nothing but what forwards bring in.
 */
#include "backend/net_user.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ETHER_TYPE_AT = 12,
    ETHER_BYTES = 14,
    ETHER_ARP = 0x0806,
    ETHER_IPV4 = 0x0800,
    ETHER_IPV6 = 0x86dd,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    PROTOCOL_TCP = 6,
    TCP_FLAGS_AT = 13,
    TCP_SYN = 0x02,
    TCP_ACK = 0x10,
};

/* libslirp's clock stands between turns: so much later it is set first, or new connections would be born expired. */
#define STALE_MS 200

/* ------------------------------------------------------------------ what may go in */

enum frame_kind {
    FRAME_OTHER,    /* not for libslirp */
    FRAME_PLAIN,
    FRAME_OPENS,    /* may become a socket */
    FRAME_FRAGMENT, /* of IPv4, with a whole header */
};

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* Only TCP tells a first packet from others. */
static bool opens(const uint8_t *payload, const uint8_t *end, unsigned protocol)
{
    if (protocol != PROTOCOL_TCP)
        return true;
    return end - payload > TCP_FLAGS_AT && (payload[TCP_FLAGS_AT] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static enum frame_kind kind_of(const uint8_t *frame, uint32_t len)
{
    const uint8_t *ip = frame + ETHER_BYTES, *end = frame + len;

    switch (get16(frame + ETHER_TYPE_AT)) {
    case ETHER_ARP:
        return FRAME_PLAIN;
    case ETHER_IPV4:
        if (end - ip < IPV4_BYTES)
            return FRAME_OTHER;
        if (get16(ip + 6) & 0x3fff) /* more of them, or not the first */
            return FRAME_FRAGMENT;
        if (end - ip < (ip[0] & 15) * 4)
            return FRAME_OTHER;
        return opens(ip + (ip[0] & 15) * 4, end, ip[9]) ? FRAME_OPENS : FRAME_PLAIN;
    case ETHER_IPV6:
        if (end - ip < IPV6_BYTES)
            return FRAME_OTHER;
        return opens(ip + IPV6_BYTES, end, ip[6]) ? FRAME_OPENS : FRAME_PLAIN;
    default:
        return FRAME_OTHER;
    }
}

/* The kernel gives the lowest free number: where that is too high, there are too many. */
static bool no_more_sockets(const struct user *u)
{
    int fd = fcntl(u->epoll_fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return true;
    close(fd);
    return fd >= u->fd_limit;
}

/* crowded: -1 until it is asked for, once a burst. */
static bool may_go_in(struct user *u, uint32_t len, int *crowded)
{
    enum frame_kind kind = kind_of(u->frame, len);

    if (kind != FRAME_OPENS)
        return kind == FRAME_PLAIN;
    if (*crowded < 0)
        *crowded = no_more_sockets(u);
    if (!*crowded)
        return true;
    user_count(&u->socket_drops);
    vio_log_peer(u->log, &u->limit, "user",
                 "the guest may open no more connections: this process has no descriptor below %d free", u->fd_limit);
    return false;
}

static unsigned user_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    struct user *u = (struct user *)b;
    int crowded = -1;
    uint32_t len;

    if (user_now_ms() - u->turned_ms > STALE_MS)
        user_turn_timers(u);
    for (unsigned i = 0; i < n; i++) {
        if (p[i].len < VIO_NET_FRAME_MIN || p[i].len > sizeof u->frame)
            continue;
        vio_net_packet_copy(&p[i], u->frame);
        len = kind_of(u->frame, p[i].len) == FRAME_FRAGMENT ? user_join(u, p[i].len) : p[i].len;
        if (len && may_go_in(u, len, &crowded))
            u->api.input(u->slirp, u->frame, (int)len);
    }
    /* An answer may be here already, or a socket that is not waited for: a queue sends while that which receives sleeps. */
    if (u->asleep) {
        u->asleep = false;
        user_turn_ring(u);
    }
    return n;
}

/* ------------------------------------------------------------------ the rest of the interface */

static void user_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    (void)b;
    *info = (struct vio_net_info){ .mtu = USER_MTU };
}

static void user_destroy(struct vio_net_backend *b)
{
    struct user *u = (struct user *)b;

    if (u->slirp)
        u->api.cleanup(u->slirp);
    user_turn_close(u);
    user_api_close(&u->api);
    free(u->queue.bytes);
    free(u->join);
    free(u);
}

static int user_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    ((struct user *)b)->sink = sink;
    return 0;
}

/* Connections stay: whoever comes next at this device finds them, or ends them as on any network. */
static void user_stop(struct vio_net_backend *b)
{
    struct user *u = (struct user *)b;

    user_queue_clear(&u->queue);
    u->sink = NULL;
}

static unsigned user_poll(struct vio_net_backend *b, unsigned budget)
{
    struct user *u = (struct user *)b;

    if (!user_queue_enough(&u->queue))
        user_turn(u);
    return user_queue_deliver(&u->queue, u->sink, budget);
}

static int user_fd(struct vio_net_backend *b)
{
    return ((struct user *)b)->epoll_fd;
}

/*
 * Without room for packets nothing is waited for: all that sockets and timers bring about is packets for the driver, and
 * what the driver sends does not wait for them.
 */
static bool user_arm(struct vio_net_backend *b, bool sleep, bool receive, bool blocked)
{
    struct user *u = (struct user *)b;

    (void)blocked; /* send() takes everything */
    u->asleep = false;
    if (!sleep)
        return false;
    if (receive && u->queue.nr)
        return true;
    u->asleep = receive;
    user_turn_arm(u, !receive);
    return false;
}

static void user_counters(struct vio_net_backend *b, void (*line)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    struct user *u = (struct user *)b;

    line(ctx, "queue_drops", atomic_load_explicit(&u->queue_drops, memory_order_relaxed));
    line(ctx, "socket_drops", atomic_load_explicit(&u->socket_drops, memory_order_relaxed));
    line(ctx, "fragment_drops", atomic_load_explicit(&u->fragment_drops, memory_order_relaxed));
    line(ctx, "guest_errors", atomic_load_explicit(&u->guest_errors, memory_order_relaxed));
}

const struct vio_net_ops user_ops = {
    .name = "user",
    .info = user_info,
    .destroy = user_destroy,
    .start = user_start,
    .stop = user_stop,
    .send = user_send,
    .poll = user_poll,
    .fd = user_fd,
    .arm = user_arm,
    .counters = user_counters,
};
