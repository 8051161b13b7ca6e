/* SPDX-License-Identifier: MIT */
/* All of vio's public headers. */
#ifndef VIO_VIO_H
#define VIO_VIO_H

#include <vio/arena.h>
#include <vio/block.h>
#include <vio/cursor.h>
#include <vio/device.h>
#include <vio/driver.h>
#include <vio/drv_balloon.h>
#include <vio/drv_blk.h>
#include <vio/drv_console.h>
#include <vio/drv_fs.h>
#include <vio/drv_generic.h>
#include <vio/drv_net.h>
#include <vio/drv_rng.h>
#include <vio/drv_scsi.h>
#include <vio/drv_vsock.h>
#include <vio/fault.h>
#include <vio/features.h>
#include <vio/io.h>
#include <vio/log.h>
#include <vio/memory.h>
#include <vio/mmio_driver.h>
#include <vio/net.h>
#include <vio/pci_driver.h>
#include <vio/platform.h>
#include <vio/queue.h>
#include <vio/serve.h>
#include <vio/types.h>
#include <vio/vfio.h>
#include <vio/vhost_kernel.h>
#include <vio/vhost_user.h>
#include <vio/vhost_user_driver.h>

#endif
