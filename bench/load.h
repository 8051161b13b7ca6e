/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the load itself: one polled queue kept full of random reads or writes of one size.
 * Where it sits: bench/, over driver/blk. Threads: the caller's. The same loop drives a device behind a socket and one in
 * this process, so that their figures can be compared.
 */
#ifndef VIO_BENCH_LOAD_H
#define VIO_BENCH_LOAD_H

#include "driver/blk.h"

struct load_params {
    struct vio_drvq *queue;
    void *memory;         /* load_memory() bytes shared with the device, page-aligned... */
    uint64_t memory_addr; /* ...and where it sees them */
    uint32_t depth;
    unsigned batch;       /* results taken, and requests published, at once at most; to VIO_QUEUE_BATCH */
    uint32_t block;       /* bytes a request, whole sectors */
    uint64_t size;        /* bytes of the disk that are used */
    bool write;
    bool latency;         /* time each request: costs some ns */
    double seconds;
    void (*kick)(void *ctx); /* what a publish asks for; may be NULL */
    /* A device in this thread: called when nothing is done; its time is not counted as the client's. May be NULL. */
    void (*step)(void *ctx);
    /* Sleeps until a used buffer notification, which has been asked for. NULL: poll. */
    void (*wait)(void *ctx);
    void *ctx;
};

struct load_result {
    uint64_t requests, batches, kicks;
    uint64_t ns;      /* from the first request to the last result */
    uint64_t step_ns; /* of these in step */
    uint32_t p50_ns, p99_ns, p999_ns;
};

uint64_t load_memory(uint32_t depth, uint32_t block);
/*
 * Writes each block once, in order: a disk that was never written to may have no memory or no blocks behind it, and
 * reading that is another, cheaper work.
 */
void load_fill(const struct load_params *params);
/* A request that fails or does not come back within 5 s ends the program. */
void load_run(const struct load_params *params, struct load_result *result);
/* One line of JSON, without the braces. */
void load_print(const struct load_params *params, const struct load_result *result);

#endif
