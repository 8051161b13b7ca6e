/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what a packet needs, the checksum of RFC 1071, and checksums finished; net_segment.c cuts.
 * Where it sits: backend/, for devices too. Threads: no state.
 * Trust: offsets of a header are checked against the frame's length again before a byte is read or written through them.
 */
#include "backend/net_offload.h"

#include <string.h>

#include "backend/net_headers.h"
#include "spec/net.h"

bool vio_net_gso_known(uint8_t type)
{
    switch (type) {
    case VIRTIO_NET_HDR_GSO_NONE:
    case VIRTIO_NET_HDR_GSO_UDP:
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return true;
    default:
        type &= (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
        return type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;
    }
}

unsigned vio_net_needs(const struct vio_net_hdr *hdr)
{
    unsigned needs = hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? VIO_NET_CSUM : 0;

    if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
        return needs;
    needs |= VIO_NET_CSUM;
    if (hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN)
        needs |= VIO_NET_ECN;
    switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
        return needs | VIO_NET_TSO4;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return needs | VIO_NET_TSO6;
    case VIRTIO_NET_HDR_GSO_UDP:
        return needs | VIO_NET_UFO;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return needs | VIO_NET_USO;
    default: /* nothing that we know; who asks has checked that it is not so */
        return VIO_NET_OFFLOADS;
    }
}

static inline uint64_t load64(const unsigned char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

/* One's complement: what overflows comes in again at the bottom. */
static inline uint64_t add_carry(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? sum + 1 : sum;
}

/*
 * Words of 64 bits in the machine's own order: 2^16 and 2^64 are both 1 modulo 65535, and the order of bytes carries over
 * to the result (RFC 1071, 2). Four sums, so that an addition does not wait for the one before it.
 */
uint64_t vio_net_sum(const void *bytes, size_t len, uint64_t sum)
{
    const unsigned char *at = bytes;
    uint64_t lane[4] = { sum, 0, 0, 0 };
    uint64_t last = 0;

    for (; len >= 32; at += 32, len -= 32) {
        lane[0] = add_carry(lane[0], load64(at));
        lane[1] = add_carry(lane[1], load64(at + 8));
        lane[2] = add_carry(lane[2], load64(at + 16));
        lane[3] = add_carry(lane[3], load64(at + 24));
    }
    sum = add_carry(add_carry(lane[0], lane[1]), add_carry(lane[2], lane[3]));
    for (; len >= 8; at += 8, len -= 8)
        sum = add_carry(sum, load64(at));
    if (len > 0)
        memcpy(&last, at, len);
    return add_carry(sum, last);
}

uint16_t vio_net_fold(uint64_t sum)
{
    sum = (sum >> 32) + (sum & 0xffffffffu);
    sum = (sum >> 16) + (sum & 0xffffu);
    sum = (sum >> 16) + (sum & 0xffffu);
    sum = (sum >> 16) + (sum & 0xffffu);
    return (uint16_t)~sum;
}

bool vio_net_finish_csum(struct vio_net_hdr *hdr, void *frame, uint32_t len)
{
    uint32_t field = (uint32_t)hdr->csum_start + hdr->csum_offset;
    unsigned char *bytes = frame;
    uint16_t sum;

    if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return true;
    if (!vio_range_ok(field, sizeof sum, len))
        return false;
    sum = vio_net_fold(vio_net_sum(bytes + hdr->csum_start, len - hdr->csum_start, 0));
    /* A UDP checksum of 0 says that there is none; 6 is where UDP has it, also behind headers that we cannot read. */
    if (sum == 0 && hdr->csum_offset == 6)
        sum = 0xffff;
    memcpy(bytes + field, &sum, sizeof sum);
    hdr->flags &= (uint8_t)~VIRTIO_NET_HDR_F_NEEDS_CSUM;
    return true;
}
