/* SPDX-License-Identifier: MIT */
/* The socket driver over a fake transport and a peer: connections both ways, credit, ends, resets, and a hostile peer. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vio/drv_vsock.h>

#include "spec/virtio.h"
#include "vsock_peer.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VIO_FEATURE(VIRTIO_F_EVENT_IDX)
#define SEQPACKET VIO_FEATURE(VIRTIO_VSOCK_F_SEQPACKET)
#define NO_IMPLIED VIO_FEATURE(VIRTIO_VSOCK_F_NO_IMPLIED_STREAM)
#define SECOND UINT64_C(1000000000)

enum { STREAM = VIO_DRV_VSOCK_STREAM, SEQ = VIO_DRV_VSOCK_SEQPACKET, READABLE = VIO_DRV_VSOCK_READABLE,
       WRITABLE = VIO_DRV_VSOCK_WRITABLE, CLOSED = VIO_DRV_VSOCK_CLOSED };

static struct vio_drv_vsock_driver driver;

static struct script *start(uint64_t features, const struct vio_drv_vsock_params *params)
{
    struct virtio_vsock_config config = { vio_le64_of(GUEST_CID) };
    struct script *s = script_new();

    s->serve = vsock_peer_serve;
    s->ctx = calloc(1, sizeof(struct vsock_peer));
    s->keeps[VIRTIO_VSOCK_RX] = s->keeps[VIRTIO_VSOCK_EVENT] = true;
    if (params != NULL)
        vio_drv_vsock_driver(&driver, params);
    script_start(s, 3, features, &config, sizeof(config), params != NULL ? &driver.driver : &vio_driver_vsock);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    return s;
}

static void end(struct script *s)
{
    struct vsock_peer *p = s->ctx;

    script_free(s);
    vsock_peer_free(p);
}

static vio_drv_vsock_id connect_to(struct vio_drv_vsock *v, unsigned type, uint32_t port)
{
    vio_drv_vsock_id id = 0;

    assert_int_equal(vio_drv_vsock_connect(v, type, PEER_CID, port, &id), 0);
    assert_int_equal(vio_drv_vsock_wait(v, id, WRITABLE | CLOSED, SECOND), 0);
    assert_int_equal(vio_drv_vsock_state(v, id), WRITABLE);
    return id;
}

/* ---------------------------------------------------------------- streams */

/* Sends and receives at once, since neither side takes more than it was promised. */
static void check_stream(uint64_t features, uint32_t total)
{
    struct vio_drv_vsock_params params = { .connections = 4, .buffer = 3000, .packet = 700 };
    struct script *s = start(features, &params);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    vio_drv_vsock_id id = connect_to(v, STREAM, PEER_ECHO);
    uint32_t sent = 0, got = 0;
    unsigned idle = 0;

    while (got < total) {
        uint8_t bytes[1234], back[999];
        uint32_t n = total - sent < sizeof(bytes) ? total - sent : (uint32_t)sizeof(bytes);
        int put = -EAGAIN, take;

        for (uint32_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)((sent + i) * 31 >> 3);
        if (n > 0)
            put = vio_drv_vsock_send(v, id, bytes, n, false);
        assert_true(put > 0 || put == -EAGAIN);
        sent += put > 0 ? (uint32_t)put : 0;
        take = vio_drv_vsock_receive(v, id, back, sizeof(back), NULL);
        assert_true(take > 0 || take == -EAGAIN);
        for (int i = 0; i < take; i++)
            assert_int_equal(back[i], (uint8_t)((got + (uint32_t)i) * 31 >> 3));
        got += take > 0 ? (uint32_t)take : 0;
        vsock_peer_flush(s);
        idle = put > 0 || take > 0 ? 0 : idle + 1;
        assert_true(idle < 10);
    }
    assert_int_equal(vio_drv_vsock_receive(v, id, &got, 1, NULL), -EAGAIN);
    vio_drv_vsock_close(v, id);
    assert_int_equal(vio_drv_vsock_send(v, id, "x", 1, false), -ENOENT);
    vio_drv_vsock_service(v);
    assert_null(vsock_peer_conn(s, PEER_ECHO)); /* the end was clean */
    assert_int_equal(((struct vsock_peer *)s->ctx)->ops[VIRTIO_VSOCK_OP_RST], 0);
    assert_int_equal(vio_drv_vsock_ignored(v), 0);
    end(s);
}

