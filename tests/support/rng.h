/* SPDX-License-Identifier: MIT */
/* Purpose: random numbers that a seed repeats exactly (xorshift64*), for tests. */
#ifndef VIO_TEST_RNG_H
#define VIO_TEST_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline struct rng rng_of(uint64_t seed)
{
    /* splitmix: neighbouring seeds give unlike runs, and the state is never 0 */
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (struct rng){ (z ^ (z >> 31)) | 1 };
}

static inline uint64_t rng_u64(struct rng *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * UINT64_C(0x2545f4914f6cdd1d);
}

/* 0 .. n - 1 */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)((rng_u64(r) >> 32) * n >> 32);
}

/* lo .. hi, both included */
static inline uint32_t rng_range(struct rng *r, uint32_t lo, uint32_t hi)
{
    return lo + rng_below(r, hi - lo + 1);
}

static inline bool rng_permille(struct rng *r, uint32_t p)
{
    return rng_below(r, 1000) < p;
}

#endif
