/* SPDX-License-Identifier: MIT */
/* Purpose: one device over MMIO, as its two versions share it. Where it sits: transport/mmio_driver, private. */
#ifndef VIO_TRANSPORT_MMIO_DRIVER_MMIO_H
#define VIO_TRANSPORT_MMIO_DRIVER_MMIO_H

#include <vio/mmio_driver.h>

struct mmio {
    struct vio_transport t;
    struct vio_io io;
    uint32_t config_len;
    struct vio_features accepted;
    bool words_beyond; /* the device has feature bits beyond 63, and knows where they are */
    int (*map_shm)(void *ctx, uint64_t address, uint64_t len, void **host);
    void *ctx;
    char why[VIO_DRV_WHY];
};

static inline struct mmio *mmio_of(struct vio_transport *t)
{
    return (struct mmio *)t;
}

static inline uint32_t mmio_read(struct mmio *m, uint32_t reg)
{
    return vio_io_read32(m->io, reg);
}

static inline void mmio_write(struct mmio *m, uint32_t reg, uint32_t v)
{
    vio_io_write32(m->io, reg, v);
}

/* What both versions do the same way; driver.c. */
extern const struct vio_transport_ops mmio_ops;
void mmio_destroy(struct vio_transport *t);
const char *mmio_why(struct vio_transport *t);
int mmio_status_get(struct vio_transport *t, uint8_t *status);
int mmio_status_set(struct vio_transport *t, uint8_t status);
int mmio_queue_max(struct vio_transport *t, uint16_t queue, uint16_t *size);
unsigned mmio_events(struct vio_transport *t);
void mmio_kick(struct vio_transport *t, uint16_t queue, uint32_t data);
int mmio_config_write(struct vio_transport *t, uint32_t offset, const void *from, uint32_t len);
int mmio_config_range(struct mmio *m, uint32_t offset, uint32_t len);
/* Sets why and returns error. */
int mmio_fail(struct mmio *m, int error, const char *format, ...) VIO_PRINTF(3, 4);

/* Version 1; legacy.c. */
extern const struct vio_transport_ops mmio_legacy_ops;

#endif
