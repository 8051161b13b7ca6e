/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the load of a block device: reads and writes at a depth, each queue from a thread of its own, with what was written
 * checked where that is asked for. Where it sits: cli/, over vio/drv_blk.h.
 * Threads: a queue and its part of the disk belong to one worker; `stop` alone is shared, and the counts that the progress
 * line shows. Trust: a status, a length, a block that was not what it should have been: counted as errors.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/drv_blk.h>

#include "cli/bench.h"
#include "cli/pattern.h"
#include "spec/blk.h"
#include "spec/virtio.h"

enum { BATCH = 16, COLLECT = 64, STAMP = 32, BLOCKS_MAX = 1 << 26 };

/* What stands at the beginning of each block that a verified run writes. */
struct stamp {
    uint64_t seed, block, generation, sum;
};
_Static_assert(sizeof(struct stamp) == STAMP, "and the rest of the block is made from it");

struct slot {
    uint64_t started, block;
    bool write;
};

struct run;

struct worker {
    struct bench_worker head;
    struct run *run;
    uint16_t queue;
    uint8_t *data;   /* depth blocks */
    uint64_t addr;
    struct slot *slot;
    uint32_t *idle;  /* slots that are free */
    uint32_t nr_idle;
    uint64_t blocks; /* of this worker's part of the disk */
    uint64_t next;   /* sequential */
    uint64_t random;
    uint32_t *generation; /* verify: of each block, 0: not written yet; the highest bit: in flight */
    struct histogram reads, writes;
    uint64_t errors, wrong;
    uint32_t first_error;
    bool silent, broken;
    unsigned collected; /* by the last call of `used` */
};

struct run {
    const struct bench_params *p;
    struct bench_device device;
    struct vio_drv_blk_driver driver;
    struct vio_drv_blk *disk;
    uint8_t *memory; /* all blocks of all queues */
    uint64_t addr;
    size_t memory_bytes;
    uint64_t capacity, span; /* bytes */
    struct worker *worker;
};

enum { IN_FLIGHT = 1u << 31 };

/* xorshift64*: fast, and good enough to choose blocks by. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* ------------------------------------------------------------------ what is written, and checked */

static void write_block(const struct worker *w, uint8_t *to, uint64_t block, uint32_t generation)
{
    uint32_t size = w->run->p->block;
    struct stamp stamp = { w->run->p->seed, block, generation, bench_mix(w->run->p->seed, block, generation) };

    memcpy(to, &stamp, sizeof(stamp));
    pattern_fill(to + STAMP, size - STAMP, stamp.sum);
}

static bool block_is(const struct worker *w, const uint8_t *from, uint64_t block, uint32_t generation)
{
    uint32_t size = w->run->p->block;
    struct stamp stamp;
    uint64_t sum = bench_mix(w->run->p->seed, block, generation);

    memcpy(&stamp, from, sizeof(stamp));
    return stamp.seed == w->run->p->seed && stamp.block == block && stamp.generation == generation && stamp.sum == sum &&
           pattern_is(from + STAMP, size - STAMP, sum);
}

/* ------------------------------------------------------------------ one worker */

/* A block of the whole disk from one of this worker's: they take turns. */
static uint64_t disk_block(const struct worker *w, uint64_t block)
{
    return block * w->run->p->queues + w->queue;
}

/* With verification no two requests are about one block at the same time: which came first could not be told. */
static uint64_t choose(struct worker *w)
{
    for (;;) {
        uint64_t block = w->run->p->sequential ? w->next++ % w->blocks : next_random(&w->random) % w->blocks;

        if (w->generation == NULL || !(w->generation[block] & IN_FLIGHT))
            return block;
    }
}

static void make(struct worker *w, uint32_t index, struct vio_drvblk_op *op, struct vio_buf *data)
{
    const struct bench_params *p = w->run->p;
    struct slot *slot = &w->slot[index];
    uint8_t *memory = w->data + (size_t)index * p->block;

    slot->block = choose(w);
    slot->write = p->reads < 100 && (p->reads == 0 || next_random(&w->random) % 100 >= p->reads);
    if (w->generation != NULL) {
        uint32_t *generation = &w->generation[slot->block];

        if (slot->write)
            write_block(w, memory, disk_block(w, slot->block), *generation = (*generation + 1) & ~(uint32_t)IN_FLIGHT);
        *generation |= IN_FLIGHT;
    }
    *data = (struct vio_buf){ .addr = w->addr + (uint64_t)index * p->block, .len = p->block };
    *op = (struct vio_drvblk_op){
        .type = slot->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
        .sector = disk_block(w, slot->block) * (p->block / VIRTIO_BLK_SECTOR),
        .nr_data = 1, .data = data, .token = index,
    };
}

