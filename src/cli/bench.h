/* SPDX-License-Identifier: MIT */
/*
 * Purpose: `vio bench TARGET`: loads a device as its driver and says how fast it was, as one JSON object a run.
 * Where it sits: cli/, over the driver side. Threads: one for each queue that is loaded, made and ended by a run; the caller's
 * waits for them and says how far they are. Trust: what the device answers is checked, counted, and never acted on.
 */
#ifndef VIO_CLI_BENCH_H
#define VIO_CLI_BENCH_H

#include <jansson.h>
#include <vio/features.h>

#include "cli/config_fields.h"
#include "cli/histogram.h"

enum { BENCH_WHY = 512 };

struct bench_params {
    const char *target;
    const struct config_type *type;
    unsigned timeout_ms;      /* how long the device may be silent */
    double seconds, warmup;
    uint16_t queues, queue_size;
    struct vio_features ring; /* ring bits that are asked for where they are offered: PACKED, IN_ORDER... */
    bool wait;                /* sleeps until called, instead of looking all the time */
    bool small_pages;
    bool progress;            /* a line on standard error, each second */

    /* block */
    uint32_t depth, block;
    unsigned reads;           /* percent; the rest are writes */
    bool sequential, verify;
    uint64_t span;            /* only the first bytes of the disk; 0: all */
    uint64_t seed;
};

/* A run. NULL: the sentence is in why. */
json_t *bench_blk(const struct bench_params *params, char *why);

/* A latency summary in nanoseconds: {count, mean, min, p50, p90, p99, p99.9, max, histogram: [[upper, count]...]}. */
json_t *bench_latency_json(const struct histogram *h);
/* CPU time that the process at the other end of a socket has used, in ns; 0: not to be seen. */
uint64_t bench_peer_cpu(int socket);
uint64_t bench_now(void); /* ns */

#endif
