/* SPDX-License-Identifier: MIT */
/*
 * Purpose: packets of the socket driver from the device (virtio 1.4, 5.10.6), and the events of its event queue.
 * Where it sits: driver/, freestanding. Threads: the owner's.
 * Trust: a header is copied once, with the length that the ring has checked, and judged on the copy; payload is copied once
 * into a ring that has room for it, or its connection ends.
 */
#include <errno.h>
#include <string.h>
#include "driver/vsock_internal.h"

/* A header in host order. */
struct packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len, flags, buf_alloc, fwd_cnt;
    uint16_t type, op;
    const uint8_t *payload;
};

/* The packet is for none of ours: its sender hears so, unless it says the same. False: no room for the answer. */
static bool refuse(struct vio_drv_vsock *v, const struct packet *p)
{
    const struct drv_vsock_reset reset = { .cid = p->src_cid, .port = p->src_port, .local_port = p->dst_port, .type = p->type };

    v->ignored++;
    return p->op == VIRTIO_VSOCK_OP_RST || drv_vsock_send_reset(v, &reset);
}

/* What the peer did cannot be: it is told, and so is our user. */
static void offended(struct vio_drv_vsock *v, struct drv_vsock_conn *c)
{
    v->ignored++;
    c->owes |= DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_RST);
    if (c->state == DRV_VSOCK_CLOSING || c->waits)
        drv_vsock_reset_conn(v, c);
    else
        drv_vsock_over(v, c, -ECONNRESET);
}

/* ------------------------------------------------------------------ one connection */

/* The peer's credit. False: it takes more than was sent. */
static bool take_credit(struct drv_vsock_conn *c, const struct packet *p)
{
    if (p->fwd_cnt - c->peer_fwd > c->tx_cnt - c->peer_fwd)
        return false;
    c->peer_fwd = p->fwd_cnt;
    c->peer_alloc = p->buf_alloc;
    return true;
}

static void hold(struct vio_drv_vsock *v, struct drv_vsock_conn *c, const struct packet *p)
{
    uint8_t *ring = drv_vsock_ring(v, c), *ends = drv_vsock_ends(v, c);
    uint32_t at = (uint32_t)(((uint64_t)c->at + c->held) % v->buffer), first = vio_min_u32(p->len, v->buffer - at);
    uint32_t last = (uint32_t)(((uint64_t)at + p->len - 1) % v->buffer);

    memcpy(ring + at, p->payload, first);
    memcpy(ring, p->payload + first, p->len - first);
    if (c->type == VIO_DRV_VSOCK_SEQPACKET && (p->flags & VIRTIO_VSOCK_SEQ_EOM) != 0)
        ends[last / 8] = (uint8_t)(ends[last / 8] | 1u << last % 8);
    c->held += p->len;
}

static void on_data(struct vio_drv_vsock *v, struct drv_vsock_conn *c, const struct packet *p)
{
    if (p->len > v->buffer - c->held || (c->peer_shut & VIRTIO_VSOCK_SHUTDOWN_F_SEND) != 0) {
        offended(v, c);
        return;
    }
    if (p->len == 0)
        return;
    if ((c->our_shut & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) != 0) {
        c->fwd_cnt += p->len; /* nobody wants it any more, and the peer may not know yet */
        return;
    }
    hold(v, c, p);
    drv_vsock_event(v, c, VIO_DRV_VSOCK_READABLE);
}

static void on_shutdown(struct vio_drv_vsock *v, struct drv_vsock_conn *c, uint32_t flags)
{
    enum { BOTH = VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE | VIRTIO_VSOCK_SHUTDOWN_F_SEND };

    c->peer_shut |= (uint8_t)(flags & BOTH);
    if (c->peer_shut != BOTH) {
        drv_vsock_event(v, c, VIO_DRV_VSOCK_READABLE);
        return;
    }
    /* A clean end: both sides are through, and the reset says that we know (5.10.6.5). */
    if (c->state == DRV_VSOCK_CLOSING || (c->waits && c->held == 0)) {
        drv_vsock_reset_conn(v, c);
        return;
    }
    c->owes |= DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_RST);
    if (c->waits)
        c->state = DRV_VSOCK_CLOSED; /* what it sent can still be accepted and received */
    else
        drv_vsock_over(v, c, 0);
}

