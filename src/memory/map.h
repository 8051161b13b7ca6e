/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the table that turns device addresses into host memory, and the marks for written pages.
 * Where it sits: memory/, freestanding; the only path from an address in a descriptor to a pointer.
 * Threads: read-only while queues run; changed while they are parked. The dirty bits are set by atomic OR.
 */
#ifndef VIO_MEMORY_MAP_H
#define VIO_MEMORY_MAP_H

#include <vio/memory.h>
#include <vio/types.h>

/* Device addresses [start, last], backed by host memory at host_. Sorted by start, never overlapping. */
struct vio_span {
    uint64_t start;
    uint64_t last;
    uint8_t *host_;
    uint64_t gpa; /* guest-physical address of start, for the dirty log */
    uint64_t uva; /* the front-end's address of start */
    unsigned access;
};

struct vio_dirty {
    uint8_t *bits_;
    uint64_t bytes; /* of the bitmap */
    bool on;
};

struct vio_map {
    const struct vio_span *span; /* what descriptors are translated with: regions, or IOMMU mappings */
    uint32_t nr;
    bool iotlb;                     /* span[] are IOMMU mappings: a gap is a miss, not a fault */
    const struct vio_span *region;  /* always the regions, by guest-physical address */
    uint32_t nr_region;
    struct vio_dirty dirty;
};

/* A span that contains no address: start > last. */
#define VIO_SPAN_NONE ((struct vio_span){ .start = 1, .last = 0 })

static inline bool vio_span_has(const struct vio_span *s, uint64_t addr)
{
    /* For VIO_SPAN_NONE last - start wraps to the largest number, hence the second test. */
    return addr - s->start <= s->last - s->start && s->start <= s->last;
}

/* The last span of an array of nr sorted ones that starts at or before addr; NULL: none does. O(log nr). */
const struct vio_span *vio_span_search(const struct vio_span *span, uint32_t nr, uint64_t addr);

/*
 * The host bytes at addr: *len is cut to what is contiguous in one span. *cache is the caller's, by value: a place
 * found last. NULL: not mapped. The access rights are in cache->access.
 */
static inline uint8_t *vio_map_at(const struct vio_map *map, struct vio_span *cache, uint64_t addr, uint64_t *len)
{
    if (__builtin_expect(!vio_span_has(cache, addr), 0)) {
        const struct vio_span *s = vio_span_search(map->span, map->nr, addr);

        if (s == NULL || addr > s->last)
            return NULL;
        *cache = *s;
    }
    if (*len - 1 > cache->last - addr)
        *len = cache->last - addr + 1;
    return cache->host_ + (addr - cache->start);
}

/* [addr, addr + len) as one contiguous piece with these rights, or NULL. */
uint8_t *vio_map_range(const struct vio_map *map, uint64_t addr, uint64_t len, unsigned access);

/* Marks the pages of [gpa, gpa + len); nothing where the log is off. */
void vio_dirty_mark(const struct vio_map *map, uint64_t gpa, uint64_t len);
/* The same for bytes given by where they lie in the host. */
void vio_dirty_mark_host(const struct vio_map *map, const void *host, uint64_t len);

#endif
