/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the peer of the block driver's figures: loads a block device behind a vhost-user socket with libblkio's own driver
 * (virtio-blk-vhost-user), as vio-bench-blk does with vio's, and prints the same line of JSON.
 * Where it sits: bench/; it knows libblkio and nothing of vio. Threads: one, pinned; it never sleeps.
 */
#include <signal.h>
#include <time.h>
#include <blkio.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common.h"

static const char usage[] =
    "usage: vio-bench-blkio --socket=PATH [OPTIONS]      prints one line of JSON\n"
    "  --op=read|write      random reads (default) or writes\n"
    "  --depth=N            requests in flight (32)\n"
    "  --batch=N            taken and submitted at once at most (16)\n"
    "  --block=BYTES        bytes a request (4096)\n"
    "  --seconds=S          how long to measure (1), after --warmup=S (0.2)\n"
    "  --queue-size=N       entries of the queue (512)\n"
    "  --plain-queue        a queue with a completion descriptor, switched off, asked again and again, in place of one that\n"
    "                       libblkio polls itself\n"
    "  --latency            percentiles (costs some ns a request)\n"
    "  --fill               writes each block once before\n"
    "  --cpu=N --peer-cpu=N pins us; measures the distance to the device's CPU before and after\n";

enum { DEPTH_MAX = 1024 };

struct options {
    const char *socket;
    bool write, latency, fill, plain_queue;
    uint32_t depth, batch, block;
    int queue_size, cpu, peer_cpu;
    double seconds, warmup;
};

struct load {
    const struct options *o;
    struct blkio *b;
    struct blkioq *q;
    uint8_t *memory;
    enum bench_pages pages;
    uint64_t random, blocks, next; /* next: block, while filling */
    bool filling;
    uint64_t started[DEPTH_MAX];
    struct bench_latency latency;
    uint64_t requests, batches, ns;
};

static void must(struct load *l, int error, const char *what)
{
    if (error != 0)
        bench_die("%s: %s: %s", l->o->socket, what, blkio_get_error_msg());
}

/* The request of this slot, again, elsewhere on the disk. do_io submits it. */
static void enqueue(struct load *l, uintptr_t slot, uint64_t now)
{
    uint64_t start = (l->filling ? l->next++ : bench_random(&l->random, l->blocks)) * l->o->block;
    uint8_t *at = l->memory + slot * l->o->block;

    l->started[slot] = now;
    if (l->o->write || l->filling)
        blkioq_write(l->q, start, at, l->o->block, (void *)slot, 0);
    else
        blkioq_read(l->q, start, at, l->o->block, (void *)slot, 0);
}

/* Submits what was enqueued, and waits for at least one. */
static unsigned collect(struct load *l, struct blkio_completion *done)
{
    unsigned batch = l->o->batch;
    int n;

    do
        n = blkioq_do_io(l->q, done, l->o->plain_queue ? 0 : 1, (int)batch, NULL);
    while (n == 0);
    if (n < 0)
        bench_die("%s: %s", l->o->socket, blkio_get_error_msg());
    for (int i = 0; i < n; i++)
        if (done[i].ret != 0)
            bench_die("a request failed: %s", strerror(-done[i].ret));
    return (unsigned)n;
}

static void fill(struct load *l)
{
    struct blkio_completion done[DEPTH_MAX];
    uint32_t under_way = 0;

    l->filling = true;
    l->next = 0;
    while (under_way < l->o->depth && l->next < l->blocks)
        enqueue(l, under_way++, 0);
    while (under_way > 0) {
        unsigned n = collect(l, done);

        for (unsigned i = 0; i < n; i++) {
            if (l->next < l->blocks)
                enqueue(l, (uintptr_t)done[i].user_data, 0);
            else
                under_way--;
        }
    }
    l->filling = false;
}

static void run(struct load *l, double seconds)
{
    struct blkio_completion done[DEPTH_MAX];
    bool timed = l->o->latency;
    uint64_t start = bench_now_ns(), limit = start + (uint64_t)(seconds * 1e9), next = 0;
    uint32_t under_way = l->o->depth;

    memset(&l->latency, 0, sizeof(l->latency));
    l->requests = l->batches = 0;
    for (uint32_t i = 0; i < l->o->depth; i++)
        enqueue(l, i, start);
    for (;;) {
        unsigned n = collect(l, done);
        uint64_t now = timed ? bench_now_ns() : 0;

        for (unsigned i = 0; timed && i < n; i++)
            bench_latency_add(&l->latency, now - l->started[(uintptr_t)done[i].user_data]);
        l->requests += n;
        l->batches++;
        under_way -= n;
        if (l->requests >= next) {
            if (bench_now_ns() >= limit)
                break;
            next = l->requests + 512;
        }
        now = timed ? bench_now_ns() : 0;
        for (unsigned i = 0; i < n; i++)
            enqueue(l, (uintptr_t)done[i].user_data, now);
        under_way += n;
    }
    l->ns = bench_now_ns() - start;
    while (under_way > 0)
        under_way -= collect(l, done);
}

/* The same kind of memory that vio's driver gets: huge pages if there are some. */
static void share_memory(struct load *l)
{
    uint64_t huge = UINT64_C(2) << 20, size = ((uint64_t)l->o->depth * l->o->block + huge - 1) & ~(huge - 1);
    struct blkio_mem_region region = { .len = size };

    region.addr = bench_shared_memory(size, &l->pages, &region.fd);
    must(l, blkio_map_mem_region(l->b, &region), "memory");
    l->memory = region.addr;
}

