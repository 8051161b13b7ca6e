/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the block backends share among themselves.
 * Where it sits: backend/, above base/ only. Threads: these functions keep no state.
 * Trust: offsets and lengths come from a driver by way of the device, which checked them against the size it
 * knew; the file behind may have changed since, so every backend asks vio_backend_refuses() again.
 */
#ifndef VIO_BACKEND_H
#define VIO_BACKEND_H

#include <errno.h>
#include <string.h>
#include <vio/block.h>
#include "base/why.h"

#define VIO_SECTOR 512u

/* The head of every channel. */
struct vio_block_channel {
    struct vio_block_backend *backend;
};

/*
 * 0, or -EINVAL with the nearest good sizes in why, where size is not one or more whole 512-byte sectors.
 * what: "the RAM disk", "disk.img".
 */
int vio_backend_check_size(uint64_t size, const char *what, char *why, size_t why_size) VIO_MUST_CHECK;

/* 0, or the -errno that io must end with where it does not fit a backend of this size and mode. */
static inline int vio_backend_refuses(const struct vio_block_io *io, uint64_t size, bool read_only)
{
    if (io->op == VIO_BLOCK_FLUSH)
        return 0;
    if (!vio_range_ok(io->offset, io->length, size))
        return -EIO;
    if (read_only && io->op != VIO_BLOCK_READ)
        return -EROFS;
    return 0;
}

/* Copies a read or a write that fits between its segments and a disk that lies in memory. */
static inline void vio_backend_copy(const struct vio_block_io *io, unsigned char *disk)
{
    unsigned char *at = disk + io->offset;

    for (uint32_t i = 0; i < io->nr_seg; at += io->seg[i].len, i++) {
        if (io->op == VIO_BLOCK_READ)
            memcpy(io->seg[i].base, at, io->seg[i].len);
        else
            memcpy(at, io->seg[i].base, io->seg[i].len);
    }
}

/* How much of the next request is asked for while one is copied: enough to start the hardware's streams. */
#define VIO_BACKEND_PREFETCH_LINES 16
#define VIO_BACKEND_LINE 64

/*
 * The next request's place on the disk comes while this one is copied, and of the guest's buffer, which is more likely in
 * some cache, the first line. A prefetch of any address is harmless.
 */
static inline void vio_backend_prefetch(const struct vio_block_io *io, const unsigned char *disk)
{
    const char *place = (const char *)disk + io->offset;

    if (io->op > VIO_BLOCK_WRITE || !io->nr_seg)
        return;
    if (io->op == VIO_BLOCK_READ) {
        __builtin_prefetch(io->seg[0].base, 1);
        for (int i = 0; i < VIO_BACKEND_PREFETCH_LINES; i++)
            __builtin_prefetch(place + i * VIO_BACKEND_LINE, 0);
    } else {
        __builtin_prefetch(io->seg[0].base, 0);
        for (int i = 0; i < VIO_BACKEND_PREFETCH_LINES; i++)
            __builtin_prefetch(place + i * VIO_BACKEND_LINE, 1);
    }
}

#endif