static void test_stream(void **state)
{
    (void)state;
    check_stream(0, 300000);
    check_stream(EVENT_IDX, 100000);
    check_stream(PACKED | EVENT_IDX, 100000);
}

static void test_connect(void **state)
{
    struct script *s = start(0, NULL);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    vio_drv_vsock_id id, ids[33];
    uint64_t cid;
    uint32_t port;
    uint8_t byte;

    (void)state;
    assert_int_equal(vio_drv_vsock_cid(v), GUEST_CID);
    assert_int_equal(vio_drv_vsock_connect(v, STREAM, PEER_CID, 12345, &id), 0);
    assert_int_equal(vio_drv_vsock_wait(v, id, WRITABLE | CLOSED, SECOND), 0);
    assert_int_equal(vio_drv_vsock_state(v, id) & CLOSED, CLOSED);
    assert_int_equal(vio_drv_vsock_send(v, id, "x", 1, false), -ECONNREFUSED);
    assert_int_equal(vio_drv_vsock_receive(v, id, &byte, 1, NULL), -ECONNREFUSED);
    vio_drv_vsock_close(v, id);
    assert_int_equal(vio_drv_vsock_state(v, id), 0);
    assert_int_equal(vio_drv_vsock_connect(v, 3, PEER_CID, 7, &id), -EINVAL);
    assert_int_equal(vio_drv_vsock_connect(v, SEQ, PEER_CID, 7, &id), -ENOTSUP);
    /* The table fills up with those that nobody answers. */
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(vio_drv_vsock_connect(v, STREAM, PEER_CID, PEER_SILENT, &ids[i]), 0);
    assert_int_equal(vio_drv_vsock_connect(v, STREAM, PEER_CID, PEER_ECHO, &ids[32]), -ENOBUFS);
    assert_int_equal(vio_drv_vsock_wait(v, ids[0], WRITABLE | CLOSED, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_vsock_send(v, ids[0], "x", 1, false), -EAGAIN);
    assert_int_equal(vio_drv_vsock_shutdown(v, ids[0], true, true), -ENOTCONN);
    vio_drv_vsock_close(v, ids[5]);
    assert_int_equal(((struct vsock_peer *)s->ctx)->ops[VIRTIO_VSOCK_OP_RST], 1);
    id = connect_to(v, STREAM, PEER_ECHO);
    assert_int_not_equal(id, ids[5]); /* the same place, another number */
    assert_int_equal(vio_drv_vsock_peer(v, ids[5], &cid, &port), -ENOENT);
    assert_int_equal(vio_drv_vsock_peer(v, id, &cid, &port), 0);
    assert_int_equal(cid, PEER_CID);
    assert_int_equal(port, PEER_ECHO);
    end(s);
}

/* A peer that says nothing of what it took gets no more than it asked for, and is asked once. */
static void test_credit(void **state)
{
    struct script *s = start(0, NULL);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    struct vsock_peer *p = s->ctx;
    vio_drv_vsock_id id = connect_to(v, STREAM, PEER_SINK);
    struct peer_conn *c = vsock_peer_conn(s, PEER_SINK);
    uint8_t bytes[10000] = { 0 };
    uint32_t sent = 0;
    int n;

    (void)state;
    while ((n = vio_drv_vsock_send(v, id, bytes, sizeof(bytes), false)) > 0)
        sent += (uint32_t)n;
    assert_int_equal(n, -EAGAIN);
    assert_int_equal(sent, PEER_ALLOC);
    assert_int_equal(c->beyond, 0);
    assert_int_equal(vio_drv_vsock_send(v, id, bytes, 1, false), -EAGAIN);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_CREDIT_REQUEST], 1);
    assert_int_equal(vio_drv_vsock_state(v, id), 0 /* not writable */);
    assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, PEER_ALLOC, 100, NULL, 0));
    assert_int_equal(vio_drv_vsock_wait(v, id, WRITABLE, SECOND), 0);
    assert_int_equal(vio_drv_vsock_send(v, id, bytes, sizeof(bytes), false), 100);
    /* A buffer that shrinks below what is out is no credit, and no underflow. */
    assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 10, 200, NULL, 0));
    assert_int_equal(vio_drv_vsock_send(v, id, bytes, 1, false), -EAGAIN);
    /* It asks for ours. */
    assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, 10, 200, NULL, 0));
    vio_drv_vsock_service(v);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_CREDIT_UPDATE], 1);
    assert_int_equal(vio_cpu(p->last.buf_alloc), 65536);
    end(s);
}

