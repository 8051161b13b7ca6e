/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the list of capabilities of a virtio PCI device (virtio 1.4, 4.1.4), walked once, each byte read once, each
 * place checked against its BAR. Where it sits: transport/pci_driver, freestanding. Threads: the control thread.
 * Trust: the device wrote all of this: a list may loop, a place may be anywhere, a BAR may not be there.
 */
#include <errno.h>

#include "base/format.h"
#include "spec/pci.h"
#include "transport/pci_driver/pci.h"

struct walk {
    const struct vio_pci_access *access;
    const char *name;
    struct pci_caps *caps;
    char *why;
    uint32_t word[6]; /* the capability at hand, as it was read */
    uint8_t at;
};

static int unreadable(struct walk *w, uint32_t offset)
{
    vio_format(w->why, VIO_DRV_WHY, "pci@%s: configuration space cannot be read at 0x%x", w->name, offset);
    return -EIO;
}

static uint8_t byte_of(const struct walk *w, unsigned at)
{
    return (uint8_t)(w->word[at / 4] >> (at % 4 * 8));
}

/*
 * Whether the place is in its BAR, aligned, and `least` bytes long. Where not, why says so, for the case that no
 * better capability of this type follows: the first that can be supported is used (virtio 1.4, 4.1.4.1).
 */
static bool place_ok(struct walk *w, const struct pci_place *p, uint64_t least, unsigned align, const char *what)
{
    const struct vio_pci_access *a = w->access;
    uint64_t bar_len = 0;
    bool ports = false;

    if (a->bar(a->ctx, p->bar, &bar_len, &ports) != 0 || bar_len == 0)
        vio_format(w->why, VIO_DRV_WHY, "pci@%s: the %s structure is in BAR %u, which there is not (virtio 1.4, 4.1.4)",
                   w->name, what, p->bar);
    else if (!vio_range_ok(p->offset, p->len, bar_len))
        vio_format(w->why, VIO_DRV_WHY, "pci@%s: the %s structure, 0x%llx bytes at 0x%llx, is beyond the 0x%llx bytes of BAR "
                   "%u (virtio 1.4, 4.1.4)", w->name, what, (unsigned long long)p->len, (unsigned long long)p->offset,
                   (unsigned long long)bar_len, p->bar);
    else if (p->len < least)
        vio_format(w->why, VIO_DRV_WHY, "pci@%s: the %s structure has %llu bytes, and at least %llu are needed (virtio 1.4, "
                   "4.1.4)", w->name, what, (unsigned long long)p->len, (unsigned long long)least);
    else if (p->offset % align != 0)
        vio_format(w->why, VIO_DRV_WHY, "pci@%s: the %s structure at 0x%llx is not aligned to %u (virtio 1.4, 4.1.4)", w->name,
                   what, (unsigned long long)p->offset, align);
    else
        return true;
    return false;
}

static void take_place(struct walk *w, struct pci_place *to, uint64_t least, unsigned align, const char *what)
{
    struct pci_place p = { byte_of(w, VIRTIO_PCI_CAP_BAR), w->word[VIRTIO_PCI_CAP_OFFSET / 4],
                           w->word[VIRTIO_PCI_CAP_LENGTH / 4] };

    if (to->len == 0 && place_ok(w, &p, least, align, what))
        *to = p;
}

static void take_notify(struct walk *w)
{
    uint32_t multiplier = w->word[VIRTIO_PCI_CAP_MULTIPLIER / 4];

    if (w->caps->notify.len != 0)
        return;
    if (multiplier == 1 || (multiplier & (multiplier - 1)) != 0) {
        vio_format(w->why, VIO_DRV_WHY, "pci@%s: notify_off_multiplier is 0x%x, neither 0 nor an even power of two "
                   "(virtio 1.4, 4.1.4.4)", w->name, multiplier);
        return;
    }
    take_place(w, &w->caps->notify, 2, 2, "notification");
    if (w->caps->notify.len != 0)
        w->caps->notify_multiplier = multiplier;
}

/* The first of each id; what is not within its BAR is as good as not there (virtio 1.4, 4.1.4.7). */
static void take_shm(struct walk *w)
{
    struct pci_caps *c = w->caps;
    uint8_t id = byte_of(w, VIRTIO_PCI_CAP_ID);
    struct pci_place p = {
        byte_of(w, VIRTIO_PCI_CAP_BAR),
        w->word[VIRTIO_PCI_CAP_OFFSET / 4] | (uint64_t)w->word[VIRTIO_PCI_CAP_OFFSET_HI / 4] << 32,
        w->word[VIRTIO_PCI_CAP_LENGTH / 4] | (uint64_t)w->word[VIRTIO_PCI_CAP_LENGTH_HI / 4] << 32,
    };

    for (unsigned i = 0; i < c->nr_shm; i++) {
        if (c->shm[i].id == id)
            return;
    }
    if (c->nr_shm == PCI_SHM_MAX || !place_ok(w, &p, 1, 1, "shared memory"))
        return;
    c->shm[c->nr_shm].id = id;
    c->shm[c->nr_shm++].place = p;
}

