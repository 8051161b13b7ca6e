/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see memory.h. Memory is taken off the pool's front; what comes back waits in one list, for a request of the same
 * size. That is enough for vio, which allocates when a device is found and frees when it goes, the same sizes again.
 */
#include "memory.h"

#include <string.h>
#include <vio/log.h>

#include "machine.h"
#include "say.h"

enum { POOL = 8 << 20, GRAIN = 64 };

/* What lies in a block that came back. */
struct returned {
    struct returned *next;
    size_t size;
};

static _Alignas(4096) uint8_t pool[POOL];
static size_t front, used, peak;
static struct returned *list;

static size_t rounded(size_t size)
{
    return (size + GRAIN - 1) & ~(size_t)(GRAIN - 1);
}

static void *take_returned(size_t size, size_t align)
{
    for (struct returned **at = &list; *at != NULL; at = &(*at)->next) {
        struct returned *found = *at;

        if (found->size == size && ((uintptr_t)found & (align - 1)) == 0) {
            *at = found->next;
            return found;
        }
    }
    return NULL;
}

static void *take_front(size_t size, size_t align)
{
    size_t at = ((uintptr_t)pool + front + align - 1) & ~(align - 1);

    at -= (uintptr_t)pool;
    if (!vio_range_ok(at, size, POOL))
        return NULL;
    front = at + size;
    return pool + at;
}

static void *take(size_t size, size_t align)
{
    void *mem;

    if (size == 0 || size > POOL)
        return NULL;
    size = rounded(size);
    align = align < GRAIN ? GRAIN : align;
    mem = take_returned(size, align);
    if (mem == NULL)
        mem = take_front(size, align);
    if (mem == NULL)
        return NULL;
    used += size;
    peak = used > peak ? used : peak;
    return memset(mem, 0, size);
}

static void give(void *mem, size_t size)
{
    struct returned *back = mem;

    if (mem == NULL)
        return;
    size = rounded(size);
    used -= size;
    *back = (struct returned){ list, size };
    list = back;
}

size_t memory_used(void)
{
    return used;
}

size_t memory_peak(void)
{
    return peak;
}

/* ------------------------------------------------------------------ as vio wants it */

static void *dma_alloc(void *ctx, size_t size, size_t align, uint64_t *addr)
{
    void *mem = take(size, align);

    (void)ctx;
    *addr = (uintptr_t)mem;
    return mem;
}

static void dma_free(void *ctx, void *host, size_t size, uint64_t addr)
{
    (void)ctx;
    (void)addr;
    give(host, size);
}

static void *private_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return take(size, GRAIN);
}

static void private_free(void *ctx, void *mem, size_t size)
{
    (void)ctx;
    give(mem, size);
}

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return machine_now_ns();
}

static void relax(void *ctx)
{
    (void)ctx;
    machine_pause();
}

static void log_line(void *ctx, int level, const char *name, const char *text)
{
    (void)ctx;
    (level == VIO_LOG_ERROR ? problem : say)(name, "%s", text);
}

/*
 * No `map`: what devices reach comes from the pool. No `io_barrier`: memory is coherent with these machines' devices, and the
 * fence that vio makes before a register (vio/io.h) is all that it takes. Where devices do not see the CPU's caches, dma_alloc
 * is what has to give memory that is not cached.
 */
const struct vio_platform *memory_platform(void)
{
    static const struct vio_platform platform = {
        .dma_alloc = dma_alloc, .dma_free = dma_free, .alloc = private_alloc, .free = private_free,
        .now_ns = now_ns, .pause = relax, .say = log_line,
    };

    return &platform;
}