/* false: the queue takes nothing more, though it should. */
static bool submit(struct worker *w)
{
    struct vio_drvblk_op op[BATCH];
    struct vio_buf data[BATCH];
    unsigned n = w->nr_idle < BATCH ? w->nr_idle : BATCH;
    uint64_t now;
    int put;

    if (n == 0)
        return true;
    for (unsigned i = 0; i < n; i++)
        make(w, w->idle[w->nr_idle - 1 - i], &op[i], &data[i]);
    now = bench_now();
    for (unsigned i = 0; i < n; i++)
        w->slot[op[i].token].started = now;
    put = vio_drv_blk_put(w->run->disk, w->queue, op, n);
    if (put <= 0)
        return false;
    w->nr_idle -= (unsigned)put;
    vio_drv_blk_publish(w->run->disk, w->queue);
    return (unsigned)put == n;
}

static void finish(struct worker *w, const struct vio_drvblk_result *result, uint64_t now, bool measured)
{
    struct slot *slot = &w->slot[result->token];
    const uint8_t *memory = w->data + (size_t)result->token * w->run->p->block;

    if (result->status != VIRTIO_BLK_S_OK) {
        if (w->errors++ == 0)
            w->first_error = result->status;
    }
    if (w->generation != NULL) {
        uint32_t generation = w->generation[slot->block] &= ~(uint32_t)IN_FLIGHT;

        if (!slot->write && generation != 0 && result->status == VIRTIO_BLK_S_OK &&
            !block_is(w, memory, disk_block(w, slot->block), generation))
            w->wrong++;
    }
    if (measured)
        histogram_add(slot->write ? &w->writes : &w->reads, now - slot->started);
    w->idle[w->nr_idle++] = (uint32_t)result->token;
}

static unsigned collect(struct worker *w)
{
    struct vio_drvblk_result result[COLLECT];
    unsigned n = vio_drv_blk_collect(w->run->disk, w->queue, result, COLLECT);
    uint64_t now = n > 0 ? bench_now() : 0;

    for (unsigned i = 0; i < n; i++)
        finish(w, &result[i], now, w->head.phase == BENCH_MEASURE);
    if (w->head.phase == BENCH_MEASURE)
        atomic_fetch_add_explicit(&w->head.done, n, memory_order_relaxed);
    return n;
}

/* From vio_drvdev_event(): all that there is. */
static void used(void *ctx, struct vio_drvdev *d, uint16_t queue)
{
    struct run *run = ctx;
    struct worker *w = &run->worker[queue];
    unsigned n;

    (void)d;
    while ((n = collect(w)) > 0)
        w->collected += n;
}

/* Sleeps until the device calls, a moment at most; how many came. */
static unsigned sleep_and_collect(struct worker *w)
{
    struct pollfd call = { .fd = vio_drvdev_event_fd(w->run->device.d, w->queue), .events = POLLIN };

    w->collected = 0;
    (void)poll(&call, 1, 100);
    while (vio_drvdev_event(w->run->device.d, w->queue))
        ;
    return w->collected;
}

/* Until told to stop and nothing is in flight, or the device says nothing for too long. */
static void work(struct bench_worker *head)
{
    struct worker *w = (struct worker *)head;
    const struct bench_params *p = w->run->p;
    uint64_t silence = (uint64_t)p->timeout_ms * 1000000, heard = bench_now();
    unsigned looks = 0;

    while (!w->broken) {
        enum bench_phase phase = bench_phase(head);

        if (phase != BENCH_STOP && !submit(w))
            w->broken = true;
        if (phase == BENCH_STOP && w->nr_idle == p->depth)
            return;
        if ((p->wait ? sleep_and_collect(w) : collect(w)) > 0) {
            looks = 0;
            continue;
        }
        if (vio_drv_blk_fault(w->run->disk, w->queue) != VIO_FAULT_NONE)
            w->broken = true;
        if (looks++ == 0)
            heard = bench_now();
        else if ((p->wait || looks % 4096 == 0) && bench_now() - heard > silence) {
            w->silent = true;
            return;
        }
    }
}

/* ------------------------------------------------------------------ making and ending a run */

