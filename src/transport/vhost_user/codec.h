/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vhost-user messages out of and into a socket, without ever waiting: a peer that sends half a message, or does
 * not read its replies, stops nobody. Where it sits: transport/vhost_user, private.
 * Trust: at most VU_PAYLOAD_MAX bytes are read for a message; every descriptor that arrives is closed by vu_msg_drop()
 * unless somebody took it.
 */
#ifndef VIO_TRANSPORT_VHOST_USER_CODEC_H
#define VIO_TRANSPORT_VHOST_USER_CODEC_H

#include <vio/device.h>
#include "spec/vhost_user.h"

enum {
    VU_PAYLOAD_MAX = (int)sizeof(struct vhost_user_config) + VIO_DEVICE_CONFIG_MAX,
    VU_FDS_MAX = 253, /* the kernel passes no more at once */
};

struct vu_msg {
    struct vhost_user_header head;
    unsigned nr_fds;
    int fd[VU_FDS_MAX]; /* -1: taken */
    _Alignas(8) uint8_t payload[VU_PAYLOAD_MAX];
};

/* Closes what nobody took. */
void vu_msg_drop(struct vu_msg *m);

struct vu_rx {
    size_t got;     /* bytes of the message under way */
    bool truncated; /* the kernel had to drop descriptors: our limit of open files */
};

enum vu_received {
    VU_RX_MESSAGE, /* a whole message */
    VU_RX_WAIT,    /* no more for now */
    VU_RX_END,     /* the peer hung up */
    VU_RX_BAD,     /* no vhost-user, or not in order: *why says what; nothing after it can be understood */
    VU_RX_ERROR,   /* the socket failed: errno */
};

/*
 * Reads on; call until it says other than VU_RX_MESSAGE. m is kept from call to call until a message is whole. `reply`:
 * only replies are expected (the back-end channel), else only requests.
 */
enum vu_received vu_receive(struct vu_rx *rx, int fd, struct vu_msg *m, bool reply, const char **why);
static inline bool vu_rx_half(const struct vu_rx *rx)
{
    return rx->got > 0;
}

/* One message on its way out. */
struct vu_tx {
    size_t at, size; /* size 0: nothing to send */
    int fd;          /* goes with the first byte; ours; -1: none */
    uint8_t bytes[sizeof(struct vhost_user_header) + VU_PAYLOAD_MAX];
};

/* Only while nothing is being sent. size <= VU_PAYLOAD_MAX; fd is taken, -1: none. */
void vu_tx_put(struct vu_tx *tx, uint32_t request, uint32_t flags, const void *payload, uint32_t size, int fd);
/* 0: all is out; -EAGAIN: the socket is full; else its errno. */
int vu_tx_send(struct vu_tx *tx, int fd) VIO_MUST_CHECK;
void vu_tx_drop(struct vu_tx *tx);
static inline bool vu_tx_busy(const struct vu_tx *tx)
{
    return tx->size > 0;
}

#endif