/* ---------------------------------------------------------------- messages */

static void test_messages(void **state)
{
    struct vio_drv_vsock_params params = { .buffer = 2048, .packet = 256 };
    struct script *s = start(SEQPACKET, &params);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    vio_drv_vsock_id id = connect_to(v, SEQ, PEER_ECHO);
    uint8_t bytes[1500], back[1500];
    bool last;

    (void)state;
    for (unsigned round = 1; round < 300; round++) {
        uint32_t n = round * 37 % 1499 + 1, got = 0;

        memset(bytes, (int)round, n);
        assert_int_equal(vio_drv_vsock_send(v, id, bytes, n, true), n);
        do {
            int take = vio_drv_vsock_receive(v, id, back + got, 333, &last);

            assert_true(take > 0);
            got += (uint32_t)take;
            vsock_peer_flush(s);
        } while (!last);
        assert_int_equal(got, n);
        assert_memory_equal(back, bytes, n);
    }
    /* Several small ones stay apart. */
    for (unsigned i = 1; i < 20; i++)
        assert_int_equal(vio_drv_vsock_send(v, id, bytes, i, true), i);
    for (unsigned i = 1; i < 20; i++) {
        assert_int_equal(vio_drv_vsock_receive(v, id, back, sizeof(back), &last), i);
        assert_true(last);
    }
    /* One in two parts is one. */
    assert_int_equal(vio_drv_vsock_send(v, id, "ab", 2, false), 2);
    assert_int_equal(vio_drv_vsock_receive(v, id, back, 2, &last), 2);
    assert_false(last);
    assert_int_equal(vio_drv_vsock_send(v, id, "c", 1, true), 1);
    assert_int_equal(vio_drv_vsock_receive(v, id, back, sizeof(back), &last), 1);
    assert_true(last);
    assert_int_equal(vio_drv_vsock_send(v, id, back, 0, true), -EINVAL);
    end(s);
}

static void test_features(void **state)
{
    struct script *s = start(SEQPACKET | NO_IMPLIED, NULL);
    vio_drv_vsock_id id;

    (void)state;
    assert_int_equal(vio_drv_vsock_connect(vio_drv_vsock_of(s->d), STREAM, PEER_CID, PEER_ECHO, &id), -ENOTSUP);
    assert_int_equal(vio_drv_vsock_listen(vio_drv_vsock_of(s->d), STREAM, 5, 1), -ENOTSUP);
    (void)connect_to(vio_drv_vsock_of(s->d), SEQ, PEER_ECHO);
    end(s);
}

/* ---------------------------------------------------------------- listening */

struct heard {
    unsigned acceptable, readable, closed, writable;
};

static void on_event(void *ctx, struct vio_drvdev *d, vio_drv_vsock_id id, uint32_t port, unsigned what)
{
    struct heard *h = ctx;

    (void)d;
    h->acceptable += (what & VIO_DRV_VSOCK_ACCEPTABLE) != 0;
    h->readable += (what & READABLE) != 0;
    h->writable += (what & WRITABLE) != 0;
    h->closed += (what & CLOSED) != 0;
    assert_true(port != 0);
    assert_int_equal(id == 0, (what & VIO_DRV_VSOCK_ACCEPTABLE) != 0);
}

static void request(struct script *s, uint32_t from, uint32_t to, unsigned type)
{
    assert_true(vsock_peer_send(s, from, to, type, VIRTIO_VSOCK_OP_REQUEST, 0, PEER_ALLOC, 0, NULL, 0));
}

