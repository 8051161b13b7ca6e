/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the simulation: what the model does, in virtual time, with trouble: the device crashes and recovers from
 * its record, stops and resumes, the queue is reset, memory moves, the whole moves to another memory by the
 * dirty log, notifications come late and out of turn, or for nothing. One seed is one run, always the same.
 * VIO_SIM_SEED runs that one; VIO_SIM_RUNS so many (2500; a fifth under the thread sanitizer), from VIO_SIM_FIRST
 * (1) on.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/world.h"

#if defined(__SANITIZE_THREAD__)
enum { RUNS = 500 };
#else
enum { RUNS = 2500 };
#endif

static uint16_t any_size(struct rng *rng, bool packed)
{
    uint32_t most = rng_below(rng, 10) == 0 ? 300 : 16;

    if (packed)
        return (uint16_t)rng_range(rng, 1, most);
    return (uint16_t)(1u << rng_below(rng, most > 16 ? 10 : 5));
}

static struct world_cfg cfg_of(uint64_t seed)
{
    struct rng rng = rng_of(seed ^ UINT64_C(0x5eed));
    struct world_cfg c = {
        .packed = rng_below(&rng, 2) != 0,
        .indirect = rng_below(&rng, 2) != 0,
        .event_idx = rng_below(&rng, 2) != 0,
        .in_order = rng_below(&rng, 3) == 0,
        .inflight = rng_below(&rng, 2) != 0,
        .tiny = rng_below(&rng, 3) == 0,
        .express = seed % 3 != 0,
        .in_turn = seed % 5 < 2,
        .table_max = (uint16_t)rng_range(&rng, 2, 20),
        .piece = 700,
        .payload = 96 << 10,
        .buffers = rng_range(&rng, 50, 400),
        .delay = rng_below(&rng, 2) != 0 ? 300 : 0,
        .spurious = rng_below(&rng, 2) != 0 ? 20 : 0,
        .restart = rng_below(&rng, 3) == 0 ? 8 : 0,
        .reset = rng_below(&rng, 4) == 0 ? 5 : 0,
        .remap = rng_below(&rng, 4) == 0 ? 10 : 0,
        .migrate = rng_below(&rng, 4) == 0 ? 4 : 0,
        .seed = seed,
    };

    c.size = any_size(&rng, c.packed);
    c.pieces = (uint16_t)rng_range(&rng, 1, c.indirect ? 24 : c.size < 12 ? c.size : 12);
    c.start = (uint16_t)(c.packed ? rng_below(&rng, c.size) : 65536 - rng_below(&rng, 100));
    if (c.inflight)
        c.crash = 15;
    return c;
}

int main(void)
{
    const char *one = getenv("VIO_SIM_SEED"), *runs = getenv("VIO_SIM_RUNS"), *from = getenv("VIO_SIM_FIRST");
    uint64_t first = one != NULL ? strtoull(one, NULL, 0) : from != NULL ? strtoull(from, NULL, 0) : 1;
    uint64_t count = one != NULL ? 1 : runs != NULL ? strtoull(runs, NULL, 0) : RUNS;
    struct world_result sum = { 0 };

    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_cfg c = cfg_of(seed);
        struct world_result r;

        world_run(&c, &r);
        sum.steps += r.steps;
        sum.crashes += r.crashes;
        sum.restarts += r.restarts;
        sum.resets += r.resets;
        sum.migrations += r.migrations;
        sum.remaps += r.remaps;
        sum.pages += r.pages;
    }
    printf("ok - seeds %llu to %llu: %llu steps, %llu crashes, %llu restarts, %llu resets, %llu migrations of %llu pages, "
           "%llu memory changes\n",
           (unsigned long long)first, (unsigned long long)(first + count - 1), (unsigned long long)sum.steps,
           (unsigned long long)sum.crashes, (unsigned long long)sum.restarts, (unsigned long long)sum.resets,
           (unsigned long long)sum.migrations, (unsigned long long)sum.pages, (unsigned long long)sum.remaps);
    return 0;
}
