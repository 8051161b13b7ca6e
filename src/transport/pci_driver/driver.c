/* SPDX-License-Identifier: MIT */
/*
 * Purpose: finding out what a PCI function is, and what the modern and the legacy interface share.
 * Where it sits: transport/pci_driver, freestanding. Threads: see vio/driver.h. Trust: the device is hostile.
 */
#include <errno.h>

#include "base/format.h"
#include "spec/config_io.h"
#include "spec/pci.h"
#include "spec/virtio.h"
#include "transport/pci_driver/pci.h"

int pci_fail(struct pci *p, int error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vio_vformat(p->why, sizeof(p->why), format, ap);
    va_end(ap);
    return error;
}

const char *pci_why(struct vio_transport *t)
{
    return pci_of(t)->why;
}

static void forget(struct pci *p)
{
    const struct vio_platform *platform = p->t.platform;

    if (p->notify != NULL)
        platform->free(platform->ctx, p->notify, p->t.queues_max * sizeof(*p->notify));
    platform->free(platform->ctx, p, sizeof(*p));
}

/* A device that is no longer driven has no business in memory. */
void pci_destroy(struct vio_transport *t)
{
    struct pci *p = pci_of(t);
    const struct vio_pci_access *a = p->access;
    uint32_t command;

    if (a->config_read(a->ctx, PCI_COMMAND, 2, &command) == 0)
        (void)a->config_write(a->ctx, PCI_COMMAND, 2, command & ~PCI_COMMAND_MASTER);
    forget(p);
    if (a->close != NULL)
        a->close(a->ctx);
}

/* ------------------------------------------------------------------ status */

static uint32_t status_register(const struct pci *p)
{
    return p->t.legacy ? VIRTIO_PCI_LEGACY_STATUS : VIRTIO_PCI_STATUS;
}

int pci_status_get(struct vio_transport *t, uint8_t *status)
{
    struct pci *p = pci_of(t);

    *status = vio_io_read8(p->part[PCI_COMMON], status_register(p));
    if (*status != UINT8_MAX)
        return 0;
    return pci_fail(p, -ECONNRESET, "%s: device_status reads as all ones: the device is gone", t->name);
}

int pci_status_set(struct vio_transport *t, uint8_t status)
{
    struct pci *p = pci_of(t);

    vio_io_barrier(); /* DRIVER_OK lets the device at the queues */
    vio_io_write8(p->part[PCI_COMMON], status_register(p), status);
    return 0;
}

int pci_reset(struct vio_transport *t)
{
    struct pci *p = pci_of(t);
    uint8_t status = 0;
    int r;

    vio_io_write8(p->part[PCI_COMMON], status_register(p), 0);
    r = pci_status_get(t, &status);
    return r != 0 ? r : status != 0 ? -EINPROGRESS : 0;
}

/* ------------------------------------------------------------------ configuration */

int pci_config_range(struct pci *p, uint32_t offset, uint32_t len)
{
    if (p->config_len == 0)
        return pci_fail(p, -ENOTSUP, "%s: it has no configuration", p->t.name);
    if (!vio_range_ok(offset, len, p->config_len))
        return pci_fail(p, -EINVAL, "%s: %u bytes of configuration from %u are more than the %u that there are (virtio 1.4, "
                        "4.1.4.6)", p->t.name, len, offset, p->config_len);
    return 0;
}

int pci_config_write(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len)
{
    struct pci *p = pci_of(t);
    int r = pci_config_range(p, offset, len);

    if (r == 0)
        virtio_config_put(p->part[PCI_DEVICE], t->type, offset, from, len);
    return r;
}

/* ------------------------------------------------------------------ interrupts */

uint16_t pci_vector_of(const struct pci *p, uint16_t queue)
{
    if (p->vectors == 0)
        return VIRTIO_PCI_NO_VECTOR;
    if (queue == VIO_EVENT_QUEUE_CONFIG || p->vectors == 1)
        return 0;
    return (uint16_t)(1 + queue % (p->vectors - 1));
}

/* virtio 1.4, 4.1.5.1.2: a vector that the device has no room for reads back as none. */
int pci_set_vector(struct pci *p, uint32_t reg, uint16_t vector, uint16_t queue)
{
    vio_io_write16(p->part[PCI_COMMON], reg, vector);
    if (vio_io_read16(p->part[PCI_COMMON], reg) == vector)
        return 0;
    return pci_fail(p, -EBUSY, "%s: the device does not take vector %u for %s %u (virtio 1.4, 4.1.5.1.2)", p->t.name, vector,
                    queue == VIO_EVENT_QUEUE_CONFIG ? "its configuration, event" : "queue", queue);
}