static void test_listen(void **state)
{
    struct heard heard = { .acceptable = 0 };
    struct vio_drv_vsock_params params = { .event = on_event, .ctx = &heard, .connections = 4 };
    struct script *s = start(SEQPACKET, &params);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    struct vsock_peer *p = s->ctx;
    vio_drv_vsock_id a, b;
    uint8_t bytes[8];

    (void)state;
    request(s, 100, 1000, STREAM); /* nobody listens */
    (void)vio_drvdev_interrupt(s->d);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 1);
    assert_int_equal(vio_drv_vsock_accept(v, STREAM, 1000, &a), -EINVAL);
    assert_int_equal(vio_drv_vsock_listen(v, STREAM, 1000, 2), 0);
    assert_int_equal(vio_drv_vsock_listen(v, STREAM, 1000, 2), -EADDRINUSE);
    assert_int_equal(vio_drv_vsock_accept(v, STREAM, 1000, &a), -EAGAIN);
    assert_int_equal(vio_drv_vsock_wait_accept(v, STREAM, 1000, SECOND), -ETIMEDOUT);
    request(s, 100, 1000, STREAM);
    request(s, 101, 1000, STREAM);
    request(s, 102, 1000, STREAM); /* one more than may wait */
    request(s, 103, 1000, SEQ);    /* another type is another listener */
    (void)vio_drvdev_interrupt(s->d);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RESPONSE], 2);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 3);
    assert_int_equal(heard.acceptable, 2);
    assert_int_equal(vio_drv_vsock_wait_accept(v, STREAM, 1000, SECOND), 0);
    assert_int_equal(vio_drv_vsock_accept(v, STREAM, 1000, &a), 0);
    assert_true(vsock_peer_send(s, 100, 1000, STREAM, VIRTIO_VSOCK_OP_RW, 0, PEER_ALLOC, 0, "hello", 5));
    (void)vio_drvdev_interrupt(s->d);
    assert_int_equal(heard.readable, 1);
    assert_int_equal(vio_drv_vsock_receive(v, a, bytes, sizeof(bytes), NULL), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(vio_drv_vsock_send(v, a, "there", 5, false), 5);
    assert_memory_equal(p->payload, "there", 5);
    /* The second sends and goes before it is accepted: what it sent is still there. */
    assert_true(vsock_peer_send(s, 101, 1000, STREAM, VIRTIO_VSOCK_OP_RW, 0, PEER_ALLOC, 0, "bye", 3));
    assert_true(vsock_peer_send(s, 101, 1000, STREAM, VIRTIO_VSOCK_OP_SHUTDOWN, 3, PEER_ALLOC, 0, NULL, 0));
    (void)vio_drvdev_interrupt(s->d);
    assert_int_equal(vio_drv_vsock_accept(v, STREAM, 1000, &b), 0);
    assert_int_equal(vio_drv_vsock_receive(v, b, bytes, sizeof(bytes), NULL), 3);
    assert_int_equal(vio_drv_vsock_receive(v, b, bytes, sizeof(bytes), NULL), 0);
    assert_int_equal(vio_drv_vsock_send(v, b, "x", 1, false), -EPIPE);
    vio_drv_vsock_close(v, b);
    /* One that goes at once, and one that is there when the listener goes. */
    request(s, 104, 1000, STREAM);
    assert_true(vsock_peer_send(s, 104, 1000, STREAM, VIRTIO_VSOCK_OP_SHUTDOWN, 3, PEER_ALLOC, 0, NULL, 0));
    request(s, 105, 1000, STREAM);
    (void)vio_drvdev_interrupt(s->d);
    vio_drv_vsock_unlisten(v, STREAM, 1000);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 6);
    assert_int_equal(vio_drv_vsock_state(v, a) & CLOSED, 0);
    /* All places are there again. */
    for (unsigned i = 0; i < 3; i++)
        (void)connect_to(v, STREAM, PEER_ECHO);
    assert_int_equal(vio_drv_vsock_connect(v, STREAM, PEER_CID, PEER_ECHO, &b), -ENOBUFS);
    end(s);
}

/* ---------------------------------------------------------------- ends */

