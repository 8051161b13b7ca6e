/* SPDX-License-Identifier: MIT */
/* Purpose: see load.h. Where it sits: bench/. */
#include "load.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common.h"
#include "spec/blk.h"

struct load {
    const struct load_params *p;
    struct load_result *r;
    struct vio_drvblk *client;
    struct vio_drvblk_op *ops; /* by token; only the sector changes */
    struct vio_buf *buffers;
    uint64_t *started;
    struct bench_latency *latency;
    uint64_t random;
    uint64_t blocks;
    uint64_t next; /* block, while filling */
    bool filling;
    uint32_t block_sectors;
};

static void *allocate(size_t n, size_t size)
{
    void *at = aligned_alloc(64, (n * size + 63) & ~(size_t)63);

    if (at == NULL)
        bench_die("no memory");
    memset(at, 0, n * size);
    return at;
}

static uint64_t slots_bytes(uint32_t depth)
{
    return ((uint64_t)depth * VIO_DRVBLK_SLOT + 4095) & ~UINT64_C(4095);
}

uint64_t load_memory(uint32_t depth, uint32_t block)
{
    return slots_bytes(depth) + (uint64_t)depth * block;
}

static void prepare(struct load *l, const struct load_params *p)
{
    struct vio_drvblk_params params = {
        .queue = p->queue, .slots = p->memory, .slots_addr = p->memory_addr, .depth = p->depth,
    };
    uint64_t data = p->memory_addr + slots_bytes(p->depth);

    if (p->batch == 0 || p->batch > VIO_QUEUE_BATCH)
        bench_die("a batch of %u: 1 to %d", p->batch, VIO_QUEUE_BATCH);
    l->p = p;
    l->random = UINT64_C(0x9e3779b97f4a7c15);
    l->block_sectors = p->block / VIRTIO_BLK_SECTOR;
    l->blocks = p->size / p->block;
    if (l->blocks == 0 || l->blocks >> 32 != 0)
        bench_die("a disk of %" PRIu64 " bytes has no usable number of blocks of %u", p->size, p->block);
    if (vio_drvblk_init(allocate(1, vio_drvblk_bytes(p->depth)), &params, &l->client) != 0)
        bench_die("depth %u cannot be", p->depth);
    l->ops = allocate(p->depth, sizeof(*l->ops));
    l->buffers = allocate(p->depth, sizeof(*l->buffers));
    l->started = allocate(p->depth, sizeof(*l->started));
    l->latency = allocate(1, sizeof(*l->latency));
    for (uint32_t i = 0; i < p->depth; i++) {
        l->buffers[i] = (struct vio_buf){ data + (uint64_t)i * p->block, p->block };
        l->ops[i] = (struct vio_drvblk_op){
            .type = p->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
            .nr_data = 1, .data = &l->buffers[i], .token = i,
        };
    }
}

static void submit(struct load *l, const uint64_t *tokens, unsigned n)
{
    struct vio_drvblk_op ops[VIO_QUEUE_BATCH];
    uint64_t now = l->p->latency ? bench_now_ns() : 0;

    for (unsigned i = 0; i < n; i++) {
        ops[i] = l->ops[tokens[i]];
        ops[i].sector = (l->filling ? l->next++ : bench_random(&l->random, l->blocks)) * l->block_sectors;
        if (l->p->latency)
            l->started[tokens[i]] = now;
    }
    if (vio_drvblk_put(l->client, ops, n) != n)
        bench_die("the queue does not take %u requests (fault %d)", n, (int)vio_drvq_fault(l->p->queue));
    if (vio_drvblk_publish(l->client) && l->p->kick != NULL) {
        l->p->kick(l->p->ctx);
        l->r->kicks++;
    }
}

static void count_latencies(struct load *l, const uint64_t *tokens, unsigned n)
{
    uint64_t now = bench_now_ns();

    for (unsigned i = 0; i < n; i++)
        bench_latency_add(l->latency, now - l->started[tokens[i]]);
}

