/* SPDX-License-Identifier: MIT */
/*
 * Purpose: which frames the driver wants: by address (virtio 1.4, 5.1.9.5.1 and 5.1.9.5.2) and by VLAN (5.1.9.5.3).
 * Where it sits: device/net. Threads: the owner's. Trust: the head is a private copy of hostile bytes.
 */
#include "device/net_internal.h"

#include <string.h>

#include "backend/net_headers.h"

/*
 * The specification's fresh device: an empty table (5.1.9.5.2.1), so that the driver's own address and broadcasts pass,
 * and no VLAN (5.1.9.5.3). QEMU begins in promiscuous mode until the driver says otherwise; a driver that speaks
 * CTRL_RX says what it wants when its interface comes up, and one that does not has mac_rules off.
 */
void net_filter_reset(struct net_filter *f, const uint8_t mac[VIO_NET_MAC], bool mac_rules, bool vlan_rules)
{
    struct net_filter fresh = { .mac_rules = mac_rules, .vlan_rules = vlan_rules };

    memcpy(fresh.mac, mac, VIO_NET_MAC);
    *f = fresh;
}

/*
 * CTRL_VLAN is about 802.1Q tags. Frames without pass, and so do those with VLAN 0, which is a priority and no VLAN. An
 * outer tag of 802.1ad passes: no driver can ask for it, and a guest that bridges would lose all of it.
 */
static bool wants_vlan(const struct net_filter *f, const uint8_t *head, size_t bytes)
{
    unsigned vid;

    if (vio_net_get16(head + 2 * VIO_NET_MAC) != VIO_ETH_VLAN)
        return true;
    if (bytes < VIO_ETH_HEADER + 2)
        return false; /* the tag is cut off: there is no VLAN that it could be in */
    vid = vio_net_get16(head + VIO_ETH_HEADER) & 0xfffu;
    return vid == 0 || (f->vlan[vid / 64] >> vid % 64 & 1) != 0;
}

static bool is_mac(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, VIO_NET_MAC) == 0;
}

static bool in_table(const uint8_t (*table)[VIO_NET_MAC], unsigned nr, const uint8_t *mac)
{
    for (unsigned i = 0; i < nr; i++) {
        if (is_mac(table[i], mac))
            return true;
    }
    return false;
}

/* A mode that suppresses wins over one that lets through; neither touches broadcasts, which have a mode of their own. */
static bool wants_address(const struct net_filter *f, const uint8_t *to)
{
    static const uint8_t broadcast[VIO_NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

    if (is_mac(to, broadcast))
        return !f->nobcast;
    if (to[0] & 1)
        return !f->nomulti && (f->allmulti || f->multi_overflow || in_table(f->multi, f->nr_multi, to));
    return !f->nouni && (f->alluni || f->uni_overflow || is_mac(to, f->mac) || in_table(f->uni, f->nr_uni, to));
}

/* Promiscuous mode receives all that comes (5.1.9.5.1.1), of whatever VLAN. */
bool net_filter_wants(const struct net_filter *f, const uint8_t *head, size_t bytes)
{
    if (bytes < VIO_NET_FRAME_MIN)
        return false;
    if (f->mac_rules && f->promisc)
        return true;
    if (f->vlan_rules && !wants_vlan(f, head, bytes))
        return false;
    return !f->mac_rules || wants_address(f, head);
}
