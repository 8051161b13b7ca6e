/* SPDX-License-Identifier: MIT */
/*
 * A firmware's whole use of a disk over MMIO: find it, read its first sector, write it back, flush. Linked with what it needs of
 * vio and nothing else, for size.py, which says how large that is. It is not run: the machine under it is left out.
 */
#include <vio/drv_blk.h>
#include <vio/mmio_driver.h>

int vio_size_start(void);

enum { POOL = 64 << 10 };

/* All the memory that there is; what is given back is not used again. */
static uint8_t pool[POOL] __attribute__((aligned(4096)));
static size_t taken;

static void *take(size_t size, size_t align)
{
    size_t at = (taken + align - 1) & ~(align - 1);

    if (size > POOL || at > POOL - size)
        return 0;
    taken = at + size;
    return pool + at;
}

static void *dma_alloc(void *ctx, size_t size, size_t align, uint64_t *addr)
{
    void *mem = take(size, align);

    (void)ctx;
    *addr = (uintptr_t)mem;
    return mem;
}

static void dma_free(void *ctx, void *host, size_t size, uint64_t addr)
{
    (void)ctx;
    (void)host;
    (void)size;
    (void)addr;
}

static void *alloc(void *ctx, size_t size)
{
    (void)ctx;
    return take(size, 64);
}

static void release(void *ctx, void *mem, size_t size)
{
    (void)ctx;
    (void)mem;
    (void)size;
}

static uint64_t now_ns(void *ctx)
{
    static uint64_t now; /* a machine has a counter */

    (void)ctx;
    return now += 1000;
}

int vio_size_start(void)
{
    static const struct vio_platform platform = {
        .dma_alloc = dma_alloc, .dma_free = dma_free, .alloc = alloc, .free = release, .now_ns = now_ns,
    };
    static uint8_t sector[512];
    struct vio_mmio_driver_params params = {
        .registers = vio_io_mapped((void *)(uintptr_t)0xa003e00), .len = 0x200, .address = 0xa003e00, .platform = &platform,
    };
    struct vio_drv_blk_params wanted = { .queues = 1, .queue_size = 16, .depth = 4 };
    struct vio_drv_blk_driver driver;
    struct vio_transport *transport;
    struct vio_drvdev *device;
    struct vio_bus *bus;
    int error = vio_mmio_driver_create(&params, &transport, 0);

    if (!error)
        error = vio_bus_create(&platform, &bus);
    vio_drv_blk_driver(&driver, &wanted);
    if (!error)
        error = vio_bus_add(bus, transport, 0, &driver.driver, &device);
    if (!error)
        error = vio_drv_blk_read(vio_drv_blk_of(device), 0, sector, sizeof(sector), 1000000000);
    if (!error)
        error = vio_drv_blk_write(vio_drv_blk_of(device), 0, sector, sizeof(sector), 1000000000);
    return error ? error : vio_drv_blk_flush(vio_drv_blk_of(device), 1000000000);
}
