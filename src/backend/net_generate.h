/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the frames that net_generate.c makes, for whoever wants to see loss, order or damage.
 * Where it sits: backend/net; tests and benchmarks read it too. Threads: no state.
 */
#ifndef VIO_BACKEND_NET_GENERATE_H
#define VIO_BACKEND_NET_GENERATE_H

#include <string.h>
#include <vio/types.h>

enum {
    GENERATE_UDP = 34,    /* Ethernet and IPv4 are before it */
    GENERATE_SUM = 40,    /* the UDP checksum */
    GENERATE_NUMBER = 42, /* vio_be64, from 0 */
    GENERATE_CHECK = 50,  /* vio_be32: net_generate_check() of the number */
    GENERATE_FILL = 54,   /* byte i of the frame is (uint8_t)i */
    GENERATE_MIN = 60,    /* the smallest frame of Ethernet */
    GENERATE_MAX = 65535,
};

/* Every bit of the number counts; one multiplication, so that it costs no more than a store. */
static inline uint32_t net_generate_check(uint64_t number)
{
    return (uint32_t)((number ^ 0x76696f2d6e657421u) * 0x9e3779b97f4a7c15u >> 32);
}

/* False: not such a frame, or its number is damaged. */
static inline bool net_generate_number(const void *frame, size_t len, uint64_t *number)
{
    vio_be64 n;
    vio_be32 check;

    if (len < GENERATE_FILL)
        return false;
    memcpy(&n, (const uint8_t *)frame + GENERATE_NUMBER, sizeof n);
    memcpy(&check, (const uint8_t *)frame + GENERATE_CHECK, sizeof check);
    *number = vio_cpu(n);
    return vio_cpu(check) == net_generate_check(*number);
}

#endif
