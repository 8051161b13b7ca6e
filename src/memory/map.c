/* SPDX-License-Identifier: MIT */
/* Purpose: finding addresses in a map and marking written pages; see map.h. Freestanding. */
#include "memory/map.h"
#include "memory/shm.h"

enum { DIRTY_PAGE_SHIFT = 12 }; /* vhost's log: one bit for 4096 bytes */

const struct vio_span *vio_span_search(const struct vio_span *span, uint32_t nr, uint64_t addr)
{
    const struct vio_span *base = span;

    if (nr == 0)
        return NULL;
    while (nr > 1) {
        uint32_t half = nr / 2;

        /* A conditional move, not a branch: the outcome is as good as random. */
        base = base[half].start <= addr ? base + half : base;
        nr -= half;
    }
    return base->start <= addr ? base : NULL;
}

uint8_t *vio_map_range(const struct vio_map *map, uint64_t addr, uint64_t len, unsigned access)
{
    struct vio_span cache = VIO_SPAN_NONE;
    uint64_t got = len;
    uint8_t *host;

    if (len == 0)
        return NULL;
    host = vio_map_at(map, &cache, addr, &got);
    if (host == NULL || got != len || (cache.access & access) != access)
        return NULL;
    return host;
}

void vio_dirty_mark(const struct vio_map *map, uint64_t gpa, uint64_t len)
{
    const struct vio_dirty *dirty = &map->dirty;
    uint64_t page, last;

    if (!dirty->on || dirty->bits_ == NULL || len == 0 || gpa + (len - 1) < gpa)
        return;
    /*
     * What was written must be visible before we look whether its page is marked: whoever clears the mark and copies
     * the page between the two would else copy it without our bytes, and we would not mark it again.
     */
    vio_shm_full_barrier();
    last = (gpa + (len - 1)) >> DIRTY_PAGE_SHIFT;
    for (page = gpa >> DIRTY_PAGE_SHIFT; page <= last; page++) {
        uint8_t *byte;
        uint8_t bit = (uint8_t)(1u << (page % 8));

        if (page / 8 >= dirty->bytes)
            return;
        byte = dirty->bits_ + page / 8;
        /* Most pages are dirty already: a load spares the locked instruction. */
        if ((__atomic_load_n(byte, __ATOMIC_RELAXED) & bit) == 0)
            __atomic_fetch_or(byte, bit, __ATOMIC_RELEASE);
    }
}

void vio_dirty_mark_host(const struct vio_map *map, const void *host, uint64_t len)
{
    uintptr_t at = (uintptr_t)host;

    if (!map->dirty.on)
        return;
    for (uint32_t i = 0; i < map->nr_region; i++) {
        const struct vio_span *s = &map->region[i];
        uintptr_t base = (uintptr_t)s->host_;

        if (at >= base && at - base <= s->last - s->start) {
            vio_dirty_mark(map, s->gpa + (at - base), len);
            return;
        }
    }
}
