/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the console driver's control queues: ports come, go, get names and sizes, open and close (virtio 1.4, 5.3.6.2).
 * Where it sits: driver/, freestanding. Threads: the owner's.
 * Trust: each message is copied once, as long as the device says it is, and judged on the copy. What we owe in return is a
 * bit for each port: a device that does not take our messages makes nothing grow.
 */
#include <errno.h>
#include <string.h>
#include "driver/console_internal.h"

enum { MESSAGES = 32, MESSAGE_BYTES = 512, NO_PORT = 0xffffffff };

static void broken(struct vio_drv_console *c, const char *what)
{
    vio_drvdev_broken(c->d, what, "virtio 1.4, 5.3.6.2");
}

/* ------------------------------------------------------------------ to the device */

static bool send(struct vio_drv_console *c, uint32_t id, uint32_t event, uint32_t value)
{
    struct virtio_console_control message = {
        .id = vio_le32_of(id), .event = vio_le16_of((uint16_t)event), .value = vio_le16_of((uint16_t)value),
    };
    struct vio_drvq *q = vio_drvdev_queue(c->d, VIRTIO_CONSOLE_CONTROL_TX);
    uint32_t slot = drv_slots_take(&c->control_tx);
    struct vio_buf buf = { 0, sizeof(message) };

    if (slot == DRV_SLOT_NONE)
        return false;
    memcpy(drv_slots_host(&c->control_tx, slot), &message, sizeof(message));
    buf.addr = drv_slots_addr(&c->control_tx, slot);
    if (vio_drvq_put(q, &buf, 1, 0, slot) == 0)
        return true;
    drv_slots_give(&c->control_tx, slot);
    return false;
}

static void reap(struct vio_drv_console *c)
{
    struct vio_drvq *q = vio_drvdev_queue(c->d, VIRTIO_CONSOLE_CONTROL_TX);
    struct vio_done done;

    while (vio_drvq_collect(q, &done, 1) == 1)
        drv_slots_give(&c->control_tx, (uint32_t)done.token);
    (void)drv_queue_broken(c->d, VIRTIO_CONSOLE_CONTROL_TX);
}

void drv_console_control_send_owed(struct vio_drv_console *c)
{
    reap(c);
    for (uint32_t i = 0; i < c->ports; i++) {
        struct drv_console_port *p = &c->port[i];

        if (p->owes_ready)
            p->owes_ready = !send(c, i, VIRTIO_CONSOLE_PORT_READY, p->present);
        if (p->owes_open && !p->owes_ready)
            p->owes_open = !send(c, i, VIRTIO_CONSOLE_PORT_OPEN, p->info.guest_open);
    }
    vio_drvdev_publish(c->d, VIRTIO_CONSOLE_CONTROL_TX);
}

/* ------------------------------------------------------------------ from the device */

static void add(struct vio_drv_console *c, uint32_t id)
{
    struct drv_console_port *p;

    if (id >= c->ports) {
        /* It has more than we take. If this finds no room, the device knows as much: the port is not ready. */
        (void)send(c, id, VIRTIO_CONSOLE_PORT_READY, 0);
        return;
    }
    p = &c->port[id];
    if (p->present) {
        c->ignored++;
        return;
    }
    p->info = (struct vio_drv_console_port){ .console = false };
    p->present = drv_console_fill(c, id) == 0;
    p->owes_ready = true;
    /* Port 0 has the size that the configuration tells, until a message tells another. */
    if (id == 0 && drv_console_size(c) != 0)
        p->info.cols = p->info.rows = 0;
    if (p->present)
        drv_console_event(c, id, VIO_DRV_CONSOLE_ADDED);
}

static void remove_port(struct vio_drv_console *c, uint32_t id)
{
    struct drv_console_port *p = &c->port[id];

    p->present = p->owes_ready = p->owes_open = false;
    p->info = (struct vio_drv_console_port){ .console = false };
    drv_console_drop(c, id);
    drv_console_event(c, id, VIO_DRV_CONSOLE_REMOVED);
}

/* It goes to terminals and logs: what could move a cursor there does not stay. */
static void set_name(struct drv_console_port *p, const uint8_t *name, uint32_t len)
{
    uint32_t n = vio_min_u32(len, VIO_DRV_CONSOLE_NAME - 1), i = 0;

    for (; i < n && name[i] != 0; i++)
        p->info.name[i] = (char)(name[i] < ' ' || name[i] == 0x7f ? '?' : name[i]);
    p->info.name[i] = 0;
}

static void resize(struct vio_drv_console *c, uint32_t id, const uint8_t *rest, uint32_t len)
{
    struct drv_console_port *p = &c->port[id];
    struct virtio_console_resize size;

    if (len < sizeof(size)) {
        broken(c, "a RESIZE without a size");
        return;
    }
    memcpy(&size, rest, sizeof(size));
    p->info.cols = vio_cpu(size.cols);
    p->info.rows = vio_cpu(size.rows);
    drv_console_event(c, id, VIO_DRV_CONSOLE_RESIZED);
}

