/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the regions of the driver's memory and the dirty log; see vio/memory.h.
 * Trust: regions come from a peer: every size is checked against the file and for overlap before it is mapped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/memory_internal.h"

int vio_memory_create(struct vio_memory **out)
{
    struct vio_memory *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return -ENOMEM;
    *out = m;
    return 0;
}

static void log_unmap(struct vio_memory *m)
{
    if (m->log_base != NULL)
        munmap(m->log_base, m->log_bytes);
    m->log_base = NULL;
    m->log_bytes = 0;
    m->map.dirty.bits_ = NULL;
    m->map.dirty.bytes = 0;
}

void vio_memory_destroy(struct vio_memory *m)
{
    if (m == NULL)
        return;
    vio_memory_clear(m);
    log_unmap(m);
    free(m);
}

void vio_memory_refresh_(struct vio_memory *m)
{
    m->map.region = m->region;
    m->map.nr_region = m->nr_region;
    m->map.span = m->map.iotlb ? m->iotlb : m->region;
    m->map.nr = m->map.iotlb ? m->nr_iotlb : m->nr_region;
}

static void mapping_free(struct vio_mapping *mapping)
{
    if (mapping->base != NULL)
        munmap(mapping->base, mapping->bytes);
}

void vio_memory_clear(struct vio_memory *m)
{
    for (uint32_t i = 0; i < m->nr_region; i++)
        mapping_free(&m->mapping[i]);
    free(m->region);
    free(m->mapping);
    free(m->iotlb);
    m->region = NULL;
    m->mapping = NULL;
    m->iotlb = NULL;
    m->nr_region = 0;
    m->nr_iotlb = 0;
    m->room_iotlb = 0;
    vio_memory_refresh_(m);
}

static bool ranges_overlap(uint64_t a, uint64_t a_last, uint64_t b, uint64_t b_last)
{
    return a <= b_last && b <= a_last;
}

static int region_check(const struct vio_memory *m, const struct vio_memory_region *r)
{
    uint64_t gpa_last, uva_last;

    if (r->size == 0 || !vio_add_u64(r->gpa, r->size - 1, &gpa_last) || !vio_add_u64(r->uva, r->size - 1, &uva_last))
        return -EINVAL;
    if (m->nr_region >= VIO_MEMORY_REGIONS_MAX)
        return -ENOSPC;
    for (uint32_t i = 0; i < m->nr_region; i++) {
        const struct vio_span *s = &m->region[i];

        if (ranges_overlap(r->gpa, gpa_last, s->start, s->last) ||
            ranges_overlap(r->uva, uva_last, s->uva, s->uva + (s->last - s->start)))
            return -EEXIST;
    }
    return 0;
}

/* Keeps both arrays sorted by guest-physical address. */
static int region_insert(struct vio_memory *m, const struct vio_memory_region *r, void *host, struct vio_mapping mapping)
{
    struct vio_span *region = reallocarray(m->region, m->nr_region + 1, sizeof(*region));
    struct vio_mapping *mappings;
    uint32_t at = 0;

    if (region == NULL)
        return -ENOMEM;
    m->region = region;
    mappings = reallocarray(m->mapping, m->nr_region + 1, sizeof(*mappings));
    vio_memory_refresh_(m);
    if (mappings == NULL)
        return -ENOMEM;
    m->mapping = mappings;
    while (at < m->nr_region && region[at].start < r->gpa)
        at++;
    memmove(&region[at + 1], &region[at], (m->nr_region - at) * sizeof(*region));
    memmove(&mappings[at + 1], &mappings[at], (m->nr_region - at) * sizeof(*mappings));
    region[at] = (struct vio_span){
        .start = r->gpa,
        .last = r->gpa + (r->size - 1),
        .host_ = host,
        .gpa = r->gpa,
        .uva = r->uva,
        .access = VIO_ACCESS_BOTH,
    };
    mappings[at] = mapping;
    m->nr_region++;
    vio_memory_refresh_(m);
    return 0;
}

/* mmap wants whole pages, and whole huge pages of a file on hugetlbfs; a region may start and end anywhere. */
static int map_file(int fd, uint64_t offset, uint64_t size, void **host, struct vio_mapping *mapping)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), skip, bytes;
    struct stat st;
    void *base;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (S_ISREG(st.st_mode)) {
        if (st.st_size < 0 || !vio_range_ok(offset, size, (uint64_t)st.st_size))
            return -ENXIO;
        if ((uint64_t)st.st_blksize > page && (st.st_blksize & (st.st_blksize - 1)) == 0)
            page = (uint64_t)st.st_blksize;
    }
    skip = offset & (page - 1);
    if (!vio_add_u64(size, skip, &bytes) || !vio_add_u64(bytes, page - 1, &bytes) || (off_t)(offset - skip) < 0)
        return -EINVAL;
    bytes &= ~(page - 1);
    base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)(offset - skip));
    if (base == MAP_FAILED)
        return -errno;
    /* The guest's memory does not belong into our core files; where the kernel can't do that, it is no harm. */
    (void)madvise(base, bytes, MADV_DONTDUMP);
    *host = (uint8_t *)base + skip;
    *mapping = (struct vio_mapping){ .base = base, .bytes = bytes };
    return 0;
}