/* Reads the rest of a vendor capability; false: too short for its type, or of no use. */
static bool read_virtio_cap(struct walk *w, int *error)
{
    uint32_t len = byte_of(w, VIRTIO_PCI_CAP_LEN), type = byte_of(w, VIRTIO_PCI_CAP_TYPE), need = VIRTIO_PCI_CAP_BYTES;

    if (type == VIRTIO_PCI_CAP_NOTIFY || type == VIRTIO_PCI_CAP_WINDOW)
        need += 4;
    else if (type == VIRTIO_PCI_CAP_SHARED_MEMORY)
        need += 8;
    else if (type < VIRTIO_PCI_CAP_COMMON || type > VIRTIO_PCI_CAP_WINDOW)
        return false; /* reserved, or a vendor's own: ignored (virtio 1.4, 4.1.4.1) */
    if (len < need || w->at + len > PCI_CONFIG_BYTES) {
        vio_format(w->why, VIO_DRV_WHY, "pci@%s: the capability of type %u at 0x%x has %u bytes, and %u are needed (virtio "
                   "1.4, 4.1.4)", w->name, type, w->at, len, need);
        return false;
    }
    /* The window's data is not read: that would be an access through it. */
    for (uint32_t i = 1; i < need / 4 - (type == VIRTIO_PCI_CAP_WINDOW); i++) {
        if (w->access->config_read(w->access->ctx, w->at + 4 * i, 4, &w->word[i]) != 0) {
            *error = unreadable(w, w->at + 4 * i);
            return false;
        }
    }
    return type == VIRTIO_PCI_CAP_WINDOW || byte_of(w, VIRTIO_PCI_CAP_BAR) < VIO_PCI_BARS;
}

static int take_virtio_cap(struct walk *w)
{
    struct pci_caps *c = w->caps;
    int error = 0;

    if (!read_virtio_cap(w, &error))
        return error;
    switch (byte_of(w, VIRTIO_PCI_CAP_TYPE)) {
    case VIRTIO_PCI_CAP_COMMON:
        take_place(w, &c->common, VIRTIO_PCI_COMMON_BYTES, 4, "common configuration");
        break;
    case VIRTIO_PCI_CAP_NOTIFY:
        take_notify(w);
        break;
    case VIRTIO_PCI_CAP_ISR:
        take_place(w, &c->isr, 1, 1, "ISR");
        break;
    case VIRTIO_PCI_CAP_DEVICE:
        take_place(w, &c->device, 1, 4, "device configuration");
        break;
    case VIRTIO_PCI_CAP_WINDOW:
        if (c->window == 0)
            c->window = w->at;
        break;
    default:
        take_shm(w);
    }
    return 0;
}

static bool overlap(const struct pci_place *a, const struct pci_place *b)
{
    return a->len > 0 && b->len > 0 && a->bar == b->bar && a->offset < b->offset + b->len && b->offset < a->offset + a->len;
}

/*
 * Registers that lie over each other cannot both mean what they say, and shared memory over registers would let whoever
 * is given it command the device. The sums are below 2^64: each place lies in its BAR.
 */
static int check_overlaps(struct walk *w)
{
    const struct pci_caps *c = w->caps;
    const struct pci_place *parts[] = { &c->common, &c->notify, &c->isr, &c->device };
    static const char *const names[] = { "common configuration", "notification", "ISR", "device configuration" };

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = i + 1; j < 4; j++) {
            if (!overlap(parts[i], parts[j]))
                continue;
            vio_format(w->why, VIO_DRV_WHY, "pci@%s: the %s and %s structures overlap in BAR %u (virtio 1.4, 4.1.4)", w->name,
                       names[i], names[j], parts[i]->bar);
            return -EPROTO;
        }
        for (unsigned j = 0; j < c->nr_shm; j++) {
            if (!overlap(parts[i], &c->shm[j].place))
                continue;
            vio_format(w->why, VIO_DRV_WHY, "pci@%s: shared memory %u overlaps the %s structure in BAR %u (virtio 1.4, "
                       "4.1.4.7)", w->name, c->shm[j].id, names[i], parts[i]->bar);
            return -EPROTO;
        }
    }
    return 0;
}

static int walk(struct walk *w, uint32_t at)
{
    uint64_t seen = 0; /* one bit for each place where a capability can be */

    while (at != 0) {
        int r = 0;

        if (at < PCI_CAP_FIRST || (seen >> (at / 4) & 1) != 0) {
            vio_format(w->why, VIO_DRV_WHY, "pci@%s: the list of capabilities %s at 0x%x (virtio 1.4, 4.1.4)", w->name,
                       at < PCI_CAP_FIRST ? "leads into the header" : "loops", at);
            return -EPROTO;
        }
        seen |= UINT64_C(1) << (at / 4);
        w->at = (uint8_t)at;
        if (w->access->config_read(w->access->ctx, at, 4, &w->word[0]) != 0)
            return unreadable(w, at);
        if (byte_of(w, 0) == PCI_CAP_ID_VENDOR) {
            r = take_virtio_cap(w);
        } else if (byte_of(w, 0) == PCI_CAP_ID_MSIX && w->caps->msix == 0) {
            w->caps->msix = w->at;
            w->caps->msix_control = (uint16_t)(w->word[0] >> 16);
        }
        if (r != 0)
            return r;
        at = byte_of(w, 1) & 0xfcu;
    }
    return check_overlaps(w);
}

int pci_caps_read(const struct vio_pci_access *access, const char *name, struct pci_caps *out, char *why)
{
    struct walk w = { .access = access, .name = name, .caps = out, .why = why };
    uint32_t status = 0, first = 0;

    *out = (struct pci_caps){ 0 };
    if (access->config_read(access->ctx, PCI_STATUS, 2, &status) != 0)
        return unreadable(&w, PCI_STATUS);
    if ((status & PCI_STATUS_CAP_LIST) == 0)
        return 0;
    out->has_list = true;
    if (access->config_read(access->ctx, PCI_CAP_POINTER, 1, &first) != 0)
        return unreadable(&w, PCI_CAP_POINTER);
    return walk(&w, first & 0xfcu);
}
