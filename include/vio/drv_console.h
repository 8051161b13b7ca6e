/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of console devices (virtio 1.4, 5.3): bytes to and from each port, ports that come and go, the size of
 * a terminal, and the byte that gets out when nothing else does.
 * Where it sits: driver/, over driver/core; freestanding.
 * Threads: one owner, which makes all of these calls and is the control thread of the device.
 * Trust: the device is hostile. Numbers of ports, lengths and names are checked once, on a copy; what a device may not say
 * breaks it; what is only early, late or unknown is counted and ignored. Names are made printable. Memory is bounded by the
 * number of ports, which is capped.
 */
#ifndef VIO_DRV_CONSOLE_H
#define VIO_DRV_CONSOLE_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum {
    VIO_DRV_CONSOLE_PORTS_MAX = 64,
    VIO_DRV_CONSOLE_BUFFERS_MAX = 64, /* of one direction of a port */
    VIO_DRV_CONSOLE_NAME = 64,        /* of a port's name, with the 0 behind it; longer ones are cut */
};

/* What happened to a port, or is so; bits. */
enum {
    VIO_DRV_CONSOLE_READABLE = 1,
    VIO_DRV_CONSOLE_WRITABLE = 2, /* there is room again */
    VIO_DRV_CONSOLE_ADDED = 4,
    VIO_DRV_CONSOLE_REMOVED = 8, /* what was not read is gone */
    VIO_DRV_CONSOLE_OPENED = 16, /* by the device's side */
    VIO_DRV_CONSOLE_CLOSED = 32,
    VIO_DRV_CONSOLE_NAMED = 64,
    VIO_DRV_CONSOLE_RESIZED = 128,
};

struct vio_drv_console_params {
    uint32_t ports;   /* at most; 0: as many as the device has, at most VIO_DRV_CONSOLE_PORTS_MAX */
    uint32_t buffers; /* of each direction of each port; 0: 8 */
    uint32_t bytes;   /* of each buffer; 0: 1024; at most 65536 */
    /* From vio_drvdev_event() and vio_drv_console_service(). NULL: all queues are polled. */
    void (*event)(void *ctx, struct vio_drvdev *d, uint32_t port, unsigned what);
    void *ctx;
};

/* All defaults: polled. */
extern const struct vio_driver vio_driver_console;

/* The same driver, wanted otherwise: `driver` goes to the bus, and this outlives its devices. */
struct vio_drv_console_driver {
    struct vio_driver driver;
    struct vio_drv_console_params params;
};
void vio_drv_console_driver(struct vio_drv_console_driver *driver, const struct vio_drv_console_params *params);

struct vio_drv_console;

/* NULL: this device is not run by this driver, or does not run. */
struct vio_drv_console *vio_drv_console_of(struct vio_drvdev *d);

/* Ports there can be: they are numbered below it. Without MULTIPORT one, number 0, which is always there and open. */
uint32_t vio_drv_console_ports(const struct vio_drv_console *c);

struct vio_drv_console_port {
    bool console;    /* it is a console: a terminal, not a channel */
    bool host_open;  /* someone reads and writes at the device's side */
    bool guest_open; /* vio_drv_console_open() */
    uint16_t cols, rows; /* 0: not told */
    char name[VIO_DRV_CONSOLE_NAME]; /* "": none */
};
/* -ENOENT: there is no such port now. */
int vio_drv_console_port(const struct vio_drv_console *c, uint32_t port, struct vio_drv_console_port *info) VIO_MUST_CHECK;
/* Messages of the device that made no sense at their time, since probe. */
uint64_t vio_drv_console_ignored(const struct vio_drv_console *c);

/* Tells the device that this side of the port is open, or closed. Consoles are opened by the driver. -ENOENT. */
int vio_drv_console_open(struct vio_drv_console *c, uint32_t port, bool open) VIO_MUST_CHECK;

/*
 * Never wait. read: up to n bytes that came; how many, 0: none now. write: how many were taken; 0: no room before the device
 * has taken others. -ENOENT: no such port now; -EPIPE: nobody is at the other end (write); -EIO: broken.
 */
int vio_drv_console_read(struct vio_drv_console *c, uint32_t port, void *to, uint32_t n) VIO_MUST_CHECK;
int vio_drv_console_write(struct vio_drv_console *c, uint32_t port, const void *from, uint32_t n) VIO_MUST_CHECK;
/* Looks at all queues: for those who poll. */
void vio_drv_console_service(struct vio_drv_console *c);

/* Waits until one of READABLE, WRITABLE, ADDED, REMOVED, OPENED, CLOSED is so. -ETIMEDOUT, -ENOENT, -EIO. */
int vio_drv_console_wait(struct vio_drv_console *c, uint32_t port, unsigned what, uint64_t ns) VIO_MUST_CHECK;
/* Writes all of it, waiting for room; then flush: until the device has taken all that was written. */
int vio_drv_console_write_all(struct vio_drv_console *c, uint32_t port, const void *from, size_t n, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_console_flush(struct vio_drv_console *c, uint32_t port, uint64_t ns) VIO_MUST_CHECK;

/*
 * One byte through the configuration, which needs no queue: for a last word (virtio 1.4, 5.3.4). Any device, in any state,
 * that offers EMERG_WRITE. -ENOTSUP: it does not.
 */
int vio_drv_console_emergency(struct vio_drvdev *d, uint8_t byte) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
