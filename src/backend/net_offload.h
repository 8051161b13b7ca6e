/* SPDX-License-Identifier: MIT */
/*
 * Purpose: offloads in software, for a taker that does not do them: checksums finished, packets cut into segments
 * (TCP over IPv4 and IPv6, UDP into datagrams, UDP into IP fragments). Pure functions on private bytes.
 * Where it sits: backend/, used by devices too. Threads: no state.
 * Trust: the frame is a guest's and was checked only as vio_net_hdr promises; everything in it is judged here on the
 * copy that is worked on.
 */
#ifndef VIO_BACKEND_NET_OFFLOAD_H
#define VIO_BACKEND_NET_OFFLOAD_H

#include <vio/net.h>

/* Whether there is such a gso_type; ECN is something of TCP's. */
bool vio_net_gso_known(uint8_t type);

/* What a packet with this header needs of its taker: a set of enum vio_net_offload. */
unsigned vio_net_needs(const struct vio_net_hdr *hdr);

/* The checksum of RFC 1071 over len bytes, continued from sum (0 at first; after an even number of bytes), not folded. */
uint64_t vio_net_sum(const void *bytes, size_t len, uint64_t sum);
uint16_t vio_net_fold(uint64_t sum); /* folded and inverted: what goes into a header, in network order in memory */

/*
 * Finishes the checksum at hdr->csum_start + csum_offset over [csum_start, len) in place; the header then needs nothing
 * (NEEDS_CSUM is cleared). A UDP checksum that comes out as 0 is written as 0xffff where the frame is UDP. False: the offsets are outside.
 */
bool vio_net_finish_csum(struct vio_net_hdr *hdr, void *frame, uint32_t len);

/* What one frame may cost: an MSS of 28, the least that IPv4 knows, still fits; headers are copied for each segment. */
enum { VIO_NET_CUTS_MAX = 4096, VIO_NET_CUT_HEADERS_MAX = 512, VIO_NET_CUT_ROOM = 256 };

/*
 * Cuts a GSO frame (all of it in `frame`, private bytes) into frames that need no more than `takes` says, each handed to
 * emit with its own header, in order. emit returns false to stop (then 0 is returned). -EINVAL: the frame is not what its
 * gso_type says, or cannot be cut (headers past its end, IP length wrong, no payload, IPv4 with DF for UFO...); nothing
 * was emitted then. room: at least len + VIO_NET_CUT_ROOM bytes; each segment is made there, over the one before it.
 * With takes & VIO_NET_CSUM checksums are left to the taker, but for fragments (UFO): theirs spans all of them.
 */
int vio_net_segment(const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len, unsigned takes, uint8_t *room,
                    bool (*emit)(void *ctx, const struct vio_net_hdr *hdr, const uint8_t *frame, uint32_t len), void *ctx)
    VIO_MUST_CHECK;

#endif
