/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the console driver from probe to remove, and its configuration (virtio 1.4, 5.3.4 and 5.3.5).
 * Where it sits: driver/, over driver/core; freestanding. Threads: the control thread.
 * Trust: max_nr_ports is capped before anything is made for it.
 */
#include <errno.h>
#include "driver/console_internal.h"
#include "spec/virtio.h"

enum { BUFFERS = 8, BYTES = 1024, BYTES_MAX = 65536, CONTROL_SIZE = 32 };

static const struct vio_drv_console_params defaults = { .ports = 0 };

/* ------------------------------------------------------------------ configuration */

int drv_console_size(struct vio_drv_console *c)
{
    struct virtio_console_resize size; /* cols and rows, as at the configuration's start */
    int error;

    if (!vio_drvdev_has(c->d, VIRTIO_CONSOLE_F_SIZE))
        return 0;
    error = vio_drvdev_config_read(c->d, offsetof(struct virtio_console_config, cols), &size, sizeof(size));
    if (error != 0)
        return error;
    c->port[0].info.cols = vio_cpu(size.cols);
    c->port[0].info.rows = vio_cpu(size.rows);
    return 0;
}

static void config_changed(struct vio_drvdev *d)
{
    struct vio_drv_console *c = vio_drvdev_state(d);

    /* A device that went away, or does not stop to change: it tells again. */
    if (drv_console_size(c) == 0 && c->port[0].present && vio_drvdev_has(d, VIRTIO_CONSOLE_F_SIZE))
        drv_console_event(c, 0, VIO_DRV_CONSOLE_RESIZED);
}

int vio_drv_console_emergency(struct vio_drvdev *d, uint8_t byte)
{
    vio_le32 word = vio_le32_of(byte);

    if (!vio_features_has(vio_drvdev_offered(d), VIRTIO_CONSOLE_F_EMERG_WRITE) || vio_drvdev_type(d) != VIRTIO_ID_CONSOLE)
        return -ENOTSUP;
    return vio_drvdev_config_write(d, offsetof(struct virtio_console_config, emerg_wr), &word, sizeof(word));
}

/* ------------------------------------------------------------------ ports and queues */

static int count_ports(struct vio_drv_console *c)
{
    uint32_t most = c->params->ports != 0 ? vio_min_u32(c->params->ports, VIO_DRV_CONSOLE_PORTS_MAX)
                                          : VIO_DRV_CONSOLE_PORTS_MAX;
    vio_le32 ports;
    int error;

    c->device_ports = c->ports = 1;
    if (!c->multiport)
        return 0;
    error = vio_drvdev_config_read(c->d, offsetof(struct virtio_console_config, max_nr_ports), &ports, sizeof(ports));
    if (error != 0)
        return error;
    c->device_ports = vio_cpu(ports);
    if (c->device_ports == 0)
        return vio_drvdev_fail(c->d, -EPROTO, "max_nr_ports is 0: a console has at least one port (virtio 1.4, 5.3.4)");
    c->ports = vio_min_u32(c->device_ports, most);
    /* Ports that have no queues are none of ours. */
    for (uint32_t i = 1; i < c->ports; i++)
        if (vio_drvdev_queue_max(c->d, drv_console_rx(i)) == 0 || vio_drvdev_queue_max(c->d, drv_console_tx(i)) == 0)
            c->ports = i;
    return 0;
}

static void used(struct vio_drvdev *d, uint16_t queue)
{
    (void)queue; /* all of them: few queues, and what one brings often belongs to another */
    vio_drv_console_service(vio_drvdev_state(d));
}

static int make_queues(struct vio_drv_console *c)
{
    struct vio_drvdev_queue_plan plan[2 * VIO_DRV_CONSOLE_PORTS_MAX + 2] = { { .queue = 0 } };
    unsigned n = 0;
    int error;

    for (uint32_t i = 0; i < c->ports; i++) {
        plan[n++] = (struct vio_drvdev_queue_plan){ .queue = drv_console_rx(i), .size = (uint16_t)c->buffers };
        plan[n++] = (struct vio_drvdev_queue_plan){ .queue = drv_console_tx(i), .size = (uint16_t)c->buffers };
        if (i == 0 && c->multiport) {
            plan[n++] = (struct vio_drvdev_queue_plan){ .queue = VIRTIO_CONSOLE_CONTROL_RX, .size = CONTROL_SIZE };
            plan[n++] = (struct vio_drvdev_queue_plan){ .queue = VIRTIO_CONSOLE_CONTROL_TX, .size = CONTROL_SIZE };
        }
    }
    for (unsigned i = 0; i < n; i++) {
        plan[i].polled = c->params->event == NULL;
        plan[i].callback = c->params->event != NULL ? used : NULL;
    }
    error = vio_drvdev_queues(c->d, plan, n);
    if (error != 0)
        return error;
    /* No more buffers than the smallest queue holds. */
    for (unsigned i = 0; i < n; i++) {
        uint16_t queue = plan[i].queue;

        if (queue != VIRTIO_CONSOLE_CONTROL_RX && queue != VIRTIO_CONSOLE_CONTROL_TX)
            c->buffers = vio_min_u32(c->buffers, vio_drvdev_queue_size(c->d, queue));
    }
    return 0;
}

