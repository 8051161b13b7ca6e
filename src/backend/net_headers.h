/* SPDX-License-Identifier: MIT */
/*
 * Purpose: where the headers of a frame are: VLAN tags, IP, what is behind it. One walk for all who look into frames:
 * segmentation, hashes, filters.
 * Where it sits: backend/, for devices too. Threads: no state.
 * Trust: the bytes are a guest's, in a private copy; every offset that comes out lies inside them.
 */
#ifndef VIO_BACKEND_NET_HEADERS_H
#define VIO_BACKEND_NET_HEADERS_H

#include <string.h>
#include <vio/types.h>

enum {
    VIO_ETH_HEADER = 14,
    VIO_ETH_TAG = 4,
    VIO_ETH_IPV4 = 0x0800,
    VIO_ETH_IPV6 = 0x86dd,
    VIO_ETH_VLAN = 0x8100,  /* 802.1Q */
    VIO_ETH_SVLAN = 0x88a8, /* 802.1ad, the outer of two tags */

    VIO_IPV4_HEADER = 20, /* without options */
    VIO_IPV6_HEADER = 40,
    VIO_IPV6_FRAGMENT_HEADER = 8,
    VIO_TCP_HEADER = 20, /* without options */
    VIO_UDP_HEADER = 8,

    VIO_IP_HOP_BY_HOP = 0,
    VIO_IP_TCP = 6,
    VIO_IP_UDP = 17,
    VIO_IP_ROUTING = 43,
    VIO_IP_FRAGMENT = 44,
    VIO_IP_DESTINATION = 60,
};

struct vio_net_headers {
    uint16_t ethertype; /* behind the VLAN tags, of which two are passed over; 0: not in view */
    uint8_t version;    /* of IP: 4, 6; 0: no IP, or no sound header of it in view */
    uint8_t proto;      /* of the transport; meaningful with l4 */
    uint32_t l3;        /* what the ethertype names */
    uint32_t l4;        /* behind IP and the extension headers; 0: not in view, or in another fragment */
    uint32_t end;       /* of IP, by its own length; UINT32_MAX where that is 0: not set */
    bool fragment;      /* of a larger packet (l4 is 0), or IPv6 with a fragment header around a whole one */
    bool redirected;    /* IPv6: a routing or a destination header may name the addresses that checksums are made with */
    /* IPv6: where a fragment header belongs (RFC 8200, 4.5), and the byte that then announces it */
    uint32_t fragment_at, next_at;
};

/* n: bytes in view, the frame or its head. */
void vio_net_headers_find(const uint8_t *frame, size_t n, struct vio_net_headers *h);

/* Numbers in frames stand at any address, in network order. */
static inline uint16_t vio_net_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t vio_net_get32(const uint8_t *at)
{
    return (uint32_t)vio_net_get16(at) << 16 | vio_net_get16(at + 2);
}

static inline void vio_net_put16(uint8_t *at, uint32_t value)
{
    vio_be16 wire = vio_be16_of((uint16_t)value);

    memcpy(at, &wire, sizeof wire);
}

static inline void vio_net_put32(uint8_t *at, uint32_t value)
{
    vio_be32 wire = vio_be32_of(value);

    memcpy(at, &wire, sizeof wire);
}

#endif
