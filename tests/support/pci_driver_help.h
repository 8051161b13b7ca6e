/* SPDX-License-Identifier: MIT */
/* A virtio disk on a modelled PCI function, for the tests of the PCI driver side. */
#ifndef VIO_TEST_PCI_DRIVER_HELP_H
#define VIO_TEST_PCI_DRIVER_HELP_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "heap_platform.h"
#include "pci_model.h"
#include "spec/virtio.h"

/* BAR 4, as QEMU has it: common at 0, ISR at 0x1000, configuration at 0x2000, notifications at 0x3000. */
enum { BAR = 4, COMMON = 0, ISR = 0x1000, CONFIG = 0x2000, NOTIFY = 0x3000, BAR_LEN = 0x4000, QUEUES = 3, KICKS = 8 };

struct device {
    struct pci_model pci; /* first: the model's callbacks are given it */
    struct heap_platform heap;
    uint8_t common[64];
    uint32_t features[4], accepted[4];
    uint16_t num_queues, queue_max[QUEUES], vector[QUEUES], enabled[QUEUES], notify_off[QUEUES];
    uint64_t desc[QUEUES];
    uint8_t isr, config[0x100], status;
    uint16_t vectors_held; /* more are refused */
    unsigned reset_takes;
    bool deaf;
    uint32_t kicked[KICKS];
    uint64_t kicked_at[KICKS];
    unsigned kick_width[KICKS], kicks;
    uint32_t pfn[QUEUES]; /* legacy */
    unsigned widths;
    struct vio_transport *t;
};

static uint32_t select_of(const struct device *d)
{
    return d->common[VIRTIO_PCI_QUEUE_SELECT] | (uint32_t)d->common[VIRTIO_PCI_QUEUE_SELECT + 1] << 8;
}

static uint32_t common_read(struct device *d, uint64_t at, unsigned width)
{
    uint32_t q = select_of(d), v = 0;

    switch (at) {
    case VIRTIO_PCI_DEVICE_FEATURE:
        return d->features[d->common[VIRTIO_PCI_DEVICE_FEATURE_SELECT] & 3];
    case VIRTIO_PCI_NUM_QUEUES:
        return d->num_queues;
    case VIRTIO_PCI_STATUS:
        return d->status == 0 && d->reset_takes > 0 && d->reset_takes-- > 1 ? 0xf : d->status;
    case VIRTIO_PCI_QUEUE_SIZE:
        return q < QUEUES ? d->queue_max[q] : 0;
    case VIRTIO_PCI_QUEUE_ENABLE:
        return q < QUEUES ? d->enabled[q] : 0;
    case VIRTIO_PCI_QUEUE_NOTIFY_OFF:
        return q < QUEUES ? d->notify_off[q] : 0;
    case VIRTIO_PCI_QUEUE_NOTIF_DATA:
        return 0x700 + q;
    case VIRTIO_PCI_QUEUE_RESET:
        if (d->common[at] == 1 && d->reset_takes > 0 && --d->reset_takes == 0) {
            d->common[at] = 0;
            d->enabled[q] = 0;
        }
        return d->common[at];
    case VIRTIO_PCI_QUEUE_MSIX_VECTOR:
        return q < QUEUES ? d->vector[q] : 0xffff;
    default:
        v = vio_io_load_bytes(d->common + at, width);
        return v;
    }
}

