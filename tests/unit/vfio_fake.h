/* SPDX-License-Identifier: MIT */
/*
 * Purpose: Linux as the transport over VFIO sees it: a sysfs in a folder of its own, and a kernel that has one function in one
 * group, counts what is open and mapped, and fails or lies where it is told to. Where it sits: tests/unit.
 */
#ifndef VIO_TEST_VFIO_FAKE_H
#define VIO_TEST_VFIO_FAKE_H

#include <linux/vfio.h>

#include "pci_driver_help.h"
#include "transport/vfio/vfio.h"

#define FAKE_ADDRESS "0000:00:04.0"

enum { FAKE_PARTS = 8, FAKE_IRQS = 16, FAKE_MAPS = 16, FAKE_ANSWER = 512 };

struct vfio_fake {
    struct vfio_sys sys;
    struct device dev; /* what the function is */
    char root[64];

    /* how it lies */
    unsigned fail_at;            /* this call of all fails, counted from 1; 0: none */
    unsigned long fail_request;  /* this ioctl fails, or -1: the opening of fail_path */
    int fail_error;
    const char *fail_path;       /* the end of a path whose opening fails */
    bool not_viable, no_iommu_kind;
    unsigned irqs[VFIO_PCI_NUM_IRQS]; /* of each index */
    int vectors_free;            /* -1: as many as are asked for */
    bool map_bars;               /* BARs may be mapped */
    uint8_t caps[FAKE_ANSWER];   /* behind the answer for BAR 4; none where caps_len is 0 */
    size_t caps_len;
    struct vfio_iova_range iova[4];
    unsigned nr_iova;

    /* what happened */
    unsigned calls, opened, closed;
    struct vfio_area part[FAKE_PARTS]; /* addresses that the device reaches */
    unsigned nr_parts;
    int fd[FAKE_IRQS];           /* eventfds of MSI-X or INTx */
    unsigned nr_fds, msix_asked;
    int request;                 /* the eventfd that asks for the function back */
    unsigned unmasked;
    void *mapped[FAKE_MAPS];
    uint64_t mapped_at[FAKE_MAPS], mapped_len[FAKE_MAPS];
    unsigned nr_mapped, unmapped;
};

/* A modern disk with five vectors, bound to vfio-pci in group 7. */
void vfio_fake_init(struct vfio_fake *f);
/* Everything was given back. */
void vfio_fake_end(struct vfio_fake *f);
/* Links and files of its sysfs, below the root; target NULL: the link goes. */
void vfio_fake_link(struct vfio_fake *f, const char *path, const char *target);
void vfio_fake_file(struct vfio_fake *f, const char *path, const char *text);

#endif
