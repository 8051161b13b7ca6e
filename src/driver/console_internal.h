/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the console driver's files share. Where it sits: driver/, private, freestanding.
 * Threads: the owner's. Invariants: a port has buffers from the first time that it is added until the device is removed; its
 * receive buffers are all either at the device or in `ready`.
 */
#ifndef VIO_DRIVER_CONSOLE_INTERNAL_H
#define VIO_DRIVER_CONSOLE_INTERNAL_H

#include <vio/drv_console.h>
#include "driver/core_slots.h"
#include "spec/console.h"

/* A buffer that came back with bytes. */
struct drv_console_ready {
    uint32_t slot, len;
};

struct drv_console_port {
    struct drv_slots rx, tx;
    struct drv_console_ready ready[VIO_DRV_CONSOLE_BUFFERS_MAX]; /* in their order, from ready_at on, round */
    uint32_t ready_at, ready_nr;
    uint32_t taken;                 /* bytes of the first that were read */
    struct vio_drv_console_port info;
    bool present;
    bool owes_ready, owes_open;     /* messages that found no room yet */
};

struct vio_drv_console {
    struct vio_drvdev *d;
    const struct vio_drv_console_params *params;
    uint32_t buffers, bytes;        /* as the queues allow */
    uint32_t device_ports;          /* as the device says; more than we take, perhaps */
    uint32_t ports;
    struct drv_console_port *port;
    size_t port_bytes;
    struct drv_slots control_rx, control_tx;
    bool multiport;
    uint64_t ignored;
};

static inline uint16_t drv_console_rx(uint32_t port)
{
    return (uint16_t)(port == 0 ? VIRTIO_CONSOLE_RX : 2 * port + 2);
}

static inline uint16_t drv_console_tx(uint32_t port)
{
    return (uint16_t)(drv_console_rx(port) + 1);
}

static inline void drv_console_event(struct vio_drv_console *c, uint32_t port, unsigned what)
{
    if (c->params->event != NULL)
        c->params->event(c->params->ctx, c->d, port, what);
}

/* console.c: buffers of a port that is new; what did not get out of it is forgotten when it goes. */
int drv_console_fill(struct vio_drv_console *c, uint32_t port) VIO_MUST_CHECK;
void drv_console_drop(struct vio_drv_console *c, uint32_t port);
/* console_control.c */
int drv_console_control_open(struct vio_drv_console *c) VIO_MUST_CHECK;
int drv_console_control_start(struct vio_drv_console *c) VIO_MUST_CHECK;
void drv_console_control_service(struct vio_drv_console *c);
void drv_console_control_send_owed(struct vio_drv_console *c);
/* console_driver.c: the size that the configuration tells of port 0. */
int drv_console_size(struct vio_drv_console *c) VIO_MUST_CHECK;

#endif