static void on_open(struct vio_drv_vsock *v, struct drv_vsock_conn *c, const struct packet *p)
{
    switch (p->op) {
    case VIRTIO_VSOCK_OP_RST:
        drv_vsock_over(v, c, c->state == DRV_VSOCK_CLOSING || c->peer_shut != 0 || c->our_shut != 0 ? 0 : -ECONNRESET);
        break;
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        on_shutdown(v, c, p->flags);
        break;
    case VIRTIO_VSOCK_OP_RW:
        if (c->state == DRV_VSOCK_OPEN)
            on_data(v, c, p);
        break;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        c->owes |= DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        break;
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        break;
    default:
        offended(v, c);
    }
}

static void on_packet(struct vio_drv_vsock *v, struct drv_vsock_conn *c, const struct packet *p)
{
    bool dry = drv_vsock_credit(c) == 0;

    if (c->state == DRV_VSOCK_CLOSED) {
        v->ignored++; /* it crossed our reset, or the peer's own */
        return;
    }
    if (p->op != VIRTIO_VSOCK_OP_RST && !take_credit(c, p)) {
        offended(v, c);
        return;
    }
    if (c->state != DRV_VSOCK_CONNECTING) {
        on_open(v, c, p);
    } else if (p->op == VIRTIO_VSOCK_OP_RESPONSE) {
        c->state = DRV_VSOCK_OPEN;
    } else if (p->op == VIRTIO_VSOCK_OP_RST) {
        drv_vsock_over(v, c, -ECONNREFUSED);
    } else {
        offended(v, c);
    }
    if (c->state == DRV_VSOCK_OPEN && dry && drv_vsock_credit(c) > 0)
        drv_vsock_event(v, c, VIO_DRV_VSOCK_WRITABLE);
}

/* ------------------------------------------------------------------ a new one */

static uint32_t waiting(const struct vio_drv_vsock *v, unsigned type, uint32_t port)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < v->connections; i++)
        n += v->conn[i].waits && v->conn[i].local_port == port && v->conn[i].type == type;
    return n;
}

static bool on_request(struct vio_drv_vsock *v, const struct packet *p)
{
    struct drv_vsock_listener *l = drv_vsock_listener(v, p->type, p->dst_port);
    struct drv_vsock_conn *c;

    /* Nothing was sent to it yet: a count of what it took that is not 0 is a lie. */
    if (p->fwd_cnt != 0 || l == NULL || waiting(v, p->type, p->dst_port) >= l->backlog)
        return refuse(v, p);
    c = drv_vsock_new(v, p->type, p->src_cid, p->src_port, p->dst_port);
    if (c == NULL)
        return refuse(v, p);
    c->state = DRV_VSOCK_OPEN;
    c->waits = true;
    c->peer_alloc = p->buf_alloc;
    c->owes = DRV_VSOCK_OWES(VIRTIO_VSOCK_OP_RESPONSE);
    drv_vsock_event(v, c, VIO_DRV_VSOCK_ACCEPTABLE);
    return true;
}

/* ------------------------------------------------------------------ all packets */

static struct packet packet_of(const struct virtio_vsock_hdr *h, const uint8_t *payload)
{
    return (struct packet){
        .src_cid = vio_cpu(h->src_cid), .dst_cid = vio_cpu(h->dst_cid), .src_port = vio_cpu(h->src_port),
        .dst_port = vio_cpu(h->dst_port), .len = vio_cpu(h->len), .flags = vio_cpu(h->flags),
        .buf_alloc = vio_cpu(h->buf_alloc), .fwd_cnt = vio_cpu(h->fwd_cnt), .type = vio_cpu(h->type),
        .op = vio_cpu(h->op), .payload = payload,
    };
}

/* One packet of `len` bytes in a buffer that is ours again. */
static void handle(struct vio_drv_vsock *v, const uint8_t *bytes, uint32_t len)
{
    struct virtio_vsock_hdr header;
    struct drv_vsock_conn *c;
    struct packet p;

    if (len < sizeof(header)) {
        vio_drvdev_broken(v->d, "a packet shorter than its header of 44 bytes", "virtio 1.4, 5.10.6");
        return;
    }
    memcpy(&header, bytes, sizeof(header));
    p = packet_of(&header, bytes + sizeof(header));
    if (p.len > len - sizeof(header)) {
        vio_drvdev_broken(v->d, "a packet that says it is longer than what came", "virtio 1.4, 5.10.6");
        return;
    }
    if (p.dst_cid != v->cid) {
        v->ignored++; /* it was for another, or for who we were before a reset of the transport */
        return;
    }
    c = drv_vsock_find(v, p.type, p.src_cid, p.src_port, p.dst_port);
    if (c != NULL)
        on_packet(v, c, &p);
    else if (p.op == VIRTIO_VSOCK_OP_REQUEST)
        (void)on_request(v, &p); /* room for a refusal was there before we took the packet */
    else
        (void)refuse(v, &p);
}