/* A message about a port that is there. */
static void about(struct vio_drv_console *c, uint32_t id, uint32_t event, uint32_t value, const uint8_t *rest, uint32_t len)
{
    struct drv_console_port *p = &c->port[id];

    switch (event) {
    case VIRTIO_CONSOLE_DEVICE_REMOVE:
        remove_port(c, id);
        break;
    case VIRTIO_CONSOLE_CONSOLE_PORT:
        p->info.console = p->info.guest_open = p->owes_open = true; /* 5.3.6.2.2: answered by PORT_OPEN */
        break;
    case VIRTIO_CONSOLE_RESIZE:
        resize(c, id, rest, len);
        break;
    case VIRTIO_CONSOLE_PORT_OPEN:
        p->info.host_open = value != 0;
        drv_console_event(c, id, value != 0 ? VIO_DRV_CONSOLE_OPENED : VIO_DRV_CONSOLE_CLOSED);
        break;
    case VIRTIO_CONSOLE_PORT_NAME:
        set_name(p, rest, len);
        drv_console_event(c, id, VIO_DRV_CONSOLE_NAMED);
        break;
    default:
        c->ignored++; /* ours to send, or of a later specification */
    }
}

/* One message of `len` bytes, in a private copy. */
static void handle(struct vio_drv_console *c, const uint8_t *bytes, uint32_t len)
{
    struct virtio_console_control message;
    uint32_t id, event;

    if (len < sizeof(message)) {
        broken(c, "a control message shorter than its 8 bytes");
        return;
    }
    memcpy(&message, bytes, sizeof(message));
    id = vio_cpu(message.id);
    event = vio_cpu(message.event);
    if (id >= c->device_ports) {
        broken(c, "a control message for a port beyond max_nr_ports");
        return;
    }
    if (event == VIRTIO_CONSOLE_DEVICE_ADD)
        add(c, id);
    else if (id >= c->ports || !c->port[id].present)
        c->ignored++;
    else
        about(c, id, event, vio_cpu(message.value), bytes + sizeof(message), len - (uint32_t)sizeof(message));
}

static int put_rx(struct vio_drv_console *c, uint32_t slot)
{
    struct vio_buf buf = { drv_slots_addr(&c->control_rx, slot), MESSAGE_BYTES };

    return vio_drvq_put(vio_drvdev_queue(c->d, VIRTIO_CONSOLE_CONTROL_RX), &buf, 0, 1, slot);
}

void drv_console_control_service(struct vio_drv_console *c)
{
    struct vio_drvq *q = vio_drvdev_queue(c->d, VIRTIO_CONSOLE_CONTROL_RX);
    uint8_t copy[MESSAGE_BYTES];
    struct vio_done done;

    /* At most as many as there are buffers: a device that answers at once must not keep us here. */
    for (unsigned i = 0; i < MESSAGES && vio_drvq_collect(q, &done, 1) == 1; i++) {
        uint32_t slot = (uint32_t)done.token;

        memcpy(copy, drv_slots_host(&c->control_rx, slot), done.len);
        if (put_rx(c, slot) != 0)
            break;
        handle(c, copy, done.len);
        if (vio_drvdev_status(c->d) == VIO_DRVDEV_BROKEN)
            return;
    }
    if (drv_queue_broken(c->d, VIRTIO_CONSOLE_CONTROL_RX))
        return;
    vio_drvdev_publish(c->d, VIRTIO_CONSOLE_CONTROL_RX);
    drv_console_control_send_owed(c);
}

/* ------------------------------------------------------------------ from probe to scan */

int drv_console_control_open(struct vio_drv_console *c)
{
    uint32_t rx = vio_min_u32(MESSAGES, vio_drvdev_queue_size(c->d, VIRTIO_CONSOLE_CONTROL_RX));
    uint32_t tx = vio_min_u32(MESSAGES, vio_drvdev_queue_size(c->d, VIRTIO_CONSOLE_CONTROL_TX));
    int error = drv_slots_open(c->d, &c->control_rx, rx, MESSAGE_BYTES);

    return error != 0 ? error : drv_slots_open(c->d, &c->control_tx, tx, sizeof(struct virtio_console_control));
}

int drv_console_control_start(struct vio_drv_console *c)
{
    uint32_t slot;

    while ((slot = drv_slots_take(&c->control_rx)) != DRV_SLOT_NONE) {
        int error = put_rx(c, slot);

        if (error != 0)
            return error;
    }
    vio_drvdev_publish(c->d, VIRTIO_CONSOLE_CONTROL_RX);
    if (!send(c, NO_PORT, VIRTIO_CONSOLE_DEVICE_READY, 1))
        return -EIO;
    vio_drvdev_publish(c->d, VIRTIO_CONSOLE_CONTROL_TX);
    return 0;
}
