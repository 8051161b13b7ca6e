/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what users of the socket driver call: connect, listen, accept, send, receive, end (virtio 1.4, 5.10.6).
 * Where it sits: driver/, freestanding. Threads: the owner's. Trust: bytes that are handed out were copied once into the
 * connection's own ring.
 */
#include <errno.h>
#include <string.h>
#include "driver/vsock_internal.h"

enum { BOTH = VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE | VIRTIO_VSOCK_SHUTDOWN_F_SEND, PORT_FIRST = 0x10000, PORT_TRIES = 65536 };

/* One that is still its user's. NULL: there is none of this number. */
static struct drv_vsock_conn *conn_of(const struct vio_drv_vsock *v, vio_drv_vsock_id id)
{
    uint32_t i = (id & 0xffff) - 1;
    struct drv_vsock_conn *c;

    if (i >= v->connections)
        return NULL;
    c = &v->conn[i];
    if (c->state == DRV_VSOCK_FREE || c->state == DRV_VSOCK_CLOSING || c->waits || drv_vsock_id(v, c) != id)
        return NULL;
    return c;
}

static bool runs(const struct vio_drv_vsock *v)
{
    return vio_drvdev_status(v->d) == VIO_DRVDEV_RUNS;
}

static int check_type(const struct vio_drv_vsock *v, unsigned type)
{
    if (!runs(v))
        return -EIO;
    switch (type) {
    case VIO_DRV_VSOCK_STREAM:
        /* Devices older than the bit carry streams and offer nothing, or only more than that (5.10.3). */
        return vio_drvdev_has(v->d, VIRTIO_VSOCK_F_STREAM) || !vio_drvdev_has(v->d, VIRTIO_VSOCK_F_NO_IMPLIED_STREAM)
                   ? 0 : -ENOTSUP;
    case VIO_DRV_VSOCK_SEQPACKET:
        return vio_drvdev_has(v->d, VIRTIO_VSOCK_F_SEQPACKET) ? 0 : -ENOTSUP;
    default:
        return -EINVAL;
    }
}

void vio_drv_vsock_service(struct vio_drv_vsock *v)
{
    if (!runs(v))
        return;
    drv_vsock_receive(v);
    if (runs(v))
        drv_vsock_flush(v);
}

/* ------------------------------------------------------------------ beginnings */

static bool port_free(struct vio_drv_vsock *v, uint32_t port)
{
    for (uint32_t i = 0; i < v->connections; i++)
        if (v->conn[i].state != DRV_VSOCK_FREE && v->conn[i].local_port == port)
            return false;
    return drv_vsock_listener(v, VIO_DRV_VSOCK_STREAM, port) == NULL &&
           drv_vsock_listener(v, VIO_DRV_VSOCK_SEQPACKET, port) == NULL;
}

static int choose_port(struct vio_drv_vsock *v, uint32_t *port)
{
    for (unsigned i = 0; i < PORT_TRIES; i++) {
        *port = v->next_port;
        v->next_port = v->next_port < INT32_MAX ? v->next_port + 1 : (uint32_t)PORT_FIRST;
        if (*port >= PORT_FIRST && port_free(v, *port))
            return 0;
    }
    return -EADDRINUSE;
}

int vio_drv_vsock_connect(struct vio_drv_vsock *v, unsigned type, uint64_t cid, uint32_t port, vio_drv_vsock_id *id)
{
    struct drv_vsock_conn *c;
    uint32_t local_port;
    int error = check_type(v, type);

    if (error == 0)
        error = choose_port(v, &local_port);
    if (error != 0)
        return error;
    c = drv_vsock_new(v, type, cid, port, local_port);
    if (c == NULL)
        return -ENOBUFS;
    c->state = DRV_VSOCK_CONNECTING;
    c->owes = DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_REQUEST);
    *id = drv_vsock_id(v, c);
    drv_vsock_flush(v);
    return runs(v) ? 0 : -EIO;
}

int vio_drv_vsock_listen(struct vio_drv_vsock *v, unsigned type, uint32_t port, uint32_t backlog)
{
    struct drv_vsock_listener *l;
    int error = check_type(v, type);

    if (error != 0)
        return error;
    if (drv_vsock_listener(v, type, port) != NULL)
        return -EADDRINUSE;
    l = drv_vsock_listener(v, 0, 0);
    if (l == NULL)
        return -ENOBUFS;
    *l = (struct drv_vsock_listener){ .type = (uint8_t)type, .port = port, .backlog = backlog > 0 ? backlog : 1 };
    return 0;
}

void vio_drv_vsock_unlisten(struct vio_drv_vsock *v, unsigned type, uint32_t port)
{
    struct drv_vsock_listener *l = drv_vsock_listener(v, type, port);

    if (l == NULL || type == 0)
        return;
    *l = (struct drv_vsock_listener){ .type = 0 };
    for (uint32_t i = 0; i < v->connections; i++)
        if (v->conn[i].waits && v->conn[i].type == type && v->conn[i].local_port == port)
            drv_vsock_reset_conn(v, &v->conn[i]);
    if (runs(v))
        drv_vsock_flush(v);
}

