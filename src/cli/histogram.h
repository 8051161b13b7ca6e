/* SPDX-License-Identifier: MIT */
/*
 * Purpose: times in nanoseconds, counted in buckets of equal relative width (at most 1/32 apart), so that percentiles cost no
 * memory and no sorting. Where it sits: cli/. Threads: one at a time; merge afterwards.
 */
#ifndef VIO_CLI_HISTOGRAM_H
#define VIO_CLI_HISTOGRAM_H

#include <vio/types.h>

enum {
    HISTOGRAM_STEPS = 32, /* buckets of each power of two */
    HISTOGRAM_POWERS = 40, /* to 2^44 ns: five hours */
    HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * (HISTOGRAM_POWERS + 1),
};

struct histogram {
    uint64_t count, sum, min, max;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t ns);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The time that `share` (0 to 1) of all stay under or at: the upper end of its bucket, at most the longest; 0: none were counted. */
uint64_t histogram_at(const struct histogram *h, double share);
/* The upper end of a bucket. */
uint64_t histogram_upper(unsigned bucket);

#endif
