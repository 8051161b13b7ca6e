/* SPDX-License-Identifier: MIT */
/*
 * Purpose: one PCI function through VFIO: what is open, what it has, and the table of what is asked of Linux.
 * Where it sits: transport/vfio, private, hosted. Threads: the control thread; event_fd and event_clear the queue's owner.
 * Trust: sizes and lists that the kernel passes on come from the device: info.c is where they are checked.
 */
#ifndef VIO_TRANSPORT_VFIO_VFIO_H
#define VIO_TRANSPORT_VFIO_VFIO_H

#include <stddef.h>
#include <vio/pci_driver.h>
#include <vio/vfio.h>

enum {
    VFIO_VECTORS_MAX = 129, /* of one device that are used: more queues share them */
    VFIO_AREAS_MAX = 16,    /* of one BAR that may be mapped: further ones are reached by read and write */
    VFIO_RANGES_MAX = 64,   /* of addresses that an IOMMU takes; further ones count as not taken */
    VFIO_MAPS_MAX = 32,     /* of registers and shared memory: structures of virtio 1.4, 4.1.4 */
    VFIO_ADDRESS = 16,      /* bytes of "0000:00:04.0" and its end */
    VFIO_PATH = 256,
};

/* What is asked of Linux. All return what the call returns, or -errno. */
struct vfio_sys {
    int (*open)(void *ctx, const char *path, int flags);
    void (*close)(void *ctx, int fd);
    int (*ioctl)(void *ctx, int fd, unsigned long request, void *arg);
    int (*map)(void *ctx, int fd, uint64_t offset, uint64_t len, void **out);
    void (*unmap)(void *ctx, void *at, uint64_t len);
    int64_t (*pread)(void *ctx, int fd, void *to, size_t n, uint64_t offset);
    int64_t (*pwrite)(void *ctx, int fd, const void *from, size_t n, uint64_t offset);
    void *ctx;
    const char *sysfs; /* "/sys" */
    const char *dev;   /* "/dev/vfio" */
};
extern const struct vfio_sys vfio_sys_linux; /* linux.c */

/* ------------------------------------------------------------------ where it is: find.c */

struct vfio_place {
    char address[VFIO_ADDRESS];
    char group[VFIO_PATH]; /* the file to open */
    unsigned number;       /* of the group */
    bool no_iommu;
};

/* 0 or -errno, with why (VIO_DRV_WHY bytes) set: what is to be done so that the function can be opened. */
int vfio_find(const struct vfio_sys *sys, const char *address, struct vfio_place *out, char *why) VIO_MUST_CHECK;
/* A sentence about a group that is not viable: which of its devices has a driver of its own. */
void vfio_group_others(const struct vfio_sys *sys, const struct vfio_place *place, char *why);

/* ------------------------------------------------------------------ what the kernel tells: info.c */

struct vfio_area {
    uint64_t offset, size;
};

struct vfio_range {
    uint64_t first, last; /* addresses, both included */
};

/* Of a struct vfio_region_info with its capabilities, `size` bytes as they were read: what may be mapped. -EPROTO: it lies. */
int vfio_areas(const void *info, size_t size, struct vfio_area *areas, unsigned *nr) VIO_MUST_CHECK;
/* Of a struct vfio_iommu_type1_info: which addresses it takes. *nr 0: it does not tell. */
int vfio_ranges(const void *info, size_t size, struct vfio_range *ranges, unsigned *nr) VIO_MUST_CHECK;
bool vfio_range_takes(const struct vfio_range *ranges, unsigned nr, uint64_t addr, uint64_t size);
/*
 * An ioctl whose answer begins with argsz and is as long as it says there: into memory to be freed. first: bytes of the
 * structure without capabilities, which *out has at least.
 */
int vfio_ask(const struct vfio_sys *sys, int fd, unsigned long request, const void *question, size_t first, void **out,
             size_t *size) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ one function */

struct vfio;

struct vfio_bar {
    struct vfio *v;
    uint64_t len;    /* 0: none */
    uint64_t offset; /* in the device's file */
    bool ports, access;
    struct vfio_area areas[VFIO_AREAS_MAX];
    unsigned nr_areas;
};

struct vfio_map {
    void *at;
    uint64_t len;
};

/* One interrupt. Its descriptor does not block. */
struct vfio_vector {
    _Alignas(64) uint64_t count; /* atomic, relaxed */
    int fd;                      /* -1: none */
};

struct vfio {
    struct vio_pci_access access;
    struct vio_transport_ops ops; /* pci_driver's, but for what VFIO adds */
    const struct vio_transport_ops *pci_ops;
    const struct vfio_sys *sys;
    struct vio_arena *arena;
    const struct vio_log *log;
    struct vfio_place place;
    enum vio_vfio_dma dma;
    int container, group, device; /* -1: not open */
    unsigned nr_parts;            /* of the arena that are mapped */
    uint64_t config_offset, config_len;
    struct vfio_bar bar[VIO_PCI_BARS];
    struct vfio_map map[VFIO_MAPS_MAX];
    unsigned nr_maps;
    bool msix, automasked;
    uint16_t nr_vectors; /* with an eventfd; INTx: 1 */
    struct vfio_vector *vector;
    int request;         /* the kernel asks for the function: an eventfd, or -1 */
    int first;           /* an epoll of vector 0 and the request; -1: none */
    bool requested;      /* atomic */
    bool interrupts;
    bool bare;           /* the last features were refused for want of ACCESS_PLATFORM */
    char *why;           /* of the creation; VIO_DRV_WHY bytes */
};

int vfio_fail(struct vfio *v, int error, const char *format, ...) VIO_PRINTF(3, 4);

/* container.c: opens what place names, and lets the device reach the arena. */
int vfio_container_open(struct vfio *v) VIO_MUST_CHECK;
void vfio_container_close(struct vfio *v);
/* region.c: BARs and configuration space, into v->access. */
int vfio_regions_open(struct vfio *v) VIO_MUST_CHECK;
void vfio_regions_close(struct vfio *v);
/* irq.c */
int vfio_irqs_open(struct vfio *v) VIO_MUST_CHECK;
void vfio_irqs_close(struct vfio *v);
/* Whether the kernel has asked for the function. */
bool vfio_irqs_requested(struct vfio *v);

/* transport.c: vio_vfio_create(), of this Linux. */
int vfio_create(const struct vfio_sys *sys, const struct vio_vfio_params *params, struct vio_transport **out, char *why)
    VIO_MUST_CHECK;

#endif
