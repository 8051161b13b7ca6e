/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a block backend driven with no device or ring before it, in turn with the plainest loops over the same
 * bytes (pread, io_uring, memcpy): what the backend itself costs or gains. Prints medians over the repeats.
 * Where it sits: bench/backend. Threads: one.
 */
#include <vio/block.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

#define MAX_DEPTH 1024u
#define MAX_REPEATS 31u

static const char usage[] =
    "usage: vio-bench-backend (--file=PATH | --ram=SIZE | --null=SIZE) [OPTIONS]\n"
    "  --op=read|write --depth=N (32) --block=BYTES (4096) --seconds=S a sample (0.5) --repeats=N (5)\n"
    "  --direct --register --uncached (drops the page cache before each sample) --sleep (polls fd instead of spinning)\n"
    "  --cpu=N\n";

struct options {
    const char *file;
    uint64_t ram, null;
    bool write, direct, with_registered, uncached, sleep;
    uint32_t depth, block, repeats;
    double seconds;
    int cpu;
};

struct run {
    const struct options *o;
    uint64_t size, random;
    uint8_t *buffers; /* depth blocks */
    uint8_t *disk;    /* for memcpy */
    int fd;           /* for the plain loops */
    struct vio_block_backend *backend;
};

static uint64_t where(struct run *r)
{
    return bench_random(&r->random, r->size / r->o->block) * r->o->block;
}

static uint64_t limit_of(const struct run *r)
{
    return bench_now_ns() + (uint64_t)(r->o->seconds * 1e9);
}

struct slot {
    struct vio_block_io io;
    struct vio_seg seg;
};

static void fill(struct run *r, struct slot *slot, uint32_t i)
{
    slot->seg = (struct vio_seg){ r->buffers + (size_t)i * r->o->block, r->o->block };
    slot->io = (struct vio_block_io){
        .op = r->o->write ? VIO_BLOCK_WRITE : VIO_BLOCK_READ,
        .nr_seg = 1,
        .offset = where(r),
        .length = r->o->block,
        .seg = &slot->seg,
    };
}

static void wait_for(const struct vio_block_ops *ops, struct vio_block_channel *c)
{
    struct pollfd p = { .fd = ops->fd(c), .events = POLLIN };

    if (!ops->arm || !ops->arm(c, true))
        poll(&p, 1, 1000);
    if (ops->arm)
        ops->arm(c, false);
}

static uint64_t run_backend(struct run *r)
{
    const struct vio_block_ops *ops = r->backend->ops;
    struct vio_seg region = { r->buffers, (size_t)r->o->depth * r->o->block };
    struct vio_block_memory memory = { &region, 1 };
    struct slot *slots = calloc(r->o->depth, sizeof *slots);
    struct vio_block_io *ready[MAX_DEPTH], *done[MAX_DEPTH];
    struct vio_block_channel *c;
    uint64_t count = 0, limit;
    unsigned nr_ready = r->o->depth, in_flight = 0;
    bool more = true;

    if (!slots || ops->open(r->backend, r->o->depth, &memory, &c) < 0)
        bench_die("no channel");
    for (uint32_t i = 0; i < r->o->depth; i++) {
        fill(r, &slots[i], i);
        ready[i] = &slots[i].io;
    }
    limit = limit_of(r);
    while (more || in_flight) {
        unsigned n = 0;

        if (nr_ready) {
            n = ops->submit(c, ready, nr_ready, done);
            in_flight += nr_ready - n;
        }
        if (in_flight) {
            unsigned got = ops->reap(c, done + n, in_flight);

            in_flight -= got;
            n += got;
            if (!n && r->o->sleep)
                wait_for(ops, c);
        }
        count += n;
        if (more && n && bench_now_ns() >= limit)
            more = false;
        nr_ready = 0;
        for (unsigned i = 0; i < n; i++) {
            if (done[i]->result)
                bench_die("a request failed: %s", strerror(-done[i]->result));
            if (!more)
                continue;
            fill(r, (struct slot *)done[i], (uint32_t)((struct slot *)done[i] - slots));
            ready[nr_ready++] = done[i];
        }
    }
    ops->close(c);
    free(slots);
    return count;
}

