/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver's memory as a device sees it: regions, IOMMU mappings, and the log of written pages.
 * Where it sits: memory/, the only room that holds host pointers to that memory.
 * Threads: a vio_memory is changed by one thread, and only while no queue that uses it runs (parked): the
 * device core does that. Translation is by the queues' owners and reads only.
 */
#ifndef VIO_MEMORY_H
#define VIO_MEMORY_H

#include <vio/types.h>

VIO_PUBLIC_BEGIN

enum { VIO_MEMORY_REGIONS_MAX = 1024, VIO_MEMORY_IOTLB_MAX = 65536 };

enum vio_access { VIO_ACCESS_READ = 1, VIO_ACCESS_WRITE = 2, VIO_ACCESS_BOTH = 3 };

struct vio_memory;

/* One region in the three address spaces it stands in; sizes in bytes. */
struct vio_memory_region {
    uint64_t gpa;
    uint64_t size;
    uint64_t uva; /* where the front-end maps it; equal to gpa where there is no front-end */
};

int vio_memory_create(struct vio_memory **out) VIO_MUST_CHECK;
void vio_memory_destroy(struct vio_memory *memory); /* NULL is fine; unmaps everything */

/*
 * Maps `region` from `fd` (borrowed) at `fd_offset`, read and write, shared.
 * -EINVAL: empty or wrapping; -EEXIST: overlaps a region, in either address space; -ENOSPC: too many;
 * -ENXIO: the file is shorter than the region; or mmap's errno.
 */
int vio_memory_add(struct vio_memory *memory, const struct vio_memory_region *region, int fd, uint64_t fd_offset)
    VIO_MUST_CHECK;
/* The same for memory the caller has mapped at `host` (borrowed until removed). */
int vio_memory_add_host(struct vio_memory *memory, const struct vio_memory_region *region, void *host)
    VIO_MUST_CHECK;
/* -ENOENT where no region has exactly this gpa, size and uva. */
int vio_memory_remove(struct vio_memory *memory, const struct vio_memory_region *region) VIO_MUST_CHECK;
void vio_memory_clear(struct vio_memory *memory); /* all regions and IOMMU mappings; the log stays */

unsigned vio_memory_regions(const struct vio_memory *memory);
/* Regions in gpa order: i < vio_memory_regions(). host may be NULL if not wanted. */
void vio_memory_region_at(const struct vio_memory *memory, unsigned i, struct vio_memory_region *region, void **host);

/* Front-end address to guest-physical address: -EFAULT where [uva, uva + len) is not in one region. */
int vio_memory_uva_to_gpa(const struct vio_memory *memory, uint64_t uva, uint64_t len, uint64_t *gpa)
    VIO_MUST_CHECK;

/*
 * ACCESS_PLATFORM (virtio 1.4, 6): while on, queues translate I/O virtual addresses through mappings that the
 * front-end sends. update replaces what it overlaps. -ENOSPC past VIO_MEMORY_IOTLB_MAX.
 */
void vio_memory_iotlb_enable(struct vio_memory *memory, bool on);
bool vio_memory_iotlb_enabled(const struct vio_memory *memory);
int vio_memory_iotlb_update(struct vio_memory *memory, uint64_t iova, uint64_t size, uint64_t uva,
                            enum vio_access access) VIO_MUST_CHECK;
int vio_memory_iotlb_invalidate(struct vio_memory *memory, uint64_t iova, uint64_t size) VIO_MUST_CHECK;

/*
 * The dirty log: one bit for each 4096-byte page of guest-physical memory, set by atomic OR; `fd` (borrowed)
 * holds `size` bytes at `offset`. A write beyond the log is not marked. Turn it on only while no request is in
 * flight (vio_device_memory_begin with drain): a request remembers where it may write from when it is taken.
 */
int vio_memory_log_set(struct vio_memory *memory, int fd, uint64_t offset, uint64_t size) VIO_MUST_CHECK;
void vio_memory_log_enable(struct vio_memory *memory, bool on);

/*
 * Bytes for tests, tools and rings in foreign hands: copy out of or into memory at a guest-physical address
 * (I/O virtual with the IOTLB on). -EFAULT where any byte is not there; then nothing was copied. Writes are logged.
 */
int vio_memory_read(const struct vio_memory *memory, vio_gpa from, void *to, size_t len) VIO_MUST_CHECK;
int vio_memory_write(const struct vio_memory *memory, vio_gpa to, const void *from, size_t len) VIO_MUST_CHECK;

/* What a queue translates with; valid as long as memory, frozen while a queue that uses it runs. */
struct vio_map;
const struct vio_map *vio_memory_map(const struct vio_memory *memory);

VIO_PUBLIC_END

#endif
