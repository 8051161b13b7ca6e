/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the modern interface of a virtio PCI device (virtio 1.4, 4.1.4 and 4.1.5).
 * Where it sits: transport/pci_driver, freestanding. Threads: see vio/driver.h. Trust: the device is hostile.
 */
#include <errno.h>

#include "spec/config_io.h"
#include "spec/pci.h"
#include "spec/virtio.h"
#include "transport/pci_driver/pci.h"

/* A queue that is reset has only to let go of its buffers (virtio 1.4, 2.6.1). */
static const uint64_t QUEUE_RESET_NS = UINT64_C(1000000000);

static struct vio_io common(struct pci *p)
{
    return p->part[PCI_COMMON];
}

/* ------------------------------------------------------------------ opening */

static int open_part(struct pci *p, unsigned part, const struct pci_place *place)
{
    const struct vio_pci_access *a = p->access;
    int r = a->map(a->ctx, place->bar, place->offset, place->len, &p->part[part]);

    if (r == -ENOTSUP && p->caps.window != 0) {
        p->window[part] = (struct pci_window){ a, p->caps.window, place->bar, (uint32_t)place->offset };
        p->part[part] = vio_io_by(&pci_window_ops, &p->window[part]);
        r = 0;
    }
    if (r != 0)
        return pci_fail(p, r, "%s: 0x%llx bytes at 0x%llx of BAR %u cannot be reached", p->t.name,
                        (unsigned long long)place->len, (unsigned long long)place->offset, place->bar);
    return 0;
}

int pci_modern_open(struct pci *p)
{
    const struct vio_platform *platform = p->t.platform;
    const struct pci_place *places[PCI_PARTS] = { &p->caps.common, &p->caps.notify, &p->caps.isr, &p->caps.device };

    for (unsigned i = 0; i < PCI_PARTS; i++) {
        int r = places[i]->len > 0 ? open_part(p, i, places[i]) : 0;

        if (r != 0)
            return r;
    }
    p->config_len = (uint32_t)vio_min_u64(p->caps.device.len, UINT32_MAX);
    p->t.queues_max = vio_io_read16(common(p), VIRTIO_PCI_NUM_QUEUES);
    if (p->t.queues_max == 0)
        return pci_fail(p, -EPROTO, "%s: it says that it has no queue (virtio 1.4, 4.1.4.3)", p->t.name);
    if (p->t.queues_max > VIO_DRV_QUEUES_MAX)
        p->t.queues_max = VIO_DRV_QUEUES_MAX; /* the others are never used */
    p->notify = platform->alloc(platform->ctx, p->t.queues_max * sizeof(*p->notify));
    return p->notify != NULL ? 0 : pci_fail(p, -ENOMEM, "%s: no memory for %u queues", p->t.name, p->t.queues_max);
}

/* ------------------------------------------------------------------ features */

/* A bit whose register the common structure is too short for cannot be meant. */
static void drop_impossible(struct pci *p, struct vio_features *f)
{
    if (p->caps.common.len < VIRTIO_PCI_QUEUE_NOTIF_DATA + 2)
        vio_features_clear(f, VIRTIO_F_NOTIF_CONFIG_DATA);
    if (p->caps.common.len < VIRTIO_PCI_QUEUE_RESET + 2)
        vio_features_clear(f, VIRTIO_F_RING_RESET);
}

/* Words 2 and 3 came late: a device that shows word 1 in both of them only knows two. */
static int features(struct vio_transport *t, struct vio_features *offered)
{
    struct pci *p = pci_of(t);
    uint32_t w[4];

    for (uint32_t i = 0; i < 4; i++) {
        vio_io_write32(common(p), VIRTIO_PCI_DEVICE_FEATURE_SELECT, i);
        w[i] = vio_io_read32(common(p), VIRTIO_PCI_DEVICE_FEATURE);
    }
    p->words_beyond = (w[2] | w[3]) != 0 && !(w[2] == w[1] && w[3] == w[1]);
    offered->w[0] = w[0] | (uint64_t)w[1] << 32;
    offered->w[1] = p->words_beyond ? w[2] | (uint64_t)w[3] << 32 : 0;
    drop_impossible(p, offered);
    return 0;
}

