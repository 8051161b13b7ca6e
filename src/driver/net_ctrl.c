/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the commands of a network device's control queue (virtio 1.4, 5.1.9.5), one at a time, waited for.
 * Where it sits: driver/, freestanding. Threads: the control thread. Trust: the one byte that answers is read once; a command that
 * was not answered keeps its memory until the device is reset.
 */
#include <errno.h>
#include <string.h>
#include "driver/core_slots.h"
#include "driver/net_internal.h"

static const uint64_t PATIENCE_NS = UINT64_C(5000000000);

static int wait_for_answer(struct vio_drv_net *n)
{
    struct vio_done done;
    int error = vio_drvdev_wait(n->d, n->ctrl_queue, PATIENCE_NS);

    if (error != 0)
        return error;
    if (drv_collect(n->d, n->ctrl_queue, &done))
        return 0;
    (void)drv_queue_broken(n->d, n->ctrl_queue);
    return -EIO;
}

int vio_drv_net_command(struct vio_drv_net *n, uint8_t class, uint8_t command, const void *data, uint32_t len, void *reply,
                        uint32_t reply_len)
{
    struct virtio_net_ctrl_hdr head = { class, command };
    volatile uint8_t *ack = n->ctrl + DRV_NET_CTRL + DRV_NET_CTRL_REPLY - 1;
    struct vio_buf bufs[] = {
        { n->ctrl_addr, (uint32_t)sizeof(head) + len },
        { n->ctrl_addr + DRV_NET_CTRL, reply_len },
        { n->ctrl_addr + DRV_NET_CTRL + DRV_NET_CTRL_REPLY - 1, 1 },
    };
    struct vio_buf *answer = &bufs[1];
    unsigned nr_w = 2;
    uint8_t said;
    int error;

    if (!n->info.control)
        return -ENOTSUP;
    if (n->ctrl_lost)
        return -ETIMEDOUT;
    if (len > DRV_NET_CTRL - sizeof(head) || reply_len >= DRV_NET_CTRL_REPLY)
        return -EINVAL;
    memcpy(n->ctrl, &head, sizeof(head));
    if (len > 0)
        memcpy(n->ctrl + sizeof(head), data, len);
    memset(n->ctrl + DRV_NET_CTRL, 0, DRV_NET_CTRL_REPLY);
    *ack = 0xff;
    if (reply_len == 0) {
        *answer = bufs[2];
        nr_w = 1;
    }
    error = vio_drvq_put(vio_drvdev_queue(n->d, n->ctrl_queue), bufs, 1, nr_w, 0);
    if (error != 0)
        return error;
    n->ctrl_lost = true;
    vio_drvdev_publish(n->d, n->ctrl_queue);
    error = wait_for_answer(n);
    if (error != 0)
        return error;
    n->ctrl_lost = false;
    said = *ack;
    if (said == VIRTIO_NET_OK && reply_len > 0)
        memcpy(reply, n->ctrl + DRV_NET_CTRL, reply_len);
    return said == VIRTIO_NET_OK ? 0 : said == VIRTIO_NET_ERR ? -EIO : -EPROTO;
}

static int tell(struct vio_drv_net *n, unsigned feature, uint8_t class, uint8_t command, const void *data, size_t len)
{
    if (!vio_drvdev_has(n->d, feature))
        return -ENOTSUP;
    return vio_drv_net_command(n, class, command, data, (uint32_t)len, NULL, 0);
}

int vio_drv_net_mode(struct vio_drv_net *n, unsigned modes)
{
    static const struct {
        unsigned mode;
        uint8_t feature, command;
    } table[] = {
        { VIO_NET_PROMISC, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC },
        { VIO_NET_ALLMULTI, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI },
        { VIO_NET_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_CTRL_RX_ALLUNI },
        { VIO_NET_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_CTRL_RX_NOMULTI },
        { VIO_NET_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_CTRL_RX_NOUNI },
        { VIO_NET_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_CTRL_RX_NOBCAST },
    };

    if (modes >= 2 * VIO_NET_NOBCAST)
        return -EINVAL;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if ((modes & table[i].mode) != 0 && !vio_drvdev_has(n->d, table[i].feature))
            return -ENOTSUP;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint8_t on = (modes & table[i].mode) != 0;
        int error = tell(n, table[i].feature, VIRTIO_NET_CTRL_RX, table[i].command, &on, sizeof(on));

        if (error != 0 && (error != -ENOTSUP || on != 0))
            return error;
    }
    return 0;
}

int vio_drv_net_mac(struct vio_drv_net *n, const uint8_t mac[6])
{
    int error;

    if ((mac[0] & 1) != 0)
        return -EINVAL;
    error = tell(n, VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6);
    if (error == 0) {
        memcpy(n->info.mac, mac, 6);
        n->info.mac_known = true;
    }
    return error;
}

static size_t add_macs(uint8_t *to, const uint8_t (*macs)[6], unsigned nr)
{
    vio_le32 count = vio_le32_of(nr);

    memcpy(to, &count, sizeof(count));
    if (nr > 0)
        memcpy(to + sizeof(count), macs, (size_t)nr * 6);
    return sizeof(count) + (size_t)nr * 6;
}