/* ------------------------------------------------------------------ from probe to remove */

static void free_all(struct vio_drv_console *c)
{
    const struct vio_platform *p = vio_drvdev_platform(c->d);

    for (uint32_t i = 0; c->port != NULL && i < c->ports; i++) {
        drv_slots_close(&c->port[i].rx);
        drv_slots_close(&c->port[i].tx);
    }
    if (c->port != NULL)
        p->free(p->ctx, c->port, c->port_bytes);
    c->port = NULL;
    drv_slots_close(&c->control_rx);
    drv_slots_close(&c->control_tx);
}

static int make_ports(struct vio_drv_console *c)
{
    const struct vio_platform *p = vio_drvdev_platform(c->d);

    c->port_bytes = c->ports * sizeof(c->port[0]);
    c->port = p->alloc(p->ctx, c->port_bytes);
    if (c->port == NULL || (c->multiport && drv_console_control_open(c) != 0)) {
        free_all(c);
        return vio_drvdev_fail(c->d, -ENOMEM, "no memory for the %u ports of the console", c->ports);
    }
    return 0;
}

static int probe(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);
    struct vio_drv_console *c = vio_drvdev_state(d);
    int error;

    c->d = d;
    /* Ours, or the one that a struct vio_drv_console_driver begins with. */
    c->params = driver == &vio_driver_console ? &defaults
                                              : &((const struct vio_drv_console_driver *)(const void *)driver)->params;
    c->buffers = c->params->buffers != 0 ? vio_min_u32(c->params->buffers, VIO_DRV_CONSOLE_BUFFERS_MAX) : BUFFERS;
    c->bytes = c->params->bytes != 0 ? vio_min_u32(c->params->bytes, BYTES_MAX) : BYTES;
    c->multiport = vio_drvdev_has(d, VIRTIO_CONSOLE_F_MULTIPORT);
    error = count_ports(c);
    if (error == 0)
        error = make_queues(c);
    return error != 0 ? error : make_ports(c);
}

static int scan(struct vio_drvdev *d)
{
    struct vio_drv_console *c = vio_drvdev_state(d);
    int error;

    if (c->multiport) {
        error = drv_console_control_start(c);
        return error == 0 ? 0 : vio_drvdev_fail(d, error, "the console's control queue takes no message (error %d)", -error);
    }
    c->port[0].present = true;
    c->port[0].info = (struct vio_drv_console_port){ .console = true, .host_open = true, .guest_open = true };
    error = drv_console_fill(c, 0);
    if (error == 0)
        error = drv_console_size(c);
    return error == 0 ? 0 : vio_drvdev_fail(d, error, "the console's port cannot be opened (error %d)", -error);
}

static void remove_(struct vio_drvdev *d)
{
    free_all(vio_drvdev_state(d));
}

static const uint32_t types[] = { VIRTIO_ID_CONSOLE, 0 };

const struct vio_driver vio_driver_console = {
    .name = "console",
    .types = types,
    .features = { { VIO_FEATURE(VIRTIO_CONSOLE_F_SIZE) | VIO_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT) |
                    VIO_FEATURE(VIRTIO_CONSOLE_F_EMERG_WRITE) | VIO_FEATURE(VIRTIO_F_RING_PACKED) |
                    VIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIO_FEATURE(VIRTIO_F_IN_ORDER), 0 } },
    .state_size = sizeof(struct vio_drv_console),
    .probe = probe,
    .scan = scan,
    .remove = remove_,
    .config_changed = config_changed,
};

void vio_drv_console_driver(struct vio_drv_console_driver *driver, const struct vio_drv_console_params *params)
{
    driver->driver = vio_driver_console;
    driver->params = *params;
}

struct vio_drv_console *vio_drv_console_of(struct vio_drvdev *d)
{
    const struct vio_driver *driver = vio_drvdev_driver(d);

    if (driver == NULL || driver->probe != probe || vio_drvdev_status(d) != VIO_DRVDEV_RUNS)
        return NULL;
    return vio_drvdev_state(d);
}
