/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver side of virtio over MMIO, version 1 (virtio 1.4, 4.2.4): 32 feature bits, queues in one piece by
 * their page number, no generation. Where it sits: transport/mmio_driver, freestanding.
 * Threads: see vio/driver.h. Trust: the device is hostile.
 */
#include <errno.h>

#include "spec/config_io.h"
#include "spec/mmio.h"
#include "spec/ring.h"
#include "transport/mmio_driver/mmio.h"

/* Set from each reset on, for all queues (virtio 1.4, 4.2.4). */
static int reset(struct vio_transport *t)
{
    struct mmio *m = mmio_of(t);
    uint8_t status = 0;
    int r;

    mmio_write(m, VIRTIO_MMIO_STATUS, 0);
    mmio_write(m, VIRTIO_MMIO_GUEST_PAGE_SIZE, VIRTIO_MMIO_LEGACY_PAGE);
    r = mmio_status_get(t, &status);
    return r != 0 ? r : status != 0 ? -EINPROGRESS : 0;
}

static int features(struct vio_transport *t, struct vio_features *offered)
{
    struct mmio *m = mmio_of(t);

    mmio_write(m, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    *offered = vio_features_of(mmio_read(m, VIRTIO_MMIO_DEVICE_FEATURES));
    return 0;
}

static int accept_features(struct vio_transport *t, const struct vio_features *wanted)
{
    struct mmio *m = mmio_of(t);

    if (wanted->w[0] > UINT32_MAX || wanted->w[1] != 0)
        return mmio_fail(m, -EINVAL, "%s: a legacy device has 32 feature bits, and more are wanted (virtio 1.4, 2.2.3)",
                         t->name);
    mmio_write(m, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    mmio_write(m, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)wanted->w[0]);
    m->accepted = *wanted;
    return 0;
}

static int config_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    struct mmio *m = mmio_of(t);
    int r = mmio_config_range(m, offset, len);

    if (r == 0 && !virtio_config_get_stable(vio_io_at(m->io, VIRTIO_MMIO_CONFIG), t->type, offset, to, len))
        return mmio_fail(m, -EAGAIN, "%s: the configuration does not stop to change", t->name);
    return r;
}

static int queue_start(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q)
{
    struct mmio *m = mmio_of(t);
    uint64_t pfn = q->cfg.desc / VIRTIO_MMIO_LEGACY_PAGE;

    if (!virtq_in_one_piece(q->cfg.size, q->cfg.desc, q->cfg.driver, q->cfg.device, VIRTIO_MMIO_LEGACY_PAGE))
        return mmio_fail(m, -EINVAL, "%s: queue %u does not lie in one piece as a legacy device wants it "
                         "(virtio 1.4, 2.7.2)", t->name, queue);
    if (pfn == 0 || pfn > UINT32_MAX)
        return mmio_fail(m, -ERANGE, "%s: queue %u is at 0x%llx, and a legacy device reaches no queue at 0, nor from 16 TiB "
                         "on (virtio 1.4, 4.2.4)", t->name, queue, (unsigned long long)q->cfg.desc);
    mmio_write(m, VIRTIO_MMIO_QUEUE_SEL, queue);
    if (mmio_read(m, VIRTIO_MMIO_QUEUE_PFN) != 0)
        return mmio_fail(m, -EPROTO, "%s: queue %u is in use before it was set up; the device was not reset "
                         "(virtio 1.4, 4.2.4)", t->name, queue);
    mmio_write(m, VIRTIO_MMIO_QUEUE_SIZE, q->cfg.size);
    mmio_write(m, VIRTIO_MMIO_QUEUE_ALIGN, VIRTIO_MMIO_LEGACY_PAGE);
    vio_io_barrier(); /* the device may look at the rings from here */
    mmio_write(m, VIRTIO_MMIO_QUEUE_PFN, (uint32_t)pfn);
    if (mmio_read(m, VIRTIO_MMIO_QUEUE_PFN) != pfn)
        return mmio_fail(m, -EPROTO, "%s: the device does not take queue %u of %u entries: QueuePFN does not read as "
                         "written (virtio 1.4, 4.2.4)", t->name, queue, q->cfg.size);
    return 0;
}

const struct vio_transport_ops mmio_legacy_ops = {
    .name = "mmio",
    .destroy = mmio_destroy,
    .why = mmio_why,
    .features = features,
    .accept = accept_features,
    .status_get = mmio_status_get,
    .status_set = mmio_status_set,
    .reset = reset,
    .config_read = config_read,
    .config_write = mmio_config_write,
    .queue_max = mmio_queue_max,
    .queue_start = queue_start,
    .kick = mmio_kick,
    .events = mmio_events,
};
