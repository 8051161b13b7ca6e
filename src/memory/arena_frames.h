/* SPDX-License-Identifier: MIT */
/*
 * Purpose: where the pages of a physical arena are: what Linux says of them, as runs of contiguous ones.
 * Where it sits: memory/, private, hosted. Tests put another source of addresses in.
 */
#ifndef VIO_MEMORY_ARENA_FRAMES_H
#define VIO_MEMORY_ARENA_FRAMES_H

#include <vio/arena.h>

enum { ARENA_HUGE_PAGE = 2 << 20 };

/* Offsets [at, at + size) of an arena are at [addr, addr + size) for a device. */
struct arena_run {
    uint64_t at, size, addr;
};

struct arena_frames {
    /* The physical addresses of n huge pages from host, all of them present. -EPERM: they are not told. */
    int (*read)(void *ctx, const uint8_t *host, uint64_t n, uint64_t *addr);
    void *ctx;
    bool small; /* a test's memory need not be on huge pages */
};

extern const struct arena_frames arena_frames_of_linux; /* /proc/self/pagemap */

/*
 * Orders the pages of the file that is mapped at host by their addresses, so that what is contiguous physically is so here too,
 * and makes the runs; free() them. 0 or -errno.
 */
int arena_frames_runs(const struct arena_frames *frames, int fd, uint8_t *host, uint64_t size, struct arena_run **runs,
                      uint64_t *nr) VIO_MUST_CHECK;

/* vio_arena_create(), with this source. */
int arena_create(const struct vio_arena_params *params, const struct arena_frames *frames, struct vio_arena **out) VIO_MUST_CHECK;

#endif
