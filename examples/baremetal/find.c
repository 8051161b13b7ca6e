/* SPDX-License-Identifier: MIT */
/*
 * Purpose: finds virtio devices: on PCI, by a host that the machine knows or that its device tree has; as places of virtio-mmio
 * in the tree. Where it sits: over fdt.h, pci.h and vio's two transports.
 * Threads: one. Trust: the tree and the devices are checked as they are read.
 */
#include <errno.h>
#include <vio/mmio_driver.h>

#include "devices.h"
#include "memory.h"
#include "say.h"
#include "spec/pci.h"

enum { HOSTS = 4 };

struct finder {
    struct vio_bus *bus;
    bool legacy;
};

static void add(struct finder *f, struct vio_transport *t)
{
    struct vio_drvdev *d;
    int r = vio_bus_add(f->bus, t, 0, NULL, &d);

    if (r != 0)
        problem("bus", "a device is not taken: error %d", -r);
}

/* ------------------------------------------------------------------ PCI */

/* The transport is gone, and the function's place with it. */
static void forget_function(void *ctx)
{
    const struct vio_platform *p = memory_platform();

    p->free(p->ctx, ctx, sizeof(struct pci_function));
}

static void found_function(void *ctx, struct pci_host *host, uint64_t at)
{
    const struct vio_platform *p = memory_platform();
    struct pci_function *function;
    struct finder *f = ctx;
    struct vio_transport *t;
    char why[VIO_DRV_WHY];
    int r;

    if (vio_io_read16(host->config, at) != VIRTIO_PCI_VENDOR)
        return;
    function = p->alloc(p->ctx, sizeof(*function));
    if (function == NULL) {
        problem("pci", "no memory for a function");
        return;
    }
    pci_function_init(function, host, at);
    function->access.close = forget_function;
    struct vio_pci_driver_params params = {
        .access = &function->access, .name = function->name, .platform = p, .legacy = f->legacy,
    };
    r = vio_pci_driver_create(&params, &t, why);
    if (r == 0 && host->leave_bars)
        say(function->name, "its BARs have no address: its registers are reached through configuration space");
    if (r == 0) {
        add(f, t);
        return;
    }
    if (r != -ENODEV)
        problem(function->name, "%s", why);
    forget_function(function);
}

/* One entry of `ranges`: 3 cells of PCI's address, the CPU's, the length. Devicetree's PCI bus binding, IEEE 1275. */
static bool take_range(struct pci_host *host, const struct fdt_prop *ranges, uint32_t at, uint32_t cpu_cells)
{
    struct pci_window *w;
    uint64_t space, bus, cpu, len, end;

    if (!fdt_cells(ranges, at, 1, &space) || !fdt_cells(ranges, at + 1, 2, &bus) ||
        !fdt_cells(ranges, at + 3, cpu_cells, &cpu) || !fdt_cells(ranges, at + 3 + cpu_cells, 2, &len) ||
        !vio_add_u64(bus, len, &end) || !vio_add_u64(cpu, len, &end))
        return false;
    space = space >> 24 & 3; /* 1: ports, 2: memory below 4 GiB, 3: above */
    w = space == 1 ? &host->port : space == 2 ? &host->memory : NULL;
    if (w != NULL && w->len == 0)
        *w = (struct pci_window){ .bus = bus, .cpu = cpu, .len = len };
    return true;
}

/* Device tree of a generic host: configuration by ECAM. */
static bool host_of(const struct fdt *t, const struct fdt_node *n, struct pci_host *host)
{
    uint32_t cpu_cells = n->cells[n->depth > 0 ? n->depth - 1 : 0].address;
    uint64_t ecam, ecam_len, first = 0, last = 255;
    struct fdt_prop p;
    volatile void *at;

    if (n->depth == 0 || !fdt_reg(t, n, 0, &ecam, &ecam_len))
        return false;
    if (fdt_prop(t, n, "bus-range", &p) && (!fdt_cells(&p, 0, 1, &first) || !fdt_cells(&p, 1, 1, &last)))
        return false;
    if (first > last || last > 255 || (last - first + 1) << 20 > ecam_len)
        return false;
    *host = (struct pci_host){ .first_bus = (uint8_t)first, .last_bus = (uint8_t)last };
    at = machine_registers(ecam, ecam_len);
    if (at == NULL || !fdt_prop(t, n, "ranges", &p))
        return false;
    host->config = vio_io_mapped(at);
    for (uint32_t cell = 0; cell < p.len / 4; cell += 5 + cpu_cells) {
        if (!take_range(host, &p, cell, cpu_cells))
            return false;
    }
    at = host->port.len != 0 && host->port.bus == 0 ? machine_registers(host->port.cpu, host->port.len) : NULL;
    if (at != NULL)
        host->ports = vio_io_mapped(at);
    return true;
}

static void found_host(struct finder *f, const struct fdt *t, const struct fdt_node *n, bool leave_bars)
{
    static struct pci_host hosts[HOSTS]; /* they stay as long as devices on them */
    static unsigned nr_hosts;
    struct pci_host *host = &hosts[nr_hosts];

    if (nr_hosts == HOSTS || !host_of(t, n, host)) {
        problem("pci", "the device tree's %s cannot be used as it is described", n->name);
        return;
    }
    nr_hosts++;
    host->leave_bars = leave_bars;
    pci_scan(host, found_function, f);
}

/* ------------------------------------------------------------------ MMIO */

static void found_place(struct finder *f, const struct fdt *t, const struct fdt_node *n)
{
    struct vio_mmio_driver_params params = { .platform = memory_platform() };
    struct vio_transport *transport;
    volatile void *at = NULL;
    char why[VIO_DRV_WHY];
    int r;

    if (fdt_reg(t, n, 0, &params.address, &params.len))
        at = machine_registers(params.address, params.len);
    if (at == NULL) {
        problem("mmio", "the device tree's %s has no address that could be reached", n->name);
        return;
    }
    params.registers = vio_io_mapped(at);
    r = vio_mmio_driver_create(&params, &transport, why);
    if (r == 0)
        add(f, transport);
    else if (r != -ENODEV) /* a place that is kept free */
        problem("mmio", "%s", why);
}

/* ------------------------------------------------------------------ all of them */

void find_devices(const struct machine *machine, struct vio_bus *bus, bool legacy)
{
    struct finder f = { .bus = bus, .legacy = legacy };
    struct fdt_node n = { 0 };
    char bars[8];
    bool leave_bars = text_word(machine->arguments, "bars", bars, sizeof(bars)) && text_equal(bars, "off");

    if (machine->pci != NULL)
        pci_scan(machine->pci, found_function, &f);
    if (machine->tree == NULL)
        return;
    while (fdt_next(machine->tree, &n)) {
        if (!fdt_enabled(machine->tree, &n))
            continue;
        if (fdt_is(machine->tree, &n, "virtio,mmio"))
            found_place(&f, machine->tree, &n);
        else if (fdt_is(machine->tree, &n, "pci-host-ecam-generic"))
            found_host(&f, machine->tree, &n, leave_bars);
    }
}