static void test_shutdown(void **state)
{
    struct script *s = start(0, NULL);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    vio_drv_vsock_id id = connect_to(v, STREAM, PEER_SINK);
    struct peer_conn *c = vsock_peer_conn(s, PEER_SINK);
    struct vsock_peer *p = s->ctx;
    uint8_t bytes[8];

    (void)state;
    /* The peer will send no more: what it sent is read, then the end; we still send. */
    assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, VIRTIO_VSOCK_OP_RW, 0, PEER_ALLOC, 0, "last", 4));
    assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, VIRTIO_VSOCK_OP_SHUTDOWN, 2, PEER_ALLOC, 0, NULL, 0));
    assert_int_equal(vio_drv_vsock_receive(v, id, bytes, 8, NULL), 4);
    assert_int_equal(vio_drv_vsock_receive(v, id, bytes, 8, NULL), 0);
    assert_int_equal(vio_drv_vsock_send(v, id, "on", 2, false), 2);
    assert_int_equal(vio_drv_vsock_shutdown(v, id, false, true), 0);
    assert_int_equal(vio_cpu(p->last.flags), VIRTIO_VSOCK_SHUTDOWN_F_SEND);
    assert_int_equal(vio_drv_vsock_send(v, id, "on", 2, false), -EPIPE);
    assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, VIRTIO_VSOCK_OP_SHUTDOWN, 1, PEER_ALLOC, 2, NULL, 0));
    vio_drv_vsock_service(v);
    assert_int_equal(vio_drv_vsock_state(v, id), READABLE | CLOSED);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 1); /* both are through: that we know it is said */
    assert_int_equal(vio_drv_vsock_receive(v, id, bytes, 8, NULL), 0);
    vio_drv_vsock_close(v, id);
    /* A reset in the middle. */
    id = connect_to(v, STREAM, PEER_SINK);
    c = vsock_peer_conn(s, PEER_SINK);
    assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, VIRTIO_VSOCK_OP_RW, 0, PEER_ALLOC, 0, "xy", 2));
    assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, VIRTIO_VSOCK_OP_RST, 0, 0, 0, NULL, 0));
    assert_int_equal(vio_drv_vsock_receive(v, id, bytes, 8, NULL), 2);
    assert_int_equal(vio_drv_vsock_receive(v, id, bytes, 8, NULL), -ECONNRESET);
    vio_drv_vsock_reset(v, id);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 1); /* it has reset it: nothing to say */
    id = connect_to(v, STREAM, PEER_ECHO);
    vio_drv_vsock_reset(v, id);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 2);
    end(s);
}

/* A peer that never answers our ends: its places are taken again, the oldest first. */
static void test_closing(void **state)
{
    struct vio_drv_vsock_params params = { .connections = 3 };
    struct script *s = start(0, &params);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    struct vsock_peer *p = s->ctx;

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        vio_drv_vsock_id id = connect_to(v, STREAM, PEER_SINK);
        struct peer_conn *c = vsock_peer_conn(s, PEER_SINK);

        memset(c, 0, sizeof(*c)); /* it forgets, and will not answer */
        vio_drv_vsock_close(v, id);
        assert_int_equal(p->ops[VIRTIO_VSOCK_OP_SHUTDOWN], i + 1);
        assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], i < 3 ? 0 : i - 2);
    }
    end(s);
}

static void test_transport_reset(void **state)
{
    struct virtio_vsock_event event = { vio_le32_of(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) };
    vio_le64 cid = vio_le64_of(77);
    struct script *s = start(0, NULL);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    vio_drv_vsock_id id = connect_to(v, STREAM, PEER_ECHO), other;
    uint8_t byte;

    (void)state;
    assert_int_equal(vio_drv_vsock_listen(v, STREAM, 1000, 1), 0);
    request(s, 100, 1000, STREAM);
    vio_drv_vsock_service(v);
    vio_device_config_set(s->dev, 0, &cid, sizeof(cid), false);
    assert_true(script_send(s, VIRTIO_VSOCK_EVENT, &event, sizeof(event)));
    vio_drv_vsock_service(v);
    assert_int_equal(vio_drv_vsock_receive(v, id, &byte, 1, NULL), -ECONNRESET);
    assert_int_equal(vio_drv_vsock_cid(v), 77);
    assert_int_equal(vio_drv_vsock_accept(v, STREAM, 1000, &other), -EAGAIN); /* the listener stays, its queue does not */
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    event.id = vio_le32_of(9);
    assert_true(script_send(s, VIRTIO_VSOCK_EVENT, &event, sizeof(event)));
    assert_true(script_send(s, VIRTIO_VSOCK_EVENT, &event, 3));
    vio_drv_vsock_service(v);
    assert_int_equal(vio_drv_vsock_ignored(v), 2);
    cid = vio_le64_of(0);
    vio_device_config_set(s->dev, 0, &cid, sizeof(cid), false);
    event.id = vio_le32_of(0);
    assert_true(script_send(s, VIRTIO_VSOCK_EVENT, &event, sizeof(event)));
    vio_drv_vsock_service(v);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_BROKEN);
    end(s);
}

