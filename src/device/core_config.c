/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the device configuration space: bytes, who may write them, and the generation (virtio 1.4, 2.5).
 * Where it sits: device/core. Threads: the control thread; patch and bits are also the owner's. So each byte is loaded and stored
 * atomically; no order is needed, since who learns that there is something new to read learns it through a queue.
 * Trust: offset and length are the driver's; every copy is bounded here, for all device types.
 */
#include "device/core_internal.h"

#include <errno.h>

#include "spec/virtio.h"

static void copy_in(struct vio_device *dev, uint32_t offset, const uint8_t *from, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        __atomic_store_n(dev->config + offset + i, from[i], __ATOMIC_RELAXED);
}

static void copy_out(const struct vio_device *dev, uint32_t offset, uint8_t *to, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        to[i] = __atomic_load_n(dev->config + offset + i, __ATOMIC_RELAXED);
}

static bool differs(const struct vio_device *dev, uint32_t offset, const uint8_t *from, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        if (__atomic_load_n(dev->config + offset + i, __ATOMIC_RELAXED) != from[i])
            return true;
    return false;
}

int vio_device_config_read(const struct vio_device *dev, uint32_t offset, void *to, uint32_t len)
{
    if (!vio_range_ok(offset, len, dev->type->config_size))
        return -EINVAL;
    copy_out(dev, offset, to, len);
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
    copy_in(dev, offset, from, len);
    if (type->config_written != NULL)
        type->config_written(dev->self, offset, len);
    return 0;
}

uint32_t vio_device_config_generation(const struct vio_device *dev)
{
    return atomic_load_explicit(&dev->generation, memory_order_relaxed);
}

/* Whether something is new now. */
static bool set_bytes(struct vio_device *dev, uint32_t offset, const void *from, uint32_t len)
{
    if (!vio_range_ok(offset, len, dev->type->config_size) || !differs(dev, offset, from, len))
        return false;
    copy_in(dev, offset, from, len);
    atomic_fetch_add_explicit(&dev->generation, 1, memory_order_relaxed);
    return true;
}

static void tell_driver(struct vio_device *dev)
{
    if ((dev->status & VIRTIO_STATUS_DRIVER_OK) && dev->transport != NULL && dev->transport->config_changed != NULL)
        dev->transport->config_changed(dev->transport_ctx);
}

void vio_device_config_set(struct vio_device *dev, uint32_t offset, const void *from, uint32_t len, bool notify)
{
    if (set_bytes(dev, offset, from, len) && notify)
        tell_driver(dev);
}

void vio_device_config_patch(struct vio_device *dev, uint32_t offset, const void *from, uint32_t len)
{
    (void)set_bytes(dev, offset, from, len);
}

void vio_device_config_bits(struct vio_device *dev, uint32_t offset, uint8_t clear, uint8_t set, bool notify)
{
    uint8_t *at = dev->config + offset, before;

    if (offset >= dev->type->config_size)
        return;
    before = __atomic_load_n(at, __ATOMIC_RELAXED);
    /* Another thread may change other bits of this byte meanwhile. */
    while (!__atomic_compare_exchange_n(at, &before, (uint8_t)((before & ~clear) | set), true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
        ;
    if (before == (uint8_t)((before & ~clear) | set))
        return;
    atomic_fetch_add_explicit(&dev->generation, 1, memory_order_relaxed);
    if (notify)
        tell_driver(dev);
}
