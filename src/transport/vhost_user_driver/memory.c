/* SPDX-License-Identifier: MIT */
/*
 * Purpose: memory that a driver in user space shares with a device: a memfd, on huge pages where there are some.
 * Where it sits: transport/vhost_user_driver. Threads: none of its own.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "transport/vhost_user_driver/internal.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { HUGE_PAGE = 2 << 20 };

static int map_memfd(struct vud_memory *m, unsigned flags, uint64_t size)
{
    int error;

    m->fd = memfd_create("vio-driver", MFD_CLOEXEC | flags);
    if (m->fd < 0)
        return -errno;
    if (ftruncate(m->fd, (off_t)size) < 0)
        goto failed;
    m->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    if (m->host == MAP_FAILED) {
        m->host = NULL;
        goto failed;
    }
    m->size = size;
    return 0;
failed:
    error = -errno;
    close(m->fd);
    m->fd = -1;
    return error;
}

/* The pages are taken now and not at the first write: a fault in the data path costs a request's whole time. */
static int populate(const struct vud_memory *m)
{
    long page = sysconf(_SC_PAGESIZE);

    if (madvise(m->host, m->size, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    for (uint64_t at = 0; at < m->size; at += (uint64_t)page) /* a kernel before 5.14 */
        *(volatile uint8_t *)(m->host + at) = 0;
    return 0;
}

int vud_memory_create(struct vud_memory *m, uint64_t size, bool small_pages)
{
    uint64_t whole = (size + HUGE_PAGE - 1) & ~(uint64_t)(HUGE_PAGE - 1);
    int error;

    /* The pool may be too small: mmap reserves from it, so it fails here and not by SIGBUS later. */
    if (!small_pages && map_memfd(m, MFD_HUGETLB | MFD_HUGE_2MB, whole) == 0) {
        m->huge = true;
    } else {
        m->huge = false;
        error = map_memfd(m, 0, whole);
        if (error)
            return error;
        if (!small_pages)
            (void)madvise(m->host, m->size, MADV_HUGEPAGE); /* advice: without it all works the same */
    }
    error = populate(m);
    if (error)
        vud_memory_destroy(m);
    return error;
}

void vud_memory_destroy(struct vud_memory *m)
{
    if (m->host != NULL)
        munmap(m->host, m->size);
    if (m->fd >= 0)
        close(m->fd);
    *m = (struct vud_memory){ .fd = -1 };
}
