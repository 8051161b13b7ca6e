/* SPDX-License-Identifier: MIT */
/*
 * Purpose: found devices, drivers, and which takes which. Where it sits: driver/core, freestanding.
 * Threads: the control thread. Trust: a device's id chooses among the drivers there are, nothing else.
 */
#include <errno.h>
#include <vio/log.h>
#include "driver/core_internal.h"

struct bus_driver {
    struct bus_driver *next;
    const struct vio_driver *driver;
};

struct vio_bus {
    const struct vio_platform *platform;
    struct bus_driver *drivers;
    struct vio_drvdev *devices;
};

int vio_bus_create(const struct vio_platform *platform, struct vio_bus **out)
{
    struct vio_bus *bus = platform->alloc(platform->ctx, sizeof(*bus));

    if (bus == NULL)
        return -ENOMEM;
    bus->platform = platform;
    *out = bus;
    return 0;
}

void vio_bus_destroy(struct vio_bus *bus)
{
    if (bus == NULL)
        return;
    while (bus->devices != NULL)
        vio_bus_remove(bus->devices);
    while (bus->drivers != NULL) {
        struct bus_driver *b = bus->drivers;

        bus->drivers = b->next;
        bus->platform->free(bus->platform->ctx, b, sizeof(*b));
    }
    bus->platform->free(bus->platform->ctx, bus, sizeof(*bus));
}

/* One that names the type; else one that takes any. */
static const struct vio_driver *find(const struct vio_bus *bus, uint32_t type)
{
    const struct vio_driver *any = NULL;

    for (const struct bus_driver *b = bus->drivers; b != NULL; b = b->next) {
        if (vio_driver_names(b->driver, type))
            return b->driver;
        if (b->driver->types == NULL)
            any = b->driver;
    }
    return any;
}

int vio_bus_add_driver(struct vio_bus *bus, const struct vio_driver *driver)
{
    struct bus_driver **at = &bus->drivers, *b;

    for (; *at != NULL; at = &(*at)->next)
        if ((*at)->driver == driver)
            return -EEXIST;
    b = bus->platform->alloc(bus->platform->ctx, sizeof(*b));
    if (b == NULL)
        return -ENOMEM;
    b->driver = driver;
    *at = b;
    for (struct vio_drvdev *d = bus->devices; d != NULL; d = d->next) {
        if (d->is == VIO_DRVDEV_WAITS && (d->driver = find(bus, d->type)) != NULL)
            (void)!core_initialize(d); /* it says why by itself, and is there all the same */
    }
    return 0;
}

int vio_bus_add(struct vio_bus *bus, struct vio_transport *t, uint32_t type, const struct vio_driver *driver,
                struct vio_drvdev **out)
{
    const struct vio_platform *p = t->platform;
    struct vio_drvdev **at = &bus->devices, *d = NULL;
    int error = t->type != 0 && type != 0 && t->type != type ? -EINVAL : 0;

    if (error == 0 && (d = p->alloc(p->ctx, sizeof(*d))) == NULL)
        error = -ENOMEM;
    if (error != 0) {
        t->ops->destroy(t);
        return error;
    }
    d->bus = bus;
    d->t = t;
    d->ops = t->ops;
    d->platform = p;
    d->type = t->type != 0 ? t->type : type;
    while (*at != NULL)
        at = &(*at)->next;
    *at = d;
    d->driver = driver != NULL ? driver : find(bus, d->type);
    if (d->driver != NULL)
        (void)!core_initialize(d);
    *out = d;
    return 0;
}

void vio_bus_remove(struct vio_drvdev *d)
{
    struct vio_drvdev **at = &d->bus->devices;
    const struct vio_platform *p = d->platform;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    /* The memory goes in any case: a platform that can takes it away from the device with that. */
    if (!d->fresh && core_reset(d) != 0)
        core_say(d, VIO_LOG_WARNING, "it is taken away without the reset that did not work: it may still write to its memory");
    d->stuck = false;
    core_release(d);
    d->ops->destroy(d->t);
    p->free(p->ctx, d, sizeof(*d));
}

struct vio_drvdev *vio_bus_next(struct vio_bus *bus, const struct vio_drvdev *after)
{
    return after == NULL ? bus->devices : after->next;
}
