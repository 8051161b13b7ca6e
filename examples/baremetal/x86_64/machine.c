/* SPDX-License-Identifier: MIT */
/*
 * Purpose: machine.h on an x86-64 PC: serial port, time, I/O ports, PCI through its two configuration ports. Where it sits: under
 * the program; start.S calls it. Threads: one. Trust: the loader's start information is read within bounds.
 */
#include <stddef.h>
#include <string.h>

#include "machine.h"
#include "say.h"

enum { COM1 = 0x3f8, COM_DATA = COM1, COM_ENABLE = COM1 + 1, COM_FIFO = COM1 + 2, COM_LINE = COM1 + 3, COM_STATUS = COM1 + 5,
       COM_EMPTY = 0x20 };
enum { PCI_ADDRESS = 0xcf8, PCI_DATA = 0xcfc };
enum { PIT_CHANNEL_2 = 0x42, PIT_COMMAND = 0x43, PIT_GATE = 0x61, PIT_HZ = 1193182 };
enum { DEBUG_EXIT = 0xf4 }; /* QEMU's isa-debug-exit, if it is there */
enum { ARGUMENTS = 256, DIRECTORIES = 512, SPARE = 8 };
#define GIB (UINT64_C(1) << 30)

extern uint64_t directories[DIRECTORIES];

/* ------------------------------------------------------------------ ports */

static uint32_t port_in(uint16_t port, unsigned width)
{
    uint32_t value = 0;

    if (width == 1)
        __asm__ volatile("inb %w1, %b0" : "+a"(value) : "Nd"(port) : "memory");
    else if (width == 2)
        __asm__ volatile("inw %w1, %w0" : "+a"(value) : "Nd"(port) : "memory");
    else
        __asm__ volatile("inl %w1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static void port_out(uint16_t port, unsigned width, uint32_t value)
{
    if (width == 1)
        __asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(port) : "memory");
    else if (width == 2)
        __asm__ volatile("outw %w0, %w1" : : "a"(value), "Nd"(port) : "memory");
    else
        __asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(port) : "memory");
}

static uint32_t ports_read(void *ctx, uint64_t offset, unsigned width)
{
    (void)ctx;
    return offset <= UINT16_MAX ? port_in((uint16_t)offset, width) : UINT32_MAX;
}

static void ports_write(void *ctx, uint64_t offset, unsigned width, uint32_t value)
{
    (void)ctx;
    if (offset <= UINT16_MAX)
        port_out((uint16_t)offset, width, value);
}

/* ------------------------------------------------------------------ PCI's configuration mechanism #1 */

/* offset: as ECAM has it. The ports reach 256 bytes of each function. */
static bool aim(uint64_t offset)
{
    if ((offset & 0xfff) > 0xff || offset >> 28 != 0)
        return false;
    port_out(PCI_ADDRESS, 4, 0x80000000u | (uint32_t)(offset >> 12) << 8 | (uint32_t)(offset & 0xfc));
    return true;
}

static uint32_t config_read(void *ctx, uint64_t offset, unsigned width)
{
    (void)ctx;
    return aim(offset) ? port_in((uint16_t)(PCI_DATA + (offset & 3)), width) : UINT32_MAX;
}

static void config_write(void *ctx, uint64_t offset, unsigned width, uint32_t value)
{
    (void)ctx;
    if (aim(offset))
        port_out((uint16_t)(PCI_DATA + (offset & 3)), width, value);
}

/* ------------------------------------------------------------------ time */

static uint64_t tsc_begin, tsc_per_ms = 1;

static uint64_t tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low | (uint64_t)high << 32;
}

/* How fast it counts: 10 ms of the timer that every PC has, its speaker off. */
static void measure_tsc(void)
{
    uint32_t gate = port_in(PIT_GATE, 1) & 0xfcu, count = PIT_HZ / 100;
    uint64_t begin;

    port_out(PIT_GATE, 1, gate);
    port_out(PIT_COMMAND, 1, 0xb0); /* channel 2, both bytes, counts down once */
    port_out(PIT_CHANNEL_2, 1, count & 0xff);
    port_out(PIT_CHANNEL_2, 1, count >> 8);
    begin = tsc();
    port_out(PIT_GATE, 1, gate | 1);
    while ((port_in(PIT_GATE, 1) & 0x20) == 0 && tsc() - begin < UINT64_C(10000000000))
        ;
    tsc_begin = tsc();
    tsc_per_ms = (tsc_begin - begin) / 10 != 0 ? (tsc_begin - begin) / 10 : 1;
}

uint64_t machine_now_ns(void)
{
    return machine_ticks_ns(tsc() - tsc_begin, tsc_per_ms * 1000);
}

void machine_pause(void)
{
    __asm__ volatile("pause");
}

/* ------------------------------------------------------------------ the rest */

void machine_putc(char c)
{
    for (unsigned i = 0; i < 100000 && (port_in(COM_STATUS, 1) & COM_EMPTY) == 0; i++)
        machine_pause();
    port_out(COM_DATA, 1, (uint8_t)c);
}

/* All below 4 GiB is mapped; above it a GiB is, when something in it is asked for. */
volatile void *machine_registers(uint64_t address, uint64_t len)
{
    static _Alignas(4096) uint64_t spare[SPARE][512];
    static unsigned taken;
    uint64_t gib = address / GIB, end;

    if (len == 0 || !vio_add_u64(address, len - 1, &end) || end / GIB != gib || gib >= DIRECTORIES)
        return NULL;
    if (directories[gib] == 0) {
        if (taken == SPARE)
            return NULL;
        for (unsigned i = 0; i < 512; i++)
            spare[taken][i] = (gib * GIB + ((uint64_t)i << 21)) | 0x9b; /* there, writable, not cached, of 2 MiB */
        directories[gib] = (uintptr_t)spare[taken++] | 3;
    }
    return (volatile void *)(uintptr_t)address;
}

_Noreturn void machine_off(unsigned problems)
{
    port_out(DEBUG_EXIT, 4, problems != 0);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* Xen's PVH boot protocol, struct hvm_start_info */
struct start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modules, arguments, rsdp;
};

static void copy_arguments(char to[ARGUMENTS], uint64_t handed)
{
    const struct start_info *info = (const struct start_info *)(uintptr_t)handed;
    const char *from;
    unsigned n = 0;

    if (handed != 0 && info->magic == 0x336ec578 && info->arguments != 0 && info->arguments < GIB) {
        from = (const char *)(uintptr_t)info->arguments;
        for (; n < ARGUMENTS - 1 && from[n] != '\0'; n++)
            to[n] = from[n];
    }
    to[n] = '\0';
}

_Noreturn void machine_start(uint64_t handed)
{
    static const struct vio_io_ops config = { config_read, config_write }, ports = { ports_read, ports_write };
    static char arguments[ARGUMENTS];
    struct pci_host pci = { .config = vio_io_by(&config, NULL), .last_bus = 255, .ports = vio_io_by(&ports, NULL) };
    struct machine machine = { .name = "x86-64", .arguments = arguments, .pci = &pci };

    port_out(COM_ENABLE, 1, 0);
    port_out(COM_FIFO, 1, 1);
    port_out(COM_LINE, 1, 3); /* 8 bits, no parity; the speed as it is */
    copy_arguments(arguments, handed);
    measure_tsc();
    machine_off(baremetal_main(&machine));
}
