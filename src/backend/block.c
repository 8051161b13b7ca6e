/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what every block backend needs once: closing, the check of a size.
 * Where it sits: backend/. Threads: no state here.
 */
#include "backend/backend.h"

#include <inttypes.h>

void vio_block_close(struct vio_block_backend *b)
{
    if (b)
        b->ops->destroy(b);
}

int vio_backend_check_size(uint64_t size, const char *what, char *why, size_t why_size)
{
    uint64_t below = size / VIO_SECTOR * VIO_SECTOR;

    if (size > INT64_MAX - VIO_SECTOR)
        return vio_why(-EINVAL, why, why_size, "%s cannot have %" PRIu64 " bytes: files end at 2^63", what,
                       size);
    if (size == 0)
        return vio_why(-EINVAL, why, why_size, "%s is empty: a disk has at least one sector of 512 bytes",
                       what);
    if (below == size)
        return 0;
    if (below == 0)
        return vio_why(-EINVAL, why, why_size,
                       "%s has %" PRIu64 " bytes, not whole 512-byte sectors; 512 would do", what, size);
    return vio_why(-EINVAL, why, why_size,
                   "%s has %" PRIu64 " bytes, not whole 512-byte sectors; the nearest good sizes are %" PRIu64
                   " and %" PRIu64, what, size, below, below + VIO_SECTOR);
}
