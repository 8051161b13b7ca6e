/* SPDX-License-Identifier: MIT */
/*
 * Purpose: bytes to and from the ports of a console (virtio 1.4, 5.3.6). Where it sits: driver/, freestanding.
 * Threads: the owner's. Trust: how many bytes came is known from the ring, which checked it against the buffer; they are
 * copied out once. A port that is not there gets its buffers back unread.
 */
#include <errno.h>
#include <string.h>
#include "driver/console_internal.h"

/* ------------------------------------------------------------------ buffers */

static int put_rx(struct vio_drv_console *c, uint32_t port, uint32_t slot)
{
    struct drv_console_port *p = &c->port[port];
    struct vio_buf buf = { drv_slots_addr(&p->rx, slot), c->bytes };

    return vio_drvq_put(vio_drvdev_queue(c->d, drv_console_rx(port)), &buf, 0, 1, slot);
}

int drv_console_fill(struct vio_drv_console *c, uint32_t port)
{
    struct drv_console_port *p = &c->port[port];
    uint32_t slot;
    int error = 0;

    if (p->rx.nr == 0) {
        error = drv_slots_open(c->d, &p->rx, c->buffers, c->bytes);
        if (error == 0)
            error = drv_slots_open(c->d, &p->tx, c->buffers, c->bytes);
        if (error != 0) {
            drv_slots_close(&p->rx);
            return error;
        }
    }
    while (error == 0 && (slot = drv_slots_take(&p->rx)) != DRV_SLOT_NONE)
        error = put_rx(c, port, slot);
    vio_drvdev_publish(c->d, drv_console_rx(port));
    return error;
}

static void first_done(struct vio_drv_console *c, uint32_t port)
{
    struct drv_console_port *p = &c->port[port];
    uint32_t slot = p->ready[p->ready_at].slot;

    p->ready_at = (p->ready_at + 1) % VIO_DRV_CONSOLE_BUFFERS_MAX;
    p->ready_nr--;
    p->taken = 0;
    /* It came out of this queue, so there is room, unless the queue broke: then no buffer matters any more. */
    if (put_rx(c, port, slot) != 0)
        (void)drv_queue_broken(c->d, drv_console_rx(port));
}

void drv_console_drop(struct vio_drv_console *c, uint32_t port)
{
    while (c->port[port].ready_nr > 0)
        first_done(c, port);
    vio_drvdev_publish(c->d, drv_console_rx(port));
}

static void receive(struct vio_drv_console *c, uint32_t port)
{
    struct vio_drvq *q = vio_drvdev_queue(c->d, drv_console_rx(port));
    struct drv_console_port *p = &c->port[port];
    struct vio_done done;
    bool came = false, back = false;

    for (uint32_t i = 0; i < c->buffers && vio_drvq_collect(q, &done, 1) == 1; i++) {
        uint32_t slot = (uint32_t)done.token;

        if (done.len > 0 && p->present) {
            p->ready[(p->ready_at + p->ready_nr++) % VIO_DRV_CONSOLE_BUFFERS_MAX] =
                (struct drv_console_ready){ slot, done.len };
            came = true;
        } else {
            back = put_rx(c, port, slot) == 0;
        }
    }
    if (drv_queue_broken(c->d, drv_console_rx(port)))
        return;
    if (back)
        vio_drvdev_publish(c->d, drv_console_rx(port));
    if (came)
        drv_console_event(c, port, VIO_DRV_CONSOLE_READABLE);
}

/* Buffers that the device has taken in. */
static void reap(struct vio_drv_console *c, uint32_t port, bool tell)
{
    struct vio_drvq *q = vio_drvdev_queue(c->d, drv_console_tx(port));
    struct drv_console_port *p = &c->port[port];
    bool full = p->tx.nr_free == 0, freed = false;
    struct vio_done done;

    while (vio_drvq_collect(q, &done, 1) == 1) {
        drv_slots_give(&p->tx, (uint32_t)done.token);
        freed = true;
    }
    if (!drv_queue_broken(c->d, drv_console_tx(port)) && tell && full && freed && p->present)
        drv_console_event(c, port, VIO_DRV_CONSOLE_WRITABLE);
}

void vio_drv_console_service(struct vio_drv_console *c)
{
    if (c->multiport && vio_drvdev_status(c->d) == VIO_DRVDEV_RUNS)
        drv_console_control_service(c);
    for (uint32_t i = 0; i < c->ports && vio_drvdev_status(c->d) == VIO_DRVDEV_RUNS; i++) {
        if (c->port[i].rx.nr == 0)
            continue;
        receive(c, i);
        reap(c, i, true);
    }
}

/* ------------------------------------------------------------------ read and write */

/* 0: the port is there and the device runs. */
static int usable(const struct vio_drv_console *c, uint32_t port)
{
    if (vio_drvdev_status(c->d) != VIO_DRVDEV_RUNS)
        return -EIO;
    return port < c->ports && c->port[port].present ? 0 : -ENOENT;
}

static bool heard(const struct vio_drv_console *c, const struct drv_console_port *p)
{
    /* A console is written to whether someone looks or not, as a terminal is. */
    return !c->multiport || p->info.host_open || p->info.console;
}