static inline void common_write(struct device *d, uint64_t at, unsigned width, uint32_t v)
{
    uint32_t q = select_of(d);

    vio_io_store_bytes(d->common + at, width, v);
    if (at == VIRTIO_PCI_DRIVER_FEATURE)
        d->accepted[d->common[VIRTIO_PCI_DRIVER_FEATURE_SELECT] & 3] = v;
    else if (at == VIRTIO_PCI_STATUS)
        d->status = (uint8_t)v;
    else if (at == VIRTIO_PCI_QUEUE_MSIX_VECTOR && q < QUEUES)
        d->vector[q] = v < d->vectors_held ? (uint16_t)v : 0xffff;
    else if (at == VIRTIO_PCI_CONFIG_MSIX_VECTOR && v >= d->vectors_held)
        memset(d->common + at, 0xff, 2);
    else if (at == VIRTIO_PCI_QUEUE_ENABLE && q < QUEUES && !d->deaf)
        d->enabled[q] = (uint16_t)v;
    else if (at == VIRTIO_PCI_QUEUE_DESC && q < QUEUES)
        d->desc[q] = (d->desc[q] & ~UINT64_C(0xffffffff)) | v;
    else if (at == VIRTIO_PCI_QUEUE_DESC + 4 && q < QUEUES)
        d->desc[q] = (uint32_t)d->desc[q] | (uint64_t)v << 32;
}

static uint32_t device_read(struct pci_model *m, unsigned bar, uint64_t at, unsigned width)
{
    struct device *d = (struct device *)m;
    uint32_t v = 0;

    assert_int_equal(bar, BAR);
    assert_int_equal(at % width, 0);
    assert_true(at + width <= BAR_LEN);
    if (at < ISR) {
        assert_true(at + width <= sizeof(d->common));
        return common_read(d, at, width);
    }
    if (at < CONFIG) {
        assert_true(at == ISR && width == 1);
        v = d->isr;
        d->isr = 0;
        return v;
    }
    assert_true(at < NOTIFY && at - CONFIG + width <= sizeof(d->config));
    d->widths |= width;
    v = vio_io_load_bytes(d->config + (at - CONFIG), width);
    return v;
}

static inline void device_write(struct pci_model *m, unsigned bar, uint64_t at, unsigned width, uint32_t v)
{
    struct device *d = (struct device *)m;

    assert_int_equal(bar, BAR);
    assert_int_equal(at % width, 0);
    if (at < ISR) {
        common_write(d, at, width, v);
    } else if (at >= NOTIFY) {
        assert_true(d->kicks < KICKS && at + width <= BAR_LEN);
        d->kicked[d->kicks] = v;
        d->kicked_at[d->kicks] = at - NOTIFY;
        d->kick_width[d->kicks++] = width;
    } else {
        assert_true(at >= CONFIG && at - CONFIG + width <= sizeof(d->config));
        vio_io_store_bytes(d->config + (at - CONFIG), width, v);
    }
}

/* A modern disk, with no capability yet. */
static inline void blank(struct device *d)
{
    *d = (struct device){ .num_queues = QUEUES, .queue_max = { 256, 128, 0 }, .notify_off = { 0, 1, 2 } };
    pci_model_init(&d->pci, 0x1042, 0x1100);
    d->pci.bar_len[BAR] = BAR_LEN;
    d->pci.read = device_read;
    d->pci.write = device_write;
    heap_platform_init(&d->heap);
    d->features[0] = 0x30000044;
    d->features[1] = 0x000001d1; /* VERSION_1, ORDER_PLATFORM, NOTIFICATION_DATA, NOTIF_CONFIG_DATA, RING_RESET */
    memset(d->vector, 0xff, sizeof(d->vector));
}

static inline void add_caps(struct device *d)
{
    uint8_t at;

    pci_model_virtio_cap(&d->pci, VIRTIO_PCI_CAP_COMMON, BAR, COMMON, 64);
    pci_model_virtio_cap(&d->pci, VIRTIO_PCI_CAP_ISR, BAR, ISR, 1);
    pci_model_virtio_cap(&d->pci, VIRTIO_PCI_CAP_DEVICE, BAR, CONFIG, sizeof(d->config));
    at = pci_model_virtio_cap(&d->pci, VIRTIO_PCI_CAP_NOTIFY, BAR, NOTIFY, 0x1000);
    pci_model_put(&d->pci, at + 16u, 4, 4);
}