/* The tokens of finished requests; waits for at least one. */
static unsigned collect(struct load *l, uint64_t *tokens)
{
    struct vio_drvblk_result results[VIO_QUEUE_BATCH];
    uint64_t waited = 0, limit = 0;

    for (;;) {
        unsigned n = vio_drvblk_collect(l->client, results, l->p->batch);

        for (unsigned i = 0; i < n; i++) {
            tokens[i] = results[i].token;
            if (results[i].status != VIRTIO_BLK_S_OK)
                bench_die("a request failed with status %u", results[i].status);
        }
        if (n > 0) {
            if (l->p->latency)
                count_latencies(l, tokens, n);
            l->r->requests += n;
            l->r->batches++;
            return n;
        }
        if (l->p->step != NULL) {
            uint64_t start = bench_now_ns();

            l->p->step(l->p->ctx);
            l->r->step_ns += bench_now_ns() - start;
        }
        if (l->p->wait != NULL && !vio_drvq_arm_call(l->p->queue)) {
            l->p->wait(l->p->ctx);
            vio_drvq_disarm_call(l->p->queue);
        }
        if (++waited % 4096 == 0) {
            uint64_t now = bench_now_ns();

            if (limit == 0)
                limit = now + UINT64_C(5000000000);
            if (now > limit)
                bench_die("no request came back for 5 s (%u in flight, queue fault %d)",
                          vio_drvblk_in_flight(l->client), (int)vio_drvq_fault(l->p->queue));
        }
    }
}

static void forget(struct load *l)
{
    free(l->ops);
    free(l->buffers);
    free(l->started);
    free(l->latency);
    free(l->client);
}

void load_fill(const struct load_params *params)
{
    struct load_params writing = *params;
    struct load_result result = { 0 };
    struct load l = { .r = &result, .filling = true };
    uint64_t tokens[VIO_QUEUE_BATCH];
    uint32_t given = 0;

    writing.write = true;
    prepare(&l, &writing);
    while (given < writing.depth && l.next < l.blocks) {
        uint64_t token = given++;

        submit(&l, &token, 1);
    }
    while (vio_drvblk_in_flight(l.client) > 0) {
        uint64_t left = l.blocks - l.next;
        unsigned n = collect(&l, tokens);

        if (left > 0)
            submit(&l, tokens, left < n ? (unsigned)left : n);
    }
    forget(&l);
}

void load_run(const struct load_params *params, struct load_result *result)
{
    struct load l = { .r = result };
    uint64_t tokens[VIO_QUEUE_BATCH], start, next = 0, limit;
    uint32_t given = 0;

    *result = (struct load_result){ 0 };
    prepare(&l, params);
    start = bench_now_ns();
    limit = start + (uint64_t)(params->seconds * 1e9);
    while (given < params->depth) {
        unsigned n = 0;

        while (n < params->batch && given < params->depth)
            tokens[n++] = given++;
        submit(&l, tokens, n);
    }
    for (;;) {
        unsigned n = collect(&l, tokens);

        if (result->requests >= next) {
            if (bench_now_ns() >= limit)
                break;
            next = result->requests + 512;
        }
        submit(&l, tokens, n);
    }
    result->ns = bench_now_ns() - start;
    start = result->requests;
    while (vio_drvblk_in_flight(l.client) > 0)
        collect(&l, tokens);
    result->requests = start;
    if (params->latency) {
        result->p50_ns = bench_latency_part(l.latency, 0.5);
        result->p99_ns = bench_latency_part(l.latency, 0.99);
        result->p999_ns = bench_latency_part(l.latency, 0.999);
    }
    forget(&l);
}

void load_print(const struct load_params *params, const struct load_result *r)
{
    double requests = (double)r->requests;

    printf("\"op\": \"%s\", \"depth\": %u, \"block\": %u, \"requests\": %" PRIu64 ", \"seconds\": %.4f, "
           "\"mps\": %.5f, \"ns_per_request\": %.2f, \"per_batch\": %.2f, \"kicks\": %" PRIu64,
           params->write ? "write" : "read", params->depth, params->block, r->requests, (double)r->ns / 1e9,
           requests * 1e3 / (double)r->ns, (double)r->ns / requests, requests / (double)r->batches, r->kicks);
    if (params->latency)
        printf(", \"p50_ns\": %u, \"p99_ns\": %u, \"p999_ns\": %u", r->p50_ns, r->p99_ns, r->p999_ns);
}
