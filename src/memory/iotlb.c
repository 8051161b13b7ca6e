/* SPDX-License-Identifier: MIT */
/*
 * Purpose: IOMMU mappings that a front-end sends (ACCESS_PLATFORM over vhost-user): a sorted array without overlaps,
 * searched like the regions. Changed only while queues are parked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/memory_internal.h"

void vio_memory_iotlb_enable(struct vio_memory *m, bool on)
{
    if (!on)
        m->nr_iotlb = 0;
    m->map.iotlb = on;
    vio_memory_refresh_(m);
}

bool vio_memory_iotlb_enabled(const struct vio_memory *m)
{
    return m->map.iotlb;
}

static int room_for(struct vio_memory *m, uint32_t more)
{
    uint32_t want = m->nr_iotlb + more, room = m->room_iotlb;
    struct vio_span *grown;

    if (want > VIO_MEMORY_IOTLB_MAX)
        return -ENOSPC;
    if (want <= room)
        return 0;
    while (room < want)
        room = room == 0 ? 64 : room * 2;
    grown = reallocarray(m->iotlb, room, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    m->iotlb = grown;
    m->room_iotlb = room;
    return 0;
}

/* The part of s from `start` on. */
static struct vio_span tail_of(const struct vio_span *s, uint64_t start)
{
    struct vio_span t = *s;
    uint64_t skip = start - s->start;

    t.start = start;
    t.host_ += skip;
    t.gpa += skip;
    t.uva += skip;
    return t;
}

/* Index of the first mapping that ends at or after addr. */
static uint32_t first_at(const struct vio_memory *m, uint64_t addr)
{
    const struct vio_span *s = vio_span_search(m->iotlb, m->nr_iotlb, addr);
    uint32_t i;

    if (s == NULL)
        return 0;
    i = (uint32_t)(s - m->iotlb);
    return s->last < addr ? i + 1 : i;
}

/* Cuts [start, last] out of what is there: at most one mapping is split in two. Room for one more is needed. */
static void cut(struct vio_memory *m, uint64_t start, uint64_t last)
{
    uint32_t i = first_at(m, start), end;

    if (i < m->nr_iotlb && m->iotlb[i].start < start) {
        struct vio_span whole = m->iotlb[i];

        m->iotlb[i].last = start - 1;
        i++;
        if (whole.last > last) {
            memmove(&m->iotlb[i + 1], &m->iotlb[i], (m->nr_iotlb - i) * sizeof(*m->iotlb));
            m->iotlb[i] = tail_of(&whole, last + 1);
            m->nr_iotlb++;
            return;
        }
    }
    end = i;
    while (end < m->nr_iotlb && m->iotlb[end].last <= last)
        end++;
    if (end < m->nr_iotlb && m->iotlb[end].start <= last)
        m->iotlb[end] = tail_of(&m->iotlb[end], last + 1);
    memmove(&m->iotlb[i], &m->iotlb[end], (m->nr_iotlb - end) * sizeof(*m->iotlb));
    m->nr_iotlb -= end - i;
}

int vio_memory_iotlb_invalidate(struct vio_memory *m, uint64_t iova, uint64_t size)
{
    const struct vio_span *in;
    uint64_t last;

    if (size == 0 || !vio_add_u64(iova, size - 1, &last))
        return -EINVAL;
    /* With no room to split a mapping all behind the gap goes too: a miss brings it back; a stale one must not stay. */
    in = vio_span_search(m->iotlb, m->nr_iotlb, iova);
    if (room_for(m, 1) != 0 && in != NULL && in->last > last)
        last = in->last;
    cut(m, iova, last);
    vio_memory_refresh_(m);
    return 0;
}

static const struct vio_span *region_of_uva(const struct vio_memory *m, uint64_t uva)
{
    for (uint32_t i = 0; i < m->nr_region; i++) {
        if (uva >= m->region[i].uva && uva - m->region[i].uva <= m->region[i].last - m->region[i].start)
            return &m->region[i];
    }
    return NULL;
}

/* Whether b only continues a: the next I/O virtual address, the next byte of the same region, the same rights. */
static bool continues(const struct vio_memory *m, const struct vio_span *a, const struct vio_span *b)
{
    uint64_t size = a->last - a->start + 1;

    return a->last + 1 == b->start && b->start != 0 && a->host_ + size == b->host_ && a->uva + size == b->uva &&
           a->access == b->access && region_of_uva(m, a->uva) == region_of_uva(m, b->uva);
}

/*
 * Mappings come page by page, but a ring must lie in one: what continues its neighbour becomes part of it. The place is
 * free (cut) and the array has room.
 */
static void insert(struct vio_memory *m, struct vio_span s)
{
    uint32_t i = first_at(m, s.start);

    if (i < m->nr_iotlb && continues(m, &s, &m->iotlb[i])) {
        s.last = m->iotlb[i].last;
        m->iotlb[i] = s;
    } else {
        memmove(&m->iotlb[i + 1], &m->iotlb[i], (m->nr_iotlb - i) * sizeof(*m->iotlb));
        m->iotlb[i] = s;
        m->nr_iotlb++;
    }
    if (i > 0 && continues(m, &m->iotlb[i - 1], &m->iotlb[i])) {
        m->iotlb[i - 1].last = m->iotlb[i].last;
        m->nr_iotlb--;
        memmove(&m->iotlb[i], &m->iotlb[i + 1], (m->nr_iotlb - i) * sizeof(*m->iotlb));
    }
}

/* A mapping may run over several regions: as many spans. Counts them first, so that it is all or nothing. */
static int pieces(const struct vio_memory *m, uint64_t uva, uint64_t size, uint32_t *count)
{
    *count = 0;
    while (size > 0) {
        const struct vio_span *r = region_of_uva(m, uva);
        uint64_t n;

        if (r == NULL)
            return -EFAULT;
        n = vio_min_u64(size, r->last - r->start + 1 - (uva - r->uva));
        ++*count;
        size -= n;
        if (size > 0 && !vio_add_u64(uva, n, &uva))
            return -EFAULT;
    }
    return 0;
}

int vio_memory_iotlb_update(struct vio_memory *m, uint64_t iova, uint64_t size, uint64_t uva, enum vio_access access)
{
    uint64_t last;
    uint32_t count;
    int err;

    if (size == 0 || !vio_add_u64(iova, size - 1, &last) || (access & ~(unsigned)VIO_ACCESS_BOTH) != 0 || access == 0)
        return -EINVAL;
    err = pieces(m, uva, size, &count);
    if (err == 0)
        err = room_for(m, count + 1);
    if (err != 0)
        return err;
    cut(m, iova, last);
    while (size > 0) {
        const struct vio_span *r = region_of_uva(m, uva);
        uint64_t skip = uva - r->uva;
        uint64_t n = vio_min_u64(size, r->last - r->start + 1 - skip);

        insert(m, (struct vio_span){
                      .start = iova,
                      .last = iova + (n - 1),
                      .host_ = r->host_ + skip,
                      .gpa = r->gpa + skip,
                      .uva = uva,
                      .access = access,
                  });
        iova += n;
        uva += n;
        size -= n;
    }
    vio_memory_refresh_(m);
    return 0;
}
