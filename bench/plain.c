/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the same work with no virtio between, as one line of JSON: what a device can at best approach.
 * Where it sits: bench/. Threads: one, pinned.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common.h"

static const char usage[] =
    "usage: vio-bench-plain --mode=MODE [OPTIONS]      prints one line of JSON\n"
    "  --mode=memcpy       copies blocks between --size bytes of memory and --depth buffers\n"
    "  --mode=uring        io_uring on --file: fixed file and buffers, DEFER_TASKRUN where the kernel has it\n"
    "  --mode=pread        pread and pwrite on --file, one after the other\n"
    "  --mode=distance     one cache line one way between --cpu and --peer-cpu\n"
    "  --op=read|write --depth=N (32) --block=BYTES (4096) --size=BYTES --seconds=S (1) --direct --cpu=N\n";

struct options {
    const char *mode, *file;
    bool write, direct;
    uint32_t depth, block;
    uint64_t size;
    double seconds;
    int cpu, peer_cpu;
};

struct count {
    uint64_t requests, ns;
};

static uint64_t blocks_of(const struct options *o)
{
    uint64_t blocks = o->size / o->block;

    if (blocks == 0 || blocks >> 32 != 0)
        bench_die("%" PRIu64 " bytes have no usable number of blocks of %u", o->size, o->block);
    return blocks;
}

/* What a disk in memory does at best: from or to random places of the disk, to or from buffers that stay the same. */
static const char *run_memcpy(const struct options *o, struct count *count)
{
    enum bench_pages pages, buffer_pages;
    uint8_t *disk = bench_memory(o->size, &pages);
    int fd;
    uint8_t *buffers = bench_shared_memory((uint64_t)o->depth * o->block, &buffer_pages, &fd);
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15), blocks = blocks_of(o), start = bench_now_ns();
    uint64_t limit = start + (uint64_t)(o->seconds * 1e9);

    while (bench_now_ns() < limit) {
        for (uint32_t i = 0; i < 512; i++) {
            uint8_t *at = disk + bench_random(&random, blocks) * o->block;
            uint8_t *buffer = buffers + (uint64_t)(i % o->depth) * o->block;

            memcpy(o->write ? at : buffer, o->write ? buffer : at, o->block);
            __asm__ volatile("" ::: "memory");
        }
        count->requests += 512;
    }
    count->ns = bench_now_ns() - start;
    return bench_pages_name(pages);
}

static int open_file(struct options *o)
{
    struct stat status;
    int fd = open(o->file, (o->write ? O_RDWR : O_RDONLY) | (o->direct ? O_DIRECT : 0) | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) < 0)
        bench_die("%s: %s", o->file, strerror(errno));
    if (S_ISREG(status.st_mode) && (o->size == 0 || o->size > (uint64_t)status.st_size))
        o->size = (uint64_t)status.st_size;
    return fd;
}

static void run_pread(struct options *o, struct count *count)
{
    enum bench_pages pages;
    int fd = open_file(o);
    uint8_t *buffers = bench_memory((uint64_t)o->depth * o->block, &pages);
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15), blocks = blocks_of(o), start = bench_now_ns();
    uint64_t limit = start + (uint64_t)(o->seconds * 1e9);

    while (bench_now_ns() < limit) {
        for (uint32_t i = 0; i < 32; i++) {
            off_t at = (off_t)(bench_random(&random, blocks) * o->block);
            uint8_t *buffer = buffers + (uint64_t)(i % o->depth) * o->block;
            ssize_t n = o->write ? pwrite(fd, buffer, o->block, at) : pread(fd, buffer, o->block, at);

            if (n != (ssize_t)o->block)
                bench_die("%s: %s", o->file, n < 0 ? strerror(errno) : "short");
        }
        count->requests += 32;
    }
    count->ns = bench_now_ns() - start;
    close(fd);
}

static void open_ring(const struct options *o, struct io_uring *ring, int fd, void *buffers)
{
    struct iovec iov = { buffers, (size_t)o->depth * o->block };
    struct io_uring_params params = { 0 };
    int error = -EINVAL;

#if defined(IORING_SETUP_DEFER_TASKRUN)
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    error = io_uring_queue_init_params(o->depth, ring, &params);
#endif
    if (error == -EINVAL) {
        params = (struct io_uring_params){ 0 };
        error = io_uring_queue_init_params(o->depth, ring, &params);
    }
    if (error == 0)
        error = io_uring_register_files(ring, &fd, 1);
    if (error == 0)
        error = io_uring_register_buffers(ring, &iov, 1);
    if (error != 0)
        bench_die("io_uring: %s", strerror(-error));
}

