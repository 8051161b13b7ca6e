/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the socket driver from probe to remove, and its configuration (virtio 1.4, 5.10.4 and 5.10.5).
 * Where it sits: driver/, over driver/core; freestanding. Threads: the control thread.
 * Trust: an address that nobody may have is refused.
 */
#include <errno.h>
#include "driver/vsock_internal.h"
#include "spec/virtio.h"

enum { CONNECTIONS = 32, BUFFER = 65536, BUFFER_MAX = 16 << 20, PACKET = 4096, PACKET_MAX = 65536, QUEUE_SIZE = 64 };

static const struct vio_drv_vsock_params defaults = { .connections = 0 };

int drv_vsock_read_cid(struct vio_drv_vsock *v)
{
    vio_le64 cid;
    int error = vio_drvdev_config_read(v->d, offsetof(struct virtio_vsock_config, guest_cid), &cid, sizeof(cid));

    if (error != 0)
        return error;
    v->cid = vio_cpu(cid);
    return v->cid > VIRTIO_VSOCK_CID_HOST && v->cid < UINT32_MAX ? 0 : -EPROTO;
}

static void used(struct vio_drvdev *d, uint16_t queue)
{
    (void)queue; /* all of them: what one brings often lets another go on */
    vio_drv_vsock_service(vio_drvdev_state(d));
}

static int make_queues(struct vio_drv_vsock *v)
{
    uint16_t size = v->params->queue_size != 0 ? v->params->queue_size : QUEUE_SIZE;
    struct vio_drvdev_queue_plan plan[3] = {
        { .queue = VIRTIO_VSOCK_RX, .size = size }, { .queue = VIRTIO_VSOCK_TX, .size = size },
        { .queue = VIRTIO_VSOCK_EVENT, .size = DRV_VSOCK_EVENTS },
    };

    for (unsigned i = 0; i < 3; i++) {
        plan[i].polled = v->params->event == NULL;
        plan[i].callback = v->params->event != NULL ? used : NULL;
    }
    return vio_drvdev_queues(v->d, plan, 3);
}

static void free_all(struct vio_drv_vsock *v)
{
    const struct vio_platform *p = vio_drvdev_platform(v->d);

    if (v->conn != NULL)
        p->free(p->ctx, v->conn, v->conn_bytes);
    if (v->rings != NULL)
        p->free(p->ctx, v->rings, v->ring_bytes);
    v->conn = NULL;
    v->rings = NULL;
    drv_slots_close(&v->rx);
    drv_slots_close(&v->tx);
    drv_slots_close(&v->events);
}

static int make_memory(struct vio_drv_vsock *v)
{
    const struct vio_platform *p = vio_drvdev_platform(v->d);
    uint32_t bytes = (uint32_t)sizeof(struct virtio_vsock_hdr) + v->packet;
    uint32_t events = vio_min_u32(DRV_VSOCK_EVENTS, vio_drvdev_queue_size(v->d, VIRTIO_VSOCK_EVENT));
    int error;

    v->conn_bytes = v->connections * sizeof(v->conn[0]);
    v->ring_bytes = (size_t)v->connections * (v->buffer + v->buffer / 8);
    v->conn = p->alloc(p->ctx, v->conn_bytes);
    v->rings = p->alloc(p->ctx, v->ring_bytes);
    error = v->conn != NULL && v->rings != NULL ? 0 : -ENOMEM;
    if (error == 0)
        error = drv_slots_open(v->d, &v->rx, vio_drvdev_queue_size(v->d, VIRTIO_VSOCK_RX), bytes);
    if (error == 0)
        error = drv_slots_open(v->d, &v->tx, vio_drvdev_queue_size(v->d, VIRTIO_VSOCK_TX), bytes);
    if (error == 0)
        error = drv_slots_open(v->d, &v->events, events, sizeof(struct virtio_vsock_event));
    if (error == 0)
        return 0;
    free_all(v);
    return vio_drvdev_fail(v->d, error, "no memory for %u connections of %u bytes each", v->connections, v->buffer);
}

static void set_sizes(struct vio_drv_vsock *v)
{
    const struct vio_drv_vsock_params *p = v->params;

    v->connections = p->connections != 0 ? vio_min_u32(p->connections, VIO_DRV_VSOCK_CONNECTIONS_MAX) : CONNECTIONS;
    v->buffer = p->buffer != 0 ? vio_min_u32(p->buffer, BUFFER_MAX) : BUFFER;
    v->buffer = v->buffer > 64 ? v->buffer & ~7u : 64;
    v->packet = p->packet != 0 ? vio_min_u32(p->packet, PACKET_MAX) : PACKET;
    v->next_port = 0x10000;
}

static int probe(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);
    struct vio_drv_vsock *v = vio_drvdev_state(d);
    int error;

    v->d = d;
    /* Ours, or the one that a struct vio_drv_vsock_driver begins with. */
    v->params = driver == &vio_driver_vsock ? &defaults
                                            : &((const struct vio_drv_vsock_driver *)(const void *)driver)->params;
    set_sizes(v);
    error = drv_vsock_read_cid(v);
    if (error == -EPROTO)
        return vio_drvdev_fail(d, error, "guest_cid is %llu: 0 to 2, 2^32 - 1 and more are nobody's (virtio 1.4, 5.10.4)",
                               (unsigned long long)v->cid);
    if (error != 0)
        return error;
    error = make_queues(v);
    return error != 0 ? error : make_memory(v);
}

static int scan(struct vio_drvdev *d)
{
    int error = drv_vsock_start(vio_drvdev_state(d));

    return error == 0 ? 0 : vio_drvdev_fail(d, error, "the socket device's queues take no buffer (error %d)", -error);
}

static void remove_(struct vio_drvdev *d)
{
    free_all(vio_drvdev_state(d));
}

static const uint32_t types[] = { VIRTIO_ID_VSOCK, 0 };

const struct vio_driver vio_driver_vsock = {
    .name = "vsock",
    .types = types,
    .features = { { VIO_FEATURE(VIRTIO_VSOCK_F_STREAM) | VIO_FEATURE(VIRTIO_VSOCK_F_SEQPACKET) |
                    VIO_FEATURE(VIRTIO_VSOCK_F_NO_IMPLIED_STREAM) | VIO_FEATURE(VIRTIO_F_RING_PACKED) |
                    VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_IN_ORDER), 0 } },
    .state_size = sizeof(struct vio_drv_vsock),
    .probe = probe,
    .scan = scan,
    .remove = remove_,
};

void vio_drv_vsock_driver(struct vio_drv_vsock_driver *driver, const struct vio_drv_vsock_params *params)
{
    driver->driver = vio_driver_vsock;
    driver->params = *params;
}

struct vio_drv_vsock *vio_drv_vsock_of(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    if (driver == NULL || driver->probe != probe || vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        return NULL;
    return vio_drvdev_state(d);
}
