/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the answers of VFIO that have capabilities behind them: how long they are, what is in them. Where it sits:
 * transport/vfio, hosted. Threads: the control thread.
 * Trust: each length and offset is checked against the bytes that were read, a list that does not end ends.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/vfio/vfio.h"

enum { ANSWER_MAX = 64 << 10, CAPS_MAX = 64 };

int vfio_ask(const struct vfio_sys *sys, int fd, unsigned long request, const void *question, size_t first, void **out,
             size_t *size)
{
    uint32_t argsz = (uint32_t)first;

    for (unsigned tries = 0; tries < 4; tries++) {
        uint8_t *answer = calloc(1, argsz);
        uint32_t wanted;
        int r;

        if (answer == NULL)
            return -ENOMEM;
        memcpy(answer, question, first);
        memcpy(answer, &argsz, sizeof(argsz));
        r = sys->ioctl(sys->ctx, fd, request, answer);
        memcpy(&wanted, answer, sizeof(wanted));
        if (r >= 0 && wanted <= argsz) {
            *out = answer;
            *size = argsz;
            return 0;
        }
        free(answer);
        if (r < 0)
            return r;
        if (wanted > ANSWER_MAX)
            return -EPROTO;
        argsz = wanted;
    }
    return -EPROTO; /* it grows each time it is asked */
}

/* Where the capability of this id begins, of at least `least` bytes; 0: there is none. -EPROTO: the list lies. */
static int find_cap(const uint8_t *info, size_t size, uint32_t first, uint16_t id, size_t least, size_t *at)
{
    struct vfio_info_cap_header header;
    uint32_t next = first;

    *at = 0;
    for (unsigned i = 0; next != 0; i++) {
        if (i == CAPS_MAX || !vio_range_ok(next, sizeof(header), size))
            return -EPROTO;
        memcpy(&header, info + next, sizeof(header));
        if (header.id == id) {
            if (!vio_range_ok(next, least, size))
                return -EPROTO;
            *at = next;
            return 0;
        }
        next = header.next;
    }
    return 0;
}

static int read_sparse(const uint8_t *info, size_t size, size_t at, uint64_t len, struct vfio_area *areas, unsigned *nr)
{
    struct vfio_region_info_cap_sparse_mmap sparse;
    struct vfio_region_sparse_mmap_area area;

    memcpy(&sparse, info + at, sizeof(sparse));
    at += sizeof(sparse);
    if (sparse.nr_areas > (size - at) / sizeof(area))
        return -EPROTO;
    for (uint32_t i = 0; i < sparse.nr_areas && *nr < VFIO_AREAS_MAX; i++) {
        memcpy(&area, info + at + i * sizeof(area), sizeof(area));
        if (!vio_range_ok(area.offset, area.size, len))
            return -EPROTO;
        if (area.size > 0)
            areas[(*nr)++] = (struct vfio_area){ area.offset, area.size };
    }
    return 0;
}

int vfio_areas(const void *info, size_t size, struct vfio_area *areas, unsigned *nr)
{
    struct vfio_region_info region;
    size_t at = 0;
    int r = 0;

    *nr = 0;
    if (size < sizeof(region))
        return -EPROTO;
    memcpy(&region, info, sizeof(region));
    if ((region.flags & VFIO_REGION_INFO_FLAG_MMAP) == 0 || region.size == 0)
        return 0;
    if ((region.flags & VFIO_REGION_INFO_FLAG_CAPS) != 0)
        r = find_cap(info, size, region.cap_offset, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
                     sizeof(struct vfio_region_info_cap_sparse_mmap), &at);
    if (r != 0 || at != 0)
        return r != 0 ? r : read_sparse(info, size, at, region.size, areas, nr);
    areas[0] = (struct vfio_area){ 0, region.size };
    *nr = 1;
    return 0;
}

int vfio_ranges(const void *info, size_t size, struct vfio_range *ranges, unsigned *nr)
{
    struct vfio_iommu_type1_info_cap_iova_range cap;
    struct vfio_iommu_type1_info type1;
    struct vfio_iova_range range;
    size_t at = 0;
    int r;

    *nr = 0;
    if (size < offsetof(struct vfio_iommu_type1_info, cap_offset))
        return -EPROTO;
    memset(&type1, 0, sizeof(type1));
    memcpy(&type1, info, vio_min_u64(size, sizeof(type1)));
    if ((type1.flags & VFIO_IOMMU_INFO_CAPS) == 0)
        return 0;
    r = find_cap(info, size, type1.cap_offset, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, sizeof(cap), &at);
    if (r != 0 || at == 0)
        return r;
    memcpy(&cap, (const uint8_t *)info + at, sizeof(cap));
    at += sizeof(cap);
    if (cap.nr_iovas > (size - at) / sizeof(range))
        return -EPROTO;
    for (uint32_t i = 0; i < cap.nr_iovas && *nr < VFIO_RANGES_MAX; i++) {
        memcpy(&range, (const uint8_t *)info + at + i * sizeof(range), sizeof(range));
        if (range.start > range.end)
            return -EPROTO;
        ranges[(*nr)++] = (struct vfio_range){ range.start, range.end };
    }
    return *nr > 0 ? 0 : -EPROTO; /* a list of none would be no IOMMU at all */
}

bool vfio_range_takes(const struct vfio_range *ranges, unsigned nr, uint64_t addr, uint64_t size)
{
    for (unsigned i = 0; i < nr; i++) {
        if (addr >= ranges[i].first && addr <= ranges[i].last && size - 1 <= ranges[i].last - addr)
            return true;
    }
    return nr == 0;
}
