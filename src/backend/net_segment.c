/* SPDX-License-Identifier: MIT */
/*
 * Purpose: packets larger than a segment cut into segments, datagrams or IP fragments.
 * Where it sits: backend/, for devices too. Threads: no state.
 * Trust: all that the frame claims is judged once, before the first segment is made (plan_*), on private bytes that
 * nobody changes. hdr_len is only a hint (virtio 1.4, 5.1.9.2.2) and is not used: the headers are walked.
 */
#include "backend/net_offload.h"

#include <errno.h>
#include <string.h>

#include "backend/net_headers.h"
#include "spec/net.h"

enum {
    TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_URG = 32, TCP_CWR = 128,
    TCP_FLAGS_AT = 13,
    TCP_CHECK_AT = 16,
    UDP_LENGTH_AT = 4,
    UDP_CHECK_AT = 6,
    IPV4_DF = 0x4000,
    IPV4_MF = 0x2000,
    IP_LENGTH_MAX = 65535,
};

typedef bool emit_fn(void *ctx, const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len);

/* A frame that can be cut, and how. */
struct cut {
    const uint8_t *frame;
    uint32_t len;
    struct vio_net_headers h;
    uint32_t check_at; /* of the transport's checksum, from h.l4 */
    uint32_t data;     /* what is before it stands in every segment; what is behind it is shared out */
    uint32_t size;     /* bytes of that in one segment, the last excepted */
    uint32_t added;    /* bytes that a segment has more: the IPv6 fragment header */
    bool fragments;    /* what is cut is IP's payload, else the transport's */
    bool partial;      /* checksums are left to the taker */
    uint8_t *room;
};

/* ------------------------------------------------------------------ checksums */

/* Adds one number of a pseudo-header, as it stands in memory. */
static uint64_t sum16(uint64_t sum, uint32_t value)
{
    uint8_t wire[2];

    vio_net_put16(wire, value);
    return vio_net_sum(wire, sizeof wire, sum);
}

/*
 * The sum of the pseudo-header for `bytes` of transport header and payload. Where a routing header or a home address
 * may have replaced the addresses, only the driver knew which: its own sum, begun for the whole frame, is corrected.
 */
static uint64_t pseudo_header(const struct cut *c, uint32_t bytes)
{
    const uint8_t *ip = c->frame + c->h.l3;
    uint64_t sum = sum16(0, bytes);

    if (c->h.redirected)
        return sum16(vio_net_sum(c->frame + c->h.l4 + c->check_at, 2, sum), ~(c->len - c->h.l4));
    sum = sum16(sum, c->h.proto);
    return c->h.version == 4 ? vio_net_sum(ip + 12, 8, sum) : vio_net_sum(ip + 8, 32, sum);
}

/* A UDP checksum of 0 would say that there is none. */
static uint16_t finished(const struct cut *c, uint64_t sum)
{
    uint16_t check = vio_net_fold(sum);

    return check == 0 && c->h.proto == VIO_IP_UDP ? 0xffff : check;
}

static void set_check(const struct cut *c, uint32_t bytes)
{
    uint8_t *l4 = c->room + c->h.l4;
    uint64_t sum = pseudo_header(c, bytes);
    uint16_t check = (uint16_t)~vio_net_fold(sum);

    if (!c->partial) {
        memset(l4 + c->check_at, 0, sizeof check);
        check = finished(c, vio_net_sum(l4, bytes, sum));
    }
    memcpy(l4 + c->check_at, &check, sizeof check);
}

/* ------------------------------------------------------------------ IP headers */

static void set_ipv4(const struct cut *c, uint32_t total, uint32_t id_added)
{
    uint8_t *ip = c->room + c->h.l3;
    uint16_t check;

    vio_net_put16(ip + 2, total - c->h.l3);
    vio_net_put16(ip + 4, vio_net_get16(ip + 4) + id_added);
    memset(ip + 10, 0, 2);
    check = vio_net_fold(vio_net_sum(ip, (ip[0] & 15u) * 4, 0));
    memcpy(ip + 10, &check, sizeof check);
}

static void set_ipv6(const struct cut *c, uint32_t total)
{
    vio_net_put16(c->room + c->h.l3 + 4, total - c->h.l3 - VIO_IPV6_HEADER);
}

/* Options without the copied flag stand in the first fragment only (RFC 791, 3.1); no-operations keep their room. */
static void blank_options(uint8_t *ip)
{
    uint32_t header = (ip[0] & 15u) * 4, at = VIO_IPV4_HEADER, bytes;

    while (at < header && ip[at] != 0) {
        bytes = 1;
        if (ip[at] != 1) {
            if (at + 1 == header || ip[at + 1] < 2 || ip[at + 1] > header - at)
                return;
            bytes = ip[at + 1];
        }
        if (!(ip[at] & 0x80))
            memset(ip + at, 1, bytes);
        at += bytes;
    }
}

