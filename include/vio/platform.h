/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the driver side needs of the world around it, as one small table: memory, mappings, time, a barrier, a
 * line of log. Where it sits: base/; freestanding: a kernel, a firmware or a unikernel fills it in; a program takes
 * vio_arena_platform() (vio/arena.h).
 * Threads: every call may come from any thread that drives a device of this platform; none comes from the data path, but
 * io_barrier. Trust: the platform is the caller's own.
 */
#ifndef VIO_PLATFORM_H
#define VIO_PLATFORM_H

#include <vio/types.h>

VIO_PUBLIC_BEGIN

/* What a device does with memory: bits. */
enum { VIO_DMA_READ = 1, VIO_DMA_WRITE = 2 };

enum { VIO_DMA_NONE = 0 }; /* no device address: no memory is ever at it */

struct vio_platform {
    /*
     * Zeroed memory that devices reach: `size` bytes in one piece, aligned to `align` (a power of two) on both sides;
     * *addr is where a device sees it. NULL: there is none. Released with the same size.
     */
    void *(*dma_alloc)(void *ctx, size_t size, size_t align, uint64_t *addr);
    void (*dma_free)(void *ctx, void *host, size_t size, uint64_t addr);
    /* Zeroed private memory, aligned to 64 bytes; NULL: none. Only at probe, restore, and the opening of a channel. */
    void *(*alloc)(void *ctx, size_t size);
    void (*free)(void *ctx, void *mem, size_t size);
    /*
     * The caller's own memory made reachable: *addr is where a device sees it, until unmapped. -ENOTSUP, and a NULL
     * function: buffers must come from dma_alloc. -EFAULT: this memory cannot be.
     */
    int (*map)(void *ctx, void *host, size_t size, unsigned access, uint64_t *addr);
    void (*unmap)(void *ctx, uint64_t addr, size_t size);
    /* Nanoseconds that only grow. */
    uint64_t (*now_ns)(void *ctx);
    /* Between two looks at a device that is waited for: yields, or relaxes the CPU. NULL: nothing. */
    void (*pause)(void *ctx);
    /*
     * Orders memory before a write to a device register, where that takes more than a full fence between CPUs
     * (virtio 1.4, 6, ORDER_PLATFORM). NULL: a full fence does.
     */
    void (*io_barrier)(void *ctx);
    /* One finished line for a person, without a newline; level as in vio/log.h. NULL: nothing is said. */
    void (*say)(void *ctx, int level, const char *name, const char *line);
    void *ctx;
};

VIO_PUBLIC_END

#endif