static int make_worker(struct run *run, uint16_t queue)
{
    const struct bench_params *p = run->p;
    struct worker *w = &run->worker[queue];
    uint64_t at = (uint64_t)queue * p->depth * p->block;

    w->run = run;
    w->queue = queue;
    w->data = run->memory + at;
    w->addr = run->addr + at;
    w->random = bench_mix(p->seed, queue, 1) | 1;
    w->blocks = (run->span / p->block + p->queues - 1 - queue) / p->queues;
    histogram_reset(&w->reads);
    histogram_reset(&w->writes);
    w->slot = calloc(p->depth, sizeof(*w->slot));
    w->idle = calloc(p->depth, sizeof(*w->idle));
    if (p->verify)
        w->generation = calloc(w->blocks, sizeof(*w->generation));
    if (w->slot == NULL || w->idle == NULL || (p->verify && w->generation == NULL))
        return -ENOMEM;
    for (uint32_t i = 0; i < p->depth; i++)
        w->idle[w->nr_idle++] = i;
    return 0;
}

static int check_disk(const struct run *run, char *why)
{
    const struct bench_params *p = run->p;
    struct vio_drv_blk_info info = vio_drv_blk_info(run->disk);
    uint64_t blocks = run->span / p->block;

    if (p->block % VIRTIO_BLK_SECTOR != 0 || p->block == 0) {
        snprintf(why, BENCH_WHY, "a block of %u bytes is not whole 512-byte sectors", p->block);
        return -EINVAL;
    }
    if (blocks < (uint64_t)p->queues * p->depth) {
        snprintf(why, BENCH_WHY, "%s: %llu blocks of %u bytes are too few for %u queues at depth %u", p->target,
                 (unsigned long long)blocks, p->block, p->queues, p->depth);
        return -EINVAL;
    }
    if (p->verify && blocks > BLOCKS_MAX) {
        snprintf(why, BENCH_WHY, "%s: verifying keeps account of at most %d blocks: use --size", p->target, BLOCKS_MAX);
        return -EINVAL;
    }
    if (info.queues < p->queues) {
        snprintf(why, BENCH_WHY, "%s: %u queues: the device has %u", p->target, p->queues, info.queues);
        return -EINVAL;
    }
    if (p->reads < 100 && info.read_only) {
        snprintf(why, BENCH_WHY, "%s: the disk is read-only: only --reads=100 can be measured", p->target);
        return -EROFS;
    }
    return 0;
}

/* Tables and the requests' heads beside the rings and the blocks. */
static uint64_t memory_of(const struct run *run)
{
    const struct bench_params *p = run->p;

    return run->memory_bytes + (uint64_t)p->queues * ((uint64_t)p->queue_size * 128 + p->depth * 64u + (64 << 10));
}

static int drive(struct run *run, char *why)
{
    const struct bench_params *p = run->p;
    struct vio_drv_blk_params params = {
        .queues = p->queues, .queue_size = p->queue_size, .depth = p->depth, .no_bounce = true,
        .indirect_max = vio_features_has(p->ring, VIRTIO_F_INDIRECT_DESC) ? 4 : 0,
        .used = p->wait ? used : NULL, .ctx = run,
    };
    uint16_t queues = run->device.target.t->queues_max;

    if (queues != 0 && p->queues > queues) {
        snprintf(why, BENCH_WHY, "%s: %u queues: the device has %u", p->target, p->queues, queues);
        return -EINVAL;
    }
    vio_drv_blk_driver(&run->driver, &params);
    return bench_drive(&run->device, p, VIRTIO_ID_BLOCK, &run->driver.driver, why);
}

static int open_disk(struct run *run, char *why)
{
    const struct bench_params *p = run->p;
    const struct vio_platform *platform;
    int error;

    run->memory_bytes = (size_t)p->queues * p->depth * p->block;
    error = bench_connect(&run->device, p, VIRTIO_ID_BLOCK, memory_of(run), why);
    if (!error)
        error = drive(run, why);
    if (error)
        return error == -ENOMEM ? -EIO : error; /* it is said */
    run->disk = vio_drv_blk_of(run->device.d);
    run->capacity = vio_drv_blk_capacity(run->disk) * VIRTIO_BLK_SECTOR;
    run->span = p->size != 0 && p->size < run->capacity ? p->size : run->capacity;
    error = check_disk(run, why);
    if (!error)
        error = bench_check_calls(&run->device, p, 1, why);
    if (error)
        return error;
    platform = vio_arena_platform(run->device.target.arena);
    run->memory = platform->dma_alloc(platform->ctx, run->memory_bytes, 4096, &run->addr);
    return run->memory != NULL ? 0 : -ENOMEM;
}

static void close_run(struct run *run)
{
    for (uint16_t i = 0; run->worker != NULL && i < run->p->queues; i++) {
        free(run->worker[i].slot);
        free(run->worker[i].idle);
        free(run->worker[i].generation);
    }
    free(run->worker);
    bench_disconnect(&run->device);
    if (run->memory != NULL) {
        const struct vio_platform *platform = vio_arena_platform(run->device.target.arena);

        platform->dma_free(platform->ctx, run->memory, run->memory_bytes, run->addr);
    }
    target_free_memory(&run->device.target);
}

