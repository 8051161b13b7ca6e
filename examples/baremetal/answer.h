/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what a host with one address answers by itself: ARP and ping over IPv4, neighbour solicitation and ping over IPv6.
 * Frames in, frames out; no state. Where it sits: by itself; also built into a fuzz target. Threads: any.
 * Trust: frames are hostile: what is short, has a wrong checksum, is a fragment or is not for us is not answered.
 */
#ifndef VIO_BAREMETAL_ANSWER_H
#define VIO_BAREMETAL_ANSWER_H

#include <vio/types.h>

enum { ANSWER_FRAME_MOST = 1514 }; /* bytes; longer ones are not answered */

struct answer_host {
    uint8_t mac[6];
    uint8_t ip[4];
    uint8_t ip6[16];
};

/* The link-local address that belongs to a MAC address (RFC 4291, appendix A). */
void answer_link_local(uint8_t ip6[16], const uint8_t mac[6]);

enum answer_kind {
    ANSWER_NONE,
    ANSWER_ARP,
    ANSWER_PING,
    ANSWER_NEIGHBOUR,
    ANSWER_PING6,
    ANSWER_STOP, /* nothing is sent: a datagram "stop" came to our IPv4 address, port 9 */
    ANSWER_KINDS,
};

/* out: what goes back, *out_len bytes of it, for all kinds but NONE and STOP. in and out do not overlap. */
enum answer_kind answer(const struct answer_host *me, const uint8_t *in, uint32_t len, uint8_t out[ANSWER_FRAME_MOST],
                        uint32_t *out_len) VIO_MUST_CHECK;

#endif
