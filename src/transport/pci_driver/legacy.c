/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the legacy interface of a transitional PCI device (virtio 1.4, 4.1.4.10): all in BAR 0, 32 feature bits, queues
 * in one piece of the size that the device wants. Where it sits: transport/pci_driver, freestanding.
 * Threads: see vio/driver.h. Trust: the device is hostile.
 */
#include <errno.h>

#include "spec/config_io.h"
#include "spec/pci.h"
#include "spec/ring.h"
#include "spec/virtio.h"
#include "transport/pci_driver/pci.h"

/* The interface has no count: a queue that is not there has size 0. */
enum { LEGACY_QUEUES = 256 };

static struct vio_io header(struct pci *p)
{
    return p->part[PCI_COMMON];
}

static bool msix_enabled(const struct pci *p)
{
    return p->caps.msix != 0 && (p->caps.msix_control & PCI_MSIX_ENABLE) != 0;
}

int pci_legacy_open(struct pci *p)
{
    const struct vio_pci_access *a = p->access;
    uint32_t config = msix_enabled(p) ? VIRTIO_PCI_LEGACY_CONFIG_MSIX : VIRTIO_PCI_LEGACY_CONFIG;
    uint64_t len = 0;
    bool ports = false;

    if (a->bar(a->ctx, 0, &len, &ports) != 0 || !ports || len < config)
        return pci_fail(p, -ENOTSUP, "%s: no %u bytes of I/O ports in BAR 0, which the legacy interface is (virtio 1.4, "
                        "4.1.4.10)", p->t.name, config);
    if (a->map(a->ctx, 0, 0, len, &p->part[PCI_COMMON]) != 0)
        return pci_fail(p, -ENOTSUP, "%s: the I/O ports of BAR 0 cannot be reached here", p->t.name);
    p->part[PCI_DEVICE] = vio_io_at(p->part[PCI_COMMON], config);
    p->config_len = (uint32_t)vio_min_u64(len - config, UINT32_MAX);
    return 0;
}

static int features(struct vio_transport *t, struct vio_features *offered)
{
    *offered = vio_features_of(vio_io_read32(header(pci_of(t)), VIRTIO_PCI_LEGACY_DEVICE_FEATURES));
    return 0;
}

static int accept_features(struct vio_transport *t, const struct vio_features *wanted)
{
    struct pci *p = pci_of(t);

    if (wanted->w[0] > UINT32_MAX || wanted->w[1] != 0)
        return pci_fail(p, -EINVAL, "%s: a legacy device has 32 feature bits, and more are wanted (virtio 1.4, 2.2.3)",
                        t->name);
    vio_io_write32(header(p), VIRTIO_PCI_LEGACY_DRIVER_FEATURES, (uint32_t)wanted->w[0]);
    p->accepted = *wanted;
    if (p->vectors == 0)
        return 0;
    return pci_set_vector(p, VIRTIO_PCI_LEGACY_CONFIG_VECTOR, pci_vector_of(p, VIO_EVENT_QUEUE_CONFIG),
                          VIO_EVENT_QUEUE_CONFIG);
}

static int config_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    struct pci *p = pci_of(t);
    int r = pci_config_range(p, offset, len);

    if (r == 0 && !virtio_config_get_stable(p->part[PCI_DEVICE], t->type, offset, to, len))
        return pci_fail(p, -EAGAIN, "%s: the configuration does not stop to change", t->name);
    return r;
}

/* The size is the device's own choice: it cannot be lowered (virtio 1.4, 4.1.5.1.3). */
static int queue_max(struct vio_transport *t, uint16_t queue, uint16_t *size)
{
    struct pci *p = pci_of(t);

    *size = 0;
    if (queue >= LEGACY_QUEUES)
        return 0;
    vio_io_write16(header(p), VIRTIO_PCI_LEGACY_QUEUE_SELECT, queue);
    *size = vio_io_read16(header(p), VIRTIO_PCI_LEGACY_QUEUE_SIZE);
    if (*size > VIRTQ_SIZE_MAX || (*size & (*size - 1)) != 0)
        return pci_fail(p, -EPROTO, "%s: queue %u has %u entries; it is a power of two up to %u (virtio 1.4, 2.7)", t->name,
                        queue, *size, VIRTQ_SIZE_MAX);
    return 0;
}

