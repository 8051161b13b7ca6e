/* SPDX-License-Identifier: MIT */
/*
 * Purpose: one virtio device over PCI: what its capabilities say, checked, and the transport made of it.
 * Where it sits: transport/pci_driver, private, freestanding.
 */
#ifndef VIO_TRANSPORT_PCI_DRIVER_PCI_H
#define VIO_TRANSPORT_PCI_DRIVER_PCI_H

#include <vio/pci_driver.h>

enum { PCI_SHM_MAX = 16 }; /* shared memory regions that are kept of one device */

/* A structure of the device's, within its BAR. len 0: there is none. */
struct pci_place {
    uint8_t bar;
    uint64_t offset;
    uint64_t len;
};

struct pci_caps {
    struct pci_place common, notify, isr, device;
    uint32_t notify_multiplier;
    uint8_t window;        /* where the PCI_CFG capability is in configuration space; 0: none */
    uint8_t msix;          /* where the MSI-X capability is; 0: none */
    uint16_t msix_control; /* its message control, as it was read */
    struct {
        uint8_t id;
        struct pci_place place;
    } shm[PCI_SHM_MAX];
    unsigned nr_shm;
    bool has_list;
};

/* caps.c. 0 or -errno, why (VIO_DRV_WHY bytes) set. What is missing is not judged here. */
int pci_caps_read(const struct vio_pci_access *access, const char *name, struct pci_caps *out, char *why);

/* The window in configuration space as registers of one BAR (virtio 1.4, 4.1.4.9); window.c. */
struct pci_window {
    const struct vio_pci_access *access;
    uint8_t cap;
    uint8_t bar;
    uint32_t base;
};
extern const struct vio_io_ops pci_window_ops;

/* Where a queue is notified. */
struct pci_notify {
    struct vio_io at;
    uint16_t data; /* the queue's number, or what the device wants in its place (NOTIF_CONFIG_DATA) */
};

enum { PCI_COMMON, PCI_NOTIFY, PCI_ISR, PCI_DEVICE, PCI_PARTS };

struct pci {
    struct vio_transport t;
    const struct vio_pci_access *access;
    struct vio_io part[PCI_PARTS];   /* legacy: PCI_COMMON is all of BAR 0, PCI_DEVICE the configuration in it */
    struct pci_window window[PCI_PARTS];
    struct pci_caps caps;
    uint32_t config_len;
    uint16_t vectors;
    uint8_t isr; /* INTx: what it said that nobody has asked for yet */
    bool words_beyond; /* the device has feature bits beyond 63, and knows where they are */
    struct vio_features accepted;
    struct pci_notify *notify; /* modern: queues_max of them */
    char why[VIO_DRV_WHY];
};

static inline struct pci *pci_of(struct vio_transport *t)
{
    return (struct pci *)t;
}

/* What both interfaces do the same way; driver.c. */
int pci_fail(struct pci *p, int error, const char *format, ...) VIO_PRINTF(3, 4);
void pci_destroy(struct vio_transport *t);
const char *pci_why(struct vio_transport *t);
int pci_config_range(struct pci *p, uint32_t offset, uint32_t len);
int pci_config_write(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len);
int pci_status_get(struct vio_transport *t, uint8_t *status);
int pci_status_set(struct vio_transport *t, uint8_t status);
int pci_reset(struct vio_transport *t);
/* The vector of a queue, or that of VIO_EVENT_QUEUE_CONFIG. */
uint16_t pci_vector_of(const struct pci *p, uint16_t queue);
/* Writes a vector to its register in PCI_COMMON; queue: whose it is, for the sentence where the device does not take it. */
int pci_set_vector(struct pci *p, uint32_t reg, uint16_t vector, uint16_t queue);
int pci_event_fd(struct vio_transport *t, uint16_t queue);
void pci_event_clear(struct vio_transport *t, uint16_t queue);
unsigned pci_events(struct vio_transport *t);

/* modern.c, legacy.c */
extern const struct vio_transport_ops pci_modern_ops;
extern const struct vio_transport_ops pci_legacy_ops;
/* Maps what it needs, reads what is fixed. */
int pci_modern_open(struct pci *p);
int pci_legacy_open(struct pci *p);

#endif
