/* SPDX-License-Identifier: MIT */
#include "fake_net.h"

#include <string.h>

static struct fake_net *fake_of(struct vio_net_backend *b)
{
    return (struct fake_net *)(void *)b; /* head is its first member */
}

static void fake_info(struct vio_net_backend *b, struct vio_net_info *info)
{
    *info = fake_of(b)->info;
}

static void fake_destroy(struct vio_net_backend *b)
{
    fake_of(b)->destroyed++;
}

static int fake_start(struct vio_net_backend *b, const struct vio_net_sink *sink)
{
    (void)b;
    (void)sink;
    return 0;
}

static void fake_stop(struct vio_net_backend *b)
{
    (void)b;
}

static void fake_offloads(struct vio_net_backend *b, unsigned guest)
{
    fake_of(b)->offloads = guest;
    fake_of(b)->offloads_told++;
}

static unsigned fake_send(struct vio_net_backend *b, const struct vio_net_packet *p, unsigned n)
{
    (void)b;
    (void)p;
    return n;
}

static unsigned fake_poll(struct vio_net_backend *b, unsigned budget)
{
    (void)b;
    (void)budget;
    return 0;
}

static int fake_fd(struct vio_net_backend *b)
{
    (void)b;
    return -1;
}

static const struct vio_net_ops fake_ops = {
    .name = "fake",
    .info = fake_info,
    .destroy = fake_destroy,
    .start = fake_start,
    .stop = fake_stop,
    .offloads = fake_offloads,
    .send = fake_send,
    .poll = fake_poll,
    .fd = fake_fd,
};

void fake_net_init(struct fake_net *f)
{
    memset(f, 0, sizeof(*f));
    f->head.ops = &fake_ops;
    f->info.takes = VIO_NET_OFFLOADS;
    f->info.gives = VIO_NET_OFFLOADS;
    f->mtu = 1500;
}

int fake_net_create(struct fake_net *f, uint16_t pairs, const struct vio_log *log)
{
    struct vio_device_params device = { .name = "net0", .log = log };
    struct vio_net_params params = {
        .backend = &f->head,
        .pairs = pairs,
        .queue_size_max = 256,
        .mac_given = true,
        .mac = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 },
        .mtu = f->mtu,
        .speed = 10000,
        .mask = f->mask,
        .device = &device,
    };
    int ret = vio_net_create(&params, &f->dev, NULL, 0);

    if (ret == 0)
        f->net = vio_device_self(f->dev);
    return ret;
}

uint16_t fake_net_ctrl(const struct fake_net *f)
{
    return (uint16_t)(2 * f->net->usable_pairs);
}
