/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the socket driver's files share. Where it sits: driver/, private, freestanding. Threads: the owner's.
 * Invariants: a connection holds at most `buffer` bytes and was promised no more; what it owes the peer is bits; resets for
 * those that are not in the table wait in a short row, and while that is full no packet is taken in.
 */
#ifndef VIO_DRIVER_VSOCK_INTERNAL_H
#define VIO_DRIVER_VSOCK_INTERNAL_H

#include <vio/drv_vsock.h>
#include "driver/core_slots.h"
#include "spec/vsock.h"

enum { DRV_VSOCK_RESETS = 64, DRV_VSOCK_EVENTS = 8 };

enum drv_vsock_state {
    DRV_VSOCK_FREE,
    DRV_VSOCK_CONNECTING,
    DRV_VSOCK_OPEN,
    DRV_VSOCK_CLOSED,  /* over; waits for its user to close it */
    DRV_VSOCK_CLOSING, /* its user has closed it; waits for the peer's reset */
};

/* Packets without payload that a connection has still to send, as bits by their operation. */
#define DRV_VSOCK_OWES(op) (1u << (op))

struct drv_vsock_conn {
    uint8_t state, type;
    bool waits;        /* not accepted yet */
    uint16_t generation;
    uint64_t cid;      /* the peer's */
    uint32_t port, local_port;
    uint32_t tx_cnt, peer_alloc, peer_fwd;
    uint32_t fwd_cnt, told_fwd;
    uint32_t at, held; /* in the ring: the first byte, and how many */
    uint32_t age;      /* order of closing */
    unsigned owes;
    uint8_t our_shut, peer_shut; /* VIRTIO_VSOCK_SHUTDOWN_F_* */
    bool asked_credit;
    int error;
};

struct drv_vsock_listener {
    uint8_t type; /* 0: free */
    uint32_t port, backlog;
};

struct drv_vsock_reset {
    uint64_t cid;
    uint32_t port, local_port;
    uint16_t type;
};

struct vio_drv_vsock {
    struct vio_drvdev *d;
    const struct vio_drv_vsock_params *params;
    uint64_t cid;
    uint32_t connections, buffer, packet;
    struct drv_vsock_conn *conn;
    size_t conn_bytes;
    uint8_t *rings;  /* buffer bytes for each connection, then buffer / 8 bytes of its ends of messages, a bit a byte */
    size_t ring_bytes;
    struct drv_slots rx, tx, events;
    struct drv_vsock_listener listener[VIO_DRV_VSOCK_LISTENERS_MAX];
    struct drv_vsock_reset reset[DRV_VSOCK_RESETS];
    uint32_t reset_at, resets;
    uint32_t next_port, closes;
    uint64_t ignored;
};

static inline uint8_t *drv_vsock_ring(const struct vio_drv_vsock *v, const struct drv_vsock_conn *c)
{
    return v->rings + (size_t)(c - v->conn) * (v->buffer + v->buffer / 8);
}

static inline uint8_t *drv_vsock_ends(const struct vio_drv_vsock *v, const struct drv_vsock_conn *c)
{
    return drv_vsock_ring(v, c) + v->buffer;
}

static inline vio_drv_vsock_id drv_vsock_id(const struct vio_drv_vsock *v, const struct drv_vsock_conn *c)
{
    return (uint32_t)c->generation << 16 | ((uint32_t)(c - v->conn) + 1);
}

static inline void drv_vsock_event(struct vio_drv_vsock *v, struct drv_vsock_conn *c, unsigned what)
{
    if (v->params->event == NULL || c->state == DRV_VSOCK_CLOSING || c->state == DRV_VSOCK_FREE)
        return;
    if (c->waits)
        v->params->event(v->params->ctx, v->d, 0, c->local_port, VIO_DRV_VSOCK_ACCEPTABLE);
    else
        v->params->event(v->params->ctx, v->d, drv_vsock_id(v, c), c->local_port, what);
}

/* What the peer may still be sent. */
static inline uint32_t drv_vsock_credit(const struct drv_vsock_conn *c)
{
    uint32_t out = c->tx_cnt - c->peer_fwd;

    return out < c->peer_alloc ? c->peer_alloc - out : 0;
}

/* vsock_table.c */
struct drv_vsock_conn *drv_vsock_find(struct vio_drv_vsock *v, unsigned type, uint64_t cid, uint32_t port, uint32_t local_port);
struct drv_vsock_listener *drv_vsock_listener(struct vio_drv_vsock *v, unsigned type, uint32_t port);
struct drv_vsock_conn *drv_vsock_new(struct vio_drv_vsock *v, unsigned type, uint64_t cid, uint32_t port, uint32_t local_port);
void drv_vsock_free(struct drv_vsock_conn *c);
/* Over for its user, who hears of it, or gone where there is none. */
void drv_vsock_over(struct vio_drv_vsock *v, struct drv_vsock_conn *c, int error);
/* The device is another one, or the same elsewhere: no connection lives on. */
void drv_vsock_all_over(struct vio_drv_vsock *v);

/* vsock_tx.c */
/* A reset for someone who has, or is to have, no place in the table. False: it was not noted. */
bool drv_vsock_send_reset(struct vio_drv_vsock *v, const struct drv_vsock_reset *reset);
/* The same to a connection that is in the table, whose place is free then. */
void drv_vsock_reset_conn(struct vio_drv_vsock *v, struct drv_vsock_conn *c);
/* What is owed, as far as there is room; publishes. */
void drv_vsock_flush(struct vio_drv_vsock *v);
/* One packet of payload: how many bytes, 0: no room. */
uint32_t drv_vsock_send_data(struct vio_drv_vsock *v, struct drv_vsock_conn *c, const uint8_t *from, uint32_t n, bool end);

/* vsock_rx.c */
int drv_vsock_start(struct vio_drv_vsock *v) VIO_MUST_CHECK;
void drv_vsock_receive(struct vio_drv_vsock *v);

/* vsock_driver.c: this side's address, as the configuration says. */
int drv_vsock_read_cid(struct vio_drv_vsock *v) VIO_MUST_CHECK;

#endif
