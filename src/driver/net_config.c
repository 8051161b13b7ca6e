/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a network device's configuration, decoded and judged (virtio 1.4, 5.1.4). Where it sits: driver/, freestanding.
 * Threads: the control thread. Trust: every field is hostile; a number of queues that cannot be ends in a refusal, the rest is taken
 * as not told where it makes no sense.
 */
#include <errno.h>
#include <string.h>
#include "driver/net_internal.h"
#include "spec/virtio.h"

/* The end of the last field that the agreed features make readable. 0: none. */
static uint32_t config_bytes(const struct vio_drvdev *d)
{
    static const struct {
        uint8_t bit;
        uint8_t end;
    } field[] = {
        { VIRTIO_NET_F_HASH_REPORT, offsetof(struct virtio_net_config, supported_tunnel_types) },
        { VIRTIO_NET_F_RSS, offsetof(struct virtio_net_config, supported_tunnel_types) },
        { VIRTIO_NET_F_SPEED_DUPLEX, offsetof(struct virtio_net_config, rss_max_key_size) },
        { VIRTIO_NET_F_MTU, offsetof(struct virtio_net_config, speed) },
        { VIRTIO_NET_F_MQ, offsetof(struct virtio_net_config, mtu) },
        { VIRTIO_NET_F_STATUS, offsetof(struct virtio_net_config, max_virtqueue_pairs) },
        { VIRTIO_NET_F_MAC, offsetof(struct virtio_net_config, status) },
    };

    for (unsigned i = 0; i < sizeof(field) / sizeof(field[0]); i++)
        if (vio_drvdev_has(d, field[i].bit))
            return field[i].end;
    return 0;
}

static int pairs_of(struct vio_drv_net *n, const struct virtio_net_config *c)
{
    bool many = vio_drvdev_has(n->d, VIRTIO_NET_F_MQ) || vio_drvdev_has(n->d, VIRTIO_NET_F_RSS);

    n->info.pairs_max = many ? vio_cpu(c->max_virtqueue_pairs) : 1;
    if (n->info.pairs_max >= 1 && n->info.pairs_max <= 0x8000)
        return 0;
    return vio_drvdev_fail(n->d, -EPROTO, "max_virtqueue_pairs is %u: with MQ or RSS it is 1 to 32768 (virtio 1.4, 5.1.4.1)",
                           n->info.pairs_max);
}

/* What may change while the device runs. */
static void state_of(struct vio_drv_net *n, const struct virtio_net_config *c)
{
    uint16_t status = vio_drvdev_has(n->d, VIRTIO_NET_F_STATUS) ? vio_cpu(c->status) : VIRTIO_NET_S_LINK_UP;
    uint16_t mtu = vio_drvdev_has(n->d, VIRTIO_NET_F_MTU) ? vio_cpu(c->mtu) : 0;

    if (!vio_drvdev_has(n->d, VIRTIO_NET_F_GUEST_ANNOUNCE))
        status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
    if (mtu < VIRTIO_NET_MTU_MIN) /* no IPv4 could be sent: not told */
        mtu = 0;
    __atomic_store_n(&n->status, status, __ATOMIC_RELAXED);
    __atomic_store_n(&n->mtu, mtu, __ATOMIC_RELAXED);
}

static void fixed_of(struct vio_drv_net *n, const struct virtio_net_config *c)
{
    struct vio_drv_net_info *info = &n->info;

    /* A group address is no station's (5.1.5.1). */
    info->mac_known = vio_drvdev_has(n->d, VIRTIO_NET_F_MAC) && (c->mac[0] & 1) == 0;
    if (info->mac_known)
        memcpy(info->mac, c->mac, sizeof(info->mac));
    info->speed = VIRTIO_NET_SPEED_UNKNOWN;
    info->duplex = VIRTIO_NET_DUPLEX_UNKNOWN;
    if (vio_drvdev_has(n->d, VIRTIO_NET_F_SPEED_DUPLEX) && vio_cpu(c->speed) <= VIRTIO_NET_SPEED_MAX)
        info->speed = vio_cpu(c->speed);
    if (vio_drvdev_has(n->d, VIRTIO_NET_F_SPEED_DUPLEX) && c->duplex <= VIRTIO_NET_DUPLEX_FULL)
        info->duplex = c->duplex;
    if (!vio_drvdev_has(n->d, VIRTIO_NET_F_RSS) && !vio_drvdev_has(n->d, VIRTIO_NET_F_HASH_REPORT))
        return;
    info->hash_types = vio_cpu(c->supported_hash_types);
    info->rss_key_max = c->rss_max_key_size < VIO_DRV_NET_RSS_KEY_MAX ? c->rss_max_key_size : VIO_DRV_NET_RSS_KEY_MAX;
    if (vio_drvdev_has(n->d, VIRTIO_NET_F_RSS))
        info->rss_table_max = (uint16_t)vio_min_u32(vio_cpu(c->rss_max_indirection_table_length), VIO_DRV_NET_RSS_TABLE_MAX);
}

/* -ENOTSUP: the transport has no configuration, as vhost-user without CONFIG: then nothing is told. */
static int read_config(struct vio_drvdev *d, struct virtio_net_config *c)
{
    uint32_t bytes = config_bytes(d);

    return bytes > 0 ? vio_drvdev_config_read(d, 0, c, bytes) : -ENOTSUP;
}

int drv_net_configure(struct vio_drv_net *n)
{
    struct virtio_net_config c = { 0 };
    int error = read_config(n->d, &c);

    if (error == -ENOTSUP) {
        n->info.pairs_max = VIO_DRV_NET_PAIRS_MAX; /* the queues that there are will tell */
        n->info.speed = VIRTIO_NET_SPEED_UNKNOWN;
        n->info.duplex = VIRTIO_NET_DUPLEX_UNKNOWN;
        n->status = VIRTIO_NET_S_LINK_UP;
        if (!vio_drvdev_has(n->d, VIRTIO_NET_F_MQ))
            n->info.pairs_max = 1;
        return 0;
    }
    if (error != 0)
        return error;
    error = pairs_of(n, &c);
    if (error != 0)
        return error;
    fixed_of(n, &c);
    state_of(n, &c);
    return 0;
}

void drv_net_reconfigure(struct vio_drv_net *n)
{
    struct virtio_net_config c = { 0 };

    if (read_config(n->d, &c) == 0)
        state_of(n, &c);
}
