/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the container, the group and the device of VFIO, and the arena made reachable: through the IOMMU, or, where there is
 * none, by its physical addresses. Where it sits: transport/vfio, hosted. Threads: the control thread.
 * Trust: the ranges that the IOMMU takes are the kernel's word, checked by info.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/format.h"
#include "transport/vfio/vfio.h"

static int ask(struct vfio *v, int fd, unsigned long request, void *arg)
{
    return v->sys->ioctl(v->sys->ctx, fd, request, arg);
}

/* ------------------------------------------------------------------ opening */

static int open_container(struct vfio *v)
{
    char path[VFIO_PATH];
    int r;

    vio_format(path, sizeof(path), "%s/vfio", v->sys->dev);
    v->container = v->sys->open(v->sys->ctx, path, O_RDWR);
    if (v->container == -ENOENT || v->container == -ENODEV)
        return vfio_fail(v, -ENODEV, "there is no %s: modprobe vfio-pci", path);
    if (v->container < 0)
        return vfio_fail(v, v->container, "%s cannot be opened: %s", path, strerror(-v->container));
    r = ask(v, v->container, VFIO_GET_API_VERSION, NULL);
    return r == VFIO_API_VERSION ? 0 : vfio_fail(v, -ENOTSUP, "VFIO has version %d, and %d is known here", r, VFIO_API_VERSION);
}

static int open_group(struct vfio *v)
{
    struct vfio_group_status status = { .argsz = sizeof(status) };
    const char *path = v->place.group;
    int r;

    v->group = v->sys->open(v->sys->ctx, path, O_RDWR);
    if (v->group == -EBUSY)
        return vfio_fail(v, -EBUSY, "%s is in use: each IOMMU group has one user at a time", path);
    if (v->group == -EACCES)
        return vfio_fail(v, -EACCES, "no right to open %s: run as root, or chown it to this user", path);
    if (v->group == -EPERM)
        return vfio_fail(v, -EPERM, "no right to open %s: %s", path,
                         v->place.no_iommu ? "without an IOMMU that takes CAP_SYS_RAWIO" : "not permitted");
    if (v->group < 0)
        return vfio_fail(v, v->group, "%s cannot be opened: %s", path, strerror(-v->group));
    r = ask(v, v->group, VFIO_GROUP_GET_STATUS, &status);
    if (r < 0)
        return vfio_fail(v, r, "%s does not tell its state: %s", path, strerror(-r));
    if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
        vfio_group_others(v->sys, &v->place, v->why);
        return -EBUSY;
    }
    if ((status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET) != 0)
        return vfio_fail(v, -EBUSY, "%s is in a container already", path);
    r = ask(v, v->group, VFIO_GROUP_SET_CONTAINER, &v->container);
    return r < 0 ? vfio_fail(v, r, "%s cannot be used: %s", path, strerror(-r)) : 0;
}

static int set_iommu(struct vfio *v)
{
    unsigned long type = v->place.no_iommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU;
    int r = ask(v, v->container, VFIO_CHECK_EXTENSION, (void *)type);

    if (r <= 0)
        return vfio_fail(v, -ENOTSUP, "this kernel has no VFIO %s", v->place.no_iommu ? "without an IOMMU" :
                         "for this IOMMU: modprobe vfio_iommu_type1");
    r = ask(v, v->container, VFIO_SET_IOMMU, (void *)type);
    if (r == -EPERM)
        return vfio_fail(v, r, "%s", v->place.no_iommu ? "without an IOMMU it takes CAP_SYS_RAWIO" :
                         "this IOMMU does not remap interrupts (intremap=on); or, without protection from forged ones: "
                         "echo 1 >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");
    return r < 0 ? vfio_fail(v, r, "the IOMMU cannot be used: %s", strerror(-r)) : 0;
}

/* The kernel resets the function, where it can be, when it is opened and again when it is closed. */
static int open_device(struct vfio *v)
{
    v->device = ask(v, v->group, VFIO_GROUP_GET_DEVICE_FD, v->place.address);
    return v->device < 0 ? vfio_fail(v, v->device, "it cannot be opened: %s", strerror(-v->device)) : 0;
}

