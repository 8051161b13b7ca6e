/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the model: our driver against our device in every variant of the ring: format, indirect, event index, in
 * order, sizes at and off the powers of two, chains of any length, memory in one region or in hundreds.
 * VIO_MODEL_SEED picks other runs.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/world.h"

/* One thread only: under the thread sanitizer, which is slow, a part of it has to do. */
#if defined(__SANITIZE_THREAD__)
enum { SHARE = 5 };
#else
enum { SHARE = 1 };
#endif

static const uint16_t split_sizes[] = { 1, 2, 4, 8, 16, 64, 256, 1024, 4096, 32768 };
static const uint16_t packed_sizes[] = { 1, 2, 3, 5, 7, 16, 100, 255, 256, 1000, 4096, 32767, 32768 };

static struct world_cfg cfg_of(uint16_t size, bool packed, unsigned variant, uint64_t seed)
{
    struct world_cfg c = {
        .size = size,
        .packed = packed,
        .indirect = (variant & 1) != 0,
        .event_idx = (variant & 2) != 0,
        .in_order = (variant & 4) != 0,
        .tiny = (variant & 8) != 0,
        .express = variant % 3 != 1,
        .in_turn = (variant + size) % 2 == 0,
        .seed = seed,
        .payload = size >= 4096 ? 4 << 20 : 1 << 20,
        .piece = size >= 4096 ? 100 : size > 64 ? 5000 : 65536,
        .pieces = size < 40 ? size : 40,
        .table_max = size >= 4096 ? 4 : 24,
        .buffers = (size >= 4096 ? size + size / 4 : 300u + 4u * size) / SHARE,
        /* Short of the wrap of a 16-bit index, or anywhere in the packed ring. */
        .start = packed ? (uint16_t)(seed % size) : (uint16_t)(65536u - seed % 200),
    };

    if (c.indirect && size < 40)
        c.pieces = 24;
    if (variant % 3 == 0)
        c.start = 0;
    return c;
}

static void run(uint16_t size, bool packed, unsigned variant, uint64_t base)
{
    struct world_cfg c = cfg_of(size, packed, variant, base + size * 64u + variant * 2 + packed);
    struct world_result r;

    world_run(&c, &r);
    printf("ok - %s size %u%s%s%s%s%s%s: %llu steps, %llu kicks, %llu calls for %u buffers\n", packed ? "packed" : "split",
           size, c.indirect ? " indirect" : "", c.event_idx ? " event-idx" : "", c.in_order ? " in-order" : "",
           c.tiny ? " tiny regions" : "", c.in_turn ? " in-turn" : "", c.express ? " express" : "", (unsigned long long)r.steps, (unsigned long long)r.kicks,
           (unsigned long long)r.calls, c.buffers);
}

int main(void)
{
    const char *env = getenv("VIO_MODEL_SEED");
    uint64_t base = env != NULL ? strtoull(env, NULL, 0) : 0;

    for (unsigned i = 0; i < sizeof(split_sizes) / sizeof(split_sizes[0]); i++) {
        for (unsigned variant = 0; variant < 16; variant++) {
            if (split_sizes[i] < 4096 || variant % 5 == 0)
                run(split_sizes[i], false, variant, base);
        }
    }
    for (unsigned i = 0; i < sizeof(packed_sizes) / sizeof(packed_sizes[0]); i++) {
        for (unsigned variant = 0; variant < 16; variant++) {
            if (packed_sizes[i] < 4096 || variant % 5 == 0)
                run(packed_sizes[i], true, variant, base);
        }
    }
    return 0;
}
