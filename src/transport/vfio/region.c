/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the BARs of a function and its configuration space: mapped where VFIO lets, else by read and write.
 * Where it sits: transport/vfio, hosted. Threads: the control thread; registers any.
 * Trust: lengths and what may be mapped come from the device through the kernel: info.c checks them. A register that cannot be read
 * is all ones.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spec/pci.h"
#include "transport/vfio/vfio.h"

/* ------------------------------------------------------------------ configuration space */

static bool config_range(const struct vfio *v, uint32_t offset, unsigned width)
{
    return (width == 1 || width == 2 || width == 4) && offset % width == 0 && vio_range_ok(offset, width, v->config_len);
}

static int config_read(void *ctx, uint32_t offset, unsigned width, uint32_t *value)
{
    struct vfio *v = ctx;
    uint8_t bytes[4];

    if (!config_range(v, offset, width))
        return -EINVAL;
    if (v->sys->pread(v->sys->ctx, v->device, bytes, width, v->config_offset + offset) != width)
        return -EIO;
    *value = vio_io_load_bytes(bytes, width);
    return 0;
}

static int config_write(void *ctx, uint32_t offset, unsigned width, uint32_t value)
{
    struct vfio *v = ctx;
    uint8_t bytes[4];

    if (!config_range(v, offset, width))
        return -EINVAL;
    vio_io_store_bytes(bytes, width, value);
    return v->sys->pwrite(v->sys->ctx, v->device, bytes, width, v->config_offset + offset) == width ? 0 : -EIO;
}

/* ------------------------------------------------------------------ registers by read and write */

static uint32_t file_read(void *ctx, uint64_t offset, unsigned width)
{
    const struct vfio_bar *bar = ctx;
    const struct vfio_sys *sys = bar->v->sys;
    uint8_t bytes[4];

    if (!vio_range_ok(offset, width, bar->len) ||
        sys->pread(sys->ctx, bar->v->device, bytes, width, bar->offset + offset) != width)
        return UINT32_MAX;
    return vio_io_load_bytes(bytes, width);
}

static void file_write(void *ctx, uint64_t offset, unsigned width, uint32_t value)
{
    const struct vfio_bar *bar = ctx;
    const struct vfio_sys *sys = bar->v->sys;
    uint8_t bytes[4];

    vio_io_store_bytes(bytes, width, value);
    if (vio_range_ok(offset, width, bar->len))
        (void)sys->pwrite(sys->ctx, bar->v->device, bytes, width, bar->offset + offset);
}

static const struct vio_io_ops file_ops = { file_read, file_write };

/* ------------------------------------------------------------------ BARs */

static int bar(void *ctx, unsigned n, uint64_t *len, bool *ports)
{
    const struct vfio *v = ctx;

    if (n >= VIO_PCI_BARS || v->bar[n].len == 0)
        return -ENOENT;
    *len = v->bar[n].len;
    *ports = v->bar[n].ports;
    return 0;
}

/* Whole pages around the range, which are to be in one area; of a BAR that ends within a page, that page is all its own. */
static bool mappable(const struct vfio_bar *b, uint64_t offset, uint64_t len, uint64_t *first, uint64_t *bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    *first = offset & ~(page - 1);
    for (unsigned i = 0; i < b->nr_areas; i++) {
        const struct vfio_area *a = &b->areas[i];
        uint64_t end = a->offset + a->size;

        if (*first < a->offset || offset + len > end)
            continue;
        *bytes = ((offset + len - *first) + page - 1) & ~(page - 1);
        return *bytes != 0 && (*first + *bytes <= end || end == b->len);
    }
    return false;
}

static int map_pages(struct vfio *v, unsigned n, uint64_t offset, uint64_t len, void **host)
{
    const struct vfio_bar *b = &v->bar[n];
    uint64_t first, bytes;
    void *at;
    int r;

    if (n >= VIO_PCI_BARS || b->ports || len == 0 || !vio_range_ok(offset, len, b->len) ||
        !mappable(b, offset, len, &first, &bytes))
        return -ENOTSUP;
    if (v->nr_maps == VFIO_MAPS_MAX)
        return -ENOSPC;
    r = v->sys->map(v->sys->ctx, v->device, b->offset + first, bytes, &at);
    if (r != 0)
        return r;
    v->map[v->nr_maps++] = (struct vfio_map){ at, bytes };
    *host = (uint8_t *)at + (offset - first);
    return 0;
}