static int accept_features(struct vio_transport *t, const struct vio_features *wanted)
{
    struct pci *p = pci_of(t);

    if (wanted->w[1] != 0 && !p->words_beyond)
        return pci_fail(p, -EINVAL, "%s: feature bits beyond 63 are wanted, and the device has none", t->name);
    for (uint32_t word = p->words_beyond ? 4 : 2; word-- > 0;) {
        vio_io_write32(common(p), VIRTIO_PCI_DRIVER_FEATURE_SELECT, word);
        vio_io_write32(common(p), VIRTIO_PCI_DRIVER_FEATURE, (uint32_t)(wanted->w[word / 2] >> (word % 2 * 32)));
    }
    p->accepted = *wanted;
    if (p->vectors == 0)
        return 0;
    return pci_set_vector(p, VIRTIO_PCI_CONFIG_MSIX_VECTOR, pci_vector_of(p, VIO_EVENT_QUEUE_CONFIG), VIO_EVENT_QUEUE_CONFIG);
}

/* ------------------------------------------------------------------ configuration */

static int config_read(struct vio_transport *t, uint32_t offset, void *to, uint32_t len)
{
    struct pci *p = pci_of(t);
    int r = pci_config_range(p, offset, len);

    if (r == 0)
        virtio_config_get(p->part[PCI_DEVICE], t->type, offset, to, len);
    return r;
}

static int generation(struct vio_transport *t, uint32_t *value)
{
    *value = vio_io_read8(common(pci_of(t)), VIRTIO_PCI_GENERATION);
    return 0;
}

/* ------------------------------------------------------------------ queues */

static int queue_max(struct vio_transport *t, uint16_t queue, uint16_t *size)
{
    struct pci *p = pci_of(t);

    *size = 0;
    if (queue >= t->queues_max)
        return 0;
    vio_io_write16(common(p), VIRTIO_PCI_QUEUE_SELECT, queue);
    *size = vio_io_read16(common(p), VIRTIO_PCI_QUEUE_SIZE);
    if (*size > VIRTQ_SIZE_MAX)
        return pci_fail(p, -EPROTO, "%s: queue %u is said to hold %u entries; the most is %u (virtio 1.4, 2.7 and 2.8)",
                        t->name, queue, *size, VIRTQ_SIZE_MAX);
    return 0;
}

/* Finds out where this queue is notified. It is selected. (virtio 1.4, 4.1.4.4 and 4.1.5.2) */
static int find_notify(struct pci *p, uint16_t queue)
{
    bool with_data = vio_features_has(p->accepted, VIRTIO_F_NOTIFICATION_DATA);
    unsigned width = with_data ? 4 : 2;
    uint16_t off = vio_io_read16(common(p), VIRTIO_PCI_QUEUE_NOTIFY_OFF);
    uint64_t at = (uint64_t)off * p->caps.notify_multiplier;

    if (!vio_range_ok(at, width, p->caps.notify.len) || (p->caps.notify.offset + at) % width != 0)
        return pci_fail(p, -EPROTO, "%s: queue %u is notified at 0x%llx: not %u aligned bytes within the notification "
                        "structure of 0x%llx (virtio 1.4, 4.1.4.4)", p->t.name, queue, (unsigned long long)at, width,
                        (unsigned long long)p->caps.notify.len);
    p->notify[queue].at = vio_io_at(p->part[PCI_NOTIFY], at);
    p->notify[queue].data = queue;
    if (vio_features_has(p->accepted, VIRTIO_F_NOTIF_CONFIG_DATA))
        p->notify[queue].data = vio_io_read16(common(p), VIRTIO_PCI_QUEUE_NOTIF_DATA);
    return 0;
}

static void write_address(struct pci *p, uint32_t reg, uint64_t address)
{
    vio_io_write32(common(p), reg, (uint32_t)address);
    vio_io_write32(common(p), reg + 4, (uint32_t)(address >> 32));
}

