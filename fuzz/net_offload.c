/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fuzz target: frames of a guest's looked into and cut: the input is a header, what the taker takes, and a frame.
 * Invariants: nothing is read or written outside (buffers end where they may end); what is refused emits nothing; each
 * frame that comes out is one: lengths agree, it needs no more than is taken, checksums are right.
 */
#include <errno.h>
#include <string.h>

#include "backend/net_headers.h"
#include "backend/net_offload.h"
#include "device/net_internal.h"
#include "fuzz.h"

struct seen {
    const struct vio_net_hdr *whole;
    uint32_t len;
    unsigned takes;
    unsigned frames;
};

/* Bytewise, and independent of vio_net_sum(). */
static unsigned sum_of(const uint8_t *at, size_t n, unsigned sum)
{
    for (size_t i = 0; i < n; i++) {
        sum += i % 2 == 0 ? at[i] * 256u : at[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Of frames whose addresses are those of the checksum. */
static void check_transport(const uint8_t *frame, uint32_t len, const struct vio_net_headers *h)
{
    uint32_t bytes = len - h->l4;
    unsigned sum = h->proto + bytes;

    sum = (sum & 0xffff) + (sum >> 16);
    sum = h->version == 4 ? sum_of(frame + h->l3 + 12, 8, sum) : sum_of(frame + h->l3 + 8, 32, sum);
    FUZZ_CHECK(sum_of(frame + h->l4, bytes, sum) == 0xffff);
}

static void check_ip(const uint8_t *frame, uint32_t len, const struct vio_net_headers *h)
{
    FUZZ_CHECK(h->version != 0 && h->end == len);
    if (h->version == 4)
        FUZZ_CHECK(sum_of(frame + h->l3, (frame[h->l3] & 15u) * 4, 0) == 0xffff);
}

static bool emitted(void *ctx, const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len)
{
    struct seen *s = ctx;
    struct vio_net_headers h;
    struct vio_net_hdr copy = *hdr;
    uint8_t *own = malloc(len);

    FUZZ_CHECK(own != NULL && len >= VIO_NET_FRAME_MIN && len <= VIO_NET_FRAME_MAX);
    FUZZ_CHECK(len <= s->len + VIO_IPV6_FRAGMENT_HEADER);
    FUZZ_CHECK(hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE && hdr->gso_size == 0 && hdr->hdr_len == 0);
    FUZZ_CHECK((vio_net_needs(hdr) & ~s->takes) == 0);
    memcpy(own, frame, len);
    vio_net_headers_find(own, len, &h);
    check_ip(own, len, &h);
    if (h.fragment) {
        FUZZ_CHECK(hdr->flags == 0 && s->whole->gso_type == VIRTIO_NET_HDR_GSO_UDP);
    } else {
        FUZZ_CHECK(h.l4 != 0 && len - h.l4 >= VIO_UDP_HEADER);
        FUZZ_CHECK(vio_net_finish_csum(&copy, own, len) && copy.flags == 0);
        if (!h.redirected)
            check_transport(own, len, &h);
    }
    free(own);
    return ++s->frames <= VIO_NET_CUTS_MAX;
}

static void cut(const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len, unsigned takes)
{
    struct seen seen = { .whole = hdr, .len = len, .takes = takes };
    uint8_t *room = malloc(len + VIO_NET_CUT_ROOM);
    int rc;

    FUZZ_CHECK(room != NULL);
    rc = vio_net_segment(hdr, frame, len, takes, room, emitted, &seen);
    FUZZ_CHECK(rc == 0 || rc == -EINVAL);
    FUZZ_CHECK((rc == 0) == (seen.frames > 0));
    FUZZ_CHECK(seen.frames <= VIO_NET_CUTS_MAX);
    free(room);
}

static void look(const uint8_t *frame, uint32_t len, uint32_t types)
{
    uint32_t bytes = len < NET_HEAD_BYTES ? len : NET_HEAD_BYTES;
    struct net_rss rss = { .types = types, .key = { 0x6d, 0x5a, 0x56, 0xda } };
    struct net_filter filter;
    uint8_t *head = malloc(bytes);
    uint16_t report;

    FUZZ_CHECK(head != NULL);
    memcpy(head, frame, bytes);
    if (net_hash(&rss, head, bytes, &report) != 0)
        FUZZ_CHECK(report != VIRTIO_NET_HASH_REPORT_NONE);
    FUZZ_CHECK(report <= VIRTIO_NET_HASH_REPORT_UDPv6);
    (void)net_flow(head, bytes);
    net_filter_reset(&filter, head, true, true);
    /* Sent to its own address, untagged: wanted. */
    FUZZ_CHECK((head[0] & 1) != 0 || vio_net_get16(head + 12) == VIO_ETH_VLAN || net_filter_wants(&filter, head, bytes));
    (void)net_filter_wants(&filter, head, bytes);
    free(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    struct vio_net_hdr hdr;
    unsigned takes;
    uint8_t *frame;
    uint32_t len;

    hdr.flags = input_u8(&in);
    hdr.gso_type = input_u8(&in);
    hdr.hdr_len = input_u16(&in);
    hdr.gso_size = input_u16(&in);
    hdr.csum_start = input_u16(&in);
    hdr.csum_offset = input_u16(&in);
    takes = input_u8(&in) & VIO_NET_OFFLOADS;
    if (in.left < VIO_NET_FRAME_MIN || in.left > VIO_NET_FRAME_MAX)
        return 0;
    len = (uint32_t)in.left;
    frame = malloc(len);
    FUZZ_CHECK(frame != NULL);
    memcpy(frame, in.at, len);
    cut(&hdr, frame, len, takes);
    look(frame, len, takes);
    FUZZ_CHECK(memcmp(frame, in.at, len) == 0);
    if (vio_net_finish_csum(&hdr, frame, len))
        FUZZ_CHECK((hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0);
    free(frame);
    return 0;
}