static void start(struct load *l)
{
    uint64_t capacity;

    must(l, blkio_create("virtio-blk-vhost-user", &l->b), "create");
    must(l, blkio_set_str(l->b, "path", l->o->socket), "path");
    must(l, blkio_connect(l->b), "connect");
    must(l, blkio_set_int(l->b, "queue-size", l->o->queue_size), "queue-size");
    must(l, blkio_set_int(l->b, "num-queues", l->o->plain_queue), "num-queues");
    must(l, blkio_set_int(l->b, "num-poll-queues", !l->o->plain_queue), "num-poll-queues");
    must(l, blkio_start(l->b), "start");
    must(l, blkio_get_uint64(l->b, "capacity", &capacity), "capacity");
    share_memory(l);
    l->q = l->o->plain_queue ? blkio_get_queue(l->b, 0) : blkio_get_poll_queue(l->b, 0);
    if (l->o->plain_queue)
        blkioq_set_completion_fd_enabled(l->q, false);
    l->random = UINT64_C(0x9e3779b97f4a7c15);
    l->blocks = capacity / l->o->block;
    if (l->blocks == 0 || l->blocks >> 32 != 0)
        bench_die("a disk of %" PRIu64 " bytes has no usable number of blocks of %u", capacity, l->o->block);
}

static void print(const struct load *l)
{
    double requests = (double)l->requests;

    printf("{\"op\": \"%s\", \"depth\": %u, \"block\": %u, \"requests\": %" PRIu64 ", \"seconds\": %.4f, "
           "\"mps\": %.5f, \"ns_per_request\": %.2f, \"per_batch\": %.2f",
           l->o->write ? "write" : "read", l->o->depth, l->o->block, l->requests, (double)l->ns / 1e9,
           requests * 1e3 / (double)l->ns, (double)l->ns / requests, requests / (double)l->batches);
    if (l->o->latency)
        printf(", \"p50_ns\": %u, \"p99_ns\": %u, \"p999_ns\": %u", bench_latency_part(&l->latency, 0.5),
               bench_latency_part(&l->latency, 0.99), bench_latency_part(&l->latency, 0.999));
    printf(", \"queue_size\": %d, \"huge_pages\": %s", l->o->queue_size, l->pages == BENCH_PAGES_HUGETLB ? "true" : "false");
}

enum { O_SOCKET = 1, O_OP, O_DEPTH, O_BATCH, O_BLOCK, O_SECONDS, O_WARMUP, O_QUEUE_SIZE, O_PLAIN_QUEUE, O_LATENCY, O_FILL, O_CPU,
       O_PEER_CPU };

static const struct option long_options[] = {
    { "socket", required_argument, NULL, O_SOCKET },
    { "op", required_argument, NULL, O_OP },
    { "depth", required_argument, NULL, O_DEPTH },
    { "batch", required_argument, NULL, O_BATCH },
    { "block", required_argument, NULL, O_BLOCK },
    { "seconds", required_argument, NULL, O_SECONDS },
    { "warmup", required_argument, NULL, O_WARMUP },
    { "queue-size", required_argument, NULL, O_QUEUE_SIZE },
    { "plain-queue", no_argument, NULL, O_PLAIN_QUEUE },
    { "latency", no_argument, NULL, O_LATENCY },
    { "fill", no_argument, NULL, O_FILL },
    { "cpu", required_argument, NULL, O_CPU },
    { "peer-cpu", required_argument, NULL, O_PEER_CPU },
    { 0 },
};

static void set_option(struct options *o, int option)
{
    switch (option) {
    case O_SOCKET: o->socket = optarg; break;
    case O_OP:
        o->write = strcmp(optarg, "write") == 0;
        if (!o->write && strcmp(optarg, "read") != 0)
            bench_die("--op=%s: read or write", optarg);
        break;
    case O_DEPTH: o->depth = (uint32_t)bench_number("--depth", optarg); break;
    case O_BATCH: o->batch = (uint32_t)bench_number("--batch", optarg); break;
    case O_BLOCK: o->block = (uint32_t)bench_number("--block", optarg); break;
    case O_SECONDS: o->seconds = atof(optarg); break;
    case O_WARMUP: o->warmup = atof(optarg); break;
    case O_QUEUE_SIZE: o->queue_size = (int)bench_number("--queue-size", optarg); break;
    case O_PLAIN_QUEUE: o->plain_queue = true; break;
    case O_LATENCY: o->latency = true; break;
    case O_FILL: o->fill = true; break;
    case O_CPU: o->cpu = (int)bench_number("--cpu", optarg); break;
    case O_PEER_CPU: o->peer_cpu = (int)bench_number("--peer-cpu", optarg); break;
    default: fputs(usage, stderr); exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options o = { .depth = 32, .batch = 16, .block = 4096, .queue_size = 512, .seconds = 1, .warmup = 0.2, .cpu = -1,
                         .peer_cpu = -1 };
    static struct load l;
    double before = 0;
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        set_option(&o, option);
    if (o.socket == NULL || optind != argc || o.block == 0 || o.block % 512 != 0 || o.depth == 0 || o.depth > DEPTH_MAX ||
        o.batch == 0 || o.batch > DEPTH_MAX) {
        fputs(usage, stderr);
        return 2;
    }
    l.o = &o;
    if (o.cpu >= 0 && o.peer_cpu >= 0)
        before = bench_line_ns(o.cpu, o.peer_cpu);
    else if (o.cpu >= 0)
        bench_pin(o.cpu);
    start(&l);
    if (o.fill)
        fill(&l);
    run(&l, o.warmup);
    run(&l, o.seconds);
    print(&l);
    blkio_destroy(&l.b); /* a device that polls would disturb the measurement */
    if (o.cpu >= 0 && o.peer_cpu >= 0)
        printf(", \"line_ns_before\": %.1f, \"line_ns_after\": %.1f", before, bench_line_ns(o.cpu, o.peer_cpu));
    printf("}\n");
    return 0;
}