/* ---------------------------------------------------------------- a hostile peer */

/* Each of these costs the connection and nothing else. */
static void test_offences(void **state)
{
    static const struct {
        unsigned op;
        uint32_t flags, fwd, len;
    } offences[] = {
        { VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 1, 0 },          /* took a byte that was never sent */
        { VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, UINT32_MAX, 0 },
        { VIRTIO_VSOCK_OP_RW, 0, 0, 65 },                    /* more than it was promised */
        { VIRTIO_VSOCK_OP_RESPONSE, 0, 0, 0 },               /* twice */
        { VIRTIO_VSOCK_OP_REQUEST, 0, 0, 0 },
        { VIRTIO_VSOCK_OP_INVALID, 0, 0, 0 },
        { 8, 0, 0, 0 }, { 65535, 0, 0, 0 },
    };
    struct vio_drv_vsock_params params = { .connections = 2, .buffer = 64 };
    struct script *s = start(0, &params);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    struct vsock_peer *p = s->ctx;
    uint8_t bytes[65] = { 0 };
    vio_drv_vsock_id id;

    (void)state;
    for (unsigned i = 0; i < sizeof(offences) / sizeof(offences[0]); i++) {
        struct peer_conn *c;

        id = connect_to(v, STREAM, PEER_SINK);
        c = vsock_peer_conn(s, PEER_SINK);
        assert_true(vsock_peer_send(s, PEER_SINK, c->guest_port, STREAM, offences[i].op, offences[i].flags, PEER_ALLOC,
                                    offences[i].fwd, bytes, offences[i].len));
        vio_drv_vsock_service(v);
        assert_int_equal(vio_drv_vsock_receive(v, id, bytes, 1, NULL), -ECONNRESET);
        assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], i + 1);
        vio_drv_vsock_close(v, id);
        assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    }
    /* Twice what would fit once. */
    id = connect_to(v, STREAM, PEER_SINK);
    for (unsigned i = 0; i < 2; i++)
        assert_true(vsock_peer_send(s, PEER_SINK, vsock_peer_conn(s, PEER_SINK)->guest_port, STREAM, VIRTIO_VSOCK_OP_RW, 0,
                                    PEER_ALLOC, 0, bytes, 33));
    assert_int_equal(vio_drv_vsock_receive(v, id, bytes, 64, NULL), 33); /* what came before it is ours */
    assert_int_equal(vio_drv_vsock_receive(v, id, bytes, 64, NULL), -ECONNRESET);
    vio_drv_vsock_close(v, id);
    /* Data after it said that none would come. */
    id = connect_to(v, STREAM, PEER_SINK);
    assert_true(vsock_peer_send(s, PEER_SINK, vsock_peer_conn(s, PEER_SINK)->guest_port, STREAM, VIRTIO_VSOCK_OP_SHUTDOWN, 2,
                                PEER_ALLOC, 0, NULL, 0));
    assert_true(vsock_peer_send(s, PEER_SINK, vsock_peer_conn(s, PEER_SINK)->guest_port, STREAM, VIRTIO_VSOCK_OP_RW, 0,
                                PEER_ALLOC, 0, bytes, 1));
    vio_drv_vsock_service(v);
    assert_int_equal(vio_drv_vsock_state(v, id) & CLOSED, CLOSED);
    vio_drv_vsock_close(v, id);
    end(s);
}