struct measured {
    uint64_t elapsed, cpu, peer_cpu;
    struct histogram reads, writes;
    uint64_t errors, wrong;
    uint32_t first_error;
};

static json_t *result_json(const struct run *run, const struct measured *m)
{
    const struct bench_params *p = run->p;
    uint64_t count = m->reads.count + m->writes.count;
    double seconds = (double)m->elapsed / 1e9, per = count > 0 ? 1.0 / (double)count : 0;

    return json_pack("{s:s, s:s, s:I, s:s, s:i, s:i, s:i, s:i, s:s, s:i, s:b, s:f, s:I, s:f, s:f, s:f, s:o, s:I, s:I, s:o, s:o}",
                     "target", p->target, "type", "blk", "capacity", (json_int_t)run->capacity, "ring",
                     vio_drvdev_has(run->device.d, VIRTIO_F_RING_PACKED) ? "packed" : "split", "queues", (int)p->queues,
                     "queue_size", (int)vio_drvdev_queue_size(run->device.d, 0), "depth", (int)p->depth, "block", (int)p->block,
                     "pattern", p->sequential ? "sequential" : "random", "reads_percent", (int)p->reads, "verified",
                     p->verify, "seconds", seconds, "requests", (json_int_t)count, "rate", (double)count / seconds,
                     "bytes_per_second", (double)count * p->block / seconds, "cpu_ns_per_request", (double)m->cpu * per,
                     "peer_cpu_ns_per_request", bench_peer_json(&run->device, m->peer_cpu, count), "errors", (json_int_t)m->errors, "wrong_blocks",
                     (json_int_t)m->wrong, "read_latency_ns", bench_latency_json(&m->reads), "write_latency_ns",
                     bench_latency_json(&m->writes));
}

/* The workers' numbers as one. -EIO: a device that stopped to answer, with the sentence. */
static int gather(const struct run *run, struct measured *m, char *why)
{
    histogram_reset(&m->reads);
    histogram_reset(&m->writes);
    for (uint16_t i = 0; i < run->p->queues; i++) {
        const struct worker *w = &run->worker[i];

        if (w->broken)
            snprintf(why, BENCH_WHY, "%s: queue %u broke: %s (%s)", run->p->target, i, vio_fault_text(vio_drv_blk_fault(run->disk, i)),
                     vio_fault_clause(vio_drv_blk_fault(run->disk, i)));
        else if (w->silent)
            snprintf(why, BENCH_WHY, "%s: queue %u: %u requests were not answered for %u ms", run->p->target, i,
                     vio_drv_blk_in_flight(run->disk, i), run->p->timeout_ms);
        if (w->broken || w->silent)
            return -EIO;
        histogram_merge(&m->reads, &w->reads);
        histogram_merge(&m->writes, &w->writes);
        m->errors += w->errors;
        m->wrong += w->wrong;
        m->cpu += w->head.cpu_ns;
        if (w->errors > 0)
            m->first_error = w->first_error;
    }
    if (m->errors > 0) {
        snprintf(why, BENCH_WHY, "%s: %llu requests failed, the first one with status %u (virtio 1.4, 5.2.6)",
                 run->p->target, (unsigned long long)m->errors, m->first_error);
        return -EIO;
    }
    return 0;
}

static int load(struct run *run, struct measured *m, char *why)
{
    const struct bench_params *p = run->p;
    struct bench_load load = { .p = p, .work = work, .unit = "requests", .warmup = p->warmup, .seconds = p->seconds,
                               .workers = p->queues, .socket = target_socket(&run->device.target) };
    int error = bench_load(&load, &run->worker->head, sizeof(*run->worker), why);

    if (error)
        return error;
    m->elapsed = load.elapsed;
    m->peer_cpu = load.peer_cpu;
    return gather(run, m, why);
}

json_t *bench_blk(const struct bench_params *params, char *why)
{
    struct run run = { .p = params };
    struct measured *m = calloc(1, sizeof(*m));
    json_t *result = NULL;
    int error = m != NULL ? open_disk(&run, why) : -ENOMEM;

    if (!error) {
        run.worker = calloc(params->queues, sizeof(*run.worker));
        error = run.worker != NULL ? 0 : -ENOMEM;
    }
    for (uint16_t i = 0; !error && i < params->queues; i++)
        error = make_worker(&run, i);
    if (error == -ENOMEM)
        snprintf(why, BENCH_WHY, "%s: no memory for %u queues at depth %u", params->target, params->queues, params->depth);
    if (!error && load(&run, m, why) == 0)
        result = result_json(&run, m);
    close_run(&run);
    free(m);
    return result;
}
