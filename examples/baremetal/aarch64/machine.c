/* SPDX-License-Identifier: MIT */
/*
 * Purpose: machine.h on AArch64 with a device tree: PL011 serial port, generic timer, PSCI. Where it sits: under the program; start.S
 * calls it. Threads: one. Trust: the tree is checked as it is read (fdt.h).
 */
#include "machine.h"
#include "say.h"
#include "tree.h"

enum { UART_DATA = 0x00, UART_FLAGS = 0x18, UART_FULL = 0x20, UART_CONTROL = 0x30, UART_ON = 0x301 };
static const uint32_t PSCI_SYSTEM_OFF = 0x84000008;
static const uint64_t MAPPED = UINT64_C(1) << 39; /* start.S */

static struct vio_io uart;
static bool psci_hvc, psci_smc;
static uint64_t timer_hz, timer_begin;

static uint64_t counter(void)
{
    uint64_t v;

    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(v) : : "memory");
    return v;
}

uint64_t machine_now_ns(void)
{
    return machine_ticks_ns(counter() - timer_begin, timer_hz);
}

void machine_pause(void)
{
    __asm__ volatile("yield");
}

void machine_putc(char c)
{
    if (vio_io_none(uart))
        return;
    for (unsigned i = 0; i < 100000 && (vio_io_read32(uart, UART_FLAGS) & UART_FULL) != 0; i++)
        machine_pause();
    vio_io_write32(uart, UART_DATA, (uint8_t)c);
}

volatile void *machine_registers(uint64_t address, uint64_t len)
{
    return vio_range_ok(address, len, MAPPED) ? (volatile void *)(uintptr_t)address : NULL;
}

/* PSCI tells nobody how it went: the program's last line does. */
_Noreturn void machine_off(unsigned problems)
{
    register uint64_t x0 __asm__("x0") = PSCI_SYSTEM_OFF;

    (void)problems;
    if (psci_hvc)
        __asm__ volatile("hvc #0" : "+r"(x0) : : "x1", "x2", "x3", "memory");
    else if (psci_smc)
        __asm__ volatile("smc #0" : "+r"(x0) : : "x1", "x2", "x3", "memory");
    for (;;)
        __asm__ volatile("wfi");
}

_Noreturn void machine_trap(uint64_t syndrome, uint64_t at, uint64_t address);

_Noreturn void machine_trap(uint64_t syndrome, uint64_t at, uint64_t address)
{
    problem("trap", "exception 0x%llx at 0x%llx, address 0x%llx", (unsigned long long)syndrome, (unsigned long long)at,
            (unsigned long long)address);
    machine_off(1);
}

static void find_psci(const struct fdt *t)
{
    struct fdt_node n = { 0 };
    const char *method;

    if (!tree_find(t, "arm,psci-0.2", &n) && !tree_find(t, "arm,psci-1.0", &n))
        return;
    method = fdt_text(t, &n, "method");
    psci_hvc = method != NULL && text_equal(method, "hvc");
    psci_smc = method != NULL && text_equal(method, "smc");
}

_Noreturn void machine_start(uint64_t handed)
{
    static struct fdt tree;
    struct machine machine = { .name = "aarch64", .arguments = "", .tree = &tree };
    uint64_t hz;

    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
    timer_hz = hz != 0 ? hz : 1;
    timer_begin = counter();
    if (!tree_open(&tree, handed))
        machine_off(1); /* and no way to say so */
    find_psci(&tree);
    if (tree_registers(&tree, "arm,pl011", &uart))
        vio_io_write32(uart, UART_CONTROL, UART_ON);
    machine.arguments = tree_arguments(&tree);
    machine_off(baremetal_main(&machine));
}
