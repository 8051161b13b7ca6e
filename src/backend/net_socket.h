/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the socket backend share:
 *   net_socket.c         making, the connection's coming and going, sleeping
 *   net_socket_stream.c  frames with a length before each, on a byte stream
 *   net_socket_dgram.c   a frame is a datagram
 * Where it sits: backend/net, private. Threads: the owner's, but for opening and closing; counters are read by any.
 */
#ifndef VIO_BACKEND_NET_SOCKET_H
#define VIO_BACKEND_NET_SOCKET_H

#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <vio/net.h>

#include "backend/net_wait.h"

#define SOCKET_LENGTH 4u        /* bytes of length before a frame */
#define SOCKET_RX_BYTES 262144u /* of a stream, received and not delivered */
#define SOCKET_ROOMS 16u        /* datagrams received and not delivered */
/* One byte more than the longest, so that a longer one is seen; lines, but not pages: those share cache sets. */
#define SOCKET_ROOM ((VIO_NET_FRAME_MAX + 1 + 63) / 64 * 64)
#define SOCKET_PIECES 256u      /* of all frames of one system call */
_Static_assert(SOCKET_RX_BYTES >= 2 * (SOCKET_LENGTH + VIO_NET_FRAME_MAX), "a begun frame and one more");

struct net_socket {
    struct vio_net_backend head;
    struct vio_net_sink sink;
    const struct vio_log *log;
    struct vio_log_limit limit;
    struct sockaddr_un path, local; /* local: a datagram socket's own */
    bool datagram, listens;
    bool up;      /* there is a peer */
    bool was_up;  /* at least once */
    int epoll_fd;
    bool in, out; /* what the device waits for, as it said when it last slept */
    bool paused;  /* nobody is let in for now: the process has no descriptor left */
    struct net_watch peer; /* the stream; or the datagram socket, which is there without a peer too */
    struct net_watch listener, timer;
    const char *made; /* the path of a socket that we made, and which file it is */
    dev_t made_dev;
    ino_t made_ino;
    uint8_t *rx; /* SOCKET_RX_BYTES, or SOCKET_ROOMS of SOCKET_ROOM */
    /* stream: bytes [rx_at, rx_end); datagrams: packet[rx_at .. rx_end) */
    uint32_t rx_at, rx_end;
    uint8_t *tx; /* a frame with its length: what the kernel had no room for is [tx_at, tx_end) */
    uint32_t tx_at, tx_end;
    struct vio_seg seg[SOCKET_ROOMS];
    struct vio_net_packet packet[SOCKET_ROOMS];
    _Atomic uint64_t tx_no_peer, tx_refused, rx_bad, connections;
};

static inline void socket_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* What is waited for becomes what the device and the connection need now. */
void socket_watch(struct net_socket *s);
/* Whether there is a peer now; looks for one if not, where it is time to. */
bool socket_up(struct net_socket *s);
/* A second has gone by: a datagram peer may be another by now. */
void socket_tick(struct net_socket *s);
/* The peer is gone, or is left for what it does: one line, and what was begun with it is forgotten. */
void socket_down(struct net_socket *s, const char *format, ...) VIO_PRINTF(2, 3);

unsigned stream_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n);
unsigned stream_poll(struct vio_net_backend *b, unsigned budget);
bool stream_has_frame(const struct net_socket *s); /* received as a whole; or what ends the connection */

unsigned dgram_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n);
unsigned dgram_poll(struct vio_net_backend *b, unsigned budget);

#endif
