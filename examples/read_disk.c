/* SPDX-License-Identifier: MIT */
/*
 * Reads a disk over vhost-user and writes its bytes to standard output. usage: read_disk SOCKET [SECTORS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/drv_blk.h>
#include <vio/vhost_user_driver.h>

enum { SECTOR = 512, AT_ONCE = 128 };

/* Every sector, as many at a time as the buffer holds. */
static int copy(struct vio_drv_blk *disk, uint64_t sectors)
{
    static uint8_t bytes[AT_ONCE * SECTOR];
    int error = 0;

    for (uint64_t at = 0; !error && at < sectors; at += AT_ONCE) {
        uint64_t n = sectors - at < AT_ONCE ? sectors - at : AT_ONCE;

        error = vio_drv_blk_read(disk, at, bytes, n * SECTOR, UINT64_C(5000000000));
        if (!error && fwrite(bytes, SECTOR, n, stdout) != n)
            return 1;
    }
    return error;
}

int main(int argc, char **argv)
{
    struct vio_arena_params memory = { .size = 4 << 20 };
    struct vio_vud_params params = { .path = argc > 1 ? argv[1] : "", .fd = -1, .type = 2 };
    struct vio_transport *transport;
    struct vio_drvdev *device;
    struct vio_bus *bus;
    char why[VIO_DRV_WHY] = "";
    int error = 1;

    if (vio_arena_create(&memory, &params.arena) != 0 || vio_vud_create(&params, &transport, why) != 0 ||
        vio_bus_create(vio_arena_platform(params.arena), &bus) != 0) {
        fprintf(stderr, "read_disk: %s\n", why);
        return 1;
    }
    if (vio_bus_add(bus, transport, 0, &vio_driver_blk, &device) == 0 && vio_drv_blk_of(device) != NULL) {
        struct vio_drv_blk *disk = vio_drv_blk_of(device);

        error = copy(disk, argc > 2 ? strtoull(argv[2], NULL, 10) : vio_drv_blk_capacity(disk));
    }
    if (error)
        fprintf(stderr, "read_disk: %s\n", error < 0 ? strerror(-error) : vio_drvdev_why(device));
    vio_bus_destroy(bus);
    vio_arena_destroy(params.arena);
    return error ? 1 : 0;
}