/* ------------------------------------------------------------------ segments and datagrams */

static void set_tcp(const struct cut *c, uint32_t offset, bool last)
{
    uint8_t *tcp = c->room + c->h.l4;

    vio_net_put32(tcp + 4, vio_net_get32(tcp + 4) + offset);
    if (!last)
        tcp[TCP_FLAGS_AT] &= (uint8_t)~(TCP_FIN | TCP_PSH);
    if (offset > 0) /* said once (RFC 3168, 6.1.2) */
        tcp[TCP_FLAGS_AT] &= (uint8_t)~TCP_CWR;
}

/* Makes segment number i, of `bytes` from `offset` on; its length. */
static uint32_t make_segment(const struct cut *c, uint32_t i, uint32_t offset, uint32_t bytes)
{
    uint32_t total = c->data + bytes;

    memcpy(c->room, c->frame, c->data);
    memcpy(c->room + c->data, c->frame + c->data + offset, bytes);
    if (c->h.version == 4)
        set_ipv4(c, total, i);
    else
        set_ipv6(c, total);
    if (c->h.proto == VIO_IP_TCP)
        set_tcp(c, offset, c->data + offset + bytes == c->len);
    else
        vio_net_put16(c->room + c->h.l4 + UDP_LENGTH_AT, total - c->h.l4);
    set_check(c, total - c->h.l4);
    return total;
}

static void cut_segments(const struct cut *c, emit_fn *emit, void *ctx)
{
    struct vio_net_hdr hdr = { .gso_type = VIRTIO_NET_HDR_GSO_NONE };
    uint32_t left = c->len - c->data, offset = 0, bytes;

    if (c->partial) {
        hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        hdr.csum_start = (uint16_t)c->h.l4;
        hdr.csum_offset = (uint16_t)c->check_at;
    }
    for (uint32_t i = 0; left > 0; i++, offset += bytes, left -= bytes) {
        bytes = vio_min_u32(left, c->size);
        if (!emit(ctx, &hdr, c->room, make_segment(c, i, offset, bytes)))
            return;
    }
}

/* ------------------------------------------------------------------ fragments */

static uint32_t make_fragment(const struct cut *c, uint32_t offset, uint32_t bytes, uint32_t id)
{
    bool more = c->data + offset + bytes < c->len;
    uint32_t at = c->data + c->added;

    memcpy(c->room, c->frame, c->data);
    memcpy(c->room + at, c->frame + c->data + offset, bytes);
    if (c->h.version == 4) {
        vio_net_put16(c->room + c->h.l3 + 6, offset / 8 | (more ? IPV4_MF : 0u));
        if (offset > 0)
            blank_options(c->room + c->h.l3);
        set_ipv4(c, at + bytes, 0);
    } else {
        c->room[c->data] = c->frame[c->h.next_at];
        c->room[c->data + 1] = 0;
        vio_net_put16(c->room + c->data + 2, offset | (more ? 1u : 0u));
        vio_net_put32(c->room + c->data + 4, id);
        c->room[c->h.next_at] = VIO_IP_FRAGMENT;
        set_ipv6(c, at + bytes);
    }
    return at + bytes;
}

/*
 * The checksum spans all fragments, so that it is finished here whatever the taker takes. IPv6 needs an identification
 * that datagrams on their way at the same time do not share; there is no state here to count in, so it is made of the
 * sum of all bytes: datagrams that share it are the same, or one in 2^32.
 */