static void run_uring(struct options *o, struct count *count)
{
    enum bench_pages pages;
    int fd = open_file(o);
    uint8_t *buffers = bench_memory((uint64_t)o->depth * o->block, &pages);
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15), blocks = blocks_of(o), start, limit, next = 0;
    uint32_t *idle = calloc(o->depth, sizeof(*idle)), nr_idle = o->depth;
    struct io_uring ring;

    if (idle == NULL)
        bench_die("no memory");
    open_ring(o, &ring, fd, buffers);
    for (uint32_t i = 0; i < o->depth; i++)
        idle[i] = i;
    start = bench_now_ns();
    limit = start + (uint64_t)(o->seconds * 1e9);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;

        while (nr_idle > 0) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
            uint32_t i = idle[--nr_idle];
            uint64_t at = bench_random(&random, blocks) * o->block;
            uint8_t *buffer = buffers + (uint64_t)i * o->block;

            if (o->write)
                io_uring_prep_write_fixed(sqe, 0, buffer, o->block, at, 0);
            else
                io_uring_prep_read_fixed(sqe, 0, buffer, o->block, at, 0);
            sqe->flags |= IOSQE_FIXED_FILE;
            sqe->user_data = i;
        }
        if (io_uring_submit_and_wait(&ring, 1) < 0)
            bench_die("io_uring_submit_and_wait");
        io_uring_for_each_cqe(&ring, head, cqe) {
            if (cqe->res != (int)o->block)
                bench_die("%s: %s", o->file, cqe->res < 0 ? strerror(-cqe->res) : "short");
            idle[nr_idle++] = (uint32_t)cqe->user_data;
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
        count->requests += seen;
        if (count->requests >= next) {
            if (bench_now_ns() >= limit)
                break;
            next = count->requests + 32;
        }
    }
    count->ns = bench_now_ns() - start;
    io_uring_queue_exit(&ring); /* ends what is in flight */
    free(idle);
    close(fd);
}

static void parse(struct options *o, int argc, char **argv)
{
    enum { MODE = 1, FILE_, OP, DEPTH, BLOCK, SIZE, SECONDS, DIRECT, CPU, PEER };
    static const struct option long_options[] = {
        { "mode", required_argument, NULL, MODE },       { "file", required_argument, NULL, FILE_ },
        { "op", required_argument, NULL, OP },           { "depth", required_argument, NULL, DEPTH },
        { "block", required_argument, NULL, BLOCK },     { "size", required_argument, NULL, SIZE },
        { "seconds", required_argument, NULL, SECONDS }, { "direct", no_argument, NULL, DIRECT },
        { "cpu", required_argument, NULL, CPU },         { "peer-cpu", required_argument, NULL, PEER },
        { 0 },
    };
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
        switch (option) {
        case MODE: o->mode = optarg; break;
        case FILE_: o->file = optarg; break;
        case OP: o->write = strcmp(optarg, "write") == 0; break;
        case DEPTH: o->depth = (uint32_t)bench_number("--depth", optarg); break;
        case BLOCK: o->block = (uint32_t)bench_number("--block", optarg); break;
        case SIZE: o->size = bench_number("--size", optarg); break;
        case SECONDS: o->seconds = atof(optarg); break;
        case DIRECT: o->direct = true; break;
        case CPU: o->cpu = (int)bench_number("--cpu", optarg); break;
        case PEER: o->peer_cpu = (int)bench_number("--peer-cpu", optarg); break;
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (o->mode == NULL || o->depth == 0 || o->block == 0 || optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options o = { .depth = 32, .block = 4096, .seconds = 1, .cpu = -1, .peer_cpu = -1 };
    struct count count = { 0 };
    const char *pages = NULL;

    parse(&o, argc, argv);
    if (o.cpu >= 0)
        bench_pin(o.cpu);
    if (strcmp(o.mode, "distance") == 0) {
        printf("{\"line_ns\": %.1f}\n", bench_line_ns(o.cpu, o.peer_cpu));
        return 0;
    }
    if (strcmp(o.mode, "memcpy") == 0)
        pages = run_memcpy(&o, &count);
    else if (o.file == NULL)
        bench_die("--file is missing");
    else if (strcmp(o.mode, "uring") == 0)
        run_uring(&o, &count);
    else if (strcmp(o.mode, "pread") == 0)
        run_pread(&o, &count);
    else
        bench_die("--mode=%s: memcpy, uring, pread or distance", o.mode);
    printf("{\"op\": \"%s\", \"depth\": %u, \"block\": %u, \"requests\": %" PRIu64 ", \"seconds\": %.4f, \"mps\": %.5f",
           o.write ? "write" : "read", o.depth, o.block, count.requests, (double)count.ns / 1e9,
           (double)count.requests * 1e3 / (double)count.ns);
    if (pages != NULL)
        printf(", \"pages\": \"%s\"", pages);
    printf("}\n");
    return 0;
}
