/* SPDX-License-Identifier: MIT */
/*
 * Purpose: hashes of flows: Toeplitz as the driver configured it (virtio 1.4, 5.1.9.4.3), and a cheap one of our own.
 * Where it sits: device/net. Threads: no state.
 * Trust: the head is a private copy of hostile bytes; the key and the types were checked when they were set.
 */
#include "device/net_internal.h"

#include <string.h>

#include "backend/net_headers.h"

/* The longest input: two IPv6 addresses, two ports. */
enum { TUPLE_MAX = 36 };
_Static_assert(NET_RSS_KEY_MAX >= TUPLE_MAX + 4, "each bit of the input takes 32 bits of the key, from its own place on");

/* What a hash may be made of. */
struct tuple {
    uint8_t version;  /* 4, 6; 0: not IP */
    uint8_t proto;    /* VIO_IP_TCP, VIO_IP_UDP; 0: no such header, and no ports */
    uint8_t address_bytes; /* of both; the ports follow */
    uint8_t bytes[TUPLE_MAX];
};

/* Fragments go by their addresses alone, the first one too: else a packet's fragments would part. */
static bool has_transport(const struct vio_net_headers *h, size_t bytes)
{
    uint32_t header = h->proto == VIO_IP_TCP ? VIO_TCP_HEADER : VIO_UDP_HEADER;

    if (h->l4 == 0 || (h->proto != VIO_IP_TCP && h->proto != VIO_IP_UDP))
        return false;
    /* The ports must be in view; the rest of the header only in IP's own length, since padding is no header. */
    return vio_range_ok(h->l4, header, h->end) && vio_range_ok(h->l4, 4, bytes);
}

static void tuple_of(struct tuple *t, const uint8_t *head, size_t bytes)
{
    struct vio_net_headers h;

    vio_net_headers_find(head, bytes, &h);
    *t = (struct tuple){ .version = h.version };
    if (h.version == 0)
        return;
    t->address_bytes = h.version == 4 ? 8 : 32;
    memcpy(t->bytes, head + h.l3 + (h.version == 4 ? 12 : 8), t->address_bytes);
    if (!has_transport(&h, bytes))
        return;
    t->proto = h.proto;
    memcpy(t->bytes + t->address_bytes, head + h.l4, 4);
}

static uint32_t toeplitz(const uint8_t key[NET_RSS_KEY_MAX], const uint8_t *input, unsigned n)
{
    uint32_t window = vio_net_get32(key), hash = 0;

    for (unsigned i = 0; i < n; i++) {
        uint64_t wide = (uint64_t)window << 8 | key[i + 4];

        for (unsigned bit = 0; bit < 8; bit++)
            hash ^= (uint32_t)(wide >> (8 - bit)) & (0u - (input[i] >> (7 - bit) & 1u));
        window = (uint32_t)wide;
    }
    return hash;
}

/*
 * The most that is enabled and there: ports, else addresses (virtio 1.4, 5.1.9.4.3). Without the _EX types, which we do
 * not offer, IPv6 extension headers are passed over.
 */
static uint16_t choose(uint32_t types, const struct tuple *t, unsigned *n)
{
    bool v4 = t->version == 4;

    *n = t->address_bytes + 4u;
    if (t->proto == VIO_IP_TCP && (types & (v4 ? VIRTIO_NET_HASH_TYPE_TCPv4 : VIRTIO_NET_HASH_TYPE_TCPv6)) != 0)
        return v4 ? VIRTIO_NET_HASH_REPORT_TCPv4 : VIRTIO_NET_HASH_REPORT_TCPv6;
    if (t->proto == VIO_IP_UDP && (types & (v4 ? VIRTIO_NET_HASH_TYPE_UDPv4 : VIRTIO_NET_HASH_TYPE_UDPv6)) != 0)
        return v4 ? VIRTIO_NET_HASH_REPORT_UDPv4 : VIRTIO_NET_HASH_REPORT_UDPv6;
    *n = t->address_bytes;
    if (t->version != 0 && (types & (v4 ? VIRTIO_NET_HASH_TYPE_IPv4 : VIRTIO_NET_HASH_TYPE_IPv6)) != 0)
        return v4 ? VIRTIO_NET_HASH_REPORT_IPv4 : VIRTIO_NET_HASH_REPORT_IPv6;
    return VIRTIO_NET_HASH_REPORT_NONE;
}

uint32_t net_hash(const struct net_rss *rss, const uint8_t *head, size_t bytes, uint16_t *report)
{
    struct tuple t;
    unsigned n;

    *report = VIRTIO_NET_HASH_REPORT_NONE;
    if ((rss->types & NET_HASH_TYPES) == 0)
        return 0;
    tuple_of(&t, head, bytes);
    *report = choose(rss->types, &t, &n);
    return *report == VIRTIO_NET_HASH_REPORT_NONE ? 0 : toeplitz(rss->key, t.bytes, n);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

/* Not IP: the stations and the ethertype. A flow's two directions have two hashes. */
uint32_t net_flow(const uint8_t *head, size_t bytes)
{
    uint8_t input[40] = { 0 };
    uint64_t hash = 0, word;
    struct tuple t;

    tuple_of(&t, head, bytes);
    if (t.version != 0)
        memcpy(input, t.bytes, sizeof t.bytes);
    else
        memcpy(input, head, bytes < VIO_NET_FRAME_MIN ? bytes : VIO_NET_FRAME_MIN);
    for (unsigned i = 0; i < sizeof input; i += sizeof word) {
        memcpy(&word, input + i, sizeof word);
        hash = mix(hash, word);
    }
    return (uint32_t)hash; /* mix() has folded the upper half in */
}
