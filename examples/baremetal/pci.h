/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a PCI host as this program needs it: its functions are found, BARs that no firmware has given an address get one, and
 * each virtio function can be driven (struct vio_pci_access). Where it sits: over vio/pci_driver.h and machine.h.
 * Threads: one. Trust: functions are hostile: sizes and addresses that cannot be are BARs that are not there.
 */
#ifndef VIO_BAREMETAL_PCI_H
#define VIO_BAREMETAL_PCI_H

#include <vio/pci_driver.h>

/* Addresses that BARs can be given; len 0: none. */
struct pci_window {
    uint64_t bus, cpu; /* where it begins, as functions see it and as the CPU does */
    uint64_t len, used;
};

struct pci_host {
    /*
     * Configuration space of all functions, as ECAM lays it out: bus << 20 | device << 15 | function << 12 | register. vio_io_by()
     * where it is reached in another way.
     */
    struct vio_io config;
    uint8_t first_bus, last_bus;
    struct vio_io ports;            /* all I/O ports, by their address on the bus; none: they are not used */
    struct pci_window port, memory; /* for BARs without an address */
    bool leave_bars;                /* BARs without an address stay so: devices are driven through configuration space */
};

struct pci_bar {
    uint64_t address, len; /* len 0: there is none; address 0: it has none */
    bool ports, wide;      /* wide: 64 bits, with the next one */
};

struct pci_function {
    struct pci_host *host;
    uint64_t at; /* in host->config */
    struct pci_bar bars[VIO_PCI_BARS];
    struct vio_pci_access access;
    char name[16]; /* "00:03.0" */
};

/* Every function of every bus that can be reached, bridges but for their buses left out. */
void pci_scan(struct pci_host *host, void (*found)(void *ctx, struct pci_host *host, uint64_t at), void *ctx);
/* Sizes the BARs, and gives addresses to those that have none. Decoders are off meanwhile, and as they were after it. */
void pci_function_init(struct pci_function *f, struct pci_host *host, uint64_t at);

#endif