int vio_drv_vsock_accept(struct vio_drv_vsock *v, unsigned type, uint32_t port, vio_drv_vsock_id *id)
{
    if (type == 0 || drv_vsock_listener(v, type, port) == NULL)
        return -EINVAL;
    vio_drv_vsock_service(v);
    for (uint32_t i = 0; i < v->connections; i++) {
        struct drv_vsock_conn *c = &v->conn[i];

        if (c->waits && c->type == type && c->local_port == port) {
            c->waits = false;
            *id = drv_vsock_id(v, c);
            return 0;
        }
    }
    return runs(v) ? -EAGAIN : -EIO;
}

int vio_drv_vsock_peer(const struct vio_drv_vsock *v, vio_drv_vsock_id id, uint64_t *cid, uint32_t *port)
{
    const struct drv_vsock_conn *c = conn_of(v, id);

    if (c == NULL)
        return -ENOENT;
    *cid = c->cid;
    *port = c->port;
    return 0;
}

/* ------------------------------------------------------------------ bytes */

int vio_drv_vsock_send(struct vio_drv_vsock *v, vio_drv_vsock_id id, const void *from, uint32_t n, bool end)
{
    struct drv_vsock_conn *c = conn_of(v, id);
    const uint8_t *at = from;
    uint32_t sent = 0;

    if (c == NULL)
        return -ENOENT;
    if (n == 0)
        return -EINVAL;
    vio_drv_vsock_service(v);
    if (!runs(v))
        return -EIO;
    if (c->state == DRV_VSOCK_CLOSED && c->error != 0)
        return c->error;
    if (c->state == DRV_VSOCK_CLOSED || (c->our_shut & VIRTIO_VSOCK_SHUTDOWN_F_SEND) != 0 ||
        (c->peer_shut & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) != 0)
        return -EPIPE;
    n = vio_min_u32(n, INT32_MAX);
    while (c->state == DRV_VSOCK_OPEN && sent < n) {
        uint32_t now = drv_vsock_send_data(v, c, at + sent, n - sent, end);

        if (now == 0)
            break;
        sent += now;
    }
    if (sent < n && c->state == DRV_VSOCK_OPEN && drv_vsock_credit(c) == 0 && !c->asked_credit) {
        c->asked_credit = true;
        c->owes |= DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    }
    drv_vsock_flush(v);
    return sent > 0 ? (int)sent : -EAGAIN;
}

/* Bytes from `at` up to the end of a message, that included; n: it does not end among them. */
static uint32_t message_end(const struct vio_drv_vsock *v, const struct drv_vsock_conn *c, uint32_t n, bool *end)
{
    const uint8_t *ends = drv_vsock_ends(v, c);
    uint32_t i = 0;

    *end = false;
    while (i < n) {
        uint32_t bit = (uint32_t)(((uint64_t)c->at + i) % v->buffer);

        if (bit % 8 == 0 && n - i >= 8 && ends[bit / 8] == 0) {
            i += 8; /* the buffer's size is a multiple of 8: they lie in one byte */
            continue;
        }
        i++;
        if ((ends[bit / 8] >> bit % 8 & 1) != 0) {
            *end = true;
            return i;
        }
    }
    return n;
}

static void take(struct vio_drv_vsock *v, struct drv_vsock_conn *c, uint8_t *to, uint32_t n, bool end)
{
    const uint8_t *ring = drv_vsock_ring(v, c);
    uint32_t first = vio_min_u32(n, v->buffer - c->at), last = (uint32_t)(((uint64_t)c->at + n - 1) % v->buffer);

    memcpy(to, ring + c->at, first);
    memcpy(to + first, ring, n - first);
    if (end)
        drv_vsock_ends(v, c)[last / 8] &= (uint8_t)~(1u << last % 8);
    c->at = (uint32_t)(((uint64_t)c->at + n) % v->buffer);
    c->held -= n;
    c->fwd_cnt += n;
    /* Told before the peer has to wait: when half of what it was promised is used up. */
    if (c->state == DRV_VSOCK_OPEN && c->fwd_cnt - c->told_fwd >= v->buffer / 2)
        c->owes |= DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

int vio_drv_vsock_receive(struct vio_drv_vsock *v, vio_drv_vsock_id id, void *to, uint32_t n, bool *end)
{
    struct drv_vsock_conn *c = conn_of(v, id);
    bool ends = false;

    if (end != NULL)
        *end = false;
    if (c == NULL)
        return -ENOENT;
    if (n == 0)
        return -EINVAL;
    vio_drv_vsock_service(v);
    n = vio_min_u32(vio_min_u32(n, INT32_MAX), c->held);
    if (n > 0) {
        if (c->type == VIO_DRV_VSOCK_SEQPACKET)
            n = message_end(v, c, n, &ends);
        take(v, c, to, n, ends);
        if (end != NULL)
            *end = ends;
        if (runs(v))
            drv_vsock_flush(v);
        return (int)n;
    }
    if (!runs(v))
        return -EIO;
    if (c->state == DRV_VSOCK_CLOSED)
        return c->error;
    return (c->peer_shut & VIRTIO_VSOCK_SHUTDOWN_F_SEND) != 0 || (c->our_shut & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) != 0
               ? 0 : -EAGAIN;
}

/* ------------------------------------------------------------------ ends */

int vio_drv_vsock_shutdown(struct vio_drv_vsock *v, vio_drv_vsock_id id, bool receive, bool send)
{
    struct drv_vsock_conn *c = conn_of(v, id);
    unsigned flags = (receive ? VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE : 0) | (send ? VIRTIO_VSOCK_SHUTDOWN_F_SEND : 0);

    if (c == NULL)
        return -ENOENT;
    if (c->state != DRV_VSOCK_OPEN)
        return -ENOTCONN;
    c->our_shut |= (uint8_t)flags;
    c->owes |= DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_SHUTDOWN);
    drv_vsock_flush(v);
    return runs(v) ? 0 : -EIO;
}

