/* SPDX-License-Identifier: MIT */
/* Purpose: Ethernet frames for tests, made and checked byte by byte, with nothing of the library's. */
#ifndef VIO_TEST_NET_FRAME_H
#define VIO_TEST_NET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_ROOM = 70000,
    /* IPv6 extension headers, in this order */
    EXT_HOP = 1,
    EXT_DEST_FIRST = 2,
    EXT_ROUTING = 4, /* with another final destination, which checksums are made with */
    EXT_DEST = 8,
    EXT_FRAGMENT = 16, /* around a whole packet */
    EXT_ALL = 15,
    TCP = 6,
    UDP = 17,
};

struct frame {
    /* what it is made of: filled in by the caller */
    unsigned tags;     /* VLAN tags, of which the outer of two is 802.1ad's */
    uint16_t vid[2];
    bool v6;
    unsigned options;  /* IPv4: words of them */
    unsigned ext;      /* IPv6 */
    uint8_t proto;
    unsigned tcp_options; /* words */
    uint8_t tcp_flags;
    uint16_t id;
    uint32_t seq;
    uint32_t payload;
    uint64_t seed;

    /* what came of it */
    uint32_t l3, l4, data, len;
    uint32_t unfragmentable; /* end of the headers that are in each fragment */
    uint8_t pseudo[32];      /* the two addresses that the checksum is made with */
    unsigned pseudo_bytes;
    uint8_t bytes[FRAME_ROOM];
};

/* Addresses and payload are random; the transport's checksum holds the sum of the pseudo-header. */
void frame_make(struct frame *f);

/* RFC 1071 in bytes: the sum, folded, not inverted. */
uint16_t frame_sum(const uint8_t *bytes, size_t n, uint32_t sum);
/* The sum over the pseudo-header for n bytes of transport. */
uint16_t frame_pseudo(const struct frame *f, uint32_t n);

uint16_t frame_get16(const uint8_t *at);
uint32_t frame_get32(const uint8_t *at);
void frame_put16(uint8_t *at, unsigned value);
void frame_put32(uint8_t *at, uint32_t value);

/* Where the transport's checksum is, from l4. */
unsigned frame_check_at(const struct frame *f);

#endif
