/* SPDX-License-Identifier: MIT */
/* Purpose: see pci.h. */
#include "pci.h"

#include <errno.h>

#include "base/format.h"
#include "machine.h"
#include "spec/pci.h"

enum { DEVICES = 32, FUNCTIONS = 8, BUSES = 256, CONFIG_BYTES = 4096, BUS_SHIFT = 20, DEVICE_SHIFT = 15, FUNCTION_SHIFT = 12 };
enum { MULTIFUNCTION = 0x80, HEADER_BRIDGE = 1, SECONDARY_BUS = 0x19 };
enum { BAR_PORTS = 1, BAR_TYPE = 6, BAR_WIDE = 4 };
enum { LEAST_PORT = 0x1000 }; /* below it are those of the machine itself */

/* ------------------------------------------------------------------ finding them */

struct scan {
    struct pci_host *host;
    void (*found)(void *ctx, struct pci_host *host, uint64_t at);
    void *ctx;
    uint8_t seen[BUSES / 8]; /* a bus that is named twice is walked once */
    uint8_t waiting[BUSES];  /* buses behind bridges */
    unsigned nr_waiting;
};

static void add_bus(struct scan *s, uint8_t bus)
{
    if (bus < s->host->first_bus || bus > s->host->last_bus || (s->seen[bus / 8] >> bus % 8 & 1) != 0)
        return;
    s->seen[bus / 8] = (uint8_t)(s->seen[bus / 8] | 1u << bus % 8);
    s->waiting[s->nr_waiting++] = bus;
}

static void scan_device(struct scan *s, uint64_t device)
{
    uint64_t at = device;

    for (unsigned i = 0; i < FUNCTIONS; i++, at += 1u << FUNCTION_SHIFT) {
        uint8_t header = vio_io_read8(s->host->config, at + PCI_HEADER_TYPE);

        if (vio_io_read16(s->host->config, at + PCI_VENDOR_ID) == UINT16_MAX) {
            if (i == 0)
                return;
            continue;
        }
        /* A bridge that nobody has set up says bus 0, which was seen. */
        if ((header & ~(unsigned)MULTIFUNCTION) == HEADER_BRIDGE)
            add_bus(s, vio_io_read8(s->host->config, at + SECONDARY_BUS));
        else
            s->found(s->ctx, s->host, at);
        if (i == 0 && (header & MULTIFUNCTION) == 0)
            return;
    }
}

void pci_scan(struct pci_host *host, void (*found)(void *ctx, struct pci_host *host, uint64_t at), void *ctx)
{
    struct scan s = { .host = host, .found = found, .ctx = ctx };

    add_bus(&s, host->first_bus);
    for (unsigned i = 0; i < s.nr_waiting; i++) {
        /* ECAM begins with the host's first bus */
        uint64_t bus = (uint64_t)(s.waiting[i] - host->first_bus) << BUS_SHIFT;

        for (unsigned device = 0; device < DEVICES; device++)
            scan_device(&s, bus | (uint64_t)device << DEVICE_SHIFT);
    }
}

/* ------------------------------------------------------------------ BARs */

static uint32_t get(const struct pci_function *f, uint32_t reg)
{
    return vio_io_read32(f->host->config, f->at + reg);
}

static void put(const struct pci_function *f, uint32_t reg, uint32_t value)
{
    vio_io_write32(f->host->config, f->at + reg, value);
}

/* The bits of a BAR that can be written, less those that are no address. */
static uint32_t size_bits(const struct pci_function *f, uint32_t reg)
{
    uint32_t before = get(f, reg), mask;

    put(f, reg, UINT32_MAX);
    mask = get(f, reg);
    put(f, reg, before);
    return mask;
}

/* What BAR i is. Its address is taken as it stands. */
static struct pci_bar bar_look(const struct pci_function *f, unsigned i)
{
    uint32_t reg = PCI_BAR(i), low = get(f, reg);
    uint64_t mask = size_bits(f, reg);
    struct pci_bar bar = { .ports = (low & BAR_PORTS) != 0 };
    uint32_t flags = bar.ports ? 3 : 15;

    bar.wide = !bar.ports && (low & BAR_TYPE) == BAR_WIDE && i + 1 < VIO_PCI_BARS;
    bar.address = low & ~flags;
    mask &= ~(uint64_t)flags;
    if (bar.ports)
        mask = (mask & 0xffff) != 0 ? mask | 0xffff0000 : 0; /* the upper half of a port's address may be missing */
    if (bar.wide) {
        bar.address |= (uint64_t)get(f, reg + 4) << 32;
        mask |= (uint64_t)size_bits(f, reg + 4) << 32;
    } else if (mask != 0) {
        mask |= UINT64_C(0xffffffff00000000);
    }
    bar.len = mask & (~mask + 1); /* its lowest bit */
    return bar;
}