int pci_event_fd(struct vio_transport *t, uint16_t queue)
{
    struct pci *p = pci_of(t);

    if (p->access->event_fd == NULL)
        return -1;
    return p->access->event_fd(p->access->ctx, p->vectors == 0 ? 0 : pci_vector_of(p, queue));
}

/*
 * Reading ISR takes the line of INTx back, and must be before it may interrupt again: else it would at once, without end. What it
 * said is kept for the next look. With MSI-X it is left alone (virtio 1.4, 4.1.4.5.2).
 */
static void take_isr(struct pci *p)
{
    p->isr |= p->t.legacy ? vio_io_read8(p->part[PCI_COMMON], VIRTIO_PCI_LEGACY_ISR) : vio_io_read8(p->part[PCI_ISR], 0);
}

void pci_event_clear(struct vio_transport *t, uint16_t queue)
{
    struct pci *p = pci_of(t);

    if (p->vectors == 0)
        take_isr(p);
    if (p->access->event_clear != NULL)
        p->access->event_clear(p->access->ctx, p->vectors == 0 ? 0 : pci_vector_of(p, queue));
}

/* Of a vector it is known that it came, not why. One that all share is taken note of here. */
unsigned pci_events(struct vio_transport *t)
{
    struct pci *p = pci_of(t);
    uint8_t isr = VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG;

    if (p->vectors <= 1)
        pci_event_clear(t, VIO_EVENT_QUEUE_CONFIG);
    if (p->vectors == 0)
        isr = p->isr;
    p->isr = 0;
    vio_io_barrier(); /* used buffers are looked at after this, or one that comes now would wait for the next event */
    return ((isr & VIRTIO_PCI_ISR_QUEUE) != 0 ? (unsigned)VIO_EVENT_QUEUES : 0) |
           ((isr & VIRTIO_PCI_ISR_CONFIG) != 0 ? (unsigned)VIO_EVENT_CONFIG : 0);
}

/* ------------------------------------------------------------------ making one */

struct identity {
    uint32_t device, type, vendor;
    bool transitional;
};

/* virtio 1.4, 4.1.2: any revision; a transitional device has its type in the subsystem's id. */
static int identify(const struct vio_pci_driver_params *params, struct identity *id, char *why)
{
    const struct vio_pci_access *a = params->access;
    uint32_t word = 0, subsystem = 0, header = 0;

    if (a->config_read(a->ctx, PCI_VENDOR_ID, 4, &word) != 0 || a->config_read(a->ctx, PCI_HEADER_TYPE, 1, &header) != 0 ||
        a->config_read(a->ctx, PCI_SUBSYSTEM_ID & ~3u, 4, &subsystem) != 0) {
        vio_format(why, VIO_DRV_WHY, "pci@%s: configuration space cannot be read", params->name);
        return -EIO;
    }
    id->device = word >> 16;
    if ((word & 0xffff) != VIRTIO_PCI_VENDOR || id->device < VIRTIO_PCI_DEVICE_FIRST ||
        id->device > VIRTIO_PCI_DEVICE_LAST || (header & 0x7f) != 0) {
        vio_format(why, VIO_DRV_WHY, "pci@%s: %04x:%04x is no virtio device (virtio 1.4, 4.1.2)", params->name,
                   word & 0xffff, id->device);
        return -ENODEV;
    }
    id->transitional = id->device < VIRTIO_PCI_DEVICE_MODERN;
    id->type = id->transitional ? subsystem >> 16 : id->device - VIRTIO_PCI_DEVICE_MODERN;
    id->vendor = subsystem & 0xffff;
    if (id->type != 0)
        return 0;
    vio_format(why, VIO_DRV_WHY, "pci@%s: its virtio device id is 0, which is no device (virtio 1.4, 4.1.2)", params->name);
    return -EPROTO;
}