static void cut_fragments(const struct cut *c, emit_fn *emit, void *ctx)
{
    const struct vio_net_hdr hdr = { .gso_type = VIRTIO_NET_HDR_GSO_NONE };
    const uint8_t *udp = c->frame + c->h.l4;
    uint32_t bytes = c->len - c->h.l4, left = c->len - c->data, offset = 0, id, total;
    uint64_t sum = vio_net_sum(udp, UDP_CHECK_AT, pseudo_header(c, bytes));
    uint16_t check;

    sum = vio_net_sum(udp + VIO_UDP_HEADER, bytes - VIO_UDP_HEADER, sum);
    check = finished(c, sum);
    id = (uint32_t)((sum * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    for (; left > 0; offset += bytes, left -= bytes) {
        bytes = vio_min_u32(left, c->size);
        total = make_fragment(c, offset, bytes, id);
        if (offset == 0)
            memcpy(c->room + c->h.l4 + c->added + UDP_CHECK_AT, &check, sizeof check);
        if (!emit(ctx, &hdr, c->room, total))
            return;
    }
}

/* ------------------------------------------------------------------ may it be cut? */

static bool plan_tcp(struct cut *c, uint8_t version)
{
    const uint8_t *tcp = c->frame + c->h.l4;
    uint32_t header;

    if (c->h.version != version || c->h.proto != VIO_IP_TCP || !vio_range_ok(c->h.l4, VIO_TCP_HEADER, c->len))
        return false;
    header = (tcp[12] >> 4) * 4u;
    /* What these flags say is said of one segment, and there is no telling which. */
    if (header < VIO_TCP_HEADER || (tcp[TCP_FLAGS_AT] & (TCP_SYN | TCP_RST | TCP_URG)) != 0)
        return false;
    c->check_at = TCP_CHECK_AT;
    c->data = c->h.l4 + header;
    return true;
}

static bool plan_udp(struct cut *c)
{
    if (c->h.proto != VIO_IP_UDP || !vio_range_ok(c->h.l4, VIO_UDP_HEADER, c->len))
        return false;
    c->check_at = UDP_CHECK_AT;
    c->data = c->h.l4 + VIO_UDP_HEADER;
    return true;
}

/* gso_size is of IP's payload here, UDP's header included; what fits in it stays whole. */
static bool plan_fragments(struct cut *c)
{
    bool v4 = c->h.version == 4;
    uint32_t start = v4 ? c->h.l4 : c->h.fragment_at;

    if (!plan_udp(c) || vio_net_get16(c->frame + c->h.l4 + UDP_LENGTH_AT) != c->len - c->h.l4)
        return false;
    if (c->len - start <= c->size) {
        c->size = c->len - c->data;
        return true;
    }
    if (v4 && (vio_net_get16(c->frame + c->h.l3 + 6) & IPV4_DF) != 0)
        return false;
    c->size &= ~7u;
    c->data = start;
    c->added = v4 ? 0 : VIO_IPV6_FRAGMENT_HEADER;
    c->fragments = true;
    /* The first holds all headers (RFC 7112). */
    return c->size >= c->h.l4 - start + VIO_UDP_HEADER;
}

/* ECN is a matter of TCP's. */
static bool plan_transport(struct cut *c, unsigned gso_type)
{
    switch (gso_type) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
        return plan_tcp(c, 4);
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
        return plan_tcp(c, 6);
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return plan_udp(c);
    case VIRTIO_NET_HDR_GSO_UDP:
        return plan_fragments(c);
    default:
        return false;
    }
}

/* Where the driver says the checksum is, if it says so, is where the one transport header has it. */
static bool checksum_matches(const struct cut *c, const struct vio_net_hdr *hdr)
{
    if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return !c->h.redirected;
    return hdr->csum_start == c->h.l4 && hdr->csum_offset == c->check_at;
}

/* No segment is longer than a frame or an IP packet may be, and there are not too many. */
static bool sizes_fit(const struct cut *c)
{
    uint32_t left, largest, ip;

    if (c->data >= c->len || c->data > VIO_NET_CUT_HEADERS_MAX || c->size == 0)
        return false;
    left = c->len - c->data;
    largest = c->data + c->added + vio_min_u32(left, c->size);
    ip = largest - c->h.l3 - (c->h.version == 6 ? VIO_IPV6_HEADER : 0u);
    return largest <= VIO_NET_FRAME_MAX && ip <= IP_LENGTH_MAX && (left - 1) / c->size < VIO_NET_CUTS_MAX;
}

/*
 * A length of 0 in the IP header is one that was left open, as some drivers do for what is to be cut: all of the frame.
 * Bytes behind IP's end would be padding, which a frame of this size does not have.
 */
static bool plan(struct cut *c, const struct vio_net_hdr *hdr)
{
    if (c->len > VIO_NET_FRAME_MAX)
        return false;
    vio_net_headers_find(c->frame, c->len, &c->h);
    if (c->h.version == 0 || c->h.l4 == 0 || c->h.fragment)
        return false;
    if (c->h.end != UINT32_MAX && c->h.end != c->len)
        return false;
    return plan_transport(c, hdr->gso_type) && checksum_matches(c, hdr) && sizes_fit(c);
}

int vio_net_segment(const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len, unsigned takes, uint8_t *room,
                    bool (*emit)(void *ctx, const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len), void *ctx)
{
    struct cut c = { .frame = frame, .len = len, .size = hdr->gso_size, .room = room };

    c.partial = (takes & VIO_NET_CSUM) != 0;
    if (!plan(&c, hdr))
        return -EINVAL;
    if (c.fragments)
        cut_fragments(&c, emit, ctx);
    else
        cut_segments(&c, emit, ctx);
    return 0;
}