static int map(void *ctx, unsigned n, uint64_t offset, uint64_t len, struct vio_io *registers)
{
    struct vfio *v = ctx;
    void *host = NULL;

    if (n >= VIO_PCI_BARS || !vio_range_ok(offset, len, v->bar[n].len))
        return -EINVAL;
    if (map_pages(v, n, offset, len, &host) == 0) {
        *registers = vio_io_mapped(host);
        return 0;
    }
    if (!v->bar[n].access)
        return -ENOTSUP;
    if (!v->bar[n].ports)
        vio_log(v->log, VIO_LOG_INFO, v->place.address, "registers at 0x%llx of BAR %u are reached by system calls",
                (unsigned long long)offset, n);
    *registers = vio_io_at(vio_io_by(&file_ops, &v->bar[n]), offset);
    return 0;
}

static int map_shm(void *ctx, unsigned n, uint64_t offset, uint64_t len, void **host)
{
    return n < VIO_PCI_BARS ? map_pages(ctx, n, offset, len, host) : -EINVAL;
}

/* ------------------------------------------------------------------ opening */

static int read_region(struct vfio *v, uint32_t index, void **info, size_t *size)
{
    struct vfio_region_info question = { .index = index };

    return vfio_ask(v->sys, v->device, VFIO_DEVICE_GET_REGION_INFO, &question, sizeof(question), info, size);
}

/* PCI's own word on whether it is ports: the lowest bit of the BAR's register. */
static bool is_ports(struct vfio *v, unsigned n)
{
    uint32_t value = 0;

    return config_read(v, PCI_BAR(n), 4, &value) == 0 && (value & 1) != 0;
}

static int open_bar(struct vfio *v, unsigned n)
{
    struct vfio_bar *b = &v->bar[n];
    struct vfio_region_info region;
    void *info;
    size_t size;
    int r;

    b->v = v;
    r = read_region(v, VFIO_PCI_BAR0_REGION_INDEX + n, &info, &size);
    if (r == -EINVAL)
        return 0; /* as the kernel says that there is none */
    if (r != 0)
        return vfio_fail(v, r, "the kernel does not tell of BAR %u: %s", n, strerror(-r));
    memcpy(&region, info, sizeof(region));
    r = vfio_areas(info, size, b->areas, &b->nr_areas);
    free(info);
    if (r != 0 || region.size > INT64_MAX || region.offset > INT64_MAX - region.size)
        return vfio_fail(v, -EPROTO, "what the kernel tells of BAR %u makes no sense", n);
    b->len = region.size;
    b->offset = region.offset;
    b->access = (region.flags & VFIO_REGION_INFO_FLAG_READ) != 0 && (region.flags & VFIO_REGION_INFO_FLAG_WRITE) != 0;
    b->ports = b->len > 0 && is_ports(v, n);
    return 0;
}

static int open_config(struct vfio *v)
{
    struct vfio_region_info region;
    void *info;
    size_t size;
    int r = read_region(v, VFIO_PCI_CONFIG_REGION_INDEX, &info, &size);

    if (r != 0)
        return vfio_fail(v, r, "the kernel does not tell of its configuration space: %s", strerror(-r));
    memcpy(&region, info, sizeof(region));
    free(info);
    if (region.size < PCI_CONFIG_BYTES || region.offset > INT64_MAX - region.size)
        return vfio_fail(v, -EPROTO, "its configuration space has %llu bytes", (unsigned long long)region.size);
    v->config_offset = region.offset;
    v->config_len = region.size;
    return 0;
}

int vfio_regions_open(struct vfio *v)
{
    struct vfio_device_info info = { .argsz = sizeof(info) };
    int r = v->sys->ioctl(v->sys->ctx, v->device, VFIO_DEVICE_GET_INFO, &info);

    if (r < 0 || (info.flags & VFIO_DEVICE_FLAGS_PCI) == 0)
        return vfio_fail(v, r < 0 ? r : -ENODEV, "it is no PCI function for VFIO");
    v->access.config_read = config_read;
    v->access.config_write = config_write;
    v->access.bar = bar;
    v->access.map = map;
    v->access.map_shm = map_shm;
    r = open_config(v);
    for (unsigned n = 0; r == 0 && n < VIO_PCI_BARS; n++)
        r = open_bar(v, n);
    return r;
}

void vfio_regions_close(struct vfio *v)
{
    while (v->nr_maps > 0) {
        v->nr_maps--;
        v->sys->unmap(v->sys->ctx, v->map[v->nr_maps].at, v->map[v->nr_maps].len);
    }
}
