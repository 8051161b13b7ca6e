/* SPDX-License-Identifier: MIT */
/* Purpose: what memory.c and iotlb.c share. */
#ifndef VIO_MEMORY_INTERNAL_H
#define VIO_MEMORY_INTERNAL_H

#include "memory/map.h"

/* How a region's bytes came here, beside its span of the same index. */
struct vio_mapping {
    void *base;   /* what munmap wants; NULL: the caller's memory */
    size_t bytes;
};

struct vio_memory {
    struct vio_map map;
    struct vio_span *region; /* by guest-physical address */
    struct vio_mapping *mapping;
    uint32_t nr_region;
    struct vio_span *iotlb; /* by I/O virtual address */
    uint32_t nr_iotlb, room_iotlb;
    void *log_base;
    size_t log_bytes;
};

/* Lets map.span follow the arrays after any change. */
void vio_memory_refresh_(struct vio_memory *memory);

#endif