static uint64_t run_pread(struct run *r)
{
    uint64_t limit = limit_of(r), count = 0;

    while (bench_now_ns() < limit) {
        for (uint32_t i = 0; i < r->o->depth; i++, count++) {
            uint8_t *buffer = r->buffers + (size_t)i * r->o->block;
            ssize_t n = r->o->write ? pwrite(r->fd, buffer, r->o->block, (off_t)where(r))
                                    : pread(r->fd, buffer, r->o->block, (off_t)where(r));

            if (n != (ssize_t)r->o->block)
                bench_die("plain loop: %s", strerror(errno));
        }
    }
    return count;
}

static void put_plain(struct run *r, struct io_uring *ring, uint32_t i)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    uint8_t *buffer = r->buffers + (size_t)i * r->o->block;

    if (r->o->write)
        io_uring_prep_write(sqe, 0, buffer, r->o->block, where(r));
    else
        io_uring_prep_read(sqe, 0, buffer, r->o->block, where(r));
    if (r->o->with_registered) {
        sqe->opcode = r->o->write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
        sqe->buf_index = 0;
    }
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = i;
}

static uint64_t run_uring(struct run *r)
{
    struct iovec all = { r->buffers, (size_t)r->o->depth * r->o->block };
    struct io_uring ring;
    struct io_uring_cqe *cqe[MAX_DEPTH];
    uint64_t limit = limit_of(r), count = 0;
    unsigned in_flight = r->o->depth;

    if (io_uring_queue_init(r->o->depth, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) < 0)
        bench_die("no io_uring");
    io_uring_register_files(&ring, &r->fd, 1);
    if (r->o->with_registered && io_uring_register_buffers(&ring, &all, 1) < 0)
        bench_die("buffers cannot be registered");
    for (uint32_t i = 0; i < r->o->depth; i++)
        put_plain(r, &ring, i);
    while (in_flight) {
        bool more = bench_now_ns() < limit;
        unsigned n;

        io_uring_submit_and_wait(&ring, 1);
        n = io_uring_peek_batch_cqe(&ring, cqe, MAX_DEPTH);
        for (unsigned i = 0; i < n; i++) {
            if (cqe[i]->res != (int)r->o->block)
                bench_die("plain io_uring: %s", strerror(-cqe[i]->res));
            if (more)
                put_plain(r, &ring, (uint32_t)cqe[i]->user_data);
            else
                in_flight--;
        }
        count += n;
        io_uring_cq_advance(&ring, n);
    }
    io_uring_queue_exit(&ring);
    return count;
}

static uint64_t run_memcpy(struct run *r)
{
    uint64_t limit = limit_of(r), count = 0;

    while (bench_now_ns() < limit) {
        for (uint32_t i = 0; i < r->o->depth; i++, count++) {
            uint8_t *buffer = r->buffers + (size_t)i * r->o->block, *at = r->disk + where(r);

            if (r->o->write)
                memcpy(at, buffer, r->o->block);
            else
                memcpy(buffer, at, r->o->block);
            __asm__ volatile("" ::: "memory");
        }
    }
    return count;
}

/* ------------------------------------------------------------------ samples */

