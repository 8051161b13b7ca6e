/* SPDX-License-Identifier: MIT */
/*
 * Purpose: packets of the socket driver to the device (virtio 1.4, 5.10.6). Where it sits: driver/, freestanding.
 * Threads: the owner's. Trust: nothing here is read from what the device writes.
 */
#include <string.h>
#include "driver/vsock_internal.h"

static void reap(struct vio_drv_vsock *v)
{
    struct vio_drvq *q = vio_drvdev_queue(v->d, VIRTIO_VSOCK_TX);
    struct vio_done done;

    while (vio_drvq_collect(q, &done, 1) == 1)
        drv_slots_give(&v->tx, (uint32_t)done.token);
    (void)drv_queue_broken(v->d, VIRTIO_VSOCK_TX);
}

/* Puts one packet, its header filled in but for our address. False: no room. */
static bool put(struct vio_drv_vsock *v, struct virtio_vsock_hdr *header, const uint8_t *payload, uint32_t len)
{
    uint32_t slot = drv_slots_take(&v->tx);
    struct vio_buf buf = { 0, (uint32_t)sizeof(*header) + len };

    if (slot == DRV_SLOT_NONE)
        return false;
    header->src_cid = vio_le64_of(v->cid);
    header->len = vio_le32_of(len);
    memcpy(drv_slots_host(&v->tx, slot), header, sizeof(*header));
    if (len > 0)
        memcpy(drv_slots_host(&v->tx, slot) + sizeof(*header), payload, len);
    buf.addr = drv_slots_addr(&v->tx, slot);
    if (vio_drvq_put(vio_drvdev_queue(v->d, VIRTIO_VSOCK_TX), &buf, 1, 0, slot) == 0)
        return true;
    drv_slots_give(&v->tx, slot);
    return false;
}

static bool send(struct vio_drv_vsock *v, struct drv_vsock_conn *c, unsigned op, uint32_t flags, const uint8_t *payload, uint32_t len)
{
    struct virtio_vsock_hdr header = {
        .dst_cid = vio_le64_of(c->cid), .src_port = vio_le32_of(c->local_port), .dst_port = vio_le32_of(c->port),
        .type = vio_le16_of(c->type), .op = vio_le16_of((uint16_t)op), .flags = vio_le32_of(flags),
        .buf_alloc = vio_le32_of(v->buffer), .fwd_cnt = vio_le32_of(c->fwd_cnt),
    };

    if (!put(v, &header, payload, len))
        return false;
    c->told_fwd = c->fwd_cnt; /* every packet tells it */
    return true;
}

/* ------------------------------------------------------------------ resets */

bool drv_vsock_send_reset(struct vio_drv_vsock *v, const struct drv_vsock_reset *reset)
{
    if (v->resets == DRV_VSOCK_RESETS)
        return false;
    v->reset[(v->reset_at + v->resets++) % DRV_VSOCK_RESETS] = *reset;
    return true;
}

void drv_vsock_reset_conn(struct vio_drv_vsock *v, struct drv_vsock_conn *c)
{
    const struct drv_vsock_reset reset = { .cid = c->cid, .port = c->port, .local_port = c->local_port, .type = c->type };

    /* Not noted: the peer finds out when it sends the next packet, which is answered by a reset. */
    (void)drv_vsock_send_reset(v, &reset);
    drv_vsock_free(c);
}

static bool flush_resets(struct vio_drv_vsock *v)
{
    for (; v->resets > 0; v->resets--) {
        const struct drv_vsock_reset *r = &v->reset[v->reset_at];
        struct virtio_vsock_hdr header = {
            .dst_cid = vio_le64_of(r->cid), .src_port = vio_le32_of(r->local_port), .dst_port = vio_le32_of(r->port),
            .type = vio_le16_of(r->type), .op = vio_le16_of(VIRTIO_VSOCK_OP_RST),
        };

        if (!put(v, &header, NULL, 0))
            return false;
        v->reset_at = (v->reset_at + 1) % DRV_VSOCK_RESETS;
    }
    return true;
}

/* ------------------------------------------------------------------ what connections owe */

static bool flush_conn(struct vio_drv_vsock *v, struct drv_vsock_conn *c)
{
    /* In this order: a connection begins before it ends. */
    static const uint8_t ops[] = { VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE, VIRTIO_VSOCK_OP_CREDIT_UPDATE,
                                   VIRTIO_VSOCK_OP_CREDIT_REQUEST, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_OP_RST };

    for (unsigned i = 0; i < sizeof(ops) && c->owes != 0; i++) {
        uint32_t flags = ops[i] == VIRTIO_VSOCK_OP_SHUTDOWN ? c->our_shut : 0;

        if ((c->owes & DRV_VSOCK_OWES(ops[i])) == 0)
            continue;
        if (!send(v, c, ops[i], flags, NULL, 0))
            return false;
        c->owes &= ~DRV_VSOCK_OWES(ops[i]);
    }
    return true;
}

void drv_vsock_flush(struct vio_drv_vsock *v)
{
    bool room;

    reap(v);
    room = flush_resets(v);
    for (uint32_t i = 0; room && i < v->connections; i++)
        if (v->conn[i].owes != 0)
            room = flush_conn(v, &v->conn[i]);
    vio_drvdev_publish(v->d, VIRTIO_VSOCK_TX);
}

uint32_t drv_vsock_send_data(struct vio_drv_vsock *v, struct drv_vsock_conn *c, const uint8_t *from, uint32_t n, bool end)
{
    uint32_t now = vio_min_u32(vio_min_u32(n, v->packet), drv_vsock_credit(c));
    bool last = end && now == n && c->type == VIO_DRV_VSOCK_SEQPACKET;

    if (now == 0 || !flush_conn(v, c) || !send(v, c, VIRTIO_VSOCK_OP_RW, last ? VIRTIO_VSOCK_SEQ_EOM : 0, from, now))
        return 0;
    c->tx_cnt += now;
    c->asked_credit = false;
    return now;
}
