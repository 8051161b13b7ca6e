/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/drivers.h. */
#include "cli/drivers.h"

#include <stddef.h>
#include <vio/drv_balloon.h>
#include <vio/drv_blk.h>
#include <vio/drv_console.h>
#include <vio/drv_fs.h>
#include <vio/drv_generic.h>
#include <vio/drv_net.h>
#include <vio/drv_rng.h>
#include <vio/drv_scsi.h>
#include <vio/drv_vsock.h>

#include "spec/virtio.h"

static const struct vio_driver *const drivers[] = {
    &vio_driver_blk, &vio_driver_net, &vio_driver_console, &vio_driver_rng, &vio_driver_balloon, &vio_driver_scsi,
    &vio_driver_vsock, &vio_driver_fs,
};

const struct vio_driver *drivers_find(uint32_t type)
{
    for (unsigned i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        for (const uint32_t *t = drivers[i]->types; *t != 0; t++)
            if (*t == type)
                return drivers[i];
    return &vio_driver_generic;
}

/* What the driver core takes for every driver, see driver/core.c. */
static struct vio_features core_takes(void)
{
    static const uint8_t bits[] = { VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_ORDER_PLATFORM,
                                    VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_RING_RESET };
    struct vio_features f = { { 0 } };

    for (unsigned i = 0; i < sizeof(bits); i++)
        vio_features_set(&f, bits[i]);
    return f;
}

struct vio_features drivers_take(uint32_t type, struct vio_features offered)
{
    return vio_features_and(offered, vio_features_or(drivers_find(type)->features, core_takes()));
}
