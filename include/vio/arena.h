/* SPDX-License-Identifier: MIT */
/*
 * Purpose: memory for drivers in user space, in one memfd that can be shared with a device: by vhost-user, by VFIO, by
 * vhost in the kernel. Where it sits: memory/; hosted.
 * Threads: the calls of its platform table may come from any thread. Trust: the device writes here whatever it likes, and
 * nowhere else.
 */
#ifndef VIO_ARENA_H
#define VIO_ARENA_H

#include <vio/log.h>
#include <vio/platform.h>

VIO_PUBLIC_BEGIN

struct vio_arena;

struct vio_arena_params {
    uint64_t size;     /* bytes that can be given out in all; in whole pages; taken from the system as they are used */
    bool small_pages;  /* do not look for huge pages */
    bool populate;     /* take all pages now, so that no fault hits the data path */
    /*
     * Device addresses are physical ones, for devices that no IOMMU stands before: on huge pages only, all taken now and locked;
     * each piece that is given out is contiguous physically too. -EPERM: needs CAP_SYS_ADMIN (/proc/self/pagemap); -ENOMEM: not
     * so many free 2 MiB pages (vm.nr_hugepages). It cannot be shared by vhost-user: region.fd is -1.
     */
    bool physical;
    /* The device address of its first byte; 0: one that is no host address, so that a mix-up fails at once. Not with physical. */
    uint64_t base;
    const struct vio_log *log; /* where the platform's `say` goes; may be NULL */
};

int vio_arena_create(const struct vio_arena_params *params, struct vio_arena **out) VIO_MUST_CHECK;
void vio_arena_destroy(struct vio_arena *a); /* NULL is fine */
/* dma_alloc, alloc, time, log. Valid as long as the arena. map: memory of the arena itself only. */
const struct vio_platform *vio_arena_platform(struct vio_arena *a);

/* The whole of it, as a transport shares it. */
struct vio_arena_region {
    int fd;        /* -1: physical */
    void *host;
    uint64_t addr; /* where devices see its first byte */
    uint64_t size;
    bool huge;     /* on 2 MiB pages of the hugetlb pool */
    bool physical;
};
struct vio_arena_region vio_arena_region(const struct vio_arena *a);
/* The parts of it that are contiguous for a device, i from 0; false: no more. One, where it is not physical. */
bool vio_arena_part(const struct vio_arena *a, unsigned i, struct vio_arena_region *part);

VIO_PUBLIC_END

#endif
