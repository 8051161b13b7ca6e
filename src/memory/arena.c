/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the arena: one memfd, on huge pages where there are some, and who has which part of it. Where its bytes are for a
 * device is a list of runs: one for all, or (arena_frames.c) as many as the physical pages make. Where it sits: memory/, hosted.
 * Threads: a mutex round the list of free ranges; never on a data path.
 * Trust: what is kept of the ranges is private memory; nothing is read of the arena's own bytes.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <vio/arena.h>

#include "memory/arena_frames.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { GRAIN = 128 }; /* what is given out comes in grains, so that no two share a cache line */

/* What the device calls the first byte: no host address, so that a mix-up fails at once. */
#define ARENA_BASE UINT64_C(0x100000000)

/* A free range, by offset. Neighbours are joined, so there are at most as many as ranges given out, and one. */
struct range {
    struct range *next;
    uint64_t at, size;
};

struct vio_arena {
    struct vio_platform platform;
    const struct vio_log *log;
    pthread_mutex_t lock;
    struct range *free;
    uint8_t *host;
    struct arena_run *runs; /* by offset, without gaps */
    uint64_t nr_runs, size;
    int fd;
    bool huge, physical;
};

/* ------------------------------------------------------------------ ranges */

static uint64_t up(uint64_t n, uint64_t align)
{
    return (n + align - 1) & ~(align - 1);
}