/* Which interface. why has what was wrong with the capabilities, if anything was. */
static int choose(const struct vio_pci_driver_params *params, const struct identity *id, const struct pci_caps *caps,
                  bool *legacy, char *why)
{
    bool modern = caps->common.len > 0 && caps->notify.len > 0 && (caps->isr.len > 0 || params->vectors > 0);

    *legacy = id->transitional && (params->legacy || !modern);
    if (params->legacy && !id->transitional) {
        vio_format(why, VIO_DRV_WHY, "pci@%s: %04x:%04x is not transitional: it has no legacy interface (virtio 1.4, 4.1.2)",
                   params->name, VIRTIO_PCI_VENDOR, id->device);
        return -ENOTSUP;
    }
    if (modern || *legacy)
        return 0;
    if (why[0] == '\0')
        vio_format(why, VIO_DRV_WHY, "pci@%s: it has no capability for %s (virtio 1.4, 4.1.4)", params->name,
                   caps->common.len == 0 ? "the common configuration" : caps->notify.len == 0 ? "notifications" : "ISR");
    return -ENOTSUP;
}

static int check_vectors(const struct vio_pci_driver_params *params, const struct pci_caps *caps, char *why)
{
    uint32_t entries = (caps->msix_control & PCI_MSIX_SIZE_MASK) + 1u;

    if (params->vectors == 0)
        return 0;
    if (caps->msix == 0 || (caps->msix_control & PCI_MSIX_ENABLE) == 0)
        vio_format(why, VIO_DRV_WHY, "pci@%s: %u vectors are to be used, and MSI-X is not %s", params->name, params->vectors,
                   caps->msix == 0 ? "there" : "enabled");
    else if (params->vectors > entries)
        vio_format(why, VIO_DRV_WHY, "pci@%s: %u vectors are to be used, and its MSI-X table has %u", params->name,
                   params->vectors, entries);
    else
        return 0;
    return -EINVAL;
}

static int turn_on(struct pci *p)
{
    const struct vio_pci_access *a = p->access;
    uint32_t command = 0, want = PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY | (p->t.legacy ? PCI_COMMAND_IO : 0);

    if (a->config_read(a->ctx, PCI_COMMAND, 2, &command) != 0 ||
        a->config_write(a->ctx, PCI_COMMAND, 2, command | want) != 0)
        return pci_fail(p, -EIO, "%s: its command register cannot be written", p->t.name);
    return 0;
}

static int open_device(struct pci *p)
{
    int r = turn_on(p);

    return r != 0 ? r : p->t.legacy ? pci_legacy_open(p) : pci_modern_open(p);
}

static int make(const struct vio_pci_driver_params *params, const struct identity *id, const struct pci_caps *caps,
                bool legacy, struct vio_transport **out, char *why)
{
    const struct vio_platform *platform = params->platform;
    struct pci *p = platform->alloc(platform->ctx, sizeof(*p));
    int r;

    if (p == NULL) {
        vio_format(why, VIO_DRV_WHY, "pci@%s: no memory for the device", params->name);
        return -ENOMEM;
    }
    vio_format(p->t.name, sizeof(p->t.name), "pci@%s", params->name);
    p->access = params->access;
    p->caps = *caps;
    p->vectors = params->vectors;
    p->t.ops = legacy ? &pci_legacy_ops : &pci_modern_ops;
    p->t.platform = platform;
    p->t.type = id->type;
    p->t.vendor = id->vendor;
    p->t.legacy = legacy;
    p->t.queue_align = legacy ? VIRTIO_PCI_LEGACY_PAGE : 0;
    p->t.size_fixed = legacy;
    r = open_device(p);
    if (r != 0) {
        vio_format(why, VIO_DRV_WHY, "%s", p->why);
        forget(p);
        return r;
    }
    *out = &p->t;
    return 0;
}

int vio_pci_driver_create(const struct vio_pci_driver_params *params, struct vio_transport **out, char *why)
{
    char unheard[VIO_DRV_WHY];
    struct identity id = { 0 };
    struct pci_caps caps;
    bool legacy;
    int r;

    if (why == NULL)
        why = unheard;
    why[0] = '\0';
    r = identify(params, &id, why);
    if (r == 0)
        r = pci_caps_read(params->access, params->name, &caps, why);
    if (r == 0)
        r = check_vectors(params, &caps, why);
    if (r == 0)
        r = choose(params, &id, &caps, &legacy, why);
    if (r != 0)
        return r;
    why[0] = '\0'; /* of capabilities that are not used */
    return make(params, &id, &caps, legacy, out, why);
}