struct way {
    const char *name;
    uint64_t (*run)(struct run *r);
    double rate[MAX_REPEATS];
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void sample(struct run *r, struct way *way, uint32_t repeat)
{
    uint64_t start;

    if (r->fd >= 0) {
        if (r->o->uncached || r->o->write)
            fdatasync(r->fd);
        if (r->o->uncached)
            posix_fadvise(r->fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    start = bench_now_ns();
    way->rate[repeat] = (double)way->run(r) * 1e9 / (double)(bench_now_ns() - start);
}

static void report(const struct options *o, struct way *ways, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++)
        qsort(ways[i].rate, o->repeats, sizeof ways[i].rate[0], by_value);
    printf("%s %s depth %u:", o->file ? o->file : o->ram ? "ram" : "null", o->write ? "write" : "read", o->depth);
    for (unsigned i = 0; i < nr; i++)
        printf("  %s %.0f/s (%.0f..%.0f) %.2fx", ways[i].name, ways[i].rate[o->repeats / 2], ways[i].rate[0],
               ways[i].rate[o->repeats - 1], ways[0].rate[o->repeats / 2] / ways[i].rate[o->repeats / 2]);
    printf("\n");
}

static struct vio_block_backend *open_backend(const struct options *o)
{
    struct vio_block_file_params params = {
        .path = o->file, .fd = -1, .direct = o->direct, .register_memory = o->with_registered,
    };
    struct vio_block_backend *backend;
    char why[256] = "";
    int ret = o->file  ? vio_block_file_open(&params, &backend, why, sizeof why)
              : o->ram ? vio_block_ram_open(o->ram, false, &backend, why, sizeof why)
                       : vio_block_null_open(o->null, false, &backend, why, sizeof why);

    if (ret < 0)
        bench_die("%s", why);
    return backend;
}

static void bench(const struct options *o)
{
    static const uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
    struct run r = { .o = o, .random = seed, .fd = -1, .backend = open_backend(o) };
    struct way file_ways[] = { { "backend", run_backend, { 0 } }, { "pread", run_pread, { 0 } },
                               { "io_uring", run_uring, { 0 } } };
    struct way ram_ways[] = { { "backend", run_backend, { 0 } }, { "memcpy", run_memcpy, { 0 } } };
    struct way *ways = o->file ? file_ways : ram_ways;
    unsigned nr = o->file ? 3 : o->ram ? 2 : 1;
    enum bench_pages pages;
    struct vio_block_info info;

    if (r.backend->ops->info(r.backend, &info) < 0)
        bench_die("no size");
    r.size = info.size;
    r.buffers = bench_memory((uint64_t)o->depth * o->block, &pages);
    if (o->ram)
        r.disk = bench_memory(o->ram, &pages);
    if (o->file)
        r.fd = open(o->file, O_RDWR | O_CLOEXEC | (o->direct ? O_DIRECT : 0));
    if (o->ram) { /* so that neither side pays for first touches */
        struct slot slot;
        struct vio_block_io *io = &slot.io, *done;
        struct vio_block_channel *c;

        if (r.backend->ops->open(r.backend, 1, NULL, &c) < 0)
            bench_die("no channel");
        for (uint64_t at = 0; at < r.size; at += o->block) {
            fill(&r, &slot, 0);
            slot.io.op = VIO_BLOCK_WRITE;
            slot.io.offset = at;
            r.backend->ops->submit(c, &io, 1, &done);
        }
        r.backend->ops->close(c);
    }
    for (uint32_t repeat = 0; repeat < o->repeats; repeat++)
        for (unsigned i = 0; i < nr; i++)
            sample(&r, &ways[(i + repeat) % nr], repeat);
    report(o, ways, nr);
    vio_block_close(r.backend);
}

static void parse(int argc, char **argv, struct options *o)
{
    enum { FILE_, RAM, NUL, OP, DEPTH, BLOCK, SECONDS, REPEATS, DIRECT, REGISTER, UNCACHED, SLEEP, CPU };
    static const struct option options[] = {
        { "file", 1, NULL, FILE_ }, { "ram", 1, NULL, RAM }, { "null", 1, NULL, NUL }, { "op", 1, NULL, OP },
        { "depth", 1, NULL, DEPTH }, { "block", 1, NULL, BLOCK }, { "seconds", 1, NULL, SECONDS },
        { "repeats", 1, NULL, REPEATS }, { "direct", 0, NULL, DIRECT }, { "register", 0, NULL, REGISTER },
        { "uncached", 0, NULL, UNCACHED }, { "sleep", 0, NULL, SLEEP }, { "cpu", 1, NULL, CPU }, { 0 },
    };
    int word;

    while ((word = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (word) {
        case FILE_: o->file = optarg; break;
        case RAM: o->ram = bench_number("--ram", optarg); break;
        case NUL: o->null = bench_number("--null", optarg); break;
        case OP: o->write = strcmp(optarg, "write") == 0; break;
        case DEPTH: o->depth = (uint32_t)bench_number("--depth", optarg); break;
        case BLOCK: o->block = (uint32_t)bench_number("--block", optarg); break;
        case SECONDS: o->seconds = strtod(optarg, NULL); break;
        case REPEATS: o->repeats = (uint32_t)bench_number("--repeats", optarg); break;
        case DIRECT: o->direct = true; break;
        case REGISTER: o->with_registered = true; break;
        case UNCACHED: o->uncached = true; break;
        case SLEEP: o->sleep = true; break;
        case CPU: o->cpu = (int)bench_number("--cpu", optarg); break;
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (!!o->file + !!o->ram + !!o->null != 1 || !o->depth || o->depth > MAX_DEPTH || !o->repeats ||
        o->repeats > MAX_REPEATS || !o->block || o->block % 512) {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options o = { .depth = 32, .block = 4096, .seconds = 0.5, .repeats = 5, .cpu = -1 };

    parse(argc, argv, &o);
    if (o.cpu >= 0)
        bench_pin(o.cpu);
    bench(&o);
    return 0;
}
