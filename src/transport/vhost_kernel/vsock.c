/* SPDX-License-Identifier: MIT */
/*
 * Purpose: /dev/vhost-vsock: the socket device by which a driver is a guest of this kernel's, with a CID of its own.
 * Where it sits: transport/vhost_kernel. Threads: the control thread.
 * The kernel has the receive and the transmit queue. The event queue tells a driver that its CID was changed under it by a
 * migration (virtio 1.4, 5.10.6.7), which never happens here: it is there, and nothing comes.
 */
#include "base/why.h"
#include "spec/vsock.h"
#include "transport/vhost_kernel/internal.h"

enum { KERNEL_QUEUES = 2, QUEUES = 3 };

static bool place(const struct vio_vk *v, uint16_t queue, unsigned *file, unsigned *index)
{
    (void)v;
    *file = 0;
    *index = queue;
    return queue < KERNEL_QUEUES;
}

static int set_cid(struct vio_vk *v, uint64_t cid)
{
    int error;

    if (cid <= VIRTIO_VSOCK_CID_HOST || cid >= UINT32_MAX)
        return vk_fail(v, -EINVAL, "a guest cannot have the CID %llu: 3 to 4294967294 can be (2 is the host's)",
                       (unsigned long long)cid);
    error = vk_ioctl(v, 0, VIO_VHOST_VSOCK_SET_GUEST_CID, &cid, "VHOST_VSOCK_SET_GUEST_CID");
    if (error == -EADDRINUSE)
        return vk_fail(v, error, "%s: the CID %llu is another guest's: choose another", v->node, (unsigned long long)cid);
    return error;
}

static int vsock_open(struct vio_vk *v, const struct vio_vhost_kernel_params *params)
{
    struct virtio_vsock_config c = { .guest_cid = vio_le64_of(params->cid) };
    int error = vk_open_file(v);

    if (error == 0)
        error = set_cid(v, params->cid);
    if (error != 0)
        return error;
    memcpy(v->config, &c, sizeof(c));
    v->config_size = sizeof(c);
    v->t.queues_max = QUEUES;
    vio_why(0, v->t.name, sizeof(v->t.name), "vhost-vsock@%llu", (unsigned long long)params->cid);
    return 0;
}

static int set_running(struct vio_vk *v, int on)
{
    int error = vk_ioctl(v, 0, VIO_VHOST_VSOCK_SET_RUNNING, &on, "VHOST_VSOCK_SET_RUNNING");

    for (uint16_t q = 0; error == 0 && q < KERNEL_QUEUES; q++)
        v->queue[q].running = on != 0;
    return error;
}

static int vsock_run(struct vio_vk *v)
{
    if (!v->queue[VIRTIO_VSOCK_RX].started || !v->queue[VIRTIO_VSOCK_TX].started)
        return vk_fail(v, -EINVAL, "%s: the kernel works on the receive and the transmit queue, or on none", v->node);
    return set_running(v, 1);
}

static int vsock_halt(struct vio_vk *v)
{
    return v->queue[VIRTIO_VSOCK_RX].running ? set_running(v, 0) : 0;
}

const struct vk_kind vk_vsock_kind = {
    .type = VIRTIO_ID_VSOCK,
    .name = "vhost-vsock",
    .node = "/dev/vhost-vsock",
    .module = "vhost_vsock",
    .kernel = VIO_FEATURE(VIRTIO_VSOCK_F_SEQPACKET),
    .queue_size_max = 1024,
    .open = vsock_open,
    .run = vsock_run,
    .halt = vsock_halt,
    .place = place,
};