/* ------------------------------------------------------------------ the arena */

static int read_ranges(struct vfio *v, struct vfio_range *ranges, unsigned *nr)
{
    struct vfio_iommu_type1_info question = { 0 };
    void *info;
    size_t size;
    int r = vfio_ask(v->sys, v->container, VFIO_IOMMU_GET_INFO, &question, sizeof(question), &info, &size);

    if (r == 0) {
        r = vfio_ranges(info, size, ranges, nr);
        free(info);
    }
    return r != 0 ? vfio_fail(v, r, "what the kernel tells of the IOMMU makes no sense: %s", strerror(-r)) : 0;
}

static int map_failed(struct vfio *v, const struct vio_arena_region *part, int error)
{
    struct rlimit limit;

    if (error == -ENOMEM && getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
        return vfio_fail(v, error, "%llu bytes of memory cannot be locked for it: the limit is %llu KiB (ulimit -l)",
                         (unsigned long long)part->size, (unsigned long long)limit.rlim_cur / 1024);
    return vfio_fail(v, error, "the IOMMU does not take %llu bytes at 0x%llx: %s", (unsigned long long)part->size,
                     (unsigned long long)part->addr, strerror(-error));
}

static int map_part(struct vfio *v, const struct vio_arena_region *part, const struct vfio_range *ranges, unsigned nr)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (uintptr_t)part->host,
        .iova = part->addr,
        .size = part->size,
    };
    int r;

    if (!vfio_range_takes(ranges, nr, part->addr, part->size))
        return vfio_fail(v, -ERANGE, "the IOMMU takes no %llu bytes at 0x%llx: its first range is 0x%llx to 0x%llx",
                         (unsigned long long)part->size, (unsigned long long)part->addr, (unsigned long long)ranges[0].first,
                         (unsigned long long)ranges[0].last);
    r = ask(v, v->container, VFIO_IOMMU_MAP_DMA, &map);
    if (r < 0)
        return map_failed(v, part, r);
    v->nr_parts++;
    return 0;
}

static int map_arena(struct vfio *v)
{
    struct vfio_range ranges[VFIO_RANGES_MAX];
    struct vio_arena_region part;
    unsigned nr = 0;
    int r = read_ranges(v, ranges, &nr);

    for (unsigned i = 0; r == 0 && vio_arena_part(v->arena, i, &part); i++)
        r = map_part(v, &part, ranges, nr);
    return r;
}

static void unmap_arena(struct vfio *v)
{
    struct vio_arena_region part;

    while (v->nr_parts > 0 && vio_arena_part(v->arena, v->nr_parts - 1, &part)) {
        struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .iova = part.addr, .size = part.size };

        (void)ask(v, v->container, VFIO_IOMMU_UNMAP_DMA, &unmap); /* what is left goes with the container */
        v->nr_parts--;
    }
}

/* ------------------------------------------------------------------ the whole */

int vfio_container_open(struct vfio *v)
{
    bool physical = vio_arena_region(v->arena).physical;
    int r;

    if (v->place.no_iommu && !physical)
        return vfio_fail(v, -EADDRNOTAVAIL, "it has no IOMMU, so that memory for it must be physical (huge pages: "
                         "sysctl vm.nr_hugepages=64)");
    v->dma = v->place.no_iommu ? VIO_VFIO_UNGUARDED : physical ? VIO_VFIO_IDENTITY : VIO_VFIO_IOMMU;
    r = open_container(v);
    if (r == 0)
        r = open_group(v);
    if (r == 0)
        r = set_iommu(v);
    if (r == 0 && !v->place.no_iommu)
        r = map_arena(v);
    return r != 0 ? r : open_device(v);
}

static void close_one(struct vfio *v, int *fd)
{
    if (*fd >= 0)
        v->sys->close(v->sys->ctx, *fd);
    *fd = -1;
}

/* The device first: it is reset by that, and reaches no memory any more when the mappings go. */
void vfio_container_close(struct vfio *v)
{
    close_one(v, &v->device);
    unmap_arena(v);
    close_one(v, &v->group);
    close_one(v, &v->container);
}
