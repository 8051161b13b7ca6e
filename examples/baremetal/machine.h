/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the program asks of the machine that it runs on, and what the machine tells it. Each folder x86_64, aarch64 and
 * riscv64 is one implementation: this is what is to be written for another machine.
 * Where it sits: under everything else here. Threads: there is one. Trust: none is needed of the machine's own firmware; of what
 * it hands over, arguments and device tree are checked as they are read.
 */
#ifndef VIO_BAREMETAL_MACHINE_H
#define VIO_BAREMETAL_MACHINE_H

#include "fdt.h"
#include "pci.h"

struct machine {
    const char *name;
    const char *arguments;      /* words with blanks between them; "": none */
    const struct fdt *tree;     /* NULL: the machine has no device tree */
    struct pci_host *pci;       /* NULL: it is found in the tree, or not there */
};

/* The program: all that is here is found, shown and used. How many things went wrong. */
unsigned baremetal_main(const struct machine *machine);

/* ------------------------------------------------------------------ what a machine has */

void machine_putc(char c);
uint64_t machine_now_ns(void);
/* Of a counter; hz not 0, and below 2^34. */
static inline uint64_t machine_ticks_ns(uint64_t ticks, uint64_t hz)
{
    return ticks / hz * 1000000000 + ticks % hz * 1000000000 / hz;
}
void machine_pause(void);
/*
 * Registers, or other memory of devices, that the CPU does not cache and does not read ahead; NULL: this address cannot be
 * reached. They stay.
 */
volatile void *machine_registers(uint64_t address, uint64_t len);
_Noreturn void machine_off(unsigned problems);

/* The start of what the linker laid out, as the folder's start.S calls it; `handed` is the one address that the loader gives. */
_Noreturn void machine_start(uint64_t handed);

#endif