int vio_memory_add(struct vio_memory *m, const struct vio_memory_region *r, int fd, uint64_t fd_offset)
{
    struct vio_mapping mapping;
    void *host;
    int err = region_check(m, r);

    if (err != 0)
        return err;
    err = map_file(fd, fd_offset, r->size, &host, &mapping);
    if (err != 0)
        return err;
    err = region_insert(m, r, host, mapping);
    if (err != 0)
        mapping_free(&mapping);
    return err;
}

int vio_memory_add_host(struct vio_memory *m, const struct vio_memory_region *r, void *host)
{
    int err = region_check(m, r);

    if (err != 0)
        return err;
    return region_insert(m, r, host, (struct vio_mapping){ NULL, 0 });
}

/* IOMMU mappings that pointed into a region end with it. */
static void iotlb_forget(struct vio_memory *m, const struct vio_span *gone)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < m->nr_iotlb; i++) {
        if (m->iotlb[i].gpa < gone->gpa || m->iotlb[i].gpa - gone->gpa > gone->last - gone->start)
            m->iotlb[kept++] = m->iotlb[i];
    }
    m->nr_iotlb = kept;
}

int vio_memory_remove(struct vio_memory *m, const struct vio_memory_region *r)
{
    for (uint32_t i = 0; i < m->nr_region; i++) {
        struct vio_span *s = &m->region[i];

        if (s->start != r->gpa || s->uva != r->uva || s->last - s->start != r->size - 1)
            continue;
        iotlb_forget(m, s);
        mapping_free(&m->mapping[i]);
        m->nr_region--;
        memmove(s, s + 1, (m->nr_region - i) * sizeof(*s));
        memmove(&m->mapping[i], &m->mapping[i + 1], (m->nr_region - i) * sizeof(m->mapping[0]));
        vio_memory_refresh_(m);
        return 0;
    }
    return -ENOENT;
}

unsigned vio_memory_regions(const struct vio_memory *m)
{
    return m->nr_region;
}

void vio_memory_region_at(const struct vio_memory *m, unsigned i, struct vio_memory_region *r, void **host)
{
    const struct vio_span *s = &m->region[i];

    *r = (struct vio_memory_region){ .gpa = s->start, .size = s->last - s->start + 1, .uva = s->uva };
    if (host != NULL)
        *host = s->host_;
}

int vio_memory_uva_to_gpa(const struct vio_memory *m, uint64_t uva, uint64_t len, uint64_t *gpa)
{
    for (uint32_t i = 0; i < m->nr_region; i++) {
        const struct vio_span *s = &m->region[i];
        uint64_t size = s->last - s->start + 1;

        if (uva >= s->uva && vio_range_ok(uva - s->uva, len, size)) {
            *gpa = s->gpa + (uva - s->uva);
            return 0;
        }
    }
    return -EFAULT;
}

int vio_memory_log_set(struct vio_memory *m, int fd, uint64_t offset, uint64_t size)
{
    struct vio_mapping mapping;
    void *host;
    int err;

    if (size == 0)
        return -EINVAL;
    err = map_file(fd, offset, size, &host, &mapping);
    if (err != 0)
        return err;
    log_unmap(m);
    m->log_base = mapping.base;
    m->log_bytes = mapping.bytes;
    m->map.dirty.bits_ = host;
    m->map.dirty.bytes = size;
    return 0;
}

void vio_memory_log_enable(struct vio_memory *m, bool on)
{
    m->map.dirty.on = on;
}

const struct vio_map *vio_memory_map(const struct vio_memory *m)
{
    return &m->map;
}

/* Walks [at, at + len) piece by piece; write says which way the bytes go. NULL bytes: only look. */
static int copy(const struct vio_memory *m, uint64_t at, uint8_t *bytes, size_t len, bool write)
{
    unsigned need = write ? VIO_ACCESS_WRITE : VIO_ACCESS_READ;
    struct vio_span cache = VIO_SPAN_NONE;

    while (len > 0) {
        uint64_t n = len;
        uint8_t *host = vio_map_at(&m->map, &cache, at, &n);

        if (host == NULL || (cache.access & need) == 0)
            return -EFAULT;
        if (bytes != NULL) {
            memcpy(write ? host : bytes, write ? bytes : host, n);
            if (write)
                vio_dirty_mark(&m->map, cache.gpa + (at - cache.start), n);
            bytes += n;
        }
        len -= n;
        if (len > 0 && !vio_add_u64(at, n, &at))
            return -EFAULT;
    }
    return 0;
}

int vio_memory_read(const struct vio_memory *m, vio_gpa from, void *to, size_t len)
{
    int err = copy(m, vio_gpa_raw(from), NULL, len, false);

    return err != 0 ? err : copy(m, vio_gpa_raw(from), to, len, false);
}

int vio_memory_write(const struct vio_memory *m, vio_gpa to, const void *from, size_t len)
{
    int err = copy(m, vio_gpa_raw(to), NULL, len, true);

    return err != 0 ? err : copy(m, vio_gpa_raw(to), (uint8_t *)(uintptr_t)from, len, true);
}