int vio_drv_console_read(struct vio_drv_console *c, uint32_t port, void *to, uint32_t n)
{
    struct drv_console_port *p;
    uint8_t *at = to;
    uint32_t got = 0;
    int error = usable(c, port);

    if (error != 0)
        return error;
    p = &c->port[port];
    n = vio_min_u32(n, INT32_MAX);
    receive(c, port);
    while (got < n && p->ready_nr > 0) {
        struct drv_console_ready *first = &p->ready[p->ready_at];
        uint32_t now = vio_min_u32(first->len - p->taken, n - got);

        memcpy(at + got, drv_slots_host(&p->rx, first->slot) + p->taken, now);
        got += now;
        p->taken += now;
        if (p->taken == first->len)
            first_done(c, port);
    }
    if (got > 0)
        vio_drvdev_publish(c->d, drv_console_rx(port));
    return got > 0 || vio_drvdev_status(c->d) == VIO_DRVDEV_RUNS ? (int)got : -EIO;
}

int vio_drv_console_write(struct vio_drv_console *c, uint32_t port, const void *from, uint32_t n)
{
    struct drv_console_port *p;
    const uint8_t *at = from;
    uint32_t put = 0;
    int error = usable(c, port);

    if (error != 0)
        return error;
    p = &c->port[port];
    if (!heard(c, p))
        return -EPIPE;
    n = vio_min_u32(n, INT32_MAX);
    reap(c, port, false);
    while (put < n) {
        uint32_t slot = drv_slots_take(&p->tx), now = vio_min_u32(n - put, c->bytes);
        struct vio_buf buf = { 0, now };

        if (slot == DRV_SLOT_NONE)
            break;
        memcpy(drv_slots_host(&p->tx, slot), at + put, now);
        buf.addr = drv_slots_addr(&p->tx, slot);
        if (vio_drvq_put(vio_drvdev_queue(c->d, drv_console_tx(port)), &buf, 1, 0, slot) != 0) {
            drv_slots_give(&p->tx, slot);
            break;
        }
        put += now;
    }
    if (put > 0)
        vio_drvdev_publish(c->d, drv_console_tx(port));
    return vio_drvdev_status(c->d) == VIO_DRVDEV_RUNS ? (int)put : -EIO;
}

int vio_drv_console_open(struct vio_drv_console *c, uint32_t port, bool open)
{
    int error = usable(c, port);

    if (error != 0)
        return error;
    c->port[port].info.guest_open = open;
    if (c->multiport) {
        c->port[port].owes_open = true;
        drv_console_control_send_owed(c);
    }
    return 0;
}

/* ------------------------------------------------------------------ calls that wait */

/* What of the bits that can be waited for is so. */
static unsigned state_of(const struct vio_drv_console *c, uint32_t port)
{
    const struct drv_console_port *p = &c->port[port];

    if (!p->present)
        return VIO_DRV_CONSOLE_REMOVED;
    return VIO_DRV_CONSOLE_ADDED | (p->ready_nr > 0 ? VIO_DRV_CONSOLE_READABLE : 0u) |
           (heard(c, p) && p->tx.nr_free > 0 ? VIO_DRV_CONSOLE_WRITABLE : 0u) |
           (!c->multiport || p->info.host_open ? VIO_DRV_CONSOLE_OPENED : VIO_DRV_CONSOLE_CLOSED);
}

/* Until one of the port's queues, or the control queue, has something. */
static int wait_port(struct vio_drv_console *c, uint32_t port, uint64_t deadline)
{
    const uint16_t queues[3] = { drv_console_rx(port), drv_console_tx(port), VIRTIO_CONSOLE_CONTROL_RX };

    return drv_wait_any(c->d, queues, c->multiport ? 3 : 2, deadline);
}

int vio_drv_console_wait(struct vio_drv_console *c, uint32_t port, unsigned what, uint64_t ns)
{
    uint64_t deadline = drv_deadline(c->d, ns);

    if (port >= c->ports)
        return -ENOENT;
    for (;;) {
        int error;

        if (vio_drvdev_status(c->d) != VIO_DRVDEV_RUNS)
            return -EIO;
        vio_drv_console_service(c);
        if ((state_of(c, port) & what) != 0)
            return 0;
        error = wait_port(c, port, deadline);
        if (error != 0)
            return error;
    }
}

int vio_drv_console_write_all(struct vio_drv_console *c, uint32_t port, const void *from, size_t n, uint64_t ns)
{
    uint64_t deadline = drv_deadline(c->d, ns);
    const uint8_t *at = from;

    while (n > 0) {
        int put = vio_drv_console_write(c, port, at, (uint32_t)vio_min_u64(n, INT32_MAX));

        if (put < 0)
            return put;
        at += put;
        n -= (size_t)put;
        if (n > 0) {
            int error = vio_drv_console_wait(c, port, VIO_DRV_CONSOLE_WRITABLE | VIO_DRV_CONSOLE_CLOSED |
                                             VIO_DRV_CONSOLE_REMOVED, drv_time_left(c->d, deadline));

            if (error != 0)
                return error;
        }
    }
    return 0;
}

int vio_drv_console_flush(struct vio_drv_console *c, uint32_t port, uint64_t ns)
{
    uint64_t deadline = drv_deadline(c->d, ns);
    int error = usable(c, port);

    while (error == 0) {
        uint16_t queue = drv_console_tx(port);

        reap(c, port, false);
        if (c->port[port].tx.nr_free == c->port[port].tx.nr)
            return 0;
        error = drv_wait_any(c->d, &queue, 1, deadline);
    }
    return error;
}

/* ------------------------------------------------------------------ questions */

uint32_t vio_drv_console_ports(const struct vio_drv_console *c)
{
    return c->ports;
}

int vio_drv_console_port(const struct vio_drv_console *c, uint32_t port, struct vio_drv_console_port *info)
{
    if (port >= c->ports || !c->port[port].present)
        return -ENOENT;
    *info = c->port[port].info;
    return 0;
}

uint64_t vio_drv_console_ignored(const struct vio_drv_console *c)
{
    return c->ignored;
}
