/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the walk over a frame's headers. Where it sits: backend/, for devices too. Threads: no state.
 * Trust: every byte is hostile. A header that is not wholly in view, or that contradicts itself, ends the walk there.
 */
#include "backend/net_headers.h"

static void find_ipv4(const uint8_t *frame, size_t n, struct vio_net_headers *h)
{
    const uint8_t *ip = frame + h->l3;
    uint32_t header, length;

    if (!vio_range_ok(h->l3, VIO_IPV4_HEADER, n) || ip[0] >> 4 != 4)
        return;
    header = (ip[0] & 15u) * 4;
    length = vio_net_get16(ip + 2);
    if (header < VIO_IPV4_HEADER || !vio_range_ok(h->l3, header, n) || (length != 0 && length < header))
        return;
    h->version = 4;
    h->proto = ip[9];
    h->end = length != 0 ? h->l3 + length : UINT32_MAX;
    h->fragment = (vio_net_get16(ip + 6) & 0x3fff) != 0; /* an offset, or more fragments */
    if (!h->fragment)
        h->l4 = h->l3 + header;
}

/* The extension header at `at`, of kind `next`; how long it is, 0 where it is not in view. */
static uint32_t extension(const uint8_t *frame, size_t n, uint32_t at, uint8_t next)
{
    uint32_t bytes = VIO_IPV6_FRAGMENT_HEADER;

    if (!vio_range_ok(at, 8, n))
        return 0;
    if (next != VIO_IP_FRAGMENT)
        bytes = (frame[at + 1] + 1u) * 8;
    return vio_range_ok(at, bytes, n) ? bytes : 0;
}

static bool is_extension(uint8_t next)
{
    return next == VIO_IP_HOP_BY_HOP || next == VIO_IP_ROUTING || next == VIO_IP_DESTINATION || next == VIO_IP_FRAGMENT;
}

/* Each turn passes over 8 bytes at least, so the frame's length bounds the walk. */
static void walk_extensions(const uint8_t *frame, size_t n, struct vio_net_headers *h)
{
    uint32_t at = h->l3 + VIO_IPV6_HEADER, bytes;
    uint8_t next = frame[h->l3 + 6];

    for (; is_extension(next); next = frame[at], at += bytes) {
        bytes = extension(frame, n, at, next);
        if (bytes == 0)
            return;
        if (next == VIO_IP_FRAGMENT) {
            h->fragment = true;
            if ((vio_net_get16(frame + at + 2) & 0xfff9) != 0)
                return;
        } else if (next != VIO_IP_DESTINATION) {
            h->fragment_at = at + bytes;
            h->next_at = at;
        }
        h->redirected |= next == VIO_IP_ROUTING || next == VIO_IP_DESTINATION;
    }
    if (at > h->end)
        return;
    h->proto = next;
    h->l4 = at;
}

static void find_ipv6(const uint8_t *frame, size_t n, struct vio_net_headers *h)
{
    const uint8_t *ip = frame + h->l3;
    uint32_t length;

    if (!vio_range_ok(h->l3, VIO_IPV6_HEADER, n) || ip[0] >> 4 != 6)
        return;
    length = vio_net_get16(ip + 4);
    h->version = 6;
    h->end = length != 0 ? h->l3 + VIO_IPV6_HEADER + length : UINT32_MAX;
    h->fragment_at = h->l3 + VIO_IPV6_HEADER;
    h->next_at = h->l3 + 6;
    walk_extensions(frame, n, h);
}

void vio_net_headers_find(const uint8_t *frame, size_t n, struct vio_net_headers *h)
{
    *h = (struct vio_net_headers){ .l3 = VIO_ETH_HEADER };
    if (n < VIO_ETH_HEADER)
        return;
    h->ethertype = vio_net_get16(frame + VIO_ETH_HEADER - 2);
    for (int tags = 0; tags < 2 && (h->ethertype == VIO_ETH_VLAN || h->ethertype == VIO_ETH_SVLAN); tags++) {
        if (!vio_range_ok(h->l3, VIO_ETH_TAG, n)) {
            h->ethertype = 0;
            return;
        }
        h->ethertype = vio_net_get16(frame + h->l3 + 2);
        h->l3 += VIO_ETH_TAG;
    }
    if (h->ethertype == VIO_ETH_IPV4)
        find_ipv4(frame, n, h);
    else if (h->ethertype == VIO_ETH_IPV6)
        find_ipv6(frame, n, h);
}
