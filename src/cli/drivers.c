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

static const struct vio_driver *const drivers[] = {
    &vio_driver_blk, &vio_driver_net, &vio_driver_console, &vio_driver_rng, &vio_driver_balloon, &vio_driver_scsi,
    &vio_driver_vsock, &vio_driver_fs,
};

const struct vio_driver *drivers_find(uint32_t type)
{
    for (unsigned i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        if (vio_driver_names(drivers[i], type))
            return drivers[i];
    return &vio_driver_generic;
}
