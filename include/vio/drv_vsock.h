/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of socket devices (virtio 1.4, 5.10): streams and sequences of messages between this side and the host
 * or other guests: connect, listen, send and receive within credit, shut down, reset.
 * Where it sits: driver/, over driver/core; freestanding.
 * Threads: one owner, which makes all of these calls and is the control thread of the device.
 * Trust: the device, and whoever is at the other end, is hostile. Each header is judged on a copy. Connections, what they
 * hold, and answers that wait to be sent are in tables made at probe; a peer that sends beyond its credit, or takes more
 * than was sent, loses its connection and nothing else.
 */
#ifndef VIO_DRV_VSOCK_H
#define VIO_DRV_VSOCK_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum {
    VIO_DRV_VSOCK_STREAM = 1,
    VIO_DRV_VSOCK_SEQPACKET = 2,

    VIO_DRV_VSOCK_HOST = 2, /* the host's address */
    VIO_DRV_VSOCK_CONNECTIONS_MAX = 4096,
    VIO_DRV_VSOCK_LISTENERS_MAX = 32,
};

/* What is so, or happened; bits. */
enum {
    VIO_DRV_VSOCK_READABLE = 1, /* bytes, a message, or the end of what the peer sends */
    VIO_DRV_VSOCK_WRITABLE = 2, /* connected, with credit and room */
    VIO_DRV_VSOCK_CLOSED = 4,   /* reset by the peer, refused, or both sides are through */
    VIO_DRV_VSOCK_ACCEPTABLE = 8, /* a listener has a connection */
};

/* A connection; never 0. A number that was closed is not known any more. */
typedef uint32_t vio_drv_vsock_id;

struct vio_drv_vsock_params {
    uint32_t connections; /* 0: 32; those that wait to be accepted or closed among them */
    uint32_t buffer;      /* bytes that each can hold until they are received; 0: 65536 */
    uint32_t packet;      /* bytes of one packet's payload at most; 0: 4096 */
    uint16_t queue_size;  /* buffers each way; 0: 64 */
    /*
     * From vio_drvdev_event() and vio_drv_vsock_service(); id 0 and `port`: a listener's. NULL: the queues are polled.
     */
    void (*event)(void *ctx, struct vio_drvdev *d, vio_drv_vsock_id id, uint32_t port, unsigned what);
    void *ctx;
};

/* All defaults: polled. */
extern const struct vio_driver vio_driver_vsock;

/* The same driver, wanted otherwise: `driver` goes to the bus, and this outlives its devices. */
struct vio_drv_vsock_driver {
    struct vio_driver driver;
    struct vio_drv_vsock_params params;
};
void vio_drv_vsock_driver(struct vio_drv_vsock_driver *driver, const struct vio_drv_vsock_params *params);

struct vio_drv_vsock;

/* NULL: this device is not run by this driver, or does not run. */
struct vio_drv_vsock *vio_drv_vsock_of(struct vio_drvdev *d);

uint64_t vio_drv_vsock_cid(const struct vio_drv_vsock *v); /* this side's address */
/* Packets that were for nobody here, or made no sense, since probe. */
uint64_t vio_drv_vsock_ignored(const struct vio_drv_vsock *v);
/* Looks at all queues: for those who poll. */
void vio_drv_vsock_service(struct vio_drv_vsock *v);

/*
 * type: VIO_DRV_VSOCK_STREAM or _SEQPACKET. -ENOTSUP: the device does not carry it; -ENOBUFS: every place in the table is taken;
 * -EADDRINUSE: this port listens already; -EIO: broken.
 */
/* Starts; WRITABLE or CLOSED follows. */
int vio_drv_vsock_connect(struct vio_drv_vsock *v, unsigned type, uint64_t cid, uint32_t port, vio_drv_vsock_id *id) VIO_MUST_CHECK;
int vio_drv_vsock_listen(struct vio_drv_vsock *v, unsigned type, uint32_t port, uint32_t backlog) VIO_MUST_CHECK;
/* Those that were not accepted are reset. */
void vio_drv_vsock_unlisten(struct vio_drv_vsock *v, unsigned type, uint32_t port);
/* -EAGAIN: none now; -EINVAL: nobody listens there. */
int vio_drv_vsock_accept(struct vio_drv_vsock *v, unsigned type, uint32_t port, vio_drv_vsock_id *id) VIO_MUST_CHECK;
int vio_drv_vsock_peer(const struct vio_drv_vsock *v, vio_drv_vsock_id id, uint64_t *cid, uint32_t *port) VIO_MUST_CHECK;

/*
 * Never wait; as sockets do. Bytes, or -EAGAIN: no credit, no room, nothing came; -ECONNRESET, -ECONNREFUSED; -EPIPE: send after
 * a shutdown; -ENOENT: no such connection; -EIO: broken. end: these are the last bytes of a message (SEQPACKET). receive
 * returns 0 at the end of what the peer sends; *end: with these bytes a message is complete (NULL: not wanted). Messages
 * without bytes cannot be sent (-EINVAL), and are passed over.
 */
int vio_drv_vsock_send(struct vio_drv_vsock *v, vio_drv_vsock_id id, const void *from, uint32_t n, bool end) VIO_MUST_CHECK;
int vio_drv_vsock_receive(struct vio_drv_vsock *v, vio_drv_vsock_id id, void *to, uint32_t n, bool *end) VIO_MUST_CHECK;
/* Nothing will be sent any more, nothing received. */
int vio_drv_vsock_shutdown(struct vio_drv_vsock *v, vio_drv_vsock_id id, bool receive, bool send) VIO_MUST_CHECK;
/* The number is free; what was sent arrives, and the peer is told the end of it: in order, or at once by a reset. */
void vio_drv_vsock_close(struct vio_drv_vsock *v, vio_drv_vsock_id id);
void vio_drv_vsock_reset(struct vio_drv_vsock *v, vio_drv_vsock_id id);

/* What of READABLE, WRITABLE, CLOSED is so; 0: no such connection. */
unsigned vio_drv_vsock_state(const struct vio_drv_vsock *v, vio_drv_vsock_id id);
/* Waits until one of `what` is so. -ETIMEDOUT, -ENOENT, -EIO. */
int vio_drv_vsock_wait(struct vio_drv_vsock *v, vio_drv_vsock_id id, unsigned what, uint64_t ns) VIO_MUST_CHECK;
/* The same for a listener. */
int vio_drv_vsock_wait_accept(struct vio_drv_vsock *v, unsigned type, uint32_t port, uint64_t ns) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
