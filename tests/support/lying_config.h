/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a fake transport whose device's configuration reads otherwise than it is, where a test wants that. One at a time:
 * what a transport's table is given has nothing of the test's. Where it sits: tests/, header only.
 */
#ifndef VIO_TESTS_LYING_CONFIG_H
#define VIO_TESTS_LYING_CONFIG_H

#include <string.h>

#include "fake_transport.h"

/* `lie` is read where a byte of `mask` is set; both borrowed. */
static struct {
    const uint8_t *lie, *mask;
    size_t bytes;
    int (*truth)(struct vio_transport *t, uint32_t offset, void *to, uint32_t len);
} lying;

static int lying_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    int error = lying.truth(t, offset, to, len);

    for (uint32_t i = 0; error == 0 && i < len && offset + i < lying.bytes; i++)
        if (lying.mask[offset + i] != 0)
            ((uint8_t *)to)[i] = lying.lie[offset + i];
    return error;
}

static inline void lying_config(struct fake *f, const void *lie, const void *mask, size_t bytes)
{
    lying.lie = lie;
    lying.mask = mask;
    lying.bytes = bytes;
    lying.truth = f->ops.config_read;
    f->ops.config_read = lying_read;
}

/* b: has `lie` and `lie_mask`. */
#define LIE(b, field, value)                                                             \
    do {                                                                                 \
        memset(&(b)->lie_mask.field, 0xff, sizeof((b)->lie_mask.field));                 \
        (b)->lie.field = (value);                                                        \
    } while (0)

#endif