static inline int try(struct device *d, uint16_t vectors, bool legacy, char *why)
{
    struct vio_pci_driver_params params = { .access = &d->pci.access, .name = "0000:00:04.0", .platform = &d->heap.p,
                                            .vectors = vectors, .legacy = legacy };
    int r = vio_pci_driver_create(&params, &d->t, why);

    if (r != 0) {
        assert_int_equal(d->heap.held, 0);
        assert_int_equal(d->pci.closed, 0);
    }
    return r;
}

static inline void make(struct device *d)
{
    blank(d);
    add_caps(d);
    assert_int_equal(try(d, 0, false, NULL), 0);
}

static inline void unmake(struct device *d)
{
    d->t->ops->destroy(d->t);
    assert_int_equal(d->heap.held, 0);
    assert_int_equal(d->pci.closed, 1);
    d->pci.closed = 0;
    assert_int_equal(pci_model_get(&d->pci, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, 0);
}

static inline void accept_low(struct device *d, uint64_t low)
{
    struct vio_features f = vio_features_of(low | VIO_FEATURE(VIRTIO_F_VERSION_1));

    assert_int_equal(d->t->ops->accept(d->t, &f), 0);
}

static const struct vio_transport_queue ring = {
    .cfg = { .size = 128, .desc = 0x123456000, .driver = 0x123456800, .device = 0x123457000 },
};

/* ------------------------------------------------------------------ the legacy ports */

static inline uint32_t legacy_read(struct pci_model *m, unsigned bar, uint64_t at, unsigned width)
{
    struct device *d = (struct device *)m;
    uint32_t q = d->common[VIRTIO_PCI_LEGACY_QUEUE_SELECT], v = 0;
    uint32_t config = (pci_model_get(m, 0x42, 2) & PCI_MSIX_ENABLE) != 0 ? 0x18 : 0x14;

    assert_int_equal(bar, 0);
    if (at >= config) {
        v = vio_io_load_bytes(d->config + (at - config), width);
        return v;
    }
    switch (at) {
    case VIRTIO_PCI_LEGACY_DEVICE_FEATURES:
        return d->features[0];
    case VIRTIO_PCI_LEGACY_QUEUE_SIZE:
        return q < QUEUES ? d->queue_max[q] : 0;
    case VIRTIO_PCI_LEGACY_QUEUE_PFN:
        return q < QUEUES ? d->pfn[q] : 0;
    case VIRTIO_PCI_LEGACY_ISR:
        v = d->isr;
        d->isr = 0;
        return v;
    case VIRTIO_PCI_LEGACY_QUEUE_VECTOR:
        return d->vector[q];
    default:
        v = vio_io_load_bytes(d->common + at, width);
        return v;
    }
}

static inline void legacy_write(struct pci_model *m, unsigned bar, uint64_t at, unsigned width, uint32_t v)
{
    struct device *d = (struct device *)m;
    uint32_t q = d->common[VIRTIO_PCI_LEGACY_QUEUE_SELECT];

    assert_int_equal(bar, 0);
    vio_io_store_bytes(d->common + at, width, v);
    if (at == VIRTIO_PCI_LEGACY_QUEUE_PFN && q < QUEUES)
        d->pfn[q] = v;
    else if (at == VIRTIO_PCI_LEGACY_QUEUE_VECTOR && q < QUEUES)
        d->vector[q] = (uint16_t)v;
    else if (at == VIRTIO_PCI_LEGACY_QUEUE_NOTIFY)
        d->kicked[d->kicks++ % KICKS] = v;
}

static inline void make_legacy(struct device *d, bool msix)
{
    blank(d);
    pci_model_put(&d->pci, PCI_DEVICE_ID, 2, 0x1001);
    pci_model_put(&d->pci, PCI_SUBSYSTEM_ID, 2, VIRTIO_ID_BLOCK);
    pci_model_cap(&d->pci, PCI_CAP_ID_MSIX, 12);
    pci_model_put(&d->pci, 0x42, 2, msix ? 0x8001 : 1);
    d->pci.bar_len[0] = 0x80;
    d->pci.ports[0] = true;
    d->pci.read = legacy_read;
    d->pci.write = legacy_write;
    memcpy(d->config, "abcdefgh", 8);
}

#endif
