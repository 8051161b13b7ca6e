/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the socket driver's table of connections and listeners. Where it sits: driver/, freestanding.
 * Threads: the owner's. Trust: keys are compared whole; a full table is an answer, not an accident.
 */
#include <errno.h>
#include <string.h>
#include "driver/vsock_internal.h"

struct drv_vsock_conn *drv_vsock_find(struct vio_drv_vsock *v, unsigned type, uint64_t cid, uint32_t port, uint32_t local_port)
{
    for (uint32_t i = 0; i < v->connections; i++) {
        struct drv_vsock_conn *c = &v->conn[i];

        if (c->state != DRV_VSOCK_FREE && c->local_port == local_port && c->port == port && c->cid == cid && c->type == type)
            return c;
    }
    return NULL;
}

struct drv_vsock_listener *drv_vsock_listener(struct vio_drv_vsock *v, unsigned type, uint32_t port)
{
    for (unsigned i = 0; i < VIO_DRV_VSOCK_LISTENERS_MAX; i++)
        if (v->listener[i].type == type && v->listener[i].port == port)
            return &v->listener[i];
    return NULL;
}

void drv_vsock_free(struct drv_vsock_conn *c)
{
    uint16_t generation = (uint16_t)(c->generation + 1);

    *c = (struct drv_vsock_conn){ .generation = generation };
}

/* A free place; where there is none, that of the connection whose peer keeps us waiting for the end the longest. */
static struct drv_vsock_conn *place(struct vio_drv_vsock *v)
{
    struct drv_vsock_conn *oldest = NULL;

    for (uint32_t i = 0; i < v->connections; i++) {
        struct drv_vsock_conn *c = &v->conn[i];

        if (c->state == DRV_VSOCK_FREE)
            return c;
        if (c->state == DRV_VSOCK_CLOSING && (oldest == NULL || (int32_t)(c->age - oldest->age) < 0))
            oldest = c;
    }
    if (oldest != NULL)
        drv_vsock_reset_conn(v, oldest);
    return oldest;
}

struct drv_vsock_conn *drv_vsock_new(struct vio_drv_vsock *v, unsigned type, uint64_t cid, uint32_t port, uint32_t local_port)
{
    struct drv_vsock_conn *c = place(v);

    if (c == NULL)
        return NULL;
    *c = (struct drv_vsock_conn){
        .type = (uint8_t)type, .generation = c->generation, .cid = cid, .port = port, .local_port = local_port,
    };
    memset(drv_vsock_ends(v, c), 0, v->buffer / 8);
    return c;
}

void drv_vsock_over(struct vio_drv_vsock *v, struct drv_vsock_conn *c, int error)
{
    if (c->state == DRV_VSOCK_CLOSING || c->waits) {
        drv_vsock_free(c);
        return;
    }
    c->state = DRV_VSOCK_CLOSED;
    c->error = error;
    /* A reset that is still owed is the peer's due; nothing else is. */
    c->owes &= DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_RST);
    drv_vsock_event(v, c, VIO_DRV_VSOCK_CLOSED);
}

void drv_vsock_all_over(struct vio_drv_vsock *v)
{
    v->resets = 0;
    for (uint32_t i = 0; i < v->connections; i++) {
        struct drv_vsock_conn *c = &v->conn[i];

        c->owes = 0;
        if (c->state != DRV_VSOCK_FREE && c->state != DRV_VSOCK_CLOSED)
            drv_vsock_over(v, c, -ECONNRESET);
    }
}