/* Packets for nobody: each sender hears so once; a reset is not answered; a deaf device makes nothing grow, nothing is lost. */
static void test_strangers(void **state)
{
    struct script *s = start(0, NULL);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    struct vsock_peer *p = s->ctx;
    unsigned sent = 0;

    (void)state;
    for (unsigned op = 0; op < 9; op++)
        assert_true(vsock_peer_send(s, 500, 600, STREAM, op, 0, PEER_ALLOC, 0, NULL, 0));
    assert_true(vsock_peer_send(s, 500, 600, 77, VIRTIO_VSOCK_OP_RW, 0, PEER_ALLOC, 0, NULL, 0)); /* no such type */
    vio_drv_vsock_service(v);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 9);
    assert_int_equal(vio_drv_vsock_ignored(v), 10);
    /* A newcomer that has taken what nobody sent to it. */
    assert_int_equal(vio_drv_vsock_listen(v, STREAM, 601, 1), 0);
    assert_true(vsock_peer_send(s, 500, 601, STREAM, VIRTIO_VSOCK_OP_REQUEST, 0, PEER_ALLOC, 5, NULL, 0));
    assert_int_equal(vio_drv_vsock_wait_accept(v, STREAM, 601, SECOND / 10), -ETIMEDOUT);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 10);
    s->hold[VIRTIO_VSOCK_TX] = true;
    for (unsigned i = 0; i < 1000; i++) {
        sent += vsock_peer_send(s, i, 600, STREAM, VIRTIO_VSOCK_OP_RW, 0, 0, 0, NULL, 0);
        vio_drv_vsock_service(v);
    }
    assert_true(sent < 1000); /* it gets no more buffers before it takes our answers */
    s->hold[VIRTIO_VSOCK_TX] = false;
    fake_serve(s->f);
    for (unsigned i = 0; i < 10; i++)
        vio_drv_vsock_service(v);
    assert_int_equal(p->ops[VIRTIO_VSOCK_OP_RST], 10 + sent);
    end(s);
}

static void check_breaks(const void *packet, size_t n)
{
    struct script *s = start(0, NULL);
    struct vio_drv_vsock *v = vio_drv_vsock_of(s->d);
    vio_drv_vsock_id id = connect_to(v, STREAM, PEER_ECHO);
    uint8_t byte;

    assert_true(script_send(s, VIRTIO_VSOCK_RX, packet, n));
    vio_drv_vsock_service(v);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_BROKEN);
    assert_int_equal(vio_drv_vsock_receive(v, id, &byte, 1, NULL), -EIO);
    assert_int_equal(vio_drv_vsock_send(v, id, &byte, 1, false), -EIO);
    assert_int_equal(vio_drv_vsock_wait(v, id, READABLE, SECOND), -EIO);
    assert_int_equal(vio_drv_vsock_connect(v, STREAM, PEER_CID, 7, &id), -EIO);
    vio_drv_vsock_close(v, id);
    (void)vio_drvdev_interrupt(s->d);
    assert_true(fake_said(s->f, "virtio 1.4, 5.10.6"));
    assert_int_equal(vio_drvdev_recover(s->d), 0);
    assert_int_equal(vio_drv_vsock_state(vio_drv_vsock_of(s->d), id), 0);
    end(s);
}

static void test_lies(void **state)
{
    struct virtio_vsock_hdr h = { .src_cid = vio_le64_of(PEER_CID), .dst_cid = vio_le64_of(GUEST_CID), .len = vio_le32_of(1) };

    (void)state;
    check_breaks(&h, 0);
    check_breaks(&h, 43);
    check_breaks(&h, 44); /* a byte that did not come */
    h.len = vio_le32_of(UINT32_MAX);
    check_breaks(&h, 44);
}

static void test_config(void **state)
{
    static const uint64_t bad[] = { 0, 1, 2, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX };

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct virtio_vsock_config config = { vio_le64_of(bad[i]) };
        struct script *s = script_new();

        script_start(s, 3, 0, &config, sizeof(config), &vio_driver_vsock);
        assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_FAILED);
        assert_non_null(strstr(vio_drvdev_why(s->d), "guest_cid"));
        script_free(s);
    }
}

static void test_memory(void **state)
{
    unsigned fail = 1;

    (void)state;
    for (bool ran = false; !ran; fail++) {
        struct script *s = start(0, NULL);

        s->f->fail_allocation = fail;
        ran = vio_drvdev_recover(s->d) == 0;
        assert_true(ran || vio_drvdev_why(s->d)[0] != 0);
        end(s);
    }
    assert_true(fail > 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream), cmocka_unit_test(test_connect), cmocka_unit_test(test_credit),
        cmocka_unit_test(test_messages), cmocka_unit_test(test_features), cmocka_unit_test(test_listen),
        cmocka_unit_test(test_shutdown), cmocka_unit_test(test_closing), cmocka_unit_test(test_transport_reset),
        cmocka_unit_test(test_offences), cmocka_unit_test(test_strangers), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_config), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
