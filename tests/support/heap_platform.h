/* SPDX-License-Identifier: MIT */
/* Purpose: a struct vio_platform over the heap, for tests: a device sees memory where it is; time is a counter. */
#ifndef VIO_TEST_HEAP_PLATFORM_H
#define VIO_TEST_HEAP_PLATFORM_H

#include <stdlib.h>
#include <string.h>
#include <vio/platform.h>

struct heap_platform {
    struct vio_platform p;
    uint64_t now;      /* each look at it adds `tick` */
    uint64_t tick;
    size_t held;       /* bytes that were not given back */
    bool refuse;       /* there is no memory */
};

static inline void *heap_alloc(void *ctx, size_t size)
{
    struct heap_platform *h = ctx;
    void *at = h->refuse ? NULL : aligned_alloc(64, (size + 63) & ~(size_t)63);

    if (at == NULL)
        return NULL;
    h->held += size;
    return memset(at, 0, size);
}

static inline void heap_free(void *ctx, void *mem, size_t size)
{
    struct heap_platform *h = ctx;

    if (mem != NULL)
        h->held -= size;
    free(mem);
}

static inline void *heap_dma_alloc(void *ctx, size_t size, size_t align, uint64_t *addr)
{
    struct heap_platform *h = ctx;
    size_t a = align < 64 ? 64 : align;
    void *at = h->refuse ? NULL : aligned_alloc(a, (size + a - 1) / a * a);

    if (at == NULL)
        return NULL;
    h->held += size;
    *addr = (uintptr_t)at;
    return memset(at, 0, size);
}

static inline void heap_dma_free(void *ctx, void *host, size_t size, uint64_t addr)
{
    (void)addr;
    heap_free(ctx, host, size);
}

static inline uint64_t heap_now(void *ctx)
{
    struct heap_platform *h = ctx;

    return h->now += h->tick;
}

/* In place: the table points to itself. */
static inline const struct vio_platform *heap_platform_init(struct heap_platform *h)
{
    *h = (struct heap_platform){ .tick = 1000000 };
    h->p = (struct vio_platform){
        .dma_alloc = heap_dma_alloc, .dma_free = heap_dma_free, .alloc = heap_alloc, .free = heap_free,
        .now_ns = heap_now, .ctx = h,
    };
    return &h->p;
}

#endif
