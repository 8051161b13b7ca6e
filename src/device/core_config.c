/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the device configuration space: bytes, who may write them, and the generation (virtio 1.4, 2.5).
 * Where it sits: device/core. Threads: the control thread only.
 * Trust: offset and length are the driver's; every copy is bounded here, for all device types.
 */
#include "device/core_internal.h"

#include <errno.h>
#include <string.h>

#include "spec/virtio.h"

int vio_device_config_read(const struct vio_device *dev, uint32_t offset, void *to, uint32_t len)
{
    if (!vio_range_ok(offset, len, dev->type->config_size))
        return -EINVAL;
    memcpy(to, dev->config + offset, len);
    return 0;
}

int vio_device_config_write(struct vio_device *dev, uint32_t offset, const void *from, uint32_t len)
{
    const struct vio_device_type *type = dev->type;

    if (!vio_range_ok(offset, len, type->config_size))
        return -EINVAL;
    /* virtio 1.4, 3.1.1, step 4: before FEATURES_OK the driver may only read. */
    if ((dev->status & VIRTIO_STATUS_FEATURES_OK) == 0 || type->config_writable == NULL ||
        !type->config_writable(dev->self, offset, len))
        return -EACCES;
    memcpy(dev->config + offset, from, len);
    if (type->config_written != NULL)
        type->config_written(dev->self, offset, len);
    return 0;
}

uint32_t vio_device_config_generation(const struct vio_device *dev)
{
    return dev->generation;
}

void vio_device_config_set(struct vio_device *dev, uint32_t offset, const void *from, uint32_t len, bool notify)
{
    if (!vio_range_ok(offset, len, dev->type->config_size) || memcmp(dev->config + offset, from, len) == 0)
        return;
    memcpy(dev->config + offset, from, len);
    dev->generation++;
    if (notify && (dev->status & VIRTIO_STATUS_DRIVER_OK) && dev->transport != NULL &&
        dev->transport->config_changed != NULL)
        dev->transport->config_changed(dev->transport_ctx);
}
