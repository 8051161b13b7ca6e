/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the program: finds the machine's virtio devices, says what each is, uses it, and says how it went.
 * Where it sits: over machine.h, which starts it, and a file for each kind of device. Threads: one, nothing interrupts it: queues
 * are looked at. Trust: devices and all that comes through them are hostile.
 *
 * arguments, from the loader's command line: legacy=on drives PCI devices by the legacy interface where they have both; bars=off
 * leaves BARs without an address, so that devices are driven through configuration space; others: see disk.c, network.c.
 */
#include <vio/device.h>
#include <vio/drv_balloon.h>
#include <vio/drv_blk.h>
#include <vio/drv_console.h>
#include <vio/drv_net.h>
#include <vio/drv_rng.h>
#include <vio/drv_scsi.h>

#include "devices.h"
#include "memory.h"
#include "say.h"
#include "spec/net.h"

enum { QUEUE_SIZE = 64, QUEUES_SHOWN = 16 };

struct kind {
    const struct vio_driver *driver;
    const char *what;
    void (*use)(struct vio_drvdev *d, const char *arguments);
};

/* ------------------------------------------------------------------ the drivers, as they are wanted here */

/* Frames come whole and checked: none of what would make them longer, or leave their checksums to us. */
static const uint64_t NOT_FOR_US = VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
                                   VIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | VIO_FEATURE(VIRTIO_NET_F_GUEST_ECN) |
                                   VIO_FEATURE(VIRTIO_NET_F_GUEST_UFO) | VIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) |
                                   VIO_FEATURE(VIRTIO_NET_F_GUEST_USO6);

static const struct kind *kinds(bool events)
{
    static struct vio_drv_blk_driver blk;
    static struct vio_drv_net_driver net;
    static struct vio_drv_console_driver console;
    static struct vio_drv_scsi_driver scsi;
    static struct kind table[] = {
        { &blk.driver, "disk", use_disk },
        { &net.driver, "network card", use_network },
        { &console.driver, "console", use_console },
        { &vio_driver_rng, "entropy source", use_entropy },
        { &vio_driver_balloon, "balloon", use_balloon },
        { &scsi.driver, "SCSI host", use_scsi },
        { NULL, NULL, NULL },
    };

    vio_drv_blk_driver(&blk, &(struct vio_drv_blk_params){ .queues = 1, .queue_size = QUEUE_SIZE });
    vio_drv_net_driver(&net, &(struct vio_drv_net_params){
        .queue_size = QUEUE_SIZE, .used = events ? network_used : NULL, .lost = network_lost });
    net.driver.features.w[0] &= ~NOT_FOR_US;
    vio_drv_console_driver(&console, &(struct vio_drv_console_params){ .ports = 2 });
    vio_drv_scsi_driver(&scsi, &(struct vio_drv_scsi_params){ .queues = 1, .queue_size = QUEUE_SIZE });
    return table;
}

static const struct kind *kind_of(const struct kind *table, struct vio_drvdev *d)
{
    for (; table->driver != NULL; table++) {
        if (vio_drvdev_driver(d) == table->driver)
            return table;
    }
    return NULL;
}

/* ------------------------------------------------------------------ each device */

static void describe(struct vio_drvdev *d, const char *what)
{
    struct vio_transport *t = vio_drvdev_transport(d);
    const char *name = vio_drvdev_name(d);
    char features[SAY_LINE];

    say(name, "%s (type %u), %s, %s interface", what, vio_drvdev_type(d), t->ops->name, t->legacy ? "legacy" : "modern");
    say(name, "features %s",
        vio_features_text((uint16_t)vio_drvdev_type(d), vio_drvdev_features(d), features, sizeof(features)));
    for (uint16_t i = 0; i < QUEUES_SHOWN; i++) {
        if (vio_drvdev_queue(d, i) != NULL)
            say(name, "queue %u: %u entries", i, vio_drvdev_queue_size(d, i));
    }
}

static void use(struct vio_drvdev *d, const struct kind *kind, const char *arguments)
{
    if (kind == NULL) {
        say(vio_drvdev_name(d), "a device of type %u, for which there is no driver here", vio_drvdev_type(d));
        return;
    }
    if (vio_drvdev_status(d) != VIO_DRVDEV_RUNS) {
        problem(vio_drvdev_name(d), "%s does not run", kind->what);
        return;
    }
    describe(d, kind->what);
    kind->use(d, arguments);
}

unsigned baremetal_main(const struct machine *machine)
{
    const struct kind *table = kinds(text_on(machine->arguments, "events"));
    struct vio_bus *bus = NULL;
    unsigned n = 0;
    int r = vio_bus_create(memory_platform(), &bus);

    say("vio", "bare metal on %s, arguments \"%s\"", machine->name, machine->arguments);
    for (const struct kind *k = table; r == 0 && k->driver != NULL; k++)
        r = vio_bus_add_driver(bus, k->driver);
    if (r == 0) {
        find_devices(machine, bus, text_on(machine->arguments, "legacy"));
        for (struct vio_drvdev *d = vio_bus_next(bus, NULL); d != NULL; d = vio_bus_next(bus, d), n++)
            use(d, kind_of(table, d), machine->arguments);
    } else {
        problem("vio", "no memory for the drivers");
    }
    vio_bus_destroy(bus);
    network_end();
    say("vio", "%u devices, %u problems, %llu KiB of memory at most, %llu bytes not given back", n, problems(),
        (unsigned long long)memory_peak() >> 10, (unsigned long long)memory_used());
    return problems();
}
