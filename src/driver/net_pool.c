/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a pool of equal buffers for frames, in one piece of memory that devices reach. Where it sits: driver/, freestanding.
 * Threads: one at a time; a pool for each owner of a queue. Trust: devices write into the buffers, never into what is
 * known of them.
 */
#include <errno.h>
#include "driver/net.h"

enum { LINE = 64, PIECE_MAX = UINT16_MAX + 1 - VIO_DRV_NET_HEADROOM - LINE };

struct vio_net_pool {
    const struct vio_platform *platform;
    struct vio_net_buf *all;
    struct vio_net_buf **free; /* a stack: what came back last is still in the cache */
    uint32_t count, nr_free;
    size_t mem_bytes, dma_bytes;
    uint8_t *dma;
    uint64_t addr;
};

static size_t up(size_t n)
{
    return (n + LINE - 1) & ~(size_t)(LINE - 1);
}

int vio_net_pool_create(const struct vio_platform *platform, uint32_t count, uint32_t size, struct vio_net_pool **out)
{
    size_t head = up(sizeof(struct vio_net_pool)), stride = up(VIO_DRV_NET_HEADROOM + (size_t)size), bytes;
    struct vio_net_pool *p;

    if (count == 0 || count > 1u << 20 || size == 0 || size > PIECE_MAX)
        return -EINVAL;
    /* An odd number of lines, so that the buffers' first lines spread over the sets of a cache. */
    stride |= LINE;
    bytes = head + up(count * sizeof(p->free[0])) + count * sizeof(p->all[0]);
    p = platform->alloc(platform->ctx, bytes);
    if (p == NULL)
        return -ENOMEM;
    p->platform = platform;
    p->mem_bytes = bytes;
    p->dma_bytes = count * stride;
    p->dma = platform->dma_alloc(platform->ctx, p->dma_bytes, LINE, &p->addr);
    if (p->dma == NULL) {
        platform->free(platform->ctx, p, bytes);
        return -ENOMEM;
    }
    p->free = (struct vio_net_buf **)(void *)((uint8_t *)p + head);
    p->all = (struct vio_net_buf *)(void *)((uint8_t *)p + bytes - count * sizeof(p->all[0]));
    p->count = p->nr_free = count;
    for (uint32_t i = 0; i < count; i++) {
        p->all[i].host = p->dma + i * stride;
        p->all[i].addr = p->addr + i * stride;
        p->all[i].size = (uint32_t)stride;
        p->all[i].offset = VIO_DRV_NET_HEADROOM;
        p->free[i] = &p->all[count - 1 - i];
    }
    *out = p;
    return 0;
}

void vio_net_pool_destroy(struct vio_net_pool *p)
{
    if (p == NULL)
        return;
    p->platform->dma_free(p->platform->ctx, p->dma, p->dma_bytes, p->addr);
    p->platform->free(p->platform->ctx, p, p->mem_bytes);
}

bool vio_net_pool_take(struct vio_net_pool *p, struct vio_net_buf **bufs, unsigned n)
{
    if (n > p->nr_free)
        return false;
    for (unsigned i = 0; i < n; i++) {
        struct vio_net_buf *b = p->free[--p->nr_free];

        b->next = NULL;
        b->pieces = 1;
        b->offset = VIO_DRV_NET_HEADROOM;
        b->offload = (struct vio_drv_net_offload){ 0 };
        bufs[i] = b;
    }
    return true;
}

void vio_net_pool_give(struct vio_net_pool *p, struct vio_net_buf *const *bufs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        for (struct vio_net_buf *b = bufs[i]; b != NULL && p->nr_free < p->count; b = b->next)
            p->free[p->nr_free++] = b;
    }
}

uint32_t vio_net_pool_free(const struct vio_net_pool *p)
{
    return p->nr_free;
}

struct vio_net_buf *vio_net_pool_at(struct vio_net_pool *p, uint32_t i)
{
    return i < p->count ? &p->all[i] : NULL;
}