static int put_rx(struct vio_drv_vsock *v, uint32_t slot)
{
    struct vio_buf buf = { drv_slots_addr(&v->rx, slot), (uint32_t)sizeof(struct virtio_vsock_hdr) + v->packet };

    return vio_drvq_put(vio_drvdev_queue(v->d, VIRTIO_VSOCK_RX), &buf, 0, 1, slot);
}

static void receive_packets(struct vio_drv_vsock *v)
{
    struct vio_drvq *q = vio_drvdev_queue(v->d, VIRTIO_VSOCK_RX);
    struct vio_done done;

    /* At most as many as there are buffers, and none while there is no room to note what an answer would be. */
    for (uint32_t i = 0; i < v->rx.nr; i++) {
        if (v->resets + 2 > DRV_VSOCK_RESETS)
            drv_vsock_flush(v);
        if (v->resets + 2 > DRV_VSOCK_RESETS || vio_drvq_collect(q, &done, 1) != 1)
            break;
        handle(v, drv_slots_host(&v->rx, (uint32_t)done.token), done.len);
        if (vio_drvdev_status(v->d) != VIO_DRVDEV_RUNS || put_rx(v, (uint32_t)done.token) != 0)
            break;
    }
    if (!drv_queue_broken(v->d, VIRTIO_VSOCK_RX))
        vio_drvdev_publish(v->d, VIRTIO_VSOCK_RX);
}

/* ------------------------------------------------------------------ events */

static int put_event(struct vio_drv_vsock *v, uint32_t slot)
{
    struct vio_buf buf = { drv_slots_addr(&v->events, slot), sizeof(struct virtio_vsock_event) };

    return vio_drvq_put(vio_drvdev_queue(v->d, VIRTIO_VSOCK_EVENT), &buf, 0, 1, slot);
}

static void on_event(struct vio_drv_vsock *v, const uint8_t *bytes, uint32_t len)
{
    struct virtio_vsock_event event;

    memcpy(&event, bytes, sizeof(event));
    if (len < sizeof(event) || vio_cpu(event.id) != VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) {
        v->ignored++;
        return;
    }
    /* Moved to another host: listeners stay, connections do not (5.10.6.7). */
    drv_vsock_all_over(v);
    if (drv_vsock_read_cid(v) != 0)
        vio_drvdev_broken(v->d, "no guest_cid that can be, after a transport reset", "virtio 1.4, 5.10.4");
}

static void receive_events(struct vio_drv_vsock *v)
{
    struct vio_drvq *q = vio_drvdev_queue(v->d, VIRTIO_VSOCK_EVENT);
    uint8_t copy[sizeof(struct virtio_vsock_event)];
    struct vio_done done;

    for (uint32_t i = 0; i < v->events.nr && vio_drvq_collect(q, &done, 1) == 1; i++) {
        memcpy(copy, drv_slots_host(&v->events, (uint32_t)done.token), sizeof(copy));
        if (put_event(v, (uint32_t)done.token) != 0)
            break;
        on_event(v, copy, done.len);
    }
    if (!drv_queue_broken(v->d, VIRTIO_VSOCK_EVENT))
        vio_drvdev_publish(v->d, VIRTIO_VSOCK_EVENT);
}

void drv_vsock_receive(struct vio_drv_vsock *v)
{
    receive_events(v);
    if (vio_drvdev_status(v->d) == VIO_DRVDEV_RUNS)
        receive_packets(v);
}

int drv_vsock_start(struct vio_drv_vsock *v)
{
    uint32_t slot;
    int error = 0;

    while (error == 0 && (slot = drv_slots_take(&v->rx)) != DRV_SLOT_NONE)
        error = put_rx(v, slot);
    while (error == 0 && (slot = drv_slots_take(&v->events)) != DRV_SLOT_NONE)
        error = put_event(v, slot);
    vio_drvdev_publish(v->d, VIRTIO_VSOCK_RX);
    vio_drvdev_publish(v->d, VIRTIO_VSOCK_EVENT);
    return error;
}
