/* SPDX-License-Identifier: MIT */
/*
 * Purpose: bytes that follow from one number: what loads write and send, and check where it comes back. Where it sits: cli/; a
 * header, for it stands in hot loops. Threads: none.
 */
#ifndef VIO_CLI_PATTERN_H
#define VIO_CLI_PATTERN_H

#include <string.h>
#include <vio/types.h>

static inline uint64_t pattern_next(uint64_t word)
{
    return word * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
}

static inline void pattern_fill(uint8_t *to, size_t n, uint64_t word)
{
    size_t at = 0;

    for (; at + 8 <= n; at += 8, word = pattern_next(word))
        memcpy(to + at, &word, 8);
    memcpy(to + at, &word, n - at);
}

static inline bool pattern_is(const uint8_t *from, size_t n, uint64_t word)
{
    size_t at = 0;

    for (; at + 8 <= n; at += 8, word = pattern_next(word))
        if (memcmp(from + at, &word, 8) != 0)
            return false;
    return memcmp(from + at, &word, n - at) == 0;
}

#endif
