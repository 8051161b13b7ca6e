/* SPDX-License-Identifier: MIT */
/*
 * From the loader to machine_start(), on AArch64, by Linux's boot protocol (Documentation/arm64/booting.rst): an Image, entered
 * with the address of the device tree in x0, MMU and caches off, at EL2 or EL1. Nothing is written before the MMU is on: with it off
 * all memory is device memory, which has no unaligned and no exclusive accesses, and what the caches hold would be stale.
 *
 * The map: one GiB for each entry, all where it is. The GiB that the program lies in is memory; all else, to 512 GiB, is for devices.
 */
#define BLOCK_DEVICE 0x0060000000000401 /* not executable, accessed, attribute 0, block */
#define BLOCK_MEMORY 0x0000000000000705 /* accessed, inner shareable, attribute 1, block */
#define MAIR 0xff04                     /* attribute 0: device nGnRE, 1: normal, write-back */
#define TCR 0x803519                    /* 39 bits; walks are cached, inner shareable; pages of 4 KiB; TTBR1 is not used */
#define SCTLR_RESERVED 0x30d00800
#define SCTLR_ON 0x1005                 /* MMU, data and instruction caches */

    .section .head, "ax"
    .global _start
_start:
    b begin
    .long 0
    .quad 0                    /* text_offset: loaders choose a multiple of 2 MiB */
    .quad _size
    .quad 2                    /* little-endian, pages of 4 KiB */
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0

begin:
    mov x19, x0
    mrs x0, CurrentEL
    cmp x0, #8
    b.ne at_el1
    mov x0, #(1 << 31)         /* EL1 is AArch64 */
    msr hcr_el2, x0
    mrs x0, cnthctl_el2
    orr x0, x0, #3             /* and may read the counter */
    msr cnthctl_el2, x0
    msr cntvoff_el2, xzr
    ldr x0, =SCTLR_RESERVED
    msr sctlr_el1, x0
    mov x0, #0x3c5             /* EL1 with its own stack, interrupts masked */
    msr spsr_el2, x0
    adr x0, at_el1
    msr elr_el2, x0
    eret

at_el1:
    adr x0, _head              /* linked for one place: stop where it was put into another */
    ldr x1, =_head
    cmp x0, x1
    b.ne stop
    ldr x0, =page_map
    msr ttbr0_el1, x0
    ldr x0, =MAIR
    msr mair_el1, x0
    mrs x1, id_aa64mmfr0_el1
    and x1, x1, #7             /* as many address bits as there are, at most 48 */
    mov x2, #5
    cmp x1, x2
    csel x1, x1, x2, lo
    ldr x0, =TCR
    orr x0, x0, x1, lsl #32
    msr tcr_el1, x0
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    ldr x0, =(SCTLR_RESERVED + SCTLR_ON)
    msr sctlr_el1, x0
    isb

    ldr x0, =vectors
    msr vbar_el1, x0
    ldr x0, =_stack_top
    mov sp, x0
    ldr x0, =_bss
    ldr x1, =_bss_end
0:  stp xzr, xzr, [x0], #16    /* both are multiples of 4096 */
    cmp x0, x1
    b.lo 0b
    mov x0, x19
    bl machine_start
stop:
    wfe
    b stop

/* Nothing here is expected: one sentence, and the end. */
    .text
    .balign 2048
vectors:
    .rept 16
    .balign 128
    mrs x0, esr_el1
    mrs x1, elr_el1
    mrs x2, far_el1
    ldr x3, =_stack_top
    mov sp, x3
    bl machine_trap
    .endr
    .ltorg

    .data
    .balign 4096
page_map:
    .set gib, 0
    .rept 512
    .if gib == BASE >> 30
    .quad (gib << 30) + BLOCK_MEMORY
    .else
    .quad (gib << 30) + BLOCK_DEVICE
    .endif
    .set gib, gib + 1
    .endr
    .section .note.GNU-stack, "", @progbits
