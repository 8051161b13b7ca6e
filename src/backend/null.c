/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the disk that does nothing: every request succeeds at once and reads leave the buffer as it was. What
 * is left to measure is the way to it. Where it sits: backend/. Threads: nothing changes after open.
 */
#include "backend/backend.h"

#include <stdlib.h>

struct null_backend {
    struct vio_block_backend head;
    uint64_t size;
    bool read_only;
};

struct null_channel {
    struct vio_block_channel head;
    uint64_t size;
    bool read_only;
};

static int null_info(struct vio_block_backend *b, struct vio_block_info *info)
{
    const struct null_backend *null = (const struct null_backend *)b;

    *info = (struct vio_block_info){
        .size = null->size,
        .logical_block = VIO_SECTOR,
        .physical_block = VIO_SECTOR,
        .discard_granularity = VIO_SECTOR,
        .read_only = null->read_only,
        .can_flush = true,
        .can_discard = !null->read_only,
        .can_zero = !null->read_only,
        .can_zero_unmap = !null->read_only,
        .can_secure_erase = !null->read_only,
        .can_fua = true,
    };
    return 0;
}

static int null_refresh(struct vio_block_backend *b)
{
    (void)b;
    return 0;
}

static void null_destroy(struct vio_block_backend *b)
{
    free(b);
}

static int null_open(struct vio_block_backend *b, unsigned depth, const struct vio_block_memory *memory,
                     struct vio_block_channel **out)
{
    const struct null_backend *null = (const struct null_backend *)b;
    struct null_channel *c = calloc(1, sizeof *c);

    (void)depth;
    (void)memory;
    if (!c)
        return -ENOMEM;
    *c = (struct null_channel){ .head.backend = b, .size = null->size, .read_only = null->read_only };
    *out = &c->head;
    return 0;
}

static void null_close(struct vio_block_channel *c)
{
    free(c);
}

static unsigned null_submit(struct vio_block_channel *channel, struct vio_block_io **io, unsigned n,
                            struct vio_block_io **done)
{
    const struct null_channel *c = (const struct null_channel *)channel;

    for (unsigned i = 0; i < n; i++) {
        io[i]->result = vio_backend_refuses(io[i], c->size, c->read_only);
        done[i] = io[i];
    }
    return n;
}

static unsigned null_reap(struct vio_block_channel *c, struct vio_block_io **done, unsigned max)
{
    (void)c;
    (void)done;
    (void)max;
    return 0;
}

static int null_fd(struct vio_block_channel *c)
{
    (void)c;
    return -1;
}

static const struct vio_block_ops null_ops = {
    .name = "null",
    .info = null_info,
    .refresh = null_refresh,
    .destroy = null_destroy,
    .open = null_open,
    .close = null_close,
    .submit = null_submit,
    .reap = null_reap,
    .fd = null_fd,
};

int vio_block_null_open(uint64_t size, bool read_only, struct vio_block_backend **out, char *why, size_t why_size)
{
    struct null_backend *null;
    int ret = vio_backend_check_size(size, "the null disk", why, why_size);

    if (ret < 0)
        return ret;
    null = calloc(1, sizeof *null);
    if (!null)
        return vio_why(-ENOMEM, why, why_size, "out of memory");
    *null = (struct null_backend){ .head.ops = &null_ops, .size = size, .read_only = read_only };
    *out = &null->head;
    return 0;
}
