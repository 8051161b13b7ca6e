/* SPDX-License-Identifier: MIT */
/*
 * Purpose: machine.h on RISC-V with a device tree and an SBI: 16550 serial port, time, power off. Where it sits: under the program;
 * start.S calls it. Threads: one. Trust: the tree is checked as it is read (fdt.h).
 */
#include "machine.h"
#include "say.h"
#include "tree.h"

enum { UART_DATA = 0, UART_STATUS = 5, UART_EMPTY = 0x20 };
enum { SBI_RESET = 0x53525354, SBI_FAILURE = 1 };
static const uint32_t TEST_PASS = 0x5555, TEST_FAIL = 0x3333; /* QEMU's sifive_test, if it is there */

static struct vio_io uart, test;
static uint64_t timer_hz = 1, timer_begin;

static uint64_t counter(void)
{
    uint64_t v;

    __asm__ volatile("rdtime %0" : "=r"(v) : : "memory");
    return v;
}

uint64_t machine_now_ns(void)
{
    return machine_ticks_ns(counter() - timer_begin, timer_hz);
}

void machine_pause(void)
{
    __asm__ volatile(".insn i 0x0f, 0, x0, x0, 0x010"); /* pause, which is a fence that does nothing where it is not known */
}

void machine_putc(char c)
{
    if (vio_io_none(uart))
        return;
    for (unsigned i = 0; i < 100000 && (vio_io_read8(uart, UART_STATUS) & UART_EMPTY) == 0; i++)
        machine_pause();
    vio_io_write8(uart, UART_DATA, (uint8_t)c);
}

/* There is no map that could leave something out. */
volatile void *machine_registers(uint64_t address, uint64_t len)
{
    return len != 0 ? (volatile void *)(uintptr_t)address : NULL;
}

_Noreturn void machine_off(unsigned problems)
{
    register uint64_t a0 __asm__("a0") = 0; /* shutdown */
    register uint64_t a1 __asm__("a1") = problems != 0 ? SBI_FAILURE : 0;
    register uint64_t a6 __asm__("a6") = 0;
    register uint64_t a7 __asm__("a7") = SBI_RESET;

    if (!vio_io_none(test))
        vio_io_write32(test, 0, problems != 0 ? TEST_FAIL | 1u << 16 : TEST_PASS);
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a6), "r"(a7) : "memory");
    for (;;)
        __asm__ volatile("wfi");
}

_Noreturn void machine_trap(uint64_t cause, uint64_t at, uint64_t value);

_Noreturn void machine_trap(uint64_t cause, uint64_t at, uint64_t value)
{
    problem("trap", "exception %llu at 0x%llx, value 0x%llx", (unsigned long long)cause, (unsigned long long)at,
            (unsigned long long)value);
    machine_off(1);
}

static void find_timer(const struct fdt *t)
{
    struct fdt_node n = { 0 };
    uint32_t hz;

    while (fdt_next(t, &n)) {
        if (n.depth == 1 && text_equal(n.name, "cpus") && fdt_u32(t, &n, "timebase-frequency", &hz) && hz != 0)
            timer_hz = hz;
    }
}

_Noreturn void machine_start(uint64_t handed)
{
    static struct fdt tree;
    struct machine machine = { .name = "riscv64", .arguments = "", .tree = &tree };

    timer_begin = counter();
    if (!tree_open(&tree, handed))
        machine_off(1); /* and no way to say so */
    find_timer(&tree);
    (void)!tree_registers(&tree, "sifive,test0", &test);
    (void)!tree_registers(&tree, "ns16550a", &uart);
    machine.arguments = tree_arguments(&tree);
    machine_off(baremetal_main(&machine));
}
