/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/histogram.h. */
#include "cli/histogram.h"

#include <string.h>

enum { STEP_BITS = 5 };
_Static_assert(1 << STEP_BITS == HISTOGRAM_STEPS, "one is the logarithm of the other");

void histogram_reset(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
    h->min = UINT64_MAX;
}

/* Below STEPS each number has its own bucket; above, the STEP_BITS bits behind the highest one choose. */
static unsigned bucket_of(uint64_t ns)
{
    unsigned power, bucket;

    if (ns < HISTOGRAM_STEPS)
        return (unsigned)ns;
    power = 63u - (unsigned)__builtin_clzll(ns) - STEP_BITS;
    bucket = (power + 1) * HISTOGRAM_STEPS + (unsigned)(ns >> power & (HISTOGRAM_STEPS - 1));
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_upper(unsigned bucket)
{
    unsigned power = bucket / HISTOGRAM_STEPS, step = bucket % HISTOGRAM_STEPS;

    if (power == 0)
        return step;
    return ((uint64_t)(HISTOGRAM_STEPS + step + 1) << (power - 1)) - 1;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->count++;
    h->sum += ns;
    if (ns < h->min)
        h->min = ns;
    if (ns > h->max)
        h->max = ns;
    h->bucket[bucket_of(ns)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    into->sum += from->sum;
    if (from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}

uint64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t seen = 0, wanted = (uint64_t)((double)h->count * share);

    if (h->count == 0)
        return 0;
    if ((double)wanted < (double)h->count * share || wanted == 0)
        wanted++; /* a part of a time is that time */
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= wanted)
            return histogram_upper(i) < h->max ? histogram_upper(i) : h->max;
    }
    return h->max;
}