void vio_drv_vsock_close(struct vio_drv_vsock *v, vio_drv_vsock_id id)
{
    struct drv_vsock_conn *c = conn_of(v, id);

    if (c == NULL)
        return;
    if (c->state == DRV_VSOCK_OPEN) {
        c->state = DRV_VSOCK_CLOSING; /* the peer answers with a reset, or makes room when a place is needed */
        c->age = v->closes++;
        c->our_shut = BOTH;
        c->owes |= DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_SHUTDOWN);
        c->generation++;
    } else if (c->state == DRV_VSOCK_CONNECTING || (c->owes & DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_RST)) != 0) {
        drv_vsock_reset_conn(v, c);
    } else {
        drv_vsock_free(c);
    }
    if (runs(v))
        drv_vsock_flush(v);
}

void vio_drv_vsock_reset(struct vio_drv_vsock *v, vio_drv_vsock_id id)
{
    struct drv_vsock_conn *c = conn_of(v, id);

    if (c == NULL)
        return;
    if (c->state == DRV_VSOCK_CLOSED && c->owes == 0)
        drv_vsock_free(c);
    else
        drv_vsock_reset_conn(v, c);
    if (runs(v))
        drv_vsock_flush(v);
}

/* ------------------------------------------------------------------ waiting */

unsigned vio_drv_vsock_state(const struct vio_drv_vsock *v, vio_drv_vsock_id id)
{
    const struct drv_vsock_conn *c = conn_of(v, id);
    unsigned state = 0;

    if (c == NULL)
        return 0;
    if (c->held > 0 || c->state == DRV_VSOCK_CLOSED || (c->peer_shut & VIRTIO_VSOCK_SHUTDOWN_F_SEND) != 0)
        state |= VIO_DRV_VSOCK_READABLE;
    if (c->state == DRV_VSOCK_OPEN && drv_vsock_credit(c) > 0 && v->tx.nr_free > 0)
        state |= VIO_DRV_VSOCK_WRITABLE;
    if (c->state == DRV_VSOCK_CLOSED)
        state |= VIO_DRV_VSOCK_CLOSED;
    return state;
}

static int wait_queues(struct vio_drv_vsock *v, uint64_t deadline)
{
    static const uint16_t queues[3] = { VIRTIO_VSOCK_RX, VIRTIO_VSOCK_TX, VIRTIO_VSOCK_EVENT };

    return drv_wait_any(v->d, queues, 3, deadline);
}

int vio_drv_vsock_wait(struct vio_drv_vsock *v, vio_drv_vsock_id id, unsigned what, uint64_t ns)
{
    uint64_t deadline = drv_deadline(v->d, ns);
    int error = 0;

    while (error == 0) {
        vio_drv_vsock_service(v);
        if (conn_of(v, id) == NULL)
            return -ENOENT;
        if ((vio_drv_vsock_state(v, id) & what) != 0)
            return 0;
        error = runs(v) ? wait_queues(v, deadline) : -EIO;
    }
    return error;
}

int vio_drv_vsock_wait_accept(struct vio_drv_vsock *v, unsigned type, uint32_t port, uint64_t ns)
{
    uint64_t deadline = drv_deadline(v->d, ns);
    int error = 0;

    if (type == 0 || drv_vsock_listener(v, type, port) == NULL)
        return -EINVAL;
    while (error == 0) {
        vio_drv_vsock_service(v);
        for (uint32_t i = 0; i < v->connections; i++)
            if (v->conn[i].waits && v->conn[i].type == type && v->conn[i].local_port == port)
                return 0;
        error = runs(v) ? wait_queues(v, deadline) : -EIO;
    }
    return error;
}

uint64_t vio_drv_vsock_cid(const struct vio_drv_vsock *v)
{
    return v->cid;
}

uint64_t vio_drv_vsock_ignored(const struct vio_drv_vsock *v)
{
    return v->ignored;
}