static void bar_assign(struct pci_function *f, unsigned i, struct pci_bar *bar)
{
    struct pci_window *w = bar->ports ? &f->host->port : &f->host->memory;
    uint64_t at = (w->bus + w->used + bar->len - 1) & ~(bar->len - 1), end;

    /* Under 4 GiB also where it could be above: not every BAR could, and one window is enough here. */
    if (!vio_add_u64(at, bar->len, &end) || at < w->bus || end - w->bus > w->len || end > UINT64_C(1) << 32)
        return;
    w->used = end - w->bus;
    bar->address = at;
    put(f, PCI_BAR(i), (uint32_t)at);
    if (bar->wide)
        put(f, PCI_BAR(i) + 4, 0);
}

static void look_at_bars(struct pci_function *f)
{
    for (unsigned i = 0; i < VIO_PCI_BARS; i++) {
        struct pci_bar *bar = &f->bars[i];

        *bar = bar_look(f, i);
        if (bar->len != 0 && bar->address == 0 && !f->host->leave_bars)
            bar_assign(f, i, bar);
        if (bar->wide)
            f->bars[++i] = (struct pci_bar){ 0 };
    }
}

/* ------------------------------------------------------------------ as vio's driver wants it */

static int config_read(void *ctx, uint32_t offset, unsigned width, uint32_t *value)
{
    struct pci_function *f = ctx;

    if (!vio_range_ok(offset, width, CONFIG_BYTES))
        return -EINVAL;
    *value = vio_io_read(f->host->config, f->at + offset, width);
    return 0;
}

static int config_write(void *ctx, uint32_t offset, unsigned width, uint32_t value)
{
    struct pci_function *f = ctx;

    if (!vio_range_ok(offset, width, CONFIG_BYTES))
        return -EINVAL;
    vio_io_write(f->host->config, f->at + offset, width, value);
    return 0;
}

static int bar(void *ctx, unsigned i, uint64_t *len, bool *ports)
{
    const struct pci_function *f = ctx;

    if (i >= VIO_PCI_BARS || f->bars[i].len == 0)
        return -ENOENT;
    *len = f->bars[i].len;
    *ports = f->bars[i].ports;
    return 0;
}

/* -ENOTSUP: vio goes through configuration space then, where the device has that window. */
static int map(void *ctx, unsigned i, uint64_t offset, uint64_t len, struct vio_io *registers)
{
    const struct pci_function *f = ctx;
    const struct pci_host *h = f->host;
    const struct pci_bar *b = &f->bars[i];
    uint64_t at = b->address + offset;
    uint64_t within = at - h->memory.bus;
    volatile void *mapped;

    if (b->address == 0 || (b->ports && vio_io_none(h->ports)))
        return -ENOTSUP;
    if (b->ports) {
        *registers = vio_io_at(h->ports, at);
        return 0;
    }
    /* Outside the window, or where the host has none, both sides are taken to say the same. */
    mapped = machine_registers(vio_range_ok(within, len, h->memory.len) ? within + h->memory.cpu : at, len);
    if (mapped == NULL)
        return -ENOTSUP;
    *registers = vio_io_mapped(mapped);
    return 0;
}

void pci_function_init(struct pci_function *f, struct pci_host *host, uint64_t at)
{
    uint64_t bus = (at >> BUS_SHIFT) + host->first_bus;
    uint16_t command;

    *f = (struct pci_function){ .host = host, .at = at };
    f->access = (struct vio_pci_access){ .config_read = config_read, .config_write = config_write, .bar = bar, .map = map,
                                         .ctx = f };
    vio_format(f->name, sizeof(f->name), "%02x:%02x.%u", (unsigned)bus, (unsigned)(at >> DEVICE_SHIFT) % DEVICES,
               (unsigned)(at >> FUNCTION_SHIFT) % FUNCTIONS);
    if (host->port.used == 0)
        host->port.used = LEAST_PORT;
    command = vio_io_read16(host->config, at + PCI_COMMAND);
    vio_io_write16(host->config, at + PCI_COMMAND, (uint16_t)(command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)));
    look_at_bars(f);
    vio_io_write16(host->config, at + PCI_COMMAND, command);
}