static int queue_check(struct pci *p, uint16_t queue, const struct vio_queue_cfg *cfg)
{
    uint16_t size;
    int r = queue_max(&p->t, queue, &size);

    if (r != 0)
        return r;
    if (cfg->size != size)
        return pci_fail(p, -EINVAL, "%s: queue %u is to have %u entries, and has %u, which a legacy device does not change "
                        "(virtio 1.4, 4.1.5.1.3)", p->t.name, queue, cfg->size, size);
    if (!virtq_in_one_piece(cfg->size, cfg->desc, cfg->driver, cfg->device, VIRTIO_PCI_LEGACY_PAGE))
        return pci_fail(p, -EINVAL, "%s: queue %u does not lie in one piece as a legacy device wants it (virtio 1.4, 2.7.2)",
                        p->t.name, queue);
    if (cfg->desc == 0 || cfg->desc / VIRTIO_PCI_LEGACY_PAGE > UINT32_MAX)
        return pci_fail(p, -ERANGE, "%s: queue %u is at 0x%llx, and a legacy device reaches no queue at 0, nor from 16 TiB on "
                        "(virtio 1.4, 4.1.5.1.3)", p->t.name, queue, (unsigned long long)cfg->desc);
    return 0;
}

static int queue_start(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q)
{
    struct pci *p = pci_of(t);
    uint32_t pfn = (uint32_t)(q->cfg.desc / VIRTIO_PCI_LEGACY_PAGE);
    int r;

    if (queue >= LEGACY_QUEUES)
        return pci_fail(p, -ENOENT, "%s: there is no queue %u", t->name, queue);
    r = queue_check(p, queue, &q->cfg); /* selects it */
    if (r != 0)
        return r;
    if (vio_io_read32(header(p), VIRTIO_PCI_LEGACY_QUEUE_PFN) != 0)
        return pci_fail(p, -EPROTO, "%s: queue %u is in use before it was set up; the device was not reset (virtio 1.4, "
                        "4.1.5.1.3)", t->name, queue);
    if (p->vectors > 0)
        r = pci_set_vector(p, VIRTIO_PCI_LEGACY_QUEUE_VECTOR, q->polled ? VIRTIO_PCI_NO_VECTOR : pci_vector_of(p, queue),
                           queue);
    if (r != 0)
        return r;
    vio_io_barrier();
    vio_io_write32(header(p), VIRTIO_PCI_LEGACY_QUEUE_PFN, pfn);
    if (vio_io_read32(header(p), VIRTIO_PCI_LEGACY_QUEUE_PFN) != pfn)
        return pci_fail(p, -EPROTO, "%s: the device does not take queue %u: its address does not read as written "
                        "(virtio 1.4, 4.1.5.1.3)", t->name, queue);
    return 0;
}

static void kick(struct vio_transport *t, uint16_t queue, uint32_t data)
{
    (void)data; /* NOTIFICATION_DATA is bit 38 */
    vio_transport_barrier(t);
    vio_io_write16(header(pci_of(t)), VIRTIO_PCI_LEGACY_QUEUE_NOTIFY, queue);
}

const struct vio_transport_ops pci_legacy_ops = {
    .name = "pci",
    .destroy = pci_destroy,
    .why = pci_why,
    .features = features,
    .accept = accept_features,
    .status_get = pci_status_get,
    .status_set = pci_status_set,
    .reset = pci_reset,
    .config_read = config_read,
    .config_write = pci_config_write,
    .queue_max = queue_max,
    .queue_start = queue_start,
    .kick = kick,
    .event_fd = pci_event_fd,
    .event_clear = pci_event_clear,
    .events = pci_events,
};