/* The run that offset `at` is in; the runs are ordered and cover all. */
static const struct arena_run *run_at(const struct vio_arena *a, uint64_t at)
{
    uint64_t low = 0, high = a->nr_runs;

    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (a->runs[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    return &a->runs[low];
}

static uint64_t addr_of(const struct vio_arena *a, uint64_t at)
{
    const struct arena_run *run = run_at(a, at);

    return run->addr + (at - run->at);
}

/* Where in a free range `size` bytes fit that are one piece for a device, too. */
static bool fits(const struct vio_arena *a, const struct range *r, uint64_t size, uint64_t align, uint64_t *at)
{
    const struct arena_run *run = run_at(a, r->at), *end = a->runs + a->nr_runs;

    for (; run < end && run->at < r->at + r->size; run++) {
        uint64_t low = run->at > r->at ? run->at : r->at;
        uint64_t high = vio_min_u64(run->at + run->size, r->at + r->size);
        uint64_t skip = up(run->addr + (low - run->at), align) - (run->addr + (low - run->at));

        if (skip <= high - low && high - low - skip >= size) {
            *at = low + skip;
            return true;
        }
    }
    return false;
}

/* First fit. What is left before and behind stays free; `spare` becomes the second of these. */
static bool take(struct vio_arena *a, uint64_t size, uint64_t align, struct range **spare, uint64_t *at)
{
    for (struct range **link = &a->free; *link != NULL; link = &(*link)->next) {
        struct range *r = *link;
        uint64_t before;

        if (!fits(a, r, size, align, at))
            continue;
        before = *at - r->at;
        if (before + size < r->size) {
            (*spare)->at = *at + size;
            (*spare)->size = r->size - before - size;
            (*spare)->next = r->next;
            r->next = *spare;
            *spare = NULL;
        }
        r->size = before;
        if (before == 0) {
            *link = r->next;
            free(r);
        }
        return true;
    }
    return false;
}

/* Back into the list, which is sorted; `r` is a node for it where it joins none. */
static void give(struct vio_arena *a, struct range *r)
{
    struct range **link = &a->free, *before = NULL;

    while (*link != NULL && (*link)->at < r->at) {
        before = *link;
        link = &(*link)->next;
    }
    r->next = *link;
    *link = r;
    if (r->next != NULL && r->at + r->size == r->next->at) {
        struct range *joined = r->next;

        r->size += joined->size;
        r->next = joined->next;
        free(joined);
    }
    if (before != NULL && before->at + before->size == r->at) {
        before->size += r->size;
        before->next = r->next;
        free(r);
    }
}

/* ------------------------------------------------------------------ the platform */

static void *arena_dma_alloc(void *ctx, size_t size, size_t align, uint64_t *addr)
{
    struct vio_arena *a = ctx;
    struct range *spare = malloc(sizeof(*spare));
    uint64_t at = 0;
    bool got;

    if (spare == NULL || size == 0 || size > a->size) {
        free(spare);
        return NULL;
    }
    pthread_mutex_lock(&a->lock);
    got = take(a, up(size, GRAIN), align < GRAIN ? (uint64_t)GRAIN : align, &spare, &at);
    pthread_mutex_unlock(&a->lock);
    free(spare);
    if (!got)
        return NULL;
    *addr = addr_of(a, at);
    return memset(a->host + at, 0, size);
}

static void arena_dma_free(void *ctx, void *host, size_t size, uint64_t addr)
{
    struct vio_arena *a = ctx;
    struct range *r;

    if (host == NULL)
        return;
    (void)addr;
    r = malloc(sizeof(*r));
    if (r == NULL)
        return; /* lost to the arena, and to it alone */
    *r = (struct range){ .at = (uint64_t)((uint8_t *)host - a->host), .size = up(size, GRAIN) };
    pthread_mutex_lock(&a->lock);
    give(a, r);
    pthread_mutex_unlock(&a->lock);
}

static void *arena_alloc(void *ctx, size_t size)
{
    size_t whole = (size + 63) & ~(size_t)63;
    void *mem = size != 0 && whole >= size ? aligned_alloc(64, whole) : NULL;

    (void)ctx;
    return mem != NULL ? memset(mem, 0, whole) : NULL;
}

static void arena_free(void *ctx, void *mem, size_t size)
{
    (void)ctx;
    (void)size;
    free(mem);
}

/* Its own memory is reachable already, where it is one piece. */
static int arena_map(void *ctx, void *host, size_t size, unsigned access, uint64_t *addr)
{
    struct vio_arena *a = ctx;
    uint64_t at = (uint64_t)((uintptr_t)host - (uintptr_t)a->host);
    const struct arena_run *run;

    (void)access;
    if (!vio_range_ok(at, size, a->size))
        return -EFAULT;
    run = run_at(a, at);
    if (!vio_range_ok(at - run->at, size, run->size))
        return -EFAULT;
    *addr = addr_of(a, at);
    return 0;
}

static void arena_unmap(void *ctx, uint64_t addr, size_t size)
{
    (void)ctx;
    (void)addr;
    (void)size;
}

static uint64_t arena_now(void *ctx)
{
    struct timespec t;

    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* The device is another process, perhaps on this CPU. */
static void arena_pause(void *ctx)
{
    (void)ctx;
    sched_yield();
}

static void arena_say(void *ctx, int level, const char *name, const char *line)
{
    const struct vio_arena *a = ctx;

    vio_log(a->log, (enum vio_log_level)level, name, "%s", line);
}

static const struct vio_platform arena_platform = {
    .dma_alloc = arena_dma_alloc,
    .dma_free = arena_dma_free,
    .alloc = arena_alloc,
    .free = arena_free,
    .map = arena_map,
    .unmap = arena_unmap,
    .now_ns = arena_now,
    .pause = arena_pause,
    .say = arena_say,
};

/* ------------------------------------------------------------------ the memfd */

static int map_memfd(struct vio_arena *a, unsigned flags, uint64_t size)
{
    int error;

    a->fd = memfd_create("vio-arena", MFD_CLOEXEC | flags);
    if (a->fd < 0)
        return -errno;
    if (ftruncate(a->fd, (off_t)size) < 0)
        goto failed;
    a->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
    if (a->host == MAP_FAILED)
        goto failed;
    a->size = size;
    return 0;
failed:
    error = -errno;
    close(a->fd);
    a->fd = -1;
    a->host = NULL;
    return error;
}

/* The pages are taken now and not at the first write: a fault in the data path costs a request's whole time. */
static int populate(const struct vio_arena *a)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    if (madvise(a->host, a->size, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    for (uint64_t at = 0; at < a->size; at += page) /* a kernel before 5.14 */
        *(volatile uint8_t *)(a->host + at) = 0;
    return 0;
}

static int open_memory(struct vio_arena *a, const struct vio_arena_params *params, bool must_be_huge)
{
    uint64_t page = params->small_pages ? (uint64_t)sysconf(_SC_PAGESIZE) : (uint64_t)ARENA_HUGE_PAGE;
    uint64_t whole = up(params->size, page);
    int error = -ENOMEM;

    if (params->size == 0 || params->size > UINT64_C(1) << 46)
        return -EINVAL;
    /* The pool may be too small: mmap reserves from it, so it fails here and not by SIGBUS later. */
    if (!params->small_pages)
        error = map_memfd(a, MFD_HUGETLB | MFD_HUGE_2MB, whole);
    a->huge = error == 0;
    if (!a->huge && must_be_huge)
        return error;
    if (!a->huge) {
        error = map_memfd(a, 0, whole);
        if (error != 0)
            return error;
        if (!params->small_pages)
            (void)madvise(a->host, a->size, MADV_HUGEPAGE); /* advice: without it all works the same */
    }
    return params->populate || params->physical ? populate(a) : 0;
}

/* One run for all of it. */
static int open_base(struct vio_arena *a, const struct vio_arena_params *params)
{
    uint64_t base = params->base != 0 ? params->base : ARENA_BASE;

    if (base > UINT64_MAX - a->size || base % 4096 != 0)
        return -EINVAL;
    a->runs = malloc(sizeof(*a->runs));
    if (a->runs == NULL)
        return -ENOMEM;
    a->runs[0] = (struct arena_run){ .at = 0, .size = a->size, .addr = base };
    a->nr_runs = 1;
    return 0;
}

/* The file's pages lie in another order in memory than in the file from here on: nobody else may map it. */
static int open_physical(struct vio_arena *a, const struct arena_frames *frames)
{
    int error = arena_frames_runs(frames, a->fd, a->host, a->size, &a->runs, &a->nr_runs);

    close(a->fd);
    a->fd = -1;
    if (error == 0 && mlock(a->host, a->size) < 0)
        error = -errno;
    return error;
}

static int open_arena(struct vio_arena *a, const struct vio_arena_params *params, const struct arena_frames *frames)
{
    int error = params->physical && params->base != 0 ? -EINVAL : open_memory(a, params, params->physical && !frames->small);

    if (error == 0)
        error = params->physical ? open_physical(a, frames) : open_base(a, params);
    if (error != 0)
        return error;
    a->free = malloc(sizeof(*a->free));
    if (a->free == NULL)
        return -ENOMEM;
    *a->free = (struct range){ .at = 0, .size = a->size };
    return 0;
}

int arena_create(const struct vio_arena_params *params, const struct arena_frames *frames, struct vio_arena **out)
{
    struct vio_arena *a = calloc(1, sizeof(*a));
    int error;

    if (a == NULL)
        return -ENOMEM;
    pthread_mutex_init(&a->lock, NULL);
    a->fd = -1;
    a->log = params->log;
    a->physical = params->physical;
    a->platform = arena_platform;
    a->platform.ctx = a;
    error = open_arena(a, params, frames);
    if (error != 0) {
        vio_arena_destroy(a);
        return error;
    }
    *out = a;
    return 0;
}

int vio_arena_create(const struct vio_arena_params *params, struct vio_arena **out)
{
    return arena_create(params, &arena_frames_of_linux, out);
}

void vio_arena_destroy(struct vio_arena *a)
{
    if (a == NULL)
        return;
    while (a->free != NULL) {
        struct range *r = a->free;

        a->free = r->next;
        free(r);
    }
    free(a->runs);
    if (a->host != NULL)
        munmap(a->host, a->size);
    if (a->fd >= 0)
        close(a->fd);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

const struct vio_platform *vio_arena_platform(struct vio_arena *a)
{
    return &a->platform;
}

struct vio_arena_region vio_arena_region(const struct vio_arena *a)
{
    return (struct vio_arena_region){ .fd = a->fd, .host = a->host, .addr = a->runs[0].addr, .size = a->size, .huge = a->huge,
                                      .physical = a->physical };
}

bool vio_arena_part(const struct vio_arena *a, unsigned i, struct vio_arena_region *part)
{
    if (i >= a->nr_runs)
        return false;
    *part = vio_arena_region(a);
    part->host = a->host + a->runs[i].at;
    part->addr = a->runs[i].addr;
    part->size = a->runs[i].size;
    return true;
}
