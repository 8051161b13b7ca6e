/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a PCI function as bytes of configuration space and six BARs, for tests of the PCI driver side; what a BAR's
 * registers do is the test's. Where it sits: tests/support.
 */
#ifndef VIO_TEST_PCI_MODEL_H
#define VIO_TEST_PCI_MODEL_H

#include <errno.h>
#include <string.h>
#include <vio/pci_driver.h>
#include "spec/pci.h"

struct pci_model {
    uint8_t config[256];
    uint64_t bar_len[VIO_PCI_BARS]; /* 0: none */
    bool ports[VIO_PCI_BARS];
    bool unmapped[VIO_PCI_BARS];    /* reached through the window only */
    bool no_config;                 /* every access to configuration space fails */
    struct pci_model_bar {
        struct pci_model *m;
        unsigned bar;
    } of[VIO_PCI_BARS];
    uint32_t (*read)(struct pci_model *m, unsigned bar, uint64_t offset, unsigned width);
    void (*write)(struct pci_model *m, unsigned bar, uint64_t offset, unsigned width, uint32_t value);
    unsigned closed, maps;
    uint8_t next;                   /* where the next capability goes */
    uint8_t last;                   /* the capability before it */
    uint8_t window;                 /* PCI_CFG */
    struct vio_pci_access access;
};

static inline uint32_t pci_model_bar_read(void *ctx, uint64_t offset, unsigned width)
{
    struct pci_model_bar *b = ctx;

    return b->m->read(b->m, b->bar, offset, width);
}

static inline void pci_model_bar_write(void *ctx, uint64_t offset, unsigned width, uint32_t value)
{
    struct pci_model_bar *b = ctx;

    b->m->write(b->m, b->bar, offset, width, value);
}

static const struct vio_io_ops pci_model_bar_ops = { pci_model_bar_read, pci_model_bar_write };

static inline uint32_t pci_model_get(const struct pci_model *m, unsigned at, unsigned width)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < width && at + i < sizeof(m->config); i++)
        v |= (uint32_t)m->config[at + i] << (8 * i);
    return v;
}

static inline void pci_model_put(struct pci_model *m, unsigned at, unsigned width, uint32_t v)
{
    for (unsigned i = 0; i < width && at + i < sizeof(m->config); i++)
        m->config[at + i] = (uint8_t)(v >> (8 * i));
}

static inline bool pci_model_aimed(const struct pci_model *m, uint32_t offset, unsigned width)
{
    uint32_t bar = m->config[m->window + 4u], at = pci_model_get(m, m->window + 8u, 4);

    return m->window != 0 && offset == m->window + 16u && width == pci_model_get(m, m->window + 12u, 4) &&
           bar < VIO_PCI_BARS && vio_range_ok(at, width, m->bar_len[bar]);
}

static inline int pci_model_config_read(void *ctx, uint32_t offset, unsigned width, uint32_t *value)
{
    struct pci_model *m = ctx;

    if (m->no_config || offset + width > sizeof(m->config) || offset % width != 0)
        return -EIO;
    if (pci_model_aimed(m, offset, width))
        *value = m->read(m, m->config[m->window + 4], pci_model_get(m, m->window + 8u, 4), width);
    else
        *value = pci_model_get(m, offset, width);
    return 0;
}

static inline int pci_model_config_write(void *ctx, uint32_t offset, unsigned width, uint32_t value)
{
    struct pci_model *m = ctx;

    if (m->no_config || offset + width > sizeof(m->config) || offset % width != 0)
        return -EIO;
    if (pci_model_aimed(m, offset, width))
        m->write(m, m->config[m->window + 4], pci_model_get(m, m->window + 8u, 4), width, value);
    else
        pci_model_put(m, offset, width, value);
    return 0;
}

static inline int pci_model_bar(void *ctx, unsigned bar, uint64_t *len, bool *ports)
{
    struct pci_model *m = ctx;

    if (bar >= VIO_PCI_BARS || m->bar_len[bar] == 0)
        return -ENOENT;
    *len = m->bar_len[bar];
    *ports = m->ports[bar];
    return 0;
}

static inline int pci_model_map(void *ctx, unsigned bar, uint64_t offset, uint64_t len, struct vio_io *out)
{
    struct pci_model *m = ctx;

    if (bar >= VIO_PCI_BARS || !vio_range_ok(offset, len, m->bar_len[bar]))
        return -EFAULT; /* the driver must never ask for this */
    if (m->unmapped[bar])
        return -ENOTSUP;
    m->maps++;
    m->of[bar] = (struct pci_model_bar){ m, bar };
    *out = vio_io_at(vio_io_by(&pci_model_bar_ops, &m->of[bar]), offset);
    return 0;
}

static inline void pci_model_close(void *ctx)
{
    ((struct pci_model *)ctx)->closed++;
}

/* In place. device: its PCI id, subsystem: its subsystem id. */
static inline void pci_model_init(struct pci_model *m, uint16_t device, uint16_t subsystem)
{
    *m = (struct pci_model){ .next = 0x40 };
    pci_model_put(m, PCI_VENDOR_ID, 2, VIRTIO_PCI_VENDOR);
    pci_model_put(m, PCI_DEVICE_ID, 2, device);
    pci_model_put(m, PCI_SUBSYSTEM_ID - 2, 2, 0x1af4);
    pci_model_put(m, PCI_SUBSYSTEM_ID, 2, subsystem);
    m->access = (struct vio_pci_access){
        .config_read = pci_model_config_read, .config_write = pci_model_config_write, .bar = pci_model_bar,
        .map = pci_model_map, .close = pci_model_close, .ctx = m,
    };
}

/* Appends a capability of `len` bytes; where it is. */
static inline uint8_t pci_model_cap(struct pci_model *m, uint8_t id, uint8_t len)
{
    uint8_t at = m->next;

    m->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    m->config[m->last == 0 ? PCI_CAP_POINTER : m->last + 1u] = at;
    m->config[at] = id;
    m->config[at + 2] = len;
    m->last = at;
    m->next = (uint8_t)(at + (len + 3) / 4 * 4);
    return at;
}

static inline uint8_t pci_model_virtio_cap(struct pci_model *m, uint8_t type, uint8_t bar, uint32_t offset, uint32_t length)
{
    uint8_t len = type == VIRTIO_PCI_CAP_NOTIFY || type == VIRTIO_PCI_CAP_WINDOW ? 20
                  : type == VIRTIO_PCI_CAP_SHARED_MEMORY                         ? 24
                                                                                 : 16;
    uint8_t at = pci_model_cap(m, PCI_CAP_ID_VENDOR, len);

    m->config[at + 3] = type;
    m->config[at + 4] = bar;
    pci_model_put(m, at + 8u, 4, offset);
    pci_model_put(m, at + 12u, 4, length);
    if (type == VIRTIO_PCI_CAP_WINDOW)
        m->window = at;
    return at;
}

#endif
