/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the physical addresses of huge pages, for devices that no IOMMU stands before. Where it sits: memory/, hosted.
 * Threads: the creating one. Trust: the kernel's word, checked for its form: an address that is none would let a device write
 * over somebody else's memory.
 */
#include "memory/arena_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_FRAME ((UINT64_C(1) << 55) - 1)

/* One entry of 8 bytes a small page; a huge page's first tells where all of it is. */
static int read_pagemap(void *ctx, const uint8_t *host, uint64_t n, uint64_t *addr)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), entry;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), error = 0;

    (void)ctx;
    if (fd < 0)
        return -errno;
    for (uint64_t i = 0; error == 0 && i < n; i++) {
        uint64_t at = ((uintptr_t)host + i * ARENA_HUGE_PAGE) / page * sizeof(entry);

        if (pread(fd, &entry, sizeof(entry), (off_t)at) != (ssize_t)sizeof(entry))
            error = -EIO;
        else if ((entry & PAGEMAP_PRESENT) == 0)
            error = -EFAULT;
        else if ((entry & PAGEMAP_FRAME) == 0)
            error = -EPERM; /* shown as 0 to who may not know */
        else
            addr[i] = (entry & PAGEMAP_FRAME) * page;
    }
    close(fd);
    return error;
}

const struct arena_frames arena_frames_of_linux = { .read = read_pagemap };

struct frame {
    uint64_t addr, page; /* page: its place in the file */
};

static int by_addr(const void *a, const void *b)
{
    const struct frame *x = a, *y = b;

    return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int read_frames(const struct arena_frames *frames, const uint8_t *host, uint64_t n, struct frame *out)
{
    uint64_t *addr = calloc(n, sizeof(*addr));
    int error = addr != NULL ? frames->read(frames->ctx, host, n, addr) : -ENOMEM;

    for (uint64_t i = 0; error == 0 && i < n; i++) {
        out[i] = (struct frame){ .addr = addr[i], .page = i };
        if (addr[i] == 0 || addr[i] % ARENA_HUGE_PAGE != 0 || addr[i] > UINT64_MAX - ARENA_HUGE_PAGE)
            error = -EFAULT;
    }
    free(addr);
    return error;
}

/* The pages stay where they are in memory; only where they are mapped changes. */
static int reorder(const struct frame *f, uint64_t n, int fd, uint8_t *host)
{
    for (uint64_t i = 0; i < n; i++) {
        if (mmap(host + i * ARENA_HUGE_PAGE, ARENA_HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd,
                 (off_t)(f[i].page * ARENA_HUGE_PAGE)) == MAP_FAILED)
            return -errno;
    }
    return 0;
}

static int join(const struct frame *f, uint64_t n, struct arena_run *runs, uint64_t *nr)
{
    *nr = 0;
    for (uint64_t i = 0; i < n; i++) {
        struct arena_run *last = *nr > 0 ? &runs[*nr - 1] : NULL;

        if (last != NULL && f[i].addr < last->addr + last->size)
            return -EFAULT; /* two pages in one place */
        if (last != NULL && f[i].addr == last->addr + last->size)
            last->size += ARENA_HUGE_PAGE;
        else
            runs[(*nr)++] = (struct arena_run){ .at = i * ARENA_HUGE_PAGE, .size = ARENA_HUGE_PAGE, .addr = f[i].addr };
    }
    return 0;
}

int arena_frames_runs(const struct arena_frames *frames, int fd, uint8_t *host, uint64_t size, struct arena_run **runs,
                      uint64_t *nr)
{
    uint64_t n = size / ARENA_HUGE_PAGE;
    struct frame *f = calloc(n, sizeof(*f));
    int error;

    *runs = calloc(n, sizeof(**runs));
    error = f != NULL && *runs != NULL ? read_frames(frames, host, n, f) : -ENOMEM;
    if (error == 0) {
        qsort(f, n, sizeof(*f), by_addr);
        error = join(f, n, *runs, nr);
    }
    if (error == 0)
        error = reorder(f, n, fd, host);
    free(f);
    if (error != 0) {
        free(*runs);
        *runs = NULL;
    }
    return error;
}
