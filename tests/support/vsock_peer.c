/* SPDX-License-Identifier: MIT */
#include "vsock_peer.h"

#include <stdlib.h>
#include <string.h>

bool vsock_peer_send(struct script *s, uint32_t port, uint32_t guest_port, unsigned type, unsigned op, uint32_t flags,
                     uint32_t alloc, uint32_t fwd, const void *payload, uint32_t len)
{
    struct virtio_vsock_hdr h = {
        .src_cid = vio_le64_of(PEER_CID), .dst_cid = vio_le64_of(GUEST_CID), .src_port = vio_le32_of(port),
        .dst_port = vio_le32_of(guest_port), .len = vio_le32_of(len), .type = vio_le16_of((uint16_t)type),
        .op = vio_le16_of((uint16_t)op), .flags = vio_le32_of(flags), .buf_alloc = vio_le32_of(alloc),
        .fwd_cnt = vio_le32_of(fwd),
    };
    uint8_t packet[sizeof(h) + 4096];

    memcpy(packet, &h, sizeof(h));
    if (len > 0)
        memcpy(packet + sizeof(h), payload, len);
    return script_send(s, VIRTIO_VSOCK_RX, packet, sizeof(h) + len);
}

struct peer_conn *vsock_peer_conn(struct script *s, uint32_t port)
{
    struct vsock_peer *p = s->ctx;

    for (unsigned i = 0; i < PEER_CONNS; i++)
        if (p->conn[i].used && p->conn[i].port == port)
            return &p->conn[i];
    return NULL;
}

static void drop(struct peer_conn *c)
{
    for (unsigned i = 0; i < PEER_CHUNKS; i++)
        free(c->chunk[i].bytes);
    memset(c, 0, sizeof(*c));
}

void vsock_peer_free(struct vsock_peer *p)
{
    for (unsigned i = 0; i < PEER_CONNS; i++)
        drop(&p->conn[i]);
    free(p);
}

/* One packet of the oldest chunk; false: no credit, no room, or nothing. */
static bool send_some(struct script *s, struct peer_conn *c)
{
    struct peer_chunk *k = &c->chunk[c->first];
    uint32_t credit = c->guest_alloc - (c->tx_cnt - c->guest_fwd), n;
    bool last;

    if (c->nr == 0 || credit == 0)
        return false;
    n = k->len - k->at < credit ? k->len - k->at : credit;
    n = n < 1000 ? n : 1000;
    last = k->at + n == k->len;
    if (!vsock_peer_send(s, c->port, c->guest_port, c->type, VIRTIO_VSOCK_OP_RW, last ? k->flags : 0, PEER_ALLOC, c->rx_cnt,
                         k->bytes + k->at, n))
        return false;
    c->tx_cnt += n;
    k->at += n;
    if (last) {
        free(k->bytes);
        k->bytes = NULL;
        c->first = (c->first + 1) % PEER_CHUNKS;
        c->nr--;
    }
    return true;
}

void vsock_peer_flush(struct script *s)
{
    struct vsock_peer *p = s->ctx;

    for (unsigned i = 0; i < PEER_CONNS; i++)
        while (p->conn[i].used && send_some(s, &p->conn[i]))
            ;
}

static void reply(struct script *s, const struct virtio_vsock_hdr *h, unsigned op, uint32_t fwd)
{
    (void)vsock_peer_send(s, vio_cpu(h->dst_port), vio_cpu(h->src_port), vio_cpu(h->type), op, 0, PEER_ALLOC, fwd, NULL, 0);
}

static void on_request(struct script *s, const struct virtio_vsock_hdr *h)
{
    struct vsock_peer *p = s->ctx;
    uint32_t port = vio_cpu(h->dst_port);

    for (unsigned i = 0; i < PEER_CONNS && (port == PEER_ECHO || port == PEER_SINK); i++) {
        if (p->conn[i].used)
            continue;
        p->conn[i] = (struct peer_conn){
            .used = true, .type = vio_cpu(h->type), .port = port, .guest_port = vio_cpu(h->src_port),
            .guest_alloc = vio_cpu(h->buf_alloc), .guest_fwd = vio_cpu(h->fwd_cnt),
        };
        reply(s, h, VIRTIO_VSOCK_OP_RESPONSE, 0);
        return;
    }
    if (port != PEER_SILENT)
        reply(s, h, VIRTIO_VSOCK_OP_RST, 0);
}

static void on_data(struct script *s, struct peer_conn *c, const struct virtio_vsock_hdr *h, const uint8_t *bytes, uint32_t n)
{
    struct peer_chunk *k = &c->chunk[(c->first + c->nr) % PEER_CHUNKS];

    c->told_alloc += n; /* of a sink: all that came */
    if (c->told_alloc > PEER_ALLOC && c->port == PEER_SINK)
        c->beyond += n;
    if (c->port != PEER_ECHO || c->nr == PEER_CHUNKS)
        return;
    c->rx_cnt += n; /* an echo takes at once */
    *k = (struct peer_chunk){ .len = n, .flags = vio_cpu(h->flags), .bytes = malloc(n) };
    memcpy(k->bytes, bytes, n);
    c->nr++;
    if (c->rx_cnt % 5000 < n)
        reply(s, h, VIRTIO_VSOCK_OP_CREDIT_UPDATE, c->rx_cnt);
}

size_t vsock_peer_serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max)
{
    struct vsock_peer *p = s->ctx;
    struct virtio_vsock_hdr h;
    struct peer_conn *c = NULL;
    unsigned op;

    (void)queue;
    (void)out;
    (void)max;
    if (n < sizeof(h))
        abort();
    memcpy(&h, in, sizeof(h));
    p->last = h;
    op = vio_cpu(h.op);
    if (vio_cpu(h.len) != n - sizeof(h) || vio_cpu(h.src_cid) != GUEST_CID || op > 7)
        abort();
    p->ops[op]++;
    if (op == VIRTIO_VSOCK_OP_RW)
        memcpy(p->payload, in + sizeof(h), n - sizeof(h) < sizeof(p->payload) ? n - sizeof(h) : sizeof(p->payload));
    for (unsigned i = 0; i < PEER_CONNS; i++)
        if (p->conn[i].used && p->conn[i].guest_port == vio_cpu(h.src_port) && p->conn[i].port == vio_cpu(h.dst_port))
            c = &p->conn[i];
    if (op == VIRTIO_VSOCK_OP_REQUEST)
        on_request(s, &h);
    if (c == NULL)
        return 0;
    c->guest_alloc = vio_cpu(h.buf_alloc);
    c->guest_fwd = vio_cpu(h.fwd_cnt);
    if (op == VIRTIO_VSOCK_OP_RW)
        on_data(s, c, &h, in + sizeof(h), (uint32_t)(n - sizeof(h)));
    if (op == VIRTIO_VSOCK_OP_CREDIT_REQUEST && c->port == PEER_ECHO)
        reply(s, &h, VIRTIO_VSOCK_OP_CREDIT_UPDATE, c->rx_cnt);
    if (op == VIRTIO_VSOCK_OP_SHUTDOWN && vio_cpu(h.flags) == 3) {
        reply(s, &h, VIRTIO_VSOCK_OP_RST, c->rx_cnt);
        drop(c);
    } else if (op == VIRTIO_VSOCK_OP_RST) {
        drop(c);
    }
    vsock_peer_flush(s);
    return 0;
}