static int queue_start(struct vio_transport *t, uint16_t queue, const struct vio_transport_queue *q)
{
    struct pci *p = pci_of(t);
    int r;

    if (queue >= t->queues_max)
        return pci_fail(p, -ENOENT, "%s: there is no queue %u; it has %u", t->name, queue, t->queues_max);
    vio_io_write16(common(p), VIRTIO_PCI_QUEUE_SELECT, queue);
    if (vio_io_read16(common(p), VIRTIO_PCI_QUEUE_ENABLE) != 0)
        return pci_fail(p, -EPROTO, "%s: queue %u is enabled before it was set up; the device was not reset (virtio 1.4, "
                        "4.1.4.3)", t->name, queue);
    r = find_notify(p, queue);
    if (r == 0 && p->vectors > 0)
        r = pci_set_vector(p, VIRTIO_PCI_QUEUE_MSIX_VECTOR, q->polled ? VIRTIO_PCI_NO_VECTOR : pci_vector_of(p, queue), queue);
    if (r != 0)
        return r;
    vio_io_write16(common(p), VIRTIO_PCI_QUEUE_SIZE, q->cfg.size);
    write_address(p, VIRTIO_PCI_QUEUE_DESC, q->cfg.desc);
    write_address(p, VIRTIO_PCI_QUEUE_DRIVER, q->cfg.driver);
    write_address(p, VIRTIO_PCI_QUEUE_DEVICE, q->cfg.device);
    vio_io_barrier(); /* the device may look at the rings from here */
    vio_io_write16(common(p), VIRTIO_PCI_QUEUE_ENABLE, 1);
    if (vio_io_read16(common(p), VIRTIO_PCI_QUEUE_ENABLE) != 1)
        return pci_fail(p, -EPROTO, "%s: the device does not take queue %u of %u entries: queue_enable does not read 1 "
                        "(virtio 1.4, 4.1.4.3)", t->name, queue, q->cfg.size);
    return 0;
}

static int queue_stop(struct vio_transport *t, uint16_t queue, struct vio_queue_state *state)
{
    const struct vio_platform *platform = t->platform;
    struct pci *p = pci_of(t);
    uint64_t end;
    uint16_t v;

    if (!vio_features_has(p->accepted, VIRTIO_F_RING_RESET))
        return -ENOTSUP;
    end = platform->now_ns(platform->ctx) + QUEUE_RESET_NS;
    vio_io_write16(common(p), VIRTIO_PCI_QUEUE_SELECT, queue);
    vio_io_write16(common(p), VIRTIO_PCI_QUEUE_RESET, 1);
    while ((v = vio_io_read16(common(p), VIRTIO_PCI_QUEUE_RESET)) != 0) {
        if (v != 1)
            return pci_fail(p, -EPROTO, "%s: queue_reset reads 0x%x; it is 0 or 1 (virtio 1.4, 2.6.1)", t->name, v);
        if (platform->now_ns(platform->ctx) > end)
            return pci_fail(p, -ETIMEDOUT, "%s: queue %u is not reset after a second (virtio 1.4, 2.6.1)", t->name, queue);
        if (platform->pause != NULL)
            platform->pause(platform->ctx);
    }
    if (vio_io_read16(common(p), VIRTIO_PCI_QUEUE_ENABLE) != 0)
        return pci_fail(p, -EPROTO, "%s: queue %u is still enabled after its reset (virtio 1.4, 2.6.1)", t->name, queue);
    if (state != NULL)
        *state = vio_queue_state_initial(vio_features_has(p->accepted, VIRTIO_F_RING_PACKED));
    return 0;
}

static void kick(struct vio_transport *t, uint16_t queue, uint32_t data)
{
    struct pci *p = pci_of(t);
    const struct pci_notify *n = &p->notify[queue];

    vio_transport_barrier(t);
    if (vio_features_has(p->accepted, VIRTIO_F_NOTIFICATION_DATA))
        vio_io_write32(n->at, 0, (data & 0xffff0000u) | n->data);
    else
        vio_io_write16(n->at, 0, n->data);
}

static int shm(struct vio_transport *t, uint8_t id, struct vio_transport_shm *region)
{
    struct pci *p = pci_of(t);
    const struct vio_pci_access *a = p->access;

    for (unsigned i = 0; i < p->caps.nr_shm; i++) {
        const struct pci_place *place = &p->caps.shm[i].place;

        if (p->caps.shm[i].id != id)
            continue;
        *region = (struct vio_transport_shm){ .len = place->len };
        if (a->map_shm == NULL || a->map_shm(a->ctx, place->bar, place->offset, place->len, &region->host) != 0)
            return pci_fail(p, -ENOTSUP, "%s: shared memory %u, 0x%llx bytes in BAR %u, cannot be mapped", t->name, id,
                            (unsigned long long)place->len, place->bar);
        return 0;
    }
    return -ENOENT;
}

const struct vio_transport_ops pci_modern_ops = {
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
    .generation = generation,
    .queue_max = queue_max,
    .queue_start = queue_start,
    .queue_stop = queue_stop,
    .kick = kick,
    .event_fd = pci_event_fd,
    .event_clear = pci_event_clear,
    .events = pci_events,
    .shm = shm,
};