int vio_drv_net_macs(struct vio_drv_net *n, const uint8_t (*unicast)[6], unsigned nr_unicast, const uint8_t (*multicast)[6],
                     unsigned nr_multicast)
{
    uint8_t data[2 * (sizeof(vio_le32) + VIO_DRV_NET_MACS_MAX * 6)];
    size_t len;

    if (nr_unicast > VIO_DRV_NET_MACS_MAX || nr_multicast > VIO_DRV_NET_MACS_MAX)
        return -EINVAL;
    len = add_macs(data, unicast, nr_unicast);
    len += add_macs(data + len, multicast, nr_multicast);
    return tell(n, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, len);
}

int vio_drv_net_vlan(struct vio_drv_net *n, uint16_t id, bool on)
{
    vio_le16 data = vio_le16_of(id);

    if (id >= VIRTIO_NET_VLANS)
        return -EINVAL;
    return tell(n, VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN,
                (uint8_t)(on ? VIRTIO_NET_CTRL_VLAN_ADD : VIRTIO_NET_CTRL_VLAN_DEL), &data, sizeof(data));
}

int vio_drv_net_announced(struct vio_drv_net *n)
{
    int error = tell(n, VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0);

    if (error == 0)
        drv_net_reconfigure(n);
    return error;
}

int vio_drv_net_pairs(struct vio_drv_net *n, uint16_t pairs)
{
    vio_le16 data = vio_le16_of(pairs);

    if (pairs == 0 || pairs > n->info.pairs)
        return -EINVAL;
    return tell(n, VIRTIO_NET_F_MQ, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &data, sizeof(data));
}

int vio_drv_net_offloads(struct vio_drv_net *n, uint64_t offloads)
{
    static const uint64_t all = VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
                                VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | VIO_FEATURE(VIRTIO_NET_F_GUEST_ECN) |
                                VIO_FEATURE(VIRTIO_NET_F_GUEST_UFO) | VIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) |
                                VIO_FEATURE(VIRTIO_NET_F_GUEST_USO6);
    vio_le64 data = vio_le64_of(offloads);

    if ((offloads & ~(all & vio_drvdev_features(n->d).w[0])) != 0)
        return -EINVAL;
    return tell(n, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &data,
                sizeof(data));
}

/* Only the hash is reported (5.1.9.5.6). */
static int hash_config(struct vio_drv_net *n, const struct vio_net_rss *rss)
{
    struct virtio_net_hash_head head = { .hash_types = vio_le32_of(rss->hash_types) };
    uint8_t data[sizeof(head) + 1 + VIO_DRV_NET_RSS_KEY_MAX];

    memcpy(data, &head, sizeof(head));
    data[sizeof(head)] = rss->key_len;
    memcpy(data + sizeof(head) + 1, rss->key, rss->key_len);
    return tell(n, VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, data,
                sizeof(head) + 1u + rss->key_len);
}

int vio_drv_net_rss(struct vio_drv_net *n, const struct vio_net_rss *rss)
{
    struct virtio_net_rss_head head = {
        .hash_types = vio_le32_of(rss->hash_types),
        .indirection_table_mask = vio_le16_of((uint16_t)(rss->table_len - 1)),
        .unclassified_queue = vio_le16_of(rss->unclassified),
    };
    struct virtio_net_rss_tail tail = {
        .max_tx_vq = { (uint8_t)rss->max_tx, (uint8_t)(rss->max_tx >> 8) },
        .hash_key_length = rss->key_len,
    };
    uint8_t data[sizeof(head) + VIO_DRV_NET_RSS_TABLE_MAX * sizeof(vio_le16) + sizeof(tail) + VIO_DRV_NET_RSS_KEY_MAX];
    uint8_t *at = data;

    if (rss->key_len > n->info.rss_key_max || (rss->hash_types & ~n->info.hash_types) != 0)
        return -EINVAL;
    if (rss->table_len == 0)
        return hash_config(n, rss);
    if (rss->table_len > n->info.rss_table_max || (rss->table_len & (rss->table_len - 1)) != 0 ||
        rss->unclassified >= n->info.pairs || rss->max_tx == 0 || rss->max_tx > n->info.pairs)
        return -EINVAL;
    memcpy(at, &head, sizeof(head));
    at += sizeof(head);
    for (unsigned i = 0; i < rss->table_len; i++, at += sizeof(vio_le16)) {
        vio_le16 pair = vio_le16_of(rss->table[i]);

        if (rss->table[i] >= n->info.pairs)
            return -EINVAL;
        memcpy(at, &pair, sizeof(pair));
    }
    memcpy(at, &tail, sizeof(tail));
    at += sizeof(tail);
    memcpy(at, rss->key, rss->key_len);
    at += rss->key_len;
    return tell(n, VIRTIO_NET_F_RSS, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data, (size_t)(at - data));
}

int vio_drv_net_coalesce(struct vio_drv_net *n, int queue, uint32_t packets, uint32_t usecs)
{
    struct virtio_net_ctrl_coal coal = { vio_le32_of(packets), vio_le32_of(usecs) };
    struct virtio_net_ctrl_coal_vq one = { .vq_index = vio_le16_of((uint16_t)queue), .coal = coal };

    if (queue == -1 || queue == -2)
        return tell(n, VIRTIO_NET_F_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL,
                    (uint8_t)(queue == -1 ? VIRTIO_NET_CTRL_NOTF_COAL_RX_SET : VIRTIO_NET_CTRL_NOTF_COAL_TX_SET), &coal,
                    sizeof(coal));
    if (queue < 0 || queue >= 2 * n->info.pairs)
        return -EINVAL;
    return tell(n, VIRTIO_NET_F_VQ_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &one, sizeof(one));
}
